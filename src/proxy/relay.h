/* One request on its way through: from the complete head to closed(). See relay.c, which can be
 * read from top to bottom. */
#ifndef TEMPS_PROXY_RELAY_H
#define TEMPS_PROXY_RELAY_H

#include "base/list.h"
#include "http/client.h"
#include "http/exchange.h"
#include "proxy/replay.h"

struct front;
struct upstream;
struct endpoint;

#define RELAY_TRIED                                                                         \
	8 /* endpoints remembered; more attempts than that happen only when endpoints leave \
	     routing one by one */
#define RELAY_ATTEMPTS 32

enum relay_state {
	RELAY_NEW,
	RELAY_CHECK, /* its password is being checked */
	RELAY_HELD, /* no endpoint is in, or none has room: waits in the upstream's queue */
	RELAY_WAIT, /* given to a connection, maybe still connecting; no final response head yet */
	RELAY_RESPOND, /* the upstream's response goes to the client */
	RELAY_TUNNEL,  /* bytes both ways */
	RELAY_ANSWER,  /* we answer ourselves */
	RELAY_DONE,    /* the response is complete or was cut; waits for closed() */
	RELAY_STATES
};

struct relay {
	struct exchange *x;
	struct front *front;
	struct upstream *upstream; /* NULL: no route */
	struct endpoint *endpoint; /* while it counts as in flight there */
	struct client *client;	   /* its connection, owned */
	uint8_t state;		   /* enum relay_state; relay_set_state() writes it */
	uint8_t attempts, ntried;
	bool elsewhere;	     /* its last attempt met with silence: rather not that address again */
	bool fresh;	     /* a pooled connection was stale: no more of those */
	bool upgrade;	     /* the client's Upgrade went upstream: 101 is an answer */
	bool request_ended;  /* client_end() was called on this attempt */
	bool client_done;    /* the client's request is complete */
	bool client_waits;   /* body() took less than it was offered: resume it */
	bool upstream_waits; /* the same on the other side */
	bool queues; /* while held: because of limits */
	bool tunnel_counted; /* a tunnel or an event stream: the endpoint counts it as such */
	bool grpc;	     /* a call, and upstream speaks HTTP/2 */
	bool endless;	     /* it is, or was: how long it lasts says nothing of who serves it */
	uint64_t tried[RELAY_TRIED]; /* ids of endpoints that got it */
	uint64_t stale_id; /* the one whose pooled connection was stale: may have it once more when
			      it is the only one */

	struct replay replay;
	uint32_t replayed; /* bytes of it written on this attempt */

	uint64_t sent_us, head_us; /* loop_turn_us() as the last attempt began, and as the response
				      head came; 0: none did */
	uint32_t connect_us;	   /* that it waited for a new connection */

	struct list hold_link, endpoint_link;
	struct packer *packer;	/* encodes the response; NULL: it passes as it is */
	struct list check_link; /* while its password is being checked */
	uint64_t hold_until_ms; /* 0: was never held */
	uint32_t hold_bytes;

	const char *detail;	/* of the answer we give */
	uint16_t own_status;	/* of that, whatever words a gRPC client gets; 0: none */
	uint16_t answered;	/* bytes of its body that were taken */
	char endpoint_text[64]; /* address of the last attempt, for the log: the endpoint may be
				   gone by then */
	struct loop_reap reap;
};

/* The only writer of <state>; checks that it may follow. */
void relay_set_state(struct relay *r, enum relay_state next);
/* Its upstream's rules are met: on to an endpoint. */
void relay_go(struct relay *r);
/* It is over (<why> NULL: completed): counts and logs it. account.c */
void relay_account(struct relay *r, const char *why);
/* Takes <x> on: routes lead to <u>. From an exchange_handler's request function. */
void relay_begin(struct front *f, struct exchange *x, struct upstream *u);
/* We answer <x> ourselves, without an upstream. <location>: for a redirect, borrowed for the
 * call. */
void relay_answer_only(struct front *f, struct exchange *x, unsigned status, const char *detail,
		       struct slice location);
/* The upstream's next bytes may come. */
void relay_go_on(struct relay *r);
/* Lets a held request go to an endpoint (or be held again). */
void relay_release(struct relay *r);
/* We answer it in its upstream's stead, whatever it waits for: a rule refuses it, it waited too long,
 * or its upstream goes. <location>: for a redirect, borrowed for the call. Not once it was
 * answered: relay_cut(). */
void relay_refuse(struct relay *r, unsigned status, const char *detail, struct slice location);
/* Its endpoint may not be there any more: another one if the retry rule allows, else it stays
 * where it is. */
void relay_reroute(struct relay *r);
/* Its endpoint goes: whatever state it is in, it ends now. */
void relay_cut(struct relay *r, const char *why);

#endif
