/* Interleaves the lines of several sources into one answer. A reader that is slow stops its
 * sources, not the control plane: each source holds at most one buffer, and the answer one more. */
#include "control/logs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/control.h"
#include "control/deployer.h"
#include "control/links.h"
#include "control/log_merge.h"
#include "control/log_wish.h"
#include "reactor/deadline.h"

#define OUT_HIGH_BYTES 65536
#define PATIENCE_MS 5000 /* for a source without a line, so that those of others keep their order */
#define FOLLOW_PATIENCE_MS 250
#define REFRESH_MS 1000 /* followed: new containers are looked for */

struct source {
	struct log_feed feed; /* first: what the merge knows */
	struct stream_out *out;
	int64_t node_id;
	struct link *via;
	struct link_op *op; /* NULL: ended */
	bool paused, said_end, kept;
	char name[256];
	char started_at[32];		 /* the container's; a restart is another log to follow */
	char error[256];		 /* why it ended early, or "" */
	bool error_told;		 /* and nothing has come since */
	char after[LOG_STAMP_BYTES + 1]; /* opened again: lines up to here are out; "" at first */
};

/* A node that is asked which logs it keeps. */
struct ask {
	struct list link;
	struct stream_out *out;
	int64_t node_id;
	struct link *via;
	struct link_op *op;
	char node[256];
};

struct stream_out {
	struct list link;
	struct logs *logs;
	struct api_request *r;
	char app[APP_NAME_MAX + 1];
	struct log_wish wish;
	struct list sources; /* struct log_feed */
	struct list asks;
	uint32_t sources_n;
	bool crowded; /* there were more than LOGS_SOURCES_MAX */
	struct buf out;
	struct deadline patience, refresh;
	bool ended, pumping;
};

struct logs {
	struct control *control;
	struct list streams;
	uint32_t streams_n;
};

struct logs *logs_create(struct control *c)
{
	struct logs *l = xcalloc(1, sizeof(*l));

	l->control = c;
	list_init(&l->streams);
	return l;
}

void logs_destroy(struct logs *l)
{
	free(l);
}

static struct source *source_of(struct log_feed *f)
{
	return CONTAINER_OF(f, struct source, feed);
}

static void source_free(struct source *s)
{
	if (s->op)
		s->via->ops->cancel(s->op);
	log_feed_fini(&s->feed);
	free(s);
}

static void ask_free(struct ask *a)
{
	if (a->op)
		a->via->ops->cancel(a->op);
	list_remove(&a->link);
	free(a);
}

static void on_closed(void *state)
{
	struct stream_out *o = state;

	LIST_FOR_EACH_SAFE(f, &o->sources, struct log_feed, link)
		source_free(source_of(f));
	LIST_FOR_EACH_SAFE(a, &o->asks, struct ask, link)
		ask_free(a);
	deadline_stop(&o->patience);
	deadline_stop(&o->refresh);
	list_remove(&o->link);
	o->logs->streams_n--;
	buf_fini(&o->out);
	free(o);
}

/* ---- out ---- */

static void put_line(struct stream_out *o, const struct log_line *line)
{
	const struct log_wish *w = &o->wish;

	struct source *s = source_of(line->feed);

	if (line->stamp.n && strncmp(line->stamp.p, s->after, LOG_STAMP_BYTES) <= 0)
		return;
	s->error_told = false;
	if (line->stamp.n && w->since[0] && strncmp(line->stamp.p, w->since, strlen(w->since)) < 0)
		return;
	if (w->grep[0] &&
	    (!line->text.n || !memmem(line->text.p, line->text.n, w->grep, strlen(w->grep))))
		return;
	buf_printf(&o->out, "%s | ", s->name);
	if (w->opt.timestamps && line->stamp.n)
		buf_printf(&o->out, "%.*s ", SLICE_ARG(line->stamp));
	buf_append_slice(&o->out, line->text);
	buf_append_str(&o->out, "\n");
}

static void put_note(struct stream_out *o, const char *name, const char *text)
{
	buf_printf(&o->out, "%s | %s\n", name, text);
}

/* Of sources whose lines are all out. */
static void put_ends(struct stream_out *o)
{
	LIST_FOR_EACH(f, &o->sources, struct log_feed, link) {
		struct source *s = source_of(f);

		if (s->op || s->said_end || !log_feed_is_empty(f))
			continue;
		s->said_end = true;
		if (*s->error && !s->error_told)
			put_note(o, s->name, s->error);
		s->error_told = *s->error;
	}
}

