/* The agent API's bodies. */
#include <errno.h>

#include "agent/wire.h"
#include "check.h"

#define MINIMAL "\"image_name\":\"i\",\"container_name\":\"c\""

static const struct {
	const char *name, *text;
	const char *error;	/* NULL: accepted */
} deploys[] = {
	{ "the least", "{" MINIMAL "}", NULL },
	{ "unknown members", "{" MINIMAL ",\"later\":{\"x\":[]}}", NULL },
	{ "nulls", "{" MINIMAL ",\"network_name\":null,\"resource_limits\":null,\"log_config\":null,\"command\":null,\"spec_hash\":null}", NULL },
	{ "limits", "{" MINIMAL ",\"resource_limits\":{\"cpu_limit\":null,\"memory_limit_mb\":64}}", NULL },
	{ "whole cores", "{" MINIMAL ",\"resource_limits\":{\"cpu_limit\":2}}", NULL },
	{ "host port 0", "{" MINIMAL ",\"port_mappings\":[{\"host_port\":0,\"container_port\":80,\"protocol\":\"Tcp\"}]}", NULL },
	{ "no object", "[]", "expected an object" },
	{ "no image", "{\"container_name\":\"c\"}", "\"image_name\" is missing" },
	{ "no name", "{\"image_name\":\"i\"}", "\"container_name\" is missing" },
	{ "a path as name", "{\"image_name\":\"i\",\"container_name\":\"../x\"}", "\"container_name\"" },
	{ "image is a number", "{\"image_name\":1,\"container_name\":\"c\"}", "\"image_name\"" },
	{ "environment is a list", "{" MINIMAL ",\"environment_vars\":[]}", "\"environment_vars\"" },
	{ "a number becomes its text", "{" MINIMAL ",\"environment_vars\":{\"A\":1}}", NULL },
	{ "name with =", "{" MINIMAL ",\"environment_vars\":{\"A=\":\"x\"}}", "a name with '='" },
	{ "empty name", "{" MINIMAL ",\"secrets\":{\"\":\"x\"}}", "\"secrets\"" },
	{ "label is null", "{" MINIMAL ",\"labels\":{\"a\":null}}", "\"labels\"" },
	{ "port 0 inside", "{" MINIMAL ",\"port_mappings\":[{\"container_port\":0}]}", "\"container_port\"" },
	{ "port 65536", "{" MINIMAL ",\"port_mappings\":[{\"container_port\":1,\"host_port\":65536}]}", "\"host_port\"" },
	{ "port without port", "{" MINIMAL ",\"port_mappings\":[{}]}", "\"container_port\" is missing" },
	{ "protocol", "{" MINIMAL ",\"port_mappings\":[{\"container_port\":1,\"protocol\":\"tcp\"}]}", "expected \"Tcp\" or \"Udp\"" },
	{ "host address is a name", "{" MINIMAL ",\"port_mappings\":[{\"container_port\":1,\"host_ip\":\"localhost\"}]}", "not an address" },
	{ "mount type", "{" MINIMAL ",\"mounts\":[{\"type\":\"tmpfs\",\"source\":\"a\",\"target\":\"/a\"}]}", "\"volume\" or \"bind\"" },
	{ "mount target", "{" MINIMAL ",\"mounts\":[{\"type\":\"bind\",\"source\":\"/a\",\"target\":\"a\"}]}", "absolute" },
	{ "command", "{" MINIMAL ",\"command\":\"ls\"}", "\"command\"" },
	{ "command of numbers", "{" MINIMAL ",\"command\":[1]}", "array of strings" },
	{ "restart policy", "{" MINIMAL ",\"restart_policy\":\"always\"}", "\"restart_policy\"" },
	{ "negative memory", "{" MINIMAL ",\"resource_limits\":{\"memory_limit_mb\":-1}}", "\"memory_limit_mb\"" },
	{ "network is a path", "{" MINIMAL ",\"network_name\":\"a/b\"}", "\"network_name\"" },
};

