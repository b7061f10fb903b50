/* Operations on containers that exist: start, stop, info, stats, and the list of ours. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_inner.h"

#define LIST_MAX 4096		/* containers of one cluster on one node */
#define LIST_MAX_BYTES (16u << 20)
#define STOP_SLACK_MS 30000	/* what an engine may take beyond the grace */

static struct engine *engine_of(struct link *l)
{
	return CONTAINER_OF(l, struct engine, base);
}

/* --- start, stop --- */

struct plain_op {
	struct link_op op;
	link_done_fn *done;
	uint32_t grace_s;
};

static void plain_answer(struct link_op *op, const struct link_result *res)
{
	struct plain_op *p = (struct plain_op *)op;

	p->done(op->arg, res);
}

static const struct op_kind plain_kind = { .size = sizeof(struct plain_op),
					   .answer = plain_answer };

static void start_checked(struct link_op *op, const struct json *inspected)
{
	(void)inspected;
	op_call(op, &op_last_step,
		&(struct docker_request){ .method = "POST", .idle_timeout_ms = 60000 },
		"/containers/%s/start", op->id);
}

struct link_op *engine_start(struct link *l, const char *id, link_done_fn *done, void *arg)
{
	struct plain_op *p = op_new(engine_of(l), &plain_kind, arg);

	p->done = done;
	op_check(&p->op, id, start_checked);
	return &p->op;
}

static void stop_checked(struct link_op *op, const struct json *inspected)
{
	uint32_t grace_s = ((struct plain_op *)op)->grace_s;

	(void)inspected;
	op_call(op, &op_last_step,
		&(struct docker_request){ .method = "POST",
					  .idle_timeout_ms = grace_s * 1000 + STOP_SLACK_MS },
		"/containers/%s/stop?t=%" PRIu32, op->id, grace_s);
}

struct link_op *engine_stop(struct link *l, const char *id, uint32_t grace_s, link_done_fn *done,
			    void *arg)
{
	struct plain_op *p = op_new(engine_of(l), &plain_kind, arg);

	p->done = done;
	p->grace_s = MIN(grace_s, 86400u);
	op_check(&p->op, id, stop_checked);
	return &p->op;
}

/* --- info --- */

struct info_op {
	struct link_op op;
	link_info_fn *done;
	struct wire_container found;
};

static void info_answer(struct link_op *op, const struct link_result *res)
{
	struct info_op *i = (struct info_op *)op;

	i->done(op->arg, res, res->rc ? NULL : &i->found);
}

static void info_fini(struct link_op *op)
{
	wire_container_fini(&((struct info_op *)op)->found);
}

static const struct op_kind info_kind = { .size = sizeof(struct info_op),
					  .answer = info_answer,
					  .fini = info_fini };

static void info_checked(struct link_op *op, const struct json *inspected)
{
	if (inspect_container(&((struct info_op *)op)->found, inspected))
		op_finish(op, &(struct link_result){
				      .rc = -EIO, .error = "the engine described no container" });
	else
		op_done(op);
}

struct link_op *engine_info(struct link *l, const char *id, link_info_fn *done, void *arg)
{
	struct info_op *i = op_new(engine_of(l), &info_kind, arg);

	i->done = done;
	op_check(&i->op, id, info_checked);
	return &i->op;
}

/* --- stats --- */

struct stats_op {
	struct link_op op;
	engine_stats_fn *done;
	struct wire_stats found;
};

static void stats_answer(struct link_op *op, const struct link_result *res)
{
	struct stats_op *s = (struct stats_op *)op;

	s->done(op->arg, res, res->rc ? NULL : &s->found);
}

static const struct op_kind stats_kind = { .size = sizeof(struct stats_op),
					   .answer = stats_answer };

static void on_stats(void *arg, const struct docker_result *res)
{
	struct stats_op *s = arg;
	struct json *j;

	s->op.call = NULL;
	if (res->rc) {
		op_fail(&s->op, res);
	} else if (json_parse(&j, res->body, NULL)) {
		op_finish(&s->op, &(struct link_result){
					  .rc = -EIO, .error = "the engine's answer is no JSON" });
	} else {
		inspect_stats(&s->found, j);
		json_free(j);
		op_done(&s->op);
	}
}

