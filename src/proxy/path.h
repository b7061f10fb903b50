/* Paths as a server behind may read them. Pure. */
#ifndef TEMPS_PROXY_PATH_H
#define TEMPS_PROXY_PATH_H

#include "http/head.h"

/* <path> without its query, percent-encoding decoded, "." and ".." resolved and doubled slashes
 * merged (RFC 3986 §6.2.2): for choosing a route, so that "/a/../b" or "/%62" goes where "/b" goes
 * and meets the policies that "/b" meets. What is sent upstream stays as it came. Writes to
 * out[HEAD_MAX_TARGET] only if there is something to change; else it is <path> itself, query and
 * all. */
struct slice path_plain(struct slice path, char *out);

#endif
