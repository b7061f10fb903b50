/* Walks every point at which an upstream can fail × method × content held or not, on fresh and
 * on pooled connections, and checks that no request that is not idempotent is seen twice, that
 * no truncated answer passes for a whole one, and that a healthy endpoint is used wherever the
 * retry rule allows it. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "door.h"

enum point {
	REFUSED,
	AFTER_CONNECT,
	MID_REQUEST,
	AFTER_REQUEST,
	MID_HEAD,
	MID_BODY,
	MID_CHUNK,
	AFTER_BODY,
	STALE,
	POINTS
};
enum kind { GET, PUT, PUT_BIG, POST, POST_BIG, KINDS };
enum outcome { WHOLE, BAD_GATEWAY, CUT, WHOLE_OR_502 };

static const char *const point_names[POINTS] = { "refused",	  "after connect", "mid-request",
						 "after request", "mid-head",	   "mid-body",
						 "mid-chunk",	  "after body",	   "stale" };
static const struct {
	const char *name, *method;
	size_t body;
} kinds[KINDS] = {
	{ "GET", "GET", 0 },
	{ "PUT", "PUT", 1000 },
	{ "PUT too big to hold", "PUT", 300000 },
	{ "POST", "POST", 1000 },
	{ "POST too big to hold", "POST", 300000 },
};

/* After a stale connection and after a connect, an RST may cross the first bytes: both answers
 * are right then, but only one attempt. */
static const enum outcome want[POINTS][KINDS] = {
	[REFUSED] = { WHOLE, WHOLE, WHOLE, WHOLE, WHOLE },
	[AFTER_CONNECT] = { WHOLE, WHOLE, WHOLE_OR_502, WHOLE_OR_502, WHOLE_OR_502 },
	[MID_REQUEST] = { WHOLE, WHOLE, WHOLE_OR_502, BAD_GATEWAY, BAD_GATEWAY },
	[AFTER_REQUEST] = { WHOLE, WHOLE, BAD_GATEWAY, BAD_GATEWAY, BAD_GATEWAY },
	[MID_HEAD] = { BAD_GATEWAY, BAD_GATEWAY, BAD_GATEWAY, BAD_GATEWAY, BAD_GATEWAY },
	[MID_BODY] = { CUT, CUT, CUT, CUT, CUT },
	[MID_CHUNK] = { CUT, CUT, CUT, CUT, CUT },
	[AFTER_BODY] = { WHOLE, WHOLE, WHOLE, WHOLE, WHOLE },
	[STALE] = { WHOLE, WHOLE, WHOLE_OR_502, WHOLE_OR_502, WHOLE_OR_502 },
};

#define BODY "0123456789"
#define CONNS 16
#define LIMIT_S 10

struct conn {
	int fd;	    /* 0: free */
	size_t got; /* bytes of the request in progress */
	char head[4096];
};

struct world {
	struct door door;
	int listeners[2];
	struct conn conns[CONNS];
	bool armed; /* the next one fails, at <point> */
	enum point point;
	unsigned touched, complete; /* of the request under test */
	bool counting;
};

static void end_conn(struct conn *c)
{
	tcp_reset(c->fd);
	c->fd = 0;
}

