/* Walks every point at which an upstream can fail × method × content (none, held for a second
 * attempt, too large to be) × connection (fresh, pooled) × end (reset, clean), and checks that no
 * request that is not idempotent is seen twice, that no truncated answer passes for a whole one, and
 * that a healthy endpoint is used wherever the retry rule allows it. */
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
enum outcome { WHOLE, BAD_GATEWAY, CUT, WHOLE_OR_502 };

static const char *const point_names[POINTS] = { "refused",	  "after connect", "mid-request",
						 "after request", "mid-head",	   "mid-body",
						 "mid-chunk",	  "after body",	   "stale" };
static const struct by_method {
	const char *name;
	bool idempotent;
} methods[] = {
	{ "GET", true },    { "HEAD", true },  { "PUT", true },
	{ "DELETE", true }, { "POST", false }, { "PATCH", false },
};
static const size_t bodies[] = { 0, 1000, 300000 };

#define HELD_MAX 65536 /* content up to this can be sent again */

struct fault {
	enum point point;
	const struct by_method *method;
	size_t body;
	bool pooled, clean; /* the connection; how it ends */
};

/* What the retry rule says (DESIGN: nothing was sent, or it is idempotent, no byte of a response came
 * and the content is held). */
static enum outcome wanted(const struct fault *f)
{
	bool again = f->method->idempotent && f->body <= HELD_MAX;

	switch (f->point) {
	case REFUSED:
	case AFTER_BODY: return WHOLE;
	/* The end may cross the first bytes: was anything sent or not? Both answers are right, and
	 * there is only one attempt. */
	case AFTER_CONNECT:
	case STALE: return again ? WHOLE : WHOLE_OR_502;
	/* Too large to be held as a whole, but this much of it may be. */
	case MID_REQUEST: return again ? WHOLE : f->method->idempotent ? WHOLE_OR_502 : BAD_GATEWAY;
	case AFTER_REQUEST: return again ? WHOLE : BAD_GATEWAY;
	case MID_HEAD: return BAD_GATEWAY;
	/* An answer to HEAD is whole with its head. */
	case MID_BODY:
	case MID_CHUNK: return strcmp(f->method->name, "HEAD") == 0 ? WHOLE : CUT;
	default: return WHOLE;
	}
}

#define BODY "0123456789"
#define CONNS 16
#define LIMIT_S 10

struct conn {
	int fd;	    /* 0: free */
	bool ended; /* our half is closed: what comes is dropped */
	size_t got; /* bytes of the request in progress */
	char head[4096];
};

struct world {
	struct door door;
	int listeners[2];
	struct conn conns[CONNS];
	bool armed; /* the next one fails, as <fault> says */
	const struct fault *fault;
	unsigned touched, complete; /* of the request under test */
	bool counting;
};

static void end_conn(struct world *w, struct conn *c)
{
	if (w->fault->clean) {
		shutdown(c->fd, SHUT_WR);
		c->ended = true;
	} else {
		tcp_reset(c->fd);
		c->fd = 0;
	}
}

