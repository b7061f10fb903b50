/* What people ask of an app that runs: another number of replicas, a release once more, its requests held, no new release. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "sched/state.h"

#define REASON_MAX 250u

/* NULL after 404 was answered. */
static struct app *find(struct cluster *c, const struct event_app *e)
{
	struct app *a = cluster_find_app(c, e->app);

	if (a && !a->deleted)
		return a;
	cluster_reply(c, e->reply, REPLY_NOT_FOUND, "App Not Found",
		      "there is no app %.80s; `temps apps` lists them", e->app);
	return NULL;
}

static const char *by_or(const struct event_app *e)
{
	return e->by && *e->by ? e->by : "somebody";
}

/* The ending of "replica". */
static const char *plural(uint32_t n)
{
	return n == 1 ? "" : "s";
}

/* ---- scale ---- */

static uint32_t present(const struct app *a, const struct release *rel)
{
	uint32_t n = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		n += r->release == rel && replica_is_live(r) && !r->away;
	return n;
}

/* Whether there are nodes for what would be missing then; else says so, with each node and why. */
static bool has_room(struct cluster *c, const struct app *a, const struct release *rel, uint32_t n,
		     uint64_t reply)
{
	uint32_t have = present(a, rel);
	struct placement_ask ask = { .app = a->name,
				     .spec = &rel->spec,
				     .release = rel,
				     .cursor = rel->cursor };
	struct effect_reply *answer;
	struct placement plan;
	struct err err = { 0 };
	int rc;

	if (n <= have || n <= rel->spec.replicas)
		return true;
	ask.n = n - have;
	rc = placement_plan(c, &ask, &plan, &err);
	answer = rc ? cluster_reply(c, reply, REPLY_UNPLACEABLE, "No Node Fits", "%s", err.text)
		    : NULL;
	if (answer)
		placement_refused(c->batch, &ask, &plan, &answer->refused);
	placement_fini(&plan);
	return rc == 0;
}

static void set_replicas(struct cluster *c, struct release *rel, uint32_t n)
{
	if (!rel || rel->spec.replicas == n)
		return;
	rel->spec.replicas = n;
	spec_hash(&rel->spec, rel->spec_hash);
	release_dirty(c, rel);
}

void app_scale(struct cluster *c, const struct event_app *e)
{
	struct app *a = find(c, e);
	struct release *rel = a ? a->current ? a->current : a->rolling : NULL;
	struct effect_reply *reply;
	uint32_t was;

	if (!a)
		return;
	if (!e->n || e->n > SPEC_REPLICAS_MAX) {
		cluster_reply(
			c, e->reply, REPLY_INVALID, "Validation Error",
			"replicas: expected 1 to %u; `temps pause` holds an app's requests, `temps rm` removes it",
			SPEC_REPLICAS_MAX);
		return;
	}
	if (!rel) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Nothing To Scale",
			      "app %s has no release that runs: deploy one", a->name);
		return;
	}
	if (e->n > 1 && (rel->spec.volumes.n || (a->rolling && a->rolling->spec.volumes.n))) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "One Replica",
			      "app %s has a volume, which one replica at a time may have", a->name);
		return;
	}
	was = rel->spec.replicas;
	if (!has_room(c, a, rel, e->n, e->reply))
		return;
	if (was != e->n)
		cluster_tell(c, "AppScaled", a->name,
			     "app %s: %" PRIu32 " replica%s instead of %" PRIu32 ", asked by %s",
			     a->name, e->n, plural(e->n), was, by_or(e));
	set_replicas(c, a->current, e->n);
	set_replicas(c, a->rolling, e->n);
	cluster_touch(c, a);
	reply = cluster_reply(c, e->reply, was == e->n ? REPLY_OK : REPLY_CREATED, "",
			      "App %s has %" PRIu32 " replica%s", a->name, e->n, plural(e->n));
	if (reply)
		reply->release = rel->n;
}

/* ---- a release once more ---- */

static bool carried_traffic(const struct release *rel)
{
	return rel->state == RELEASE_ACTIVE || rel->state == RELEASE_RETIRED;
}

