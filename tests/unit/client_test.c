/* Upstream connections against an upstream played by hand: what it receives, what the caller is
 * told, when a connection may be used again. */
#include "h1_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/client_h1.h"
#include "mallocs.h"

#define SENT "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define POSTED "POST /x HTTP/1.1\r\nHost: a.test\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define BODY_MAX (12u << 20)

static struct rig rig; /* the loop and the raw sockets */
static struct client_pool *pool;
static int listening;
static const struct client_limits limits = { .connect_ms = 1500, .head_ms = 60000 };

/* What the caller of the client saw. */
static struct {
	struct client *c;
	unsigned informs, heads, ends, writables, gones;
	uint16_t status;
	char *body;
	size_t body_len;
	bool refuse; /* takes no content */
	bool again;  /* sends the next request from inside end() */
	bool close_in_head;
	unsigned trailers;
	struct client_failure failure;
	unsigned failures;
} seen;

static void on_inform(void *arg, const struct head *h)
{
	(void)arg;
	seen.informs++;
	seen.status = h->status;
}

static void on_head(void *arg, const struct head *h)
{
	(void)arg;
	seen.heads++;
	seen.status = h->status;
	if (seen.close_in_head) {
		client_close(seen.c);
		seen.c = NULL;
	}
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	(void)arg;
	if (seen.refuse)
		return 0;
	assert_true(seen.body_len + n <= BODY_MAX);
	memcpy(seen.body + seen.body_len, p, n);
	seen.body_len += n;
	return n;
}

static void get(void);

static void on_end(void *arg, const struct head *trailers)
{
	(void)arg;
	seen.ends++;
	seen.trailers = trailers ? trailers->nfields : 0;
	if (seen.again) {
		seen.again = false;
		get();
	}
}

static void on_writable(void *arg)
{
	(void)arg;
	seen.writables++;
}

static void on_failed(void *arg, const struct client_failure *f)
{
	(void)arg;
	seen.failures++;
	seen.failure = *f;
}

static const struct client_events events = {
	.inform = on_inform,
	.head = on_head,
	.body = on_body,
	.end = on_end,
	.writable = on_writable,
	.failed = on_failed,
};

static void on_gone(void *arg)
{
	(void)arg;
	seen.gones++;
	client_close(seen.c);
	seen.c = NULL;
}

static void request(struct slice method, uint8_t method_id, uint8_t body, uint64_t length,
		    struct slice protocol, const struct client_limits *l)
{
	struct head h;

	head_init(&h);
	h.method = method;
	h.method_id = method_id;
	h.path = SLICE("/x");
	h.authority = SLICE("a.test");
	h.protocol = protocol;
	seen.body_len = 0;
	assert_int_equal(client_request(seen.c, &h, body, length, l, &events, NULL), 0);
}

static void get(void)
{
	request(SLICE("GET"), METHOD_GET, BODY_NONE, 0, SLICE(""), &limits);
}

static void post(uint8_t body, uint64_t length)
{
	request(SLICE("POST"), METHOD_POST, body, length, SLICE(""), &limits);
}

static int setup(void **state)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct err err;
	struct addr at;
	char *body = seen.body ? seen.body : malloc(BODY_MAX), own[32];

	(void)state;
	memset(&seen, 0, sizeof(seen));
	seen.body = body;
	assert_int_equal(loop_create(&rig.loop, &err), 0);
	assert_int_equal(client_pool_create(&pool, rig.loop, 4, &err), 0);
	/* An address of its own: what the kernel has learnt about 127.0.0.1, from tests that cut and froze there, limits how
	 * much it takes from a sender. */
	snprintf(own, sizeof(own), "127.%d.%d.1:0", 1 + getpid() / 200 % 200, getpid() % 200);
	assert_int_equal(addr_parse(&at, slice_str(own), &err), 0);
	listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listening, (struct sockaddr *)&at.sa, at.len), 0);
	assert_int_equal(listen(listening, 8), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&sa, &len), 0);
	addr_from(&rig.at, (struct sockaddr *)&sa, len);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	client_close(seen.c);
	assert_int_equal(client_stats(pool)->open, 0);
	client_pool_destroy(pool);
	loop_destroy(rig.loop);
	close(listening);
	return 0;
}

