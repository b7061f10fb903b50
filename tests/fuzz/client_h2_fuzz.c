/* An HTTP/2 connection to an upstream that says anything: nothing breaks, no request is told two ends,
 * nobody gets more than was sent, and everything is given back.
 *
 * The first byte says what is asked for and how its taker behaves, the second how the rest is split;
 * the rest is what the upstream says, after its SETTINGS if the first bit wants them. */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "http/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ASKS 4
#define SPLITS_MAX 64

enum { SETTINGS = 1, MANY = 2, POST = 4, REFUSE = 8, CLOSE_IN_HEAD = 16, CONNECT = 32, WRITE = 64 };

struct ask {
	struct client *c;
	uint8_t how;
	unsigned ends, heads;
	size_t taken, sent; /* <sent>: by the peer, in all */
	bool refuse;
};

static struct {
	struct loop *loop;
	struct client_pool *pool;
	struct addr at;
	int listener;
} world;

static void must(bool it_is, const char *what)
{
	if (it_is)
		return;
	fprintf(stderr, "not so: %s\n", what);
	abort();
}

static void on_head(void *arg, const struct head *h)
{
	struct ask *a = arg;

	must(a->heads++ == 0 && a->ends == 0, "one head, before the end");
	must(h->status == 101 || (h->status >= 200 && h->status <= 599), "a final status");
	if (a->how & CLOSE_IN_HEAD) {
		client_close(a->c);
		a->c = NULL;
	}
}

static void on_inform(void *arg, const struct head *h)
{
	struct ask *a = arg;

	must(h->status >= 100 && h->status < 200 && a->heads == 0, "1xx comes before the head");
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct ask *a = arg;
	volatile char last = p[n - 1]; /* it is all there */

	(void)last;
	must(a->heads == 1 && a->ends == 0, "content between head and end");
	if (a->refuse) {
		a->refuse = false;
		a->taken += n / 2;
		return n / 2;
	}
	a->taken += n;
	return n;
}

static void on_end(void *arg, const struct head *trailers)
{
	struct ask *a = arg;

	must(a->heads == 1 && a->ends++ == 0, "one end, after the head");
	for (unsigned i = 0; trailers && i < trailers->nfields; i++)
		must(trailers->fields[i].name.n > 0, "trailers have names");
}

static void on_writable(void *arg)
{
	struct ask *a = arg;
	static char content[] = "content";
	struct iovec iov = { .iov_base = content, .iov_len = 7 };

	if (a->c && a->how & WRITE)
		(void)client_write(a->c, &iov, 1);
}

static void on_failed(void *arg, const struct client_failure *f)
{
	struct ask *a = arg;

	must(a->ends++ == 0, "one end");
	must(f->rc < 0 && f->why, "a reason");
	client_close(a->c);
	a->c = NULL;
}

static const struct client_events events = {
	.inform = on_inform,
	.head = on_head,
	.body = on_body,
	.end = on_end,
	.writable = on_writable,
	.failed = on_failed,
};

static void stop(void)
{
	client_pool_destroy(world.pool);
	loop_destroy(world.loop);
	close(world.listener);
}

static void start(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	log_init(LOG_ERROR, false);
	must(loop_create(&world.loop, NULL) == 0, "a loop");
	must(client_pool_create(&world.pool, world.loop, 8, NULL) == 0, "a pool");
	world.listener = socket(AF_INET, SOCK_STREAM, 0);
	must(bind(world.listener, (struct sockaddr *)&sa, len) == 0, "an address");
	must(listen(world.listener, 8) == 0, "a listener");
	must(getsockname(world.listener, (struct sockaddr *)&sa, &len) == 0, "its port");
	addr_from(&world.at, (struct sockaddr *)&sa, len);
	/* What idles in the pools is poisoned, which a leak checker does not look through. */
	atexit(stop);
}

static void turn(void)
{
	ev_run(loop_ev(world.loop), EVRUN_NOWAIT);
}

static void ask(struct client_group *g, struct ask *a, uint8_t how)
{
	static const struct client_limits limits = { .connect_ms = 1000, .head_ms = 60000 };
	struct head h;

	*a = (struct ask){ .how = how, .refuse = how & REFUSE };
	head_init(&h);
	h.method = how & POST ? SLICE("POST") : SLICE("GET");
	h.method_id = how & POST ? METHOD_POST : METHOD_GET;
	h.path = SLICE("/");
	h.authority = SLICE("a.test");
	h.protocol = how & CONNECT ? SLICE("websocket") : SLICE("");
	must(client_group_open(g, &a->c) == 0, "a stream");
	must(client_request(a->c, &h, how & POST ? BODY_CHUNKED : BODY_NONE, 0, &limits, &events,
			    a) == 0,
	     "a request");
}

/* Closing with a reset leaves no port waiting. */
static void reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void say(int fd, const uint8_t *p, size_t n, size_t step)
{
	char sink[65536];

	for (unsigned i = 0; n && i < SPLITS_MAX; i++) {
		size_t now = i + 1 == SPLITS_MAX ? n : MIN(n, step);

		if (send(fd, p, now, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		p += now;
		n -= now;
		turn();
		while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t settings[] = { 0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1 };
	struct ask asks[ASKS] = { 0 };
	struct client_group *g;
	unsigned n;
	int fd;

	if (size < 2 || size > 60000)
		return 0;
	if (!world.loop)
		start();
	g = client_group_create(world.pool, &world.at, 1000);
	n = data[0] & MANY ? ASKS : 1;
	for (unsigned i = 0; i < n; i++)
		ask(g, &asks[i], data[0]);
	fd = accept4(world.listener, NULL, NULL, SOCK_CLOEXEC);
	must(fd >= 0, "a connection");
	turn();
	if (data[0] & SETTINGS)
		say(fd, settings, sizeof(settings), sizeof(settings));
	say(fd, data + 2, size - 2, data[1] ? data[1] : size);
	turn();
	for (unsigned i = 0; i < n; i++)
		if (asks[i].c)
			client_resume(asks[i].c);
	turn();
	reset(fd);
	for (unsigned i = 0; i < 3; i++)
		turn();
	for (unsigned i = 0; i < n; i++) {
		must(asks[i].ends <= 1 && asks[i].taken <= size, "no more than was said");
		must(asks[i].ends == 1 || asks[i].how & (CLOSE_IN_HEAD | REFUSE), "an end");
		client_close(asks[i].c);
	}
	client_group_destroy(g);
	turn();
	turn();
	must(client_stats(world.pool)->open == 0, "all connections are closed");
	must(client_stats(world.pool)->streams == 0, "all streams are closed");
	return 0;
}