/* Moves lines while there is room. */
static void take_lines(struct stream_out *o)
{
	uint32_t patience_ms = o->wish.opt.follow ? FOLLOW_PATIENCE_MS : PATIENCE_MS;
	enum log_merge next = list_empty(&o->asks) ? LOG_MERGE_LINE : LOG_MERGE_WAIT;
	struct log_line line;

	while (next == LOG_MERGE_LINE && o->out.len < OUT_HIGH_BYTES) {
		next = log_merge_next(&o->sources, &line);
		if (next == LOG_MERGE_LINE) {
			put_line(o, &line);
			deadline_set(&o->patience, 0);
		}
	}
	if (next == LOG_MERGE_WAIT && !deadline_is_set(&o->patience))
		deadline_set(&o->patience, patience_ms);
	put_ends(o);
}

static bool is_over(const struct stream_out *o)
{
	if (o->out.len || !list_empty(&o->asks) || deadline_is_set(&o->refresh))
		return false;
	LIST_FOR_EACH(f, &o->sources, struct log_feed, link)
		if (!source_of(f)->said_end)
			return false;
	return true;
}

static void stream_end(struct stream_out *o)
{
	if (o->ended)
		return;
	o->ended = true;
	deadline_set(&o->patience, 0);
	deadline_set(&o->refresh, 0);
	reply_stream_end(o->r);
}

static void resume_sources(struct stream_out *o)
{
	LIST_FOR_EACH(f, &o->sources, struct log_feed, link) {
		struct source *s = source_of(f);

		if (s->paused && s->op && f->text.len - f->at < LOG_FEED_MAX_BYTES) {
			s->paused = false;
			s->via->ops->resume(s->op);
		}
	}
}

static void pump(struct stream_out *o)
{
	bool moved = true;

	if (o->pumping || o->ended)
		return;
	o->pumping = true;
	while (moved) {
		take_lines(o);
		moved = false;
		if (o->out.len) {
			size_t taken = reply_stream_write(o->r, o->out.data, o->out.len);

			buf_consume(&o->out, taken);
			moved = o->out.len == 0;
		}
	}
	if (is_over(o))
		stream_end(o);
	else
		resume_sources(o);
	o->pumping = false;
}

static void on_writable(void *state)
{
	pump(state);
}

/* Order is worth so much waiting, and no more. */
static void on_patience(void *arg)
{
	struct stream_out *o = arg;

	LIST_FOR_EACH(f, &o->sources, struct log_feed, link)
		f->excused = true;
	LIST_FOR_EACH_SAFE(a, &o->asks, struct ask, link) {
		put_note(o, a->node, "(it does not say which logs it keeps)");
		ask_free(a);
	}
	pump(o);
}

/* ---- sources ---- */

static size_t on_data(void *arg, const char *p, size_t n)
{
	struct source *s = arg;
	size_t taken = log_feed_put(&s->feed, p, n);

	s->paused = taken < n;
	pump(s->out);
	return taken;
}

static void source_end(struct source *s, const char *error)
{
	s->op = NULL;
	s->paused = false;
	s->feed.ended = true;
	if (error)
		snprintf(s->error, sizeof(s->error), "(the log ended: %s)", error);
	pump(s->out);
}

static void on_done(void *arg, const struct link_result *res)
{
	source_end(arg, res->rc ? res->error : NULL);
}

static const struct link_stream source_stream = { .data = on_data, .done = on_done };

static struct source *source_new(struct stream_out *o, int64_t node_id, const char *name)
{
	struct source *s = xcalloc(1, sizeof(*s));

	s->out = o;
	s->node_id = node_id;
	s->via = links_get(o->logs->control->links, node_id);
	snprintf(s->name, sizeof(s->name), "%s", name);
	log_feed_init(&s->feed);
	list_push_back(&o->sources, &s->feed.link);
	o->sources_n++;
	return s;
}

static struct source *source_find(const struct stream_out *o, const char *name)
{
	LIST_FOR_EACH(f, &o->sources, struct log_feed, link)
		if (strcmp(source_of(f)->name, name) == 0)
			return source_of(f);
	return NULL;
}

static bool is_crowded(struct stream_out *o)
{
	if (o->sources_n < LOGS_SOURCES_MAX)
		return false;
	if (!o->crowded)
		put_note(
			o, o->app,
			"(more containers than one stream takes: choose a release, node or replica)");
	o->crowded = true;
	return true;
}

