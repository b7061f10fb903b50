/* What a request must meet before anything is sent for it, by its upstream's policy, in the order of
 * temps-policy(7). */
#ifndef TEMPS_PROXY_FILTER_H
#define TEMPS_PROXY_FILTER_H

#include "http/exchange.h"
#include "proxy/policy.h"

struct relay;

/* Lets it go on to an endpoint, answers it, or lets it wait for the check of its password. For an
 * upstream whose policy.filters is set. */
void filter_admit(struct relay *r);
/* The password of one that waits was right, or not; what basic_auth.c found. */
void filter_checked(struct relay *r, bool right);
/* May so many bytes of content more go on? False: it is answered or cut. For an upstream whose
 * policy.max_body_bytes is set. */
bool filter_takes(struct relay *r, size_t more);

/* The decisions that need no more than their arguments. Is an address let in? */
bool filter_lets_in(const struct upstream_policy *p, const uint8_t ip[RANGE_IP_BYTES]);
/* Fills in {path} and {host}. Returns the length, or 0 when <size> is too small. */
size_t filter_location(const char *form, const struct head *req, char *out, size_t size);

#endif
