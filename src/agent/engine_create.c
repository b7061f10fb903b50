/* A deploy request as the Docker Engine's description of a container. Pure: struct in, JSON out. */
#include <stdio.h>
#include <string.h>

#include "agent/engine_create.h"

#define LOG_MAX_SIZE "10m"
#define LOG_MAX_FILE 3
#define HEALTH_TRY_MS 10000
#define NS_PER_MS 1000000

static void put_env(const struct wire_deploy *d, struct json_out *o)
{
	const struct pairs *lists[] = { &d->env, &d->secrets };
	struct buf b;

	buf_init(&b, 0);
	json_arr(o, "Env");
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		for (size_t i = 0; i < lists[l]->n; i++) {
			buf_clear(&b);
			buf_printf(&b, "%s=%s", lists[l]->items[i].key, lists[l]->items[i].value);
			json_put_slice(o, NULL, buf_slice(&b));
		}
	}
	json_arr_end(o);
	buf_fini(&b);
}

static bool is_own_label(const char *key)
{
	return !strcmp(key, WIRE_LABEL_MANAGED) || !strcmp(key, WIRE_LABEL_CLUSTER) ||
	       !strcmp(key, WIRE_LABEL_NODE) || !strcmp(key, WIRE_LABEL_SPEC);
}

static void put_labels(const struct wire_deploy *d, const char *cluster, const char *node,
		       struct json_out *o)
{
	json_obj(o, "Labels");
	for (size_t i = 0; i < d->labels.n; i++)
		if (!is_own_label(d->labels.items[i].key))
			json_put_str(o, d->labels.items[i].key, d->labels.items[i].value);
	json_put_str(o, WIRE_LABEL_MANAGED, "true");
	json_put_str(o, WIRE_LABEL_CLUSTER, cluster);
	json_put_str(o, WIRE_LABEL_NODE, node);
	if (d->spec_hash)
		json_put_str(o, WIRE_LABEL_SPEC, d->spec_hash);
	json_obj_end(o);
}

static void port_key(const struct wire_port *p, char key[16])
{
	snprintf(key, 16, "%u/%s", p->container_port, p->udp ? "udp" : "tcp");
}

static bool same_container_port(const struct wire_port *a, const struct wire_port *b)
{
	return a->container_port == b->container_port && a->udp == b->udp;
}

/* Is this the first mapping of its container port? One JSON member holds all of them. */
static bool is_first(const struct wire_deploy *d, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (same_container_port(&d->ports[k], &d->ports[i]))
			return false;
	return true;
}

static void put_exposed(const struct wire_deploy *d, struct json_out *o)
{
	char key[16];

	json_obj(o, "ExposedPorts");
	for (size_t i = 0; i < d->nports; i++) {
		if (!is_first(d, i))
			continue;
		port_key(&d->ports[i], key);
		json_obj(o, key);
		json_obj_end(o);
	}
	json_obj_end(o);
}

static void put_bindings(const struct wire_deploy *d, struct json_out *o)
{
	char text[16];

	json_obj(o, "PortBindings");
	for (size_t i = 0; i < d->nports; i++) {
		if (!is_first(d, i))
			continue;
		port_key(&d->ports[i], text);
		json_arr(o, text);
		for (size_t k = i; k < d->nports; k++) {
			if (!same_container_port(&d->ports[k], &d->ports[i]))
				continue;
			snprintf(text, sizeof(text), "%u", d->ports[k].host_port);
			json_obj(o, NULL);
			json_put_str(o, "HostIp", d->ports[k].host_ip);
			json_put_str(o, "HostPort", d->ports[k].host_port ? text : "");
			json_obj_end(o);
		}
		json_arr_end(o);
	}
	json_obj_end(o);
}

static void put_mounts(const struct wire_deploy *d, struct json_out *o)
{
	json_arr(o, "Mounts");
	for (size_t i = 0; i < d->nmounts; i++) {
		json_obj(o, NULL);
		json_put_str(o, "Type", d->mounts[i].type);
		json_put_str(o, "Source", d->mounts[i].source);
		json_put_str(o, "Target", d->mounts[i].target);
		json_put_bool(o, "ReadOnly", d->mounts[i].read_only);
		json_obj_end(o);
	}
	json_arr_end(o);
}

static void put_health(const struct wire_health *h, struct json_out *o)
{
	if (!h->command)
		return;
	json_obj(o, "Healthcheck");
	json_arr(o, "Test");
	json_put_str(o, NULL, "CMD");
	for (char **word = h->command; *word; word++)
		json_put_str(o, NULL, *word);
	json_arr_end(o);
	json_put_int(o, "Interval", (int64_t)h->interval_ms * NS_PER_MS);
	json_put_int(o, "Timeout", (int64_t)HEALTH_TRY_MS * NS_PER_MS);
	json_put_int(o, "StartPeriod", (int64_t)h->start_ms * NS_PER_MS);
	json_put_int(o, "Retries", h->retries);
	json_obj_end(o);
}

