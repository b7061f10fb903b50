/* temps apps | ps | releases | rm: what runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

#define LAST_LINES 10 /* of a container that failed; all that are kept are in --json */

static bool is_noted(const struct json *a, const char *name)
{
	return json_type(json_get(a, name)) == JSON_OBJECT;
}

static void app_row(struct table *t, const struct json *a)
{
	const struct json *replicas = json_get(a, "replicas"), *domains = json_get(a, "domains");

	table_str(t, a, "name");
	table_cellf(t, "%s%s%s", json_cstr(json_get(a, "status"), ""), is_noted(a, "paused") ? ", paused" : "",
		    is_noted(a, "locked") ? ", locked" : "");
	table_int(t, a, "release");
	table_cellf(t, "%lld/%lld", (long long)json_int(json_get(replicas, "ready"), 0),
		    (long long)json_int(json_get(replicas, "want"), 0));
	table_str(t, a, "image");
	table_cellf(t, "%s%s", json_cstr(json_at(domains, 0), ""), json_len(domains) > 1 ? ", …" : "");
}

static int apps(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { "APP", "STATUS", ">RELEASE", ">READY", "IMAGE", "DOMAINS", NULL };

	return cli_list(c, argc, argv, "/api/apps", "items", columns, app_row);
}

/* GET below one app, named by the only argument. */
static int app_list(struct cli *c, int argc, char **argv, const char *tail, const char *const *columns,
		    void (*row)(struct table *t, const struct json *item))
{
	char *path;
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	if (code >= 0)
		return code;
	path = cli_app_path(argv[0], tail);
	code = cli_list_path(c, path, "items", columns, row);
	free(path);
	return code;
}

static void replica_row(struct table *t, const struct json *r)
{
	char image[256];

	table_str(t, r, "name");
	table_int(t, r, "release");
	table_str(t, r, "node");
	table_str(t, r, "state");
	table_str(t, r, "address");
	table_int(t, r, "weight");
	table_int(t, r, "restarts");
	table_int(t, r, "in_flight");
	table_age(t, r, "started_at");
	cli_image_text(json_get(r, "image"), false, image, sizeof(image));
	table_cell(t, image[0] ? image : json_cstr(json_get(r, "reason"), ""));
}

/* The end of <text>: its last <lines>. */
static const char *last_lines(const char *text, unsigned lines)
{
	const char *p = text + strlen(text);

	if (p > text && p[-1] == '\n')
		p--;
	for (; p > text; p--)
		if (p[-1] == '\n' && --lines == 0)
			break;
	return p;
}

/* What the containers that crashed lately, or do not run as they should, said last. */
static void print_last_words(const struct json *items)
{
	for (size_t i = 0; i < json_len(items); i++) {
		const struct json *r = json_at(items, i);
		const char *tail = json_cstr(json_get(r, "log_tail"), "");

		if (!*tail || (!json_int(json_get(r, "restarts"), 0) && !strcmp(json_cstr(json_get(r, "state"), ""), "ready")))
			continue;
		tail = last_lines(tail, LAST_LINES);
		printf("\n%s ended with exit code %lld%s; its last lines were:\n%s%s", json_cstr(json_get(r, "name"), "?"),
		       (long long)json_int(json_get(r, "exit_code"), 0),
		       json_bool(json_get(r, "oom_killed"), false) ? ", out of memory" : "", tail,
		       tail[strlen(tail) - 1] == '\n' ? "" : "\n");
	}
}

/* "by key ci, 3 min ago: the database moves" */
static void print_note(const char *app, const char *what, const struct json *note)
{
	const char *reason = json_cstr(json_get(note, "reason"), NULL);
	char age[32];

	if (json_type(note) != JSON_OBJECT)
		return;
	cli_age(json_get(note, "since"), age);
	printf("%s: %s by %s, %s%s%s\n", app, what, json_cstr(json_get(note, "by"), "somebody"), age, reason ? ": " : "",
	       reason ? reason : "");
}

/* Where the app stands, if anything is to be said: it is locked or paused, a release is on its way. */
static void print_standing(const char *app, const struct json *doc)
{
	const struct json *r = json_get(doc, "rollout");
	const char *cause = json_cstr(json_get(r, "cause"), "deploy"), *by = json_cstr(json_get(r, "by"), NULL);
	const char *waits = json_cstr(json_get(r, "waits_for"), NULL);
	char age[32];

	print_note(app, "locked", json_get(doc, "locked"));
	print_note(app, "paused, its requests wait,", json_get(doc, "paused"));
	if (json_type(r) != JSON_OBJECT)
		return;
	cli_age(json_get(r, "since"), age);
	printf("%s: release %lld is being rolled out (%s%s%s, %s): %s, %lld of %lld healthy%s%s\n", app,
	       (long long)json_int(json_get(r, "release"), 0), cause, by ? " by " : "", by ? by : "", age,
	       json_cstr(json_get(r, "phase"), "?"), (long long)json_int(json_get(r, "healthy"), 0),
	       (long long)json_int(json_get(r, "want"), 0), waits ? "; waits for " : "", waits ? waits : "");
}

