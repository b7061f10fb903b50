/* Turns the Docker Engine's JSON into the structs of wire.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/inspect.h"
#include "agent/wire_part.h"
#include "base/text.h"

/* What does not fit is an engine's oddity, and "" is as good as a cut name. */
static void put_text(char *out, size_t size, const struct json *j)
{
	if (slice_copy(json_str(j, ""), out, size))
		out[0] = '\0';
}

static uint64_t get_time(const struct json *j)
{
	uint64_t ms;

	return text_parse_time(json_str(j, ""), &ms) ? 0 : ms;
}

static uint64_t get_uint(const struct json *j)
{
	int64_t v = json_int(j, 0);

	return v > 0 ? (uint64_t)v : 0;
}

static const char *status_name(const char *docker)
{
	static const struct {
		const char *docker, *ours;
	} names[] = {
		{ "created", "Created" }, { "running", "Running" },   { "paused", "Paused" },
		{ "dead", "Dead" },	  { "removing", "Dead" },   { "restarting", "Restarting" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(docker, names[i].docker))
			return names[i].ours;
	return "Exited";
}

static void get_labels(struct pairs *out, const struct json *labels, const char *prefix)
{
	const struct json *value;
	struct slice key;
	void *it = NULL;

	if (json_type(labels) != JSON_OBJECT)
		return;
	while (json_next(labels, &it, &key, &value))
		if (slice_starts(key, slice_str(prefix)))
			pairs_add(out, key, json_str(value, ""));
}

static bool has_key(const struct pairs *p, struct slice key)
{
	for (size_t i = 0; i < p->n; i++)
		if (slice_eq(key, slice_str(p->items[i].key)))
			return true;
	return false;
}

/* Of a name that comes twice, as in an image it may, the first: what getenv(3) finds. */
static void get_env(struct pairs *out, const struct json *list)
{
	struct slice name, value;

	for (size_t i = 0; i < json_len(list) && out->n < WIRE_MAX_PAIRS; i++) {
		name = slice_split(json_str(json_at(list, i), ""), '=', &value);
		if (name.n && !has_key(out, name))
			pairs_add(out, name, value.p ? value : slice_str(""));
	}
}

/* "8080/tcp": [{"HostIp":"0.0.0.0","HostPort":"20001"}, …], or null when it is only exposed. */
static void get_port(struct wire_container *c, struct slice key, const struct json *bindings)
{
	struct slice protocol, number = slice_split(key, '/', &protocol);
	uint64_t port, host;

	if (slice_u64(number, &port) || !port || port > UINT16_MAX)
		return;
	for (size_t i = 0; i < json_len(bindings) && c->nports < ARRAY_LEN(c->ports); i++) {
		struct wire_port *p = &c->ports[c->nports];

		*p = (struct wire_port){ .container_port = (uint16_t)port,
					 .udp = slice_eq(protocol, SLICE("udp")) };
		put_text(p->host_ip, sizeof(p->host_ip), json_get(json_at(bindings, i), "HostIp"));
		if (slice_u64(json_str(json_get(json_at(bindings, i), "HostPort"), ""), &host) ||
		    host > UINT16_MAX)
			continue;
		p->host_port = (uint16_t)host;
		c->nports++;
	}
}

static void get_network(struct wire_container *c, const struct json *settings)
{
	const struct json *value, *ports = json_get(settings, "Ports"),
				  *networks = json_get(settings, "Networks");
	struct slice key;
	void *it = NULL;

	while (json_type(ports) == JSON_OBJECT && json_next(ports, &it, &key, &value))
		if (json_type(value) == JSON_ARRAY)
			get_port(c, key, value);
	it = NULL;
	while (json_type(networks) == JSON_OBJECT && !c->ip[0] &&
	       json_next(networks, &it, &key, &value))
		put_text(c->ip, sizeof(c->ip), json_get(value, "IPAddress"));
}

int inspect_container(struct wire_container *c, const struct json *j)
{
	const struct json *state = json_get(j, "State"), *config = json_get(j, "Config");
	const char *name = json_cstr(json_get(j, "Name"), "");

	*c = (struct wire_container){ 0 };
	put_text(c->id, sizeof(c->id), json_get(j, "Id"));
	if (!c->id[0])
		return -EINVAL;
	snprintf(c->name, sizeof(c->name), "%s", name + (*name == '/'));
	snprintf(c->status, sizeof(c->status), "%s",
		 status_name(json_cstr(json_get(state, "Status"), "")));
	put_text(c->image, sizeof(c->image), json_get(config, "Image"));
	put_text(c->image_id, sizeof(c->image_id), json_get(j, "Image"));
	c->created_at_ms = get_time(json_get(j, "Created"));
	c->started_at_ms = get_time(json_get(state, "StartedAt"));
	c->finished_at_ms = get_time(json_get(state, "FinishedAt"));
	c->exit_code = (int)json_int(json_get(state, "ExitCode"), 0);
	c->oom_killed = json_bool(json_get(state, "OOMKilled"), false);
	put_text(c->health, sizeof(c->health), json_get(json_get(state, "Health"), "Status"));
	c->restart_count = (uint32_t)get_uint(json_get(j, "RestartCount"));
	get_labels(&c->labels, json_get(config, "Labels"), "");
	get_env(&c->env, json_get(config, "Env"));
	get_network(c, json_get(j, "NetworkSettings"));
	return 0;
}

bool inspect_is_ours(const struct json *labels, const char *cluster, const char *node)
{
	return !strcmp(json_cstr(json_get(labels, WIRE_LABEL_MANAGED), ""), "true") &&
	       !strcmp(json_cstr(json_get(labels, WIRE_LABEL_CLUSTER), ""), cluster) &&
	       !strcmp(json_cstr(json_get(labels, WIRE_LABEL_NODE), ""), node);
}

static double cpu_percent(const struct json *now, const struct json *before)
{
	double used = json_num(json_get(json_get(now, "cpu_usage"), "total_usage"), 0) -
		      json_num(json_get(json_get(before, "cpu_usage"), "total_usage"), 0);
	double all = json_num(json_get(now, "system_cpu_usage"), 0) -
		     json_num(json_get(before, "system_cpu_usage"), 0);
	double cores = json_num(json_get(now, "online_cpus"), 1);

	return used > 0 && all > 0 ? used / all * cores * 100 : 0;
}

void inspect_stats(struct wire_stats *s, const struct json *j)
{
	const struct json *memory = json_get(j, "memory_stats"),
			  *networks = json_get(j, "networks"), *value;
	uint64_t used = get_uint(json_get(memory, "usage"));
	uint64_t cache = get_uint(json_get(json_get(memory, "stats"), "inactive_file"));
	const char *name = json_cstr(json_get(j, "name"), "");
	struct slice key;
	void *it = NULL;

	*s = (struct wire_stats){ 0 };
	/* cgroup v1 spells it otherwise. */
	if (!cache)
		cache = get_uint(json_get(json_get(memory, "stats"), "total_inactive_file"));
	put_text(s->container_id, sizeof(s->container_id), json_get(j, "id"));
	snprintf(s->container_name, sizeof(s->container_name), "%s", name + (*name == '/'));
	s->cpu_percent = cpu_percent(json_get(j, "cpu_stats"), json_get(j, "precpu_stats"));
	s->memory_bytes = used - MIN(used, cache);
	s->memory_limit_bytes = get_uint(json_get(memory, "limit"));
	if (s->memory_limit_bytes)
		s->memory_percent = (double)s->memory_bytes / (double)s->memory_limit_bytes * 100;
	while (json_type(networks) == JSON_OBJECT && json_next(networks, &it, &key, &value)) {
		s->network_rx_bytes += get_uint(json_get(value, "rx_bytes"));
		s->network_tx_bytes += get_uint(json_get(value, "tx_bytes"));
	}
	s->timestamp_ms = get_time(json_get(j, "read"));
}

static bool is_wanted(const char *action)
{
	static const char *const wanted[] = { "create",	 "start",   "die",    "oom",
					      "kill",	 "stop",    "pause",  "unpause",
					      "destroy", "restart", "rename", "health_status" };

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (!strcmp(action, wanted[i]))
			return true;
	return false;
}

int inspect_event(struct wire_event *e, const struct json *j)
{
	const struct json *actor = json_get(j, "Actor"),
			  *attributes = json_get(actor, "Attributes");
	struct slice rest, action = slice_split(json_str(json_get(j, "Action"), ""), ':', &rest);
	uint64_t code;

	*e = (struct wire_event){ .exit_code = -1 };
	if (strcmp(json_cstr(json_get(j, "Type"), ""), "container") ||
	    slice_copy(action, e->action, sizeof(e->action)) || !is_wanted(e->action))
		return -EINVAL;
	put_text(e->container_id, sizeof(e->container_id), json_get(actor, "ID"));
	if (!e->container_id[0])
		return -EINVAL;
	put_text(e->container_name, sizeof(e->container_name), json_get(attributes, "name"));
	if (!slice_u64(json_str(json_get(attributes, "exitCode"), ""), &code) && code <= INT32_MAX)
		e->exit_code = (int)code;
	e->time_ms = get_uint(json_get(j, "timeNano")) / 1000000;
	if (!e->time_ms)
		e->time_ms = get_uint(json_get(j, "time")) * 1000;
	get_labels(&e->labels, attributes, "sh.temps.");
	return 0;
}

void inspect_progress(const struct json *j, char *out, size_t size, bool *moving)
{
	const char *id = json_cstr(json_get(j, "id"), ""),
		   *status = json_cstr(json_get(j, "status"), "");
	const char *bar = json_cstr(json_get(j, "progress"), "");
	const char *amount = strrchr(bar, ']');

	*moving = *bar != '\0';
	snprintf(out, size, "%s%s%s%s", id, *id ? ": " : "", status, amount ? amount + 1 : "");
}
