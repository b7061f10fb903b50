/* Messages and descriptors between two processes: whole, in order, bounded, and the end is told once. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "pump.h"
#include "reactor/channel.h"

struct world {
	struct loop *loop;
	struct channel *a, *b;
	struct buf heard; /* by b: "text/descriptors " */
	int fd;		  /* the last one that came; -1 */
	int gone;	  /* how often b was told */
};

static void on_message(void *arg, struct slice text, const int *take_fds, size_t n)
{
	struct world *w = arg;

	if (text.n < 100)
		buf_printf(&w->heard, "%.*s/%zu ", SLICE_ARG(text), n);
	else
		buf_printf(&w->heard, "%zu ", text.n);
	for (size_t i = 0; i < n; i++) {
		if (w->fd >= 0)
			close(w->fd);
		w->fd = take_fds[i];
	}
}

static void on_gone(void *arg)
{
	struct world *w = arg;

	w->gone++;
}

static int set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct err err;
	int fds[2];

	w->fd = -1;
	buf_init(&w->heard, 0);
	assert_int_equal(loop_create(&w->loop, &err), 0);
	assert_int_equal(channel_pair(fds, &err), 0);
	w->a = channel_open(w->loop, fds[0], on_message, on_gone, w);
	w->b = channel_open(w->loop, fds[1], on_message, on_gone, w);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	channel_close(w->a);
	channel_close(w->b);
	loop_destroy(w->loop);
	buf_fini(&w->heard);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
	return 0;
}

static void keeps_messages_apart(void **state)
{
	struct world *w = *state;
	int pipe_fds[2];
	char byte = 0;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(channel_send(w->a, SLICE("one"), NULL, 0), 0);
	assert_int_equal(channel_send(w->a, SLICE("two"), &pipe_fds[1], 1), 0);
	assert_int_equal(channel_send(w->a, SLICE("three"), NULL, 0), 0);
	close(pipe_fds[1]);
	PUMP_UNTIL(w->loop, w->heard.len == strlen("one/0 two/1 three/0 "));
	assert_string_equal(w->heard.data, "one/0 two/1 three/0 ");
	assert_true(fcntl(w->fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(w->fd, "x", 1), 1);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(pipe_fds[0]);
}

static void refuses_what_is_too_much(void **state)
{
	struct world *w = *state;
	char *big = xcalloc(1, CHANNEL_MESSAGE_MAX + 1);
	int sent = 0, rc;

	assert_int_equal(channel_send(w->a, slice_of(big, CHANNEL_MESSAGE_MAX + 1), NULL, 0),
			 -EMSGSIZE);
	assert_int_equal(channel_send(w->a, SLICE(""), NULL, 0), -EMSGSIZE);
	/* The reader sleeps: some is kept here, in order, up to a bound. */
	channel_pause(w->b);
	while ((rc = channel_send(w->a, slice_of(big, 10000), NULL, 0)) == 0 && sent < 1000)
		sent++;
	assert_int_equal(rc, -ENOBUFS);
	assert_true(channel_is_behind(w->a));
	assert_true(sent >= (int)(CHANNEL_QUEUE_MAX / 10000));
	channel_resume(w->b);
	PUMP_UNTIL(w->loop, w->heard.len == (size_t)sent * strlen("10000 "));
	assert_false(channel_is_behind(w->a));
	free(big);
}

static void tells_the_end_once(void **state)
{
	struct world *w = *state;

	assert_int_equal(channel_send(w->a, SLICE("last"), NULL, 0), 0);
	channel_close(w->a);
	w->a = NULL;
	PUMP_UNTIL(w->loop, w->gone == 1);
	assert_string_equal(w->heard.data, "last/0 ");
	pump_idle(w->loop);
	assert_int_equal(w->gone, 1);
	assert_int_equal(channel_send(w->b, SLICE("x"), NULL, 0), -EPIPE);
}

static void waits_without_a_loop(void **state)
{
	struct err err;
	int fds[2], got[CHANNEL_FDS_MAX];
	struct buf text;
	size_t n;

	(void)state;
	buf_init(&text, 0);
	assert_int_equal(channel_pair(fds, &err), 0);
	assert_int_equal(channel_receive(fds[0], 10, &text, got, &n, &err), -ETIMEDOUT);
	assert_int_equal(channel_send_bare(fds[1], SLICE("hello")), 0);
	assert_int_equal(channel_receive(fds[0], 1000, &text, got, &n, &err), 0);
	assert_string_equal(text.data, "hello");
	assert_int_equal(n, 0);
	close(fds[1]);
	assert_int_equal(channel_receive(fds[0], 1000, &text, got, &n, &err), -EPIPE);
	close(fds[0]);
	buf_fini(&text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keeps_messages_apart),
		TEST(refuses_what_is_too_much),
		TEST(tells_the_end_once),
		TEST(waits_without_a_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
