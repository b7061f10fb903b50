/* The agent's configuration, from flags, environment and agent.json. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/settings.h"
#include "agent/wire_part.h"
#include "base/config.h"
#include "base/text.h"

#define MAX_FILE_BYTES (1u << 20)
#define DEFAULT_ADDRESS "0.0.0.0:3100"

char *settings_path(void)
{
	const char *home = getenv("HOME");

	return home && *home ? xasprintf("%s/.temps/agent.json", home)
			     : xstrdup("/etc/temps/agent.json");
}

void settings_set(char **text, const char *value)
{
	char *copy = value ? xstrdup(value) : NULL;

	free(*text);
	*text = copy;
}

void settings_fini(struct settings *s)
{
	free(s->listen_address);
	free(s->token);
	free(s->node_name);
	free(s->control_plane_url);
	free(s->cluster_id);
	free(s->private_address);
	free(s->address);
	free(s->cert_pem);
	free(s->key_pem);
	free(s->ca_cert_pem);
	free(s->control_plane_ca_pem);
	pairs_fini(&s->labels);
	*s = (struct settings){ 0 };
}

/* The members that are texts, by where they are kept. */
static const struct {
	const char *name;
	size_t at;
	size_t max;
} texts[] = {
	{ "listen_address", offsetof(struct settings, listen_address), 128 },
	{ "token", offsetof(struct settings, token), 1024 },
	{ "node_name", offsetof(struct settings, node_name), 64 },
	{ "control_plane_url", offsetof(struct settings, control_plane_url), 2048 },
	{ "cluster_id", offsetof(struct settings, cluster_id), 128 },
	{ "private_address", offsetof(struct settings, private_address), 64 },
	{ "address", offsetof(struct settings, address), 256 },
	{ "cert_pem", offsetof(struct settings, cert_pem), 65536 },
	{ "key_pem", offsetof(struct settings, key_pem), 65536 },
	{ "ca_cert_pem", offsetof(struct settings, ca_cert_pem), 65536 },
	{ "control_plane_ca_pem", offsetof(struct settings, control_plane_ca_pem), 65536 },
};

static char **text_at(const struct settings *s, size_t at)
{
	return (char **)((uintptr_t)s + at);
}

static int get_texts(struct settings *s, const struct json *j, struct err *err)
{
	struct slice text;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		rc = json_want_str(j, texts[i].name, texts[i].max, &text, err);
		if (rc == -ENOENT)
			continue;
		if (rc)
			return rc;
		if (text.n && memchr(text.p, '\0', text.n))
			return err_say(err, -EINVAL, "member \"%s\": holds a NUL", texts[i].name);
		*text_at(s, texts[i].at) = slice_dup(text);
	}
	return 0;
}

static int get_resources(struct settings *s, const struct json *j, struct err *err)
{
	const struct json *told = json_get(j, "resources");
	uint64_t cores = 0, memory = 0, disk = 0, gpus = 0;
	int rc;

	if (json_type(told) == JSON_ABSENT || json_type(told) == JSON_NULL)
		return 0;
	if (json_type(told) != JSON_OBJECT)
		return err_say(err, -EINVAL, "member \"resources\": expected an object");
	rc = wire_may_uint(told, "cpu_cores", 65536, &cores, err);
	if (!rc)
		rc = wire_may_uint(told, "memory_gb", 1u << 30, &memory, err);
	if (!rc)
		rc = wire_may_uint(told, "disk_gb", 1u << 30, &disk, err);
	if (!rc)
		rc = wire_may_uint(told, "gpu_count", 64, &gpus, err);
	s->resources = (struct metrics_told){ .cpu_cores = (uint32_t)cores,
					      .memory_gb = (uint32_t)memory,
					      .disk_gb = (uint32_t)disk,
					      .gpus_told = json_type(json_get(told, "gpu_count")) == JSON_INT,
					      .gpus = (uint32_t)gpus };
	return rc;
}

static int get_all(struct settings *s, const struct json *j, struct err *err)
{
	uint64_t interval_s = 0;
	int64_t id = 0;
	int rc;

	if (json_type(j) != JSON_OBJECT)
		return err_say(err, -EINVAL, "expected an object");
	rc = get_texts(s, j, err);
	if (rc)
		return rc;
	rc = json_want_int(j, "node_id", 0, INT64_MAX, &id, err);
	if (rc && rc != -ENOENT)
		return rc;
	s->has_node_id = !rc;
	s->node_id = (uint64_t)id;
	rc = wire_may_uint(j, "heartbeat_interval_s", 86400, &interval_s, err);
	if (!rc)
		rc = pairs_load(&s->labels, j, "labels", WIRE_MAX_PAIRS, err);
	if (!rc)
		rc = get_resources(s, j, err);
	s->heartbeat_interval_s = (uint32_t)interval_s;
	return rc;
}

/* "FILE: line 3 column 7: …" as compilers write it, so that editors find the place. */
static int place_error(struct err *err, const char *path)
{
	unsigned line, column;
	int at = 0;
	char reason[sizeof(err->text)];

	if (sscanf(err->text, "line %u column %u: %n", &line, &column, &at) == 2 && at) {
		snprintf(reason, sizeof(reason), "%s", err->text + at);
		return err_say(err, -EINVAL, "%s:%u:%u: %s", path, line, column, reason);
	}
	return err_prefix(err, "%s", path);
}

