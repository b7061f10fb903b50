/* The command line: one table of commands, one file per command or family, one way to reach the control plane and one way to
 * print a listing. A command parses, acts, prints, and returns an exit code: 0 done, 1 failed, 2 usage. */
#ifndef TEMPS_CLI_CLI_H
#define TEMPS_CLI_CLI_H

#include <stdio.h>

#include "base/json.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* What an option stores into <into>. */
enum opt_kind {
	OPT_FLAG,	/* bool: set to true */
	OPT_TEXT,	/* const char *: the argument, borrowed from argv or the environment */
	OPT_LIST,	/* struct opt_list: may be repeated */
	OPT_COUNT,	/* int64_t: a whole number within [min, max] */
	OPT_REAL,	/* double, not negative */
	OPT_DURATION,	/* uint64_t milliseconds */
	OPT_SIZE,	/* uint64_t bytes */
};

#define OPT_LIST_MAX 64
struct opt_list {
	const char *at[OPT_LIST_MAX + 1];	/* NULL-terminated */
	size_t n;
};

struct opt {
	const char *name;	/* without "--"; of one letter: "-f"; NULL ends a table */
	const char *arg;	/* what the argument is called in the help; NULL for flags */
	enum opt_kind kind;
	void *into;
	const char *help;
	int64_t min, max;	/* OPT_COUNT */
	bool secret;		/* argv is overwritten once it is read; of a list, what follows each '=' */
};

struct cli;
struct loop;

/* Options every command has, and where the control plane is. */
struct cli_globals {
	bool json, help;
	const char *api_url, *api_token, *ca_file, *data_dir;
};

struct command {
	const char *name;	/* "node ls" */
	const char *args;	/* "APP --image IMAGE [options]" */
	const char *summary;	/* one line, no full stop */
	/* Fills <opts> (a table of the command's own, NULL-terminated, static or in the caller's frame) and runs. */
	int (*run)(struct cli *c, int argc, char **argv);
};

/* A text that an option points to and that is in no argv: a secret that was read, a value of a configuration file. */
struct kept {
	struct kept *next;
	char *text;
};

struct cli {
	const struct command *command;
	char *const *argv;	/* all of the command line, NULL-terminated */
	struct cli_globals globals;
	bool tty;		/* standard output is a terminal: colour and progress */
	bool listing;		/* only print the options of the command (for shell completion) */
	uint64_t given;		/* bit i: row i of the command's options was on the command line */
	struct api_client *api;	/* made on first use */
	struct kept *kept;	/* freed, and wiped, by cli_fini() */
};

extern const struct command *const cli_commands[];	/* NULL-terminated, in the order of the help */

/* Parses argv[1..] by <opts> and the global options. Positional arguments are gathered in argv[0..*npos). Returns -1 to go on, or
 * the exit code to leave with (help was printed: 0; a mistake: 2, said on standard error). <min>/<max>: how many positionals. */
int cli_parse(struct cli *c, int argc, char **argv, const struct opt *opts, int min, int max);

/* After cli_parse(): the same options from a file of `name = value` lines; the command line's win. The values stay until
 * cli_fini(). Returns -1 to go on, or EXIT_FAILED: "FILE:LINE: …" was printed. */
int cli_read_config(struct cli *c, const char *path, const struct opt *opts);

/* What parsing and calling left behind; the values of options are gone. */
void cli_fini(struct cli *c);