static void test_deploy_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(deploys); i++) {
		struct err err = { 0 };
		struct wire_deploy d;
		struct json *j;
		int rc;

		if (json_parse(&j, slice_str(deploys[i].text), &err))
			fail_msg("%s: %s", deploys[i].name, err.text);
		rc = wire_deploy_parse(&d, j, &err);
		if (!deploys[i].error && rc)
			fail_msg("%s: %s", deploys[i].name, err.text);
		if (deploys[i].error && (rc != -EINVAL || !strstr(err.text, deploys[i].error)))
			fail_msg("%s: %d \"%s\"", deploys[i].name, rc, err.text);
		if (!rc)
			wire_deploy_fini(&d);
		json_free(j);
	}
}

static void test_deploy_round_trip(void **state)
{
	static const char text[] =
		"{\"image_name\":\"hello:1\",\"container_name\":\"x-hello-1\",\"environment_vars\":{\"A\":\"b\"},\"secrets\":{\"S\":\"t\"},"
		"\"labels\":{\"sh.temps.app\":\"hello\"},\"port_mappings\":[{\"host_ip\":\"10.0.0.5\",\"host_port\":20001,\"container_port\":8080,"
		"\"protocol\":\"Tcp\"},{\"host_port\":0,\"container_port\":53,\"protocol\":\"Udp\"}],\"mounts\":[{\"type\":\"volume\",\"source\":\"v\","
		"\"target\":\"/v\",\"read_only\":true}],\"command\":[\"a\",\"b c\"],\"network_name\":\"temps\",\"resource_limits\":{\"cpu_limit\":0.5,"
		"\"memory_limit_mb\":64,\"disk_limit_mb\":null,\"gpus\":[0,3]},\"restart_policy\":\"OnFailure\",\"log_path\":\"\",\"log_config\":{\"max_size\":\"1m\","
		"\"max_file\":2},\"stop_timeout_s\":7,\"spec_hash\":\"abc\"}";
	struct wire_deploy d;
	struct json_out o;
	struct json *j;
	struct buf b;

	(void)state;
	assert_int_equal(json_parse(&j, slice_str(text), NULL), 0);
	assert_int_equal(wire_deploy_parse(&d, j, NULL), 0);
	json_free(j);
	CHECK_INT("cards", d.gpus, 9);
	CHECK_INT("second port", d.ports[1].udp, true);
	CHECK_STR("end of the command", d.command[1], "b c");
	buf_init(&b, 0);
	json_out_init(&o, &b);
	wire_deploy_emit(&d, &o);
	CHECK_STR("comes back as it was", b.data, text);
	wire_deploy_fini(&d);
	buf_fini(&b);
}

static void test_container(void **state)
{
	struct wire_container c = { .id = "0123456789abcdef", .name = "x", .image = "i", .status = "Running", .started_at_ms = 1772625600123,
				    .exit_code = -1, .restart_count = 3, .oom_killed = true, .nports = 1 };
	struct wire_container back;
	struct json_out o;
	struct json *j;
	struct buf b;

	(void)state;
	c.ports[0] = (struct wire_port){ .host_ip = "::1", .host_port = 1, .container_port = 2 };
	pairs_add(&c.labels, SLICE("l"), SLICE("v"));
	pairs_add(&c.env, SLICE("DB_PASSWORD"), SLICE("hidden"));
	pairs_add(&c.env, SLICE("PORT"), SLICE("80"));
	buf_init(&b, 0);
	json_out_init(&o, &b);
	wire_container_emit(&c, &o, NULL);
	CHECK_INT("no secret", strstr(b.data, "hidden") == NULL, true);
	assert_int_equal(json_parse(&j, buf_slice(&b), NULL), 0);
	assert_int_equal(wire_container_parse(&back, j, NULL), 0);
	json_free(j);
	CHECK_INT("to the millisecond", back.started_at_ms, c.started_at_ms);
	CHECK_STR("masked", pairs_get(&back.env, "DB_PASSWORD"), "***");
	CHECK_STR("not masked", pairs_get(&back.env, "PORT"), "80");
	CHECK_STR("port", back.ports[0].host_ip, "::1");
	wire_container_fini(&back);

	buf_clear(&b);
	json_out_init(&o, &b);
	wire_container_emit_beat(&c, &o);
	CHECK_INT("no environment in a beat", strstr(b.data, "PORT") == NULL, true);
	assert_int_equal(json_parse(&j, buf_slice(&b), NULL), 0);
	assert_int_equal(wire_container_parse_beat(&back, j, NULL), 0);
	json_free(j);
	CHECK_STR("state", back.status, "Running");
	CHECK_INT("exit code", back.exit_code, -1);
	CHECK_STR("label", pairs_get(&back.labels, "l"), "v");
	wire_container_fini(&back);
	wire_container_fini(&c);
	buf_fini(&b);
}

