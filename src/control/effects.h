/* The effects that take time: calls to nodes and probes, each a job that ends in exactly one event
 * for the domain. */
#ifndef TEMPS_CONTROL_EFFECTS_H
#define TEMPS_CONTROL_EFFECTS_H

#include "control/images.h"
#include "sched/batch.h"

struct control;
struct effects;

struct effects *effects_create(struct control *c);
void effects_destroy(struct effects *fx);
/* Of the types IMAGE_ENSURE … PROBE_CANCEL. A sequence number that is running already is ignored.
 */
void effects_run(struct effects *fx, const struct effect *e);
/* The node's link ends: its jobs answer RPC_TRANSPORT, later. */
void effects_drop_node(struct effects *fx, int64_t node_id);
/* Ends everything without an event. */
void effects_cancel_all(struct effects *fx);
uint32_t effects_running(const struct effects *fx);
/* Where the image is that operation <seq> waits for; false: none is on its way. */
bool effects_image(const struct effects *fx, uint64_t seq, struct image_progress *out);

#endif
