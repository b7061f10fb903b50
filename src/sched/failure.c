/* What failed containers said last, kept with the release they were of. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/state.h"

static const char *const members[] = { "app",	    "release",	  "replica", "at_ms", "exit_code",
				       "oom_killed", "reason", "text",	  NULL };

static void key_of(const struct release *rel, uint32_t replica, char *key, size_t size)
{
	snprintf(key, size, "%s/%010" PRIu32 "/%010" PRIu32, rel->app->name, rel->n, replica);
}

static void failure_free(struct release *rel, struct failure *f)
{
	list_remove(&f->link);
	rel->failures_n--;
	json_free(f->extra);
	free(f->reason);
	free(f->text);
	free(f);
}

static void forget(struct cluster *c, struct release *rel, struct failure *f)
{
	char key[APP_NAME_MAX + 32];

	key_of(rel, f->replica, key, sizeof(key));
	batch_del(c->batch, "failure", key);
	failure_free(rel, f);
}

void failure_forget_all(struct cluster *c, struct release *rel)
{
	LIST_FOR_EACH_SAFE(f, &rel->failures, struct failure, link)
		forget(c, rel, f);
}

void failure_free_all(struct release *rel)
{
	LIST_FOR_EACH_SAFE(f, &rel->failures, struct failure, link)
		failure_free(rel, f);
}

const struct failure *release_failure(const struct release *rel, uint32_t replica)
{
	LIST_FOR_EACH(f, &rel->failures, struct failure, link) {
		if (f->replica == replica)
			return f;
	}
	return NULL;
}

static struct failure *failure_new(struct release *rel, uint32_t replica)
{
	struct failure *f = xcalloc(1, sizeof(*f));

	f->replica = replica;
	f->reason = xstrdup("");
	f->text = xstrdup("");
	list_push_back(&rel->failures, &f->link);
	rel->failures_n++;
	return f;
}

static void save(struct cluster *c, const struct release *rel, const struct failure *f)
{
	char key[APP_NAME_MAX + 32];
	struct json_out o;
	struct buf buf;

	key_of(rel, f->replica, key, sizeof(key));
	record_open(&o, &buf);
	json_put_str(&o, "app", rel->app->name);
	json_put_int(&o, "release", rel->n);
	json_put_int(&o, "replica", f->replica);
	json_put_int(&o, "at_ms", (int64_t)f->at_wall_ms);
	json_put_int(&o, "exit_code", f->exit_code);
	json_put_bool(&o, "oom_killed", f->oom_killed);
	json_put_str(&o, "reason", f->reason);
	json_put_str(&o, "text", f->text);
	record_close(c, &o, "failure", key, f->extra, members);
}

void failure_keep(struct cluster *c, const struct replica *r, const char *text)
{
	struct release *rel = r->release;
	struct failure *f = (struct failure *)release_failure(rel, r->n);
	size_t n = strlen(text), skip = n > FAILURE_TEXT_MAX ? n - FAILURE_TEXT_MAX : 0;

	/* Not from within a character. */
	while (skip && skip < n && ((unsigned char)text[skip] & 0xc0) == 0x80)
		skip++;
	if (!f)
		f = failure_new(rel, r->n);
	list_remove(&f->link);
	list_push_back(&rel->failures, &f->link);
	f->at_wall_ms = c->now.wall_ms;
	f->exit_code = r->exit_code;
	f->oom_killed = r->oom_killed;
	text_replace(&f->reason, r->reason);
	text_replace(&f->text, text + skip);
	save(c, rel, f);
	if (rel->failures_n > RELEASE_FAILURES_KEPT)
		forget(c, rel, LIST_FIRST(&rel->failures, struct failure, link));
}

static int load_fields(struct failure *f, const struct json *doc, struct err *err)
{
	int rc = record_u64(&f->at_wall_ms, doc, "at_ms", INT64_MAX, err);

	f->exit_code = (int)json_int(json_get(doc, "exit_code"), 0);
	if (!rc)
		rc = record_bool(&f->oom_killed, doc, "oom_killed", err);
	if (!rc)
		rc = record_str(&f->reason, doc, "reason", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_str(&f->text, doc, "text", 4 * FAILURE_TEXT_MAX, err);
	return rc;
}

/* In the order in which they happened. */
static void sort_in(struct release *rel, struct failure *f)
{
	struct list *at;

	list_remove(&f->link);
	at = rel->failures.prev;
	while (at != &rel->failures &&
	       LIST_ENTRY(at, struct failure, link)->at_wall_ms > f->at_wall_ms)
		at = at->prev;
	list_insert_before(at->next, &f->link);
}

int failure_load(struct cluster *c, struct json **doc, struct err *err)
{
	struct app *a = cluster_find_app(c, json_cstr(json_get(*doc, "app"), ""));
	struct release *rel;
	struct failure *f;
	uint32_t n = 0, replica = 0;
	int rc = record_u32(&n, *doc, "release", UINT32_MAX - 1, err);

	if (!rc)
		rc = record_u32(&replica, *doc, "replica", UINT32_MAX - 1, err);
	if (rc)
		return rc;
	rel = a ? app_release(a, n) : NULL;
	if (!rel || release_failure(rel, replica))
		return err_say(err, -EINVAL, "its release is not there, or it is there twice");
	f = failure_new(rel, replica);
	rc = load_fields(f, *doc, err);
	if (rc)
		return rc;
	sort_in(rel, f);
	record_keep(&f->extra, doc, members);
	return 0;
}
