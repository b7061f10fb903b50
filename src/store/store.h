/* The store: named kinds of JSON records under string keys, a revision that grows with every
 * commit. Reads happen at start only; writes go to the store thread, are group-committed with
 * full sync, and are answered only then: durable before visible. One interface; LMDB is the
 * embedded driver (store/lmdb.c), another driver fits behind the same calls. */
#ifndef TEMPS_STORE_STORE_H
#define TEMPS_STORE_STORE_H

#include "base/err.h"
#include "base/slice.h"
#include "reactor/loop.h"

struct store;
struct store_txn;

#define STORE_SCHEMA 1			/* bump with a migration */
#define STORE_MAP_BYTES (1ull << 30)	/* address space, not memory */
#define STORE_QUEUE_MAX 10000		/* write sets that wait */
#define STORE_KIND_MAX 32		/* bytes of a kind's name; 32 kinds at most */
#define STORE_KEY_MAX 400
#define STORE_VALUE_MAX ((size_t)1 << 20)

/* Opens or creates the store in <dir> (0700 is made when missing), takes its lock (a second
 * process: -EBUSY naming the holder's pid), checks the schema version (-EPROTO: "written by a
 * newer temps …"), clears stale readers, starts the store thread. Blocks on disk: before
 * loop_run() only. */
int store_open(struct store **out, struct loop *l, const char *dir, struct err *err) MUST_CHECK;
/* Commits what is queued (their done callbacks are called), joins the thread, closes. Not from
 * inside a callback of the store's. NULL is fine. */
void store_close(struct store *s);

/* Commits what is queued, as store_close() does, and gives up disk and lock, so that another process
 * may open it: store_commit() answers -ECANCELED until store_reopen(). Blocks for that commit, which
 * is short when nothing is queued. */
void store_release(struct store *s);
/* Errors as store_open()'s: then it may be tried again. */
int store_reopen(struct store *s, struct err *err) MUST_CHECK;

/* One call per record of <kind> in key order; slices valid during the call. A non-zero return
 * stops and is returned. At start, and to load again after a failure: -EBUSY while commits are
 * under way. */
typedef int store_row_fn(void *arg, struct slice key, struct slice value, struct err *err);
int store_range(struct store *s, const char *kind, store_row_fn *row, void *arg,
		struct err *err) MUST_CHECK;

/* A write set; all of it or nothing, applied in order. Bytes are copied. Kinds are [a-z0-9_-], not
 * starting with '_'. One change that breaks the limits above (an empty key too) spoils the set:
 * store_commit() then answers -EINVAL. */
struct store_txn *store_txn_new(void);
void store_txn_put(struct store_txn *t, const char *kind, struct slice key, struct slice value);
void store_txn_del(struct store_txn *t, const char *kind, struct slice key);
size_t store_txn_len(const struct store_txn *t);
void store_txn_free(struct store_txn *t);	/* one that was not given to store_commit() */

/* Called on the loop, later, in the order of the commits: 0 with the revision, or -ENOSPC (disk
 * or map full), -EROFS, -EIO …. After one failure every later commit fails too (-ECANCELED)
 * until store_reset_failure(): what was queued behind it was decided on its effects. -EIO leaves
 * open what is on disk. */
typedef void store_done_fn(void *arg, int rc, uint64_t revision);
/* Takes <txn> in any case. -EBUSY at STORE_QUEUE_MAX, -EINVAL for a spoilt set, -ECANCELED after a
 * failure or while closing: then <done> (which may be NULL) will not be called. */
int store_commit(struct store *s, struct store_txn *take_txn, store_done_fn *done,
		 void *arg) MUST_CHECK;
/* Commits are taken again. Call it once the memory agrees with the store: after loading it anew. */
void store_reset_failure(struct store *s);

struct store_stats {
	uint64_t revision, failed;
	uint64_t commits, txns;		/* syncs, and the write sets in them */
	uint64_t map_used_bytes, map_bytes;
	uint32_t queued;
	uint64_t commit_max_us;
	struct histogram commit; /* how long each took */
};
struct store_stats store_stats(const struct store *s);

/* A consistent copy into <to_dir> (which must not exist yet), for `temps backup`: from any process,
 * beside one that serves. Blocks. */
int store_copy(const char *from_dir, const char *to_dir, struct err *err) MUST_CHECK;

#endif
