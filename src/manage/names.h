/*
 * names: the command lines that server takes when it is started under another program's name: that
 * of xinetd(8), and that of inetd(8) as Debian, FreeBSD and busybox have it. All that differs then
 * is said in struct options; the start is the same.
 */
#ifndef MANAGE_NAMES_H
#define MANAGE_NAMES_H

#include "manage/options.h"

/* Is argv[0] such a name? */
bool names_other(char **argv);

/* As options_read. What an option does not do here is a warning. */
int names_read(struct options *o, int argc, char **argv, bool resumes);

#endif
