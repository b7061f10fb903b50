/* temps status and temps events: how the control plane is, and what happened. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"

static void print_status(const struct json *s)
{
	const struct json *store = json_get(s, "store"), *docker = json_get(s, "docker"), *nodes = json_get(s, "nodes");
	bool docker_ok = json_bool(json_get(docker, "ok"), false);
	char size[32], age[32];

	text_age((uint64_t)json_int(json_get(s, "uptime_s"), 0) * 1000, age);
	printf("%-10s %s, cluster %s, started %s, pid %lld\n", "temps", json_cstr(json_get(s, "version"), "?"),
	       json_cstr(json_get(s, "cluster_id"), "?"), age, (long long)json_int(json_get(s, "pid"), 0));
	printf("%-10s %s, revision %lld\n", "store", json_bool(json_get(store, "ok"), false) ? "ok" : "FAILED: writes are refused",
	       (long long)json_int(json_get(store, "revision"), 0));
	if (docker_ok)
		printf("%-10s %s\n", "docker", json_cstr(json_get(docker, "version"), "?"));
	else
		printf("%-10s none here (%s): containers run on workers only\n", "docker",
		       json_cstr(json_get(docker, "error"), "no engine answers"));
	printf("%-10s %lld of %lld active\n", "nodes", (long long)json_int(json_get(nodes, "active"), 0),
	       (long long)json_int(json_get(nodes, "total"), 0));
	printf("%-10s %lld\n", "apps", (long long)json_int(json_get(s, "apps"), 0));
	printf("%-10s %lld\n", "routes", (long long)json_int(json_get(s, "routes"), 0));
	text_size((uint64_t)json_int(json_get(s, "memory_rss_bytes"), 0), size);
	printf("%-10s %s\n", "memory", size);
}

static int status(struct cli *c, int argc, char **argv)
{
	struct json *doc = NULL;
	int code = cli_parse(c, argc, argv, NULL, 0, 0);

	if (code >= 0)
		return code;
	code = cli_call(c, "GET", "/api/status", NULL, &doc);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		print_status(doc);
	json_free(doc);
	return code;
}

static void print_event(const struct json *e)
{
	printf("%s  %-20s %-20s %s\n", json_cstr(json_get(e, "time"), ""), json_cstr(json_get(e, "type"), ""),
	       json_cstr(json_get(e, "subject"), ""), json_cstr(json_get(e, "text"), ""));
}

/* A line of a server-sent event stream; "data:" lines carry one event each. */
static bool on_event_line(void *arg, struct slice text)
{
	struct cli *c = arg;
	struct json *e;
	struct err err;

	if (!slice_starts(text, SLICE("data:")))
		return true;
	text = slice_trim(slice_of(text.p + 5, text.n - 5));
	if (json_parse(&e, text, &err))
		return true;
	if (c->globals.json)
		cli_print_json(e);
	else
		print_event(e);
	json_free(e);
	fflush(stdout);
	return true;
}

static int events(struct cli *c, int argc, char **argv)
{
	bool follow = false;
	int64_t limit = 100;
	const struct opt opts[] = {
		{ "follow", NULL, OPT_FLAG, &follow, "go on with new ones", 0, 0, false },
		{ "limit", "N", OPT_COUNT, &limit, "the last N (100)", 1, 10000, false },
		{ 0 },
	};
	const struct json *items;
	struct json *doc = NULL;
	char *path;
	int code = cli_parse(c, argc, argv, opts, 0, 0);

	if (code >= 0)
		return code;
	if (follow)
		return cli_stream(c, "/api/events", "text/event-stream", on_event_line, c);
	path = xasprintf("/api/events?limit=%lld", (long long)limit);
	code = cli_call(c, "GET", path, NULL, &doc);
	free(path);
	if (code == EXIT_DONE && c->globals.json) {
		cli_print_json(doc);
	} else if (code == EXIT_DONE) {
		items = json_get(doc, "items");
		for (size_t i = 0; i < json_len(items); i++)
			print_event(json_at(items, i));
	}
	json_free(doc);
	return code;
}

const struct command command_status = { "status", "[options]", "Show how the control plane is", status };
const struct command command_events = { "events", "[--follow] [--limit N]", "Show what happened", events };
