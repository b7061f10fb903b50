/* What the agent answers, given to the callback of its operation. */
#include "control/link_direct_inner.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/log_store.h"

void direct_give_error(struct link_op *op, const struct link_result *res)
{
	switch (op->kind) {
	case KIND_PLAIN:
		op->done.plain(op->arg, res);
		break;
	case KIND_DEPLOY:
		op->done.deploy(op->arg, res, NULL);
		break;
	case KIND_INFO:
		op->done.info(op->arg, res, NULL);
		break;
	case KIND_LIST:
		op->done.list(op->arg, res, NULL, 0);
		break;
	case KIND_KEPT:
		op->done.kept(op->arg, res, NULL, 0);
		break;
	case KIND_IMAGE:
		op->done.image(op->arg, res, NULL);
		break;
	case KIND_STREAM:
	case KIND_PULL:
		op->stream.done(op->arg, res);
		break;
	}
}

static void give_deployed(struct link_op *op, const struct json *data, struct link_result *res,
			  struct err *err)
{
	struct wire_deployed d;

	if (wire_deployed_parse(&d, data, err))
		*res = (struct link_result){ .rc = -EIO, .error = err->text, .maybe_done = true };
	op->done.deploy(op->arg, res, res->rc ? NULL : &d);
}

static void give_info(struct link_op *op, const struct json *data, struct link_result *res,
		      struct err *err)
{
	struct wire_container c = { 0 };

	if (wire_container_parse(&c, data, err))
		*res = (struct link_result){ .rc = -EIO, .error = err->text };
	op->done.info(op->arg, res, res->rc ? NULL : &c);
	wire_container_fini(&c);
}

static void give_list(struct link_op *op, const struct json *data, struct link_result *res,
		      struct err *err)
{
	size_t n = json_len(data), parsed = 0;
	struct wire_container *list = xcalloc(n + 1, sizeof(*list));

	for (; parsed < n; parsed++) {
		if (wire_container_parse(&list[parsed], json_at(data, parsed), err)) {
			*res = (struct link_result){ .rc = -EIO, .error = err->text };
			break;
		}
	}
	op->done.list(op->arg, res, list, res->rc ? 0 : n);
	for (size_t i = 0; i < parsed; i++)
		wire_container_fini(&list[i]);
	free(list);
}

static void give_kept(struct link_op *op, const struct json *data, struct link_result *res,
		      struct err *err)
{
	size_t n = MIN(json_len(data), LOG_LIST_MAX);
	struct wire_kept *list = xcalloc(n + 1, sizeof(*list));

	for (size_t i = 0; i < n && !res->rc; i++)
		if (wire_kept_parse(&list[i], json_at(data, i), err))
			*res = (struct link_result){ .rc = -EIO, .error = err->text };
	op->done.kept(op->arg, res, list, res->rc ? 0 : n);
	free(list);
}

static void give_image(struct link_op *op, const struct json *data, struct link_result *res,
		       struct err *err)
{
	struct link_image image = { 0 };
	struct wire_image w;

	/* An import is answered with the id alone, which nobody reads: the node is asked for the image then. */
	if (op->upload)
		w = (struct wire_image){ 0 };
	else if (wire_image_parse(&w, data, err))
		*res = (struct link_result){ .rc = -EIO, .error = err->text };
	image = (struct link_image){ w.id, w.architecture, w.bytes, w.from_registry };
	op->done.image(op->arg, res, res->rc ? NULL : &image);
}

void direct_give_data(struct link_op *op, const struct json *data)
{
	struct link_result ok = { 0 };
	struct err err;

	switch (op->kind) {
	case KIND_DEPLOY:
		give_deployed(op, data, &ok, &err);
		break;
	case KIND_INFO:
		give_info(op, data, &ok, &err);
		break;
	case KIND_LIST:
		give_list(op, data, &ok, &err);
		break;
	case KIND_KEPT:
		give_kept(op, data, &ok, &err);
		break;
	case KIND_IMAGE:
		give_image(op, data, &ok, &err);
		break;
	default:
		op->done.plain(op->arg, &ok);
		break;
	}
}

struct link_result direct_refusal(int status, struct slice body, struct err *err)
{
	struct json *doc = NULL;
	const struct json *data;

	if (status == 401) {
		err_say(err, -ECOMM, "the agent does not accept the node's token");
		return (struct link_result){ .rc = -ECOMM, .error = err->text };
	}
	if (wire_envelope_parse(&doc, &data, body, err) != -EREMOTEIO)
		err_say(err, -EIO, "the agent answered %d", status);
	json_free(doc);
	return (struct link_result){ .rc = status >= 300 ? wire_rc((unsigned)status) : -EIO,
				     .error = err->text };
}
