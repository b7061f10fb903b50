/* temps node ls | show | rm; what else is done with nodes is in cmd_drain.c. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"

static void add_labels(struct table *t, const struct json *labels)
{
	struct buf b;
	struct slice name;
	const struct json *value;
	void *it = NULL;

	buf_init(&b, 0);
	while (json_next(labels, &it, &name, &value))
		buf_printf(&b, "%s%.*s=%s", b.len ? "," : "", SLICE_ARG(name), json_cstr(value, ""));
	table_cell(t, b.data);
	buf_fini(&b);
}

static void node_row(struct table *t, const struct json *n)
{
	table_int(t, n, "id");
	table_str(t, n, "name");
	table_str(t, n, "status");
	table_str(t, n, "health");
	table_str(t, n, "private_address");
	table_int(t, n, "containers");
	table_age(t, n, "last_heartbeat");
	add_labels(t, json_get(n, "labels"));
}

static int node_ls(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { ">ID", "NAME", "STATUS", "HEALTH", "ADDRESS", ">CONTAINERS", "LAST HEARTBEAT",
					       "LABELS", NULL };

	return cli_list(c, argc, argv, "/api/internal/nodes?all=1", "nodes", columns, node_row);
}

static void container_row(struct table *t, const struct json *k)
{
	table_cellf(t, "%.12s", json_cstr(json_get(k, "container_id"), ""));
	table_str(t, k, "container_name");
	table_str(t, k, "image_name");
	table_str(t, k, "status");
}

static void print_node(const struct json *n)
{
	static const char *const rows[] = { "name", "status", "health", "health_reason", "address", "private_address", "role",
					    "architecture", "version", "created_at", "last_heartbeat" };
	const struct json *cap = json_get(n, "capacity");
	char used[32], total[32];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (json_type(json_get(n, rows[i])) == JSON_STRING)
			printf("%-16s %s\n", rows[i], json_cstr(json_get(n, rows[i]), ""));
	if (json_type(json_get(cap, "memory_total_bytes")) == JSON_INT) {
		printf("%-16s %.1f %%\n", "cpu", json_num(json_get(cap, "cpu_percent"), 0));
		text_size((uint64_t)json_int(json_get(cap, "memory_used_bytes"), 0), used);
		text_size((uint64_t)json_int(json_get(cap, "memory_total_bytes"), 0), total);
		printf("%-16s %s of %s\n", "memory", used, total);
		text_size((uint64_t)json_int(json_get(cap, "disk_used_bytes"), 0), used);
		text_size((uint64_t)json_int(json_get(cap, "disk_total_bytes"), 0), total);
		printf("%-16s %s of %s\n", "disk", used, total);
	}
}

static void print_resources(const struct json *n)
{
	const struct json *has = json_get(n, "resources"), *sum = json_get(n, "promised");
	char memory[32], disk[32];

	text_size((uint64_t)json_int(json_get(sum, "memory_bytes"), 0), memory);
	text_size((uint64_t)json_int(json_get(sum, "disk_bytes"), 0), disk);
	printf("%-16s %lld cores, %lld GiB memory, %lld GiB disk, %lld GPUs\n", "resources",
	       (long long)json_int(json_get(has, "cpu_cores"), 0),
	       (long long)json_int(json_get(has, "memory_gb"), 0),
	       (long long)json_int(json_get(has, "disk_gb"), 0),
	       (long long)json_int(json_get(has, "gpu_count"), 0));
	printf("%-16s %g cores, %s memory, %s disk, %lld GPUs to %lld replicas\n", "promised",
	       json_num(json_get(sum, "cpus"), 0), memory, disk, (long long)json_int(json_get(sum, "gpus"), 0),
	       (long long)json_int(json_get(sum, "replicas"), 0));
}

static void print_labels(const struct json *labels)
{
	const struct json *value;
	struct slice name;
	void *it = NULL;

	if (json_len(labels))
		printf("%-16s", "labels");
	while (json_next(labels, &it, &name, &value))
		printf(" %.*s=%s", SLICE_ARG(name), json_cstr(value, ""));
	if (json_len(labels))
		putchar('\n');
}

static void unknown_row(struct table *t, const struct json *k)
{
	table_cellf(t, "%.12s", json_cstr(json_get(k, "container_id"), ""));
	table_str(t, k, "container_name");
	table_str(t, k, "status");
}

static int show_unknown(struct cli *c, const struct json *node, const char *path)
{
	static const char *const columns[] = { "NOT KNOWN HERE", "NAME", "STATUS", NULL };
	char *quarantine;
	int code;

	if (!json_int(json_get(node, "quarantined"), 0))
		return EXIT_DONE;
	putchar('\n');
	quarantine = xasprintf("%s/quarantine", path);
	code = cli_list_path(c, quarantine, "containers", columns, unknown_row);
	free(quarantine);
	return code;
}

static int node_show(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { "CONTAINER", "NAME", "IMAGE", "STATUS", NULL };
	struct json *node = NULL;
	char *name, *path, *containers;
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	if (code >= 0)
		return code;
	name = cli_escape(argv[0]);
	path = xasprintf("/api/internal/nodes/%s", name);
	containers = xasprintf("%s/containers", path);
	code = cli_call(c, "GET", path, NULL, &node);
	if (code == EXIT_DONE && c->globals.json) {
		cli_print_json(node);
	} else if (code == EXIT_DONE) {
		print_node(node);
		print_labels(json_get(node, "labels"));
		print_resources(node);
		putchar('\n');
		code = cli_list_path(c, containers, "containers", columns, container_row);
		if (code == EXIT_DONE)
			code = show_unknown(c, node, path);
	}
	json_free(node);
	free(containers);
	free(path);
	free(name);
	return code;
}

static int node_rm(struct cli *c, int argc, char **argv)
{
	bool yes = false, force = false;
	const struct opt opts[] = {
		{ "yes", NULL, OPT_FLAG, &yes, "do not ask", 0, 0, false },
		{ "force", NULL, OPT_FLAG, &force, "a node that does not answer, with all it ran", 0, 0, false },
		{ 0 },
	};
	struct json *doc = NULL;
	char *name, *path;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	if (!yes && !cli_confirm("Remove node %s%s from the cluster and revoke its token?", argv[0],
				 force ? ", with all it ran," : ""))
		return cli_fail("not removed: answer y, or give --yes");
	name = cli_escape(argv[0]);
	path = xasprintf("/api/internal/nodes/%s%s", name, force ? "?force=1" : "");
	code = cli_call(c, "DELETE", path, NULL, &doc);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		printf("node %s removed\n", argv[0]);
	json_free(doc);
	free(path);
	free(name);
	return code;
}

const struct command command_node_ls = { "node ls", "[options]", "List the nodes", node_ls };
const struct command command_node_show = { "node show", "NAME", "Show a node and its containers", node_show };
const struct command command_node_rm = { "node rm", "NAME [--force] [--yes]", "Remove a node from the cluster", node_rm };
