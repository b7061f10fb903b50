/* A TLS 1.3 stream after its handshake: whatever records a client sends, in whatever pieces, what is
 * read is the content of those before the first that must not come; and what is written while the
 * socket takes little at a time arrives whole, in order, each record under a number of its own.
 *
 * Byte 0 says how the client's bytes are cut, byte 1 how much is read at once, byte 2 how fast the
 * client reads. The rest are steps: a record of content, one of another kind, raw bytes, a bit that
 * is turned over, something to write. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "reactor/loop_inner.h"
#include "reactor/tls_inner.h"

#define STEPS_MAX 64
#define WIRE_MAX (STEPS_MAX * (TLS_RECORD_MAX + 64))
#define PATTERN 251 /* content is 0, 1, 2 … 250, 0, …: a lost or doubled byte shows */

static struct {
	struct loop *loop;
	struct tls_server *server;
	struct stream stream;
	int fd;				 /* the client's */
	struct tls_keys rx, tx;		 /* the client's */
	uint8_t *wire;			 /* what the client has sent or will */
	size_t wire_n, wire_at, last_at; /* last_at: where the last record begins */
	size_t content_n;		 /* read, of <content_max> valid bytes */
	size_t content_max;
	bool valid, closes; /* nothing bad is on the wire; a close_notify is */
	bool over;	    /* the stream said so */
	size_t to_write, written, arrived;
	uint8_t in[4 * TLS_RECORD_MAX]; /* what came back, not opened yet */
	size_t in_n;
	uint8_t out[5 * TLS_RECORD_BYTES + PATTERN];
	unsigned cut, room, sip;
} s;

/* ---- the client ---- */

static void put_record(uint8_t type, const uint8_t *p, size_t n)
{
	size_t len = tls_record_seal(&s.tx, type, p, n, s.wire + s.wire_n);

	MUST(len);
	s.last_at = s.wire_n;
	s.wire_n += len;
}

static void put_content(size_t n)
{
	uint8_t content[TLS_RECORD_BYTES];

	for (size_t i = 0; i < n; i++)
		content[i] = (uint8_t)((s.content_max + i) % PATTERN);
	put_record(TLS_DATA, content, n);
	if (s.valid && !s.closes)
		s.content_max += n;
}

static void put_other(unsigned which)
{
	static const uint8_t update[5] = { 24, 0, 0, 1, 0 }, asks[5] = { 24, 0, 0, 1, 1 };
	static const uint8_t bye[2] = { 1, TLS_CLOSE_NOTIFY }, canceled[2] = { 1, 90 },
			     fatal[2] = { 2, 40 };

	switch (which % 8) {
	case 0:
	case 1:
		put_record(TLS_HANDSHAKE, which % 8 ? asks : update, 5);
		MUST(tls_keys_next(&s.tx));
		break;
	case 2:
		put_record(TLS_ALERT, bye, sizeof(bye));
		s.closes = s.closes || s.valid;
		break;
	case 3: put_record(TLS_ALERT, canceled, sizeof(canceled)); break;
	case 4:
		put_record(TLS_ALERT, fatal, sizeof(fatal));
		s.valid = s.valid && s.closes;
		break;
	case 5: /* two messages in one record, which keys must not follow */
		put_record(TLS_HANDSHAKE, update, 4);
		s.valid = s.valid && s.closes;
		break;
	case 6:
		put_record(22 + which / 8 % 8 * 2, update, 1);
		/* 24, 26, … are no types; 22 with one byte is no message. */
		s.valid = s.valid && s.closes;
		break;
	default: put_content(0);
	}
}

/* Opens what came back. */
static void check_arrived(void)
{
	uint8_t content[TLS_RECORD_MAX], type, alert;
	size_t at = 0, bytes, n;

	while (s.in_n - at >= 5 && (bytes = tls_record_length(s.in + at, &alert)) <= s.in_n - at) {
		MUST(bytes);
		MUST(tls_record_open(&s.rx, s.in + at, bytes, content, &n, &type) == 0);
		at += bytes;
		for (size_t i = 0; type == TLS_DATA && i < n; i++)
			MUST(content[i] == s.arrived++ % PATTERN);
		if (type == TLS_HANDSHAKE)
			MUST(n == 5 && content[0] == 24 && tls_keys_next(&s.rx));
	}
	memmove(s.in, s.in + at, s.in_n - at);
	s.in_n -= at;
}

static bool client_reads(size_t most)
{
	ssize_t n = read(s.fd, s.in + s.in_n, MIN(most, sizeof(s.in) - s.in_n));

	if (n <= 0)
		return false;
	s.in_n += (size_t)n;
	check_arrived();
	return true;
}

/* ---- the stream's owner ---- */

static void owner_reads(void)
{
	static uint8_t p[3 * TLS_RECORD_BYTES];

	while (!s.over) {
		ssize_t n = stream_read(&s.stream, p, s.room);

		for (ssize_t i = 0; i < n; i++)
			MUST(p[i] == s.content_n++ % PATTERN);
		MUST(s.content_n <= s.content_max);
		if (n == -EAGAIN && !s.stream.kind->pending(&s.stream))
			return;
		if (n == 0)
			MUST(s.closes);
		s.over = n <= 0 && n != -EAGAIN;
	}
}

