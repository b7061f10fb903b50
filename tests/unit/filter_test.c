/* Rules for requests, the parts that are pure: who is let in, where a redirect leads. */
#include "check.h"

#include "proxy/filter.h"

static const struct {
	const char *name, *allow, *deny, *ip;
	bool in;
} doors[] = {
	{ "no rule", "", "", "192.0.2.1", true },
	{ "denied", "", "192.0.2.0/24", "192.0.2.1", false },
	{ "not denied", "", "192.0.2.0/24", "198.51.100.1", true },
	{ "allowed", "192.0.2.0/24", "", "192.0.2.1", true },
	{ "not allowed", "192.0.2.0/24", "", "198.51.100.1", false },
	{ "allowed and denied", "192.0.2.0/24", "192.0.2.1", "192.0.2.1", false },
	{ "a neighbour", "192.0.2.0/24", "192.0.2.1", "192.0.2.2", true },
	{ "v6", "2001:db8::/32", "", "2001:db8::1", true },
	{ "v6, not allowed", "192.0.2.0/24", "", "2001:db8::1", false },
};

static void test_doors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(doors); i++) {
		struct pair pairs[] = { { "allow", doors[i].allow }, { "deny", doors[i].deny } };
		struct upstream_policy p;
		uint8_t ip[RANGE_IP_BYTES];

		CHECK_INT(doors[i].name, policy_parse(&p, &(struct pairs){ pairs, 2 }, NULL), 0);
		assert_true(range_ip_parse(slice_str(doors[i].ip), ip));
		CHECK_INT(doors[i].name, filter_lets_in(&p, ip), doors[i].in);
		policy_fini(&p);
	}
}

static const struct {
	const char *form, *authority, *path, *want;
} places[] = {
	{ "https://b.test", "a.test", "/x", "https://b.test" },
	{ "https://b.test{path}", "a.test", "/x?y=1", "https://b.test/x?y=1" },
	{ "https://www.{host}{path}", "a.test:8443", "/", "https://www.a.test/" },
	{ "https://{host}/", "[2001:db8::1]", "/", "https://[2001:db8::1]/" },
	{ "/new{path}#top", "a.test", "/x", "/new/x#top" },
	{ "https://b.test{path}", "a.test", "*", "https://b.test/" },
	{ "{path}{path}", "a.test", "/x", "/x/x" },
	{ "https://b.test/{path}", "a.test", "/01234567890123456789", "" },
};

static void test_locations(void **state)
{
	char out[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct head h;
		size_t n;

		head_init(&h);
		h.authority = slice_str(places[i].authority);
		h.path = slice_str(places[i].path);
		n = filter_location(places[i].form, &h, out, sizeof(out));
		CHECK_SLICE(places[i].form, slice_of(out, n), places[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doors),
		cmocka_unit_test(test_locations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
