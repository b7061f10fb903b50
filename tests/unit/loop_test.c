/* The loop's turn: tasks, reaps, signals, lazy deadlines. */
#include <signal.h>

#include "check.h"
#include "reactor/deadline.h"
#include "reactor/loop_inner.h"

/* Everything that happened, in order. */
static struct trace {
	struct loop *loop;
	char text[256];
} t;

#define WORD(text) ((void *)(text))

static void note(const char *what)
{
	size_t n = strlen(t.text);

	snprintf(t.text + n, sizeof(t.text) - n, "%s ", what);
}

static int setup(void **state)
{
	struct err err;

	(void)state;
	memset(&t, 0, sizeof(t));
	return loop_create(&t.loop, &err);
}

static int teardown(void **state)
{
	(void)state;
	loop_destroy(t.loop);
	return 0;
}

/* ---- tasks and reaps ---- */

static struct loop_task first, second, third;
static struct loop_reap reap;

static void on_stop(void *arg)
{
	(void)arg;
	note("stop");
	loop_stop(t.loop);
}

static void on_reap(void *arg)
{
	note(arg);
}

static void on_third(void *arg)
{
	note(arg);
	loop_stop(t.loop);
}

static void on_first(void *arg)
{
	note(arg);
	loop_defer(t.loop, &reap, on_reap, WORD("reap"));
	loop_task_cancel(&second);
	loop_later(t.loop, &third);
	loop_later(t.loop, &third);
}

static uint64_t turn_of_first;

static void on_counted(void *arg)
{
	uint64_t turn = loop_stats(t.loop)->turns;

	note(arg);
	if (strcmp(arg, "now") == 0) {
		turn_of_first = turn;
		loop_next(t.loop, &second);
		loop_next(t.loop, &second);
	} else {
		/* It did not sleep until something came, as nothing ever does. */
		CHECK_INT("turns later", turn - turn_of_first, 1);
		loop_stop(t.loop);
	}
}

static void what_is_for_the_next_turn_waits_for_it_and_no_longer(void **state)
{
	(void)state;
	loop_task_init(&first, on_counted, WORD("now"));
	loop_task_init(&second, on_counted, WORD("next"));
	loop_later(t.loop, &first);
	loop_run(t.loop);
	assert_string_equal(t.text, "now next ");
	loop_next(t.loop, &second);
	loop_task_cancel(&second);
}

static void tasks_run_before_reaps(void **state)
{
	(void)state;
	loop_task_init(&first, on_first, WORD("first"));
	loop_task_init(&second, on_reap, WORD("second"));
	loop_task_init(&third, on_third, WORD("third"));
	loop_later(t.loop, &first);
	loop_later(t.loop, &second);
	loop_run(t.loop);
	assert_string_equal(t.text, "first third reap ");
}

static void on_again(void *arg)
{
	int *runs = arg;

	if (++*runs == 1000)
		loop_stop(t.loop);
	loop_later(t.loop, &first);
}

/* It gets a share of each turn; the loop neither hangs in it nor sleeps on it. */
static void endless_task_does_not_stop_the_turn(void **state)
{
	int runs = 0;

	(void)state;
	loop_task_init(&first, on_again, &runs);
	loop_later(t.loop, &first);
	loop_run(t.loop);
	loop_task_cancel(&first);
	assert_true(runs >= 1000);
	assert_true(loop_stats(t.loop)->turns >= 10);
}

static void on_fed(struct ev_loop *ev, ev_timer *w, int revents)
{
	(void)ev;
	(void)w;
	(void)revents;
	note("fed");
	loop_task_init(&second, on_stop, NULL);
	loop_later(t.loop, &second);
}

static void on_feed(void *arg)
{
	ev_feed_event(t.loop->ev, arg, EV_CUSTOM);
}

static void task_after_the_turns_end_does_not_wait_for_an_event(void **state)
{
	ev_timer w;

	(void)state;
	ev_timer_init(&w, on_fed, 0., 0.);
	loop_task_init(&first, on_feed, &w);
	loop_later(t.loop, &first);
	loop_run(t.loop);	/* would never return */
	assert_string_equal(t.text, "fed stop ");
}

static void what_is_deferred_is_freed_without_a_run(void **state)
{
	(void)state;
	loop_task_init(&first, on_first, WORD("first"));
	loop_task_init(&second, on_reap, WORD("second"));
	loop_task_init(&third, on_reap, WORD("third"));
	loop_later(t.loop, &first);
	loop_destroy(t.loop);
	t.loop = NULL;
	assert_string_equal(t.text, "first third reap ");
}

