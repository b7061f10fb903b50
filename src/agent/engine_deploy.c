/* Deploy: create and start a container, in steps that may be repeated without harm. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_create.h"
#include "agent/engine_inner.h"

struct deploy_op {
	struct link_op op;
	link_deploy_fn *done;
	char *name, *spec_hash;
	char *volumes; /* the filter for containers that have one of its volumes, or NULL */
	struct buf body;
	uint16_t container_port;	/* the one the answer is about */
	bool created; /* by this very call: taken away again when it does not start */
	bool looked;  /* an existing one was looked at before: do not start it twice */
	struct wire_deployed found;
	int start_rc;
	char start_error[256];
};

static void deploy_answer(struct link_op *op, const struct link_result *res)
{
	struct deploy_op *d = (struct deploy_op *)op;

	d->done(op->arg, res, res->rc ? NULL : &d->found);
}

static void deploy_fini(struct link_op *op)
{
	struct deploy_op *d = (struct deploy_op *)op;

	free(d->name);
	free(d->spec_hash);
	free(d->volumes);
	buf_fini(&d->body);
}

static const struct op_kind deploy_kind = { .size = sizeof(struct deploy_op),
					    .answer = deploy_answer,
					    .fini = deploy_fini };

static void deploy_start(struct deploy_op *d);

static void describe(struct deploy_op *d, const struct wire_container *c)
{
	snprintf(d->found.container_id, sizeof(d->found.container_id), "%s", c->id);
	snprintf(d->found.container_name, sizeof(d->found.container_name), "%s", c->name);
	snprintf(d->found.status, sizeof(d->found.status), "%s", c->status);
	d->found.started_at_ms = c->started_at_ms;
	d->found.container_port = d->container_port;
	for (size_t i = 0; i < c->nports; i++)
		if (!c->ports[i].udp && c->ports[i].container_port == d->container_port)
			d->found.host_port = c->ports[i].host_port;
}

static void name_taken(struct deploy_op *d, const char *why)
{
	char text[320];

	snprintf(text, sizeof(text), "container %s exists already, %s", d->name, why);
	op_finish(&d->op, &(struct link_result){ .rc = -EEXIST, .error = text });
}

/* Somebody has the name: the same container from an earlier attempt, or another one? */
static void judge(struct deploy_op *d, const struct wire_container *c, const struct json *labels)
{
	const char *spec = json_cstr(json_get(labels, WIRE_LABEL_SPEC), "");

	if (!inspect_is_ours(labels, d->op.engine->cluster_id, d->op.engine->node_name)) {
		name_taken(d, "and is not of this cluster and node");
	} else if (!d->spec_hash || strcmp(spec, d->spec_hash)) {
		name_taken(d, "made from another specification");
	} else if (!strcmp(c->status, "Created") && !d->looked) {
		/* An earlier attempt was cut between its two steps. */
		d->looked = true;
		snprintf(d->op.id, sizeof(d->op.id), "%s", c->id);
		deploy_start(d);
	} else if (strcmp(c->status, "Running") && strcmp(c->status, "Restarting")) {
		name_taken(d, "and does not run");
	} else {
		describe(d, c);
		op_done(&d->op);
	}
}

static void on_inspected(void *arg, const struct docker_result *res)
{
	struct deploy_op *d = arg;
	struct wire_container c = { 0 };
	struct json *j = NULL;

	d->op.call = NULL;
	if (res->rc) {
		op_fail(&d->op, res);
		return;
	}
	if (json_parse(&j, res->body, NULL) || inspect_container(&c, j)) {
		op_finish(&d->op,
			  &(struct link_result){ .rc = -EIO,
						 .error = "the engine described no container" });
	} else if (d->created) {
		describe(d, &c);
		op_done(&d->op);
	} else {
		judge(d, &c, json_get(json_get(j, "Config"), "Labels"));
	}
	wire_container_fini(&c);
	json_free(j);
}

static const struct docker_ops inspect_ops = { .done = on_inspected };

static void deploy_inspect(struct deploy_op *d)
{
	op_call(&d->op, &inspect_ops, &(struct docker_request){ .method = "GET" },
		"/containers/%s/json", d->name);
}

static void on_cleaned(void *arg, const struct docker_result *res)
{
	struct deploy_op *d = arg;

	(void)res;
	d->op.call = NULL;
	op_finish(&d->op, &(struct link_result){ .rc = d->start_rc, .error = d->start_error });
}

static const struct docker_ops clean_ops = { .done = on_cleaned };

/* The engine's words for a published port or an address that somebody else has. */
static bool is_address_taken(const char *error)
{
	return strcasestr(error, "port is already allocated") ||
	       strcasestr(error, "address already in use");
}

static void on_started(void *arg, const struct docker_result *res)
{
	struct deploy_op *d = arg;

	d->op.call = NULL;
	if (!res->rc) {
		deploy_inspect(d);
	} else if (res->rc == -ECOMM || res->rc == -ETIMEDOUT || !d->created) {
		op_fail(&d->op, res);
	} else {
		/* Refused (no such program, port taken): nothing of it stays behind. */
		d->start_rc = res->rc == -ENOENT		? -EINVAL
			      : is_address_taken(res->error) ? -EADDRINUSE
							     : res->rc;
		snprintf(d->start_error, sizeof(d->start_error), "%s", res->error);
		op_call(&d->op, &clean_ops, &(struct docker_request){ .method = "DELETE" },
			"/containers/%s?force=1&v=1", d->op.id);
	}
}

