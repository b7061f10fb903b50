/* The hot upgrade as the process sees it that serves: a new one is started from the binary that is at our
 * path now, it gets store, listeners and ticket keys, and we drain. Until it says that it can serve, all
 * is taken back if it fails. */
#ifndef TEMPS_CONTROL_UPGRADE_H
#define TEMPS_CONTROL_UPGRADE_H

#include "sched/event.h"

struct control;
struct upgrade;

#define UPGRADE_HELLO_MS 10000 /* the new process must say who it is within */
#define UPGRADE_READY_MS 30000 /* and that it can serve, from the store's hand-over */

struct upgrade *upgrade_create(struct control *c);
/* Kills a process that has not taken over yet. NULL is fine. */
void upgrade_destroy(struct upgrade *u);

struct upgrade_result {
	const char *error;   /* NULL: it serves */
	const char *version; /* of the new process */
	int64_t pid;
};
/* Called once, later. */
typedef void upgrade_done_fn(void *arg, const struct upgrade_result *r);
/* <done> may be NULL. -EBUSY: one is under way, or too many old processes drain; others: the new process
 * could not be started. */
int upgrade_begin(struct upgrade *u, upgrade_done_fn *done, void *arg, struct err *err) MUST_CHECK;
/* Whoever waited is gone. */
void upgrade_forget(struct upgrade *u);

/* Stores an event about the control plane itself and shows it. */
void upgrade_record(struct control *c, const char *type, const char *text);

/* NULL: requests to the API are answered here; else why not. */
const char *upgrade_refuses(const struct upgrade *u);
/* Another process serves now, and we only drain. */
bool upgrade_is_over(const struct upgrade *u);
/* Nothing is left at an endpoint: true when it is another process that wants to know. NULL is fine. */
bool upgrade_tell_drained(struct upgrade *u, const struct endpoint_ref *ref);

#endif
