/* Making sure of an image on a node: each row is a script of what the node and this machine's engine
 * are asked, what they answer, and what comes of it. */
#include "check.h"

#include <errno.h>

#include "control/images.h"
#include "reactor/deadline.h"

static struct loop *loop;

struct link_op {
	int unused;
};

/* An engine that keeps one question at a time until the test answers it. */
struct fake {
	struct link link;
	struct link_op op;
	const char *name;
	char asked[64];			/* "node inspect REF" */
	link_image_fn *inspected;
	struct link_stream stream;	/* of a pull or an archive */
	struct link_load load;
	void *arg;
	int cancelled, resumed;
};

static void ask(struct fake *f, const char *what, const char *ref, void *arg)
{
	snprintf(f->asked, sizeof(f->asked), "%s %s %s", f->name, what, ref);
	f->arg = arg;
}

static struct link_op *fake_inspect(struct link *l, const char *ref, link_image_fn *done, void *arg)
{
	struct fake *f = (struct fake *)l;

	ask(f, "inspect", ref, arg);
	f->inspected = done;
	return &f->op;
}

static struct link_op *fake_pull(struct link *l, const char *ref, const char *auth,
				 const struct link_stream *s, void *arg)
{
	struct fake *f = (struct fake *)l;

	CHECK_STR("credentials travel", auth, "AUTH");
	ask(f, "pull", ref, arg);
	f->stream = *s;
	return &f->op;
}

static struct link_op *fake_save(struct link *l, const char *ref, const struct link_stream *s,
				 void *arg)
{
	struct fake *f = (struct fake *)l;

	ask(f, "save", ref, arg);
	f->stream = *s;
	return &f->op;
}

static struct link_op *fake_load(struct link *l, const struct link_load *load, link_image_fn *done,
				 void *arg)
{
	struct fake *f = (struct fake *)l;

	ask(f, "load", load->tag, arg);
	f->load = *load;
	f->inspected = done;
	return &f->op;
}

static void fake_resume(struct link_op *op)
{
	CONTAINER_OF(op, struct fake, op)->resumed++;
}

static void fake_cancel(struct link_op *op)
{
	CONTAINER_OF(op, struct fake, op)->cancelled++;
}

static const struct link_ops ops = { .image_inspect = fake_inspect,
				     .image_pull = fake_pull,
				     .image_save = fake_save,
				     .image_load = fake_load,
				     .resume = fake_resume,
				     .cancel = fake_cancel };

struct outcome {
	int times, rc;
	char id[64], error[512];
};

static void on_done(void *arg, const struct link_result *res, const char *id)
{
	struct outcome *o = arg;

	o->times++;
	o->rc = res->rc;
	snprintf(o->id, sizeof(o->id), "%s", id ? id : "");
	snprintf(o->error, sizeof(o->error), "%s", res->error ? res->error : "");
}

/* The two engines and an image on its way. */
struct scene {
	struct fake node, here;
	struct outcome out;
	struct image_ensure *ensure;
};

static struct images *images;

static void begin(struct scene *s, const char *image, const char *id, bool alone)
{
	struct image_ask a = { .via = &s->node.link,
			       .source = alone ? NULL : &s->here.link,
			       .image = image,
			       .image_id = id,
			       .registry_auth = "AUTH",
			       .tag = "temps/app:1",
			       .architecture = "amd64" };

	*s = (struct scene){ .node = { .link = { &ops }, .name = "node" },
			     .here = { .link = { &ops }, .name = "here" } };
	s->ensure = image_ensure_begin(images, &a, on_done, &s->out);
}

static int answer_of(const char *word)
{
	static const struct {
		const char *word;
		int rc;
	} words[] = { { "ENOENT", -ENOENT }, { "ECOMM", -ECOMM }, { "ENOSPC", -ENOSPC },
		      { "EIO", -EIO },	     { "EBUSY", -EBUSY } };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(word, words[i].word) == 0)
			return words[i].rc;
	return 0;
}

/* "node inspect REF>ANSWER": an error's name; "ok", with ",arm64" for another processor and
 * ",pulled" when it came from a registry. A save's "ok" also brings one byte. */
static void step(const char *name, struct scene *s, const char *text)
{
	const char *sep = strrchr(text, '>'), *answer = sep + 1;
	struct fake *f = strncmp(text, "node", 4) == 0 ? &s->node : &s->here;
	struct link_result res = { .rc = answer_of(answer), .error = "as scripted" };
	struct link_image image = { .id = "sha256:aa",
				    .architecture = strstr(answer, "arm64") ? "arm64" : "amd64",
				    .bytes = 1000,
				    .from_registry = strstr(answer, "pulled") != NULL };
	char want[64];

	snprintf(want, sizeof(want), "%.*s", (int)(sep - text), text);
	CHECK_STR(name, f->asked, want);
	if (strstr(want, " save ") && !res.rc)
		CHECK_INT(name, f->stream.data(f->arg, "x", 1), 1);
	if (strstr(want, " save ") || strstr(want, " pull "))
		f->stream.done(f->arg, &res);
	else
		f->inspected(f->arg, &res, res.rc ? NULL : &image);
}