/* What one app says of itself first, unless it is for a program, and its replicas: <*out> is the caller's. */
static int get_replicas(struct cli *c, const char *app, struct json **out)
{
	struct json *doc = NULL;
	char *path = cli_app_path(app, "");
	int code = c->globals.json ? EXIT_DONE : cli_call(c, "GET", path, NULL, &doc);

	free(path);
	if (code == EXIT_DONE && !c->globals.json)
		print_standing(app, doc);
	json_free(doc);
	if (code != EXIT_DONE)
		return code;
	path = cli_app_path(app, "/replicas");
	code = cli_call(c, "GET", path, NULL, out);
	free(path);
	return code;
}

static void print_replicas(struct cli *c, const struct json *doc)
{
	static const char *const columns[] = { "REPLICA", ">RELEASE", "NODE", "STATE", "ADDRESS", ">WEIGHT", ">RESTARTS", ">IN FLIGHT",
					       "STARTED", "REASON", NULL };

	if (c->globals.json) {
		cli_print_json(doc);
	} else {
		cli_print_list(c, doc, "items", columns, replica_row);
		print_last_words(json_get(doc, "items"));
	}
}

static void add_replicas(struct json_out *o, const struct json *doc, int64_t *total)
{
	const struct json *items = json_get(doc, "items");

	for (size_t i = 0; i < json_len(items); i++, ++*total)
		json_put_json(o, NULL, json_at(items, i));
}

/* As one list. An app that is removed meanwhile ends it: what is left would not be all. */
static int all_replicas(struct cli *c, struct json **out)
{
	struct json *apps = NULL;
	struct json_out o;
	struct buf b;
	struct err err;
	int64_t total = 0;
	int code = cli_call(c, "GET", "/api/apps", NULL, &apps);

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_arr(&o, "items");
	for (size_t i = 0; code == EXIT_DONE && i < json_len(json_get(apps, "items")); i++) {
		struct json *doc = NULL;

		code = get_replicas(c, json_cstr(json_get(json_at(json_get(apps, "items"), i), "name"), ""), &doc);
		add_replicas(&o, doc, &total);
		json_free(doc);
	}
	json_arr_end(&o);
	json_put_int(&o, "total", total);
	json_obj_end(&o);
	if (code == EXIT_DONE && json_parse(out, buf_slice(&b), &err))
		code = cli_fail("%s", err.text);
	json_free(apps);
	buf_fini(&b);
	return code;
}

static int ps(struct cli *c, int argc, char **argv)
{
	struct json *doc = NULL;
	int code = cli_parse(c, argc, argv, NULL, 0, 1);

	if (code >= 0)
		return code;
	code = argv[0] ? get_replicas(c, argv[0], &doc) : all_replicas(c, &doc);
	if (code == EXIT_DONE)
		print_replicas(c, doc);
	json_free(doc);
	return code;
}

static void release_row(struct table *t, const struct json *r)
{
	table_int(t, r, "release");
	table_str(t, r, "status");
	table_age(t, r, "created_at");
	table_int(t, r, "replicas");
	table_str(t, r, "image");
	table_str(t, r, "by");
	table_cell(t, json_cstr(json_get(r, "reason"), json_cstr(json_get(r, "cause"), "")));
}

static int releases(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { ">RELEASE", "STATUS", "CREATED", ">REPLICAS", "IMAGE", "BY", "REASON", NULL };

	return app_list(c, argc, argv, "/releases", columns, release_row);
}

static int rm(struct cli *c, int argc, char **argv)
{
	bool yes = false;
	const struct opt opts[] = {
		{ "yes", NULL, OPT_FLAG, &yes, "do not ask", 0, 0, false },
		{ 0 },
	};
	struct json *doc = NULL;
	char *path;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	if (!yes && !cli_confirm("Remove app %s, its routes and its containers?", argv[0]))
		return cli_fail("not removed: answer y, or give --yes");
	path = cli_app_path(argv[0], "");
	code = cli_call(c, "DELETE", path, NULL, &doc);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		printf("removing %s\n", argv[0]);
	json_free(doc);
	free(path);
	return code;
}

const struct command command_apps = { "apps", "[options]", "List the apps", apps };
const struct command command_ps = { "ps", "[APP]", "List replicas and where they run", ps };
const struct command command_releases = { "releases", "APP", "List an app's releases", releases };
const struct command command_rm = { "rm", "APP [--yes]", "Remove an app", rm };
