/* A whole front door: what a client sends and what upstreams answer, in whatever pieces. What goes
 * upstream is always well formed and is what the client asked, a request that is not idempotent at
 * most once; what the client gets is always well formed; afterwards nothing is left.
 *
 * Byte 0 says where to cut; byte 1 the policies and the endpoints; byte 2 how both sides leave. Then
 * the client's bytes up to an '\x01', and the upstreams' answers, each up to an '\x02', given in turn
 * to the requests that come there. An empty answer, or none, is a reset. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "http/server.h"
#include "proxy/endpoint.h"
#include "proxy/front.h"
#include "proxy/route.h"
#include "proxy/upstream.h"
#include "reactor/stream.h"
#include "walk.h"

#define PREFIX 3
#define OUT_MAX (1u << 20)
#define CONNS 64
#define ASKED_MAX 256

struct conn {
	int fd; /* -1: closed */
	char *got;
	size_t n, at; /* received; of it, requests that were complete */
	bool tunnel;  /* what comes is no HTTP any more */
};

/* What the client asked, by one reading of its bytes. */
struct asked {
	struct slice method;
	char *content;
	size_t n;
};

static struct {
	struct loop *loop;
	struct server *server;
	struct front *front;
	struct upstream *upstream;
	struct endpoint *endpoints[2];
	struct conn conns[CONNS];
	unsigned nconns;
	struct slice answers; /* those not given yet */
	bool resets;	      /* an upstream ends by a reset, else cleanly */
	struct asked asked[ASKED_MAX];
	unsigned nasked, once_asked, once_seen; /* requests that are not idempotent */
	bool incomplete;			/* more was asked than <asked> holds */
} s;

static int listeners[2] = { -1, -1 };
static struct addr addresses[2];

/* ---- upstreams ---- */

static void listen_at(unsigned i)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	MUST(bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, CONNS) == 0);
	MUST(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
	addr_from(&addresses[i], (struct sockaddr *)&sa, len);
	listeners[i] = fd;
}

