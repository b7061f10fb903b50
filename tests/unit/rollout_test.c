/* Deploys that succeed, fail, meet each other and meet failures; and what keeps an app at its number of replicas. */
#include "check.h"
#include "sched_rig.h"

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_init(&rig);
	rig_join(&rig, "worker-1", NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_fini(&rig);
	return 0;
}

static const struct app *hello(void)
{
	return cluster_app(rig.c, "hello");
}

static void deploy(const char *image, uint32_t replicas)
{
	struct app_spec spec = rig_spec(replicas);

	spec.image = image;
	rig_deploy(&rig, "hello", &spec);
}

static void report(uint32_t replica, enum container_state state, const char *started_at)
{
	const struct replica *r = rig_replica(&rig, "hello", replica);
	char *id = xstrdup(r->container_id), *name = xstrdup(r->name);

	rig_do(&rig,
	       (struct cluster_event){ EVENT_CONTAINER, .container = { r->node->id,
								       { .container_id = id,
									 .name = name,
									 .state = state,
									 .started_at = started_at,
									 .exit_code = 3,
									 .spec_hash = "" } } });
	free(id);
	free(name);
}

static void test_deploy(void **state)
{
	(void)state;
	deploy("hello:1", 4);
	CHECK_INT("reply", rig.reply.kind, REPLY_CREATED);
	CHECK_INT("release", rig.reply.release, 1);
	CHECK_STR("nodes", rig_nodes(&rig, "hello"), "0 1 0 1");
	CHECK_INT("routed", app_routed(hello()), 4);
	CHECK_STR("image", hello()->current->image_id, "sha256:1");
	CHECK_INT("image calls", rig.effects[EFFECT_IMAGE_ENSURE], 2);
	CHECK_STR("name", rig_replica(&rig, "hello", 4)->name, "t-hello-4");
	CHECK_STR("local", rig_replica(&rig, "hello", 1)->ip, "172.31.240.2");
	CHECK_INT("local", rig_replica(&rig, "hello", 1)->port, 8080);
	CHECK_STR("worker", rig_replica(&rig, "hello", 2)->ip, "10.0.0.1");
	CHECK_INT("worker", rig_replica(&rig, "hello", 2)->port, 20000);
	CHECK_INT("worker", rig_replica(&rig, "hello", 4)->port, 20001);
}

static void test_next_release_takes_over(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	rig.hold_drains = true;
	deploy("hello:2", 2);
	CHECK_INT("release", hello()->current->n, 2);
	CHECK_INT("routed", app_routed(hello()), 2);
	CHECK_INT("old", rig_replica(&rig, "hello", 1)->state, REPLICA_DRAINING);
	CHECK_INT("not stopped before it is drained", rig.effects[EFFECT_STOP], 0);
	CHECK_INT("state", app_release(hello(), 1)->state, RELEASE_RETIRED);
	assert_int_not_equal(rig_replica(&rig, "hello", 2)->port,
			     rig_replica(&rig, "hello", 4)->port);
	rig_pass(&rig, 314000, true);
	CHECK_INT("still draining", rig.effects[EFFECT_STOP], 0);
	rig_pass(&rig, 2000, true);
	CHECK_INT("the drain limit", rig.effects[EFFECT_STOP], 2);
	CHECK_INT("gone", rig_replica(&rig, "hello", 1)->state, REPLICA_GONE);
	rig_pass(&rig, 601000, true);
	assert_null(app_replica(hello(), 1));
}

/* The process before may still have requests there, if it was upgraded. */
static void test_restart_drains_again(void **state)
{
	uint64_t out;

	(void)state;
	deploy("hello:1", 1);
	rig.hold_drains = true;
	deploy("hello:2", 1);
	out = rig.effects[EFFECT_ROUTE_OUT];
	rig_restart(&rig);
	CHECK_INT("routed out again", rig.effects[EFFECT_ROUTE_OUT], out + 1);
	CHECK_INT("state", rig_replica(&rig, "hello", 1)->state, REPLICA_DRAINING);
	CHECK_INT("not stopped before it is drained", rig.effects[EFFECT_STOP], 0);
	/* One after which nobody has any: answered at once. */
	rig.hold_drains = false;
	rig_restart(&rig);
	rig_pass(&rig, 10000, true);
	CHECK_INT("stopped", rig.effects[EFFECT_STOP], 1);
	CHECK_INT("gone", rig_replica(&rig, "hello", 1)->state, REPLICA_GONE);
}

