/* The table of policies, and how their texts become values. */
#include "proxy/policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/fields.h"
#include "proxy/forward.h"

#define LINES_MAX 100u /* header rules, users */
#define RANGES_MAX 1000u
#define NAME_BYTES_MAX 64u /* of a cookie's or user's name */
#define TEXT_BYTES_MAX 1024u
#define HOUR_MS (60u * 60 * 1000)

struct row {
	struct policy_key key;
	/* -EINVAL: the row says what was expected, unless <err> says more (err->code is set). */
	int (*parse)(const struct row *r, void *into, struct slice value, struct err *err);
	size_t at;		  /* offset of what it fills in */
	const char *const *words; /* parse_word(): NULL-terminated; the index is the value */
	uint64_t min, max;	  /* of a number */
	const char *needs;	  /* another key without which it makes no sense */
	bool filters;
};

/* ---- the kinds ---- */

static int parse_word(const struct row *r, void *into, struct slice value, struct err *err)
{
	(void)err;
	for (uint8_t i = 0; r->words[i]; i++) {
		if (slice_eq(value, slice_str(r->words[i]))) {
			*(uint8_t *)into = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int store_u32(const struct row *r, void *into, int rc, uint64_t v)
{
	if (rc < 0 || v < r->min || v > r->max)
		return -EINVAL;
	*(uint32_t *)into = (uint32_t)v;
	return 0;
}

static int parse_count(const struct row *r, void *into, struct slice value, struct err *err)
{
	uint64_t v = 0;
	int rc = slice_u64(value, &v);

	(void)err;
	return store_u32(r, into, rc, v);
}

static int parse_duration(const struct row *r, void *into, struct slice value, struct err *err)
{
	uint64_t v = 0;
	int rc = text_parse_duration(value, &v);

	(void)err;
	return store_u32(r, into, rc, v);
}

static int parse_size(const struct row *r, void *into, struct slice value, struct err *err)
{
	uint64_t v;

	(void)err;
	if (text_parse_size(value, &v) < 0 || v < r->min || v > r->max)
		return -EINVAL;
	*(uint64_t *)into = v;
	return 0;
}

static bool all_of(struct slice s, uint8_t class)
{
	for (size_t i = 0; i < s.n; i++)
		if (!byte_is(s.p[i], class))
			return false;
	return s.n > 0;
}

static int parse_token(const struct row *r, void *into, struct slice value, struct err *err)
{
	(void)r;
	(void)err;
	if (!all_of(value, CLASS_TOKEN) || value.n > NAME_BYTES_MAX)
		return -EINVAL;
	*(char **)into = slice_dup(value);
	return 0;
}

static int parse_path(const struct row *r, void *into, struct slice value, struct err *err)
{
	(void)r;
	(void)err;
	if (!all_of(value, CLASS_TARGET) || value.p[0] != '/' || value.n > TEXT_BYTES_MAX)
		return -EINVAL;
	*(char **)into = slice_dup(value);
	return 0;
}

static int parse_ranges(const struct row *r, void *into, struct slice value, struct err *err)
{
	static const char separators[] = ", \t\r\n";
	struct ranges *ranges = into;
	const char *p = value.p, *end = value.p + value.n;

	while (p < end) {
		size_t n = strcspn(p, separators);
		struct slice one = slice_of(p, MIN(n, (size_t)(end - p)));

		if (one.n && ranges->n == RANGES_MAX)
			return err_say(err, -EINVAL, "policy \"%s\": more than %u ranges",
				       r->key.name, RANGES_MAX);
		if (one.n && ranges_add(ranges, one) < 0)
			return err_say(err, -EINVAL,
				       "policy \"%s\": \"%.*s\" is not a range: expected %s",
				       r->key.name, (int)MIN(one.n, 64u), one.p, r->key.form);
		p += one.n + 1;
	}
	return ranges->n ? 0 : -EINVAL;
}

struct slice policy_line(struct slice *rest)
{
	while (rest->p) {
		struct slice line = slice_split(*rest, '\n', rest);

		if (slice_ends(line, SLICE("\r")))
			line.n--;
		line = slice_trim(line);
		if (line.n)
			return line;
	}
	return slice_of(NULL, 0);
}

static int parse_users(const struct row *r, void *into, struct slice value, struct err *err)
{
	struct policy_users *users = into;
	struct slice line, hash, name;

	while ((line = policy_line(&value)).p) {
		name = slice_split(line, ':', &hash);
		/* Neither is printed: one of them may be a password. */
		if (!name.n || name.n > NAME_BYTES_MAX || !hash.n || hash.n > TEXT_BYTES_MAX ||
		    !all_of(line, CLASS_VALUE))
			return -EINVAL;
		if (users->n == LINES_MAX)
			return err_say(err, -EINVAL, "policy \"%s\": more than %u users",
				       r->key.name, LINES_MAX);
		users->items = xrealloc(users->items, (users->n + 1) * sizeof(*users->items));
		users->items[users->n++] = (struct pair){ slice_dup(name), slice_dup(hash) };
	}
	return users->n ? 0 : -EINVAL;
}

/* "Name: value" sets, "+Name: value" adds, "-Name" removes. */
static int parse_header(struct policy_header *h, struct slice line)
{
	struct slice value = { NULL, 0 }, name = line;

	*h = (struct policy_header){ .edit = line.p[0] == '+'	? EDIT_ADD
					     : line.p[0] == '-' ? EDIT_REMOVE
								: EDIT_SET };
	if (h->edit != EDIT_SET)
		name = slice_of(line.p + 1, line.n - 1);
	if (h->edit != EDIT_REMOVE) {
		name = slice_split(name, ':', &value);
		value = slice_trim(value);
		if (!all_of(value, CLASS_VALUE))
			return -EINVAL;
	}
	if (!all_of(name, CLASS_TOKEN) || line.n > 2 * TEXT_BYTES_MAX)
		return -EINVAL;
	if (forward_owns(name))
		return -EPERM;
	h->name = slice_dup(name);
	h->value = value.p ? slice_dup(value) : NULL;
	return 0;
}

static int parse_headers(const struct row *r, void *into, struct slice value, struct err *err)
{
	struct policy_headers *hs = into;
	struct slice line;

	while ((line = policy_line(&value)).p) {
		struct policy_header h;
		int rc = parse_header(&h, line);

		if (rc == -EPERM)
			return err_say(
				err, -EINVAL,
				"policy \"%s\": \"%.*s\" names a field that frames the message or says who the client is: the front door writes it itself",
				r->key.name, (int)MIN(line.n, 100u), line.p);
		if (rc < 0)
			return err_say(err, -EINVAL, "policy \"%s\": \"%.*s\": expected %s",
				       r->key.name, (int)MIN(line.n, 100u), line.p, r->key.form);
		if (hs->n == LINES_MAX) {
			free((char *)h.name);
			free((char *)h.value);
			return err_say(err, -EINVAL, "policy \"%s\": more than %u lines",
				       r->key.name, LINES_MAX);
		}
		hs->items = xrealloc(hs->items, (hs->n + 1) * sizeof(*hs->items));
		hs->items[hs->n++] = h;
	}
	return hs->n ? 0 : -EINVAL;
}

static bool is_redirect_status(uint64_t n)
{
	return (n >= 301 && n <= 303) || n == 307 || n == 308;
}

/* "[STATUS ]LOCATION" */
static int parse_redirect(const struct row *r, void *into, struct slice value, struct err *err)
{
	struct policy_redirect *redirect = into;
	struct slice to, first = slice_split(value, ' ', &to);
	uint64_t status = 308;

	(void)r;
	(void)err;
	if (to.p && (slice_u64(first, &status) < 0 || !is_redirect_status(status)))
		return -EINVAL;
	to = to.p ? slice_trim(to) : value;
	if (!slice_starts(to, SLICE("https://")) && !slice_starts(to, SLICE("http://")) &&
	    !slice_starts(to, SLICE("/")))
		return -EINVAL;
	for (size_t i = 0; i < to.n; i++) {
		struct slice rest = slice_of(to.p + i, to.n - i);

		if (!byte_is(to.p[i], CLASS_TARGET) && to.p[i] != '#')
			return -EINVAL;
		if (to.p[i] == '{' && !slice_starts(rest, SLICE("{path}")) &&
		    !slice_starts(rest, SLICE("{host}")))
			return -EINVAL;
	}
	if (to.n > TEXT_BYTES_MAX)
		return -EINVAL;
	redirect->to = slice_dup(to);
	redirect->status = (uint16_t)status;
	return 0;
}

/* ---- the table ---- */

static const char *const balances[] = { "p2c", "round-robin", "least-connections", NULL };
static const char *const protocols[] = { "http1", "h2c", NULL };
static const char *const switches[] = { "off", "on", NULL };

#define AT(field) .at = offsetof(struct upstream_policy, field)

static const struct row rows[] = {
	{ { "balance", "p2c|round-robin|least-connections", "how an endpoint is chosen", false },
	  parse_word,
	  AT(balance),
	  .words = balances },
	{ { "sticky", "COOKIE", "keep a client at its endpoint by a cookie of this name", false },
	  parse_token,
	  AT(sticky) },
	{ { "max-in-flight", "N", "requests at a time to one endpoint", false },
	  parse_count,
	  AT(max_in_flight),
	  .min = 1,
	  .max = 1000000 },
	{ { "queue", "N", "requests that wait when all endpoints are at max-in-flight", false },
	  parse_count,
	  AT(queue),
	  .min = 1,
	  .max = 1000000,
	  .needs = "max-in-flight" },
	{ { "queue-time", "TIME", "how long they wait", false },
	  parse_duration,
	  AT(queue_ms),
	  .min = 1,
	  .max = HOUR_MS,
	  .needs = "max-in-flight" },
	{ { "health-path", "PATH", "what endpoints are asked for while they are in use", false },
	  parse_path,
	  AT(health_path) },
	{ { "health-interval", "TIME", "how often", false },
	  parse_duration,
	  AT(health_interval_ms),
	  .min = 100,
	  .max = HOUR_MS },
	{ { "health-rise", "N", "good answers in a row that bring an endpoint in", false },
	  parse_count,
	  AT(health_rise),
	  .min = 1,
	  .max = 100 },
	{ { "health-fall", "N", "bad answers in a row that take it out", false },
	  parse_count,
	  AT(health_fall),
	  .min = 1,
	  .max = 100 },
	{ { "head-timeout", "TIME", "how long an endpoint may take to begin its answer", false },
	  parse_duration,
	  AT(head_ms),
	  .min = 1,
	  .max = 24 * HOUR_MS },
	{ { "protocol", "http1|h2c", "what the endpoints speak", false },
	  parse_word,
	  AT(protocol),
	  .words = protocols },
	{ { "max-body", "SIZE", "largest request content; more is 413", false },
	  parse_size,
	  AT(max_body_bytes),
	  .min = 1,
	  .max = INT64_MAX,
	  .filters = true },
	{ { "rate", "N", "requests a second of one client address; more is 429", false },
	  parse_count,
	  AT(rate),
	  .min = 1,
	  .max = 1000000,
	  .filters = true },
	{ { "burst", "N", "how many of them may come at once", false },
	  parse_count,
	  AT(burst),
	  .min = 1,
	  .max = 1000000,
	  .needs = "rate" },
	{ { "allow", "ADDRESS[/BITS],…", "who may send requests; others get 403", false },
	  parse_ranges,
	  AT(allow),
	  .filters = true },
	{ { "deny", "ADDRESS[/BITS],…", "who may not, allowed or not", false },
	  parse_ranges,
	  AT(deny),
	  .filters = true },
	{ { "basic-auth", "USER:PASSWORD", "ask for a name and a password", true },
	  parse_users,
	  AT(users),
	  .filters = true },
	{ { "compress", "on|off", "compress responses for clients that take it", false },
	  parse_word,
	  AT(compress),
	  .words = switches },
	{ { "request-header", "\"Name: value\", \"+Name: value\" or \"-Name\"",
	    "set, add or remove a field of requests", false },
	  parse_headers,
	  AT(request_headers) },
	{ { "response-header", "\"Name: value\", \"+Name: value\" or \"-Name\"",
	    "set, add or remove a field of responses", false },
	  parse_headers,
	  AT(response_headers) },
	{ { "redirect", "[STATUS ]LOCATION", "answer with a redirect, without any endpoint",
	    false },
	  parse_redirect,
	  AT(redirect),
	  .filters = true },
};

const struct policy_key *policy_key(size_t i)
{
	return i < ARRAY_LEN(rows) ? &rows[i].key : NULL;
}

static const struct row *find_row(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].key.name, name) == 0)
			return &rows[i];
	return NULL;
}

