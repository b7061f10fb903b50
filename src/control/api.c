/* The table of the API, and what its handlers share. */
#include "control/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/deployer.h"
#include "control/upgrade.h"
#include "reactor/crypto.h"

#define QUERY_MAX_BYTES 4096

const struct api_route api_routes[] = {
	{ "GET", "/health", SCOPE_PUBLIC, 0, api_health },
	{ "GET", "/health/live", SCOPE_PUBLIC, 0, api_health_live },
	{ "GET", "/health/ready", SCOPE_PUBLIC, 0, api_health_ready },
	{ "GET", "/api/status", SCOPE_READ, 0, api_status },
	{ "GET", "/metrics", SCOPE_READ, 0, api_metrics },
	{ "GET", "/api/top", SCOPE_READ, 0, api_top },
	{ "GET", "/api/events", SCOPE_READ, 0, api_events },

	{ "POST", "/api/upgrade", SCOPE_ADMIN, 0, api_upgrade },

	{ "GET", "/api/internal/ca", SCOPE_PUBLIC, 0, api_ca },
	{ "POST", "/api/internal/nodes/register", SCOPE_JOIN, API_JOIN_MAX, api_node_register },
	{ "POST", "/api/internal/nodes/{id}/heartbeat", SCOPE_NODE, API_BEAT_MAX,
	  api_node_heartbeat },
	{ "POST", "/api/internal/nodes/{id}/certificate", SCOPE_NODE, API_BODY_MAX,
	  api_node_certificate },
	{ "GET", "/api/internal/nodes", SCOPE_READ, 0, api_nodes },
	{ "GET", "/api/internal/nodes/{id}", SCOPE_READ, 0, api_node },
	{ "GET", "/api/internal/nodes/{id}/containers", SCOPE_READ, 0, api_node_containers },
	{ "DELETE", "/api/internal/nodes/{id}", SCOPE_WRITE, 0, api_node_delete },
	{ "POST", "/api/internal/nodes/{id}/drain", SCOPE_WRITE, API_BODY_MAX, api_node_drain },
	{ "GET", "/api/internal/nodes/{id}/drain", SCOPE_READ, 0, api_node_drain_status },
	{ "DELETE", "/api/internal/nodes/{id}/drain", SCOPE_WRITE, 0, api_node_undrain },
	{ "GET", "/api/internal/nodes/{id}/quarantine", SCOPE_READ, 0, api_node_quarantine },
	{ "POST", "/api/internal/nodes/{id}/gc", SCOPE_WRITE, API_BODY_MAX, api_node_gc },
	{ "POST", "/api/internal/nodes/failover", SCOPE_WRITE, API_BODY_MAX, api_failover },
	{ "GET", "/api/rebalance", SCOPE_READ, 0, api_rebalance_plan },
	{ "POST", "/api/rebalance", SCOPE_WRITE, API_BODY_MAX, api_rebalance },

	{ "GET", "/api/apps", SCOPE_READ, 0, api_apps },
	{ "GET", "/api/apps/{app}", SCOPE_READ, 0, api_app },
	{ "DELETE", "/api/apps/{app}", SCOPE_WRITE, 0, api_app_delete },
	{ "POST", "/api/apps/{app}/deploy", SCOPE_WRITE, API_BODY_MAX, api_app_deploy },
	{ "POST", "/api/apps/{app}/plan", SCOPE_READ, API_BODY_MAX, api_app_plan },
	{ "GET", "/api/apps/{app}/explain", SCOPE_READ, 0, api_app_explain },
	{ "POST", "/api/apps/{app}/scale", SCOPE_WRITE, API_BODY_MAX, api_app_scale },
	{ "POST", "/api/apps/{app}/restart", SCOPE_WRITE, API_BODY_MAX, api_app_restart },
	{ "POST", "/api/apps/{app}/rollback", SCOPE_WRITE, API_BODY_MAX, api_app_rollback },
	{ "POST", "/api/apps/{app}/promote", SCOPE_WRITE, API_BODY_MAX, api_app_promote },
	{ "POST", "/api/apps/{app}/abort", SCOPE_WRITE, API_BODY_MAX, api_app_abort },
	{ "POST", "/api/apps/{app}/pause", SCOPE_WRITE, API_BODY_MAX, api_app_pause },
	{ "POST", "/api/apps/{app}/resume", SCOPE_WRITE, API_BODY_MAX, api_app_resume },
	{ "POST", "/api/apps/{app}/lock", SCOPE_WRITE, API_BODY_MAX, api_app_lock },
	{ "POST", "/api/apps/{app}/unlock", SCOPE_WRITE, API_BODY_MAX, api_app_unlock },
	{ "GET", "/api/apps/{app}/releases", SCOPE_READ, 0, api_app_releases },
	{ "GET", "/api/apps/{app}/releases/{n}", SCOPE_READ, 0, api_app_release },
	{ "GET", "/api/apps/{app}/replicas", SCOPE_READ, 0, api_app_replicas },
	{ "GET", "/api/apps/{app}/logs", SCOPE_READ, 0, api_app_logs },

	{ "GET", "/api/routes", SCOPE_READ, 0, api_routes_list },
	{ "POST", "/api/routes", SCOPE_WRITE, API_BODY_MAX, api_routes_add },
	{ "PATCH", "/api/routes", SCOPE_WRITE, API_BODY_MAX, api_routes_set },
	{ "DELETE", "/api/routes", SCOPE_WRITE, 0, api_routes_remove },

	{ "GET", "/api/certs", SCOPE_READ, 0, api_certs },
	{ "PUT", "/api/certs/{name}", SCOPE_ADMIN, API_BODY_MAX, api_cert_set },
	{ "DELETE", "/api/certs/{name}", SCOPE_ADMIN, 0, api_cert_remove },

	{ "POST", "/api/settings/join-token/generate", SCOPE_ADMIN, API_BODY_MAX,
	  api_settings_token },
	{ "DELETE", "/api/settings/join-token", SCOPE_ADMIN, 0, api_settings_token_revoke },
	{ "GET", "/api/settings/join-token/status", SCOPE_READ, 0, api_settings_token_status },
	{ "GET", "/api/join-tokens", SCOPE_ADMIN, 0, api_join_tokens },
	{ "POST", "/api/join-tokens", SCOPE_ADMIN, API_BODY_MAX, api_join_token_create },
	{ "DELETE", "/api/join-tokens/{id}", SCOPE_ADMIN, 0, api_join_token_revoke },
	{ "GET", "/api/api-keys", SCOPE_ADMIN, 0, api_keys },
	{ "POST", "/api/api-keys", SCOPE_ADMIN, API_BODY_MAX, api_key_create },
	{ "DELETE", "/api/api-keys/{id}", SCOPE_ADMIN, 0, api_key_revoke },
	{ "GET", "/api/registries", SCOPE_READ, 0, api_registries },
	{ "PUT", "/api/registries/{server}", SCOPE_ADMIN, API_BODY_MAX, api_registry_set },
	{ "DELETE", "/api/registries/{server}", SCOPE_ADMIN, 0, api_registry_remove },
};

