/* Upstreams: their set of endpoints, the choice among them, and how they end. */
#include "proxy/upstream.h"

#include <stdlib.h>

#include "proxy/endpoint.h"
#include "proxy/front_inner.h"

static void upstream_free(void *arg)
{
	struct upstream *u = arg;

	hold_fini(&u->hold);
	free(u->in);
	free(u->name);
	free(u);
}

/* Frees it when it was destroyed and nothing points to it any more. */
static void settle(struct upstream *u)
{
	if (!u->target.dead || u->reaped || u->active || u->target.routes || u->nendpoints)
		return;
	u->reaped = true;
	list_remove(&u->link);
	loop_defer(u->front->loop, &u->reap, upstream_free, u);
}

/* The table of routes lets go of it. */
static void on_unused(struct route_target *t)
{
	settle(CONTAINER_OF(t, struct upstream, target));
}

struct upstream *upstream_create(struct front *f, const char *name, const struct upstream_policy *p)
{
	struct upstream *u = xcalloc(1, sizeof(*u));

	u->front = f;
	u->name = xstrdup(name);
	if (p)
		u->policy = *p;
	if (u->policy.hold_ms == 0)
		u->policy.hold_ms = f->config.hold_ms;
	u->limits = f->config.limits;
	if (u->policy.head_ms)
		u->limits.head_ms = u->policy.head_ms;
	u->target.unused = on_unused;
	list_init(&u->endpoints);
	hold_init(&u->hold, u);
	list_push_back(&f->upstreams, &u->link);
	return u;
}

void upstream_leave(struct upstream *u)
{
	u->active--;
	settle(u);
}

void upstream_endpoint_gone(struct upstream *u)
{
	u->nendpoints--;
	settle(u);
}

void upstream_destroy(struct upstream *u)
{
	if (!u || u->target.dead)
		return;
	table_kill(&u->front->table, &u->target);
	hold_refuse_all(&u->hold);
	LIST_FOR_EACH_SAFE(e, &u->endpoints, struct endpoint, link)
		endpoint_orphan(e);
	settle(u);
}

const char *upstream_name(const struct upstream *u)
{
	return u->name;
}

void upstream_stats(const struct upstream *u, struct upstream_stats *out)
{
	*out = (struct upstream_stats){
		.requests = u->requests,
		.bytes_in = u->bytes_in,
		.bytes_out = u->bytes_out,
		.retries = u->retries,
		.endpoints = u->nendpoints,
		.in = u->nin,
		.holding = u->hold.n,
	};
	memcpy(out->by_status, u->by_status, sizeof(out->by_status));
}

/* ---- the choice ---- */

void upstream_put_in(struct upstream *u, struct endpoint *e)
{
	if (u->nin == u->in_cap) {
		u->in_cap = u->in_cap ? u->in_cap * 2 : 4;
		u->in = xrealloc(u->in, u->in_cap * sizeof(struct endpoint *));
	}
	e->in_at = u->nin;
	u->in[u->nin++] = e;
	hold_release(&u->hold);
}

void upstream_take_out(struct upstream *u, struct endpoint *e)
{
	u->nin--;
	/* Keeps the order of the others, so that turns stay fair; leaving is rare and the array
	 * small. */
	memmove(&u->in[e->in_at], &u->in[e->in_at + 1],
		(u->nin - e->in_at) * sizeof(struct endpoint *));
	for (uint32_t i = e->in_at; i < u->nin; i++)
		u->in[i]->in_at = i;
}

static bool among(uint64_t id, const uint64_t *ids, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

struct endpoint *upstream_pick(struct upstream *u, const uint64_t *tried, unsigned ntried)
{
	struct endpoint *own = NULL, *other;

	/* The one whose turn it is: endpoints with equal load take turns exactly. */
	for (uint32_t i = 0; i < u->nin && !own; i++) {
		u->turn = u->turn + 1 < u->nin ? u->turn + 1 : 0;
		if (!among(u->in[u->turn]->id, tried, ntried))
			own = u->in[u->turn];
	}
	if (!own || u->nin < 2)
		return own;
	other = u->in[front_random(u->front, u->nin)];
	if (other->in_flight < own->in_flight && !among(other->id, tried, ntried))
		return other;
	return own;
}

struct endpoint *upstream_endpoint(const struct upstream *u, uint64_t id)
{
	for (uint32_t i = 0; i < u->nin; i++)
		if (u->in[i]->id == id)
			return u->in[i];
	return NULL;
}
