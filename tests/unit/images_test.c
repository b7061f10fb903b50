/* Making sure of an image on a node: each row is a script of what the node answers and what comes
 * of it. */
#include "check.h"

#include <errno.h>

#include "control/images.h"

static struct loop *loop;

struct link_op {
	int unused;
};

/* A node that keeps one question at a time until the test answers it. */
struct fake {
	struct link link;
	struct link_op op;
	char asked[64];			/* "inspect REF" or "pull REF" */
	link_image_fn *inspected;
	struct link_stream pull;
	void *arg;
	bool cancelled;
	/* an archive that comes or goes */
	ssize_t (*upload)(void *arg, char *p, size_t n);
	int resumed;
};

static struct link_op *fake_inspect(struct link *l, const char *ref, link_image_fn *done, void *arg)
{
	struct fake *f = (struct fake *)l;

	snprintf(f->asked, sizeof(f->asked), "inspect %s", ref);
	f->inspected = done;
	f->arg = arg;
	return &f->op;
}

static struct link_op *fake_pull(struct link *l, const char *ref, const char *auth,
				 const struct link_stream *s, void *arg)
{
	struct fake *f = (struct fake *)l;

	snprintf(f->asked, sizeof(f->asked), "pull %s %s", ref, auth ? auth : "-");
	f->pull = *s;
	f->arg = arg;
	return &f->op;
}

static void fake_cancel(struct link_op *op)
{
	CONTAINER_OF(op, struct fake, op)->cancelled = true;
}

static struct link_op *fake_save(struct link *l, const char *ref, const struct link_stream *s,
				 void *arg)
{
	struct fake *f = (struct fake *)l;

	snprintf(f->asked, sizeof(f->asked), "save %s", ref);
	f->pull = *s;
	f->arg = arg;
	return &f->op;
}

static struct link_op *fake_load(struct link *l, const char *tag,
				 ssize_t (*upload)(void *arg, char *p, size_t n),
				 link_image_fn *done, void *arg)
{
	struct fake *f = (struct fake *)l;

	snprintf(f->asked, sizeof(f->asked), "load %s", tag);
	f->upload = upload;
	f->inspected = done;
	f->arg = arg;
	return &f->op;
}

static void fake_resume(struct link_op *op)
{
	CONTAINER_OF(op, struct fake, op)->resumed++;
}

static const struct link_ops ops = { .image_inspect = fake_inspect,
				     .image_pull = fake_pull,
				     .image_save = fake_save,
				     .image_load = fake_load,
				     .resume = fake_resume,
				     .cancel = fake_cancel };

struct outcome {
	int times, rc;
	char id[64];
};

static void on_done(void *arg, const struct link_result *res, const char *id)
{
	struct outcome *o = arg;

	o->times++;
	o->rc = res->rc;
	snprintf(o->id, sizeof(o->id), "%s", id ? id : "");
}

/* A step is "question>answer": the answer 0, or the name of an error. */
static const struct {
	const char *name, *image_id, *steps[4];
	int rc;
	const char *id;
} cases[] = {
	{ "it is there", "", { "inspect app:1>0" }, 0, "sha256:aa" },
	{ "it is pulled",
	  "",
	  { "inspect app:1>ENOENT", "pull app:1 AUTH>0", "inspect app:1>0" },
	  0,
	  "sha256:aa" },
	{ "a known id is asked for by id", "sha256:aa", { "inspect sha256:aa>0" }, 0, "sha256:aa" },
	{ "and pulled by its reference",
	  "sha256:aa",
	  { "inspect sha256:aa>ENOENT", "pull app:1 AUTH>0", "inspect sha256:aa>0" },
	  0,
	  "sha256:aa" },
	{ "a tag that moved is refused",
	  "sha256:aa",
	  { "inspect sha256:aa>ENOENT", "pull app:1 AUTH>0", "inspect sha256:aa>ENOENT" },
	  -ENOENT,
	  "" },
	{ "no such image", "", { "inspect app:1>ENOENT", "pull app:1 AUTH>ENOENT" }, -ENOENT, "" },
	{ "the node is away", "", { "inspect app:1>ECOMM" }, -ECOMM, "" },
	{ "the node goes away",
	  "",
	  { "inspect app:1>ENOENT", "pull app:1 AUTH>ECOMM" },
	  -ECOMM,
	  "" },
};

static int answer_of(const char *word)
{
	if (strcmp(word, "ENOENT") == 0)
		return -ENOENT;
	return strcmp(word, "ECOMM") == 0 ? -ECOMM : 0;
}

static void step(const char *name, struct fake *f, const char *text)
{
	const char *sep = strchr(text, '>');
	struct link_result res = { .rc = answer_of(sep + 1), .error = "as scripted" };
	char want[64];

	snprintf(want, sizeof(want), "%.*s", (int)(sep - text), text);
	CHECK_STR(name, f->asked, want);
	if (want[0] == 'i')
		f->inspected(f->arg, &res, res.rc ? NULL : "sha256:aa", "amd64");
	else
		f->pull.done(f->arg, &res);
}

