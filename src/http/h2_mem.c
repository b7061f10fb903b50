/* Size classes over malloc. */
#include "http/h2_mem.h"

#include <stdlib.h>
#include <string.h>

#define SMALLEST 64		    /* bytes of the first class; each next one has twice as many */
#define IDLE_BYTES_MAX (512u << 10) /* kept of each class */
#define NO_CLASS H2_MEM_SIZES

/* In front of each block; as large as malloc aligns. */
struct block {
	size_t size;	    /* of what follows */
	struct block *next; /* while it is idle */
};
_Static_assert(sizeof(struct block) % _Alignof(max_align_t) == 0, "what follows stays aligned");

static unsigned class_of(size_t n)
{
	unsigned class = 0;

	while (class < H2_MEM_SIZES && n > (size_t)SMALLEST << class)
		class ++;
	return class;
}

static void *get(size_t n, void *arg)
{
	struct h2_mem *m = arg;
	unsigned class = class_of(n);
	struct block *b = NULL;

	if (class != NO_CLASS) {
		n = (size_t)SMALLEST << class;
		b = m->lists[class].idle;
	}
	if (b) {
		m->lists[class].idle = b->next;
		m->lists[class].n--;
		return b + 1;
	}
	if (n > SIZE_MAX - sizeof(*b))
		return NULL;
	b = malloc(sizeof(*b) + n);
	if (!b)
		return NULL;
	b->size = n;
	return b + 1;
}

static void put(void *p, void *arg)
{
	struct h2_mem *m = arg;
	struct block *b;
	unsigned class;

	if (!p)
		return;
	b = (struct block *)p - 1;
	class = class_of(b->size);
	if (class == NO_CLASS || m->lists[class].n * b->size >= IDLE_BYTES_MAX) {
		free(b);
		return;
	}
	b->next = m->lists[class].idle;
	m->lists[class].idle = b;
	m->lists[class].n++;
}

static void *get_cleared(size_t n, size_t size, void *arg)
{
	void *p;

	if (size && n > SIZE_MAX / size)
		return NULL;
	p = get(n * size, arg);
	if (p)
		memset(p, 0, n * size);
	return p;
}

static void *resize(void *p, size_t n, void *arg)
{
	struct block *b;
	void *q;

	if (!p)
		return get(n, arg);
	b = (struct block *)p - 1;
	if (n <= b->size)
		return p;
	q = get(n, arg);
	if (q) {
		memcpy(q, p, b->size);
		put(p, arg);
	}
	return q;
}

void h2_mem_init(struct h2_mem *m)
{
	*m = (struct h2_mem){ .functions = { m, get, put, get_cleared, resize } };
}

void h2_mem_fini(struct h2_mem *m)
{
	for (unsigned i = 0; i < H2_MEM_SIZES; i++) {
		struct block *b = m->lists[i].idle;

		while (b) {
			struct block *next = b->next;

			free(b);
			b = next;
		}
	}
}