static void owner_writes(void)
{
	size_t n = MIN(s.to_write - s.written, 5 * (size_t)TLS_RECORD_BYTES);
	struct iovec v[2];
	ssize_t put;

	if (!n)
		return;
	/* In two pieces, as a head and content come. */
	v[0] = (struct iovec){ s.out + s.written % PATTERN, n / 3 };
	v[1] = (struct iovec){ (uint8_t *)v[0].iov_base + n / 3, n - n / 3 };
	put = stream_write(&s.stream, v, 2);
	MUST(put <= (ssize_t)n);
	if (put > 0)
		s.written += (size_t)put;
	else if (put != -EAGAIN)
		s.to_write = s.written; /* it failed: nothing more is expected */
}

/* ---- a run ---- */

static void turn(void)
{
	size_t n = MIN(s.cut, s.wire_n - s.wire_at);
	ssize_t put = n ? send(s.fd, s.wire + s.wire_at, n, MSG_NOSIGNAL) : 0;

	s.wire_at += put > 0 ? (size_t)put : 0;
	client_reads(s.sip);
	s.loop->turn_began_us++;
	s.stream.kind->woken(&s.stream, STREAM_READ | STREAM_WRITE);
	owner_reads();
	owner_writes();
}

static void set_up_once(void)
{
	struct err err;

	if (s.loop)
		return;
	MUST(loop_create(&s.loop, &err) == 0);
	s.server = calloc(1, sizeof(*s.server));
	s.wire = malloc(WIRE_MAX);
	MUST(s.server && s.wire);
	for (size_t i = 0; i < sizeof(s.out); i++)
		s.out[i] = (uint8_t)(i % PATTERN);
	s.server->loop = s.loop;
	/* One idle block at most: what a chain of them hides looks like a leak. */
	pool_init(&s.server->blocks, "TLS blocks", TLS_BLOCK_BYTES, 4, 1);
	MUST(tls_suite_init(&s.server->suites[0], 0x1301, "AES-128-GCM", "SHA256", 32));
}

static void on_ready(void *arg, int events)
{
	(void)arg;
	(void)events;
}

static void open_pair(void)
{
	struct stream_tls *t = calloc(1, sizeof(*t));
	const struct tls_suite *suite = &s.server->suites[0];
	int fds[2], small = 4096;

	MUST(t && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	stream_adopt(&s.stream, s.loop, fds[0], &tls13_kind, on_ready, NULL);
	s.fd = fds[1];
	s.stream.tls = t;
	t->stream = &s.stream;
	t->server = s.server;
	t->done = true;
	memset(t->rx.secret, 1, 32);
	memset(t->tx.secret, 2, 32);
	s.rx = (struct tls_keys){ 0 };
	s.tx = (struct tls_keys){ 0 };
	memset(s.tx.secret, 1, 32);
	memset(s.rx.secret, 2, 32);
	MUST(tls_keys_init(&t->rx, suite, false) && tls_keys_init(&t->tx, suite, true));
	MUST(tls_keys_init(&s.rx, suite, false) && tls_keys_init(&s.tx, suite, true));
}

static void run_steps(const uint8_t *p, size_t n)
{
	for (unsigned steps = 0; n >= 3 && steps < STEPS_MAX; steps++, p += 3, n -= 3) {
		size_t value = (size_t)p[1] << 8 | p[2];

		switch (p[0] % 8) {
		case 0:
		case 1: put_content(value % (TLS_RECORD_BYTES + 1)); break;
		case 2: put_content(value % 64); break;
		case 3: put_other((unsigned)value); break;
		case 4: /* something that no key has sealed */
			memset(s.wire + s.wire_n, p[2], 1 + p[1] % 64);
			s.last_at = s.wire_n;
			s.wire_n += 1u + p[1] % 64;
			s.valid = s.valid && s.closes;
			break;
		case 5: /* neither the last record is valid then, nor what comes behind it */
			if (s.valid && s.wire_n > s.last_at && s.last_at >= s.wire_at) {
				s.wire[s.last_at + value % (s.wire_n - s.last_at)] ^= 1;
				s.valid = false;
			}
			break;
		default: s.to_write += value; break;
		}
		for (unsigned i = 0; i < p[0] / 64u; i++)
			turn();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned idle = 0;

	if (size < 3)
		return 0;
	set_up_once();
	s.wire_n = s.wire_at = s.last_at = s.content_n = s.content_max = 0;
	s.to_write = s.written = s.arrived = s.in_n = 0;
	s.valid = true;
	s.closes = s.over = false;
	s.cut = 1 + (unsigned)data[0] * data[0];
	s.room = 1 + (unsigned)data[1] * data[1] / 2;
	s.sip = 1 + (unsigned)data[2] * data[2] / 4;
	open_pair();
	run_steps(data + 3, size - 3);
	/* Fast now: what is left gets through. */
	s.cut = TLS_RECORD_MAX;
	s.sip = sizeof(s.in);
	while (idle < 3) {
		size_t before = s.wire_at + s.content_n + s.written + s.arrived;

		turn();
		idle = s.wire_at + s.content_n + s.written + s.arrived == before ? idle + 1 : 0;
	}
	if (s.valid && !s.over)
		MUST(s.content_n == s.content_max);
	if (!s.over)
		MUST(s.arrived == s.written);
	stream_close(&s.stream, false);
	close(s.fd);
	tls_keys_fini(&s.rx);
	tls_keys_fini(&s.tx);
	MUST(s.server->blocks.used == 0);
	return 0;
}
