/* LMDB as the store: full sync on every commit (no NOSYNC, no WRITEMAP, no DUPSORT), readers
 * without thread slots. */
#include "store/lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define KINDS_MAX 32
#define FULL_BYTES 65536
#define META "_meta"	/* schema and revision, as decimal text; no kind starts with '_' */

struct kind {
	char name[STORE_KIND_MAX + 1];
	MDB_dbi dbi;
};

struct lmdb {
	MDB_env *env;
	char *dir;	/* owned */
	MDB_dbi meta;
	struct kind kinds[KINDS_MAX];
	size_t kind_count;
};

static int mdb_to_errno(int rc)
{
	switch (rc) {
	case 0:                    return 0;
	case MDB_NOTFOUND:         return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case EDQUOT:
	case EFBIG:                return -ENOSPC;
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH: return -EPROTO;
	case MDB_BAD_VALSIZE:
	case MDB_KEYEXIST:         return -EINVAL;
	case MDB_DBS_FULL:         return -EMFILE;
	case MDB_READERS_FULL:     return -EBUSY;
	default:                   return rc > 0 ? -rc : -EIO;	/* MDB_CORRUPTED, MDB_PANIC, … */
	}
}

/* What somebody at a keyboard can do about it. */
static const char *advice(int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:         return " (the store has reached its limit)";
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:    return " (data.mdb is damaged or not a store: restore a backup)";
	case MDB_PANIC:            return " (restart temps)";
	case EACCES:
	case EPERM:
	case EROFS:                return " (choose a data directory that can be written)";
	case ENOSPC:
	case EDQUOT:
	case EFBIG:                return " (free some space on its disk)";
	default:                   return "";
	}
}

static int fail(struct err *err, int mdb_rc, const char *what, const char *dir)
{
	return err_say(err, mdb_to_errno(mdb_rc), "%s store %s: %s%s", what, dir,
		       mdb_strerror(mdb_rc), advice(mdb_rc));
}

static MDB_val val(struct slice s)
{
	return (MDB_val){ .mv_size = s.n, .mv_data = (void *)(uintptr_t)s.p };
}

/* ---- schema and revision ---- */

static int get_number(MDB_txn *txn, MDB_dbi dbi, const char *name, uint64_t *out)
{
	MDB_val key = val(slice_str(name)), value;
	int rc = mdb_get(txn, dbi, &key, &value);

	if (rc)
		return rc;
	return slice_u64(slice_of(value.mv_data, value.mv_size), out) < 0 ? MDB_CORRUPTED : 0;
}

static int put_number(MDB_txn *txn, MDB_dbi dbi, const char *name, uint64_t n)
{
	char text[24];
	MDB_val key = val(slice_str(name)), value;

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	value = val(slice_str(text));
	return mdb_put(txn, dbi, &key, &value, 0);
}

int lmdb_revision(struct lmdb *db, uint64_t *out, struct err *err)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn);

	if (rc == 0) {
		rc = get_number(txn, db->meta, "revision", out);
		mdb_txn_abort(txn);
	}
	return rc ? fail(err, rc, "read", db->dir) : 0;
}

