/* Figures from /proc. */
#include <errno.h>

#include "agent/metrics.h"
#include "check.h"

static const struct {
	const char *name, *text;
	int rc;
	uint64_t busy, total;
} cpu_cases[] = {
	{ "eight fields", "cpu  10 20 30 400 50 6 7 8 900 1000\ncpu0 1 1 1 1\n", 0, 81, 531 },
	{ "an old kernel's four", "cpu  1 2 3 4\n", 0, 6, 10 },
	{ "no end of line", "cpu  1 2 3 4", 0, 6, 10 },
	{ "three", "cpu  1 2 3\n", -EINVAL, 0, 0 },
	{ "a word", "cpu  1 x 3 4\n", -EINVAL, 0, 0 },
	{ "another line", "cpu0 1 2 3 4\n", -EINVAL, 0, 0 },
	{ "nothing", "", -EINVAL, 0, 0 },
};

static void test_cpu(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cpu_cases); i++) {
		struct metrics_cpu cpu = { 0 };

		CHECK_INT(cpu_cases[i].name, metrics_parse_cpu(slice_str(cpu_cases[i].text), &cpu), cpu_cases[i].rc);
		CHECK_INT(cpu_cases[i].name, cpu.busy, cpu_cases[i].busy);
		CHECK_INT(cpu_cases[i].name, cpu.total, cpu_cases[i].total);
	}
}

static const struct {
	const char *name;
	struct metrics_cpu before, now;
	int percent;
} percent_cases[] = {
	{ "half", { 100, 1000 }, { 150, 1100 }, 50 },
	{ "idle", { 100, 1000 }, { 100, 1100 }, 0 },
	{ "all", { 0, 0 }, { 10, 10 }, 100 },
	{ "no time passed", { 100, 1000 }, { 100, 1000 }, 0 },
	{ "a counter went back", { 100, 1000 }, { 90, 1100 }, 0 },
};

static void test_percent(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(percent_cases); i++)
		CHECK_INT(percent_cases[i].name, metrics_cpu_percent(&percent_cases[i].before, &percent_cases[i].now),
			  percent_cases[i].percent);
}

static const struct {
	const char *name, *text;
	int rc;
	uint64_t total, used;
} memory_cases[] = {
	{ "usual", "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\n", 0, 1024000, 614400 },
	{ "more available than there is", "MemTotal: 10 kB\nMemAvailable: 20 kB\n", 0, 10240, 0 },
	{ "not available", "MemTotal: 10 kB\nMemFree: 2 kB\n", -EINVAL, 0, 0 },
	{ "no number", "MemTotal: x kB\nMemAvailable: 2 kB\n", -EINVAL, 0, 0 },
	{ "too large", "MemTotal: 99999999999999999 kB\nMemAvailable: 2 kB\n", -EINVAL, 0, 0 },
};

static void test_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(memory_cases); i++) {
		uint64_t total = 0, used = 0;

		CHECK_INT(memory_cases[i].name, metrics_parse_memory(slice_str(memory_cases[i].text), &total, &used), memory_cases[i].rc);
		CHECK_INT(memory_cases[i].name, total, memory_cases[i].total);
		CHECK_INT(memory_cases[i].name, used, memory_cases[i].used);
	}
}

static void test_this_machine(void **state)
{
	struct metrics *m = metrics_create("/nonexistent");
	struct wire_capacity c;
	char boot[37];

	(void)state;
	metrics_read(m, 1000, &c);
	CHECK_INT("cores", c.cpu_cores > 0, true);
	CHECK_INT("memory", c.memory_total_bytes > c.memory_used_bytes, true);
	CHECK_INT("disk, of / instead", c.disk_total_bytes > 0, true);
	metrics_tell(m, &(struct metrics_told){ .cpu_cores = 3, .memory_gb = 1u << 20, .disk_gb = 1, .gpus_told = true, .gpus = 2 });
	metrics_read(m, 3000, &c);
	CHECK_INT("told cores", c.cpu_cores, 3);
	CHECK_INT("told memory", c.memory_total_bytes, 1ull << 50);
	CHECK_INT("told disk", c.disk_total_bytes, 1ull << 30);
	CHECK_INT("no more is used than there is", c.disk_used_bytes <= c.disk_total_bytes, true);
	CHECK_INT("told cards", c.gpu_count, 2);
	metrics_boot_id(boot);
	CHECK_INT("boot id", strlen(boot), 36);
	metrics_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpu),
		cmocka_unit_test(test_percent),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
