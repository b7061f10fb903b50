/* Calls to a Docker Engine: where it listens, which version of its API to speak, and its errors in our terms. Knows nothing of
 * what the calls mean; engine*.c does. */
#ifndef TEMPS_AGENT_DOCKER_H
#define TEMPS_AGENT_DOCKER_H

#include "reactor/rpc.h"

struct docker;
struct docker_call;

/* The API version we know; spoken is the lower of this and the engine's own. */
#define DOCKER_API_MAJOR 1
#define DOCKER_API_MINOR 51
#define DOCKER_ENDLESS_MS 0x7fffffffu	/* idle limit of streams that may be silent for days */

/* <host>: "unix:///path", "tcp://address:port", "http://address:port"; NULL: $DOCKER_HOST, else unix:///var/run/docker.sock. <r> is borrowed. */
int docker_create(struct docker **out, struct loop *l, struct rpc *r, const char *host, struct err *err) MUST_CHECK;
/* Cancels what runs. NULL is fine. */
void docker_destroy(struct docker *d);
/* Where it is, for people. */
const char *docker_host(const struct docker *d);
/* "1.41" once it is known, else "". */
const char *docker_api_version(const struct docker *d);

struct docker_request {
	const char *method;
	const char *path;		/* "/containers/json?all=1": what follows the version. Copied */
	struct slice body;		/* JSON; copied */
	const char *registry_auth;	/* JSON for X-Registry-Auth, or NULL. Copied */
	uint32_t idle_timeout_ms;	/* 0 = 30 s */
	size_t max_response;		/* as in rpc_request */
};

struct docker_result {
	int rc;			/* as link_result.rc; 0 for 2xx and 304 */
	int status;		/* 0 when no answer came */
	struct slice body;	/* collected when ops->data was NULL */
	const char *error;	/* the engine's message, or why it was not reached */
	bool sent;
};

struct docker_ops {
	/* Contents of successful answers as they come, with the contract of rpc_ops.body. Optional. */
	size_t (*data)(void *arg, const char *p, size_t n);
	/* As rpc_ops.upload: an application/x-tar body. Optional. */
	ssize_t (*upload)(void *arg, char *p, size_t n);
	void (*done)(void *arg, const struct docker_result *res);
};

/* <ops> is borrowed for ever. <done> comes once, later, and never after docker_cancel(). Never NULL. */
struct docker_call *docker_begin(struct docker *d, const struct docker_request *req, const struct docker_ops *ops, void *arg);
void docker_resume(struct docker_call *c);
void docker_cancel(struct docker_call *c);	/* NULL is fine */

#endif
