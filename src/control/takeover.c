#include "control/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "control/control.h"
#include "control/predecessors.h"
#include "reactor/channel.h"
#include "reactor/crypto.h"

#define TAKE_LIMIT_MS 60000 /* it may have commits to finish; if it dies we know at once */

struct inherited {
	enum takeover_kind kind;
	char *address; /* as configured there */
	int fd;	       /* -1: somebody has it */
};

struct takeover {
	int fd; /* of the channel; -1: given away */
	struct inherited listeners[CHANNEL_FDS_MAX];
	size_t nlisteners;
	int predecessors[PREDECESSORS_MAX];
	size_t npredecessors;
	uint8_t tickets[TLS_TICKET_KEYS_BYTES];
	char version[32]; /* of the process before */
};

static const char *const kinds[TAKEOVER_KINDS] = {
	[TAKEOVER_HTTP] = "http",
	[TAKEOVER_HTTPS] = "https",
	[TAKEOVER_UNIX] = "unix",
};

/* ---- the message ---- */

static void put_listener(struct json_out *o, enum takeover_kind kind, const char *address)
{
	json_obj(o, NULL);
	json_put_str(o, "kind", kinds[kind]);
	json_put_str(o, "address", address);
	json_obj_end(o);
}

/* The order is boot.c's: plain, TLS, the unix socket. */
static void put_listeners(struct json_out *o, const struct control *c, int *fds, size_t *n)
{
	struct server_listener all[2 * SERVE_LISTENERS_MAX + 1];
	size_t count = server_listeners(c->server, all, ARRAY_LEN(all)), http = 0, https = 0;

	json_arr(o, "listeners");
	for (size_t i = 0; i < count; i++) {
		fds[(*n)++] = all[i].fd;
		if (all[i].is_unix)
			put_listener(o, TAKEOVER_UNIX, "");
		else if (all[i].tls)
			put_listener(o, TAKEOVER_HTTPS, c->options->tls_addresses[https++]);
		else
			put_listener(o, TAKEOVER_HTTP, c->options->addresses[http++]);
	}
	json_arr_end(o);
}

void takeover_put(struct buf *out, const struct control *c, int *fds, size_t *n)
{
	uint8_t keys[TLS_TICKET_KEYS_BYTES];
	char hex[2 * TLS_TICKET_KEYS_BYTES + 1];
	struct json_out o;
	size_t more;

	*n = 0;
	tls_server_ticket_keys(c->tls, keys);
	text_hex(keys, sizeof(keys), hex);
	json_out_init(&o, out);
	json_obj(&o, NULL);
	json_obj(&o, "take");
	json_put_str(&o, "version", PACKAGE_VERSION);
	put_listeners(&o, c, fds, n);
	json_put_str(&o, "tickets", hex);
	more = predecessors_hand_over(c->predecessors, fds + *n);
	json_put_int(&o, "predecessors", (int64_t)more);
	*n += more;
	json_obj_end(&o);
	json_obj_end(&o);
	crypto_wipe(keys, sizeof(keys));
	crypto_wipe(hex, sizeof(hex));
}

static enum takeover_kind read_kind(const struct json *item)
{
	enum takeover_kind kind = TAKEOVER_HTTP;

	while (kind < TAKEOVER_KINDS &&
	       !slice_eq(json_str(json_get(item, "kind"), ""), slice_str(kinds[kind])))
		kind++;
	return kind;
}

/* Takes the descriptors it has a place for; the rest stays behind <*used>. */
static int read_take(struct takeover *t, const struct json *take, const int *fds, size_t n,
		     size_t *used)
{
	const struct json *list = json_get(take, "listeners");
	size_t count = json_len(list);
	int64_t others = json_int(json_get(take, "predecessors"), 0);

	if (count > n || others < 0 || others > PREDECESSORS_MAX || count + (size_t)others != n ||
	    text_unhex(json_str(json_get(take, "tickets"), ""), t->tickets, sizeof(t->tickets)))
		return -EINVAL;
	(void)!slice_copy(json_str(json_get(take, "version"), "?"), t->version, sizeof(t->version));
	for (size_t i = 0; i < count; i++)
		t->listeners[t->nlisteners++] = (struct inherited){
			.kind = read_kind(json_at(list, i)),
			.address = slice_dup(json_str(json_get(json_at(list, i), "address"), "")),
			.fd = fds[(*used)++],
		};
	while (*used < n)
		t->predecessors[t->npredecessors++] = fds[(*used)++];
	return 0;
}

