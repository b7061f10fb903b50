/* link.h over the agent's HTTP API: one request an operation, envelopes and streams translated to
 * the link's callbacks. */
#include "control/link_direct_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "reactor/crypto.h"

#define CONNECT_MS 5000
#define CALL_IDLE_MS 30000
#define DEPLOY_IDLE_MS 300000	/* an engine may be busy for as long; the protocol's own limit */
#define EVENTS_IDLE_MS 12000	/* an empty line comes every 5 s */
#define PULL_IDLE_MS 600000
#define RESPONSE_MAX_BYTES (16u << 20)
#define LINE_MAX_BYTES 65536

static void op_free(void *arg)
{
	struct link_op *op = arg;

	buf_fini(&op->text);
	free(op->tag_line);
	free(op->bytes_line);
	free(op);
}

static void op_end(struct link_op *op)
{
	if (op->ended)
		return;
	op->ended = true;
	list_remove(&op->link);
	loop_task_cancel(&op->refused);
	loop_defer(op->loop, &op->reap, op_free, op);
}

static struct link_result transport_failure(const struct rpc_result *res)
{
	return (struct link_result){ .rc = -ECOMM, .error = res->error, .maybe_done = res->sent };
}

/* False when whoever was told cancelled <op> in return. */
static bool tell_exchange(struct link_op *op, int status)
{
	const struct direct_config *c = &op->direct->config;

	if (status && status != 401)
		c->exchange(c->arg);
	return !op->ended;
}

static void on_reply(void *arg, const struct rpc_result *res)
{
	struct link_op *op = arg;
	struct link_result failed;
	const struct json *data;
	struct json *doc = NULL;
	struct err err;

	op->call = NULL;
	if (!tell_exchange(op, res->status))
		return;
	op_end(op);
	if (res->rc) {
		failed = transport_failure(res);
		direct_give_error(op, &failed);
		return;
	}
	if (res->status == 200 && !wire_envelope_parse(&doc, &data, res->body, &err)) {
		direct_give_data(op, data);
	} else {
		failed = direct_refusal(res->status, res->body, &err);
		direct_give_error(op, &failed);
	}
	json_free(doc);
}

static const struct rpc_ops call_ops = { .done = on_reply };

static ssize_t on_upload(void *arg, char *p, size_t n)
{
	struct link_op *op = arg;

	return op->upload(op->arg, p, n);
}

static const struct rpc_ops upload_ops = { .upload = on_upload, .done = on_reply };

static void on_head(void *arg, int status)
{
	struct link_op *op = arg;

	op->status = status;
	(void)tell_exchange(op, status);
}

static void pull_line(struct link_op *op, struct slice line)
{
	struct wire_pull p;
	struct err err;

	if (wire_pull_parse(&p, line, &err))
		return;
	if (p.done) {
		op->last = p;
	} else if (op->stream.data) {
		size_t n = strlen(p.text);

		if (n + 1 < sizeof(p.text))
			p.text[n++] = '\n';
		op->stream.data(op->arg, p.text, n);	/* progress: what is not taken is dropped */
	}
}

static size_t pull_data(struct link_op *op, const char *p, size_t n)
{
	const char *end;
	size_t used = 0;

	if (buf_append(&op->text, p, n))
		buf_clear(&op->text);
	while (!op->ended && op->text.len > used &&
	       (end = memchr(op->text.data + used, '\n', op->text.len - used))) {
		size_t len = (size_t)(end - (op->text.data + used));

		if (len)
			pull_line(op, slice_of(op->text.data + used, len));
		used += len + 1;
	}
	if (used)
		buf_consume(&op->text, used);
	return n;
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct link_op *op = arg;

	if (op->ended)
		return n;
	if (op->status != 200) {
		if (op->text.len + n <= op->text.max)
			buf_append(&op->text, p, n);
		return n;
	}
	if (op->kind == KIND_PULL)
		return pull_data(op, p, n);
	return op->stream.data(op->arg, p, n);
}

static void on_stream_done(void *arg, const struct rpc_result *res)
{
	struct link_op *op = arg;
	struct link_result result = { 0 };
	struct err err;

	if (op->ended)
		return;
	op->call = NULL;
	op_end(op);
	if (res->rc)
		result = transport_failure(res);
	else if (res->status != 200)
		result = direct_refusal(res->status, buf_slice(&op->text), &err);
	else if (op->kind == KIND_PULL && !op->last.done)
		result = (struct link_result){ .rc = -ECOMM,
					       .error = "the pull's answer ended early",
					       .maybe_done = true };
	else if (op->kind == KIND_PULL && op->last.rc)
		result = (struct link_result){ .rc = op->last.rc, .error = op->last.text };
	op->stream.done(op->arg, &result);
}

static const struct rpc_ops stream_ops = { .head = on_head,
					   .body = on_body,
					   .done = on_stream_done };

