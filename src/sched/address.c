/* Pools of host ports and of static addresses. */
#include "sched/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct address_pool *pool_new(const char *key, uint32_t base, uint32_t n)
{
	struct address_pool *p = xcalloc(1, sizeof(*p));

	snprintf(p->key, sizeof(p->key), "%s", key);
	p->base = base;
	p->n = n;
	p->taken = xcalloc((n + 63) / 64, sizeof(*p->taken));
	return p;
}

struct address_pool *address_pool_ports(const char *ip, uint16_t first, uint16_t last)
{
	return pool_new(ip, first, (uint32_t)(last - first) + 1);
}

struct address_pool *address_pool_network(const char *cidr, struct err *err)
{
	struct slice bits_text, ip_text = slice_split(slice_str(cidr), '/', &bits_text);
	struct address_pool *p;
	char ip[INET_ADDRSTRLEN];
	struct in_addr in;
	uint64_t bits;
	uint32_t base;

	if (slice_copy(ip_text, ip, sizeof(ip)) || inet_pton(AF_INET, ip, &in) != 1 ||
	    slice_u64(bits_text, &bits) || bits < 16 || bits > 29) {
		err_say(err, -EINVAL,
			"bridge network \"%s\": expected an IPv4 network like 172.31.240.0/20",
			cidr);
		return NULL;
	}
	base = ntohl(in.s_addr) & ~(UINT32_MAX >> bits);
	p = pool_new(cidr, base + 2, (1u << (32 - bits)) - 3);
	p->network = true;
	return p;
}

void address_pool_destroy(struct address_pool *p)
{
	if (!p)
		return;
	free(p->taken);
	free(p);
}

static bool is_taken(const struct address_pool *p, uint32_t slot)
{
	return p->taken[slot / 64] >> (slot % 64) & 1;
}

int address_take_slot(struct address_pool *p, uint32_t slot)
{
	if (slot >= p->n)
		return -ERANGE;
	if (is_taken(p, slot))
		return -EADDRINUSE;
	p->taken[slot / 64] |= 1ull << (slot % 64);
	p->taken_n++;
	return 0;
}

int address_take(struct address_pool *p, uint32_t *slot)
{
	if (p->taken_n >= p->n)
		return -EADDRNOTAVAIL;
	while (is_taken(p, p->next))
		p->next = (p->next + 1) % p->n;
	*slot = p->next;
	p->next = (p->next + 1) % p->n;
	return address_take_slot(p, *slot);
}

void address_give(struct address_pool *p, uint32_t slot)
{
	p->taken[slot / 64] &= ~(1ull << (slot % 64));
	p->taken_n--;
}

void address_text(const struct address_pool *p, uint32_t slot, char *ip, uint16_t *port)
{
	struct in_addr in;

	if (!p->network) {
		snprintf(ip, 64, "%s", p->key);
		*port = (uint16_t)(p->base + slot);
		return;
	}
	in.s_addr = htonl(p->base + slot);
	inet_ntop(AF_INET, &in, ip, 64);
}

int address_slot(const struct address_pool *p, const char *ip, uint16_t port, uint32_t *slot)
{
	struct in_addr in;
	uint32_t at;

	if (p->network) {
		if (inet_pton(AF_INET, ip, &in) != 1)
			return -ERANGE;
		at = ntohl(in.s_addr) - p->base;
	} else {
		if (strcmp(ip, p->key) != 0)
			return -ERANGE;
		at = port - p->base;
	}
	if (at >= p->n)
		return -ERANGE;
	*slot = at;
	return 0;
}
