/* The server side of one HTTP/1.x connection, between conn.c, which has the stream, and the handler,
 * which sees exchanges. h1.c is its life and what comes in, h1_out.c what goes out,
 * h1_watch.c how long it may take. */
#ifndef TEMPS_HTTP_H1_H
#define TEMPS_HTTP_H1_H

#include "http/conn.h"
#include "http/inbox.h"
#include "http/outbox.h"

enum h1_state {
	H1_IDLE,     /* between requests: holds no buffer */
	H1_HEAD,     /* waits for the rest of a head, or for a new connection's first byte */
	H1_EXCHANGE, /* a request is being answered */
	H1_TUNNEL,   /* after a 101 */
	H1_SKIP,     /* answered; drops the rest of the request's content */
	H1_LINGER,   /* says its last words, then reads and drops until the client has closed (RFC
			 9112 §9.6) */
	H1_CLOSED,
	H1_STATES
};

/* What the deadline of an exchange is for. */
enum h1_wait { H1_WAIT_NOTHING, H1_WAIT_CONTENT, H1_WAIT_WRITE, H1_WAIT_TUNNEL };

struct h1 {
	struct conn *conn;
	struct conn_shared *shared;
	uint8_t state;		 /* enum h1_state: set_state() writes it */
	uint8_t waits_for;	 /* enum h1_wait: what the deadline stands for in an exchange */
	uint8_t turn_requests;	 /* that were begun since the socket was last ready */
	bool counts_as_tunnel;	 /* its address's share has one for it */
	bool acked_known;	 /* acked_mark was taken since the wait began */
	bool refused_more;	 /* the handler took less than it was offered */
	bool want_writable;	 /* a write was short */
	bool continued;		 /* 100 Continue was sent, or the content came without */
	bool last;		 /* no request after this one */
	bool shut;		 /* our half is closed */
	uint32_t dropped_bytes;	 /* in H1_SKIP and H1_LINGER */
	uint64_t progress_bytes; /* in + out when the deadline was last pushed back */
	uint64_t turn_bytes_out; /* sent when the last turn ended */
	/* For the minimum rate. Content: how long we waited for it in this window, until when, and
	 * what had come before. Response: what the client had acknowledged before. */
	uint32_t waited_ms;
	uint64_t waited_until_ms, came_mark, acked_mark;
	struct head_scan scan;
	struct inbox in;
	struct outbox out;
	struct exchange *x; /* in H1_EXCHANGE and H1_TUNNEL */
};

/* At the end of a turn: sets the deadline for what the exchange waits for now. false: the client's
 * content comes too slowly. */
bool h1_watch_exchange(struct h1 *c);
/* The deadline of H1_WAIT_WRITE is there: has too little been taken since? */
bool h1_response_is_too_slow(struct h1 *c);

/* Between h1.c and h1_out.c. */
extern const struct exchange_ops h1_ops;
void h1_enter_tunnel(struct h1 *c);
/* An answer of our own to a request that is no request; <why> is for people. */
void h1_write_refusal(struct h1 *c, unsigned status, const char *why);
void h1_write_continue(struct h1 *c);

#endif