static const struct {
	const char *name;
	bool image, create, gate;
	const char *reason, *log;
} failures[] = {
	{ "no such image", true, false, false, "image hello:2 on node", "" },
	{ "no container", false, true, false, "container t-hello-", "" },
	{ "never healthy", false, false, true, "did not get healthy: status 500", "last words" },
};

static void test_failed_release_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		const char *name = failures[i].name;

		teardown(NULL);
		setup(NULL);
		deploy("hello:1", 2);
		rig.image_fails = failures[i].image;
		rig.create_fails = failures[i].create;
		rig.gate_fails = failures[i].gate;
		deploy("hello:2", 2);
		CHECK_INT(name, app_release(hello(), 2)->state, RELEASE_FAILED);
		if (!strstr(app_release(hello(), 2)->reason, failures[i].reason))
			fail_msg("%s: %s", name, app_release(hello(), 2)->reason);
		CHECK_STR(name, release_last_lines(app_release(hello(), 2)), failures[i].log);
		CHECK_INT(name, hello()->current->n, 1);
		CHECK_INT(name, app_routed(hello()), 2);
		CHECK_STR(name, rig_nodes(&rig, "hello"), "0 1");
		CHECK_INT(name, rig_replica(&rig, "hello", 1)->routed, true);
	}
}

static void test_exit_fails_the_release_at_once(void **state)
{
	(void)state;
	rig.hold_gates = true;
	deploy("hello:1", 1);
	report(1, CONTAINER_EXITED, "then");
	CHECK_INT("state", app_release(hello(), 1)->state, RELEASE_FAILED);
	CHECK_STR("reason", app_release(hello(), 1)->reason,
		  "its container ended with exit code 3");
	CHECK_STR("log", release_last_lines(app_release(hello(), 1)), "last words");
}

static void test_newer_deploy_supersedes(void **state)
{
	(void)state;
	rig.hold_gates = true;
	deploy("hello:1", 1);
	deploy("hello:1", 1);
	CHECK_INT("the same again", rig.reply.release, 1);
	CHECK_INT("the same again", rig.reply.kind, REPLY_OK);
	rig.hold_gates = false;
	deploy("hello:2", 1);
	CHECK_INT("first", app_release(hello(), 1)->state, RELEASE_SUPERSEDED);
	CHECK_INT("second", hello()->current->n, 2);
	CHECK_INT("numbers are never reused", rig_replica(&rig, "hello", 2)->state, REPLICA_READY);
}

static void test_same_deploy_does_nothing(void **state)
{
	struct app_spec spec = rig_spec(1);
	struct cluster_event e = { EVENT_DEPLOY, .deploy = { .reply = 1, .app = "hello", .spec = &spec } };

	(void)state;
	rig_do(&rig, e);
	rig_do(&rig, e);
	CHECK_INT("again", rig.reply.kind, REPLY_OK);
	CHECK_INT("again", rig.reply.release, 1);
	e.deploy.image_id = hello()->current->image_id;
	rig_do(&rig, e);
	CHECK_INT("the tag means the same", rig.reply.release, 1);
	e.deploy.image_id = "sha256:another";
	rig_do(&rig, e);
	CHECK_INT("the tag moved", rig.reply.kind, REPLY_CREATED);
	CHECK_INT("the tag moved", hello()->current->n, 2);
}

