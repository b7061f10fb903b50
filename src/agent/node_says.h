/* What a person says of a machine as a node: labels to schedule by, and what it has to give away. For `temps join`, and for
 * `temps serve` of its own machine. */
#ifndef TEMPS_AGENT_NODE_SAYS_H
#define TEMPS_AGENT_NODE_SAYS_H

#include "agent/metrics.h"

/* As on the command line; NULL, 0 and for cards -1 where nothing was said. */
struct node_says {
	const char *labels; /* "region=eu-west,gpu=true" */
	const char *tags;   /* "gpu,large-memory": labels with the value true */
	const char *region; /* the label region */
	int64_t cpu_cores, memory_gb, disk_gb, gpus;
};

/* Appends to <labels>; of a key that is said twice the first counts. -EINVAL: --labels is no list of key=value. */
int node_says_labels(const struct node_says *n, struct pairs *labels, struct err *err) MUST_CHECK;
struct metrics_told node_says_resources(const struct node_says *n);

#endif
