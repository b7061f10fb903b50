/* `temps agent`: the worker's process, from a checked set of options to a clean stop. */
#ifndef TEMPS_AGENT_AGENT_H
#define TEMPS_AGENT_AGENT_H

/* What the command line said; NULL where it said nothing. agent_run() itself adds the environment (TEMPS_AGENT_ADDRESS,
 * TEMPS_AGENT_TOKEN, TEMPS_NODE_NAME, TEMPS_CONTROL_PLANE_URL, TEMPS_NODE_ID) and agent.json, in that order of precedence. */
struct agent_options {
	const char *listen_address;	/* "0.0.0.0:3100"; port 0 lets the kernel choose */
	const char *token;		/* the node's bearer token */
	const char *node_name;
	const char *control_plane_url;
	const char *node_id;		/* decimal */
	const char *docker_host;	/* as engine_config has it */
	const char *ready_file;		/* receives {"https":["127.0.0.2:3100"],"pid":n} once requests are accepted */
};

/* Runs until SIGTERM or SIGINT and returns the process's exit status: 0 after a clean stop, 1 when it could not start; then one
 * line on standard error names the cause and what to do. */
int agent_run(const struct agent_options *o);

#endif
