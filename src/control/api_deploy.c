/* API, POST /api/apps/{app}/deploy: a body of wishes on top of what the app's latest release had.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/api.h"
#include "control/console.h"
#include "control/deployer.h"
#include "control/explain.h"
#include "control/links.h"
#include "control/policies.h"
#include "control/variables.h"
#include "control/view.h"
#include "proxy/policy.h"

#define PORT_DEFAULT 8080
#define HEALTH_LIMIT_MAX_S 3600
#define GRACE_MAX_S 3600
#define DRAIN_MAX_S 86400
#define CPUS_MAX 4096.0

/* A specification that borrows: texts from the request's document or from the previous release,
 * arrays from here. */
struct wish {
	struct app_spec spec;
	struct strs domains, command, pre_deploy, health_command, nodes, affinity, anti_affinity;
	struct pairs env, secrets, policy, volumes;
	int64_t canary; /* percent; of this deploy alone */
	struct constraint *labels;
	size_t labels_n;
	bool names_image;
	bool replace; /* what is not named has its default */
};

static void wish_fini(struct wish *w)
{
	strs_fini(&w->domains);
	strs_fini(&w->command);
	strs_fini(&w->pre_deploy);
	strs_fini(&w->health_command);
	strs_fini(&w->nodes);
	strs_fini(&w->affinity);
	strs_fini(&w->anti_affinity);
	pairs_fini(&w->env);
	pairs_fini(&w->secrets);
	pairs_fini(&w->policy);
	pairs_fini(&w->volumes);
	for (size_t i = 0; i < w->labels_n; i++)
		strs_fini(&w->labels[i].values);
	free(w->labels);
}

static bool given(const struct json *j, const char *name)
{
	enum json_type t = json_type(json_get(j, name));

	return t != JSON_ABSENT && t != JSON_NULL;
}

static int want_text(const struct json *j, const char *name, const char **out, struct err *err)
{
	struct slice s;
	int rc = json_want_str(j, name, SPEC_TEXT_MAX, &s, err);

	if (!rc)
		*out = s.p;
	return rc == -ENOENT ? 0 : rc;
}

static int want_int(const struct json *j, const char *name, int64_t min, int64_t max, int64_t *out,
		    struct err *err)
{
	int rc = json_want_int(j, name, min, max, out, err);

	return rc == -ENOENT ? 0 : rc;
}

static int want_bool(const struct json *j, const char *name, bool *out, struct err *err)
{
	int rc = json_want_bool(j, name, out, err);

	return rc == -ENOENT ? 0 : rc;
}

static int want_numbers(const struct json *j, struct app_spec *s, struct err *err)
{
	int64_t replicas = s->replicas, port = s->port, memory = (int64_t)s->memory_bytes;
	int64_t disk = (int64_t)s->disk_bytes, gpus = s->gpus, surge = s->max_surge;
	int64_t start_s = s->health_start_ms / 1000;
	int64_t requests_s = s->request_drain_ms / 1000, tunnels_s = s->tunnel_drain_ms / 1000;
	int64_t health_s = s->health_limit_ms / 1000, grace_s = s->stop_grace_s;
	double cpus = s->cpu_millis / 1000.0;
	int rc = json_want_real(j, "cpus", 0, CPUS_MAX, &cpus, err);

	if ((rc && rc != -ENOENT) ||
	    want_int(j, "replicas", 1, SPEC_REPLICAS_MAX, &replicas, err) ||
	    want_int(j, "port", 0, 65535, &port, err) ||
	    want_int(j, "memory_bytes", 0, INT64_MAX / 2, &memory, err) ||
	    want_int(j, "disk_bytes", 0, INT64_MAX / 2, &disk, err) ||
	    want_int(j, "gpus", 0, SPEC_GPUS_MAX, &gpus, err) ||
	    want_int(j, "health_timeout_s", 0, HEALTH_LIMIT_MAX_S, &health_s, err) ||
	    want_int(j, "health_start_s", 0, HEALTH_LIMIT_MAX_S, &start_s, err) ||
	    want_int(j, "request_drain_s", 0, DRAIN_MAX_S, &requests_s, err) ||
	    want_int(j, "tunnel_drain_s", 0, DRAIN_MAX_S, &tunnels_s, err) ||
	    want_int(j, "max_surge", 0, SPEC_REPLICAS_MAX, &surge, err) ||
	    want_int(j, "stop_grace_s", 0, GRACE_MAX_S, &grace_s, err))
		return -EINVAL;
	s->replicas = (uint32_t)replicas;
	s->port = (uint16_t)port;
	s->memory_bytes = (uint64_t)memory;
	s->disk_bytes = (uint64_t)disk;
	s->gpus = (uint32_t)gpus;
	s->max_surge = (uint32_t)surge;
	s->health_start_ms = (uint32_t)start_s * 1000;
	s->request_drain_ms = (uint32_t)requests_s * 1000;
	s->tunnel_drain_ms = (uint32_t)tunnels_s * 1000;
	s->cpu_millis = (uint32_t)(cpus * 1000 + 0.5);
	s->health_limit_ms = (uint32_t)health_s * 1000;
	s->stop_grace_s = (uint32_t)grace_s;
	return 0;
}

