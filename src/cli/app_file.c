/* App files: the tree of a YAML file against a table of keys. */
#include "cli/app_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/tree.h"

#define ERRORS_MAX 20u
#define APPS_MAX 100u
#define VALUE_MAX 65536u

enum key_kind {
	KEY_TEXT,
	KEY_COUNT,   /* a whole number within [min, max] */
	KEY_REAL,    /* within [min, max] */
	KEY_SIZE,    /* bytes, or 512m */
	KEY_SECONDS, /* or 5m; at most max */
	KEY_BOOL,    /* true or false */
	KEY_TEXTS,   /* a list, or one text */
	KEY_ENV,     /* names and texts */
	KEY_SECRETS, /* the same; nothing: the value that the app has */
	KEY_LABELS,  /* names, and texts or lists of them */
	KEY_TAGS,    /* a list, or as labels */
};

/* The members of a deploy. A new one is a row here, and a paragraph in temps-app-file(5). */
static const struct key {
	const char *name;
	enum key_kind kind;
	int64_t min, max;
} keys[] = {
	{ "image", KEY_TEXT, 0, 0 },
	{ "replicas", KEY_COUNT, 1, 1000 },
	{ "port", KEY_COUNT, 0, 65535 },
	{ "domains", KEY_TEXTS, 0, 0 },
	{ "env", KEY_ENV, 0, 0 },
	{ "secrets", KEY_SECRETS, 0, 0 },
	{ "command", KEY_TEXTS, 0, 0 },
	{ "cpus", KEY_REAL, 0, 4096 },
	{ "memory_bytes", KEY_SIZE, 0, 0 },
	{ "disk_bytes", KEY_SIZE, 0, 0 },
	{ "gpus", KEY_COUNT, 0, 64 },
	{ "health_path", KEY_TEXT, 0, 0 },
	{ "health_command", KEY_TEXTS, 0, 0 },
	{ "health_start_s", KEY_SECONDS, 0, 3600 },
	{ "health_timeout_s", KEY_SECONDS, 0, 3600 },
	{ "stop_grace_s", KEY_SECONDS, 0, 3600 },
	{ "request_drain_s", KEY_SECONDS, 0, 86400 },
	{ "tunnel_drain_s", KEY_SECONDS, 0, 86400 },
	{ "max_surge", KEY_COUNT, 0, 1000 },
	{ "stop_first", KEY_BOOL, 0, 0 },
	{ "pre_deploy", KEY_TEXTS, 0, 0 },
	{ "volumes", KEY_ENV, 0, 0 },
	{ "nodes", KEY_TEXTS, 0, 0 },
	{ "labels", KEY_LABELS, 0, 0 },
	{ "target_tags", KEY_TAGS, 0, 0 },
	{ "affinity", KEY_TEXTS, 0, 0 },
	{ "anti_affinity", KEY_TEXTS, 0, 0 },
	{ "strategy", KEY_TEXT, 0, 0 },
	{ "architecture", KEY_TEXT, 0, 0 },
	{ "policy", KEY_LABELS, 0, 0 },
};

struct reading {
	const char *path;
	const char *(*env)(const char *name);
	struct buf *errors;
	uint32_t errors_n;
	struct domain {
		char *text;
		unsigned line;
		const char *app;
	} *domains;
	size_t domains_n;
};

static void say(struct reading *r, const struct tree *at, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void say(struct reading *r, const struct tree *at, const char *fmt, ...)
{
	va_list ap;

	if (r->errors_n++ >= ERRORS_MAX)
		return;
	buf_printf(r->errors, "%s:%u:%u: ", r->path, at->line, at->column);
	va_start(ap, fmt);
	buf_vprintf(r->errors, fmt, ap);
	va_end(ap);
	buf_append_str(r->errors, "\n");
}

/* ---- suggestions ---- */

static unsigned distance(const char *a, const char *b)
{
	unsigned row[32], up_left, up;
	size_t n = strlen(b);

	if (n >= ARRAY_LEN(row) || strlen(a) >= ARRAY_LEN(row))
		return ARRAY_LEN(row);
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		up_left = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			up = row[j];
			row[j] = MIN(MIN(row[j - 1], up) + 1, up_left + (a[i - 1] != b[j - 1]));
			up_left = up;
		}
	}
	return row[n];
}

