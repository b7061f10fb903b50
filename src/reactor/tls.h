/* TLS for listeners: one SSL_CTX, a certificate chosen per connection by name, session tickets
 * with rotating keys. */
#ifndef TEMPS_REACTOR_TLS_H
#define TEMPS_REACTOR_TLS_H

#include "base/err.h"
#include "base/slice.h"
#include "reactor/loop.h"

struct tls_server;
struct tls_cert; /* a loaded chain and key */

/* Which certificate serves <sni> (lower case, empty when the client named none)? Borrowed, valid
 * until the callback returns; NULL refuses the handshake (alert unrecognized_name). Called from
 * inside stream_handshake(). */
typedef const struct tls_cert *tls_pick_fn(void *arg, struct slice sni);

/* TLS 1.2 and 1.3, P-256 and X25519, server's cipher order, no renegotiation, no compression, no
 * 0-RTT, tickets on. <alpn> is a NULL-terminated list in order of preference; borrowed for ever. */
int tls_server_create(struct tls_server **out, struct loop *l, const char *const *alpn,
		      tls_pick_fn *pick, void *arg, struct err *err) MUST_CHECK;
/* Every stream of it must be closed. NULL is fine. */
void tls_server_destroy(struct tls_server *t);
/* The keys of session tickets, for a process that goes on with what this one began: a secret, never
 * to be written to disk. */
#define TLS_TICKET_KEYS_BYTES 160
void tls_server_ticket_keys(const struct tls_server *t, uint8_t out[TLS_TICKET_KEYS_BYTES]);
/* Takes those of another process; the next change of keys is a whole period away. */
void tls_server_set_ticket_keys(struct tls_server *t, const uint8_t keys[TLS_TICKET_KEYS_BYTES]);
const struct pool *tls_server_pool(const struct tls_server *t); /* of blocks, for listings */

/* PEM text: the chain leaf first, and the key. Checks that they match. -EINVAL names the cause. */
int tls_cert_load(struct tls_cert **out, struct slice chain_pem, struct slice key_pem,
		  struct err *err) MUST_CHECK;
void tls_cert_free(struct tls_cert *c);
/* Certificates of the authorities that both have are held once from now on: 5 kB each. */
void tls_cert_share(struct tls_cert *c, const struct tls_cert *other);
/* Times in ms since 1970. */
uint64_t tls_cert_not_before(const struct tls_cert *c);
uint64_t tls_cert_not_after(const struct tls_cert *c);
/* The names it is good for (DNS names and literal addresses of subjectAltName), i from 0; empty
 * at the end. */
struct slice tls_cert_name(const struct tls_cert *c, size_t i);

#endif