static const struct docker_ops stats_ops = { .done = on_stats };

static void stats_checked(struct link_op *op, const struct json *inspected)
{
	(void)inspected;
	op_call(op, &stats_ops, &(struct docker_request){ .method = "GET" },
		"/containers/%s/stats?stream=false", op->id);
}

struct link_op *engine_stats(struct engine *e, const char *id, engine_stats_fn *done, void *arg)
{
	struct stats_op *s = op_new(e, &stats_kind, arg);

	s->done = done;
	op_check(&s->op, id, stats_checked);
	return &s->op;
}

/* --- list: who is there, then each of them in turn, since the list does not say when one was started --- */

struct list_op {
	struct link_op op;
	link_list_fn *done;
	char (*ids)[65];
	size_t nids, next;
	struct wire_container *found;
	size_t n;
};

static void list_answer(struct link_op *op, const struct link_result *res)
{
	struct list_op *l = (struct list_op *)op;

	l->done(op->arg, res, res->rc ? NULL : l->found, res->rc ? 0 : l->n);
}

static void list_fini(struct link_op *op)
{
	struct list_op *l = (struct list_op *)op;

	for (size_t i = 0; i < l->n; i++)
		wire_container_fini(&l->found[i]);
	free(l->found);
	free(l->ids);
}

static const struct op_kind list_kind = { .size = sizeof(struct list_op),
					  .answer = list_answer,
					  .fini = list_fini };

static void list_next(struct list_op *l);

static void on_inspected(void *arg, const struct docker_result *res)
{
	struct list_op *l = arg;
	struct json *j;

	l->op.call = NULL;
	/* One that went meanwhile is not in the list. */
	if (res->rc && res->rc != -ENOENT) {
		op_fail(&l->op, res);
		return;
	}
	if (!res->rc && !json_parse(&j, res->body, NULL)) {
		if (!inspect_container(&l->found[l->n], j))
			l->n++;
		json_free(j);
	}
	list_next(l);
}

static const struct docker_ops inspect_ops = { .done = on_inspected };

static void list_next(struct list_op *l)
{
	if (l->next == l->nids)
		op_done(&l->op);
	else
		op_call(&l->op, &inspect_ops, &(struct docker_request){ .method = "GET" },
			"/containers/%s/json", l->ids[l->next++]);
}

static void on_list(void *arg, const struct docker_result *res)
{
	struct list_op *l = arg;
	struct json *j;
	size_t n;

	l->op.call = NULL;
	if (res->rc) {
		op_fail(&l->op, res);
		return;
	}
	if (json_parse(&j, res->body, NULL)) {
		op_finish(&l->op, &(struct link_result){
					  .rc = -EIO, .error = "the engine's answer is no JSON" });
		return;
	}
	n = MIN(json_len(j), (size_t)LIST_MAX);
	l->ids = xcalloc(n + 1, sizeof(*l->ids));
	l->found = xcalloc(n + 1, sizeof(*l->found));
	for (size_t i = 0; i < n; i++)
		if (!slice_copy(json_str(json_get(json_at(j, i), "Id"), ""), l->ids[l->nids],
				sizeof(l->ids[0])) &&
		    op_is_container_ref(l->ids[l->nids]))
			l->nids++;
	json_free(j);
	list_next(l);
}

static const struct docker_ops list_ops = { .done = on_list };

struct link_op *engine_list(struct link *link, link_list_fn *done, void *arg)
{
	struct engine *e = engine_of(link);
	struct list_op *l = op_new(e, &list_kind, arg);

	l->done = done;
	op_call(&l->op, &list_ops,
		&(struct docker_request){ .method = "GET", .max_response = LIST_MAX_BYTES },
		"/containers/json?all=1&filters=%s", e->filter);
	return &l->op;
}
