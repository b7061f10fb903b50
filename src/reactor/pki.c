/* Keys, certificates and signing requests. */
#include "reactor/pki.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "reactor/crypto_inner.h"

#define BACKDATE_S 3600		/* clocks of the other machines may be behind ours */
#define SERIAL_BITS 128
#define COMMON_NAME_MAX 64	/* ub-common-name, RFC 5280 appendix A */
#define KEY_STRENGTH_MIN_BITS 112

/* ---- PEM out ---- */

static int append_bio(struct buf *out, BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	return n > 0 ? buf_append(out, p, (size_t)n) : -EIO;
}

static int write_cert(struct buf *out, X509 *cert, struct err *err)
{
	BIO *b = BIO_new(BIO_s_mem());
	int rc = -EIO;

	if (b && PEM_write_bio_X509(b, cert) == 1)
		rc = append_bio(out, b);
	BIO_free(b);
	return rc ? crypto_fail(err, rc, "write a certificate") : 0;
}

static int write_key(struct buf *out, EVP_PKEY *key, struct err *err)
{
	BIO *b = BIO_new(BIO_s_secmem());	/* wiped when freed */
	int rc = -EIO;

	if (b && PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1)
		rc = append_bio(out, b);
	BIO_free(b);
	return rc ? crypto_fail(err, rc, "write a key") : 0;
}

/* ---- parts of a certificate ---- */

static bool set_name(X509_NAME *name, const char *common_name)
{
	int n = (int)MIN(strlen(common_name), (size_t)COMMON_NAME_MAX);

	return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
					  (const unsigned char *)common_name, n, -1, 0) == 1;
}

static bool set_serial(X509 *cert)
{
	BIGNUM *n = BN_new();
	bool ok = n && BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
		  BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));

	BN_free(n);
	return ok;
}

static bool set_validity(X509 *cert, uint32_t days)
{
	return X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) &&
	       X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, NULL);
}

/* <value> is a constant of ours in the syntax of x509v3_config(5), never a name from outside. */
static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool push_name(GENERAL_NAMES *names, int type, void *take_value)
{
	GENERAL_NAME *n = take_value ? GENERAL_NAME_new() : NULL;

	if (!n) {
		ASN1_STRING_free(take_value);
		return false;
	}
	GENERAL_NAME_set0_value(n, type, take_value);
	if (sk_GENERAL_NAME_push(names, n) > 0)
		return true;
	GENERAL_NAME_free(n);
	return false;
}

static bool push_dns(GENERAL_NAMES *names, const char *host)
{
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();

	if (value && ASN1_STRING_set(value, host, -1) != 1) {
		ASN1_IA5STRING_free(value);
		value = NULL;
	}
	return push_name(names, GEN_DNS, value);
}

/* subjectAltName, RFC 5280 §4.2.1.6. */
static bool add_names(X509 *cert, const struct pki_names *of)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	bool ok = names != NULL;

	for (size_t i = 0; ok && of->dns && of->dns[i]; i++)
		ok = push_dns(names, of->dns[i]);
	for (size_t i = 0; ok && of->ips && of->ips[i]; i++)
		ok = push_name(names, GEN_IPADD, a2i_IPADDRESS(of->ips[i]));
	if (ok && sk_GENERAL_NAME_num(names) > 0)
		ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;
	GENERAL_NAMES_free(names);
	return ok;
}

/* What authorities and leaves have in common; <issuer> NULL: the certificate itself. */
static X509 *begin_cert(EVP_PKEY *subject_key, const char *common_name, X509 *issuer, uint32_t days)
{
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	    set_validity(cert, days) && set_name(X509_get_subject_name(cert), common_name) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)) == 1 &&
	    X509_set_pubkey(cert, subject_key) == 1 &&
	    add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
	    add_extension(cert, issuer ? issuer : cert, NID_authority_key_identifier,
			  "keyid:always"))
		return cert;
	X509_free(cert);
	return NULL;
}

/* ---- authorities ---- */