static void test_taken_address_is_left_alone(void **state)
{
	(void)state;
	rig.addresses_taken = 2;
	deploy("hello:1", 1);
	CHECK_INT("state", hello()->current->state, RELEASE_ACTIVE);
	CHECK_INT("tries", rig.effects[EFFECT_CREATE], 3);
	CHECK_INT("the third carries it", rig_replica(&rig, "hello", 3)->state, REPLICA_READY);
	assert_string_not_equal(rig_replica(&rig, "hello", 3)->ip, "");
	assert_int_not_equal(rig_replica(&rig, "hello", 3)->slot,
			     rig_replica(&rig, "hello", 1)->slot);

	rig.addresses_taken = 1000;
	deploy("hello:2", 1);
	CHECK_INT("patience ends", app_release(hello(), 2)->state, RELEASE_FAILED);
	CHECK_INT("the old one serves", app_routed(hello()), 1);
}

static void test_node_fails_during_deploy(void **state)
{
	(void)state;
	rig.mute_node = 1;
	deploy("hello:1", 2);
	CHECK_STR("placed again", rig_nodes(&rig, "hello"), "0 0");
	CHECK_INT("routed", app_routed(hello()), 2);
	CHECK_INT("state", hello()->current->state, RELEASE_ACTIVE);
}

static void test_domains(void **state)
{
	const char *first[] = { "a.example.test", "b.example.test/x" },
		   *second[] = { "b.example.test/x", "c.example.test" };
	struct app_spec spec = rig_spec(1);

	(void)state;
	spec.domains = (struct strs){ first, 2 };
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("set", rig.effects[EFFECT_HOST_SET], 2);
	rig_deploy(&rig, "thief", &spec);
	CHECK_INT("taken", rig.reply.kind, REPLY_CONFLICT);
	assert_non_null(strstr(rig.text, "domain a.example.test belongs to app hello"));
	assert_null(cluster_app(rig.c, "thief"));
	spec.domains.items = second;
	rig.gate_fails = true;
	rig_deploy(&rig, "hello", &spec);
	assert_null(cluster_host(rig.c, "c.example.test"));
	rig.gate_fails = false;
	rig_deploy(&rig, "hello", &spec);
	assert_null(cluster_host(rig.c, "a.example.test"));
	CHECK_STR("owner", cluster_host(rig.c, "c.example.test")->app->name, "hello");
	rig_do(&rig, (struct cluster_event){ EVENT_APP_DELETE, .app_delete = { 1, "hello" } });
	assert_null(cluster_host(rig.c, "c.example.test"));
	CHECK_INT("removed", rig.effects[EFFECT_HOST_DEL], 3);
	spec.domains.items = first;
	rig_deploy(&rig, "thief", &spec);
	CHECK_INT("free", rig.reply.kind, REPLY_CREATED);
}

static void test_removed_app_keeps_its_numbers(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	rig_do(&rig, (struct cluster_event){ EVENT_APP_DELETE, .app_delete = { 1, "hello" } });
	assert_null(hello());
	CHECK_INT("removed", rig.effects[EFFECT_REMOVE], 2);
	rig_restart(&rig);
	assert_null(hello());
	deploy("hello:1", 1);
	CHECK_INT("release", hello()->rolling ? hello()->rolling->n : hello()->current->n, 2);
	assert_non_null(app_replica(hello(), 3));
}

static void test_restarted_container_is_another_endpoint(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	/* The world says it runs since "then": out, inspected, in again. */
	report(1, CONTAINER_EXITED, "then");
	CHECK_INT("failed", rig.effects[EFFECT_ENDPOINT_FAILED], 1);
	assert_true(rig_replica(&rig, "hello", 1)->routed);
	CHECK_INT("created", rig.effects[EFFECT_CREATE], 2);
}

