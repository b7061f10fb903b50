/* Stored certificates: two records each, a small one that is read at start and a large one that is
 * only carried until its first use. */
#include "control/cert_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "reactor/crypto.h"
#include "reactor/loop.h"
#include "reactor/seal.h"

#define KIND "cert"
#define KIND_DATA "cert_data"
#define NAMES_MAX 200
#define CHAIN_MAX_BYTES 65536
#define SHARE_WITH 8 /* that were used last */

struct cert_store {
	const uint8_t *seal_key;
	struct list all, ready;
	struct map by_name; /* record name → struct cert_record */
	struct map index;   /* host → struct cert_record */
	uint32_t ready_n;
};

struct cert_store *cert_store_create(const uint8_t *seal_key)
{
	struct cert_store *cs = xcalloc(1, sizeof(*cs));
	struct hash_key key;

	cs->seal_key = seal_key;
	list_init(&cs->all);
	list_init(&cs->ready);
	hash_key_random(&key);
	map_init(&cs->by_name, &key);
	map_init(&cs->index, &key);
	return cs;
}

static struct cert_record *record_new(struct slice name)
{
	struct cert_record *r = xcalloc(1, sizeof(*r));

	list_init(&r->link);
	list_init(&r->ready);
	r->name = slice_dup(name);
	return r;
}

void cert_record_free(struct cert_record *r)
{
	if (!r)
		return;
	list_remove(&r->link);
	list_remove(&r->ready);
	tls_cert_free(r->cert);
	strs_fini(&r->names);
	free(r->data);
	free(r->name);
	free(r);
}

void cert_store_destroy(struct cert_store *cs)
{
	if (!cs)
		return;
	LIST_FOR_EACH_SAFE(r, &cs->all, struct cert_record, link)
		cert_record_free(r);
	map_fini(&cs->by_name);
	map_fini(&cs->index);
	free(cs);
}

/* ---- which names lead where ---- */

/* The first by record name counts, whatever came in which order. */
static void index_record(struct cert_store *cs, struct cert_record *r)
{
	for (size_t i = 0; i < r->names.n; i++) {
		struct slice host = slice_str(r->names.items[i]);
		struct cert_record *at = map_get(&cs->index, host);

		/* The key is borrowed from the record that it leads to: out with the old one. */
		if (at == r || (at && strcmp(at->name, r->name) < 0))
			continue;
		if (at)
			map_del(&cs->index, host);
		map_put(&cs->index, host, r);
	}
}

static void attach(struct cert_store *cs, struct cert_record *r)
{
	list_push_back(&cs->all, &r->link);
	map_put(&cs->by_name, slice_str(r->name), r);
	index_record(cs, r);
}

/* Names that <r> still serves go to another that has them. */
static void detach(struct cert_store *cs, struct cert_record *r)
{
	bool freed = false;

	for (size_t i = 0; i < r->names.n; i++) {
		struct slice host = slice_str(r->names.items[i]);

		if (map_get(&cs->index, host) == r) {
			map_del(&cs->index, host);
			freed = true;
		}
	}
	cs->ready_n -= r->cert != NULL;
	list_remove(&r->link);
	if (!freed)
		return;
	LIST_FOR_EACH(other, &cs->all, struct cert_record, link)
		index_record(cs, other);
}

/* Most sites have their certificates from one or two authorities. */
static void share_chain(struct cert_store *cs, struct cert_record *r)
{
	unsigned n = 0;

	LIST_FOR_EACH(other, &cs->ready, struct cert_record, ready) {
		if (other != r)
			tls_cert_share(r->cert, other->cert);
		if (++n == SHARE_WITH)
			return;
	}
}

void cert_store_add(struct cert_store *cs, struct cert_record *take_r)
{
	struct cert_record *old = map_get(&cs->by_name, slice_str(take_r->name));

	if (old)
		map_del(&cs->by_name, slice_str(old->name));
	share_chain(cs, take_r);
	list_push_front(&cs->ready, &take_r->ready);
	cs->ready_n++;
	attach(cs, take_r);
	if (old)
		detach(cs, old);
	cert_record_free(old);
}

void cert_store_remove(struct cert_store *cs, struct slice name)
{
	struct cert_record *r = map_del(&cs->by_name, name);

	if (r)
		detach(cs, r);
	cert_record_free(r);
}

/* ---- records ---- */

