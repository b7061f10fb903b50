/* Socket addresses from text and from the kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "base/text.h"
#include "check.h"

static const struct {
	const char *text, *ip;	/* ip NULL: refused */
	uint16_t port;
	bool loopback;
} cases[] = {
	{ "127.0.0.1:8080", "127.0.0.1", 8080, true },
	{ "127.255.0.3:1", "127.255.0.3", 1, true },
	{ "0.0.0.0:0", "0.0.0.0", 0, false },
	{ "192.0.2.1:65535", "192.0.2.1", 65535, false },
	{ "[::1]:443", "::1", 443, true },
	{ "[2001:db8::7]:80", "2001:db8::7", 80, false },
	{ "192.0.2.1:65536", NULL, 0, false },
	{ "192.0.2.1:", NULL, 0, false },
	{ "192.0.2.1", NULL, 0, false },
	{ "192.0.2.1:+1", NULL, 0, false },
	{ "192.0.2:80", NULL, 0, false },
	{ "192.0.2.256:80", NULL, 0, false },
	{ "localhost:80", NULL, 0, false },
	{ ":80", NULL, 0, false },
	{ "::1:80", NULL, 0, false },
	{ "[::1]", NULL, 0, false },
	{ "[::1]80", NULL, 0, false },
	{ "[::1:80", NULL, 0, false },
	{ "[127.0.0.1]:80", NULL, 0, false },
	{ "[fe80::1%lo]:80", NULL, 0, false },
	{ "[", NULL, 0, false },
	{ "[]:80", NULL, 0, false },
	{ "", NULL, 0, false },
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = { 0 };
		struct addr a, again;
		char ip[64];
		int rc = addr_parse(&a, slice_str(cases[i].text), &err);

		CHECK_INT(cases[i].text, rc, cases[i].ip ? 0 : -EINVAL);
		CHECK_INT(cases[i].text, err.text[0] != '\0', !cases[i].ip);
		if (!cases[i].ip)
			continue;
		CHECK_STR(cases[i].text, a.text, cases[i].text);
		addr_ip(&a, ip);
		CHECK_STR(cases[i].text, ip, cases[i].ip);
		CHECK_INT(cases[i].text, addr_port(&a), cases[i].port);
		CHECK_INT(cases[i].text, addr_is_loopback(&a), cases[i].loopback);
		assert_int_equal(addr_make(&again, slice_str(ip), cases[i].port, &err), 0);
		assert_memory_equal(&a, &again, sizeof(a));
	}
}

static void test_mapped(void **state)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(99) };
	struct addr a;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.9", &v6.sin6_addr), 1);
	addr_from(&a, (struct sockaddr *)&v6, sizeof(v6));
	assert_string_equal(a.text, "127.0.0.9:99");
	assert_int_equal(a.sa.ss_family, AF_INET);
	assert_int_equal(a.len, sizeof(struct sockaddr_in));
	assert_true(addr_is_loopback(&a));
}

static void test_unix(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/run/temps.sock" };
	struct addr a;
	char ip[64];

	(void)state;
	addr_from(&a, (struct sockaddr *)&un, sizeof(un));
	assert_string_equal(a.text, "unix:/run/temps.sock");
	assert_int_equal(addr_port(&a), 0);
	assert_true(addr_is_loopback(&a));
	addr_ip(&a, ip);
	assert_string_equal(ip, "unix");
	/* What accept(2) gives for a peer without a name. */
	addr_from(&a, (struct sockaddr *)&un, sizeof(sa_family_t));
	assert_string_equal(a.text, "unix:");
	memcpy(un.sun_path, "\0name", 5);
	addr_from(&a, (struct sockaddr *)&un, sizeof(sa_family_t) + 5);
	assert_string_equal(a.text, "unix:@name");
	/* A path that fills its place has no NUL. */
	memset(un.sun_path, 'p', sizeof(un.sun_path));
	addr_from(&a, (struct sockaddr *)&un, sizeof(un));
	assert_int_equal(strlen(a.text), sizeof(a.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_unix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
