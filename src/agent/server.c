/* The agent's API: the table, the one place that lets calls in, and everything that has one short answer. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/server_inner.h"
#include "base/log.h"
#include "reactor/crypto.h"

#define MAX_BODY (256u << 10)
#define MAX_QUERY 4096
#define DEFAULT_GRACE_S 10

/* --- calls --- */

static void call_free(void *arg)
{
	free(arg);
}

static void on_closed(void *state)
{
	struct call *c = state;

	if (c->op)
		c->server->link->ops->cancel(c->op);
	c->op = NULL;
	if (c->release)
		c->release(c);
	loop_defer(c->server->loop, &c->reap, call_free, c);
}

void *call_new(struct api_request *r, size_t size)
{
	struct call *c = xcalloc(1, size);

	c->r = r;
	c->server = r->app;
	r->state = c;
	r->closed = on_closed;
	return c;
}

void call_error(struct api_request *r, unsigned status, const char *text)
{
	struct json_out o;
	struct buf body;

	buf_init(&body, 0);
	json_out_init(&o, &body);
	wire_envelope_error(&o, text);
	reply_json(r, status, buf_slice(&body));
	buf_fini(&body);
}

bool call_failed(struct call *c, const struct link_result *res)
{
	c->op = NULL;
	if (!res->rc)
		return false;
	call_error(c->r, wire_status(res->rc), res->error ? res->error : strerror(-res->rc));
	return true;
}

/* A success: the caller puts one member, "data", in between. */
static void answer_begin(struct json_out *o, struct buf *body)
{
	buf_init(body, 0);
	json_out_init(o, body);
	wire_envelope_begin(o);
}

static void answer_end(struct api_request *r, struct json_out *o, struct buf *body)
{
	wire_envelope_end(o);
	reply_json(r, 200, buf_slice(body));
	buf_fini(body);
}

void call_answer_text(struct api_request *r, const char *text)
{
	struct json_out o;
	struct buf body;

	answer_begin(&o, &body);
	json_put_str(&o, "data", text);
	answer_end(r, &o, &body);
}

char *call_param(struct api_request *r)
{
	struct slice s = r->params[0];

	if (!s.n || s.n > 1024 || memchr(s.p, '\0', s.n)) {
		call_error(r, 400, "the path names nothing");
		return NULL;
	}
	return slice_dup(s);
}

bool call_body(struct api_request *r, struct json **out)
{
	struct err err = { 0 };

	*out = NULL;
	if (!r->body.n || !json_parse(out, r->body, &err))
		return true;
	call_error(r, 400, err.text);
	return false;
}

/* --- who may call --- */

static int refuse(struct api_request *r, const char *text)
{
	reply_field(r, "WWW-Authenticate", "Bearer");
	reply_text(r, 401, "text/plain; charset=utf-8", slice_str(text));
	return -EACCES;
}

static int on_authorise(struct api_request *r)
{
	struct agent_server *s = r->app;
	const struct field *f = head_field(&r->x->req, FIELD_AUTHORIZATION);
	uint8_t hash[32];
	struct slice token, scheme;

	scheme = f ? slice_split(f->value, ' ', &token) : slice_str("");
	if (!slice_eq_nocase(scheme, SLICE("Bearer")) || !token.n)
		return refuse(r, "Missing or invalid Authorization header");
	crypto_sha256(slice_trim(token), hash);
	if (!crypto_equal(slice_of(hash, sizeof(hash)),
			  slice_of(s->token_hash, sizeof(s->token_hash))))
		return refuse(r, "Invalid token");
	addr_ip(&r->x->peer->addr, s->caller_ip);
	return 0;
}

bool agent_server_knows(void *arg, const struct addr *peer)
{
	const struct agent_server *s = arg;
	char ip[64];

	addr_ip(peer, ip);
	return strcmp(ip, s->caller_ip) == 0;
}

static void on_error(struct api_request *r, unsigned status, const char *title, const char *detail)
{
	call_error(r, status, detail && *detail ? detail : title);
}

/* --- containers --- */

static void on_deployed(void *arg, const struct link_result *res, const struct wire_deployed *d)
{
	struct call *c = arg;
	struct json_out o;
	struct buf body;

	if (call_failed(c, res))
		return;
	answer_begin(&o, &body);
	wire_deployed_emit(d, &o, "data");
	answer_end(c->r, &o, &body);
}

/* Not where the whole world may come in, unless asked for. */
static void default_host_ip(struct wire_deploy *d, const struct agent_server *s)
{
	for (size_t i = 0; s->publish_ip && i < d->nports; i++) {
		if (!d->ports[i].host_ip[0])
			snprintf(d->ports[i].host_ip, sizeof(d->ports[i].host_ip), "%s",
				 s->publish_ip);
	}
}

