/* The engine's operations against a real Docker Engine, with containers of a cluster that nobody else has. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/docker.h"
#include "agent/engine.h"
#include "base/config.h"
#include "base/text.h"
#include "check.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"

#define SKIPPED 77
#define LIMIT_MS 30000

/* What came out of an operation; one for each that runs. */
struct outcome {
	bool done;
	int rc;
	char error[400];
	char text[128], more[64];	/* an id; an architecture, status or address */
	uint64_t number;
	size_t n;
	struct wire_container first;	/* without its lists */
};

static struct world {
	struct loop *loop;
	struct rpc *rpc;
	struct engine *engine;
	struct link *link;
	struct deadline limit;
	char cluster[32], tag[64], image_id[80];
} w;

static void on_limit(void *arg)
{
	(void)arg;
	fprintf(stderr, "no answer within %d ms\n", LIMIT_MS);
	abort();
}

static void on_poll(void *arg)
{
	(void)arg;
	loop_stop(w.loop);
}

/* Until <flag>; the limit aborts. */
static void wait_for(const bool *flag)
{
	deadline_set(&w.limit, LIMIT_MS);
	while (!*flag)
		loop_run(w.loop);
	deadline_set(&w.limit, 0);
}

static void take(struct outcome *o, const struct link_result *res)
{
	assert_false(o->done);
	o->done = true;
	o->rc = res->rc;
	snprintf(o->error, sizeof(o->error), "%s", res->error ? res->error : "");
	loop_stop(w.loop);
}

static void on_done(void *arg, const struct link_result *res)
{
	take(arg, res);
}

static void on_deployed(void *arg, const struct link_result *res, const struct wire_deployed *d)
{
	struct outcome *o = arg;

	take(o, res);
	if (res->rc)
		return;
	snprintf(o->text, sizeof(o->text), "%s", d->container_id);
	snprintf(o->more, sizeof(o->more), "%s", d->status);
	o->number = d->started_at_ms;
	o->n = d->host_port;
}

static void on_info(void *arg, const struct link_result *res, const struct wire_container *c)
{
	struct outcome *o = arg;

	take(o, res);
	if (res->rc)
		return;
	o->first = *c;
	snprintf(o->text, sizeof(o->text), "%s", pairs_get(&c->labels, WIRE_LABEL_NODE));
	snprintf(o->more, sizeof(o->more), "%s", pairs_get(&c->env, "GREETING") ?: "");
	o->first.labels = o->first.env = (struct pairs){ 0 };
}

static void on_list(void *arg, const struct link_result *res, const struct wire_container *list, size_t n)
{
	struct outcome *o = arg;

	take(o, res);
	o->n = n;
	if (n)
		snprintf(o->text, sizeof(o->text), "%s", list[0].id);
}

static void on_image(void *arg, const struct link_result *res, const struct link_image *image)
{
	struct outcome *o = arg;

	take(o, res);
	if (res->rc)
		return;
	snprintf(o->text, sizeof(o->text), "%s", image->id);
	snprintf(o->more, sizeof(o->more), "%s", image->architecture);
	o->number = image->bytes;
	o->n = image->from_registry;
}

static void on_network(void *arg, const struct link_result *res, const char *subnet)
{
	struct outcome *o = arg;

	take(o, res);
	snprintf(o->text, sizeof(o->text), "%s", subnet ? subnet : "");
}

static void on_stats(void *arg, const struct link_result *res, const struct wire_stats *s)
{
	struct outcome *o = arg;

	take(o, res);
	o->number = res->rc ? 0 : s->memory_bytes;
}

/* --- an image of the sample program, as `docker save` would write it --- */

static void tar_add(struct buf *tar, const char *name, unsigned mode, struct slice content)
{
	char h[512] = { 0 };
	unsigned sum = 0;
	static const char zeros[1024];

	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "%07o", mode);
	memcpy(h + 108, "0000000\0000000000", 16);
	snprintf(h + 124, 12, "%011zo", content.n);
	memcpy(h + 136, "00000000000", 12);
	memset(h + 148, ' ', 8);
	h[156] = '0';
	memcpy(h + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	buf_append(tar, h, sizeof(h));
	buf_append_slice(tar, content);
	buf_append(tar, zeros, (512 - content.n % 512) % 512);
}

