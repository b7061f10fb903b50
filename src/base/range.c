/* Ranges of IP addresses. */
#include "base/range.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#define V4_BITS 96 /* prefix of ::ffff:0:0/96 */
#define V4_BYTES (V4_BITS / 8)

static void v4_begin(uint8_t ip[RANGE_IP_BYTES])
{
	memset(ip, 0, RANGE_IP_BYTES);
	ip[10] = ip[11] = 0xff;
}

bool range_ip_parse(struct slice text, uint8_t ip[RANGE_IP_BYTES])
{
	char host[INET6_ADDRSTRLEN];

	if (slice_copy(text, host, sizeof(host)) < 0)
		return false;
	v4_begin(ip);
	return inet_pton(AF_INET, host, ip + V4_BYTES) == 1 || inet_pton(AF_INET6, host, ip) == 1;
}

bool range_ip(const struct addr *a, uint8_t ip[RANGE_IP_BYTES])
{
	v4_begin(ip);
	if (a->sa.ss_family == AF_INET)
		memcpy(ip + V4_BYTES, &((const struct sockaddr_in *)&a->sa)->sin_addr, 4);
	else if (a->sa.ss_family == AF_INET6)
		memcpy(ip, &((const struct sockaddr_in6 *)&a->sa)->sin6_addr, RANGE_IP_BYTES);
	else
		return false;
	return true;
}

static int range_parse(struct range *out, struct slice text)
{
	struct slice rest, ip = slice_split(text, '/', &rest);
	uint64_t bits;
	unsigned skip;

	if (!range_ip_parse(ip, out->ip))
		return -EINVAL;
	skip = memchr(ip.p, ':', ip.n) ? 0 : V4_BITS;
	if (!rest.p)
		bits = 128 - skip;
	else if (slice_u64(rest, &bits) < 0 || bits > 128 - skip)
		return -EINVAL;
	out->bits = (uint8_t)(skip + bits);
	return 0;
}

int ranges_add(struct ranges *r, struct slice text)
{
	struct range range;
	int rc = range_parse(&range, text);

	if (rc < 0)
		return rc;
	r->items = xrealloc(r->items, (r->n + 1) * sizeof(*r->items));
	r->items[r->n++] = range;
	return 0;
}

void ranges_fini(struct ranges *r)
{
	free(r->items);
	*r = (struct ranges){ 0 };
}

static bool in_range(const struct range *r, const uint8_t ip[RANGE_IP_BYTES])
{
	unsigned bytes = r->bits / 8, rest = r->bits % 8;

	if (memcmp(r->ip, ip, bytes) != 0)
		return false;
	return rest == 0 || (r->ip[bytes] ^ ip[bytes]) >> (8 - rest) == 0;
}

bool ranges_have(const struct ranges *r, const uint8_t ip[RANGE_IP_BYTES])
{
	for (size_t i = 0; i < r->n; i++)
		if (in_range(&r->items[i], ip))
			return true;
	return false;
}