static const struct {
	const char *name, *text;
	bool ok;
} entries[] = {
	{ "an entry", "{\"container_id\":\"0123456789ab\",\"container_name\":\"t-a-1\"}", true },
	{ "no name", "{\"container_id\":\"0123456789ab\"}", true },
	{ "no id", "{\"container_name\":\"x\"}", false },
	{ "id is short", "{\"container_id\":\"0123456789a\"}", false },
	{ "id is a path", "{\"container_id\":\"../../../../x\"}", false },
	{ "id in capitals", "{\"container_id\":\"0123456789AB\"}", false },
	{ "name with an escape", "{\"container_id\":\"0123456789ab\",\"container_name\":\"a\\n\\u001b[31m\"}", false },
	{ "name is a path", "{\"container_id\":\"0123456789ab\",\"container_name\":\"/a\"}", false },
};

static void test_entries(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
		struct wire_container c;
		struct json *j;

		assert_int_equal(json_parse(&j, slice_str(entries[i].text), NULL), 0);
		CHECK_INT(entries[i].name, wire_container_parse_beat(&c, j, NULL), entries[i].ok ? 0 : -EINVAL);
		json_free(j);
		if (entries[i].ok)
			wire_container_fini(&c);
	}
}

static void test_event(void **state)
{
	static const char line[] = "{\"action\":\"die\",\"container_id\":\"0123456789ab\",\"container_name\":\"x\",\"exit_code\":7,"
				   "\"time\":\"2026-03-04T12:00:00.123Z\",\"labels\":{\"sh.temps.app\":\"a\"}}\n";
	struct wire_event e;
	struct err err;
	struct buf b;

	(void)state;
	assert_int_equal(wire_event_parse(&e, slice_of(line, sizeof(line) - 2), NULL), 0);
	buf_init(&b, 0);
	wire_event_emit(&e, &b);
	CHECK_STR("event", b.data, line);
	wire_event_fini(&e);
	buf_fini(&b);
	CHECK_INT("no action", wire_event_parse(&e, SLICE("{\"container_id\":\"0123456789ab\"}"), &err), -EINVAL);
	CHECK_INT("no JSON", wire_event_parse(&e, SLICE("die"), &err), -EINVAL);
}

static const struct {
	const char *line;
	int rc, result;
	bool done;
	const char *text;
} pulls[] = {
	{ "{\"progress\":\"abc: Downloading\"}", 0, 0, false, "abc: Downloading" },
	{ "{\"done\":true}", 0, 0, true, "" },
	{ "{\"error\":\"manifest unknown\",\"status\":404}", 0, -ENOENT, true, "manifest unknown" },
	{ "{\"error\":\"x\"}", 0, -EIO, true, "x" },
	{ "{\"error\":\"x\",\"status\":200}", 0, -EIO, true, "x" },
	{ "{\"error\":\"x\",\"status\":9999}", -EINVAL, 0, false, NULL },
	{ "{\"done\":false}", -EINVAL, 0, false, NULL },
	{ "{}", -EINVAL, 0, false, NULL },
};

