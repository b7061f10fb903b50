/* The containers of this cluster on this node, kept current by the engine's events; a look at all of them now and then makes up for what
 * no event told. */
#ifndef TEMPS_AGENT_INVENTORY_H
#define TEMPS_AGENT_INVENTORY_H

#include "agent/engine.h"

struct inventory;

struct inventory *inventory_create(struct loop *l, struct engine *e, void (*changed)(void *arg), void *arg);
void inventory_destroy(struct inventory *i);
/* Was the engine asked successfully? Before that there is nothing to report. */
bool inventory_is_known(const struct inventory *i);
/* Rises with every change. */
uint64_t inventory_generation(const struct inventory *i);
/* 16 hex digits over ids, states and starts, in the order of ids; of the empty list while it is not known. */
const char *inventory_hash(const struct inventory *i);
uint32_t inventory_running(const struct inventory *i);
/* The array "containers" of a heartbeat. */
void inventory_put(const struct inventory *i, struct json_out *o);
/* The hash of a list, which is sorted by id on the way. Pure. */
void inventory_hash_of(struct wire_container *list, size_t n, char hex[17]);

#endif
