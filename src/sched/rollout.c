/* Rollouts, and what keeps a settled app at its number of replicas. Everything here looks at what there is and does what is
 * missing; nothing depends on having seen each step. */
#include "sched/rollout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "sched/state.h"

#define REPLACED_SLACK \
	20u /* failures of nodes that one rollout survives, besides one for each replica */
#define RETRY_MS 1000u
#define RETRY_MAX_MS 60000u

/* ---- the end of a rollout ---- */

static void prune_releases(struct cluster *c, struct app *a)
{
	uint32_t kept = 0;

	for (struct list *l = a->releases.prev, *prev; l != &a->releases; l = prev) {
		struct release *rel = LIST_ENTRY(l, struct release, link);

		prev = l->prev;
		if (rel != a->current && rel != a->rolling && kept++ >= APP_RELEASES_KEPT)
			release_forget(c, rel);
	}
}

static void end_release(struct cluster *c, struct release *rel, enum release_state state,
			const char *reason)
{
	rel->state = state;
	rel->ended_wall_ms = c->now.wall_ms;
	text_replace(&rel->reason, reason);
	release_dirty(c, rel);
}

static void retire_all(struct cluster *c, struct app *a, const struct release *rel,
		       const char *reason)
{
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release == rel)
			replica_retire(c, r, r->failed ? NULL : reason);
	}
}

/* The rollout under way ends without having carried traffic; <next> takes its place, or nothing. */
static void give_up(struct cluster *c, struct app *a, struct release *next,
		    enum release_state state, const char *reason)
{
	struct release *rel = a->rolling;

	a->rolling = next;
	timer_clear(&c->timers, &a->rollout_timer);
	list_remove(&a->unsettled_link);
	end_release(c, rel, state, reason);
	retire_all(c, a, rel,
		   state == RELEASE_FAILED ? "its rollout failed" : "a newer deploy came");
	host_settle(c, a, &rel->spec);
	cluster_touch(c, a);
}

void rollout_fail(struct cluster *c, struct app *a, const char *reason)
{
	struct release *rel = a->rolling;

	if (!rel)
		return;
	cluster_tell(c, "RolloutFailed", a->name, "release %" PRIu32 " of app %s failed: %s",
		     rel->n, a->name, reason);
	give_up(c, a, NULL, RELEASE_FAILED, reason);
	prune_releases(c, a);
}

/* All are healthy: the new ones in, the old ones out, in one turn. */
static void cut_over(struct cluster *c, struct app *a)
{
	struct release *old = a->current, *rel = a->rolling;
	char why[48];

	a->rolling = NULL;
	a->current = rel;
	a->retries = 0;
	timer_clear(&c->timers, &a->timer);
	timer_clear(&c->timers, &a->rollout_timer);
	list_remove(&a->unsettled_link);
	end_release(c, rel, RELEASE_ACTIVE, "");
	if (old) {
		old->state = RELEASE_RETIRED;
		release_dirty(c, old);
	}
	c->cursor = rel->cursor;
	c->meta_dirty = true;
	host_policy(c, a);
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (r->release == rel && r->state == REPLICA_HEALTHY)
			replica_ready(c, r);
	}
	host_publish(c, a, false);
	if (old)
		host_settle(c, a, &old->spec);
	snprintf(why, sizeof(why), "release %" PRIu32 " took over", rel->n);
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release != rel)
			replica_retire(c, r, why);
	}
	cluster_tell(c, "RolloutDone", a->name, "release %" PRIu32 " of app %s carries its traffic",
		     rel->n, a->name);
	prune_releases(c, a);
}

/* ---- the course of a rollout ---- */

void rollout_replica_failed(struct cluster *c, struct replica *r, bool node_fault,
			    const char *reason)
{
	struct release *rel = r->release;
	struct app *a = r->app;

	if (!replica_is_starting(r))
		return;
	cluster_touch(c, a);
	if (rel != a->rolling) {
		r->failed = !node_fault;
		replica_retire(c, r, reason);
		if (node_fault)
			return;
		timer_set(&c->timers, &a->timer,
			  c->now.mono_ms + MIN(RETRY_MS << MIN(a->retries, 6u), RETRY_MAX_MS));
		a->retries++;
		cluster_tell(c, "ReplicaFailed", r->name, "app %s: %s", a->name, reason);
		return;
	}
	if (node_fault && ++rel->replaced_n <= rel->spec.replicas + REPLACED_SLACK) {
		replica_retire(c, r, reason);
		return;
	}
	r->failed = !node_fault;
	text_replace(&r->reason, reason);
	rollout_fail(c, a, reason);
}

/* Its node cannot be asked any more before its container runs: another one is. */
static bool is_stranded(const struct replica *r)
{
	return node_lost(r->node) && (r->state == REPLICA_PLACED || r->state == REPLICA_STARTING) &&
	       r->await != AWAIT_CREATE && r->await != AWAIT_IMAGE;
}

/* Moves on what can move on, and counts. */
struct tally rollout_drive(struct cluster *c, struct app *a, struct release *rel)
{
	struct tally t = { 0 };

	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release != rel || !replica_is_starting(r))
			continue;
		if (is_stranded(r))
			rollout_replica_failed(c, r, true, "its node cannot be reached");
		else
			replica_drive(c, r);
		if (rel->state == RELEASE_FAILED)
			return t;
		t.live += replica_is_starting(r);
		t.healthy += r->state == REPLICA_HEALTHY;
	}
	return t;
}

void rollout_advance(struct cluster *c, struct app *a)
{
	struct release *rel = a->rolling;
	struct tally t = rollout_drive(c, a, rel);

	if (a->rolling != rel)
		return;
	if (t.live < rel->spec.replicas) {
		rollout_place_missing(c, rel, rel->spec.replicas - t.live, false);
		rollout_drive(c, a, rel);
	} else if (t.healthy == t.live) {
		cut_over(c, a);
	}
}

void rollout_start(struct cluster *c, struct release *rel)
{
	struct app *a = rel->app;

	if (a->rolling) {
		cluster_tell(c, "RolloutSuperseded", a->name,
			     "release %" PRIu32 " of app %s gives way to release %" PRIu32,
			     a->rolling->n, a->name, rel->n);
		give_up(c, a, rel, RELEASE_SUPERSEDED, "a newer deploy came");
	}
	a->rolling = rel;
	a->deleted = false;
	a->next_release = rel->n + 1;
	app_dirty(c, a);
	release_dirty(c, rel);
	timer_set(&c->timers, &a->rollout_timer, c->now.mono_ms + c->config.rollout_limit_ms);
	cluster_tell(c, "RolloutStarted", a->name,
		     "release %" PRIu32 " of app %s: %" PRIu32 " replica%s of %.300s", rel->n,
		     a->name, rel->spec.replicas, rel->spec.replicas == 1 ? "" : "s",
		     rel->spec.image);
	prune_releases(c, a);
	cluster_touch(c, a);
}
