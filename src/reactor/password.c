/* crypt(3), with its 32 KiB of scratch on the heap and wiped. */
#include "reactor/password.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>

#include "reactor/crypto.h"

/* The hash of <password> under <setting>, or NULL. <scratch> holds it. */
static const char *run(struct slice password, const char *setting, struct crypt_data *scratch)
{
	char text[PASSWORD_MAX + 1];
	const char *hash = NULL;

	if (slice_copy(password, text, sizeof(text)) == 0)
		hash = crypt_rn(text, setting, scratch, sizeof(*scratch));
	crypto_wipe(text, sizeof(text));
	return hash;
}

int password_hash(struct slice password, char hash[PASSWORD_HASH_MAX])
{
	struct crypt_data *scratch = xcalloc(1, sizeof(*scratch));
	char salt[32], setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *made = NULL;
	int rc = -EINVAL;

	crypto_random(salt, sizeof(salt));
	if (crypt_gensalt_rn("$y$", 0, salt, sizeof(salt), setting, sizeof(setting)))
		made = run(password, setting, scratch);
	if (made)
		rc = slice_copy(slice_str(made), hash, PASSWORD_HASH_MAX);
	crypto_wipe(scratch, sizeof(*scratch));
	free(scratch);
	return rc;
}

bool password_check(struct slice password, const char *hash)
{
	struct crypt_data *scratch = xcalloc(1, sizeof(*scratch));
	const char *made = run(password, hash, scratch);
	bool same = made && crypto_equal(slice_str(made), slice_str(hash));

	crypto_wipe(scratch, sizeof(*scratch));
	free(scratch);
	return same;
}

bool password_is_hash(const char *text)
{
	return text[0] == '$' && strlen(text) < PASSWORD_HASH_MAX &&
	       crypt_checksalt(text) == CRYPT_SALT_OK;
}
