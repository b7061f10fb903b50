/* Containers, capacity, events, pull progress and the envelope as JSON, strict on the way in. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "agent/wire_part.h"

static int get_ports(struct wire_container *c, const struct json *j, struct err *err)
{
	const struct json *list = json_get(j, "ports");
	int rc;

	if (json_type(list) == JSON_ABSENT || json_type(list) == JSON_NULL)
		return 0;
	if (json_type(list) != JSON_ARRAY || json_len(list) > WIRE_MAX_LIST)
		return err_say(err, -EINVAL, "member \"ports\": expected an array of at most %d",
			       WIRE_MAX_LIST);
	/* More than a container of ours can have are not an error: the rest is not looked at. */
	while (c->nports < json_len(list) && c->nports < ARRAY_LEN(c->ports)) {
		rc = wire_get_port(json_at(list, c->nports), &c->ports[c->nports], err);
		if (rc)
			return err_prefix(err, "member \"ports\"");
		c->nports++;
	}
	return 0;
}

static void put_ports(const struct wire_container *c, struct json_out *o)
{
	json_arr(o, "ports");
	for (size_t i = 0; i < c->nports; i++)
		wire_put_port(o, &c->ports[i]);
	json_arr_end(o);
}

/* What both forms of a container have. */
static int get_common(struct wire_container *c, const struct json *j, struct err *err)
{
	uint64_t restarts = 0;
	int64_t code = 0;
	int rc;

	if (json_type(j) != JSON_OBJECT)
		return err_say(err, -EINVAL, "a container must be an object");
	rc = wire_get_container(j, c->id, c->name, err);
	if (!rc)
		rc = wire_may_time(j, "started_at", &c->started_at_ms, err);
	if (!rc)
		rc = wire_may_uint(j, "restart_count", INT32_MAX, &restarts, err);
	if (!rc)
		rc = json_want_int(j, "exit_code", INT32_MIN, INT32_MAX, &code, err);
	if (!rc || rc == -ENOENT)
		rc = json_want_bool(j, "oom_killed", &c->oom_killed, err);
	if (!rc || rc == -ENOENT)
		rc = get_ports(c, j, err);
	if (!rc)
		rc = pairs_load(&c->labels, j, "labels", WIRE_MAX_PAIRS, err);
	c->restart_count = (uint32_t)restarts;
	c->exit_code = (int)code;
	return rc;
}

int wire_container_parse(struct wire_container *c, const struct json *j, struct err *err)
{
	int rc;

	*c = (struct wire_container){ 0 };
	rc = get_common(c, j, err);
	if (!rc)
		rc = wire_need_text(j, "status", c->status, sizeof(c->status), err);
	if (!rc)
		rc = wire_may_text(j, "image_name", c->image, sizeof(c->image), err);
	if (!rc)
		rc = wire_may_text(j, "image_id", c->image_id, sizeof(c->image_id), err);
	if (!rc)
		rc = wire_may_text(j, "health", c->health, sizeof(c->health), err);
	if (!rc)
		rc = wire_may_text(j, "ip", c->ip, sizeof(c->ip), err);
	if (!rc)
		rc = wire_may_time(j, "created_at", &c->created_at_ms, err);
	if (!rc)
		rc = wire_may_time(j, "finished_at", &c->finished_at_ms, err);
	if (!rc)
		rc = pairs_load(&c->env, j, "environment_vars", WIRE_MAX_PAIRS, err);
	if (rc)
		wire_container_fini(c);
	return rc;
}

int wire_container_parse_beat(struct wire_container *c, const struct json *j, struct err *err)
{
	int rc;

	*c = (struct wire_container){ 0 };
	rc = get_common(c, j, err);
	if (!rc)
		rc = wire_may_text(j, "state", c->status, sizeof(c->status), err);
	if (rc)
		wire_container_fini(c);
	return rc;
}

static bool looks_secret(const char *name)
{
	static const char *const words[] = {
		"PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH"
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasestr(name, words[i]))
			return true;
	return false;
}

