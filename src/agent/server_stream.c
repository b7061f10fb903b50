/* The agent's API, what streams: logs, events and pulls out, image archives in. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/server_inner.h"
#include "base/log.h"
#include "base/text.h"

#define WHOLE_LOG_MAX (8u << 20)	/* of a log that is answered as one string */
#define PULL_OUT_HIGH 65536

/* --- logs, events: bytes of the engine's side straight through --- */

struct pass_call {
	struct call call;
	struct list link;	/* agent_server.streams */
	const char *content_type;
	bool begun;
};

static void pass_begin(struct pass_call *p)
{
	if (!p->begun)
		reply_stream_begin(p->call.r, 200, p->content_type);
	p->begun = true;
}

static size_t on_pass(void *arg, const char *data, size_t n)
{
	struct pass_call *p = arg;

	pass_begin(p);
	return reply_stream_write(p->call.r, data, n);
}

static void on_pass_done(void *arg, const struct link_result *res)
{
	struct pass_call *p = arg;

	/* An error before the first byte has a status; after it the stream is cut, so that nobody takes it for complete. */
	if (!p->begun && call_failed(&p->call, res))
		return;
	p->call.op = NULL;
	if (res->rc) {
		reply_stream_abort(p->call.r, res->error);
		return;
	}
	pass_begin(p);
	reply_stream_end(p->call.r);
}

static const struct link_stream passing = { .data = on_pass, .done = on_pass_done };

static void on_writable(void *state)
{
	struct call *c = state;

	if (c->op)
		c->server->link->ops->resume(c->op);
}

static void pass_release(struct call *c)
{
	list_remove(&((struct pass_call *)c)->link);
}

static struct pass_call *pass_new(struct api_request *r, const char *content_type)
{
	struct pass_call *p = call_new(r, sizeof(*p));

	p->content_type = content_type;
	p->call.release = pass_release;
	list_push_back(&p->call.server->streams, &p->link);
	r->writable = on_writable;
	return p;
}

void server_stream_stop(struct agent_server *s)
{
	LIST_FOR_EACH_SAFE(p, &s->streams, struct pass_call, link) {
		if (!p->call.op)
			continue;
		s->link->ops->cancel(p->call.op);
		p->call.op = NULL;
		pass_begin(p);
		reply_stream_end(p->call.r);
	}
}

void serve_events(struct api_request *r)
{
	struct pass_call *p = pass_new(r, "application/x-ndjson");

	p->call.op = p->call.server->link->ops->events(p->call.server->link, &passing, p);
}

/* --- logs as one string --- */

struct whole_call {
	struct call call;
	struct buf text;
};

static void whole_release(struct call *c)
{
	buf_fini(&((struct whole_call *)c)->text);
}

static size_t on_whole(void *arg, const char *data, size_t n)
{
	struct whole_call *w = arg;

	/* Over the limit the beginning is what the caller gets; `tail` asks for the end. */
	if (w->text.len < WHOLE_LOG_MAX)
		buf_append(&w->text, data, MIN(n, WHOLE_LOG_MAX - w->text.len));
	return n;
}

static void on_whole_done(void *arg, const struct link_result *res)
{
	struct whole_call *w = arg;

	if (!call_failed(&w->call, res))
		call_answer_text(w->call.r, w->text.data ? w->text.data : "");
}

static const struct link_stream gathering = { .data = on_whole, .done = on_whole_done };

/* RFC 3339 or seconds since 1970. */
static int parse_since(const char *text, uint64_t *ms)
{
	uint64_t seconds;

	if (!slice_u64(slice_str(text), &seconds) && seconds <= INT64_MAX / 1000) {
		*ms = seconds * 1000;
		return 0;
	}
	return text_parse_time(slice_str(text), ms);
}

static int query_bool(const struct api_request *r, const char *name, bool *out)
{
	char text[8];
	int rc = api_query(r, name, text, sizeof(text));

	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	*out = !strcmp(text, "true") || !strcmp(text, "1") || !*text;
	return *out || !strcmp(text, "false") || !strcmp(text, "0") ? 0 : -EINVAL;
}

/* -ENOENT: not given. */
static int query_tail(const struct api_request *r, uint32_t *tail)
{
	char text[64];
	uint64_t lines;
	int rc = api_query(r, "tail", text, sizeof(text));

	if (!rc && strcmp(text, "all")) {
		rc = slice_u64(slice_str(text), &lines);
		if (!rc)
			*tail = (uint32_t)MIN(lines, UINT32_MAX - 1ull);
	}
	return rc;
}