/* ---- reading ---- */

static void say_known(struct err *err, const char *name)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		buf_printf(&b, "%s%s", i ? ", " : "", rows[i].key.name);
	err_say(err, -EINVAL, "policy \"%.64s\": unknown; there are %s", name, b.data);
	buf_fini(&b);
}

/* "expected …", as the row has it. */
static void say_expected(struct err *err, const struct row *r, const char *value)
{
	char form[128], shown[80];

	if (r->parse == parse_count)
		snprintf(form, sizeof(form), "a whole number from %" PRIu64 " to %" PRIu64, r->min,
			 r->max);
	else if (r->parse == parse_duration)
		snprintf(form, sizeof(form),
			 "a duration such as 500ms or 10s, from %" PRIu64 "ms to %" PRIu64 "s",
			 r->min, r->max / 1000);
	else if (r->parse == parse_size)
		snprintf(form, sizeof(form), "a size such as 10MiB");
	else
		snprintf(form, sizeof(form), "%s", r->key.form);
	snprintf(shown, sizeof(shown), ": \"%.64s\"", value);
	if (r->key.secret)
		shown[0] = '\0';
	err_say(err, -EINVAL, "policy \"%s\"%s: expected %s", r->key.name, shown, form);
}

static int parse_one(struct upstream_policy *p, const struct pair *pair, struct err *err)
{
	const struct row *r = find_row(pair->key);
	struct err why = { 0 };

	if (!r) {
		say_known(err, pair->key);
		return -EINVAL;
	}
	if (strlen(pair->value) > POLICY_VALUE_MAX)
		return err_say(err, -EINVAL, "policy \"%s\": longer than %u bytes", r->key.name,
			       POLICY_VALUE_MAX);
	if (r->parse(r, (char *)p + r->at, slice_trim(slice_str(pair->value)), &why) < 0) {
		if (!why.code)
			say_expected(err, r, pair->value);
		else if (err)
			*err = why;
		return -EINVAL;
	}
	p->filters |= r->filters;
	return 0;
}

