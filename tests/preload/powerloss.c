/* Preloaded into a process, cuts its power at a chosen write or sync of a chosen file.
 *
 * What a disk promises is only this: bytes that a finished fsync(), fdatasync() or O_DSYNC write
 * covers are there after a power cut. Everything later may be there or not, sector by sector, in
 * any of the versions written since. kill -9 shows none of it, because the page cache survives.
 *
 * LMDB reads its file through a shared mapping, so writes must reach the file at once. They do, and
 * the shim keeps what they overwrote until a sync covers it. At the cut it goes back from the
 * newest write to the oldest and, for each sector, lets chance decide whether the write is undone;
 * the first that stays settles its sector. What lay beyond the durable end of the file may be cut
 * off with it. Then the process dies.
 *
 *   POWERLOSS_FILE   files whose path contains this are on the disk in question, but for those that
 *                    tell running processes something (locks, the process's id)
 *   POWERLOSS_AT     the cut comes at this event, counted from 1; each write and each sync of
 *                    such a file is one
 *   POWERLOSS_SEED   chooses the sectors
 *   POWERLOSS_PLANT  "nosync": mdb_env_open() gets MDB_NOSYNC, to show that the test notices
 *
 * Names of files are taken to be durable at once. Sectors are 512 bytes and never torn inside. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512
#define FDS_MAX 1024
#define FILES_MAX 64
#define MDB_NOSYNC 0x10000

/* What a write overwrote; zeros where the file ended. */
struct undo {
	struct undo *older;
	off_t at;
	size_t len;
	unsigned char bytes[];
};

struct file {
	dev_t dev;
	ino_t ino;
	int fd;			/* our own, to read and restore by */
	off_t durable_size;
	struct undo *newest;
};

static struct {
	pthread_mutex_t lock;
	struct file files[FILES_MAX];
	int file_count;
	struct { bool tracked, dsync; int file; } fds[FDS_MAX];
	long events;
	uint64_t random;
} shim = { .lock = PTHREAD_MUTEX_INITIALIZER };

int mdb_env_open(void *env, const char *path, unsigned flags, mode_t mode);

static long setting(const char *name)
{
	const char *s = getenv(name);

	return s ? atol(s) : 0;
}

static uint64_t next_random(void)
{
	uint64_t z;

	if (shim.random == 0)
		shim.random = (uint64_t)setting("POWERLOSS_SEED") + 1;
	z = shim.random += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static ssize_t real_pread(int fd, void *p, size_t n, off_t at)
{
	return syscall(SYS_pread64, fd, p, n, at);
}

static ssize_t real_pwrite(int fd, const void *p, size_t n, off_t at)
{
	return syscall(SYS_pwrite64, fd, p, n, at);
}

static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : st.st_size;
}

static void give_up(const char *why)
{
	fprintf(stderr, "powerloss: %s\n", why);
	abort();
}

/* ---- which descriptors ---- */

static int find_file(int fd, const char *path)
{
	struct stat st;
	struct file *f;

	if (fstat(fd, &st) < 0)
		give_up("fstat failed");
	for (int i = 0; i < shim.file_count; i++)
		if (shim.files[i].dev == st.st_dev && shim.files[i].ino == st.st_ino)
			return i;
	if (shim.file_count == FILES_MAX)
		give_up("too many files");
	f = &shim.files[shim.file_count];
	*f = (struct file){ .dev = st.st_dev, .ino = st.st_ino, .durable_size = st.st_size };
	f->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (f->fd < 0)
		give_up("cannot open the file a second time");
	return shim.file_count++;
}

static int opened(int fd, const char *path, int flags)
{
	const char *name = getenv("POWERLOSS_FILE");

	if (fd < 0 || fd >= FDS_MAX || !name || !strstr(path, name) ||
	    (flags & O_ACCMODE) == O_RDONLY || strstr(path, "/lock.mdb") || strstr(path, "/temps.pid"))
		return fd;
	pthread_mutex_lock(&shim.lock);
	shim.fds[fd].file = find_file(fd, path);
	shim.fds[fd].dsync = (flags & O_DSYNC) != 0;	/* a part of O_SYNC too */
	shim.fds[fd].tracked = true;
	pthread_mutex_unlock(&shim.lock);
	return fd;
}

static bool is_tracked(int fd)
{
	return fd >= 0 && fd < FDS_MAX && shim.fds[fd].tracked;
}

/* ---- the cut ---- */

/* Chances to survive, in 256ths: nothing, little, half, most. */
static const unsigned keeps[] = { 0, 32, 128, 224 };

static void lose(struct file *f, unsigned keep)
{
	bool *settled = calloc((size_t)(size_of(f->fd) / SECTOR) + 1, sizeof(*settled));
	off_t end = f->durable_size;

	for (struct undo *u = f->newest; u; u = u->older) {
		off_t at = u->at, stop = u->at + (off_t)u->len;

		while (at < stop) {
			off_t sector = at / SECTOR, next = (sector + 1) * SECTOR;
			size_t n = (size_t)((next < stop ? next : stop) - at);

			if (!settled[sector] && next_random() % 256 < keep) {
				settled[sector] = true;
				end = at + (off_t)n > end ? at + (off_t)n : end;
			}
			if (!settled[sector] &&
			    real_pwrite(f->fd, u->bytes + (at - u->at), n, at) != (ssize_t)n)
				give_up("cannot restore");
			at += (off_t)n;
		}
	}
	if (next_random() % 2 && end < size_of(f->fd) && syscall(SYS_ftruncate, f->fd, end) < 0)
		give_up("cannot cut the file");
}

