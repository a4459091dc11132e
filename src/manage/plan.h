/*
 * plan: what is to be served, as the tables say it: the form in which one process tells it to
 * another. The master reads no table itself once it serves: a process of its own does, and sends the
 * entries that are new or changed, and of the others that they are as they were.
 */
#ifndef MANAGE_PLAN_H
#define MANAGE_PLAN_H

#include "table/service.h"
#include "table/table.h"

enum planned_state {
	PLANNED_ON,		/* new, or changed */
	PLANNED_SAME,		/* on, and as the receiver has it */
	PLANNED_OFF,		/* by `disable` or the like */
	PLANNED_FAULTY,		/* its last good version stays in force */
};

struct planned {		/* an entry */
	enum planned_state state;
	uint64_t print;		/* of what it says: equal for equal entries of one server; while on */
	char *id;		/* owned; NULL: SAME, whose unit has it */
	char *fault;		/* owned: what is wrong, if faulty; NULL: nothing */
	struct service *service;	/* held; ON only */
	struct address *listen;	/* owned; ON only */
	size_t nlisten;
};

struct plan {
	struct planned *item;	/* owned; in the order of the table */
	size_t n, on;		/* those that are served */
	struct service *defaults;	/* held: what is of the whole server; NULL: of a refused one */
	char *refused;		/* owned: why nothing of it may be taken; NULL: it may */
	char *shown;		/* owned: the diagnostics as people read them */
	char *lines;		/* owned: the same, a line each, as in a log */
	size_t errors, warnings;
};

/* Is there a unit with that print that no entry before had? Asked once for each entry. */
typedef bool plan_known(void *arg, uint64_t print);

/* Writes what a table says. known NULL: nothing is. A lack of memory is out->failed. */
void plan_of_table(const struct table *t, plan_known *known, void *arg, struct buf *out);

/* The same for one service, which is its own defaults. */
void plan_of_service(const struct service *s, struct buf *out);

/* Reads it. -1: err, it is not whole, or there is no memory; then nothing is in *p. */
int plan_read(struct plan *p, const char *bytes, size_t len, struct err *err);
void plan_free(struct plan *p);

#endif
