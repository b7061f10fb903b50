/* Who gets a replica, and what is said when nobody does. */
#include <errno.h>

#include "check.h"
#include "sched/placement.h"
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

static const char *eu = "eu", *both[] = { "eu", "us" }, *moon = "moon";
static const char *second = "worker-2", *some[] = { "local", "worker-3" };
static struct constraint in_eu = { "region", { &eu, 1 } }, in_both = { "region", { both, 2 } },
			 on_moon = { "region", { &moon, 1 } };
static struct constraint gpu = { "gpu", { &eu, 1 } };

/* worker-1 and worker-3 are in eu, worker-2 in us. */
static const struct {
	const char *name;
	struct app_spec spec;
	const char *lost; /* workers whose agent is lost: "12" */
	const char *want; /* nodes, or a part of the error */
} cases[] = {
	{ "local first, then by id", { .replicas = 4 }, "", "0 1 2 3" },
	{ "round again", { .replicas = 6 }, "", "0 1 2 3 0 1" },
	{ "one label", { .replicas = 3, .labels = &in_eu, .labels_n = 1 }, "", "1 3 1" },
	{ "a list is or", { .replicas = 3, .labels = &in_both, .labels_n = 1 }, "", "1 2 3" },
	{ "named nodes", { .replicas = 3, .nodes = { some, 2 } }, "", "0 3 0" },
	{ "one named node", { .replicas = 2, .nodes = { &second, 1 } }, "", "2 2" },
	{ "lost agents are left out", { .replicas = 3 }, "13", "0 2 0" },
	{ "no worker: all local", { .replicas = 3 }, "123", "0 0 0" },
	{ "a label nobody has",
	  { .replicas = 1, .labels = &on_moon, .labels_n = 1 },
	  "",
	  "local: has no label region; worker-1: label region is eu; worker-2: label region is us" },
	{ "a key nobody has",
	  { .replicas = 1, .labels = &gpu, .labels_n = 1 },
	  "",
	  "worker-3: has no label gpu" },
	{ "a named node that is lost",
	  { .replicas = 1, .nodes = { &second, 1 } },
	  "2",
	  "worker-2: its agent cannot be reached" },
	{ "another architecture",
	  { .replicas = 1, .architecture = "arm64", .nodes = { &second, 1 } },
	  "",
	  "worker-2: its architecture is amd64" },
};

static void test_choices(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct app_spec spec = cases[i].spec;

		teardown(NULL);
		setup(NULL);
		spec.image = "hello:1";
		rig_join(&rig, "worker-1", "eu");
		rig_join(&rig, "worker-2", "us");
		rig_join(&rig, "worker-3", "eu");
		rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT,
						     .heartbeat = { .reply = 1,
								    .node_id = 2,
								    .docker_ok = true,
								    .architecture = "amd64" } });
		for (const char *p = cases[i].lost; *p; p++)
			rig_do(&rig, (struct cluster_event){ EVENT_AGENT_LOST,
							     .agent = { *p - '0', "gone" } });
		rig_deploy(&rig, "hello", &spec);
		if (rig.reply.kind == REPLY_CREATED) {
			CHECK_STR(cases[i].name, rig_nodes(&rig, "hello"), cases[i].want);
		} else {
			CHECK_INT(cases[i].name, rig.reply.kind, REPLY_UNPLACEABLE);
			if (!strstr(rig.text, cases[i].want))
				fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].name, rig.text,
					 cases[i].want);
			assert_null(cluster_app(rig.c, "hello"));
		}
	}
}

/* ---- strategies, affinities, resources ---- */

#define GIB (1ull << 30)

/* local and worker-1 have 4 cores and 8 GiB, worker-2 twice that, worker-3 half of it and two cards. */
static const struct node_capacity sizes[] = {
	{ .cpu_millis = 4000, .memory_total_bytes = 8 * GIB, .disk_total_bytes = 100 * GIB },
	{ .cpu_millis = 4000, .memory_total_bytes = 8 * GIB, .disk_total_bytes = 100 * GIB },
	{ .cpu_millis = 8000, .memory_total_bytes = 16 * GIB, .disk_total_bytes = 10 * GIB },
	{ .cpu_millis = 2000,
	  .memory_total_bytes = 4 * GIB,
	  .disk_total_bytes = 100 * GIB,
	  .gpus = 2 },
};

