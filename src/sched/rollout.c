/* The course of a rollout, from its first replica to its end. Everything here looks at what there is and does what is missing;
 * nothing depends on having seen each step.
 *
 * Three ways to go from one release to the next:
 * - All at once: every new replica is healthy, then all of them come in and all old ones go, in one turn. Nobody meets both
 *   releases, and a release that fails has carried nothing.
 * - In waves, with <max_surge>: as many new ones as there is room for; healthy, they come in and as many old ones go; those are
 *   drained and stopped before the next wave has its room. At no time are fewer in than the app asks for, on the way back neither.
 * - Stop-first: the images are there, then the old ones go, and when they are gone the new ones start. Requests wait. */
#include "sched/rollout.h"

#include <inttypes.h>
#include <stdio.h>

#include "sched/state.h"

#define REPLACED_SLACK \
	20u /* failures of nodes that one rollout survives, besides one for each replica */
#define RETRY_MS 1000u
#define RETRY_MAX_MS 60000u
#define RESTARTS_MAX 2u /* of a replica that carries traffic already, while its rollout is under way */

/* ---- the end of a rollout ---- */

/* Those that carried traffic are counted apart: however many fail, there is something to go back to. */
static void prune_releases(struct cluster *c, struct app *a)
{
	uint32_t kept[2] = { 0 };

	for (struct list *l = a->releases.prev, *prev; l != &a->releases; l = prev) {
		struct release *rel = LIST_ENTRY(l, struct release, link);

		prev = l->prev;
		if (rel != a->current && rel != a->rolling &&
		    kept[rel->state == RELEASE_RETIRED]++ >= APP_RELEASES_KEPT &&
		    !rollout_ready(a, rel))
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

/* What it had brought in already goes once the release before is back at its strength: app_reconcile() sees to it. A bad
 * canary's goes now, and so does what would keep the old ones from starting. */
static bool outlives(const struct app *a, const struct replica *r)
{
	const struct release *rel = r->release;

	return r->state == REPLICA_READY && !r->failed && a->current && !rel->old_ends &&
	       (!rel->canary || rel->state == RELEASE_SUPERSEDED);
}

/* The rollout under way ends; <next> takes its place, or nothing. */
static void give_up(struct cluster *c, struct app *a, struct release *next,
		    enum release_state state, const char *reason)
{
	static const char *const ended[] = { [RELEASE_FAILED] = "its rollout failed",
					     [RELEASE_SUPERSEDED] = "a newer deploy came",
					     [RELEASE_ABORTED] = "its rollout was aborted" };
	struct release *rel = a->rolling;

	a->rolling = next;
	timer_clear(&c->timers, &a->rollout_timer);
	list_remove(&a->unsettled_link);
	end_release(c, rel, state, reason);
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release == rel && !outlives(a, r))
			replica_retire(c, r, r->failed ? NULL : ended[state]);
	}
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

void rollout_abort(struct cluster *c, struct app *a)
{
	cluster_tell(c, "RolloutAborted", a->name, "release %" PRIu32 " of app %s was aborted",
		     a->rolling->n, a->name);
	give_up(c, a, NULL, RELEASE_ABORTED, "somebody ended its rollout");
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
	if (node_fault && !(r->hook && r->maybe_created) &&
	    ++rel->replaced_n <= rel->spec.replicas + REPLACED_SLACK) {
		replica_retire(c, r, reason);
		return;
	}
	r->failed = !node_fault;
	text_replace(&r->reason, reason);
	rollout_fail(c, a, reason);
}

/* Its node cannot be asked any more before its container runs, or nothing gets there by the time it could carry traffic: another
 * one is. A command that may have run is not run again, and a volume is where it is. */
static bool is_stranded(const struct replica *r)
{
	if (r->state == REPLICA_HEALTHY)
		return r->node->suspect && !r->hook && !r->release->spec.volumes.n;
	return node_lost(r->node) && (r->state == REPLICA_PLACED || r->state == REPLICA_STARTING) &&
	       r->await != AWAIT_CREATE && r->await != AWAIT_IMAGE && !(r->hook && r->maybe_created);
}

bool rollout_is_up(const struct replica *r)
{
	return r->state == REPLICA_READY && r->routed && !r->away;
}

uint32_t rollout_ready(const struct app *a, const struct release *rel)
{
	uint32_t n = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		n += r->release == rel && r->state == REPLICA_READY;
	return n;
}

struct tally rollout_drive(struct cluster *c, struct app *a, struct release *rel)
{
	struct tally t = { 0 };

	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release != rel || !replica_is_live(r))
			continue;
		if (replica_is_starting(r) && is_stranded(r))
			rollout_replica_failed(c, r, true, "its node cannot be reached");
		else if (replica_is_starting(r))
			replica_drive(c, r);
		if (rel->state == RELEASE_FAILED)
			return t;
		if (r->hook)
			continue;
		if (r->state == REPLICA_READY && move_leaves(r)) {
			t.leaving++;
			continue;
		}
		t.ready += r->state == REPLICA_READY;
		t.up += rollout_is_up(r);
		t.starting += replica_is_starting(r);
		t.healthy += r->state == REPLICA_HEALTHY && !r->node->suspect;
		t.with_image += replica_is_starting(r) && (r->has_image || r->state != REPLICA_PLACED);
	}
	return t;
}

