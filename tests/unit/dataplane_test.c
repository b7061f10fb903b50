/* The domain's routing decisions as the proxy gets them: a request that waits on a suspect node
 * moves, and a static route's targets change without touching those that stay. */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "asker.h"
#include "control/routing.h"
#include "door.h"
#include "proxy/endpoint.h"
#include "reactor/deadline.h"

#define HOST "app.test"

struct world {
	struct loop *loop;
	struct front *front;
	struct dataplane *d;
	struct asker asker;
};

/* ---- the world ---- */

static void on_failed(void *arg, const struct endpoint_ref *ref, enum upstream_failure failure)
{
	(void)arg;
	(void)ref;
	(void)failure;
}

static void on_recovered(void *arg, const struct op *op)
{
	(void)arg;
	(void)op;
}

static void on_drained(void *arg, const struct endpoint_ref *ref)
{
	(void)arg;
	(void)ref;
}

static void ask(struct world *w)
{
	asker_init(&w->asker, w->loop, HOST, "/");
	asker_ask(&w->asker, w->front);
}

static void on_stop(void *arg)
{
	loop_stop(arg);
}

static void pass(struct world *w, uint32_t ms)
{
	struct deadline d;

	deadline_init(&d, w->loop, on_stop, w->loop);
	deadline_set(&d, ms);
	loop_run(w->loop);
	deadline_stop(&d);
}

/* Lets the loop run until <cond>, within a limit that only a failure reaches. */
#define PASS_UNTIL(w, cond)                                       \
	do {                                                      \
		for (unsigned i_ = 0; i_ < 5000 && !(cond); i_++) \
			pass(w, 1);                               \
		assert_true(cond);                                \
	} while (0)

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* The connection that the request comes by, and all of its head. */
static int take_request(struct world *w, int listener)
{
	char text[4096];
	int fd;

	PASS_UNTIL(w, readable(listener));
	fd = tcp_accept(listener);
	PASS_UNTIL(w, readable(fd));
	tcp_read_until(fd, text, sizeof(text), "\r\n\r\n");
	return fd;
}

static int set_up(void **state)
{
	static const struct dataplane_reports reports = { on_failed, on_recovered, on_drained };
	static struct world w;
	struct dataplane_config c = { .request_drain_ms = 1000,
				      .tunnel_drain_ms = 1000,
				      .reports = &reports };
	struct front_config front;

	memset(&w, 0, sizeof(w));
	front_config_default(&front);
	assert_int_equal(loop_create(&w.loop, NULL), 0);
	c.loop = w.loop;
	w.d = dataplane_create(&c);
	assert_int_equal(
		front_create(&w.front, w.loop, NULL, &front, &dataplane_front_reports, w.d, NULL),
		0);
	dataplane_start(w.d, w.front);
	*state = &w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	dataplane_destroy(w->d);
	front_destroy(w->front);
	loop_destroy(w->loop);
	return 0;
}

static struct effect_route replica(uint32_t n, const struct addr *at)
{
	return (struct effect_route){ .endpoint = { .app = "app",
						    .replica = n,
						    .container_id = n == 1 ? "one" : "two",
						    .started_at = "now",
						    .ip = "127.0.0.1",
						    .port = addr_port(at) } };
}

