/* Chooses, issues and renews the front door's certificates. */
#include "control/certs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/config.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/text.h"
#include "reactor/deadline.h"
#include "reactor/loop.h"
#include "reactor/pki.h"

#define LEAF_DAYS 90
#define PEM_MAX_BYTES 262144
#define CONSOLE_IPS_MAX 64

#define DAY_MS 86400000

struct given {
	struct tls_cert *cert;
};

/* What says that a file is another one, or was written to. */
struct file_mark {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct issued {
	struct list link;	/* certs.lru, latest used first */
	struct tls_cert *cert;
	uint64_t renew_at_ms;	/* wall */
	char name[256];		/* the map's key: a host, maybe with "*." in front */
};

struct certs {
	struct certs_config config;
	char **ips;
	struct given *given;	/* config.ngiven of them */
	struct map by_name;	/* names of given certificates → struct tls_cert */
	struct map issued;	/* name → struct issued */
	struct list lru;
	struct tls_cert *console;
	uint64_t console_renew_at_ms;
	struct file_mark *marks; /* two for each of the given, as they were when last read */
	struct deadline watch, daily;
};

static uint64_t renew_at(const struct tls_cert *cert)
{
	uint64_t from = tls_cert_not_before(cert), to = tls_cert_not_after(cert);

	return from + (to - from) / 3 * 2;
}

static int load_given(const struct serve_cert *files, struct tls_cert **out, struct err *err)
{
	char *chain = NULL, *key = NULL;
	size_t chain_len, key_len;
	int rc = file_read(files->cert_file, PEM_MAX_BYTES, &chain, &chain_len, err);

	if (!rc)
		rc = file_read(files->key_file, PEM_MAX_BYTES, &key, &key_len, err);
	if (!rc && tls_cert_load(out, slice_of(chain, chain_len), slice_of(key, key_len), err))
		rc = err_prefix(err, "certificate %s with key %s", files->cert_file,
				files->key_file);
	free(chain);
	free(key);
	return rc;
}

static void free_given(struct given *given, size_t n)
{
	for (size_t i = 0; given && i < n; i++)
		tls_cert_free(given[i].cert);
	free(given);
}

static void index_given(struct certs *c)
{
	struct slice name;

	for (size_t i = 0; i < c->config.ngiven; i++)
		for (size_t k = 0; (name = tls_cert_name(c->given[i].cert, k)).n; k++)
			if (!map_get(&c->by_name, name))
				map_put(&c->by_name, name, c->given[i].cert);
}

static void mark_file(struct file_mark *m, const char *path)
{
	struct stat st;

	memset(m, 0, sizeof(*m));
	if (stat(path, &st) == 0) {
		m->device = st.st_dev;
		m->inode = st.st_ino;
		m->size = st.st_size;
		m->changed = st.st_mtim;
	}
}

/* true: one has changed since the last time. */
static bool mark_files(struct certs *c)
{
	bool changed = false;

	for (size_t i = 0; i < 2 * c->config.ngiven; i++) {
		const struct serve_cert *files = &c->config.given[i / 2];
		struct file_mark now;

		mark_file(&now, i % 2 ? files->key_file : files->cert_file);
		changed |= memcmp(&now, &c->marks[i], sizeof(now)) != 0;
		c->marks[i] = now;
	}
	return changed;
}

int certs_reload(struct certs *c, struct err *err)
{
	struct given *fresh = xcalloc(c->config.ngiven + 1, sizeof(*fresh));
	struct hash_key key;

	mark_files(c);	/* before they are read: what comes later is a change */
	for (size_t i = 0; i < c->config.ngiven; i++) {
		int rc = load_given(&c->config.given[i], &fresh[i].cert, err);

		if (rc) {
			free_given(fresh, c->config.ngiven);
			return rc;
		}
	}
	map_fini(&c->by_name);
	hash_key_random(&key);
	map_init(&c->by_name, &key);
	free_given(c->given, c->config.ngiven);
	c->given = fresh;
	index_given(c);
	return 0;
}

/* Certificate and key are two files: while one of them is new the pair does not fit, and the next
 * look finds the other one changed too. */
static void on_watch(void *arg)
{
	struct certs *c = arg;
	struct err err;

	deadline_set(&c->watch, CERTS_WATCH_MS);
	if (!mark_files(c))
		return;
	if (certs_reload(c, &err))
		log_error("certificates are left as they were: %s", err.text);
	else
		log_info("certificates were read again: their files have changed");
}

static int64_t days_left(uint64_t not_after_ms)
{
	int64_t left_ms = (int64_t)(not_after_ms - loop_wall_ms());

	return left_ms < 0 ? -1 : left_ms / DAY_MS;
}

static void warn_of_end(const char *what, const char *name, uint64_t not_after_ms)
{
	int64_t days = days_left(not_after_ms);

	if (days < 0)
		log_warn("certificate %s%s has ended: give a new one", what, name);
	else if (days < CERTS_SOON_DAYS)
		log_warn("certificate %s%s ends in %" PRId64 " days: give a new one", what, name,
			 days);
}

static void on_daily(void *arg)
{
	struct certs *c = arg;

	deadline_set(&c->daily, DAY_MS);
	for (size_t i = 0; i < c->config.ngiven; i++)
		warn_of_end("in ", c->config.given[i].cert_file,
			    tls_cert_not_after(c->given[i].cert));
	if (!c->config.stored)
		return;
	LIST_FOR_EACH(r, cert_store_all(c->config.stored), struct cert_record, link)
		warn_of_end("", r->name, r->not_after_ms);
}

static int issue(const struct certs *c, const struct pki_names *names, struct tls_cert **out,
		 struct err *err)
{
	struct buf cert, key;
	int rc;

