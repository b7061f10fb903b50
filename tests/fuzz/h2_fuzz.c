/* A whole HTTP/2 connection of the server: whatever a client sends, in whatever pieces, a handler that
 * answers in all ways sees well-formed requests with whole content and one end each, what the client
 * gets is well-formed too, and afterwards nothing is left.
 *
 * Byte 0 is a set of enum how; byte 1 says where to cut; bytes 2 to 5 hold eight scripts, which the
 * requests take in turn. The rest is what the client sends: as it is, or (FRAMED) as frames with a
 * short head, see unpack(). */
#include <errno.h>
#include <ev.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "fuzz.h"
#include "http/server.h"
#include "reactor/crypto.h"

#define PREFIX 6
#define IN_MAX 60000
#define OUT_MAX (4u << 20)
#define LARGE_BYTES 300000 /* more than windows and the socket take */
#define STREAMS_MAX 1024   /* looked at in the output */
#define MAX_FRAME_BYTES 16384
#define PIECES_MAX 50 /* small ones; then all at once, or a large input takes for ever */

enum how {
	PREFACE = 1, /* is sent before */
	FRAMED = 2,
	DEAF = 4,    /* nothing is read until all is sent */
	HALF = 8,    /* closes its half, then listens on */
	WINDOWS = 16 /* large ones are given before */
};

enum script {
	AT_ONCE,     /* 200 with its length, whatever content comes */
	TRAILERS,    /* in two pieces, with trailers */
	ECHO,	     /* when the content is complete */
	SIPS,	     /* takes a few bytes at a time, then a short answer */
	LATER,	     /* answers when nothing else happens */
	INTERIM,     /* 103, then 200 */
	EMPTY,	     /* 204 */
	FULL,	     /* refuses content, answers when nothing else happens */
	LARGE,	     /* more than anybody takes at once */
	SHORT,	     /* promises more than it gives */
	LONG,	     /* gives more than it promised */
	ABORT,	     /* in the middle */
	SWITCH,	     /* 101, then echoes; else like AT_ONCE */
	SILENT,	     /* never answers */
	SCRIPTS = 16 /* the rest is AT_ONCE */
};

struct job {
	struct list link;
	struct exchange *x;
	enum script script;
	uint64_t body_n;
	size_t sip, large_left;
	char refused[16]; /* the first bytes of what was not taken */
	size_t refused_n;
	bool ended, tunnel;
};

static struct {
	struct loop *loop;
	struct server *server;
	struct list jobs;
	uint8_t scripts[8];
	unsigned begun, closed;
	uint64_t moved; /* content, both ways */
} s;

/* ---- the handler ---- */

static void respond(struct job *j, unsigned status, const char *length, bool end)
{
	struct head h;

	/* To who asks for a tunnel success would be one (RFC 8441 §5): the transport refuses it. */
	if (j->x->req.protocol.n && status >= 200 && status < 300)
		status = 400;
	head_init(&h);
	h.status = (uint16_t)status;
	if (length)
		head_add(&h, FIELD_CONTENT_LENGTH, slice_str(length));
	MUST(exchange_respond(j->x, &h, end) == 0);
}

static size_t give(struct job *j, const char *p, size_t n)
{
	struct iovec v = { (void *)p, n };
	size_t taken = exchange_write(j->x, &v, 1);

	MUST(taken <= n);
	s.moved += taken;
	return taken;
}

static void answer(struct job *j, unsigned status)
{
	respond(j, status, "2", false);
	give(j, "ok", 2);
	exchange_end(j->x, NULL);
}

static void send_large(struct job *j)
{
	static const char piece[8192];

	while (j->large_left) {
		size_t n = MIN(sizeof(piece), j->large_left), taken = give(j, piece, n);

		j->large_left -= taken;
		if (taken < n)
			return;
	}
	exchange_end(j->x, NULL);
}

static void send_trailers(struct job *j)
{
	struct head trailers;

	respond(j, 200, NULL, false);
	give(j, "hello ", 6);
	give(j, "world", 5);
	head_init(&trailers);
	head_add_other(&trailers, SLICE("X-Sum"), SLICE("11"));
	exchange_end(j->x, &trailers);
}

static void inform(struct job *j)
{
	struct head h;

	head_init(&h);
	h.status = 103;
	exchange_inform(j->x, &h);
	answer(j, 200);
}

static void give_two(struct job *j, const char *length)
{
	respond(j, 200, length, false);
	give(j, "ab", 2);
}

