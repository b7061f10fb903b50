/* Listeners and the connection table: who may connect, how many, and how it ends. */
#include "http/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "http/h1.h"
#include "http/h2.h"
#include "http/proxy_header.h"
#include "reactor/crypto.h"

#define BIG_BLOCK_BYTES \
	(3 * INBOX_BLOCK_BYTES) /* the largest head and a block of content behind it */
#define IDLE_BLOCKS_MAX 256	/* 4 MiB kept by a quiet process */
#define IDLE_OBJECTS_MAX 256
#define EVICTED_MAX 64 /* in one turn; a listener accepts 16 */

/* Connections from one address (IPv6: one /64, which is what one customer gets). */
struct account {
	struct conn_account counts;
	uint8_t key[9];
	uint8_t key_len;
};

struct port {
	struct list link;
	struct server *server;
	struct listener *listener; /* owned; NULL once draining */
	struct tls_server *tls;	   /* borrowed; NULL for plain */
	const void *tag;
	bool is_unix, paused;
};

struct server {
	struct conn_shared shared;
	struct list ports, conns;
	struct map accounts;
	struct pool account_pool;
	bool (*reserved)(void *arg, const struct addr *peer);
	void *reserved_arg;
	uint32_t reserved_open; /* connections on their places */
	/* draining */
	void (*drained)(void *arg); /* NULL once called */
	void *drained_arg;
	struct deadline drain_limit;
	struct loop_task drain_check;
	struct loop_reap reap;
};

void server_config_default(struct server_config *c)
{
	*c = (struct server_config){
		.head_timeout_ms = 10000,
		.idle_timeout_ms = 75000,
		.body_timeout_ms = 30000,
		.write_timeout_ms = 30000,
		.min_rate = 512,
		.tunnel_idle_ms = 3600000,
		.max_connections = 16384,
		.max_per_address = 4096,
		.max_tunnels_per_address = 1024,
	};
}

/* ---- accounts ---- */

static void account_key(struct account *a, const struct addr *peer)
{
	const void *bytes;

	if (peer->sa.ss_family == AF_INET6) {
		bytes = &((const struct sockaddr_in6 *)&peer->sa)->sin6_addr;
		a->key_len = 8;
	} else {
		bytes = &((const struct sockaddr_in *)&peer->sa)->sin_addr;
		a->key_len = 4;
	}
	memcpy(a->key, bytes, a->key_len);
}

static struct slice account_slice(const struct account *a)
{
	return slice_of(a->key, a->key_len);
}

/* Counts one more connection: false when the address has its share. <*out> is NULL when nothing is
 * counted for it. */
static bool account_open(struct server *s, const struct addr *peer, struct conn_account **out)
{
	struct account key, *a;

	*out = NULL;
	if (!s->shared.config.max_per_address || peer->sa.ss_family == AF_UNIX)
		return true;
	account_key(&key, peer);
	a = map_get(&s->accounts, account_slice(&key));
	if (!a) {
		a = pool_get(&s->account_pool);
		if (!a)
			return false;
		*a = key;
		a->counts = (struct conn_account){ 0 };
		map_put(&s->accounts, account_slice(a), a);
	}
	if (a->counts.open >= s->shared.config.max_per_address)
		return false;
	a->counts.open++;
	*out = &a->counts;
	return true;
}

static void account_close(struct server *s, struct conn_account *counts)
{
	struct account *a;

	if (!counts || --counts->open > 0)
		return;
	a = CONTAINER_OF(counts, struct account, counts);
	map_del(&s->accounts, account_slice(a));
	pool_put(&s->account_pool, a);
}

/* ---- connections ---- */

static void port_watch(struct port *p)
{
	if (!p->listener)
		return;
	if (p->paused || p->server->shared.full)
		listener_pause(p->listener);
	else
		listener_resume(p->listener);
}

/* With every place taken by somebody who works, the next ones wait in the kernel. */
static void on_room(struct conn_shared *shared)
{
	struct server *s = CONTAINER_OF(shared, struct server, shared);
	bool full = shared->stats.open >= shared->config.max_connections &&
		    list_empty(&shared->waiting) && list_empty(&shared->waiting_reserved);

	if (shared->full == full)
		return;
	shared->full = full;
	LIST_FOR_EACH(p, &s->ports, struct port, link)
		port_watch(p);
}