static void serve_deploy(struct api_request *r)
{
	struct call *c;
	struct wire_deploy d;
	struct err err = { 0 };
	struct json *j;
	int rc;

	if (!call_body(r, &j))
		return;
	rc = wire_deploy_parse(&d, j, &err);
	json_free(j);
	if (rc) {
		call_error(r, 400, err.text);
		return;
	}
	default_host_ip(&d, r->app);
	log_info("deploy %s from %s", d.container_name, d.image_name);
	c = call_new(r, sizeof(*c));
	c->op = c->server->link->ops->deploy(c->server->link, &d, on_deployed, c);
	wire_deploy_fini(&d);
}

static void on_listed(void *arg, const struct link_result *res, const struct wire_container *list,
		      size_t n)
{
	struct call *c = arg;
	struct json_out o;
	struct buf body;

	if (call_failed(c, res))
		return;
	answer_begin(&o, &body);
	json_arr(&o, "data");
	for (size_t i = 0; i < n; i++)
		wire_container_emit(&list[i], &o, NULL);
	json_arr_end(&o);
	answer_end(c->r, &o, &body);
}

static void serve_list(struct api_request *r)
{
	struct call *c = call_new(r, sizeof(*c));

	c->op = c->server->link->ops->list(c->server->link, on_listed, c);
}

struct word_call {
	struct call call;
	const char *word;	/* the whole answer */
};

static void on_word(void *arg, const struct link_result *res)
{
	struct word_call *w = arg;

	if (!call_failed(&w->call, res))
		call_answer_text(w->call.r, w->word);
}

static void serve_start(struct api_request *r)
{
	char *id = call_param(r);
	struct word_call *w;

	if (!id)
		return;
	w = call_new(r, sizeof(*w));
	w->word = "started";
	w->call.op = w->call.server->link->ops->start(w->call.server->link, id, on_word, w);
	free(id);
}

static void serve_stop(struct api_request *r)
{
	struct err err = { 0 };
	int64_t grace_s = DEFAULT_GRACE_S;
	struct word_call *w;
	struct json *j;
	char *id;
	int rc;

	if (!call_body(r, &j))
		return;
	rc = j ? json_want_int(j, "stop_timeout_s", 0, 86400, &grace_s, &err) : 0;
	json_free(j);
	if (rc && rc != -ENOENT) {
		call_error(r, 400, err.text);
		return;
	}
	id = call_param(r);
	if (!id)
		return;
	log_info("stop %s", id);
	w = call_new(r, sizeof(*w));
	w->word = "stopped";
	w->call.op = w->call.server->link->ops->stop(w->call.server->link, id, (uint32_t)grace_s,
						     on_word, w);
	free(id);
}

static void serve_remove(struct api_request *r)
{
	char *id = call_param(r);
	struct word_call *w;

	if (!id)
		return;
	log_info("remove %s", id);
	w = call_new(r, sizeof(*w));
	w->word = "removed";
	w->call.op = w->call.server->link->ops->remove(w->call.server->link, id, on_word, w);
	free(id);
}

static void on_info(void *arg, const struct link_result *res, const struct wire_container *found)
{
	struct call *c = arg;
	struct json_out o;
	struct buf body;

	if (call_failed(c, res))
		return;
	answer_begin(&o, &body);
	wire_container_emit(found, &o, "data");
	answer_end(c->r, &o, &body);
}

static void serve_info(struct api_request *r)
{
	char *id = call_param(r);
	struct call *c;

	if (!id)
		return;
	c = call_new(r, sizeof(*c));
	c->op = c->server->link->ops->info(c->server->link, id, on_info, c);
	free(id);
}

static void on_stats(void *arg, const struct link_result *res, const struct wire_stats *found)
{
	struct call *c = arg;
	struct json_out o;
	struct buf body;

	if (call_failed(c, res))
		return;
	answer_begin(&o, &body);
	wire_stats_emit(found, &o, "data");
	answer_end(c->r, &o, &body);
}

static void serve_stats(struct api_request *r)
{
	char *id = call_param(r);
	struct call *c;

	if (!id)
		return;
	c = call_new(r, sizeof(*c));
	c->op = engine_stats(c->server->engine, id, on_stats, c);
	free(id);
}

/* --- logs of what is gone, images, health --- */

static void on_kept(void *arg, const struct link_result *res, const struct wire_kept *list,
		    size_t n)
{
	struct call *c = arg;
	struct json_out o;
	struct buf body;

	if (call_failed(c, res))
		return;
	answer_begin(&o, &body);
	json_arr(&o, "data");
	for (size_t i = 0; i < n; i++)
		wire_kept_emit(&list[i], &o);
	json_arr_end(&o);
	answer_end(c->r, &o, &body);
}

static void serve_kept(struct api_request *r)
{
	char *app = call_param(r);
	struct call *c;

	if (!app)
		return;
	c = call_new(r, sizeof(*c));
	c->op = c->server->link->ops->kept(c->server->link, app, on_kept, c);
	free(app);
}

static void on_exists(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct call *c = arg;
	struct json_out o;
	struct buf body;

	(void)image;
	if (res->rc != -ENOENT && call_failed(c, res))
		return;
	c->op = NULL;
	answer_begin(&o, &body);
	json_put_bool(&o, "data", !res->rc);
	answer_end(c->r, &o, &body);
}

