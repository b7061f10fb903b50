/* API: join tokens, API keys and registry credentials. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/api.h"
#include "control/deployer.h"
#include "control/registry.h"
#include "reactor/crypto.h"
#include "reactor/pki.h"

#define TTL_DEFAULT_S 3600
#define TTL_MAX_S (3650 * 86400)
#define SECRET_BYTES 32

/* "<fingerprint of the cluster CA>.<secret>"; <hash> is that of the secret alone. */
static char *make_join_token(const struct control *c, char hash[65])
{
	char secret[2 * SECRET_BYTES + 1], fingerprint[65];
	char *token;

	if (pki_fingerprint(c->cluster_ca.cert_pem, fingerprint, NULL))
		fingerprint[0] = '\0';
	crypto_random_hex(secret, SECRET_BYTES);
	crypto_sha256_hex(slice_str(secret), hash);
	token = xasprintf("%s.%s", fingerprint, secret);
	crypto_wipe(secret, sizeof(secret));
	return token;
}

/* ---- the one token of the settings page ---- */

static void on_shared_made(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;

	(void)e;
	api_answer_begin(&a);
	json_put_str(&a.o, "token", cmd->secret);
	json_put_str(&a.o, "message",
		     "Join token generated. It is shown once; an earlier one is no longer valid.");
	api_answer_send(&a, cmd->r, 200);
}

void api_settings_token(struct api_request *r)
{
	struct command *cmd = command_begin(r, on_shared_made);
	struct cluster_event e = { .type = EVENT_JOIN_TOKEN_CREATE };
	char hash[65];

	if (!cmd)
		return;
	cmd->secret = make_join_token(cmd->control, hash);
	e.join_token_create = (struct event_join_token_create){ .reply = cmd->handle,
								.hash = hash,
								.shared = true };
	deployer_step(cmd->control->deployer, &e);
}

static void on_shared_revoked(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;

	(void)e;
	api_answer_begin(&a);
	json_put_str(&a.o, "message", "Join token revoked.");
	api_answer_send(&a, cmd->r, 200);
}

void api_settings_token_revoke(struct api_request *r)
{
	struct command *cmd = command_begin(r, on_shared_revoked);
	struct cluster_event e = { .type = EVENT_JOIN_TOKEN_REVOKE };

	if (!cmd)
		return;
	e.revoke = (struct event_revoke){ .reply = cmd->handle, .id = NULL };
	deployer_step(cmd->control->deployer, &e);
}

void api_settings_token_status(struct api_request *r)
{
	const struct control *c = r->app;
	bool has = false;
	struct api_answer a;

	LIST_FOR_EACH(t, cluster_join_tokens(deployer_cluster(c->deployer)), struct join_token,
		      link)
		has |= t->shared;
	api_answer_begin(&a);
	json_put_bool(&a.o, "has_token", has);
	api_answer_send(&a, r, 200);
}

/* ---- join tokens ---- */

