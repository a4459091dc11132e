/*
 * access: who may come, and when. Pure: rules and a peer in, a verdict and the rule that gave it out.
 *
 * The longer match wins, no_access on a tie. Address words judge network peers, user: and group:
 * judge UNIX peers; a kind for which a list holds no word is not restricted by that list. An
 * only_from that is given and empty lets nobody in.
 */
#ifndef POLICY_ACCESS_H
#define POLICY_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "net/addr.h"

enum rule_kind {
	RULE_NET,	/* the first `bits` of `ip` */
	RULE_DOMAIN,	/* .example.org: the peer's confirmed name ends so */
	RULE_NOBODY,	/* a host that cannot be resolved now: matches no one */
	RULE_USER, RULE_GROUP,
};

struct rule {
	enum rule_kind kind;
	unsigned bits;		/* how narrow: more wins */
	struct ip ip;
	unsigned id;		/* uid or gid */
	char *word;		/* owned: as it was written; of a domain its name */
};

struct rules {
	struct rule *rule;	/* owned */
	size_t n;
	bool given;		/* the list was written, if only to be empty */
};

/* A remark about a word that is accepted: text is one sentence. */
typedef void access_note(void *arg, const char *text);

/*
 * Adds what a word means to the list: an address in any form of xinetd's page, a network with a
 * prefix or a mask, a name from /etc/networks, a host's name (resolved here), .domain, user:NAME,
 * group:NAME. With `closed` a host that cannot be resolved is an error (no_access); without, it
 * matches nobody and is noted. -1: err.
 */
int rules_add(struct rules *r, const char *word, bool closed, access_note *note, void *arg,
    struct err *err);

/* Takes away every rule written with that very word. False: there is none. */
bool rules_remove(struct rules *r, const char *word);

void rules_free(struct rules *r);

/* -1: no memory; what was copied so far is in `to`. */
int rules_copy(struct rules *to, const struct rules *from);

/* Is there a rule that needs the peer's name? */
bool rules_need_name(const struct rules *r);

/*
 * May this peer come? `name` is its confirmed host name, NULL: not known, so that no domain
 * matches. *why (may be NULL) is set to the rule that decided, or NULL.
 */
bool access_allows(const struct rules *only_from, const struct rules *no_access,
    const struct peer *peer, const char *name, const struct rule **why);

/*
 * Could the peer's name, which nobody could find out, be one that this no_access keeps out, though `than`
 * lets the peer in (NULL: nothing but the default does)?
 */
bool rules_might_deny(const struct rules *no_access, const struct rule *than);

/* Times of day in minutes, from included, to excluded (24:00 is 1440); from > to crosses midnight. */
struct interval {
	short from, to;
};

/* Reads H:M-H:M. False: it is not that. */
bool interval_parse(const char *word, struct interval *out);
bool interval_holds(const struct interval *i, size_t n, int minute);

#endif
