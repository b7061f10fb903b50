/* The table of commands, and the shell completion that is made from it. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

const struct command *const cli_commands[] = {
	&command_serve,	      &command_agent,	     &command_join,	       &command_deploy,
	&command_plan,	      &command_explain,
	&command_apps,	      &command_ps,	     &command_logs,	       &command_releases,
	&command_apply,	      &command_scale,	     &command_restart,	       &command_rollback,
	&command_promote,     &command_abort,	     &command_pause,
	&command_resume,      &command_lock,	     &command_unlock,
	&command_rm,	      &command_node_ls,	     &command_node_show,       &command_node_rm,
	&command_node_drain,  &command_node_undrain, &command_node_gc,	       &command_node_failover,
	&command_rebalance,
	&command_token_create, &command_token_ls,    &command_token_revoke,    &command_key_create,
	&command_key_ls,      &command_key_revoke,   &command_route_ls,	       &command_route_add,
	&command_route_set,   &command_route_rm,     &command_cert_ls,	       &command_cert_add,
	&command_cert_rm,     &command_registry_login,
	&command_registry_ls, &command_registry_logout, &command_events,       &command_status,
	&command_top,	      &command_upgrade,
	&command_complete,
	NULL,
};

/* Words that may follow "temps" or "temps <word>": the second words of a family once its first is given. */
static void print_words(const char *first)
{
	size_t n = first ? strlen(first) : 0;

	for (const struct command *const *c = cli_commands; *c; c++) {
		const char *name = (*c)->name, *space = strchr(name, ' ');

		if (!first)
			printf("%.*s\n", space ? (int)(space - name) : (int)strlen(name), name);
		else if (space && (size_t)(space - name) == n && !strncmp(name, first, n))
			puts(space + 1);
	}
}

/* `temps complete [WORD [WORD]]`: what may come next, one a line. The shell's script filters by what was typed. */
static int complete(struct cli *c, int argc, char **argv)
{
	char name[64];

	if (argc < 2) {
		print_words(NULL);
		return EXIT_DONE;
	}
	if (argc == 2)
		print_words(argv[1]);
	snprintf(name, sizeof(name), "%s%s%s", argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
	c->listing = true;
	for (const struct command *const *k = cli_commands; *k; k++)
		if (!strcmp((*k)->name, name) || !strcmp((*k)->name, argv[1])) {
			c->command = *k;
			return (*k)->run(c, 1, argv);
		}
	return EXIT_DONE;
}

const struct command command_complete = { "complete", "[WORD…]", "Print what may follow, for the shell's completion", complete };
