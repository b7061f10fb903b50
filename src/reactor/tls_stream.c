/* TLS connections: OpenSSL over the stream's descriptor, with as few system calls as records
 * allow. */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/loop_inner.h"
#include "reactor/stream_inner.h"
#include "reactor/tls_inner.h"

/* Read from the socket for one call. OpenSSL goes on inside a call while records carry nothing for
 * us (key updates, say): without an end, a peer that sends nothing else would own the loop. */
#define CALL_BUDGET_BYTES (4 * TLS_RECORD_BYTES)

/* ---- below OpenSSL: the socket ---- */

static int on_bio_read(BIO *b, char *p, size_t n, size_t *got)
{
	struct stream_tls *t = BIO_get_data(b);
	ssize_t rc;

	BIO_clear_retry_flags(b);
	*got = 0;
	if (t->drained || t->budget_bytes == 0) {
		BIO_set_retry_read(b);
		return -1;
	}
	n = MIN(n, t->budget_bytes);
	rc = stream_sys_read(t->stream, p, n);
	if (rc > 0) {
		*got = (size_t)rc;
		t->budget_bytes -= *got;
		/* Level-triggered epoll says when there is more. */
		t->drained = *got < n;
		return 1;
	}
	if (rc == 0) {
		t->cut = true;
		return 0;
	}
	t->sys_error = (int)rc;
	if (rc == -EAGAIN) {
		t->drained = true;
		BIO_set_retry_read(b);
	}
	return -1;
}

static int on_bio_write(BIO *b, const char *p, size_t n, size_t *put)
{
	struct stream_tls *t = BIO_get_data(b);
	ssize_t rc = stream_sys_write(t->stream, p, n, t->more);

	BIO_clear_retry_flags(b);
	*put = rc > 0 ? (size_t)rc : 0;
	if (rc > 0)
		return 1;
	t->sys_error = (int)rc;
	if (rc == -EAGAIN)
		BIO_set_retry_write(b);
	return -1;
}

static long on_bio_ctrl(BIO *b, int cmd, long num, void *p)
{
	struct stream_tls *t = BIO_get_data(b);

	(void)num;
	(void)p;
	switch (cmd) {
	case BIO_CTRL_EOF:
		return t->cut;
	case BIO_CTRL_FLUSH:	/* nothing is held back here */
		return 1;
	default:
		return 0;
	}
}

BIO_METHOD *tls_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

	if (m && BIO_meth_set_read_ex(m, on_bio_read) == 1 &&
	    BIO_meth_set_write_ex(m, on_bio_write) == 1 && BIO_meth_set_ctrl(m, on_bio_ctrl) == 1)
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* ---- above OpenSSL: the stream's functions ---- */

/* SSL_get_error() takes anything an earlier caller left in the queue for a failure of ours. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

/* Why the last call on <t> returned <rc>: -EAGAIN with *wants set, -ENODATA for close_notify,
 * else what to remember. */
static int explain(struct stream_tls *t, int rc, int *wants)
{
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		*wants = STREAM_READ;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*wants = STREAM_WRITE;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return -ENODATA;
	}
	ERR_clear_error();
	if (t->cut)
		t->failed = -ECONNRESET;
	else if (t->sys_error && t->sys_error != -EAGAIN)
		t->failed = t->sys_error;
	else
		t->failed = t->done ? -ECONNRESET : -EPROTO;
	return t->failed;
}

static int tls_handshake(struct stream *s, int *events)
{
	struct stream_tls *t = s->tls;
	int rc;

	*events = 0;
	if (t->failed || t->done)
		return t->failed;
	forget_errors();
	t->sys_error = 0;
	t->budget_bytes = CALL_BUDGET_BYTES;
	rc = SSL_do_handshake(t->ssl);
	t->picked = NULL;
	if (rc != 1) {
		rc = explain(t, rc, events);
		if (rc == -ENODATA)
			rc = t->failed = -ECONNRESET;
		if (rc != -EAGAIN)
			s->loop->counters.tls_failed++;
		return rc;
	}
	t->done = true;
	s->loop->counters.tls_handshakes++;
	if (SSL_session_reused(t->ssl))
		s->loop->counters.tls_resumed++;
	return 0;
}

/* Says so once: what was read before it comes first. */
static ssize_t tell_end(struct stream_tls *t)
{
	t->end_told = true;
	return t->failed;
}

static ssize_t tls_read(struct stream *s, void *p, size_t n)
{
	struct stream_tls *t = s->tls;
	size_t total = 0, got;
	int rc = 0, wants = 0;

	if (t->ended || t->failed)
		return tell_end(t);
	if (t->dry || !t->done)
		return -EAGAIN;
	t->read_wants_write = false;
	t->sys_error = 0;
	t->budget_bytes = CALL_BUDGET_BYTES;
	while (total < n) {
		forget_errors();
		rc = SSL_read_ex(t->ssl, (char *)p + total, n - total, &got);
		if (rc != 1) {
			rc = explain(t, rc, &wants);
			break;
		}
		total += got;
		if (!SSL_has_pending(t->ssl)) {
			t->dry = t->drained;
			break;
		}
	}
	if (rc == -EAGAIN) {
		t->dry = wants == STREAM_READ;
		t->read_wants_write = wants == STREAM_WRITE;
	}
	t->ended = rc == -ENODATA;
	if (total > 0 || rc == 1)
		return (ssize_t)total;
	return rc == -EAGAIN ? rc : tell_end(t);
}

/* Copies up to <max> bytes of the pieces from byte <skip> on to <out>; when the piece there
 * holds as much by itself, points to it instead. Returns how many. */
