/* What this machine has and uses: processor, memory, disk, graphics cards. Parsers are pure; reading /proc and statvfs(3) does not block. */
#ifndef TEMPS_AGENT_METRICS_H
#define TEMPS_AGENT_METRICS_H

#include "agent/wire.h"

/* The first line of /proc/stat as two sums of ticks. */
struct metrics_cpu {
	uint64_t busy, total;
};
int metrics_parse_cpu(struct slice proc_stat, struct metrics_cpu *cpu) MUST_CHECK;	/* -EINVAL: no such line */
/* Share of time not idle between two readings, 0..100; 0 when no time passed or a counter went back. */
double metrics_cpu_percent(const struct metrics_cpu *before, const struct metrics_cpu *now);
/* MemTotal and MemTotal - MemAvailable of /proc/meminfo. */
int metrics_parse_memory(struct slice proc_meminfo, uint64_t *total_bytes, uint64_t *used_bytes) MUST_CHECK;

/* What a person says that this machine has, where it is not what is found; 0: nothing is said. */
struct metrics_told {
	uint32_t cpu_cores, memory_gb, disk_gb; /* GiB */
	bool gpus_told;
	uint32_t gpus;
};

struct metrics;
/* <disk_path>: any path on the file system that counts, usually Docker's root directory. */
struct metrics *metrics_create(const char *disk_path);
void metrics_destroy(struct metrics *m);
/* Instead of what is found, from now on. */
void metrics_tell(struct metrics *m, const struct metrics_told *told);
/* Processor use is that since the previous call, and not shorter than a second: calls in between repeat the last figure. What cannot be read is 0. */
void metrics_read(struct metrics *m, uint64_t now_ms, struct wire_capacity *out);
/* Linux's boot id, "" when unreadable. */
void metrics_boot_id(char out[37]);

#endif
