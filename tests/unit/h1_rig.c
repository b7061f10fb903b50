/* The scripted handler and the raw clients. */
#include "h1_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

char rig_pattern(size_t at)
{
	return (char)('a' + at * 7 % 23 + at / 4096 % 3);
}

static void respond(struct exchange *x, unsigned status, const char *length, bool end)
{
	struct head h;

	head_init(&h);
	h.status = (uint16_t)status;
	if (length)
		head_add(&h, FIELD_CONTENT_LENGTH, slice_str(length));
	assert_int_equal(exchange_respond(x, &h, end), 0);
}

static void write_all(struct exchange *x, const char *p, size_t n)
{
	struct iovec v = { (void *)p, n };

	assert_int_equal(exchange_write(x, &v, 1), n);
}

static void answer(struct exchange *x, const char *p, size_t n)
{
	char length[24];

	snprintf(length, sizeof(length), "%zu", n);
	respond(x, 200, length, false);
	write_all(x, p, n);
	exchange_end(x, NULL);
}

static void send_big(struct rig *r)
{
	static char piece[20000];

	while (r->big_sent < r->big_bytes) {
		size_t n = MIN(sizeof(piece), r->big_bytes - r->big_sent);
		struct iovec v[2] = { { piece, n / 3 }, { piece + n / 3, n - n / 3 } };
		size_t taken;

		for (size_t i = 0; i < n; i++)
			piece[i] = rig_pattern(r->big_sent + i);
		taken = exchange_write(r->x, v, 2);
		r->big_sent += taken;
		if (taken < n)
			return;
	}
	exchange_end(r->x, NULL);
}

static void begin_big(struct rig *r)
{
	char length[24];

	snprintf(length, sizeof(length), "%zu", r->big_bytes);
	respond(r->x, 200, r->big_length ? length : NULL, false);
	r->big_sent = 0;
	send_big(r);
}

static void send_chunked(struct exchange *x)
{
	struct head trailers;

	respond(x, 200, NULL, false);
	write_all(x, "hello ", 6);
	write_all(x, "world", 5);
	head_init(&trailers);
	head_add_other(&trailers, SLICE("X-Sum"), SLICE("11"));
	exchange_end(x, &trailers);
}

static void run_script(struct rig *r)
{
	struct exchange *x = r->x;

	switch (r->script) {
	case RIG_OK: answer(x, "ok", 2); break;
	case RIG_CHUNKED: send_chunked(x); break;
	case RIG_BIG: begin_big(r); break;
	case RIG_EMPTY: respond(x, r->status, NULL, true); break;
	case RIG_TUNNEL: respond(x, 101, NULL, false); break;
	case RIG_SHORT:
		respond(x, 200, "10", false);
		write_all(x, "ab", 2);
		exchange_end(x, NULL);
		break;
	case RIG_LONG: {
		struct iovec v = { (char *)"0123456789", 10 };

		respond(x, 200, "2", false);
		assert_int_equal(exchange_write(x, &v, 1), 0);
		break;
	}
	case RIG_ABORT:
		respond(x, 200, NULL, false);
		write_all(x, "ab", 2);
		exchange_abort(x, "the script says so");
		break;
	default: break;
	}
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct rig *r = arg;

	if (r->script == RIG_REFUSE)
		return 0;
	if (r->script == RIG_EARLY && !r->x->responded)
		respond(r->x, 413, NULL, true);
	assert_true(r->body_len + n <= RIG_BODY_MAX);
	memcpy(r->body + r->body_len, p, n);
	r->body_len += n;
	if (r->x->tunnel && !r->x->ended)
		write_all(r->x, p, n);
	return n;
}

static void on_body_end(void *arg, const struct head *trailers)
{
	struct rig *r = arg;

	r->ends++;
	r->trailers = trailers ? trailers->nfields : 0;
	assert_true(r->x->body_done);
	if (r->x->tunnel)
		exchange_end(r->x, NULL);
	else if (r->script == RIG_ECHO)
		answer(r->x, r->body, r->body_len);
	else if (r->script == RIG_COUNT)
		answer(r->x, "ok", 2);
}

