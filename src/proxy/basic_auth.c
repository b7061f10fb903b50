/* Names and passwords. */
#include "proxy/basic_auth.h"

#include <stdlib.h>

#include "proxy/filter.h"
#include "proxy/relay.h"
#include "reactor/crypto.h"
#include "reactor/password.h"

#define KNOWN_SETS 256u
#define KNOWN_WAYS 4u
#define KNOWN_MS 60000u /* a right password; a changed policy has other digests at once */
#define WRONG_MS 5000u
#define CHECKS_MAX 16u /* under way: half a second of the work thread */
#define DIGEST_BYTES 32u

/* What came out lately. The digest is over a secret of ours, what was given and the stored hash. */
struct known {
	uint8_t digest[DIGEST_BYTES];
	uint64_t until_ms; /* 0: free */
	bool right;
};

struct basic_auth {
	struct loop *loop;
	struct work *work;  /* NULL: destroyed, and gone with the last check */
	struct list checks; /* under way */
	uint32_t nchecks;
	uint8_t secret[32];
	struct front_stats *stats;
	struct known known[KNOWN_SETS][KNOWN_WAYS];
};

/* One on the work thread; all requests that ask the same wait for it. */
struct check {
	struct work_job job;
	struct basic_auth *auth;
	struct list link;
	struct list waiting; /* struct relay */
	uint8_t digest[DIGEST_BYTES];
	char *password, *hash; /* owned; the password is wiped */
	bool exists;	       /* the name is a user's; else the hash is anyone's, for its time */
	bool right;
};

struct basic_auth *basic_auth_create(struct loop *l, struct work *w, struct front_stats *stats)
{
	struct basic_auth *a = xcalloc(1, sizeof(*a));

	a->loop = l;
	a->work = w;
	a->stats = stats;
	list_init(&a->checks);
	crypto_random(a->secret, sizeof(a->secret));
	return a;
}

void basic_auth_destroy(struct basic_auth *a)
{
	if (!a)
		return;
	LIST_FOR_EACH(c, &a->checks, struct check, link)
		LIST_FOR_EACH_SAFE(r, &c->waiting, struct relay, check_link)
			list_remove(&r->check_link);
	a->work = NULL;
	if (a->nchecks == 0)
		free(a);
}

/* ---- what is known ---- */

static struct known *known_set(struct basic_auth *a, const uint8_t *digest)
{
	return a->known[digest[0] % KNOWN_SETS];
}

static const struct known *find_known(struct basic_auth *a, const uint8_t *digest)
{
	struct known *set = known_set(a, digest);
	uint64_t now_ms = loop_now_ms(a->loop);

	for (unsigned i = 0; i < KNOWN_WAYS; i++)
		if (set[i].until_ms > now_ms && crypto_equal(slice_of(set[i].digest, DIGEST_BYTES),
							     slice_of(digest, DIGEST_BYTES)))
			return &set[i];
	return NULL;
}

/* In place of the one that would be forgotten first: as right ones last longer, a flood of wrong
 * ones replaces its own. */
static void remember(struct basic_auth *a, const struct check *c)
{
	struct known *set = known_set(a, c->digest), *first = set;

	for (unsigned i = 1; i < KNOWN_WAYS; i++)
		if (set[i].until_ms < first->until_ms)
			first = &set[i];
	memcpy(first->digest, c->digest, DIGEST_BYTES);
	first->right = c->right;
	first->until_ms = loop_now_ms(a->loop) + (c->right ? KNOWN_MS : WRONG_MS);
}

static void make_digest(const struct basic_auth *a, struct slice given, const char *hash,
			bool exists, uint8_t digest[DIGEST_BYTES])
{
	struct buf b;

	buf_init(&b, 0);
	buf_append(&b, a->secret, sizeof(a->secret));
	buf_append(&b, exists ? "+" : "-", 1);
	buf_append(&b, hash, strlen(hash) + 1);
	buf_append_slice(&b, given);
	crypto_sha256(buf_slice(&b), digest);
	crypto_wipe(b.data, b.len);
	buf_fini(&b);
}

/* ---- checks ---- */

static void check_free(struct check *c)
{
	crypto_wipe(c->password, strlen(c->password));
	free(c->password);
	free(c->hash);
	free(c);
}

static void run_check(struct work_job *job)
{
	struct check *c = CONTAINER_OF(job, struct check, job);

	c->right = password_check(slice_str(c->password), c->hash) && c->exists;
}

static void on_checked(struct work_job *job)
{
	struct check *c = CONTAINER_OF(job, struct check, job);
	struct basic_auth *a = c->auth;
	struct relay *r;

	list_remove(&c->link);
	a->nchecks--;
	if (!a->work) {
		if (a->nchecks == 0)
			free(a);
		check_free(c);
		return;
	}
	a->stats->auth_checked++;
	a->stats->auth_failed += !c->right;
	remember(a, c);
	while ((r = LIST_FIRST(&c->waiting, struct relay, check_link))) {
		list_remove(&r->check_link);
		filter_checked(r, c->right);
	}
	check_free(c);
}

static struct check *find_check(struct basic_auth *a, const uint8_t *digest)
{
	LIST_FOR_EACH(c, &a->checks, struct check, link)
		if (memcmp(c->digest, digest, DIGEST_BYTES) == 0)
			return c;
	return NULL;
}

