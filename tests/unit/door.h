/* For tests of the data path: a front door in a child process, steered over shared memory, and
 * small blocking sockets for its two sides. */
#ifndef TEMPS_TESTS_DOOR_H
#define TEMPS_TESTS_DOOR_H

#include <sys/types.h>

#include "proxy/front.h"
#include "proxy/upstream.h"

#define DOOR_HOST "door.test"
#define DOOR_ENDPOINTS 8

struct door_config {
	struct addr endpoints[DOOR_ENDPOINTS];
	unsigned nendpoints;
	struct upstream_policy policy;	/* and these three: */
	bool hold;
	uint32_t hold_ms, hold_max, head_ms;	/* 0: the default */
	uint32_t wait_ms;		/* for a response's head and between pieces of it; 0: the default */
	const char *access_log;
	const char *cert_pem, *key_pem;	/* files: listen with TLS */
	uint16_t https_port;
	uint16_t port;			/* to listen on; 0: any */
	bool quiet;			/* no timer that looks for commands: for counting; a signal brings them */
};

enum door_command { DOOR_NONE, DOOR_SNAPSHOT, DOOR_DRAIN, DOOR_OUT, DOOR_WEIGHT, DOOR_ADD, DOOR_DESTROY };

/* What a process did so far; kept by the program that counts. */
struct door_counts {
	uint64_t mallocs, io_calls, epoll_ctls, epoll_waits;
};

/* Written by the child, read by the parent, but for the command. */
struct door_shared {
	volatile int ready;		/* port, once it listens */
	volatile enum door_command command;	/* the child sets it back to DOOR_NONE when done */
	volatile unsigned index;	/* of the endpoint it is about */
	volatile uint32_t requests_ms, tunnels_ms, weight;
	struct addr add;
	volatile unsigned failed, recovered, drained, cut;
	struct front_stats front;
	struct upstream_stats upstream;
	struct endpoint_view views[DOOR_ENDPOINTS];	/* numbers only: pointers are the child's */
	struct door_counts counts;
};

struct door {
	pid_t pid;
	struct door_shared *shared;
	int port;
	bool quiet;
};

void door_start(struct door *d, const struct door_config *c);
/* Ends it and checks that it ended well. */
void door_stop(struct door *d);
/* Runs a command there and waits until it is done. */
void door_command(struct door *d, enum door_command what, unsigned index);
/* Runs the front door in this process until SIGTERM: for front_main.c. <shared> may be zero. */
int door_run(const struct door_config *c, struct door_shared *shared);

/* The counts of this process: the program that counts defines it, else there are none. */
void door_count(struct door_counts *c);

int tcp_listen(struct addr *at);	/* on 127.0.0.1, any port */
int tcp_connect(int port);
int tcp_accept(int listener);		/* within 5 s, else fails the test */
void tcp_reset(int fd);			/* closes with RST */
void tcp_send(int fd, const char *text);
/* Reads until <want> occurs, or the end, or 5 s; returns bytes, text terminated. -1: the
 * connection was reset. */
ssize_t tcp_read_until(int fd, char *out, size_t size, const char *want);

#endif