static void on_gone(struct conn *c)
{
	struct server *s = CONTAINER_OF(c->shared, struct server, shared);

	list_remove(&c->link);
	account_close(s, c->account);
	s->shared.stats.open--;
	s->reserved_open -= c->reserved;
	on_room(c->shared);
	if (s->drained && list_empty(&s->conns))
		loop_later(s->shared.loop, &s->drain_check);
}

/* Who waits longest without a request in progress makes room, be it idle, silent or slow with its
 * head; false: nobody waits. */
static bool evict(struct server *s, bool for_reserved)
{
	struct conn *c = LIST_FIRST(&s->shared.waiting, struct conn, waiting_link);

	if (!c && for_reserved)
		c = LIST_FIRST(&s->shared.waiting_reserved, struct conn, waiting_link);
	if (!c)
		return false;
	s->shared.stats.evicted++;
	conn_close(c, NULL);
	return true;
}

/* A tenth of the table is for reserved peers: a flood of others cannot starve them, neither by taking
 * those places nor by having them cleared. */
static bool has_place(struct server *s, const struct port *p, const struct addr *peer,
		      bool *reserved)
{
	uint32_t max = s->shared.config.max_connections, open = s->shared.stats.open;

	*reserved = false;
	if (open < max - max / 10)
		return true;
	*reserved = p->is_unix || (s->reserved && s->reserved(s->reserved_arg, peer));
	if (open < max && (*reserved || open - s->reserved_open < max - max / 10))
		return true;
	return evict(s, *reserved);
}

static bool is_local_user(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (cred.uid == 0 || cred.uid == geteuid());
}

/* Does it say whose connections it passes on? It counts for them, not for itself. */
static bool is_proxy(const struct server *s, const struct port *p, const struct addr *peer)
{
	uint8_t ip[RANGE_IP_BYTES];

	return s->shared.proxy_senders.n && !p->is_unix && range_ip(peer, ip) &&
	       ranges_have(&s->shared.proxy_senders, ip);
}

static bool on_named(struct conn *c)
{
	struct server *s = CONTAINER_OF(c->shared, struct server, shared);

	if (account_open(s, &c->peer.addr, &c->account))
		return true;
	s->shared.stats.refused_address++;
	return false;
}

static void on_accept(void *arg, int take_fd, const struct addr *addr)
{
	struct port *p = arg;
	struct server *s = p->server;
	struct exchange_peer peer = {
		.addr = *addr,
		.tls = p->tls != NULL,
		.local_user = p->is_unix && is_local_user(take_fd),
		.listener = p->tag,
	};
	bool proxied = is_proxy(s, p, addr), reserved;
	struct conn_account *a = NULL;
	struct conn *c;

	if (p->is_unix) /* who connects has no path of its own */
		memcpy(peer.addr.text, "unix", sizeof("unix"));
	if (!proxied && !account_open(s, addr, &a)) {
		s->shared.stats.refused_address++;
		close(take_fd);
		return;
	}
	if (!has_place(s, p, addr, &reserved)) {
		account_close(s, a);
		s->shared.stats.refused_full++;
		close(take_fd);
		return;
	}
	c = conn_open(&s->shared, take_fd, p->tls, &peer);
	if (!c) {
		account_close(s, a);
		s->shared.stats.refused_full++;
		return;
	}
	c->account = a;
	c->reserved = reserved;
	s->reserved_open += reserved;
	list_push_back(&s->conns, &c->link);
	s->shared.stats.accepted++;
	s->shared.stats.open++;
	on_room(&s->shared);
	if (proxied && conn_expect_proxy_header(c) < 0) {
		s->shared.stats.refused_full++;
		conn_close(c, "no room for its PROXY header");
		return;
	}
	conn_start(c);
}

/* ---- draining ---- */

static void cut_all(struct server *s, const char *why)
{
	LIST_FOR_EACH_SAFE(c, &s->conns, struct conn, link)
		conn_close(c, why);
}

