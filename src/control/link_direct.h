/* The link to a node whose agent we can call: HTTPS, trusting the cluster CA alone, with the node's
 * own token. */
#ifndef TEMPS_CONTROL_LINK_DIRECT_H
#define TEMPS_CONTROL_LINK_DIRECT_H

#include "agent/link.h"
#include "reactor/rpc.h"

struct direct_config {		/* texts are copied */
	struct loop *loop;
	struct rpc *rpc;
	const char *address;	/* "https://10.0.0.5:3100" */
	const char *ca_pem;	/* the cluster CA; borrowed for as long as the link lives */
	const char *token;
	/* The agent answered us: an authenticated exchange, whatever it said. Not from inside a
	 * call into the link. */
	void (*exchange)(void *arg);
	void *arg;
};

/* Released with its own destroy(), which cancels what runs. */
struct link *link_direct_create(const struct direct_config *c);

#endif