static void suspicion_moves_what_waits(void **state)
{
	struct world *w = *state;
	const struct effect_host host = { .host = HOST, .path = "/", .app = "app" };
	struct effect_route one, two;
	struct addr at[2];
	int listeners[2] = { tcp_listen(&at[0]), tcp_listen(&at[1]) }, first, second;

	one = replica(1, &at[0]);
	two = replica(2, &at[1]);
	dataplane_host_set(w->d, &host);
	dataplane_route_in(w->d, &one);
	ask(w);
	first = take_request(w, listeners[0]);
	/* Out, with nowhere to go: the request stays where it is, also when there is. */
	assert_true(dataplane_failed(w->d, &one));
	dataplane_route_in(w->d, &two);
	assert_true(dataplane_failed(w->d, &one));
	pass(w, 20);
	assert_false(readable(first));
	one.suspect = true;
	assert_true(dataplane_failed(w->d, &one));
	second = take_request(w, listeners[1]);
	assert_true(readable(first)); /* closed */
	tcp_send(second, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	PASS_UNTIL(w, w->asker.over);
	assert_int_equal(w->asker.x.status, 200);
	asker_close(&w->asker, NULL);
	close(first);
	close(second);
	close(listeners[0]);
	close(listeners[1]);
}

static void pause_app(struct world *w, bool paused)
{
	const struct effect_pause e = { .app = "app", .paused = paused };

	dataplane_app_pause(w->d, &e);
}

/* Said before the app has a host or an endpoint, as at a start, and also after it lost both. */
static void a_paused_app_holds(void **state)
{
	struct world *w = *state;
	const struct effect_host host = { .host = HOST, .path = "/", .app = "app" };
	struct effect_route one;
	struct upstream_stats stats;
	struct addr at;
	int listener = tcp_listen(&at), conn;

	one = replica(1, &at);
	pause_app(w, true);
	for (unsigned i = 0; i < 2; i++) {
		dataplane_host_set(w->d, &host);
		dataplane_route_in(w->d, &one);
		ask(w);
		pass(w, 20);
		assert_false(readable(listener));
		upstream_stats(dataplane_upstream(w->d, "app"), &stats);
		assert_int_equal(stats.holding, 1);
		assert_int_equal(stats.in, 1);
		if (i)
			break;
		asker_close(&w->asker, "the client left");
		dataplane_host_del(w->d, HOST, "/");
		dataplane_route_out(w->d, &one);
		pass(w, 5);
		assert_non_null(dataplane_upstream(w->d, "app"));
	}
	pause_app(w, false);
	conn = take_request(w, listener);
	tcp_send(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	PASS_UNTIL(w, w->asker.over);
	assert_int_equal(w->asker.x.status, 200);
	asker_close(&w->asker, NULL);
	/* What is loaded from the store anew says which are paused. */
	pause_app(w, true);
	dataplane_resync_begin(w->d);
	dataplane_host_set(w->d, &host);
	dataplane_route_in(w->d, &one);
	dataplane_resync_end(w->d);
	ask(w);
	close(conn);
	conn = take_request(w, listener);
	tcp_send(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	PASS_UNTIL(w, w->asker.over);
	assert_int_equal(w->asker.x.status, 200);
	asker_close(&w->asker, NULL);
	close(conn);
	close(listener);
}

/* "127.0.0.1:1 x3 in, …": address, weight and state of each. */
static const char *endpoints(struct world *w)
{
	static char text[512];
	const struct upstream *u = dataplane_static(w->d, HOST, "/");
	size_t n = 0;

	text[0] = '\0';
	for (const struct endpoint *e = NULL; (e = upstream_next(u, e));) {
		struct endpoint_view v;

		endpoint_view(e, &v);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s x%u %s", n ? ", " : "",
				      v.at->text, v.weight, endpoint_state_name(v.state));
	}
	return text;
}

static void lead(struct world *w, const char *a, const char *b)
{
	const char *items[] = { a, b };
	const struct effect_host e = { .host = HOST, .path = "/", .targets = { items, b ? 2 : 1 } };

	dataplane_host_static(w->d, &e);
	pass(w, 1);
}

static void targets_change_in_place(void **state)
{
	struct world *w = *state;
	struct addr at;
	int listener = tcp_listen(&at), conn;
	char url[96], want[256];

	snprintf(url, sizeof(url), "http://%s", at.text);
	lead(w, url, "http://127.0.0.1:1,weight=0");
	snprintf(want, sizeof(want), "%s x1 in, 127.0.0.1:1 x0 in", at.text);
	assert_string_equal(endpoints(w), want);
	ask(w);
	conn = take_request(w, listener);
	/* It is not named any more, but has something in hand. */
	lead(w, "http://127.0.0.1:1,weight=7", "http://127.0.0.1:2");
	snprintf(want, sizeof(want), "%s x1 draining, 127.0.0.1:1 x7 in, 127.0.0.1:2 x1 in",
		 at.text);
	assert_string_equal(endpoints(w), want);
	tcp_send(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	PASS_UNTIL(w, w->asker.over);
	assert_int_equal(w->asker.x.status, 200);
	asker_close(&w->asker, NULL);
	assert_string_equal(endpoints(w), "127.0.0.1:1 x7 in, 127.0.0.1:2 x1 in");
	/* Named again while it drains: a new one. The limit ends what it had. */
	lead(w, url, NULL);
	ask(w);
	pass(w, 5);
	lead(w, "http://127.0.0.1:1", NULL);
	lead(w, url, NULL);
	snprintf(want, sizeof(want), "%s x1 draining, %s x1 in", at.text, at.text);
	assert_string_equal(endpoints(w), want);
	snprintf(want, sizeof(want), "%s x1 in", at.text);
	PASS_UNTIL(w, strcmp(endpoints(w), want) == 0);
	assert_true(w->asker.over);
	assert_int_equal(w->asker.x.status, 502);
	asker_close(&w->asker, NULL);
	close(conn);
	close(listener);
}

/* ---- as messages ---- */

static int take(struct world *w, struct slice text)
{
	struct json *j;
	int rc;

	assert_int_equal(json_parse(&j, text, NULL), 0);
	rc = routing_take(w->d, j);
	json_free(j);
	return rc;
}

/* Through a message, as another process gets it. */
static void send_effect(struct world *w, const struct effect *e)
{
	struct buf b;

	buf_init(&b, 0);
	assert_true(routing_is(e->type));
	routing_put(&b, e);
	assert_int_equal(take(w, buf_slice(&b)), 0);
	buf_fini(&b);
}

static void messages_do_what_effects_do(void **state)
{
	struct world *w = *state;
	struct addr at;
	int listener = tcp_listen(&at);
	const char *targets[] = { "http://127.0.0.1:1,weight=3", "http://127.0.0.1:2" };
	struct pair policy[] = { { "max-in-flight", "5" } };
	struct effect host = { .type = EFFECT_HOST_SET, .host = { HOST, "/", "app", { 0 }, { 0 } } },
		      fixed = { .type = EFFECT_HOST_STATIC,
				.host = { HOST, "/", "", { targets, 2 }, { policy, 1 } } },
		      gone = { .type = EFFECT_HOST_DEL, .host = { HOST, "/", "", { 0 }, { 0 } } },
		      rules = { .type = EFFECT_APP_POLICY, .policy = { .app = "app", .host = HOST, .policy = { policy, 1 } } },
		      hold = { .type = EFFECT_APP_PAUSE, .pause = { "app", true } },
		      in = { .type = EFFECT_ROUTE_IN, .route = replica(1, &at) },
		      failed = { .type = EFFECT_ENDPOINT_FAILED, .route = replica(1, &at) },
		      out = { .type = EFFECT_ROUTE_OUT, .route = replica(1, &at) };
	struct endpoint_view v;

	send_effect(w, &host);
	assert_true(front_has_host(w->front, SLICE(HOST)));
	in.route.weight = 7;
	send_effect(w, &in);
	assert_true(dataplane_view(w->d, "app", 1, &v));
	assert_string_equal(v.at->text, at.text);
	assert_int_equal(v.state, ENDPOINT_IN);
	assert_int_equal(v.weight, 7);
	send_effect(w, &rules);
	assert_int_equal(dataplane_upstream(w->d, "app")->policy.max_in_flight, 5);
	send_effect(w, &hold);
	assert_true(dataplane_upstream(w->d, "app")->paused);
	hold.pause.paused = false;
	send_effect(w, &hold);
	assert_false(dataplane_upstream(w->d, "app")->paused);
	send_effect(w, &failed);
	assert_true(dataplane_view(w->d, "app", 1, &v));
	assert_int_equal(v.state, ENDPOINT_OUT);
	send_effect(w, &out);
	pass(w, 1);
	assert_false(dataplane_view(w->d, "app", 1, &v));
	send_effect(w, &fixed);
	assert_string_equal(endpoints(w), "127.0.0.1:1 x3 in, 127.0.0.1:2 x1 in");
	send_effect(w, &gone);
	assert_false(front_has_host(w->front, SLICE(HOST)));
	close(listener);
}

static void other_messages_do_nothing(void **state)
{
	static const struct {
		const char *text;
		int want;
	} cases[] = {
		{ "{}", -ENOENT },
		{ "[]", -ENOENT },
		{ "{\"of a later version\":{}}", -ENOENT },
		{ "{\"route_in\":{}}", -EINVAL },
		{ "{\"route_in\":7}", -EINVAL },
		{ "{\"route_out\":{\"app\":7,\"replica\":1,\"container_id\":\"c\",\"started_at\":\"\"}}",
		  -EINVAL },
		{ "{\"host_set\":{\"host\":\"a\"}}", -EINVAL },
		{ "{\"host_static\":{\"host\":\"a\",\"path\":\"/\",\"targets\":[1]}}", -EINVAL },
		{ "{\"app_pause\":{}}", -EINVAL },
		{ "{\"app_policy\":{\"app\":\"a\",\"policy\":[]}}", -EINVAL },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		CHECK_INT(cases[i].text, take(w, slice_str(cases[i].text)), cases[i].want);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(suspicion_moves_what_waits),
		TEST(a_paused_app_holds),
		TEST(targets_change_in_place),
		TEST(messages_do_what_effects_do),
		TEST(other_messages_do_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
