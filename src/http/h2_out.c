/* What a handler gives to an exchange, as frames, and the way out: all that a turn gathered, for
 * whatever streams, in one write. Nothing here calls the handler: trouble is noted, and the end of
 * the turn acts on it. */
#include <assert.h>
#include <errno.h>

#include "http/h2_inner.h"

#define TURN_MAX_BYTES (6 * 16384) /* sent in one turn, then others get theirs */
/* Offered at once: more than a block goes straight from the caller's memory into frames; the rest is
 * kept for the end of the turn, when its END_STREAM may be there too. */
#define DIRECT_MIN INBOX_BLOCK_BYTES
/* What is left of a buffer is filled with a shorter frame from here on; a stub of a frame costs more
 * than another write. */
#define FRAME_MIN 1024

static struct h2_stream *stream_of(struct exchange *x)
{
	return CONTAINER_OF(x, struct h2_stream, x);
}

/* ---- writing ---- */

/* What the socket did not take waits in a block; nothing is framed before it is out. */
static int keep_rest(struct h2 *h2, const uint8_t *p, size_t n)
{
	struct conn_shared *shared = h2->shared;
	size_t waiting = iobuf_len(&h2->rest);

	if (!h2->rest.mem &&
	    iobuf_lease(&h2->rest,
			n <= shared->blocks.size ? &shared->blocks : &shared->big_blocks) < 0)
		return -ENOMEM;
	if (iobuf_room(&h2->rest) < n) {
		struct iobuf big = { 0 };

		if (iobuf_lease(&big, &shared->big_blocks) < 0)
			return -ENOMEM;
		memcpy(big.mem, h2->rest.mem + h2->rest.pos, waiting);
		big.last = (uint32_t)waiting;
		h2_release_rest(h2);
		h2->rest = big;
	}
	memcpy(h2->rest.mem + h2->rest.last, p, n);
	h2->rest.last += (uint32_t)n;
	return 0;
}

void h2_release_rest(struct h2 *h2)
{
	struct conn_shared *shared = h2->shared;

	iobuf_release(&h2->rest,
		      h2->rest.cap > shared->blocks.size ? &shared->big_blocks : &shared->blocks);
}

static int write_rest(struct h2 *h2)
{
	struct stream *stream = &h2->conn->stream;

	while (iobuf_len(&h2->rest)) {
		struct iovec v = { h2->rest.mem + h2->rest.pos, iobuf_len(&h2->rest) };
		ssize_t n = stream_write(stream, &v, 1);

		if (n == -EAGAIN) {
			h2->blocked = true;
			return -EAGAIN;
		}
		if (n < 0)
			return (int)n;
		h2->rest.pos += (uint32_t)n;
	}
	h2_release_rest(h2);
	return 0;
}

/* Writes what is framed. The buffer is free for the next connection afterwards. */
static int flush(struct h2 *h2)
{
	struct h2_shared *own = h2->own;
	uint32_t n = own->nout, done = 0;

	own->nout = 0;
	while (done < n) {
		struct iovec v = { own->out + done, n - done };
		ssize_t put = stream_write(&h2->conn->stream, &v, 1);

		if (put == -EAGAIN) {
			h2->blocked = true;
			return keep_rest(h2, own->out + done, n - done) < 0 ? -ENOMEM : -EAGAIN;
		}
		if (put < 0)
			return (int)put;
		done += (uint32_t)put;
	}
	return 0;
}

/* A frame from nghttp2's memory. */
static int append(struct h2 *h2, const uint8_t *p, size_t n)
{
	struct h2_shared *own = h2->own;
	int rc = 0;

	if (sizeof(own->out) - own->nout < n)
		rc = flush(h2);
	if (rc == -EAGAIN)
		return keep_rest(h2, p, n) < 0 ? -ENOMEM : -EAGAIN;
	if (rc < 0)
		return rc;
	memcpy(own->out + own->nout, p, n);
	own->nout += (uint32_t)n;
	return 0;
}

static int send_frames(struct h2 *h2)
{
	uint64_t mark = h2->turn_bytes_out + TURN_MAX_BYTES;

	for (;;) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(h2->session, &p);
		int rc = 0;

		if (n < 0)
			return -ENOMEM;
		if (n > 0)
			rc = append(h2, p, (size_t)n);
		else if (!h2->full)
			return flush(h2);
		else
			rc = flush(h2);
		h2->full = false;
		if (rc < 0)
			return rc;
		/* The socket will say at once that it is writable, in the next turn. */
		if (h2->conn->stream.bytes_out > mark) {
			h2->blocked = true;
			rc = flush(h2);
			return rc < 0 ? rc : -EAGAIN;
		}
	}
}

