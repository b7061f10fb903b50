/* Which log lines a reader wants: the query of logs_answer(). */
#ifndef TEMPS_CONTROL_LOG_WISH_H
#define TEMPS_CONTROL_LOG_WISH_H

#include "agent/link.h"
#include "http/reply.h"

struct log_wish {
	struct link_logs opt;
	char since[32]; /* of opt.since_ms, as lines have it; "" */
	char grep[256], replica[256], node[256];
	uint32_t release; /* 0: any */
};

/* Into <w>, which is zero. -EINVAL: the request has been answered. */
int log_wish_parse(struct log_wish *w, struct api_request *r) MUST_CHECK;

#endif
