/* OpenSSL's allocator with one free list: the buffers a TLS record passes through, which
 * SSL_MODE_RELEASE_BUFFERS takes and gives back for every record so that idle connections hold
 * none. All connections then share the same few warm blocks. */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "reactor/crypto.h"

/* 16 KiB of payload + record overhead, as OpenSSL 3.0 asks for it (16.4 to 17 KiB both ways); a
 * range rather than one number, so that another release's sums fit too. */
#define BLOCK_MIN_BYTES (16 * 1024 + 1)
#define BLOCK_BYTES (18 * 1024)
#define KEPT_MAX 8	/* a callback uses one or two at a time */

/* OpenSSL's allocator has no argument to hang state on, so this is the one list outside a root.
 * It is the loop thread's own, hence no lock; others go to malloc. */
static _Thread_local struct {
	bool on;
	void *head;
	unsigned count;
} kept;

static void *block_take(void)
{
	void *p = kept.head;

	if (!p)
		return malloc(BLOCK_BYTES);
	kept.head = *(void **)p;
	kept.count--;
	return p;
}

static void *memory_alloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return n >= BLOCK_MIN_BYTES && n <= BLOCK_BYTES ? block_take() : malloc(n);
}

/* A block is known by its size: anything malloc made in that range will do as one. */
static void memory_free(void *p, const char *file, int line)
{
	size_t size = p ? malloc_usable_size(p) : 0;

	(void)file;
	(void)line;
	if (size < BLOCK_BYTES || size > BLOCK_BYTES + 64 || !kept.on || kept.count == KEPT_MAX) {
		free(p);
		return;
	}
	*(void **)p = kept.head;
	kept.head = p;
	kept.count++;
}

static void *memory_realloc(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return realloc(p, n);
}

void crypto_boot(void)
{
	kept.on = true;
	(void)CRYPTO_set_mem_functions(memory_alloc, memory_realloc, memory_free);
}
