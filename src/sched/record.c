/* Stored values: JSON objects with a version, whose unknown members are kept. */
#include <errno.h>
#include <stdlib.h>

#include "sched/state.h"

void record_open(struct json_out *o, struct buf *buf)
{
	buf_init(buf, 0);
	json_out_init(o, buf);
	json_obj(o, NULL);
	json_put_int(o, "v", CLUSTER_RECORD_VERSION);
}

static bool is_known(struct slice name, const char *const *known)
{
	if (slice_eq(name, SLICE("v")))
		return true;
	for (; *known; known++) {
		if (slice_eq(name, slice_str(*known)))
			return true;
	}
	return false;
}

void record_close(struct cluster *c, struct json_out *o, const char *kind, const char *key,
		  const struct json *extra, const char *const *known)
{
	const struct json *value;
	struct slice name;
	void *it = NULL;

	while (extra && json_next(extra, &it, &name, &value)) {
		char *text;

		if (is_known(name, known))
			continue;
		text = slice_dup(name);
		json_put_json(o, text, value);
		free(text);
	}
	json_obj_end(o);
	batch_put(c->batch, kind, key, buf_slice(o->buf));
	buf_fini(o->buf);
}

void record_keep(struct json **extra, struct json **doc, const char *const *known)
{
	const struct json *value;
	struct slice name;
	void *it = NULL;

	while (json_next(*doc, &it, &name, &value)) {
		if (!is_known(name, known)) {
			json_free(*extra);
			*extra = *doc;
			*doc = NULL;
			return;
		}
	}
}

int record_str(char **out, const struct json *obj, const char *name, size_t max, struct err *err)
{
	struct slice s = { "", 0 };
	int rc = json_want_str(obj, name, max, &s, err);

	if (rc && rc != -ENOENT)
		return rc;
	free(*out);
	*out = slice_dup(s);
	return 0;
}

int record_text(char *out, size_t size, const struct json *obj, const char *name, struct err *err)
{
	struct slice s = { "", 0 };
	int rc = json_want_str(obj, name, size - 1, &s, err);

	if (rc && rc != -ENOENT)
		return rc;
	return slice_copy(s, out, size);
}

int record_u64(uint64_t *out, const struct json *obj, const char *name, uint64_t max,
	       struct err *err)
{
	int64_t v = 0;
	int rc = json_want_int(obj, name, 0, (int64_t)MIN(max, (uint64_t)INT64_MAX), &v, err);

	if (rc && rc != -ENOENT)
		return rc;
	*out = (uint64_t)v;
	return 0;
}

int record_u32(uint32_t *out, const struct json *obj, const char *name, uint32_t max,
	       struct err *err)
{
	uint64_t v = 0;
	int rc = record_u64(&v, obj, name, max, err);

	*out = (uint32_t)v;
	return rc;
}

int record_bool(bool *out, const struct json *obj, const char *name, struct err *err)
{
	int rc = json_want_bool(obj, name, out, err);

	return rc == -ENOENT ? 0 : rc;
}

void text_replace(char **text, const char *with)
{
	char *copy = xstrdup(with ? with : "");

	free(*text);
	*text = copy;
}