/* As RFC 6455 §4.2.2 wants it; the transport looks. */
static void switch_protocol(struct job *j)
{
	const struct field *key = head_find(&j->x->req, SLICE("Sec-WebSocket-Key"));
	uint8_t digest[20];
	struct buf text;
	struct head h;

	head_init(&h);
	h.status = 101;
	buf_init(&text, 0);
	buf_append(&text, key ? key->value.p : "", key ? key->value.n : 0);
	buf_append_str(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	crypto_sha1(buf_slice(&text), digest);
	buf_clear(&text);
	text_base64(&text, digest, sizeof(digest), false);
	head_add_other(&h, SLICE("Sec-WebSocket-Accept"), buf_slice(&text));
	j->tunnel = exchange_respond(j->x, &h, false) == 0;
	MUST(j->tunnel || !key);
	if (!j->tunnel)
		exchange_abort(j->x, "no tunnel without a key");
	buf_fini(&text);
}

static void act(struct job *j)
{
	switch (j->script) {
	case TRAILERS: send_trailers(j); break;
	case ECHO:
	case SIPS:
	case LATER:
	case FULL:
	case SILENT: break;
	case INTERIM: inform(j); break;
	case EMPTY: respond(j, 204, NULL, true); break;
	case LARGE:
		j->large_left = LARGE_BYTES;
		respond(j, 200, NULL, false);
		send_large(j);
		break;
	case SHORT:
		give_two(j, "9");
		exchange_end(j->x, NULL);
		break;
	case LONG: give_two(j, "1"); break;
	case ABORT:
		give_two(j, NULL);
		exchange_abort(j->x, "the script says so");
		break;
	case SWITCH:
		if (j->x->req.protocol.n) {
			switch_protocol(j);
			break;
		}
		__attribute__((fallthrough));
	default: answer(j, 200); break;
	}
}

/* Nothing happens any more: what waited for that goes on. */
static bool go_on(struct job *j)
{
	if (j->x->ended)
		return false;
	switch (j->script) {
	case LATER:
	case FULL:
		if (j->x->responded)
			return false;
		answer(j, j->script == FULL ? 413 : 200);
		return true;
	case SIPS:
		if (j->sip == 0 || j->ended)
			return false;
		j->sip = 0;
		exchange_resume(j->x);
		return true;
	default: return false;
	}
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct job *j = arg;
	size_t take = j->script == FULL ? 0 : j->script == SIPS ? MIN(n, 7) : n;

	MUST(j->x && !j->ended && n > 0);
	MUST(j->tunnel || j->x->req.body != BODY_NONE);
	/* What was not taken comes again, unchanged. */
	MUST(n >= j->refused_n && memcmp(p, j->refused, j->refused_n) == 0);
	j->body_n += take;
	MUST(j->x->req.body != BODY_LENGTH || j->body_n + (n - take) <= j->x->req.content_length);
	j->sip = n - take;
	j->refused_n = MIN(sizeof(j->refused), n - take);
	memcpy(j->refused, p + take, j->refused_n);
	s.moved += take;
	if (j->tunnel)
		give(j, p, n);
	return take;
}

static void on_body_end(void *arg, const struct head *trailers)
{
	struct job *j = arg;

	MUST(j->x && !j->ended && j->refused_n == 0);
	j->ended = true;
	for (unsigned i = 0; trailers && i < trailers->nfields; i++)
		MUST(trailers->fields[i].name.n > 0);
	if (j->tunnel) {
		exchange_end(j->x, NULL);
		return;
	}
	MUST(j->x->req.body != BODY_LENGTH || j->body_n == j->x->req.content_length);
	if (j->script == ECHO || j->script == SIPS)
		answer(j, 200);
}

static void on_writable(void *arg)
{
	struct job *j = arg;

	MUST(j->x && !j->x->ended);
	if (j->script == LARGE)
		send_large(j);
}

static void on_closed(void *arg, const char *why)
{
	struct job *j = arg;

	MUST(j->x && (why || (j->x->responded && j->x->ended)));
	s.closed++;
	list_remove(&j->link);
	free(j);
}

static const struct exchange_events events = {
	.body = on_body,
	.body_end = on_body_end,
	.writable = on_writable,
	.closed = on_closed,
};

static void must_be_clean(struct slice text, bool is_name)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		MUST(c != '\0' && c != '\r' && c != '\n');
		MUST(!is_name || (c > ' ' && c != ':' && c != 0x7f));
	}
}

