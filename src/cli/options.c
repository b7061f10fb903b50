/* One parser for every command's options: the table says what each stores, and the help and the shell completion are made
 * from the same rows. */
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/text.h"
#include "cli/cli.h"

#define MAX_OPTS 64
#define LETTERS_SIZE (2 * MAX_OPTS + 3)
#define FIRST_VAL 256	/* getopt_long() values of our rows, clear of characters */

int cli_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("temps: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "temps %s: ", c->command->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nUsage: temps %s %s\n'temps %s --help' shows the options.\n", c->command->name,
		c->command->args, c->command->name);
	return EXIT_USAGE;
}

bool cli_confirm(const char *fmt, ...)
{
	char answer[16];
	va_list ap;

	if (!isatty(STDIN_FILENO))
		return false;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs(" [y/N] ", stderr);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

char *cli_secret(char *arg, const char *what)
{
	char *secret, *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (strcmp(arg, "-")) {
		secret = xstrdup(arg);
		memset(arg, 'x', strlen(arg));	/* not in ps(1) from here on */
		return secret;
	}
	n = getline(&line, &cap, stdin);
	while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		line[--n] = '\0';
	if (n > 0)
		return line;
	free(line);
	cli_fail("no %s on standard input", what);
	return NULL;
}

/* A text that lives as long as the command: the caller's no more. */
static char *keep(struct cli *c, char *text)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	*k = (struct kept){ .next = c->kept, .text = text };
	c->kept = k;
	return text;
}

void cli_fini(struct cli *c)
{
	struct kept *next;

	cli_close(c);
	for (struct kept *k = c->kept; k; k = next) {
		next = k->next;
		explicit_bzero(k->text, strlen(k->text));
		free(k->text);
		free(k);
	}
	c->kept = NULL;
}

const char *cli_data_dir(const struct cli *c)
{
	static char path[4096];
	const char *home = getenv("HOME");

	if (c->globals.data_dir)
		return c->globals.data_dir;
	if (geteuid() == 0)
		return "/var/lib/temps";
	if (!home || !*home) {
		struct passwd *pw = getpwuid(geteuid());

		home = pw ? pw->pw_dir : "";
	}
	snprintf(path, sizeof(path), "%s/.temps/data", home);
	return path;
}

static const char *dashes(const struct opt *o)
{
	return o->name[1] ? "--" : "-";
}

static void print_opts(const struct opt *opts)
{
	for (const struct opt *o = opts; o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s%s", dashes(o), o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		printf("  %-28s %s%s\n", left, o->help, o->kind == OPT_LIST ? " (may be repeated)" : "");
	}
}

static int print_help(const struct cli *c, const struct opt *own, const struct opt *global)
{
	char page[64];
	size_t i;

	snprintf(page, sizeof(page), "temps-%s", c->command->name);
	for (i = 0; page[i]; i++)
		if (page[i] == ' ')
			page[i] = '-';
	printf("Usage: temps %s %s\n\n%s.\n", c->command->name, c->command->args, c->command->summary);
	if (own && own->name) {
		puts("\nOptions:");
		print_opts(own);
	}
	puts("\nEverywhere:");
	print_opts(global);
	printf("\n%s(1) is the manual.\n", page);
	return EXIT_DONE;
}

/* A copy of "NAME=VALUE"; the value is not in ps(1) from here on. */
static char *hide_value(char *arg)
{
	char *copy = xstrdup(arg), *eq = strchr(arg, '=');

	if (eq)
		memset(eq + 1, 'x', strlen(eq + 1));
	return copy;
}

/* Stores one option's argument. 0, or -EINVAL with what was expected in <err>. */
static int store(struct cli *c, const struct opt *o, char *arg, struct err *err)
{
	struct opt_list *list = o->into;
	struct slice s = slice_str(arg);
	char *secret;
	long long count;
	double real;
	char *end;

	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->into = true;
		return 0;
	case OPT_TEXT:
		secret = o->secret ? cli_secret(arg, o->name) : NULL;
		if (o->secret && !secret)
			return err_say(err, -EINVAL, "nothing was given");
		*(const char **)o->into = secret ? keep(c, secret) : arg;
		return 0;
	case OPT_LIST:
		if (list->n == OPT_LIST_MAX)
			return err_say(err, -EINVAL, "at most %d times", OPT_LIST_MAX);
		list->at[list->n++] = o->secret ? keep(c, hide_value(arg)) : arg;
		return 0;
	case OPT_COUNT:
		errno = 0;
		count = strtoll(arg, &end, 10);
		if (errno || end == arg || *end || count < o->min || count > o->max)
			return err_say(err, -EINVAL, "expected a whole number from %lld to %lld, got %s",
				       (long long)o->min, (long long)o->max, arg);
		*(int64_t *)o->into = count;
		return 0;
	case OPT_REAL:
		real = strtod(arg, &end);
		if (end == arg || *end || !(real >= 0 && real < 1e9))
			return err_say(err, -EINVAL, "expected a number such as 0.5, got %s", arg);
		*(double *)o->into = real;
		return 0;
	case OPT_DURATION:
		if (text_parse_duration(s, o->into))
			return err_say(err, -EINVAL, "expected a duration such as 30s, 5m or 2h, got %s", arg);
		return 0;
	case OPT_SIZE:
		if (text_parse_size(s, o->into))
			return err_say(err, -EINVAL, "expected a size such as 512m or 2g, got %s", arg);
		return 0;
	}
	return -EINVAL;
}

