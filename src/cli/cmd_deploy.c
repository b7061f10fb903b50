/* temps deploy: asks for a release, then follows it until it serves or has failed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/plan.h"

#define SECRET_MAX 32768u

struct deploy_args {
	const char *image, *health_path, *strategy, *architecture, *protocol;
	int64_t replicas, port;
	double cpus;
	int64_t gpus;
	uint64_t memory_bytes, disk_bytes, health_timeout_ms, stop_grace_ms, request_drain_ms, tunnel_drain_ms;
	int64_t canary, max_surge;
	const char *pre_deploy, *health_command;
	const char *health_interval, *health_rise, *health_fall; /* policies */
	uint64_t health_start_ms;
	struct opt_list volumes, domains, env, nodes, labels, tags, affinity, anti_affinity, policy;
	struct opt_list unset_env, secrets, unset_secrets;
	int64_t scale;	/* temps plan */
	bool no_wait, dry_run, stop_first, start_first;
};

/* NULL writes the empty list. */
static void put_list(struct json_out *o, const char *name, const struct opt_list *list)
{
	if (list && !list->n)
		return;
	json_arr(o, name);
	for (size_t i = 0; list && i < list->n; i++)
		json_put_str(o, NULL, list->at[i]);
	json_arr_end(o);
}

/* "-" is a line of standard input, "@FILE" what is in a file, without the newline at its end. The caller's to free(); NULL: said
 * why there is none. */
static char *secret_value(const char *value)
{
	char dash[] = "-", *text = NULL;
	struct err err;
	size_t n;

	if (!strcmp(value, "-"))
		return cli_secret(dash, "value of --secret");
	if (value[0] != '@')
		return xstrdup(value);
	if (file_read(value + 1, SECRET_MAX + 1, &text, &n, &err)) {
		cli_fail("--secret: %s", err.text);
		return NULL;
	}
	if (n && text[n - 1] == '\n')
		text[n - 1] = '\0';
	return text;
}

static int put_pair(const struct cli *c, struct json_out *o, const char *option, const char *pair, bool secret)
{
	const char *value;
	char key[256], *text;
	int code;

	/* A message must not show what may be a secret. */
	if (secret && (!strchr(pair, '=') || pair[0] == '='))
		return cli_usage(c, "--secret: expected KEY=VALUE, KEY=- or KEY=@FILE");
	code = cli_split_pair(c, option, pair, key, sizeof(key), &value);
	if (code >= 0)
		return code;
	text = secret ? secret_value(value) : xstrdup(value);
	if (!text)
		return EXIT_FAILED;
	json_put_str(o, key, text);
	explicit_bzero(text, strlen(text));
	free(text);
	return -1;
}

/* Member <name>: what is set, and null for what goes. */
static int put_variables(const struct cli *c, struct json_out *o, const char *name, const struct opt_list *set,
			 const struct opt_list *unset, bool secret)
{
	int code = -1;

	if (!set->n && !unset->n)
		return -1;
	json_obj(o, name);
	for (size_t i = 0; code < 0 && i < set->n; i++)
		code = put_pair(c, o, secret ? "secret" : "env", set->at[i], secret);
	for (size_t i = 0; i < unset->n; i++)
		json_put_null(o, unset->at[i]);
	json_obj_end(o);
	return code;
}

/* "none" takes back what earlier releases had. */
static void put_affinities(struct json_out *o, const char *name, const struct opt_list *list)
{
	bool none = list->n == 1 && !strcmp(list->at[0], "none");

	put_list(o, name, none ? NULL : list);
}

/* The same key given twice is a choice between its values. */
static int put_labels(const struct cli *c, struct json_out *o, const struct opt_list *labels)
{
	const char *value;
	char key[256];
	int code;

	if (!labels->n)
		return -1;
	json_obj(o, "labels");
	for (size_t i = 0; i < labels->n; i++) {
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen |= cli_same_key(labels->at[k], labels->at[i]);
		if (seen)
			continue;
		code = cli_split_pair(c, "label", labels->at[i], key, sizeof(key), &value);
		if (code >= 0)
			return code;
		json_arr(o, key);
		for (size_t k = i; k < labels->n; k++)
			if (cli_same_key(labels->at[k], labels->at[i]))
				json_put_str(o, NULL, strchr(labels->at[k], '=') + 1);
		json_arr_end(o);
	}
	json_obj_end(o);
	return -1;
}

