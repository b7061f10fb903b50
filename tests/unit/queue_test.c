/* Limits and the queue under random schedules: the real relay and real upstream sockets, clients
 * and servers played by the test in the same process. QUEUE_SEED is another schedule; `make soak` gives
 * a new one, and it is printed.
 *
 * After every turn: no endpoint has more requests in flight than it may; those who wait leave first
 * in, first out; nobody waits while an endpoint would take it; what is counted is what is there. In
 * the end every request has got exactly one answer or was cut. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "asker.h"
#include "door.h"
#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/relay.h"
#include "proxy/route.h"

#define HOST "queue.test"
#define REQUESTS 160 /* at once */
#define SERVERS 6
#define CONNS 64 /* a server's */
#define STEPS 700

struct request { /* a client's; free when !open */
	struct asker asker;
	bool open, was_held;
	uint8_t attempts;
	char cookie[64];
};

struct server {
	struct addr at;
	int listener;
	struct endpoint *endpoint; /* NULL: not there, or draining */
	struct conn {
		int fd; /* -1: free */
		bool asked;
	} conns[CONNS];
};

struct world {
	struct loop *loop;
	struct front *front;
	struct upstream *u;
	const struct upstream_policy *policy;
	struct request requests[REQUESTS];
	struct server servers[SERVERS];
	uint64_t random, begun, ended, answered[6];
	uint32_t most_waiting, served;
	char cookies[8][64]; /* given lately */
	unsigned ncookies;
};

static uint32_t below(struct world *w, uint32_t n)
{
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((w->random >> 33) % n);
}

/* ---- clients ---- */

static struct world *the_world; /* an exchange does not know it */

static struct request *request_of(struct exchange *x)
{
	return CONTAINER_OF(asker_of(x), struct request, asker);
}

static void on_head(struct asker *a, const struct head *h)
{
	const struct field *cookie = head_field(h, FIELD_SET_COOKIE);
	struct slice rest;

	(void)a;
	if (cookie)
		(void)!slice_copy(slice_split(cookie->value, ';', &rest),
				  the_world->cookies[the_world->ncookies++ % 8], 64);
}

static void begin_request(struct world *w)
{
	struct request *r = &w->requests[below(w, REQUESTS)];

	if (r->open)
		return;
	memset(r, 0, sizeof(*r));
	r->open = true;
	asker_init(&r->asker, w->loop, HOST, "/");
	r->asker.on_head = on_head;
	if (below(w, 4) == 0) {
		r->asker.x.req.method = SLICE("POST");
		r->asker.x.req.method_id = METHOD_POST;
	}
	memcpy(r->cookie, w->cookies[below(w, 8)], sizeof(r->cookie));
	if (*r->cookie && below(w, 2))
		head_add(&r->asker.x.req, FIELD_COOKIE, slice_str(r->cookie));
	w->begun++;
	asker_ask(&r->asker, w->front);
}

static void close_request(struct world *w, struct request *r, const char *why)
{
	w->ended++;
	w->answered[r->asker.x.status / 100 % 6]++;
	r->open = false;
	asker_close(&r->asker, why);
}

/* ---- servers ---- */

static void drop(struct conn *c)
{
	close(c->fd);
	*c = (struct conn){ .fd = -1 };
}

static void read_some(struct conn *c)
{
	char text[2048];
	ssize_t n = recv(c->fd, text, sizeof(text), MSG_DONTWAIT);

	if (n > 0)
		c->asked = true;
	else if (n == 0 || errno != EAGAIN)
		drop(c);
}

/* Takes connections and requests, answers none. */
static void look(struct server *s)
{
	for (unsigned i = 0; i < CONNS; i++) {
		struct conn *c = &s->conns[i];

		if (c->fd < 0)
			c->fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (c->fd >= 0)
			read_some(c);
	}
}

static struct conn *asked(struct world *w)
{
	struct server *s = &w->servers[below(w, SERVERS)];
	unsigned first = below(w, CONNS);

	for (unsigned i = 0; i < CONNS; i++) {
		struct conn *c = &s->conns[(first + i) % CONNS];

		if (c->fd >= 0 && c->asked)
			return c;
	}
	return NULL;
}

