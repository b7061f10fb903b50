/* Targets of static routes, as text. */
#include "base/target.h"

#include <errno.h>

static int parse(struct target *t, struct slice s)
{
	static const struct slice scheme = SLICE("http://"), key = SLICE("weight=");
	struct slice option, url = slice_split(s, ',', &option);
	uint64_t weight = 1;

	if (!slice_starts(url, scheme) ||
	    addr_parse(&t->at, slice_of(url.p + scheme.n, url.n - scheme.n), NULL) ||
	    !addr_port(&t->at))
		return -EINVAL;
	if (option.p && (!slice_starts(option, key) ||
			 slice_u64(slice_of(option.p + key.n, option.n - key.n), &weight) < 0))
		return -EINVAL;
	if (weight > TARGET_WEIGHT_MAX)
		return -EINVAL;
	t->weight = (uint32_t)weight;
	return 0;
}

int target_parse(struct target *t, struct slice s, struct err *err)
{
	if (parse(t, s) == 0)
		return 0;
	return err_say(err, -EINVAL,
		       "\"%.*s\": expected http://ADDRESS:PORT with a literal address, and "
		       "perhaps \",weight=N\" with 0 to %u",
		       (int)MIN(s.n, 100), s.p, TARGET_WEIGHT_MAX);
}
