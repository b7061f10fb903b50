/* App files: what becomes of good ones, and where each mistake is. */
#include "check.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/app_file.h"

static const char *env(const char *name)
{
	return strcmp(name, "TAG") == 0 ? "1.4" : strcmp(name, "EVIL") == 0 ? "x\n    port: 1 # \"'" : NULL;
}

/* An app's keys, each in a line of its own from line 3 on, and what the API gets behind "replace". */
static const struct {
	const char *name, *keys, *body;
} good[] = {
	{ "an image alone", "    image: shop:1\n", "\"image\":\"shop:1\"" },
	{ "what looks like a number", "    image: 7\n    env: {A: 010, B: yes, C: 1.0, D: \"\"}\n",
	  "\"image\":\"7\",\"env\":{\"A\":\"010\",\"B\":\"yes\",\"C\":\"1.0\",\"D\":\"\"}" },
	{ "numbers", "    image: a\n    replicas: 3\n    port: 0\n    cpus: 0.25\n    gpus: 1\n",
	  "\"image\":\"a\",\"replicas\":3,\"port\":0,\"cpus\":0.25,\"gpus\":1" },
	{ "sizes and times",
	  "    image: a\n    memory_bytes: 512m\n    disk_bytes: 1000\n    health_timeout_s: 2m\n    stop_grace_s: 5\n",
	  "\"image\":\"a\",\"memory_bytes\":536870912,\"disk_bytes\":1000,\"health_timeout_s\":120,\"stop_grace_s\":5" },
	{ "one text for a list", "    image: a\n    domains: a.test\n    nodes: [n, m]\n",
	  "\"image\":\"a\",\"domains\":[\"a.test\"],\"nodes\":[\"n\",\"m\"]" },
	{ "how it is rolled out",
	  "    image: a\n    stop_first: true\n    volumes: {data: /var/lib/x}\n    pre_deploy: [migrate, --all]\n    max_surge: 2\n",
	  "\"image\":\"a\",\"stop_first\":true,\"volumes\":{\"data\":\"/var/lib/x\"},"
	  "\"pre_deploy\":[\"migrate\",\"--all\"],\"max_surge\":2" },
	{ "labels", "    image: a\n    labels: {region: [eu, us], disk: ssd}\n    target_tags: [gpu]\n",
	  "\"image\":\"a\",\"labels\":{\"region\":[\"eu\",\"us\"],\"disk\":[\"ssd\"]},\"target_tags\":[\"gpu\"]" },
	{ "policies", "    image: a\n    policy:\n      rate: 100\n      deny:\n        - 10.0.0.0/8\n        - 192.0.2.1\n",
	  "\"image\":\"a\",\"policy\":{\"rate\":[\"100\"],\"deny\":[\"10.0.0.0/8\",\"192.0.2.1\"]}" },
	{ "a variable", "    image: shop:${TAG}\n", "\"image\":\"shop:1.4\"" },
	{ "in quotes", "    image: \"shop:${TAG}\"\n", "\"image\":\"shop:1.4\"" },
	{ "in single quotes it is none", "    image: 'shop:${TAG}'\n", "\"image\":\"shop:${TAG}\"" },
	{ "dollars", "    image: a$b$$c$${TAG}\n", "\"image\":\"a$b$c${TAG}\"" },
	{ "a variable is a text, never YAML", "    image: a\n    env:\n      A: ${EVIL}\n",
	  "\"image\":\"a\",\"env\":{\"A\":\"x\\n    port: 1 # \\\"'\"}" },
	{ "secrets", "    image: a\n    secrets:\n      A: ${TAG}\n      B:\n      C: ~\n",
	  "\"image\":\"a\",\"secrets\":{\"A\":\"1.4\",\"B\":{\"keep\":true},\"C\":{\"keep\":true}}" },
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char *text = xasprintf("apps:\n  shop:\n%s", good[i].keys);
		char *want = xasprintf("{\"replace\":true,%s}", good[i].body);
		struct app_file *f = NULL;
		struct buf errors;

		buf_init(&errors, 0);
		if (app_file_parse(&f, "f", slice_str(text), env, &errors))
			fail_msg("%s: %s", good[i].name, errors.data);
		CHECK_INT(good[i].name, f->n, 1);
		CHECK_STR(good[i].name, f->apps[0].name, "shop");
		CHECK_STR(good[i].name, f->apps[0].body, want);
		app_file_free(f);
		buf_fini(&errors);
		free(text);
		free(want);
	}
}

