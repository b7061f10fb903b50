/* Keeps one watch a node: stream open → reachable → inventory, stream gone → lost → again after a
 * pause. */
#include "control/links.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "control/link_direct.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"

#define RETRY_MIN_MS 250
#define RETRY_MAX_MS 5000
#define LINE_MAX_BYTES 65536
/* For the agent alone, which waits for nothing: what its endpoints did not answer within 2 s may go
 * elsewhere half a second later. */
#define PING_LIMIT_MS 500

struct watch {
	struct list link;
	struct links *links;
	int64_t node_id;	/* the map's key */
	struct link *link_to;
	char *address, *token_hash; /* NULL for an attached link, which is not ours to destroy */
	struct link_op *stream, *listing, *ping;
	struct list lookups;	/* struct lookup: containers asked about after an event */
	struct buf line;
	char oom_id[65];	/* the container that ran out of memory last: its end follows */
	struct deadline retry, ping_limit;
	uint32_t pause_ms;
	bool up;		/* reachable() was said */
	bool flows;		/* something came over the stream */
	bool probing, closed;
	struct loop_reap reap;
};

struct lookup {
	struct list link;
	struct watch *watch;
	struct link_op *op;
};

struct links {
	struct links_config config;
	struct map by_id;
	struct list watches;
};

static void watch_start(struct watch *w);

struct links *links_create(const struct links_config *c)
{
	struct links *l = xcalloc(1, sizeof(*l));
	struct hash_key key;

	l->config = *c;
	hash_key_random(&key);
	map_init(&l->by_id, &key);
	list_init(&l->watches);
	return l;
}

static struct slice id_key(const int64_t *id)
{
	return slice_of(id, sizeof(*id));
}

static void watch_free(void *arg)
{
	struct watch *w = arg;

	buf_fini(&w->line);
	free(w->address);
	free(w->token_hash);
	free(w);
}

static void cancel_lookups(struct watch *w)
{
	LIST_FOR_EACH_SAFE(k, &w->lookups, struct lookup, link) {
		w->link_to->ops->cancel(k->op);
		list_remove(&k->link);
		free(k);
	}
}

static void cancel(struct watch *w, struct link_op **op)
{
	if (*op)
		w->link_to->ops->cancel(*op);
	*op = NULL;
}

static void watch_close(struct watch *w)
{
	struct links *l = w->links;

	l->config.reports->closing(l->config.arg, w->node_id);
	w->closed = true;
	map_del(&l->by_id, id_key(&w->node_id));
	list_remove(&w->link);
	deadline_stop(&w->retry);
	deadline_stop(&w->ping_limit);
	cancel_lookups(w);
	cancel(w, &w->stream);
	cancel(w, &w->listing);
	cancel(w, &w->ping);
	if (w->address)
		w->link_to->ops->destroy(w->link_to);
	loop_defer(l->config.loop, &w->reap, watch_free, w);
}

void links_destroy(struct links *l)
{
	if (!l)
		return;
	LIST_FOR_EACH_SAFE(w, &l->watches, struct watch, link)
		watch_close(w);
	map_fini(&l->by_id);
	free(l);
}

static void on_retry(void *arg)
{
	watch_start(arg);
}

static void lost(struct watch *w, const char *why)
{
	const struct links_config *c = &w->links->config;

	w->up = w->flows = w->probing = false;
	buf_clear(&w->line);
	w->pause_ms = w->pause_ms ? MIN(w->pause_ms * 2, RETRY_MAX_MS) : RETRY_MIN_MS;
	deadline_set(&w->retry, w->pause_ms);
	c->reports->lost(c->arg, w->node_id, why);	/* last: it may close <w> */
}

static void on_listed(void *arg, const struct link_result *res, const struct wire_container *list,
		      size_t n)
{
	struct watch *w = arg;
	const struct links_config *c = &w->links->config;

	w->listing = NULL;
	if (res->rc) {
		/* The stream goes with it: a watch without an inventory would miss what happened
		 * before it. */
		cancel(w, &w->stream);
		lost(w, res->error ? res->error : "the node did not list its containers");
		return;
	}
	if (w->stream && (!w->up || w->probing)) {
		w->pause_ms = 0;
		w->up = true;
		w->probing = false;
		c->reports->reachable(c->arg, w->node_id);
	}
	if (!w->closed)
		c->reports->inventory(c->arg, w->node_id, list, n);
}

static void list_now(struct watch *w)
{
	if (!w->listing)
		w->listing = w->link_to->ops->list(w->link_to, on_listed, w);
}

static void on_looked_up(void *arg, const struct link_result *res,
			 const struct wire_container *container)
{
	struct lookup *k = arg;
	struct watch *w = k->watch;
	const struct links_config *c = &w->links->config;

	list_remove(&k->link);
	free(k);
	if (!res->rc)
		c->reports->container(c->arg, w->node_id, container);
}

static void look_up(struct watch *w, const char *id)
{
	struct lookup *k = xcalloc(1, sizeof(*k));

	k->watch = w;
	list_push_back(&w->lookups, &k->link);
	k->op = w->link_to->ops->info(w->link_to, id, on_looked_up, k);
}

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(s, *words) == 0)
			return true;
	return false;
}

