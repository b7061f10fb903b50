/* Sealing by OpenSSL's AES-256-GCM: 12 bytes of nonce, the ciphertext, 16 bytes of tag. */
#include "reactor/seal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/text.h"
#include "reactor/crypto.h"

#define NONCE_BYTES 12
#define TAG_BYTES 16

static int encrypt(EVP_CIPHER_CTX *ctx, const uint8_t *key, struct slice plain, uint8_t *out)
{
	uint8_t *nonce = out, *text = out + NONCE_BYTES, *tag = text + plain.n;
	int n;

	crypto_random(nonce, NONCE_BYTES);
	if (EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
	    EVP_EncryptUpdate(ctx, text, &n, (const uint8_t *)plain.p, (int)plain.n) != 1 ||
	    EVP_EncryptFinal_ex(ctx, text + n, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) != 1)
		return -EIO;
	return 0;
}

int seal_close(const uint8_t key[SEAL_KEY_BYTES], struct slice plain, struct buf *base64)
{
	size_t n = NONCE_BYTES + plain.n + TAG_BYTES;
	EVP_CIPHER_CTX *ctx;
	uint8_t *out;
	int rc;

	if (plain.n > INT_MAX / 2)
		return -EMSGSIZE;
	out = xcalloc(1, n);
	ctx = EVP_CIPHER_CTX_new();
	rc = ctx ? encrypt(ctx, key, plain, out) : -ENOMEM;
	if (!rc)
		text_base64(base64, out, n, false);
	else
		ERR_clear_error();
	EVP_CIPHER_CTX_free(ctx);
	free(out);
	return rc;
}

static int decrypt(EVP_CIPHER_CTX *ctx, const uint8_t *key, struct slice sealed, uint8_t *out)
{
	const uint8_t *nonce = (const uint8_t *)sealed.p, *text = nonce + NONCE_BYTES;
	int n, text_len = (int)(sealed.n - NONCE_BYTES - TAG_BYTES);
	uint8_t tag[TAG_BYTES];

	memcpy(tag, text + text_len, TAG_BYTES);
	if (EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
	    EVP_DecryptUpdate(ctx, out, &n, text, text_len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) != 1 ||
	    EVP_DecryptFinal_ex(ctx, out + n, &n) != 1)
		return -EKEYREJECTED;
	return 0;
}

int seal_open(const uint8_t key[SEAL_KEY_BYTES], struct slice base64, struct buf *plain)
{
	EVP_CIPHER_CTX *ctx = NULL;
	uint8_t *out = NULL;
	struct buf sealed;
	int rc;

	buf_init(&sealed, 0);
	rc = text_unbase64(&sealed, base64);
	if (!rc && (sealed.len < NONCE_BYTES + TAG_BYTES || sealed.len > INT_MAX / 2))
		rc = -EINVAL;
	if (!rc) {
		out = xcalloc(1, sealed.len);
		ctx = EVP_CIPHER_CTX_new();
		rc = ctx ? decrypt(ctx, key, buf_slice(&sealed), out) : -ENOMEM;
	}
	if (!rc)
		rc = buf_append(plain, out, sealed.len - NONCE_BYTES - TAG_BYTES);
	else
		ERR_clear_error();
	if (out)
		crypto_wipe(out, sealed.len);
	EVP_CIPHER_CTX_free(ctx);
	free(out);
	buf_fini(&sealed);
	return rc;
}