static void measure(int64_t id, const struct node_capacity *now)
{
	struct cluster_event e = { EVENT_CAPACITY, .capacity = { id, *now } };

	rig_do(&rig, e);
}

/* The app db runs on worker-1 and asks for 1 core, so that turns go on with worker-2. */
static const struct {
	const char *name, *strategy, *affinity, *anti;
	struct app_spec spec;
	const char *want; /* nodes in order of placement, or a part of the error */
} choices[] = {
	{ "spread", "spread", NULL, NULL, { .replicas = 5 }, "0 2 3 1 0" },
	{ "least loaded, half as much on half as large a node",
	  "least-loaded",
	  NULL,
	  NULL,
	  { .replicas = 4, .cpu_millis = 1000 },
	  "2 0 2 2" },
	{ "nothing asked for still loads",
	  "least-loaded",
	  NULL,
	  NULL,
	  { .replicas = 4 },
	  "2 0 2 2" },
	{ "binpack fills the fullest",
	  "binpack",
	  NULL,
	  NULL,
	  { .replicas = 4, .cpu_millis = 1000 },
	  "1 1 1 3" },
	{ "binpack by memory",
	  "binpack",
	  NULL,
	  NULL,
	  { .replicas = 3, .memory_bytes = 3 * GIB },
	  "3 1 1" },
	{ "where db runs", NULL, "app=db", NULL, { .replicas = 2 }, "1 1" },
	{ "not where db runs", NULL, NULL, "app=db", { .replicas = 4 }, "2 3 0 2" },
	{ "rather where db runs", "spread", "soft:app=db", NULL, { .replicas = 4 }, "1 1 0 2" },
	{ "in turn, rather not where db runs",
	  NULL,
	  NULL,
	  "soft:app=db",
	  { .replicas = 4 },
	  "2 3 0 2" },
	{ "a wish nobody can grant is none",
	  NULL,
	  "soft:app=ghost",
	  NULL,
	  { .replicas = 2 },
	  "2 3" },
	{ "one on each node", NULL, NULL, "app=hello", { .replicas = 4 }, "2 3 0 1" },
	{ "one on each node is not more",
	  NULL,
	  NULL,
	  "app=hello",
	  { .replicas = 5 },
	  "room for 4 of 5 replicas only: local: anti-affinity app=hello keeps away" },
	{ "all on one node", "spread", "app=hello", NULL, { .replicas = 3 }, "0 0 0" },
	{ "a label", NULL, "label:region=us", NULL, { .replicas = 2 }, "2 2" },
	{ "rather a label", NULL, "soft:label:region=us", NULL, { .replicas = 2 }, "2 2" },
	{ "not a label", NULL, NULL, "label:region=eu", { .replicas = 3 }, "2 0 2" },
	{ "an app that is not there",
	  NULL,
	  "app=ghost",
	  NULL,
	  { .replicas = 1 },
	  "local: affinity app=ghost is not met" },
	{ "cards", NULL, NULL, NULL, { .replicas = 2, .gpus = 1 }, "3 3" },
	{ "more cards than there are",
	  NULL,
	  NULL,
	  NULL,
	  { .replicas = 3, .gpus = 1 },
	  "worker-3: too few GPUs: 2 of 2 are promised, 1 more asked for" },
	{ "no card here", NULL, NULL, NULL, { .replicas = 1, .gpus = 3 }, "local: has no GPU" },
	{ "disk", NULL, NULL, NULL, { .replicas = 3, .disk_bytes = 20 * GIB }, "3 0 1" },
	{ "too much disk",
	  NULL,
	  NULL,
	  NULL,
	  { .replicas = 1, .disk_bytes = 200 * GIB },
	  "worker-2: too little disk: 0 of 10240 MiB are promised, 204800 more asked for" },
	{ "too much memory",
	  NULL,
	  NULL,
	  NULL,
	  { .replicas = 1, .memory_bytes = 20 * GIB },
	  "local: too little memory: 0 of 8192 MiB are promised, 20480 more asked for" },
	{ "in turn until full",
	  NULL,
	  NULL,
	  NULL,
	  { .replicas = 7, .cpu_millis = 2000 },
	  "2 3 0 1 2 0 2" },
};