static int log_options(const struct api_request *r, struct link_logs *opt, const char **bad)
{
	char text[64];
	int rc;

	*opt = (struct link_logs){ .tail = UINT32_MAX };
	*bad = "follow";
	rc = query_bool(r, "follow", &opt->follow);
	if (rc)
		return rc;
	*bad = "timestamps";
	rc = query_bool(r, "timestamps", &opt->timestamps);
	if (rc)
		return rc;
	*bad = "tail";
	rc = query_tail(r, &opt->tail);
	if (rc && rc != -ENOENT)
		return rc;
	*bad = "since";
	rc = api_query(r, "since", text, sizeof(text));
	if (!rc)
		rc = parse_since(text, &opt->since_ms);
	return rc == -ENOENT ? 0 : rc;
}

void serve_logs(struct api_request *r)
{
	const struct field *accept = head_field(&r->x->req, FIELD_ACCEPT);
	struct link_logs opt;
	const char *bad;
	char text[64], *id;

	if (log_options(r, &opt, &bad)) {
		snprintf(text, sizeof(text), "query parameter \"%s\" is wrong", bad);
		call_error(r, 400, text);
		return;
	}
	id = call_param(r);
	if (!id)
		return;
	if (accept && !opt.follow && slice_starts(accept->value, SLICE("application/json"))) {
		struct whole_call *w = call_new(r, sizeof(*w));

		w->call.release = whole_release;
		buf_init(&w->text, WHOLE_LOG_MAX);
		w->call.op = w->call.server->link->ops->logs(w->call.server->link, id, &opt,
							     &gathering, w);
	} else {
		struct pass_call *p = pass_new(r, "text/plain; charset=utf-8");

		p->call.op = p->call.server->link->ops->logs(p->call.server->link, id, &opt,
							     &passing, p);
	}
	free(id);
}

void serve_kept_log(struct api_request *r)
{
	struct link *l = ((struct agent_server *)r->app)->link;
	uint32_t tail = UINT32_MAX;
	int rc = query_tail(r, &tail);
	char *app, *name;
	struct pass_call *p;

	if (rc && rc != -ENOENT) {
		call_error(r, 400, "query parameter \"tail\" is wrong");
		return;
	}
	app = call_param(r);
	if (!app)
		return;
	name = slice_dup(r->params[1]);
	p = pass_new(r, "text/plain; charset=utf-8");
	p->call.op = l->ops->kept_log(l, app, name, tail, &passing, p);
	free(app);
	free(name);
}

/* --- pull: the engine's text lines as JSON lines --- */

struct pull_call {
	struct call call;
	struct buf in, out;
	bool ended;
};

static void pull_release(struct call *c)
{
	struct pull_call *p = (struct pull_call *)c;

	buf_fini(&p->in);
	buf_fini(&p->out);
}

static void pull_flush(struct pull_call *p)
{
	size_t taken;

	while (p->out.len) {
		taken = reply_stream_write(p->call.r, p->out.data, p->out.len);
		if (!taken)
			return;
		buf_consume(&p->out, taken);
	}
	if (p->ended)
		reply_stream_end(p->call.r);
}

static void on_pull_writable(void *state)
{
	struct pull_call *p = state;

	pull_flush(p);
	if (p->call.op && p->out.len < PULL_OUT_HIGH)
		p->call.server->link->ops->resume(p->call.op);
}

static void pull_line(struct pull_call *p, struct slice text)
{
	struct wire_pull line = { 0 };

	snprintf(line.text, sizeof(line.text), "%.*s", (int)MIN(text.n, sizeof(line.text) - 1),
		 text.n ? text.p : "");
	wire_pull_emit(&line, &p->out);
}

static size_t on_pull_data(void *arg, const char *data, size_t n)
{
	struct pull_call *p = arg;
	const char *end;

	if (p->out.len >= PULL_OUT_HIGH)
		return 0;
	if (buf_append(&p->in, data, n))
		buf_clear(&p->in);
	while (p->in.len && (end = memchr(p->in.data, '\n', p->in.len))) {
		pull_line(p, slice_of(p->in.data, (size_t)(end - p->in.data)));
		buf_consume(&p->in, (size_t)(end - p->in.data) + 1);
	}
	pull_flush(p);
	return n;
}

static void on_pull_done(void *arg, const struct link_result *res)
{
	struct pull_call *p = arg;
	struct wire_pull last = { .done = true, .rc = res->rc };

	p->call.op = NULL;
	snprintf(last.text, sizeof(last.text), "%s", res->error ? res->error : "");
	wire_pull_emit(&last, &p->out);
	p->ended = true;
	pull_flush(p);
}

