/* The engine: its link's table, and what every operation has in common. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_inner.h"

static void on_destroy(struct link *l)
{
	/* The engine owns the link: engine_destroy() frees both. */
	(void)l;
}

static const struct link_ops engine_ops = {
	.deploy = engine_deploy,
	.start = engine_start,
	.stop = engine_stop,
	.remove = engine_remove,
	.info = engine_info,
	.list = engine_list,
	.logs = engine_logs,
	.kept = engine_kept,
	.kept_log = engine_kept_log,
	.image_inspect = engine_image_inspect,
	.image_pull = engine_image_pull,
	.image_save = engine_image_save,
	.image_load = engine_image_load,
	.events = engine_events,
	.resume = op_resume,
	.cancel = op_cancel,
	.destroy = on_destroy,
};

static char *make_filter(const struct engine *e)
{
	struct json_out o;
	struct buf text, label;
	char *escaped;

	buf_init(&text, 0);
	buf_init(&label, 0);
	json_out_init(&o, &text);
	json_obj(&o, NULL);
	json_arr(&o, "label");
	json_put_str(&o, NULL, WIRE_LABEL_MANAGED "=true");
	buf_printf(&label, WIRE_LABEL_CLUSTER "=%s", e->cluster_id);
	json_put_slice(&o, NULL, buf_slice(&label));
	buf_clear(&label);
	buf_printf(&label, WIRE_LABEL_NODE "=%s", e->node_name);
	json_put_slice(&o, NULL, buf_slice(&label));
	json_arr_end(&o);
	json_obj_end(&o);
	escaped = op_escape(text.data);
	buf_fini(&label);
	buf_fini(&text);
	return escaped;
}

int engine_create(struct engine **out, struct loop *l, struct rpc *r, const struct engine_config *c,
		  struct err *err)
{
	struct engine *e = xcalloc(1, sizeof(*e));
	int rc;

	e->base.ops = &engine_ops;
	e->loop = l;
	e->logs = c->logs;
	list_init(&e->ops);
	e->cluster_id = xstrdup(c->cluster_id);
	e->node_name = xstrdup(c->node_name);
	e->filter = make_filter(e);
	rc = docker_create(&e->docker, l, r, c->docker_host, err);
	if (rc) {
		engine_destroy(e);
		return rc;
	}
	e->probe = engine_probe_create(e);
	*out = e;
	return 0;
}

void engine_destroy(struct engine *e)
{
	if (!e)
		return;
	while (!list_empty(&e->ops))
		op_cancel(LIST_FIRST(&e->ops, struct link_op, link));
	engine_probe_destroy(e->probe);
	docker_destroy(e->docker);
	free(e->cluster_id);
	free(e->node_name);
	free(e->filter);
	free(e);
}

struct link *engine_link(struct engine *e)
{
	return &e->base;
}

static void on_refuse(void *arg)
{
	struct link_op *op = arg;

	op_finish(op, &op->failure);
}

void *op_new(struct engine *e, const struct op_kind *kind, void *arg)
{
	struct link_op *op = xcalloc(1, kind->size);

	op->engine = e;
	op->kind = kind;
	op->arg = arg;
	loop_task_init(&op->refuse, on_refuse, op);
	list_push_back(&e->ops, &op->link);
	return op;
}

/* Off the books; its memory goes at the end of the turn. */
static void op_retire(struct link_op *op)
{
	op->gone = true;
	loop_task_cancel(&op->refuse);
	list_remove(&op->link);
	if (op->kind->fini)
		op->kind->fini(op);
	loop_defer(op->engine->loop, &op->reap, free, op);
}

void op_finish(struct link_op *op, const struct link_result *res)
{
	op->kind->answer(op, res);
	op_retire(op);
}

void op_done(struct link_op *op)
{
	op_finish(op, &(struct link_result){ .rc = 0 });
}

void op_fail(struct link_op *op, const struct docker_result *res)
{
	struct link_result out = { .rc = res->rc, .error = res->error };

	if (res->rc == -ECOMM || res->rc == -ETIMEDOUT) {
		out.maybe_done = res->sent;
		engine_probe_doubt(op->engine->probe, res->error);
	}
	op_finish(op, &out);
}

void op_refuse(struct link_op *op, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(op->failure_text, sizeof(op->failure_text), fmt, ap);
	va_end(ap);
	op->failure = (struct link_result){ .rc = rc, .error = op->failure_text };
	loop_later(op->engine->loop, &op->refuse);
}

void op_cancel(struct link_op *op)
{
	docker_cancel(op->call);
	op->call = NULL;
	op_retire(op);
}

void op_resume(struct link_op *op)
{
	if (op->kind->resume)
		op->kind->resume(op);
	else if (op->call)
		docker_resume(op->call);
}

void op_call(struct link_op *op, const struct docker_ops *ops, const struct docker_request *req,
	     const char *path_fmt, ...)
{
	struct docker_request r = *req;
	struct buf path;
	va_list ap;

	buf_init(&path, 0);
	va_start(ap, path_fmt);
	buf_vprintf(&path, path_fmt, ap);
	va_end(ap);
	r.path = path.data;
	op->call = docker_begin(op->engine->docker, &r, ops, op);
	buf_fini(&path);
}

static void on_last_step(void *arg, const struct docker_result *res)
{
	struct link_op *op = arg;

	op->call = NULL;
	if (res->rc)
		op_fail(op, res);
	else
		op_done(op);
}

const struct docker_ops op_last_step = { .done = on_last_step };

static void on_checked(void *arg, const struct docker_result *res)
{
	struct link_op *op = arg;
	const struct json *labels;
	struct json *j = NULL;

	op->call = NULL;
	if (res->rc) {
		op_fail(op, res);
		return;
	}
	if (json_parse(&j, res->body, NULL)) {
		op_finish(op, &(struct link_result){ .rc = -EIO,
						     .error = "the engine's answer is no JSON" });
		return;
	}
	labels = json_get(json_get(j, "Config"), "Labels");
	if (!inspect_is_ours(labels, op->engine->cluster_id, op->engine->node_name) ||
	    slice_copy(json_str(json_get(j, "Id"), ""), op->id, sizeof(op->id)))
		op_finish(op, &(struct link_result){ .rc = -ENOENT, .error = "no such container" });
	else
		op->checked(op, j);
	json_free(j);
}

static const struct docker_ops check_ops = { .done = on_checked };

void op_check(struct link_op *op, const char *id,
	      void (*checked)(struct link_op *op, const struct json *inspected))
{
	op->checked = checked;
	if (!op_is_container_ref(id)) {
		op_refuse(op, -ENOENT, "no such container");
		return;
	}
	op_call(op, &check_ops, &(struct docker_request){ .method = "GET" }, "/containers/%s/json",
		id);
}

bool op_is_container_ref(const char *id)
{
	if (!id || !isalnum((unsigned char)*id) || strlen(id) > 255)
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("_.-", *id))
			return false;
	return true;
}

bool op_is_image_ref(const char *ref)
{
	if (!ref || !isalnum((unsigned char)*ref) || strlen(ref) > 512 || strstr(ref, "//") ||
	    strstr(ref, ".."))
		return false;
	for (; *ref; ref++)
		if (!isalnum((unsigned char)*ref) && !strchr("_.:/@-", *ref))
			return false;
	return true;
}

char *op_escape(const char *s)
{
	struct buf b;

	buf_init(&b, 0);
	buf_append_str(&b, "");
	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			buf_append(&b, s, 1);
		else
			buf_printf(&b, "%%%02X", (unsigned char)*s);
	}
	return buf_steal(&b);
}
