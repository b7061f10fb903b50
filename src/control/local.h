/* This machine as a node: its engine, and the bridge network in which its containers have the
 * addresses we give them. */
#ifndef TEMPS_CONTROL_LOCAL_H
#define TEMPS_CONTROL_LOCAL_H

#include "agent/engine.h"

struct control;
struct local;

/* With options->docker_host "none" there is no engine, and the domain is told so. */
int local_create(struct local **out, struct control *c, struct err *err) MUST_CHECK;
/* After the domain's first step. */
void local_start(struct local *l);
void local_destroy(struct local *l);

/* Calls <settled> once, never from inside: when the domain knows whether containers can be run
 * here, or when that takes too long. */
void local_when_settled(struct local *l, void (*settled)(void *arg), void *arg);
/* The domain was told about node 0. */
void local_told(struct local *l);

struct local_view {
	bool ok;			/* containers can be run here */
	const char *version;		/* of the engine, or NULL */
	const char *error;		/* why not ok */
};
struct local_view local_view(const struct local *l);
/* Are containers here reached through published ports on 127.0.0.1 instead of addresses of their
 * own? So it is with an engine that is remote or rootless: its bridge is out of our reach. */
bool local_publishes(const char *docker_host);

#endif