static int accept_one(void)
{
	int fd = -1;

	PUMP_UNTIL(rig.loop, (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0);
	return fd;
}

static int open_one(void)
{
	assert_int_equal(client_open(&seen.c, pool, &rig.at), 0);
	return accept_one();
}

static void expect_failure(int rc, enum client_stage stage)
{
	PUMP_UNTIL(rig.loop, seen.failures == 1);
	assert_int_equal(seen.failure.rc, rc);
	assert_int_equal(seen.failure.stage, stage);
	assert_non_null(seen.failure.why);
	assert_false(client_reusable(seen.c));
}

static void test_keep_alive_costs(void **state)
{
	struct stream_counters before = { 0 };
	uint64_t mallocs_before;
	int fd = open_one();

	(void)state;
	for (unsigned i = 0; i < 110; i++) {
		if (i == 10)
			before = *stream_counters(rig.loop);
		mallocs_before = mallocs;
		get();
		PUMP_UNTIL(rig.loop, recv(fd, (char[4]){ 0 }, 1, MSG_PEEK) > 0);
		assert_true(i < 10 || !mallocs_counted || mallocs == mallocs_before);
		rig_expect(&rig, fd, SENT);
		assert_int_equal(send(fd, OK, strlen(OK), 0), strlen(OK));
		mallocs_before = mallocs;
		PUMP_UNTIL(rig.loop, seen.ends == i + 1);
		assert_true(i < 10 || !mallocs_counted || mallocs == mallocs_before);
		assert_int_equal(seen.status, 200);
		assert_int_equal(seen.body_len, 2);
		assert_true(client_reusable(seen.c));
	}
	assert_int_equal(stream_counters(rig.loop)->reads - before.reads, 100);
	assert_int_equal(stream_counters(rig.loop)->writes - before.writes, 100);
	assert_int_equal(stream_counters(rig.loop)->interest_changes - before.interest_changes, 0);
	assert_int_equal(client_stats(pool)->reused, 109);
	close(fd);
}

static void test_next_request_from_end(void **state)
{
	int fd = open_one();

	(void)state;
	get();
	rig_expect(&rig, fd, SENT);
	seen.again = true;
	rig_say(&rig, fd, OK);
	rig_expect(&rig, fd, SENT);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 2);
	close(fd);
}

/* Each response in pieces cut at every byte. */
static void test_every_cut(void **state)
{
	static const char text[] = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
				   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 6\r\n\r\n";
	int fd = open_one();

	(void)state;
	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		get();
		rig_expect(&rig, fd, SENT);
		rig_say_bytes(&rig, fd, text, cut);
		pump_idle(rig.loop);
		rig_say_bytes(&rig, fd, text + cut, sizeof(text) - 1 - cut);
		PUMP_UNTIL(rig.loop, seen.ends == cut);
		assert_int_equal(seen.informs, cut);
		assert_int_equal(seen.trailers, 1);
		assert_int_equal(seen.body_len, 6);
		assert_memory_equal(seen.body, "hello!", 6);
	}
	close(fd);
}

