/* Error texts: name, cause, and what happens when they do not fit. */
#include <errno.h>

#include "base/err.h"
#include "check.h"

static void test_texts(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set(&err, -EADDRINUSE, "bind %s:%d", "192.0.2.1", 443), -EADDRINUSE);
	assert_string_equal(err.text, "bind 192.0.2.1:443: Address already in use");
	assert_int_equal(err_prefix(&err, "listener %d", 1), -EADDRINUSE);
	assert_string_equal(err.text, "listener 1: bind 192.0.2.1:443: Address already in use");
	assert_int_equal(err_say(&err, -EINVAL, "no %s", "port"), -EINVAL);
	assert_string_equal(err.text, "no port");
	assert_int_equal(err.code, -EINVAL);
}

static void test_nobody_reads(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_say(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_prefix(NULL, "x"), 0);
}

static void test_cut(void **state)
{
	char name[1000];
	struct err err;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	err_set(&err, -EIO, "open %s", name);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_say(&err, -EIO, "cause");
	err_prefix(&err, "%s", name);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_say(&err, -EIO, "%s", name);
	err_prefix(&err, "thing");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "thing: nnn", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_nobody_reads),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
