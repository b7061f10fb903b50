/* A request's way to an upstream: an HTTP/1.1 connection, which carries one request at a time and is
 * kept alive in between, or a stream of an HTTP/2 connection, which many share. Whoever makes
 * requests sees no difference. Choice and retries are the caller's. The mirror image of exchange.h:
 * same taken-bytes contract both ways, same end-of-turn gathering of writes. */
#ifndef TEMPS_HTTP_CLIENT_H
#define TEMPS_HTTP_CLIENT_H

#include <sys/uio.h>

#include "base/text.h"
#include "http/head.h"
#include "reactor/loop.h"

struct client_pool;  /* memory for connections and their buffers, with caps */
struct client_group; /* the HTTP/2 connections to one address */

/* Where a failed request stood: what the retry rule needs to know. */
enum client_stage {
	CLIENT_CONNECTING, /* nothing was sent */
	CLIENT_UNSENT,	   /* connected (or taken from a pool), no byte of the request left us */
	CLIENT_SENT, /* some byte of the request may have been seen, no byte of a response came */
	CLIENT_HEAD, /* response bytes came, the head is not complete */
	CLIENT_BODY, /* the response head was delivered */
};

struct client_failure {
	int rc; /* -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -ECONNRESET, -EPIPE, -EBADMSG
		   (unparsable, said before it was asked, more than 32 interim heads), -ETIME
		   (response limit) … */
	enum client_stage stage;
	bool reused; /* it says nothing about who serves there: a connection that had idled before
			    went away, or a stream was refused unprocessed */
	bool shared; /* another request of the same connection tells it too */
	const char *why; /* static text */
};

struct client_events {
	/* 1xx other than 101; optional. */
	void (*inform)(void *arg, const struct head *h);
	/* The final head (or 101); valid during the call and until the first body() returns. */
	void (*head)(void *arg, const struct head *h);
	/* Returns the bytes taken; less than n pauses until client_resume(). */
	size_t (*body)(void *arg, const char *p, size_t n);
	/* Response complete; the request is over when its own end was sent too. <trailers> NULL
	 * when there were none, valid during the call and until client_close(). */
	void (*end)(void *arg, const struct head *trailers);
	/* After a short client_write(), and once connected. */
	void (*writable)(void *arg);
	/* Instead of end; last call. client_close() is still the caller's to do. */
	void (*failed)(void *arg, const struct client_failure *f);
};

struct client_limits {
	uint32_t connect_ms; /* 1.5 s */
	uint32_t head_ms;    /* from the request's last byte to the response head: 60 s */
	uint32_t idle_ms; /* between body bytes when we want some; 0 = none (event streams, tunnels
			     set their own) */
};

struct client;
struct client_ops { /* what a kind implements: client_h1.c, client_h2.c */
	int (*request)(struct client *c, const struct head *h, uint8_t body, uint64_t length,
		       const struct client_limits *limits, const struct client_events *events,
		       void *arg);
	size_t (*write)(struct client *c, const struct iovec *iov, int iovcnt);
	void (*end)(struct client *c, const struct head *trailers);
	void (*resume)(struct client *c);
	enum client_stage (*stage)(struct client *c);
	void (*idle_limit)(struct client *c, uint32_t idle_ms);
	bool (*reusable)(struct client *c);
	void (*close)(struct client *c);
};
struct client { /* from a pool of client_pool, at the head of what its kind keeps */
	const struct client_ops *ops;
	uint32_t connect_us; /* that the request waited for a new connection; 0: it had one */
};

int client_pool_create(struct client_pool **out, struct loop *l, uint32_t max_connections,
		       struct err *err) MUST_CHECK;
void client_pool_destroy(struct client_pool *p);
/* TCP_USER_TIMEOUT of connections opened from now on; 1.5 s at first, 0 = the system's. */
void client_pool_user_timeout(struct client_pool *p, uint32_t ms);

/* ---- a request ---- */

