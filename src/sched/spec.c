/* Specifications: copies, records and hashes. */
#include "sched/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/text.h"

static char *dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

void spec_copy(struct app_spec *dst, const struct app_spec *src)
{
	*dst = *src;
	dst->image = xstrdup(src->image);
	dst->health_path = dup_or_null(src->health_path);
	dst->strategy = dup_or_null(src->strategy);
	dst->architecture = dup_or_null(src->architecture);
	strs_copy(&dst->domains, &src->domains);
	strs_copy(&dst->command, &src->command);
	strs_copy(&dst->pre_deploy, &src->pre_deploy);
	strs_copy(&dst->health_command, &src->health_command);
	strs_copy(&dst->nodes, &src->nodes);
	strs_copy(&dst->affinity, &src->affinity);
	strs_copy(&dst->anti_affinity, &src->anti_affinity);
	pairs_copy(&dst->env, &src->env);
	pairs_copy(&dst->secrets, &src->secrets);
	pairs_copy(&dst->policy, &src->policy);
	pairs_copy(&dst->volumes, &src->volumes);
	dst->labels = src->labels_n ? xcalloc(src->labels_n, sizeof(*dst->labels)) : NULL;
	for (size_t i = 0; i < src->labels_n; i++) {
		dst->labels[i].key = xstrdup(src->labels[i].key);
		strs_copy(&dst->labels[i].values, &src->labels[i].values);
	}
}

void spec_fini(struct app_spec *s)
{
	free((char *)s->image);
	free((char *)s->health_path);
	free((char *)s->strategy);
	free((char *)s->architecture);
	strs_fini(&s->domains);
	strs_fini(&s->command);
	strs_fini(&s->pre_deploy);
	strs_fini(&s->health_command);
	strs_fini(&s->nodes);
	strs_fini(&s->affinity);
	strs_fini(&s->anti_affinity);
	pairs_fini(&s->env);
	pairs_fini(&s->secrets);
	pairs_fini(&s->policy);
	pairs_fini(&s->volumes);
	for (size_t i = 0; i < s->labels_n; i++) {
		free((char *)s->labels[i].key);
		strs_fini(&s->labels[i].values);
	}
	free(s->labels);
	*s = (struct app_spec){ 0 };
}

/* What makes one release's containers differ from another's. */
static void put_hashed(const struct app_spec *s, struct json_out *o)
{
	json_put_str(o, "image", s->image);
	json_put_int(o, "replicas", s->replicas);
	json_put_int(o, "port", s->port);
	strs_put(&s->domains, o, "domains");
	pairs_put(&s->env, o, "env");
	pairs_put(&s->secrets, o, "secrets");
	strs_put(&s->command, o, "command");
	json_put_int(o, "cpu_millis", s->cpu_millis);
	json_put_int(o, "memory_bytes", (int64_t)s->memory_bytes);
	json_put_int(o, "disk_bytes", (int64_t)s->disk_bytes);
	json_put_int(o, "gpus", s->gpus);
	json_put_str(o, "health_path", s->health_path);
	strs_put(&s->health_command, o, "health_command");
	json_put_int(o, "health_start_ms", s->health_start_ms);
	json_put_int(o, "health_limit_ms", s->health_limit_ms);
	json_put_int(o, "stop_grace_s", s->stop_grace_s);
	json_put_int(o, "request_drain_ms", s->request_drain_ms);
	json_put_int(o, "tunnel_drain_ms", s->tunnel_drain_ms);
	pairs_put(&s->volumes, o, "volumes");
	json_put_int(o, "max_surge", s->max_surge);
	json_put_bool(o, "stop_first", s->stop_first);
	strs_put(&s->pre_deploy, o, "pre_deploy");
	strs_put(&s->nodes, o, "nodes");
	json_obj(o, "constraints");
	for (size_t i = 0; i < s->labels_n; i++)
		strs_put(&s->labels[i].values, o, s->labels[i].key);
	json_obj_end(o);
	strs_put(&s->affinity, o, "affinity");
	strs_put(&s->anti_affinity, o, "anti_affinity");
	json_put_str(o, "strategy", s->strategy);
	json_put_str(o, "architecture", s->architecture);
}

void spec_put(const struct app_spec *s, struct json_out *o)
{
	put_hashed(s, o);
	pairs_put(&s->policy, o, "policy");
}

static int load_str(const char **out, const struct json *obj, const char *name, struct err *err)
{
	struct slice s;
	int rc = json_want_str(obj, name, SPEC_TEXT_MAX, &s, err);

	if (!rc)
		*out = slice_dup(s);
	return rc == -ENOENT ? 0 : rc;
}

static int load_int(int64_t *out, const struct json *obj, const char *name, int64_t max,
		    struct err *err)
{
	int rc;

	*out = 0;
	rc = json_want_int(obj, name, 0, max, out, err);
	return rc == -ENOENT ? 0 : rc;
}

static int load_constraints(struct app_spec *s, const struct json *obj, struct err *err)
{
	const struct json *map = json_get(obj, "constraints"), *value;
	struct slice key;
	void *it = NULL;
	int rc = 0;

	if (json_len(map) > SPEC_LABELS_MAX)
		return err_say(err, -EINVAL, "member \"constraints\": more than %u",
			       SPEC_LABELS_MAX);
	s->labels = json_len(map) ? xcalloc(json_len(map), sizeof(*s->labels)) : NULL;
	while (!rc && json_next(map, &it, &key, &value)) {
		struct constraint *l = &s->labels[s->labels_n++];

		l->key = slice_dup(key);
		rc = strs_load(&l->values, map, l->key, SPEC_LABELS_MAX, err);
	}
	return rc;
}

