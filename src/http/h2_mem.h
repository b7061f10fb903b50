/* Memory for nghttp2: blocks of a few sizes that wait on lists for their next user, so that steady
 * traffic allocates nothing. How much there can be is bounded by what the sessions may hold. */
#ifndef TEMPS_HTTP_H2_MEM_H
#define TEMPS_HTTP_H2_MEM_H

#include <nghttp2/nghttp2.h>

#include "base/base.h"

#define H2_MEM_SIZES 16 /* up to 12 KiB */

struct h2_mem {
	nghttp2_mem functions; /* to be given to nghttp2 */
	struct {
		void *idle;
		uint32_t n;
	} lists[H2_MEM_SIZES];
};

void h2_mem_init(struct h2_mem *m);
/* Every session must be gone. */
void h2_mem_fini(struct h2_mem *m);

#endif
