/* What the kernel says of this process. */
#ifndef TEMPS_CONTROL_PROCESS_H
#define TEMPS_CONTROL_PROCESS_H

#include "base/slice.h"

struct process_stats {
	uint64_t resident_bytes, virtual_bytes;
	uint64_t cpu_us;   /* user and system */
	uint64_t start_ms; /* since 1970 */
	uint64_t open_fds, max_fds;
	uint32_t threads;
};

/* Reads /proc: blocks for as long as the kernel counts, so on the work thread. What cannot be read
 * is 0. */
void process_read(struct process_stats *out);
/* The text of /proc/self/stat (proc(5)), for <boot_s> seconds since 1970, <ticks> a second and pages
 * of <page> bytes. -EINVAL: it is not what it should be; <out> is left alone. */
int process_parse(struct slice stat, uint64_t boot_s, uint64_t ticks, uint64_t page,
		  struct process_stats *out) MUST_CHECK;

#endif
