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

/* ---- placing ---- */

/* A replica of <rel> on <n> with its address, all of it to be stored before anything is asked of the node. NULL when the node
 * has no address left. */
static struct replica *place_one(struct cluster *c, struct release *rel,
				 const struct placement_ask *ask,
				 const struct placement_choice *choice)
{
	struct node *n = cluster_find_node(c, choice->node->id);
	struct app *a = rel->app;
	struct address_pool *pool = rel->spec.port ? n->pool : NULL;
	struct resources want = spec_resources(&rel->spec);
	char why[PLACEMENT_TEXT_MAX];
	struct replica *r;
	uint32_t slot = 0;

	if (pool && address_take(pool, &slot))
		return NULL;
	r = replica_create(c, a, rel, n, a->next_replica++);
	if (pool) {
		r->pool = pool;
		r->slot = slot;
		r->published = !pool->network;
		r->port = rel->spec.port;
		address_text(pool, slot, r->ip, &r->port);
	}
	promise_make(r, &want);
	r->score = score_sum(&choice->score);
	placement_reason(ask, choice, why);
	text_replace(&r->placed, why);
	replica_dirty(c, r);
	app_dirty(c, a);
	return r;
}

static bool place_plan(struct cluster *c, struct release *rel, const struct placement_ask *ask,
		       const struct placement *plan, struct err *err)
{
	for (uint32_t i = 0; i < plan->n; i++) {
		if (c->replicas_n >= REPLICAS_MAX) {
			err_say(err, -ENOSPC, "there are %u replicas already", REPLICAS_MAX);
			return false;
		}
		if (!place_one(c, rel, ask, &plan->chosen[i])) {
			err_say(err, -ENOSPC,
				"node %s has no free address: they rest %u min after use",
				plan->chosen[i].node->name, c->config.address_rest_ms / 60000);
			return false;
		}
	}
	return true;
}

/* Looks again when some node can take more, or can be relied on again. */
static void wait_for_nodes(struct cluster *c, struct app *a)
{
	if (list_empty(&a->unsettled_link))
		list_push_back(&c->unsettled, &a->unsettled_link);
}

/* Places what a release lacks. What finds no node waits until one can take more. */
static void place_missing(struct cluster *c, struct release *rel, uint32_t missing)
{
	struct placement_ask ask = { .app = rel->app->name,
				     .spec = &rel->spec,
				     .release = rel,
				     .n = missing,
				     .cursor = rel->cursor };
	struct placement plan;
	struct err err = { 0 };
	int rc = placement_plan(c, &ask, &plan, &err);

	if (plan.n && !place_plan(c, rel, &ask, &plan, &err))
		rc = -ENOSPC;
	if (plan.n) {
		rel->cursor = plan.cursor;
		release_dirty(c, rel);
	}
	if (rc)
		wait_for_nodes(c, rel->app);
	if (rc && !rel->app->short_told) {
		rel->app->short_told = true;
		cluster_tell(c, "ReplicasShort", rel->app->name, "app %s lacks replicas: %s",
			     rel->app->name, err.text);
	}
	placement_fini(&plan);
}

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

struct tally {
	uint32_t live, healthy;
};

/* Moves on what can move on, and counts. */
static struct tally drive_all(struct cluster *c, struct app *a, struct release *rel)
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
	struct tally t = drive_all(c, a, rel);

	if (a->rolling != rel)
		return;
	if (t.live < rel->spec.replicas) {
		place_missing(c, rel, rel->spec.replicas - t.live);
		drive_all(c, a, rel);
	} else if (t.healthy == t.live) {
		cut_over(c, a);
	}
}

/* ---- a settled app ---- */

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

	drive_all(c, a, rel);
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
		place_missing(c, rel, want - present);
		drive_all(c, a, rel);
	} else if (present > rel->spec.replicas && solid >= rel->spec.replicas) {
		retire_surplus(c, a, present - rel->spec.replicas);
	} else if (present > rel->spec.replicas) {
		wait_for_nodes(c, a);
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

/* ---- commands ---- */

/* Undoes what was made of a deploy that cannot be. */
static void undo(struct cluster *c, struct app *a, struct release *rel, bool fresh)
{
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		if (r->release == rel)
			replica_destroy(c, r);
	}
	host_settle(c, a, &rel->spec);
	release_destroy(c, rel);
	if (fresh)
		app_destroy(c, a);
}

