/* Group commit: write sets gather while one commit is on the store thread, and the next commit
 * takes them all. */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "reactor/work.h"
#include "store/lmdb.h"

#define LOCK_FILE "temps.pid"
#define GROUP_MAX 1000	/* write sets in one commit: LMDB keeps its dirty pages in memory */

struct store_txn {
	struct list link;
	struct store_op *ops;	/* owned; so is each op's <kind>: a block with key and value */
	size_t count, cap;
	bool spoilt;
	store_done_fn *done;
	void *arg;
	uint64_t revision;	/* once it is in a group */
};

/* One commit, on its way through the store thread. */
struct group {
	struct work_job job;
	struct store *store;
	struct list txns;
	size_t count;
	uint64_t revision;	/* of the last one */
	struct store_txn *at;	/* iteration, on the thread */
	size_t at_op;
	int rc;
	uint64_t took_us;
	uint64_t map_used_bytes, map_bytes;
	struct err err;
};

struct store {
	struct loop *loop;
	struct lmdb *db;	/* the thread's while a group is under way */
	struct work *work;
	char *dir;		/* owned */
	int lock_fd;
	struct list queue;
	struct group *group;	/* NULL: none under way */
	struct loop_task begin;
	bool failed, closing;
	struct store_stats stats;
};

/* ---- write sets ---- */

struct store_txn *store_txn_new(void)
{
	struct store_txn *t = xcalloc(1, sizeof(*t));

	list_init(&t->link);
	return t;
}

static bool is_kind(const char *kind)
{
	size_t n = strlen(kind);

	/* What starts with '_' is the driver's. */
	return n > 0 && n <= STORE_KIND_MAX && kind[0] != '_' &&
	       strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789-_") == n;
}

static void add_op(struct store_txn *t, const char *kind, struct slice key, struct slice value,
		   bool del)
{
	size_t kind_bytes = strlen(kind) + 1;
	char *block;

	if (!is_kind(kind) || key.n == 0 || key.n > STORE_KEY_MAX ||
	    value.n > STORE_VALUE_MAX) {
		t->spoilt = true;
		return;
	}
	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 4;
		t->ops = xrealloc(t->ops, t->cap * sizeof(*t->ops));
	}
	block = xcalloc(1, kind_bytes + key.n + value.n);
	memcpy(block, kind, kind_bytes);
	memcpy(block + kind_bytes, key.p, key.n);
	if (value.n)
		memcpy(block + kind_bytes + key.n, value.p, value.n);
	t->ops[t->count++] = (struct store_op){
		.kind = block,
		.key = slice_of(block + kind_bytes, key.n),
		.value = slice_of(block + kind_bytes + key.n, value.n),
		.del = del,
	};
}

void store_txn_put(struct store_txn *t, const char *kind, struct slice key, struct slice value)
{
	add_op(t, kind, key, value, false);
}

void store_txn_del(struct store_txn *t, const char *kind, struct slice key)
{
	add_op(t, kind, key, slice_of(NULL, 0), true);
}

size_t store_txn_len(const struct store_txn *t)
{
	return t->count;
}

void store_txn_free(struct store_txn *t)
{
	if (!t)
		return;
	list_remove(&t->link);
	for (size_t i = 0; i < t->count; i++)
		free((char *)(uintptr_t)t->ops[i].kind);
	free(t->ops);
	free(t);
}

/* ---- groups ---- */

static void tell(struct store_txn *t, int rc, uint64_t revision)
{
	store_done_fn *done = t->done;
	void *arg = t->arg;

	store_txn_free(t);
	if (done)
		done(arg, rc, revision);
}

static const struct store_op *next_op(void *arg)
{
	struct group *g = arg;

	while (g->at && g->at_op == g->at->count) {
		struct list *next = g->at->link.next;

		g->at = next == &g->txns ? NULL : LIST_ENTRY(next, struct store_txn, link);
		g->at_op = 0;
	}
	return g->at ? &g->at->ops[g->at_op++] : NULL;
}

