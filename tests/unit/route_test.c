/* The route table: what matches, what changes, what a dead target leaves, and that growing loses
 * nobody. */
#include "check.h"

#include <errno.h>

#include "proxy/table.h"

static const struct hash_key key = { 1, 2 };

static struct route_target *target_of(const struct table *t, const char *host, const char *path)
{
	char name[TABLE_HOST_MAX + 1];
	size_t n = host_fold(slice_str(host), name);
	struct route *r = n ? table_find(t, name, n, slice_str(path)) : NULL;

	return r ? r->target : NULL;
}

static void matches(void **state)
{
	static const struct {
		const char *host, *path;
	} routes[] = {
		{ "one.example.test", "/" },	   { "one.example.test", "/api" },
		{ "one.example.test", "/api/v2" }, { "*.example.test", "/" },
		{ "deep.example.test", "/only" },
	};
	static const struct {
		const char *name, *host, *path;
		int want; /* index above, -1: none */
	} cases[] = {
		{ "the root", "one.example.test", "/", 0 },
		{ "anything under it", "one.example.test", "/x/y?z=/api", 0 },
		{ "a prefix itself", "one.example.test", "/api", 1 },
		{ "a prefix with more", "one.example.test", "/api/x", 1 },
		{ "a prefix with a query", "one.example.test", "/api?x", 1 },
		{ "whole segments only", "one.example.test", "/apix", 0 },
		{ "the longest wins", "one.example.test", "/api/v2/z", 2 },
		{ "but only when whole", "one.example.test", "/api/v22", 1 },
		{ "case does not count in hosts", "ONE.Example.TEST", "/api", 1 },
		{ "it does in paths", "one.example.test", "/API", 0 },
		{ "a port does not count", "one.example.test:8443", "/", 0 },
		{ "nor a trailing dot", "one.example.test.", "/", 0 },
		{ "nor both", "one.example.test.:80", "/", 0 },
		{ "OPTIONS *", "one.example.test", "*", 0 },
		{ "one label under a wildcard", "any.example.test", "/q", 3 },
		{ "two labels are not", "a.b.example.test", "/", -1 },
		{ "none is not", "example.test", "/", -1 },
		{ "an exact host that lacks the path falls to the wildcard", "deep.example.test",
		  "/", 3 },
		{ "and has its own", "deep.example.test", "/only", 4 },
		{ "a literal wildcard is no host", "*.example.test", "/", -1 },
		{ "an address", "127.0.0.1:80", "/", -1 },
		{ "a v6 address", "[::1]:80", "/", -1 },
		{ "nothing", "", "/", -1 },
		{ "a dot", ".", "/", -1 },
		{ "a leading dot", ".example.test", "/", -1 },
	};
	struct route_target targets[ARRAY_LEN(routes)] = { 0 };
	struct table t;

	(void)state;
	table_init(&t, &key);
	for (size_t i = 0; i < ARRAY_LEN(routes); i++)
		CHECK_INT(routes[i].host,
			  table_add(&t, slice_str(routes[i].host), slice_str(routes[i].path),
				    &targets[i]),
			  0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct route_target *got = target_of(&t, cases[i].host, cases[i].path);

		CHECK_INT(cases[i].name, got ? got - targets : -1, cases[i].want);
	}
	table_fini(&t);
}

/* Every byte at every place of a name. */
static void folds(void **state)
{
	(void)state;
	for (unsigned c = 1; c < 256; c++) {
		for (size_t at = 0; at < 20; at++) {
			char name[21] = "abcdefghijklmnopqrst", out[TABLE_HOST_MAX + 1];

			if (c == ':' || c == '.' || c == '*')
				continue;
			name[at] = (char)c;
			assert_int_equal(host_fold(slice_of(name, 20), out), 20);
			for (size_t i = 0; i < 20; i++) {
				unsigned char want = (unsigned char)name[i];

				want = want >= 'A' && want <= 'Z' ? want | 0x20 : want;
				assert_int_equal((unsigned char)out[i], want);
			}
		}
	}
}

/* What of an authority is the host's name; 'x' stands for as many as <xs> says. */
static const struct {
	const char *name, *authority, *want;
	size_t xs;
} authorities[] = {
	{ "short", "A:1", "a", 0 },
	{ "nothing but a port", ":80", "", 0 },
	{ "a port and nothing before it", ":8080/very-long", "", 0 },
	{ "port and last dot", "Example.Test.:8080", "example.test", 0 },
	{ "colon at a word's end", "ABCDEFG:80", "abcdefg", 0 },
	{ "colon at a word's start", "ABCDEFGH:80", "abcdefgh", 0 },
	{ "colon in the overlap", "ABCDEFGHI.tes:1", "abcdefghi.tes", 0 },
	{ "a wildcard is no host", "*.test", "", 0 },
	{ "the longest", "x", "x", 253 },
	{ "the longest and its dot", "x.", "x", 253 },
	{ "the longest, dot and port", "x.:65535", "x", 253 },
	{ "too long", "x", "", 254 },
	{ "too long, with a port", "x:1", "", 254 },
	{ "long, and nothing before the port", ":x", "", 300 },
};

static size_t spell(const char *pattern, size_t xs, char *out)
{
	size_t n = 0;

	for (; *pattern; pattern++) {
		if (xs && *pattern == 'x') {
			memset(out + n, 'x', xs);
			n += xs;
		} else {
			out[n++] = *pattern;
		}
	}
	return n;
}

