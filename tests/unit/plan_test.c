/* Plans against what the command then does, and what they say when it would be refused. */
#include "check.h"
#include "sched/plan.h"
#include "sched_rig.h"

#include <stdio.h>

static struct rig rig;

static int setup(void **state)
{
	(void)state;
	rig_init(&rig);
	rig_join(&rig, "worker-1", "eu");
	rig_join(&rig, "worker-2", "us");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_fini(&rig);
	return 0;
}

/* "0 1 0": as rig_nodes() writes them. */
static const char *starts(const struct plan *p)
{
	static char text[256];
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < p->placement.n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, n ? " %d" : "%d",
				      (int)p->placement.chosen[i].node->id);
	return text;
}

static const char *stops(const struct plan *p)
{
	static char text[256];
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < p->stops_n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, n ? " %u" : "%u",
				      p->stops[i].replica->n);
	return text;
}

static const char *us = "us", *self = "app=hello", *wish = "soft:label:region=us";
static struct constraint in_us = { "region", { &us, 1 } };

/* Deploys of the app hello, one after the other. */
static const struct {
	const char *name;
	struct app_spec spec;
	enum reply_kind kind;
	const char *starts, *stops; /* replica numbers */
} deploys[] = {
	{ "the first", { .replicas = 3 }, REPLY_CREATED, "0 1 2", "" },
	{ "once more", { .replicas = 3 }, REPLY_OK, "", "" },
	{ "another number", { .replicas = 2 }, REPLY_CREATED, "0 1", "1 2 3" },
	{ "a label",
	  { .replicas = 2, .labels = &in_us, .labels_n = 1 },
	  REPLY_CREATED,
	  "2 2",
	  "4 5" },
	{ "spread", { .replicas = 4, .strategy = "spread" }, REPLY_CREATED, "0 1 2 0", "6 7" },
	{ "a wish",
	  { .replicas = 2, .affinity = { &wish, 1 } },
	  REPLY_CREATED,
	  "2 2",
	  "8 9 10 11" },
	{ "one each",
	  { .replicas = 3, .anti_affinity = { &self, 1 } },
	  REPLY_CREATED,
	  "0 1 2",
	  "12 13" },
	{ "more than one each",
	  { .replicas = 4, .anti_affinity = { &self, 1 } },
	  REPLY_UNPLACEABLE,
	  "0 1 2",
	  "" },
	{ "no such strategy", { .replicas = 1, .strategy = "best" }, REPLY_INVALID, "", "" },
	{ "packed",
	  { .replicas = 3, .strategy = "binpack", .cpu_millis = 100 },
	  REPLY_CREATED,
	  "0 0 0",
	  "14 15 16" },
	{ "waves that would never end",
	  { .replicas = 4, .max_surge = 1, .anti_affinity = { &self, 1 } },
	  REPLY_UNPLACEABLE,
	  "0 1 2",
	  "" },
};

static void test_deploys(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(deploys); i++) {
		struct app_spec spec = deploys[i].spec;
		struct plan p;

		spec.image = "hello:1";
		plan_deploy(rig.c, "hello", &spec, NULL, &p);
		CHECK_INT(deploys[i].name, p.kind, deploys[i].kind);
		CHECK_STR(deploys[i].name, starts(&p), deploys[i].starts);
		CHECK_STR(deploys[i].name, stops(&p), deploys[i].stops);
		rig_deploy(&rig, "hello", &spec);
		CHECK_INT(deploys[i].name, rig.reply.kind, p.kind);
		if (p.kind == REPLY_CREATED) {
			CHECK_STR(deploys[i].name, rig_nodes(&rig, "hello"), starts(&p));
			CHECK_INT(deploys[i].name, rig.reply.release, p.release);
		} else if (p.kind != REPLY_OK) {
			CHECK_STR(deploys[i].name, rig.text, p.err.text);
		}
		plan_fini(&p);
	}
}

/* What was said before is stored with each replica and outlives a restart. */
static void test_reasons_are_kept(void **state)
{
	struct app_spec spec = rig_spec(3);
	char why[3][PLACEMENT_TEXT_MAX];
	int32_t points[3];
	struct plan p;

	(void)state;
	spec.strategy = "spread";
	plan_deploy(rig.c, "hello", &spec, NULL, &p);
	for (uint32_t i = 0; i < 3; i++) {
		placement_reason(&p.ask, &p.placement.chosen[i], why[i]);
		points[i] = score_sum(&p.placement.chosen[i].score);
	}
	plan_fini(&p);
	rig_deploy(&rig, "hello", &spec);
	rig_restart(&rig);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_STR("reason", rig_replica(&rig, "hello", i + 1)->placed, why[i]);
		CHECK_INT("points", rig_replica(&rig, "hello", i + 1)->score, points[i]);
	}
	CHECK_STR("in words", why[2], "fewest replicas of 3 nodes that fit");
}

