/* A thread beside the loop that takes closed jobs and posts them back. A job owns its input and
 * output; nothing else is shared; the only lock is inside the queue. Two of them exist: the
 * store thread and the work thread. */
#ifndef TEMPS_REACTOR_WORK_H
#define TEMPS_REACTOR_WORK_H

#include "base/err.h"
#include "base/list.h"
#include "reactor/loop.h"

struct work;

struct work_job {
	struct list link;
	void (*run)(struct work_job *job);	/* on the thread; touches nothing but the job */
	void (*done)(struct work_job *job);	/* on the loop, in submission order; frees it */
};

/* <name> is the thread's name (15 bytes); <cap> the most jobs queued and running. */
int work_create(struct work **out, struct loop *l, const char *name, uint32_t cap,
		struct err *err) MUST_CHECK;
/* -EBUSY at the cap (counted): neither function will be called. */
int work_submit(struct work *w, struct work_job *job) MUST_CHECK;
/* Runs what is queued to its end, joins the thread, delivers the last done callbacks. NULL is
 * fine. */
void work_destroy(struct work *w);

struct work_stats {
	uint64_t submitted, refused;
	uint32_t queued;
};
struct work_stats work_stats(const struct work *w);

#endif
