/* Placement in words, made only when somebody reads them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "sched/placement_inner.h"
#include "sched/state.h"

#define NAMED_MAX 12u /* nodes in one sentence; the verdicts have them all */

static const char *rule_text(const struct app_spec *s, unsigned at)
{
	return at < s->affinity.n ? s->affinity.items[at]
				  : s->anti_affinity.items[at - s->affinity.n];
}

static void say_label(const struct placement_ask *ask, const struct placement_verdict *v, char *out)
{
	const char *key = ask->spec->labels[v->at].key, *value = pairs_get(&v->node->labels, key);

	if (value)
		snprintf(out, PLACEMENT_TEXT_MAX, "label %.60s is %.60s", key, value);
	else
		snprintf(out, PLACEMENT_TEXT_MAX, "has no label %.60s", key);
}

static void say_room(const struct placement_ask *ask, const struct placement_verdict *v, char *out)
{
	const struct node_capacity *has = &v->node->capacity;
	const struct resources *sum = &v->promised.sum, want = spec_resources(ask->spec);

	switch (v->refused) {
	case REFUSED_CPU:
		snprintf(out, PLACEMENT_TEXT_MAX,
			 "too little CPU: %g of %g cores are promised, %g more asked for",
			 (double)sum->cpu_millis / 1000, has->cpu_millis / 1000.0,
			 (double)want.cpu_millis / 1000);
		break;
	case REFUSED_MEMORY:
		snprintf(out, PLACEMENT_TEXT_MAX,
			 "too little memory: %" PRIu64 " of %" PRIu64 " MiB are promised, %" PRIu64
			 " more asked for",
			 sum->memory_bytes >> 20, has->memory_total_bytes >> 20,
			 want.memory_bytes >> 20);
		break;
	case REFUSED_DISK:
		snprintf(out, PLACEMENT_TEXT_MAX,
			 "too little disk: %" PRIu64 " of %" PRIu64 " MiB are promised, %" PRIu64
			 " more asked for",
			 sum->disk_bytes >> 20, has->disk_total_bytes >> 20, want.disk_bytes >> 20);
		break;
	default:
		if (!has->gpus)
			snprintf(out, PLACEMENT_TEXT_MAX, "has no GPU");
		else
			snprintf(out, PLACEMENT_TEXT_MAX,
				 "too few GPUs: %" PRIu32 " of %" PRIu32 " are promised, %" PRIu32
				 " more asked for",
				 sum->gpus, has->gpus, want.gpus);
		break;
	}
}

void placement_refusal(const struct placement_ask *ask, const struct placement_verdict *v,
		       char *out)
{
	const char *state = "";

	*out = '\0';
	switch ((enum refusal)v->refused) {
	case NOT_REFUSED: break;
	case REFUSED_STATE:
		(void)!node_eligible(v->node, &state);
		snprintf(out, PLACEMENT_TEXT_MAX, "%s", state ? state : "");
		break;
	case REFUSED_NAME:
		snprintf(out, PLACEMENT_TEXT_MAX, "not among the nodes asked for");
		break;
	case REFUSED_LABEL: say_label(ask, v, out); break;
	case REFUSED_ARCHITECTURE:
		snprintf(out, PLACEMENT_TEXT_MAX, "its architecture is %.60s",
			 v->node->architecture);
		break;
	case REFUSED_VOLUME:
		snprintf(out, PLACEMENT_TEXT_MAX, "the app's volume lives on %s", ask->pin->name);
		break;
	case REFUSED_AFFINITY:
		snprintf(out, PLACEMENT_TEXT_MAX, "affinity %.100s is not met",
			 rule_text(ask->spec, v->at));
		break;
	case REFUSED_ANTI_AFFINITY:
		snprintf(out, PLACEMENT_TEXT_MAX, "anti-affinity %.100s keeps away",
			 rule_text(ask->spec, v->at));
		break;
	case REFUSED_KEPT_AWAY:
		snprintf(out, PLACEMENT_TEXT_MAX, "app %s runs there and keeps away from this one",
			 v->keeper->name);
		break;
	default: say_room(ask, v, out); break;
	}
}

