/* An HTTP/1.1 connection to an upstream from the inside, between client_h1.c (what the caller does)
 * and client_h1_io.c (what the loop brings). */
#ifndef TEMPS_HTTP_CLIENT_H1_H
#define TEMPS_HTTP_CLIENT_H1_H

#include "http/client_inner.h"
#include "http/outbox.h"
#include "reactor/deadline.h"

enum client_h1_state {
	CONNECTING,
	IDLE,	 /* no request on it; parked or not */
	WAITING, /* a request is on its way, the final head has not come */
	CONTENT, /* the response's content comes */
	TUNNEL,
	SPENT, /* of no more use; the caller closes it */
	CLOSED,
	STATES
};

/* What the deadline stands for. */
enum client_h1_wait { WAIT_NOTHING, WAIT_CONNECT, WAIT_TAKEN, WAIT_HEAD, WAIT_CONTENT };

struct client_h1 {
	struct client client; /* first: the two are one to the caller */
	struct client_pool *pool;
	struct list link;	 /* the caller's */
	struct client_idle idle; /* linked while it is parked */
	struct stream stream;
	struct deadline deadline;
	struct loop_task turn;
	struct loop_reap reap;
	uint8_t state; /* enum client_h1_state: client_h1_set_state() writes it */
	uint8_t waits_for;
	uint8_t method_id; /* of the request */
	uint8_t informs;   /* 1xx that came for it */
	uint64_t opened_us; /* loop_turn_us() of client_open() */
	bool upgrade;	   /* it asked for one */
	bool has_request;
	bool request_done; /* client_end() was called, or there is no content */
	bool served;	   /* a request before this one was answered */
	bool refused_more; /* the caller took less than it was offered */
	bool want_writable;
	bool deaf;  /* the upstream takes nothing more; an answer may still come */
	bool shut;  /* our half is closed */
	int broken; /* to be failed at the end of the turn, with this */
	const char *broken_why;
	uint64_t out_mark, in_mark; /* stream counts when the request began */
	uint64_t progress_bytes;    /* in + out when the deadline was last pushed back */
	uint64_t turn_bytes_out;    /* sent when the last turn ended */
	uint64_t parked_ms;
	struct client_patience patience;
	struct client_limits limits;
	const struct client_events *events;
	void *arg;
	void (*gone)(void *arg); /* NULL unless parked */
	void *gone_arg;
	struct head_scan scan;
	struct head *head; /* of the response; leased with the request */
	struct inbox in;
	struct outbox out;
};

/* The one writer of its state. */
void client_h1_set_state(struct client_h1 *c, enum client_h1_state next);
/* Closes and gives back everything but the memory. */
void client_h1_let_go(struct client_h1 *c);
/* An idle connection is of no more use: whoever parked it is told. */
void client_h1_spend(struct client_h1 *c);
/* The upstream takes no more of the request: its answer may be on the way (413, say), and the read
 * side will tell. */
void client_h1_go_deaf(struct client_h1 *c);

enum client_stage client_h1_stage(const struct client_h1 *c);

/* What the loop calls. */
void client_h1_on_ready(void *arg, int events);
void client_h1_on_turn(void *arg);
void client_h1_on_deadline(void *arg);

static inline void client_h1_wake(struct client_h1 *c)
{
	loop_later(c->pool->loop, &c->turn);
}

#endif
