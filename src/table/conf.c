#include "table/conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

void
conf_begin(struct conf *c, enum dialect dialect, struct diags *diags)
{
	*c = (struct conf){ .dialect = dialect, .diags = diags };
	c->last = &c->first;
}

void
conf_free(struct conf *c)
{
	arena_free(&c->arena);
}

/* --- saying */

struct place
conf_place(const struct source *in, const struct word *w)
{
	return (struct place){ .in = in, .line = w->line, .col = w->col, .at = w->at };
}

static void __attribute__((format(printf, 6, 0)))
say(struct conf *c, bool error, const struct source *in, const struct word *w, const char *hint,
    const char *fmt, va_list ap)
{
	char text[512];

	(void)vsnprintf(text, sizeof text, fmt, ap);
	diag_add(c->diags, error, conf_place(in, w), text, hint);
}

void
conf_error(struct conf *c, const struct source *in, const struct word *w, const char *hint,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, true, in, w, hint, fmt, ap);
	va_end(ap);
}

void
conf_warn(struct conf *c, const struct source *in, const struct word *w, const char *hint,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, false, in, w, hint, fmt, ap);
	va_end(ap);
}

void
conf_broken(struct conf *c, const struct source *in, const struct word *w, const char *hint,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, true, in, w, hint, fmt, ap);
	va_end(ap);
	c->broken = true;
}

const char *
conf_meant(struct conf *c, const char *near)
{
	char text[100];

	if (near == NULL)
		return NULL;
	(void)snprintf(text, sizeof text, "did you mean `%s`?", near);
	return arena_text(&c->arena, text, strlen(text));
}

/* --- building */

struct entry *
conf_entry(struct conf *c, const struct source *in, enum entry_kind kind, const struct word *name)
{
	struct entry *e;

	if (++c->entries > ENTRIES_MOST) {
		if (!c->full)
			conf_broken(c, in, name, NULL, "too many entries; at most %d are read", ENTRIES_MOST);
		c->full = true;
		return NULL;
	}
	e = arena_get(&c->arena, sizeof *e);
	if (e == NULL) {
		c->no_memory = true;
		return NULL;
	}
	*e = (struct entry){ .kind = kind, .in = in, .name = *name };
	e->last = &e->first;
	*c->last = e;
	c->last = &e->next;
	return e;
}

struct assign *
conf_assign(struct conf *c, struct entry *e, const struct attr *row, enum attr_op op,
    const struct word *name, const struct word *word, size_t n)
{
	struct assign *a = arena_get(&c->arena, sizeof *a);
	struct word *copy = n > 0 ? arena_get(&c->arena, n * sizeof *copy) : NULL;

	if (a == NULL || (copy == NULL && n > 0)) {
		c->no_memory = true;
		return NULL;
	}
	if (n > 0)
		memcpy(copy, word, n * sizeof *copy);
	*a = (struct assign){ .row = row, .op = op, .name = *name, .word = copy, .n = n };
	*e->last = a;
	e->last = &a->next;
	return a;
}

struct word
conf_part(struct conf *c, const struct word *w, size_t off, size_t len)
{
	struct word p = *w;

	p.text = arena_text(&c->arena, w->text + off, len);
	if (p.text == NULL) {
		c->no_memory = true;
		p.text = "";
	}
	if (!w->quoted) {	/* else the source looks different */
		p.at += off;
		p.col += (unsigned)off;
	}
	return p;
}

/* --- statements */

static bool
blank_line_ahead(const struct lex *l)
{
	const char *p = l->p;

	while (p < l->end && (*p == ' ' || *p == '\t'))
		p++;
	return p == l->end || *p == '\n' || *p == '\r';
}

static bool
is_keyword(const char *word)
{
	return strcasecmp(word, "service") == 0 || strcasecmp(word, "defaults") == 0 ||
	    strcasecmp(word, "include") == 0 || strcasecmp(word, "includedir") == 0 ||
	    strcmp(word, ".include") == 0;
}

static void
include(struct conf *c, struct lex *l, const struct word *keyword)
{
	const struct source *in = l->in;
	bool directory = strcasecmp(keyword->text, "includedir") == 0;

	if (!lex_words(l, QUOTES_WHOLE, false)) {
		if (l->fault != NULL)
			conf_broken(c, in, &l->fault_at, NULL, "%s", l->fault);
		return;
	}
	if (l->n == 0) {
		conf_broken(c, in, keyword, NULL, "%s: no path behind it", keyword->text);
		return;
	}
	/* Beginners think of several; xinetd drops them in silence, NetBSD too. */
	if (l->n > 1)
		conf_warn(c, in, &l->word[1], NULL, "%s takes one path; this is ignored", keyword->text);
	if (c->include != NULL) {
		struct word path = l->word[0];

		c->include(c->arg, c, in, &path, directory, keyword->text[0] == '.');
	}
}