static const struct {
	const char *name, *text;
	bool eof; /* and then it closes */
	int rc;	  /* 0: complete */
	enum client_stage stage;
	const char *content;
	bool reusable;
} answers[] = {
	{ "length", OK, false, 0, 0, "ok", true },
	{ "nothing", "HTTP/1.1 204 No Content\r\n\r\n", false, 0, 0, "", true },
	{ "length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 0, 0, "", true },
	{ "said close", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
	  false, 0, 0, "ok", false },
	{ "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, 0, 0, "ok", false },
	{ "until close", "HTTP/1.1 200 OK\r\n\r\nok", true, 0, 0, "ok", false },
	{ "until close, nothing", "HTTP/1.1 200 OK\r\n\r\n", true, 0, 0, "", false },
	{ "more than asked for", OK "x", false, 0, 0, "ok", false },
	{ "closed before a byte", "", true, -ECONNRESET, CLIENT_SENT, NULL, false },
	{ "closed in the head", "HTTP/1.1 20", true, -ECONNRESET, CLIENT_HEAD, NULL, false },
	{ "closed after an interim head", "HTTP/1.1 103 X\r\n\r\n", true, -ECONNRESET, CLIENT_HEAD,
	  NULL, false },
	{ "closed in the content", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", true,
	  -ECONNRESET, CLIENT_BODY, "ok", false },
	{ "closed between chunks",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true, -ECONNRESET,
	  CLIENT_BODY, "ok", false },
	{ "not HTTP", "SSH-2.0-x\r\n\r\n", false, -EBADMSG, CLIENT_HEAD, NULL, false },
	{ "bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx", false, -EBADMSG,
	  CLIENT_BODY, "", false },
	{ "an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false,
	  -EBADMSG, CLIENT_HEAD, NULL, false },
	{ "length and coding",
	  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", false,
	  -EBADMSG, CLIENT_HEAD, NULL, false },
	{ "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
	  false, -EBADMSG, CLIENT_HEAD, NULL, false },
	{ "100 is not the answer", "HTTP/1.1 100 Continue\r\n\r\n" OK, false, 0, 0, "ok", true },
	{ "nor is 103", "HTTP/1.1 103 X\r\nContent-Length: 9\r\n\r\n" OK, false, 0, 0, "ok", true },
	{ "closed in the trailers",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n", true,
	  -ECONNRESET, CLIENT_BODY, "ok", false },
	{ "a second answer", OK OK, false, 0, 0, "ok", false },
	{ "content of a 204", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", false, 0, 0,
	  "", false },
	{ "upgrade nobody asked for", "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	  false, -EBADMSG, CLIENT_HEAD, NULL, false },
};

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		const char *name = answers[i].name;
		int fd = open_one();

		seen.ends = seen.failures = seen.heads = 0;
		get();
		rig_expect(&rig, fd, SENT);
		rig_say(&rig, fd, answers[i].text);
		if (answers[i].eof)
			close(fd);
		PUMP_UNTIL(rig.loop, seen.ends || seen.failures);
		CHECK_INT(name, seen.ends, answers[i].rc == 0);
		CHECK_INT(name, seen.failures, answers[i].rc != 0);
		if (answers[i].rc) {
			CHECK_INT(name, seen.failure.rc, answers[i].rc);
			CHECK_INT(name, seen.failure.stage, answers[i].stage);
		}
		CHECK_INT(name, seen.heads, answers[i].content != NULL);
		if (answers[i].content)
			CHECK_SLICE(name, slice_of(seen.body, seen.body_len), answers[i].content);
		CHECK_INT(name, client_reusable(seen.c), answers[i].reusable);
		client_close(seen.c);
		seen.c = NULL;
		if (!answers[i].eof)
			close(fd);
	}
}

/* Interim heads are passed on, but not for ever. */
static void test_informs(void **state)
{
	static const char text[] = "HTTP/1.1 103 X\r\n\r\n";
	int fd = open_one();

	(void)state;
	get();
	rig_expect(&rig, fd, SENT);
	for (unsigned i = 1; i <= 32; i++) {
		rig_say(&rig, fd, text);
		PUMP_UNTIL(rig.loop, seen.informs == i);
	}
	rig_say(&rig, fd, text);
	expect_failure(-EBADMSG, CLIENT_HEAD);
	assert_int_equal(seen.informs, 32);
	close(fd);
}

/* A parked connection has an answer that nobody asked for when it is taken, in the turn that would
 * have found out: it never becomes the answer to the next request. */
static void test_unasked(void **state)
{
	static const char evil[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
	struct client *first = NULL, *second;
	int fds[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = open_one();
		first = i ? first : seen.c;
		get();
		rig_expect(&rig, fds[i], SENT);
		rig_say(&rig, fds[i], OK);
		PUMP_UNTIL(rig.loop, seen.ends == i + 1);
	}
	second = seen.c;
	seen.c = first;
	get();
	rig_expect(&rig, fds[0], SENT);
	/* Its end brings the next request, on the other connection. The loop takes the last event
	 * first. */
	seen.c = second;
	seen.again = true;
	assert_int_equal(send(fds[1], evil, strlen(evil), 0), strlen(evil));
	assert_int_equal(send(fds[0], OK, strlen(OK), 0), strlen(OK));
	expect_failure(-EBADMSG, CLIENT_UNSENT);
	assert_true(seen.failure.reused);
	assert_int_equal(seen.ends, 3);
	assert_int_equal(seen.heads, 3);
	assert_int_equal(seen.body_len, 0);
	client_close(first);
	close(fds[0]);
	close(fds[1]);
}

static void test_head_request(void **state)
{
	int fd = open_one();

	(void)state;
	request(SLICE("HEAD"), METHOD_HEAD, BODY_NONE, 0, SLICE(""), &limits);
	rig_expect(&rig, fd, "HEAD /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
	rig_say(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	assert_true(client_reusable(seen.c));
	close(fd);
}

static void test_request_content(void **state)
{
	struct iovec v[2] = { { (char *)"he", 2 }, { (char *)"llo", 3 } };
	struct head trailers;
	int fd = open_one();

	(void)state;
	post(BODY_LENGTH, 5);
	assert_int_equal(client_write(seen.c, v, 2), 5);
	client_end(seen.c, NULL);
	rig_expect(&rig, fd, POSTED "Content-Length: 5\r\n\r\nhello");
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 1);

	post(BODY_CHUNKED, 0);
	assert_int_equal(client_write(seen.c, v, 2), 5);
	rig_expect(&rig, fd, POSTED "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
	head_init(&trailers);
	head_add_other(&trailers, SLICE("X-Sum"), SLICE("5"));
	client_end(seen.c, &trailers);
	rig_expect(&rig, fd, "0\r\nX-Sum: 5\r\n\r\n");
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 2);
	assert_true(client_reusable(seen.c));

	post(BODY_LENGTH, 6);
	assert_int_equal(client_write(seen.c, v, 2), 5);
	client_end(seen.c, NULL);
	expect_failure(-EPROTO, CLIENT_UNSENT);
	close(fd);
}

/* The upstream answers while the request is still being sent, and stops reading it. */
static void test_early_answer(void **state)
{
	static char zeros[65536];
	struct iovec v = { zeros, sizeof(zeros) };
	int fd = open_one();

	(void)state;
	post(BODY_LENGTH, 1u << 30);
	for (int i = 0; i < 200; i++) {
		client_write(seen.c, &v, 1);
		pump_idle(rig.loop);
	}
	rig_expect_start(&rig, fd, POSTED "Content-Length: 1073741824\r\n\r\n");
	rig_say(&rig, fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	assert_int_equal(seen.status, 413);
	assert_false(client_reusable(seen.c));
	assert_int_equal(client_write(seen.c, &v, 1), sizeof(zeros)); /* dropped */
	client_end(seen.c, NULL);
	pump_idle(rig.loop);
	assert_int_equal(seen.failures, 0);
	close(fd);
}

static void test_back_pressure_out(void **state)
{
	const size_t total = 10u << 20;
	size_t written = 0, got = 0;
	static char piece[70000];
	struct iovec v;
	unsigned writables;
	int fd = open_one();

	(void)state;
	PUMP_UNTIL(rig.loop, client_reusable(seen.c));
	post(BODY_LENGTH, total);
	for (;;) {
		size_t n = MIN(sizeof(piece), total - written), taken;

		for (size_t i = 0; i < n; i++)
			piece[i] = rig_pattern(written + i);
		v = (struct iovec){ piece, n };
		taken = client_write(seen.c, &v, 1);
		written += taken;
		if (taken < n)
			break;
		pump_idle(rig.loop);
	}
	assert_true(written < total);
	writables = seen.writables;
	pump_idle(rig.loop);
	assert_int_equal(seen.writables, writables);
	rig_expect_start(&rig, fd, POSTED "Content-Length: 10485760\r\n\r\n");
	PUMP_UNTIL(
		rig.loop, ({
			static char in[50000];
			ssize_t k = recv(fd, in, sizeof(in), 0);

			for (ssize_t i = 0; i < k; i++)
				if (in[i] != rig_pattern(got + (size_t)i))
					fail_msg("byte %zu is wrong", got + (size_t)i);
			got += k > 0 ? (size_t)k : 0;
			if (seen.writables > writables && written < total) {
				size_t n = MIN(sizeof(piece), total - written);

				writables = seen.writables;
				for (size_t i = 0; i < n; i++)
					piece[i] = rig_pattern(written + i);
				v = (struct iovec){ piece, n };
				n -= client_write(seen.c, &v, 1);
				written += v.iov_len - n;
				if (n == 0)
					writables--; /* all taken: offer more without being asked */
			}
			got == total;
		}));
	client_end(seen.c, NULL);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	assert_true(client_reusable(seen.c));
	close(fd);
}

static int tcp_option(int name)
{
	const struct client_h1 *c = CONTAINER_OF(seen.c, struct client_h1, client);
	socklen_t len = sizeof(int);
	int value = 0;

	assert_int_equal(getsockopt(stream_fd(&c->stream), IPPROTO_TCP, name, &value, &len), 0);
	return value;
}

static int user_timeout_ms(void)
{
	return tcp_option(TCP_USER_TIMEOUT);
}

/* One lost probe may cost an answer that can be asked for again, no other. */
static void test_silence(void **state)
{
	int fd = open_one();

	(void)state;
	get();
	assert_int_equal(tcp_option(TCP_KEEPIDLE), 1);
	rig_expect(&rig, fd, SENT);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	post(BODY_CHUNKED, 0);
	assert_int_equal(tcp_option(TCP_KEEPIDLE), 15);
	assert_int_equal(user_timeout_ms(), 1500);
	client_idle_limit(seen.c, 3600000);
	assert_int_equal(user_timeout_ms(), 25000);
	client_end(seen.c, NULL);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 2);
	get();
	assert_int_equal(tcp_option(TCP_KEEPIDLE), 1);
	assert_int_equal(user_timeout_ms(), 1500);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 3);
	close(fd);
}

/* Who takes an upload slowly is not gone: the kernel would end that too. */
static void test_slow_reader(void **state)
{
	static char zeros[65536];
	struct iovec v = { zeros, sizeof(zeros) };
	size_t written = 0, got = 0, taken;
	uint64_t until_ms;
	int fd;

	(void)state;
	client_pool_user_timeout(pool, 200);
	fd = open_one();
	get();
	rig_expect(&rig, fd, SENT);
	assert_int_equal(user_timeout_ms(), 200);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 1);

	post(BODY_CHUNKED, 0);
	do {
		taken = client_write(seen.c, &v, 1);
		written += taken;
		pump_idle(rig.loop);
	} while (taken == sizeof(zeros));
	client_end(seen.c, NULL);
	until_ms = loop_now_ms(rig.loop) + 1200;
	PUMP_UNTIL(rig.loop, loop_now_ms(rig.loop) > until_ms);
	assert_int_equal(seen.failures, 0);
	PUMP_UNTIL(rig.loop, ({
			   ssize_t k = recv(fd, zeros, sizeof(zeros), 0);

			   got += k > 0 ? (size_t)k : 0;
			   got > written && !memcmp(zeros + k - 5, "0\r\n\r\n", 5);
		   }));
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 2);
	pump_idle(rig.loop);
	assert_int_equal(user_timeout_ms(), 200);
	assert_true(client_reusable(seen.c));
	close(fd);
}