static const struct link_stream pulling = { .data = on_pull_data, .done = on_pull_done };

static void pull_start(struct api_request *r, const char *image, const char *registry_auth)
{
	struct pull_call *p = call_new(r, sizeof(*p));

	log_info("pull %s", image);
	p->call.release = pull_release;
	buf_init(&p->in, 65536);
	buf_init(&p->out, 0);
	r->writable = on_pull_writable;
	reply_stream_begin(r, 200, "application/x-ndjson");
	p->call.op = p->call.server->link->ops->image_pull(p->call.server->link, image,
							   registry_auth, &pulling, p);
}

void serve_pull(struct api_request *r)
{
	const struct json *credentials;
	struct err err = { 0 };
	struct slice image = { 0 };
	struct buf auth;
	struct json *j;
	char *ref;

	if (!call_body(r, &j))
		return;
	if (json_want_str(j, "image", 512, &image, &err)) {
		call_error(r, 400, err.text[0] ? err.text : "member \"image\" is missing");
		json_free(j);
		return;
	}
	buf_init(&auth, 16384);
	credentials = json_get(j, "registry_auth");
	/* As an object, or as the JSON text of one. */
	if (json_type(credentials) == JSON_OBJECT)
		json_dump(credentials, false, &auth);
	else if (json_type(credentials) == JSON_STRING)
		buf_append_slice(&auth, json_str(credentials, ""));
	ref = slice_dup(image);
	pull_start(r, ref, auth.len ? auth.data : NULL);
	free(ref);
	buf_fini(&auth);
	json_free(j);
}

/* --- import: the body goes to the engine as it comes --- */

struct import_call {
	struct call call;
	char block[16384];	/* came, and was not yet asked for */
	size_t at, n;
	bool waiting;		/* the engine asked for more than there was */
	bool body_over;
};

static void import_release(struct call *c)
{
	c->server->importing = false;
}

static size_t on_import_body(void *state, const char *p, size_t n)
{
	struct import_call *i = state;

	/* An engine that answered early does not want the rest. */
	if (!i->call.op)
		return n;
	if (i->at < i->n)
		return 0;
	n = MIN(n, sizeof(i->block));
	memcpy(i->block, p, n);
	i->at = 0;
	i->n = n;
	if (i->waiting) {
		i->waiting = false;
		i->call.server->link->ops->resume(i->call.op);
	}
	return n;
}

static void on_import_end(void *state)
{
	struct import_call *i = state;

	i->body_over = true;
	if (i->waiting && i->call.op)
		i->call.server->link->ops->resume(i->call.op);
}

static ssize_t on_import_upload(void *arg, char *p, size_t n)
{
	struct import_call *i = arg;

	if (i->at == i->n) {
		if (i->body_over)
			return 0;
		i->waiting = true;
		return -EAGAIN;
	}
	n = MIN(n, i->n - i->at);
	memcpy(p, i->block + i->at, n);
	i->at += n;
	if (i->at == i->n)
		reply_body_resume(i->call.r);
	return (ssize_t)n;
}

static void on_imported(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct import_call *i = arg;

	if (call_failed(&i->call, res))
		return;
	log_info("imported image %s", image->id);
	call_answer_text(i->call.r, image->id);
}

void serve_import(struct api_request *r)
{
	struct agent_server *s = r->app;
	const struct field *tag = head_find(&r->x->req, SLICE("x-image-tag"));
	const struct field *bytes = head_find(&r->x->req, SLICE("x-image-bytes"));
	struct link_load load = { .upload = on_import_upload };
	struct import_call *i;
	char *name;

	if (!tag || !tag->value.n) {
		call_error(r, 400, "Missing required x-image-tag header");
		return;
	}
	if (bytes && slice_u64(bytes->value, &load.bytes)) {
		call_error(r, 400, "header x-image-bytes is no number");
		return;
	}
	if (s->importing) {
		reply_field(r, "Retry-After", "5");
		call_error(r, wire_status(-EBUSY), "another import is running");
		return;
	}
	i = call_new(r, sizeof(*i));
	i->call.release = import_release;
	s->importing = true;
	r->on_body = on_import_body;
	r->on_body_end = on_import_end;
	load.tag = name = slice_dup(tag->value);
	i->call.op = s->link->ops->image_load(s->link, &load, on_imported, i);
	free(name);
}
