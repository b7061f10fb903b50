/* Join tokens, API keys and registry credentials. */
#include "sched/token.h"

#include <errno.h>
#include <stdlib.h>

#include "sched/state.h"

static const char *const token_members[] = { "id",     "hash", "created_ms", "expires_ms", "once",
					     "shared", "used", "name",	     "labels",	   NULL };
static const char *const key_members[] = { "id", "hash", "name", "scope", "created_ms", NULL };
static const char *const registry_members[] = { "server", "value", "created_ms", NULL };

bool token_hash_eq(const char *a, const char *b)
{
	unsigned differ = 0;

	if (!a || !b || strlen(a) != HASH_HEX_LEN || strlen(b) != HASH_HEX_LEN)
		return false;
	for (unsigned i = 0; i < HASH_HEX_LEN; i++)
		differ |= (unsigned char)a[i] ^ (unsigned char)b[i];
	return differ == 0;
}

bool token_hash_ok(const char *hash)
{
	return hash && strlen(hash) == HASH_HEX_LEN &&
	       strspn(hash, "0123456789abcdef") == HASH_HEX_LEN;
}

/* ---- join tokens ---- */

static void token_free(struct join_token *t)
{
	list_remove(&t->link);
	pairs_fini(&t->labels);
	json_free(t->extra);
	free(t->name);
	free(t);
}

static void token_drop(struct cluster *c, struct join_token *t)
{
	batch_del(c->batch, "join_token", t->id);
	c->join_tokens_n--;
	token_free(t);
}

static void token_save(struct cluster *c, struct join_token *t)
{
	struct json_out o;
	struct buf buf;

	record_open(&o, &buf);
	json_put_str(&o, "id", t->id);
	json_put_str(&o, "hash", t->hash);
	json_put_int(&o, "created_ms", (int64_t)t->created_wall_ms);
	json_put_int(&o, "expires_ms", (int64_t)t->expires_wall_ms);
	json_put_bool(&o, "once", t->once);
	json_put_bool(&o, "shared", t->shared);
	json_put_int(&o, "used", t->used);
	json_put_str(&o, "name", t->name);
	pairs_put(&t->labels, &o, "labels");
	record_close(c, &o, "join_token", t->id, t->extra, token_members);
}

static int token_load_one(struct cluster *c, struct json **doc, struct err *err)
{
	struct join_token *t = xcalloc(1, sizeof(*t));
	int rc;

	list_push_back(&c->join_tokens, &t->link);
	c->join_tokens_n++;
	t->name = xstrdup("");
	rc = record_text(t->hash, sizeof(t->hash), *doc, "hash", err);
	if (!rc && !token_hash_ok(t->hash))
		rc = err_say(err, -EINVAL, "member \"hash\": not a SHA-256 in hex");
	memcpy(t->id, t->hash, TOKEN_ID_LEN);
	if (!rc)
		rc = record_u64(&t->created_wall_ms, *doc, "created_ms", INT64_MAX, err);
	if (!rc)
		rc = record_u64(&t->expires_wall_ms, *doc, "expires_ms", INT64_MAX, err);
	if (!rc)
		rc = record_bool(&t->once, *doc, "once", err);
	if (!rc)
		rc = record_bool(&t->shared, *doc, "shared", err);
	if (!rc)
		rc = record_u32(&t->used, *doc, "used", UINT32_MAX, err);
	if (!rc)
		rc = record_str(&t->name, *doc, "name", NODE_NAME_MAX, err);
	if (!rc)
		rc = pairs_load(&t->labels, *doc, "labels", LABELS_MAX, err);
	if (!rc)
		record_keep(&t->extra, doc, token_members);
	return rc;
}

static bool is_expired(const struct cluster *c, const struct join_token *t)
{
	return t->expires_wall_ms && c->now.wall_ms >= t->expires_wall_ms;
}

/* Tokens that nobody can use any more make room. */
static void drop_spent(struct cluster *c)
{
	LIST_FOR_EACH_SAFE(t, &c->join_tokens, struct join_token, link) {
		if (is_expired(c, t) || (t->once && t->used))
			token_drop(c, t);
	}
}

static void token_add(struct cluster *c, const struct event_join_token_create *e)
{
	struct join_token *t = xcalloc(1, sizeof(*t));

	memcpy(t->hash, e->hash, HASH_HEX_LEN);
	memcpy(t->id, e->hash, TOKEN_ID_LEN);
	t->created_wall_ms = c->now.wall_ms;
	t->expires_wall_ms = e->ttl_ms ? c->now.wall_ms + e->ttl_ms : 0;
	t->once = e->once;
	t->shared = e->shared;
	t->name = xstrdup(e->name ? e->name : "");
	pairs_copy(&t->labels, &e->labels);
	list_push_back(&c->join_tokens, &t->link);
	c->join_tokens_n++;
	token_save(c, t);
}

static struct join_token *find_token(struct cluster *c, const char *id)
{
	LIST_FOR_EACH(t, &c->join_tokens, struct join_token, link) {
		if (id ? strcmp(t->id, id) == 0 : t->shared)
			return t;
	}
	return NULL;
}

