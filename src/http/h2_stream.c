/* A stream as an exchange: its beginning, content for the handler, its end. */
#include <assert.h>

#include "base/log.h"
#include "http/h2_inner.h"

_Static_assert(sizeof(struct h2_kept) <= INBOX_BLOCK_BYTES, "one block each");
_Static_assert(sizeof(struct h2_trailers) <= INBOX_BLOCK_BYTES, "one block");

struct h2_stream *h2_stream_open(struct h2 *h2, int32_t id)
{
	struct h2_stream *s = pool_get(&h2->own->streams);

	if (!s)
		return NULL;
	/* The head and the text are cleared by who fills them. */
	memset((char *)s + sizeof(s->x), 0, offsetof(struct h2_stream, text) - sizeof(s->x));
	s->h2 = h2;
	s->id = id;
	list_init(&s->todo);
	list_push_back(&h2->streams, &s->link);
	if (h2->nstreams++ == 0) {
		h2->shared->stats.idle--;
		conn_works(h2->conn);
	}
	return s;
}

/* ---- what was not taken ---- */

static bool queue_put(struct h2_stream *s, const uint8_t *p, size_t n)
{
	struct h2_queue *q = &s->in;

	while (n) {
		struct h2_kept *b = q->last;
		size_t room = b ? sizeof(b->bytes) - b->last : 0, take = MIN(n, room);

		if (!room) {
			b = pool_get(&s->h2->own->content);
			if (!b)
				return false;
			b->next = NULL;
			b->pos = b->last = 0;
			if (q->last)
				q->last->next = b;
			else
				q->first = b;
			q->last = b;
			continue;
		}
		memcpy(b->bytes + b->last, p, take);
		b->last += (uint32_t)take;
		q->bytes += (uint32_t)take;
		p += take;
		n -= take;
	}
	return true;
}

static void queue_take(struct h2_stream *s, size_t n)
{
	struct h2_queue *q = &s->in;
	struct h2_kept *b = q->first;

	b->pos += (uint32_t)n;
	q->bytes -= (uint32_t)n;
	if (b->pos < b->last)
		return;
	q->first = b->next;
	if (!q->first)
		q->last = NULL;
	pool_put(&s->h2->own->content, b);
}

/* The rest is nobody's any more; the connection's window gets its share back. */
static void queue_drop(struct h2_stream *s)
{
	if (s->in.bytes)
		nghttp2_session_consume_connection(s->h2->session, s->in.bytes);
	while (s->in.first)
		queue_take(s, s->in.first->last - s->in.first->pos);
}

/* ---- content for the handler ---- */

static bool wants_content(const struct h2_stream *s)
{
	/* An upgrade that waits for its answer: whatever came early belongs to the tunnel. */
	return !s->cut && !s->gone && !s->refused_more && !s->x.body_done &&
	       (s->x.tunnel || (!s->x.ended && s->x.req.protocol.n == 0));
}

/* Nobody will ever take it. */
static bool is_dropped(const struct h2_stream *s)
{
	return s->cut || s->gone || !s->begun || (s->x.ended && !s->x.tunnel);
}

static size_t offer(struct h2_stream *s, const uint8_t *p, size_t n)
{
	struct exchange *x = &s->x;
	size_t taken = x->events->body ? x->events->body(x->arg, (const char *)p, n) : n;

	assert(taken <= n);
	x->body_in_bytes += taken;
	s->refused_more = taken < n;
	s->continued = true;
	/* The window opens again by what went on its way, so a slow upstream stops its client. */
	if (taken)
		nghttp2_session_consume(s->h2->session, s->id, taken);
	return taken;
}

void h2_stream_content(struct h2_stream *s, const uint8_t *p, size_t n)
{
	size_t taken = 0;

	if (s->begun && s->x.req.body == BODY_LENGTH) {
		if (n > s->left_in) {
			h2_reset(s, NGHTTP2_PROTOCOL_ERROR, "more content than its Content-Length");
			nghttp2_session_consume_connection(s->h2->session, n);
			return;
		}
		s->left_in -= n;
	}
	if (is_dropped(s)) {
		nghttp2_session_consume_connection(s->h2->session, n);
		return;
	}
	if (s->in.bytes == 0 && wants_content(s))
		taken = offer(s, p, n);
	if (taken < n && !queue_put(s, p + taken, n - taken)) {
		nghttp2_session_consume_connection(s->h2->session, n - taken);
		h2_reset(s, NGHTTP2_ENHANCE_YOUR_CALM, "out of buffers");
	}
}