static void test_back_pressure_in(void **state)
{
	const size_t total = 10u << 20;
	static char piece[196608];
	const uint64_t *reads = &stream_counters(rig.loop)->reads;
	size_t sent = 0;
	int fd = open_one();

	(void)state;
	get();
	rig_expect(&rig, fd, SENT);
	rig_say(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n");
	seen.refuse = true;
	for (int dry = 0; dry < 5; dry++) {
		ssize_t k;

		while ((k = send(fd, piece, MIN(sizeof(piece), total - sent), 0)) > 0) {
			sent += (size_t)k;
			dry = 0;
		}
		pump_idle(rig.loop);
	}
	assert_true(sent < total);
	seen.refuse = false;
	client_resume(seen.c);
	PUMP_UNTIL(rig.loop, ({
			   ssize_t k = sent < total ? send(fd, piece,
							   MIN(sizeof(piece), total - sent), 0)
						    : 0;

			   sent += k > 0 ? (size_t)k : 0;
			   seen.ends == 1;
		   }));
	assert_int_equal(seen.body_len, total);
	assert_true(client_reusable(seen.c));
	/* In large pieces, once it turned out to be large. */
	assert_true(*reads < total / 32768);
	close(fd);
}

/* Big blocks are few: who gets none, with much of a response not taken, waits like others. */
static void test_few_big_blocks(void **state)
{
	enum { MANY = 40 };
	static char piece[12000];
	struct client_pool *many;
	struct client *clients[MANY];
	int fds[MANY];
	struct err err;

	(void)state;
	assert_int_equal(client_pool_create(&many, rig.loop, MANY, &err), 0);
	seen.refuse = true;
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(client_open(&clients[i], many, &rig.at), 0);
		fds[i] = accept_one();
		seen.c = clients[i];
		get();
		rig_expect(&rig, fds[i], SENT);
		rig_say(&rig, fds[i], "HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n");
		rig_say_bytes(&rig, fds[i], piece, sizeof(piece));
		PUMP_UNTIL(rig.loop, seen.heads == i + 1);
		while (send(fds[i], piece, sizeof(piece), 0) > 0)
			;
		pump_idle(rig.loop);
		if (seen.failures)
			fail_msg("connection %u: %s", i, seen.failure.why);
	}
	for (unsigned i = 0; i < MANY; i++) {
		client_close(clients[i]);
		close(fds[i]);
	}
	seen.c = NULL;
	client_pool_destroy(many);
}

