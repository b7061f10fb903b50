/* What tests say to a front door and hear from it, over the blocking sockets of door.h. */
#ifndef TEMPS_TESTS_DOOR_TALK_H
#define TEMPS_TESTS_DOOR_TALK_H

#include <time.h>

#include "check.h"
#include "door.h"

#define GET "GET /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\n\r\n"
#define GET_CLOSE "GET /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\nConnection: close\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static char text[65536]; /* what came last */

/* Reads until <want> came, into <text>. */
static inline void expect(int fd, const char *want)
{
	if (tcp_read_until(fd, text, sizeof(text), want) < 0 || !strstr(text, want))
		fail_msg("got \"%s\", not \"%s\"", text, want);
}

/* Takes a request from an upstream connection and answers it. */
static inline void serve(int fd)
{
	expect(fd, "\r\n\r\n");
	tcp_send(fd, OK);
}

static inline void nap_ms(unsigned ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* Polls a number that the front door keeps until it is <want>. */
#define WAIT_FOR(d, field, want)                                      \
	do {                                                          \
		for (unsigned wait_i = 0; wait_i < 500; wait_i++) {   \
			door_command(d, DOOR_SNAPSHOT, 0);            \
			if ((d)->shared->field == (want))             \
				break;                                \
			nap_ms(10);                                   \
		}                                                     \
		CHECK_INT("after waiting", (d)->shared->field, want); \
	} while (0)

#endif
