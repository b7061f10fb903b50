/* Apps and releases: their structs and their stored form. */
#include "sched/app.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "sched/affinity.h"
#include "sched/state.h"

static const char *const app_members[] = { "name",	 "deleted", "next_release", "next_replica",
					   "created_ms", "paused",  "locked",
					   "volume_node", NULL };
static const char *const release_members[] = {
	"app",	 "release", "state",	"spec",	  "image_id",	"reason",
	"cause", "by",	    "cursor",	"created_ms", "ended_ms", "canary",
	"old_ends", "hook_done", NULL,
};
static const char *const states[] = {
	[RELEASE_ROLLING] = "rolling",	     [RELEASE_ACTIVE] = "active",
	[RELEASE_RETIRED] = "retired",	     [RELEASE_FAILED] = "failed",
	[RELEASE_SUPERSEDED] = "superseded", [RELEASE_ABORTED] = "aborted",
};

uint32_t app_routed(const struct app *a)
{
	uint32_t n = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		n += r->state == REPLICA_READY && r->routed;
	return n;
}

bool release_has_moved(const struct release *rel, const char *image_id)
{
	return image_id && *rel->image_id && strcmp(image_id, rel->image_id) != 0;
}

struct release *app_release(const struct app *a, uint32_t n)
{
	LIST_FOR_EACH(rel, &a->releases, struct release, link) {
		if (rel->n == n)
			return rel;
	}
	return NULL;
}

struct replica *app_replica(const struct app *a, uint32_t n)
{
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (r->n == n)
			return r;
	}
	return NULL;
}

/* ---- notes ---- */

void app_note_set(struct cluster *c, struct app_note *n, const char *by, const char *reason)
{
	n->set = true;
	n->since_wall_ms = c->now.wall_ms;
	text_replace(&n->by, by);
	text_replace(&n->reason, reason);
}

void app_note_clear(struct app_note *n)
{
	free(n->by);
	free(n->reason);
	*n = (struct app_note){ 0 };
}

static void note_save(const struct app_note *n, struct json_out *o, const char *name)
{
	if (!n->set)
		return;
	json_obj(o, name);
	json_put_str(o, "by", n->by);
	json_put_str(o, "reason", n->reason);
	json_put_int(o, "since_ms", (int64_t)n->since_wall_ms);
	json_obj_end(o);
}

