/* Nodes that are emptied, taken out of the cluster, or cleaned; replicas that are spread anew. */
#include "check.h"

#include <stdlib.h>

#include "sched/move.h"
#include "sched_rig.h"

static struct rig rig;
static int64_t one, two;

static int setup(void **state)
{
	(void)state;
	rig_init(&rig);
	one = rig_join(&rig, "worker-1", NULL);
	two = rig_join(&rig, "worker-2", NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_fini(&rig);
	return 0;
}

static void deploy(const char *app, uint32_t replicas)
{
	struct app_spec spec = rig_spec(replicas);

	rig_deploy(&rig, app, &spec);
}

static void drain(int64_t node, bool on)
{
	rig_do(&rig, (struct cluster_event){ on ? EVENT_NODE_DRAIN : EVENT_NODE_UNDRAIN,
					     .node_drain = { ++rig.replies, node } });
}

static void delete(int64_t node, bool force)
{
	rig_do(&rig, (struct cluster_event){ EVENT_NODE_DELETE,
					     .node_delete = { ++rig.replies, node, force } });
}

static void lose(int64_t node)
{
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_LOST, .agent = { node, "gone" } });
}

static const char *status(int64_t node)
{
	return node_status(cluster_node(rig.c, node));
}

/* ---- drain ---- */

static void test_drain_moves_and_ends(void **state)
{
	(void)state;
	deploy("hello", 3);
	CHECK_STR("before", rig_nodes(&rig, "hello"), "0 1 2");
	drain(one, true);
	CHECK_INT("reply", rig.reply.kind, REPLY_OK);
	CHECK_STR("status", status(one), "drained");
	CHECK_STR("moved", rig_nodes(&rig, "hello"), "0 2 0");
	CHECK_INT("routed", app_routed(cluster_app(rig.c, "hello")), 3);
	drain(one, true);
	CHECK_INT("again", rig.reply.kind, REPLY_CONFLICT);
	deploy("other", 3);
	CHECK_STR("nothing new", rig_nodes(&rig, "other"), "0 2 0");
	rig_restart(&rig);
	CHECK_STR("stored", status(one), "drained");
	delete (one, false);
	CHECK_INT("removed", rig.reply.kind, REPLY_OK);
}

static void test_local_drains_too(void **state)
{
	(void)state;
	deploy("hello", 3);
	drain(NODE_LOCAL_ID, true);
	CHECK_STR("status", status(NODE_LOCAL_ID), "drained");
	CHECK_STR("moved", rig_nodes(&rig, "hello"), "1 2 1");
	rig_restart(&rig);
	CHECK_STR("stored", status(NODE_LOCAL_ID), "drained");
}

/* The old one carries traffic until the new one does, however long that takes. */
static void test_one_in_before_one_out(void **state)
{
	const struct replica *old;

	(void)state;
	deploy("hello", 2);
	old = rig_replica(&rig, "hello", 2);
	rig.hold_gates = rig.hold_drains = true;
	drain(one, true);
	CHECK_STR("both", rig_nodes(&rig, "hello"), "0 1 2");
	assert_true(old->routed);
	CHECK_STR("status", status(one), "draining");
	rig_do(&rig, (struct cluster_event){
			     EVENT_PROBE_DONE,
			     .probe = { { "hello", 3, rig_replica(&rig, "hello", 3)->probe_seq },
					true,
					NULL } });
	assert_true(rig_replica(&rig, "hello", 3)->routed);
	CHECK_INT("old", rig_replica(&rig, "hello", 2)->state, REPLICA_DRAINING);
	CHECK_INT("stops", rig.effects[EFFECT_STOP], 0);
	CHECK_STR("not before it is stopped", status(one), "draining");
	rig_pass(&rig, 400000, true);
	CHECK_STR("its drain limit is over", status(one), "drained");
}

