/* temps upgrade: let the control plane hand over to the binary that is at its path now. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"

#define READY_EVERY_MS 50
#define READY_TRIES 100

static void print_upgrade(const struct json *doc)
{
	const char *version = json_cstr(json_get(doc, "version"), "?"), *from = json_cstr(json_get(doc, "from_version"), "?");

	if (!strcmp(version, from))
		printf("temps %s started anew: process %lld serves\n", version, (long long)json_int(json_get(doc, "pid"), 0));
	else
		printf("upgraded from temps %s to %s: process %lld serves\n", from, version,
		       (long long)json_int(json_get(doc, "pid"), 0));
	printf("the old process finishes what it has, for at most %lld s\n", (long long)json_int(json_get(doc, "drain_limit_s"), 0));
}

/* It serves already; until it is ready its ready file is the old one's. */
static void await_ready(struct cli *c)
{
	struct json *doc = NULL;
	unsigned status;
	struct err err;

	for (int i = 0; i < READY_TRIES && cli_try(c, "GET", "/health/ready", NULL, &doc, &status, &err); i++)
		cli_wait(c, READY_EVERY_MS);
	json_free(doc);
}

static int upgrade(struct cli *c, int argc, char **argv)
{
	struct json *doc = NULL;
	int code = cli_parse(c, argc, argv, NULL, 0, 0);

	if (code >= 0)
		return code;
	code = cli_call(c, "POST", "/api/upgrade", NULL, &doc);
	if (code == EXIT_DONE)
		await_ready(c);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		print_upgrade(doc);
	json_free(doc);
	return code;
}

const struct command command_upgrade = { "upgrade", "[options]", "Hand over to the control plane's new binary, without a gap", upgrade };
