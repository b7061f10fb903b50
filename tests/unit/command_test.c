/* What people ask of an app that runs: scale, restart, rollback, pause, lock. */
#include <stdio.h>

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

static void command(enum event_type type, uint32_t n)
{
	rig_do(&rig, (struct cluster_event){ type, .app = { .reply = ++rig.replies,
							    .app = "hello",
							    .by = "key ci",
							    .n = n,
							    .reason = "the database moves" } });
}

static void check_text(const char *name, const char *part)
{
	if (!strstr(rig.text, part))
		fail_msg("%s: \"%s\" is not in \"%s\"", name, part, rig.text);
}

/* ---- scale ---- */

static void test_scale(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	command(EVENT_SCALE, 4);
	CHECK_INT("kind", rig.reply.kind, REPLY_CREATED);
	CHECK_INT("in place", rig.reply.release, 1);
	CHECK_INT("more", app_routed(hello()), 4);
	CHECK_INT("no new release", hello()->next_release, 2);
	rig_restart(&rig);
	CHECK_INT("stored", hello()->current->spec.replicas, 4);
	rig_do(&rig, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { 1, NULL } });
	rig.hold_drains = true;
	command(EVENT_SCALE, 1);
	CHECK_INT("fewer", app_routed(hello()), 1);
	CHECK_INT("drained before they are stopped", rig.effects[EFFECT_STOP], 0);
	CHECK_INT("first", rig_replica(&rig, "hello", 1)->state, REPLICA_READY);
	CHECK_INT("last", rig_replica(&rig, "hello", 4)->state, REPLICA_DRAINING);
	command(EVENT_SCALE, 1);
	CHECK_INT("again", rig.reply.kind, REPLY_OK);
}

static void test_scale_counts_as_deployed(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	command(EVENT_SCALE, 3);
	deploy("hello:1", 3);
	CHECK_INT("nothing to do", rig.reply.kind, REPLY_OK);
	CHECK_INT("nothing to do", rig.reply.release, 1);
}

static void test_scale_of_a_rollout(void **state)
{
	(void)state;
	deploy("hello:1", 1);
	rig.hold_gates = true;
	deploy("hello:2", 1);
	command(EVENT_SCALE, 3);
	CHECK_INT("current", hello()->current->spec.replicas, 3);
	CHECK_INT("rolling", hello()->rolling->spec.replicas, 3);
	rig.hold_gates = false;
	deploy("hello:3", 3);
	CHECK_INT("the rollout ends", hello()->current->n, 3);
	CHECK_INT("routed", app_routed(hello()), 3);
}

static const struct {
	const char *name;
	enum event_type type;
	uint32_t n;
	enum reply_kind want;
	const char *part;
} refusals[] = {
	{ "none", EVENT_SCALE, 0, REPLY_INVALID, "`temps pause`" },
	{ "too many", EVENT_SCALE, SPEC_REPLICAS_MAX + 1, REPLY_INVALID, "expected 1 to 1000" },
	{ "more than fit", EVENT_SCALE, 100, REPLY_UNPLACEABLE, "worker-1" },
	{ "unknown release", EVENT_ROLLBACK, 9, REPLY_NOT_FOUND,
	  "keeps no release 9; releases it can go back to: 1 (hello:1)" },
	{ "a failed release", EVENT_ROLLBACK, 3, REPLY_CONFLICT, "never carried traffic" },
	{ "the current one", EVENT_ROLLBACK, 2, REPLY_CONFLICT, "temps restart" },
};

static void test_refusals_change_nothing(void **state)
{
	(void)state;
	rig_do(&rig, (struct cluster_event){ EVENT_HEARTBEAT,
					     .heartbeat = { .node_id = 1,
							    .docker_ok = true,
							    .capacity = { .cpu_millis = 4000 } } });
	rig_do(&rig,
	       (struct cluster_event){ EVENT_CAPACITY,
				       .capacity = { NODE_LOCAL_ID, { .cpu_millis = 4000 } } });
	for (int i = 1; i <= 3; i++) {
		struct app_spec spec = rig_spec(2);

		spec.cpu_millis = 500;
		spec.image = i == 1 ? "hello:1" : i == 2 ? "hello:2" : "hello:3";
		rig.create_fails = i == 3;
		rig_deploy(&rig, "hello", &spec);
	}
	rig.create_fails = false;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		command(refusals[i].type, refusals[i].n);
		CHECK_INT(refusals[i].name, rig.reply.kind, refusals[i].want);
		check_text(refusals[i].name, refusals[i].part);
		CHECK_INT(refusals[i].name, hello()->current->n, 2);
		CHECK_INT(refusals[i].name, hello()->current->spec.replicas, 2);
		CHECK_INT(refusals[i].name, hello()->next_release, 4);
	}
}

