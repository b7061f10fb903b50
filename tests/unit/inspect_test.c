/* The engine's JSON in, its container descriptions out. */
#include <errno.h>

#include "agent/engine_create.h"
#include "agent/inspect.h"
#include "check.h"

static struct json *parse(const char *text)
{
	struct err err = { 0 };
	struct json *j;

	if (json_parse(&j, slice_str(text), &err))
		fail_msg("%s", err.text);
	return j;
}

static void test_container(void **state)
{
	struct json *j = parse(
		"{\"Id\":\"abc\",\"Name\":\"/c-hello-1\",\"Created\":\"2026-03-04T12:00:00.123456789Z\",\"Image\":\"sha256:ff\",\"RestartCount\":2,"
		"\"State\":{\"Status\":\"running\",\"OOMKilled\":true,\"ExitCode\":137,\"StartedAt\":\"2026-03-04T12:00:01.5Z\","
		"\"FinishedAt\":\"0001-01-01T00:00:00Z\"},\"Config\":{\"Image\":\"hello:1\",\"Env\":[\"A=b=c\",\"BARE\",\"=x\",\"A=twice\"],"
		"\"Labels\":{\"sh.temps.managed\":\"true\",\"sh.temps.cluster\":\"c1\",\"sh.temps.node\":\"n1\"}},"
		"\"NetworkSettings\":{\"Ports\":{\"8080/tcp\":[{\"HostIp\":\"127.0.0.2\",\"HostPort\":\"20001\"},{\"HostIp\":\"::\",\"HostPort\":\"x\"}],"
		"\"53/udp\":[{\"HostIp\":\"\",\"HostPort\":\"53\"}],\"9/tcp\":null,\"0/tcp\":[{}]},"
		"\"Networks\":{\"a\":{\"IPAddress\":\"\"},\"temps\":{\"IPAddress\":\"10.213.0.9\"}}}}");
	const struct json *labels = json_get(json_get(j, "Config"), "Labels");
	struct wire_container c;

	(void)state;
	assert_int_equal(inspect_container(&c, j), 0);
	CHECK_STR("name", c.name, "c-hello-1");
	CHECK_STR("status", c.status, "Running");
	CHECK_INT("created", c.created_at_ms, 1772625600123);
	CHECK_INT("started", c.started_at_ms, 1772625601500);
	CHECK_INT("never finished", c.finished_at_ms, 0);
	CHECK_INT("exit code", c.exit_code, 137);
	CHECK_INT("ports", c.nports, 2);
	CHECK_INT("host port", c.ports[0].host_port, 20001);
	CHECK_INT("udp", c.ports[1].udp, true);
	CHECK_STR("address", c.ip, "10.213.0.9");
	CHECK_STR("environment", pairs_get(&c.env, "A"), "b=c");
	CHECK_STR("no value", pairs_get(&c.env, "BARE"), "");
	CHECK_INT("each name once", c.env.n, 2);
	CHECK_INT("ours", inspect_is_ours(labels, "c1", "n1"), true);
	CHECK_INT("another node's", inspect_is_ours(labels, "c1", "n2"), false);
	CHECK_INT("another cluster's", inspect_is_ours(labels, "c2", "n1"), false);
	CHECK_INT("no labels", inspect_is_ours(NULL, "c1", "n1"), false);
	wire_container_fini(&c);
	json_free(j);
	j = parse("{}");
	CHECK_INT("nothing", inspect_container(&c, j), -EINVAL);
	json_free(j);
}

static const struct {
	const char *docker, *ours;
} statuses[] = {
	{ "created", "Created" }, { "running", "Running" }, { "paused", "Paused" },   { "restarting", "Restarting" },
	{ "exited", "Exited" },	  { "dead", "Dead" },	    { "removing", "Dead" },   { "", "Exited" },
};

static void test_statuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct wire_container c;
		char text[128];
		struct json *j;

		snprintf(text, sizeof(text), "{\"Id\":\"a\",\"State\":{\"Status\":\"%s\"}}", statuses[i].docker);
		j = parse(text);
		assert_int_equal(inspect_container(&c, j), 0);
		CHECK_STR(statuses[i].docker, c.status, statuses[i].ours);
		wire_container_fini(&c);
		json_free(j);
	}
}

static const struct {
	const char *name, *text;
	const char *action;	/* NULL: nobody's business */
	int code;
} events[] = {
	{ "die", "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"a\",\"Attributes\":{\"exitCode\":\"3\"}}}", "die", 3 },
	{ "start", "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"a\",\"Attributes\":{}}}", "start", -1 },
	{ "health", "{\"Type\":\"container\",\"Action\":\"health_status: healthy\",\"Actor\":{\"ID\":\"a\"}}", "health_status", -1 },
	{ "exec", "{\"Type\":\"container\",\"Action\":\"exec_start: sh\",\"Actor\":{\"ID\":\"a\"}}", NULL, 0 },
	{ "an image's", "{\"Type\":\"image\",\"Action\":\"die\",\"Actor\":{\"ID\":\"a\"}}", NULL, 0 },
	{ "no id", "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{}}", NULL, 0 },
	{ "a list", "[]", NULL, 0 },
};

static void test_events(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		struct json *j = parse(events[i].text);
		struct wire_event e;
		int rc = inspect_event(&e, j);

		CHECK_INT(events[i].name, rc, events[i].action ? 0 : -EINVAL);
		if (!rc) {
			CHECK_STR(events[i].name, e.action, events[i].action);
			CHECK_INT(events[i].name, e.exit_code, events[i].code);
			wire_event_fini(&e);
		}
		json_free(j);
	}
}

