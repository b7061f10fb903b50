/* The start of `temps serve`, one function a part. What can fail for a reason outside of us comes
 * first: data directory, store, listeners. */
#include "control/boot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "control/addresses.h"
#include "control/api.h"
#include "control/console.h"
#include "control/dataplane.h"
#include "control/deployer.h"
#include "control/events.h"
#include "control/local.h"
#include "control/logs.h"
#include "control/nodes.h"
#include "control/predecessors.h"
#include "control/takeover.h"
#include "control/upgrade.h"
#include "reactor/crypto.h"
#include "reactor/pki.h"
#include "reactor/seal.h"

#define WORK_QUEUE_MAX 1000
#define CONNECTIONS_MIN 16u
#define LATE_TURN_MS 5000u
#define DESCRIPTORS_OWN 100u	/* kept for ourselves */
#define UPSTREAM_SPARE 64	/* connections: probes, and those that are just closing */
#define KIND "control"		/* of our own records in the store */
#define KEY_CLUSTER SLICE("cluster")

static int open_data_dir(struct control *c, struct err *err)
{
	if (!c->options->data_dir || !*c->options->data_dir)
		return err_say(err, -EINVAL, "no data directory: give --data-dir DIR");
	return dir_private(c->options->data_dir, err);
}

static int open_loop(struct control *c, struct err *err)
{
	int rc = loop_create(&c->loop, err);

	if (!rc)
		rc = work_create(&c->work, c->loop, "temps-work", WORK_QUEUE_MAX, err);
	if (!rc)
		rc = rpc_create(&c->rpc, c->loop, err);
	if (rc)
		return rc;
	c->started_ms = loop_now_ms(c->loop);
	c->events = events_create(c->loop);
	return 0;
}

/* ---- store and identity ---- */

static int on_own_record(void *arg, struct slice key, struct slice value, struct err *err)
{
	struct control *c = arg;
	struct json *j;
	int rc;

	if (!slice_eq(key, KEY_CLUSTER))
		return 0;
	rc = json_parse(&j, value, err);
	if (rc)
		return rc;
	if (json_int(json_get(j, "v"), 0) != 1)
		rc = err_say(err, -EPROTO,
			     "the store was written by a newer temps: install that version again");
	else
		rc = slice_copy(json_str(json_get(j, "id"), ""), c->cluster_id,
				sizeof(c->cluster_id));
	c->keyed = json_bool(json_get(j, "keyed"), false);
	json_free(j);
	return rc;
}

static int open_store(struct control *c, struct err *err)
{
	char *dir = xasprintf("%s/store", c->options->data_dir);
	int rc = store_open(&c->store, c->loop, dir, err);

	free(dir);
	if (!rc)
		rc = store_range(c->store, events_kind, events_load, c->events, err);
	if (!rc)
		rc = store_range(c->store, KIND, on_own_record, c, err);
	return rc;
}

/* Letters and digits that begin with a letter: it is the first part of container names. */
static void make_cluster_id(char *out)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t random[8];

	crypto_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		out[i] = digits[random[i] % (i ? 32 : 26)];
	out[sizeof(random)] = '\0';
}

static int open_identity(struct control *c, struct err *err)
{
	const char *given = c->options->cluster_id;

	c->fresh = !*c->cluster_id;
	if (c->fresh && given &&
	    (strlen(given) > CLUSTER_ID_MAX || !text_is_app_name(slice_str(given))))
		return err_say(
			err, -EINVAL,
			"cluster id \"%.100s\": expected at most %d lower-case letters, digits and \"-\"",
			given, CLUSTER_ID_MAX);
	if (c->fresh && given)
		snprintf(c->cluster_id, sizeof(c->cluster_id), "%s", given);
	else if (c->fresh)
		make_cluster_id(c->cluster_id);
	else if (given && strcmp(given, c->cluster_id) != 0)
		return err_say(
			err, -EINVAL,
			"data directory %s belongs to cluster %s, not %s: use another --data-dir, or drop --cluster-id",
			c->options->data_dir, c->cluster_id, given);
	if (c->options->network_name)
		snprintf(c->network_name, sizeof(c->network_name), "%s", c->options->network_name);
	else
		snprintf(c->network_name, sizeof(c->network_name), given ? "temps-%s" : "temps",
			 c->cluster_id);
	return 0;
}

static void on_cluster_stored(void *arg, int rc, uint64_t revision)
{
	(void)arg;
	(void)revision;
	if (rc)
		log_error("store: the cluster's own record: %s", strerror(-rc));
}

