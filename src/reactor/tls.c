/* TLS contexts: protocol choices, the certificate by name, ticket keys. */
#include "reactor/tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "reactor/crypto.h"
#include "reactor/crypto_inner.h"
#include "reactor/tls_inner.h"

#define TICKET_ROTATE_MS (12u * 3600 * 1000)
#define SESSION_LIFE_S (12 * 3600) /* opens with [0] or, after one rotation, [1] */
#define SNI_MAX_BYTES 255
#define BLOCKS_KEPT 64 /* 1 MiB */
#define CIPHERS_12                                                   \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256"
#define SIGNATURES                                                                      \
	"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:RSA-PSS+SHA256:RSA-PSS+SHA384:" \
	"RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512"

/* ---- the certificate by name ---- */

/* Sees every full and resumed handshake, named or not: the refusal is decided here, where the
 * alert can be chosen. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	struct tls_server *server = arg;
	struct stream_tls *t = SSL_get_app_data(ssl);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	struct slice sni = slice_str(name);
	char lower[SNI_MAX_BYTES + 1] = "";

	tls_count_hello(t);
	*alert = SSL_AD_UNRECOGNIZED_NAME;
	if (sni.n > SNI_MAX_BYTES)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	for (size_t i = 0; i < sni.n; i++)
		lower[i] = sni.p[i] >= 'A' && sni.p[i] <= 'Z' ? sni.p[i] | 0x20 : sni.p[i];
	t->picked = server->pick(server->pick_arg, slice_of(lower, sni.n));
	if (!t->picked)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

/* Full handshakes only; always after on_server_name(). */
static int on_certificate(SSL *ssl, void *arg)
{
	struct stream_tls *t = SSL_get_app_data(ssl);
	const struct tls_cert *c = t->picked;

	(void)arg;
	return c && SSL_use_cert_and_key(ssl, c->leaf, c->key, c->chain, 1) == 1;
}

/* ---- ALPN ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
		   const unsigned char *offered, unsigned offered_bytes, void *arg)
{
	struct tls_server *server = arg;
	struct stream_tls *t = SSL_get_app_data(ssl);
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, out_bytes, server->alpn, server->alpn_bytes, offered,
				  offered_bytes) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol, RFC 7301 §3.2 */
	*out = chosen;
	t->alpn = slice_of(chosen, *out_bytes); /* in our list */
	return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(struct tls_server *t, const char *const *alpn, struct err *err)
{
	size_t total = 0, at = 0;

	for (size_t i = 0; alpn[i]; i++)
		total += 1 + strlen(alpn[i]);
	t->alpn = xcalloc(1, total + 1);
	for (size_t i = 0; alpn[i]; i++) {
		size_t n = strlen(alpn[i]);

		if (n == 0 || n > UINT8_MAX)
			return err_say(err, -EINVAL, "ALPN protocol \"%s\" is empty or too long",
				       alpn[i]);
		t->alpn[at++] = (uint8_t)n;
		memcpy(t->alpn + at, alpn[i], n);
		at += n;
	}
	t->alpn_bytes = (unsigned)total;
	if (total)
		SSL_CTX_set_alpn_select_cb(t->ctx, on_alpn, t);
	return 0;
}

/* ---- session tickets, RFC 5077 §4 ---- */

void tls_rotate_tickets(struct tls_server *t)
{
	t->tickets[1] = t->tickets[0];
	crypto_random(&t->tickets[0], sizeof(t->tickets[0]));
	deadline_set(&t->rotation, TICKET_ROTATE_MS);
}

static void on_rotation(void *arg)
{
	tls_rotate_tickets(arg);
}

_Static_assert(sizeof(struct tls_ticket_key[2]) == TLS_TICKET_KEYS_BYTES, "what is handed over");

void tls_server_ticket_keys(const struct tls_server *t, uint8_t out[TLS_TICKET_KEYS_BYTES])
{
	memcpy(out, t->tickets, TLS_TICKET_KEYS_BYTES);
}

void tls_server_set_ticket_keys(struct tls_server *t, const uint8_t keys[TLS_TICKET_KEYS_BYTES])
{
	memcpy(t->tickets, keys, TLS_TICKET_KEYS_BYTES);
}

static int use_ticket_key(struct tls_server *t, struct tls_ticket_key *k, const unsigned char *iv,
			  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1 &&
	       EVP_CipherInit_ex2(cipher, t->ticket_cipher, k->cipher, iv, seal, NULL) == 1;
}

/* 1: use it; 2: use it and send a fresh one; 0: full handshake; -1: failure. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int seal)
{
	struct stream_tls *stream = SSL_get_app_data(ssl);
	struct tls_server *t = stream->server;

	if (seal) {
		struct tls_ticket_key *k = &t->tickets[0];

		memcpy(name, k->name, sizeof(k->name));
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->ticket_cipher)) != 1)
			return -1;
		return use_ticket_key(t, k, iv, cipher, mac, 1) ? 1 : -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(t->tickets); i++) {
		struct tls_ticket_key *k = &t->tickets[i];

		if (CRYPTO_memcmp(name, k->name, sizeof(k->name)) != 0)
			continue;
		if (!use_ticket_key(t, k, iv, cipher, mac, 0))
			return -1;
		/* Clients of TLS 1.3 use a ticket once (RFC 8446 appendix C.4): without a fresh
		 * one they could resume every second time only. */
		return i > 0 || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;
	}
	return 0;
}

