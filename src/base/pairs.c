/* Lists of strings, and of keys with values. */
#include "base/pairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void strs_copy(struct strs *dst, const struct strs *src)
{
	dst->n = src->n;
	dst->items = src->n ? xcalloc(src->n, sizeof(*dst->items)) : NULL;
	for (size_t i = 0; i < src->n; i++)
		dst->items[i] = xstrdup(src->items[i]);
}

void strs_fini(struct strs *s)
{
	for (size_t i = 0; i < s->n; i++)
		free((char *)s->items[i]);
	free(s->items);
	*s = (struct strs){ 0 };
}

bool strs_has(const struct strs *s, const char *text)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->items[i], text) == 0)
			return true;
	}
	return false;
}

bool strs_eq(const struct strs *a, const struct strs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

void strs_put(const struct strs *s, struct json_out *o, const char *name)
{
	json_arr(o, name);
	for (size_t i = 0; i < s->n; i++)
		json_put_str(o, NULL, s->items[i]);
	json_arr_end(o);
}

int strs_load(struct strs *s, const struct json *obj, const char *name, size_t max, struct err *err)
{
	const struct json *list = json_get(obj, name);
	enum json_type type = json_type(list);
	size_t n = json_len(list);

	*s = (struct strs){ 0 };
	if (type == JSON_ABSENT || type == JSON_NULL)
		return 0;
	if (type != JSON_ARRAY || n > max)
		return err_say(err, -EINVAL,
			       "member \"%s\": expected a list of at most %zu strings", name, max);
	s->items = xcalloc(n + 1, sizeof(*s->items));
	for (size_t i = 0; i < n; i++) {
		const struct json *item = json_at(list, i);

		if (json_type(item) != JSON_STRING)
			return err_say(err, -EINVAL, "member \"%s\": item %zu is not a string",
				       name, i + 1);
		s->items[s->n++] = slice_dup(json_str(item, ""));
	}
	return 0;
}

void pairs_add(struct pairs *p, struct slice key, struct slice value)
{
	p->items = xrealloc(p->items, (p->n + 1) * sizeof(*p->items));
	p->items[p->n].key = slice_dup(key);
	p->items[p->n].value = slice_dup(value);
	p->n++;
}

void pairs_copy(struct pairs *dst, const struct pairs *src)
{
	dst->n = src->n;
	dst->items = src->n ? xcalloc(src->n, sizeof(*dst->items)) : NULL;
	for (size_t i = 0; i < src->n; i++) {
		dst->items[i].key = xstrdup(src->items[i].key);
		dst->items[i].value = xstrdup(src->items[i].value);
	}
}

void pairs_fini(struct pairs *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free((char *)p->items[i].key);
		free((char *)p->items[i].value);
	}
	free(p->items);
	*p = (struct pairs){ 0 };
}

const char *pairs_get(const struct pairs *p, const char *key)
{
	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->items[i].key, key) == 0)
			return p->items[i].value;
	}
	return NULL;
}

bool pairs_eq(const struct pairs *a, const struct pairs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->items[i].key, b->items[i].key) != 0 ||
		    strcmp(a->items[i].value, b->items[i].value) != 0)
			return false;
	}
	return true;
}

void pairs_put(const struct pairs *p, struct json_out *o, const char *name)
{
	json_obj(o, name);
	for (size_t i = 0; i < p->n; i++)
		json_put_str(o, p->items[i].key, p->items[i].value);
	json_obj_end(o);
}

/* The text of a string, number or boolean; NULL for anything else and for what is too long. */
static char *scalar_text(const struct json *v)
{
	enum json_type type = json_type(v);
	struct slice s = json_str(v, "");
	struct buf text;

	if (type == JSON_STRING)
		return s.n <= PAIRS_VALUE_MAX ? slice_dup(s) : NULL;
	if (type == JSON_NULL || type == JSON_ARRAY || type == JSON_OBJECT)
		return NULL;
	buf_init(&text, 0);
	json_dump(v, false, &text);
	return buf_steal(&text);
}

int pairs_load(struct pairs *p, const struct json *obj, const char *name, size_t max,
	       struct err *err)
{
	const struct json *map = json_get(obj, name), *value;
	enum json_type type = json_type(map);
	struct slice key;
	void *it = NULL;

	*p = (struct pairs){ 0 };
	if (type == JSON_ABSENT || type == JSON_NULL)
		return 0;
	if (type != JSON_OBJECT || json_len(map) > max)
		return err_say(err, -EINVAL,
			       "member \"%s\": expected an object of at most %zu members", name,
			       max);
	p->items = xcalloc(json_len(map) + 1, sizeof(*p->items));
	while (json_next(map, &it, &key, &value)) {
		char *text = key.n ? scalar_text(value) : NULL;

		if (!text)
			return err_say(
				err, -EINVAL,
				"member \"%s\": \"%.*s\" must be a name with a string of at most %u bytes",
				name, (int)MIN(key.n, 64u), key.p, PAIRS_VALUE_MAX);
		p->items[p->n].key = slice_dup(key);
		p->items[p->n++].value = text;
	}
	return 0;
}