/* What somebody may have meant: the name that takes the fewest changes, or one that it begins. */
static const char *meant(const char *word)
{
	unsigned best = 3 + (unsigned)strlen(word) / 8;
	const char *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		unsigned d = distance(word, keys[i].name);
		size_t n = strlen(word);

		if (n >= 3 && strncmp(keys[i].name, word, n) == 0)
			d = MIN(d, 1u);
		if (d < best && d < n) {
			best = d;
			found = keys[i].name;
		}
	}
	return found;
}

static const struct key *find_key(struct reading *r, const struct tree *name)
{
	const char *other;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(keys[i].name, name->text) == 0)
			return &keys[i];
	}
	other = meant(name->text);
	say(r, name, "unknown key \"%.100s\"%s%s%s", name->text, other ? "; did you mean \"" : "",
	    other ? other : "", other ? "\"?" : "");
	return NULL;
}

/* ---- texts ---- */

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];

		if (!(ch == '_' || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
		      (i && ch >= '0' && ch <= '9')))
			return false;
	}
	return s.n > 0 && s.n < 200;
}

/* What "${NAME}" at <p> stands for goes into <out>; returns what follows it, NULL after it was said what is wrong. */
static const char *expand_one(struct reading *r, const struct tree *at, const char *p, struct buf *out)
{
	const char *end = strchr(p, '}'), *value;
	char name[200];

	if (!end || !is_name(slice_of(p + 2, (size_t)(end - p - 2)))) {
		say(r, at, "expected ${NAME}; $$ stands for one $, and single quotes leave all as it is");
		return NULL;
	}
	if (slice_copy(slice_of(p + 2, (size_t)(end - p - 2)), name, sizeof(name)))
		return NULL;
	value = r->env(name);
	if (!value) {
		say(r, at, "%s is not set in the environment", name);
		return NULL;
	}
	buf_append_str(out, value);
	return end + 1;
}

/* The text with the environment's values in it, the caller's to free(); NULL after it was said what is wrong. */
static char *expand(struct reading *r, const struct tree *at)
{
	struct buf out;
	const char *p = at->text;

	if (at->literal || !strchr(p, '$'))
		return xstrdup(p);
	buf_init(&out, VALUE_MAX);
	while (p && *p) {
		if (p[0] == '$' && p[1] == '{') {
			p = expand_one(r, at, p, &out);
			continue;
		}
		buf_append(&out, p, 1);
		p += p[0] == '$' && p[1] == '$' ? 2 : 1;
	}
	if (p && !out.full)
		return buf_steal(&out);
	if (p)
		say(r, at, "longer than %u bytes", VALUE_MAX);
	buf_fini(&out);
	return NULL;
}

/* A text, whatever it looks like; NULL after it was said what is wrong. */
static char *text_of(struct reading *r, const struct tree *v, const char *what)
{
	if (v->kind != TREE_TEXT || tree_is_null(v)) {
		say(r, v, "%.100s: expected a text, not %s", what,
		    v->kind == TREE_MAP	   ? "a map"
		    : v->kind == TREE_LIST ? "a list"
					   : "nothing; \"\" is the empty one");
		return NULL;
	}
	return expand(r, v);
}

static void put_secret(struct json_out *o, const char *name, char *take_text)
{
	json_put_str(o, name, take_text);
	explicit_bzero(take_text, strlen(take_text));
	free(take_text);
}

/* ---- values by kind ---- */

static void put_text(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	char *text = text_of(r, v, k->name);

	if (text)
		json_put_str(o, k->name, text);
	free(text);
}

static void put_count(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	char *text = text_of(r, v, k->name);
	uint64_t n;

	if (!text)
		return;
	if (slice_u64(slice_str(text), &n) || n < (uint64_t)k->min || n > (uint64_t)k->max)
		say(r, v, "%s: expected a whole number from %" PRId64 " to %" PRId64 ", not \"%.50s\"", k->name, k->min,
		    k->max, text);
	else
		json_put_int(o, k->name, (int64_t)n);
	free(text);
}

