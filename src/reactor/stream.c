/* Streams: lazy interest, plain sockets, and what every kind has in common. */
#include "reactor/stream.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reactor/loop_inner.h"
#include "reactor/stream_inner.h"

#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 1
#define KEEPALIVE_PROBES 10 /* without a limit on unacknowledged data, which ends it before */
#define BOTH (STREAM_READ | STREAM_WRITE)

_Static_assert((int)STREAM_READ == (int)EV_READ && (int)STREAM_WRITE == (int)EV_WRITE,
	       "they pass through unchanged");

struct stream_counters *stream_counters(struct loop *l)
{
	return &l->counters;
}

/* ---- interest ---- */

static void set_armed(struct stream *s, int events)
{
	struct ev_loop *ev = loop_ev(s->loop);

	s->armed = (uint8_t)events;
	s->loop->counters.interest_changes++;
	ev_io_stop(ev, &s->io);
	if (!events)
		return;
	ev_io_modify(&s->io, events);
	ev_io_start(ev, &s->io);
}

void stream_arm(struct stream *s)
{
	int needed = s->want | s->also;

	if (needed & ~s->armed)
		set_armed(s, needed | s->armed);
}

static void on_io(struct ev_loop *ev, ev_io *w, int revents)
{
	struct stream *s = w->data;
	int events = revents & EV_ERROR ? BOTH : revents & BOTH;

	(void)ev;
	if (events & ~(s->want | s->also))
		set_armed(s, s->want | s->also);
	if (events)
		events = s->kind->woken(s, events);
	if (revents & EV_CUSTOM)
		events |= STREAM_READ;	/* stream_wake_refeeds() */
	events &= s->want;
	if (events)
		s->ready(s->arg, events);	/* last: it may close the stream */
}

uint64_t stream_acked(const struct stream *s)
{
	int unsent = 0;

	if (ioctl(s->io.fd, SIOCOUTQ, &unsent) < 0)
		return s->bytes_out;
	return s->bytes_out > (uint64_t)unsent ? s->bytes_out - (uint64_t)unsent : 0;
}

void stream_wait(struct stream *s, int events)
{
	if (!s->kind)
		return;
	s->want = (uint8_t)events;
	s->kind->waits(s);
	stream_arm(s);
	if ((events & STREAM_READ) && list_empty(&s->refeed) && s->kind->pending(s)) {
		/* Next turn, not this one: a fast sender must not keep the others waiting. */
		list_push_back(&s->loop->refeeds, &s->refeed);
		loop_stay_awake(s->loop);
	}
}

void stream_wake_refeeds(struct loop *l)
{
	while (!list_empty(&l->refeeds)) {
		struct stream *s = LIST_FIRST(&l->refeeds, struct stream, refeed);

		list_remove(&s->refeed);
		ev_feed_event(l->ev, &s->io, EV_CUSTOM);
	}
}

/* ---- system calls ---- */

