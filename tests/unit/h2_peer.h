/* An HTTP/2 server played by hand, on one accepted connection: for tests of who speaks to it. It says
 * nothing that it was not told to say, but for what libnghttp2 answers by itself. */
#ifndef TEMPS_TESTS_H2_PEER_H
#define TEMPS_TESTS_H2_PEER_H

#include <nghttp2/nghttp2.h>

#include "pump.h"

#define PEER_STREAMS 256

struct peer_stream {
	int32_t id;
	char method[16], path[64], authority[64], scheme[8], protocol[16];
	char te[16], length[24], extra[64]; /* <extra>: the value of x-test */
	char trailer[64];		    /* of the request: x-trailer */
	size_t body_n, unread;		    /* content bytes; of them, not yet acknowledged */
	char body[256];			    /* the first of them */
	bool ended, reset;
	uint32_t reset_code;
	/* the answer */
	const char *say;
	size_t say_n, said;
	bool more; /* no end yet */
	const char *trailer_name, *trailer_value;
};

struct peer {
	int fd;
	nghttp2_session *session;
	bool thrifty; /* gives no window back */
	bool closed, broken;
	bool goaway;
	uint32_t goaway_code;
	unsigned nstreams, pings, window_updates;
	struct peer_stream streams[PEER_STREAMS];
};

/* Over <fd>, non-blocking, taken. <settings> may be NULL, then nothing is sent at first. */
void peer_open(struct peer *p, int fd, const nghttp2_settings_entry *settings, size_t n);
void peer_close(struct peer *p);
/* Reads and writes what there is. */
void peer_step(struct peer *p);
/* The <i>th request, which must have come. */
struct peer_stream *peer_request(struct peer *p, unsigned i);
/* Answers it with <status>, one more field or NULL, and <body>; <more> leaves the answer open. With
 * no body and not <more> the head ends it. */
void peer_answer(struct peer *p, struct peer_stream *s, const char *status, const char *name,
		 const char *value, const char *body, size_t body_n, bool more);
/* An open answer goes on, or ends, with a trailer if <trailer_name> is set. */
void peer_continue(struct peer *p, struct peer_stream *s, const char *body, size_t n, bool more);
void peer_inform(struct peer *p, struct peer_stream *s, const char *status);
void peer_bytes(struct peer *p, const void *bytes, size_t n); /* past libnghttp2 */

#define PEER_UNTIL(loop, p, condition)                                       \
	do {                                                                 \
		uint64_t peer_began_us = loop_clock_us();                    \
		while (!(condition)) {                                       \
			if (loop_clock_us() - peer_began_us > PUMP_LIMIT_US) \
				fail_msg("%s: not within %d ms", #condition, \
					 PUMP_LIMIT_US / 1000);              \
			ev_run(loop_ev(loop), EVRUN_NOWAIT);                 \
			peer_step(p);                                        \
		}                                                            \
	} while (0)

/* What is under way happens; for showing that something does not. */
static inline void peer_idle(struct loop *loop, struct peer *p)
{
	for (int i = 0; i < 30; i++) {
		ev_run(loop_ev(loop), EVRUN_NOWAIT);
		peer_step(p);
	}
}

#endif
