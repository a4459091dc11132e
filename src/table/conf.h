/*
 * conf: a table's text as a list of entries, each a list of assignments; two grammars, one outcome.
 * Nothing is looked up here, and no file is opened but through `include`. Faults go to diags.
 *
 * conf.c reads statements, conf_block.c blocks, conf_inetd.c classic lines, conf_pairs.c NetBSD's
 * key-value entries. table.c reads the files and makes services of the entries.
 */
#ifndef TABLE_CONF_H
#define TABLE_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "table/attr.h"
#include "table/diag.h"
#include "table/lex.h"

struct assign {			/* NAME = WORD… */
	struct assign *next;
	const struct attr *row;	/* NULL: there is no such attribute */
	enum attr_op op;
	struct word name;	/* as it was written; of a field of a line that field */
	struct word *word;	/* in the arena */
	size_t n;
	bool field;		/* it comes from a field of a line */
};

enum entry_kind { ENTRY_BLOCK, ENTRY_DEFAULTS, ENTRY_LINE, ENTRY_NONE };	/* NONE: parsed, and no more */

struct entry {
	struct entry *next;
	enum entry_kind kind;
	const struct source *in;
	struct word name;
	struct assign *first, **last;
	bool faulty;
	const char *id;			/* what it is called by then; NULL: its name */
	bool off;			/* whatever it says itself; known if it is faulty */
	bool asleep;			/* by itself or otherwise; the same */
};

enum { ENTRIES_MOST = 20000 };	/* of a table: what reads it is to do with the memory of a small machine */

struct conf;

/*
 * include, includedir: reads them in place by conf_parse. `arg` is the conf's; `pattern`: the path
 * may be one, as NetBSD's .include takes it.
 */
typedef void conf_include(void *arg, struct conf *c, const struct source *from,
    const struct word *path, bool directory, bool pattern);

struct conf {
	struct arena arena;
	enum dialect dialect;
	struct diags *diags;		/* borrowed */
	struct entry *first, **last;
	conf_include *include;		/* NULL: includes are not followed */
	bool (*is_user)(void *arg, const char *name);	/* is there such a user? NULL: nobody knows */
	void *arg;
	bool broken;			/* a fault outside an entry */
	bool no_memory;
	size_t entries;
	bool full;			/* there were too many, which was told */
	bool checking;			/* -t: more remarks */
	bool said_crlf, said_ipsec;
	const struct word *address;	/* of a default-address line; NULL: every one */
};

void conf_begin(struct conf *c, enum dialect dialect, struct diags *diags);
void conf_free(struct conf *c);

/* Adds the entries of a text. The text must live as long as the conf. */
void conf_parse(struct conf *c, const struct source *in);

/* --- for the two grammars */

/* A place of a source. */
struct place conf_place(const struct source *in, const struct word *w);

/* Says something about a word. The hint may be NULL. */
void conf_error(struct conf *c, const struct source *in, const struct word *w, const char *hint,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void conf_warn(struct conf *c, const struct source *in, const struct word *w, const char *hint,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The same, for a fault that is not within one entry. */
void conf_broken(struct conf *c, const struct source *in, const struct word *w, const char *hint,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

struct entry *conf_entry(struct conf *c, const struct source *in, enum entry_kind kind,
    const struct word *name);

/* Copies the words. NULL: no memory. */
struct assign *conf_assign(struct conf *c, struct entry *e, const struct attr *row, enum attr_op op,
    const struct word *name, const struct word *word, size_t n);

/* A word's part from `off` on, `len` bytes of it, with its column. */
struct word conf_part(struct conf *c, const struct word *w, size_t off, size_t len);

/* What a word is near to: "did you mean X?", or NULL. */
const char *conf_meant(struct conf *c, const char *near);

/* conf_block: the block whose keyword was just read. */
void conf_block(struct conf *c, struct lex *l, const struct word *keyword, bool defaults);

/* conf_inetd: the words of a line. */
void conf_line(struct conf *c, struct lex *l);

/* Does the line of these words stand for itself, whatever stands before it? */
bool conf_line_whole(const struct word *w, size_t n);
bool conf_socket_word(const char *word);

/* conf_pairs: the entry NAME on|off … ; at the lexer's place. */
void conf_pairs(struct conf *c, struct lex *l);

#endif