static void on_drain_check(void *arg)
{
	struct server *s = arg;
	void (*done)(void *arg) = s->drained;

	if (!done || !list_empty(&s->conns))
		return;
	deadline_set(&s->drain_limit, 0);
	s->drained = NULL;
	done(s->drained_arg);
}

static void on_drain_limit(void *arg)
{
	struct server *s = arg;

	cut_all(s, "shutting down");
	loop_later(s->shared.loop, &s->drain_check);
}

static void close_ports(struct server *s)
{
	LIST_FOR_EACH(p, &s->ports, struct port, link) {
		listener_close(p->listener);
		p->listener = NULL;
	}
}

static void drain(struct server *s, bool retiring, uint32_t limit_ms, void (*done)(void *arg),
		  void *arg)
{
	s->drained = done;
	s->drained_arg = arg;
	s->shared.draining = true;
	s->shared.retiring = retiring;
	close_ports(s);
	deadline_set(&s->drain_limit, MAX(limit_ms, 1));
	LIST_FOR_EACH_SAFE(c, &s->conns, struct conn, link)
		conn_drain(c);
	loop_later(s->shared.loop, &s->drain_check);
}

void server_drain(struct server *s, uint32_t limit_ms, void (*done)(void *arg), void *arg)
{
	drain(s, false, limit_ms, done, arg);
}

void server_retire(struct server *s, uint32_t limit_ms, void (*done)(void *arg), void *arg)
{
	drain(s, true, limit_ms, done, arg);
}

/* ---- listeners that two processes have ---- */

size_t server_listeners(const struct server *s, struct server_listener *out, size_t max)
{
	size_t n = 0;

	LIST_FOR_EACH(p, &s->ports, struct port, link) {
		if (p->listener && n < max)
			out[n++] = (struct server_listener){ listener_fd(p->listener),
							     p->tls != NULL, p->is_unix };
	}
	return n;
}

void server_pause(struct server *s, bool only_unix)
{
	LIST_FOR_EACH(p, &s->ports, struct port, link) {
		p->paused = !only_unix || p->is_unix;
		port_watch(p);
	}
}

void server_resume(struct server *s)
{
	LIST_FOR_EACH(p, &s->ports, struct port, link) {
		p->paused = false;
		port_watch(p);
	}
}

void server_disown(struct server *s)
{
	LIST_FOR_EACH(p, &s->ports, struct port, link)
		if (p->listener)
			listener_disown(p->listener);
}

/* ---- life ---- */

static void init_pools(struct server *s)
{
	uint32_t max = s->shared.config.max_connections;
	uint32_t blocks = max < UINT32_MAX / 3 ? 3 * max : max;

	/* Those that made room live on until their turn ends. */
	pool_init(&s->shared.conns, "connections", sizeof(struct conn), max + EVICTED_MAX,
		  MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&s->shared.h1s, "HTTP/1 connections", sizeof(struct h1), max + EVICTED_MAX,
		  MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&s->shared.exchanges, "exchanges", sizeof(struct exchange), max,
		  MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&s->shared.blocks, "blocks", INBOX_BLOCK_BYTES, blocks,
		  MIN(MIN(blocks, max / 4 + 16), IDLE_BLOCKS_MAX));
	pool_init(&s->shared.big_blocks, "big blocks", BIG_BLOCK_BYTES, MAX(max / 4, 16), 8);
	pool_init(&s->shared.proxy_headers, "PROXY headers", sizeof(struct proxy_header),
		  max + EVICTED_MAX, MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&s->account_pool, "client addresses", sizeof(struct account), max + 1,
		  MIN(max, IDLE_OBJECTS_MAX));
}