static int note_load(struct app_note *n, const struct json *doc, const char *name, struct err *err)
{
	const struct json *j = json_get(doc, name);
	int rc;

	if (json_type(j) == JSON_ABSENT)
		return 0;
	n->set = true;
	rc = record_str(&n->by, j, "by", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_str(&n->reason, j, "reason", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_u64(&n->since_wall_ms, j, "since_ms", INT64_MAX, err);
	return rc;
}

/* ---- apps ---- */

struct app *app_create(struct cluster *c, const char *name)
{
	struct app *a = xcalloc(1, sizeof(*a));

	snprintf(a->name, sizeof(a->name), "%s", name);
	list_init(&a->unsettled_link);
	list_init(&a->touched_link);
	list_init(&a->dirty_link);
	list_init(&a->releases);
	list_init(&a->replicas);
	a->next_release = 1;
	a->next_replica = 1;
	a->volume_node = -1;
	a->created_wall_ms = c->now.wall_ms;
	a->timer.kind = TIMER_APP;
	a->rollout_timer.kind = TIMER_ROLLOUT;
	a->place_timer.kind = TIMER_PLACE;
	list_push_back(&c->apps, &a->link);
	map_put(&c->apps_by_name, slice_str(a->name), a);
	c->apps_n++;
	return a;
}

void app_destroy(struct cluster *c, struct app *a)
{
	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link)
		replica_destroy(c, r);
	LIST_FOR_EACH_SAFE(rel, &a->releases, struct release, link)
		release_destroy(c, rel);
	timer_clear(&c->timers, &a->timer);
	timer_clear(&c->timers, &a->rollout_timer);
	timer_clear(&c->timers, &a->place_timer);
	map_del(&c->apps_by_name, slice_str(a->name));
	list_remove(&a->link);
	list_remove(&a->unsettled_link);
	list_remove(&a->touched_link);
	list_remove(&a->dirty_link);
	c->apps_n--;
	app_note_clear(&a->paused);
	app_note_clear(&a->locked);
	json_free(a->extra);
	free(a);
}

void app_dirty(struct cluster *c, struct app *a)
{
	if (list_empty(&a->dirty_link))
		list_push_back(&c->dirty_apps, &a->dirty_link);
}

void app_save(struct cluster *c, struct app *a)
{
	struct json_out o;
	struct buf buf;

	record_open(&o, &buf);
	json_put_str(&o, "name", a->name);
	json_put_bool(&o, "deleted", a->deleted);
	json_put_int(&o, "next_release", a->next_release);
	json_put_int(&o, "next_replica", a->next_replica);
	json_put_int(&o, "created_ms", (int64_t)a->created_wall_ms);
	note_save(&a->paused, &o, "paused");
	note_save(&a->locked, &o, "locked");
	json_put_int(&o, "volume_node", a->volume_node);
	record_close(c, &o, "app", a->name, a->extra, app_members);
}

int app_load(struct cluster *c, struct json **doc, struct err *err)
{
	char name[APP_NAME_MAX + 1];
	struct app *a;
	int rc = record_text(name, sizeof(name), *doc, "name", err);

	if (!rc && (!text_is_app_name(slice_str(name)) || cluster_find_app(c, name)))
		rc = err_say(err, -EINVAL, "its name is none, or it is there twice");
	if (rc)
		return rc;
	a = app_create(c, name);
	rc = record_bool(&a->deleted, *doc, "deleted", err);
	if (!rc)
		rc = record_u32(&a->next_release, *doc, "next_release", UINT32_MAX - 1, err);
	if (!rc)
		rc = record_u32(&a->next_replica, *doc, "next_replica", UINT32_MAX - 1, err);
	if (!rc)
		rc = record_u64(&a->created_wall_ms, *doc, "created_ms", INT64_MAX, err);
	a->volume_node = json_int(json_get(*doc, "volume_node"), -1);
	if (!rc)
		rc = note_load(&a->paused, *doc, "paused", err);
	if (!rc)
		rc = note_load(&a->locked, *doc, "locked", err);
	if (!rc)
		record_keep(&a->extra, doc, app_members);
	a->next_release = MAX(a->next_release, 1u);
	a->next_replica = MAX(a->next_replica, 1u);
	return rc;
}

/* ---- releases ---- */

const char *release_last_lines(const struct release *rel)
{
	const struct failure *last = LIST_LAST(&rel->failures, struct failure, link);

	/* A release of an earlier version kept them itself. */
	return last ? last->text : json_cstr(json_get(rel->extra, "last_log"), "");
}

bool release_degraded(const struct release *rel)
{
	LIST_FOR_EACH(r, &rel->app->replicas, struct replica, link) {
		if (r->release == rel && r->degraded && r->state == REPLICA_READY)
			return true;
	}
	return false;
}

struct release *release_create(struct cluster *c, struct app *a, uint32_t n)
{
	struct release *rel = xcalloc(1, sizeof(*rel));

	rel->app = a;
	rel->n = n;
	rel->cursor = -1;
	rel->image_id = xstrdup("");
	rel->reason = xstrdup("");
	rel->cause = xstrdup("");
	rel->by = xstrdup("");
	list_init(&rel->failures);
	rel->created_wall_ms = c->now.wall_ms;
	list_init(&rel->dirty_link);
	list_init(&rel->keep_link);
	list_push_back(&a->releases, &rel->link);
	return rel;
}

void release_destroy(struct cluster *c, struct release *rel)
{
	(void)c;
	LIST_FOR_EACH(r, &rel->app->replicas, struct replica, link) {
		if (r->release == rel)
			r->release = NULL;
	}
	failure_free_all(rel);
	list_remove(&rel->link);
	list_remove(&rel->dirty_link);
	list_remove(&rel->keep_link);
	spec_fini(&rel->spec);
	json_free(rel->extra);
	free(rel->image_id);
	free(rel->reason);
	free(rel->cause);
	free(rel->by);
	free(rel);
}

static void key_of(const struct release *rel, char *key, size_t size)
{
	snprintf(key, size, "%s/%010" PRIu32, rel->app->name, rel->n);
}

void release_speak(struct cluster *c, struct release *rel)
{
	struct affinity a;

	for (size_t i = 0; i < rel->spec.anti_affinity.n && list_empty(&rel->keep_link); i++) {
		if (!affinity_parse(&a, rel->spec.anti_affinity.items[i], NULL) && !a.soft &&
		    !a.of_label && !slice_eq(a.value, slice_str(rel->app->name)))
			list_push_back(&c->keepers, &rel->keep_link);
	}
}

void release_forget(struct cluster *c, struct release *rel)
{
	char key[APP_NAME_MAX + 16];

	key_of(rel, key, sizeof(key));
	failure_forget_all(c, rel);
	batch_del(c->batch, "release", key);
	release_destroy(c, rel);
}

void release_dirty(struct cluster *c, struct release *rel)
{
	if (list_empty(&rel->dirty_link))
		list_push_back(&c->dirty_releases, &rel->dirty_link);
}

void release_save(struct cluster *c, struct release *rel)
{
	char key[APP_NAME_MAX + 16];
	struct json_out o;
	struct buf buf;

	key_of(rel, key, sizeof(key));
	record_open(&o, &buf);
	json_put_str(&o, "app", rel->app->name);
	json_put_int(&o, "release", rel->n);
	json_put_str(&o, "state", states[rel->state]);
	json_obj(&o, "spec");
	spec_put(&rel->spec, &o);
	json_obj_end(&o);
	json_put_str(&o, "image_id", rel->image_id);
	json_put_str(&o, "reason", rel->reason);
	json_put_str(&o, "cause", rel->cause);
	json_put_str(&o, "by", rel->by);
	json_put_int(&o, "cursor", rel->cursor);
	json_put_int(&o, "created_ms", (int64_t)rel->created_wall_ms);
	json_put_int(&o, "ended_ms", (int64_t)rel->ended_wall_ms);
	json_put_int(&o, "canary", rel->canary);
	json_put_bool(&o, "old_ends", rel->old_ends);
	json_put_bool(&o, "hook_done", rel->hook_done);
	record_close(c, &o, "release", key, rel->extra, release_members);
}

static int load_state(struct release *rel, const struct json *doc, struct err *err)
{
	const char *text = json_cstr(json_get(doc, "state"), "");
	struct app *a = rel->app;

	for (unsigned i = 0; i < ARRAY_LEN(states); i++) {
		if (strcmp(text, states[i]) != 0)
			continue;
		rel->state = i;
		if ((i == RELEASE_ACTIVE && a->current) || (i == RELEASE_ROLLING && a->rolling))
			return err_say(err, -EINVAL, "another release of its app is %s too", text);
		if (i == RELEASE_ACTIVE)
			a->current = rel;
		if (i == RELEASE_ROLLING)
			a->rolling = rel;
		return 0;
	}
	return err_say(err, -EINVAL, "member \"state\": unknown \"%.40s\"", text);
}

static int load_rest(struct release *rel, const struct json *doc, struct err *err)
{
	int rc = spec_load(&rel->spec, json_get(doc, "spec"), err);

	if (!rc)
		rc = record_str(&rel->image_id, doc, "image_id", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_str(&rel->reason, doc, "reason", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_str(&rel->cause, doc, "cause", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_str(&rel->by, doc, "by", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_u64(&rel->created_wall_ms, doc, "created_ms", INT64_MAX, err);
	if (!rc)
		rc = record_u64(&rel->ended_wall_ms, doc, "ended_ms", INT64_MAX, err);
	if (!rc)
		rc = record_u32(&rel->canary, doc, "canary", CANARY_MAX, err);
	if (!rc)
		rc = record_bool(&rel->old_ends, doc, "old_ends", err);
	if (!rc)
		rc = record_bool(&rel->hook_done, doc, "hook_done", err);
	rel->cursor = json_int(json_get(doc, "cursor"), -1);
	return rc;
}

int release_load(struct cluster *c, struct json **doc, struct err *err)
{
	struct app *a = cluster_find_app(c, json_cstr(json_get(*doc, "app"), ""));
	struct release *rel;
	uint32_t n = 0;
	int rc = record_u32(&n, *doc, "release", UINT32_MAX - 1, err);

	if (rc)
		return rc;
	if (!a || !n || app_release(a, n))
		return err_say(err, -EINVAL, "its app is not there, or it is there twice");
	rel = release_create(c, a, n);
	rc = load_rest(rel, *doc, err);
	if (!rc)
		rc = load_state(rel, *doc, err);
	if (rc)
		return rc;
	spec_hash(&rel->spec, rel->spec_hash);
	release_speak(c, rel);
	a->next_release = MAX(a->next_release, n + 1);
	if (rel->state == RELEASE_ACTIVE || rel->state == RELEASE_ROLLING)
		rc = host_claim(c, a, &rel->spec, err);
	if (!rc)
		record_keep(&rel->extra, doc, release_members);
	return rc;
}
