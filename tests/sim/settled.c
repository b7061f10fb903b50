/* What must hold once trouble is over and all has come to rest. */
#include "sim.h"

#include <string.h>

#include "sched/rollout.h"

static bool is_routed(struct sim *s, const struct replica *r)
{
	for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
		const struct route *t = &s->routes[i];

		if (t->used && t->in && strcmp(t->container_id, r->container_id) == 0 &&
		    strcmp(t->started_at, r->started_at) == 0)
			return true;
	}
	return false;
}

static void check_hosts(struct sim *s, const struct app *a)
{
	for (size_t i = 0; a->current && i < a->current->spec.domains.n; i++) {
		const char *host = a->current->spec.domains.items[i], *leads_to = "nothing";

		for (size_t k = 0; k < ARRAY_LEN(s->leads); k++) {
			if (strcmp(s->leads[k].host, host) == 0)
				leads_to = s->leads[k].app;
		}
		if (strcmp(leads_to, a->name) != 0)
			sim_fail(s, "%s is %s's and leads to %s", host, a->name, leads_to);
	}
}

/* Removed or drained: the app stays down until somebody decides. */
static bool waits_for_volume(struct sim *s, const struct app *a)
{
	const struct node *n = cluster_node(s->cluster, a->volume_node);

	return a->current->spec.volumes.n && a->volume_node >= 0 && (!n || !node_eligible(n, NULL));
}

static void check_app(struct sim *s, const struct app *a)
{
	uint32_t ready = 0, canaries = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		sim_log(s, "%s on %s: %s, release %u%s%s%s, awaits %u: %s", r->name, r->node->name,
			replica_state_name(r->state), r->release_n, r->routed ? ", routed" : "",
			r->away ? ", away" : "", r->returned ? ", returned" : "", r->await,
			r->reason);
	check_hosts(s, a);
	if (a->rolling && !a->rolling->canary)
		sim_fail(s, "release %u of %s never ends", a->rolling->n, a->name);
	if (a->rolling && rollout_ready(a, a->rolling) != release_goal(&a->rolling->spec, a->rolling->canary))
		sim_fail(s, "the canary %u of %s is not out", a->rolling->n, a->name);
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		const struct container *ct = machine_find_anywhere(s, r->container_id);

		if (r->state == REPLICA_GONE)
			continue;
		if (r->state != REPLICA_READY)
			sim_fail(s, "%s is still %s: %s", r->name, replica_state_name(r->state),
				 r->reason);
		if (a->rolling && r->release == a->rolling) {
			canaries++;
			continue;
		}
		if (!a->current || r->release != a->current)
			sim_fail(s, "%s of an old release still runs", r->name);
		if (!ct || ct->state != CONTAINER_RUNNING)
			sim_fail(s, "%s is ready without a running container", r->name);
		if (strcmp(r->started_at, ct->started_at) != 0)
			sim_fail(s, "%s runs since %s and is taken for one of %s", r->name,
				 ct->started_at, r->started_at);
		if (r->port && (!r->routed || !is_routed(s, r)))
			sim_fail(s, "%s is ready and not routed in", r->name);
		ready++;
	}
	if (a->current && ready != a->current->spec.replicas && !waits_for_volume(s, a))
		sim_fail(s, "%s has %u replicas of %u", a->name, ready, a->current->spec.replicas);
}

static bool is_quarantined(const struct node *n, const char *container_id)
{
	LIST_FOR_EACH(q, &n->quarantine, struct quarantined, link) {
		if (strcmp(q->container_id, container_id) == 0)
			return true;
	}
	return false;
}

/* Its owner stays with it, drained or not. */
static bool has_volume(const struct node *n)
{
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (r->state == REPLICA_READY && r->release->spec.volumes.n)
			return true;
	}
	return false;
}

static void check_machine(struct sim *s, const struct machine *m)
{
	const struct node *n = cluster_node(s->cluster, m->node_id);

	if (!n || (m->index && !m->node_id))
		sim_fail(s, "%s is no node", m->name);
	if (n->offline || n->suspect ||
	    strcmp(node_status(n), !m->to_drain	? "active"
				   : has_volume(n) ? "draining"
						   : "drained") != 0)
		sim_fail(s, "%s is well and the cluster says %s, %s", m->name, node_status(n),
			 node_health(n));
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (m->to_drain && r->state != REPLICA_GONE && !(r->release && r->release->spec.volumes.n))
			sim_fail(s, "%s is drained and runs %s", m->name, r->name);
	}
	for (uint32_t i = 0; i < m->n; i++) {
		const struct container *ct = &m->containers[i];
		const struct replica *r = cluster_replica_named(s->cluster, ct->name);

		if ((!r || r->state != REPLICA_READY || strcmp(r->container_id, ct->id) != 0) &&
		    !is_quarantined(n, ct->id))
			sim_fail(s, "%s on %s is left over", ct->name, m->name);
	}
}

static void check_proxy(struct sim *s)
{
	for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
		const struct route *t = &s->routes[i];
		const struct app *a = t->used ? cluster_app(s->cluster, t->app) : NULL;
		const struct replica *r = a ? app_replica(a, t->at.replica) : NULL;

		if (t->used && (!r || r->state != REPLICA_READY ||
				strcmp(r->container_id, t->container_id) != 0 ||
				strcmp(r->started_at, t->started_at) != 0))
			sim_fail(s, "the proxy keeps an endpoint of %s/%u that is gone", t->app,
				 t->at.replica);
	}
}

static void check_pauses(struct sim *s)
{
	for (size_t i = 0; i < APPS; i++) {
		const struct app *a = cluster_app(s->cluster, sim_apps[i]);

		if (s->paused[i] != (a && a->paused.set))
			sim_fail(s, "the proxy %s %s", s->paused[i] ? "still holds" : "does not hold",
				 sim_apps[i]);
	}
}

void check_settled(struct sim *s)
{
	if (!s->cluster)
		sim_fail(s, "the control plane is down");
	check_pauses(s);
	check_proxy(s);
	LIST_FOR_EACH(a, cluster_apps(s->cluster), struct app, link)
		check_app(s, a);
	for (uint32_t i = 0; i < MACHINES; i++)
		check_machine(s, &s->machines[i]);
}