static int make_meta(MDB_env *env)
{
	MDB_txn *txn;
	MDB_dbi meta;
	int rc = mdb_txn_begin(env, NULL, 0, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, META, MDB_CREATE, &meta);
	if (rc == 0)
		rc = put_number(txn, meta, "schema", STORE_SCHEMA);
	if (rc == 0)
		rc = put_number(txn, meta, "revision", 0);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

static int check_schema(struct lmdb *db, MDB_txn *txn, struct err *err)
{
	uint64_t schema;
	int rc = get_number(txn, db->meta, "schema", &schema);

	if (rc)
		return fail(err, rc, "read the schema version of", db->dir);
	if (schema > STORE_SCHEMA)
		return err_say(err, -EPROTO,
			       "store %s was written by a newer temps (schema %llu, this one knows "
			       "%d): upgrade temps or use another data directory",
			       db->dir, (unsigned long long)schema, STORE_SCHEMA);
	if (schema < STORE_SCHEMA)
		return err_say(err, -EPROTO, "store %s has the unknown schema version %llu",
			       db->dir, (unsigned long long)schema);
	return 0;
}

/* The databases there are: opened once, here, because LMDB takes no two transactions that open at a
 * time. */
static int open_kinds(struct lmdb *db, MDB_txn *txn)
{
	MDB_cursor *cursor;
	MDB_dbi names;
	MDB_val key;
	int rc = mdb_dbi_open(txn, NULL, 0, &names);

	if (rc == 0)
		rc = mdb_cursor_open(txn, names, &cursor);
	if (rc)
		return rc;
	while ((rc = mdb_cursor_get(cursor, &key, NULL, MDB_NEXT)) == 0) {
		struct kind *k = &db->kinds[db->kind_count];

		if (slice_eq(slice_of(key.mv_data, key.mv_size), slice_str(META)))
			continue;
		if (db->kind_count == KINDS_MAX ||
		    slice_copy(slice_of(key.mv_data, key.mv_size), k->name, sizeof(k->name)) < 0)
			rc = MDB_INVALID;
		else
			rc = mdb_dbi_open(txn, k->name, 0, &k->dbi);
		if (rc)
			break;
		db->kind_count++;
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int load_txn(struct lmdb *db, MDB_txn *txn, struct err *err)
{
	int rc = mdb_dbi_open(txn, META, 0, &db->meta);

	if (rc)
		return fail(err, rc == MDB_NOTFOUND ? MDB_INVALID : rc, "open", db->dir);
	rc = check_schema(db, txn, err);
	if (rc)
		return rc;
	rc = open_kinds(db, txn);
	return rc ? fail(err, rc, "open", db->dir) : 0;
}

static int load(struct lmdb *db, struct err *err)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn);

	if (rc)
		return fail(err, rc, "open", db->dir);
	rc = load_txn(db, txn, err);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	/* Committed, so that the handles it opened outlive it. */
	rc = mdb_txn_commit(txn);
	return rc ? fail(err, rc, "open", db->dir) : 0;
}

/* ---- open and close ---- */

/* fdatasync() makes a file's bytes durable, not its name. */
static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static int make_file(const char *path)
{
	MDB_env *env = NULL;
	int rc = mdb_env_create(&env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, 1);
	if (rc == 0)
		rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
	if (rc == 0)
		rc = make_meta(env);
	if (env)
		mdb_env_close(env);
	return rc;
}

/* LMDB writes a new file's head without a sync of its own: cut off there, it would be no store
 * and not empty either. So data.mdb gets its name when it is whole. */
static int make_data(struct lmdb *db)
{
	char *path = xasprintf("%s/data.mdb", db->dir);
	char *fresh = xasprintf("%s/data.mdb.new", db->dir);
	int rc = 0;

	if (access(path, F_OK) < 0) {
		unlink(fresh);
		rc = make_file(fresh);
		if (rc == 0 && rename(fresh, path) < 0)
			rc = errno;
		if (rc == 0)
			rc = -sync_dir(db->dir);
		if (rc)
			unlink(fresh);
	}
	free(fresh);
	free(path);
	return rc;
}

static int open_env(struct lmdb *db, uint64_t map_bytes)
{
	int fd, dead, rc = mdb_env_create(&db->env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(db->env, KINDS_MAX + 1);
	if (rc == 0)
		rc = mdb_env_set_mapsize(db->env, map_bytes);
	if (rc == 0)
		rc = mdb_env_open(db->env, db->dir, MDB_NOTLS, 0600);
	/* A reader that was killed keeps old pages from being used again, until the map is full. */
	if (rc == 0)
		rc = mdb_reader_check(db->env, &dead);
	/* Its other descriptors are close-on-exec, this one is not. */
	if (rc == 0 && mdb_env_get_fd(db->env, &fd) == 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return rc;
}

int lmdb_open(struct lmdb **out, const char *dir, uint64_t map_bytes, struct err *err)
{
	struct lmdb *db = xcalloc(1, sizeof(*db));
	int rc;

	db->dir = xstrdup(dir);
	rc = make_data(db);
	if (rc == 0)
		rc = open_env(db, map_bytes);
	rc = rc ? fail(err, rc, "open", dir) : load(db, err);
	if (rc) {
		lmdb_close(db);
		return rc;
	}
	*out = db;
	return 0;
}

void lmdb_close(struct lmdb *db)
{
	if (!db)
		return;
	if (db->env)
		mdb_env_close(db->env);
	free(db->dir);
	free(db);
}

void lmdb_usage(struct lmdb *db, uint64_t *used_bytes, uint64_t *map_bytes)
{
	MDB_envinfo info = { 0 };
	MDB_stat stat = { 0 };

	mdb_env_info(db->env, &info);
	mdb_env_stat(db->env, &stat);
	*used_bytes = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
	*map_bytes = info.me_mapsize;
}

/* ---- records ---- */

static struct kind *find_kind(struct lmdb *db, const char *name)
{
	for (size_t i = 0; i < db->kind_count; i++)
		if (strcmp(db->kinds[i].name, name) == 0)
			return &db->kinds[i];
	return NULL;
}

static int add_kind(struct lmdb *db, MDB_txn *txn, const char *name, struct kind **out)
{
	struct kind *k = &db->kinds[db->kind_count];
	int rc;

	if (db->kind_count == KINDS_MAX)
		return MDB_DBS_FULL;
	rc = mdb_dbi_open(txn, name, MDB_CREATE, &k->dbi);
	if (rc)
		return rc;
	snprintf(k->name, sizeof(k->name), "%s", name);
	db->kind_count++;
	*out = k;
	return 0;
}

static int apply(struct lmdb *db, MDB_txn *txn, const struct store_op *op)
{
	struct kind *k = find_kind(db, op->kind);
	MDB_val key = val(op->key), value = val(op->value);
	int rc = 0;

	if (op->del) {
		rc = k ? mdb_del(txn, k->dbi, &key, NULL) : 0;
		return rc == MDB_NOTFOUND ? 0 : rc;
	}
	if (!k)
		rc = add_kind(db, txn, op->kind, &k);
	return rc ? rc : mdb_put(txn, k->dbi, &key, &value, 0);
}

/* LMDB calls a short write EIO; nearly always it is the disk's last block. */
static bool is_disk_full(const char *dir)
{
	struct statvfs fs;

	return statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < FULL_BYTES;
}

int lmdb_commit(struct lmdb *db, lmdb_next_fn *next, void *arg, uint64_t revision,
		struct err *err)
{
	size_t kind_count = db->kind_count;
	const struct store_op *op;
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->env, NULL, 0, &txn);

	if (rc)
		return fail(err, rc, "write", db->dir);
	while (rc == 0 && (op = next(arg)))
		rc = apply(db, txn, op);
	if (rc == 0)
		rc = put_number(txn, db->meta, "revision", revision);
	if (rc)
		mdb_txn_abort(txn);
	else
		rc = mdb_txn_commit(txn);	/* frees <txn> either way */
	if (rc == 0)
		return 0;
	if (rc == EIO && is_disk_full(db->dir))
		rc = ENOSPC;
	db->kind_count = kind_count;	/* what the transaction opened went with it */
	return fail(err, rc, "write", db->dir);
}

static int range_txn(MDB_txn *txn, MDB_dbi dbi, store_row_fn *row, void *arg, struct err *err,
		     int *stop)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(txn, dbi, &cursor);

	if (rc)
		return rc;
	while (*stop == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
		*stop = row(arg, slice_of(key.mv_data, key.mv_size),
			    slice_of(value.mv_data, value.mv_size), err);
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_range(struct lmdb *db, const char *kind, store_row_fn *row, void *arg, struct err *err)
{
	struct kind *k = find_kind(db, kind);
	MDB_txn *txn;
	int rc, stop = 0;

	if (!k)
		return 0;
	rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn);
	if (rc == 0) {
		rc = range_txn(txn, k->dbi, row, arg, err, &stop);
		mdb_txn_abort(txn);
	}
	return rc ? fail(err, rc, "read", db->dir) : stop;
}

/* ---- copies ---- */

static int copy_into(MDB_env *env, const char *to_dir, const char *file, struct err *err)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc;

	if (fd < 0)
		return err_set(err, -errno, "create %s", file);
	rc = mdb_env_copyfd2(env, fd, MDB_CP_COMPACT);
	if (rc == 0 && fsync(fd) < 0)
		rc = errno;
	if (close(fd) < 0 && rc == 0)
		rc = errno;
	if (rc == 0)
		rc = -sync_dir(to_dir);
	if (rc)
		return err_say(err, mdb_to_errno(rc), "write %s: %s%s", file, mdb_strerror(rc),
			       advice(rc));
	return 0;
}

static int copy_to(MDB_env *env, const char *to_dir, struct err *err)
{
	char *file = xasprintf("%s/data.mdb", to_dir);
	char *parent = xasprintf("%s/..", to_dir);
	int rc;

	if (mkdir(to_dir, 0700) < 0) {
		rc = err_set(err, -errno, "create %s", to_dir);
	} else {
		rc = copy_into(env, to_dir, file, err);
		if (rc == 0 && (rc = sync_dir(parent)) != 0)
			rc = err_set(err, rc, "sync the directory of %s", to_dir);
		if (rc) {
			unlink(file);
			rmdir(to_dir);
		}
	}
	free(parent);
	free(file);
	return rc;
}

int lmdb_copy(const char *from_dir, const char *to_dir, struct err *err)
{
	MDB_env *env = NULL;
	int rc = mdb_env_create(&env);

	/* Beside the process that serves: LMDB's readers need no lock of ours. */
	if (rc == 0)
		rc = mdb_env_open(env, from_dir, MDB_RDONLY | MDB_NOTLS, 0600);
	rc = rc ? fail(err, rc, "read", from_dir) : copy_to(env, to_dir, err);
	if (env)
		mdb_env_close(env);
	return rc;
}
