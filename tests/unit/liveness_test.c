/* The three signals about a node, and what each of them may do. */
#include "check.h"

#include <stdio.h>

#include "sched_rig.h"

static struct rig rig;
static int64_t one, two;

/* hello and other run on local, worker-1 and worker-2. */
static int setup(void **state)
{
	struct app_spec spec = rig_spec(3);

	(void)state;
	rig_init(&rig);
	one = rig_join(&rig, "worker-1", NULL);
	two = rig_join(&rig, "worker-2", NULL);
	rig_deploy(&rig, "hello", &spec);
	rig_deploy(&rig, "other", &spec);
	CHECK_STR("hello", rig_nodes(&rig, "hello"), "0 1 2");
	CHECK_STR("other", rig_nodes(&rig, "other"), "0 1 2");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_fini(&rig);
	return 0;
}

static void upstream(const char *app, uint32_t replica, enum upstream_failure failure)
{
	const struct replica *r = rig_replica(&rig, app, replica);
	char *id = xstrdup(r->container_id), *at = xstrdup(r->started_at);

	rig_do(&rig, (struct cluster_event){ EVENT_UPSTREAM_FAILED,
					     .upstream = { { app, replica, id, at }, failure } });
	free(id);
	free(at);
}

static void beat(int64_t id, bool docker_ok, const char *boot)
{
	rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = { .reply = 1,
									     .node_id = id,
									     .docker_ok = docker_ok,
									     .boot_id = boot } });
}

static void test_offline_between_90_and_91_s(void **state)
{
	(void)state;
	rig_pass(&rig, 89900, false);
	CHECK_STR("89.9 s", node_status(cluster_node(rig.c, one)), "active");
	rig_pass(&rig, 1000, false);
	CHECK_STR("90.9 s", node_status(cluster_node(rig.c, one)), "offline");
	CHECK_STR("health", node_health(cluster_node(rig.c, one)), "offline");
}

static void test_any_exchange_counts(void **state)
{
	(void)state;
	rig_pass(&rig, 60000, false);
	rig_do(&rig, (struct cluster_event){ EVENT_EXCHANGE, .exchange = { one, true } });
	beat(two, true, NULL);
	rig_pass(&rig, 60000, false);
	CHECK_STR("called", node_status(cluster_node(rig.c, one)), "active");
	CHECK_STR("beat", node_status(cluster_node(rig.c, two)), "active");
	rig_pass(&rig, 31000, false);
	CHECK_STR("called", node_status(cluster_node(rig.c, one)), "offline");
}

static void test_offline_replicas_are_placed_elsewhere(void **state)
{
	(void)state;
	rig.hold_drains = true;
	rig_pass(&rig, 50000, false);
	beat(two, true, NULL);
	rig_pass(&rig, 41000, false);
	CHECK_STR("one", node_status(cluster_node(rig.c, one)), "offline");
	CHECK_STR("hello", rig_nodes(&rig, "hello"), "0 1 2 0");
	assert_true(rig_replica(&rig, "hello", 2)->away);
	assert_true(rig_replica(&rig, "hello", 2)->routed);
	/* It comes back: its copy is the surplus, and drained before it is stopped. */
	beat(one, true, NULL);
	CHECK_STR("back", rig_nodes(&rig, "hello"), "0 2 0");
	CHECK_INT("draining", rig_replica(&rig, "hello", 2)->state, REPLICA_DRAINING);
	CHECK_INT("stops", rig.effects[EFFECT_STOP], 0);
}

static void test_surplus_waits_until_nodes_are_known(void **state)
{
	(void)state;
	rig_pass(&rig, 50000, false);
	beat(two, true, NULL);
	rig_pass(&rig, 41000, false);
	CHECK_STR("one is offline", rig_nodes(&rig, "hello"), "0 1 2 0");
	rig_restart(&rig);
	assert_true(rig_replica(&rig, "hello", 2)->away);
	beat(one, true, NULL);
	CHECK_STR("two may be down by now", rig_nodes(&rig, "hello"), "0 1 2 0");
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { two, NULL } });
	CHECK_STR("it is not", rig_nodes(&rig, "hello"), "0 2 0");
}

