/* The logs of containers that are gone, in files of this node: a directory for each app, in it segments of 1 MiB named
 * RELEASE.REPLICA.CONTAINER.NUMBER. Of each container the last ones are kept, of all together what fits, none longer than some days.
 * Lines are as the engine gives them with timestamps. All file work is done by the work thread. */
#ifndef TEMPS_AGENT_LOG_STORE_H
#define TEMPS_AGENT_LOG_STORE_H

#include <sys/types.h>

#include "agent/wire.h"
#include "reactor/work.h"

#define LOG_SEGMENT_BYTES (1u << 20)
#define LOG_SEGMENTS_MAX 8u	/* of one container */
#define LOG_LIST_MAX 512u	/* containers in one answer: the newest */
#define LOG_CHUNK_BYTES 65536u

struct log_store;

struct log_store_config {
	struct loop *loop;
	struct work *work;	/* borrowed; outlived by nothing of this */
	const char *dir;	/* made when it is missing */
	uint64_t max_bytes;	/* 0: 256 MiB */
	uint64_t max_age_ms;	/* 0: 7 days */
};
int log_store_open(struct log_store **out, const struct log_store_config *c, struct err *err) MUST_CHECK;
/* After the last writer, reader and question are over or cancelled. NULL is fine. */
void log_store_close(struct log_store *s);
/* Removes what is too old or too much, later. Done by itself after each log and every hour. */
void log_store_prune(struct log_store *s);

/* ---- writing one ---- */

struct log_writer;

struct log_writer_events {
	void (*ready)(void *arg);	/* log_writer_put() takes more; not from inside it */
	/* After log_writer_end(), once, later: all of it is in the file system (0), or why not. */
	void (*done)(void *arg, int rc);
};

/* What was kept of the same container before is replaced. <k>: container, release and replica; <app> and the container are names
 * as Docker has them. NULL when they are not. */
struct log_writer *log_writer_begin(struct log_store *s, const char *app, const struct wire_kept *k,
				    const struct log_writer_events *events, void *arg);
/* Returns how many bytes were taken; fewer than <n>: ready() follows. After a failure everything is taken, and dropped. */
size_t log_writer_put(struct log_writer *w, const char *p, size_t n);
void log_writer_end(struct log_writer *w);
void log_writer_cancel(struct log_writer *w);	/* what was written stays; NULL is fine */

/* ---- asking and reading ---- */

struct log_ask;

/* The newest first. <rc>: 0, or a negative errno; once, later, never after log_ask_cancel(). */
typedef void log_list_fn(void *arg, int rc, const struct wire_kept *list, size_t n);
struct log_ask *log_store_list(struct log_store *s, const char *app, log_list_fn *done, void *arg);

/* Where in a container's log one is; all 0 with <tail> set: that many lines before its end. */
struct log_place {
	uint32_t segment;
	uint64_t offset;
	uint32_t tail;		/* lines; UINT32_MAX: all; only for the first chunk */
	bool found;		/* the first chunk has come */
};
/* The bytes at <at> and the place after them; <n> 0: the end. -ENOENT: no such log. */
typedef void log_chunk_fn(void *arg, int rc, const char *p, size_t n, const struct log_place *next);
struct log_ask *log_store_read(struct log_store *s, const char *app, const char *container, const struct log_place *at,
			       log_chunk_fn *done, void *arg);
void log_ask_cancel(struct log_ask *a);		/* NULL is fine */

#endif
