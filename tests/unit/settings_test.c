/* The agent's configuration, the addresses it is called by, and the pure rules of its timers. */
#include <errno.h>
#include <unistd.h>

#include "agent/credential.h"
#include "agent/heartbeat.h"
#include "agent/inventory.h"
#include "agent/plane.h"
#include "agent/register.h"
#include "agent/settings.h"
#include "base/config.h"
#include "check.h"

static char path[] = "/tmp/temps-settings-XXXXXX";

static void write_file(const char *text)
{
	assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

#define FILE_TEXT "{\"listen_address\":\"f:1\",\"token\":\"ft\",\"node_name\":\"fn\",\"control_plane_url\":\"https://f\",\"node_id\":1}"

/* Every row of the specification's table: where it comes from when file, environment and flag say something else. */
static void test_precedence(void **state)
{
	static const struct {
		const char *variable;
		size_t flag, text;
	} rows[] = {
		{ "TEMPS_AGENT_ADDRESS", offsetof(struct agent_options, listen_address), offsetof(struct settings, listen_address) },
		{ "TEMPS_AGENT_TOKEN", offsetof(struct agent_options, token), offsetof(struct settings, token) },
		{ "TEMPS_NODE_NAME", offsetof(struct agent_options, node_name), offsetof(struct settings, node_name) },
		{ "TEMPS_CONTROL_PLANE_URL", offsetof(struct agent_options, control_plane_url), offsetof(struct settings, control_plane_url) },
	};
	struct settings s;

	(void)state;
	write_file(FILE_TEXT);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool url = i == 3;
		struct agent_options o = { 0 };
		char **got = (char **)((char *)&s + rows[i].text);

		setenv(rows[i].variable, url ? "https://e" : "env", 1);
		assert_int_equal(settings_load(&s, path, &o, NULL), 0);
		CHECK_STR(rows[i].variable, *got, url ? "https://e" : "env");
		settings_fini(&s);
		*(const char **)((char *)&o + rows[i].flag) = url ? "https://o" : "flag";
		assert_int_equal(settings_load(&s, path, &o, NULL), 0);
		CHECK_STR(rows[i].variable, *got, url ? "https://o" : "flag");
		settings_fini(&s);
		unsetenv(rows[i].variable);
	}
	setenv("TEMPS_NODE_ID", "2", 1);
	assert_int_equal(settings_load(&s, path, &(struct agent_options){ 0 }, NULL), 0);
	CHECK_INT("environment", s.node_id, 2);
	settings_fini(&s);
	assert_int_equal(settings_load(&s, path, &(struct agent_options){ .node_id = "3" }, NULL), 0);
	CHECK_INT("flag", s.node_id, 3);
	CHECK_STR("file", s.token, "ft");
	settings_fini(&s);
	unsetenv("TEMPS_NODE_ID");
}

static const struct {
	const char *name, *text;
	struct agent_options o;
	const char *error;
} bad[] = {
	{ "no token", "{}", { 0 }, "Missing --token. Run 'temps join' first" },
	{ "no name", "{\"token\":\"t\"}", { 0 }, "Missing --node-name." },
	{ "no URL", "{\"token\":\"t\",\"node_name\":\"n\"}", { 0 }, "Missing --control-plane-url." },
	{ "no id", "{\"token\":\"t\",\"node_name\":\"n\",\"control_plane_url\":\"https://x\"}", { 0 }, "Missing --node-id." },
	{ "bad id", FILE_TEXT, { .node_id = "x" }, "--node-id: \"x\"" },
	{ "bad name", FILE_TEXT, { .node_name = "a b" }, "node name \"a b\"" },
	{ "bad URL", FILE_TEXT, { .control_plane_url = "x" }, "control plane URL" },
	{ "no JSON", "{\"token\": \"t\"\n\"node_id\": 1}", { 0 }, ":2:" },
	{ "a list", "[]", { 0 }, "expected an object" },
	{ "no resources", "{\"resources\":[]}", { 0 }, "\"resources\"" },
	{ "too many cards", "{\"resources\":{\"gpu_count\":65}}", { 0 }, "\"gpu_count\"" },
	{ "wrong type", "{\"token\":1}", { 0 }, "\"token\"" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		struct settings s;

		write_file(bad[i].text);
		CHECK_INT(bad[i].name, settings_load(&s, path, &bad[i].o, &err), -EINVAL);
		if (!strstr(err.text, bad[i].error))
			fail_msg("%s: %s", bad[i].name, err.text);
	}
}

