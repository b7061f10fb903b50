/* Certificates that were given to the API: stored, their keys sealed, and made ready for use when
 * somebody asks for one of their names, so that ten thousand cost neither start nor memory. Lives on
 * the loop thread. */
#ifndef TEMPS_CONTROL_CERT_STORE_H
#define TEMPS_CONTROL_CERT_STORE_H

#include "base/json.h"
#include "base/list.h"
#include "base/pairs.h"
#include "reactor/tls.h"
#include "store/store.h"

#define CERT_STORE_MAX 20000	  /* certificates */
#define CERT_STORE_READY_MAX 4096 /* ready for use at once: 8 kB each */

struct cert_store;

struct cert_record {
	struct list link;  /* cert_store_all(), by age */
	struct list ready; /* linked: <cert> is there; latest used first */
	char *name;	   /* of the record: text_is_name() */
	struct strs names; /* DNS names, lower case, some with "*." in front, and addresses */
	uint64_t not_after_ms;
	char *data; /* JSON: chain and sealed key; NULL: the store had none */
	struct tls_cert *cert;
	bool broken; /* it could not be made ready; said once */
};

/* <seal_key> is borrowed for ever. */
struct cert_store *cert_store_create(const uint8_t *seal_key);
void cert_store_destroy(struct cert_store *cs);
/* Reads the records; before the loop runs. */
int cert_store_load(struct cert_store *cs, struct store *store, struct err *err) MUST_CHECK;

/* A new record from PEM text: -EINVAL says what is wrong (key and chain do not belong together, no
 * names, ended), -ENOSPC: there are CERT_STORE_MAX. */
int cert_record_make(struct cert_record **out, const struct cert_store *cs, struct slice name,
		     struct slice chain_pem, struct slice key_pem, struct err *err) MUST_CHECK;
void cert_record_free(struct cert_record *r);
/* Its two stored forms, and their end. */
void cert_record_put(const struct cert_record *r, struct store_txn *t);
void cert_record_del(struct slice name, struct store_txn *t);
/* After the commit: it is served from now on, instead of an older one of that name. */
void cert_store_add(struct cert_store *cs, struct cert_record *take_r);
void cert_store_remove(struct cert_store *cs, struct slice name);

const struct cert_record *cert_store_find(const struct cert_store *cs, struct slice name);
const struct list *cert_store_all(const struct cert_store *cs); /* struct cert_record */
/* The certificate for exactly this name ("*.…" is one too), made ready when it is not: about 0.5 ms
 * once in a while, less than the handshake that waits for it and than a trip to the work thread and
 * back is worth. Of several certificates with the name the first by record name counts. NULL: none.
 * Borrowed until the loop turns. */
const struct tls_cert *cert_store_pick(struct cert_store *cs, struct slice host);

#endif
