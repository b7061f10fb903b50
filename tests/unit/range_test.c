/* Ranges of addresses: what is one, and what lies within. */
#include "check.h"

#include <errno.h>

#include "base/range.h"

static const struct {
	const char *range, *ip;
	int rc;
	bool in;
} cases[] = {
	{ "10.0.0.0/8", "10.255.1.2", 0, true },
	{ "10.0.0.0/8", "11.0.0.0", 0, false },
	{ "192.0.2.7", "192.0.2.7", 0, true },
	{ "192.0.2.7", "192.0.2.6", 0, false },
	{ "192.0.2.0/31", "192.0.2.1", 0, true },
	{ "192.0.2.0/31", "192.0.2.2", 0, false },
	{ "0.0.0.0/0", "255.255.255.255", 0, true },
	{ "0.0.0.0/0", "2001:db8::1", 0, false },
	{ "::/0", "10.0.0.1", 0, true },
	{ "2001:db8::/33", "2001:db8:7fff::1", 0, true },
	{ "2001:db8::/33", "2001:db8:8000::1", 0, false },
	{ "::ffff:10.0.0.0/104", "10.1.2.3", 0, true },
	{ "10.0.0.0/33", "", -EINVAL, false },
	{ "::/129", "", -EINVAL, false },
	{ "10.0.0.0/", "", -EINVAL, false },
	{ "10.0.0/8", "", -EINVAL, false },
	{ "", "", -EINVAL, false },
	{ "localhost", "", -EINVAL, false },
	{ "10.0.0.0/8/8", "", -EINVAL, false },
};

static void test_ranges(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ranges r = { 0 };
		uint8_t ip[RANGE_IP_BYTES];

		CHECK_INT(cases[i].range, ranges_add(&r, slice_str(cases[i].range)), cases[i].rc);
		if (cases[i].rc == 0) {
			assert_true(range_ip_parse(slice_str(cases[i].ip), ip));
			CHECK_INT(cases[i].range, ranges_have(&r, ip), cases[i].in);
		}
		ranges_fini(&r);
	}
}

static void test_sockets(void **state)
{
	static const uint8_t v4[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1 };
	uint8_t ip[RANGE_IP_BYTES];
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(&a, SLICE("192.0.2.1:80"), NULL), 0);
	assert_true(range_ip(&a, ip));
	assert_memory_equal(ip, v4, sizeof(v4));
	assert_int_equal(addr_parse(&a, SLICE("[::1]:80"), NULL), 0);
	assert_true(range_ip(&a, ip));
	CHECK_INT("the last byte of ::1", ip[15], 1);
	CHECK_INT("its first ones", ip[10], 0);
	memset(&a, 0, sizeof(a));
	a.sa.ss_family = AF_UNIX;
	assert_false(range_ip(&a, ip));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
