/* Sends an image from one node's engine to another's, as it is read: no registry, no copy on disk,
 * one block of it in memory. */
#ifndef TEMPS_CONTROL_IMAGE_SEND_H
#define TEMPS_CONTROL_IMAGE_SEND_H

#include "agent/link.h"

struct image_send;

struct image_send_ask {
	struct loop *loop;
	struct link *from;	 /* has image_save */
	struct link *to;
	const char *image;	 /* what it is called on <from> */
	const char *tag;	 /* and on <to> */
	uint64_t bytes;		 /* about how many there are; 0: not known */
};

/* Once, later, and never after image_send_cancel(); rc as in link_result: -EBUSY when the node
 * takes another image just now, -ETIMEDOUT when it took nothing for a while. <here>: <from> broke
 * off. */
typedef void image_send_fn(void *arg, const struct link_result *res, bool here);

/* Links are borrowed, texts are copied or not needed any more. */
struct image_send *image_send_begin(const struct image_send_ask *ask, image_send_fn *done,
				    void *arg);
/* Bytes that the node has asked for so far. */
uint64_t image_send_sent(const struct image_send *s);
void image_send_cancel(struct image_send *s); /* NULL is fine */

#endif