int boot_store_cluster(struct control *c, struct err *err)
{
	struct store_txn *t = store_txn_new();
	struct json_out o;
	struct buf b;
	int rc;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_int(&o, "v", 1);
	json_put_str(&o, "id", c->cluster_id);
	json_put_bool(&o, "keyed", c->keyed);
	json_obj_end(&o);
	store_txn_put(t, KIND, KEY_CLUSTER, buf_slice(&b));
	buf_fini(&b);
	rc = store_commit(c->store, t, on_cluster_stored, c);
	return rc ? err_set(err, rc, "store the cluster's own record") : 0;
}

/* ---- keys and authorities ---- */

static int open_seal_key(struct control *c, struct err *err)
{
	char *path = xasprintf("%s/secret.key", c->options->data_dir), *text = NULL;
	char hex[2 * SEAL_KEY_BYTES + 2];
	size_t len;
	int rc = file_read(path, 4096, &text, &len, err);

	if (rc == -ENOENT) {
		if (!c->fresh)
			log_warn(
				"%s is gone: stored registry passwords and node tokens cannot be opened any more",
				path);
		crypto_random(c->seal_key, sizeof(c->seal_key));
		text_hex(c->seal_key, sizeof(c->seal_key), hex);
		hex[2 * SEAL_KEY_BYTES] = '\n';
		rc = file_write(path, hex, 2 * SEAL_KEY_BYTES + 1, 0600, err);
		crypto_wipe(hex, sizeof(hex));
	} else if (!rc && text_unhex(slice_trim(slice_of(text, MIN(len, 2 * SEAL_KEY_BYTES))),
				     c->seal_key, SEAL_KEY_BYTES)) {
		rc = err_say(err, -EINVAL,
			     "%s does not hold a key of %d hex digits: restore it from a backup",
			     path, 2 * SEAL_KEY_BYTES);
	}
	if (text)
		crypto_wipe(text, len);
	free(text);
	free(path);
	return rc;
}

/* What a joining node needs to trust us: the cluster CA, which it knows by its fingerprint, vouches
 * for the front CA. */
static int make_ca_answer(struct control *c, struct err *err)
{
	struct json_out o;
	struct buf signature;
	int rc;

	buf_init(&signature, 0);
	rc = pki_sign(c->cluster_ca.key_pem, c->front_ca.cert_pem, &signature, err);
	buf_init(&c->ca_answer, 0);
	json_out_init(&o, &c->ca_answer);
	json_obj(&o, NULL);
	json_put_slice(&o, "ca_cert_pem", c->cluster_ca.cert_pem);
	json_put_slice(&o, "front_ca_pem", c->front_ca.cert_pem);
	json_put_slice(&o, "signature", buf_slice(&signature));
	json_obj_end(&o);
	buf_fini(&signature);
	return rc;
}

static int open_authorities(struct control *c, struct err *err)
{
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "temps cluster %s", c->cluster_id);
	rc = authority_load(&c->cluster_ca, c->options->data_dir, "cluster-ca", name, c->fresh,
			    err);
	snprintf(name, sizeof(name), "temps front door %s", c->cluster_id);
	if (!rc)
		rc = authority_load(&c->front_ca, c->options->data_dir, "front-ca", name, c->fresh,
				    err);
	if (!rc)
		rc = open_seal_key(c, err);
	if (!rc)
		rc = make_ca_answer(c, err);
	return rc;
}

/* ---- listeners ---- */

static bool routed(void *arg, struct slice host)
{
	const struct control *c = arg;

	return front_has_host(c->front, host);
}

static int open_certs(struct control *c, struct err *err)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	char **ips = addresses_reachable(c->options->tls_addresses);
	struct cert_store *stored = cert_store_create(c->seal_key);
	struct certs_config config = {
		.given = c->options->certs,
		.ngiven = c->options->ncerts,
		.loop = c->loop,
		.stored = stored,
		.front_ca = &c->front_ca,
		.console_host = c->options->console_host,
		.ips = (const char *const *)ips,
		.routed = routed,
		.arg = c,
	};
	int rc = cert_store_load(stored, c->store, err);

	c->cert_store = stored;
	if (!rc)
		rc = certs_create(&c->certs, &config, err);
	addresses_free(ips);
	if (!rc)
		rc = tls_server_create(&c->tls, c->loop, alpn, certs_pick, c->certs, err);
	return rc;
}

