/* Socket addresses and their text: literal ones only, nothing here looks a name up. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/text.h"

int addr_make(struct addr *out, struct slice ip, uint16_t port, struct err *err)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (slice_copy(ip, text, sizeof(text)) == 0) {
		if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
			addr_from(out, (struct sockaddr *)&v4, sizeof(v4));
			return 0;
		}
		if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
			addr_from(out, (struct sockaddr *)&v6, sizeof(v6));
			return 0;
		}
	}
	return err_say(err, -EINVAL, "\"%.*s\" is not an IP address", (int)MIN(ip.n, (size_t)64),
		       ip.p);
}

/* Splits "A:P" and "[v6]:P"; NULL, or what is wrong. */
static const char *split_port(struct slice s, struct slice *ip, struct slice *port)
{
	if (s.n && s.p[0] == '[') {
		struct slice inside = slice_split(slice_of(s.p + 1, s.n - 1), ']', port);

		if (!port->p)
			return "no ']'";
		if (port->n == 0 || port->p[0] != ':')
			return "no port after ']'";
		port->p++;
		port->n--;
		*ip = inside;
		if (!memchr(inside.p, ':', inside.n))
			return "brackets are for IPv6 addresses";
		return NULL;
	}
	*ip = slice_split(s, ':', port);
	if (!port->p)
		return "no port";
	if (port->n && memchr(port->p, ':', port->n))
		return "an IPv6 address needs brackets";
	return ip->n ? NULL : "no address before the port";
}

int addr_parse(struct addr *out, struct slice s, struct err *err)
{
	int shown = (int)MIN(s.n, (size_t)128);
	struct slice ip, port;
	const char *wrong = split_port(s, &ip, &port);
	uint64_t number;

	if (!wrong && (slice_u64(port, &number) < 0 || number > UINT16_MAX))
		wrong = "the port is not a number from 0 to 65535";
	if (wrong)
		return err_say(err, -EINVAL, "address \"%.*s\": %s (want IP:PORT or [IPv6]:PORT)",
			       shown, s.p, wrong);
	return addr_make(out, ip, (uint16_t)number, err);
}

static void text_from_unix(struct addr *out)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&out->sa;
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t n = out->len > head ? MIN(out->len - head, sizeof(un->sun_path)) : 0;
	bool abstract = n && un->sun_path[0] == '\0';
	const char *path = un->sun_path + abstract;

	/* sun_path need not be terminated (unix(7)). */
	snprintf(out->text, sizeof(out->text), "unix:%s%.*s", abstract ? "@" : "",
		 (int)strnlen(path, n - abstract), path);
}

static void take_v4_mapped(struct addr *out)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&out->sa;
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = v6->sin6_port };

	memcpy(&v4.sin_addr, v6->sin6_addr.s6_addr + 12, sizeof(v4.sin_addr));
	memset(&out->sa, 0, sizeof(out->sa));
	memcpy(&out->sa, &v4, sizeof(v4));
	out->len = sizeof(v4);
}

void addr_from(struct addr *out, const struct sockaddr *sa, socklen_t len)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&out->sa;
	char ip[INET6_ADDRSTRLEN];

	memset(out, 0, sizeof(*out));
	out->len = MIN(len, (socklen_t)sizeof(out->sa));
	memcpy(&out->sa, sa, out->len);
	if (out->sa.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		take_v4_mapped(out);
	switch (out->sa.ss_family) {
	case AF_INET:
		addr_ip(out, ip);
		snprintf(out->text, sizeof(out->text), "%s:%u", ip, addr_port(out));
		break;
	case AF_INET6:
		addr_ip(out, ip);
		snprintf(out->text, sizeof(out->text), "[%s]:%u", ip, addr_port(out));
		break;
	case AF_UNIX: text_from_unix(out); break;
	default: snprintf(out->text, sizeof(out->text), "family %u", out->sa.ss_family);
	}
}

uint16_t addr_port(const struct addr *a)
{
	switch (a->sa.ss_family) {
	case AF_INET: return ntohs(((const struct sockaddr_in *)&a->sa)->sin_port);
	case AF_INET6: return ntohs(((const struct sockaddr_in6 *)&a->sa)->sin6_port);
	default: return 0;
	}
}

void addr_ip(const struct addr *a, char *out)
{
	switch (a->sa.ss_family) {
	case AF_INET:
		inet_ntop(AF_INET, &((const struct sockaddr_in *)&a->sa)->sin_addr, out,
			  INET6_ADDRSTRLEN);
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)&a->sa)->sin6_addr, out,
			  INET6_ADDRSTRLEN);
		break;
	default: memcpy(out, "unix", sizeof("unix"));
	}
}

bool addr_is_loopback(const struct addr *a)
{
	switch (a->sa.ss_family) {
	case AF_INET:
		return ntohl(((const struct sockaddr_in *)&a->sa)->sin_addr.s_addr) >> 24 == 127;
	case AF_INET6:
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&a->sa)->sin6_addr);
	default: return a->sa.ss_family == AF_UNIX;
	}
}
