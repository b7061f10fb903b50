/* Messages over a SOCK_SEQPACKET pair, and what waits while the reader sleeps. */
#include "reactor/channel.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reactor/crypto.h"

#define MESSAGES_PER_EVENT 64
#define SEND_BUFFER_BYTES (1 << 20)

struct waiting {
	struct list link;
	size_t n;
	char text[];
};

struct channel {
	ev_io in, out;
	struct loop *loop;
	int fd;
	channel_message_fn *message;
	channel_gone_fn *gone;
	void *arg;
	struct list queue; /* struct waiting */
	size_t queued_bytes;
	bool paused, closed;
	struct loop_reap reap;
};

int channel_pair(int fds[2], struct err *err)
{
	int bytes = SEND_BUFFER_BYTES;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return err_set(err, -errno, "socket between two processes");
	/* As much as the system lets us. */
	for (int i = 0; i < 2; i++)
		(void)!setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

/* ---- one message ---- */

union control_space {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
};

static int send_message(int fd, struct slice text, const int *fds, size_t n)
{
	union control_space space = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text.p, text.n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (text.n == 0 || text.n > CHANNEL_MESSAGE_MAX || n > CHANNEL_FDS_MAX)
		return -EMSGSIZE;
	if (n) {
		struct cmsghdr *h = &space.align;

		m.msg_control = space.bytes;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(h), fds, n * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* How many bytes; 0: the other end is gone. */
static ssize_t receive_message(int fd, char *text, int *fds, size_t *n)
{
	union control_space space;
	struct iovec iov = { text, CHANNEL_MESSAGE_MAX };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = space.bytes,
			    .msg_controllen = sizeof(space.bytes) };
	ssize_t got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	*n = 0;
	if (got < 0)
		return -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		*n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(h), *n * sizeof(int));
	}
	if (!(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return got;
	while (*n)
		close(fds[--*n]);
	return -EMSGSIZE;
}

/* ---- on the loop ---- */

static void channel_watch(struct channel *c)
{
	struct ev_loop *ev = loop_ev(c->loop);
	bool in = !c->closed && !c->paused, out = !c->closed && !list_empty(&c->queue);

	if (in && !ev_is_active(&c->in))
		ev_io_start(ev, &c->in);
	else if (!in && ev_is_active(&c->in))
		ev_io_stop(ev, &c->in);
	if (out && !ev_is_active(&c->out))
		ev_io_start(ev, &c->out);
	else if (!out && ev_is_active(&c->out))
		ev_io_stop(ev, &c->out);
}

static void lose(struct channel *c)
{
	c->paused = true;
	channel_watch(c);
	c->gone(c->arg); /* last: it may close <c> */
}

static void on_in(struct ev_loop *ev, ev_io *w, int revents)
{
	struct channel *c = w->data;
	char *text = xcalloc(1, CHANNEL_MESSAGE_MAX);
	int fds[CHANNEL_FDS_MAX];
	ssize_t got = 1;
	size_t n;

	(void)ev;
	(void)revents;
	for (int i = 0; got > 0 && i < MESSAGES_PER_EVENT && !c->closed && !c->paused; i++) {
		got = receive_message(c->fd, text, fds, &n);
		if (got > 0)
			c->message(c->arg, slice_of(text, (size_t)got), fds, n);
	}
	free(text);
	if (got <= 0 && got != -EAGAIN && got != -EINTR && !c->closed)
		lose(c);
}

static void drop_first(struct channel *c)
{
	struct waiting *w = LIST_FIRST(&c->queue, struct waiting, link);

	c->queued_bytes -= w->n;
	list_remove(&w->link);
	free(w);
}

static void on_out(struct ev_loop *ev, ev_io *w, int revents)
{
	struct channel *c = w->data;
	struct waiting *first;

	(void)ev;
	(void)revents;
	while ((first = LIST_FIRST(&c->queue, struct waiting, link))) {
		/* Other failures are the reader's to see: it is gone. */
		if (send_message(c->fd, slice_of(first->text, first->n), NULL, 0) == -EAGAIN)
			break;
		drop_first(c);
	}
	channel_watch(c);
}

struct channel *channel_open(struct loop *l, int take_fd, channel_message_fn *message,
			     channel_gone_fn *gone, void *arg)
{
	struct channel *c = xcalloc(1, sizeof(*c));

	c->loop = l;
	c->fd = take_fd;
	c->message = message;
	c->gone = gone;
	c->arg = arg;
	list_init(&c->queue);
	ev_io_init(&c->in, on_in, take_fd, EV_READ);
	ev_io_init(&c->out, on_out, take_fd, EV_WRITE);
	c->in.data = c->out.data = c;
	channel_watch(c);
	return c;
}

static void channel_free(void *arg)
{
	free(arg);
}

void channel_close(struct channel *c)
{
	if (!c || c->closed)
		return;
	c->closed = true;
	channel_watch(c);
	while (!list_empty(&c->queue))
		drop_first(c);
	close(c->fd);
	c->fd = -1;
	loop_defer(c->loop, &c->reap, channel_free, c);
}

void channel_pause(struct channel *c)
{
	c->paused = true;
	channel_watch(c);
}

void channel_resume(struct channel *c)
{
	c->paused = false;
	channel_watch(c);
}

int channel_send(struct channel *c, struct slice text, const int *fds, size_t n)
{
	int rc = list_empty(&c->queue) ? send_message(c->fd, text, fds, n) : -EAGAIN;
	struct waiting *w;

	if (rc != -EAGAIN)
		return rc;
	if (n || c->queued_bytes + text.n > CHANNEL_QUEUE_MAX)
		return -ENOBUFS;
	w = xcalloc(1, sizeof(*w) + text.n);
	list_init(&w->link);
	w->n = text.n;
	memcpy(w->text, text.p, text.n);
	list_push_back(&c->queue, &w->link);
	c->queued_bytes += text.n;
	channel_watch(c);
	return 0;
}

bool channel_is_behind(const struct channel *c)
{
	return !list_empty(&c->queue);
}

int channel_fd(const struct channel *c)
{
	return c->fd;
}

/* ---- without one ---- */

int channel_receive(int fd, uint32_t limit_ms, struct buf *text, int *fds, size_t *n,
		    struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t end_ms = loop_clock_us() / 1000 + limit_ms, now_ms;
	char *bytes = xcalloc(1, CHANNEL_MESSAGE_MAX);
	ssize_t got = -EAGAIN;

	while (got == -EAGAIN && (now_ms = loop_clock_us() / 1000) < end_ms) {
		(void)!poll(&p, 1, (int)MIN(end_ms - now_ms, INT32_MAX));
		got = receive_message(fd, bytes, fds, n);
	}
	if (got > 0)
		(void)!buf_append(text, bytes, (size_t)got);
	crypto_wipe(bytes, CHANNEL_MESSAGE_MAX); /* it may be a secret */
	free(bytes);
	if (got > 0)
		return 0;
	return err_set(err,
		       got == 0		? -EPIPE
		       : got == -EAGAIN ? -ETIMEDOUT
					: (int)got,
		       "message from the other process");
}

int channel_send_bare(int fd, struct slice text)
{
	return send_message(fd, text, NULL, 0);
}
