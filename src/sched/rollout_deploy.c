/* The commands that begin and end what an app runs. */
#include <errno.h>
#include <inttypes.h>

#include "base/text.h"
#include "sched/state.h"

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

static struct release *refuse(struct cluster *c, const struct rollout_ask *ask, enum reply_kind kind,
			      const char *title, const struct err *err)
{
	cluster_reply(c, ask->reply, kind, title, "%s", err->text);
	return NULL;
}

/* Nobody may have it, or not all of it: with each node and why. */
static struct release *refuse_all(struct cluster *c, const struct rollout_ask *ask,
				  const struct placement_ask *where, const struct placement *plan,
				  const struct err *err)
{
	struct effect_reply *reply = cluster_reply(c, ask->reply, REPLY_UNPLACEABLE, "No Node Fits",
						   "%s", err->text);

	if (reply)
		placement_refused(c->batch, where, plan, &reply->refused);
	return NULL;
}

/* The release with its first replicas and its domains, not started yet. */
static struct release *begin_planned(struct cluster *c, const struct rollout_ask *ask,
				     const struct placement_ask *where,
				     const struct placement *plan)
{
	struct app *a = cluster_find_app(c, ask->app);
	bool fresh = !a;
	struct release *rel;
	struct err err = { 0 };

	if (fresh && c->apps_n >= APPS_MAX) {
		err_say(&err, -ENOSPC, "there are %u apps already", APPS_MAX);
		return refuse(c, ask, REPLY_LIMIT, "Too Many Apps", &err);
	}
	if (fresh)
		a = app_create(c, ask->app);
	rel = release_create(c, a, a->next_release);
	spec_copy(&rel->spec, ask->spec);
	spec_hash(&rel->spec, rel->spec_hash);
	release_speak(c, rel);
	text_replace(&rel->image_id, ask->image_id);
	text_replace(&rel->cause, ask->cause);
	text_replace(&rel->by, ask->by);
	rel->canary = ask->canary;
	rel->hook_done = ask->no_hook;
	if (host_claim(c, a, ask->spec, &err)) {
		undo(c, a, rel, fresh);
		return refuse(c, ask, REPLY_CONFLICT, "Domain Taken", &err);
	}
	if (!rollout_can_place(c, &rel->spec, plan, &err) ||
	    !rollout_place_plan(c, rel, where, plan, &err)) {
		undo(c, a, rel, fresh);
		return refuse(c, ask, REPLY_LIMIT, "No Room", &err);
	}
	return rel;
}

struct release *rollout_begin(struct cluster *c, const struct rollout_ask *ask)
{
	const struct app *a = cluster_find_app(c, ask->app);
	uint32_t want = release_goal(ask->spec, ask->canary);
	struct placement_ask where = { .app = ask->app,
				       .spec = ask->spec,
				       .n = MIN(want, MAX(rollout_room(a, ask->spec), 1u)),
				       .cursor = c->cursor };
	struct placement plan = { 0 };
	struct effect_reply *reply;
	struct release *rel;
	struct err err = { 0 };

	if (a && app_is_locked(c, a, ask->reply))
		return NULL;
	if (rollout_place_ask(c, a, &where, &err))
		rel = refuse(c, ask, REPLY_UNPLACEABLE, "No Node Fits", &err);
	else if (rollout_placement(c, a, &where, want, &plan, &err))
		rel = refuse_all(c, ask, &where, &plan, &err);
	else
		rel = begin_planned(c, ask, &where, &plan);
	placement_fini(&plan);
	if (!rel)
		return NULL;
	rollout_start(c, rel);
	reply = cluster_reply(c, ask->reply, REPLY_CREATED, "", "Release %" PRIu32 " of %s is being rolled out%s",
			      rel->n, ask->app, rel->canary ? " as a canary" : "");
	if (reply)
		reply->release = rel->n;
	return rel;
}