void placement_reason(const struct placement_ask *ask, const struct placement_choice *choice,
		      char *out)
{
	static const char *const reasons[STRATEGIES] = {
		[STRATEGY_ROUND_ROBIN] = "next in turn",
		[STRATEGY_SPREAD] = "fewest replicas",
		[STRATEGY_LEAST_LOADED] = "least loaded",
		[STRATEGY_BINPACK] = "fullest with room",
	};
	enum strategy strategy;

	(void)!strategy_parse(ask->spec->strategy, &strategy);
	if (choice->among == 1)
		snprintf(out, PLACEMENT_TEXT_MAX, "the only node that fits");
	else
		snprintf(out, PLACEMENT_TEXT_MAX, "%s of %" PRIu32 " nodes that fit%s",
			 reasons[strategy], choice->among,
			 choice->score.affinity > 0 ? ", as wished" : "");
}

void placement_why_not(const struct placement_ask *ask, const struct placement_verdict *v,
		       const struct placement_verdict *best, char *out)
{
	int32_t mine = score_sum(&v->score), its = best ? score_sum(&best->score) : 0;
	enum strategy strategy;

	(void)!strategy_parse(ask->spec->strategy, &strategy);
	*out = '\0';
	if (v->refused)
		placement_refusal(ask, v, out);
	else if (!best || v == best)
		return;
	else if (mine < its)
		snprintf(out, PLACEMENT_TEXT_MAX, "%" PRId32 " points, %s has %" PRId32, mine,
			 best->node->name, its);
	else
		snprintf(out, PLACEMENT_TEXT_MAX,
			 strategy == STRATEGY_ROUND_ROBIN
				 ? "its turn comes after %s's"
				 : "as many points as %s, which comes first",
			 best->node->name);
}

/* Names that are no node's, then each node and why it was refused. */
int placement_short(const struct cluster *c, const struct placement_ask *ask,
		    const struct placement *p, struct err *err)
{
	const struct strs *asked = &ask->spec->nodes;
	char why[PLACEMENT_TEXT_MAX];
	uint32_t named = 0;
	struct buf text;
	int rc;

	buf_init(&text, 0);
	for (size_t i = 0; i < asked->n && named < NAMED_MAX; i++) {
		if (!cluster_node_named(c, asked->items[i]))
			buf_printf(&text, "%s%.64s: no such node", named++ ? "; " : "",
				   asked->items[i]);
	}
	for (uint32_t i = 0; i < p->verdicts_n && named < NAMED_MAX; i++) {
		placement_refusal(ask, &p->verdicts[i], why);
		if (*why)
			buf_printf(&text, "%s%s: %s", named++ ? "; " : "",
				   p->verdicts[i].node->name, why);
	}
	if (p->verdicts_n > NAMED_MAX)
		buf_printf(&text, "; of %u nodes", p->verdicts_n);
	if (p->n)
		rc = err_say(err, -ENOSPC, "room for %u of %u replicas only: %s", p->n, ask->n,
			     text.data);
	else
		rc = err_say(err, -ENOENT, "no node can run it: %s",
			     text.data ? text.data : "there is none");
	buf_fini(&text);
	return rc;
}

bool placement_knows(const struct placement *p, const char *name)
{
	for (uint32_t i = 0; i < p->verdicts_n; i++) {
		if (strcmp(p->verdicts[i].node->name, name) == 0)
			return true;
	}
	return false;
}

void placement_refused(struct batch *b, const struct placement_ask *ask, const struct placement *p,
		       struct pairs *out)
{
	const struct strs *asked = &ask->spec->nodes;
	char why[PLACEMENT_TEXT_MAX];

	*out = (struct pairs){ .items = batch_alloc(b, REFUSED_MAX * sizeof(*out->items)) };
	for (size_t i = 0; i < asked->n && out->n < REFUSED_MAX; i++) {
		if (placement_knows(p, asked->items[i]))
			continue;
		out->items[out->n].key = batch_str(b, asked->items[i]);
		out->items[out->n++].value = "no such node";
	}
	for (uint32_t i = 0; i < p->verdicts_n && out->n < REFUSED_MAX; i++) {
		placement_refusal(ask, &p->verdicts[i], why);
		if (!*why)
			continue;
		out->items[out->n].key = batch_str(b, p->verdicts[i].node->name);
		out->items[out->n++].value = batch_str(b, why);
	}
}