const size_t api_routes_n = ARRAY_LEN(api_routes);

/* ---- reads ---- */

/* A read that waits: an answer must not tell what a power cut could still take back, nor a deploy that is done
 * before its routes are in. So it is made when what came before is stored, and sent when what was decided since,
 * which it may tell of as well, is stored too. */
struct read {
	struct deployer_wait wait;
	struct api_request *r;
	uint64_t failures; /* of the store, when it was made */
};

static struct api_request *read_over(struct read *read)
{
	struct api_request *r = read->r;

	free(read);
	r->state = NULL;
	r->closed = NULL;
	return r;
}

static void on_told_stored(void *arg)
{
	struct read *read = arg;
	const struct control *c = read->r->app;
	bool lost = deployer_stats(c->deployer).failures != read->failures;
	struct api_request *r = read_over(read);

	if (lost) {
		reply_drop(r);
		reply_field(r, "Retry-After", "1");
		reply_problem(r, 503, "Store Unavailable",
			      "what was to be told could not be stored");
	} else {
		reply_release(r);
	}
}

static void on_reader_gone(void *state);

static void on_settled(void *arg)
{
	struct read *read = arg;
	struct api_request *r = read->r;
	struct control *c = r->app;

	r->state = NULL;
	r->closed = NULL;
	reply_hold(r);
	r->route->handle(r);
	if (!reply_is_held(r)) {
		/* It has something to ask first, or streams. */
		free(read);
		reply_release(r);
		return;
	}
	r->state = read;
	r->closed = on_reader_gone;
	read->failures = deployer_stats(c->deployer).failures;
	deployer_when_settled(c->deployer, &read->wait, on_told_stored, read);
}

