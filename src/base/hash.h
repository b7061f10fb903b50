/* Keyed SipHash-1-3 and an open-addressing map on top of it. Keys that a client chooses never meet
 * an unkeyed hash. */
#ifndef TEMPS_BASE_HASH_H
#define TEMPS_BASE_HASH_H

#include "base/slice.h"

struct hash_key {
	uint64_t k0, k1;
};

/* From getrandom(2); aborts when the kernel has none to give. */
void hash_key_random(struct hash_key *key);
uint64_t hash_bytes(const struct hash_key *key, const void *p, size_t n);

/* Maps byte strings to pointers. Growing is spread over the puts and dels that follow, so that none
 * of a million stalls the loop. Keys are borrowed: they must live as long as their entry, usually
 * inside the value. Iteration order depends on the key: whoever needs a stable order keeps a list
 * or an array beside the map. */
struct map {
	struct hash_key key;
	struct map_slot *slots, *old; /* <old> is being moved out of, or NULL */
	uint32_t cap_mask, old_mask;
	uint32_t moved; /* slots of <old> already moved */
	uint32_t count;
};

void map_init(struct map *m, const struct hash_key *key);
void map_fini(struct map *m); /* values are not its to free */
void *map_get(const struct map *m, struct slice key);
/* <value> is not NULL. Replaces; returns the value that was there, or NULL. */
void *map_put(struct map *m, struct slice key, void *value);
/* Returns the value that was there, or NULL. */
void *map_del(struct map *m, struct slice key);
uint32_t map_count(const struct map *m);
/* Start with *at = 0; returns NULL at the end. No put or del meanwhile. */
void *map_next(const struct map *m, uint32_t *at);

#endif
