/* site: the built-in service `status`: what it answers to which request. */
#ifndef MANAGE_SITE_H
#define MANAGE_SITE_H

#include "manage/status.h"

/*
 * Answers the client on fd, in a process of its own, which is nobody's by then. `s` is as it was when
 * the client came.
 */
void site_answer(struct status *s, const struct service *conf, const struct peer *peer, int fd);

#endif
