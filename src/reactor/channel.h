/* A way between two processes of ours on one machine: whole messages in order, with descriptors
 * beside them (unix(7): SOCK_SEQPACKET, SCM_RIGHTS). Who has the other end is trusted. */
#ifndef TEMPS_REACTOR_CHANNEL_H
#define TEMPS_REACTOR_CHANNEL_H

#include "base/buf.h"
#include "base/err.h"
#include "reactor/loop.h"

#define CHANNEL_MESSAGE_MAX (128u << 10) /* bytes */
#define CHANNEL_FDS_MAX 250		 /* the kernel's SCM_MAX_FD is 253 */
#define CHANNEL_QUEUE_MAX (1u << 20)	 /* bytes that wait for a slow reader */

struct channel;

/* The two ends, close-on-exec and non-blocking. */
int channel_pair(int fds[2], struct err *err) MUST_CHECK;

/* <text> is borrowed; the <n> descriptors are the callee's, close-on-exec. */
typedef void channel_message_fn(void *arg, struct slice text, const int *take_fds, size_t n);
/* The other end is gone, or what came is no message: nothing comes any more. Called once, never
 * from inside a call. */
typedef void channel_gone_fn(void *arg);

struct channel *channel_open(struct loop *l, int take_fd, channel_message_fn *message,
			     channel_gone_fn *gone, void *arg);
/* NULL is fine. What was not sent yet is lost. */
void channel_close(struct channel *c);
/* Nothing is read until it goes on: somebody else has the descriptor too, and reads. */
void channel_pause(struct channel *c);
void channel_resume(struct channel *c);
/* Sends, or keeps it until the other end reads (then without descriptors). -EMSGSIZE: too long;
 * -ENOBUFS: the other end does not read; others: it is gone. */
int channel_send(struct channel *c, struct slice text, const int *fds, size_t n) MUST_CHECK;
/* Something is still to be sent. */
bool channel_is_behind(const struct channel *c);
int channel_fd(const struct channel *c);

/* Without a loop: waits for one message. <fds> has room for CHANNEL_FDS_MAX. -ETIMEDOUT, -EPIPE:
 * the other end is gone. */
int channel_receive(int fd, uint32_t limit_ms, struct buf *text, int *fds, size_t *n,
		    struct err *err) MUST_CHECK;
/* The same way out: blocks for a moment at most. */
int channel_send_bare(int fd, struct slice text) MUST_CHECK;

#endif
