/* The domain's effects on the data path, as calls into it and as messages: a process that only drains
 * gets them from the one that decides. */
#ifndef TEMPS_CONTROL_ROUTING_H
#define TEMPS_CONTROL_ROUTING_H

#include "control/dataplane.h"

/* Carries it out; false: it is none of those. */
bool routing_apply(struct dataplane *d, const struct effect *e);
bool routing_is(enum effect_type type);

/* {"route_out":{…}}; <e> is one of those. */
void routing_put(struct buf *out, const struct effect *e);
/* Reads and carries out what routing_put() wrote. -ENOENT: it is something else, of a later version
 * perhaps; -EINVAL: a member is missing or of another type. */
int routing_take(struct dataplane *d, const struct json *message) MUST_CHECK;

/* {"drained":{…}}: what dataplane_reports.drained() said. */
void routing_put_drained(struct buf *out, const struct endpoint_ref *ref);
/* Its members, for a message of another kind. */
void routing_put_ref(struct json_out *o, const struct endpoint_ref *ref);
/* Borrows from the message. -EINVAL. */
int routing_read_ref(struct endpoint_ref *out, const struct json *members) MUST_CHECK;

#endif
