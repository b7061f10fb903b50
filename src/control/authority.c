/* Keeps a certificate authority in the data directory: made once, read at every start. */
#include "control/authority.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/config.h"
#include "reactor/crypto.h"
#include "reactor/pki.h"

#define CA_DAYS 3650
#define PEM_MAX_BYTES 65536

static int make(const char *cert_path, const char *key_path, const char *common_name,
		struct err *err)
{
	struct buf cert, key;
	int rc;

	buf_init(&cert, PEM_MAX_BYTES);
	buf_init(&key, PEM_MAX_BYTES);
	rc = pki_make_ca(common_name, CA_DAYS, &cert, &key, err);
	/* The key first: a certificate without its key would look like an authority that lost it.
	 */
	if (!rc)
		rc = file_write(key_path, key.data, key.len, 0600, err);
	if (!rc)
		rc = file_write(cert_path, cert.data, cert.len, 0644, err);
	if (key.data)
		crypto_wipe(key.data, key.len);
	buf_fini(&key);
	buf_fini(&cert);
	return rc;
}

static int read_pem(const char *path, struct slice *out, struct err *err)
{
	char *text;
	size_t len;
	int rc = file_read(path, PEM_MAX_BYTES, &text, &len, err);

	if (!rc)
		*out = slice_of(text, len);
	return rc;
}

int authority_load(struct authority *a, const char *dir, const char *name, const char *common_name,
		   bool create, struct err *err)
{
	char *cert_path = xasprintf("%s/%s.pem", dir, name),
	     *key_path = xasprintf("%s/%s.key", dir, name);
	char hex[65];
	int rc = 0;

	*a = (struct authority){ 0 };
	if (create && access(cert_path, F_OK) < 0 && errno == ENOENT)
		rc = make(cert_path, key_path, common_name, err);
	if (!rc)
		rc = read_pem(cert_path, &a->cert_pem, err);
	if (!rc)
		rc = read_pem(key_path, &a->key_pem, err);
	if (!rc && pki_fingerprint(a->cert_pem, hex, err))
		rc = err_prefix(err, "%s", cert_path);
	if (rc)
		authority_fini(a);
	free(cert_path);
	free(key_path);
	return rc;
}

void authority_fini(struct authority *a)
{
	if (a->key_pem.p)
		crypto_wipe((char *)a->key_pem.p, a->key_pem.n);
	free((char *)a->key_pem.p);
	free((char *)a->cert_pem.p);
	*a = (struct authority){ 0 };
}
