/* `temps join`: registers this machine as a worker and writes agent.json. */
#ifndef TEMPS_AGENT_JOIN_H
#define TEMPS_AGENT_JOIN_H

#include "agent/node_says.h"

/* What the command line said; NULL where it said nothing. */
struct join_options {
	const char *url;		/* of the control plane: https://…, or http:// to a loopback address */
	const char *token;		/* <64 hex fingerprint>.<64 hex secret>, or the bare secret */
	const char *private_address;	/* literal address the control plane reaches this machine by */
	const char *name;		/* NULL: the host name */
	struct node_says node;
	const char *agent_address;	/* where the agent will listen; NULL: 0.0.0.0:3100 */
};

/* Blocks until the control plane has answered. Returns the process's exit status: 0 registered and agent.json written (says so on standard
 * output), 1 refused or failed (the cause on standard error; no file is written or changed), 2 an argument is wrong. */
int join_run(const struct join_options *o);

#endif