/* Between two states it is looked at again later; its start is told, and later would be too late. */
static void test_restarting_container_is_looked_at_when_it_starts(void **state)
{
	struct cluster_event done = { EVENT_INSPECT_DONE,
				      .container_done = {
					      .info = { .container_id = "hello-container-1",
							.name = "",
							.state = CONTAINER_RESTARTING,
							.started_at = "then",
							.spec_hash = "" } } };
	struct cluster_event died = { .type = EVENT_CONTAINER };
	struct batch *b;
	uint64_t inspects;

	(void)state;
	deploy("hello:1", 1);
	died.container.node_id = rig_replica(&rig, "hello", 1)->node->id;
	died.container.info = done.container_done.info;
	died.container.info.name = rig_replica(&rig, "hello", 1)->name;
	b = cluster_step(rig.c, &died, rig.now);
	for (size_t i = 0; i < b->effects_n; i++)
		if (b->effects[i].type == EFFECT_INSPECT)
			done.container_done.result.op = b->effects[i].container.op;
	rig_do(&rig, done);
	batch_free(b);
	inspects = rig.effects[EFFECT_INSPECT];
	report(1, CONTAINER_RUNNING, "again");
	CHECK_INT("looked at", rig.effects[EFFECT_INSPECT], inspects + 1);
}

/* It crashed and runs again while its gate is open, and nobody saw it between: told by a list alone. */
static void test_a_restart_before_the_gate_is_found_out(void **state)
{
	(void)state;
	rig.hold_gates = true;
	deploy("hello:1", 1);
	strcpy(rig.started_at, "again");
	report(1, CONTAINER_RUNNING, "again");
	rig.hold_gates = false;
	rig_do(&rig, (struct cluster_event){
			     EVENT_PROBE_DONE,
			     .probe = { { "hello", 1, rig_replica(&rig, "hello", 1)->probe_seq },
					true,
					NULL } });
	CHECK_INT("looked at", rig.effects[EFFECT_INSPECT], 1);
	CHECK_STR("known", rig_replica(&rig, "hello", 1)->started_at, "again");
	CHECK_INT("in", app_routed(hello()), 1);
}

static void test_missing_container_is_created_again(void **state)
{
	struct cluster_event gone = { .type = EVENT_INSPECT_DONE };
	struct cluster_event list = { EVENT_INVENTORY, .inventory = { .node_id = 1 } };
	struct batch *b;

	(void)state;
	deploy("hello:1", 2);
	b = cluster_step(rig.c, &list, rig.now);
	CHECK_INT("inspected first", b->effects[0].type, EFFECT_INSPECT);
	gone.container_done.result =
		(struct event_result){ b->effects[0].container.op, RPC_NOT_FOUND, NULL };
	rig_do(&rig, gone);
	batch_free(b);
	CHECK_INT("gone", rig_replica(&rig, "hello", 2)->state, REPLICA_GONE);
	CHECK_INT("another", rig_replica(&rig, "hello", 3)->state, REPLICA_READY);
}

static void test_unknown_container_is_left_alone(void **state)
{
	struct container_info alien = { .container_id = "alien",
					.name = "t-hello-99",
					.state = CONTAINER_RUNNING,
					.started_at = "then",
					.spec_hash = "" };

	(void)state;
	rig_do(&rig, (struct cluster_event){ EVENT_INVENTORY, .inventory = { 1, &alien, 1 } });
	rig_do(&rig, (struct cluster_event){ EVENT_INVENTORY, .inventory = { 1, &alien, 1 } });
	CHECK_INT("kept in mind", cluster_node(rig.c, 1)->quarantine_n, 1);
	CHECK_STR("told once", strstr(rig.events, "ContainerUnknown"), "ContainerUnknown ");
	CHECK_INT("not stopped", rig.effects[EFFECT_STOP], 0);
	rig_do(&rig, (struct cluster_event){ EVENT_INVENTORY, .inventory = { 1, NULL, 0 } });
	CHECK_INT("forgotten", cluster_node(rig.c, 1)->quarantine_n, 0);
}

