/* Acknowledged writes survive power loss: a child that commits is cut off at random points by
 * powerloss.so, and after each cut the store holds exactly what its revision says, and no
 * acknowledged revision is missing.
 *
 * What transaction <n> does follows from <n> alone, so the whole content follows from the
 * revision. Last, a child with MDB_NOSYNC planted shows that this test can fail. TEST_SEED
 * repeats a run's cuts. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "store/store.h"

#define MAKING_EVENTS 7
#define STORES 4
#define CUTS_PER_STORE 10
#define PLANTED_CUTS_MAX 40
#define EVENTS_MAX 120		/* a cut comes within the first that many */
#define TXNS_MAX 2000		/* a child that is never cut ends here */
#define IN_FLIGHT_MAX 7
#define CHILD_LIMIT_S 20
#define SLOTS 48

static const char *const kinds[] = { "app", "node", "token" };

/* ---- what transaction <n> does ---- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

struct change {
	unsigned kind, slot;
	bool del;
	uint64_t stamp;		/* tells every value from every other */
};

static unsigned change_count(uint64_t n)
{
	return 1 + (unsigned)(mix(n * 977) % 6);
}

static struct change change_at(uint64_t n, unsigned i)
{
	uint64_t r = mix(n * 8 + i + 0x9e3779b97f4a7c15);

	return (struct change){ .kind = (unsigned)(r % 3), .slot = (unsigned)(r / 3 % SLOTS),
				.del = r / 1000 % 5 == 0, .stamp = n * 8 + i };
}

static void change_key(const struct change *c, char key[16])
{
	snprintf(key, 16, "slot-%02u", c->slot);
}

/* Mostly small, some over several pages. */
static void change_value(const struct change *c, struct buf *out)
{
	uint64_t r = mix(c->stamp * 31 + 7);
	size_t fill = r % 16 == 0 ? r / 16 % 20000 : r / 16 % 200;

	buf_clear(out);
	buf_printf(out, "%llu:", (unsigned long long)c->stamp);
	for (size_t i = 0; i < fill; i++)
		buf_append(out, &"0123456789abcdef"[(c->stamp + i) % 16], 1);
}

/* ---- the child that commits ---- */

struct writer {
	struct loop *loop;
	struct store *store;
	uint64_t next, last;
	unsigned in_flight;
	struct buf value;
};

static void submit(struct writer *w);

static void on_done(void *arg, int rc, uint64_t revision)
{
	struct writer *w = arg;
	char line[32];
	int n = snprintf(line, sizeof(line), "%llu\n", (unsigned long long)revision);

	if (rc || write(1, line, (size_t)n) != n)
		_exit(1);
	w->in_flight--;
	if (revision == w->last)
		loop_stop(w->loop);
	submit(w);
}

/* Sometimes one at a time, sometimes many in a group. */
static void submit(struct writer *w)
{
	unsigned want = 1 + (unsigned)(w->next / 16 % IN_FLIGHT_MAX);

	while (w->in_flight < want && w->next <= w->last) {
		struct store_txn *t = store_txn_new();

		for (unsigned i = 0; i < change_count(w->next); i++) {
			struct change c = change_at(w->next, i);
			char key[16];

			change_key(&c, key);
			change_value(&c, &w->value);
			if (c.del)
				store_txn_del(t, kinds[c.kind], slice_str(key));
			else
				store_txn_put(t, kinds[c.kind], slice_str(key),
					      buf_slice(&w->value));
		}
		if (store_commit(w->store, t, on_done, w))
			_exit(1);
		w->in_flight++;
		w->next++;
	}
}

