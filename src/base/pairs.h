/* Small ordered collections of strings: lists, and lists of key and value. */
#ifndef TEMPS_BASE_PAIRS_H
#define TEMPS_BASE_PAIRS_H

#include "base/err.h"
#include "base/json.h"

#define PAIRS_VALUE_MAX 65536u /* bytes of one value that pairs_load() takes */

/* An ordered list of strings. Owned once the functions below filled it, else borrowed. */
struct strs {
	const char **items;
	size_t n;
};

/* A deep copy, to be released with strs_fini(); <dst> is overwritten. */
void strs_copy(struct strs *dst, const struct strs *src);
void strs_fini(struct strs *s);
bool strs_has(const struct strs *s, const char *text);
bool strs_eq(const struct strs *a, const struct strs *b);
void strs_put(const struct strs *s, struct json_out *o, const char *name);
/* <obj>'s member <name>, an array of at most <max> strings; absent or null gives the empty list.
 * <s> is overwritten, and the caller's to strs_fini() in either case. */
int strs_load(struct strs *s, const struct json *obj, const char *name, size_t max,
	      struct err *err) MUST_CHECK;

/* An ordered list of key and value. The same rule of ownership. */
struct pair {
	const char *key, *value;
};

struct pairs {
	struct pair *items;
	size_t n;
};

/* Appends copies. */
void pairs_add(struct pairs *p, struct slice key, struct slice value);
/* A deep copy, to be released with pairs_fini(); <dst> is overwritten. */
void pairs_copy(struct pairs *dst, const struct pairs *src);
void pairs_fini(struct pairs *p);
/* The value of the first such key; NULL: none. */
const char *pairs_get(const struct pairs *p, const char *key);
bool pairs_eq(const struct pairs *a, const struct pairs *b);
void pairs_put(const struct pairs *p, struct json_out *o, const char *name);
/* <obj>'s member <name>, an object of at most <max> strings (numbers and booleans become their
 * text); absent or null gives the empty list. <p> is overwritten, and the caller's to pairs_fini()
 * in either case. */
int pairs_load(struct pairs *p, const struct json *obj, const char *name, size_t max,
	       struct err *err) MUST_CHECK;

#endif
