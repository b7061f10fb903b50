/* TLS 1.3 after the handshake. OpenSSL has agreed on the keys; records are opened and sealed here,
 * as a kernel with TLS of its own would: straight between the caller's memory and the socket,
 * several at a time, and an idle connection holds two ciphers and nothing else. */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include "reactor/loop_inner.h"
#include "reactor/tls_inner.h"

#define KEY_UPDATE 24 /* RFC 8446 §4.6.3 */
#define UPDATE_BYTES 5
#define CONTROL_BYTES (UPDATE_BYTES + TLS_RECORD_EXTRA) /* the largest record of our own */
#define IDLE_RECORDS_MAX 32				/* what other libraries allow too */
#define SEALED_MAX (1ull << 24) /* records under one key; AES-GCM: 2^24.5, §5.5 */
#define RECORDS_A_WRITE 4	/* as many bytes as one callback may move */
#define PREPEND_MAX 512		/* waiting bytes that are copied, not sent by themselves */

bool tls13_take_over(struct stream_tls *t)
{
	uint16_t id = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(t->ssl));
	const struct tls_suite *suite = NULL;

	for (size_t i = 0; i < TLS_SUITES; i++)
		if (t->server->suites[i].id == id)
			suite = &t->server->suites[i];
	/* It reads record by record: what comes after the handshake is still ours. */
	if (!suite || SSL_has_pending(t->ssl) || !tls_keys_init(&t->rx, suite, false) ||
	    !tls_keys_init(&t->tx, suite, true))
		return false;
	t->tx.sequence = t->tickets;
	SSL_free(t->ssl);
	t->ssl = NULL;
	t->stream->kind = &tls13_kind;
	return true;
}

/* ---- what we say ourselves ---- */

/* Seals it behind what waits already. */
static bool put_control(struct stream_tls *t, uint8_t type, const uint8_t *p, size_t n)
{
	size_t len;

	if (!t->out && !(t->out = pool_get(&t->server->blocks)))
		return false;
	if (TLS_BLOCK_BYTES - t->out_last < CONTROL_BYTES)
		return false;
	len = tls_record_seal(&t->tx, type, p, n, t->out + t->out_last);
	t->out_last += (uint32_t)len;
	return len > 0;
}

static bool put_alert(struct stream_tls *t, uint8_t what)
{
	const uint8_t alert[2] = { what == TLS_CLOSE_NOTIFY ? 1 : 2, what };

	return put_control(t, TLS_ALERT, alert, sizeof(alert));
}

/* Ours may be anything: the peer only hears that we are gone. */
static void fail(struct stream_tls *t, uint8_t alert)
{
	ERR_clear_error();
	if (t->failed)
		return;
	if (!t->bye_sent && put_alert(t, alert))
		(void)tls_flush(t, false);
	t->failed = -ECONNRESET;
}

static void update_keys(struct stream_tls *t)
{
	static const uint8_t not_requested[UPDATE_BYTES] = { KEY_UPDATE, 0, 0, 1, 0 };

	t->owes_update = false;
	if (!put_control(t, TLS_HANDSHAKE, not_requested, sizeof(not_requested)) ||
	    !tls_keys_next(&t->tx))
		fail(t, TLS_INTERNAL_ERROR);
}

/* ---- in ---- */

/* Received bytes: in the connection's block, or in the scratch of all while a call lasts. */
struct window {
	uint8_t *mem;
	uint32_t pos, last, plain_pos, plain_last;
};

static size_t take_plain(struct window *w, void *p, size_t n)
{
	n = MIN(n, (size_t)(w->plain_last - w->plain_pos));
	if (!n)
		return 0;
	memcpy(p, w->mem + w->plain_pos, n);
	w->plain_pos += (uint32_t)n;
	return n;
}

static void on_alert(struct stream_tls *t, const uint8_t *p, size_t n)
{
	if (n != 2)
		fail(t, TLS_DECODE_ERROR);
	else if (p[1] == TLS_CLOSE_NOTIFY)
		t->ended = true;
	else if (p[1] != TLS_USER_CANCELED)
		t->failed = -ECONNRESET;
}

/* The one message that a client may still send. It must end its record (§5.1); who cuts five bytes
 * in two is refused. */
