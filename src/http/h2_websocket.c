/* Bootstrapping WebSockets with HTTP/2 (RFC 8441): for the handler an extended CONNECT is what it is
 * in HTTP/1, a GET that asks for an upgrade, so that everything behind it needs to know one kind.
 * The key that HTTP/2 leaves out (section 5) is made and its answer checked here (RFC 6455 section
 * 4.1). */
#include "http/fields.h"
#include "http/h2_inner.h"
#include "http/websocket.h"
#include "reactor/crypto.h"

#define KEY_BYTES 16

static bool is_key(const struct field *f)
{
	return slice_eq_nocase(f->name, SLICE("sec-websocket-key"));
}

static void make_key(struct h2_stream *s)
{
	uint8_t nonce[KEY_BYTES];
	struct buf text;

	crypto_random(nonce, sizeof(nonce));
	buf_init(&text, sizeof(s->ws_key));
	text_base64(&text, nonce, sizeof(nonce), false);
	memcpy(s->ws_key, text.data, sizeof(s->ws_key));
	buf_fini(&text);
}

void h2_websocket_request(struct h2_stream *s)
{
	struct head *h = &s->x.req;

	h->method = SLICE("GET");
	h->method_id = METHOD_GET;
	h->body = BODY_NONE;
	h->expect_continue = false;
	s->websocket = slice_eq_nocase(h->protocol, SLICE("websocket"));
	if (!s->websocket)
		return;
	make_key(s);
	for (unsigned i = 0; i < h->nfields; i++) {
		if (is_key(&h->fields[i])) {
			h->fields[i].value = slice_str(s->ws_key);
			return;
		}
	}
	/* A full table leaves none, and the upstream will say that it misses one. */
	head_add_other(h, SLICE("Sec-WebSocket-Key"), slice_str(s->ws_key));
}

bool h2_websocket_accepted(const struct h2_stream *s, const struct head *h)
{
	const struct field *accept = head_find(h, SLICE("Sec-WebSocket-Accept"));
	char want[WEBSOCKET_ACCEPT_BYTES + 1];

	websocket_accept(slice_str(s->ws_key), want);
	return accept && slice_eq(accept->value, slice_str(want));
}
