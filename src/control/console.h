/* Who answers a request: the API or the front door. The handler of every listener. */
#ifndef TEMPS_CONTROL_CONSOLE_H
#define TEMPS_CONTROL_CONSOLE_H

#include "http/exchange.h"

/* An exchange_handler's request function; <arg> is the struct control. The unix socket is the
 * API's. Elsewhere the console host, bare IP addresses and localhost are the API's, whatever is
 * routed, over plain HTTP for loopback clients only; every other host is the front door's. */
void console_request(void *arg, struct exchange *x);

/* Does this host name the console? <console_host> may be NULL. Case is folded; no port; a v6
 * literal has its brackets. */
bool console_is_host(struct slice host, const char *console_host);
/* The same for "host" or "host/path" of a route: who may write routes must not get the keys that
 * people send to the console. */
bool console_owns(struct slice domain, const char *console_host);

#endif
