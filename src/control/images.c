/* Look, pull or send, look again: an image on a node. Presence is asked by content id once that is
 * known, so that a tag which moved meanwhile cannot put another image into the same release. */
#include "control/images.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "control/image_send.h"
#include "control/registry.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"

#define BUSY_MS 2000	   /* the node takes another image, for somebody else */
#define RETRY_MS 1000	   /* doubling */
#define RETRIES 5u	   /* of a transfer, then it has failed */
#define SENDING_MAX 4u	   /* at once: an engine may copy each image to its disk first */

struct images {
	struct loop *loop;
	struct list sending, waiting; /* struct image_ensure; the second in order of arrival */
	uint32_t sending_n;
};

struct image_ensure {
	struct images *images;
	struct list turn;	/* of <sending> or <waiting>, or on none */
	bool has_turn;		/* it is on <sending> */
	struct link *via, *source;
	struct link_op *op;
	struct link *op_link;	/* whose <op> is */
	struct image_send *send;
	struct deadline pause;
	char *image, *image_id, *registry_auth, *tag, *architecture;
	bool here_asked, here;	/* the source was asked; it has it: */
	bool here_published;	/* its copy came from a registry, or went there */
	char here_for[32];	/* its architecture */
	uint64_t bytes;
	bool missing;		/* the node was asked, and lacks <image_id> */
	bool pulling, pulled, sent;
	uint32_t retries;
	char detail[256];	/* of the progress */
	int pull_rc;
	char why[512];		/* it could not be pulled; else "" */
	image_done_fn *done;
	void *arg;
};

static void look(struct image_ensure *i);
static void absent(struct image_ensure *i);

struct images *images_create(struct loop *loop)
{
	struct images *images = xcalloc(1, sizeof(*images));

	images->loop = loop;
	list_init(&images->sending);
	list_init(&images->waiting);
	return images;
}

void images_destroy(struct images *images)
{
	free(images);
}

/* ---- whose turn it is ---- */

static bool is_free(const struct images *images, const struct link *via)
{
	if (images->sending_n >= SENDING_MAX)
		return false;
	LIST_FOR_EACH(i, &images->sending, struct image_ensure, turn)
		if (i->via == via)
			return false;
	return true;
}

static void take_turn(struct image_ensure *i)
{
	list_remove(&i->turn);
	list_push_back(&i->images->sending, &i->turn);
	i->images->sending_n++;
	i->has_turn = true;
}

/* Whoever comes next looks again: what was sent may be what it waits for. */
static void leave_turn(struct image_ensure *i)
{
	struct images *images = i->images;

	list_remove(&i->turn);
	if (!i->has_turn)
		return;
	i->has_turn = false;
	images->sending_n--;
	LIST_FOR_EACH_SAFE(next, &images->waiting, struct image_ensure, turn) {
		if (is_free(images, next->via)) {
			take_turn(next);
			look(next);
		}
	}
}

/* ---- the end ---- */