static void test_what_fits_nowhere_stays(void **state)
{
	const char *only = "worker-1";
	struct app_spec spec = rig_spec(1);
	struct err err;

	(void)state;
	spec.nodes = (struct strs){ &only, 1 };
	rig_deploy(&rig, "hello", &spec);
	drain(one, true);
	rig_pass(&rig, 60000, true);
	CHECK_STR("waits", status(one), "draining");
	assert_true(rig_replica(&rig, "hello", 1)->routed);
	assert_non_null(strstr(rig.events, "MoveWaits"));
	assert_true(move_blocked(rig.c, rig_replica(&rig, "hello", 1), &err) < 0);
	assert_non_null(strstr(err.text, "worker-1: draining"));
	rig_restart(&rig);
	CHECK_STR("still", status(one), "draining");
	drain(one, false);
	CHECK_INT("undrain", rig.reply.kind, REPLY_OK);
	CHECK_STR("as if nothing was", rig_nodes(&rig, "hello"), "1");
	drain(one, false);
	CHECK_INT("undrain again", rig.reply.kind, REPLY_INVALID);
}

/* Its successor does not get healthy: the old one serves on. */
static void test_a_successor_that_fails(void **state)
{
	(void)state;
	deploy("hello", 2);
	rig.gate_fails = true;
	drain(one, true);
	rig_pass(&rig, 30000, true);
	CHECK_STR("status", status(one), "draining");
	assert_true(rig_replica(&rig, "hello", 2)->routed);
	rig.gate_fails = false;
	rig_pass(&rig, 70000, true);
	CHECK_STR("later", status(one), "drained");
	CHECK_INT("routed", app_routed(cluster_app(rig.c, "hello")), 2);
}

/* Volumes do not move: it stays, serves on, and everything else goes. */
static void test_a_volume_stays(void **state)
{
	const char *only = "worker-1";
	struct pair data = { "data", "/data" };
	struct app_spec spec = rig_spec(1);
	struct move_plan plan;

	(void)state;
	spec.nodes = (struct strs){ &only, 1 };
	spec.volumes = (struct pairs){ &data, 1 };
	rig_deploy(&rig, "db", &spec);
	deploy("hello", 3);
	drain(one, true);
	assert_non_null(strstr(rig.text, "but for 1 whose volumes are there"));
	CHECK_STR("status", status(one), "draining");
	CHECK_STR("the rest has gone", rig_nodes(&rig, "hello"), "2 0 2");
	CHECK_STR("it has not", rig_nodes(&rig, "db"), "1");
	assert_true(rig_replica(&rig, "db", 1)->routed);
	assert_true(move_is_bound(rig_replica(&rig, "db", 1)));
	move_plan(rig.c, &plan);
	for (uint32_t i = 0; i < plan.n; i++)
		assert_string_not_equal(plan.moves[i].replica->app->name, "db");
	rig_do(&rig, (struct cluster_event){ EVENT_APP_DELETE, .app_delete = { 1, "db" } });
	CHECK_STR("given up", status(one), "drained");
}

static void test_an_undrain_midway_leaves_no_surplus(void **state)
{
	(void)state;
	deploy("hello", 2);
	rig.hold_gates = true;
	drain(one, true);
	CHECK_STR("on its way", rig_nodes(&rig, "hello"), "0 1 2");
	drain(one, false);
	rig.hold_gates = false;
	CHECK_STR("what was new goes", rig_nodes(&rig, "hello"), "0 1");
	assert_true(rig_replica(&rig, "hello", 2)->routed);
}

static void test_a_rollout_leaves_the_node_at_once(void **state)
{
	(void)state;
	rig.hold_gates = true;
	deploy("hello", 3);
	CHECK_STR("begun", rig_nodes(&rig, "hello"), "0 1 2");
	drain(one, true);
	CHECK_STR("elsewhere", rig_nodes(&rig, "hello"), "0 2 0");
	CHECK_STR("status", status(one), "drained");
}

