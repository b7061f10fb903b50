/* The server side of HTTP/1: what a client sees byte for byte, what the handler is told, what it
 * costs. */
#include "h1_rig.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/parse.h"
#include "mallocs.h"

#define HOST "Host: a.test\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define OK_CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
#define ROUNDS 200

static struct rig rig;

static void start(enum rig_script script)
{
	rig_start(&rig, NULL);
	rig.script = script;
}

static void test_keep_alive_costs(void **state)
{
	struct stream_counters before;
	uint64_t mallocs_before;
	int fd;

	(void)state;
	start(RIG_OK);
	fd = rig_connect(&rig);
	for (int i = 0; i < 10; i++) {
		rig_say(&rig, fd, GET);
		rig_expect(&rig, fd, OK);
	}
	before = *stream_counters(rig.loop);
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(send(fd, GET, strlen(GET), 0), strlen(GET));
		mallocs_before = mallocs;
		PUMP_UNTIL(rig.loop, rig.closes == 11 + (unsigned)i);
		assert_true(!mallocs_counted || mallocs == mallocs_before);
		rig_expect(&rig, fd, OK);
	}
	assert_int_equal(stream_counters(rig.loop)->reads - before.reads, ROUNDS);
	assert_int_equal(stream_counters(rig.loop)->writes - before.writes, ROUNDS);
	assert_int_equal(stream_counters(rig.loop)->interest_changes - before.interest_changes, 0);
	assert_int_equal(server_stats(rig.server)->requests, ROUNDS + 10);
	assert_int_equal(server_stats(rig.server)->idle, 1);
	close(fd);
	rig_stop(&rig);
}

