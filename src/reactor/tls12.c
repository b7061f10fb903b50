/* TLS 1.2 after the handshake: OpenSSL seals and opens the records, as few system calls as they
 * allow. */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "base/slice.h"
#include "reactor/loop_inner.h"
#include "reactor/tls_inner.h"

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
	case SSL_ERROR_WANT_READ: *wants = STREAM_READ; return -EAGAIN;
	case SSL_ERROR_WANT_WRITE: *wants = STREAM_WRITE; return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN: return -ENODATA;
	}
	ERR_clear_error();
	t->failed = !t->cut && t->sys_error && t->sys_error != -EAGAIN ? t->sys_error : -ECONNRESET;
	return t->failed;
}

static ssize_t tls_read(struct stream *s, void *p, size_t n)
{
	struct stream_tls *t = s->tls;
	size_t total = 0, got;
	int rc = 0, wants = 0;

	if (t->ended || t->failed)
		return tls_tell_end(t);
	if (t->dry)
		return -EAGAIN;
	t->read_wants_write = false;
	t->sys_error = 0;
	t->budget_bytes = TLS_CALL_BUDGET_BYTES;
	while (total < n) {
		forget_errors();
		rc = SSL_read_ex(t->ssl, (char *)p + total, n - total, &got);
		if (rc != 1) {
			rc = explain(t, rc, &wants);
			break;
		}
		total += got;
		if (!SSL_has_pending(t->ssl)) {
			t->dry = t->drained && !t->in;
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
	return rc == -EAGAIN ? rc : tls_tell_end(t);
}

/* One record after the other while the socket takes them. */
static ssize_t tls_write(struct stream *s, const struct iovec *iov, int iovcnt)
{
	struct stream_tls *t = s->tls;
	size_t total = 0, offered = 0, put;
	int rc = 0, wants = 0;

	if (t->failed)
		return t->failed;
	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	t->write_wants_read = false;
	t->sys_error = 0;
	t->budget_bytes = TLS_CALL_BUDGET_BYTES;
	for (;;) {
		size_t max = t->retry_bytes ? t->retry_bytes : TLS_RECORD_BYTES;
		const uint8_t *from;
		size_t n = tls_gather(iov, iovcnt, total, max, t->server->out, &from);

		if (n < t->retry_bytes)
			return -EINVAL; /* the caller's error: not what it offered before */
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
	return !t->dry && (t->in || SSL_has_pending(t->ssl));
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
	if (t->bye_waits || t->flush_waits || ((s->want & STREAM_READ) && t->read_wants_write))
		s->also |= STREAM_WRITE;
	if ((s->want & STREAM_WRITE) && t->write_wants_read)
		s->also |= STREAM_READ;
}

static void tls_shutdown(struct stream *s)
{
	struct stream_tls *t = s->tls;

	if (!t->bye_sent && !t->failed)
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
		if (t->flush_waits) /* the end of the handshake */
			tls_flush_woken(t);
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

	if (!reset && !t->failed && !t->bye_sent)
		say_bye(t);
	tls_free(t);
}

const struct stream_kind tls12_kind = {
	.read = tls_read,
	.write = tls_write,
	.pending = tls_pending,
	.handshake = tls_no_handshake,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.woken = tls_woken,
	.waits = update_also,
};
