/* The choice among endpoints as a property: shares, turns, load, and what a choice costs. No loop,
 * no sockets; the seed is fixed, so that every run is the same. */
#include "check.h"

#include "proxy/endpoint.h"

#define SEED 0x9e3779b97f4a7c15
#define MAX_ENDPOINTS 10000

static struct endpoint endpoints[MAX_ENDPOINTS];
static uint32_t got[MAX_ENDPOINTS];

static void start(struct choice *c, enum balance balance, const uint32_t *weights, uint32_t n)
{
	choice_init(c, balance, SEED);
	memset(endpoints, 0, sizeof(endpoints));
	memset(got, 0, sizeof(got));
	for (uint32_t i = 0; i < n; i++) {
		endpoints[i].id = i + 1;
		endpoints[i].weight = weights ? weights[i] : 1;
		list_init(&endpoints[i].ring_link);
		choice_put(c, &endpoints[i]);
	}
}

static struct endpoint *pick(struct choice *c)
{
	struct endpoint *e = choice_pick(c, NULL, 0);

	assert_non_null(e);
	got[e->id - 1]++;
	return e;
}

static void enter(struct choice *c, struct endpoint *e)
{
	e->in_flight++;
	choice_moved(c, e);
}

static void leave(struct choice *c, struct endpoint *e)
{
	e->in_flight--;
	choice_moved(c, e);
}

/* <picks> requests, <width> of them in flight, any of which may end next. */
static void run(struct choice *c, uint32_t picks, uint32_t width)
{
	static struct endpoint *open[4096];
	uint64_t random = SEED;
	uint32_t n = 0;

	for (uint32_t i = 0; i < picks; i++) {
		if (n == width) {
			uint32_t at;

			random = random * 6364136223846793005u + 1442695040888963407u;
			at = (uint32_t)((random >> 33) % width);
			leave(c, open[at]);
			open[at] = open[--n];
		}
		open[n] = pick(c);
		enter(c, open[n++]);
	}
	while (n)
		leave(c, open[--n]);
}

static const struct {
	const char *name;
	enum balance balance;
	uint32_t weights[6], n, width;
	uint32_t slack_percent; /* of an endpoint's fair share */
} shares[] = {
	{ "equals, one after the other", BALANCE_P2C, { 1, 1, 1, 1 }, 4, 1, 0 },
	{ "equals, many at once", BALANCE_P2C, { 1, 1, 1, 1, 1, 1 }, 6, 60, 2 },
	{ "three sizes, one after the other", BALANCE_P2C, { 1, 2, 4 }, 3, 1, 0 },
	{ "three sizes, many at once", BALANCE_P2C, { 1, 2, 4 }, 3, 70, 3 },
	{ "a canary, one after the other", BALANCE_P2C, { 95, 5 }, 2, 1, 0 },
	{ "a canary, many at once", BALANCE_P2C, { 95, 5 }, 2, 200, 10 },
	{ "a small canary, few at once", BALANCE_P2C, { 1000, 1000, 20 }, 3, 8, 15 },
	{ "equals in turn", BALANCE_ROUND_ROBIN, { 1, 1, 1 }, 3, 50, 0 },
	{ "weighted turns", BALANCE_ROUND_ROBIN, { 1, 3, 10, 100 }, 4, 50, 0 },
	{ "least connections of equals", BALANCE_LEAST_CONNECTIONS, { 1, 1, 1, 1 }, 4, 1, 0 },
	{ "least connections of many", BALANCE_LEAST_CONNECTIONS, { 1, 1, 1, 1 }, 4, 41, 2 },
	{ "least connections by weight", BALANCE_LEAST_CONNECTIONS, { 1, 2, 5 }, 3, 80, 5 },
};

static void in_proportion(void **state)
{
	enum { PICKS = 100000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
		uint64_t total = 0;
		struct choice c;

		start(&c, shares[i].balance, shares[i].weights, shares[i].n);
		run(&c, PICKS, shares[i].width);
		for (uint32_t j = 0; j < shares[i].n; j++)
			total += shares[i].weights[j];
		for (uint32_t j = 0; j < shares[i].n; j++) {
			uint64_t fair = PICKS * (uint64_t)shares[i].weights[j] / total;
			uint64_t slack = fair * shares[i].slack_percent / 100 + 2;

			if (got[j] + slack < fair || got[j] > fair + slack)
				fail_msg("%s: the one that weighs %u got %u, not %u ± %u",
					 shares[i].name, shares[i].weights[j], got[j],
					 (unsigned)fair, (unsigned)slack);
		}
		choice_fini(&c);
	}
}

