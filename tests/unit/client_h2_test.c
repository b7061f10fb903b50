/* Streams of shared HTTP/2 connections against an upstream played by hand: what it receives, what the
 * caller is told, who is hurt when something breaks. */
#include "h2_peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/client.h"

#define ASKS 8
#define IDLE_MS 60
#define BODY_MAX (2u << 20)
#define WINDOW 65535

static struct loop *loop;
static struct client_pool *pool;
static struct client_group *group;
static struct addr at;
static int listening;
static const struct client_limits limits = { .connect_ms = 1500, .head_ms = 60000 };

/* A request, and what its caller was told. */
struct ask {
	struct client *c;
	unsigned informs, heads, ends, writables, failures, trailers;
	uint16_t status;
	uint8_t body_kind;
	size_t body_n, take; /* <take>: of the next content; SIZE_MAX: all, always */
	char body[64], field[64], trailer[64];
	struct client_failure failure;
	bool close_in_head, close_in_end;
};
static struct ask asks[ASKS];

static void on_inform(void *arg, const struct head *h)
{
	struct ask *a = arg;

	a->informs++;
	a->status = h->status;
}

static void end_ask(struct ask *a)
{
	client_close(a->c);
	a->c = NULL;
}

static void copy_field(char out[64], const struct head *h, const char *name)
{
	const struct field *f = head_find(h, slice_str(name));

	if (f)
		snprintf(out, 64, "%.*s", SLICE_ARG(f->value));
}

static void on_head(void *arg, const struct head *h)
{
	struct ask *a = arg;

	a->heads++;
	a->status = h->status;
	a->body_kind = h->body;
	copy_field(a->field, h, "x-test");
	if (a->close_in_head)
		end_ask(a);
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct ask *a = arg;
	size_t taken = MIN(n, a->take), room = sizeof(a->body) - MIN(a->body_n, sizeof(a->body));

	memcpy(a->body + (sizeof(a->body) - room), p, MIN(taken, room));
	a->body_n += taken;
	if (a->take != SIZE_MAX)
		a->take -= taken;
	return taken;
}

static void on_end(void *arg, const struct head *trailers)
{
	struct ask *a = arg;

	a->ends++;
	a->trailers = trailers ? trailers->nfields : 0;
	if (trailers)
		copy_field(a->trailer, trailers, "grpc-status");
	if (a->close_in_end)
		end_ask(a);
}

static void on_writable(void *arg)
{
	((struct ask *)arg)->writables++;
}

static void on_failed(void *arg, const struct client_failure *f)
{
	struct ask *a = arg;

	a->failures++;
	a->failure = *f;
}

static const struct client_events events = {
	.inform = on_inform,
	.head = on_head,
	.body = on_body,
	.end = on_end,
	.writable = on_writable,
	.failed = on_failed,
};

static void request_with(struct ask *a, struct slice method, uint8_t method_id, uint8_t body,
			 uint64_t length, const char *protocol, const struct client_limits *l)
{
	struct head h;

	memset(a, 0, sizeof(*a));
	a->take = SIZE_MAX;
	head_init(&h);
	h.method = method;
	h.method_id = method_id;
	h.path = SLICE("/x?y");
	h.authority = SLICE("a.test");
	h.scheme = SLICE("https");
	h.protocol = slice_str(protocol);
	h.te_trailers = true;
	head_add_other(&h, SLICE("X-Test"), SLICE("yes"));
	head_add(&h, FIELD_CONTENT_LENGTH, SLICE("999"));
	head_add(&h, FIELD_HOST, SLICE("b.test"));
	assert_int_equal(client_group_open(group, &a->c), 0);
	assert_int_equal(client_request(a->c, &h, body, length, l, &events, a), 0);
}

static void get(struct ask *a)
{
	request_with(a, SLICE("GET"), METHOD_GET, BODY_NONE, 0, NULL, &limits);
}

static void post(struct ask *a, uint8_t body, uint64_t length)
{
	request_with(a, SLICE("POST"), METHOD_POST, body, length, NULL, &limits);
}

static size_t write_to(struct ask *a, const char *p, size_t n)
{
	struct iovec iov[2] = { { (char *)p, n / 2 }, { (char *)p + n / 2, n - n / 2 } };

	return client_write(a->c, iov, 2);
}

static const nghttp2_settings_entry plenty[] = {
	{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100 },
	{ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 },
};

static int accept_fd(void)
{
	int fd = -1;

	PUMP_UNTIL(loop, (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0);
	return fd;
}

static void accept_peer(struct peer *p)
{
	peer_open(p, accept_fd(), plenty, ARRAY_LEN(plenty));
}

/* A GET and the connection it opens, answered. */
static void open_one(struct peer *p)
{
	get(&asks[0]);
	accept_peer(p);
	PEER_UNTIL(loop, p, p->nstreams == 1);
	peer_answer(p, peer_request(p, 0), "200", NULL, NULL, "ok", 2, false);
	PEER_UNTIL(loop, p, asks[0].ends == 1);
	end_ask(&asks[0]);
}

static int setup(void **state)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct err err;
	struct addr any;

	(void)state;
	memset(asks, 0, sizeof(asks));
	assert_int_equal(loop_create(&loop, &err), 0);
	assert_int_equal(client_pool_create(&pool, loop, 4, &err), 0);
	assert_int_equal(addr_parse(&any, SLICE("127.0.0.1:0"), &err), 0);
	listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listening, (struct sockaddr *)&any.sa, any.len), 0);
	assert_int_equal(listen(listening, 8), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&sa, &len), 0);
	addr_from(&at, (struct sockaddr *)&sa, len);
	group = client_group_create(pool, &at, IDLE_MS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ASKS; i++)
		client_close(asks[i].c);
	client_group_destroy(group);
	group = NULL;
	pump_idle(loop); /* a connection that took no more streams goes after its last one */
	assert_int_equal(client_stats(pool)->open, 0);
	assert_int_equal(client_stats(pool)->streams, 0);
	client_pool_destroy(pool);
	loop_destroy(loop);
	close(listening);
	return 0;
}

