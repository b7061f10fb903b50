/* Listening sockets: ports, texts of failures, batches, running out of descriptors, unix
 * sockets. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "pump.h"
#include "reactor/listener.h"

#define CONNECTIONS_MAX 64

static struct fixture {
	struct loop *loop;
	struct listener *li;
	struct err err;
	int accepted[CONNECTIONS_MAX];
	unsigned count, pause_at, close_at;
	char peer[64];
	char path[64];
} f;

static void on_accept(void *arg, int take_fd, const struct addr *peer)
{
	assert_ptr_equal(arg, &f);
	assert_true(f.count < CONNECTIONS_MAX);
	f.accepted[f.count++] = take_fd;
	snprintf(f.peer, sizeof(f.peer), "%s", peer->text);
	if (f.count == f.pause_at)
		listener_pause(f.li);
	if (f.count == f.close_at) {
		listener_close(f.li);
		f.li = NULL;
	}
}

static struct addr parse(const char *text)
{
	struct addr a;
	struct err err;

	assert_int_equal(addr_parse(&a, slice_str(text), &err), 0);
	return a;
}

static int setup(void **state)
{
	struct err err;

	(void)state;
	memset(&f, 0, sizeof(f));
	snprintf(f.path, sizeof(f.path), "listener_test.%d.sock", (int)getpid());
	return loop_create(&f.loop, &err);
}

static int teardown(void **state)
{
	(void)state;
	listener_close(f.li);
	for (unsigned i = 0; i < f.count; i++)
		close(f.accepted[i]);
	loop_destroy(f.loop);
	return 0;
}

static void open_tcp(const char *text)
{
	struct addr at = parse(text);

	if (listener_open(&f.li, f.loop, &at, on_accept, &f, &f.err))
		fail_msg("%s", f.err.text);
}

static int dial(void)
{
	const struct addr *at = listener_addr(f.li);
	int fd = socket(at->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_true(connect(fd, (const struct sockaddr *)&at->sa, at->len) == 0 ||
		    errno == EINPROGRESS);
	return fd;
}

static void accepts_on_a_port_of_the_kernels_choice(void **state)
{
	socklen_t size = sizeof(int);
	int fd, on = 0;

	(void)state;
	open_tcp("127.0.0.1:0");
	assert_int_not_equal(addr_port(listener_addr(f.li)), 0);
	fd = dial();
	PUMP_UNTIL(f.loop, f.count == 1);
	assert_true(fcntl(f.accepted[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(f.accepted[0], F_GETFD) & FD_CLOEXEC);
	getsockopt(f.accepted[0], IPPROTO_TCP, TCP_NODELAY, &on, &size);
	assert_true(on);
	getsockopt(f.accepted[0], SOL_SOCKET, SO_KEEPALIVE, &on, &size);
	assert_true(on);
	assert_memory_equal(f.peer, "127.0.0.1:", 10);
	close(fd);
}

static void v6_and_v4_share_a_port(void **state)
{
	struct listener *v6;
	char text[32];
	struct addr at;

	(void)state;
	open_tcp("127.0.0.1:0");
	snprintf(text, sizeof(text), "[::1]:%u", addr_port(listener_addr(f.li)));
	at = parse(text);
	if (listener_open(&v6, f.loop, &at, on_accept, &f, &f.err)) {
		assert_int_equal(f.err.code, -EADDRNOTAVAIL);	/* a machine without IPv6 */
		return;
	}
	assert_string_equal(listener_addr(v6)->text, text);
	listener_close(v6);
}

static void failures_name_the_address_and_what_to_do(void **state)
{
	struct addr at;
	struct listener *second = NULL;
	char want[128];

	(void)state;
	open_tcp("127.0.0.1:0");
	at = *listener_addr(f.li);
	assert_int_equal(listener_open(&second, f.loop, &at, on_accept, &f, &f.err), -EADDRINUSE);
	snprintf(want, sizeof(want), "listen on %s: Address already in use: ", at.text);
	assert_memory_equal(f.err.text, want, strlen(want));
	assert_non_null(strstr(f.err.text, "choose another address"));

	at = parse("192.0.2.1:1");
	assert_int_equal(listener_open(&second, f.loop, &at, on_accept, &f, &f.err),
			 -EADDRNOTAVAIL);
	assert_string_equal(f.err.text, "listen on 192.0.2.1:1: Cannot assign requested address");
	assert_null(second);
}

