/* Opens and closes the parts of a control plane in their order, and waits for answers. */
#include "check.h"
#include "control_rig.h"

#include <dirent.h>
#include <unistd.h>

#include "control/dataplane.h"
#include "control/events.h"
#include "control/logs.h"
#include "control/nodes.h"

#define LIMIT_MS 10000
#define POLL_MS 10

static void on_limit(void *arg)
{
	(void)arg;
	fail_msg("nothing happened within 10 s");
}

static void open_front(struct rig *r)
{
	struct control *c = &r->c;
	struct dataplane_config data = { .loop = c->loop,
					 .reports = &deployer_data_reports,
					 .arg = c };
	struct front_config front;
	struct err err;

	c->dataplane = dataplane_create(&data);
	front_config_default(&front);
	assert_int_equal(front_create(&c->front, c->loop, c->work, &front, &dataplane_front_reports,
				      c->dataplane, &err),
			 0);
	dataplane_start(c->dataplane, c->front);
}

void rig_open(struct rig *r)
{
	struct control *c = &r->c;
	struct cluster_config cluster = { .cluster_id = "test", .loopback_nodes = true };
	struct links_config links = { .ca_pem = "", .reports = &nodes_reports, .arg = c };
	struct err err = { 0 };
	char store[80];

	snprintf(r->dir, sizeof(r->dir), "/tmp/control_rig.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(store, sizeof(store), "%s/store", r->dir);
	c->options = &r->options;
	assert_int_equal(loop_create(&c->loop, &err), 0);
	assert_int_equal(work_create(&c->work, c->loop, "work", 10, &err), 0);
	assert_int_equal(rpc_create(&c->rpc, c->loop, &err), 0);
	assert_int_equal(store_open(&c->store, c->loop, store, &err), 0);
	c->events = events_create(c->loop);
	c->logs = logs_create(c);
	links.loop = c->loop;
	links.rpc = c->rpc;
	c->links = links_create(&links);
	open_front(r);
	hash_key_random(&cluster.hash_key);
	assert_int_equal(deployer_create(&c->deployer, c, &cluster, &err), 0);
	deployer_start(c->deployer);
	deadline_init(&r->limit, c->loop, on_limit, r);
}

static void remove_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char file[512];

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		if (unlink(file) < 0)
			remove_dir(file);
	}
	if (d)
		closedir(d);
	(void)rmdir(path);
}

void rig_close(struct rig *r)
{
	struct control *c = &r->c;

	deadline_stop(&r->limit);
	links_destroy(c->links);
	logs_destroy(c->logs);
	deployer_destroy(c->deployer);
	dataplane_destroy(c->dataplane);
	front_destroy(c->front);
	store_close(c->store);
	events_destroy(c->events);
	rpc_destroy(c->rpc);
	work_destroy(c->work);
	loop_destroy(c->loop);
	remove_dir(r->dir);
}

static void on_reply(void *arg, const struct effect_reply *e)
{
	struct rig *r = arg;

	r->answered = true;
	r->refused = !e;
	if (e) {
		r->kind = e->kind;
		r->node_id = e->node_id;
		snprintf(r->id, sizeof(r->id), "%s", e->id ? e->id : "");
	}
	loop_stop(r->c.loop);
}

void rig_command(struct rig *r, struct cluster_event *e, uint64_t *reply)
{
	r->answered = r->refused = false;
	*reply = deployer_expect(r->c.deployer, on_reply, r);
	deployer_step(r->c.deployer, e);
	deadline_set(&r->limit, LIMIT_MS);
	if (!r->answered)
		loop_run(r->c.loop);
	deadline_set(&r->limit, 0);
}

static void on_poll(void *arg)
{
	struct rig *r = arg;

	loop_stop(r->c.loop);
}

void rig_until(struct rig *r, bool (*done)(void *arg), void *arg)
{
	struct deadline poll;

	deadline_init(&poll, r->c.loop, on_poll, r);
	deadline_set(&r->limit, LIMIT_MS);
	while (!done(arg)) {
		deadline_set(&poll, POLL_MS);
		loop_run(r->c.loop);
	}
	deadline_stop(&poll);
	deadline_set(&r->limit, 0);
}
