/* API, routes: what leads where, and static routes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/target.h"
#include "control/api.h"
#include "control/console.h"
#include "control/dataplane.h"
#include "control/deployer.h"
#include "control/policies.h"
#include "control/view.h"

#define TARGETS_MAX 100

static void put_endpoint(struct json_out *o, const struct endpoint *e)
{
	struct endpoint_view v;

	endpoint_view(e, &v);
	json_obj(o, NULL);
	json_put_str(o, "address", v.at->text);
	json_put_str(o, "state", endpoint_state_name(v.state));
	json_put_int(o, "weight", v.weight);
	json_put_int(o, "in_flight", v.in_flight);
	json_put_int(o, "tunnels", v.tunnels);
	json_put_int(o, "requests", (int64_t)v.requests);
	json_put_int(o, "failures", (int64_t)v.failures);
	json_put_int(o, "ejections", (int64_t)v.ejections);
	json_put_int(o, "half_open", (int64_t)v.half_open);
	json_put_int(o, "recoveries", (int64_t)v.recoveries);
	json_put_int(o, "checks_passed", (int64_t)v.checks_passed);
	json_put_int(o, "checks_failed", (int64_t)v.checks_failed);
	json_obj_end(o);
}

static void put_counts(struct json_out *o, const struct control *c, const char *host,
		       const char *path, struct upstream *u)
{
	struct route_stats route = { 0 };
	struct upstream_stats up = { 0 };

	(void)!route_stats(c->front, host, path, &route);
	if (u)
		upstream_stats(u, &up);
	json_put_int(o, "requests", (int64_t)route.requests);
	json_obj(o, "endpoints");
	json_put_int(o, "in", up.in);
	json_put_int(o, "total", up.endpoints);
	json_put_int(o, "waiting", up.holding);
	json_put_int(o, "retries", (int64_t)up.retries);
	json_put_int(o, "ejections", (int64_t)up.ejections);
	json_put_int(o, "recoveries", (int64_t)up.recoveries);
	json_put_int(o, "queued", (int64_t)up.queued);
	json_put_int(o, "queue_timeouts", (int64_t)up.queue_timeouts);
	json_put_int(o, "queue_refused", (int64_t)up.queue_refused);
	json_put_int(o, "sticky_hits", (int64_t)up.sticky_hits);
	json_put_int(o, "sticky_misses", (int64_t)up.sticky_misses);
	json_arr(o, "items");
	for (const struct endpoint *e = NULL; u && (e = upstream_next(u, e));)
		put_endpoint(o, e);
	json_arr_end(o);
	json_obj_end(o);
}

static void put_app_route(struct json_out *o, const struct control *c, const struct app *app,
			  const char *domain)
{
	struct upstream *u = dataplane_upstream(c->dataplane, app->name);
	char host[256], path[4097];

	view_split_domain(domain, host, path);
	json_obj(o, NULL);
	json_put_str(o, "host", host);
	json_put_str(o, "path", path);
	json_put_str(o, "kind", "app");
	json_put_str(o, "app", app->name);
	json_arr(o, "targets");
	LIST_FOR_EACH(r, &app->replicas, struct replica, link) {
		char target[96];

		if (!r->routed)
			continue;
		snprintf(target, sizeof(target), "http://%s:%u", r->ip, r->port);
		json_put_str(o, NULL, target);
	}
	json_arr_end(o);
	policy_put(&app->current->spec.policy, o, "policy");
	put_counts(o, c, host, path, u);
	json_obj_end(o);
}

static void put_static(struct json_out *o, const struct control *c, const struct host *h)
{
	json_obj(o, NULL);
	json_put_str(o, "host", h->name);
	json_put_str(o, "path", h->path);
	json_put_str(o, "kind", "static");
	json_put_null(o, "app");
	strs_put(&h->targets, o, "targets");
	policy_put(&h->policy, o, "policy");
	put_counts(o, c, h->name, h->path, dataplane_static(c->dataplane, h->name, h->path));
	json_obj_end(o);
}

void api_routes_list(struct api_request *r)
{
	const struct control *c = r->app;
	const struct cluster *cluster = deployer_cluster(c->deployer);
	struct api_answer a;
	int64_t n = 0;

	api_answer_begin(&a);
	json_arr(&a.o, "items");
	LIST_FOR_EACH(app, cluster_apps(cluster), struct app, link) {
		if (app->deleted || !app->current)
			continue;
		for (size_t i = 0; i < app->current->spec.domains.n; i++, n++)
			put_app_route(&a.o, c, app, app->current->spec.domains.items[i]);
	}
	LIST_FOR_EACH(h, cluster_statics(cluster), struct host, link) {
		put_static(&a.o, c, h);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

/* "host" or "host/path", checked; the caller's to free(). NULL after 400 was answered. */
static char *domain_of(struct api_request *r, struct slice host, struct slice path)
{
	const struct control *c = r->app;
	char lower[256];

	if (api_lower(host, lower, sizeof(lower)) || !text_is_host(slice_str(lower))) {
		reply_problem(r, 400, "Validation Error",
			      "\"host\": expected a host name, or \"*.\" and one");
		return NULL;
	}
	if (console_owns(slice_str(lower), c->options->console_host)) {
		reply_problem(r, 409, "Host Taken", "this name is the console's own");
		return NULL;
	}
	if (path.n && (path.p[0] != '/' || path.n > 1024 || memchr(path.p, '?', path.n) ||
		       memchr(path.p, '#', path.n))) {
		reply_problem(r, 400, "Validation Error",
			      "\"path\": expected a path that begins with \"/\"");
		return NULL;
	}
	for (size_t i = 0; i < path.n; i++) {
		if ((unsigned char)path.p[i] <= ' ' || path.p[i] == 0x7f) {
			reply_problem(r, 400, "Validation Error",
				      "\"path\": has a character that no request path can have");
			return NULL;
		}
	}
	if (path.n <= 1)
		return xstrdup(lower);
	return xasprintf("%s%.*s", lower, SLICE_ARG(path));
}

