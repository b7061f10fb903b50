/* Name lookups by c-ares on the loop: /etc/hosts first, then the name servers of
 * /etc/resolv.conf, two tries of 300 ms doubling. Nothing here waits. */
#ifndef TEMPS_REACTOR_DNS_H
#define TEMPS_REACTOR_DNS_H

#include "base/text.h"
#include "reactor/loop.h"

struct dns;
struct dns_query;

#define DNS_QUERIES_MAX 256

int dns_create(struct dns **out, struct loop *l, struct err *err) MUST_CHECK;
/* Cancels what runs. NULL is fine. */
void dns_destroy(struct dns *d);

/* Asks the server at <address> ("127.0.0.1:5353") alone, while nothing is being asked: for
 * tests. */
int dns_set_server(struct dns *d, const char *address, struct err *err) MUST_CHECK;

/* <ip> is the first usable address (IPv4 before IPv6), as text valid during the call, when rc is
 * 0. Else it is NULL, and rc -ENOENT (no such name, or no address), -ETIMEDOUT (no name server
 * answered), -EINVAL (not a name), -EIO (the name servers are not there, refuse or fail). Called
 * once, later, and never after dns_cancel(). Literal addresses and "localhost" are answered
 * without a packet. */
typedef void dns_done_fn(void *arg, int rc, const char *ip);
/* <name> is copied. NULL at the cap of DNS_QUERIES_MAX; one that was cancelled counts until
 * c-ares lets go of it. */
struct dns_query *dns_resolve(struct dns *d, const char *name, dns_done_fn *done, void *arg);
void dns_cancel(struct dns_query *q);	/* NULL is fine; not after its callback */

#endif