static int load_numbers(struct app_spec *s, const struct json *obj, struct err *err)
{
	int64_t replicas, port, cpu, memory, disk, gpus, health, grace, surge, start, requests, tunnels;
	int rc = load_int(&replicas, obj, "replicas", SPEC_REPLICAS_MAX, err);

	if (!rc)
		rc = load_int(&port, obj, "port", UINT16_MAX, err);
	if (!rc)
		rc = load_int(&cpu, obj, "cpu_millis", UINT32_MAX, err);
	if (!rc)
		rc = load_int(&memory, obj, "memory_bytes", INT64_MAX, err);
	if (!rc)
		rc = load_int(&disk, obj, "disk_bytes", INT64_MAX, err);
	if (!rc)
		rc = load_int(&gpus, obj, "gpus", SPEC_GPUS_MAX, err);
	if (!rc)
		rc = load_int(&health, obj, "health_limit_ms", UINT32_MAX, err);
	if (!rc)
		rc = load_int(&grace, obj, "stop_grace_s", UINT32_MAX, err);
	if (!rc)
		rc = load_int(&requests, obj, "request_drain_ms", UINT32_MAX, err);
	if (!rc)
		rc = load_int(&tunnels, obj, "tunnel_drain_ms", UINT32_MAX, err);
	if (!rc)
		rc = load_int(&start, obj, "health_start_ms", UINT32_MAX, err);
	if (!rc)
		rc = load_int(&surge, obj, "max_surge", SPEC_REPLICAS_MAX, err);
	if (rc)
		return rc;
	s->replicas = (uint32_t)replicas;
	s->port = (uint16_t)port;
	s->cpu_millis = (uint32_t)cpu;
	s->memory_bytes = (uint64_t)memory;
	s->disk_bytes = (uint64_t)disk;
	s->gpus = (uint32_t)gpus;
	s->health_limit_ms = (uint32_t)health;
	s->stop_grace_s = (uint32_t)grace;
	s->max_surge = (uint32_t)surge;
	s->health_start_ms = (uint32_t)start;
	s->request_drain_ms = (uint32_t)requests;
	s->tunnel_drain_ms = (uint32_t)tunnels;
	s->stop_first = json_bool(json_get(obj, "stop_first"), false);
	return 0;
}

int spec_load(struct app_spec *s, const struct json *obj, struct err *err)
{
	int rc;

	*s = (struct app_spec){ 0 };
	rc = load_numbers(s, obj, err);
	if (!rc)
		rc = load_str(&s->image, obj, "image", err);
	if (!rc)
		rc = load_str(&s->health_path, obj, "health_path", err);
	if (!rc)
		rc = load_str(&s->strategy, obj, "strategy", err);
	if (!rc)
		rc = load_str(&s->architecture, obj, "architecture", err);
	if (!rc)
		rc = strs_load(&s->domains, obj, "domains", SPEC_DOMAINS_MAX, err);
	if (!rc)
		rc = strs_load(&s->command, obj, "command", SPEC_ARGS_MAX, err);
	if (!rc)
		rc = strs_load(&s->pre_deploy, obj, "pre_deploy", SPEC_ARGS_MAX, err);
	if (!rc)
		rc = strs_load(&s->health_command, obj, "health_command", SPEC_ARGS_MAX, err);
	if (!rc)
		rc = strs_load(&s->nodes, obj, "nodes", SPEC_NODES_MAX, err);
	if (!rc)
		rc = strs_load(&s->affinity, obj, "affinity", SPEC_AFFINITIES_MAX, err);
	if (!rc)
		rc = strs_load(&s->anti_affinity, obj, "anti_affinity", SPEC_AFFINITIES_MAX, err);
	if (!rc)
		rc = pairs_load(&s->env, obj, "env", SPEC_ENV_MAX, err);
	if (!rc)
		rc = pairs_load(&s->secrets, obj, "secrets", SPEC_ENV_MAX, err);
	if (!rc)
		rc = pairs_load(&s->policy, obj, "policy", SPEC_POLICIES_MAX, err);
	if (!rc)
		rc = pairs_load(&s->volumes, obj, "volumes", SPEC_VOLUMES_MAX, err);
	if (!rc)
		rc = load_constraints(s, obj, err);
	if (!rc)
		rc = spec_check(s, err);
	return rc;
}

void spec_hash_bytes(struct slice bytes, char *hex)
{
	static const struct hash_key first = { 0x7370656320686173ull, 1 },
				     second = { 0x7370656320686173ull, 2 };

	snprintf(hex, SPEC_HASH_LEN + 1, "%016" PRIx64 "%016" PRIx64,
		 hash_bytes(&first, bytes.p, bytes.n), hash_bytes(&second, bytes.p, bytes.n));
}

void spec_hash(const struct app_spec *s, char *hex)
{
	struct json_out o;
	struct buf text;

	buf_init(&text, 0);
	json_out_init(&o, &text);
	json_obj(&o, NULL);
	put_hashed(s, &o);
	json_obj_end(&o);
	spec_hash_bytes(buf_slice(&text), hex);
	buf_fini(&text);
}

bool spec_is_stop_first(const struct app_spec *s)
{
	return s->stop_first || s->volumes.n;
}

struct resources spec_resources(const struct app_spec *s)
{
	return (struct resources){ .cpu_millis = s->cpu_millis,
				   .memory_bytes = s->memory_bytes,
				   .disk_bytes = s->disk_bytes,
				   .gpus = s->gpus };
}
