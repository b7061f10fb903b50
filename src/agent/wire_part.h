/* Pieces that several of the agent API's bodies share; for wire*.c only. */
#ifndef TEMPS_AGENT_WIRE_PART_H
#define TEMPS_AGENT_WIRE_PART_H

#include "agent/wire.h"

#define WIRE_MAX_PAIRS 1024
#define WIRE_MAX_LIST 256
#define WIRE_MAX_TEXT 32768	/* bytes of one argument */

/* A member that must be there and fit into <out>; or may be missing, then <out> becomes "". */
int wire_need_text(const struct json *obj, const char *name, char *out, size_t size, struct err *err) MUST_CHECK;
int wire_may_text(const struct json *obj, const char *name, char *out, size_t size, struct err *err) MUST_CHECK;
/* A whole number that may be missing: then 0. */
int wire_may_uint(const struct json *obj, const char *name, uint64_t max, uint64_t *out, struct err *err) MUST_CHECK;
/* RFC 3339 with milliseconds, since a container may restart within a second; null for 0. */
int wire_may_time(const struct json *obj, const char *name, uint64_t *wall_ms, struct err *err) MUST_CHECK;
void wire_put_time(struct json_out *o, const char *name, uint64_t wall_ms);
/* "container_id" (12 to 64 hex digits, into 65 bytes) and "container_name" (Docker's alphabet, into 256 bytes; may be missing). */
int wire_get_container(const struct json *obj, char *id, char *name, struct err *err) MUST_CHECK;
/* A name as Docker takes it for containers and networks. */
bool wire_is_docker_name(const char *s);
int wire_get_port(const struct json *j, struct wire_port *p, struct err *err) MUST_CHECK;
void wire_put_port(struct json_out *o, const struct wire_port *p);

#endif