static size_t gather(const struct iovec *iov, int iovcnt, size_t skip, size_t max, uint8_t *out,
		     const void **from)
{
	size_t n = 0;

	*from = out;
	for (int i = 0; i < iovcnt && n < max; i++) {
		size_t take;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		take = MIN(iov[i].iov_len - skip, max - n);
		if (n == 0 && (take == max || i == iovcnt - 1)) {
			*from = (const char *)iov[i].iov_base + skip;
			return take;
		}
		memcpy(out + n, (const char *)iov[i].iov_base + skip, take);
		n += take;
		skip = 0;
	}
	return n;
}

/* One record after the other while the socket takes them. */
static ssize_t tls_write(struct stream *s, const struct iovec *iov, int iovcnt)
{
	struct stream_tls *t = s->tls;
	size_t total = 0, offered = 0, put;
	int rc = 0, wants = 0;

	if (t->failed)
		return t->failed;
	if (!t->done)
		return -EAGAIN;
	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	t->write_wants_read = false;
	t->sys_error = 0;
	t->budget_bytes = CALL_BUDGET_BYTES;
	for (;;) {
		size_t max = t->retry_bytes ? t->retry_bytes : TLS_RECORD_BYTES;
		const void *from;
		size_t n = gather(iov, iovcnt, total, max, t->server->gather, &from);

		if (n < t->retry_bytes)
			return -EINVAL;	/* the caller's error: not what it offered before */
		if (n == 0)
			break;
		forget_errors();
		t->more = total + n < offered;
		rc = SSL_write_ex(t->ssl, from, n, &put);
		t->more = false;
		if (rc != 1) {
			rc = explain(t, rc, &wants);
			t->retry_bytes = rc == -EAGAIN ? (uint32_t)n : 0;
			break;
		}
		t->retry_bytes = 0;
		total += put;
	}
	t->write_wants_read = rc == -EAGAIN && wants == STREAM_READ;
	if (total > 0 || rc >= 0)
		return (ssize_t)total;
	return rc == -ENODATA ? -EPIPE : rc;
}

static bool tls_pending(const struct stream *s)
{
	const struct stream_tls *t = s->tls;

	if (t->ended || t->failed)
		return !t->end_told;
	return t->done && !t->dry && SSL_has_pending(t->ssl);
}

/* close_notify, then FIN; again from tls_woken() when the socket was full. */
static void say_bye(struct stream_tls *t)
{
	int wants = 0, rc;

	forget_errors();
	rc = SSL_shutdown(t->ssl);
	t->bye_sent = true;
	t->bye_waits = rc < 0 && explain(t, rc, &wants) == -EAGAIN && wants == STREAM_WRITE;
}

static void update_also(struct stream *s)
{
	struct stream_tls *t = s->tls;

	s->also = 0;
	if (t->bye_waits || ((s->want & STREAM_READ) && t->read_wants_write))
		s->also |= STREAM_WRITE;
	if ((s->want & STREAM_WRITE) && t->write_wants_read)
		s->also |= STREAM_READ;
}

static void tls_shutdown(struct stream *s)
{
	struct stream_tls *t = s->tls;

	if (!t->bye_sent && t->done && !t->failed)
		say_bye(t);
	if (!t->bye_waits) {
		shutdown(s->io.fd, SHUT_WR);
		return;
	}
	update_also(s);
	stream_arm(s);
}

static int tls_woken(struct stream *s, int events)
{
	struct stream_tls *t = s->tls;
	int owner = events;

	if (events & STREAM_READ) {
		t->drained = t->dry = false;
		if (t->write_wants_read)
			owner |= STREAM_WRITE;
	}
	if (events & STREAM_WRITE) {
		if (t->read_wants_write)
			owner |= STREAM_READ;
		if (t->bye_waits) {
			say_bye(t);
			if (!t->bye_waits)
				shutdown(s->io.fd, SHUT_WR);
			update_also(s);
		}
	}
	return owner;
}

static void tls_close(struct stream *s, bool reset)
{
	struct stream_tls *t = s->tls;

	if (!reset && t->done && !t->failed && !t->bye_sent)
		say_bye(t);
	SSL_free(t->ssl);
	ERR_clear_error();
	free(t->sni);
	free(t);
	s->tls = NULL;
}

static const struct stream_kind tls_kind = {
	.read = tls_read,
	.write = tls_write,
	.pending = tls_pending,
	.handshake = tls_handshake,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.woken = tls_woken,
	.waits = update_also,
};

int stream_init_tls(struct stream *s, struct loop *l, int take_fd, struct tls_server *tls,
		    void (*ready)(void *arg, int events), void *arg)
{
	struct stream_tls *t = calloc(1, sizeof(*t));
	BIO *b = t ? BIO_new(tls->bio) : NULL;
	SSL *ssl = b ? SSL_new(tls->ctx) : NULL;

	if (!ssl) {
		BIO_free(b);
		free(t);
		ERR_clear_error();
		close(take_fd);
		s->kind = NULL;
		return -ENOMEM;
	}
	stream_adopt(s, l, take_fd, &tls_kind, ready, arg);
	t->ssl = ssl;
	t->server = tls;
	t->stream = s;
	s->tls = t;
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	SSL_set_bio(ssl, b, b);
	SSL_set_app_data(ssl, t);
	SSL_set_accept_state(ssl);
	return 0;
}

struct slice stream_alpn(const struct stream *s)
{
	const unsigned char *p = NULL;
	unsigned n = 0;

	if (s->tls)
		SSL_get0_alpn_selected(s->tls->ssl, &p, &n);
	return slice_of(p, n);
}

struct slice stream_sni(const struct stream *s)
{
	return slice_str(s->tls ? s->tls->sni : NULL);
}