static void folds_authorities(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(authorities); i++) {
		char out[TABLE_HOST_MAX + 1], want[400], *in = xcalloc(1, 400);
		size_t n = spell(authorities[i].authority, authorities[i].xs, in);
		size_t want_n = spell(authorities[i].want, authorities[i].xs, want);

		/* Its own block, cut to size: reading past it is seen. */
		in = xrealloc(in, n);
		CHECK_INT(authorities[i].name, host_fold(slice_of(in, n), out), want_n);
		CHECK_INT(authorities[i].name, memcmp(out, want, want_n), 0);
		free(in);
	}
}

static void changes(void **state)
{
	struct route_target a = { 0 }, b = { 0 };
	struct slice host = SLICE("h.test"), root = SLICE("/"), sub = SLICE("/s");
	struct table t;

	(void)state;
	table_init(&t, &key);
	assert_int_equal(table_remove(&t, host, root), -ENOENT);
	assert_int_equal(table_add(&t, host, root, &a), 0);
	assert_int_equal(table_add(&t, host, root, &b), -EEXIST);
	assert_int_equal(table_add(&t, host, sub, &b), 0);
	assert_int_equal(t.routes, 2);
	assert_ptr_equal(target_of(&t, "h.test", "/s/x"), &b);
	assert_int_equal(table_remove(&t, host, root), 0);
	assert_null(target_of(&t, "h.test", "/"));
	assert_ptr_equal(target_of(&t, "h.test", "/s"), &b);
	assert_int_equal(table_remove(&t, host, sub), 0);
	assert_int_equal(table_remove(&t, host, sub), -ENOENT);
	assert_int_equal(t.routes, 0);
	assert_int_equal(table_add(&t, SLICE(""), root, &a), -EINVAL);
	assert_int_equal(table_add(&t, host, SLICE("x"), &a), -EINVAL);
	table_fini(&t);
	assert_int_equal(a.routes + b.routes, 0);
}

static unsigned unused_calls;

static void on_unused(struct route_target *t)
{
	(void)t;
	unused_calls++;
}

static void dead_targets(void **state)
{
	struct route_target gone = { .unused = on_unused }, stays = { 0 };
	char host[] = "a.test";
	struct table t;

	(void)state;
	unused_calls = 0;
	table_init(&t, &key);
	assert_int_equal(table_add(&t, SLICE("a.test"), SLICE("/"), &gone), 0);
	assert_int_equal(table_add(&t, SLICE("a.test"), SLICE("/x"), &gone), 0);
	assert_int_equal(table_add(&t, SLICE("*.test"), SLICE("/"), &stays), 0);
	table_kill(&t, &gone);
	assert_int_equal(t.routes, 1);
	assert_ptr_equal(target_of(&t, "a.test", "/x"), &stays);
	assert_true(table_has_host(&t, host, strlen(host)));
	assert_null(table_entry(&t, SLICE("a.test"), SLICE("/")));
	/* Its place is free for another. */
	assert_int_equal(table_add(&t, SLICE("a.test"), SLICE("/"), &stays), 0);
	assert_ptr_equal(target_of(&t, "a.test", "/x"), &stays);
	assert_int_equal(unused_calls, 0);
	assert_int_equal(table_remove(&t, SLICE("a.test"), SLICE("/x")), -ENOENT);
	assert_int_equal(unused_calls, 1);
	table_fini(&t);
}

/* Every tenth is longer than what a host keeps inside. */
static void name_of(unsigned i, char *out, size_t size)
{
	snprintf(out, size, "h%u.%s.test", i,
		 i % 10 ? "short"
			: "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.a.b.c.d.e.f.g.h");
}

/* Against a plain array: random adds and removes, everything looked up after each hundred. */
static void model(void **state)
{
	enum { HOSTS = 3000, STEPS = 20000 };
	static bool there[HOSTS];
	struct route_target target = { 0 };
	unsigned seed = 7, count = 0;
	struct table t;

	(void)state;
	memset(there, 0, sizeof(there));
	table_init(&t, &key);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned i = (seed = seed * 1103515245 + 12345) / 65536 % HOSTS;
		char host[128];

		name_of(i, host, sizeof(host));
		/* Mostly grows, then mostly shrinks. */
		if ((seed >> 20) % 4 < (step < STEPS / 2 ? 3 : 1)) {
			CHECK_INT(host, table_add(&t, slice_str(host), SLICE("/"), &target),
				  there[i] ? -EEXIST : 0);
			count += !there[i];
			there[i] = true;
		} else {
			CHECK_INT(host, table_remove(&t, slice_str(host), SLICE("/")),
				  there[i] ? 0 : -ENOENT);
			count -= there[i];
			there[i] = false;
		}
		CHECK_INT(host, t.routes, count);
		for (i = 0; step % 100 == 0 && i < HOSTS; i++) {
			name_of(i, host, sizeof(host));
			CHECK_INT(host, target_of(&t, host, "/") != NULL, there[i]);
		}
	}
	table_fini(&t);
	assert_int_equal(target.routes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches),	     cmocka_unit_test(folds),
		cmocka_unit_test(folds_authorities), cmocka_unit_test(changes),
		cmocka_unit_test(dead_targets),	     cmocka_unit_test(model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