static int put_volumes(const struct cli *c, struct json_out *o, const struct opt_list *volumes)
{
	bool none = volumes->n == 1 && !strcmp(volumes->at[0], "none");

	if (!volumes->n)
		return -1;
	json_obj(o, "volumes");
	for (size_t i = 0; !none && i < volumes->n; i++) {
		const char *colon = strchr(volumes->at[i], ':');
		char name[64];

		if (!colon || colon == volumes->at[i] || colon[1] != '/' ||
		    (size_t)(colon - volumes->at[i]) >= sizeof(name))
			return cli_usage(c, "--volume '%s': expected NAME:/PATH or none", volumes->at[i]);
		snprintf(name, sizeof(name), "%.*s", (int)(colon - volumes->at[i]), volumes->at[i]);
		json_put_str(o, name, colon + 1);
	}
	json_obj_end(o);
	return -1;
}

/* The next word of <*p>, without the quotes around it or parts of it. false: none. */
static bool next_word(const char **p, struct buf *word)
{
	char quote = 0;

	*p += strspn(*p, " \t");
	if (!**p)
		return false;
	buf_clear(word);
	buf_append_str(word, "");
	for (; **p && (quote || (**p != ' ' && **p != '\t')); (*p)++) {
		if (quote ? **p == quote : **p == '"' || **p == '\'')
			quote = quote ? 0 : **p;
		else
			buf_append(word, *p, 1);
	}
	return true;
}

static void put_words(struct json_out *o, const char *name, const char *line)
{
	struct buf word;

	buf_init(&word, 0);
	json_arr(o, name);
	while (next_word(&line, &word))
		json_put_slice(o, NULL, buf_slice(&word));
	json_arr_end(o);
	buf_fini(&word);
}

/* How one release follows the other. */
static void put_rollout(struct json_out *o, const struct deploy_args *a)
{
	if (a->max_surge >= 0)
		json_put_int(o, "max_surge", a->max_surge);
	if (a->stop_first || a->start_first)
		json_put_bool(o, "stop_first", a->stop_first);
	if (a->canary)
		json_put_int(o, "canary", a->canary);
	if (a->pre_deploy)
		put_words(o, "pre_deploy", a->pre_deploy);
}

/* Only what was given: the rest keeps the previous release's values. */
static int put_request(const struct cli *c, const struct deploy_args *a, struct buf *body)
{
	struct json_out o;
	int code;

	json_out_init(&o, body);
	json_obj(&o, NULL);
	if (a->image)
		json_put_str(&o, "image", a->image);
	if (a->scale)
		json_put_int(&o, "scale", a->scale);
	if (a->replicas)
		json_put_int(&o, "replicas", a->replicas);
	if (a->port)
		json_put_int(&o, "port", a->port);
	if (a->health_path)
		json_put_str(&o, "health_path", a->health_path);
	if (a->health_timeout_ms)
		json_put_int(&o, "health_timeout_s", (int64_t)((a->health_timeout_ms + 999) / 1000));
	if (a->stop_grace_ms)
		json_put_int(&o, "stop_grace_s", (int64_t)((a->stop_grace_ms + 999) / 1000));
	if (a->architecture)
		json_put_str(&o, "architecture", strcmp(a->architecture, "any") ? a->architecture : "");
	if (a->request_drain_ms)
		json_put_int(&o, "request_drain_s", (int64_t)((a->request_drain_ms + 999) / 1000));
	if (a->tunnel_drain_ms)
		json_put_int(&o, "tunnel_drain_s", (int64_t)((a->tunnel_drain_ms + 999) / 1000));
	if (a->strategy)
		json_put_str(&o, "strategy", a->strategy);
	if (a->cpus > 0)
		json_put_real(&o, "cpus", a->cpus);
	if (a->memory_bytes)
		json_put_int(&o, "memory_bytes", (int64_t)a->memory_bytes);
	if (a->disk_bytes)
		json_put_int(&o, "disk_bytes", (int64_t)a->disk_bytes);
	if (a->gpus >= 0)
		json_put_int(&o, "gpus", a->gpus);
	if (a->health_command)
		put_words(&o, "health_command", a->health_command);
	if (a->health_start_ms != UINT64_MAX)
		json_put_int(&o, "health_start_s", (int64_t)((a->health_start_ms + 999) / 1000));
	put_rollout(&o, a);
	put_list(&o, "domains", &a->domains);
	put_list(&o, "nodes", &a->nodes);
	put_list(&o, "target_tags", &a->tags);
	put_affinities(&o, "affinity", &a->affinity);
	put_affinities(&o, "anti_affinity", &a->anti_affinity);
	code = put_variables(c, &o, "env", &a->env, &a->unset_env, false);
	if (code < 0)
		code = put_variables(c, &o, "secrets", &a->secrets, &a->unset_secrets, true);
	if (code < 0)
		code = put_volumes(c, &o, &a->volumes);
	if (code < 0)
		code = put_labels(c, &o, &a->labels);
	if (code < 0)
		code = cli_put_policy(c, &o, &a->policy, a->protocol);
	json_obj_end(&o);
	return code;
}

