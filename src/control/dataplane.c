/* Translates between the domain's names and the proxy's objects. */
#include "control/dataplane_inner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

struct dataplane *dataplane_create(const struct dataplane_config *c)
{
	struct dataplane *d = xcalloc(1, sizeof(*d));
	struct hash_key key;

	d->config = *c;
	hash_key_random(&key);
	map_init(&d->apps, &key);
	map_init(&d->hosts, &key);
	list_init(&d->host_list);
	return d;
}

void dataplane_start(struct dataplane *d, struct front *f)
{
	d->front = f;
}

static void place_free(struct place *p)
{
	list_remove(&p->link);
	loop_task_cancel(&p->recovered);
	endpoint_remove(p->endpoint);
	free(p->container_id);
	free(p->started_at);
	free(p);
}

/* ---- policies ---- */

void dataplane_set_policy(struct upstream *u, struct pairs *now, const struct pairs *policy,
		       const char *host, bool hold, uint32_t hold_ms)
{
	struct upstream_policy p;
	struct err err;

	/* They were checked when they came; a store of another version may have others. */
	if (policy_parse(&p, policy, &err)) {
		log_error("%s: %s; its requests get 503", upstream_name(u), err.text);
		p.broken = p.filters = true;
	}
	p.hold = hold;
	p.hold_ms = hold_ms;
	if (host && *host != '*')
		p.health_host = xstrdup(host);
	upstream_set_policy(u, &p);
	pairs_fini(now);
	pairs_copy(now, policy);
}

struct route_app *dataplane_app_get(struct dataplane *d, const char *name)
{
	static const struct upstream_policy policy = { .hold = true };
	struct route_app *a = map_get(&d->apps, slice_str(name));

	if (a)
		return a;
	a = xcalloc(1, sizeof(*a));
	snprintf(a->name, sizeof(a->name), "%s", name);
	list_init(&a->endpoints);
	a->upstream = upstream_create(d->front, name, &policy);
	map_put(&d->apps, slice_str(a->name), a);
	return a;
}

void dataplane_app_settle(struct dataplane *d, struct route_app *a)
{
	if (a->hosts || a->paused || !list_empty(&a->endpoints))
		return;
	map_del(&d->apps, slice_str(a->name));
	upstream_destroy(a->upstream);
	pairs_fini(&a->policy);
	free(a->check_host);
	free(a);
}

void dataplane_app_policy(struct dataplane *d, const struct effect_policy *e)
{
	struct route_app *a = dataplane_app_get(d, e->app);

	if (pairs_eq(&a->policy, &e->policy) && a->check_host && strcmp(a->check_host, e->host) == 0 &&
	    a->hold_ms == e->hold_ms)
		return;
	dataplane_set_policy(a->upstream, &a->policy, &e->policy, e->host, true, e->hold_ms);
	a->hold_ms = e->hold_ms;
	free(a->check_host);
	a->check_host = xstrdup(e->host);
}

static void set_paused(struct dataplane *d, struct route_app *a, bool paused)
{
	a->paused = paused;
	upstream_pause(a->upstream, paused);
	dataplane_app_settle(d, a);
}

void dataplane_app_pause(struct dataplane *d, const struct effect_pause *e)
{
	struct route_app *a = dataplane_app_get(d, e->app);

	a->pause_named = true;
	set_paused(d, a, e->paused);
}

void dataplane_destroy(struct dataplane *d)
{
	struct route_app *a;
	uint32_t at = 0;

	if (!d)
		return;
	LIST_FOR_EACH_SAFE(h, &d->host_list, struct route_host, link)
		dataplane_host_free(d, h);
	while ((a = map_next(&d->apps, &at))) {
		LIST_FOR_EACH_SAFE(p, &a->endpoints, struct place, link)
			place_free(p);
		upstream_destroy(a->upstream);
		pairs_fini(&a->policy);
		free(a->check_host);
		free(a);
	}
	map_fini(&d->apps);
	map_fini(&d->hosts);
	free(d);
}

/* ---- endpoints ---- */

static struct place *place_find(const struct dataplane *d, const char *app, uint32_t replica,
				const char *container_id, const char *started_at)
{
	struct route_app *a = map_get(&d->apps, slice_str(app));

	if (!a)
		return NULL;
	LIST_FOR_EACH(p, &a->endpoints, struct place, link)
		if (p->replica == replica && strcmp(p->container_id, container_id) == 0 &&
		    strcmp(p->started_at, started_at) == 0 && !p->draining)
			return p;
	return NULL;
}

static struct place *route_find(const struct dataplane *d, const struct effect_route *r)
{
	return place_find(d, r->endpoint.app, r->endpoint.replica, r->endpoint.container_id,
			  r->endpoint.started_at);
}

static struct endpoint_ref place_ref(const struct place *p)
{
	return (struct endpoint_ref){ p->app->name, p->replica, p->container_id, p->started_at };
}

static void tell_recovered(struct place *p)
{
	const struct dataplane_config *c = &p->dataplane->config;
	struct op op = { p->app->name, p->replica, p->recover_seq };

	if (!p->recover_seq)
		return;
	p->recover_seq = 0;
	c->reports->recovered(c->arg, &op);
}

