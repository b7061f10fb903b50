/* A YAML document as a tree whose every node knows its line and column. The plain part of YAML alone: no anchors, no tags, one
 * document. yaml.h of libyaml is included by tree.c alone. */
#ifndef TEMPS_CLI_TREE_H
#define TEMPS_CLI_TREE_H

#include "base/slice.h"

#define TREE_BYTES_MAX (1u << 20)

enum tree_kind { TREE_TEXT, TREE_LIST, TREE_MAP };

struct tree {
	enum tree_kind kind;
	unsigned line, column; /* from 1 */
	char *text;	       /* TREE_TEXT: terminated; of a map's keys, too */
	bool plain;	       /* TREE_TEXT without quotes: may be a number, or nothing */
	bool literal;	       /* TREE_TEXT in single quotes */
	struct tree **items;   /* TREE_LIST; TREE_MAP: a key, its value, a key, … */
	size_t n;
};

/* Where and what is wrong. */
struct tree_error {
	unsigned line, column; /* from 1 */
	char text[300];
};

/* 0 and the caller's tree in <*out>, to be released with tree_free(), NULL when the document is empty; or -EINVAL. */
int tree_parse(struct tree **out, struct slice text, struct tree_error *err) MUST_CHECK;
void tree_free(struct tree *y); /* NULL is fine */
/* "", "~" or "null" without quotes. */
bool tree_is_null(const struct tree *y);

#endif