static int run_writer(const char *dir)
{
	struct writer w = { 0 };
	struct err err;

	if (loop_create(&w.loop, &err) || store_open(&w.store, w.loop, dir, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	buf_init(&w.value, 0);
	w.next = store_stats(w.store).revision + 1;
	w.last = w.next + TXNS_MAX;
	submit(&w);
	loop_run(w.loop);
	store_close(w.store);
	loop_destroy(w.loop);
	buf_fini(&w.value);
	return 0;
}

/* ---- the verifier ---- */

enum { VERIFY_WHOLE, VERIFY_BROKEN, VERIFY_LOST };

struct expected {
	struct change slots[ARRAY_LEN(kinds)][SLOTS];
	bool there[ARRAY_LEN(kinds)][SLOTS];
	unsigned kind, seen;
	struct buf value;
};

static void expect(struct expected *e, uint64_t revision)
{
	for (uint64_t n = 1; n <= revision; n++) {
		for (unsigned i = 0; i < change_count(n); i++) {
			struct change c = change_at(n, i);

			e->slots[c.kind][c.slot] = c;
			e->there[c.kind][c.slot] = !c.del;
		}
	}
}

static int on_row(void *arg, struct slice key, struct slice value, struct err *err)
{
	struct expected *e = arg;
	uint64_t slot;

	if (key.n != 7 || slice_u64(slice_of(key.p + 5, 2), &slot) < 0 || slot >= SLOTS ||
	    !e->there[e->kind][slot])
		return err_say(err, -EINVAL, "%s/%.*s should not be there", kinds[e->kind],
			       SLICE_ARG(key));
	change_value(&e->slots[e->kind][slot], &e->value);
	if (!slice_eq(value, buf_slice(&e->value)))
		return err_say(err, -EINVAL, "%s/%.*s has another value", kinds[e->kind],
			       SLICE_ARG(key));
	e->seen++;
	return 0;
}

static int check_content(struct store *s, uint64_t revision, struct err *err)
{
	struct expected *e = xcalloc(1, sizeof(*e));
	int rc = 0;

	expect(e, revision);
	for (e->kind = 0; rc == 0 && e->kind < ARRAY_LEN(kinds); e->kind++) {
		unsigned want = 0;

		for (unsigned i = 0; i < SLOTS; i++)
			want += e->there[e->kind][i];
		e->seen = 0;
		rc = store_range(s, kinds[e->kind], on_row, e, err);
		if (rc == 0 && e->seen != want)
			rc = err_say(err, -EINVAL, "%s: %u records, not %u", kinds[e->kind],
				     e->seen, want);
	}
	buf_fini(&e->value);
	free(e);
	return rc;
}

static int verify(const char *dir, uint64_t acked)
{
	struct loop *loop;
	struct store *s;
	struct err err;
	uint64_t revision;
	int rc;

	if (loop_create(&loop, &err) || store_open(&s, loop, dir, &err)) {
		printf("the store does not open: %s\n", err.text);
		return VERIFY_BROKEN;
	}
	revision = store_stats(s).revision;
	rc = check_content(s, revision, &err);
	if (rc)
		printf("revision %llu: %s\n", (unsigned long long)revision, err.text);
	if (revision > acked + IN_FLIGHT_MAX) {
		printf("revision %llu was never asked for\n", (unsigned long long)revision);
		rc = VERIFY_BROKEN;
	}
	if (revision < acked) {
		printf("revision %llu, but %llu was acknowledged\n", (unsigned long long)revision,
		       (unsigned long long)acked);
		rc = VERIFY_LOST;
	}
	store_close(s);
	loop_destroy(loop);
	return rc < 0 ? VERIFY_BROKEN : rc;
}

/* ---- cutting ---- */

struct trial {
	char self[PATH_MAX], shim[PATH_MAX + 16], dir[64];
	uint64_t random;
	uint64_t acked;		/* the highest, of all children of this directory */
	bool was_cut;
};

static uint64_t next_random(struct trial *t)
{
	return mix(t->random += 0x9e3779b97f4a7c15);
}

static void fatal(const char *what)
{
	perror(what);
	exit(99);
}

static void exec_writer(struct trial *t, int out, unsigned at, bool planted)
{
	char number[32], *asan = xasprintf("%s:detect_leaks=0:verify_asan_link_order=0",
					   getenv("ASAN_OPTIONS") ? getenv("ASAN_OPTIONS") : "");

	dup2(out, 1);
	setenv("ASAN_OPTIONS", asan, 1);
	setenv("LD_PRELOAD", t->shim, 1);
	setenv("POWERLOSS_FILE", "/data.mdb", 1);
	snprintf(number, sizeof(number), "%u", at);
	setenv("POWERLOSS_AT", number, 1);
	snprintf(number, sizeof(number), "%lu", (unsigned long)(next_random(t) >> 8));
	setenv("POWERLOSS_SEED", number, 1);
	if (planted)
		setenv("POWERLOSS_PLANT", "nosync", 1);
	alarm(CHILD_LIMIT_S);
	execl(t->self, t->self, "write", t->dir, (char *)NULL);
	_exit(127);
}

/* One child, from its start to its cut. */
static void run_child(struct trial *t, unsigned at, bool planted)
{
	int fds[2], status;
	char line[32];
	FILE *acks;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) < 0)
		fatal("pipe");
	pid = fork();
	if (pid < 0)
		fatal("fork");
	if (pid == 0)
		exec_writer(t, fds[1], at, planted);
	close(fds[1]);
	acks = fdopen(fds[0], "r");
	while (fgets(line, sizeof(line), acks))
		t->acked = strtoull(line, NULL, 10);
	fclose(acks);
	if (waitpid(pid, &status, 0) < 0)
		fatal("wait for a child");
	next_random(t);		/* the child drew one */
	t->was_cut = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (!t->was_cut && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
		printf("FAIL: the child ended with status %#x at event %u\n", status, at);
		exit(1);
	}
}

