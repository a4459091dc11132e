/*
 * builtin: the datagram services without a program, answered by the master itself: echo, discard,
 * chargen, daytime, time (RFC 862 to 868). They never answer another such service's port, a port
 * below 512, a broadcast or a group, and send no more than they received, where only_from does not
 * say to whom.
 */
#ifndef SERVE_BUILTIN_H
#define SERVE_BUILTIN_H

#include "serve/listener.h"

listener_take builtin_take;

/* Its port is a built-in's, from now on or no more. -1: no memory. */
int builtin_open(struct engine *e, const struct bound *b);
void builtin_close(struct engine *e, const struct bound *b);

/* One turn of chargen's lines from character `first` on: 74 bytes with CR LF, no NUL. */
enum { CHARGEN_LINE = 74, CHARGEN_LINES = 95 };
void chargen_line(char out[CHARGEN_LINE], unsigned first);

/* What daytime and time say now. Returns its length. */
enum { DAYTIME_MOST = 40 };
size_t daytime_text(char out[DAYTIME_MOST]);
size_t time_bytes(char out[4]);

#endif
