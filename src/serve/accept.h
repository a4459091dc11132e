/* accept: connections, as they come: admitted, refused or left in the kernel's queue. */
#ifndef SERVE_ACCEPT_H
#define SERVE_ACCEPT_H

#include "serve/listener.h"

listener_take accept_take;

/*
 * Decides about one peer and serves or refuses it. Takes fd; `told` is whom it asked, if a header
 * said so; NULL: the socket knows. False: it is
 * kept until there is a process for it, the listener should pause (errno says why).
 */
bool accept_peer(struct unit *u, int fd, const struct peer *peer, const struct addr *told);

/* The same for who was led here by tcpmux, and is told `yes` or `no` first. */
void accept_muxed(struct unit *u, int fd, const struct peer *peer, const char *yes, const char *no);

#endif