static void test_restart_begins_anew(void **state)
{
	(void)state;
	rig_pass(&rig, 80000, false);
	rig_restart(&rig);
	rig_pass(&rig, 80000, false);
	CHECK_STR("one", node_status(cluster_node(rig.c, one)), "active");
	CHECK_INT("created", rig.effects[EFFECT_CREATE], 6);
	rig_pass(&rig, 11000, false);
	CHECK_STR("one", node_status(cluster_node(rig.c, one)), "offline");
}

static void test_late_turn_shifts_deadlines(void **state)
{
	(void)state;
	rig_pass(&rig, 30000, false);
	rig.now.mono_ms += 120000; /* stopped for two minutes */
	rig_do(&rig, (struct cluster_event){ .type = EVENT_TICK });
	rig_pass(&rig, 50000, false);
	CHECK_STR("one", node_status(cluster_node(rig.c, one)), "active");
	CHECK_INT("created", rig.effects[EFFECT_CREATE], 6);
	rig_pass(&rig, 12000, false);
	CHECK_STR("one", node_status(cluster_node(rig.c, one)), "offline");
}

static void test_mass_failure_brakes(void **state)
{
	(void)state;
	rig_join(&rig, "worker-3", NULL);
	rig_pass(&rig, 95000, false);
	assert_true(cluster_braked(rig.c));
	assert_non_null(strstr(rig.events, "MassFailure"));
	assert_non_null(strstr(rig_nodes(&rig, "other"), "1"));
	rig_pass(&rig, 650000, false);
	assert_false(cluster_braked(rig.c));
	CHECK_STR("other", rig_nodes(&rig, "other") + strlen(rig_nodes(&rig, "other")) - 1, "0");
}

/* What nobody but the data path, or a person, may bring about. */
static uint64_t moved(void)
{
	return rig.effects[EFFECT_ENDPOINT_FAILED] + rig.effects[EFFECT_ROUTE_OUT] +
	       rig.effects[EFFECT_STOP] + rig.effects[EFFECT_REMOVE];
}

static void deploy_third(void)
{
	struct app_spec spec = rig_spec(3);

	rig_deploy(&rig, "third", &spec);
}

static void lose(int64_t id)
{
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_LOST, .agent = { id, "gone" } });
}

static void reach(int64_t id)
{
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { id, NULL } });
}

/* Letters: s the stream of worker-1 ends; c its calls fail in transport; d its beat says that the engine does not answer; a every
 * agent is lost. */
static const struct {
	const char *name;
	char how;
	const char *third; /* where the app that is deployed then runs */
	const char *health;
} losses[] = {
	{ "the stream", 's', "0 2 0", "ok" },
	{ "a call", 'c', "0 2 0", "ok" },
	{ "the engine", 'd', "0 2 0", "suspect" },
	{ "every agent", 'a', "0 0 0", "ok" },
};

static void strike_agent(char how)
{
	switch (how) {
	case 's': lose(one); break;
	case 'c': rig.mute_node = one; break;
	case 'd': beat(one, false, NULL); break;
	default:
		lose(one);
		lose(two);
		break;
	}
}

static void test_agent_loss_moves_no_traffic(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(losses); i++) {
		const char *name = losses[i].name;

		teardown(NULL);
		setup(NULL);
		strike_agent(losses[i].how);
		deploy_third();
		CHECK_STR(name, rig_nodes(&rig, "third"), losses[i].third);
		CHECK_INT(name, moved(), 0);
		CHECK_STR(name, node_health(cluster_node(rig.c, one)), losses[i].health);
		CHECK_STR(name, node_status(cluster_node(rig.c, one)), "active");
		assert_true(*cluster_node(rig.c, one)->reason);
		CHECK_INT(name, app_routed(cluster_app(rig.c, "hello")), 3);
		rig.mute_node = -1;
		beat(one, true, NULL);
		reach(one);
		reach(two);
		CHECK_STR(name, cluster_node(rig.c, one)->reason, "");
		CHECK_INT(name, node_eligible(cluster_node(rig.c, one), NULL), true);
		CHECK_INT(name, app_routed(cluster_app(rig.c, "hello")), 3);
		CHECK_STR(name, rig_nodes(&rig, "hello"), "0 1 2");
	}
}

static void test_an_error_in_an_answer_is_no_signal(void **state)
{
	(void)state;
	rig.image_fails = true;
	deploy_third();
	CHECK_INT("link", cluster_node(rig.c, one)->link_state, LINK_UP);
	CHECK_INT("eligible", node_eligible(cluster_node(rig.c, one), NULL), true);
	CHECK_STR("health", node_health(cluster_node(rig.c, one)), "ok");
}

