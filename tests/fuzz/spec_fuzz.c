/* Specifications: whatever a stored one says, it is refused with words or comes back as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sched/affinity.h"
#include "sched/placement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json *again(const struct app_spec *s)
{
	struct json_out o;
	struct json *doc;
	struct buf text;

	buf_init(&text, 0);
	json_out_init(&o, &text);
	json_obj(&o, NULL);
	spec_put(s, &o);
	json_obj_end(&o);
	if (json_parse(&doc, buf_slice(&text), NULL))
		abort();
	buf_fini(&text);
	return doc;
}

static void check_rules(const struct strs *rules)
{
	struct affinity a;

	for (size_t i = 0; i < rules->n; i++)
		if (affinity_parse(&a, rules->items[i], NULL) || !a.value.p || a.of_label != (a.key.n > 0))
			abort();
}

static void check(const struct app_spec *s)
{
	char hash[SPEC_HASH_LEN + 1], other[SPEC_HASH_LEN + 1];
	struct json *doc = again(s);
	enum strategy strategy;
	struct app_spec back;
	struct err err;

	check_rules(&s->affinity);
	check_rules(&s->anti_affinity);
	if (strategy_parse(s->strategy, &strategy))
		abort();
	if (spec_load(&back, doc, &err))
		abort();
	spec_hash(s, hash);
	spec_hash(&back, other);
	if (strcmp(hash, other) != 0 || !pairs_eq(&s->policy, &back.policy))
		abort();
	spec_fini(&back);
	json_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	struct json *doc;
	struct app_spec s;

	if (json_parse(&doc, slice_of(data, size), NULL))
		return 0;
	if (spec_load(&s, doc, &err) ? !err.text[0] : 0)
		abort();
	if (!err.text[0])
		check(&s);
	spec_fini(&s);
	json_free(doc);
	return 0;
}