int pki_make_ca(const char *common_name, uint32_t days, struct buf *cert_pem, struct buf *key_pem,
		struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key ? begin_cert(key, common_name, NULL, days) : NULL;
	int rc;

	if (cert &&
	    add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    X509_sign(cert, key, EVP_sha256()) > 0) {
		rc = write_cert(cert_pem, cert, err);
		if (!rc)
			rc = write_key(key_pem, key, err);
	} else {
		rc = crypto_fail(err, -EIO, "make a certificate authority");
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}

struct authority {
	X509 *cert;
	EVP_PKEY *key;
};

static void authority_fini(struct authority *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

static int authority_init(struct authority *ca, struct slice cert_pem, struct slice key_pem,
			  struct err *err)
{
	ca->cert = crypto_read_cert(cert_pem);
	ca->key = crypto_read_key(key_pem);
	if (!ca->cert)
		return crypto_fail(err, -EINVAL, "read the authority's certificate");
	if (!ca->key)
		return crypto_fail(err, -EINVAL, "read the authority's key");
	if (X509_check_private_key(ca->cert, ca->key) != 1)
		return crypto_fail(err, -EINVAL, "the authority's key and certificate");
	return 0;
}

static int sign_leaf(struct authority *ca, EVP_PKEY *leaf_key, const struct pki_names *names,
		     uint32_t days, struct buf *cert_pem, struct err *err)
{
	X509 *cert = begin_cert(leaf_key, names->common_name, ca->cert, days);
	int rc;

	if (cert && add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(cert, ca->cert, NID_ext_key_usage,
			  names->client_auth ? "serverAuth,clientAuth" : "serverAuth") &&
	    add_names(cert, names) && X509_sign(cert, ca->key, EVP_sha256()) > 0)
		rc = write_cert(cert_pem, cert, err);
	else
		rc = crypto_fail(err, -EINVAL, "issue a certificate");
	X509_free(cert);
	return rc;
}

/* ---- keys and requests ---- */

int pki_make_key(struct buf *key_pem, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	int rc = key ? write_key(key_pem, key, err) : crypto_fail(err, -EIO, "make a key");

	EVP_PKEY_free(key);
	return rc;
}

int pki_make_csr(struct slice key_pem, const char *common_name, struct buf *csr_pem,
		 struct err *err)
{
	EVP_PKEY *key = crypto_read_key(key_pem);
	X509_REQ *req = X509_REQ_new();
	BIO *b = BIO_new(BIO_s_mem());
	int rc = -EINVAL;

	if (key && req && b && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
	    set_name(X509_REQ_get_subject_name(req), common_name) &&
	    X509_REQ_set_pubkey(req, key) == 1 && X509_REQ_sign(req, key, EVP_sha256()) > 0 &&
	    PEM_write_bio_X509_REQ(b, req) == 1)
		rc = append_bio(csr_pem, b);
	if (rc)
		crypto_fail(err, rc, "make a signing request");
	BIO_free(b);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return rc;
}

static int read_csr(X509_REQ **out, struct slice csr_pem, struct err *err)
{
	BIO *b = crypto_bio(csr_pem);
	X509_REQ *req = b ? PEM_read_bio_X509_REQ(b, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;
	int rc = 0;

	BIO_free(b);
	if (!key)
		rc = crypto_fail(err, -EINVAL, "read the signing request");
	else if (EVP_PKEY_get_security_bits(key) < KEY_STRENGTH_MIN_BITS)
		rc = err_say(err, -EINVAL, "signing request: the key is too weak");
	else if (X509_REQ_verify(req, key) != 1)	/* whoever asks holds the key */
		rc = crypto_fail(err, -EINVAL, "verify the signing request");
	if (rc)
		X509_REQ_free(req);
	else
		*out = req;
	return rc;
}

int pki_sign_csr(struct slice ca_cert_pem, struct slice ca_key_pem, struct slice csr_pem,
		 const struct pki_names *names, uint32_t days, struct buf *cert_pem,
		 struct err *err)
{
	struct authority ca;
	X509_REQ *req = NULL;
	int rc;

	rc = authority_init(&ca, ca_cert_pem, ca_key_pem, err);
	if (!rc)
		rc = read_csr(&req, csr_pem, err);
	if (!rc)
		rc = sign_leaf(&ca, X509_REQ_get0_pubkey(req), names, days, cert_pem, err);
	X509_REQ_free(req);
	authority_fini(&ca);
	return rc;
}

int pki_issue(struct slice ca_cert_pem, struct slice ca_key_pem, const struct pki_names *names,
	      uint32_t days, struct buf *cert_pem, struct buf *key_pem, struct err *err)
{
	struct authority ca;
	EVP_PKEY *key = NULL;
	int rc;

	rc = authority_init(&ca, ca_cert_pem, ca_key_pem, err);
	if (!rc) {
		key = EVP_EC_gen("P-256");
		rc = key ? sign_leaf(&ca, key, names, days, cert_pem, err)
			 : crypto_fail(err, -EIO, "make a key");
	}
	if (!rc)
		rc = write_key(key_pem, key, err);
	EVP_PKEY_free(key);
	authority_fini(&ca);
	return rc;
}

/* ---- reading ---- */

int pki_fingerprint(struct slice cert_pem, char hex[65], struct err *err)
{
	X509 *cert = crypto_read_cert(cert_pem);
	unsigned char digest[32];
	unsigned n = 0;
	bool ok = cert && X509_digest(cert, EVP_sha256(), digest, &n) == 1 && n == sizeof(digest);

	X509_free(cert);
	if (!ok)
		return crypto_fail(err, -EINVAL, "read the certificate");
	text_hex(digest, sizeof(digest), hex);
	return 0;
}

/* ---- signatures ---- */

int pki_sign(struct slice key_pem, struct slice data, struct buf *base64, struct err *err)
{
	EVP_PKEY *key = crypto_read_key(key_pem);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char signature[256];
	size_t n = sizeof(signature);
	bool ok = key && ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, signature, &n, (const unsigned char *)data.p, data.n) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	if (!ok)
		return crypto_fail(err, -EINVAL, "sign");
	text_base64(base64, signature, n, false);
	return 0;
}

int pki_verify(struct slice cert_pem, struct slice data, struct slice base64, struct err *err)
{
	X509 *cert = crypto_read_cert(cert_pem);
	EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct buf signature;
	int rc = -EINVAL;

	buf_init(&signature, 4096);
	if (key && ctx && !text_unbase64(&signature, base64) &&
	    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1)
		rc = EVP_DigestVerify(ctx, (const unsigned char *)signature.data, signature.len,
				      (const unsigned char *)data.p, data.n) == 1
			     ? 0
			     : -EKEYREJECTED;
	buf_fini(&signature);
	EVP_MD_CTX_free(ctx);
	X509_free(cert);
	if (rc == -EINVAL)
		return crypto_fail(err, rc, "read the certificate or the signature");
	ERR_clear_error();
	return rc ? err_say(err, rc, "the signature is not by that certificate's key") : 0;
}
