/* Liveness: three signals kept apart - the data path, the way to the agent, and silence.
 *
 * Silence is measured on the liveness clock: the monotonic one less what late loop turns took, so that a control plane
 * that was stopped or starved does not blame its nodes. */
#include <errno.h>
#include <stdio.h>

#include "sched/state.h"

#define PULSE_MS 1000u
#define STRIKE_WINDOW_MS 10000u /* two signs within it make a node suspect */
#define ROOM_APPS 16u /* that look for room in one step: each goes through all nodes */
#define BRAKE_WINDOW_MS 60000u
#define BRAKE_NODES 3u /* that many, and over a third of the cluster */

static uint64_t liveness_clock(const struct cluster *c)
{
	return c->now.mono_ms - c->late_ms;
}

static uint32_t workers(const struct cluster *c)
{
	return map_count(&c->nodes_by_id) - 1;
}

void liveness_pulse(struct cluster *c)
{
	if (c->started && workers(c) && !timer_is_set(&c->pulse))
		timer_set(&c->timers, &c->pulse, c->now.mono_ms + PULSE_MS);
}

void liveness_turn(struct cluster *c)
{
	/* Since the last step, so that the clock never falls behind an exchange that a step has seen. */
	uint64_t since_ms = MAX(c->pulse.due_ms, c->last_step_ms);

	c->last_step_ms = c->now.mono_ms;
	if (!timer_is_set(&c->pulse) || c->now.mono_ms <= since_ms + c->config.late_turn_ms)
		return;
	c->late_ms += c->now.mono_ms - since_ms;
	timer_set(&c->timers, &c->pulse, c->now.mono_ms + PULSE_MS);
	cluster_tell(c, "LateTurn", "cluster",
		     "the control plane stood still for %llu ms: deadlines of nodes moved",
		     (unsigned long long)(c->now.mono_ms - since_ms));
}

static void arm(struct cluster *c, struct node *n)
{
	uint64_t silent_ms = liveness_clock(c) - n->last_exchange_ms;

	timer_set(&c->timers, &n->timer,
		  c->now.mono_ms + c->config.offline_after_ms -
			  MIN(silent_ms, c->config.offline_after_ms));
}

void liveness_watch(struct cluster *c, struct node *n)
{
	n->last_exchange_ms = liveness_clock(c);
	arm(c, n);
	liveness_pulse(c);
}

void liveness_start(struct cluster *c)
{
	LIST_FOR_EACH(n, &c->nodes, struct node, link) {
		if (node_is_local(n))
			continue;
		liveness_watch(c, n);
		batch_effect(c->batch, EFFECT_NODE_SET)->node.node_id = n->id;
	}
}

void liveness_look_again(struct cluster *c)
{
	for (unsigned i = 0; !list_empty(&c->unsettled); i++) {
		struct app *a = LIST_FIRST(&c->unsettled, struct app, unsettled_link);

		/* Those that still wait are behind all others. */
		if (a->room_sweep == c->room_sweep)
			return;
		if (i == ROOM_APPS) {
			timer_set(&c->timers, &c->room, c->now.mono_ms + 1);
			return;
		}
		a->room_sweep = c->room_sweep;
		list_remove(&a->unsettled_link);
		cluster_touch(c, a);
	}
}

void liveness_room(struct cluster *c)
{
	c->room_sweep++;
	liveness_look_again(c);
}

/* ---- the way to the agent ---- */

/* What waited for the way to be there goes on. */
static void kick(struct cluster *c, struct node *n)
{
	batch_effect(c->batch, EFFECT_LIST)->node.node_id = n->id;
	LIST_FOR_EACH_SAFE(r, &n->replicas, struct replica, node_link) {
		if (replica_is_starting(r))
			cluster_touch(c, r->app);
		else
			replica_drive(c, r);
		if (r->returned)
			cluster_touch(c, r->app);
	}
	liveness_room(c);
}

static void set_link(struct cluster *c, struct node *n)
{
	enum node_link next = n->stream_lost || n->call_lost ? LINK_LOST : LINK_UP;

	if (n->link_state == next)
		return;
	n->link_state = next;
	if (next == LINK_UP) {
		if (!n->suspect && !n->offline)
			n->reason[0] = '\0';
		kick(c, n);
	}
}

void liveness_reachable(struct cluster *c, struct node *n)
{
	n->stream_lost = n->call_lost = false;
	liveness_exchange(c, n, true);
	set_link(c, n);
}

