/* A whole HTTP/1 connection of the server: whatever a client sends, in whatever pieces, the handler
 * sees the exchanges that one reading of all the bytes gives, one after the other, and what it
 * answers arrives; afterwards nothing is left.
 *
 * Byte 0 says where to cut; bytes 1 to 4 hold eight scripts, which the handler takes in turn; byte 5
 * how the client leaves. The rest is what the client sends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "http/server.h"
#include "reactor/stream.h"
#include "walk.h"

#define PREFIX 6
#define OUT_MAX (1u << 20)
#define LARGE_BYTES 300000 /* more than the socket takes; once a connection */

enum script {
	AT_ONCE,     /* 200 with its length, whatever content comes */
	CHUNKED,     /* in two pieces, with trailers */
	ECHO,	     /* when the content is complete */
	SIPS,	     /* takes a few bytes at a time, then a short answer */
	LATER,	     /* answers when nothing else happens */
	INTERIM,     /* 103, then 200 */
	EMPTY,	     /* 204 */
	FULL,	     /* refuses content, answers when nothing else happens */
	LARGE,	     /* more than the socket takes */
	SHORT,	     /* promises more than it gives */
	LONG,	     /* gives more than it promised */
	ABORT,	     /* in the middle */
	SWITCH,	     /* 101, then echoes; else like AT_ONCE */
	SCRIPTS = 16 /* the rest is AT_ONCE */
};

static struct {
	struct loop *loop;
	struct server *server;
	uint8_t scripts[8];
	enum script script;
	struct exchange *x; /* the one in progress */
	struct walk walk;   /* stands behind the message of <x> */
	enum walk_event event;
	unsigned begun, closed, aborted;
	size_t body_n, sip;
	bool ended, tunnel, last; /* body_end() came; no request may follow */
	bool had_large;
	size_t large_left;
	char *tunnel_from; /* the client's bytes behind the head of the tunnel */
} s;

/* ---- the handler ---- */

static void respond(unsigned status, const char *length, bool end)
{
	struct head h;

	head_init(&h);
	h.status = (uint16_t)status;
	if (length)
		head_add(&h, FIELD_CONTENT_LENGTH, slice_str(length));
	MUST(exchange_respond(s.x, &h, end) == 0);
}

static size_t give(const char *p, size_t n)
{
	struct iovec v = { (void *)p, n };

	return exchange_write(s.x, &v, 1);
}

static void answer(unsigned status)
{
	respond(status, "2", false);
	give("ok", 2);
	exchange_end(s.x, NULL);
}

static void send_large(void)
{
	static const char piece[8192];

	while (s.large_left) {
		size_t n = MIN(sizeof(piece), s.large_left), taken = give(piece, n);

		s.large_left -= taken;
		if (taken < n)
			return;
	}
	exchange_end(s.x, NULL);
}

static void send_chunked(void)
{
	struct head trailers;

	respond(200, NULL, false);
	give("hello ", 6);
	give("world", 5);
	head_init(&trailers);
	head_add_other(&trailers, SLICE("X-Sum"), SLICE("11"));
	exchange_end(s.x, &trailers);
}

static void inform(void)
{
	struct head h;

	head_init(&h);
	h.status = 103;
	exchange_inform(s.x, &h);
	answer(200);
}

static void act(void)
{
	switch (s.script) {
	case CHUNKED: send_chunked(); break;
	case ECHO:
	case SIPS:
	case LATER:
	case FULL: break;
	case INTERIM: inform(); break;
	case EMPTY: respond(204, NULL, true); break;
	case LARGE:
		s.large_left = s.had_large ? 1 : LARGE_BYTES;
		s.had_large = true;
		respond(200, NULL, false);
		send_large();
		break;
	case SHORT:
		respond(200, "9", false);
		give("ab", 2);
		exchange_end(s.x, NULL);
		break;
	case LONG:
		respond(200, "1", false);
		give("ab", 2);
		break;
	case ABORT:
		respond(200, NULL, false);
		give("ab", 2);
		exchange_abort(s.x, "the script says so");
		break;
	case SWITCH:
		if (s.x->req.protocol.n) {
			s.tunnel = true;
			respond(101, NULL, false);
			break;
		}
		__attribute__((fallthrough));
	default: answer(200); break;
	}
}