static const struct docker_ops start_ops = { .done = on_started };

static void deploy_start(struct deploy_op *d)
{
	op_call(&d->op, &start_ops,
		&(struct docker_request){ .method = "POST", .idle_timeout_ms = 60000 },
		"/containers/%s/start", d->op.id);
}

static void on_created(void *arg, const struct docker_result *res)
{
	struct deploy_op *d = arg;
	struct json *j;

	d->op.call = NULL;
	if (res->rc == -EEXIST) {
		deploy_inspect(d);
		return;
	}
	if (res->rc) {
		op_fail(&d->op, res);
		return;
	}
	if (!json_parse(&j, res->body, NULL)) {
		if (!slice_copy(json_str(json_get(j, "Id"), ""), d->op.id, sizeof(d->op.id)))
			d->created = op_is_container_ref(d->op.id);
		json_free(j);
	}
	if (d->created)
		deploy_start(d);
	else
		op_finish(&d->op,
			  &(struct link_result){
				  .rc = -EIO,
				  .error = "the engine created a container and did not name it" });
}

static const struct docker_ops create_ops = { .done = on_created };

static void deploy_create(struct deploy_op *d)
{
	op_call(&d->op, &create_ops,
		&(struct docker_request){
			.method = "POST", .body = buf_slice(&d->body), .idle_timeout_ms = 60000 },
		"/containers/create?name=%s", d->name);
	/* It may hold secrets; the call has its own copy now. */
	buf_fini(&d->body);
}

/* ---- volumes: one container at a time has one ---- */

static void volume_taken(struct deploy_op *d, const char *by)
{
	char text[320];

	snprintf(text, sizeof(text), "a volume of %.64s is in use by container %.128s", d->name, by);
	op_finish(&d->op, &(struct link_result){ .rc = -EBUSY, .error = text });
}

/* Another deploy that is on its way to one of them. */
static const struct deploy_op *rival(const struct deploy_op *d)
{
	LIST_FOR_EACH(op, &d->op.engine->ops, struct link_op, link) {
		const struct deploy_op *o = (const struct deploy_op *)op;

		if (op->kind == &deploy_kind && op != &d->op && o->volumes && !strcmp(o->volumes, d->volumes))
			return o;
	}
	return NULL;
}

static void on_owners(void *arg, const struct docker_result *res)
{
	struct deploy_op *d = arg;
	const char *owner = NULL;
	struct json *list = NULL;

	d->op.call = NULL;
	if (res->rc) {
		op_fail(&d->op, res);
		return;
	}
	if (json_parse(&list, res->body, NULL)) {
		op_finish(&d->op, &(struct link_result){ .rc = -EIO, .error = "the engine listed no containers" });
		return;
	}
	for (size_t i = 0; !owner && i < json_len(list); i++) {
		const char *name = json_cstr(json_at(json_get(json_at(list, i), "Names"), 0), "/?");

		if (strcmp(name + 1, d->name) != 0)
			owner = name + 1;
	}
	if (owner)
		volume_taken(d, owner);
	else
		deploy_create(d);
	json_free(list);
}

static const struct docker_ops owners_ops = { .done = on_owners };

static char *volume_filter(const struct wire_deploy *req)
{
	static const char *const states[] = { "running", "restarting", "paused" };
	struct json_out o;
	struct buf text;
	size_t n = 0;
	char *escaped;

	buf_init(&text, 0);
	json_out_init(&o, &text);
	json_obj(&o, NULL);
	json_arr(&o, "volume");
	for (size_t i = 0; i < req->nmounts; i++) {
		if (strcmp(req->mounts[i].type, "volume") != 0)
			continue;
		json_put_str(&o, NULL, req->mounts[i].source);
		n++;
	}
	json_arr_end(&o);
	json_arr(&o, "status");
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		json_put_str(&o, NULL, states[i]);
	json_arr_end(&o);
	json_obj_end(&o);
	escaped = n ? op_escape(text.data) : NULL;
	buf_fini(&text);
	return escaped;
}

struct link_op *engine_deploy(struct link *l, const struct wire_deploy *req, link_deploy_fn *done,
			      void *arg)
{
	struct engine *e = CONTAINER_OF(l, struct engine, base);
	struct deploy_op *d = op_new(e, &deploy_kind, arg);

	d->done = done;
	d->name = xstrdup(req->container_name);
	d->spec_hash = req->spec_hash ? xstrdup(req->spec_hash) : NULL;
	d->container_port = req->nports ? req->ports[0].container_port : 0;
	buf_init(&d->body, 1u << 20);
	if (!op_is_container_ref(d->name)) {
		op_refuse(&d->op, -EINVAL, "\"%.64s\" cannot name a container", d->name);
		return &d->op;
	}
	engine_create_body(req, e->cluster_id, e->node_name, &d->body);
	if (d->body.full) {
		op_refuse(&d->op, -EINVAL, "the description of the container is too large");
		return &d->op;
	}
	d->volumes = volume_filter(req);
	/* Other clients know what they do. */
	if (!d->volumes || !d->spec_hash)
		deploy_create(d);
	else if (rival(d))
		op_refuse(&d->op, -EBUSY, "a volume of %.64s is in use by container %.64s", d->name,
			  rival(d)->name);
	else
		op_call(&d->op, &owners_ops, &(struct docker_request){ .method = "GET" },
			"/containers/json?filters=%s", d->volumes);
	return &d->op;
}