/* One that has a big block for its large head, when no other is left: what is behind the head waits
 * where it is. */
static void test_large_heads_without_big_blocks(void **state)
{
	enum { MANY = 80 };
	static char field[17000], piece[60000];
	struct client_pool *many;
	struct client *clients[MANY];
	int fds[MANY] = { 0 };
	unsigned n = 0;
	struct err err;

	(void)state;
	memset(field, 'x', sizeof(field) - 1);
	assert_int_equal(client_pool_create(&many, rig.loop, MANY, &err), 0);
	seen.refuse = true;
	while (!seen.failures) {
		assert_true(n < MANY);
		assert_int_equal(client_open(&clients[n], many, &rig.at), 0);
		fds[n] = accept_one();
		seen.c = clients[n];
		get();
		rig_expect(&rig, fds[n], SENT);
		rig_say(&rig, fds[n], "HTTP/1.1 200 OK\r\nContent-Length: 600000\r\nX: ");
		rig_say(&rig, fds[n], field);
		rig_say(&rig, fds[n++], "\r\n\r\n");
		PUMP_UNTIL(rig.loop, seen.heads + seen.failures == n);
	}
	assert_string_equal(seen.failure.why, "no room for a response head this large");
	rig_say_bytes(&rig, fds[0], piece, sizeof(piece));
	pump_idle(rig.loop);
	assert_int_equal(seen.failures, 1);
	for (unsigned i = 0; i < n; i++) {
		client_close(clients[i]);
		close(fds[i]);
	}
	seen.c = NULL;
	client_pool_destroy(many);
}

