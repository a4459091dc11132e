/*
 * handover: wait = yes, and FIFOs. One command at a time gets the listening socket itself, and the
 * server looks at it again when that one has ended. A command that ends and leaves there what was
 * there is started again, but after a growing pause.
 */
#ifndef SERVE_HANDOVER_H
#define SERVE_HANDOVER_H

#include "serve/listener.h"

listener_take handover_take;

/* Before it is listened on: of UNIX datagrams the sender is asked for where a rule needs it. */
void handover_prepare(const struct listener *l, int fd);

/* Who sent the first datagram was refused by the name that was found: it is read and dropped. */
void handover_drop(struct listener *l);

/* The listener's command has ended, having run for so many ms. */
void handover_over(struct listener *l, int64_t ran);

#endif
