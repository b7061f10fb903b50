/* The store: order, groups, failures and what they say; and the LMDB driver's limits. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "pump.h"
#include "store/lmdb.h"
#include "store/store.h"

struct fixture {
	char root[64], dir[80];
	struct loop *loop;
	struct store *store;
	struct err err;
	struct buf said;	/* "rc:revision " per done */
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	snprintf(f->root, sizeof(f->root), "%s", "./store-test.XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->dir, sizeof(f->dir), "%s/data", f->root);
	assert_int_equal(loop_create(&f->loop, &f->err), 0);
	buf_init(&f->said, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char *command = xasprintf("rm -rf %s", f->root);

	store_close(f->store);
	loop_destroy(f->loop);
	buf_fini(&f->said);
	assert_int_equal(system(command), 0);
	free(command);
	free(f);
	return 0;
}

static void open_store(struct fixture *f)
{
	int rc = store_open(&f->store, f->loop, f->dir, &f->err);

	if (rc)
		fail_msg("store_open: %d, %s", rc, f->err.text);
}

static void reopen(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
	open_store(f);
}

static void on_done(void *arg, int rc, uint64_t revision)
{
	struct fixture *f = arg;

	buf_printf(&f->said, "%d:%llu ", rc, (unsigned long long)revision);
}

static struct store_txn *one_put(const char *kind, const char *key, const char *value)
{
	struct store_txn *t = store_txn_new();

	store_txn_put(t, kind, slice_str(key), slice_str(value));
	return t;
}

static void put(struct fixture *f, const char *kind, const char *key, const char *value)
{
	assert_int_equal(store_commit(f->store, one_put(kind, key, value), on_done, f), 0);
}

static void settle(struct fixture *f)
{
	PUMP_UNTIL(f->loop, store_stats(f->store).queued == 0);
}

static int on_row(void *arg, struct slice key, struct slice value, struct err *err)
{
	(void)err;
	buf_printf(arg, "%.*s=%.*s ", SLICE_ARG(key), SLICE_ARG(value));
	return 0;
}

static void check_rows(struct fixture *f, const char *name, const char *kind, const char *want)
{
	struct buf rows;

	buf_init(&rows, 0);
	assert_int_equal(store_range(f->store, kind, on_row, &rows, &f->err), 0);
	CHECK_SLICE(name, buf_slice(&rows), want);
	buf_fini(&rows);
}

static void test_keeps_records(void **state)
{
	struct fixture *f = *state;
	struct store_txn *t = store_txn_new();
	struct stat st;

	open_store(f);
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	check_rows(f, "a kind nobody wrote", "app", "");
	store_txn_put(t, "app", SLICE("b"), SLICE("2"));
	store_txn_put(t, "app", SLICE("a"), SLICE("1"));
	store_txn_put(t, "node", SLICE("n"), slice_of(NULL, 0));
	store_txn_del(t, "token", SLICE("none"));
	assert_int_equal(store_txn_len(t), 4);
	assert_int_equal(store_commit(f->store, t, on_done, f), 0);
	assert_int_equal(f->said.len, 0);
	settle(f);
	put(f, "app", "a", "3");
	settle(f);
	t = store_txn_new();
	store_txn_put(t, "app", SLICE("c"), SLICE("gone again"));
	store_txn_del(t, "app", SLICE("c"));
	store_txn_del(t, "app", SLICE("b"));
	assert_int_equal(store_commit(f->store, t, on_done, f), 0);
	settle(f);
	CHECK_STR("revisions", f->said.data, "0:1 0:2 0:3 ");
	for (int i = 0; i < 2; i++) {
		check_rows(f, "apps", "app", "a=3 ");
		check_rows(f, "an empty value", "node", "n= ");
		assert_int_equal(store_stats(f->store).revision, 3);
		reopen(f);
	}
}

static void test_groups(void **state)
{
	struct fixture *f = *state;
	struct store_stats stats;
	struct buf want;
	char key[16];

	open_store(f);
	buf_init(&want, 0);
	for (int i = 1; i <= 50; i++) {
		snprintf(key, sizeof(key), "k%02d", i);
		put(f, "app", key, "v");
		buf_printf(&want, "0:%d ", i);
	}
	settle(f);
	stats = store_stats(f->store);
	assert_int_equal(stats.commits, 1);
	assert_int_equal(stats.txns, 50);
	assert_string_equal(f->said.data, want.data);
	assert_true(stats.map_used_bytes > 0 && stats.map_used_bytes < stats.map_bytes);
	assert_int_equal(stats.map_bytes, STORE_MAP_BYTES);
	buf_fini(&want);
}

struct again {
	struct fixture *f;
	int left;
};

static void on_done_again(void *arg, int rc, uint64_t revision)
{
	struct again *a = arg;

	on_done(a->f, rc, revision);
	if (a->left-- > 0)
		assert_int_equal(
			store_commit(a->f->store, one_put("app", "k", "v"), on_done_again, a), 0);
}

static void test_commits_from_done(void **state)
{
	struct fixture *f = *state;
	struct again a = { f, 3 };

	open_store(f);
	assert_int_equal(store_commit(f->store, one_put("app", "k", "v"), on_done_again, &a), 0);
	PUMP_UNTIL(f->loop, a.left < 0);
	assert_string_equal(f->said.data, "0:1 0:2 0:3 0:4 ");
}

static void test_close_commits_the_queue(void **state)
{
	struct fixture *f = *state;

	open_store(f);
	put(f, "app", "a", "1");
	pump_idle(f->loop);
	put(f, "app", "b", "2");
	reopen(f);
	assert_string_equal(f->said.data, "0:1 0:2 ");
	check_rows(f, "both", "app", "a=1 b=2 ");
}

static void test_one_process_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct store *second = NULL;
	char pid[32];

	open_store(f);
	assert_int_equal(store_open(&second, f->loop, f->dir, &f->err), -EBUSY);
	snprintf(pid, sizeof(pid), "by process %ld:", (long)getpid());
	assert_non_null(strstr(f->err.text, pid));
	assert_non_null(strstr(f->err.text, f->dir));
	assert_null(second);
	put(f, "app", "a", "1");
	settle(f);
	assert_string_equal(f->said.data, "0:1 ");
}