/* On the store thread. */
static void run_group(struct work_job *job)
{
	struct group *g = CONTAINER_OF(job, struct group, job);
	uint64_t began_us = loop_clock_us();

	g->at = LIST_FIRST(&g->txns, struct store_txn, link);
	g->rc = lmdb_commit(g->store->db, next_op, g, g->revision, &g->err);
	g->took_us = loop_clock_us() - began_us;
	lmdb_usage(g->store->db, &g->map_used_bytes, &g->map_bytes);
}

static void take(struct store *s, struct list *to, size_t max)
{
	while (max-- && !list_empty(&s->queue)) {
		struct list *link = s->queue.next;

		list_remove(link);
		list_push_back(to, link);
	}
}

static void on_group_done(struct work_job *job);

static void begin_group(void *arg)
{
	struct store *s = arg;
	struct group *g;
	int rc;

	if (s->group || list_empty(&s->queue))
		return;
	g = xcalloc(1, sizeof(*g));
	g->store = s;
	g->job.run = run_group;
	g->job.done = on_group_done;
	g->revision = s->stats.revision;
	list_init(&g->txns);
	take(s, &g->txns, GROUP_MAX);
	LIST_FOR_EACH(t, &g->txns, struct store_txn, link) {
		t->revision = ++g->revision;
		g->count++;
	}
	s->group = g;
	rc = work_submit(s->work, &g->job);
	assert(rc == 0);	/* one group at a time, and the queue of jobs takes two */
	(void)rc;
}

static void count_group(struct store *s, const struct group *g)
{
	s->stats.queued -= (uint32_t)g->count;
	histogram_add(&s->stats.commit, g->took_us);
	s->stats.commit_max_us = MAX(s->stats.commit_max_us, g->took_us);
	s->stats.map_used_bytes = g->map_used_bytes;
	s->stats.map_bytes = g->map_bytes;
	if (g->rc) {
		s->stats.failed++;
		return;
	}
	s->stats.commits++;
	s->stats.txns += g->count;
	s->stats.revision = g->revision;
}

/* All that was decided on the effects of what failed goes with it, before anybody is told and
 * decides anew. */
static void fail_all(struct store *s, struct group *g)
{
	s->failed = true;
	log_error("%s: nothing is stored any more", g->err.text);
	while (!list_empty(&s->queue)) {
		struct list *link = s->queue.next;

		list_remove(link);
		list_push_back(&g->txns, link);
		s->stats.queued--;
	}
}

static void on_group_done(struct work_job *job)
{
	struct group *g = CONTAINER_OF(job, struct group, job);
	struct store *s = g->store;
	struct store_txn *t;
	int rc = g->rc;

	s->group = NULL;
	count_group(s, g);
	if (rc)
		fail_all(s, g);
	while ((t = LIST_FIRST(&g->txns, struct store_txn, link))) {
		tell(t, rc, rc ? 0 : t->revision);
		if (rc)
			rc = -ECANCELED;	/* the first one carries the reason */
	}
	free(g);
	begin_group(s);
}

int store_commit(struct store *s, struct store_txn *take_txn, store_done_fn *done, void *arg)
{
	int rc = 0;

	if (s->failed || s->closing)
		rc = -ECANCELED;
	else if (take_txn->spoilt)
		rc = -EINVAL;
	else if (s->stats.queued >= STORE_QUEUE_MAX)
		rc = -EBUSY;
	if (rc) {
		store_txn_free(take_txn);
		return rc;
	}
	take_txn->done = done;
	take_txn->arg = arg;
	list_push_back(&s->queue, &take_txn->link);
	s->stats.queued++;
	/* At the turn's end, so that one sync serves all that this turn decided. */
	loop_later(s->loop, &s->begin);
	return 0;
}