static void load_names(struct cert_record *r, const struct tls_cert *cert)
{
	struct slice name;
	size_t n = 0;

	while (tls_cert_name(cert, n).n)
		n++;
	n = MIN(n, (size_t)NAMES_MAX);
	r->names.items = xcalloc(n + 1, sizeof(*r->names.items));
	for (size_t i = 0; i < n; i++) {
		char *lower = slice_dup(name = tls_cert_name(cert, i));

		for (char *p = lower; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p |= 0x20;
		r->names.items[r->names.n++] = lower;
	}
}

static char *seal(const struct cert_store *cs, struct slice chain, struct slice key)
{
	struct json_out o;
	struct buf sealed, b;
	int rc;

	buf_init(&sealed, 0);
	buf_init(&b, 0);
	rc = seal_close(cs->seal_key, key, &sealed);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_int(&o, "v", 1);
	json_put_slice(&o, "chain", chain);
	json_put_slice(&o, "sealed", buf_slice(&sealed));
	json_obj_end(&o);
	buf_fini(&sealed);
	if (rc)
		buf_fini(&b);
	return rc ? NULL : buf_steal(&b);
}

int cert_record_make(struct cert_record **out, const struct cert_store *cs, struct slice name,
		     struct slice chain_pem, struct slice key_pem, struct err *err)
{
	struct cert_record *r;
	int rc;

	if (chain_pem.n > CHAIN_MAX_BYTES)
		return err_say(err, -EINVAL, "a chain has at most %d bytes", CHAIN_MAX_BYTES);
	if (map_count(&cs->by_name) >= CERT_STORE_MAX && !map_get(&cs->by_name, name))
		return err_say(err, -ENOSPC, "there are %d certificates already", CERT_STORE_MAX);
	r = record_new(name);
	rc = tls_cert_load(&r->cert, chain_pem, key_pem, err);
	if (!rc) {
		load_names(r, r->cert);
		r->not_after_ms = tls_cert_not_after(r->cert);
		if (!r->names.n)
			rc = err_say(err, -EINVAL,
				     "the certificate names no host (subjectAltName)");
		else if (r->not_after_ms <= loop_wall_ms())
			rc = err_say(err, -EINVAL, "the certificate has ended");
		else if (!(r->data = seal(cs, chain_pem, key_pem)))
			rc = err_say(err, -EIO, "the key could not be sealed");
	}
	if (rc)
		cert_record_free(r);
	else
		*out = r;
	return rc;
}

void cert_record_put(const struct cert_record *r, struct store_txn *t)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_int(&o, "v", 1);
	strs_put(&r->names, &o, "names");
	json_put_int(&o, "not_after_ms", (int64_t)r->not_after_ms);
	json_obj_end(&o);
	store_txn_put(t, KIND, slice_str(r->name), buf_slice(&b));
	store_txn_put(t, KIND_DATA, slice_str(r->name), slice_str(r->data));
	buf_fini(&b);
}

void cert_record_del(struct slice name, struct store_txn *t)
{
	store_txn_del(t, KIND, name);
	store_txn_del(t, KIND_DATA, name);
}

static int on_record(void *arg, struct slice key, struct slice value, struct err *err)
{
	struct cert_store *cs = arg;
	struct cert_record *r = record_new(key);
	struct json *j = NULL;
	int rc = json_parse(&j, value, err);

	if (!rc && json_int(json_get(j, "v"), 0) != 1)
		rc = err_say(err, -EPROTO, "written by a newer temps");
	if (!rc)
		rc = strs_load(&r->names, j, "names", NAMES_MAX, err);
	r->not_after_ms = (uint64_t)json_int(json_get(j, "not_after_ms"), 0);
	json_free(j);
	if (rc) {
		cert_record_free(r);
		return err_prefix(err, "stored certificate \"%.*s\"", SLICE_ARG(key));
	}
	attach(cs, r);
	return 0;
}

/* Not even looked at: ten thousand of them would take a second. */
static int on_data(void *arg, struct slice key, struct slice value, struct err *err)
{
	struct cert_store *cs = arg;
	struct cert_record *r = map_get(&cs->by_name, key);

	(void)err;
	if (r)
		r->data = slice_dup(value);
	return 0;
}

int cert_store_load(struct cert_store *cs, struct store *store, struct err *err)
{
	int rc = store_range(store, KIND, on_record, cs, err);

	return rc ? rc : store_range(store, KIND_DATA, on_data, cs, err);
}

/* ---- use ---- */

static int open_data(const struct cert_store *cs, struct cert_record *r, struct err *err)
{
	struct json *j = NULL;
	struct buf key;
	int rc = r->data ? json_parse(&j, slice_str(r->data), err)
			 : err_say(err, -ENOENT, "its chain and key are not in the store");

	buf_init(&key, CHAIN_MAX_BYTES);
	if (!rc && seal_open(cs->seal_key, json_str(json_get(j, "sealed"), ""), &key))
		rc = err_say(err, -EKEYREJECTED,
			     "its key cannot be opened: was secret.key replaced? Add it again");
	if (!rc)
		rc = tls_cert_load(&r->cert, json_str(json_get(j, "chain"), ""), buf_slice(&key),
				   err);
	if (key.data)
		crypto_wipe(key.data, key.len);
	buf_fini(&key);
	json_free(j);
	return rc;
}

static void make_ready(struct cert_store *cs, struct cert_record *r)
{
	struct err err;

	if (open_data(cs, r, &err)) {
		log_error("certificate %s: %s", r->name, err.text);
		r->broken = true;
		return;
	}
	if (cs->ready_n >= CERT_STORE_READY_MAX) {
		struct cert_record *last = LIST_LAST(&cs->ready, struct cert_record, ready);

		list_remove(&last->ready);
		tls_cert_free(last->cert);
		last->cert = NULL;
		cs->ready_n--;
	}
	share_chain(cs, r);
	cs->ready_n++;
}

const struct tls_cert *cert_store_pick(struct cert_store *cs, struct slice host)
{
	struct cert_record *r = map_get(&cs->index, host);

	if (!r)
		return NULL;
	if (!r->cert && !r->broken)
		make_ready(cs, r);
	if (!r->cert)
		return NULL;
	list_remove(&r->ready);
	list_push_front(&cs->ready, &r->ready);
	return r->cert;
}

const struct cert_record *cert_store_find(const struct cert_store *cs, struct slice name)
{
	return map_get(&cs->by_name, name);
}

const struct list *cert_store_all(const struct cert_store *cs)
{
	return &cs->all;
}
