/* A server with a scripted handler and raw clients on loopback, for h1_test.c and its kin. */
#ifndef TEMPS_TESTS_H1_RIG_H
#define TEMPS_TESTS_H1_RIG_H

#include "http/server.h"
#include "pump.h"
#include "reactor/stream.h"

#define RIG_BODY_MAX (8u << 20)

enum rig_script {
	RIG_OK,	     /* 200 "ok" as soon as the head is there */
	RIG_ECHO,    /* the content back, with its length, when it is complete */
	RIG_COUNT,   /* 200 "ok" when the content is complete */
	RIG_CHUNKED, /* two pieces of unknown length, with trailers */
	RIG_BIG,     /* <big_bytes> of a pattern; with its length if <big_length> */
	RIG_EMPTY,   /* <status> and nothing else */
	RIG_WAIT,    /* nothing until the test does something */
	RIG_REFUSE,  /* takes no content; answers nothing */
	RIG_TUNNEL,  /* 101, then echoes */
	RIG_SHORT,   /* promises 10, gives 2 */
	RIG_LONG,    /* promises 2, gives 10 */
	RIG_ABORT,   /* begins, then aborts */
	RIG_EARLY,   /* 413 in the first piece of content */
};

struct rig {
	struct loop *loop;
	struct server *server;
	struct addr at;
	enum rig_script script;
	unsigned status;
	size_t big_bytes, big_sent;
	bool big_length;
	/* what the handler saw */
	struct exchange *x; /* the one in progress */
	unsigned requests, ends, closes, aborts;
	const char *why;
	char *body; /* RIG_BODY_MAX bytes */
	size_t body_len;
	unsigned trailers;
	bool drained;
};

void rig_start(struct rig *r, const struct server_config *c);
void rig_stop(struct rig *r);
char rig_pattern(size_t at);

/* Raw client ends. */
int rig_connect(struct rig *r);
void rig_say(struct rig *r, int fd, const char *text);
void rig_say_bytes(struct rig *r, int fd, const char *p, size_t n);
/* Exactly this comes. */
void rig_expect(struct rig *r, int fd, const char *text);
void rig_expect_bytes(struct rig *r, int fd, const char *p, size_t n);
/* What begins like this comes, whatever follows. */
void rig_expect_start(struct rig *r, int fd, const char *text);
/* The server's end comes: 0, or the errno of a reset. What is still read before it is dropped. */
int rig_expect_end(struct rig *r, int fd);
/* Nothing comes now. */
void rig_expect_silence(struct rig *r, int fd);

#endif