void store_reset_failure(struct store *s)
{
	struct err err;

	if (s->closing)
		return;
	/* A commit that failed half-way may be on disk all the same: go on from what is. */
	if (s->failed && lmdb_revision(s->db, &s->stats.revision, &err) < 0)
		log_error("%s", err.text);
	else
		s->failed = false;
}

struct store_stats store_stats(const struct store *s)
{
	return s->stats;
}

int store_range(struct store *s, const char *kind, store_row_fn *row, void *arg, struct err *err)
{
	if (s->group)
		return err_set(err, -EBUSY, "read store %s", s->dir);
	return lmdb_range(s->db, kind, row, arg, err);
}

int store_copy(const char *from_dir, const char *to_dir, struct err *err)
{
	return lmdb_copy(from_dir, to_dir, err);
}

/* ---- open and close ---- */

/* "open store /var/lib/temps: Read-only file system", and what can be done about it. */
static int fail_open(struct store *s, int rc, struct err *err)
{
	bool denied = rc == -EROFS || rc == -EACCES || rc == -EPERM;

	return err_say(err, rc, "open store %s: %s%s", s->dir, strerror(-rc),
		       denied ? " (choose a data directory that can be written)"
		       : rc == -ENOSPC ? " (free some space on its disk)" : "");
}

static int say_holder(struct store *s, struct err *err)
{
	char pid[16] = "";
	ssize_t n = pread(s->lock_fd, pid, sizeof(pid) - 1, 0);

	pid[MAX(n, 0)] = '\0';
	pid[strspn(pid, "0123456789")] = '\0';
	return err_say(err, -EBUSY,
		       "store %s is in use by process %s: stop it first, or use another data "
		       "directory",
		       s->dir, pid[0] ? pid : "?");
}

/* The lock lives as long as the descriptor: a killed process leaves no stale one. */
static int take_lock(struct store *s, struct err *err)
{
	char *path = xasprintf("%s/" LOCK_FILE, s->dir), pid[16];
	int n;

	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	if (s->lock_fd < 0)
		return fail_open(s, -errno, err);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? say_holder(s, err)
					    : err_set(err, -errno, "lock store %s", s->dir);
	n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, pid, (size_t)n, 0) != n)
		return fail_open(s, errno ? -errno : -EIO, err);
	return 0;
}

static int open_all(struct store *s, struct err *err)
{
	int rc = dir_make(s->dir, 0700, NULL);

	if (rc)
		return fail_open(s, rc, err);
	rc = take_lock(s, err);
	if (rc == 0)
		rc = lmdb_open(&s->db, s->dir, STORE_MAP_BYTES, err);
	if (rc == 0)
		rc = lmdb_revision(s->db, &s->stats.revision, err);
	if (rc == 0)
		rc = work_create(&s->work, s->loop, "store", 2, err);
	return rc;
}

int store_open(struct store **out, struct loop *l, const char *dir, struct err *err)
{
	struct store *s = xcalloc(1, sizeof(*s));
	int rc;

	s->loop = l;
	s->dir = xstrdup(dir);
	s->lock_fd = -1;
	list_init(&s->queue);
	loop_task_init(&s->begin, begin_group, s);
	rc = open_all(s, err);
	if (rc) {
		store_close(s);
		return rc;
	}
	lmdb_usage(s->db, &s->stats.map_used_bytes, &s->stats.map_bytes);
	*out = s;
	return 0;
}

void store_release(struct store *s)
{
	s->closing = true;
	begin_group(s);
	work_destroy(s->work);	/* a group that ends begins the next one */
	s->work = NULL;
	loop_task_cancel(&s->begin);
	lmdb_close(s->db);
	s->db = NULL;
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = -1;
}

int store_reopen(struct store *s, struct err *err)
{
	int rc = open_all(s, err);

	if (rc)
		store_release(s);
	else
		s->closing = s->failed = false;
	return rc;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_release(s);
	free(s->dir);
	free(s);
}
