/* temps registry login | ls | logout: credentials that travel with each pull. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static char *registry_path(const char *server)
{
	char *esc = cli_escape(server);
	char *path = xasprintf("/api/registries/%s", esc);

	free(esc);
	return path;
}

static int login(struct cli *c, int argc, char **argv)
{
	const char *username = NULL, *password = NULL;
	const struct opt opts[] = {
		{ "username", "NAME", OPT_TEXT, &username, "the account", 0, 0, false },
		{ "password", "TEXT|-", OPT_TEXT, &password, "its password; - reads it from standard input", 0, 0, true },
		{ 0 },
	};
	struct json_out o;
	struct buf body;
	char *path;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	if (!username || !password)
		return cli_usage(c, "--username and --password are needed ('--password -' reads standard input)");
	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "username", username);
	json_put_str(&o, "password", password);
	json_obj_end(&o);
	path = registry_path(argv[0]);
	code = cli_call(c, "PUT", path, body.data, NULL);
	if (code == EXIT_DONE && !c->globals.json)
		printf("credentials for %s stored; they travel with each pull and stay on no node\n", argv[0]);
	explicit_bzero(body.data, body.len);
	buf_fini(&body);
	free(path);
	return code;
}

static void registry_row(struct table *t, const struct json *r)
{
	table_str(t, r, "server");
	table_str(t, r, "username");
}

static int ls(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { "SERVER", "USERNAME", NULL };

	return cli_list(c, argc, argv, "/api/registries", "items", columns, registry_row);
}

static int logout(struct cli *c, int argc, char **argv)
{
	char *path;
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	if (code >= 0)
		return code;
	path = registry_path(argv[0]);
	code = cli_call(c, "DELETE", path, NULL, NULL);
	if (code == EXIT_DONE && !c->globals.json)
		printf("credentials for %s forgotten\n", argv[0]);
	free(path);
	return code;
}

const struct command command_registry_login = { "registry login", "SERVER --username NAME --password -",
						"Keep credentials for a registry", login };
const struct command command_registry_ls = { "registry ls", "[options]", "List the registries with credentials", ls };
const struct command command_registry_logout = { "registry logout", "SERVER", "Forget a registry's credentials", logout };