static void tar_end(struct buf *tar)
{
	static const char zeros[1024];

	buf_append(tar, zeros, sizeof(zeros));
}

static void make_archive(struct buf *archive)
{
	const char *path = getenv("TEMPS_SAMPLE_APP") ?: "tests/sample/app";
	struct buf layer, text;
	struct err err = { 0 };
	char hex[65], *app;
	size_t n;

	if (file_read(path, 16u << 20, &app, &n, &err))
		fail_msg("%s", err.text);
	buf_init(&layer, 0);
	tar_add(&layer, "app", 0755, slice_of(app, n));
	tar_end(&layer);
	free(app);
	crypto_sha256_hex(buf_slice(&layer), hex);
	buf_init(&text, 0);
	buf_printf(&text, "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/app\"],\"Labels\":{\"of\":\"%s\"}},"
		   "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}", w.cluster, hex);
	tar_add(archive, "config.json", 0644, buf_slice(&text));
	buf_clear(&text);
	buf_append_str(&text, "[{\"Config\":\"config.json\",\"RepoTags\":null,\"Layers\":[\"layer.tar\"]}]");
	tar_add(archive, "manifest.json", 0644, buf_slice(&text));
	tar_add(archive, "layer.tar", 0644, buf_slice(&layer));
	tar_end(archive);
	buf_fini(&text);
	buf_fini(&layer);
}

struct upload {
	struct outcome out;	/* first */
	struct buf bytes;
	size_t at;
	bool paused;
	struct link_op *op;
	struct loop_task again;
};

static void on_again(void *arg)
{
	struct upload *u = arg;

	w.link->ops->resume(u->op);
}

/* Pauses once in the middle. */
static ssize_t on_upload(void *arg, char *p, size_t n)
{
	struct upload *u = arg;

	if (u->at > u->bytes.len / 2 && !u->paused) {
		u->paused = true;
		loop_later(w.loop, &u->again);
		return -EAGAIN;
	}
	n = MIN(n, u->bytes.len - u->at);
	memcpy(p, u->bytes.data + u->at, n);
	u->at += n;
	return (ssize_t)n;
}

static void load_image(void)
{
	struct link_load load = { .tag = w.tag, .bytes = 1, .upload = on_upload };
	struct upload u = { 0 };

	buf_init(&u.bytes, 0);
	make_archive(&u.bytes);
	loop_task_init(&u.again, on_again, &u);
	u.op = w.link->ops->image_load(w.link, &load, on_image, &u);
	wait_for(&u.out.done);
	CHECK_STR("load", u.out.error, "");
	CHECK_INT("load", u.out.rc, 0);
	CHECK_INT("load paused", u.paused, true);
	CHECK_STR("architecture", u.out.more, "amd64");
	snprintf(w.image_id, sizeof(w.image_id), "%.79s", u.out.text);
	buf_fini(&u.bytes);
}

/* --- helpers --- */

static struct outcome deploy(struct link *link, const char *name, const char *hash, const char *key, const char *value,
			     uint16_t host_port, const char *network, const char *ip)
{
	struct wire_port port = { .host_ip = "127.0.0.1", .host_port = host_port, .container_port = 8080 };
	struct wire_deploy d = {
		.image_name = w.image_id,
		.ports = network ? NULL : &port,
		.nports = network ? 0 : 1,
		.network_name = network ? xstrdup(network) : NULL,
		.static_ip = ip ? xstrdup(ip) : NULL,
		.container_name = (char *)(uintptr_t)name,
		.spec_hash = (char *)(uintptr_t)hash,
		.restart_policy = WIRE_RESTART_NEVER,
	};
	struct outcome o = { 0 };

	pairs_add(&d.env, slice_str(key), slice_str(value));
	pairs_add(&d.labels, slice_str(WIRE_LABEL_CLUSTER), slice_str("somebody-else"));
	pairs_add(&d.labels, slice_str(WIRE_LABEL_APP), slice_str("hello"));
	link->ops->deploy(link, &d, on_deployed, &o);
	pairs_fini(&d.env);
	pairs_fini(&d.labels);
	free(d.network_name);
	free(d.static_ip);
	wait_for(&o.done);
	return o;
}

