/* What people want to know, newest last: a ring of the latest events, each stored, told to
 * everybody who listens. */
#ifndef TEMPS_CONTROL_EVENTS_H
#define TEMPS_CONTROL_EVENTS_H

#include "http/reply.h"
#include "store/store.h"

#define EVENTS_MAX 10000	/* kept, in memory and in the store */
#define EVENTS_LISTENERS_MAX 100

struct events;

struct events *events_create(struct loop *l);
void events_destroy(struct events *e);
extern const char events_kind[];	/* of the stored records */
/* A store_row_fn; <arg> is the struct events. Before the first events_record(). */
int events_load(void *arg, struct slice key, struct slice value, struct err *err) MUST_CHECK;

/* The same for what another process stored meanwhile: what is here already is passed over. */
int events_catch_up(void *arg, struct slice key, struct slice value, struct err *err) MUST_CHECK;

/* Gives an event its number and puts it, and the end of the oldest one, into <t>. Not visible
 * before events_publish(). */
uint64_t events_record(struct events *e, struct store_txn *t, uint64_t wall_ms, const char *type,
		       const char *subject, const char *text);
/* After the commit: shows it to readers and listeners, and in the log. In the order of the numbers.
 */
void events_publish(struct events *e, uint64_t id, uint64_t wall_ms, const char *type,
		    const char *subject, const char *text);

/* The server stops: every stream ends in good order. */
void events_end(struct events *e);

/* GET /api/events: a list, or a stream for who accepts text/event-stream. */
void events_answer(struct events *e, struct api_request *r);

#endif