static void on_reader_gone(void *state)
{
	struct read *read = state;

	deployer_wait_cancel(&read->wait);
	free(read);
}

/* Nothing was done, and may be in a moment. The title tells clients of ours which moment. */
static void refuse_now(struct api_request *r, const char *why)
{
	const struct control *c = r->app;
	bool upgrade = upgrade_refuses(c->upgrade);

	reply_field(r, "Retry-After", upgrade ? "1" : "5");
	reply_problem(r, 503, upgrade ? "Upgrade Under Way" : "Store Unavailable", why);
}

/* For finding out why nothing settles. */
static bool tells_of_now(const struct api_route *r)
{
	return r->handle == api_status || r->handle == api_metrics || r->handle == api_top;
}

static void on_run(struct api_request *r)
{
	struct control *c = r->app;
	const char *refuses = upgrade_refuses(c->upgrade);
	struct read *read;

	/* The process that takes over answers, on another connection. */
	if (refuses && r->route->handle != api_upgrade) {
		refuse_now(r, refuses);
		return;
	}
	if (strcmp(r->route->method, "GET") || r->route->scope == SCOPE_PUBLIC || tells_of_now(r->route)) {
		r->route->handle(r);
		return;
	}
	read = xcalloc(1, sizeof(*read));
	read->r = r;
	r->state = read;
	r->closed = on_reader_gone;
	deployer_when_settled(c->deployer, &read->wait, on_settled, read);
}

int api_open(struct control *c, struct err *err)
{
	struct api_config config = {
		.run = on_run,
		.routes = api_routes,
		.nroutes = api_routes_n,
		.app = c,
		.authorise = auth_check,
		.error = reply_problem,
		.max_query = QUERY_MAX_BYTES,
	};

	return api_create(&c->api, &config, err);
}

/* ---- commands ---- */

static void command_free(struct command *cmd)
{
	if (cmd->secret)
		crypto_wipe(cmd->secret, strlen(cmd->secret));
	free(cmd->secret);
	free(cmd->text);
	if (cmd->state_free)
		cmd->state_free(cmd->state);
	free(cmd);
}

static void on_closed(void *state)
{
	struct command *cmd = state;

	deployer_forget(cmd->control->deployer, cmd->handle);
	command_free(cmd);
}

static const struct {
	unsigned status;
	const char *title;
} refusals[] = {
	[REPLY_INVALID] = { 400, "Validation Error" },
	[REPLY_FORBIDDEN] = { 403, "Forbidden" },
	[REPLY_NOT_FOUND] = { 404, "Not Found" },
	[REPLY_CONFLICT] = { 409, "Conflict" },
	[REPLY_UNPLACEABLE] = { 422, "No Node Fits" },
	[REPLY_LIMIT] = { 507, "Limit Reached" },
};

unsigned api_refusal_status(enum reply_kind kind)
{
	return refusals[kind].status;
}

const char *api_refusal_title(enum reply_kind kind)
{
	return refusals[kind].title;
}

