#include "control/container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/control.h"
#include "control/variables.h"
#include "proxy/policy.h"

#define HEALTH_COMMAND_INTERVAL_MS 2000

/* What names a container's start everywhere in the domain: "" for one that never started. */
static void put_started(uint64_t started_at_ms, char *out)
{
	if (started_at_ms)
		text_time(started_at_ms, true, out);
	else
		out[0] = '\0';
}

static enum container_state state_from(const char *status)
{
	static const struct {
		const char *word;
		enum container_state state;
	} words[] = {
		{ "Created", CONTAINER_CREATED },	{ "Running", CONTAINER_RUNNING },
		{ "Paused", CONTAINER_PAUSED },		{ "Exited", CONTAINER_EXITED },
		{ "Stopped", CONTAINER_EXITED },	{ "Dead", CONTAINER_DEAD },
		{ "Restarting", CONTAINER_RESTARTING },
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].word, status) == 0)
			return words[i].state;
	return CONTAINER_DEAD;
}

static enum container_health health_from(const char *word)
{
	return !strcmp(word, "healthy")	    ? HEALTH_GOOD
	       : !strcmp(word, "unhealthy") ? HEALTH_BAD
	       : !strcmp(word, "starting")  ? HEALTH_STARTING
					    : HEALTH_NONE;
}

void container_info_from(struct container_info *out, const struct wire_container *w, char *started)
{
	const char *spec = pairs_get(&w->labels, WIRE_LABEL_SPEC);

	put_started(w->started_at_ms, started);
	*out = (struct container_info){
		.container_id = w->id,
		.name = w->name,
		.state = state_from(w->status),
		.started_at = started,
		.exit_code = w->exit_code,
		.oom_killed = w->oom_killed,
		.restart_count = w->restart_count,
		.spec_hash = spec ? spec : "",
		.health = health_from(w->health),
	};
}

void container_info_deployed(struct container_info *out, const struct wire_deployed *d, char *started)
{
	put_started(d->started_at_ms, started);
	*out = (struct container_info){
		.container_id = d->container_id,
		.name = d->container_name,
		.state = state_from(d->status),
		.started_at = started,
		.spec_hash = "",
	};
}

/* Volumes are the app's own in the whole engine: "<cluster>-<app>.<name>". */
static void fill_mounts(struct wire_deploy *d, const struct effect_create *e)
{
	size_t prefix = strlen(e->name);

	/* The container's name without its number. */
	while (prefix && e->name[--prefix] != '-')
		;
	d->mounts = xcalloc(e->volumes.n + 1, sizeof(*d->mounts));
	for (; d->nmounts < e->volumes.n; d->nmounts++) {
		const struct pair *v = &e->volumes.items[d->nmounts];

		d->mounts[d->nmounts] = (struct wire_mount){
			.type = (char *)"volume",
			.source = xasprintf("%.*s.%s", (int)prefix, e->name, v->key),
			.target = (char *)v->value,
		};
	}
}

/* NULL-terminated, its words borrowed; the caller's to free(). */
static char **words_of(const struct strs *s)
{
	char **words = xcalloc(s->n + 1, sizeof(*words));

	for (size_t i = 0; i < s->n; i++)
		words[i] = (char *)s->items[i];
	return words;
}

static void fill_health(struct wire_deploy *d, const struct effect_create *e)
{
	struct upstream_policy policy;
	struct err err;

	if (!e->health_command.n)
		return;
	(void)!policy_parse(&policy, &e->policy, &err);
	d->health.command = words_of(&e->health_command);
	d->health.interval_ms = policy.health_interval_ms ? policy.health_interval_ms
							  : HEALTH_COMMAND_INTERVAL_MS;
	d->health.retries = policy.health_fall ? policy.health_fall : GATE_FALL;
	d->health.start_ms = e->health_start_ms;
	policy_fini(&policy);
}

int container_begin(struct link_op **op, struct control *c, struct link *via,
		    const struct effect_create *e, link_deploy_fn *done, void *arg, struct err *err)
{
	struct wire_port port = { .host_port = e->host_port, .container_port = e->container_port };
	struct wire_deploy d = {
		.image_name = (char *)(e->image_id && *e->image_id ? e->image_id : e->image),
		.container_name = (char *)e->name,
		.labels = e->labels,
		.restart_policy = e->once ? WIRE_RESTART_NEVER : WIRE_RESTART_UNLESS_STOPPED,
		.cpu_limit = e->cpu_millis / 1000.0,
		.memory_limit_mb = (e->memory_bytes + (1u << 20) - 1) >> 20,
		.gpus = e->cards,
		.stop_timeout_s = e->stop_grace_s,
		.spec_hash = (char *)e->spec_hash,
		.command = NULL,
	};
	char **command = NULL;
	int rc;

	pairs_copy(&d.env, &e->env);
	rc = variables_open(c, &e->secrets, &d.env, err);
	if (rc) {
		variables_wipe(&d.env);
		return rc;
	}
	fill_mounts(&d, e);
	fill_health(&d, e);
	if (e->static_ip) {
		d.network_name = c->network_name;
		d.static_ip = (char *)e->static_ip;
	} else if (e->container_port && e->host_port) {
		snprintf(port.host_ip, sizeof(port.host_ip), "%s", e->host_ip ? e->host_ip : "");
		d.ports = &port;
		d.nports = 1;
	}
	if (e->command.n)
		d.command = command = words_of(&e->command);
	*op = via->ops->deploy(via, &d, done, arg);
	variables_wipe(&d.env);
	free(command);
	free(d.health.command);
	for (size_t i = 0; i < d.nmounts; i++)
		free(d.mounts[i].source);
	free(d.mounts);
	return 0;
}
