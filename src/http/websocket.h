/* What both sides of HTTP/2 need to speak for a WebSocket of HTTP/1.1. */
#ifndef TEMPS_HTTP_WEBSOCKET_H
#define TEMPS_HTTP_WEBSOCKET_H

#include "base/slice.h"

#define WEBSOCKET_ACCEPT_BYTES 28

/* Sec-WebSocket-Accept to a Sec-WebSocket-Key (RFC 6455 section 4.2.2), terminated. */
void websocket_accept(struct slice key, char out[WEBSOCKET_ACCEPT_BYTES + 1]);

#endif
