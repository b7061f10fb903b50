/* A web program for containers in tests: says which replica answered, can be slow, sick, or dead on request, and tells on
 * itself when bytes reach it after it was told to stop. No library but libc, one thread, poll(2). */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNS 1024
#define IN_SIZE 65536
#define OUT_CHUNK 65536

enum mode { MODE_HEAD, MODE_BODY, MODE_CHUNKS, MODE_DELAY, MODE_BIG, MODE_EVENTS, MODE_ECHO, MODE_WEBSOCKET, MODE_CLOSING };
enum chunk_step { CHUNK_SIZE, CHUNK_DATA, CHUNK_CRLF, CHUNK_TRAILER };

struct conn {
	int fd;
	enum mode mode;
	char in[IN_SIZE];
	size_t in_len;
	char *out;
	size_t out_len, out_cap;
	bool keep_alive, head_only, eof;
	uint64_t due_ms;	/* MODE_DELAY, MODE_EVENTS */
	uint64_t left;		/* MODE_BODY: bytes to come; MODE_BIG: bytes to send; MODE_CHUNKS: of this chunk */
	uint64_t got;		/* body bytes so far */
	enum chunk_step step;
	unsigned events;	/* sent, and how many are wanted */
	unsigned events_wanted;
	char path[2048], method[16], content_type[128];
	char echo[IN_SIZE];	/* the body, as far as it fits, for /echo */
	size_t echo_len;
};

static struct conn *conns[MAX_CONNS];
static volatile sig_atomic_t stopping;
static bool sick;
static unsigned long served;
static char replica[128], release[64], host[128];

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	fflush(stdout);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void on_term(int signo)
{
	(void)signo;
	stopping = 1;
}

static void out_bytes(struct conn *c, const void *p, size_t n)
{
	if (c->out_len + n > c->out_cap) {
		c->out_cap = (c->out_len + n) * 2;
		c->out = realloc(c->out, c->out_cap);
		if (!c->out)
			abort();
	}
	memcpy(c->out + c->out_len, p, n);
	c->out_len += n;
}