static void on_message(struct stream_tls *t, const uint8_t *p, size_t n)
{
	static const uint8_t head[4] = { KEY_UPDATE, 0, 0, 1 };

	if (n != UPDATE_BYTES || memcmp(p, head, sizeof(head)) != 0 || p[4] > 1)
		fail(t, TLS_UNEXPECTED_MESSAGE);
	else if (!tls_keys_next(&t->rx))
		fail(t, TLS_INTERNAL_ERROR);
	else if (p[4]) /* answered before the next content: several requests get one answer */
		t->owes_update = true;
}

/* Opens the record at <pos>, of <bytes>. Content goes to <p> when all of it fits there, else it
 * stays where it is. Returns what went to <p>. */
static size_t open_record(struct stream_tls *t, struct window *w, size_t bytes, uint8_t *p,
			  size_t room)
{
	uint8_t *record = w->mem + w->pos, *to = room >= bytes - 21 ? p : record + 5;
	uint8_t type, alert;
	size_t n;

	alert = tls_record_open(&t->rx, record, bytes, to, &n, &type);
	w->pos += (uint32_t)bytes;
	if (alert) {
		fail(t, alert);
		return 0;
	}
	if (type == TLS_DATA && n) {
		t->idle_records = 0;
		if (to == p)
			return n;
		w->plain_pos = (uint32_t)(to - w->mem);
		w->plain_last = w->plain_pos + (uint32_t)n;
		return take_plain(w, p, room);
	}
	if (type == TLS_ALERT)
		on_alert(t, to, n);
	else if (type == TLS_HANDSHAKE)
		on_message(t, to, n);
	else if (type != TLS_DATA)
		fail(t, TLS_UNEXPECTED_MESSAGE);
	if (++t->idle_records > IDLE_RECORDS_MAX)
		fail(t, TLS_UNEXPECTED_MESSAGE);
	return 0;
}

/* The length of the whole record at <pos>; 0: there is none yet, or none may come. */
static size_t whole_record(struct stream_tls *t, const struct window *w)
{
	size_t have = w->last - w->pos, n;
	uint8_t alert = 0;

	if (have < 5)
		return 0;
	n = tls_record_length(w->mem + w->pos, &alert);
	if (alert)
		fail(t, alert);
	return n <= have ? n : 0;
}

static size_t open_all(struct stream_tls *t, struct window *w, uint8_t *p, size_t n)
{
	size_t total = take_plain(w, p, n), bytes;

	while (total < n && !t->failed && !t->ended && (bytes = whole_record(t, w)))
		total += open_record(t, w, bytes, p + total, n - total);
	return total;
}

/* One read(2). A record that came in part goes on in its block; otherwise the scratch takes as much
 * as the caller can, so that what is left over fits into a block. */
static int fill(struct stream_tls *t, struct window *w, size_t n)
{
	uint32_t have = w->last - w->pos, cap = TLS_BLOCK_BYTES;
	uint8_t *scratch = t->server->in;
	ssize_t got;

	if (!w->mem || t->bulk) {
		cap = (uint32_t)MAX(TLS_BLOCK_BYTES, MIN(n, TLS_SCRATCH_BYTES));
		if (have)
			memcpy(scratch, w->mem + w->pos, have);
		w->mem = scratch;
	} else if (have) {
		memmove(w->mem, w->mem + w->pos, have);
	}
	w->pos = w->plain_pos = w->plain_last = 0;
	w->last = have;
	got = stream_sys_read(t->stream, w->mem + have, cap - have);
	t->bulk = got == (ssize_t)(cap - have);
	t->drained = !t->bulk; /* level-triggered epoll says when there is more */
	if (got <= 0)
		return got ? (int)got : -ECONNRESET; /* no close_notify: it was cut */
	w->last += (uint32_t)got;
	return 0;
}

