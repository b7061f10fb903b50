/* A deploy request as the Docker Engine's description of a container. */
#ifndef TEMPS_AGENT_ENGINE_CREATE_H
#define TEMPS_AGENT_ENGINE_CREATE_H

#include "agent/wire.h"

/* Appends the body of POST /containers/create. The labels that say whose the container is are ours: such labels in the request are left out. */
void engine_create_body(const struct wire_deploy *d, const char *cluster, const char *node, struct buf *out);

#endif
