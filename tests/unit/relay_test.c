/* Requests through a front door: turns, holding, failing and coming back, drains, suspicion,
 * tunnels, streams. */
#include "check.h"

#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "door_talk.h"

static void in_turn(void **state)
{
	struct door_config c = { .nendpoints = 4 };
	int listeners[4], conns[4] = { 0 }, order[8];
	struct door d;
	int client;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		listeners[i] = tcp_listen(&c.endpoints[i]);
	door_start(&d, &c);
	client = tcp_connect(d.port);
	for (unsigned n = 0; n < 8; n++) {
		struct pollfd p[8];

		tcp_send(client, GET);
		for (unsigned i = 0; i < 4; i++) {
			p[i] = (struct pollfd){ .fd = listeners[i], .events = POLLIN };
			p[4 + i] =
				(struct pollfd){ .fd = conns[i] ? conns[i] : -1, .events = POLLIN };
		}
		assert_int_equal(poll(p, 8, 5000), 1);
		for (unsigned i = 0; i < 4; i++) {
			if (!p[i].revents && !p[4 + i].revents)
				continue;
			if (p[i].revents)
				conns[i] = tcp_accept(listeners[i]);
			serve(conns[i]);
			order[n] = (int)i;
		}
		expect(client, "ok");
	}
	/* Each one once, then again in the same order on the connections of the first time. */
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(order[i], order[j]);
		assert_int_equal(order[i], order[4 + i]);
		close(conns[i]);
		close(listeners[i]);
	}
	close(client);
	door_stop(&d);
}

static void held_and_released(void **state)
{
	struct door_config c = { .hold = true };
	int listener, clients[3], conn;
	struct door d;

	(void)state;
	door_start(&d, &c);
	for (unsigned i = 0; i < 3; i++) {
		clients[i] = tcp_connect(d.port);
		tcp_send(clients[i], i == 2 ? "POST /x HTTP/1.1\r\nHost: " DOOR_HOST
					      "\r\nContent-Length: 5\r\n\r\nhello"
					    : GET);
		WAIT_FOR(&d, front.holding, i + 1);
	}
	/* Who goes away does not wait any more. */
	close(clients[0]);
	WAIT_FOR(&d, front.holding, 2);
	listener = tcp_listen(&d.shared->add);
	door_command(&d, DOOR_ADD, 0);
	conn = tcp_accept(listener);
	serve(conn);
	expect(clients[1], "ok");
	close(conn);
	conn = tcp_accept(listener);
	expect(conn, "\r\n\r\nhello");
	tcp_send(conn, OK);
	expect(clients[2], "ok");
	WAIT_FOR(&d, front.holding, 0);
	assert_int_equal(d.shared->front.held, 3);
	close(conn);
	close(clients[1]);
	close(clients[2]);
	close(listener);
	door_stop(&d);
}

static void held_too_long_or_too_many(void **state)
{
	struct door_config c = { .hold = true, .hold_ms = 200, .hold_max = 1 };
	struct door d;
	int first, second;

	(void)state;
	door_start(&d, &c);
	first = tcp_connect(d.port);
	tcp_send(first, GET_CLOSE);
	WAIT_FOR(&d, front.holding, 1);
	second = tcp_connect(d.port);
	tcp_send(second, GET_CLOSE);
	expect(second, "HTTP/1.1 503 ");
	assert_non_null(strstr(text, "Retry-After: "));
	expect(first, "HTTP/1.1 503 ");
	WAIT_FOR(&d, front.holding, 0);
	assert_int_equal(d.shared->front.hold_refused, 1);
	assert_int_equal(d.shared->front.hold_timeouts, 1);
	close(first);
	close(second);
	door_stop(&d);
}

static void destroyed_while_held(void **state)
{
	struct door_config c = { .hold = true };
	struct door d;
	int client, after;

	(void)state;
	door_start(&d, &c);
	client = tcp_connect(d.port);
	tcp_send(client, GET_CLOSE);
	WAIT_FOR(&d, front.holding, 1);
	door_command(&d, DOOR_DESTROY, 0);
	expect(client, "HTTP/1.1 503 ");
	after = tcp_connect(d.port);
	tcp_send(after, GET_CLOSE);
	expect(after, "HTTP/1.1 404 ");
	close(client);
	close(after);
	door_stop(&d);
}