static void image_free(struct image_ensure *i)
{
	leave_turn(i);
	if (i->registry_auth)
		crypto_wipe(i->registry_auth, strlen(i->registry_auth));
	deadline_stop(&i->pause);
	free(i->registry_auth);
	free(i->architecture);
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

static const char *text_of(const struct link_result *res)
{
	return res->error ? res->error : strerror(-res->rc);
}

/* ---- processors ---- */

static bool knows(const char *architecture)
{
	static const char *const names[] = { "amd64",	"386",	   "arm64", "arm",
					     "riscv64", "ppc64le", "s390x", "mips64le" };

	for (size_t k = 0; k < ARRAY_LEN(names); k++)
		if (strcmp(names[k], architecture) == 0)
			return true;
	return false;
}

/* Ends it when the node's processor cannot run the image. What one of us does not know may. */
static bool refuse_foreign(struct image_ensure *i, const char *architecture)
{
	const char *node = i->architecture;
	char text[256];

	if (!knows(node) || !knows(architecture) || strcmp(node, architecture) == 0 ||
	    (strcmp(node, "amd64") == 0 && strcmp(architecture, "386") == 0) ||
	    (strcmp(node, "arm64") == 0 && strcmp(architecture, "arm") == 0))
		return false;
	snprintf(text, sizeof(text),
		 "it is for %s processors, and the node's is %s: deploy with --architecture %s, or an image for %s",
		 architecture, node, architecture, node);
	end_failed(i, -EINVAL, text);
	return true;
}

/* ---- from here ---- */

static void on_pause_over(void *arg)
{
	look(arg);
}

/* Others may have their turn meanwhile. */
static void try_again(struct image_ensure *i, uint32_t ms, const char *why)
{
	snprintf(i->detail, sizeof(i->detail), "%s", why);
	leave_turn(i);
	deadline_set(&i->pause, ms);
}

static bool is_broken(const struct link_result *res, bool here)
{
	return here || res->rc == -ECOMM || res->rc == -ETIMEDOUT;
}

static void on_sent(void *arg, const struct link_result *res, bool here)
{
	struct image_ensure *i = arg;
	char text[1024];

	i->send = NULL;
	if (!res->rc) {
		i->sent = true;
		look(i);
	} else if (res->rc == -EBUSY) {
		try_again(i, BUSY_MS, text_of(res));
	} else if (is_broken(res, here) && i->retries < RETRIES) {
		try_again(i, RETRY_MS << i->retries++, text_of(res));
	} else {
		snprintf(text, sizeof(text), "sending it from the control plane failed: %s%s%s",
			 text_of(res), i->why[0] ? "; pulling it failed before: " : "", i->why);
		/* Not the node's fault what broke off here. */
		end_failed(i, here ? -EIO : res->rc, text);
	}
}

static void send_now(struct image_ensure *i)
{
	struct image_send_ask ask = { .loop = i->images->loop,
				      .from = i->source,
				      .to = i->via,
				      .image = i->image_id,
				      .tag = i->tag,
				      .bytes = i->bytes };

	i->detail[0] = '\0';
	i->send = image_send_begin(&ask, on_sent, i);
}

static void send_in_turn(struct image_ensure *i)
{
	if (refuse_foreign(i, i->here_for))
		return;
	if (!i->has_turn && is_free(i->images, i->via))
		take_turn(i);
	if (i->has_turn)
		send_now(i);
	else
		list_push_back(&i->images->waiting, &i->turn);
}

static void on_here(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct image_ensure *i = arg;

	i->op = NULL;
	i->here_asked = true;
	i->here = !res->rc;
	if (i->here) {
		snprintf(i->here_for, sizeof(i->here_for), "%s", image->architecture);
		i->here_published = image->from_registry;
		i->bytes = image->bytes;
		/* Built here, or nobody else has it: this is what the reference means. */
		if (!*i->image_id && (!image->from_registry || i->pulled)) {
			free(i->image_id);
			i->image_id = xstrdup(image->id);
			i->missing = false;
		}
	}
	if (i->missing)
		absent(i);
	else
		look(i);
}

static void ask_here(struct image_ensure *i)
{
	i->op_link = i->source;
	i->op = i->source->ops->image_inspect(i->source, *i->image_id ? i->image_id : i->image,
					      on_here, i);
}

/* ---- from its registry ---- */

/* Keeps the last line. */
static size_t on_progress(void *arg, const char *p, size_t n)
{
	struct image_ensure *i = arg;
	struct slice rest = slice_of(p, n), line;

	while (rest.p) {
		line = slice_trim(slice_split(rest, '\n', &rest));
		if (line.n)
			snprintf(i->detail, sizeof(i->detail), "%.*s", SLICE_ARG(line));
	}
	return n;
}

static void on_pulled(void *arg, const struct link_result *res)
{
	struct image_ensure *i = arg;

	i->op = NULL;
	i->pulling = false;
	i->pulled = true;
	i->pull_rc = res->rc;
	if (!res->rc) {
		look(i);
	} else if (res->rc == -ECOMM || res->rc == -ETIMEDOUT) {
		end_failed(i, res->rc, text_of(res));
	} else {
		snprintf(i->why, sizeof(i->why), "%s", text_of(res));
		if (i->missing)
			absent(i);
		else
			look(i);
	}
}

static void pull(struct image_ensure *i)
{
	static const struct link_stream stream = { .data = on_progress, .done = on_pulled };

	i->pulling = true;
	i->detail[0] = '\0';
	i->op_link = i->via;
	i->op = i->via->ops->image_pull(i->via, i->image, i->registry_auth, &stream, i);
}

/* ---- is it there? ---- */

static void nobody_has_it(struct image_ensure *i)
{
	char text[1024];

	if (i->sent)
		snprintf(text, sizeof(text), "it was sent, and is not there as %s", i->image_id);
	else if (i->why[0])
		snprintf(text, sizeof(text), "%s%s", i->why,
			 i->source ? ", and the control plane's engine has no such image" : "");
	else
		snprintf(text, sizeof(text),
			 "its name means another image now than this release was made of (%s), or another one for this node's processor: deploy again to use the new one, with --architecture if the nodes differ",
			 i->image_id);
	end_failed(i, i->pull_rc ? i->pull_rc : -ENOENT, text);
}

static void absent(struct image_ensure *i)
{
	bool first_there = registry_is_named(i->image);

	if (i->sent)
		nobody_has_it(i);
	else if (i->source && !i->here_asked && (!first_there || i->pulled))
		ask_here(i);
	else if (!i->pulled && !(i->here && !first_there && !i->here_published))
		pull(i);
	else if (i->here && *i->image_id)
		send_in_turn(i);
	else if (i->here)
		ask_here(i); /* our copy came from a registry that does not give it any more */
	else
		nobody_has_it(i);
}

static void on_looked(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct image_ensure *i = arg;

	i->op = NULL;
	i->missing = res->rc == -ENOENT;
	if (i->missing)
		absent(i);
	else if (res->rc)
		end(i, res, NULL);
	else if (!refuse_foreign(i, image->architecture))
		end(i, res, image->id);
}

static void look(struct image_ensure *i)
{
	i->op_link = i->via;
	i->op = i->via->ops->image_inspect(i->via, *i->image_id ? i->image_id : i->image, on_looked,
					   i);
}

struct image_ensure *image_ensure_begin(struct images *images, const struct image_ask *ask,
					image_done_fn *done, void *arg)
{
	struct image_ensure *i = xcalloc(1, sizeof(*i));

	i->images = images;
	list_init(&i->turn);
	i->via = ask->via;
	i->source = ask->source;
	i->image = xstrdup(ask->image);
	i->image_id = xstrdup(ask->image_id ? ask->image_id : "");
	i->registry_auth = ask->registry_auth ? xstrdup(ask->registry_auth) : NULL;
	i->tag = xstrdup(ask->tag);
	i->architecture = xstrdup(ask->architecture ? ask->architecture : "");
	i->done = done;
	i->arg = arg;
	deadline_init(&i->pause, images->loop, on_pause_over, i);
	/* What the name means is for its registry to say, or for this machine; what the node happens
	 * to have under the same name comes after both. A digest means the same everywhere. */
	if (*i->image_id || strchr(i->image, '@'))
		look(i);
	else if (registry_is_named(i->image))
		pull(i);
	else if (i->source)
		ask_here(i);
	else
		look(i);
	return i;
}

void image_ensure_cancel(struct image_ensure *i)
{
	if (i->op)
		i->op_link->ops->cancel(i->op);
	image_send_cancel(i->send);
	image_free(i);
}

struct image_progress image_ensure_progress(const struct image_ensure *i)
{
	struct image_progress p = { .phase = "asking", .detail = "" };

	if (i->send) {
		p.phase = "sending";
		p.sent_bytes = image_send_sent(i->send);
		p.total_bytes = MAX(i->bytes, p.sent_bytes);
	} else if (deadline_is_set(&i->pause)) {
		p.phase = "pausing";
		p.detail = i->detail;
	} else if (!list_empty(&i->turn) && !i->has_turn) {
		p.phase = "waiting";
	} else if (i->pulling) {
		p.phase = "pulling";
		p.detail = i->detail;
	}
	return p;
}
