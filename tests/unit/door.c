/* A front door in a child process. */
#include "door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "check.h"
#include "http/server.h"
#include "proxy/route.h"
#include "reactor/deadline.h"
#include "reactor/work.h"

#define POLL_MS 2
#define LIMIT_MS 5000

struct child {
	struct loop *loop;
	struct work *work;
	struct server *server;
	struct front *front;
	struct upstream *upstream;
	struct endpoint *endpoints[DOOR_ENDPOINTS];
	unsigned nendpoints;
	struct tls_server *tls;
	struct tls_cert *cert;
	struct door_shared *shared;
	struct deadline poll;
	int port;
};

__attribute__((weak)) void door_count(struct door_counts *c)
{
	*c = (struct door_counts){ 0 };
}

/* ---- the child ---- */

static void on_failed(void *arg, struct endpoint *e, enum endpoint_fault fault, const char *why)
{
	struct child *c = arg;

	(void)e;
	(void)fault;
	(void)why;
	c->shared->failed++;
}

static void on_recovered(void *arg, struct endpoint *e)
{
	struct child *c = arg;

	(void)e;
	c->shared->recovered++;
}

static void on_drained(void *arg, struct endpoint *e, unsigned cut)
{
	struct child *c = arg;

	(void)e;
	c->shared->drained++;
	c->shared->cut += cut;
}

static void snapshot(struct child *c)
{
	c->shared->front = *front_stats(c->front);
	if (c->upstream)
		upstream_stats(c->upstream, &c->shared->upstream);
	door_count(&c->shared->counts);
	for (unsigned i = 0; i < c->nendpoints; i++)
		if (c->endpoints[i])
			endpoint_view(c->endpoints[i], &c->shared->views[i]);
}

static void obey(struct child *c)
{
	struct door_shared *s = c->shared;
	struct endpoint *e = s->index < c->nendpoints ? c->endpoints[s->index] : NULL;

	switch (s->command) {
	case DOOR_NONE: return;
	case DOOR_SNAPSHOT: snapshot(c); break;
	case DOOR_DRAIN: endpoint_drain(e, s->requests_ms, s->tunnels_ms); break;
	case DOOR_OUT: endpoint_set_out(e, false); break;
	case DOOR_WEIGHT: endpoint_set_weight(e, s->weight); break;
	case DOOR_ADD:
		c->endpoints[c->nendpoints++] = endpoint_add(c->upstream, &s->add, "", 0);
		break;
	case DOOR_DESTROY:
		upstream_destroy(c->upstream);
		c->upstream = NULL;
		memset(c->endpoints, 0, sizeof(c->endpoints));
		break;
	}
	s->command = DOOR_NONE;
}

static void on_poll(void *arg)
{
	struct child *c = arg;

	obey(c);
	deadline_set(&c->poll, POLL_MS);
}

/* A snapshot without a timer that would disturb what is counted. */
static void on_usr1(void *arg, int signo)
{
	(void)signo;
	obey(arg);
}

static void on_term(void *arg, int signo)
{
	struct child *c = arg;

	(void)signo;
	loop_stop(c->loop);
}

static const struct tls_cert *on_pick(void *arg, struct slice sni)
{
	struct child *c = arg;

	(void)sni;
	return c->cert;
}

static int load_tls(struct child *c, const struct door_config *config, struct err *err)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	char *cert = NULL, *key = NULL;
	size_t cert_n, key_n;
	int rc;

	rc = file_read(config->cert_pem, 1 << 20, &cert, &cert_n, err);
	if (rc == 0)
		rc = file_read(config->key_pem, 1 << 20, &key, &key_n, err);
	if (rc == 0)
		rc = tls_cert_load(&c->cert, slice_of(cert, cert_n), slice_of(key, key_n), err);
	if (rc == 0)
		rc = tls_server_create(&c->tls, c->loop, alpn, on_pick, c, err);
	free(cert);
	free(key);
	return rc;
}