/* Whether <rel> is what is asked for: a tag that means another image by now makes a difference. */
static bool is_same(const struct release *rel, const struct event_deploy *e)
{
	char hash[SPEC_HASH_LEN + 1];

	spec_hash(e->spec, hash);
	if (strcmp(hash, rel->spec_hash) != 0)
		return false;
	return !release_has_moved(rel, e->image_id);
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
	if (!pairs_eq(&rel->spec.policy, &e->spec->policy) && app_is_locked(c, a, e->reply))
		return true;
	if (!pairs_eq(&rel->spec.policy, &e->spec->policy)) {
		change_policy(c, rel, &e->spec->policy);
		reply = cluster_reply(c, e->reply, REPLY_CREATED, "",
				      "Release %" PRIu32 " of %s has these policies", rel->n, a->name);
		if (reply)
			reply->release = rel->n;
		return true;
	}
	if (rel == a->rolling && rel->canary && e->canary && e->canary <= CANARY_MAX && rel->canary != e->canary) {
		rel->canary = e->canary;
		release_dirty(c, rel);
		cluster_touch(c, rel->app);
		reply = cluster_reply(c, e->reply, REPLY_CREATED, "",
				      "Release %" PRIu32 " of %s gets %" PRIu32 " %% of the requests", rel->n,
				      a->name, rel->canary);
		if (reply)
			reply->release = rel->n;
		return true;
	}
	reply = cluster_reply(c, e->reply, REPLY_OK, "", "Release %" PRIu32 " of %s %s", rel->n,
			      a->name,
			      rel->canary	? "is a canary already: `temps promote` lets it take over"
			      : rel == a->rolling ? "is being rolled out already"
						: "is exactly this already");
	if (reply)
		reply->release = rel->n;
	return true;
}

/* It serves beside the release that carries the traffic: what both have in common must be the same. */
static int check_canary(const struct app *a, const struct event_deploy *e, struct err *err)
{
	if (e->canary > CANARY_MAX)
		return err_say(err, -EINVAL, "a canary gets 1 to %u percent of the requests", CANARY_MAX);
	if (!a || !a->current)
		return err_say(err, -EINVAL,
			       "app %s has no release that carries its traffic: deploy one without a canary first",
			       e->app);
	if (spec_is_stop_first(e->spec) || spec_is_stop_first(&a->current->spec))
		return err_say(err, -EINVAL,
			       "only one release of app %s may run at a time, on account of its volumes or stop-first",
			       e->app);
	if (!e->spec->port)
		return err_say(err, -EINVAL, "app %s has no port, so no requests to share", e->app);
	if (!pairs_eq(&a->current->spec.policy, &e->spec->policy))
		return err_say(err, -EINVAL,
			       "the policies of app %s are those of both releases: change them without a canary",
			       e->app);
	return 0;
}

void rollout_deploy(struct cluster *c, const struct event_deploy *e)
{
	struct rollout_ask ask = { .reply = e->reply,
				   .app = e->app,
				   .spec = e->spec,
				   .image_id = e->keep_image_id,
				   .by = e->by,
				   .canary = e->canary };
	const struct app *a = cluster_find_app(c, e->app);
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
	if (e->canary && check_canary(a, e, &err)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "No Canary", "%s", err.text);
		return;
	}
	rollout_begin(c, &ask);
}

/* NULL: answered. */
static struct app *rolling_app(struct cluster *c, const struct event_app *e)
{
	struct app *a = cluster_find_app(c, e->app);

	if (!a || a->deleted) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "App Not Found", "there is no app %.80s; `temps apps` lists them", e->app);
		return NULL;
	}
	if (a->rolling)
		return a;
	cluster_reply(c, e->reply, REPLY_CONFLICT, "No Rollout",
		      "app %s has no rollout under way: release %" PRIu32 " carries its traffic", a->name,
		      a->current ? a->current->n : 0);
	return NULL;
}

void app_promote(struct cluster *c, const struct event_app *e)
{
	struct app *a = rolling_app(c, e);
	struct effect_reply *reply;

	if (!a)
		return;
	if (a->rolling->canary) {
		a->rolling->canary = 0;
		release_dirty(c, a->rolling);
		cluster_touch(c, a);
		cluster_tell(c, "CanaryPromoted", a->name, "release %" PRIu32 " of app %s takes over, asked by %s",
			     a->rolling->n, a->name, e->by && *e->by ? e->by : "somebody");
	}
	reply = cluster_reply(c, e->reply, REPLY_OK, "", "Release %" PRIu32 " of %s takes over", a->rolling->n,
			      a->name);
	if (reply)
		reply->release = a->rolling->n;
}

void app_abort(struct cluster *c, const struct event_app *e)
{
	struct app *a = rolling_app(c, e);
	struct effect_reply *reply;

	if (!a)
		return;
	reply = cluster_reply(c, e->reply, REPLY_OK, "", "Release %" PRIu32 " of %s is given up", a->rolling->n,
			      a->name);
	if (reply)
		reply->release = a->rolling->n;
	rollout_abort(c, a);
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
	app_forget_notes(c, a);
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