static struct outcome call_id(struct link_op *(*fn)(struct link *, const char *, link_done_fn *, void *), const char *id)
{
	struct outcome o = { 0 };

	fn(w.link, id, on_done, &o);
	wait_for(&o.done);
	return o;
}

static struct outcome info(struct link *link, const char *id)
{
	struct outcome o = { 0 };

	link->ops->info(link, id, on_info, &o);
	wait_for(&o.done);
	return o;
}

static struct outcome list(struct link *link)
{
	struct outcome o = { 0 };

	link->ops->list(link, on_list, &o);
	wait_for(&o.done);
	return o;
}

static struct outcome stop(const char *id)
{
	struct outcome o = { 0 };

	w.link->ops->stop(w.link, id, 5, on_done, &o);
	wait_for(&o.done);
	return o;
}

static const char *name_of(const char *suffix)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s-%s", w.cluster, suffix);
	return name;
}

/* A reader of streams: collects, and refuses everything once after <pause_at> bytes until told to go on. */
struct reader {
	struct outcome out;	/* first */
	struct buf text;
	struct link_op *op;
	size_t pause_at;
	bool paused, seen;
	const char *until;
};

static size_t on_stream(void *arg, const char *p, size_t n)
{
	struct reader *r = arg;

	if (r->pause_at && r->text.len >= r->pause_at && !r->paused) {
		r->paused = true;
		loop_stop(w.loop);
		return 0;
	}
	/* An odd number at a time, so that frames and lines are split. */
	n = MIN(n, 7u);
	buf_append(&r->text, p, n);
	if (r->until && strstr(r->text.data, r->until)) {
		r->seen = true;
		loop_stop(w.loop);
	}
	return n;
}

static void on_stream_done(void *arg, const struct link_result *res)
{
	take(arg, res);
}

static const struct link_stream reading = { .data = on_stream, .done = on_stream_done };

/* Takes in small bites until <flag>: what was not taken is asked for again. */
static void read_until(struct reader *r, const bool *flag)
{
	struct deadline tick;

	deadline_init(&tick, w.loop, on_poll, NULL);
	deadline_set(&w.limit, LIMIT_MS);
	while (!*flag) {
		deadline_set(&tick, 1);
		loop_run(w.loop);
		if (!*flag && !r->out.done)
			w.link->ops->resume(r->op);
	}
	deadline_set(&w.limit, 0);
	deadline_stop(&tick);
}

/* --- tests --- */

static void test_state(void **state)
{
	const struct engine_state *s = engine_state(w.engine);

	(void)state;
	CHECK_INT("state", s->ok, true);
	CHECK_INT("started", s->started_at_ms > 1600000000000ull, true);
	CHECK_INT("version", s->version[0] != '\0' && s->api_version[0] == '1', true);
}

static void test_images(void **state)
{
	static const struct { const char *name, *ref; int want; } cases[] = {
		{ "absent", "temps-test/none:1", -ENOENT },
		{ "not a reference", "a b", -EINVAL },
		{ "climbing", "../containers", -EINVAL },
	};
	struct outcome o = { 0 };

	(void)state;
	w.link->ops->image_inspect(w.link, w.tag, on_image, &o);
	wait_for(&o.done);
	CHECK_STR("by tag", o.text, w.image_id);
	CHECK_INT("its size", o.number > 10000, true);
	CHECK_INT("made here", o.n, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		o = (struct outcome){ 0 };
		w.link->ops->image_inspect(w.link, cases[i].ref, on_image, &o);
		CHECK_INT(cases[i].name, o.done, false);	/* never from inside */
		wait_for(&o.done);
		CHECK_INT(cases[i].name, o.rc, cases[i].want);
	}
}

