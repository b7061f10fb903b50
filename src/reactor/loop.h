/* The event loop: one per process, on one thread. Everything that is not a file in src/reactor
 * sees only this. */
#ifndef TEMPS_REACTOR_LOOP_H
#define TEMPS_REACTOR_LOOP_H

#include "base/err.h"
#include "base/histogram.h"
#include "base/list.h"

struct ev_loop;
struct loop;

/* epoll, EVFLAG_NOENV, SIGPIPE ignored. Allocated once at boot. */
int loop_create(struct loop **out, struct err *err) MUST_CHECK;
/* Runs what is still deferred, then frees. */
void loop_destroy(struct loop *l);
/* Until loop_stop(); that may be called from any callback. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* CLOCK_MONOTONIC in ms, read once a turn (on call outside loop_run()): for every limit and
 * interval. */
uint64_t loop_now_ms(const struct loop *l);
/* Wall time in ms since 1970: for display and token expiry only. Read on call. */
uint64_t loop_wall_ms(void);
/* The reading now, not the turn's: for measuring how long something took. Microseconds. */
uint64_t loop_clock_us(void);
/* The same clock as the turn began: costs nothing, for what happens at most once a turn, as what the
 * other side of a connection does. */
uint64_t loop_turn_us(const struct loop *l);

/* Work for the end of this turn, before the loop sleeps: writes gathered during a turn go out
 * once. Queueing an already queued task does nothing. A task may queue others (they run in the
 * same turn's end) and may be cancelled. */
struct loop_task {
	struct list link;
	void (*run)(void *arg);
	void *arg;
};

void loop_task_init(struct loop_task *t, void (*run)(void *arg), void *arg);
void loop_later(struct loop *l, struct loop_task *t);
/* For the end of the next turn, which comes at once, after whatever has come meanwhile: what
 * exceeded a turn's budget goes on there. */
void loop_next(struct loop *l, struct loop_task *t);
void loop_task_cancel(struct loop_task *t);

/* Frees at the very end of the turn, after all tasks: call <free_fn>(arg) then. No event reaches
 * <arg> in between if its owner stopped its watchers. <reap> is embedded in what gets freed;
 * call it once. */
struct loop_reap {
	struct list link;
	void (*free_fn)(void *arg);
	void *arg;
};

void loop_defer(struct loop *l, struct loop_reap *reap, void (*free_fn)(void *arg), void *arg);

/* Signals as ordinary callbacks: at most 8 per loop, at boot. */
void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);

/* How long the callbacks of a turn took: what an event that came meanwhile had to wait. */
struct loop_stats {
	uint64_t turns;
	struct histogram turn;
	uint64_t turn_max_us;
};
const struct loop_stats *loop_stats(const struct loop *l);

struct ev_loop *loop_ev(const struct loop *l);	/* src/reactor only */

#endif
