/* One request and its response as a handler sees it: the same for HTTP/1.1 and HTTP/2. A handler
 * makes no assumption about connections, framing or order.
 *
 *   transport → handler (struct exchange_events)   handler → transport (exchange_… functions)
 *   request(x)            head has come               exchange_inform         a 1xx
 *   body(p, n) → taken    content; less than n pauses exchange_resume         ready for more body
 *   body_end(trailers)    the request is complete     exchange_respond        final head
 *   writable()            after a short write         exchange_write → taken  content; less than
 *                                                     offered: wait for writable()
 *   closed(why)           last call, exactly once     exchange_end            response complete
 *                                                     exchange_abort          cut it, noticeably
 *
 * Rules. The transport calls body() only after the handler set x->events and returned from
 * request(), or from exchange_resume(). Bytes that were not taken are offered again, unchanged;
 * nobody buffers more than one block (back-pressure reaches the socket). closed() comes after both
 * sides are done, or when the client went away or the transport failed (why != NULL), never from
 * inside a call of the handler's into the exchange; afterwards <x> is gone. The request head stays
 * valid until closed(). Writes of a turn are gathered and go out at its end.
 *
 * body_end() comes for every request, also for one without content (after request() returned), but
 * for one: when x->req.protocol is set (an upgrade is asked for) the request stays open, and
 * body_end() means that the client closed its half of the tunnel. After exchange_end() nothing but
 * closed() comes (a tunnel goes on until both halves are closed). What a handler does not want of a
 * request body it leaves: it answers and ends, and the transport drops the rest. A NULL body or
 * body_end in the events drops what it would have got. */
#ifndef TEMPS_HTTP_EXCHANGE_H
#define TEMPS_HTTP_EXCHANGE_H

#include <sys/uio.h>

#include "base/text.h"
#include "http/head.h"
#include "reactor/loop.h"

struct exchange;

struct exchange_events {
	size_t (*body)(void *arg, const char *p, size_t n);
	void (*body_end)(void *arg, const struct head *trailers); /* NULL when there were none */
	void (*writable)(void *arg);
	void (*closed)(void *arg, const char *why); /* NULL: completed */
};

struct exchange_ops { /* what a transport implements: h1_out.c, h2_out.c */
	void (*inform)(struct exchange *x, const struct head *h);
	int (*respond)(struct exchange *x, const struct head *h, bool end);
	size_t (*write)(struct exchange *x, const struct iovec *iov, int iovcnt);
	void (*end)(struct exchange *x, const struct head *trailers);
	void (*resume)(struct exchange *x);
	void (*abort)(struct exchange *x, const char *why);
};

/* Who is on the other side; lives as long as the connection. */
struct exchange_peer {
	struct addr addr; /* the client's address */
	bool tls;
	bool h2;		  /* speaks HTTP/2 */
	const char *tls_version;  /* "1.3"; NULL: plain, or none yet */
	bool local_user;      /* came over the unix socket: the same user or root (peer credentials
				 checked) */
	const void *listener; /* the server's tag for the listener it came by */
};

struct exchange {
	const struct exchange_ops *ops;
	const struct exchange_events *events; /* set by the handler in request() */
	void *arg;			      /* the handler's, passed to events */
	struct loop *loop;
	const struct exchange_peer *peer;
	struct head req;
	uint64_t started_us; /* loop_turn_us() of the turn that completed the head: it was there
				then, and waited for its turn */
	uint64_t body_in_bytes, body_out_bytes; /* content only */
	uint16_t status; /* of the final response once it was given, else 0 */
	bool body_done;	 /* body_end() has been called */
	bool responded, ended;
	bool tunnel; /* after a 101 (h1) or 200 to extended CONNECT (h2): body() and write carry raw
			bytes */
	char request_id[37]; /* made by the server or taken from a trusted X-Request-ID */
};

/* The handler of a server: called with a complete request head; must set x->events and x->arg. */
struct exchange_handler {
	void (*request)(void *arg, struct exchange *x);
	void *arg;
};

/* The final response's head. <end>: it has no content (also for HEAD, 204, 304). Otherwise content
 * follows with exchange_write() and exchange_end(); its length is taken from Content-Length in <h>
 * or framed by the transport when absent. -EMSGSIZE: the head is too large to write; nothing was
 * sent. A 101 with x->req.protocol set makes it a tunnel. Framing fields in <h> other than
 * Content-Length are ignored. <h> is borrowed for the call. */
static inline int exchange_respond(struct exchange *x, const struct head *h, bool end)
{
	return x->ops->respond(x, h, end);
}

static inline void exchange_inform(struct exchange *x, const struct head *h)
{
	x->ops->inform(x, h);
}

static inline size_t exchange_write(struct exchange *x, const struct iovec *iov, int iovcnt)
{
	return x->ops->write(x, iov, iovcnt);
}

/* In a tunnel: no more bytes this way. */
static inline void exchange_end(struct exchange *x, const struct head *trailers)
{
	x->ops->end(x, trailers);
}

static inline void exchange_resume(struct exchange *x)
{
	x->ops->resume(x);
}

/* The response cannot be finished: h1 resets the connection, h2 the stream. closed(<why>) follows.
 */
static inline void exchange_abort(struct exchange *x, const char *why)
{
	x->ops->abort(x, why);
}

#endif