static void on_refused(void *arg)
{
	struct link_op *op = arg;
	struct link_result res = { .rc = -ECOMM, .error = "too many calls are running" };

	op_end(op);
	direct_give_error(op, &res);
}

static struct link_op *op_new(struct link *l, enum kind kind, void *arg)
{
	struct link_op *op = xcalloc(1, sizeof(*op));

	op->direct = (struct direct *)l;
	op->loop = op->direct->config.loop;
	op->kind = kind;
	op->arg = arg;
	buf_init(&op->text, LINE_MAX_BYTES);
	loop_task_init(&op->refused, on_refused, op);
	list_push_back(&op->direct->ops, &op->link);
	return op;
}

/* <path> and <body> are taken. */
static void op_begin(struct link_op *op, const char *method, char *take_path, struct buf *take_body,
		     uint32_t idle_ms)
{
	struct direct *d = op->direct;
	char *url = xasprintf("%s%s", d->address, take_path);
	const char *headers[] = { d->authorization,
				  take_body    ? "Content-Type: application/json"
				  : op->upload ? "Content-Type: application/x-tar"
					       : NULL,
				  op->tag_line, op->bytes_line, NULL };
	const struct rpc_ops *ops = op->upload ? &upload_ops : &call_ops;
	struct rpc_target to = { .ca_pem = d->config.ca_pem };
	struct rpc_request req = {
		.method = method,
		.url = url,
		.headers = headers,
		.body = take_body ? buf_slice(take_body) : (struct slice){ 0 },
		.connect_timeout_ms = CONNECT_MS,
		.idle_timeout_ms = idle_ms,
		.max_response = RESPONSE_MAX_BYTES,
	};

	if (op->kind == KIND_STREAM || op->kind == KIND_PULL)
		ops = &stream_ops;
	op->call = rpc_begin(d->config.rpc, &to, &req, ops, op);
	if (!op->call)
		loop_later(d->config.loop, &op->refused);
	if (take_body)
		buf_fini(take_body);
	free(url);
	free(take_path);
}

/* One path segment: everything but unreserved characters is encoded. */
static char *encode(const char *s)
{
	struct buf b;

	buf_init(&b, 0);
	for (; *s; s++) {
		if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		    (*s >= '0' && *s <= '9') || strchr("-._~", *s))
			buf_append(&b, s, 1);
		else
			buf_printf(&b, "%%%02X", (unsigned char)*s);
	}
	return buf_steal(&b);
}

static char *container_path(const char *id, const char *suffix)
{
	char *encoded = encode(id), *path = xasprintf("/agent/containers/%s%s", encoded, suffix);

	free(encoded);
	return path;
}

static struct link_op *direct_ping(struct link *l, link_done_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_PLAIN, arg);

	op->done.plain = done;
	op_begin(op, "GET", xstrdup("/agent/ping"), NULL, CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_deploy(struct link *l, const struct wire_deploy *d,
				     link_deploy_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_DEPLOY, arg);
	struct json_out o;
	struct buf body;

	op->done.deploy = done;
	buf_init(&body, 0);
	json_out_init(&o, &body);
	wire_deploy_emit(d, &o);
	op_begin(op, "POST", xstrdup("/agent/containers/deploy"), &body, DEPLOY_IDLE_MS);
	return op;
}