static void test_policies_change_no_container(void **state)
{
	const char *domain = "hello.example.test";
	struct pair rate = { "rate", "5" };
	struct app_spec spec = rig_spec(2);

	(void)state;
	spec.domains = (struct strs){ &domain, 1 };
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("said when it took over", rig.effects[EFFECT_APP_POLICY], 1);
	spec.policy = (struct pairs){ &rate, 1 };
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("taken", rig.reply.kind, REPLY_CREATED);
	CHECK_INT("in the same release", rig.reply.release, 1);
	CHECK_INT("with the same containers", rig.effects[EFFECT_CREATE], 2);
	CHECK_INT("at once", rig.effects[EFFECT_APP_POLICY], 2);
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("once", rig.reply.kind, REPLY_OK);
	CHECK_INT("once", rig.effects[EFFECT_APP_POLICY], 2);
	rig_restart(&rig);
	CHECK_INT("after a restart", rig.effects[EFFECT_APP_POLICY], 3);
	CHECK_STR("stored", pairs_get(&hello()->current->spec.policy, "rate"), "5");
	/* A failed release's policies never hold. */
	rig.gate_fails = true;
	spec.image = "hello:2";
	spec.policy.n = 0;
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("a failed release", rig.effects[EFFECT_APP_POLICY], 3);
	rig.gate_fails = false;
	spec.image = "hello:3";
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("the next release's own", rig.effects[EFFECT_APP_POLICY], 4);
	CHECK_INT("none", hello()->current->spec.policy.n, 0);
}

static void test_restart_serves_the_same_routes(void **state)
{
	const char *domain = "a.example.test";
	struct app_spec spec = rig_spec(2);
	uint64_t in, set;

	(void)state;
	spec.domains = (struct strs){ &domain, 1 };
	rig_deploy(&rig, "hello", &spec);
	in = rig.effects[EFFECT_ROUTE_IN];
	set = rig.effects[EFFECT_HOST_SET];
	rig_restart(&rig);
	CHECK_INT("hosts", rig.effects[EFFECT_HOST_SET], set + 1);
	CHECK_INT("endpoints", rig.effects[EFFECT_ROUTE_IN], in + 2);
	CHECK_INT("created", rig.effects[EFFECT_CREATE], 2);
	CHECK_INT("stopped", rig.effects[EFFECT_STOP], 0);
	CHECK_STR("container", rig_replica(&rig, "hello", 1)->container_id, "hello-container-1");
}

static void test_restart_in_the_middle_of_a_deploy(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	rig.hold_gates = true;
	deploy("hello:2", 2);
	rig.hold_gates = false;
	rig_restart(&rig);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 1, NULL } });
	CHECK_INT("release", hello()->current->n, 2);
	CHECK_INT("routed", app_routed(hello()), 2);
	CHECK_INT("no third pair", cluster_counts(rig.c).replicas, 4);
}

static void test_a_rollout_ends_after_a_restart_too(void **state)
{
	const char *region = "eu";
	struct constraint label = { "region", { &region, 1 } };
	struct app_spec spec = rig_spec(2);
	int64_t eu;

	(void)state;
	eu = rig_join(&rig, "worker-2", region);
	spec.labels = &label;
	spec.labels_n = 1;
	rig.hold_gates = true;
	rig_deploy(&rig, "hello", &spec);
	rig_do(&rig, (struct cluster_event){ EVENT_NODE_DRAIN,
					     .node_drain = { ++rig.replies, eu } });
	rig_restart(&rig);
	rig_pass(&rig, 3500000, false);
	assert_non_null(hello()->rolling);
	rig_pass(&rig, 200000, false);
	assert_null(hello()->rolling);
	CHECK_INT("release", app_release(hello(), 1)->state, RELEASE_FAILED);
	CHECK_STR("why", app_release(hello(), 1)->reason, "the deploy took too long");
}

static void time_out(const char *app, uint32_t n)
{
	const struct replica *r = rig_replica(&rig, app, n);

	rig_do(&rig, (struct cluster_event){
			     EVENT_UPSTREAM_FAILED,
			     .upstream = { { app, n, r->container_id, r->started_at },
					   UPSTREAM_TIMEOUT } });
}

