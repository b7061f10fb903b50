/* JSON in, with jansson kept behind this file. The emitter is in json_out.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* jansson and our header both name the types of values: inside this file its names get another
 * prefix. */
#define json_type jansson_type
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL JANSSON_REAL
#define JSON_TRUE JANSSON_TRUE
#define JSON_FALSE JANSSON_FALSE
#define JSON_NULL JANSSON_NULL
#include <jansson.h>
#undef json_type
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

#include "base/json.h"

static const json_t *in(const struct json *j)
{
	return (const json_t *)j;
}

static const struct json *out(const json_t *j)
{
	return (const struct json *)j;
}

/* Deepest nesting in <text>, counted without judging it: what is no JSON is refused afterwards. */
static unsigned text_depth(struct slice text)
{
	unsigned depth = 0, deepest = 0;
	bool quoted = false;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '[' || c == '{') {
			depth++;
			deepest = MAX(deepest, depth);
		} else if ((c == ']' || c == '}') && depth) {
			depth--;
		}
	}
	return deepest;
}

int json_parse(struct json **root, struct slice text, struct err *err)
{
	json_error_t why;
	json_t *j;
	char *quote;

	/* jansson lets one NUL at the end pass. */
	if (text.n && memchr(text.p, '\0', text.n))
		return err_say(err, -EINVAL, "a NUL byte");
	if (text_depth(text) > JSON_MAX_DEPTH)
		return err_say(err, -E2BIG, "nested deeper than %d", JSON_MAX_DEPTH);
	j = json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
		       &why);
	if (!j) {
		/* Its texts end in "near '<input>'", and input may be a secret. */
		quote = strstr(why.text, " near ");
		if (quote)
			*quote = '\0';
		return err_say(err, -EINVAL, "line %d column %d: %s", why.line, why.column,
			       why.text);
	}
	*root = (struct json *)j;
	return 0;
}

void json_free(struct json *j)
{
	json_decref((json_t *)j);
}

enum json_type json_type(const struct json *j)
{
	if (!j)
		return JSON_ABSENT;
	switch (json_typeof(in(j))) {
	case JANSSON_OBJECT: return JSON_OBJECT;
	case JANSSON_ARRAY: return JSON_ARRAY;
	case JANSSON_STRING: return JSON_STRING;
	case JANSSON_INTEGER: return JSON_INT;
	case JANSSON_REAL: return JSON_REAL;
	case JANSSON_TRUE:
	case JANSSON_FALSE: return JSON_BOOL;
	case JANSSON_NULL: break;
	}
	return JSON_NULL;
}

const struct json *json_get(const struct json *obj, const char *name)
{
	return out(json_object_get(in(obj), name));
}

size_t json_len(const struct json *array_or_object)
{
	if (json_type(array_or_object) == JSON_OBJECT)
		return json_object_size(in(array_or_object));
	return json_array_size(in(array_or_object));
}

const struct json *json_at(const struct json *array, size_t i)
{
	return out(json_array_get(in(array), i));
}

bool json_next(const struct json *obj, void **it, struct slice *name, const struct json **value)
{
	/* jansson's iterators want a mutable object, and do not change it. */
	json_t *j = (json_t *)(uintptr_t)in(obj);

	*it = *it ? json_object_iter_next(j, *it) : json_object_iter(j);
	if (!*it)
		return false;
	*name = slice_of(json_object_iter_key(*it), json_object_iter_key_len(*it));
	*value = out(json_object_iter_value(*it));
	return true;
}

struct slice json_str(const struct json *j, const char *def)
{
	if (json_type(j) != JSON_STRING)
		return slice_str(def);
	return slice_of(json_string_value(in(j)), json_string_length(in(j)));
}

const char *json_cstr(const struct json *j, const char *def)
{
	return json_type(j) == JSON_STRING ? json_string_value(in(j)) : def;
}

int64_t json_int(const struct json *j, int64_t def)
{
	return json_type(j) == JSON_INT ? json_integer_value(in(j)) : def;
}