static int open_door(struct child *c, const struct door_config *config, struct err *err)
{
	static const struct front_reports reports = { on_failed, on_recovered, on_drained };
	struct upstream_policy policy = config->policy;
	struct server_config server;
	struct front_config front;
	struct exchange_handler handler = { .request = front_request };
	struct addr at, bound;
	int rc;

	policy.hold |= config->hold;
	policy.hold_ms = config->hold_ms;
	policy.head_ms = config->head_ms;
	server_config_default(&server);
	front_config_default(&front);
	front.access_log = config->access_log;
	front.https_port = config->https_port;
	if (config->hold_max)
		front.hold_max = config->hold_max;
	if (config->wait_ms)
		front.limits.head_ms = front.limits.idle_ms = config->wait_ms;
	rc = loop_create(&c->loop, err);
	if (rc == 0)
		rc = work_create(&c->work, c->loop, "work", 64, err);
	if (rc == 0)
		rc = front_create(&c->front, c->loop, c->work, &front, &reports, c, err);
	if (rc == 0 && config->cert_pem)
		rc = load_tls(c, config, err);
	if (rc < 0)
		return rc;
	handler.arg = c->front;
	c->upstream = upstream_create(c->front, "app", &policy);
	for (; c->nendpoints < config->nendpoints; c->nendpoints++)
		c->endpoints[c->nendpoints] = endpoint_add(
			c->upstream, &config->endpoints[c->nendpoints], "", c->nendpoints);
	rc = route_add(c->front, DOOR_HOST, "/", c->upstream);
	if (rc == 0)
		rc = server_create(&c->server, c->loop, &server, &handler, NULL, NULL, err);
	if (rc == 0)
		rc = addr_make(&at, SLICE("127.0.0.1"), config->port, err);
	if (rc == 0)
		rc = server_listen(c->server, &at, c->tls, NULL, &bound, err);
	if (rc == 0)
		c->port = addr_port(&bound);
	return rc;
}

int door_run(const struct door_config *config, struct door_shared *shared)
{
	struct child c = { .shared = shared };
	struct err err = { .text = "" };

	if (open_door(&c, config, &err) < 0) {
		fprintf(stderr, "door: %s\n", err.text);
		return 1;
	}
	loop_on_signal(c.loop, SIGTERM, on_term, &c);
	loop_on_signal(c.loop, SIGUSR1, on_usr1, &c);
	deadline_init(&c.poll, c.loop, on_poll, &c);
	if (!config->quiet)
		deadline_set(&c.poll, POLL_MS);
	shared->ready = c.port;
	printf("port=%d\n", c.port);
	fflush(stdout);
	loop_run(c.loop);
	deadline_stop(&c.poll);
	server_destroy(c.server);
	front_destroy(c.front);
	tls_server_destroy(c.tls);
	tls_cert_free(c.cert);
	work_destroy(c.work);
	loop_destroy(c.loop);
	return 0;
}

/* ---- the parent ---- */

static void nap(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

void door_start(struct door *d, const struct door_config *c)
{
	d->shared = mmap(NULL, sizeof(*d->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(d->shared, MAP_FAILED);
	d->quiet = c->quiet;
	fflush(stdout);
	d->pid = fork();
	assert_true(d->pid >= 0);
	if (d->pid == 0) {
		/* Not to outlive a test that is killed. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The test's sockets are not ours to keep open. */
		close_range(STDERR_FILENO + 1, ~0u, 0);
		log_init(getenv("DOOR_DEBUG") ? LOG_DEBUG : LOG_INFO, false);
		/* exit(), not _exit(): the leak checker runs then. */
		exit(door_run(c, d->shared));
	}
	for (unsigned i = 0; i < LIMIT_MS && d->shared->ready == 0; i++) {
		assert_int_equal(waitpid(d->pid, NULL, WNOHANG), 0);
		nap();
	}
	d->port = d->shared->ready;
	assert_int_not_equal(d->port, 0);
}

void door_stop(struct door *d)
{
	int status = 0;

	kill(d->pid, SIGTERM);
	assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the front door ended with status %#x", (unsigned)status);
	munmap(d->shared, sizeof(*d->shared));
}

void door_command(struct door *d, enum door_command what, unsigned index)
{
	d->shared->index = index;
	d->shared->command = what;
	if (d->quiet)
		kill(d->pid, SIGUSR1);
	for (unsigned i = 0; i < LIMIT_MS && d->shared->command != DOOR_NONE; i++)
		nap();
	assert_int_equal(d->shared->command, DOOR_NONE);
}

int tcp_listen(struct addr *at)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	addr_from(at, (struct sockaddr *)&sa, len);
	return fd;
}

int tcp_connect(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_port = htons((uint16_t)port);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static bool wait_for(int fd, short events, int limit_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, limit_ms) == 1;
}

int tcp_accept(int listener)
{
	int fd;

	if (!wait_for(listener, POLLIN, LIMIT_MS))
		fail_msg("nobody connected");
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

void tcp_reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

void tcp_send(int fd, const char *text)
{
	size_t at = 0, n = strlen(text);

	while (at < n) {
		ssize_t sent = send(fd, text + at, n - at, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		at += (size_t)sent;
	}
}

ssize_t tcp_read_until(int fd, char *out, size_t size, const char *want)
{
	size_t at = 0;

	out[0] = '\0';
	while (at < size - 1 && !(want && memmem(out, at, want, strlen(want)))) {
		ssize_t n;

		if (!wait_for(fd, POLLIN, LIMIT_MS))
			fail_msg("waited too long for \"%s\" after \"%s\"", want ? want : "the end",
				 out);
		n = recv(fd, out + at, size - 1 - at, 0);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		at += (size_t)n;
		out[at] = '\0';
	}
	return (ssize_t)at;
}
