/*
 * entry: what one entry assigns, put into a service and checked. What is wrong is told at the word it is
 * about and makes the entry faulty; what would only follow from it is not told.
 */
#ifndef TABLE_ENTRY_H
#define TABLE_ENTRY_H

#include "table/table.h"

struct apply {			/* an entry on its way: t and e are the caller's to set */
	struct table *t;
	struct entry *e;
	const struct assign *a;	/* the one that is looked at */
	size_t skipped;		/* words of it that were told already */
	uint64_t wrong[2];	/* bit n: row n, or what stands for it, has a value that is none */
	uint64_t doubtful[2];	/* bit n: what is remarked about row n only follows from such a value */
};

/* Each assignment in its order, also behind a faulty one. */
void entry_apply(struct apply *k, struct service *s);

/* Its name, and unless it is off all that check_service looks at. */
void entry_check(struct apply *k, struct service *s);

/* Was that attribute, or one that stands for it, given a value that is none? */
bool entry_was_wrong(const struct apply *k, const char *attr);

/* The entry's, or defaults', last assignment of an attribute; NULL: none. *of: the entry it is in. */
const struct assign *entry_assign(const struct table *t, const struct entry *e, const char *attr,
    const struct entry **of);

/* The n-th word of an entry's list, which several += may have made. NULL: not found. */
const struct word *entry_list_word(const struct entry *e, const char *attr, int n);

/* The word that names an entry which may be faulty: its id, if that could be taken, else its name. */
const char *entry_id(const struct entry *e);

#endif