static void on_already_in(void *arg)
{
	tell_recovered(arg);
}

static void place_drain(struct place *p, uint32_t requests_ms, uint32_t tunnels_ms)
{
	p->draining = true;
	p->recover_seq = 0;
	loop_task_cancel(&p->recovered);
	endpoint_drain(p->endpoint, requests_ms, tunnels_ms);
}

void dataplane_route_in(struct dataplane *d, const struct effect_route *r)
{
	struct route_app *a = dataplane_app_get(d, r->endpoint.app);
	struct place *p = route_find(d, r);
	char *identity;
	struct addr at;
	struct err err;

	if (p) {
		p->named = true;
		endpoint_set_weight(p->endpoint, MAX(r->weight, 1u));
		return;
	}
	if (addr_make(&at, slice_str(r->endpoint.ip), r->endpoint.port, &err)) {
		log_error("route in %s/%u: %s", a->name, r->endpoint.replica, err.text);
		dataplane_app_settle(d, a);
		return;
	}
	/* The same replica under another identity has restarted: what is still under way with the
	 * old container is cut. */
	LIST_FOR_EACH(old, &a->endpoints, struct place, link) {
		if (old->replica == r->endpoint.replica && !old->draining) {
			endpoint_set_out(old->endpoint, true);
			place_drain(old, 0, 0);
		}
	}
	p = xcalloc(1, sizeof(*p));
	p->dataplane = d;
	p->app = a;
	p->replica = r->endpoint.replica;
	p->container_id = xstrdup(r->endpoint.container_id);
	p->started_at = xstrdup(r->endpoint.started_at);
	p->named = true;
	loop_task_init(&p->recovered, on_already_in, p);
	identity = xasprintf("%s@%s", p->container_id, p->started_at);
	p->endpoint = endpoint_add(a->upstream, &at, identity, (uint64_t)(uintptr_t)p);
	free(identity);
	endpoint_set_weight(p->endpoint, MAX(r->weight, 1u));
	list_push_back(&a->endpoints, &p->link);
}

void dataplane_route_out(struct dataplane *d, const struct effect_route *r)
{
	struct endpoint_ref ref = { r->endpoint.app, r->endpoint.replica, r->endpoint.container_id,
				    r->endpoint.started_at };
	struct route_app *a = map_get(&d->apps, slice_str(ref.app));
	struct place *p = route_find(d, r);

	if (p) {
		p->told = true;
		place_drain(p, r->request_drain_ms ? r->request_drain_ms : d->config.request_drain_ms,
			    r->tunnel_drain_ms ? r->tunnel_drain_ms : d->config.tunnel_drain_ms);
		return;
	}
	/* Draining already: the report is on its way. */
	if (a) {
		LIST_FOR_EACH(old, &a->endpoints, struct place, link) {
			if (old->replica == ref.replica &&
			    strcmp(old->container_id, ref.container_id) == 0 &&
			    strcmp(old->started_at, ref.started_at) == 0) {
				old->told = true;
				return;
			}
		}
	}
	d->config.reports->drained(d->config.arg, &ref);
}

static bool is_in(const struct endpoint_view *v)
{
	return v->state == ENDPOINT_IN || v->state == ENDPOINT_TRIAL;
}

bool dataplane_failed(struct dataplane *d, const struct effect_route *r)
{
	struct place *p = route_find(d, r);
	struct endpoint_view view;

	if (!p)
		return false;
	endpoint_view(p->endpoint, &view);
	if (is_in(&view))
		log_info("endpoint=%s/%u out %s", p->app->name, p->replica,
			 r->reason ? r->reason : "its node says so");
	/* One that the data path took out itself keeps its requests, unless nobody is there. */
	if (is_in(&view) || r->suspect)
		endpoint_set_out(p->endpoint, false);
	return true;
}

bool dataplane_recover(struct dataplane *d, const struct effect_probe *e)
{
	struct place *p = place_find(d, e->endpoint.app, e->endpoint.replica,
				     e->endpoint.container_id, e->endpoint.started_at);
	struct endpoint_view view;

	if (!p)
		return false;
	p->recover_seq = e->op.seq;
	endpoint_view(p->endpoint, &view);
	if (is_in(&view))
		loop_later(d->config.loop, &p->recovered);
	return true;
}

void dataplane_recover_cancel(struct dataplane *d, const struct op *op)
{
	struct route_app *a = map_get(&d->apps, slice_str(op->app));

	if (!a)
		return;
	LIST_FOR_EACH(p, &a->endpoints, struct place, link) {
		if (p->replica == op->replica && p->recover_seq == op->seq) {
			p->recover_seq = 0;
			loop_task_cancel(&p->recovered);
		}
	}
}

/* ---- what the proxy reports ---- */

static struct place *place_of(struct endpoint *e)
{
	return (struct place *)(uintptr_t)endpoint_tag(e);
}