static void test_strategies(void **state)
{
	struct app_spec db = rig_spec(1);

	(void)state;
	db.nodes = (struct strs){ (const char *[]){ "worker-1" }, 1 };
	db.cpu_millis = 1000;
	for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
		struct app_spec spec = choices[i].spec;
		const char *affinity, *anti;

		teardown(NULL);
		setup(NULL);
		rig_join(&rig, "worker-1", "eu");
		rig_join(&rig, "worker-2", "us");
		rig_join(&rig, "worker-3", "eu");
		for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
			measure((int64_t)k, &sizes[k]);
		rig_deploy(&rig, "db", &db);
		CHECK_STR("db", rig_nodes(&rig, "db"), "1");
		spec.image = "hello:1";
		spec.strategy = choices[i].strategy;
		affinity = choices[i].affinity, anti = choices[i].anti;
		spec.affinity = (struct strs){ &affinity, affinity ? 1 : 0 };
		spec.anti_affinity = (struct strs){ &anti, anti ? 1 : 0 };
		rig_deploy(&rig, "hello", &spec);
		if (rig.reply.kind == REPLY_CREATED) {
			CHECK_STR(choices[i].name, rig_nodes(&rig, "hello"), choices[i].want);
		} else {
			CHECK_INT(choices[i].name, rig.reply.kind, REPLY_UNPLACEABLE);
			if (!strstr(rig.text, choices[i].want))
				fail_msg("%s: \"%s\" does not say \"%s\"", choices[i].name,
					 rig.text, choices[i].want);
		}
	}
}

static void test_cursor_moves_with_success_only(void **state)
{
	struct app_spec spec = rig_spec(1), bad = rig_spec(1);

	(void)state;
	rig_join(&rig, "worker-1", NULL);
	rig_deploy(&rig, "first", &spec);
	CHECK_STR("first", rig_nodes(&rig, "first"), "0");
	rig.image_fails = true;
	bad.image = "missing:1";
	rig_deploy(&rig, "bad", &bad);
	rig.image_fails = false;
	rig_deploy(&rig, "second", &spec);
	CHECK_STR("second", rig_nodes(&rig, "second"), "1");
	rig_restart(&rig);
	rig_deploy(&rig, "third", &spec);
	CHECK_STR("third", rig_nodes(&rig, "third"), "0");
}

static void test_capacity(void **state)
{
	struct app_spec spec = rig_spec(3);
	struct node_capacity small = { .cpu_millis = 1000, .memory_total_bytes = 1ull << 30 };

	(void)state;
	rig_join(&rig, "worker-1", NULL);
	rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = { .reply = 1,
									     .node_id = 1,
									     .docker_ok = true,
									     .capacity = small } });
	spec.cpu_millis = 600;
	rig_deploy(&rig, "hello", &spec);
	CHECK_STR("one fits on the worker", rig_nodes(&rig, "hello"), "0 1 0");
	spec.nodes = (struct strs){ (const char *[]){ "worker-1" }, 1 };
	rig_deploy(&rig, "greedy", &spec);
	CHECK_INT("no room", rig.reply.kind, REPLY_UNPLACEABLE);
	assert_non_null(strstr(rig.text, "worker-1: too little CPU: 0.6 of 1 cores"));
	spec.nodes = (struct strs){ (const char *[]){ "ghost" }, 1 };
	rig_deploy(&rig, "lost", &spec);
	assert_non_null(strstr(rig.text, "ghost: no such node"));
	rig_do(&rig, (struct cluster_event){ EVENT_APP_DELETE, .app_delete = { 1, "hello" } });
	CHECK_INT("given back", cluster_node(rig.c, 1)->promised.sum.cpu_millis, 0);
}

