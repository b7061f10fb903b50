/* The access log: its lines, and that they reach the file without blocking anybody. */
#include "check.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
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
	x.started_us = 1000000;
	x.req.minor = 1;
	peer.tls_version = "1.3";
	strcpy(x.request_id, "id-1");
}

static struct access_line line_now(void)
{
	return (struct access_line){
		.x = &x,
		.wall_ms = 1772625600123, /* 2026-03-04T12:00:00.123Z */
		.took_us = 1234,
		.sent_us = 1000100,
		.connect_us = 250,
		.head_us = 1001000,
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
		"time=2026-03-04T12:00:00.123Z client=192.0.2.7 scheme=https protocol=HTTP/1.1 tls=1.3 status=200 "
		"ms=1.234 sent_ms=0.100 connect_ms=0.250 head_ms=1.000 in=1 out=128 attempts=2 id=id-1 "
		"upstream=hello endpoint=127.0.0.1:20000 method=\"GET\" host=\"a.test:8443\" "
		"path=\"/a\\\"b\\\\c\\xff?q\"\n");
	line.upstream = line.endpoint = NULL;
	line.attempts = 0;
	line.why = "client went away";
	x.status = 0;
	out[access_format(out, &line, false)] = '\0';
	assert_non_null(strstr(out, " status=499 "));
	assert_non_null(strstr(out, " cut=\"client went away\" "));
	assert_null(strstr(out, "endpoint="));
	/* What did not happen is left out; a turn that began before the request counts as no time. */
	line.connect_us = 0;
	line.head_us = 0;
	line.sent_us = 999000;
	peer.tls_version = NULL;
	x.req.minor = 0;
	out[access_format(out, &line, false)] = '\0';
	assert_non_null(strstr(out, " protocol=HTTP/1.0 status="));
	assert_non_null(strstr(out, " sent_ms=0.000 in="));
	peer.h2 = true;
	out[access_format(out, &line, false)] = '\0';
	assert_non_null(strstr(out, " protocol=HTTP/2 "));
}

/* What a client may say of itself, at any length. */
static void client_fields(void **state)
{
	char agent[2000], out[ACCESS_LINE_MAX];
	struct access_line line = line_now();
	struct json *j;

	(void)state;
	set_up("/");
	memset(agent, '\x01', sizeof(agent));
	agent[1] = '"';
	agent[2] = '\n';
	head_init(&x.req);
	x.req.method = x.req.authority = x.req.path = SLICE("x");
	assert_true(head_add_other(&x.req, SLICE("User-Agent"), slice_of(agent, sizeof(agent))));
	assert_true(head_add_other(&x.req, SLICE("referer"), SLICE("http://a.test/")));
	assert_int_equal(json_parse(&j, slice_of(out, access_format(out, &line, true) - 1), NULL), 0);
	assert_int_equal(json_str(json_get(j, "agent"), "").n, 256);
	assert_memory_equal(json_str(json_get(j, "agent"), "").p, "\x01\"\n\x01", 4);
	assert_string_equal(json_cstr(json_get(j, "referer"), ""), "http://a.test/");
	json_free(j);
	out[access_format(out, &line, false)] = '\0';
	assert_non_null(strstr(out, " agent=\"\\x01\\\"\\x0a\\x01"));
	assert_int_equal(strchr(out, '\n') - out, (long)strlen(out) - 1);
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
	assert_string_equal(json_cstr(json_get(j, "upstream"), ""), name);
	json_free(j);
	out[access_format(out, &line, false)] = '\0';
	assert_non_null(strstr(out, " upstream=\"a.test/x\\\",\\\"status\\\":1,"));
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
	assert_string_equal(json_cstr(json_get(j, "upstream"), ""), "hello");
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

static int64_t lines_in(const struct access *a)
{
	const struct access_stats *s = access_stats(a);

	return (int64_t)(s->lines + s->dropped);
}

/* A limit on file sizes ends a line in its middle, as a full disk does. */
static void full_disk(void **state)
{
	struct rlimit was, limit;
	struct access_line line = line_now();
	struct world w;
	char *text;
	size_t n;

	(void)state;
	set_up("/");
	start(&w);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	limit = (struct rlimit){ 1000, was.rlim_max };
	setrlimit(RLIMIT_FSIZE, &limit);
	for (unsigned i = 0; i < 100; i++)
		access_write(w.access, &line);
	access_reopen(w.access); /* hands over what is there */
	for (unsigned i = 0; i < 100 && access_stats(w.access)->failed == 0; i++)
		run_for(&w, 20);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	n = access_stats(w.access)->failed;
	assert_in_range(n, 90, 99);
	access_write(w.access, &line);
	assert_int_equal(lines_in(w.access), 101);
	finish(&w);
	/* The whole ones, the torn one, and the one after it, which begins a line. */
	assert_int_equal(count_lines(w.path), 100 - n + 2);
	assert_int_equal(file_read(w.path, 1 << 20, &text, &n, NULL), 0);
	assert_non_null(strstr(text, "\ntime=2026-03-04T12:00:00.123Z client="));
	assert_int_equal(text[n - 1], '\n');
	for (char *p = text; *p; p = strchr(p, '\n') + 1)
		assert_memory_equal(p, "time=", 5);
	free(text);
	unlink(w.path);
}

static void on_other_done(struct work_job *job)
{
	(void)job;
}

static void on_other(struct work_job *job)
{
	(void)job;
}

/* A pipe that nobody reads costs its lines, and the work thread a moment: not the others' jobs. */
static void sleeping_reader(void **state)
{
	struct work_job other = { .run = on_other, .done = on_other_done };
	struct access_line line = line_now();
	int fds[2], saved = dup(STDOUT_FILENO);
	char text[PIPE_BUF];
	struct world w;
	ssize_t n;

	(void)state;
	set_up("/");
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_create(&w.loop, NULL), 0);
	assert_int_equal(work_create(&w.work, w.loop, "work", 64, NULL), 0);
	fflush(stdout);
	dup2(fds[1], STDOUT_FILENO);
	n = access_open(&w.access, w.loop, w.work, "-", true, NULL);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(fds[1]);
	assert_int_equal(n, 0);
	for (unsigned i = 0; i < 1000; i++)
		access_write(w.access, &line);
	access_reopen(w.access);
	assert_int_equal(work_submit(w.work, &other), 0);
	for (unsigned i = 0; i < 200 && access_stats(w.access)->failed == 0; i++)
		run_for(&w, 20);
	assert_true(access_stats(w.access)->failed > 0);
	assert_int_equal(access_stats(w.access)->lines, 1000);
	finish(&w);
	/* What was written is whole lines, as far as it goes. */
	n = read(fds[0], text, sizeof(text));
	assert_true(n > 0 && text[0] == '{');
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_line),  cmocka_unit_test(dates),
		cmocka_unit_test(odd_names),
		cmocka_unit_test(json_lines), cmocka_unit_test(written_and_reopened),
		cmocka_unit_test(bounded),    cmocka_unit_test(client_fields),
		cmocka_unit_test(full_disk),  cmocka_unit_test(sleeping_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