static void test_round_trip(void **state)
{
	struct settings s = { .node_id = 9, .heartbeat_interval_s = 30 }, back;
	struct err err = { 0 };

	(void)state;
	settings_set(&s.token, "t\"\\\n");
	settings_set(&s.key_pem, "-----BEGIN\nx\n");
	s.resources = (struct metrics_told){ .memory_gb = 16, .gpus_told = true };
	pairs_add(&s.labels, SLICE("a"), SLICE("b"));
	if (settings_write(&s, path, &err) || settings_read(&back, path, &err))
		fail_msg("%s", err.text);
	CHECK_INT("id", back.node_id, 9);
	CHECK_STR("token", back.token, s.token);
	CHECK_STR("key", back.key_pem, s.key_pem);
	CHECK_INT("not said", back.cluster_id == NULL, true);
	CHECK_STR("label", pairs_get(&back.labels, "a"), "b");
	CHECK_INT("memory", back.resources.memory_gb, 16);
	CHECK_INT("no cards, said so", back.resources.gpus_told && !back.resources.gpus, true);
	CHECK_INT("cores, not said", back.resources.cpu_cores, 0);
	settings_fini(&s);
	settings_fini(&back);
}

static void test_home(void **state)
{
	char *found;

	(void)state;
	setenv("HOME", "/root", 1);
	found = settings_path();
	CHECK_STR("home", found, "/root/.temps/agent.json");
	free(found);
	unsetenv("HOME");
	found = settings_path();
	CHECK_STR("no home", found, "/etc/temps/agent.json");
	free(found);
}

static const struct {
	const char *listen, *private_address, *address;
} addresses[] = {
	{ "0.0.0.0:3100", "10.0.0.5", "https://10.0.0.5:3100" },
	{ "[::]:3100", "10.0.0.5", "https://10.0.0.5:3100" },
	{ "0.0.0.0:3100", "fd00::1", "https://[fd00::1]:3100" },
	{ "127.0.0.2:3101", "127.0.0.2", "https://127.0.0.2:3101" },
	{ "0.0.0.0:3100", NULL, NULL },
	{ "nonsense", "10.0.0.5", NULL },
};

static void test_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		char *got = register_address(addresses[i].listen, addresses[i].private_address);

		CHECK_STR(addresses[i].listen, got ? got : "none", addresses[i].address ? addresses[i].address : "none");
		free(got);
	}
}

static const struct {
	const char *url;
	bool good;
} urls[] = {
	{ "https://temps.example.com", true },	 { "https://10.0.0.1:8443/", true },	  { "http://127.0.0.1:8080", true },
	{ "http://localhost:8080/x", true },	 { "http://[::1]:80", true },		  { "http://127.0.0.1", true },
	{ "http://[::1]", true },		 { "http://10.0.0.1:8080", false },	  { "http://127.0.0.1.example.com", false },
	{ "http://localhost.example.com", false }, { "http://127.0.0.1@example.com", false }, { "https://", false },
	{ "https:///x", false },		 { "ftp://x", false },			  { "temps.example.com", false },
	{ "https://x/\r\nHost: y", false },	 { "", false },
};

static void test_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(urls); i++)
		CHECK_INT(urls[i].url, plane_check_url(urls[i].url, NULL) == 0, urls[i].good);
}

static void test_timers(void **state)
{
	(void)state;
	CHECK_INT("on time", heartbeat_wait_ms(30, 0), 30000);
	CHECK_INT("a tenth early at most", heartbeat_wait_ms(30, 3000), 27000);
	for (uint32_t random = 0; random < 100000; random += 977)
		CHECK_INT("within", heartbeat_wait_ms(30, random) >= 27000 && heartbeat_wait_ms(30, random) <= 30000, true);
	CHECK_INT("two thirds", credential_due_ms(1000, 91000), 61000);
}

static void test_inventory_hash(void **state)
{
	struct wire_container a = { .id = "a", .status = "Running", .started_at_ms = 1 }, b = { .id = "b", .status = "Running", .started_at_ms = 2 };
	struct wire_container list[2] = { a, b }, other[2] = { b, a };
	char first[17], second[17];

	(void)state;
	inventory_hash_of(list, 2, first);
	inventory_hash_of(other, 2, second);
	CHECK_STR("any order", first, second);
	other[0].started_at_ms++;
	inventory_hash_of(other, 2, second);
	CHECK_INT("a restart", strcmp(first, second) != 0, true);
	inventory_hash_of(list, 1, second);
	CHECK_INT("one less", strcmp(first, second) != 0, true);
}

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	return fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_precedence), cmocka_unit_test(test_bad),	     cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_home),	   cmocka_unit_test(test_addresses), cmocka_unit_test(test_urls),
		cmocka_unit_test(test_timers),	   cmocka_unit_test(test_inventory_hash),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