/* ---- signals ---- */

static void on_signal(void *arg, int signo)
{
	(void)arg;
	note(signo == SIGUSR1 ? "usr1" : "term");
	if (signo == SIGTERM)
		loop_stop(t.loop);
	else
		raise(SIGTERM);
}

static void signals_are_callbacks(void **state)
{
	(void)state;
	loop_on_signal(t.loop, SIGUSR1, on_signal, NULL);
	loop_on_signal(t.loop, SIGTERM, on_signal, NULL);
	raise(SIGUSR1);
	assert_string_equal(t.text, "");
	loop_run(t.loop);
	assert_string_equal(t.text, "usr1 term ");
}

/* ---- time and deadlines ---- */

static void on_expired(void *arg)
{
	note(arg);
	loop_stop(t.loop);
}

static void deadlines_expire_in_order(void **state)
{
	struct deadline early, late;
	uint64_t began_us = loop_clock_us();

	(void)state;
	deadline_init(&early, t.loop, on_reap, WORD("early"));
	deadline_init(&late, t.loop, on_expired, WORD("late"));
	deadline_set(&late, 20);
	deadline_set(&early, 10);
	assert_true(deadline_is_set(&early));
	loop_run(t.loop);
	assert_string_equal(t.text, "early late ");
	assert_true(loop_clock_us() - began_us >= 20000);
	assert_false(deadline_is_set(&early));
	deadline_stop(&early);
	deadline_stop(&late);
}

/* Far more than the pushes take on a busy machine: a timer that has just fired is rightly armed again. */
#define PUSHED_MS 400

static struct deadline pushed;
static int pushes;

static void on_push(void *arg)
{
	double at = pushed.timer.at;

	deadline_set(&pushed, PUSHED_MS);
	assert_true(pushed.timer.at == at || pushes == 0);	/* stored, not armed again */
	if (++pushes < 20)
		deadline_set(arg, 2);
}

static void pushing_back_touches_no_timer(void **state)
{
	struct deadline tick;
	uint64_t began_us = loop_clock_us();

	(void)state;
	pushes = 0;
	deadline_init(&tick, t.loop, on_push, &tick);
	deadline_init(&pushed, t.loop, on_expired, WORD("pushed"));
	deadline_set(&tick, 2);
	loop_run(t.loop);
	assert_string_equal(t.text, "pushed ");
	assert_true(loop_clock_us() - began_us >= 20 * 2000 + PUSHED_MS * 1000);
	deadline_stop(&tick);
	deadline_stop(&pushed);
}

static void off_and_pulled_forward(void **state)
{
	struct deadline off, forward;

	(void)state;
	deadline_init(&off, t.loop, on_reap, WORD("off"));
	deadline_init(&forward, t.loop, on_expired, WORD("forward"));
	deadline_set(&off, 5);
	deadline_set(&off, 0);
	assert_false(deadline_is_set(&off));
	deadline_set(&forward, 60000);
	deadline_set(&forward, 20);
	loop_run(t.loop);
	assert_string_equal(t.text, "forward ");
	deadline_stop(&off);
	deadline_stop(&forward);
}

static void turns_are_measured(void **state)
{
	const struct loop_stats *stats = loop_stats(t.loop);
	struct deadline d;

	(void)state;
	deadline_init(&d, t.loop, on_expired, WORD("x"));
	deadline_set(&d, 5);
	loop_run(t.loop);
	assert_true(stats->turns > 0);
	assert_int_equal(histogram_count(&stats->turn), stats->turns);
	assert_true(stats->turn.sum_us >= stats->turn_max_us);
	deadline_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tasks_run_before_reaps, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_for_the_next_turn_waits_for_it_and_no_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(endless_task_does_not_stop_the_turn, setup,
						teardown),
		cmocka_unit_test_setup_teardown(task_after_the_turns_end_does_not_wait_for_an_event,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_deferred_is_freed_without_a_run, setup,
						teardown),
		cmocka_unit_test_setup_teardown(signals_are_callbacks, setup, teardown),
		cmocka_unit_test_setup_teardown(deadlines_expire_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(pushing_back_touches_no_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(off_and_pulled_forward, setup, teardown),
		cmocka_unit_test_setup_teardown(turns_are_measured, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