static int check_targets(const struct strs *targets, struct err *err)
{
	struct target *seen = xcalloc(targets->n ? targets->n : 1, sizeof(*seen));
	int rc = 0;

	for (size_t i = 0; !rc && i < targets->n; i++) {
		rc = target_parse(&seen[i], slice_str(targets->items[i]), err);
		for (size_t j = 0; !rc && j < i; j++)
			if (strcmp(seen[i].at.text, seen[j].at.text) == 0)
				rc = err_say(err, -EINVAL, "member \"targets\": %s is there twice",
					     seen[i].at.text);
	}
	free(seen);
	return rc;
}

static int check_route(const struct strs *targets, const struct pairs *policy, struct err *err)
{
	if (!targets->n && !pairs_get(policy, "redirect"))
		return err_say(
			err, -EINVAL,
			"member \"targets\": expected at least one \"http://ADDRESS:PORT\", or policy \"redirect\"");
	return check_targets(targets, err);
}

/* A static route being added, or changed. */
struct write {
	struct command *cmd;
	enum event_type type;
	char *domain;
	struct strs targets;
	struct pairs changes; /* of the policy */
	struct policies_seal *seal;
};

static void write_free(void *arg)
{
	struct write *w = arg;

	policies_seal_cancel(w->seal);
	free(w->domain);
	strs_fini(&w->targets);
	pairs_fini(&w->changes);
	free(w);
}

static const struct pairs *policy_now(const struct control *c, const char *domain)
{
	static const struct pairs none = { 0 };
	const struct host *h = cluster_host(deployer_cluster(c->deployer), domain);

	return h ? &h->policy : &none;
}

static void on_written(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;
	char host[256], path[4097];

	view_split_domain(cmd->text, host, path);
	api_answer_begin(&a);
	json_put_str(&a.o, "host", host);
	json_put_str(&a.o, "path", path);
	policy_put(policy_now(cmd->control, cmd->text), &a.o, "policy");
	api_answer_send(&a, cmd->r, e->kind == REPLY_CREATED ? 201 : 200);
}

