/* Fixed-size objects with a cap; idle ones are chained through their first bytes, last used first
 * (it is warm). */
#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_POISONS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define POOL_POISONS 1
#endif

#ifdef POOL_POISONS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* An idle object: use of it is caught by AddressSanitizer, as use after free would be. */
struct idle {
	struct idle *next;
};

void pool_init(struct pool *p, const char *name, size_t size, uint32_t cap, uint32_t idle_max)
{
	*p = (struct pool){
		.name = name,
		.size = MAX(size, sizeof(struct idle)),
		.cap = cap,
		.idle_max = idle_max ? idle_max : cap,
	};
}

static void *pop_idle(struct pool *p)
{
	struct idle *i = p->free_list;

	if (!i)
		return NULL;
	ASAN_UNPOISON_MEMORY_REGION(i, p->size);
	p->free_list = i->next;
	p->idle--;
	return i;
}

void pool_fini(struct pool *p)
{
	void *obj;

	assert(p->used == 0);
	while ((obj = pop_idle(p)))
		free(obj);
}

void *pool_get(struct pool *p)
{
	void *obj = NULL;

	if (p->used < p->cap) {
		obj = pop_idle(p);
		if (!obj)
			obj = malloc(p->size);
	}
	if (!obj) {
		p->refused++;
		return NULL;
	}
	p->used++;
	p->peak = MAX(p->peak, p->used);
	return obj;
}

void pool_put(struct pool *p, void *obj)
{
	struct idle *i = obj;

	if (!obj)
		return;
	assert(p->used > 0);
	p->used--;
	if (p->idle >= p->idle_max) {
		free(obj);
		return;
	}
	i->next = p->free_list;
	p->free_list = i;
	p->idle++;
	ASAN_POISON_MEMORY_REGION(i, p->size);
}
