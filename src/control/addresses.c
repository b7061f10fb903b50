/* Asks the kernel for interface addresses where a listener has a wildcard. */
#include "control/addresses.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"

#define IPS_MAX 64

static bool is_wildcard(const struct addr *a)
{
	char ip[64];

	addr_ip(a, ip);
	return strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
}

static void add_interfaces(char **ips, size_t *n, sa_family_t family)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0)
		return;
	for (struct ifaddrs *i = all; i && *n < IPS_MAX; i = i->ifa_next) {
		struct addr a;
		char ip[64];

		if (!i->ifa_addr || i->ifa_addr->sa_family != family)
			continue;
		addr_from(&a, i->ifa_addr,
			  family == AF_INET ? sizeof(struct sockaddr_in)
					    : sizeof(struct sockaddr_in6));
		addr_ip(&a, ip);
		if (!strchr(ip, '%'))
			ips[(*n)++] = xstrdup(ip);
	}
	freeifaddrs(all);
}

char **addresses_reachable(const char *const *list)
{
	char **ips = xcalloc(IPS_MAX + 1, sizeof(*ips));
	size_t n = 0;

	for (; list && *list && n < IPS_MAX; list++) {
		struct addr a;
		char ip[64];

		if (addr_parse(&a, slice_str(*list), NULL))
			continue;	/* listening there will say what is wrong with it */
		addr_ip(&a, ip);
		if (is_wildcard(&a))
			add_interfaces(ips, &n, a.sa.ss_family);
		else
			ips[n++] = xstrdup(ip);
	}
	return ips;
}

void addresses_free(char **ips)
{
	for (char **ip = ips; *ip; ip++)
		free(*ip);
	free(ips);
}

bool addresses_all_loopback(const struct addr *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!addr_is_loopback(&list[i]))
			return false;
	return true;
}

/* An address of <a>'s listener that another machine can use; that of this machine alone when there
 * is no other. */
static void usable_ip(const struct addr *a, char *out, size_t size)
{
	char *ips[IPS_MAX + 1] = { NULL };
	const char *best = "127.0.0.1";
	struct addr candidate;
	char ip[64];
	size_t n = 0;

	addr_ip(a, ip);
	if (!is_wildcard(a)) {
		snprintf(out, size, "%s", ip);
		return;
	}
	add_interfaces(ips, &n, AF_INET);
	for (size_t i = 0; i < n; i++) {
		if (!addr_make(&candidate, slice_str(ips[i]), 1, NULL) &&
		    !addr_is_loopback(&candidate)) {
			best = ips[i];
			break;
		}
	}
	snprintf(out, size, "%s", best);
	for (size_t i = 0; i < n; i++)
		free(ips[i]);
}

void addresses_join_url(const struct control *c, char *out, size_t size)
{
	const struct addr *a = c->https_n ? &c->https[0] : &c->http[0];
	const char *scheme = c->https_n ? "https" : "http";
	uint16_t port = addr_port(a), usual = c->https_n ? 443 : 80;
	char host[256], suffix[16] = "";

	if (port != usual)
		snprintf(suffix, sizeof(suffix), ":%u", port);
	if (c->options->console_host)
		snprintf(host, sizeof(host), "%s", c->options->console_host);
	else
		usable_ip(a, host, sizeof(host));
	snprintf(out, size, strchr(host, ':') ? "%s://[%s]%s" : "%s://%s%s", scheme, host, suffix);
}
