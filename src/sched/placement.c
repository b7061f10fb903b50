/* Placement: one verdict per node, then one choice per replica. */
#include "sched/placement.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/state.h"

#define REASONS_MAX 12u /* nodes named in the error text; the verdicts have them all */

static bool label_ok(const struct node *n, const struct constraint *l)
{
	const char *value = pairs_get(&n->labels, l->key);

	return value && strs_has(&l->values, value);
}

/* The filters that no replica of this plan changes. */
static void judge(const struct placement_ask *ask, const struct node *n, char *why, size_t size)
{
	const struct app_spec *s = ask->spec;
	const char *state = NULL;

	why[0] = '\0';
	if (!node_eligible(n, &state)) {
		snprintf(why, size, "%s", state);
		return;
	}
	if (n == ask->avoid) {
		snprintf(why, size, "to be avoided");
		return;
	}
	if (s->nodes.n && !strs_has(&s->nodes, n->name)) {
		snprintf(why, size, "not among the nodes asked for");
		return;
	}
	for (size_t i = 0; i < s->labels_n; i++) {
		const char *value = pairs_get(&n->labels, s->labels[i].key);

		if (label_ok(n, &s->labels[i]))
			continue;
		snprintf(why, size, value ? "label %.40s is %.40s" : "has no label %.40s",
			 s->labels[i].key, value);
		return;
	}
	if (s->architecture && *n->architecture && strcmp(s->architecture, n->architecture) != 0)
		snprintf(why, size, "its architecture is %.40s", n->architecture);
}

/* Room for one more after <placed> of this plan went there. What a node has not told is no reason against it. */
static bool has_room(const struct app_spec *s, const struct node *n, uint32_t placed, char *why,
		     size_t size)
{
	uint64_t cpu = n->promised_cpu_millis + (uint64_t)s->cpu_millis * (placed + 1);
	uint64_t memory = n->promised_memory_bytes + s->memory_bytes * (placed + 1);

	if (s->cpu_millis && n->capacity.cpu_millis && cpu > n->capacity.cpu_millis) {
		snprintf(why, size, "too little CPU: %u of %u thousandths promised",
			 n->promised_cpu_millis, n->capacity.cpu_millis);
		return false;
	}
	if (s->memory_bytes && n->capacity.memory_total_bytes &&
	    memory > n->capacity.memory_total_bytes) {
		snprintf(why, size, "too little memory: %llu of %llu MiB promised",
			 (unsigned long long)n->promised_memory_bytes >> 20,
			 (unsigned long long)n->capacity.memory_total_bytes >> 20);
		return false;
	}
	return true;
}

/* Names that are no node's, then each node and why it was refused. */
static void say_short(const struct cluster *c, const struct placement_ask *ask,
		      const struct placement *p, struct err *err)
{
	const struct strs *asked = &ask->spec->nodes;
	uint32_t named = 0;
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < asked->n && named < REASONS_MAX; i++) {
		if (!cluster_node_named(c, asked->items[i]))
			buf_printf(&text, "%s%.64s: no such node", named++ ? "; " : "",
				   asked->items[i]);
	}
	for (uint32_t i = 0; i < p->verdicts_n && named < REASONS_MAX; i++) {
		if (p->verdicts[i].refused[0])
			buf_printf(&text, "%s%s: %s", named++ ? "; " : "",
				   p->verdicts[i].node->name, p->verdicts[i].refused);
	}
	if (p->verdicts_n > REASONS_MAX)
		buf_printf(&text, "; of %u nodes", p->verdicts_n);
	if (p->n)
		err_say(err, -ENOSPC, "room for %u of %u replicas only: %s", p->n, ask->n,
			text.data);
	else
		err_say(err, -ENOENT, "no node can run it: %s",
			text.data ? text.data : "there is none");
	buf_fini(&text);
}

/* The first candidate after <cursor> in the ring of node ids. */
static uint32_t after(const struct placement *p, const uint32_t *candidates, uint32_t n,
		      int64_t cursor)
{
	for (uint32_t i = 0; i < n; i++) {
		if (p->verdicts[candidates[i]].node->id > cursor)
			return i;
	}
	return 0;
}

/* Round-robin over the candidates (indices of verdicts, by node id). A node that is full leaves the ring. */
static void choose(const struct placement_ask *ask, struct placement *p, uint32_t *ring, uint32_t n)
{
	uint32_t *placed = xcalloc(p->verdicts_n, sizeof(*placed));
	uint32_t at = n ? after(p, ring, n, ask->cursor) : 0;

	while (n && p->n < ask->n) {
		struct placement_verdict *v = &p->verdicts[ring[at]];

		if (has_room(ask->spec, v->node, placed[ring[at]], v->refused,
			     sizeof(v->refused))) {
			placed[ring[at]]++;
			p->chosen[p->n++] = v->node;
			p->cursor = v->node->id;
			at = (at + 1) % n;
			continue;
		}
		memmove(&ring[at], &ring[at + 1], (n - at - 1) * sizeof(*ring));
		n--;
		at = n ? at % n : 0;
	}
	free(placed);
}

int placement_plan(const struct cluster *c, const struct placement_ask *ask, struct placement *out,
		   struct err *err)
{
	uint32_t *ring, n = 0;

	*out = (struct placement){ .cursor = ask->cursor };
	out->verdicts = xcalloc(map_count(&c->nodes_by_id), sizeof(*out->verdicts));
	out->chosen = xcalloc(ask->n + 1, sizeof(*out->chosen));
	ring = xcalloc(map_count(&c->nodes_by_id), sizeof(*ring));
	LIST_FOR_EACH(node, &c->nodes, struct node, link) {
		struct placement_verdict *v = &out->verdicts[out->verdicts_n];

		v->node = node;
		judge(ask, node, v->refused, sizeof(v->refused));
		if (!v->refused[0])
			ring[n++] = out->verdicts_n;
		out->verdicts_n++;
	}
	choose(ask, out, ring, n);
	free(ring);
	if (out->n == ask->n)
		return 0;
	say_short(c, ask, out, err);
	return out->n ? -ENOSPC : -ENOENT;
}

void placement_fini(struct placement *p)
{
	free(p->chosen);
	free(p->verdicts);
	*p = (struct placement){ 0 };
}
