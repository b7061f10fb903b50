/* Nodes that come and go, credentials, and what a restart finds in the store. */
#include <errno.h>

#include "check.h"
#include "sched_rig.h"

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_init(&rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_fini(&rig);
	return 0;
}

/* "a" is the join token, "b" the node's, "c" unknown; a space is none. */
static const struct {
	const char *name, *node;
	char join, proof;
	const char *private_address;
	bool known;	    /* worker-1 is registered already */
	uint64_t silent_ms; /* since then */
	enum reply_kind want;
	const char *title;
} registrations[] = {
	{ "a new node", "worker-1", 'a', ' ', "10.0.0.9", false, 0, REPLY_CREATED, "" },
	{ "a wrong token", "worker-1", 'c', ' ', "10.0.0.9", false, 0, REPLY_FORBIDDEN,
	  "Invalid Join Token" },
	{ "no token", "worker-1", ' ', ' ', "10.0.0.9", false, 0, REPLY_FORBIDDEN,
	  "Join Token Required" },
	{ "a bad name", "-w", 'a', ' ', "10.0.0.9", false, 0, REPLY_INVALID, "Validation Error" },
	{ "a name of local", "local", 'a', ' ', "10.0.0.9", false, 0, REPLY_CONFLICT,
	  "Node Name Taken" },
	{ "loopback", "worker-1", 'a', ' ', "127.0.0.2", false, 0, REPLY_INVALID,
	  "Validation Error" },
	{ "link-local", "worker-1", 'a', ' ', "169.254.169.254", false, 0, REPLY_INVALID,
	  "Validation Error" },
	{ "any", "worker-1", 'a', ' ', "0.0.0.0", false, 0, REPLY_INVALID, "Validation Error" },
	{ "a host name", "worker-1", 'a', ' ', "worker", false, 0, REPLY_INVALID,
	  "Validation Error" },
	{ "IPv6 loopback", "worker-1", 'a', ' ', "::1", false, 0, REPLY_INVALID,
	  "Validation Error" },
	{ "IPv6", "worker-1", 'a', ' ', "fd00::9", false, 0, REPLY_CREATED, "" },
	{ "reconnect with proof", "worker-1", ' ', 'b', "10.0.0.1", true, 0, REPLY_CREATED, "" },
	{ "another's name while it is active", "worker-1", 'a', ' ', "10.0.0.9", true, 0,
	  REPLY_CONFLICT, "Node Name Taken" },
	{ "another's name with a wrong proof", "worker-1", 'a', 'c', "10.0.0.9", true, 0,
	  REPLY_CONFLICT, "Node Name Taken" },
	{ "another's name without any token", "worker-1", ' ', 'c', "10.0.0.9", true, 0,
	  REPLY_FORBIDDEN, "Join Token Required" },
	{ "a name that could be an id", "42", 'a', ' ', "10.0.0.9", false, 0, REPLY_INVALID,
	  "Validation Error" },
	{ "another node's private address", "worker-2", 'a', ' ', "10.0.0.1", true, 0,
	  REPLY_CONFLICT, "Address Taken" },
	{ "the private address of an offline node", "worker-2", 'a', ' ', "10.0.0.1", true, 91000,
	  REPLY_CONFLICT, "Address Taken" },
	{ "the name of an offline node", "worker-1", 'a', ' ', "10.0.0.9", true, 91000,
	  REPLY_CREATED, "" },
};

