/* temps apply: what a file says of apps, shown as a plan, and done when somebody says yes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "cli/app_file.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/tree.h"


/* One app of the file on its way. */
struct step {
	struct json *plan;
	int64_t release; /* that was begun; 0: none */
	bool changes, failed;
};

/* ---- the file ---- */

static int read_all(FILE *from, struct buf *text)
{
	char piece[4096];
	size_t n;

	while ((n = fread(piece, 1, sizeof(piece), from)) > 0) {
		if (buf_append(text, piece, n))
			return -EFBIG;
	}
	return ferror(from) ? -EIO : 0;
}

static const char *from_environment(const char *name)
{
	return getenv(name);
}

/* -1 to go on, else the exit code: why was said, and that nothing is changed. */
static int read_file(const char *path, struct app_file **out)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *from = is_stdin ? stdin : fopen(path, "re");
	struct buf text, errors;
	int rc;

	if (!from)
		return cli_fail("%s: %s", path, strerror(errno));
	buf_init(&text, TREE_BYTES_MAX + 1);
	buf_init(&errors, 0);
	rc = read_all(from, &text);
	if (!is_stdin)
		fclose(from);
	if (rc) {
		rc = cli_fail("%s: %s", path, strerror(-rc));
	} else if (app_file_parse(out, is_stdin ? "stdin" : path, buf_slice(&text), from_environment, &errors)) {
		fputs(errors.data, stderr);
		rc = cli_fail("nothing was changed");
	} else {
		rc = -1;
	}
	if (text.len)
		explicit_bzero(text.data, text.len);
	buf_fini(&text);
	buf_fini(&errors);
	return rc;
}

/* ---- the plan ---- */

/* Every app is asked about before any is changed. */
static int ask_plans(struct cli *c, const struct app_file *f, struct step *steps)
{
	struct buf errors;
	int code = EXIT_DONE;

	buf_init(&errors, 0);
	for (size_t i = 0; i < f->n; i++) {
		char *path = cli_app_path(f->apps[i].name, "/plan");
		unsigned status;
		struct err err;

		if (cli_try(c, "POST", path, f->apps[i].body, &steps[i].plan, &status, &err) != EXIT_DONE) {
			code = EXIT_FAILED;
			if (status)
				app_file_say(f, &f->apps[i], status, err.text, &errors);
			else
				cli_fail("%s", err.text[0] ? err.text : "no answer");
		}
		free(path);
		/* Without an answer there is none for the others. */
		if (code != EXIT_DONE && !status)
			break;
	}
	if (errors.len)
		fputs(errors.data, stderr);
	buf_fini(&errors);
	if (code != EXIT_DONE)
		cli_fail("nothing was changed");
	return code;
}

static void print_change(const struct json *ch)
{
	const char *member = json_cstr(json_get(ch, "member"), "?"), *change = json_cstr(json_get(ch, "change"), "");
	const char *from = json_cstr(json_get(ch, "from"), NULL), *to = json_cstr(json_get(ch, "to"), NULL);

	if (from && to)
		printf("    %s: %s -> %s\n", member, from, to);
	else if (to)
		printf("    %s: %s%s\n", member, !strcmp(change, "changed") ? "changed to " : "", to);
	else if (from)
		printf("    %s: %s -> none\n", member, from);
	else
		printf("    %s: %s\n", member, change);
}

static void print_plan(const struct app_entry *a, struct step *s)
{
	const struct json *changes = json_get(s->plan, "changes");
	bool is_new = json_bool(json_get(s->plan, "new"), false);
	bool moved = json_bool(json_get(s->plan, "image_moved"), false);

	s->changes = is_new || moved || json_len(changes) || !json_bool(json_get(s->plan, "unchanged"), false);
	printf("%s: %s\n", a->name, is_new ? "create" : s->changes ? "change" : "unchanged");
	for (size_t i = 0; i < json_len(changes); i++)
		print_change(json_at(changes, i));
	if (moved)
		puts("    image: the tag means another image by now");
}

static void print_json(const struct app_file *f, const struct step *steps, bool applied)
{
	struct json_out o;
	struct buf out;

	buf_init(&out, 0);
	json_out_init(&o, &out);
	json_obj(&o, NULL);
	json_arr(&o, "apps");
	for (size_t i = 0; i < f->n; i++) {
		json_obj(&o, NULL);
		json_put_str(&o, "app", f->apps[i].name);
		json_put_bool(&o, "changes", steps[i].changes);
		if (applied && steps[i].release)
			json_put_int(&o, "release", steps[i].release);
		json_put_bool(&o, "failed", steps[i].failed);
		if (steps[i].plan)
			json_put_json(&o, "plan", steps[i].plan);
		json_obj_end(&o);
	}
	json_arr_end(&o);
	json_obj_end(&o);
	printf("%s\n", out.data);
	buf_fini(&out);
}

