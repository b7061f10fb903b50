/* The floor of the benchmark: copies bytes both ways with plain system calls and no idea of
 * HTTP. A connection upstream for each client. relay PORT UPSTREAM-PORT */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "port.h"

#define BUFFER_BYTES 65536
#define EVENTS 256

struct side {
	int fd;
	struct side *other;
	char *pending; /* what <fd> did not take yet; NULL: nothing */
	size_t at, n;
	bool gone;
};

static int epoll;
static char buffer[BUFFER_BYTES];
static struct side
	*dead[2 * EVENTS]; /* freed after the batch: an event for them may still be in it */
static int ndead;

static void watch(struct side *s, int op, uint32_t what)
{
	struct epoll_event e = { .events = what, .data.ptr = s };

	epoll_ctl(epoll, op, s->fd, &e);
}

static void drop(struct side *s)
{
	struct side *pair[] = { s, s->other };

	for (int i = 0; i < 2; i++) {
		if (pair[i]->gone)
			continue;
		pair[i]->gone = true;
		close(pair[i]->fd);
		dead[ndead++] = pair[i];
	}
}

static void on_readable(struct side *from)
{
	struct side *to = from->other;
	ssize_t n = read(from->fd, buffer, sizeof(buffer)), sent;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		drop(from);
		return;
	}
	sent = write(to->fd, buffer, (size_t)n);
	if (sent < 0 && errno != EAGAIN) {
		drop(from);
	} else if (sent < n) {
		sent = sent < 0 ? 0 : sent;
		to->n = (size_t)(n - sent);
		to->at = 0;
		to->pending = malloc(to->n);
		if (!to->pending)
			abort();
		memcpy(to->pending, buffer + sent, to->n);
		watch(from, EPOLL_CTL_MOD, 0);
		watch(to, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
	}
}

static void on_writable(struct side *to)
{
	ssize_t n = write(to->fd, to->pending + to->at, to->n - to->at);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0) {
		drop(to);
		return;
	}
	to->at += (size_t)n;
	if (to->at < to->n)
		return;
	free(to->pending);
	to->pending = NULL;
	watch(to, EPOLL_CTL_MOD, to->other->pending ? 0 : EPOLLIN);
	watch(to->other, EPOLL_CTL_MOD, EPOLLIN);
}

static void on_client(int listener, const struct sockaddr_in *upstream)
{
	int fd[2] = { accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), -1 }, one = 1;
	struct side *s[2];

	if (fd[0] < 0)
		return;
	/* Blocking: on loopback it is done at once. */
	fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd[1] < 0 || connect(fd[1], (const struct sockaddr *)upstream, sizeof(*upstream)) < 0) {
		close(fd[0]);
		close(fd[1]);
		return;
	}
	for (int i = 0; i < 2; i++) {
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		s[i] = calloc(1, sizeof(*s[i]));
		if (!s[i])
			abort();
		s[i]->fd = fd[i];
	}
	s[0]->other = s[1];
	s[1]->other = s[0];
	watch(s[0], EPOLL_CTL_ADD, EPOLLIN);
	watch(s[1], EPOLL_CTL_ADD, EPOLLIN);
}

static void bury(void)
{
	while (ndead) {
		struct side *s = dead[--ndead];

		free(s->pending);
		free(s);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS], e = { .events = EPOLLIN };
	struct sockaddr_in upstream;
	int listener;

	if (argc != 3) {
		fputs("usage: relay PORT UPSTREAM-PORT\n", stderr);
		return 2;
	}
	upstream = port_at(argv[2]);
	listener = port_listen("relay", argv[1]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct side *s = events[i].data.ptr;

			if (!s)
				on_client(listener, &upstream);
			else if (!s->gone && s->pending && events[i].events & EPOLLOUT)
				on_writable(s);
			else if (!s->gone)
				on_readable(s);
		}
		bury();
	}
}
