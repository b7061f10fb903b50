/* App files, temps-app-file(5): several apps in one YAML file, checked and made into bodies for the API. Pure: no file, no
 * environment, no network but what it is given. */
#ifndef TEMPS_CLI_APP_FILE_H
#define TEMPS_CLI_APP_FILE_H

#include "base/buf.h"

/* Where a member of an app is. */
struct app_mark {
	const char *member; /* static */
	unsigned line, column;
};

struct app_entry {
	char *name;
	unsigned line, column;
	char *body; /* JSON, of POST /api/apps/{app}/deploy and plan; may have secrets in it */
	struct app_mark *marks;
	size_t marks_n;
};

struct app_file {
	char *path;
	struct app_entry *apps; /* in the file's order; at least one */
	size_t n;
};

/* <path> is for messages. <env> gives a variable's value, or NULL. 0 and the caller's file in <*out>, to be released with
 * app_file_free(); or -EINVAL and lines "FILE:LINE:COLUMN: reason" in <errors>, one for each mistake. */
int app_file_parse(struct app_file **out, const char *path, struct slice text,
		   const char *(*env)(const char *name), struct buf *errors) MUST_CHECK;
void app_file_free(struct app_file *f); /* wipes the bodies; NULL is fine */
/* Appends "FILE:LINE:COLUMN: <text>", <text> being what the API said of the app, and the place the member that it names, or
 * the one that <status> 422 speaks of, or the app's. */
void app_file_say(const struct app_file *f, const struct app_entry *a, unsigned status, const char *text,
		  struct buf *errors);

#endif
