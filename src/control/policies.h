/* Policies at the API's edge: read, checked, and their passwords made into hashes before anything
 * else of the control plane sees them. */
#ifndef TEMPS_CONTROL_POLICIES_H
#define TEMPS_CONTROL_POLICIES_H

#include "base/pairs.h"
#include "reactor/work.h"

/* Member "policy" of a body, as changes on top of <base>: a text for each key, a list of texts for
 * a key of several lines, null or "" to take one away. <changes> is overwritten and the caller's to
 * pairs_fini() in either case. -EINVAL: <err> names the key and the reason. */
int policies_read(struct pairs *changes, const struct pairs *base, const struct json *body,
		  struct err *err) MUST_CHECK;

/* Passwords into hashes, on the work thread. */
struct policies_seal;

/* <done> gets <take_policy> without a password in clear, its own to pairs_fini(); from within this
 * call when there was none. A password that <current> (borrowed for the call) has the hash of keeps
 * that one. Returns what policies_seal_cancel() takes, until <done> was called;
 * NULL: it was already. -EBUSY in <*rc>: nothing will be called, and <take_policy> is gone. */
struct policies_seal *policies_seal(struct work *w, struct pairs *take_policy,
				    const struct pairs *current,
				    void (*done)(void *arg, struct pairs *policy), void *arg,
				    int *rc);
/* <done> will not be called. NULL is fine. */
void policies_seal_cancel(struct policies_seal *s);

#endif
