/* A relay of one block between two operations: what the one reads the other writes, and either
 * waits for the other. */
#include "control/image_send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 65536

struct image_send {
	struct link *from, *to;
	struct link_op *save, *load; /* NULL: over */
	size_t at, n;		     /* of <block>: came, and was not yet asked for */
	bool hungry;		     /* <load> asked for more than there was */
	link_done_fn *done;
	void *arg;
	char block[BLOCK_BYTES];
};

void image_send_cancel(struct image_send *s)
{
	if (!s)
		return;
	if (s->save)
		s->from->ops->cancel(s->save);
	if (s->load)
		s->to->ops->cancel(s->load);
	free(s);
}

static void end(struct image_send *s, const struct link_result *res)
{
	link_done_fn *done = s->done;
	void *arg = s->arg;

	image_send_cancel(s);
	done(arg, res);
}

static void feed(struct image_send *s)
{
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
	struct link_result failed = { .rc = -EIO, .error = res->error };

	s->save = NULL;
	if (res->rc)
		end(s, &failed); /* not the receiving node's fault, whatever it was */
	else
		feed(s);
}

static ssize_t on_upload(void *arg, char *p, size_t n)
{
	struct image_send *s = arg;

	if (s->at == s->n) {
		if (!s->save)
			return 0;
		s->hungry = true;
		return -EAGAIN;
	}
	n = MIN(n, s->n - s->at);
	memcpy(p, s->block + s->at, n);
	s->at += n;
	if (s->at == s->n && s->save)
		s->from->ops->resume(s->save);
	return (ssize_t)n;
}

static void on_loaded(void *arg, const struct link_result *res, const char *id,
		      const char *architecture)
{
	struct image_send *s = arg;

	(void)id;
	(void)architecture;
	s->load = NULL;
	end(s, res);
}

struct image_send *image_send_begin(struct link *from, struct link *to, const char *image,
				    const char *tag, link_done_fn *done, void *arg)
{
	static const struct link_stream stream = { .data = on_saved, .done = on_save_done };
	struct image_send *s = xcalloc(1, sizeof(*s));

	s->from = from;
	s->to = to;
	s->done = done;
	s->arg = arg;
	s->load = to->ops->image_load(to, tag, on_upload, on_loaded, s);
	s->save = from->ops->image_save(from, image, &stream, s);
	return s;
}