static void test_scripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fake f = { .link = { &ops } };
		struct outcome o = { 0 };

		struct image_ask ask = { .loop = loop,
					 .via = &f.link,
					 .image = "app:1",
					 .image_id = cases[i].image_id,
					 .registry_auth = "AUTH",
					 .tag = "temps/app:1" };

		(void)image_ensure_begin(&ask, on_done, &o);
		for (size_t k = 0; k < ARRAY_LEN(cases[i].steps) && cases[i].steps[k]; k++) {
			CHECK_INT(cases[i].name, o.times, 0);
			step(cases[i].name, &f, cases[i].steps[k]);
		}
		CHECK_INT(cases[i].name, o.times, 1);
		CHECK_INT(cases[i].name, o.rc, cases[i].rc);
		CHECK_STR(cases[i].name, o.id, cases[i].id);
	}
}

/* Neither there nor to be pulled: up to where the archive begins to flow. */
static struct image_ensure *begin_send(struct fake *node, struct fake *here, struct outcome *o)
{
	struct image_ask ask = { .loop = loop,
				 .via = &node->link,
				 .source = &here->link,
				 .image = "app:1",
				 .tag = "temps/app:1" };
	struct image_ensure *i = image_ensure_begin(&ask, on_done, o);
	struct link_result no = { .rc = -ENOENT, .error = "no such image" }, yes = { 0 };

	node->inspected(node->arg, &no, NULL, NULL);
	node->pull.done(node->arg, &no);
	CHECK_STR("asked here", here->asked, "inspect app:1");
	here->inspected(here->arg, &yes, "sha256:aa", "amd64");
	CHECK_STR("read by id", here->asked, "save sha256:aa");
	CHECK_STR("with a name", node->asked, "load temps/app:1");
	return i;
}

static void test_send(void **state)
{
	struct fake node = { .link = { &ops } }, here = { .link = { &ops } };
	struct outcome o = { 0 };
	struct link_result yes = { 0 };
	char out[8];

	(void)state;
	begin_send(&node, &here, &o);
	CHECK_INT("nothing yet", node.upload(node.arg, out, sizeof(out)), -EAGAIN);
	CHECK_INT("taken", here.pull.data(here.arg, "archive", 7), 7);
	CHECK_INT("wakes the reader", node.resumed, 1);
	CHECK_INT("one block at a time", here.pull.data(here.arg, "more", 4), 0);
	CHECK_INT("in pieces", node.upload(node.arg, out, 4), 4);
	CHECK_INT("the rest", node.upload(node.arg, out, 4), 3);
	CHECK_INT("wakes the writer", here.resumed, 1);
	CHECK_INT("nothing yet", node.upload(node.arg, out, 4), -EAGAIN);
	here.pull.done(here.arg, &yes);
	CHECK_INT("wakes the reader", node.resumed, 2);
	CHECK_INT("the end", node.upload(node.arg, out, 4), 0);
	node.inspected(node.arg, &yes, "sha256:aa", "");
	CHECK_STR("looks again", node.asked, "inspect sha256:aa");
	CHECK_INT("not before", o.times, 0);
	node.inspected(node.arg, &yes, "sha256:aa", "amd64");
	CHECK_INT("done", o.times, 1);
	CHECK_STR("id", o.id, "sha256:aa");
}

static void test_send_breaks(void **state)
{
	struct fake node = { .link = { &ops } }, here = { .link = { &ops } };
	struct link_result gone = { .rc = -ECOMM, .error = "no engine" };
	struct outcome o = { 0 };

	(void)state;
	begin_send(&node, &here, &o);
	here.pull.done(here.arg, &gone);
	assert_true(node.cancelled);
	CHECK_INT("not the node's fault", o.rc, -EIO);

	o = (struct outcome){ 0 };
	here.cancelled = false;
	begin_send(&node, &here, &o);
	node.inspected(node.arg, &gone, NULL, NULL);
	assert_true(here.cancelled);
	CHECK_INT("the node's", o.rc, -ECOMM);

	here.cancelled = node.cancelled = false;
	image_ensure_cancel(begin_send(&node, &here, &o));
	assert_true(here.cancelled && node.cancelled);
}

static void test_cancel(void **state)
{
	struct fake f = { .link = { &ops } };
	struct outcome o = { 0 };
	struct image_ask ask = { .loop = loop, .via = &f.link, .image = "app:1", .tag = "t" };
	struct image_ensure *i = image_ensure_begin(&ask, on_done, &o);

	(void)state;
	image_ensure_cancel(i);
	assert_true(f.cancelled);
	assert_int_equal(o.times, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_send_breaks),
		cmocka_unit_test(test_cancel),
	};
	int failed;

	if (loop_create(&loop, NULL))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	loop_destroy(loop);
	return failed;
}
