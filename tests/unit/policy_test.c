/* Policies: the table against temps-policy(7), what each key takes, what the errors say, texts. */
#include "check.h"

#include <errno.h>

#include "base/buf.h"
#include "proxy/basic_auth.h"
#include "proxy/policy.h"

static int parse(struct upstream_policy *p, const char *key, const char *value, struct err *err)
{
	struct pair pair = { key, value };

	return policy_parse(p, &(struct pairs){ &pair, 1 }, err);
}

static const struct {
	const char *key, *value;
	const char *says; /* NULL: it is taken */
} values[] = {
	{ "balance", "p2c", NULL },
	{ "balance", "round-robin", NULL },
	{ "balance", "", NULL },
	{ "balance", "random", "policy \"balance\": \"random\": expected p2c|round-robin|" },
	{ "sticky", "srv", NULL },
	{ "sticky", "a=b", "policy \"sticky\": \"a=b\": expected COOKIE" },
	{ "max-in-flight", "1", NULL },
	{ "max-in-flight", "0",
	  "policy \"max-in-flight\": \"0\": expected a whole number from 1 to 1000000" },
	{ "max-in-flight", "-1", "expected a whole number" },
	{ "max-in-flight", "99999999999999999999", "expected a whole number" },
	{ "queue", "5", "policy \"queue\": makes no sense without \"max-in-flight\"" },
	{ "queue-time", "2s", "policy \"queue-time\": makes no sense without \"max-in-flight\"" },
	{ "health-path", "/up?x=1", NULL },
	{ "health-path", "up", "expected PATH" },
	{ "health-path", "/a b", "expected PATH" },
	{ "head-timeout", "1500ms", NULL },
	{ "head-timeout", "0", "a duration such as 500ms or 10s, from 1ms to 86400s" },
	{ "head-timeout", "25h", "a duration" },
	{ "protocol", "h2c", NULL },
	{ "protocol", "h2", "expected http1|h2c" },
	{ "max-body", "10MiB", NULL },
	{ "max-body", "0", "expected a size such as 10MiB" },
	{ "max-body", "ten", "policy \"max-body\": \"ten\": expected a size" },
	{ "rate", "5", NULL },
	{ "burst", "5", "makes no sense without \"rate\"" },
	{ "allow", "10.0.0.0/8", NULL },
	{ "allow", "10.0.0.0/8,::1, fd00::/8\n127.0.0.1", NULL },
	{ "allow", ",", "policy \"allow\"" },
	{ "allow", "10.0.0.0/33", "\"10.0.0.0/33\" is not a range" },
	{ "deny", "example.test", "policy \"deny\": \"example.test\" is not a range" },
	{ "basic-auth", "alice:$6$salt$hash", NULL },
	{ "basic-auth", "alice:$6$a\nbob:$6$b", NULL },
	{ "basic-auth", "alice", "policy \"basic-auth\": expected USER:PASSWORD" },
	{ "basic-auth", ":x", "policy \"basic-auth\": expected USER:PASSWORD" },
	{ "basic-auth", "alice:", "policy \"basic-auth\": expected USER:PASSWORD" },
	{ "compress", "on", NULL },
	{ "compress", "yes", "expected on|off" },
	{ "request-header", "X-A: 1", NULL },
	{ "request-header", "X-A: 1\n-Cookie\n+X-A: 2", NULL },
	{ "request-header", "X-A", "policy \"request-header\": \"X-A\": expected" },
	{ "request-header", "X-A: ", "expected" },
	{ "request-header", "X A: 1", "expected" },
	{ "request-header", "X-A: \x01", "expected" },
	{ "request-header", "-", "expected" },
	{ "request-header", "Host: a", "the front door writes it itself" },
	{ "request-header", "Connection: close", "the front door writes it itself" },
	{ "request-header", "-Transfer-Encoding", "the front door writes it itself" },
	{ "request-header", "content-length: 5", "the front door writes it itself" },
	{ "request-header", "X-Forwarded-For: 1.2.3.4", "the front door writes it itself" },
	{ "request-header", "true_client_ip: 1.2.3.4", "the front door writes it itself" },
	{ "request-header", "-X-Real-IP", "the front door writes it itself" },
	{ "response-header", "Strict-Transport-Security: max-age=31536000", NULL },
	{ "response-header", "Keep-Alive: 5", "the front door writes it itself" },
	{ "response-header", "Content-Encoding: gzip", "the front door writes it itself" },
	{ "redirect", "https://new.example.test{path}", NULL },
	{ "redirect", "301 https://{host}/x#y", NULL },
	{ "redirect", "/elsewhere", NULL },
	{ "redirect", "300 /x", "expected [STATUS ]LOCATION" },
	{ "redirect", "ftp://x", "expected [STATUS ]LOCATION" },
	{ "redirect", "https://x/{query}", "expected [STATUS ]LOCATION" },
	{ "redirect", "https://x/a b", "expected [STATUS ]LOCATION" },
	{ "redirect", "https://x/\r\nSet-Cookie: a=b", "expected [STATUS ]LOCATION" },
	{ "speed", "fast", "policy \"speed\": unknown; there are balance, sticky, " },
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct upstream_policy p, none = { 0 };
		struct err err = { 0 };
		char name[80];
		int rc = parse(&p, values[i].key, values[i].value, &err);

		snprintf(name, sizeof(name), "%s=%.40s", values[i].key, values[i].value);
		CHECK_INT(name, rc, values[i].says ? -EINVAL : 0);
		if (values[i].says && !strstr(err.text, values[i].says))
			fail_msg("%s: says \"%s\", not \"%s\"", name, err.text, values[i].says);
		if (rc)
			assert_memory_equal(&p, &none, sizeof(p));
		policy_fini(&p);
	}
}

