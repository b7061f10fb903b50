/* Where a static route leads: "http://10.0.0.7:3000" or "http://10.0.0.7:3000,weight=3". The same
 * text on the command line, in the API and in the store. */
#ifndef TEMPS_BASE_TARGET_H
#define TEMPS_BASE_TARGET_H

#include "base/text.h"

#define TARGET_WEIGHT_MAX 1000

struct target {
	struct addr at;
	uint32_t weight; /* its share among the others; 1 when none is given */
};

/* -EINVAL: <err> quotes the text and says what is expected. */
int target_parse(struct target *t, struct slice s, struct err *err) MUST_CHECK;

#endif