static struct check *begin_check(struct basic_auth *a, const uint8_t *digest, const char *password,
				 const char *hash, bool exists)
{
	struct check *c;

	if (a->nchecks == CHECKS_MAX)
		return NULL;
	c = xcalloc(1, sizeof(*c));
	c->auth = a;
	c->job.run = run_check;
	c->job.done = on_checked;
	memcpy(c->digest, digest, DIGEST_BYTES);
	c->password = xstrdup(password);
	c->hash = xstrdup(hash);
	c->exists = exists;
	list_init(&c->waiting);
	list_init(&c->link);
	if (work_submit(a->work, &c->job) < 0) {
		check_free(c);
		return NULL;
	}
	list_push_back(&a->checks, &c->link);
	a->nchecks++;
	return c;
}

/* "Basic <base64 of name:password>" into <text>: its name ends at the ':', made a NUL. NULL: it is
 * no such thing. */
static const char *take_apart(const struct exchange *x, struct buf *text)
{
	static const struct slice scheme = SLICE("basic ");
	const struct field *f = head_field(&x->req, FIELD_AUTHORIZATION);
	char *colon;

	if (!f || f->value.n < scheme.n || f->value.n > 2 * PASSWORD_MAX + scheme.n ||
	    !slice_eq_nocase(slice_of(f->value.p, scheme.n), scheme) ||
	    text_unbase64(text,
			  slice_trim(slice_of(f->value.p + scheme.n, f->value.n - scheme.n))) < 0 ||
	    text->len == 0 || memchr(text->data, '\0', text->len))
		return NULL;
	colon = strchr(text->data, ':');
	if (!colon)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

static enum basic_auth_result check_given(struct basic_auth *a, const struct upstream_policy *p,
					  struct relay *r, const char *name, const char *password)
{
	const struct pairs users = { p->users.items, p->users.n };
	const char *hash = pairs_get(&users, name);
	uint8_t digest[DIGEST_BYTES];
	const struct known *known;
	bool exists = hash;
	struct check *c;

	/* Nobody learns from the time it takes who is a user. */
	if (!exists)
		hash = users.items[0].value;
	make_digest(a, slice_of(name, (size_t)(password - name) + strlen(password)), hash, exists,
		    digest);
	known = find_known(a, digest);
	if (known)
		return known->right ? BASIC_AUTH_PASS : BASIC_AUTH_FAIL;
	c = find_check(a, digest);
	if (!c)
		c = begin_check(a, digest, password, hash, exists);
	if (!c) {
		a->stats->auth_busy++;
		return BASIC_AUTH_BUSY;
	}
	list_push_back(&c->waiting, &r->check_link);
	return BASIC_AUTH_WAIT;
}

enum basic_auth_result basic_auth_check(struct basic_auth *a, const struct upstream_policy *p,
					struct relay *r)
{
	enum basic_auth_result result = BASIC_AUTH_FAIL;
	const char *password;
	struct buf text;

	buf_init(&text, 0);
	password = take_apart(r->x, &text);
	if (password)
		result = check_given(a, p, r, text.data, password);
	if (text.data)
		crypto_wipe(text.data, text.len);
	buf_fini(&text);
	return result;
}

void basic_auth_forget(struct relay *r)
{
	list_remove(&r->check_link);
}

/* ---- what is kept ---- */

static bool is_users(const struct pair *p)
{
	return strcmp(p->key, "basic-auth") == 0;
}

/* The hash of the user in <users>, lines of "name:hash"; the caller's to free(). NULL: no user. */
static char *find_hash(const char *users, struct slice name)
{
	struct slice rest = slice_str(users), line, hash;

	while ((line = policy_line(&rest)).p)
		if (slice_eq(slice_split(line, ':', &hash), name))
			return slice_dup(hash);
	return NULL;
}

/* "name:password" or "name:hash", one a line. */
static void seal_line(struct buf *out, struct slice line, const char *current)
{
	struct slice password, name = slice_split(line, ':', &password);
	char *text = slice_dup(password), *known = find_hash(current, name);
	char hash[PASSWORD_HASH_MAX];
	const char *kept = "!"; /* nobody's: a password that crypt(3) cannot take */

	if (out->len)
		buf_append_str(out, "\n");
	if (password_is_hash(text))
		kept = text;
	else if (known && password_check(password, known))
		kept = known;
	else if (password_hash(password, hash) == 0)
		kept = hash;
	buf_printf(out, "%.*s:%s", SLICE_ARG(name), kept);
	crypto_wipe(text, strlen(text));
	free(text);
	free(known);
}

void basic_auth_seal(struct pairs *policy, const struct pairs *current)
{
	for (size_t i = 0; i < policy->n; i++) {
		struct pair *p = &policy->items[i];
		struct slice rest = slice_str(p->value), line;
		struct buf out;

		if (!is_users(p))
			continue;
		buf_init(&out, 0);
		while ((line = policy_line(&rest)).p)
			seal_line(&out, line, pairs_get(current, p->key));
		crypto_wipe((char *)p->value, strlen(p->value));
		free((char *)p->value);
		p->value = buf_steal(&out);
	}
}

bool basic_auth_is_sealed(const struct pairs *policy)
{
	for (size_t i = 0; i < policy->n; i++) {
		struct slice rest = slice_str(policy->items[i].value), line;

		if (!is_users(&policy->items[i]))
			continue;
		while ((line = policy_line(&rest)).p) {
			struct slice hash;
			char *text;
			bool sealed;

			(void)slice_split(line, ':', &hash);
			text = slice_dup(hash);
			sealed = password_is_hash(text);
			crypto_wipe(text, strlen(text));
			free(text);
			if (!sealed)
				return false;
		}
	}
	return true;
}
