/* Client connections: accepts from listeners, speaks HTTP/1.1 (h1.c) or HTTP/2 (h2.c), gives
 * exchanges to one handler. */
#ifndef TEMPS_HTTP_SERVER_H
#define TEMPS_HTTP_SERVER_H

#include "http/exchange.h"
#include "reactor/listener.h"
#include "reactor/tls.h"

struct server;

struct server_config {
	uint32_t head_timeout_ms; /* whole head, from its first byte (from accept for the first): 10
				     s */
	uint32_t idle_timeout_ms; /* keep-alive between requests: 75 s */
	uint32_t body_timeout_ms; /* no body byte for this long while we want some: 30 s */
	uint32_t write_timeout_ms; /* no byte taken by the client for this long while we have some:
				      30 s */
	/* Bytes a second: less than this, averaged over the timeout above, of what we wait for, is
	 * a client that holds us on purpose. 0 = any byte will do. 512: a tenth of what GPRS gives,
	 * so that one that stalls for most of the time still passes; and with what a request may
	 * hold, a connection costs its owner more than it costs us. */
	uint32_t min_rate;
	uint32_t tunnel_idle_ms;  /* 1 h */
	uint32_t max_connections; /* all listeners together; a tenth is reserved for <reserved>
				      peers */
	uint32_t max_per_address; /* per client address; 0 = no limit */
	uint32_t max_tunnels_per_address; /* of them, open or asked for; 0 = no limit */
	bool h2c; /* HTTP/2 with prior knowledge on plain listeners (RFC 9113 §3.3) */
	/* NULL-terminated ranges, or NULL: who connects from there sends a PROXY header first, and
	 * is whom it names. Borrowed for server_create(). */
	const char *const *proxy_senders;
	bool trust_request_id; /* keep a client's X-Request-ID when it is 1..36 of [A-Za-z0-9._-] */
};
void server_config_default(struct server_config *c);

struct server_stats {
	uint64_t accepted, refused_full, refused_address, requests, bad_requests, timeouts, aborted;
	uint64_t evicted;  /* closed without a request in progress, to make room for others */
	uint64_t too_slow; /* cut below the minimum rate; counted in timeouts too */
	uint64_t refused_tunnels;
	/* HTTP/2: connections there were; requests taken back or malformed; streams refused for want
	 * of room; connections ended because of too many such requests, too many frames that move
	 * nothing, a header list without end */
	uint64_t h2_connections, h2_resets, h2_refused;
	uint64_t h2_reset_floods, h2_frame_floods, h2_head_floods;
	uint64_t bad_proxy_headers; /* none, or one that is not to be believed; closed */
	/* Connections: all, and of them those between two requests, before the first byte of a
	 * protocol, with HTTP/2; tunnels there are. */
	uint32_t open, idle, opening, h2_open, tunnels;
};

/* <reserved> (optional) says whether an address may use the reserved tenth of the connection table.
 */
int server_create(struct server **out, struct loop *l, const struct server_config *c,
		  const struct exchange_handler *h,
		  bool (*reserved)(void *arg, const struct addr *peer), void *arg,
		  struct err *err) MUST_CHECK;
/* Adds a listening address; <tls> NULL for plain; <tag> ends up in exchange_peer.listener. <*bound>
 * (optional) is the address with its real port. */
int server_listen(struct server *s, const struct addr *at, struct tls_server *tls, const void *tag,
		  struct addr *bound, struct err *err) MUST_CHECK;
int server_listen_unix(struct server *s, const char *path, const void *tag,
		       struct err *err) MUST_CHECK;
/* A listener that another process of ours opened, see listener_adopt(); <path> of a unix socket, else
 * NULL. Takes the descriptor in any case. */
int server_adopt(struct server *s, int take_fd, const char *path, struct tls_server *tls,
		 const void *tag, struct addr *bound, struct err *err) MUST_CHECK;
/* The listeners in the order in which they came; at most <max>, and how many there are. */
struct server_listener {
	int fd; /* borrowed */
	bool tls, is_unix;
};
size_t server_listeners(const struct server *s, struct server_listener *out, size_t max);
/* Accepts nobody, on unix sockets or everywhere; connections wait in the kernel. */
void server_pause(struct server *s, bool only_unix);
void server_resume(struct server *s);
/* The listeners are another process's: their files stay when they are closed. */
void server_disown(struct server *s);
/* Another process has the listeners: as server_drain(), but who waits between two requests keeps its
 * connection for one more, until it idles out. <limit_ms> as there; may be followed by a
 * server_drain() with a shorter one. */
void server_retire(struct server *s, uint32_t limit_ms, void (*done)(void *arg), void *arg);
/* Stops listening, answers running exchanges with Connection: close, closes idle connections at
 * once; calls <done> when none is left or after <limit_ms>, cutting what remains (counted in
 * stats.aborted). */
void server_drain(struct server *s, uint32_t limit_ms, void (*done)(void *arg), void *arg);
void server_destroy(struct server *s);
const struct server_stats *server_stats(const struct server *s);
void server_each_pool(const struct server *s, pool_each_fn *each, void *arg);

#endif