double json_num(const struct json *j, double def)
{
	if (json_type(j) == JSON_INT)
		return (double)json_integer_value(in(j));
	return json_type(j) == JSON_REAL ? json_real_value(in(j)) : def;
}

bool json_bool(const struct json *j, bool def)
{
	return json_type(j) == JSON_BOOL ? json_typeof(in(j)) == JANSSON_TRUE : def;
}

static const char *type_name(const struct json *j)
{
	static const char *const names[] = {
		[JSON_ABSENT] = "nothing", [JSON_NULL] = "null",	[JSON_BOOL] = "a boolean",
		[JSON_INT] = "an integer", [JSON_REAL] = "a number",	[JSON_STRING] = "a string",
		[JSON_ARRAY] = "an array", [JSON_OBJECT] = "an object",
	};

	return names[json_type(j)];
}

/* The member, or NULL when it is absent or null. */
static const struct json *member(const struct json *obj, const char *name)
{
	const struct json *j = json_get(obj, name);

	return json_type(j) == JSON_NULL ? NULL : j;
}

int json_want_str(const struct json *obj, const char *name, size_t max, struct slice *value,
		  struct err *err)
{
	const struct json *j = member(obj, name);
	struct slice s;

	if (!j)
		return -ENOENT;
	if (json_type(j) != JSON_STRING)
		return err_say(err, -EINVAL, "member \"%s\": expected a string, got %s", name,
			       type_name(j));
	s = json_str(j, NULL);
	if (s.n > max)
		return err_say(err, -EINVAL, "member \"%s\": expected at most %zu bytes, got %zu",
			       name, max, s.n);
	*value = s;
	return 0;
}

int json_want_int(const struct json *obj, const char *name, int64_t min, int64_t max,
		  int64_t *value, struct err *err)
{
	const struct json *j = member(obj, name);
	int64_t v;

	if (!j)
		return -ENOENT;
	if (json_type(j) != JSON_INT)
		return err_say(err, -EINVAL,
			       "member \"%s\": expected an integer from %lld to %lld, got %s", name,
			       (long long)min, (long long)max, type_name(j));
	v = json_int(j, 0);
	if (v < min || v > max)
		return err_say(err, -EINVAL,
			       "member \"%s\": expected an integer from %lld to %lld, got %lld",
			       name, (long long)min, (long long)max, (long long)v);
	*value = v;
	return 0;
}

int json_want_real(const struct json *obj, const char *name, double min, double max, double *value,
		   struct err *err)
{
	const struct json *j = member(obj, name);
	double v;

	if (!j)
		return -ENOENT;
	if (json_type(j) != JSON_REAL && json_type(j) != JSON_INT)
		return err_say(err, -EINVAL,
			       "member \"%s\": expected a number from %g to %g, got %s", name, min,
			       max, type_name(j));
	v = json_num(j, 0);
	if (v < min || v > max)
		return err_say(err, -EINVAL,
			       "member \"%s\": expected a number from %g to %g, got %g", name, min,
			       max, v);
	*value = v;
	return 0;
}

int json_want_bool(const struct json *obj, const char *name, bool *value, struct err *err)
{
	const struct json *j = member(obj, name);

	if (!j)
		return -ENOENT;
	if (json_type(j) != JSON_BOOL)
		return err_say(err, -EINVAL, "member \"%s\": expected true or false, got %s", name,
			       type_name(j));
	*value = json_bool(j, false);
	return 0;
}

static int on_dumped(const char *p, size_t n, void *arg)
{
	return buf_append(arg, p, n);
}

int json_dump(const struct json *j, bool sorted, struct buf *to)
{
	size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | (sorted ? JSON_SORT_KEYS : 0);

	if (!j)
		return buf_append_str(to, "null");
	return json_dump_callback(in(j), on_dumped, to, flags) < 0 ? -EMSGSIZE : 0;
}
