/* Choice and states of endpoints, without a byte on any wire. */
#include "check.h"

#include <errno.h>

#include "proxy/endpoint.h"
#include "proxy/route.h"

#define ENDPOINTS 4

struct world {
	struct loop *loop;
	struct front *front;
	struct upstream *u;
	struct endpoint *e[ENDPOINTS];
	unsigned failed, recovered, drained;
};

static void on_failed(void *arg, struct endpoint *e, enum endpoint_fault fault, const char *why)
{
	struct world *w = arg;

	/* It is out before anybody is told. */
	assert_int_not_equal(e->state, ENDPOINT_IN);
	assert_int_equal(fault, FAULT_REFUSED);
	assert_string_equal(why, "refused");
	w->failed++;
}

static void on_recovered(void *arg, struct endpoint *e)
{
	struct world *w = arg;

	(void)e;
	w->recovered++;
}

static void on_drained(void *arg, struct endpoint *e, unsigned cut)
{
	struct world *w = arg;

	assert_int_equal(cut, 0);
	endpoint_remove(e);
	w->drained++;
}

static int set_up(void **state)
{
	static const struct front_reports reports = { on_failed, on_recovered, on_drained };
	static struct world w;
	struct front_config c;
	struct addr at;

	memset(&w, 0, sizeof(w));
	front_config_default(&c);
	assert_int_equal(loop_create(&w.loop, NULL), 0);
	assert_int_equal(front_create(&w.front, w.loop, NULL, &c, &reports, &w, NULL), 0);
	w.u = upstream_create(w.front, "app", NULL);
	assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:9"), NULL), 0);
	for (unsigned i = 0; i < ENDPOINTS; i++)
		w.e[i] = endpoint_add(w.u, &at, "id", i);
	*state = &w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	front_destroy(w->front);
	loop_destroy(w->loop);
	return 0;
}

static void on_stop(void *arg)
{
	loop_stop(arg);
}

/* One turn: what was put off to its end happens. */
static void turn(struct world *w)
{
	struct deadline d;

	deadline_init(&d, w->loop, on_stop, w->loop);
	deadline_set(&d, 1);
	loop_run(w->loop);
	deadline_stop(&d);
}

static void takes_turns(void **state)
{
	struct world *w = *state;
	struct endpoint *first[ENDPOINTS];

	for (unsigned i = 0; i < 3 * ENDPOINTS; i++) {
		struct endpoint *e = upstream_pick(w->u, NULL, 0);

		if (i < ENDPOINTS)
			first[i] = e;
		assert_ptr_equal(e, first[i % ENDPOINTS]);
		for (unsigned j = 0; j < i && i < ENDPOINTS; j++)
			assert_ptr_not_equal(e, first[j]);
	}
}

static void states(void **state)
{
	struct world *w = *state;
	struct endpoint *e = w->e[0];
	struct upstream_stats stats;

	endpoint_fault(e, FAULT_REFUSED, "refused");
	endpoint_fault(e, FAULT_REFUSED, "refused");
	assert_int_equal(e->state, ENDPOINT_OUT);
	assert_non_null(e->probe);
	assert_int_equal(w->failed, 0); /* never from inside a call */
	turn(w);
	assert_int_equal(w->failed, 1);
	upstream_stats(w->u, &stats);
	assert_int_equal(stats.endpoints, ENDPOINTS);
	assert_int_equal(stats.in, ENDPOINTS - 1);

	endpoint_set_out(w->e[1], true);
	assert_int_equal(w->e[1]->state, ENDPOINT_OUT);
	assert_null(w->e[1]->probe);
	endpoint_drain(w->e[1], 0, 0);
	assert_int_equal(w->drained, 0);
	turn(w);
	assert_int_equal(w->drained, 1);
	/* Nothing moves one that drains. */
	endpoint_drain(e, 1000, 1000);
	endpoint_set_out(e, false);
	endpoint_fault(e, FAULT_REFUSED, "refused");
	assert_int_equal(e->state, ENDPOINT_DRAINING);
	turn(w);
	assert_int_equal(w->drained, 2);
	assert_int_equal(w->failed, 1);
	upstream_stats(w->u, &stats);
	assert_int_equal(stats.endpoints, ENDPOINTS - 2);
}

/* Who is alone and does not let requests wait stays in after a broken answer, not after a
 * refused connection. */
static void the_last_one(void **state)
{
	struct world *w = *state;

	for (unsigned i = 1; i < ENDPOINTS; i++)
		endpoint_remove(w->e[i]);
	endpoint_fault(w->e[0], FAULT_EARLY_EOF, "closed early");
	assert_int_equal(w->e[0]->state, ENDPOINT_IN);
	endpoint_fault(w->e[0], FAULT_REFUSED, "refused");
	assert_int_equal(w->e[0]->state, ENDPOINT_OUT);
}

static void destroyed_with_routes(void **state)
{
	struct world *w = *state;
	struct upstream *other = upstream_create(w->front, "other", NULL);
	struct route_stats stats;

	assert_int_equal(route_add(w->front, "a.test", "/", w->u), 0);
	assert_int_equal(route_add(w->front, "a.test", "/api/", w->u), 0);
	assert_int_equal(route_add(w->front, "a.test", "/api", other), -EEXIST);
	assert_int_equal(route_add(w->front, "127.0.0.1", "/", other), -EINVAL);
	assert_int_equal(route_stats(w->front, "a.test", "/api", &stats), 0);
	assert_true(front_has_host(w->front, SLICE("A.test:443")));
	upstream_destroy(w->u);
	assert_int_equal(route_count(w->front), 0);
	assert_false(front_has_host(w->front, SLICE("a.test")));
	assert_int_equal(route_stats(w->front, "a.test", "/api", &stats), -ENOENT);
	turn(w);
	/* Its name is free at once, and its memory goes with its last entry. */
	assert_int_equal(route_add(w->front, "a.test", "/", other), 0);
	assert_int_equal(route_remove(w->front, "a.test", "/api"), -ENOENT);
	assert_int_equal(route_count(w->front), 1);
	turn(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(takes_turns),
		TEST(states),
		TEST(the_last_one),
		TEST(destroyed_with_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
