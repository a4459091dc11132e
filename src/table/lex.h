/* lex: text to words with line and column. Knows blanks, quotes, comments and continued lines. */
#ifndef TABLE_LEX_H
#define TABLE_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "table/diag.h"

struct word {
	const char *text;	/* in the arena, NUL behind it */
	const char *at;		/* its first byte in the source */
	unsigned line, col;
	bool quoted;
};

enum quotes {
	QUOTES_NONE,		/* are characters like others */
	QUOTES_WHOLE,		/* "…" and '…' around a whole word; in "…" \" \\ \n \r \t \xHH */
	QUOTES_ANY,		/* anywhere in a word; in "…" \" and \\ */
	QUOTES_SHELL,		/* the same, and \ takes the next character as it stands */
};

struct lex {
	const struct source *in;
	const char *p, *end;
	const char *bol;	/* where the line begins */
	unsigned line;
	bool joins;		/* a \ at a line's end continues it */
	bool comments;		/* a # that begins a word begins a comment */
	struct arena *arena;	/* borrowed */
	struct word *word;	/* owned: those of lex_words */
	size_t n, size;
	struct word comment;	/* where a comment cut the words; text NULL: none did */
	const char *fault;	/* what is wrong with a word; NULL: nothing */
	struct word fault_at;
	bool no_memory;
};

void lex_begin(struct lex *l, const struct source *in, struct arena *arena);
void lex_free(struct lex *l);

/* Nothing is left of the text. */
bool lex_over(const struct lex *l);

/* At the end of a line, or of the text? */
bool lex_at_end(const struct lex *l);

/* Goes over blanks, and over line ends that are continued. */
void lex_blanks(struct lex *l);

/* Goes to the beginning of the next line; what is left of this one is dropped. */
void lex_next_line(struct lex *l);

/*
 * Reads words up to the line's end, after those that are there if `more`. A comment ends them.
 * False: fault says what is wrong; the rest of the line is dropped.
 */
bool lex_words(struct lex *l, enum quotes quotes, bool more);

/* One word of characters that are not blank and not in `stop`. Its text may be empty. */
bool lex_name(struct lex *l, const char *stop, struct word *out);

/* The rest of the line as it stands, without the blanks around it. */
bool lex_rest(struct lex *l, struct word *out);

/* The place that is read next, as an empty word. */
struct word lex_here(const struct lex *l);

/* Goes over blanks, line ends and comments. False: the text is over. */
bool lex_skip(struct lex *l);

#endif