static void begin(struct cluster *c, struct app *a, struct release *rel)
{
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

static void deploy_planned(struct cluster *c, const struct event_deploy *e, struct app *a,
			   const struct placement_ask *ask, const struct placement *plan)
{
	bool fresh = !a;
	struct effect_reply *reply;
	struct release *rel;
	struct err err = { 0 };

	if (fresh && c->apps_n >= APPS_MAX) {
		cluster_reply(c, e->reply, REPLY_LIMIT, "Too Many Apps",
			      "there are %u apps already", APPS_MAX);
		return;
	}
	if (fresh)
		a = app_create(c, e->app);
	rel = release_create(c, a, a->next_release);
	spec_copy(&rel->spec, e->spec);
	spec_hash(&rel->spec, rel->spec_hash);
	rel->cursor = plan->cursor;
	if (host_claim(c, a, e->spec, &err)) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Domain Taken", "%s", err.text);
		undo(c, a, rel, fresh);
		return;
	}
	if (!place_plan(c, rel, ask, plan, &err)) {
		cluster_reply(c, e->reply, REPLY_LIMIT, "No Room", "%s", err.text);
		undo(c, a, rel, fresh);
		return;
	}
	begin(c, a, rel);
	reply = cluster_reply(c, e->reply, REPLY_CREATED, "",
			      "Release %" PRIu32 " of %s is being rolled out", rel->n, a->name);
	if (reply)
		reply->release = rel->n;
}

/* Whether <rel> is what is asked for: a tag that means another image by now makes a difference. */
static bool is_same(const struct release *rel, const struct event_deploy *e)
{
	char hash[SPEC_HASH_LEN + 1];

	spec_hash(e->spec, hash);
	if (strcmp(hash, rel->spec_hash) != 0)
		return false;
	return !e->image_id || !*rel->image_id || strcmp(e->image_id, rel->image_id) == 0;
}

/* The same containers under other policies: they change where they are, in force at once if the
 * release carries the traffic. */
static void change_policy(struct cluster *c, struct release *rel, const struct pairs *policy)
{
	pairs_fini(&rel->spec.policy);
	pairs_copy(&rel->spec.policy, policy);
	release_dirty(c, rel);
	cluster_tell(c, "PolicyChanged", rel->app->name, "release %" PRIu32 " of app %s has other policies",
		     rel->n, rel->app->name);
	if (rel == rel->app->current)
		host_policy(c, rel->app);
}

/* Whether it is the deploy under way, or the last one, once more: no container is touched then. */
static bool is_repeated(struct cluster *c, const struct event_deploy *e, const struct app *a)
{
	struct release *rel = a ? a->rolling ? a->rolling : a->current : NULL;
	struct effect_reply *reply;

	if (!rel || !is_same(rel, e))
		return false;
	if (!pairs_eq(&rel->spec.policy, &e->spec->policy)) {
		change_policy(c, rel, &e->spec->policy);
		reply = cluster_reply(c, e->reply, REPLY_CREATED, "",
				      "Release %" PRIu32 " of %s has these policies", rel->n, a->name);
		if (reply)
			reply->release = rel->n;
		return true;
	}
	reply = cluster_reply(c, e->reply, REPLY_OK, "", "Release %" PRIu32 " of %s %s", rel->n,
			      a->name,
			      rel == a->rolling ? "is being rolled out already"
						: "is exactly this already");
	if (reply)
		reply->release = rel->n;
	return true;
}

void rollout_deploy(struct cluster *c, const struct event_deploy *e)
{
	struct app *a = cluster_find_app(c, e->app);
	struct placement_ask ask = { .app = e->app,
				     .spec = e->spec,
				     .n = e->spec->replicas,
				     .cursor = c->cursor };
	struct placement plan;
	struct err err = { 0 };

	if (!text_is_app_name(slice_str(e->app))) {
		cluster_reply(
			c, e->reply, REPLY_INVALID, "Validation Error",
			"app name \"%.80s\": expected 1 to %u lower-case letters, digits and \"-\"",
			e->app, APP_NAME_MAX);
		return;
	}
	if (spec_check(e->spec, &err)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error", "%s", err.text);
		return;
	}
	if (is_repeated(c, e, a))
		return;
	if (placement_plan(c, &ask, &plan, &err))
		cluster_reply(c, e->reply, REPLY_UNPLACEABLE, "No Node Fits", "%s", err.text);
	else
		deploy_planned(c, e, a, &ask, &plan);
	placement_fini(&plan);
}

void rollout_app_delete(struct cluster *c, const struct event_app_delete *e)
{
	struct app *a = cluster_find_app(c, e->app);

	if (!a || a->deleted) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "App Not Found",
			      "there is no app %.80s", e->app);
		return;
	}
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link)
		replica_retire(c, r, "its app was removed");
	a->deleted = true;
	a->current = a->rolling = NULL;
	a->retries = 0;
	timer_clear(&c->timers, &a->timer);
	timer_clear(&c->timers, &a->rollout_timer);
	list_remove(&a->unsettled_link);
	LIST_FOR_EACH_SAFE(rel, &a->releases, struct release, link) {
		host_settle(c, a, &rel->spec);
		release_forget(c, rel);
	}
	app_dirty(c, a);
	cluster_tell(c, "AppRemoved", a->name, "app %s was removed", a->name);
	cluster_reply(c, e->reply, REPLY_OK, "", "App %s removed", a->name);
}