/* Its agent lives and says so; what waits for the engine does not wait with it. */
static void test_an_engine_that_freezes_amid_a_deploy(void **state)
{
	(void)state;
	rig.frozen_node = one;
	deploy_third();
	CHECK_STR("waits", rig_nodes(&rig, "third"), "0 1 2");
	CHECK_INT("not yet", cluster_app(rig.c, "third")->current != NULL, false);
	beat(one, false, NULL);
	CHECK_INT("done", cluster_app(rig.c, "third")->current != NULL, true);
	CHECK_STR("elsewhere", rig_nodes(&rig, "third"), "0 2 0");
	CHECK_INT("nobody else's traffic", moved(), 0);
	CHECK_STR("health", node_health(cluster_node(rig.c, one)), "suspect");
}

static void test_a_suspect_node_gets_nothing(void **state)
{
	(void)state;
	rig.gate_fails = true;
	upstream("hello", 2, UPSTREAM_TIMEOUT);
	upstream("other", 2, UPSTREAM_UNREACHABLE);
	CHECK_STR("health", node_health(cluster_node(rig.c, one)), "suspect");
	rig.gate_fails = false;
	deploy_third();
	CHECK_STR("third", rig_nodes(&rig, "third"), "0 2 0");
	CHECK_STR("nothing of the others is replaced", rig_nodes(&rig, "hello"), "0 1 2");
}

/* Beats of worker-1: . plain, d the engine does not answer, i with an inventory that lacks its containers, h with a hash that is not
 * known, b after another boot: the one after which its containers are looked at. */
static const char *const beats[] = { ".", "...", "d.", "dd", "h", "hi.", "i", "ib", "bb", "bdhi." };

static void test_a_heartbeat_alone_restarts_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(beats); i++) {
		uint64_t created;

		teardown(NULL);
		setup(NULL);
		beat(one, true, "boot-0");
		created = rig.effects[EFFECT_CREATE];
		for (const char *p = beats[i]; *p; p++) {
			struct event_heartbeat e = { .reply = 1,
						     .node_id = one,
						     .docker_ok = *p != 'd',
						     .boot_id = *p == 'b' ? "boot-1" : NULL,
						     .has_inventory = *p == 'i',
						     .inventory_hash = *p == 'h' ? "new" : NULL };

			rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = e });
			rig_pass(&rig, 5000, false);
		}
		CHECK_INT(beats[i], rig.effects[EFFECT_CREATE], created);
		CHECK_INT(beats[i], rig.effects[EFFECT_STOP] + rig.effects[EFFECT_REMOVE], 0);
		CHECK_INT(beats[i], app_routed(cluster_app(rig.c, "hello")), 3);
		CHECK_STR(beats[i], rig_nodes(&rig, "hello"), "0 1 2");
	}
}

/* Nobody else could take what it ran: it is no surplus when it returns. */
static void test_a_returned_copy_stays_when_short(void **state)
{
	const char *only = "worker-1";
	struct app_spec spec = rig_spec(2);

	(void)state;
	spec.nodes = (struct strs){ &only, 1 };
	rig_deploy(&rig, "third", &spec);
	rig_pass(&rig, 50000, false);
	beat(two, true, NULL);
	rig_pass(&rig, 41000, false);
	CHECK_STR("one", node_status(cluster_node(rig.c, one)), "offline");
	assert_non_null(strstr(rig.events, "ReplicasShort"));
	CHECK_INT("still in routing", app_routed(cluster_app(rig.c, "third")), 2);
	beat(one, true, NULL);
	CHECK_STR("its copies", rig_nodes(&rig, "third"), "1 1");
	CHECK_INT("stops of what was replaced", rig.effects[EFFECT_STOP], 2);
	CHECK_INT("routed", app_routed(cluster_app(rig.c, "third")), 2);
}

