/* JSON: parsing survives anything, and whatever we emit is parsed again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what, const struct buf *b)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %.*s\n", what, (int)b->len, b->data);
	abort();
}

/* What was accepted can be walked, dumped, and parsed to the same text. */
static void round_trip(struct slice text)
{
	struct json *j, *again;
	struct buf first, second;

	if (json_parse(&j, text, NULL) < 0)
		return;
	buf_init(&first, 0);
	buf_init(&second, 0);
	must(json_dump(j, true, &first) == 0, "dump", &first);
	must(json_parse(&again, buf_slice(&first), NULL) == 0, "refused what was dumped", &first);
	must(json_dump(again, true, &second) == 0, "dump", &second);
	must(slice_eq(buf_slice(&first), buf_slice(&second)), "another text the second time", &second);
	json_free(again);
	json_free(j);
	buf_fini(&first);
	buf_fini(&second);
}

/* The bytes as instructions to the emitter: one picks the value, those after it are the value. */
static void emit(const uint8_t *data, size_t size)
{
	unsigned depth = 1;
	struct json_out o;
	struct json *j;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_arr(&o, NULL);
	while (size) {
		size_t n = MIN(size - 1, (size_t)(data[0] >> 3));
		int64_t v = 0;
		double real;

		memcpy(&v, data + 1, MIN(n, sizeof(v)));
		memcpy(&real, &v, sizeof(real));
		switch (data[0] & 7) {
		case 0: json_put_slice(&o, NULL, slice_of(data + 1, n)); break;
		case 1: json_put_int(&o, NULL, v); break;
		case 2: json_put_real(&o, NULL, real); break;
		case 3: json_put_bool(&o, NULL, v & 1); break;
		case 4: json_put_time(&o, NULL, (uint64_t)v); break;
		case 5: json_put_null(&o, NULL); break;
		case 6:
			if (depth < JSON_MAX_DEPTH) {
				json_arr(&o, NULL);
				depth++;
			}
			break;
		default:
			if (depth > 1) {
				json_arr_end(&o);
				depth--;
			}
		}
		data += 1 + n;
		size -= 1 + n;
	}
	while (depth--)
		json_arr_end(&o);
	must(json_parse(&j, buf_slice(&b), NULL) == 0, "refused what was emitted", &b);
	json_free(j);
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	round_trip(slice_of(data, size));
	emit(data, size);
	return 0;
}