/* "7 (shop:1.2), 6 (shop:1.1)", newest first. */
static void list_kept(const struct app *a, struct buf *text)
{
	for (const struct list *l = a->releases.prev; l != &a->releases; l = l->prev) {
		const struct release *rel = LIST_ENTRY(l, struct release, link);

		if (rel->state == RELEASE_RETIRED)
			buf_printf(text, "%s%" PRIu32 " (%.200s)", text->len ? ", " : "", rel->n,
				   rel->spec.image);
	}
	if (!text->len)
		buf_append_str(text, "none");
}

/* The last one that carried the traffic before the newest release. */
static struct release *one_before(const struct app *a)
{
	if (a->rolling && a->current)
		return a->current;
	for (struct list *l = a->releases.prev; l != &a->releases; l = l->prev) {
		struct release *rel = LIST_ENTRY(l, struct release, link);

		if (rel->state == RELEASE_RETIRED)
			return rel;
	}
	return NULL;
}

static void refuse_rollback(struct cluster *c, const struct event_app *e, const struct app *a,
			    const struct release *rel)
{
	struct buf kept;
	char why[300];

	buf_init(&kept, 8192);
	list_kept(a, &kept);
	if (!e->n)
		snprintf(why, sizeof(why), "app %s has no release before this one", a->name);
	else if (!rel)
		snprintf(why, sizeof(why), "app %s keeps no release %" PRIu32, a->name, e->n);
	else
		snprintf(why, sizeof(why),
			 "release %" PRIu32 " of app %s never carried traffic%s%.160s", rel->n,
			 a->name, *rel->reason ? ": " : "", rel->reason);
	cluster_reply(c, e->reply, rel ? REPLY_CONFLICT : REPLY_NOT_FOUND,
		      rel ? "Release Never Worked" : "Release Not Found",
		      "%s; releases it can go back to: %s", why, kept.data);
	buf_fini(&kept);
}

/* A new release that is <rel> again: its containers are as many as the app has now. */
static void again(struct cluster *c, const struct event_app *e, const struct app *a,
		  const struct release *rel, const char *what)
{
	struct rollout_ask ask = { .reply = e->reply, .app = a->name, .by = e->by };
	char *image_id = xstrdup(rel->image_id);
	struct app_spec spec;
	char cause[64];

	snprintf(cause, sizeof(cause), "%s release %" PRIu32, what, rel->n);
	spec_copy(&spec, &rel->spec);
	if (a->current && !spec.volumes.n)
		spec.replicas = a->current->spec.replicas;
	ask.spec = &spec;
	ask.image_id = image_id;
	ask.cause = cause;
	ask.no_hook = true;
	ask.no_hook = true; /* it ran, then */
	rollout_begin(c, &ask);
	spec_fini(&spec);
	free(image_id);
}

void app_rollback(struct cluster *c, const struct event_app *e)
{
	struct app *a = find(c, e);
	struct release *rel;

	if (!a)
		return;
	rel = e->n ? app_release(a, e->n) : one_before(a);
	if (!rel || !carried_traffic(rel))
		refuse_rollback(c, e, a, rel);
	else if (rel == a->current && !a->rolling)
		cluster_reply(
			c, e->reply, REPLY_CONFLICT, "Release Is Current",
			"release %" PRIu32
			" of app %s carries its traffic already; `temps restart %s` starts it anew",
			rel->n, a->name, a->name);
	else
		again(c, e, a, rel, "rollback to");
}

void app_restart(struct cluster *c, const struct event_app *e)
{
	struct app *a = find(c, e);

	if (!a)
		return;
	if (a->rolling)
		cluster_reply(
			c, e->reply, REPLY_CONFLICT, "Rollout Under Way",
			"release %" PRIu32
			" of app %s is being rolled out, which starts new containers anyway; `temps ps %s` shows where it is",
			a->rolling->n, a->name, a->name);
	else if (!a->current)
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Nothing To Restart",
			      "app %s has no release that runs: deploy one", a->name);
	else
		again(c, e, a, a->current, "restart of");
}

