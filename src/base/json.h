/* JSON in (jansson behind an opaque type: strict, no duplicate keys, no NUL in strings) and JSON
 * out (a streaming emitter that writes into a buf and cannot produce an invalid document).
 * jansson.h is included by json.c alone. */
#ifndef TEMPS_BASE_JSON_H
#define TEMPS_BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

struct json; /* one value of a parsed document */

#define JSON_MAX_DEPTH 32

/* Parses one document. On success <*out> is the caller's, to be released with json_free(). -EINVAL
 * with "line 3 column 7: …" in <err>; -E2BIG when nested deeper than JSON_MAX_DEPTH. */
int json_parse(struct json **out, struct slice text, struct err *err) MUST_CHECK;
void json_free(struct json *j); /* the root only; NULL is fine */

/* Everything below borrows from the document, and takes NULL for "no such value" so that lookups
 * can be chained. */
enum json_type {
	JSON_ABSENT,
	JSON_NULL,
	JSON_BOOL,
	JSON_INT,
	JSON_REAL,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};
enum json_type json_type(const struct json *j);
const struct json *json_get(const struct json *obj, const char *name);
size_t json_len(const struct json *array_or_object);
const struct json *json_at(const struct json *array, size_t i);
/* Members in document order: start with *it = NULL; false at the end. */
bool json_next(const struct json *obj, void **it, struct slice *name, const struct json **value);
/* The value when it has that type, else <def>. */
struct slice json_str(const struct json *j, const char *def);
const char *json_cstr(const struct json *j, const char *def);
int64_t json_int(const struct json *j, int64_t def);
/* A real or an integer. (Not json_real: jansson exports that name.) */
double json_num(const struct json *j, double def);
bool json_bool(const struct json *j, bool def);

/* Typed members for input from a socket or a file. Each: 0 when present and of the type and range;
 * -ENOENT when absent or null (no err text; <*out> left alone); -EINVAL with "member \"port\":
 * expected an integer from 1 to 65535, got …" in <err>. */
int json_want_str(const struct json *obj, const char *name, size_t max, struct slice *out,
		  struct err *err) MUST_CHECK;
int json_want_int(const struct json *obj, const char *name, int64_t min, int64_t max, int64_t *out,
		  struct err *err) MUST_CHECK;
int json_want_real(const struct json *obj, const char *name, double min, double max, double *out,
		   struct err *err) MUST_CHECK;
int json_want_bool(const struct json *obj, const char *name, bool *out, struct err *err) MUST_CHECK;

/* Compact text of a value, members in document order (sorted when <sorted>), appended to <out>. */
int json_dump(const struct json *j, bool sorted, struct buf *out);

/* Emitter. Commas and quoting are its business; strings are made valid UTF-8 (U+FFFD for what is
 * not). */
struct json_out {
	struct buf *buf; /* borrowed */
	bool comma;
};

void json_out_init(struct json_out *o, struct buf *buf);
/* <name> is NULL inside an array and at the top. */
void json_obj(struct json_out *o, const char *name);
void json_obj_end(struct json_out *o);
void json_arr(struct json_out *o, const char *name);
void json_arr_end(struct json_out *o);
void json_put_slice(struct json_out *o, const char *name, struct slice s);
void json_put_str(struct json_out *o, const char *name, const char *s); /* NULL gives null */
void json_put_int(struct json_out *o, const char *name, int64_t v);
void json_put_real(struct json_out *o, const char *name, double v); /* NaN and infinity give null */
void json_put_bool(struct json_out *o, const char *name, bool v);
void json_put_null(struct json_out *o, const char *name);
/* RFC 3339 in UTC, second precision; 0 gives null. */
void json_put_time(struct json_out *o, const char *name, uint64_t wall_ms);
/* A value of a parsed document, as it is. */
void json_put_json(struct json_out *o, const char *name, const struct json *j);

#endif
