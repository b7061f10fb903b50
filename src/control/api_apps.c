/* API, apps: what runs, their releases, replicas and logs; removal. Deploying is in api_deploy.c.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "control/api.h"
#include "control/dataplane.h"
#include "control/deployer.h"
#include "control/explain.h"
#include "control/logs.h"
#include "control/predecessors.h"
#include "control/view.h"
#include "proxy/policy.h"
#include "sched/placement.h"

static void put_text(struct json_out *o, const char *name, const char *text)
{
	json_put_str(o, name, text && *text ? text : NULL);
}

static void put_note(struct json_out *o, const char *name, const struct app_note *n)
{
	if (!n->set) {
		json_put_null(o, name);
		return;
	}
	json_obj(o, name);
	put_text(o, "by", n->by);
	put_text(o, "reason", n->reason);
	json_put_time(o, "since", n->since_wall_ms);
	json_obj_end(o);
}

static void put_summary(struct json_out *o, const struct app *a)
{
	struct view_app v = view_app(a);
	const struct release *last = LIST_LAST(&a->releases, struct release, link);

	json_put_str(o, "name", a->name);
	if (v.release)
		json_put_int(o, "release", v.release->n);
	else
		json_put_null(o, "release");
	json_put_str(o, "status", v.status);
	put_note(o, "paused", &a->paused);
	put_note(o, "locked", &a->locked);
	json_obj(o, "replicas");
	json_put_int(o, "want", v.want);
	json_put_int(o, "ready", v.ready);
	json_obj_end(o);
	json_arr(o, "domains");
	for (size_t i = 0; v.release && i < v.release->spec.domains.n; i++)
		json_put_str(o, NULL, v.release->spec.domains.items[i]);
	json_arr_end(o);
	json_put_str(o, "image", v.release ? v.release->spec.image : NULL);
	json_put_int(o, "port", v.release ? v.release->spec.port : 0);
	json_put_time(o, "created_at", a->created_wall_ms);
	json_put_time(o, "updated_at",
		      last ? MAX(last->created_wall_ms, last->ended_wall_ms) : a->created_wall_ms);
}

void api_apps(struct api_request *r)
{
	const struct control *c = r->app;
	struct api_answer a;
	int64_t n = 0;

	api_answer_begin(&a);
	json_arr(&a.o, "items");
	LIST_FOR_EACH(app, cluster_apps(deployer_cluster(c->deployer)), struct app, link) {
		if (app->deleted)
			continue;
		json_obj(&a.o, NULL);
		put_summary(&a.o, app);
		json_obj_end(&a.o);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

void api_no_app(struct api_request *r)
{
	char text[160];

	snprintf(text, sizeof(text), "there is no app %.*s; `temps apps` lists them",
		 (int)MIN(r->params[0].n, (size_t)APP_NAME_MAX), r->params[0].p);
	reply_problem(r, 404, "App Not Found", text);
}

/* NULL after 404 was answered. */
static const struct app *find_app(struct api_request *r)
{
	const struct control *c = r->app;
	const struct app *a = NULL;
	char name[APP_NAME_MAX + 1];

	if (!slice_copy(r->params[0], name, sizeof(name)))
		a = cluster_app(deployer_cluster(c->deployer), name);
	if (!a)
		api_no_app(r);
	return a;
}

static void put_release(struct json_out *o, const struct release *rel)
{
	json_put_int(o, "release", rel->n);
	json_put_str(o, "image", rel->spec.image);
	put_text(o, "image_id", rel->image_id);
	json_put_str(o, "status", view_release_state(rel));
	put_text(o, "reason", rel->reason);
	put_text(o, "cause", rel->cause);
	put_text(o, "by", rel->by);
	put_text(o, "log_tail", release_last_lines(rel));
	json_put_time(o, "created_at", rel->created_wall_ms);
	json_put_time(o, "finished_at", rel->ended_wall_ms);
	json_put_int(o, "replicas", rel->spec.replicas);
	json_put_int(o, "canary", rel->state == RELEASE_ROLLING ? rel->canary : 0);
	json_put_str(o, "spec_hash", rel->spec_hash);
}

static void put_failures(struct json_out *o, const struct release *rel)
{
	json_arr(o, "failures");
	LIST_FOR_EACH(f, &rel->failures, struct failure, link) {
		json_obj(o, NULL);
		json_put_int(o, "replica", f->replica);
		json_put_time(o, "failed_at", f->at_wall_ms);
		json_put_int(o, "exit_code", f->exit_code);
		json_put_bool(o, "oom_killed", f->oom_killed);
		put_text(o, "reason", f->reason);
		put_text(o, "log_tail", f->text);
		json_obj_end(o);
	}
	json_arr_end(o);
}

