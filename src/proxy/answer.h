/* Answers of the front door itself: error pages and redirects. */
#ifndef TEMPS_PROXY_ANSWER_H
#define TEMPS_PROXY_ANSWER_H

#include "http/exchange.h"

struct relay;

/* Begins the answer to <r>; with <location> (borrowed) it is a redirect. 0: complete. -EAGAIN:
 * answer_go_on() when there is room. -EMSGSIZE: its head does not fit, nothing was sent. */
int answer_begin(struct relay *r, unsigned status, const char *detail,
		 struct slice location) MUST_CHECK;
int answer_go_on(struct relay *r) MUST_CHECK;
/* 503 to a request for which there is no memory: needs none. */
void answer_shed(struct exchange *x);

#endif
