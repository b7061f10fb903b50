/* GET /api/apps/{app}/logs: the log lines of an app's replicas, streamed from wherever they run, as
 * text with the replica's name in front of each line. */
#ifndef TEMPS_CONTROL_LOGS_H
#define TEMPS_CONTROL_LOGS_H

#include "http/reply.h"
#include "sched/app.h"

#define LOGS_STREAMS_MAX 100	/* open at once */
#define LOGS_SOURCES_MAX 64	/* replicas of one stream */

struct control;
struct logs;

struct logs *logs_create(struct control *c);
void logs_destroy(struct logs *l);
/* Query: follow, tail (lines, or "all"), since (RFC 3339, or a duration back from now), timestamps,
 * replica (its number or container name). */
void logs_answer(struct logs *l, struct api_request *r, const struct app *a);
/* The node's link ends: its sources end, saying so. */
void logs_drop_node(struct logs *l, int64_t node_id);

/* The server stops: every stream ends. */
void logs_end(struct logs *l);

#endif
