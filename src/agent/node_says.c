/* Labels and resources as people write them. */
#include "agent/node_says.h"

#include <errno.h>

#include "base/slice.h"

static void add(struct pairs *labels, struct slice key, struct slice value)
{
	for (size_t i = 0; i < labels->n; i++)
		if (slice_eq(slice_str(labels->items[i].key), key))
			return;
	pairs_add(labels, key, value);
}

static int add_list(const char *text, struct pairs *labels, struct err *err)
{
	struct slice rest = slice_str(text), item, value, key;

	while (rest.p) {
		item = slice_trim(slice_split(rest, ',', &rest));
		if (!item.n && !rest.p)
			break;
		key = slice_split(item, '=', &value);
		if (!key.n || !value.p)
			return err_say(err, -EINVAL, "--labels: \"%.*s\" is not key=value",
				       SLICE_ARG(item));
		add(labels, slice_trim(key), slice_trim(value));
	}
	return 0;
}

int node_says_labels(const struct node_says *n, struct pairs *labels, struct err *err)
{
	struct slice rest = slice_str(n->tags), tag;
	int rc = n->labels ? add_list(n->labels, labels, err) : 0;

	while (rest.p) {
		tag = slice_trim(slice_split(rest, ',', &rest));
		if (tag.n)
			add(labels, tag, SLICE("true"));
	}
	if (n->region)
		add(labels, SLICE("region"), slice_str(n->region));
	return rc;
}

struct metrics_told node_says_resources(const struct node_says *n)
{
	return (struct metrics_told){ .cpu_cores = (uint32_t)n->cpu_cores,
				      .memory_gb = (uint32_t)n->memory_gb,
				      .disk_gb = (uint32_t)n->disk_gb,
				      .gpus_told = n->gpus >= 0,
				      .gpus = (uint32_t)MAX(n->gpus, 0) };
}