void token_create(struct cluster *c, const struct event_join_token_create *e)
{
	char id[TOKEN_ID_LEN + 1] = "";
	struct effect_reply *reply;
	struct join_token *shared;

	if (!token_hash_ok(e->hash)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error",
			      "the hash is not a SHA-256 in hex");
		return;
	}
	if (e->labels.n > LABELS_MAX) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error", "more than %u labels",
			      LABELS_MAX);
		return;
	}
	memcpy(id, e->hash, TOKEN_ID_LEN);
	if (find_token(c, id)) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Token Exists",
			      "a join token with this id exists: try again");
		return;
	}
	shared = e->shared ? find_token(c, NULL) : NULL;
	if (shared)
		token_drop(c, shared);
	drop_spent(c);
	if (c->join_tokens_n >= JOIN_TOKENS_MAX) {
		cluster_reply(c, e->reply, REPLY_LIMIT, "Too Many Join Tokens",
			      "there are %u join tokens: revoke some with `temps token revoke`",
			      JOIN_TOKENS_MAX);
		return;
	}
	token_add(c, e);
	reply = cluster_reply(c, e->reply, REPLY_CREATED, "", "Join token created");
	if (reply)
		reply->id = batch_str(c->batch, id);
}

void token_revoke(struct cluster *c, const struct event_revoke *e)
{
	struct join_token *t = find_token(c, e->id);

	if (!t) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Token Not Found",
			      "there is no such join token");
		return;
	}
	token_drop(c, t);
	cluster_reply(c, e->reply, REPLY_OK, "", "Join token revoked");
}

struct join_token *token_admit(struct cluster *c, const char *hash, const char *name,
			       const char **title, const char **why)
{
	struct join_token *found = NULL;
	bool any = false;

	LIST_FOR_EACH(t, &c->join_tokens, struct join_token, link) {
		any = any || !(is_expired(c, t) || (t->once && t->used));
		if (hash && token_hash_eq(t->hash, hash))
			found = t;
	}
	*title = "Invalid Join Token";
	if (!found && !any) {
		*title = "Registration Disabled";
		*why = "no join token is valid now: create one with `temps token create`";
	} else if (!hash) {
		*title = "Join Token Required";
		*why = "joining needs a join token: create one with `temps token create`";
	} else if (!found) {
		*why = "the join token is unknown or was revoked";
	} else if (is_expired(c, found)) {
		*why = "the join token has expired";
	} else if (found->once && found->used) {
		*why = "the join token was used already";
	} else if (*found->name && strcmp(found->name, name) != 0) {
		*why = "the join token is for a node of another name";
	} else {
		return found;
	}
	return NULL;
}

void token_use(struct cluster *c, struct join_token *t)
{
	t->used++;
	token_save(c, t);
}

/* ---- API keys ---- */

static void key_free(struct api_key *k)
{
	list_remove(&k->link);
	json_free(k->extra);
	free(k->name);
	free(k->scope);
	free(k);
}

static struct api_key *find_key(struct cluster *c, const char *id)
{
	LIST_FOR_EACH(k, &c->api_keys, struct api_key, link) {
		if (id && strcmp(k->id, id) == 0)
			return k;
	}
	return NULL;
}

static int key_load(struct cluster *c, struct json **doc, struct err *err)
{
	struct api_key *k = xcalloc(1, sizeof(*k));
	int rc;

	list_push_back(&c->api_keys, &k->link);
	c->api_keys_n++;
	k->name = xstrdup("");
	k->scope = xstrdup("");
	rc = record_text(k->hash, sizeof(k->hash), *doc, "hash", err);
	if (!rc && !token_hash_ok(k->hash))
		rc = err_say(err, -EINVAL, "member \"hash\": not a SHA-256 in hex");
	memcpy(k->id, k->hash, TOKEN_ID_LEN);
	if (!rc)
		rc = record_str(&k->name, *doc, "name", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_str(&k->scope, *doc, "scope", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_u64(&k->created_wall_ms, *doc, "created_ms", INT64_MAX, err);
	if (!rc)
		record_keep(&k->extra, doc, key_members);
	return rc;
}

static void key_save(struct cluster *c, struct api_key *k)
{
	struct json_out o;
	struct buf buf;

	record_open(&o, &buf);
	json_put_str(&o, "id", k->id);
	json_put_str(&o, "hash", k->hash);
	json_put_str(&o, "name", k->name);
	json_put_str(&o, "scope", k->scope);
	json_put_int(&o, "created_ms", (int64_t)k->created_wall_ms);
	record_close(c, &o, "api_key", k->id, k->extra, key_members);
}

void token_key_create(struct cluster *c, const struct event_api_key_create *e)
{
	char id[TOKEN_ID_LEN + 1] = "";
	struct effect_reply *reply;
	struct api_key *k;

	if (!token_hash_ok(e->hash)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error",
			      "the hash is not a SHA-256 in hex");
		return;
	}
	memcpy(id, e->hash, TOKEN_ID_LEN);
	if (find_key(c, id)) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Key Exists",
			      "an API key with this id exists: try again");
		return;
	}
	if (c->api_keys_n >= API_KEYS_MAX) {
		cluster_reply(c, e->reply, REPLY_LIMIT, "Too Many API Keys",
			      "there are %u API keys: revoke some with `temps api-key revoke`",
			      API_KEYS_MAX);
		return;
	}
	k = xcalloc(1, sizeof(*k));
	memcpy(k->hash, e->hash, HASH_HEX_LEN);
	memcpy(k->id, id, TOKEN_ID_LEN);
	k->name = xstrdup(e->name ? e->name : "");
	k->scope = xstrdup(e->scope ? e->scope : "");
	k->created_wall_ms = c->now.wall_ms;
	list_push_back(&c->api_keys, &k->link);
	c->api_keys_n++;
	key_save(c, k);
	reply = cluster_reply(c, e->reply, REPLY_CREATED, "", "API key created");
	if (reply)
		reply->id = batch_str(c->batch, id);
}