static void test_lends_the_store(void **state)
{
	struct fixture *f = *state;
	struct store *ours, *other = NULL;

	open_store(f);
	ours = f->store;
	put(f, "app", "a", "1");
	store_release(ours); /* with what is queued */
	assert_string_equal(f->said.data, "0:1 ");
	assert_int_equal(store_commit(ours, one_put("app", "b", "2"), on_done, f), -ECANCELED);
	assert_int_equal(store_open(&other, f->loop, f->dir, &f->err), 0);
	f->store = other;
	put(f, "app", "c", "3");
	settle(f);
	/* Not while somebody has it; that may be tried again. */
	assert_int_equal(store_reopen(ours, &f->err), -EBUSY);
	assert_int_equal(store_commit(ours, one_put("app", "b", "2"), on_done, f), -ECANCELED);
	store_close(other);
	f->store = ours;
	assert_int_equal(store_reopen(ours, &f->err), 0);
	check_rows(f, "after the other one", "app", "a=1 c=3 ");
	put(f, "app", "d", "4");
	settle(f);
	assert_string_equal(f->said.data, "0:1 0:2 0:3 ");
}

static const struct { const char *name, *kind; size_t key_n, value_n; int want; } limits[] = {
	{ "the longest key",    "app",   STORE_KEY_MAX,     1,                   0 },
	{ "a longer one",       "app",   STORE_KEY_MAX + 1, 1,                   -EINVAL },
	{ "no key",             "app",   0,                 1,                   -EINVAL },
	{ "the largest value",  "app",   1,                 STORE_VALUE_MAX,     0 },
	{ "a larger one",       "app",   1,                 STORE_VALUE_MAX + 1, -EINVAL },
	{ "no kind",            "",      1,                 1,                   -EINVAL },
	{ "the driver's kind",  "_meta", 1,                 1,                   -EINVAL },
};

static void test_limits(void **state)
{
	struct fixture *f = *state;
	char *bytes = xcalloc(1, STORE_VALUE_MAX + 1);

	open_store(f);
	memset(bytes, 'x', STORE_VALUE_MAX + 1);
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct store_txn *t = one_put("app", "beside", "1");

		store_txn_put(t, limits[i].kind, slice_of(bytes, limits[i].key_n),
			      slice_of(bytes, limits[i].value_n));
		CHECK_INT(limits[i].name, store_commit(f->store, t, on_done, f), limits[i].want);
	}
	settle(f);
	assert_string_equal(f->said.data, "0:1 0:2 ");
	free(bytes);
}

static void test_queue_is_bounded(void **state)
{
	struct fixture *f = *state;

	open_store(f);
	for (int i = 0; i < STORE_QUEUE_MAX; i++)
		put(f, "app", "k", "v");
	assert_int_equal(store_commit(f->store, one_put("app", "k", "v"), on_done, f), -EBUSY);
	settle(f);
	assert_int_equal(store_stats(f->store).revision, STORE_QUEUE_MAX);
	assert_int_equal(store_stats(f->store).commits, STORE_QUEUE_MAX / 1000);
	put(f, "app", "k", "v");
	settle(f);
}

