/* GET /api/apps/{app}/logs: the log lines of an app's containers, streamed from wherever they run or ran, as text with the
 * container's name in front of each line, in the order of their time. */
#ifndef TEMPS_CONTROL_LOGS_H
#define TEMPS_CONTROL_LOGS_H

#include "http/reply.h"
#include "sched/app.h"

#define LOGS_STREAMS_MAX 100	/* open at once */
#define LOGS_SOURCES_MAX 64	/* containers of one stream */
#define LOGS_NODES_MAX 256	/* that are asked for logs they keep */

struct control;
struct logs;

struct logs *logs_create(struct control *c);
void logs_destroy(struct logs *l);
/* Query: follow, tail (lines of each container, or "all"), since (RFC 3339, or a duration back from now), timestamps, grep (a text
 * that is in the line), replica (its number or container name), release, node (a name).
 * Containers that are gone are looked for when since, grep or release is given, or when none is there. */
void logs_answer(struct logs *l, struct api_request *r, const struct app *a);
/* The node's link ends: its sources end, saying so. */
void logs_drop_node(struct logs *l, int64_t node_id);

/* The server stops: every stream ends. */
void logs_end(struct logs *l);

#endif