int h2_send(struct h2 *h2)
{
	int rc;

	if (h2->blocked)
		return -EAGAIN;
	rc = write_rest(h2);
	if (rc < 0)
		return rc;
	h2->busy = true;
	rc = send_frames(h2);
	h2->busy = false;
	h2->own->nout = 0;
	return rc;
}

/* ---- content into frames ---- */

static size_t available(const struct h2_stream *s)
{
	return iobuf_len(&s->out) + s->offer_bytes;
}

/* The last DATA frame is being made: with END_STREAM, or before trailers. */
static void finish(struct h2_stream *s, uint32_t *flags)
{
	struct h2_trailers *t = s->trailers;

	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (t) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(s->h2->session, s->id, t->nv, t->n);
	}
}

/* How much of it goes into the next frame? */
static ssize_t on_source(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
			 uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = source->ptr;
	struct h2 *h2 = arg;
	size_t n = available(s), room = sizeof(h2->own->out) - h2->own->nout;

	(void)session;
	(void)id;
	(void)buf;
	if (!s->x.ended && (n == 0 || (s->offer && iobuf_len(&s->out) == 0 && n < DIRECT_MIN))) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	n = MIN(n, length);
	if (room >= FRAME_MIN)
		n = MIN(n, room - H2_FRAME_HEAD);
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	s->promised = (uint32_t)n;
	if (s->x.ended && n == available(s))
		finish(s, flags);
	return (ssize_t)n;
}

static void copy_offered(struct h2_stream *s, uint8_t *to, size_t n)
{
	s->offer_bytes -= n;
	while (n) {
		const struct iovec *v = s->offer;
		size_t take = MIN(n, v->iov_len - s->offer_skip);

		memcpy(to, (const char *)v->iov_base + s->offer_skip, take);
		to += take;
		n -= take;
		s->offer_skip += take;
		if (s->offer_skip == v->iov_len) {
			s->offer++;
			s->offer_skip = 0;
		}
	}
}

/* The frame itself: from the stream's block and from what is offered into the connection's buffer. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
			size_t length, nghttp2_data_source *source, void *arg)
{
	struct h2_stream *s = source->ptr;
	struct h2 *h2 = arg;
	struct h2_shared *own = h2->own;
	uint8_t *to = own->out + own->nout;
	size_t n = MIN(length, iobuf_len(&s->out));

	(void)session;
	(void)frame;
	if (length > available(s)) /* no block was to be had for what was promised */
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (sizeof(own->out) - own->nout < H2_FRAME_HEAD + length) {
		h2->full = true;
		return NGHTTP2_ERR_WOULDBLOCK;
	}
	memcpy(to, head, H2_FRAME_HEAD);
	to += H2_FRAME_HEAD;
	if (n) {
		memcpy(to, s->out.mem + s->out.pos, n);
		s->out.pos += (uint32_t)n;
		if (iobuf_len(&s->out) == 0)
			h2_stream_drop_out(s);
	}
	if (n < length)
		copy_offered(s, to + n, length - n);
	own->nout += (uint32_t)(H2_FRAME_HEAD + length);
	s->sent_bytes += length;
	s->promised = 0;
	if (s->want_writable && iobuf_len(&s->out) == 0)
		h2_stream_wake(s);
	return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_stream *s;

	/* Refused before it was opened: its content may be on its way. */
	if (frame->hd.type == NGHTTP2_RST_STREAM &&
	    !nghttp2_session_find_stream(session, frame->hd.stream_id))
		h2_gate_closed(arg, frame->hd.stream_id, true);
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
	    (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!s)
		return 0;
	s->out_end = true;
	/* What is left of the request is not wanted (RFC 9113 §8.1); a tunnel has another half. */
	if (!s->in_end && !s->x.tunnel)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	return 0;
}

void h2_out_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
}

static void resume(struct h2_stream *s)
{
	if (s->deferred) {
		s->deferred = false;
		nghttp2_session_resume_data(s->h2->session, s->id);
	}
	conn_wake(s->h2->conn);
}

/* ---- giving up ---- */

void h2_reset(struct h2_stream *s, uint32_t code, const char *why)
{
	s->cut = true;
	if (!s->why)
		s->why = why;
	nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, code);
	conn_wake(s->h2->conn);
}

void h2_refuse(struct h2_stream *s, unsigned status, const char *why)
{
	struct h2_head_out *out = &s->h2->own->pairs;
	struct write_framing f = { .body = BODY_LENGTH };
	struct head h;

	s->cut = true;
	s->why = why;
	head_init(&h);
	h.status = (uint16_t)status;
	h2_head_response(out, &h, &f);
	if (nghttp2_submit_response(s->h2->session, s->id, out->nv, out->n, NULL) != 0)
		conn_break(s->h2->conn, "out of memory");
	conn_wake(s->h2->conn);
}

