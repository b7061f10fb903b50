/* The ways from one release to the next: in waves, stop-first with a volume or without, with a command before, as a canary. */
#include "check.h"
#include "sched_rig.h"

static struct rig rig;
static struct app_spec spec;

static int setup(void **state)
{
	(void)state;
	rig_init(&rig);
	rig_join(&rig, "worker-1", NULL);
	spec = rig_spec(4);
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

static void deploy(const char *image)
{
	spec.image = image;
	rig_deploy(&rig, "hello", &spec);
}

static void canary(const char *image, uint32_t percent)
{
	spec.image = image;
	rig_do(&rig, (struct cluster_event){ EVENT_DEPLOY, .deploy = { .reply = ++rig.replies,
								       .app = "hello",
								       .spec = &spec,
								       .canary = percent } });
}

static void order(enum event_type type)
{
	rig_do(&rig, (struct cluster_event){ type, .app = { .reply = ++rig.replies, .app = "hello" } });
}

/* Replicas of a release in a state. */
static uint32_t count(uint32_t release, enum replica_state state)
{
	uint32_t n = 0;

	LIST_FOR_EACH(r, &hello()->replicas, struct replica, link)
		n += r->release_n == release && r->state == state;
	return n;
}

static void finish_drains(void)
{
	LIST_FOR_EACH_SAFE(r, &hello()->replicas, struct replica, link) {
		char *id = xstrdup(r->container_id), *at = xstrdup(r->started_at);

		if (r->state == REPLICA_DRAINING)
			rig_do(&rig, (struct cluster_event){ EVENT_DRAINED, .drained = { { "hello", r->n, id, at } } });
		free(id);
		free(at);
	}
}

/* ---- waves ---- */

static void test_waves(void **state)
{
	(void)state;
	deploy("hello:1");
	spec.max_surge = 2;
	rig.hold_drains = true;
	rig.hold_gates = true;
	deploy("hello:2");
	CHECK_INT("as many as may be more", count(2, REPLICA_PROBING), 2);
	CHECK_INT("the old ones stay", app_routed(hello()), 4);
	rig.hold_gates = false;
	rig_restart(&rig);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 1, NULL } });
	CHECK_INT("in", count(2, REPLICA_READY), 2);
	CHECK_INT("as many out", count(1, REPLICA_DRAINING), 2);
	CHECK_INT("still four", app_routed(hello()), 4);
	CHECK_INT("no room before they are gone", hello()->rolling->n, 2);
	CHECK_INT("no room before they are gone", count(2, REPLICA_PLACED), 0);
	finish_drains();
	CHECK_INT("the next wave", hello()->current->n, 2);
	CHECK_INT("four", app_routed(hello()), 4);
	CHECK_INT("all of the new", count(2, REPLICA_READY), 4);
}

static void test_failed_wave_goes_back(void **state)
{
	(void)state;
	deploy("hello:1");
	spec.max_surge = 2;
	rig.hold_drains = true;
	deploy("hello:2");
	CHECK_INT("half way", count(2, REPLICA_READY), 2);
	rig.gate_fails = true;
	finish_drains();
	CHECK_INT("failed", app_release(hello(), 2)->state, RELEASE_FAILED);
	CHECK_INT("what it brought in carries on", count(2, REPLICA_READY), 2);
	CHECK_INT("four", app_routed(hello()), 4);
	rig.gate_fails = false;
	rig_pass(&rig, 70000, true);
	CHECK_INT("back", count(1, REPLICA_READY), 4);
	CHECK_INT("and out", count(2, REPLICA_READY), 0);
	CHECK_INT("four", app_routed(hello()), 4);
}

static void test_superseded_wave(void **state)
{
	(void)state;
	deploy("hello:1");
	spec.max_surge = 2;
	rig.hold_drains = true;
	deploy("hello:2");
	rig.hold_gates = true;
	deploy("hello:3");
	CHECK_INT("superseded", app_release(hello(), 2)->state, RELEASE_SUPERSEDED);
	CHECK_INT("two of each", count(1, REPLICA_READY) + count(2, REPLICA_READY), 4);
	rig.hold_gates = rig.hold_drains = false;
	rig_restart(&rig);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 1, NULL } });
	finish_drains();
	CHECK_INT("the last", hello()->current->n, 3);
	CHECK_INT("four", count(3, REPLICA_READY), 4);
	CHECK_INT("no other", app_routed(hello()), 4);
}