/* "temps: <text>" on standard error; returns EXIT_FAILED. */
int cli_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The same with the hint to --help; returns EXIT_USAGE. */
int cli_usage(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Asks on the terminal; without one the answer is no. */
bool cli_confirm(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* A secret argument: "-" reads one line from standard input. Overwrites the argument. NULL (said why) when there is none. The
 * result is the caller's to free(). */
char *cli_secret(char *arg, const char *what);
/* The data directory: --data-dir, else the default of who runs it. */
const char *cli_data_dir(const struct cli *c);

/* --- KEY=VALUE (policy.c) --- */

/* "KEY=VALUE" of an option, split; -1 to go on, else the exit code. */
int cli_split_pair(const struct cli *c, const char *option, const char *arg, char *key, size_t size, const char **value);
/* Do both begin with the same KEY? */
bool cli_same_key(const char *a, const char *b);
/* The row of --policy; its values are hidden from ps(1), as one may be a password. */
#define OPT_POLICY(list) { "policy", "KEY=VALUE", OPT_LIST, (list), "a rule of the front door, see temps-policy(7)", 0, 0, true }
/* The row of --protocol, which stands for a policy of that name. */
#define OPT_PROTOCOL(text) { "protocol", "http1|h2c", OPT_TEXT, (text), "what is spoken to it (http1); h2c for gRPC", 0, 0, false }
/* The rows for a machine as a node, into a struct node_says. */
#define OPT_NODE(n)                                                                                                           \
	{ "labels", "K=V,…", OPT_TEXT, &(n).labels, "labels to schedule by", 0, 0, false },                                    \
	{ "tags", "TAG,…", OPT_TEXT, &(n).tags, "tags to schedule by: labels with the value true", 0, 0, false },              \
	{ "region", "NAME", OPT_TEXT, &(n).region, "where it stands: the label region", 0, 0, false },                         \
	{ "cpu-cores", "N", OPT_COUNT, &(n).cpu_cores, "cores to give away (all)", 1, 65536, false },                          \
	{ "memory-gb", "N", OPT_COUNT, &(n).memory_gb, "GiB of memory to give away (all)", 1, 1 << 20, false },                \
	{ "disk-gb", "N", OPT_COUNT, &(n).disk_gb, "GiB of disk to give away (all)", 1, 1 << 30, false },                      \
	{ "gpus", "N", OPT_COUNT, &(n).gpus, "graphics cards to give away (all)", 0, 64, false }
/* Writes them as member "policy", if there are any. <protocol>: of --protocol, or NULL. -1 to go on,
 * else the exit code. */
int cli_put_policy(const struct cli *c, struct json_out *o, const struct opt_list *list,
		   const char *protocol);

/* --- the control plane (client.c) --- */

/* One call, to its end. On success (2xx) 0 with the parsed document in <*out> (the caller's; NULL when there was none). Otherwise the reason
 * has been printed and EXIT_FAILED is returned. <body> may be NULL. */
int cli_call(struct cli *c, const char *method, const char *path, const char *body, struct json **out);
/* The same with the answer printed: for what is asked to be done. An exit code. */
int cli_act(struct cli *c, const char *method, const char *path, const char *body);
/* The same, but a refusal is handed out instead of printed: <*status> and the text of the problem. */
int cli_try(struct cli *c, const char *method, const char *path, const char *body, struct json **out, unsigned *status,
	    struct err *err);
/* Streams a response to <line> (one call per line, without its end) until it ends or <line> returns false. <accept> is the media type. */
int cli_stream(struct cli *c, const char *path, const char *accept, bool (*line)(void *arg, struct slice text), void *arg);
/* What calls and waits run on, for a command that listens to more; NULL: said why. loop_stop() ends a wait, and a call with
 * -EINTR. */
struct loop *cli_loop(struct cli *c);
/* Lets <ms> pass. */
void cli_wait(struct cli *c, uint32_t ms);
void cli_close(struct cli *c);
/* Percent-encodes one path segment or query value; the caller's to free(). */
char *cli_escape(const char *s);

/* --- following what a command began (follow.c) --- */

/* "/api/apps/<app><tail>", the caller's to free(). */
char *cli_app_path(const char *app, const char *tail);
/* POST of <body> to that path, and its answer printed. An exit code. */
int cli_app_post(struct cli *c, const char *app, const char *tail, const char *body);
/* Until the release is active (said on standard output), or has ended otherwise (said why). */
int cli_follow(struct cli *c, const char *app, int64_t release);
/* One line for what goes on, redrawn on a terminal, printed when it changes elsewhere. */
struct cli_progress {
	char last[512];
	bool tty;
};
void cli_progress(struct cli_progress *p, const char *text);
void cli_progress_end(struct cli_progress *p);

/* --- listings (table.c) --- */

struct table;
/* <columns>: NULL-terminated headings; one that starts with '>' is aligned right. */
struct table *table_new(const char *const *columns);
/* One cell, row by row; NULL and "" print "-". Copied. */
void table_cell(struct table *t, const char *text);
void table_cellf(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Prints and frees. On a terminal lines are cut at its width; control characters are replaced. */
void table_print(struct table *t, const struct cli *c);
/* The same to any stream, cut at <width> characters. */
void table_write(struct table *t, FILE *to, size_t width);
/* A whole listing command without arguments of its own: GET <path>, then --json or a row for each element of <member>. */
int cli_list(struct cli *c, int argc, char **argv, const char *path, const char *member, const char *const *columns,
	     void (*row)(struct table *t, const struct json *item));
/* The second half of it, for commands with arguments: they were parsed already. */
int cli_list_path(struct cli *c, const char *path, const char *member, const char *const *columns,
		  void (*row)(struct table *t, const struct json *item));
/* The rows of a document that is there already. */
void cli_print_list(struct cli *c, const struct json *doc, const char *member, const char *const *columns,
		    void (*row)(struct table *t, const struct json *item));
/* The document as the API gave it, for --json. */
int cli_print_json(const struct json *j);
/* With --json the document, else its message. */
void cli_print_answer(const struct cli *c, const struct json *doc);

/* False when nobody reads standard output any more: what prints without end stops then. */
bool cli_flush(void);
/* Members of an item, as cells. */
void table_str(struct table *t, const struct json *item, const char *name);
void table_int(struct table *t, const struct json *item, const char *name);
void table_age(struct table *t, const struct json *item, const char *name);
/* "14 s ago" of a time as the API gives it, "" when it is none; <out> takes 32 bytes. */
void cli_age(const struct json *time, char *out);

/* What a replica's "image" in the API says, in words; "" when there is nothing to say. <coarse>: in steps that are worth a
 * line each. */
void cli_image_text(const struct json *image, bool coarse, char *out, size_t size);

#endif
