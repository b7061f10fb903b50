/* The control plane as the command line sees it: by its unix socket, or by URL and key. One loop, one call at a time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "cli/cli.h"
#include "reactor/deadline.h"
#include "reactor/rpc.h"

#define MAX_ANSWER (64u << 20)
#define MAX_LINE (1u << 20)
#define HANDOVER_EVERY_MS 250
#define HANDOVER_TRIES 120

struct api_client {
	struct loop *loop;
	struct rpc *rpc;
	char *base;		/* "http://localhost" or the URL without its last '/' */
	char *socket;		/* NULL: by URL */
	char *ca_pem;		/* NULL: the system's roots alone */
	char *auth;		/* "Authorization: Bearer …", or NULL */
};

/* One call under way. */
struct call {
	struct api_client *api;
	int rc;
	unsigned status;
	struct buf body;	/* the answer; while streaming: the unfinished line, or the text of a refusal */
	struct err err;
	bool (*line)(void *arg, struct slice text);
	void *arg;
	bool stopped;
	bool ended;		/* done was called */
};

static int connect_by_url(struct cli *c, struct api_client *a)
{
	const char *url = c->globals.api_url;
	size_t n = strlen(url), len;
	struct err err;

	if (strncmp(url, "https://", 8) && strncmp(url, "http://", 7))
		return cli_fail("--api-url %s: expected https://HOST[:PORT]", url);
	while (n && url[n - 1] == '/')
		n--;
	a->base = xstrndup(url, n);
	if (c->globals.ca_file && file_read(c->globals.ca_file, 1u << 20, &a->ca_pem, &len, &err))
		return cli_fail("%s", err.text);
	if (c->globals.api_token)
		a->auth = xasprintf("Authorization: Bearer %s", c->globals.api_token);
	return EXIT_DONE;
}

static int connect_by_socket(struct cli *c, struct api_client *a)
{
	const char *dir = cli_data_dir(c);

	a->socket = xasprintf("%s/temps.sock", dir);
	a->base = xstrdup("http://localhost");
	if (access(a->socket, F_OK) == 0)
		return EXIT_DONE;
	return cli_fail("no control plane at %s: %s; start one with 'temps serve', or name one with --api-url and TEMPS_API_TOKEN",
			a->socket, strerror(errno));
}

static struct api_client *client_get(struct cli *c)
{
	struct api_client *a = c->api;
	struct err err;
	int code;

	if (a)
		return a;
	a = c->api = xcalloc(1, sizeof(*a));
	code = c->globals.api_url ? connect_by_url(c, a) : connect_by_socket(c, a);
	if (code == EXIT_DONE && (loop_create(&a->loop, &err) || rpc_create(&a->rpc, a->loop, &err)))
		code = cli_fail("%s", err.text);
	if (code == EXIT_DONE)
		return a;
	cli_close(c);
	return NULL;
}

void cli_close(struct cli *c)
{
	struct api_client *a = c->api;

	if (!a)
		return;
	if (a->rpc)
		rpc_destroy(a->rpc);
	if (a->loop)
		loop_destroy(a->loop);
	if (a->auth)
		explicit_bzero(a->auth, strlen(a->auth));
	free(a->base);
	free(a->socket);
	free(a->ca_pem);
	free(a->auth);
	free(a);
	c->api = NULL;
}

/* Hands out whole lines; false when the receiver has had enough. */
static bool emit_lines(struct call *k)
{
	char *end;

	while (k->body.len && (end = memchr(k->body.data, '\n', k->body.len))) {
		size_t n = (size_t)(end - k->body.data);

		if (!k->line(k->arg, slice_of(k->body.data, n)))
			return false;
		buf_consume(&k->body, n + 1);
	}
	return true;
}

static void on_head(void *arg, int status)
{
	struct call *k = arg;

	k->status = (unsigned)status;
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct call *k = arg;

	if (k->stopped)
		return n;
	buf_append(&k->body, p, n);
	if (k->status / 100 == 2 && !emit_lines(k)) {
		k->stopped = true;
		loop_stop(k->api->loop);
	}
	return n;
}