/* ---- the exchange's functions ---- */

static bool is_over(const struct h2_stream *s)
{
	return s->cut || s->gone || s->h2->conn->broken;
}

static bool fits(const struct h2_head_out *out)
{
	size_t n = 0;

	for (size_t i = 0; i < out->n; i++)
		n += out->nv[i].namelen + out->nv[i].valuelen;
	return n <= HEAD_MAX_BYTES;
}

static void frame_length(struct h2_stream *s, const struct head *h, struct write_framing *f)
{
	const struct field *cl = head_field(h, FIELD_CONTENT_LENGTH);
	bool has_length = cl && slice_u64(cl->value, &f->length) == 0;

	s->no_content = h->status == 204 || h->status == 304 || s->x.req.method_id == METHOD_HEAD;
	f->body = has_length && h->status != 204 ? BODY_LENGTH : BODY_NONE;
	s->has_left_out = f->body == BODY_LENGTH && !s->no_content;
	s->left_out = f->length;
}

static int submit(struct h2_stream *s, const struct head *h, const struct write_framing *f,
		  bool end)
{
	const nghttp2_data_provider content = { .source = { .ptr = s },
						.read_callback = on_source };
	struct h2_head_out *out = &s->h2->own->pairs;

	h2_head_response(out, h, f);
	if (!fits(out))
		return -EMSGSIZE;
	if (nghttp2_submit_response(s->h2->session, s->id, out->nv, out->n,
				    end ? NULL : &content) != 0)
		conn_break(s->h2->conn, "out of memory");
	conn_wake(s->h2->conn);
	return 0;
}

static int respond_tunnel(struct h2_stream *s, const struct head *h)
{
	struct write_framing f = { .body = BODY_NONE };
	struct head *ok = &s->h2->shared->trailers; /* a scratch like any other */
	int rc;

	if (s->websocket && !h2_websocket_accepted(s, h))
		return -EPROTO;
	head_init(ok);
	ok->status = 200;
	for (unsigned i = 0; i < h->nfields; i++)
		if (!slice_eq_nocase(h->fields[i].name, SLICE("sec-websocket-accept")))
			ok->fields[ok->nfields++] = h->fields[i];
	rc = submit(s, ok, &f, false);
	if (rc < 0)
		return rc;
	s->x.tunnel = s->x.responded = true;
	s->x.status = h->status;
	s->x.req.body = BODY_UNTIL_CLOSE;
	h2_stream_wake(s); /* what came early, and the client's end */
	return 0;
}

static int on_respond(struct exchange *x, const struct head *h, bool end)
{
	struct h2_stream *s = stream_of(x);
	struct write_framing f = { 0 };
	int rc;

	assert(!x->responded);
	if (is_over(s))
		return 0;
	if (x->req.protocol.n) {
		if (h->status == 101)
			return respond_tunnel(s, h);
		/* To the client that would be a tunnel (RFC 8441 §5). */
		if (h->status < 300)
			return -EPROTO;
	}
	frame_length(s, h, &f);
	rc = submit(s, h, &f, end || s->no_content);
	if (rc < 0)
		return rc;
	x->responded = true;
	x->status = h->status;
	if (end)
		x->ops->end(x, NULL);
	return 0;
}

static void on_inform(struct exchange *x, const struct head *h)
{
	struct h2_stream *s = stream_of(x);
	struct h2_head_out *out = &s->h2->own->pairs;
	struct write_framing f = { 0 };

	if (is_over(s) || x->responded || h->status < 100 || h->status > 199 || h->status == 101)
		return;
	if (h->status == 100) {
		/* One is enough, and only who asked for it gets it. */
		if (s->continued || !x->req.expect_continue)
			return;
		s->continued = true;
	}
	h2_head_response(out, h, &f);
	if (!fits(out))
		h2_reset(s, NGHTTP2_INTERNAL_ERROR, "interim response too large");
	else if (nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, out->nv,
					out->n, NULL) != 0)
		conn_break(s->h2->conn, "out of memory");
	conn_wake(s->h2->conn);
}

/* As much as the windows and the socket take, from where it is. */
static void send_direct(struct h2_stream *s)
{
	resume(s);
	if (h2_send(s->h2) < 0 && !s->h2->blocked)
		conn_break(s->h2->conn, "client went away");
}

/* A block for content that waits. Those whose client does not open the window get few of them
 * together; the others' blocks are soon empty. */
