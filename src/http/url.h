/* Percent-encoding and query strings (RFC 3986 §2.1, §3.4). */
#ifndef TEMPS_HTTP_URL_H
#define TEMPS_HTTP_URL_H

#include "base/slice.h"

/* Decodes into out[0..size) and adds a NUL; '+' stays '+'. <*n> is the length. -EINVAL: a broken
 * escape, %00 or a raw NUL; -ENAMETOOLONG. <out> may be the very bytes of <in>, if one more follows
 * them. */
int url_decode(struct slice in, char *out, size_t size, size_t *n) MUST_CHECK;
/* The byte that the escape ("%2f") at the beginning of <in> stands for; false: there is none. */
bool url_decode_byte(struct slice in, char *c);
/* The raw value of the first parameter called <name> in a query without '?': -ENOENT. A name
 * without '=' has an empty value. */
int url_query(struct slice query, struct slice name, struct slice *value) MUST_CHECK;
/* Splits a request target at its first '?'; <query> is empty when there is none. */
void url_split(struct slice target, struct slice *path, struct slice *query);

#endif
