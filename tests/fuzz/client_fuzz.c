/* An upstream connection of ours: whatever an upstream says, in whatever pieces, the caller gets the
 * response that one reading of all the bytes gives, or a failure, and never a part of one for the
 * whole; what was said before a request was sent is nobody's answer. Afterwards nothing is left.
 *
 * Byte 0 says where to cut, byte 1 the methods and how much the caller takes at a time, byte 2 how
 * the upstream leaves and whether a second request comes at once, from inside end(). The rest is what the upstream says; when it
 * holds an '\x01', what comes behind that waits for the second request. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "http/client.h"
#include "reactor/stream.h"
#include "walk.h"

#define PREFIX 3

static struct {
	struct loop *loop;
	struct client_pool *pool;
	struct client *c;
	struct walk walk;
	const char *second; /* what the upstream says to a second request; NULL: there is none */
	size_t second_n;
	uint8_t ask_at_once, second_byte;
	bool asked_again;
	size_t unsaid; /* of what is said to the first: what has not left cannot be found out */
	enum walk_event event;
	bool asked; /* a request is on it */
	bool tunnel, sip;
	unsigned informs, heads, ends, failures;
	size_t body_n;
	bool paused;
} s;

static void on_inform(void *arg, const struct head *h)
{
	(void)arg;
	MUST(s.asked && !s.heads);
	MUST(walk_next(&s.walk) == WALK_MESSAGE);
	MUST(h->status == s.walk.h.status && h->status < 200 && h->status != 101);
	s.informs++;
}

static void on_head(void *arg, const struct head *h)
{
	(void)arg;
	MUST(s.asked && !s.heads);
	s.heads++;
	s.event = walk_next(&s.walk);
	MUST(s.event == WALK_MESSAGE || s.event == WALK_BODY || s.event == WALK_TRAILERS ||
	     s.event == WALK_BAD_BODY);
	MUST(h->status == s.walk.h.status && h->nfields == s.walk.h.nfields);
	MUST(h->body == s.walk.h.body && h->content_length == s.walk.h.content_length);
	s.tunnel = h->status == 101;
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	size_t take = s.sip ? MIN(n, 5) : n;

	(void)arg;
	MUST(s.heads == 1 && !s.ends && !s.failures && n > 0);
	if (!s.tunnel) {
		MUST(s.body_n + n <= s.walk.content_n);
		MUST(memcmp(s.walk.content + s.body_n, p, n) == 0);
	}
	s.body_n += take;
	s.paused = take < n;
	return take;
}

static void ask_again(void);

static void on_end(void *arg, const struct head *trailers)
{
	(void)arg;
	MUST(s.heads == 1 && !s.ends && !s.failures);
	s.ends++;
	s.asked = false;
	if (s.tunnel)
		return;
	MUST(s.event == WALK_MESSAGE && s.body_n == s.walk.content_n);
	MUST((trailers ? trailers->nfields : 0) == s.walk.trailers);
	if (s.ask_at_once)
		ask_again();
}

static void on_failed(void *arg, const struct client_failure *f)
{
	(void)arg;
	MUST(s.asked && !s.failures && !s.ends && f->rc < 0 && f->why);
	/* A whole response is never lost to what comes behind it. */
	MUST(!s.heads || s.tunnel || s.event != WALK_MESSAGE || s.body_n < s.walk.content_n ||
	     s.walk.h.body == BODY_UNTIL_CLOSE);
	s.failures++;
	s.asked = false;
}

static const struct client_events events = {
	.inform = on_inform,
	.head = on_head,
	.body = on_body,
	.end = on_end,
	.failed = on_failed,
};

