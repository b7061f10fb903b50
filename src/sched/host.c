/* Hosts: which app, or which literal addresses, a host name and path lead to, and who owns them. */
#include <errno.h>
#include <stdlib.h>

#include "base/target.h"
#include "sched/state.h"

#define HOLD_SLACK_MS 30000u

#define TARGETS_MAX 64u

static const char *const static_members[] = { "host", "targets", "policy", "created_ms", NULL };

static char *host_key(const char *text)
{
	return strchr(text, '/') ? xstrdup(text) : xasprintf("%s/", text);
}

static struct host *find(const struct cluster *c, const char *text)
{
	char *key = host_key(text);
	struct host *h = map_get(&c->hosts, slice_str(key));

	free(key);
	return h;
}

const struct host *cluster_host(const struct cluster *c, const char *host)
{
	return find(c, host);
}

static struct host *host_new(struct cluster *c, const char *text)
{
	struct host *h = xcalloc(1, sizeof(*h));
	struct slice path;

	list_init(&h->link);
	h->key = host_key(text);
	h->name = slice_dup(slice_split(slice_str(h->key), '/', &path));
	h->path = xasprintf("/%.*s", SLICE_ARG(path));
	map_put(&c->hosts, slice_str(h->key), h);
	return h;
}

static void host_free(struct host *h)
{
	list_remove(&h->link);
	strs_fini(&h->targets);
	pairs_fini(&h->policy);
	json_free(h->extra);
	free(h->key);
	free(h->name);
	free(h->path);
	free(h);
}

static void host_drop(struct cluster *c, struct host *h)
{
	map_del(&c->hosts, slice_str(h->key));
	if (h->live) {
		struct effect *e = batch_effect(c->batch, EFFECT_HOST_DEL);

		e->host.host = batch_str(c->batch, h->name);
		e->host.path = batch_str(c->batch, h->path);
	}
	host_free(h);
}

static void host_lead(struct cluster *c, struct host *h)
{
	struct effect *e = batch_effect(c->batch, h->app ? EFFECT_HOST_SET : EFFECT_HOST_STATIC);

	h->live = true;
	e->host.host = batch_str(c->batch, h->name);
	e->host.path = batch_str(c->batch, h->path);
	if (h->app) {
		e->host.app = batch_str(c->batch, h->app->name);
	} else {
		batch_strs(c->batch, &e->host.targets, &h->targets);
		batch_pairs(c->batch, &e->host.policy, &h->policy);
	}
}

int host_check(const struct cluster *c, const char *app, const struct app_spec *s, struct err *err)
{
	for (size_t i = 0; i < s->domains.n; i++) {
		const struct host *h = find(c, s->domains.items[i]);

		if (h && (!h->app || strcmp(h->app->name, app) != 0))
			return err_say(err, -EEXIST, "domain %s belongs to %s%s",
				       s->domains.items[i], h->app ? "app " : "a static route",
				       h->app ? h->app->name : "");
	}
	return 0;
}

int host_claim(struct cluster *c, struct app *a, const struct app_spec *s, struct err *err)
{
	int rc = host_check(c, a->name, s, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < s->domains.n; i++) {
		if (!find(c, s->domains.items[i])) {
			struct host *h = host_new(c, s->domains.items[i]);

			h->app = a;
			h->created_wall_ms = c->now.wall_ms;
		}
	}
	return 0;
}

/* Domains are compared by key: "host" and "host/" are the same. */
static bool wants(const struct release *rel, const char *key)
{
	for (size_t i = 0; rel && i < rel->spec.domains.n; i++) {
		char *other = host_key(rel->spec.domains.items[i]);
		bool same = strcmp(other, key) == 0;

		free(other);
		if (same)
			return true;
	}
	return false;
}

void host_settle(struct cluster *c, struct app *a, const struct app_spec *s)
{
	for (size_t i = 0; i < s->domains.n; i++) {
		struct host *h = find(c, s->domains.items[i]);

		if (h && h->app == a && !wants(a->current, h->key) && !wants(a->rolling, h->key))
			host_drop(c, h);
	}
}

