/* Listings: columns as wide as their widest cell, in characters rather than bytes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "reactor/loop.h"

#define MAX_COLUMNS 12

struct table {
	const char *heads[MAX_COLUMNS];
	size_t width[MAX_COLUMNS];
	bool right[MAX_COLUMNS];
	size_t ncolumns;
	char **cells;	/* owned */
	size_t ncells;
};

/* Characters in a UTF-8 string: every byte that does not continue one. */
static size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

struct table *table_new(const char *const *columns)
{
	struct table *t = xcalloc(1, sizeof(*t));

	for (; columns[t->ncolumns] && t->ncolumns < MAX_COLUMNS; t->ncolumns++) {
		const char *head = columns[t->ncolumns];

		t->right[t->ncolumns] = *head == '>';
		t->heads[t->ncolumns] = head + (*head == '>');
		t->width[t->ncolumns] = text_width(t->heads[t->ncolumns]);
	}
	return t;
}

void table_cell(struct table *t, const char *text)
{
	char *cell = xstrdup(text && *text ? text : "-");
	size_t column = t->ncells % t->ncolumns;

	/* What a container or a peer named must not drive the terminal. */
	for (char *p = cell; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	t->width[column] = MAX(t->width[column], text_width(cell));
	t->cells = xrealloc(t->cells, (t->ncells + 1) * sizeof(*t->cells));
	t->cells[t->ncells++] = cell;
}

void table_cellf(struct table *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_cell(t, text);
}

/* Prints at most <max> characters of one line. */
static void print_line(FILE *to, struct buf *line, size_t max)
{
	const char *p = line->data ? line->data : "";
	size_t n = 0;

	while (line->len && line->data[line->len - 1] == ' ')
		line->data[--line->len] = '\0';
	for (; *p; p++) {
		if (((unsigned char)*p & 0xc0) != 0x80 && n++ == max)
			break;
		putc(*p, to);
	}
	putc('\n', to);
}

static void add_cell(struct buf *line, const struct table *t, size_t column, const char *text)
{
	int pad = (int)(t->width[column] - text_width(text));

	if (column)
		buf_append_str(line, "  ");
	if (t->right[column])
		buf_printf(line, "%*s%s", pad, "", text);
	else
		buf_printf(line, "%s%*s", text, pad, "");
}

void table_write(struct table *t, FILE *to, size_t width)
{
	struct buf line;

	buf_init(&line, 0);
	for (size_t i = 0; i < t->ncolumns; i++)
		add_cell(&line, t, i, t->heads[i]);
	print_line(to, &line, width);
	for (size_t i = 0; i < t->ncells; i++) {
		if (i % t->ncolumns == 0)
			buf_clear(&line);
		add_cell(&line, t, i % t->ncolumns, t->cells[i]);
		if (i % t->ncolumns == t->ncolumns - 1)
			print_line(to, &line, width);
	}
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cells[i]);
	buf_fini(&line);
	free(t->cells);
	free(t);
}

void table_print(struct table *t, const struct cli *c)
{
	struct winsize size;
	size_t width = SIZE_MAX;

	if (c->tty && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		width = size.ws_col;
	table_write(t, stdout, width);
}

bool cli_flush(void)
{
	return !fflush(stdout) && !ferror(stdout);
}

int cli_print_json(const struct json *j)
{
	struct buf out;

	buf_init(&out, 0);
	json_dump(j, false, &out);
	fwrite(out.data, 1, out.len, stdout);
	putchar('\n');
	buf_fini(&out);
	return EXIT_DONE;
}

void cli_print_answer(const struct cli *c, const struct json *doc)
{
	if (c->globals.json)
		cli_print_json(doc);
	else
		puts(json_cstr(json_get(doc, "message"), "done"));
}

void cli_print_list(struct cli *c, const struct json *doc, const char *member, const char *const *columns,
		    void (*row)(struct table *t, const struct json *item))
{
	const struct json *items = json_get(doc, member);
	struct table *t = table_new(columns);

	for (size_t i = 0; i < json_len(items); i++)
		row(t, json_at(items, i));
	table_print(t, c);
}

int cli_list_path(struct cli *c, const char *path, const char *member, const char *const *columns,
		  void (*row)(struct table *t, const struct json *item))
{
	struct json *doc = NULL;
	int code = cli_call(c, "GET", path, NULL, &doc);

	if (code == EXIT_DONE && c->globals.json)
		cli_print_json(doc);
	else if (code == EXIT_DONE)
		cli_print_list(c, doc, member, columns, row);
	json_free(doc);
	return code;
}

int cli_list(struct cli *c, int argc, char **argv, const char *path, const char *member, const char *const *columns,
	     void (*row)(struct table *t, const struct json *item))
{
	int code = cli_parse(c, argc, argv, NULL, 0, 0);

	return code >= 0 ? code : cli_list_path(c, path, member, columns, row);
}

void table_str(struct table *t, const struct json *item, const char *name)
{
	table_cell(t, json_cstr(json_get(item, name), ""));
}

void table_int(struct table *t, const struct json *item, const char *name)
{
	const struct json *v = json_get(item, name);

	if (json_type(v) == JSON_INT)
		table_cellf(t, "%lld", (long long)json_int(v, 0));
	else
		table_cell(t, "");
}

void cli_age(const struct json *time, char *out)
{
	uint64_t then, now = loop_wall_ms();

	out[0] = '\0';
	if (json_type(time) == JSON_STRING && !text_parse_time(json_str(time, ""), &then))
		text_age(now > then ? now - then : 0, out);
}

/* "-" for a time that never was. */
void table_age(struct table *t, const struct json *item, const char *name)
{
	char age[32];

	cli_age(json_get(item, name), age);
	table_cell(t, age);
}