#define REG "r.test/app:1"
#define SENT "here save sha256:aa>ok", "node load temps/app:1>ok", "node inspect sha256:aa>ok"

static const struct {
	const char *name, *image, *id;
	bool alone;	/* nobody can send it */
	const char *steps[9];
	int rc;
	const char *says;
} cases[] = {
	{ "it is there", "app:1", "", true, { "node inspect app:1>ok" }, 0, "" },
	{ "it is pulled",
	  "app:1",
	  "",
	  true,
	  { "node inspect app:1>ENOENT", "node pull app:1>ok", "node inspect app:1>ok" },
	  0,
	  "" },
	{ "a known id is asked for by id",
	  "app:1",
	  "sha256:aa",
	  true,
	  { "node inspect sha256:aa>ok" },
	  0,
	  "" },
	{ "and pulled by its reference",
	  "app:1",
	  "sha256:aa",
	  true,
	  { "node inspect sha256:aa>ENOENT", "node pull app:1>ok", "node inspect sha256:aa>ok" },
	  0,
	  "" },
	{ "a tag that moved is refused",
	  "app:1",
	  "sha256:aa",
	  true,
	  { "node inspect sha256:aa>ENOENT", "node pull app:1>ok", "node inspect sha256:aa>ENOENT" },
	  -ENOENT,
	  "its name means another image now" },
	{ "no such image",
	  "app:1",
	  "",
	  true,
	  { "node inspect app:1>ENOENT", "node pull app:1>ENOENT" },
	  -ENOENT,
	  "as scripted" },
	{ "the node is away", "app:1", "", true, { "node inspect app:1>ECOMM" }, -ECOMM, "" },
	{ "the node goes away",
	  "app:1",
	  "",
	  true,
	  { "node inspect app:1>ENOENT", "node pull app:1>ECOMM" },
	  -ECOMM,
	  "" },
	{ "what was built here goes before what the node has under this name",
	  "app:1",
	  "",
	  false,
	  { "here inspect app:1>ok", "node inspect sha256:aa>ok" },
	  0,
	  "" },
	{ "and is sent without asking a registry",
	  "app:1",
	  "",
	  false,
	  { "here inspect app:1>ok", "node inspect sha256:aa>ENOENT", SENT },
	  0,
	  "" },
	{ "to a release's other nodes, too",
	  "app:1",
	  "sha256:aa",
	  false,
	  { "node inspect sha256:aa>ENOENT", "here inspect sha256:aa>ok", SENT },
	  0,
	  "" },
	{ "what came from a registry is pulled",
	  "app:1",
	  "",
	  false,
	  { "here inspect app:1>ok,pulled", "node inspect app:1>ENOENT", "node pull app:1>ok",
	    "node inspect app:1>ok" },
	  0,
	  "" },
	{ "and sent when the registry fails",
	  "app:1",
	  "",
	  false,
	  { "here inspect app:1>ok,pulled", "node inspect app:1>ENOENT", "node pull app:1>EIO",
	    "here inspect app:1>ok,pulled", "node inspect sha256:aa>ENOENT", SENT },
	  0,
	  "" },
	{ "a registry that is named goes first",
	  REG,
	  "",
	  false,
	  { "node pull " REG ">ok", "node inspect " REG ">ok" },
	  0,
	  "" },
	{ "and says what its tag means now, or the node keeps what it has",
	  REG,
	  "",
	  false,
	  { "node pull " REG ">EIO", "node inspect " REG ">ok" },
	  0,
	  "" },
	{ "a digest means the same everywhere",
	  "r.test/app@sha256:bb",
	  "",
	  true,
	  { "node inspect r.test/app@sha256:bb>ok" },
	  0,
	  "" },
	{ "then what is here",
	  REG,
	  "",
	  false,
	  { "node pull " REG ">EIO", "node inspect " REG ">ENOENT", "here inspect " REG ">ok",
	    "node inspect sha256:aa>ENOENT", SENT },
	  0,
	  "" },
	{ "a tag that moved in the registry is sent from here",
	  REG,
	  "sha256:aa",
	  false,
	  { "node inspect sha256:aa>ENOENT", "node pull " REG ">ok", "node inspect sha256:aa>ENOENT",
	    "here inspect sha256:aa>ok,pulled", SENT },
	  0,
	  "" },
	{ "nobody has it: both reasons",
	  REG,
	  "",
	  false,
	  { "node pull " REG ">EIO", "node inspect " REG ">ENOENT", "here inspect " REG ">ENOENT" },
	  -EIO,
	  "as scripted, and the control plane's engine has no such image" },
	{ "one for another processor is not sent",
	  "app:1",
	  "",
	  false,
	  { "here inspect app:1>ok,arm64", "node inspect sha256:aa>ENOENT" },
	  -EINVAL,
	  "it is for arm64 processors, and the node's is amd64: deploy with --architecture arm64, or an image for amd64" },
	{ "nor run when it is there",
	  "app:1",
	  "sha256:aa",
	  false,
	  { "node inspect sha256:aa>ok,arm64" },
	  -EINVAL,
	  "it is for arm64 processors" },
	{ "our copy for another processor is no reason not to pull",
	  "app:1",
	  "",
	  false,
	  { "here inspect app:1>ok,pulled,arm64", "node inspect app:1>ENOENT", "node pull app:1>ok",
	    "node inspect app:1>ok" },
	  0,
	  "" },
	{ "a full disk is told, with what went before",
	  REG,
	  "sha256:aa",
	  false,
	  { "node inspect sha256:aa>ENOENT", "node pull " REG ">EIO", "here inspect sha256:aa>ok",
	    "here save sha256:aa>ok", "node load temps/app:1>ENOSPC" },
	  -ENOSPC,
	  "sending it from the control plane failed: as scripted; pulling it failed before: as scripted" },
	{ "sent, and not there",
	  "app:1",
	  "",
	  false,
	  { "here inspect app:1>ok", "node inspect sha256:aa>ENOENT", "here save sha256:aa>ok",
	    "node load temps/app:1>ok", "node inspect sha256:aa>ENOENT" },
	  -ENOENT,
	  "it was sent, and is not there as sha256:aa" },
};

