/* A replica: its states, what each of them asks for, and how it goes. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/state.h"

#define DRAIN_SLACK_MS 15000u /* after the drain limit the proxy should have said that it is over */
#define VERIFY_LIMIT_MS 30000u

#define TO(state) (1u << REPLICA_##state)

static const struct {
	const char *name;
	unsigned next;
} states[REPLICA_STATES] = {
	[REPLICA_PLACED] = { "placed", TO(STARTING) | TO(STOPPING) | TO(GONE) },
	[REPLICA_STARTING] = { "starting", TO(PROBING) | TO(STOPPING) | TO(GONE) },
	[REPLICA_PROBING] = { "probing", TO(HEALTHY) | TO(TAILING) | TO(STOPPING) | TO(GONE) },
	[REPLICA_HEALTHY] = { "healthy", TO(READY) | TO(TAILING) | TO(STOPPING) | TO(GONE) },
	[REPLICA_READY] = { "ready", TO(DRAINING) | TO(TAILING) | TO(STOPPING) | TO(GONE) },
	[REPLICA_DRAINING] = { "draining", TO(TAILING) | TO(STOPPING) | TO(GONE) },
	[REPLICA_TAILING] = { "tailing", TO(STOPPING) | TO(GONE) },
	[REPLICA_STOPPING] = { "stopping", TO(REMOVING) | TO(GONE) },
	[REPLICA_REMOVING] = { "removing", TO(GONE) },
	[REPLICA_GONE] = { "gone", TO(STOPPING) },
};

const char *replica_state_name(enum replica_state state)
{
	return states[state].name;
}

bool replica_is_starting(const struct replica *r)
{
	return r->state <= REPLICA_HEALTHY;
}

bool replica_is_live(const struct replica *r)
{
	return r->state <= REPLICA_READY;
}

struct replica *replica_find(struct cluster *c, const char *app, uint32_t n)
{
	struct replica *r;
	char *name;

	if (!app)
		return NULL;
	name = xasprintf("%s-%s-%" PRIu32, c->config.cluster_id, app, n);
	r = map_get(&c->replicas_by_name, slice_str(name));
	free(name);
	return r;
}

struct replica *replica_create(struct cluster *c, struct app *a, struct release *rel,
			       struct node *n, uint32_t number)
{
	struct replica *r = xcalloc(1, sizeof(*r));

	r->app = a;
	r->release = rel;
	r->release_n = rel ? rel->n : 0;
	r->node = n;
	r->n = number;
	r->weight = 1;
	r->name = xasprintf("%s-%s-%" PRIu32, c->config.cluster_id, a->name, number);
	r->container_id = xstrdup("");
	r->started_at = xstrdup("");
	r->reason = xstrdup("");
	r->placed = xstrdup("");
	r->created_wall_ms = c->now.wall_ms;
	r->timer.kind = TIMER_REPLICA;
	r->calm.kind = TIMER_CALM;
	list_init(&r->dirty_link);
	list_push_back(&a->replicas, &r->link);
	list_push_back(&n->replicas, &r->node_link);
	n->replicas_n++;
	c->replicas_n++;
	map_put(&c->replicas_by_name, slice_str(r->name), r);
	return r;
}

void replica_destroy(struct cluster *c, struct replica *r)
{
	if (r->release && r->release->resolver == r)
		r->release->resolver = NULL;
	promise_break(r);
	if (r->pool)
		address_give(r->pool, r->slot);
	timer_clear(&c->timers, &r->timer);
	timer_clear(&c->timers, &r->calm);
	map_del(&c->replicas_by_name, slice_str(r->name));
	list_remove(&r->link);
	list_remove(&r->node_link);
	list_remove(&r->dirty_link);
	r->node->replicas_n--;
	c->replicas_n--;
	json_free(r->extra);
	free(r->name);
	free(r->container_id);
	free(r->started_at);
	free(r->reason);
	free(r->placed);
	free(r);
}

void replica_dirty(struct cluster *c, struct replica *r)
{
	if (list_empty(&r->dirty_link))
		list_push_back(&c->dirty_replicas, &r->dirty_link);
}

/* ---- waiting ---- */

void replica_forget_call(struct cluster *c, struct replica *r)
{
	if (r->release && r->release->resolver == r)
		r->release->resolver = NULL;
	r->await = AWAIT_NONE;
	r->op_seq = 0;
	timer_clear(&c->timers, &r->timer);
}

void replica_await(struct cluster *c, struct replica *r, enum await what, uint64_t limit_ms)
{
	r->await = (uint8_t)what;
	timer_set(&c->timers, &r->timer, c->now.mono_ms + limit_ms);
}

void replica_pause(struct cluster *c, struct replica *r, uint64_t ms)
{
	replica_forget_call(c, r);
	replica_await(c, r, AWAIT_RETRY, ms);
}