static void put_real(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	char *text = text_of(r, v, k->name), *end;
	double n;

	if (!text)
		return;
	n = strtod(text, &end);
	if (end == text || *end || !isfinite(n) || n < (double)k->min || n > (double)k->max)
		say(r, v, "%s: expected a number from %" PRId64 " to %" PRId64 ", not \"%.50s\"", k->name, k->min, k->max,
		    text);
	else
		json_put_real(o, k->name, n);
	free(text);
}

static void put_bool(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	char *text = text_of(r, v, k->name);

	if (text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		say(r, v, "%s: expected true or false, not \"%.50s\"", k->name, text);
	else if (text)
		json_put_bool(o, k->name, strcmp(text, "true") == 0);
	free(text);
}

static void put_size(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	char *text = text_of(r, v, k->name);
	uint64_t n;

	if (!text)
		return;
	if (text_parse_size(slice_str(text), &n) || n > INT64_MAX / 2)
		say(r, v, "%s: expected bytes, such as 512m or 2g, not \"%.50s\"", k->name, text);
	else
		json_put_int(o, k->name, (int64_t)n);
	free(text);
}

static void put_seconds(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	char *text = text_of(r, v, k->name);
	uint64_t ms;

	if (!text)
		return;
	if (text_parse_duration(slice_str(text), &ms) || ms > (uint64_t)k->max * 1000)
		say(r, v, "%s: expected a time such as 30s or 5m, at most %" PRId64 " s, not \"%.50s\"", k->name, k->max,
		    text);
	else
		json_put_int(o, k->name, (int64_t)((ms + 999) / 1000));
	free(text);
}

/* One text or a list of them, as a list called <name>. */
static void put_texts(struct reading *r, const char *name, const struct tree *v, struct json_out *o)
{
	bool one = v->kind != TREE_LIST;

	json_arr(o, name);
	for (size_t i = 0; i < (one ? 1 : v->n); i++) {
		char *text = text_of(r, one ? v : v->items[i], name);

		if (text)
			json_put_str(o, NULL, text);
		free(text);
	}
	json_arr_end(o);
}

static bool want_map(struct reading *r, const struct key *k, const struct tree *v)
{
	if (v->kind == TREE_MAP)
		return true;
	say(r, v, "%s: expected a map of names and values, not %s", k->name, v->kind == TREE_LIST ? "a list" : "a text");
	return false;
}

static void put_env(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	if (!want_map(r, k, v))
		return;
	json_obj(o, k->name);
	for (size_t i = 0; i + 1 < v->n; i += 2) {
		const struct tree *name = v->items[i], *value = v->items[i + 1];
		char *text;

		if (k->kind == KEY_SECRETS && tree_is_null(value)) {
			json_obj(o, name->text);
			json_put_bool(o, "keep", true);
			json_obj_end(o);
			continue;
		}
		text = text_of(r, value, name->text);
		if (text)
			put_secret(o, name->text, text);
	}
	json_obj_end(o);
}

static void put_labels(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	if (k->kind == KEY_TAGS && v->kind != TREE_MAP) {
		put_texts(r, k->name, v, o);
		return;
	}
	if (!want_map(r, k, v))
		return;
	json_obj(o, k->name);
	for (size_t i = 0; i + 1 < v->n; i += 2)
		put_texts(r, v->items[i]->text, v->items[i + 1], o);
	json_obj_end(o);
}

static void put_value(struct reading *r, const struct key *k, const struct tree *v, struct json_out *o)
{
	switch (k->kind) {
	case KEY_TEXT: put_text(r, k, v, o); break;
	case KEY_COUNT: put_count(r, k, v, o); break;
	case KEY_REAL: put_real(r, k, v, o); break;
	case KEY_SIZE: put_size(r, k, v, o); break;
	case KEY_SECONDS: put_seconds(r, k, v, o); break;
	case KEY_BOOL: put_bool(r, k, v, o); break;
	case KEY_TEXTS: put_texts(r, k->name, v, o); break;
	case KEY_ENV:
	case KEY_SECRETS: put_env(r, k, v, o); break;
	case KEY_LABELS:
	case KEY_TAGS: put_labels(r, k, v, o); break;
	}
}

/* ---- apps ---- */

/* "host" and "host/" lead to the same. */
static bool same_domain(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	n -= n && a[n - 1] == '/' && strchr(a, '/') == a + n - 1;
	m -= m && b[m - 1] == '/' && strchr(b, '/') == b + m - 1;
	return n == m && strncmp(a, b, n) == 0;
}

static void claim(struct reading *r, const char *app, const struct tree *v)
{
	char *text = v->kind == TREE_TEXT && !tree_is_null(v) ? expand(r, v) : NULL;

	if (!text)
		return;
	for (size_t i = 0; i < r->domains_n; i++) {
		const struct domain *d = &r->domains[i];

		if (!same_domain(d->text, text))
			continue;
		say(r, v, "domain %.200s belongs to app %s already, line %u", text, d->app, d->line);
		free(text);
		return;
	}
	r->domains = xrealloc(r->domains, (r->domains_n + 1) * sizeof(*r->domains));
	r->domains[r->domains_n++] = (struct domain){ text, v->line, app };
}

static void claim_domains(struct reading *r, const char *app, const struct tree *v)
{
	if (v->kind != TREE_LIST)
		claim(r, app, v);
	for (size_t i = 0; v->kind == TREE_LIST && i < v->n; i++)
		claim(r, app, v->items[i]);
}

static const struct tree *find(const struct tree *map, const char *name)
{
	for (size_t i = 0; i + 1 < map->n; i += 2) {
		if (strcmp(map->items[i]->text, name) == 0)
			return map->items[i + 1];
	}
	return NULL;
}

/* A variable is a secret or it is none. */
static void check_secrets(struct reading *r, const struct tree *app)
{
	const struct tree *env = find(app, "env"), *secrets = find(app, "secrets");

	if (!env || !secrets || env->kind != TREE_MAP || secrets->kind != TREE_MAP)
		return;
	for (size_t i = 0; i + 1 < secrets->n; i += 2) {
		if (find(env, secrets->items[i]->text))
			say(r, secrets->items[i], "\"%.100s\" is in env, too: it can be one of them",
			    secrets->items[i]->text);
	}
}

static void add_mark(struct app_entry *a, const struct key *k, const struct tree *at)
{
	a->marks = xrealloc(a->marks, (a->marks_n + 1) * sizeof(*a->marks));
	a->marks[a->marks_n++] = (struct app_mark){ k->name, at->line, at->column };
}

static void read_app(struct reading *r, struct app_entry *a, const struct tree *name, const struct tree *v)
{
	struct json_out o;
	struct buf body;

	*a = (struct app_entry){ .name = xstrdup(name->text), .line = name->line, .column = name->column };
	if (!text_is_app_name(slice_str(name->text)))
		say(r, name,
		    "app \"%.60s\": a name is 1 to 50 lower-case letters, digits and \"-\", beginning with a letter or digit",
		    name->text);
	if (v->kind != TREE_MAP) {
		say(r, v, "app \"%.60s\": expected a map with at least \"image\"", name->text);
		return;
	}
	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_bool(&o, "replace", true);
	for (size_t i = 0; i + 1 < v->n; i += 2) {
		const struct key *k = find_key(r, v->items[i]);

		if (!k)
			continue;
		add_mark(a, k, v->items[i]);
		put_value(r, k, v->items[i + 1], &o);
		if (strcmp(k->name, "domains") == 0)
			claim_domains(r, a->name, v->items[i + 1]);
	}
	json_obj_end(&o);
	a->body = buf_steal(&body);
	if (!find(v, "image"))
		say(r, name, "app \"%.60s\": \"image\" is missing", name->text);
	check_secrets(r, v);
}

static void read_apps(struct reading *r, struct app_file *f, const struct tree *apps)
{
	if (apps->kind != TREE_MAP || !apps->n) {
		say(r, apps, "apps: expected a map of apps by name");
		return;
	}
	if (apps->n / 2 > APPS_MAX) {
		say(r, apps, "apps: more than %u", APPS_MAX);
		return;
	}
	f->apps = xcalloc(apps->n / 2, sizeof(*f->apps));
	for (size_t i = 0; i + 1 < apps->n; i += 2)
		read_app(r, &f->apps[f->n++], apps->items[i], apps->items[i + 1]);
}

static void read_root(struct reading *r, struct app_file *f, const struct tree *root)
{
	static const struct tree top = { .line = 1, .column = 1 };

	if (!root || root->kind != TREE_MAP || tree_is_null(root)) {
		say(r, root ? root : &top, "expected \"apps:\" and the apps by name below it");
		return;
	}
	for (size_t i = 0; i + 1 < root->n; i += 2) {
		if (strcmp(root->items[i]->text, "apps") == 0)
			read_apps(r, f, root->items[i + 1]);
		else
			say(r, root->items[i], "unknown key \"%.100s\"; \"apps\" is the only one here%s",
			    root->items[i]->text,
			    find(root, "apps") ? "" : ", the apps by name are below it");
	}
	if (!find(root, "apps") && !r->errors_n)
		say(r, root, "\"apps\" is missing");
}

void app_file_free(struct app_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++) {
		if (f->apps[i].body)
			explicit_bzero(f->apps[i].body, strlen(f->apps[i].body));
		free(f->apps[i].body);
		free(f->apps[i].name);
		free(f->apps[i].marks);
	}
	free(f->apps);
	free(f->path);
	free(f);
}

