/* Sends an image from one node's engine to another's, as it is read: no registry, no copy on disk. */
#ifndef TEMPS_CONTROL_IMAGE_SEND_H
#define TEMPS_CONTROL_IMAGE_SEND_H

#include "agent/link.h"

struct image_send;

/* <from> must have image_save; <image> names the image there, <tag> is what it is called on <to>.
 * <done> comes once, later, and never after image_send_cancel(); rc as in link_result: -EBUSY when
 * the node takes another image just now. Links are borrowed, texts are copied. */
struct image_send *image_send_begin(struct link *from, struct link *to, const char *image,
				    const char *tag, link_done_fn *done, void *arg);
void image_send_cancel(struct image_send *s); /* NULL is fine */

#endif
