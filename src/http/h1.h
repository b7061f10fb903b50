/* The server side of one HTTP/1.x connection, between server.c, which accepts and counts, and the
 * handler, which sees exchanges. h1.c is its life and what comes in, h1_out.c what goes out. */
#ifndef TEMPS_HTTP_H1_H
#define TEMPS_HTTP_H1_H

#include "http/inbox.h"
#include "http/outbox.h"
#include "http/request_id.h"
#include "http/server.h"
#include "reactor/deadline.h"

struct h1;

/* What all connections of a server share; the server owns it. */
struct h1_shared {
	struct loop *loop;
	struct server_config config;
	struct exchange_handler handler;
	struct server_stats stats;
	struct pool conns, exchanges, blocks, big_blocks;
	struct request_ids ids;
	struct head trailers;	    /* scratch for the length of one body_end() */
	bool draining;		    /* every response says Connection: close */
	void (*gone)(struct h1 *c); /* the connection is closed: forget it; its memory goes at the
				       end of the turn */
};

enum h1_state {
	H1_HANDSHAKE, /* TLS */
	H1_IDLE,      /* between requests: holds no buffer */
	H1_HEAD,      /* waits for the rest of a head, or for a new connection's first byte */
	H1_EXCHANGE,  /* a request is being answered */
	H1_TUNNEL,    /* after a 101 */
	H1_SKIP,      /* answered; drops the rest of the request's content */
	H1_LINGER,    /* says its last words, then reads and drops until the client has closed (RFC
			 9112 §9.6) */
	H1_CLOSED,
	H1_STATES
};

struct h1 {
	struct h1_shared *shared;
	struct list link; /* the server's */
	void *account;	  /* the server's count for this address */
	struct stream stream;
	struct deadline deadline;
	struct loop_task turn; /* ends every turn in which something moved */
	struct loop_reap reap;
	struct exchange_peer peer;
	uint8_t state;		   /* enum h1_state: set_state() writes it */
	uint8_t waits_for;	   /* enum h1_wait: what the deadline stands for in an exchange */
	bool refused_more;	   /* the handler took less than it was offered */
	bool want_writable;	   /* a write was short */
	bool continued;		   /* 100 Continue was sent, or the content came without */
	bool last;		   /* no request after this one */
	bool shut;		   /* our half is closed */
	const char *broken;	   /* to be closed at the end of the turn, with this reason */
	uint32_t dropped_bytes;	   /* in H1_SKIP and H1_LINGER */
	uint32_t handshake_events; /* what the handshake waits for */
	uint64_t progress_bytes;   /* in + out when the deadline was last pushed back */
	uint64_t turn_bytes_out;   /* sent when the last turn ended */
	struct head_scan scan;
	struct inbox in;
	struct outbox out;
	struct exchange *x; /* in H1_EXCHANGE and H1_TUNNEL */
};

/* Takes the accepted descriptor. <tls> NULL for plain. NULL at the cap or without memory: the
 * descriptor is closed. */
struct h1 *h1_open(struct h1_shared *shared, int take_fd, struct tls_server *tls,
		   const struct exchange_peer *peer);
/* No new request: closes it if it is idle, else after the response in progress. */
void h1_drain(struct h1 *c);
/* Cuts it at the end of this turn, or at once with <now>. closed(why) reaches the handler. */
void h1_cut(struct h1 *c, const char *why, bool now);

/* Between h1.c and h1_out.c. */
extern const struct exchange_ops h1_ops;
/* The connection cannot go on: noted, done at the end of the turn. */
void h1_break(struct h1 *c, const char *why);
void h1_enter_tunnel(struct h1 *c);
/* An answer of our own to a request that is no request; <why> is for people. */
void h1_write_refusal(struct h1 *c, unsigned status, const char *why);
void h1_write_continue(struct h1 *c);

#endif
