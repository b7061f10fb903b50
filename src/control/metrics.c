/* A scrape: the table's rows one after the other, a sample at a time, in pieces that a turn can
 * afford. */
#include "control/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api.h"
#include "control/deployer.h"
#include "control/pieces.h"
#include "control/process.h"
#include "proxy/route.h"
#include "proxy/walk.h"
#include "reactor/stream.h"

#define POOLS_MAX 32

struct scrape {
	struct pieces pieces; /* first */
	struct work_job job;  /* reads the process's numbers */
	struct control *control;
	bool reading; /* the job is with the work thread */
	bool gone;    /* the client is */
	struct process_stats process;
	struct cluster_numbers cluster;
	const struct pool *pools[POOLS_MAX];
	unsigned npools;
	size_t row;   /* the first of the family under way */
	bool walking; /* its head is out */
	struct walk walk;
	uint32_t walked; /* of the family's upstreams, endpoints or pools */
	struct buf labels;
};

/* ---- where the numbers are ---- */

static void count_nodes(struct cluster_numbers *n, const struct cluster *c)
{
	LIST_FOR_EACH(node, cluster_nodes(c), struct node, link) {
		n->nodes_offline += node->offline;
		n->nodes_suspect += node->suspect && !node->offline;
		n->nodes_ok += !node->suspect && !node->offline;
		n->nodes_active += node->intent == NODE_ACTIVE;
		n->nodes_draining += node->intent == NODE_DRAINING;
		n->nodes_drained += node->intent == NODE_DRAINED;
	}
}

static void count_cluster(struct cluster_numbers *n, const struct control *c)
{
	const struct cluster *cluster = deployer_cluster(c->deployer);

	*n = (struct cluster_numbers){
		.apps = cluster_counts(cluster).apps,
		.braked = cluster_braked(cluster),
		.refuses = deployer_refuses(c->deployer) != NULL,
		.routes = route_count(c->front),
	};
	count_nodes(n, cluster);
	LIST_FOR_EACH(a, cluster_apps(cluster), struct app, link)
		LIST_FOR_EACH(r, &a->replicas, struct replica, link)
			n->replicas[r->state]++;
}

union scratch {
	struct build_numbers build;
	struct store_stats store;
	struct work_stats work;
	struct rpc_stats rpc;
	struct deployer_stats deployer;
	struct certs_stats certs;
};

/* The struct that process-wide rows of <of> read from; <tmp> is room for one that is made. */
static const void *source(const struct scrape *s, enum metric_of of, union scratch *tmp)
{
	const struct control *c = s->control;

	switch (of) {
	case OF_BUILD: tmp->build = (struct build_numbers){ .one = 1 }; return tmp;
	case OF_SERVER: return server_stats(c->server);
	case OF_STREAM: return stream_counters(c->loop);
	case OF_FRONT: return front_stats(c->front);
	case OF_LOG: return front_log_stats(c->front);
	case OF_CLIENT: return front_client_stats(c->front);
	case OF_LOOP: return loop_stats(c->loop);
	case OF_STORE: tmp->store = store_stats(c->store); return tmp;
	case OF_WORK: tmp->work = work_stats(c->work); return tmp;
	case OF_RPC: tmp->rpc = rpc_stats(c->rpc); return tmp;
	case OF_DEPLOYER: tmp->deployer = deployer_stats(c->deployer); return tmp;
	case OF_CERTS: tmp->certs = certs_stats(c->certs); return tmp;
	case OF_CLUSTER: return &s->cluster;
	case OF_PROCESS: return &s->process;
	default: return NULL;
	}
}

/* ---- samples ---- */

static uint64_t number(const void *from, size_t size)
{
	uint64_t u64;
	uint32_t u32;

	switch (size) {
	case sizeof(u64): memcpy(&u64, from, sizeof(u64)); return u64;
	case sizeof(u32): memcpy(&u32, from, sizeof(u32)); return u32;
	default: return *(const uint8_t *)from;
	}
}

static void put_row(struct buf *out, const struct metric *m, struct slice labels, const void *of)
{
	const char *at = (const char *)of + m->at;
	const struct histogram *h;

	if (m->type != EXPOSE_HISTOGRAM) {
		expose_sample(out, m->name, labels, number(at, m->size), m->decimals);
		return;
	}
	h = (const void *)at;
	if (m->size != sizeof(*h))
		memcpy(&h, at, sizeof(h));
	expose_histogram(out, m->name, labels, h, m->bounds);
}

static bool in_family(const struct scrape *s, size_t row)
{
	return row < metrics_table_n &&
	       strcmp(metrics_table[row].name, metrics_table[s->row].name) == 0;
}

/* The family's rows for one thing, whose labels are in s->labels. */
static void put_rows(struct scrape *s, const void *of)
{
	size_t own = s->labels.len;

	for (size_t i = s->row; in_family(s, i); i++) {
		const struct metric *m = &metrics_table[i];

		if (m->labels)
			buf_printf(&s->labels, "%s%s", own ? "," : "", m->labels);
		put_row(&s->pieces.out, m, buf_slice(&s->labels), of);
		s->labels.len = own;
	}
}

