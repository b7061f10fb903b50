/* The control plane's root: what every file of src/control may reach. Made by serve.c, filled in
 * start order, read by the rest. */
#ifndef TEMPS_CONTROL_CONTROL_H
#define TEMPS_CONTROL_CONTROL_H

#include "agent/engine.h"
#include "control/authority.h"
#include "control/cert_store.h"
#include "control/certs.h"
#include "control/serve.h"
#include "http/reply.h"
#include "http/server.h"
#include "proxy/front.h"
#include "reactor/rpc.h"
#include "reactor/work.h"
#include "sched/cluster.h"
#include "store/store.h"

struct dataplane;
struct deployer;
struct events;
struct links;
struct local;
struct logs;
struct predecessors;
struct takeover;
struct upgrade;

#define SERVE_LISTENERS_MAX 64
#define CLUSTER_ID_MAX 20	/* characters; it begins every container's name */

struct control {
	const struct serve_options *options;
	struct loop *loop;
	struct work *work;
	struct rpc *rpc;
	struct store *store;
	struct front *front;
	struct server *server;
	struct tls_server *tls;
	struct api *api;
	struct authority cluster_ca, front_ca;
	struct cert_store *cert_store;
	struct certs *certs;
	struct events *events;
	struct dataplane *dataplane;
	struct links *links;
	struct local *local;		/* this machine's engine */
	struct logs *logs;		/* log streams that clients read */
	struct deployer *deployer;	/* owns the cluster */
	struct takeover *takeover; /* while it begins, from the process before it; NULL: from nobody */
	struct predecessors *predecessors;
	struct upgrade *upgrade;
	uint8_t seal_key[32];		/* of node tokens and registry passwords at rest */
	char cluster_id[CLUSTER_ID_MAX + 1];
	struct pairs local_labels;	/* of this machine as a node */
	char network_name[64];		/* of the bridge network of local's containers */
	bool fresh;			/* this is the cluster's first start */
	bool keyed;			/* the first admin key was made */
	uint64_t started_ms;
	struct addr http[SERVE_LISTENERS_MAX], https[SERVE_LISTENERS_MAX];	/* as bound */
	size_t http_n, https_n;
	uint16_t https_port;		/* of the first TLS listener; 0: none */
	uint32_t connections_max;	/* client connections; less than asked for when files are short */
	bool loopback_only;		/* every listener is on a loopback address */
	bool ready, stopping;
	uint32_t scrapes;	/* answers of /metrics and /api/top under way */
	char join_url[300];		/* for people: "https://10.0.0.1:8443" */
	struct buf ca_answer;		/* of GET /api/internal/ca, made at start */
};

#endif
