/* What libnghttp2 asks for and tells, of a connection to an upstream. */
#include <errno.h>

#include "http/client_h2.h"

#define INFORMS_MAX 32 /* 1xx heads before one response */
/* Bytes of frames that carry nothing for anybody (PING, SETTINGS, WINDOW_UPDATE, empty DATA, unknown
 * ones) between two that do, in one period: nobody needs as many. */
#define QUIET_BYTES_MAX (128 * 1024)
#define QUIET_PERIOD_MS 10000

static struct client_h2 *stream_of(struct client_h2_conn *conn, int32_t id)
{
	return id ? nghttp2_session_get_stream_user_data(conn->session, id) : NULL;
}

void client_h2_section_drop(struct client_pool *p, struct client_h2_section *s)
{
	pool_put(&p->heads, s->head);
	s->head = NULL;
	iobuf_release(&s->text, &p->h2_blocks);
}

/* A callback's result: the connection may be gone through what it told. */
static int go_on(const struct client_h2_conn *conn)
{
	return conn->state == H2_CLOSED ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- header blocks ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, frame->hd.stream_id);
	struct client_h2_section *s = &conn->section;

	(void)session;
	client_h2_section_drop(conn->pool, s);
	if (!c || c->broken)
		return 0;
	s->head = pool_get(&conn->pool->heads);
	if (!s->head || iobuf_lease(&s->text, &conn->pool->h2_blocks) < 0) {
		client_h2_section_drop(conn->pool, s);
		(void)client_h2_fail(c, -ENOMEM, client_h2_stage(c), false, "out of buffers");
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	h2_head_begin(&conn->block, c->head_done ? H2_TRAILERS : H2_RESPONSE, s->head,
		      (char *)s->text.mem, s->text.cap);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct slice n = slice_of(name, name_n);
	/* RFC 9113 §8.2.1 has no blanks at the ends, yet gRPC's own library ends grpc-message with
	 * one when an exception has no text. HTTP/1 would drop it too. */
	struct slice v = slice_trim(slice_of(value, value_n));

	(void)session;
	(void)frame;
	(void)flags;
	/* The text has room for the longest head there may be. */
	if (conn->section.head && h2_head_add(&conn->block, n, v) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return 0;
}

/* By default such a field is dropped without a word. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
			     const uint8_t *name, size_t name_n, const uint8_t *value,
			     size_t value_n, uint8_t flags, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, frame->hd.stream_id);

	(void)session;
	(void)name;
	(void)name_n;
	(void)value;
	(void)value_n;
	(void)flags;
	if (c)
		(void)client_h2_fail(c, -EBADMSG, client_h2_stage(c), false,
				     "malformed field in the response");
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void take_inform(struct client_h2 *c, const struct head *h)
{
	if (c->informs == INFORMS_MAX) {
		(void)client_h2_fail(c, -EBADMSG, CLIENT_HEAD, false, "too many 1xx responses");
		return;
	}
	c->informs++;
	if (c->events->inform)
		c->events->inform(c->arg, h);
}

/* Success makes a tunnel of extended CONNECT; the caller asked for an upgrade and gets 101. */
static void settle_connect(struct client_h2 *c, struct head *h)
{
	c->tunnel = h->status >= 200 && h->status < 300;
	if (!c->tunnel) {
		c->request_done = true;
		client_h2_submit_end(c, NULL);
		return;
	}
	h->status = 101;
	h->protocol = SLICE("websocket");
	h->body = BODY_NONE;
	h->has_length = false;
	head_add(h, FIELD_UPGRADE, h->protocol);
	if (c->accept[0])
		head_add_other(h, SLICE("Sec-WebSocket-Accept"), slice_str(c->accept));
}

static void take_head(struct client_h2 *c, struct head *h)
{
	if (h->status < 200) {
		take_inform(c, h);
		return;
	}
	if (c->connect)
		settle_connect(c, h);
	c->head_done = true;
	c->conn->served = true;
	c->events->head(c->arg, h);
	if (!c->closed)
		client_h2_watch(c);
}

/* Trailers stay in the section: they are told at the end. */
static void take_block(struct client_h2_conn *conn, struct client_h2 *c, bool last)
{
	if (!conn->section.head || c->broken)
		return;
	if (h2_head_end(&conn->block, last, c->method_id) < 0) {
		(void)client_h2_fail(c, -EBADMSG, client_h2_stage(c), false, conn->block.fault.why);
	} else if (!c->head_done) {
		take_head(c, conn->section.head);
		client_h2_section_drop(conn->pool, &conn->section);
	}
}

/* ---- frames ---- */

bool client_h2_takes_connect(const struct client_h2_conn *conn)
{
	return !conn->settled || nghttp2_session_get_remote_settings(
					 conn->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL);
}

/* Takes a request back that is not begun. By RST_STREAM, which keeps the library from compressing
 * its head: before_send() would come after that, and with a head that the peer never sees its table
 * and ours differ, so that requests behind it get each other's fields. */
static void take_back(struct client_h2 *c)
{
	(void)client_h2_fail(c, -EOPNOTSUPP, CLIENT_UNSENT, false,
			     "upstream takes no extended CONNECT");
	(void)nghttp2_submit_rst_stream(c->conn->session, 0, c->id, NGHTTP2_CANCEL);
}

/* Those that were put here before the limit was known and have not been sent: elsewhere. */
static void on_settings(struct client_h2_conn *conn)
{
	uint32_t n = 0, max;

	conn->settled = true;
	max = client_h2_peer_streams(conn);
	if (conn->group)
		conn->group->peer_streams = max;
	LIST_FOR_EACH(c, &conn->streams, struct client_h2, link) {
		if (c->connect && !c->begun && !client_h2_takes_connect(conn))
			take_back(c);
		else if (++n > max && !c->begun)
			(void)client_h2_fail(c, -EAGAIN, CLIENT_UNSENT, true,
					     "upstream takes fewer streams");
	}
}

static void refused(struct client_h2 *c)
{
	(void)client_h2_fail(c, -EAGAIN, CLIENT_UNSENT, true,
			     "upstream did not process the request");
}

static void on_rst_stream(struct client_h2 *c, uint32_t code)
{
	/* RFC 9113 §8.7: nothing was done with it. */
	if (code == NGHTTP2_REFUSED_STREAM && !c->head_done)
		refused(c);
	else
		(void)client_h2_fail(c, -ECONNABORTED, client_h2_stage(c), false,
				     "upstream reset the stream");
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, frame->hd.stream_id);
	bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	(void)session;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		conn->quiet_bytes = 0;
		if (c)
			take_block(conn, c, ended);
		break;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK) && !conn->settled)
			on_settings(conn);
		return go_on(conn);
	case NGHTTP2_GOAWAY: client_h2_conn_retire(conn); return go_on(conn);
	case NGHTTP2_RST_STREAM:
		if (c)
			on_rst_stream(c, frame->rst_stream.error_code);
		return go_on(conn);
	case NGHTTP2_DATA:
		/* What is there came of a block that nobody took, of this stream or another. */
		client_h2_section_drop(conn->pool, &conn->section);
		break;
	default: return go_on(conn);
	}
	/* <c> may have been closed by what it was told. */
	c = conn->state == H2_CLOSED ? NULL : stream_of(conn, frame->hd.stream_id);
	if (ended && c && !c->broken) {
		conn->quiet_bytes = 0;
		client_h2_over(c, &conn->section); /* what is there now are trailers */
	}
	return go_on(conn);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, id);

	(void)flags;
	(void)nghttp2_session_consume_connection(session, n);
	if (n)
		conn->quiet_bytes = 0;
	if (c && !c->broken && client_h2_content(c, (const char *)p, n) < 0)
		(void)client_h2_fail(c, -ENOMEM, CLIENT_BODY, false, "out of buffers");
	return go_on(conn);
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
			    void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, frame->hd.stream_id);

	(void)session;
	(void)error;
	if (c)
		(void)client_h2_fail(c, -EBADMSG, client_h2_stage(c), false, "malformed response");
	return go_on(conn);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, id);

	(void)session;
	if (!c)
		return go_on(conn);
	/* GOAWAY with a lower last stream, or it never was sent; what the peer reset was told before,
	 * so that the rest is our own doing: a length that does not fit, say. */
	if (!c->head_done && (!c->begun || code == NGHTTP2_REFUSED_STREAM))
		refused(c);
	else
		(void)client_h2_fail(c, -EBADMSG, client_h2_stage(c), false, "malformed response");
	client_h2_detach(c);
	return go_on(conn);
}

