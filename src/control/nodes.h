/* What comes from and goes to nodes: links as the domain wants them, and what links and the local
 * engine report as events for the domain. */
#ifndef TEMPS_CONTROL_NODES_H
#define TEMPS_CONTROL_NODES_H

#include "control/links.h"
#include "sched/node.h"

struct control;

/* For links_create(), with the struct control as argument. */
extern const struct links_reports nodes_reports;
/* Opens or renews the node's link; NULL and `local` are ignored. */
void nodes_set(struct control *c, const struct node *n);
/* An authenticated call from the node reached us. */
void nodes_called(struct control *c, int64_t node_id);
/* What a node tells about itself as the domain takes it. */
void nodes_capacity_from(struct node_capacity *out, const struct wire_capacity *w);
/* A node's token as it is stored; appended. */
int nodes_seal_token(const struct control *c, struct slice token, struct buf *sealed) MUST_CHECK;

#endif
