/* Calls to a Docker Engine over its socket: negotiates the version first, turns refusals into errors with the engine's words. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/docker.h"
#include "base/json.h"
#include "base/text.h"

#define MAX_ERROR_BYTES 16384	/* of a refusal's body */

struct docker {
	struct loop *loop;
	struct rpc *rpc;	/* borrowed */
	char *host;
	char *socket;		/* path, or NULL */
	char *base;		/* "http://docker", "http://10.0.0.5:2375" */
	char version[16]; /* "1.41"; "" until an engine said its own, and again when it was lost */
	struct list calls;
};

struct docker_call {
	struct docker *docker;
	struct list link;
	struct rpc_call *rpc;
	const struct docker_ops *ops;
	void *arg;
	char *method, *path, *auth;	/* owned; auth is a whole header line */
	char *body;
	size_t body_len;
	uint32_t idle_timeout_ms;
	size_t max_response;
	int status;
	struct buf refusal;		/* body of an answer that is not a success */
	struct loop_task refuse;
	struct loop_reap reap;
};

static int parse_host(struct docker *d, const char *host, struct err *err)
{
	struct addr at;

	if (!strncmp(host, "unix://", 7) && host[7] == '/') {
		d->socket = xstrdup(host + 7);
		d->base = xstrdup("http://docker");
		return 0;
	}
	if (!strncmp(host, "tcp://", 6))
		host += 6;
	else if (!strncmp(host, "http://", 7))
		host += 7;
	else
		return err_say(err, -EINVAL,
			       "docker host \"%s\": expected unix:///path or tcp://address:port",
			       d->host);
	if (addr_parse(&at, slice_str(host), err))
		return err_prefix(err, "docker host \"%s\"", d->host);
	d->base = xasprintf("http://%s", at.text);
	return 0;
}

int docker_create(struct docker **out, struct loop *l, struct rpc *r, const char *host,
		  struct err *err)
{
	struct docker *d = xcalloc(1, sizeof(*d));
	int rc;

	if (!host || !*host)
		host = getenv("DOCKER_HOST");
	if (!host || !*host)
		host = "unix:///var/run/docker.sock";
	d->loop = l;
	d->rpc = r;
	d->host = xstrdup(host);
	list_init(&d->calls);
	rc = parse_host(d, host, err);
	if (rc) {
		docker_destroy(d);
		return rc;
	}
	*out = d;
	return 0;
}

void docker_destroy(struct docker *d)
{
	if (!d)
		return;
	while (!list_empty(&d->calls))
		docker_cancel(LIST_FIRST(&d->calls, struct docker_call, link));
	free(d->host);
	free(d->socket);
	free(d->base);
	free(d);
}

const char *docker_host(const struct docker *d)
{
	return d->host;
}

const char *docker_api_version(const struct docker *d)
{
	return d->version;
}

static void call_free(void *arg)
{
	struct docker_call *c = arg;

	free(c->method);
	free(c->path);
	free(c->auth);
	free(c->body);
	buf_fini(&c->refusal);
	free(c);
}

/* Off the books; its memory goes at the end of the turn. */
static void call_retire(struct docker_call *c)
{
	list_remove(&c->link);
	loop_task_cancel(&c->refuse);
	loop_defer(c->docker->loop, &c->reap, call_free, c);
}

static void call_finish(struct docker_call *c, const struct docker_result *res)
{
	c->rpc = NULL;
	call_retire(c);
	c->ops->done(c->arg, res);
}

/* The engine's own words in a refusal: {"message":"…"}, or plain text from a proxy in between. */
static void refusal_text(struct slice body, int status, char *out, size_t size)
{
	struct json *j;
	struct slice text = slice_trim(body);

	if (!json_parse(&j, body, NULL)) {
		snprintf(out, size, "%s", json_cstr(json_get(j, "message"), ""));
		json_free(j);
	} else {
		snprintf(out, size, "%.*s", (int)MIN(text.n, 300u), text.n ? text.p : "");
	}
	if (!out[0])
		snprintf(out, size, "the engine answered %d", status);
}

static int rc_of_status(int status)
{
	if ((status >= 200 && status < 300) || status == 304)
		return 0;
	switch (status) {
	case 400: return -EINVAL;
	case 404: return -ENOENT;
	case 409: return -EEXIST;
	default: return -EIO;
	}
}

static void fail_transport(struct docker_call *c, const struct rpc_result *res)
{
	char text[384];
	struct docker_result out = { .rc = -ECOMM, .error = text, .sent = res->sent };

	if (res->rc == -ETIMEDOUT)
		out.rc = -ETIMEDOUT;
	else if (res->rc == -EMSGSIZE)
		out.rc = -EIO;
	/* What answers next may be another engine. */
	if (out.rc == -ECOMM)
		c->docker->version[0] = '\0';
	snprintf(text, sizeof(text), "Docker Engine at %s: %s", c->docker->host,
		 res->error ? res->error : "no answer");
	call_finish(c, &out);
}

static void on_head(void *arg, int status)
{
	struct docker_call *c = arg;

	c->status = status;
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct docker_call *c = arg;

	if (!rc_of_status(c->status))
		return c->ops->data(c->arg, p, n);
	if (c->refusal.len < MAX_ERROR_BYTES)
		buf_append(&c->refusal, p, MIN(n, MAX_ERROR_BYTES - c->refusal.len));
	return n;
}

static ssize_t on_upload(void *arg, char *p, size_t n)
{
	struct docker_call *c = arg;

	return c->ops->upload(c->arg, p, n);
}

