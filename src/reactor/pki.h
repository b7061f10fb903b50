/* Keys and certificates: the two authorities' own work. ECDSA P-256 throughout. Cold path; text
 * in and out is PEM. */
#ifndef TEMPS_REACTOR_PKI_H
#define TEMPS_REACTOR_PKI_H

#include "base/buf.h"
#include "base/err.h"

#define PKI_DAY_S 86400

/* A new self-signed authority (CA:TRUE, keyCertSign, pathlen 0), valid <days> from an hour ago.
 * Appends PEM. */
int pki_make_ca(const char *common_name, uint32_t days, struct buf *cert_pem, struct buf *key_pem,
		struct err *err) MUST_CHECK;
/* A new P-256 key. */
int pki_make_key(struct buf *key_pem, struct err *err) MUST_CHECK;
/* A signing request for <key_pem>; <common_name> is the node's name. */
int pki_make_csr(struct slice key_pem, const char *common_name, struct buf *csr_pem,
		 struct err *err) MUST_CHECK;

struct pki_names {
	const char *common_name;	/* subject, for people */
	const char *const *dns;		/* NULL-terminated, or NULL */
	const char *const *ips;		/* NULL-terminated literal addresses, or NULL */
	bool client_auth;		/* extendedKeyUsage clientAuth beside serverAuth */
};

/* Signs the public key inside <csr_pem> (its self-signature is verified, its names are ignored:
 * ours count), leaf only. */
int pki_sign_csr(struct slice ca_cert_pem, struct slice ca_key_pem, struct slice csr_pem,
		 const struct pki_names *names, uint32_t days, struct buf *cert_pem,
		 struct err *err) MUST_CHECK;
/* Key and certificate in one go. */
int pki_issue(struct slice ca_cert_pem, struct slice ca_key_pem, const struct pki_names *names,
	      uint32_t days, struct buf *cert_pem, struct buf *key_pem, struct err *err) MUST_CHECK;
/* SHA-256 of the DER form of the first certificate, as 64 hex digits + NUL. */
int pki_fingerprint(struct slice cert_pem, char hex[65], struct err *err) MUST_CHECK;
/* ECDSA-SHA256 over <data> with the authority's key, DER form, appended as base64; and its check
 * with the key of the first certificate in <cert_pem>: 0 it is good, -EKEYREJECTED it is not,
 * -EINVAL unreadable. */
int pki_sign(struct slice key_pem, struct slice data, struct buf *base64,
	     struct err *err) MUST_CHECK;
int pki_verify(struct slice cert_pem, struct slice data, struct slice base64,
	       struct err *err) MUST_CHECK;

#endif
