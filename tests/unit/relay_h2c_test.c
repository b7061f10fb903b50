/* Requests through a front door to an upstream that speaks HTTP/2: multiplexed, retried where nothing
 * was done, and gRPC calls that end with a status whatever happens. */
#include "door_talk.h"
#include "h2_peer.h"

#include <fcntl.h>

#define CALL                                                                                     \
	"POST /svc/Method HTTP/1.1\r\nHost: " DOOR_HOST "\r\nContent-Type: application/grpc\r\n" \
	"TE: trailers\r\nConnection: TE\r\nContent-Length: 5\r\n\r\nhello"
#define CLIENTS 3

struct world {
	struct door door;
	struct door_config config;
	int listener;
	struct peer peer;
	int clients[CLIENTS];
};

/* While the front door works in its process. */
#define PLAY_UNTIL(p, condition)                                    \
	do {                                                        \
		unsigned play_ms = 0;                               \
		for (; !(condition) && play_ms < 5000; play_ms++) { \
			nap_ms(1);                                  \
			peer_step(p);                               \
		}                                                   \
		if (play_ms == 5000)                                \
			fail_msg("%s: not within 5 s", #condition); \
	} while (0)

static void accept_peer(struct world *w, struct peer *p)
{
	static const nghttp2_settings_entry some[] = { { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
							 100 } };
	int fd = tcp_accept(w->listener);

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	peer_open(p, fd, some, 1);
}

/* A front door with one endpoint, and calls of the first clients under way there. */
static void begin(struct world *w, unsigned calls)
{
	memset(&w->peer, 0, sizeof(w->peer));
	w->config.nendpoints = 1;
	w->config.policy.protocol = PROTOCOL_H2C;
	w->listener = tcp_listen(&w->config.endpoints[0]);
	door_start(&w->door, &w->config);
	for (unsigned i = 0; i < CLIENTS; i++)
		w->clients[i] = tcp_connect(w->door.port);
	for (unsigned i = 0; i < calls; i++) {
		tcp_send(w->clients[i], CALL);
		if (i == 0)
			accept_peer(w, &w->peer);
		PLAY_UNTIL(&w->peer, w->peer.nstreams == i + 1);
	}
}

static void start(struct world *w, unsigned calls)
{
	memset(w, 0, sizeof(*w));
	begin(w, calls);
}

static void stop(struct world *w)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		close(w->clients[i]);
	if (w->peer.session)
		peer_close(&w->peer);
	close(w->listener);
	door_stop(&w->door);
}

static void answer(struct peer *p, struct peer_stream *s)
{
	s->trailer_name = "grpc-status";
	s->trailer_value = "0";
	peer_answer(p, s, "200", "content-type", "application/grpc", "world", 5, false);
}