/* ---- pause ---- */

static void tell_front(struct cluster *c, const struct app *a)
{
	struct effect *e = batch_effect(c->batch, EFFECT_APP_PAUSE);

	e->pause.app = batch_str(c->batch, a->name);
	e->pause.paused = a->paused.set;
}

void app_pause(struct cluster *c, const struct event_app *e)
{
	struct app *a = find(c, e);

	if (!a)
		return;
	if (a->paused.set) {
		cluster_reply(c, e->reply, REPLY_OK, "", "App %s is paused already", a->name);
		return;
	}
	app_note_set(c, &a->paused, e->by, NULL);
	app_dirty(c, a);
	tell_front(c, a);
	cluster_tell(c, "AppPaused", a->name, "the requests of app %s are held, asked by %s",
		     a->name, by_or(e));
	cluster_reply(c, e->reply, REPLY_CREATED, "", "App %s is paused", a->name);
}

void app_resume(struct cluster *c, const struct event_app *e)
{
	struct app *a = find(c, e);

	if (!a)
		return;
	if (!a->paused.set) {
		cluster_reply(c, e->reply, REPLY_OK, "", "App %s is not paused", a->name);
		return;
	}
	app_note_clear(&a->paused);
	app_dirty(c, a);
	tell_front(c, a);
	cluster_tell(c, "AppResumed", a->name, "the requests of app %s go on, asked by %s", a->name,
		     by_or(e));
	cluster_reply(c, e->reply, REPLY_CREATED, "", "App %s is resumed", a->name);
}

/* ---- lock ---- */

void app_lock_text(const struct app *a, struct err *err)
{
	char since[32];

	text_time(a->locked.since_wall_ms, false, since);
	err_say(err, -EEXIST, "app %s is locked by %.100s since %s: %.250s; `temps unlock %s` ends that",
		a->name, *a->locked.by ? a->locked.by : "somebody", since, a->locked.reason, a->name);
}

bool app_is_locked(struct cluster *c, const struct app *a, uint64_t reply)
{
	struct err err;

	if (!a->locked.set)
		return false;
	app_lock_text(a, &err);
	cluster_reply(c, reply, REPLY_CONFLICT, "App Locked", "%s", err.text);
	return true;
}

void app_lock(struct cluster *c, const struct event_app *e)
{
	struct app *a = find(c, e);

	if (!a || app_is_locked(c, a, e->reply))
		return;
	if (!e->reason || !*e->reason || strlen(e->reason) > REASON_MAX) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error",
			      "reason: expected 1 to %u bytes that say why", REASON_MAX);
		return;
	}
	app_note_set(c, &a->locked, e->by, e->reason);
	app_dirty(c, a);
	cluster_tell(c, "AppLocked", a->name, "app %s gets no new release, asked by %s: %s",
		     a->name, by_or(e), e->reason);
	cluster_reply(c, e->reply, REPLY_CREATED, "", "App %s is locked", a->name);
}

void app_unlock(struct cluster *c, const struct event_app *e)
{
	struct app *a = find(c, e);

	if (!a)
		return;
	if (!a->locked.set) {
		cluster_reply(c, e->reply, REPLY_OK, "", "App %s is not locked", a->name);
		return;
	}
	app_note_clear(&a->locked);
	app_dirty(c, a);
	cluster_tell(c, "AppUnlocked", a->name, "app %s may get new releases, asked by %s", a->name,
		     by_or(e));
	cluster_reply(c, e->reply, REPLY_CREATED, "", "App %s is unlocked", a->name);
}

/* ---- the start and the end ---- */

void app_start_paused(struct cluster *c)
{
	LIST_FOR_EACH(a, &c->apps, struct app, link) {
		if (a->paused.set && !a->deleted)
			tell_front(c, a);
	}
}

void app_forget_notes(struct cluster *c, struct app *a)
{
	bool was = a->paused.set;

	app_note_clear(&a->paused);
	app_note_clear(&a->locked);
	if (was)
		tell_front(c, a);
}