/* A whole request is here. */
static void answer(struct world *w, struct conn *c)
{
	enum point p = w->armed ? w->point : POINTS;

	w->complete += w->counting;
	w->armed = w->armed && p == STALE;
	c->got = 0;
	switch (p) {
	case AFTER_REQUEST: break;
	case MID_HEAD: tcp_send(c->fd, "HTTP/1.1 200 OK\r\nContent-Le"); break;
	case MID_BODY: tcp_send(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234"); break;
	case MID_CHUNK:
		tcp_send(
			c->fd,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n");
		break;
	default: tcp_send(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" BODY); break;
	}
	/* Some end by FIN, some by RST. */
	if (p == MID_HEAD || p == MID_BODY || p == MID_CHUNK) {
		close(c->fd);
		c->fd = 0;
	} else if (p == AFTER_REQUEST || p == AFTER_BODY) {
		if (p == AFTER_BODY)
			shutdown(c->fd, SHUT_WR);
		else
			end_conn(c);
	}
}

static void on_upstream(struct world *w, struct conn *c)
{
	static char sink[65536];
	ssize_t n = recv(c->fd, sink, sizeof(sink), 0);
	char *end, *length;
	size_t head_n, body_n;

	if (n <= 0) {
		close(c->fd);
		c->fd = 0;
		return;
	}
	if (c->got == 0)
		w->touched += w->counting;
	if (c->got < sizeof(c->head) - 1) {
		size_t take = MIN((size_t)n, sizeof(c->head) - 1 - c->got);

		memcpy(c->head + c->got, sink, take);
		c->head[c->got + take] = '\0';
	}
	c->got += (size_t)n;
	if (w->armed && w->point == MID_REQUEST) {
		w->armed = false;
		end_conn(c);
		return;
	}
	end = strstr(c->head, "\r\n\r\n");
	if (!end)
		return;
	head_n = (size_t)(end + 4 - c->head);
	length = strcasestr(c->head, "Content-Length: ");
	body_n = length && length < end ? (size_t)atol(length + 16) : 0;
	if (c->got >= head_n + body_n)
		answer(w, c);
}

static void on_listener(struct world *w, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	if (w->armed && w->point == AFTER_CONNECT) {
		w->armed = false;
		tcp_reset(fd);
		return;
	}
	for (unsigned i = 0; i < CONNS; i++) {
		if (w->conns[i].fd == 0) {
			w->conns[i] = (struct conn){ .fd = fd };
			return;
		}
	}
	fail_msg("too many upstream connections");
}

/* Sends <request> and reads to the end of the connection, playing the upstreams meanwhile. */
static void exchange(struct world *w, const char *request, size_t request_n, char *out, size_t size)
{
	int client = tcp_connect(w->door.port);
	size_t sent = 0, got = 0;
	time_t limit = time(NULL) + LIMIT_S;

	fcntl(client, F_SETFL, O_NONBLOCK);
	for (;;) {
		struct pollfd p[3 + CONNS];

		p[0] = (struct pollfd){ .fd = client,
					.events = (short)(sent < request_n ? POLLIN | POLLOUT
									   : POLLIN) };
		p[1] = (struct pollfd){ .fd = w->listeners[0], .events = POLLIN };
		p[2] = (struct pollfd){ .fd = w->listeners[1], .events = POLLIN };
		for (unsigned i = 0; i < CONNS; i++)
			p[3 + i] = (struct pollfd){ .fd = w->conns[i].fd ? w->conns[i].fd : -1,
						    .events = POLLIN };
		poll(p, ARRAY_LEN(p), 1000);
		if (time(NULL) > limit)
			fail_msg("%s: the exchange takes too long: got \"%s\"",
				 point_names[w->point], out);
		for (unsigned i = 0; i < CONNS; i++)
			if (p[3 + i].revents)
				on_upstream(w, &w->conns[i]);
		for (unsigned i = 0; i < 2; i++)
			if (p[1 + i].revents & POLLIN)
				on_listener(w, w->listeners[i]);
		if (p[0].revents & POLLOUT) {
			ssize_t n = send(client, request + sent, request_n - sent, MSG_NOSIGNAL);

			/* The answer may be there although our content was not wanted. */
			sent = n > 0 ? sent + (size_t)n : errno == EAGAIN ? sent : request_n;
		}
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			ssize_t n = recv(client, out + got, size - 1 - got, 0);

			if (n < 0 && errno == EAGAIN)
				continue;
			if (n <= 0)
				break;
			got += (size_t)n;
			out[got] = '\0';
		}
	}
	close(client);
}

/* What a careful client makes of the bytes it got. */
static enum outcome judge(const char *text)
{
	const char *body = strstr(text, "\r\n\r\n"), *length;

	if (strncmp(text, "HTTP/1.1 502 ", 13) == 0)
		return BAD_GATEWAY;
	if (!body || strncmp(text, "HTTP/1.1 200 ", 13) != 0)
		return CUT;
	if (strcasestr(text, "Transfer-Encoding: chunked"))
		return strstr(body, "\r\n0\r\n\r\n") ? WHOLE : CUT;
	length = strcasestr(text, "Content-Length: ");
	if (!length)
		fail_msg("an answer whose end nobody can tell: %s", text);
	return strlen(body + 4) == (size_t)atol(length + 16) ? WHOLE : CUT;
}

static char *make_request(enum kind k, size_t *n)
{
	char *text = malloc(kinds[k].body + 512);

	*n = (size_t)sprintf(text, "%s /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\nConnection: close\r\n",
			     kinds[k].method);
	if (kinds[k].body)
		*n += (size_t)sprintf(text + *n, "Content-Length: %zu\r\n", kinds[k].body);
	*n += (size_t)sprintf(text + *n, "\r\n");
	memset(text + *n, 'b', kinds[k].body);
	*n += kinds[k].body;
	return text;
}

static void warm_up(struct world *w)
{
	static const char get[] =
		"GET /warm HTTP/1.1\r\nHost: " DOOR_HOST "\r\nConnection: close\r\n\r\n";
	char out[4096];

	/* One to each. */
	for (unsigned i = 0; i < 2; i++) {
		out[0] = '\0';
		exchange(w, get, sizeof(get) - 1, out, sizeof(out));
		assert_int_equal(judge(out), WHOLE);
	}
}

/* The endpoint whose turn it is next refuses, and the other one has a connection that waits in
 * the pool. */
static void stop_second(struct world *w)
{
	struct sockaddr_storage listener, own;
	socklen_t len = sizeof(own);

	getsockname(w->listeners[1], (struct sockaddr *)&listener, &len);
	close(w->listeners[1]);
	w->listeners[1] = -1;
	for (unsigned i = 0; i < CONNS; i++) {
		len = sizeof(own);
		if (w->conns[i].fd &&
		    getsockname(w->conns[i].fd, (struct sockaddr *)&own, &len) == 0 &&
		    memcmp(&own, &listener, sizeof(struct sockaddr_in)) == 0)
			end_conn(&w->conns[i]);
	}
	for (unsigned i = 0; i < 500; i++) {
		door_command(&w->door, DOOR_SNAPSHOT, 0);
		if (w->door.shared->views[1].idle_connections == 0)
			return;
	}
	fail_msg("the closed connection stays in the pool");
}

static void one(enum point p, enum kind k, bool pooled)
{
	struct world w = { .point = p };
	struct door_config c = { .nendpoints = 2 };
	char name[128], out[8192] = "", *request;
	enum outcome got;
	size_t n;

	snprintf(name, sizeof(name), "%s, %s, %s connection", kinds[k].name, point_names[p],
		 pooled ? "pooled" : "fresh");
	for (unsigned i = 0; i < 2; i++)
		w.listeners[i] = tcp_listen(&c.endpoints[i]);
	if (p == REFUSED && !pooled) {
		/* The second is the first whose turn it is. */
		close(w.listeners[1]);
		w.listeners[1] = -1;
	}
	door_start(&w.door, &c);
	if (pooled) {
		/* Both listen for the warm-up, and the second one stops then. */
		warm_up(&w);
		if (p == REFUSED)
			stop_second(&w);
	}
	w.armed = w.counting = true;
	for (unsigned i = 0; i < CONNS && p == STALE; i++)
		if (w.conns[i].fd)
			end_conn(&w.conns[i]);
	request = make_request(k, &n);
	exchange(&w, request, n, out, sizeof(out));
	free(request);

	got = judge(out);
	if (want[p][k] == WHOLE_OR_502 ? got != WHOLE && got != BAD_GATEWAY : got != want[p][k])
		fail_msg("%s: outcome %d, not %d: %s", name, got, want[p][k], out);
	if (got == WHOLE && !strstr(out, BODY))
		fail_msg("%s: wrong content: %s", name, out);
	if (strcmp(kinds[k].method, "POST") == 0 && w.touched > 1)
		fail_msg("%s: seen %u times", name, w.touched);
	if (w.complete > 2)
		fail_msg("%s: sent %u times", name, w.complete);
	for (unsigned i = 0; i < CONNS; i++)
		if (w.conns[i].fd)
			close(w.conns[i].fd);
	for (unsigned i = 0; i < 2; i++)
		if (w.listeners[i] >= 0)
			close(w.listeners[i]);
	door_stop(&w.door);
}

static void fresh(void **state)
{
	(void)state;
	for (enum point p = REFUSED; p <= AFTER_BODY; p++)
		for (enum kind k = 0; k < KINDS; k++)
			one(p, k, false);
}

static void pooled(void **state)
{
	/* A pooled connection that ends with a request on it may have been stale, so those
	 * retries are free. It has been connected before. */
	(void)state;
	for (enum point p = REFUSED; p < POINTS; p++)
		for (enum kind k = 0; k < KINDS; k++)
			if (p != AFTER_CONNECT)
				one(p, k, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh),
		cmocka_unit_test(pooled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