/* ---- requests and responses ---- */

static void test_request(void **state)
{
	struct peer p;
	struct peer_stream *s;

	(void)state;
	get(&asks[0]);
	assert_int_equal(client_stage(asks[0].c), CLIENT_CONNECTING);
	accept_peer(&p);
	PEER_UNTIL(loop, &p, p.nstreams == 1);
	s = peer_request(&p, 0);
	assert_true(s->ended);
	assert_string_equal(s->method, "GET");
	assert_string_equal(s->path, "/x?y");
	assert_string_equal(s->authority, "a.test");
	assert_string_equal(s->scheme, "http");
	assert_string_equal(s->te, "trailers");
	assert_string_equal(s->extra, "yes");
	assert_string_equal(s->length, "");
	assert_int_equal(client_stage(asks[0].c), CLIENT_SENT);
	peer_inform(&p, s, "103");
	PEER_UNTIL(loop, &p, asks[0].informs == 1);
	assert_int_equal(client_stage(asks[0].c), CLIENT_HEAD);
	peer_answer(&p, s, "200", "x-test", "no", "ok", 2, false);
	PEER_UNTIL(loop, &p, asks[0].ends == 1);
	assert_int_equal(asks[0].status, 200);
	assert_string_equal(asks[0].field, "no");
	assert_int_equal(asks[0].body_n, 2);
	assert_int_equal(asks[0].trailers, 0);
	assert_false(client_reusable(asks[0].c));
	end_ask(&asks[0]);
	/* The next one goes the same way, and nobody was reset. */
	asks[1].close_in_end = true;
	get(&asks[1]);
	asks[1].close_in_end = true;
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	peer_answer(&p, peer_request(&p, 1), "204", NULL, NULL, NULL, 0, false);
	PEER_UNTIL(loop, &p, asks[1].ends == 1);
	assert_int_equal(asks[1].body_kind, BODY_NONE);
	peer_idle(loop, &p);
	assert_false(peer_request(&p, 0)->reset || peer_request(&p, 1)->reset);
	assert_int_equal(client_stats(pool)->opened, 1);
	assert_int_equal(client_stats(pool)->reused, 1);
	assert_int_equal(client_group_connections(group), 1);
	peer_close(&p);
}

static void test_bodies(void **state)
{
	static const struct {
		const char *name, *method;
		uint8_t method_id;
		const char *status, *field, *value, *body, *trailer;
		uint8_t kind;
		const char *got;
	} cases[] = {
		{ "unknown length", "GET", METHOD_GET, "200", NULL, NULL, "hello", NULL,
		  BODY_CHUNKED, "hello" },
		{ "known length", "GET", METHOD_GET, "200", "content-length", "5", "hello", NULL,
		  BODY_LENGTH, "hello" },
		{ "trailers", "GET", METHOD_GET, "200", NULL, NULL, "hello", "12", BODY_CHUNKED,
		  "hello" },
		{ "nothing", "GET", METHOD_GET, "200", NULL, NULL, NULL, NULL, BODY_NONE, "" },
		{ "trailers only", "GET", METHOD_GET, "200", "x-test", "0", NULL, NULL, BODY_NONE,
		  "" },
		{ "HEAD", "HEAD", METHOD_HEAD, "200", "content-length", "5", NULL, NULL, BODY_NONE,
		  "" },
		{ "not modified", "GET", METHOD_GET, "304", "content-length", "5", NULL, NULL,
		  BODY_NONE, "" },
		{ "blanks around a value", "GET", METHOD_GET, "200", "x-test", " a b ", NULL, NULL,
		  BODY_NONE, "" },
		{ "an error", "GET", METHOD_GET, "503", NULL, NULL, "no", NULL, BODY_CHUNKED,
		  "no" },
	};
	struct peer p;

	(void)state;
	open_one(&p);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct ask *a = &asks[1];
		struct peer_stream *s;

		request_with(a, slice_str(cases[i].method), cases[i].method_id, BODY_NONE, 0, NULL,
			     &limits);
		PEER_UNTIL(loop, &p, p.nstreams == i + 2);
		s = peer_request(&p, i + 1);
		s->trailer_name = cases[i].trailer ? "grpc-status" : NULL;
		s->trailer_value = cases[i].trailer;
		peer_answer(&p, s, cases[i].status, cases[i].field, cases[i].value, cases[i].body,
			    cases[i].body ? strlen(cases[i].body) : 0, false);
		PEER_UNTIL(loop, &p, a->ends || a->failures);
		CHECK_INT(cases[i].name, a->failures, 0);
		CHECK_INT(cases[i].name, a->body_kind, cases[i].kind);
		CHECK_SLICE(cases[i].name, slice_of(a->body, a->body_n), cases[i].got);
		CHECK_STR(cases[i].name, a->trailer, cases[i].trailer ? cases[i].trailer : "");
		if (cases[i].value && cases[i].value[0] == ' ')
			CHECK_STR(cases[i].name, a->field, "a b");
		end_ask(a);
		peer_idle(loop, &p);
		CHECK_INT(cases[i].name, s->reset, false);
	}
	peer_close(&p);
}

