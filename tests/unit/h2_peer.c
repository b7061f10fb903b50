/* An HTTP/2 server played by hand. */
#include "h2_peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static struct peer_stream *find(struct peer *p, int32_t id)
{
	for (unsigned i = 0; i < p->nstreams; i++)
		if (p->streams[i].id == id)
			return &p->streams[i];
	return NULL;
}

static void keep(char *out, size_t size, const uint8_t *value, size_t n)
{
	snprintf(out, size, "%.*s", (int)n, (const char *)value);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct peer *p = arg;

	(void)session;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	assert_true(p->nstreams < PEER_STREAMS);
	p->streams[p->nstreams++] = (struct peer_stream){ .id = frame->hd.stream_id };
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
	struct peer_stream *s = find(arg, frame->hd.stream_id);
	struct slice n = slice_of(name, name_n);
	const struct {
		struct slice name;
		char *out;
		size_t size;
	} wanted[] = {
		{ SLICE(":method"), s->method, sizeof(s->method) },
		{ SLICE(":path"), s->path, sizeof(s->path) },
		{ SLICE(":authority"), s->authority, sizeof(s->authority) },
		{ SLICE(":scheme"), s->scheme, sizeof(s->scheme) },
		{ SLICE(":protocol"), s->protocol, sizeof(s->protocol) },
		{ SLICE("te"), s->te, sizeof(s->te) },
		{ SLICE("content-length"), s->length, sizeof(s->length) },
		{ SLICE("x-test"), s->extra, sizeof(s->extra) },
		{ SLICE("x-trailer"), s->trailer, sizeof(s->trailer) },
	};

	(void)session;
	(void)flags;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (slice_eq(n, wanted[i].name))
			keep(wanted[i].out, wanted[i].size, value, value_n);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t n, void *arg)
{
	struct peer *p = arg;
	struct peer_stream *s = find(p, id);
	size_t room = sizeof(s->body) - MIN(s->body_n, sizeof(s->body));

	(void)flags;
	memcpy(s->body + (sizeof(s->body) - room), data, MIN(n, room));
	s->body_n += n;
	if (p->thrifty)
		s->unread += n;
	else
		nghttp2_session_consume(session, id, n);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct peer *p = arg;
	struct peer_stream *s = find(p, frame->hd.stream_id);

	(void)session;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA: s->ended = s->ended || frame->hd.flags & NGHTTP2_FLAG_END_STREAM; break;
	case NGHTTP2_RST_STREAM:
		if (s) {
			s->reset = true;
			s->reset_code = frame->rst_stream.error_code;
		}
		break;
	case NGHTTP2_GOAWAY:
		p->goaway = true;
		p->goaway_code = frame->goaway.error_code;
		break;
	case NGHTTP2_PING: p->pings++; break;
	case NGHTTP2_WINDOW_UPDATE: p->window_updates += frame->hd.stream_id != 0; break;
	default: break;
	}
	return 0;
}

void peer_open(struct peer *p, int fd, const nghttp2_settings_entry *settings, size_t n)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;

	memset(p, 0, sizeof(*p));
	p->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	assert_int_equal(nghttp2_option_new(&option), 0);
	nghttp2_option_set_no_auto_window_update(option, 1);
	assert_int_equal(nghttp2_session_server_new2(&p->session, cb, p, option), 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	if (settings)
		assert_int_equal(nghttp2_submit_settings(p->session, 0, settings, n), 0);
}

void peer_close(struct peer *p)
{
	nghttp2_session_del(p->session);
	p->session = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

void peer_bytes(struct peer *p, const void *bytes, size_t n)
{
	size_t at = 0;

	while (at < n) {
		ssize_t sent = send(p->fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN) {
			p->closed = true;
			return;
		}
		at += sent > 0 ? (size_t)sent : 0;
	}
}

void peer_step(struct peer *p)
{
	uint8_t block[16384];
	const uint8_t *out;
	ssize_t n;

	if (!p->session || p->closed)
		return;
	n = recv(p->fd, block, sizeof(block), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		p->closed = true;
		return;
	}
	if (n > 0 && nghttp2_session_mem_recv(p->session, block, (size_t)n) < 0)
		p->broken = true;
	while ((n = nghttp2_session_mem_send(p->session, &out)) > 0)
		peer_bytes(p, out, (size_t)n);
}

struct peer_stream *peer_request(struct peer *p, unsigned i)
{
	assert_true(i < p->nstreams);
	return &p->streams[i];
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t size,
		       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct peer_stream *s = find(arg, id);
	size_t n = MIN(size, s->say_n - s->said);

	(void)source;
	if (n)
		memcpy(buf, s->say + s->said, n);
	s->said += n;
	if (s->said < s->say_n)
		return (ssize_t)n;
	if (s->more)
		return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (s->trailer_name) {
		nghttp2_nv nv = { (uint8_t *)s->trailer_name, (uint8_t *)s->trailer_value,
				  strlen(s->trailer_name), strlen(s->trailer_value), 0 };

		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, id, &nv, 1);
	}
	return (ssize_t)n;
}

static size_t head(nghttp2_nv nv[2], const char *status, const char *name, const char *value)
{
	nv[0] = (nghttp2_nv){ (uint8_t *)":status", (uint8_t *)status, 7, strlen(status), 0 };
	if (name)
		nv[1] = (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name),
				      strlen(value), 0 };
	return name ? 2 : 1;
}

void peer_answer(struct peer *p, struct peer_stream *s, const char *status, const char *name,
		 const char *value, const char *body, size_t body_n, bool more)
{
	nghttp2_data_provider content = { .read_callback = on_read };
	nghttp2_nv nv[2];
	size_t n = head(nv, status, name, value);

	s->say = body;
	s->say_n = body_n;
	s->said = 0;
	s->more = more;
	assert_int_equal(
		nghttp2_submit_response(p->session, s->id, nv, n,
					body_n || more || s->trailer_name ? &content : NULL),
		0);
	peer_step(p);
}

void peer_continue(struct peer *p, struct peer_stream *s, const char *body, size_t n, bool more)
{
	s->say = body;
	s->say_n = n;
	s->said = 0;
	s->more = more;
	(void)nghttp2_session_resume_data(p->session, s->id);
	peer_step(p);
}

void peer_inform(struct peer *p, struct peer_stream *s, const char *status)
{
	nghttp2_nv nv[2];
	size_t n = head(nv, status, NULL, NULL);

	assert_int_equal(nghttp2_submit_headers(p->session, 0, s->id, NULL, nv, n, NULL), 0);
	peer_step(p);
}