/* Files may not grow: what a full disk does, without needing one. */
static void limit_files(const char *dir, bool on)
{
	struct rlimit r;
	struct stat st;
	char *file = xasprintf("%s/data.mdb", dir);

	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = on ? (rlim_t)st.st_size : r.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
	free(file);
}

static void put_large(struct fixture *f, const char *key)
{
	struct store_txn *t = store_txn_new();
	char *bytes = xcalloc(1, STORE_VALUE_MAX);

	store_txn_put(t, "app", slice_str(key), slice_of(bytes, STORE_VALUE_MAX));
	assert_int_equal(store_commit(f->store, t, on_done, f), 0);
	free(bytes);
}

static void test_full_disk(void **state)
{
	struct fixture *f = *state;

	signal(SIGXFSZ, SIG_IGN);
	open_store(f);
	put(f, "app", "before", "1");
	settle(f);
	buf_clear(&f->said);
	limit_files(f->dir, true);
	put_large(f, "large");
	put(f, "app", "with it", "2");
	PUMP_UNTIL(f->loop, f->said.len > 0);
	limit_files(f->dir, false);
	CHECK_STR("the first says why", f->said.data, "-28:0 -125:0 ");
	assert_int_equal(store_commit(f->store, one_put("app", "k", "v"), on_done, f), -ECANCELED);
	assert_int_equal(store_stats(f->store).failed, 1);
	check_rows(f, "nothing of it", "app", "before=1 ");
	store_reset_failure(f->store);
	put(f, "app", "after", "3");
	settle(f);
	CHECK_STR("goes on", f->said.data, "-28:0 -125:0 0:2 ");
	reopen(f);
	check_rows(f, "kept", "app", "after=3 before=1 ");
}

static void on_group_begun(void *arg)
{
	put(arg, "app", "behind it", "2");
}

static void test_failure_takes_the_queue_along(void **state)
{
	struct fixture *f = *state;
	struct loop_task behind;

	loop_task_init(&behind, on_group_begun, f);
	signal(SIGXFSZ, SIG_IGN);
	open_store(f);
	put(f, "app", "before", "1");
	settle(f);
	buf_clear(&f->said);
	limit_files(f->dir, true);
	put_large(f, "large");
	loop_later(f->loop, &behind);	/* after the store's own task, which begins the commit */
	PUMP_UNTIL(f->loop, f->said.len > 0);
	limit_files(f->dir, false);
	CHECK_STR("both", f->said.data, "-28:0 -125:0 ");
	assert_int_equal(store_stats(f->store).queued, 0);
}

