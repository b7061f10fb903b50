/* Keeping a client at its endpoint by a cookie (policy "sticky"). The cookie's value is a keyed hash
 * of the endpoint: it shows no address, and nobody can make one for an endpoint that he was not
 * sent to. It means the same after a restart if front_config.sticky_key does. Like any other cookie
 * it is passed on to the endpoint. */
#ifndef TEMPS_PROXY_STICKY_H
#define TEMPS_PROXY_STICKY_H

#include "http/head.h"

struct endpoint;
struct front;
struct relay;

/* What names <e>, which has its address and identity. */
uint64_t sticky_id(const struct front *f, const struct endpoint *e);
/* The first cookie <name> of <req> with a value that could be ours. False: there is none. */
bool sticky_read(const struct head *req, struct slice name, uint64_t *id);
/* The endpoint that the request's cookie names, when it takes this request: in routing, whatever it
 * weighs, below its limit, not tried yet. NULL: another one has to. */
struct endpoint *sticky_pick(struct relay *r);
/* Adds the cookie to the response when the one the request came with does not name its endpoint, or
 * names one that is merely at its limit. The text is valid until the next call. */
void sticky_answer(struct relay *r, struct head *out);

#endif
