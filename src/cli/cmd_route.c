/* temps route ls | add | set | rm: what the front door serves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

/* The keys alone: values may be long, and of several lines. */
static void policy_cell(struct table *t, const struct json *policy)
{
	const struct json *value;
	struct slice key;
	void *it = NULL;
	struct buf text;

	buf_init(&text, 0);
	while (json_next(policy, &it, &key, &value))
		(void)buf_printf(&text, "%s%.*s", text.len ? " " : "", (int)key.n, key.p);
	table_cell(t, text.len ? text.data : "");
	buf_fini(&text);
}

static void route_row(struct table *t, const struct json *r)
{
	const struct json *targets = json_get(r, "targets"), *endpoints = json_get(r, "endpoints");
	const char *app = json_cstr(json_get(r, "app"), NULL);

	table_str(t, r, "host");
	table_str(t, r, "path");
	if (app)
		table_cellf(t, "app %s", app);
	else
		table_cellf(t, "%s%s", json_cstr(json_at(targets, 0), "-"), json_len(targets) > 1 ? ", …" : "");
	policy_cell(t, json_get(r, "policy"));
	table_cellf(t, "%lld/%lld", (long long)json_int(json_get(endpoints, "in"), 0),
		    (long long)json_int(json_get(endpoints, "total"), 0));
	table_int(t, r, "requests");
}

static int route_ls(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { "HOST", "PATH", "TO", "POLICY", ">ENDPOINTS", ">REQUESTS", NULL };

	return cli_list(c, argc, argv, "/api/routes", "items", columns, route_row);
}

/* Splits HOST[/PATH]; the host is the caller's to free(). */
static char *split_host(const char *arg, const char **path)
{
	const char *slash = strchr(arg, '/');

	*path = slash ? slash : "/";
	return slash ? xstrndup(arg, (size_t)(slash - arg)) : xstrdup(arg);
}

/* Adds a static route, or changes one: what is not given stays. */
static int route_write(struct cli *c, bool add, const char *arg, char *const *targets, const struct opt_list *policy,
		       const char *protocol)
{
	struct json *doc = NULL;
	struct json_out o;
	const char *path;
	struct buf body;
	char *host = split_host(arg, &path);
	int code;

	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "host", host);
	json_put_str(&o, "path", path);
	if (add || *targets) {
		json_arr(&o, "targets");
		for (; *targets; targets++)
			json_put_str(&o, NULL, *targets);
		json_arr_end(&o);
	}
	code = cli_put_policy(c, &o, policy, protocol);
	json_obj_end(&o);
	if (code < 0)
		code = cli_call(c, add ? "POST" : "PATCH", "/api/routes", body.data, &doc);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		printf("route %s%s %s\n", host, path, add ? "added" : "changed");
	json_free(doc);
	explicit_bzero(body.data, body.len);
	buf_fini(&body);
	free(host);
	return code;
}

static int route_add(struct cli *c, int argc, char **argv)
{
	struct opt_list policy = { 0 };
	const char *protocol = NULL;
	const struct opt opts[] = { OPT_PROTOCOL(&protocol), OPT_POLICY(&policy), { 0 } };
	int code = cli_parse(c, argc, argv, opts, 1, OPT_LIST_MAX);

	return code >= 0 ? code : route_write(c, true, argv[0], argv + 1, &policy, protocol);
}

static int route_set(struct cli *c, int argc, char **argv)
{
	struct opt_list policy = { 0 };
	const struct opt opts[] = { OPT_POLICY(&policy), { 0 } };
	int code = cli_parse(c, argc, argv, opts, 1, OPT_LIST_MAX);

	if (code >= 0)
		return code;
	if (!policy.n && !argv[1])
		return cli_usage(c, "nothing to change: give --policy KEY=VALUE, or where it leads");
	return route_write(c, false, argv[0], argv + 1, &policy, NULL);
}

static int route_rm(struct cli *c, int argc, char **argv)
{
	char *host, *host_esc, *path_esc, *url;
	const char *path;
	bool yes = false;
	const struct opt opts[] = {
		{ "yes", NULL, OPT_FLAG, &yes, "do not ask", 0, 0, false },
		{ 0 },
	};
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	if (!yes && !cli_confirm("Remove the route %s?", argv[0]))
		return cli_fail("not removed: answer y, or give --yes");
	host = split_host(argv[0], &path);
	host_esc = cli_escape(host);
	path_esc = cli_escape(path);
	url = xasprintf("/api/routes?host=%s&path=%s", host_esc, path_esc);
	code = cli_call(c, "DELETE", url, NULL, NULL);
	if (code == EXIT_DONE && !c->globals.json)
		printf("route %s%s removed\n", host, path);
	free(url);
	free(path_esc);
	free(host_esc);
	free(host);
	return code;
}

const struct command command_route_ls = { "route ls", "[options]", "List what the front door serves", route_ls };
const struct command command_route_add = { "route add", "HOST[/PATH] http://ADDRESS:PORT[,weight=N]… [--policy KEY=VALUE]…",
					   "Send a host to literal addresses, without a container", route_add };
const struct command command_route_set = { "route set", "HOST[/PATH] [http://ADDRESS:PORT[,weight=N]…] [--policy KEY=VALUE]…", "Change where a static route leads, or its policies",
					   route_set };
const struct command command_route_rm = { "route rm", "HOST[/PATH] [--yes]", "Remove a static route", route_rm };