/* Each that waits looks at all nodes: a few do in one step, and all of them in the end. */
static void test_many_wait_for_a_node(void **state)
{
	enum { WAITING = 100 };
	const char *only = "spare";
	int64_t spare = rig_join(&rig, only, "eu");
	struct app_spec spec = rig_spec(1);
	uint32_t placed;
	char name[16];

	(void)state;
	spec.nodes = (struct strs){ &only, 1 };
	for (int i = 0; i < WAITING; i++) {
		snprintf(name, sizeof(name), "waiting-%d", i);
		rig_deploy(&rig, name, &spec);
	}
	rig_do(&rig, (struct cluster_event){ .type = EVENT_AGENT_LOST, .agent = { spare, "gone" } });
	rig_do(&rig, (struct cluster_event){ .type = EVENT_NODE_DELETE, .node_delete = { 1, spare, true } });
	placed = rig.effects[EFFECT_CREATE];
	rig_join(&rig, only, "eu");
	assert_in_range(rig.effects[EFFECT_CREATE] - placed, 1, WAITING / 2);
	rig_pass(&rig, 1000, true);
	CHECK_INT("placed in the end", rig.effects[EFFECT_CREATE] - placed, WAITING);
}

/* So many of so many workers fall silent at once; local counts with the cluster. */
static const struct {
	const char *name;
	unsigned workers, silent;
	bool braked;
} brakes[] = {
	{ "two of two", 2, 2, false },
	{ "three of three", 3, 3, true },
	{ "three of seven", 7, 3, true },
	{ "three of eight, a third", 8, 3, false },
	{ "four of eight", 8, 4, true },
};

static void test_brake_threshold(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(brakes); i++) {
		int64_t ids[8];
		char name[24];

		rig_fini(&rig);
		rig_init(&rig);
		for (unsigned w = 0; w < brakes[i].workers; w++) {
			snprintf(name, sizeof(name), "worker-%u", w);
			ids[w] = rig_join(&rig, name, NULL);
		}
		rig_pass(&rig, 60000, false);
		for (unsigned w = brakes[i].silent; w < brakes[i].workers; w++)
			beat(ids[w], true, NULL);
		rig_pass(&rig, 40000, false);
		CHECK_INT(brakes[i].name, cluster_braked(rig.c), brakes[i].braked);
	}
}

static void test_a_person_releases_the_brake(void **state)
{
	struct cluster_event release = { EVENT_BRAKE_RELEASE, .command = { 7 } };

	(void)state;
	rig_join(&rig, "worker-3", NULL);
	rig_do(&rig, release);
	assert_non_null(strstr(rig.text, "Nothing was held back"));
	rig_pass(&rig, 95000, false);
	assert_true(cluster_braked(rig.c));
	assert_in_range(cluster_brake_ms(rig.c, rig.now.mono_ms), 590000, 600000);
	CHECK_STR("held back", rig_nodes(&rig, "hello"), "0 1 2");
	rig_do(&rig, release);
	CHECK_INT("reply", rig.reply.kind, REPLY_OK);
	assert_false(cluster_braked(rig.c));
	CHECK_INT("no time left", cluster_brake_ms(rig.c, rig.now.mono_ms), 0);
	CHECK_STR("now", rig_nodes(&rig, "hello"), "0 1 2 0 0");
}

static void test_refusal_takes_out_one_endpoint(void **state)
{
	(void)state;
	rig.gate_fails = true;
	upstream("hello", 2, UPSTREAM_REFUSED);
	assert_false(rig_replica(&rig, "hello", 2)->routed);
	assert_true(rig_replica(&rig, "other", 2)->routed);
	CHECK_STR("health", node_health(cluster_node(rig.c, one)), "ok");
	/* The same news again, and news of a container that was before it, change nothing. */
	upstream("hello", 2, UPSTREAM_REFUSED);
	CHECK_INT("failed", rig.effects[EFFECT_ENDPOINT_FAILED], 1);
	rig_do(&rig, (struct cluster_event){
			     EVENT_UPSTREAM_FAILED,
			     .upstream = { { "hello", 1, "older", "then" }, UPSTREAM_REFUSED } });
	assert_true(rig_replica(&rig, "hello", 1)->routed);
	CHECK_INT("probes", rig.effects[EFFECT_PROBE_START], 7);
	rig_do(&rig, (struct cluster_event){
			     EVENT_PROBE_DONE,
			     .probe = { { "hello", 2, rig_replica(&rig, "hello", 2)->probe_seq },
					true,
					NULL } });
	assert_true(rig_replica(&rig, "hello", 2)->routed);
}

