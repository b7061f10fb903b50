/* What this machine has and uses, from /proc and statvfs(3). */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/metrics.h"
#include "base/slice.h"

#define CPU_MIN_MS 1000
#define NVIDIA_DIR "/proc/driver/nvidia/gpus" /* an entry per card; Docker hands out no others by itself */

struct metrics {
	char *disk_path;
	struct metrics_cpu last;
	uint64_t last_ms;
	double cpu_percent;
	uint32_t gpus;	/* found at the start: a card comes with a boot */
	struct metrics_told told;
};

/* Fields: user nice system idle iowait irq softirq steal; guest time is inside user already. */
int metrics_parse_cpu(struct slice proc_stat, struct metrics_cpu *cpu)
{
	struct slice rest, line = slice_split(proc_stat, '\n', &rest), word;
	uint64_t value, busy = 0, total = 0;
	unsigned n = 0;

	if (!slice_starts(line, SLICE("cpu ")))
		return -EINVAL;
	line = slice_trim(slice_of(line.p + 4, line.n - 4));
	while (line.p && n < 8) {
		word = slice_split(line, ' ', &line);
		if (slice_u64(word, &value))
			return -EINVAL;
		total += value;
		if (n != 3 && n != 4)
			busy += value;
		n++;
	}
	if (n < 4)
		return -EINVAL;
	*cpu = (struct metrics_cpu){ .busy = busy, .total = total };
	return 0;
}

double metrics_cpu_percent(const struct metrics_cpu *before, const struct metrics_cpu *now)
{
	if (now->total <= before->total || now->busy < before->busy)
		return 0;
	return MIN(100.0,
		   (double)(now->busy - before->busy) / (double)(now->total - before->total) * 100);
}

/* "MemTotal:       24684092 kB" */
static int find_kib(struct slice text, struct slice name, uint64_t *bytes)
{
	struct slice line, value;
	uint64_t kib;

	while (text.p) {
		line = slice_split(text, '\n', &text);
		if (!slice_starts(line, name))
			continue;
		line = slice_trim(slice_of(line.p + name.n, line.n - name.n));
		value = slice_split(line, ' ', &line);
		if (slice_u64(value, &kib) || kib > INT64_MAX / 1024)
			return -EINVAL;
		*bytes = kib * 1024;
		return 0;
	}
	return -EINVAL;
}

int metrics_parse_memory(struct slice proc_meminfo, uint64_t *total_bytes, uint64_t *used_bytes)
{
	uint64_t total, available;

	if (find_kib(proc_meminfo, SLICE("MemTotal:"), &total) ||
	    find_kib(proc_meminfo, SLICE("MemAvailable:"), &available))
		return -EINVAL;
	*total_bytes = total;
	*used_bytes = total - MIN(total, available);
	return 0;
}

static uint32_t count_cards(void)
{
	DIR *dir = opendir(NVIDIA_DIR);
	struct dirent *entry;
	uint32_t n = 0;

	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

void metrics_tell(struct metrics *m, const struct metrics_told *told)
{
	m->told = *told;
}

struct metrics *metrics_create(const char *disk_path)
{
	struct metrics *m = xcalloc(1, sizeof(*m));

	m->disk_path = xstrdup(disk_path);
	m->gpus = count_cards();
	return m;
}

void metrics_destroy(struct metrics *m)
{
	if (!m)
		return;
	free(m->disk_path);
	free(m);
}

/* The beginning of a file in /proc; empty when it cannot be read. */
static struct slice read_start(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return slice_of(buf, 0);
	n = read(fd, buf, size);
	close(fd);
	return slice_of(buf, n > 0 ? (size_t)n : 0);
}

static void read_disk(const char *path, struct wire_capacity *out)
{
	struct statvfs fs;
	uint64_t block;

	/* Docker's root may be for others' eyes only, or on another machine. */
	if (statvfs(path, &fs) && statvfs("/", &fs))
		return;
	block = fs.f_frsize;
	out->disk_total_bytes = fs.f_blocks * block;
	out->disk_used_bytes = (fs.f_blocks - fs.f_bfree) * block;
}

static void instead(uint64_t gib, uint64_t *total, uint64_t *used)
{
	if (!gib)
		return;
	*total = gib << 30;
	*used = MIN(*used, *total);
}

static void apply_told(const struct metrics *m, struct wire_capacity *out)
{
	const struct metrics_told *t = &m->told;

	if (t->cpu_cores)
		out->cpu_cores = t->cpu_cores;
	instead(t->memory_gb, &out->memory_total_bytes, &out->memory_used_bytes);
	instead(t->disk_gb, &out->disk_total_bytes, &out->disk_used_bytes);
	out->gpu_count = t->gpus_told ? t->gpus : m->gpus;
}

void metrics_read(struct metrics *m, uint64_t now_ms, struct wire_capacity *out)
{
	char text[4096];
	struct metrics_cpu cpu;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	*out = (struct wire_capacity){ .cpu_cores = cores > 0 ? (uint32_t)cores : 0 };
	if ((!m->last_ms || now_ms - m->last_ms >= CPU_MIN_MS) &&
	    !metrics_parse_cpu(read_start("/proc/stat", text, sizeof(text)), &cpu)) {
		/* The first reading tells the average since boot: better than nothing. */
		m->cpu_percent = metrics_cpu_percent(&m->last, &cpu);
		m->last = cpu;
		m->last_ms = now_ms;
	}
	out->cpu_percent = m->cpu_percent;
	if (metrics_parse_memory(read_start("/proc/meminfo", text, sizeof(text)),
				 &out->memory_total_bytes, &out->memory_used_bytes))
		out->memory_total_bytes = out->memory_used_bytes = 0;
	read_disk(m->disk_path, out);
	apply_told(m, out);
}

void metrics_boot_id(char out[37])
{
	char text[64];
	struct slice s =
		slice_trim(read_start("/proc/sys/kernel/random/boot_id", text, sizeof(text)));

	while (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	if (slice_copy(s, out, 37))
		out[0] = '\0';
}