static void put_env(const struct wire_container *c, struct json_out *o)
{
	json_obj(o, "environment_vars");
	for (size_t i = 0; i < c->env.n; i++)
		json_put_str(o, c->env.items[i].key,
			     looks_secret(c->env.items[i].key) ? "***" : c->env.items[i].value);
	json_obj_end(o);
}

static void put_common(const struct wire_container *c, struct json_out *o)
{
	json_put_str(o, "container_id", c->id);
	json_put_str(o, "container_name", c->name);
	wire_put_time(o, "started_at", c->started_at_ms);
	put_ports(c, o);
	json_put_int(o, "exit_code", c->exit_code);
	json_put_bool(o, "oom_killed", c->oom_killed);
	json_put_int(o, "restart_count", c->restart_count);
	pairs_put(&c->labels, o, "labels");
}

void wire_container_emit(const struct wire_container *c, struct json_out *o, const char *name)
{
	json_obj(o, name);
	put_common(c, o);
	json_put_str(o, "status", c->status);
	json_put_str(o, "image_name", c->image);
	json_put_str(o, "image_id", c->image_id);
	json_put_str(o, "health", c->health);
	json_put_str(o, "ip", c->ip);
	wire_put_time(o, "created_at", c->created_at_ms);
	wire_put_time(o, "finished_at", c->finished_at_ms);
	put_env(c, o);
	json_obj_end(o);
}

void wire_container_emit_beat(const struct wire_container *c, struct json_out *o)
{
	json_obj(o, NULL);
	put_common(c, o);
	json_put_str(o, "state", c->status);
	json_obj_end(o);
}

void wire_container_fini(struct wire_container *c)
{
	pairs_fini(&c->labels);
	pairs_fini(&c->env);
	*c = (struct wire_container){ 0 };
}

void wire_stats_emit(const struct wire_stats *s, struct json_out *o, const char *name)
{
	json_obj(o, name);
	json_put_str(o, "container_id", s->container_id);
	json_put_str(o, "container_name", s->container_name);
	json_put_real(o, "cpu_percent", s->cpu_percent);
	json_put_int(o, "memory_bytes", (int64_t)s->memory_bytes);
	json_put_int(o, "memory_limit_bytes", (int64_t)s->memory_limit_bytes);
	json_put_real(o, "memory_percent", s->memory_percent);
	json_put_int(o, "network_rx_bytes", (int64_t)s->network_rx_bytes);
	json_put_int(o, "network_tx_bytes", (int64_t)s->network_tx_bytes);
	wire_put_time(o, "timestamp", s->timestamp_ms);
	json_obj_end(o);
}

int wire_capacity_parse(struct wire_capacity *c, const struct json *j, struct err *err)
{
	uint64_t cores = 0, running = 0, gpus = 0;
	int rc;

	*c = (struct wire_capacity){ 0 };
	if (json_type(j) != JSON_OBJECT)
		return err_say(err, -EINVAL, "expected an object");
	rc = json_want_real(j, "cpu_percent", 0, 100, &c->cpu_percent, err);
	if (!rc || rc == -ENOENT)
		rc = wire_may_uint(j, "cpu_cores", 65536, &cores, err);
	if (!rc)
		rc = wire_may_uint(j, "memory_used_bytes", INT64_MAX, &c->memory_used_bytes, err);
	if (!rc)
		rc = wire_may_uint(j, "memory_total_bytes", INT64_MAX, &c->memory_total_bytes, err);
	if (!rc)
		rc = wire_may_uint(j, "disk_used_bytes", INT64_MAX, &c->disk_used_bytes, err);
	if (!rc)
		rc = wire_may_uint(j, "disk_total_bytes", INT64_MAX, &c->disk_total_bytes, err);
	if (!rc)
		rc = wire_may_uint(j, "gpu_count", 1024, &gpus, err);
	if (!rc)
		rc = wire_may_uint(j, "running_containers", UINT32_MAX, &running, err);
	c->gpu_count = (uint32_t)gpus;
	c->cpu_cores = (uint32_t)cores;
	c->running_containers = (uint32_t)running;
	return rc;
}

