/* Logs in files: what is kept of one, of all, for how long. */
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/log_files.h"
#include "check.h"
#include "pump.h"

static struct world {
	struct loop *loop;
	struct work *work;
	struct log_store *store;
	char dir[64], logs[80];
	/* a writer's */
	bool written, ready;
	int rc;
	/* a question's */
	bool answered;
	struct wire_kept list[8];
	size_t n;
	struct buf text;
	struct log_place next;
	size_t chunk;
} w;

static void on_ready(void *arg)
{
	(void)arg;
	w.ready = true;
}

static void on_written(void *arg, int rc)
{
	(void)arg;
	w.rc = rc;
	w.written = true;
}

static const struct log_writer_events events = { .ready = on_ready, .done = on_written };

static struct wire_kept named(const char *container, uint32_t release, uint32_t replica)
{
	struct wire_kept k = { .release = release, .replica = replica };

	snprintf(k.container, sizeof(k.container), "%s", container);
	return k;
}

static struct log_writer *begin(const char *app, const struct wire_kept *k)
{
	w.written = w.ready = false;
	w.rc = 0;
	return log_writer_begin(w.store, app, k, &events, NULL);
}

/* <lines> lines of <width> bytes, numbered. */
static void write_log(const char *app, const struct wire_kept *k, unsigned lines, unsigned width)
{
	struct log_writer *writer = begin(app, k);
	char line[4096];

	assert_non_null(writer);
	for (unsigned i = 1; i <= lines; i++) {
		size_t at = 0;

		snprintf(line, sizeof(line), "%0*u\n", (int)width - 1, i);
		while ((at += log_writer_put(writer, line + at, width - at)) < width) {
			w.ready = false;
			PUMP_UNTIL(w.loop, w.ready);
		}
	}
	log_writer_end(writer);
	PUMP_UNTIL(w.loop, w.written);
	CHECK_INT(k->container, w.rc, 0);
}

static void on_list(void *arg, int rc, const struct wire_kept *list, size_t n)
{
	(void)arg;
	w.rc = rc;
	w.n = MIN(n, ARRAY_LEN(w.list));
	if (w.n)
		memcpy(w.list, list, w.n * sizeof(*list));
	w.answered = true;
}

static void list_logs(const char *app)
{
	w.answered = false;
	assert_non_null(log_store_list(w.store, app, on_list, NULL));
	PUMP_UNTIL(w.loop, w.answered);
}

static void on_chunk(void *arg, int rc, const char *p, size_t n, const struct log_place *next)
{
	(void)arg;
	w.rc = rc;
	w.chunk = n;
	w.next = *next;
	buf_append(&w.text, p, n);
	w.answered = true;
}

static int read_log(const char *app, const char *container, uint32_t tail)
{
	w.next = (struct log_place){ .tail = tail };
	buf_clear(&w.text);
	buf_append_str(&w.text, "");
	do {
		w.answered = false;
		assert_non_null(log_store_read(w.store, app, container, &w.next, on_chunk, NULL));
		PUMP_UNTIL(w.loop, w.answered);
	} while (!w.rc && w.chunk);
	return w.rc;
}

static void test_one(void **state)
{
	struct wire_kept k = named("c-app-7", 3, 7);
	struct stat st;
	char path[160];

	(void)state;
	write_log("app", &k, 10, 4);
	list_logs("app");
	CHECK_INT("one", w.n, 1);
	CHECK_STR("name", w.list[0].container, "c-app-7");
	CHECK_INT("release", w.list[0].release, 3);
	CHECK_INT("replica", w.list[0].replica, 7);
	CHECK_INT("bytes", w.list[0].bytes, 40);
	CHECK_INT("when", w.list[0].ended_ms > loop_wall_ms() - 60000, true);
	CHECK_INT("all", read_log("app", "c-app-7", UINT32_MAX), 0);
	CHECK_STR("all", w.text.data, "001\n002\n003\n004\n005\n006\n007\n008\n009\n010\n");
	CHECK_INT("the end", read_log("app", "c-app-7", 2), 0);
	CHECK_STR("the end", w.text.data, "009\n010\n");
	CHECK_INT("more than there is", read_log("app", "c-app-7", 99), 0);
	CHECK_INT("more than there is", w.text.len, 40);
	CHECK_INT("none", read_log("app", "c-app-7", 0), 0);
	CHECK_INT("none", w.text.len, 0);
	snprintf(path, sizeof(path), "%s/app/3.7.c-app-7.0", w.logs);
	CHECK_INT("a file", stat(path, &st), 0);
	CHECK_INT("its owner's", st.st_mode & 0777, 0600);

	/* A container that is removed a second time, since the answer to the first got lost. */
	write_log("app", &k, 2, 4);
	CHECK_INT("again", read_log("app", "c-app-7", UINT32_MAX), 0);
	CHECK_STR("again", w.text.data, "001\n002\n");
}

