/* API: health, status, events. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/api.h"
#include "control/dataplane.h"
#include "control/deployer.h"
#include "control/events.h"
#include "control/local.h"
#include "control/predecessors.h"
#include "proxy/access.h"

static void health(struct api_request *r)
{
	const struct control *c = r->app;
	struct api_answer a;

	api_answer_begin(&a);
	json_put_str(&a.o, "status", "ok");
	json_put_str(&a.o, "version", PACKAGE_VERSION);
	json_put_str(&a.o, "cluster_id", c->cluster_id);
	api_answer_send(&a, r, 200);
}

void api_health(struct api_request *r)
{
	health(r);
}

void api_health_live(struct api_request *r)
{
	health(r);
}

void api_health_ready(struct api_request *r)
{
	const struct control *c = r->app;
	const char *refuses = deployer_refuses(c->deployer);
	struct api_answer a;

	if (c->ready && !c->stopping && !refuses) {
		health(r);
		return;
	}
	api_answer_begin(&a);
	json_put_str(&a.o, "status", c->stopping ? "stopping" : c->ready ? "degraded" : "starting");
	json_put_str(&a.o, "detail",
		     c->stopping ? "the control plane is draining"
		     : c->ready	 ? refuses
				 : "not all parts have started");
	api_answer_send(&a, r, 503);
}

static void put_store(struct json_out *o, const struct control *c)
{
	struct store_stats s = store_stats(c->store);

	json_obj(o, "store");
	json_put_int(o, "revision", (int64_t)s.revision);
	json_put_int(o, "map_used_bytes", (int64_t)s.map_used_bytes);
	json_put_int(o, "map_bytes", (int64_t)s.map_bytes);
	json_put_int(o, "queued", s.queued);
	json_put_bool(o, "ok", !deployer_refuses(c->deployer));
	json_put_str(o, "error", deployer_refuses(c->deployer));
	json_obj_end(o);
}

static void put_docker(struct json_out *o, const struct control *c)
{
	struct local_view v = local_view(c->local);

	json_obj(o, "docker");
	json_put_bool(o, "ok", v.ok);
	json_put_str(o, "version", v.version);
	json_put_str(o, "error", v.error);
	json_obj_end(o);
}

static void put_nodes(struct json_out *o, const struct cluster *cluster)
{
	int64_t total = 0, active = 0;

	LIST_FOR_EACH(n, cluster_nodes(cluster), struct node, link) {
		total++;
		active += strcmp(node_status(n), "active") == 0;
	}
	json_obj(o, "nodes");
	json_put_int(o, "total", total);
	json_put_int(o, "active", active);
	json_obj_end(o);
}

static void put_apps(struct json_out *o, const struct cluster *cluster)
{
	int64_t total = 0, paused = 0, locked = 0;

	LIST_FOR_EACH(a, cluster_apps(cluster), struct app, link) {
		total += !a->deleted;
		paused += !a->deleted && a->paused.set;
		locked += !a->deleted && a->locked.set;
	}
	json_put_int(o, "apps", total);
	json_put_int(o, "paused_apps", paused);
	json_put_int(o, "locked_apps", locked);
}

static void put_front(struct json_out *o, const struct control *c)
{
	static const char *const classes[] = { NULL, "1xx", "2xx", "3xx", "4xx", "5xx" };
	const struct front_stats *f = front_stats(c->front);
	const struct access_stats *log = front_log_stats(c->front);
	const struct server_stats *s = server_stats(c->server);

	json_obj(o, "front");
	json_put_int(o, "requests", (int64_t)f->requests);
	json_obj(o, "by_status");
	for (size_t i = 1; i < ARRAY_LEN(classes); i++)
		json_put_int(o, classes[i], (int64_t)f->by_status[i]);
	json_obj_end(o);
	json_put_int(o, "active", f->active);
	json_put_int(o, "retries", (int64_t)f->retries);
	json_put_int(o, "held", (int64_t)f->held);
	json_put_int(o, "holding", f->holding);
	json_put_int(o, "hold_timeouts", (int64_t)f->hold_timeouts);
	json_put_int(o, "hold_refused", (int64_t)f->hold_refused);
	json_put_int(o, "tunnels", (int64_t)f->tunnels);
	json_put_int(o, "cut", (int64_t)f->cut);
	json_put_int(o, "no_route", (int64_t)f->no_route);
	json_put_int(o, "log_dropped", (int64_t)(log->dropped + log->failed));
	json_put_int(o, "connections", s->open);
	json_put_int(o, "accepted", (int64_t)s->accepted);
	json_put_int(o, "refused", (int64_t)(s->refused_full + s->refused_address));
	json_put_int(o, "bad_requests", (int64_t)s->bad_requests);
	json_put_int(o, "timeouts", (int64_t)s->timeouts);
	json_put_int(o, "too_slow", (int64_t)s->too_slow);
	json_put_int(o, "evicted", (int64_t)s->evicted);
	json_put_int(o, "refused_tunnels", (int64_t)s->refused_tunnels);
	json_put_int(o, "h2_floods",
		     (int64_t)(s->h2_reset_floods + s->h2_frame_floods + s->h2_head_floods));
	json_put_int(o, "bad_proxy_headers", (int64_t)s->bad_proxy_headers);
	json_obj_end(o);
}

static int64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*s %ld", &pages) != 1)
		pages = 0;
	fclose(f);
	return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

void api_status(struct api_request *r)
{
	const struct control *c = r->app;
	const struct cluster *cluster = deployer_cluster(c->deployer);
	const struct loop_stats *loop = loop_stats(c->loop);
	struct deployer_stats d = deployer_stats(c->deployer);
	struct api_answer a;

	api_answer_begin(&a);
	json_put_str(&a.o, "version", PACKAGE_VERSION);
	json_put_str(&a.o, "cluster_id", c->cluster_id);
	json_put_int(&a.o, "uptime_s", (int64_t)((loop_now_ms(c->loop) - c->started_ms) / 1000));
	json_put_int(&a.o, "pid", getpid());
	put_store(&a.o, c);
	put_docker(&a.o, c);
	put_nodes(&a.o, cluster);
	put_apps(&a.o, cluster);
	json_put_int(&a.o, "routes", route_count(c->front));
	put_front(&a.o, c);
	json_obj(&a.o, "loop");
	json_put_int(&a.o, "turns", (int64_t)loop->turns);
	json_put_int(&a.o, "lag_max_us", (int64_t)loop->turn_max_us);
	json_obj_end(&a.o);
	json_obj(&a.o, "deployer");
	json_put_int(&a.o, "steps", (int64_t)d.steps);
	json_put_int(&a.o, "waiting", d.waiting);
	json_put_int(&a.o, "running", d.running);
	json_put_bool(&a.o, "braked", cluster_braked(cluster));
	json_put_int(&a.o, "brake_left_s",
		     (cluster_brake_ms(cluster, loop_now_ms(c->loop)) + 999) / 1000);
	json_obj_end(&a.o);
	predecessors_emit(c->predecessors, &a.o, "draining");
	json_put_int(&a.o, "memory_rss_bytes", resident_bytes());
	api_answer_send(&a, r, 200);
}

void api_events(struct api_request *r)
{
	const struct control *c = r->app;

	events_answer(c->events, r);
}