/* Nothing happens any more: what waited for that goes on. */
static bool go_on(void)
{
	if (!s.x || s.x->ended)
		return false;
	switch (s.script) {
	case LATER:
	case FULL:
		if (s.x->responded)
			return false;
		answer(s.script == FULL ? 413 : 200);
		return true;
	case SIPS:
		if (s.sip == 0 || s.ended)
			return false;
		s.sip = 0;
		exchange_resume(s.x);
		return true;
	default: return false;
	}
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	size_t take = s.script == FULL ? 0 : s.script == SIPS ? MIN(n, 7) : n;

	(void)arg;
	MUST(s.x && !s.ended && n > 0);
	/* What it is given is what was sent, in order. */
	if (s.tunnel) {
		MUST(memcmp(s.tunnel_from + s.body_n, p, n) == 0);
	} else {
		MUST(s.body_n + n <= s.walk.content_n);
		MUST(memcmp(s.walk.content + s.body_n, p, n) == 0);
	}
	s.body_n += take;
	s.sip = n - take;
	if (s.tunnel)
		give(p, n);
	return take;
}

static void on_body_end(void *arg, const struct head *trailers)
{
	(void)arg;
	MUST(s.x && !s.ended);
	s.ended = true;
	if (s.tunnel) {
		exchange_end(s.x, NULL);
		return;
	}
	MUST(s.event == WALK_MESSAGE && s.body_n == s.walk.content_n);
	MUST((trailers ? trailers->nfields : 0) == s.walk.trailers);
	if (s.script == ECHO || s.script == SIPS)
		answer(200);
}

static void on_writable(void *arg)
{
	(void)arg;
	MUST(s.x);
	if (s.script == LARGE)
		send_large();
}

static void on_closed(void *arg, const char *why)
{
	(void)arg;
	MUST(s.x);
	MUST(why || (s.x->responded && s.x->ended));
	if (s.tunnel)
		s.last = true;
	s.x = NULL;
	s.closed++;
	s.aborted += why != NULL;
}

static const struct exchange_events events = {
	.body = on_body,
	.body_end = on_body_end,
	.writable = on_writable,
	.closed = on_closed,
};

static void on_request(void *arg, struct exchange *x)
{
	const struct head *h = &s.walk.h;

	(void)arg;
	MUST(!s.x && !s.last);
	s.event = walk_next(&s.walk);
	MUST(s.event == WALK_MESSAGE || s.event == WALK_BODY || s.event == WALK_TRAILERS ||
	     s.event == WALK_BAD_BODY);
	MUST(slice_eq(x->req.method, h->method) && slice_eq(x->req.path, h->path));
	MUST(slice_eq(x->req.authority, h->authority) && x->req.nfields == h->nfields);
	MUST(x->req.body == h->body && x->req.content_length == h->content_length);
	x->events = &events;
	x->arg = NULL;
	s.x = x;
	s.script = s.scripts[s.begun++ % ARRAY_LEN(s.scripts)];
	s.body_n = s.sip = s.large_left = 0;
	s.ended = s.tunnel = false;
	s.tunnel_from = (char *)s.walk.p;
	act();
}

/* ---- the client ---- */

static void pump(void)
{
	for (int i = 0; i < 4; i++)
		ev_run(loop_ev(s.loop), EVRUN_NOWAIT);
}

/* Takes what is there; false: the end. */
static bool take(int fd, char *out, size_t *n)
{
	for (;;) {
		ssize_t k = recv(fd, out + *n, OUT_MAX - *n, MSG_DONTWAIT);

		if (k <= 0)
			return k < 0 && errno == EAGAIN;
		*n += (size_t)k;
		MUST(*n < OUT_MAX);
	}
}

