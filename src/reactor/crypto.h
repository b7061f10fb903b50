/* Hashes, random bytes, comparison in constant time. */
#ifndef TEMPS_REACTOR_CRYPTO_H
#define TEMPS_REACTOR_CRYPTO_H

#include "base/slice.h"

/* For protocols that ask for it, nothing else. */
void crypto_sha1(struct slice s, uint8_t out[20]);
void crypto_sha256(struct slice s, uint8_t out[32]);
void crypto_sha256_hex(struct slice s, char hex[65]);
/* Aborts when the system has no randomness to give. */
void crypto_random(void *out, size_t n);
void crypto_random_hex(char *hex, size_t bytes);	/* 2*bytes + NUL */
/* Time depends on the lengths only. */
bool crypto_equal(struct slice a, struct slice b);
/* Overwrites so that the compiler cannot drop it. */
void crypto_wipe(void *p, size_t n);

#endif
