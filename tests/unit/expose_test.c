/* The text for Prometheus, and the process's numbers in it. */
#include "check.h"

#include <errno.h>
#include <unistd.h>

#include "control/expose.h"
#include "control/process.h"

static struct buf out;

static int start(void **state)
{
	(void)state;
	buf_init(&out, 0);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}

static void families(void **state)
{
	(void)state;
	expose_family(&out, "temps_x_total", EXPOSE_COUNTER, "Things.");
	expose_family(&out, "temps_y", EXPOSE_GAUGE, "More.");
	assert_string_equal(out.data, "# HELP temps_x_total Things.\n# TYPE temps_x_total counter\n"
				      "# HELP temps_y More.\n# TYPE temps_y gauge\n");
}

static void labels(void **state)
{
	static const struct {
		const char *name, *value, *want;
	} cases[] = {
		{ "plain", "shop", "l=\"shop\"" },
		{ "quote", "a\"b", "l=\"a\\\"b\"" },
		{ "backslash", "a\\b", "l=\"a\\\\b\"" },
		{ "new line", "a\nb", "l=\"a\\nb\"" },
		{ "the rest as it is", "a/{b}=\t\xc3\xa4", "l=\"a/{b}=\t\xc3\xa4\"" },
		{ "empty", "", "l=\"\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_clear(&out);
		expose_label(&out, "l", slice_str(cases[i].value));
		CHECK_STR(cases[i].name, out.data, cases[i].want);
	}
	expose_label(&out, "m", SLICE("x"));
	assert_string_equal(out.data, "l=\"\",m=\"x\"");
}

static void numbers(void **state)
{
	static const struct {
		uint64_t value;
		unsigned decimals;
		const char *want;
	} cases[] = {
		{ 0, 0, "x 0\n" },
		{ 10, 0, "x 10\n" },
		{ UINT64_MAX, 0, "x 18446744073709551615\n" },
		{ 0, 6, "x 0\n" },
		{ 1500, 3, "x 1.5\n" },
		{ 2000, 3, "x 2\n" },
		{ 1, 6, "x 0.000001\n" },
		{ 1000001, 6, "x 1.000001\n" },
		{ UINT64_MAX, 9, "x 18446744073.709551615\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_clear(&out);
		expose_sample(&out, "x", (struct slice){ 0 }, cases[i].value, cases[i].decimals);
		CHECK_STR("number", out.data, cases[i].want);
	}
	buf_clear(&out);
	expose_sample(&out, "x", SLICE("a=\"b\""), 1, 0);
	assert_string_equal(out.data, "x{a=\"b\"} 1\n");
}

static void histograms(void **state)
{
	struct histogram h = { 0 };

	(void)state;
	histogram_add(&h, 100); /* in a bucket whose bound is not written */
	histogram_add(&h, 1000);
	histogram_add(&h, 3000);
	histogram_add(&h, 99000000); /* beyond all bounds */
	expose_histogram(&out, "x", (struct slice){ 0 }, &h, (struct expose_bounds){ 4, 8, 2 });
	expose_histogram(&out, "y", SLICE("a=\"b\""), &h, (struct expose_bounds){ 20, 20, 1 });
	assert_string_equal(out.data, "x_bucket{le=\"0.001\"} 2\n"
				      "x_bucket{le=\"0.004\"} 3\n"
				      "x_bucket{le=\"0.016\"} 3\n"
				      "x_bucket{le=\"+Inf\"} 4\n"
				      "x_sum 99.0041\n"
				      "x_count 4\n"
				      "y_bucket{a=\"b\",le=\"65.536\"} 3\n"
				      "y_bucket{a=\"b\",le=\"+Inf\"} 4\n"
				      "y_sum{a=\"b\"} 99.0041\n"
				      "y_count{a=\"b\"} 4\n");
}

static void proc_stat(void **state)
{
	static const char text[] =
		"4711 (a ) (b) S 1 4711 4711 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 1000 4096000 700 "
		"18446744073709551615 1 1 0 0 0 0 0 4096 81922 0 0 0 17 1 0 0 0 0 0\n";
	static const char *const bad[] = { "", "1 (x", "1 (x)", "1 (x) S 1 2", "1 (x) S a b c" };
	struct process_stats p = { 0 };

	(void)state;
	assert_int_equal(process_parse(slice_str(text), 1700000000, 100, 4096, &p), 0);
	assert_int_equal(p.cpu_us, 3000000);
	assert_int_equal(p.threads, 3);
	assert_int_equal(p.start_ms, 1700000010000);
	assert_int_equal(p.virtual_bytes, 4096000);
	assert_int_equal(p.resident_bytes, 700 * 4096);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_INT(bad[i], process_parse(slice_str(bad[i]), 1, 100, 4096, &p), -EINVAL);
}

static void this_process(void **state)
{
	struct process_stats before, after;
	int fd;

	(void)state;
	process_read(&before);
	fd = dup(0);
	assert_true(fd >= 0);
	process_read(&after);
	close(fd);
	assert_int_equal(after.open_fds, before.open_fds + 1);
	assert_true(after.max_fds >= after.open_fds);
	assert_true(after.resident_bytes > 100000 && after.virtual_bytes > after.resident_bytes);
	assert_int_equal(after.threads, 1);
	assert_int_equal(after.start_ms, before.start_ms);
	assert_true(after.start_ms > 1600000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(families, start, stop),
		cmocka_unit_test_setup_teardown(labels, start, stop),
		cmocka_unit_test_setup_teardown(numbers, start, stop),
		cmocka_unit_test_setup_teardown(histograms, start, stop),
		cmocka_unit_test(proc_stat),
		cmocka_unit_test(this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
