/* Memory for tables too large for caches: zeroed, on cache line pairs, and in huge pages where it
 * pays and the kernel grants them. A look-up in random order then misses a cache line, and not the
 * page tables as well. */
#ifndef TEMPS_BASE_PAGES_H
#define TEMPS_BASE_PAGES_H

#include <stddef.h>

#define PAGES_ALIGN 128 /* what the processor fetches together */

/* All of it at once. Aborts when there is none, as xcalloc() does. <bytes> is not 0. */
void *pages_alloc(size_t bytes);
/* Address space that becomes memory where it is touched: for an array that only grows and must not
 * move. Aborts when there is none. To be given back with pages_free(). */
void *pages_reserve(size_t bytes);
/* The same <bytes> as it was made with. NULL is fine. */
void pages_free(void *p, size_t bytes);

#endif