uint32_t release_goal(const struct app_spec *s, uint32_t canary)
{
	return canary ? (s->replicas * canary + 99) / 100 : s->replicas;
}

static uint32_t goal(const struct release *rel)
{
	return release_goal(&rel->spec, rel->canary);
}

bool rollout_goes_in_waves(const struct app *a, const struct app_spec *s)
{
	return a && a->current && s->max_surge && s->max_surge < s->replicas && !spec_is_stop_first(s) &&
	       pairs_eq(&a->current->spec.policy, &s->policy);
}

uint32_t rollout_room(const struct app *a, const struct app_spec *s)
{
	uint32_t used = 0, most;

	if (!rollout_goes_in_waves(a, s))
		return UINT32_MAX;
	most = MAX(s->replicas, a->current->spec.replicas) + s->max_surge;
	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		used += r->state != REPLICA_GONE && !r->hook && !r->node->offline;
	return most - MIN(most, used);
}

uint32_t rollout_old_kept(const struct app *a)
{
	const struct release *rel = a->rolling;
	uint32_t want = a->current->spec.replicas, up = 0;

	if (!rel || rel->canary)
		return want;
	if (rel->old_ends)
		return 0;
	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		up += r->release == rel && rollout_is_up(r);
	return up ? MIN(want, rel->spec.replicas - MIN(up, rel->spec.replicas)) : want;
}

/* The images are there and so is the place of each: the old ones may go. */
static void end_old(struct cluster *c, struct app *a)
{
	struct release *rel = a->rolling;

	if (!rel->old_ends) {
		rel->old_ends = true;
		release_dirty(c, rel);
		if (a->current)
			host_policy(c, a);
	}
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release != rel)
			replica_retire(c, r, "it ends before the next release starts");
	}
}

static void take_in(struct cluster *c, struct app *a)
{
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (r->release == a->rolling && r->state == REPLICA_HEALTHY)
			replica_ready(c, r);
	}
}

/* More than are asked for by now: the last to come goes. */
static void retire_starting(struct cluster *c, struct app *a, uint32_t surplus)
{
	for (struct list *l = a->replicas.prev, *prev; surplus && l != &a->replicas; l = prev) {
		struct replica *r = LIST_ENTRY(l, struct replica, link);

		prev = l->prev;
		if (r->release != a->rolling || r->hook || !replica_is_live(r))
			continue;
		replica_retire(c, r, "there are more replicas than asked for");
		surplus--;
	}
}

/* Those that their nodes are to lose, once others are in their place. */
static void retire_leaving(struct cluster *c, struct app *a)
{
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release == a->rolling && r->state == REPLICA_READY && move_leaves(r))
			replica_retire(c, r, "its node is drained");
	}
}

static bool is_canary_out(const struct app *a, const struct tally *t)
{
	return a->rolling->canary && t->up >= goal(a->rolling);
}

/* A rollout ends within its limit, one that a restart interrupted too; a canary may stay. */
static void limit(struct cluster *c, struct app *a, const struct tally *t)
{
	if (is_canary_out(a, t))
		timer_clear(&c->timers, &a->rollout_timer);
	else if (!timer_is_set(&a->rollout_timer))
		timer_set(&c->timers, &a->rollout_timer, c->now.mono_ms + c->config.rollout_limit_ms);
}

