#include "control/predecessors.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "control/control.h"
#include "control/deployer.h"
#include "control/routing.h"
#include "reactor/channel.h"

struct predecessor {
	struct list link;
	struct predecessors *all;
	struct channel *channel;
	uint32_t bit; /* in leaving.waits */
	int64_t pid;  /* 0: it has not said */
	int64_t connections;
	struct map busy; /* struct busy: endpoints that it has requests of */
	struct loop_reap reap;
};

struct busy {
	uint32_t in_flight;
	char *key;
};

/* An endpoint that was routed out while somebody drained. */
struct leaving {
	char *key;
	struct endpoint_ref ref; /* owned texts */
	uint32_t waits;		 /* for whom */
	bool ours_done;
};

struct predecessors {
	struct control *control;
	struct list list;
	struct map leaving;
	bool handed_over;
	struct predecessor *last; /* it has to let go; NULL */
	void (*go_on)(void *arg); /* NULL: not asked for, or done */
	void *arg;
};

struct predecessors *predecessors_create(struct control *c)
{
	struct predecessors *p = xcalloc(1, sizeof(*p));
	struct hash_key key;

	p->control = c;
	list_init(&p->list);
	hash_key_random(&key);
	map_init(&p->leaving, &key);
	return p;
}

/* ---- endpoints that leave ---- */

static char *ref_key(const struct endpoint_ref *r)
{
	return xasprintf("%s/%u/%s/%s", r->app, r->replica, r->container_id, r->started_at);
}

/* It is not in the map any more. */
static void leaving_free(struct leaving *l)
{
	free((char *)(uintptr_t)l->ref.app);
	free((char *)(uintptr_t)l->ref.container_id);
	free((char *)(uintptr_t)l->ref.started_at);
	free(l->key);
	free(l);
}

static struct leaving *leaving_find(const struct predecessors *p, const struct endpoint_ref *ref)
{
	char *key = ref_key(ref);
	struct leaving *l = map_get(&p->leaving, slice_str(key));

	free(key);
	return l;
}

static void wait_for_all(struct predecessors *p, const struct endpoint_ref *ref)
{
	struct leaving *l = leaving_find(p, ref);

	if (!l) {
		l = xcalloc(1, sizeof(*l));
		l->key = ref_key(ref);
		l->ref = (struct endpoint_ref){ xstrdup(ref->app), ref->replica,
						xstrdup(ref->container_id),
						xstrdup(ref->started_at) };
		map_put(&p->leaving, slice_str(l->key), l);
	}
	LIST_FOR_EACH(one, &p->list, struct predecessor, link)
		l->waits |= one->bit;
}

static void wait_is_over(struct predecessors *p, struct leaving *l, uint32_t bit)
{
	struct cluster_event e = { .type = EVENT_DRAINED, .drained = { l->ref } };

	l->waits &= ~bit;
	if (l->waits || !l->ours_done)
		return;
	map_del(&p->leaving, slice_str(l->key));
	deployer_step(p->control->deployer, &e);
	leaving_free(l);
}

bool predecessors_drained(struct predecessors *p, const struct endpoint_ref *ref)
{
	struct leaving *l = p ? leaving_find(p, ref) : NULL;

	if (!l)
		return true;
	l->ours_done = true;
	if (l->waits)
		return false;
	map_del(&p->leaving, slice_str(l->key));
	leaving_free(l);
	return true;
}

/* ---- talking ---- */

static void on_message(void *arg, struct slice text, const int *take_fds, size_t n);
static void on_gone(void *arg);

static void forget_busy(struct predecessor *one)
{
	struct busy *b;
	uint32_t at = 0;

	while ((b = map_next(&one->busy, &at))) {
		free(b->key);
		free(b);
	}
	map_fini(&one->busy);
}

static void busy_init(struct predecessor *one)
{
	struct hash_key key;

	hash_key_random(&key);
	map_init(&one->busy, &key);
}

static void take_report(struct predecessor *one, const struct json *report)
{
	const struct json *list = json_get(report, "endpoints");

	forget_busy(one);
	busy_init(one);
	one->pid = json_int(json_get(report, "pid"), 0);
	one->connections = json_int(json_get(report, "connections"), 0);
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *item = json_at(list, i);
		struct endpoint_ref ref;
		struct busy *b;

		if (routing_read_ref(&ref, item))
			continue;
		b = xcalloc(1, sizeof(*b));
		b->in_flight = (uint32_t)json_int(json_get(item, "in_flight"), 0);
		b->key = ref_key(&ref);
		b = map_put(&one->busy, slice_str(b->key), b);
		if (b) { /* twice */
			free(b->key);
			free(b);
		}
	}
}

static void predecessor_free(void *arg)
{
	forget_busy(arg);
	free(arg);
}

static void let_go(struct predecessors *p)
{
	void (*fn)(void *arg) = p->go_on;

	p->last = NULL;
	p->go_on = NULL;
	if (fn)
		fn(p->arg);
}

static void lose(struct predecessor *one)
{
	struct predecessors *p = one->all;
	struct leaving *l;
	uint32_t at = 0;
	bool again = true;

	channel_close(one->channel);
	list_remove(&one->link);
	/* A step may change the map under the walk: then it begins anew. */
	while (again) {
		again = false;
		at = 0;
		while (!again && (l = map_next(&p->leaving, &at))) {
			again = l->waits & one->bit;
			if (again)
				wait_is_over(p, l, one->bit);
		}
	}
	loop_defer(p->control->loop, &one->reap, predecessor_free, one);
	if (p->last == one)
		let_go(p);
}