/* ---- for the time after the handshake, see tls13.c ---- */

/* "LABEL client-random secret" in hex, for each secret as it is made. OpenSSL prints them byte by
 * byte, which is a twentieth of a handshake's instructions for all five; so it is asked for two
 * only: on_message() begins, and the end of its call ends it in any case. */
static void on_secret(const SSL *ssl, const char *line)
{
	struct stream_tls *t = SSL_get_app_data(ssl);
	struct slice rest, random, label = slice_split(slice_str(line), ' ', &rest), secret;
	struct tls_keys *k = slice_eq(label, SLICE("CLIENT_TRAFFIC_SECRET_0"))	 ? &t->rx
			     : slice_eq(label, SLICE("SERVER_TRAFFIC_SECRET_0")) ? &t->tx
										 : NULL;

	random = slice_split(rest, ' ', &secret);
	(void)random;
	if (k && (secret.n > 2 * sizeof(k->secret) || text_unhex(secret, k->secret, secret.n / 2)))
		t->failed = -EPROTO;
	if (k)
		SSL_CTX_set_keylog_callback(t->server->ctx, NULL);
}

/* Our secret comes some time after the one message, the client's right after the other. Each ticket
 * is one record under the final keys, sent before they are ours. */
static void on_message(int ours, int version, int type, const void *p, size_t n, SSL *ssl,
		       void *arg)
{
	struct stream_tls *t = SSL_get_app_data(ssl);
	uint8_t message = type == SSL3_RT_HANDSHAKE && n ? *(const uint8_t *)p : 0;

	(void)version;
	(void)arg;
	if (message == (ours ? SSL3_MT_ENCRYPTED_EXTENSIONS : SSL3_MT_FINISHED))
		SSL_CTX_set_keylog_callback(t->server->ctx, on_secret);
	if (ours && message == SSL3_MT_NEWSESSION_TICKET)
		t->tickets++;
}

static bool make_suites(struct tls_server *t)
{
	return tls_suite_init(&t->suites[0], 0x1301, "AES-128-GCM", "SHA256", 32) &&
	       tls_suite_init(&t->suites[1], 0x1302, "AES-256-GCM", "SHA384", 48) &&
	       tls_suite_init(&t->suites[2], 0x1303, "ChaCha20-Poly1305", "SHA256", 32);
}

/* ---- the context ---- */

static bool configure(struct tls_server *t)
{
	SSL_CTX *ctx = t->ctx;

	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_clear_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets hold all state */
	SSL_CTX_set_timeout(ctx, SESSION_LIFE_S);
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(ctx, t);
	SSL_CTX_set_cert_cb(ctx, on_certificate, NULL);
	SSL_CTX_set_msg_callback(ctx, on_message);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ctx, CIPHERS_12) == 1 &&
	       SSL_CTX_set_ciphersuites(ctx, CIPHERS_13) == 1 &&
	       SSL_CTX_set1_groups_list(ctx, GROUPS) == 1 &&
	       SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES) == 1 &&
	       SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"temps", 5) == 1 &&
	       SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
	       SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}

int tls_server_create(struct tls_server **out, struct loop *l, const char *const *alpn,
		      tls_pick_fn *pick, void *arg, struct err *err)
{
	struct tls_server *t = xcalloc(1, sizeof(*t));
	int rc;

	t->loop = l;
	t->pick = pick;
	t->pick_arg = arg;
	deadline_init(&t->rotation, l, on_rotation, t);
	crypto_random(&t->tickets[0], sizeof(t->tickets[0]));
	tls_rotate_tickets(t);
	t->ctx = SSL_CTX_new(TLS_server_method());
	t->bio = tls_bio_method();
	t->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	pool_init(&t->blocks, "TLS blocks", TLS_BLOCK_BYTES, UINT32_MAX, BLOCKS_KEPT);
	if (!t->ctx || !t->bio || !t->ticket_cipher || !make_suites(t) || !configure(t))
		rc = crypto_fail(err, -EIO, "set up TLS");
	else
		rc = set_alpn(t, alpn, err);
	if (rc) {
		tls_server_destroy(t);
		return rc;
	}
	*out = t;
	return 0;
}

void tls_server_destroy(struct tls_server *t)
{
	if (!t)
		return;
	deadline_stop(&t->rotation);
	SSL_CTX_free(t->ctx);
	BIO_meth_free(t->bio);
	EVP_CIPHER_free(t->ticket_cipher);
	for (size_t i = 0; i < TLS_SUITES; i++)
		tls_suite_fini(&t->suites[i]);
	pool_fini(&t->blocks);
	crypto_wipe(t->tickets, sizeof(t->tickets));
	free(t->alpn);
	free(t);
}

const struct pool *tls_server_pool(const struct tls_server *t)
{
	return &t->blocks;
}
