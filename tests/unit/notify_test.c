/* The datagram systemd gets, on both kinds of socket names. */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "reactor/notify.h"

static void check_delivery(const char *name)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char b[64] = "";

	memcpy(un.sun_path, name, strlen(name));
	if (name[0] == '@')
		un.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&un,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	notify_systemd("READY=1");
	assert_int_equal(recv(fd, b, sizeof(b), MSG_DONTWAIT), 7);
	assert_string_equal(b, "READY=1");
	close(fd);
	if (name[0] != '@')
		unlink(name);
}

static void delivers(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "notify_test.%d.sock", (int)getpid());
	check_delivery(name);
	snprintf(name, sizeof(name), "@notify_test.%d", (int)getpid());
	check_delivery(name);
}

static void failures_are_ignored(void **state)
{
	char longer[200];

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify_systemd("READY=1");
	setenv("NOTIFY_SOCKET", "", 1);
	notify_systemd("READY=1");
	setenv("NOTIFY_SOCKET", "@nobody listens here", 1);
	notify_systemd("READY=1");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longer, 1);
	notify_systemd("READY=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivers),
		cmocka_unit_test(failures_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