static void on_done(void *arg, const struct rpc_result *res)
{
	struct docker_call *c = arg;
	struct docker_result out = { .status = res->status, .body = res->body, .sent = true };
	char text[384];

	if (res->rc) {
		fail_transport(c, res);
		return;
	}
	out.rc = rc_of_status(res->status);
	if (out.rc) {
		refusal_text(c->ops->data ? buf_slice(&c->refusal) : res->body, res->status, text,
			     sizeof(text));
		out.error = text;
	}
	call_finish(c, &out);
}

static void on_refuse(void *arg)
{
	struct docker_call *c = arg;
	struct docker_result out = { .rc = -ECOMM, .error = "too many calls at once" };

	call_finish(c, &out);
}

/* The four shapes a call can have: rpc_ops is borrowed for ever, and an unused callback must be absent. */
static const struct rpc_ops shapes[2][2] = {
	{ { .head = on_head, .done = on_done },
	  { .head = on_head, .done = on_done, .upload = on_upload } },
	{ { .head = on_head, .done = on_done, .body = on_body },
	  { .head = on_head, .done = on_done, .body = on_body, .upload = on_upload } },
};

static void call_send(struct docker_call *c)
{
	struct docker *d = c->docker;
	struct rpc_target to = { .unix_socket = d->socket };
	const char *headers[3] = { NULL };
	size_t n = 0;
	char *url = xasprintf("%s/v%s%s", d->base, d->version, c->path);
	struct rpc_request req = {
		.method = c->method,
		.url = url,
		.headers = headers,
		.body = slice_of(c->body, c->body_len),
		.idle_timeout_ms = c->idle_timeout_ms,
		.max_response = c->max_response,
	};

	if (c->ops->upload)
		headers[n++] = "Content-Type: application/x-tar";
	else if (c->body_len)
		headers[n++] = "Content-Type: application/json";
	if (c->auth)
		headers[n++] = c->auth;
	c->rpc = rpc_begin(d->rpc, &to, &req, &shapes[c->ops->data != NULL][c->ops->upload != NULL],
			   c);
	if (!c->rpc)
		loop_later(d->loop, &c->refuse);
	free(url);
}

/* The lower of what the engine and we speak. */
static int negotiate(struct docker *d, struct slice body)
{
	unsigned major, minor;
	struct json *j;
	int n;

	if (json_parse(&j, body, NULL))
		return -EINVAL;
	n = sscanf(json_cstr(json_get(j, "ApiVersion"), ""), "%u.%u", &major, &minor);
	json_free(j);
	if (n != 2 || major != DOCKER_API_MAJOR || minor > 9999)
		return -EINVAL;
	snprintf(d->version, sizeof(d->version), "%d.%u", DOCKER_API_MAJOR,
		 MIN(minor, (unsigned)DOCKER_API_MINOR));
	return 0;
}

static void on_version(void *arg, const struct rpc_result *res)
{
	struct docker_call *c = arg;
	struct rpc_result copy = *res;
	char text[256];

	c->rpc = NULL;
	if (!res->rc && res->status == 200 && !negotiate(c->docker, res->body)) {
		call_send(c);
		return;
	}
	if (!res->rc) {
		snprintf(text, sizeof(text), "it did not say which API it speaks (status %d)",
			 res->status);
		copy = (struct rpc_result){ .rc = -EPROTO, .error = text };
	}
	copy.sent = false;	/* the call itself was not */
	fail_transport(c, &copy);
}

static const struct rpc_ops version_ops = { .done = on_version };

/* GET /version has no version in its path, so that any engine answers it. */
static void ask_version(struct docker_call *c)
{
	struct docker *d = c->docker;
	struct rpc_target to = { .unix_socket = d->socket };
	char *url = xasprintf("%s/version", d->base);
	struct rpc_request req = { .method = "GET", .url = url, .total_timeout_ms = 10000 };

	c->rpc = rpc_begin(d->rpc, &to, &req, &version_ops, c);
	if (!c->rpc)
		loop_later(d->loop, &c->refuse);
	free(url);
}

/* Base64 in the URL alphabet, with the padding that older engines insist on. */
static char *auth_line(const char *registry_auth)
{
	struct buf b;

	buf_init(&b, 0);
	buf_append_str(&b, "X-Registry-Auth: ");
	text_base64(&b, registry_auth, strlen(registry_auth), true);
	for (size_t n = strlen(registry_auth); n % 3; n++)
		buf_append_str(&b, "=");
	return buf_steal(&b);
}

struct docker_call *docker_begin(struct docker *d, const struct docker_request *req,
				 const struct docker_ops *ops, void *arg)
{
	struct docker_call *c = xcalloc(1, sizeof(*c));

	c->docker = d;
	c->ops = ops;
	c->arg = arg;
	c->method = xstrdup(req->method);
	c->path = xstrdup(req->path);
	c->auth = req->registry_auth ? auth_line(req->registry_auth) : NULL;
	c->body = req->body.n ? xstrndup(req->body.p, req->body.n) : NULL;
	c->body_len = req->body.n;
	c->idle_timeout_ms = req->idle_timeout_ms;
	c->max_response = req->max_response;
	buf_init(&c->refusal, MAX_ERROR_BYTES);
	loop_task_init(&c->refuse, on_refuse, c);
	list_push_back(&d->calls, &c->link);
	if (d->version[0])
		call_send(c);
	else
		ask_version(c);
	return c;
}

void docker_resume(struct docker_call *c)
{
	if (c->rpc)
		rpc_resume(c->rpc);
}

void docker_cancel(struct docker_call *c)
{
	if (!c)
		return;
	rpc_cancel(c->rpc);
	c->rpc = NULL;
	call_retire(c);
}
