/* temps join and temps agent as processes, against a control plane that is this test. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/join.h"
#include "agent/settings.h"
#include "base/config.h"
#include "base/log.h"
#include "base/text.h"
#include "http/reply.h"
#include "http/server.h"
#include "pump.h"
#include "reactor/crypto.h"
#include "reactor/pki.h"
#include "reactor/rpc.h"

#define SECRET "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct world {
	struct loop *loop;
	struct rpc *rpc;
	struct api *api;
	struct server *server;
	struct tls_server *tls;
	struct tls_cert *cert;
	struct buf ca, ca_key, front, front_key;
	char dir[64], home[80], url[80], token[160], config[128];
	/* what the control plane does */
	bool wrong_signature, with_cert;
	unsigned register_status, beat_status;
	bool resync;
	/* what it saw */
	unsigned registers, beats, full_beats, certificates;
	char last_register[4096], last_beat[8192], last_authorization[128];
	pid_t agent;	/* the last one started; 0 when it is known to be over */
} w;

/* --- the control plane --- */

static void answer(struct api_request *r, unsigned status, struct buf *b)
{
	reply_json(r, status, buf_slice(b));
	buf_fini(b);
}

static void on_ca(struct api_request *r)
{
	struct json_out o;
	struct buf b, signature;

	buf_init(&b, 0);
	buf_init(&signature, 0);
	assert_int_equal(pki_sign(buf_slice(w.wrong_signature ? &w.front_key : &w.ca_key), buf_slice(&w.front), &signature, NULL), 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_slice(&o, "ca_cert_pem", buf_slice(&w.ca));
	json_put_slice(&o, "front_ca_pem", buf_slice(&w.front));
	json_put_slice(&o, "signature", buf_slice(&signature));
	json_obj_end(&o);
	buf_fini(&signature);
	answer(r, 200, &b);
}

static void put_cert(struct json_out *o, const struct json *request)
{
	static const char *const ips[] = { "127.0.0.1", NULL };
	struct pki_names names = { .common_name = "node", .ips = ips };
	struct buf cert;

	buf_init(&cert, 0);
	assert_int_equal(pki_sign_csr(buf_slice(&w.ca), buf_slice(&w.ca_key), json_str(json_get(request, "csr_pem"), ""), &names, 90,
				      &cert, NULL), 0);
	json_put_slice(o, "cert_pem", buf_slice(&cert));
	json_put_slice(o, "ca_cert_pem", buf_slice(&w.ca));
	buf_fini(&cert);
}

static void on_register(struct api_request *r)
{
	struct json_out o;
	struct json *j;
	struct buf b;

	w.registers++;
	snprintf(w.last_register, sizeof(w.last_register), "%.*s", SLICE_ARG(r->body));
	if (w.register_status != 201) {
		reply_problem(r, w.register_status, "Invalid Join Token", "the join token is not known");
		return;
	}
	assert_int_equal(json_parse(&j, r->body, NULL), 0);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_int(&o, "id", 7);
	json_put_str(&o, "name", json_cstr(json_get(j, "name"), "?"));
	json_put_str(&o, "cluster_id", w.dir + strlen("/tmp/temps-"));
	json_put_int(&o, "heartbeat_interval_s", 1);
	if (w.with_cert && json_get(j, "csr_pem"))
		put_cert(&o, j);
	else
		json_put_slice(&o, "ca_cert_pem", buf_slice(&w.ca));
	json_obj_end(&o);
	json_free(j);
	answer(r, 201, &b);
}

static void note_authorization(const struct api_request *r)
{
	const struct field *f = head_field(&r->x->req, FIELD_AUTHORIZATION);

	snprintf(w.last_authorization, sizeof(w.last_authorization), "%.*s", f ? (int)f->value.n : 0, f ? f->value.p : "");
}

static void on_beat(struct api_request *r)
{
	struct json_out o;
	struct buf b;

	w.beats++;
	note_authorization(r);
	snprintf(w.last_beat, sizeof(w.last_beat), "%.*s", SLICE_ARG(r->body));
	w.full_beats += strstr(w.last_beat, "\"containers\":[") != NULL;
	if (w.beat_status != 200) {
		reply_problem(r, w.beat_status, "No", "not now");
		return;
	}
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_bool(&o, "resync", w.resync);
	json_obj_end(&o);
	w.resync = false;
	answer(r, 200, &b);
}

static void on_certificate(struct api_request *r)
{
	struct json_out o;
	struct json *j;
	struct buf b;

	w.certificates++;
	note_authorization(r);
	assert_int_equal(json_parse(&j, r->body, NULL), 0);
	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	put_cert(&o, j);
	json_obj_end(&o);
	json_free(j);
	answer(r, 200, &b);
}

static int let_in(struct api_request *r)
{
	(void)r;
	return 0;
}

static const struct api_route routes[] = {
	{ .method = "GET", .pattern = "/api/internal/ca", .handle = on_ca },
	{ .method = "POST", .pattern = "/api/internal/nodes/register", .max_body = 65536, .handle = on_register },
	{ .method = "POST", .pattern = "/api/internal/nodes/{id}/heartbeat", .max_body = 65536, .handle = on_beat },
	{ .method = "POST", .pattern = "/api/internal/nodes/{id}/certificate", .max_body = 65536, .handle = on_certificate },
};

static const struct tls_cert *on_pick(void *arg, struct slice sni)
{
	(void)arg;
	(void)sni;
	return w.cert;
}

static void start_plane(void)
{
	static const char *const alpn[] = { "http/1.1", NULL }, *const ips[] = { "127.0.0.1", NULL };
	struct pki_names names = { .common_name = "front", .ips = ips };
	struct api_config api = { .routes = routes, .nroutes = ARRAY_LEN(routes), .authorise = let_in, .error = reply_problem, .max_query = 100 };
	struct exchange_handler handler = { .request = api_handle };
	struct server_config config;
	struct buf cert, key;
	struct addr at, bound;

	buf_init(&cert, 0);
	buf_init(&key, 0);
	assert_int_equal(pki_issue(buf_slice(&w.front), buf_slice(&w.front_key), &names, 90, &cert, &key, NULL), 0);
	assert_int_equal(tls_cert_load(&w.cert, buf_slice(&cert), buf_slice(&key), NULL), 0);
	assert_int_equal(tls_server_create(&w.tls, w.loop, alpn, on_pick, NULL, NULL), 0);
	assert_int_equal(api_create(&w.api, &api, NULL), 0);
	handler.arg = w.api;
	server_config_default(&config);
	assert_int_equal(server_create(&w.server, w.loop, &config, &handler, NULL, NULL, NULL), 0);
	assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), NULL), 0);
	assert_int_equal(server_listen(w.server, &at, w.tls, NULL, &bound, NULL), 0);
	snprintf(w.url, sizeof(w.url), "https://%s/", bound.text);
	buf_fini(&cert);
	buf_fini(&key);
}