/* Nodes' beats come through when a flood has taken the rest of the table. */
static bool is_node_address(void *arg, const struct addr *peer)
{
	const struct control *c = arg;
	char ip[64];

	addr_ip(peer, ip);
	LIST_FOR_EACH(n, cluster_nodes(deployer_cluster(c->deployer)), struct node, link)
		if (strcmp(n->private_address, ip) == 0)
			return true;
	return false;
}

/* Opened, or had from the process before us. */
static int listen_one(struct control *c, const char *text, struct tls_server *tls,
		      struct addr *bound, struct err *err)
{
	int fd = takeover_listener(c->takeover, tls ? TAKEOVER_HTTPS : TAKEOVER_HTTP, text);
	struct addr at;
	int rc;

	if (fd >= 0)
		return server_adopt(c->server, fd, NULL, tls, NULL, bound, err);
	rc = addr_parse(&at, slice_str(text), err);
	return rc ? rc : server_listen(c->server, &at, tls, NULL, bound, err);
}

static int listen_unix(struct control *c, struct err *err)
{
	char *path = xasprintf("%s/temps.sock", c->options->data_dir);
	int fd = takeover_listener(c->takeover, TAKEOVER_UNIX, "");
	int rc = fd >= 0 ? server_adopt(c->server, fd, path, NULL, NULL, NULL, err)
			 : server_listen_unix(c->server, path, NULL, err);

	free(path);
	return rc;
}

static int listen_all(struct control *c, const char *const *list, struct tls_server *tls,
		      struct addr *bound, size_t *n, struct err *err)
{
	int rc = 0;

	for (; !rc && list && *list; list++) {
		if (*n == SERVE_LISTENERS_MAX)
			return err_say(err, -EINVAL, "more than %d addresses to listen on",
				       SERVE_LISTENERS_MAX);
		rc = listen_one(c, *list, tls, &bound[*n], err);
		*n += !rc;
	}
	return rc;
}

/* A client's request may need a descriptor towards the app as well, and nodes, engine and store
 * have theirs: what the process may open must do for all. */
static uint32_t connections_max(uint32_t want)
{
	struct rlimit limit;
	uint32_t max = want;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		max = (uint32_t)MIN((limit.rlim_cur - MIN(limit.rlim_cur, DESCRIPTORS_OWN)) / 2,
				    want);
	return MAX(max, CONNECTIONS_MIN);
}

static int open_listeners(struct control *c, struct err *err)
{
	const struct exchange_handler handler = { console_request, c };
	struct server_config config = c->options->connections;
	uint32_t wanted = config.max_connections;
	int rc;

	config.max_connections = connections_max(wanted);
	c->connections_max = config.max_connections;
	rc = server_create(&c->server, c->loop, &config, &handler, is_node_address, c, err);
	if (!rc)
		rc = listen_all(c, c->options->addresses, NULL, c->http, &c->http_n, err);
	if (!rc)
		rc = listen_all(c, c->options->tls_addresses, c->tls, c->https, &c->https_n, err);
	if (rc)
		return rc;
	if (!c->http_n && !c->https_n)
		return err_say(err, -EINVAL,
			       "nothing to listen on: give --address or --tls-address");
	rc = listen_unix(c, err);
	if (c->https_n)
		c->https_port = addr_port(&c->https[0]);
	c->loopback_only = addresses_all_loopback(c->http, c->http_n) &&
			   addresses_all_loopback(c->https, c->https_n);
	addresses_join_url(c, c->join_url, sizeof(c->join_url));
	/* Said now: what kept the listeners from opening is the one thing to say before. */
	if (!rc && config.max_connections < wanted)
		log_warn("%u client connections at most: the limit of open files does not allow %u",
			 config.max_connections, wanted);
	return rc;
}

/* ---- data path and domain ---- */

/* From what is kept with the data: cookies name the same endpoints after a restart. */
static void derive_sticky_key(const struct control *c, struct hash_key *key)
{
	static const char label[] = "temps sticky cookies";
	uint8_t text[sizeof(label) + sizeof(c->seal_key)], hash[32];

	memcpy(text, label, sizeof(label));
	memcpy(text + sizeof(label), c->seal_key, sizeof(c->seal_key));
	crypto_sha256(slice_of((const char *)text, sizeof(text)), hash);
	memcpy(key, hash, sizeof(*key));
	crypto_wipe(text, sizeof(text));
	crypto_wipe(hash, sizeof(hash));
}

