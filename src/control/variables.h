/* An app's environment at the API's edge: plain variables, and secrets, whose values are sealed here before anything else of the
 * control plane sees them and opened when a container is made. */
#ifndef TEMPS_CONTROL_VARIABLES_H
#define TEMPS_CONTROL_VARIABLES_H

#include "base/pairs.h"

struct control;

#define SECRET_MAX 32768u /* bytes of one value */

/* Member "env" of <body> on top of <base>, name by name; null takes one away. <out> is overwritten and the caller's to
 * pairs_fini() in either case. -EINVAL: <err> names the variable. */
int variables_env(struct pairs *out, const struct pairs *base, const struct json *body,
		  struct err *err) MUST_CHECK;
/* The same of member "secrets", {"keep": true} being the value that <base> has; a value that it has stays sealed as it is.
 * <alone>: what is not named goes, if any is. */
int variables_secrets(const struct control *c, struct pairs *out, const struct pairs *base,
		      const struct json *body, bool alone, struct err *err) MUST_CHECK;
/* Appends the secrets in clear to <out>, to be wiped with variables_wipe(). -EKEYREJECTED: <err> says which cannot be opened. */
int variables_open(const struct control *c, const struct pairs *secrets, struct pairs *out,
		   struct err *err) MUST_CHECK;
void variables_wipe(struct pairs *p);

#endif
