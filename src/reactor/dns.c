/* c-ares on the loop: its sockets become watchers, its next timeout one timer, its answers tasks
 * of the turn's end. */
#include "reactor/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#define DNS_TIMEOUT_MS 300
#define DNS_TRIES 2
#define RESOLV_CONF "/etc/resolv.conf"

struct dns {
	struct loop *loop;
	ares_channel channel;	/* NULL between two of them */
	ev_timer timer;
	struct list sockets;
	struct list queries;
	uint32_t count;
	struct timespec conf_changed;	/* of RESOLV_CONF, when the channel was made */
};

struct dns_socket {
	struct list link;
	struct loop_reap reap;
	ev_io io;
	struct dns *dns;
};

struct dns_query {
	struct list link;
	struct loop_task report;
	struct loop_reap reap;
	struct dns *dns;
	dns_done_fn *done;	/* NULL: cancelled, waits for c-ares to let go */
	void *arg;
	int rc;
	bool asked;		/* c-ares holds a pointer to it */
	char ip[INET6_ADDRSTRLEN];
};

static int ares_to_errno(int status)
{
	switch (status) {
	case ARES_SUCCESS:      return 0;
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
	case ARES_ENONAME:      return -ENOENT;
	case ARES_ETIMEOUT:     return -ETIMEDOUT;
	case ARES_EBADNAME:
	case ARES_EBADSTR:      return -EINVAL;
	case ARES_ENOMEM:       return -ENOMEM;
	case ARES_ECANCELLED:
	case ARES_EDESTRUCTION: return -ECANCELED;
	/* ARES_ECONNREFUSED too: no server there, or each one answered SERVFAIL */
	default:                return -EIO;
	}
}

/* ---- c-ares to libev ---- */

static void arm_timer(struct dns *d)
{
	struct timeval tv;

	ev_timer_stop(loop_ev(d->loop), &d->timer);
	if (!ares_timeout(d->channel, NULL, &tv))
		return;
	ev_timer_set(&d->timer, (double)tv.tv_sec + (double)tv.tv_usec / 1e6, 0.);
	ev_timer_start(loop_ev(d->loop), &d->timer);
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct dns *d = w->data;

	(void)ev;
	(void)revents;
	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timer(d);
}

static void on_io(struct ev_loop *ev, ev_io *w, int revents)
{
	struct dns_socket *s = w->data;
	struct dns *d = s->dns;
	int fd = w->fd;

	(void)ev;
	/* <s> may be gone when this returns: c-ares says so through on_socket_state(). */
	ares_process_fd(d->channel, revents & EV_READ ? fd : ARES_SOCKET_BAD,
			revents & EV_WRITE ? fd : ARES_SOCKET_BAD);
	arm_timer(d);
}

static struct dns_socket *find_socket(struct dns *d, int fd)
{
	LIST_FOR_EACH(s, &d->sockets, struct dns_socket, link)
		if (s->io.fd == fd)
			return s;
	return NULL;
}

/* Called before c-ares closes <fd>, with neither direction wanted. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns *d = arg;
	struct dns_socket *s = find_socket(d, fd);
	int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);

	if (s)
		ev_io_stop(loop_ev(d->loop), &s->io);
	if (!events) {
		if (s) {
			list_remove(&s->link);
			loop_defer(d->loop, &s->reap, free, s);
		}
		return;
	}
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->dns = d;
		list_push_back(&d->sockets, &s->link);
	}
	ev_io_init(&s->io, on_io, fd, events);
	s->io.data = s;
	ev_io_start(loop_ev(d->loop), &s->io);
}

/* ---- the channel ---- */

static struct timespec conf_changed(void)
{
	struct stat st;

	return stat(RESOLV_CONF, &st) == 0 ? st.st_mtim : (struct timespec){ 0 };
}

static int open_channel(struct dns *d)
{
	char lookups[] = "fb";	/* files before the name servers */
	struct ares_options o = {
		.timeout = DNS_TIMEOUT_MS,
		.tries = DNS_TRIES,
		.lookups = lookups,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = d,
	};
	int status;

	d->conf_changed = conf_changed();
	status = ares_init_options(&d->channel, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
				   ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS)
		d->channel = NULL;
	return ares_to_errno(status);
}

/* A machine that boots writes resolv.conf after we started; c-ares reads it once per channel. */
static int refresh_channel(struct dns *d)
{
	struct timespec now = conf_changed();

	if (d->channel && (d->count || (now.tv_sec == d->conf_changed.tv_sec &&
					now.tv_nsec == d->conf_changed.tv_nsec)))
		return 0;
	if (d->channel)
		ares_destroy(d->channel);
	ev_timer_stop(loop_ev(d->loop), &d->timer);
	return open_channel(d);
}