/* Sends <p> in pieces and takes what comes; as long as something happens it goes on. */
static bool talk(int fd, const char *p, size_t n, uint32_t seed, char *out, size_t *out_n)
{
	size_t sent = 0, before;
	bool open = true;

	do {
		before = *out_n + sent + s.begun + s.closed + s.body_n;
		if (sent < n) {
			size_t piece;
			ssize_t k;

			seed = seed * 1664525 + 1013904223;
			piece = seed >> 30 ? 1 + (seed >> 16) % 64 : n;
			k = send(fd, p + sent, MIN(piece, n - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
			if (k < 0 && errno != EAGAIN)
				sent = n;
			sent += k > 0 ? (size_t)k : 0;
		}
		pump();
		open = take(fd, out, out_n) && open;
	} while (*out_n + sent + s.begun + s.closed + s.body_n != before || go_on());
	return open;
}

/* What came back is whole responses, as many as there were exchanges and at most a refusal; one that
 * was cut may be the last. */
static void check_output(const char *out, size_t n, unsigned count)
{
	struct walk w;
	unsigned finals = 0;

	walk_init(&w, out, n, true);
	for (;;) {
		enum walk_event e = walk_next(&w);

		if (e != WALK_MESSAGE) {
			MUST(e != WALK_BAD_HEAD && e != WALK_BAD_BODY);
			break;
		}
		if (w.h.status == 101)
			break;
		finals += w.h.status >= 200;
	}
	MUST(finals <= count + 1);
	walk_fini(&w);
}

static int connect_to(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	return fd;
}

static bool has_head_request(const char *p, size_t n)
{
	/* How long an answer to HEAD is cannot be told from its bytes alone. */
	return memmem(p, n, "HEAD", 4) != NULL;
}

static char dir[] = "/tmp/h1_fuzz.XXXXXX"; /* of the server's socket */

static void remove_dir(void)
{
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	struct exchange_handler handler = { .request = on_request };
	struct server_config config;
	size_t n = size - PREFIX, out_n = 0;
	char *bytes, *out;
	struct err err;
	int fd;

	if (size < PREFIX)
		return 0;
	if (!path[0]) {
		MUST(mkdtemp(dir));
		atexit(remove_dir);
		snprintf(path, sizeof(path), "%s/s", dir);
	}
	memset(&s, 0, sizeof(s));
	bytes = malloc(n + 1);
	memcpy(bytes, data + PREFIX, n);
	for (unsigned i = 0; i < ARRAY_LEN(s.scripts); i++)
		s.scripts[i] = (data[1 + i / 2] >> (i % 2 * 4)) % SCRIPTS;
	walk_init(&s.walk, bytes, n, false);
	server_config_default(&config);
	config.max_connections = 8;
	MUST(loop_create(&s.loop, &err) == 0);
	MUST(server_create(&s.server, s.loop, &config, &handler, NULL, NULL, &err) == 0);
	MUST(server_listen_unix(s.server, path, NULL, &err) == 0);
	out = malloc(OUT_MAX);

	fd = connect_to(path);
	if (talk(fd, bytes, n, data[0], out, &out_n) && data[5] & 1) {
		shutdown(fd, SHUT_WR);
		talk(fd, bytes, 0, data[0], out, &out_n);
	}
	if (!has_head_request(bytes, n))
		check_output(out, out_n, s.begun);
	close(fd);
	for (unsigned i = 0; i < 50 && server_stats(s.server)->open; i++)
		pump();
	MUST(server_stats(s.server)->open == 0);
	MUST(!s.x && s.begun == s.closed && s.aborted == server_stats(s.server)->aborted);

	/* Looks whether every block, exchange and connection is back. */
	server_destroy(s.server);
	loop_destroy(s.loop);
	walk_fini(&s.walk);
	free(bytes);
	free(out);
	return 0;
}