static void test_refusals(void **state)
{
	static const char *domain = "hello.example.test";
	struct app_spec spec = rig_spec(1);
	struct plan p;

	(void)state;
	spec.domains = (struct strs){ &domain, 1 };
	rig_deploy(&rig, "hello", &spec);
	plan_deploy(rig.c, "other", &spec, NULL, &p);
	CHECK_INT("a domain", p.kind, REPLY_CONFLICT);
	CHECK_STR("its owner", p.err.text, "domain hello.example.test belongs to app hello");
	plan_fini(&p);
	rig.config.local_publish = true;
	rig.config.port_first = 20000;
	rig.config.port_last = 20001;
	rig_restart(&rig);
	spec = rig_spec(3);
	spec.nodes = (struct strs){ (const char *[]){ "local" }, 1 };
	plan_deploy(rig.c, "other", &spec, NULL, &p);
	CHECK_INT("addresses", p.kind, REPLY_LIMIT);
	assert_non_null(strstr(p.err.text, "no free address"));
	plan_fini(&p);
}

static void test_scale(void **state)
{
	struct app_spec spec = rig_spec(5);
	struct plan p;

	(void)state;
	rig.gate_fails = true;
	rig_deploy(&rig, "never", &spec);
	plan_scale(rig.c, cluster_app(rig.c, "never"), 2, &p);
	CHECK_INT("nothing serves", p.kind, REPLY_CONFLICT);
	plan_fini(&p);
	rig.gate_fails = false;
	rig_deploy(&rig, "hello", &spec);
	CHECK_STR("where", rig_nodes(&rig, "hello"), "0 1 2 0 1");
	plan_scale(rig.c, cluster_app(rig.c, "hello"), 8, &p);
	CHECK_INT("more", p.kind, REPLY_CREATED);
	CHECK_STR("on goes the turn", starts(&p), "2 0 1");
	plan_fini(&p);
	plan_scale(rig.c, cluster_app(rig.c, "hello"), 5, &p);
	CHECK_INT("as many", p.kind, REPLY_OK);
	plan_fini(&p);
	plan_scale(rig.c, cluster_app(rig.c, "hello"), 3, &p);
	CHECK_STR("the newest go", stops(&p), "5 4");
	plan_fini(&p);
	/* What carries no traffic goes before. */
	rig_do(&rig,
	       (struct cluster_event){ EVENT_UPSTREAM_FAILED,
				       .upstream = { { "hello", 2, "hello-container-2", "then" },
						     UPSTREAM_TIMEOUT } });
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_LOST, .agent = { 2, "gone" } });
	plan_scale(rig.c, cluster_app(rig.c, "hello"), 2, &p);
	CHECK_STR("what is not relied on", stops(&p), "3 5 4");
	plan_fini(&p);
}

/* One machine that has room for one of them and a single card: the next release takes the place of the one that ends before
 * it, and its card, or finds none. */
static void test_in_its_place(void **state)
{
	struct node_capacity small = { .cpu_millis = 1000, .gpus = 1 };
	struct app_spec spec = rig_spec(1);
	struct plan p;

	(void)state;
	rig_do(&rig,
	       (struct cluster_event){ EVENT_CAPACITY, .capacity = { NODE_LOCAL_ID, small } });
	spec.nodes = (struct strs){ (const char *[]){ "local" }, 1 };
	spec.cpu_millis = 800;
	spec.gpus = 1;
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("its card", rig_replica(&rig, "hello", 1)->cards, 1);
	spec.image = "hello:2";
	plan_deploy(rig.c, "hello", &spec, NULL, &p);
	CHECK_INT("beside it", p.kind, REPLY_UNPLACEABLE);
	plan_fini(&p);
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("beside it", rig.reply.kind, REPLY_UNPLACEABLE);
	spec.stop_first = true;
	plan_deploy(rig.c, "hello", &spec, NULL, &p);
	CHECK_INT("in its place", p.kind, REPLY_CREATED);
	CHECK_STR("in its place", stops(&p), "1");
	CHECK_STR("in its place", p.stops[0].why, "before the new release starts");
	plan_fini(&p);
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("in its place", rig.reply.kind, REPLY_CREATED);
	CHECK_INT("serves", rig_replica(&rig, "hello", 2)->state, REPLICA_READY);
	CHECK_INT("the same card", rig_replica(&rig, "hello", 2)->cards, 1);
	CHECK_INT("promised once", cluster_node(rig.c, NODE_LOCAL_ID)->promised.sum.cpu_millis,
		  800);
}

static void test_locked(void **state)
{
	struct app_spec spec = rig_spec(1);
	struct plan p;

	(void)state;
	rig_deploy(&rig, "locked", &spec);
	rig_do(&rig, (struct cluster_event){
			     EVENT_LOCK,
			     .app = { .reply = 1, .app = "locked", .reason = "stock-taking" } });
	spec.replicas = 4;
	plan_deploy(rig.c, "locked", &spec, NULL, &p);
	CHECK_INT("locked", p.kind, REPLY_CONFLICT);
	assert_non_null(strstr(p.err.text, "stock-taking"));
	plan_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_deploys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reasons_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
