/* The log for people: levelled lines of key=value pairs on standard error, one write(2) a line,
 * never blocking on anything else. Level and form are the process's, set once by main (the only
 * state that is not in a struct). Request logs are not written here: see proxy/access.h. */
#ifndef TEMPS_BASE_LOG_H
#define TEMPS_BASE_LOG_H

#include "base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* <json> writes one JSON object a line. Under systemd (JOURNAL_STREAM names our
 * standard error) lines carry the <N> priority prefix. */
void log_init(enum log_level level, bool json);
bool log_enabled(enum log_level level);
/* The line's end is added; control characters in the text are escaped. Callable from any thread. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                                     \
	do {                                               \
		if (log_enabled(LOG_DEBUG))                \
			log_write(LOG_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
