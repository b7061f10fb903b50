/* temps cert ls | add | rm: the certificates of the front door. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "cli/cli.h"
#include "cli/commands.h"

#define PEM_MAX_BYTES 131072

static void cert_row(struct table *t, const struct json *k)
{
	int64_t days = json_int(json_get(k, "days_left"), 0);

	table_str(t, k, "name");
	table_str(t, k, "source");
	table_str(t, k, "id");
	table_str(t, k, "not_after");
	if (days < 0)
		table_cell(t, "ended");
	else
		table_cellf(t, "%lld", (long long)days);
	table_cell(t, json_bool(json_get(k, "ends_soon"), false) ? "renew it" : "");
}

static int ls(struct cli *c, int argc, char **argv)
{
	static const char *const columns[] = { "NAME", "SOURCE", "ID", "NOT AFTER", ">DAYS LEFT", "", NULL };

	return cli_list(c, argc, argv, "/api/certs", "items", columns, cert_row);
}

static char *cert_path(const char *name)
{
	char *esc = cli_escape(name), *path = xasprintf("/api/certs/%s", esc);

	free(esc);
	return path;
}

/* A file, or standard input for "-"; the caller's to free(). NULL: said why. */
static char *read_text(const char *path)
{
	char *text = NULL;
	size_t n = 0;
	struct err err;

	if (strcmp(path, "-") != 0) {
		if (file_read(path, PEM_MAX_BYTES, &text, &n, &err)) {
			cli_fail("%s", err.text);
			return NULL;
		}
		return text;
	}
	text = xcalloc(1, PEM_MAX_BYTES + 1);
	n = fread(text, 1, PEM_MAX_BYTES, stdin);
	if (n && !ferror(stdin))
		return text;
	free(text);
	cli_fail("no key on standard input");
	return NULL;
}

static int send(struct cli *c, const char *name, const char *cert, const char *key)
{
	char *path = cert_path(name);
	struct json_out o;
	struct buf body;
	int code;

	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "cert", cert);
	json_put_str(&o, "key", key);
	json_obj_end(&o);
	code = cli_call(c, "PUT", path, body.data, NULL);
	explicit_bzero(body.data, body.len);
	buf_fini(&body);
	free(path);
	return code;
}

static int add(struct cli *c, int argc, char **argv)
{
	const char *cert_file = NULL, *key_file = NULL;
	const struct opt opts[] = {
		{ "cert", "PEM", OPT_TEXT, &cert_file, "the certificate chain, leaf first", 0, 0, false },
		{ "key", "PEM|-", OPT_TEXT, &key_file, "its key; - reads it from standard input", 0, 0, false },
		{ 0 },
	};
	char *cert, *key = NULL;
	int code = cli_parse(c, argc, argv, opts, 1, 1);

	if (code >= 0)
		return code;
	if (!cert_file || !key_file)
		return cli_usage(c, "--cert and --key are needed");
	cert = read_text(cert_file);
	if (cert)
		key = read_text(key_file);
	code = key ? send(c, argv[0], cert, key) : EXIT_FAILED;
	if (code == EXIT_DONE && !c->globals.json)
		printf("certificate %s is served from now on; its key is sealed in the store\n", argv[0]);
	if (key)
		explicit_bzero(key, strlen(key));
	free(key);
	free(cert);
	return code;
}

static int rm(struct cli *c, int argc, char **argv)
{
	char *path;
	int code = cli_parse(c, argc, argv, NULL, 1, 1);

	if (code >= 0)
		return code;
	path = cert_path(argv[0]);
	code = cli_call(c, "DELETE", path, NULL, NULL);
	if (code == EXIT_DONE && !c->globals.json)
		printf("certificate %s forgotten\n", argv[0]);
	free(path);
	return code;
}

const struct command command_cert_ls = { "cert ls", "[options]", "List the certificates", ls };
const struct command command_cert_add = { "cert add", "NAME --cert PEM --key PEM|-", "Store a certificate, or its successor", add };
const struct command command_cert_rm = { "cert rm", "NAME", "Forget a stored certificate", rm };
