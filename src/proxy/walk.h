/* A walk over all upstreams of a front door, or over all their endpoints, that may take as many
 * turns as it likes: what is removed meanwhile is passed over, what is added may come. For listings
 * too long for one turn. */
#ifndef TEMPS_PROXY_WALK_H
#define TEMPS_PROXY_WALK_H

#include "proxy/upstream.h"

struct walk {
	struct list link; /* of front->walks */
	struct front *front;
	struct list *upstream;	/* the next one's link, or the list's end */
	struct list *endpoints; /* the list being walked, of the upstream before that, or NULL */
	struct list *endpoint;	/* the next one's link, or that list's end */
};

void walk_begin(struct walk *w, struct front *f);
void walk_end(struct walk *w); /* once, before the front goes */
/* The next one, NULL at the end. Not those that were destroyed and only wait for their last
 * request. A walk is for one of the two. */
struct upstream *walk_upstream(struct walk *w);
struct endpoint *walk_endpoint(struct walk *w);

/* For the files of this folder: <link> is about to leave its list. */
void walk_pass(struct front *f, struct list *link);
/* The upstream with this list of endpoints goes. */
void walk_leave(struct front *f, struct list *endpoints);

#endif