/* In a process of its own: LMDB may die on a file that lost what it relies on. */
static int verify_apart(struct trial *t)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fatal("fork");
	if (pid == 0) {
		status = verify(t->dir, t->acked);
		fflush(stdout);
		_exit(status);
	}
	if (waitpid(pid, &status, 0) < 0)
		fatal("wait for the verifier");
	return WIFEXITED(status) ? WEXITSTATUS(status) : VERIFY_BROKEN;
}

static void new_store(struct trial *t)
{
	snprintf(t->dir, sizeof(t->dir), "%s", "./store-power.XXXXXX");
	if (!mkdtemp(t->dir))
		fatal("mkdtemp");
	t->acked = 0;
}

static void drop_store(struct trial *t)
{
	char *command = xasprintf("rm -rf %s", t->dir);

	if (system(command) != 0)
		fatal(command);
	free(command);
}

static int check_cut(struct trial *t, unsigned at)
{
	if (verify_apart(t) == VERIFY_WHOLE)
		return 0;
	printf("FAIL: cut at event %u, store %s is kept\n", at, t->dir);
	return 1;
}

/* The file's head, its first pages, sync, meta page; then the first commit's. */
static int test_making(struct trial *t)
{
	for (unsigned at = 1; at <= MAKING_EVENTS; at++) {
		new_store(t);
		run_child(t, at, false);
		if (!t->was_cut || check_cut(t, at))
			return 1;
		drop_store(t);
	}
	printf("a new store: whole after a cut at each of its first %d events\n", MAKING_EVENTS);
	return 0;
}

static int test_cuts(struct trial *t)
{
	for (unsigned i = 0; i < STORES; i++) {
		unsigned cuts = 0;

		new_store(t);
		while (cuts < CUTS_PER_STORE) {
			unsigned at = 1 + (unsigned)(next_random(t) % EVENTS_MAX);

			run_child(t, at, false);
			cuts += t->was_cut;
			if (!t->was_cut || check_cut(t, at))
				return 1;
		}
		printf("store %u: whole after %u cuts, %llu commits acknowledged\n", i + 1, cuts,
		       (unsigned long long)t->acked);
		drop_store(t);
	}
	return 0;
}

/* The test of the test: commits that are answered before they are on disk must be missed. */
static int test_plant(struct trial *t)
{
	for (unsigned i = 1; i <= PLANTED_CUTS_MAX; i++) {
		int found;

		new_store(t);
		run_child(t, EVENTS_MAX / 2, false);
		run_child(t, 1 + (unsigned)(next_random(t) % EVENTS_MAX), true);
		found = verify_apart(t);
		drop_store(t);
		if (found == VERIFY_LOST) {
			printf("planted MDB_NOSYNC: noticed at cut %u\n", i);
			return 0;
		}
	}
	printf("FAIL: nobody noticed the planted MDB_NOSYNC\n");
	return 1;
}

int main(int argc, char **argv)
{
	struct trial t = { 0 };
	char at[PATH_MAX];
	const char *seed = getenv("TEST_SEED");

	if (argc == 3 && strcmp(argv[1], "write") == 0)
		return run_writer(argv[2]);
	if (readlink("/proc/self/exe", t.self, sizeof(t.self) - 1) < 0)
		fatal("/proc/self/exe");
	memcpy(at, t.self, sizeof(at));
	snprintf(t.shim, sizeof(t.shim), "%s/powerloss.so", dirname(at));
	if (access(t.shim, R_OK) < 0)
		fatal(t.shim);
	if (getrandom(&t.random, sizeof(t.random), 0) != sizeof(t.random))
		fatal("getrandom");
	if (seed)
		t.random = strtoull(seed, NULL, 10);
	printf("TEST_SEED=%llu\n", (unsigned long long)t.random);
	return test_making(&t) || test_cuts(&t) || test_plant(&t);
}
