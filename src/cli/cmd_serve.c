/* temps serve: the control plane and its front door. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "control/serve.h"

struct serve_args {
	struct opt_list addresses, tls_addresses, certs, keys, trusted_proxies, proxy_senders;
	const char *console_host, *docker_host, *config, *access_log, *access_log_format, *ready_file;
	const char *network_subnet, *network_name, *cluster_id;
	uint64_t heartbeat_ms, offline_ms, drain_ms, request_drain_ms, tunnel_drain_ms;
	uint64_t head_ms, idle_ms, body_ms, write_ms, tunnel_idle_ms;
	int64_t max_connections, max_per_address, max_tunnels_per_address, min_rate;
	bool no_access_log, h2c;
	struct node_says node;
};

/* Root has the well-known ports; anyone else gets ports that need no privilege, on loopback. */
static void default_addresses(struct serve_args *a)
{
	bool root = geteuid() == 0;

	if (a->addresses.n || a->tls_addresses.n)
		return;
	a->addresses.at[a->addresses.n++] = root ? "0.0.0.0:80" : "127.0.0.1:8080";
	a->tls_addresses.at[a->tls_addresses.n++] = root ? "0.0.0.0:443" : "127.0.0.1:8443";
}

/* Under systemd the journal takes the access log unless told otherwise. */
static const char *default_access_log(void)
{
	return getenv("JOURNAL_STREAM") ? "-" : NULL;
}

static int check(const struct cli *c, const struct serve_args *a)
{
	const char *format = a->access_log_format;
	struct pairs labels = { 0 };
	struct err err;
	int rc = node_says_labels(&a->node, &labels, &err);

	pairs_fini(&labels);
	if (rc)
		return cli_usage(c, "%s", err.text);
	if (a->certs.n != a->keys.n)
		return cli_usage(c, "each --cert needs its --key: %zu and %zu were given", a->certs.n, a->keys.n);
	if (format && strcmp(format, "json") && strcmp(format, "text"))
		return cli_usage(c, "--access-log-format: expected json or text, got %s", format);
	if (a->access_log && a->no_access_log)
		return cli_usage(c, "--access-log and --no-access-log exclude each other");
	if (a->heartbeat_ms && a->offline_ms && a->offline_ms < 2 * a->heartbeat_ms)
		return cli_usage(c, "--offline-after must be at least twice --heartbeat-interval");
	return -1;
}

static void set_ms(uint32_t *to, uint64_t ms)
{
	if (ms)
		*to = (uint32_t)MIN(ms, UINT32_MAX);
}

static void set_connections(struct server_config *to, const struct serve_args *a)
{
	set_ms(&to->head_timeout_ms, a->head_ms);
	set_ms(&to->idle_timeout_ms, a->idle_ms);
	set_ms(&to->body_timeout_ms, a->body_ms);
	set_ms(&to->write_timeout_ms, a->write_ms);
	set_ms(&to->tunnel_idle_ms, a->tunnel_idle_ms);
	if (a->max_connections)
		to->max_connections = (uint32_t)a->max_connections;
	if (a->max_per_address)
		to->max_per_address = (uint32_t)a->max_per_address;
	if (a->max_tunnels_per_address)
		to->max_tunnels_per_address = (uint32_t)a->max_tunnels_per_address;
	if (a->min_rate)
		to->min_rate = (uint32_t)a->min_rate;
}

static int run(struct cli *c, struct serve_args *a)
{
	struct serve_cert certs[OPT_LIST_MAX];
	struct serve_options o;

	serve_options_default(&o);
	o.argv = c->argv;
	default_addresses(a);
	for (size_t i = 0; i < a->certs.n; i++)
		certs[i] = (struct serve_cert){ a->certs.at[i], a->keys.at[i] };
	o.addresses = a->addresses.at;
	o.tls_addresses = a->tls_addresses.at;
	o.certs = certs;
	o.ncerts = a->certs.n;
	o.trusted_proxies = a->trusted_proxies.at;
	o.connections.proxy_senders = a->proxy_senders.at;
	o.connections.h2c = a->h2c;
	o.console_host = a->console_host;
	o.data_dir = cli_data_dir(c);
	o.docker_host = a->docker_host;
	o.node = a->node;
	o.access_log = a->no_access_log ? NULL : a->access_log ? a->access_log : default_access_log();
	o.access_log_json = a->access_log_format && !strcmp(a->access_log_format, "json");
	o.ready_file = a->ready_file;
	o.cluster_id = a->cluster_id;
	if (a->network_subnet)
		o.network_subnet = a->network_subnet;
	if (a->network_name)
		o.network_name = a->network_name;
	if (a->heartbeat_ms)
		o.heartbeat_interval_s = (uint32_t)(a->heartbeat_ms / 1000);
	if (a->offline_ms)
		o.offline_after_s = (uint32_t)(a->offline_ms / 1000);
	if (a->drain_ms)
		o.drain_limit_s = (uint32_t)(a->drain_ms / 1000);
	if (a->request_drain_ms)
		o.request_drain_s = (uint32_t)(a->request_drain_ms / 1000);
	if (a->tunnel_drain_ms)
		o.tunnel_drain_s = (uint32_t)(a->tunnel_drain_ms / 1000);
	set_connections(&o.connections, a);
	return serve_run(&o);
}

