/* Jobs for the work thread and what their ends mean. A job owns copies of all it needs; a log that is pruned while it is read
 * ends early. */
#include "agent/log_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/log_files.h"
#include "base/config.h"
#include "base/log.h"
#include "base/text.h"
#include "reactor/deadline.h"

#define MAX_BYTES (256ull << 20)
#define MAX_AGE_MS (7ull * 86400000)
#define PRUNE_EVERY_MS 3600000

struct log_store {
	struct loop *loop;
	struct work *work;
	char *dir;
	uint64_t max_bytes, max_age_ms;
	struct deadline hourly;
};

static char *app_dir(const struct log_store *s, const char *app)
{
	return xasprintf("%s/%s", s->dir, app);
}

static bool is_container_name(const char *name)
{
	size_t n = strlen(name);

	return n && n < 200 && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
		       n;
}

/* ---- pruning ---- */

struct prune_job {
	struct work_job job;
	char *dir;
	uint64_t max_bytes, oldest_ms;
};

static void run_prune(struct work_job *job)
{
	struct prune_job *p = CONTAINER_OF(job, struct prune_job, job);

	log_files_prune(p->dir, p->max_bytes, p->oldest_ms);
}

static void on_pruned(struct work_job *job)
{
	struct prune_job *p = CONTAINER_OF(job, struct prune_job, job);

	free(p->dir);
	free(p);
}

void log_store_prune(struct log_store *s)
{
	struct prune_job *p = xcalloc(1, sizeof(*p));
	uint64_t now_ms = loop_wall_ms();

	p->job.run = run_prune;
	p->job.done = on_pruned;
	p->dir = xstrdup(s->dir);
	p->max_bytes = s->max_bytes;
	p->oldest_ms = now_ms > s->max_age_ms ? now_ms - s->max_age_ms : 0;
	deadline_set(&s->hourly, PRUNE_EVERY_MS);
	if (work_submit(s->work, &p->job))
		on_pruned(&p->job); /* in an hour, then */
}

static void on_hour(void *arg)
{
	log_store_prune(arg);
}

int log_store_open(struct log_store **out, const struct log_store_config *c, struct err *err)
{
	struct log_store *s;
	int rc = dir_private(c->dir, err);

	if (rc)
		return rc;
	s = xcalloc(1, sizeof(*s));
	s->loop = c->loop;
	s->work = c->work;
	s->dir = xstrdup(c->dir);
	s->max_bytes = c->max_bytes ? c->max_bytes : MAX_BYTES;
	s->max_age_ms = c->max_age_ms ? c->max_age_ms : MAX_AGE_MS;
	deadline_init(&s->hourly, c->loop, on_hour, s);
	log_store_prune(s);
	*out = s;
	return 0;
}

void log_store_close(struct log_store *s)
{
	if (!s)
		return;
	deadline_stop(&s->hourly);
	free(s->dir);
	free(s);
}

/* ---- writing ---- */

struct write_job {
	struct work_job job;
	struct log_writer *writer;	    /* NULL: cancelled */
	char *dir, *container, *path, *old; /* <container>: the first of its log */
	struct buf data;
	int rc;
};

struct log_writer {
	struct log_store *store;
	char *dir, *container;
	struct wire_kept kept;
	struct write_job *running;
	struct buf next; /* what the next job writes */
	uint32_t segment;
	uint64_t segment_bytes;
	int rc; /* of a job that failed */
	bool begun, full, ended;
	struct loop_task later;
	const struct log_writer_events *events;
	void *arg;
};

static void run_write(struct work_job *job)
{
	struct write_job *j = CONTAINER_OF(job, struct write_job, job);

	if (j->container)
		j->rc = log_files_replace(j->dir, j->container);
	if (!j->rc)
		j->rc = log_files_append(j->path, buf_slice(&j->data));
	if (j->old)
		unlink(j->old);
}

static void writer_free(struct log_writer *w)
{
	loop_task_cancel(&w->later);
	buf_fini(&w->next);
	free(w->dir);
	free(w->container);
	free(w);
}

static void write_next(struct log_writer *w);

static void on_written(struct work_job *job)
{
	struct write_job *j = CONTAINER_OF(job, struct write_job, job);
	struct log_writer *w = j->writer;

	if (w) {
		w->running = NULL;
		w->rc = w->rc ? w->rc : j->rc;
		write_next(w);
		loop_later(w->store->loop, &w->later);
	}
	free(j->dir);
	free(j->container);
	free(j->path);
	free(j->old);
	buf_fini(&j->data);
	free(j);
}

static char *segment_path(const struct log_writer *w, uint32_t segment)
{
	return xasprintf("%s/%u.%u.%s.%u", w->dir, w->kept.release, w->kept.replica, w->container,
			 segment);
}