static void test_a_draining_node_that_falls_silent(void **state)
{
	(void)state;
	deploy("hello", 2);
	rig.hold_gates = true;
	drain(one, true);
	lose(one);
	rig.hold_gates = false;
	rig_pass(&rig, 50000, false);
	rig_do(&rig, (struct cluster_event){ EVENT_EXCHANGE, .exchange = { two, true } });
	rig_pass(&rig, 41000, false);
	CHECK_STR("no status says it better", status(one), "draining");
	CHECK_STR("health", node_health(cluster_node(rig.c, one)), "offline");
	delete (one, true);
	CHECK_INT("forced", rig.reply.kind, REPLY_OK);
	assert_null(strchr(rig_nodes(&rig, "hello"), '1'));
}

/* ---- removal ---- */

static void test_force_at_once(void **state)
{
	(void)state;
	deploy("hello", 3);
	delete (one, true);
	CHECK_INT("it answers", rig.reply.kind, REPLY_CONFLICT);
	assert_non_null(strstr(rig.text, "t-hello-2"));
	assert_non_null(strstr(rig.text, "still answers"));
	CHECK_INT("it is asked", rig.effects[EFFECT_NODE_PROBE], 1);
	lose(one);
	delete (one, false);
	CHECK_INT("not forced", rig.reply.kind, REPLY_CONFLICT);
	assert_non_null(strstr(rig.text, "--force"));
	delete (one, true);
	CHECK_INT("forced", rig.reply.kind, REPLY_OK);
	CHECK_STR("in the same turn", rig_nodes(&rig, "hello"), "0 2 0");
	CHECK_INT("routed", app_routed(cluster_app(rig.c, "hello")), 3);
	assert_true(cluster_node_auth(rig.c, one, rig_hash('b')) < 0);
	rig_do(&rig, (struct cluster_event){
			     EVENT_REGISTER,
			     .reg = { .reply = ++rig.replies,
				      .name = "worker-1",
				      .token_hash = rig_hash('d'),
				      .proof_hash = rig_hash('b'),
				      .address = "https://10.0.0.1:3100",
				      .private_address = "10.0.0.1" } });
	CHECK_INT("its token proves nothing", rig.reply.kind, REPLY_FORBIDDEN);
	rig_restart(&rig);
	assert_null(cluster_node(rig.c, one));
}

static void test_force_of_a_node_that_drains(void **state)
{
	(void)state;
	deploy("hello", 3);
	lose(one);
	drain(one, true);
	delete (one, true);
	CHECK_INT("forced", rig.reply.kind, REPLY_OK);
	assert_null(strstr(rig.events, "NodeDrained"));
}

/* ---- unknown containers ---- */

static struct container_info unknown(const char *id, const char *name)
{
	return (struct container_info){ .container_id = id,
					.name = name,
					.state = CONTAINER_RUNNING,
					.started_at = "then",
					.spec_hash = "another" };
}

static void inventory(int64_t node, const struct container_info *list, size_t n)
{
	rig_do(&rig, (struct cluster_event){ EVENT_INVENTORY, .inventory = { node, list, n } });
}

static void gc(int64_t node, const char **ids, size_t n)
{
	rig_do(&rig, (struct cluster_event){ EVENT_NODE_GC,
					     .node_gc = { ++rig.replies, node, { ids, n } } });
}

