/* The access log: a line per request, formatted here without printf into 64 KiB blocks that the
 * work thread writes when one is full or a second old. Bounded: when the disk is slower than the
 * traffic, lines are dropped and counted. */
#ifndef TEMPS_PROXY_ACCESS_H
#define TEMPS_PROXY_ACCESS_H

#include "http/exchange.h"
#include "reactor/work.h"

struct access;

struct access_line {
	const struct exchange *x;
	uint64_t wall_ms; /* now */
	uint64_t took_us; /* from the complete head to the end */
	/* loop_turn_us() as the last attempt was made and as the response head came, 0: none; and how
	 * long it waited for a new connection, 0: it had one. */
	uint64_t sent_us, head_us;
	uint32_t connect_us;
	const char *upstream; /* name; NULL: no route */
	const char *endpoint; /* address of the last attempt; NULL: none */
	uint8_t attempts;
	const char *why; /* cut short because of this; NULL: complete */
};

struct access_stats {
	uint64_t lines;	  /* taken */
	uint64_t dropped; /* not taken: no block was free */
	uint64_t failed;  /* taken, but could not be written: disk full, or nobody reads */
};

/* <path> "-" is standard output. Opens the file here: call it at boot. */
int access_open(struct access **out, struct loop *l, struct work *work, const char *path, bool json,
		struct err *err) MUST_CHECK;
void access_write(struct access *a, const struct access_line *line);
/* After the file was renamed: later lines go to a new one. Opened on the work thread; if that
 * fails the old one is kept. */
void access_reopen(struct access *a);
const struct access_stats *access_stats(const struct access *a);
const struct pool *access_pool(const struct access *a);
/* Hands over what is there, then waits for nothing: destroy the work thread afterwards, and it
 * is all written; the memory goes with its last block. NULL is fine. */
void access_close(struct access *a);

/* The line's text into out[0..size); its length. For access.c and its test. */
#define ACCESS_LINE_MAX 16384
size_t access_format(char out[ACCESS_LINE_MAX], const struct access_line *line, bool json);

#endif