/* Only the one writer of the state; whoever calls it sees to what the new state asks for. */
void replica_set_state(struct cluster *c, struct replica *r, enum replica_state next)
{
	assert(states[r->state].next & (1u << next));
	if (replica_phase(r->state) != replica_phase(next))
		replica_dirty(c, r);
	r->state = next;
	r->attempts = 0;
	if (next == REPLICA_STARTING)
		r->maybe_created = true;
	if (next == REPLICA_GONE) {
		replica_forget_call(c, r);
		timer_clear(&c->timers, &r->calm);
		promise_break(r);
		liveness_room(c);
		r->ended_wall_ms = c->now.wall_ms;
		cluster_touch(c, r->app); /* somebody may wait for that */
		replica_rest(c, r);
		drain_settle(c, r->node);
	}
}

void replica_rest(struct cluster *c, struct replica *r)
{
	/* All of it again after a restart: the wall clock says nothing for certain about how long it was. */
	replica_await(c, r, AWAIT_REST, c->config.address_rest_ms);
}

/* ---- probes and routing ---- */

static void replica_endpoint(struct batch *b, struct endpoint_at *e, const struct replica *r)
{
	e->app = batch_str(b, r->app->name);
	e->replica = r->n;
	e->release = r->release_n;
	e->node_id = r->node->id;
	e->container_id = batch_str(b, r->container_id);
	e->started_at = batch_str(b, r->started_at);
	e->ip = batch_str(b, r->ip);
	e->port = r->port;
}

void replica_probe(struct cluster *c, struct replica *r, enum probe_mode mode)
{
	const struct app_spec *s = &r->release->spec;
	struct effect *e = batch_effect(c->batch, EFFECT_PROBE_START);
	const char *host = s->domains.n ? s->domains.items[0] : NULL;

	r->probe_seq = cluster_op(c);
	replica_fill_op(c, &e->probe.op, r, r->probe_seq);
	replica_endpoint(c->batch, &e->probe.endpoint, r);
	e->probe.mode = mode;
	e->probe.path = batch_str(c->batch, s->health_path);
	e->probe.host = host ? batch_printf(c->batch, "%.*s", (int)strcspn(host, "/"), host) : NULL;
	batch_pairs(c->batch, &e->probe.policy, &s->policy);
	e->probe.limit_ms = s->health_limit_ms ? s->health_limit_ms : c->config.health_limit_ms;
	e->probe.start_ms = s->health_start_ms;
	if (mode == PROBE_GATE)
		replica_await(c, r, AWAIT_GATE, (uint64_t)e->probe.limit_ms + VERIFY_LIMIT_MS);
}

void replica_cancel_probe(struct cluster *c, struct replica *r)
{
	if (!r->probe_seq)
		return;
	replica_fill_op(c, &batch_effect(c->batch, EFFECT_PROBE_CANCEL)->probe.op, r, r->probe_seq);
	r->probe_seq = 0;
}

static struct effect *route(struct cluster *c, struct replica *r, enum effect_type type,
			    const char *reason)
{
	struct effect *e;

	if (!r->port)
		return NULL;
	e = batch_effect(c->batch, type);
	replica_endpoint(c->batch, &e->route.endpoint, r);
	e->route.reason = batch_str(c->batch, reason);
	e->route.weight = r->weight;
	if (r->release) {
		e->route.request_drain_ms = r->release->spec.request_drain_ms;
		e->route.tunnel_drain_ms = r->release->spec.tunnel_drain_ms;
	}
	return e;
}

void replica_ready(struct cluster *c, struct replica *r)
{
	bool first = r->state != REPLICA_READY;

	if (first) {
		replica_set_state(c, r, REPLICA_READY);
		text_replace(&r->reason, "");
	}
	r->routed = true;
	route(c, r, EFFECT_ROUTE_IN, NULL);
	if (first)
		replica_drive(c, r);
}

void replica_weigh(struct cluster *c, struct replica *r, uint32_t weight)
{
	if (r->weight == weight)
		return;
	r->weight = weight;
	if (r->routed)
		route(c, r, EFFECT_ROUTE_IN, NULL);
}

static void take_out(struct cluster *c, struct replica *r, const char *reason, bool suspect)
{
	if (!r->port)
		return;
	if (r->routed || suspect)
		route(c, r, EFFECT_ENDPOINT_FAILED, reason)->route.suspect = suspect;
	if (r->routed)
		text_replace(&r->reason, reason);
	r->routed = false;
	if (!r->probe_seq)
		replica_probe(c, r, PROBE_RECOVER);
}

void replica_out(struct cluster *c, struct replica *r, const char *reason)
{
	take_out(c, r, reason, false);
}