/* Pearson's statistic of a thousand equals under load against the even spread; with 999 degrees of
 * freedom a fair die exceeds 1143 once in a thousand runs. Turns make it far more even than that. */
static void evenly(void **state)
{
	enum { N = 1000, PICKS = 200000 };
	double chi2 = 0, want = (double)PICKS / N;
	struct choice c;

	(void)state;
	start(&c, BALANCE_P2C, NULL, N);
	run(&c, PICKS, 2000);
	for (uint32_t i = 0; i < N; i++)
		chi2 += (got[i] - want) * (got[i] - want) / want;
	if (chi2 > 1143)
		fail_msg("the statistic is %.0f", chi2);
	choice_fini(&c);
}

/* The point of two choices: no endpoint is ever much busier than the others. */
static void no_heap_of_requests(void **state)
{
	enum { N = 1000 };
	struct choice c;
	uint32_t most = 0;

	(void)state;
	for (unsigned lc = 0; lc < 2; lc++) {
		start(&c, lc ? BALANCE_LEAST_CONNECTIONS : BALANCE_P2C, NULL, N);
		for (uint32_t i = 0; i < 10 * N; i++)
			enter(&c, pick(&c));
		most = 0;
		for (uint32_t i = 0; i < N; i++)
			most = MAX(most, endpoints[i].in_flight);
		assert_true(most <= (lc ? 10 : 12));
		choice_fini(&c);
	}
}

/* One that is busy gets less until it is not. */
static void spares_the_busy(void **state)
{
	struct choice c;

	(void)state;
	start(&c, BALANCE_P2C, NULL, 4);
	endpoints[0].in_flight = 100;
	for (unsigned i = 0; i < 4000; i++)
		pick(&c);
	/* Only when both of the two are it: a sixteenth. */
	assert_in_range(got[0], 150, 350);
	endpoints[0].in_flight = 0;
	for (unsigned i = 0; i < 4000; i++)
		pick(&c);
	assert_in_range(got[0], 1150, 1350);
	choice_fini(&c);
}

/* Whoever fills up leaves and comes back when it has room: turns stay fair. */
static void in_turn_at_a_limit_of_one(void **state)
{
	static const enum balance all[] = { BALANCE_P2C, BALANCE_ROUND_ROBIN,
					    BALANCE_LEAST_CONNECTIONS };
	struct choice c;

	(void)state;
	for (size_t b = 0; b < ARRAY_LEN(all); b++) {
		start(&c, all[b], NULL, 5);
		for (unsigned i = 0; i < 500; i++) {
			struct endpoint *e = pick(&c);

			choice_take(&c, e);
			choice_put(&c, e);
		}
		for (unsigned i = 0; i < 5; i++)
			assert_in_range(got[i], 99, 101);
		choice_fini(&c);
	}
}

/* Coming back does not mean getting all that was missed. */
static void nothing_to_catch_up(void **state)
{
	static const uint32_t weights[] = { 2, 2, 2 };
	struct choice c;

	(void)state;
	start(&c, BALANCE_ROUND_ROBIN, weights, 3);
	choice_take(&c, &endpoints[1]);
	for (unsigned i = 0; i < 3000; i++)
		pick(&c);
	assert_int_equal(got[1], 0);
	choice_put(&c, &endpoints[1]);
	for (unsigned i = 0; i < 300; i++)
		pick(&c);
	assert_in_range(got[1], 99, 101);
	choice_fini(&c);
}

