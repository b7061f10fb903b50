/* The buckets and what is read from them. */
#include "check.h"

#include "base/histogram.h"

static void buckets(void **state)
{
	static const struct {
		const char *name;
		uint64_t us;
		unsigned bucket;
	} cases[] = {
		{ "nothing", 0, 0 },
		{ "less than the first bound", 62, 0 },
		{ "just over it", 63, 1 },
		{ "a bound belongs to its own bucket", 125, 1 },
		{ "and the next does not", 126, 2 },
		{ "a millisecond", 1000, 4 },
		{ "just over", 1001, 5 },
		{ "a second", 1000000, 14 },
		{ "the last bound", 65536000, 20 },
		{ "just over it", 65536001, 21 },
		{ "an hour", 3600000000, 21 },
		{ "for ever", UINT64_MAX / 2, 21 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		CHECK_INT(cases[i].name, histogram_bucket(cases[i].us), cases[i].bucket);
}

/* Every bucket against its bound, as a reader of the metrics understands it. */
static void bounds(void **state)
{
	(void)state;
	assert_int_equal(histogram_bound_ns(0), 62500);
	assert_int_equal(histogram_bound_ns(HISTOGRAM_BOUNDS - 1), 65536000000);
	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
		uint64_t us = histogram_bound_ns(i) / 1000;

		assert_int_equal(histogram_bucket(us), i);
		assert_int_equal(histogram_bucket(us + 1), i + 1);
	}
}

static void counts(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		histogram_add(&h, i * 1000);
	assert_int_equal(histogram_count(&h), 1000);
	assert_int_equal(h.sum_us, 499500000);
	assert_int_equal(h.count[0], 1);
	assert_int_equal(h.count[4], 1);
	assert_int_equal(h.count[14], 1000 - 513);
	assert_int_equal(h.count[15], 0);
}

static void quantiles(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	assert_int_equal(histogram_quantile_us(h.count, 0.5), 0);
	h.count[4] = 100; /* 0.5 to 1 ms */
	assert_int_equal(histogram_quantile_us(h.count, 0.5), 750);
	assert_int_equal(histogram_quantile_us(h.count, 0.99), 995);
	assert_int_equal(histogram_quantile_us(h.count, 1), 1000);
	assert_int_equal(histogram_quantile_us(h.count, 0), 500);
	h.count[8] = 100; /* 8 to 16 ms */
	assert_int_equal(histogram_quantile_us(h.count, 0.25), 750);
	assert_int_equal(histogram_quantile_us(h.count, 0.75), 12000);
	h.count[HISTOGRAM_BOUNDS] = 1000;
	assert_int_equal(histogram_quantile_us(h.count, 0.99), 65536000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets),
		cmocka_unit_test(bounds),
		cmocka_unit_test(counts),
		cmocka_unit_test(quantiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
