/* The header of the PROXY protocol, versions 1 and 2, with which a load balancer in front says whose
 * connection it passes on (haproxy's doc/proxy-protocol.txt). Pure, strict, resumable at every
 * byte; nothing behind the header is touched. */
#ifndef TEMPS_HTTP_PROXY_HEADER_H
#define TEMPS_HTTP_PROXY_HEADER_H

#include "base/text.h"

#define PROXY_HEADER_V1_MAX 107u  /* bytes with CRLF, §2.1 */
#define PROXY_HEADER_V2_MAX 4096u /* bytes behind the first 16: addresses and TLVs */
#define PROXY_HEADER_KEPT 108u

struct proxy_header {
	uint16_t n;	 /* bytes seen */
	uint16_t len;	 /* v2: of what follows the first 16 */
	uint16_t tlvs;	 /* v2: where they begin, behind the 16 */
	uint16_t value;	 /* v2: bytes left of the TLV that is skipped */
	uint8_t tlv_n;	 /* v2: bytes seen of a TLV's own header */
	uint8_t tlv_len; /* v2: the first byte of its length */
	uint8_t bytes[PROXY_HEADER_KEPT];
};

enum proxy_header_result {
	PROXY_HEADER_MORE, /* so far it is one */
	PROXY_HEADER_FROM, /* complete: <from> is whose connection it is */
	PROXY_HEADER_NONE, /* complete: the sender's own (LOCAL), or an address that is not TCP's */
	PROXY_HEADER_BAD,  /* <why>: static text */
};

/* <h> is zero at first. Takes <*used> of the <n> bytes: all, or those up to the header's end. Not to
 * be called again after another result than PROXY_HEADER_MORE. */
enum proxy_header_result proxy_header_feed(struct proxy_header *h, const uint8_t *p, size_t n,
					   size_t *used, struct addr *from, const char **why);

#endif