/* Nothing that would read as something else in HTTP/1 (RFC 9113 §10.3). */
static void check_request(const struct head *h)
{
	static const enum field_id framing[] = { FIELD_CONNECTION, FIELD_TRANSFER_ENCODING };

	MUST(h->method.n > 0 && (h->path.n > 0 || h->method_id == METHOD_CONNECT));
	must_be_clean(h->method, true);
	must_be_clean(h->path, true);
	must_be_clean(h->authority, false);
	must_be_clean(h->protocol, true);
	for (unsigned i = 0; i < h->nfields; i++) {
		MUST(h->fields[i].name.n > 0);
		must_be_clean(h->fields[i].name, true);
		must_be_clean(h->fields[i].value, false);
	}
	for (size_t i = 0; i < ARRAY_LEN(framing) && !h->protocol.n; i++)
		MUST(!head_field(h, framing[i]));
}

static void on_request(void *arg, struct exchange *x)
{
	struct job *j = calloc(1, sizeof(*j));

	(void)arg;
	check_request(&x->req);
	j->x = x;
	j->script = s.scripts[s.begun++ % ARRAY_LEN(s.scripts)];
	x->events = &events;
	x->arg = j;
	list_push_back(&s.jobs, &j->link);
	act(j);
}

/* ---- the client ---- */

/* [type][flags][stream][length / 4][length] and the payload, again and again: a frame whose length is
 * right is what random bytes hardly ever are. */
static size_t unpack(char *out, const uint8_t *p, size_t n)
{
	size_t made = 0;

	while (n >= 5) {
		size_t want = (size_t)p[3] * 4 + p[4] % 4, have = MIN(want, n - 5);
		const uint8_t head[9] = {
			0, (uint8_t)(have >> 8), (uint8_t)have, p[0], p[1], 0, 0, 0, p[2]
		};

		memcpy(out + made, head, sizeof(head));
		memcpy(out + made + sizeof(head), p + 5, have);
		made += sizeof(head) + have;
		p += 5 + have;
		n -= 5 + have;
	}
	return made;
}

static size_t begin(char *out, uint8_t how)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				      "\0\0\0\4\0\0\0\0\0";
	static const char windows[] = "\0\0\6\4\0\0\0\0\0\0\4\x7f\0\0\0"
				      "\0\0\4\x8\0\0\0\0\0\x3f\0\0\0";
	size_t n = 0;

	if (how & PREFACE) {
		memcpy(out, preface, sizeof(preface) - 1);
		n = sizeof(preface) - 1;
	}
	if (how & WINDOWS) {
		memcpy(out + n, windows, sizeof(windows) - 1);
		n += sizeof(windows) - 1;
	}
	return n;
}

static void pump(void)
{
	for (int i = 0; i < 4; i++)
		ev_run(loop_ev(s.loop), EVRUN_NOWAIT);
}

static void take(int fd, uint8_t *out, size_t *n)
{
	ssize_t k;

	while ((k = recv(fd, out + *n, OUT_MAX - *n, MSG_DONTWAIT)) > 0) {
		*n += (size_t)k;
		MUST(*n < OUT_MAX);
	}
}

static bool anyone_goes_on(void)
{
	bool any = false;

	LIST_FOR_EACH_SAFE(j, &s.jobs, struct job, link)
		any = go_on(j) || any;
	return any;
}