static void source_open(struct source *s, const struct replica *rep, const struct link_logs *opt)
{
	snprintf(s->started_at, sizeof(s->started_at), "%s", rep->started_at);
	s->feed.ended = s->said_end = false;
	s->via = links_get(s->out->logs->control->links, s->node_id);
	if (s->via) {
		s->op = s->via->ops->logs(s->via, rep->container_id, opt, &source_stream, s);
		return;
	}
	s->feed.ended = true;
	snprintf(s->error, sizeof(s->error), "(no log: node %s cannot be reached)",
		 rep->node->name);
}

/* Timestamps are what they are put in order by. */
static struct link_logs stamped(const struct link_logs *opt)
{
	struct link_logs all = *opt;

	all.timestamps = true;
	return all;
}

static bool names_replica(const struct log_wish *w, const char *name, uint32_t n)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", n);
	return !w->replica[0] || !strcmp(w->replica, number) || !strcmp(w->replica, name);
}

static bool wanted(const struct log_wish *w, const struct replica *rep)
{
	return *rep->container_id && rep->state != REPLICA_GONE &&
	       names_replica(w, rep->name, rep->n) &&
	       (!w->release || w->release == rep->release_n) &&
	       (!w->node[0] || !strcmp(w->node, rep->node->name));
}

/* Goes on where it ended: its container was started again, or its node is back. */
static void source_reopen(struct source *s, const struct replica *rep)
{
	struct link_logs opt = { .follow = true, .timestamps = true, .tail = UINT32_MAX };

	snprintf(s->after, sizeof(s->after), "%s", s->feed.stamp);
	if (text_parse_time(slice_str(s->after), &opt.since_ms))
		opt.since_ms = 0;
	s->error[0] = '\0';
	source_open(s, rep, &opt);
}

/* Followed: what was started since is followed from its first line. */
static void follow_replica(struct stream_out *o, const struct replica *rep)
{
	struct link_logs opt = { .follow = true, .timestamps = true, .tail = UINT32_MAX };
	struct source *s = source_find(o, rep->name);

	if (s && s->said_end && !s->kept &&
	    (*s->error || strcmp(s->started_at, rep->started_at) != 0)) {
		source_reopen(s, rep);
	} else if (!s && !is_crowded(o)) {
		s = source_new(o, rep->node->id, rep->name);
		s->feed.excused = true;
		source_open(s, rep, &opt);
	}
}

static void on_refresh(void *arg)
{
	struct stream_out *o = arg;
	const struct app *a = cluster_app(deployer_cluster(o->logs->control->deployer), o->app);

	if (a) {
		deadline_set(&o->refresh, REFRESH_MS);
		LIST_FOR_EACH(rep, &a->replicas, struct replica, link)
			if (wanted(&o->wish, rep))
				follow_replica(o, rep);
	}
	pump(o);
}

/* ---- containers that are gone ---- */

static void on_kept(void *arg, const struct link_result *res, const struct wire_kept *list,
		    size_t n)
{
	struct ask *a = arg;
	struct stream_out *o = a->out;
	const struct log_wish *w = &o->wish;
	char note[300];

	a->op = NULL;
	if (res->rc == -ENOENT)
		put_note(o, a->node,
			 "(it keeps no logs of containers that are gone; upgrade its agent)");
	if (res->rc && res->rc != -ENOENT) {
		snprintf(note, sizeof(note), "(no logs of containers that are gone: %.200s)",
			 res->error ? res->error : strerror(-res->rc));
		put_note(o, a->node, note);
	}
	for (size_t i = 0; i < n; i++) {
		const struct wire_kept *k = &list[i];
		struct source *s;

		if ((w->release && w->release != k->release) || k->ended_ms < w->opt.since_ms ||
		    !names_replica(w, k->container, k->replica) || source_find(o, k->container) ||
		    is_crowded(o))
			continue;
		s = source_new(o, a->node_id, k->container);
		s->kept = true;
		s->via = a->via;
		s->op = s->via->ops->kept_log(s->via, o->app, k->container, w->opt.tail,
					      &source_stream, s);
	}
	ask_free(a);
	pump(o);
}

