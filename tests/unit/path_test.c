/* Paths by which routes are chosen, however they are written. */
#include "check.h"

#include "proxy/path.h"

static void plain(void **state)
{
	static const struct {
		const char *path, *want;
	} cases[] = {
		{ "/", "/" },
		{ "/a/b.c?x=%2e%2e", "/a/b.c?x=%2e%2e" },
		{ "/a.b/c", "/a.b/c" },
		{ "*", "*" },
		{ "/%61", "/a" },
		{ "/a%2Fb", "/a/b" },
		{ "/a%2fb?c%2fd", "/a/b" },
		{ "/a/../b", "/b" },
		{ "/a/%2e%2E/b", "/b" },
		{ "/a/..%2fb", "/b" },
		{ "/a/./b", "/a/b" },
		{ "/./a", "/a" },
		{ "/a/.", "/a/" },
		{ "/a/..", "/" },
		{ "/a/b/..", "/a/" },
		{ "/..", "/" },
		{ "/../../a", "/a" },
		{ "/a/b/../../../c", "/c" },
		{ "//a", "/a" },
		{ "/a//b///c", "/a/b/c" },
		{ "/a//../b", "/b" },
		{ "/...", "/..." },
		{ "/.a/..b/c..", "/.a/..b/c.." },
		{ "/%zz%2", "/%zz%2" },
		{ "/%2561", "/%61" }, /* once: a server does it once */
		{ "/a%3fb", "/a?b" },
	};
	static char out[HEAD_MAX_TARGET];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		CHECK_SLICE(cases[i].path, path_plain(slice_str(cases[i].path), out),
			    cases[i].want);
}

static void longest(void **state)
{
	static char path[HEAD_MAX_TARGET], out[HEAD_MAX_TARGET];
	struct slice got;

	(void)state;
	memset(path, 'a', sizeof(path));
	memcpy(path, "//", 2);
	got = path_plain(slice_of(path, sizeof(path)), out);
	assert_int_equal(got.n, sizeof(path) - 1);
	for (size_t i = 0; i + 3 <= sizeof(path); i += 3)
		memcpy(path + i, "/..", 3);
	got = path_plain(slice_of(path, sizeof(path) / 3 * 3), out);
	CHECK_SLICE("all the way up", got, "/");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),
		cmocka_unit_test(longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