void replica_suspect(struct cluster *c, struct replica *r)
{
	const char *why = "its node is suspect";

	if (r->state == REPLICA_READY)
		take_out(c, r, why, true);
	/* On its way out, which may wait for its commit still: until then it would be chosen. */
	else if (r->port)
		route(c, r, EFFECT_ENDPOINT_FAILED, why)->route.suspect = true;
}

void replica_restarted(struct cluster *c, struct replica *r, const char *started_at)
{
	if (r->routed)
		route(c, r, EFFECT_ENDPOINT_FAILED, "its container restarted");
	route(c, r, EFFECT_ROUTE_OUT, "its container restarted");
	r->routed = false;
	replica_cancel_probe(c, r);
	text_replace(&r->started_at, started_at);
	replica_dirty(c, r);
}

void replica_verify(struct cluster *c, struct replica *r)
{
	r->verify = true;
	/* What it runs matters more than what it said. */
	if (r->await == AWAIT_TAIL && r->state == REPLICA_READY) {
		replica_forget_call(c, r);
		r->tail = true;
	}
	if (r->await == AWAIT_NONE)
		replica_drive(c, r);
}

/* ---- what each state asks for ---- */

static bool sibling_asked(const struct replica *r)
{
	LIST_FOR_EACH(o, &r->node->replicas, struct replica, node_link) {
		if (o != r && o->release == r->release && o->await == AWAIT_IMAGE && !o->hook)
			return true;
	}
	return false;
}

/* One call per node and release tells about the image; the first of all resolves what the reference means. */
static void drive_placed(struct cluster *c, struct replica *r)
{
	if (r->has_image) {
		if (!rollout_may_start(r))
			return;
		replica_set_state(c, r, REPLICA_STARTING);
		replica_call_create(c, r);
		return;
	}
	if (!*r->release->image_id) {
		if (r->release->resolver)
			return;
		r->release->resolver = r;
	} else if (sibling_asked(r)) {
		return;
	}
	replica_call_image(c, r);
}

static void drive_stopping(struct cluster *c, struct replica *r)
{
	if (r->foreign || !r->maybe_created) {
		replica_set_state(c, r, REPLICA_GONE);
	} else if (!*r->container_id) {
		replica_call(c, r, EFFECT_INSPECT, AWAIT_INSPECT, c->config.rpc_limit_ms);
	} else {
		replica_call(c, r, EFFECT_STOP, AWAIT_STOP, c->config.rpc_limit_ms);
	}
}

void replica_fetch_tail(struct cluster *c, struct replica *r)
{
	r->tail = false;
	r->tail_ms = MAX(c->now.mono_ms, 1u);
	replica_call(c, r, EFFECT_LOG_TAIL, AWAIT_TAIL, VERIFY_LIMIT_MS);
}

void replica_drive(struct cluster *c, struct replica *r)
{
	if (r->await != AWAIT_NONE || !node_callable(r->node))
		return;
	if (r->hook && r->verify && r->state <= REPLICA_STARTING) {
		/* It may have run: no second time. */
		r->verify = false;
		replica_call(c, r, EFFECT_INSPECT, AWAIT_INSPECT, VERIFY_LIMIT_MS);
		return;
	}
	switch (r->state) {
	case REPLICA_PLACED: drive_placed(c, r); break;
	case REPLICA_STARTING: replica_call_create(c, r); break;
	case REPLICA_PROBING:
		if (!r->port || r->release->spec.health_command.n)
			replica_call(c, r, EFFECT_INSPECT, AWAIT_INSPECT, VERIFY_LIMIT_MS);
		break;
	case REPLICA_READY:
		if (r->verify) {
			r->verify = false;
			replica_call(c, r, EFFECT_INSPECT, AWAIT_INSPECT, VERIFY_LIMIT_MS);
		} else if (r->tail) {
			replica_fetch_tail(c, r);
		}
		break;
	case REPLICA_TAILING: replica_fetch_tail(c, r); break;
	case REPLICA_STOPPING: drive_stopping(c, r); break;
	case REPLICA_REMOVING:
		replica_call(c, r, EFFECT_REMOVE, AWAIT_REMOVE, c->config.rpc_limit_ms);
		break;
	default: break;
	}
}

/* ---- going ---- */

/* The proxy should have said by then that it is over. */
static uint64_t drain_limit_ms(const struct cluster *c, const struct replica *r)
{
	const struct app_spec *s = r->release ? &r->release->spec : NULL;
	uint32_t longest_ms = s ? MAX(s->request_drain_ms, s->tunnel_drain_ms) : 0;

	/* One of them alone leaves the other what the cluster says. */
	return s && s->request_drain_ms && s->tunnel_drain_ms ? longest_ms
							      : MAX(longest_ms, c->config.drain_limit_ms);
}

