/* A client of one HTTP/2 request. */
#include "h2_asker.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
	struct asker *a = arg;
	char text[32];

	(void)session;
	(void)frame;
	(void)flags;
	snprintf(text, sizeof(text), "%.*s", (int)MIN(value_n, sizeof(text) - 1),
		 (const char *)value);
	if (name_n == 7 && memcmp(name, ":status", 7) == 0)
		a->status = (unsigned)atoi(text);
	else if (name_n == 14 && memcmp(name, "content-length", 14) == 0)
		a->length = atol(text);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t n, void *arg)
{
	struct asker *a = arg;
	size_t room = sizeof(a->body) - 1 - a->body_n;

	(void)session;
	(void)flags;
	(void)id;
	memcpy(a->body + a->body_n, data, MIN(n, room));
	a->body_n += MIN(n, room);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct asker *a = arg;

	(void)session;
	(void)id;
	a->over = true;
	a->whole = code == NGHTTP2_NO_ERROR;
	return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n,
		       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct asker *a = arg;

	(void)session;
	(void)id;
	(void)source;
	n = MIN(n, a->content_left);
	memset(buf, 'b', n);
	a->content_left -= n;
	if (a->content_left == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t n, int flags,
		       void *arg)
{
	struct asker *a = arg;
	ssize_t sent = send(a->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)session;
	(void)flags;
	if (sent >= 0)
		return sent;
	return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)name,
			     .namelen = strlen(name),
			     .value = (uint8_t *)value,
			     .valuelen = strlen(value) };
}

void asker_open(struct asker *a, int fd, const char *method, const char *authority, size_t content)
{
	nghttp2_data_provider provider = { .read_callback = on_read };
	nghttp2_session_callbacks *callbacks;
	char length[24];
	nghttp2_nv fields[5] = { pair(":method", method), pair(":scheme", "http"),
				 pair(":authority", authority), pair(":path", "/x") };
	size_t n = 4;

	*a = (struct asker){ .fd = fd, .content_left = content, .length = -1 };
	snprintf(length, sizeof(length), "%zu", content);
	if (content)
		fields[n++] = pair("content-length", length);
	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	assert_int_equal(nghttp2_session_client_new(&a->session, callbacks, a), 0);
	nghttp2_session_callbacks_del(callbacks);
	assert_int_equal(nghttp2_submit_settings(a->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
	assert_true(nghttp2_submit_request(a->session, NULL, fields, n, content ? &provider : NULL,
					   NULL) > 0);
}

void asker_close(struct asker *a)
{
	nghttp2_session_del(a->session);
	close(a->fd);
}

short asker_events(const struct asker *a)
{
	return (short)(POLLIN | (nghttp2_session_want_write(a->session) ? POLLOUT : 0));
}

void asker_step(struct asker *a)
{
	uint8_t in[16384];
	ssize_t n;

	/* The answer may be there although our content was not wanted: what cannot be sent is no
	 * end yet. */
	if (nghttp2_session_send(a->session) == NGHTTP2_ERR_NOMEM)
		fail_msg("no memory");
	n = recv(a->fd, in, sizeof(in), MSG_DONTWAIT);
	if (n > 0 && nghttp2_session_mem_recv(a->session, in, (size_t)n) < 0)
		fail_msg("not HTTP/2");
	if (n == 0 || (n < 0 && errno != EAGAIN))
		a->over = true;
}
