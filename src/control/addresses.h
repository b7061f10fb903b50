/* The addresses of listeners: which of them clients can reach, and what to tell people to use. */
#ifndef TEMPS_CONTROL_ADDRESSES_H
#define TEMPS_CONTROL_ADDRESSES_H

#include "base/text.h"

struct control;

/* Literal addresses under which listeners at <list> ("0.0.0.0:443") can be reached: a wildcard
 * stands for every interface's. NULL-terminated, to be released with addresses_free(). */
char **addresses_reachable(const char *const *list);
void addresses_free(char **ips);
bool addresses_all_loopback(const struct addr *list, size_t n);
/* The URL for `temps join`: the console host, or the first TLS listener by an address that other
 * machines can use, if there is one. */
void addresses_join_url(const struct control *c, char *out, size_t size);

#endif
