/* HTTP/2 connections against libnghttp2's client, with prior knowledge on a plain listener: every
 * rule of exchange.h over frames, and the bounds of what a client may do. */
#include "check.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h1_rig.h"

#define ANSWERS 1024

struct answer {
	int status, informs;
	char field[64]; /* the value of x-sum or content-length, whatever came last */
	size_t body;
	bool pattern_ok, ended, closed;
	uint32_t code;
	int trailers;
};

struct talk {
	struct rig rig;
	int fd;
	nghttp2_session *session;
	struct answer answers[ANSWERS]; /* by stream id / 2 */
	const char *send;
	size_t send_n;
	bool open; /* more content comes behind it */
	bool hold; /* gives no window back */
	bool gone;
	int goaways;
	int32_t last_id;
	uint32_t goaway_code;
};

static struct answer *answer_of(struct talk *t, int32_t id)
{
	assert_true(id > 0 && id / 2 < ANSWERS);
	return &t->answers[id / 2];
}

/* ---- what the client hears ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t nname, const uint8_t *value, size_t nvalue, uint8_t flags, void *arg)
{
	struct answer *a = answer_of(arg, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (slice_eq(slice_of(name, nname), SLICE(":status"))) {
		a->informs += a->status > 0;
		a->status = atoi((const char *)value);
	} else if (a->status == 0 || frame->headers.cat == NGHTTP2_HCAT_HEADERS) {
		a->trailers += a->status >= 200;
	}
	snprintf(a->field, sizeof(a->field), "%.*s", (int)nvalue, (const char *)value);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct talk *t = arg;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		t->goaways++;
		t->goaway_code = frame->goaway.error_code;
		t->last_id = frame->goaway.last_stream_id;
	}
	if (frame->hd.stream_id && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    frame->hd.type != NGHTTP2_RST_STREAM)
		answer_of(t, frame->hd.stream_id)->ended = true;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *arg)
{
	struct talk *t = arg;
	struct answer *a = answer_of(t, id);

	(void)flags;
	for (size_t i = 0; i < n; i++)
		a->pattern_ok &= p[i] == (uint8_t)rig_pattern(a->body + i);
	a->body += n;
	if (!t->hold)
		nghttp2_session_consume(session, id, n);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct answer *a = answer_of(arg, id);

	(void)session;
	a->closed = true;
	a->code = code;
	return 0;
}

/* ---- driving ---- */

static void step(struct talk *t)
{
	static uint8_t in[65536];
	const uint8_t *p;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(t->session, &p)) > 0)
		rig_say_bytes(&t->rig, t->fd, (const char *)p, (size_t)n);
	ev_run(loop_ev(t->rig.loop), EVRUN_NOWAIT);
	n = t->gone ? -1 : recv(t->fd, in, sizeof(in), 0);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		t->gone = true;
	if (n > 0)
		assert_int_equal(nghttp2_session_mem_recv(t->session, in, (size_t)n), n);
}