static void end_content(struct h2_stream *s)
{
	struct exchange *x = &s->x;

	x->body_done = true;
	if (x->events->body_end)
		x->events->body_end(
			x->arg, s->trailers_in && s->trailers_in->nfields ? s->trailers_in : NULL);
}

static void offer_kept(struct h2_stream *s)
{
	while (s->in.bytes && wants_content(s)) {
		struct h2_kept *b = s->in.first;
		size_t taken = offer(s, b->bytes + b->pos, b->last - b->pos);

		if (taken)
			queue_take(s, taken);
	}
	if (s->in_end && s->in.bytes == 0 && wants_content(s))
		end_content(s);
}

void h2_stream_end(struct h2_stream *s)
{
	s->in_end = true;
	if (!s->begun || s->cut)
		return;
	if (s->x.req.body == BODY_LENGTH && s->left_in && !s->x.tunnel) {
		h2_reset(s, NGHTTP2_PROTOCOL_ERROR, "less content than its Content-Length");
		return;
	}
	if (s->in.bytes == 0 && wants_content(s))
		end_content(s);
}

bool h2_stream_keep_trailers(struct h2_stream *s)
{
	s->trailers_in = pool_get(&s->h2->own->content);
	return s->trailers_in;
}

/* ---- life ---- */

void h2_stream_begin(struct h2_stream *s)
{
	struct conn *conn = s->h2->conn;
	struct exchange *x = &s->x;

	conn_begin_exchange(conn, x, &h2_ops);
	s->begun = true;
	s->left_in = x->req.content_length;
	s->in_ms = s->out_ms = loop_now_ms(conn->shared->loop);
	if (x->req.protocol.n)
		h2_websocket_request(s);
	conn->shared->handler.request(conn->shared->handler.arg, x);
	assert(s->cut || x->events);
	if (x->req.expect_continue && !x->responded && !s->cut && !s->continued &&
	    x->events->body) {
		struct head h;

		head_init(&h);
		h.status = 100;
		x->ops->inform(x, &h);
	}
}

void h2_stream_wake(struct h2_stream *s)
{
	if (list_empty(&s->todo))
		list_push_back(&s->h2->todo, &s->todo);
	conn_wake(s->h2->conn);
}

void h2_stream_settle(struct h2_stream *s)
{
	struct exchange *x = &s->x;

	if (s->gone) {
		h2_stream_close(s, s->why || s->out_end ? s->why : "client went away");
		return;
	}
	if (s->cut || !s->begun)
		return;
	offer_kept(s);
	if (s->want_writable && !x->ended && !s->cut && iobuf_len(&s->out) == 0) {
		s->want_writable = false;
		if (x->events->writable)
			x->events->writable(x->arg);
	}
}

void h2_stream_close(struct h2_stream *s, const char *why)
{
	struct h2 *h2 = s->h2;
	struct exchange *x = &s->x;

	s->gone = true;
	if (h2->reading == s)
		h2->reading = NULL;
	list_remove(&s->todo);
	list_remove(&s->link);
	queue_drop(s);
	h2_stream_drop_out(s);
	pool_put(&h2->own->content, s->trailers);
	if (s->counts_as_tunnel)
		conn_tunnel_end(h2->conn);
	if (s->begun) {
		if (why)
			h2->shared->stats.aborted++;
		else
			h2->completed++;
		if (why)
			log_debug("conn=%d stream=%d closed: %s", stream_fd(&h2->conn->stream),
				  s->id, why);
		if (x->events && x->events->closed)
			x->events->closed(x->arg, why);
	}
	list_remove(&s->todo); /* the handler's last words */
	pool_put(&h2->own->content, s->trailers_in);
	if (s->block)
		pool_put(s->block_bytes > h2->own->content.size ? &h2->shared->big_blocks
								: &h2->own->content,
			 s->block);
	pool_put(&h2->own->streams, s);
	if (--h2->nstreams == 0) {
		h2->shared->stats.idle++;
		if (conn_is_open(h2->conn))
			conn_waits(h2->conn);
	}
}
