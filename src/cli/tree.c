/* YAML by libyaml's events. */
#include "cli/tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

#define DEPTH_MAX 8u
#define NODES_MAX 20000u
#define KEYS_MAX 1000u /* of one map */

struct reader {
	yaml_parser_t parser;
	struct tree_error *err;
	uint32_t nodes;
};

static int fail(struct reader *r, unsigned line, unsigned column, const char *fmt, ...) PRINTF_LIKE(4, 5);

static int fail(struct reader *r, unsigned line, unsigned column, const char *fmt, ...)
{
	va_list ap;

	r->err->line = line;
	r->err->column = column;
	va_start(ap, fmt);
	vsnprintf(r->err->text, sizeof(r->err->text), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int fail_at(struct reader *r, yaml_mark_t at, const char *why)
{
	return fail(r, (unsigned)at.line + 1, (unsigned)at.column + 1, "%s", why);
}

static int next(struct reader *r, yaml_event_t *e)
{
	const yaml_parser_t *p = &r->parser;

	if (yaml_parser_parse(&r->parser, e))
		return 0;
	return fail_at(r, p->error == YAML_READER_ERROR ? p->mark : p->problem_mark,
		       p->problem ? p->problem : "not YAML");
}

void tree_free(struct tree *y)
{
	if (!y)
		return;
	for (size_t i = 0; i < y->n; i++)
		tree_free(y->items[i]);
	free(y->items);
	if (y->text)
		explicit_bzero(y->text, strlen(y->text));
	free(y->text);
	free(y);
}

static struct tree *node_new(enum tree_kind kind, yaml_mark_t at)
{
	struct tree *y = xcalloc(1, sizeof(*y));

	y->kind = kind;
	y->line = (unsigned)at.line + 1;
	y->column = (unsigned)at.column + 1;
	return y;
}

static int read_node(struct reader *r, const yaml_event_t *e, unsigned depth, struct tree **out);

/* A key that is there twice is two people's, or a mistake. */
static int check_key(struct reader *r, const struct tree *map, const struct tree *key)
{
	if (key->kind != TREE_TEXT)
		return fail(r, key->line, key->column, "a key is expected to be a text");
	if (map->n / 2 >= KEYS_MAX)
		return fail(r, key->line, key->column, "more than %u keys", KEYS_MAX);
	for (size_t i = 0; i + 1 < map->n; i += 2) {
		if (strcmp(map->items[i]->text, key->text) == 0)
			return fail(r, key->line, key->column, "\"%.100s\" is there twice: also in line %u",
				    key->text, map->items[i]->line);
	}
	return 0;
}

/* The nodes up to the event of type <end>. */
static int read_items(struct reader *r, struct tree *y, yaml_event_type_t end, unsigned depth)
{
	for (;;) {
		struct tree *item = NULL;
		yaml_event_t e;
		int rc = next(r, &e);

		if (rc)
			return rc;
		if (e.type == end) {
			yaml_event_delete(&e);
			return 0;
		}
		rc = read_node(r, &e, depth + 1, &item);
		yaml_event_delete(&e);
		if (!rc && y->kind == TREE_MAP && y->n % 2 == 0)
			rc = check_key(r, y, item);
		if (item) {
			y->items = xrealloc(y->items, (y->n + 1) * sizeof(struct tree *));
			y->items[y->n++] = item;
		}
		if (rc)
			return rc;
	}
}

static int read_scalar(struct reader *r, const yaml_event_t *e, struct tree **out)
{
	struct slice s = slice_of(e->data.scalar.value, e->data.scalar.length);
	struct tree *y;

	if (e->data.scalar.anchor)
		return fail_at(r, e->start_mark, "anchors are not used here");
	if (e->data.scalar.tag)
		return fail_at(r, e->start_mark, "tags are not used here");
	if (memchr(s.p, '\0', s.n))
		return fail_at(r, e->start_mark, "a text cannot have a NUL");
	y = node_new(TREE_TEXT, e->start_mark);
	y->text = slice_dup(s);
	y->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	y->literal = e->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE;
	*out = y;
	return 0;
}

static int read_node(struct reader *r, const yaml_event_t *e, unsigned depth, struct tree **out)
{
	if (++r->nodes > NODES_MAX)
		return fail_at(r, e->start_mark, "too much for one file");
	if (depth > DEPTH_MAX)
		return fail_at(r, e->start_mark, "nested too deeply");
	switch (e->type) {
	case YAML_SCALAR_EVENT: return read_scalar(r, e, out);
	case YAML_SEQUENCE_START_EVENT:
		if (e->data.sequence_start.anchor || e->data.sequence_start.tag)
			return fail_at(r, e->start_mark, "anchors and tags are not used here");
		*out = node_new(TREE_LIST, e->start_mark);
		return read_items(r, *out, YAML_SEQUENCE_END_EVENT, depth);
	case YAML_MAPPING_START_EVENT:
		if (e->data.mapping_start.anchor || e->data.mapping_start.tag)
			return fail_at(r, e->start_mark, "anchors and tags are not used here");
		*out = node_new(TREE_MAP, e->start_mark);
		return read_items(r, *out, YAML_MAPPING_END_EVENT, depth);
	case YAML_ALIAS_EVENT: return fail_at(r, e->start_mark, "aliases are not used here");
	default: return fail_at(r, e->start_mark, "expected a value");
	}
}

/* The document's root between its start and its end, and no second document. */
static int read_stream(struct reader *r, struct tree **out)
{
	bool done = false;

	while (!done) {
		yaml_event_t e;
		int rc = next(r, &e);

		if (rc)
			return rc;
		if (e.type == YAML_STREAM_END_EVENT)
			done = true;
		else if (e.type == YAML_DOCUMENT_START_EVENT && *out)
			rc = fail_at(r, e.start_mark, "a second document: one is expected");
		else if (e.type != YAML_STREAM_START_EVENT && e.type != YAML_DOCUMENT_START_EVENT &&
			 e.type != YAML_DOCUMENT_END_EVENT)
			rc = read_node(r, &e, 0, out);
		yaml_event_delete(&e);
		if (rc)
			return rc;
	}
	return 0;
}

int tree_parse(struct tree **out, struct slice text, struct tree_error *err)
{
	struct reader r = { .err = err };
	struct tree *root = NULL;
	int rc;

	*out = NULL;
	if (text.n > TREE_BYTES_MAX)
		return fail(&r, 1, 1, "larger than %u bytes", TREE_BYTES_MAX);
	if (!yaml_parser_initialize(&r.parser))
		return fail(&r, 1, 1, "out of memory");
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
	rc = read_stream(&r, &root);
	yaml_parser_delete(&r.parser);
	if (rc)
		tree_free(root);
	else
		*out = root;
	return rc;
}

bool tree_is_null(const struct tree *y)
{
	return y->kind == TREE_TEXT && y->plain &&
	       (!*y->text || strcmp(y->text, "~") == 0 || strcmp(y->text, "null") == 0 ||
		strcmp(y->text, "Null") == 0 || strcmp(y->text, "NULL") == 0);
}