static int setup(void **state)
{
	char hex[65];

	(void)state;
	log_init(LOG_ERROR, false);
	snprintf(w.dir, sizeof(w.dir), "/tmp/temps-unitXXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.home, sizeof(w.home), "%s/home", w.dir);
	snprintf(w.config, sizeof(w.config), "%s/.temps/agent.json", w.home);
	assert_int_equal(loop_create(&w.loop, NULL), 0);
	assert_int_equal(rpc_create(&w.rpc, w.loop, NULL), 0);
	assert_int_equal(pki_make_ca("cluster", 100, &w.ca, &w.ca_key, NULL), 0);
	assert_int_equal(pki_make_ca("front", 100, &w.front, &w.front_key, NULL), 0);
	assert_int_equal(pki_fingerprint(buf_slice(&w.ca), hex, NULL), 0);
	snprintf(w.token, sizeof(w.token), "%s.%s", hex, SECRET);
	start_plane();
	return 0;
}

static int teardown(void **state)
{
	char *rm[] = { (char[]){ "rm" }, (char[]){ "-rf" }, w.dir, NULL };
	pid_t pid = fork();

	(void)state;
	if (!pid)
		execvp(rm[0], rm);
	waitpid(pid, NULL, 0);
	server_destroy(w.server);
	api_destroy(w.api);
	tls_server_destroy(w.tls);
	tls_cert_free(w.cert);
	rpc_destroy(w.rpc);
	loop_destroy(w.loop);
	buf_fini(&w.ca);
	buf_fini(&w.ca_key);
	buf_fini(&w.front);
	buf_fini(&w.front_key);
	return 0;
}

/* A test that failed leaves its agent running. */
static int after(void **state)
{
	(void)state;
	if (w.agent) {
		kill(w.agent, SIGKILL);
		waitpid(w.agent, NULL, 0);
	}
	w.agent = 0;
	return 0;
}

/* Each test begins with an empty home and a control plane that says yes. */
static int before(void **state)
{
	(void)state;
	unlink(w.config);
	w.wrong_signature = w.resync = false;
	w.with_cert = true;
	w.register_status = 201;
	w.beat_status = 200;
	w.registers = w.beats = w.full_beats = w.certificates = 0;
	w.last_register[0] = w.last_beat[0] = '\0';
	return 0;
}

/* --- children --- */

struct child {
	pid_t pid;
	int status;
	bool over;
	char *out;	/* what it printed, both streams */
};

static char *out_path(void)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/out", w.dir);
	return path;
}

