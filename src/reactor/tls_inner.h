/* What tls.c (contexts), tls_cert.c (certificates) and tls_stream.c (connections) share. */
#ifndef TEMPS_REACTOR_TLS_INNER_H
#define TEMPS_REACTOR_TLS_INNER_H

#include <openssl/ssl.h>

#include "reactor/deadline.h"
#include "reactor/stream.h"
#include "reactor/tls.h"

#define TLS_RECORD_BYTES 16384 /* most payload of one record, RFC 8446 §5.1 */

struct tls_ticket_key {
	uint8_t name[16];
	uint8_t cipher[32]; /* AES-256-CBC */
	uint8_t mac[32];    /* HMAC-SHA256 */
};

struct tls_server {
	SSL_CTX *ctx;
	BIO_METHOD *bio;
	struct loop *loop;
	tls_pick_fn *pick;
	void *pick_arg;
	uint8_t *alpn; /* in wire form */
	unsigned alpn_bytes;
	EVP_CIPHER *ticket_cipher;
	struct tls_ticket_key tickets[2]; /* [0] seals; both open. In memory only */
	struct deadline rotation;
	uint8_t gather[TLS_RECORD_BYTES]; /* small pieces become one record here */
};

struct tls_cert {
	X509 *leaf;
	STACK_OF(X509) * chain; /* without the leaf */
	EVP_PKEY *key;
	char **names;
	size_t name_count;
};

struct stream_tls {
	SSL *ssl;
	struct tls_server *server;
	struct stream *stream;
	const struct tls_cert *picked; /* between two callbacks of one handshake step */
	char *sni;		       /* owned, lower case; NULL: none was sent */
	size_t budget_bytes;	       /* what this call may still read from the socket */
	uint32_t retry_bytes; /* a record of this much payload is sealed and half written */
	int failed;	      /* negative errno of a fatal error; nothing is tried any more */
	int sys_error;	      /* negative errno of the last failed system call */
	bool more;	      /* another record follows the one being written */
	bool done;	      /* handshake */
	bool drained;	      /* the socket had nothing more: no read(2) until the kernel tells */
	bool dry;	      /* and OpenSSL holds no whole record */
	bool ended;	      /* close_notify came */
	bool end_told;
	bool cut; /* end of file on the socket */
	bool read_wants_write, write_wants_read;
	bool bye_sent, bye_waits;
};

/* BIO over struct stream_tls; NULL when memory is out. */
BIO_METHOD *tls_bio_method(void);

#endif