static void test_passwords_are_not_said(void **state)
{
	struct upstream_policy p;
	struct err err;

	(void)state;
	CHECK_INT("no name", parse(&p, "basic-auth", "hunter2", &err), -EINVAL);
	assert_null(strstr(err.text, "hunter2"));
}

/* All at once: each lands where it belongs. */
static void test_fields(void **state)
{
	struct pair all[] = {
		{ "balance", "least-connections" },
		{ "sticky", "srv" },
		{ "max-in-flight", "7" },
		{ "queue", "8" },
		{ "queue-time", "9s" },
		{ "health-path", "/h" },
		{ "health-interval", "2s" },
		{ "health-rise", "3" },
		{ "health-fall", "4" },
		{ "head-timeout", "5s" },
		{ "protocol", "h2c" },
		{ "max-body", "1k" },
		{ "rate", "10" },
		{ "burst", "20" },
		{ "allow", "10.0.0.0/8 ::1" },
		{ "deny", "10.1.0.0/16" },
		{ "basic-auth", "a:h1\nb:h2" },
		{ "compress", "on" },
		{ "request-header", "-A\nB: 1" },
		{ "response-header", "+C:2" },
		{ "redirect", "302 /x" },
	};
	struct upstream_policy p;
	struct err err;
	size_t n = 0;

	(void)state;
	while (policy_key(n))
		n++;
	CHECK_INT("every key is here", n, sizeof(all) / sizeof(all[0]));
	CHECK_INT("rc", policy_parse(&p, &(struct pairs){ all, n }, &err), 0);
	CHECK_INT("balance", p.balance, BALANCE_LEAST_CONNECTIONS);
	CHECK_STR("sticky", p.sticky, "srv");
	CHECK_INT("max-in-flight", p.max_in_flight, 7);
	CHECK_INT("queue", p.queue, 8);
	CHECK_INT("queue-time", p.queue_ms, 9000);
	CHECK_STR("health-path", p.health_path, "/h");
	CHECK_INT("health-interval", p.health_interval_ms, 2000);
	CHECK_INT("health-rise", p.health_rise, 3);
	CHECK_INT("health-fall", p.health_fall, 4);
	CHECK_INT("head-timeout", p.head_ms, 5000);
	CHECK_INT("protocol", p.protocol, PROTOCOL_H2C);
	CHECK_INT("max-body", p.max_body_bytes, 1024);
	CHECK_INT("rate", p.rate, 10);
	CHECK_INT("burst", p.burst, 20);
	CHECK_INT("allow", p.allow.n, 2);
	CHECK_INT("deny", p.deny.n, 1);
	CHECK_STR("second user", p.users.items[1].key, "b");
	CHECK_STR("second hash", p.users.items[1].value, "h2");
	CHECK_INT("compress", p.compress, 1);
	CHECK_INT("remove", p.request_headers.items[0].edit, EDIT_REMOVE);
	CHECK_STR("set", p.request_headers.items[1].value, "1");
	CHECK_INT("add", p.response_headers.items[0].edit, EDIT_ADD);
	CHECK_INT("status", p.redirect.status, 302);
	CHECK_STR("location", p.redirect.to, "/x");
	assert_true(p.filters);
	policy_fini(&p);
	CHECK_INT("a choice is no filter", parse(&p, "balance", "round-robin", &err), 0);
	assert_false(p.filters);
	policy_fini(&p);
}