static bool is_given(const struct pairs *pairs, const char *key)
{
	const char *value = pairs_get(pairs, key);

	return value && *value;
}

static int check_needs(const struct pairs *pairs, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].needs && is_given(pairs, rows[i].key.name) &&
		    !is_given(pairs, rows[i].needs))
			return err_say(err, -EINVAL, "policy \"%s\": makes no sense without \"%s\"",
				       rows[i].key.name, rows[i].needs);
	return 0;
}

int policy_parse(struct upstream_policy *p, const struct pairs *pairs, struct err *err)
{
	int rc = check_needs(pairs, err);

	*p = (struct upstream_policy){ 0 };
	for (size_t i = 0; !rc && i < pairs->n; i++)
		if (*pairs->items[i].value)
			rc = parse_one(p, &pairs->items[i], err);
	if (rc)
		policy_fini(p);
	return rc;
}

static void headers_fini(struct policy_headers *hs)
{
	for (size_t i = 0; i < hs->n; i++) {
		free((char *)hs->items[i].name);
		free((char *)hs->items[i].value);
	}
	free(hs->items);
}

void policy_fini(struct upstream_policy *p)
{
	struct pairs users = { p->users.items, p->users.n };

	free(p->sticky);
	free(p->health_path);
	free(p->health_host);
	ranges_fini(&p->allow);
	ranges_fini(&p->deny);
	pairs_fini(&users);
	free(p->redirect.to);
	headers_fini(&p->request_headers);
	headers_fini(&p->response_headers);
	*p = (struct upstream_policy){ 0 };
}

