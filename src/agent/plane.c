/* Calls from a node to its control plane. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/plane.h"
#include "base/text.h"
#include "reactor/crypto.h"

#define CALL_LIMIT_MS 10000
#define MAX_ANSWER_BYTES (1u << 20)

/* host[:port] in <authority> is this machine. */
static bool is_loopback(struct slice authority)
{
	char host[80];
	struct addr at;
	struct slice rest;

	if (slice_eq(slice_split(authority, ':', &rest), SLICE("localhost")))
		return true;
	if (!slice_copy(authority, host, sizeof(host)) && !addr_parse(&at, slice_str(host), NULL))
		return addr_is_loopback(&at);
	/* Without a port. */
	if (authority.n > 2 && authority.p[0] == '[' && authority.p[authority.n - 1] == ']')
		authority = slice_of(authority.p + 1, authority.n - 2);
	return !addr_make(&at, authority, 80, NULL) && addr_is_loopback(&at);
}

int plane_check_url(const char *url, struct err *err)
{
	struct slice s = slice_str(url), authority, path;

	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return err_say(err, -EINVAL,
				       "control plane URL: a blank or control character in it");
	if (slice_starts(s, SLICE("https://")) && s.n > 8 && s.p[8] != '/')
		return 0;
	if (!slice_starts(s, SLICE("http://")))
		return err_say(err, -EINVAL,
			       "control plane URL \"%s\": expected https://HOST[:PORT]", url);
	authority = slice_split(slice_of(s.p + 7, s.n - 7), '/', &path);
	if (is_loopback(authority))
		return 0;
	return err_say(
		err, -EINVAL,
		"control plane URL \"%s\": plain http:// is for loopback addresses only; use https://",
		url);
}

void plane_init(struct plane *p, struct rpc *r, const char *url, const char *ca_pem,
		const char *token)
{
	size_t n = strlen(url);

	while (n && url[n - 1] == '/')
		n--;
	*p = (struct plane){ .rpc = r, .url = xstrndup(url, n) };
	p->ca_pem = ca_pem ? xstrdup(ca_pem) : NULL;
	p->authorization = token ? xasprintf("Authorization: Bearer %s", token) : NULL;
}

void plane_fini(struct plane *p)
{
	if (p->authorization)
		crypto_wipe(p->authorization, strlen(p->authorization));
	free(p->authorization);
	free(p->ca_pem);
	free(p->url);
	*p = (struct plane){ 0 };
}

struct rpc_call *plane_begin(struct plane *p, const char *method, const char *path,
			     struct slice body, const struct rpc_ops *ops, void *arg)
{
	struct rpc_target to = { .ca_pem = p->ca_pem,
				 .ca_pem_and_system = true,
				 .insecure = p->insecure };
	const char *headers[] = { "Accept: application/json", NULL, NULL, NULL };
	char *url = xasprintf("%s%s", p->url, path);
	struct rpc_request req = {
		.method = method,
		.url = url,
		.headers = headers,
		.body = body,
		.total_timeout_ms = CALL_LIMIT_MS,
		.max_response = MAX_ANSWER_BYTES,
		/* Told twice, a beat or a registration with proof says what it said once: so beats share a connection. */
		.repeatable = true,
	};
	struct rpc_call *call;
	size_t n = 1;

	if (body.n)
		headers[n++] = "Content-Type: application/json";
	if (p->authorization)
		headers[n++] = p->authorization;
	call = rpc_begin(p->rpc, &to, &req, ops, arg);
	free(url);
	return call;
}

static int rc_of_status(int status)
{
	switch (status) {
	case 401:
	case 403: return -EACCES;
	case 404: return -ENOENT;
	case 409: return -EEXIST;
	default: return status >= 400 && status < 500 ? -EINVAL : -EIO;
	}
}

int plane_answer(const struct rpc_result *res, struct json **out, struct err *err)
{
	const char *title, *detail;
	struct json *j = NULL;
	int rc;

	*out = NULL;
	if (res->rc)
		return err_say(err, res->rc, "%s", res->error ? res->error : strerror(-res->rc));
	rc = json_parse(&j, res->body, NULL);
	if (res->status >= 200 && res->status < 300) {
		if (rc)
			return err_say(
				err, -EPROTO,
				"the answer is no JSON (status %d): is this a temps control plane?",
				res->status);
		*out = j;
		return 0;
	}
	title = json_cstr(json_get(j, "title"), "");
	detail = json_cstr(json_get(j, "detail"), "");
	rc = err_say(err, rc_of_status(res->status), "%d %.100s%s%.300s", res->status, title,
		     *title && *detail ? ": " : "", detail);
	json_free(j);
	return rc;
}