#define UNTIL(t, condition)                                                 \
	do {                                                                \
		uint64_t began_us = loop_clock_us();                        \
		while (!(condition)) {                                      \
			if (loop_clock_us() - began_us > 5000000)           \
				fail_msg("%s: not within 5 s", #condition); \
			step(t);                                            \
		}                                                           \
	} while (0)

static void start(struct talk *t, const struct server_config *config)
{
	struct server_config c;
	nghttp2_session_callbacks *cb;
	int on = 1;
	nghttp2_option *o;

	memset(t, 0, sizeof(*t));
	server_config_default(&c);
	if (config)
		c = *config;
	c.h2c = true;
	rig_start(&t->rig, &c);
	t->fd = rig_connect(&t->rig);
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (size_t i = 0; i < ANSWERS; i++)
		t->answers[i].pattern_ok = true;
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_option_new(&o);
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_peer_max_concurrent_streams(o, 1000);
	nghttp2_option_set_no_http_messaging(o, 1);
	nghttp2_session_client_new2(&t->session, cb, t, o);
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(t->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void stop(struct talk *t)
{
	nghttp2_session_del(t->session);
	close(t->fd);
	rig_stop(&t->rig);
}

#define NV(n, v)                                                                           \
	{                                                                                  \
		(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE \
	}

static ssize_t on_source(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
			 uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct talk *t = arg;
	size_t n = MIN(length, t->send_n);

	(void)session;
	(void)id;
	(void)source;
	if (n == 0 && t->open)
		return NGHTTP2_ERR_DEFERRED;
	memcpy(buf, t->send, n);
	t->send += n;
	t->send_n -= n;
	if (t->send_n == 0 && !t->open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* GET, or POST with <body>; one more field when <name>. */
static int32_t ask(struct talk *t, const char *method, const char *body, size_t n, const char *name,
		   const char *value)
{
	nghttp2_data_provider content = { .read_callback = on_source };
	nghttp2_nv nv[] = { NV(":method", method), NV(":scheme", "http"), NV(":path", "/x"),
			    NV(":authority", "a.test"), NV(name ? name : "", value ? value : "") };

	t->send = body;
	t->send_n = n;
	return nghttp2_submit_request(t->session, NULL, nv, name ? 5 : 4, body ? &content : NULL,
				      NULL);
}

static struct answer *get(struct talk *t)
{
	struct answer *a = answer_of(t, ask(t, "GET", NULL, 0, NULL, NULL));

	UNTIL(t, a->closed);
	return a;
}

/* ---- exchanges ---- */

static const struct {
	const char *name, *method;
	enum rig_script script;
	unsigned status;
	size_t big;
	int want_status;
	size_t want_body;
	bool ends;
	uint32_t code;
} answers[] = {
	{ "a short answer", "GET", RIG_OK, 0, 0, 200, 2, true, 0 },
	{ "pieces of unknown length and trailers", "GET", RIG_CHUNKED, 0, 0, 200, 11, true, 0 },
	{ "204", "GET", RIG_EMPTY, 204, 0, 204, 0, true, 0 },
	{ "304", "GET", RIG_EMPTY, 304, 0, 304, 0, true, 0 },
	{ "HEAD", "HEAD", RIG_OK, 0, 0, 200, 0, true, 0 },
	{ "20 MB", "GET", RIG_BIG, 0, 20000000, 200, 20000000, true, 0 },
	{ "a frame's worth", "GET", RIG_BIG, 0, 16384, 200, 16384, true, 0 },
	{ "a frame's worth and one", "GET", RIG_BIG, 0, 16385, 200, 16385, true, 0 },
	{ "less than promised", "GET", RIG_SHORT, 0, 0, 0, 0, false, NGHTTP2_INTERNAL_ERROR },
	{ "more than promised", "GET", RIG_LONG, 0, 0, 0, 0, false, NGHTTP2_INTERNAL_ERROR },
	{ "aborted", "GET", RIG_ABORT, 0, 0, 0, 0, false, NGHTTP2_INTERNAL_ERROR },
};

static void test_answers(void **state)
{
	struct talk t;

	(void)state;
	start(&t, NULL);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct answer *a;

		t.rig.script = answers[i].script;
		t.rig.status = answers[i].status;
		t.rig.big_bytes = answers[i].big;
		t.rig.big_length = i % 2;
		a = answer_of(&t, ask(&t, answers[i].method, NULL, 0, NULL, NULL));
		UNTIL(&t, a->closed && t.rig.closes == i + 1);
		CHECK_INT(answers[i].name, a->code, answers[i].code);
		CHECK_INT(answers[i].name, a->ended, answers[i].ends);
		CHECK_INT(answers[i].name, t.rig.why != NULL, !answers[i].ends);
		if (answers[i].ends)
			CHECK_INT(answers[i].name, a->status, answers[i].want_status);
		if (answers[i].ends)
			CHECK_INT(answers[i].name, a->body, answers[i].want_body);
		if (answers[i].big)
			CHECK_INT(answers[i].name, a->pattern_ok, true);
		CHECK_INT(answers[i].name, a->trailers, answers[i].script == RIG_CHUNKED ? 1 : 0);
	}
	stop(&t);
}

static void test_upload(void **state)
{
	static char body[4000000];
	struct talk t;
	struct answer *a;

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = rig_pattern(i);
	start(&t, NULL);
	t.rig.script = RIG_COUNT;
	a = answer_of(&t, ask(&t, "POST", body, sizeof(body), NULL, NULL));
	UNTIL(&t, a->closed);
	assert_int_equal(a->status, 200);
	assert_int_equal(t.rig.body_len, sizeof(body));
	assert_memory_equal(t.rig.body, body, sizeof(body));
	assert_int_equal(t.rig.ends, 1);

	t.rig.script = RIG_ECHO;
	a = answer_of(&t, ask(&t, "POST", body, 7000, "content-length", "7000"));
	UNTIL(&t, a->closed);
	assert_int_equal(a->body, 7000);
	assert_true(a->pattern_ok);
	a = answer_of(&t, ask(&t, "POST", body, 1, "expect", "100-continue"));
	UNTIL(&t, a->closed);
	assert_int_equal(a->informs, 1);
	assert_int_equal(a->status, 200);
	stop(&t);
}

/* One half of a tunnel ends, the other goes on. */
static void test_tunnel_halves(void **state)
{
	nghttp2_data_provider content = { .read_callback = on_source };
	nghttp2_nv nv[] = { NV(":method", "CONNECT"), NV(":protocol", "echo"), NV(":scheme", "http"),
			    NV(":path", "/x"), NV(":authority", "a.test") };
	struct answer *a;
	struct talk t;
	int32_t id;

	(void)state;
	start(&t, NULL);
	t.rig.script = RIG_TUNNEL;
	t.open = true;
	id = nghttp2_submit_request(t.session, NULL, nv, ARRAY_LEN(nv), &content, NULL);
	a = answer_of(&t, id);
	UNTIL(&t, a->status == 200);
	exchange_end(t.rig.x, NULL);
	UNTIL(&t, a->ended);
	t.send = "more";
	t.send_n = 4;
	nghttp2_session_resume_data(t.session, id);
	UNTIL(&t, t.rig.body_len == 4 || a->closed);
	assert_int_equal(t.rig.body_len, 4);
	t.open = false;
	nghttp2_session_resume_data(t.session, id);
	UNTIL(&t, a->closed && t.rig.closes == 1);
	assert_int_equal(a->code, NGHTTP2_NO_ERROR);
	assert_int_equal(t.rig.ends, 1);
	assert_null(t.rig.why);
	stop(&t);
}

/* What the handler does not take fills the window and no more; others go on beside it. */
static void test_upload_refused(void **state)
{
	static char body[4000000];
	struct talk t;
	struct answer *a;
	struct exchange *x;

	(void)state;
	start(&t, NULL);
	t.rig.script = RIG_REFUSE;
	a = answer_of(&t, ask(&t, "POST", body, sizeof(body), NULL, NULL));
	UNTIL(&t, t.send_n <= sizeof(body) - 65535);
	for (int i = 0; i < 20; i++)
		step(&t);
	assert_int_equal(t.send_n, sizeof(body) - 65535);
	x = t.rig.x;
	{
		/* The source is one for all: a GET needs none. */
		size_t left = t.send_n;
		const char *rest = t.send;

		t.rig.script = RIG_OK;
		assert_int_equal(get(&t)->status, 200);
		t.send = rest;
		t.send_n = left;
	}
	assert_false(a->closed);
	t.rig.script = RIG_COUNT;
	t.rig.x = x;
	exchange_resume(x);
	UNTIL(&t, a->closed);
	assert_int_equal(a->status, 200);
	assert_int_equal(t.rig.body_len, sizeof(body));
	stop(&t);
}

/* A client that opens no window stops its own stream only. */
static void test_slow_reader(void **state)
{
	struct talk t;
	struct answer *a;

	(void)state;
	start(&t, NULL);
	t.rig.script = RIG_BIG;
	t.rig.big_bytes = 8000000;
	t.hold = true;
	/* Only the stream's window is to stand. */
	nghttp2_session_set_local_window_size(t.session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
	a = answer_of(&t, ask(&t, "GET", NULL, 0, NULL, NULL));
	UNTIL(&t, a->body == 65535);
	for (int i = 0; i < 20; i++)
		step(&t);
	assert_int_equal(a->body, 65535);
	assert_in_range(t.rig.big_sent, 65535, 65535 + 16384);
	{
		struct exchange *x = t.rig.x;

		t.rig.script = RIG_OK;
		assert_int_equal(get(&t)->status, 200);
		t.rig.x = x;
	}
	t.rig.script = RIG_BIG;
	t.hold = false;
	nghttp2_session_consume(t.session, 1, 65535);
	UNTIL(&t, a->closed);
	assert_int_equal(a->body, 8000000);
	assert_true(a->pattern_ok);
	stop(&t);
}

static const struct {
	const char *name, *body, *field, *value;
	int status;
	uint32_t code;
} bad[] = {
	{ "a space in a name", NULL, "x y", "z", 0, NGHTTP2_PROTOCOL_ERROR },
	{ "a connection-specific field", NULL, "transfer-encoding", "chunked", 0,
	  NGHTTP2_PROTOCOL_ERROR },
	{ "another Host", NULL, "host", "b.test", 0, NGHTTP2_PROTOCOL_ERROR },
	{ "LF in a value", NULL, "x", "a\nb", 0, NGHTTP2_PROTOCOL_ERROR },
	{ "more content than said", "abc", "content-length", "2", 0, NGHTTP2_PROTOCOL_ERROR },
	{ "less content than said", "abc", "content-length", "4", 0, NGHTTP2_PROTOCOL_ERROR },
	{ "no content but a length", NULL, "content-length", "4", 0, NGHTTP2_PROTOCOL_ERROR },
	{ ":status", NULL, ":status", "200", 0, NGHTTP2_PROTOCOL_ERROR },
};

static void test_malformed(void **state)
{
	struct talk t;

	(void)state;
	start(&t, NULL);
	t.rig.script = RIG_COUNT;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct answer *a = answer_of(&t, ask(&t, bad[i].body ? "POST" : "GET", bad[i].body,
						     bad[i].body ? strlen(bad[i].body) : 0,
						     bad[i].field, bad[i].value));

		UNTIL(&t, a->closed);
		CHECK_INT(bad[i].name, a->code, bad[i].code);
		CHECK_INT(bad[i].name, a->status, 0);
	}
	UNTIL(&t, t.rig.closes == t.rig.requests);
	t.rig.script = RIG_OK;
	assert_int_equal(get(&t)->status, 200);
	stop(&t);
}

static void test_large_head(void **state)
{
	static char value[40000];
	struct talk t;
	struct answer *a;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	start(&t, NULL);
	a = answer_of(&t, ask(&t, "GET", NULL, 0, "x", value));
	UNTIL(&t, a->closed);
	assert_int_equal(a->status, 431);
	assert_int_equal(t.rig.requests, 0);
	value[30000] = '\0';
	a = answer_of(&t, ask(&t, "GET", NULL, 0, "x", value));
	UNTIL(&t, a->closed);
	assert_int_equal(a->status, 200);
	value[3000] = '\0';
	a = answer_of(&t, ask(&t, "GET", NULL, 0, "x", value));
	UNTIL(&t, a->closed);
	assert_int_equal(a->status, 200);
	stop(&t);
}

static void on_drained(void *arg)
{
	bool *drained = arg;

	*drained = true;
}

/* Early requests are answered after the first GOAWAY, later ones are told that they were not. */
static void test_drain(void **state)
{
	struct talk t;
	struct answer *a;
	bool drained = false;
	struct head h;

	(void)state;
	start(&t, NULL);
	t.rig.script = RIG_WAIT;
	a = answer_of(&t, ask(&t, "GET", NULL, 0, NULL, NULL));
	UNTIL(&t, t.rig.x);
	server_drain(t.rig.server, 5000, on_drained, &drained);
	UNTIL(&t, t.goaways == 2);
	assert_int_equal(t.goaway_code, NGHTTP2_NO_ERROR);
	assert_int_equal(t.last_id, 1);
	assert_false(drained);
	head_init(&h);
	h.status = 200;
	assert_int_equal(exchange_respond(t.rig.x, &h, true), 0);
	UNTIL(&t, a->closed && t.gone);
	assert_int_equal(a->status, 200);
	close(t.fd);
	UNTIL(&t, drained);
	t.fd = socket(AF_INET, SOCK_STREAM, 0);
	stop(&t);
}

/* ---- bounds ---- */

static void test_rapid_reset(void **state)
{
	struct talk t;
	int sent = 0;

	(void)state;
	start(&t, NULL);
	t.rig.script = RIG_WAIT;
	for (; !t.gone && sent < 1000; sent++) {
		int32_t id = nghttp2_session_check_request_allowed(t.session) == 0
				     ? -1
				     : ask(&t, "GET", NULL, 0, NULL, NULL);

		if (id < 0) /* after GOAWAY */
			break;
		step(&t);
		nghttp2_submit_rst_stream(t.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
		step(&t);
	}
	UNTIL(&t, t.goaways);
	assert_int_equal(t.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
	assert_int_equal(server_stats(t.rig.server)->h2_reset_floods, 1);
	stop(&t);
}

/* Reads frames past the session, which would not bear answers to what it did not send. The code of a
 * GOAWAY, or -1. */
static int raw_goaway(struct talk *t)
{
	static uint8_t in[1 << 20];
	size_t n = 0, at = 0;
	ssize_t got;

	pump_idle(t->rig.loop);
	while ((got = recv(t->fd, in + n, sizeof(in) - n, 0)) > 0) {
		n += (size_t)got;
		pump_idle(t->rig.loop);
	}
	while (at + 9 <= n) {
		size_t len = (size_t)in[at] << 16 | (size_t)in[at + 1] << 8 | in[at + 2];

		if (in[at + 3] == NGHTTP2_GOAWAY)
			return in[at + 9 + 7];
		at += 9 + len;
	}
	return -1;
}

static void test_floods(void **state)
{
	static const struct {
		const char *name;
		uint8_t frame[32];
		size_t n;
	} floods[] = {
		{ "PING", { 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 }, 17 },
		{ "SETTINGS", { 0, 0, 0, 4, 0, 0, 0, 0, 0 }, 9 },
		{ "PRIORITY", { 0, 0, 5, 2, 0, 0, 0, 0, 9, 0, 0, 0, 3, 9 }, 14 },
		{ "WINDOW_UPDATE", { 0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 13 },
		{ "an unknown type", { 0, 0, 1, 0xf0, 0, 0, 0, 0, 0, 7 }, 10 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
		struct talk t;

		start(&t, NULL);
		UNTIL(&t, server_stats(t.rig.server)->h2_connections == 1);
		for (int n = 0; n < 2000; n++) {
			if (send(t.fd, floods[i].frame, floods[i].n, MSG_NOSIGNAL) < 0)
				break;
			if (n % 64 == 0)
				pump_idle(t.rig.loop);
		}
		CHECK_INT(floods[i].name, raw_goaway(&t), NGHTTP2_ENHANCE_YOUR_CALM);
		CHECK_INT(floods[i].name, server_stats(t.rig.server)->h2_frame_floods, 1);
		stop(&t);
	}
}

/* Streams that stand because of their windows are given up after a while; and each of them is a
 * block at most. */
static void test_window_stall(void **state)
{
	struct server_config c;
	struct talk t;
	struct answer *a;

	(void)state;
	server_config_default(&c);
	c.write_timeout_ms = 100;
	start(&t, &c);
	t.rig.script = RIG_BIG;
	t.rig.big_bytes = 1000000;
	t.hold = true;
	nghttp2_session_set_local_window_size(t.session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
	a = answer_of(&t, ask(&t, "GET", NULL, 0, NULL, NULL));
	UNTIL(&t, a->closed);
	assert_int_equal(a->code, NGHTTP2_CANCEL);
	assert_false(a->ended);
	UNTIL(&t, t.rig.closes == 1);
	assert_int_equal(server_stats(t.rig.server)->too_slow, 1);
	stop(&t);
}

static void test_slow_content(void **state)
{
	struct server_config c;
	struct talk t;
	struct answer *a;

	(void)state;
	server_config_default(&c);
	c.body_timeout_ms = 100;
	start(&t, &c);
	t.rig.script = RIG_COUNT;
	{
		nghttp2_nv nv[] = { NV(":method", "POST"), NV(":scheme", "http"), NV(":path", "/"),
				    NV(":authority", "a.test") };

		a = answer_of(&t, nghttp2_submit_headers(t.session, NGHTTP2_FLAG_NONE, -1, NULL, nv,
							 4, NULL));
	}
	UNTIL(&t, a->closed);
	assert_int_equal(a->status, 408);
	stop(&t);
}

/* HTTP/1 goes on beside it, however the first bytes are cut. */
static void test_first_bytes(void **state)
{
	static const char *const pieces[] = { "P", "OST / HTTP/1.1\r\nHost: a\r\n",
					      "Content-Length: 0\r\n\r\n" };
	struct talk t;
	int fd;

	(void)state;
	start(&t, NULL);
	fd = rig_connect(&t.rig);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		rig_say(&t.rig, fd, pieces[i]);
		pump_idle(t.rig.loop);
	}
	rig_expect_start(&t.rig, fd, "HTTP/1.1 200 OK\r\n");
	close(fd);
	assert_int_equal(get(&t)->status, 200);
	stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),	       cmocka_unit_test(test_upload),
		cmocka_unit_test(test_upload_refused), cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_malformed),      cmocka_unit_test(test_large_head),
		cmocka_unit_test(test_drain),	       cmocka_unit_test(test_rapid_reset),
		cmocka_unit_test(test_floods),	       cmocka_unit_test(test_window_stall),
		cmocka_unit_test(test_slow_content),   cmocka_unit_test(test_first_bytes),
		cmocka_unit_test(test_tunnel_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