/* ---- sending ---- */

static int before_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c;

	(void)session;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	c = stream_of(conn, frame->hd.stream_id);
	if (!c)
		return 0;
	c->begun = true;
	c->out_mark = conn->queued_bytes;
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct client_h2_conn *conn = arg;

	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS ||
	    (frame->hd.type == NGHTTP2_DATA && frame->hd.length))
		conn->quiet_bytes = 0;
	return 0;
}

/* Content is asked for only when there may be some to send: whoever has it offers it during
 * client_write(), straight from where it is. */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
		       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, id);
	size_t n;

	(void)session;
	(void)buf;
	(void)source;
	/* Closed when it was complete (else a RST_STREAM went before), or complete now. */
	if (!c || (c->request_done && !c->ends_with_trailers)) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		return 0;
	}
	n = c->offer ? MIN(length, c->offered - c->taken) : 0;
	if (n && client_h2_out_has_room(conn)) {
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
		return (ssize_t)n;
	}
	if (!n && c->want_writable) {
		c->writable = true;
		client_h2_wake(c);
	}
	return NGHTTP2_ERR_DEFERRED;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
			size_t length, nghttp2_data_source *source, void *arg)
{
	struct client_h2_conn *conn = arg;
	struct client_h2 *c = stream_of(conn, frame->hd.stream_id);
	size_t skip = c->taken;

	(void)session;
	(void)source;
	if (client_h2_queue(conn, head, CLIENT_H2_FRAME_HEAD) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	c->taken += length;
	for (int i = 0; i < c->noffer && length; i++) {
		size_t n = c->offer[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		n = MIN(n - skip, length);
		if (client_h2_queue(conn, (const char *)c->offer[i].iov_base + skip, n) < 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		skip = 0;
		length -= n;
	}
	return 0;
}

/* ---- requests ---- */

/* An upgrade of HTTP/1.1 as extended CONNECT has it (RFC 8441 §5): without the key, whose proof is
 * ours to give. */
static void without_key(struct client_h2 *c, struct h2_head_out *out)
{
	static const struct slice name = SLICE("sec-websocket-key");
	size_t to = 0;

	for (size_t i = 0; i < out->n; i++) {
		const nghttp2_nv *nv = &out->nv[i];

		if (slice_eq_nocase(slice_of(nv->name, nv->namelen), name))
			websocket_accept(slice_of(nv->value, nv->valuelen), c->accept);
		else
			out->nv[to++] = *nv;
	}
	out->n = to;
}

int client_h2_submit(struct client_h2 *c, const struct head *h, uint64_t length)
{
	const struct write_framing f = { .body = c->body, .length = length };
	nghttp2_data_provider content = { .read_callback = on_read };
	struct h2_head_out out;
	int32_t id;

	h2_head_request(&out, h, &f);
	if (c->connect)
		without_key(c, &out);
	/* What is in <out> is copied before this returns. */
	id = nghttp2_submit_request(c->conn->session, NULL, out.nv, out.n,
				    c->request_done ? NULL : &content, c);
	if (id < 0)
		return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOTCONN;
	return id;
}

void client_h2_submit_end(struct client_h2 *c, const struct head *trailers)
{
	nghttp2_session *session = c->conn->session;
	struct h2_head_out out;

	h2_head_trailers(&out, c->begun ? trailers : NULL);
	if (out.n && nghttp2_submit_trailer(session, c->id, out.nv, out.n) == 0)
		c->ends_with_trailers = true;
	else
		(void)nghttp2_session_resume_data(session, c->id);
}

uint32_t client_h2_peer_streams(const struct client_h2_conn *conn)
{
	uint32_t max;

	if (!conn->settled)
		return conn->group->peer_streams;
	max = nghttp2_session_get_remote_settings(conn->session,
						  NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	return MAX(max, 1);
}

/* ---- the session ---- */

int client_h2_receive(struct client_h2_conn *conn, const uint8_t *p, size_t n)
{
	uint64_t now_ms = loop_now_ms(conn->pool->loop);
	ssize_t rc;

	if (now_ms - conn->quiet_since_ms > QUIET_PERIOD_MS) {
		conn->quiet_since_ms = now_ms;
		conn->quiet_bytes = 0;
	}
	conn->quiet_bytes += (uint32_t)n;
	conn->receiving = true;
	rc = nghttp2_session_mem_recv(conn->session, p, n);
	conn->receiving = false;
	if (rc < 0)
		return rc == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EBADMSG;
	return conn->quiet_bytes > QUIET_BYTES_MAX ? -EBADMSG : 0;
}

static nghttp2_session_callbacks *make_callbacks(void)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb))
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_before_frame_send_callback(cb, before_send);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	return cb;
}

static nghttp2_option *make_options(void)
{
	nghttp2_option *o;

	if (nghttp2_option_new(&o))
		return NULL;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_max_reserved_remote_streams(o, 0);
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(o, 1);
	/* Requests wait for the peer's SETTINGS, which it sends at once: then its limit is known, and
	 * whoever does not speak HTTP/2 never sees a request. */
	nghttp2_option_set_peer_max_concurrent_streams(o, 0);
	return o;
}

int client_h2_session_open(struct client_h2_conn *conn)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CLIENT_H2_STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_MAX_BYTES },
	};
	nghttp2_session_callbacks *cb = make_callbacks();
	nghttp2_option *options = make_options();
	int rc = -1;

	if (cb && options)
		rc = nghttp2_session_client_new3(&conn->session, cb, conn, options,
						 &conn->pool->h2_memory.functions);
	if (rc == 0)
		rc = nghttp2_submit_settings(conn->session, 0, settings, ARRAY_LEN(settings));
	if (rc == 0)
		rc = nghttp2_session_set_local_window_size(conn->session, 0, 0, CLIENT_H2_WINDOW);
	nghttp2_option_del(options);
	nghttp2_session_callbacks_del(cb);
	return rc ? -ENOMEM : 0;
}
