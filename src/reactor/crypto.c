/* Thin wrappers that cannot fail for reasons a caller could handle. */
#include "reactor/crypto.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/text.h"

static void die(const char *what)
{
	log_error("%s failed", what);
	abort();
}

void crypto_sha1(struct slice s, uint8_t out[20])
{
	if (EVP_Q_digest(NULL, "SHA1", NULL, s.p, s.n, out, NULL) != 1)
		die("SHA-1");
}

void crypto_sha256(struct slice s, uint8_t out[32])
{
	if (EVP_Q_digest(NULL, "SHA256", NULL, s.p, s.n, out, NULL) != 1)
		die("SHA-256");
}

void crypto_sha256_hex(struct slice s, char hex[65])
{
	uint8_t digest[32];

	crypto_sha256(s, digest);
	text_hex(digest, sizeof(digest), hex);
}

void crypto_random(void *out, size_t n)
{
	uint8_t *p = out;

	while (n) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno != EINTR)
			die("getrandom");
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
}

void crypto_random_hex(char *hex, size_t bytes)
{
	uint8_t chunk[32];

	hex[0] = '\0';
	while (bytes) {
		size_t n = MIN(bytes, sizeof(chunk));

		crypto_random(chunk, n);
		text_hex(chunk, n, hex);
		hex += 2 * n;
		bytes -= n;
	}
	crypto_wipe(chunk, sizeof(chunk));
}

bool crypto_equal(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

void crypto_wipe(void *p, size_t n)
{
	OPENSSL_cleanse(p, n);
}
