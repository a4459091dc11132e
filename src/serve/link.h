/*
 * link: one connection in the worker, from its job to its end: a built-in's, answered here, or a
 * relay's (relay.c). What becomes of it is told in reports.
 */
#ifndef SERVE_LINK_H
#define SERVE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"
#include "serve/job.h"

struct links;			/* all there are; they live as long as the process */

/* Of the worker's descriptors the parts that connections may have that only linger, and pipes. */
enum { LINGERING_PART = 8, PIPES_PART = 8 };

enum { LINK_REPORTS = 2 };	/* of one, at most: idle or no target; its end */

/* A report, to be filled in at once. Cannot fail: who takes a job has room for all of its link. */
typedef struct report *link_report(void *arg, uint64_t number, enum report_kind kind);

/* NULL: no memory. */
struct links *links_new(struct loop *loop, link_report *report, void *arg);

/* Takes fd. False: no memory, and fd is the caller's. */
bool links_take(struct links *in, const struct job *j, int fd);

/* As the master wants it; number 0: all. */
void links_end(struct links *in, uint64_t number);

unsigned links_number(const struct links *in);

/* Have some more to do at once? Then a turn for each of them. */
bool links_busy(const struct links *in);
void links_run(struct links *in);

#endif
