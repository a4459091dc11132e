#include "table/conf.h"

#include <string.h>
#include <strings.h>

/* Finds the { behind the name. False: there is none. */
static bool
open_block(struct conf *c, struct lex *l, struct entry *e, const struct word *keyword)
{
	unsigned line = l->line;

	if (!lex_skip(l)) {
		conf_broken(c, l->in, keyword, NULL, "%s: the table ends before its {", keyword->text);
		return false;
	}
	if (*l->p != '{' && l->line == line) {
		struct word junk = lex_here(l);

		conf_warn(c, l->in, &junk, NULL, "only { may stand behind the name; this is ignored, as in xinetd");
		while (!lex_at_end(l) && *l->p != '{')
			l->p++;
		if (!lex_skip(l)) {
			conf_broken(c, l->in, keyword, NULL, "%s: the table ends before its {", keyword->text);
			return false;
		}
	}
	if (*l->p != '{') {
		struct word at = lex_here(l);

		conf_broken(c, l->in, &at, NULL, "a { is missing before this, to begin the block of %s",
		    e->name.text);
		e->faulty = true;
		return true;	/* as if it stood there */
	}
	l->p++;
	return true;
}

static bool
take_operator(struct lex *l, enum attr_op *op)
{
	const char *p;

	lex_blanks(l);
	p = l->p;
	if (p < l->end && *p == '=') {
		*op = ATTR_SET;
		l->p++;
		return true;
	}
	if (p + 1 < l->end && (*p == '+' || *p == '-') && p[1] == '=') {
		*op = *p == '+' ? ATTR_ADD : ATTR_REMOVE;
		l->p += 2;
		return true;
	}
	return false;
}

/* Characters that a web page puts in the place of - and ". */
static void
look_at_typography(struct conf *c, const struct lex *l, const struct word *w)
{
	if (strncmp(w->text, "\xe2\x80\x93", 3) == 0 || strncmp(w->text, "\xe2\x80\x94", 3) == 0)
		conf_warn(c, l->in, w, "write - or --", "the word begins with a dash that is no hyphen, as web "
		    "pages make it; the program gets it so");
	else if (strncmp(w->text, "\xe2\x80\x9c", 3) == 0 || strncmp(w->text, "\xe2\x80\x98", 3) == 0)
		conf_warn(c, l->in, w, "write \" or '", "the word begins with a typographic quote, as web pages "
		    "make it; it encloses nothing");
}

static bool
is_brace(const struct word *w, char brace)
{
	return !w->quoted && w->text[0] == brace && w->text[1] == '\0';
}

/* Does the last word close a { among the words before it? */
static bool
is_opened(const struct lex *l)
{
	size_t open = 0;

	for (size_t i = 0; i + 1 < l->n; i++) {
		if (is_brace(&l->word[i], '{'))
			open++;
		else if (is_brace(&l->word[i], '}') && open > 0)
			open--;
	}
	return open > 0;
}

/* A \ at a line's end that was meant as itself, C:\dir\, would swallow an attribute. */
static void
look_at_joined(struct conf *c, struct lex *l, struct entry *e, const struct word *name)
{
	for (size_t i = 0; i + 1 < l->n; i++) {
		const struct word *w = &l->word[i];

		if (w->line == name->line || (i > 0 && l->word[i - 1].line == w->line) || w->quoted ||
		    (attr_find(w->text) == NULL && strchr(w->text, '=') == NULL))
			continue;
		if (l->word[i + 1].text[strspn(l->word[i + 1].text, "+-")] != '=')
			continue;
		conf_error(c, l->in, w, "a \\ that is to stand at the end of a line is written \\\\ in \"...\"",
		    "this line continues the one before it, by the \\ at its end, and looks like an attribute");
		e->faulty = true;
	}
}