static void test_nobody(void **state)
{
	struct wire_kept bad[] = { named("../x", 1, 1), named("", 1, 1), named("a/b", 1, 1) };

	(void)state;
	CHECK_INT("no such log", read_log("app", "nobody", UINT32_MAX), -ENOENT);
	CHECK_INT("no such app", read_log("other", "nobody", 5), -ENOENT);
	list_logs("other");
	CHECK_INT("no such app", w.rc, 0);
	CHECK_INT("no such app", w.n, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_null(begin("app", &bad[i]));
		assert_null(log_store_read(w.store, "app", bad[i].container, &w.next, on_chunk, NULL));
	}
	bad[0] = named("good", 1, 1);
	assert_null(begin("..", &bad[0]));
	assert_null(log_store_list(w.store, "../app", on_list, NULL));
}

/* Ten segments' worth: the last eight stay, and lines go on from one file to the next. */
static void test_segments(void **state)
{
	struct wire_kept k = named("c-app-8", 4, 8);

	(void)state;
	write_log("app", &k, 2800, 4000);
	list_logs("app");
	CHECK_STR("newest first", w.list[0].container, "c-app-8");
	CHECK_INT("at most", w.list[0].bytes <= (LOG_SEGMENTS_MAX + 1) * (LOG_SEGMENT_BYTES + LOG_CHUNK_BYTES), true);
	CHECK_INT("at least", w.list[0].bytes >= (LOG_SEGMENTS_MAX - 1) * LOG_SEGMENT_BYTES, true);
	CHECK_INT("the end", read_log("app", "c-app-8", 1500), 0);
	CHECK_INT("the end", w.text.len, 1500 * 4000);
	CHECK_INT("from", atoi(w.text.data), 1301);
	CHECK_INT("to", atoi(w.text.data + 1499 * 4000), 2800);
}

static bool is_pruned(void)
{
	list_logs("app");
	return w.n == 0 || strcmp(w.list[w.n - 1].container, "c-app-7") != 0;
}

static void reopen(uint64_t max_bytes, uint64_t max_age_ms)
{
	struct log_store_config c = { .loop = w.loop, .work = w.work, .dir = w.logs,
				      .max_bytes = max_bytes, .max_age_ms = max_age_ms };

	log_store_close(w.store);
	assert_int_equal(log_store_open(&w.store, &c, NULL), 0);
}

/* The oldest go first; what is too old goes, and its directory with it. */
static void test_pruning(void **state)
{
	struct wire_kept k = named("c-app-9", 5, 9);
	char path[160];

	(void)state;
	reopen(2u << 20, 0);
	PUMP_UNTIL(w.loop, is_pruned());
	CHECK_INT("in part", w.n, 1);
	CHECK_INT("in part", w.list[0].bytes <= 2u << 20, true);
	CHECK_INT("the last lines", read_log("app", "c-app-8", 1), 0);
	CHECK_INT("the last lines", atoi(w.text.data), 2800);
	write_log("app", &k, 1, 4);

	reopen(0, 1);
	PUMP_UNTIL(w.loop, (log_store_prune(w.store), list_logs("app"), w.n == 0));
	log_store_prune(w.store);
	snprintf(path, sizeof(path), "%s/app", w.logs);
	PUMP_UNTIL(w.loop, access(path, F_OK) < 0);
	reopen(0, 0);
}

static void test_cancelled(void **state)
{
	struct wire_kept k = named("c-app-10", 6, 10);
	struct log_writer *writer = begin("app", &k);
	struct log_ask *ask;

	(void)state;
	CHECK_INT("taken", log_writer_put(writer, "x\n", 2), 2);
	log_writer_cancel(writer);
	ask = log_store_list(w.store, "app", on_list, NULL);
	w.answered = false;
	log_ask_cancel(ask);
	list_logs("app");
	CHECK_INT("what was written stays", w.n, 1);
	CHECK_INT("says nothing", w.written, false);
}

/* A disk that is full, or gone. */
static void test_no_directory(void **state)
{
	struct wire_kept k = named("c-app-11", 7, 11);
	struct log_writer *writer;
	char elsewhere[96];

	(void)state;
	snprintf(elsewhere, sizeof(elsewhere), "%s.away", w.logs);
	assert_int_equal(rename(w.logs, elsewhere), 0);
	writer = begin("app", &k);
	CHECK_INT("taken", log_writer_put(writer, "x\n", 2), 2);
	log_writer_end(writer);
	PUMP_UNTIL(w.loop, w.written);
	CHECK_INT("says why", w.rc, -ENOENT);
	assert_int_equal(rename(elsewhere, w.logs), 0);
}

static int setup(void **state)
{
	(void)state;
	snprintf(w.dir, sizeof(w.dir), "/tmp/temps-unitXXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.logs, sizeof(w.logs), "%s/logs", w.dir);
	buf_init(&w.text, 0);
	assert_int_equal(loop_create(&w.loop, NULL), 0);
	assert_int_equal(work_create(&w.work, w.loop, "test", 64, NULL), 0);
	reopen(0, 0);
	return 0;
}

static int teardown(void **state)
{
	char *rm[] = { (char[]){ "rm" }, (char[]){ "-rf" }, w.dir, NULL };
	pid_t pid;

	(void)state;
	log_store_close(w.store);
	work_destroy(w.work);
	loop_destroy(w.loop);
	buf_fini(&w.text);
	pid = fork();
	if (!pid)
		execvp(rm[0], rm);
	waitpid(pid, NULL, 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),	  cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_segments),  cmocka_unit_test(test_pruning),
		cmocka_unit_test(test_cancelled), cmocka_unit_test(test_no_directory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
