/* Counts the process's heap allocations, those of libraries too: include it in one file of a
 * test program. Under a sanitizer, whose allocator must not be replaced, nothing is counted and
 * mallocs_counted is false. */
#ifndef TEMPS_TESTS_MALLOCS_H
#define TEMPS_TESTS_MALLOCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/base.h"

static uint64_t mallocs;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MALLOCS_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MALLOCS_SANITIZED
#endif

#ifdef MALLOCS_SANITIZED
static const bool mallocs_counted = false;
#else
static const bool mallocs_counted = true;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
	mallocs++;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	mallocs++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	mallocs++;
	return __libc_realloc(p, n);
}
#endif

#endif
