/* Upstreams: their set of endpoints, the choice among them, and how they end. */
#include "proxy/upstream.h"

#include <stdlib.h>

#include "proxy/basic_auth.h"
#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/sticky.h"
#include "proxy/walk.h"

#define HEALTH_INTERVAL_MS 5000
#define HEALTH_FALL 3
#define HEALTH_RISE 2

static void upstream_free(void *arg)
{
	struct upstream *u = arg;

	hold_fini(&u->hold);
	choice_fini(&u->choice);
	map_fini(&u->by_sticky_id);
	policy_fini(&u->policy);
	free(u->name);
	free(u);
}

/* Frees it when it was destroyed and nothing points to it any more. */
static void settle(struct upstream *u)
{
	if (!u->target.dead || u->reaped || u->active || u->target.routes || u->nendpoints)
		return;
	u->reaped = true;
	walk_pass(u->front, &u->link);
	walk_leave(u->front, &u->endpoints);
	list_remove(&u->link);
	u->front->stats.upstreams--;
	loop_defer(u->front->loop, &u->reap, upstream_free, u);
}

/* The table of routes lets go of it. */
static void on_unused(struct route_target *t)
{
	settle(CONTAINER_OF(t, struct upstream, target));
}

static void adopt_policy(struct upstream *u, const struct upstream_policy *p)
{
	const struct front_config *c = &u->front->config;

	u->policy = *p;
	if (u->policy.hold_ms == 0)
		u->policy.hold_ms = c->hold_ms;
	if (u->policy.queue == 0)
		u->policy.queue = c->hold_max;
	if (u->policy.queue_ms == 0)
		u->policy.queue_ms = c->hold_ms;
	if (u->policy.health_interval_ms == 0)
		u->policy.health_interval_ms = HEALTH_INTERVAL_MS;
	if (u->policy.health_fall == 0)
		u->policy.health_fall = HEALTH_FALL;
	if (u->policy.health_rise == 0)
		u->policy.health_rise = HEALTH_RISE;
	u->limits = c->limits;
	if (u->policy.head_ms)
		u->limits.head_ms = u->policy.head_ms;
	u->call_limits = u->limits;
	u->call_limits.head_ms = u->policy.head_ms;
	/* What a front door without such a policy does not need. */
	if (u->policy.rate && !u->front->rates)
		u->front->rates = rate_table_create();
	if (u->policy.users.n && !u->front->auth)
		u->front->auth =
			basic_auth_create(u->front->loop, u->front->work, &u->front->stats);
}

struct upstream *upstream_create(struct front *f, const char *name,
				 const struct upstream_policy *take_policy)
{
	static const struct upstream_policy defaults = { 0 };
	struct upstream *u = xcalloc(1, sizeof(*u));

	u->front = f;
	u->name = xstrdup(name);
	adopt_policy(u, take_policy ? take_policy : &defaults);
	u->target.unused = on_unused;
	list_init(&u->endpoints);
	map_init(&u->by_sticky_id, &f->sticky_key);
	choice_init(&u->choice, u->policy.balance, front_random(f));
	hold_init(&u->hold, u);
	list_push_back(&f->upstreams, &u->link);
	f->stats.upstreams++;
	return u;
}

void upstream_set_policy(struct upstream *u, const struct upstream_policy *take_policy)
{
	policy_fini(&u->policy);
	adopt_policy(u, take_policy);
	/* The order among the endpoints begins anew, and each has its limit from it. */
	LIST_FOR_EACH(e, &u->endpoints, struct endpoint, link)
		if (e->choice_at != CHOICE_NOWHERE)
			choice_take(&u->choice, e);
	u->choice.balance = u->policy.balance;
	LIST_FOR_EACH(e, &u->endpoints, struct endpoint, link)
		endpoint_new_policy(e);
}

void upstream_pause(struct upstream *u, bool paused)
{
	u->paused = paused;
	LIST_FOR_EACH(e, &u->endpoints, struct endpoint, link)
		upstream_review(u, e);
}

static struct endpoint *endpoint_at(const struct upstream *u, const struct addr *at)
{
	LIST_FOR_EACH(e, &u->endpoints, struct endpoint, link)
		if (e->state != ENDPOINT_DRAINING && strcmp(e->at.text, at->text) == 0)
			return e;
	return NULL;
}

