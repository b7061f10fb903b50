/* The text form of affinities. */
#include "sched/affinity.h"

#include <errno.h>

#include "base/text.h"

static bool skip(struct slice *s, struct slice prefix)
{
	if (!slice_starts(*s, prefix))
		return false;
	*s = slice_of(s->p + prefix.n, s->n - prefix.n);
	return true;
}

int affinity_parse(struct affinity *a, const char *text, struct err *err)
{
	struct slice s = slice_str(text);

	*a = (struct affinity){ .soft = skip(&s, SLICE("soft:")) };
	a->of_label = skip(&s, SLICE("label:"));
	if (s.n <= AFFINITY_TEXT_MAX && a->of_label) {
		a->key = slice_split(s, '=', &a->value);
		if (a->key.n && a->value.p)
			return 0;
	} else if (s.n <= AFFINITY_TEXT_MAX && skip(&s, SLICE("app="))) {
		a->value = s;
		if (text_is_app_name(s))
			return 0;
	}
	return err_say(
		err, -EINVAL,
		"\"%.100s\": expected app=NAME or label:KEY=VALUE, with soft: in front for a wish",
		text);
}
