/* temps node drain | undrain | gc | failover, and temps rebalance: what moves replicas, or ends what nobody knows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/commands.h"

#define POLL_MS 500
#define GC_POLLS 120 /* a minute: a container has 10 s to end */

/* "/api/internal/nodes/<node><tail>", the caller's to free(). */
static char *node_path(const char *node, const char *tail)
{
	char *name = cli_escape(node);
	char *path = xasprintf("/api/internal/nodes/%s%s", name, tail);

	free(name);
	return path;
}

/* ---- drain ---- */

static void print_progress(const struct json *doc, char *last, size_t size)
{
	const struct json *waiting = json_get(doc, "waiting"), *first = json_at(waiting, 0);
	long long left = (long long)json_int(json_get(doc, "remaining_containers"), 0);
	char line[512];

	if (json_len(waiting))
		snprintf(line, sizeof(line), "%lld left; %s: %s", left,
			 json_cstr(json_get(first, "container_name"), "?"),
			 json_cstr(json_get(first, "reason"), "?"));
	else
		snprintf(line, sizeof(line), "%lld left", left);
	if (strcmp(line, last) != 0)
		fprintf(stderr, "%s\n", line);
	snprintf(last, size, "%s", line);
}

/* Nothing is left but what cannot move. */
static bool is_stuck(const struct json *doc)
{
	const struct json *waiting = json_get(doc, "waiting");

	for (size_t i = 0; i < json_len(waiting); i++)
		if (!json_bool(json_get(json_at(waiting, i), "bound"), false))
			return false;
	return json_len(waiting) && (int64_t)json_len(waiting) == json_int(json_get(doc, "remaining_containers"), 0);
}

/* Until it is drained, is not to be any more, or the time is over (0: never). */
static int wait_drained(struct cli *c, const char *node, uint64_t limit_ms)
{
	char *path = node_path(node, "/drain"), last[512] = "";
	int code = -1;

	for (uint64_t waited_ms = 0; code < 0; waited_ms += POLL_MS) {
		struct json *doc = NULL;
		const char *status;

		if (cli_call(c, "GET", path, NULL, &doc) != EXIT_DONE) {
			code = EXIT_FAILED;
			break;
		}
		status = json_cstr(json_get(doc, "status"), "");
		if (json_bool(json_get(doc, "drain_complete"), false)) {
			cli_print_answer(c, doc);
			code = EXIT_DONE;
		} else if (strcmp(status, "draining") != 0) {
			code = cli_fail("node %s is %s: the drain was ended", node, status);
		} else if (is_stuck(doc)) {
			print_progress(doc, last, sizeof(last));
			code = cli_fail("what is left on node %s has volumes there and stays: 'temps rm' an app to give its volumes up", node);
		} else if (limit_ms && waited_ms >= limit_ms) {
			print_progress(doc, last, sizeof(last));
			code = cli_fail("node %s is not drained yet; it goes on draining", node);
		} else {
			print_progress(doc, last, sizeof(last));
			cli_wait(c, POLL_MS);
		}
		json_free(doc);
	}
	free(path);
	return code;
}

static int node_drain(struct cli *c, int argc, char **argv)
{
	bool wait = false;
	uint64_t limit_ms = 0;
	const struct opt opts[] = {
		{ "wait", NULL, OPT_FLAG, &wait, "until it runs nothing any more", 0, 0, false },
		{ "timeout", "TIME", OPT_DURATION, &limit_ms, "with --wait: at most so long", 0, 0, false },
		{ 0 },
	};
	struct json *doc = NULL;
	unsigned status;
	struct err err;
	char *path;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	path = node_path(argv[0], "/drain");
	code = cli_try(c, "POST", path, NULL, &doc, &status, &err);
	free(path);
	/* It is draining already: then this waits with whoever began it. */
	if (code != EXIT_DONE && !(wait && status == 409))
		return cli_fail("%s", err.text);
	if (!wait)
		cli_print_answer(c, doc);
	json_free(doc);
	return wait ? wait_drained(c, argv[0], limit_ms) : EXIT_DONE;
}

static int node_undrain(struct cli *c, int argc, char **argv)
{
	char *path;
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	if (code >= 0)
		return code;
	path = node_path(argv[0], "/drain");
	code = cli_act(c, "DELETE", path, NULL);
	free(path);
	return code;
}

/* ---- gc ---- */

/* How many of <ids> are in quarantine still; -1: nobody can say. */
static long long count_left(struct cli *c, const char *path, const struct json *ids)
{
	struct json *doc = NULL;
	const struct json *list;
	long long left = 0;

	if (cli_call(c, "GET", path, NULL, &doc) != EXIT_DONE)
		return -1;
	list = json_get(doc, "containers");
	for (size_t i = 0; i < json_len(list); i++) {
		const char *id = json_cstr(json_get(json_at(list, i), "container_id"), "");

		for (size_t k = 0; k < json_len(ids); k++)
			left += strcmp(id, json_cstr(json_get(json_at(ids, k), "container_id"), "")) == 0;
	}
	json_free(doc);
	return left;
}

