/* Small text forms: hex, base64, times, sizes, names, key=value lists, socket addresses. */
#ifndef TEMPS_BASE_TEXT_H
#define TEMPS_BASE_TEXT_H

#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"

/* <hex> takes 2*n+1 bytes. */
void text_hex(const void *p, size_t n, char *hex);
int text_unhex(struct slice hex, void *out,
	       size_t n) MUST_CHECK; /* -EINVAL unless exactly 2*n hex digits */
/* Appends base64: padded standard alphabet, or the URL alphabet without padding. */
void text_base64(struct buf *out, const void *p, size_t n, bool url);
/* Decodes either alphabet, padding optional; appends. -EINVAL on anything else. */
int text_unbase64(struct buf *out, struct slice s) MUST_CHECK;

/* "2026-03-04T12:00:00Z" (<out> takes 32 bytes; with_ms adds ".123"). */
void text_time(uint64_t wall_ms, bool with_ms, char *out);
/* RFC 3339 with fraction and offset, as Docker prints it (nanoseconds). Milliseconds since 1970, 0
 * for anything before (Docker's "0001-01-01T00:00:00Z" means never); -EINVAL. */
int text_parse_time(struct slice s, uint64_t *wall_ms) MUST_CHECK;
/* "30s", "5m", "2h", "7d", "250ms" or plain seconds, whole numbers; -EINVAL, -ERANGE. */
int text_parse_duration(struct slice s, uint64_t *ms) MUST_CHECK;
/* "512m", "2g", "64k", "10MiB", "1048576": powers of 1024; -EINVAL, -ERANGE. */
int text_parse_size(struct slice s, uint64_t *bytes) MUST_CHECK;
/* "14 s ago", "3 min ago" for listings; <out> takes 32 bytes. */
void text_age(uint64_t ms, char *out);
/* "1.4 GiB"; <out> takes 32 bytes. */
void text_size(uint64_t bytes, char *out);

/* [A-Za-z0-9._-]{1,64}, not starting with '.' or '-' : names of nodes. */
bool text_is_name(struct slice s);
/* DNS label rules, lower case, 1-50 characters: names of apps, which become parts of container
 * names. */
bool text_is_app_name(struct slice s);
/* A host name as a route may have it: LDH labels, at most 253 bytes, optionally "*." in front; not
 * an IP address. */
bool text_is_host(struct slice s);

/* A socket address and its text. */
struct addr {
	struct sockaddr_storage sa;
	socklen_t len;
	char text[64]; /* "127.0.0.1:8080", "[::1]:8080" or "unix:/path" cut to fit */
};

/* "A:P", "[v6]:P"; never a name. -EINVAL with the reason in <err>. */
int addr_parse(struct addr *out, struct slice s, struct err *err) MUST_CHECK;
/* Literal address and port. */
int addr_make(struct addr *out, struct slice ip, uint16_t port, struct err *err) MUST_CHECK;
/* From what accept(2), getsockname(2) or getpeername(2) gave. An IPv4-mapped address becomes the
 * IPv4 one. */
void addr_from(struct addr *out, const struct sockaddr *sa, socklen_t len);
uint16_t addr_port(const struct addr *a); /* 0 for a unix socket */
/* Without the port and brackets, "unix" for a unix socket; <out> takes 64 bytes. */
void addr_ip(const struct addr *a, char *out);
/* 127.0.0.0/8, ::1, or a unix socket. */
bool addr_is_loopback(const struct addr *a);

#endif