/* A static route's endpoint: nobody but the proxy cares, and whoever reads the log. */
static void log_static(const struct endpoint *e, const char *what, const char *why)
{
	struct endpoint_view v;

	endpoint_view(e, &v);
	log_info("upstream=%s endpoint=%s %s %s", upstream_name(endpoint_upstream(e)), v.at->text, what, why);
}

static void on_failed(void *arg, struct endpoint *e, enum endpoint_fault fault, const char *why)
{
	static const enum upstream_failure as[] = {
		[FAULT_REFUSED] = UPSTREAM_REFUSED,
		[FAULT_EARLY_EOF] = UPSTREAM_EARLY_EOF,
		[FAULT_TIMEOUT] = UPSTREAM_TIMEOUT,
		[FAULT_UNREACHABLE] = UPSTREAM_UNREACHABLE,
		[FAULT_UNHEALTHY] = UPSTREAM_UNHEALTHY,
	};
	struct dataplane *d = arg;
	struct place *p = place_of(e);
	struct endpoint_ref ref;

	if (!p) {
		log_static(e, "out", why);
		return;
	}
	log_info("endpoint=%s/%u out %s", p->app->name, p->replica, why);
	if (p->draining)
		return;
	ref = place_ref(p);
	d->config.reports->failed(d->config.arg, &ref, as[fault]);
}

static void on_recovered(void *arg, struct endpoint *e)
{
	struct place *p = place_of(e);

	(void)arg;
	if (!p) {
		log_static(e, "in", "again");
		return;
	}
	log_info("endpoint=%s/%u in again", p->app->name, p->replica);
	tell_recovered(p);
}

static void on_drained(void *arg, struct endpoint *e, unsigned cut)
{
	struct dataplane *d = arg;
	struct place *p = place_of(e);
	struct route_app *a;
	struct endpoint_ref ref;
	char *container_id, *started_at;
	char app[64];
	bool told;

	if (!p)
		return;
	a = p->app;
	told = p->told;
	if (cut)
		log_warn("endpoint=%s/%u drained, %u requests were cut at the limit", a->name,
			 p->replica, cut);
	snprintf(app, sizeof(app), "%s", a->name);
	container_id = xstrdup(p->container_id);
	started_at = xstrdup(p->started_at);
	ref = (struct endpoint_ref){ app, p->replica, container_id, started_at };
	place_free(p);
	dataplane_app_settle(d, a);
	if (told)
		d->config.reports->drained(d->config.arg, &ref);
	free(container_id);
	free(started_at);
}

const struct front_reports dataplane_front_reports = {
	.failed = on_failed,
	.recovered = on_recovered,
	.drained = on_drained,
};

/* ---- starting over ---- */

void dataplane_resync_begin(struct dataplane *d)
{
	struct route_app *a;
	uint32_t at = 0;

	LIST_FOR_EACH(h, &d->host_list, struct route_host, link)
		h->named = false;
	while ((a = map_next(&d->apps, &at))) {
		a->pause_named = false;
		LIST_FOR_EACH(p, &a->endpoints, struct place, link)
			p->named = false;
	}
}

/* Of those that were not named as paused. The map may lose one with each, so it is walked anew then. */
static void end_pauses(struct dataplane *d)
{
	struct route_app *a;
	uint32_t at = 0;

	while ((a = map_next(&d->apps, &at))) {
		if (!a->paused || a->pause_named)
			continue;
		set_paused(d, a, false);
		at = 0;
	}
}

void dataplane_resync_end(struct dataplane *d)
{
	struct route_app *a;
	uint32_t at = 0;

	while ((a = map_next(&d->apps, &at)))
		LIST_FOR_EACH(p, &a->endpoints, struct place, link)
			if (!p->named && !p->draining)
				place_drain(p, d->config.request_drain_ms,
					    d->config.tunnel_drain_ms);
	LIST_FOR_EACH_SAFE(h, &d->host_list, struct route_host, link)
		if (!h->named)
			dataplane_host_free(d, h);
	end_pauses(d);
}

/* ---- listings ---- */

struct upstream *dataplane_upstream(const struct dataplane *d, const char *app)
{
	struct route_app *a = map_get(&d->apps, slice_str(app));

	return a ? a->upstream : NULL;
}

void dataplane_each_busy(const struct dataplane *d,
			 void (*each)(void *arg, const struct endpoint_ref *ref, uint32_t in_flight),
			 void *arg)
{
	struct route_app *a;
	uint32_t at = 0;

	while ((a = map_next(&d->apps, &at))) {
		LIST_FOR_EACH(p, &a->endpoints, struct place, link) {
			struct endpoint_ref ref = place_ref(p);
			struct endpoint_view v;

			endpoint_view(p->endpoint, &v);
			if (v.in_flight)
				each(arg, &ref, v.in_flight);
		}
	}
}

bool dataplane_view(const struct dataplane *d, const char *app, uint32_t replica,
		    struct endpoint_view *out)
{
	struct route_app *a = map_get(&d->apps, slice_str(app));

	if (!a)
		return false;
	LIST_FOR_EACH(p, &a->endpoints, struct place, link) {
		if (p->replica == replica) {
			endpoint_view(p->endpoint, out);
			return true;
		}
	}
	return false;
}
