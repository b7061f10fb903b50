/* Policy basic-auth: names and passwords (RFC 7617) against hashes. */
#ifndef TEMPS_PROXY_BASIC_AUTH_H
#define TEMPS_PROXY_BASIC_AUTH_H

#include "base/pairs.h"

/* Makes hashes of the passwords that are in clear in the policy's value. Slow on purpose: for the
 * work thread. */
void basic_auth_seal(struct pairs *policy);
/* Is there nothing to do for it? */
bool basic_auth_is_sealed(const struct pairs *policy);

#endif