/* The value's words. -1: not to be used; 1: a } behind them closes the block; 0. */
static int
take_value(struct conf *c, struct lex *l, struct entry *e, const struct attr *row,
    const struct word *name, struct word *line)
{
	enum quotes quotes = c->dialect == DIALECT_XINETD ? QUOTES_NONE : QUOTES_WHOLE;
	bool free_list = row != NULL && (strcmp(row->name, "server_args") == 0 || strcmp(row->name, "env") == 0);
	int closes = 0;

	if (row != NULL && (row->flags & ATTR_LINE) != 0) {
		if (!lex_rest(l, line))
			return -1;
		return 0;
	}
	if (row != NULL && (row->flags & ATTR_SHELL) != 0)
		quotes = QUOTES_SHELL;
	/* xinetd has no comment behind a value, and would lose a limit for it; words may be meant. */
	l->comments = !(c->dialect == DIALECT_XINETD && free_list);
	if (!lex_words(l, quotes, false)) {
		l->comments = true;
		if (l->fault != NULL) {
			conf_error(c, l->in, &l->fault_at, NULL, "%s: %s", name->text, l->fault);
			e->faulty = true;
		}
		return -1;
	}
	l->comments = true;
	if (l->comment.text != NULL)
		conf_warn(c, l->in, &l->comment, NULL, "a comment from here on; xinetd takes it for a part of "
		    "the value");
	else if (l->n > 0 && quotes != QUOTES_SHELL && !(c->dialect == DIALECT_XINETD && free_list) &&
	    is_brace(&l->word[l->n - 1], '}') && !is_opened(l)) {
		l->n--;
		closes = 1;
	}
	look_at_joined(c, l, e, name);
	for (size_t i = 0; i < l->n; i++) {
		const struct word *w = &l->word[i];

		look_at_typography(c, l, w);
		if (c->checking && w->quoted && quotes == QUOTES_WHOLE && free_list)
			conf_warn(c, l->in, w, NULL, "the quotes are taken off; xinetd keeps them");
	}
	return closes;
}

/* NAME op VALUE. True: the block is closed. */
static bool
attribute(struct conf *c, struct lex *l, struct entry *e)
{
	const struct attr *row;
	struct word name, line = { .text = NULL };
	enum attr_op op;
	int closes;

	if (!lex_name(l, "=+", &name))
		return true;
	/* `-` may be a part of a wrong name; of an operator only before =. */
	if (strlen(name.text) > 1 && name.text[strlen(name.text) - 1] == '-' && l->p < l->end && *l->p == '=') {
		name = conf_part(c, &name, 0, strlen(name.text) - 1);
		l->p--;
	}
	if (strcmp(name.text, "{") == 0) {
		conf_error(c, l->in, &name, NULL, "the block of %s is open already", e->name.text);
		e->faulty = true;
		return false;
	}
	if (name.text[0] == '\0') {
		conf_error(c, l->in, &name, NULL, "an attribute's name is missing before the operator");
		e->faulty = true;
		lex_next_line(l);
		return false;
	}
	if (!take_operator(l, &op)) {
		struct word at = lex_at_end(l) ? name : lex_here(l);

		if (strcasecmp(name.text, "service") == 0 || strcasecmp(name.text, "defaults") == 0 ||
		    strncasecmp(name.text, "include", 7) == 0) {
			/* The next block begins: this one was not closed. */
			conf_broken(c, l->in, &name, NULL, "a } is missing before this, to end the block of %s "
			    "(line %u)", e->name.text, e->name.line);
			e->faulty = true;
			l->p = name.at;
			l->line = name.line;
			l->bol = name.at - (name.col - 1);
			return true;
		}
		conf_error(c, l->in, &at, conf_meant(c, attr_find(name.text) == NULL ? attr_nearest(name.text) : NULL),
		    "%s: no operator behind it; an attribute is NAME = VALUE", name.text);
		e->faulty = true;
		lex_next_line(l);
		return false;
	}
	row = attr_find(name.text);
	closes = take_value(c, l, e, row, &name, &line);
	if (closes >= 0)
		(void)conf_assign(c, e, row, op, &name, line.text != NULL ? &line : l->word,
		    line.text != NULL ? 1 : l->n);
	return closes == 1;
}

void
conf_block(struct conf *c, struct lex *l, const struct word *keyword, bool defaults)
{
	struct word name = *keyword;
	struct entry *e;

	if (!defaults) {
		lex_blanks(l);
		if (!lex_name(l, "{", &name))
			return;
	}
	e = conf_entry(c, l->in, defaults ? ENTRY_DEFAULTS : ENTRY_BLOCK, &name);
	if (e == NULL)
		return;
	if (name.text[0] == '\0') {
		conf_error(c, l->in, keyword, NULL, "service: no name behind it");
		e->name = *keyword;
		e->faulty = true;
	}
	if (!open_block(c, l, e, keyword)) {
		e->faulty = true;
		return;
	}
	for (;;) {
		if (!lex_skip(l)) {
			conf_broken(c, l->in, keyword, NULL, "the block of %s is not closed: the table ends before "
			    "its }", e->name.text);
			e->faulty = true;
			return;
		}
		if (*l->p == '}') {
			l->p++;
			lex_blanks(l);
			if (lex_at_end(l) && !lex_over(l))
				lex_next_line(l);
			return;
		}
		if (attribute(c, l, e) || l->no_memory)
			return;
	}
}
