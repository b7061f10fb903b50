/* TLS 1.3 records (RFC 8446 §5): sealing and opening with the keys of one direction, and their
 * next generation (§7.2). No I/O and no memory of its own. What OpenSSL 3.0 spends around the
 * cipher itself is three times this, and its connection object is 7.6 kB. */
#ifndef TEMPS_REACTOR_TLS_RECORD_H
#define TEMPS_REACTOR_TLS_RECORD_H

#include <openssl/evp.h>

#include "base/base.h"

#define TLS_RECORD_BYTES 16384		 /* most content of one record */
#define TLS_RECORD_MAX (5 + 16384 + 256) /* and with all that may be around it, §5.2 */
#define TLS_RECORD_EXTRA 22		 /* what a record of ours has around its content */
#define TLS_HASH_MAX 48

/* Content types and the alerts we use. */
enum { TLS_ALERT = 21, TLS_HANDSHAKE = 22, TLS_DATA = 23 };
enum {
	TLS_CLOSE_NOTIFY = 0,
	TLS_UNEXPECTED_MESSAGE = 10,
	TLS_BAD_RECORD_MAC = 20,
	TLS_RECORD_OVERFLOW = 22,
	TLS_DECODE_ERROR = 50,
	TLS_INTERNAL_ERROR = 80,
	TLS_USER_CANCELED = 90,
};

struct tls_suite {
	uint16_t id;	    /* as on the wire */
	EVP_CIPHER *cipher; /* owned */
	EVP_MAC_CTX *mac;   /* owned: HMAC with the suite's hash */
	uint8_t hash_bytes;
};

/* false: out of memory, or the library has no such cipher. */
bool tls_suite_init(struct tls_suite *s, uint16_t id, const char *cipher, const char *hash,
		    uint8_t hash_bytes) MUST_CHECK;
void tls_suite_fini(struct tls_suite *s);

/* One direction. Zeroed before tls_keys_init(). */
struct tls_keys {
	const struct tls_suite *suite; /* borrowed */
	EVP_CIPHER_CTX *cipher;	       /* owned */
	uint64_t sequence;	       /* of the next record */
	uint8_t iv[12];
	uint8_t secret[TLS_HASH_MAX]; /* the traffic secret: set by the caller before init */
};

/* Keys from <k>->secret; <seal>: for our own direction. false: out of memory. */
bool tls_keys_init(struct tls_keys *k, const struct tls_suite *suite, bool seal) MUST_CHECK;
/* After a KeyUpdate, §7.2: the sequence begins anew. */
bool tls_keys_next(struct tls_keys *k) MUST_CHECK;
void tls_keys_fini(struct tls_keys *k);

/* Seals <n> bytes (at most TLS_RECORD_BYTES) into <out>, which takes n + TLS_RECORD_EXTRA bytes and
 * may hold them already, at out + 5. Returns the record's length, 0 when the library fails. */
size_t tls_record_seal(struct tls_keys *k, uint8_t type, const uint8_t *from, size_t n,
		       uint8_t *out) MUST_CHECK;
/* The length of the record that begins with these five bytes; 0: such a record must not come, and
 * <*alert> says why. */
size_t tls_record_length(const uint8_t head[5], uint8_t *alert) MUST_CHECK;
/* Opens a whole record of <bytes> into <out>, which takes bytes - 21 and may be record + 5. Returns
 * 0 with content and type, or an alert; then nothing in <out> may be used. */
uint8_t tls_record_open(struct tls_keys *k, const uint8_t *record, size_t bytes, uint8_t *out,
			size_t *n, uint8_t *type) MUST_CHECK;

#endif