static void load_as(const char *tag)
{
	struct link_load load = { .tag = tag, .upload = on_upload };
	struct upload u = { .paused = true };

	buf_init(&u.bytes, 0);
	make_archive(&u.bytes);
	w.link->ops->image_load(w.link, &load, on_image, &u);
	wait_for(&u.out.done);
	CHECK_STR(tag, u.out.error, "");
	buf_fini(&u.bytes);
}

static int has_image(const char *tag)
{
	struct outcome o = { 0 };

	w.link->ops->image_inspect(w.link, tag, on_image, &o);
	wait_for(&o.done);
	return o.rc;
}

/* A release that nobody can go back to any more loses its name; the others keep theirs. */
static void test_old_images_go(void **state)
{
	static const struct { unsigned release; int want; } cases[] = {
		{ 1, -ENOENT }, { 2, -ENOENT }, { 3, 0 }, { 13, 0 },
	};
	char tag[80];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(tag, sizeof(tag), "temps/%s:%u", w.cluster, cases[i].release);
		load_as(tag);
	}
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(tag, sizeof(tag), "temps/%s:%u", w.cluster, cases[i].release);
		/* It goes after the answer; the test's own limit ends the wait. */
		while (cases[i].want && !has_image(tag))
			;
		CHECK_INT(tag, has_image(tag), cases[i].want);
	}
}

/* Ends without being asked for a byte. */
static void test_no_room(void **state)
{
	struct link_load load = { .tag = w.tag, .bytes = 1ull << 62, .upload = on_upload };
	struct upload u = { 0 };

	(void)state;
	w.link->ops->image_load(w.link, &load, on_image, &u);
	wait_for(&u.out.done);
	CHECK_INT("refused", u.out.rc, -ENOSPC);
	CHECK_INT("says why", strstr(u.out.error, "it takes 4.0 EiB, and only ") != NULL, true);
	CHECK_INT("not read", u.at, 0);
}

/* What breaks off in the middle of a layer is an error inside a 200, and leaves no image. */
static void test_archive_ends_early(void **state)
{
	struct link_load load = { .tag = "temps-test/half:1", .upload = on_upload };
	struct outcome o = { 0 };
	struct upload u = { .paused = true };

	(void)state;
	buf_init(&u.bytes, 0);
	make_archive(&u.bytes);
	u.bytes.len /= 2;
	w.link->ops->image_load(w.link, &load, on_image, &u);
	wait_for(&u.out.done);
	CHECK_INT("refused", u.out.rc != 0 && u.out.error[0], true);
	w.link->ops->image_inspect(w.link, load.tag, on_image, &o);
	wait_for(&o.done);
	CHECK_INT("not there", o.rc, -ENOENT);
	buf_fini(&u.bytes);
}

static void test_pull_fails(void **state)
{
	struct reader r = { 0 };

	(void)state;
	buf_init(&r.text, 0);
	r.op = w.link->ops->image_pull(w.link, "127.0.0.1:1/none:1", "{\"username\":\"u\",\"password\":\"p?>\"}", &reading, &r);
	read_until(&r, &r.out.done);
	CHECK_INT("pull from nobody", r.out.rc, -EIO);
	CHECK_INT("says why", strstr(r.out.error, "refused") != NULL, true);
	buf_fini(&r.text);
}

