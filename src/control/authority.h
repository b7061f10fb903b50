/* A certificate authority kept as two files of the data directory: NAME.pem and NAME.key (0600). */
#ifndef TEMPS_CONTROL_AUTHORITY_H
#define TEMPS_CONTROL_AUTHORITY_H

#include "base/err.h"
#include "base/slice.h"

struct authority {
	struct slice cert_pem, key_pem;	/* owned */
};

/* Reads both files, or makes both when neither exists and <create>. -ENOENT names the file that is
 * missing; -EINVAL: one that does not hold what it should. Blocks: before the loop runs. */
int authority_load(struct authority *a, const char *dir, const char *name, const char *common_name,
		   bool create, struct err *err) MUST_CHECK;
void authority_fini(struct authority *a);	/* wipes the key */

#endif