static void test_content(void **state)
{
	struct peer p;
	struct peer_stream *s;
	struct head trailers;

	(void)state;
	open_one(&p);
	post(&asks[0], BODY_LENGTH, 5);
	assert_int_equal(write_to(&asks[0], "hello", 5), 5);
	client_end(asks[0].c, NULL);
	PEER_UNTIL(loop, &p, p.nstreams == 2 && peer_request(&p, 1)->ended);
	s = peer_request(&p, 1);
	assert_string_equal(s->length, "5");
	assert_memory_equal(s->body, "hello", 5);
	/* Two ways at once, trailers in both. */
	post(&asks[1], BODY_CHUNKED, 0);
	assert_int_equal(write_to(&asks[1], "one", 3), 3);
	PEER_UNTIL(loop, &p, p.nstreams == 3 && peer_request(&p, 2)->body_n == 3);
	s = peer_request(&p, 2);
	assert_string_equal(s->length, "");
	s->trailer_name = "grpc-status";
	s->trailer_value = "0";
	peer_answer(&p, s, "200", NULL, NULL, "uno", 3, true);
	PEER_UNTIL(loop, &p, asks[1].body_n == 3);
	assert_int_equal(write_to(&asks[1], "two", 3), 3);
	PEER_UNTIL(loop, &p, s->body_n == 6);
	head_init(&trailers);
	head_add_other(&trailers, SLICE("X-Trailer"), SLICE("t"));
	client_end(asks[1].c, &trailers);
	PEER_UNTIL(loop, &p, s->ended);
	assert_string_equal(s->trailer, "t");
	peer_continue(&p, s, "due", 3, false);
	PEER_UNTIL(loop, &p, asks[1].ends);
	assert_memory_equal(asks[1].body, "unodue", 6);
	assert_string_equal(asks[1].trailer, "0");
	/* Other lengths than promised are never sent as if they were right. */
	post(&asks[2], BODY_LENGTH, 5);
	assert_int_equal(write_to(&asks[2], "sixsix", 6), 6);
	PEER_UNTIL(loop, &p, asks[2].failures);
	assert_int_equal(asks[2].failure.rc, -EPROTO);
	post(&asks[3], BODY_LENGTH, 5);
	assert_int_equal(write_to(&asks[3], "four", 4), 4);
	client_end(asks[3].c, NULL);
	PEER_UNTIL(loop, &p, asks[3].failures);
	assert_int_equal(asks[3].failure.rc, -EPROTO);
	end_ask(&asks[2]);
	end_ask(&asks[3]);
	PEER_UNTIL(loop, &p, peer_request(&p, p.nstreams - 1)->reset);
	assert_false(peer_request(&p, p.nstreams - 1)->ended);
	peer_close(&p);
}