static void cut(const char *at)
{
	unsigned keep = keeps[next_random() % 4];
	char text[96];
	int n = snprintf(text, sizeof(text), "powerloss: event %ld, a %s, keeping %u/256\n",
			 shim.events, at, keep);

	(void)!syscall(SYS_write, 2, text, n);
	for (int i = 0; i < shim.file_count; i++)
		lose(&shim.files[i], keep);
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* ---- writes and syncs ---- */

static bool is_the_event(void)
{
	return ++shim.events == setting("POWERLOSS_AT");
}

static void remember(struct file *f, off_t at, size_t len)
{
	struct undo *u = calloc(1, sizeof(*u) + len);

	u->older = f->newest;
	u->at = at;
	u->len = len;
	if (real_pread(f->fd, u->bytes, len, at) < 0)
		give_up("cannot read");
	f->newest = u;
}

static void forget_all(struct file *f)
{
	while (f->newest) {
		struct undo *u = f->newest;

		f->newest = u->older;
		free(u);
	}
	f->durable_size = size_of(f->fd);
}

/* The newest write went straight to the disk: what older ones would restore is under it now. */
static void make_durable(struct file *f)
{
	struct undo *done = f->newest;
	off_t end = done->at + (off_t)done->len;

	f->newest = done->older;
	for (struct undo *u = f->newest; u; u = u->older) {
		off_t from = u->at > done->at ? u->at : done->at;
		off_t to = u->at + (off_t)u->len < end ? u->at + (off_t)u->len : end;

		if (from < to &&
		    real_pread(f->fd, u->bytes + (from - u->at), (size_t)(to - from), from) < 0)
			give_up("cannot read");
	}
	f->durable_size = end > f->durable_size ? end : f->durable_size;
	free(done);
}

/* <vector>: by writev at the current offset when <at> is negative. */
static ssize_t do_write(int fd, const struct iovec *iov, int count, off_t at)
{
	bool seeks = at < 0, dsync = shim.fds[fd].dsync;
	struct file *f;
	size_t len = 0;
	ssize_t n;

	pthread_mutex_lock(&shim.lock);
	f = &shim.files[shim.fds[fd].file];
	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	remember(f, seeks ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : at, len);
	n = seeks ? syscall(SYS_writev, fd, iov, count)
		  : syscall(SYS_pwritev, fd, iov, count, (unsigned long)at, 0UL);
	if (n != (ssize_t)len)
		give_up("a write failed");
	if (is_the_event())
		cut(dsync ? "synchronous write" : "write");
	if (dsync)
		make_durable(f);
	pthread_mutex_unlock(&shim.lock);
	return n;
}

static int do_sync(int fd, long number)
{
	struct file *f;
	bool dead;

	if (!is_tracked(fd))
		return (int)syscall(number, fd);
	pthread_mutex_lock(&shim.lock);
	f = &shim.files[shim.fds[fd].file];
	dead = is_the_event();
	if (dead && next_random() % 2)
		cut("sync that did nothing yet");
	forget_all(f);
	if (dead)
		cut("sync that was done");
	pthread_mutex_unlock(&shim.lock);
	return 0;
}

/* ---- what the process calls ---- */

#define OPEN(name, dir_param, dir)                                                   \
	int name(dir_param const char *path, int flags, ...)                         \
	{                                                                            \
		mode_t mode = 0;                                                     \
		va_list ap;                                                          \
		va_start(ap, flags);                                                 \
		if (flags & O_CREAT)                                   \
			mode = va_arg(ap, mode_t);                                   \
		va_end(ap);                                                          \
		return opened((int)syscall(SYS_openat, dir, path, flags, mode), path, flags); \
	}
#define COMMA ,

OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, int at COMMA, at)
OPEN(openat64, int at COMMA, at)

/* The C library's own does not call our open(). */
int mkostemp(char *path, int flags)
{
	size_t len = strlen(path);
	int fd = -1;

	for (int tries = 0; fd < 0 && tries < 100; tries++) {
		snprintf(path + len - 6, 7, "%06lx", (unsigned long)(next_random() & 0xffffff));
		fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_RDWR | O_CREAT | O_EXCL,
				  0600);
	}
	return opened(fd, path, flags | O_RDWR);
}

int close(int fd)
{
	if (is_tracked(fd))
		shim.fds[fd].tracked = false;
	return (int)syscall(SYS_close, fd);
}

ssize_t write(int fd, const void *p, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)p, n };

	return is_tracked(fd) ? do_write(fd, &iov, 1, -1) : syscall(SYS_write, fd, p, n);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	return is_tracked(fd) ? do_write(fd, iov, count, -1) : syscall(SYS_writev, fd, iov, count);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	struct iovec iov = { (void *)(uintptr_t)p, n };

	return is_tracked(fd) ? do_write(fd, &iov, 1, at) : real_pwrite(fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	return pwrite(fd, p, n, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	return is_tracked(fd) ? do_write(fd, iov, count, at)
			      : syscall(SYS_pwritev, fd, iov, count, (unsigned long)at, 0UL);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at)
{
	return pwritev(fd, iov, count, at);
}

int ftruncate(int fd, off_t size)
{
	if (is_tracked(fd))
		give_up("ftruncate() is not modelled");
	return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

int fsync(int fd)
{
	return do_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return do_sync(fd, SYS_fdatasync);
}

int mdb_env_open(void *env, const char *path, unsigned flags, mode_t mode)
{
	int (*real)(void *, const char *, unsigned, mode_t) = NULL;
	const char *plant = getenv("POWERLOSS_PLANT");

	*(void **)&real = dlsym(RTLD_NEXT, "mdb_env_open");
	if (plant && strcmp(plant, "nosync") == 0)
		flags |= MDB_NOSYNC;
	return real(env, path, flags, mode);
}
