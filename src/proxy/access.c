/* Carries formatted lines to the work thread, which writes them. */
#include "proxy/access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pool.h"
#include "reactor/deadline.h"

#define BLOCK_BYTES 65536
#define BLOCKS 16 /* being filled, queued and written together */
#define FLUSH_MS 1000
#define PIPE_WAIT_MS 250

/* A descriptor lives until the last block for it is written. */
struct log_file {
	int fd;
	uint32_t refs;
	bool waits; /* no regular file: who reads it may be slow */
	bool torn;  /* its last line is not whole; the work thread's */
};

struct block {
	struct work_job job; /* first: the job is the block */
	struct access *access;
	struct log_file *file;
	int rc;	      /* of the write: 0 or negative errno */
	size_t n, at; /* bytes there, and written */
	char text[BLOCK_BYTES];
};

struct reopen {
	struct work_job job; /* first */
	struct access *access;
	struct log_file *file; /* the new one, or NULL */
	int rc;
};

struct access {
	struct loop *loop;
	struct work *work;
	char *path;
	bool json, closing, complained;
	uint32_t jobs; /* with the work thread */
	struct log_file *file;
	struct block *filling;
	struct pool blocks;
	struct deadline flush;
	struct access_stats stats;
};

static int open_path(const char *path)
{
	int fd;

	if (strcmp(path, "-") == 0)
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
	else
		fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	return fd < 0 ? -errno : fd;
}

/* Whoever wrote it last was stopped in the middle of a line. */
static bool ends_torn(const char *path, off_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char last = '\n';

	if (fd < 0)
		return false;
	(void)!pread(fd, &last, 1, size - 1);
	close(fd);
	return last != '\n';
}

static struct log_file *file_create(int fd, const char *path)
{
	struct log_file *file = xcalloc(1, sizeof(*file));
	struct stat st;

	*file = (struct log_file){ .fd = fd, .refs = 1 };
	file->waits = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode);
	file->torn = !file->waits && st.st_size && ends_torn(path, st.st_size);
	return file;
}

static void file_put(struct log_file *file)
{
	if (!file || --file->refs)
		return;
	close(file->fd);
	free(file);
}

static void access_free(struct access *a)
{
	file_put(a->file);
	pool_fini(&a->blocks);
	free(a->path);
	free(a);
}

static void job_over(struct access *a)
{
	a->jobs--;
	if (a->closing && a->jobs == 0)
		access_free(a);
}

/* A pipe whose reader sleeps must not stop the thread for others: it is written to while there is
 * room for what is written, for a while. Returns what was written, or negative errno. */
static ssize_t write_some(const struct log_file *file, const char *p, size_t n)
{
	struct pollfd room = { .fd = file->fd, .events = POLLOUT };
	ssize_t done;

	if (file->waits && poll(&room, 1, PIPE_WAIT_MS) <= 0)
		return -EAGAIN;
	done = write(file->fd, p, file->waits ? MIN(n, PIPE_BUF) : n);
	return done < 0 ? -errno : done ? done : -EIO;
}

static int write_all(const struct log_file *file, const char *p, size_t n, size_t *at)
{
	while (*at < n) {
		ssize_t done = write_some(file, p + *at, n - *at);

		if (done < 0 && done != -EINTR)
			return (int)done;
		*at += done > 0 ? (size_t)done : 0;
	}
	return 0;
}

/* On the work thread. */
static void write_block(struct work_job *job)
{
	struct block *b = CONTAINER_OF(job, struct block, job);

	/* The disk was full in the middle of a line: the next one begins a new one. */
	b->rc = b->file->torn ? write_all(b->file, "\n", 1, &(size_t){ 0 }) : 0;
	if (!b->rc)
		b->rc = write_all(b->file, b->text, b->n, &b->at);
	if (b->at)
		b->file->torn = b->text[b->at - 1] != '\n';
}

static uint64_t count_lines(const char *p, size_t n)
{
	uint64_t lines = 0;

	for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
		lines++;
	return lines;
}

