/* Fixed-size objects with a cap. Steady traffic allocates nothing: freed objects wait on a list for
 * their next user. pool_get() returning NULL is the one way to run short: refuse the work, count
 * it, go on. */
#ifndef TEMPS_BASE_POOL_H
#define TEMPS_BASE_POOL_H

#include "base/base.h"

struct pool {
	const char *name;
	size_t size;  /* bytes of one object */
	uint32_t cap; /* most objects alive at once */
	uint32_t used, peak;
	uint32_t idle,
		idle_max; /* freed objects kept for reuse; more than idle_max go back to malloc */
	uint64_t refused; /* pool_get() calls answered NULL */
	void *free_list;
};

/* <idle_max> bounds what a quiet process keeps: 0 means cap. */
void pool_init(struct pool *p, const char *name, size_t size, uint32_t cap, uint32_t idle_max);
/* Every object must have been put back. */
void pool_fini(struct pool *p);
/* Memory is NOT cleared. NULL at the cap or when malloc fails. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *obj); /* NULL is fine */

/* For listings: called with each pool of somebody's. */
typedef void pool_each_fn(void *arg, const struct pool *p);

#endif