int server_create(struct server **out, struct loop *l, const struct server_config *c,
		  const struct exchange_handler *h,
		  bool (*reserved)(void *arg, const struct addr *peer), void *arg, struct err *err)
{
	struct server *s;
	struct ranges senders = { 0 };
	struct hash_key key;

	if (c->max_connections == 0)
		return err_say(err, -EINVAL, "a server needs room for at least one connection");
	for (const char *const *text = c->proxy_senders; text && *text; text++) {
		if (ranges_add(&senders, slice_str(*text)) == 0)
			continue;
		ranges_fini(&senders);
		return err_say(err, -EINVAL,
			       "PROXY protocol sender \"%.100s\": expected an address range like 10.0.0.0/8",
			       *text);
	}
	s = xcalloc(1, sizeof(*s));
	s->shared.loop = l;
	s->shared.config = *c;
	s->shared.config.proxy_senders = NULL;
	s->shared.proxy_senders = senders;
	s->shared.named = on_named;
	s->shared.handler = *h;
	s->shared.gone = on_gone;
	s->shared.room = on_room;
	crypto_random(s->shared.ids.seed, sizeof(s->shared.ids.seed));
	s->reserved = reserved;
	s->reserved_arg = arg;
	list_init(&s->ports);
	list_init(&s->conns);
	list_init(&s->shared.waiting);
	list_init(&s->shared.waiting_reserved);
	hash_key_random(&key);
	map_init(&s->accounts, &key);
	init_pools(s);
	h2_shared_create(&s->shared);
	deadline_init(&s->drain_limit, l, on_drain_limit, s);
	loop_task_init(&s->drain_check, on_drain_check, s);
	*out = s;
	return 0;
}

static struct port *port_new(struct server *s, struct tls_server *tls, const void *tag)
{
	struct port *p = xcalloc(1, sizeof(*p));

	p->server = s;
	p->tls = tls;
	p->tag = tag;
	return p;
}

static int port_add(struct server *s, struct port *p, int rc)
{
	if (rc < 0)
		free(p);
	else
		list_push_back(&s->ports, &p->link);
	return rc;
}

int server_listen(struct server *s, const struct addr *at, struct tls_server *tls, const void *tag,
		  struct addr *bound, struct err *err)
{
	struct port *p = port_new(s, tls, tag);
	int rc = listener_open(&p->listener, s->shared.loop, at, on_accept, p, err);

	if (rc == 0 && bound)
		*bound = *listener_addr(p->listener);
	return port_add(s, p, rc);
}

int server_listen_unix(struct server *s, const char *path, const void *tag, struct err *err)
{
	struct port *p = port_new(s, NULL, tag);

	p->is_unix = true;
	return port_add(s, p,
			listener_open_unix(&p->listener, s->shared.loop, path, on_accept, p, err));
}

int server_adopt(struct server *s, int take_fd, const char *path, struct tls_server *tls,
		 const void *tag, struct addr *bound, struct err *err)
{
	struct port *p = port_new(s, tls, tag);
	int rc = listener_adopt(&p->listener, s->shared.loop, take_fd, path, on_accept, p, err);

	p->is_unix = path != NULL;
	if (rc == 0 && bound)
		*bound = *listener_addr(p->listener);
	return port_add(s, p, rc);
}

static void server_free(void *arg)
{
	struct server *s = arg;

	pool_fini(&s->shared.conns);
	pool_fini(&s->shared.h1s);
	h2_shared_destroy(s->shared.h2);
	pool_fini(&s->shared.exchanges);
	pool_fini(&s->shared.blocks);
	pool_fini(&s->shared.big_blocks);
	pool_fini(&s->shared.proxy_headers);
	ranges_fini(&s->shared.proxy_senders);
	pool_fini(&s->account_pool);
	map_fini(&s->accounts);
	free(s);
}

void server_destroy(struct server *s)
{
	if (!s)
		return;
	s->drained = NULL;
	close_ports(s);
	cut_all(s, "shutting down");
	LIST_FOR_EACH_SAFE(p, &s->ports, struct port, link)
		free(p);
	deadline_stop(&s->drain_limit);
	loop_task_cancel(&s->drain_check);
	/* After the connections' own memory, which was deferred before this. */
	loop_defer(s->shared.loop, &s->reap, server_free, s);
}

const struct server_stats *server_stats(const struct server *s)
{
	return &s->shared.stats;
}

void server_each_pool(const struct server *s, pool_each_fn *each, void *arg)
{
	each(arg, &s->shared.conns);
	each(arg, &s->shared.h1s);
	h2_each_pool(s->shared.h2, each, arg);
	each(arg, &s->shared.exchanges);
	each(arg, &s->shared.blocks);
	each(arg, &s->shared.big_blocks);
	each(arg, &s->shared.proxy_headers);
	each(arg, &s->account_pool);
}
