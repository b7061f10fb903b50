/* Removes a container, when its log is kept. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/docker_frames.h"
#include "agent/engine_inner.h"
#include "agent/log_store.h"
#include "base/log.h"

#define KEEP_LINES 100000u /* what is older is not read at all */
#define KEEP_IDLE_MS 10000 /* an engine that has its log and does not give it */

struct remove_op {
	struct link_op op;
	link_done_fn *done;
	struct log_writer *writer; /* NULL: nothing is to be kept, or all is */
	struct docker_frames frames;
	bool raw; /* the container has a terminal: no frames */
	bool bad;
};

static void remove_answer(struct link_op *op, const struct link_result *res)
{
	((struct remove_op *)op)->done(op->arg, res);
}

static void remove_fini(struct link_op *op)
{
	log_writer_cancel(((struct remove_op *)op)->writer);
}

static const struct op_kind remove_kind = { .size = sizeof(struct remove_op),
					    .answer = remove_answer,
					    .fini = remove_fini };

static void on_removed(void *arg, const struct docker_result *res)
{
	struct link_op *op = arg;

	op->call = NULL;
	/* "removal of container … is already in progress": somebody else's, and it will end. */
	if (res->rc && res->rc != -EEXIST)
		op_fail(op, res);
	else
		op_done(op);
}

static const struct docker_ops remove_ops = { .done = on_removed };

static void remove_now(struct link_op *op)
{
	op_call(op, &remove_ops,
		&(struct docker_request){ .method = "DELETE", .idle_timeout_ms = 60000 },
		"/containers/%s?force=1&v=1", op->id);
}

/* ---- its log ---- */

static void on_ready(void *arg)
{
	struct remove_op *r = arg;

	if (r->op.call)
		docker_resume(r->op.call);
}

/* A log that could not be kept does not keep the container. */
static void on_kept(void *arg, int rc)
{
	struct remove_op *r = arg;

	r->writer = NULL;
	if (rc)
		log_warn("the log of container %.12s is not kept: %s", r->op.id, strerror(-rc));
	remove_now(&r->op);
}

static size_t on_log(void *arg, const char *p, size_t n)
{
	struct remove_op *r = arg;
	struct slice content;
	size_t used = 0, taken;
	ssize_t heads;

	if (r->raw)
		return log_writer_put(r->writer, p, n);
	while (used < n && !r->bad) {
		heads = docker_frames_next(&r->frames, p + used, n - used, &content);
		r->bad = heads < 0;
		if (r->bad)
			break;
		used += (size_t)heads;
		taken = log_writer_put(r->writer, content.p, content.n);
		docker_frames_taken(&r->frames, taken);
		used += taken;
		if (taken < content.n)
			return used;
	}
	return n;
}

static void on_log_end(void *arg, const struct docker_result *res)
{
	struct remove_op *r = arg;

	r->op.call = NULL;
	if (res->rc == -ECOMM) {
		op_fail(&r->op, res);
		return;
	}
	if (res->rc)
		log_warn("the log of container %.12s is not kept: %s", r->op.id, res->error);
	log_writer_end(r->writer);
}

static const struct docker_ops log_ops = { .data = on_log, .done = on_log_end };

static bool label_number(const struct json *labels, const char *name, uint32_t *out)
{
	uint64_t n;

	if (slice_u64(json_str(json_get(labels, name), ""), &n) || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* False: it is no replica, or it never ran. */
static bool begin_keeping(struct remove_op *r, const struct json *inspected)
{
	static const struct log_writer_events events = { .ready = on_ready, .done = on_kept };
	const struct json *labels = json_get(json_get(inspected, "Config"), "Labels");
	struct slice name = json_str(json_get(inspected, "Name"), "");
	struct wire_kept k = { 0 };

	if (!r->op.engine->logs || name.n < 2 || name.p[0] != '/' ||
	    slice_copy(slice_of(name.p + 1, name.n - 1), k.container, sizeof(k.container)) ||
	    !label_number(labels, WIRE_LABEL_RELEASE, &k.release) ||
	    !label_number(labels, WIRE_LABEL_REPLICA, &k.replica))
		return false;
	r->raw = json_bool(json_get(json_get(inspected, "Config"), "Tty"), false);
	r->writer =
		log_writer_begin(r->op.engine->logs,
				 json_cstr(json_get(labels, WIRE_LABEL_APP), ""), &k, &events, r);
	return r->writer != NULL;
}

static void remove_checked(struct link_op *op, const struct json *inspected)
{
	struct remove_op *r = (struct remove_op *)op;

	if (!begin_keeping(r, inspected)) {
		remove_now(op);
		return;
	}
	op_call(op, &log_ops,
		&(struct docker_request){ .method = "GET", .idle_timeout_ms = KEEP_IDLE_MS },
		"/containers/%s/logs?stdout=1&stderr=1&timestamps=1&tail=%u", op->id, KEEP_LINES);
}

struct link_op *engine_remove(struct link *l, const char *id, link_done_fn *done, void *arg)
{
	struct remove_op *r = op_new(CONTAINER_OF(l, struct engine, base), &remove_kind, arg);

	r->done = done;
	docker_frames_init(&r->frames);
	r->frames.timed = true;
	op_check(&r->op, id, remove_checked);
	return &r->op;
}