static void one_value(struct constraint *c, const char *key, const char *value)
{
	c->key = key;
	c->values.items = xcalloc(1, sizeof(*c->values.items));
	c->values.items[0] = xstrdup(value);
	c->values.n = 1;
}

/* {"region": ["eu-west", "eu-north"], "gpu": "true"} */
static int add_labels(const struct json *labels, struct wish *w, struct err *err)
{
	const struct json *value;
	struct slice key;
	void *it = NULL;
	int rc = 0;

	while (!rc && json_next(labels, &it, &key, &value)) {
		struct constraint *c = &w->labels[w->labels_n++];

		c->key = key.p;
		if (json_type(value) == JSON_STRING)
			one_value(c, key.p, json_cstr(value, ""));
		else
			rc = strs_load(&c->values, labels, key.p, SPEC_LABELS_MAX, err);
	}
	return rc;
}

/* ["gpu", "large-memory"]: a tag is a label with the value "true". */
static int add_tags(const struct json *tags, struct wish *w, struct err *err)
{
	for (size_t i = 0; i < json_len(tags); i++) {
		const char *tag = json_cstr(json_at(tags, i), "");

		if (!*tag)
			return err_say(err, -EINVAL, "member \"target_tags\": expected names of tags");
		one_value(&w->labels[w->labels_n++], tag, "true");
	}
	return 0;
}

/* "labels", and "target_tags" as another word for them that may also be a list of tags. */
static int want_labels(const struct json *j, struct wish *w, struct err *err)
{
	const struct json *labels = json_get(j, "labels"), *tags = json_get(j, "target_tags");
	bool list = json_type(tags) == JSON_ARRAY;
	int rc;

	if ((given(j, "labels") && json_type(labels) != JSON_OBJECT) ||
	    (given(j, "target_tags") && !list && json_type(tags) != JSON_OBJECT) ||
	    json_len(labels) + json_len(tags) > SPEC_LABELS_MAX)
		return err_say(err, -EINVAL,
			       "members \"labels\" and \"target_tags\": expected an object of at most "
			       "%u members; tags may be a list",
			       SPEC_LABELS_MAX);
	w->labels = xcalloc(json_len(labels) + json_len(tags) + 1, sizeof(*w->labels));
	rc = add_labels(labels, w, err);
	if (!rc)
		rc = list ? add_tags(tags, w, err) : add_labels(tags, w, err);
	w->spec.labels = w->labels;
	w->spec.labels_n = w->labels_n;
	return rc;
}

/* Unlike the other lists it is changed key by key: nobody has to repeat a password. */
static int want_policy(const struct json *j, struct wish *w, struct err *err)
{
	struct pairs changes;
	int rc = policies_read(&changes, &w->spec.policy, j, err);

	if (!rc) {
		policy_merge(&w->policy, &w->spec.policy, &changes);
		w->spec.policy = w->policy;
	}
	pairs_fini(&changes);
	return rc;
}

