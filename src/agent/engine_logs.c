/* Logs of a container: the engine's frames in, plain text out, as fast as the reader takes it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/docker_frames.h"
#include "agent/engine_inner.h"

struct logs_op {
	struct link_op op;
	struct link_stream stream;
	struct link_logs opt;
	struct docker_frames frames;
	bool raw;		/* the container has a terminal: no frames */
	bool bad;
};

static void logs_answer(struct link_op *op, const struct link_result *res)
{
	((struct logs_op *)op)->stream.done(op->arg, res);
}

static const struct op_kind logs_kind = { .size = sizeof(struct logs_op), .answer = logs_answer };

static size_t on_framed(struct logs_op *l, const char *p, size_t n)
{
	size_t used = 0, taken;
	struct slice content;
	ssize_t heads;

	while (used < n) {
		heads = docker_frames_next(&l->frames, p + used, n - used, &content);
		if (heads < 0) {
			l->bad = true;
			return n;
		}
		used += (size_t)heads;
		if (!content.n)
			break;
		taken = l->stream.data(l->op.arg, content.p, content.n);
		if (l->op.gone)
			return n;
		docker_frames_taken(&l->frames, taken);
		used += taken;
		if (taken < content.n)
			break;
	}
	return used;
}

static size_t on_data(void *arg, const char *p, size_t n)
{
	struct logs_op *l = arg;

	if (l->bad)
		return n;
	return l->raw ? l->stream.data(l->op.arg, p, n) : on_framed(l, p, n);
}

static void on_end(void *arg, const struct docker_result *res)
{
	struct logs_op *l = arg;

	l->op.call = NULL;
	if (res->rc)
		op_fail(&l->op, res);
	else if (l->bad || !docker_frames_at_edge(&l->frames))
		op_finish(&l->op,
			  &(struct link_result){ .rc = -EIO,
						 .error = "the engine's log stream is broken" });
	else
		op_done(&l->op);
}

static const struct docker_ops logs_ops = { .data = on_data, .done = on_end };

static void logs_checked(struct link_op *op, const struct json *inspected)
{
	struct logs_op *l = (struct logs_op *)op;
	struct docker_request req = { .method = "GET", .idle_timeout_ms = DOCKER_ENDLESS_MS };
	char tail[16] = "all";

	l->raw = json_bool(json_get(json_get(inspected, "Config"), "Tty"), false);
	if (l->opt.tail != UINT32_MAX)
		snprintf(tail, sizeof(tail), "%" PRIu32, l->opt.tail);
	op_call(op, &logs_ops, &req,
		"/containers/%s/logs?stdout=1&stderr=1&follow=%d&timestamps=%d&tail=%s&since=%" PRIu64
		".%03" PRIu64,
		op->id, l->opt.follow, l->opt.timestamps, tail, l->opt.since_ms / 1000,
		l->opt.since_ms % 1000);
}

struct link_op *engine_logs(struct link *link, const char *id, const struct link_logs *opt,
			    const struct link_stream *s, void *arg)
{
	struct logs_op *l = op_new(CONTAINER_OF(link, struct engine, base), &logs_kind, arg);

	l->stream = *s;
	l->opt = *opt;
	docker_frames_init(&l->frames);
	l->frames.timed = opt->timestamps;
	op_check(&l->op, id, logs_checked);
	return &l->op;
}
