/* Half-open: an endpoint whose probe succeeded takes one request at a time until it answered one,
 * is out for longer when it did not, and nobody starves when it is the only one. A machine that
 * went silent costs a request one attempt. */
#include "check.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "door_talk.h"

#define UPGRADE                                       \
	"GET /ws HTTP/1.1\r\nHost: " DOOR_HOST "\r\n" \
	"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHING                                                     \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" \
	"Upgrade: websocket\r\n\r\n"

#define OK_CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

struct world {
	struct door d;
	int listeners[2];
	unsigned n;
};

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until the endpoint is in that state. */
static void wait_state(struct world *w, unsigned i, enum endpoint_state want)
{
	const struct timespec nap = { .tv_nsec = 5000000 };

	for (unsigned tries = 0; tries < 2000; tries++) {
		door_command(&w->d, DOOR_SNAPSHOT, 0);
		if (w->d.shared->views[i].state == want)
			return;
		nanosleep(&nap, NULL);
	}
	fail_msg("endpoint %u is %s", i, endpoint_state_name(w->d.shared->views[i].state));
}

static void wait_queueing(struct world *w, uint32_t want)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	do {
		nanosleep(&nap, NULL);
		door_command(&w->d, DOOR_SNAPSHOT, 0);
	} while (w->d.shared->front.queueing != want);
}

static void start(struct world *w, unsigned n, bool hold)
{
	struct door_config c = { .nendpoints = n, .hold = hold };

	w->n = n;
	for (unsigned i = 0; i < n; i++)
		w->listeners[i] = tcp_listen(&c.endpoints[i]);
	door_start(&w->d, &c);
}

static void stop(struct world *w)
{
	for (unsigned i = 0; i < w->n; i++)
		close(w->listeners[i]);
	door_stop(&w->d);
}

/* Takes the first one out and waits until its probe brought it back on trial. */
static void on_trial(struct world *w)
{
	int probe;

	door_command(&w->d, DOOR_OUT, 0);
	probe = tcp_accept(w->listeners[0]);
	wait_state(w, 0, ENDPOINT_TRIAL);
	close(probe);
}

static int ask(struct world *w, const char *request)
{
	int client = tcp_connect(w->d.port);

	tcp_send(client, request);
	return client;
}

/* Takes a request and answers it; the connection is not used again. */
static void serve_last(int fd)
{
	expect(fd, "\r\n\r\n");
	tcp_send(fd, OK_CLOSE);
}

/* Nobody connects there for a while. */
static void assert_quiet(struct world *w, unsigned i)
{
	struct pollfd p = { .fd = w->listeners[i], .events = POLLIN };

	assert_int_equal(poll(&p, 1, 100), 0);
}

