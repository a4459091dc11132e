#include "table/diag.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { SHOWN = 160 };		/* bytes of a long line around the word */

void
diag_add(struct diags *d, bool error, struct place at, const char *text, const char *hint)
{
	struct diag one = { .at = at, .error = error };

	*(error ? &d->errors : &d->warnings) += 1;
	if (d->n >= DIAGS_MOST || (!error && d->n >= DIAGS_MOST / 2))
		return;		/* half of the room is the errors' alone */
	if (d->n == d->size) {
		size_t size = d->size == 0 ? 16 : d->size * 2;
		struct diag *p = realloc(d->diag, size * sizeof *p);

		if (p == NULL)
			return;
		d->diag = p;
		d->size = size;
	}
	one.text = strdup(text);
	one.hint = hint != NULL ? strdup(hint) : NULL;
	if (one.text == NULL) {
		free(one.hint);
		return;
	}
	one.order = d->n;
	d->diag[d->n++] = one;
}

/* Bytes of the printing character beyond ASCII that begins here; 0: it is none. */
static size_t
character(const char *p, size_t len)
{
	size_t n = str_utf8(p, len);

	/* C1 controls speak to terminals. */
	return n < 2 || ((unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0) ? 0 : n;
}

/* What is not printable is written out; UTF-8 and backslashes may pass. */
static void
add_escaped(struct buf *out, const char *text)
{
	size_t n;

	for (; *text != '\0'; text += n) {
		char e[5];

		n = character(text, strlen(text));
		if (n > 0 || *text == '\\') {
			n = n > 0 ? n : 1;
			buf_add(out, text, n);
		} else {
			n = 1;
			buf_add(out, e, str_escape(e, sizeof e, text, 1));
		}
	}
}

static void
add_head(const struct diag *d, bool colour, struct buf *out)
{
	const char *kind = d->error ? "error" : "warning";

	if (colour)
		buf_addf(out, "\033[1m");
	if (d->at.in != NULL) {
		add_escaped(out, d->at.in->name);
		buf_addf(out, ":%u:%u: ", d->at.line, d->at.col);
	} else {
		buf_addf(out, "server: ");
	}
	if (colour)
		buf_addf(out, "\033[%dm%s:\033[0m\033[1m ", d->error ? 31 : 35, kind);
	else
		buf_addf(out, "%s: ", kind);
	add_escaped(out, d->text);
	if (colour)
		buf_addf(out, "\033[0m");
}

void
diag_line(const struct diag *d, struct buf *out)
{
	add_head(d, false, out);
}

/* The line around the place. */
static const char *
find_line(const struct place *p, size_t *len)
{
	const char *line = p->at - (p->col - 1), *end = p->in->text + p->in->len;
	const char *nl = memchr(line, '\n', (size_t)(end - line));

	*len = nl != NULL ? (size_t)(nl - line) : (size_t)(end - line);
	if (*len > 0 && line[*len - 1] == '\r')
		--*len;
	return line;
}

static bool
continues_character(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* The line with the word, and a caret below the word's first byte. */
static void
add_excerpt(const struct diag *d, bool colour, struct buf *out)
{
	size_t len, from = 0, to, col = d->at.col - 1;
	const char *line = find_line(&d->at, &len);

	if (len == 0)
		return;
	if (col > len)
		col = len;
	if (len > SHOWN && col > SHOWN / 2)
		from = col - SHOWN / 2;
	to = len - from > SHOWN ? from + SHOWN : len;
	while (from > 0 && continues_character(line[from]))
		from--;
	buf_addf(out, "  %s", from > 0 ? "..." : "");
	for (size_t i = from, n; i < to; i += n) {
		bool plain = (line[i] >= ' ' && line[i] < 0x7f) || line[i] == '\t';

		n = plain ? 1 : character(line + i, to - i);
		buf_add(out, plain || n > 0 ? line + i : "?", n > 0 ? n : 1);
		n = n > 0 ? n : 1;
	}
	buf_addf(out, "%s\n  %s", to < len ? "..." : "", from > 0 ? "   " : "");
	for (size_t i = from, n; i < col; i += n) {
		n = character(line + i, col - i);
		n = n > 0 ? n : 1;
		buf_add(out, line[i] == '\t' ? "\t" : " ", 1);
	}
	buf_addf(out, colour ? "\033[1;32m^\033[0m\n" : "^\n");
}

void
diag_print(const struct diag *d, bool colour, struct buf *out)
{
	add_head(d, colour, out);
	buf_add(out, "\n", 1);
	if (d->at.in != NULL && d->at.at != NULL)
		add_excerpt(d, colour, out);
	if (d->hint != NULL) {
		buf_addf(out, "  hint: ");
		add_escaped(out, d->hint);
		buf_add(out, "\n", 1);
	}
	for (const struct source *s = d->at.in; s != NULL && s->from != NULL; s = s->from) {
		buf_addf(out, "  included from ");
		add_escaped(out, s->from->name);
		buf_addf(out, ":%u\n", s->from_line);
	}
}

static int
by_place(const void *pa, const void *pb)
{
	const struct diag *a = pa, *b = pb;
	unsigned of_a = a->at.in != NULL ? a->at.in->number : 0, of_b = b->at.in != NULL ? b->at.in->number : 0;

	if (of_a != of_b)
		return of_a < of_b ? -1 : 1;
	if (a->at.line != b->at.line)
		return a->at.line < b->at.line ? -1 : 1;
	if (a->at.col != b->at.col)
		return a->at.col < b->at.col ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

void
diags_sort(struct diags *d)
{
	size_t kept = 0;

	if (d->n < 2)
		return;
	qsort(d->diag, d->n, sizeof *d->diag, by_place);
	/* What is said of a word of `defaults` is found again with each service. */
	for (size_t i = 1; i < d->n; i++) {
		struct diag *a = &d->diag[kept], *b = &d->diag[i];

		if (b->at.in != NULL && a->at.in == b->at.in && a->at.line == b->at.line &&
		    a->at.col == b->at.col && a->error == b->error && strcmp(a->text, b->text) == 0) {
			*(b->error ? &d->errors : &d->warnings) -= 1;
			free(b->text);
			free(b->hint);
		} else {
			d->diag[++kept] = *b;
		}
	}
	d->n = kept + 1;
}

void
diags_print(const struct diags *d, bool colour, struct buf *out)
{
	for (size_t i = 0; i < d->n; i++)
		diag_print(&d->diag[i], colour, out);
	if (d->errors + d->warnings > d->n)
		buf_addf(out, "server: %zu more are not shown\n", d->errors + d->warnings - d->n);
}

void
diags_free(struct diags *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->diag[i].text);
		free(d->diag[i].hint);
	}
	free(d->diag);
	*d = (struct diags){ 0 };
}