static void test_policies_change_in_one_turn(void **state)
{
	struct pair rate = { "rate", "5" };

	(void)state;
	deploy("hello:1");
	spec.max_surge = 1;
	spec.policy = (struct pairs){ &rate, 1 };
	rig.hold_gates = true;
	deploy("hello:2");
	CHECK_INT("all at once", count(2, REPLICA_PROBING), 4);
}

/* ---- stop-first ---- */

static void test_stop_first(void **state)
{
	const char *domain = "hello.example.test";

	(void)state;
	spec.domains = (struct strs){ &domain, 1 };
	spec.replicas = 2;
	deploy("hello:1");
	spec.stop_first = true;
	rig.hold_drains = true;
	deploy("hello:2");
	CHECK_INT("the old ones end", count(1, REPLICA_DRAINING), 2);
	CHECK_INT("requests wait for the health limit and more", rig.hold_ms, 90000);
	CHECK_INT("the new ones wait", count(2, REPLICA_PLACED), 2);
	CHECK_INT("with their image", rig_replica(&rig, "hello", 3)->has_image, true);
	rig_restart(&rig);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 1, NULL } });
	finish_drains();
	CHECK_INT("then they start", hello()->current->n, 2);
	CHECK_INT("two", app_routed(hello()), 2);
	CHECK_INT("nothing of the old was brought back", count(1, REPLICA_READY) + count(1, REPLICA_PLACED), 0);
	spec.stop_first = false;
	rig.hold_drains = false;
	deploy("hello:3");
	CHECK_INT("as ever", rig.hold_ms, 0);
}

static void test_failed_stop_first_starts_the_old_again(void **state)
{
	(void)state;
	spec.replicas = 1;
	spec.stop_first = true;
	deploy("hello:1");
	rig.hold_gates = true;
	deploy("hello:2");
	CHECK_INT("nobody", app_routed(hello()), 0);
	rig.hold_gates = false;
	rig_pass(&rig, 100000, true);
	CHECK_INT("the gate closed", app_release(hello(), 2)->state, RELEASE_FAILED);
	CHECK_INT("the old one is back", count(1, REPLICA_READY), 1);
	CHECK_INT("routed", app_routed(hello()), 1);
}

static void test_volume(void **state)
{
	struct pair data = { "data", "/data" };

	(void)state;
	spec.replicas = 1;
	spec.volumes = (struct pairs){ &data, 1 };
	rig.volume_busy = true;
	deploy("hello:1");
	CHECK_INT("asked again later", count(1, REPLICA_STARTING), 1);
	rig.volume_busy = false;
	rig_pass(&rig, 5000, true);
	CHECK_INT("routed", app_routed(hello()), 1);
	CHECK_INT("where it lives", hello()->volume_node, 0);
	rig.hold_drains = true;
	deploy("hello:2");
	CHECK_INT("one owner", rig.effects[EFFECT_CREATE] - count(2, REPLICA_READY), rig.effects[EFFECT_CREATE]);
	finish_drains();
	CHECK_INT("the next one", count(2, REPLICA_READY), 1);
	CHECK_STR("on the same node", rig_nodes(&rig, "hello"), "0");
	rig_restart(&rig);
	CHECK_INT("known after a restart", hello()->volume_node, 0);
}

static void test_volume_waits_for_its_node(void **state)
{
	struct pair data = { "data", "/data" };
	const char *worker = "worker-1";

	(void)state;
	spec.replicas = 1;
	spec.volumes = (struct pairs){ &data, 1 };
	spec.nodes = (struct strs){ &worker, 1 };
	deploy("hello:1");
	spec.nodes.n = 0;
	CHECK_INT("there", hello()->volume_node, 1);
	rig_pass(&rig, 95000, false);
	CHECK_STR("offline", node_health(cluster_node(rig.c, 1)), "offline");
	CHECK_STR("nowhere else", rig_nodes(&rig, "hello"), "1");
	deploy("hello:2");
	CHECK_INT("no node fits", rig.reply.kind, REPLY_UNPLACEABLE);
}

