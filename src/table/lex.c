#include "table/lex.h"

#include <stdlib.h>
#include <string.h>

void
lex_begin(struct lex *l, const struct source *in, struct arena *arena)
{
	*l = (struct lex){ .in = in, .p = in->text, .end = in->text + in->len, .bol = in->text,
		.line = 1, .joins = true, .comments = true, .arena = arena };
}

void
lex_free(struct lex *l)
{
	free(l->word);
	l->word = NULL;
	l->n = l->size = 0;
}

bool
lex_over(const struct lex *l)
{
	return l->p == l->end;
}

/* The length of the line end at p: LF, CR LF, or a CR at the end of the text. 0: none is there. */
static size_t
line_end(const struct lex *l, const char *p)
{
	if (p < l->end && *p == '\n')
		return 1;
	if (p < l->end && *p == '\r' && (p + 1 == l->end || p[1] == '\n'))
		return p + 1 == l->end ? 1 : 2;
	return 0;
}

bool
lex_at_end(const struct lex *l)
{
	return l->p == l->end || line_end(l, l->p) > 0;
}

/* A \ with the line's end behind it; 0: none, else the length of both. */
static size_t
join(const struct lex *l, const char *p)
{
	bool odd = true;
	size_t n;

	if (!l->joins || p == l->end || *p != '\\')
		return 0;
	/* Two of them are one that stands for itself, as in a shell. */
	for (const char *q = p; q > l->in->text && q[-1] == '\\'; q--)
		odd = !odd;
	if (!odd)
		return 0;
	n = line_end(l, p + 1);
	return n > 0 || p + 1 == l->end ? n + 1 : 0;
}

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

static void
begin_line(struct lex *l)
{
	l->bol = l->p;
	l->line++;
}

void
lex_blanks(struct lex *l)
{
	for (;;) {
		size_t n = join(l, l->p);

		if (n > 0) {
			l->p += n;
			begin_line(l);
		} else if (l->p < l->end && blank(*l->p)) {
			l->p++;
		} else {
			return;
		}
	}
}

void
lex_next_line(struct lex *l)
{
	const char *nl = memchr(l->p, '\n', (size_t)(l->end - l->p));

	l->p = nl != NULL ? nl + 1 : l->end;
	begin_line(l);
}

struct word
lex_here(const struct lex *l)
{
	return (struct word){ .text = "", .at = l->p, .line = l->line, .col = (unsigned)(l->p - l->bol) + 1 };
}

static bool
add_word(struct lex *l, const struct word *w)
{
	if (l->n == l->size) {
		size_t size = l->size == 0 ? 32 : l->size * 2;
		struct word *p = realloc(l->word, size * sizeof *p);

		if (p == NULL) {
			l->no_memory = true;
			return false;
		}
		l->word = p;
		l->size = size;
	}
	l->word[l->n++] = *w;
	return true;
}

static bool
bad(struct lex *l, const struct word *at, const char *why)
{
	l->fault = why;
	l->fault_at = *at;
	lex_next_line(l);
	return false;
}