/* ---- beginning ---- */

static int say_hello(int fd)
{
	struct json_out o;
	struct buf b;
	int rc;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_obj(&o, "hello");
	json_put_int(&o, "protocol", TAKEOVER_PROTOCOL);
	json_put_str(&o, "version", PACKAGE_VERSION);
	json_obj_end(&o);
	json_obj_end(&o);
	rc = channel_send_bare(fd, buf_slice(&b));
	buf_fini(&b);
	return rc;
}

static int receive(struct takeover *t, struct err *err)
{
	int fds[CHANNEL_FDS_MAX];
	size_t n = 0, used = 0;
	struct json *j = NULL;
	struct buf text;
	int rc = say_hello(t->fd);

	if (rc)
		return err_set(err, rc, "greet the process that serves");
	buf_init(&text, 0);
	rc = channel_receive(t->fd, TAKE_LIMIT_MS, &text, fds, &n, err);
	if (!rc)
		rc = json_parse(&j, buf_slice(&text), err);
	if (!rc && read_take(t, json_get(j, "take"), fds, n, &used))
		rc = err_say(err, -EINVAL, "the process that serves hands over something else");
	while (used < n)
		close(fds[used++]);
	json_free(j);
	crypto_wipe(text.data, text.len);
	buf_fini(&text);
	return rc;
}

int takeover_receive(struct takeover **out, struct err *err)
{
	const char *text = getenv(TAKEOVER_ENV);
	int type = 0, rc;
	socklen_t len = sizeof(type);
	struct takeover *t;
	uint64_t fd;

	*out = NULL;
	if (!text)
		return 0;
	if (slice_u64(slice_str(text), &fd) || fd > INT32_MAX ||
	    getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET)
		return err_say(err, -EINVAL, "%s=%.20s is not for you to set", TAKEOVER_ENV, text);
	unsetenv(TAKEOVER_ENV);
	(void)!fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	t = xcalloc(1, sizeof(*t));
	t->fd = (int)fd;
	rc = receive(t, err);
	if (rc)
		takeover_free(t);
	else
		*out = t;
	return rc;
}

int takeover_listener(struct takeover *t, enum takeover_kind kind, const char *address)
{
	for (size_t i = 0; t && i < t->nlisteners; i++) {
		struct inherited *in = &t->listeners[i];
		int fd = in->fd;

		if (fd < 0 || in->kind != kind || strcmp(in->address, address) != 0)
			continue;
		in->fd = -1;
		return fd;
	}
	return -1;
}

const char *takeover_version(const struct takeover *t)
{
	return t->version;
}

/* ---- the end of it ---- */

void takeover_adopt(struct takeover *t, struct control *c)
{
	tls_server_set_ticket_keys(c->tls, t->tickets);
	server_pause(c->server, false);
	for (size_t i = 0; i < t->npredecessors; i++)
		predecessors_add(c->predecessors, t->predecessors[i]);
	t->npredecessors = 0;
	/* The last one: it has yet to let go. */
	predecessors_add(c->predecessors, t->fd);
	t->fd = -1;
}

void takeover_fail(struct takeover *t, struct control *c, const char *why)
{
	struct json_out o;
	struct buf b;

	if (!t)
		return;
	if (c->server)
		server_disown(c->server);
	if (t->fd < 0)
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_str(&o, "failed", why);
	json_obj_end(&o);
	(void)!channel_send_bare(t->fd, buf_slice(&b));
	buf_fini(&b);
}

void takeover_free(struct takeover *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->nlisteners; i++) {
		if (t->listeners[i].fd >= 0)
			close(t->listeners[i].fd);
		free(t->listeners[i].address);
	}
	for (size_t i = 0; i < t->npredecessors; i++)
		close(t->predecessors[i]);
	if (t->fd >= 0)
		close(t->fd);
	crypto_wipe(t->tickets, sizeof(t->tickets));
	free(t);
}
