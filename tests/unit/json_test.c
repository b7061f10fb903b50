/* JSON in and out. */
#include <errno.h>
#include <math.h>

#include "base/json.h"
#include "check.h"

static const struct {
	const char *text;
	int rc;
	const char *why;	/* part of the error's text */
} documents[] = {
	{ "{}", 0, NULL },
	{ " [1, 2.5, \"x\", true, null, {}] ", 0, NULL },
	{ "5", 0, NULL },
	{ "\"\\ud83d\\ude00\"", 0, NULL },
	{ "", -EINVAL, "line 1" },
	{ "{\"a\":1,\"a\":2}", -EINVAL, "duplicate" },
	{ "{\"a\":1,}", -EINVAL, "line 1 column 8" },
	{ "{\n\"a\": tru }", -EINVAL, "line 2" },
	{ "[1] x", -EINVAL, "line 1" },
	{ "[01]", -EINVAL, "line 1" },
	{ "[9223372036854775808]", -EINVAL, "line 1" },
	{ "[1e999]", -EINVAL, "line 1" },
	{ "[NaN]", -EINVAL, "line 1" },
	{ "\"\\u0000\"", -EINVAL, "line 1" },
	{ "\"\\ud800\"", -EINVAL, "line 1" },
	{ "\"\xff\"", -EINVAL, "line 1" },
	{ "'a'", -EINVAL, "line 1" },
	{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", 0, NULL },
	{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", -E2BIG, "32" },
	{ "\"[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[\"", 0, NULL },
};

static void test_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
		struct err err = { 0 };
		struct json *j = NULL;

		CHECK_INT(documents[i].text, json_parse(&j, slice_str(documents[i].text), &err),
			  documents[i].rc);
		CHECK_INT(documents[i].text, j != NULL, documents[i].rc == 0);
		if (documents[i].why && !strstr(err.text, documents[i].why))
			fail_msg("%s: \"%s\" lacks \"%s\"", documents[i].text, err.text, documents[i].why);
		json_free(j);
	}
}

static void test_refusals_quote_nothing(void **state)
{
	struct err err;
	struct json *j;

	(void)state;
	assert_int_equal(json_parse(&j, SLICE("{\"token\": \"s3cret\" \"s3cret\"}"), &err), -EINVAL);
	assert_null(strstr(err.text, "s3cret"));
	assert_int_equal(json_parse(&j, SLICE("{\"s3cret\":1,\"s3cret\":2}"), &err), -EINVAL);
	assert_null(strstr(err.text, "s3cret"));
	assert_int_equal(json_parse(&j, SLICE("{}\0"), &err), -EINVAL);
	assert_int_equal(json_parse(&j, slice_of(NULL, 0), NULL), -EINVAL);
	json_free(NULL);
}

static struct json *parsed(const char *text)
{
	struct json *j;
	struct err err;

