/* What must always hold. */
#include <inttypes.h>
#include <stdio.h>

#include "sched/rollout.h"
#include "sim.h"

#define OFFLINE_MS 90000u
#define MARKED_WITHIN_MS 1000u
#define LATE_TURN_MS \
	6000u /* as much of a standstill counts as silence: the rule's 5 s and a pulse */
#define BRAKE_WINDOW_MS 60000u
#define BRAKE_MS 600000u

void check_route_in(struct sim *s, const struct endpoint_at *e)
{
	const struct container *ct = machine_find_anywhere(s, e->container_id);

	if (ct && ct->told_to_stop)
		sim_fail(s, "%s/%u is routed in after it was told to stop", e->app, e->replica);
	if (ct && strcmp(ct->app, e->app) != 0)
		sim_fail(s, "%s/%u is routed to a container of %s", e->app, e->replica, ct->app);
}

void check_stop(struct sim *s, const struct effect_container *e)
{
	struct container *ct = machine_find_anywhere(s, e->container_id);

	if (ct)
		ct->told_to_stop = ct->state != CONTAINER_RESTARTING;
	for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
		if (s->routes[i].used && s->routes[i].in &&
		    strcmp(s->routes[i].container_id, e->container_id) == 0)
			sim_fail(s, "%s is told to stop while it is routed in", e->name);
	}
}

/* A name belongs to one container for ever. */
static void check_name(struct sim *s, const struct effect_create *e)
{
	for (uint32_t i = 0; i < s->made_n; i++) {
		if (strcmp(s->made[i].name, e->name) != 0)
			continue;
		if (strcmp(s->made[i].spec_hash, e->spec_hash) != 0)
			sim_fail(s, "the name %s is used twice", e->name);
		return;
	}
	if (s->made_n == ARRAY_LEN(s->made))
		sim_fail(s, "too many containers are made");
	snprintf(s->made[s->made_n].name, sizeof(s->made[0].name), "%s", e->name);
	snprintf(s->made[s->made_n++].spec_hash, sizeof(s->made[0].spec_hash), "%s", e->spec_hash);
}

/* What its image means was settled once for the release. */
static void check_image(struct sim *s, const struct effect_create *e)
{
	struct meaning *m = s->meanings;

	for (uint32_t i = 0; i < s->meanings_n; i++, m++) {
		if (strcmp(m->app, e->op.app) != 0 || m->release != e->release)
			continue;
		if (strcmp(m->image_id, e->image_id) != 0)
			sim_fail(s, "%s of release %u gets image %s, others %s", e->name,
				 e->release, e->image_id, m->image_id);
		return;
	}
	if (s->meanings_n == ARRAY_LEN(s->meanings))
		sim_fail(s, "too many releases");
	s->meanings_n++;
	snprintf(m->app, sizeof(m->app), "%s", e->op.app);
	snprintf(m->image_id, sizeof(m->image_id), "%s", e->image_id);
	m->release = e->release;
}

/* A host leads to one app until the proxy is told that it leads nowhere. */
void check_host(struct sim *s, const struct effect *e)
{
	struct lead *at = NULL;

	for (size_t i = 0; i < ARRAY_LEN(s->leads); i++) {
		if (strcmp(s->leads[i].host, e->host.host) == 0)
			at = &s->leads[i];
	}
	if (e->type == EFFECT_HOST_DEL) {
		if (at)
			at->host[0] = '\0';
		return;
	}
	if (at && strcmp(at->app, e->host.app) != 0)
		sim_fail(s, "%s leads to %s and is given to %s", e->host.host, at->app,
			 e->host.app);
	for (size_t i = 0; !at; i++)
		at = s->leads[i].host[0] ? NULL : &s->leads[i];
	snprintf(at->host, sizeof(at->host), "%s", e->host.host);
	snprintf(at->app, sizeof(at->app), "%s", e->host.app);
}

