/* Makes sure that a node has an image: asks for it, pulls it when it is not there, has it sent from
 * here when it cannot be pulled, asks again. */
#ifndef TEMPS_CONTROL_IMAGES_H
#define TEMPS_CONTROL_IMAGES_H

#include "agent/link.h"

struct image_ensure;

/* <image_id> is the image's content id. Once, later; never after image_ensure_cancel(). */
typedef void image_done_fn(void *arg, const struct link_result *res, const char *image_id);

struct image_ask {
	struct loop *loop;
	struct link *via;	   /* the node */
	struct link *source;	   /* who may send it, with image_save; NULL: nobody */
	const char *image;	   /* a reference */
	const char *image_id;	   /* the only content that will do; "": not resolved yet */
	const char *registry_auth; /* as link_ops.image_pull has it; NULL: none */
	const char *tag;	   /* what it is called on the node when it was sent */
};

/* Links are borrowed, texts are copied. */
struct image_ensure *image_ensure_begin(const struct image_ask *ask, image_done_fn *done,
					void *arg);
void image_ensure_cancel(struct image_ensure *i);

#endif
