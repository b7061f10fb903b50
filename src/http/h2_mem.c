/* Size classes over malloc, pages for what is larger. */
#include "http/h2_mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALLEST 64 /* bytes of the first class; every second one has twice as many */
#define IDLE_BYTES_MAX (512u << 10) /* kept of each class */
#define NO_CLASS H2_MEM_SIZES

/* In front of each block; as large as malloc aligns. */
struct block {
	size_t size;	    /* of what follows */
	struct block *next; /* while it is idle */
};
_Static_assert(sizeof(struct block) % _Alignof(max_align_t) == 0, "what follows stays aligned");

static size_t class_bytes(unsigned class)
{
	size_t n = (size_t)SMALLEST << class / 2;

	return class % 2 ? n + n / 2 : n;
}

static unsigned class_of(size_t n)
{
	unsigned class = 0;

	while (class < H2_MEM_SIZES && n > class_bytes(class))
		class ++;
	return class;
}

/* Larger than any class is a session's buffer for frames, which it keeps for life and of which most
 * frames touch the first bytes: from the kernel, as the pages behind them then cost nothing. */
static struct block *map_pages(size_t n)
{
	void *p = mmap(NULL, sizeof(struct block) + n, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void *get(size_t n, void *arg)
{
	struct h2_mem *m = arg;
	unsigned class = class_of(n);
	struct block *b = NULL;

	if (class != NO_CLASS) {
		n = class_bytes(class);
		b = m->lists[class].idle;
	}
	if (b) {
		m->lists[class].idle = b->next;
		m->lists[class].n--;
		return b + 1;
	}
	if (n > SIZE_MAX - sizeof(*b))
		return NULL;
	b = class == NO_CLASS ? map_pages(n) : malloc(sizeof(*b) + n);
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
	if (class == NO_CLASS) {
		munmap(b, sizeof(*b) + b->size);
		return;
	}
	if (m->lists[class].n * b->size >= IDLE_BYTES_MAX) {
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
