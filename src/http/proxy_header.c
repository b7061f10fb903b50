/* PROXY protocol, versions 1 and 2. */
#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define V2_FIXED 16u
#define V2_SIGNATURE 12u
#define V4_ADDRESSES 12u
#define V6_ADDRESSES 36u
#define UNIX_ADDRESSES 216u

static const uint8_t v2_signature[V2_SIGNATURE] = "\r\n\r\n\0\r\nQUIT\n";
static const char v1_signature[] = "PROXY ";

static enum proxy_header_result bad(const char **why, const char *text)
{
	*why = text;
	return PROXY_HEADER_BAD;
}

/* ---- version 1: a line ---- */

/* The text up to the next space, or the rest. */
static struct slice word(struct slice *line)
{
	return slice_split(*line, ' ', line);
}

/* 0 to 65535, as it is usually written. */
static bool parse_port(struct slice s, uint16_t *port)
{
	uint64_t v;

	if (s.n == 0 || (s.n > 1 && s.p[0] == '0') || slice_u64(s, &v) < 0 || v > UINT16_MAX)
		return false;
	*port = (uint16_t)v;
	return true;
}

static bool parse_ip(int family, struct slice s, void *out)
{
	char text[INET6_ADDRSTRLEN];

	return slice_copy(s, text, sizeof(text)) == 0 && inet_pton(family, text, out) == 1;
}

static void make_addr(struct addr *from, int family, const void *ip, uint16_t port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (family == AF_INET) {
		memcpy(&v4.sin_addr, ip, sizeof(v4.sin_addr));
		addr_from(from, (struct sockaddr *)&v4, sizeof(v4));
	} else {
		memcpy(&v6.sin6_addr, ip, sizeof(v6.sin6_addr));
		addr_from(from, (struct sockaddr *)&v6, sizeof(v6));
	}
}

/* "TCP4 192.0.2.1 198.51.100.1 4711 443", without "PROXY " and CRLF. */
static enum proxy_header_result finish_v1(struct slice line, struct addr *from, const char **why)
{
	struct slice kind = word(&line), source, target;
	uint8_t ip[16], other[16];
	uint16_t port, other_port;
	int family;

	if (slice_eq(kind, SLICE("UNKNOWN")))
		return PROXY_HEADER_NONE;
	if (slice_eq(kind, SLICE("TCP4")))
		family = AF_INET;
	else if (slice_eq(kind, SLICE("TCP6")))
		family = AF_INET6;
	else
		return bad(why, "PROXY header: neither TCP4, TCP6 nor UNKNOWN");
	source = word(&line);
	target = word(&line);
	if (!parse_ip(family, source, ip) || !parse_ip(family, target, other))
		return bad(why, "PROXY header: an address of another kind, or none");
	source = word(&line);
	target = word(&line);
	if (!parse_port(source, &port) || !parse_port(target, &other_port) || line.p)
		return bad(why, "PROXY header: ports are not two numbers at its end");
	make_addr(from, family, ip, port);
	return PROXY_HEADER_FROM;
}

static enum proxy_header_result feed_v1(struct proxy_header *h, uint8_t byte, struct addr *from,
					const char **why)
{
	const size_t skip = sizeof(v1_signature) - 1;
	uint8_t last = h->n ? h->bytes[h->n - 1] : 0;

	if (h->n < skip && byte != (uint8_t)v1_signature[h->n])
		return bad(why, "no PROXY header");
	if (last == '\r' && byte != '\n')
		return bad(why, "PROXY header: a bare CR");
	if (byte == '\n' && last != '\r')
		return bad(why, "PROXY header: a bare LF");
	h->bytes[h->n++] = byte;
	if (byte == '\n')
		return finish_v1(slice_of(h->bytes + skip, h->n - skip - 2), from, why);
	if (h->n == PROXY_HEADER_V1_MAX)
		return bad(why, "PROXY header: no end within 107 bytes");
	return PROXY_HEADER_MORE;
}

