/* The host names of table.h, made for a million of them: what a look-up costs is cache misses, and
 * it takes two, one for the bucket and one for the host. Seen by table.c alone. */
#ifndef TEMPS_PROXY_HOSTS_H
#define TEMPS_PROXY_HOSTS_H

#include "base/hash.h"

#define HOSTS_MAX (1u << 22) /* half a GiB of address space, touched as far as used */
#define HOST_NAME_INSIDE 69

struct route_target;

struct route {
	struct route_target *target;
	char *path; /* owned; NULL for "/", as most have */
	uint32_t path_n;
	uint64_t requests, errors;
};

/* Two cache lines, which the processor fetches as a pair. A host with one route, as nearly all
 * have, keeps it inside; so does a name that is no longer than most. */
struct host {
	union {
		struct route *routes; /* longest path first; &only while there is one */
		uint32_t next_free;   /* on the free list */
	};
	char *long_name; /* owned; NULL when it fits below */
	struct route only;
	uint16_t nroutes;
	uint8_t name_n; /* 0: on the free list */
	char name[HOST_NAME_INSIDE];
};

#define BUCKET_HOSTS 8

/* One cache line. <tag> is half of the hash: it says where its home is, whatever the number of
 * buckets, so that growing and removing never touch a host. */
struct host_bucket {
	uint32_t tag[BUCKET_HOSTS];
	uint32_t host[BUCKET_HOSTS]; /* index into hosts.all; 0: free */
};

struct host_buckets {
	struct host_bucket *at;
	uint32_t mask;	/* buckets - 1 */
	uint32_t count; /* hosts */
};

struct hosts {
	struct hash_key key;
	struct host *all; /* [0] is nobody's */
	uint32_t used;	  /* of <all>, ever */
	uint32_t free_list;
	struct host_buckets now;
	struct host_buckets old; /* while growing: emptied a few buckets at each change, so that
				    no change pays for all */
	uint32_t old_at;
};

void hosts_init(struct hosts *s, const struct hash_key *key);
/* The routes of every host must be gone. */
void hosts_fini(struct hosts *s);
/* NULL: not there. */
struct host *hosts_find(const struct hosts *s, struct slice name);
/* One that is not there yet: its name is set, nothing else. NULL at HOSTS_MAX. A pointer to a host
 * stays good until hosts_remove(). */
struct host *hosts_add(struct hosts *s, struct slice name);
void hosts_remove(struct hosts *s, struct host *h);
/* The next one from <*at> = 0 on, in no order that means anything; NULL at the end. */
struct host *hosts_next(const struct hosts *s, uint32_t *at);
struct slice host_name(const struct host *h);

#endif