/* A whole request is here. */
static void answer(struct world *w, struct conn *c)
{
	enum point p = w->armed ? w->fault->point : POINTS;
	bool head = strncmp(c->head, "HEAD ", 5) == 0;

	w->complete += w->counting;
	w->armed = w->armed && p == STALE;
	c->got = 0;
	switch (p) {
	case AFTER_REQUEST: break;
	case MID_HEAD: tcp_send(c->fd, "HTTP/1.1 200 OK\r\nContent-Le"); break;
	case MID_CHUNK:
		tcp_send(c->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		tcp_send(c->fd, head ? "" : "a\r\n0123456789\r\n");
		break;
	default:
		tcp_send(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
		tcp_send(c->fd, head ? "" : p == MID_BODY ? "01234" : BODY);
		break;
	}
	/* A reset overtakes what was said before it: an answer that is to arrive ends cleanly. */
	if (p == AFTER_BODY || (head && (p == MID_BODY || p == MID_CHUNK))) {
		shutdown(c->fd, SHUT_WR);
		c->ended = true;
	} else if (p >= AFTER_REQUEST && p <= MID_CHUNK) {
		end_conn(w, c);
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
	if (c->ended)
		return;
	if (c->got == 0)
		w->touched += w->counting;
	if (c->got < sizeof(c->head) - 1) {
		size_t take = MIN((size_t)n, sizeof(c->head) - 1 - c->got);

		memcpy(c->head + c->got, sink, take);
		c->head[c->got + take] = '\0';
	}
	c->got += (size_t)n;
	if (w->armed && w->fault->point == MID_REQUEST) {
		w->armed = false;
		end_conn(w, c);
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
	for (unsigned i = 0; i < CONNS; i++) {
		if (w->conns[i].fd)
			continue;
		w->conns[i] = (struct conn){ .fd = fd };
		if (w->armed && w->fault->point == AFTER_CONNECT) {
			w->armed = false;
			end_conn(w, &w->conns[i]);
		}
		return;
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
				 point_names[w->fault->point], out);
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
static enum outcome judge(const char *text, bool head)
{
	const char *body = strstr(text, "\r\n\r\n"), *length;

	if (strncmp(text, "HTTP/1.1 502 ", 13) == 0)
		return BAD_GATEWAY;
	if (!body || strncmp(text, "HTTP/1.1 200 ", 13) != 0)
		return CUT;
	if (head) {
		assert_string_equal(body, "\r\n\r\n");
		return WHOLE;
	}
	if (strcasestr(text, "Transfer-Encoding: chunked"))
		return strstr(body, "\r\n0\r\n\r\n") ? WHOLE : CUT;
	length = strcasestr(text, "Content-Length: ");
	if (!length)
		fail_msg("an answer whose end nobody can tell: %s", text);
	return strlen(body + 4) == (size_t)atol(length + 16) ? WHOLE : CUT;
}

static char *make_request(const struct fault *f, size_t *n)
{
	char *text = malloc(f->body + 512);

	*n = (size_t)sprintf(text, "%s /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\nConnection: close\r\n",
			     f->method->name);
	if (f->body)
		*n += (size_t)sprintf(text + *n, "Content-Length: %zu\r\n", f->body);
	*n += (size_t)sprintf(text + *n, "\r\n");
	memset(text + *n, 'b', f->body);
	*n += f->body;
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
		assert_int_equal(judge(out, false), WHOLE);
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
			end_conn(w, &w->conns[i]);
	}
	for (unsigned i = 0; i < 500; i++) {
		door_command(&w->door, DOOR_SNAPSHOT, 0);
		if (w->door.shared->views[1].idle_connections == 0)
			return;
	}
	fail_msg("the closed connection stays in the pool");
}

static void check(const struct fault *f, const struct world *w, const char *out)
{
	bool head = strcmp(f->method->name, "HEAD") == 0;
	enum outcome want = wanted(f), got = judge(out, head);
	char name[128];

	snprintf(name, sizeof(name), "%s with %zu bytes, %s, %s connection, %s end",
		 f->method->name, f->body, point_names[f->point], f->pooled ? "pooled" : "fresh",
		 f->clean ? "clean" : "hard");
	if (want == WHOLE_OR_502 ? got != WHOLE && got != BAD_GATEWAY : got != want)
		fail_msg("%s: outcome %d, not %d: %s", name, got, want, out);
	if (got == WHOLE && !head && !strstr(out, BODY))
		fail_msg("%s: wrong content: %s", name, out);
	if (!f->method->idempotent && w->touched > 1)
		fail_msg("%s: seen %u times", name, w->touched);
	if (w->complete > 2)
		fail_msg("%s: sent %u times", name, w->complete);
}

static void one(const struct fault *f)
{
	struct world w = { .fault = f };
	struct door_config c = { .nendpoints = 2 };
	char out[8192] = "", *request;
	size_t n;

	for (unsigned i = 0; i < 2; i++)
		w.listeners[i] = tcp_listen(&c.endpoints[i]);
	if (f->point == REFUSED && !f->pooled) {
		/* The second is the first whose turn it is. */
		close(w.listeners[1]);
		w.listeners[1] = -1;
	}
	door_start(&w.door, &c);
	if (f->pooled) {
		/* Both listen for the warm-up, and the second one stops then. */
		warm_up(&w);
		if (f->point == REFUSED)
			stop_second(&w);
	}
	w.armed = w.counting = true;
	for (unsigned i = 0; i < CONNS && f->point == STALE; i++)
		if (w.conns[i].fd)
			end_conn(&w, &w.conns[i]);
	request = make_request(f, &n);
	exchange(&w, request, n, out, sizeof(out));
	free(request);
	check(f, &w, out);
	for (unsigned i = 0; i < CONNS; i++)
		if (w.conns[i].fd)
			close(w.conns[i].fd);
	for (unsigned i = 0; i < 2; i++)
		if (w.listeners[i] >= 0)
			close(w.listeners[i]);
	door_stop(&w.door);
}

static void all(bool pooled, bool clean)
{
	for (enum point p = REFUSED; p < POINTS; p++) {
		/* A pooled connection has been connected before, a fresh one is never stale; nobody
		 * can refuse cleanly. */
		if ((pooled && p == AFTER_CONNECT) || (!pooled && p == STALE) ||
		    (clean && p == REFUSED))
			continue;
		for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
			for (size_t b = 0; b < ARRAY_LEN(bodies); b++) {
				const struct fault f = { p, &methods[m], bodies[b], pooled, clean };

				one(&f);
			}
		}
	}
}

static void fresh(void **state)
{
	(void)state;
	all(false, false);
}

static void fresh_clean(void **state)
{
	(void)state;
	all(false, true);
}

/* A pooled connection that ends with a request on it may have been stale, so those retries are
 * free. */
static void pooled(void **state)
{
	(void)state;
	all(true, false);
}

static void pooled_clean(void **state)
{
	(void)state;
	all(true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh),
		cmocka_unit_test(fresh_clean),
		cmocka_unit_test(pooled),
		cmocka_unit_test(pooled_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
