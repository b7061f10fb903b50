/* Images and the cluster's network: inspect, load and save archives, make sure of the bridge. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "agent/engine_inner.h"
#include "base/text.h"

#define LOAD_IDLE_MS 600000	/* an engine unpacking a large layer says nothing meanwhile */

/* --- inspect, and load which ends with it --- */

struct image_op {
	struct link_op op;
	link_image_fn *done;
	char id[80], architecture[32];
	struct link_image image;
	struct link_load load;		/* <tag> is ours */
	char ref[600];			/* load: what the archive called it */
};

static void image_answer(struct link_op *op, const struct link_result *res)
{
	struct image_op *i = (struct image_op *)op;

	i->done(op->arg, res, res->rc ? NULL : &i->image);
}

static void image_fini(struct link_op *op)
{
	free((char *)((struct image_op *)op)->load.tag);
}

static const struct op_kind image_kind = { .size = sizeof(struct image_op),
					   .answer = image_answer,
					   .fini = image_fini };

static void on_image(void *arg, const struct docker_result *res)
{
	struct image_op *i = arg;
	struct json *j;
	int rc;

	i->op.call = NULL;
	if (res->rc) {
		op_fail(&i->op, res);
		return;
	}
	rc = json_parse(&j, res->body, NULL);
	if (!rc) {
		rc = slice_copy(json_str(json_get(j, "Id"), ""), i->id, sizeof(i->id));
		if (!rc)
			rc = slice_copy(json_str(json_get(j, "Architecture"), ""), i->architecture,
					sizeof(i->architecture));
		i->image = (struct link_image){
			.id = i->id,
			.architecture = i->architecture,
			.bytes = (uint64_t)MAX(json_int(json_get(j, "Size"), 0), 0),
			.from_registry = json_len(json_get(j, "RepoDigests")) > 0,
		};
		json_free(j);
	}
	if (rc || !i->id[0])
		op_finish(&i->op, &(struct link_result){
					  .rc = -EIO, .error = "the engine described no image" });
	else
		op_done(&i->op);
}

static const struct docker_ops inspect_ops = { .done = on_image };

static void image_inspect(struct image_op *i, const char *ref)
{
	op_call(&i->op, &inspect_ops, &(struct docker_request){ .method = "GET" },
		"/images/%s/json", ref);
}

struct link_op *engine_image_inspect(struct link *l, const char *ref, link_image_fn *done,
				     void *arg)
{
	struct image_op *i = op_new(CONTAINER_OF(l, struct engine, base), &image_kind, arg);

	i->done = done;
	if (op_is_image_ref(ref))
		image_inspect(i, ref);
	else
		op_refuse(&i->op, -EINVAL, "\"%.64s\" cannot name an image", ref ? ref : "");
	return &i->op;
}

static void on_tagged(void *arg, const struct docker_result *res)
{
	struct image_op *i = arg;

	i->op.call = NULL;
	if (res->rc) {
		op_fail(&i->op, res);
		return;
	}
	engine_sweep_images(i->op.engine, i->load.tag);
	image_inspect(i, i->load.tag);
}

static const struct docker_ops tag_ops = { .done = on_tagged };

/* "temps/hello:3" is repository temps/hello and tag 3; a port in a registry's name is no tag. */
static void image_tag(struct image_op *i)
{
	const char *name = i->load.tag, *colon = strrchr(name, ':'), *slash = strrchr(name, '/');
	size_t repo = colon && (!slash || colon > slash) ? (size_t)(colon - name) : strlen(name);
	const char *tag = name[repo] ? name + repo + 1 : "latest";

	op_call(&i->op, &tag_ops, &(struct docker_request){ .method = "POST" },
		"/images/%s/tag?repo=%.*s&tag=%s", i->ref, (int)repo, name, tag);
}

/* "Loaded image: name:tag" or "Loaded image ID: sha256:…" */
static void find_loaded(struct image_op *i, const char *text)
{
	static const char *const marks[] = { "Loaded image ID: ", "Loaded image: " };

	for (size_t m = 0; m < ARRAY_LEN(marks); m++) {
		const char *at = strstr(text, marks[m]);

		if (!at)
			continue;
		at += strlen(marks[m]);
		snprintf(i->ref, sizeof(i->ref), "%.*s", (int)strcspn(at, " \r\n"), at);
	}
}

