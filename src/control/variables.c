/* Environments and their secrets. */
#include "control/variables.h"

#include <errno.h>
#include <stdlib.h>

#include "control/control.h"
#include "reactor/crypto.h"
#include "reactor/seal.h"
#include "sched/spec.h"

/* Takes what one member says; <now> is the value in the base, or NULL. -ENOENT: there is none any more. */
typedef int take_fn(const struct control *c, const struct json *v, const char *now, struct buf *text);

static int take_plain(const struct control *c, const struct json *v, const char *now, struct buf *text)
{
	(void)c;
	(void)now;
	switch (json_type(v)) {
	case JSON_NULL: return -ENOENT;
	case JSON_ARRAY:
	case JSON_OBJECT: return -EINVAL;
	case JSON_STRING: return buf_append_slice(text, json_str(v, ""));
	default: json_dump(v, false, text); return 0;
	}
}

static bool is_keep(const struct json *v)
{
	return json_type(v) == JSON_OBJECT && json_len(v) == 1 && json_bool(json_get(v, "keep"), false);
}

static bool has_value(const struct control *c, const char *sealed, struct slice value)
{
	struct buf plain;
	bool same;

	buf_init(&plain, SECRET_MAX);
	same = sealed && !seal_open(c->seal_key, slice_str(sealed), &plain) &&
	       slice_eq(buf_slice(&plain), value);
	if (plain.len)
		crypto_wipe(plain.data, plain.len);
	buf_fini(&plain);
	return same;
}

static int take_secret(const struct control *c, const struct json *v, const char *now, struct buf *text)
{
	struct slice value = json_str(v, "");

	if (json_type(v) == JSON_NULL)
		return -ENOENT;
	if (is_keep(v))
		return now ? buf_append_str(text, now) : -ENODATA;
	if (json_type(v) != JSON_STRING || value.n > SECRET_MAX || memchr(value.p, '\0', value.n))
		return -EINVAL;
	if (has_value(c, now, value))
		return buf_append_str(text, now);
	return seal_close(c->seal_key, value, text);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

static bool is_same(const struct pairs *a, const struct pairs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const char *value = pairs_get(b, a->items[i].key);

		if (!value || strcmp(value, a->items[i].value) != 0)
			return false;
	}
	return true;
}

/* In one order, so that nobody's makes a new release; unless nothing changed, whose order stays. */
static void put_in_order(struct pairs *p, const struct pairs *base)
{
	if (is_same(p, base)) {
		pairs_fini(p);
		pairs_copy(p, base);
	} else if (p->n) {
		qsort(p->items, p->n, sizeof(*p->items), by_key);
	}
}

static int take_members(const struct control *c, struct pairs *out, const struct pairs *base,
			const struct json *map, const char *name, take_fn *take, struct err *err)
{
	const struct json *value;
	struct slice key;
	void *it = NULL;
	int rc = 0;

	while (json_next(map, &it, &key, &value)) {
		struct buf text;

		buf_init(&text, SPEC_VALUE_MAX);
		rc = take(c, value, pairs_get(base, key.p), &text);
		if (!rc)
			pairs_add(out, key, buf_slice(&text));
		if (text.len)
			crypto_wipe(text.data, text.len);
		buf_fini(&text);
		if (rc == -ENODATA)
			return err_say(err, -EINVAL,
				       "member \"%s\": %.100s has no value yet that could be kept; `temps deploy --secret %.100s=-` gives it one",
				       name, key.p, key.p);
		if (rc && rc != -ENOENT)
			return err_say(err, -EINVAL, "member \"%s\": %.100s: expected a text of at most %u bytes",
				       name, key.p, take == take_secret ? SECRET_MAX : SPEC_VALUE_MAX);
	}
	return 0;
}

static int read_member(const struct control *c, struct pairs *out, const struct pairs *base,
		       const struct json *map, const char *name, bool alone, take_fn *take,
		       struct err *err)
{
	int rc;

	*out = (struct pairs){ 0 };
	if (json_type(map) != JSON_OBJECT || json_len(map) > SPEC_ENV_MAX)
		return err_say(err, -EINVAL, "member \"%s\": expected an object of at most %u members", name,
			       SPEC_ENV_MAX);
	for (size_t i = 0; !alone && i < base->n; i++) {
		const struct pair *p = &base->items[i];

		if (json_type(json_get(map, p->key)) == JSON_ABSENT)
			pairs_add(out, slice_str(p->key), slice_str(p->value));
	}
	rc = take_members(c, out, base, map, name, take, err);
	if (!rc)
		put_in_order(out, base);
	return rc;
}

int variables_env(struct pairs *out, const struct pairs *base, const struct json *body, struct err *err)
{
	return read_member(NULL, out, base, json_get(body, "env"), "env", false, take_plain, err);
}

int variables_secrets(const struct control *c, struct pairs *out, const struct pairs *base,
		      const struct json *body, bool alone, struct err *err)
{
	return read_member(c, out, base, json_get(body, "secrets"), "secrets", alone, take_secret, err);
}

int variables_open(const struct control *c, const struct pairs *secrets, struct pairs *out,
		   struct err *err)
{
	for (size_t i = 0; i < secrets->n; i++) {
		const struct pair *p = &secrets->items[i];
		struct buf plain;
		int rc;

		buf_init(&plain, SECRET_MAX);
		rc = seal_open(c->seal_key, slice_str(p->value), &plain);
		if (!rc)
			pairs_add(out, slice_str(p->key), buf_slice(&plain));
		if (plain.len)
			crypto_wipe(plain.data, plain.len);
		buf_fini(&plain);
		if (rc)
			return err_say(err, -EKEYREJECTED,
				       "secret %.100s cannot be opened: was secret.key replaced? Deploy the app with it again",
				       p->key);
	}
	return 0;
}

void variables_wipe(struct pairs *p)
{
	for (size_t i = 0; i < p->n; i++)
		crypto_wipe((char *)p->items[i].value, strlen(p->items[i].value));
	pairs_fini(p);
}