static void test_pipelining(void **state)
{
	int fd;

	(void)state;
	start(RIG_ECHO);
	fd = rig_connect(&rig);
	rig_say(&rig, fd,
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\none"
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
		"\r\nPOST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n" GET "GET / HT");
	rig_expect(&rig, fd,
		   "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"
		   "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"
		   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	rig_say(&rig, fd, "TP/1.1\r\n" HOST "\r\n");
	rig_expect(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(rig.ends, 5);
	assert_int_equal(rig.aborts, 0);
	close(fd);
	rig_stop(&rig);
}

/* A request in pieces cut at every byte, on one connection. */
static void test_every_cut(void **state)
{
	static const char text[] = "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
				   "5;ext\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 6\r\n\r\n";
	int fd;

	(void)state;
	start(RIG_ECHO);
	fd = rig_connect(&rig);
	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		rig_say_bytes(&rig, fd, text, cut);
		pump_idle(rig.loop);
		rig_say_bytes(&rig, fd, text + cut, sizeof(text) - 1 - cut);
		rig_expect(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!");
		assert_int_equal(rig.trailers, 1);
	}
	close(fd);
	rig_stop(&rig);
}

static void test_no_content(void **state)
{
	int fd;

	(void)state;
	start(RIG_OK);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "HEAD / HTTP/1.1\r\n" HOST "\r\n");
	rig_expect(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	rig.script = RIG_CHUNKED;
	rig_say(&rig, fd, "HEAD / HTTP/1.1\r\n" HOST "\r\n");
	rig_expect(&rig, fd, "HTTP/1.1 200 OK\r\n\r\n");
	rig.script = RIG_EMPTY;
	rig.status = 204;
	rig_say(&rig, fd, GET);
	rig_expect(&rig, fd, "HTTP/1.1 204 No Content\r\n\r\n");
	rig.status = 304;
	rig_say(&rig, fd, GET);
	rig_expect(&rig, fd, "HTTP/1.1 304 Not Modified\r\n\r\n");
	rig.status = 404;
	rig_say(&rig, fd, GET);
	rig_expect(&rig, fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
	close(fd);
	rig_stop(&rig);
}

static void test_chunked_out(void **state)
{
	int fd;

	(void)state;
	start(RIG_CHUNKED);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	rig_expect(
		&rig, fd,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
	rig_say(&rig, fd, "GET / HTTP/1.1\r\n" HOST "TE: trailers\r\nConnection: TE\r\n\r\n");
	rig_expect(
		&rig, fd,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\nX-Sum: 11\r\n\r\n");
	rig_say(&rig, fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world");
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	close(fd);
	rig_stop(&rig);
}

static void test_http_10(void **state)
{
	int fd;

	(void)state;
	start(RIG_OK);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	rig_expect(&rig, fd,
		   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
	rig_say(&rig, fd, "GET / HTTP/1.0\r\n\r\n");
	rig_expect_start(&rig, fd, OK_CLOSE);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	close(fd);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	rig_expect_start(&rig, fd, OK_CLOSE);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	close(fd);
	rig_stop(&rig);
}

static void test_expect(void **state)
{
	int fd;

	(void)state;
	start(RIG_ECHO);
	fd = rig_connect(&rig);
	rig_say(&rig, fd,
		"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	rig_expect(&rig, fd, "HTTP/1.1 100 Continue\r\n\r\n");
	rig_say(&rig, fd, "hi");
	rig_expect(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	/* Content that came along needs no invitation. */
	rig_say(&rig, fd,
		"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nho");
	rig_expect(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nho");
	rig.script = RIG_OK;
	rig_say(&rig, fd,
		"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	rig_expect_start(&rig, fd, OK_CLOSE);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	close(fd);
	rig_stop(&rig);
}

static void test_early_response(void **state)
{
	static char zeros[65536];
	int fd;

	(void)state;
	start(RIG_OK);
	fd = rig_connect(&rig);
	/* A short rest is dropped and the connection goes on. */
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n");
	rig_expect(&rig, fd, OK);
	rig_say_bytes(&rig, fd, zeros, 60000);
	rig_say(&rig, fd, GET);
	rig_expect(&rig, fd, OK);
	/* A long one is not worth it; a client that goes on writing still gets its answer. */
	rig.script = RIG_EARLY;
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10000000\r\n\r\n");
	rig_say_bytes(&rig, fd, zeros, 40000);
	rig_expect_start(
		&rig, fd,
		"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	rig_expect_end(&rig, fd);
	close(fd);
	rig_stop(&rig);
}

static void test_large_heads(void **state)
{
	static char text[33000];
	static const size_t fillers[] = { 12000, 16200, 16320, 20000, 32000 };
	int fd;

	(void)state;
	start(RIG_ECHO);
	fd = rig_connect(&rig);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
		char *at = text +
			   sprintf(text, "POST / HTTP/1.1\r\n" HOST "Content-Length: 40000\r\nX: ");

		memset(at, 'x', fillers[i]);
		memcpy(at + fillers[i], "\r\n\r\n", 5);
		rig_say(&rig, fd, text);
		for (size_t j = 0; j < 40000; j++)
			text[j % 1000] = rig_pattern(j % 1000);
		for (int j = 0; j < 40; j++)
			rig_say_bytes(&rig, fd, text, 1000);
		rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n");
		for (int j = 0; j < 40; j++)
			rig_expect_bytes(&rig, fd, text, 1000);
		rig_expect_silence(&rig, fd);
	}
	close(fd);
	rig_stop(&rig);
}

/* Sends until the socket is full and stays so; the bytes that went. */
static size_t flood(int fd, size_t max)
{
	static char zeros[65536];
	size_t sent = 0;

	for (int dry = 0; dry < 5 && sent < max; dry++) {
		ssize_t k;

		while (sent < max &&
		       (k = send(fd, zeros, MIN(sizeof(zeros), max - sent), MSG_NOSIGNAL)) > 0) {
			sent += (size_t)k;
			dry = 0;
		}
		pump_idle(rig.loop);
	}
	return sent;
}

static void test_back_pressure_in(void **state)
{
	const size_t total = 7u << 20;
	size_t sent;
	int fd;

	(void)state;
	start(RIG_REFUSE);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 7340032\r\n\r\n");
	sent = flood(fd, total);
	assert_true(sent < total);
	assert_int_equal(rig.body_len, 0);
	rig.script = RIG_COUNT;
	exchange_resume(rig.x);
	PUMP_UNTIL(rig.loop, (sent += flood(fd, total - sent)) == total);
	PUMP_UNTIL(rig.loop, rig.ends == 1);
	assert_int_equal(rig.body_len, total);
	rig_expect(&rig, fd, OK);
	close(fd);
	rig_stop(&rig);
}

static void take_big(int fd, size_t total)
{
	static char got[30000];
	size_t at = 0;

	PUMP_UNTIL(rig.loop, ({
			   ssize_t k = recv(fd, got, MIN(sizeof(got), total - at), 0);

			   assert_true(k > 0 || (k < 0 && errno == EAGAIN));
			   for (ssize_t i = 0; i < k; i++)
				   if (got[i] != rig_pattern(at + (size_t)i))
					   fail_msg("byte %zu is wrong", at + (size_t)i);
			   at += k > 0 ? (size_t)k : 0;
			   at == total;
		   }));
}

static void test_back_pressure_out(void **state)
{
	int fd;

	(void)state;
	start(RIG_BIG);
	rig.big_bytes = 12u << 20;
	rig.big_length = true;
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	pump_idle(rig.loop);
	pump_idle(rig.loop);
	assert_true(rig.big_sent < rig.big_bytes); /* nobody reads: writes stop */
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 12582912\r\n\r\n");
	take_big(fd, rig.big_bytes);
	assert_int_equal(rig.closes, 1);
	rig_say(&rig, fd, "GET / HTTP/1.0\r\n\r\n");
	rig.big_length = false;
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
	take_big(fd, rig.big_bytes);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	close(fd);
	rig_stop(&rig);
}

/* A chunked response to a slow reader, decoded by the chunk parser. */
static void test_back_pressure_chunked(void **state)
{
	struct chunk_parser c;
	struct head trailers;
	static char got[20000];
	size_t have = 0, at = 0, used;
	enum chunk_event e = CHUNK_MORE;
	struct slice data;
	const char *why;
	int fd;

	(void)state;
	start(RIG_BIG);
	rig.big_bytes = 9u << 20;
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	pump_idle(rig.loop);
	assert_true(rig.big_sent < rig.big_bytes);
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	chunk_init(&c);
	PUMP_UNTIL(rig.loop, ({
			   ssize_t k = recv(fd, got + have, sizeof(got) - have, 0);

			   assert_true(k > 0 || (k < 0 && errno == EAGAIN));
			   have += k > 0 ? (size_t)k : 0;
			   do {
				   e = chunk_next(&c, got, have, &used, &data, &trailers, &why);
				   if (e == CHUNK_BAD)
					   fail_msg("after %zu bytes: %s", at, why);
				   for (size_t i = 0; e == CHUNK_DATA && i < data.n; i++, at++)
					   assert_int_equal(data.p[i], rig_pattern(at));
				   have -= used;
				   memmove(got, got + used, have);
			   } while (e == CHUNK_DATA);
			   e == CHUNK_END;
		   }));
	assert_int_equal(at, rig.big_bytes);
	assert_int_equal(rig.closes, 1);
	close(fd);
	rig_stop(&rig);
}

static void test_tunnel(void **state)
{
	int fd;

	(void)state;
	start(RIG_TUNNEL);
	fd = rig_connect(&rig);
	/* Bytes that come with the head belong to the tunnel. */
	rig_say(&rig, fd,
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
	rig_expect(
		&rig, fd,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
	assert_int_equal(rig.ends, 0);
	rig_say(&rig, fd, "GET / HTTP/1.1\r\n\r\n");
	rig_expect(&rig, fd, "GET / HTTP/1.1\r\n\r\n");
	/* Our half closes; the other still carries. */
	rig.script = RIG_WAIT;
	exchange_end(rig.x, NULL);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	assert_int_equal(rig.closes, 0);
	shutdown(fd, SHUT_WR);
	PUMP_UNTIL(rig.loop, rig.closes == 1);
	assert_int_equal(rig.ends, 1);
	assert_null(rig.why);
	close(fd);

	rig.script = RIG_TUNNEL;
	fd = rig_connect(&rig);
	rig_say(&rig, fd,
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	rig_expect_start(&rig, fd, "HTTP/1.1 101 ");
	rig_say(&rig, fd, "last words");
	shutdown(fd, SHUT_WR);
	rig_expect_start(
		&rig, fd,
		"Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nlast words");
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	PUMP_UNTIL(rig.loop, rig.closes == 2);
	close(fd);

	/* Refused: an ordinary response, and the connection goes on. */
	rig.script = RIG_OK;
	fd = rig_connect(&rig);
	rig_say(&rig, fd,
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" GET);
	rig_expect(&rig, fd, OK OK);
	close(fd);
	rig_stop(&rig);
}

static void test_aborts(void **state)
{
	int fd;

	(void)state;
	start(RIG_WAIT);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	close(fd);
	PUMP_UNTIL(rig.loop, !rig.x);
	assert_string_equal(rig.why, "client went away");
	assert_int_equal(server_stats(rig.server)->aborted, 1);

	fd = rig_connect(&rig);
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nab");
	PUMP_UNTIL(rig.loop, rig.x);
	shutdown(fd, SHUT_WR);
	PUMP_UNTIL(rig.loop, !rig.x);
	assert_int_equal(rig.ends, 1); /* of the GET: the POST never ended */
	close(fd);

	static const enum rig_script cut[] = { RIG_ABORT, RIG_SHORT, RIG_LONG };
	for (size_t i = 0; i < ARRAY_LEN(cut); i++) {
		rig.script = cut[i];
		fd = rig_connect(&rig);
		rig_say(&rig, fd, GET);
		assert_int_equal(rig_expect_end(&rig, fd), ECONNRESET);
		assert_non_null(rig.why);
		close(fd);
	}
	assert_int_equal(server_stats(rig.server)->aborted, 5);
	rig_stop(&rig);
}

static void test_bad_requests(void **state)
{
	static const struct {
		const char *text, *status;
	} bad[] = {
		{ "GET / HTTP/1.1\n\n", "HTTP/1.1 400 " },
		{ "GET / HTTP/2.7\r\n\r\n", "HTTP/1.1 505 " },
		{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 " },
		{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
		  "HTTP/1.1 400 " },
		{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx",
		  "HTTP/1.1 400 " },
	};
	static char long_head[40000];

	(void)state;
	start(RIG_ECHO);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int fd = rig_connect(&rig);

		rig_say(&rig, fd, bad[i].text);
		rig_say(&rig, fd, GET); /* what follows is never looked at */
		rig_expect_start(&rig, fd, bad[i].status);
		shutdown(fd, SHUT_WR);
		rig_expect_end(&rig, fd);
		close(fd);
		assert_int_equal(server_stats(rig.server)->bad_requests, i + 1);
	}
	for (int i = 0; i < 2; i++) {
		int fd = rig_connect(&rig);

		memset(long_head, 'a', sizeof(long_head) - 1);
		memcpy(long_head, i ? "GET / HTTP/1.1\r\nX: " : "GET /", i ? 19 : 5);
		rig_say(&rig, fd, long_head);
		rig_expect_start(&rig, fd, i ? "HTTP/1.1 431 " : "HTTP/1.1 414 ");
		shutdown(fd, SHUT_WR);
		rig_expect_end(&rig, fd);
		close(fd);
	}
	assert_int_equal(rig.requests, 2);
	assert_int_equal(rig.aborts, 2);
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->open == 0);
	rig_stop(&rig);
}

static void test_inform(void **state)
{
	struct head h;
	int fd;

	(void)state;
	start(RIG_WAIT);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	head_init(&h);
	h.status = 103;
	head_add_other(&h, SLICE("Link"), SLICE("</a.css>"));
	exchange_inform(rig.x, &h);
	rig_expect(&rig, fd, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
	head_init(&h);
	h.status = 200;
	assert_int_equal(exchange_respond(rig.x, &h, true), 0);
	rig_expect(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	close(fd);
	rig_stop(&rig);
}

/* More than the buffers take: those before them go at once, and to a client that does not read some
 * are not said. The answer comes either way. */
static void test_many_informs(void **state)
{
	static const char last[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	static char value[20000], got[600 * 20100];
	static const unsigned counts[] = { 5, 600 };
	struct head h;

	(void)state;
	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		size_t n = 0, each = sizeof(value) + strlen("HTTP/1.1 103 Early Hints\r\nLink: \r\n\r\n");
		int fd;

		start(RIG_WAIT);
		fd = rig_connect(&rig);
		rig_say(&rig, fd, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
		PUMP_UNTIL(rig.loop, rig.x);
		head_init(&h);
		h.status = 103;
		head_add_other(&h, SLICE("Link"), slice_of(value, sizeof(value)));
		for (unsigned j = 0; j < counts[i]; j++)
			exchange_inform(rig.x, &h);
		head_init(&h);
		h.status = 200;
		assert_int_equal(exchange_respond(rig.x, &h, true), 0);
		PUMP_UNTIL(rig.loop, ({
				   ssize_t k = recv(fd, got + n, sizeof(got) - n, 0);

				   assert_true(k >= 0 || errno == EAGAIN);
				   n += k > 0 ? (size_t)k : 0;
				   k == 0;
			   }));
		assert_true(n >= counts[0] * each + strlen(last));
		assert_true(n <= counts[i] * each + strlen(last));
		assert_int_equal((n - strlen(last)) % each, 0);
		assert_memory_equal(got + n - strlen(last), last, strlen(last));
		close(fd);
		rig_stop(&rig);
	}
}

static void test_large_response_heads(void **state)
{
	static char value[60000];
	struct head h;
	int fd;

	(void)state;
	start(RIG_WAIT);
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	memset(value, 'v', sizeof(value));
	head_init(&h);
	h.status = 200;
	head_add_other(&h, SLICE("X"), slice_of(value, sizeof(value)));
	assert_int_equal(exchange_respond(rig.x, &h, true), -EMSGSIZE);
	h.fields[0].value.n = 40000;
	assert_int_equal(exchange_respond(rig.x, &h, true), 0);
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\nX: ");
	rig_expect_bytes(&rig, fd, value, 40000);
	rig_expect(&rig, fd, "\r\nContent-Length: 0\r\n\r\n");
	close(fd);
	rig_stop(&rig);
}

static void on_drained(void *arg)
{
	struct rig *r = arg;

	r->drained = true;
}

static void test_drain(void **state)
{
	struct head h;
	int idle, busy;

	(void)state;
	start(RIG_OK);
	idle = rig_connect(&rig);
	rig_say(&rig, idle, GET);
	rig_expect(&rig, idle, OK);
	rig.script = RIG_WAIT;
	busy = rig_connect(&rig);
	rig_say(&rig, busy, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	server_drain(rig.server, 5000, on_drained, &rig);
	assert_int_equal(rig_expect_end(&rig, idle), 0);
	assert_false(rig.drained);
	head_init(&h);
	h.status = 200;
	assert_int_equal(exchange_respond(rig.x, &h, true), 0);
	rig_expect_start(&rig, busy,
			 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	assert_int_equal(rig_expect_end(&rig, busy), 0);
	close(busy);
	PUMP_UNTIL(rig.loop, rig.drained);
	close(idle);
	rig_stop(&rig);

	/* Who still sends what nobody wants of it was answered: it goes too, when that has come. */
	start(RIG_EARLY);
	busy = rig_connect(&rig);
	rig_say(&rig, busy, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nab");
	rig_expect(&rig, busy, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
	PUMP_UNTIL(rig.loop, !rig.x);
	server_drain(rig.server, 60000, on_drained, &rig);
	rig_say(&rig, busy, "cdefghij");
	assert_int_equal(rig_expect_end(&rig, busy), 0);
	close(busy);
	PUMP_UNTIL(rig.loop, rig.drained);
	rig_stop(&rig);

	/* At the limit what remains is cut. */
	start(RIG_WAIT);
	busy = rig_connect(&rig);
	rig_say(&rig, busy, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	server_drain(rig.server, 30, on_drained, &rig);
	PUMP_UNTIL(rig.loop, rig.drained);
	assert_int_equal(server_stats(rig.server)->aborted, 1);
	close(busy);
	rig_stop(&rig);
}

static void test_unix_socket(void **state)
{
	char path[] = "/tmp/h1_test.XXXXXX";
	struct err err;
	int fd;

	(void)state;
	start(RIG_WAIT);
	assert_non_null(mkdtemp(path));
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", path);
	assert_int_equal(server_listen_unix(rig.server, un.sun_path, "tag", &err), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	rig_say(&rig, fd, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	assert_true(rig.x->peer->local_user);
	assert_false(rig.x->peer->tls);
	assert_string_equal(rig.x->peer->listener, "tag");
	assert_string_equal(rig.x->peer->addr.text, "unix");
	assert_int_equal(strlen(rig.x->request_id), 32);
	close(fd);
	PUMP_UNTIL(rig.loop, !rig.x);
	rig_stop(&rig);
	rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep_alive_costs),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_no_content),
		cmocka_unit_test(test_chunked_out),
		cmocka_unit_test(test_http_10),
		cmocka_unit_test(test_expect),
		cmocka_unit_test(test_early_response),
		cmocka_unit_test(test_large_heads),
		cmocka_unit_test(test_back_pressure_in),
		cmocka_unit_test(test_back_pressure_out),
		cmocka_unit_test(test_back_pressure_chunked),
		cmocka_unit_test(test_tunnel),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_inform),
		cmocka_unit_test(test_many_informs),
		cmocka_unit_test(test_large_response_heads),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_unix_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