/* Letters: h and o time out on worker-1's endpoint of hello and other; A the agent is lost; . five seconds; _ twenty. */
static const struct {
	const char *name, *signs;
	bool want;
} suspicions[] = {
	{ "one app", "h", false },
	{ "one app again", "h.h", false },
	{ "two apps", "ho", true },
	{ "two apps, far apart", "h_o", false },
	{ "an endpoint, then the agent", "h.A", true },
	{ "the agent, then an endpoint", "A.h", true },
	{ "the agent alone", "A", false },
	{ "an endpoint, much later the agent", "h_A", false },
};

static void test_suspicion(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(suspicions); i++) {
		const char *name = suspicions[i].name;

		teardown(NULL);
		setup(NULL);
		rig.gate_fails = true;
		for (const char *p = suspicions[i].signs; *p; p++) {
			if (*p == 'A')
				rig_do(&rig, (struct cluster_event){ EVENT_AGENT_LOST,
								     .agent = { one, "gone" } });
			else if (*p == '.' || *p == '_')
				rig_pass(&rig, *p == '.' ? 5000 : 20000, false);
			else
				upstream(*p == 'h' ? "hello" : "other", 2, UPSTREAM_TIMEOUT);
		}
		CHECK_STR(name, node_health(cluster_node(rig.c, one)),
			  suspicions[i].want ? "suspect" : "ok");
		if (suspicions[i].want) {
			CHECK_INT(name, rig_replica(&rig, "hello", 2)->routed, false);
			CHECK_INT(name, rig_replica(&rig, "other", 2)->routed, false);
			CHECK_INT(name, rig_replica(&rig, "other", 3)->routed, true);
			/* Those that were out already too: what waits there moves. */
			CHECK_INT(name, rig.suspected, 2);
			rig_do(&rig,
			       (struct cluster_event){
				       EVENT_PROBE_DONE,
				       .probe = { { "other", 2,
						    rig_replica(&rig, "other", 2)->probe_seq },
						  true,
						  NULL } });
			CHECK_STR(name, node_health(cluster_node(rig.c, one)), "ok");
			CHECK_INT(name, rig_replica(&rig, "other", 2)->routed, true);
		} else {
			CHECK_INT(name, rig.suspected, 0);
		}
		CHECK_INT(name, rig.effects[EFFECT_STOP], 0);
		CHECK_INT(name, rig.effects[EFFECT_CREATE], 6);
	}
}

static void test_reboot_takes_endpoints_out_until_inspected(void **state)
{
	uint64_t inspected;

	(void)state;
	beat(one, true, "boot-1");
	inspected = rig.effects[EFFECT_INSPECT];
	rig.mute_node = one;
	beat(one, true, "boot-2");
	assert_false(rig_replica(&rig, "hello", 2)->routed);
	assert_true(rig_replica(&rig, "hello", 3)->routed);
	CHECK_INT("inspections", rig.effects[EFFECT_INSPECT], inspected + 2);
	rig.mute_node = -1;
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { one, NULL } });
	rig_pass(&rig, 5000, false);
	assert_true(rig_replica(&rig, "hello", 2)->routed);
}

static void test_resync(void **state)
{
	struct event_heartbeat e = { .reply = 1,
				     .node_id = one,
				     .docker_ok = true,
				     .inventory_hash = "h1",
				     .has_inventory = true };

	(void)state;
	rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = e });
	e.has_inventory = false;
	rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = e });
	assert_false(rig.reply.resync);
	e.inventory_hash = "h2";
	rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = e });
	assert_true(rig.reply.resync);
	e.node_id = 77;
	rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = e });
	CHECK_INT("unknown", rig.reply.kind, REPLY_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_offline_between_90_and_91_s, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_exchange_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offline_replicas_are_placed_elsewhere, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_surplus_waits_until_nodes_are_known, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_restart_begins_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_turn_shifts_deadlines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mass_failure_brakes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_agent_loss_moves_no_traffic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_error_in_an_answer_is_no_signal, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_an_engine_that_freezes_amid_a_deploy, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_suspect_node_gets_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_heartbeat_alone_restarts_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_returned_copy_stays_when_short, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_many_wait_for_a_node, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_brake_threshold, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_person_releases_the_brake, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_refusal_takes_out_one_endpoint, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_suspicion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reboot_takes_endpoints_out_until_inspected,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_resync, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