static void pauses_and_resumes(void **state)
{
	int fds[40];

	(void)state;
	open_tcp("127.0.0.1:0");
	f.pause_at = 3;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial();
	PUMP_UNTIL(f.loop, f.count == 3);
	pump_idle(f.loop);
	assert_int_equal(f.count, 3);
	listener_resume(f.li);
	ev_run(loop_ev(f.loop), EVRUN_NOWAIT);
	assert_int_equal(f.count, 3 + 16);	/* one batch a turn */
	PUMP_UNTIL(f.loop, f.count == ARRAY_LEN(fds));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

static void may_be_closed_by_its_callback(void **state)
{
	int one, two;

	(void)state;
	open_tcp("127.0.0.1:0");
	f.close_at = 1;
	one = dial();
	two = dial();
	PUMP_UNTIL(f.loop, f.count == 1);
	pump_idle(f.loop);
	assert_int_equal(f.count, 1);
	close(one);
	close(two);
}

/* Without descriptors the listener rests instead of spinning, and takes the connection once
 * there is one. */
static void waits_for_descriptors(void **state)
{
	struct rlimit before, none;
	uint64_t began_us;
	int fd;

	(void)state;
	open_tcp("127.0.0.1:0");
	fd = dial();
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (dup(fd) >= 0)
		;
	assert_int_equal(errno, EMFILE);
	pump_idle(f.loop);
	assert_int_equal(f.count, 0);
	setrlimit(RLIMIT_NOFILE, &before);
	pump_idle(f.loop);
	assert_int_equal(f.count, 0);
	began_us = loop_clock_us();
	PUMP_UNTIL(f.loop, f.count == 1);
	assert_true(loop_clock_us() - began_us < 1000000);
	close(fd);
}

/* ---- unix sockets ---- */

static void unix_socket_is_private(void **state)
{
	mode_t before = umask(0);
	struct stat st;
	int fd;

	(void)state;
	if (listener_open_unix(&f.li, f.loop, f.path, on_accept, &f, &f.err))
		fail_msg("%s", f.err.text);
	umask(before);
	assert_int_equal(stat(f.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fd = dial();
	PUMP_UNTIL(f.loop, f.count == 1);
	assert_memory_equal(f.peer, "unix:", 5);
	listener_close(f.li);
	f.li = NULL;
	assert_int_equal(stat(f.path, &st), -1);
	close(fd);
}

static void stale_socket_is_replaced_and_a_live_one_is_not(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int stale = socket(AF_UNIX, SOCK_STREAM, 0);
	struct listener *second = NULL;

	(void)state;
	memcpy(un.sun_path, f.path, strlen(f.path));
	assert_int_equal(bind(stale, (struct sockaddr *)&un, sizeof(un)), 0);
	close(stale);
	assert_int_equal(listener_open_unix(&f.li, f.loop, f.path, on_accept, &f, &f.err), 0);
	assert_int_equal(listener_open_unix(&second, f.loop, f.path, on_accept, &f, &f.err),
			 -EADDRINUSE);
	assert_non_null(strstr(f.err.text, f.path));
	assert_non_null(strstr(f.err.text, "another process"));
}

static void other_files_are_left_alone(void **state)
{
	char longer[200];
	int fd;

	(void)state;
	fd = open(f.path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(listener_open_unix(&f.li, f.loop, f.path, on_accept, &f, &f.err),
			 -EADDRINUSE);
	assert_int_equal(access(f.path, F_OK), 0);
	unlink(f.path);

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(listener_open_unix(&f.li, f.loop, longer, on_accept, &f, &f.err),
			 -ENAMETOOLONG);
	assert_null(f.li);
}

/* ---- two processes' ---- */

/* The one that goes closes its descriptor, and nobody is refused; the file stays for the one that comes. */
static void one_is_handed_on(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct listener *next = NULL;
	int client = socket(AF_UNIX, SOCK_STREAM, 0), none = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", f.path);
	assert_int_equal(listener_open_unix(&f.li, f.loop, f.path, on_accept, &f, &f.err), 0);
	assert_int_equal(listener_adopt(&next, f.loop, dup(listener_fd(f.li)), f.path, on_accept,
					&f, &f.err),
			 0);
	listener_disown(f.li);
	listener_close(f.li);
	f.li = next;
	assert_int_equal(connect(client, (struct sockaddr *)&un, sizeof(un)), 0);
	PUMP_UNTIL(f.loop, f.count == 1);
	listener_close(f.li);
	f.li = NULL;
	assert_int_equal(access(f.path, F_OK), -1);
	close(client);
	/* What does not listen is closed and refused. */
	assert_int_equal(listener_adopt(&f.li, f.loop, none, NULL, on_accept, &f, &f.err), -EINVAL);
	assert_null(f.li);
	assert_int_equal(close(none), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accepts_on_a_port_of_the_kernels_choice),
		TEST(v6_and_v4_share_a_port),
		TEST(failures_name_the_address_and_what_to_do),
		TEST(pauses_and_resumes),
		TEST(may_be_closed_by_its_callback),
		TEST(waits_for_descriptors),
		TEST(unix_socket_is_private),
		TEST(stale_socket_is_replaced_and_a_live_one_is_not),
		TEST(other_files_are_left_alone),
		TEST(one_is_handed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
