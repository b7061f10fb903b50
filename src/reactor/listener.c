/* Listening sockets: bind with a text people understand, accept in small batches, wait when
 * descriptors run out. */
#include "reactor/listener.h"

#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "reactor/deadline.h"

#define BACKLOG 4096
#define ACCEPTS_PER_EVENT 16
#define SHORTAGE_PAUSE_MS 100
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_PROBES 4

struct listener {
	ev_io io;
	struct loop *loop;
	struct addr at;
	char *unix_path;	  /* owned; NULL for TCP */
	bool paused;		  /* by the owner */
	struct deadline shortage; /* set: waiting for descriptors */
	listener_accept_fn *accept;
	void *arg;
	struct loop_reap reap;
};

static void listener_watch(struct listener *li)
{
	bool want = li->io.fd >= 0 && !li->paused && !deadline_is_set(&li->shortage);

	if (want && !ev_is_active(&li->io))
		ev_io_start(loop_ev(li->loop), &li->io);
	else if (!want && ev_is_active(&li->io))
		ev_io_stop(loop_ev(li->loop), &li->io);
}

static void on_shortage_over(void *arg)
{
	listener_watch(arg);
}

/* Readiness stays while nobody accepts: going on would spin. */
static void wait_for_resources(struct listener *li, int error)
{
	log_warn("listen on %s: accept: %s: waiting %d ms", li->at.text, strerror(error),
		 SHORTAGE_PAUSE_MS);
	deadline_set(&li->shortage, SHORTAGE_PAUSE_MS);
	listener_watch(li);
}

/* false: nothing more to accept now. */
static bool accept_one(struct listener *li)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr peer;
	int fd = accept4(li->io.fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		addr_from(&peer, (struct sockaddr *)&sa, len);
		li->accept(li->arg, fd, &peer);
		return true;
	}
	switch (errno) {
	case EAGAIN: return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM: wait_for_resources(li, errno); return false;
	default: /* that connection's own failure (accept(2)): the next may be fine */ return true;
	}
}

static void on_connection(struct ev_loop *ev, ev_io *w, int revents)
{
	struct listener *li = w->data;

	(void)ev;
	(void)revents;
	/* The callback may pause or close us. */
	for (int i = 0; i < ACCEPTS_PER_EVENT && ev_is_active(&li->io); i++) {
		if (!accept_one(li))
			return;
	}
}

static void listener_free(void *arg)
{
	struct listener *li = arg;

	free(li->unix_path);
	free(li);
}

static struct listener *listener_new(struct loop *l, int fd, listener_accept_fn *accept, void *arg)
{
	struct listener *li = xcalloc(1, sizeof(*li));

	li->loop = l;
	li->accept = accept;
	li->arg = arg;
	deadline_init(&li->shortage, l, on_shortage_over, li);
	ev_io_init(&li->io, on_connection, fd, EV_READ);
	li->io.data = li;
	return li;
}

static int say_bind_failure(struct err *err, int rc, const char *where)
{
	if (rc == -EADDRINUSE)
		return err_say(err, rc,
			       "listen on %s: Address already in use: stop the other program or "
			       "choose another address",
			       where);
	if (rc == -EACCES)
		return err_say(err, rc,
			       "listen on %s: Permission denied: ports below 1024 are for root or "
			       "CAP_NET_BIND_SERVICE",
			       where);
	return err_set(err, rc, "listen on %s", where);
}

/* Sockets that come from accept(2) inherit them: no call for each. Keep-alive finds the clients
 * that vanished from streams and tunnels on which nothing is said. */
static int set_options(int fd, int family)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S,
	    probes = KEEPALIVE_PROBES;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		return -errno;
	if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

