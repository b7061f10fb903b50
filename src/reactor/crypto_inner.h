/* What the files that call OpenSSL share: reading PEM, and its error queue as text. */
#ifndef TEMPS_REACTOR_CRYPTO_INNER_H
#define TEMPS_REACTOR_CRYPTO_INNER_H

#include <openssl/x509.h>

#include "base/err.h"
#include "base/slice.h"

/* Fills <err> with "<what>: <OpenSSL's first reason>", empties its queue, returns <rc>. */
int crypto_fail(struct err *err, int rc, const char *what);
/* A read-only BIO over <pem>; NULL when memory is out. */
BIO *crypto_bio(struct slice pem);
/* The first certificate or key in the text, the caller's to free; NULL leaves the reason in
 * OpenSSL's queue. Never asks for a passphrase: an encrypted key is refused. */
X509 *crypto_read_cert(struct slice pem);
EVP_PKEY *crypto_read_key(struct slice pem);
/* The key of <cert>, if it is of the same kind; faster. Whether they fit is for the caller to check. */
EVP_PKEY *crypto_read_key_for(struct slice pem, X509 *cert);
/* ms since 1970; 0 for a time that is none. */
uint64_t crypto_time_ms(const ASN1_TIME *at);

#endif