static void ask_node(struct stream_out *o, const struct node *n)
{
	struct link *via = links_get(o->logs->control->links, n->id);
	struct ask *a;

	if (n->intent == NODE_REMOVED || (o->wish.node[0] && strcmp(o->wish.node, n->name)))
		return;
	if (!via) {
		put_note(o, n->name, "(it cannot be reached; logs it keeps are not shown)");
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->out = o;
	a->node_id = n->id;
	a->via = via;
	snprintf(a->node, sizeof(a->node), "%s", n->name);
	list_push_back(&o->asks, &a->link);
	a->op = via->ops->kept(via, o->app, on_kept, a);
}

static void ask_nodes(struct stream_out *o)
{
	const struct list *nodes = cluster_nodes(deployer_cluster(o->logs->control->deployer));
	uint32_t n = 0;

	LIST_FOR_EACH(node, nodes, struct node, link)
		if (n++ < LOGS_NODES_MAX || o->wish.node[0])
			ask_node(o, node);
	if (n > LOGS_NODES_MAX && !o->wish.node[0])
		put_note(o, o->app,
			 "(too many nodes to look for kept logs on all of them: choose one)");
}

void logs_drop_node(struct logs *l, int64_t node_id)
{
	LIST_FOR_EACH(o, &l->streams, struct stream_out, link) {
		LIST_FOR_EACH(f, &o->sources, struct log_feed, link) {
			struct source *s = source_of(f);

			if (s->node_id != node_id || !s->op)
				continue;
			s->via->ops->cancel(s->op);
			source_end(s, "the way to its node changed");
		}
		LIST_FOR_EACH_SAFE(a, &o->asks, struct ask, link) {
			if (a->node_id != node_id)
				continue;
			put_note(o, a->node, "(the way to it changed)");
			ask_free(a);
		}
		pump(o);
	}
}

/* ---- the stream ---- */

static struct stream_out *stream_new(struct logs *l, struct api_request *r, const struct app *a,
				     const struct log_wish *w)
{
	struct stream_out *o = xcalloc(1, sizeof(*o));

	o->logs = l;
	o->r = r;
	o->wish = *w;
	snprintf(o->app, sizeof(o->app), "%s", a->name);
	list_init(&o->sources);
	list_init(&o->asks);
	buf_init(&o->out, 0);
	deadline_init(&o->patience, l->control->loop, on_patience, o);
	deadline_init(&o->refresh, l->control->loop, on_refresh, o);
	list_push_back(&l->streams, &o->link);
	l->streams_n++;
	r->state = o;
	r->closed = on_closed;
	r->writable = on_writable;
	return o;
}

static void open_sources(struct stream_out *o, const struct app *a)
{
	const struct log_wish *w = &o->wish;
	struct link_logs opt = stamped(&w->opt);

	LIST_FOR_EACH(rep, &a->replicas, struct replica, link)
		if (wanted(w, rep) && !is_crowded(o))
			source_open(source_new(o, rep->node->id, rep->name), rep, &opt);
	if (!o->sources_n || w->release || w->opt.since_ms || w->grep[0])
		ask_nodes(o);
	if (w->opt.follow)
		deadline_set(&o->refresh, REFRESH_MS);
}

void logs_answer(struct logs *l, struct api_request *r, const struct app *a)
{
	const struct cluster *cluster = deployer_cluster(l->control->deployer);
	struct log_wish w = { 0 };
	struct stream_out *o;
	char text[320];

	if (log_wish_parse(&w, r))
		return;
	if (w.node[0] && !cluster_node_named(cluster, w.node)) {
		snprintf(text, sizeof(text), "there is no node %s; `temps node ls` lists them", w.node);
		reply_problem(r, 404, "Node Not Found", text);
		return;
	}
	/* One that was forgotten may have lines still, one to come has none. */
	if (w.release >= a->next_release) {
		snprintf(text, sizeof(text), "app %s has no release %" PRIu32 "; `temps releases %s` lists them", a->name,
			 w.release, a->name);
		reply_problem(r, 404, "Release Not Found", text);
		return;
	}
	if (l->streams_n >= LOGS_STREAMS_MAX) {
		reply_problem(r, 503, "Too Many Streams",
			      "too many log streams are open; close one and try again");
		return;
	}
	o = stream_new(l, r, a, &w);
	reply_stream_begin(r, 200, "text/plain; charset=utf-8");
	open_sources(o, a);
	pump(o);
}

void logs_end(struct logs *l)
{
	LIST_FOR_EACH(o, &l->streams, struct stream_out, link)
		stream_end(o);
}
