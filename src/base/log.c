/* Writes the log for people, one line with one write(2). */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"

#define LINE_MAX_BYTES 4096 /* of the message; what is longer is cut */

static struct {
	enum log_level level;
	bool json;
	bool journal;
} process = { .level = LOG_INFO };

static const struct {
	const char *name;
	int priority; /* of syslog(3), as sd-daemon(3) takes it */
} levels[] = {
	[LOG_ERROR] = { "error", 3 },
	[LOG_WARN] = { "warn", 4 },
	[LOG_INFO] = { "info", 6 },
	[LOG_DEBUG] = { "debug", 7 },
};

/* JOURNAL_STREAM is inherited by children whose standard error goes elsewhere: it names the device
 * and inode it is about (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *named = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return named && sscanf(named, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_init(enum log_level level, bool json)
{
	process.level = level;
	process.json = json;
	process.journal = stderr_is_journal();
}

bool log_enabled(enum log_level level)
{
	return level <= process.level;
}

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Control characters would let what a client sent pass for a line of ours. */
static void append_escaped(struct buf *line, const char *text)
{
	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == 0x7f)
			buf_printf(line, "\\x%02x", c);
		else
			buf_append(line, p, 1);
	}
}

static void format_line(struct buf *line, enum log_level level, const char *text)
{
	char at[32];

	text_time(wall_ms(), true, at);
	if (process.journal)
		buf_printf(line, "<%d>", levels[level].priority);
	if (process.json) {
		struct json_out o;

		json_out_init(&o, line);
		json_obj(&o, NULL);
		json_put_str(&o, "time", at);
		json_put_str(&o, "level", levels[level].name);
		json_put_str(&o, "msg", text);
		json_obj_end(&o);
	} else {
		/* The journal keeps time and level beside the line. */
		if (!process.journal)
			buf_printf(line, "%s %s ", at, levels[level].name);
		append_escaped(line, text);
	}
	buf_append_str(line, "\n");
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	struct buf line;
	ssize_t ignored;
	va_list ap;
	size_t n;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = strlen(text);
	if (n && text[n - 1] == '\n')
		text[n - 1] = '\0';

	buf_init(&line, 0);
	format_line(&line, level, text);
	ignored = write(STDERR_FILENO, line.data, line.len); /* nobody is left to tell */
	(void)ignored;
	buf_fini(&line);
}
