/* Bearer tokens against hashes: API keys by scope, node tokens by node. */
#include "control/auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/control.h"
#include "control/deployer.h"
#include "reactor/crypto.h"

struct slice auth_bearer(const struct api_request *r)
{
	static const char scheme[] = "Bearer ";
	const struct field *f = head_field(&r->x->req, FIELD_AUTHORIZATION);

	if (!f || f->value.n < sizeof(scheme) - 1 ||
	    !slice_eq_nocase(slice_of(f->value.p, sizeof(scheme) - 1), slice_str(scheme)))
		return (struct slice){ 0 };
	return slice_trim(
		slice_of(f->value.p + sizeof(scheme) - 1, f->value.n - (sizeof(scheme) - 1)));
}

enum scope auth_scope(const char *name)
{
	if (strcmp(name, "read") == 0)
		return SCOPE_READ;
	if (strcmp(name, "write") == 0)
		return SCOPE_WRITE;
	if (strcmp(name, "admin") == 0)
		return SCOPE_ADMIN;
	return SCOPE_NONE;
}

static int refuse(struct api_request *r, unsigned status, const char *title, const char *detail)
{
	if (status == 401)
		reply_field(r, "WWW-Authenticate", "Bearer realm=\"temps\"");
	reply_problem(r, status, title, detail);
	return -EACCES;
}

/* The same words for every call that needs a token and has none. */
static int refuse_missing(struct api_request *r)
{
	const struct field *f = head_field(&r->x->req, FIELD_AUTHORIZATION);

	if (!f)
		return refuse(
			r, 401, "Missing Authorization",
			"send \"Authorization: Bearer TOKEN\"; `temps api-key create` makes one for people");
	return refuse(r, 401, "Invalid Authorization", "expected \"Authorization: Bearer TOKEN\"");
}

static int check_node(struct api_request *r, struct slice token)
{
	const struct control *c = r->app;
	char hash[65];
	uint64_t id;
	int rc;

	if (!token.n)
		return refuse_missing(r);
	if (slice_u64(r->params[0], &id) || id > INT64_MAX)
		return refuse(r, 404, "Node Not Found", "a node is named by its number here");
	crypto_sha256_hex(token, hash);
	rc = cluster_node_auth(deployer_cluster(c->deployer), (int64_t)id, hash);
	if (rc == -ENOENT)
		return refuse(r, 404, "Node Not Found",
			      "no such node; if it was removed, run `temps join` again");
	if (rc)
		return refuse(r, 401, "Invalid Token",
			      "this is not the node's token; run `temps join` again");
	return 0;
}

static int check_key(struct api_request *r, struct slice token, enum scope need)
{
	const struct control *c = r->app;
	const struct api_key *key;
	char hash[65];

	if (!token.n)
		return refuse_missing(r);
	/* The hash is compared, never the token: what a timing tells of a hash helps nobody. */
	crypto_sha256_hex(token, hash);
	key = cluster_api_key(deployer_cluster(c->deployer), hash);
	if (!key)
		return refuse(r, 401, "Invalid Token",
			      "no API key has this value; it may have been revoked");
	if (auth_scope(key->scope) < need)
		return refuse(r, 403, "Forbidden",
			      need == SCOPE_ADMIN ? "this needs an API key with scope admin"
						  : "this needs an API key with scope write");
	return 0;
}

void auth_who(const struct api_request *r, char *out)
{
	const struct control *c = r->app;
	const struct api_key *key;
	char hash[65];

	if (r->x->peer->local_user) {
		snprintf(out, AUTH_WHO_SIZE, "local");
		return;
	}
	crypto_sha256_hex(auth_bearer(r), hash);
	key = cluster_api_key(deployer_cluster(c->deployer), hash);
	snprintf(out, AUTH_WHO_SIZE, "key %.150s", key ? key->name : "?");
}

int auth_check(struct api_request *r)
{
	enum scope need = r->route->scope;

	switch (need) {
	case SCOPE_PUBLIC:
	case SCOPE_JOIN:
		return 0;
	case SCOPE_NODE:
		return check_node(r, auth_bearer(r));
	case SCOPE_READ:
	case SCOPE_WRITE:
	case SCOPE_ADMIN:
		return r->x->peer->local_user ? 0 : check_key(r, auth_bearer(r), need);
	default:
		return refuse(r, 403, "Forbidden", "this route states no scope");
	}
}