/* Is there a brace or an operator among the words? Then it was not meant as a classic line. */
static bool
opens_block(const struct lex *l)
{
	for (size_t i = 1; i < l->n && i < 4; i++)
		if (strcmp(l->word[i].text, "{") == 0 || l->word[i].text[0] == '=')
			return true;
	return false;
}

/* Does the next line that says something begin with a brace? */
static bool
brace_ahead(const struct lex *l)
{
	const char *p = l->p;

	while (p < l->end && strchr(" \t\r\n", *p) != NULL)
		p++;
	return p < l->end && *p == '{';
}

/* Goes behind the } of a block that begins with a wrong word: what it holds is no further fault. */
static void
skip_block(struct lex *l)
{
	while (!lex_over(l)) {
		bool closes;

		lex_blanks(l);
		closes = !lex_over(l) && *l->p == '}';
		if (!lex_over(l))
			lex_next_line(l);
		if (closes)
			return;
	}
}

/* Words of a line that is no entry and no keyword. */
static void
stray(struct conf *c, struct lex *l)
{
	static const char *const keywords[] = { "service", "defaults", "include", "includedir" };
	const struct word *w = &l->word[0];
	const char *meant = NULL;
	size_t best = strlen(w->text) / 3 + 1;

	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
		size_t d = str_distance(w->text, keywords[i]);

		if (d <= best) {
			best = d;
			meant = keywords[i];
		}
	}
	if (strcmp(w->text, "{") == 0)
		conf_broken(c, l->in, w, NULL, "a { that no `service` or `defaults` stands before");
	else if (attr_find(w->text) != NULL || (l->n > 1 && l->word[1].text[strspn(l->word[1].text, "+-")] == '='))
		conf_broken(c, l->in, w, NULL, "\"%s\": an attribute outside a block", w->text);
	else if (meant != NULL)
		conf_broken(c, l->in, w, conf_meant(c, meant), "\"%s\" begins nothing that a table holds",
		    w->text);
	else
		conf_broken(c, l->in, w, "an entry is `service NAME { ... }`, or a line SERVICE SOCKET-TYPE "
		    "PROTOCOL wait|nowait USER PROGRAM [ARG...]", "\"%s\" begins nothing that a table holds",
		    w->text);
	if (strcmp(w->text, "{") == 0 || brace_ahead(l) ||
	    (l->n > 1 && strcmp(l->word[l->n - 1].text, "{") == 0))
		skip_block(l);
}

/* Joins the lines that inetd would join: indented ones that are no entry by themselves. */
static bool
take_continued(struct conf *c, struct lex *l)
{
	while (!lex_over(l) && (*l->p == ' ' || *l->p == '\t') && !blank_line_ahead(l)) {
		struct lex before = *l;
		size_t n = l->n;

		lex_blanks(l);
		if (lex_over(l))
			break;
		if (*l->p == '#' && c->dialect != DIALECT_BSD) {
			lex_next_line(l);
			continue;
		}
		if (!lex_words(l, QUOTES_ANY, true))
			return false;
		if (l->n > n && c->dialect != DIALECT_BSD && (conf_line_whole(l->word + n, l->n - n) ||
		    is_keyword(l->word[n].text) || strchr("{}", l->word[n].text[0]) != NULL)) {
			l->p = before.p;
			l->bol = before.bol;
			l->line = before.line;
			l->n = n;
			l->comment = before.comment;
			break;
		}
		if (l->n > n + 1 && conf_socket_word(l->word[n + 1].text))
			conf_warn(c, l->in, &l->word[n], NULL, "this indented line continues the one before it, as with the "
			    "BSDs' inetd; to be an entry it lacks a sound wait or nowait");
	}
	return true;
}

/* An entry, though maybe a faulty one. */
static bool
is_line(const struct lex *l)
{
	return (l->n >= 2 && conf_socket_word(l->word[1].text)) || (l->n >= 5 && !opens_block(l));
}

/* NetBSD's on and off, perhaps with the ; behind. */
static bool
is_switch(const char *word)
{
	size_t n = strcspn(word, ";");

	return (n == 2 && strncasecmp(word, "on", 2) == 0) || (n == 3 && strncasecmp(word, "off", 3) == 0);
}