static void put_limits(const struct wire_deploy *d, struct json_out *o)
{
	int64_t memory_bytes = (int64_t)d->memory_limit_mb << 20;
	char text[32];

	if (d->cpu_limit > 0)
		json_put_int(o, "NanoCpus", (int64_t)(d->cpu_limit * 1e9 + 0.5));
	if (memory_bytes) {
		json_put_int(o, "Memory", memory_bytes);
		json_put_int(o, "MemorySwap",
			     memory_bytes); /* both together: the limit is not doubled by swap */
	}
	if (d->disk_limit_mb) {
		snprintf(text, sizeof(text), "%llum", (unsigned long long)d->disk_limit_mb);
		json_obj(o, "StorageOpt");
		json_put_str(o, "size", text);
		json_obj_end(o);
	}
}

/* The same cards for nobody else: they are named, not counted. */
static void put_gpus(const struct wire_deploy *d, struct json_out *o)
{
	char id[4];

	json_arr(o, "DeviceRequests");
	json_obj(o, NULL);
	json_arr(o, "DeviceIDs");
	for (unsigned i = 0; i < 64; i++) {
		if (!(d->gpus >> i & 1))
			continue;
		snprintf(id, sizeof(id), "%u", i);
		json_put_str(o, NULL, id);
	}
	json_arr_end(o);
	json_arr(o, "Capabilities");
	json_arr(o, NULL);
	json_put_str(o, NULL, "gpu");
	json_arr_end(o);
	json_arr_end(o);
	json_obj_end(o);
	json_arr_end(o);
}

static void put_logging(const struct wire_deploy *d, struct json_out *o)
{
	char files[16];

	snprintf(files, sizeof(files), "%u", d->log_max_file ? d->log_max_file : LOG_MAX_FILE);
	json_obj(o, "LogConfig");
	json_put_str(o, "Type", "json-file");
	json_obj(o, "Config");
	json_put_str(o, "max-size", d->log_max_size ? d->log_max_size : LOG_MAX_SIZE);
	json_put_str(o, "max-file", files);
	json_obj_end(o);
	json_obj_end(o);
}

static void put_host_config(const struct wire_deploy *d, struct json_out *o)
{
	static const char *const restart[] = {
		[WIRE_RESTART_NEVER] = "no",
		[WIRE_RESTART_ALWAYS] = "always",
		[WIRE_RESTART_ON_FAILURE] = "on-failure",
		[WIRE_RESTART_UNLESS_STOPPED] = "unless-stopped",
	};

	json_obj(o, "HostConfig");
	put_bindings(d, o);
	put_mounts(d, o);
	put_limits(d, o);
	if (d->gpus)
		put_gpus(d, o);
	put_logging(d, o);
	json_obj(o, "RestartPolicy");
	json_put_str(o, "Name", restart[d->restart_policy]);
	json_obj_end(o);
	if (d->network_name)
		json_put_str(o, "NetworkMode", d->network_name);
	json_obj_end(o);
}

static void put_address(const struct wire_deploy *d, struct json_out *o)
{
	json_obj(o, "NetworkingConfig");
	json_obj(o, "EndpointsConfig");
	json_obj(o, d->network_name);
	json_obj(o, "IPAMConfig");
	json_put_str(o, strchr(d->static_ip, ':') ? "IPv6Address" : "IPv4Address", d->static_ip);
	json_obj_end(o);
	json_obj_end(o);
	json_obj_end(o);
	json_obj_end(o);
}

void engine_create_body(const struct wire_deploy *d, const char *cluster, const char *node,
			struct buf *out)
{
	struct json_out o;

	json_out_init(&o, out);
	json_obj(&o, NULL);
	json_put_str(&o, "Image", d->image_name);
	put_env(d, &o);
	if (d->command) {
		json_arr(&o, "Cmd");
		for (char **word = d->command; *word; word++)
			json_put_str(&o, NULL, *word);
		json_arr_end(&o);
	}
	put_health(&d->health, &o);
	put_labels(d, cluster, node, &o);
	put_exposed(d, &o);
	if (d->stop_timeout_s)
		json_put_int(&o, "StopTimeout", d->stop_timeout_s);
	put_host_config(d, &o);
	if (d->network_name && d->static_ip)
		put_address(d, &o);
	json_obj_end(&o);
}