static void on_gone(void *arg)
{
	struct predecessor *one = arg;

	log_info("an old process that drained has ended");
	lose(one);
}

static void on_message(void *arg, struct slice text, const int *take_fds, size_t n)
{
	struct predecessor *one = arg;
	struct predecessors *p = one->all;
	const struct json *drained;
	struct endpoint_ref ref;
	struct leaving *l;
	struct json *j;

	(void)take_fds; /* nobody sends any */
	(void)n;
	if (json_parse(&j, text, NULL))
		return;
	drained = json_get(j, "drained");
	if (drained && routing_read_ref(&ref, drained) == 0) {
		l = leaving_find(p, &ref);
		if (l)
			wait_is_over(p, l, one->bit);
	} else if (json_get(j, "draining")) {
		take_report(one, json_get(j, "draining"));
	} else if (json_get(j, "go") && p->last == one) {
		let_go(p);
	}
	json_free(j);
}

void predecessors_add(struct predecessors *p, int take_fd)
{
	struct predecessor *one = xcalloc(1, sizeof(*one));
	uint32_t taken = 0;

	LIST_FOR_EACH(other, &p->list, struct predecessor, link)
		taken |= other->bit;
	for (one->bit = 1; one->bit & taken;)
		one->bit <<= 1;
	one->all = p;
	busy_init(one);
	one->channel = channel_open(p->control->loop, take_fd, on_message, on_gone, one);
	list_push_back(&p->list, &one->link);
	p->last = one;
}

uint32_t predecessors_count(const struct predecessors *p)
{
	uint32_t n = 0;

	LIST_FOR_EACH(one, &p->list, struct predecessor, link)
		n++;
	return n;
}

static void say(struct predecessor *one, struct slice text)
{
	int rc = channel_send(one->channel, text, NULL, 0);

	if (rc == -EMSGSIZE) {
		log_warn("an old process that drains does not learn of a change: too large");
	} else if (rc) {
		log_warn("an old process that drains is given up: %s", strerror(-rc));
		lose(one);
	}
}

void predecessors_take_over(struct predecessors *p, void (*go_on)(void *arg), void *arg)
{
	p->go_on = go_on;
	p->arg = arg;
	if (p->last)
		say(p->last, SLICE("{\"ready\":{}}"));
}

static void say_all(struct predecessors *p, struct slice text)
{
	if (p->handed_over)
		return;
	LIST_FOR_EACH_SAFE(one, &p->list, struct predecessor, link)
		say(one, text);
}

void predecessors_tell(struct predecessors *p, const struct effect *e)
{
	const struct endpoint_at *at = &e->route.endpoint;
	struct endpoint_ref ref = { at->app, at->replica, at->container_id, at->started_at };
	struct buf text;

	if (!p || list_empty(&p->list) || !routing_is(e->type))
		return;
	if (e->type == EFFECT_ROUTE_OUT)
		wait_for_all(p, &ref);
	buf_init(&text, 0);
	routing_put(&text, e);
	say_all(p, buf_slice(&text));
	buf_fini(&text);
}

uint32_t predecessors_in_flight(const struct predecessors *p, const struct endpoint_ref *ref)
{
	uint32_t n = 0;
	char *key;

	if (!p || list_empty(&p->list))
		return 0;
	key = ref_key(ref);
	LIST_FOR_EACH(one, &p->list, struct predecessor, link) {
		const struct busy *b = map_get(&one->busy, slice_str(key));

		n += b ? b->in_flight : 0;
	}
	free(key);
	return n;
}

void predecessors_emit(const struct predecessors *p, struct json_out *o, const char *name)
{
	json_arr(o, name);
	if (p) {
		LIST_FOR_EACH(one, &p->list, struct predecessor, link) {
			json_obj(o, NULL);
			json_put_int(o, "pid", one->pid);
			json_put_int(o, "connections", one->connections);
			json_obj_end(o);
		}
	}
	json_arr_end(o);
}

void predecessors_stop(struct predecessors *p)
{
	say_all(p, SLICE("{\"stop\":{}}"));
}

size_t predecessors_hand_over(struct predecessors *p, int *fds)
{
	size_t n = 0;

	p->handed_over = true;
	LIST_FOR_EACH_SAFE(one, &p->list, struct predecessor, link) {
		if (channel_is_behind(one->channel)) {
			log_warn("an old process that drains does not read, it is given up");
			lose(one);
			continue;
		}
		channel_pause(one->channel);
		fds[n++] = channel_fd(one->channel);
	}
	return n;
}

void predecessors_resume(struct predecessors *p)
{
	p->handed_over = false;
	LIST_FOR_EACH(one, &p->list, struct predecessor, link)
		channel_resume(one->channel);
}

void predecessors_destroy(struct predecessors *p)
{
	struct leaving *l;
	uint32_t at = 0;

	if (!p)
		return;
	LIST_FOR_EACH_SAFE(one, &p->list, struct predecessor, link) {
		channel_close(one->channel);
		list_remove(&one->link);
		loop_defer(p->control->loop, &one->reap, predecessor_free, one);
	}
	while ((l = map_next(&p->leaving, &at)))
		leaving_free(l);
	map_fini(&p->leaving);
	free(p);
}
