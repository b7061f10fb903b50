/* The rules that an app's specification must meet, whoever wrote it. */
#include <errno.h>

#include "base/text.h"
#include "sched/affinity.h"
#include "sched/placement.h"

static int check_text(const char *text, const char *what, struct err *err)
{
	if (!*text || strlen(text) > SPEC_TEXT_MAX)
		return err_say(err, -EINVAL, "%s: expected 1 to %u bytes", what, SPEC_TEXT_MAX);
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return err_say(err, -EINVAL, "%s: has a space or a control character",
				       what);
	}
	return 0;
}

static int check_domain(const char *domain, struct err *err)
{
	struct slice path, host = slice_split(slice_str(domain), '/', &path);

	if (!text_is_host(host))
		return err_say(err, -EINVAL, "domain \"%.300s\": not a host name", domain);
	return path.p ? check_text(domain, "domain", err) : 0;
}

static int check_domains(const struct app_spec *s, struct err *err)
{
	int rc = 0;

	if (s->domains.n > SPEC_DOMAINS_MAX)
		return err_say(err, -EINVAL, "more than %u domains", SPEC_DOMAINS_MAX);
	if (s->domains.n && !s->port)
		return err_say(
			err, -EINVAL,
			"a domain needs a port: the one that the app listens on in its container");
	for (size_t i = 0; !rc && i < s->domains.n; i++)
		rc = check_domain(s->domains.items[i], err);
	return rc;
}

static int check_variables(const struct pairs *vars, const char *what, struct err *err)
{
	if (vars->n > SPEC_ENV_MAX)
		return err_say(err, -EINVAL, "more than %u %ss", SPEC_ENV_MAX, what);
	for (size_t i = 0; i < vars->n; i++) {
		const struct pair *p = &vars->items[i];

		if (!*p->key || strchr(p->key, '=') || strlen(p->key) > SPEC_TEXT_MAX)
			return err_say(err, -EINVAL,
				       "%s %zu: its name is empty, too long or has a \"=\"", what,
				       i + 1);
		if (strlen(p->value) > SPEC_VALUE_MAX)
			return err_say(err, -EINVAL, "%s \"%.100s\": longer than %u bytes", what,
				       p->key, SPEC_VALUE_MAX);
	}
	return 0;
}

static int check_env(const struct app_spec *s, struct err *err)
{
	int rc = check_variables(&s->env, "environment variable", err);

	if (!rc)
		rc = check_variables(&s->secrets, "secret", err);
	for (size_t i = 0; !rc && i < s->secrets.n; i++) {
		if (pairs_get(&s->env, s->secrets.items[i].key))
			rc = err_say(err, -EINVAL,
				     "\"%.100s\" is a secret and a plain environment variable: it can be one of them",
				     s->secrets.items[i].key);
	}
	return rc;
}

/* Their meaning is the front door's business. */
static int check_policy(const struct app_spec *s, struct err *err)
{
	if (s->policy.n > SPEC_POLICIES_MAX)
		return err_say(err, -EINVAL, "more than %u policies", SPEC_POLICIES_MAX);
	for (size_t i = 0; i < s->policy.n; i++) {
		if (!*s->policy.items[i].key || strlen(s->policy.items[i].key) > SPEC_TEXT_MAX ||
		    strlen(s->policy.items[i].value) > SPEC_VALUE_MAX)
			return err_say(err, -EINVAL, "policy %zu: its name is empty or it is too long",
				       i + 1);
	}
	return 0;
}

static int check_volume(const struct pair *v, struct err *err)
{
	if (!text_is_app_name(slice_str(v->key)))
		return err_say(err, -EINVAL,
			       "volume \"%.100s\": its name is 1 to %u lower-case letters, digits and \"-\"",
			       v->key, APP_NAME_MAX);
	if (v->value[0] != '/' || !v->value[1])
		return err_say(err, -EINVAL,
			       "volume \"%s\": \"%.300s\" is no path in the container: it begins with \"/\"",
			       v->key, v->value);
	return check_text(v->value, "path of a volume", err);
}

