/* The outbox over a socket that takes what it likes: whatever the cuts, the bytes that leave are
 * the right ones. */
#include <errno.h>

#include "check.h"
#include "http/outbox.h"
#include "reactor/stream_inner.h"

#define SEEDS 3000
#define CONTENT_MAX 120000
#define RECORD_MAX 16384

static uint32_t seed;

static uint32_t dice(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* The other end of the wire. */
static struct {
	char got[CONTENT_MAX * 3];
	size_t len;
	char sealed[RECORD_MAX]; /* TLS: what it has encrypted and could not send */
	size_t sealed_len;
	uint32_t run; /* for messages */
} wire;

static size_t gather(char *out, size_t skip, size_t max, const struct iovec *iov, int iovcnt)
{
	size_t n = 0;

	for (int i = 0; i < iovcnt && n < max; i++) {
		size_t from = MIN(skip, iov[i].iov_len), part = MIN(iov[i].iov_len - from, max - n);

		memcpy(out + n, (char *)iov[i].iov_base + from, part);
		skip -= from;
		n += part;
	}
	return n;
}

static void carry(const char *p, size_t n)
{
	assert_true(wire.len + n <= sizeof(wire.got));
	memcpy(wire.got + wire.len, p, n);
	wire.len += n;
}

/* A plain socket takes any part. */
static ssize_t plain_write(const struct iovec *iov, int iovcnt)
{
	static char piece[CONTENT_MAX * 2];
	size_t n = gather(piece, 0, sizeof(piece), iov, iovcnt);

	if (dice(3) == 0)
		return -EAGAIN;
	if (dice(2)) {
		size_t part = 1 + dice(dice(2) ? 30 : (uint32_t)n);

		n = MIN(n, part);
	}
	carry(piece, n);
	return (ssize_t)n;
}

/* TLS takes whole records; one that it could not send is sealed: its bytes must come first next
 * time. */
static ssize_t tls_write(const struct iovec *iov, int iovcnt)
{
	char record[RECORD_MAX];
	size_t total = 0;

	for (;;) {
		size_t n = gather(record, total, wire.sealed_len ? wire.sealed_len : RECORD_MAX,
				  iov, iovcnt);

		assert_true(n >= wire.sealed_len);
		if (n == 0)
			return (ssize_t)total;
		if (wire.sealed_len && memcmp(record, wire.sealed, wire.sealed_len) != 0)
			fail_msg("run %u: other bytes after a refusal", wire.run);
		if (dice(3) == 0) {
			memcpy(wire.sealed, record, n);
			wire.sealed_len = n;
			return total ? (ssize_t)total : -EAGAIN;
		}
		wire.sealed_len = 0;
		carry(record, n);
		total += n;
	}
}

static ssize_t fake_write(struct stream *s, const struct iovec *iov, int iovcnt)
{
	return s->tls ? tls_write(iov, iovcnt) : plain_write(iov, iovcnt);
}

static const struct stream_kind fake = { .write = fake_write };

static struct outbox out;
static struct pool blocks, big_blocks;
static struct stream stream;

/* The socket is writable again, or the turn ends. */
static void flush(void)
{
	int rc;

	if (out.blocked && dice(2))
		return;
	out.blocked = false;
	rc = outbox_flush(&out, &stream);
	assert_true(rc == 0 || rc == -EAGAIN);
}

static void send_content(const char *content, size_t total)
{
	size_t sent = 0, offered = 0;
	struct iovec v[3];
	ssize_t taken;

	while (sent < total) {
		/* What was not taken is offered again: the same, at least. */
		size_t more = 1 + dice(dice(3) ? 40000 : 60),
		       n = MAX(offered, MIN(total - sent, more));
		size_t a = dice((uint32_t)n + 1), b = a + dice((uint32_t)(n - a) + 1);

		v[0] = (struct iovec){ (char *)content + sent, a };
		v[1] = (struct iovec){ (char *)content + sent + a, b - a };
		v[2] = (struct iovec){ (char *)content + sent + b, n - b };
		taken = outbox_write(&out, &stream, v, 3);
		assert_true(taken >= 0 && (size_t)taken <= n);
		sent += (size_t)taken;
		offered = n - (size_t)taken;
		flush();
	}
}

static size_t decode_chunks(char *content)
{
	struct chunk_parser c;
	struct head trailers;
	struct slice data;
	size_t at = 0, len = 0, used;
	const char *why;
	enum chunk_event e;

	chunk_init(&c);
	do {
		e = chunk_next(&c, wire.got + at, wire.len - at, &used, &data, &trailers, &why);
		if (e == CHUNK_BAD || e == CHUNK_MORE)
			fail_msg("run %u: %s at %zu of %zu", wire.run, why ? why : "incomplete", at,
				 wire.len);
		at += used;
		if (e == CHUNK_DATA) {
			memmove(content + len, data.p, data.n);
			len += data.n;
		}
	} while (e != CHUNK_END);
	assert_int_equal(at, wire.len);
	return len;
}

static void run(uint8_t framing, bool tls)
{
	static char content[CONTENT_MAX], decoded[CONTENT_MAX * 3];
	size_t total = dice(4) ? dice(CONTENT_MAX) : dice(300), len;

	for (size_t i = 0; i < total; i++)
		content[i] = (char)dice(256);
	wire.len = wire.sealed_len = 0;
	stream = (struct stream){ .kind = &fake, .tls = tls ? (struct stream_tls *)&wire : NULL };
	outbox_init(&out, &blocks, &big_blocks);
	outbox_frame(&out, framing, total);
	send_content(content, total);
	assert_int_equal(outbox_end(&out, NULL), 0);
	while (outbox_len(&out))
		flush();
	assert_null(out.buf.mem);
	len = wire.len;
	if (framing == BODY_CHUNKED)
		len = decode_chunks(decoded);
	else
		memcpy(decoded, wire.got, len);
	if (len != total)
		fail_msg("run %u: %zu bytes of %zu", wire.run, len, total);
	assert_memory_equal(decoded, content, total);
	assert_int_equal(blocks.used + big_blocks.used, 0);
}

static void test_cuts(void **state)
{
	static const uint8_t framings[] = { BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

	(void)state;
	pool_init(&blocks, "blocks", 16384, 4, 4);
	pool_init(&big_blocks, "big blocks", 49152, 4, 4);
	for (uint32_t i = 0; i < SEEDS; i++) {
		seed = wire.run = i;
		run(framings[i % 3], i / 3 % 2);
	}
	pool_fini(&blocks);
	pool_fini(&big_blocks);
}

/* Memory may run out anywhere: an error, never a wrong byte. */
static void test_shortage(void **state)
{
	struct iovec v = { (char *)"hello", 5 };
	struct head h;

	(void)state;
	pool_init(&blocks, "blocks", 16384, 1, 1);
	pool_init(&big_blocks, "big blocks", 49152, 1, 1);
	blocks.cap = big_blocks.cap = 0;
	stream = (struct stream){ .kind = &fake };
	outbox_init(&out, &blocks, &big_blocks);
	head_init(&h);
	h.status = 200;
	assert_int_equal(outbox_head(&out, write_response, &h, &(struct write_framing){ 0 }),
			 -ENOMEM);
	outbox_frame(&out, BODY_CHUNKED, 0);
	assert_int_equal(outbox_write(&out, &stream, &v, 1), -ENOMEM);
	assert_int_equal(outbox_end(&out, NULL), -ENOMEM);
	outbox_frame(&out, BODY_LENGTH, 4);
	assert_int_equal(outbox_write(&out, &stream, &v, 1), -EPROTO);
	assert_int_equal(outbox_end(&out, NULL), -EPROTO);
	outbox_frame(&out, BODY_NONE, 0);
	assert_int_equal(outbox_write(&out, &stream, &v, 1), 5);
	pool_fini(&blocks);
	pool_fini(&big_blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_shortage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
