/* Sealing and opening of TLS 1.3 records. */
#include "reactor/tls_record.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <string.h>

#include "reactor/crypto.h"

#define HEAD_BYTES 5
#define TAG_BYTES 16

bool tls_suite_init(struct tls_suite *s, uint16_t id, const char *cipher, const char *hash,
		    uint8_t hash_bytes)
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)hash, 0),
		OSSL_PARAM_construct_end(),
	};

	s->id = id;
	s->hash_bytes = hash_bytes;
	s->cipher = EVP_CIPHER_fetch(NULL, cipher, NULL);
	s->mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
	EVP_MAC_free(hmac);
	return s->cipher && s->mac && EVP_MAC_CTX_set_params(s->mac, params) == 1;
}

void tls_suite_fini(struct tls_suite *s)
{
	EVP_CIPHER_free(s->cipher);
	EVP_MAC_CTX_free(s->mac);
}

/* HKDF-Expand-Label(secret, label, "", n), RFC 8446 §7.1; one block of HMAC is enough for all
 * that is derived here. <same> secret as the last time: half of the hashing is done already. */
static bool expand(const struct tls_keys *k, bool same, const char *label, uint8_t *out, size_t n)
{
	uint8_t info[32], block[TLS_HASH_MAX];
	size_t len = strlen(label), got = 0;
	bool ok;

	info[0] = 0;
	info[1] = (uint8_t)n;
	info[2] = (uint8_t)(6 + len);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, len);
	info[9 + len] = 0;  /* no context */
	info[10 + len] = 1; /* the counter of HKDF-Expand */
	ok = EVP_MAC_init(k->suite->mac, same ? NULL : k->secret, same ? 0 : k->suite->hash_bytes,
			  NULL) == 1 &&
	     EVP_MAC_update(k->suite->mac, info, 11 + len) == 1 &&
	     EVP_MAC_final(k->suite->mac, block, &got, sizeof(block)) == 1 && got >= n;
	if (ok)
		memcpy(out, block, n);
	crypto_wipe(block, sizeof(block));
	return ok;
}

static bool set_keys(struct tls_keys *k, int seal)
{
	uint8_t key[EVP_MAX_KEY_LENGTH];
	size_t bytes = (size_t)EVP_CIPHER_get_key_length(k->suite->cipher);
	bool ok = expand(k, false, "key", key, bytes) &&
		  expand(k, true, "iv", k->iv, sizeof(k->iv)) &&
		  EVP_CipherInit_ex2(k->cipher, k->suite->cipher, key, k->iv, seal, NULL) == 1;

	crypto_wipe(key, sizeof(key));
	k->sequence = 0;
	return ok;
}

bool tls_keys_init(struct tls_keys *k, const struct tls_suite *suite, bool seal)
{
	k->suite = suite;
	k->cipher = EVP_CIPHER_CTX_new();
	return k->cipher && set_keys(k, seal);
}

bool tls_keys_next(struct tls_keys *k)
{
	return expand(k, false, "traffic upd", k->secret, k->suite->hash_bytes) && set_keys(k, -1);
}

void tls_keys_fini(struct tls_keys *k)
{
	EVP_CIPHER_CTX_free(k->cipher);
	crypto_wipe(k, sizeof(*k));
}

/* The nonce of the next record (§5.3) and what is authenticated beside it (§5.2). */
static bool begin(struct tls_keys *k, const uint8_t head[HEAD_BYTES])
{
	uint8_t nonce[sizeof(k->iv)];
	int n;

	memcpy(nonce, k->iv, sizeof(nonce));
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(k->sequence >> (56 - 8 * i));
	return EVP_CipherInit_ex2(k->cipher, NULL, NULL, nonce, -1, NULL) == 1 &&
	       EVP_CipherUpdate(k->cipher, NULL, &n, head, HEAD_BYTES) == 1;
}

size_t tls_record_seal(struct tls_keys *k, uint8_t type, const uint8_t *from, size_t n,
		       uint8_t *out)
{
	uint8_t *body = out + HEAD_BYTES;
	size_t inner = n + 1, whole = inner + TAG_BYTES;
	int len;
	bool ok;

	out[0] = TLS_DATA;
	out[1] = out[2] = 3;
	out[3] = (uint8_t)(whole >> 8);
	out[4] = (uint8_t)whole;
	ok = begin(k, out);
	if (from == body) {
		body[n] = type;
		ok = ok && EVP_CipherUpdate(k->cipher, body, &len, body, (int)inner) == 1;
	} else {
		ok = ok && (!n || EVP_CipherUpdate(k->cipher, body, &len, from, (int)n) == 1) &&
		     EVP_CipherUpdate(k->cipher, body + n, &len, &type, 1) == 1;
	}
	ok = ok && EVP_CipherFinal_ex(k->cipher, body + inner, &len) == 1 &&
	     EVP_CIPHER_CTX_ctrl(k->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, body + inner) == 1;
	k->sequence++;
	return ok ? HEAD_BYTES + whole : 0;
}

size_t tls_record_length(const uint8_t head[5], uint8_t *alert)
{
	size_t n = (size_t)head[3] << 8 | head[4];

	/* The version says nothing (§5.1); everything after the handshake is encrypted and looks
	 * like data (§5.2). */
	*alert = head[0] != TLS_DATA		   ? TLS_UNEXPECTED_MESSAGE
		 : n > TLS_RECORD_MAX - HEAD_BYTES ? TLS_RECORD_OVERFLOW
		 : n < 1 + TAG_BYTES		   ? TLS_BAD_RECORD_MAC
						   : 0;
	return *alert ? 0 : HEAD_BYTES + n;
}

uint8_t tls_record_open(struct tls_keys *k, const uint8_t *record, size_t bytes, uint8_t *out,
			size_t *n, uint8_t *type)
{
	size_t inner = bytes - HEAD_BYTES - TAG_BYTES;
	const uint8_t *tag = record + HEAD_BYTES + inner;
	uint8_t none[TAG_BYTES];
	int len;

	if (!begin(k, record) ||
	    EVP_CIPHER_CTX_ctrl(k->cipher, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, (void *)tag) != 1 ||
	    EVP_CipherUpdate(k->cipher, out, &len, record + HEAD_BYTES, (int)inner) != 1 ||
	    EVP_CipherFinal_ex(k->cipher, none, &len) != 1)
		return TLS_BAD_RECORD_MAC;
	k->sequence++;
	while (inner && out[inner - 1] == 0) /* padding, §5.4 */
		inner--;
	if (!inner)
		return TLS_UNEXPECTED_MESSAGE;
	*type = out[--inner];
	*n = inner;
	return inner > TLS_RECORD_BYTES ? TLS_RECORD_OVERFLOW : 0;
}