static void test_gc(void **state)
{
	const char *strange[] = { "x1", "x2" }, *ours[] = { "hello-container-2" };
	struct container_info list[] = { unknown("x1", "t-old-1"), unknown("x2", "t-hello-1"),
					 unknown("hello-container-2", "t-hello-2") };

	(void)state;
	deploy("hello", 2);
	list[2].spec_hash = "";
	inventory(one, list, 3);
	/* One of no app, and one with the name of a replica that runs elsewhere. */
	CHECK_INT("quarantine", cluster_node(rig.c, one)->quarantine_n, 2);
	assert_non_null(strstr(rig.events, "ContainerUnknown"));
	rig_pass(&rig, 60000, true);
	CHECK_INT("nothing by itself", rig.effects[EFFECT_STOP] + rig.effects[EFFECT_REMOVE], 0);
	gc(one, ours, 1);
	CHECK_INT("a replica's", rig.reply.kind, REPLY_NOT_FOUND);
	gc(two, strange, 2);
	CHECK_INT("another node", rig.reply.kind, REPLY_NOT_FOUND);
	gc(77, strange, 2);
	CHECK_INT("no node", rig.reply.kind, REPLY_NOT_FOUND);
	rig.mute_node = one;
	gc(one, strange, 1);
	CHECK_INT("asked", rig.reply.kind, REPLY_OK);
	assert_non_null(strstr(rig.events, "ContainerStays"));
	CHECK_INT("both are there", cluster_node(rig.c, one)->quarantine_n, 2);
	rig.mute_node = -1;
	gc(one, strange, 2);
	CHECK_INT("stops", rig.effects[EFFECT_STOP], 3);
	CHECK_INT("removals", rig.effects[EFFECT_REMOVE], 2);
	CHECK_INT("gone", cluster_node(rig.c, one)->quarantine_n, 0);
	assert_non_null(strstr(rig.events, "ContainerRemoved"));
	CHECK_STR("the app", rig_nodes(&rig, "hello"), "0 1");
	lose(one);
	gc(one, strange, 1);
	CHECK_INT("unreachable", rig.reply.kind, REPLY_CONFLICT);
}

/* A store from before: what was deployed since serves on, and its numbers and names are left to it. */
static void test_a_restored_backup_kills_nothing(void **state)
{
	static struct rig old;
	const struct replica *r;
	struct container_info list[2];

	(void)state;
	deploy("hello", 1);
	rig_init(&old);
	cluster_destroy(old.c);
	for (size_t i = 0; i < old.store_n; i++)
		free(old.store[i].value);
	old = rig;
	for (size_t i = 0; i < old.store_n; i++)
		old.store[i].value = xstrdup(rig.store[i].value);
	old.c = NULL;
	deploy("hello", 3);
	deploy("other", 1);
	CHECK_STR("today", rig_nodes(&rig, "hello"), "1 2 0");
	/* The control plane starts from the backup, its nodes say what runs. */
	rig_restart(&old);
	list[0] = unknown("hello-container-2", "t-hello-2");
	list[1] = unknown("other-container-1", "t-other-1");
	rig_do(&old, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { one, NULL } });
	memset(old.effects, 0, sizeof(old.effects));
	rig_do(&old, (struct cluster_event){ EVENT_INVENTORY, .inventory = { one, list, 2 } });
	CHECK_INT("unknown", cluster_node(old.c, one)->quarantine_n, 2);
	rig_pass(&old, 80000, true);
	CHECK_INT("stopped", old.effects[EFFECT_STOP] + old.effects[EFFECT_REMOVE], 0);
	r = rig_replica(&old, "hello", 1);
	CHECK_INT("what the backup knows", r->state, REPLICA_READY);
	rig_fini(&old);
}

/* ---- rebalance ---- */

static void order(const struct move_plan *plan)
{
	struct move_order orders[MOVES_MAX];

	for (uint32_t i = 0; i < plan->n; i++)
		orders[i] = (struct move_order){ plan->moves[i].replica->app->name,
						 plan->moves[i].replica->n,
						 plan->moves[i].to->id };
	rig_do(&rig, (struct cluster_event){ EVENT_REBALANCE,
					     .rebalance = { ++rig.replies, orders, plan->n } });
}

/* All on local, then a node may take its part. */
static struct move_plan uneven(void)
{
	struct move_plan plan;

	drain(one, true);
	drain(two, true);
	deploy("hello", 4);
	CHECK_STR("before", rig_nodes(&rig, "hello"), "0 0 0 0");
	move_plan(rig.c, &plan);
	CHECK_INT("nowhere else", plan.n, 0);
	drain(one, false);
	move_plan(rig.c, &plan);
	CHECK_INT("moves", plan.n, 2);
	CHECK_STR("why", plan.moves[0].reason, "4 of its replicas are on local, 0 on worker-1");
	return plan;
}

