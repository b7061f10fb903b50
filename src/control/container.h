/* Containers between the domain's words and those of a node's link, both ways. */
#ifndef TEMPS_CONTROL_CONTAINER_H
#define TEMPS_CONTROL_CONTAINER_H

#include "agent/link.h"
#include "agent/wire.h"
#include "sched/batch.h"
#include "sched/event.h"

#define GATE_FALL 3 /* failures in a row that end a new replica, unless its policies say how many */

struct control;

/* A container as the domain wants it; <started> (32 bytes) is where its start time is written.
 * Borrows from <w>. */
void container_info_from(struct container_info *out, const struct wire_container *w, char *started);
/* The same of one that was just made. */
void container_info_deployed(struct container_info *out, const struct wire_deployed *d, char *started);

/* Asks <via> to make the container of <e>, its secrets in clear; <*op> ends with <done>.
 * -EKEYREJECTED: <err> says which secret cannot be opened, and <done> is not called. */
int container_begin(struct link_op **op, struct control *c, struct link *via,
		    const struct effect_create *e, link_deploy_fn *done, void *arg, struct err *err) MUST_CHECK;

#endif
