/* The table behind route.h: host → path prefixes → target, made for a million hosts. Pure: no
 * loop, no sockets; includes base only. */
#ifndef TEMPS_PROXY_TABLE_H
#define TEMPS_PROXY_TABLE_H

#include "proxy/hosts.h"

#define TABLE_HOST_MAX 253 /* bytes of a host name (RFC 1035 §2.3.4, without the trailing dot) */
#define TABLE_PATH_MAX 1024

/* What a route leads to; embedded in its owner. When it goes its routes count as absent and
 * their entries go when something touches them, so that taking an owner away costs nothing per
 * route. The owner's memory stays until <routes> is 0. */
struct route_target {
	uint32_t routes;			/* entries that point here */
	bool dead;				/* by table_kill() */
	void (*unused)(struct route_target *t); /* dead, and the last entry has gone; called from
						   inside a table function */
};

struct table {
	struct hosts hosts;
	uint32_t wildcards; /* hosts that start with "*.": without any there is no second look */
	uint32_t routes;    /* living ones */
};

void table_init(struct table *t, const struct hash_key *key);
void table_fini(struct table *t);
/* <host> is lower case, maybe "*.example.test"; <path> starts with '/'. Neither is kept.
 * -EEXIST: a living target has it; -ENOSPC: the table has its HOSTS_MAX. */
int table_add(struct table *t, struct slice host, struct slice path,
	      struct route_target *target) MUST_CHECK;
/* All routes to <target> count as absent from now on; O(1). */
void table_kill(struct table *t, struct route_target *target);
/* -ENOENT. */
int table_remove(struct table *t, struct slice host, struct slice path);
/* Exactly this entry, or NULL. Valid until the next change. */
struct route *table_entry(const struct table *t, struct slice host, struct slice path);
/* The route for a request: exact host, then the wildcard one label up; the longest path prefix
 * of whole segments; what follows '?' in <path> does not count. <host> is folded and ours to
 * write in (the first label is overwritten). NULL: nobody serves it. */
struct route *table_find(const struct table *t, char *host, size_t host_n, struct slice path);
/* Does a living route exist for this (folded, writable) host, whatever the path? */
bool table_has_host(const struct table *t, char *host, size_t host_n);

/* Folds the host of an authority ("Example.Test.:8080") into out[TABLE_HOST_MAX + 1]: lower
 * case, without port and trailing dot. Returns its length; 0: empty or too long for any route. */
size_t host_fold(struct slice authority, char *out);

#endif
