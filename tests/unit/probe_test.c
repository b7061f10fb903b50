/* Probes against a server that plays a list of answers: one connection each. */
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door.h"
#include "proxy/front_inner.h"
#include "proxy/probe.h"
#include "reactor/deadline.h"

struct world {
	struct loop *loop;
	struct front *front;
	struct addr at;
	pid_t pid;
	unsigned calls;
	uint32_t most; /* that tried at once */
	struct deadline sample;
	int rc;
	char why[128];
};

static void on_done(void *arg, int rc, const char *why)
{
	struct world *w = arg;

	w->calls++;
	w->rc = rc;
	snprintf(w->why, sizeof(w->why), "%s", why);
	loop_stop(w->loop);
}

static void on_limit(void *arg)
{
	loop_stop(arg);
}

/* A letter a connection: 2 answers 200, 3 answers 302, 5 answers 503, c closes at once, h hangs,
 * g greets. */
static void play(int listener, const char *script)
{
	char text[4096];

	for (; *script; script++) {
		int fd = tcp_accept(listener);

		if (*script == 'c') {
			close(fd);
			continue;
		}
		if (*script == 'g')
			tcp_send(fd, "220 hello\r\n");
		if (strchr("235", *script)) {
			tcp_read_until(fd, text, sizeof(text), "\r\n\r\n");
			snprintf(text, sizeof(text), "HTTP/1.1 %s x\r\nContent-Length: 0\r\n\r\n",
				 *script == '2'	  ? "200"
				 : *script == '3' ? "302"
						  : "503");
			tcp_send(fd, text);
		}
		/* Until the probe closes it. */
		tcp_read_until(fd, text, sizeof(text), NULL);
		close(fd);
	}
	_exit(0);
}

static void start(struct world *w, const char *script)
{
	struct front_config c;
	int listener = tcp_listen(&w->at);

	w->pid = -1;
	if (script) {
		w->pid = fork();
		if (w->pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			play(listener, script);
		}
	}
	close(listener);
	front_config_default(&c);
	assert_int_equal(loop_create(&w->loop, NULL), 0);
	assert_int_equal(front_create(&w->front, w->loop, NULL, &c, NULL, NULL, NULL), 0);
}

static void stop(struct world *w)
{
	if (w->pid > 0) {
		kill(w->pid, SIGKILL);
		waitpid(w->pid, NULL, 0);
	}
	front_destroy(w->front);
	loop_destroy(w->loop);
}

static void run(struct world *w, uint32_t limit_ms)
{
	struct deadline d;

	deadline_init(&d, w->loop, on_limit, w->loop);
	deadline_set(&d, limit_ms);
	loop_run(w->loop);
	deadline_stop(&d);
}

static void outcomes(void **state)
{
	static const struct {
		const char *name, *script, *path;
		uint32_t need, limit_ms;
		int want;
		const char *why;
	} cases[] = {
		{ "two in a row", "22", "/health", 2, 3000, 0, "200" },
		{ "a redirect is fine", "3", "/health", 1, 3000, 0, "302" },
		{ "a failure begins the row anew", "2522", "/health", 2, 3000, 0, "200" },
		{ "never healthy", "55555555555555555555", "/health", 2, 150, -ETIMEDOUT,
		  "GET /health answered 503" },
		{ "closes", "cccccccccccccccccccccc", "/health", 1, 150, -ETIMEDOUT,
		  "the connection" },
		{ "hangs", "hhhhhhhhhhhhhhhhhhhhhh", "/health", 1, 150, -ETIMEDOUT,
		  "no answer within" },
		{ "a connection that stays open", "h", NULL, 1, 3000, 0, "" },
		{ "one that greets", "g", NULL, 1, 3000, 0, "" },
		{ "one that is closed at once", "cccccccccccccccccccccc", NULL, 1, 150, -ETIMEDOUT,
		  "closes them at once" },
		{ "closed, then open", "cch", NULL, 1, 3000, 0, "" },
		{ "nobody there", NULL, NULL, 1, 150, -ETIMEDOUT, "Connection refused" },
		{ "nobody there, by GET", NULL, "/health", 1, 150, -ETIMEDOUT,
		  "Connection refused" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct world w = { .calls = 0 };
		struct probe_config c = { .path = cases[i].path,
					  .interval_ms = 10,
					  .interval_max_ms = 40,
					  .need = cases[i].need,
					  .limit_ms = cases[i].limit_ms,
					  .try_ms = cases[i].want ? 50 : 2000 };

		start(&w, cases[i].script);
		c.at = w.at;
		assert_non_null(probe_begin(w.front, &c, on_done, &w));
		assert_int_equal(w.calls, 0);
		run(&w, 5000);
		CHECK_INT(cases[i].name, w.calls, 1);
		CHECK_INT(cases[i].name, w.rc, cases[i].want);
		if (!strstr(w.why, cases[i].why))
			fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].name, w.why, cases[i].why);
		stop(&w);
	}
}