/* Merged as late as this, so that of two changes at the same time both are made. */
static void on_sealed(void *arg, struct pairs *changes)
{
	struct write *w = arg;
	struct command *cmd = w->cmd;
	struct cluster_event e = { .type = w->type };
	struct pairs none = { 0 }, policy;

	w->seal = NULL;
	policy_merge(&policy,
		     w->type == EVENT_STATIC_SET ? policy_now(cmd->control, w->domain) : &none,
		     changes);
	e.route = (struct event_static){ cmd->handle, w->domain, w->targets, policy };
	deployer_step(cmd->control->deployer, &e);
	pairs_fini(&policy);
	pairs_fini(changes);
}

static void write_begin(struct api_request *r, struct write *w)
{
	struct command *cmd = command_begin(r, on_written);
	struct pairs changes = w->changes;
	int rc;

	if (!cmd) {
		write_free(w);
		return;
	}
	w->cmd = cmd;
	w->changes = (struct pairs){ 0 };
	cmd->state = w;
	cmd->state_free = write_free;
	cmd->text = xstrdup(w->domain);
	w->seal = policies_seal(cmd->control->work, &changes,
				policy_now(cmd->control, w->domain), on_sealed, w, &rc);
	if (rc) {
		reply_field(r, "Retry-After", "5");
		reply_problem(r, 503, "Busy", "too many passwords are being hashed");
		command_drop(cmd);
	}
}

/* What a static route may not be: an app's. */
static bool refuse_app(struct api_request *r, const char *domain, const char *instead)
{
	const struct control *c = r->app;
	const struct host *owner = cluster_host(deployer_cluster(c->deployer), domain);
	char detail[512];

	if (!owner || !owner->app)
		return false;
	snprintf(detail, sizeof(detail), "this route belongs to app %s: %s", owner->app->name,
		 instead);
	reply_problem(r, 409, "Route Of An App", detail);
	return true;
}

static void write_route(struct api_request *r, enum event_type type, const struct json *j)
{
	struct write *w = xcalloc(1, sizeof(*w));
	bool add = type == EVENT_STATIC_ADD;
	struct slice host, path = { 0 };
	struct pairs none = { 0 };
	struct err err;
	int rc = json_want_str(j, "path", 1024, &path, &err);

	w->type = type;
	if (json_want_str(j, "host", 255, &host, &err)) {
		reply_problem(r, 400, "Validation Error", "member \"host\": expected a host name");
	} else if (rc && rc != -ENOENT) {
		api_invalid(r, &err);
	} else if (!(w->domain = domain_of(r, host, path)) ||
		   (!add && refuse_app(r, w->domain, "deploy it with other policies"))) {
		/* answered */
	} else if (policies_read(&w->changes, add ? &none : policy_now(r->app, w->domain), j,
				 &err) ||
		   strs_load(&w->targets, j, "targets", TARGETS_MAX, &err) ||
		   (add ? check_route(&w->targets, &w->changes, &err)
			: check_targets(&w->targets, &err))) {
		api_invalid(r, &err);
	} else {
		write_begin(r, w);
		return;
	}
	write_free(w);
}

void api_routes_add(struct api_request *r)
{
	struct json *j = api_object(r);

	if (j)
		write_route(r, EVENT_STATIC_ADD, j);
	json_free(j);
}

void api_routes_set(struct api_request *r)
{
	struct json *j = api_object(r);

	if (j)
		write_route(r, EVENT_STATIC_SET, j);
	json_free(j);
}

static void on_removed(struct command *cmd, const struct effect_reply *e)
{
	(void)e;
	reply_empty(cmd->r, 204);
}

void api_routes_remove(struct api_request *r)
{
	struct cluster_event e = { .type = EVENT_STATIC_REMOVE };
	char host[256], path[1100] = "";
	struct command *cmd;
	char *domain;

	if (api_query(r, "host", host, sizeof(host))) {
		reply_problem(r, 400, "Validation Error",
			      "the query must name the route: ?host=…&path=…");
		return;
	}
	(void)!api_query(r, "path", path, sizeof(path));
	domain = domain_of(r, slice_str(host), slice_str(path));
	if (!domain)
		return;
	if (refuse_app(r, domain, "deploy it without the domain, or remove the app")) {
		/* answered */
	} else if ((cmd = command_begin(r, on_removed))) {
		e.route = (struct event_static){ .reply = cmd->handle, .host = domain };
		deployer_step(cmd->control->deployer, &e);
	}
	free(domain);
}
