/* temps pause | resume | lock | unlock: an app's requests held, its releases forbidden. */
#include "cli/cli.h"
#include "cli/commands.h"

static int tell_bare(struct cli *c, int argc, char **argv, const char *what)
{
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	return code >= 0 ? code : cli_app_post(c, argv[0], what, "{}");
}

static int do_pause(struct cli *c, int argc, char **argv)
{
	return tell_bare(c, argc, argv, "/pause");
}

static int resume(struct cli *c, int argc, char **argv)
{
	return tell_bare(c, argc, argv, "/resume");
}

static int unlock(struct cli *c, int argc, char **argv)
{
	return tell_bare(c, argc, argv, "/unlock");
}

static int lock(struct cli *c, int argc, char **argv)
{
	const char *reason = NULL;
	const struct opt opts[] = {
		{ "reason", "TEXT", OPT_TEXT, &reason, "why; whoever tries a deploy is told", 0, 0, false },
		{ 0 },
	};
	struct json_out o;
	struct buf body;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	if (!reason || !*reason)
		return cli_usage(c, "--reason TEXT is needed: whoever tries a deploy is told");
	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "reason", reason);
	json_obj_end(&o);
	code = cli_app_post(c, argv[0], "/lock", body.data);
	buf_fini(&body);
	return code;
}

const struct command command_pause = { "pause", "APP", "Hold an app's requests", do_pause };
const struct command command_resume = { "resume", "APP", "Let an app's requests go on", resume };
const struct command command_lock = { "lock", "APP --reason TEXT", "Let nobody begin a release of an app", lock };
const struct command command_unlock = { "unlock", "APP", "Allow releases of an app again", unlock };