/* What is in flight when its upstream goes ends by itself, also when it turns out to be a stream. */
static void destroyed_in_flight(void **state)
{
	struct door_config c = { .nendpoints = 1 };
	int listener, client, conn;
	struct door d;

	(void)state;
	listener = tcp_listen(&c.endpoints[0]);
	door_start(&d, &c);
	client = tcp_connect(d.port);
	tcp_send(client, GET);
	conn = tcp_accept(listener);
	expect(conn, "\r\n\r\n");
	door_command(&d, DOOR_DESTROY, 0);
	tcp_send(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
	expect(client, "one");
	nap_ms(20); /* longer than no limit at all */
	tcp_send(conn, "3\r\ntwo\r\n0\r\n\r\n");
	expect(client, "two\r\n0\r\n\r\n");
	close(client);
	close(conn);
	close(listener);
	door_stop(&d);
}

/* Refused, so out in the same turn, and the request waits; in again when somebody listens there. */
static void out_and_back(void **state)
{
	struct door_config c = { .nendpoints = 1, .hold = true };
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int listener, client, conn;
	struct door d;

	(void)state;
	/* Bound but not listening: it refuses, and the port stays ours. */
	assert_int_equal(addr_parse(&c.endpoints[0], SLICE("127.0.0.1:0"), NULL), 0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&c.endpoints[0].sa, c.endpoints[0].len),
			 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	addr_from(&c.endpoints[0], (struct sockaddr *)&sa, len);
	door_start(&d, &c);
	client = tcp_connect(d.port);
	tcp_send(client, GET);
	WAIT_FOR(&d, failed, 1);
	WAIT_FOR(&d, views[0].state, ENDPOINT_OUT);
	WAIT_FOR(&d, front.holding, 1);
	assert_int_equal(listen(listener, 8), 0);
	/* The first connection is the probe: it only has to stay open. */
	conn = tcp_accept(listener);
	assert_int_equal(tcp_read_until(conn, text, sizeof(text), NULL), 0);
	close(conn);
	conn = tcp_accept(listener);
	serve(conn);
	expect(client, "ok");
	WAIT_FOR(&d, recovered, 1);
	assert_int_equal(d.shared->failed, 1);
	close(conn);
	close(client);
	close(listener);
	door_stop(&d);
}

static void drained(void **state)
{
	struct door_config c = { .nendpoints = 2 };
	int listeners[2], client, other, conn, next, first;
	struct door d;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		listeners[i] = tcp_listen(&c.endpoints[i]);
	door_start(&d, &c);
	client = tcp_connect(d.port);
	tcp_send(client, GET);
	conn = tcp_accept(listeners[0]);
	expect(conn, "\r\n\r\n");
	d.shared->requests_ms = d.shared->tunnels_ms = 60000;
	door_command(&d, DOOR_DRAIN, 0);
	other = tcp_connect(d.port);
	for (unsigned i = 0; i < 3; i++) {
		tcp_send(other, GET);
		next = i == 0 ? tcp_accept(listeners[1]) : next;
		serve(next);
		expect(other, "ok");
	}
	door_command(&d, DOOR_SNAPSHOT, 0);
	assert_int_equal(d.shared->drained, 0);
	tcp_send(conn, OK);
	expect(client, "ok");
	WAIT_FOR(&d, drained, 1);
	assert_int_equal(d.shared->cut, 0);
	/* Its connection is not kept. */
	assert_int_equal(tcp_read_until(conn, text, sizeof(text), NULL), 0);
	close(conn);

	/* At the limit the rest is cut, and the client can tell. */
	tcp_send(client, GET);
	first = next;
	expect(first, "\r\n\r\n");
	tcp_send(first, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	expect(client, "half");
	d.shared->requests_ms = 50;
	door_command(&d, DOOR_DRAIN, 1);
	WAIT_FOR(&d, drained, 2);
	assert_int_equal(d.shared->cut, 1);
	assert_int_equal(tcp_read_until(client, text, sizeof(text), NULL), -1);
	close(client);
	close(other);
	close(first);
	close(listeners[0]);
	close(listeners[1]);
	door_stop(&d);
}

/* Taken out because its node is suspect, say. */
static void taken_out(void **state)
{
	struct door_config c = { .nendpoints = 2 };
	int listeners[2], get, post, at_get, at_post, again, probe;
	struct door d;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		listeners[i] = tcp_listen(&c.endpoints[i]);
	door_start(&d, &c);
	get = tcp_connect(d.port);
	post = tcp_connect(d.port);
	tcp_send(get, GET);
	at_get = tcp_accept(listeners[0]);
	expect(at_get, "\r\n\r\n");
	tcp_send(post, "POST / HTTP/1.1\r\nHost: " DOOR_HOST "\r\nContent-Length: 1\r\n\r\nx");
	at_post = tcp_accept(listeners[1]);
	expect(at_post, "\r\n\r\nx");
	/* What may be sent again goes elsewhere at once; what may not stays. */
	door_command(&d, DOOR_OUT, 0);
	again = tcp_accept(listeners[1]);
	serve(again);
	expect(get, "ok");
	door_command(&d, DOOR_OUT, 1);
	tcp_send(at_post, OK);
	expect(post, "ok");
	/* Nobody is in: a static route says so at once. */
	tcp_send(get, GET_CLOSE);
	expect(get, "HTTP/1.1 503 ");
	/* Each comes back when its probe finds somebody. */
	probe = tcp_accept(listeners[0]);
	WAIT_FOR(&d, views[0].state, ENDPOINT_TRIAL);
	WAIT_FOR(&d, recovered, 2);
	assert_int_equal(d.shared->views[0].ejections, 1);
	close(probe);
	close(get);
	close(post);
	close(at_get);
	close(at_post);
	close(again);
	close(listeners[0]);
	close(listeners[1]);
	door_stop(&d);
}

/* More than one turn moves: all of them do in the end. */
static void many_taken_out(void **state)
{
	enum { CLIENTS = 90 };
	struct door_config c = { .nendpoints = 2 };
	int listeners[2], clients[CLIENTS], at_first[CLIENTS], at_second[CLIENTS / 2];
	struct door d;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		listeners[i] = tcp_listen(&c.endpoints[i]);
	door_start(&d, &c);
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i] = tcp_connect(d.port);
		tcp_send(clients[i], GET_CLOSE);
	}
	for (unsigned i = 0; i < CLIENTS / 2; i++) {
		at_first[i] = tcp_accept(listeners[0]);
		at_second[i] = tcp_accept(listeners[1]);
	}
	WAIT_FOR(&d, views[1].in_flight, CLIENTS / 2);
	door_command(&d, DOOR_OUT, 1);
	for (unsigned i = CLIENTS / 2; i < CLIENTS; i++)
		at_first[i] = tcp_accept(listeners[0]);
	for (unsigned i = 0; i < CLIENTS; i++)
		serve(at_first[i]);
	for (unsigned i = 0; i < CLIENTS; i++) {
		expect(clients[i], "ok");
		close(clients[i]);
		close(at_first[i]);
	}
	for (unsigned i = 0; i < CLIENTS / 2; i++)
		close(at_second[i]);
	close(listeners[0]);
	close(listeners[1]);
	door_stop(&d);
}

