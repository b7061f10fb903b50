/* libcurl's multi handle on libev: its sockets become watchers, its timeout one timer. Its
 * callbacks only arm those. */
#include <errno.h>
#include <stdlib.h>

#include "reactor/rpc_inner.h"

#define KEPT_CONNECTIONS_MAX 256

struct rpc_socket {
	struct list link;
	struct loop_reap reap;
	ev_io io;
	struct rpc *rpc;
};

/* After every entry into curl: what has ended is noted here, and reports from its task. */
static void collect(struct rpc *r)
{
	struct rpc_call *c = NULL;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(r->multi, &left))) {
		CURLcode code = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &c);
		call_ended(c, code);
	}
}

static void drive(struct rpc *r, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(r->multi, fd, events, &running);
	collect(r);
}

static void on_io(struct ev_loop *ev, ev_io *w, int revents)
{
	struct rpc_socket *s = w->data;

	(void)ev;
	/* <s> may be on its way out when this returns. */
	drive(s->rpc, w->fd, (revents & EV_READ ? CURL_CSELECT_IN : 0) |
			     (revents & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
	(void)ev;
	(void)revents;
	drive(w->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct rpc *r = arg;

	(void)multi;
	ev_timer_stop(loop_ev(r->loop), &r->timer);
	if (timeout_ms < 0)
		return 0;
	/* Zero too goes through the timer: curl is on the stack here. */
	ev_timer_set(&r->timer, (double)timeout_ms / 1000, 0.);
	ev_timer_start(loop_ev(r->loop), &r->timer);
	return 0;
}

static void socket_drop(struct rpc_socket *s)
{
	ev_io_stop(loop_ev(s->rpc->loop), &s->io);
	list_remove(&s->link);
	loop_defer(s->rpc->loop, &s->reap, free, s);
}

/* CURL_POLL_REMOVE comes before curl closes the descriptor. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
	struct rpc *r = arg;
	struct rpc_socket *s = assigned;
	int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s) {
			curl_multi_assign(r->multi, fd, NULL);
			socket_drop(s);
		}
		return 0;
	}
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->rpc = r;
		list_push_back(&r->sockets, &s->link);
		curl_multi_assign(r->multi, fd, s);
	} else {
		ev_io_stop(loop_ev(r->loop), &s->io);
	}
	ev_io_init(&s->io, on_io, fd, events);
	s->io.data = s;
	ev_io_start(loop_ev(r->loop), &s->io);
	return 0;
}

int multi_open(struct rpc *r, struct err *err)
{
	list_init(&r->sockets);
	ev_timer_init(&r->timer, on_timer, 0., 0.);
	r->timer.data = r;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_say(err, -ENOMEM, "set up libcurl: global initialisation failed");
	r->multi = curl_multi_init();
	if (!r->multi) {
		curl_global_cleanup();
		return err_say(err, -ENOMEM, "set up libcurl: out of memory");
	}
	curl_multi_setopt(r->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(r->multi, CURLMOPT_SOCKETDATA, r);
	curl_multi_setopt(r->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(r->multi, CURLMOPT_TIMERDATA, r);
	curl_multi_setopt(r->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS_MAX);
	return 0;
}

void multi_close(struct rpc *r)
{
	if (r->multi) {
		curl_multi_cleanup(r->multi);
		curl_global_cleanup();
	}
	ev_timer_stop(loop_ev(r->loop), &r->timer);
	LIST_FOR_EACH_SAFE(s, &r->sockets, struct rpc_socket, link)
		socket_drop(s);
}

void multi_add(struct rpc_call *c)
{
	CURLMcode code = curl_multi_add_handle(c->rpc->multi, c->easy);

	c->added = code == CURLM_OK;
	if (!c->added)
		call_fail(c, -ENOMEM, "call %s: %s", c->where, curl_multi_strerror(code));
}

void multi_remove(struct rpc_call *c)
{
	if (!c->added)
		return;
	c->added = false;
	curl_multi_remove_handle(c->rpc->multi, c->easy);
}