	if (json_parse(&j, slice_str(text), &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return j;
}

static void test_lookup(void **state)
{
	struct json *j = parsed("{\"z\":1,\"s\":\"text\",\"r\":1.5,\"t\":true,\"n\":null,\"a\":[10,20]}");
	const struct json *value;
	struct slice name;
	void *it = NULL;
	char order[8] = "";

	(void)state;
	assert_int_equal(json_int(json_get(j, "z"), -1), 1);
	assert_int_equal(json_int(json_get(j, "s"), -1), -1);
	assert_int_equal(json_int(json_get(j, "r"), -1), -1);
	assert_true(json_num(json_get(j, "r"), 0) == 1.5);
	assert_true(json_num(json_get(j, "z"), 0) == 1.0);
	assert_true(json_bool(json_get(j, "t"), false));
	assert_true(json_bool(json_get(j, "n"), true));
	assert_string_equal(json_cstr(json_get(j, "s"), ""), "text");
	assert_null(json_cstr(json_get(j, "z"), NULL));
	CHECK_SLICE("default", json_str(json_get(j, "none"), "def"), "def");
	assert_int_equal(json_type(json_get(j, "n")), JSON_NULL);
	assert_int_equal(json_type(json_get(json_get(j, "none"), "deeper")), JSON_ABSENT);
	assert_int_equal(json_type(json_get(json_get(j, "a"), "x")), JSON_ABSENT);
	assert_int_equal(json_len(json_get(j, "a")), 2);
	assert_int_equal(json_len(j), 6);
	assert_int_equal(json_len(NULL), 0);
	assert_int_equal(json_int(json_at(json_get(j, "a"), 1), 0), 20);
	assert_int_equal(json_type(json_at(json_get(j, "a"), 2)), JSON_ABSENT);
	assert_int_equal(json_type(json_at(j, 0)), JSON_ABSENT);
	while (json_next(j, &it, &name, &value))
		strncat(order, name.p, 1);
	assert_string_equal(order, "zsrtna");
	it = NULL;
	assert_false(json_next(NULL, &it, &name, &value));
	json_free(j);
}

static void test_want(void **state)
{
	struct json *j = parsed("{\"port\":70000,\"name\":\"abc\",\"cpus\":2,\"on\":true,\"n\":null}");
	struct slice s = { 0 };
	struct err err = { 0 };
	int64_t i = 42;
	double r = 0;
	bool b = false;

	(void)state;
	assert_int_equal(json_want_int(j, "port", 1, 65535, &i, &err), -EINVAL);
	assert_string_equal(err.text, "member \"port\": expected an integer from 1 to 65535, got 70000");
	assert_int_equal(json_want_int(j, "name", 1, 65535, &i, &err), -EINVAL);
	assert_string_equal(err.text, "member \"name\": expected an integer from 1 to 65535, got a string");
	assert_int_equal(i, 42);
	assert_int_equal(json_want_int(j, "port", 1, 70000, &i, &err), 0);
	assert_int_equal(i, 70000);
	err.text[0] = '\0';
	assert_int_equal(json_want_int(j, "none", 1, 2, &i, &err), -ENOENT);
	assert_int_equal(json_want_int(j, "n", 1, 2, &i, &err), -ENOENT);
	assert_int_equal(json_want_int(NULL, "n", 1, 2, &i, &err), -ENOENT);
	assert_string_equal(err.text, "");
	assert_int_equal(json_want_str(j, "name", 3, &s, &err), 0);
	CHECK_SLICE("name", s, "abc");
	assert_int_equal(json_want_str(j, "name", 2, &s, &err), -EINVAL);
	assert_int_equal(json_want_str(j, "port", 2, &s, &err), -EINVAL);
	assert_int_equal(json_want_real(j, "cpus", 0, 64, &r, &err), 0);
	assert_true(r == 2);
	assert_int_equal(json_want_real(j, "cpus", 3, 64, &r, &err), -EINVAL);
	assert_int_equal(json_want_real(j, "on", 3, 64, &r, &err), -EINVAL);
	assert_int_equal(json_want_bool(j, "on", &b, &err), 0);
	assert_true(b);
	assert_int_equal(json_want_bool(j, "cpus", &b, &err), -EINVAL);
	json_free(j);
}

static void test_emit(void **state)
{
	static const char want[] =
		"{\"s\":\"a\\\"b\\\\c\\n\\u0001\",\"utf8\":\"\xc3\xa4\xf0\x9f\x98\x80\",\"none\":null,"
		"\"list\":[1,-9223372036854775808,[],{},0.1,1e+300,null,true],"
		"\"copy\":{\"z\":1,\"a\":[false]},\"at\":\"2026-03-04T12:00:00Z\",\"never\":null}";
	struct json *copy = parsed("{ \"z\" : 1, \"a\" : [ false ] }");
	struct json *back;
	struct json_out o;
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_str(&o, "s", "a\"b\\c\n\x01");
	json_put_str(&o, "utf8", "\xc3\xa4\xf0\x9f\x98\x80");
	json_put_str(&o, "none", NULL);
	json_arr(&o, "list");
	json_put_int(&o, NULL, 1);
	json_put_int(&o, NULL, INT64_MIN);
	json_arr(&o, NULL);
	json_arr_end(&o);
	json_obj(&o, NULL);
	json_obj_end(&o);
	json_put_real(&o, NULL, 0.1);
	json_put_real(&o, NULL, 1e300);
	json_put_real(&o, NULL, NAN);
	json_put_bool(&o, NULL, true);
	json_arr_end(&o);
	json_put_json(&o, "copy", copy);
	json_put_time(&o, "at", 1772625600999);
	json_put_time(&o, "never", 0);
	json_obj_end(&o);
	CHECK_SLICE("document", buf_slice(&b), want);
	back = parsed(b.data);
	buf_clear(&b);
	assert_int_equal(json_dump(json_get(back, "copy"), true, &b), 0);
	CHECK_SLICE("sorted", buf_slice(&b), "{\"a\":[false],\"z\":1}");
	buf_clear(&b);
	assert_int_equal(json_dump(NULL, true, &b), 0);
	CHECK_SLICE("absent", buf_slice(&b), "null");
	json_free(back);
	json_free(copy);
	buf_fini(&b);
}

#define BAD "\xef\xbf\xbd"

static const struct {
	const char *name;
	struct slice in;
	const char *want;
} strings[] = {
	{ "NUL", { "a\0b", 3 }, "\"a" BAD "b\"" },
	{ "lone continuation", { "\x80", 1 }, "\"" BAD "\"" },
	{ "overlong", { "\xc0\xaf", 2 }, "\"" BAD BAD "\"" },
	{ "overlong of three", { "\xe0\x80\xaf", 3 }, "\"" BAD BAD BAD "\"" },
	{ "surrogate", { "\xed\xa0\x80", 3 }, "\"" BAD BAD BAD "\"" },
	{ "beyond U+10FFFF", { "\xf4\x90\x80\x80", 4 }, "\"" BAD BAD BAD BAD "\"" },
	{ "cut short", { "x\xe2\x82", 3 }, "\"x" BAD BAD "\"" },
	{ "then plain", { "\xffok", 3 }, "\"" BAD "ok\"" },
	{ "the last code point", { "\xf4\x8f\xbf\xbf", 4 }, "\"\xf4\x8f\xbf\xbf\"" },
	{ "DEL and slash", { "\x7f/", 2 }, "\"\x7f/\"" },
	{ "empty", { NULL, 0 }, "\"\"" },
};

static void test_emitted_strings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
		struct json_out o;
		struct buf b;

		buf_init(&b, 0);
		json_out_init(&o, &b);
		json_put_slice(&o, NULL, strings[i].in);
		CHECK_SLICE(strings[i].name, buf_slice(&b), strings[i].want);
		json_free(parsed(b.data));
		buf_fini(&b);
	}
}

static void test_full_buffer_shows(void **state)
{
	struct json *j = parsed("[\"0123456789\"]");
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	assert_int_equal(json_dump(j, false, &b), -EMSGSIZE);
	assert_true(b.full);
	buf_fini(&b);
	json_free(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents), cmocka_unit_test(test_refusals_quote_nothing),
		cmocka_unit_test(test_lookup),	  cmocka_unit_test(test_want),
		cmocka_unit_test(test_emit),	  cmocka_unit_test(test_emitted_strings),
		cmocka_unit_test(test_full_buffer_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
