/* One call's curl handle: its options, the callbacks that move its bytes, what its failures
 * mean. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/config.h"
#include "reactor/rpc_inner.h"

#define CONNECT_TIMEOUT_MS 5000
#define KEPT_CONNECTION_MAX_S 60 /* our own servers close idle ones after 75 s */
#define KEEPALIVE_AFTER_S 15
#define KEEPALIVE_EVERY_S 5
#define SYSTEM_ROOTS_MAX ((size_t)4 << 20)

/* ---- bytes ---- */

/* Once per line of the head, and of the trailers. */
static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct rpc_call *c = arg;
	long status = 0;

	(void)size;
	if (c->state != CALL_RUNNING)
		return 0;
	call_touch(c);
	if (c->head_seen || !(n <= 2 && line[n - 1] == '\n'))
		return n;
	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return n; /* 100 and its like: the head proper follows */
	c->head_seen = true;
	c->status = (int)status;
	/* curl sends no more after an error, but would wait for the end of our own pause to say so.
	 */
	if (status >= 400 && c->upload_paused)
		rpc_resume(c);
	if (c->ops->head)
		c->ops->head(c->arg, c->status);
	return c->state == CALL_RUNNING ? n : 0;
}

static size_t collect_body(struct rpc_call *c, const char *p, size_t n)
{
	if (buf_append(&c->body, p, n) == 0)
		return n;
	call_fail(c, -EMSGSIZE, "the answer of %s is larger than %zu bytes", c->where, c->body.max);
	return CURL_WRITEFUNC_ERROR;
}

/* curl knows "all" and "none" only, and offers the same bytes again after a pause: <skip> is
 * what was taken of them. */
static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct rpc_call *c = arg;
	size_t skip = MIN(c->skip, n), took = 0;

	(void)size;
	if (c->state != CALL_RUNNING)
		return CURL_WRITEFUNC_ERROR;
	call_touch(c);
	if (!c->ops->body)
		return collect_body(c, p, n);
	if (n > skip)
		took = c->ops->body(c->arg, p + skip, n - skip);
	if (c->state != CALL_RUNNING)
		return CURL_WRITEFUNC_ERROR;
	if (skip + took >= n) {
		c->skip -= skip;
		return n;
	}
	c->skip = skip + took;
	c->body_paused = true;
	call_touch(c);
	return CURL_WRITEFUNC_PAUSE;
}

static size_t on_upload(char *p, size_t size, size_t n, void *arg)
{
	struct rpc_call *c = arg;
	ssize_t gave;

	if (c->state != CALL_RUNNING)
		return CURL_READFUNC_ABORT;
	gave = c->ops->upload(c->arg, p, size * n);
	if (c->state != CALL_RUNNING)
		return CURL_READFUNC_ABORT;
	c->upload_paused = gave == -EAGAIN;
	call_touch(c);
	if (gave >= 0)
		return (size_t)gave;
	if (c->upload_paused)
		return CURL_READFUNC_PAUSE;
	call_fail(c, (int)gave, "upload to %s: %s", c->where, strerror((int)-gave));
	return CURL_READFUNC_ABORT;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
		       curl_off_t up)
{
	struct rpc_call *c = arg;

	(void)down_all;
	(void)up_all;
	if (c->moved != (uint64_t)(down + up)) {
		c->moved = (uint64_t)(down + up);
		call_touch(c);
	}
	return c->state != CALL_RUNNING;
}

/* Connected, TLS done: from here on silence counts. Before, curl's connect limit does. */
static int on_connected(void *arg, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
	struct rpc_call *c = arg;

	(void)peer_ip;
	(void)own_ip;
	(void)peer_port;
	(void)own_port;
	call_touch(c);
	return CURL_PREREQFUNC_OK;
}

/* curl's own sockets would leak into the children we start. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	(void)arg;
	(void)purpose;
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* ---- options ---- */