	buf_init(&cert, PEM_MAX_BYTES);
	buf_init(&key, PEM_MAX_BYTES);
	rc = pki_issue(c->config.front_ca->cert_pem, c->config.front_ca->key_pem, names, LEAF_DAYS,
		       &cert, &key, err);
	if (!rc)
		rc = tls_cert_load(out, buf_slice(&cert), buf_slice(&key), err);
	buf_fini(&cert);
	buf_fini(&key);
	return rc;
}

static int issue_console(struct certs *c, struct err *err)
{
	const char *dns[3] = { "localhost", c->config.console_host, NULL };
	struct pki_names names = {
		.common_name = c->config.console_host ? c->config.console_host : "temps",
		.dns = dns,
		.ips = (const char *const *)c->ips,
	};
	struct tls_cert *fresh;
	int rc = issue(c, &names, &fresh, err);

	if (rc)
		return rc;
	tls_cert_free(c->console);
	c->console = fresh;
	c->console_renew_at_ms = renew_at(fresh);
	return 0;
}

static char **copy_ips(const char *const *ips)
{
	char **out = xcalloc(CONSOLE_IPS_MAX + 1, sizeof(*out));
	size_t n = 0;

	out[n++] = xstrdup("127.0.0.1");
	out[n++] = xstrdup("::1");
	for (; ips && *ips && n < CONSOLE_IPS_MAX; ips++) {
		bool known = false;

		for (size_t i = 0; i < n; i++)
			known |= strcmp(out[i], *ips) == 0;
		if (!known)
			out[n++] = xstrdup(*ips);
	}
	return out;
}

int certs_create(struct certs **out, const struct certs_config *config, struct err *err)
{
	struct certs *c = xcalloc(1, sizeof(*c));
	struct hash_key key;
	int rc;

	c->config = *config;
	c->ips = copy_ips(config->ips);
	list_init(&c->lru);
	hash_key_random(&key);
	map_init(&c->by_name, &key);
	map_init(&c->issued, &key);
	c->marks = xcalloc(2 * config->ngiven + 1, sizeof(*c->marks));
	deadline_init(&c->watch, config->loop, on_watch, c);
	deadline_init(&c->daily, config->loop, on_daily, c);
	rc = certs_reload(c, err);
	if (!rc)
		rc = issue_console(c, err);
	if (rc) {
		certs_destroy(c);
		return rc;
	}
	if (config->ngiven)
		deadline_set(&c->watch, CERTS_WATCH_MS);
	on_daily(c);
	*out = c;
	return 0;
}

static void forget(struct certs *c, struct issued *i)
{
	map_del(&c->issued, slice_str(i->name));
	list_remove(&i->link);
	tls_cert_free(i->cert);
	free(i);
}

void certs_destroy(struct certs *c)
{
	if (!c)
		return;
	LIST_FOR_EACH_SAFE(i, &c->lru, struct issued, link)
		forget(c, i);
	map_fini(&c->issued);
	map_fini(&c->by_name);
	if (c->given)
		free_given(c->given, c->config.ngiven);
	tls_cert_free(c->console);
	deadline_stop(&c->watch);
	deadline_stop(&c->daily);
	free(c->marks);
	for (char **ip = c->ips; *ip; ip++)
		free(*ip);
	free(c->ips);
	free(c);
}

/* "*.example.test" for "a.example.test"; empty when there is no label to replace. <out> takes 256
 * bytes. */
static struct slice wildcard_of(struct slice host, char *out)
{
	const char *dot = memchr(host.p, '.', host.n);
	size_t rest;

