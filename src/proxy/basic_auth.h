/* Policy basic-auth: names and passwords (RFC 7617) against hashes. A hash takes tens of
 * milliseconds, so it is made on the work thread, and what came out is known for a while. */
#ifndef TEMPS_PROXY_BASIC_AUTH_H
#define TEMPS_PROXY_BASIC_AUTH_H

#include "proxy/front.h"
#include "proxy/policy.h"
#include "reactor/work.h"

struct basic_auth; /* one for a front door */
struct relay;

/* <stats> is counted into, until basic_auth_destroy(). */
struct basic_auth *basic_auth_create(struct loop *l, struct work *w, struct front_stats *stats);
/* Checks under way end without anybody being told. NULL is fine. */
void basic_auth_destroy(struct basic_auth *a);

enum basic_auth_result {
	BASIC_AUTH_PASS,
	BASIC_AUTH_FAIL, /* none given, or wrong */
	BASIC_AUTH_WAIT, /* filter_checked() will say, unless basic_auth_forget() comes before */
	BASIC_AUTH_BUSY, /* as many checks as may be are under way */
};
/* The request's name and password against <p>'s users. */
enum basic_auth_result basic_auth_check(struct basic_auth *a, const struct upstream_policy *p,
					struct relay *r);
/* <r> does not wait any more. */
void basic_auth_forget(struct relay *r);

/* Makes hashes of the passwords that are in clear in the policy's value; one that is right in
 * <current> stays, so that the same again is no change. Slow on purpose: for the work thread. */
void basic_auth_seal(struct pairs *policy, const struct pairs *current);
/* Is there nothing to do for it? */
bool basic_auth_is_sealed(const struct pairs *policy);

#endif