/* Where a volume is, and nowhere else. */
static void test_pin(void **state)
{
	struct app_spec spec = rig_spec(2);
	struct placement_ask ask = { .app = "hello", .spec = &spec, .n = 2, .cursor = -1 };
	struct placement p;
	struct err err;

	(void)state;
	rig_join(&rig, "worker-1", NULL);
	rig_join(&rig, "worker-2", NULL);
	ask.pin = cluster_node(rig.c, 2);
	CHECK_INT("there", placement_plan(rig.c, &ask, &p, &err), 0);
	CHECK_INT("both", p.chosen[0].node->id == 2 && p.chosen[1].node->id == 2, true);
	CHECK_INT("among", p.chosen[0].among, 1);
	placement_fini(&p);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_LOST, .agent = { 2, "gone" } });
	CHECK_INT("not there", placement_plan(rig.c, &ask, &p, &err), -ENOENT);
	assert_non_null(strstr(
		err.text,
		"worker-1: the app's volume lives on worker-2; worker-2: its agent cannot be reached"));
	placement_fini(&p);
}

/* Only worker-2 is heard of for so long. */
static void pass_without_worker_1(uint64_t ms)
{
	for (uint64_t end_ms = rig.now.mono_ms + ms; rig.now.mono_ms < end_ms;) {
		rig.now.mono_ms += 1000;
		if (rig.now.mono_ms % 10000 == 0)
			rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT,
							     .heartbeat = { .reply = 1,
									    .node_id = 2,
									    .docker_ok = true } });
		rig_do(&rig, (struct cluster_event){ .type = EVENT_TICK });
	}
}

/* The node of two apps is lost, and the one that wants to be with the other is looked at first: it follows. */
static void test_followers(void **state)
{
	const char *rule = "app=db";
	struct app_spec db = rig_spec(1), front = rig_spec(1);

	(void)state;
	rig_join(&rig, "worker-1", "eu");
	rig_join(&rig, "worker-2", "eu");
	db.labels = &in_eu;
	db.labels_n = 1;
	front.affinity = (struct strs){ &rule, 1 };
	rig_deploy(&rig, "db", &db);
	rig_deploy(&rig, "front", &front);
	db.stop_grace_s = 1; /* placed later than what follows it */
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_LOST, .agent = { 2, "gone" } });
	rig_deploy(&rig, "db", &db);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 2, NULL } });
	CHECK_STR("db", rig_nodes(&rig, "db"), "1");
	CHECK_STR("front", rig_nodes(&rig, "front"), "1");
	pass_without_worker_1(95000);
	CHECK_STR("db elsewhere", rig_nodes(&rig, "db"), "1 2");
	CHECK_STR("front follows", rig_nodes(&rig, "front"), "1 2");
}

/* Who keeps away from another app is not joined by it later, as long as it runs. */
static void test_keepers(void **state)
{
	const char *rule = "app=noisy";
	struct app_spec quiet = rig_spec(2), noisy = rig_spec(3);

	(void)state;
	rig_join(&rig, "worker-1", NULL);
	rig_join(&rig, "worker-2", NULL);
	quiet.anti_affinity = (struct strs){ &rule, 1 };
	rig_deploy(&rig, "quiet", &quiet);
	CHECK_STR("quiet", rig_nodes(&rig, "quiet"), "0 1");
	rig_restart(&rig);
	for (int64_t id = 1; id < 3; id++)
		rig_do(&rig,
		       (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { id, NULL } });
	rig_deploy(&rig, "noisy", &noisy);
	CHECK_STR("elsewhere", rig_nodes(&rig, "noisy"), "2 2 2");
	noisy.nodes = (struct strs){ (const char *[]){ "local" }, 1 };
	rig_deploy(&rig, "noisy", &noisy);
	assert_non_null(
		strstr(rig.text, "local: app quiet runs there and keeps away from this one"));
	rig_do(&rig, (struct cluster_event){ EVENT_APP_DELETE, .app_delete = { 1, "quiet" } });
	rig_deploy(&rig, "noisy", &noisy);
	CHECK_STR("it has gone", rig_nodes(&rig, "noisy"), "0 0 0");
}

