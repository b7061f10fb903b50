/* Names and passwords. */
#include "proxy/basic_auth.h"

#include <stdlib.h>

#include "proxy/policy.h"
#include "reactor/crypto.h"
#include "reactor/password.h"

static bool is_users(const struct pair *p)
{
	return strcmp(p->key, "basic-auth") == 0;
}

/* "name:password" or "name:hash", one a line. */
static void seal_line(struct buf *out, struct slice line)
{
	struct slice password, name = slice_split(line, ':', &password);
	char hash[PASSWORD_HASH_MAX];
	char *text = slice_dup(password);

	if (out->len)
		buf_append_str(out, "\n");
	if (password_is_hash(text))
		buf_append_slice(out, line);
	else if (password_hash(password, hash) == 0)
		buf_printf(out, "%.*s:%s", SLICE_ARG(name), hash);
	else
		buf_printf(out, "%.*s:!", SLICE_ARG(name)); /* a hash of nothing */
	crypto_wipe(text, strlen(text));
	free(text);
}

void basic_auth_seal(struct pairs *policy)
{
	for (size_t i = 0; i < policy->n; i++) {
		struct pair *p = &policy->items[i];
		struct slice rest = slice_str(p->value), line;
		struct buf out;

		if (!is_users(p))
			continue;
		buf_init(&out, 0);
		while ((line = policy_line(&rest)).p)
			seal_line(&out, line);
		crypto_wipe((char *)p->value, strlen(p->value));
		free((char *)p->value);
		p->value = buf_steal(&out);
	}
}

bool basic_auth_is_sealed(const struct pairs *policy)
{
	for (size_t i = 0; i < policy->n; i++) {
		struct slice rest = slice_str(policy->items[i].value), line;

		if (!is_users(&policy->items[i]))
			continue;
		while ((line = policy_line(&rest)).p) {
			struct slice hash;
			char *text;
			bool sealed;

			(void)slice_split(line, ':', &hash);
			text = slice_dup(hash);
			sealed = password_is_hash(text);
			crypto_wipe(text, strlen(text));
			free(text);
			if (!sealed)
				return false;
		}
	}
	return true;
}