void api_join_tokens(struct api_request *r)
{
	const struct control *c = r->app;
	struct api_answer a;
	int64_t n = 0;

	api_answer_begin(&a);
	json_arr(&a.o, "items");
	LIST_FOR_EACH(t, cluster_join_tokens(deployer_cluster(c->deployer)), struct join_token,
		      link) {
		json_obj(&a.o, NULL);
		json_put_str(&a.o, "id", t->id);
		json_put_time(&a.o, "created_at", t->created_wall_ms);
		json_put_time(&a.o, "expires_at", t->expires_wall_ms);
		json_put_bool(&a.o, "once", t->once);
		json_put_int(&a.o, "used", t->used);
		json_put_str(&a.o, "name", *t->name ? t->name : NULL);
		pairs_put(&t->labels, &a.o, "labels");
		json_obj_end(&a.o);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

static void on_token_made(struct command *cmd, const struct effect_reply *e)
{
	const struct control *c = cmd->control;
	uint64_t expires_ms = 0;
	char *command = xasprintf("temps join %s %s --private-address WORKER-IP", c->join_url,
				  cmd->secret);
	struct api_answer a;

	LIST_FOR_EACH(t, cluster_join_tokens(deployer_cluster(c->deployer)), struct join_token,
		      link)
		if (strcmp(t->id, e->id) == 0)
			expires_ms = t->expires_wall_ms;
	api_answer_begin(&a);
	json_put_str(&a.o, "id", e->id);
	json_put_str(&a.o, "token", cmd->secret);
	json_put_time(&a.o, "expires_at", expires_ms);
	json_put_str(&a.o, "command", command);
	api_answer_send(&a, cmd->r, 201);
	crypto_wipe(command, strlen(command));
	free(command);
}

/* -ENOENT is an absent member: the default stays. */
static bool bad(int rc)
{
	return rc && rc != -ENOENT;
}

static void token_create(struct api_request *r, const struct json *j)
{
	struct cluster_event e = { .type = EVENT_JOIN_TOKEN_CREATE };
	struct event_join_token_create *create = &e.join_token_create;
	int64_t ttl_s = TTL_DEFAULT_S;
	struct slice name = { 0 };
	struct command *cmd;
	char hash[65];
	struct err err;

	if (bad(json_want_int(j, "ttl_s", 0, TTL_MAX_S, &ttl_s, &err)) ||
	    bad(json_want_bool(j, "once", &create->once, &err)) ||
	    bad(json_want_str(j, "name", NODE_NAME_MAX, &name, &err)) ||
	    api_labels(&create->labels, j, &err)) {
		api_invalid(r, &err);
		return;
	}
	if (name.n && !text_is_name(name)) {
		reply_problem(r, 400, "Validation Error", "member \"name\": not a name for a node");
	} else if ((cmd = command_begin(r, on_token_made))) {
		cmd->secret = make_join_token(cmd->control, hash);
		create->reply = cmd->handle;
		create->hash = hash;
		create->ttl_ms = (uint64_t)ttl_s * 1000;
		create->name = name.n ? name.p : NULL;
		deployer_step(cmd->control->deployer, &e);
	}
	pairs_fini(&create->labels);
}

void api_join_token_create(struct api_request *r)
{
	struct json *j = api_object(r);

	if (j)
		token_create(r, j);
	json_free(j);
}

static void on_done(struct command *cmd, const struct effect_reply *e)
{
	(void)e;
	reply_empty(cmd->r, 204);
}

static void revoke(struct api_request *r, enum event_type type)
{
	struct cluster_event e = { .type = type };
	struct command *cmd;
	char id[128];

	if (slice_copy(r->params[0], id, sizeof(id))) {
		reply_problem(r, 404, "Not Found", "no such id");
		return;
	}
	cmd = command_begin(r, on_done);
	if (!cmd)
		return;
	e.revoke = (struct event_revoke){ .reply = cmd->handle, .id = id };
	deployer_step(cmd->control->deployer, &e);
}

void api_join_token_revoke(struct api_request *r)
{
	revoke(r, EVENT_JOIN_TOKEN_REVOKE);
}

/* ---- API keys ---- */

void api_keys(struct api_request *r)
{
	const struct control *c = r->app;
	struct api_answer a;
	int64_t n = 0;

	api_answer_begin(&a);
	json_arr(&a.o, "items");
	LIST_FOR_EACH(k, cluster_api_keys(deployer_cluster(c->deployer)), struct api_key, link) {
		json_obj(&a.o, NULL);
		json_put_str(&a.o, "id", k->id);
		json_put_str(&a.o, "name", k->name);
		json_put_str(&a.o, "scope", k->scope);
		json_put_time(&a.o, "created_at", k->created_wall_ms);
		json_obj_end(&a.o);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

static void on_key_made(struct command *cmd, const struct effect_reply *e)
{
	const struct control *c = cmd->control;
	struct api_answer a;

	api_answer_begin(&a);
	json_put_str(&a.o, "id", e->id);
	json_put_str(&a.o, "key", cmd->secret);
	LIST_FOR_EACH(k, cluster_api_keys(deployer_cluster(c->deployer)), struct api_key, link) {
		if (strcmp(k->id, e->id) == 0) {
			json_put_str(&a.o, "name", k->name);
			json_put_str(&a.o, "scope", k->scope);
		}
	}
	api_answer_send(&a, cmd->r, 201);
}

static void key_create(struct api_request *r, const struct json *j)
{
	struct cluster_event e = { .type = EVENT_API_KEY_CREATE };
	struct slice name, scope;
	struct command *cmd;
	char hash[65];
	struct err err;

	if (json_want_str(j, "name", 64, &name, &err) || !text_is_name(name)) {
		reply_problem(
			r, 400, "Validation Error",
			"member \"name\": expected 1 to 64 letters, digits, \".\", \"_\" or \"-\"");
		return;
	}
	if (json_want_str(j, "scope", 16, &scope, &err) || auth_scope(scope.p) == SCOPE_NONE) {
		reply_problem(r, 400, "Validation Error",
			      "member \"scope\": expected read, write or admin");
		return;
	}
	cmd = command_begin(r, on_key_made);
	if (!cmd)
		return;
	cmd->secret = api_key_make(hash);
	e.api_key_create = (struct event_api_key_create){ cmd->handle, hash, name.p, scope.p };
	deployer_step(cmd->control->deployer, &e);
}

char *api_key_make(char hash[65])
{
	char secret[2 * SECRET_BYTES + 1];
	char *key;

	crypto_random_hex(secret, SECRET_BYTES);
	key = xasprintf("tk_%s", secret);
	crypto_sha256_hex(slice_str(key), hash);
	crypto_wipe(secret, sizeof(secret));
	return key;
}

void api_key_create(struct api_request *r)
{
	struct json *j = api_object(r);

	if (j)
		key_create(r, j);
	json_free(j);
}

void api_key_revoke(struct api_request *r)
{
	revoke(r, EVENT_API_KEY_REVOKE);
}

/* ---- registries ---- */

void api_registries(struct api_request *r)
{
	const struct control *c = r->app;
	struct api_answer a;
	int64_t n = 0;

	api_answer_begin(&a);
	json_arr(&a.o, "items");
	LIST_FOR_EACH(reg, cluster_registries(deployer_cluster(c->deployer)), struct registry,
		      link) {
		struct json *value;

		if (json_parse(&value, slice_str(reg->value), NULL))
			value = NULL;
		json_obj(&a.o, NULL);
		json_put_str(&a.o, "server", reg->server);
		json_put_slice(&a.o, "username", json_str(json_get(value, "username"), ""));
		json_obj_end(&a.o);
		json_free(value);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

static void registry_set(struct api_request *r, const char *server, const struct json *j)
{
	struct cluster_event e = { .type = EVENT_REGISTRY_ADD };
	struct slice username, password;
	struct command *cmd;
	struct buf value;
	struct err err;

	if (json_want_str(j, "username", 256, &username, &err) ||
	    json_want_str(j, "password", 16384, &password, &err)) {
		reply_problem(r, 400, "Validation Error",
			      "expected the strings \"username\" and \"password\"");
		return;
	}
	cmd = command_begin(r, on_done);
	if (!cmd)
		return;
	buf_init(&value, 0);
	if (registry_value(cmd->control, username, password, &value)) {
		command_drop(cmd);
		reply_problem(r, 500, "Internal Error", "the password could not be sealed");
	} else {
		e.registry = (struct event_registry){ cmd->handle, server, value.data };
		deployer_step(cmd->control->deployer, &e);
	}
	buf_fini(&value);
}

/* "registry.example.test:5000": what may stand before the first '/' of an image reference. */
static int server_name(struct api_request *r, char *out, size_t size)
{
	if (!api_lower(r->params[0], out, size) && *out &&
	    strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") == strlen(out))
		return 0;
	reply_problem(r, 400, "Validation Error",
		      "a registry is named by its host and port, as in image references");
	return -EINVAL;
}

void api_registry_set(struct api_request *r)
{
	char server[256];
	struct json *j;

	if (server_name(r, server, sizeof(server)))
		return;
	j = api_object(r);
	if (j)
		registry_set(r, server, j);
	json_free(j);
}

void api_registry_remove(struct api_request *r)
{
	struct cluster_event e = { .type = EVENT_REGISTRY_REMOVE };
	struct command *cmd;
	char server[256];

	if (server_name(r, server, sizeof(server)))
		return;
	cmd = command_begin(r, on_done);
	if (!cmd)
		return;
	e.registry = (struct event_registry){ cmd->handle, server, NULL };
	deployer_step(cmd->control->deployer, &e);
}