/* ---- texts ---- */

void policy_merge(struct pairs *out, const struct pairs *base, const struct pairs *changes)
{
	*out = (struct pairs){ 0 };
	for (size_t i = 0; i < base->n; i++) {
		const char *key = base->items[i].key, *value = pairs_get(changes, key);

		if (!value)
			value = base->items[i].value;
		if (*value)
			pairs_add(out, slice_str(key), slice_str(value));
	}
	for (size_t i = 0; i < changes->n; i++) {
		const struct pair *p = &changes->items[i];

		if (*p->value && !pairs_get(base, p->key))
			pairs_add(out, slice_str(p->key), slice_str(p->value));
	}
}

bool policy_is_secret(const char *key)
{
	const struct row *r = find_row(key);

	return r && r->key.secret;
}

/* The names of "name:hash" lines. As no such value is taken, nobody sets a listing's by mistake. */
static void put_names(struct json_out *o, const struct pair *pair)
{
	struct slice rest = slice_str(pair->value), line, after;
	struct buf names;

	buf_init(&names, 0);
	while ((line = policy_line(&rest)).p) {
		if (names.len)
			buf_append(&names, "\n", 1);
		buf_append_slice(&names, slice_split(line, ':', &after));
	}
	json_put_str(o, pair->key, names.data);
	buf_fini(&names);
}

void policy_put(const struct pairs *pairs, struct json_out *o, const char *name)
{
	json_obj(o, name);
	for (size_t i = 0; i < pairs->n; i++) {
		const struct pair *p = &pairs->items[i];
		const struct row *r = find_row(p->key);

		if (r && r->key.secret)
			put_names(o, p);
		else
			json_put_str(o, p->key, p->value);
	}
	json_obj_end(o);
}