static int finish(struct cli *c, const struct deploy_args *a, const char *app, const struct json *doc)
{
	int64_t release = json_int(json_get(doc, "release"), 0);

	if (json_bool(json_get(doc, "unchanged"), false)) {
		printf("%s: release %lld is exactly this already; nothing to do\n", app, (long long)release);
		return EXIT_DONE;
	}
	if (a->no_wait) {
		printf("%s: release %lld is on its way; 'temps ps %s' shows where it is\n", app, (long long)release, app);
		return EXIT_DONE;
	}
	return cli_follow(c, app, release);
}

/* An option that stands for --policy KEY=VALUE: the text that was added, the caller's to free(), or NULL. */
static char *add_policy(struct opt_list *policy, const char *key, const char *value)
{
	char *text;

	if (!value || policy->n == OPT_LIST_MAX)
		return NULL;
	text = xasprintf("%s=%s", key, value);
	policy->at[policy->n++] = text;
	return text;
}

/* `temps deploy`, or with --dry-run and as `temps plan` what it would do. */
static int deploy(struct cli *c, int argc, char **argv)
{
	bool is_plan = c->command == &command_plan;
	struct deploy_args a = { .gpus = -1, .max_surge = -1, .health_start_ms = UINT64_MAX };
	const struct opt scale = { "scale", "N", OPT_COUNT, &a.scale, "another number of replicas of the present release", 1, 1000, false };
	const struct opt dry_run = { "dry-run", NULL, OPT_FLAG, &a.dry_run, "only show what would be done, as 'temps plan' does", 0, 0, false };
	const struct opt no_wait = { "no-wait", NULL, OPT_FLAG, &a.no_wait, "do not wait until it serves", 0, 0, false };
	const struct opt end = { 0 };
	const struct opt opts[] = {
		{ "image", "IMAGE", OPT_TEXT, &a.image, "the image; needed for the first release", 0, 0, false },
		{ "replicas", "N", OPT_COUNT, &a.replicas, "how many containers (1)", 1, 1000, false },
		{ "port", "PORT", OPT_COUNT, &a.port, "where the container listens (8080)", 1, 65535, false },
		{ "domain", "HOST[/PATH]", OPT_LIST, &a.domains, "what the front door sends to it", 0, 0, false },
		{ "env", "K=V", OPT_LIST, &a.env, "an environment variable", 0, 0, true },
		{ "unset-env", "K", OPT_LIST, &a.unset_env, "none of this name any more", 0, 0, false },
		{ "secret", "K=V|-|@FILE", OPT_LIST, &a.secrets, "one that nobody is shown; - is a line of standard input", 0, 0, true },
		{ "unset-secret", "K", OPT_LIST, &a.unset_secrets, "none of this name any more", 0, 0, false },
		{ "cpus", "N", OPT_REAL, &a.cpus, "cores it may use", 0, 0, false },
		{ "memory", "SIZE", OPT_SIZE, &a.memory_bytes, "memory it may use, such as 512m", 0, 0, false },
		{ "disk", "SIZE", OPT_SIZE, &a.disk_bytes, "disk that its node must have room for", 0, 0, false },
		{ "gpus", "N", OPT_COUNT, &a.gpus, "graphics cards of its own", 0, 64, false },
		{ "health-path", "PATH", OPT_TEXT, &a.health_path, "healthy when GET answers 2xx or 3xx; default: it accepts connections", 0, 0, false },
		{ "health-command", "COMMAND", OPT_TEXT, &a.health_command, "healthy when this succeeds in the container; '' for no more", 0, 0, false },
		{ "health-start-period", "TIME", OPT_DURATION, &a.health_start_ms, "later, --health-fall failures in a row end the wait", 0, 0, false },
		{ "health-interval", "TIME", OPT_TEXT, &a.health_interval, "how often it is asked, at least once a second before it serves", 0, 0, false },
		{ "health-rise", "N", OPT_TEXT, &a.health_rise, "how many successes in a row are needed", 0, 0, false },
		{ "health-fall", "N", OPT_TEXT, &a.health_fall, "how many failures in a row are one too many (3)", 0, 0, false },
		{ "health-timeout", "TIME", OPT_DURATION, &a.health_timeout_ms, "give up on a replica after (60s)", 0, 0, false },
		{ "stop-grace", "TIME", OPT_DURATION, &a.stop_grace_ms, "from SIGTERM to SIGKILL (10s)", 0, 0, false },
		{ "request-drain", "TIME", OPT_DURATION, &a.request_drain_ms, "cut the requests of a replica that goes after (5m)", 0, 0, false },
		{ "tunnel-drain", "TIME", OPT_DURATION, &a.tunnel_drain_ms, "the same for its tunnels and event streams (30s)", 0, 0, false },
		{ "node", "NAME", OPT_LIST, &a.nodes, "only on this node", 0, 0, false },
		{ "label", "K=V", OPT_LIST, &a.labels, "only on nodes with this label", 0, 0, false },
		{ "tag", "TAG", OPT_LIST, &a.tags, "only on nodes with this tag", 0, 0, false },
		{ "architecture", "NAME", OPT_TEXT, &a.architecture, "only on nodes with this processor, such as amd64", 0, 0, false },
		{ "affinity", "RULE", OPT_LIST, &a.affinity, "only where app=NAME runs or label:KEY=VALUE is; soft: for a wish", 0, 0, false },
		{ "anti-affinity", "RULE", OPT_LIST, &a.anti_affinity, "the opposite", 0, 0, false },
		{ "strategy", "NAME", OPT_TEXT, &a.strategy, "round-robin (default), spread, least-loaded or binpack", 0, 0, false },
		{ "volume", "NAME:PATH", OPT_LIST, &a.volumes, "a volume of the app's own; 'none' for no more", 0, 0, false },
		{ "max-surge", "N", OPT_COUNT, &a.max_surge, "go over in waves of N replicas; 0, the default: all at once", 0, 1000, false },
		{ "stop-first", NULL, OPT_FLAG, &a.stop_first, "stop the old release before the new one starts; requests wait", 0, 0, false },
		{ "start-first", NULL, OPT_FLAG, &a.start_first, "no --stop-first any more", 0, 0, false },
		{ "pre-deploy", "COMMAND", OPT_TEXT, &a.pre_deploy, "run once in the new image before any replica starts; '' for none", 0, 0, false },
		{ "canary", "PERCENT", OPT_COUNT, &a.canary, "serve this share of the requests, until 'temps promote' or 'temps abort'", 1, 99, false },
		OPT_PROTOCOL(&a.protocol),
		OPT_POLICY(&a.policy),
		is_plan ? scale : dry_run,
		is_plan ? end : no_wait,
		end,
	};
	struct json *doc = NULL;
	char *path, *own[3];
	struct buf body;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	if (a.stop_first && a.start_first)
		return cli_usage(c, "--stop-first and --start-first: one of them");
	is_plan |= a.dry_run;
	buf_init(&body, 0);
	path = cli_app_path(argv[0], is_plan ? "/plan" : "/deploy");
	own[0] = add_policy(&a.policy, "health-interval", a.health_interval);
	own[1] = add_policy(&a.policy, "health-rise", a.health_rise);
	own[2] = add_policy(&a.policy, "health-fall", a.health_fall);
	code = put_request(c, &a, &body);
	if (code < 0)
		code = cli_call(c, "POST", path, body.data, &doc);
	if (code == EXIT_DONE && c->globals.json)
		code = cli_print_json(doc);
	else if (code == EXIT_DONE && is_plan)
		plan_print(c, doc);
	else if (code == EXIT_DONE)
		code = finish(c, &a, argv[0], doc);
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		free(own[i]);
	json_free(doc);
	buf_fini(&body);
	free(path);
	return code;
}

const struct command command_deploy = { "deploy", "APP --image IMAGE [options]", "Run an image as an app, or a new release of it",
					deploy };
const struct command command_plan = { "plan", "APP [options]", "Show what a deploy or a scale would do", deploy };
