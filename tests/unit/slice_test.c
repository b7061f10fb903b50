/* Slices: comparing, cutting, converting. */
#include <errno.h>

#include "check.h"

static void test_compare(void **state)
{
	struct slice none = { 0 };

	(void)state;
	assert_true(slice_eq(none, SLICE("")));
	assert_true(slice_eq_nocase(SLICE("Content-LENGTH"), SLICE("content-length")));
	/* Only letters fold: '@' and '`' are 32 apart as well. */
	assert_false(slice_eq_nocase(SLICE("@[\\"), SLICE("`{|")));
	assert_false(slice_eq_nocase(SLICE("\xc4"), SLICE("\xe4")));
	assert_true(slice_starts(SLICE("/app/x"), SLICE("/app")));
	assert_false(slice_starts(SLICE("/ap"), SLICE("/app")));
	assert_true(slice_starts(none, none));
	assert_true(slice_ends(SLICE("a.example"), SLICE(".example")));
	assert_false(slice_ends(SLICE("example"), SLICE(".example")));
	assert_true(slice_ends(none, none));
}

static void test_cut(void **state)
{
	struct slice rest, first;

	(void)state;
	CHECK_SLICE("both ends", slice_trim(SLICE(" \t a b\t ")), "a b");
	CHECK_SLICE("all blank", slice_trim(SLICE(" \t ")), "");
	CHECK_SLICE("not CR and LF", slice_trim(SLICE("\r\n")), "\r\n");

	first = slice_split(SLICE("a,,b"), ',', &rest);
	CHECK_SLICE("first", first, "a");
	first = slice_split(rest, ',', &rest);
	CHECK_SLICE("empty", first, "");
	assert_non_null(rest.p);
	first = slice_split(rest, ',', &rest);
	CHECK_SLICE("last", first, "b");
	assert_null(rest.p);
	first = slice_split(SLICE("a,"), ',', &rest);
	CHECK_SLICE("before the end", first, "a");
	assert_non_null(rest.p);
	assert_int_equal(rest.n, 0);
}

static const struct {
	const char *text;
	int rc;
	uint64_t want;
} numbers[] = {
	{ "0", 0, 0 },
	{ "007", 0, 7 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "99999999999999999999999999", -ERANGE, 0 },
	{ "99999999999999999999999999x", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 },
	{ "1 ", -EINVAL, 0 },
	{ "0x10", -EINVAL, 0 },
};

static void test_u64(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		uint64_t v = 42;

		CHECK_INT(numbers[i].text, slice_u64(slice_str(numbers[i].text), &v), numbers[i].rc);
		CHECK_INT(numbers[i].text, v, numbers[i].rc ? 42 : numbers[i].want);
	}
}

static void test_copy(void **state)
{
	char small[4];
	char *dup;

	(void)state;
	assert_int_equal(slice_copy(SLICE("abc"), small, sizeof(small)), 0);
	assert_string_equal(small, "abc");
	assert_int_equal(slice_copy(SLICE("abcd"), small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(slice_copy(SLICE("a\0b"), small, sizeof(small)), -EINVAL);
	assert_int_equal(slice_copy(slice_of(NULL, 0), small, sizeof(small)), 0);
	assert_string_equal(small, "");
	dup = slice_dup(slice_of("abcdef", 3));
	assert_string_equal(dup, "abc");
	free(dup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
