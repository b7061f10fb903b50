/* A counter behind a mixing function, from a random start. */
#include "http/request_id.h"

#include <endian.h>

/* A bijection that spreads neighbouring numbers. */
static uint64_t mix(uint64_t v)
{
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
	v = (v ^ v >> 27) * 0x94d049bb133111eb;
	return v ^ v >> 31;
}

/* Eight hex digits, the lowest first. */
static void put_hex(char *out, uint32_t v)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t x = v, letter;

	/* A digit's four bits to a byte each. */
	x = (x | x << 16) & 0x0000ffff0000ffffu;
	x = (x | x << 8) & 0x00ff00ff00ff00ffu;
	x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
	letter = (x + each * 6) >> 4 & each; /* 1 in the bytes above 9 */
	x += each * '0' + letter * ('a' - '9' - 1);
	x = htole64(x);
	memcpy(out, &x, sizeof(x));
}

void request_id_make(struct request_ids *ids, char id[REQUEST_ID_MAX + 1])
{
	uint64_t n = ids->count++;
	uint64_t word[2] = { mix(ids->seed[0] + n), mix(ids->seed[1] ^ n * 0x9e3779b97f4a7c15) };

	for (int i = 0; i < 4; i++)
		put_hex(id + 8 * i, (uint32_t)(word[i / 2] >> i % 2 * 32));
	id[32] = '\0';
}

bool request_id_valid(struct slice s)
{
	if (s.n < 1 || s.n > REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char ch = s.p[i];

		if (!((ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') ||
		      ch == '.' || ch == '_' || ch == '-'))
			return false;
	}
	return true;
}
