/* Opens the control plane part by part, in the one order in which they may be opened, and closes
 * them again. */
#ifndef TEMPS_CONTROL_BOOT_H
#define TEMPS_CONTROL_BOOT_H

#include "base/err.h"

struct control;

/* control->options is set, everything else is zero. Afterwards everything is open and the routes
 * are in; nothing is answered before loop_run(). With an error boot_close() takes what there is. */
int boot_open(struct control *c, struct err *err) MUST_CHECK;
/* After the loop has ended, or a failed boot_open(). */
void boot_close(struct control *c);
/* Writes the cluster's own record; <c>->keyed goes into it. */
int boot_store_cluster(struct control *c, struct err *err) MUST_CHECK;

#endif