/* Begin a request on an idle or connecting connection, or on a new stream. <h> is written at once
 * (borrowed for the call). <body>: BODY_NONE, BODY_LENGTH with <length>, or BODY_CHUNKED;
 * then content follows with client_write() and client_end() (with BODY_NONE the request is complete
 * at once and client_end() does nothing). Upgrade: <h>->protocol set; after head() with status 101
 * the connection is a tunnel: client_write() and body() carry raw bytes, client_end() closes our
 * half, end() says that the upstream closed its half, and client_close() ends it. -EMSGSIZE: head
 * over 48 KiB; -ENOMEM; -ENOTCONN: the connection is not usable any more; -EOPNOTSUPP (also as a
 * failure's): a stream takes no such upgrade. An answer that comes
 * before the request is complete is delivered as usual: what is written after its end() is dropped.
 */
static inline int client_request(struct client *c, const struct head *h, uint8_t body,
				 uint64_t length, const struct client_limits *limits,
				 const struct client_events *events, void *arg)
{
	return c->ops->request(c, h, body, length, limits, events, arg);
}

static inline size_t client_write(struct client *c, const struct iovec *iov, int iovcnt)
{
	return c->ops->write(c, iov, iovcnt);
}

static inline void client_end(struct client *c, const struct head *trailers)
{
	c->ops->end(c, trailers);
}

static inline void client_resume(struct client *c)
{
	c->ops->resume(c);
}

/* Where its request stands now. */
static inline enum client_stage client_stage(struct client *c)
{
	return c->ops->stage(c);
}

/* Change the idle limit (event streams, tunnels); 0 = none. */
static inline void client_idle_limit(struct client *c, uint32_t idle_ms)
{
	c->ops->idle_limit(c, idle_ms);
}

/* After end(): may another request go on it? False also when the upstream closed, said close, or
 * sent bytes nobody asked for; and always of a stream. */
static inline bool client_reusable(struct client *c)
{
	return c->ops->reusable(c);
}

/* Close at once, no callback follows; a stream whose request is not over is reset, and its
 * connection stays for the others. NULL is fine. */
static inline void client_close(struct client *c)
{
	if (c)
		c->ops->close(c);
}

/* ---- HTTP/1.1: a connection, and idle lists of them ---- */

/* Starts connecting. -ENOMEM at the cap, or an immediate connect error. At the cap, or without a
 * descriptor, the connection that idles longest makes room: its gone() comes from inside, and
 * no other callback. */
int client_open(struct client **out, struct client_pool *p, const struct addr *to) MUST_CHECK;
/* While it waits in a caller's idle list: <gone> is called once when the upstream closes or sends
 * something, or client_open() needs its place; the caller unlinks and closes it. */
void client_park(struct client *c, void (*gone)(void *arg), void *arg);
uint64_t client_parked_ms(struct client *c); /* monotonic time it was parked */
/* A caller's link for its idle list (LIFO), and back. */
struct list *client_link(struct client *c);
struct client *client_of_link(struct list *link);

/* ---- HTTP/2: connections that requests share ---- */

/* Those to <at>, opened when a request comes and none has room, by prior knowledge (RFC 9113 §3.3);
 * closed when they carried no stream for <idle_ms>. */
struct client_group *client_group_create(struct client_pool *p, const struct addr *at,
					 uint32_t idle_ms);
/* A stream for one request, on a connection that may still be connecting. Errors as
 * client_open()'s. */
int client_group_open(struct client_group *g, struct client **out) MUST_CHECK;
/* Do connections without streams stay? Not while nothing new is to go there. At first they do. */
void client_group_keep(struct client_group *g, bool keep);
uint32_t client_group_connections(const struct client_group *g);
/* Closes what is open; streams that are left fail. NULL is fine. */
void client_group_destroy(struct client_group *g);

struct client_stats {
	uint64_t opened, failed_connects, reused;
	uint32_t open;
	uint32_t streams; /* of HTTP/2 connections */
	struct histogram connect; /* how long connecting took */
};
const struct client_stats *client_stats(const struct client_pool *p);
void client_each_pool(const struct client_pool *p, pool_each_fn *each, void *arg);

#endif