static void test_scripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene s;

		begin(&s, cases[i].image, cases[i].id, cases[i].alone);
		for (size_t k = 0; k < ARRAY_LEN(cases[i].steps) && cases[i].steps[k]; k++) {
			CHECK_INT(cases[i].name, s.out.times, 0);
			step(cases[i].name, &s, cases[i].steps[k]);
		}
		CHECK_INT(cases[i].name, s.out.times, 1);
		CHECK_INT(cases[i].name, s.out.rc, cases[i].rc);
		CHECK_STR(cases[i].name, s.out.id, cases[i].rc ? "" : "sha256:aa");
		if (!strstr(s.out.error, cases[i].says))
			fail_msg("%s: \"%s\"", cases[i].name, s.out.error);
	}
}

/* Up to where the archive begins to flow. */
static void begin_send(struct scene *s)
{
	begin(s, "app:1", "", false);
	step("built here", s, "here inspect app:1>ok");
	step("not there", s, "node inspect sha256:aa>ENOENT");
	CHECK_STR("read by id", s->here.asked, "here save sha256:aa");
}

static void test_send(void **state)
{
	struct link_result yes = { 0 };
	struct scene s;
	char out[8];

	(void)state;
	begin_send(&s);
	CHECK_STR("nothing to send yet", s.node.asked, "node inspect sha256:aa");
	CHECK_INT("taken", s.here.stream.data(s.here.arg, "archive", 7), 7);
	CHECK_STR("with a name", s.node.asked, "node load temps/app:1");
	CHECK_INT("and its size", s.node.load.bytes, 1000);
	CHECK_INT("one block at a time", s.here.stream.data(s.here.arg, "more", 4), 0);
	CHECK_INT("in pieces", s.node.load.upload(s.node.arg, out, 4), 4);
	CHECK_STR("phase", image_ensure_progress(s.ensure).phase, "sending");
	CHECK_INT("sent", image_ensure_progress(s.ensure).sent_bytes, 4);
	CHECK_INT("of", image_ensure_progress(s.ensure).total_bytes, 1000);
	CHECK_INT("the rest", s.node.load.upload(s.node.arg, out, 4), 3);
	CHECK_INT("wakes the writer", s.here.resumed, 1);
	CHECK_INT("nothing yet", s.node.load.upload(s.node.arg, out, 4), -EAGAIN);
	CHECK_INT("more", s.here.stream.data(s.here.arg, "m", 1), 1);
	CHECK_INT("wakes the reader", s.node.resumed, 1);
	CHECK_INT("more", s.node.load.upload(s.node.arg, out, 4), 1);
	CHECK_INT("nothing yet", s.node.load.upload(s.node.arg, out, 4), -EAGAIN);
	s.here.stream.done(s.here.arg, &yes);
	CHECK_INT("wakes the reader", s.node.resumed, 2);
	CHECK_INT("the end", s.node.load.upload(s.node.arg, out, 4), 0);
	step("the engine has it", &s, "node load temps/app:1>ok");
	CHECK_INT("not before it was seen", s.out.times, 0);
	step("looks again", &s, "node inspect sha256:aa>ok");
	CHECK_INT("done", s.out.times, 1);
}