static void test_an_unknown_app(void **state)
{
	static const enum event_type all[] = { EVENT_SCALE, EVENT_RESTART, EVENT_ROLLBACK,
					       EVENT_PAUSE, EVENT_RESUME,  EVENT_LOCK,
					       EVENT_UNLOCK };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		command(all[i], 1);
		CHECK_INT(event_name(all[i]), rig.reply.kind, REPLY_NOT_FOUND);
	}
}

/* ---- releases once more ---- */

static void test_rollback(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	rig_do(&rig, (struct cluster_event){ .type = EVENT_TICK });
	deploy("hello:2", 2);
	deploy("hello:3", 2);
	command(EVENT_SCALE, 3);
	command(EVENT_ROLLBACK, 1);
	CHECK_INT("kind", rig.reply.kind, REPLY_CREATED);
	CHECK_INT("a new release", hello()->current->n, 4);
	CHECK_STR("its spec", hello()->current->spec.image, "hello:1");
	CHECK_STR("cause", hello()->current->cause, "rollback to release 1");
	CHECK_STR("by", hello()->current->by, "key ci");
	CHECK_INT("as many as there were", app_routed(hello()), 3);
	command(EVENT_ROLLBACK, 0);
	CHECK_STR("the last one before", hello()->current->spec.image, "hello:3");
	CHECK_STR("cause", hello()->current->cause, "rollback to release 3");
	rig_restart(&rig);
	CHECK_STR("stored", hello()->current->cause, "rollback to release 3");
	CHECK_STR("stored", hello()->current->by, "key ci");
}

/* A tag is not asked again: the image is the one that ran, also when the tag is another by now. */
static void test_rollback_keeps_the_image(void **state)
{
	(void)state;
	deploy("hello:latest", 1);
	CHECK_STR("resolved", hello()->current->image_id, "sha256:1");
	rig.hold_gates = true;
	command(EVENT_RESTART, 0);
	CHECK_STR("before any node was asked", hello()->rolling->image_id, "sha256:1");
	CHECK_STR("cause", hello()->rolling->cause, "restart of release 1");
}

static void test_rollback_of_a_rollout(void **state)
{
	(void)state;
	deploy("hello:1", 1);
	rig.hold_gates = true;
	deploy("hello:2", 1);
	command(EVENT_RESTART, 0);
	CHECK_INT("no restart meanwhile", rig.reply.kind, REPLY_CONFLICT);
	check_text("no restart meanwhile", "release 2 of app hello is being rolled out");
	rig.hold_gates = false;
	command(EVENT_ROLLBACK, 0);
	CHECK_INT("superseded", app_release(hello(), 2)->state, RELEASE_SUPERSEDED);
	CHECK_INT("current", hello()->current->n, 3);
	CHECK_STR("what carried the traffic", hello()->current->spec.image, "hello:1");
}

/* What carried traffic is not forgotten for those that never did. */
static void test_rollback_after_many_failures(void **state)
{
	char image[32];

	(void)state;
	deploy("hello:1", 1);
	deploy("hello:2", 1);
	rig.create_fails = true;
	for (unsigned i = 3; i < 30; i++) {
		snprintf(image, sizeof(image), "hello:%u", i);
		deploy(image, 1);
	}
	rig.create_fails = false;
	assert_null(app_release(hello(), 3));
	CHECK_INT("the last failure is kept", app_release(hello(), 29)->state, RELEASE_FAILED);
	command(EVENT_ROLLBACK, 0);
	CHECK_STR("what worked", hello()->current->spec.image, "hello:1");
}

static void test_restart(void **state)
{
	(void)state;
	deploy("hello:1", 2);
	rig.hold_drains = true;
	command(EVENT_RESTART, 0);
	CHECK_INT("release", hello()->current->n, 2);
	CHECK_INT("new containers", rig_replica(&rig, "hello", 3)->state, REPLICA_READY);
	CHECK_INT("the old ones finish what they have", rig_replica(&rig, "hello", 1)->state,
		  REPLICA_DRAINING);
}

/* ---- pause ---- */

