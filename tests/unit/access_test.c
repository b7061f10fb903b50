/* The access log: its lines, and that they reach the file without blocking anybody. */
#include "check.h"

#include <errno.h>
#include <unistd.h>

#include "base/config.h"
#include "base/json.h"
#include "proxy/access.h"
#include "reactor/deadline.h"

static struct exchange x;
static struct exchange_peer peer;

static void set_up(const char *path)
{
	memset(&x, 0, sizeof(x));
	memset(&peer, 0, sizeof(peer));
	assert_int_equal(addr_parse(&peer.addr, SLICE("192.0.2.7:4711"), NULL), 0);
	peer.tls = true;
	x.peer = &peer;
	x.req.method = SLICE("GET");
	x.req.authority = SLICE("a.test:8443");
	x.req.path = slice_str(path);
	x.status = 200;
	x.body_in_bytes = 1;
	x.body_out_bytes = 128;
	strcpy(x.request_id, "id-1");
}

static struct access_line line_now(void)
{
	return (struct access_line){
		.x = &x,
		.wall_ms = 1772625600123, /* 2026-03-04T12:00:00.123Z */
		.took_us = 1234,
		.upstream = "hello",
		.endpoint = "127.0.0.1:20000",
		.attempts = 2,
	};
}

static void text_line(void **state)
{
	struct access_line line = line_now();
	char out[ACCESS_LINE_MAX];

	(void)state;
	set_up("/a\"b\\c\xff?q");
	out[access_format(out, &line, false)] = '\0';
	assert_string_equal(
		out,
		"time=2026-03-04T12:00:00.123Z client=192.0.2.7 scheme=https status=200 ms=1.234 in=1 out=128 "
		"attempts=2 id=id-1 app=hello endpoint=127.0.0.1:20000 method=\"GET\" host=\"a.test:8443\" "
		"path=\"/a\\\"b\\\\c\\xff?q\"\n");
	line.upstream = line.endpoint = NULL;
	line.attempts = 0;
	line.why = "client went away";
	x.status = 0;
	out[access_format(out, &line, false)] = '\0';
	assert_non_null(strstr(out, " status=499 "));
	assert_non_null(strstr(out, " cut=\"client went away\" "));
	assert_null(strstr(out, "endpoint="));
}

/* The day's arithmetic against the library's, over leap years and month ends. */
static void dates(void **state)
{
	struct access_line line = line_now();
	char out[ACCESS_LINE_MAX], want[40];

	(void)state;
	set_up("/");
	for (uint64_t day = 0; day < 60000; day += 13) {
		line.wall_ms = day * 86400000 + 86399999;
		text_time(line.wall_ms, true, want);
		access_format(out, &line, false);
		if (memcmp(out + 5, want, strlen(want)) != 0)
			fail_msg("%.30s is not %s", out, want);
	}
}

/* A static route is named by whoever added it. */
static void odd_names(void **state)
{
	static const char name[] = "a.test/x\",\"status\":1,\"y\":\"z w";
	struct access_line line = line_now();
	char out[ACCESS_LINE_MAX];
	struct json *j;
	struct err err;
	size_t n;

	(void)state;
	set_up("/");
	line.upstream = name;
	n = access_format(out, &line, true);
	assert_int_equal(json_parse(&j, slice_of(out, n - 1), &err), 0);
	assert_string_equal(json_cstr(json_get(j, "app"), ""), name);
	json_free(j);
	out[access_format(out, &line, false)] = '\0';
	assert_non_null(strstr(out, " app=\"a.test/x\\\",\\\"status\\\":1,"));
}

