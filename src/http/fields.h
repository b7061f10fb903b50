/* Field lines, which heads and trailer sections share, and the classes of bytes that HTTP's grammar
 * is made of. */
#ifndef TEMPS_HTTP_FIELDS_H
#define TEMPS_HTTP_FIELDS_H

#include "http/parse.h"

enum {
	CLASS_TOKEN = 1,  /* tchar, RFC 9110 §5.6.2 */
	CLASS_VALUE = 2,  /* field-vchar, SP and HTAB, RFC 9110 §5.5: no control bytes */
	CLASS_TARGET = 4, /* VCHAR without '#': what a request target may hold */
	CLASS_HOST = 8, /* unreserved, RFC 3986 §2.3: no userinfo, no percent, no sub-delimiters */
};
extern const uint8_t byte_class[256];

static inline bool byte_is(char c, uint8_t class)
{
	return byte_class[(uint8_t)c] & class;
}

/* Finds the empty line that ends a section which starts at p[0]. <*seen> (zero at first) remembers
 * how far it looked. The number of bytes including the empty line; 0: not there yet; -EBADMSG: a
 * bare LF; -EMSGSIZE: no end within <max> bytes. */
ssize_t fields_end(uint32_t *seen, const char *p, size_t n, size_t max);

/* Parses [p, end): field lines, each closed by CRLF, every LF known to follow a CR. Adds them to
 * <h>. <*twice> gets a bit 1 << id for each known field that came more than once. -EBADMSG with
 * <fault> filled in. */
int fields_parse(const char *p, const char *end, struct head *h, uint64_t *twice,
		 struct parse_fault *fault) MUST_CHECK;

/* For the parsers: fills in the fault, returns -EBADMSG. */
int parse_reject(struct parse_fault *fault, uint16_t status, const char *why);

/* Which known field has that name, in any case? */
enum field_id field_lookup(struct slice name);
/* Would it change what the message means after it was acted on (RFC 9110 §6.5.1)? */
bool field_barred_from_trailers(uint8_t id);

#define METHOD_MAX_BYTES 32 /* longer: 501 */
uint8_t method_lookup(struct slice m);

#endif
