/* An intrusive doubly linked list with a sentinel. A link that is on no list points to itself. */
#ifndef TEMPS_BASE_LIST_H
#define TEMPS_BASE_LIST_H

#include "base/base.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *link)
{
	link->prev = at->prev;
	link->next = at;
	at->prev->next = link;
	at->prev = link;
}

static inline void list_push_back(struct list *l, struct list *link)
{
	list_insert_before(l, link);
}

static inline void list_push_front(struct list *l, struct list *link)
{
	list_insert_before(l->next, link);
}

/* Safe on a link that is on no list. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

#define LIST_ENTRY(link, type, member) CONTAINER_OF(link, type, member)
#define LIST_FIRST(l, type, member) (list_empty(l) ? NULL : LIST_ENTRY((l)->next, type, member))
#define LIST_LAST(l, type, member) (list_empty(l) ? NULL : LIST_ENTRY((l)->prev, type, member))
#define LIST_FOR_EACH(var, l, type, member)                                     \
	for (type *var = LIST_ENTRY((l)->next, type, member); &var->member != (l); \
	     var = LIST_ENTRY(var->member.next, type, member))
/* The body may remove <var>. */
#define LIST_FOR_EACH_SAFE(var, l, type, member)                                                 \
	for (type *var = LIST_ENTRY((l)->next, type, member),                                     \
		  *var##_next = LIST_ENTRY(var->member.next, type, member);                       \
	     &var->member != (l);                                                                 \
	     var = var##_next, var##_next = LIST_ENTRY(var->member.next, type, member))

#endif
