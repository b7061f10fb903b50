/* Small pieces come from malloc, large ones from the kernel, aligned for huge pages. */
#include "base/pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"

#define HUGE_BYTES ((size_t)2 << 20)

static size_t rounded(size_t bytes, size_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

/* The kernel promises pages, not huge ones: as much more is asked for as alignment may cost, and
 * given back. Huge pages from <small> on; without any it is slower, nothing else. */
static void *map_aligned(size_t bytes, size_t small)
{
	size_t asked = bytes + HUGE_BYTES, before;
	char *p = mmap(NULL, asked, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	before = rounded((uintptr_t)p, HUGE_BYTES) - (uintptr_t)p;
	if (before)
		munmap(p, before);
	if (asked - before - bytes)
		munmap(p + before + bytes, asked - before - bytes);
	p += before;
	madvise(p + small, bytes - small, MADV_HUGEPAGE);
	return p;
}

void *pages_alloc(size_t bytes)
{
	if (bytes >= HUGE_BYTES)
		return must_have(map_aligned(rounded(bytes, HUGE_BYTES), 0));
	bytes = rounded(bytes, PAGES_ALIGN);
	return memset(must_have(aligned_alloc(PAGES_ALIGN, bytes)), 0, bytes);
}

void *pages_reserve(size_t bytes)
{
	/* The first two MiB in small ones: who uses a page of it pays for a page. */
	return must_have(map_aligned(rounded(MAX(bytes, HUGE_BYTES), HUGE_BYTES), HUGE_BYTES));
}

void pages_free(void *p, size_t bytes)
{
	if (p && bytes >= HUGE_BYTES)
		munmap(p, rounded(bytes, HUGE_BYTES));
	else
		free(p);
}