static void test_registration(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(registrations); i++) {
		const char *name = registrations[i].name;
		struct event_register reg = { .reply = 7,
					      .name = registrations[i].node,
					      .token_hash = rig_hash('d'),
					      .address = "https://w:3100",
					      .private_address = registrations[i].private_address };

		rig_fini(&rig);
		rig_init(&rig);
		rig_do(&rig, (struct cluster_event){
				     EVENT_JOIN_TOKEN_CREATE,
				     .join_token_create = { .reply = 1, .hash = rig_hash('a') } });
		if (registrations[i].known)
			CHECK_INT(name, rig_join(&rig, "worker-1", NULL), 1);
		rig_pass(&rig, registrations[i].silent_ms, false);
		reg.join_token_hash =
			registrations[i].join == ' ' ? NULL : rig_hash(registrations[i].join);
		reg.proof_hash =
			registrations[i].proof == ' ' ? NULL : rig_hash(registrations[i].proof);
		rig_do(&rig, (struct cluster_event){ EVENT_REGISTER, .reg = reg });
		CHECK_INT(name, rig.reply.kind, registrations[i].want);
		CHECK_STR(name, rig.title, registrations[i].title);
		if (registrations[i].want == REPLY_CREATED) {
			CHECK_INT(name, rig.reply.node_id, 1);
			CHECK_INT(name, cluster_node_auth(rig.c, 1, rig_hash('d')), 0);
			CHECK_INT(name, cluster_node_auth(rig.c, 1, rig_hash('b')) == 0, 0);
		}
	}
}

static void test_a_token_s_labels_hold(void **state)
{
	struct pair given[] = { { "tier", "low" } },
		    told[] = { { "tier", "gold" }, { "gpu", "no" } };
	struct pairs bound = { given, 1 }, own = { told, 2 };
	struct event_register reg = { .reply = 7,
				      .name = "w",
				      .token_hash = rig_hash('d'),
				      .join_token_hash = rig_hash('a'),
				      .address = "https://10.0.0.9:3100",
				      .private_address = "10.0.0.9",
				      .labels = own };
	struct event_heartbeat beat = { .node_id = 1, .docker_ok = true, .labels = &own };
	const struct node *n;

	(void)state;
	rig_do(&rig, (struct cluster_event){ EVENT_JOIN_TOKEN_CREATE,
					     .join_token_create = { .reply = 1,
								    .hash = rig_hash('a'),
								    .labels = bound } });
	rig_do(&rig, (struct cluster_event){ EVENT_REGISTER, .reg = reg });
	CHECK_INT("kind", rig.reply.kind, REPLY_CREATED);
	for (int i = 0; i < 2; i++) {
		n = cluster_node(rig.c, 1);
		CHECK_STR("bound", pairs_get(&n->labels, "tier"), "low");
		CHECK_STR("own", pairs_get(&n->labels, "gpu"), "no");
		CHECK_INT("all", n->labels.n, 2);
		rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = beat });
	}
}

static void test_no_token_closes_the_door(void **state)
{
	struct event_register reg = { .reply = 7,
				      .name = "w",
				      .token_hash = rig_hash('d'),
				      .join_token_hash = rig_hash('a'),
				      .address = "https://w:3100",
				      .private_address = "10.0.0.1" };

	(void)state;
	rig_do(&rig, (struct cluster_event){ EVENT_REGISTER, .reg = reg });
	CHECK_INT("kind", rig.reply.kind, REPLY_FORBIDDEN);
	CHECK_STR("title", rig.title, "Registration Disabled");
}

static const struct {
	const char *name;
	struct event_join_token_create token;
	uint64_t wait_ms;
	const char *node;
	bool used_before;
	enum reply_kind want;
} tokens[] = {
	{ "in time", { .ttl_ms = 60000 }, 59000, "w", false, REPLY_CREATED },
	{ "too late", { .ttl_ms = 60000 }, 60000, "w", false, REPLY_FORBIDDEN },
	{ "once, the first time", { .once = true }, 0, "w", false, REPLY_CREATED },
	{ "once, the second time", { .once = true }, 0, "w", true, REPLY_FORBIDDEN },
	{ "many times", { 0 }, 0, "w", true, REPLY_CREATED },
	{ "bound to this name", { .name = "w" }, 0, "w", false, REPLY_CREATED },
	{ "bound to another name", { .name = "v" }, 0, "w", false, REPLY_FORBIDDEN },
};