static bool
keep(struct lex *l, struct word *w, const char *text, size_t len)
{
	w->text = arena_text(l->arena, text, len);
	if (w->text == NULL)
		l->no_memory = true;
	return w->text != NULL;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What a backslash in "…" of a block stands for; moves *p behind it. */
static char
escape(const char **p, const char *end)
{
	const char *s = *p + 1;		/* behind the backslash */

	*p = s + 1;
	switch (*s) {
	case '"':
	case '\\':
		return *s;
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'x':
		if (s + 2 < end && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0 &&
		    (hex_digit(s[1]) | hex_digit(s[2])) != 0) {
			*p = s + 3;
			return (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
		}
		break;
	}
	*p = s;
	return '\\';
}

/*
 * A word that is quoted as a whole. 1: it was; 0: the quote does not enclose a whole word, so it is
 * a character; -1: it is not closed, or there is no memory.
 */
static int
quoted_word(struct lex *l, struct word *w)
{
	char quote = *l->p, *text, *o;
	const char *p = l->p + 1;

	while (p < l->end && *p != quote && line_end(l, p) == 0)
		p += quote == '"' && *p == '\\' && p + 1 < l->end && line_end(l, p + 1) == 0 ? 2 : 1;
	if (p >= l->end || *p != quote) {
		(void)bad(l, w, quote == '"' ? "a \" is not closed" : "a ' is not closed");
		return -1;
	}
	if (p + 1 < l->end && !blank(p[1]) && line_end(l, p + 1) == 0)
		return 0;
	o = text = arena_get(l->arena, (size_t)(p - l->p));
	if (text == NULL) {
		l->no_memory = true;
		return -1;
	}
	for (l->p++; l->p < p;) {
		if (quote == '"' && *l->p == '\\')
			*o++ = escape(&l->p, p);
		else
			*o++ = *l->p++;
	}
	*o = '\0';
	l->p = p + 1;
	w->text = text;
	w->quoted = true;
	return 1;
}

/* A word in which quotes may stand anywhere. */
static bool
mixed_word(struct lex *l, struct word *w, bool shell)
{
	const char *p = l->p;
	char quote = 0, *text, *o;
	size_t max = 1;

	for (; p < l->end && line_end(l, p) == 0 && (quote != 0 || !blank(*p)); p++, max++) {
		if (quote == 0 && join(l, p) > 0)
			break;
		if (quote != 0 ? *p == quote : *p == '"' || *p == '\'')
			quote = quote != 0 ? 0 : *p;
		else if (*p == '\\' && p + 1 < l->end && line_end(l, p + 1) == 0 && quote != '\'' &&
		    ((shell && quote == 0) || (quote == '"' && (p[1] == '"' || p[1] == '\\'))))
			p++;
	}
	if (quote != 0)
		return bad(l, w, quote == '"' ? "a \" is not closed" : "a ' is not closed");
	o = text = arena_get(l->arena, max);
	if (text == NULL) {
		l->no_memory = true;
		return false;
	}
	for (const char *s = l->p; s < p; s++) {
		if (quote != 0 ? *s == quote : *s == '"' || *s == '\'') {
			quote = quote != 0 ? 0 : *s;
			w->quoted = true;
			continue;
		}
		if (*s == '\\' && s + 1 < p && quote != '\'' &&
		    ((shell && quote == 0) || (quote == '"' && (s[1] == '"' || s[1] == '\\'))))
			s++;
		*o++ = *s;
	}
	*o = '\0';
	w->text = text;
	l->p = p;
	return true;
}

static bool
plain_word(struct lex *l, struct word *w)
{
	const char *p = l->p;

	while (p < l->end && !blank(*p) && line_end(l, p) == 0 && join(l, p) == 0)
		p++;
	if (!keep(l, w, l->p, (size_t)(p - l->p)))
		return false;
	l->p = p;
	return true;
}

static bool
one_word(struct lex *l, enum quotes quotes, struct word *w)
{
	bool quote = *l->p == '"' || *l->p == '\'';
	int is;

	switch (quotes) {
	case QUOTES_NONE:
		break;
	case QUOTES_WHOLE:
		is = quote ? quoted_word(l, w) : 0;
		if (is != 0)
			return is == 1;
		break;
	case QUOTES_ANY:
	case QUOTES_SHELL:
		return mixed_word(l, w, quotes == QUOTES_SHELL);
	}
	return plain_word(l, w);
}

bool
lex_words(struct lex *l, enum quotes quotes, bool more)
{
	if (!more) {
		l->n = 0;
		l->comment.text = NULL;
	}
	l->fault = NULL;
	for (lex_blanks(l); !lex_at_end(l); lex_blanks(l)) {
		struct word w = lex_here(l);

		if (*l->p == '#' && l->comments) {
			l->comment = w;
			l->comment.text = "#";
			lex_next_line(l);
			return true;
		}
		if (!one_word(l, quotes, &w) || !add_word(l, &w))
			return false;
	}
	lex_next_line(l);
	return true;
}

bool
lex_name(struct lex *l, const char *stop, struct word *out)
{
	const char *p = l->p;

	*out = lex_here(l);
	while (p < l->end && !blank(*p) && line_end(l, p) == 0 && strchr(stop, *p) == NULL)
		p++;
	if (!keep(l, out, l->p, (size_t)(p - l->p)))
		return false;
	l->p = p;
	return true;
}

bool
lex_rest(struct lex *l, struct word *out)
{
	char *text, *o;
	const char *p;
	size_t max = 1, n;

	lex_blanks(l);
	*out = lex_here(l);
	for (p = l->p; p < l->end && line_end(l, p) == 0; p += n > 0 ? n : 1) {
		n = join(l, p);
		max++;
	}
	o = text = arena_get(l->arena, max);
	if (text == NULL) {
		l->no_memory = true;
		return false;
	}
	while (l->p < p) {
		n = join(l, l->p);
		if (n > 0) {		/* as a shell joins lines: without a trace */
			l->p += n;
			begin_line(l);
		} else {
			*o++ = *l->p++;
		}
	}
	while (o > text && blank(o[-1]))
		o--;
	*o = '\0';
	out->text = text;
	lex_next_line(l);
	return true;
}

bool
lex_skip(struct lex *l)
{
	for (;;) {
		lex_blanks(l);
		if (lex_over(l))
			return false;
		if (!lex_at_end(l) && *l->p != '#')
			return true;
		lex_next_line(l);
	}
}