static void test_life(void **state)
{
	struct outcome o, again;
	struct reader events = { .until = "\"destroy\"" };
	char id[65];

	(void)state;
	buf_init(&events.text, 0);
	events.op = w.link->ops->events(w.link, &reading, &events);
	o = deploy(w.link, name_of("life"), "h1", "GREETING", "hi=there", 0, NULL, NULL);
	CHECK_STR("deploy", o.error, "");
	CHECK_STR("status", o.more, "Running");
	CHECK_INT("host port", o.n > 0, true);
	CHECK_INT("started at", o.number > 1600000000000ull, true);
	snprintf(id, sizeof(id), "%.64s", o.text);

	again = deploy(w.link, name_of("life"), "h1", "GREETING", "hi=there", 0, NULL, NULL);
	CHECK_STR("the same again", again.text, id);
	CHECK_INT("not started again", again.number == o.number, true);
	again = deploy(w.link, name_of("life"), "h2", "GREETING", "hi", 0, NULL, NULL);
	CHECK_INT("another specification", again.rc, -EEXIST);

	o = info(w.link, name_of("life"));
	CHECK_STR("info", o.first.id, id);
	CHECK_STR("node", o.text, "node-1");
	CHECK_STR("environment", o.more, "hi=there");
	CHECK_INT("ports", o.first.nports, 1);
	CHECK_STR("host address", o.first.ports[0].host_ip, "127.0.0.1");
	o = list(w.link);
	CHECK_INT("list", o.n, 1);
	CHECK_STR("list", o.text, id);

	o = (struct outcome){ 0 };
	engine_stats(w.engine, id, on_stats, &o);
	wait_for(&o.done);
	CHECK_INT("memory", o.number > 0, true);

	CHECK_INT("stop", stop(id).rc, 0);
	CHECK_STR("stopped", info(w.link, id).first.status, "Exited");
	CHECK_INT("stop again", stop(id).rc, 0);
	again = deploy(w.link, name_of("life"), "h1", "GREETING", "hi=there", 0, NULL, NULL);
	CHECK_INT("the same, stopped", again.rc, -EEXIST);
	CHECK_INT("start", call_id(w.link->ops->start, id).rc, 0);
	CHECK_STR("started", info(w.link, id).first.status, "Running");
	CHECK_INT("remove", call_id(w.link->ops->remove, id).rc, 0);
	CHECK_INT("remove again", call_id(w.link->ops->remove, id).rc, -ENOENT);
	CHECK_INT("gone", info(w.link, id).rc, -ENOENT);

	read_until(&events, &events.seen);
	CHECK_INT("create event", strstr(events.text.data, "\"create\"") != NULL, true);
	CHECK_INT("die event", strstr(events.text.data, "\"die\"") != NULL, true);
	CHECK_INT("exit code", strstr(events.text.data, "\"exit_code\":0") != NULL, true);
	w.link->ops->cancel(events.op);
	buf_fini(&events.text);
}

static void test_events_keep_alive(void **state)
{
	struct reader r = { .until = "\n" };

	(void)state;
	buf_init(&r.text, 0);
	r.op = w.link->ops->events(w.link, &reading, &r);
	wait_for(&r.seen);
	CHECK_STR("an empty line", r.text.data, "\n");
	w.link->ops->cancel(r.op);
	buf_fini(&r.text);
}

static void test_logs(void **state)
{
	struct link_logs opt = { .tail = UINT32_MAX };
	struct reader r = { 0 }, tail = { .pause_at = 7, .until = "stopped after" };
	char id[65];

	(void)state;
	snprintf(id, sizeof(id), "%.64s", deploy(w.link, name_of("logs"), "h", "REPLICA", "seven", 0, NULL, NULL).text);
	CHECK_INT("stop", stop(id).rc, 0);
	buf_init(&r.text, 0);
	r.op = w.link->ops->logs(w.link, id, &opt, &reading, &r);
	read_until(&r, &r.out.done);
	CHECK_INT("logs", r.out.rc, 0);
	CHECK_STR("all of it", r.text.data,
		  "listening on port 8080 as replica seven release ?\nstopping\nstopped after 0 requests, 0 connections cut\n");

	CHECK_INT("start", call_id(w.link->ops->start, id).rc, 0);
	opt = (struct link_logs){ .follow = true, .tail = 1, .timestamps = true };
	buf_init(&tail.text, 0);
	tail.op = w.link->ops->logs(w.link, id, &opt, &reading, &tail);
	read_until(&tail, &tail.paused);
	CHECK_INT("a bite while paused", tail.text.len, 7);
	CHECK_INT("stop", stop(id).rc, 0);
	read_until(&tail, &tail.out.done);
	CHECK_INT("followed to the end", tail.out.rc, 0);
	CHECK_INT("the last words", strstr(tail.text.data, "stopped after") != NULL, true);
	CHECK_INT("timestamps", strncmp(tail.text.data, "20", 2), 0);
	CHECK_INT("remove", call_id(w.link->ops->remove, id).rc, 0);
	buf_fini(&r.text);
	buf_fini(&tail.text);
}

