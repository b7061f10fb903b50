/* What the files of rpc share: rpc.c lives a call's life, rpc_easy.c speaks to its curl handle,
 * rpc_multi.c drives curl from the loop. */
#ifndef TEMPS_REACTOR_RPC_INNER_H
#define TEMPS_REACTOR_RPC_INNER_H

#include <curl/curl.h>
#include <ev.h>

#include "reactor/deadline.h"
#include "reactor/dns.h"
#include "reactor/rpc.h"

struct rpc {
	struct loop *loop;
	CURLM *multi;
	ev_timer timer;		/* curl's next timeout */
	struct list sockets;
	struct dns *dns;
	struct list calls;
	struct rpc_stats stats;
};

enum call_state {
	CALL_RESOLVE,	/* waits for an address */
	CALL_QUEUED,	/* waits for its task to hand it to curl */
	CALL_RUNNING,
	CALL_ENDED,	/* the result is known; waits for its task to report it */
	CALL_GONE,	/* reported or cancelled; waits to be freed */
	CALL_STATES
};

struct rpc_call {
	struct list link;
	struct rpc *rpc;
	enum call_state state;
	const struct rpc_ops *ops;
	void *arg;

	CURL *easy;
	bool added;		/* curl's multi handle knows <easy> */
	struct curl_slist *headers, *connect_to;
	char curl_error[CURL_ERROR_SIZE];

	struct loop_task task;	/* everything that curl forbids inside its callbacks */
	struct loop_reap reap;
	struct dns_query *query;
	struct deadline idle, total;
	uint32_t idle_limit_ms;

	char *host;		/* without brackets; NULL with a unix socket */
	char *where;		/* for error texts: "10.0.0.5:3100" or a socket's path */
	struct buf body;	/* collected when nobody streams it */
	size_t skip;		/* bytes of what curl offers next that were taken already */
	uint64_t moved;		/* bytes either way, as curl counts them */
	bool head_seen;
	bool body_paused, upload_paused, resume;

	int rc, status;
	bool sent;
	char error[512];
};

/* rpc.c: ends the call with <rc> and a text; the first failure wins. Callable from curl's
 * callbacks. */
void call_fail(struct rpc_call *c, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* rpc.c: curl is through with it. */
void call_ended(struct rpc_call *c, CURLcode code);
/* rpc.c: a byte moved, or somebody may move one again. */
void call_touch(struct rpc_call *c);

/* rpc_easy.c: builds c->easy. On failure the call has ended. */
void easy_setup(struct rpc_call *c, const struct rpc_target *to, const struct rpc_request *req);
/* Connects to <ip> whatever the URL's host is; Host and SNI keep saying that host. */
void easy_connect_to(struct rpc_call *c, const char *ip);
/* Ends the call with the meaning of <code>. */
void easy_failed(struct rpc_call *c, CURLcode code);

/* rpc_multi.c */
int multi_open(struct rpc *r, struct err *err) MUST_CHECK;
void multi_close(struct rpc *r);
/* Not from inside a curl callback. */
void multi_add(struct rpc_call *c);
void multi_remove(struct rpc_call *c);

#endif