static void check_pairs(const char *name, const struct pairs *p, const char *want)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < p->n; i++)
		buf_printf(&b, "%s=%s;", p->items[i].key, p->items[i].value);
	CHECK_STR(name, b.data ? b.data : "", want);
	buf_fini(&b);
}

static void test_merge(void **state)
{
	struct pair base[] = { { "a", "1" }, { "b", "2" }, { "c", "3" } };
	struct pair changes[] = { { "d", "4" }, { "b", "" }, { "a", "5" }, { "e", "" } };
	struct pairs out;

	(void)state;
	policy_merge(&out, &(struct pairs){ base, 3 }, &(struct pairs){ changes, 4 });
	check_pairs("changed in place, taken away, added", &out, "a=5;c=3;d=4;");
	pairs_fini(&out);
}

static void test_listing(void **state)
{
	struct pair all[] = { { "rate", "5" }, { "basic-auth", "alice:$6$a\n bob:$6$b" } };
	struct json_out o;
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	policy_put(&(struct pairs){ all, 2 }, &o, "policy");
	json_obj_end(&o);
	CHECK_STR("no hash is shown", b.data,
		  "{\"policy\":{\"rate\":\"5\",\"basic-auth\":\"alice\\nbob\"}}");
	buf_fini(&b);
}

static void test_seal(void **state)
{
	struct pairs p = { 0 }, none = { 0 }, again = { 0 };
	char *first;

	(void)state;
	pairs_add(&p, SLICE("rate"), SLICE("5"));
	assert_true(basic_auth_is_sealed(&p));
	pairs_add(&p, SLICE("basic-auth"), SLICE("alice:hunter2\nbob:with:colon\n"));
	assert_false(basic_auth_is_sealed(&p));
	basic_auth_seal(&p, &none);
	assert_true(basic_auth_is_sealed(&p));
	assert_null(strstr(p.items[1].value, "hunter2"));
	assert_non_null(strstr(p.items[1].value, "alice:$y$"));
	assert_non_null(strstr(p.items[1].value, "\nbob:$y$"));
	first = strdup(p.items[1].value);
	basic_auth_seal(&p, &none);
	CHECK_STR("a hash stays", p.items[1].value, first);
	pairs_add(&again, SLICE("basic-auth"), SLICE("alice:hunter2\nbob:with:colon\n"));
	basic_auth_seal(&again, &p);
	CHECK_STR("the same password is no change", again.items[0].value, first);
	pairs_fini(&again);
	pairs_add(&again, SLICE("basic-auth"), SLICE("alice:hunter3\nbob:with:colon\n"));
	basic_auth_seal(&again, &p);
	assert_string_not_equal(again.items[0].value, first);
	CHECK_STR("the other's stays", strstr(again.items[0].value, "\nbob:"), strstr(first, "\nbob:"));
	pairs_fini(&again);
	free(first);
	pairs_fini(&p);
}

/* Each row has its paragraph, with the form of its values. */
static void test_manual(void **state)
{
	const char *srcdir = getenv("srcdir");
	char path[4096], line[128];
	struct buf page;
	FILE *f;
	int c;

	(void)state;
	snprintf(path, sizeof(path), "%s/man/temps-policy.7", srcdir ? srcdir : "../..");
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s: cannot be opened", path);
	buf_init(&page, 0);
	while ((c = getc(f)) != EOF) {
		char byte = (char)c;

		buf_append(&page, &byte, 1);
	}
	fclose(f);
	for (size_t i = 0; policy_key(i); i++) {
		snprintf(line, sizeof(line), ".It Cm %s Ns = Ns", policy_key(i)->name);
		if (!strstr(page.data, line))
			fail_msg("temps-policy(7) has no \"%s\"", line);
	}
	for (const char *p = page.data; (p = strstr(p, ".It Cm ")); p += 7) {
		size_t n = strcspn(p + 7, " "), i = 0;

		while (policy_key(i) && (strlen(policy_key(i)->name) != n ||
					 strncmp(policy_key(i)->name, p + 7, n) != 0))
			i++;
		if (!policy_key(i))
			fail_msg("temps-policy(7): \"%.*s\" is no policy", (int)n, p + 7);
	}
	buf_fini(&page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	cmocka_unit_test(test_passwords_are_not_said),
		cmocka_unit_test(test_fields),	cmocka_unit_test(test_merge),
		cmocka_unit_test(test_listing), cmocka_unit_test(test_seal),
		cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