static bool has_control_char(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

static bool same_name(const char *line, const char *name)
{
	size_t n = strlen(name);

	return strncasecmp(line, name, n) == 0 && line[n] == ':';
}

static int add_header(struct rpc_call *c, const char *line)
{
	struct curl_slist *longer = NULL;

	if (!has_control_char(line))
		longer = curl_slist_append(c->headers, line);
	if (!longer) {
		call_fail(c, -EINVAL, "call %s: a header has a control character", c->where);
		return -EINVAL;
	}
	c->headers = longer;
	return 0;
}

static int set_headers(struct rpc_call *c, const struct rpc_request *req)
{
	bool typed = false;

	for (const char *const *h = req->headers; h && *h; h++) {
		typed = typed || same_name(*h, "Content-Type");
		if (add_header(c, *h) < 0)
			return -EINVAL;
	}
	/* Nothing of curl's own: no wait for "100 Continue", no form type for a body it knows
	 * not. */
	if (add_header(c, "Expect:") < 0 || (!typed && add_header(c, "Content-Type:") < 0) ||
	    (c->ops->upload && add_header(c, "Transfer-Encoding: chunked") < 0))
		return -EINVAL;
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
	return 0;
}

static bool has_body(const struct rpc_request *req)
{
	return req->body.n > 0 || strcmp(req->method, "POST") == 0 ||
	       strcmp(req->method, "PUT") == 0;
}

static void set_method(struct rpc_call *c, const struct rpc_request *req)
{
	CURL *e = c->easy;
	static const char *const repeatable[] = { "GET", "HEAD", "PUT", "DELETE" };
	bool again = req->repeatable;

	for (size_t i = 0; i < ARRAY_LEN(repeatable); i++)
		again = again || strcmp(req->method, repeatable[i]) == 0;
	/* On a kept connection that dies without a byte, curl sends the request a second time. */
	if (!again || c->ops->upload)
		curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
	if (c->ops->upload) {
		curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(e, CURLOPT_READFUNCTION, on_upload);
		curl_easy_setopt(e, CURLOPT_READDATA, c);
	} else if (strcmp(req->method, "HEAD") == 0) {
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	} else if (has_body(req)) {
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.n);
		curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, req->body.n ? req->body.p : "");
	}
	curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method);
}

static void trust_blob(CURL *e, const char *pem)
{
	struct curl_blob blob = { .data = (void *)(uintptr_t)pem,
				  .len = strlen(pem),
				  .flags = CURL_BLOB_COPY };

	curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob);
}

/* <pem> beside the system's roots. Where those are a directory, OpenSSL looks up the one it needs;
 * where they are a bundle, curl takes no second one, and each connection parses all of it (20 ms).
 */
static void trust_both(CURL *e, const char *pem)
{
	const curl_version_info_data *built = curl_version_info(CURLVERSION_NOW);
	char *roots = NULL, *both;
	size_t len = 0;

	if (built->capath && access(built->capath, R_OK) == 0) {
		curl_easy_setopt(e, CURLOPT_CAPATH, built->capath);
		trust_blob(e, pem);
		return;
	}
	if (built->cainfo && file_read(built->cainfo, SYSTEM_ROOTS_MAX, &roots, &len, NULL) < 0)
		roots = NULL; /* a machine without roots trusts the given one */
	both = xasprintf("%s\n%s", roots ? roots : "", pem);
	trust_blob(e, both);
	free(both);
	free(roots);
}

static void set_trust(CURL *e, const struct rpc_target *to)
{
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (to->insecure) {
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
		return;
	}
	if (!to->ca_pem)
		return;
	/* A blob replaces curl's default bundle but not its default directory of the same roots. */
	curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	if (to->ca_pem_and_system)
		trust_both(e, to->ca_pem);
	else
		trust_blob(e, to->ca_pem);
}

static void set_transport(struct rpc_call *c, const struct rpc_request *req)
{
	CURL *e = c->easy;
	uint32_t connect_ms = req->connect_timeout_ms;

	if (!connect_ms)
		connect_ms = CONNECT_TIMEOUT_MS;
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_PROXY, ""); /* http_proxy is not for our own nodes */
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "temps");
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEPT_CONNECTION_MAX_S);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_AFTER_S);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_EVERY_S);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->curl_error);
	curl_easy_setopt(e, CURLOPT_PRIVATE, c);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, c);
	curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(e, CURLOPT_XFERINFODATA, c);
	curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
}

