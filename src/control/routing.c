/* One table: an effect's name in messages, how it is written, how it is read, what it does. */
#include "control/routing.h"

#include <errno.h>
#include <string.h>

#define ITEMS_MAX 1000 /* targets and policies of one message */

/* ---- members ---- */

/* A member that is new there has to be written and read here, too. */
_Static_assert(sizeof(void *) != 8 ||
		       (sizeof(struct effect_route) == 80 && sizeof(struct effect_host) == 56 &&
			sizeof(struct effect_policy) == 40 && sizeof(struct effect_pause) == 16),
	       "what processes that drain are told");

void routing_put_ref(struct json_out *o, const struct endpoint_ref *r)
{
	json_put_str(o, "app", r->app);
	json_put_int(o, "replica", r->replica);
	json_put_str(o, "container_id", r->container_id);
	json_put_str(o, "started_at", r->started_at);
}

int routing_read_ref(struct endpoint_ref *out, const struct json *m)
{
	*out = (struct endpoint_ref){
		.app = json_cstr(json_get(m, "app"), NULL),
		.replica = (uint32_t)json_int(json_get(m, "replica"), 0),
		.container_id = json_cstr(json_get(m, "container_id"), NULL),
		.started_at = json_cstr(json_get(m, "started_at"), NULL),
	};
	return out->app && out->container_id && out->started_at ? 0 : -EINVAL;
}

static void put_route(struct json_out *o, const struct effect *e)
{
	const struct endpoint_at *at = &e->route.endpoint;
	struct endpoint_ref ref = { at->app, at->replica, at->container_id, at->started_at };

	routing_put_ref(o, &ref);
	json_put_int(o, "release", at->release);
	json_put_int(o, "node_id", at->node_id);
	json_put_str(o, "ip", at->ip);
	json_put_int(o, "port", at->port);
	json_put_int(o, "weight", e->route.weight);
	json_put_int(o, "request_drain_ms", e->route.request_drain_ms);
	json_put_int(o, "tunnel_drain_ms", e->route.tunnel_drain_ms);
	json_put_str(o, "reason", e->route.reason);
	json_put_bool(o, "suspect", e->route.suspect);
}

static int read_route(struct effect *e, const struct json *m)
{
	struct endpoint_ref ref;
	int rc = routing_read_ref(&ref, m);

	e->route = (struct effect_route){
		.endpoint = { .app = ref.app,
			      .replica = ref.replica,
			      .container_id = ref.container_id,
			      .started_at = ref.started_at,
			      .release = (uint32_t)json_int(json_get(m, "release"), 0),
			      .node_id = json_int(json_get(m, "node_id"), 0),
			      .ip = json_cstr(json_get(m, "ip"), ""),
			      .port = (uint16_t)json_int(json_get(m, "port"), 0) },
		.weight = (uint32_t)MIN(MAX(json_int(json_get(m, "weight"), 1), 1),
					ENDPOINT_WEIGHT_MAX),
		.request_drain_ms = (uint32_t)json_int(json_get(m, "request_drain_ms"), 0),
		.tunnel_drain_ms = (uint32_t)json_int(json_get(m, "tunnel_drain_ms"), 0),
		.reason = json_cstr(json_get(m, "reason"), NULL),
		.suspect = json_bool(json_get(m, "suspect"), false),
	};
	return rc;
}

static void put_policy(struct json_out *o, const struct effect *e)
{
	json_put_str(o, "app", e->policy.app);
	json_put_str(o, "host", e->policy.host);
	pairs_put(&e->policy.policy, o, "policy");
	json_put_int(o, "hold_ms", e->policy.hold_ms);
}

static int read_policy(struct effect *e, const struct json *m)
{
	e->policy.app = json_cstr(json_get(m, "app"), NULL);
	e->policy.host = json_cstr(json_get(m, "host"), "");
	e->policy.hold_ms = (uint32_t)json_int(json_get(m, "hold_ms"), 0);
	return pairs_load(&e->policy.policy, m, "policy", ITEMS_MAX, NULL) || !e->policy.app
		       ? -EINVAL
		       : 0;
}

static void put_pause(struct json_out *o, const struct effect *e)
{
	json_put_str(o, "app", e->pause.app);
	json_put_bool(o, "paused", e->pause.paused);
}

static int read_pause(struct effect *e, const struct json *m)
{
	e->pause.app = json_cstr(json_get(m, "app"), NULL);
	e->pause.paused = json_bool(json_get(m, "paused"), false);
	return e->pause.app ? 0 : -EINVAL;
}

