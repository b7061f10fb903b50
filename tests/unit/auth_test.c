/* Walks the API's table: every route states a scope, and each kind of caller gets what its scope
 * says and nothing more. */
#include "check.h"
#include "control_rig.h"

#include "control/nodes.h"
#include "reactor/crypto.h"

#define NODE_TOKEN "node-token-0123456789abcdef"

struct doors {
	struct rig rig;
	struct api *api; /* the same table with handlers that only say that they were called */
	struct api_route rows[64];
	char *keys[3];		/* read, write, admin */
	int64_t node_id;
};

/* ---- a control plane with keys and one node ---- */

static void on_called(struct api_request *r)
{
	reply_empty(r, 204);
}

static void make_keys(struct doors *d)
{
	static const char *const scopes[] = { "read", "write", "admin" };

	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		char hash[65];
		struct cluster_event e = { .type = EVENT_API_KEY_CREATE };

		d->keys[i] = api_key_make(hash);
		e.api_key_create = (struct event_api_key_create){ .hash = hash,
								  .name = scopes[i],
								  .scope = scopes[i] };
		rig_command(&d->rig, &e, &e.api_key_create.reply);
		assert_int_equal(d->rig.kind, REPLY_CREATED);
	}
}

static void make_node(struct doors *d)
{
	char join[65], token[65];
	struct cluster_event e = { .type = EVENT_JOIN_TOKEN_CREATE };
	struct buf sealed;

	crypto_sha256_hex(SLICE("join"), join);
	crypto_sha256_hex(SLICE(NODE_TOKEN), token);
	e.join_token_create = (struct event_join_token_create){ .hash = join, .ttl_ms = 60000 };
	rig_command(&d->rig, &e, &e.join_token_create.reply);
	buf_init(&sealed, 0);
	assert_int_equal(nodes_seal_token(&d->rig.c, SLICE(NODE_TOKEN), &sealed), 0);
	e = (struct cluster_event){ .type = EVENT_REGISTER };
	e.reg = (struct event_register){ .name = "worker-1",
					 .token_hash = token,
					 .token_sealed = sealed.data,
					 .join_token_hash = join,
					 .address = "https://127.0.0.2:1",
					 .private_address = "127.0.0.2" };
	rig_command(&d->rig, &e, &e.reg.reply);
	assert_int_equal(d->rig.kind, REPLY_CREATED);
	d->node_id = d->rig.node_id;
	buf_fini(&sealed);
}

static int set_up(void **state)
{
	struct doors *d = xcalloc(1, sizeof(*d));
	struct api_config api = { .routes = d->rows, .nroutes = api_routes_n, .app = &d->rig.c,
				  .authorise = auth_check, .max_query = 1000 };
	struct err err;

	assert_true(api_routes_n <= ARRAY_LEN(d->rows));
	rig_open(&d->rig);
	for (size_t i = 0; i < api_routes_n; i++) {
		d->rows[i] = api_routes[i];
		d->rows[i].handle = on_called;
		d->rows[i].max_body = 0;
	}
	assert_int_equal(api_create(&d->api, &api, &err), 0);
	make_keys(d);
	make_node(d);
	*state = d;
	return 0;
}

static int tear_down(void **state)
{
	struct doors *d = *state;

	api_destroy(d->api);
	rig_close(&d->rig);
	for (size_t i = 0; i < ARRAY_LEN(d->keys); i++)
		free(d->keys[i]);
	free(d);
	return 0;
}

/* ---- one request, as a transport would bring it ---- */

static int fake_respond(struct exchange *x, const struct head *h, bool end)
{
	(void)end;
	x->status = h->status;
	return 0;
}

