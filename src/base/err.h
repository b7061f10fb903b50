/* An error with its context, owned by the caller, filled in by the function that failed.
 * Functions return 0 or a negative errno; the text is for people: it names the thing and the cause.
 */
#ifndef TEMPS_BASE_ERR_H
#define TEMPS_BASE_ERR_H

#include "base/base.h"

struct err {
	int code;	/* negative errno, 0 when nothing failed */
	char text[512]; /* "bind 192.0.2.1:443: Address already in use" */
};

/* Fill <err> (which may be NULL) with the formatted text, then ": " and strerror(-rc). Returns
 * <rc>. */
int err_set(struct err *err, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same without strerror(): the text says it all. Returns <rc>. */
int err_say(struct err *err, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "<formatted>: " before the text that a callee left. Returns err->code. */
int err_prefix(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
