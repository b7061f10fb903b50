/* The agent's process: root of everything it has, and the order in which it starts and stops. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/credential.h"
#include "agent/heartbeat.h"
#include "agent/log_store.h"
#include "agent/register.h"
#include "agent/server.h"
#include "agent/settings.h"
#include "base/config.h"
#include "base/log.h"
#include "http/server.h"
#include "reactor/deadline.h"
#include "reactor/notify.h"

#define MAX_CONNECTIONS 512
#define MAX_PER_ADDRESS 128	/* one neighbour cannot fill the table, and a control plane may be busy */
#define DRAIN_MS 5000
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 30000
#define WORK_QUEUE_MAX 256	/* jobs of logs that are kept and read */
#define DISK_PATH "/var/lib/docker"

enum agent_state {
	AGENT_IDENTIFY,		/* which cluster is this node in? Only when no agent.json says */
	AGENT_CREDENTIAL,	/* waiting for a certificate */
	AGENT_SERVING,
	AGENT_STOPPING,
	AGENT_STATES
};

#define TO(s) (1u << AGENT_##s)
static const struct {
	const char *name;
	unsigned next;
} states[AGENT_STATES] = {
	[AGENT_IDENTIFY] = { "identify", TO(CREDENTIAL) | TO(STOPPING) },
	[AGENT_CREDENTIAL] = { "credential", TO(SERVING) | TO(STOPPING) },
	[AGENT_SERVING] = { "serving", TO(STOPPING) },
	[AGENT_STOPPING] = { "stopping", 0 },
};

struct agent {
	const struct agent_options *o;
	enum agent_state state;
	struct settings settings;
	char *path;			/* of agent.json */
	bool has_file;
	struct loop *loop;
	struct rpc *rpc;
	struct plane plane;
	struct credential *credential;
	struct work *work;
	struct log_store *logs;		/* NULL: none are kept */
	struct engine *engine;
	struct metrics *metrics;
	struct inventory *inventory;
	struct heartbeat *heartbeat;
	struct agent_server *api;
	struct tls_server *tls;
	struct server *server;
	struct rpc_call *call;		/* identify, then register */
	struct deadline retry;		/* the same, once more */
	uint32_t retry_ms;
	struct addr bound;
	struct err err;			/* why it ends */
	bool failed;
};

static void set_state(struct agent *a, enum agent_state next)
{
	assert(states[a->state].next & (1u << next));
	log_debug("agent %s -> %s", states[a->state].name, states[next].name);
	a->state = next;
}

static void give_up(struct agent *a)
{
	a->failed = true;
	set_state(a, AGENT_STOPPING);
	loop_stop(a->loop);
}

static void try_again(struct agent *a, const char *what, const char *why)
{
	a->retry_ms = MIN(MAX(a->retry_ms * 2, RETRY_MIN_MS), RETRY_MAX_MS);
	log_warn("%s: %s; next attempt in %u s", what, why, a->retry_ms / 1000);
	deadline_set(&a->retry, a->retry_ms);
}

static bool differ(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") != 0;
}

static bool is_news(const struct agent *a, const struct settings *file)
{
	return differ(a->settings.cert_pem, file->cert_pem) ||
	       differ(a->settings.address, file->address);
}

/* What was learned goes into the file it came from; flags and environment stay what they are, one process's. */
static void save(struct agent *a)
{
	struct settings file;
	struct err err = { 0 };
	int rc;

	if (!a->has_file)
		return;
	rc = settings_read(&file, a->path, &err);
	if (!rc && file.has_node_id && file.node_id == a->settings.node_id && is_news(a, &file)) {
		settings_set(&file.cert_pem, a->settings.cert_pem);
		settings_set(&file.key_pem, a->settings.key_pem);
		settings_set(&file.ca_cert_pem, a->settings.ca_cert_pem);
		settings_set(&file.address, a->settings.address);
		rc = settings_write(&file, a->path, &err);
	}
	if (rc)
		log_warn("what the control plane gave is not kept: %s", err.text);
	settings_fini(&file);
}

/* --- the address we are called by: told again when it is not the one that was registered --- */

static void send_registration(struct agent *a);

static void on_registered(void *arg, const struct rpc_result *res)
{
	struct agent *a = arg;
	struct err err = { 0 };
	struct json *j;
	int rc = plane_answer(res, &j, &err);

	a->call = NULL;
	json_free(j);
	if (rc && (res->rc || res->status >= 500)) {
		try_again(a, "registration", err.text);
		return;
	}
	a->retry_ms = 0;
	if (rc) {
		log_error("registration of %s: %s: the control plane may not reach this agent",
			  a->settings.address, err.text);
		return;
	}
	log_info("registered as %s", a->settings.address);
	save(a);
	heartbeat_nudge(a->heartbeat);
}

