/* What gRPC needs of a proxy beyond HTTP/2 and trailers: its calls are streams that may be silent, and
 * its clients look at grpc-status, not at the status of HTTP. */
#ifndef TEMPS_PROXY_GRPC_H
#define TEMPS_PROXY_GRPC_H

#include "http/head.h"

/* A call or its response: content of type application/grpc, with or without a "+format". Not
 * grpc-web, which is HTTP/1 like any other. */
bool grpc_is(const struct head *h);
/* Adds grpc-status and grpc-message to a head or to trailers. <status> is HTTP's: 504 becomes
 * DEADLINE_EXCEEDED, all else UNAVAILABLE, which clients may retry. <why>: static, plain ASCII
 * without "%". */
void grpc_put_status(struct head *h, unsigned status, const char *why);

#endif
