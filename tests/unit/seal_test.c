/* Sealing: what goes in comes out with the right key and untouched bytes, and with nothing else. */
#include "check.h"

#include <errno.h>

#include "reactor/seal.h"

static const uint8_t key[SEAL_KEY_BYTES] = { 1, 2, 3 }, other[SEAL_KEY_BYTES] = { 1, 2, 4 };

static void test_round_trip(void **state)
{
	static const char *const texts[] = { "", "x", "a password with \"quotes\" and a \xc3\xa4" };
	struct buf sealed, again, plain;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		buf_init(&sealed, 0);
		buf_init(&again, 0);
		buf_init(&plain, 0);
		assert_int_equal(seal_close(key, slice_str(texts[i]), &sealed), 0);
		assert_int_equal(seal_close(key, slice_str(texts[i]), &again), 0);
		assert_false(slice_eq(buf_slice(&sealed), buf_slice(&again)));
		assert_int_equal(seal_open(key, buf_slice(&sealed), &plain), 0);
		CHECK_SLICE(texts[i], buf_slice(&plain), texts[i]);
		assert_int_equal(seal_open(other, buf_slice(&sealed), &plain), -EKEYREJECTED);
		buf_fini(&sealed);
		buf_fini(&again);
		buf_fini(&plain);
	}
}

static void test_changed_bytes(void **state)
{
	struct buf sealed, plain;

	(void)state;
	buf_init(&sealed, 0);
	buf_init(&plain, 0);
	assert_int_equal(seal_close(key, SLICE("secret"), &sealed), 0);
	for (size_t i = 0; i < sealed.len; i++) {
		char was = sealed.data[i];

		if (was == '=' || (i + 1 < sealed.len && sealed.data[i + 1] == '='))
			continue;	/* the bits that padding leaves unused */
		sealed.data[i] = was == 'A' ? 'B' : 'A';
		assert_true(seal_open(key, buf_slice(&sealed), &plain) < 0);
		sealed.data[i] = was;
	}
	assert_int_equal(seal_open(key, SLICE("c2hvcnQ="), &plain), -EINVAL);
	assert_int_equal(seal_open(key, SLICE("not base64!"), &plain), -EINVAL);
	assert_int_equal(plain.len, 0);
	buf_fini(&sealed);
	buf_fini(&plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_changed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
