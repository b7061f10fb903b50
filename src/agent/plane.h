/* Calls from a node to its control plane: where it is, whom to trust, what to say who we are. */
#ifndef TEMPS_AGENT_PLANE_H
#define TEMPS_AGENT_PLANE_H

#include "base/json.h"
#include "reactor/rpc.h"

struct plane {
	struct rpc *rpc;	/* borrowed */
	char *url;		/* without a slash at its end */
	char *ca_pem;		/* trusted beside the system's roots; NULL */
	char *authorization;	/* a whole header line; NULL */
	bool insecure;		/* as in rpc_target, for one call */
};

/* https://…, or http:// to a loopback address or localhost, since tokens travel over it. -EINVAL says so. */
int plane_check_url(const char *url, struct err *err) MUST_CHECK;
/* Copies its texts; <token> and <ca_pem> may be NULL. */
void plane_init(struct plane *p, struct rpc *r, const char *url, const char *ca_pem, const char *token);
void plane_fini(struct plane *p);

/* JSON in <body> when it is not empty. <ops> as in rpc_begin(), whose answer this is; NULL at its cap. */
struct rpc_call *plane_begin(struct plane *p, const char *method, const char *path, struct slice body, const struct rpc_ops *ops,
			     void *arg);
/* 0 for a 2xx with its JSON in <*out> (the caller's to free). Else a negative errno, with the cause for people: the problem's title and
 * detail, or why the control plane was not reached. -EACCES 401 and 403, -ENOENT 404, -EEXIST 409, -EINVAL other 4xx, -EIO 5xx. */
int plane_answer(const struct rpc_result *res, struct json **out, struct err *err) MUST_CHECK;

#endif
