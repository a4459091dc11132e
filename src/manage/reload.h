/*
 * reload: the tables are read again by a process of its own, which sends a plan; so a slow disk, a
 * slow name server or a broken table costs the master nothing. Reloads come one after the other.
 */
#ifndef MANAGE_RELOAD_H
#define MANAGE_RELOAD_H

#include "manage/plan.h"
#include "serve/engine.h"

struct config {			/* what the tables are read from; lives as long as the server */
	char *const *file;	/* their names; absolute, if the server goes to / */
	size_t nfiles;
	char *const *option;	/* -o */
	size_t noptions;
	const struct master *master;
};

struct reload;

/* What became of one. p is the plan, to be taken; NULL: `why` there is none. */
typedef void reload_done(void *arg, struct plan *p, const char *why);

/* One begins; done is called for each. */
typedef void reload_begun(void *arg);

/* config NULL: there is no table. NULL: no memory. */
struct reload *reload_new(struct engine *e, const struct config *c, reload_begun *begun, reload_done *done,
    void *arg);
void reload_free(struct reload *r);

/* Why there can be none; NULL: there can. */
const char *reload_refused(const struct reload *r);

/*
 * Asks for one that reads the tables as they are now. Returns its number: reload_number() is that
 * while done is called for it, or higher.
 */
uint64_t reload_begin(struct reload *r);
uint64_t reload_number(const struct reload *r);

/* Is one going on? Is another one to follow? */
bool reload_runs(const struct reload *r);
bool reload_again(const struct reload *r);

/* While they are held back none begins: those that are asked for follow as one. */
void reload_hold(struct reload *r, bool back);

/*
 * `enable` and `disable`: such an entry is on, or off, whatever the table says, at every reload from
 * now on. -1: no memory.
 */
int reload_override(struct reload *r, const char *id, bool on);

/* m is as the next reload's: with those words, which it borrows, and with what is known of inherited sockets. */
void reload_overrides(const struct reload *r, struct master *m);

/* For a successor: records of kind "override", for reload_override. */
void reload_carry(const struct reload *r, struct buf *out);

#endif
