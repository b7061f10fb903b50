/* The data path: endpoints that the proxy knows, requests over them, probes. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

static struct route *find_route(struct sim *s, const char *app, uint32_t replica,
				const char *container_id, const char *started_at)
{
	for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
		struct route *r = &s->routes[i];

		if (r->used && r->at.replica == replica && strcmp(r->app, app) == 0 &&
		    strcmp(r->container_id, container_id) == 0 &&
		    strcmp(r->started_at, started_at) == 0)
			return r;
	}
	return NULL;
}

void path_in(struct sim *s, const struct endpoint_at *e, uint32_t weight)
{
	struct route *r = find_route(s, e->app, e->replica, e->container_id, e->started_at);

	check_route_in(s, e);
	for (size_t i = 0; !r && i < ENDPOINTS_MAX; i++)
		r = s->routes[i].used ? NULL : &s->routes[i];
	if (!r)
		sim_fail(s, "the proxy has too many endpoints: they are never routed out");
	snprintf(r->app, sizeof(r->app), "%s", e->app);
	snprintf(r->container_id, sizeof(r->container_id), "%s", e->container_id);
	snprintf(r->started_at, sizeof(r->started_at), "%s", e->started_at);
	snprintf(r->ip, sizeof(r->ip), "%s", e->ip);
	r->at = *e;
	r->weight = weight;
	r->in = r->used = true;
}

void path_failed(struct sim *s, const struct endpoint_at *e)
{
	struct route *r = find_route(s, e->app, e->replica, e->container_id, e->started_at);

	if (r)
		r->in = false;
}

void path_out(struct sim *s, const struct endpoint_at *e)
{
	struct route *r = find_route(s, e->app, e->replica, e->container_id, e->started_at);
	struct message *m = sim_send(s, MESSAGE_DRAINED, r ? sim_random(s, 3000) : 0);

	if (r)
		r->used = r->in = false;
	m->epoch = s->epoch;
	m->replica = e->replica;
	snprintf(m->app, sizeof(m->app), "%s", e->app);
	snprintf(m->container.id, sizeof(m->container.id), "%s", e->container_id);
	snprintf(m->container.started_at, sizeof(m->container.started_at), "%s", e->started_at);
}

void path_traffic(struct sim *s)
{
	struct route *r = &s->routes[sim_random(s, 64)];
	struct machine *m = NULL;
	struct container *ct;
	struct cluster_event e = { EVENT_UPSTREAM_FAILED,
				   .upstream = { .endpoint = { r->app, r->at.replica,
							       r->container_id, r->started_at } } };

	if (!r->used || !r->in)
		return;
	ct = machine_listener(s, r->ip, r->at.port, &m);
	if (!m || !m->up || !m->data_pass) {
		e.upstream.failure = sim_chance(s, 500) ? UPSTREAM_TIMEOUT : UPSTREAM_UNREACHABLE;
	} else if (ct && !ct->sick) {
		if (strcmp(ct->app, r->app) != 0)
			sim_fail(s, "a request for %s reached %s", r->app, ct->name);
		return;
	} else {
		e.upstream.failure = sim_chance(s, 500) ? UPSTREAM_REFUSED : UPSTREAM_EARLY_EOF;
	}
	sim_log(s, "traffic: %s/%u fails", r->app, r->at.replica);
	plane_step(s, &e);
}

/* ---- probes ---- */

static void probe_send(struct sim *s, size_t i, uint64_t in_ms)
{
	struct message *m = sim_send(s, MESSAGE_PROBE, in_ms);

	m->epoch = s->epoch;
	m->n = (uint32_t)i;
	m->op_seq = s->probes[i].seq;
}

void path_probe_start(struct sim *s, const struct effect_probe *e)
{
	for (size_t i = 0; i < PROBES_MAX; i++) {
		struct probe *p = &s->probes[i];

		if (p->used)
			continue;
		*p = (struct probe){ .replica = e->op.replica,
				     .seq = e->op.seq,
				     .port = e->endpoint.port,
				     .used = true,
				     .recover = e->mode == PROBE_RECOVER,
				     .wait_ms = 250,
				     .deadline_ms = s->now_ms + e->limit_ms,
				     .node_id = e->endpoint.node_id };
		snprintf(p->app, sizeof(p->app), "%s", e->op.app);
		snprintf(p->ip, sizeof(p->ip), "%s", e->endpoint.ip);
		snprintf(p->container_id, sizeof(p->container_id), "%s", e->endpoint.container_id);
		probe_send(s, i, 1 + sim_random(s, 50));
		return;
	}
	sim_fail(s, "too many probes: they are never cancelled");
}

void path_probe_cancel(struct sim *s, const struct op *op)
{
	for (size_t i = 0; i < PROBES_MAX; i++) {
		if (s->probes[i].used && s->probes[i].seq == op->seq)
			s->probes[i].used = false;
	}
}

void path_probe(struct sim *s, struct message *m)
{
	struct probe *p = &s->probes[m->n];
	struct machine *where = NULL;
	struct cluster_event e = { EVENT_PROBE_DONE, .probe = { { p->app, p->replica, p->seq },
								false,
								"connection refused" } };
	struct container *ct;

	if (!p->used || p->seq != m->op_seq)
		return;
	ct = machine_listener(s, p->ip, p->port, &where);
	if (where && where->up && where->data_pass && ct && !ct->sick) {
		if (strcmp(ct->id, p->container_id) != 0)
			sim_fail(s, "a probe of %s/%u reached %s", p->app, p->replica, ct->name);
		e.probe.healthy = ++p->passed >= (p->recover ? 1 : 2);
	}
	if (!e.probe.healthy && (p->recover || s->now_ms < p->deadline_ms)) {
		probe_send(s, m->n, p->wait_ms);
		p->wait_ms = p->recover ? MIN(p->wait_ms * 2, 5000u) : 250;
		return;
	}
	p->used = false;
	plane_step(s, &e);
}