/* In the child: as a process of its own would be, with nothing of the environment that could matter. */
static void become(void)
{
	int fd = open(out_path(), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	setenv("HOME", w.home, 1);
	log_init(LOG_INFO, false);
}

static void child_end(int code)
{
	fflush(stdout);
	_exit(code);
}

static bool is_over(struct child *c)
{
	if (!c->over && waitpid(c->pid, &c->status, WNOHANG) == c->pid)
		c->over = true;
	if (c->over && c->pid == w.agent)
		w.agent = 0;
	return c->over;
}

static void wait_child(struct child *c)
{
	size_t n;

	PUMP_UNTIL(w.loop, is_over(c));
	assert_int_equal(file_read(out_path(), 1 << 20, &c->out, &n, NULL), 0);
}

static struct child join(const struct join_options *o)
{
	struct child c = { .pid = fork() };

	if (!c.pid) {
		become();
		child_end(join_run(o));
	}
	wait_child(&c);
	return c;
}

static struct child start_agent(const struct agent_options *o)
{
	struct child c = { .pid = fork() };

	if (!c.pid) {
		become();
		child_end(agent_run(o));
	}
	w.agent = c.pid;
	return c;
}

static void check_child(const char *name, struct child *c, int code, const char *says)
{
	if (!WIFEXITED(c->status) || WEXITSTATUS(c->status) != code || (says && !strstr(c->out, says)))
		fail_msg("%s: status %x, not exit %d with \"%s\": %s", name, (unsigned)c->status, code, says ? says : "", c->out);
	free(c->out);
}

static struct join_options good_join(void)
{
	return (struct join_options){
		.url = w.url,
		.token = w.token,
		.private_address = "127.0.0.1",
		.name = "worker-1",
		.node = { .labels = "region=eu-west,gpu=true", .tags = "fast,gpu", .region = "said already", .memory_gb = 2, .gpus = -1 },
		.agent_address = "127.0.0.1:0",
	};
}

/* --- join --- */

static void test_join(void **state)
{
	struct join_options o = good_join();
	struct child c = join(&o);
	struct settings s;
	struct err err = { 0 };
	struct stat st;
	char first_token[65], dir[96];

	(void)state;
	check_child("join", &c, 0, "node 7");
	assert_int_equal(stat(w.config, &st), 0);
	CHECK_INT("file", st.st_mode & 0777, 0600);
	snprintf(dir, sizeof(dir), "%s/.temps", w.home);
	assert_int_equal(stat(dir, &st), 0);
	CHECK_INT("directory", st.st_mode & 0777, 0700);
	if (settings_read(&s, w.config, &err))
		fail_msg("%s", err.text);
	CHECK_INT("id", s.node_id, 7);
	CHECK_STR("name", s.node_name, "worker-1");
	CHECK_STR("url", s.control_plane_url, w.url);
	CHECK_STR("label", pairs_get(&s.labels, "gpu"), "true");
	CHECK_STR("tag", pairs_get(&s.labels, "fast"), "true");
	CHECK_STR("labels come first", pairs_get(&s.labels, "region"), "eu-west");
	CHECK_INT("once each", s.labels.n, 3);
	CHECK_INT("memory", s.resources.memory_gb, 2);
	CHECK_INT("cards are found", s.resources.gpus_told, false);
	CHECK_STR("listen", s.listen_address, "127.0.0.1:0");
	CHECK_STR("trust", s.control_plane_ca_pem, w.front.data);
	CHECK_STR("cluster CA", s.ca_cert_pem, w.ca.data);
	CHECK_INT("token", strlen(s.token), 64);
	CHECK_INT("interval", s.heartbeat_interval_s, 1);
	CHECK_INT("secret only", strstr(w.last_register, "\"join_token\":\"" SECRET "\"") != NULL, true);
	CHECK_INT("no proof yet", strstr(w.last_register, "previous_token") == NULL, true);
	snprintf(first_token, sizeof(first_token), "%s", s.token);
	settings_fini(&s);

	/* Again under the same name: with the old token as proof, and a new one. */
	c = join(&o);
	check_child("rejoin", &c, 0, NULL);
	CHECK_INT("proof", strstr(w.last_register, first_token) != NULL, true);
	assert_int_equal(settings_read(&s, w.config, NULL), 0);
	CHECK_INT("new token", strcmp(s.token, first_token) != 0, true);
	settings_fini(&s);
}

static void test_join_refused(void **state)
{
	struct join_options o = good_join(), bad;
	char token[160];
	struct child c;

	(void)state;
	w.register_status = 403;
	c = join(&o);
	check_child("403", &c, 1, "Invalid Join Token");
	w.register_status = 201;

	snprintf(token, sizeof(token), "%s.%s", SECRET, SECRET);
	bad = o;
	bad.token = token;
	c = join(&bad);
	check_child("another CA", &c, 1, "not the one in the token");

	w.wrong_signature = true;
	c = join(&o);
	check_child("front not signed by the cluster", &c, 1, "front authority");
	w.wrong_signature = false;

	bad = o;
	bad.token = SECRET;
	c = join(&bad);
	check_child("unknown to the system", &c, 1, "certificate");

	bad = o;
	bad.url = "https://127.0.0.1:1";
	c = join(&bad);
	check_child("nobody there", &c, 1, "refused");
	CHECK_INT("no file", access(w.config, F_OK), -1);
	CHECK_INT("asked once", w.registers, 1);
}

static void test_join_usage(void **state)
{
	static const struct {
		const char *name;
		struct join_options o;
		const char *says;
	} cases[] = {
		{ "plain http", { .url = "http://10.0.0.1", .token = SECRET, .private_address = "10.0.0.5" }, "loopback addresses only" },
		{ "no URL", { .url = "ftp://x", .token = SECRET, .private_address = "10.0.0.5" }, "expected https://" },
		{ "short token", { .url = "https://x", .token = "abcd", .private_address = "10.0.0.5" }, "64 hex digits" },
		{ "short fingerprint", { .url = "https://x", .token = "ab." SECRET, .private_address = "10.0.0.5" }, "before its dot" },
		{ "no address", { .url = "https://x", .token = SECRET }, "--private-address" },
		{ "a name", { .url = "https://x", .token = SECRET, .private_address = "host" }, "literal address" },
		{ "label", { .url = "https://x", .token = SECRET, .private_address = "::1", .node.labels = "a=b,gpu" }, "\"gpu\" is not key=value" },
		{ "node name", { .url = "https://x", .token = SECRET, .private_address = "::1", .name = "a b" }, "--name \"a b\"" },
		{ "agent address", { .url = "https://x", .token = SECRET, .private_address = "::1", .agent_address = "here" }, "--agent-address" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct child c = join(&cases[i].o);

		check_child(cases[i].name, &c, 2, cases[i].says);
	}
}

/* --- agent --- */

static void write_config(const char *text)
{
	char dir[96];

	snprintf(dir, sizeof(dir), "%s/.temps", w.home);
	assert_int_equal(dir_make(dir, 0700, NULL), 0);
	assert_int_equal(file_write(w.config, text, strlen(text), 0600, NULL), 0);
}

static void test_agent_without_config(void **state)
{
	struct agent_options o = { 0 };
	struct child c = start_agent(&o);
	char place[160];

	(void)state;
	wait_child(&c);
	check_child("nothing", &c, 1, "Missing --token. Run 'temps join' first, or provide --token, --node-name, --control-plane-url, --node-id");
	write_config("{\n  \"token\": \"x\",,\n}");
	snprintf(place, sizeof(place), "%s:2:", w.config);
	c = start_agent(&o);
	wait_child(&c);
	check_child("broken file", &c, 1, place);
	write_config("{\"node_id\": \"seven\"}");
	c = start_agent(&o);
	wait_child(&c);
	check_child("wrong member", &c, 1, "node_id");
}

struct reply {
	bool done;
	int rc, status;
	char body[4096];
};

static void on_reply(void *arg, const struct rpc_result *res)
{
	struct reply *r = arg;

	r->done = true;
	r->rc = res->rc;
	r->status = res->status;
	snprintf(r->body, sizeof(r->body), "%.*s", (int)res->body.n, res->body.n ? res->body.p : res->error ? res->error : "");
}

static struct reply call_agent(const char *base, const char *method, const char *path, const char *authorization, const char *body)
{
	static const struct rpc_ops ops = { .done = on_reply };
	struct rpc_target to = { .ca_pem = w.ca.data };
	const char *headers[] = { authorization, NULL };
	struct reply r = { 0 };
	char url[256];
	struct rpc_request req = { .method = method, .url = url, .headers = headers, .body = slice_str(body) };

	snprintf(url, sizeof(url), "%s%s", base, path);
	assert_non_null(rpc_begin(w.rpc, &to, &req, &ops, &r));
	PUMP_UNTIL(w.loop, r.done);
	return r;
}

static bool has_engine(void)
{
	return !access("/var/run/docker.sock", R_OK | W_OK);
}

static void check_api(const char *base, const char *bearer)
{
	static const struct {
		const char *method, *path, *body;
		int status;
		const char *says;
		bool needs_engine;
	} cases[] = {
		{ "GET", "/agent/ping", NULL, 200, "{\"success\":true,\"data\":\"pong\"", false },
		{ "GET", "/agent/health", NULL, 200, "{\"success\":true,\"data\":{\"cpu_percent\":", false },
		{ "GET", "/agent/containers", NULL, 200, "{\"success\":true,\"data\":[],\"error\":null}", true },
		{ "GET", "/agent/containers/nobody/info", NULL, 404, "{\"success\":false,\"data\":null,\"error\":\"", true },
		{ "GET", "/agent/containers/nobody/logs", NULL, 404, "\"success\":false", true },
		{ "GET", "/agent/containers/nobody/logs?tail=x", NULL, 400, "tail", false },
		{ "POST", "/agent/containers/nobody/stop", "{}", 404, "\"success\":false", true },
		{ "DELETE", "/agent/containers/nobody", NULL, 404, "o such container", true },
		{ "POST", "/agent/containers/deploy", "{\"image_name\":3}", 400, "image_name", false },
		{ "POST", "/agent/containers/deploy", "nonsense", 400, "line 1", false },
		{ "POST", "/agent/containers/deploy", "{\"image_name\":\"temps-test/none:1\",\"container_name\":\"x\"}", 404, "No such image", true },
		{ "GET", "/agent/images/temps-test%2Fnone:1/exists", NULL, 200, "\"data\":false", true },
		{ "GET", "/agent/images/temps-test%2Fnone:1/inspect", NULL, 404, "\"success\":false", true },
		{ "POST", "/agent/images/pull", "{\"image\":\"127.0.0.1:1/none:1\"}", 200, "\"error\":", true },
		{ "POST", "/agent/images/import", "x", 400, "Missing required x-image-tag header", false },
		{ "GET", "/agent/nowhere", NULL, 404, "\"success\":false", false },
		{ "PUT", "/agent/health", NULL, 405, "\"success\":false", false },
	};
	struct reply r = call_agent(base, "GET", "/agent/health", NULL, NULL);

	CHECK_INT(r.body, r.status, 401);
	CHECK_STR("no header", r.body, "Missing or invalid Authorization header");
	r = call_agent(base, "GET", "/agent/health", "Authorization: Bearer nonsense", NULL);
	CHECK_INT(r.body, r.status, 401);
	CHECK_STR("wrong token", r.body, "Invalid token");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (cases[i].needs_engine && !has_engine())
			continue;
		r = call_agent(base, cases[i].method, cases[i].path, bearer, cases[i].body);
		if (r.status != cases[i].status || !strstr(r.body, cases[i].says))
			fail_msg("%s %s: %d %s", cases[i].method, cases[i].path, r.status, r.body);
	}
}

/* The address an agent is registered under, from the last registration. */
static void registered_address(char *out, size_t size)
{
	struct json *j;

	assert_int_equal(json_parse(&j, slice_str(w.last_register), NULL), 0);
	snprintf(out, size, "%s", json_cstr(json_get(j, "address"), ""));
	json_free(j);
}

static void test_agent(void **state)
{
	struct join_options join_o = good_join();
	struct agent_options o = { 0 };
	char ready[96], base[128], bearer[128];
	struct settings s;
	struct child c;

	(void)state;
	c = join(&join_o);
	check_child("join", &c, 0, NULL);
	assert_int_equal(settings_read(&s, w.config, NULL), 0);
	snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", s.token);
	settings_fini(&s);
	snprintf(ready, sizeof(ready), "%s/ready", w.dir);
	o.ready_file = ready;
	w.registers = 0;
	c = start_agent(&o);

	/* The port was the kernel's choice, so the address is told again, with the token as proof. */
	PUMP_UNTIL(w.loop, w.registers == 1 && w.full_beats > 0);
	CHECK_INT("ready", access(ready, F_OK), 0);
	CHECK_INT("certificate from the join", w.certificates, 0);
	CHECK_INT("proof", strstr(w.last_register, bearer + strlen("Authorization: Bearer ")) != NULL, true);
	CHECK_STR("beat's token", w.last_authorization, bearer + strlen("Authorization: "));
	CHECK_INT("capacity", strstr(w.last_beat, "\"memory_total_bytes\":") != NULL, true);
	CHECK_INT("labels", strstr(w.last_beat, "\"region\":\"eu-west\"") != NULL, true);
	CHECK_INT("engine", strstr(w.last_beat, has_engine() ? "\"docker_ok\":true" : "\"docker_ok\":false") != NULL, true);
	registered_address(base, sizeof(base));
	check_api(base, bearer);

	/* The containers go along once, and again when asked for. A beat of before, which nobody answered
	 * while the API was asked, may have cost its connection: then they went along twice. */
	w.beats = w.full_beats = 0;
	PUMP_UNTIL(w.loop, w.beats > w.full_beats);
	w.beats = w.full_beats = 0;
	PUMP_UNTIL(w.loop, w.beats == 2);
	CHECK_INT("unchanged", w.full_beats, 0);
	w.resync = true;
	PUMP_UNTIL(w.loop, w.full_beats == 1);

	/* A control plane in trouble is asked again sooner than the next beat would. */
	w.beat_status = 503;
	w.beats = 0;
	PUMP_UNTIL(w.loop, w.beats == 2);
	w.beat_status = 200;

	kill(c.pid, SIGTERM);
	wait_child(&c);
	check_child("stopped", &c, 0, "stopping on signal");
}

static void test_agent_gets_certificate(void **state)
{
	struct join_options join_o = good_join();
	struct agent_options o = { 0 };
	struct settings s;
	struct child c;

	(void)state;
	w.with_cert = false;
	c = join(&join_o);
	check_child("join", &c, 0, NULL);
	c = start_agent(&o);
	PUMP_UNTIL(w.loop, w.beats > 0);
	CHECK_INT("asked", w.certificates, 1);
	assert_int_equal(settings_read(&s, w.config, NULL), 0);
	CHECK_INT("kept", s.cert_pem != NULL, true);
	settings_fini(&s);
	kill(c.pid, SIGINT);
	wait_child(&c);
	check_child("stopped", &c, 0, NULL);
}

static void test_agent_port_in_use(void **state)
{
	struct join_options join_o = good_join();
	struct agent_options o = { .listen_address = w.url + strlen("https://") };
	char address[64];
	struct child c;

	(void)state;
	snprintf(address, sizeof(address), "%.*s", (int)strcspn(o.listen_address, "/"), o.listen_address);
	o.listen_address = address;
	c = join(&join_o);
	check_child("join", &c, 0, NULL);
	c = start_agent(&o);
	wait_child(&c);
	check_child("port in use", &c, 1, address);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_join, before),
		cmocka_unit_test_setup(test_join_refused, before),
		cmocka_unit_test_setup(test_join_usage, before),
		cmocka_unit_test_setup_teardown(test_agent_without_config, before, after),
		cmocka_unit_test_setup_teardown(test_agent, before, after),
		cmocka_unit_test_setup_teardown(test_agent_gets_certificate, before, after),
		cmocka_unit_test_setup_teardown(test_agent_port_in_use, before, after),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
