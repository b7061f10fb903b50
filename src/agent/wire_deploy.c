/* DeployRequest and DeployResult as JSON, strict on the way in. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/wire_part.h"

static const char *const restart_names[] = {
	[WIRE_RESTART_NEVER] = "Never",
	[WIRE_RESTART_ALWAYS] = "Always",
	[WIRE_RESTART_ON_FAILURE] = "OnFailure",
	[WIRE_RESTART_UNLESS_STOPPED] = "UnlessStopped",
};

/* What Docker takes for names of containers and networks. */
/* A heap copy of an optional text member; NULL when absent. */
static int get_text(const struct json *j, const char *name, size_t max, char **out, struct err *err)
{
	struct slice s;
	int rc = json_want_str(j, name, max, &s, err);

	*out = NULL;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (s.n && memchr(s.p, '\0', s.n))
		return err_say(err, -EINVAL, "member \"%s\" holds a NUL", name);
	*out = slice_dup(s);
	return 0;
}

/* The array <name>, NULL when absent, of at most WIRE_MAX_LIST items. */
static int get_list(const struct json *j, const char *name, const struct json **list,
		    struct err *err)
{
	const struct json *found = json_get(j, name);

	*list = NULL;
	if (json_type(found) == JSON_ABSENT || json_type(found) == JSON_NULL)
		return 0;
	if (json_type(found) != JSON_ARRAY || json_len(found) > WIRE_MAX_LIST)
		return err_say(err, -EINVAL, "member \"%s\": expected an array of at most %d", name,
			       WIRE_MAX_LIST);
	*list = found;
	return 0;
}

static int get_ports(struct wire_deploy *d, const struct json *j, struct err *err)
{
	const struct json *list;
	int rc = get_list(j, "port_mappings", &list, err);

	if (rc || !list)
		return rc;
	d->ports = xcalloc(json_len(list), sizeof(*d->ports));
	for (; d->nports < json_len(list); d->nports++)
		if (wire_get_port(json_at(list, d->nports), &d->ports[d->nports], err))
			return err_prefix(err, "member \"port_mappings\"");
	return 0;
}

static int get_mount(struct wire_mount *m, const struct json *j, struct err *err)
{
	int rc = get_text(j, "type", 16, &m->type, err);

	if (!rc)
		rc = get_text(j, "source", 4096, &m->source, err);
	if (!rc)
		rc = get_text(j, "target", 4096, &m->target, err);
	if (!rc)
		rc = json_want_bool(j, "read_only", &m->read_only, err);
	if (rc && rc != -ENOENT)
		return rc;
	if (!m->type || (strcmp(m->type, "volume") && strcmp(m->type, "bind")))
		return err_say(err, -EINVAL, "member \"type\": expected \"volume\" or \"bind\"");
	if (!m->source || !*m->source || !m->target || *m->target != '/')
		return err_say(err, -EINVAL, "a mount needs \"source\" and an absolute \"target\"");
	return 0;
}

static int get_mounts(struct wire_deploy *d, const struct json *j, struct err *err)
{
	const struct json *list;
	int rc = get_list(j, "mounts", &list, err);

	if (rc || !list)
		return rc;
	d->mounts = xcalloc(json_len(list), sizeof(*d->mounts));
	while (d->nmounts < json_len(list)) {
		size_t i = d->nmounts++;

		if (get_mount(&d->mounts[i], json_at(list, i), err))
			return err_prefix(err, "member \"mounts\"");
	}
	return 0;
}

/* Words, NULL-terminated; NULL for none. */
static int get_words(char ***out, const struct json *j, const char *name, struct err *err)
{
	const struct json *list;
	int rc = get_list(j, name, &list, err);

	if (rc || !list || !json_len(list))
		return rc;
	*out = xcalloc(json_len(list) + 1, sizeof(**out));
	for (size_t i = 0; i < json_len(list); i++) {
		struct slice word = json_str(json_at(list, i), NULL);

		if (!word.p || word.n > WIRE_MAX_TEXT || memchr(word.p, '\0', word.n))
			return err_say(err, -EINVAL, "member \"%s\": expected an array of strings", name);
		(*out)[i] = slice_dup(word);
	}
	return 0;
}