static size_t fake_write(struct exchange *x, const struct iovec *iov, int n)
{
	size_t sum = 0;

	(void)x;
	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

static void fake_end(struct exchange *x, const struct head *trailers)
{
	(void)trailers;
	x->ended = true;
}

static const struct exchange_ops fake_ops = { .respond = fake_respond,
					      .write = fake_write,
					      .end = fake_end };

/* "/a/{id}/b" with each parameter filled in. */
static void fill(const char *pattern, const char *param, char *out, size_t size)
{
	size_t n = 0;

	for (const char *p = pattern; *p && n + 1 < size;) {
		if (*p == '{') {
			n += (size_t)snprintf(out + n, size - n, "%s", param);
			p = strchr(p, '}') + 1;
		} else {
			out[n++] = *p++;
		}
	}
	out[n] = '\0';
}

static unsigned ask(struct doors *r, const struct api_route *row, const char *param,
		    const char *authorization, bool local)
{
	struct exchange_peer peer = { .local_user = local };
	struct exchange x = { .ops = &fake_ops, .loop = r->rig.c.loop, .peer = &peer };
	char path[256];

	fill(row->pattern, param, path, sizeof(path));
	head_init(&x.req);
	x.req.method = slice_str(row->method);
	x.req.path = slice_str(path);
	if (authorization)
		head_add(&x.req, FIELD_AUTHORIZATION, slice_str(authorization));
	api_handle(r->api, &x);
	x.events->closed(x.arg, NULL);
	return x.status;
}

static unsigned ask_token(struct doors *r, const struct api_route *row, const char *param,
			  const char *token)
{
	char value[256];

	snprintf(value, sizeof(value), "Bearer %s", token);
	return ask(r, row, param, value, false);
}

/* ---- the walk ---- */

static bool is_open(enum scope s)
{
	return s == SCOPE_PUBLIC || s == SCOPE_JOIN;
}

static void test_every_route_states_a_scope(void **state)
{
	static const char *const open[] = { "/health", "/health/live", "/health/ready",
					    "/api/internal/ca", "/api/internal/nodes/register" };

	(void)state;
	for (size_t i = 0; i < api_routes_n; i++) {
		bool listed = false;

		for (size_t k = 0; k < ARRAY_LEN(open); k++)
			listed |= strcmp(open[k], api_routes[i].pattern) == 0;
		assert_int_not_equal(api_routes[i].scope, SCOPE_NONE);
		CHECK_INT(api_routes[i].pattern, is_open(api_routes[i].scope), listed);
	}
}

static void test_no_token(void **state)
{
	static const char *const useless[] = { NULL, "Basic dTpw", "Bearer", "Bearer wrong",
					       "Token x" };
	struct doors *r = *state;

	for (size_t i = 0; i < api_routes_n; i++)
		for (size_t k = 0; k < ARRAY_LEN(useless); k++)
			CHECK_INT(r->rows[i].pattern, ask(r, &r->rows[i], "1", useless[k], false),
				  is_open(r->rows[i].scope) ? 204 : 401);
}

static void test_keys(void **state)
{
	static const enum scope has[] = { SCOPE_READ, SCOPE_WRITE, SCOPE_ADMIN };
	struct doors *r = *state;

	for (size_t i = 0; i < api_routes_n; i++) {
		const struct api_route *row = &r->rows[i];

		for (size_t k = 0; k < ARRAY_LEN(has); k++) {
			unsigned want = is_open(row->scope)	   ? 204
					: row->scope == SCOPE_NODE ? 401
					: has[k] >= row->scope	   ? 204
								   : 403;

			CHECK_INT(row->pattern, ask_token(r, row, "1", r->keys[k]), want);
		}
	}
}

static void test_node_token(void **state)
{
	struct doors *r = *state;
	char id[24];

	snprintf(id, sizeof(id), "%lld", (long long)r->node_id);
	for (size_t i = 0; i < api_routes_n; i++) {
		const struct api_route *row = &r->rows[i];
		bool opens = is_open(row->scope) || row->scope == SCOPE_NODE;

		CHECK_INT(row->pattern, ask_token(r, row, id, NODE_TOKEN), opens ? 204 : 401);
		if (row->scope == SCOPE_NODE) {
			CHECK_INT("another node", ask_token(r, row, "4711", NODE_TOKEN), 404);
			CHECK_INT("no number", ask_token(r, row, "worker-1", NODE_TOKEN), 404);
			CHECK_INT("wrong token", ask_token(r, row, id, NODE_TOKEN "x"), 401);
		}
	}
}

static void test_local_user(void **state)
{
	struct doors *r = *state;

	for (size_t i = 0; i < api_routes_n; i++)
		CHECK_INT(r->rows[i].pattern, ask(r, &r->rows[i], "1", NULL, true),
			  r->rows[i].scope == SCOPE_NODE ? 401 : 204);
}

static void test_forgotten_scope(void **state)
{
	struct doors *r = *state;
	struct api_route saved = r->rows[3];

	r->rows[3].scope = SCOPE_NONE;
	CHECK_INT("admin", ask_token(r, &r->rows[3], "1", r->keys[2]), 403);
	CHECK_INT("local user", ask(r, &r->rows[3], "1", NULL, true), 403);
	r->rows[3] = saved;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_route_states_a_scope),
		cmocka_unit_test(test_no_token),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_node_token),
		cmocka_unit_test(test_local_user),
		cmocka_unit_test(test_forgotten_scope),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