static void test_volume_rules(void **state)
{
	static struct pair two[] = { { "a", "/data" }, { "b", "/data" } }, bad = { "A", "/x" }, rel = { "a", "x" };
	static const struct {
		const char *name;
		struct pairs volumes;
		uint32_t replicas;
		const char *want;
	} cases[] = {
		{ "one replica", { two, 1 }, 2, "runs 1 replica" },
		{ "one path each", { two, 2 }, 1, "same path" },
		{ "a name", { &bad, 1 }, 1, "its name is" },
		{ "a path", { &rel, 1 }, 1, "no path in the container" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		spec.volumes = cases[i].volumes;
		spec.replicas = cases[i].replicas;
		deploy("hello:1");
		CHECK_INT(cases[i].name, rig.reply.kind, REPLY_INVALID);
		if (!strstr(rig.text, cases[i].want))
			fail_msg("%s: %s", cases[i].name, rig.text);
	}
}

/* ---- the command before ---- */

static const char *const migrate = "migrate";

static void test_hook(void **state)
{
	(void)state;
	deploy("hello:1");
	spec.pre_deploy = (struct strs){ (const char **)&migrate, 1 };
	rig.hook_runs = true;
	deploy("hello:2");
	CHECK_INT("one", rig.hooks, 1);
	CHECK_INT("nothing starts before", count(2, REPLICA_PLACED), 4);
	rig_restart(&rig);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 1, NULL } });
	rig_pass(&rig, 10000, true);
	CHECK_INT("not again", rig.hooks, 1);
	CHECK_INT("the old ones serve", app_routed(hello()), 4);
	rig.hook_runs = false;
	rig_pass(&rig, 3000, true);
	CHECK_INT("done", hello()->current->n, 2);
	CHECK_INT("removed", rig_replica(&rig, "hello", rig.hook)->state, REPLICA_GONE);
	CHECK_INT("four", app_routed(hello()), 4);
}

static void test_failed_hook_stops_the_deploy(void **state)
{
	(void)state;
	deploy("hello:1");
	spec.pre_deploy = (struct strs){ (const char **)&migrate, 1 };
	rig.hook_exit = 3;
	deploy("hello:2");
	rig_pass(&rig, 100, true);
	CHECK_INT("failed", app_release(hello(), 2)->state, RELEASE_FAILED);
	CHECK_STR("reason", app_release(hello(), 2)->reason,
		  "its pre-deploy command on node local ended with exit code 3");
	CHECK_STR("log", release_last_lines(app_release(hello(), 2)), "last words");
	CHECK_INT("no replica was created", rig.effects[EFFECT_CREATE], 4 + 1);
	CHECK_INT("removed", rig_replica(&rig, "hello", rig.hook)->state, REPLICA_GONE);
	CHECK_INT("the old ones serve", app_routed(hello()), 4);
}

/* ---- drains ---- */

static void test_drain_limits_of_an_app(void **state)
{
	(void)state;
	spec.replicas = 1;
	spec.request_drain_ms = 400000;
	deploy("hello:1");
	rig.hold_drains = true;
	deploy("hello:2");
	rig_pass(&rig, 410000, true);
	CHECK_INT("longer than the cluster's", count(1, REPLICA_DRAINING), 1);
	rig_pass(&rig, 10000, true);
	CHECK_INT("not for ever", count(1, REPLICA_DRAINING), 0);
	spec.request_drain_ms = spec.tunnel_drain_ms = 5000;
	deploy("hello:3");
	deploy("hello:4");
	rig_pass(&rig, 21000, true);
	CHECK_INT("shorter", count(3, REPLICA_DRAINING), 0);
}

/* ---- a health command ---- */

static const struct {
	const char *name;
	enum container_health says;
	uint64_t after_ms;
	enum release_state want;
	const char *reason;
} commands[] = {
	{ "it succeeds", HEALTH_GOOD, 1000, RELEASE_ACTIVE, "" },
	{ "it is not through yet", HEALTH_STARTING, 5000, RELEASE_ROLLING, "" },
	{ "nor within the limit", HEALTH_STARTING, 61000, RELEASE_FAILED, "within the limit" },
	{ "it fails", HEALTH_BAD, 1000, RELEASE_FAILED, "its health command fails" },
	{ "an agent of old", HEALTH_NONE, 1000, RELEASE_FAILED, "upgrade it" },
};

static void test_health_command(void **state)
{
	const char *check = "check";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		teardown(NULL);
		setup(NULL);
		spec.replicas = 2;
		spec.health_command = (struct strs){ &check, 1 };
		rig.health = commands[i].says;
		deploy("hello:1");
		CHECK_INT(commands[i].name, rig.effects[EFFECT_PROBE_START], 0);
		rig_pass(&rig, commands[i].after_ms, true);
		CHECK_INT(commands[i].name, app_release(hello(), 1)->state, commands[i].want);
		if (!strstr(app_release(hello(), 1)->reason, commands[i].reason))
			fail_msg("%s: %s", commands[i].name, app_release(hello(), 1)->reason);
	}
	spec.health_path = "/up";
	deploy("hello:2");
	CHECK_INT("one test", rig.reply.kind, REPLY_INVALID);
}

/* ---- canary ---- */

