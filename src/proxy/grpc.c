/* gRPC: its content type and its status. */
#include "proxy/grpc.h"

bool grpc_is(const struct head *h)
{
	static const struct slice want = SLICE("application/grpc");
	const struct field *type = head_field(h, FIELD_CONTENT_TYPE);

	if (!type || type->value.n < want.n ||
	    !slice_eq_nocase(slice_of(type->value.p, want.n), want))
		return false;
	return type->value.n == want.n || strchr("+; ", type->value.p[want.n]);
}

void grpc_put_status(struct head *h, unsigned status, const char *why)
{
	head_add_other(h, SLICE("grpc-status"), status == 504 ? SLICE("4") : SLICE("14"));
	head_add_other(h, SLICE("grpc-message"), slice_str(why));
}
