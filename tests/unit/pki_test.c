/* Authorities, requests and leaves, judged by OpenSSL's own verifier. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "check.h"
#include "reactor/loop.h"
#include "reactor/pki.h"
#include "reactor/tls.h"

static struct fixture {
	struct buf ca, ca_key, other, other_key, cert, key, csr;
	struct err err;
} f;

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	return pki_make_ca("temps cluster 7", 3650, &f.ca, &f.ca_key, &f.err) ||
	       pki_make_ca("temps cluster 8", 3650, &f.other, &f.other_key, &f.err);
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&f.ca);
	buf_fini(&f.ca_key);
	buf_fini(&f.other);
	buf_fini(&f.other_key);
	buf_fini(&f.cert);
	buf_fini(&f.key);
	buf_fini(&f.csr);
	return 0;
}

static X509 *parse(const struct buf *pem)
{
	BIO *b = BIO_new_mem_buf(pem->data, (int)pem->len);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

	BIO_free(b);
	assert_non_null(x);
	return x;
}

/* X509_V_OK or why not. <host> and <ip> may be NULL. */
static int verify(const struct buf *cert_pem, const struct buf *ca_pem, int purpose,
		  const char *host, const char *ip)
{
	X509 *cert = parse(cert_pem), *ca = parse(ca_pem);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	int rc;

	X509_STORE_add_cert(store, ca);
	X509_STORE_CTX_init(ctx, store, cert, NULL);
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
	X509_VERIFY_PARAM_set_purpose(param, purpose);
	if (host)
		X509_VERIFY_PARAM_set1_host(param, host, 0);
	if (ip)
		X509_VERIFY_PARAM_set1_ip_asc(param, ip);
	rc = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(ca);
	X509_free(cert);
	ERR_clear_error();
	return rc;
}

static const struct pki_names node = {
	.common_name = "worker-1",
	.dns = (const char *const[]){ "worker-1.example.test", "*.example.org", NULL },
	.ips = (const char *const[]){ "127.0.0.2", "fd00::2", NULL },
};

static void issue(const struct pki_names *names)
{
	buf_clear(&f.cert);
	buf_clear(&f.key);
	if (pki_issue(buf_slice(&f.ca), buf_slice(&f.ca_key), names, 90, &f.cert, &f.key, &f.err))
		fail_msg("%s", f.err.text);
}

static const struct {
	const char *name, *host, *ip;
	int purpose, want;
} verify_cases[] = {
	{ "its host", "worker-1.example.test", NULL, X509_PURPOSE_SSL_SERVER, X509_V_OK },
	{ "its wildcard", "any.example.org", NULL, X509_PURPOSE_SSL_SERVER, X509_V_OK },
	{ "its IPv4 address", NULL, "127.0.0.2", X509_PURPOSE_SSL_SERVER, X509_V_OK },
	{ "its IPv6 address", NULL, "fd00::2", X509_PURPOSE_SSL_SERVER, X509_V_OK },
	{ "another host", "worker-2.example.test", NULL, X509_PURPOSE_SSL_SERVER,
	  X509_V_ERR_HOSTNAME_MISMATCH },
	{ "another address", NULL, "127.0.0.3", X509_PURPOSE_SSL_SERVER,
	  X509_V_ERR_IP_ADDRESS_MISMATCH },
	{ "as a client", NULL, NULL, X509_PURPOSE_SSL_CLIENT, X509_V_ERR_INVALID_PURPOSE },
};