/* The rest of a response that was read before the upstream closed is not lost on a slow taker. */
static void test_paused_at_close(void **state)
{
	int fd = open_one();

	(void)state;
	get();
	rig_expect(&rig, fd, SENT);
	seen.refuse = true;
	rig_say(&rig, fd, OK);
	close(fd);
	pump_idle(rig.loop);
	assert_int_equal(seen.heads, 1);
	assert_int_equal(seen.failures, 0);
	seen.refuse = false;
	client_resume(seen.c);
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	assert_int_equal(seen.body_len, 2);
	assert_false(client_reusable(seen.c));
}

static void test_parking(void **state)
{
	int fd = open_one();

	(void)state;
	get();
	rig_expect(&rig, fd, SENT);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	client_park(seen.c, on_gone, NULL);
	assert_true(client_parked_ms(seen.c) > 0);
	get();
	rig_expect(&rig, fd, SENT);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 2);
	client_park(seen.c, on_gone, NULL);
	pump_idle(rig.loop);
	assert_int_equal(seen.gones, 0);
	close(fd);
	PUMP_UNTIL(rig.loop, seen.gones == 1);

	fd = open_one();
	PUMP_UNTIL(rig.loop, client_reusable(seen.c));
	client_park(seen.c, on_gone, NULL);
	rig_say(&rig, fd, "HTTP/1.1 408 Request Timeout\r\n\r\n");
	PUMP_UNTIL(rig.loop, seen.gones == 2);
	close(fd);
}

