/* What a deploy asks for: an app's specification. A plain value; a release owns a copy of one and
 * never changes it. */
#ifndef TEMPS_SCHED_SPEC_H
#define TEMPS_SCHED_SPEC_H

#include "base/pairs.h"
#include "sched/promise.h"

#define SPEC_REPLICAS_MAX 1000u
#define SPEC_DOMAINS_MAX 100u
#define SPEC_ENV_MAX 500u
#define SPEC_POLICIES_MAX 64u
#define SPEC_NODES_MAX 100u
#define SPEC_LABELS_MAX 64u
#define SPEC_AFFINITIES_MAX 16u /* of each kind */
#define SPEC_VOLUMES_MAX 16u
#define SPEC_GPUS_MAX NODE_GPUS_MAX
#define SPEC_ARGS_MAX 100u
#define SPEC_TEXT_MAX 4096u   /* bytes of one image name, path or argument */
#define SPEC_VALUE_MAX PAIRS_VALUE_MAX
#define SPEC_HASH_LEN 32u     /* hex digits of a spec hash */

/* A label that a node must have; any one of <values> will do. */
struct constraint {
	const char *key;
	struct strs values;
};

struct app_spec {
	const char *image; /* reference as the user wrote it */
	uint32_t replicas; /* 1..SPEC_REPLICAS_MAX */
	uint16_t
		port; /* inside the container; 0: the app listens to nobody, it is never routed nor probed */
	struct strs domains; /* "host" or "host/path" */
	struct pairs env;
	struct pairs secrets; /* of the environment, too: sealed by whoever sets them, opaque here */
	struct strs command;	   /* empty: the image's own */
	uint32_t cpu_millis;	   /* 0: none requested */
	uint64_t memory_bytes;	   /* 0: none requested */
	uint64_t disk_bytes;	   /* 0: none requested; for placement alone, no limit */
	uint32_t gpus;		   /* graphics cards of its own, 0..SPEC_GPUS_MAX */
	const char *health_path;   /* NULL: a TCP connection is the test */
	struct strs health_command; /* run in the container; empty: the path or a connection is the test */
	uint32_t health_start_ms;   /* failures within it do not count; 0: all of them may be followed by success */
	uint32_t health_limit_ms;  /* 0: the cluster's default */
	uint32_t stop_grace_s;	   /* 0: the cluster's default */
	uint32_t request_drain_ms, tunnel_drain_ms; /* what a replica that goes may still take for them; 0: as ever */
	struct pairs volumes;	   /* of its own: name → path in the container; one replica has them */
	uint32_t max_surge;	   /* replicas that a rollout may run besides those asked for; 0: all at once */
	bool stop_first;	   /* the old release ends before the new one starts, as with any volume */
	struct strs pre_deploy;	   /* runs once in the new image before any replica starts; empty: nothing */
	struct strs nodes;	   /* by name; empty: any */
	struct constraint *labels; /* all of them must match */
	size_t labels_n;
	struct strs affinity, anti_affinity; /* as affinity.h has them */
	const char *strategy;	  /* NULL: "round-robin" */
	const char *architecture; /* NULL: any; as `docker` spells it: "amd64", "arm64" */
	struct pairs policy;	  /* of the front door, which alone knows what they mean; unlike the
				     rest it may change while the release lives */
};

/* Checks every bound and form. -EINVAL with a sentence that names the field. */
int spec_check(const struct app_spec *s, struct err *err) MUST_CHECK;
/* A deep copy, to be released with spec_fini(). */
void spec_copy(struct app_spec *dst, const struct app_spec *src);
void spec_fini(struct app_spec *s);
/* The members of a JSON object that is open in <o>. */
void spec_put(const struct app_spec *s, struct json_out *o);
/* Fills <s> from an object that spec_put() wrote. <s> is the caller's to spec_fini() in either case. */
int spec_load(struct app_spec *s, const struct json *obj, struct err *err) MUST_CHECK;
/* Not cryptographic: tells an unchanged deploy from another. Over all but the policy, which changes
 * no container. <hex> takes SPEC_HASH_LEN + 1 bytes. */
void spec_hash(const struct app_spec *s, char *hex);
/* The same over any bytes. */
void spec_hash_bytes(struct slice bytes, char *hex);
/* Whether one release may start only when the one before has ended. */
bool spec_is_stop_first(const struct app_spec *s);
/* What one replica is promised of its node. */
struct resources spec_resources(const struct app_spec *s);

#endif