void wire_capacity_emit(const struct wire_capacity *c, struct json_out *o, const char *name)
{
	json_obj(o, name);
	json_put_real(o, "cpu_percent", c->cpu_percent);
	json_put_int(o, "cpu_cores", c->cpu_cores);
	json_put_int(o, "memory_used_bytes", (int64_t)c->memory_used_bytes);
	json_put_int(o, "memory_total_bytes", (int64_t)c->memory_total_bytes);
	json_put_int(o, "disk_used_bytes", (int64_t)c->disk_used_bytes);
	json_put_int(o, "disk_total_bytes", (int64_t)c->disk_total_bytes);
	json_put_int(o, "gpu_count", c->gpu_count);
	json_put_int(o, "running_containers", c->running_containers);
	json_obj_end(o);
}

int wire_event_parse(struct wire_event *e, struct slice line, struct err *err)
{
	struct json *j;
	int64_t code = -1;
	int rc;

	*e = (struct wire_event){ 0 };
	rc = json_parse(&j, line, err);
	if (rc)
		return rc;
	rc = wire_need_text(j, "action", e->action, sizeof(e->action), err);
	if (!rc)
		rc = wire_get_container(j, e->container_id, e->container_name, err);
	if (!rc)
		rc = wire_may_time(j, "time", &e->time_ms, err);
	if (!rc)
		rc = json_want_int(j, "exit_code", INT32_MIN, INT32_MAX, &code, err);
	if (!rc || rc == -ENOENT)
		rc = pairs_load(&e->labels, j, "labels", WIRE_MAX_PAIRS, err);
	e->exit_code = (int)code;
	json_free(j);
	if (rc)
		wire_event_fini(e);
	return rc;
}

void wire_event_emit(const struct wire_event *e, struct buf *line)
{
	struct json_out o;

	json_out_init(&o, line);
	json_obj(&o, NULL);
	json_put_str(&o, "action", e->action);
	json_put_str(&o, "container_id", e->container_id);
	json_put_str(&o, "container_name", e->container_name);
	json_put_int(&o, "exit_code", e->exit_code);
	wire_put_time(&o, "time", e->time_ms);
	pairs_put(&e->labels, &o, "labels");
	json_obj_end(&o);
	buf_append_str(line, "\n");
}

void wire_event_fini(struct wire_event *e)
{
	pairs_fini(&e->labels);
	*e = (struct wire_event){ 0 };
}

