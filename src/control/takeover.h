/* The hot upgrade as the new process sees it: what it gets from the one before it, of which it was
 * started, before it opens anything. */
#ifndef TEMPS_CONTROL_TAKEOVER_H
#define TEMPS_CONTROL_TAKEOVER_H

#include "base/err.h"
#include "http/server.h"

struct control;
struct takeover;

#define TAKEOVER_ENV "TEMPS_TAKEOVER_FD" /* holds the number of the channel's descriptor */
#define TAKEOVER_PROTOCOL 1

enum takeover_kind { TAKEOVER_HTTP, TAKEOVER_HTTPS, TAKEOVER_UNIX, TAKEOVER_KINDS };

/* If another process started us: says hello and waits for what it gives; else <*out> is NULL. Blocks:
 * before the loop runs. -EPIPE: it is gone. */
int takeover_receive(struct takeover **out, struct err *err) MUST_CHECK;
/* Of the process before us. */
const char *takeover_version(const struct takeover *t);
/* A listener for the address as it is configured, the caller's; -1: there was none. */
int takeover_listener(struct takeover *t, enum takeover_kind kind, const char *address);
/* Everything is open: the TLS keys go to <c>'s, the old processes to its predecessors, listeners that
 * the new configuration does not have are closed. Nobody is accepted before takeover_finish() is done. */
void takeover_adopt(struct takeover *t, struct control *c);
/* We cannot go on; <why> is for who asked for the upgrade. The listeners stay the other's. */
void takeover_fail(struct takeover *t, struct control *c, const char *why);
void takeover_free(struct takeover *t); /* NULL is fine */

/* ---- the other side's half of the messages ---- */

/* {"take":{…}} with its descriptors, as takeover_receive() reads it. */
void takeover_put(struct buf *out, const struct control *c, int *fds, size_t *n);

#endif
