/* Every command, one row each; commands.c puts them in the order of the help. */
#ifndef TEMPS_CLI_COMMANDS_H
#define TEMPS_CLI_COMMANDS_H

struct command;

extern const struct command command_serve, command_agent, command_join;
extern const struct command command_deploy, command_apps, command_ps, command_releases, command_logs, command_rm;
extern const struct command command_plan, command_explain;
extern const struct command command_promote, command_abort;
extern const struct command command_apply, command_scale, command_restart, command_rollback;
extern const struct command command_pause, command_resume, command_lock, command_unlock;
extern const struct command command_node_ls, command_node_show, command_node_rm;
extern const struct command command_node_drain, command_node_undrain, command_node_gc, command_node_failover;
extern const struct command command_rebalance;
extern const struct command command_token_create, command_token_ls, command_token_revoke;
extern const struct command command_key_create, command_key_ls, command_key_revoke;
extern const struct command command_route_ls, command_route_add, command_route_set, command_route_rm;
extern const struct command command_cert_ls, command_cert_add, command_cert_rm;
extern const struct command command_registry_login, command_registry_ls, command_registry_logout;
extern const struct command command_events, command_status, command_top, command_upgrade, command_complete;

#endif