static void out_text(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void out_text(struct conn *c, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_bytes(c, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static void request_over(struct conn *c)
{
	served++;
	c->mode = c->keep_alive && !stopping ? MODE_HEAD : MODE_CLOSING;
}

static void head(struct conn *c, const char *status, const char *type, uint64_t length)
{
	out_text(c, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %llu\r\nX-Replica: %s\r\nX-Release: %s\r\n%s\r\n", status, type,
		 (unsigned long long)length, replica, release, c->keep_alive && !stopping ? "" : "Connection: close\r\n");
}

static void answer(struct conn *c, const char *status, const char *type, const void *body, size_t n)
{
	head(c, status, type, n);
	if (!c->head_only)
		out_bytes(c, body, n);
	request_over(c);
}

static void answer_text(struct conn *c, const char *status, const char *text)
{
	answer(c, status, "text/plain", text, strlen(text));
}

static void answer_self(struct conn *c, bool json)
{
	char text[1024];

	if (json)
		snprintf(text, sizeof(text), "{\"replica\":\"%s\",\"release\":\"%s\",\"host\":\"%s\",\"pid\":%d,\"served\":%lu,\"method\":\"%s\"}\n",
			 replica, release, host, (int)getpid(), served, c->method);
	else
		snprintf(text, sizeof(text), "hello from replica %s release %s on %s\n", replica, release, host);
	answer(c, "200 OK", json ? "application/json" : "text/plain", text, strlen(text));
}

/* --- SHA-1 and base64, for the WebSocket handshake only --- */

static uint32_t rol(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static void sha1_block(uint32_t h[5], const uint8_t *p)
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		static const uint32_t k[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
		uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
		uint32_t t = rol(a, 5) + f + e + k[i / 20] + w[i];

		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

static void sha1(const char *text, uint8_t out[20])
{
	uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	uint8_t pad[256] = { 0 };
	size_t n = strlen(text), total = (n + 9 + 63) / 64 * 64;

	if (total > sizeof(pad))
		abort();
	memcpy(pad, text, n);
	pad[n] = 0x80;
	for (int i = 0; i < 8; i++)
		pad[total - 1 - (size_t)i] = (uint8_t)((uint64_t)n * 8 >> (8 * i));
	for (size_t at = 0; at < total; at += 64)
		sha1_block(h, pad + at);
	for (int i = 0; i < 20; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t *p, size_t n, char *out)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);

		*out++ = set[v >> 18];
		*out++ = set[v >> 12 & 63];
		*out++ = i + 1 < n ? set[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? set[v & 63] : '=';
	}
	*out = '\0';
}

/* Value of a request field, or NULL; valid until the next call. */
static const char *field(const char *head_text, const char *name)
{
	static char value[1024];
	size_t n = strlen(name);

	for (const char *line = strstr(head_text, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, name, n) || line[2 + n] != ':')
			continue;
		line += 3 + n;
		line += strspn(line, " \t");
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(line, "\r"), line);
		return value;
	}
	return NULL;
}

static long query(const char *path, const char *name, long def)
{
	const char *p = strchr(path, '?');
	size_t n = strlen(name);

	while (p) {
		p++;
		if (!strncmp(p, name, n) && p[n] == '=')
			return atol(p + n + 1);
		p = strchr(p, '&');
	}
	return def;
}

static bool path_is(const struct conn *c, const char *path)
{
	size_t n = strcspn(c->path, "?");

	return strlen(path) == n && !strncmp(c->path, path, n);
}

/* --- what each path does, once the request is complete --- */

static void do_request(struct conn *c)
{
	char text[256];

	if (path_is(c, "/slow")) {
		c->due_ms = now_ms() + (uint64_t)query(c->path, "ms", 1000);
		c->mode = MODE_DELAY;
	} else if (path_is(c, "/health")) {
		answer_text(c, sick ? "503 Service Unavailable" : "200 OK", sick ? "sick\n" : "ok\n");
	} else if (path_is(c, "/fail-health")) {
		sick = query(c->path, "on", 1) != 0;
		answer_text(c, "200 OK", sick ? "health fails from now on\n" : "healthy again\n");
	} else if (path_is(c, "/say")) {
		say("SAID %s\n", c->path + strcspn(c->path, "?"));
		answer_text(c, "200 OK", "said\n");
	} else if (path_is(c, "/crash")) {
		say("CRASH\n");
		_exit(7);
	} else if (path_is(c, "/echo")) {
		answer(c, "200 OK", c->content_type[0] ? c->content_type : "application/octet-stream", c->echo, c->echo_len);
	} else if (path_is(c, "/upload")) {
		snprintf(text, sizeof(text), "{\"bytes\":%llu,\"replica\":\"%s\"}\n", (unsigned long long)c->got, replica);
		answer(c, "200 OK", "application/json", text, strlen(text));
	} else if (path_is(c, "/big")) {
		c->left = (uint64_t)query(c->path, "bytes", 1 << 20);
		head(c, "200 OK", "application/octet-stream", c->left);
		c->mode = MODE_BIG;
		if (c->head_only)
			request_over(c);
	} else if (path_is(c, "/events")) {
		out_text(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Replica: %s\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n", replica);
		c->events = 0;
		c->events_wanted = (unsigned)query(c->path, "n", 1000000);
		c->due_ms = now_ms();
		c->mode = MODE_EVENTS;
	} else if (path_is(c, "/status")) {
		snprintf(text, sizeof(text), "%ld Asked For", query(c->path, "code", 500));
		answer_text(c, text, "as asked\n");
	} else if (path_is(c, "/json")) {
		answer_self(c, true);
	} else {
		answer_self(c, false);
	}
}

static void body_bytes(struct conn *c, const char *p, size_t n)
{
	size_t fits = sizeof(c->echo) - c->echo_len;

	c->got += n;
	memcpy(c->echo + c->echo_len, p, n < fits ? n : fits);
	c->echo_len += n < fits ? n : fits;
}

static void eat(struct conn *c, size_t n)
{
	memmove(c->in, c->in + n, c->in_len - n);
	c->in_len -= n;
}

/* The length of a line in the buffer with its CRLF; 0: not complete. */
static size_t line_length(const struct conn *c)
{
	const char *end = memmem(c->in, c->in_len, "\r\n", 2);

	return end ? (size_t)(end - c->in) + 2 : 0;
}

static bool do_chunks(struct conn *c)
{
	size_t n;

	if (c->step == CHUNK_DATA) {
		n = c->in_len < c->left ? c->in_len : (size_t)c->left;
		body_bytes(c, c->in, n);
		eat(c, n);
		c->left -= n;
		if (!c->left)
			c->step = CHUNK_CRLF;
		return n > 0;
	}
	n = line_length(c);
	if (!n)
		return false;
	if (c->step == CHUNK_SIZE) {
		c->left = strtoull(c->in, NULL, 16);
		c->step = c->left ? CHUNK_DATA : CHUNK_TRAILER;
	} else if (c->step == CHUNK_CRLF) {
		c->step = CHUNK_SIZE;
	} else if (n == 2) {
		eat(c, n);
		do_request(c);
		return true;
	}
	eat(c, n);
	return true;
}

static void do_upgrade(struct conn *c, const char *kind, const char *key)
{
	char joined[256], accept[64];
	uint8_t digest[20];

	if (!strcasecmp(kind, "websocket") && key) {
		snprintf(joined, sizeof(joined), "%.128s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
		sha1(joined, digest);
		base64(digest, sizeof(digest), accept);
		out_text(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Replica: %s\r\n"
			    "Sec-WebSocket-Accept: %s\r\n\r\n", replica, accept);
		c->mode = MODE_WEBSOCKET;
	} else {
		out_text(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\nX-Replica: %s\r\n\r\n", kind, replica);
		c->mode = MODE_ECHO;
	}
}

/* A head is complete in the buffer: is there a body, an upgrade, or the whole request already? */
static void parse_head(struct conn *c, size_t n)
{
	char text[IN_SIZE + 1], version[16] = "", kind[64], key[128] = "";
	const char *value;

	memcpy(text, c->in, n);
	text[n] = '\0';
	eat(c, n);
	if (sscanf(text, "%15s %2047s %15s", c->method, c->path, version) != 3) {
		c->keep_alive = false;
		answer_text(c, "400 Bad Request", "no request line\n");
		return;
	}
	c->head_only = !strcmp(c->method, "HEAD");
	c->got = c->echo_len = 0;
	c->left = 0;
	value = field(text, "Connection");
	c->keep_alive = !strcmp(version, "HTTP/1.1") ? !value || strcasecmp(value, "close") : value && !strcasecmp(value, "keep-alive");
	value = field(text, "Content-Type");
	snprintf(c->content_type, sizeof(c->content_type), "%s", value ? value : "");
	value = field(text, "Upgrade");
	if (value && (path_is(c, "/ws") || path_is(c, "/tunnel"))) {
		snprintf(kind, sizeof(kind), "%.60s", value);
		value = field(text, "Sec-WebSocket-Key");
		snprintf(key, sizeof(key), "%.100s", value ? value : "");
		do_upgrade(c, kind, value ? key : NULL);
		return;
	}
	value = field(text, "Expect");
	if (value && !strcasecmp(value, "100-continue"))
		out_text(c, "HTTP/1.1 100 Continue\r\n\r\n");
	value = field(text, "Transfer-Encoding");
	if (value) {
		c->step = CHUNK_SIZE;
		c->mode = MODE_CHUNKS;
		return;
	}
	value = field(text, "Content-Length");
	c->left = value ? strtoull(value, NULL, 10) : 0;
	c->mode = MODE_BODY;
	if (!c->left)
		do_request(c);
}

static bool do_body(struct conn *c)
{
	size_t n = c->in_len < c->left ? c->in_len : (size_t)c->left;

	if (!n)
		return false;
	body_bytes(c, c->in, n);
	eat(c, n);
	c->left -= n;
	if (!c->left)
		do_request(c);
	return true;
}

/* One WebSocket frame up to 65535 bytes, echoed unmasked; close is answered with close, ping with pong. */
static bool do_websocket(struct conn *c)
{
	const uint8_t *p = (const uint8_t *)c->in;
	size_t at = 6, len;
	uint8_t op;

	if (c->in_len < at)
		return false;
	len = p[1] & 127;
	if (len == 126) {
		if (c->in_len < 8)
			return false;
		len = (size_t)p[2] << 8 | p[3];
		at = 8;
	} else if (len == 127) {
		c->mode = MODE_CLOSING;
		return false;
	}
	if (c->in_len < at + len)
		return false;
	op = p[0] & 15;
	for (size_t i = 0; i < len; i++)
		c->in[at + i] ^= c->in[at - 4 + i % 4];
	out_bytes(c, &(uint8_t){ (uint8_t)((p[0] & 0x80) | (op == 9 ? 10 : op)) }, 1);
	if (len < 126)
		out_bytes(c, &(uint8_t){ (uint8_t)len }, 1);
	else
		out_bytes(c, (uint8_t[]){ 126, (uint8_t)(len >> 8), (uint8_t)len }, 3);
	out_bytes(c, c->in + at, len);
	eat(c, at + len);
	if (op == 8)
		c->mode = MODE_CLOSING;
	return true;
}

static bool do_head(struct conn *c)
{
	const char *end;

	while (c->in_len >= 2 && !memcmp(c->in, "\r\n", 2))
		eat(c, 2);
	end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
	if (!end) {
		if (c->in_len == IN_SIZE)
			c->mode = MODE_CLOSING;
		return false;
	}
	parse_head(c, (size_t)(end - c->in) + 4);
	return true;
}

static bool do_timed(struct conn *c, uint64_t now)
{
	char text[128];
	int n;

	if (c->due_ms > now)
		return false;
	if (c->mode == MODE_DELAY) {
		answer_self(c, false);
		return true;
	}
	if (c->events == c->events_wanted || stopping) {
		out_text(c, "0\r\n\r\n");
		request_over(c);
		return true;
	}
	n = snprintf(text, sizeof(text), "id: %u\ndata: %s %u\n\n", c->events, replica, c->events);
	out_text(c, "%x\r\n%s\r\n", (unsigned)n, text);
	c->events++;
	c->due_ms = now + (uint64_t)query(c->path, "every", 100);
	return true;
}

static bool do_big(struct conn *c)
{
	static const char zeros[OUT_CHUNK];
	size_t n = c->left < OUT_CHUNK ? (size_t)c->left : OUT_CHUNK;

	if (c->out_len)
		return false;
	out_bytes(c, zeros, n);
	c->left -= n;
	if (!c->left)
		request_over(c);
	return true;
}

/* Steps until nothing moves. */
static void advance(struct conn *c)
{
	bool moved = true;

	while (moved) {
		switch (c->mode) {
		case MODE_HEAD: moved = do_head(c); break;
		case MODE_BODY: moved = do_body(c); break;
		case MODE_CHUNKS: moved = do_chunks(c); break;
		case MODE_DELAY:
		case MODE_EVENTS: moved = do_timed(c, now_ms()); break;
		case MODE_BIG: moved = do_big(c); break;
		case MODE_WEBSOCKET: moved = do_websocket(c); break;
		case MODE_ECHO:
			moved = c->in_len > 0;
			out_bytes(c, c->in, c->in_len);
			c->in_len = 0;
			break;
		default: moved = false;
		}
	}
}

static void conn_close(int i)
{
	close(conns[i]->fd);
	free(conns[i]->out);
	free(conns[i]);
	conns[i] = NULL;
}

static void conn_read(struct conn *c)
{
	ssize_t n = read(c->fd, c->in + c->in_len, IN_SIZE - c->in_len);

	if (n > 0) {
		/* Told to stop, and yet somebody sends: what tests look for. */
		if (stopping)
			say("LATE %zd bytes\n", n);
		c->in_len += (size_t)n;
	} else if (n == 0 || errno != EAGAIN) {
		c->eof = true;
	}
}

/* False: to be closed. */
static bool conn_write(struct conn *c)
{
	ssize_t n;

	while (c->out_len) {
		n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		memmove(c->out, c->out + n, c->out_len - (size_t)n);
		c->out_len -= (size_t)n;
		if (!c->out_len)
			advance(c);
	}
	return c->mode != MODE_CLOSING;
}

static void accept_all(int listener)
{
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		int i = 0;

		while (i < MAX_CONNS && conns[i])
			i++;
		if (i == MAX_CONNS) {
			close(fd);
			continue;
		}
		if (stopping)
			say("LATE connection\n");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		conns[i] = calloc(1, sizeof(struct conn));
		if (!conns[i])
			abort();
		conns[i]->fd = fd;
	}
}

static short wants(const struct conn *c)
{
	return (short)((c->in_len < IN_SIZE && !c->eof && c->out_len < 4 * OUT_CHUNK ? POLLIN : 0) | (c->out_len ? POLLOUT : 0));
}

/* A client that is gone, or an idle connection once we stop. */
static bool is_over(const struct conn *c)
{
	bool idle = c->mode == MODE_HEAD && !c->in_len && !c->out_len;

	return (c->eof && !c->out_len) || (stopping && idle);
}

static int next_wait_ms(void)
{
	uint64_t now = now_ms(), least = 1000;

	for (int i = 0; i < MAX_CONNS; i++)
		if (conns[i] && (conns[i]->mode == MODE_DELAY || conns[i]->mode == MODE_EVENTS))
			least = conns[i]->due_ms <= now ? 0 : conns[i]->due_ms - now < least ? conns[i]->due_ms - now : least;
	return (int)least;
}

/* One round: wait, serve. Returns how many connections are left. */
static int serve_once(int listener)
{
	struct pollfd fds[MAX_CONNS + 1];
	int slot[MAX_CONNS + 1], n = 0, left = 0;

	fds[n++] = (struct pollfd){ .fd = listener, .events = POLLIN };
	for (int i = 0; i < MAX_CONNS; i++) {
		if (!conns[i])
			continue;
		slot[n] = i;
		fds[n++] = (struct pollfd){ .fd = conns[i]->fd, .events = wants(conns[i]) };
	}
	if (poll(fds, (nfds_t)n, next_wait_ms()) < 0 && errno != EINTR)
		return -1;
	if (listener >= 0 && !stopping)
		accept_all(listener);
	for (int k = 1; k < n; k++) {
		struct conn *c = conns[slot[k]];

		if (fds[k].revents & (POLLIN | POLLHUP | POLLERR))
			conn_read(c);
		advance(c);
		if (!conn_write(c) || is_over(c))
			conn_close(slot[k]);
		else
			left++;
	}
	return left;
}

static int open_listener(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1024)) {
		say("listen on port %u: %s\n", port, strerror(errno));
		exit(1);
	}
	return fd;
}

/* The real one, when the kernel was left to choose. */
static uint16_t bound_port(int fd)
{
	struct sockaddr_in at = { 0 };
	socklen_t len = sizeof(at);

	getsockname(fd, (struct sockaddr *)&at, &len);
	return ntohs(at.sin_port);
}

static const char *env(const char *name, const char *def)
{
	const char *value = getenv(name);

	return value && *value ? value : def;
}

int main(int argc, char **argv)
{
	struct sigaction term = { .sa_handler = on_term };
	uint16_t port = (uint16_t)atoi(env("PORT", "8080"));
	int listener, left = 1;
	long delay_ms = atol(env("START_DELAY_MS", "0"));
	uint64_t grace_end_ms;

	if (argc > 1) {
		say("a command of release %s ends with %s\n", env("TEMPS_RELEASE", "?"), argv[1]);
		return atoi(argv[1]);
	}
	if (atoi(env("EXIT_AT_START", "0"))) {
		say("exiting at start, as told\n");
		return 3;
	}
	sigaction(SIGTERM, &term, NULL);
	sigaction(SIGINT, &term, NULL);
	signal(SIGPIPE, SIG_IGN);
	gethostname(host, sizeof(host) - 1);
	snprintf(replica, sizeof(replica), "%.100s", env("TEMPS_REPLICA", env("REPLICA", host)));
	snprintf(release, sizeof(release), "%.60s", env("TEMPS_RELEASE", env("RELEASE", "?")));
	sick = atoi(env("HEALTH_FAIL", "0"));
	if (delay_ms)
		nanosleep(&(struct timespec){ delay_ms / 1000, delay_ms % 1000 * 1000000 }, NULL);
	listener = open_listener(port);
	port = bound_port(listener);
	say("listening on port %u as replica %s release %s\n", port, replica, release);
	while (!stopping && left >= 0)
		left = serve_once(listener);
	say("stopping\n");
	/* What connected before the signal is served; then nobody new is let in. */
	accept_all(listener);
	close(listener);
	grace_end_ms = now_ms() + (uint64_t)atol(env("GRACE_MS", "8000"));
	do
		left = serve_once(-1);
	while (left > 0 && now_ms() < grace_end_ms);
	say("stopped after %lu requests, %d connections cut\n", served, left > 0 ? left : 0);
	return 0;
}