static void test_bad_deploys(void **state)
{
	struct outcome first, o;
	char id[80];

	(void)state;
	first = deploy(w.link, name_of("port-1"), "h", "A", "b", 0, NULL, NULL);
	CHECK_STR("first", first.error, "");
	o = deploy(w.link, name_of("port-2"), "h", "A", "b", (uint16_t)first.n, NULL, NULL);
	CHECK_INT("port taken", o.rc, -EADDRINUSE);
	CHECK_INT("says so", strstr(o.error, "allocated") != NULL, true);
	CHECK_INT("nothing stays", list(w.link).n, 1);
	CHECK_INT("remove", call_id(w.link->ops->remove, first.text).rc, 0);

	snprintf(id, sizeof(id), "%s", w.image_id);
	snprintf(w.image_id, sizeof(w.image_id), "temps-test/none:1");
	o = deploy(w.link, name_of("absent"), "h", "A", "b", 0, NULL, NULL);
	CHECK_INT("no such image", o.rc, -ENOENT);
	snprintf(w.image_id, sizeof(w.image_id), "%s", id);
	CHECK_INT("bad name", deploy(w.link, "a/b", "h", "A", "b", 0, NULL, NULL).rc, -EINVAL);
	o = deploy(w.link, name_of("exits"), "h", "EXIT_AT_START", "1", 0, NULL, NULL);
	CHECK_STR("exits at once", o.error, "");
	CHECK_INT("remove", call_id(w.link->ops->remove, o.text).rc, 0);
}

static void test_others(void **state)
{
	struct engine_config c = { .cluster_id = w.cluster, .node_name = "node-2" };
	struct engine *other;
	struct outcome o;
	char id[65];

	(void)state;
	assert_int_equal(engine_create(&other, w.loop, w.rpc, &c, NULL), 0);
	snprintf(id, sizeof(id), "%.64s", deploy(w.link, name_of("mine"), "h", "A", "b", 0, NULL, NULL).text);
	CHECK_INT("another node's list", list(engine_link(other)).n, 0);
	CHECK_INT("another node's container", info(engine_link(other), id).rc, -ENOENT);
	o = deploy(engine_link(other), name_of("mine"), "h", "A", "b", 0, NULL, NULL);
	CHECK_INT("its name", o.rc, -EEXIST);
	CHECK_INT("remove", call_id(w.link->ops->remove, id).rc, 0);
	engine_destroy(other);
}

static void test_network(void **state)
{
	struct outcome o = { 0 };
	char ip[46], id[65];
	unsigned a, b;

	(void)state;
	engine_network(w.engine, w.cluster, "10.212.77.0/24", on_network, &o);
	wait_for(&o.done);
	CHECK_STR("network", o.error, "");
	o = (struct outcome){ 0 };
	engine_network(w.engine, w.cluster, "10.99.0.0/16", on_network, &o);
	wait_for(&o.done);
	assert_int_equal(sscanf(o.text, "%u.%u.", &a, &b), 2);
	CHECK_STR("the existing subnet", o.text, "10.212.77.0/24");
	snprintf(ip, sizeof(ip), "%u.%u.77.9", a, b);
	o = deploy(w.link, name_of("net"), "h", "A", "b", 0, w.cluster, ip);
	CHECK_STR("static address", o.error, "");
	snprintf(id, sizeof(id), "%.64s", o.text);
	CHECK_STR("static address", info(w.link, id).first.ip, ip);
	CHECK_INT("remove", call_id(w.link->ops->remove, id).rc, 0);
}

