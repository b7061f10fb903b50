/* Watches on links: whether a node's agent is there is found out in time, whatever its calls wait for. */
#include "check.h"

#include <errno.h>

#include "control/links.h"
#include "pump.h"

struct link_op {
	bool running;
	link_done_fn *done;
	link_list_fn *listed;
	void *arg;
};

static struct loop *loop;
static struct links *links;
static struct link_op stream, listing, pinging;
static unsigned reachables, losses;
static char why[80];

static struct link_op *begin(struct link_op *op, void *arg)
{
	assert_false(op->running);
	*op = (struct link_op){ .running = true, .arg = arg };
	return op;
}

static struct link_op *fake_events(struct link *l, const struct link_stream *s, void *arg)
{
	(void)l, (void)s;
	return begin(&stream, arg);
}

static struct link_op *fake_list(struct link *l, link_list_fn *done, void *arg)
{
	(void)l;
	begin(&listing, arg)->listed = done;
	return &listing;
}

static struct link_op *fake_ping(struct link *l, link_done_fn *done, void *arg)
{
	(void)l;
	begin(&pinging, arg)->done = done;
	return &pinging;
}

static void fake_cancel(struct link_op *op)
{
	assert_true(op->running);
	op->running = false;
}

static struct link_ops ops = {
	.events = fake_events, .list = fake_list, .ping = fake_ping, .cancel = fake_cancel
};
static struct link fake = { &ops };

static void on_reachable(void *arg, int64_t node_id)
{
	(void)arg, (void)node_id;
	reachables++;
}

static void on_lost(void *arg, int64_t node_id, const char *reason)
{
	(void)arg, (void)node_id;
	losses++;
	snprintf(why, sizeof(why), "%s", reason);
}

static void on_inventory(void *arg, int64_t node_id, const struct wire_container *list, size_t n)
{
	(void)arg, (void)node_id, (void)list, (void)n;
}

static void on_closing(void *arg, int64_t node_id)
{
	(void)arg, (void)node_id;
}

static const struct links_reports reports = {
	.reachable = on_reachable, .lost = on_lost, .inventory = on_inventory, .closing = on_closing
};

/* The node is known to be there, and then asked whether it still is. */
static int setup(void **state)
{
	struct links_config c = { .reports = &reports };
	struct link_result ok = { 0 };
	struct err err;

	(void)state;
	stream = listing = pinging = (struct link_op){ 0 };
	reachables = losses = 0;
	ops.ping = fake_ping;
	assert_int_equal(loop_create(&loop, &err), 0);
	c.loop = loop;
	links = links_create(&c);
	links_attach(links, 1, &fake);
	listing.running = false;
	listing.listed(listing.arg, &ok, NULL, 0);
	assert_int_equal(reachables, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	links_destroy(links);
	loop_destroy(loop);
	assert_false(stream.running || listing.running || pinging.running);
	return 0;
}

static void answer(int rc)
{
	struct link_result res = { .rc = rc, .error = "as told" };

	pinging.running = false;
	pinging.done(pinging.arg, &res);
}

static void pump_ms(uint32_t ms)
{
	uint64_t until_ms = loop_now_ms(loop) + ms;

	PUMP_UNTIL(loop, loop_now_ms(loop) > until_ms);
}

static void test_no_answer_in_time(void **state)
{
	uint64_t began_ms = loop_now_ms(loop);

	(void)state;
	links_probe(links, 1);
	assert_true(listing.running && pinging.running);
	links_probe(links, 1);
	PUMP_UNTIL(loop, losses == 1);
	assert_true(loop_now_ms(loop) - began_ms < 900);
	assert_string_equal(why, "the agent does not answer");
	/* Nothing waits on connections that are dead; soon it is tried on new ones. */
	assert_false(stream.running || listing.running || pinging.running);
	PUMP_UNTIL(loop, stream.running && listing.running);
}

static void test_an_answer_of_any_kind_is_one(void **state)
{
	static const int answers[] = { 0, -ENOENT, -EIO };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		links_probe(links, 1);
		answer(answers[i]);
	}
	pump_ms(700);
	assert_int_equal(losses, 0);
	assert_true(listing.running && stream.running);
}

static void test_no_way_there(void **state)
{
	(void)state;
	links_probe(links, 1);
	answer(-ECOMM);
	assert_int_equal(losses, 1);
	assert_string_equal(why, "as told");
	pump_ms(700);
	assert_int_equal(losses, 1);
}

static void test_a_link_without_an_agent(void **state)
{
	(void)state;
	ops.ping = NULL;
	links_probe(links, 1);
	pump_ms(700);
	assert_int_equal(losses, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_no_answer_in_time),
		TEST(test_an_answer_of_any_kind_is_one),
		TEST(test_no_way_there),
		TEST(test_a_link_without_an_agent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
