/* Streams of JSON lines: pulling an image, and container events. Each line of the engine's becomes a line of ours or nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/engine_inner.h"
#include "reactor/deadline.h"

#define LINE_MAX_BYTES 65536
#define OUT_HIGH_BYTES \
	65536 /* more than this waiting for the reader: nothing is taken from the engine */
#define KEEP_ALIVE_MS 4000	/* an empty line after so much silence: promised are 5 s */
#define PULL_IDLE_MS 300000
#define PROGRESS_MS 500		/* at most one progress bar's step in this time */

struct lines_op {
	struct link_op op;
	struct link_stream stream;
	void (*line)(struct lines_op *l, const struct json *j);
	struct buf in, out;
	bool skipping;			/* inside a line that is too long */
	bool ended; /* the engine is done; <result> waits for <out> to be taken */
	struct link_result result;
	char error[256];
	struct deadline keep_alive;	/* events only */
	uint64_t shown_ms;		/* pull: when progress was last passed on */
};

static void lines_answer(struct link_op *op, const struct link_result *res)
{
	((struct lines_op *)op)->stream.done(op->arg, res);
}

static void lines_fini(struct link_op *op)
{
	struct lines_op *l = (struct lines_op *)op;

	deadline_stop(&l->keep_alive);
	buf_fini(&l->in);
	buf_fini(&l->out);
}

/* Offers the reader what there is. False when the operation is gone afterwards. */
static bool flush(struct lines_op *l)
{
	size_t taken;

	while (l->out.len) {
		taken = l->stream.data(l->op.arg, l->out.data, l->out.len);
		if (l->op.gone)
			return false;
		buf_consume(&l->out, taken);
		if (!taken)
			break;
	}
	if (l->out.len || !l->ended)
		return true;
	op_finish(&l->op, &l->result);
	return false;
}

static void lines_resume(struct link_op *op)
{
	struct lines_op *l = (struct lines_op *)op;

	if (flush(l) && l->op.call && l->out.len < OUT_HIGH_BYTES)
		docker_resume(l->op.call);
}

static const struct op_kind lines_kind = {
	.size = sizeof(struct lines_op),
	.answer = lines_answer,
	.fini = lines_fini,
	.resume = lines_resume,
};

static void one_line(struct lines_op *l, struct slice text)
{
	struct json *j;

	if (!l->skipping && slice_trim(text).n && !json_parse(&j, text, NULL)) {
		l->line(l, j);
		json_free(j);
	}
	l->skipping = false;
}

/* Splits what came into lines. A line that is not complete waits in <in>. */
static void split(struct lines_op *l, struct slice rest)
{
	struct slice line;

	while (memchr(rest.p, '\n', rest.n)) {
		line = slice_split(rest, '\n', &rest);
		if (l->in.len) {
			buf_append_slice(&l->in, line);
			line = buf_slice(&l->in);
			one_line(l, line);
			buf_clear(&l->in);
		} else {
			one_line(l, line);
		}
	}
	if (rest.n && (l->skipping || buf_append_slice(&l->in, rest))) {
		l->skipping = true;
		buf_clear(&l->in);
	}
}

static size_t on_data(void *arg, const char *p, size_t n)
{
	struct lines_op *l = arg;

	if (l->out.len >= OUT_HIGH_BYTES)
		return 0;
	if (n)
		split(l, slice_of(p, n));
	flush(l);
	return n;
}

static void end(struct lines_op *l, int rc, const char *text)
{
	l->ended = true;
	if (text != l->error)
		snprintf(l->error, sizeof(l->error), "%s", text ? text : "");
	l->result = (struct link_result){ .rc = rc, .error = rc ? l->error : NULL };
	flush(l);
}

/* Events only: says that the stream is alive when nothing happens. */
static void on_silence(void *arg)
{
	struct lines_op *l = arg;

	deadline_set(&l->keep_alive, KEEP_ALIVE_MS);
	if (!l->out.len && l->op.call)
		buf_append_str(&l->out, "\n");
	flush(l);
}

static struct lines_op *lines_new(struct link *link, const struct link_stream *s, void *arg)
{
	struct lines_op *l = op_new(CONTAINER_OF(link, struct engine, base), &lines_kind, arg);

