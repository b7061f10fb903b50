/* What the kinds of upstream connection share: the pool from the inside, and the request in progress
 * as either kind keeps it. */
#ifndef TEMPS_HTTP_CLIENT_INNER_H
#define TEMPS_HTTP_CLIENT_INNER_H

#include "http/client.h"
#include "http/h2_mem.h"
#include "http/inbox.h"
#include "reactor/stream.h"

/* Three TLS records of content, read and passed on while they are warm: 64 KiB cost a tenth more. */
#define CLIENT_BIG_BLOCK_BYTES (3 * INBOX_BLOCK_BYTES)
/* What a peer may send on a stream before it has read our settings. */
#define CLIENT_H2_BLOCK_BYTES 65536

/* A connection that carries no request: the one that waits longest makes room for a new one. */
struct client_idle {
	struct list link;
	void (*drop)(struct client_idle *idle);
};

struct client_pool {
	struct loop *loop;
	uint32_t max_open;
	struct list idle; /* struct client_idle, the last used in front */
	struct pool clients, heads, blocks, big_blocks;
	struct pool conns, streams, h2_blocks; /* of HTTP/2 */
	struct h2_mem h2_memory;
	uint8_t *h2_input; /* for the length of one read; NULL before the first connection */
	struct client_stats stats;
	uint32_t user_timeout_ms;
	struct head trailers; /* scratch for the length of one end() */
	struct loop_reap reap;
};

/* Counts one connection more and starts connecting it. -ENOMEM at the cap, or an immediate connect
 * error; an idle connection that makes room is dropped from inside. */
int client_connect(struct client_pool *p, struct stream *s, const struct addr *to,
		   void (*ready)(void *arg, int events), void *arg) MUST_CHECK;

/* How long a connection may well be silent while nothing is on its way to the peer. */
enum client_silence {
	SILENCE_BRIEF, /* the request may be sent again: probed after 1 s, missed within 2 */
	SILENCE_LONGER, /* it may not: probed after 15 s */
	SILENCE_USUAL, /* a tunnel, an event stream: the same, and missed when ten probes were lost */
};

/* Linux ends a connection by TCP_USER_TIMEOUT too when its peer is there but reads nothing for as
 * long, as who takes an upload slowly may. So the limit that finds a peer gone holds while what was
 * sent fits into any peer's buffer: longer, once more went out since anything was heard. */
struct client_patience {
	uint64_t heard_bytes, sent_bytes; /* in; and out when that last grew */
	bool on;
	enum client_silence silence;
};

/* The same limit ends a connection at the second probe of a silence: one lost packet is then enough,
 * which a request that may be sent again survives, and others should not have to. Sets what its kind
 * asks for; no system call when it is what it was. */
void client_expect_silence(struct client_pool *p, struct client_patience *patience, struct stream *s,
			   enum client_silence silence);

/* At the end of each turn on <s>: <patient_ms> or the pool's limit. No system call but when it
 * changes. */
void client_be_patient(struct client_pool *p, struct client_patience *patience, struct stream *s,
		       uint32_t patient_ms);

/* It is connected, begun at <opened_us> of loop_turn_us(): counted; how long that took. */
uint32_t client_connected(struct client_pool *p, uint64_t opened_us);

#endif
