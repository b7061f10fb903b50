/* Small files, read whole and replaced atomically. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/config.h"

static int read_fd(int fd, size_t max, struct buf *into)
{
	char block[16384];
	ssize_t n;

	/* One byte more than <max> may come: that is how a file that grew is noticed. */
	buf_init(into, max + 1);
	while ((n = read(fd, block, MIN(sizeof(block), max + 1 - into->len))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf_append(into, block, (size_t)n);
		if (into->len > max)
			return -EFBIG;
	}
	return 0;
}

int file_read(const char *path, size_t max, char **out, size_t *len, struct err *err)
{
	struct buf text;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "open %s", path);
	rc = read_fd(fd, max, &text);
	close(fd);
	if (rc < 0) {
		buf_fini(&text);
		return err_set(err, rc, "read %s", path);
	}
	*len = text.len;
	*out = buf_steal(&text);
	return 0;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* The directory <path> is in; the caller's to free(). */
static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* A rename is on disk when its directory is. */
static int sync_dir(const char *path, struct err *err)
{
	char *dir = dir_of(path);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = err_set(err, -errno, "sync directory %s", dir);
	if (fd >= 0)
		close(fd);
	free(dir);
	return rc;
}

static int fill_temporary(int fd, const void *p, size_t n, unsigned mode)
{
	int rc = fchmod(fd, mode) < 0 ? -errno : write_all(fd, p, n);

	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	return rc;
}

int file_write(const char *path, const void *p, size_t n, unsigned mode, struct err *err)
{
	char *temporary = xasprintf("%s.XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC);
	int rc;

	if (fd < 0) {
		rc = err_set(err, -errno, "create %s", temporary);
		free(temporary);
		return rc;
	}
	rc = fill_temporary(fd, p, n, mode);
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	if (rc < 0)
		err_set(err, rc, "write %s", temporary);
	else if (rename(temporary, path) < 0)
		rc = err_set(err, -errno, "rename %s to %s", temporary, path);
	if (rc < 0)
		unlink(temporary);
	free(temporary);
	return rc < 0 ? rc : sync_dir(path, err);
}

static int make_one(const char *path, unsigned mode, struct err *err)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return err_set(err, -errno, "create directory %s", path);
	if (stat(path, &st) < 0)
		return err_set(err, -errno, "directory %s", path);
	return S_ISDIR(st.st_mode) ? 0 : err_set(err, -ENOTDIR, "create directory %s", path);
}

int dir_make(const char *path, unsigned mode, struct err *err)
{
	char part[PATH_MAX];
	int rc = slice_copy(slice_str(path), part, sizeof(part));

	if (rc < 0 || !*path)
		return err_set(err, rc < 0 ? rc : -ENOENT, "create directory %s", path);
	for (char *p = part + 1; *p && rc == 0; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		rc = make_one(part, mode, err);
		*p = '/';
	}
	return rc < 0 ? rc : make_one(part, mode, err);
}

int dir_private(const char *path, struct err *err)
{
	struct stat st;
	int rc = dir_make(path, 0700, err);

	if (rc < 0)
		return rc;
	if (stat(path, &st) < 0)
		return err_set(err, -errno, "directory %s", path);
	if (st.st_uid != geteuid())
		return err_say(err, -EPERM, "directory %s belongs to another user: give it to the one who runs this, or name another", path);
	if ((st.st_mode & 077) && chmod(path, 0700) < 0)
		return err_set(err, -errno, "close directory %s to others", path);
	return 0;
}
