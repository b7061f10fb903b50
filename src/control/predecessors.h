/* Processes that served before this one and drain: each has the routing this one decides, so that what
 * it still serves goes where it should, and says when nothing of it is left at an endpoint that goes
 * away. They end by themselves. */
#ifndef TEMPS_CONTROL_PREDECESSORS_H
#define TEMPS_CONTROL_PREDECESSORS_H

#include "base/json.h"
#include "sched/batch.h"

struct control;
struct predecessors;

#define PREDECESSORS_MAX 8

struct predecessors *predecessors_create(struct control *c);
void predecessors_destroy(struct predecessors *p); /* NULL is fine */
/* One more, at the other end of a channel's descriptor. */
void predecessors_add(struct predecessors *p, int take_fd);
uint32_t predecessors_count(const struct predecessors *p);

/* The last one added has yet to let go. Tells it that we can serve; <gone_on> is called, once and
 * later, when it stopped accepting, or is dead: then it is for us to. */
void predecessors_take_over(struct predecessors *p, void (*go_on)(void *arg), void *arg);

/* An effect about routing is carried out here: they get it too. Before it is. NULL is fine here and
 * below: there are none. */
void predecessors_tell(struct predecessors *p, const struct effect *e);
/* Nothing of ours is left at an endpoint that was routed out. True: nor of theirs; false:
 * EVENT_DRAINED follows when it is so. */
bool predecessors_drained(struct predecessors *p, const struct endpoint_ref *ref);
/* For listings: what they still have, as they say every second. */
uint32_t predecessors_in_flight(const struct predecessors *p, const struct endpoint_ref *ref);
/* An array of {"pid","connections"}. */
void predecessors_emit(const struct predecessors *p, struct json_out *o, const char *name);
/* We were told to end: they are to hurry as well. */
void predecessors_stop(struct predecessors *p);

/* A successor gets them. Their descriptors, for <fds> with room for PREDECESSORS_MAX; nothing is read
 * or sent any more until predecessors_resume(). One that does not read is given up. */
size_t predecessors_hand_over(struct predecessors *p, int *fds);
void predecessors_resume(struct predecessors *p);

#endif