static void put_words(struct json_out *o, const char *name, char **words)
{
	json_arr(o, name);
	for (char **word = words; *word; word++)
		json_put_str(o, NULL, *word);
	json_arr_end(o);
}

static void free_words(char **words)
{
	for (char **word = words; word && *word; word++)
		free(*word);
	free(words);
}

/* Objects whose members are optional; null stands for none. */
static int get_object(const struct json *j, const char *name, const struct json **obj,
		      struct err *err)
{
	*obj = json_get(j, name);
	if (json_type(*obj) == JSON_NULL)
		*obj = NULL;
	if (*obj && json_type(*obj) != JSON_OBJECT)
		return err_say(err, -EINVAL, "member \"%s\": expected an object or null", name);
	return 0;
}

static int get_health(struct wire_deploy *d, const struct json *j, struct err *err)
{
	uint64_t interval_ms = 0, start_ms = 0, retries = 0;
	const struct json *health;
	int rc = get_object(j, "health", &health, err);

	if (rc || !health)
		return rc;
	rc = get_words(&d->health.command, health, "command", err);
	if (!rc)
		rc = wire_may_uint(health, "interval_ms", UINT32_MAX, &interval_ms, err);
	if (!rc)
		rc = wire_may_uint(health, "start_ms", UINT32_MAX, &start_ms, err);
	if (!rc)
		rc = wire_may_uint(health, "retries", 1000, &retries, err);
	d->health.interval_ms = (uint32_t)interval_ms;
	d->health.start_ms = (uint32_t)start_ms;
	d->health.retries = (uint32_t)retries;
	return rc ? err_prefix(err, "member \"health\"") : 0;
}

/* [0,3]: the numbers of graphics cards, as the engine counts them. */
static int get_gpus(struct wire_deploy *d, const struct json *limits, struct err *err)
{
	const struct json *list;
	int rc = get_list(limits, "gpus", &list, err);

	for (size_t i = 0; !rc && i < json_len(list); i++) {
		int64_t card = json_int(json_at(list, i), -1);

		if (card < 0 || card > 63)
			return err_say(err, -EINVAL, "member \"gpus\": expected numbers from 0 to 63");
		d->gpus |= 1ull << card;
	}
	return rc;
}

static int get_limits(struct wire_deploy *d, const struct json *j, struct err *err)
{
	const struct json *limits;
	int rc = get_object(j, "resource_limits", &limits, err);

	if (rc || !limits)
		return rc;
	rc = json_want_real(limits, "cpu_limit", 0, 4096, &d->cpu_limit, err);
	if (!rc || rc == -ENOENT)
		rc = wire_may_uint(limits, "memory_limit_mb", 1u << 30, &d->memory_limit_mb, err);
	if (!rc)
		rc = wire_may_uint(limits, "disk_limit_mb", 1u << 30, &d->disk_limit_mb, err);
	return rc ? rc : get_gpus(d, limits, err);
}

static int get_log_config(struct wire_deploy *d, const struct json *j, struct err *err)
{
	const struct json *log;
	uint64_t files = 0;
	int rc = get_object(j, "log_config", &log, err);

	if (rc || !log)
		return rc;
	rc = get_text(log, "max_size", 16, &d->log_max_size, err);
	if (!rc)
		rc = wire_may_uint(log, "max_file", 100, &files, err);
	d->log_max_file = (uint32_t)files;
	return rc;
}

static int get_restart(struct wire_deploy *d, const struct json *j, struct err *err)
{
	char name[24];
	int rc = wire_may_text(j, "restart_policy", name, sizeof(name), err);

	d->restart_policy = WIRE_RESTART_UNLESS_STOPPED;
	if (rc || !name[0])
		return rc;
	for (unsigned i = 0; i < ARRAY_LEN(restart_names); i++) {
		if (!strcmp(name, restart_names[i])) {
			d->restart_policy = i;
			return 0;
		}
	}
	return err_say(
		err, -EINVAL,
		"member \"restart_policy\": expected Never, Always, OnFailure or UnlessStopped, got \"%s\"",
		name);
}

