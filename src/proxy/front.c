/* The front door as a handler: what a request is before it becomes a relay. */
#include "proxy/front.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "proxy/basic_auth.h"
#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/path.h"
#include "proxy/relay.h"

#define MAX_RELAYS (1u << 20) /* connections are capped before; HTTP/2 brings many streams each */
#define IDLE_RELAYS 1024      /* kept for reuse: half a MiB */
#define IDLE_BLOCKS 64

void front_config_default(struct front_config *c)
{
	*c = (struct front_config){
		.limits = { .connect_ms = 1500, .head_ms = 60000, .idle_ms = 60000 },
		.user_timeout_ms = 1500,
		.max_upstream_connections = 16384,
		.pool_idle_ms = 4000,
		.fresh_idle_ms = 1000,
		.hold_max = 1000,
		.hold_max_bytes = 8u << 20,
		.hold_ms = 30000,
		.retry_body_bytes = 65536,
		.retry_body_total_bytes = 64u << 20,
	};
}

int front_create(struct front **out, struct loop *l, struct work *work,
		 const struct front_config *c, const struct front_reports *reports, void *arg,
		 struct err *err)
{
	struct front *f = xcalloc(1, sizeof(*f));
	struct hash_key key;
	int rc;

	f->loop = l;
	f->work = work;
	compress_init(&f->compress, l);
	f->config = *c;
	if (reports)
		f->reports = *reports;
	f->arg = arg;
	hash_key_random(&key);
	f->random = key.k0 | 1;
	hash_key_random(&f->sticky_key);
	if (c->sticky_key)
		f->sticky_key = *c->sticky_key;
	hash_key_random(&key);
	table_init(&f->table, &key);
	list_init(&f->upstreams);
	list_init(&f->probes_waiting);
	list_init(&f->walks);
	pool_init(&f->relays, "relays", sizeof(struct relay), MAX_RELAYS, IDLE_RELAYS);
	pool_init(&f->replay_blocks, "replay", REPLAY_BLOCK_BYTES,
		  (uint32_t)(c->retry_body_total_bytes / REPLAY_BLOCK_BYTES), IDLE_BLOCKS);
	rc = forward_init(&f->forward, c->trusted_proxies, err);
	if (rc == 0)
		rc = client_pool_create(&f->clients, l, c->max_upstream_connections, err);
	if (rc == 0)
		client_pool_user_timeout(f->clients, c->user_timeout_ms);
	if (rc == 0 && c->access_log)
		rc = access_open(&f->access, l, work, c->access_log, c->access_log_json, err);
	/* Borrowed for the call; nothing may look at them later. */
	f->config.trusted_proxies = NULL;
	f->config.access_log = NULL;
	f->config.sticky_key = NULL;
	if (rc < 0) {
		front_destroy(f);
		return rc;
	}
	*out = f;
	return 0;
}

static void front_free(void *arg)
{
	struct front *f = arg;

	client_pool_destroy(f->clients);
	forward_fini(&f->forward);
	free(f->rates);
	compress_fini(&f->compress);
	pool_fini(&f->relays);
	pool_fini(&f->replay_blocks);
	free(f);
}

void front_destroy(struct front *f)
{
	if (!f)
		return;
	LIST_FOR_EACH_SAFE(u, &f->upstreams, struct upstream, link) {
		while (!list_empty(&u->endpoints))
			endpoint_remove(LIST_FIRST(&u->endpoints, struct endpoint, link));
		upstream_destroy(u);
	}
	table_fini(&f->table);
	basic_auth_destroy(f->auth);
	f->auth = NULL;
	access_close(f->access);
	f->access = NULL;
	/* After what the lines above deferred. */
	loop_defer(f->loop, &f->reap, front_free, f);
}

uint64_t front_random(struct front *f)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return f->random;
}

bool front_has_host(const struct front *f, struct slice host)
{
	char name[TABLE_HOST_MAX + 1];
	size_t n = host_fold(host, name);

	return n && table_has_host(&f->table, name, n);
}

static struct route *find_route(struct front *f, const struct exchange *x)
{
	char host[TABLE_HOST_MAX + 1];
	size_t n = host_fold(x->req.authority, host);

	return n ? table_find(&f->table, host, n, path_plain(x->req.path, f->path)) : NULL;
}

void front_count_error(struct front *f, const struct exchange *x)
{
	struct route *r = find_route(f, x);

	if (r)
		r->errors++;
}

/* A plain request for a host that we serve by https belongs there, but for the questions of
 * certificate authorities (RFC 8555 §8.3). */
static bool wants_redirect(const struct front *f, const struct exchange *x)
{
	return f->config.https_port && !x->peer->tls &&
	       !slice_starts(x->req.path, SLICE("/.well-known/acme-challenge/")) &&
	       !forward_is_https(&f->forward, x);
}

static void redirect(struct front *f, struct exchange *x)
{
	struct slice host = x->req.authority, path = x->req.path;
	char *to = f->location;
	size_t size = sizeof(f->location);
	const char *colon = memchr(host.p, ':', host.n);
	int n;

	if (colon)
		host.n = (size_t)(colon - host.p);
	if (path.n == 0 || path.p[0] != '/')
		path = SLICE("/");
	if (f->config.https_port == 443)
		n = snprintf(to, size, "https://%.*s%.*s", SLICE_ARG(host), SLICE_ARG(path));
	else
		n = snprintf(to, size, "https://%.*s:%u%.*s", SLICE_ARG(host), f->config.https_port,
			     SLICE_ARG(path));
	if (n < 0 || (size_t)n >= size)
		relay_answer_only(f, x, 414, "The address is too long to redirect.",
				  slice_of(NULL, 0));
	else
		relay_answer_only(f, x, 308, NULL, slice_of(to, (size_t)n));
}

void front_request(void *front, struct exchange *x)
{
	struct front *f = front;
	struct slice none = { NULL, 0 };
	struct route *route;

	if (x->req.method_id == METHOD_CONNECT) {
		relay_answer_only(f, x, 501, "This is not a forward proxy.", none);
		return;
	}
	if (x->req.method_id == METHOD_TRACE) {
		/* It would show a script what the browser and we add (RFC 9110 §9.3.8 warns). */
		relay_answer_only(f, x, 405, "TRACE is not passed on.", none);
		return;
	}
	if (forward_ends_here(&x->req)) {
		relay_answer_only(f, x, 204, NULL, none);
		return;
	}
	route = find_route(f, x);
	if (!route) {
		f->stats.no_route++;
		relay_answer_only(f, x, 404, "Nothing is served under this name.", none);
		return;
	}
	if (wants_redirect(f, x)) {
		redirect(f, x);
		return;
	}
	route->requests++;
	relay_begin(f, x, CONTAINER_OF(route->target, struct upstream, target));
}

void front_reopen_log(struct front *f)
{
	if (f->access)
		access_reopen(f->access);
}

const struct front_stats *front_stats(const struct front *f)
{
	return &f->stats;
}

const struct access_stats *front_log_stats(const struct front *f)
{
	static const struct access_stats none;

	return f->access ? access_stats(f->access) : &none;
}

const struct client_stats *front_client_stats(const struct front *f)
{
	return client_stats(f->clients);
}

void front_each_pool(const struct front *f, pool_each_fn *each, void *arg)
{
	client_each_pool(f->clients, each, arg);
	each(arg, &f->relays);
	each(arg, &f->replay_blocks);
	if (f->access)
		each(arg, access_pool(f->access));
}
