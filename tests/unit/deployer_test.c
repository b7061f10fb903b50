/* Durable before visible: an answer comes after its commit, a commit that fails takes back what was
 * decided, and commands are taken again once the store writes. */
#include "check.h"
#include "control_rig.h"

#include <signal.h>
#include <sys/resource.h>

#include "proxy/front.h"

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int set_up(void **state)
{
	struct rig *r = xcalloc(1, sizeof(*r));

	signal(SIGXFSZ, SIG_IGN);	/* as `temps serve` does */
	rig_open(r);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	rig_close(*state);
	free(*state);
	return 0;
}

static void add_key(struct rig *r, const char *hash)
{
	struct cluster_event e = { .type = EVENT_API_KEY_CREATE };

	e.api_key_create =
		(struct event_api_key_create){ .hash = hash, .name = "k", .scope = "read" };
	rig_command(r, &e, &e.api_key_create.reply);
}

static void add_route(struct rig *r, const char *host)
{
	const char *target = "http://127.0.0.1:9";
	struct cluster_event e = { .type = EVENT_STATIC_ADD };

	e.route = (struct event_static){ .host = host, .targets = { &target, 1 } };
	rig_command(r, &e, &e.route.reply);
}

static bool knows_key(struct rig *r, const char *hash)
{
	return cluster_api_key(deployer_cluster(r->c.deployer), hash) != NULL;
}

/* The disk is full from here on, or not any more. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool takes_commands(void *arg)
{
	struct rig *r = arg;

	return !deployer_refuses(r->c.deployer);
}

static void test_answer_comes_after_the_commit(void **state)
{
	struct rig *r = *state;
	uint64_t before = store_stats(r->c.store).revision;

	add_key(r, HASH_A);
	assert_int_equal(r->kind, REPLY_CREATED);
	assert_true(store_stats(r->c.store).revision > before);
	add_route(r, "a.example.test");
	assert_true(front_has_host(r->c.front, SLICE("a.example.test")));
}

static void test_failed_commit(void **state)
{
	struct rig *r = *state;
	struct rlimit old;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	add_route(r, "kept.example.test");
	add_key(r, HASH_A);
	limit_files(1);
	add_key(r, HASH_B);
	assert_true(r->refused);
	assert_non_null(deployer_refuses(r->c.deployer));
	assert_true(front_has_host(r->c.front, SLICE("kept.example.test")));
	limit_files(old.rlim_cur);
	rig_until(r, takes_commands, r);
	assert_true(knows_key(r, HASH_A));
	assert_false(knows_key(r, HASH_B));
	assert_true(front_has_host(r->c.front, SLICE("kept.example.test")));
	add_key(r, HASH_B);
	assert_false(r->refused);
	assert_true(knows_key(r, HASH_B));
	assert_int_equal(deployer_stats(r->c.deployer).failures, 1);
}

static void test_route_of_a_failed_commit_is_not_visible(void **state)
{
	struct rig *r = *state;
	struct rlimit old;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit_files(1);
	add_route(r, "lost.example.test");
	limit_files(old.rlim_cur);
	assert_true(r->refused);
	rig_until(r, takes_commands, r);
	assert_false(front_has_host(r->c.front, SLICE("lost.example.test")));
}

static void on_never(void *arg, const struct effect_reply *e)
{
	(void)arg;
	(void)e;
	fail_msg("an answer came for somebody who was gone");
}

static void test_forgotten_answer(void **state)
{
	struct rig *r = *state;
	struct cluster_event e = { .type = EVENT_API_KEY_CREATE };
	uint64_t handle = deployer_expect(r->c.deployer, on_never, NULL);

	e.api_key_create = (struct event_api_key_create){ handle, HASH_A, "k", "read" };
	deployer_step(r->c.deployer, &e);
	deployer_forget(r->c.deployer, handle);
	add_key(r, HASH_B);
	assert_true(knows_key(r, HASH_A));
}

/* The store ends after the deployer: what it commits then is nobody's any more. */
static void test_end_with_a_commit_under_way(void **state)
{
	struct rig *r = *state;
	struct cluster_event e = { .type = EVENT_API_KEY_CREATE };

	e.api_key_create = (struct event_api_key_create){ 0, HASH_A, "k", "read" };
	deployer_step(r->c.deployer, &e);
	deployer_step(r->c.deployer, &e);
}

struct reader {
	struct deployer_wait wait;
	struct rig *rig;
	bool served;	/* and what it saw then */
	int calls;
};

static void on_settled(void *arg)
{
	struct reader *reader = arg;

	reader->calls++;
	reader->served = front_has_host(reader->rig->c.front, SLICE("read.example.test"));
}

static bool has_read(void *arg)
{
	struct reader *reader = arg;

	return reader->calls > 0;
}

/* What a step decided is told to readers once its effects are carried out, not before. */
static void test_reads_wait_for_what_was_decided(void **state)
{
	struct rig *r = *state;
	struct reader reader = { .rig = r }, gone = { .rig = r };
	const char *target = "http://127.0.0.1:9";
	struct cluster_event e = { .type = EVENT_STATIC_ADD };

	deployer_when_settled(r->c.deployer, &reader.wait, on_settled, &reader);
	assert_int_equal(reader.calls, 1);
	assert_false(reader.served);

	reader.calls = 0;
	e.route = (struct event_static){ .host = "read.example.test", .targets = { &target, 1 } };
	deployer_step(r->c.deployer, &e);
	deployer_when_settled(r->c.deployer, &reader.wait, on_settled, &reader);
	deployer_when_settled(r->c.deployer, &gone.wait, on_settled, &gone);
	assert_int_equal(reader.calls, 0);
	deployer_wait_cancel(&gone.wait);
	rig_until(r, has_read, &reader);
	assert_true(reader.served);
	assert_int_equal(reader.calls, 1);
	assert_int_equal(gone.calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answer_comes_after_the_commit, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_failed_commit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_route_of_a_failed_commit_is_not_visible,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end_with_a_commit_under_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forgotten_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reads_wait_for_what_was_decided, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