/* Until the peer has spoken, nothing of a request leaves. */
static void test_before_settings(void **state)
{
	static const struct {
		const char *name, *says;
		int rc;
	} cases[] = {
		{ "closes", NULL, -ECONNRESET },
		{ "HTTP/1", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", -EBADMSG },
		{ "another thing", "220 mail.test ESMTP ready, and waiting for you\r\n", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ask *a = &asks[0];
		char got[1024];
		ssize_t n;
		int fd;

		get(a);
		fd = accept_fd();
		pump_idle(loop);
		CHECK_INT(cases[i].name, client_stage(a->c), CLIENT_UNSENT);
		n = recv(fd, got, sizeof(got), 0);
		CHECK_INT(cases[i].name, n > 24 && !memmem(got, (size_t)n, "a.test", 6), true);
		if (cases[i].says)
			assert_int_equal(send(fd, cases[i].says, strlen(cases[i].says), 0),
					 strlen(cases[i].says));
		else
			close(fd);
		PUMP_UNTIL(loop, a->failures);
		CHECK_INT(cases[i].name, a->failure.rc, cases[i].rc);
		CHECK_INT(cases[i].name, a->failure.stage, CLIENT_UNSENT);
		CHECK_INT(cases[i].name, a->failure.reused, false);
		CHECK_INT(cases[i].name, client_group_connections(group), 0);
		end_ask(a);
		if (cases[i].says)
			close(fd);
	}
}

/* ---- flow ---- */

static char much[BODY_MAX];

static void test_slow_upstream(void **state)
{
	struct peer p;
	struct peer_stream *s;
	size_t sent = 0;

	(void)state;
	open_one(&p);
	p.thrifty = true;
	post(&asks[0], BODY_CHUNKED, 0);
	sent = write_to(&asks[0], much, BODY_MAX);
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	s = peer_request(&p, 1);
	for (unsigned i = 0; i < 20; i++) {
		peer_idle(loop, &p);
		if (asks[0].writables) {
			asks[0].writables = 0;
			sent += write_to(&asks[0], much + sent, BODY_MAX - sent);
		}
	}
	assert_int_equal(sent, WINDOW);
	assert_int_equal(s->body_n, WINDOW);
	/* The connection's window alone opens: nobody is told that there is room. */
	nghttp2_session_consume_connection(p.session, s->unread);
	peer_idle(loop, &p);
	assert_int_equal(asks[0].writables, 0);
	get(&asks[1]);
	PEER_UNTIL(loop, &p, p.nstreams == 3);
	p.thrifty = false;
	nghttp2_session_consume_stream(p.session, s->id, s->unread);
	while (sent < BODY_MAX) {
		PEER_UNTIL(loop, &p, asks[0].writables);
		asks[0].writables = 0;
		sent += write_to(&asks[0], much + sent, BODY_MAX - sent);
	}
	client_end(asks[0].c, NULL);
	PEER_UNTIL(loop, &p, s->ended);
	assert_int_equal(s->body_n, BODY_MAX);
	peer_close(&p);
}

/* Whatever already waits for the socket, one frame more fits or is not asked for. */
static void test_full_outbox(void **state)
{
	static const nghttp2_settings_entry wide[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
							 8 << 20 } };
	struct peer p;
	size_t sent[2] = { 0 };

	(void)state;
	post(&asks[0], BODY_CHUNKED, 0);
	post(&asks[1], BODY_CHUNKED, 0);
	peer_open(&p, accept_fd(), wide, 1);
	nghttp2_session_set_local_window_size(p.session, 0, 0, 8 << 20);
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	for (size_t n = 16300; n < 16400; n++) {
		/* All in one turn: nothing goes out in between. */
		sent[0] += write_to(&asks[0], much, 2 * 16384 + n);
		sent[1] += write_to(&asks[1], much, 16384);
		PEER_UNTIL(loop, &p,
			   peer_request(&p, 0)->body_n == sent[0] &&
				   peer_request(&p, 1)->body_n == sent[1]);
	}
	assert_true(sent[0] > 0 && sent[1] > 0);
	assert_int_equal(asks[0].failures + asks[1].failures, 0);
	peer_close(&p);
}

/* Who does not take stops only what comes for him. */
static void test_slow_taker(void **state)
{
	struct peer p;
	struct peer_stream *slow, *fast;

	(void)state;
	open_one(&p);
	get(&asks[0]);
	get(&asks[1]);
	asks[0].take = 10;
	PEER_UNTIL(loop, &p, p.nstreams == 3);
	slow = peer_request(&p, 1);
	fast = peer_request(&p, 2);
	slow->trailer_name = "grpc-status";
	slow->trailer_value = "3";
	peer_answer(&p, slow, "200", NULL, NULL, much, 2 * WINDOW, false);
	peer_idle(loop, &p);
	assert_int_equal(asks[0].body_n, 10);
	assert_true(slow->said >= WINDOW && slow->said < WINDOW + 32);
	peer_answer(&p, fast, "200", NULL, NULL, much, BODY_MAX, false);
	PEER_UNTIL(loop, &p, asks[1].ends);
	assert_int_equal(asks[1].body_n, BODY_MAX);
	assert_int_equal(asks[0].body_n, 10);
	assert_int_equal(asks[0].ends, 0);
	while (!asks[0].ends) {
		asks[0].take = 1000;
		client_resume(asks[0].c);
		PEER_UNTIL(loop, &p, asks[0].take == 0 || asks[0].ends);
	}
	assert_int_equal(asks[0].body_n, 2 * WINDOW);
	assert_string_equal(asks[0].trailer, "3");
	peer_close(&p);
}

/* A response that is complete is delivered, even when the connection went meanwhile. */
static void test_complete_before_the_loss(void **state)
{
	struct peer p;
	struct peer_stream *s;

	(void)state;
	open_one(&p);
	get(&asks[0]);
	get(&asks[1]);
	asks[0].take = 0;
	PEER_UNTIL(loop, &p, p.nstreams == 3);
	s = peer_request(&p, 1);
	s->trailer_name = "grpc-status";
	s->trailer_value = "0";
	peer_answer(&p, s, "200", NULL, NULL, much, 1000, false);
	peer_idle(loop, &p);
	peer_close(&p);
	PUMP_UNTIL(loop, asks[1].failures);
	assert_int_equal(asks[0].failures, 0);
	assert_false(asks[1].failure.shared);
	asks[0].take = SIZE_MAX;
	client_resume(asks[0].c);
	PUMP_UNTIL(loop, asks[0].ends);
	assert_int_equal(asks[0].body_n, 1000);
	assert_string_equal(asks[0].trailer, "0");
}

/* Nobody wants what is left of a request that is answered: it is taken back, for what ends looks
 * whole. */
static void test_complete_before_the_request(void **state)
{
	struct peer p;
	struct peer_stream *s;

	(void)state;
	open_one(&p);
	post(&asks[0], BODY_CHUNKED, 0);
	asks[0].take = 0;
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	s = peer_request(&p, 1);
	assert_int_equal(write_to(&asks[0], "half", 4), 4);
	PEER_UNTIL(loop, &p, s->body_n == 4);
	peer_answer(&p, s, "200", NULL, NULL, "ok", 2, false);
	peer_idle(loop, &p);
	assert_int_equal(write_to(&asks[0], "lost", 4), 4);
	client_end(asks[0].c, NULL);
	peer_idle(loop, &p);
	asks[0].take = SIZE_MAX;
	client_resume(asks[0].c);
	PEER_UNTIL(loop, &p, asks[0].ends);
	end_ask(&asks[0]);
	PEER_UNTIL(loop, &p, s->reset || s->ended);
	assert_true(s->reset);
	assert_int_equal(s->body_n, 4);
	peer_close(&p);
}

/* ---- what breaks ---- */

static void test_resets(void **state)
{
	static const struct {
		const char *name;
		uint32_t code;
		bool head, end; /* come before */
		int rc;		/* 0: no failure */
		enum client_stage stage;
		bool reused;
	} cases[] = {
		{ "refused", NGHTTP2_REFUSED_STREAM, false, false, -EAGAIN, CLIENT_UNSENT, true },
		{ "internal", NGHTTP2_INTERNAL_ERROR, false, false, -ECONNABORTED, CLIENT_SENT,
		  false },
		{ "no error, no answer", NGHTTP2_NO_ERROR, false, false, -ECONNABORTED, CLIENT_SENT,
		  false },
		{ "in the content", NGHTTP2_CANCEL, true, false, -ECONNABORTED, CLIENT_BODY,
		  false },
		{ "refused too late", NGHTTP2_REFUSED_STREAM, true, false, -ECONNABORTED,
		  CLIENT_BODY, false },
		{ "after the answer", NGHTTP2_NO_ERROR, true, true, 0, 0, false },
	};
	struct peer p;

	(void)state;
	open_one(&p);
	get(&asks[7]); /* one that nothing happens to */
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct ask *a = &asks[0];
		struct peer_stream *s;

		post(a, BODY_CHUNKED, 0);
		write_to(a, "x", 1);
		PEER_UNTIL(loop, &p, p.nstreams == i + 3);
		s = peer_request(&p, i + 2);
		if (cases[i].head)
			peer_answer(&p, s, "200", NULL, NULL, "ok", 2, !cases[i].end);
		PEER_UNTIL(loop, &p, a->heads == cases[i].head && a->ends == cases[i].end);
		nghttp2_submit_rst_stream(p.session, 0, s->id, cases[i].code);
		peer_idle(loop, &p);
		CHECK_INT(cases[i].name, a->failures, cases[i].rc != 0);
		if (cases[i].rc) {
			CHECK_INT(cases[i].name, a->failure.rc, cases[i].rc);
			CHECK_INT(cases[i].name, a->failure.stage, cases[i].stage);
			CHECK_INT(cases[i].name, a->failure.reused, cases[i].reused);
		}
		/* What is written after the end is dropped. */
		CHECK_INT(cases[i].name, write_to(a, "more", 4), 4);
		end_ask(a);
	}
	assert_int_equal(asks[7].failures, 0);
	peer_answer(&p, peer_request(&p, 1), "200", NULL, NULL, "ok", 2, false);
	PEER_UNTIL(loop, &p, asks[7].ends);
	peer_close(&p);
}