void rollout_advance(struct cluster *c, struct app *a)
{
	struct release *rel = a->rolling;
	struct tally t = rollout_drive(c, a, rel);
	uint32_t want = goal(rel), live = t.ready + t.starting, room = rollout_room(a, &rel->spec);
	bool stop_first = spec_is_stop_first(&rel->spec);

	if (a->rolling != rel)
		return;
	limit(c, a, &t);
	if (live > want) {
		retire_starting(c, a, live - want);
	} else if (live < want && room &&
		   rollout_place_missing(c, rel, MIN(want - live, room), false)) {
		rollout_drive(c, a, rel);
		return;
	}
	if (!rollout_hook_advance(c, rel))
		return;
	if (stop_first && (rel->old_ends || (live == want && t.with_image == t.starting)))
		end_old(c, a);
	if (t.starting && stop_first)
		rollout_drive(c, a, rel);
	if (t.leaving && t.up >= want)
		retire_leaving(c, a);
	if (t.healthy != t.starting)
		return;
	if (!rel->canary && t.up + t.healthy >= want)
		cut_over(c, a);
	else if (t.healthy && (live >= want || rollout_goes_in_waves(a, &rel->spec)))
		take_in(c, a);
}

void rollout_replica_ended(struct cluster *c, struct replica *r, const char *reason)
{
	struct app *a = r->app;

	if (r->release && r->release == a->rolling) {
		r->failed = true;
		text_replace(&r->reason, reason);
		rollout_fail(c, a, reason);
	}
}

void rollout_replica_restarted(struct cluster *c, struct replica *r)
{
	char why[96];

	snprintf(why, sizeof(why), "replica %" PRIu32 " restarted %" PRIu32 " times, exit code %d%s", r->n,
		 r->restarts, r->exit_code, r->oom_killed ? ", out of memory" : "");
	if (r->restarts >= RESTARTS_MAX)
		rollout_replica_ended(c, r, why);
}

/* ---- shares of the requests ---- */

static uint32_t divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

void rollout_weigh(struct cluster *c, struct app *a)
{
	uint32_t share = a->rolling ? a->rolling->canary : 0, up = 0, old = 0, heavy = 1, light = 1;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		up += rollout_is_up(r) && r->release == a->rolling;
		old += rollout_is_up(r) && r->release != a->rolling;
	}
	if (share && up && old) {
		uint32_t by;

		light = share * old;
		heavy = (100 - share) * up;
		by = divisor(light, heavy);
		by = MAX(by, (MAX(light, heavy) + ENDPOINT_WEIGHT_MAX - 1) / ENDPOINT_WEIGHT_MAX);
		light = MAX(light / by, 1u);
		heavy = MAX(heavy / by, 1u);
	}
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (r->state == REPLICA_READY)
			replica_weigh(c, r, r->release == a->rolling ? light : heavy);
	}
}

void rollout_start(struct cluster *c, struct release *rel)
{
	struct app *a = rel->app;

	if (a->rolling) {
		cluster_tell(c, "RolloutSuperseded", a->name,
			     "release %" PRIu32 " of app %s gives way to release %" PRIu32,
			     a->rolling->n, a->name, rel->n);
		/* What went for the one before is not brought back for the time of this one. */
		rel->old_ends = a->rolling->old_ends && spec_is_stop_first(&rel->spec);
		give_up(c, a, rel, RELEASE_SUPERSEDED, "a newer deploy came");
	}
	a->rolling = rel;
	a->deleted = false;
	a->next_release = rel->n + 1;
	app_dirty(c, a);
	release_dirty(c, rel);
	timer_set(&c->timers, &a->rollout_timer, c->now.mono_ms + c->config.rollout_limit_ms);
	cluster_tell(c, rel->canary ? "CanaryStarted" : "RolloutStarted", a->name,
		     "release %" PRIu32 " of app %s: %" PRIu32 " replica%s of %.300s", rel->n,
		     a->name, rel->spec.replicas, rel->spec.replicas == 1 ? "" : "s",
		     rel->spec.image);
	prune_releases(c, a);
	cluster_touch(c, a);
}
