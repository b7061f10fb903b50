/* The configuration form. */
#include <errno.h>

#include "base/buf.h"
#include "base/config.h"
#include "check.h"

/* Collects "key=value;" and knows two keys more: "unknown" is not one, "bad" has no good value. */
static int on_pair(void *arg, struct slice key, struct slice value, struct err *err)
{
	if (slice_eq(key, SLICE("unknown")))
		return -ENOENT;
	if (slice_eq(key, SLICE("bad")))
		return err_say(err, -ERANGE, "bad: \"%.*s\" is no port", SLICE_ARG(value));
	if (slice_eq(key, SLICE("silent")))
		return -EINVAL;
	buf_printf(arg, "%.*s=%.*s;", SLICE_ARG(key), SLICE_ARG(value));
	return 0;
}

static const struct {
	const char *text, *pairs, *error;	/* error NULL: accepted */
} cases[] = {
	{ "", "", NULL },
	{ "a = 1\nb=2", "a=1;b=2;", NULL },
	{ "a = 1\r\n\r\n  # comment\n\tb\t=\t2\t# two\n", "a=1;b=2;", NULL },
	{ "address = 1.2.3.4:80\naddress = [::1]:80\n", "address=1.2.3.4:80;address=[::1]:80;", NULL },
	{ "url = http://x/#top\n", "url=http://x/#top;", NULL },
	{ "a = b = c\n", "a=b = c;", NULL },
	{ "empty =\n", "empty=;", NULL },
	{ "#a = 1\n", "", NULL },
	{ "a = 1\nnonsense\nb = 2", "a=1;", "t.conf:2: expected key = value" },
	{ " = 1", "", "t.conf:1: no key before '='" },
	{ "\n\nunknown = 1", "", "t.conf:3: unknown key \"unknown\"" },
	{ "bad = x", "", "t.conf:1: bad: \"x\" is no port" },
	{ "silent = x", "", "t.conf:1: bad value for \"silent\"" },
	{ "a = \x1b[0m", "", "t.conf:1: a control character" },
	{ "a = 1\rb = 2", "", "t.conf:1: a control character" },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = { 0 };
		struct buf pairs;
		int rc;

		buf_init(&pairs, 0);
		rc = config_parse("t.conf", slice_str(cases[i].text), on_pair, &pairs, &err);
		CHECK_INT(cases[i].text, rc, cases[i].error ? -EINVAL : 0);
		CHECK_SLICE(cases[i].text, buf_slice(&pairs), cases[i].pairs);
		CHECK_STR(cases[i].text, err.text, cases[i].error ? cases[i].error : "");
		buf_fini(&pairs);
	}
}

static void test_nobody_reads_the_error(void **state)
{
	(void)state;
	assert_int_equal(config_parse("t.conf", SLICE("x"), on_pair, NULL, NULL), -EINVAL);
	assert_int_equal(config_parse("t.conf", SLICE("a\0=1"), on_pair, NULL, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_nobody_reads_the_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
