/* Both specifications as lists of member and text, which are then compared. */
#include "control/spec_diff.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/policy.h"

/* Members that the API calls otherwise than the record, in another unit if <divisor> is not 0. */
static const struct {
	const char *record, *api;
	double divisor;
} names[] = {
	{ "constraints", "labels", 0 },
	{ "cpu_millis", "cpus", 1000 },
	{ "health_limit_ms", "health_timeout_s", 1000 },
};

static void add_list(struct pairs *p, struct slice member, const struct json *list)
{
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < json_len(list); i++) {
		if (i)
			buf_append_str(&text, ", ");
		buf_append_slice(&text, json_str(json_at(list, i), "?"));
	}
	if (text.len)
		pairs_add(p, member, buf_slice(&text));
	buf_fini(&text);
}

static void add_value(struct pairs *p, struct slice member, const struct json *v, double divisor);

static void add_object(struct pairs *p, struct slice member, const struct json *object)
{
	const struct json *value;
	struct slice key;
	void *it = NULL;

	while (json_next(object, &it, &key, &value)) {
		char *name = xasprintf("%.*s.%.*s", SLICE_ARG(member), SLICE_ARG(key));

		if (json_type(value) == JSON_STRING)
			pairs_add(p, slice_str(name), json_str(value, ""));
		else
			add_value(p, slice_str(name), value, 0);
		free(name);
	}
}

/* What is nothing has its default: it is left out. */
static void add_value(struct pairs *p, struct slice member, const struct json *v, double divisor)
{
	char text[32];

	switch (json_type(v)) {
	case JSON_ARRAY: add_list(p, member, v); break;
	case JSON_OBJECT: add_object(p, member, v); break;
	case JSON_STRING:
		if (json_str(v, "").n)
			pairs_add(p, member, json_str(v, ""));
		break;
	case JSON_BOOL:
		if (json_bool(v, false))
			pairs_add(p, member, SLICE("true"));
		break;
	case JSON_INT:
	case JSON_REAL:
		snprintf(text, sizeof(text), "%.15g", json_num(v, 0) / (divisor > 0 ? divisor : 1));
		if (json_num(v, 0) > 0)
			pairs_add(p, member, slice_str(text));
		break;
	default: break;
	}
}

/* By way of the record, so that no member is forgotten. */
static void flatten(const struct app_spec *s, struct pairs *p)
{
	const struct json *value;
	struct json *doc = NULL;
	struct json_out o;
	struct slice key;
	struct buf text;
	void *it = NULL;

	*p = (struct pairs){ 0 };
	if (!s)
		return;
	buf_init(&text, 0);
	json_out_init(&o, &text);
	json_obj(&o, NULL);
	spec_put(s, &o);
	json_obj_end(&o);
	if (json_parse(&doc, buf_slice(&text), NULL))
		doc = NULL;
	while (doc && json_next(doc, &it, &key, &value)) {
		struct slice member = key;
		double divisor = 0;

		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			if (!slice_eq(key, slice_str(names[i].record)))
				continue;
			member = slice_str(names[i].api);
			divisor = names[i].divisor;
		}
		add_value(p, member, value, divisor);
	}
	json_free(doc);
	buf_fini(&text);
}

static bool is_hidden(const char *member)
{
	struct slice s = slice_str(member), policy = SLICE("policy.");

	return slice_starts(s, SLICE("secrets.")) ||
	       (slice_starts(s, policy) && policy_is_secret(member + policy.n));
}

/* What runs is listed by name only: it may be asked by who may read and no more. */
static bool is_plain(const char *member)
{
	return !slice_starts(slice_str(member), SLICE("env."));
}

static void put_change(struct json_out *o, const char *member, const char *from, const char *to)
{
	bool hidden = is_hidden(member);

	json_obj(o, NULL);
	json_put_str(o, "member", member);
	json_put_str(o, "change", !from ? "added" : !to ? "removed" : "changed");
	json_put_str(o, "from", hidden || !is_plain(member) ? NULL : from);
	json_put_str(o, "to", hidden ? NULL : to);
	json_obj_end(o);
}

size_t spec_diff_put(const struct app_spec *from, const struct app_spec *to, struct json_out *o)
{
	struct pairs a, b;
	size_t n = 0;

	flatten(from, &a);
	flatten(to, &b);
	json_arr(o, "changes");
	for (size_t i = 0; i < b.n; i++) {
		const char *was = pairs_get(&a, b.items[i].key);

		if (was && strcmp(was, b.items[i].value) == 0)
			continue;
		put_change(o, b.items[i].key, was, b.items[i].value);
		n++;
	}
	for (size_t i = 0; i < a.n; i++) {
		if (pairs_get(&b, a.items[i].key))
			continue;
		put_change(o, a.items[i].key, a.items[i].value, NULL);
		n++;
	}
	json_arr_end(o);
	pairs_fini(&a);
	pairs_fini(&b);
	return n;
}
