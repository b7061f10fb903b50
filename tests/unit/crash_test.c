/* Containers that end and are started again by their engine: what is told, what is kept, and when it is over. */
#include <stdio.h>

#include "check.h"
#include "sched_rig.h"

static struct rig rig;

static int setup(void **state)
{
	struct app_spec spec = rig_spec(2);

	(void)state;
	rig_init(&rig);
	rig_join(&rig, "worker-1", NULL);
	rig_deploy(&rig, "hello", &spec);
	rig.events[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_fini(&rig);
	return 0;
}

static const struct release *release(void)
{
	return cluster_app(rig.c, "hello")->current;
}

static const struct replica *hello(uint32_t n)
{
	return rig_replica(&rig, "hello", n);
}

/* It ends; when it is looked at it runs again, since <started>. */
static void crash(uint32_t n, int exit_code, bool oom, const char *started)
{
	const struct replica *r = hello(n);
	struct container_info info = { .container_id = r->container_id,
				       .name = r->name,
				       .state = CONTAINER_EXITED,
				       .started_at = "",
				       .exit_code = exit_code,
				       .oom_killed = oom,
				       .spec_hash = "" };

	snprintf(rig.started_at, sizeof(rig.started_at), "%s", started);
	rig_do(&rig, (struct cluster_event){ EVENT_CONTAINER,
					     .container = { r->node->id, info } });
}

static unsigned told(const char *type)
{
	unsigned n = 0;

	for (const char *p = rig.events; (p = strstr(p, type)); p += strlen(type))
		n++;
	return n;
}

/* The endpoint it was is gone at once; the one it is comes in by its probe. */
static void test_one_restart(void **state)
{
	const struct failure *f;

	(void)state;
	crash(2, 3, false, "later");
	CHECK_STR("runs since", hello(2)->started_at, "later");
	CHECK_INT("routed", hello(2)->routed, true);
	CHECK_INT("restarts", hello(2)->restarts, 1);
	CHECK_INT("told", told("ContainerRestarted "), 1);
	CHECK_INT("loop", release_degraded(release()), false);
	f = release_failure(release(), 2);
	assert_non_null(f);
	CHECK_INT("exit code", f->exit_code, 3);
	CHECK_STR("lines", f->text, "last words");
	assert_null(release_failure(release(), 1));
	CHECK_INT("nothing is replaced", rig.effects[EFFECT_CREATE], 2);
	rig_pass(&rig, 600000, true);
	CHECK_INT("over", hello(2)->restarts, 0);
	CHECK_INT("not told: it was none", told("CrashLoopOver "), 0);
}

static void loop(uint32_t n)
{
	char started[16];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(started, sizeof(started), "start-%u", i);
		crash(n, 137, true, started);
		rig_pass(&rig, 20000, true);
	}
}

static void test_crash_loop(void **state)
{
	(void)state;
	loop(2);
	assert_true(release_degraded(release()));
	CHECK_INT("told each", told("ContainerRestarted "), 4);
	CHECK_INT("told once", told("CrashLoop "), 1);
	crash(2, 137, true, "again");
	CHECK_INT("not again", told("CrashLoop "), 1);
	CHECK_INT("out of memory", release_failure(release(), 2)->oom_killed, true);
	CHECK_INT("one a container", release()->failures_n, 1);
	rig_restart(&rig);
	assert_true(release_degraded(release()));
	CHECK_STR("kept", release_failure(release(), 2)->text, "last words");
	CHECK_STR("the last one's", release_last_lines(release()), "last words");
	rig_pass(&rig, 599000, true);
	assert_true(release_degraded(release()));
	rig_pass(&rig, 2000, true);
	CHECK_INT("over", release_degraded(release()), false);
	CHECK_INT("told", told("CrashLoopOver "), 1);
}

/* Restarts that are far apart are no loop. */
static void test_now_and_then(void **state)
{
	char started[16];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		snprintf(started, sizeof(started), "start-%u", i);
		crash(1, 1, false, started);
		rig_pass(&rig, 400000, true);
	}
	CHECK_INT("loop", release_degraded(release()), false);
}

/* Their engine restarts them ever more slowly; their lines are not fetched each time. */
static void test_lines_are_fetched_at_a_rate(void **state)
{
	char started[16];

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		snprintf(started, sizeof(started), "start-%u", i);
		crash(1, 1, false, started);
		rig_pass(&rig, 1000, true);
	}
	CHECK_INT("fetched", rig.effects[EFFECT_LOG_TAIL], 1);
}

/* Ten containers' lines are kept with a release, the oldest go. */
static void test_bounded(void **state)
{
	struct app_spec spec = rig_spec(12);

	(void)state;
	rig_deploy(&rig, "hello", &spec);
	for (uint32_t n = 3; n < 15; n++)
		crash(n, 1, false, "later");
	CHECK_INT("kept", release()->failures_n, RELEASE_FAILURES_KEPT);
	assert_null(release_failure(release(), 4));
	assert_non_null(release_failure(release(), 5));
	rig_restart(&rig);
	CHECK_INT("after a restart", release()->failures_n, RELEASE_FAILURES_KEPT);
	crash(3, 1, false, "latest");
	assert_null(release_failure(release(), 5));
	rig_do(&rig, (struct cluster_event){ EVENT_APP_DELETE, .app_delete = { 1, "hello" } });
	for (size_t i = 0; i < rig.store_n; i++)
		assert_string_not_equal(rig.store[i].kind, "failure");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crash_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_now_and_then, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lines_are_fetched_at_a_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