/* Fills in c->host and c->where from the URL. */
static CURLUcode read_url(struct rpc_call *c, const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL;
	CURLUcode code = u ? CURLUE_OK : CURLUE_OUT_OF_MEMORY;

	if (!code)
		code = curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER);
	if (!code)
		code = curl_url_get(u, CURLUPART_HOST, &host, 0);
	if (!code)
		code = curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
	if (!code) {
		size_t n = strlen(host);

		c->where = xasprintf("%s:%s", host, port);
		c->host = host[0] == '[' ? xstrndup(host + 1, n - 2) : xstrdup(host);
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return code;
}

void easy_setup(struct rpc_call *c, const struct rpc_target *to, const struct rpc_request *req)
{
	CURLUcode bad;

	if (to->unix_socket) {
		c->where = xstrdup(to->unix_socket);
	} else if ((bad = read_url(c, req->url)) != CURLUE_OK) {
		call_fail(c, -EINVAL, "URL %.200s: %s", req->url, curl_url_strerror(bad));
		return;
	}
	c->easy = curl_easy_init();
	if (!c->easy) {
		call_fail(c, -ENOMEM, "call %s: out of memory", c->where);
		return;
	}
	set_transport(c, req);
	curl_easy_setopt(c->easy, CURLOPT_URL, req->url);
	if (to->unix_socket)
		curl_easy_setopt(c->easy, CURLOPT_UNIX_SOCKET_PATH, to->unix_socket);
	set_trust(c->easy, to);
	set_method(c, req);
	set_headers(c, req);
}

void easy_connect_to(struct rpc_call *c, const char *ip)
{
	bool v6 = strchr(ip, ':') != NULL;
	/* Of this handle alone; an entry of CURLOPT_RESOLVE would stay in a cache that all calls
	 * share. */
	char *entry = xasprintf("::%s%s%s:", v6 ? "[" : "", ip, v6 ? "]" : "");

	c->connect_to = curl_slist_append(NULL, entry);
	free(entry);
	curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to);
}

/* ---- failures ---- */

/* The system's errno of a failed connect, or <other>. */
static int connect_errno(struct rpc_call *c, int other)
{
	long os_errno = 0;

	curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os_errno);
	return os_errno > 0 && os_errno != EINPROGRESS ? -(int)os_errno : other;
}

static void fail_connect(struct rpc_call *c, int rc)
{
	call_fail(c, rc, "connect to %s: %s", c->where, strerror(-rc));
}

static const char *curl_says(struct rpc_call *c, CURLcode code)
{
	return c->curl_error[0] ? c->curl_error : curl_easy_strerror(code);
}

void easy_failed(struct rpc_call *c, CURLcode code)
{
	const char *says = curl_says(c, code);

	switch (code) {
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST: /* a socket's path that is too long */
		fail_connect(c, connect_errno(c, -ECONNREFUSED));
		break;
	case CURLE_OPERATION_TIMEDOUT: /* the only limit of curl's that is set */
		fail_connect(c, -ETIMEDOUT);
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
		call_fail(c, -EKEYREJECTED, "TLS with %s: %s", c->where, says);
		break;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ENGINE_INITFAILED:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CERTPROBLEM: call_fail(c, -EPROTO, "TLS with %s: %s", c->where, says); break;
	case CURLE_GOT_NOTHING:
		call_fail(c, -ECONNRESET, "%s closed the connection without an answer", c->where);
		break;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
		call_fail(c, -ECONNRESET, "lost the connection to %s: %s", c->where, says);
		break;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT: call_fail(c, -EINVAL, "call %s: %s", c->where, says); break;
	case CURLE_OUT_OF_MEMORY: call_fail(c, -ENOMEM, "call %s: out of memory", c->where); break;
	default: call_fail(c, -EPROTO, "call %s: %s", c->where, says);
	}
}