/* Out of routing for good; what is in flight may end. */
static void leave_routing(struct cluster *c, struct replica *r)
{
	replica_forget_call(c, r);
	replica_cancel_probe(c, r);
	r->routed = false;
	if (!r->port) {
		replica_set_state(c, r, r->failed ? REPLICA_TAILING : REPLICA_STOPPING);
		replica_drive(c, r);
		return;
	}
	replica_set_state(c, r, REPLICA_DRAINING);
	replica_drain(c, r);
}

void replica_drain(struct cluster *c, struct replica *r)
{
	route(c, r, EFFECT_ROUTE_OUT, r->reason);
	replica_await(c, r, AWAIT_DRAIN, drain_limit_ms(c, r) + DRAIN_SLACK_MS);
}

void replica_retire(struct cluster *c, struct replica *r, const char *reason)
{
	if (!replica_is_live(r))
		return;
	if (reason)
		text_replace(&r->reason, reason);
	r->away = false;
	cluster_touch(c, r->app);
	switch (r->state) {
	case REPLICA_PLACED:
		replica_forget_call(c, r);
		replica_set_state(c, r, r->maybe_created ? REPLICA_STOPPING : REPLICA_GONE);
		break;
	case REPLICA_STARTING:
		/* Its creation may be under way: what comes of it is stopped then. */
		if (r->await != AWAIT_CREATE)
			replica_forget_call(c, r);
		replica_set_state(c, r, REPLICA_STOPPING);
		break;
	case REPLICA_READY: leave_routing(c, r); return;
	default:
		replica_forget_call(c, r);
		replica_cancel_probe(c, r);
		replica_set_state(c, r, r->failed ? REPLICA_TAILING : REPLICA_STOPPING);
		break;
	}
	replica_drive(c, r);
}

void replica_vanished(struct cluster *c, struct replica *r, const char *reason)
{
	bool routed = r->state == REPLICA_READY || r->state == REPLICA_DRAINING;

	if (r->state == REPLICA_GONE)
		return;
	replica_cancel_probe(c, r);
	if (routed) {
		r->routed = false;
		route(c, r, EFFECT_ENDPOINT_FAILED, reason);
		route(c, r, EFFECT_ROUTE_OUT, reason);
	}
	text_replace(&r->reason, reason);
	r->away = false;
	cluster_touch(c, r->app);
	replica_set_state(c, r, REPLICA_GONE);
}

static void drain_over(struct cluster *c, struct replica *r)
{
	replica_forget_call(c, r);
	replica_set_state(c, r, r->failed ? REPLICA_TAILING : REPLICA_STOPPING);
	replica_drive(c, r);
}

void replica_drained(struct cluster *c, const struct event_drained *e)
{
	struct replica *r = replica_find(c, e->endpoint.app, e->endpoint.replica);

	if (r && r->state == REPLICA_DRAINING &&
	    strcmp(r->container_id, e->endpoint.container_id) == 0 &&
	    strcmp(r->started_at, e->endpoint.started_at) == 0)
		drain_over(c, r);
}

static void forget(struct cluster *c, struct replica *r)
{
	struct node *n = r->node;

	replica_delete_record(c, r);
	replica_destroy(c, r);
	node_reap(c, n);
}

/* No answer in time counts as a failure in transport. */
static void call_expired(struct cluster *c, struct replica *r, enum await what)
{
	struct event_result lost = { { r->app->name, r->n, r->op_seq },
				     RPC_TRANSPORT,
				     "no answer in time" };
	struct event_container_done none = { .result = lost };

	switch (what) {
	case AWAIT_IMAGE: result_image(c, &(struct event_image_done){ .result = lost }); break;
	case AWAIT_CREATE: result_create(c, &none); break;
	case AWAIT_INSPECT: result_inspect(c, &none); break;
	case AWAIT_TAIL: result_tail(c, &(struct event_log_tail_done){ .result = lost }); break;
	case AWAIT_STOP: result_stop(c, &lost); break;
	default: result_remove(c, &lost); break;
	}
}

static void gate_expired(struct cluster *c, struct replica *r)
{
	struct event_probe_done late = { { r->app->name, r->n, r->probe_seq },
					 false,
					 "no verdict in time" };

	replica_fill_op(c, &batch_effect(c->batch, EFFECT_PROBE_CANCEL)->probe.op, r, r->probe_seq);
	result_probe(c, &late);
}

void replica_expired(struct cluster *c, struct replica *r)
{
	switch ((enum await)r->await) {
	case AWAIT_NONE: break;
	case AWAIT_RETRY:
		r->await = AWAIT_NONE;
		if (replica_is_starting(r))
			cluster_touch(c, r->app);
		replica_drive(c, r);
		break;
	case AWAIT_REST: forget(c, r); break;
	case AWAIT_DRAIN: drain_over(c, r); break;
	case AWAIT_GATE: gate_expired(c, r); break;
	default: call_expired(c, r, r->await); break;
	}
}