static void test_join_tokens(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		struct event_join_token_create token = tokens[i].token;
		struct event_register reg = { .reply = 7,
					      .name = tokens[i].node,
					      .token_hash = rig_hash('d'),
					      .join_token_hash = rig_hash('a'),
					      .address = "https://w:3100",
					      .private_address = "10.0.0.1" };

		rig_fini(&rig);
		rig_init(&rig);
		token.hash = rig_hash('a');
		token.reply = 1;
		rig_do(&rig, (struct cluster_event){ EVENT_JOIN_TOKEN_CREATE,
						     .join_token_create = token });
		CHECK_STR(tokens[i].name, rig.id, "aaaaaaaaaaaa");
		if (tokens[i].used_before) {
			reg.name = "first";
			reg.private_address = "10.0.0.2";
			rig_do(&rig, (struct cluster_event){ EVENT_REGISTER, .reg = reg });
			reg.name = tokens[i].node;
			reg.private_address = "10.0.0.1";
		}
		rig_pass(&rig, tokens[i].wait_ms, false);
		rig_do(&rig, (struct cluster_event){ EVENT_REGISTER, .reg = reg });
		CHECK_INT(tokens[i].name, rig.reply.kind, tokens[i].want);
		rig_restart(&rig);
		CHECK_INT(tokens[i].name, cluster_node_named(rig.c, "w") != NULL,
			  tokens[i].want == REPLY_CREATED);
	}
}

static void test_shared_token_replaces(void **state)
{
	struct event_join_token_create token = { .reply = 1,
						 .shared = true,
						 .hash = rig_hash('a') };

	(void)state;
	rig_do(&rig, (struct cluster_event){ EVENT_JOIN_TOKEN_CREATE, .join_token_create = token });
	token.hash = rig_hash('e');
	rig_do(&rig, (struct cluster_event){ EVENT_JOIN_TOKEN_CREATE, .join_token_create = token });
	assert_ptr_equal(cluster_join_tokens(rig.c)->next, cluster_join_tokens(rig.c)->prev);
	rig_do(&rig, (struct cluster_event){ EVENT_JOIN_TOKEN_REVOKE, .revoke = { 1, NULL } });
	assert_true(list_empty(cluster_join_tokens(rig.c)));
}

static void test_ids_are_never_reused(void **state)
{
	int64_t first = rig_join(&rig, "worker-1", NULL), second;

	(void)state;
	rig_do(&rig,
	       (struct cluster_event){ EVENT_NODE_DELETE, .node_delete = { 9, first, false } });
	CHECK_INT("delete", rig.reply.kind, REPLY_OK);
	CHECK_INT("auth", cluster_node_auth(rig.c, first, rig_hash('b')), -ENOENT);
	rig_restart(&rig);
	second = rig_join(&rig, "worker-1", NULL);
	assert_true(second > first);
}

static void test_busy_node_stays(void **state)
{
	int64_t id = rig_join(&rig, "worker-1", NULL);
	struct app_spec spec = rig_spec(2);

	(void)state;
	rig_deploy(&rig, "hello", &spec);
	rig_do(&rig, (struct cluster_event){ EVENT_NODE_DELETE, .node_delete = { 9, id, true } });
	CHECK_INT("active, forced", rig.reply.kind, REPLY_CONFLICT);
	rig_pass(&rig, 95000, false);
	rig_do(&rig, (struct cluster_event){ EVENT_NODE_DELETE, .node_delete = { 9, id, false } });
	CHECK_INT("offline", rig.reply.kind, REPLY_CONFLICT);
	rig_do(&rig, (struct cluster_event){ EVENT_NODE_DELETE, .node_delete = { 9, id, true } });
	CHECK_INT("offline, forced", rig.reply.kind, REPLY_OK);
	CHECK_STR("replicas", rig_nodes(&rig, "hello"), "0 0");
	rig_pass(&rig, 700000, false);
	rig_restart(&rig);
	assert_null(cluster_node(rig.c, id));
}

