/* Affinities as people write them: "app=NAME" is where a replica of that app runs, "label:KEY=VALUE" is a node with that
 * label; with "soft:" in front it is a wish, without it a condition. */
#ifndef TEMPS_SCHED_AFFINITY_H
#define TEMPS_SCHED_AFFINITY_H

#include "base/err.h"
#include "base/slice.h"

#define AFFINITY_TEXT_MAX 400u

struct affinity {
	bool soft;
	bool of_label;
	struct slice key;   /* of the label */
	struct slice value; /* of the label, or the app's name; both borrowed from the text */
};

/* -EINVAL with what is expected. */
int affinity_parse(struct affinity *a, const char *text, struct err *err) MUST_CHECK;

#endif
