/* The event loop's turn: poll, events, tasks, reaps. */
#include "reactor/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "reactor/loop_inner.h"

#define TASK_ROUNDS_MAX 64	/* tasks that queue tasks; what is left runs in the next turn */

static uint64_t clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t loop_clock_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

uint64_t loop_wall_ms(void)
{
	/* The kernel's last tick, a few ms old at most: a fifth of what reading the hardware costs. */
	return clock_us(CLOCK_REALTIME_COARSE) / 1000;
}

uint64_t loop_now_ms(const struct loop *l)
{
	/* Boot has no turns: what it sets up may take seconds, and its limits must not start
	 * before it. */
	return l->running ? l->now_ms : loop_clock_us() / 1000;
}

uint64_t loop_turn_us(const struct loop *l)
{
	return l->running ? l->turn_began_us : loop_clock_us();
}

static void begin_turn(struct loop *l)
{
	l->turn_began_us = loop_clock_us();
	l->now_ms = l->turn_began_us / 1000;
	l->closing_turn = false;
}

static void count_turn(struct loop *l)
{
	uint64_t took_us = loop_clock_us() - l->turn_began_us;

	l->stats.turns++;
	histogram_add(&l->stats.turn, took_us);
	l->stats.turn_max_us = MAX(l->stats.turn_max_us, took_us);
}

/* Moves all of <from> to the empty list <to>. */
static void take_all(struct list *to, struct list *from)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

static void run_tasks(struct loop *l)
{
	struct list round;

	for (int i = 0; i < TASK_ROUNDS_MAX && !list_empty(&l->tasks); i++) {
		take_all(&round, &l->tasks);
		while (!list_empty(&round)) {
			struct loop_task *t = LIST_FIRST(&round, struct loop_task, link);

			list_remove(&t->link);
			t->run(t->arg);
		}
	}
}

static void run_reaps(struct loop *l)
{
	while (!list_empty(&l->reaps)) {
		struct loop_reap *r = LIST_FIRST(&l->reaps, struct loop_reap, link);

		list_remove(&r->link);
		r->free_fn(r->arg);
	}
}

static void end_turn(struct loop *l)
{
	run_tasks(l);
	run_reaps(l);
	if (!list_empty(&l->tasks) || !list_empty(&l->refeeds))
		loop_stay_awake(l);
}

static void on_prepare(struct ev_loop *ev, ev_prepare *w, int revents)
{
	struct loop *l = w->data;
	bool again = l->closing_turn;	/* fed by loop_later() */

	(void)ev;
	(void)revents;
	l->closing_turn = false;
	end_turn(l);
	if (!again)
		count_turn(l);
	l->closing_turn = true;
}

/* Highest priority: runs before the callbacks of what poll found. */
static void on_check(struct ev_loop *ev, ev_check *w, int revents)
{
	struct loop *l = w->data;

	(void)revents;
	begin_turn(l);
	if (ev_is_active(&l->awake))
		ev_idle_stop(ev, &l->awake);
	if (!list_empty(&l->refeeds))
		stream_wake_refeeds(l);
	while (!list_empty(&l->next_tasks)) {
		struct list *first = l->next_tasks.next;

		list_remove(first);
		list_push_back(&l->tasks, first);
	}
}

static void on_awake(struct ev_loop *ev, ev_idle *w, int revents)
{
	(void)revents;
	ev_idle_stop(ev, w);
}

void loop_stay_awake(struct loop *l)
{
	if (!ev_is_active(&l->awake))
		ev_idle_start(l->ev, &l->awake);
}

int loop_create(struct loop **out, struct err *err)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	/* NOENV: LIBEV_FLAGS in the environment would choose another back end. */
	l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (!l->ev) {
		free(l);
		return err_say(err, -EIO, "event loop: epoll is not available");
	}
	signal(SIGPIPE, SIG_IGN);
	list_init(&l->tasks);
	list_init(&l->next_tasks);
	list_init(&l->reaps);
	list_init(&l->refeeds);
	ev_prepare_init(&l->prepare, on_prepare);
	ev_check_init(&l->check, on_check);
	ev_idle_init(&l->awake, on_awake);
	ev_set_priority(&l->check, EV_MAXPRI);
	l->prepare.data = l->check.data = l->awake.data = l;
	ev_prepare_start(l->ev, &l->prepare);
	ev_check_start(l->ev, &l->check);
	begin_turn(l);
	*out = l;
	return 0;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	end_turn(l);
	for (uint32_t i = 0; i < l->signal_count; i++)
		ev_signal_stop(l->ev, &l->signals[i].watcher);
	ev_idle_stop(l->ev, &l->awake);
	ev_prepare_stop(l->ev, &l->prepare);
	ev_check_stop(l->ev, &l->check);
	ev_loop_destroy(l->ev);
	free(l);
}

void loop_run(struct loop *l)
{
	ev_now_update(l->ev);
	begin_turn(l);
	l->running = true;
	ev_run(l->ev, 0);
	end_turn(l);	/* what the last turn gathered still goes out */
	l->running = false;
}

void loop_stop(struct loop *l)
{
	ev_break(l->ev, EVBREAK_ALL);
}

void loop_task_init(struct loop_task *t, void (*run)(void *arg), void *arg)
{
	list_init(&t->link);
	t->run = run;
	t->arg = arg;
}

void loop_later(struct loop *l, struct loop_task *t)
{
	if (!list_empty(&t->link))
		return;
	list_push_back(&l->tasks, &t->link);
	/* Queued by an event that was fed after the turn's end: without this the loop would
	 * sleep on it. */
	if (l->closing_turn)
		ev_feed_event(l->ev, &l->prepare, EV_PREPARE);
}

void loop_next(struct loop *l, struct loop_task *t)
{
	if (!list_empty(&t->link))
		return;
	list_push_back(&l->next_tasks, &t->link);
	loop_stay_awake(l);
}

void loop_task_cancel(struct loop_task *t)
{
	list_remove(&t->link);
}

void loop_defer(struct loop *l, struct loop_reap *reap, void (*free_fn)(void *arg), void *arg)
{
	reap->free_fn = free_fn;
	reap->arg = arg;
	list_push_back(&l->reaps, &reap->link);
}

static void on_signal(struct ev_loop *ev, ev_signal *w, int revents)
{
	struct loop_signal *s = w->data;

	(void)ev;
	(void)revents;
	s->fn(s->arg, w->signum);
}

void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	struct loop_signal *s = &l->signals[l->signal_count];

	if (l->signal_count == LOOP_SIGNALS_MAX) {
		log_error("more than %d signals watched", LOOP_SIGNALS_MAX);
		abort();
	}
	l->signal_count++;
	s->fn = fn;
	s->arg = arg;
	ev_signal_init(&s->watcher, on_signal, signo);
	s->watcher.data = s;
	ev_signal_start(l->ev, &s->watcher);
}

const struct loop_stats *loop_stats(const struct loop *l)
{
	return &l->stats;
}

struct ev_loop *loop_ev(const struct loop *l)
{
	return l->ev;
}