static const struct {
	const char *text, *errors;
} bad[] = {
	{ "", "f:1:1: expected \"apps:\" and the apps by name below it\n" },
	{ "- a\n", "f:1:1: expected \"apps:\" and the apps by name below it\n" },
	{ "{}\n", "f:1:1: \"apps\" is missing\n" },
	{ "apps:\n", "f:1:6: apps: expected a map of apps by name\n" },
	{ "apps: {}\n", "f:1:7: apps: expected a map of apps by name\n" },
	{ "shop:\n  image: a\n", "f:1:1: unknown key \"shop\"; \"apps\" is the only one here, the apps by name are below it\n" },
	{ "apps: {a: {image: b}}\nversion: 3\n", "f:2:1: unknown key \"version\"; \"apps\" is the only one here\n" },
	{ "apps:\n  Shop: {image: a}\n",
	  "f:2:3: app \"Shop\": a name is 1 to 50 lower-case letters, digits and \"-\", beginning with a letter or digit\n" },
	{ "apps:\n  a: b\n", "f:2:6: app \"a\": expected a map with at least \"image\"\n" },
	{ "apps:\n  a:\n    port: 1\n", "f:2:3: app \"a\": \"image\" is missing\n" },
	/* keys */
	{ "apps:\n  a:\n    imag: b\n    image: b\n", "f:3:5: unknown key \"imag\"; did you mean \"image\"?\n" },
	{ "apps:\n  a:\n    image: b\n    replica: 2\n", "f:4:5: unknown key \"replica\"; did you mean \"replicas\"?\n" },
	{ "apps:\n  a:\n    image: b\n    memory: 2g\n", "f:4:5: unknown key \"memory\"; did you mean \"memory_bytes\"?\n" },
	{ "apps:\n  a:\n    image: b\n    healthpath: /\n", "f:4:5: unknown key \"healthpath\"; did you mean \"health_path\"?\n" },
	{ "apps:\n  a:\n    image: b\n    colour: red\n", "f:4:5: unknown key \"colour\"\n" },
	{ "apps:\n  a:\n    image: b\n    replace: false\n", "f:4:5: unknown key \"replace\"\n" },
	{ "apps:\n  a:\n    image: b\n    image: c\n", "f:4:5: \"image\" is there twice: also in line 3\n" },
	{ "apps:\n  a: {image: b}\n  a: {image: c}\n", "f:3:3: \"a\" is there twice: also in line 2\n" },
	{ "apps:\n  ? [a]\n  : b\n", "f:2:5: a key is expected to be a text\n" },
	/* types */
	{ "apps: {a: {image: [b]}}\n", "f:1:19: image: expected a text, not a list\n" },
	{ "apps: {a: {image: {b: c}}}\n", "f:1:19: image: expected a text, not a map\n" },
	{ "apps: {a: {image: }}\n", "f:1:19: image: expected a text, not nothing; \"\" is the empty one\n" },
	{ "apps: {a: {image: b, env: [c]}}\n", "f:1:27: env: expected a map of names and values, not a list\n" },
	{ "apps: {a: {image: b, env: {C: }}}\n", "f:1:31: C: expected a text, not nothing; \"\" is the empty one\n" },
	{ "apps: {a: {image: b, env: {C: {D: e}}}}\n", "f:1:31: C: expected a text, not a map\n" },
	{ "apps: {a: {image: b, domains: [{c: d}]}}\n", "f:1:32: domains: expected a text, not a map\n" },
	{ "apps: {a: {image: b, labels: eu}}\n", "f:1:30: labels: expected a map of names and values, not a text\n" },
	/* values */
	{ "apps:\n  a:\n    image: b\n    replicas: 0\n",
	  "f:4:15: replicas: expected a whole number from 1 to 1000, not \"0\"\n" },
	{ "apps:\n  a:\n    image: b\n    replicas: two\n",
	  "f:4:15: replicas: expected a whole number from 1 to 1000, not \"two\"\n" },
	{ "apps:\n  a:\n    image: b\n    port: -1\n", "f:4:11: port: expected a whole number from 0 to 65535, not \"-1\"\n" },
	{ "apps:\n  a:\n    image: b\n    cpus: .nan\n", "f:4:11: cpus: expected a number from 0 to 4096, not \".nan\"\n" },
	{ "apps:\n  a:\n    image: b\n    cpus: nan\n", "f:4:11: cpus: expected a number from 0 to 4096, not \"nan\"\n" },
	{ "apps:\n  a:\n    image: b\n    memory_bytes: 1 GB\n",
	  "f:4:19: memory_bytes: expected bytes, such as 512m or 2g, not \"1 GB\"\n" },
	{ "apps:\n  a:\n    image: b\n    stop_first: yes\n", "f:4:17: stop_first: expected true or false, not \"yes\"\n" },
	{ "apps:\n  a:\n    image: b\n    health_timeout_s: 2h\n",
	  "f:4:23: health_timeout_s: expected a time such as 30s or 5m, at most 3600 s, not \"2h\"\n" },
	/* among apps */
	{ "apps:\n  a: {image: b, domains: [x.test]}\n  c: {image: d, domains: x.test/}\n",
	  "f:3:26: domain x.test/ belongs to app a already, line 2\n" },
	{ "apps:\n  a:\n    image: b\n    env: {K: v}\n    secrets: {K: w}\n",
	  "f:5:15: \"K\" is in env, too: it can be one of them\n" },
	/* variables */
	{ "apps: {a: {image: \"b:${NONE}\"}}\n", "f:1:19: NONE is not set in the environment\n" },
	{ "apps: {a: {image: \"b:${TAG\"}}\n",
	  "f:1:19: expected ${NAME}; $$ stands for one $, and single quotes leave all as it is\n" },
	{ "apps: {a: {image: \"b:${TAG:-1}\"}}\n",
	  "f:1:19: expected ${NAME}; $$ stands for one $, and single quotes leave all as it is\n" },
	/* YAML */
	{ "apps:\n  a:\n  \timage: b\n", "f:3:3: found character that cannot start any token\n" },
	{ "apps:\n  a: {image: b\n  c: d\n", "f:3:4: did not find expected ',' or '}'\n" },
	{ "apps: &x\n  a: *x\n", "f:1:7: anchors and tags are not used here\n" },
	{ "apps:\n  a: *x\n", "f:2:6: aliases are not used here\n" },
	{ "apps:\n  a: !!str b\n", "f:2:6: tags are not used here\n" },
	{ "apps: {a: {image: b}}\n---\nc\n", "f:2:1: a second document: one is expected\n" },
	{ "apps: [[[[[[[[[[\n", "f:1:15: nested too deeply\n" },
	{ "apps: {a: {image: \"b\\0c\"}}\n", "f:1:19: a text cannot have a NUL\n" },
	/* several at once */
	{ "apps:\n  a:\n    imgae: b\n    image: c\n    port: x\n  d:\n    ports: 1\n",
	  "f:3:5: unknown key \"imgae\"; did you mean \"image\"?\n"
	  "f:5:11: port: expected a whole number from 0 to 65535, not \"x\"\n"
	  "f:7:5: unknown key \"ports\"; did you mean \"port\"?\n"
	  "f:6:3: app \"d\": \"image\" is missing\n" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct app_file *f = NULL;
		struct buf errors;

		buf_init(&errors, 0);
		CHECK_INT(bad[i].text, app_file_parse(&f, "f", slice_str(bad[i].text), env, &errors), -EINVAL);
		CHECK_STR(bad[i].text, errors.data, bad[i].errors);
		assert_null(f);
		buf_fini(&errors);
	}
}