static bool lease_block(struct h2_stream *s)
{
	struct h2 *h2 = s->h2;

	if (s->out.mem)
		return true;
	if (h2->kept >= H2_KEPT_MAX && !s->promised &&
	    nghttp2_session_get_stream_remote_window_size(h2->session, s->id) <= 0)
		return false;
	if (iobuf_lease(&s->out, &h2->own->content) < 0)
		return false;
	h2->kept++;
	return true;
}

void h2_stream_drop_out(struct h2_stream *s)
{
	if (!s->out.mem)
		return;
	iobuf_release(&s->out, &s->h2->own->content);
	s->h2->kept--;
}

/* A block's worth of what is left; so a frame that was promised has its content. */
static void copy_rest(struct h2_stream *s)
{
	struct iobuf *b = &s->out;
	size_t n = s->offer_bytes;

	if (n == 0 || !lease_block(s))
		return;
	if (b->pos && iobuf_room(b) < n) {
		memmove(b->mem, b->mem + b->pos, iobuf_len(b));
		b->last -= b->pos;
		b->pos = 0;
	}
	n = MIN(n, iobuf_room(b));
	copy_offered(s, s->out.mem + s->out.last, n);
	s->out.last += (uint32_t)n;
}

static size_t on_write(struct exchange *x, const struct iovec *iov, int iovcnt)
{
	struct h2_stream *s = stream_of(x);
	size_t offered = 0, taken;

	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	if (is_over(s) || x->ended)
		return 0;
	assert(x->responded);
	if (s->no_content)
		return offered;
	if (s->has_left_out && offered > s->left_out) {
		h2_reset(s, NGHTTP2_INTERNAL_ERROR, "response longer than its Content-Length");
		return 0;
	}
	while (iovcnt && iov->iov_len == 0) {
		iov++;
		iovcnt--;
	}
	s->offer = iov;
	s->offer_bytes = offered;
	s->offer_skip = 0;
	if (offered > DIRECT_MIN && !s->h2->busy && !s->h2->blocked)
		send_direct(s);
	copy_rest(s);
	taken = offered - s->offer_bytes;
	s->offer = NULL;
	s->offer_bytes = 0;
	s->left_out -= s->has_left_out ? taken : 0;
	x->body_out_bytes += taken;
	s->want_writable = taken < offered;
	resume(s);
	return taken;
}

/* A copy that lasts until the content before it is out. */
static bool keep_trailers(struct h2_stream *s, const struct head *trailers)
{
	struct h2_head_out *out = &s->h2->own->pairs;
	struct h2_trailers *t;

	h2_head_trailers(out, trailers);
	if (out->n == 0)
		return true;
	t = pool_get(&s->h2->own->content);
	if (!t)
		return false;
	s->trailers = t;
	t->n = out->n;
	t->used = 0;
	for (size_t i = 0; i < out->n; i++) {
		const nghttp2_nv *from = &out->nv[i];
		uint8_t *to = (uint8_t *)t->text + t->used;

		if (sizeof(t->text) - t->used < from->namelen + from->valuelen)
			return false;
		t->nv[i] = *from;
		memcpy(to, from->name, from->namelen);
		if (from->valuelen)
			memcpy(to + from->namelen, from->value, from->valuelen);
		t->nv[i].name = to;
		t->nv[i].value = to + from->namelen;
		t->used += from->namelen + from->valuelen;
	}
	return true;
}

static void on_end(struct exchange *x, const struct head *trailers)
{
	struct h2_stream *s = stream_of(x);

	if (is_over(s) || x->ended)
		return;
	if (!x->responded)
		h2_reset(s, NGHTTP2_INTERNAL_ERROR, "no response");
	else if (s->has_left_out && s->left_out)
		h2_reset(s, NGHTTP2_INTERNAL_ERROR, "response shorter than its Content-Length");
	else if (trailers && !s->no_content && !x->tunnel && !keep_trailers(s, trailers))
		h2_reset(s, NGHTTP2_INTERNAL_ERROR, "trailers too large");
	if (s->cut)
		return;
	x->ended = true;
	resume(s);
}

static void on_resume(struct exchange *x)
{
	struct h2_stream *s = stream_of(x);

	s->refused_more = false;
	if (!is_over(s))
		h2_stream_wake(s);
}

static void on_abort(struct exchange *x, const char *why)
{
	struct h2_stream *s = stream_of(x);

	if (!is_over(s))
		h2_reset(s, NGHTTP2_INTERNAL_ERROR, why);
}

const struct exchange_ops h2_ops = {
	.inform = on_inform,
	.respond = on_respond,
	.write = on_write,
	.end = on_end,
	.resume = on_resume,
	.abort = on_abort,
};