/* It died while nobody looked: nothing of the request was heard, and it says so. */
static void test_stale(void **state)
{
	struct linger now = { 1, 0 };
	int fd = open_one();

	(void)state;
	get();
	rig_expect(&rig, fd, SENT);
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	get();
	PUMP_UNTIL(rig.loop, seen.failures == 1);
	assert_true(seen.failure.reused);
	assert_true(seen.failure.stage <= CLIENT_SENT);
}

static void test_tunnel(void **state)
{
	struct iovec v = { (char *)"ping", 4 };
	int fd = open_one();

	(void)state;
	request(SLICE("GET"), METHOD_GET, BODY_NONE, 0, SLICE("websocket"), &limits);
	rig_expect(
		&rig, fd,
		"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	rig_say(&rig, fd,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly");
	PUMP_UNTIL(rig.loop, seen.body_len == 5);
	assert_int_equal(seen.status, 101);
	assert_int_equal(client_write(seen.c, &v, 1), 4);
	rig_expect(&rig, fd, "ping");
	shutdown(fd, SHUT_WR);
	PUMP_UNTIL(rig.loop, seen.ends == 1);
	assert_int_equal(client_write(seen.c, &v, 1), 4);
	rig_expect(&rig, fd, "ping");
	client_end(seen.c, NULL);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	assert_int_equal(seen.failures, 0);
	close(fd);
}

static void test_refused(void **state)
{
	(void)state;
	close(listening);
	if (client_open(&seen.c, pool, &rig.at) == 0) {
		get();
		expect_failure(-ECONNREFUSED, CLIENT_CONNECTING);
	}
	assert_int_equal(client_stats(pool)->failed_connects, 1);
	listening = socket(AF_INET, SOCK_STREAM, 0);
}

