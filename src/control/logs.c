/* Interleaves the lines of several sources into one answer. A reader that is slow stops its
 * sources, not the control plane: each source holds at most one buffer, and the answer one more. */
#include "control/logs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/control.h"
#include "control/deployer.h"
#include "control/links.h"

#define SOURCE_MAX_BYTES 65536
#define OUT_HIGH_BYTES 65536
#define TAIL_DEFAULT 100

struct source {
	struct list link;
	struct stream_out *out;
	int64_t node_id;
	struct link *via;
	struct link_op *op;	/* NULL: ended */
	struct buf text;	/* lines not passed on yet */
	bool paused, said_end;
	char name[256];
	char error[256];	/* why it ended early, or "" */
};

struct stream_out {
	struct list link;
	struct logs *logs;
	struct api_request *r;
	struct list sources;
	struct buf out;
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

static void source_free(struct source *s)
{
	if (s->op)
		s->via->ops->cancel(s->op);
	list_remove(&s->link);
	buf_fini(&s->text);
	free(s);
}

static void on_closed(void *state)
{
	struct stream_out *o = state;

	LIST_FOR_EACH_SAFE(s, &o->sources, struct source, link)
		source_free(s);
	list_remove(&o->link);
	o->logs->streams_n--;
	buf_fini(&o->out);
	free(o);
}

static void put_line(struct source *s, const char *p, size_t n)
{
	buf_printf(&s->out->out, "%s | ", s->name);
	buf_append(&s->out->out, p, n);
	buf_append_str(&s->out->out, "\n");
}

/* Moves whole lines while there is room. */
static void take_lines(struct source *s)
{
	size_t used = 0;
	const char *end;

	while (s->out->out.len < OUT_HIGH_BYTES && used < s->text.len &&
	       (end = memchr(s->text.data + used, '\n', s->text.len - used))) {
		put_line(s, s->text.data + used, (size_t)(end - (s->text.data + used)));
		used = (size_t)(end - s->text.data) + 1;
	}
	if (used)
		buf_consume(&s->text, used);
	if (s->out->out.len >= OUT_HIGH_BYTES)
		return;
	/* A line that fills the buffer is cut; the last one may have no end. */
	if (s->text.len && (s->text.len >= SOURCE_MAX_BYTES || !s->op) &&
	    !memchr(s->text.data, '\n', s->text.len)) {
		put_line(s, s->text.data, s->text.len);
		buf_clear(&s->text);
	}
	if (!s->op && !s->text.len && !s->said_end) {
		s->said_end = true;
		if (*s->error)
			put_line(s, s->error, strlen(s->error));
	}
}

static bool all_said(const struct stream_out *o)
{
	LIST_FOR_EACH(s, &o->sources, struct source, link)
		if (!s->said_end)
			return false;
	return true;
}

static void pump(struct stream_out *o)
{
	bool moved = true;

	if (o->pumping || o->ended)
		return;
	o->pumping = true;
	while (moved) {
		LIST_FOR_EACH(s, &o->sources, struct source, link)
			take_lines(s);
		moved = false;
		if (o->out.len) {
			size_t taken = reply_stream_write(o->r, o->out.data, o->out.len);

			buf_consume(&o->out, taken);
			moved = o->out.len == 0;
		}
	}
	if (!o->out.len && all_said(o)) {
		o->ended = true;
		reply_stream_end(o->r);
	}
	LIST_FOR_EACH(s, &o->sources, struct source, link) {
		if (s->paused && s->op && s->text.len < SOURCE_MAX_BYTES) {
			s->paused = false;
			s->via->ops->resume(s->op);
		}
	}
	o->pumping = false;
}

static void on_writable(void *state)
{
	pump(state);
}

static size_t on_data(void *arg, const char *p, size_t n)
{
	struct source *s = arg;
	size_t take = MIN(n, SOURCE_MAX_BYTES - s->text.len);

	if (take && buf_append(&s->text, p, take))
		return n;
	if (take < n)
		s->paused = true;
	pump(s->out);
	return take;
}

static void source_end(struct source *s, const char *error)
{
	s->op = NULL;
	s->paused = false;
	if (error)
		snprintf(s->error, sizeof(s->error), "(the log ended: %s)", error);
	pump(s->out);
}

static void on_done(void *arg, const struct link_result *res)
{
	source_end(arg, res->rc ? res->error : NULL);
}

void logs_drop_node(struct logs *l, int64_t node_id)
{
	LIST_FOR_EACH(o, &l->streams, struct stream_out, link) {
		LIST_FOR_EACH(s, &o->sources, struct source, link) {
			if (s->node_id != node_id || !s->op)
				continue;
			s->via->ops->cancel(s->op);
			source_end(s, "the way to its node changed");
		}
	}
}

static void add_source(struct stream_out *o, const struct replica *rep, const struct link_logs *opt)
{
	static const struct link_stream stream = { .data = on_data, .done = on_done };
	struct source *s = xcalloc(1, sizeof(*s));

	s->out = o;
	s->node_id = rep->node->id;
	s->via = links_get(o->logs->control->links, s->node_id);
	snprintf(s->name, sizeof(s->name), "%s", rep->name);
	buf_init(&s->text, SOURCE_MAX_BYTES);
	list_push_back(&o->sources, &s->link);
	if (s->via)
		s->op = s->via->ops->logs(s->via, rep->container_id, opt, &stream, s);
	else
		snprintf(s->error, sizeof(s->error), "(no log: node %s cannot be reached)",
			 rep->node->name);
}

static bool is_true(struct api_request *r, const char *name)
{
	char text[16];

	if (api_query(r, name, text, sizeof(text)))
		return false;
	return !strcmp(text, "true") || !strcmp(text, "1") || !*text;
}

/* -EINVAL has been answered. */
static int options(struct api_request *r, struct link_logs *opt)
{
	uint64_t tail, ms;
	char text[64];

	opt->follow = is_true(r, "follow");
	opt->timestamps = is_true(r, "timestamps");
	opt->tail = TAIL_DEFAULT;
	if (!api_query(r, "tail", text, sizeof(text))) {
		if (strcmp(text, "all") == 0) {
			opt->tail = UINT32_MAX;
		} else if (slice_u64(slice_str(text), &tail) || tail >= UINT32_MAX) {
			reply_problem(r, 400, "Invalid Query",
				      "tail: expected a number of lines, or all");
			return -EINVAL;
		} else {
			opt->tail = (uint32_t)tail;
		}
	}
	if (!api_query(r, "since", text, sizeof(text))) {
		if (!text_parse_duration(slice_str(text), &ms)) {
			opt->since_ms = loop_wall_ms() - MIN(ms, loop_wall_ms() - 1);
		} else if (text_parse_time(slice_str(text), &opt->since_ms)) {
			reply_problem(
				r, 400, "Invalid Query",
				"since: expected a time as 2026-03-04T12:00:00Z, or a duration as 10m");
			return -EINVAL;
		}
	}
	return 0;
}

static bool wanted(const struct replica *rep, const char *which)
{
	char number[16];

	if (!*rep->container_id || rep->state == REPLICA_GONE)
		return false;
	snprintf(number, sizeof(number), "%u", rep->n);
	return !*which || !strcmp(which, number) || !strcmp(which, rep->name);
}

void logs_answer(struct logs *l, struct api_request *r, const struct app *a)
{
	struct link_logs opt = { 0 };
	struct stream_out *o;
	char which[256] = "";
	uint32_t n = 0;

	if (options(r, &opt))
		return;
	(void)!api_query(r, "replica", which, sizeof(which));
	LIST_FOR_EACH(rep, &a->replicas, struct replica, link)
		n += wanted(rep, which);
	if (*which && !n) {
		reply_problem(r, 404, "Replica Not Found",
			      "no such replica has a container; `temps ps` lists them");
		return;
	}
	if (n > LOGS_SOURCES_MAX) {
		reply_problem(
			r, 400, "Too Many Replicas",
			"the app has too many replicas for one stream: choose one with replica=N");
		return;
	}
	if (l->streams_n >= LOGS_STREAMS_MAX) {
		reply_problem(r, 503, "Too Many Streams",
			      "too many log streams are open; close one and try again");
		return;
	}
	o = xcalloc(1, sizeof(*o));
	o->logs = l;
	o->r = r;
	list_init(&o->sources);
	buf_init(&o->out, 0);
	list_push_back(&l->streams, &o->link);
	l->streams_n++;
	r->state = o;
	r->closed = on_closed;
	r->writable = on_writable;
	reply_stream_begin(r, 200, "text/plain; charset=utf-8");
	LIST_FOR_EACH(rep, &a->replicas, struct replica, link)
		if (wanted(rep, which))
			add_source(o, rep, &opt);
	pump(o);
}

void logs_end(struct logs *l)
{
	LIST_FOR_EACH(o, &l->streams, struct stream_out, link) {
		if (o->ended)
			continue;
		o->ended = true;
		reply_stream_end(o->r);
	}
}