static void on_inspected(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct call *c = arg;
	struct json_out o;
	struct buf body;

	if (call_failed(c, res))
		return;
	answer_begin(&o, &body);
	json_obj(&o, "data");
	json_put_str(&o, "id", image->id);
	json_put_str(&o, "architecture", image->architecture);
	json_put_int(&o, "bytes", (int64_t)image->bytes);
	json_put_bool(&o, "from_registry", image->from_registry);
	json_obj_end(&o);
	answer_end(c->r, &o, &body);
}

static void look_at_image(struct api_request *r, link_image_fn *done)
{
	char *name = call_param(r);
	struct call *c;

	if (!name)
		return;
	c = call_new(r, sizeof(*c));
	c->op = c->server->link->ops->image_inspect(c->server->link, name, done, c);
	free(name);
}

static void serve_exists(struct api_request *r)
{
	look_at_image(r, on_exists);
}

static void serve_inspect(struct api_request *r)
{
	look_at_image(r, on_inspected);
}

static void on_counted(void *arg, const struct link_result *res, const struct wire_container *list,
		       size_t n)
{
	struct call *c = arg;
	struct wire_capacity capacity;
	struct json_out o;
	struct buf body;

	/* Without an engine the machine still has its figures. */
	c->op = NULL;
	metrics_read(c->server->metrics, loop_now_ms(c->server->loop), &capacity);
	for (size_t i = 0; !res->rc && i < n; i++)
		capacity.running_containers += !strcmp(list[i].status, "Running");
	answer_begin(&o, &body);
	wire_capacity_emit(&capacity, &o, "data");
	answer_end(c->r, &o, &body);
}

static void serve_ping(struct api_request *r)
{
	call_answer_text(r, "pong");
}

static void serve_health(struct api_request *r)
{
	struct call *c = call_new(r, sizeof(*c));

	c->op = c->server->link->ops->list(c->server->link, on_counted, c);
}

static const struct api_route routes[] = {
	{ .method = "POST",
	  .pattern = "/agent/containers/deploy",
	  .max_body = MAX_BODY,
	  .handle = serve_deploy },
	{ .method = "GET", .pattern = "/agent/containers", .handle = serve_list },
	{ .method = "POST",
	  .pattern = "/agent/containers/{id}/start",
	  .max_body = MAX_BODY,
	  .handle = serve_start },
	{ .method = "POST",
	  .pattern = "/agent/containers/{id}/stop",
	  .max_body = MAX_BODY,
	  .handle = serve_stop },
	{ .method = "DELETE", .pattern = "/agent/containers/{id}", .handle = serve_remove },
	{ .method = "GET", .pattern = "/agent/containers/{id}/info", .handle = serve_info },
	{ .method = "GET", .pattern = "/agent/containers/{id}/stats", .handle = serve_stats },
	{ .method = "GET", .pattern = "/agent/containers/{id}/logs", .handle = serve_logs },
	{ .method = "GET", .pattern = "/agent/logs/{app}", .handle = serve_kept },
	{ .method = "GET", .pattern = "/agent/logs/{app}/{name}", .handle = serve_kept_log },
	{ .method = "GET", .pattern = "/agent/images/{name}/exists", .handle = serve_exists },
	{ .method = "GET", .pattern = "/agent/images/{name}/inspect", .handle = serve_inspect },
	{ .method = "POST",
	  .pattern = "/agent/images/pull",
	  .max_body = MAX_BODY,
	  .handle = serve_pull },
	{ .method = "POST",
	  .pattern = "/agent/images/import",
	  .max_body = API_BODY_STREAM,
	  .handle = serve_import },
	{ .method = "GET", .pattern = "/agent/events", .handle = serve_events },
	{ .method = "GET", .pattern = "/agent/health", .handle = serve_health },
	{ .method = "GET", .pattern = "/agent/ping", .handle = serve_ping },
};

int agent_server_create(struct agent_server **out, const struct agent_server_config *c,
			struct err *err)
{
	struct agent_server *s = xcalloc(1, sizeof(*s));
	struct api_config api = {
		.routes = routes,
		.nroutes = ARRAY_LEN(routes),
		.app = s,
		.authorise = on_authorise,
		.error = on_error,
		.max_query = MAX_QUERY,
	};
	int rc;

	list_init(&s->streams);
	s->loop = c->loop;
	s->engine = c->engine;
	s->link = engine_link(c->engine);
	s->metrics = c->metrics;
	s->publish_ip = c->publish_ip;
	crypto_sha256(slice_str(c->token), s->token_hash);
	rc = api_create(&s->api, &api, err);
	if (rc) {
		agent_server_destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}

void agent_server_destroy(struct agent_server *s)
{
	if (!s)
		return;
	api_destroy(s->api);
	free(s);
}

void agent_server_stop(struct agent_server *s)
{
	server_stream_stop(s);
}

struct exchange_handler agent_server_handler(struct agent_server *s)
{
	return (struct exchange_handler){ .request = api_handle, .arg = s->api };
}
