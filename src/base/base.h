/* Small things every file may use: array sizes, container_of, allocation that cannot fail at boot.
 */
#ifndef TEMPS_BASE_BASE_H
#define TEMPS_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))

/* For boot and for the cold control path: abort with a message when memory is out. Objects made
 * once per connection or request come from a pool instead (pool.h), whose shortage is an ordinary
 * answer. */
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
/* <p>, which is not NULL: aborts with the same message when it is. */
void *must_have(void *p);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