static void leaf_verifies(void **state)
{
	struct pki_names both = node;

	(void)state;
	issue(&node);
	for (size_t i = 0; i < ARRAY_LEN(verify_cases); i++)
		CHECK_INT(verify_cases[i].name,
			  verify(&f.cert, &f.ca, verify_cases[i].purpose, verify_cases[i].host,
				 verify_cases[i].ip),
			  verify_cases[i].want);
	assert_int_not_equal(verify(&f.cert, &f.other, X509_PURPOSE_SSL_SERVER, NULL, NULL),
			     X509_V_OK);
	both.client_auth = true;
	issue(&both);
	assert_int_equal(verify(&f.cert, &f.ca, X509_PURPOSE_SSL_CLIENT, NULL, NULL), X509_V_OK);
	assert_int_equal(verify(&f.cert, &f.ca, X509_PURPOSE_SSL_SERVER, NULL, NULL), X509_V_OK);
}

/* What a leaf signs is worth nothing, and an authority signs leaves only. */
static void only_authorities_sign(void **state)
{
	X509 *ca = parse(&f.ca);
	struct buf sub, sub_key;

	(void)state;
	assert_int_equal(X509_check_ca(ca), 1);
	assert_int_equal(X509_get_pathlen(ca), 0);
	assert_int_equal(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	X509_free(ca);

	buf_init(&sub, 0);
	buf_init(&sub_key, 0);
	issue(&node);
	assert_int_equal(
		pki_issue(buf_slice(&f.cert), buf_slice(&f.key), &node, 90, &sub, &sub_key, &f.err),
		0);
	assert_int_not_equal(verify(&sub, &f.cert, X509_PURPOSE_SSL_SERVER, NULL, NULL), X509_V_OK);
	buf_fini(&sub);
	buf_fini(&sub_key);
}

static void csr_names_are_ours(void **state)
{
	X509 *cert;
	char cn[64];

	(void)state;
	assert_int_equal(pki_make_key(&f.key, &f.err), 0);
	assert_int_equal(pki_make_csr(buf_slice(&f.key), "evil.example.test", &f.csr, &f.err), 0);
	if (pki_sign_csr(buf_slice(&f.ca), buf_slice(&f.ca_key), buf_slice(&f.csr), &node, 90,
			 &f.cert, &f.err))
		fail_msg("%s", f.err.text);
	cert = parse(&f.cert);
	X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));
	assert_string_equal(cn, "worker-1");
	X509_free(cert);
	assert_int_equal(verify(&f.cert, &f.ca, X509_PURPOSE_SSL_SERVER, NULL, "127.0.0.2"),
			 X509_V_OK);
	assert_int_equal(verify(&f.cert, &f.ca, X509_PURPOSE_SSL_SERVER, "evil.example.test", NULL),
			 X509_V_ERR_HOSTNAME_MISMATCH);
}

/* Replaces one base64 digit near the end: the signature. */
static void damage(struct buf *pem)
{
	char *at = strstr(pem->data, "-----END") - 20;

	*at = *at == 'A' ? 'B' : 'A';
}

static void bad_input_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(pki_make_key(&f.key, &f.err), 0);
	assert_int_equal(pki_make_csr(buf_slice(&f.key), "n", &f.csr, &f.err), 0);
	damage(&f.csr);
	assert_int_equal(pki_sign_csr(buf_slice(&f.ca), buf_slice(&f.ca_key), buf_slice(&f.csr),
				      &node, 90, &f.cert, &f.err),
			 -EINVAL);
	assert_non_null(strstr(f.err.text, "signing request"));
	assert_int_equal(pki_sign_csr(buf_slice(&f.ca), buf_slice(&f.ca_key), SLICE("no request"),
				      &node, 90, &f.cert, &f.err),
			 -EINVAL);
	assert_int_equal(pki_issue(buf_slice(&f.ca), buf_slice(&f.other_key), &node, 90, &f.cert,
				   &f.key, &f.err),
			 -EINVAL);
	assert_non_null(strstr(f.err.text, "authority"));
	assert_int_equal(pki_issue(SLICE(""), SLICE(""), &node, 90, &f.cert, &f.key, &f.err),
			 -EINVAL);
	assert_int_equal(pki_make_csr(SLICE("-----BEGIN"), "n", &f.csr, &f.err), -EINVAL);
	assert_int_equal(f.cert.len, 0);
	assert_int_equal(ERR_peek_error(), 0);
}