static void put_spec(struct json_out *o, const struct app_spec *s)
{
	json_arr(o, "env");
	for (size_t i = 0; i < s->env.n; i++)
		json_put_str(o, NULL, s->env.items[i].key);
	json_arr_end(o);
	json_arr(o, "secrets");
	for (size_t i = 0; i < s->secrets.n; i++)
		json_put_str(o, NULL, s->secrets.items[i].key);
	json_arr_end(o);
	policy_put(&s->policy, o, "policy");
	json_arr(o, "command");
	for (size_t i = 0; i < s->command.n; i++)
		json_put_str(o, NULL, s->command.items[i]);
	json_arr_end(o);
	pairs_put(&s->volumes, o, "volumes");
	strs_put(&s->pre_deploy, o, "pre_deploy");
	json_put_int(o, "max_surge", s->max_surge);
	json_put_bool(o, "stop_first", s->stop_first);
	json_put_int(o, "request_drain_s", s->request_drain_ms / 1000);
	json_put_int(o, "tunnel_drain_s", s->tunnel_drain_ms / 1000);
	put_text(o, "health_path", s->health_path);
	strs_put(&s->health_command, o, "health_command");
	json_put_int(o, "health_start_s", s->health_start_ms / 1000);
	json_put_str(o, "strategy", strategy_name(s));
	json_put_real(o, "cpus", s->cpu_millis / 1000.0);
	json_put_int(o, "memory_bytes", (int64_t)s->memory_bytes);
	json_put_int(o, "disk_bytes", (int64_t)s->disk_bytes);
	json_put_int(o, "gpus", s->gpus);
	json_put_str(o, "architecture", s->architecture);
	strs_put(&s->affinity, o, "affinity");
	strs_put(&s->anti_affinity, o, "anti_affinity");
	json_arr(o, "nodes");
	for (size_t i = 0; i < s->nodes.n; i++)
		json_put_str(o, NULL, s->nodes.items[i]);
	json_arr_end(o);
	json_obj(o, "labels");
	for (size_t i = 0; i < s->labels_n; i++)
		strs_put(&s->labels[i].values, o, s->labels[i].key);
	json_obj_end(o);
}

static void put_rollout(struct json_out *o, const struct app *a)
{
	struct view_rollout v;

	if (!a->rolling) {
		json_put_null(o, "rollout");
		return;
	}
	view_rollout(a, &v);
	json_obj(o, "rollout");
	json_put_int(o, "release", a->rolling->n);
	put_text(o, "cause", a->rolling->cause);
	put_text(o, "by", a->rolling->by);
	json_put_time(o, "since", a->rolling->created_wall_ms);
	json_put_str(o, "phase", v.phase);
	json_put_int(o, "healthy", v.healthy);
	json_put_int(o, "want", v.want);
	put_text(o, "waits_for", v.waits_for);
	json_obj_end(o);
}

void api_app(struct api_request *r)
{
	const struct app *app = find_app(r);
	struct api_answer a;
	struct view_app v;
	char host[256], path[4097];

	if (!app)
		return;
	v = view_app(app);
	api_answer_begin(&a);
	put_summary(&a.o, app);
	put_rollout(&a.o, app);
	json_arr(&a.o, "routes");
	for (size_t i = 0; v.release && i < v.release->spec.domains.n; i++) {
		view_split_domain(v.release->spec.domains.items[i], host, path);
		json_obj(&a.o, NULL);
		json_put_str(&a.o, "host", host);
		json_put_str(&a.o, "path", path);
		json_obj_end(&a.o);
	}
	json_arr_end(&a.o);
	if (v.release) {
		put_spec(&a.o, &v.release->spec);
		json_obj(&a.o, "release_detail");
		put_release(&a.o, v.release);
		json_obj_end(&a.o);
	}
	api_answer_send(&a, r, 200);
}