static void pass_gate(uint32_t n)
{
	rig_do(&rig, (struct cluster_event){
			     EVENT_PROBE_DONE,
			     .probe = { { "hello", n, rig_replica(&rig, "hello", n)->probe_seq },
					true,
					NULL } });
}

static void test_a_node_that_gets_suspect_before_its_replica_takes_over(void **state)
{
	struct app_spec spec = rig_spec(2);

	(void)state;
	rig_deploy(&rig, "one", &spec);
	rig_deploy(&rig, "two", &spec);
	deploy("hello:1", 2);
	rig.hold_gates = true;
	deploy("hello:2", 2);
	CHECK_INT("on the worker", rig_replica(&rig, "hello", 4)->node->id, 1);
	pass_gate(4);
	rig.gate_fails = true;
	time_out("one", 2);
	time_out("two", 2);
	CHECK_STR("health", node_health(cluster_node(rig.c, 1)), "suspect");
	pass_gate(3);
	CHECK_INT("nothing takes over there", hello()->current->n, 1);
	CHECK_INT("another elsewhere", rig_replica(&rig, "hello", 5)->node->id, 0);
	pass_gate(5);
	CHECK_INT("release", hello()->current->n, 2);
	CHECK_STR("nodes", rig_nodes(&rig, "hello"), "0 0");
}

static const struct {
	const char *name, *app;
	struct app_spec spec;
	const char *want;
} invalid[] = {
	{ "app name", "Hello", { .image = "i", .replicas = 1 }, "app name" },
	{ "no image", "hello", { .replicas = 1 }, "no image" },
	{ "image with a space", "hello", { .image = "a b", .replicas = 1 }, "image" },
	{ "no replicas", "hello", { .image = "i" }, "replicas" },
	{ "too many", "hello", { .image = "i", .replicas = 1001 }, "replicas" },
	{ "relative path",
	  "hello",
	  { .image = "i", .replicas = 1, .port = 1, .health_path = "x" },
	  "health path" },
	{ "path without port",
	  "hello",
	  { .image = "i", .replicas = 1, .health_path = "/" },
	  "needs a port" },
	{ "strategy",
	  "hello",
	  { .image = "i", .replicas = 1, .strategy = "guess" },
	  "round-robin" },
};

static void test_invalid_deploys(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(invalid); i++) {
		rig_deploy(&rig, invalid[i].app, &invalid[i].spec);
		CHECK_INT(invalid[i].name, rig.reply.kind, REPLY_INVALID);
		if (!strstr(rig.text, invalid[i].want))
			fail_msg("%s: %s", invalid[i].name, rig.text);
	}
	CHECK_INT("nothing stored", cluster_counts(rig.c).apps, 0);
}

static void test_no_free_address(void **state)
{
	const char *worker = "worker-1";
	struct app_spec spec = rig_spec(3);

	(void)state;
	teardown(NULL);
	rig_init(&rig);
	rig.config.port_first = 20000;
	rig.config.port_last = 20001;
	rig_restart(&rig);
	rig_join(&rig, worker, NULL);
	spec.nodes = (struct strs){ &worker, 1 };
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("kind", rig.reply.kind, REPLY_LIMIT);
	CHECK_INT("nothing kept", cluster_counts(rig.c).replicas, 0);
	spec.replicas = 2;
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("kind", rig.reply.kind, REPLY_CREATED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_deploy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_next_release_takes_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_drains_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_release_changes_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_exit_fails_the_release_at_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_newer_deploy_supersedes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_deploy_does_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_address_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_node_fails_during_deploy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_domains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_app_keeps_its_numbers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_restarting_container_is_looked_at_when_it_starts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restarted_container_is_another_endpoint, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_restart_before_the_gate_is_found_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_missing_container_is_created_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_unknown_container_is_left_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_policies_change_no_container, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_serves_the_same_routes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_rollout_ends_after_a_restart_too, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_a_node_that_gets_suspect_before_its_replica_takes_over, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_restart_in_the_middle_of_a_deploy, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_invalid_deploys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_free_address, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