static void json_lines(void **state)
{
	struct access_line line = line_now();
	char path[3000], out[ACCESS_LINE_MAX];
	struct json *j;
	struct err err;
	size_t n;

	(void)state;
	memset(path, '"', sizeof(path) - 1);
	path[0] = '/';
	path[100] = '\xfe';
	path[sizeof(path) - 1] = '\0';
	set_up(path);
	n = access_format(out, &line, true);
	assert_int_equal(out[n - 1], '\n');
	if (json_parse(&j, slice_of(out, n - 1), &err) < 0)
		fail_msg("%s in %.*s", err.text, (int)n, out);
	assert_int_equal(json_int(json_get(j, "status"), 0), 200);
	assert_string_equal(json_cstr(json_get(j, "app"), ""), "hello");
	assert_int_equal(json_str(json_get(j, "path"), "").p[1], '"');
	json_free(j);
	/* The worst of all still is a whole line. */
	memset(path, '\x80', sizeof(path) - 1);
	line.upstream = path;
	n = access_format(out, &line, true);
	assert_memory_equal(out + n - 3, "\"}\n", 3);
}

struct world {
	struct loop *loop;
	struct work *work;
	struct access *access;
	char path[64], renamed[80];
};

static void start(struct world *w)
{
	struct err err;
	int fd;

	strcpy(w->path, "/tmp/temps-access-XXXXXX");
	fd = mkstemp(w->path);
	assert_true(fd >= 0);
	close(fd);
	snprintf(w->renamed, sizeof(w->renamed), "%s.1", w->path);
	assert_int_equal(loop_create(&w->loop, &err), 0);
	assert_int_equal(work_create(&w->work, w->loop, "work", 64, &err), 0);
	assert_int_equal(access_open(&w->access, w->loop, w->work, w->path, false, &err), 0);
}

static void on_stop(void *arg)
{
	loop_stop(arg);
}

static void run_for(struct world *w, uint32_t ms)
{
	struct deadline d;

	deadline_init(&d, w->loop, on_stop, w->loop);
	deadline_set(&d, ms);
	loop_run(w->loop);
	deadline_stop(&d);
}

static unsigned count_lines(const char *path)
{
	unsigned lines = 0;
	char *text;
	size_t n;

	assert_int_equal(file_read(path, 64 << 20, &text, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	free(text);
	return lines;
}

static void finish(struct world *w)
{
	access_close(w->access);
	work_destroy(w->work);
	loop_destroy(w->loop);
}

static void written_and_reopened(void **state)
{
	struct access_line line = line_now();
	struct world w;

	(void)state;
	set_up("/");
	start(&w);
	access_write(w.access, &line);
	assert_int_equal(count_lines(w.path), 0);
	for (unsigned i = 0; i < 100 && count_lines(w.path) == 0; i++)
		run_for(&w, 50);
	assert_int_equal(count_lines(w.path), 1);
	/* What was written before the rename stays with the old name. */
	assert_int_equal(rename(w.path, w.renamed), 0);
	for (unsigned i = 0; i < 1000; i++)
		access_write(w.access, &line);
	access_reopen(w.access);
	for (unsigned i = 0; i < 100 && access(w.path, F_OK) < 0; i++)
		run_for(&w, 10);
	run_for(&w, 10);
	for (unsigned i = 0; i < 10; i++)
		access_write(w.access, &line);
	finish(&w);
	assert_int_equal(count_lines(w.renamed), 1001);
	assert_int_equal(count_lines(w.path), 10);
	unlink(w.path);
	unlink(w.renamed);
}

static void bounded(void **state)
{
	enum { LINES = 100000 };
	struct access_line line = line_now();
	const struct access_stats *stats;
	uint64_t lines, dropped;
	struct world w;

	(void)state;
	set_up("/");
	start(&w);
	/* No turn of the loop: no block comes back. */
	for (unsigned i = 0; i < LINES; i++)
		access_write(w.access, &line);
	stats = access_stats(w.access);
	lines = stats->lines;
	dropped = stats->dropped;
	assert_true(dropped > 0);
	assert_int_equal(lines + dropped, LINES);
	finish(&w);
	assert_int_equal(count_lines(w.path), lines);
	unlink(w.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_line),  cmocka_unit_test(dates),
		cmocka_unit_test(odd_names),
		cmocka_unit_test(json_lines), cmocka_unit_test(written_and_reopened),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
