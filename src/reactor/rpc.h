/* HTTP requests of our own: to agents, to the Docker Engine's unix socket, to a control plane.
 * libcurl's multi interface on the loop; names are resolved by c-ares first, never inside libcurl.
 * Off the hot path. */
#ifndef TEMPS_REACTOR_RPC_H
#define TEMPS_REACTOR_RPC_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "reactor/loop.h"

struct rpc;
struct rpc_call;

int rpc_create(struct rpc **out, struct loop *l, struct err *err) MUST_CHECK;
/* Cancels what runs; no callback is called any more. Callable from a done callback, not from head,
 * body or upload. NULL is fine. */
void rpc_destroy(struct rpc *r);

/* How to reach and trust the other side. Borrowed for the call to rpc_begin(). */
struct rpc_target {
	const char *unix_socket; /* NULL: by address */
	const char *ca_pem;	 /* trust this authority alone (text); NULL: the system's */
	const char *resolve_ip;	 /* connect to this literal address; NULL: resolve the host */
	bool ca_pem_and_system;	 /* with ca_pem: the system's roots are good too (join) */
	bool insecure;		 /* no verification: for the one fetch whose answer proves
				  * itself (join reads /api/internal/ca) */
};

#define RPC_CALLS_MAX 1024
/* For idle_timeout_ms: a stream that may be silent for hours. Keep-alive probes still find a
 * dead peer within a minute or so. */
#define RPC_FOREVER UINT32_MAX

struct rpc_request {
	const char *method;	     /* "GET", … */
	const char *url;	     /* absolute http:// or https:// URL, its parts escaped */
	const char *const *headers;  /* NULL-terminated "Name: value" lines, or NULL */
	struct slice body;	     /* copied; with upload == NULL only */
	uint32_t connect_timeout_ms; /* TCP and TLS together; 0 = 5 s */
	uint32_t idle_timeout_ms;    /* no byte either way for this long, once connected:
				      * -ETIMEDOUT; 0 = 30 s. Rests while our side pauses */
	uint32_t total_timeout_ms;   /* 0 = none (streams) */
	size_t max_response;	     /* collected bytes when ops->body is NULL; over it:
				      * -EMSGSIZE; 0 = 1 MiB */
	bool repeatable;	     /* may reach the other side twice: a kept connection will do.
				      * GET, HEAD, PUT and DELETE always are; other methods open
				      * their own connection without it, and uploads always */
};

struct rpc_result {
	int rc;		   /* 0: a whole response came, whatever its status */
	int status;	   /* HTTP status, 0 when none came */
	struct slice body; /* collected when ops->body was NULL; valid in the callback */
	const char *error; /* for people, never NULL; when rc != 0: "connect to
			    * 10.0.0.5:3100: Connection refused"; as long as <body> */
	bool sent;	   /* some of the request may have reached the other side */
};

struct rpc_ops {
	/* Every callback but done is optional. None is called from inside rpc_begin(), and none
	 * after done or rpc_cancel(). */
	void (*head)(void *arg, int status);
	/* Response bytes as they come; return how many were taken. Fewer than n: the call pauses
	 * until rpc_resume(), and the rest is offered again. */
	size_t (*body)(void *arg, const char *p, size_t n);
	/* Fill <p> with up to <n> bytes of the request body: >0; 0 at its end; -EAGAIN: nothing
	 * yet, call rpc_resume() later; another negative errno aborts the call. Present =
	 * chunked upload. */
	ssize_t (*upload)(void *arg, char *p, size_t n);
	void (*done)(void *arg, const struct rpc_result *res);
};

/* <ops> is borrowed for ever. Failures of any kind come through done, later; NULL only when the
 * cap of RPC_CALLS_MAX calls at once is reached (counted). The handle is valid until done
 * returns or rpc_cancel(). */
struct rpc_call *rpc_begin(struct rpc *r, const struct rpc_target *to,
			   const struct rpc_request *req, const struct rpc_ops *ops, void *arg);
void rpc_resume(struct rpc_call *c);
void rpc_cancel(struct rpc_call *c); /* NULL is fine; callable from any callback, its own too */

struct rpc_stats {
	uint64_t begun, failed, refused;
	uint32_t active;
};
struct rpc_stats rpc_stats(const struct rpc *r);

#endif
