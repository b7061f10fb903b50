/* Token buckets: who may, who may not, and what a full table does. */
#include "check.h"

#include "proxy/rate.h"

static struct rate_table *table;

static int setup(void **state)
{
	(void)state;
	table = rate_table_create();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(table);
	return 0;
}

/* How many of <n> tries at once succeed. */
static unsigned take(const char *key, uint32_t rate, uint32_t burst, uint64_t now_ms, unsigned n)
{
	unsigned taken = 0;

	while (n--)
		taken += rate_take(table, slice_str(key), rate, burst, now_ms);
	return taken;
}

static const struct {
	const char *name, *key;
	uint32_t rate, burst;
	uint64_t now_ms;
	unsigned tries, want;
} steps[] = {
	{ "a burst at once", "a", 10, 5, 1000, 9, 5 },
	{ "another key has its own", "b", 10, 5, 1000, 9, 5 },
	{ "nothing yet", "a", 10, 5, 1099, 9, 0 },
	{ "one token after 100 ms", "a", 10, 5, 1100, 9, 1 },
	{ "refusals cost nothing", "a", 10, 5, 1300, 9, 2 },
	{ "never more than the burst", "a", 10, 5, 60000, 9, 5 },
	{ "a lower rate holds at once", "a", 1, 5, 60100, 9, 0 },
	{ "a lower burst too", "b", 10, 2, 60100, 9, 2 },
	{ "after 30 days", "a", 10, 5, 2592060000, 9, 5 },
	{ "one a second", "c", 1, 1, 5000, 9, 1 },
	{ "not quite", "c", 1, 1, 5999, 9, 0 },
	{ "now", "c", 1, 1, 6000, 9, 1 },
	{ "the largest", "d", 1000000, 1000000, 7000, 1000001, 1000000 },
};

static void test_steps(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		CHECK_INT(steps[i].name,
			  take(steps[i].key, steps[i].rate, steps[i].burst, steps[i].now_ms,
			       steps[i].tries),
			  steps[i].want);
	CHECK_INT("nobody made room", table->overflow, 0);
}

/* A flood of addresses cannot grow the table, and cannot make it forget who took most. */
static void test_overflow(void **state)
{
	char key[32];

	(void)state;
	CHECK_INT("the busy one", take("busy", 1, 100, 1000, 200), 100);
	for (unsigned i = 0; i < 4 * RATE_SETS * RATE_WAYS; i++) {
		snprintf(key, sizeof(key), "%u", i);
		CHECK_INT(key, take(key, 1, 100, 1000, 1), 1);
	}
	assert_true(table->overflow > RATE_SETS * RATE_WAYS);
	CHECK_INT("is still remembered", take("busy", 1, 100, 1000, 1), 0);
	CHECK_INT("until it is full again", take("busy", 1, 100, 101000, 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overflow, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
