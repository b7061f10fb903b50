/* Addresses that we give out: the host ports of one private address, or the static addresses of the bridge network.
 * Next-fit, so that an address is used again as late as possible. For the domain's own files. */
#ifndef TEMPS_SCHED_ADDRESS_H
#define TEMPS_SCHED_ADDRESS_H

#include "base/err.h"
#include "base/hash.h"

struct node;

struct address_pool {
	char key[64];  /* the IP address, or the network in CIDR form */
	bool network;  /* slots are addresses; else they are ports */
	struct node *owner; /* of ports: who has this private address; NULL: nobody now. Borrowed */
	uint32_t base; /* first port, or first IPv4 address as a host-order number */
	uint32_t n;    /* slots */
	uint32_t next; /* where to look first */
	uint32_t taken_n;
	uint64_t *taken; /* bitmap */
};

struct address_pool *address_pool_ports(const char *ip, uint16_t first, uint16_t last);
/* <cidr> with a prefix of 16 to 29 bits. NULL with <err> when it is none. The network's, the gateway's (.1) and the broadcast
 * address are not given out. */
struct address_pool *address_pool_network(const char *cidr, struct err *err);
void address_pool_destroy(struct address_pool *p); /* NULL is fine */
/* -EADDRNOTAVAIL when all are taken. */
int address_take(struct address_pool *p, uint32_t *slot) MUST_CHECK;
/* A stored one, when loading. -EADDRINUSE, or -ERANGE when it does not belong to the pool. */
int address_take_slot(struct address_pool *p, uint32_t slot) MUST_CHECK;
void address_give(struct address_pool *p, uint32_t slot);
/* The slot's address and port; <port> is left alone for a network. <ip> takes 64 bytes. */
void address_text(const struct address_pool *p, uint32_t slot, char *ip, uint16_t *port);
/* The slot of a stored address; -ERANGE when it does not belong to the pool. */
int address_slot(const struct address_pool *p, const char *ip, uint16_t port,
		 uint32_t *slot) MUST_CHECK;

#endif