static int remove_unknown(struct cli *c, const char *node, const char *path, const struct json *list)
{
	char *gc = node_path(node, "/gc");
	struct json *doc = NULL;
	struct json_out o;
	struct buf body;
	long long left = 1;
	int code;

	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_arr(&o, "containers");
	for (size_t i = 0; i < json_len(list); i++)
		json_put_str(&o, NULL, json_cstr(json_get(json_at(list, i), "container_id"), ""));
	json_arr_end(&o);
	json_obj_end(&o);
	code = cli_call(c, "POST", gc, body.data, &doc);
	for (int i = 0; code == EXIT_DONE && i < GC_POLLS; i++) {
		left = count_left(c, path, list);
		if (left <= 0)
			break;
		cli_wait(c, POLL_MS);
	}
	if (code == EXIT_DONE && left)
		code = cli_fail("%lld are there still; 'temps events' says why", left);
	else if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		printf("%zu removed\n", json_len(list));
	json_free(doc);
	buf_fini(&body);
	free(gc);
	return code;
}

static int node_gc(struct cli *c, int argc, char **argv)
{
	bool yes = false;
	const struct opt opts[] = {
		{ "yes", NULL, OPT_FLAG, &yes, "do not ask", 0, 0, false },
		{ 0 },
	};
	const struct json *list;
	struct json *doc = NULL;
	char *path;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	path = node_path(argv[0], "/quarantine");
	code = cli_call(c, "GET", path, NULL, &doc);
	list = json_get(doc, "containers");
	if (code == EXIT_DONE && !json_len(list)) {
		cli_print_answer(c, doc);
	} else if (code == EXIT_DONE) {
		for (size_t i = 0; i < json_len(list); i++)
			fprintf(stderr, "%.12s  %s\n", json_cstr(json_get(json_at(list, i), "container_id"), ""),
				json_cstr(json_get(json_at(list, i), "container_name"), ""));
		if (!yes && !cli_confirm("Stop and remove these %zu containers on node %s?", json_len(list), argv[0]))
			code = cli_fail("nothing removed: answer y, or give --yes");
		else
			code = remove_unknown(c, argv[0], path, list);
	}
	json_free(doc);
	free(path);
	return code;
}

/* ---- failover ---- */

static int node_failover(struct cli *c, int argc, char **argv)
{
	int code = cli_parse(c, argc, argv, NULL, 0, 0);

	return code >= 0 ? code : cli_act(c, "POST", "/api/internal/nodes/failover", NULL);
}

/* ---- rebalance ---- */

static void move_row(struct table *t, const struct json *m)
{
	table_str(t, m, "app");
	table_int(t, m, "replica");
	table_str(t, m, "from");
	table_str(t, m, "to");
	table_str(t, m, "reason");
}

static int make_moves(struct cli *c, const struct json *moves)
{
	struct json_out o;
	struct buf body;
	int code;

	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_json(&o, "moves", moves);
	json_obj_end(&o);
	code = cli_act(c, "POST", "/api/rebalance", body.data);
	buf_fini(&body);
	return code;
}

static int rebalance(struct cli *c, int argc, char **argv)
{
	bool yes = false;
	const struct opt opts[] = {
		{ "yes", NULL, OPT_FLAG, &yes, "do not ask", 0, 0, false },
		{ 0 },
	};
	static const char *const columns[] = { "APP", ">REPLICA", "FROM", "TO", "WHY", NULL };
	const struct json *moves;
	struct json *doc = NULL;
	int code = cli_parse(c, argc, argv, opts, 0, 0);

	if (code >= 0)
		return code;
	code = cli_call(c, "GET", "/api/rebalance", NULL, &doc);
	moves = json_get(doc, "moves");
	if (code == EXIT_DONE && c->globals.json && (!yes || !json_len(moves))) {
		cli_print_json(doc);
	} else if (code == EXIT_DONE && !json_len(moves)) {
		puts("the nodes are in balance: nothing to move");
	} else if (code == EXIT_DONE) {
		if (!c->globals.json)
			cli_print_list(c, doc, "moves", columns, move_row);
		if (!yes && !cli_confirm("Move %zu replica%s?", json_len(moves), json_len(moves) == 1 ? "" : "s"))
			code = cli_fail("nothing moved: answer y, or give --yes");
		else
			code = make_moves(c, moves);
	}
	json_free(doc);
	return code;
}

const struct command command_node_drain = { "node drain", "NAME [--wait]", "Move everything away from a node", node_drain };
const struct command command_node_undrain = { "node undrain", "NAME", "Let a drained node run containers again", node_undrain };
const struct command command_node_gc = { "node gc", "NAME [--yes]", "Remove a node's containers that nobody knows", node_gc };
const struct command command_node_failover = { "node failover", "[options]", "Replace what offline nodes ran, mass failure or not", node_failover };
const struct command command_rebalance = { "rebalance", "[--yes]", "Spread replicas evenly over the nodes", rebalance };
