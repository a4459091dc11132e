/* ask: serverctl's end of the control socket: one request, and its answer to the standard streams. */
#ifndef MANAGE_ASK_H
#define MANAGE_ASK_H

#include "base/buf.h"
#include "base/err.h"

/*
 * Sends the words and waits for the end of the answer. Lines for standard output go to `out`, or
 * there if it is NULL; the others to standard error. The answer's exit status; -1: err, no server
 * answers (err->system: the reason; EINTR: a signal came), or its answer is not whole.
 */
int ask(const char *path, char *const *word, size_t nwords, struct buf *out, struct err *err);

#endif
