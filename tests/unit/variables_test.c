/* Environments name by name, secrets sealed and opened, and what a plan shows of them. */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/control.h"
#include "control/spec_diff.h"
#include "control/variables.h"

static struct json *parse(const char *text)
{
	struct json *j;

	assert_int_equal(json_parse(&j, slice_str(text), NULL), 0);
	return j;
}

static struct pairs load(const char *object)
{
	char *text = xasprintf("{\"p\":%s}", object);
	struct json *j = parse(text);
	struct pairs p;

	assert_int_equal(pairs_load(&p, j, "p", 100, NULL), 0);
	json_free(j);
	free(text);
	return p;
}

/* "A=1 B=2" */
static const char *text_of(const struct pairs *p)
{
	static char text[512];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < p->n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s=%s", i ? " " : "", p->items[i].key,
				      p->items[i].value);
	return text;
}

static const struct {
	const char *base, *body, *want; /* want: the variables, or "!" and a part of the error */
} envs[] = {
	{ "{}", "{\"env\":{\"B\":\"2\",\"A\":\"1\"}}", "A=1 B=2" },
	{ "{\"A\":\"1\"}", "{\"env\":{\"B\":\"2\"}}", "A=1 B=2" },
	{ "{\"A\":\"1\",\"B\":\"2\"}", "{\"env\":{\"A\":null}}", "B=2" },
	{ "{\"A\":\"1\"}", "{\"env\":{\"A\":\"\"}}", "A=" },
	{ "{\"A\":\"1\"}", "{\"env\":{\"A\":7,\"B\":true}}", "A=7 B=true" },
	{ "{\"A\":\"1\"}", "{\"env\":{\"NONE\":null}}", "A=1" },
	{ "{\"B\":\"2\",\"A\":\"1\"}", "{\"env\":{\"A\":\"1\"}}", "B=2 A=1" }, /* nothing changed: nor does the order */
	{ "{}", "{\"env\":[]}", "!member \"env\": expected an object" },
	{ "{}", "{\"env\":{\"A\":[]}}", "!member \"env\": A: expected a text" },
	{ "{}", "{\"env\":{\"A\":{\"keep\":true}}}", "!member \"env\": A: expected a text" },
};

static void test_env(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(envs); i++) {
		struct pairs base = load(envs[i].base), out;
		struct json *body = parse(envs[i].body);
		struct err err;

		if (variables_env(&out, &base, body, &err) == 0)
			CHECK_STR(envs[i].body, text_of(&out), envs[i].want);
		else if (envs[i].want[0] != '!' || !strstr(err.text, envs[i].want + 1))
			fail_msg("%s: %s", envs[i].body, err.text);
		pairs_fini(&out);
		pairs_fini(&base);
		json_free(body);
	}
}

/* Each body on top of what the one before left. */
static const struct {
	const char *body;
	bool alone;
	const char *want;
} secrets[] = {
	{ "{\"secrets\":{\"A\":\"one\",\"B\":\"two\"}}", false, "A=one B=two" },
	{ "{\"secrets\":{\"A\":\"other\"}}", false, "A=other B=two" },
	{ "{\"secrets\":{\"A\":{\"keep\":true}}}", false, "A=other B=two" },
	{ "{\"secrets\":{\"C\":{\"keep\":true}}}", false, "!C has no value yet" },
	{ "{\"secrets\":{\"C\":{\"keep\":false}}}", false, "!C: expected a text" },
	{ "{\"secrets\":{\"C\":7}}", false, "!C: expected a text" },
	{ "{\"secrets\":{\"B\":null}}", false, "A=other" },
	{ "{\"secrets\":{\"C\":\"\"}}", false, "A=other C=" },
	{ "{\"secrets\":{\"A\":{\"keep\":true},\"D\":\"four\"}}", true, "A=other D=four" },
	{ "{\"secrets\":{}}", true, "" },
};