int listener_open(struct listener **out, struct loop *l, const struct addr *at,
		  listener_accept_fn *accept, void *arg, struct err *err)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct listener *li;
	int fd, rc;

	fd = socket(at->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "listen on %s: socket", at->text);
	rc = set_options(fd, at->sa.ss_family);
	if (!rc && bind(fd, (const struct sockaddr *)&at->sa, at->len) < 0)
		rc = -errno;
	if (!rc && listen(fd, BACKLOG) < 0)
		rc = -errno;
	if (!rc && getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		rc = -errno;
	if (rc) {
		close(fd);
		return say_bind_failure(err, rc, at->text);
	}
	li = listener_new(l, fd, accept, arg);
	addr_from(&li->at, (struct sockaddr *)&sa, len);
	listener_watch(li);
	*out = li;
	return 0;
}

/* A socket on which nobody answers: left behind by a process that was killed. Other files refuse
 * connections as well. */
static bool is_stale(const struct sockaddr_un *un)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)un, sizeof(*un)) < 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_unix(int fd, const struct sockaddr_un *un)
{
	/* The file takes the socket's own mode less the umask: it is never wider, not even for a
	 * moment. */
	if (fchmod(fd, 0600) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0)
		return 0;
	if (errno != EADDRINUSE || !is_stale(un))
		return -errno;
	if (unlink(un->sun_path) < 0 || bind(fd, (const struct sockaddr *)un, sizeof(*un)) < 0)
		return -errno;
	return 0;
}

int listener_open_unix(struct listener **out, struct loop *l, const char *path,
		       listener_accept_fn *accept, void *arg, struct err *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct listener *li;
	int fd, rc;

	if (strlen(path) >= sizeof(un.sun_path))
		return err_say(err, -ENAMETOOLONG,
			       "listen on %s: a socket's path has at most %zu bytes", path,
			       sizeof(un.sun_path) - 1);
	memcpy(un.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "listen on %s: socket", path);
	rc = bind_unix(fd, &un);
	if (!rc && listen(fd, BACKLOG) < 0)
		rc = -errno;
	if (rc) {
		close(fd);
		if (rc == -EADDRINUSE)
			return err_say(err, rc,
				       "listen on %s: in use by another process, or not a socket",
				       path);
		return err_set(err, rc, "listen on %s", path);
	}
	li = listener_new(l, fd, accept, arg);
	li->unix_path = xstrdup(path);
	addr_from(&li->at, (struct sockaddr *)&un, sizeof(un));
	listener_watch(li);
	*out = li;
	return 0;
}

int listener_adopt(struct listener **out, struct loop *l, int take_fd, const char *path,
		   listener_accept_fn *accept, void *arg, struct err *err)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa), on_len = sizeof(int);
	struct listener *li;
	int on = 0;

	if (getsockopt(take_fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &on_len) < 0 || !on ||
	    getsockname(take_fd, (struct sockaddr *)&sa, &len) < 0) {
		close(take_fd);
		return err_say(err, -EINVAL, "descriptor %d does not listen", take_fd);
	}
	li = listener_new(l, take_fd, accept, arg);
	addr_from(&li->at, (struct sockaddr *)&sa, len);
	if (path)
		li->unix_path = xstrdup(path);
	listener_watch(li);
	*out = li;
	return 0;
}

int listener_fd(const struct listener *li)
{
	return li->io.fd;
}

void listener_disown(struct listener *li)
{
	free(li->unix_path);
	li->unix_path = NULL;
}

const struct addr *listener_addr(const struct listener *li)
{
	return &li->at;
}

void listener_pause(struct listener *li)
{
	li->paused = true;
	listener_watch(li);
}

void listener_resume(struct listener *li)
{
	li->paused = false;
	listener_watch(li);
}

void listener_close(struct listener *li)
{
	if (!li || li->io.fd < 0)
		return;
	deadline_stop(&li->shortage);
	ev_io_stop(loop_ev(li->loop), &li->io);
	if (li->unix_path)
		unlink(li->unix_path);
	close(li->io.fd);
	li->io.fd = -1;
	loop_defer(li->loop, &li->reap, listener_free, li);
}