static void calls_share_a_connection(void **state)
{
	struct world w;

	(void)state;
	start(&w, CLIENTS);
	for (unsigned i = CLIENTS; i-- > 0;) {
		struct peer_stream *s = peer_request(&w.peer, i);

		PLAY_UNTIL(&w.peer, s->ended);
		assert_string_equal(s->method, "POST");
		assert_string_equal(s->path, "/svc/Method");
		assert_string_equal(s->authority, DOOR_HOST);
		assert_string_equal(s->te, "trailers");
		assert_memory_equal(s->body, "hello", 5);
		answer(&w.peer, s);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		expect(w.clients[i], "world\r\n0\r\ngrpc-status: 0\r\n\r\n");
	/* The next ones too. */
	tcp_send(w.clients[0], CALL);
	PLAY_UNTIL(&w.peer, w.peer.nstreams == CLIENTS + 1);
	answer(&w.peer, peer_request(&w.peer, CLIENTS));
	expect(w.clients[0], "grpc-status: 0\r\n\r\n");
	stop(&w);
}

static void what_was_not_done_is_done_again(void **state)
{
	static const struct {
		const char *name;
		bool goaway;
	} cases[] = { { "GOAWAY", true }, { "REFUSED_STREAM", false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct world w;
		struct peer next;

		start(&w, 1);
		if (cases[i].goaway) {
			nghttp2_submit_goaway(w.peer.session, 0, 0, NGHTTP2_NO_ERROR, NULL, 0);
			peer_step(&w.peer);
			accept_peer(&w, &next);
			PLAY_UNTIL(&next, next.nstreams == 1 && peer_request(&next, 0)->ended);
			assert_memory_equal(peer_request(&next, 0)->body, "hello", 5);
			answer(&next, peer_request(&next, 0));
		} else {
			nghttp2_submit_rst_stream(w.peer.session, 0, peer_request(&w.peer, 0)->id,
						  NGHTTP2_REFUSED_STREAM);
			PLAY_UNTIL(&w.peer, w.peer.nstreams == 2);
			answer(&w.peer, peer_request(&w.peer, 1));
		}
		expect(w.clients[0], "grpc-status: 0\r\n\r\n");
		door_command(&w.door, DOOR_SNAPSHOT, 0);
		CHECK_INT(cases[i].name, w.door.shared->front.retries, 1);
		CHECK_INT(cases[i].name, w.door.shared->views[0].failures, 0);
		if (cases[i].goaway)
			peer_close(&next);
		stop(&w);
	}
}

/* Who answers before it has read the request reads all of it none the less, on a second attempt
 * too. */
static void answered_before_all_was_sent_again(void **state)
{
	static const nghttp2_settings_entry narrow = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 3 };
	struct peer_stream *s;
	struct world w;

	(void)state;
	start(&w, 1);
	w.peer.thrifty = true;
	nghttp2_submit_settings(w.peer.session, 0, &narrow, 1);
	nghttp2_submit_rst_stream(w.peer.session, 0, peer_request(&w.peer, 0)->id,
				  NGHTTP2_REFUSED_STREAM);
	PLAY_UNTIL(&w.peer, w.peer.nstreams == 2 && peer_request(&w.peer, 1)->body_n == 3);
	s = peer_request(&w.peer, 1);
	peer_answer(&w.peer, s, "200", "content-type", "application/grpc", "wor", 3, true);
	expect(w.clients[0], "wor");
	nghttp2_submit_window_update(w.peer.session, 0, s->id, 100);
	PLAY_UNTIL(&w.peer, s->ended || s->reset);
	assert_false(s->reset);
	CHECK_INT("content", s->body_n, 5);
	assert_memory_equal(s->body, "hello", 5);
	s->trailer_name = "grpc-status";
	s->trailer_value = "0";
	peer_continue(&w.peer, s, "ld", 2, false);
	expect(w.clients[0], "grpc-status: 0\r\n\r\n");
	stop(&w);
}

/* But not for ever. */
static void refused_twice(void **state)
{
	struct world w;

	(void)state;
	start(&w, 1);
	for (unsigned i = 0; i < 2; i++) {
		PLAY_UNTIL(&w.peer, w.peer.nstreams == i + 1);
		nghttp2_submit_rst_stream(w.peer.session, 0, peer_request(&w.peer, i)->id,
					  NGHTTP2_REFUSED_STREAM);
		peer_step(&w.peer);
	}
	expect(w.clients[0], "HTTP/1.1 200 ");
	assert_non_null(strstr(text, "grpc-status: 14\r\n"));
	assert_non_null(strstr(text, "Content-Type: application/grpc\r\n"));
	WAIT_FOR(&w.door, front.by_status[5], 1);
	stop(&w);
}

static void a_lost_connection_is_one_fault(void **state)
{
	struct world w;

	(void)state;
	start(&w, CLIENTS);
	for (unsigned i = 0; i < CLIENTS; i++)
		peer_answer(&w.peer, peer_request(&w.peer, i), "200", "content-type",
			    "application/grpc", "wor", 3, true);
	for (unsigned i = 0; i < CLIENTS; i++)
		expect(w.clients[i], "wor");
	peer_close(&w.peer);
	for (unsigned i = 0; i < CLIENTS; i++)
		expect(w.clients[i], "grpc-status: 14\r\n");
	WAIT_FOR(&w.door, views[0].failures, 1);
	assert_int_equal(w.door.shared->failed, 0); /* the last one stays in routing */
	stop(&w);
}

/* Who reads no trailers must see that it was cut. */
static void others_are_cut(void **state)
{
	struct world w;

	(void)state;
	start(&w, 0);
	tcp_send(w.clients[0], "GET /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\n\r\n");
	accept_peer(&w, &w.peer);
	PLAY_UNTIL(&w.peer, w.peer.nstreams == 1);
	peer_answer(&w.peer, peer_request(&w.peer, 0), "200", NULL, NULL, "wor", 3, true);
	expect(w.clients[0], "wor");
	nghttp2_submit_rst_stream(w.peer.session, 0, peer_request(&w.peer, 0)->id,
				  NGHTTP2_INTERNAL_ERROR);
	peer_step(&w.peer);
	assert_int_equal(tcp_read_until(w.clients[0], text, sizeof(text), NULL), -1);
	stop(&w);
}

static void drained(void **state)
{
	struct world w;

	(void)state;
	start(&w, 2);
	for (unsigned i = 0; i < 2; i++) {
		peer_answer(&w.peer, peer_request(&w.peer, i), "200", "content-type",
			    "application/grpc", "wor", 3, true);
		expect(w.clients[i], "wor");
	}
	w.door.shared->requests_ms = 60000;
	w.door.shared->tunnels_ms = 300;
	door_command(&w.door, DOOR_DRAIN, 0);
	peer_request(&w.peer, 0)->trailer_name = "grpc-status";
	peer_request(&w.peer, 0)->trailer_value = "0";
	peer_continue(&w.peer, peer_request(&w.peer, 0), "ld", 2, false);
	/* One ends well, one is cut, and says so to both sides. */
	expect(w.clients[0], "grpc-status: 0\r\n");
	expect(w.clients[1], "grpc-status: 14\r\n");
	PLAY_UNTIL(&w.peer, w.peer.closed);
	assert_true(peer_request(&w.peer, 1)->reset && w.peer.goaway);
	WAIT_FOR(&w.door, drained, 1);
	assert_int_equal(w.door.shared->cut, 1);
	stop(&w);
}

/* Calls have deadlines of their own; a policy's limit counts all the same, others' limits always. */
static void silence(void **state)
{
	struct world w;

	(void)state;
	memset(&w, 0, sizeof(w));
	w.config.wait_ms = 100;
	begin(&w, 1);
	tcp_send(w.clients[1], "GET /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\n\r\n");
	expect(w.clients[1], "HTTP/1.1 504 ");
	peer_answer(&w.peer, peer_request(&w.peer, 0), "200", "content-type", "application/grpc",
		    "wor", 3, true);
	expect(w.clients[0], "wor");
	tcp_send(w.clients[2], "GET /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\n\r\n");
	expect(w.clients[2], "HTTP/1.1 504 ");
	peer_request(&w.peer, 0)->trailer_name = "grpc-status";
	peer_request(&w.peer, 0)->trailer_value = "0";
	peer_continue(&w.peer, peer_request(&w.peer, 0), "ld", 2, false);
	expect(w.clients[0], "grpc-status: 0\r\n");
	stop(&w);
	w.config.head_ms = 100;
	begin(&w, 1);
	expect(w.clients[0], "grpc-status: 4\r\n");
	stop(&w);
}

static void no_tunnel(void **state)
{
	struct world w;

	(void)state;
	start(&w, 0);
	tcp_send(w.clients[0], "GET /x HTTP/1.1\r\nHost: " DOOR_HOST
			       "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
			       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
			       "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	accept_peer(&w, &w.peer);
	peer_step(&w.peer);
	expect(w.clients[0], "HTTP/1.1 501 ");
	assert_int_equal(w.peer.nstreams, 0);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_share_a_connection),
		cmocka_unit_test(what_was_not_done_is_done_again),
		cmocka_unit_test(answered_before_all_was_sent_again),
		cmocka_unit_test(refused_twice),
		cmocka_unit_test(a_lost_connection_is_one_fault),
		cmocka_unit_test(others_are_cut),
		cmocka_unit_test(drained),
		cmocka_unit_test(silence),
		cmocka_unit_test(no_tunnel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