static bool is_target(const struct endpoint *e, const struct target *targets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(e->at.text, targets[i].at.text) == 0)
			return true;
	return false;
}

void upstream_set_targets(struct upstream *u, const struct target *targets, size_t n,
			  uint32_t requests_ms, uint32_t tunnels_ms)
{
	for (size_t i = 0; i < n; i++) {
		struct endpoint *e = endpoint_at(u, &targets[i].at);

		if (!e)
			e = endpoint_add(u, &targets[i].at, "", 0);
		if (e->weight != targets[i].weight)
			endpoint_set_weight(e, targets[i].weight);
	}
	LIST_FOR_EACH_SAFE(e, &u->endpoints, struct endpoint, link)
		if (e->state != ENDPOINT_DRAINING && !is_target(e, targets, n))
			endpoint_retire(e, requests_ms, tunnels_ms);
}

const struct endpoint *upstream_next(const struct upstream *u, const struct endpoint *e)
{
	const struct list *link = e ? e->link.next : u->endpoints.next;

	return link == &u->endpoints ? NULL : LIST_ENTRY(link, struct endpoint, link);
}

void upstream_leave(struct upstream *u)
{
	u->active--;
	settle(u);
}

static struct slice sticky_key(const struct endpoint *e)
{
	return slice_of((const char *)&e->sticky_id, sizeof(e->sticky_id));
}

void upstream_endpoint_new(struct upstream *u, struct endpoint *e)
{
	list_push_back(&u->endpoints, &e->link);
	u->nendpoints++;
	u->front->stats.endpoints++;
	e->sticky_id = sticky_id(u->front, e);
	/* In the place of one at the same address that may still be draining. */
	map_put(&u->by_sticky_id, sticky_key(e), e);
}

void upstream_endpoint_gone(struct upstream *u, struct endpoint *e)
{
	walk_pass(u->front, &e->link);
	list_remove(&e->link);
	u->nendpoints--;
	u->front->stats.endpoints--;
	if (map_get(&u->by_sticky_id, sticky_key(e)) == e)
		map_del(&u->by_sticky_id, sticky_key(e));
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
		.ejections = u->ejections,
		.half_open = u->half_open,
		.recoveries = u->recoveries,
		.sticky_hits = u->sticky_hits,
		.sticky_misses = u->sticky_misses,
		.queued = u->hold.queued,
		.queue_timeouts = u->hold.queue_timeouts,
		.queue_refused = u->hold.queue_refused,
		.holding = u->hold.n,
		.queueing = u->hold.nqueued,
		.active = u->active,
		.duration = &u->duration,
	};
	memcpy(out->by_status, u->by_status, sizeof(out->by_status));
}

/* ---- the choice ---- */

void upstream_review(struct upstream *u, struct endpoint *e)
{
	bool may = endpoint_is_in(e) && e->weight && e->in_flight < e->limit && !u->paused;
	bool was = e->choice_at != CHOICE_NOWHERE;

	if (may && was) {
		choice_moved(&u->choice, e);
	} else if (may) {
		choice_put(&u->choice, e);
		hold_release(&u->hold);
	} else if (was) {
		choice_take(&u->choice, e);
	}
}

void upstream_count_in(struct upstream *u, const struct endpoint *e, int by)
{
	u->nin += (uint32_t)by;
	if (e->weight)
		u->nopen += (uint32_t)by;
	/* Who waits for a slot waits in vain, unless it may be held. */
	if (u->nopen == 0)
		hold_release(&u->hold);
}

void upstream_weigh(struct upstream *u, struct endpoint *e, uint32_t weight)
{
	bool is_in = endpoint_is_in(e);

	if (e->weight == weight)
		return;
	if (e->choice_at != CHOICE_NOWHERE)
		choice_take(&u->choice, e);
	if (is_in)
		upstream_count_in(u, e, -1);
	e->weight = weight;
	if (is_in)
		upstream_count_in(u, e, 1);
	upstream_review(u, e);
}

struct endpoint *upstream_pick(struct upstream *u, const uint64_t *tried, unsigned ntried)
{
	return choice_pick(&u->choice, tried, ntried);
}

struct endpoint *upstream_endpoint(const struct upstream *u, uint64_t id)
{
	for (uint32_t i = 0; i < u->choice.n; i++)
		if (u->choice.slots[i].endpoint->id == id)
			return u->choice.slots[i].endpoint;
	return NULL;
}