static void bad_names_are_an_error(void **state)
{
	const char *const ips[] = { "not an address", NULL };
	struct pki_names bad = { .common_name = "n", .ips = ips };

	(void)state;
	assert_int_equal(pki_issue(buf_slice(&f.ca), buf_slice(&f.ca_key), &bad, 90, &f.cert,
				   &f.key, &f.err),
			 -EINVAL);
	assert_int_equal(ERR_peek_error(), 0);
}

static void long_names_fit(void **state)
{
	char host[200];
	const char *const dns[] = { host, NULL };
	struct pki_names names = { .common_name = host, .dns = dns };

	(void)state;
	memset(host, 'a', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	for (size_t i = 50; i < sizeof(host) - 1; i += 50)
		host[i] = '.';
	issue(&names);
	assert_int_equal(verify(&f.cert, &f.ca, X509_PURPOSE_SSL_SERVER, host, NULL), X509_V_OK);
}

static void reads_back(void **state)
{
	uint64_t before, after, now = loop_wall_ms(), day = PKI_DAY_S * 1000ull;
	unsigned char digest[32];
	unsigned n;
	char hex[65], want[65];
	struct tls_cert *loaded;
	BIGNUM *serial;
	X509 *cert;

	(void)state;
	issue(&node);
	assert_int_equal(tls_cert_load(&loaded, buf_slice(&f.cert), buf_slice(&f.key), &f.err), 0);
	before = tls_cert_not_before(loaded);
	after = tls_cert_not_after(loaded);
	tls_cert_free(loaded);
	assert_in_range(before, now - 3605000, now - 3595000);
	assert_in_range(after, now + 90 * day - 5000, now + 90 * day + 5000);
	cert = parse(&f.cert);
	X509_digest(cert, EVP_sha256(), digest, &n);
	for (unsigned i = 0; i < n; i++)
		snprintf(want + 2 * i, 3, "%02x", digest[i]);
	assert_int_equal(pki_fingerprint(buf_slice(&f.cert), hex, &f.err), 0);
	assert_string_equal(hex, want);
	serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	assert_in_range(BN_num_bits(serial), 64, 128);
	BN_free(serial);
	X509_free(cert);
	assert_int_equal(pki_fingerprint(SLICE("x"), hex, &f.err), -EINVAL);
}

static void signatures_are_by_that_key_over_those_bytes(void **state)
{
	struct slice signature, data = SLICE("what was promised");

	(void)state;
	assert_int_equal(pki_sign(buf_slice(&f.ca_key), data, &f.cert, &f.err), 0);
	signature = buf_slice(&f.cert);
	assert_int_equal(pki_verify(buf_slice(&f.ca), data, signature, &f.err), 0);
	assert_int_equal(pki_verify(buf_slice(&f.other), data, signature, &f.err), -EKEYREJECTED);
	assert_int_equal(pki_verify(buf_slice(&f.ca), SLICE("else"), signature, &f.err),
			 -EKEYREJECTED);
	assert_int_equal(pki_verify(buf_slice(&f.ca), data, SLICE(""), &f.err), -EKEYREJECTED);
	assert_int_equal(pki_verify(buf_slice(&f.ca), data, SLICE("%"), &f.err), -EINVAL);
	assert_int_equal(pki_verify(SLICE("x"), data, signature, &f.err), -EINVAL);
	assert_int_equal(pki_sign(SLICE("x"), data, &f.key, &f.err), -EINVAL);
	assert_int_equal(ERR_peek_error(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(leaf_verifies),
		TEST(only_authorities_sign),
		TEST(csr_names_are_ours),
		TEST(bad_input_is_an_error),
		TEST(bad_names_are_an_error),
		TEST(long_names_fit),
		TEST(reads_back),
		TEST(signatures_are_by_that_key_over_those_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