static void send_registration(struct agent *a)
{
	static const struct rpc_ops ops = { .done = on_registered };
	struct buf body;

	buf_init(&body, 0);
	register_body(&a->settings, NULL, a->settings.token, NULL, &body);
	a->call = plane_begin(&a->plane, "POST", "/api/internal/nodes/register", buf_slice(&body),
			      &ops, a);
	if (!a->call)
		try_again(a, "registration", "too many calls at once");
	buf_fini(&body);
}

static void check_address(struct agent *a)
{
	char *now = register_address(a->bound.text, a->settings.private_address);

	if (now && a->settings.private_address &&
	    (!a->settings.address || strcmp(now, a->settings.address))) {
		settings_set(&a->settings.address, now);
		send_registration(a);
	}
	free(now);
}

/* --- serving --- */

static const struct tls_cert *on_pick(void *arg, struct slice sni)
{
	struct agent *a = arg;

	(void)sni;
	return credential_cert(a->credential);
}

static int listen_at(struct agent *a)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	struct exchange_handler handler = agent_server_handler(a->api);
	struct server_config config;
	struct addr at;
	int rc = addr_parse(&at, slice_str(a->settings.listen_address), &a->err);

	if (rc)
		return err_prefix(&a->err, "listen address \"%s\"", a->settings.listen_address);
	server_config_default(&config);
	config.max_connections = MAX_CONNECTIONS;
	config.max_per_address = MAX_PER_ADDRESS;
	rc = tls_server_create(&a->tls, a->loop, alpn, on_pick, a, &a->err);
	if (!rc)
		rc = server_create(&a->server, a->loop, &config, &handler, agent_server_knows,
				   a->api, &a->err);
	if (!rc)
		rc = server_listen(a->server, &at, a->tls, NULL, &a->bound, &a->err);
	return rc;
}

static int write_ready(struct agent *a)
{
	struct json_out o;
	struct buf b;
	int rc;

	if (!a->o->ready_file)
		return 0;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_arr(&o, "https");
	json_put_str(&o, NULL, a->bound.text);
	json_arr_end(&o);
	json_put_int(&o, "pid", getpid());
	json_obj_end(&o);
	buf_append_str(&b, "\n");
	rc = file_write(a->o->ready_file, b.data, b.len, 0644, &a->err);
	buf_fini(&b);
	return rc;
}

static void start_serving(struct agent *a)
{
	if (listen_at(a) || write_ready(a)) {
		give_up(a);
		return;
	}
	set_state(a, AGENT_SERVING);
	notify_systemd("READY=1");
	log_info("node %s (%llu) listens on https://%s", a->settings.node_name,
		 (unsigned long long)a->settings.node_id, a->bound.text);
	check_address(a);
	heartbeat_start(a->heartbeat);
}

static void on_credential(void *arg)
{
	struct agent *a = arg;

	if (a->state == AGENT_CREDENTIAL)
		start_serving(a);
	save(a);
}

static void on_inventory(void *arg)
{
	struct agent *a = arg;

	heartbeat_nudge(a->heartbeat);
}

static void on_engine(void *arg, const struct engine_state *s)
{
	struct agent *a = arg;

	(void)s;
	heartbeat_nudge(a->heartbeat);
}

/* Beside agent.json, or where a service has its data. A node that cannot keep logs still runs containers. */
static void keep_logs(struct agent *a)
{
	const char *end = strrchr(a->path, '/');
	char *dir = slice_starts(slice_str(a->path), SLICE("/etc/"))
			    ? xstrdup("/var/lib/temps/logs")
			    : xasprintf("%.*s/logs", (int)(end - a->path), a->path);
	struct log_store_config c = { .loop = a->loop, .work = a->work, .dir = dir };
	struct err err;

	if (log_store_open(&a->logs, &c, &err))
		log_warn("logs of containers that are removed are not kept: %s", err.text);
	free(dir);
}

/* Everything that needs to know the cluster. */
static int make_parts(struct agent *a)
{
	struct engine_config engine = {
		.docker_host = a->o->docker_host,
		.cluster_id = a->settings.cluster_id,
		.node_name = a->settings.node_name,
	};
	struct agent_server_config api = { .loop = a->loop, .token = a->settings.token,
					   .publish_ip = a->settings.private_address };
	struct heartbeat_config beat = { .loop = a->loop,
					 .plane = &a->plane,
					 .settings = &a->settings };
	int rc;

	keep_logs(a);
	engine.logs = a->logs;
	rc = engine_create(&a->engine, a->loop, a->rpc, &engine, &a->err);

	if (rc)
		return rc;
	a->metrics = metrics_create(DISK_PATH);
	metrics_tell(a->metrics, &a->settings.resources);
	api.engine = beat.engine = a->engine;
	api.metrics = beat.metrics = a->metrics;
	rc = agent_server_create(&a->api, &api, &a->err);
	if (rc)
		return rc;
	a->inventory = inventory_create(a->loop, a->engine, on_inventory, a);
	beat.inventory = a->inventory;
	a->heartbeat = heartbeat_create(&beat);
	engine_watch_state(a->engine, on_engine, a);
	return 0;
}