static void hang_up(struct conn *c, bool reset)
{
	const struct linger now = { .l_onoff = 1 };

	if (reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(c->fd);
	c->fd = -1;
}

static void answer(struct conn *c, bool upgrade)
{
	struct slice text = slice_split(s.answers, '\x02', &s.answers);

	c->tunnel = upgrade && text.n && memmem(text.p, text.n, " 101 ", 5);
	if (text.n == 0 || send(c->fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		hang_up(c, s.resets);
}

static bool is_once(struct slice method)
{
	return slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PATCH"));
}

static void must_be_asked(const struct walk *w)
{
	if (s.incomplete)
		return;
	for (unsigned i = 0; i < s.nasked; i++)
		if (slice_eq(s.asked[i].method, w->h.method) && s.asked[i].n == w->content_n &&
		    memcmp(s.asked[i].content, w->content, w->content_n) == 0)
			return;
	MUST(!"the client did not ask this");
}

static void look_at(struct conn *c)
{
	struct walk w;
	enum walk_event e;

	walk_init(&w, c->got + c->at, c->n - c->at, false);
	while (c->fd >= 0 && !c->tunnel && (e = walk_next(&w)) == WALK_MESSAGE) {
		c->at = (size_t)(w.p - c->got);
		must_be_asked(&w);
		s.once_seen += is_once(w.h.method);
		answer(c, w.h.protocol.n > 0);
	}
	MUST(c->fd < 0 || c->tunnel || (e != WALK_BAD_HEAD && e != WALK_BAD_BODY));
	walk_fini(&w);
}

/* true: something happened. */
static bool play(void)
{
	bool moved = false;

	for (unsigned i = 0; i < 2; i++) {
		int fd;

		while (s.nconns < CONNS &&
		       (fd = accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			s.conns[s.nconns++] = (struct conn){ .fd = fd };
			moved = true;
		}
	}
	for (struct conn *c = s.conns; c < s.conns + s.nconns; c++) {
		char in[4096];
		ssize_t k = c->fd < 0 ? -1 : recv(c->fd, in, sizeof(in), MSG_DONTWAIT);

		if (k > 0) {
			c->got = realloc(c->got, c->n + (size_t)k);
			memcpy(c->got + c->n, in, (size_t)k);
			c->n += (size_t)k;
			look_at(c);
		} else if (c->fd >= 0 && (k == 0 || errno != EAGAIN)) {
			hang_up(c, false);
		}
		moved = moved || k >= 0;
	}
	return moved;
}

/* ---- the client ---- */

static void pump(void)
{
	for (int i = 0; i < 4; i++)
		ev_run(loop_ev(s.loop), EVRUN_NOWAIT);
}

static void talk(int fd, struct slice text, uint32_t seed, char *out, size_t *n)
{
	unsigned quiet = 0;
	size_t sent = 0;

	while (quiet < 3) {
		ssize_t k;

		quiet++;
		if (sent < text.n) {
			size_t piece;

			seed = seed * 1664525 + 1013904223;
			piece = seed >> 30 ? 1 + (seed >> 16) % 64 : text.n;
			k = send(fd, text.p + sent, MIN(piece, text.n - sent),
				 MSG_DONTWAIT | MSG_NOSIGNAL);
			sent = k > 0 ? sent + (size_t)k : errno == EAGAIN ? sent : text.n;
			quiet = 0;
		}
		pump();
		if (play())
			quiet = 0;
		while ((k = recv(fd, out + *n, OUT_MAX - *n, MSG_DONTWAIT)) > 0) {
			*n += (size_t)k;
			MUST(*n < OUT_MAX);
			quiet = 0;
		}
	}
}

static void read_all(struct slice text)
{
	struct walk w;
	enum walk_event e;

	walk_init(&w, text.p, text.n, false);
	while ((e = walk_next(&w)) == WALK_MESSAGE && s.nasked < ASKED_MAX && !w.h.protocol.n) {
		struct asked *a = &s.asked[s.nasked++];

		*a = (struct asked){ w.h.method, malloc(w.content_n + 1), w.content_n };
		memcpy(a->content, w.content, w.content_n);
		s.once_asked += is_once(w.h.method);
	}
	s.incomplete = e == WALK_MESSAGE;
	walk_fini(&w);
}

static void check_output(const char *out, size_t n)
{
	enum walk_event e;
	struct walk w;

	walk_init(&w, out, n, true);
	while ((e = walk_next(&w)) == WALK_MESSAGE && w.h.status != 101)
		;
	MUST(e != WALK_BAD_HEAD && e != WALK_BAD_BODY);
	walk_fini(&w);
}

/* ---- the front door ---- */

static void open_door(const char *path, uint8_t byte)
{
	struct upstream_policy policy = { .hold = byte & 1,
					  .hold_ms = 1000,
					  .max_in_flight = byte & 2 ? 1 : 0,
					  .queue = byte & 4 ? 2 : 0 };
	struct exchange_handler handler = { .request = front_request };
	struct server_config server;
	struct front_config front;
	struct err err;

	server_config_default(&server);
	server.max_connections = 8;
	front_config_default(&front);
	front.retry_body_bytes = 100;
	MUST(loop_create(&s.loop, &err) == 0);
	MUST(front_create(&s.front, s.loop, NULL, &front, NULL, NULL, &err) == 0);
	s.upstream = upstream_create(s.front, "app", &policy);
	for (unsigned i = 0; i < (byte & 8 ? 1 : 2); i++)
		s.endpoints[i] = endpoint_add(s.upstream, &addresses[i], "", i);
	MUST(route_add(s.front, "a", "/", s.upstream) == 0);
	handler.arg = s.front;
	MUST(server_create(&s.server, s.loop, &server, &handler, NULL, NULL, &err) == 0);
	MUST(server_listen_unix(s.server, path, NULL, &err) == 0);
}

static void close_door(void)
{
	/* Upstreams are there still: of a tunnel its client's end is told to them, and theirs ends it. */
	for (unsigned i = 0; i < 50 && server_stats(s.server)->open; i++) {
		pump();
		play();
	}
	MUST(server_stats(s.server)->open == 0 && front_stats(s.front)->active == 0);
	for (unsigned i = 0; i < 2; i++) {
		struct endpoint_view view = { 0 };

		if (s.endpoints[i])
			endpoint_view(s.endpoints[i], &view);
		MUST(view.in_flight == 0 && view.tunnels == 0);
	}
	/* Looks whether every block, relay and connection is back. */
	server_destroy(s.server);
	front_destroy(s.front);
	loop_destroy(s.loop);
}

static int connect_to(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	return fd;
}

static char dir[] = "/tmp/relay_fuzz.XXXXXX"; /* of the server's socket */

static void remove_dir(void)
{
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	struct slice text;
	size_t n, out_n = 0;
	char *bytes, *out;
	int fd;

	if (size < PREFIX)
		return 0;
	if (!path[0]) {
		MUST(mkdtemp(dir));
		atexit(remove_dir);
		snprintf(path, sizeof(path), "%s/s", dir);
		listen_at(0);
		listen_at(1);
	}
	memset(&s, 0, sizeof(s));
	n = size - PREFIX;
	bytes = malloc(n + 1);
	memcpy(bytes, data + PREFIX, n);
	text = slice_split(slice_of(bytes, n), '\x01', &s.answers);
	s.resets = data[2] & 1;
	read_all(text);
	out = malloc(OUT_MAX);
	open_door(path, data[1]);

	fd = connect_to(path);
	talk(fd, text, data[0], out, &out_n);
	/* Upstreams leave first, or the client. */
	for (unsigned i = 0; data[2] & 2 && i < s.nconns; i++)
		if (s.conns[i].fd >= 0)
			hang_up(&s.conns[i], s.resets);
	if (data[2] & 4)
		shutdown(fd, SHUT_WR);
	talk(fd, slice_of(NULL, 0), data[0], out, &out_n);
	/* How long an answer to HEAD is cannot be told from its bytes alone. */
	if (!memmem(text.p, text.n, "HEAD", 4))
		check_output(out, out_n);
	MUST(s.incomplete || s.once_seen <= s.once_asked);
	close(fd);
	close_door();

	for (unsigned i = 0; i < s.nconns; i++) {
		if (s.conns[i].fd >= 0)
			close(s.conns[i].fd);
		free(s.conns[i].got);
	}
	for (unsigned i = 0; i < s.nasked; i++)
		free(s.asked[i].content);
	free(bytes);
	free(out);
	return 0;
}