/* One container has them, so there is one replica. */
static int check_volumes(const struct app_spec *s, struct err *err)
{
	int rc = 0;

	if (s->volumes.n > SPEC_VOLUMES_MAX)
		return err_say(err, -EINVAL, "more than %u volumes", SPEC_VOLUMES_MAX);
	if (s->volumes.n && s->replicas > 1)
		return err_say(err, -EINVAL,
			       "volumes: an app that has one runs 1 replica, not %u", s->replicas);
	for (size_t i = 0; !rc && i < s->volumes.n; i++) {
		rc = check_volume(&s->volumes.items[i], err);
		for (size_t k = 0; !rc && k < i; k++) {
			if (strcmp(s->volumes.items[k].value, s->volumes.items[i].value) == 0)
				rc = err_say(err, -EINVAL, "volumes \"%s\" and \"%s\" have the same path",
					     s->volumes.items[k].key, s->volumes.items[i].key);
		}
	}
	return rc;
}

static int check_affinities(const struct strs *texts, const char *what, struct err *err)
{
	struct affinity a;

	if (texts->n > SPEC_AFFINITIES_MAX)
		return err_say(err, -EINVAL, "%s: more than %u", what, SPEC_AFFINITIES_MAX);
	for (size_t i = 0; i < texts->n; i++) {
		if (affinity_parse(&a, texts->items[i], err))
			return err_prefix(err, "%s", what);
	}
	return 0;
}

static int check_constraints(const struct app_spec *s, struct err *err)
{
	enum strategy strategy;

	if (s->labels_n > SPEC_LABELS_MAX || s->nodes.n > SPEC_NODES_MAX)
		return err_say(err, -EINVAL, "more than %u labels or %u nodes", SPEC_LABELS_MAX,
			       SPEC_NODES_MAX);
	for (size_t i = 0; i < s->labels_n; i++) {
		if (!*s->labels[i].key || !s->labels[i].values.n)
			return err_say(err, -EINVAL, "label constraint %zu has no key or no value",
				       i + 1);
	}
	for (size_t i = 0; i < s->nodes.n; i++) {
		if (!text_is_name(slice_str(s->nodes.items[i])))
			return err_say(err, -EINVAL, "node \"%.100s\": not a name of a node",
				       s->nodes.items[i]);
	}
	if (strategy_parse(s->strategy, &strategy))
		return err_say(err, -EINVAL, "strategy \"%.100s\": expected " STRATEGY_NAMES,
			       s->strategy);
	return check_affinities(&s->affinity, "affinity", err) ||
			       check_affinities(&s->anti_affinity, "anti-affinity", err)
		       ? -EINVAL
		       : 0;
}

int spec_check(const struct app_spec *s, struct err *err)
{
	int rc;

	if (!s->image)
		return err_say(err, -EINVAL, "no image given");
	rc = check_text(s->image, "image", err);
	if (!rc && (!s->replicas || s->replicas > SPEC_REPLICAS_MAX))
		rc = err_say(err, -EINVAL, "replicas: expected 1 to %u", SPEC_REPLICAS_MAX);
	if (!rc && s->health_path) {
		rc = check_text(s->health_path, "health path", err);
		if (!rc && s->health_path[0] != '/')
			rc = err_say(err, -EINVAL, "health path: must begin with \"/\"");
		if (!rc && !s->port)
			rc = err_say(err, -EINVAL, "health path: needs a port");
	}
	if (!rc && s->gpus > SPEC_GPUS_MAX)
		rc = err_say(err, -EINVAL, "gpus: more than %u", SPEC_GPUS_MAX);
	if (!rc && s->command.n > SPEC_ARGS_MAX)
		rc = err_say(err, -EINVAL, "command: more than %u arguments", SPEC_ARGS_MAX);
	if (!rc && s->health_command.n > SPEC_ARGS_MAX)
		rc = err_say(err, -EINVAL, "health command: more than %u arguments", SPEC_ARGS_MAX);
	if (!rc && s->health_command.n && s->health_path)
		rc = err_say(err, -EINVAL, "health command and health path: one of them is the test");
	if (!rc && s->pre_deploy.n > SPEC_ARGS_MAX)
		rc = err_say(err, -EINVAL, "pre-deploy: more than %u arguments", SPEC_ARGS_MAX);
	if (!rc && s->max_surge > SPEC_REPLICAS_MAX)
		rc = err_say(err, -EINVAL, "max surge: expected 0 to %u", SPEC_REPLICAS_MAX);
	if (!rc)
		rc = check_domains(s, err);
	if (!rc)
		rc = check_env(s, err);
	if (!rc)
		rc = check_policy(s, err);
	if (!rc)
		rc = check_volumes(s, err);
	if (!rc)
		rc = check_constraints(s, err);
	return rc;
}
