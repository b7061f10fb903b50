/* What bounds a client connection of HTTP/1: time, rate, places, turns, tunnels. */
#include "h1_rig.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: a.test\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST "\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct rig rig;

static void short_limits(struct server_config *c)
{
	server_config_default(c);
	c->head_timeout_ms = c->idle_timeout_ms = c->body_timeout_ms = c->write_timeout_ms =
		c->tunnel_idle_ms = 60;
}

static void test_timeouts(void **state)
{
	struct server_config c;
	int fd;

	(void)state;
	short_limits(&c);
	rig_start(&rig, &c);
	rig.script = RIG_ECHO;
	/* Nothing said: closed without a word. */
	fd = rig_connect(&rig);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	close(fd);
	/* Half a head. */
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "GET / HTTP/1.1\r\nHo");
	rig_expect_start(&rig, fd, "HTTP/1.1 408 Request Timeout\r\n");
	rig_expect_end(&rig, fd);
	close(fd);
	/* Half the content. */
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nab");
	rig_expect_start(&rig, fd, "HTTP/1.1 408 Request Timeout\r\n");
	rig_expect_end(&rig, fd);
	close(fd);
	assert_int_equal(rig.aborts, 1);
	assert_int_equal(server_stats(rig.server)->timeouts, 3);
	/* Idle after a request. */
	fd = rig_connect(&rig);
	rig.script = RIG_OK;
	rig_say(&rig, fd, GET);
	rig_expect_start(&rig, fd, OK);
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	assert_int_equal(server_stats(rig.server)->timeouts, 3);
	close(fd);
	/* A handler that thinks has all the time. */
	fd = rig_connect(&rig);
	rig.script = RIG_WAIT;
	rig_say(&rig, fd, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	for (uint64_t t = loop_clock_us(); loop_clock_us() - t < 150000;)
		ev_run(loop_ev(rig.loop), EVRUN_NOWAIT);
	assert_non_null(rig.x);
	close(fd);
	PUMP_UNTIL(rig.loop, !rig.x);
	/* A client that takes nothing is cut. */
	rig.script = RIG_BIG;
	rig.big_bytes = 12u << 20;
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	PUMP_UNTIL(rig.loop, !rig.x);
	assert_non_null(rig.why);
	close(fd);
	/* An idle tunnel. */
	rig.script = RIG_TUNNEL;
	fd = rig_connect(&rig);
	rig_say(&rig, fd,
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	PUMP_UNTIL(rig.loop, rig.x);
	PUMP_UNTIL(rig.loop, !rig.x);
	assert_string_equal(rig.why, "tunnel idle");
	close(fd);
	rig_stop(&rig);
}

static void pump_ms(unsigned ms)
{
	for (uint64_t t = loop_clock_us(); loop_clock_us() - t < ms * 1000ull;)
		ev_run(loop_ev(rig.loop), EVRUN_NOWAIT);
}

/* Content that trickles: never silent for as long as the timeout, never as much as the rate. */
static void test_slow_content(void **state)
{
	struct server_config c;
	unsigned i;
	int fd;

	(void)state;
	server_config_default(&c);
	c.body_timeout_ms = 500; /* a loaded machine may let us sleep for long */
	c.min_rate = 1000;
	rig_start(&rig, &c);
	rig.script = RIG_COUNT;
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	PUMP_UNTIL(rig.loop, rig.x);
	for (i = 0; i < 300 && rig.x; i++) {
		rig_say(&rig, fd, "x");
		pump_ms(5);
	}
	assert_true(i > 5 && i < 300);
	rig_expect_start(&rig, fd, "HTTP/1.1 408 Request Timeout\r\n");
	assert_int_equal(server_stats(rig.server)->too_slow, 1);
	assert_int_equal(server_stats(rig.server)->timeouts, 1);
	close(fd);

	/* Slow, but fast enough, also when the machine has other things to do. */
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10000\r\n\r\n");
	for (i = 0; i < 50; i++) {
		for (unsigned j = 0; j < 10; j++)
			rig_say(&rig, fd, "xxxxxxxxxxxxxxxxxxxx");
		pump_ms(12);
	}
	rig_expect(&rig, fd, OK);
	close(fd);

	/* It is not the client's fault when nobody takes it. */
	rig.script = RIG_REFUSE;
	fd = rig_connect(&rig);
	rig_say(&rig, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	for (i = 0; i < 50; i++) {
		rig_say(&rig, fd, "x");
		pump_ms(12);
	}
	assert_non_null(rig.x);
	assert_int_equal(server_stats(rig.server)->too_slow, 1);
	close(fd);
	PUMP_UNTIL(rig.loop, !rig.x);
	rig_stop(&rig);
}

/* A response that is read in sips, out of buffers that hide it. */
static void test_slow_reader(void **state)
{
	static char sink[1 << 18];
	struct server_config c;
	unsigned i;
	int fd;

	(void)state;
	server_config_default(&c);
	c.write_timeout_ms = 300;
	c.min_rate = 1 << 20;
	rig_start(&rig, &c);
	rig.script = RIG_BIG;
	rig.big_bytes = 200u << 20;
	rig.big_length = true;
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	PUMP_UNTIL(rig.loop, rig.x);
	/* 50 MB a second or so is fast enough, for many windows. */
	for (i = 0; i < 200 && rig.x; i++) {
		recv(fd, sink, sizeof(sink), 0);
		pump_ms(5);
	}
	assert_non_null(rig.x);
	assert_int_equal(server_stats(rig.server)->too_slow, 0);
	for (i = 0; i < 600 && rig.x; i++) {
		recv(fd, sink, 20, 0);
		pump_ms(5);
	}
	assert_null(rig.x);
	assert_int_equal(server_stats(rig.server)->too_slow, 1);
	assert_int_equal(rig_expect_end(&rig, fd), ECONNRESET);
	close(fd);
	rig_stop(&rig);
}

/* Many requests in one packet: a share of them each turn, and all in the end. */
static void test_flood(void **state)
{
	enum { MANY = 200 };
	static char text[MANY * sizeof(GET)];
	unsigned before;
	int fd;

	(void)state;
	rig_start(&rig, NULL);
	for (unsigned i = 0; i < MANY; i++)
		memcpy(text + i * strlen(GET), GET, strlen(GET));
	fd = rig_connect(&rig);
	rig_say(&rig, fd, GET);
	rig_expect(&rig, fd, OK);
	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	for (unsigned turns = 0; rig.requests < 1 + MANY; turns++) {
		before = rig.requests;
		ev_run(loop_ev(rig.loop), EVRUN_NOWAIT);
		assert_true(rig.requests - before <= 16);
		assert_true(turns < MANY);
	}
	for (unsigned i = 0; i < MANY; i++)
		rig_expect_bytes(&rig, fd, OK, strlen(OK));
	rig_expect_silence(&rig, fd);
	rig_say(&rig, fd, GET);
	rig_expect(&rig, fd, OK);
	close(fd);
	rig_stop(&rig);
}

static void test_tunnel_cap(void **state)
{
	static const char ask[] =
		"GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
	struct server_config c;
	int fd[3];

	(void)state;
	server_config_default(&c);
	c.max_tunnels_per_address = 1;
	rig_start(&rig, &c);
	rig.script = RIG_TUNNEL;
	fd[0] = rig_connect(&rig);
	rig_say(&rig, fd[0], ask);
	rig_expect_start(&rig, fd[0], "HTTP/1.1 101 ");
	fd[1] = rig_connect(&rig);
	rig_say(&rig, fd[1], ask);
	rig_expect_start(&rig, fd[1], "HTTP/1.1 429 Too Many Requests\r\n");
	assert_int_equal(server_stats(rig.server)->refused_tunnels, 1);
	close(fd[0]);
	PUMP_UNTIL(rig.loop, !rig.x);
	/* One that is refused by whom it was for counts no more either. */
	rig.script = RIG_OK;
	fd[2] = rig_connect(&rig);
	for (unsigned i = 0; i < 3; i++) {
		rig_say(&rig, fd[2], ask);
		rig_expect(&rig, fd[2], OK);
	}
	rig.script = RIG_TUNNEL;
	rig_say(&rig, fd[2], ask);
	rig_expect_start(&rig, fd[2], "HTTP/1.1 101 ");
	close(fd[1]);
	close(fd[2]);
	PUMP_UNTIL(rig.loop, !rig.x);
	rig_stop(&rig);
}

static void test_caps(void **state)
{
	struct server_config c;
	struct head h;
	int fd[4];

	(void)state;
	server_config_default(&c);
	c.max_connections = 3;
	c.max_per_address = 2;
	rig_start(&rig, &c);
	rig.script = RIG_OK;
	for (int i = 0; i < 2; i++) {
		fd[i] = rig_connect(&rig);
		rig_say(&rig, fd[i], GET);
		rig_expect(&rig, fd[i], OK);
	}
	fd[2] = rig_connect(&rig);
	rig_expect_end(&rig, fd[2]);
	assert_int_equal(server_stats(rig.server)->refused_address, 1);
	close(fd[2]);
	close(fd[0]);
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->open == 1);
	fd[0] = rig_connect(&rig);
	rig_say(&rig, fd[0], GET);
	rig_expect(&rig, fd[0], OK);
	close(fd[0]);
	close(fd[1]);
	rig_stop(&rig);

	/* While all are busy nobody is turned away: the next ones wait in the kernel. Who idles makes
	 * room. */
	c.max_connections = 1;
	c.max_per_address = 0;
	rig_start(&rig, &c);
	rig.script = RIG_WAIT;
	fd[0] = rig_connect(&rig);
	rig_say(&rig, fd[0], GET);
	PUMP_UNTIL(rig.loop, rig.x);
	fd[1] = rig_connect(&rig);
	rig_say(&rig, fd[1], GET);
	rig_expect_silence(&rig, fd[1]);
	rig.script = RIG_OK;
	head_init(&h);
	h.status = 200;
	assert_int_equal(exchange_respond(rig.x, &h, true), 0);
	rig_expect_start(&rig, fd[0], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(rig_expect_end(&rig, fd[0]), 0);
	rig_expect(&rig, fd[1], OK);
	assert_int_equal(server_stats(rig.server)->refused_full, 0);
	assert_int_equal(server_stats(rig.server)->evicted, 1);
	close(fd[0]);
	close(fd[1]);
	rig_stop(&rig);
}

static bool on_reserved(void *arg, const struct addr *peer)
{
	const bool *yes = arg;

	assert_int_equal(peer->sa.ss_family, AF_INET);
	return *yes;
}

/* The last tenth of the table is for reserved peers only; others take the place of who waits longest
 * with nothing going on. */
static void test_reserved(void **state)
{
	struct exchange_handler h = { NULL, NULL };
	bool reserved = false;
	struct server_config c;
	struct addr at;
	struct err err;
	int fd[11];

	(void)state;
	memset(&rig, 0, sizeof(rig));
	server_config_default(&c);
	c.max_connections = 10;
	assert_int_equal(loop_create(&rig.loop, &err), 0);
	assert_int_equal(server_create(&rig.server, rig.loop, &c, &h, on_reserved, &reserved, &err),
			 0);
	assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), &err), 0);
	assert_int_equal(server_listen(rig.server, &at, NULL, NULL, &rig.at, &err), 0);
	for (int i = 0; i < 9; i++)
		fd[i] = rig_connect(&rig);
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->open == 9);
	fd[9] = rig_connect(&rig);
	assert_int_equal(rig_expect_end(&rig, fd[0]), 0);
	rig_say(&rig, fd[1], "GET / HT");
	close(rig_connect(&rig));
	assert_int_equal(rig_expect_end(&rig, fd[1]), 0);
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->open == 8);
	assert_int_equal(server_stats(rig.server)->refused_full, 0);
	assert_int_equal(server_stats(rig.server)->evicted, 2);
	reserved = true;
	fd[10] = rig_connect(&rig);
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->open == 9);
	fd[0] = rig_connect(&rig);
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->open == 10);
	/* That one waits now longer than some, but not for others' sake. */
	reserved = false;
	for (int i = 0; i < 10; i++)
		close(rig_connect(&rig));
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->accepted == 23);
	rig_expect_silence(&rig, fd[0]);
	for (size_t i = 0; i < ARRAY_LEN(fd); i++)
		close(fd[i]);
	PUMP_UNTIL(rig.loop, server_stats(rig.server)->open == 0);
	server_destroy(rig.server);
	loop_destroy(rig.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timeouts),    cmocka_unit_test(test_slow_content),
		cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_flood),
		cmocka_unit_test(test_tunnel_cap),  cmocka_unit_test(test_caps),
		cmocka_unit_test(test_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
