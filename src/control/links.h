/* The ways to the nodes: one link a node, and on each a watch that keeps the node's event stream
 * open and says what comes over it. */
#ifndef TEMPS_CONTROL_LINKS_H
#define TEMPS_CONTROL_LINKS_H

#include "agent/link.h"
#include "reactor/rpc.h"

struct links;

/* Called from the loop, never from inside a call into the links (but for the last one); each may
 * open and close links. */
struct links_reports {
	void (*reachable)(void *arg, int64_t node_id); /* its event stream is open */
	void (*lost)(
		void *arg, int64_t node_id,
		/* the stream is gone or could not be opened; tried again by itself */
		const char *why);
	void (*exchange)(void *arg, int64_t node_id); /* the agent answered a call of ours */
	void (*inventory)(void *arg, int64_t node_id, const struct wire_container *list, size_t n);
	/* A container ended, <oom>: for want of memory; or it is gone (action "destroy"). */
	void (*died)(void *arg, int64_t node_id, const struct wire_event *e, bool oom);
	void (*container)(void *arg, int64_t node_id,
			  const struct wire_container *c); /* one started or changed */
	/* The one call from inside links_open(), links_attach() and links_close(): the node's link
	 * is about to end. Whoever has operations on it cancels them now. */
	void (*closing)(void *arg, int64_t node_id);
};

struct links_config {
	struct loop *loop;
	struct rpc *rpc;
	const char *ca_pem;		/* the cluster CA; borrowed for ever */
	const struct links_reports *reports;
	void *arg;
};

struct links *links_create(const struct links_config *c);
void links_destroy(struct links *l);
/* Opens a link to the agent at <address>; nothing happens when it is open with the same address and
 * token. */
void links_open(struct links *l, int64_t node_id, const char *address, const char *token);
/* Uses <borrowed> for the node instead: `local`. */
void links_attach(struct links *l, int64_t node_id, struct link *borrowed);
/* Ends the watch and the link; no report but closing() follows. */
void links_close(struct links *l, int64_t node_id);
/* NULL: there is no way to that node. */
struct link *links_get(const struct links *l, int64_t node_id);
/* Asks now for all managed containers: inventory(), or lost(). */
void links_list(struct links *l, int64_t node_id);
/* Says reachable() again for every node whose stream is open: for a domain that was loaded anew. */
void links_repeat(struct links *l);
/* Finds out now whether the agent answers: reachable() and inventory(), or lost(). */
void links_probe(struct links *l, int64_t node_id);

#endif
