/* environ: the environment of a service's children, as far as it is known before one connects. */
#ifndef TABLE_ENVIRON_H
#define TABLE_ENVIRON_H

#include "base/err.h"
#include "table/service.h"

struct account;

#define SAFE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Where programs are searched: the caller's PATH, or the safe one where passenv keeps it out. */
const char *environ_search_path(const struct service *s, char *const *env);

/*
 * Fills s->run.env: what is inherited, then HOME USER LOGNAME SHELL of `user`
 * (NULL: none), then `env`. No name
 * that speaks of a connection is among it. -1: err.
 */
int environ_make(struct service *s, const struct account *user, char *const *env, struct err *err);

/* Is it a variable that the server alone sets, of each connection? */
bool environ_of_connection(const char *variable);

#endif
