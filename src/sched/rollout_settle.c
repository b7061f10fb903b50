/* What keeps a settled app at its number of replicas. Everything here looks at what there is and does what is missing. */
#include "sched/state.h"

/* Who goes first when there are too many: what carries no traffic, then what came back, then the newest. */
uint32_t app_surplus_rank(const struct replica *r)
{
	if (!move_is_solid(r))
		return r->returned ? 0 : replica_is_starting(r) ? 1 : 2;
	return r->returned ? 3 : 4;
}

static void retire_surplus(struct cluster *c, struct app *a, uint32_t surplus, const char *reason)
{
	for (; surplus; surplus--) {
		struct replica *victim = NULL;

		LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
			if (r->release != a->current || !replica_is_live(r) || r->away ||
			    move_leaves(r))
				continue;
			if (!victim || app_surplus_rank(r) <= app_surplus_rank(victim))
				victim = r;
		}
		if (!victim)
			return;
		replica_retire(c, victim, reason);
	}
}

/* What there is of the current release. */
struct presence {
	uint32_t away;
	uint32_t staying, solid;	 /* there, and to stay */
	uint32_t leaving, solid_leaving; /* there, and to go once replaced */
};

static struct presence count_present(struct cluster *c, struct app *a)
{
	struct presence p = { 0 };

	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release != a->current || !replica_is_live(r))
			continue;
		if (r->state == REPLICA_HEALTHY && !r->node->suspect) {
			replica_ready(c, r);
			a->retries = 0;
		}
		if (r->away) {
			p.away++;
		} else if (move_leaves(r)) {
			p.leaving++;
			p.solid_leaving += move_is_solid(r);
		} else {
			p.staying++;
			p.solid += move_is_solid(r);
		}
	}
	return p;
}

/* Replicas of a release that was given up when it had brought some in. They carry traffic until the current release does;
 * returns how many are left. */
static uint32_t retire_leftovers(struct cluster *c, struct app *a, uint32_t keep)
{
	uint32_t kept = 0;

	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release == a->current || r->release == a->rolling || !replica_is_live(r))
			continue;
		if (kept < keep && rollout_is_up(r))
			kept++;
		else
			replica_retire(c, r, "its release was given up");
	}
	return kept;
}

void app_reconcile(struct cluster *c, struct app *a)
{
	struct release *rel = a->current;
	uint32_t want = rollout_old_kept(a), keep, others;
	struct presence p;

	rollout_drive(c, a, rel);
	p = count_present(c, a);
	/* One release at a time: the others would keep it from starting. */
	others = retire_leftovers(c, a, spec_is_stop_first(&rel->spec) ? 0 : want - MIN(want, p.solid));
	/* A rollout ends soon, and so do they; a canary may stay. */
	if (a->rolling && !a->rolling->canary)
		want -= MIN(want, others);
	keep = want;
	/* Volumes are where they are. */
	if (cluster_braked(c) || rel->spec.volumes.n)
		want -= MIN(want, p.away);
	if (p.staying < want)
		p.staying += move_cancel(c, a, want - p.staying);
	if (p.staying >= want)
		a->short_told = false;
	if (p.staying < want && !timer_is_set(&a->timer)) {
		rollout_place_missing(c, rel, want - p.staying, p.staying + p.leaving >= want);
		rollout_drive(c, a, rel);
	} else if (p.staying > keep && p.solid >= keep) {
		retire_surplus(c, a, p.staying - keep,
			       a->rolling ? "the next release takes over"
					  : "there are more replicas than asked for");
	} else if (p.staying > keep) {
		rollout_wait_for_nodes(c, a);
	}
	if (p.leaving) {
		move_on(c, a, p.solid + p.solid_leaving, keep);
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
	rollout_weigh(c, a);
}
