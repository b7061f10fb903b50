/* The proof in a WebSocket's handshake. */
#include "http/websocket.h"

#include "base/buf.h"
#include "base/text.h"
#include "reactor/crypto.h"

#define KEY_MAX 256 /* 24 bytes it is; more is answered, too, and means nothing */

void websocket_accept(struct slice key, char out[WEBSOCKET_ACCEPT_BYTES + 1])
{
	uint8_t digest[20];
	struct buf text;

	buf_init(&text, 2 * KEY_MAX);
	key.n = MIN(key.n, KEY_MAX);
	buf_append_slice(&text, key);
	buf_append_str(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	crypto_sha1(buf_slice(&text), digest);
	buf_clear(&text);
	text_base64(&text, digest, sizeof(digest), false);
	memcpy(out, text.data, WEBSOCKET_ACCEPT_BYTES);
	out[WEBSOCKET_ACCEPT_BYTES] = '\0';
	buf_fini(&text);
}
