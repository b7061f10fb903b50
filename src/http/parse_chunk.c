/* The chunked coding (RFC 9112 §7.1), one byte at a time around runs of content. */
#include "http/fields.h"

#include <errno.h>

#define MAX_SIZE_DIGITS 15 /* 2^60: what follows cannot overflow */
#define MAX_EXT_BYTES 256
#define MAX_TRAILER_BYTES 8192

/* What a peer may send around its content, beyond a share that every chunk brings with it: who hides
 * a flood in size lines is found out after this much. */
#define CHUNK_SHARE_BYTES 16
#define MAX_EXCESS_BYTES 16384

enum {
	AT_SIZE,
	AT_EXT, /* behind a ';' */
	AT_EXT_NAME,
	AT_EXT_EQUALS, /* behind a '=' */
	AT_EXT_TOKEN,
	AT_EXT_QUOTED,
	AT_EXT_ESCAPE, /* behind a '\\' inside quotes */
	AT_EXT_QUOTE_END,
	AT_SIZE_LF,
	AT_DATA,
	AT_DATA_CR,
	AT_DATA_LF,
	AT_TRAILER,
	AT_END
};

void chunk_init(struct chunk_parser *c)
{
	*c = (struct chunk_parser){ .state = AT_SIZE };
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of ";name=token;name=\"quoted\"": the state it leads to, or -1. The white space that RFC
 * 9110 calls bad is not let in: nobody sends it but to find out who reads it how. */
static int ext_next(uint8_t state, char byte)
{
	switch (state) {
	case AT_EXT: return byte_is(byte, CLASS_TOKEN) ? AT_EXT_NAME : -1;
	case AT_EXT_EQUALS:
		if (byte == '"')
			return AT_EXT_QUOTED;
		return byte_is(byte, CLASS_TOKEN) ? AT_EXT_TOKEN : -1;
	case AT_EXT_QUOTED:
		if (byte == '"')
			return AT_EXT_QUOTE_END;
		if (byte == '\\')
			return AT_EXT_ESCAPE;
		return byte_is(byte, CLASS_VALUE) ? AT_EXT_QUOTED : -1;
	case AT_EXT_ESCAPE: return byte_is(byte, CLASS_VALUE) ? AT_EXT_QUOTED : -1;
	default: /* AT_EXT_NAME, AT_EXT_TOKEN, AT_EXT_QUOTE_END */
		if (byte == ';')
			return AT_EXT;
		if (byte == '\r')
			return AT_SIZE_LF;
		if (byte == '=' && state == AT_EXT_NAME)
			return AT_EXT_EQUALS;
		return state != AT_EXT_QUOTE_END && byte_is(byte, CLASS_TOKEN) ? state : -1;
	}
}

/* The size line is complete. */
static const char *size_end(struct chunk_parser *c)
{
	uint64_t share = CHUNK_SHARE_BYTES + 2 * MIN(c->left, MAX_EXCESS_BYTES);

	c->line_bytes = 0;
	c->state = c->left ? AT_DATA : AT_TRAILER;
	c->excess_bytes = c->excess_bytes > share ? c->excess_bytes - (uint32_t)share : 0;
	return c->excess_bytes > MAX_EXCESS_BYTES ? "more chunk framing than content" : NULL;
}

/* One byte of "1f4;name=value\r\n". NULL, or what is wrong with it. */
static const char *size_byte(struct chunk_parser *c, char byte)
{
	int digit, next;

	c->excess_bytes++;
	switch (c->state) {
	case AT_SIZE:
		digit = hex_digit(byte);
		if (digit >= 0 && c->line_bytes < MAX_SIZE_DIGITS) {
			c->left = c->left << 4 | (unsigned)digit;
			c->line_bytes++;
			return NULL;
		}
		if (c->line_bytes == 0 || digit >= 0)
			return "malformed chunk size";
		if (byte != '\r' && byte != ';')
			return "malformed chunk size";
		c->state = byte == '\r' ? AT_SIZE_LF : AT_EXT;
		c->line_bytes = 0;
		return NULL;
	case AT_SIZE_LF: return byte == '\n' ? size_end(c) : "chunk size line not ended by CRLF";
	default:
		next = ext_next(c->state, byte);
		if (next < 0)
			return "malformed chunk extension";
		if (next != AT_SIZE_LF && ++c->line_bytes > MAX_EXT_BYTES)
			return "chunk extension too long";
		c->state = (uint8_t)next;
		return NULL;
	}
}

static const char *data_end_byte(struct chunk_parser *c, char byte)
{
	if (byte != (c->state == AT_DATA_CR ? '\r' : '\n'))
		return "chunk data not ended by CRLF";
	c->state = c->state == AT_DATA_CR ? AT_DATA_LF : AT_SIZE;
	return NULL;
}

static enum chunk_event take_trailers(struct chunk_parser *c, const char *p, size_t n, size_t *used,
				      struct head *trailers, const char **why)
{
	ssize_t len = fields_end(&c->trailer_bytes, p, n, MAX_TRAILER_BYTES);
	struct parse_fault fault;
	uint64_t twice;

	if (len == 0)
		return CHUNK_MORE;
	if (len < 0) {
		*why = len == -EMSGSIZE ? "trailers too large" : "bare LF in trailers";
		return CHUNK_BAD;
	}
	head_init(trailers);
	if (fields_parse(p, p + len - 2, trailers, &twice, &fault) < 0) {
		*why = fault.why;
		return CHUNK_BAD;
	}
	/* They came too late to mean anything, and whoever reads them otherwise would be led on. */
	if (trailers->first[FIELD_CONTENT_LENGTH] || trailers->first[FIELD_TRANSFER_ENCODING] ||
	    trailers->first[FIELD_CONNECTION] || trailers->first[FIELD_UPGRADE]) {
		*why = "framing fields in trailers";
		return CHUNK_BAD;
	}
	*used += (size_t)len;
	c->state = AT_END;
	return CHUNK_END;
}

enum chunk_event chunk_next(struct chunk_parser *c, const char *p, size_t n, size_t *used,
			    struct slice *data, struct head *trailers, const char **why)
{
	*used = 0;
	*why = NULL;
	while (*used < n) {
		switch (c->state) {
		case AT_DATA:
			*data = slice_of(p + *used, MIN(c->left, n - *used));
			c->left -= data->n;
			*used += data->n;
			if (c->left == 0)
				c->state = AT_DATA_CR;
			return CHUNK_DATA;
		case AT_TRAILER: return take_trailers(c, p + *used, n - *used, used, trailers, why);
		case AT_END: return CHUNK_END;
		case AT_DATA_CR:
		case AT_DATA_LF: *why = data_end_byte(c, p[(*used)++]); break;
		default: *why = size_byte(c, p[(*used)++]); break;
		}
		if (*why)
			return CHUNK_BAD;
	}
	return CHUNK_MORE;
}
