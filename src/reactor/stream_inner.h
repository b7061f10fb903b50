/* The table of functions behind a stream: one for plain sockets, one for TLS. */
#ifndef TEMPS_REACTOR_STREAM_INNER_H
#define TEMPS_REACTOR_STREAM_INNER_H

#include "reactor/stream.h"

struct stream_kind {
	ssize_t (*read)(struct stream *s, void *p, size_t n);
	ssize_t (*write)(struct stream *s, const struct iovec *iov, int iovcnt);
	bool (*pending)(const struct stream *s);
	int (*handshake)(struct stream *s, int *events);
	void (*shutdown)(struct stream *s);
	/* Before the descriptor is closed: says goodbye unless <reset>, frees what the kind
	 * owns. */
	void (*close)(struct stream *s, bool reset);
	/* The kernel's events, before the owner hears of them; returns what they mean to the
	 * owner. */
	int (*woken)(struct stream *s, int events);
	/* Sets <also> for what the owner wants now. */
	void (*waits)(struct stream *s);
};

/* Fills in everything but the kind's own state. */
void stream_adopt(struct stream *s, struct loop *l, int take_fd, const struct stream_kind *kind,
		  void (*ready)(void *arg, int events), void *arg);
/* Arms what want and also lack. */
void stream_arm(struct stream *s);
/* One system call each, counted; bytes, 0 at end of file (read), or negative errno. <more>: more
 * follows at once, the kernel need not send this by itself. */
ssize_t stream_sys_read(struct stream *s, void *p, size_t n);
ssize_t stream_sys_write(struct stream *s, const void *p, size_t n, bool more);

#endif
