/* temps agent and temps join: this machine as a worker. */
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/join.h"
#include "cli/cli.h"
#include "cli/commands.h"

static int agent(struct cli *c, int argc, char **argv)
{
	struct agent_options o = { 0 };
	const struct opt opts[] = {
		{ "listen-address", "A:P", OPT_TEXT, &o.listen_address, "where the agent listens (0.0.0.0:3100)", 0, 0, false },
		{ "token", "TOKEN|-", OPT_TEXT, &o.token, "what the control plane authenticates with", 0, 0, true },
		{ "node-name", "NAME", OPT_TEXT, &o.node_name, "this node's name", 0, 0, false },
		{ "control-plane-url", "URL", OPT_TEXT, &o.control_plane_url, "the control plane", 0, 0, false },
		{ "node-id", "ID", OPT_TEXT, &o.node_id, "this node's id, from its registration", 0, 0, false },
		{ "docker-host", "URL", OPT_TEXT, &o.docker_host, "the Docker Engine", 0, 0, false },
		{ "ready-file", "FILE", OPT_TEXT, &o.ready_file, "write the bound address there once requests are accepted", 0, 0, false },
		{ 0 },
	};
	int code = cli_parse(c, argc, argv, opts, 0, 0);

	return code >= 0 ? code : agent_run(&o);
}

static int join(struct cli *c, int argc, char **argv)
{
	struct join_options o = { .node.gpus = -1 };
	const char *from_env = getenv("TEMPS_JOIN_TOKEN");
	char *secret;
	const struct opt opts[] = {
		{ "private-address", "IP", OPT_TEXT, &o.private_address, "where the control plane reaches this machine", 0, 0, false },
		{ "name", "NAME", OPT_TEXT, &o.name, "this node's name (the host name)", 0, 0, false },
		OPT_NODE(o.node),
		{ "agent-address", "A:P", OPT_TEXT, &o.agent_address, "where the agent will listen (0.0.0.0:3100)", 0, 0, false },
		{ 0 },
	};
	int code = cli_parse(c, argc, argv, opts, 1, 2);

	if (code >= 0)
		return code;
	if (!argv[1] && !from_env)
		return cli_usage(c, "no token: give it after the URL ('-' reads standard input) or in TEMPS_JOIN_TOKEN");
	secret = argv[1] ? cli_secret(argv[1], "token") : xstrdup(from_env);
	if (!secret)
		return EXIT_USAGE;
	o.url = argv[0];
	o.token = secret;
	code = join_run(&o);
	explicit_bzero(secret, strlen(secret));
	free(secret);
	return code;
}

const struct command command_agent = { "agent", "[options]", "Run this machine's worker", agent };
const struct command command_join = { "join", "URL TOKEN|- --private-address IP [options]", "Make this machine a worker", join };