static void test_rebalance(void **state)
{
	struct move_plan plan = uneven();

	(void)state;
	order(&plan);
	CHECK_INT("reply", rig.reply.kind, REPLY_OK);
	CHECK_STR("after", rig_nodes(&rig, "hello"), "0 0 1 1");
	CHECK_INT("routed", app_routed(cluster_app(rig.c, "hello")), 4);
	move_plan(rig.c, &plan);
	CHECK_INT("nothing left", plan.n, 0);
}

/* Different apps, one replica each: nodes are evened out by what they run in all. */
static void test_rebalance_by_load(void **state)
{
	static const char *const apps[] = { "a", "b", "c", "d" };
	struct move_plan plan;

	(void)state;
	drain(one, true);
	drain(two, true);
	for (size_t i = 0; i < ARRAY_LEN(apps); i++)
		deploy(apps[i], 1);
	drain(two, false);
	move_plan(rig.c, &plan);
	CHECK_INT("moves", plan.n, 2);
	CHECK_STR("why", plan.moves[0].reason, "local runs 4 replicas, worker-2 0");
	order(&plan);
	CHECK_STR("a", rig_nodes(&rig, "a"), "2");
	CHECK_STR("b", rig_nodes(&rig, "b"), "2");
	CHECK_STR("c", rig_nodes(&rig, "c"), "0");
}

static void test_a_move_whose_successor_fails(void **state)
{
	struct move_plan plan = uneven();

	(void)state;
	rig.gate_fails = true;
	order(&plan);
	rig_pass(&rig, 5000, true);
	CHECK_STR("all stay", rig_nodes(&rig, "hello"), "0 0 0 0");
	CHECK_INT("routed", app_routed(cluster_app(rig.c, "hello")), 4);
	assert_non_null(strstr(rig.events, "MoveCancelled"));
	rig_restart(&rig);
	CHECK_STR("also after a restart", rig_nodes(&rig, "hello"), "0 0 0 0");
}

static void test_a_move_goes_on_after_a_restart(void **state)
{
	struct move_plan plan = uneven();

	(void)state;
	rig.hold_gates = true;
	order(&plan);
	CHECK_STR("under way", rig_nodes(&rig, "hello"), "0 0 0 0 1 1");
	rig.hold_gates = false;
	rig_restart(&rig);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { one, NULL } });
	CHECK_STR("done", rig_nodes(&rig, "hello"), "0 0 1 1");
}

static void test_a_plan_of_yesterday(void **state)
{
	struct move_plan plan = uneven();
	struct move_order none = { "hello", 1, 77 }, gone = { "shop", 1, 1 };

	(void)state;
	drain(one, true);
	order(&plan);
	CHECK_INT("its node drains", rig.reply.kind, REPLY_CONFLICT);
	CHECK_STR("nothing moved", rig_nodes(&rig, "hello"), "0 0 0 0");
	rig_do(&rig, (struct cluster_event){ EVENT_REBALANCE, .rebalance = { 9, &none, 1 } });
	CHECK_INT("no such node", rig.reply.kind, REPLY_CONFLICT);
	rig_do(&rig, (struct cluster_event){ EVENT_REBALANCE, .rebalance = { 9, &gone, 1 } });
	CHECK_INT("no such app", rig.reply.kind, REPLY_CONFLICT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_drain_moves_and_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_local_drains_too, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_in_before_one_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_fits_nowhere_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_successor_that_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_volume_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_undrain_midway_leaves_no_surplus, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_rollout_leaves_the_node_at_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_draining_node_that_falls_silent, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_force_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_force_of_a_node_that_drains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_restored_backup_kills_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_rebalance, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rebalance_by_load, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_move_whose_successor_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_move_goes_on_after_a_restart, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_plan_of_yesterday, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
