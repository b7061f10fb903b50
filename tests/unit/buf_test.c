/* The growing buffer and the leased window. */
#include <errno.h>

#include "base/buf.h"
#include "check.h"

static void test_grows_and_consumes(void **state)
{
	struct buf b;
	char *text;

	(void)state;
	buf_init(&b, 0);
	assert_null(buf_slice(&b).p);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&b, "%03d,", i), 0);
	assert_int_equal(b.len, 4000);
	assert_int_equal(b.data[b.len], '\0');
	buf_consume(&b, 4);
	assert_memory_equal(b.data, "001,", 4);
	buf_consume(&b, 3992);
	assert_string_equal(b.data, "999,");
	buf_consume(&b, 100);
	assert_int_equal(b.len, 0);
	buf_append_slice(&b, slice_of(NULL, 0));
	buf_append_str(&b, "end");
	text = buf_steal(&b);
	assert_string_equal(text, "end");
	free(text);
	assert_null(b.data);
	text = buf_steal(&b);
	assert_string_equal(text, "");
	free(text);
	buf_fini(&b);
}

static void test_limit(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	assert_int_equal(buf_append_str(&b, "12345678"), 0);
	assert_false(b.full);
	assert_int_equal(buf_append_str(&b, "9"), -EMSGSIZE);
	assert_true(b.full);
	assert_string_equal(b.data, "12345678");
	buf_clear(&b);
	assert_false(b.full);
	/* All or nothing. */
	assert_int_equal(buf_printf(&b, "%s", "123456789"), -EMSGSIZE);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	assert_int_equal(buf_printf(&b, "%d", 12345678), 0);
	assert_string_equal(b.data, "12345678");
	buf_fini(&b);
	assert_int_equal(b.max, 8);
}

static void test_zeroed_is_usable(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_printf(&b, "%s", "x"), 0);
	assert_string_equal(b.data, "x");
	buf_fini(&b);
}

static void test_window(void **state)
{
	struct iobuf a = { 0 }, b = { 0 };
	struct pool pool;

	(void)state;
	pool_init(&pool, "window", 64, 1, 0);
	assert_int_equal(iobuf_lease(&a, &pool), 0);
	assert_int_equal(iobuf_room(&a), 64);
	memcpy(a.mem, "hello", 5);
	a.last = 5;
	/* A second lease of the same window keeps what is in it. */
	assert_int_equal(iobuf_lease(&a, &pool), 0);
	assert_int_equal(iobuf_len(&a), 5);
	assert_int_equal(iobuf_lease(&b, &pool), -ENOMEM);
	assert_int_equal(pool.refused, 1);
	iobuf_release(&a, &pool);
	assert_int_equal(iobuf_len(&a), 0);
	assert_int_equal(iobuf_room(&a), 0);
	iobuf_release(&a, &pool);
	assert_int_equal(iobuf_lease(&b, &pool), 0);
	iobuf_release(&b, &pool);
	pool_fini(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows_and_consumes),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_zeroed_is_usable),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