static void
classic_words(struct conf *c, struct lex *l)
{
	struct lex before = *l;
	bool sound;

	l->comments = c->dialect == DIALECT_OWN;	/* elsewhere a # is an argument */
	sound = lex_words(l, QUOTES_ANY, false);

	/* Behind that quotes and comments are others, so it may be no sound line of here. */
	if (l->n >= 2 && !l->word[1].quoted && is_switch(l->word[1].text)) {
		l->fault = NULL;
		l->p = before.p;
		l->bol = before.bol;
		l->line = before.line;
		l->comments = true;
		conf_pairs(c, l);
		return;
	}
	if (sound && is_line(l))
		sound = take_continued(c, l);
	if (!sound) {
		if (l->fault != NULL) {
			struct entry *e = conf_entry(c, l->in, ENTRY_LINE, l->n > 0 ? &l->word[0] : &l->fault_at);

			conf_error(c, l->in, &l->fault_at, NULL, "%s", l->fault);
			if (e != NULL)
				e->faulty = true;
		}
		return;
	}
	if (l->n == 1 && l->word[0].text[0] != '\0' &&
	    l->word[0].text[strlen(l->word[0].text) - 1] == ':') {
		struct word *w = arena_get(&c->arena, sizeof *w);

		if (w == NULL) {
			c->no_memory = true;
			return;
		}
		*w = conf_part(c, &l->word[0], 0, strlen(l->word[0].text) - 1);
		c->address = strcmp(w->text, "*") == 0 ? NULL : w;
		return;
	}
	if (!is_line(l))
		stray(c, l);
	else
		conf_line(c, l);
}

static void
classic(struct conf *c, struct lex *l)
{
	classic_words(c, l);
	l->comments = true;
}

static void
statement(struct conf *c, struct lex *l)
{
	struct lex before = *l;
	struct word first;

	if (!lex_name(l, "{", &first))
		return;
	if (strcasecmp(first.text, "service") == 0 || strcasecmp(first.text, "defaults") == 0) {
		conf_block(c, l, &first, strcasecmp(first.text, "defaults") == 0);
		return;
	}
	if (is_keyword(first.text)) {
		include(c, l, &first);
		return;
	}
	if (*before.p == '}') {
		first = (struct word){ .at = before.p, .line = before.line,
			.col = (unsigned)(before.p - before.bol) + 1 };
		conf_broken(c, l->in, &first, NULL, "a } that closes nothing");
		l->p = before.p + 1;
		lex_blanks(l);
		if (lex_at_end(l))
			lex_next_line(l);
		return;
	}
	l->p = before.p;
	classic(c, l);
}

static bool
has_lone_cr(const struct source *in)
{
	const char *cr = memchr(in->text, '\r', in->len);

	return cr != NULL && cr + 1 < in->text + in->len;
}

void
conf_parse(struct conf *c, const struct source *in)
{
	struct lex l;

	lex_begin(&l, in, &c->arena);
	l.joins = c->dialect == DIALECT_OWN;	/* the others know no such thing */
	if (in->len >= 3 && memcmp(in->text, "\xef\xbb\xbf", 3) == 0)
		l.p += 3;
	if (memchr(in->text, '\r', in->len) != NULL && !c->said_crlf) {
		const char *cr = memchr(in->text, '\r', in->len);

		c->said_crlf = true;
		if (cr + 1 < in->text + in->len && cr[1] == '\n')
			diag_add(c->diags, false, (struct place){ .in = in, .line = 1, .col = 1, .at = in->text },
			    "lines end in CR LF; the CRs are left out, where inetd and xinetd take them for a part "
			    "of the last word", NULL);
	}
	if (in->len > 0 && memchr(in->text, '\n', in->len) == NULL && has_lone_cr(in)) {
		struct word w = { .text = "", .at = in->text, .line = 1, .col = 1 };

		conf_broken(c, in, &w, NULL, "lines end in CR alone; a table's lines end in LF");
		return;
	}
	while (!lex_over(&l) && !l.no_memory && !c->full) {
		lex_blanks(&l);
		if (lex_at_end(&l)) {
			if (!lex_over(&l))
				lex_next_line(&l);
		} else if (*l.p == '#') {
			if (l.p == l.bol && l.p + 1 < l.end && l.p[1] == '@' && !c->said_ipsec) {
				diag_add(c->diags, false, (struct place){ .in = in, .line = l.line, .col = 1, .at = l.p },
				    "IPsec policies are not known here; the line is a comment", NULL);
				c->said_ipsec = true;
			}
			lex_next_line(&l);
		} else {
			statement(c, &l);
		}
	}
	c->no_memory = c->no_memory || l.no_memory;
	lex_free(&l);
}
