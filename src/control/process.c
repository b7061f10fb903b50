#include "control/process.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "base/err.h"

#define PROC_MAX_BYTES (256u << 10)

/* Fields after the command's name, which may hold blanks and parentheses: the state is the third. */
enum { UTIME = 14, STIME = 15, THREADS = 20, START = 22, VSIZE = 23, RSS = 24, FIELDS = 25 };

int process_parse(struct slice stat, uint64_t boot_s, uint64_t ticks, uint64_t page,
		  struct process_stats *out)
{
	uint64_t field[FIELDS] = { 0 };
	size_t at = stat.n;

	while (at && stat.p[at - 1] != ')')
		at--;
	if (at + 1 >= stat.n || ticks == 0)
		return -EINVAL;
	stat = slice_of(stat.p + at + 1, stat.n - at - 1);
	for (unsigned i = 3; i < FIELDS; i++) {
		struct slice word = slice_split(stat, ' ', &stat);

		/* Some of the others are negative or no numbers. */
		if (slice_u64(word, &field[i]) &&
		    (i == UTIME || i == STIME || i == THREADS || i >= START))
			return -EINVAL;
	}
	out->cpu_us = (field[UTIME] + field[STIME]) * 1000000 / ticks;
	out->threads = (uint32_t)field[THREADS];
	out->start_ms = boot_s * 1000 + field[START] * 1000 / ticks;
	out->virtual_bytes = field[VSIZE];
	out->resident_bytes = field[RSS] * page;
	return 0;
}

/* "btime 1732500000" of /proc/stat: when the machine started. */
static uint64_t boot_s(void)
{
	uint64_t s = 0;
	char *text;
	size_t n;

	if (file_read("/proc/stat", PROC_MAX_BYTES, &text, &n, NULL))
		return 0;
	for (struct slice line, rest = slice_of(text, n); rest.p;) {
		line = slice_split(rest, '\n', &rest);
		if (slice_starts(line, SLICE("btime ")) &&
		    slice_u64(slice_of(line.p + 6, line.n - 6), &s))
			s = 0;
	}
	free(text);
	return s;
}

static uint64_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n > 3 ? n - 3 : 0; /* ".", ".." and the directory's own */
}

void process_read(struct process_stats *out)
{
	struct rlimit limit;
	char *text;
	size_t n;

	*out = (struct process_stats){ .open_fds = count_fds() };
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		out->max_fds = limit.rlim_cur;
	if (file_read("/proc/self/stat", PROC_MAX_BYTES, &text, &n, NULL))
		return;
	(void)!process_parse(slice_of(text, n), boot_s(), (uint64_t)sysconf(_SC_CLK_TCK),
			     (uint64_t)sysconf(_SC_PAGESIZE), out);
	free(text);
}