static int serve(struct cli *c, int argc, char **argv)
{
	struct serve_args a = { .node.gpus = -1 };
	const struct opt opts[] = {
		{ "address", "A:P", OPT_LIST, &a.addresses, "listen for HTTP", 0, 0, false },
		{ "tls-address", "A:P", OPT_LIST, &a.tls_addresses, "listen for HTTPS", 0, 0, false },
		{ "cert", "PEM", OPT_LIST, &a.certs, "a certificate chain, leaf first", 0, 0, false },
		{ "key", "PEM", OPT_LIST, &a.keys, "its key, in the same order", 0, 0, false },
		{ "console-host", "NAME", OPT_TEXT, &a.console_host, "the host name of the API", 0, 0, false },
		{ "docker-host", "URL", OPT_TEXT, &a.docker_host, "the Docker Engine; 'none' runs nothing here", 0, 0, false },
		OPT_NODE(a.node),
		{ "config", "FILE", OPT_TEXT, &a.config, "read these options from a file too, see temps.conf(5)", 0, 0, false },
		{ "access-log", "FILE", OPT_TEXT, &a.access_log, "log each request; - is standard output", 0, 0, false },
		{ "no-access-log", NULL, OPT_FLAG, &a.no_access_log, "log no request, under systemd too", 0, 0, false },
		{ "access-log-format", "FORM", OPT_TEXT, &a.access_log_format, "text or json (text)", 0, 0, false },
		{ "ready-file", "FILE", OPT_TEXT, &a.ready_file, "write the bound addresses there once requests are accepted", 0, 0, false },
		{ "heartbeat-interval", "TIME", OPT_DURATION, &a.heartbeat_ms, "how often agents report (30s)", 0, 0, false },
		{ "offline-after", "TIME", OPT_DURATION, &a.offline_ms, "a node unheard of for this long is offline (90s)", 0, 0, false },
		{ "trusted-proxy", "RANGE", OPT_LIST, &a.trusted_proxies, "believe forwarding fields from there", 0, 0, false },
		{ "h2c", NULL, OPT_FLAG, &a.h2c, "take HTTP/2 in clear text from who begins with it", 0, 0, false },
		{ "proxy-protocol", "RANGE", OPT_LIST, &a.proxy_senders, "expect PROXY headers from there", 0, 0, false },
		{ "network-subnet", "RANGE", OPT_TEXT, &a.network_subnet, "of the bridge network on this machine (10.213.0.0/16)", 0, 0, false },
		{ "network-name", "NAME", OPT_TEXT, &a.network_name, "its name (temps)", 0, 0, false },
		{ "cluster-id", "ID", OPT_TEXT, &a.cluster_id, "of a new cluster; made up by default", 0, 0, false },
		{ "drain-limit", "TIME", OPT_DURATION, &a.drain_ms, "at SIGTERM, cut connections after (30s)", 0, 0, false },
		{ "request-drain", "TIME", OPT_DURATION, &a.request_drain_ms, "cut an old replica's requests after (5m)", 0, 0, false },
		{ "tunnel-drain", "TIME", OPT_DURATION, &a.tunnel_drain_ms, "the same for its tunnels (30s)", 0, 0, false },
		{ "max-connections", "N", OPT_COUNT, &a.max_connections, "client connections at once (10000)", 16, 1000000, false },
		{ "max-per-address", "N", OPT_COUNT, &a.max_per_address, "of them from one address (4096)", 1, 1000000, false },
		{ "max-tunnels-per-address", "N", OPT_COUNT, &a.max_tunnels_per_address, "WebSockets and other tunnels of one address (1024)", 1, 1000000, false },
		{ "head-timeout", "TIME", OPT_DURATION, &a.head_ms, "a request's head must be there within (10s)", 0, 0, false },
		{ "idle-timeout", "TIME", OPT_DURATION, &a.idle_ms, "close a connection without a request after (75s)", 0, 0, false },
		{ "body-timeout", "TIME", OPT_DURATION, &a.body_ms, "give up on content that stops for (30s)", 0, 0, false },
		{ "write-timeout", "TIME", OPT_DURATION, &a.write_ms, "give up on a client that takes nothing for (30s)", 0, 0, false },
		{ "min-rate", "N", OPT_COUNT, &a.min_rate, "give up on a client below so many bytes a second, averaged over these (512)", 1, 1000000, false },
		{ "tunnel-idle", "TIME", OPT_DURATION, &a.tunnel_idle_ms, "close a tunnel without a byte after (1h)", 0, 0, false },
		{ 0 },
	};
	int code = cli_parse(c, argc, argv, opts, 0, 0);

	if (code < 0 && a.config)
		code = cli_read_config(c, a.config, opts);
	if (code < 0)
		code = check(c, &a);
	return code < 0 ? run(c, &a) : code;
}

const struct command command_serve = { "serve", "[options]", "Run the control plane and its front door", serve };
