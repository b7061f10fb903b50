/* temps explain, and how plans look: where replicas go and why nowhere else. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/plan.h"

/* "812 = strategy 612 + affinity 200" */
static void points(struct table *t, const struct json *item)
{
	static const char *const names[] = { "strategy", "affinity", "image" };
	const struct json *parts = json_get(item, "parts");
	struct buf text;
	bool any = false;

	if (json_type(parts) != JSON_OBJECT) {
		table_cell(t, "");
		return;
	}
	buf_init(&text, 0);
	buf_printf(&text, "%lld", (long long)json_int(json_get(item, "score"), 0));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		long long n = json_int(json_get(parts, names[i]), 0);

		if (n)
			buf_printf(&text, "%s%s %lld", any ? ", " : " = ", names[i], n);
		any |= n != 0;
	}
	table_cell(t, text.data);
	buf_fini(&text);
}

static void print_nodes(const struct cli *c, const struct json *doc)
{
	static const char *const columns[] = { "NODE", ">REPLICAS", "POINTS FOR ONE MORE", "WHY NOT", NULL };
	const struct json *nodes = json_get(doc, "nodes");
	struct table *t = table_new(columns);

	for (size_t i = 0; i < json_len(nodes); i++) {
		const struct json *n = json_at(nodes, i);

		table_str(t, n, "node");
		table_int(t, n, "replicas");
		points(t, n);
		if (json_type(json_get(n, "why_not")) == JSON_STRING)
			table_str(t, n, "why_not");
		else
			table_cell(t, "the next one");
	}
	table_print(t, c);
}

void plan_print(const struct cli *c, const struct json *plan)
{
	static const char *const starts[] = { "START ON", "POINTS", "WHY", NULL };
	static const char *const stops[] = { "STOP", ">RELEASE", "NODE", "WHEN", NULL };
	const struct json *list = json_get(plan, "start");
	struct table *t;

	if (json_bool(json_get(plan, "unchanged"), false)) {
		printf("%s: release %lld runs this already; no container would be touched\n", json_cstr(json_get(plan, "app"), ""),
		       (long long)json_int(json_get(plan, "release"), 0));
		return;
	}
	printf("%s, release %lld, %s: %zu would start, %zu would stop\n", json_cstr(json_get(plan, "app"), ""),
	       (long long)json_int(json_get(plan, "release"), 0), json_cstr(json_get(plan, "strategy"), ""), json_len(list),
	       json_len(json_get(plan, "stop")));
	if (json_len(list)) {
		putchar('\n');
		t = table_new(starts);
		for (size_t i = 0; i < json_len(list); i++) {
			table_str(t, json_at(list, i), "node");
			points(t, json_at(list, i));
			table_str(t, json_at(list, i), "reason");
		}
		table_print(t, c);
	}
	list = json_get(plan, "stop");
	if (json_len(list)) {
		putchar('\n');
		t = table_new(stops);
		for (size_t i = 0; i < json_len(list); i++) {
			table_str(t, json_at(list, i), "name");
			table_int(t, json_at(list, i), "release");
			table_str(t, json_at(list, i), "node");
			table_str(t, json_at(list, i), "reason");
		}
		table_print(t, c);
	}
	putchar('\n');
	print_nodes(c, plan);
}

/* "fits", "better on worker-2", "too little memory: …" */
static void now_cell(struct table *t, const struct json *now)
{
	const char *better = json_cstr(json_get(now, "better"), NULL);

	if (!json_bool(json_get(now, "fits"), false))
		table_cellf(t, "would not be put there: %s", json_cstr(json_get(now, "why_not"), ""));
	else if (better)
		table_cellf(t, "%s would be better", better);
	else
		table_cell(t, "would be put there again");
}

static void print_explanation(const struct cli *c, const struct json *doc)
{
	static const char *const columns[] = { "REPLICA", "NODE", ">POINTS", "WHY", "NOW", "POINTS NOW", NULL };
	const struct json *replicas = json_get(doc, "replicas");
	struct table *t = table_new(columns);

	printf("%s, release %lld, %s: %zu of %lld replicas placed\n\n", json_cstr(json_get(doc, "app"), ""),
	       (long long)json_int(json_get(doc, "release"), 0), json_cstr(json_get(doc, "strategy"), ""), json_len(replicas),
	       (long long)json_int(json_get(doc, "want"), 0));
	for (size_t i = 0; i < json_len(replicas); i++) {
		const struct json *r = json_at(replicas, i);

		table_str(t, r, "name");
		table_str(t, r, "node");
		table_int(t, r, "score");
		table_str(t, r, "reason");
		now_cell(t, json_get(r, "now"));
		points(t, json_get(r, "now"));
	}
	table_print(t, c);
	putchar('\n');
	print_nodes(c, doc);
}

static int explain(struct cli *c, int argc, char **argv)
{
	struct json *doc = NULL;
	char *esc, *path;
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	if (code >= 0)
		return code;
	esc = cli_escape(argv[0]);
	path = xasprintf("/api/apps/%s/explain", esc);
	code = cli_call(c, "GET", path, NULL, &doc);
	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		print_explanation(c, doc);
	json_free(doc);
	free(path);
	free(esc);
	return code;
}

const struct command command_explain = { "explain", "APP", "Show why an app's replicas run where they do", explain };