static void answer_one(struct world *w)
{
	struct conn *c = asked(w);

	if (!c)
		return;
	w->served++;
	c->asked = false;
	tcp_send(c->fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/* ---- endpoints ---- */

static void on_drained(void *arg, struct endpoint *e, unsigned cut)
{
	(void)arg;
	(void)cut;
	endpoint_remove(e);
}

static void toggle(struct world *w)
{
	struct server *s = &w->servers[below(w, SERVERS)];

	if (s->endpoint) {
		endpoint_drain(s->endpoint, 40, 40);
		s->endpoint = NULL;
	} else {
		s->endpoint = endpoint_add(w->u, &s->at, "", 0);
	}
}

static void change_endpoint(struct world *w)
{
	struct endpoint *e = w->servers[below(w, SERVERS)].endpoint;

	if (!e)
		return;
	if (below(w, 3) == 0)
		endpoint_set_out(e, false);
	else
		endpoint_set_weight(e, below(w, 4));
}

/* ---- what must hold ---- */

static struct relay *relay_of(const struct request *r)
{
	return r->open ? r->asker.x.arg : NULL;
}

static void check_endpoints(const struct world *w)
{
	uint32_t nin = 0, nopen = 0, nchoice = 0;

	LIST_FOR_EACH(e, &w->u->endpoints, struct endpoint, link) {
		bool counts = endpoint_is_in(e) && e->weight, open = counts && !w->u->paused;

		if (w->policy->max_in_flight)
			assert_in_range(e->in_flight, 0, w->policy->max_in_flight);
		nin += endpoint_is_in(e);
		nopen += counts;
		nchoice += open && e->in_flight < e->limit;
		assert_int_equal(open && e->in_flight < e->limit, e->choice_at != CHOICE_NOWHERE);
	}
	assert_int_equal(w->u->nin, nin);
	assert_int_equal(w->u->nopen, nopen);
	assert_int_equal(w->u->choice.n, nchoice);
}

/* Who waited when the last turn ended and has gone to an endpoint meanwhile came before everyone
 * who waited then and has not. <before> is the queue as it was, and attempts made until then. */
static void check_order(struct world *w, struct request *const *before, uint32_t n)
{
	bool stays = false;

	for (uint32_t i = 0; i < n; i++) {
		struct request *r = before[i];
		struct relay *relay = relay_of(r);

		if (!r->was_held || !relay)
			continue; /* gone, or another one by now */
		if (relay->state == RELAY_HELD && relay->attempts == r->attempts)
			stays = true;
		else if (relay->attempts > r->attempts)
			assert_false(stays);
	}
	for (uint32_t i = 0; i < REQUESTS; i++)
		w->requests[i].was_held = false;
}

static uint32_t note_queue(struct world *w, struct request **queue)
{
	uint32_t n = 0, queued = 0;

	LIST_FOR_EACH(r, &w->u->hold.queue, struct relay, hold_link) {
		queue[n] = request_of(r->x);
		queue[n]->was_held = true;
		queue[n]->attempts = r->attempts;
		queued += r->queues;
		n++;
	}
	assert_int_equal(w->u->hold.n, n);
	assert_int_equal(w->u->hold.nqueued, queued);
	assert_int_equal(w->front->stats.holding, n);
	assert_int_equal(w->front->stats.queueing, queued);
	assert_in_range(queued, 0, w->u->policy.queue);
	/* No wake-up is lost. */
	if (n && (w->u->choice.n || (!upstream_is_open(w->u) && !w->policy->hold)))
		assert_true(deadline_is_set(&w->u->hold.pace));
	w->most_waiting = MAX(w->most_waiting, n);
	return n;
}

/* ---- a run ---- */

static void on_stop(void *arg)
{
	loop_stop(arg);
}

static void turn(struct world *w)
{
	struct deadline d;

	deadline_init(&d, w->loop, on_stop, w->loop);
	deadline_set(&d, 1);
	loop_run(w->loop);
	deadline_stop(&d);
	for (unsigned i = 0; i < SERVERS; i++)
		look(&w->servers[i]);
	for (unsigned i = 0; i < REQUESTS; i++)
		if (w->requests[i].open && w->requests[i].asker.over)
			close_request(w, &w->requests[i], NULL);
}

/* The same with its own text, and another way to choose. */
static struct upstream_policy own_policy(const struct upstream_policy *policy, uint8_t balance)
{
	struct upstream_policy own = *policy;

	own.balance = balance;
	own.sticky = policy->sticky ? xstrdup(policy->sticky) : NULL;
	return own;
}

static void change_policy(struct world *w)
{
	struct upstream_policy own = own_policy(w->policy, (uint8_t)below(w, 3));

	upstream_set_policy(w->u, &own);
}

static void act(struct world *w)
{
	uint32_t dice = below(w, 100);
	struct request *r;
	struct conn *c;

	if (dice < 45) {
		begin_request(w);
	} else if (dice < 90) {
		answer_one(w);
	} else if (dice < 94) {
		r = &w->requests[below(w, REQUESTS)];
		if (r->open)
			close_request(w, r, "the client left");
	} else if (dice < 96) {
		c = asked(w);
		if (c)
			drop(c);
	} else if (dice < 98) {
		change_endpoint(w);
	} else if (dice < 99) {
		toggle(w);
	} else if (below(w, 4) == 0) {
		change_policy(w);
	} else if (w->policy->hold && below(w, 4) == 0) {
		upstream_pause(w->u, !w->u->paused);
	}
}

/* Whatever the dice said, this happens once. */
static void fail_one(struct world *w)
{
	LIST_FOR_EACH(e, &w->u->endpoints, struct endpoint, link) {
		if (endpoint_is_in(e)) {
			endpoint_set_out(e, false);
			return;
		}
	}
}

static void set_up(struct world *w, const struct upstream_policy *policy, uint64_t seed)
{
	static const struct front_reports reports = { .drained = on_drained };
	struct upstream_policy own = own_policy(policy, policy->balance);
	struct front_config c;

	memset(w, 0, sizeof(*w));
	the_world = w;
	w->random = seed;
	w->policy = policy;
	front_config_default(&c);
	assert_int_equal(loop_create(&w->loop, NULL), 0);
	assert_int_equal(front_create(&w->front, w->loop, NULL, &c, &reports, w, NULL), 0);
	w->u = upstream_create(w->front, "queue", &own);
	assert_int_equal(route_add(w->front, HOST, "/", w->u), 0);
	for (unsigned i = 0; i < SERVERS; i++) {
		struct server *s = &w->servers[i];

		s->listener = tcp_listen(&s->at);
		fcntl(s->listener, F_SETFL, O_NONBLOCK);
		for (unsigned j = 0; j < CONNS; j++)
			s->conns[j].fd = -1;
		if (i < 3)
			s->endpoint = endpoint_add(w->u, &s->at, "", 0);
	}
}

/* Until nothing is left: somebody is in, and everybody answers. */
static void wind_up(struct world *w)
{
	upstream_pause(w->u, false);
	for (unsigned i = 0; i < 3; i++) {
		struct server *s = &w->servers[i];

		if (!s->endpoint)
			s->endpoint = endpoint_add(w->u, &s->at, "", 0);
		endpoint_set_weight(s->endpoint, 1);
	}
	for (unsigned i = 0; i < 10000 && w->ended < w->begun; i++) {
		turn(w);
		for (unsigned j = 0; j < 2 * SERVERS; j++)
			answer_one(w);
		check_endpoints(w);
	}
	assert_int_equal(w->ended, w->begun);
	assert_int_equal(w->front->stats.active, 0);
	assert_int_equal(w->u->hold.n, 0);
}

static void tear_down(struct world *w)
{
	front_destroy(w->front);
	loop_destroy(w->loop);
	for (unsigned i = 0; i < SERVERS; i++) {
		close(w->servers[i].listener);
		for (unsigned j = 0; j < CONNS; j++)
			if (w->servers[i].conns[j].fd >= 0)
				close(w->servers[i].conns[j].fd);
	}
}

static void run(const struct upstream_policy *policy, uint64_t seed)
{
	static struct world w;
	static struct request *queue[REQUESTS];
	struct upstream_stats stats;
	uint32_t n = 0;

	print_message("seed %llu\n", (unsigned long long)seed);
	set_up(&w, policy, seed);
	for (unsigned step = 0; step < STEPS; step++) {
		if (step == STEPS / 3)
			fail_one(&w);
		for (uint32_t i = 1 + below(&w, 6); i; i--)
			act(&w);
		turn(&w);
		check_endpoints(&w);
		check_order(&w, queue, n);
		n = note_queue(&w, queue);
	}
	wind_up(&w);
	upstream_stats(w.u, &stats);
	print_message("%llu requests: %llu 2xx, %llu 5xx, %llu cut or left; %u waited at once; "
		      "%llu queued, %llu refused; %llu ejections, %llu recoveries\n",
		      (unsigned long long)w.begun, (unsigned long long)w.answered[2],
		      (unsigned long long)w.answered[5], (unsigned long long)w.answered[0],
		      w.most_waiting, (unsigned long long)stats.queued,
		      (unsigned long long)stats.queue_refused, (unsigned long long)stats.ejections,
		      (unsigned long long)stats.recoveries);
	/* The run went where it should. */
	assert_true(w.answered[2] > STEPS / 10);
	assert_true(stats.ejections > 0);
	if (policy->max_in_flight)
		assert_true(stats.queued > 20);
	if (policy->sticky)
		assert_true(stats.sticky_hits > 5 && stats.sticky_misses > 5);
	tear_down(&w);
}

static uint64_t seed(void)
{
	const char *given = getenv("QUEUE_SEED");

	return given ? strtoull(given, NULL, 10) : 20261125;
}

static void of_an_app(void **state)
{
	static char cookie[] = "at";
	static const struct upstream_policy p = { .hold = true,
						  .max_in_flight = 3,
						  .sticky = cookie };

	(void)state;
	run(&p, seed());
}

static void of_a_static_route(void **state)
{
	static const struct upstream_policy p = {
		.max_in_flight = 1, .queue = 20, .queue_ms = 500, .balance = BALANCE_ROUND_ROBIN
	};

	(void)state;
	run(&p, seed());
}

static void least_connections(void **state)
{
	static const struct upstream_policy p = {
		.hold = true, .max_in_flight = 5, .queue = 10, .balance = BALANCE_LEAST_CONNECTIONS
	};

	(void)state;
	run(&p, seed());
}

static void without_limits(void **state)
{
	static const struct upstream_policy p = { .hold = true };

	(void)state;
	run(&p, seed());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_an_app),
		cmocka_unit_test(of_a_static_route),
		cmocka_unit_test(least_connections),
		cmocka_unit_test(without_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
