/* `temps join`: registers this machine as a worker and writes agent.json. */
#ifndef TEMPS_AGENT_JOIN_H
#define TEMPS_AGENT_JOIN_H

#include <stdint.h>

/* What the command line said; NULL where it said nothing. */
struct join_options {
	const char *url;		/* of the control plane: https://…, or http:// to a loopback address */
	const char *token;		/* <64 hex fingerprint>.<64 hex secret>, or the bare secret */
	const char *private_address;	/* literal address the control plane reaches this machine by */
	const char *name;		/* NULL: the host name */
	const char *labels;		/* "region=eu-west,gpu=true" */
	const char *tags;		/* "gpu,large-memory": labels with the value true */
	const char *region;		/* the label region */
	int64_t cpu_cores, memory_gb, disk_gb;	/* 0: what is found */
	int64_t gpus;			/* -1: what is found */
	const char *agent_address;	/* where the agent will listen; NULL: 0.0.0.0:3100 */
};

/* Blocks until the control plane has answered. Returns the process's exit status: 0 registered and agent.json written (says so on standard
 * output), 1 refused or failed (the cause on standard error; no file is written or changed), 2 an argument is wrong. */
int join_run(const struct join_options *o);

#endif
