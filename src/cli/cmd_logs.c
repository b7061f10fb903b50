/* temps logs: what an app's containers print, and printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

#define TIME_BYTES 30	/* "2026-01-02T03:04:05.123456789Z" */

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
	return cli_flush();
}

/* "NAME | TIME TEXT" as an object; what a source has to say for itself comes without a time. */
static bool print_json_line(void *arg, struct slice line)
{
	static const char bar[] = " | ";
	const char *at = memmem(line.p, line.n, bar, sizeof(bar) - 1);
	struct slice name = slice_of(line.p, at ? (size_t)(at - line.p) : 0), text = line;
	struct json_out o;
	struct buf b;

	(void)arg;
	if (at)
		text = slice_of(at + sizeof(bar) - 1, line.n - name.n - (sizeof(bar) - 1));
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_slice(&o, "replica", name);
	if (text.n > TIME_BYTES && text.p[10] == 'T' && text.p[TIME_BYTES - 1] == 'Z' && text.p[TIME_BYTES] == ' ') {
		json_put_slice(&o, "time", slice_of(text.p, TIME_BYTES));
		text = slice_of(text.p + TIME_BYTES + 1, text.n - TIME_BYTES - 1);
	} else {
		json_put_null(&o, "time");
	}
	json_put_slice(&o, "text", text);
	json_obj_end(&o);
	printf("%s\n", b.data);
	buf_fini(&b);
	return cli_flush();
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
		{ "grep", "TEXT", OPT_TEXT, &a.grep, "only lines with this text in them; also in what is gone", 0, 0, false },
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
	a.timestamps |= c->globals.json;
	buf_init(&path, 0);
	put_query(&a, argv[0], &path);
	code = cli_stream(c, path.data, "text/plain", c->globals.json ? print_json_line : print_line, NULL);
	buf_fini(&path);
	return code;
}

const struct command command_logs = { "logs", "APP [options]", "Show what an app's containers print", logs };