static int want_lists(const struct control *c, const struct json *j, struct wish *w, struct err *err)
{
	int rc = 0;

	if (given(j, "domains")) {
		rc = strs_load(&w->domains, j, "domains", SPEC_DOMAINS_MAX, err);
		w->spec.domains = w->domains;
	}
	if (!rc && given(j, "command")) {
		rc = strs_load(&w->command, j, "command", SPEC_ARGS_MAX, err);
		w->spec.command = w->command;
	}
	if (!rc && given(j, "pre_deploy")) {
		rc = strs_load(&w->pre_deploy, j, "pre_deploy", SPEC_ARGS_MAX, err);
		w->spec.pre_deploy = w->pre_deploy;
	}
	if (!rc && given(j, "health_command")) {
		rc = strs_load(&w->health_command, j, "health_command", SPEC_ARGS_MAX, err);
		w->spec.health_command = w->health_command;
	}
	if (!rc && given(j, "volumes")) {
		rc = pairs_load(&w->volumes, j, "volumes", SPEC_VOLUMES_MAX, err);
		w->spec.volumes = w->volumes;
	}
	if (!rc && given(j, "nodes")) {
		rc = strs_load(&w->nodes, j, "nodes", SPEC_NODES_MAX, err);
		w->spec.nodes = w->nodes;
	}
	if (!rc && given(j, "affinity")) {
		rc = strs_load(&w->affinity, j, "affinity", SPEC_AFFINITIES_MAX, err);
		w->spec.affinity = w->affinity;
	}
	if (!rc && given(j, "anti_affinity")) {
		rc = strs_load(&w->anti_affinity, j, "anti_affinity", SPEC_AFFINITIES_MAX, err);
		w->spec.anti_affinity = w->anti_affinity;
	}
	if (!rc && given(j, "env")) {
		rc = variables_env(&w->env, &w->spec.env, j, err);
		w->spec.env = w->env;
	}
	if (!rc && given(j, "secrets")) {
		rc = variables_secrets(c, &w->secrets, &w->spec.secrets, j, w->replace, err);
		w->spec.secrets = w->secrets;
	}
	if (!rc && (given(j, "labels") || given(j, "target_tags")))
		rc = want_labels(j, w, err);
	if (!rc)
		rc = want_policy(j, w, err);
	return rc;
}

/* Names that are taken before any app has one. */
static int check_console(const struct control *c, const struct app_spec *s, struct err *err)
{
	for (size_t i = 0; i < s->domains.n; i++)
		if (console_owns(slice_str(s->domains.items[i]), c->options->console_host))
			return err_say(err, -EINVAL, "member \"domains\": %.300s is the console's own name",
				       s->domains.items[i]);
	return 0;
}

static const char *const members[] = {
	"image",       "replicas",     "port",	      "domains",	  "env",
	"cpus",	       "memory_bytes", "health_path", "health_timeout_s", "nodes",
	"labels",      "strategy",     "command",     "stop_grace_s",	  "architecture",
	"policy",      "disk_bytes",   "gpus",	      "affinity",	  "anti_affinity",
	"target_tags", "max_surge",    "stop_first",  "volumes",	  "pre_deploy",
	"canary",      "health_command", "health_start_s",
	"request_drain_s", "tunnel_drain_s", "secrets", "replace", NULL,
};

static int parse(const struct control *c, const struct json *j, struct wish *w, struct err *err)
{
	struct app_spec *s = &w->spec;

	if (api_members(j, members, err) || want_text(j, "image", &s->image, err) ||
	    want_numbers(j, s, err) || want_bool(j, "stop_first", &s->stop_first, err) ||
	    want_int(j, "canary", 1, CANARY_MAX, &w->canary, err) || want_text(j, "health_path", &s->health_path, err) ||
	    want_text(j, "strategy", &s->strategy, err) ||
	    want_text(j, "architecture", &s->architecture, err) || want_lists(c, j, w, err))
		return -EINVAL;
	w->names_image = given(j, "image");
	if (!s->image || !*s->image)
		return err_say(err, -EINVAL, "member \"image\": there is no app of this name yet, and a new one needs it");
	if (s->health_path && !*s->health_path)
		s->health_path = NULL;
	if (s->architecture && !*s->architecture)
		s->architecture = NULL;
	/* The one that is given replaces the other of an earlier release. */
	if (given(j, "health_command") && !given(j, "health_path") && s->health_command.n)
		s->health_path = NULL;
	if (given(j, "health_path") && !given(j, "health_command") && s->health_path)
		s->health_command = (struct strs){ 0 };
	return spec_check(s, err);
}