static void mark_suspect(struct cluster *c, struct node *n, const char *reason)
{
	if (n->suspect || node_is_local(n))
		return;
	n->suspect = true;
	snprintf(n->reason, sizeof(n->reason), "%s", reason);
	cluster_tell(c, "NodeSuspect", n->name, "node %s is suspect: %s", n->name, reason);
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (r->state == REPLICA_READY || r->state == REPLICA_DRAINING)
			replica_suspect(c, r);
		else if (replica_is_starting(r))
			cluster_touch(c, r->app);
	}
}

static void clear_suspect(struct cluster *c, struct node *n)
{
	if (!n->suspect)
		return;
	n->suspect = false;
	n->strike_ms = 0;
	if (!n->offline && n->link_state != LINK_LOST)
		n->reason[0] = '\0';
	cluster_tell(c, "NodeOk", n->name, "node %s answers again", n->name);
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (replica_is_starting(r))
			cluster_touch(c, r->app);
	}
	liveness_room(c);
}

static bool struck_lately(const struct cluster *c, const struct node *n)
{
	return n->strike_ms && liveness_clock(c) - n->strike_ms <= STRIKE_WINDOW_MS;
}

void liveness_lost(struct cluster *c, struct node *n, bool stream, const char *reason)
{
	bool was_lost = n->link_state == LINK_LOST;
	/* What was never there is not lost: a node has joined, its agent is yet to start. */
	bool known = n->link_state == LINK_UP || n->last_heartbeat_wall_ms;

	if (stream)
		n->stream_lost = true;
	else
		n->call_lost = true;
	set_link(c, n);
	if (struck_lately(c, n))
		mark_suspect(c, n, "neither an endpoint nor the agent answers");
	if (was_lost)
		return;
	if (!n->suspect && !n->offline)
		snprintf(n->reason, sizeof(n->reason), "%s",
			 reason ? reason : "its agent cannot be reached");
	if (known)
		cluster_tell(c, "AgentLost", n->name, "the %s of node %s cannot be reached: %s",
			     node_is_local(n) ? "engine" : "agent", n->name,
			     reason ? reason : "no answer");
	if (!stream)
		batch_effect(c->batch, EFFECT_NODE_PROBE)->node.node_id = n->id;
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (replica_is_starting(r))
			cluster_touch(c, r->app);
	}
}

/* ---- the data path ---- */

static void strike(struct cluster *c, struct node *n, const struct app *a)
{
	bool other = struck_lately(c, n) && strcmp(n->strike_app, a->name) != 0;

	if (node_is_local(n))
		return;
	n->strike_ms = MAX(liveness_clock(c), 1u);
	snprintf(n->strike_app, sizeof(n->strike_app), "%s", a->name);
	if (other)
		mark_suspect(c, n, "endpoints of two apps do not answer");
	else if (n->link_state == LINK_LOST)
		mark_suspect(c, n, "neither an endpoint nor the agent answers");
	else
		batch_effect(c->batch, EFFECT_NODE_PROBE)->node.node_id = n->id;
}

/* "connect to 127.0.0.2:20000: connection refused", "health check to …: it fails" */
static void say_failure(char *out, size_t size, const struct replica *r, enum upstream_failure f)
{
	static const char *const reasons[] = {
		[UPSTREAM_REFUSED] = "connection refused",
		[UPSTREAM_EARLY_EOF] = "the connection ended before an answer",
		[UPSTREAM_TIMEOUT] = "no answer",
		[UPSTREAM_UNREACHABLE] = "no way there",
		[UPSTREAM_UNHEALTHY] = "it fails",
	};
	const char *verb = f == UPSTREAM_EARLY_EOF   ? "request"
			   : f == UPSTREAM_UNHEALTHY ? "health check"
						     : "connect";
	bool v6 = strchr(r->ip, ':') != NULL;

	snprintf(out, size, "%s to %s%s%s:%u: %s", verb, v6 ? "[" : "", r->ip, v6 ? "]" : "",
		 r->port, reasons[f]);
}

void liveness_upstream(struct cluster *c, const struct event_upstream_failed *e)
{
	const struct endpoint_ref *ref = &e->endpoint;
	struct replica *r = replica_find(c, ref->app, ref->replica);
	char why[160];

	if (!r || r->state != REPLICA_READY || strcmp(r->container_id, ref->container_id) != 0 ||
	    strcmp(r->started_at, ref->started_at) != 0)
		return;
	say_failure(why, sizeof(why), r, e->failure);
	replica_out(c, r, why);
	if (e->failure == UPSTREAM_TIMEOUT || e->failure == UPSTREAM_UNREACHABLE)
		strike(c, r->node, r->app);
	else
		replica_verify(c, r);
}

