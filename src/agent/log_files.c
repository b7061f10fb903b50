/* Segments: found by walking a directory, told apart by their names. */
#include "agent/log_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"

#define COUNTED_BYTES 16384u /* at least, of each segment: so that there cannot be too many small ones */
#define SEGMENTS_MAX 65536u /* in one directory that are looked at */

struct segment {
	char *path;
	char container[256];
	uint32_t release, replica, number;
	uint64_t bytes, written_ms;
};

struct segments {
	struct segment *at;
	size_t n, cap;
};

static void segments_fini(struct segments *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->at[i].path);
	free(s->at);
}

/* "RELEASE.REPLICA.CONTAINER.NUMBER" */
static int parse_name(const char *name, struct segment *s)
{
	struct slice rest = slice_str(name), release = slice_split(rest, '.', &rest);
	struct slice replica = rest.p ? slice_split(rest, '.', &rest) : rest;
	const char *dot = rest.p ? strrchr(rest.p, '.') : NULL;
	uint64_t a, b, n;

	if (!dot || slice_u64(release, &a) || slice_u64(replica, &b) ||
	    slice_u64(slice_str(dot + 1), &n) || MAX(MAX(a, b), n) > UINT32_MAX)
		return -EINVAL;
	s->release = (uint32_t)a;
	s->replica = (uint32_t)b;
	s->number = (uint32_t)n;
	return slice_copy(slice_of(rest.p, (size_t)(dot - rest.p)), s->container,
			  sizeof(s->container));
}