static void go_on(struct agent *a)
{
	set_state(a, AGENT_CREDENTIAL);
	if (make_parts(a))
		give_up(a);
	else
		a->credential =
			credential_create(a->loop, &a->plane, &a->settings, on_credential, a);
}

/* --- which cluster: asked of the control plane when only flags and environment brought us here --- */

static void on_identity(void *arg, const struct rpc_result *res)
{
	struct agent *a = arg;
	struct err err = { 0 };
	struct json *j;
	int rc = plane_answer(res, &j, &err);

	a->call = NULL;
	if (!rc)
		settings_set(&a->settings.cluster_id, json_cstr(json_get(j, "cluster_id"), NULL));
	json_free(j);
	if (rc || !a->settings.cluster_id) {
		try_again(a, "control plane",
			  rc ? err.text : "it does not say which cluster it runs");
		return;
	}
	a->retry_ms = 0;
	go_on(a);
}

static void identify(struct agent *a)
{
	static const struct rpc_ops ops = { .done = on_identity };

	a->call = plane_begin(&a->plane, "GET", "/health", slice_str(""), &ops, a);
	if (!a->call)
		try_again(a, "control plane", "too many calls at once");
}

static void on_retry(void *arg)
{
	struct agent *a = arg;

	if (a->state == AGENT_IDENTIFY)
		identify(a);
	else if (a->state == AGENT_SERVING)
		send_registration(a);
}

/* --- start and stop --- */

static void on_drained(void *arg)
{
	struct agent *a = arg;

	loop_stop(a->loop);
}

static void on_signal(void *arg, int signo)
{
	struct agent *a = arg;

	if (a->state == AGENT_STOPPING)
		return;
	log_info("stopping on signal %d; containers go on running", signo);
	notify_systemd("STOPPING=1");
	set_state(a, AGENT_STOPPING);
	deadline_set(&a->retry, 0);
	if (a->api)
		agent_server_stop(a->api);
	if (a->server)
		server_drain(a->server, DRAIN_MS, on_drained, a);
	else
		loop_stop(a->loop);
}

static int agent_init(struct agent *a)
{
	int rc;

	a->path = settings_path();
	a->has_file = !access(a->path, F_OK);
	rc = settings_load(&a->settings, a->path, a->o, &a->err);
	if (!rc)
		rc = plane_check_url(a->settings.control_plane_url, &a->err);
	if (!rc)
		rc = loop_create(&a->loop, &a->err);
	if (rc)
		return rc;
	deadline_init(&a->retry, a->loop, on_retry, a);
	rc = rpc_create(&a->rpc, a->loop, &a->err);
	if (!rc)
		rc = work_create(&a->work, a->loop, "temps-work", WORK_QUEUE_MAX, &a->err);
	if (rc)
		return rc;
	plane_init(&a->plane, a->rpc, a->settings.control_plane_url,
		   a->settings.control_plane_ca_pem, a->settings.token);
	loop_on_signal(a->loop, SIGTERM, on_signal, a);
	loop_on_signal(a->loop, SIGINT, on_signal, a);
	return 0;
}

/* In reverse; takes what was made in part. */
static void agent_fini(struct agent *a)
{
	heartbeat_destroy(a->heartbeat);
	inventory_destroy(a->inventory);
	server_destroy(a->server);
	tls_server_destroy(a->tls);
	agent_server_destroy(a->api);
	credential_destroy(a->credential);
	engine_destroy(a->engine);
	log_store_close(a->logs);
	metrics_destroy(a->metrics);
	rpc_cancel(a->call);
	plane_fini(&a->plane);
	rpc_destroy(a->rpc);
	work_destroy(a->work);
	if (a->loop) {
		deadline_stop(&a->retry);
		loop_destroy(a->loop);
	}
	settings_fini(&a->settings);
	free(a->path);
}

int agent_run(const struct agent_options *o)
{
	struct agent a = { .o = o, .state = AGENT_IDENTIFY };

	if (agent_init(&a)) {
		a.failed = true;
	} else {
		if (a.settings.cluster_id)
			go_on(&a);
		else
			identify(&a);
		if (!a.failed)
			loop_run(a.loop);
	}
	if (a.failed)
		fprintf(stderr, "temps: agent: %s\n", a.err.text);
	agent_fini(&a);
	return a.failed ? 1 : 0;
}