struct config_target {
	struct cli *cli;
	const struct opt *opts;
};

static int on_config_pair(void *arg, struct slice key, struct slice value, struct err *err)
{
	const struct config_target *t = arg;

	for (const struct opt *o = t->opts; o->name; o++) {
		if (!slice_eq(key, slice_str(o->name)))
			continue;
		if (t->cli->given & (UINT64_C(1) << (o - t->opts)))
			return 0;
		if (o->kind == OPT_FLAG && slice_eq(value, SLICE("no")))
			return 0;
		if (o->kind == OPT_FLAG && !slice_eq(value, SLICE("yes")))
			return err_say(err, -EINVAL, "%s: expected yes or no", o->name);
		return store(t->cli, o, keep(t->cli, slice_dup(value)), err) ? err_prefix(err, "%s", o->name) : 0;
	}
	return -ENOENT;
}

int cli_read_config(struct cli *c, const char *path, const struct opt *opts)
{
	struct config_target t = { c, opts };
	struct err err;

	return config_read(path, on_config_pair, &t, &err) ? cli_fail("%s", err.text) : -1;
}

/* Both tables' rows as getopt_long() wants them: the letters, which <longs> has as well. */
static void gather(struct option *longs, char letters[LETTERS_SIZE], const struct opt **rows, const struct opt *own,
		   const struct opt *global)
{
	const struct opt *tables[] = { own, global };
	size_t n = 0;

	letters = stpcpy(letters, ":h");

	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (const struct opt *o = tables[t]; o && o->name && n < MAX_OPTS; o++, n++) {
			rows[n] = o;
			longs[n] = (struct option){ o->name, o->kind != OPT_FLAG, NULL, FIRST_VAL + (int)n };
			if (!o->name[1])
				letters = stpcpy(stpcpy(letters, o->name), o->kind == OPT_FLAG ? "" : ":");
		}
	longs[n] = (struct option){ 0 };
}

int cli_parse(struct cli *c, int argc, char **argv, const struct opt *opts, int min, int max)
{
	struct cli_globals *g = &c->globals;
	const struct opt global[] = {
		{ "json", NULL, OPT_FLAG, &g->json, "print the API's JSON", 0, 0, false },
		{ "api-url", "URL", OPT_TEXT, &g->api_url, "the control plane (TEMPS_API_URL); default: its local socket", 0, 0, false },
		{ "ca-file", "PEM", OPT_TEXT, &g->ca_file, "trust this authority for --api-url (TEMPS_CA_FILE)", 0, 0, false },
		{ "data-dir", "DIR", OPT_TEXT, &g->data_dir, "where the control plane keeps its data", 0, 0, false },
		{ "help", NULL, OPT_FLAG, &g->help, "show this", 0, 0, false },
		{ 0 },
	};
	struct option longs[MAX_OPTS + 1];
	const struct opt *rows[MAX_OPTS];
	char letters[LETTERS_SIZE];
	struct err err;
	int v, npos;

	gather(longs, letters, rows, opts, global);
	if (c->listing) {
		for (struct option *o = longs; o->name; o++)
			printf("%s%s\n", o->name[1] ? "--" : "-", o->name);
		return EXIT_DONE;
	}
	g->api_url = getenv("TEMPS_API_URL");
	g->api_token = getenv("TEMPS_API_TOKEN");
	g->ca_file = getenv("TEMPS_CA_FILE");
	optind = 1;
	opterr = 0;
	while ((v = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (v == 'h')
			return print_help(c, opts, global);
		if (v == '?')
			return cli_usage(c, "unknown option '%s'", argv[optind - 1]);
		if (v == ':')
			return cli_usage(c, "option '%s' needs an argument", argv[optind - 1]);
		for (int i = 0; v < FIRST_VAL; i++)
			v = longs[i].name[0] == v && !longs[i].name[1] ? FIRST_VAL + i : v;
		c->given |= UINT64_C(1) << (v - FIRST_VAL);
		if (store(c, rows[v - FIRST_VAL], optarg, &err))
			return cli_usage(c, "%s%s: %s", dashes(rows[v - FIRST_VAL]), rows[v - FIRST_VAL]->name, err.text);
	}
	if (g->help)
		return print_help(c, opts, global);
	npos = argc - optind;
	if (npos < min)
		return cli_usage(c, "too few arguments");
	if (npos > max)
		return cli_usage(c, "unexpected argument '%s'", argv[optind + max]);
	/* Commands find them at argv[0]: getopt_long() has moved them behind the options. */
	memmove(argv, argv + optind, (size_t)npos * sizeof(*argv));
	argv[npos] = NULL;
	return -1;
}
