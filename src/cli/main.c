/* Finds the command and runs it. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

static void print_overview(FILE *to)
{
	fputs("Usage: temps COMMAND [ARGUMENTS]\n\n"
	      "A few Linux servers as one place to run containers, behind one HTTPS front door.\n\n",
	      to);
	for (const struct command *const *c = cli_commands; *c; c++)
		fprintf(to, "  %-18s %s\n", (*c)->name, (*c)->summary);
	fputs("\n'temps COMMAND --help' shows a command's options; temps(1) is the manual.\n", to);
}

/* The command whose words start argv[1..]; <*words> says how many of them it took. */
static const struct command *find_command(int argc, char **argv, int *words)
{
	static const struct {
		const char *alias, *name;
	} aliases[] = {
		{ "node list", "node ls" },
		{ "node remove", "node rm" },
		{ "route list", "route ls" },
		{ "route remove", "route rm" },
	};
	char two[64];

	snprintf(two, sizeof(two), "%s %s", argv[1], argc > 2 ? argv[2] : "");
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (!strcmp(two, aliases[i].alias))
			snprintf(two, sizeof(two), "%s", aliases[i].name);
	for (const struct command *const *c = cli_commands; *c; c++) {
		if (!strcmp((*c)->name, argv[1])) {
			*words = 1;
			return *c;
		}
		if (!strcmp((*c)->name, two)) {
			*words = 2;
			return *c;
		}
	}
	return NULL;
}

/* "temps node" alone: show that family. */
static bool print_family(const char *word)
{
	size_t n = strlen(word);
	bool any = false;

	for (const struct command *const *c = cli_commands; *c; c++) {
		if (strncmp((*c)->name, word, n) || (*c)->name[n] != ' ')
			continue;
		if (!any)
			fprintf(stderr, "Usage: temps %s COMMAND\n\n", word);
		fprintf(stderr, "  %-18s %s\n", (*c)->name, (*c)->summary);
		any = true;
	}
	return any;
}

int main(int argc, char **argv)
{
	struct cli cli = { .tty = isatty(STDOUT_FILENO) };
	char **line;
	int words, code;

	setlocale(LC_CTYPE, "");
	log_init(LOG_INFO, false);
	if (argc < 2) {
		print_overview(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		puts("temps " PACKAGE_VERSION);
		return EXIT_DONE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_overview(stdout);
		return EXIT_DONE;
	}
	cli.command = find_command(argc, argv, &words);
	if (!cli.command) {
		if (print_family(argv[1]))
			return EXIT_USAGE;
		fprintf(stderr, "temps: unknown command '%s'; 'temps --help' lists them\n", argv[1]);
		return EXIT_USAGE;
	}
	/* Parsing moves the arguments about. */
	line = xcalloc((size_t)argc + 1, sizeof(*line));
	memcpy(line, argv, (size_t)argc * sizeof(*line));
	cli.argv = line;
	code = cli.command->run(&cli, argc - words, argv + words);
	cli_fini(&cli);
	free(line);
	/* A listing that could not be written is not done: disk full, closed pipe. */
	if (fflush(stdout) && code == EXIT_DONE)
		code = cli_fail("standard output: write failed");
	return code;
}