static void run_until_asked(struct fake *f, const char *what)
{
	uint64_t end_ms = loop_now_ms(loop) + 5000;

	while (strcmp(f->asked, what) && loop_now_ms(loop) < end_ms)
		loop_run(loop);
	CHECK_STR("asked again", f->asked, what);
}

static void on_tick(void *arg)
{
	deadline_set(arg, 50);
	loop_stop(loop);
}

/* After a pause from the beginning: the node may be away, or have it by now. */
static void test_broken_transfer_is_repeated(void **state)
{
	static const struct {
		const char *name, *broken;
	} rows[] = {
		{ "at the node", "node load temps/app:1>ECOMM" },
		{ "here", "here save sha256:aa>EIO" },
		{ "the node takes another one", "node load temps/app:1>EBUSY" },
	};
	struct deadline tick;
	struct scene s;

	(void)state;
	deadline_init(&tick, loop, on_tick, &tick);
	on_tick(&tick);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin_send(&s);
		CHECK_INT(rows[i].name, s.here.stream.data(s.here.arg, "x", 1), 1);
		step(rows[i].name, &s, rows[i].broken);
		CHECK_INT("its other half ends", s.node.cancelled + s.here.cancelled, 1);
		CHECK_STR("phase", image_ensure_progress(s.ensure).phase, "pausing");
		CHECK_STR("why", image_ensure_progress(s.ensure).detail, "as scripted");
		CHECK_INT(rows[i].name, s.out.times, 0);
		s.node.asked[0] = '\0';
		run_until_asked(&s.node, "node inspect sha256:aa");
		step("there meanwhile", &s, "node inspect sha256:aa>ok");
		CHECK_INT(rows[i].name, s.out.rc, 0);
	}
	deadline_stop(&tick);
}

/* One at a time a node, four in all; whoever waited looks first. */
static void test_turns(void **state)
{
	struct scene s[6];
	struct image_ensure *second;
	struct outcome out = { 0 };
	struct image_ask a = { .via = &s[0].node.link,
			       .source = &s[0].here.link,
			       .image = "app:1",
			       .image_id = "sha256:aa",
			       .registry_auth = "AUTH",
			       .tag = "temps/app:2" };

	(void)state;
	begin_send(&s[0]);
	second = image_ensure_begin(images, &a, on_done, &out);
	step("the same node", &s[0], "node inspect sha256:aa>ENOENT");
	step("the same node", &s[0], "here inspect sha256:aa>ok");
	CHECK_STR("waits", image_ensure_progress(second).phase, "waiting");
	for (size_t i = 1; i < 4; i++)
		begin_send(&s[i]);
	for (size_t i = 4; i < 6; i++) {
		begin(&s[i], "app:1", "", false);
		step("a fifth", &s[i], "here inspect app:1>ok");
		step("a fifth", &s[i], "node inspect sha256:aa>ENOENT");
		CHECK_STR("waits", image_ensure_progress(s[i].ensure).phase, "waiting");
	}
	image_ensure_cancel(s[5].ensure);

	s[0].node.asked[0] = '\0';
	image_ensure_cancel(s[0].ensure);
	step("its turn", &s[0], "node inspect sha256:aa>ok");
	CHECK_INT("there already", out.rc, 0);
	CHECK_INT("there already", out.times, 1);
	step("the next one's", &s[4], "node inspect sha256:aa>ENOENT");
	CHECK_STR("sends", s[4].here.asked, "here save sha256:aa");
	for (size_t i = 1; i < 5; i++)
		image_ensure_cancel(s[i].ensure);
	CHECK_INT("both halves", s[1].here.cancelled, 1);
}

static void test_pull_progress(void **state)
{
	static const char text[] = "a1: Waiting\na2: Downloading 3MB/9MB\n";
	struct scene s;

	(void)state;
	begin(&s, "app:1", "", true);
	CHECK_STR("first", image_ensure_progress(s.ensure).phase, "asking");
	step("not there", &s, "node inspect app:1>ENOENT");
	CHECK_INT("all", s.node.stream.data(s.node.arg, text, strlen(text)), strlen(text));
	CHECK_STR("phase", image_ensure_progress(s.ensure).phase, "pulling");
	CHECK_STR("detail", image_ensure_progress(s.ensure).detail, "a2: Downloading 3MB/9MB");
	image_ensure_cancel(s.ensure);
	CHECK_INT("cancelled", s.node.cancelled, 1);
	CHECK_INT("says nothing", s.out.times, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_broken_transfer_is_repeated),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_pull_progress),
	};
	int failed;

	if (loop_create(&loop, NULL))
		return 1;
	images = images_create(loop);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	images_destroy(images);
	loop_destroy(loop);
	return failed;
}
