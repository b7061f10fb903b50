/* Telling systemd: sd_notify(3)'s datagram, on path and abstract sockets. */
#ifndef TEMPS_REACTOR_NOTIFY_H
#define TEMPS_REACTOR_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=…". Does nothing without NOTIFY_SOCKET; failures are ignored. */
void notify_systemd(const char *state);

#endif
