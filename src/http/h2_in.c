/* What nghttp2 reads: header blocks, content, the ends of streams. */
#include <errno.h>

#include "http/h2_inner.h"

static struct h2_stream *find(struct h2 *h2, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h2->session, id);
}

/* ---- header blocks ---- */

static void begin_request(struct h2 *h2, int32_t id)
{
	static const nghttp2_extpri fair = { .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1 };
	struct h2_stream *s = h2_limit_share(h2) ? h2_stream_open(h2, id) : NULL;

	if (!s) {
		h2->shared->stats.h2_refused++;
		nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id,
					  NGHTTP2_REFUSED_STREAM);
		h2_limit_noise(h2, 0);
		return;
	}
	nghttp2_session_set_stream_user_data(h2->session, id, s);
	/* All get their share in turn, whatever the client would prefer. */
	nghttp2_session_change_extpri_stream_priority(h2->session, id, &fair, 1);
	h2->reading = s;
	h2_head_begin(&h2->head, H2_REQUEST, &s->x.req, s->text, sizeof(s->text));
}

static void begin_trailers(struct h2 *h2, int32_t id)
{
	struct h2_stream *s = find(h2, id);
	struct head *h;

	if (!s || s->cut || !s->begun)
		return;
	if (!h2_stream_keep_trailers(s)) {
		h2_reset(s, NGHTTP2_ENHANCE_YOUR_CALM, "out of buffers");
		return;
	}
	h2->reading = s;
	h = s->trailers_in;
	h2_head_begin(&h2->head, H2_TRAILERS, h, (char *)(h + 1), INBOX_BLOCK_BYTES - sizeof(*h));
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;

	(void)session;
	h2->reading = NULL;
	h2->head.list_bytes = 0;
	h2->head_ms = loop_now_ms(h2->shared->loop);
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		begin_request(h2, frame->hd.stream_id);
	else
		begin_trailers(h2, frame->hd.stream_id);
	return h2_goes_on(arg);
}

/* The text moves into a block, then into a big one, which holds whatever a head may have. */
static bool grow_text(struct h2 *h2, struct h2_stream *s)
{
	bool big = s->block != NULL;
	struct pool *pool = big ? &h2->shared->big_blocks : &h2->own->content;
	char *block;

	if (h2->head.block != H2_REQUEST || s->block_bytes > h2->own->content.size)
		return false;
	block = pool_get(pool);
	if (!block)
		return false;
	h2_head_move(&h2->head, block, pool->size);
	if (big)
		pool_put(&h2->own->content, s->block);
	s->block = block;
	s->block_bytes = pool->size;
	return true;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t nname, const uint8_t *value, size_t nvalue, uint8_t flags, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s = h2->reading;

	(void)session;
	(void)frame;
	(void)flags;
	if (!s) {
		h2->head.list_bytes += (uint32_t)(nname + nvalue) + 32;
		h2_limit_head(h2);
		return h2_goes_on(arg);
	}
	while (h2_head_add(&h2->head, slice_of(name, nname), slice_of(value, nvalue)) < 0)
		if (!grow_text(h2, s))
			h2->head.fault =
				(struct parse_fault){ 431, "no room for a head this large" };
	if (h2->head.fault.why)
		h2_limit_head(h2);
	return h2_goes_on(arg);
}

/* A request's head is complete, or no request. */
static void end_request_head(struct h2 *h2, struct h2_stream *s, bool last)
{
	const struct parse_fault *fault = &h2->head.fault;
	int rc;

	while ((rc = h2_head_end(&h2->head, last, 0)) == -ENOBUFS)
		if (!grow_text(h2, s))
			h2->head.fault =
				(struct parse_fault){ 431, "no room for a head this large" };
	s->in_end = last;
	if (rc == 0 && s->x.req.protocol.n && !conn_tunnel_begin(h2->conn)) {
		h2_refuse(s, 429, "too many tunnels from this address");
		return;
	}
	s->counts_as_tunnel = rc == 0 && s->x.req.protocol.n > 0;
	if (rc == 0) {
		h2_limit_request(h2);
		h2_stream_begin(s);
		if (last)
			h2_stream_end(s);
		return;
	}
	h2->shared->stats.bad_requests++;
	if (fault->status)
		h2_refuse(s, fault->status, fault->why);
	else
		h2_reset(s, NGHTTP2_PROTOCOL_ERROR, fault->why);
	h2_limit_reset(h2);
}

static void end_head(struct h2 *h2, bool last)
{
	struct h2_stream *s = h2->reading;

	h2->reading = NULL;
	h2->head_ms = 0;
	if (!s)
		return;
	if (h2->head.block == H2_REQUEST) {
		end_request_head(h2, s, last);
	} else if (h2_head_end(&h2->head, last, 0) < 0) {
		h2->shared->stats.bad_requests++;
		h2_reset(s, NGHTTP2_PROTOCOL_ERROR, h2->head.fault.why);
	} else {
		h2_stream_end(s);
	}
}

/* ---- frames ---- */

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2_stream *s;

	(void)session;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS: end_head(h2, last); break;
	case NGHTTP2_DATA:
		if (frame->hd.length == frame->data.padlen && !last)
			h2_limit_noise(h2, frame->hd.length);
		s = last ? find(h2, frame->hd.stream_id) : NULL;
		if (s)
			h2_stream_end(s);
		break;
	case NGHTTP2_WINDOW_UPDATE:
		s = find(h2, frame->hd.stream_id);
		if (s && s->want_writable)
			h2_stream_wake(s);
		break;
	case NGHTTP2_RST_STREAM: h2->reset_id = frame->hd.stream_id; break;
	case NGHTTP2_SETTINGS: h2->greeted = true; break;
	case NGHTTP2_PING:
		/* Our only one: what the client sent before it read that we are leaving is here. */
		if (frame->hd.flags & NGHTTP2_FLAG_ACK && h2->drain == H2_NOTICED)
			h2->drain = H2_LEAVING;
		break;
	default: break;
	}
	return h2_goes_on(arg);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s = find(h2, id);

	(void)flags;
	h2->content_bytes += n;
	if (s)
		h2_stream_content(s, p, n);
	else
		nghttp2_session_consume_connection(session, n);
	return h2_goes_on(h2);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *s = find(h2, id);

	(void)session;
	h2_gate_closed(h2, id, h2->reset_id != id && (!s || !s->in_end));
	if (!s)
		return 0;
	s->gone = true;
	if (h2->reading == s)
		h2->reading = NULL;
	/* We did not do it: the client took it back, or nghttp2 found it at fault. */
	if (code != NGHTTP2_NO_ERROR && !s->why) {
		s->why = "client went away";
		h2_limit_reset(h2);
	}
	h2_stream_wake(s);
	return 0;
}

void h2_in_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