void check_hook(struct sim *s, const struct container *ct)
{
	for (size_t i = 0; i < APPS; i++) {
		bool *ran = &s->hook_ran[i][ct->release % ARRAY_LEN(s->hook_ran[i])];

		if (strcmp(sim_apps[i], ct->app) != 0)
			continue;
		if (*ran)
			sim_fail(s, "the pre-deploy command of release %u of %s runs again", ct->release,
				 ct->app);
		*ran = true;
	}
}

/* On no machine. */
void check_volume(struct sim *s, const struct machine *m, const struct container *ct)
{
	for (uint32_t i = 0; i < MACHINES; i++) {
		for (uint32_t k = 0; k < s->machines[i].n; k++) {
			const struct container *other = &s->machines[i].containers[k];

			if (other != ct && other->has_volume && other->state == CONTAINER_RUNNING &&
			    strcmp(other->app, ct->app) == 0)
				sim_fail(s, "%s on %s has the volume of %s on %s", ct->name, m->name,
					 other->name, s->machines[i].name);
		}
	}
}

/* The engine would refuse it: the cluster does not even ask. */
void check_owner(struct sim *s, const struct effect_create *e)
{
	const struct app *a = cluster_app(s->cluster, e->op.app);

	if (!a)
		return;
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (r->state != REPLICA_GONE && r->release && r->release->spec.volumes.n && !r->hook &&
		    strcmp(r->name, e->name) != 0 && *r->container_id)
			sim_fail(s, "%s is to start while %s, %s, has its volume", e->name, r->name,
				 replica_state_name(r->state));
	}
}

/* Nobody else has that address, nor had it lately. */
void check_create(struct sim *s, const struct effect_create *e)
{
	const char *ip = e->host_ip ? e->host_ip : e->static_ip;
	uint16_t port = e->host_ip ? e->host_port : e->container_port;
	const struct app *a = cluster_app(s->cluster, e->op.app);
	const struct release *rel = a ? app_release(a, e->release) : NULL;

	check_name(s, e);
	check_image(s, e);
	if (rel && !e->once && rel->spec.pre_deploy.n && !rel->hook_done)
		sim_fail(s, "%s starts before its pre-deploy command is done", e->name);
	for (uint32_t i = 0; ip && i < MACHINES; i++) {
		for (uint32_t k = 0; k < s->machines[i].n; k++) {
			const struct container *ct = &s->machines[i].containers[k];

			if (ct->port == port && strcmp(ct->ip, ip) == 0 &&
			    strcmp(ct->name, e->name) != 0)
				sim_fail(s, "%s gets the address of %s", e->name, ct->name);
		}
	}
}

/* Three nodes and more than a third of the cluster within a minute. */
static void note_offline(struct sim *s)
{
	uint32_t fresh = 0, nodes = 0;

	LIST_FOR_EACH(n, cluster_nodes(s->cluster), struct node, link) {
		nodes++;
		fresh += n->offline && s->now_ms - n->offline_since_ms <= BRAKE_WINDOW_MS;
	}
	if (fresh >= 3 && fresh * 3 > nodes)
		s->braked_until_ms = s->now_ms + BRAKE_MS;
}

/* None of a node's endpoints is chosen any more in the turn that found it suspect. */
static void check_suspect(struct sim *s, const struct node *n)
{
	for (size_t i = 0; n && i < ENDPOINTS_MAX; i++) {
		if (s->routes[i].used && s->routes[i].in && s->routes[i].at.node_id == n->id)
			sim_fail(s, "%s is suspect and %s/%u stays in routing", n->name,
				 s->routes[i].app, s->routes[i].at.replica);
	}
}

