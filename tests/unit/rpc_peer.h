/* The other side of the rpc tests: a small HTTP server on the same loop, plain, TLS or on a unix
 * socket, whose behaviour is chosen by the path. */
#ifndef TEMPS_TESTS_RPC_PEER_H
#define TEMPS_TESTS_RPC_PEER_H

#include "base/buf.h"
#include "reactor/listener.h"
#include "reactor/tls.h"

#define PEER_BIG_BYTES 400000

/*  /ok            200 "hello", kept alive
 *  /echo          200 with the request, head and body, as it came
 *  /big           200 with PEER_BIG_BYTES of peer_byte()
 *  /status/NNN    that status, no body
 *  /continue      100, then 200 "hello"
 *  /stall         never answers
 *  /dribble       a head and one byte, then silence
 *  /half          announces more than it sends, and closes
 *  /close         closes without an answer
 *  /reject        413 to a POST as soon as its head is there
 *  /once          the first request of a connection as /ok, the next as /close */
struct peer {
	struct loop *loop;
	struct listener *listener;
	struct tls_server *tls;		/* borrowed; NULL: plain */
	struct list conns;
	unsigned accepted, requests, handshakes_failed;
};

void peer_open(struct peer *p, struct loop *l, const char *ip, struct tls_server *tls);
void peer_open_unix(struct peer *p, struct loop *l, const char *path);
void peer_close(struct peer *p);
uint16_t peer_port(const struct peer *p);
char peer_byte(size_t at);

#endif
