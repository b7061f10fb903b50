/* The calls that a replica's states ask for, filled in. */
#include <inttypes.h>
#include <stdio.h>

#include "sched/state.h"

#define TAIL_LINES 100u

void replica_fill_op(struct cluster *c, struct op *op, const struct replica *r, uint64_t seq)
{
	op->app = batch_str(c->batch, r->app->name);
	op->replica = r->n;
	op->seq = seq;
}

static struct effect *call(struct cluster *c, struct replica *r, enum effect_type type,
			   enum await what, struct op *op, uint64_t limit_ms)
{
	struct effect *e = batch_effect(c->batch, type);

	r->op_seq = cluster_op(c);
	replica_fill_op(c, op, r, r->op_seq);
	replica_await(c, r, what, limit_ms);
	return e;
}

void replica_call(struct cluster *c, struct replica *r, enum effect_type type, enum await what,
		  uint64_t limit_ms)
{
	struct op op;
	struct effect *e = call(c, r, type, what, &op, limit_ms);
	uint32_t grace_s = r->release ? r->release->spec.stop_grace_s : 0;

	e->container.op = op;
	e->container.node_id = r->node->id;
	e->container.container_id = batch_str(c->batch, r->container_id);
	e->container.name = batch_str(c->batch, r->name);
	if (type == EFFECT_STOP)
		e->container.grace_s = grace_s ? grace_s : c->config.stop_grace_s;
	if (type == EFFECT_LOG_TAIL)
		e->container.lines = TAIL_LINES;
}

void replica_call_image(struct cluster *c, struct replica *r)
{
	struct op op;
	struct effect *e =
		call(c, r, EFFECT_IMAGE_ENSURE, AWAIT_IMAGE, &op, c->config.image_limit_ms);

	e->image.op = op;
	e->image.node_id = r->node->id;
	e->image.release = r->release_n;
	e->image.image = batch_str(c->batch, r->release->spec.image);
	e->image.image_id = batch_str(c->batch, r->release->image_id);
}

static void add_pair(struct pairs *p, const char *key, const char *value)
{
	p->items[p->n].key = key;
	p->items[p->n++].value = value;
}

static void fill_labels(struct cluster *c, struct effect_create *e, const struct replica *r)
{
	struct batch *b = c->batch;

	e->labels.items = batch_alloc(b, 3 * sizeof(*e->labels.items));
	add_pair(&e->labels, "sh.temps.app", batch_str(b, r->app->name));
	add_pair(&e->labels, "sh.temps.release", batch_printf(b, "%" PRIu32, r->release_n));
	add_pair(&e->labels, "sh.temps.replica", batch_printf(b, "%" PRIu32, r->n));
}

/* The user's variables, and those that say where the program finds itself unless the user set them. */
static void fill_env(struct cluster *c, struct effect_create *e, const struct replica *r)
{
	const struct app_spec *s = &r->release->spec;
	struct batch *b = c->batch;
	const struct pair own[] = {
		{ "PORT", s->port ? batch_printf(b, "%u", s->port) : NULL },
		{ "TEMPS_APP", batch_str(b, r->app->name) },
		{ "TEMPS_RELEASE", batch_printf(b, "%" PRIu32, r->release_n) },
		{ "TEMPS_REPLICA", batch_printf(b, "%" PRIu32, r->n) },
		{ "TEMPS_NODE", batch_str(b, r->node->name) },
	};

	e->env.items = batch_alloc(b, (s->env.n + ARRAY_LEN(own)) * sizeof(*e->env.items));
	for (size_t i = 0; i < s->env.n; i++)
		add_pair(&e->env, batch_str(b, s->env.items[i].key),
			 batch_str(b, s->env.items[i].value));
	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		if (own[i].value && !pairs_get(&s->env, own[i].key) &&
		    !pairs_get(&s->secrets, own[i].key))
			add_pair(&e->env, own[i].key, own[i].value);
	}
}

/* Over everything that makes one container differ from another. */
static void fill_hash(struct cluster *c, struct effect_create *e, struct replica *r)
{
	struct json_out o;
	struct buf text;

	buf_init(&text, 0);
	json_out_init(&o, &text);
	json_obj(&o, NULL);
	json_put_str(&o, "name", e->name);
	json_put_str(&o, "image_id", e->image_id);
	pairs_put(&e->env, &o, "env");
	/* Those of the releases before there were any keep their hash. */
	if (e->secrets.n)
		pairs_put(&e->secrets, &o, "secrets");
	strs_put(&e->command, &o, "command");
	json_put_str(&o, "ip", r->ip);
	json_put_int(&o, "port", r->port);
	json_put_int(&o, "container_port", e->container_port);
	json_put_int(&o, "cpu_millis", e->cpu_millis);
	json_put_int(&o, "memory_bytes", (int64_t)e->memory_bytes);
	if (e->volumes.n)
		pairs_put(&e->volumes, &o, "volumes");
	if (e->health_command.n)
		strs_put(&e->health_command, &o, "health_command");
	if (e->once)
		json_put_bool(&o, "once", true);
	if (e->cards)
		json_put_int(&o, "cards", (int64_t)e->cards);
	json_obj_end(&o);
	spec_hash_bytes(buf_slice(&text), r->spec_hash);
	buf_fini(&text);
	e->spec_hash = batch_str(c->batch, r->spec_hash);
}

void replica_call_create(struct cluster *c, struct replica *r)
{
	const struct app_spec *s = &r->release->spec;
	struct effect_create e = { .node_id = r->node->id, .release = r->release_n };
	struct effect *out = call(c, r, EFFECT_CREATE, AWAIT_CREATE, &e.op, c->config.rpc_limit_ms);

	e.name = batch_str(c->batch, r->name);
	e.image = batch_str(c->batch, s->image);
	e.image_id = batch_str(c->batch, r->release->image_id);
	batch_strs(c->batch, &e.command, r->hook ? &s->pre_deploy : &s->command);
	e.once = r->hook;
	if (!r->hook) {
		e.container_port = s->port;
		batch_pairs(c->batch, &e.volumes, &s->volumes);
		batch_strs(c->batch, &e.health_command, &s->health_command);
		if (s->health_command.n)
			batch_pairs(c->batch, &e.policy, &s->policy);
		e.health_start_ms = s->health_start_ms;
	}
	/* From now on they may be there. */
	if (e.volumes.n && r->app->volume_node != r->node->id) {
		r->app->volume_node = r->node->id;
		app_dirty(c, r->app);
	}
	e.cpu_millis = s->cpu_millis;
	e.memory_bytes = s->memory_bytes;
	promise_cards(r);
	e.cards = r->cards;
	e.stop_grace_s = s->stop_grace_s ? s->stop_grace_s : c->config.stop_grace_s;
	if (r->port && r->published) {
		e.host_ip = batch_str(c->batch, r->ip);
		e.host_port = r->port;
	} else if (r->port) {
		e.static_ip = batch_str(c->batch, r->ip);
	}
	fill_env(c, &e, r);
	batch_pairs(c->batch, &e.secrets, &s->secrets);
	fill_hash(c, &e, r);
	fill_labels(c, &e, r);
	out->create = e;
	replica_dirty(c, r);
}
