/* Passwords and what is kept of them: crypt(3) hashes. Both functions are slow on purpose (tens of
 * milliseconds): for the work thread. */
#ifndef TEMPS_REACTOR_PASSWORD_H
#define TEMPS_REACTOR_PASSWORD_H

#include "base/slice.h"

#define PASSWORD_MAX 256u /* bytes of a password */
#define PASSWORD_HASH_MAX 384u

/* A yescrypt hash with fresh salt. -EINVAL: too long, or with a NUL. */
int password_hash(struct slice password, char hash[PASSWORD_HASH_MAX]) MUST_CHECK;
/* Compares in constant time. False too for a hash that crypt(3) does not know. */
bool password_check(struct slice password, const char *hash);
/* Is it a hash of a strong kind already? Quick. */
bool password_is_hash(const char *text);

#endif