/* Many replicas come in slices, in turn all the same, and a step never makes more than one of them. */
static void test_slices(void **state)
{
	struct app_spec spec = rig_spec(1000);
	uint32_t before = 0, most = 0, on[4] = { 0 };

	(void)state;
	for (int i = 1; i < 4; i++)
		rig_join(&rig, (char[]){ 'w', (char)('0' + i), '\0' }, NULL);
	/* Nobody answers, so that each step is the deploy or a tick. */
	for (struct cluster_event e = { EVENT_DEPLOY, .deploy = { .app = "hello", .spec = &spec } };
	     ; e = (struct cluster_event){ .type = EVENT_TICK }) {
		uint32_t now;

		batch_free(cluster_step(rig.c, &e, rig.now));
		now = cluster_counts(rig.c).replicas;
		most = MAX(most, now - before);
		before = now;
		if (cluster_next_ms(rig.c) > rig.now.mono_ms)
			break;
	}
	CHECK_INT("a slice", most, 100);
	CHECK_INT("all of them", cluster_counts(rig.c).replicas, 1000);
	LIST_FOR_EACH(r, &cluster_app(rig.c, "hello")->replicas, struct replica, link) {
		CHECK_INT("in turn", r->node->id, (r->n - 1) % 4);
		on[r->node->id]++;
	}
	CHECK_INT("a quarter each", on[3], 250);
}

/* All or nothing also where only a later slice would find no address. */
static void test_addresses_for_all(void **state)
{
	struct app_spec spec = rig_spec(11);

	(void)state;
	rig.config.local_publish = true;
	rig.config.port_first = 20000;
	rig.config.port_last = 20009;
	rig.config.place_slice = 3;
	rig_restart(&rig);
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("eleven", rig.reply.kind, REPLY_LIMIT);
	assert_non_null(strstr(rig.text, "node local has no free address"));
	assert_null(cluster_app(rig.c, "hello"));
	spec.replicas = 10;
	rig_deploy(&rig, "hello", &spec);
	rig_pass(&rig, 0, false);
	CHECK_STR("ten", rig_nodes(&rig, "hello"), "0 0 0 0 0 0 0 0 0 0");
}

static void test_nobody_at_all(void **state)
{
	struct app_spec spec = rig_spec(1);

	(void)state;
	rig_do(&rig,
	       (struct cluster_event){ EVENT_AGENT_LOST, .agent = { NODE_LOCAL_ID, "gone" } });
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("kind", rig.reply.kind, REPLY_UNPLACEABLE);
	assert_non_null(strstr(rig.text, "local: no Docker engine answers"));
}

static void test_same_snapshot_same_plan(void **state)
{
	struct app_spec spec = rig_spec(100);
	struct placement_ask ask = { .app = "hello", .spec = &spec, .n = 100, .cursor = 2 };
	struct placement a, b;
	struct err err;

	(void)state;
	for (int i = 1; i < 10; i++)
		rig_join(&rig, (char[]){ 'w', (char)('0' + i), '\0' }, i % 2 ? "eu" : "us");
	CHECK_INT("plan", placement_plan(rig.c, &ask, &a, &err), 0);
	CHECK_INT("plan", placement_plan(rig.c, &ask, &b, &err), 0);
	assert_memory_equal(a.chosen, b.chosen, a.n * sizeof(*a.chosen));
	CHECK_INT("verdicts", a.verdicts_n, 10);
	CHECK_INT("first after the cursor", a.chosen[0].node->id, 3);
	placement_fini(&a);
	placement_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_choices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strategies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cursor_moves_with_success_only, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_capacity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_followers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keepers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_at_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_snapshot_same_plan, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
