/* Counts what the hot path may not do: allocations, epoll_ctl and more than four I/O calls for a
 * keep-alive request in the steady state, access log on. The counters take the place of the C
 * library's functions, so that nothing escapes them, whoever calls. */
#include "check.h"

#include <openssl/ssl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "door.h"
#include "reactor/pki.h"

#define CONNS 16
#define WARM_ROUNDS 50
#define ROUNDS 250
#define REQUEST \
	"GET /x?y=z HTTP/1.1\r\nHost: " DOOR_HOST "\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"
#define HEAD_OUT "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n"

#if defined(__SANITIZE_ADDRESS__)
#define COUNTING 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTING 0
#endif
#endif
#ifndef COUNTING
#define COUNTING 1
#endif

static _Atomic uint64_t mallocs, io_calls, epoll_ctls, epoll_waits;

#if COUNTING
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
	mallocs++;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	mallocs++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	mallocs++;
	return __libc_realloc(p, n);
}

ssize_t read(int fd, void *p, size_t n)
{
	io_calls++;
	return syscall(SYS_read, fd, p, n);
}

ssize_t write(int fd, const void *p, size_t n)
{
	io_calls++;
	return syscall(SYS_write, fd, p, n);
}

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	io_calls++;
	return syscall(SYS_readv, fd, iov, n);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	io_calls++;
	return syscall(SYS_writev, fd, iov, n);
}

ssize_t recv(int fd, void *p, size_t n, int flags)
{
	io_calls++;
	return syscall(SYS_recvfrom, fd, p, n, flags, NULL, NULL);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
	io_calls++;
	return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	io_calls++;
	return syscall(SYS_recvmsg, fd, m, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	io_calls++;
	return syscall(SYS_sendmsg, fd, m, flags);
}

int epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
	epoll_ctls++;
	return (int)syscall(SYS_epoll_ctl, ep, op, fd, e);
}

int epoll_wait(int ep, struct epoll_event *e, int max, int timeout)
{
	epoll_waits++;
	return (int)syscall(SYS_epoll_wait, ep, e, max, timeout);
}
#endif

void door_count(struct door_counts *c)
{
	*c = (struct door_counts){ mallocs, io_calls, epoll_ctls, epoll_waits };
}

enum speech { HTTP, HTTPS, HTTP2 };

struct side {
	int fd;
	SSL *ssl;	    /* NULL: plain */
	unsigned stream_id; /* HTTP/2: of the next request; else 0 */
};

/* A stream's only frame: HEADERS with END_STREAM and END_HEADERS; GET, https, "/" by their numbers in
 * the static table, and :authority in full. */
#define H2_REQUEST "\0\0\x0e\1\5\0\0\0\0\x82\x87\x84\x01\x09" DOOR_HOST
#define H2_STREAM_AT 5
/* With a window for all the answers of a connection: nothing is acknowledged. */
#define H2_BEGIN \
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" \
	"\0\0\4\10\0\0\0\0\0\20\0\0\0"
_Static_assert(sizeof(H2_REQUEST) - 1 == 9 + 14, "the frame's length");

struct world {
	struct door door;
	int listener;
	struct side clients[CONNS];
	struct pollfd upstreams[CONNS]; /* the first <nupstreams> */
	unsigned nupstreams;
	SSL_CTX *ctx;
	char log[64], cert[64], key[64];
};

static void client_send(struct side *s)
{
	if (s->stream_id) {
		char frame[] = H2_REQUEST;

		frame[H2_STREAM_AT + 2] = (char)(s->stream_id >> 8);
		frame[H2_STREAM_AT + 3] = (char)s->stream_id;
		s->stream_id += 2;
		assert_int_equal(SSL_write(s->ssl, frame, sizeof(frame) - 1), sizeof(frame) - 1);
	} else if (s->ssl)
		assert_int_equal(SSL_write(s->ssl, REQUEST, sizeof(REQUEST) - 1),
				 sizeof(REQUEST) - 1);
	else
		tcp_send(s->fd, REQUEST);
}

static void client_receive(struct side *s)
{
	char text[2048];
	size_t got = 0;

	do {
		int n = s->ssl ? SSL_read(s->ssl, text + got, (int)(sizeof(text) - 1 - got))
			       : (int)recv(s->fd, text + got, sizeof(text) - 1 - got, 0);

		assert_true(n > 0);
		got += (size_t)n;
		text[got] = '\0';
	} while (!memmem(text, got, "xxxxend", 7));
}

static void serve_one(int fd)
{
	char text[2048], body[129];
	ssize_t n = tcp_read_until(fd, text, sizeof(text), "\r\n\r\n");

	assert_true(n > 0);
	memset(body, 'x', 125);
	strcpy(body + 125, "end");
	snprintf(text, sizeof(text), "%s%s", HEAD_OUT, body);
	tcp_send(fd, text);
}

/* A request on every connection at once; the upstream answers all of them. */
static void round_trip(struct world *w)
{
	unsigned left = CONNS;

	for (unsigned i = 0; i < CONNS; i++)
		client_send(&w->clients[i]);
	while (left) {
		struct pollfd l = { .fd = w->listener, .events = POLLIN };

		while (w->nupstreams < CONNS && poll(&l, 1, 0) == 1)
			w->upstreams[w->nupstreams++] =
				(struct pollfd){ .fd = tcp_accept(w->listener), .events = POLLIN };
		poll(w->upstreams, w->nupstreams, 100);
		for (unsigned i = 0; i < w->nupstreams; i++) {
			if (!(w->upstreams[i].revents & POLLIN))
				continue;
			serve_one(w->upstreams[i].fd);
			left--;
		}
	}
	for (unsigned i = 0; i < CONNS; i++)
		client_receive(&w->clients[i]);
}

