/* temps scale: another number of replicas, followed until it is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "reactor/loop.h"

#define POLL_MS 250
#define TIMEOUT_MS 600000u

/* What the app's replicas are doing. */
struct tally {
	int64_t want, ready, coming, going;
	char why[128]; /* of one that failed */
};

static void count(struct tally *t, const struct json *items, int64_t release)
{
	for (size_t i = 0; i < json_len(items); i++) {
		const struct json *r = json_at(items, i);
		const char *state = json_cstr(json_get(r, "state"), "");

		if (json_int(json_get(r, "release"), 0) != release)
			continue;
		if (!strcmp(state, "ready")) {
			t->ready++;
		} else if (!strcmp(state, "failed")) {
			snprintf(t->why, sizeof(t->why), "%s: %s", json_cstr(json_get(r, "name"), ""),
				 json_cstr(json_get(r, "reason"), "it failed"));
		} else if (!strcmp(state, "draining") || !strcmp(state, "stopping")) {
			t->going++;
		} else {
			t->coming++;
		}
	}
}

/* One look; EXIT_DONE when it could be taken. */
static int look(struct cli *c, const char *app, struct tally *t)
{
	char *path = cli_app_path(app, ""), *replicas = cli_app_path(app, "/replicas");
	struct json *doc = NULL, *list = NULL;
	int code = cli_call(c, "GET", path, NULL, &doc);

	if (code == EXIT_DONE)
		code = cli_call(c, "GET", replicas, NULL, &list);
	*t = (struct tally){ .want = json_int(json_get(json_get(doc, "replicas"), "want"), 0) };
	count(t, json_get(list, "items"), json_int(json_get(doc, "release"), 0));
	json_free(doc);
	json_free(list);
	free(path);
	free(replicas);
	return code;
}

static void describe(const struct tally *t, char *out, size_t size)
{
	int n = snprintf(out, size, "%lld of %lld ready", (long long)t->ready, (long long)t->want);

	if (t->coming)
		n += snprintf(out + n, size - (size_t)n, ", %lld on the way", (long long)t->coming);
	if (t->going)
		n += snprintf(out + n, size - (size_t)n, ", %lld going", (long long)t->going);
	if (t->why[0])
		snprintf(out + n, size - (size_t)n, " (%s)", t->why);
}

static int follow(struct cli *c, const char *app, uint64_t timeout_ms)
{
	struct cli_progress p = { .tty = c->tty };
	uint64_t end_ms = loop_wall_ms() + timeout_ms;
	struct tally t = { 0 };
	char text[300];
	int code;

	for (;;) {
		code = look(c, app, &t);
		if (code != EXIT_DONE || (t.ready == t.want && !t.coming))
			break;
		describe(&t, text, sizeof(text));
		if (loop_wall_ms() >= end_ms) {
			cli_progress_end(&p);
			return cli_fail("%s: %s when the time was over; the cluster goes on, 'temps ps %s' shows where it is", app,
					text, app);
		}
		cli_progress(&p, text);
		cli_wait(c, POLL_MS);
	}
	cli_progress_end(&p);
	if (code == EXIT_DONE && t.going)
		printf("%s: %lld of %lld ready, %lld finish what they have\n", app, (long long)t.ready, (long long)t.want,
		       (long long)t.going);
	else if (code == EXIT_DONE)
		printf("%s: %lld of %lld ready\n", app, (long long)t.ready, (long long)t.want);
	return code;
}

static int scale(struct cli *c, int argc, char **argv)
{
	bool no_wait = false;
	uint64_t timeout_ms = TIMEOUT_MS, n;
	const struct opt opts[] = {
		{ "no-wait", NULL, OPT_FLAG, &no_wait, "do not wait until they are there", 0, 0, false },
		{ "timeout", "TIME", OPT_DURATION, &timeout_ms, "wait no longer than this (10m)", 0, 0, false },
		{ 0 },
	};
	struct json *doc = NULL;
	char *path, *body;
	int code = cli_parse(c, argc, argv, opts, 2, 2);

	if (code >= 0)
		return code;
	if (slice_u64(slice_str(argv[1]), &n) || n > UINT32_MAX)
		return cli_usage(c, "'%s': expected a number of replicas", argv[1]);
	path = cli_app_path(argv[0], "/scale");
	body = xasprintf("{\"replicas\":%llu}", (unsigned long long)n);
	code = cli_call(c, "POST", path, body, &doc);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE && no_wait)
		printf("%s: %s\n", argv[0], json_cstr(json_get(doc, "message"), "done"));
	if (code == EXIT_DONE && !no_wait && !c->globals.json)
		code = follow(c, argv[0], timeout_ms);
	json_free(doc);
	free(path);
	free(body);
	return code;
}

const struct command command_scale = { "scale", "APP N [options]", "Run another number of an app's replicas", scale };