static void write_next(struct log_writer *w)
{
	struct write_job *j;

	if (w->running || !w->next.len)
		return;
	if (w->rc) {
		buf_clear(&w->next);
		return;
	}
	j = xcalloc(1, sizeof(*j));
	j->job.run = run_write;
	j->job.done = on_written;
	j->writer = w;
	j->dir = xstrdup(w->dir);
	j->container = w->begun ? NULL : xstrdup(w->container);
	j->path = segment_path(w, w->segment);
	j->data = w->next;
	buf_init(&w->next, 0);
	w->begun = true;
	w->running = j;
	w->segment_bytes += j->data.len;
	if (w->segment_bytes >= LOG_SEGMENT_BYTES) {
		w->segment++;
		w->segment_bytes = 0;
		if (w->segment >= LOG_SEGMENTS_MAX)
			j->old = segment_path(w, w->segment - LOG_SEGMENTS_MAX);
	}
	if (work_submit(w->store->work, &j->job)) {
		j->rc = -EBUSY;
		on_written(&j->job);
	}
}

/* Tells what has changed, outside of every call. */
static void on_writer_later(void *arg)
{
	struct log_writer *w = arg;
	const struct log_writer_events *events = w->events;
	void *owner = w->arg;
	int rc = w->rc;

	if (w->ended && !w->running && !w->next.len) {
		log_store_prune(w->store);
		writer_free(w);
		events->done(owner, rc);
	} else if (w->full && w->next.len < LOG_CHUNK_BYTES) {
		w->full = false;
		events->ready(owner);
	}
}

struct log_writer *log_writer_begin(struct log_store *s, const char *app, const struct wire_kept *k,
				    const struct log_writer_events *events, void *arg)
{
	struct log_writer *w;

	if (!text_is_app_name(slice_str(app)) || !is_container_name(k->container))
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->store = s;
	w->dir = app_dir(s, app);
	w->kept = *k;
	w->container = xstrdup(k->container);
	w->events = events;
	w->arg = arg;
	buf_init(&w->next, 0);
	loop_task_init(&w->later, on_writer_later, w);
	return w;
}

size_t log_writer_put(struct log_writer *w, const char *p, size_t n)
{
	size_t take = MIN(n, LOG_CHUNK_BYTES - w->next.len);

	if (w->rc)
		return n;
	if (take)
		buf_append(&w->next, p, take);
	w->full = take < n;
	write_next(w);
	return take;
}

void log_writer_end(struct log_writer *w)
{
	w->ended = true;
	write_next(w);
	if (!w->running)
		loop_later(w->store->loop, &w->later);
}

void log_writer_cancel(struct log_writer *w)
{
	if (!w)
		return;
	if (w->running)
		w->running->writer = NULL;
	writer_free(w);
}

/* ---- asking ---- */

struct log_ask {
	struct work_job job;
	char *dir, *container; /* NULL: a list is asked for */
	struct log_place at;
	struct wire_kept *list;
	size_t n;
	char *chunk;
	int rc;
	log_list_fn *listed; /* both NULL: cancelled */
	log_chunk_fn *read;
	void *arg;
};

static void run_ask(struct work_job *job)
{
	struct log_ask *a = CONTAINER_OF(job, struct log_ask, job);

	if (!a->container)
		a->rc = log_files_list(a->dir, &a->list, &a->n);
	else
		a->rc = log_files_read(a->dir, a->container, &a->at, a->chunk, &a->n);
}

static void on_asked(struct work_job *job)
{
	struct log_ask *a = CONTAINER_OF(job, struct log_ask, job);

	if (a->listed)
		a->listed(a->arg, a->rc, a->list, a->rc ? 0 : a->n);
	else if (a->read)
		a->read(a->arg, a->rc, a->chunk, a->rc ? 0 : a->n, &a->at);
	free(a->dir);
	free(a->container);
	free(a->list);
	free(a->chunk);
	free(a);
}

static struct log_ask *ask_begin(struct log_store *s, const char *app, struct log_ask *a)
{
	a->job.run = run_ask;
	a->job.done = on_asked;
	a->dir = app_dir(s, app);
	if (work_submit(s->work, &a->job) == 0)
		return a;
	free(a->dir);
	free(a->container);
	free(a->chunk);
	free(a);
	return NULL;
}

struct log_ask *log_store_list(struct log_store *s, const char *app, log_list_fn *done, void *arg)
{
	struct log_ask *a;

	if (!text_is_app_name(slice_str(app)))
		return NULL;
	a = xcalloc(1, sizeof(*a));
	a->listed = done;
	a->arg = arg;
	return ask_begin(s, app, a);
}

struct log_ask *log_store_read(struct log_store *s, const char *app, const char *container,
			       const struct log_place *at, log_chunk_fn *done, void *arg)
{
	struct log_ask *a;

	if (!text_is_app_name(slice_str(app)) || !is_container_name(container))
		return NULL;
	a = xcalloc(1, sizeof(*a));
	a->read = done;
	a->arg = arg;
	a->at = *at;
	a->container = xstrdup(container);
	a->chunk = xcalloc(1, LOG_CHUNK_BYTES);
	return ask_begin(s, app, a);
}

void log_ask_cancel(struct log_ask *a)
{
	if (!a)
		return;
	a->listed = NULL;
	a->read = NULL;
}