static void write_temporary(char *path, struct slice text)
{
	int fd;

	strcpy(path, "/tmp/temps-hotpath-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text.p, text.n), (ssize_t)text.n);
	close(fd);
}

static void make_certificate(struct world *w)
{
	static const char *const names[] = { DOOR_HOST, NULL };
	const struct pki_names n = { .common_name = DOOR_HOST, .dns = names };
	struct buf ca, ca_key, cert, key;

	buf_init(&ca, 0);
	buf_init(&ca_key, 0);
	buf_init(&cert, 0);
	buf_init(&key, 0);
	assert_int_equal(pki_make_ca("test", 2, &ca, &ca_key, NULL), 0);
	assert_int_equal(pki_issue(buf_slice(&ca), buf_slice(&ca_key), &n, 1, &cert, &key, NULL),
			 0);
	write_temporary(w->cert, buf_slice(&cert));
	write_temporary(w->key, buf_slice(&key));
	buf_fini(&ca);
	buf_fini(&ca_key);
	buf_fini(&cert);
	buf_fini(&key);
}

static void start(struct world *w, enum speech speech)
{
	struct door_config c = { .nendpoints = 1, .quiet = true, .access_log = w->log };

	memset(w, 0, sizeof(*w));
	write_temporary(w->log, SLICE(""));
	if (speech != HTTP) {
		make_certificate(w);
		c.cert_pem = w->cert;
		c.key_pem = w->key;
		w->ctx = SSL_CTX_new(TLS_client_method());
	}
	w->listener = tcp_listen(&c.endpoints[0]);
	door_start(&w->door, &c);
	for (unsigned i = 0; i < CONNS; i++) {
		w->clients[i].fd = tcp_connect(w->door.port);
		if (speech == HTTP)
			continue;
		w->clients[i].ssl = SSL_new(w->ctx);
		SSL_set_fd(w->clients[i].ssl, w->clients[i].fd);
		if (speech == HTTP2)
			SSL_set_alpn_protos(w->clients[i].ssl, (const uint8_t *)"\x02h2", 3);
		assert_int_equal(SSL_connect(w->clients[i].ssl), 1);
		if (speech != HTTP2)
			continue;
		w->clients[i].stream_id = 1;
		assert_int_equal(SSL_write(w->clients[i].ssl, H2_BEGIN, sizeof(H2_BEGIN) - 1),
				 sizeof(H2_BEGIN) - 1);
	}
	for (unsigned i = 0; i < WARM_ROUNDS; i++)
		round_trip(w);
}

static void stop(struct world *w)
{
	for (unsigned i = 0; i < CONNS; i++) {
		SSL_free(w->clients[i].ssl);
		close(w->clients[i].fd);
	}
	for (unsigned i = 0; i < w->nupstreams; i++)
		close(w->upstreams[i].fd);
	close(w->listener);
	SSL_CTX_free(w->ctx);
	door_stop(&w->door);
	unlink(w->log);
	if (w->cert[0]) {
		unlink(w->cert);
		unlink(w->key);
	}
}

static struct door_counts count(struct world *w)
{
	struct door_counts before, after;

	door_command(&w->door, DOOR_SNAPSHOT, 0);
	before = w->door.shared->counts;
	for (unsigned i = 0; i < ROUNDS; i++)
		round_trip(w);
	door_command(&w->door, DOOR_SNAPSHOT, 0);
	after = w->door.shared->counts;
	return (struct door_counts){ after.mallocs - before.mallocs,
				     after.io_calls - before.io_calls,
				     after.epoll_ctls - before.epoll_ctls,
				     after.epoll_waits - before.epoll_waits };
}

static void print(const char *name, const struct door_counts *n)
{
	const double requests = ROUNDS * CONNS;

	print_message(
		"%s: a request costs %.3f allocations, %.3f I/O calls, %.3f epoll_ctl, %.3f epoll_wait\n",
		name, (double)n->mallocs / requests, (double)n->io_calls / requests,
		(double)n->epoll_ctls / requests, (double)n->epoll_waits / requests);
}

/* A block of log lines is shared by a few hundred requests; everything else must be nothing, or
 * four. */
static void costs_nothing_more(const char *name, enum speech speech)
{
	const uint64_t requests = ROUNDS * CONNS;
	struct door_counts n;
	struct world w;

	start(&w, speech);
	n = count(&w);
	/* On a busy machine more may come at once than while it warmed up, and pools grow to that: once.
	 * What a request costs comes back in every window. */
	for (int i = 0; i < 2 && n.mallocs * 200 >= requests; i++)
		n = count(&w);
	print(name, &n);
	stop(&w);
	if (!COUNTING)
		return;
	assert_true(n.mallocs * 200 < requests);
	assert_int_equal(n.epoll_ctls, 0);
	assert_true(n.io_calls * 100 <= requests * 402);
	assert_true(n.epoll_waits <= requests);
}

static void plain(void **state)
{
	(void)state;
	costs_nothing_more("HTTP", HTTP);
}

static void tls(void **state)
{
	(void)state;
	costs_nothing_more("HTTPS", HTTPS);
}

static void http2(void **state)
{
	(void)state;
	costs_nothing_more("HTTP/2", HTTP2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),
		cmocka_unit_test(tls),
		cmocka_unit_test(http2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