static void test_copy(void **state)
{
	struct fixture *f = *state;
	char *to = xasprintf("%s/copy", f->root), *nowhere = xasprintf("%s/nowhere", f->root);
	struct stat st;
	char *file = xasprintf("%s/data.mdb", to);

	open_store(f);
	put(f, "app", "a", "1");
	settle(f);
	assert_int_equal(store_copy(nowhere, to, &f->err), -ENOENT);
	assert_int_equal(stat(to, &st), -1);
	assert_int_equal(store_copy(f->dir, to, &f->err), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(store_copy(f->dir, to, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, to));
	put(f, "app", "b", "2");
	settle(f);
	store_close(f->store);
	f->store = NULL;
	snprintf(f->dir, sizeof(f->dir), "%s", to);
	open_store(f);
	check_rows(f, "as it was", "app", "a=1 ");
	assert_int_equal(store_stats(f->store).revision, 1);
	free(file);
	free(to);
	free(nowhere);
}

/* A store as another version might have left it. */
static void write_schema(const char *dir, const char *kind, const char *schema)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	char name[] = "schema";
	MDB_val key = { 6, name }, value = { strlen(schema), (void *)(uintptr_t)schema };

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
	assert_int_equal(mdb_env_open(env, dir, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, kind, MDB_CREATE, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static const struct { const char *name, *kind, *schema; int want; const char *text; } versions[] = {
	{ "a newer temps",     "_meta", "7",   -EPROTO, "written by a newer temps (schema 7, this one knows 1)" },
	{ "an older one",      "_meta", "0",   -EPROTO, "unknown schema version 0" },
	{ "no number",         "_meta", "abc", -EIO,    "damaged" },
	{ "somebody else's",   "other", "1",   -EPROTO, "not a store" },
};

static void test_versions(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		snprintf(f->dir, sizeof(f->dir), "%s/v%zu", f->root, i);
		assert_int_equal(mkdir(f->dir, 0700), 0);
		write_schema(f->dir, versions[i].kind, versions[i].schema);
		CHECK_INT(versions[i].name, store_open(&f->store, f->loop, f->dir, &f->err),
			  versions[i].want);
		if (!strstr(f->err.text, versions[i].text) || !strstr(f->err.text, f->dir))
			fail_msg("%s: \"%s\"", versions[i].name, f->err.text);
	}
}

static void write_file(const char *path, const char *text, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	close(fd);
}

static void test_unusable_directories(void **state)
{
	struct fixture *f = *state;
	char *file = xasprintf("%s/file", f->root), *data = xasprintf("%s/data.mdb", f->dir), *want;
	char garbage[8192];

	write_file(file, "x", 1);
	snprintf(f->dir, sizeof(f->dir), "%s/file/data", f->root);
	assert_int_equal(store_open(&f->store, f->loop, f->dir, &f->err), -ENOTDIR);
	want = xasprintf("open store %s: Not a directory", f->dir);
	assert_string_equal(f->err.text, want);
	snprintf(f->dir, sizeof(f->dir), "%s/data", f->root);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	memset(garbage, 'x', sizeof(garbage));
	write_file(data, garbage, sizeof(garbage));
	assert_int_equal(store_open(&f->store, f->loop, f->dir, &f->err), -EPROTO);
	assert_non_null(strstr(f->err.text, "restore a backup"));
	free(want);
	free(file);
	free(data);
}

/* ---- the driver ---- */

struct ops {
	struct store_op op[40];
	size_t count, at;
};

static const struct store_op *next_op(void *arg)
{
	struct ops *o = arg;

	return o->at < o->count ? &o->op[o->at++] : NULL;
}

static int count_row(void *arg, struct slice key, struct slice value, struct err *err)
{
	(void)key;
	(void)value;
	(void)err;
	++*(int *)arg;
	return 0;
}

static void test_full_map(void **state)
{
	struct fixture *f = *state;
	static char block[64 << 10];
	struct lmdb *db;
	char key[16];
	uint64_t revision = 0;
	int rc, rows = 0;

	assert_int_equal(lmdb_open(&db, f->root, 1 << 20, &f->err), 0);
	do {
		struct ops o = { .count = 1 };

		snprintf(key, sizeof(key), "k%02d", (int)revision);
		o.op[0] = (struct store_op){ "app", slice_str(key), slice_of(block, sizeof(block)), false };
		rc = lmdb_commit(db, next_op, &o, revision + 1, &f->err);
		revision += rc == 0;
	} while (rc == 0 && revision < 100);
	assert_int_equal(rc, -ENOSPC);
	assert_non_null(strstr(f->err.text, "reached its limit"));
	assert_int_equal(lmdb_range(db, "app", count_row, &rows, &f->err), 0);
	assert_int_equal(rows, revision);
	assert_int_equal(lmdb_revision(db, &revision, &f->err), 0);
	assert_int_equal(rows, revision);
	lmdb_close(db);
}

static void test_kinds_of_a_failed_commit(void **state)
{
	struct fixture *f = *state;
	struct ops o = { .count = ARRAY_LEN(o.op) };
	char names[ARRAY_LEN(o.op)][8];
	struct lmdb *db;
	int rows = 0;

	for (size_t i = 0; i < ARRAY_LEN(o.op); i++) {
		snprintf(names[i], sizeof(names[i]), "kind%zu", i);
		o.op[i] = (struct store_op){ names[i], SLICE("k"), SLICE("v"), false };
	}
	assert_int_equal(lmdb_open(&db, f->root, 1 << 20, &f->err), 0);
	assert_int_equal(lmdb_commit(db, next_op, &o, 1, &f->err), -EMFILE);
	o.at = 0;
	o.count = 32;
	assert_int_equal(lmdb_range(db, "kind0", count_row, &rows, &f->err), 0);
	assert_int_equal(rows, 0);
	assert_int_equal(lmdb_commit(db, next_op, &o, 1, &f->err), 0);
	lmdb_close(db);
	assert_int_equal(lmdb_open(&db, f->root, 1 << 20, &f->err), 0);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(lmdb_range(db, names[i], count_row, &rows, &f->err), 0);
	assert_int_equal(rows, 32);
	lmdb_close(db);
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_keeps_records),
		STORE_TEST(test_groups),
		STORE_TEST(test_commits_from_done),
		STORE_TEST(test_close_commits_the_queue),
		STORE_TEST(test_one_process_at_a_time),
		STORE_TEST(test_lends_the_store),
		STORE_TEST(test_limits),
		STORE_TEST(test_queue_is_bounded),
		STORE_TEST(test_full_disk),
		STORE_TEST(test_failure_takes_the_queue_along),
		STORE_TEST(test_copy),
		STORE_TEST(test_versions),
		STORE_TEST(test_unusable_directories),
		STORE_TEST(test_full_map),
		STORE_TEST(test_kinds_of_a_failed_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
