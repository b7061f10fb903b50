/* A listening socket: at most 16 accepts a callback, pauses when descriptors run out. */
#ifndef TEMPS_REACTOR_LISTENER_H
#define TEMPS_REACTOR_LISTENER_H

#include "base/text.h"
#include "reactor/loop.h"

struct listener;

/* Takes the descriptor (non-blocking, close-on-exec, TCP_NODELAY set) or closes it itself.
 * <peer> borrows. */
typedef void listener_accept_fn(void *arg, int take_fd, const struct addr *peer);

/* Binds and listens (SO_REUSEADDR, backlog 4096, IPV6_V6ONLY for v6). Port 0 lets the kernel
 * choose. Errors name the address: "listen on 127.0.0.1:80: Permission denied", and for
 * EADDRINUSE what to do next. */
int listener_open(struct listener **out, struct loop *l, const struct addr *at,
		  listener_accept_fn *accept, void *arg, struct err *err) MUST_CHECK;
/* The same on a unix socket path, mode 0600; a stale socket file is replaced, a live one is
 * -EADDRINUSE. */
int listener_open_unix(struct listener **out, struct loop *l, const char *path,
		       listener_accept_fn *accept, void *arg, struct err *err) MUST_CHECK;
/* One that another process of ours opened: <fd> listens already, and is that process's as well. <path>:
 * of a unix socket, else NULL. */
int listener_adopt(struct listener **out, struct loop *l, int take_fd, const char *path,
		   listener_accept_fn *accept, void *arg, struct err *err) MUST_CHECK;
int listener_fd(const struct listener *li);
/* A unix socket's file stays when the listener is closed: it is another process's now. */
void listener_disown(struct listener *li);
/* The bound address, with the port the kernel chose. */
const struct addr *listener_addr(const struct listener *li);
/* Stop and go on accepting: used at connection limits and for draining. Connections queue in the
 * kernel meanwhile. */
void listener_pause(struct listener *li);
void listener_resume(struct listener *li);
/* NULL is fine. Removes a unix socket's file, unless it was disowned. */
void listener_close(struct listener *li);

#endif
