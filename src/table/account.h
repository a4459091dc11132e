/* account: users and groups, looked up once for a whole table. */
#ifndef TABLE_ACCOUNT_H
#define TABLE_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "table/service.h"

struct account {
	struct account *next;
	char *asked;		/* owned: the name or number that was looked up */
	bool found;
	bool nameless;		/* a number that no account has */
	uid_t uid;
	gid_t gid;
	char *home, *login, *sh;	/* owned */
	gid_t *groups;		/* owned: all of them, gid first; NULL: not asked yet */
	size_t ngroups;
	struct environment *env;	/* held: what its services have in common; NULL: not made yet */
};

/* The user of that name or number, kept in *list. NULL: err, or there is none (err too). */
struct account *account_find(struct account **list, const char *name, struct err *err);

/* Fills in its groups, with `gid` in the place of the first. -1: err. */
int account_groups(struct account *a, gid_t gid, gid_t **groups, size_t *n, struct err *err);

int group_find(const char *name, gid_t *gid, struct err *err);

/* The name of a user, or a group, most like this one. False: none is near, or it is one. */
bool account_nearest(bool group, const char *name, char *out, size_t size);

void accounts_free(struct account **list);

#endif