/* Adds those of <container>, or all. What is no segment is nobody's business. */
static int walk(const char *dir, const char *container, struct segments *out)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;

	if (!d)
		return -errno;
	while ((e = readdir(d)) && out->n < SEGMENTS_MAX) {
		struct segment s = { 0 };

		if (parse_name(e->d_name, &s) || (container && strcmp(container, s.container)) ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		s.bytes = (uint64_t)st.st_size;
		s.written_ms =
			(uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000;
		s.path = xasprintf("%s/%s", dir, e->d_name);
		if (out->n == out->cap) {
			out->cap = MAX(out->cap * 2, 64);
			out->at = xrealloc(out->at, out->cap * sizeof(*out->at));
		}
		out->at[out->n++] = s;
	}
	closedir(d);
	return 0;
}

int log_files_replace(const char *dir, const char *container)
{
	struct segments s = { 0 };
	int rc = mkdir(dir, 0700) && errno != EEXIST ? -errno : walk(dir, container, &s);

	for (size_t i = 0; i < s.n; i++)
		unlink(s.at[i].path);
	segments_fini(&s);
	return rc;
}

int log_files_append(const char *path, struct slice data)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = fd < 0 ? -errno : 0;

	while (!rc && data.n) {
		ssize_t n = write(fd, data.p, data.n);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		else if (n > 0)
			data = slice_of(data.p + n, data.n - (size_t)n);
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/* ---- lists ---- */

static int by_container(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;
	int order = strcmp(x->container, y->container);

	return order ? order : x->number < y->number ? -1 : x->number > y->number;
}

static int newest_first(const void *a, const void *b)
{
	const struct wire_kept *x = a, *y = b;

	if (x->ended_ms != y->ended_ms)
		return x->ended_ms > y->ended_ms ? -1 : 1;
	return strcmp(x->container, y->container);
}

static void sort(struct segments *s, int (*by)(const void *a, const void *b))
{
	if (s->n)
		qsort(s->at, s->n, sizeof(*s->at), by);
}

int log_files_list(const char *dir, struct wire_kept **list, size_t *n)
{
	struct segments s = { 0 };
	int rc = walk(dir, NULL, &s);

	*list = NULL;
	*n = 0;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	*list = xcalloc(s.n + 1, sizeof(**list));
	sort(&s, by_container);
	for (size_t i = 0; i < s.n; i++) {
		const struct segment *seg = &s.at[i];
		struct wire_kept *k = *n ? &(*list)[*n - 1] : NULL;

		if (!k || strcmp(k->container, seg->container)) {
			k = &(*list)[(*n)++];
			memcpy(k->container, seg->container, sizeof(k->container));
			k->release = seg->release;
			k->replica = seg->replica;
		}
		k->bytes += seg->bytes;
		k->ended_ms = MAX(k->ended_ms, seg->written_ms);
	}
	segments_fini(&s);
	if (*n)
		qsort(*list, *n, sizeof(**list), newest_first);
	*n = MIN(*n, LOG_LIST_MAX);
	return 0;
}

/* ---- reading ---- */

static ssize_t read_at(const char *path, uint64_t offset, char *p, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = pread(fd, p, n, (off_t)offset);
	if (got < 0)
		got = -errno;
	close(fd);
	return got;
}

/* Goes back through <s>, counting ends of lines; the one at the very end counts none. */
static void find_tail(const struct segments *s, struct log_place *at, char *chunk)
{
	uint32_t left = at->tail;
	bool last = true;

	for (size_t i = s->n; i-- > 0;) {
		uint64_t end = s->at[i].bytes;

		while (end) {
			size_t n = (size_t)MIN(end, LOG_CHUNK_BYTES);
			ssize_t got = read_at(s->at[i].path, end - n, chunk, n);

			for (ssize_t k = got; k-- > 0; last = false) {
				if (chunk[k] != '\n' || last || --left)
					continue;
				at->segment = s->at[i].number;
				at->offset = end - n + (uint64_t)k + 1;
				return;
			}
			end -= n;
		}
	}
	at->segment = s->at[0].number;
	at->offset = 0;
}

static void find_start(const struct segments *s, struct log_place *at, char *chunk)
{
	const struct segment *last = &s->at[s->n - 1];

	at->found = true;
	at->segment = at->tail ? s->at[0].number : last->number;
	at->offset = at->tail ? 0 : last->bytes;
	if (at->tail && at->tail != UINT32_MAX)
		find_tail(s, at, chunk);
}

int log_files_read(const char *dir, const char *container, struct log_place *at, char *chunk,
		   size_t *n)
{
	struct segments s = { 0 };
	int rc = walk(dir, container, &s);
	ssize_t got = 0;

	*n = 0;
	if (!rc && !s.n && !at->found)
		rc = -ENOENT;
	if (!rc && s.n) {
		sort(&s, by_container);
		if (!at->found)
			find_start(&s, at, chunk);
	}
	for (size_t i = 0; !rc && !got && i < s.n; i++) {
		if (s.at[i].number < at->segment)
			continue;
		if (s.at[i].number > at->segment)
			at->offset = 0;
		at->segment = s.at[i].number;
		got = read_at(s.at[i].path, at->offset, chunk, LOG_CHUNK_BYTES);
		got = got == -ENOENT ? 0 : got;
	}
	segments_fini(&s);
	if (rc || got < 0)
		return rc ? rc : (int)got;
	at->offset += (uint64_t)got;
	*n = (size_t)got;
	return 0;
}

/* ---- pruning ---- */

static int oldest_first(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	if (x->written_ms != y->written_ms)
		return x->written_ms < y->written_ms ? -1 : 1;
	return by_container(a, b);
}

void log_files_prune(const char *dir, uint64_t max_bytes, uint64_t oldest_ms)
{
	struct segments s = { 0 };
	uint64_t total = 0;
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *sub = xasprintf("%s/%s", dir, e->d_name);

		/* Empty ones go; what is no directory, or "..", stays. */
		if (e->d_name[0] != '.' && walk(sub, NULL, &s) == 0)
			rmdir(sub);
		free(sub);
	}
	if (d)
		closedir(d);
	sort(&s, oldest_first);
	for (size_t i = 0; i < s.n; i++)
		total += MAX(s.at[i].bytes, COUNTED_BYTES);
	for (size_t i = 0; i < s.n && (total > max_bytes || s.at[i].written_ms < oldest_ms); i++) {
		unlink(s.at[i].path);
		total -= MAX(s.at[i].bytes, COUNTED_BYTES);
	}
	segments_fini(&s);
}
