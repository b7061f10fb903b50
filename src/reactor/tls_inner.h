/* What tls.c (contexts), tls_cert.c (certificates), tls_handshake.c (every connection's beginning),
 * tls12.c and tls13.c (the rest of it) share. */
#ifndef TEMPS_REACTOR_TLS_INNER_H
#define TEMPS_REACTOR_TLS_INNER_H

#include <openssl/ssl.h>

#include "base/pool.h"
#include "reactor/deadline.h"
#include "reactor/stream.h"
#include "reactor/stream_inner.h"
#include "reactor/tls.h"
#include "reactor/tls_record.h"

#define TLS_SUITES 3
#define TLS_SCRATCH_BYTES (4 * (TLS_RECORD_BYTES + TLS_RECORD_EXTRA) + 1024)
/* One record and a few small ones of our own behind it. */
#define TLS_BLOCK_BYTES (TLS_RECORD_MAX + 139)
/* Read from the socket for one call. OpenSSL goes on inside a call while records carry nothing for
 * us: without an end, a peer that sends nothing else would own the loop. */
#define TLS_CALL_BUDGET_BYTES (4 * TLS_RECORD_BYTES)

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
	struct tls_suite suites[TLS_SUITES];
	uint64_t turn_us; /* the turn that <hellos> counts */
	uint32_t hellos;
	struct pool blocks; /* of TLS_BLOCK_BYTES: what waits between two calls */
	/* What one call passes through: nothing stays here. */
	uint8_t in[TLS_SCRATCH_BYTES], out[TLS_SCRATCH_BYTES];
};

struct tls_cert {
	X509 *leaf;
	STACK_OF(X509) * chain; /* without the leaf */
	EVP_PKEY *key;
	char **names;
	size_t name_count;
};

struct stream_tls {
	SSL *ssl; /* NULL once TLS 1.3 has its keys */
	struct tls_server *server;
	struct stream *stream;
	const struct tls_cert *picked; /* between two callbacks of one handshake step */
	struct slice alpn;	       /* in the server's list */

	/* What was received and waits, leased while there is any: records from <in_pos> to
	 * <in_last>, and before them content that is opened already. */
	uint8_t *in;
	uint32_t in_pos, in_last, plain_pos, plain_last;
	/* What was sealed and is not sent yet, leased while there is any. */
	uint8_t *out;
	uint32_t out_pos, out_last;
	uint32_t retry_bytes; /* content in there: the owner offers it again, and then it counts */
	struct tls_keys rx, tx; /* TLS 1.3 */

	size_t budget_bytes;  /* what this call may still read from the socket */
	int failed;	      /* negative errno of a fatal error; nothing is tried any more */
	int sys_error;	      /* negative errno of the last failed system call */
	uint8_t tickets;      /* sent in the handshake: records under the final keys */
	uint8_t idle_records; /* without content, one after the other */
	bool answered;	      /* the hello was taken on */
	bool more;	      /* another record follows the one being written */
	bool done;	      /* handshake */
	bool drained;	      /* the socket had nothing more: no read(2) until the kernel tells */
	bool bulk;	      /* the last read(2) got all that it asked for */
	bool dry;	      /* and OpenSSL holds no whole record */
	bool ended;	      /* close_notify came */
	bool end_told;
	bool cut; /* end of file on the socket */
	bool read_wants_write, write_wants_read;
	bool owes_update; /* the peer asked for new keys of ours */
	bool flush_waits; /* <out> must go, and the socket was full */
	bool bye_sent, bye_waits;
};

/* tls.c: a new key seals, the last one still opens, the one before is gone. */
void tls_rotate_tickets(struct tls_server *server);

extern const struct stream_kind tls12_kind, tls13_kind;

/* ---- tls_handshake.c ---- */

/* A client's hello is complete and about to be answered. */
void tls_count_hello(struct stream_tls *t);
/* BIO over struct stream_tls; NULL when memory is out. */
BIO_METHOD *tls_bio_method(void);
/* Sends <out> and gives the block back: 0, -EAGAIN (flush_waits is set) or why it failed. */
int tls_flush(struct stream_tls *t, bool more);
/* Says so once: what was read before it comes first. */
ssize_t tls_tell_end(struct stream_tls *t);
/* Copies up to <max> bytes of the pieces from byte <skip> on to <out>; when the piece there holds as
 * much by itself, points to it instead. Returns how many. */
size_t tls_gather(const struct iovec *iov, int iovcnt, size_t skip, size_t max, uint8_t *out,
		  const uint8_t **from);
int tls_no_handshake(struct stream *s, int *events);
/* What every kind does when it is woken for writing: sends what waits, and FIN behind the goodbye. */
void tls_flush_woken(struct stream_tls *t);
/* The last of <t>: blocks, keys, memory. */
void tls_free(struct stream_tls *t);

/* ---- tls13.c ---- */

/* From OpenSSL's hands into ours, right after the handshake. false: it cannot go on. */
bool tls13_take_over(struct stream_tls *t) MUST_CHECK;

#endif