static bool put_pool(struct scrape *s)
{
	const struct pool *p;

	if (s->walked == s->npools)
		return false;
	p = s->pools[s->walked++];
	expose_label(&s->labels, "pool", slice_str(p->name));
	put_rows(s, p);
	return true;
}

static bool put_upstream(struct scrape *s)
{
	struct upstream *u = s->walked++ < METRICS_UPSTREAMS_MAX ? walk_upstream(&s->walk) : NULL;
	struct upstream_stats stats;

	if (!u)
		return false;
	upstream_stats(u, &stats);
	expose_label(&s->labels, "upstream", slice_str(upstream_name(u)));
	put_rows(s, &stats);
	return true;
}

static bool put_endpoint(struct scrape *s)
{
	struct endpoint *e = s->walked++ < METRICS_ENDPOINTS_MAX ? walk_endpoint(&s->walk) : NULL;
	struct endpoint_view v;
	char name[96];
	int n;

	if (!e)
		return false;
	endpoint_view(e, &v);
	n = snprintf(name, sizeof(name), v.twin ? "%s#%u" : "%s", v.at->text, v.twin);
	expose_label(&s->labels, "upstream", slice_str(upstream_name(endpoint_upstream(e))));
	expose_label(&s->labels, "endpoint", slice_of(name, (size_t)n));
	put_rows(s, &v);
	return true;
}

static bool put_process_wide(struct scrape *s)
{
	union scratch tmp;

	if (s->walked++)
		return false;
	put_rows(s, source(s, metrics_table[s->row].of, &tmp));
	return true;
}

/* The next samples of the family under way; false: it has no more. */
static bool put_next(struct scrape *s)
{
	buf_clear(&s->labels);
	switch (metrics_table[s->row].of) {
	case OF_POOL: return put_pool(s);
	case OF_UPSTREAM: return put_upstream(s);
	case OF_ENDPOINT: return put_endpoint(s);
	default: return put_process_wide(s);
	}
}

static void begin_family(struct scrape *s)
{
	const struct metric *m = &metrics_table[s->row];

	expose_family(&s->pieces.out, m->name, m->type, m->help);
	walk_begin(&s->walk, s->control->front);
	s->walking = true;
	s->walked = 0;
}

static void end_family(struct scrape *s)
{
	size_t next = s->row;

	while (in_family(s, next))
		next++;
	s->row = next;
	walk_end(&s->walk);
	s->walking = false;
}

/* A few samples more; false: that was all. */
static bool step(void *arg)
{
	struct scrape *s = arg;

	if (s->row == metrics_table_n)
		return false;
	if (!s->walking)
		begin_family(s);
	if (!put_next(s))
		end_family(s);
	return true;
}

/* ---- the answer ---- */

bool scrape_begin(struct api_request *r)
{
	struct control *c = r->app;

	if (c->scrapes < METRICS_SCRAPES_MAX) {
		c->scrapes++;
		return true;
	}
	reply_field(r, "Retry-After", "1");
	reply_problem(r, 503, "Too Many Scrapes", "others are reading the counters");
	return false;
}

void scrape_end(struct control *c)
{
	c->scrapes--;
}

static void on_pool(void *arg, const struct pool *p)
{
	struct scrape *s = arg;

	if (s->npools < POOLS_MAX)
		s->pools[s->npools++] = p;
}

static void answer(struct scrape *s)
{
	struct control *c = s->control;

	count_cluster(&s->cluster, c);
	server_each_pool(c->server, on_pool, s);
	front_each_pool(c->front, on_pool, s);
	on_pool(s, tls_server_pool(c->tls));
	pieces_answer(&s->pieces, EXPOSE_CONTENT_TYPE);
}

static void scrape_free(struct scrape *s)
{
	if (s->walking)
		walk_end(&s->walk);
	pieces_fini(&s->pieces);
	buf_fini(&s->labels);
	scrape_end(s->control);
	free(s);
}

static void on_closed(void *state)
{
	struct scrape *s = state;

	s->gone = true;
	if (!s->reading)
		scrape_free(s);
}

static void run_read(struct work_job *job)
{
	process_read(&CONTAINER_OF(job, struct scrape, job)->process);
}

static void on_read(struct work_job *job)
{
	struct scrape *s = CONTAINER_OF(job, struct scrape, job);

	s->reading = false;
	if (s->gone)
		scrape_free(s);
	else
		answer(s);
}

void api_metrics(struct api_request *r)
{
	struct control *c = r->app;
	struct scrape *s;

	if (!scrape_begin(r))
		return;
	s = xcalloc(1, sizeof(*s));
	s->control = c;
	s->job.run = run_read;
	s->job.done = on_read;
	pieces_init(&s->pieces, r, step, s);
	buf_init(&s->labels, 0);
	r->state = s;
	r->closed = on_closed;
	s->reading = work_submit(c->work, &s->job) == 0;
	if (s->reading)
		return;
	/* The work thread has too much to do: a late turn, rather than no metrics just then. */
	process_read(&s->process);
	answer(s);
}
