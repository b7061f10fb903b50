/* The dataplane's hosts: which lead to an app, which to static targets. */
#include "control/dataplane_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void dataplane_host_free(struct dataplane *d, struct route_host *h)
{
	(void)!route_remove(d->front, h->host, h->path);
	map_del(&d->hosts, slice_str(h->key));
	list_remove(&h->link);
	if (h->fixed)
		upstream_destroy(h->fixed);
	if (h->app) {
		h->app->hosts--;
		dataplane_app_settle(d, h->app);
	}
	free(h->targets);
	pairs_fini(&h->policy);
	free(h->host);
	free(h->path);
	free(h->key);
	free(h);
}

static char *host_key(const char *host, const char *path)
{
	return xasprintf("%s%s", host, path);
}

static struct route_host *host_find(const struct dataplane *d, const char *host, const char *path)
{
	char *key = host_key(host, path);
	struct route_host *h = map_get(&d->hosts, slice_str(key));

	free(key);
	return h;
}

static struct route_host *host_add(struct dataplane *d, const struct effect_host *e,
				   struct route_app *app, struct upstream *fixed)
{
	struct route_host *h = xcalloc(1, sizeof(*h));
	int rc;

	h->host = xstrdup(e->host);
	h->path = xstrdup(e->path);
	h->key = host_key(e->host, e->path);
	h->app = app;
	h->fixed = fixed;
	h->named = true;
	if (app)
		app->hosts++;
	list_push_back(&d->host_list, &h->link);
	map_put(&d->hosts, slice_str(h->key), h);
	rc = route_add(d->front, h->host, h->path, app ? app->upstream : fixed);
	if (rc)
		log_error("route %s%s: %s", h->host, h->path, strerror(-rc));
	return h;
}

void dataplane_host_set(struct dataplane *d, const struct effect_host *e)
{
	struct route_host *h = host_find(d, e->host, e->path);
	struct route_app *a;

	if (h && h->app && strcmp(h->app->name, e->app) == 0) {
		h->named = true;
		return;
	}
	a = dataplane_app_get(d, e->app);
	if (h)
		dataplane_host_free(d, h);
	host_add(d, e, a, NULL);
}

static char *join_targets(const struct strs *targets)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < targets->n; i++)
		buf_printf(&b, "%s%s", i ? " " : "", targets->items[i]);
	return buf_steal(&b);
}

static void lead_to(struct dataplane *d, struct upstream *u, const struct strs *texts)
{
	struct target *targets = xcalloc(texts->n ? texts->n : 1, sizeof(*targets));
	struct err err;
	size_t n = 0;

	/* They were checked when they came. */
	for (size_t i = 0; i < texts->n; i++) {
		if (target_parse(&targets[n], slice_str(texts->items[i]), &err))
			log_error("target of %s: %s", upstream_name(u), err.text);
		else
			n++;
	}
	upstream_set_targets(u, targets, n, d->config.request_drain_ms, d->config.tunnel_drain_ms);
	free(targets);
}

void dataplane_host_static(struct dataplane *d, const struct effect_host *e)
{
	struct route_host *h = host_find(d, e->host, e->path);
	char *targets = join_targets(&e->targets), *name;

	if (h && !h->fixed) {
		dataplane_host_free(d, h);
		h = NULL;
	}
	if (!h) {
		name = host_key(e->host, e->path);
		h = host_add(d, e, NULL, upstream_create(d->front, name, NULL));
		free(name);
	}
	h->named = true;
	/* The policy first: what is new begins with it. */
	if (!pairs_eq(&h->policy, &e->policy))
		dataplane_set_policy(h->fixed, &h->policy, &e->policy, e->host, false, 0);
	if (h->targets && strcmp(h->targets, targets) == 0) {
		free(targets);
		return;
	}
	lead_to(d, h->fixed, &e->targets);
	free(h->targets);
	h->targets = targets;
}

void dataplane_host_del(struct dataplane *d, const char *host, const char *path)
{
	struct route_host *h = host_find(d, host, path);

	if (h)
		dataplane_host_free(d, h);
}

struct upstream *dataplane_static(const struct dataplane *d, const char *host, const char *path)
{
	struct route_host *h = host_find(d, host, path);

	return h ? h->fixed : NULL;
}