static void one_at_a_time(void **state)
{
	enum { CLIENTS = 6 };
	int clients[CLIENTS], conns[CLIENTS];
	struct world w;

	(void)state;
	start(&w, 2, false);
	on_trial(&w);
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = ask(&w, GET_CLOSE);
	conns[0] = tcp_accept(w.listeners[0]);
	for (unsigned i = 1; i < CLIENTS; i++)
		conns[i] = tcp_accept(w.listeners[1]);
	assert_quiet(&w, 0);
	serve_last(conns[0]);
	wait_state(&w, 0, ENDPOINT_IN);
	assert_int_equal(w.d.shared->views[0].half_open, 1);
	assert_int_equal(w.d.shared->views[0].recoveries, 1);
	for (unsigned i = 1; i < CLIENTS; i++)
		serve_last(conns[i]);
	for (unsigned i = 0; i < CLIENTS; i++) {
		expect(clients[i], "ok");
		close(clients[i]);
		close(conns[i]);
	}
	/* Its whole share again. */
	for (unsigned i = 0; i < 2; i++)
		clients[i] = ask(&w, GET_CLOSE);
	for (unsigned i = 0; i < 2; i++) {
		conns[i] = tcp_accept(w.listeners[i]);
		serve_last(conns[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		expect(clients[i], "ok");
		close(clients[i]);
		close(conns[i]);
	}
	stop(&w);
}

/* A failed trial costs the request nothing, and the next one comes later. */
static void longer_after_a_failure(void **state)
{
	struct world w;
	uint64_t out_ms;
	int client, conn, probe;

	(void)state;
	start(&w, 2, false);
	on_trial(&w);
	/* The other one's turn comes first. */
	client = ask(&w, GET_CLOSE);
	conn = tcp_accept(w.listeners[1]);
	serve_last(conn);
	expect(client, "ok");
	close(client);
	close(conn);
	client = ask(&w, GET_CLOSE);
	conn = tcp_accept(w.listeners[0]);
	expect(conn, "\r\n\r\n");
	out_ms = clock_ms();
	tcp_reset(conn);
	conn = tcp_accept(w.listeners[1]);
	serve_last(conn);
	expect(client, "ok");
	wait_state(&w, 0, ENDPOINT_OUT);
	assert_int_equal(w.d.shared->views[0].ejections, 2);
	assert_int_equal(w.d.shared->views[0].recoveries, 0);
	/* Twice 250 ms less a tenth; the turn's clock may be a little behind. */
	probe = tcp_accept(w.listeners[0]);
	assert_true(clock_ms() - out_ms >= 440);
	wait_state(&w, 0, ENDPOINT_TRIAL);
	assert_int_equal(w.d.shared->recovered, 2);
	close(probe);
	close(client);
	close(conn);
	stop(&w);
}

/* The only one: who comes meanwhile waits, whether the upstream holds requests or not, and goes on
 * as soon as the first is answered. */
static void alone(bool hold)
{
	enum { CLIENTS = 5 };
	int clients[CLIENTS], conns[CLIENTS];
	struct world w;

	start(&w, 1, hold);
	on_trial(&w);
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = ask(&w, GET_CLOSE);
	conns[0] = tcp_accept(w.listeners[0]);
	assert_quiet(&w, 0);
	door_command(&w.d, DOOR_SNAPSHOT, 0);
	assert_int_equal(w.d.shared->front.queueing, CLIENTS - 1);
	serve_last(conns[0]);
	for (unsigned i = 1; i < CLIENTS; i++) {
		conns[i] = tcp_accept(w.listeners[0]);
		serve_last(conns[i]);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		expect(clients[i], "ok");
		close(clients[i]);
		close(conns[i]);
	}
	stop(&w);
}

static void alone_with_hold(void **state)
{
	(void)state;
	alone(true);
}

static void alone_without(void **state)
{
	(void)state;
	alone(false);
}

/* Without a hold those who wait for the trial's end end with it. */
static void alone_and_down_again(void **state)
{
	int clients[3], conn;
	struct world w;

	(void)state;
	start(&w, 1, false);
	on_trial(&w);
	clients[0] = ask(&w, GET_CLOSE);
	conn = tcp_accept(w.listeners[0]);
	expect(conn, "\r\n\r\n");
	for (unsigned i = 1; i < 3; i++)
		clients[i] = ask(&w, GET_CLOSE);
	door_command(&w.d, DOOR_OUT, 0);
	for (unsigned i = 1; i < 3; i++) {
		expect(clients[i], "HTTP/1.1 503 ");
		close(clients[i]);
	}
	/* The one in hand has nowhere else to go. */
	tcp_send(conn, OK_CLOSE);
	expect(clients[0], "ok");
	close(clients[0]);
	close(conn);
	stop(&w);
}

/* It waited for a busy endpoint, which failed: as with any other app without an endpoint, the time
 * to wait for one begins, not the end of the shorter one for busy ones. */
static void queued_then_held(void **state)
{
	struct door_config c = { .nendpoints = 1,
				 .hold = true,
				 .policy = { .max_in_flight = 1, .queue = 5, .queue_ms = 100 } };
	int clients[2], conn, probe;
	struct world w = { .n = 1 };

	(void)state;
	w.listeners[0] = tcp_listen(&c.endpoints[0]);
	door_start(&w.d, &c);
	clients[0] = ask(&w, GET_CLOSE);
	conn = tcp_accept(w.listeners[0]);
	expect(conn, "\r\n\r\n");
	clients[1] = ask(&w, GET_CLOSE);
	wait_queueing(&w, 1);
	door_command(&w.d, DOOR_OUT, 0);
	probe = tcp_accept(w.listeners[0]);
	wait_state(&w, 0, ENDPOINT_TRIAL);
	tcp_send(conn, OK_CLOSE);
	expect(clients[0], "ok");
	close(conn);
	conn = tcp_accept(w.listeners[0]);
	serve_last(conn);
	expect(clients[1], "ok");
	for (unsigned i = 0; i < 2; i++)
		close(clients[i]);
	close(conn);
	close(probe);
	stop(&w);
}

/* Slow is not broken: a trial ends after two seconds without a failure. */
static void slow(void **state)
{
	int clients[3], conns[3];
	struct world w;
	uint64_t begun_ms;

	(void)state;
	start(&w, 1, true);
	on_trial(&w);
	begun_ms = clock_ms();
	for (unsigned i = 0; i < 3; i++)
		clients[i] = ask(&w, GET_CLOSE);
	for (unsigned i = 0; i < 3; i++)
		conns[i] = tcp_accept(w.listeners[0]);
	assert_in_range(clock_ms() - begun_ms, 1900, 60000);
	for (unsigned i = 0; i < 3; i++)
		serve_last(conns[i]);
	for (unsigned i = 0; i < 3; i++) {
		expect(clients[i], "ok");
		close(clients[i]);
		close(conns[i]);
	}
	stop(&w);
}

/* What is still there from before is no trial, and keeps none from beginning. */
static void with_a_tunnel(void **state)
{
	struct world w;
	int tunnel, far, client, conn;

	(void)state;
	start(&w, 1, true);
	tunnel = ask(&w, UPGRADE);
	far = tcp_accept(w.listeners[0]);
	expect(far, "\r\n\r\n");
	tcp_send(far, SWITCHING);
	expect(tunnel, "\r\n\r\n");
	on_trial(&w);
	client = ask(&w, GET_CLOSE);
	conn = tcp_accept(w.listeners[0]);
	serve_last(conn);
	expect(client, "ok");
	wait_state(&w, 0, ENDPOINT_IN);
	tcp_send(far, "still here");
	expect(tunnel, "still here");
	close(client);
	close(conn);
	close(tunnel);
	close(far);
	stop(&w);
}

/* Takes no connection: its queue is full. */
static void listen_deaf(struct addr *at, int fds[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1) };
	socklen_t len = sizeof(sa);

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fds[0], (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fds[0], 0), 0);
	assert_int_equal(getsockname(fds[0], (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&sa, len), 0);
	addr_from(at, (struct sockaddr *)&sa, len);
}

/* Two of three are on a machine that says nothing any more: a request pays for one of them. */
static void silence_is_paid_once(void **state)
{
	struct door_config c = { .nendpoints = 3 };
	uint64_t begun_ms;
	int deaf[2][2], listener, client, conn;
	struct door d;

	(void)state;
	listen_deaf(&c.endpoints[0], deaf[0]);
	listen_deaf(&c.endpoints[1], deaf[1]);
	listener = tcp_listen(&c.endpoints[2]);
	door_start(&d, &c);
	begun_ms = clock_ms();
	client = tcp_connect(d.port);
	tcp_send(client, GET_CLOSE);
	conn = tcp_accept(listener);
	serve_last(conn);
	expect(client, "ok");
	assert_in_range(clock_ms() - begun_ms, 1400, 2500);
	for (unsigned i = 0; i < 2; i++) {
		close(deaf[i][0]);
		close(deaf[i][1]);
	}
	close(listener);
	close(client);
	close(conn);
	door_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(longer_after_a_failure),
		cmocka_unit_test(alone_with_hold),
		cmocka_unit_test(alone_without),
		cmocka_unit_test(alone_and_down_again),
		cmocka_unit_test(queued_then_held),
		cmocka_unit_test(slow),
		cmocka_unit_test(with_a_tunnel),
		cmocka_unit_test(silence_is_paid_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
