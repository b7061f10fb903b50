/* What a request must meet before anything is sent for it, by its upstream's policy: decided here,
 * carried out by the relay. */
#ifndef TEMPS_PROXY_FILTER_H
#define TEMPS_PROXY_FILTER_H

#include "http/exchange.h"
#include "proxy/policy.h"

struct front;
struct relay;
struct upstream;

/* What is answered instead. */
struct filter_answer {
	unsigned status;
	const char *detail;
	struct slice location; /* of a redirect; the front's, until the next one */
};

enum filter_result {
	FILTER_PASS,
	FILTER_ANSWER, /* <out> says what */
	FILTER_WAIT,   /* a password is being checked: relay_checked() follows, unless
			  basic_auth_forget() comes before */
};

/* The rules in the order of temps-policy(7). Only for an upstream whose policy.filters is set. */
enum filter_result filter_request(struct front *f, struct relay *r, struct filter_answer *out);
/* After the password was found right, or not: the rest of them. */
enum filter_result filter_request_checked(struct front *f, struct relay *r, bool right,
					  struct filter_answer *out);

/* Is an address let in? */
bool filter_lets_in(const struct upstream_policy *p, const uint8_t ip[RANGE_IP_BYTES]);
/* Fills in {path} and {host}. Returns the length, or 0 when <size> is too small. */
size_t filter_location(const char *form, const struct head *req, char *out, size_t size);

#endif
