/* Following what a command began, until it is done or has failed. Whoever interrupts it leaves the cluster at work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

#define POLL_MS 250
#define TAIL_POLLS 12	/* 3 s */

char *cli_app_path(const char *app, const char *tail)
{
	char *name = cli_escape(app);
	char *path = xasprintf("/api/apps/%s%s", name, tail);

	free(name);
	return path;
}

int cli_app_post(struct cli *c, const char *app, const char *tail, const char *body)
{
	char *path = cli_app_path(app, tail);
	int code = cli_act(c, "POST", path, body);

	free(path);
	return code;
}

/* What is longer than a line cannot be drawn over. */
static int screen_columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

void cli_progress(struct cli_progress *p, const char *text)
{
	if (!strcmp(text, p->last))
		return;
	snprintf(p->last, sizeof(p->last), "%s", text);
	if (p->tty)
		fprintf(stderr, "\r\033[K%.*s", screen_columns() - 1, text);
	else
		fprintf(stderr, "%s\n", text);
	fflush(stderr);
}

void cli_progress_end(struct cli_progress *p)
{
	if (p->tty && p->last[0])
		fputs("\r\033[K", stderr);
}

static void count_states(const struct json *items, int64_t release, struct buf *text)
{
	static const char *const states[] = { "pre-deploy", "placing", "image", "creating", "starting", "checking", "ready", "failed" };
	size_t n;

	for (size_t s = 0; s < ARRAY_LEN(states); s++) {
		n = 0;
		for (size_t i = 0; i < json_len(items); i++) {
			const struct json *r = json_at(items, i);

			n += json_int(json_get(r, "release"), 0) == release &&
			     !strcmp(json_cstr(json_get(r, "state"), ""), states[s]);
		}
		if (n)
			buf_printf(text, ", %zu %s", n, states[s]);
	}
}

/* Of each node that gets the image. */
static void add_images(const struct json *items, int64_t release, bool tty, struct buf *text)
{
	char image[256];

	for (size_t i = 0; i < json_len(items); i++) {
		const struct json *r = json_at(items, i);

		cli_image_text(json_get(r, "image"), !tty, image, sizeof(image));
		if (image[0] && json_int(json_get(r, "release"), 0) == release)
			buf_printf(text, "; %s: %s", json_cstr(json_get(r, "node"), "?"), image);
	}
}

static void print_failure(const char *app, int64_t release, const struct json *doc)
{
	const char *tail = json_cstr(json_get(doc, "log_tail"), "");

	cli_fail("release %lld of %s failed: %s", (long long)release, app,
		 json_cstr(json_get(doc, "reason"), "no reason was recorded; see 'temps events'"));
	if (*tail)
		fprintf(stderr, "\nIts last lines:\n%s%s", tail, tail[strlen(tail) - 1] == '\n' ? "" : "\n");
	fputs("\nThe previous release, if there was one, keeps serving.\n", stderr);
}

/* A failed release gets its container's last lines a moment after its reason. */
static bool lines_may_come(struct cli *c, const char *replicas, int64_t release, const struct json *doc)
{
	struct json *list = NULL;
	const struct json *items;
	bool may = false;

	if (*json_cstr(json_get(doc, "log_tail"), "") || cli_call(c, "GET", replicas, NULL, &list) != EXIT_DONE)
		return false;
	items = json_get(list, "items");
	for (size_t i = 0; i < json_len(items) && !may; i++) {
		const struct json *r = json_at(items, i);
		const char *state = json_cstr(json_get(r, "state"), "");

		may = json_int(json_get(r, "release"), 0) == release && (!strcmp(state, "failed") || !strcmp(state, "draining"));
	}
	json_free(list);
	return may;
}

int cli_follow(struct cli *c, const char *app, int64_t release)
{
	char *tail = xasprintf("/releases/%lld", (long long)release);
	char *path = cli_app_path(app, tail), *replicas = cli_app_path(app, "/replicas");
	struct cli_progress p = { .tty = c->tty };
	int code = -1, patience = TAIL_POLLS;

	while (code < 0) {
		struct json *doc = NULL, *list = NULL;
		const char *status;
		struct buf text;

		code = cli_call(c, "GET", path, NULL, &doc);
		if (code != EXIT_DONE)
			break;
		code = -1;
		status = json_cstr(json_get(doc, "status"), "");
		if (!strcmp(status, "active") || !strcmp(status, "degraded")) {
			cli_progress_end(&p);
			printf("%s: release %lld is active\n", app, (long long)release);
			code = EXIT_DONE;
		} else if (!strcmp(status, "failed") && patience-- > 0 && lines_may_come(c, replicas, release, doc)) {
			cli_progress(&p, "failed; reading its last lines");
		} else if (!strcmp(status, "failed")) {
			cli_progress_end(&p);
			print_failure(app, release, doc);
			code = EXIT_FAILED;
		} else if (!strcmp(status, "canary")) {
			cli_progress_end(&p);
			printf("%s: release %lld serves %lld %% of the requests; 'temps promote %s' lets it take over, 'temps abort %s' ends it\n",
			       app, (long long)release, (long long)json_int(json_get(doc, "canary"), 0), app, app);
			code = EXIT_DONE;
		} else if (!strcmp(status, "aborted")) {
			cli_progress_end(&p);
			code = cli_fail("release %lld of %s was aborted", (long long)release, app);
		} else if (!strcmp(status, "superseded")) {
			cli_progress_end(&p);
			code = cli_fail("release %lld of %s was superseded by a newer one", (long long)release, app);
		} else if (cli_call(c, "GET", replicas, NULL, &list) == EXIT_DONE) {
			buf_init(&text, 0);
			buf_printf(&text, "%s: release %lld: %s", app, (long long)release, status);
			count_states(json_get(list, "items"), release, &text);
			add_images(json_get(list, "items"), release, p.tty, &text);
			cli_progress(&p, text.data);
			buf_fini(&text);
		}
		json_free(doc);
		json_free(list);
		if (code < 0)
			cli_wait(c, POLL_MS);
	}
	free(tail);
	free(path);
	free(replicas);
	return code;
}