void check_event(struct sim *s, const struct effect_event *e)
{
	sim_log(s, "  * %s: %s", e->type, e->text);
	if (strcmp(e->type, "NodeSuspect") == 0)
		snprintf(s->suspect_told, sizeof(s->suspect_told), "%s", e->subject);
	if (strcmp(e->type, "NodeOffline") != 0)
		return;
	note_offline(s);
	for (uint32_t i = 1; i < MACHINES; i++) {
		struct machine *m = &s->machines[i];
		uint64_t silent_ms = s->now_ms - m->heard_ms;
		uint64_t stood_ms = s->stood_ms - m->stood_ms;

		if (strcmp(m->name, e->subject) != 0)
			continue;
		if (silent_ms < OFFLINE_MS)
			sim_fail(s, "%s is offline after %" PRIu64 " ms of silence", m->name,
				 silent_ms);
		if (silent_ms + (s->stands - m->stands) * LATE_TURN_MS < OFFLINE_MS + stood_ms)
			sim_fail(s,
				 "%s is offline because the control plane stood still for %" PRIu64
				 " ms",
				 m->name, stood_ms);
		if (silent_ms > OFFLINE_MS + MARKED_WITHIN_MS + (s->stalled_ms - m->stalled_ms))
			sim_fail(s, "%s is offline only after %" PRIu64 " ms of silence", m->name,
				 silent_ms);
	}
}

void check_unknown(struct sim *s, const struct effect_container *e)
{
	if (*e->op.app)
		return;
	LIST_FOR_EACH(a, cluster_apps(s->cluster), struct app, link) {
		LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
			if (r->state != REPLICA_GONE && strcmp(r->container_id, e->container_id) == 0)
				sim_fail(s, "%s is removed as unknown and is a replica", r->name);
		}
	}
}

/* One release at a time: what carries traffic may go before anything else does. */
static bool ends_first(const struct app *a)
{
	return spec_is_stop_first(&a->current->spec) || (a->rolling && spec_is_stop_first(&a->rolling->spec));
}

static bool is_bare_beat(const struct cluster_event *e)
{
	return e->type == EVENT_HEARTBEAT && !e->heartbeat.has_inventory;
}

/* Reports of nodes, which may be old. */
static bool is_report(const struct cluster_event *e)
{
	return e->type == EVENT_HEARTBEAT || e->type == EVENT_INVENTORY ||
	       e->type == EVENT_CONTAINER;
}

/* No fault strikes with it: whoever carried traffic goes on, or its successor does. */
static bool is_peaceful(const struct cluster_event *e)
{
	switch (e->type) {
	case EVENT_NODE_DRAIN:
	case EVENT_NODE_UNDRAIN:
	case EVENT_NODE_GC:
	case EVENT_REBALANCE:
	case EVENT_BRAKE_RELEASE:
	case EVENT_DEPLOY:
	case EVENT_EXCHANGE:
	case EVENT_AGENT_REACHABLE:
	case EVENT_PROBE_DONE:
	case EVENT_DRAINED: return true;
	case EVENT_IMAGE_DONE: return e->image.result.outcome == RPC_OK;
	case EVENT_CREATE_DONE: return e->container_done.result.outcome == RPC_OK;
	case EVENT_STOP_DONE:
	case EVENT_REMOVE_DONE: return e->result.outcome == RPC_OK;
	default: return false;
	}
}

/* Ready replicas whose containers truly run. */
static uint32_t running(struct sim *s, const struct app *a)
{
	uint32_t n = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		const struct container *ct =
			r->state == REPLICA_READY ? machine_find_anywhere(s, r->container_id) : NULL;

		n += ct && ct->state == CONTAINER_RUNNING;
	}
	return n;
}

static void check_still_running(struct sim *s, const struct cluster_event *e)
{
	for (size_t i = 0; is_report(e) && i < APPS; i++) {
		const struct app *a = cluster_app(s->cluster, sim_apps[i]);

		if (!s->running_before[i])
			continue;
		/* A returned copy may go when others carry the traffic; that one of those died just now, nobody can know. */
		if (!a || !a->current ||
		    (running(s, a) < s->running_before[i] &&
		     app_routed(a) < a->current->spec.replicas))
			sim_fail(s, "an old report ends a running replica of %s", sim_apps[i]);
	}
}

static void note_locks(struct sim *s, const struct cluster_event *e)
{
	for (size_t i = 0; i < APPS; i++) {
		const struct app *a = cluster_app(s->cluster, sim_apps[i]);

		s->locked_before[i] = a && a->locked.set ? a->next_release : 0;
		if (e->type == EVENT_APP_DELETE && strcmp(e->app_delete.app, sim_apps[i]) == 0)
			s->locked_before[i] = 0;
	}
}

