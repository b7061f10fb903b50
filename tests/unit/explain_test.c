/* An explanation comes in pieces: together they are one document with every replica and every node once, the same bytes for the
 * same cluster, and whole also when the app goes in between. */
#include "check.h"
#include "control_rig.h"

#include <stdio.h>

/* Its pieces, without a client that reads them. */
#include "../../src/control/explain.c"

#define NODES 210u
#define REPLICAS 120u
#define HASH "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void join(struct rig *r, unsigned n)
{
	char name[16], ip[32], url[48], token[65];
	struct cluster_event e = { .type = EVENT_REGISTER };

	snprintf(name, sizeof(name), "worker-%u", n);
	snprintf(ip, sizeof(ip), "10.0.%u.%u", n >> 8, n & 255);
	snprintf(url, sizeof(url), "https://%s:3100", ip);
	snprintf(token, sizeof(token), "%064u", n);
	e.reg = (struct event_register){ .name = name,
					 .token_hash = token,
					 .token_sealed = "",
					 .join_token_hash = HASH,
					 .address = url,
					 .private_address = ip };
	rig_command(r, &e, &e.reg.reply);
	assert_int_equal(r->kind, REPLY_CREATED);
}

static int set_up(void **state)
{
	struct rig *r = xcalloc(1, sizeof(*r));
	struct cluster_event token = { .type = EVENT_JOIN_TOKEN_CREATE },
			     here = { EVENT_AGENT_REACHABLE, .agent = { NODE_LOCAL_ID, NULL } },
			     deploy = { .type = EVENT_DEPLOY }, tick = { .type = EVENT_TICK };
	struct app_spec spec = { .image = "hello:1", .replicas = REPLICAS };

	rig_open(r);
	token.join_token_create = (struct event_join_token_create){ .hash = HASH };
	rig_command(r, &token, &token.join_token_create.reply);
	for (unsigned i = 1; i < NODES; i++)
		join(r, i);
	deployer_step(r->c.deployer, &here);
	/* From here on the loop does not run, so that nobody tries to start what was placed. */
	deploy.deploy = (struct event_deploy){ .app = "hello", .spec = &spec };
	deployer_step(r->c.deployer, &deploy);
	deployer_step(r->c.deployer, &tick);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	rig_close(*state);
	free(*state);
	return 0;
}

/* All pieces, the caller's to free(); <after> so many of them the app goes. */
static char *say(struct rig *r, unsigned after, unsigned *pieces)
{
	struct cluster_event gone = { .type = EVENT_APP_DELETE };
	struct explain e = {
		.control = &r->c, .app = "hello", .release = 1, .after_node = -1, .part = put_head
	};

	buf_init(&e.pieces.out, 0);
	json_out_init(&e.o, &e.pieces.out);
	for (*pieces = 0; more(&e); (*pieces)++) {
		if (*pieces + 1 != after)
			continue;
		gone.app_delete = (struct event_app_delete){ .app = "hello" };
		deployer_step(r->c.deployer, &gone);
	}
	return buf_steal(&e.pieces.out);
}

static struct json *parse(const char *text)
{
	struct json *doc;
	struct err err = { 0 };

	if (json_parse(&doc, slice_str(text), &err))
		fail_msg("%s", err.text);
	return doc;
}

static void test_pieces(void **state)
{
	struct rig *r = *state;
	unsigned pieces, again;
	char *text, *other;
	struct json *doc;
	const struct json *list;

	text = say(r, 0, &pieces);
	other = say(r, 0, &again);
	CHECK_STR("the same bytes", other, text);
	CHECK_INT("head, three of replicas, three of nodes", pieces, 7);
	doc = parse(text);
	list = json_get(doc, "replicas");
	CHECK_INT("replicas", json_len(list), REPLICAS);
	for (size_t i = 0; i < json_len(list); i++)
		CHECK_INT("in order", json_int(json_get(json_at(list, i), "replica"), -1), i + 1);
	list = json_get(doc, "nodes");
	CHECK_INT("nodes", json_len(list), NODES);
	for (size_t i = 0; i < json_len(list); i++) {
		CHECK_INT("by id", json_int(json_get(json_at(list, i), "node_id"), -1), i);
		if (i)
			CHECK_STR("why not", json_cstr(json_get(json_at(list, i), "why_not"), ""),
				  "no heartbeat yet");
	}
	json_free(doc);
	free(text);
	free(other);
}

static void test_the_app_goes(void **state)
{
	struct rig *r = *state;
	unsigned pieces;
	struct json *doc;
	char *text;

	text = say(r, 2, &pieces);
	doc = parse(text);
	CHECK_INT("what was said before", json_len(json_get(doc, "replicas")), REPLICAS_PIECE);
	CHECK_INT("nothing after it", json_len(json_get(doc, "nodes")), 0);
	json_free(doc);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_app_goes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