/* A deploy on its way to the domain. */
struct deploy {
	struct command *cmd;
	struct app_spec spec;	/* owned */
	uint32_t canary;
	char *keep_image_id;	/* the image was not named: it stays the same one; NULL */
	char by[AUTH_WHO_SIZE];
	bool dry_run;
	struct policies_seal *seal; /* its passwords are being hashed */
	struct link *via;
	struct link_op *op;	/* what the image's name means there; NULL: known, or not asked */
};

static void on_deployed(struct command *cmd, const struct effect_reply *e)
{
	const struct app *app = cluster_app(deployer_cluster(cmd->control->deployer), cmd->text);
	const struct release *rel = app ? app_release(app, e->release) : NULL;
	struct api_answer a;

	api_answer_begin(&a);
	json_put_str(&a.o, "app", cmd->text);
	json_put_int(&a.o, "release", e->release);
	json_put_str(&a.o, "status", rel ? view_release_state(rel) : "deploying");
	json_put_bool(&a.o, "unchanged", e->kind == REPLY_OK);
	api_answer_send(&a, cmd->r, 202);
}

static void deploy_free(void *arg)
{
	struct deploy *d = arg;

	policies_seal_cancel(d->seal);
	if (d->op)
		d->via->ops->cancel(d->op);
	spec_fini(&d->spec);
	free(d->keep_image_id);
	free(d);
}

/* <image_id> NULL: what the image's name means now is not known. */
static void deploy_step(struct deploy *d, const char *image_id)
{
	struct command *cmd = d->cmd;
	struct cluster_event e = { .type = EVENT_DEPLOY };

	if (d->dry_run) {
		explain_deploy(cmd->r, cmd->text, &d->spec, image_id);
		return;
	}
	e.deploy = (struct event_deploy){ .reply = cmd->handle,
					  .app = cmd->text,
					  .spec = &d->spec,
					  .image_id = image_id,
					  .canary = d->canary,
					  .keep_image_id = d->keep_image_id,
					  .by = d->by };
	deployer_step(cmd->control->deployer, &e);
}

static void on_resolved(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct deploy *d = arg;

	d->op = NULL;
	deploy_step(d, res->rc ? NULL : image->id);
}

/* This machine's engine, if it runs what is asked for already: a tag may mean another image by now
 * where people build. (A worker's tag moves only when a release pulls it.) */
static struct link *way_to_ask(const struct control *c, const struct app *app,
			       const struct app_spec *spec)
{
	char hash[SPEC_HASH_LEN + 1];

	if (!app || !app->current || app->rolling)
		return NULL;
	spec_hash(spec, hash);
	if (strcmp(hash, app->current->spec_hash) != 0)
		return NULL;
	LIST_FOR_EACH(r, &app->replicas, struct replica, link) {
		if (r->release == app->current && r->node->id == NODE_LOCAL_ID)
			return links_get(c->links, NODE_LOCAL_ID);
	}
	return NULL;
}

static void on_sealed(void *arg, struct pairs *policy)
{
	struct deploy *d = arg;
	const struct control *c = d->cmd->control;
	const struct app *app = cluster_app(deployer_cluster(c->deployer), d->cmd->text);

	d->seal = NULL;
	d->spec.policy = *policy;
	d->via = d->keep_image_id ? NULL : way_to_ask(c, app, &d->spec);
	if (d->via)
		d->op = d->via->ops->image_inspect(d->via, d->spec.image, on_resolved, d);
	else
		deploy_step(d, NULL);
}

