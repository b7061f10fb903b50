/* A listening port on loopback, for the programs beside the proxies. */
#ifndef TEMPS_BENCH_PORT_H
#define TEMPS_BENCH_PORT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static inline struct sockaddr_in port_at(const char *number)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)atoi(number)),
	};
}

/* Exits with a message for <who> when it cannot. */
static inline int port_listen(const char *who, const char *number)
{
	struct sockaddr_in at = port_at(number);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1024) < 0) {
		perror(who);
		exit(1);
	}
	return fd;
}

#endif
