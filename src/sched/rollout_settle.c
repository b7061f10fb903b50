/* What keeps a settled app at its number of replicas. Everything here looks at what there is and does what is missing. */
#include "sched/state.h"

static bool is_solid(const struct replica *r)
{
	return r->state == REPLICA_READY && (r->routed || !r->port) && !r->node->offline &&
	       !r->node->suspect && r->node->link_state == LINK_UP;
}

/* Who goes first when there are too many: what carries no traffic, then what came back, then the newest. */
static uint32_t rank(const struct replica *r)
{
	if (!is_solid(r))
		return r->returned ? 0 : replica_is_starting(r) ? 1 : 2;
	return r->returned ? 3 : 4;
}

static void retire_surplus(struct cluster *c, struct app *a, uint32_t surplus)
{
	for (; surplus; surplus--) {
		struct replica *victim = NULL;

		LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
			if (r->release != a->current || !replica_is_live(r) || r->away)
				continue;
			if (!victim || rank(r) <= rank(victim))
				victim = r;
		}
		if (!victim)
			return;
		replica_retire(c, victim, "there are more replicas than asked for");
	}
}

void app_reconcile(struct cluster *c, struct app *a)
{
	struct release *rel = a->current;
	uint32_t present = 0, away = 0, solid = 0, want = rel->spec.replicas;

	rollout_drive(c, a, rel);
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release != rel || !replica_is_live(r))
			continue;
		if (r->state == REPLICA_HEALTHY) {
			replica_ready(c, r);
			a->retries = 0;
		}
		away += r->away;
		present += !r->away;
		solid += is_solid(r) && !r->away;
	}
	if (present >= want)
		a->short_told = false;
	if (cluster_braked(c))
		want -= MIN(want, away);
	if (present < want && !timer_is_set(&a->timer)) {
		rollout_place_missing(c, rel, want - present);
		rollout_drive(c, a, rel);
	} else if (present > rel->spec.replicas && solid >= rel->spec.replicas) {
		retire_surplus(c, a, present - rel->spec.replicas);
	} else if (present > rel->spec.replicas) {
		rollout_wait_for_nodes(c, a);
	}
}

void app_settle(struct cluster *c, struct app *a)
{
	if (!c->started || a->deleted)
		return;
	if (a->rolling)
		rollout_advance(c, a);
	if (a->current)
		app_reconcile(c, a);
}
