/* temps status and temps events: how the control plane is, and what happened. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"

#define RETRY_MS 500
#define RETRIES 120	/* a minute */

/* Processes of before a hot upgrade. */
static void print_draining(const struct json *list)
{
	for (size_t i = 0; i < json_len(list); i++)
		printf("%-10s process %lld of before the upgrade, %lld connections\n", "draining",
		       (long long)json_int(json_get(json_at(list, i), "pid"), 0),
		       (long long)json_int(json_get(json_at(list, i), "connections"), 0));
}

static void print_some(const struct json *n, const char *what)
{
	if (json_int(n, 0))
		printf(", %lld %s", (long long)json_int(n, 0), what);
}

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
	if (json_bool(json_get(json_get(s, "deployer"), "braked"), false))
		printf("%-10s ON for %lld s: many nodes went offline at once, so nothing is placed again; 'temps node failover' releases it\n",
		       "brake", (long long)json_int(json_get(json_get(s, "deployer"), "brake_left_s"), 0));
	printf("%-10s %lld", "apps", (long long)json_int(json_get(s, "apps"), 0));
	print_some(json_get(s, "paused_apps"), "paused");
	print_some(json_get(s, "locked_apps"), "locked");
	putchar('\n');
	printf("%-10s %lld\n", "routes", (long long)json_int(json_get(s, "routes"), 0));
	print_draining(json_get(s, "draining"));
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

/* What a stream of events has told so far. */
struct events_seen {
	const struct cli *cli;
	int64_t last_id;	/* 0: none yet */
};

static bool print_event(struct events_seen *seen, const struct json *e)
{
	seen->last_id = json_int(json_get(e, "id"), seen->last_id);
	if (seen->cli->globals.json)
		cli_print_json(e);
	else
		printf("%s  %-20s %-20s %s\n", json_cstr(json_get(e, "time"), ""), json_cstr(json_get(e, "type"), ""),
		       json_cstr(json_get(e, "subject"), ""), json_cstr(json_get(e, "text"), ""));
	return cli_flush();
}

/* A line of a server-sent event stream; "data:" lines carry one event each. */
static bool on_event_line(void *arg, struct slice text)
{
	struct json *e;
	struct err err;
	bool heard;

	if (!slice_starts(text, SLICE("data:")))
		return true;
	text = slice_trim(slice_of(text.p + 5, text.n - 5));
	if (json_parse(&e, text, &err))
		return true;
	heard = print_event(arg, e);
	json_free(e);
	return heard;
}

/* Until the control plane answers again. */
static bool wait_for_plane(struct cli *c)
{
	for (int i = 0; i < RETRIES; i++) {
		struct err err;
		unsigned status;

		cli_wait(c, RETRY_MS);
		if (cli_try(c, "GET", "/api/status", NULL, NULL, &status, &err) == EXIT_DONE)
			return true;
	}
	return false;
}

/* A control plane that restarts ends the stream; it goes on after the last event that was seen. */
static int follow_events(struct cli *c, struct events_seen *seen, const char *filter)
{
	int code;

	do {
		char *path = xasprintf("/api/events?%s&after=%lld", filter, (long long)seen->last_id);

		code = cli_stream(c, path, "text/event-stream", on_event_line, seen);
		free(path);
		if (!cli_flush())
			return EXIT_FAILED;
	} while (wait_for_plane(c));
	return code == EXIT_DONE ? cli_fail("the control plane ended the stream and does not answer any more") : code;
}

/* "type=A,B&subject=S" */
static char *events_filter(const struct opt_list *types, const char *subject)
{
	char *joined, *escaped, *out;
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < types->n; i++)
		buf_printf(&b, "%s%s", i ? "," : "", types->at[i]);
	joined = cli_escape(b.data ? b.data : "");
	escaped = cli_escape(subject ? subject : "");
	out = xasprintf("type=%s&subject=%s", joined, escaped);
	buf_fini(&b);
	free(joined);
	free(escaped);
	return out;
}

static int list_events(struct cli *c, struct events_seen *seen, const char *filter, int64_t limit, bool whole)
{
	char *path = xasprintf("/api/events?%s&limit=%lld", filter, (long long)limit);
	struct json *doc = NULL;
	int code = cli_call(c, "GET", path, NULL, &doc);
	const struct json *items = json_get(doc, "items");

	free(path);
	if (code == EXIT_DONE && whole)
		cli_print_json(doc);
	for (size_t i = 0; code == EXIT_DONE && !whole && i < json_len(items); i++)
		(void)!print_event(seen, json_at(items, i));
	json_free(doc);
	return code;
}

static int events(struct cli *c, int argc, char **argv)
{
	struct opt_list types = { .n = 0 };
	const char *subject = NULL;
	bool follow = false;
	int64_t limit = 100;
	const struct opt opts[] = {
		{ "follow", NULL, OPT_FLAG, &follow, "go on with new ones", 0, 0, false },
		{ "f", NULL, OPT_FLAG, &follow, "the same", 0, 0, false },
		{ "limit", "N", OPT_COUNT, &limit, "the last N (100)", 1, 10000, false },
		{ "type", "TYPE", OPT_LIST, &types, "of this type: NodeOffline", 0, 0, false },
		{ "subject", "NAME", OPT_TEXT, &subject, "about this node, app or container", 0, 0, false },
		{ 0 },
	};
	struct events_seen seen = { c, 0 };
	char *filter;
	int code = cli_parse(c, argc, argv, opts, 0, 0);

	if (code >= 0)
		return code;
	filter = events_filter(&types, subject);
	code = list_events(c, &seen, filter, limit, c->globals.json && !follow);
	if (code == EXIT_DONE && follow)
		code = follow_events(c, &seen, filter);
	free(filter);
	return code;
}

const struct command command_status = { "status", "[options]", "Show how the control plane is", status };
const struct command command_events = { "events", "[options]", "Show what happened", events };