static int open_front(struct control *c, struct err *err)
{
	const struct serve_options *o = c->options;
	struct dataplane_config data = { .loop = c->loop,
					 .request_drain_ms = o->request_drain_s * 1000,
					 .tunnel_drain_ms = o->tunnel_drain_s * 1000 };
	struct front_config config;
	struct hash_key sticky_key;
	int rc;

	derive_sticky_key(c, &sticky_key);
	data.reports = &deployer_data_reports;
	data.arg = c;
	c->dataplane = dataplane_create(&data);
	front_config_default(&config);
	config.trusted_proxies = o->trusted_proxies;
	config.https_port = c->https_port;
	config.sticky_key = &sticky_key;
	config.access_log = o->access_log;
	config.access_log_json = o->access_log_json;
	/* One for each exchange, of which there are as many as client connections; idle ones make
	 * way. */
	config.max_upstream_connections = c->connections_max + UPSTREAM_SPARE;
	rc = front_create(&c->front, c->loop, c->work, &config, &dataplane_front_reports,
			  c->dataplane, err);
	if (!rc)
		dataplane_start(c->dataplane, c->front);
	return rc;
}

static const char *architecture(void)
{
	static struct utsname u;

	if (uname(&u) < 0)
		return "";
	if (strcmp(u.machine, "x86_64") == 0)
		return "amd64";
	if (strcmp(u.machine, "aarch64") == 0)
		return "arm64";
	return u.machine;
}

static int read_labels(struct control *c, struct err *err)
{
	return node_says_labels(&c->options->node, &c->local_labels, err);
}

static int open_domain(struct control *c, struct err *err)
{
	const struct serve_options *o = c->options;
	struct links_config links = { c->loop, c->rpc, c->cluster_ca.cert_pem.p, &nodes_reports,
				      c };
	struct cluster_config config = {
		.cluster_id = c->cluster_id,
		.loopback_nodes = c->loopback_only,
		.local_architecture = architecture(),
		.local_labels = c->local_labels,
		.local_publish = local_publishes(o->docker_host),
		.local_subnet = o->network_subnet,
		.offline_after_ms = o->offline_after_s * 1000,
		/* Less than what makes a node offline, however short that is. */
		.late_turn_ms = MIN(LATE_TURN_MS, o->offline_after_s * 1000 / 4),
		.drain_limit_ms = MAX(o->request_drain_s, o->tunnel_drain_s) * 1000,
	};
	int rc;

	hash_key_random(&config.hash_key);
	c->logs = logs_create(c);
	c->links = links_create(&links);
	c->upgrade = upgrade_create(c);
	c->predecessors = predecessors_create(c);
	if (c->takeover)
		takeover_adopt(c->takeover, c);
	rc = deployer_create(&c->deployer, c, &config, err);
	if (!rc)
		rc = local_create(&c->local, c, err);
	if (!rc)
		rc = api_open(c, err);
	if (!rc && (c->fresh || !c->keyed))
		rc = boot_store_cluster(c, err);
	if (rc)
		return rc;
	deployer_start(c->deployer);
	local_start(c->local);
	return 0;
}

int boot_open(struct control *c, struct err *err)
{
	static int (*const parts[])(struct control *c, struct err *err) = {
		read_labels, open_data_dir, open_loop, open_store, open_identity, open_authorities,
		open_certs,    open_listeners, open_front, open_domain,
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_LEN(parts); i++)
		rc = parts[i](c, err);
	return rc;
}

void boot_close(struct control *c)
{
	/* From those who call to those who are called: links tell jobs and log streams that they
	 * end. */
	server_destroy(c->server);
	upgrade_destroy(c->upgrade);
	api_destroy(c->api);
	links_destroy(c->links);
	logs_destroy(c->logs);
	deployer_destroy(c->deployer);
	predecessors_destroy(c->predecessors);
	local_destroy(c->local);
	dataplane_destroy(c->dataplane);
	front_destroy(c->front);
	tls_server_destroy(c->tls);
	certs_destroy(c->certs);
	cert_store_destroy(c->cert_store);
	store_close(c->store);
	events_destroy(c->events);
	rpc_destroy(c->rpc);
	work_destroy(c->work);
	loop_destroy(c->loop);
	pairs_fini(&c->local_labels);
	authority_fini(&c->cluster_ca);
	authority_fini(&c->front_ca);
	buf_fini(&c->ca_answer);
	crypto_wipe(c->seal_key, sizeof(c->seal_key));
}
