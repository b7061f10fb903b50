/* Digests and random bytes against known answers. */
#include "check.h"
#include "reactor/crypto.h"

static void sha256_known_answers(void **state)
{
	char hex[65];

	(void)state;
	crypto_sha256_hex(SLICE(""), hex);
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	crypto_sha256_hex(SLICE("abc"), hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void random_differs(void **state)
{
	char a[2 * 40 + 1], b[2 * 40 + 1];

	(void)state;
	crypto_random_hex(a, 40);
	crypto_random_hex(b, 40);
	assert_int_equal(strlen(a), 80);
	assert_int_equal(strspn(a, "0123456789abcdef"), 80);
	assert_string_not_equal(a, b);
	assert_memory_not_equal(a, a + 64, 16);	/* the second chunk is not the first again */
	crypto_random_hex(a, 0);
	assert_string_equal(a, "");
}

static const struct {
	const char *a, *b;
	bool equal;
} equal_cases[] = {
	{ "token", "token", true },
	{ "token", "tokem", false },
	{ "token", "toke", false },
	{ "", "", true },
};

static void equal_is_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(equal_cases); i++)
		CHECK_INT(equal_cases[i].b,
			  crypto_equal(slice_str(equal_cases[i].a), slice_str(equal_cases[i].b)),
			  equal_cases[i].equal);
}

static void wipe_wipes(void **state)
{
	char secret[] = "secret";

	(void)state;
	crypto_wipe(secret, sizeof(secret));
	assert_memory_equal(secret, "\0\0\0\0\0\0", 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_known_answers),
		cmocka_unit_test(random_differs),
		cmocka_unit_test(equal_is_exact),
		cmocka_unit_test(wipe_wipes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
