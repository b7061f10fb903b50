/* Promises: made with a replica, broken when its container is gone. */
#include "sched/promise.h"

#include <assert.h>

#include "sched/app.h"

void promised_join(struct promised *p, const struct promised *other)
{
	p->sum.cpu_millis += other->sum.cpu_millis;
	p->sum.memory_bytes += other->sum.memory_bytes;
	p->sum.disk_bytes += other->sum.disk_bytes;
	p->sum.gpus += other->sum.gpus;
	p->replicas += other->replicas;
	p->no_cpu += other->no_cpu;
	p->no_memory += other->no_memory;
}

static struct promised of_one(const struct resources *r)
{
	return (struct promised){ *r, 1, !r->cpu_millis, !r->memory_bytes };
}

void promised_add(struct promised *p, const struct resources *r)
{
	struct promised one = of_one(r);

	promised_join(p, &one);
}

void promised_remove(struct promised *p, const struct resources *r)
{
	p->sum.cpu_millis -= r->cpu_millis;
	p->sum.memory_bytes -= r->memory_bytes;
	p->sum.disk_bytes -= r->disk_bytes;
	p->sum.gpus -= r->gpus;
	p->replicas--;
	p->no_cpu -= !r->cpu_millis;
	p->no_memory -= !r->memory_bytes;
}

static uint32_t count(uint64_t bits)
{
	return (uint32_t)__builtin_popcountll(bits);
}

static void take(struct replica *r, uint32_t cards)
{
	struct node *n = r->node;

	for (uint32_t i = 0; i < cards && count(r->cards) < r->promised.gpus; i++)
		if (!(n->cards_taken >> i & 1)) {
			r->cards |= 1ull << i;
			n->cards_taken |= 1ull << i;
		}
}

void promise_cards(struct replica *r)
{
	/* Its node may not have told yet, after a start: it had as many as were promised. */
	take(r, r->node->capacity.gpus ? r->node->capacity.gpus : NODE_GPUS_MAX);
}

void promise_make(struct replica *r, const struct resources *want)
{
	assert(!r->has_promise);
	r->has_promise = true;
	r->promised = *want;
	promised_add(&r->node->promised, want);
	r->node->cards_taken |= r->cards; /* a stored one has its own */
	take(r, r->node->capacity.gpus);
}

void promise_break(struct replica *r)
{
	if (!r->has_promise)
		return;
	r->has_promise = false;
	promised_remove(&r->node->promised, &r->promised);
	r->node->cards_taken &= ~r->cards;
	r->cards = 0;
	r->promised = (struct resources){ 0 };
}