static void on_writable(void *arg)
{
	struct rig *r = arg;

	if (r->script == RIG_BIG)
		send_big(r);
}

static void on_closed(void *arg, const char *why)
{
	struct rig *r = arg;

	r->x = NULL;
	r->closes++;
	r->aborts += why != NULL;
	r->why = why;
}

static const struct exchange_events events = {
	.body = on_body,
	.body_end = on_body_end,
	.writable = on_writable,
	.closed = on_closed,
};

static void on_request(void *arg, struct exchange *x)
{
	struct rig *r = arg;

	x->events = &events;
	x->arg = r;
	r->x = x;
	r->requests++;
	r->body_len = 0;
	run_script(r);
}

void rig_start(struct rig *r, const struct server_config *c)
{
	struct exchange_handler h = { on_request, r };
	struct server_config def;
	struct addr at;
	struct err err;

	memset(r, 0, sizeof(*r));
	server_config_default(&def);
	r->body = malloc(RIG_BODY_MAX);
	assert_int_equal(loop_create(&r->loop, &err), 0);
	assert_int_equal(server_create(&r->server, r->loop, c ? c : &def, &h, NULL, NULL, &err), 0);
	assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), &err), 0);
	assert_int_equal(server_listen(r->server, &at, NULL, r, &r->at, &err), 0);
}

void rig_stop(struct rig *r)
{
	server_destroy(r->server);
	assert_null(r->x);
	assert_int_equal(r->requests, r->closes);
	pump_idle(r->loop);
	loop_destroy(r->loop);
	free(r->body);
}

int rig_connect(struct rig *r)
{
	int fd = socket(r->at.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&r->at.sa, r->at.len), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

void rig_say_bytes(struct rig *r, int fd, const char *p, size_t n)
{
	size_t sent = 0;

	PUMP_UNTIL(r->loop, ({
			   ssize_t k = send(fd, p + sent, n - sent, MSG_NOSIGNAL);

			   assert_true(k >= 0 || errno == EAGAIN);
			   sent += k > 0 ? (size_t)k : 0;
			   sent == n;
		   }));
}

void rig_say(struct rig *r, int fd, const char *text)
{
	rig_say_bytes(r, fd, text, strlen(text));
}

void rig_expect_bytes(struct rig *r, int fd, const char *p, size_t n)
{
	char *got = malloc(n + 1);
	size_t len = 0;

	PUMP_UNTIL(r->loop, ({
			   ssize_t k = recv(fd, got + len, n - len, 0);

			   if (k == 0 || (k < 0 && errno != EAGAIN))
				   fail_msg("the end after %zu bytes: %.*s", len,
					    (int)MIN(len, 2000), got);
			   len += k > 0 ? (size_t)k : 0;
			   len == n || memcmp(got, p, len) != 0;
		   }));
	if (memcmp(got, p, len) != 0)
		fail_msg("got \"%.*s\", want \"%.*s\"", (int)MIN(len, 2000), got, (int)MIN(n, 2000),
			 p);
	free(got);
}

void rig_expect(struct rig *r, int fd, const char *text)
{
	rig_expect_bytes(r, fd, text, strlen(text));
	rig_expect_silence(r, fd);
}

void rig_expect_start(struct rig *r, int fd, const char *text)
{
	rig_expect_bytes(r, fd, text, strlen(text));
}

int rig_expect_end(struct rig *r, int fd)
{
	char drop[4096];
	int error = 0;

	PUMP_UNTIL(r->loop, ({
			   ssize_t k = recv(fd, drop, sizeof(drop), 0);

			   error = k < 0 ? errno : 0;
			   k == 0 || (k < 0 && errno != EAGAIN);
		   }));
	return error;
}

void rig_expect_silence(struct rig *r, int fd)
{
	char byte;
	ssize_t k;

	pump_idle(r->loop);
	k = recv(fd, &byte, 1, MSG_PEEK);
	assert_true(k == 0 || (k < 0 && errno == EAGAIN));
}
