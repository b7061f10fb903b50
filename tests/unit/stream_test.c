/* Plain streams: lazy interest, what a request costs, ends of all kinds. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "mallocs.h"
#include "pump.h"
#include "reactor/stream.h"

#define ROUNDS 1000

static struct fixture {
	struct loop *loop;
	struct stream s;
	int peer;		/* the other end, driven by hand */
	int events;		/* told by the last call of ready */
	unsigned calls;
	void (*then)(int events);
} f;

static void on_ready(void *arg, int events)
{
	(void)arg;
	f.events = events;
	f.calls++;
	if (f.then)
		f.then(events);
}

/* A connected pair of TCP sockets. */
static void tcp_pair(int fds[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int listening = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listening, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&sa, &len), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&sa, sizeof(sa)), 0);
	fds[0] = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fds[0] >= 0);
	close(listening);
}

static int setup(void **state)
{
	struct err err;
	int fds[2];

	(void)state;
	memset(&f, 0, sizeof(f));
	if (loop_create(&f.loop, &err))
		return -1;
	tcp_pair(fds);
	f.peer = fds[1];
	stream_init(&f.s, f.loop, fds[0], on_ready, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stream_close(&f.s, false);
	stream_close(&f.s, false);
	if (f.peer >= 0)
		close(f.peer);
	loop_destroy(f.loop);
	return 0;
}

static uint64_t changes(void)
{
	return stream_counters(f.loop)->interest_changes;
}

static void peer_says(const char *text)
{
	assert_int_equal(write(f.peer, text, strlen(text)), strlen(text));
}

static void interest_is_lazy(void **state)
{
	char b[16];

	(void)state;
	stream_wait(&f.s, STREAM_READ);
	assert_int_equal(changes(), 1);
	peer_says("a");
	PUMP_UNTIL(f.loop, f.calls == 1);
	assert_int_equal(f.events, STREAM_READ);
	assert_int_equal(stream_read(&f.s, b, sizeof(b)), 1);
	stream_wait(&f.s, 0);
	stream_wait(&f.s, STREAM_READ);
	stream_wait(&f.s, 0);
	assert_int_equal(changes(), 1);

	peer_says("b");		/* unwanted: now it is disarmed */
	PUMP_UNTIL(f.loop, changes() == 2);
	pump_idle(f.loop);
	assert_int_equal(f.calls, 1);
	assert_int_equal(changes(), 2);

	stream_wait(&f.s, STREAM_READ);
	assert_int_equal(changes(), 3);
	PUMP_UNTIL(f.loop, f.calls == 2);
	assert_int_equal(stream_read(&f.s, b, sizeof(b)), 1);
	assert_int_equal(b[0], 'b');
}

static void on_ping(int events)
{
	char b[256];
	ssize_t n = stream_read(&f.s, b, sizeof(b));
	struct iovec iov[2] = { { b, 1 }, { b + 1, (size_t)n - 1 } };

	(void)events;
	assert_true(n > 1);
	assert_int_equal(stream_write(&f.s, iov, 2), n);
	stream_wait(&f.s, STREAM_READ);
}

static void steady_state_costs_two_calls(void **state)
{
	struct stream_counters before = { 0 }, after;
	uint64_t mallocs_before = 0;
	char b[16];

	(void)state;
	f.then = on_ping;
	stream_wait(&f.s, STREAM_READ);
	for (unsigned i = 0; i < ROUNDS + 1; i++) {
		if (i == 1) {	/* the first arms the descriptor */
			before = *stream_counters(f.loop);
			mallocs_before = mallocs;
		}
		peer_says("ping");
		PUMP_UNTIL(f.loop, f.calls == i + 1);
		assert_int_equal(read(f.peer, b, sizeof(b)), 4);
	}
	after = *stream_counters(f.loop);
	assert_int_equal(after.interest_changes, before.interest_changes);
	assert_int_equal(after.reads - before.reads, ROUNDS);
	assert_int_equal(after.writes - before.writes, ROUNDS);
	if (mallocs_counted)
		assert_int_equal(mallocs, mallocs_before);
	assert_int_equal(f.s.bytes_in, 4 * (ROUNDS + 1));
	assert_int_equal(f.s.bytes_out, 4 * (ROUNDS + 1));
}

static void half_close_both_ways(void **state)
{
	struct iovec iov = { (char[]){ "tail" }, 4 };
	char b[16];

	(void)state;
	peer_says("head");
	shutdown(f.peer, SHUT_WR);
	stream_wait(&f.s, STREAM_READ);
	PUMP_UNTIL(f.loop, f.calls == 1);
	assert_int_equal(stream_read(&f.s, b, sizeof(b)), 4);
	assert_int_equal(stream_read(&f.s, b, sizeof(b)), 0);
	assert_int_equal(stream_write(&f.s, &iov, 1), 4);
	stream_shutdown(&f.s);
	assert_int_equal(read(f.peer, b, sizeof(b)), 4);
	assert_int_equal(read(f.peer, b, sizeof(b)), 0);
	iov.iov_len = 1;
	assert_int_equal(stream_write(&f.s, &iov, 1), -EPIPE);
}

static void reset_is_told(void **state)
{
	char b[16];

	(void)state;
	stream_close(&f.s, true);
	assert_false(stream_is_open(&f.s));
	assert_int_equal(read(f.peer, b, sizeof(b)), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(stream_read(&f.s, b, sizeof(b)), -EBADF);
}

static void reset_is_heard(void **state)
{
	struct linger now = { 1, 0 };
	char b[16];

	(void)state;
	stream_wait(&f.s, STREAM_READ);
	setsockopt(f.peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(f.peer);
	f.peer = -1;
	PUMP_UNTIL(f.loop, f.calls == 1);
	assert_int_equal(stream_read(&f.s, b, sizeof(b)), -ECONNRESET);
}

/* A paused stream whose peer resets must not keep the loop busy: epoll reports that whatever was
 * asked for. */
static void reset_while_paused_does_not_spin(void **state)
{
	struct linger now = { 1, 0 };
	uint64_t turns;
	char b[16];

	(void)state;
	stream_wait(&f.s, STREAM_READ);
	pump_idle(f.loop);
	stream_wait(&f.s, 0);
	setsockopt(f.peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(f.peer);
	f.peer = -1;
	PUMP_UNTIL(f.loop, changes() == 2);
	pump_idle(f.loop);
	assert_int_equal(f.calls, 0);
	turns = changes();
	pump_idle(f.loop);
	assert_int_equal(changes(), turns);
	stream_wait(&f.s, STREAM_READ);
	PUMP_UNTIL(f.loop, f.calls == 1);
	assert_int_equal(stream_read(&f.s, b, sizeof(b)), -ECONNRESET);
}

static void writes_stop_and_go_on(void **state)
{
	static uint8_t out[65536], in[65536];
	size_t sent = 0, received = 0, total = 8u << 20;
	unsigned stops = 0;

	(void)state;
	fcntl(f.peer, F_SETFL, O_NONBLOCK);
	while (received < total) {
		ssize_t n = 0, got;

		for (size_t i = 0; i < sizeof(out); i++)
			out[i] = (uint8_t)((sent + i) * 31 >> 3);
		if (sent < total) {
			size_t half = 1000, rest = MIN(sizeof(out), total - sent) - half;
			struct iovec iov[2] = { { out, half }, { out + half, rest } };

			n = stream_write(&f.s, iov, 2);
		}
		if (n > 0) {
			sent += (size_t)n;
			if (stops % 2)
				continue;	/* fill it up before draining */
		} else if (n == -EAGAIN) {
			unsigned before = f.calls;

			stops++;
			stream_wait(&f.s, STREAM_WRITE);
			while ((got = read(f.peer, in, sizeof(in))) > 0) {
				for (ssize_t i = 0; i < got; i++, received++)
					assert_int_equal(in[i], (uint8_t)(received * 31 >> 3));
			}
			PUMP_UNTIL(f.loop, f.calls > before);
			assert_int_equal(f.events, STREAM_WRITE);
			stream_wait(&f.s, 0);
		}
		got = read(f.peer, in, sizeof(in));
		for (ssize_t i = 0; i < got; i++, received++)
			assert_int_equal(in[i], (uint8_t)(received * 31 >> 3));
	}
	assert_int_equal(sent, total);
}

static void on_close(int events)
{
	(void)events;
	stream_close(&f.s, false);
}

static void may_be_closed_by_its_callback(void **state)
{
	(void)state;
	f.then = on_close;
	stream_wait(&f.s, STREAM_READ | STREAM_WRITE);
	PUMP_UNTIL(f.loop, f.calls == 1);
	stream_wait(&f.s, STREAM_READ);	/* a closed one waits for nothing */
	pump_idle(f.loop);
	assert_int_equal(f.calls, 1);
}

/* ---- connecting ---- */

static struct addr loopback(uint16_t port)
{
	struct addr a;
	struct err err;

	assert_int_equal(addr_make(&a, SLICE("127.0.0.1"), port, &err), 0);
	return a;
}

static void connects(void **state)
{
	int listening = socket(AF_INET, SOCK_STREAM, 0), on = 0;
	struct addr at = loopback(0);
	socklen_t len = sizeof(at.sa), size = sizeof(on);

	(void)state;
	stream_close(&f.s, false);
	bind(listening, (struct sockaddr *)&at.sa, at.len);
	listen(listening, 1);
	getsockname(listening, (struct sockaddr *)&at.sa, &len);
	assert_int_equal(stream_connect(&f.s, f.loop, &at, 2000, on_ready, NULL), 0);
	PUMP_UNTIL(f.loop, f.calls == 1);
	assert_int_equal(f.events, STREAM_WRITE);
	assert_int_equal(stream_connected(&f.s), 0);
	getsockopt(stream_fd(&f.s), IPPROTO_TCP, TCP_NODELAY, &on, &size);
	assert_true(on);
	getsockopt(stream_fd(&f.s), IPPROTO_TCP, TCP_USER_TIMEOUT, &on, &size);
	assert_int_equal(on, 2000);
	/* Who vanishes is missed within that time, unless silence means nothing. */
	getsockopt(stream_fd(&f.s), IPPROTO_TCP, TCP_KEEPIDLE, &on, &size);
	assert_int_equal(on, 1);
	stream_probe_after(&f.s, 15);
	getsockopt(stream_fd(&f.s), IPPROTO_TCP, TCP_KEEPIDLE, &on, &size);
	assert_int_equal(on, 15);
	stream_close(&f.s, false);

	/* Nobody listens any more. */
	close(listening);
	assert_int_equal(stream_connect(&f.s, f.loop, &at, 0, on_ready, NULL), 0);
	PUMP_UNTIL(f.loop, f.calls == 2);
	assert_int_equal(stream_connected(&f.s), -ECONNREFUSED);
}

static void connects_to_unix_sockets(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);
	struct addr at;

	(void)state;
	stream_close(&f.s, false);
	snprintf(un.sun_path, sizeof(un.sun_path), "stream_test.%d.sock", (int)getpid());
	assert_int_equal(bind(listening, (struct sockaddr *)&un, sizeof(un)), 0);
	listen(listening, 1);
	addr_from(&at, (struct sockaddr *)&un, sizeof(un));
	assert_int_equal(stream_connect(&f.s, f.loop, &at, 2000, on_ready, NULL), 0);
	PUMP_UNTIL(f.loop, f.calls == 1);
	assert_int_equal(stream_connected(&f.s), 0);
	stream_close(&f.s, false);
	close(listening);
	assert_int_equal(stream_connect(&f.s, f.loop, &at, 0, on_ready, NULL), -ECONNREFUSED);
	unlink(un.sun_path);
	assert_int_equal(stream_connect(&f.s, f.loop, &at, 0, on_ready, NULL), -ENOENT);
}

static void plain_needs_no_handshake(void **state)
{
	int events = -1;

	(void)state;
	assert_int_equal(stream_handshake(&f.s, &events), 0);
	assert_int_equal(events, 0);
	assert_int_equal(stream_alpn(&f.s).n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(interest_is_lazy),
		TEST(steady_state_costs_two_calls),
		TEST(half_close_both_ways),
		TEST(reset_is_told),
		TEST(reset_is_heard),
		TEST(reset_while_paused_does_not_spin),
		TEST(writes_stop_and_go_on),
		TEST(may_be_closed_by_its_callback),
		TEST(connects),
		TEST(connects_to_unix_sockets),
		TEST(plain_needs_no_handshake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