/* What is left over waits in a block; without any there is none. */
static void keep(struct stream_tls *t, struct window *w)
{
	bool opened = w->plain_pos < w->plain_last;
	uint32_t from = opened ? w->plain_pos : w->pos, n = w->last - from;

	if (t->ended || t->failed)
		n = 0;
	if (n && !t->in) {
		t->in = pool_get(&t->server->blocks);
		if (!t->in) {
			t->failed = -ENOMEM;
			return;
		}
	}
	if (!n) {
		pool_put(&t->server->blocks, t->in);
		t->in = NULL;
	} else if (w->mem != t->in) {
		memcpy(t->in, w->mem + from, n);
	} else {
		from = 0;
	}
	t->in_pos = w->pos - from;
	t->in_last = w->last - from;
	t->plain_pos = opened ? w->plain_pos - from : 0;
	t->plain_last = opened ? w->plain_last - from : 0;
}

static ssize_t do_read(struct stream *s, void *p, size_t n)
{
	struct stream_tls *t = s->tls;
	struct window w = { t->in, t->in_pos, t->in_last, t->plain_pos, t->plain_last };
	size_t total;
	int rc = 0;

	if (t->failed)
		return tls_tell_end(t);
	total = open_all(t, &w, p, n);
	if (total == 0 && !t->failed && !t->ended && !t->drained) {
		rc = fill(t, &w, n);
		if (!rc)
			total = open_all(t, &w, p, n);
		else if (rc != -EAGAIN)
			t->failed = rc;
	}
	keep(t, &w);
	if (total)
		return (ssize_t)total;
	return t->failed || t->ended ? tls_tell_end(t) : -EAGAIN;
}

static bool is_pending(const struct stream *s)
{
	const struct stream_tls *t = s->tls;
	const uint8_t *head;
	uint32_t have;

	if (t->ended || t->failed)
		return !t->end_told;
	if (!t->in)
		return false;
	head = t->in + t->in_pos;
	have = t->in_last - t->in_pos;
	return t->plain_pos < t->plain_last ||
	       (have >= 5 && have >= 5u + ((uint32_t)head[3] << 8 | head[4]));
}

/* ---- out ---- */

/* Records sealed in the scratch, behind what waited before. */
struct batch {
	uint32_t before, bytes; /* waiting bytes in front; all */
	uint64_t sequence;	/* of the first record */
	uint32_t count, content[RECORDS_A_WRITE + 1], end[RECORDS_A_WRITE + 1];
	bool bye; /* the last one is the goodbye */
};

static bool seal_one(struct stream_tls *t, struct batch *b, uint8_t type, const uint8_t *from,
		     size_t n)
{
	size_t len = tls_record_seal(&t->tx, type, from, n, t->server->out + b->bytes);

	b->bytes += (uint32_t)len;
	b->content[b->count] = type == TLS_DATA ? (uint32_t)n : 0;
	b->end[b->count++] = b->bytes;
	return len > 0;
}

static bool seal_batch(struct stream_tls *t, struct batch *b, const struct iovec *iov, int iovcnt,
		       size_t skip, size_t offered)
{
	static const uint8_t bye[2] = { 1, TLS_CLOSE_NOTIFY };

	uint8_t *scratch = t->server->out;

	*b = (struct batch){ .before = t->out_last - t->out_pos };
	if (b->before)
		memcpy(scratch, t->out + t->out_pos, b->before);
	b->bytes = b->before;
	b->sequence = t->tx.sequence;
	while (b->count < RECORDS_A_WRITE) {
		uint8_t *record = scratch + b->bytes;
		const uint8_t *from;
		size_t n = tls_gather(iov, iovcnt, skip, TLS_RECORD_BYTES, record + 5, &from);

		if (n == 0)
			break;
		if (!seal_one(t, b, TLS_DATA, from, n))
			return false;
		skip += n;
	}
	b->bye = t->stream->last && skip == offered;
	return !b->bye || seal_one(t, b, TLS_ALERT, bye, sizeof(bye));
}

/* Keeps what must follow <sent> bytes of the scratch: the rest of a record that was begun. The ones
 * behind it never left: they are sealed anew, under the same numbers, from whatever is offered
 * then. Returns the content that is sent for good. */