/* Each node and why it may not be used. */
static void put_refused(struct json_out *o, const void *arg)
{
	const struct pairs *refused = arg;

	json_arr(o, "nodes");
	for (size_t i = 0; i < refused->n; i++) {
		json_obj(o, NULL);
		json_put_str(o, "node", refused->items[i].key);
		json_put_str(o, "reason", refused->items[i].value);
		json_obj_end(o);
	}
	json_arr_end(o);
}

static void on_reply(void *arg, const struct effect_reply *e)
{
	struct command *cmd = arg;

	cmd->handle = 0;
	if (!e) {
		refuse_now(cmd->r, deployer_refuses(cmd->control->deployer));
	} else if (e->kind == REPLY_OK || e->kind == REPLY_CREATED) {
		cmd->ok(cmd, e);
	} else {
		reply_problem_with(cmd->r, refusals[e->kind].status,
				   e->title && *e->title ? e->title : refusals[e->kind].title,
				   e->text, e->refused.n ? put_refused : NULL, &e->refused);
	}
}

struct command *command_begin(struct api_request *r, command_ok_fn *ok)
{
	struct control *c = r->app;
	const char *refuses = deployer_refuses(c->deployer);
	struct command *cmd;

	if (refuses) {
		refuse_now(r, refuses);
		return NULL;
	}
	cmd = xcalloc(1, sizeof(*cmd));
	cmd->r = r;
	cmd->control = c;
	cmd->ok = ok;
	cmd->handle = deployer_expect(c->deployer, on_reply, cmd);
	r->state = cmd;
	r->closed = on_closed;
	return cmd;
}

void command_drop(struct command *cmd)
{
	cmd->r->state = NULL;
	cmd->r->closed = NULL;
	deployer_forget(cmd->control->deployer, cmd->handle);
	command_free(cmd);
}

/* ---- bodies and answers ---- */

bool api_is_printable(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	}
	return true;
}

int api_labels(struct pairs *labels, const struct json *j, struct err *err)
{
	int rc = pairs_load(labels, j, "labels", SPEC_LABELS_MAX, err);

	for (size_t i = 0; !rc && i < labels->n; i++) {
		const struct pair *p = &labels->items[i];

		if (!api_is_printable(p->key) || !api_is_printable(p->value))
			rc = err_say(err, -EINVAL, "member \"labels\": has a control character");
	}
	return rc;
}

int api_members(const struct json *j, const char *const *known, struct err *err)
{
	const struct json *value;
	struct slice name;
	void *it = NULL;

	while (json_next(j, &it, &name, &value)) {
		const char *const *k = known;

		while (*k && !slice_eq(name, slice_str(*k)))
			k++;
		if (!*k)
			return err_say(err, -EINVAL, "member \"%.*s\": unknown", SLICE_ARG(name));
	}
	return 0;
}

struct json *api_object(struct api_request *r)
{
	struct json *j;
	struct err err;

	if (json_parse(&j, r->body.n ? r->body : SLICE("{}"), &err)) {
		reply_problem(r, 400, "Invalid JSON", err.text);
		return NULL;
	}
	if (json_type(j) != JSON_OBJECT) {
		json_free(j);
		reply_problem(r, 400, "Invalid JSON", "expected an object");
		return NULL;
	}
	return j;
}

void api_invalid(struct api_request *r, const struct err *err)
{
	reply_problem(r, 400, "Validation Error", err->text);
}

void api_answer_begin(struct api_answer *a)
{
	buf_init(&a->buf, 0);
	json_out_init(&a->o, &a->buf);
	json_obj(&a->o, NULL);
}

void api_answer_send(struct api_answer *a, struct api_request *r, unsigned status)
{
	json_obj_end(&a->o);
	reply_json(r, status, buf_slice(&a->buf));
	buf_fini(&a->buf);
}

int api_lower(struct slice s, char *out, size_t size)
{
	int rc = slice_copy(s, out, size);

	for (char *p = out; !rc && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	return rc;
}
