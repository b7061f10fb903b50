/* The embedded driver: one LMDB environment, one named database per kind, the revision in the same
 * transaction. No transaction outlives a function here. */
#ifndef TEMPS_STORE_LMDB_H
#define TEMPS_STORE_LMDB_H

#include "store/store.h"

struct lmdb;

/* One change. A deleted key has no value. */
struct store_op {
	const char *kind;
	struct slice key, value;
	bool del;
};

/* The next change of a write set, NULL at its end. */
typedef const struct store_op *lmdb_next_fn(void *arg);

/* Opens or creates the environment in <dir>, which must exist: checks the schema, clears readers
 * that died, makes the files' names durable. Errors are store_open()'s. Blocks on disk. */
int lmdb_open(struct lmdb **out, const char *dir, uint64_t map_bytes, struct err *err) MUST_CHECK;
void lmdb_close(struct lmdb *db);	/* NULL is fine */

/* Applies all changes and sets the revision in one transaction; returns when it is on disk. On
 * failure nothing has changed, unless it is -EIO, which leaves that open. Any thread, one at a
 * time, not beside lmdb_range(). */
int lmdb_commit(struct lmdb *db, lmdb_next_fn *next, void *arg, uint64_t revision,
		struct err *err) MUST_CHECK;
int lmdb_range(struct lmdb *db, const char *kind, store_row_fn *row, void *arg,
	       struct err *err) MUST_CHECK;
/* What is on disk. */
int lmdb_revision(struct lmdb *db, uint64_t *out, struct err *err) MUST_CHECK;
/* Bytes of the map that hold pages, and the map's size. */
void lmdb_usage(struct lmdb *db, uint64_t *used_bytes, uint64_t *map_bytes);
/* store_copy() */
int lmdb_copy(const char *from_dir, const char *to_dir, struct err *err) MUST_CHECK;

#endif