static void test_no_end_of_errors(void **state)
{
	struct app_file *f = NULL;
	struct buf text, errors;

	(void)state;
	buf_init(&text, 0);
	buf_init(&errors, 0);
	buf_append_str(&text, "apps:\n");
	for (unsigned i = 0; i < 30; i++)
		buf_printf(&text, "  a%u: {image: b, port: x}\n", i);
	CHECK_INT("rc", app_file_parse(&f, "f", buf_slice(&text), env, &errors), -EINVAL);
	if (!strstr(errors.data, "\nand 10 more\n"))
		fail_msg("%s", errors.data);
	buf_fini(&text);
	buf_fini(&errors);
}

/* What the API said, at the member that it speaks of. */
static const struct {
	unsigned status;
	const char *said, *want;
} answers[] = {
	{ 400, "Validation Error: member \"port\": expected", "f:4:5: app a: Validation Error: member \"port\": expected\n" },
	{ 400, "Validation Error: health path: must begin", "f:5:5: app a: Validation Error: health path: must begin\n" },
	{ 409, "Domain Taken: domain x.test belongs to app b", "f:6:5: app a: Domain Taken: domain x.test belongs to app b\n" },
	{ 422, "No Node Fits: worker-1: no such label", "f:7:5: app a: No Node Fits: worker-1: no such label\n" },
	{ 409, "App Locked: app a is locked", "f:2:3: app a: App Locked: app a is locked\n" },
	{ 507, "Too Many Apps: there are 10", "f:2:3: app a: Too Many Apps: there are 10\n" },
};

static void test_answers(void **state)
{
	static const char text[] = "apps:\n  a:\n    image: b\n    port: 1\n    health_path: x\n    domains: x.test\n    labels: {c: d}\n";
	struct app_file *f = NULL;
	struct buf said;

	(void)state;
	buf_init(&said, 0);
	assert_int_equal(app_file_parse(&f, "f", slice_str(text), env, &said), 0);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		buf_clear(&said);
		app_file_say(f, &f->apps[0], answers[i].status, answers[i].said, &said);
		CHECK_STR(answers[i].said, said.data, answers[i].want);
	}
	app_file_free(f);
	buf_fini(&said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_no_end_of_errors),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