static struct link_op *direct_start(struct link *l, const char *id, link_done_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_PLAIN, arg);

	op->done.plain = done;
	op_begin(op, "POST", container_path(id, "/start"), NULL, CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_stop(struct link *l, const char *id, uint32_t grace_s,
				   link_done_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_PLAIN, arg);
	struct buf body;

	op->done.plain = done;
	buf_init(&body, 0);
	buf_printf(&body, "{\"stop_timeout_s\":%u}", grace_s);
	op_begin(op, "POST", container_path(id, "/stop"), &body, grace_s * 1000 + CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_remove(struct link *l, const char *id, link_done_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_PLAIN, arg);

	op->done.plain = done;
	op_begin(op, "DELETE", container_path(id, ""), NULL, 2 * CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_info(struct link *l, const char *id, link_info_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_INFO, arg);

	op->done.info = done;
	op_begin(op, "GET", container_path(id, "/info"), NULL, CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_list(struct link *l, link_list_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_LIST, arg);

	op->done.list = done;
	op_begin(op, "GET", xstrdup("/agent/containers"), NULL, CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_logs(struct link *l, const char *id, const struct link_logs *opt,
				   const struct link_stream *s, void *arg)
{
	struct link_op *op = op_new(l, KIND_STREAM, arg);
	struct buf path;
	char *base = container_path(id, "/logs");

	op->stream = *s;
	buf_init(&path, 0);
	buf_printf(&path, "%s?follow=%s&timestamps=%s", base, opt->follow ? "true" : "false",
		   opt->timestamps ? "true" : "false");
	if (opt->tail == UINT32_MAX)
		buf_append_str(&path, "&tail=all");
	else
		buf_printf(&path, "&tail=%u", opt->tail);
	if (opt->since_ms) {
		char since[32];

		text_time(opt->since_ms, true, since);
		buf_printf(&path, "&since=%s", since);
	}
	free(base);
	op_begin(op, "GET", buf_steal(&path), NULL, opt->follow ? UINT32_MAX : CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_kept(struct link *l, const char *app, link_kept_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_KEPT, arg);

	op->done.kept = done;
	op_begin(op, "GET", xasprintf("/agent/logs/%s", app), NULL, CALL_IDLE_MS);
	return op;
}

static struct link_op *direct_kept_log(struct link *l, const char *app, const char *container,
				       uint32_t tail, const struct link_stream *s, void *arg)
{
	struct link_op *op = op_new(l, KIND_STREAM, arg);
	char *name = encode(container);

	op->stream = *s;
	op_begin(op, "GET",
		 tail == UINT32_MAX
			 ? xasprintf("/agent/logs/%s/%s", app, name)
			 : xasprintf("/agent/logs/%s/%s?tail=%" PRIu32, app, name, tail),
		 NULL, CALL_IDLE_MS);
	free(name);
	return op;
}

static struct link_op *direct_image_inspect(struct link *l, const char *ref, link_image_fn *done,
					    void *arg)
{
	struct link_op *op = op_new(l, KIND_IMAGE, arg);
	char *name = encode(ref);

	op->done.image = done;
	op_begin(op, "GET", xasprintf("/agent/images/%s/inspect", name), NULL, CALL_IDLE_MS);
	free(name);
	return op;
}

static struct link_op *direct_image_pull(struct link *l, const char *ref, const char *registry_auth,
					 const struct link_stream *s, void *arg)
{
	struct link_op *op = op_new(l, KIND_PULL, arg);
	struct json *auth = NULL;
	struct json_out o;
	struct buf body;

	op->stream = *s;
	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "image", ref);
	if (registry_auth && !json_parse(&auth, slice_str(registry_auth), NULL))
		json_put_json(&o, "registry_auth", auth);
	json_obj_end(&o);
	json_free(auth);
	op_begin(op, "POST", xstrdup("/agent/images/pull"), &body, PULL_IDLE_MS);
	return op;
}

static struct link_op *direct_image_load(struct link *l, const struct link_load *load,
					 link_image_fn *done, void *arg)
{
	struct link_op *op = op_new(l, KIND_IMAGE, arg);

	op->done.image = done;
	op->upload = load->upload;
	op->tag_line = xasprintf("x-image-tag: %s", load->tag);
	if (load->bytes)
		op->bytes_line = xasprintf("x-image-bytes: %" PRIu64, load->bytes);
	op_begin(op, "POST", xstrdup("/agent/images/import"), NULL, PULL_IDLE_MS);
	return op;
}

static struct link_op *direct_events(struct link *l, const struct link_stream *s, void *arg)
{
	struct link_op *op = op_new(l, KIND_STREAM, arg);

	op->stream = *s;
	op_begin(op, "GET", xstrdup("/agent/events"), NULL, EVENTS_IDLE_MS);
	return op;
}

static void direct_resume(struct link_op *op)
{
	if (op->call)
		rpc_resume(op->call);
}

static void direct_cancel(struct link_op *op)
{
	if (!op || op->ended)
		return;
	rpc_cancel(op->call);
	op->call = NULL;
	op_end(op);
}

static void direct_destroy(struct link *l)
{
	struct direct *d = (struct direct *)l;

	LIST_FOR_EACH_SAFE(op, &d->ops, struct link_op, link)
		direct_cancel(op);
	crypto_wipe(d->authorization, strlen(d->authorization));
	free(d->authorization);
	free(d->address);
	free(d);
}

static const struct link_ops direct_ops = {
	.ping = direct_ping,
	.deploy = direct_deploy,
	.start = direct_start,
	.stop = direct_stop,
	.remove = direct_remove,
	.info = direct_info,
	.list = direct_list,
	.logs = direct_logs,
	.kept = direct_kept,
	.kept_log = direct_kept_log,
	.image_inspect = direct_image_inspect,
	.image_pull = direct_image_pull,
	.image_load = direct_image_load,
	.events = direct_events,
	.resume = direct_resume,
	.cancel = direct_cancel,
	.destroy = direct_destroy,
};

struct link *link_direct_create(const struct direct_config *c)
{
	struct direct *d = xcalloc(1, sizeof(*d));

	d->link.ops = &direct_ops;
	d->config = *c;
	d->address = xstrdup(c->address);
	d->config.address = d->address;
	d->config.token = NULL;
	d->authorization = xasprintf("Authorization: Bearer %s", c->token);
	list_init(&d->ops);
	return &d->link;
}