int settings_read(struct settings *s, const char *path, struct err *err)
{
	struct json *j;
	char *text;
	size_t n;
	int rc;

	*s = (struct settings){ 0 };
	rc = file_read(path, MAX_FILE_BYTES, &text, &n, err);
	if (rc)
		return rc;
	rc = json_parse(&j, slice_of(text, n), err);
	free(text);
	if (rc)
		return place_error(err, path);
	rc = get_all(s, j, err);
	json_free(j);
	if (rc) {
		settings_fini(s);
		return err_prefix(err, "%s", path);
	}
	return 0;
}

/* One member a line: people look at this file. */
static void put_member(struct buf *b, const char *name, const char *text)
{
	struct json_out o;
	struct buf one;

	if (!text)
		return;
	buf_init(&one, 0);
	json_out_init(&o, &one);
	json_put_str(&o, NULL, text);
	buf_printf(b, ",\n  \"%s\": %s", name, one.data);
	buf_fini(&one);
}

/* Those alone that were said: what is found may change. */
static void put_resources(const struct metrics_told *t, struct buf *b)
{
	const struct {
		const char *name;
		uint32_t value;
		bool said;
	} rows[] = {
		{ "cpu_cores", t->cpu_cores, t->cpu_cores != 0 },
		{ "memory_gb", t->memory_gb, t->memory_gb != 0 },
		{ "disk_gb", t->disk_gb, t->disk_gb != 0 },
		{ "gpu_count", t->gpus, t->gpus_told },
	};
	struct json_out o;
	bool any = false;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		any |= rows[i].said;
	if (!any)
		return;
	buf_append_str(b, ",\n  \"resources\": ");
	json_out_init(&o, b);
	json_obj(&o, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].said)
			json_put_int(&o, rows[i].name, rows[i].value);
	json_obj_end(&o);
}

static void put_all(const struct settings *s, struct buf *b)
{
	struct json_out o;

	buf_printf(b, "{\n  \"node_id\": %llu", (unsigned long long)s->node_id);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		put_member(b, texts[i].name, *text_at(s, texts[i].at));
	if (s->heartbeat_interval_s)
		buf_printf(b, ",\n  \"heartbeat_interval_s\": %u", s->heartbeat_interval_s);
	put_resources(&s->resources, b);
	buf_append_str(b, ",\n  \"labels\": ");
	json_out_init(&o, b);
	pairs_put(&s->labels, &o, NULL);
	buf_append_str(b, "\n}\n");
}

int settings_write(const struct settings *s, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash && slash != path ? xstrndup(path, (size_t)(slash - path))
					   : xstrdup(slash ? "/" : ".");
	struct buf b;
	int rc;

	buf_init(&b, 0);
	put_all(s, &b);
	rc = dir_private(dir, err);
	if (!rc)
		rc = file_write(path, b.data, b.len, 0600, err);
	buf_fini(&b);
	free(dir);
	return rc;
}

static int set_node_id(struct settings *s, const char *text, const char *where, struct err *err)
{
	uint64_t id;

	if (slice_u64(slice_str(text), &id) || id > INT64_MAX)
		return err_say(err, -EINVAL, "%s: \"%s\" is no node id: a whole number is expected",
			       where, text);
	s->node_id = id;
	s->has_node_id = true;
	return 0;
}

static int overlay(struct settings *s, const struct agent_options *o, struct err *err)
{
	const struct {
		const char *variable, *flag;
		char **text;
	} rows[] = {
		{ "TEMPS_AGENT_ADDRESS", o->listen_address, &s->listen_address },
		{ "TEMPS_AGENT_TOKEN", o->token, &s->token },
		{ "TEMPS_NODE_NAME", o->node_name, &s->node_name },
		{ "TEMPS_CONTROL_PLANE_URL", o->control_plane_url, &s->control_plane_url },
	};
	const char *id = getenv("TEMPS_NODE_ID");

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *value = rows[i].flag ? rows[i].flag : getenv(rows[i].variable);

		if (value && *value)
			settings_set(rows[i].text, value);
	}
	if (o->node_id)
		return set_node_id(s, o->node_id, "--node-id", err);
	return id && *id ? set_node_id(s, id, "TEMPS_NODE_ID", err) : 0;
}

static int check(struct settings *s, struct err *err)
{
	const struct {
		bool missing;
		const char *flag;
	} needed[] = {
		{ !s->token, "--token" },
		{ !s->node_name, "--node-name" },
		{ !s->control_plane_url, "--control-plane-url" },
		{ !s->has_node_id, "--node-id" },
	};

	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (needed[i].missing)
			return err_say(
				err, -EINVAL,
				"Missing %s. Run 'temps join' first, or provide --token, --node-name, --control-plane-url, --node-id",
				needed[i].flag);
	if (!text_is_name(slice_str(s->node_name)))
		return err_say(err, -EINVAL,
			       "node name \"%s\": 1 to 64 letters, digits, '.', '_' and '-'",
			       s->node_name);
	if (strncmp(s->control_plane_url, "https://", 8) &&
	    strncmp(s->control_plane_url, "http://", 7))
		return err_say(err, -EINVAL, "control plane URL \"%s\": expected https://…",
			       s->control_plane_url);
	if (!s->listen_address)
		settings_set(&s->listen_address, DEFAULT_ADDRESS);
	return 0;
}

int settings_load(struct settings *s, const char *path, const struct agent_options *o,
		  struct err *err)
{
	int rc = settings_read(s, path, err);

	if (rc && rc != -ENOENT)
		return rc;
	rc = overlay(s, o, err);
	if (!rc)
		rc = check(s, err);
	if (rc)
		settings_fini(s);
	return rc;
}