/* ---- doing it ---- */

static void begin(struct cli *c, const struct app_entry *a, struct step *s)
{
	char *path = cli_app_path(a->name, "/deploy");
	struct json *doc = NULL;

	if (cli_call(c, "POST", path, a->body, &doc) == EXIT_DONE)
		s->release = json_int(json_get(doc, "release"), 0);
	else
		s->failed = true;
	json_free(doc);
	free(path);
}

/* All begin, then each is followed: they do not wait for each other. */
static int carry_out(struct cli *c, const struct app_file *f, struct step *steps, bool no_wait)
{
	size_t failed = 0, begun = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (steps[i].changes)
			begin(c, &f->apps[i], &steps[i]);
	}
	for (size_t i = 0; i < f->n; i++) {
		if (steps[i].release && !no_wait && !c->globals.json)
			steps[i].failed = cli_follow(c, f->apps[i].name, steps[i].release) != EXIT_DONE;
		else if (steps[i].release && !c->globals.json)
			printf("%s: release %lld is on its way; 'temps ps %s' shows where it is\n", f->apps[i].name,
			       (long long)steps[i].release, f->apps[i].name);
		failed += steps[i].failed;
		begun += steps[i].changes;
	}
	if (c->globals.json)
		print_json(f, steps, true);
	return failed ? cli_fail("%zu of %zu apps failed", failed, begun) : EXIT_DONE;
}

static int run(struct cli *c, const struct app_file *f, struct step *steps, bool dry_run, bool yes, bool no_wait)
{
	size_t changes = 0;
	int code = ask_plans(c, f, steps);

	if (code != EXIT_DONE)
		return code;
	for (size_t i = 0; i < f->n; i++) {
		if (c->globals.json)
			steps[i].changes = !json_bool(json_get(steps[i].plan, "unchanged"), false) ||
					   json_len(json_get(steps[i].plan, "changes"));
		else
			print_plan(&f->apps[i], &steps[i]);
		changes += steps[i].changes;
	}
	fflush(stdout);
	if ((dry_run || !changes) && c->globals.json)
		print_json(f, steps, false);
	else if (!changes)
		puts("nothing to do");
	if (dry_run || !changes)
		return EXIT_DONE;
	if (!yes && !isatty(STDIN_FILENO))
		return cli_fail("nothing was changed: there is no terminal to ask on; give --yes");
	if (!yes && !cli_confirm("Change %zu of %zu apps?", changes, f->n))
		return cli_fail("nothing was changed");
	return carry_out(c, f, steps, no_wait);
}

static int apply(struct cli *c, int argc, char **argv)
{
	const char *path = NULL;
	bool dry_run = false, yes = false, no_wait = false;
	const struct opt opts[] = {
		{ "f", "FILE", OPT_TEXT, &path, "the same as --file", 0, 0, false },
		{ "file", "FILE", OPT_TEXT, &path, "the apps, see temps-app-file(5); - is standard input", 0, 0, false },
		{ "dry-run", NULL, OPT_FLAG, &dry_run, "only show what would be done", 0, 0, false },
		{ "yes", NULL, OPT_FLAG, &yes, "do not ask", 0, 0, false },
		{ "no-wait", NULL, OPT_FLAG, &no_wait, "do not wait until they serve", 0, 0, false },
		{ 0 },
	};
	struct app_file *f = NULL;
	struct step *steps;
	int code = cli_parse(c, argc, argv, opts, 0, 1);

	if (code >= 0)
		return code;
	if (!path)
		path = argv[0];
	else if (argv[0])
		return cli_usage(c, "unexpected argument '%s'", argv[0]);
	if (!path)
		return cli_usage(c, "which file? Give -f FILE");
	code = read_file(path, &f);
	if (code >= 0)
		return code;
	steps = xcalloc(f->n, sizeof(*steps));
	code = run(c, f, steps, dry_run, yes, no_wait);
	for (size_t i = 0; i < f->n; i++)
		json_free(steps[i].plan);
	free(steps);
	app_file_free(f);
	return code;
}

const struct command command_apply = { "apply", "-f FILE [options]", "Make apps be as a file says", apply };