/* <base>: the release whose values omitted members keep, or NULL. */
static void deploy_begin(struct command *cmd, const struct wish *w, const struct release *base, bool dry_run)
{
	static const struct pairs none = { 0 };
	const struct app_spec *spec = &w->spec;
	const struct pairs *kept = base ? &base->spec.policy : &none;
	struct deploy *d = xcalloc(1, sizeof(*d));
	struct pairs policy;
	int rc;

	d->cmd = cmd;
	d->canary = (uint32_t)w->canary;
	auth_who(cmd->r, d->by);
	d->dry_run = dry_run;
	if (base && !w->names_image && *base->image_id)
		d->keep_image_id = xstrdup(base->image_id);
	spec_copy(&d->spec, spec);
	cmd->state = d;
	cmd->state_free = deploy_free;
	policy = d->spec.policy;
	d->spec.policy = (struct pairs){ 0 };
	d->seal = policies_seal(cmd->control->work, &policy, kept, on_sealed, d, &rc);
	if (rc) {
		reply_field(cmd->r, "Retry-After", "5");
		reply_problem(cmd->r, 503, "Busy", "too many passwords are being hashed");
		command_drop(cmd);
	}
}

/* What omitted members keep: the newest release that has not failed. */
static const struct release *base_of(const struct app *app)
{
	if (!app)
		return NULL;
	return app->rolling   ? app->rolling
	       : app->current ? app->current
			      : LIST_LAST(&app->releases, struct release, link);
}

/* What no file says: it is not the file that scales, and a secret's value need not be in it. */
static struct app_spec lasting(const struct app_spec *s)
{
	return (struct app_spec){ .replicas = s->replicas, .port = PORT_DEFAULT, .secrets = s->secrets };
}

/* What <j> wishes of an app on top of <base>; false after 400 was answered. <w> is the caller's to wish_fini() in
 * either case. */
static bool read_wish(struct api_request *r, const struct release *base, const struct json *j, struct wish *w)
{
	struct err err;
	int rc;

	*w = (struct wish){ .spec = { .replicas = 1, .port = PORT_DEFAULT } };
	rc = json_want_bool(j, "replace", &w->replace, &err);
	if (base)
		w->spec = w->replace ? lasting(&base->spec) : base->spec;
	if ((!rc || rc == -ENOENT) && !parse(r->app, j, w, &err) && !check_console(r->app, &w->spec, &err))
		return true;
	api_invalid(r, &err);
	return false;
}

/* <dry_run>: says what it would do, and does nothing. */
static void deploy(struct api_request *r, const char *name, const struct json *j, bool dry_run)
{
	const struct control *c = r->app;
	const struct app *app = cluster_app(deployer_cluster(c->deployer), name);
	const struct release *base = base_of(app);
	struct command *cmd;
	struct wish w;

	if (read_wish(r, base, j, &w) && (cmd = command_begin(r, on_deployed))) {
		cmd->text = xstrdup(name);
		deploy_begin(cmd, &w, base, dry_run);
	}
	wish_fini(&w);
}

/* {"scale":N} alone, or the members of a deploy. */
static void plan(struct api_request *r, const char *name, const struct json *j)
{
	const struct control *c = r->app;
	const struct app *app = cluster_app(deployer_cluster(c->deployer), name);
	int64_t replicas = 0;
	struct err err;

	if (!given(j, "scale")) {
		deploy(r, name, j, true);
	} else if (json_want_int(j, "scale", 1, SPEC_REPLICAS_MAX, &replicas, &err)) {
		api_invalid(r, &err);
	} else if (json_len(j) > 1) {
		err_say(&err, -EINVAL, "member \"scale\": goes alone; \"replicas\" is a deploy's");
		api_invalid(r, &err);
	} else if (!app) {
		api_no_app(r);
	} else {
		explain_scale(r, app, (uint32_t)replicas);
	}
}

/* An app's name and a body for <then>. */
static void with_body(struct api_request *r,
		      void (*then)(struct api_request *r, const char *name, const struct json *j))
{
	char name[APP_NAME_MAX + 1];
	struct json *j;

	if (slice_copy(r->params[0], name, sizeof(name)) || !text_is_app_name(slice_str(name))) {
		reply_problem(
			r, 400, "Validation Error",
			"an app's name is 1 to 50 lower-case letters, digits and \"-\", beginning with a letter or digit");
		return;
	}
	j = api_object(r);
	if (j)
		then(r, name, j);
	json_free(j);
}

static void deploy_now(struct api_request *r, const char *name, const struct json *j)
{
	deploy(r, name, j, false);
}

void api_app_deploy(struct api_request *r)
{
	with_body(r, deploy_now);
}

void api_app_plan(struct api_request *r)
{
	with_body(r, plan);
}
