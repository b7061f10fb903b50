/* Inspect, pull or send, inspect: an image on a node. Presence is asked by content id once that is known,
 * so that a tag which moved meanwhile cannot put another image into the same release. */
#include "control/images.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/image_send.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"

#define BUSY_RETRY_MS 2000 /* a node takes one image at a time */

struct image_ensure {
	struct link *via, *source;
	struct link_op *op;
	struct link *op_link; /* whose <op> is */
	struct image_send *send;
	struct deadline busy;
	char *image, *image_id, *registry_auth, *tag;
	bool pulled, sent;
	char why[1024]; /* it could not be pulled */
	image_done_fn *done;
	void *arg;
};

static void inspect(struct image_ensure *i);

static void image_free(struct image_ensure *i)
{
	if (i->registry_auth)
		crypto_wipe(i->registry_auth, strlen(i->registry_auth));
	deadline_stop(&i->busy);
	free(i->registry_auth);
	free(i->image_id);
	free(i->tag);
	free(i->image);
	free(i);
}

static void end(struct image_ensure *i, const struct link_result *res, const char *image_id)
{
	i->done(i->arg, res, image_id);
	image_free(i);
}

static void end_failed(struct image_ensure *i, int rc, const char *text)
{
	struct link_result res = { .rc = rc, .error = text };

	end(i, &res, NULL);
}

static size_t on_progress(void *arg, const char *p, size_t n)
{
	(void)arg;
	(void)p;
	return n;
}

/* ---- from here ---- */

static void on_sent(void *arg, const struct link_result *res)
{
	struct image_ensure *i = arg;
	char text[1024];

	i->send = NULL;
	if (res->rc == -EBUSY) {
		deadline_set(&i->busy, BUSY_RETRY_MS);
	} else if (res->rc) {
		snprintf(text, sizeof(text), "sending it from here failed: %s",
			 res->error ? res->error : strerror(-res->rc));
		end_failed(i, res->rc, text);
	} else {
		i->sent = true;
		inspect(i);
	}
}

static void send_now(void *arg)
{
	struct image_ensure *i = arg;

	i->send = image_send_begin(i->source, i->via, i->image_id, i->tag, on_sent, i);
}

static void on_source(void *arg, const struct link_result *res, const char *id,
		      const char *architecture)
{
	struct image_ensure *i = arg;

	(void)architecture;
	i->op = NULL;
	if (res->rc) {
		end_failed(i, -ENOENT, i->why);
		return;
	}
	free(i->image_id);
	i->image_id = xstrdup(id);
	send_now(i);
}

/* <why> it could not be had otherwise. */
static void send_instead(struct image_ensure *i, int rc)
{
	if (!i->source) {
		end_failed(i, rc, i->why);
		return;
	}
	i->op_link = i->source;
	i->op = i->source->ops->image_inspect(i->source, *i->image_id ? i->image_id : i->image,
					      on_source, i);
}

/* ---- from its registry ---- */

static void on_pulled(void *arg, const struct link_result *res)
{
	struct image_ensure *i = arg;

	i->op = NULL;
	i->pulled = true;
	if (!res->rc) {
		inspect(i);
		return;
	}
	snprintf(i->why, sizeof(i->why), "%s", res->error ? res->error : strerror(-res->rc));
	if (res->rc == -ECOMM || res->rc == -ETIMEDOUT)
		end_failed(i, res->rc, i->why);
	else
		send_instead(i, res->rc);
}

/* ---- is it there? ---- */

static void absent(struct image_ensure *i)
{
	static const struct link_stream stream = { .data = on_progress, .done = on_pulled };

	if (!i->pulled) {
		i->op_link = i->via;
		i->op = i->via->ops->image_pull(i->via, i->image, i->registry_auth, &stream, i);
		return;
	}
	if (i->sent) {
		snprintf(i->why, sizeof(i->why), "image %s was sent, and is not there as %s",
			 i->image, i->image_id);
		end_failed(i, -ENOENT, i->why);
		return;
	}
	snprintf(
		i->why, sizeof(i->why),
		"image %s is now another one than this release was made of (%s); deploy again to use the new one",
		i->image, i->image_id);
	send_instead(i, -ENOENT);
}

static void on_inspected(void *arg, const struct link_result *res, const char *id,
			 const char *architecture)
{
	struct image_ensure *i = arg;

	(void)architecture;
	i->op = NULL;
	if (res->rc == -ENOENT)
		absent(i);
	else
		end(i, res, res->rc ? NULL : id);
}

static void inspect(struct image_ensure *i)
{
	i->op_link = i->via;
	i->op = i->via->ops->image_inspect(i->via, *i->image_id ? i->image_id : i->image,
					   on_inspected, i);
}

struct image_ensure *image_ensure_begin(const struct image_ask *ask, image_done_fn *done, void *arg)
{
	struct image_ensure *i = xcalloc(1, sizeof(*i));

	i->via = ask->via;
	i->source = ask->source;
	i->image = xstrdup(ask->image);
	i->image_id = xstrdup(ask->image_id ? ask->image_id : "");
	i->registry_auth = ask->registry_auth ? xstrdup(ask->registry_auth) : NULL;
	i->tag = xstrdup(ask->tag);
	i->done = done;
	i->arg = arg;
	deadline_init(&i->busy, ask->loop, send_now, i);
	inspect(i);
	return i;
}

void image_ensure_cancel(struct image_ensure *i)
{
	if (i->op)
		i->op_link->ops->cancel(i->op);
	image_send_cancel(i->send);
	image_free(i);
}
