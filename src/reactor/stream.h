/* A connected byte stream on the loop: plain TCP, a unix socket or TLS behind one table of
 * functions, so that nothing above asks which. The owner embeds it, reads and writes when told,
 * and states what it waits for; the kernel is asked lazily. */
#ifndef TEMPS_REACTOR_STREAM_H
#define TEMPS_REACTOR_STREAM_H

#include <ev.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/text.h"
#include "reactor/loop.h"

struct tls_server;
struct stream_tls;	/* per-connection TLS state; tls.c knows it */

enum { STREAM_READ = 1, STREAM_WRITE = 2 };

struct stream {
	ev_io io;
	const struct stream_kind *kind; /* NULL: closed */
	struct loop *loop;
	struct stream_tls *tls;		/* NULL for plain */
	uint8_t want;			/* what the owner waits for */
	uint8_t armed;			/* what epoll watches: may exceed want for a while */
	uint8_t also;			/* what TLS needs the kernel to say, beside want */
	bool last;			/* stream_last() */
	struct list refeed;		/* linked: buffered bytes wait for the next turn */
	void (*ready)(void *arg, int events);
	void *arg;
	uint64_t bytes_in, bytes_out;	/* payload, not TLS records */
};

/* Process-wide, hang in the loop; for the tests that count and for metrics. */
struct stream_counters {
	uint64_t reads, writes, interest_changes, tls_handshakes, tls_resumed, tls_failed;
};
struct stream_counters *stream_counters(struct loop *l);

/* Adopts a connected or connecting non-blocking socket. <ready> is called with STREAM_READ
 * and/or STREAM_WRITE for what the owner wants; it may close the stream. Nothing is watched
 * until stream_wait(). */
void stream_init(struct stream *s, struct loop *l, int take_fd,
		 void (*ready)(void *arg, int events), void *arg);
/* The same as a TLS server; drive it with stream_handshake() first. -ENOMEM closes the
 * descriptor. */
int stream_init_tls(struct stream *s, struct loop *l, int take_fd, struct tls_server *tls,
		    void (*ready)(void *arg, int events), void *arg) MUST_CHECK;
/* Begins a TCP connection: TCP_NODELAY, keep-alive probes, TCP_USER_TIMEOUT <user_timeout_ms> (0
 * = system's). With a limit probes begin after one second, so that a peer that vanishes is missed
 * within that limit (2 s at least) although nothing is on its way to it: -ETIMEDOUT. When connected
 * or failed the stream is ready for STREAM_WRITE; then call stream_connected(). Immediate failure:
 * negative errno. */
int stream_connect(struct stream *s, struct loop *l, const struct addr *to,
		   uint32_t user_timeout_ms, void (*ready)(void *arg, int events),
		   void *arg) MUST_CHECK;
/* Probes begin after so many seconds of silence from now on, one a second. One system call. */
void stream_probe_after(struct stream *s, int idle_s);
/* TCP_USER_TIMEOUT from now on; 0 = the system's. One system call. */
void stream_user_timeout(struct stream *s, uint32_t ms);
/* 0: connected; -EAGAIN: not yet; else why it failed. */
int stream_connected(struct stream *s) MUST_CHECK;
/* TLS: 0 done, -EAGAIN (stream_wait() for what *events says), else failed. Plain: 0 at once. */
int stream_handshake(struct stream *s, int *events) MUST_CHECK;
/* Before the handshake: up to <n> bytes of the socket itself, in front of TLS; <peek>: they stay.
 * >0; 0 at end of file; -EAGAIN, or an error. */
ssize_t stream_read_bare(struct stream *s, void *p, size_t n, bool peek);
/* After the handshake: "1.2" or "1.3"; NULL of a plain stream. Static text. */
const char *stream_tls_version(const struct stream *s);
/* After the handshake: the ALPN protocol chosen ("http/1.1", "h2") or empty. Valid while open. */
struct slice stream_alpn(const struct stream *s);

/* Up to <n> bytes: >0; 0 at end of file (TLS: close_notify); -EAGAIN; -ECONNRESET for a TLS
 * stream cut without close_notify or an error. One system call at most in the plain case. After
 * a short plain read the owner need not read again: epoll will tell. */
ssize_t stream_read(struct stream *s, void *p, size_t n);
/* Gathers and writes: >0 bytes taken, -EAGAIN, or an error. Fewer than offered: the socket is
 * full, wait for STREAM_WRITE. TLS packs small pieces into one record; what it did not take, after
 * -EAGAIN or otherwise, must be offered again first (it may have moved). */
ssize_t stream_write(struct stream *s, const struct iovec *iov, int iovcnt);
/* How many bytes of those that were written the peer has acknowledged; of TLS, less what frames those
 * that it has not. One system call. */
uint64_t stream_acked(const struct stream *s);
/* What is offered next is the last: stream_shutdown() or stream_close() follow. TLS says goodbye in
 * the same packet when all of it is taken. */
void stream_last(struct stream *s);
/* What the owner waits for now. Cheap, call it at the end of every callback: adding interest
 * that is not armed costs one epoll_ctl; dropping interest costs nothing until an unwanted event
 * arrives (then it is disarmed). Bytes that are buffered inside TLS, where epoll cannot see them,
 * count as arrived. */
void stream_wait(struct stream *s, int events);
/* No more writes: FIN, or close_notify + FIN. */
void stream_shutdown(struct stream *s);
/* Stops the watcher, then closes the descriptor; any number of times. <reset> sends RST
 * (SO_LINGER 0) so that a peer cannot take a truncated message for a complete one. */
void stream_close(struct stream *s, bool reset);
bool stream_is_open(const struct stream *s);
int stream_fd(const struct stream *s);

#endif
