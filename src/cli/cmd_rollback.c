/* temps rollback | restart | promote | abort: a release once more, as a new one; a canary that takes over, or does not. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"

/* Asks for the release, then follows it as a deploy does. */
static int begin(struct cli *c, const char *app, const char *what, const char *body, bool no_wait)
{
	char *path = cli_app_path(app, what);
	struct json *doc = NULL;
	int code = cli_call(c, "POST", path, body, &doc);

	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE && no_wait)
		printf("%s: release %lld is on its way; 'temps ps %s' shows where it is\n", app,
		       (long long)json_int(json_get(doc, "release"), 0), app);
	else if (code == EXIT_DONE)
		code = cli_follow(c, app, json_int(json_get(doc, "release"), 0));
	json_free(doc);
	free(path);
	return code;
}

static int rollback(struct cli *c, int argc, char **argv)
{
	bool no_wait = false;
	const struct opt opts[] = {
		{ "no-wait", NULL, OPT_FLAG, &no_wait, "do not wait until it serves", 0, 0, false },
		{ 0 },
	};
	uint64_t n;
	char *body;
	int code = cli_parse(c, argc, argv, opts, 1, 2);

	if (code >= 0)
		return code;
	if (argv[1] && (slice_u64(slice_str(argv[1]), &n) || !n || n > UINT32_MAX))
		return cli_usage(c, "'%s': expected the number of a release; 'temps releases %s' lists them", argv[1], argv[0]);
	body = argv[1] ? xasprintf("{\"release\":%llu}", (unsigned long long)n) : xstrdup("{}");
	code = begin(c, argv[0], "/rollback", body, no_wait);
	free(body);
	return code;
}

static int restart(struct cli *c, int argc, char **argv)
{
	bool no_wait = false;
	const struct opt opts[] = {
		{ "no-wait", NULL, OPT_FLAG, &no_wait, "do not wait until it serves", 0, 0, false },
		{ 0 },
	};
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	return code >= 0 ? code : begin(c, argv[0], "/restart", "{}", no_wait);
}

static int promote(struct cli *c, int argc, char **argv)
{
	bool no_wait = false;
	const struct opt opts[] = {
		{ "no-wait", NULL, OPT_FLAG, &no_wait, "do not wait until it has taken over", 0, 0, false },
		{ 0 },
	};
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	return code >= 0 ? code : begin(c, argv[0], "/promote", "{}", no_wait);
}

static int end_rollout(struct cli *c, int argc, char **argv)
{
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	return code >= 0 ? code : cli_app_post(c, argv[0], "/abort", "{}");
}

const struct command command_promote = { "promote", "APP [--no-wait]", "Let an app's canary take over", promote };
const struct command command_abort = { "abort", "APP", "End a canary or a rollout under way", end_rollout };
const struct command command_rollback = { "rollback", "APP [RELEASE] [--no-wait]", "Go back to an earlier release", rollback };
const struct command command_restart = { "restart", "APP [--no-wait]", "Start an app's containers anew, without a gap", restart };