static void on_block_written(struct work_job *job)
{
	struct block *b = CONTAINER_OF(job, struct block, job);
	struct access *a = b->access;

	a->stats.failed += count_lines(b->text + b->at, b->n - b->at);
	/* Once, not for every block of a full disk. */
	if (b->rc < 0 && !a->complained)
		log_error("access log %s: %s", a->path, strerror(-b->rc));
	a->complained = b->rc < 0;
	file_put(b->file);
	pool_put(&a->blocks, b);
	job_over(a);
}

static void hand_over(struct access *a)
{
	struct block *b = a->filling;

	if (!b)
		return;
	a->filling = NULL;
	deadline_set(&a->flush, 0);
	b->file = a->file;
	b->file->refs++;
	a->jobs++;
	if (work_submit(a->work, &b->job) == 0)
		return;
	a->jobs--;
	a->stats.failed += count_lines(b->text, b->n);
	file_put(b->file);
	pool_put(&a->blocks, b);
}

static void on_flush(void *arg)
{
	hand_over(arg);
}

static struct block *block_get(struct access *a)
{
	struct block *b = pool_get(&a->blocks);

	if (!b)
		return NULL;
	b->job.run = write_block;
	b->job.done = on_block_written;
	b->access = a;
	b->file = NULL;
	b->rc = 0;
	b->n = b->at = 0;
	return b;
}

void access_write(struct access *a, const struct access_line *line)
{
	if (a->filling && BLOCK_BYTES - a->filling->n < ACCESS_LINE_MAX)
		hand_over(a);
	if (!a->filling) {
		a->filling = block_get(a);
		if (!a->filling) {
			a->stats.dropped++;
			return;
		}
		deadline_set(&a->flush, FLUSH_MS);
	}
	a->filling->n += access_format(a->filling->text + a->filling->n, line, a->json);
	a->stats.lines++;
}

static void run_reopen(struct work_job *job)
{
	struct reopen *r = CONTAINER_OF(job, struct reopen, job);
	int fd = open_path(r->access->path); /* the path never changes while jobs are out */

	if (fd < 0)
		r->rc = fd;
	else
		r->file = file_create(fd, r->access->path);
}

static void on_reopened(struct work_job *job)
{
	struct reopen *r = CONTAINER_OF(job, struct reopen, job);
	struct access *a = r->access;

	if (r->file) {
		file_put(a->file);
		a->file = r->file;
	} else {
		log_error("access log %s: reopen: %s", a->path, strerror(-r->rc));
	}
	free(r);
	job_over(a);
}

void access_reopen(struct access *a)
{
	struct reopen *r;

	hand_over(a);
	r = xcalloc(1, sizeof(*r));
	r->job.run = run_reopen;
	r->job.done = on_reopened;
	r->access = a;
	a->jobs++;
	if (work_submit(a->work, &r->job) < 0) {
		log_error("access log %s: reopen: the work thread is busy", a->path);
		a->jobs--;
		free(r);
	}
}

int access_open(struct access **out, struct loop *l, struct work *work, const char *path, bool json,
		struct err *err)
{
	int fd = open_path(path);
	struct access *a;

	if (fd < 0)
		return err_set(err, fd, "access log %s", path);
	a = xcalloc(1, sizeof(*a));
	a->loop = l;
	a->work = work;
	a->path = xstrdup(path);
	a->json = json;
	a->file = file_create(fd, path);
	pool_init(&a->blocks, "access log", sizeof(struct block), BLOCKS, 2);
	deadline_init(&a->flush, l, on_flush, a);
	*out = a;
	return 0;
}

const struct access_stats *access_stats(const struct access *a)
{
	return &a->stats;
}

const struct pool *access_pool(const struct access *a)
{
	return &a->blocks;
}

void access_close(struct access *a)
{
	if (!a)
		return;
	hand_over(a);
	deadline_stop(&a->flush);
	a->closing = true;
	if (a->jobs == 0)
		access_free(a);
}
