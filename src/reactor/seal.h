/* Secrets at rest: sealed with AES-256-GCM under a key that is kept elsewhere than what is sealed.
 */
#ifndef TEMPS_REACTOR_SEAL_H
#define TEMPS_REACTOR_SEAL_H

#include "base/buf.h"

#define SEAL_KEY_BYTES 32

/* Appends base64 of nonce, ciphertext and tag. 0, or a negative errno when the library fails. */
int seal_close(const uint8_t key[SEAL_KEY_BYTES], struct slice plain,
	       struct buf *base64) MUST_CHECK;
/* Appends the plain text. -EINVAL: not a sealed text; -EKEYREJECTED: another key, or changed bytes.
 */
int seal_open(const uint8_t key[SEAL_KEY_BYTES], struct slice base64, struct buf *plain) MUST_CHECK;

#endif