/* ---- version 2: binary ---- */

/* The first 16 bytes are there. */
static const char *check_fixed(struct proxy_header *h)
{
	uint8_t command = h->bytes[12], family = h->bytes[13];
	bool local = command == 0x20;

	h->len = (uint16_t)(h->bytes[14] << 8 | h->bytes[15]);
	if (!local && command != 0x21)
		return "PROXY header: unknown version or command";
	if (h->len > PROXY_HEADER_V2_MAX)
		return "PROXY header: longer than 4096 bytes";
	switch (family) {
	case 0x00: /* unspecified: no address that anybody could read, TLVs or not */
		h->tlvs = h->len;
		break;
	case 0x11: h->tlvs = V4_ADDRESSES; break;
	case 0x21: h->tlvs = V6_ADDRESSES; break;
	case 0x31: h->tlvs = UNIX_ADDRESSES; break;
	default:
		if (!local)
			return "PROXY header: not of a stream, or of an unknown family";
		break;
	}
	/* A LOCAL header's addresses mean nothing and need not be there (§2.2). */
	if (local)
		h->tlvs = h->len;
	return h->tlvs > h->len ? "PROXY header: shorter than its addresses" : NULL;
}

/* One byte of the TLVs, which are skipped: each must end where the header does, or before. */
static const char *feed_tlv(struct proxy_header *h, uint8_t byte, size_t left)
{
	if (h->value) {
		h->value--;
		return NULL;
	}
	if (++h->tlv_n == 2)
		h->tlv_len = byte;
	if (h->tlv_n < 3)
		return left ? NULL : "PROXY header: a TLV without its length";
	h->tlv_n = 0;
	h->value = (uint16_t)(h->tlv_len << 8 | byte);
	return h->value > left ? "PROXY header: a TLV that is longer than it" : NULL;
}

static enum proxy_header_result finish_v2(const struct proxy_header *h, struct addr *from)
{
	const uint8_t *p = h->bytes + V2_FIXED;

	if (h->bytes[12] == 0x20)
		return PROXY_HEADER_NONE;
	switch (h->bytes[13]) {
	case 0x11:
		make_addr(from, AF_INET, p, (uint16_t)(p[8] << 8 | p[9]));
		return PROXY_HEADER_FROM;
	case 0x21:
		make_addr(from, AF_INET6, p, (uint16_t)(p[32] << 8 | p[33]));
		return PROXY_HEADER_FROM;
	default: return PROXY_HEADER_NONE;
	}
}

static enum proxy_header_result feed_v2(struct proxy_header *h, uint8_t byte, struct addr *from,
					const char **why)
{
	const char *fault = NULL;

	if (h->n < V2_SIGNATURE && byte != v2_signature[h->n])
		return bad(why, "no PROXY header");
	if (h->n < PROXY_HEADER_KEPT)
		h->bytes[h->n] = byte;
	h->n++;
	if (h->n < V2_FIXED)
		return PROXY_HEADER_MORE;
	if (h->n == V2_FIXED)
		fault = check_fixed(h);
	else if (h->n > V2_FIXED + h->tlvs)
		fault = feed_tlv(h, byte, V2_FIXED + h->len - h->n);
	if (fault)
		return bad(why, fault);
	return h->n == V2_FIXED + h->len ? finish_v2(h, from) : PROXY_HEADER_MORE;
}

enum proxy_header_result proxy_header_feed(struct proxy_header *h, const uint8_t *p, size_t n,
					   size_t *used, struct addr *from, const char **why)
{
	enum proxy_header_result result = PROXY_HEADER_MORE;

	for (*used = 0; *used < n && result == PROXY_HEADER_MORE; ++*used) {
		uint8_t first = h->n ? h->bytes[0] : p[0];

		if (first == v2_signature[0])
			result = feed_v2(h, p[*used], from, why);
		else
			result = feed_v1(h, p[*used], from, why);
	}
	return result;
}