void api_app_releases(struct api_request *r)
{
	const struct app *app = find_app(r);
	struct api_answer a;
	int64_t n = 0;

	if (!app)
		return;
	api_answer_begin(&a);
	json_arr(&a.o, "items");
	for (const struct list *l = app->releases.prev; l != &app->releases; l = l->prev) {
		json_obj(&a.o, NULL);
		put_release(&a.o, LIST_ENTRY(l, struct release, link));
		json_obj_end(&a.o);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

void api_app_release(struct api_request *r)
{
	const struct app *app = find_app(r);
	const struct release *rel = NULL;
	struct api_answer a;
	uint64_t n;

	if (!app)
		return;
	if (!slice_u64(r->params[1], &n) && n <= UINT32_MAX)
		rel = app_release(app, (uint32_t)n);
	if (!rel) {
		reply_problem(r, 404, "Release Not Found",
			      "the app has no such release; `temps releases` lists them");
		return;
	}
	api_answer_begin(&a);
	put_release(&a.o, rel);
	put_failures(&a.o, rel);
	api_answer_send(&a, r, 200);
}

/* null, or where the image is that the replica waits for. */
static void put_image(struct json_out *o, const struct control *c, const struct replica *rep)
{
	struct image_progress p;

	if (!deployer_image(c->deployer, rep, &p)) {
		json_put_null(o, "image");
		return;
	}
	json_obj(o, "image");
	json_put_str(o, "phase", p.phase);
	put_text(o, "detail", p.detail);
	json_put_int(o, "sent_bytes", (int64_t)p.sent_bytes);
	json_put_int(o, "total_bytes", (int64_t)p.total_bytes);
	json_obj_end(o);
}

static void put_replica(struct json_out *o, const struct control *c, const struct replica *rep)
{
	const struct failure *f = rep->release ? release_failure(rep->release, rep->n) : NULL;
	struct endpoint_view v = { 0 };
	const struct endpoint_ref ref = { rep->app->name, rep->n, rep->container_id,
					  rep->started_at };
	char why[128], address[96];

	(void)!dataplane_view(c->dataplane, rep->app->name, rep->n, &v);
	snprintf(address, sizeof(address), strchr(rep->ip, ':') ? "[%s]:%u" : "%s:%u", rep->ip,
		 rep->port);
	json_obj(o, NULL);
	json_put_str(o, "name", rep->name);
	json_put_int(o, "replica", rep->n);
	json_put_int(o, "release", rep->release_n);
	json_put_str(o, "node", rep->node->name);
	json_put_int(o, "node_id", rep->node->id);
	json_put_str(o, "state", view_replica_state(rep));
	put_text(o, "reason", view_replica_reason(rep, why, sizeof(why)));
	json_put_int(o, "score", rep->score);
	put_text(o, "placed", rep->placed);
	put_text(o, "address", *rep->ip ? address : "");
	put_text(o, "container_id", rep->container_id);
	put_text(o, "started_at", rep->started_at);
	json_put_int(o, "weight", rep->weight);
	json_put_int(o, "restarts", rep->restarts);
	json_put_bool(o, "degraded", rep->degraded);
	if (f) {
		json_put_int(o, "exit_code", f->exit_code);
		json_put_bool(o, "oom_killed", f->oom_killed);
		json_put_time(o, "failed_at", f->at_wall_ms);
		put_text(o, "log_tail", f->text);
	}
	json_put_int(o, "in_flight", v.in_flight + predecessors_in_flight(c->predecessors, &ref));
	json_put_int(o, "requests", (int64_t)v.requests);
	put_image(o, c, rep);
	json_obj_end(o);
}

void api_app_replicas(struct api_request *r)
{
	const struct app *app = find_app(r);
	struct api_answer a;
	int64_t n = 0;

	if (!app)
		return;
	api_answer_begin(&a);
	json_arr(&a.o, "items");
	LIST_FOR_EACH(rep, &app->replicas, struct replica, link) {
		if (rep->state == REPLICA_GONE)
			continue;
		put_replica(&a.o, r->app, rep);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

void api_app_explain(struct api_request *r)
{
	const struct app *app = find_app(r);

	if (app)
		explain_app(r, app);
}

void api_app_logs(struct api_request *r)
{
	const struct control *c = r->app;
	const struct app *app = find_app(r);

	if (app)
		logs_answer(c->logs, r, app);
}

static void on_removing(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;

	(void)e;
	api_answer_begin(&a);
	json_put_str(&a.o, "app", cmd->text);
	json_put_str(&a.o, "status", "removing");
	api_answer_send(&a, cmd->r, 202);
}

void api_app_delete(struct api_request *r)
{
	const struct app *app = find_app(r);
	struct cluster_event e = { .type = EVENT_APP_DELETE };
	struct command *cmd;

	if (!app || !(cmd = command_begin(r, on_removing)))
		return;
	cmd->text = xstrdup(app->name);
	e.app_delete = (struct event_app_delete){ cmd->handle, cmd->text };
	deployer_step(cmd->control->deployer, &e);
}
