/* A relay of one block between two operations: what the one reads the other writes, and either
 * waits for the other. */
#include "control/image_send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "reactor/deadline.h"

#define BLOCK_BYTES 65536
#define STALL_MS 60000 /* the node takes nothing of what there is */

struct image_send {
	struct link *from, *to;
	struct link_op *save, *load; /* NULL: over; <load> also: not begun */
	struct link_load what;	     /* its tag is ours */
	size_t at, n;		     /* of <block>: came, and was not yet asked for */
	bool hungry;		     /* <load> asked for more than there was */
	uint64_t sent_bytes;
	struct deadline stall;
	image_send_fn *done;
	void *arg;
	char block[BLOCK_BYTES];
};

void image_send_cancel(struct image_send *s)
{
	if (!s)
		return;
	deadline_stop(&s->stall);
	if (s->save)
		s->from->ops->cancel(s->save);
	if (s->load)
		s->to->ops->cancel(s->load);
	free((char *)s->what.tag);
	free(s);
}

uint64_t image_send_sent(const struct image_send *s)
{
	return s->sent_bytes;
}

static void end(struct image_send *s, const struct link_result *res, bool here)
{
	image_send_fn *done = s->done;
	void *arg = s->arg;

	image_send_cancel(s);
	done(arg, res, here);
}

static void on_stall(void *arg)
{
	end(arg,
	    &(struct link_result){ .rc = -ETIMEDOUT, .error = "the node took nothing for a minute" },
	    false);
}

static ssize_t on_upload(void *arg, char *p, size_t n)
{
	struct image_send *s = arg;

	if (s->at == s->n) {
		/* What follows is unpacked in silence: the operation has its own limit for it. */
		deadline_set(&s->stall, 0);
		if (!s->save)
			return 0;
		s->hungry = true;
		return -EAGAIN;
	}
	n = MIN(n, s->n - s->at);
	memcpy(p, s->block + s->at, n);
	s->at += n;
	s->sent_bytes += n;
	deadline_set(&s->stall, STALL_MS);
	if (s->at == s->n && s->save)
		s->from->ops->resume(s->save);
	return (ssize_t)n;
}

static void on_loaded(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct image_send *s = arg;

	(void)image;
	s->load = NULL;
	end(s, res, false);
}

/* The node is asked when there is something for it: an engine may take minutes to pack an image,
 * and an agent does not wait that long for the first byte. */
static void feed(struct image_send *s)
{
	deadline_set(&s->stall, STALL_MS);
	if (!s->load)
		s->load = s->to->ops->image_load(s->to, &s->what, on_loaded, s);
	if (!s->hungry)
		return;
	s->hungry = false;
	s->to->ops->resume(s->load);
}

static size_t on_saved(void *arg, const char *p, size_t n)
{
	struct image_send *s = arg;

	if (s->at < s->n)
		return 0;
	n = MIN(n, sizeof(s->block));
	memcpy(s->block, p, n);
	s->at = 0;
	s->n = n;
	feed(s);
	return n;
}

static void on_save_done(void *arg, const struct link_result *res)
{
	struct image_send *s = arg;

	s->save = NULL;
	if (res->rc)
		end(s, res, true);
	else
		feed(s);
}

struct image_send *image_send_begin(const struct image_send_ask *ask, image_send_fn *done,
				    void *arg)
{
	static const struct link_stream stream = { .data = on_saved, .done = on_save_done };
	struct image_send *s = xcalloc(1, sizeof(*s));

	s->from = ask->from;
	s->to = ask->to;
	s->what = (struct link_load){ xstrdup(ask->tag), ask->bytes, on_upload };
	s->done = done;
	s->arg = arg;
	deadline_init(&s->stall, ask->loop, on_stall, s);
	s->save = s->from->ops->image_save(s->from, ask->image, &stream, s);
	return s;
}
