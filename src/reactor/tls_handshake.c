/* A TLS connection from its first byte to the end of the handshake, and what both versions share
 * afterwards. OpenSSL speaks; its bytes pass through two blocks of ours, so that a flight is one
 * send(2), and so that nothing that follows the handshake is swallowed by it. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/crypto.h"
#include "reactor/loop_inner.h"
#include "reactor/tls_inner.h"

#define HELLOS_A_TURN 3 /* under a millisecond */

static void put_in(struct stream_tls *t)
{
	pool_put(&t->server->blocks, t->in);
	t->in = NULL;
	t->in_pos = t->in_last = 0;
}

static void put_out(struct stream_tls *t)
{
	pool_put(&t->server->blocks, t->out);
	t->out = NULL;
	t->out_pos = t->out_last = 0;
}

/* ---- below OpenSSL: the socket ---- */

/* One read(2) into <p>; 1 with what it got, 0 at the end of file, -1. */
static int read_socket(struct stream_tls *t, BIO *b, void *p, size_t n, size_t *got)
{
	ssize_t rc;

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

static int on_bio_read(BIO *b, char *p, size_t n, size_t *got)
{
	struct stream_tls *t = BIO_get_data(b);
	size_t filled;
	int rc;

	BIO_clear_retry_flags(b);
	*got = 0;
	if (!t->in && t->done)
		return read_socket(t, b, p, n, got);
	if (!t->in) {
		t->in = pool_get(&t->server->blocks);
		if (!t->in) {
			t->sys_error = -ENOMEM;
			return -1;
		}
		rc = read_socket(t, b, t->in, TLS_BLOCK_BYTES, &filled);
		if (rc != 1) {
			put_in(t);
			return rc;
		}
		t->in_last = (uint32_t)filled;
	}
	*got = MIN(n, (size_t)(t->in_last - t->in_pos));
	memcpy(p, t->in + t->in_pos, *got);
	t->in_pos += (uint32_t)*got;
	if (t->in_pos == t->in_last)
		put_in(t);
	return 1;
}

int tls_flush(struct stream_tls *t, bool more)
{
	ssize_t rc = 0;

	while (t->out_pos < t->out_last && rc >= 0) {
		rc = stream_sys_write(t->stream, t->out + t->out_pos, t->out_last - t->out_pos,
				      more);
		if (rc > 0)
			t->out_pos += (uint32_t)rc;
	}
	t->flush_waits = rc == -EAGAIN;
	if (rc < 0)
		return (int)rc;
	if (t->out)
		put_out(t);
	return 0;
}

static int on_bio_write(BIO *b, const char *p, size_t n, size_t *put)
{
	struct stream_tls *t = BIO_get_data(b);
	ssize_t rc = 0;

	BIO_clear_retry_flags(b);
	*put = 0;
	if (!t->done && !t->out && !(t->out = pool_get(&t->server->blocks)))
		rc = -ENOMEM;
	if (!rc && t->out && (t->done || t->out_last == TLS_BLOCK_BYTES))
		rc = tls_flush(t, true);
	if (!rc && t->done) {
		rc = stream_sys_write(t->stream, p, n, t->more);
	} else if (!rc) {
		if (!t->out && !(t->out = pool_get(&t->server->blocks)))
			rc = -ENOMEM;
		else
			rc = (ssize_t)MIN(n, (size_t)(TLS_BLOCK_BYTES - t->out_last));
		if (rc > 0)
			memcpy(t->out + t->out_last, p, (size_t)rc);
		if (rc > 0)
			t->out_last += (uint32_t)rc;
	}
	if (rc > 0) {
		*put = (size_t)rc;
		return 1;
	}
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
	case BIO_CTRL_EOF: return t->cut;
	case BIO_CTRL_FLUSH: /* do_handshake() does, once for a flight */ return 1;
	default: return 0;
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

/* ---- the handshake ---- */

static int fail(struct stream_tls *t, int rc)
{
	t->failed = rc;
	t->stream->loop->counters.tls_failed++;
	return rc;
}

static int begin_tls12(struct stream_tls *t)
{
	SSL_set_read_ahead(t->ssl, 1); /* a record's head and body in one read(2) */
	t->stream->kind = &tls12_kind;
	return tls_flush(t, false);
}

/* What is left to send is a ticket: it goes with the first response. What the client said must be
 * acknowledged now, with or without that: one that waits for it (Nagle) would hold its request back
 * for 40 ms. A bare acknowledgement is a fraction of a send(2), and the client sleeps on. */
static void send_later(struct stream_tls *t)
{
	int on = 1;

	if (!t->in)
		setsockopt(t->stream->io.fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static int finish(struct stream_tls *t)
{
	struct loop *l = t->stream->loop;
	bool tls13 = SSL_version(t->ssl) == TLS1_3_VERSION;
	int rc;

	l->counters.tls_handshakes++;
	if (SSL_session_reused(t->ssl))
		l->counters.tls_resumed++;
	t->done = true;
	if (tls13 && !tls13_take_over(t))
		return fail(t, -EPROTO);
	if (tls13) {
		send_later(t);
		return 0;
	}
	rc = begin_tls12(t);
	return !rc || rc == -EAGAIN ? 0 : fail(t, rc);
}

/* A hello costs as much as dozens of requests: after a few of them in one turn the others wait for
 * the next, so that a flood of hellos does not keep established connections waiting. The socket
 * stays readable, so the kernel keeps the queue. */
static bool must_wait(const struct stream_tls *t)
{
	const struct tls_server *server = t->server;

	return !t->answered && server->hellos >= HELLOS_A_TURN &&
	       server->turn_us == t->stream->loop->turn_began_us;
}

void tls_count_hello(struct stream_tls *t)
{
	struct tls_server *server = t->server;

	if (server->turn_us != t->stream->loop->turn_began_us)
		server->hellos = 0;
	server->turn_us = t->stream->loop->turn_began_us;
	server->hellos++;
	t->answered = true;
}

static int do_handshake(struct stream *s, int *events)
{
	struct stream_tls *t = s->tls;
	int rc, flushed;

	*events = 0;
	if (t->failed || t->done)
		return t->failed;
	if (must_wait(t)) {
		*events = STREAM_READ;
		return -EAGAIN;
	}
	if (ERR_peek_error())
		ERR_clear_error();
	t->sys_error = 0;
	t->budget_bytes = TLS_CALL_BUDGET_BYTES;
	rc = SSL_do_handshake(t->ssl);
	SSL_CTX_set_keylog_callback(t->server->ctx, NULL);
	t->picked = NULL;
	if (rc == 1 && !t->failed)
		return finish(t);
	rc = SSL_get_error(t->ssl, rc);
	ERR_clear_error();
	flushed = tls_flush(t, false);
	if (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE) {
		if (flushed && flushed != -EAGAIN)
			return fail(t, flushed);
		*events = (rc == SSL_ERROR_WANT_READ ? STREAM_READ : 0) |
			  (flushed || rc == SSL_ERROR_WANT_WRITE ? STREAM_WRITE : 0);
		return -EAGAIN;
	}
	if (t->cut || rc == SSL_ERROR_ZERO_RETURN)
		return fail(t, -ECONNRESET);
	return fail(t, t->sys_error && t->sys_error != -EAGAIN ? t->sys_error : -EPROTO);
}

/* ---- before there is anything to read or to write ---- */

static ssize_t no_read(struct stream *s, void *p, size_t n)
{
	(void)p;
	(void)n;
	return s->tls->failed ? tls_tell_end(s->tls) : -EAGAIN;
}

static ssize_t no_write(struct stream *s, const struct iovec *iov, int iovcnt)
{
	(void)iov;
	(void)iovcnt;
	return s->tls->failed ? s->tls->failed : -EAGAIN;
}

static bool is_pending(const struct stream *s)
{
	return s->tls->failed && !s->tls->end_told;
}

static void do_shutdown(struct stream *s)
{
	shutdown(s->io.fd, SHUT_WR);
}

static void do_close(struct stream *s, bool reset)
{
	(void)reset;
	tls_free(s->tls);
}

static int on_woken(struct stream *s, int events)
{
	if (events & STREAM_READ)
		s->tls->drained = false;
	return events;
}

static void on_wait(struct stream *s)
{
	s->also = 0;
}

static const struct stream_kind handshake_kind = {
	.read = no_read,
	.write = no_write,
	.pending = is_pending,
	.handshake = do_handshake,
	.shutdown = do_shutdown,
	.close = do_close,
	.woken = on_woken,
	.waits = on_wait,
};

/* ---- what both versions do ---- */

ssize_t tls_tell_end(struct stream_tls *t)
{
	t->end_told = true;
	return t->failed;
}

size_t tls_gather(const struct iovec *iov, int iovcnt, size_t skip, size_t max, uint8_t *out,
		  const uint8_t **from)
{
	size_t n = 0;

	*from = out;
	for (int i = 0; i < iovcnt && n < max; i++) {
		const uint8_t *piece = iov[i].iov_base;
		size_t take;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		take = MIN(iov[i].iov_len - skip, max - n);
		if (n == 0 && (take == max || i == iovcnt - 1)) {
			*from = piece + skip;
			return take;
		}
		memcpy(out + n, piece + skip, take);
		n += take;
		skip = 0;
	}
	return n;
}

int tls_no_handshake(struct stream *s, int *events)
{
	*events = 0;
	return s->tls->failed;
}

void tls_flush_woken(struct stream_tls *t)
{
	int rc;

	if (!t->flush_waits && !t->bye_waits)
		return;
	rc = tls_flush(t, false);
	if (rc && rc != -EAGAIN)
		t->failed = rc;
	if (rc == -EAGAIN || !t->bye_waits)
		return;
	t->bye_waits = false;
	shutdown(t->stream->io.fd, SHUT_WR);
}

void tls_free(struct stream_tls *t)
{
	t->stream->tls = NULL;
	if (t->ssl)
		SSL_free(t->ssl);
	ERR_clear_error();
	put_in(t);
	put_out(t);
	tls_keys_fini(&t->rx);
	tls_keys_fini(&t->tx);
	crypto_wipe(t, sizeof(*t));
	free(t);
}

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
	stream_adopt(s, l, take_fd, &handshake_kind, ready, arg);
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
	return s->tls ? s->tls->alpn : (struct slice){ 0 };
}

const char *stream_tls_version(const struct stream *s)
{
	if (!s->tls)
		return NULL;
	/* The library is out of it once TLS 1.3 has its keys. */
	return !s->tls->ssl || SSL_version(s->tls->ssl) == TLS1_3_VERSION ? "1.3" : "1.2";
}