/* Weights that change while it runs, both ways between ring and heap. */
static void reweighed(void **state)
{
	struct choice c;

	(void)state;
	start(&c, BALANCE_P2C, NULL, 3);
	for (unsigned i = 0; i < 301; i++)
		pick(&c);
	choice_take(&c, &endpoints[0]);
	endpoints[0].weight = 8;
	choice_put(&c, &endpoints[0]);
	memset(got, 0, sizeof(got));
	for (unsigned i = 0; i < 1000; i++)
		pick(&c);
	assert_in_range(got[0], 798, 802);
	assert_in_range(got[1], 98, 102);
	choice_take(&c, &endpoints[0]);
	endpoints[0].weight = 1;
	choice_put(&c, &endpoints[0]);
	memset(got, 0, sizeof(got));
	for (unsigned i = 0; i < 300; i++)
		pick(&c);
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(got[i], 99, 101);
	choice_fini(&c);
}

static void leaves_out_who_had_it(void **state)
{
	static const uint32_t weights[] = { 1, 1, 1000, 5, 1 };
	struct choice c;

	(void)state;
	for (unsigned weighted = 0; weighted < 2; weighted++) {
		uint64_t tried[5];

		start(&c, BALANCE_P2C, weighted ? weights : NULL, 5);
		for (unsigned n = 0; n < 5; n++) {
			struct endpoint *e = NULL;

			for (unsigned i = 0; i < 50; i++) {
				e = choice_pick(&c, tried, n);
				for (unsigned j = 0; j < n; j++)
					assert_int_not_equal(e->id, tried[j]);
			}
			tried[n] = e->id;
		}
		assert_null(choice_pick(&c, tried, 5));
		choice_fini(&c);
	}
}

/* Against what it should be: the first of all by load, then turn, then age, whatever happened
 * before. */
static void heap_order(void **state)
{
	enum { N = 200, STEPS = 20000 };
	uint64_t random = SEED;
	struct choice c;

	(void)state;
	start(&c, BALANCE_LEAST_CONNECTIONS, NULL, N);
	for (uint32_t i = 0; i < N; i++)
		if (i % 3 == 0) {
			choice_take(&c, &endpoints[i]);
			endpoints[i].weight = 1 + i % 7;
			choice_put(&c, &endpoints[i]);
		}
	for (unsigned step = 0; step < STEPS; step++) {
		struct endpoint *e;

		random = random * 6364136223846793005u + 1442695040888963407u;
		e = &endpoints[(random >> 33) % N];
		switch ((random >> 60) & 3) {
		case 0:
			if (e->choice_at == CHOICE_NOWHERE)
				choice_put(&c, e);
			else
				choice_take(&c, e);
			break;
		case 1:
			if (e->choice_at != CHOICE_NOWHERE && e->in_flight)
				leave(&c, e);
			break;
		default:
			e = choice_pick(&c, NULL, 0);
			if (!e)
				break;
			for (uint32_t i = 0; i < c.n; i++) {
				const struct endpoint *o = c.slots[i].endpoint;

				assert_int_equal(o->choice_at, i);
				assert_true((uint64_t)o->in_flight * e->weight >=
					    (uint64_t)e->in_flight * o->weight);
			}
			enter(&c, e);
		}
	}
	choice_fini(&c);
}

/* Ten thousand cost as much as ten, all but: counted in slots that are written. */
static void many(void **state)
{
	static uint32_t weights[MAX_ENDPOINTS];
	struct choice c;

	(void)state;
	for (uint32_t i = 0; i < MAX_ENDPOINTS; i++)
		weights[i] = 1 + i % 3;
	start(&c, BALANCE_P2C, weights, MAX_ENDPOINTS);
	for (uint32_t i = 0; i < 2000; i++) {
		static struct choice_slot before[MAX_ENDPOINTS];
		uint32_t moved = 0;

		memcpy(before, c.slots, sizeof(before));
		pick(&c);
		for (uint32_t j = 0; j < MAX_ENDPOINTS; j++)
			moved += before[j].endpoint != c.slots[j].endpoint;
		assert_true(moved <= 15);
	}
	choice_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_proportion),
		cmocka_unit_test(evenly),
		cmocka_unit_test(no_heap_of_requests),
		cmocka_unit_test(spares_the_busy),
		cmocka_unit_test(in_turn_at_a_limit_of_one),
		cmocka_unit_test(nothing_to_catch_up),
		cmocka_unit_test(reweighed),
		cmocka_unit_test(leaves_out_who_had_it),
		cmocka_unit_test(heap_order),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
