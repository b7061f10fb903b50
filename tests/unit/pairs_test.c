/* Lists of strings and of pairs: what is taken from JSON, and that copies are their own. */
#include "check.h"

#include <errno.h>

#include "base/pairs.h"

static const struct {
	const char *name, *text;
	int rc;
	const char *key, *value; /* of the last pair, or NULL */
	size_t n;
} objects[] = {
	{ "absent", "{}", 0, NULL, NULL, 0 },
	{ "null", "{\"m\":null}", 0, NULL, NULL, 0 },
	{ "empty", "{\"m\":{}}", 0, NULL, NULL, 0 },
	{ "in their order", "{\"m\":{\"b\":\"1\",\"a\":\"2\"}}", 0, "a", "2", 2 },
	{ "a number", "{\"m\":{\"a\":7}}", 0, "a", "7", 1 },
	{ "a boolean", "{\"m\":{\"a\":true}}", 0, "a", "true", 1 },
	{ "an empty value", "{\"m\":{\"a\":\"\"}}", 0, "a", "", 1 },
	{ "a list", "{\"m\":[]}", -EINVAL, NULL, NULL, 0 },
	{ "no value", "{\"m\":{\"a\":null}}", -EINVAL, NULL, NULL, 0 },
	{ "an object inside", "{\"m\":{\"a\":{}}}", -EINVAL, NULL, NULL, 0 },
	{ "no name", "{\"m\":{\"\":\"x\"}}", -EINVAL, NULL, NULL, 0 },
	{ "too many", "{\"m\":{\"a\":\"\",\"b\":\"\",\"c\":\"\"}}", -EINVAL, NULL, NULL, 0 },
};

static void test_pairs_from_json(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
		struct pairs p;
		struct json *j;
		struct err err;

		assert_int_equal(json_parse(&j, slice_str(objects[i].text), &err), 0);
		CHECK_INT(objects[i].name, pairs_load(&p, j, "m", 2, &err), objects[i].rc);
		json_free(j);
		if (!objects[i].rc)
			CHECK_INT(objects[i].name, p.n, objects[i].n);
		if (objects[i].key)
			CHECK_STR(objects[i].name, pairs_get(&p, objects[i].key), objects[i].value);
		pairs_fini(&p);
	}
}

static void test_value_limit(void **state)
{
	char *text = xcalloc(1, PAIRS_VALUE_MAX + 32);
	struct pairs p;
	struct json *j;
	struct err err;

	(void)state;
	for (unsigned over = 0; over < 2; over++) {
		int head = sprintf(text, "{\"m\":{\"a\":\"");

		memset(text + head, 'x', PAIRS_VALUE_MAX + over);
		strcpy(text + head + PAIRS_VALUE_MAX + over, "\"}}");
		assert_int_equal(json_parse(&j, slice_str(text), &err), 0);
		CHECK_INT("limit", pairs_load(&p, j, "m", 2, &err), over ? -EINVAL : 0);
		pairs_fini(&p);
		json_free(j);
	}
	free(text);
}

static void test_copies(void **state)
{
	struct pairs a = { 0 }, b;
	struct json_out o;
	struct buf out;

	(void)state;
	pairs_add(&a, SLICE("k"), SLICE("v"));
	pairs_add(&a, SLICE("l"), SLICE("w"));
	pairs_copy(&b, &a);
	assert_true(pairs_eq(&a, &b));
	pairs_add(&b, SLICE("m"), SLICE("x"));
	assert_false(pairs_eq(&a, &b));
	pairs_fini(&a);
	CHECK_STR("its own", pairs_get(&b, "l"), "w");
	assert_null(pairs_get(&b, "n"));
	buf_init(&out, 0);
	json_out_init(&o, &out);
	pairs_put(&b, &o, NULL);
	CHECK_STR("as JSON", out.data, "{\"k\":\"v\",\"l\":\"w\",\"m\":\"x\"}");
	buf_fini(&out);
	pairs_fini(&b);
}

static void test_strs(void **state)
{
	const char *words[] = { "a", "b" }, *others[] = { "a", "c" };
	struct strs a = { words, 2 }, b = { others, 2 }, copy, loaded;
	struct json *j;
	struct err err;

	(void)state;
	strs_copy(&copy, &a);
	assert_true(strs_eq(&a, &copy));
	assert_false(strs_eq(&a, &b));
	assert_true(strs_has(&copy, "b"));
	assert_false(strs_has(&copy, "c"));
	strs_fini(&copy);
	assert_int_equal(json_parse(&j, SLICE("{\"l\":[\"a\",\"b\"],\"n\":[1],\"s\":\"a\"}"), &err),
			 0);
	assert_int_equal(strs_load(&loaded, j, "l", 2, &err), 0);
	assert_true(strs_eq(&a, &loaded));
	strs_fini(&loaded);
	CHECK_INT("too many", strs_load(&loaded, j, "l", 1, &err), -EINVAL);
	strs_fini(&loaded);
	CHECK_INT("a number", strs_load(&loaded, j, "n", 2, &err), -EINVAL);
	strs_fini(&loaded);
	CHECK_INT("no list", strs_load(&loaded, j, "s", 2, &err), -EINVAL);
	strs_fini(&loaded);
	json_free(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs_from_json),
		cmocka_unit_test(test_value_limit),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_strs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
