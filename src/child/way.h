/* way: how children can be started on this system. */
#ifndef CHILD_WAY_H
#define CHILD_WAY_H

#include <stdbool.h>

#include "child/raw.h"

/* Is the fast one compiled? Not on every processor, and not where another is forced. */
#if defined(RAW_NATIVE) && !defined(SPAWN_FORCE_VFORK) && !defined(SPAWN_FORCE_FORK)
#define WAY_ASYNC 1
#endif

enum spawn_way { SPAWN_ASYNC, SPAWN_VFORK, SPAWN_FORK };

/* The best that works here; a child tries what the fast one needs. */
enum spawn_way way_find(void);

/* Is fs.suid_dumpable 1, or not known? Then other users' children must not share the memory. */
bool way_ids_unsafe(void);

#endif
