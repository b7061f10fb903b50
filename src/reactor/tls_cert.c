/* Certificates from PEM text: chain, key, and the names they are good for. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/crypto_inner.h"
#include "reactor/tls_inner.h"

static bool no_start_line(void)
{
	return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

/* Where OpenSSL's reason ("unsupported", "interrupted or cancelled") would tell nobody what to do. */
static int refuse(struct err *err, const char *why)
{
	ERR_clear_error();
	return err_say(err, -EINVAL, "%s", why);
}

static int read_chain(struct tls_cert *c, struct slice pem, struct err *err)
{
	BIO *b = crypto_bio(pem);
	X509 *x = NULL;

	c->chain = sk_X509_new_null();
	if (!b || !c->chain) {
		BIO_free(b);
		return crypto_fail(err, -ENOMEM, "certificate");
	}
	c->leaf = PEM_read_bio_X509(b, NULL, NULL, NULL);
	while (c->leaf && (x = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
		if (sk_X509_push(c->chain, x) <= 0)
			break;
		x = NULL;
	}
	X509_free(x);
	BIO_free(b);
	if (!c->leaf)
		return no_start_line() ? refuse(err, "certificate: expected PEM, from the line -----BEGIN CERTIFICATE----- on") :
					 crypto_fail(err, -EINVAL, "certificate");
	/* The loop ends at the text's end, which OpenSSL calls an error; anything else is one. */
	if (x || !no_start_line())
		return crypto_fail(err, -EINVAL, "certificate chain");
	ERR_clear_error();
	return 0;
}

/* NULL for kinds of names that no client connects by, and for bytes no name has. */
static char *name_text(const GENERAL_NAME *n)
{
	char ip[INET6_ADDRSTRLEN] = "";
	const ASN1_STRING *value;
	int type, len;
	const unsigned char *p;

	value = GENERAL_NAME_get0_value(n, &type);
	if (type != GEN_DNS && type != GEN_IPADD)
		return NULL;
	p = ASN1_STRING_get0_data(value);
	len = ASN1_STRING_length(value);
	if (type == GEN_DNS)
		return memchr(p, '\0', (size_t)len) ? NULL : xstrndup((const char *)p, (size_t)len);
	if (len == 4 || len == 16)
		inet_ntop(len == 4 ? AF_INET : AF_INET6, p, ip, sizeof(ip));
	return ip[0] ? xstrdup(ip) : NULL;
}

static void read_names(struct tls_cert *c)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	int n = names ? sk_GENERAL_NAME_num(names) : 0;

	c->names = xcalloc((size_t)n + 1, sizeof(*c->names));
	for (int i = 0; i < n; i++) {
		char *text = name_text(sk_GENERAL_NAME_value(names, i));

		if (text)
			c->names[c->name_count++] = text;
	}
	GENERAL_NAMES_free(names);
}

int tls_cert_load(struct tls_cert **out, struct slice chain_pem, struct slice key_pem,
		  struct err *err)
{
	struct tls_cert *c = xcalloc(1, sizeof(*c));
	int rc = read_chain(c, chain_pem, err);

	if (!rc) {
		c->key = crypto_read_key_for(key_pem, c->leaf);
		if (!c->key)
			rc = refuse(err, "key: expected a private key as PEM, ECDSA or RSA, without a passphrase");
		else if (X509_check_private_key(c->leaf, c->key) != 1)
			rc = refuse(err, "certificate and key do not belong together: the key is the first certificate's");
	}
	if (rc) {
		tls_cert_free(c);
		return rc;
	}
	read_names(c);
	ERR_clear_error();
	*out = c;
	return 0;
}

void tls_cert_share(struct tls_cert *c, const struct tls_cert *other)
{
	int n = MIN(sk_X509_num(c->chain), sk_X509_num(other->chain));

	for (int i = 0; i < n; i++) {
		X509 *own = sk_X509_value(c->chain, i), *same = sk_X509_value(other->chain, i);

		if (own == same || X509_cmp(own, same) != 0 || X509_up_ref(same) != 1)
			continue;
		X509_free(own);
		(void)sk_X509_set(c->chain, i, same);
	}
}

void tls_cert_free(struct tls_cert *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->name_count; i++)
		free(c->names[i]);
	free(c->names);
	EVP_PKEY_free(c->key);
	sk_X509_pop_free(c->chain, X509_free);
	X509_free(c->leaf);
	free(c);
}

uint64_t tls_cert_not_before(const struct tls_cert *c)
{
	return crypto_time_ms(X509_get0_notBefore(c->leaf));
}

uint64_t tls_cert_not_after(const struct tls_cert *c)
{
	return crypto_time_ms(X509_get0_notAfter(c->leaf));
}

struct slice tls_cert_name(const struct tls_cert *c, size_t i)
{
	return slice_str(i < c->name_count ? c->names[i] : NULL);
}