static ssize_t settle(struct stream_tls *t, const struct batch *b, uint32_t sent)
{
	uint32_t i, end = b->before;
	size_t total = 0;

	for (i = 0; i < b->count && sent >= b->end[i]; i++)
		total += b->content[i];
	if (i == b->count && sent >= end) {
		sent = end = 0;
	} else if (sent >= b->before) {
		uint32_t begin = i ? b->end[i - 1] : b->before;

		end = sent > begin ? b->end[i] : sent;
		t->retry_bytes = sent > begin ? b->content[i] : 0;
		t->tx.sequence = b->sequence + i + (sent > begin);
	} else {
		t->tx.sequence = b->sequence;
	}
	t->bye_sent = b->bye && i + (end > sent) == b->count;
	t->flush_waits = t->bye_sent && end > sent;
	t->out_pos = 0;
	t->out_last = end - sent;
	if (t->out_last == 0) {
		pool_put(&t->server->blocks, t->out);
		t->out = NULL;
		return (ssize_t)total;
	}
	if (!t->out && !(t->out = pool_get(&t->server->blocks)))
		return t->failed = -ENOMEM;
	memcpy(t->out, t->server->out + sent, t->out_last);
	return (ssize_t)total;
}

static ssize_t write_batch(struct stream_tls *t, const struct iovec *iov, int iovcnt, size_t skip,
			   size_t offered, bool *full)
{
	struct batch b;
	size_t content = 0;
	ssize_t sent;

	if (!seal_batch(t, &b, iov, iovcnt, skip, offered)) {
		fail(t, TLS_INTERNAL_ERROR);
		return t->failed;
	}
	for (uint32_t i = 0; i < b.count; i++)
		content += b.content[i];
	sent = stream_sys_write(t->stream, t->server->out, b.bytes, skip + content < offered);
	if (sent < 0 && sent != -EAGAIN)
		return t->failed = (int)sent;
	*full = sent < (ssize_t)b.bytes;
	return settle(t, &b, sent > 0 ? (uint32_t)sent : 0);
}

static ssize_t do_write(struct stream *s, const struct iovec *iov, int iovcnt)
{
	struct stream_tls *t = s->tls;
	size_t total, offered = 0;
	bool full = false;
	ssize_t n;
	int rc;

	if (t->failed)
		return t->failed;
	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	if (offered < t->retry_bytes)
		return -EINVAL; /* the caller's error: not what it offered before */
	if (t->out && (t->retry_bytes || t->out_last - t->out_pos > PREPEND_MAX)) {
		rc = tls_flush(t, true);
		if (rc)
			return rc == -EAGAIN ? rc : (t->failed = rc);
	}
	total = t->retry_bytes;
	t->retry_bytes = 0;
	if (t->owes_update || t->tx.sequence >= SEALED_MAX)
		update_keys(t);
	while (total < offered && !full) {
		n = write_batch(t, iov, iovcnt, total, offered, &full);
		if (n < 0)
			return n;
		total += (size_t)n;
	}
	return total || !offered ? (ssize_t)total : -EAGAIN;
}

/* ---- ends ---- */

/* close_notify, then FIN; again from tls_flush_woken() when the socket was full. */
static void say_bye(struct stream_tls *t)
{
	t->bye_sent = put_alert(t, TLS_CLOSE_NOTIFY);
	t->bye_waits = tls_flush(t, false) == -EAGAIN;
}

static void update_also(struct stream *s)
{
	s->also = s->tls->flush_waits || s->tls->bye_waits ? STREAM_WRITE : 0;
}

static void do_shutdown(struct stream *s)
{
	struct stream_tls *t = s->tls;

	if (!t->bye_sent && !t->failed)
		say_bye(t);
	else
		t->bye_waits = t->flush_waits; /* for the rest of it */
	if (!t->bye_waits) {
		shutdown(s->io.fd, SHUT_WR);
		return;
	}
	update_also(s);
	stream_arm(s);
}

static int on_woken(struct stream *s, int events)
{
	struct stream_tls *t = s->tls;

	if (events & STREAM_READ)
		t->drained = false;
	if (events & STREAM_WRITE) {
		tls_flush_woken(t);
		update_also(s);
	}
	return events;
}

static void do_close(struct stream *s, bool reset)
{
	struct stream_tls *t = s->tls;

	if (!reset && !t->failed && !t->bye_sent)
		say_bye(t);
	tls_free(t);
}

const struct stream_kind tls13_kind = {
	.read = do_read,
	.write = do_write,
	.pending = is_pending,
	.handshake = tls_no_handshake,
	.shutdown = do_shutdown,
	.close = do_close,
	.woken = on_woken,
	.waits = update_also,
};
