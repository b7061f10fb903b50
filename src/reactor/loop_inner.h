/* What the files of src/reactor share of the loop: its fields, and turning round without
 * sleeping. */
#ifndef TEMPS_REACTOR_LOOP_INNER_H
#define TEMPS_REACTOR_LOOP_INNER_H

#include <ev.h>

#include "reactor/loop.h"
#include "reactor/stream.h"

#define LOOP_SIGNALS_MAX 8

struct loop_signal {
	ev_signal watcher;
	void (*fn)(void *arg, int signo);
	void *arg;
};

struct loop {
	struct ev_loop *ev;
	ev_prepare prepare;
	ev_check check;
	ev_idle awake;	   /* active: the next poll does not sleep */
	bool running;	   /* inside loop_run(): now_ms is the turn's */
	bool closing_turn; /* the turn's end has run, poll comes next */
	uint64_t now_ms, turn_began_us;
	struct list tasks;
	struct list next_tasks; /* become <tasks> when the next turn begins */
	struct list reaps;
	struct list refeeds; /* streams whose bytes epoll cannot see: woken in the next turn */
	struct loop_signal signals[LOOP_SIGNALS_MAX];
	uint32_t signal_count;
	struct loop_stats stats;
	struct stream_counters counters;
};

/* The next poll returns at once. */
void loop_stay_awake(struct loop *l);
/* stream.c: wakes every stream of <l>->refeeds. */
void stream_wake_refeeds(struct loop *l);

#endif
