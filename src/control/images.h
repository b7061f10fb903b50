/* Makes sure that nodes have images: asks a node for one, has it pull what it lacks, sends it from
 * here what it cannot pull or what was built here. One image at a time is sent to a node, a few at
 * a time in all; the others wait their turn. A transfer that breaks off is tried again for a while.
 *
 * The reference says where to look first. With a registry's name in it: there, then here. Without:
 * here, unless our copy came from a registry itself or there is none. So the first node of a release
 * finds out what its tag means now, and a registry that does not answer leaves it what it had. */
#ifndef TEMPS_CONTROL_IMAGES_H
#define TEMPS_CONTROL_IMAGES_H

#include "agent/link.h"

struct images;
struct image_ensure;

struct images *images_create(struct loop *loop);
/* After everything that was begun is over. NULL is fine. */
void images_destroy(struct images *images);

/* <image_id> is the image's content id. Once, later; never after image_ensure_cancel(). rc: -ENOENT
 * nobody has it, -EINVAL it is for another processor, -ENOSPC no room for it, -ECOMM and -ETIMEDOUT
 * the node does not answer. */
typedef void image_done_fn(void *arg, const struct link_result *res, const char *image_id);

struct image_ask {
	struct link *via;	   /* the node */
	struct link *source;	   /* who may send it, with image_save; NULL: nobody */
	const char *image;	   /* a reference */
	const char *image_id;	   /* the only content that will do; "": not resolved yet */
	const char *registry_auth; /* as link_ops.image_pull has it; NULL: none */
	const char *tag;	   /* what it is called on the node when it was sent */
	const char *architecture;  /* the node's, as Docker spells it; "": not known */
};

/* Links are borrowed, texts are copied. */
struct image_ensure *image_ensure_begin(struct images *images, const struct image_ask *ask,
					image_done_fn *done, void *arg);
void image_ensure_cancel(struct image_ensure *i);

struct image_progress {
	const char *phase;	/* "asking", "pulling", "waiting" for its turn, "sending", "pausing" before another try */
	const char *detail;	/* pulling: what the engine says; pausing: why; else "" */
	uint64_t sent_bytes, total_bytes; /* sending; total is what the layers take unpacked, 0: unknown */
};
/* Texts are valid until the loop goes on. */
struct image_progress image_ensure_progress(const struct image_ensure *i);

#endif