static void test_credentials_survive(void **state)
{
	const char *target = "http://10.9.9.9:80", *other = "http://10.9.9.8:80";

	(void)state;
	rig_do(&rig,
	       (struct cluster_event){ EVENT_API_KEY_CREATE,
				       .api_key_create = { 1, rig_hash('f'), "ci", "admin" } });
	rig_do(&rig, (struct cluster_event){ EVENT_REGISTRY_ADD,
					     .registry = { 1, "r.example.test", "sealed" } });
	rig_do(&rig,
	       (struct cluster_event){ EVENT_STATIC_ADD,
				       .route = { 1, "s.example.test/x", { &target, 1 }, { 0 } } });
	rig_do(&rig,
	       (struct cluster_event){ EVENT_STATIC_ADD,
				       .route = { 1, "s.example.test/x", { &target, 1 }, { 0 } } });
	CHECK_INT("the same route again", rig.reply.kind, REPLY_OK);
	rig_do(&rig,
	       (struct cluster_event){ EVENT_STATIC_ADD,
				       .route = { 1, "s.example.test/x", { &other, 1 }, { 0 } } });
	CHECK_INT("another target", rig.reply.kind, REPLY_CONFLICT);
	assert_non_null(strstr(rig.text, target));
	rig_restart(&rig);
	assert_non_null(cluster_api_key(rig.c, rig_hash('f')));
	assert_null(cluster_api_key(rig.c, rig_hash('e')));
	CHECK_STR("registry", LIST_FIRST(cluster_registries(rig.c), struct registry, link)->value,
		  "sealed");
	CHECK_STR("path", cluster_host(rig.c, "s.example.test/x")->path, "/x");
	CHECK_INT("routes at start", rig.effects[EFFECT_HOST_STATIC], 2);
	rig_do(&rig, (struct cluster_event){ EVENT_STATIC_REMOVE,
					     .route = { 1, "s.example.test/x", { 0 }, { 0 } } });
	assert_null(cluster_host(rig.c, "s.example.test/x"));
}

static void test_policy_of_a_static_route(void **state)
{
	const char *target = "http://10.9.9.9:80";
	struct pair one = { "rate", "5" }, two = { "rate", "6" };
	struct event_static add = { 1, "s.example.test", { &target, 1 }, { &one, 1 } };
	struct event_static set = { 1, "s.example.test", { 0 }, { &two, 1 } };

	(void)state;
	rig_do(&rig, (struct cluster_event){ EVENT_STATIC_SET, .route = set });
	CHECK_INT("nobody's", rig.reply.kind, REPLY_NOT_FOUND);
	rig_do(&rig, (struct cluster_event){ EVENT_STATIC_ADD, .route = add });
	CHECK_INT("added", rig.reply.kind, REPLY_CREATED);
	rig_do(&rig, (struct cluster_event){ EVENT_STATIC_ADD, .route = add });
	CHECK_INT("again", rig.reply.kind, REPLY_OK);
	rig_do(&rig, (struct cluster_event){ EVENT_STATIC_SET, .route = set });
	CHECK_INT("set", rig.reply.kind, REPLY_OK);
	CHECK_INT("told the front door", rig.effects[EFFECT_HOST_STATIC], 2);
	rig_do(&rig, (struct cluster_event){ EVENT_STATIC_SET, .route = set });
	CHECK_INT("once", rig.effects[EFFECT_HOST_STATIC], 2);
	rig_do(&rig, (struct cluster_event){ EVENT_STATIC_ADD, .route = add });
	CHECK_INT("other policies", rig.reply.kind, REPLY_CONFLICT);
	rig_restart(&rig);
	CHECK_STR("stored", pairs_get(&cluster_host(rig.c, "s.example.test")->policy, "rate"), "6");
}