ssize_t stream_sys_read(struct stream *s, void *p, size_t n)
{
	ssize_t got;

	do {
		s->loop->counters.reads++;
		got = read(s->io.fd, p, n);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t stream_read_bare(struct stream *s, void *p, size_t n, bool peek)
{
	ssize_t got;

	do {
		s->loop->counters.reads++;
		got = recv(s->io.fd, p, n, peek ? MSG_PEEK : 0);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t stream_sys_write(struct stream *s, const void *p, size_t n, bool more)
{
	ssize_t put;

	do {
		s->loop->counters.writes++;
		put = send(s->io.fd, p, n, more ? MSG_MORE : 0);
	} while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

/* ---- plain sockets ---- */

static ssize_t plain_read(struct stream *s, void *p, size_t n)
{
	return stream_sys_read(s, p, n);
}

static ssize_t plain_write(struct stream *s, const struct iovec *iov, int iovcnt)
{
	ssize_t put;

	if (iovcnt == 1)
		return stream_sys_write(s, iov->iov_base, iov->iov_len, false);
	do {
		s->loop->counters.writes++;
		put = writev(s->io.fd, iov, MIN(iovcnt, IOV_MAX));
	} while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

static bool plain_pending(const struct stream *s)
{
	(void)s;
	return false;
}

static int plain_handshake(struct stream *s, int *events)
{
	(void)s;
	*events = 0;
	return 0;
}

static void plain_shutdown(struct stream *s)
{
	shutdown(s->io.fd, SHUT_WR);
}

static void plain_close(struct stream *s, bool reset)
{
	(void)s;
	(void)reset;
}

static int plain_woken(struct stream *s, int events)
{
	(void)s;
	return events;
}

static void plain_waits(struct stream *s)
{
	(void)s;
}

static const struct stream_kind plain = {
	.read = plain_read,
	.write = plain_write,
	.pending = plain_pending,
	.handshake = plain_handshake,
	.shutdown = plain_shutdown,
	.close = plain_close,
	.woken = plain_woken,
	.waits = plain_waits,
};

/* ---- life ---- */

void stream_adopt(struct stream *s, struct loop *l, int take_fd, const struct stream_kind *kind,
		  void (*ready)(void *arg, int events), void *arg)
{
	ev_io_init(&s->io, on_io, take_fd, EV_READ);
	s->io.data = s;
	s->kind = kind;
	s->loop = l;
	s->tls = NULL;
	s->want = s->armed = s->also = 0;
	s->last = false;
	list_init(&s->refeed);
	s->ready = ready;
	s->arg = arg;
	s->bytes_in = s->bytes_out = 0;
}

void stream_init(struct stream *s, struct loop *l, int take_fd,
		 void (*ready)(void *arg, int events), void *arg)
{
	stream_adopt(s, l, take_fd, &plain, ready, arg);
}

/* Failures here cost a limit or some latency, never correctness: a socket without them still
 * works. */
static void set_keep_alive(int fd, int idle_s)
{
	int on = 1, interval_s = KEEPALIVE_INTERVAL_S, probes = KEEPALIVE_PROBES;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static void set_connect_options(int fd, uint32_t user_timeout_ms)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* The limit on unacknowledged data ends a silence, too, once a probe was sent into it. */
	set_keep_alive(fd, user_timeout_ms ? 1 : KEEPALIVE_IDLE_S);
	if (user_timeout_ms)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
			   sizeof(user_timeout_ms));
}

void stream_probe_after(struct stream *s, int idle_s)
{
	setsockopt(stream_fd(s), IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

void stream_user_timeout(struct stream *s, uint32_t ms)
{
	setsockopt(stream_fd(s), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

int stream_connect(struct stream *s, struct loop *l, const struct addr *to,
		   uint32_t user_timeout_ms, void (*ready)(void *arg, int events), void *arg)
{
	int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	if (to->sa.ss_family != AF_UNIX)
		set_connect_options(fd, user_timeout_ms);
	if (connect(fd, (const struct sockaddr *)&to->sa, to->len) < 0 && errno != EINPROGRESS) {
		/* A unix socket whose queue is full; -EAGAIN means "not yet" here. */
		rc = errno == EAGAIN ? -EBUSY : -errno;
		close(fd);
		return rc;
	}
	stream_init(s, l, fd, ready, arg);
	stream_wait(s, STREAM_WRITE);
	return 0;
}

int stream_connected(struct stream *s)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int);
	int error = 0;

	if (!s->kind)
		return -EBADF;
	if (getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	if (error)
		return -error;
	len = sizeof(peer);
	if (getpeername(s->io.fd, (struct sockaddr *)&peer, &len) == 0)
		return 0;
	return errno == ENOTCONN ? -EAGAIN : -errno;
}

void stream_close(struct stream *s, bool reset)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (!s->kind)
		return;
	s->kind->close(s, reset);
	s->kind = NULL;
	list_remove(&s->refeed);
	/* Before close(2): a descriptor that comes back under the same number must not meet this
	 * watcher. */
	ev_io_stop(loop_ev(s->loop), &s->io);
	if (reset)
		setsockopt(s->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s->io.fd);
	s->io.fd = -1;
	s->want = s->armed = s->also = 0;
}

bool stream_is_open(const struct stream *s)
{
	return s->kind != NULL;
}

int stream_fd(const struct stream *s)
{
	return s->io.fd;
}

/* ---- what every kind does ---- */

int stream_handshake(struct stream *s, int *events)
{
	return s->kind ? s->kind->handshake(s, events) : -EBADF;
}

ssize_t stream_read(struct stream *s, void *p, size_t n)
{
	ssize_t got = s->kind ? s->kind->read(s, p, n) : -EBADF;

	if (got > 0)
		s->bytes_in += (uint64_t)got;
	return got;
}

ssize_t stream_write(struct stream *s, const struct iovec *iov, int iovcnt)
{
	ssize_t put = s->kind ? s->kind->write(s, iov, iovcnt) : -EBADF;

	if (put > 0)
		s->bytes_out += (uint64_t)put;
	return put;
}

void stream_last(struct stream *s)
{
	s->last = true;
}

void stream_shutdown(struct stream *s)
{
	if (s->kind)
		s->kind->shutdown(s);
}