static int get_names(struct wire_deploy *d, const struct json *j, struct err *err)
{
	uint64_t grace_s = 0;
	int rc = get_text(j, "image_name", 512, &d->image_name, err);

	if (!rc)
		rc = get_text(j, "container_name", 128, &d->container_name, err);
	if (!rc)
		rc = get_text(j, "network_name", 128, &d->network_name, err);
	if (!rc)
		rc = get_text(j, "spec_hash", 128, &d->spec_hash, err);
	if (!rc)
		rc = wire_may_uint(j, "stop_timeout_s", 86400, &grace_s, err);
	if (rc)
		return rc;
	d->stop_timeout_s = (uint32_t)grace_s;
	if (!d->image_name || !*d->image_name)
		return err_say(err, -EINVAL, "member \"image_name\" is missing");
	if (!d->container_name)
		return err_say(err, -EINVAL, "member \"container_name\" is missing");
	if (!wire_is_docker_name(d->container_name))
		return err_say(
			err, -EINVAL,
			"member \"container_name\": letters, digits, '_', '.' and '-' only, the first a letter or digit");
	if (d->network_name && !wire_is_docker_name(d->network_name))
		return err_say(
			err, -EINVAL,
			"member \"network_name\": letters, digits, '_', '.' and '-' only, the first a letter or digit");
	return 0;
}

static int check_env(const struct pairs *env, struct err *err)
{
	for (size_t i = 0; i < env->n; i++)
		if (strchr(env->items[i].key, '='))
			return err_say(err, -EINVAL,
				       "member \"environment_vars\": a name with '='");
	return 0;
}

int wire_deploy_parse(struct wire_deploy *d, const struct json *j, struct err *err)
{
	int rc;

	*d = (struct wire_deploy){ 0 };
	if (json_type(j) != JSON_OBJECT)
		return err_say(err, -EINVAL, "expected an object");
	rc = get_names(d, j, err);
	if (!rc)
		rc = pairs_load(&d->env, j, "environment_vars", WIRE_MAX_PAIRS, err);
	if (!rc)
		rc = pairs_load(&d->secrets, j, "secrets", WIRE_MAX_PAIRS, err);
	if (!rc)
		rc = pairs_load(&d->labels, j, "labels", WIRE_MAX_PAIRS, err);
	if (!rc)
		rc = check_env(&d->env, err);
	if (!rc)
		rc = check_env(&d->secrets, err);
	if (!rc)
		rc = get_ports(d, j, err);
	if (!rc)
		rc = get_mounts(d, j, err);
	if (!rc)
		rc = get_words(&d->command, j, "command", err);
	if (!rc)
		rc = get_health(d, j, err);
	if (!rc)
		rc = get_limits(d, j, err);
	if (!rc)
		rc = get_log_config(d, j, err);
	if (!rc)
		rc = get_restart(d, j, err);
	if (rc)
		wire_deploy_fini(d);
	return rc;
}

static void put_limits(const struct wire_deploy *d, struct json_out *o)
{
	json_obj(o, "resource_limits");
	if (d->cpu_limit > 0)
		json_put_real(o, "cpu_limit", d->cpu_limit);
	else
		json_put_null(o, "cpu_limit");
	if (d->memory_limit_mb)
		json_put_int(o, "memory_limit_mb", (int64_t)d->memory_limit_mb);
	else
		json_put_null(o, "memory_limit_mb");
	if (d->disk_limit_mb)
		json_put_int(o, "disk_limit_mb", (int64_t)d->disk_limit_mb);
	else
		json_put_null(o, "disk_limit_mb");
	if (d->gpus) {
		json_arr(o, "gpus");
		for (unsigned i = 0; i < 64; i++)
			if (d->gpus >> i & 1)
				json_put_int(o, NULL, i);
		json_arr_end(o);
	}
	json_obj_end(o);
}

