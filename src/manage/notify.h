/*
 * notify: tells systemd, or who else listens on NOTIFY_SOCKET, how things stand: the datagrams of
 * sd_notify(3), without its library. Nothing here waits, and nothing that goes wrong here matters
 * to the service.
 */
#ifndef MANAGE_NOTIFY_H
#define MANAGE_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "net/loop.h"

struct notify;

/* Adds a sentence about how things stand. */
typedef void notify_sentence(void *arg, struct buf *out);

/*
 * Looks at NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which may also name the process that this
 * one was in the foreground (0: none). NULL: nobody wants to know; all below is nothing then.
 */
struct notify *notify_new(struct loop *l, pid_t foreground, notify_sentence *sentence, void *arg);
void notify_free(struct notify *n);

/*
 * All is bound or was tried, or a reload is over. first: the text is added there, for the process
 * that the manager knows to send it (notify_send); NULL: it is sent.
 */
void notify_ready(struct notify *n, struct buf *first);

/* A reload begins; notify_ready is its end. */
void notify_reloading(struct notify *n);

/* The end begins. */
void notify_stopping(struct notify *n);

/* The sentence is another one: it is told soon. */
void notify_changed(struct notify *n);

/* Sends one text, from a process that has nothing else to do. */
void notify_send(const char *text, size_t len);

#endif