void liveness_answered(struct cluster *c, struct node *n)
{
	clear_suspect(c, n);
}

/* ---- silence ---- */

/* Those that were counted as missing are there again; what is too many is found when the app settles. */
static void welcome_back(struct cluster *c, struct node *n)
{
	n->has_away = false;
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (!r->away)
			continue;
		r->away = false;
		r->returned = true;
		replica_dirty(c, r);
		cluster_touch(c, r->app);
	}
}

static bool has_endpoints(const struct node *n)
{
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (r->state == REPLICA_READY && r->port)
			return true;
	}
	return false;
}

void liveness_exchange(struct cluster *c, struct node *n, bool outbound)
{
	if (outbound && n->call_lost) {
		n->call_lost = false;
		set_link(c, n);
	}
	if (node_is_local(n))
		return;
	n->last_exchange_ms = liveness_clock(c);
	if (!timer_is_set(&n->timer))
		arm(c, n);
	if (n->suspect && !has_endpoints(n))
		clear_suspect(c, n);
	if (n->has_away)
		welcome_back(c, n);
	if (!n->offline)
		return;
	n->offline = false;
	list_remove(&n->offline_link);
	n->reason[0] = '\0';
	cluster_tell(c, "NodeReturned", n->name, "node %s is active again", n->name);
	if (node_callable(n))
		kick(c, n);
	liveness_room(c);
}

static void set_brake(struct cluster *c)
{
	uint32_t fresh = 0;

	for (struct list *l = c->offlines.prev; l != &c->offlines; l = l->prev) {
		if (c->now.mono_ms - LIST_ENTRY(l, struct node, offline_link)->offline_since_ms >
		    BRAKE_WINDOW_MS)
			break;
		fresh++;
	}
	if (fresh < BRAKE_NODES || fresh * 3 <= workers(c) + 1)
		return;
	if (!timer_is_set(&c->brake))
		cluster_tell(
			c, "MassFailure", "cluster",
			"%u nodes went offline within a minute: nothing is placed again for %u s, or until told so",
			fresh, c->config.brake_ms / 1000);
	timer_set(&c->timers, &c->brake, c->now.mono_ms + c->config.brake_ms);
}

void liveness_release_brake(struct cluster *c)
{
	timer_clear(&c->timers, &c->brake);
	LIST_FOR_EACH(n, &c->nodes, struct node, link) {
		if (!n->has_away)
			continue;
		LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
			if (r->away)
				cluster_touch(c, r->app);
		}
	}
}

void liveness_override_brake(struct cluster *c, const struct event_command *e)
{
	bool was_on = cluster_braked(c);

	liveness_release_brake(c);
	if (was_on)
		cluster_tell(c, "BrakeReleased", "cluster",
			     "what offline nodes ran is placed elsewhere now, as somebody wants it");
	cluster_reply(c, e->reply, REPLY_OK, "",
		      was_on ? "Replicas of offline nodes are placed elsewhere now"
			     : "Nothing was held back: there was no mass failure");
}

static void go_offline(struct cluster *c, struct node *n)
{
	n->offline = true;
	n->offline_since_ms = c->now.mono_ms;
	list_push_back(&c->offlines, &n->offline_link);
	snprintf(n->reason, sizeof(n->reason), "nothing was heard from it for %u s",
		 c->config.offline_after_ms / 1000);
	cluster_tell(c, "NodeOffline", n->name, "node %s is offline: %s", n->name, n->reason);
	set_brake(c);
	LIST_FOR_EACH_SAFE(r, &n->replicas, struct replica, node_link) {
		if (replica_is_starting(r)) {
			rollout_replica_failed(c, r, true, "its node went offline");
		} else if (r->state == REPLICA_READY && !r->away) {
			r->away = true;
			n->has_away = true;
			replica_dirty(c, r);
			cluster_touch(c, r->app);
		}
	}
}

void liveness_expired(struct cluster *c, struct node *n)
{
	if (liveness_clock(c) - n->last_exchange_ms < c->config.offline_after_ms)
		arm(c, n);
	else
		go_offline(c, n);
}