static void test_pause(void **state)
{
	(void)state;
	deploy("hello:1", 1);
	command(EVENT_PAUSE, 0);
	CHECK_INT("told", rig.effects[EFFECT_APP_PAUSE], 1);
	CHECK_INT("paused", hello()->paused.set, true);
	CHECK_STR("by", hello()->paused.by, "key ci");
	command(EVENT_PAUSE, 0);
	CHECK_INT("already", rig.reply.kind, REPLY_OK);
	CHECK_INT("already", rig.effects[EFFECT_APP_PAUSE], 1);
	rig_restart(&rig);
	CHECK_INT("stored", hello()->paused.set, true);
	CHECK_INT("told anew", rig.effects[EFFECT_APP_PAUSE], 2);
	command(EVENT_RESUME, 0);
	CHECK_INT("resumed", hello()->paused.set, false);
	CHECK_INT("told", rig.effects[EFFECT_APP_PAUSE], 3);
	rig_restart(&rig);
	CHECK_INT("stored", hello()->paused.set, false);
	CHECK_INT("nothing to tell", rig.effects[EFFECT_APP_PAUSE], 3);
	command(EVENT_RESUME, 0);
	CHECK_INT("not paused", rig.reply.kind, REPLY_OK);
}

static void test_a_removed_app_is_not_paused(void **state)
{
	(void)state;
	deploy("hello:1", 1);
	command(EVENT_PAUSE, 0);
	command(EVENT_LOCK, 0);
	rig_do(&rig, (struct cluster_event){ EVENT_APP_DELETE,
					     .app_delete = { ++rig.replies, "hello" } });
	CHECK_INT("told", rig.effects[EFFECT_APP_PAUSE], 2);
	deploy("hello:2", 1);
	CHECK_INT("deployed anew", rig.reply.kind, REPLY_CREATED);
	CHECK_INT("not paused", hello()->paused.set, false);
}

/* ---- lock ---- */

static void test_lock(void **state)
{
	static const enum event_type begin[] = { EVENT_DEPLOY, EVENT_RESTART, EVENT_ROLLBACK };

	(void)state;
	deploy("hello:1", 1);
	deploy("hello:2", 1);
	command(EVENT_LOCK, 0);
	CHECK_INT("kind", rig.reply.kind, REPLY_CREATED);
	rig_restart(&rig);
	for (size_t i = 0; i < ARRAY_LEN(begin); i++) {
		if (begin[i] == EVENT_DEPLOY)
			deploy("hello:3", 1);
		else
			command(begin[i], 0);
		CHECK_INT(event_name(begin[i]), rig.reply.kind, REPLY_CONFLICT);
		CHECK_STR(event_name(begin[i]), rig.title, "App Locked");
		check_text(event_name(begin[i]),
			   "locked by key ci since 2023-11-14T22:13:20Z: the database moves");
		CHECK_INT(event_name(begin[i]), hello()->next_release, 3);
	}
	deploy("hello:2", 1);
	CHECK_INT("what changes nothing may be", rig.reply.kind, REPLY_OK);
	command(EVENT_SCALE, 2);
	CHECK_INT("is no release", rig.reply.kind, REPLY_CREATED);
	command(EVENT_LOCK, 0);
	CHECK_INT("locked already", rig.reply.kind, REPLY_CONFLICT);
	command(EVENT_UNLOCK, 0);
	CHECK_INT("unlocked", rig.reply.kind, REPLY_CREATED);
	command(EVENT_UNLOCK, 0);
	CHECK_INT("unlocked already", rig.reply.kind, REPLY_OK);
	deploy("hello:3", 2);
	CHECK_INT("deploys again", rig.reply.kind, REPLY_CREATED);
}

static void test_a_lock_holds_policies(void **state)
{
	struct pair rate = { "rate", "100" };
	struct app_spec spec = rig_spec(1);

	(void)state;
	rig_deploy(&rig, "hello", &spec);
	command(EVENT_LOCK, 0);
	spec.policy = (struct pairs){ &rate, 1 };
	rig_deploy(&rig, "hello", &spec);
	CHECK_INT("kind", rig.reply.kind, REPLY_CONFLICT);
	CHECK_INT("policies", hello()->current->spec.policy.n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_scale),
		TEST(test_scale_counts_as_deployed),
		TEST(test_scale_of_a_rollout),
		TEST(test_refusals_change_nothing),
		TEST(test_an_unknown_app),
		TEST(test_rollback),
		TEST(test_rollback_keeps_the_image),
		TEST(test_rollback_of_a_rollout),
		TEST(test_rollback_after_many_failures),
		TEST(test_restart),
		TEST(test_pause),
		TEST(test_a_removed_app_is_not_paused),
		TEST(test_lock),
		TEST(test_a_lock_holds_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