static void on_done(void *arg, const struct rpc_result *res)
{
	struct call *k = arg;

	k->ended = true;
	k->rc = res->rc;
	k->status = (unsigned)res->status;
	if (res->rc == -EKEYREJECTED)
		err_say(&k->err, res->rc, "%s; --ca-file or TEMPS_CA_FILE names whom to trust: the control plane's front-ca.pem",
			res->error ? res->error : "not trusted");
	else if (res->rc)
		err_say(&k->err, res->rc, "%s", res->error ? res->error : strerror(-res->rc));
	else if (!k->line)
		buf_append_slice(&k->body, res->body);
	loop_stop(k->api->loop);
}

static const struct rpc_ops collect_ops = { .done = on_done };
static const struct rpc_ops stream_ops = { .head = on_head, .body = on_body, .done = on_done };

/* Runs one call to its end; the caller owns k->body. */
static int run_call(struct api_client *a, struct call *k, const char *method, const char *path, const char *accept,
		    const char *body)
{
	char *url = xasprintf("%s%s", a->base, path);
	char *accept_line = xasprintf("Accept: %s", accept);
	const char *headers[4] = { accept_line };
	size_t n = 1;
	struct rpc_target to = { .unix_socket = a->socket, .ca_pem = a->ca_pem, .ca_pem_and_system = a->ca_pem != NULL };
	struct rpc_request req = { .method = method, .url = url, .headers = headers, .max_response = MAX_ANSWER };
	struct rpc_call *call;

	if (a->auth)
		headers[n++] = a->auth;
	if (body) {
		headers[n++] = "Content-Type: application/json";
		req.body = slice_str(body);
	}
	if (k->line)
		req.idle_timeout_ms = RPC_FOREVER;	/* a quiet log is not a broken one */
	k->api = a;
	buf_init(&k->body, k->line ? MAX_LINE : MAX_ANSWER);
	call = rpc_begin(a->rpc, &to, &req, k->line ? &stream_ops : &collect_ops, k);
	loop_run(a->loop);
	if (!k->ended)
		rpc_cancel(call);
	if (!k->ended && !k->stopped)
		k->rc = err_say(&k->err, -EINTR, "interrupted");
	free(url);
	free(accept_line);
	return k->rc;
}

/* What a refusal says of itself, for people. What it says of each node comes as a table beside it. */
static void explain(struct call *k, const struct json *problem)
{
	const char *title = json_cstr(json_get(problem, "title"), NULL);
	const char *detail = json_cstr(json_get(problem, "detail"), NULL);

	if (k->status == 401)
		err_say(&k->err, -EACCES, "not authorised: set TEMPS_API_TOKEN to a key made by 'temps api-key create'");
	else if (title && detail)
		err_say(&k->err, -EPROTO, "%s: %s", title, detail);
	else
		err_say(&k->err, -EPROTO, "the control plane answered %u%s%s", k->status, title ? ": " : "",
			title ? title : "");
}

/* The document goes to <*out>, also that of a refusal. */
static int ask_once(struct cli *c, const char *method, const char *path, const char *body, struct json **out,
		    unsigned *status, struct err *err)
{
	struct api_client *a = client_get(c);
	struct call k = { 0 };
	struct json *doc = NULL;
	int code = EXIT_FAILED;

	*status = 0;
	err_say(err, 0, "%s", "");
	if (!a)
		return EXIT_FAILED;
	if (run_call(a, &k, method, path, "application/json", body)) {
		*err = k.err;
	} else {
		struct err bad;
		bool parsed = k.body.len == 0 || !json_parse(&doc, buf_slice(&k.body), &bad);

		*status = k.status;
		if (k.status / 100 != 2)
			explain(&k, doc);
		else if (!parsed)
			err_say(&k.err, -EPROTO, "the control plane's answer is not JSON: %s", bad.text);
		else
			code = EXIT_DONE;
		*err = k.err;
	}
	buf_fini(&k.body);
	*out = doc;
	return code;
}

/* The process that serves hands over to another one: it has not looked at the call, and in a moment the other answers. */
static bool is_handing_over(unsigned status, const struct json *problem)
{
	return status == 503 && slice_eq(json_str(json_get(problem, "title"), ""), SLICE("Upgrade Under Way"));
}