static void test_no_engine(void **state)
{
	struct engine_config c = { .docker_host = "unix:///nonexistent/docker.sock", .cluster_id = "c", .node_name = "n" };
	struct engine *none;
	struct err err = { 0 };
	struct outcome o;

	(void)state;
	assert_int_equal(engine_create(&none, w.loop, w.rpc, &c, &err), 0);
	o = list(engine_link(none));
	CHECK_INT("nobody there", o.rc, -ECOMM);
	CHECK_INT("names it", strstr(o.error, "/nonexistent/docker.sock") != NULL, true);
	CHECK_INT("state", engine_state(none)->ok, false);
	/* With operations running. */
	o = (struct outcome){ 0 };
	engine_link(none)->ops->list(engine_link(none), on_list, &o);
	engine_destroy(none);
	CHECK_INT("cancelled", o.done, false);
	c.docker_host = "ftp://x";
	CHECK_INT("what host", engine_create(&none, w.loop, w.rpc, &c, &err), -EINVAL);
}

static void on_state(void *arg, const struct engine_state *s)
{
	(void)s;
	*(bool *)arg = true;
	loop_stop(w.loop);
}

static int setup(void **state)
{
	struct engine_config c = { .cluster_id = w.cluster, .node_name = "node-1" };
	char hex[9];
	bool known = false;

	(void)state;
	crypto_random_hex(hex, 4);
	snprintf(w.cluster, sizeof(w.cluster), "unit%s", hex);
	snprintf(w.tag, sizeof(w.tag), "temps-test/%s:1", w.cluster);
	assert_int_equal(loop_create(&w.loop, NULL), 0);
	assert_int_equal(rpc_create(&w.rpc, w.loop, NULL), 0);
	assert_int_equal(engine_create(&w.engine, w.loop, w.rpc, &c, NULL), 0);
	w.link = engine_link(w.engine);
	deadline_init(&w.limit, w.loop, on_limit, NULL);
	engine_watch_state(w.engine, on_state, &known);
	wait_for(&known);
	engine_watch_state(w.engine, NULL, NULL);
	load_image();
	return 0;
}

/* Straight to the engine: taking images and networks away is no operation of ours. */
static void on_swept(void *arg, const struct docker_result *res)
{
	struct outcome *o = arg;

	o->done = true;
	if (res->rc)
		fprintf(stderr, "left behind: %s\n", res->error);
	loop_stop(w.loop);
}

static void sweep(struct docker *d, const char *kind, const char *name)
{
	static const struct docker_ops ops = { .done = on_swept };
	struct outcome o = { 0 };
	char *path = xasprintf("/%s/%s", kind, name);

	docker_begin(d, &(struct docker_request){ .method = "DELETE", .path = path }, &ops, &o);
	free(path);
	wait_for(&o.done);
}

static int teardown(void **state)
{
	struct docker *d;

	(void)state;
	assert_int_equal(docker_create(&d, w.loop, w.rpc, NULL, NULL), 0);
	sweep(d, "networks", w.cluster);
	sweep(d, "images", w.tag);
	for (unsigned n = 3; n <= 13; n += 10) {
		char name[80];

		snprintf(name, sizeof(name), "temps/%s:%u", w.cluster, n);
		sweep(d, "images", name);
	}
	docker_destroy(d);
	deadline_stop(&w.limit);
	engine_destroy(w.engine);
	rpc_destroy(w.rpc);
	loop_destroy(w.loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state),	    cmocka_unit_test(test_images),
		cmocka_unit_test(test_old_images_go),
		cmocka_unit_test(test_no_room),	    cmocka_unit_test(test_archive_ends_early),
		cmocka_unit_test(test_pull_fails),  cmocka_unit_test(test_life),
		cmocka_unit_test(test_events_keep_alive), cmocka_unit_test(test_logs),
		cmocka_unit_test(test_bad_deploys), cmocka_unit_test(test_others),
		cmocka_unit_test(test_network),	    cmocka_unit_test(test_no_engine),
	};

	if (access("/var/run/docker.sock", R_OK | W_OK)) {
		fprintf(stderr, "no Docker Engine here\n");
		return getenv("CI") ? 1 : SKIPPED;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