/* A release that starts when the one before has ended: as long as that may take. */
static uint32_t hold_ms(const struct cluster *c, const struct app *a)
{
	uint32_t longest_ms = 0;

	for (const struct release *rel = a->current;; rel = a->rolling) {
		const struct app_spec *s = rel ? &rel->spec : NULL;
		uint32_t health_ms = s && s->health_limit_ms ? s->health_limit_ms : c->config.health_limit_ms;

		if (s && spec_is_stop_first(s))
			longest_ms = MAX(longest_ms, health_ms + HOLD_SLACK_MS);
		if (rel == a->rolling)
			return longest_ms;
	}
}

void host_policy(struct cluster *c, const struct app *a)
{
	const struct app_spec *s = &a->current->spec;
	struct effect *e;

	/* Without a host nobody is led there. */
	if (!s->domains.n)
		return;
	e = batch_effect(c->batch, EFFECT_APP_POLICY);
	e->policy.app = batch_str(c->batch, a->name);
	e->policy.host = batch_printf(c->batch, "%.*s", (int)strcspn(s->domains.items[0], "/"),
				      s->domains.items[0]);
	batch_pairs(c->batch, &e->policy.policy, &s->policy);
	e->policy.hold_ms = hold_ms(c, a);
}

void host_publish(struct cluster *c, struct app *a, bool all)
{
	const struct app_spec *s = &a->current->spec;

	for (size_t i = 0; i < s->domains.n; i++) {
		struct host *h = find(c, s->domains.items[i]);

		if (h && h->app == a && (all || !h->live))
			host_lead(c, h);
	}
}

void host_start(struct cluster *c)
{
	LIST_FOR_EACH(h, &c->statics, struct host, link)
		host_lead(c, h);
	LIST_FOR_EACH(a, &c->apps, struct app, link) {
		if (!a->current)
			continue;
		host_policy(c, a);
		host_publish(c, a, true);
	}
}

/* ---- static routes ---- */

static int check_static(const struct event_static *e, struct err *err)
{
	struct slice path, name = slice_split(slice_str(e->host), '/', &path);
	struct target target;
	int rc = 0;

	if (!text_is_host(name) || strlen(e->host) > 400)
		return err_say(err, -EINVAL, "\"%.200s\": not a host name", e->host);
	for (size_t i = 0; i < path.n; i++) {
		if ((unsigned char)path.p[i] <= ' ')
			return err_say(err, -EINVAL,
				       "\"%.200s\": has a space or a control character", e->host);
	}
	if (e->targets.n > TARGETS_MAX || e->policy.n > SPEC_POLICIES_MAX)
		return err_say(err, -EINVAL, "more than %u targets or %u policies", TARGETS_MAX,
			       SPEC_POLICIES_MAX);
	for (size_t i = 0; !rc && i < e->targets.n; i++)
		rc = target_parse(&target, slice_str(e->targets.items[i]), err);
	return rc;
}

static void static_save(struct cluster *c, struct host *h)
{
	struct json_out o;
	struct buf buf;

	record_open(&o, &buf);
	json_put_str(&o, "host", h->key);
	strs_put(&h->targets, &o, "targets");
	pairs_put(&h->policy, &o, "policy");
	json_put_int(&o, "created_ms", (int64_t)h->created_wall_ms);
	record_close(c, &o, "static_route", h->key, h->extra, static_members);
}