	if (!dot)
		return (struct slice){ 0 };
	rest = host.n - (size_t)(dot - host.p);
	if (rest + 1 >= 256)
		return (struct slice){ 0 };
	out[0] = '*';
	memcpy(out + 1, dot, rest);
	return slice_of(out, rest + 1);
}

static const struct tls_cert *issue_host(struct certs *c, struct slice name)
{
	struct issued *i = xcalloc(1, sizeof(*i));
	struct err err;
	int rc = slice_copy(name, i->name, sizeof(i->name));
	const char *dns[] = { i->name, NULL };
	/* X.509 allows a common name 64 characters; the names that count are in subjectAltName. */
	struct pki_names names = { .common_name = name.n <= 64 ? i->name : "temps", .dns = dns };

	if (rc || (rc = issue(c, &names, &i->cert, &err))) {
		log_error("certificate for %.*s: %s", SLICE_ARG(name),
			  rc == -ENAMETOOLONG ? "name too long" : err.text);
		free(i);
		return NULL;
	}
	i->renew_at_ms = renew_at(i->cert);
	if (map_count(&c->issued) >= CERTS_CACHE_MAX)
		forget(c, LIST_LAST(&c->lru, struct issued, link));
	list_push_front(&c->lru, &i->link);
	map_put(&c->issued, slice_str(i->name), i);
	return i->cert;
}

static const struct tls_cert *pick_issued(struct certs *c, struct slice name)
{
	struct issued *i = map_get(&c->issued, name);

	if (i && loop_wall_ms() < i->renew_at_ms) {
		list_remove(&i->link);
		list_push_front(&c->lru, &i->link);
		return i->cert;
	}
	if (i)
		forget(c, i);
	return issue_host(c, name);
}

static const struct tls_cert *pick_console(struct certs *c)
{
	struct err err;

	if (loop_wall_ms() >= c->console_renew_at_ms && issue_console(c, &err))
		log_error("certificate of the console: %s", err.text);
	return c->console;
}

static const struct tls_cert *pick_given(struct certs *c, struct slice name)
{
	const struct tls_cert *cert = map_get(&c->by_name, name);

	return cert || !c->config.stored ? cert : cert_store_pick(c->config.stored, name);
}

const struct tls_cert *certs_pick(void *arg, struct slice sni)
{
	struct certs *c = arg;
	const struct tls_cert *cert = NULL;
	char text[256];
	struct slice wildcard;

	if (sni.n == 0)
		return pick_console(c);
	wildcard = wildcard_of(sni, text);
	cert = pick_given(c, sni);
	if (!cert && wildcard.n)
		cert = pick_given(c, wildcard);
	/* One certificate for all hosts of a wildcard route, so that made-up names cost nothing. */
	if (!cert && wildcard.n && c->config.routed(c->config.arg, wildcard))
		cert = pick_issued(c, wildcard);
	if (!cert && c->config.routed(c->config.arg, sni))
		cert = pick_issued(c, sni);
	return cert ? cert : pick_console(c);
}

static void emit_end(struct json_out *o, const char *issuer, const char *source,
		     uint64_t not_after_ms, bool renewed)
{
	int64_t days = days_left(not_after_ms);

	json_put_str(o, "issuer", issuer);
	json_put_time(o, "not_after", not_after_ms);
	json_put_int(o, "days_left", days);
	json_put_bool(o, "ends_soon", !renewed && days < CERTS_SOON_DAYS);
	json_put_str(o, "source", source);
	json_obj_end(o);
}

static void emit_one(struct json_out *o, const struct tls_cert *cert, const char *issuer,
		     const char *source)
{
	struct slice name;

	json_obj(o, NULL);
	json_put_slice(o, "name", tls_cert_name(cert, 0));
	json_arr(o, "names");
	for (size_t k = 0; (name = tls_cert_name(cert, k)).n; k++)
		json_put_slice(o, NULL, name);
	json_arr_end(o);
	emit_end(o, issuer, source, tls_cert_not_after(cert), issuer != NULL);
}

static void emit_stored(struct json_out *o, const struct cert_record *r)
{
	json_obj(o, NULL);
	json_put_str(o, "id", r->name);
	json_put_str(o, "name", r->names.n ? r->names.items[0] : NULL);
	strs_put(&r->names, o, "names");
	emit_end(o, NULL, "store", r->not_after_ms, false);
}

size_t certs_emit(const struct certs *c, struct json_out *o)
{
	size_t n = 1;

	emit_one(o, c->console, "temps front CA", "front-ca");
	for (size_t i = 0; i < c->config.ngiven; i++, n++)
		emit_one(o, c->given[i].cert, NULL, "file");
	if (c->config.stored) {
		LIST_FOR_EACH(r, cert_store_all(c->config.stored), struct cert_record, link) {
			emit_stored(o, r);
			n++;
		}
	}
	LIST_FOR_EACH(i, &c->lru, struct issued, link) {
		emit_one(o, i->cert, "temps front CA", "front-ca");
		n++;
	}
	return n;
}

static void note_end(struct certs_stats *s, uint64_t end_ms)
{
	if (!s->end_ms || end_ms < s->end_ms)
		s->end_ms = end_ms;
}

struct certs_stats certs_stats(const struct certs *c)
{
	struct certs_stats s = { .given = (uint32_t)c->config.ngiven, .issued = map_count(&c->issued) };

	for (size_t i = 0; i < c->config.ngiven; i++)
		note_end(&s, tls_cert_not_after(c->given[i].cert));
	if (!c->config.stored)
		return s;
	LIST_FOR_EACH(r, cert_store_all(c->config.stored), struct cert_record, link) {
		note_end(&s, r->not_after_ms);
		s.stored++;
	}
	return s;
}
