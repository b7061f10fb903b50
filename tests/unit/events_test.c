/* The ring of events: numbers, order, the cap, and reading back what was stored. */
#include "check.h"

#include "control/events.h"

static struct loop *loop;

static int set_up(void **state)
{
	struct err err;

	(void)state;
	return loop_create(&loop, &err);
}

static int tear_down(void **state)
{
	(void)state;
	loop_destroy(loop);
	return 0;
}

static void store(struct events *e, uint64_t *id, const char *text)
{
	struct store_txn *t = store_txn_new();

	*id = events_record(e, t, 1000, "Test", "subject", text);
	store_txn_free(t);
}

static void test_numbers(void **state)
{
	struct events *e = events_create(loop);
	uint64_t first, second;

	(void)state;
	store(e, &first, "a");
	store(e, &second, "b");
	assert_int_equal(first, 1);
	assert_int_equal(second, 2);
	events_publish(e, second, 1000, "Test", "subject", "b");
	events_destroy(e);
}

static void test_cap_deletes_the_oldest(void **state)
{
	struct events *e = events_create(loop);
	struct store_txn *t;
	uint64_t id;

	(void)state;
	for (int i = 0; i < EVENTS_MAX; i++)
		store(e, &id, "x");
	t = store_txn_new();
	assert_int_equal(events_record(e, t, 1, "Test", "s", "y"), EVENTS_MAX + 1);
	assert_int_equal(store_txn_len(t), 2);	/* the new one, and the end of the first */
	store_txn_free(t);
	events_destroy(e);
}

static const struct {
	const char *name, *key, *value;
	int ok;
} rows[] = {
	{ "one", "0000000000000007",
	  "{\"v\":1,\"wall_ms\":5,\"type\":\"A\",\"subject\":\"b\",\"text\":\"c\"}", 1 },
	{ "the next", "0000000000000008", "{\"v\":1,\"new\":true}", 1 },
	{ "out of order", "0000000000000003", "{}", 0 },
	{ "no number", "seven", "{}", 0 },
	{ "no document", "0000000000000009", "{", 0 },
};

static void test_load(void **state)
{
	struct events *e = events_create(loop);
	struct err err;
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		CHECK_INT(rows[i].name,
			  events_load(e, slice_str(rows[i].key), slice_str(rows[i].value), &err) ==
				  0,
			  rows[i].ok);
	store(e, &id, "after");
	assert_int_equal(id, 9);
	events_destroy(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_cap_deletes_the_oldest),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
