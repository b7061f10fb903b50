/* PEM in, and OpenSSL's reasons out. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <time.h>

#include "reactor/crypto_inner.h"

int crypto_fail(struct err *err, int rc, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	ERR_clear_error();
	return err_say(err, rc, "%s: %s", what, reason ? reason : "failed");
}

BIO *crypto_bio(struct slice pem)
{
	return pem.n <= INT32_MAX ? BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n) : NULL;
}

X509 *crypto_read_cert(struct slice pem)
{
	BIO *b = crypto_bio(pem);
	X509 *cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;

	BIO_free(b);
	return cert;
}

/* Without a callback OpenSSL would ask on the terminal. */
static int on_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* The same for a key whose kind is known, in a quarter of the time: OpenSSL 3 otherwise tries every
 * decoder that it has. NULL: it is not that simple. */
static EVP_PKEY *read_key_of_type(struct slice pem, int type)
{
	BIO *b = crypto_bio(pem);
	char *name = NULL, *head = NULL;
	unsigned char *der = NULL;
	EVP_PKEY *key = NULL;
	long n = 0;

	if (b && PEM_read_bio(b, &name, &head, &der, &n) == 1 && !*head) {
		const unsigned char *p = der;

		key = d2i_PrivateKey(type, NULL, &p, n);
	}
	OPENSSL_free(name);
	OPENSSL_free(head);
	OPENSSL_clear_free(der, (size_t)n);
	BIO_free(b);
	return key;
}

EVP_PKEY *crypto_read_key_for(struct slice pem, X509 *cert)
{
	EVP_PKEY *public = X509_get0_pubkey(cert);
	EVP_PKEY *key = public ? read_key_of_type(pem, EVP_PKEY_get_base_id(public)) : NULL;

	if (key)
		return key;
	ERR_clear_error();
	return crypto_read_key(pem);
}

EVP_PKEY *crypto_read_key(struct slice pem)
{
	BIO *b = crypto_bio(pem);
	EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, on_passphrase, NULL) : NULL;

	BIO_free(b);
	return key;
}

uint64_t crypto_time_ms(const ASN1_TIME *at)
{
	struct tm tm;
	time_t seconds;

	if (!at || ASN1_TIME_to_tm(at, &tm) != 1)
		return 0;
	seconds = timegm(&tm);
	return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}