static void test_malformed(void **state)
{
	static const struct {
		const char *name, *status, *field, *value;
		unsigned heads;
	} cases[] = {
		{ "longer than its length", "200", "content-length", "1", 1 },
		{ "shorter than its length", "200", "content-length", "9", 1 },
		{ "length that is no number", "200", "content-length", "2x", 0 },
		{ "a connection's field", "200", "connection", "close", 0 },
		{ "transfer coding", "200", "transfer-encoding", "chunked", 0 },
		{ "a name with a space", "200", "x y", "z", 0 },
		{ "a value with a line break", "200", "x-test", "a\r\nb: c", 0 },
		{ "a request's pseudo-header field", "200", ":path", "/", 0 },
		{ "an unknown pseudo-header field", "200", ":what", "x", 0 },
		{ "a status that is none", "20", NULL, NULL, 0 },
		{ "a status out of range", "999", NULL, NULL, 0 },
		{ "101", "101", NULL, NULL, 0 },
		{ "an interim answer that ends", "103", NULL, NULL, 0 },
	};
	struct peer p;

	(void)state;
	open_one(&p);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct ask *a = &asks[0];
		struct peer_stream *s;

		post(a, BODY_CHUNKED, 0);
		PEER_UNTIL(loop, &p, p.nstreams == i + 2);
		s = peer_request(&p, i + 1);
		peer_answer(&p, s, cases[i].status, cases[i].field, cases[i].value, "ok", 2, false);
		PEER_UNTIL(loop, &p, a->failures || a->ends);
		CHECK_INT(cases[i].name, a->ends, 0);
		CHECK_INT(cases[i].name, a->heads, cases[i].heads);
		CHECK_INT(cases[i].name, a->failure.rc, -EBADMSG);
		CHECK_INT(cases[i].name, a->failure.stage >= CLIENT_SENT, true);
		end_ask(a);
		PEER_UNTIL(loop, &p, s->reset);
	}
	assert_int_equal(client_stats(pool)->opened, 1);
	peer_close(&p);
}

static void test_goaway(void **state)
{
	struct peer p, q;

	(void)state;
	open_one(&p);
	for (unsigned i = 0; i < 3; i++)
		get(&asks[i]);
	PEER_UNTIL(loop, &p, p.nstreams == 4);
	nghttp2_submit_goaway(p.session, 0, peer_request(&p, 2)->id, NGHTTP2_NO_ERROR, NULL, 0);
	PEER_UNTIL(loop, &p, asks[2].failures);
	/* What it will not answer may go elsewhere, the rest is answered. */
	assert_int_equal(asks[2].failure.rc, -EAGAIN);
	assert_int_equal(asks[2].failure.stage, CLIENT_UNSENT);
	assert_true(asks[2].failure.reused);
	assert_int_equal(asks[0].failures + asks[1].failures, 0);
	end_ask(&asks[2]);
	get(&asks[3]);
	accept_peer(&q);
	PEER_UNTIL(loop, &q, q.nstreams == 1);
	for (unsigned i = 0; i < 2; i++) {
		peer_answer(&p, peer_request(&p, i + 1), "200", NULL, NULL, "ok", 2, false);
		PEER_UNTIL(loop, &p, asks[i].ends == 1);
		end_ask(&asks[i]);
	}
	/* Nobody needs it any more. */
	PEER_UNTIL(loop, &p, p.closed);
	assert_int_equal(client_stats(pool)->open, 1);
	peer_close(&p);
	peer_close(&q);
}

static void test_connection_lost(void **state)
{
	struct peer p;
	unsigned shared = 0;

	(void)state;
	open_one(&p);
	for (unsigned i = 0; i < 3; i++)
		get(&asks[i]);
	PEER_UNTIL(loop, &p, p.nstreams == 4);
	peer_answer(&p, peer_request(&p, 2), "200", NULL, NULL, "o", 1, true);
	PEER_UNTIL(loop, &p, asks[1].body_n == 1);
	peer_close(&p);
	PUMP_UNTIL(loop, asks[0].failures + asks[1].failures + asks[2].failures == 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(asks[i].failure.rc, -ECONNRESET);
		assert_int_equal(asks[i].failure.stage, i == 1 ? CLIENT_BODY : CLIENT_SENT);
		assert_false(asks[i].failure.reused);
		shared += asks[i].failure.shared;
	}
	assert_int_equal(shared, 2);
	/* The next one opens another. Who finds that it had gone while it idled may not blame who
	 * serves there. */
	end_ask(&asks[0]);
	open_one(&p);
	get(&asks[0]);
	pump_idle(loop);
	peer_close(&p);
	PUMP_UNTIL(loop, asks[0].failures);
	assert_true(asks[0].failure.reused);
	assert_int_equal(asks[0].failure.stage, CLIENT_SENT);
}

static void test_nobody_there(void **state)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	(void)state;
	assert_int_equal(getsockname(listening, (struct sockaddr *)&sa, &len), 0);
	close(listening);
	get(&asks[0]);
	get(&asks[1]);
	PUMP_UNTIL(loop, asks[0].failures && asks[1].failures);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(asks[i].failure.rc, -ECONNREFUSED);
		assert_int_equal(asks[i].failure.stage, CLIENT_CONNECTING);
	}
	assert_int_equal(client_stats(pool)->failed_connects, 1);
	listening = socket(AF_INET, SOCK_STREAM, 0);
}

static void test_cancel(void **state)
{
	struct peer p;

	(void)state;
	open_one(&p);
	post(&asks[0], BODY_CHUNKED, 0);
	write_to(&asks[0], "x", 1);
	get(&asks[1]);
	get(&asks[2]);
	asks[2].close_in_head = true;
	/* One that is given up before it was sent is never seen. */
	get(&asks[3]);
	end_ask(&asks[3]);
	PEER_UNTIL(loop, &p, p.nstreams == 4);
	end_ask(&asks[0]);
	PEER_UNTIL(loop, &p, peer_request(&p, 1)->reset);
	assert_int_equal(peer_request(&p, 1)->reset_code, NGHTTP2_CANCEL);
	assert_false(peer_request(&p, 1)->ended);
	peer_answer(&p, peer_request(&p, 3), "200", NULL, NULL, much, 100000, false);
	PEER_UNTIL(loop, &p, peer_request(&p, 3)->reset);
	peer_answer(&p, peer_request(&p, 2), "200", NULL, NULL, "ok", 2, false);
	PEER_UNTIL(loop, &p, asks[1].ends);
	assert_int_equal(p.nstreams, 4);
	assert_false(p.closed);
	peer_close(&p);
}