static void check_locks(struct sim *s)
{
	for (size_t i = 0; i < APPS; i++) {
		const struct app *a = cluster_app(s->cluster, sim_apps[i]);

		if (s->locked_before[i] && (!a || a->next_release != s->locked_before[i]))
			sim_fail(s, "%s is locked and got a release", sim_apps[i]);
	}
}

/* Which replicas carry traffic, and how few may be left by a rollout. */
static void note_carriers(struct sim *s)
{
	s->carriers_n = 0;
	LIST_FOR_EACH(a, cluster_apps(s->cluster), struct app, link) {
		if (!a->current || ends_first(a))
			continue;
		LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
			if (r->state == REPLICA_READY && r->routed && s->carriers_n < ARRAY_LEN(s->carriers))
				s->carriers[s->carriers_n++] =
					(struct carrier){ r->n, a->current->spec.replicas, a };
		}
	}
}

/* No rollout takes a replica away that its app cannot do without. */
static void check_carriers(struct sim *s, const struct cluster_event *e)
{
	if (e->type == EVENT_APP_DELETE || e->type == EVENT_REGISTER || e->type == EVENT_NODE_DELETE)
		return;
	for (uint32_t i = 0; i < s->carriers_n; i++) {
		const struct carrier *was = &s->carriers[i];
		const struct replica *r = app_replica(was->app, was->n);
		const struct release *next = was->app->rolling ? was->app->rolling : was->app->current;
		uint32_t floor = next ? MIN(was->floor, next->spec.replicas) : 0;

		if (!r || r->state != REPLICA_DRAINING || r->failed || !r->release || r->release->canary ||
		    spec_is_stop_first(&next->spec))
			continue;
		if (app_routed(was->app) < floor)
			sim_fail(s, "%s goes, %s: %u of %u carry traffic", r->name, r->reason,
				 app_routed(was->app), floor);
	}
}

void check_before(struct sim *s, const struct cluster_event *e)
{
	const struct node *n =
		e->type == EVENT_HEARTBEAT ? cluster_node(s->cluster, e->heartbeat.node_id) : NULL;

	note_carriers(s);

	for (size_t i = 0; i < APPS; i++) {
		const struct app *a = is_report(e) ? cluster_app(s->cluster, sim_apps[i]) : NULL;

		s->running_before[i] =
			a && a->current && !ends_first(a) ? MIN(running(s, a), a->current->spec.replicas) : 0;
		a = cluster_app(s->cluster, sim_apps[i]);
		s->numbers_before[i] = a ? a->next_replica : 0;
	}
	if (e->type == EVENT_BRAKE_RELEASE)
		s->braked_until_ms = 0;
	note_locks(s, e);
	memset(s->routed_before, 0, sizeof(s->routed_before));
	if (!is_peaceful(e) &&
	    (!is_bare_beat(e) || !n || strcmp(n->boot_id, e->heartbeat.boot_id) != 0))
		return;
	for (size_t i = 0; i < APPS; i++) {
		const struct app *a = cluster_app(s->cluster, sim_apps[i]);

		if (a && a->current && a->current->spec.port && !ends_first(a))
			s->routed_before[i] = MIN(app_routed(a), a->current->spec.replicas);
	}
}

/* A node that was removed is nobody's any more: no replica's, and its token lets nobody in. */
static void check_removed(struct sim *s, const struct cluster_event *e)
{
	int64_t id = e->node_delete.node_id;

	if (e->type != EVENT_NODE_DELETE || cluster_node(s->cluster, id))
		return;
	LIST_FOR_EACH(a, cluster_apps(s->cluster), struct app, link) {
		LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
			if (r->state != REPLICA_GONE && r->node->id == id)
				sim_fail(s, "%s is on a node that was removed", r->name);
		}
	}
	for (uint32_t i = 1; i < MACHINES; i++) {
		if (!cluster_node_auth(s->cluster, id, s->machines[i].token_hash))
			sim_fail(s, "%s was removed and its token is good", s->machines[i].name);
	}
}

