/* temps token … and temps api-key …: who may join, who may call the API. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"

/* "k=v,k=v" as a JSON object member; -1 to go on, else the exit code. */
static int put_labels(const struct cli *c, struct json_out *o, const char *labels)
{
	struct slice rest = slice_str(labels);

	json_obj(o, "labels");
	while (rest.n) {
		struct slice pair = slice_split(rest, ',', &rest), value;
		struct slice key = slice_split(pair, '=', &value);
		char name[128];

		if (!value.p || !key.n || slice_copy(key, name, sizeof(name)))
			return cli_usage(c, "--labels: '%.*s' is not KEY=VALUE", SLICE_ARG(pair));
		json_put_slice(o, name, value);
	}
	json_obj_end(o);
	return -1;
}

static int token_create(struct cli *c, int argc, char **argv)
{
	const char *name = NULL, *labels = NULL;
	uint64_t ttl_ms = 0;
	bool once = false;
	const struct opt opts[] = {
		{ "ttl", "TIME", OPT_DURATION, &ttl_ms, "valid this long (1h)", 0, 0, false },
		{ "once", NULL, OPT_FLAG, &once, "good for one node only", 0, 0, false },
		{ "name", "NAME", OPT_TEXT, &name, "good for the node of this name only", 0, 0, false },
		{ "labels", "K=V,…", OPT_TEXT, &labels, "labels that the node will have", 0, 0, false },
		{ 0 },
	};
	struct json *doc = NULL;
	struct json_out o;
	struct buf body;
	int code = cli_parse(c, argc, argv, opts, 0, 0);

	if (code >= 0)
		return code;
	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	if (ttl_ms)
		json_put_int(&o, "ttl_s", (int64_t)(ttl_ms / 1000));
	json_put_bool(&o, "once", once);
	if (name)
		json_put_str(&o, "name", name);
	if (labels)
		code = put_labels(c, &o, labels);
	json_obj_end(&o);
	if (code < 0)
		code = cli_call(c, "POST", "/api/join-tokens", body.data, &doc);
	buf_fini(&body);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		printf("token    %s\nexpires  %s\n\nOn the worker:\n\n  %s\n", json_cstr(json_get(doc, "token"), ""),
		       json_cstr(json_get(doc, "expires_at"), "never"), json_cstr(json_get(doc, "command"), ""));
	json_free(doc);
	return code;
}

static void token_row(struct table *t, const struct json *k)
{
	table_int(t, k, "id");
	table_age(t, k, "created_at");
	table_str(t, k, "expires_at");
	table_cell(t, json_bool(json_get(k, "once"), false) ? "one" : "many");
	table_int(t, k, "used");
	table_str(t, k, "name");
}

static int token_ls(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { ">ID", "CREATED", "EXPIRES", "USES", ">USED", "FOR NODE", NULL };

	return cli_list(c, argc, argv, "/api/join-tokens", "items", columns, token_row);
}

static int key_create(struct cli *c, int argc, char **argv)
{
	const char *scope = "admin";
	const struct opt opts[] = {
		{ "scope", "SCOPE", OPT_TEXT, &scope, "read, write or admin (admin)", 0, 0, false },
		{ 0 },
	};
	struct json *doc = NULL;
	struct json_out o;
	struct buf body;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "name", argv[0]);
	json_put_str(&o, "scope", scope);
	json_obj_end(&o);
	code = cli_call(c, "POST", "/api/api-keys", body.data, &doc);
	buf_fini(&body);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		printf("%s\n", json_cstr(json_get(doc, "key"), ""));
	json_free(doc);
	return code;
}

static void key_row(struct table *t, const struct json *k)
{
	table_int(t, k, "id");
	table_str(t, k, "name");
	table_str(t, k, "scope");
	table_age(t, k, "created_at");
}

static int key_ls(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { ">ID", "NAME", "SCOPE", "CREATED", NULL };

	return cli_list(c, argc, argv, "/api/api-keys", "items", columns, key_row);
}

/* Both kinds are revoked by id. */
static int revoke(struct cli *c, int argc, char **argv, const char *collection)
{
	char *id, *path;
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	if (code >= 0)
		return code;
	id = cli_escape(argv[0]);
	path = xasprintf("%s/%s", collection, id);
	code = cli_call(c, "DELETE", path, NULL, NULL);
	if (code == EXIT_DONE && !c->globals.json)
		puts("revoked");
	free(path);
	free(id);
	return code;
}

static int token_revoke(struct cli *c, int argc, char **argv)
{
	return revoke(c, argc, argv, "/api/join-tokens");
}

static int key_revoke(struct cli *c, int argc, char **argv)
{
	return revoke(c, argc, argv, "/api/api-keys");
}

const struct command command_token_create = { "token create", "[options]", "Make a token that lets a node join", token_create };
const struct command command_token_ls = { "token ls", "[options]", "List the join tokens", token_ls };
const struct command command_token_revoke = { "token revoke", "ID", "Revoke a join token", token_revoke };
const struct command command_key_create = { "api-key create", "NAME [--scope SCOPE]", "Make a key for the API", key_create };
const struct command command_key_ls = { "api-key ls", "[options]", "List the API keys", key_ls };
const struct command command_key_revoke = { "api-key revoke", "ID", "Revoke an API key", key_revoke };
