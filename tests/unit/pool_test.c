/* Pools: cap, reuse, and what a quiet process keeps. */
#include "base/pool.h"
#include "check.h"

static void test_cap(void **state)
{
	struct pool p;
	void *a, *b;

	(void)state;
	pool_init(&p, "none", 16, 0, 0);
	assert_null(pool_get(&p));
	assert_int_equal(p.refused, 1);
	pool_fini(&p);

	pool_init(&p, "two", 16, 2, 0);
	a = pool_get(&p);
	b = pool_get(&p);
	assert_non_null(a);
	assert_non_null(b);
	assert_null(pool_get(&p));
	assert_int_equal(p.used, 2);
	pool_put(&p, a);
	assert_ptr_equal(pool_get(&p), a);
	pool_put(&p, a);
	pool_put(&p, b);
	pool_put(&p, NULL);
	assert_int_equal(p.used, 0);
	assert_int_equal(p.peak, 2);
	assert_int_equal(p.idle, 2);
	pool_fini(&p);
}

static void test_last_used_comes_first(void **state)
{
	struct pool p;
	void *a, *b;

	(void)state;
	/* Smaller than a pointer: objects still have room for the pool's link. */
	pool_init(&p, "tiny", 1, 8, 0);
	a = pool_get(&p);
	b = pool_get(&p);
	pool_put(&p, a);
	pool_put(&p, b);
	assert_ptr_equal(pool_get(&p), b);
	assert_ptr_equal(pool_get(&p), a);
	pool_put(&p, a);
	pool_put(&p, b);
	pool_fini(&p);
}

static void test_idle_max(void **state)
{
	struct pool p;
	void *all[8];

	(void)state;
	pool_init(&p, "burst", 1024, 8, 2);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		all[i] = pool_get(&p);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		pool_put(&p, all[i]);
	assert_int_equal(p.idle, 2);
	assert_int_equal(p.used, 0);
	pool_fini(&p);
	assert_int_equal(p.idle, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_last_used_comes_first),
		cmocka_unit_test(test_idle_max),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
