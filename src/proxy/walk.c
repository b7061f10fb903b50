/* Walks stand beside the lists: whoever removes something moves them on. */
#include "proxy/walk.h"

#include "proxy/endpoint.h"
#include "proxy/front_inner.h"

void walk_begin(struct walk *w, struct front *f)
{
	*w = (struct walk){ .front = f, .upstream = f->upstreams.next };
	list_push_back(&f->walks, &w->link);
}

void walk_end(struct walk *w)
{
	list_remove(&w->link);
}

struct upstream *walk_upstream(struct walk *w)
{
	while (w->upstream != &w->front->upstreams) {
		struct upstream *u = LIST_ENTRY(w->upstream, struct upstream, link);

		w->upstream = w->upstream->next;
		if (!u->target.dead)
			return u;
	}
	return NULL;
}

struct endpoint *walk_endpoint(struct walk *w)
{
	struct list *found;

	while (w->endpoint == w->endpoints) {
		struct upstream *u = walk_upstream(w);

		if (!u)
			return NULL;
		w->endpoints = &u->endpoints;
		w->endpoint = u->endpoints.next;
	}
	found = w->endpoint;
	w->endpoint = found->next;
	return LIST_ENTRY(found, struct endpoint, link);
}

void walk_pass(struct front *f, struct list *link)
{
	LIST_FOR_EACH(w, &f->walks, struct walk, link) {
		if (w->upstream == link)
			w->upstream = link->next;
		if (w->endpoint == link)
			w->endpoint = link->next;
	}
}

void walk_leave(struct front *f, struct list *endpoints)
{
	LIST_FOR_EACH(w, &f->walks, struct walk, link)
		if (w->endpoints == endpoints)
			w->endpoints = w->endpoint = NULL;
}
