/* The server of the rpc tests. */
#include "rpc_peer.h"

#include <errno.h>

#include "check.h"
#include "reactor/stream.h"

struct conn {
	struct list link;
	struct loop_reap reap;
	struct peer *peer;
	struct stream s;
	struct buf in, out;
	bool shaking, closing;
	unsigned requests;
};

char peer_byte(size_t at)
{
	return (char)('a' + at * 7 % 26 + at / 1000 % 3);
}

static void conn_free(void *arg)
{
	struct conn *c = arg;

	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

static void conn_close(struct conn *c)
{
	stream_close(&c->s, false);
	list_remove(&c->link);
	loop_defer(c->peer->loop, &c->reap, conn_free, c);
}

/* Bytes of the first whole request in <in>, 0 when there is none yet. */
static size_t request_len(const struct buf *in)
{
	const char *end = in->len ? strstr(in->data, "\r\n\r\n") : NULL, *length;
	size_t n;

	if (!end)
		return 0;
	n = (size_t)(end - in->data) + 4;
	if (strncmp(in->data, "POST /reject ", 13) == 0)
		return n;
	if (strcasestr(in->data, "\r\ntransfer-encoding: chunked")) {
		end = strstr(in->data, "\r\n0\r\n\r\n");
		return end ? (size_t)(end - in->data) + 7 : 0;
	}
	length = strcasestr(in->data, "\r\ncontent-length:");
	if (length)
		n += (size_t)atol(length + 17);
	return in->len >= n ? n : 0;
}

static void answer(struct conn *c, int status, const char *body, size_t n)
{
	buf_printf(&c->out, "HTTP/1.1 %d Fine\r\nContent-Length: %zu\r\n\r\n", status, n);
	buf_append(&c->out, body, n);
}

static void answer_big(struct conn *c)
{
	char *body = xcalloc(1, PEER_BIG_BYTES);

	for (size_t i = 0; i < PEER_BIG_BYTES; i++)
		body[i] = peer_byte(i);
	answer(c, 200, body, PEER_BIG_BYTES);
	free(body);
}

static void handle(struct conn *c, size_t n)
{
	char path[64] = "";

	sscanf(c->in.data, "%*s %63s", path);
	c->peer->requests++;
	c->requests++;
	if (strcmp(path, "/ok") == 0 || (strcmp(path, "/once") == 0 && c->requests == 1)) {
		answer(c, 200, "hello", 5);
	} else if (strcmp(path, "/echo") == 0) {
		answer(c, 200, c->in.data, n);
	} else if (strcmp(path, "/big") == 0) {
		answer_big(c);
	} else if (strncmp(path, "/status/", 8) == 0) {
		answer(c, atoi(path + 8), "", 0);
	} else if (strcmp(path, "/continue") == 0) {
		buf_append_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
		answer(c, 200, "hello", 5);
	} else if (strcmp(path, "/dribble") == 0) {
		buf_append_str(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx");
	} else if (strcmp(path, "/reject") == 0) {
		answer(c, 413, "too much", 8);
	} else if (strcmp(path, "/half") == 0) {
		buf_append_str(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx");
		c->closing = true;
	} else if (strcmp(path, "/stall") != 0) {
		c->closing = true;
	}
	buf_consume(&c->in, n);
}

static void flush(struct conn *c)
{
	while (c->out.len) {
		struct iovec iov = { c->out.data, c->out.len };
		ssize_t n = stream_write(&c->s, &iov, 1);

		if (n <= 0) {
			c->closing = c->closing || n != -EAGAIN;
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
}

/* False: the connection is gone. */
static bool shake(struct conn *c)
{
	int want = STREAM_READ, rc = stream_handshake(&c->s, &want);

	if (rc == -EAGAIN) {
		stream_wait(&c->s, want);
		return false;
	}
	c->shaking = false;
	if (rc) {
		c->peer->handshakes_failed++;
		conn_close(c);
	}
	return rc == 0;
}

static void on_ready(void *arg, int events)
{
	static char block[65536];
	struct conn *c = arg;
	ssize_t n = -EAGAIN;
	size_t len;

	(void)events;
	if (c->shaking && !shake(c))
		return;
	if (c->out.len == 0 && !c->closing)
		n = stream_read(&c->s, block, sizeof(block));
	if (n > 0)
		buf_append(&c->in, block, (size_t)n);
	while (!c->closing && (len = request_len(&c->in)) > 0)
		handle(c, len);
	flush(c);
	if ((n <= 0 && n != -EAGAIN) || (c->closing && c->out.len == 0)) {
		conn_close(c);
		return;
	}
	stream_wait(&c->s, c->out.len ? STREAM_WRITE : STREAM_READ);
}

static void on_accept(void *arg, int take_fd, const struct addr *from)
{
	struct peer *p = arg;
	struct conn *c = xcalloc(1, sizeof(*c));

	(void)from;
	p->accepted++;
	c->peer = p;
	buf_init(&c->in, 0);
	buf_init(&c->out, 0);
	list_push_back(&p->conns, &c->link);
	c->shaking = p->tls != NULL;
	if (p->tls)
		assert_int_equal(stream_init_tls(&c->s, p->loop, take_fd, p->tls, on_ready, c), 0);
	else
		stream_init(&c->s, p->loop, take_fd, on_ready, c);
	stream_wait(&c->s, STREAM_READ);
}

void peer_open(struct peer *p, struct loop *l, const char *ip, struct tls_server *tls)
{
	struct addr at;
	struct err err = { 0 };

	*p = (struct peer){ .loop = l, .tls = tls };
	list_init(&p->conns);
	assert_int_equal(addr_make(&at, slice_str(ip), 0, &err), 0);
	if (listener_open(&p->listener, l, &at, on_accept, p, &err))
		fail_msg("%s", err.text);
}

void peer_open_unix(struct peer *p, struct loop *l, const char *path)
{
	struct err err = { 0 };

	*p = (struct peer){ .loop = l };
	list_init(&p->conns);
	if (listener_open_unix(&p->listener, l, path, on_accept, p, &err))
		fail_msg("%s", err.text);
}

void peer_close(struct peer *p)
{
	if (!p->listener)
		return;
	listener_close(p->listener);
	p->listener = NULL;
	LIST_FOR_EACH_SAFE(c, &p->conns, struct conn, link)
		conn_close(c);
}

uint16_t peer_port(const struct peer *p)
{
	return addr_port(listener_addr(p->listener));
}