/* What leads somewhere already is not taken over: that would move its traffic by mistake. */
static bool is_taken(struct cluster *c, const struct event_static *e, const struct host *h)
{
	if (!h)
		return false;
	if (h->app)
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Host Taken", "%s belongs to app %s",
			      e->host, h->app->name);
	else if (strs_eq(&h->targets, &e->targets) && pairs_eq(&h->policy, &e->policy))
		cluster_reply(c, e->reply, REPLY_OK, "", "%s leads there already", e->host);
	else
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Host Taken",
			      "%s belongs to a static route to %.200s%s%s: change or remove that",
			      e->host, h->targets.n ? h->targets.items[0] : "nowhere",
			      h->targets.n > 1 ? " and others" : "",
			      strs_eq(&h->targets, &e->targets) ? " with other policies" : "");
	return true;
}

void host_static_add(struct cluster *c, const struct event_static *e)
{
	struct host *h = find(c, e->host);
	struct err err = { 0 };

	if (check_static(e, &err)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error", "%s", err.text);
		return;
	}
	if (is_taken(c, e, h))
		return;
	if (c->statics_n >= STATICS_MAX) {
		cluster_reply(c, e->reply, REPLY_LIMIT, "Too Many Routes",
			      "there are %u static routes already", STATICS_MAX);
		return;
	}
	h = host_new(c, e->host);
	h->created_wall_ms = c->now.wall_ms;
	list_push_back(&c->statics, &h->link);
	c->statics_n++;
	strs_copy(&h->targets, &e->targets);
	pairs_copy(&h->policy, &e->policy);
	static_save(c, h);
	host_lead(c, h);
	cluster_reply(c, e->reply, REPLY_CREATED, "", "%s leads to %zu target%s", e->host, e->targets.n,
		      e->targets.n == 1 ? "" : "s");
}

/* NULL after it was answered. */
static struct host *find_static(struct cluster *c, const struct event_static *e)
{
	struct host *h = find(c, e->host);

	if (h && !h->app)
		return h;
	cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Route Not Found",
		      "there is no static route for %.300s", e->host);
	return NULL;
}

void host_static_set(struct cluster *c, const struct event_static *e)
{
	struct host *h = find_static(c, e);
	struct err err = { 0 };

	if (!h)
		return;
	if (check_static(e, &err)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error", "%s", err.text);
		return;
	}
	if (!pairs_eq(&h->policy, &e->policy) ||
	    (e->targets.n && !strs_eq(&h->targets, &e->targets))) {
		pairs_fini(&h->policy);
		pairs_copy(&h->policy, &e->policy);
		if (e->targets.n) {
			strs_fini(&h->targets);
			strs_copy(&h->targets, &e->targets);
		}
		static_save(c, h);
		host_lead(c, h);
	}
	cluster_reply(c, e->reply, REPLY_OK, "", "%s is as asked", e->host);
}

void host_static_remove(struct cluster *c, const struct event_static *e)
{
	struct host *h = find_static(c, e);

	if (!h)
		return;
	batch_del(c->batch, "static_route", h->key);
	c->statics_n--;
	host_drop(c, h);
	cluster_reply(c, e->reply, REPLY_OK, "", "%s removed", e->host);
}

int host_load_static(struct cluster *c, struct json **doc, struct err *err)
{
	char *text = NULL;
	struct host *h = NULL;
	int rc = record_str(&text, *doc, "host", 400, err);

	if (!rc && (!*text || find(c, text)))
		rc = err_say(err, -EINVAL, "member \"host\": empty or there twice");
	if (!rc) {
		h = host_new(c, text);
		list_push_back(&c->statics, &h->link);
		c->statics_n++;
		rc = strs_load(&h->targets, *doc, "targets", TARGETS_MAX, err);
	}
	if (!rc)
		rc = pairs_load(&h->policy, *doc, "policy", SPEC_POLICIES_MAX, err);
	if (!rc)
		rc = record_u64(&h->created_wall_ms, *doc, "created_ms", INT64_MAX, err);
	if (!rc)
		record_keep(&h->extra, doc, static_members);
	free(text);
	return rc;
}

void host_free_all(struct cluster *c)
{
	struct host *h;
	uint32_t at = 0;

	while ((h = map_next(&c->hosts, &at)))
		host_free(h);
}