static void test_pull(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pulls); i++) {
		struct wire_pull p, back;
		struct buf b;

		CHECK_INT(pulls[i].line, wire_pull_parse(&p, slice_str(pulls[i].line), NULL), pulls[i].rc);
		if (pulls[i].rc)
			continue;
		CHECK_INT(pulls[i].line, p.rc, pulls[i].result);
		CHECK_INT(pulls[i].line, p.done, pulls[i].done);
		CHECK_STR(pulls[i].line, p.text, pulls[i].text);
		buf_init(&b, 0);
		wire_pull_emit(&p, &b);
		assert_int_equal(wire_pull_parse(&back, slice_of(b.data, b.len - 1), NULL), 0);
		CHECK_INT(pulls[i].line, back.rc, p.rc);
		buf_fini(&b);
	}
}

static const struct {
	const char *text;
	int rc;
	const char *error;
} envelopes[] = {
	{ "{\"success\":true,\"data\":\"stopped\",\"error\":null}", 0, NULL },
	{ "{\"success\":false,\"data\":null,\"error\":\"no such container\"}", -EREMOTEIO, "no such container" },
	{ "{\"success\":false}", -EREMOTEIO, "no reason given" },
	{ "{\"success\":\"true\",\"data\":1}", -EINVAL, "success" },
	{ "{\"data\":1}", -EINVAL, "success" },
	{ "<html>", -EINVAL, "line 1" },
};

static const struct {
	const char *name, *body;
	int rc;
} images[] = {
	{ "whole", "{\"id\":\"sha256:01ab\",\"architecture\":\"amd64\",\"bytes\":7,\"from_registry\":true}", 0 },
	{ "an old agent's", "{\"id\":\"sha256:01ab\"}", 0 },
	{ "no id", "{\"architecture\":\"amd64\"}", -EINVAL },
	{ "no object", "\"sha256:01ab\"", -EINVAL },
	{ "another path", "{\"id\":\"../containers/1\"}", -EINVAL },
	{ "another line", "{\"id\":\"a\\r\\nb\"}", -EINVAL },
	{ "a terminal's", "{\"id\":\"a\",\"architecture\":\"\\u001b[2J\"}", -EINVAL },
	{ "negative", "{\"id\":\"a\",\"bytes\":-1}", -EINVAL },
};

/* A release with a longer id than a stored one may have would keep the control plane from starting. */
static void test_image(void **state)
{
	struct wire_image image;
	struct json *j;
	struct err err;
	char body[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(images); i++) {
		assert_int_equal(json_parse(&j, slice_str(images[i].body), NULL), 0);
		CHECK_INT(images[i].name, wire_image_parse(&image, j, &err), images[i].rc);
		json_free(j);
	}
	snprintf(body, sizeof(body), "{\"id\":\"%0*d\"}", 80, 1);
	assert_int_equal(json_parse(&j, slice_str(body), NULL), 0);
	CHECK_INT("long", wire_image_parse(&image, j, &err), -EINVAL);
	json_free(j);
}

static void test_envelope(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(envelopes); i++) {
		const struct json *data;
		struct err err = { 0 };
		struct json *doc;

		CHECK_INT(envelopes[i].text, wire_envelope_parse(&doc, &data, slice_str(envelopes[i].text), &err), envelopes[i].rc);
		if (envelopes[i].rc) {
			if (!strstr(err.text, envelopes[i].error))
				fail_msg("%s: %s", envelopes[i].text, err.text);
			continue;
		}
		CHECK_STR(envelopes[i].text, json_cstr(data, ""), "stopped");
		json_free(doc);
	}
}

static void test_statuses(void **state)
{
	static const int codes[] = { 0, -EINVAL, -EACCES, -ENOENT, -EEXIST, -EIO, -ECOMM, -ETIMEDOUT };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		CHECK_INT("both ways", wire_rc(wire_status(codes[i])), codes[i]);
	CHECK_INT("anything else", wire_status(-EBADF), 500);
	CHECK_INT("anything else", wire_rc(502), -EIO);
	CHECK_INT("created", wire_rc(201), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deploy_parse), cmocka_unit_test(test_deploy_round_trip), cmocka_unit_test(test_container),
		cmocka_unit_test(test_entries), cmocka_unit_test(test_image),
		cmocka_unit_test(test_event),	     cmocka_unit_test(test_pull),	       cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_statuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