int app_file_parse(struct app_file **out, const char *path, struct slice text,
		   const char *(*env)(const char *name), struct buf *errors)
{
	struct reading r = { .path = path, .env = env, .errors = errors };
	struct app_file *f = xcalloc(1, sizeof(*f));
	struct tree_error bad;
	struct tree *root;

	f->path = xstrdup(path);
	if (tree_parse(&root, text, &bad)) {
		const struct tree at = { .line = bad.line, .column = bad.column };

		say(&r, &at, "%s", bad.text);
	} else {
		read_root(&r, f, root);
		tree_free(root);
	}
	for (size_t i = 0; i < r.domains_n; i++)
		free(r.domains[i].text);
	free(r.domains);
	if (r.errors_n > ERRORS_MAX)
		buf_printf(errors, "and %u more\n", r.errors_n - ERRORS_MAX);
	if (r.errors_n) {
		app_file_free(f);
		return -EINVAL;
	}
	*out = f;
	return 0;
}

/* ---- what the API says ---- */

/* "health path: …" speaks of health_path, "node \"x\": …" of nodes. */
static bool is_about(const char *text, const char *member)
{
	size_t n = strlen(member), i = 0;
	char quoted[64];

	snprintf(quoted, sizeof(quoted), "member \"%s\"", member);
	if (strstr(text, quoted))
		return true;
	while (i < n && (text[i] == member[i] || (text[i] == ' ' && member[i] == '_')))
		i++;
	return (i == n || (i == n - 1 && member[i] == 's')) && !(text[i] >= 'a' && text[i] <= 'z');
}

void app_file_say(const struct app_file *f, const struct app_entry *a, unsigned status, const char *text,
		  struct buf *errors)
{
	static const char *const constraints[] = { "nodes", "labels", "target_tags", "architecture", "anti_affinity",
						   "gpus", "memory_bytes", "cpus", "disk_bytes", NULL };
	struct app_mark at = { NULL, a->line, a->column };
	const char *detail = strstr(text, ": "); /* behind the title */

	detail = detail ? detail + 2 : text;
	for (size_t i = a->marks_n; i-- > 0;) {
		if (is_about(text, a->marks[i].member) || is_about(detail, a->marks[i].member))
			at = a->marks[i];
	}
	for (size_t k = 0; status == 422 && !at.member && constraints[k]; k++) {
		for (size_t i = 0; i < a->marks_n; i++) {
			if (strcmp(a->marks[i].member, constraints[k]) == 0 && !at.member)
				at = a->marks[i];
		}
	}
	buf_printf(errors, "%s:%u:%u: app %s: %s\n", f->path, at.line, at.column, a->name, text);
}
