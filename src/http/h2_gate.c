/* Each frame's head, before nghttp2 gets the frame. nghttp2 passes over much without a word: frames
 * of types it does not know, PRIORITY, what comes on streams that are closed. Here all are counted,
 * and what RFC 9113 §5.1 calls an error on a closed stream is one. */
#include "http/h2_inner.h"

#define FRAME_PRIORITY_BYTES 5
#define CONTINUATIONS_MAX 8 /* of one block; 16 KiB each hold more than any head may */

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int32_t get_id(const uint8_t *p)
{
	return (int32_t)(get_u32(p) & 0x7fffffff);
}

static uint32_t length_of(const uint8_t *head)
{
	return get_u32(head) >> 8;
}

/* The bytes of a frame that are looked at: PRIORITY says all in its payload. */
static uint32_t want_of(const uint8_t *head)
{
	return head[3] == NGHTTP2_PRIORITY && length_of(head) == FRAME_PRIORITY_BYTES
		       ? H2_FRAME_HEAD + FRAME_PRIORITY_BYTES
		       : H2_FRAME_HEAD;
}

void h2_gate_closed(struct h2 *h2, int32_t id, bool by_us)
{
	struct h2_gate *g = &h2->gate;

	g->closed[g->nclosed++ % H2_GATE_CLOSED] = by_us ? -id : id;
}

/* What the client sends on a stream that it has ended itself. What was on its way when we reset a
 * stream is no error; who was never opened is passed over by a later one (RFC 9113 §5.1.1). */
static void check_closed(struct h2 *h2, int32_t id, uint32_t length)
{
	const struct h2_gate *g = &h2->gate;

	for (unsigned i = 0; i < H2_GATE_CLOSED; i++) {
		if (g->closed[i] == -id) {
			h2_limit_noise(h2, length);
			return;
		}
		if (g->closed[i] == id) {
			h2_terminate(h2, NGHTTP2_STREAM_CLOSED, "a frame on a closed stream");
			return;
		}
	}
	h2_terminate(h2, NGHTTP2_PROTOCOL_ERROR, "stream ids that do not rise");
}

static void check_stream(struct h2 *h2, const uint8_t *head)
{
	int32_t id = get_id(head + 5);

	/* Once we have said which was the last one, others pass and are ignored. */
	if (id > h2->gate.last_id) {
		if (head[3] == NGHTTP2_HEADERS)
			h2->gate.last_id = id;
	} else if (id % 2 == 1 && !h2->left && !nghttp2_session_find_stream(h2->session, id)) {
		check_closed(h2, id, length_of(head));
	}
}

static void check_priority(struct h2 *h2, const uint8_t *head)
{
	int32_t id = get_id(head + 5);

	if (id == 0)
		h2_terminate(h2, NGHTTP2_PROTOCOL_ERROR, "PRIORITY of no stream");
	else if (want_of(head) > H2_FRAME_HEAD && get_id(head + H2_FRAME_HEAD) == id)
		h2_terminate(h2, NGHTTP2_PROTOCOL_ERROR, "a stream that depends on itself");
}

static void check(struct h2 *h2, const uint8_t *head)
{
	struct h2_gate *g = &h2->gate;
	uint8_t type = head[3];

	/* Whatever became of the header block before it, it is over. */
	if (type != NGHTTP2_CONTINUATION)
		h2->head_ms = 0;
	g->continuations = type == NGHTTP2_CONTINUATION ? g->continuations + 1 : 0;
	switch (type) {
	case NGHTTP2_DATA: /* see on_frame() for those without content */
	case NGHTTP2_HEADERS: check_stream(h2, head); break;
	case NGHTTP2_RST_STREAM: /* see h2_limit_reset() for the others */
		if (!nghttp2_session_find_stream(h2->session, get_id(head + 5)))
			h2_limit_noise(h2, 0);
		break;
	case NGHTTP2_CONTINUATION:
		if (g->continuations > CONTINUATIONS_MAX)
			h2_limit_continuations(h2);
		break;
	case NGHTTP2_PRIORITY: check_priority(h2, head); __attribute__((fallthrough));
	default: h2_limit_noise(h2, length_of(head));
	}
}

/* The next piece for nghttp2: its length; <*from> is where it is. 0: more is needed. */
static size_t next_piece(struct h2 *h2, const uint8_t *p, size_t n, size_t *used,
			 const uint8_t **from)
{
	struct h2_gate *g = &h2->gate;
	uint32_t *left = g->preface_left ? &g->preface_left : &g->payload_left;

	*from = p;
	if (*left) {
		*used = MIN(*left, n);
		*left -= (uint32_t)*used;
		return *used;
	}
	/* A whole head goes on together with what there is of its payload. */
	if (g->nhead == 0 && n >= H2_FRAME_HEAD && n >= want_of(p)) {
		uint32_t all = H2_FRAME_HEAD + length_of(p);

		check(h2, p);
		*used = MIN(all, n);
		g->payload_left = all - (uint32_t)*used;
		return *used;
	}
	*used = 0;
	while (*used < n && (g->nhead < H2_FRAME_HEAD || g->nhead < want_of(g->head)))
		g->head[g->nhead++] = p[(*used)++];
	if (g->nhead < H2_FRAME_HEAD || g->nhead < want_of(g->head))
		return 0;
	check(h2, g->head);
	n = g->nhead;
	g->payload_left = H2_FRAME_HEAD + length_of(g->head) - g->nhead;
	g->nhead = 0;
	*from = g->head;
	return n;
}

ssize_t h2_gate_pass(struct h2 *h2, const uint8_t *p, size_t n)
{
	while (n && !h2->terminated) {
		const uint8_t *from;
		size_t used, piece = next_piece(h2, p, n, &used, &from);
		ssize_t rc = 0;

		p += used;
		n -= used;
		if (piece && !h2->terminated)
			rc = nghttp2_session_mem_recv(h2->session, from, piece);
		if (rc < 0)
			return rc;
	}
	return 0;
}