static void take_line(struct watch *w, struct slice line)
{
	static const char *const ended[] = { "die", "destroy", NULL };
	static const char *const changed[] = {
		"start", "restart", "pause", "unpause", "oom", NULL
	};
	const struct links_config *c = &w->links->config;
	struct wire_event e = { 0 };
	struct err err;

	if (wire_event_parse(&e, line, &err))
		return;
	if (strcmp(e.action, "oom") == 0)
		memcpy(w->oom_id, e.container_id, sizeof(w->oom_id));
	if (one_of(e.action, changed))
		look_up(w, e.container_id);
	else if (one_of(e.action, ended))
		c->reports->died(c->arg, w->node_id, &e,
				 strcmp(w->oom_id, e.container_id) == 0);
	wire_event_fini(&e);
}

static size_t on_stream_data(void *arg, const char *p, size_t n)
{
	struct watch *w = arg;
	const struct links_config *c = &w->links->config;
	const char *end;
	size_t used = 0;

	/* Whatever happened between the first list and the stream's begin is found by a second one.
	 */
	if (!w->flows) {
		w->flows = true;
		list_now(w);
	}
	if (w->address)
		c->reports->exchange(c->arg, w->node_id);
	if (buf_append(&w->line, p, n))
		buf_clear(&w->line);
	while (!w->closed && w->line.len > used &&
	       (end = memchr(w->line.data + used, '\n', w->line.len - used))) {
		struct slice line =
			slice_of(w->line.data + used, (size_t)(end - (w->line.data + used)));

		used += line.n + 1;
		if (line.n)
			take_line(w, line);
	}
	if (used)
		buf_consume(&w->line, used);
	return n;
}

static void on_stream_done(void *arg, const struct link_result *res)
{
	struct watch *w = arg;

	w->stream = NULL;
	lost(w, res->error ? res->error : "the agent closed its event stream");
}

static void watch_start(struct watch *w)
{
	static const struct link_stream stream = { .data = on_stream_data, .done = on_stream_done };

	deadline_set(&w->retry, 0);
	if (!w->stream)
		w->stream = w->link_to->ops->events(w->link_to, &stream, w);
	list_now(w);
}

/* ---- does the agent answer? ---- */

/* What runs on connections that may be dead goes too: the next try makes its own. */
static void unanswered(struct watch *w, const char *why)
{
	cancel(w, &w->ping);
	cancel(w, &w->stream);
	cancel(w, &w->listing);
	lost(w, why);
}

static void on_ping_limit(void *arg)
{
	unanswered(arg, "the agent does not answer");
}

static void on_pinged(void *arg, const struct link_result *res)
{
	struct watch *w = arg;

	w->ping = NULL;
	deadline_set(&w->ping_limit, 0);
	if (res->rc == -ECOMM)
		unanswered(w, res->error);
}

static void ping(struct watch *w)
{
	if (w->ping || !w->link_to->ops->ping)
		return;
	w->ping = w->link_to->ops->ping(w->link_to, on_pinged, w);
	deadline_set(&w->ping_limit, PING_LIMIT_MS);
}

static void on_exchange(void *arg)
{
	struct watch *w = arg;
	const struct links_config *c = &w->links->config;

	if (!w->closed)
		c->reports->exchange(c->arg, w->node_id);
}

static struct watch *watch_new(struct links *l, int64_t node_id)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	w->links = l;
	w->node_id = node_id;
	list_init(&w->lookups);
	buf_init(&w->line, LINE_MAX_BYTES);
	deadline_init(&w->retry, l->config.loop, on_retry, w);
	deadline_init(&w->ping_limit, l->config.loop, on_ping_limit, w);
	list_push_back(&l->watches, &w->link);
	map_put(&l->by_id, id_key(&w->node_id), w);
	return w;
}

void links_open(struct links *l, int64_t node_id, const char *address, const char *token)
{
	struct watch *w = map_get(&l->by_id, id_key(&node_id));
	struct direct_config direct = { .loop = l->config.loop,
					.rpc = l->config.rpc,
					.address = address,
					.ca_pem = l->config.ca_pem,
					.token = token,
					.exchange = on_exchange };
	char hash[65];

	crypto_sha256_hex(slice_str(token), hash);
	if (w && w->address && strcmp(w->address, address) == 0 && strcmp(w->token_hash, hash) == 0)
		return;
	if (w)
		watch_close(w);
	w = watch_new(l, node_id);
	w->address = xstrdup(address);
	w->token_hash = xstrdup(hash);
	direct.arg = w;
	w->link_to = link_direct_create(&direct);
	watch_start(w);
}

void links_attach(struct links *l, int64_t node_id, struct link *borrowed)
{
	struct watch *w = map_get(&l->by_id, id_key(&node_id));

	if (w)
		watch_close(w);
	w = watch_new(l, node_id);
	w->link_to = borrowed;
	watch_start(w);
}

void links_close(struct links *l, int64_t node_id)
{
	struct watch *w = map_get(&l->by_id, id_key(&node_id));

	if (w)
		watch_close(w);
}

struct link *links_get(const struct links *l, int64_t node_id)
{
	struct watch *w = map_get(&l->by_id, id_key(&node_id));

	return w ? w->link_to : NULL;
}

void links_list(struct links *l, int64_t node_id)
{
	struct watch *w = map_get(&l->by_id, id_key(&node_id));

	if (w)
		list_now(w);
}

void links_repeat(struct links *l)
{
	LIST_FOR_EACH_SAFE(w, &l->watches, struct watch, link) {
		if (!w->up)
			continue;
		l->config.reports->reachable(l->config.arg, w->node_id);
		list_now(w);
	}
}

void links_probe(struct links *l, int64_t node_id)
{
	struct watch *w = map_get(&l->by_id, id_key(&node_id));

	if (!w)
		return;
	w->probing = true;
	watch_start(w);
	ping(w);
}
