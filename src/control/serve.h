/* `temps serve`: the control plane and its front door in one process, from a checked set of options
 * to a drained exit. */
#ifndef TEMPS_CONTROL_SERVE_H
#define TEMPS_CONTROL_SERVE_H

#include "agent/node_says.h"
#include "base/base.h"
#include "http/server.h"

struct serve_cert {
	const char *cert_file, *key_file;	/* PEM: chain with the leaf first, and its key */
};

/* What the command line and the configuration file said. Everything is borrowed and must outlive
 * serve_run(); lists are NULL-terminated, and NULL stands for an empty one. Start from
 * serve_options_default(). */
struct serve_options {
	/* the command line as it was, NULL-terminated: a hot upgrade runs it again */
	char *const *argv;
	/* plain listeners, "127.0.0.1:8080"; port 0 lets the kernel choose */
	const char *const *addresses;
	const char *const *tls_addresses;	/* TLS listeners */
	/* the administrator's certificates, exact and wildcard names */
	const struct serve_cert *certs;
	size_t ncerts;
	/* the name the API answers on beside addresses and localhost; NULL: none */
	const char *console_host;
	const char *data_dir;			/* made when missing, 0700 */
	/* "unix:///…" or "tcp://…"; NULL: the usual socket; "none": run no containers here */
	const char *docker_host;
	struct node_says node;	/* of this machine as a node */
	const char *access_log;			/* file, "-" for standard output; NULL: none */
	bool access_log_json;
	/* receives {"http":[…],"https":[…],"pid":n} once requests are accepted; NULL: none */
	const char *ready_file;
	uint32_t heartbeat_interval_s;		/* what agents are told; 30 */
	uint32_t offline_after_s; /* no authenticated exchange for this long: offline; 90 */
	/* ranges "10.0.0.0/8" whose forwarding fields are believed */
	const char *const *trusted_proxies;
	/* of the bridge network `temps` on this machine; 10.213.0.0/16 */
	const char *network_subnet;
	const char *network_name; /* NULL: "temps"; "temps-ID" when <cluster_id> is given */
	/* first start only: the new cluster's id (tests); NULL: made up. A later start with another
	 * one is refused */
	const char *cluster_id;
	uint32_t drain_limit_s;			/* at SIGTERM: connections are cut after this; 30 */
	uint32_t request_drain_s; /* a replica going away: requests are cut after this; 300 */
	uint32_t tunnel_drain_s;		/* the same for tunnels and event streams; 30 */
	/* what a client connection may do and how long; fewer than max_connections (10,000) when the
	 * limit of open files does not allow as many */
	struct server_config connections;
};

/* The defaults above; lists empty, data_dir NULL. */
void serve_options_default(struct serve_options *o);

/* Runs until SIGTERM or SIGINT and returns the process's exit status: 0 after a drained stop, 1
 * when it could not start; then one line on standard error names the thing and what to do, and
 * nothing was left half started. SIGUSR2 begins a hot upgrade, see upgrade.h; a process that has been
 * taken over drains and returns 0. SIGHUP reads the certificates again (all or nothing) and reopens
 * logs. The first start with a data directory prints "admin key: …" once, on standard output. */
int serve_run(const struct serve_options *o);

#endif
