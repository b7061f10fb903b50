/* The configuration file form: lines of `key = value`, '#' starts a comment, blank lines are
 * skipped. A key may stand several times when its row says so. Unknown keys are errors with file
 * and line. */
#ifndef TEMPS_BASE_CONF_H
#define TEMPS_BASE_CONF_H

#include "base/err.h"
#include "base/slice.h"

/* Called for each pair in file order; returns 0, or a negative errno with <err> saying what is
 * wrong with the value (the caller puts "FILE:LINE: " in front). -ENOENT: no such key. */
typedef int config_pair_fn(void *arg, struct slice key, struct slice value, struct err *err);

/* Reads all of <path>. 0; -ENOENT: no such file; -EINVAL with "FILE:LINE: reason". Stops at the
 * first error. */
int config_read(const char *path, config_pair_fn *pair, void *arg, struct err *err) MUST_CHECK;
/* The same on text, for tests and fuzzing; <name> stands for the file in errors. */
int config_parse(const char *name, struct slice text, config_pair_fn *pair, void *arg,
		 struct err *err) MUST_CHECK;

/* Small files, whole. <*out> is the caller's to free(), terminated. -EFBIG over <max>. */
int file_read(const char *path, size_t max, char **out, size_t *len, struct err *err) MUST_CHECK;
/* Replaces <path> atomically: temporary file in the same directory, mode, fsync, rename, fsync of
 * the directory. */
int file_write(const char *path, const void *p, size_t n, unsigned mode,
	       struct err *err) MUST_CHECK;
/* mkdir -p with the mode for each directory it makes; an existing one is left as it is. */
int dir_make(const char *path, unsigned mode, struct err *err) MUST_CHECK;
/* A directory for secrets: made with mode 0700, or an existing one of ours (not of another user: -EPERM), closed to others when it
 * was open: who may write there could put other keys in place. */
int dir_private(const char *path, struct err *err) MUST_CHECK;

#endif