/* As much of <s> as fits, not ending inside a UTF-8 character. */
static void cut_text(struct slice s, char *out, size_t size)
{
	size_t n = MIN(s.n, size - 1);

	if (n < s.n)
		while (n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n--;
	memcpy(out, n ? s.p : "", n);
	out[n] = '\0';
}

int wire_pull_parse(struct wire_pull *p, struct slice line, struct err *err)
{
	const struct json *error;
	struct json *j;
	int64_t status = 500;
	int rc;

	*p = (struct wire_pull){ 0 };
	rc = json_parse(&j, line, err);
	if (rc)
		return rc;
	error = json_get(j, "error");
	if (json_type(error) == JSON_STRING) {
		rc = json_want_int(j, "status", 100, 599, &status, err);
		p->done = true;
		p->rc = wire_rc((unsigned)status) ?: -EIO;
		cut_text(json_str(error, ""), p->text, sizeof(p->text));
	} else if (json_bool(json_get(j, "done"), false)) {
		p->done = true;
	} else if (json_type(json_get(j, "progress")) == JSON_STRING) {
		cut_text(json_str(json_get(j, "progress"), ""), p->text, sizeof(p->text));
	} else {
		rc = err_say(err, -EINVAL, "neither progress nor an end");
	}
	json_free(j);
	return rc == -ENOENT ? 0 : rc;
}

static bool is_image_word(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-+")] == '\0';
}

int wire_image_parse(struct wire_image *i, const struct json *j, struct err *err)
{
	int rc;

	*i = (struct wire_image){ 0 };
	rc = wire_need_text(j, "id", i->id, sizeof(i->id), err);
	if (!rc)
		rc = wire_may_text(j, "architecture", i->architecture, sizeof(i->architecture), err);
	if (!rc)
		rc = wire_may_uint(j, "bytes", INT64_MAX, &i->bytes, err);
	if (!rc && !(is_image_word(i->id) && is_image_word(i->architecture)))
		rc = err_say(err, -EINVAL, "an image's id or architecture has a character that none has");
	if (!rc)
		rc = json_want_bool(j, "from_registry", &i->from_registry, err);
	return rc == -ENOENT ? 0 : rc;
}

int wire_kept_parse(struct wire_kept *k, const struct json *j, struct err *err)
{
	uint64_t release = 0, replica = 0;
	int rc;

	*k = (struct wire_kept){ 0 };
	rc = wire_need_text(j, "container_name", k->container, sizeof(k->container), err);
	if (!rc && !wire_is_docker_name(k->container))
		rc = err_say(err, -EINVAL, "member \"container_name\": not a name");
	if (!rc)
		rc = wire_may_uint(j, "release", UINT32_MAX, &release, err);
	if (!rc)
		rc = wire_may_uint(j, "replica", UINT32_MAX, &replica, err);
	if (!rc)
		rc = wire_may_uint(j, "bytes", INT64_MAX, &k->bytes, err);
	if (!rc)
		rc = wire_may_time(j, "ended_at", &k->ended_ms, err);
	k->release = (uint32_t)release;
	k->replica = (uint32_t)replica;
	return rc;
}

void wire_kept_emit(const struct wire_kept *k, struct json_out *o)
{
	json_obj(o, NULL);
	json_put_str(o, "container_name", k->container);
	json_put_int(o, "release", k->release);
	json_put_int(o, "replica", k->replica);
	json_put_int(o, "bytes", (int64_t)k->bytes);
	wire_put_time(o, "ended_at", k->ended_ms);
	json_obj_end(o);
}

void wire_pull_emit(const struct wire_pull *p, struct buf *line)
{
	struct json_out o;

	json_out_init(&o, line);
	json_obj(&o, NULL);
	if (!p->done) {
		json_put_str(&o, "progress", p->text);
	} else if (!p->rc) {
		json_put_bool(&o, "done", true);
	} else {
		json_put_str(&o, "error", p->text);
		json_put_int(&o, "status", wire_status(p->rc));
	}
	json_obj_end(&o);
	buf_append_str(line, "\n");
}

void wire_envelope_begin(struct json_out *o)
{
	json_obj(o, NULL);
	json_put_bool(o, "success", true);
}

void wire_envelope_end(struct json_out *o)
{
	json_put_null(o, "error");
	json_obj_end(o);
}

void wire_envelope_error(struct json_out *o, const char *error)
{
	json_obj(o, NULL);
	json_put_bool(o, "success", false);
	json_put_null(o, "data");
	json_put_str(o, "error", error);
	json_obj_end(o);
}

int wire_envelope_parse(struct json **doc, const struct json **data, struct slice body,
			struct err *err)
{
	struct json *j;
	bool success = false;
	int rc = json_parse(&j, body, err);

	if (rc)
		return rc;
	rc = json_want_bool(j, "success", &success, err);
	if (rc == -ENOENT)
		rc = err_say(err, -EINVAL, "member \"success\" is missing");
	if (!rc && !success)
		rc = err_say(err, -EREMOTEIO, "%.400s",
			     json_cstr(json_get(j, "error"), "no reason given"));
	if (rc) {
		json_free(j);
		return rc;
	}
	*doc = j;
	*data = json_get(j, "data");
	return 0;
}

static const struct {
	int rc;
	unsigned status;
} statuses[] = {
	{ 0, 200 },	       { -EINVAL, 400 }, { -EACCES, 401 },    { -ENOENT, 404 },
	{ -EEXIST, 409 },      { -EBUSY, 429 },	 { -EIO, 500 },	      { -ECOMM, 503 },
	{ -ETIMEDOUT, 504 },   { -EADDRINUSE, 423 }, { -ENOSPC, 507 },
	/* Only this way round. */
	{ -EACCES, 403 },      { -EINVAL, 413 }, { -EINVAL, 415 },    { -EINVAL, 422 },
};

unsigned wire_status(int rc)
{
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (statuses[i].rc == rc)
			return statuses[i].status;
	return 500;
}

int wire_rc(unsigned status)
{
	if (status >= 200 && status <= 299)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].rc;
	return -EIO;
}