static int try_call(struct cli *c, const char *method, const char *path, const char *body, struct json **out,
		    unsigned *status, struct err *err)
{
	int code = ask_once(c, method, path, body, out, status, err);

	for (int i = 0; i < HANDOVER_TRIES && is_handing_over(*status, *out); i++) {
		json_free(*out);
		cli_wait(c, HANDOVER_EVERY_MS);
		code = ask_once(c, method, path, body, out, status, err);
	}
	return code;
}

int cli_try(struct cli *c, const char *method, const char *path, const char *body, struct json **out, unsigned *status,
	    struct err *err)
{
	struct json *doc = NULL;
	int code = try_call(c, method, path, body, &doc, status, err);

	if (code == EXIT_DONE && out)
		*out = doc;
	else
		json_free(doc);
	return code;
}

/* Which node was refused and why. */
static void print_refused(const struct json *nodes)
{
	static const char *const columns[] = { "NODE", "WHY NOT", NULL };
	struct table *t;

	if (!json_len(nodes))
		return;
	t = table_new(columns);
	for (size_t i = 0; i < json_len(nodes); i++) {
		table_str(t, json_at(nodes, i), "node");
		table_str(t, json_at(nodes, i), "reason");
	}
	fputc('\n', stderr);
	table_write(t, stderr, SIZE_MAX);
}

/* "Title: detail: node by node": the table says the last. */
static void cut_detail(char *text)
{
	char *detail = strstr(text, ": ");

	if (detail)
		detail[2 + strcspn(detail + 2, ":")] = '\0';
}

int cli_call(struct cli *c, const char *method, const char *path, const char *body, struct json **out)
{
	struct json *doc = NULL;
	struct err err;
	unsigned status;
	int code = try_call(c, method, path, body, &doc, &status, &err);

	if (code != EXIT_DONE && err.text[0]) {
		if (json_len(json_get(doc, "nodes")))
			cut_detail(err.text);
		cli_fail("%s", err.text);
		print_refused(json_get(doc, "nodes"));
	}
	if (code == EXIT_DONE && out)
		*out = doc;
	else
		json_free(doc);
	return code;
}

int cli_act(struct cli *c, const char *method, const char *path, const char *body)
{
	struct json *doc = NULL;
	int code = cli_call(c, method, path, body, &doc);

	if (code == EXIT_DONE)
		cli_print_answer(c, doc);
	json_free(doc);
	return code;
}

int cli_stream(struct cli *c, const char *path, const char *accept, bool (*line)(void *arg, struct slice text), void *arg)
{
	struct api_client *a = client_get(c);
	struct call k = { .line = line, .arg = arg };
	struct json *problem = NULL;
	int code = EXIT_DONE;

	if (!a)
		return EXIT_FAILED;
	if (run_call(a, &k, "GET", path, accept, NULL)) {
		code = cli_fail("%s", k.err.text);
	} else if (!k.stopped && k.status / 100 != 2) {
		struct err bad;

		if (json_parse(&problem, buf_slice(&k.body), &bad))
			problem = NULL;
		explain(&k, problem);
		code = cli_fail("%s", k.err.text);
	} else if (!k.stopped && k.body.len) {
		line(arg, buf_slice(&k.body));	/* a last line without its end */
	}
	json_free(problem);
	buf_fini(&k.body);
	return code;
}

struct loop *cli_loop(struct cli *c)
{
	struct api_client *a = client_get(c);

	return a ? a->loop : NULL;
}

static void on_waited(void *arg)
{
	loop_stop(arg);
}

void cli_wait(struct cli *c, uint32_t ms)
{
	struct api_client *a = client_get(c);
	struct deadline d;

	if (!a)
		return;
	deadline_init(&d, a->loop, on_waited, a->loop);
	deadline_set(&d, ms);
	loop_run(a->loop);
	deadline_stop(&d);
}

char *cli_escape(const char *s)
{
	struct buf out;

	buf_init(&out, 0);
	for (; *s; s++)
		if (strchr("-._~", *s) || (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'))
			buf_append(&out, s, 1);
		else
			buf_printf(&out, "%%%02X", (unsigned char)*s);
	return buf_steal(&out);
}