void token_key_revoke(struct cluster *c, const struct event_revoke *e)
{
	struct api_key *k = find_key(c, e->id);

	if (!k) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Key Not Found",
			      "there is no such API key");
		return;
	}
	batch_del(c->batch, "api_key", k->id);
	c->api_keys_n--;
	key_free(k);
	cluster_reply(c, e->reply, REPLY_OK, "", "API key revoked");
}

/* ---- registries ---- */

static void registry_free(struct registry *r)
{
	list_remove(&r->link);
	json_free(r->extra);
	free(r->server);
	free(r->value);
	free(r);
}

static struct registry *find_registry(struct cluster *c, const char *server)
{
	LIST_FOR_EACH(r, &c->registries, struct registry, link) {
		if (strcmp(r->server, server) == 0)
			return r;
	}
	return NULL;
}

static int registry_load(struct cluster *c, struct json **doc, struct err *err)
{
	struct registry *r = xcalloc(1, sizeof(*r));
	int rc;

	list_push_back(&c->registries, &r->link);
	c->registries_n++;
	r->server = xstrdup("");
	r->value = xstrdup("");
	rc = record_str(&r->server, *doc, "server", 400, err);
	if (!rc)
		rc = record_str(&r->value, *doc, "value", SPEC_VALUE_MAX, err);
	if (!rc)
		rc = record_u64(&r->created_wall_ms, *doc, "created_ms", INT64_MAX, err);
	if (!rc)
		record_keep(&r->extra, doc, registry_members);
	return rc;
}

void token_registry_add(struct cluster *c, const struct event_registry *e)
{
	struct registry *r = find_registry(c, e->server);
	struct json_out o;
	struct buf buf;

	if (!*e->server || strlen(e->server) > 400 || strlen(e->value) > SPEC_VALUE_MAX) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error",
			      "the registry's name or credential is too long");
		return;
	}
	if (!r && c->registries_n >= REGISTRIES_MAX) {
		cluster_reply(c, e->reply, REPLY_LIMIT, "Too Many Registries",
			      "there are %u registries already", REGISTRIES_MAX);
		return;
	}
	if (!r) {
		r = xcalloc(1, sizeof(*r));
		r->server = xstrdup(e->server);
		list_push_back(&c->registries, &r->link);
		c->registries_n++;
	}
	text_replace(&r->value, e->value);
	r->created_wall_ms = c->now.wall_ms;
	record_open(&o, &buf);
	json_put_str(&o, "server", r->server);
	json_put_str(&o, "value", r->value);
	json_put_int(&o, "created_ms", (int64_t)r->created_wall_ms);
	record_close(c, &o, "registry", r->server, r->extra, registry_members);
	cluster_reply(c, e->reply, REPLY_OK, "", "Registry %s stored", e->server);
}

void token_registry_remove(struct cluster *c, const struct event_registry *e)
{
	struct registry *r = find_registry(c, e->server);

	if (!r) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Registry Not Found",
			      "no credential for %.200s is stored", e->server);
		return;
	}
	batch_del(c->batch, "registry", r->server);
	c->registries_n--;
	registry_free(r);
	cluster_reply(c, e->reply, REPLY_OK, "", "Registry %s forgotten", e->server);
}

int token_load(struct cluster *c, const char *kind, struct json **doc, struct err *err)
{
	if (strcmp(kind, "join_token") == 0)
		return token_load_one(c, doc, err);
	if (strcmp(kind, "api_key") == 0)
		return key_load(c, doc, err);
	if (strcmp(kind, "registry") == 0)
		return registry_load(c, doc, err);
	return err_say(err, -EPROTO, "unknown kind of record");
}

void token_free_all(struct cluster *c)
{
	LIST_FOR_EACH_SAFE(t, &c->join_tokens, struct join_token, link)
		token_free(t);
	LIST_FOR_EACH_SAFE(k, &c->api_keys, struct api_key, link)
		key_free(k);
	LIST_FOR_EACH_SAFE(r, &c->registries, struct registry, link)
		registry_free(r);
}