static void frame(uint8_t out[9], size_t n, uint8_t type, uint8_t flags, uint32_t id)
{
	const uint8_t head[9] = {
		0,	    (uint8_t)(n >> 8),	 (uint8_t)n,	      type,
		flags,	    (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
		(uint8_t)id
	};

	memcpy(out, head, sizeof(head));
}

/* Whatever becomes of a header block, its fields are nobody else's trailers. */
static void test_fields_of_another(void **state)
{
	static const struct {
		const char *name;
		uint8_t block[20], n, flags;
		bool cancel;
	} cases[] = {
		{ "given up inside its head",
		  { 0x88, 0x00, 11, 'g', 'r', 'p', 'c', '-', 's', 't', 'a', 't', 'u', 's', 1, '7' },
		  16,
		  0,
		  true },
		{ "no :status",
		  { 0x00, 11, 'g', 'r', 'p', 'c', '-', 's', 't', 'a', 't', 'u', 's', 1, '7' },
		  15,
		  NGHTTP2_FLAG_END_HEADERS,
		  false },
		{ "a malformed name behind it",
		  { 0x88, 0x00, 11,  'g', 'r', 'p', 'c',  '-', 's', 't',
		    'a',  't',	'u', 's', 1,   '7', 0x00, 1,   'X', 0 },
		  20,
		  NGHTTP2_FLAG_END_HEADERS,
		  false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t bytes[9 + sizeof(cases[i].block)], rest[9];
		struct peer p;

		open_one(&p);
		get(&asks[1]);
		get(&asks[2]);
		PEER_UNTIL(loop, &p, p.nstreams == 3);
		peer_answer(&p, peer_request(&p, 2), "200", NULL, NULL, "ok", 2, true);
		PEER_UNTIL(loop, &p, asks[2].body_n == 2);
		frame(bytes, cases[i].n, NGHTTP2_HEADERS, cases[i].flags,
		      (uint32_t)peer_request(&p, 1)->id);
		memcpy(bytes + 9, cases[i].block, cases[i].n);
		peer_bytes(&p, bytes, 9 + cases[i].n);
		peer_idle(loop, &p);
		if (cases[i].cancel) {
			end_ask(&asks[1]);
			frame(rest, 0, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS,
			      (uint32_t)peer_request(&p, 1)->id);
			peer_bytes(&p, rest, sizeof(rest));
			peer_idle(loop, &p);
		} else {
			CHECK_INT(cases[i].name, asks[1].failures, 1);
			end_ask(&asks[1]);
		}
		peer_continue(&p, peer_request(&p, 2), "ok", 2, false);
		PEER_UNTIL(loop, &p, asks[2].ends);
		CHECK_INT(cases[i].name, asks[2].trailers, 0);
		end_ask(&asks[2]);
		peer_close(&p);
		pump_idle(loop);
	}
}

/* ---- how many ---- */

static void test_peer_limit(void **state)
{
	static const nghttp2_settings_entry two[] = { { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
							2 } };
	struct peer p, q;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		get(&asks[i]);
	assert_int_equal(client_group_connections(group), 1);
	peer_open(&p, accept_fd(), two, 1);
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	/* The third was put there when nobody knew. */
	PEER_UNTIL(loop, &p, asks[2].failures);
	assert_int_equal(asks[2].failure.stage, CLIENT_UNSENT);
	assert_true(asks[2].failure.reused);
	end_ask(&asks[2]);
	get(&asks[2]);
	get(&asks[3]);
	get(&asks[4]);
	assert_int_equal(client_group_connections(group), 3);
	peer_open(&q, accept_fd(), two, 1);
	PEER_UNTIL(loop, &q, q.nstreams == 2);
	peer_idle(loop, &p);
	assert_int_equal(p.nstreams, 2);
	assert_int_equal(asks[0].failures + asks[3].failures + asks[4].failures, 0);
	peer_close(&p);
	peer_close(&q);
}

static void test_pool_cap(void **state)
{
	struct client *c;
	struct peer p;

	(void)state;
	open_one(&p);
	peer_idle(loop, &p);
	/* The idle connection makes room for the last of four others. */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(client_open(&asks[i].c, pool, &at), 0);
	assert_int_equal(client_stats(pool)->open, 4);
	assert_int_equal(client_open(&asks[3].c, pool, &at), 0);
	assert_int_equal(client_stats(pool)->open, 4);
	PEER_UNTIL(loop, &p, p.closed);
	assert_int_equal(client_group_connections(group), 0);
	assert_int_equal(client_group_open(group, &c), -ENOMEM);
	peer_close(&p);
}

static void test_idle(void **state)
{
	struct peer p, q;

	(void)state;
	open_one(&p);
	PEER_UNTIL(loop, &p, p.closed);
	assert_true(p.goaway);
	assert_int_equal(p.goaway_code, NGHTTP2_NO_ERROR);
	peer_close(&p);
	/* When nothing new is to go there it does not wait, but for the streams it has. */
	open_one(&p);
	get(&asks[0]);
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	client_group_keep(group, false);
	peer_idle(loop, &p);
	assert_false(p.closed);
	peer_answer(&p, peer_request(&p, 1), "200", NULL, NULL, "ok", 2, false);
	PEER_UNTIL(loop, &p, asks[0].ends);
	end_ask(&asks[0]);
	peer_idle(loop, &p);
	assert_true(p.closed);
	peer_close(&p);
	client_group_keep(group, true);
	open_one(&q);
	peer_idle(loop, &q);
	client_group_keep(group, false);
	peer_idle(loop, &q);
	assert_true(q.closed);
	peer_close(&q);
}

static void test_limits(void **state)
{
	const struct client_limits tight = { .connect_ms = 1500, .head_ms = 30, .idle_ms = 30 };
	struct peer p;

	(void)state;
	open_one(&p);
	request_with(&asks[0], SLICE("GET"), METHOD_GET, BODY_NONE, 0, NULL, &tight);
	request_with(&asks[1], SLICE("GET"), METHOD_GET, BODY_NONE, 0, NULL, &tight);
	request_with(&asks[2], SLICE("GET"), METHOD_GET, BODY_NONE, 0, NULL, &tight);
	asks[2].take = 0;
	request_with(&asks[3], SLICE("POST"), METHOD_POST, BODY_CHUNKED, 0, NULL, &tight);
	p.thrifty = true;
	(void)write_to(&asks[3], much, BODY_MAX);
	PEER_UNTIL(loop, &p, p.nstreams == 5 && asks[3].writables);
	(void)write_to(&asks[3], much, BODY_MAX); /* until the window is shut */
	peer_answer(&p, peer_request(&p, 2), "200", NULL, NULL, "o", 1, true);
	peer_answer(&p, peer_request(&p, 3), "200", NULL, NULL, "o", 1, true);
	PEER_UNTIL(loop, &p, asks[0].failures && asks[1].failures && asks[3].failures);
	assert_int_equal(asks[0].failure.rc, -ETIME);
	assert_int_equal(asks[0].failure.stage, CLIENT_SENT);
	assert_int_equal(asks[1].failure.rc, -ETIME);
	assert_int_equal(asks[1].failure.stage, CLIENT_BODY);
	assert_int_equal(asks[3].failure.rc, -ETIME);
	/* Who does not take has himself to blame. */
	assert_int_equal(asks[2].failures, 0);
	client_idle_limit(asks[2].c, 0);
	asks[2].take = SIZE_MAX;
	client_resume(asks[2].c);
	PEER_UNTIL(loop, &p, asks[2].body_n == 1);
	peer_close(&p);
}

/* ---- floods ---- */

static void test_floods(void **state)
{
	static const struct {
		const char *name;
		uint8_t type;
		size_t n;
		bool on_stream;
	} cases[] = {
		{ "PING", NGHTTP2_PING, 8, false },
		{ "SETTINGS", NGHTTP2_SETTINGS, 0, false },
		{ "unknown frames", 0xf0, 16, false },
		{ "empty DATA", NGHTTP2_DATA, 0, true },
		{ "PRIORITY", NGHTTP2_PRIORITY, 5, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t bytes[9 + 16] = { 0 };
		struct peer p;
		unsigned sent = 0;

		get(&asks[0]);
		accept_peer(&p);
		PEER_UNTIL(loop, &p, p.nstreams == 1);
		if (cases[i].type == NGHTTP2_PRIORITY)
			bytes[9 + 3] = 3; /* depends on another */
		frame(bytes, cases[i].n, cases[i].type, 0,
		      cases[i].on_stream ? (uint32_t)peer_request(&p, 0)->id : 0);
		peer_answer(&p, peer_request(&p, 0), "200", NULL, NULL, NULL, 0, true);
		PEER_UNTIL(loop, &p, asks[0].heads);
		while (!asks[0].failures && sent < 40000) {
			for (unsigned j = 0; j < 64; j++, sent++)
				peer_bytes(&p, bytes, 9 + cases[i].n);
			peer_idle(loop, &p);
		}
		CHECK_INT(cases[i].name, asks[0].failures, 1);
		CHECK_INT(cases[i].name, asks[0].failure.rc, -EBADMSG);
		CHECK_INT(cases[i].name, client_stats(pool)->open, 0);
		end_ask(&asks[0]);
		peer_close(&p);
	}
}

static void test_heads_too_many(void **state)
{
	static char large[16000];
	struct peer p;
	struct peer_stream *s;
	nghttp2_nv nv[200];

	(void)state;
	open_one(&p);
	get(&asks[0]);
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	for (unsigned i = 0; i < 100 && !asks[0].failures; i++) {
		peer_inform(&p, peer_request(&p, 1), "103");
		peer_idle(loop, &p);
	}
	assert_int_equal(asks[0].failure.rc, -EBADMSG);
	assert_true(asks[0].informs <= 32);
	end_ask(&asks[0]);
	/* One head, many fields; then few, long ones, which the compression makes small. */
	memset(large, 'x', sizeof(large) - 1);
	for (unsigned round = 0; round < 2; round++) {
		size_t n = round == 0 ? ARRAY_LEN(nv) : 4;

		get(&asks[1]);
		PEER_UNTIL(loop, &p, p.nstreams == 3 + round);
		s = peer_request(&p, 2 + round);
		nv[0] = (nghttp2_nv){ (uint8_t *)":status", (uint8_t *)"200", 7, 3, 0 };
		for (size_t i = 1; i < n; i++)
			nv[i] = (nghttp2_nv){ (uint8_t *)"x-many", (uint8_t *)large, 6,
					      round == 0 ? 1 : sizeof(large) - 1, 0 };
		nghttp2_submit_response(p.session, s->id, nv, n, NULL);
		PEER_UNTIL(loop, &p, asks[1].failures);
		assert_int_equal(asks[1].failure.rc, -EBADMSG);
		assert_int_equal(asks[1].heads, 0);
		end_ask(&asks[1]);
	}
	/* The connection is well. */
	get(&asks[2]);
	PEER_UNTIL(loop, &p, p.nstreams == 5);
	peer_answer(&p, peer_request(&p, 4), "200", NULL, NULL, "ok", 2, false);
	PEER_UNTIL(loop, &p, asks[2].ends);
	peer_close(&p);
}

/* ---- tunnels ---- */

static void connect_to(struct ask *a)
{
	request_with(a, SLICE("GET"), METHOD_GET, BODY_NONE, 0, "websocket", &limits);
}

static void test_tunnel(void **state)
{
	struct peer p;
	struct peer_stream *s;

	(void)state;
	connect_to(&asks[0]);
	accept_peer(&p);
	PEER_UNTIL(loop, &p, p.nstreams == 1);
	s = peer_request(&p, 0);
	assert_string_equal(s->method, "CONNECT");
	assert_string_equal(s->protocol, "websocket");
	assert_string_equal(s->path, "/x?y");
	assert_false(s->ended);
	peer_answer(&p, s, "200", NULL, NULL, NULL, 0, true);
	PEER_UNTIL(loop, &p, asks[0].heads);
	assert_int_equal(asks[0].status, 101);
	assert_int_equal(write_to(&asks[0], "ping", 4), 4);
	PEER_UNTIL(loop, &p, s->body_n == 4);
	peer_continue(&p, s, "pong", 4, true);
	PEER_UNTIL(loop, &p, asks[0].body_n == 4);
	client_end(asks[0].c, NULL);
	PEER_UNTIL(loop, &p, s->ended);
	peer_continue(&p, s, "bye", 3, false);
	PEER_UNTIL(loop, &p, asks[0].ends);
	assert_int_equal(asks[0].body_n, 7);
	end_ask(&asks[0]);
	/* One that is not granted is an answer like others. */
	connect_to(&asks[1]);
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	s = peer_request(&p, 1);
	peer_answer(&p, s, "404", NULL, NULL, "no", 2, false);
	PEER_UNTIL(loop, &p, asks[1].ends && s->ended);
	assert_int_equal(asks[1].status, 404);
	peer_close(&p);
}

/* The upstream has said all it has to say, and still listens. */
static void test_tunnel_half_closed(void **state)
{
	struct peer p;
	struct peer_stream *s;

	(void)state;
	connect_to(&asks[0]);
	accept_peer(&p);
	PEER_UNTIL(loop, &p, p.nstreams == 1);
	s = peer_request(&p, 0);
	peer_answer(&p, s, "200", NULL, NULL, NULL, 0, true);
	PEER_UNTIL(loop, &p, asks[0].heads);
	peer_continue(&p, s, "bye", 3, false);
	PEER_UNTIL(loop, &p, asks[0].ends);
	assert_int_equal(write_to(&asks[0], "late", 4), 4);
	PEER_UNTIL(loop, &p, s->body_n == 4);
	client_end(asks[0].c, NULL);
	PEER_UNTIL(loop, &p, s->ended);
	end_ask(&asks[0]);
	peer_close(&p);
}

/* The upstream is done and gone while the client's bytes wait for its window. */
static void test_tunnel_left(void **state)
{
	static const uint8_t no_error[4];
	uint8_t bytes[9 + 9 + sizeof(no_error)];
	struct peer p;
	uint32_t id;

	(void)state;
	connect_to(&asks[0]);
	peer_open(&p, accept_fd(), plenty, ARRAY_LEN(plenty));
	p.thrifty = true;
	PEER_UNTIL(loop, &p, p.nstreams == 1);
	id = (uint32_t)peer_request(&p, 0)->id;
	peer_answer(&p, peer_request(&p, 0), "200", NULL, NULL, NULL, 0, true);
	PEER_UNTIL(loop, &p, asks[0].heads);
	while (write_to(&asks[0], much, 16384) == 16384)
		peer_idle(loop, &p);
	frame(bytes, 0, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id);
	frame(bytes + 9, sizeof(no_error), NGHTTP2_RST_STREAM, 0, id);
	memcpy(bytes + 18, no_error, sizeof(no_error));
	asks[0].writables = 0;
	peer_bytes(&p, bytes, sizeof(bytes));
	PEER_UNTIL(loop, &p, asks[0].ends && asks[0].writables);
	assert_int_equal(write_to(&asks[0], "more", 4), 4);
	peer_close(&p);
}

/* What is not sent leaves no trace in the state of header compression: those behind it come as
 * they were said. */
static void test_no_tunnel(void **state)
{
	static const nghttp2_settings_entry none[] = { { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
							 100 } };
	struct head h;
	struct peer p;

	(void)state;
	connect_to(&asks[0]);
	get(&asks[1]);
	peer_open(&p, accept_fd(), none, 1);
	PEER_UNTIL(loop, &p, asks[0].failures && p.nstreams == 1);
	assert_int_equal(asks[0].failure.rc, -EOPNOTSUPP);
	assert_int_equal(asks[0].failure.stage, CLIENT_UNSENT);
	/* From now on it is known. */
	head_init(&h);
	h.protocol = SLICE("websocket");
	end_ask(&asks[0]);
	assert_int_equal(client_group_open(group, &asks[0].c), 0);
	assert_int_equal(client_request(asks[0].c, &h, BODY_NONE, 0, &limits, &events, &asks[0]),
			 -EOPNOTSUPP);
	end_ask(&asks[0]);
	get(&asks[2]);
	PEER_UNTIL(loop, &p, p.nstreams == 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct peer_stream *s = peer_request(&p, i);

		assert_string_equal(s->method, "GET");
		assert_string_equal(s->path, "/x?y");
		assert_string_equal(s->authority, "a.test");
		assert_string_equal(s->protocol, "");
		assert_string_equal(s->te, "trailers");
		assert_string_equal(s->extra, "yes");
	}
	assert_false(p.broken);
	peer_close(&p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_request),
		TEST(test_bodies),
		TEST(test_content),
		TEST(test_before_settings),
		TEST(test_slow_upstream),
		TEST(test_full_outbox),
		TEST(test_slow_taker),
		TEST(test_complete_before_the_loss),
		TEST(test_complete_before_the_request),
		TEST(test_resets),
		TEST(test_malformed),
		TEST(test_goaway),
		TEST(test_connection_lost),
		TEST(test_nobody_there),
		TEST(test_cancel),
		TEST(test_fields_of_another),
		TEST(test_peer_limit),
		TEST(test_pool_cap),
		TEST(test_idle),
		TEST(test_limits),
		TEST(test_floods),
		TEST(test_heads_too_many),
		TEST(test_tunnel),
		TEST(test_tunnel_half_closed),
		TEST(test_tunnel_left),
		TEST(test_no_tunnel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