static void ask(uint8_t byte)
{
	static const struct client_limits limits = { .connect_ms = 1000, .head_ms = 1000 };
	struct head h;

	head_init(&h);
	h.method = byte & 1 ? SLICE("HEAD") : SLICE("GET");
	h.method_id = byte & 1 ? METHOD_HEAD : METHOD_GET;
	h.path = SLICE("/");
	h.authority = SLICE("a");
	if (byte & 2)
		h.protocol = SLICE("websocket");
	s.walk.method_id = h.method_id;
	s.asked = true;
	s.heads = s.ends = s.failures = 0;
	s.body_n = 0;
	s.tunnel = s.paused = false;
	MUST(client_request(s.c, &h, BODY_NONE, 0, &limits, &events, NULL) == 0);
}

/* Only a connection on which nothing was left may be used again. */
static void ask_again(void)
{
	if (!s.second || s.asked_again || s.unsaid || !client_reusable(s.c))
		return;
	MUST(s.walk.p == s.walk.end && s.walk.h.keep_alive);
	walk_fini(&s.walk);
	walk_init(&s.walk, s.second, s.second_n, true);
	s.asked_again = true;
	ask(s.second_byte);
}

static void pump(void)
{
	for (int i = 0; i < 6; i++)
		ev_run(loop_ev(s.loop), EVRUN_NOWAIT);
	for (int i = 0; i < 100000 && s.paused && s.c && !s.failures && !s.ends; i++) {
		s.paused = false;
		client_resume(s.c);
		ev_run(loop_ev(s.loop), EVRUN_NOWAIT);
	}
}

static void say(int fd, const char *p, size_t n, uint32_t seed)
{
	for (size_t at = 0; at < n;) {
		size_t piece;
		ssize_t k;

		seed = seed * 1664525 + 1013904223;
		piece = seed >> 30 ? 1 + (seed >> 16) % 64 : n;
		k = send(fd, p + at, MIN(piece, n - at), MSG_DONTWAIT | MSG_NOSIGNAL);
		at += k > 0 ? (size_t)k : 0;
		s.unsaid = n - at;
		pump();
		if (k < 0)
			return;
	}
}

static int listen_once(struct addr *at)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, 8) == 0);
	MUST(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
	addr_from(at, (struct sockaddr *)&sa, len);
	return fd;
}

/* Reads what was asked, so that a close is a clean one. */
static void drain(int fd)
{
	char sink[4096];

	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct linger now = { .l_onoff = 1 };
	static int listener = -1;
	static struct addr at;
	size_t n = size - PREFIX, first;
	const char *mark;
	struct err err;
	char *bytes;
	int fd;

	if (size < PREFIX)
		return 0;
	if (listener < 0)
		listener = listen_once(&at);
	memset(&s, 0, sizeof(s));
	bytes = malloc(n + 1);
	memcpy(bytes, data + PREFIX, n);
	mark = memchr(bytes, '\x01', n);
	first = mark ? (size_t)(mark - bytes) : n;
	walk_init(&s.walk, bytes, first, true);
	s.sip = data[1] & 4;
	s.second = mark ? mark + 1 : NULL;
	s.second_n = mark ? n - first - 1 : 0;
	s.second_byte = (uint8_t)(data[1] >> 4);
	s.ask_at_once = data[2] & 2;
	MUST(loop_create(&s.loop, &err) == 0);
	MUST(client_pool_create(&s.pool, s.loop, 4, &err) == 0);
	MUST(client_open(&s.c, s.pool, &at) == 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	MUST(fd >= 0);
	ask(data[1]);
	pump();
	say(fd, bytes, first, data[0]);
	drain(fd);
	if (s.ends)
		ask_again();
	if (s.asked_again) {
		pump();
		say(fd, s.second, s.second_n, data[0]);
	}
	if (data[2] & 1)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	else
		drain(fd);
	close(fd);
	for (int i = 0; i < 20 && s.asked; i++)
		pump();
	/* It came to an end, one way or the other. */
	MUST(!s.asked && s.ends + s.failures == 1);
	client_close(s.c);
	MUST(client_stats(s.pool)->open == 0);
	client_pool_destroy(s.pool);
	loop_destroy(s.loop);
	walk_fini(&s.walk);
	free(bytes);
	return 0;
}
