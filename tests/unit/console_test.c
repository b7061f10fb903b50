/* Which host names are the console's, and other small rules of src/control that need no loop. */
#include "check.h"

#include "control/console.h"
#include "control/registry.h"
#include "control/view.h"

static const struct {
	const char *host, *console;
	bool is;
} hosts[] = {
	{ "127.0.0.1", NULL, true },
	{ "10.0.0.5", NULL, true },
	{ "[::1]", NULL, true },
	{ "localhost", NULL, true },
	{ "LocalHost.", NULL, true },
	{ "console.example.test", "console.example.test", true },
	{ "CONSOLE.example.test", "console.example.test", true },
	{ "console.example.test", NULL, false },
	{ "a.console.example.test", "console.example.test", false },
	{ "app.example.test", "console.example.test", false },
	{ "1.2.3.example.test", NULL, false },
	{ "1.2.3", NULL, false },
	{ "1.2.3.4.5", NULL, false },
	{ "1.2.3.256", NULL, false },
	{ "", NULL, false },
	{ ".", NULL, false },
};

static void test_hosts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		CHECK_INT(hosts[i].host,
			  console_is_host(slice_str(hosts[i].host), hosts[i].console), hosts[i].is);
}

static const struct {
	const char *image, *server;
} images[] = {
	{ "nginx", "docker.io" },
	{ "nginx:1.25", "docker.io" },
	{ "team/app:1", "docker.io" },
	{ "localhost/app", "localhost" },
	{ "localhost:5000/app:1", "localhost:5000" },
	{ "registry.example.test/team/app@sha256:00", "registry.example.test" },
	{ "127.0.0.1:5000/app", "127.0.0.1:5000" },
};

static void test_servers(void **state)
{
	char server[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(images); i++) {
		registry_server(images[i].image, server);
		CHECK_STR(images[i].image, server, images[i].server);
	}
}

static const struct {
	const char *domain, *host, *path;
} domains[] = {
	{ "a.example.test", "a.example.test", "/" },
	{ "a.example.test/", "a.example.test", "/" },
	{ "*.example.test/api/v1", "*.example.test", "/api/v1" },
};

static void test_domains(void **state)
{
	char host[256], path[4097];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(domains); i++) {
		view_split_domain(domains[i].domain, host, path);
		CHECK_STR(domains[i].domain, host, domains[i].host);
		CHECK_STR(domains[i].domain, path, domains[i].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