static void test_canary(void **state)
{
	(void)state;
	canary("hello:1", 10);
	CHECK_INT("nothing to compare it with", rig.reply.kind, REPLY_INVALID);
	deploy("hello:1");
	canary("hello:2", 10);
	CHECK_INT("one of four", count(2, REPLICA_READY), 1);
	CHECK_INT("all of the old", count(1, REPLICA_READY), 4);
	/* 1 x 4 of 40: a tenth. */
	CHECK_INT("its weight", rig.weights[5], 4);
	CHECK_INT("theirs", rig.weights[1], 9);
	rig_restart(&rig);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 1, NULL } });
	rig_pass(&rig, 4000000, true);
	CHECK_INT("it stays", count(2, REPLICA_READY), 1);
	CHECK_INT("so does its weight", rig.weights[5], 4);
	canary("hello:2", 50);
	CHECK_INT("a larger share", count(2, REPLICA_READY), 2);
	CHECK_INT("half each", rig.weights[5] * 2, rig.weights[1] * 4);
	order(EVENT_PROMOTE);
	CHECK_INT("takes over", hello()->current->n, 2);
	CHECK_INT("four", count(2, REPLICA_READY), 4);
	CHECK_INT("equals", rig.weights[5], 1);
	order(EVENT_PROMOTE);
	CHECK_INT("nothing left to promote", rig.reply.kind, REPLY_CONFLICT);
}

/* What a superseded canary leaves behind stands in for the old release only until that is complete again. */
static void test_canary_after_a_canary(void **state)
{
	(void)state;
	spec.replicas = 1;
	deploy("hello:1");
	canary("hello:2", 50);
	rig.hook = 1;
	rig.hook_exit = 1;
	rig.hold_gates = true;
	rig_do(&rig, (struct cluster_event){ EVENT_INVENTORY, .inventory = { .node_id = NODE_LOCAL_ID } });
	rig_do(&rig, (struct cluster_event){ EVENT_INVENTORY, .inventory = { .node_id = 1 } });
	CHECK_INT("the old one died", count(1, REPLICA_READY), 0);
	CHECK_INT("and comes back", count(1, REPLICA_PROBING), 1);
	canary("hello:3", 50);
	CHECK_INT("the first canary stands in", count(2, REPLICA_READY), 1);
	CHECK_INT("not for good", count(1, REPLICA_PROBING), 1);
}

static void test_aborted_canary(void **state)
{
	(void)state;
	deploy("hello:1");
	canary("hello:2", 10);
	order(EVENT_ABORT);
	CHECK_INT("aborted", app_release(hello(), 2)->state, RELEASE_ABORTED);
	CHECK_INT("out", count(2, REPLICA_READY), 0);
	CHECK_INT("four", app_routed(hello()), 4);
	CHECK_INT("equals", rig.weights[1], 1);
}

static void test_failing_canary_aborts_itself(void **state)
{
	const struct replica *r;
	struct container_info info = { .state = CONTAINER_EXITED, .exit_code = 1, .spec_hash = "", .started_at = "then" };
	char *id, *name;

	(void)state;
	deploy("hello:1");
	canary("hello:2", 10);
	r = rig_replica(&rig, "hello", 5);
	id = xstrdup(r->container_id);
	name = xstrdup(r->name);
	info.container_id = id;
	info.name = name;
	/* Looked at, it has ended. */
	rig.hook = 5;
	rig.hook_exit = 1;
	rig_do(&rig, (struct cluster_event){ EVENT_CONTAINER, .container = { r->node->id, info } });
	CHECK_INT("failed", app_release(hello(), 2)->state, RELEASE_FAILED);
	CHECK_STR("log", release_last_lines(app_release(hello(), 2)), "last words");
	CHECK_INT("four", app_routed(hello()), 4);
	CHECK_INT("equals", rig.weights[1], 1);
	free(id);
	free(name);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_waves),
		TEST(test_failed_wave_goes_back),
		TEST(test_superseded_wave),
		TEST(test_policies_change_in_one_turn),
		TEST(test_stop_first),
		TEST(test_failed_stop_first_starts_the_old_again),
		TEST(test_volume),
		TEST(test_volume_waits_for_its_node),
		TEST(test_volume_rules),
		TEST(test_hook),
		TEST(test_failed_hook_stops_the_deploy),
		TEST(test_drain_limits_of_an_app),
		TEST(test_health_command),
		TEST(test_canary),
		TEST(test_canary_after_a_canary),
		TEST(test_aborted_canary),
		TEST(test_failing_canary_aborts_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
