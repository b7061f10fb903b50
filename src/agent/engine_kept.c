/* Logs of containers that are gone: what there is, and one of them, as fast as the reader takes it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_inner.h"
#include "agent/log_store.h"

/* ---- which there are ---- */

struct kept_op {
	struct link_op op;
	link_kept_fn *done;
	struct log_ask *ask;
	const struct wire_kept *list; /* during the answer */
	size_t n;
};

static void kept_answer(struct link_op *op, const struct link_result *res)
{
	struct kept_op *k = (struct kept_op *)op;

	k->done(op->arg, res, k->list, k->n);
}

static void kept_fini(struct link_op *op)
{
	log_ask_cancel(((struct kept_op *)op)->ask);
}

static const struct op_kind kept_kind = { .size = sizeof(struct kept_op),
					  .answer = kept_answer,
					  .fini = kept_fini };

static void on_list(void *arg, int rc, const struct wire_kept *list, size_t n)
{
	struct kept_op *k = arg;

	k->ask = NULL;
	k->list = list;
	k->n = n;
	op_finish(&k->op,
		  &(struct link_result){ .rc = rc ? -EIO : 0, .error = rc ? strerror(-rc) : NULL });
}

struct link_op *engine_kept(struct link *l, const char *app, link_kept_fn *done, void *arg)
{
	struct engine *e = CONTAINER_OF(l, struct engine, base);
	struct kept_op *k = op_new(e, &kept_kind, arg);

	k->done = done;
	k->ask = e->logs ? log_store_list(e->logs, app, on_list, k) : NULL;
	if (!k->ask)
		op_refuse(&k->op, e->logs ? -EBUSY : -ENOENT,
			  e->logs ? "too much is asked for at once" : "no logs are kept here");
	return &k->op;
}

/* ---- one of them ---- */

struct kept_log_op {
	struct link_op op;
	struct link_stream stream;
	struct log_ask *ask;
	char *app, *container;
	struct log_place at;
	struct buf chunk; /* came, and was not taken yet */
};

static void kept_log_answer(struct link_op *op, const struct link_result *res)
{
	((struct kept_log_op *)op)->stream.done(op->arg, res);
}

static void kept_log_fini(struct link_op *op)
{
	struct kept_log_op *k = (struct kept_log_op *)op;

	log_ask_cancel(k->ask);
	buf_fini(&k->chunk);
	free(k->app);
	free(k->container);
}

static void read_on(struct kept_log_op *k);

/* Offers what there is, then asks for more. */
static void kept_log_resume(struct link_op *op)
{
	struct kept_log_op *k = (struct kept_log_op *)op;
	size_t taken;

	while (k->chunk.len) {
		taken = k->stream.data(op->arg, k->chunk.data, k->chunk.len);
		if (op->gone)
			return;
		buf_consume(&k->chunk, taken);
		if (!taken)
			return;
	}
	if (!k->ask)
		read_on(k);
}

static const struct op_kind kept_log_kind = { .size = sizeof(struct kept_log_op),
					      .answer = kept_log_answer,
					      .fini = kept_log_fini,
					      .resume = kept_log_resume };

static void on_chunk(void *arg, int rc, const char *p, size_t n, const struct log_place *next)
{
	struct kept_log_op *k = arg;

	k->ask = NULL;
	k->at = *next;
	if (rc) {
		op_finish(&k->op, &(struct link_result){ .rc = rc == -ENOENT ? rc : -EIO,
							 .error = strerror(-rc) });
	} else if (!n) {
		op_done(&k->op);
	} else {
		buf_append(&k->chunk, p, n);
		kept_log_resume(&k->op);
	}
}

static void read_on(struct kept_log_op *k)
{
	k->ask = log_store_read(k->op.engine->logs, k->app, k->container, &k->at, on_chunk, k);
	if (!k->ask)
		op_refuse(&k->op, -EBUSY, "too much is asked for at once");
}

struct link_op *engine_kept_log(struct link *l, const char *app, const char *container,
				uint32_t tail, const struct link_stream *s, void *arg)
{
	struct engine *e = CONTAINER_OF(l, struct engine, base);
	struct kept_log_op *k = op_new(e, &kept_log_kind, arg);

	k->stream = *s;
	k->app = xstrdup(app);
	k->container = xstrdup(container);
	k->at.tail = tail;
	buf_init(&k->chunk, 0);
	if (e->logs)
		read_on(k);
	else
		op_refuse(&k->op, -ENOENT, "no logs are kept here");
	return &k->op;
}