/* A 200 whose lines say how it went. */
static void on_loaded(void *arg, const struct docker_result *res)
{
	struct image_op *i = arg;
	struct slice rest = res->body, line;
	char error[256] = "";
	struct json *j;

	i->op.call = NULL;
	if (res->rc) {
		op_fail(&i->op, res);
		return;
	}
	while (rest.p) {
		line = slice_split(rest, '\n', &rest);
		if (json_parse(&j, line, NULL))
			continue;
		find_loaded(i, json_cstr(json_get(j, "stream"), ""));
		if (json_get(j, "error"))
			snprintf(error, sizeof(error), "%s", json_cstr(json_get(j, "error"), "?"));
		json_free(j);
	}
	if (error[0])
		op_finish(&i->op, &(struct link_result){ .rc = -EINVAL, .error = error });
	else if (!op_is_image_ref(i->ref))
		op_finish(&i->op, &(struct link_result){ .rc = -EINVAL,
							 .error = "the archive holds no image" });
	else
		image_tag(i);
}

static ssize_t on_upload(void *arg, char *p, size_t n)
{
	struct image_op *i = arg;

	return i->load.upload(i->op.arg, p, n);
}

static const struct docker_ops load_ops = { .upload = on_upload, .done = on_loaded };

static void image_load(struct image_op *i)
{
	op_call(&i->op, &load_ops,
		&(struct docker_request){ .method = "POST", .idle_timeout_ms = LOAD_IDLE_MS },
		"/images/load?quiet=1");
}

