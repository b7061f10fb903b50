/* Ranges of IP addresses: "10.0.0.0/8", "fd00::/8" or a single address. */
#ifndef TEMPS_BASE_RANGE_H
#define TEMPS_BASE_RANGE_H

#include "base/text.h"

#define RANGE_IP_BYTES 16

/* A v4 address is ::ffff:a.b.c.d. */
struct range {
	uint8_t ip[RANGE_IP_BYTES];
	uint8_t bits; /* of the 128 */
};

struct ranges {
	struct range *items; /* owned */
	size_t n;
};

/* Appends. -EINVAL: not a range. */
int ranges_add(struct ranges *r, struct slice text) MUST_CHECK;
void ranges_fini(struct ranges *r);
bool ranges_have(const struct ranges *r, const uint8_t ip[RANGE_IP_BYTES]);

/* The address alone, from a socket's or from text. False: none, as of a unix socket. */
bool range_ip(const struct addr *a, uint8_t ip[RANGE_IP_BYTES]);
bool range_ip_parse(struct slice text, uint8_t ip[RANGE_IP_BYTES]);

#endif
