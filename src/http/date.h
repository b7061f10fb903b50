/* The time as the Date field gives it (RFC 9110 §5.6.7). */
#ifndef TEMPS_HTTP_DATE_H
#define TEMPS_HTTP_DATE_H

#include "base/slice.h"

#define HTTP_DATE_BYTES 29

/* Written anew once a second at most; zero it at first. */
struct http_date {
	uint64_t second;
	char text[HTTP_DATE_BYTES + 1];
};

/* "Sun, 06 Nov 1994 08:49:37 GMT", now. Valid until the next call. */
struct slice http_date_now(struct http_date *d);

#endif