static void test_limits(void **state)
{
	const struct client_limits brief = { .connect_ms = 1000, .head_ms = 40, .idle_ms = 40 };
	int fd = open_one();

	(void)state;
	request(SLICE("GET"), METHOD_GET, BODY_NONE, 0, SLICE(""), &brief);
	expect_failure(-ETIME, CLIENT_SENT);
	client_close(seen.c);
	close(fd);

	seen.failures = 0;
	fd = open_one();
	request(SLICE("GET"), METHOD_GET, BODY_NONE, 0, SLICE(""), &brief);
	rig_expect(&rig, fd, SENT);
	rig_say(&rig, fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	expect_failure(-ETIME, CLIENT_BODY);
	client_close(seen.c);
	close(fd);
	seen.c = NULL;
}

/* At the cap those that only idle make room, the longest parked first. */
static void test_cap(void **state)
{
	struct client *four[4], *more[2];
	int fds[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(client_open(&four[i], pool, &rig.at), 0);
		fds[i] = accept_one();
	}
	assert_int_equal(client_open(&more[0], pool, &rig.at), -ENOMEM);
	PUMP_UNTIL(rig.loop, client_reusable(four[2]));
	for (int i = 1; i < 4; i++) {
		seen.c = four[i];
		get();
		rig_expect(&rig, fds[i], SENT);
		rig_say(&rig, fds[i], OK);
		PUMP_UNTIL(rig.loop, client_reusable(four[i]));
	}
	client_park(four[1], on_gone, NULL);
	client_park(four[2], on_gone, NULL);
	/* Taken back: it is in use. */
	seen.c = four[1];
	get();
	seen.c = four[2];
	assert_int_equal(client_open(&more[0], pool, &rig.at), 0);
	assert_int_equal(seen.gones, 1);
	assert_null(seen.c);
	assert_int_equal(client_open(&more[1], pool, &rig.at), -ENOMEM);
	assert_int_equal(client_stats(pool)->open, 4);
	client_close(four[0]);
	client_close(four[1]);
	client_close(four[3]);
	client_close(more[0]);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	pump_idle(rig.loop);
}

/* The same when the process has no descriptor left. */
static void test_descriptors(void **state)
{
	struct client *other = NULL;
	struct rlimit before, few;
	int fd = open_one();

	(void)state;
	PUMP_UNTIL(rig.loop, client_reusable(seen.c));
	client_park(seen.c, on_gone, NULL);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)dup(fd);
	close((int)few.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(client_open(&other, pool, &rig.at), 0);
	assert_int_equal(seen.gones, 1);
	seen.c = other;
	assert_int_equal(client_open(&other, pool, &rig.at), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	close(fd);
}

static void test_close_inside(void **state)
{
	int fd = open_one();

	(void)state;
	get();
	rig_expect(&rig, fd, SENT);
	seen.close_in_head = true;
	rig_say(&rig, fd, OK);
	PUMP_UNTIL(rig.loop, seen.heads == 1);
	pump_idle(rig.loop);
	assert_int_equal(seen.ends + seen.failures, 0);
	rig_expect_end(&rig, fd);
	close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_keep_alive_costs), TEST(test_next_request_from_end),
		TEST(test_every_cut),	     TEST(test_answers),
		TEST(test_head_request),     TEST(test_request_content),
		TEST(test_early_answer),     TEST(test_back_pressure_out),
		TEST(test_back_pressure_in), TEST(test_paused_at_close),
		TEST(test_parking),	     TEST(test_stale),
		TEST(test_tunnel),	     TEST(test_refused),
		TEST(test_limits),	     TEST(test_cap),
		TEST(test_descriptors),	     TEST(test_close_inside),
		TEST(test_few_big_blocks),   TEST(test_large_heads_without_big_blocks),
		TEST(test_informs),	     TEST(test_unasked),
		TEST(test_silence),
		TEST(test_slow_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