static void put_host(struct json_out *o, const struct effect *e)
{
	json_put_str(o, "host", e->host.host);
	json_put_str(o, "path", e->host.path);
	json_put_str(o, "app", e->host.app);
	strs_put(&e->host.targets, o, "targets");
	pairs_put(&e->host.policy, o, "policy");
}

static int read_host(struct effect *e, const struct json *m)
{
	int rc = strs_load(&e->host.targets, m, "targets", ITEMS_MAX, NULL);

	if (!rc)
		rc = pairs_load(&e->host.policy, m, "policy", ITEMS_MAX, NULL);
	e->host.host = json_cstr(json_get(m, "host"), NULL);
	e->host.path = json_cstr(json_get(m, "path"), NULL);
	e->host.app = json_cstr(json_get(m, "app"), "");
	return rc || !e->host.host || !e->host.path ? -EINVAL : 0;
}

/* ---- deeds ---- */

static void do_route_in(struct dataplane *d, const struct effect *e)
{
	dataplane_route_in(d, &e->route);
}

static void do_route_out(struct dataplane *d, const struct effect *e)
{
	dataplane_route_out(d, &e->route);
}

static void do_failed(struct dataplane *d, const struct effect *e)
{
	(void)dataplane_failed(d, &e->route);
}

static void do_policy(struct dataplane *d, const struct effect *e)
{
	dataplane_app_policy(d, &e->policy);
}

static void do_pause(struct dataplane *d, const struct effect *e)
{
	dataplane_app_pause(d, &e->pause);
}

static void do_host_set(struct dataplane *d, const struct effect *e)
{
	dataplane_host_set(d, &e->host);
}

static void do_host_static(struct dataplane *d, const struct effect *e)
{
	dataplane_host_static(d, &e->host);
}

static void do_host_del(struct dataplane *d, const struct effect *e)
{
	dataplane_host_del(d, e->host.host, e->host.path);
}

static const struct row {
	const char *name; /* NULL: not about routing */
	void (*put)(struct json_out *o, const struct effect *e);
	int (*read)(struct effect *e, const struct json *members);
	void (*apply)(struct dataplane *d, const struct effect *e);
} rows[EFFECT_TYPES] = {
	[EFFECT_ROUTE_IN] = { "route_in", put_route, read_route, do_route_in },
	[EFFECT_ROUTE_OUT] = { "route_out", put_route, read_route, do_route_out },
	[EFFECT_ENDPOINT_FAILED] = { "endpoint_failed", put_route, read_route, do_failed },
	[EFFECT_APP_POLICY] = { "app_policy", put_policy, read_policy, do_policy },
	[EFFECT_APP_PAUSE] = { "app_pause", put_pause, read_pause, do_pause },
	[EFFECT_HOST_SET] = { "host_set", put_host, read_host, do_host_set },
	[EFFECT_HOST_STATIC] = { "host_static", put_host, read_host, do_host_static },
	[EFFECT_HOST_DEL] = { "host_del", put_host, read_host, do_host_del },
};

bool routing_is(enum effect_type type)
{
	return rows[type].name != NULL;
}

bool routing_apply(struct dataplane *d, const struct effect *e)
{
	if (rows[e->type].name)
		rows[e->type].apply(d, e);
	return rows[e->type].name != NULL;
}

/* ---- messages ---- */

void routing_put(struct buf *out, const struct effect *e)
{
	struct json_out o;

	json_out_init(&o, out);
	json_obj(&o, NULL);
	json_obj(&o, rows[e->type].name);
	rows[e->type].put(&o, e);
	json_obj_end(&o);
	json_obj_end(&o);
}

static void effect_fini(struct effect *e)
{
	if (e->type == EFFECT_APP_POLICY)
		pairs_fini(&e->policy.policy);
	if (rows[e->type].read == read_host) {
		strs_fini(&e->host.targets);
		pairs_fini(&e->host.policy);
	}
}

int routing_take(struct dataplane *d, const struct json *message)
{
	for (int type = 0; type < EFFECT_TYPES; type++) {
		struct effect e = { .type = (enum effect_type)type };
		const struct json *m = rows[type].name ? json_get(message, rows[type].name) : NULL;
		int rc;

		if (!m)
			continue;
		rc = rows[type].read(&e, m);
		if (!rc)
			rows[type].apply(d, &e);
		effect_fini(&e);
		return rc;
	}
	return -ENOENT;
}

void routing_put_drained(struct buf *out, const struct endpoint_ref *ref)
{
	struct json_out o;

	json_out_init(&o, out);
	json_obj(&o, NULL);
	json_obj(&o, "drained");
	routing_put_ref(&o, ref);
	json_obj_end(&o);
	json_obj_end(&o);
}