static void cancelled(void **state)
{
	struct world w = { .calls = 0 };
	struct probe_config c = { .interval_ms = 10, .limit_ms = 100 };
	struct probe *p;

	(void)state;
	start(&w, NULL);
	c.at = w.at;
	p = probe_begin(w.front, &c, on_done, &w);
	run(&w, 30);
	probe_cancel(p);
	run(&w, 150);
	assert_int_equal(w.calls, 0);
	probe_cancel(NULL);
	stop(&w);
}

/* One that is watched: forgiven twice, not three times in a row. */
static void watched(void **state)
{
	struct world w = { .calls = 0 };
	struct probe_counts counts = { 0 };
	struct probe_config c = { .path = "/health", .interval_ms = 10, .fall = 3, .counts = &counts };

	(void)state;
	start(&w, "22523552c5h2");
	c.at = w.at;
	c.try_ms = 100;
	assert_non_null(probe_begin(w.front, &c, on_done, &w));
	run(&w, 5000);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.rc, -EIO);
	assert_string_equal(w.why, "no answer within 100 ms");
	assert_int_equal(counts.passed, 5);
	assert_int_equal(counts.failed, 6);
	assert_int_equal(front_stats(w.front)->probes_failed, 6);
	stop(&w);
}

static void on_sample(void *arg)
{
	struct world *w = arg;

	w->most = MAX(w->most, w->front->probing);
	deadline_set(&w->sample, 5);
}

/* Many more than may try at once, each of which hangs: a bound, a turn for everyone, and nobody
 * tries in step. */
static void no_storm(void **state)
{
	enum { N = PROBES_AT_ONCE + 90 };
	static struct probe_counts counts[N];
	static struct probe *probes[N];
	struct world w = { .calls = 0 };
	struct probe_config c = { .interval_ms = 100, .try_ms = 150 };
	int listener;

	(void)state;
	start(&w, NULL);
	/* Takes a connection or two, then answers no more. */
	listener = tcp_listen(&c.at);
	assert_int_equal(listen(listener, 0), 0);
	deadline_init(&w.sample, w.loop, on_sample, &w);
	deadline_set(&w.sample, 1);
	for (unsigned i = 0; i < N; i++) {
		c.counts = &counts[i];
		c.fall = UINT32_MAX;
		probes[i] = probe_begin(w.front, &c, on_done, &w);
	}
	for (unsigned i = 0; i < N; i++) {
		for (unsigned j = 0; j < 200 && counts[i].passed + counts[i].failed < 2; j++)
			run(&w, 50);
		assert_true(counts[i].passed + counts[i].failed >= 2);
	}
	assert_int_equal(w.most, PROBES_AT_ONCE);
	for (unsigned i = 0; i < N; i++)
		probe_cancel(probes[i]);
	assert_int_equal(w.front->probing, 0);
	deadline_stop(&w.sample);
	close(listener);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outcomes),
		cmocka_unit_test(cancelled),
		cmocka_unit_test(watched),
		cmocka_unit_test(no_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