static void test_stats(void **state)
{
	struct json *j = parse("{\"id\":\"a\",\"name\":\"/x\",\"read\":\"2026-03-04T12:00:00Z\",\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":300},"
			       "\"system_cpu_usage\":2000,\"online_cpus\":2},\"precpu_stats\":{\"cpu_usage\":{\"total_usage\":100},\"system_cpu_usage\":1000},"
			       "\"memory_stats\":{\"usage\":100,\"limit\":1000,\"stats\":{\"inactive_file\":40}},"
			       "\"networks\":{\"eth0\":{\"rx_bytes\":1,\"tx_bytes\":2},\"eth1\":{\"rx_bytes\":10,\"tx_bytes\":20}}}");
	struct wire_stats s;

	(void)state;
	inspect_stats(&s, j);
	CHECK_INT("processor", s.cpu_percent, 40);
	CHECK_INT("memory without cache", s.memory_bytes, 60);
	CHECK_INT("of its limit", s.memory_percent, 6);
	CHECK_INT("received", s.network_rx_bytes, 11);
	CHECK_INT("sent", s.network_tx_bytes, 22);
	json_free(j);
}

static void check_create(const char *name, const struct wire_deploy *d, const char *want)
{
	struct buf b;

	buf_init(&b, 0);
	engine_create_body(d, "c1", "n1", &b);
	CHECK_STR(name, b.data, want);
	buf_fini(&b);
}

#define OURS "\"sh.temps.managed\":\"true\",\"sh.temps.cluster\":\"c1\",\"sh.temps.node\":\"n1\""
#define LOGS(size, files) "\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"" size "\",\"max-file\":\"" files "\"}}"

static void test_create(void **state)
{
	char image[] = "i", network[] = "temps", ip[] = "10.213.0.9", hash[] = "h", one[] = "one", *command[] = { one, NULL };
	struct wire_port ports[] = {
		{ .host_ip = "10.0.0.5", .host_port = 20001, .container_port = 80 },
		{ .container_port = 53, .udp = true },
		{ .host_ip = "10.0.0.6", .host_port = 20002, .container_port = 80 },
	};
	struct wire_deploy d = { .image_name = image, .restart_policy = WIRE_RESTART_UNLESS_STOPPED };

	(void)state;
	check_create("the least", &d, "{\"Image\":\"i\",\"Env\":[],\"Labels\":{" OURS "},\"ExposedPorts\":{},\"HostConfig\":{\"PortBindings\":{},"
		     "\"Mounts\":[]," LOGS("10m", "3") ",\"RestartPolicy\":{\"Name\":\"unless-stopped\"}}}");

	d.gpus = 1u << 0 | 1u << 3;
	check_create("cards", &d, "{\"Image\":\"i\",\"Env\":[],\"Labels\":{" OURS "},\"ExposedPorts\":{},\"HostConfig\":{\"PortBindings\":{},"
		     "\"Mounts\":[],\"DeviceRequests\":[{\"DeviceIDs\":[\"0\",\"3\"],\"Capabilities\":[[\"gpu\"]]}]," LOGS("10m", "3")
		     ",\"RestartPolicy\":{\"Name\":\"unless-stopped\"}}}");
	d.gpus = 0;
	d.ports = ports;
	d.nports = ARRAY_LEN(ports);
	d.network_name = network;
	d.static_ip = ip;
	d.spec_hash = hash;
	d.command = command;
	d.cpu_limit = 0.25;
	d.memory_limit_mb = 1;
	d.restart_policy = WIRE_RESTART_NEVER;
	d.stop_timeout_s = 9;
	pairs_add(&d.env, SLICE("A"), SLICE("b"));
	pairs_add(&d.secrets, SLICE("S"), SLICE("t"));
	pairs_add(&d.labels, SLICE("sh.temps.cluster"), SLICE("somebody-else"));
	pairs_add(&d.labels, SLICE("sh.temps.app"), SLICE("hello"));
	check_create("everything", &d,
		     "{\"Image\":\"i\",\"Env\":[\"A=b\",\"S=t\"],\"Cmd\":[\"one\"],\"Labels\":{\"sh.temps.app\":\"hello\"," OURS ",\"sh.temps.spec\":\"h\"},"
		     "\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},\"StopTimeout\":9,\"HostConfig\":{\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"10.0.0.5\","
		     "\"HostPort\":\"20001\"},{\"HostIp\":\"10.0.0.6\",\"HostPort\":\"20002\"}],\"53/udp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]},\"Mounts\":[],"
		     "\"NanoCpus\":250000000,\"Memory\":1048576,\"MemorySwap\":1048576," LOGS("10m", "3") ",\"RestartPolicy\":{\"Name\":\"no\"},"
		     "\"NetworkMode\":\"temps\"},\"NetworkingConfig\":{\"EndpointsConfig\":{\"temps\":{\"IPAMConfig\":{\"IPv4Address\":\"10.213.0.9\"}}}}}");
	pairs_fini(&d.env);
	pairs_fini(&d.secrets);
	pairs_fini(&d.labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_container), cmocka_unit_test(test_statuses), cmocka_unit_test(test_events),
		cmocka_unit_test(test_stats),	  cmocka_unit_test(test_create),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