static void test_secrets(void **state)
{
	struct control c = { .seal_key = { 1, 2, 3 } };
	struct pairs now = { 0 }, next, plain;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		struct json *body = parse(secrets[i].body);

		if (variables_secrets(&c, &next, &now, body, secrets[i].alone, &err)) {
			if (secrets[i].want[0] != '!' || !strstr(err.text, secrets[i].want + 1))
				fail_msg("%s: %s", secrets[i].body, err.text);
			pairs_fini(&next);
		} else {
			pairs_fini(&now);
			now = next;
			plain = (struct pairs){ 0 };
			assert_int_equal(variables_open(&c, &now, &plain, &err), 0);
			CHECK_STR(secrets[i].body, text_of(&plain), secrets[i].want);
			variables_wipe(&plain);
		}
		json_free(body);
	}
	pairs_fini(&now);
}

/* The same value is not sealed anew: the same deploy once more changes nothing. */
static void test_the_same_stays_sealed(void **state)
{
	struct control c = { .seal_key = { 1 } };
	struct json *body = parse("{\"secrets\":{\"A\":\"one\"}}");
	struct pairs none = { 0 }, first, second, plain = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(variables_secrets(&c, &first, &none, body, false, &err), 0);
	assert_int_equal(variables_secrets(&c, &second, &first, body, false, &err), 0);
	assert_true(pairs_eq(&first, &second));
	assert_null(strstr(first.items[0].value, "one"));
	c.seal_key[0] = 2;
	assert_int_equal(variables_open(&c, &first, &plain, &err), -EKEYREJECTED);
	CHECK_STR("another key", err.text, "secret A cannot be opened: was secret.key replaced? Deploy the app with it again");
	pairs_fini(&first);
	pairs_fini(&second);
	json_free(body);
}

static void test_diff(void **state)
{
	struct pair env[] = { { "A", "1" }, { "B", "2" } }, sealed[] = { { "S", "x" }, { "T", "y" } },
		    others[] = { { "B", "3" }, { "C", "4" } }, resealed[] = { { "S", "z" } };
	const char *domains[] = { "a.test", "b.test" };
	struct app_spec from = { .image = "a:1", .replicas = 2, .port = 80, .env = { env, 2 }, .secrets = { sealed, 2 },
				 .domains = { domains, 1 }, .cpu_millis = 500 };
	struct app_spec to = { .image = "a:2", .replicas = 2, .port = 80, .env = { others, 2 }, .secrets = { resealed, 1 },
			       .domains = { domains, 2 }, .health_limit_ms = 60000 };
	struct json_out o;
	struct buf text;

	(void)state;
	buf_init(&text, 0);
	json_out_init(&o, &text);
	json_obj(&o, NULL);
	assert_int_equal(spec_diff_put(&from, &to, &o), 9);
	json_obj_end(&o);
	CHECK_STR("changes", text.data,
		  "{\"changes\":["
		  "{\"member\":\"image\",\"change\":\"changed\",\"from\":\"a:1\",\"to\":\"a:2\"},"
		  "{\"member\":\"domains\",\"change\":\"changed\",\"from\":\"a.test\",\"to\":\"a.test, b.test\"},"
		  "{\"member\":\"env.B\",\"change\":\"changed\",\"from\":null,\"to\":\"3\"},"
		  "{\"member\":\"env.C\",\"change\":\"added\",\"from\":null,\"to\":\"4\"},"
		  "{\"member\":\"secrets.S\",\"change\":\"changed\",\"from\":null,\"to\":null},"
		  "{\"member\":\"health_timeout_s\",\"change\":\"added\",\"from\":null,\"to\":\"60\"},"
		  "{\"member\":\"env.A\",\"change\":\"removed\",\"from\":null,\"to\":null},"
		  "{\"member\":\"secrets.T\",\"change\":\"removed\",\"from\":null,\"to\":null},"
		  "{\"member\":\"cpus\",\"change\":\"removed\",\"from\":\"0.5\",\"to\":null}]}");
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_the_same_stays_sealed),
		cmocka_unit_test(test_diff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