/* Free for the engine's images; UINT64_MAX where it cannot be seen from here. */
static uint64_t free_bytes(const char *root)
{
	struct statvfs fs;

	if (!*root || statvfs(root, &fs))
		return UINT64_MAX;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static void on_root(void *arg, const struct docker_result *res)
{
	struct image_op *i = arg;
	char root[1024] = "", need[32], have[32], text[256];
	uint64_t room;
	struct json *j;

	i->op.call = NULL;
	if (res->rc) {
		op_fail(&i->op, res);
		return;
	}
	if (!json_parse(&j, res->body, NULL)) {
		if (slice_copy(json_str(json_get(j, "DockerRootDir"), ""), root, sizeof(root)))
			root[0] = '\0';
		json_free(j);
	}
	room = free_bytes(root);
	if (room >= i->load.bytes) {
		image_load(i);
		return;
	}
	text_size(i->load.bytes, need);
	text_size(room, have);
	snprintf(text, sizeof(text), "it takes %s, and only %s is free in %.100s on that node",
		 need, have, root);
	op_finish(&i->op, &(struct link_result){ .rc = -ENOSPC, .error = text });
}

static const struct docker_ops root_ops = { .done = on_root };

/* An engine at the other end of a socket file is on this machine, and so is its disk. */
static bool sees_disk(const struct image_op *i)
{
	return strncmp(docker_host(i->op.engine->docker), "unix:", 5) == 0;
}

struct link_op *engine_image_load(struct link *l, const struct link_load *load, link_image_fn *done,
				  void *arg)
{
	struct image_op *i = op_new(CONTAINER_OF(l, struct engine, base), &image_kind, arg);

	i->done = done;
	i->load = *load;
	i->load.tag = xstrdup(load->tag);
	if (!op_is_image_ref(load->tag))
		op_refuse(&i->op, -EINVAL, "\"%.64s\" cannot name an image", load->tag);
	else if (load->bytes && sees_disk(i))
		op_call(&i->op, &root_ops, &(struct docker_request){ .method = "GET" }, "/info");
	else
		image_load(i);
	return &i->op;
}

/* --- save --- */

struct save_op {
	struct link_op op;
	struct link_stream stream;
};

static void save_answer(struct link_op *op, const struct link_result *res)
{
	((struct save_op *)op)->stream.done(op->arg, res);
}

static const struct op_kind save_kind = { .size = sizeof(struct save_op), .answer = save_answer };

static size_t on_save_data(void *arg, const char *p, size_t n)
{
	struct save_op *s = arg;

	return s->stream.data(s->op.arg, p, n);
}

static void on_save_done(void *arg, const struct docker_result *res)
{
	op_last_step.done(arg, res);
}

static const struct docker_ops save_ops = { .data = on_save_data, .done = on_save_done };

struct link_op *engine_image_save(struct link *l, const char *ref, const struct link_stream *s,
				  void *arg)
{
	struct save_op *o = op_new(CONTAINER_OF(l, struct engine, base), &save_kind, arg);

	o->stream = *s;
	if (op_is_image_ref(ref))
		op_call(&o->op, &save_ops,
			&(struct docker_request){ .method = "GET",
						  .idle_timeout_ms = LOAD_IDLE_MS },
			"/images/%s/get", ref);
	else
		op_refuse(&o->op, -EINVAL, "\"%.64s\" cannot name an image", ref);
	return &o->op;
}

/* --- the cluster's network --- */

struct network_op {
	struct link_op op;
	engine_network_fn *done;
	char *name, *want;
	char subnet[64];
	bool created;
};

static void network_answer(struct link_op *op, const struct link_result *res)
{
	struct network_op *n = (struct network_op *)op;

	n->done(op->arg, res, res->rc ? NULL : n->subnet);
}

static void network_fini(struct link_op *op)
{
	struct network_op *n = (struct network_op *)op;

	free(n->name);
	free(n->want);
}

static const struct op_kind network_kind = { .size = sizeof(struct network_op),
					     .answer = network_answer,
					     .fini = network_fini };

static void network_look(struct network_op *n);

static void on_network_created(void *arg, const struct docker_result *res)
{
	struct network_op *n = arg;

	n->op.call = NULL;
	/* Exists: another process was faster. */
	if (res->rc && res->rc != -EEXIST) {
		op_fail(&n->op, res);
		return;
	}
	n->created = true;
	network_look(n);
}

static const struct docker_ops create_ops = { .done = on_network_created };

static void network_create(struct network_op *n)
{
	struct json_out o;
	struct buf body;

	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "Name", n->name);
	json_put_bool(&o, "CheckDuplicate", true);
	json_put_str(&o, "Driver", "bridge");
	json_obj(&o, "IPAM");
	json_arr(&o, "Config");
	json_obj(&o, NULL);
	json_put_str(&o, "Subnet", n->want);
	json_obj_end(&o);
	json_arr_end(&o);
	json_obj_end(&o);
	json_obj(&o, "Labels");
	json_put_str(&o, WIRE_LABEL_MANAGED, "true");
	json_obj_end(&o);
	json_obj_end(&o);
	op_call(&n->op, &create_ops,
		&(struct docker_request){ .method = "POST", .body = buf_slice(&body) },
		"/networks/create");
	buf_fini(&body);
}

static void on_network(void *arg, const struct docker_result *res)
{
	struct network_op *n = arg;
	struct json *j;

	n->op.call = NULL;
	if (res->rc == -ENOENT && !n->created) {
		network_create(n);
		return;
	}
	if (res->rc) {
		op_fail(&n->op, res);
		return;
	}
	if (!json_parse(&j, res->body, NULL)) {
		const struct json *config = json_at(json_get(json_get(j, "IPAM"), "Config"), 0);

		if (slice_copy(json_str(json_get(config, "Subnet"), ""), n->subnet,
			       sizeof(n->subnet)))
			n->subnet[0] = '\0';
		json_free(j);
	}
	if (n->subnet[0])
		op_done(&n->op);
	else
		op_finish(&n->op, &(struct link_result){ .rc = -EIO,
							 .error = "the network has no subnet" });
}

static const struct docker_ops look_ops = { .done = on_network };

static void network_look(struct network_op *n)
{
	op_call(&n->op, &look_ops, &(struct docker_request){ .method = "GET" }, "/networks/%s",
		n->name);
}

struct link_op *engine_network(struct engine *e, const char *name, const char *subnet,
			       engine_network_fn *done, void *arg)
{
	struct network_op *n = op_new(e, &network_kind, arg);

	n->done = done;
	n->name = xstrdup(name);
	n->want = xstrdup(subnet);
	if (op_is_container_ref(name))
		network_look(n);
	else
		op_refuse(&n->op, -EINVAL, "\"%.64s\" cannot name a network", name);
	return &n->op;
}
