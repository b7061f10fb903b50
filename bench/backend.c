/* The server behind every proxy in the benchmark: answers each GET from memory, 128 bytes, or 1
 * MiB for a path that starts with /big. One epoll loop; it must never be what limits. backend
 * PORT */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "port.h"

#define SMALL_BYTES 128
#define BIG_BYTES (1024 * 1024)
#define IN_BYTES 8192
#define EVENTS 256

struct answer {
	char *text;
	size_t n;
};

struct conn {
	int fd;
	size_t got;  /* of a request head that is not complete */
	size_t left; /* of the answer being written */
	const struct answer *answer;
	bool wants_out;
	char in[IN_BYTES];
};

static struct answer small, big;
static int epoll;

static void make_answer(struct answer *a, size_t bytes)
{
	a->text = malloc(bytes + 256);
	if (!a->text)
		abort();
	a->n = (size_t)sprintf(
		a->text,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
		bytes);
	memset(a->text + a->n, 'x', bytes);
	a->n += bytes;
}

static void drop(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void watch(struct conn *c, bool out)
{
	struct epoll_event e = { .events = out ? EPOLLOUT : EPOLLIN, .data.ptr = c };

	if (out != c->wants_out)
		epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
	c->wants_out = out;
}

/* false: gone. */
static bool flush(struct conn *c)
{
	while (c->left) {
		ssize_t n = send(c->fd, c->answer->text + c->answer->n - c->left, c->left,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return false;
		c->left -= (size_t)n;
	}
	watch(c, c->left > 0);
	return true;
}

static bool receive(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->got, sizeof(c->in) - c->got, 0);
	char *end;

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	c->got += (size_t)n;
	while (c->left == 0 && (end = memmem(c->in, c->got, "\r\n\r\n", 4))) {
		size_t head = (size_t)(end + 4 - c->in);

		c->answer = c->got > 8 && memcmp(c->in, "GET /big", 8) == 0 ? &big : &small;
		c->left = c->answer->n;
		c->got -= head;
		memmove(c->in, c->in + head, c->got);
		if (!flush(c))
			return false;
	}
	return c->got < sizeof(c->in);
}

static void take(int listener)
{
	struct epoll_event e = { .events = EPOLLIN };
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
	struct conn *c;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	c->fd = fd;
	e.data.ptr = c;
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS], e = { .events = EPOLLIN };
	int listener;

	if (argc != 2) {
		fputs("usage: backend PORT\n", stderr);
		return 2;
	}
	make_answer(&small, SMALL_BYTES);
	make_answer(&big, BIG_BYTES);
	listener = port_listen("backend", argv[1]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (!c)
				take(listener);
			else if (!(c->wants_out ? flush(c) : receive(c)))
				drop(c);
		}
	}
}
