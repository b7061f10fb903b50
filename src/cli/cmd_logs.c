/* temps logs: what an app's containers print, and printed. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"

struct logs_args {
	bool follow, timestamps;
	int64_t tail, release;
	uint64_t since_ms;
	const char *grep, *replica, *node;
};

static bool print_line(void *arg, struct slice text)
{
	(void)arg;
	fwrite(text.p, 1, text.n, stdout);
	putchar('\n');
	fflush(stdout);
	return true;
}

static void put_text(struct buf *query, const char *name, const char *value)
{
	char *esc;

	if (!value)
		return;
	esc = cli_escape(value);
	buf_printf(query, "&%s=%s", name, esc);
	free(esc);
}

static void put_query(const struct logs_args *a, const char *app, struct buf *path)
{
	char *all = cli_app_path(app, "/logs");

	buf_printf(path, "%s?follow=%d&timestamps=%d", all, a->follow, a->timestamps);
	if (a->tail >= 0)
		buf_printf(path, "&tail=%lld", (long long)a->tail);
	if (a->since_ms)
		buf_printf(path, "&since=%llus", (unsigned long long)(a->since_ms / 1000));
	if (a->release)
		buf_printf(path, "&release=%lld", (long long)a->release);
	put_text(path, "grep", a->grep);
	put_text(path, "node", a->node);
	put_text(path, "replica", a->replica);
	free(all);
}

static int logs(struct cli *c, int argc, char **argv)
{
	struct logs_args a = { .tail = -1 };
	const struct opt opts[] = {
		{ "follow", NULL, OPT_FLAG, &a.follow, "go on with new lines, of new containers too", 0, 0, false },
		{ "f", NULL, OPT_FLAG, &a.follow, "the same", 0, 0, false },
		{ "tail", "N", OPT_COUNT, &a.tail, "only the last N lines of each container (100)", 0, 1000000, false },
		{ "since", "TIME", OPT_DURATION, &a.since_ms, "only lines this young", 0, 0, false },
		{ "grep", "TEXT", OPT_TEXT, &a.grep, "only lines with this text in them; looks at all lines", 0, 0, false },
		{ "release", "N", OPT_COUNT, &a.release, "of this release only", 1, UINT32_MAX, false },
		{ "node", "NAME", OPT_TEXT, &a.node, "of containers on this node only", 0, 0, false },
		{ "replica", "NAME", OPT_TEXT, &a.replica, "of this replica only", 0, 0, false },
		{ "timestamps", NULL, OPT_FLAG, &a.timestamps, "with the time of each line", 0, 0, false },
		{ 0 },
	};
	struct buf path;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	buf_init(&path, 0);
	put_query(&a, argv[0], &path);
	code = cli_stream(c, path.data, "text/plain", print_line, NULL);
	buf_fini(&path);
	return code;
}

const struct command command_logs = { "logs", "APP [options]", "Show what an app's containers print", logs };