/* Whatever gets ready on a suspect node waits until it answers. */
static void check_suspicions(struct sim *s)
{
	LIST_FOR_EACH(n, cluster_nodes(s->cluster), struct node, link) {
		LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
			if (n->suspect && r->port && r->routed)
				sim_fail(s, "%s is suspect and %s is in routing", n->name, r->name);
		}
	}
}

/* What nodes have promised is what their replicas were promised, and no card is given twice. */
static void check_promises(struct sim *s)
{
	LIST_FOR_EACH(n, cluster_nodes(s->cluster), struct node, link) {
		struct promised sum = { 0 };
		uint64_t cards = 0;

		LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
			if (!r->has_promise)
				continue;
			promised_add(&sum, &r->promised);
			if (cards & r->cards)
				sim_fail(s, "%s has a card of another replica", r->name);
			cards |= r->cards;
		}
		if (sum.sum.cpu_millis != n->promised.sum.cpu_millis ||
		    sum.replicas != n->promised.replicas || sum.no_cpu != n->promised.no_cpu ||
		    sum.sum.gpus != n->promised.sum.gpus || cards != n->cards_taken)
			sim_fail(s, "the promises of node %s are not those of its replicas", n->name);
	}
}

/* After a mass failure what is missing on offline nodes is not placed elsewhere. */
static void check_brake(struct sim *s, size_t i)
{
	const struct app *a = cluster_app(s->cluster, sim_apps[i]);
	const char *fresh = NULL;
	uint32_t live = 0;

	if (!a || !a->current || s->now_ms >= s->braked_until_ms)
		return;
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		/* Who has to leave gets a successor all the same. */
		if (r->release != a->current || r->state > REPLICA_READY || r->leaving ||
		    r->node->intent != NODE_ACTIVE)
			continue;
		/* A successor of one that leaves its node is no replacement of what is missing. */
		live += !r->leaving && r->node->intent == NODE_ACTIVE;
		if (r->n >= s->numbers_before[i])
			fresh = r->name;
	}
	if (fresh && live > a->current->spec.replicas)
		sim_fail(s, "%s is placed in spite of the mass failure", fresh);
}

void check_after(struct sim *s, const struct cluster_event *e)
{
	if (e->type == EVENT_HEARTBEAT && plane_machine(s, e->heartbeat.node_id))
		s->asked[e->heartbeat.reply % 4096] =
			(uint8_t)(plane_machine(s, e->heartbeat.node_id)->index + 1);
	if (*s->suspect_told)
		check_suspect(s, cluster_node_named(s->cluster, s->suspect_told));
	s->suspect_told[0] = '\0';
	check_still_running(s, e);
	check_removed(s, e);
	check_promises(s);
	check_suspicions(s);
	check_locks(s);
	check_carriers(s, e);
	for (size_t i = 0; i < APPS; i++) {
		const struct app *a = cluster_app(s->cluster, sim_apps[i]);
		uint32_t want = a && a->current ? a->current->spec.replicas : 0;

		if (a && a->rolling)
			want = MIN(want, a->rolling->spec.replicas);
		if (s->routed_before[i] &&
		    (!a || app_routed(a) < MIN(s->routed_before[i], want)))
			sim_fail(s, "%s alone took a replica of %s out", event_name(e->type),
				 sim_apps[i]);
		check_brake(s, i);
	}
}

void check_loaded(struct sim *s)
{
	for (size_t i = 0; i < APPS; i++) {
		const struct app *a = NULL;

		LIST_FOR_EACH(other, cluster_apps(s->cluster), struct app, link) {
			if (strcmp(other->name, sim_apps[i]) == 0)
				a = other;
		}
		if (s->acknowledged[i] && (!a || a->next_release <= s->acknowledged[i]))
			sim_fail(s, "release %u of %s was acknowledged and is lost",
				 s->acknowledged[i], sim_apps[i]);
	}
}