int dns_create(struct dns **out, struct loop *l, struct err *err)
{
	struct dns *d = xcalloc(1, sizeof(*d));
	int rc;

	d->loop = l;
	list_init(&d->sockets);
	list_init(&d->queries);
	ev_timer_init(&d->timer, on_timer, 0., 0.);
	d->timer.data = d;
	rc = ares_to_errno(ares_library_init(ARES_LIB_INIT_ALL));
	if (rc == 0)
		rc = open_channel(d);
	if (rc) {
		dns_destroy(d);
		return err_set(err, rc, "set up name lookups");
	}
	*out = d;
	return 0;
}

int dns_set_server(struct dns *d, const char *address, struct err *err)
{
	int rc = ares_to_errno(ares_set_servers_ports_csv(d->channel, address));

	return rc ? err_set(err, rc, "name server %s", address) : 0;
}

/* ---- queries ---- */

static void query_free(struct dns_query *q)
{
	loop_task_cancel(&q->report);
	list_remove(&q->link);
	q->dns->count--;
	loop_defer(q->dns->loop, &q->reap, free, q);
}

static void on_report(void *arg)
{
	struct dns_query *q = arg;
	dns_done_fn *done = q->done;
	void *done_arg = q->arg;
	int rc = q->rc;

	/* Its memory lives to the turn's end, and nothing of <q> is touched after the callback. */
	query_free(q);
	done(done_arg, rc, rc == 0 ? q->ip : NULL);
}

static void finish(struct dns_query *q, int rc)
{
	q->rc = rc;
	loop_later(q->dns->loop, &q->report);
}

/* IPv4 before IPv6: an address that has no route is the commoner fault of the latter. */
static int pick_address(const struct ares_addrinfo *found, char *ip)
{
	const struct ares_addrinfo_node *best = NULL;
	const void *bytes;

	for (const struct ares_addrinfo_node *n = found->nodes; n; n = n->ai_next) {
		if (n->ai_family == AF_INET || (n->ai_family == AF_INET6 && !best))
			best = n;
		if (n->ai_family == AF_INET)
			break;
	}
	if (!best)
		return -ENOENT;
	bytes = best->ai_family == AF_INET
		? (void *)&((struct sockaddr_in *)(void *)best->ai_addr)->sin_addr
		: (void *)&((struct sockaddr_in6 *)(void *)best->ai_addr)->sin6_addr;
	return inet_ntop(best->ai_family, bytes, ip, INET6_ADDRSTRLEN) ? 0 : -EIO;
}

/* From inside c-ares, maybe from inside dns_resolve(). */
static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
	struct dns_query *q = arg;
	int rc = ares_to_errno(status);

	(void)timeouts;
	q->asked = false;
	if (q->done && rc == 0)
		rc = pick_address(found, q->ip);
	if (found)
		ares_freeaddrinfo(found);
	if (q->done)
		finish(q, rc);
	else
		query_free(q);
}

static bool is_localhost(const char *name)
{
	size_t n = strlen(name);

	return strcasecmp(name, "localhost") == 0 ||
	       (n > 10 && strcasecmp(name + n - 10, ".localhost") == 0);	/* RFC 6761, 6.3 */
}

/* What needs no lookup: 0 with <ip> filled in. */
static int answer_here(const char *name, char *ip)
{
	struct in6_addr bytes;

	if (is_localhost(name)) {
		snprintf(ip, INET6_ADDRSTRLEN, "127.0.0.1");
		return 0;
	}
	if (inet_pton(AF_INET, name, &bytes) == 1)
		return inet_ntop(AF_INET, &bytes, ip, INET6_ADDRSTRLEN) ? 0 : -EIO;
	if (inet_pton(AF_INET6, name, &bytes) == 1)
		return inet_ntop(AF_INET6, &bytes, ip, INET6_ADDRSTRLEN) ? 0 : -EIO;
	return -ENOENT;
}

struct dns_query *dns_resolve(struct dns *d, const char *name, dns_done_fn *done, void *arg)
{
	struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct dns_query *q;
	int rc;

	if (d->count >= DNS_QUERIES_MAX)
		return NULL;
	q = xcalloc(1, sizeof(*q));
	q->dns = d;
	q->done = done;
	q->arg = arg;
	loop_task_init(&q->report, on_report, q);
	rc = answer_here(name, q->ip);
	if (rc == -ENOENT) {
		rc = refresh_channel(d);
		q->asked = rc == 0;
	}
	list_push_back(&d->queries, &q->link);
	d->count++;
	if (q->asked) {
		ares_getaddrinfo(d->channel, name, NULL, &hints, on_answer, q);
		arm_timer(d);
	} else {
		finish(q, rc);
	}
	return q;
}

void dns_cancel(struct dns_query *q)
{
	if (!q)
		return;
	q->done = NULL;
	if (!q->asked)
		query_free(q);
}

void dns_destroy(struct dns *d)
{
	if (!d)
		return;
	LIST_FOR_EACH_SAFE(q, &d->queries, struct dns_query, link)
		dns_cancel(q);
	if (d->channel)
		ares_destroy(d->channel);	/* answers what it holds, closes its sockets */
	ares_library_cleanup();
	ev_timer_stop(loop_ev(d->loop), &d->timer);
	free(d);	/* only tasks and their owners call this, never c-ares */
}