/* Sends <p> in pieces and takes what comes; as long as something happens it goes on. */
static void talk(int fd, const char *p, size_t n, uint32_t seed, uint8_t *out, size_t *out_n,
		 bool deaf)
{
	size_t sent = 0;
	uint64_t before;
	unsigned pieces = 0;

	do {
		before = *out_n + sent + s.begun + s.closed + s.moved;
		if (sent < n) {
			size_t piece;
			ssize_t k;

			seed = seed * 1664525 + 1013904223;
			piece = seed >> 30 && pieces++ < PIECES_MAX ? 1 + (seed >> 16) % 64 : n;
			k = send(fd, p + sent, MIN(piece, n - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
			if (k < 0 && errno != EAGAIN)
				sent = n;
			sent += k > 0 ? (size_t)k : 0;
		}
		pump();
		if (!deaf)
			take(fd, out, out_n);
	} while (*out_n + sent + s.begun + s.closed + s.moved != before || anyone_goes_on());
}

/* ---- what came back ---- */

/* Adds a block that must be whole and well-formed HPACK; a status first. */
static void check_block(nghttp2_hd_inflater *hpack, const uint8_t *p, size_t n)
{
	bool last = false;

	while (!last) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(hpack, &nv, &flags, p, n, 1);

		MUST(used >= 0);
		p += used;
		n -= (size_t)used;
		last = flags & NGHTTP2_HD_INFLATE_FINAL;
		MUST(last || flags & NGHTTP2_HD_INFLATE_EMIT);
	}
	MUST(n == 0);
	nghttp2_hd_inflate_end_headers(hpack);
}

/* Whole frames but perhaps for the last, SETTINGS first; of each stream a head, content, an end, and
 * nothing behind it. */
static void check_output(const uint8_t *p, size_t n)
{
	enum { IDLE, OPEN, OVER };
	static uint8_t states[STREAMS_MAX];
	nghttp2_hd_inflater *hpack;
	bool first = true;

	memset(states, IDLE, sizeof(states));
	MUST(nghttp2_hd_inflate_new(&hpack) == 0);
	while (n >= 9) {
		size_t len = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		uint32_t id =
			(uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8];
		uint8_t type = p[3], flags = p[4], *state = &states[id % STREAMS_MAX];

		MUST(len <= MAX_FRAME_BYTES && type <= NGHTTP2_CONTINUATION);
		MUST(!first || type == NGHTTP2_SETTINGS);
		first = false;
		if (n < 9 + len)
			break;
		if (id < STREAMS_MAX && (type == NGHTTP2_HEADERS || type == NGHTTP2_DATA)) {
			MUST(id % 2 == 1 && *state != OVER);
			MUST(type == NGHTTP2_HEADERS || *state == OPEN);
			*state = flags & NGHTTP2_FLAG_END_STREAM ? OVER : OPEN;
		}
		if (type == NGHTTP2_HEADERS) {
			MUST(flags & NGHTTP2_FLAG_END_HEADERS);
			check_block(hpack, p + 9, len);
		}
		if (id < STREAMS_MAX && type == NGHTTP2_RST_STREAM)
			*state = OVER;
		p += 9 + len;
		n -= 9 + len;
	}
	nghttp2_hd_inflate_del(hpack);
}

static int connect_to(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(un.sun_path, path);
	MUST(fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0);
	return fd;
}

static char dir[] = "/tmp/h2_fuzz.XXXXXX"; /* of the server's socket */

static void remove_dir(void)
{
	rmdir(dir);
}

static void start(const char *path)
{
	struct exchange_handler handler = { .request = on_request };
	struct server_config config;
	struct err err;

	server_config_default(&config);
	config.max_connections = 64;
	config.h2c = true;
	list_init(&s.jobs);
	MUST(loop_create(&s.loop, &err) == 0);
	MUST(server_create(&s.server, s.loop, &config, &handler, NULL, NULL, &err) == 0);
	MUST(server_listen_unix(s.server, path, NULL, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64], in[IN_MAX * 3];
	static uint8_t out[OUT_MAX];
	size_t n, out_n = 0;
	uint8_t how;
	int fd;

	if (size < PREFIX || size > IN_MAX)
		return 0;
	if (!path[0]) {
		log_init(LOG_ERROR, false);
		MUST(mkdtemp(dir));
		atexit(remove_dir);
		snprintf(path, sizeof(path), "%s/s", dir);
	}
	memset(&s, 0, sizeof(s));
	how = data[0];
	for (unsigned i = 0; i < ARRAY_LEN(s.scripts); i++)
		s.scripts[i] = (data[2 + i / 2] >> (i % 2 * 4)) % SCRIPTS;
	n = begin(in, how);
	if (how & FRAMED) {
		n += unpack(in + n, data + PREFIX, size - PREFIX);
	} else {
		memcpy(in + n, data + PREFIX, size - PREFIX);
		n += size - PREFIX;
	}
	start(path);

	fd = connect_to(path);
	talk(fd, in, n, data[1], out, &out_n, how & DEAF);
	if (how & HALF)
		shutdown(fd, SHUT_WR);
	talk(fd, in, 0, 0, out, &out_n, false);
	if (how & PREFACE)
		check_output(out, out_n);
	close(fd);
	for (unsigned i = 0; i < 50 && server_stats(s.server)->open; i++)
		pump();
	MUST(server_stats(s.server)->open == 0);
	MUST(list_empty(&s.jobs) && s.begun == s.closed);

	/* Looks whether every block, exchange and connection is back. */
	server_destroy(s.server);
	loop_destroy(s.loop);
	return 0;
}
