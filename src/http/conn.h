/* One client connection, whatever it speaks: the socket or TLS stream, its handshake, its deadline,
 * the end of its turns, who is on the other side, how it is counted and how it ends. What is said
 * on it is a kind's matter (h1.c, h2.c), chosen once: by ALPN after the handshake, or by the first
 * bytes on a plain listener. A kind's state comes from a pool of its own at that moment, so that a
 * connection that says nothing stays small. */
#ifndef TEMPS_HTTP_CONN_H
#define TEMPS_HTTP_CONN_H

#include "base/range.h"
#include "http/request_id.h"
#include "http/server.h"
#include "reactor/deadline.h"
#include "reactor/stream.h"

struct conn;
struct h2_shared;

#define CONN_PREFACE_BYTES 24 /* what HTTP/2 begins with (RFC 9113 §3.4) */

/* What a protocol does on a connection. <c->proto> is its state. */
struct conn_kind {
	const char *name;
	/* The connection speaks this from now on; <early> was read already. -ENOMEM. */
	int (*begin)(struct conn *c, struct slice early);
	void (*ready)(struct conn *c, int events); /* STREAM_READ and STREAM_WRITE */
	void (*turn)(struct conn *c);	 /* the end of a turn that conn_wake() asked for */
	void (*expired)(struct conn *c); /* the deadline that the kind has set */
	void (*drain)(struct conn *c);	 /* no new request */
	/* Would a client take what it got so far for a complete answer? Then a reset tells it. */
	bool (*owes)(const struct conn *c);
	/* The connection is closed (<why> NULL: nothing is wrong): exchanges end, buffers go back.
	 * The state itself stays until release(), at the end of the turn. */
	void (*closed)(struct conn *c, const char *why);
	void (*release)(struct conn *c);
};

extern const struct conn_kind h1_kind, h2_kind;

/* What all connections of a server share; the server owns it. */
struct conn_shared {
	struct loop *loop;
	struct server_config config;
	struct exchange_handler handler;
	struct server_stats stats;
	struct pool conns, h1s, exchanges, blocks, big_blocks;
	struct h2_shared *h2; /* what h2.c shares among its connections */
	struct request_ids ids;
	struct head trailers; /* scratch for the length of one body_end() */
	/* Those without an exchange in progress, the longest in front; who has one of the reserved
	 * places makes way for their like only. */
	struct list waiting, waiting_reserved;
	bool draining;	      /* every response says Connection: close */
	/* And another process has the listeners: who waits between two requests is not cut off, its
	 * next one is the last. */
	bool retiring;
	bool full;	      /* nobody is let in until somebody waits or goes */
	struct ranges proxy_senders;
	struct pool proxy_headers;
	/* <c> came through a proxy, and its client is known now: count it. False: that one has its
	 * share. */
	bool (*named)(struct conn *c);
	void (*room)(struct conn_shared *s); /* find out anew whether it is full */
	void (*gone)(struct conn *c); /* the connection is closed: forget it; its memory goes at the
					 end of the turn */
};

enum conn_state {
	CONN_PROXY,	/* a PROXY header has to come first */
	CONN_HANDSHAKE, /* TLS */
	CONN_FIRST,	/* a plain listener that takes HTTP/2: which is it? */
	CONN_OPEN,	/* its kind has it */
	CONN_CLOSED,
	CONN_STATES
};

/* What one client address has; the server's. */
struct conn_account {
	uint32_t open, tunnels;
};

struct conn {
	struct conn_shared *shared;
	struct list link; /* the server's */
	struct list waiting_link;
	struct conn_account *account; /* NULL: nothing is counted for it */
	const struct conn_kind *kind;
	void *proto; /* the kind's state; NULL until one is chosen */
	struct stream stream;
	struct deadline deadline;
	struct loop_task turn; /* ends every turn in which something moved */
	struct loop_reap reap;
	struct exchange_peer peer;
	struct proxy_header *proxy_header; /* while one has to come; NULL */
	bool reserved;	    /* it has a place of those that are kept for some */
	const char *broken; /* to be closed at the end of the turn, with this reason */
	uint8_t state;	    /* enum conn_state; set_state() in conn.c writes it */
	uint8_t nfirst;
	char first[CONN_PREFACE_BYTES]; /* in CONN_FIRST: what came */
};

/* Takes the accepted descriptor. <tls> NULL for plain. NULL at the cap or without memory: the
 * descriptor is closed. */
struct conn *conn_open(struct conn_shared *shared, int take_fd, struct tls_server *tls,
		       const struct exchange_peer *peer);
/* A PROXY header has to come first; before conn_start(). -ENOMEM. */
int conn_expect_proxy_header(struct conn *c) MUST_CHECK;
/* Begins to listen to it; once, after it is counted: it may be closed in here already. */
void conn_start(struct conn *c);
/* No new request: closes it if it is idle, else after what is in progress. */
void conn_drain(struct conn *c);
/* From any state, any number of times, but never from inside a call of a handler's: see
 * conn_break(). <why> NULL: nothing is wrong. */
void conn_close(struct conn *c, const char *why);
/* The connection cannot go on: noted for its kind, which closes it at the end of the turn. */
void conn_break(struct conn *c, const char *why);

/* Calls turn() before this turn ends. */
static inline void conn_wake(struct conn *c)
{
	loop_later(c->shared->loop, &c->turn);
}

static inline bool conn_is_open(const struct conn *c)
{
	return c->state != CONN_CLOSED;
}

/* It has no exchange in progress: when places are short, who waits longest goes first. */
static inline void conn_waits(struct conn *c)
{
	list_remove(&c->waiting_link);
	list_push_back(c->reserved ? &c->shared->waiting_reserved : &c->shared->waiting,
		       &c->waiting_link);
	if (c->shared->full)
		c->shared->room(c->shared);
}

/* It has one, or is not to be closed for others. */
static inline void conn_works(struct conn *c)
{
	list_remove(&c->waiting_link);
	if (c->shared->stats.open >= c->shared->config.max_connections)
		c->shared->room(c->shared);
}

/* A tunnel is asked for: false when the client's address has its share. */
bool conn_tunnel_begin(struct conn *c);
/* It is over, or was not granted. */
void conn_tunnel_end(struct conn *c);

/* <bytes> in <ms> of waiting for a client are fewer than it may be as slow as. */
static inline bool conn_is_too_slow(const struct conn_shared *shared, uint64_t bytes, uint64_t ms)
{
	return bytes < MAX(shared->config.min_rate * ms / 1000, 1);
}

/* The connection that an exchange came by. */
static inline struct conn *conn_of(const struct exchange *x)
{
	return CONTAINER_OF(x->peer, struct conn, peer);
}

/* What every kind does at the beginning of an exchange: all of <x> but its transport's own; the
 * head is there. */
void conn_begin_exchange(struct conn *c, struct exchange *x, const struct exchange_ops *ops);

#endif
