/* What the Docker Engine says about containers, in our terms. Pure: parsed JSON in, structs out. */
#ifndef TEMPS_AGENT_INSPECT_H
#define TEMPS_AGENT_INSPECT_H

#include "agent/wire.h"

/* The answer of GET /containers/{id}/json. Missing members leave their field empty; -EINVAL only without an id. */
int inspect_container(struct wire_container *c, const struct json *j) MUST_CHECK;
/* Its labels say it is <cluster>'s on <node>. */
bool inspect_is_ours(const struct json *labels, const char *cluster, const char *node);
/* The answer of GET /containers/{id}/stats?stream=false. */
void inspect_stats(struct wire_stats *s, const struct json *j);
/* One line of GET /events; -EINVAL for what is no container's event, or one that nobody needs (exec, attach, top, …). */
int inspect_event(struct wire_event *e, const struct json *j) MUST_CHECK;
/* One line of a pull as text for people: "layer: status". <*moving>: a progress bar's step, of which there are many. */
void inspect_progress(const struct json *j, char *out, size_t size, bool *moving);

#endif