static void tunnel(void **state)
{
	struct door_config c = { .nendpoints = 1 };
	int listener = tcp_listen(&c.endpoints[0]), client, conn;
	struct door d;

	(void)state;
	door_start(&d, &c);
	client = tcp_connect(d.port);
	/* Bytes behind the head belong to the tunnel. */
	tcp_send(client, "GET /ws HTTP/1.1\r\nHost: " DOOR_HOST
			 "\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
	conn = tcp_accept(listener);
	expect(conn, "\r\n\r\n");
	assert_non_null(strcasestr(text, "\r\nUpgrade: websocket\r\n"));
	assert_non_null(strcasestr(text, "\r\nConnection: Upgrade\r\n"));
	assert_null(strstr(text, "early"));
	tcp_send(
		conn,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
	expect(client, "\r\n\r\nhello");
	assert_non_null(strcasestr(text, "\r\nUpgrade: websocket\r\n"));
	expect(conn, "early");
	tcp_send(client, "more");
	expect(conn, "more");
	WAIT_FOR(&d, views[0].tunnels, 1);
	/* Half-close, then the other half. */
	shutdown(client, SHUT_WR);
	assert_int_equal(tcp_read_until(conn, text, sizeof(text), NULL), 0);
	tcp_send(conn, "still here");
	expect(client, "still here");
	close(conn);
	assert_int_equal(tcp_read_until(client, text, sizeof(text), NULL), 0);
	WAIT_FOR(&d, front.active, 0);
	assert_int_equal(d.shared->views[0].in_flight, 0);
	close(client);

	/* An upgrade that nobody asked for is no answer. */
	client = tcp_connect(d.port);
	tcp_send(client, GET_CLOSE);
	conn = tcp_accept(listener);
	expect(conn, "\r\n\r\n");
	tcp_send(
		conn,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	expect(client, "HTTP/1.1 502 ");
	close(client);
	close(conn);
	close(listener);
	door_stop(&d);
}

static void response_limit(void **state)
{
	struct door_config c = { .nendpoints = 1, .head_ms = 100 };
	int listener = tcp_listen(&c.endpoints[0]), client, conn;
	struct door d;

	(void)state;
	door_start(&d, &c);
	client = tcp_connect(d.port);
	tcp_send(client, GET_CLOSE);
	conn = tcp_accept(listener);
	expect(client, "HTTP/1.1 504 ");
	/* Late is not gone. */
	door_command(&d, DOOR_SNAPSHOT, 0);
	assert_int_equal(d.shared->views[0].state, ENDPOINT_IN);
	close(client);
	close(conn);
	close(listener);
	door_stop(&d);
}

/* Far more than all buffers on the way, while the reader sleeps, in both directions; the front
 * door's memory must not grow with it. */
static void back_pressure(void **state)
{
	enum { TOTAL = 64 << 20, PIECE = 65536 };
	static char piece[PIECE];
	struct door_config c = { .nendpoints = 1 };
	int listener = tcp_listen(&c.endpoints[0]), client, conn;
	size_t sent = 0, got = 0;
	struct door d;
	ssize_t n;

	(void)state;
	door_start(&d, &c);
	client = tcp_connect(d.port);
	tcp_send(client, "GET /big HTTP/1.1\r\nHost: " DOOR_HOST "\r\nConnection: close\r\n\r\n");
	conn = tcp_accept(listener);
	expect(conn, "\r\n\r\n");
	tcp_send(conn, "HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
	/* As much as goes without a reader. */
	while (sent < TOTAL &&
	       (n = send(conn, piece, MIN(PIECE, TOTAL - sent), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	for (unsigned idle = 0; idle < 20 && sent < TOTAL; idle++) {
		nap_ms(5);
		while (sent < TOTAL && (n = send(conn, piece, MIN(PIECE, TOTAL - sent),
						 MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
			sent += (size_t)n;
			idle = 0;
		}
	}
	assert_true(sent < TOTAL / 2);
	expect(client, "\r\n\r\n");
	got = strlen(text) - (size_t)(strstr(text, "\r\n\r\n") + 4 - text);
	/* NULs behind the head end the string early: count what was read for real. */
	got = 0;
	while ((n = recv(client, piece, PIECE, 0)) > 0) {
		ssize_t more;

		got += (size_t)n;
		if (sent < TOTAL && (more = send(conn, piece, MIN(PIECE, TOTAL - sent),
						 MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
			sent += (size_t)more;
	}
	assert_int_equal(sent, TOTAL);
	assert_true(got > TOTAL - sizeof(text) && got <= TOTAL);
	close(client);
	close(conn);
	close(listener);
	door_stop(&d);
}

static void chunked_both_ways(void **state)
{
	struct door_config c = { .nendpoints = 1 };
	int listener = tcp_listen(&c.endpoints[0]), client, conn;
	struct door d;

	(void)state;
	door_start(&d, &c);
	client = tcp_connect(d.port);
	tcp_send(client, "POST / HTTP/1.1\r\nHost: " DOOR_HOST
			 "\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3\r\nabc\r\n");
	conn = tcp_accept(listener);
	expect(conn, "3\r\nabc\r\n");
	/* We take trailers, since the client does. */
	assert_non_null(strstr(text, "\r\nConnection: TE\r\nTE: trailers\r\n"));
	tcp_send(client, "2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n");
	expect(conn, "0\r\nX-Sum: 5\r\n\r\n");
	tcp_send(
		conn,
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n");
	expect(client, "xyz");
	assert_true(strncmp(text, "HTTP/1.1 103 ", 13) == 0);
	tcp_send(conn, "0\r\nX-Sum: 3\r\n\r\n");
	expect(client, "0\r\nX-Sum: 3\r\n\r\n");
	close(client);
	close(conn);
	close(listener);
	door_stop(&d);
}

static void client_leaves(void **state)
{
	struct door_config c = { .nendpoints = 1 };
	int listener = tcp_listen(&c.endpoints[0]), client, conn;
	struct door d;

	(void)state;
	door_start(&d, &c);
	for (unsigned answered = 0; answered < 2; answered++) {
		client = tcp_connect(d.port);
		tcp_send(client, GET);
		conn = tcp_accept(listener);
		expect(conn, "\r\n\r\n");
		if (answered) {
			tcp_send(
				conn,
				"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
			expect(client, "data: 1");
			WAIT_FOR(&d, views[0].tunnels, 1);
		}
		close(client);
		/* The upstream learns of it. */
		tcp_read_until(conn, text, sizeof(text), NULL);
		WAIT_FOR(&d, front.active, 0);
		assert_int_equal(d.shared->views[0].in_flight, 0);
		assert_int_equal(d.shared->views[0].tunnels, 0);
		assert_int_equal(d.shared->views[0].state, ENDPOINT_IN);
		close(conn);
	}
	close(listener);
	door_stop(&d);
}

/* An endpoint dies with more in hand than may be sent again: a hundred in ten seconds, however few
 * requests there were. The others are told; nobody is asked twice as often because of a failure. */
static void budget(void **state)
{
	enum { CLIENTS = 130, FLOOR = 100 };
	struct door_config c = { .nendpoints = 2 };
	int listeners[2], clients[CLIENTS], conns[CLIENTS], again;
	unsigned ok = 0, failed = 0;
	struct door d;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		listeners[i] = tcp_listen(&c.endpoints[i]);
	door_start(&d, &c);
	door_command(&d, DOOR_WEIGHT, 1); /* 0: nothing for now */
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i] = tcp_connect(d.port);
		tcp_send(clients[i], GET_CLOSE);
		conns[i] = tcp_accept(listeners[0]);
		expect(conns[i], "\r\n\r\n");
	}
	d.shared->weight = 1;
	door_command(&d, DOOR_WEIGHT, 1);
	for (unsigned i = 0; i < CLIENTS; i++)
		tcp_reset(conns[i]);
	for (unsigned i = 0; i < FLOOR; i++) {
		again = tcp_accept(listeners[1]);
		expect(again, "\r\n\r\n");
		tcp_send(again, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
		close(again);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		tcp_read_until(clients[i], text, sizeof(text), NULL);
		ok += strncmp(text, "HTTP/1.1 200 ", 13) == 0;
		failed += strncmp(text, "HTTP/1.1 502 ", 13) == 0;
		close(clients[i]);
	}
	assert_int_equal(ok, FLOOR);
	assert_int_equal(failed, CLIENTS - FLOOR);
	door_command(&d, DOOR_SNAPSHOT, 0);
	assert_int_equal(d.shared->front.retries, FLOOR);
	assert_int_equal(d.shared->front.retries_refused, CLIENTS - FLOOR);
	assert_int_equal(d.shared->views[0].ejections, 1);
	close(listeners[0]);
	close(listeners[1]);
	door_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_turn),
		cmocka_unit_test(budget),
		cmocka_unit_test(held_and_released),
		cmocka_unit_test(held_too_long_or_too_many),
		cmocka_unit_test(destroyed_while_held),
		cmocka_unit_test(destroyed_in_flight),
		cmocka_unit_test(out_and_back),
		cmocka_unit_test(drained),
		cmocka_unit_test(taken_out),
		cmocka_unit_test(many_taken_out),
		cmocka_unit_test(tunnel),
		cmocka_unit_test(response_limit),
		cmocka_unit_test(back_pressure),
		cmocka_unit_test(chunked_both_ways),
		cmocka_unit_test(client_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
