/* One thread, two lists, one lock: jobs go in, run in order, come back to the loop. */
#include "reactor/work.h"

#include <errno.h>
#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define DELIVERIES_PER_EVENT 64	/* done callbacks may submit again: others want their turn */

struct work {
	struct loop *loop;
	ev_async finished;
	pthread_t thread;
	uint32_t cap;
	struct work_stats stats;	/* the loop's; queued counts until done was called */

	pthread_mutex_t lock;	/* guards what follows */
	pthread_cond_t wake;
	struct list waiting;
	struct list ran;
	bool stop;
};

static struct work_job *next_job(struct work *w)
{
	struct work_job *job;

	pthread_mutex_lock(&w->lock);
	while (list_empty(&w->waiting) && !w->stop)
		pthread_cond_wait(&w->wake, &w->lock);
	job = LIST_FIRST(&w->waiting, struct work_job, link);
	if (job)
		list_remove(&job->link);
	pthread_mutex_unlock(&w->lock);
	return job;
}

static void *work_thread(void *arg)
{
	struct work *w = arg;
	struct work_job *job;

	while ((job = next_job(w))) {
		job->run(job);
		pthread_mutex_lock(&w->lock);
		list_push_back(&w->ran, &job->link);
		pthread_mutex_unlock(&w->lock);
		ev_async_send(loop_ev(w->loop), &w->finished);
	}
	return NULL;
}

/* false: nothing is left to deliver. */
static bool deliver_one(struct work *w)
{
	struct work_job *job;

	pthread_mutex_lock(&w->lock);
	job = LIST_FIRST(&w->ran, struct work_job, link);
	if (job)
		list_remove(&job->link);
	pthread_mutex_unlock(&w->lock);
	if (!job)
		return false;
	w->stats.queued--;
	job->done(job);
	return true;
}

static void on_finished(struct ev_loop *ev, ev_async *a, int revents)
{
	(void)revents;
	for (int i = 0; i < DELIVERIES_PER_EVENT; i++) {
		if (!deliver_one(a->data))
			return;
	}
	ev_async_send(ev, a);
}

static int start_thread(struct work *w, const char *name)
{
	sigset_t all, before;
	int rc;

	/* Signals are the loop's: the thread inherits a mask that takes none. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&w->thread, NULL, work_thread, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0) {
		char shown[16] = "";

		strncpy(shown, name, sizeof(shown) - 1);
		pthread_setname_np(w->thread, shown);
	}
	return -rc;
}

static void work_free(struct work *w)
{
	ev_async_stop(loop_ev(w->loop), &w->finished);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

int work_create(struct work **out, struct loop *l, const char *name, uint32_t cap, struct err *err)
{
	struct work *w = xcalloc(1, sizeof(*w));
	int rc;

	w->loop = l;
	w->cap = cap;
	list_init(&w->waiting);
	list_init(&w->ran);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	ev_async_init(&w->finished, on_finished);
	w->finished.data = w;
	ev_async_start(loop_ev(l), &w->finished);
	rc = start_thread(w, name);
	if (rc) {
		work_free(w);
		return err_set(err, rc, "start the %s thread", name);
	}
	*out = w;
	return 0;
}

int work_submit(struct work *w, struct work_job *job)
{
	if (w->stats.queued >= w->cap) {
		w->stats.refused++;
		return -EBUSY;
	}
	w->stats.submitted++;
	w->stats.queued++;
	pthread_mutex_lock(&w->lock);
	list_push_back(&w->waiting, &job->link);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

void work_destroy(struct work *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	while (deliver_one(w))
		;
	/* A last done callback may have submitted again: without a thread, such jobs run here. */
	while (!list_empty(&w->waiting)) {
		struct work_job *job = LIST_FIRST(&w->waiting, struct work_job, link);

		list_remove(&job->link);
		w->stats.queued--;
		job->run(job);
		job->done(job);
	}
	work_free(w);
}

struct work_stats work_stats(const struct work *w)
{
	return w->stats;
}