static const struct {
	const char *name, *kind, *value;
	int want;
} records[] = {
	{ "no version", "app", "{\"name\":\"hello\"}", -EPROTO },
	{ "a newer version", "app", "{\"v\":2,\"name\":\"hello\"}", -EPROTO },
	{ "an unknown kind", "dream", "{\"v\":1}", -EPROTO },
	{ "no JSON", "app", "hello", -EINVAL },
	{ "a bad name", "app", "{\"v\":1,\"name\":\"../x\"}", -EINVAL },
	{ "a wrong type", "app", "{\"v\":1,\"name\":\"hello\",\"next_release\":\"1\"}", -EINVAL },
	{ "a release of nobody", "release", "{\"v\":1,\"app\":\"nobody\",\"release\":1}", -EINVAL },
	{ "a replica of nobody", "replica", "{\"v\":1,\"app\":\"nobody\",\"replica\":1}", -EINVAL },
	{ "a node without an id", "node", "{\"v\":1,\"name\":\"w\"}", -EINVAL },
	{ "an app", "app", "{\"v\":1,\"name\":\"hello\",\"next_release\":3,\"next_replica\":9}",
	  0 },
};

static void test_stored_records_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		struct cluster_config config = { .cluster_id = "t" };
		struct err err = { 0 };
		struct cluster *c = cluster_create(&config, &err);

		CHECK_INT(records[i].name,
			  cluster_load(c, records[i].kind, SLICE("key"),
				       slice_str(records[i].value), &err),
			  records[i].want);
		if (records[i].want)
			assert_non_null(strstr(err.text, "stored"));
		cluster_destroy(c);
	}
}

static void test_unknown_members_are_kept(void **state)
{
	const char *name =
		"{\"v\":1,\"name\":\"hello\",\"colour\":{\"is\":[\"blue\"]},\"next_release\":1,\"next_replica\":1}";
	struct app_spec spec = rig_spec(1);
	struct err err = { 0 };
	bool found = false;

	(void)state;
	cluster_destroy(rig.c);
	rig.c = cluster_create(&rig.config, &err);
	CHECK_INT("load", cluster_load(rig.c, "app", SLICE("hello"), slice_str(name), &err), 0);
	rig_do(&rig, (struct cluster_event){ .type = EVENT_START });
	rig_do(&rig,
	       (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { NODE_LOCAL_ID, NULL } });
	rig_deploy(&rig, "hello", &spec);
	for (size_t i = 0; i < rig.store_n; i++) {
		if (strcmp(rig.store[i].kind, "app") == 0)
			found = strstr(rig.store[i].value, "\"colour\":{\"is\":[\"blue\"]}") !=
				NULL;
	}
	assert_true(found);
}

static void test_beats_are_written_in_batches(void **state)
{
	int64_t id = rig_join(&rig, "worker-1", NULL);
	uint64_t before;

	(void)state;
	rig_pass(&rig, 15000, true);
	before = cluster_counts(rig.c).records;
	for (int i = 0; i < 50; i++)
		rig_do(&rig,
		       (struct cluster_event){
			       EVENT_HEARTBEAT,
			       .heartbeat = { .reply = 1, .node_id = id, .docker_ok = true } });
	CHECK_INT("at once", cluster_counts(rig.c).records, before);
	rig_pass(&rig, 11000, false);
	CHECK_INT("after 10 s", cluster_counts(rig.c).records, before + 1);
	rig_restart(&rig);
	assert_true(cluster_node(rig.c, id)->last_heartbeat_wall_ms > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registration, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_token_s_labels_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_token_closes_the_door, setup, teardown),
		cmocka_unit_test_setup_teardown(test_join_tokens, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_token_replaces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids_are_never_reused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy_node_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_credentials_survive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_policy_of_a_static_route, setup, teardown),
		cmocka_unit_test(test_stored_records_are_checked),
		cmocka_unit_test_setup_teardown(test_unknown_members_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beats_are_written_in_batches, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