	l->stream = *s;
	buf_init(&l->in, LINE_MAX_BYTES);
	buf_init(&l->out, 0);
	deadline_init(&l->keep_alive, l->op.engine->loop, on_silence, l);
	return l;
}

/* --- pull --- */

static void pull_line(struct lines_op *l, const struct json *j)
{
	uint64_t now_ms = loop_now_ms(l->op.engine->loop);
	char text[512];
	bool moving;

	if (json_get(j, "error")) {
		snprintf(l->error, sizeof(l->error), "%s",
			 json_cstr(json_get(j, "error"), "pull failed"));
		return;
	}
	inspect_progress(j, text, sizeof(text), &moving);
	if (moving && now_ms - l->shown_ms < PROGRESS_MS)
		return;
	l->shown_ms = moving ? now_ms : l->shown_ms;
	buf_printf(&l->out, "%s\n", text);
}

/* Registries and engines have no common code for "there is no such image, or not for you". */
static bool is_absent(const char *error)
{
	static const char *const words[] = { "not found",      "no such",	"denied",
					     "unauthorized",   "does not exist", "manifest unknown",
					     "no basic auth", "authentication required" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasestr(error, words[i]))
			return true;
	return false;
}

static void on_pulled(void *arg, const struct docker_result *res)
{
	struct lines_op *l = arg;

	l->op.call = NULL;
	if (res->rc == -ECOMM || res->rc == -ETIMEDOUT)
		op_fail(&l->op, res);
	else if (res->rc)
		end(l, is_absent(res->error) ? -ENOENT : res->rc, res->error);
	else
		end(l, !l->error[0] ? 0 : is_absent(l->error) ? -ENOENT : -EIO, l->error);
}

static const struct docker_ops pull_ops = { .data = on_data, .done = on_pulled };

/* A reference without tag and digest means ":latest" here, and every tag there is to the engine. */
static bool names_a_tag(const char *ref)
{
	const char *slash = strrchr(ref, '/');

	return strchr(ref, '@') || strchr(slash ? slash : ref, ':');
}

struct link_op *engine_image_pull(struct link *link, const char *ref, const char *registry_auth,
				  const struct link_stream *s, void *arg)
{
	struct lines_op *l = lines_new(link, s, arg);
	struct docker_request req = { .method = "POST",
				      .registry_auth = registry_auth,
				      .idle_timeout_ms = PULL_IDLE_MS };

	l->line = pull_line;
	if (!op_is_image_ref(ref))
		op_refuse(&l->op, -EINVAL, "\"%.64s\" cannot name an image", ref ? ref : "");
	else
		op_call(&l->op, &pull_ops, &req, "/images/create?fromImage=%s%s", ref,
			names_a_tag(ref) ? "" : "&tag=latest");
	return &l->op;
}

/* --- events --- */

static void event_line(struct lines_op *l, const struct json *j)
{
	struct wire_event e;

	if (!inspect_event(&e, j)) {
		wire_event_emit(&e, &l->out);
		wire_event_fini(&e);
		deadline_set(&l->keep_alive, KEEP_ALIVE_MS);
	}
}

static void on_events_end(void *arg, const struct docker_result *res)
{
	struct lines_op *l = arg;

	l->op.call = NULL;
	deadline_stop(&l->keep_alive);
	if (res->rc) {
		op_fail(&l->op, res);
		return;
	}
	/* An engine that stops closes the stream in good order. */
	engine_probe_doubt(l->op.engine->probe, "the engine closed its event stream");
	end(l, -ECOMM, "the engine closed its event stream");
}

static const struct docker_ops events_ops = { .data = on_data, .done = on_events_end };

struct link_op *engine_events(struct link *link, const struct link_stream *s, void *arg)
{
	struct lines_op *l = lines_new(link, s, arg);

	l->line = event_line;
	deadline_set(&l->keep_alive, KEEP_ALIVE_MS);
	op_call(&l->op, &events_ops,
		&(struct docker_request){ .method = "GET", .idle_timeout_ms = DOCKER_ENDLESS_MS },
		"/events?filters=%s", l->op.engine->filter);
	return &l->op;
}