static void put_lists(const struct wire_deploy *d, struct json_out *o)
{
	json_arr(o, "port_mappings");
	for (size_t i = 0; i < d->nports; i++)
		wire_put_port(o, &d->ports[i]);
	json_arr_end(o);
	json_arr(o, "mounts");
	for (size_t i = 0; i < d->nmounts; i++) {
		json_obj(o, NULL);
		json_put_str(o, "type", d->mounts[i].type);
		json_put_str(o, "source", d->mounts[i].source);
		json_put_str(o, "target", d->mounts[i].target);
		json_put_bool(o, "read_only", d->mounts[i].read_only);
		json_obj_end(o);
	}
	json_arr_end(o);
	if (!d->command) {
		json_put_null(o, "command");
		return;
	}
	put_words(o, "command", d->command);
}

static void put_health(const struct wire_health *h, struct json_out *o)
{
	if (!h->command)
		return;
	json_obj(o, "health");
	put_words(o, "command", h->command);
	json_put_int(o, "interval_ms", h->interval_ms);
	json_put_int(o, "start_ms", h->start_ms);
	json_put_int(o, "retries", h->retries);
	json_obj_end(o);
}

void wire_deploy_emit(const struct wire_deploy *d, struct json_out *o)
{
	json_obj(o, NULL);
	json_put_str(o, "image_name", d->image_name);
	json_put_str(o, "container_name", d->container_name);
	pairs_put(&d->env, o, "environment_vars");
	pairs_put(&d->secrets, o, "secrets");
	pairs_put(&d->labels, o, "labels");
	put_lists(d, o);
	put_health(&d->health, o);
	json_put_str(o, "network_name", d->network_name);
	put_limits(d, o);
	json_put_str(o, "restart_policy", restart_names[d->restart_policy]);
	/* Required by the protocol; nobody here reads it, logs are the engine's. */
	json_put_str(o, "log_path", "");
	if (d->log_max_size || d->log_max_file) {
		json_obj(o, "log_config");
		json_put_str(o, "max_size", d->log_max_size);
		json_put_int(o, "max_file", d->log_max_file);
		json_obj_end(o);
	}
	json_put_int(o, "stop_timeout_s", d->stop_timeout_s);
	json_put_str(o, "spec_hash", d->spec_hash);
	json_obj_end(o);
}

void wire_deploy_fini(struct wire_deploy *d)
{
	for (size_t i = 0; i < d->nmounts; i++) {
		free(d->mounts[i].type);
		free(d->mounts[i].source);
		free(d->mounts[i].target);
	}
	free_words(d->command);
	free_words(d->health.command);
	pairs_fini(&d->env);
	pairs_fini(&d->labels);
	pairs_fini(&d->secrets);
	free(d->image_name);
	free(d->container_name);
	free(d->network_name);
	free(d->static_ip);
	free(d->log_max_size);
	free(d->spec_hash);
	free(d->ports);
	free(d->mounts);
	*d = (struct wire_deploy){ 0 };
}

int wire_deployed_parse(struct wire_deployed *d, const struct json *j, struct err *err)
{
	uint64_t port = 0, host_port = 0;
	int rc;

	*d = (struct wire_deployed){ 0 };
	rc = wire_get_container(j, d->container_id, d->container_name, err);
	if (!rc)
		rc = wire_need_text(j, "status", d->status, sizeof(d->status), err);
	if (!rc)
		rc = wire_may_uint(j, "container_port", UINT16_MAX, &port, err);
	if (!rc)
		rc = wire_may_uint(j, "host_port", UINT16_MAX, &host_port, err);
	if (!rc)
		rc = wire_may_time(j, "started_at", &d->started_at_ms, err);
	d->container_port = (uint16_t)port;
	d->host_port = (uint16_t)host_port;
	return rc;
}

void wire_deployed_emit(const struct wire_deployed *d, struct json_out *o, const char *name)
{
	json_obj(o, name);
	json_put_str(o, "container_id", d->container_id);
	json_put_str(o, "container_name", d->container_name);
	json_put_int(o, "container_port", d->container_port);
	json_put_int(o, "host_port", d->host_port);
	json_put_str(o, "status", d->status);
	wire_put_time(o, "started_at", d->started_at_ms);
	json_obj_end(o);
}
