/* --policy KEY=VALUE, of every command that takes it. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int cli_split_pair(const struct cli *c, const char *option, const char *arg, char *key, size_t size,
		   const char **value)
{
	const char *eq = strchr(arg, '=');

	if (!eq || eq == arg || slice_copy(slice_of(arg, (size_t)(eq - arg)), key, size))
		return cli_usage(c, "--%s %s: expected KEY=VALUE", option, arg);
	*value = eq + 1;
	return -1;
}

bool cli_same_key(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strcspn(b, "=") == n && !strncmp(a, b, n);
}

/* The value, or what standard input holds for "-". */
static int put_value(struct json_out *o, const char *name, const char *value)
{
	char dash[] = "-", *secret;

	if (strcmp(value, "-")) {
		json_put_str(o, name, value);
		return -1;
	}
	secret = cli_secret(dash, "value of --policy");
	if (!secret)
		return EXIT_FAILED;
	json_put_str(o, name, secret);
	explicit_bzero(secret, strlen(secret));
	free(secret);
	return -1;
}

/* All values of a key that was given more than once are lines of one. */
static int put_key(struct json_out *o, const char *key, const struct opt_list *list, size_t first)
{
	int code = -1;

	json_arr(o, key);
	for (size_t i = first; code < 0 && i < list->n; i++)
		if (cli_same_key(list->at[first], list->at[i]))
			code = put_value(o, NULL, strchr(list->at[i], '=') + 1);
	json_arr_end(o);
	return code;
}

int cli_put_policy(const struct cli *c, struct json_out *o, const struct opt_list *list,
		   const char *protocol)
{
	const char *value;
	char key[256];
	int code = -1;

	if (!list->n && !protocol)
		return -1;
	json_obj(o, "policy");
	if (protocol)
		json_put_str(o, "protocol", protocol);
	for (size_t i = 0; code < 0 && i < list->n; i++) {
		bool seen = false;

		if (protocol && cli_same_key("protocol", list->at[i]))
			code = cli_usage(c, "--protocol and --policy protocol= are the same: give one");
		for (size_t k = 0; k < i; k++)
			seen |= cli_same_key(list->at[k], list->at[i]);
		if (seen || code >= 0)
			continue;
		code = cli_split_pair(c, "policy", list->at[i], key, sizeof(key), &value);
		if (code < 0)
			code = put_key(o, key, list, i);
	}
	json_obj_end(o);
	return code;
}
