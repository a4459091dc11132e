#include "table/conf_line.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"

/* NetBSD's NAME on KEY = VALUE…, …; */
struct pairs {
	struct lex *lex;
	struct conf *c;
	struct line *l;
	struct word word[66];	/* of one value */
	size_t n;
	bool ended;		/* by what stands in a quoted word that is not closed */
	char seen[32][16];	/* keys given so far */
	size_t nseen;
};

/* The next thing that is no blank, line end or comment; '\0' at the end of the text. */
static char
peek(struct lex *l)
{
	return lex_skip(l) ? *l->p : '\0';
}

/* A value's word, bare or quoted. False: told. */
static bool
pair_word(struct pairs *p, struct word *out)
{
	struct lex *l = p->lex;
	char quote = *l->p, *text;
	const char *end = l->p + 1;
	size_t n = 0;

	if (quote != '"' && quote != '\'')
		return lex_name(l, ",;\"'", out);
	*out = lex_here(l);
	while (end < l->end && *end != quote && *end != '\n')
		end += *end == '\\' && end + 1 < l->end && end[1] != '\n' ? 2 : 1;
	text = arena_get(&p->c->arena, (size_t)(end - l->p) + 1);
	if (text == NULL) {
		p->c->no_memory = true;
		return false;
	}
	for (l->p++; l->p < l->end && *l->p != quote && *l->p != '\n'; l->p++) {
		char c = *l->p;

		if (c == '\\' && l->p + 1 < l->end && l->p[1] != '\n') {
			c = *++l->p;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
			if (c == 'x' && l->end - l->p > 2 && isxdigit((unsigned char)l->p[1]) &&
			    isxdigit((unsigned char)l->p[2])) {
				c = (char)strtoul((char[]){ l->p[1], l->p[2], 0 }, NULL, 16);
				l->p += 2;
			}
		}
		if (c != '\0')
			text[n++] = c;
	}
	if (l->p >= l->end || *l->p != quote) {
		line_fault(p->l, out, NULL, "a %c is not closed", quote);
		p->ended = l->p[-1] == ';';	/* that was meant to be its end */
		return false;
	}
	l->p++;
	text[n] = '\0';
	out->text = text;
	out->quoted = true;
	return true;
}

/* KEY's value into the fields. */
static void
take_pair(struct pairs *p, const struct word *key)
{
	struct line *l = p->l;
	struct word *w = p->word;
	const struct { const char *key; struct word *field; } fields[] = {
		{ "socktype", &l->socket }, { "protocol", &l->proto }, { "user", &l->user },
		{ "group", &l->group }, { "exec", &l->program },
	};
	static const struct { const char *key, *attr; } numbers[] = {
		{ "sndbuf", "sndbuf" }, { "recvbuf", "rcvbuf" }, { "accept_max", "instances" },
	};
	uint64_t n;

	for (size_t i = 0; i < p->nseen; i++) {
		if (strcasecmp(p->seen[i], key->text) == 0) {
			line_fault(l, key, NULL, "%s is given twice", key->text);
			return;
		}
	}
	if (p->nseen < sizeof p->seen / sizeof p->seen[0])
		(void)snprintf(p->seen[p->nseen++], sizeof p->seen[0], "%s", key->text);
	if (strcasecmp(key->text, "args") == 0) {
		struct word *copy = arena_get(&p->c->arena, p->n * sizeof *copy);

		if (copy == NULL) {
			p->c->no_memory = true;
			return;
		}
		memcpy(copy, w, p->n * sizeof *copy);
		l->arg = copy;
		l->nargs = p->n;
		return;
	}
	if (strcasecmp(key->text, "ipsec") == 0 || strcasecmp(key->text, "acceptfilter") == 0) {
		conf_warn(p->c, l->in, key, NULL, "%s is not known here and has no effect", key->text);
		return;
	}
	if (p->n > 1) {
		line_fault(l, &w[1], NULL, "%s takes one value", key->text);
		return;
	}
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		if (strcasecmp(key->text, fields[i].key) == 0) {
			*fields[i].field = w[0];
			return;
		}
	}
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		if (strcasecmp(key->text, numbers[i].key) == 0) {
			if (strcmp(w[0].text, "0") != 0 || i < 2)
				line_give(l, numbers[i].attr, &w[0], w[0].text);
			return;
		}
	}
	if (strcasecmp(key->text, "bind") == 0) {
		struct word *copy = arena_get(&p->c->arena, sizeof *copy);

		if (l->addresses != p->c->address)
			line_fault(l, key, NULL, "bind: the address stands before the name already");
		if (copy == NULL)
			p->c->no_memory = true;
		else
			*copy = w[0];
		l->addresses = copy;
	} else if (strcasecmp(key->text, "wait") == 0) {
		if (strcasecmp(w[0].text, "yes") != 0 && strcasecmp(w[0].text, "no") != 0)
			line_fault(l, &w[0], NULL, "\"%s\": wait is yes or no", w[0].text);
		line_give(l, "wait", &w[0], w[0].text);
	} else if (strcasecmp(key->text, "service_max") == 0 || strcasecmp(key->text, "ip_max") == 0) {
		if (!num_parse(w[0].text, 0, 1000000, &n))
			line_fault(l, &w[0], NULL, "\"%s\" is no number of starts a minute", w[0].text);
		else if (n > 0)
			line_give_text(l, tolower((unsigned char)key->text[0]) == 's' ? "cps" : "source_cps", &w[0],
			    "%u/1m", (unsigned)n);
	} else {
		line_fault(l, key, "bind socktype acceptfilter protocol sndbuf recvbuf wait service_max user group exec "
		    "args ip_max accept_max ipsec", "\"%s\" is no key of such an entry", key->text);
	}
}

/* KEY = VALUE…; false: go to the ; */
static bool
one_pair(struct pairs *p)
{
	struct word key;
	char next;

	if (!lex_name(p->lex, "=,;", &key))
		return false;
	if (key.text[0] == '\0' || peek(p->lex) != '=') {
		struct word at = lex_here(p->lex);

		line_fault(p->l, key.text[0] == '\0' ? &at : &key, NULL, "KEY = VALUE is expected here, and a ; at the end");
		return false;
	}
	p->lex->p++;
	for (p->n = 0; (next = peek(p->lex)) != ',' && next != ';' && next != '\0'; p->n++) {
		if (p->n == sizeof p->word / sizeof p->word[0]) {
			line_fault(p->l, &key, NULL, "%s has too many values", key.text);
			return false;
		}
		if (!pair_word(p, &p->word[p->n]))
			return false;
		if (!p->word[p->n].quoted && p->word[p->n].text[strspn(p->word[p->n].text, "=")] == '\0') {
			line_fault(p->l, &p->word[p->n], "is a , missing before it?", "a = that no key stands before");
			return false;
		}
	}
	if (p->n == 0) {
		line_fault(p->l, &key, NULL, "%s has no value", key.text);
		return false;
	}
	take_pair(p, &key);
	return true;
}

/*
 * Behind the ; that ends a faulty entry. A line that does not begin with a blank was not meant to
 * be of it: then the ; is missing. False: it is.
 */
static bool
go_behind(struct lex *l)
{
	while (!lex_over(l) && *l->p != ';') {
		if (*l->p != '\n' && *l->p != '#') {
			l->p++;
			continue;
		}
		lex_next_line(l);
		if (!lex_over(l) && strchr(" \t#;", *l->p) == NULL && !lex_at_end(l))
			return false;
	}
	if (lex_over(l))
		return false;
	l->p++;
	return true;
}

void
conf_pairs(struct conf *c, struct lex *lex)
{
	struct word name, state, addresses;
	struct line l = { .c = c, .in = lex->in, .addresses = c->address };
	struct pairs p = { .lex = lex, .c = c, .l = &l };
	char next;

	lex_blanks(lex);
	if (!lex_name(lex, "", &name))
		return;
	lex_blanks(lex);
	if (!lex_name(lex, ";", &state) || (l.e = conf_entry(c, lex->in, ENTRY_LINE, &name)) == NULL)
		return;
	l.service = name;
	line_split_address(&l, &addresses);
	while ((next = peek(lex)) != ';' && next != '\0') {
		if (next == ',')
			lex->p++;
		else if (!one_pair(&p))
			break;
	}
	if (!p.ended && !go_behind(lex))
		conf_broken(c, lex->in, &name, NULL, "the entry of %s is not closed: its ; is missing", name.text);
	lex_blanks(lex);
	if (!lex_over(lex) && lex_at_end(lex))
		lex_next_line(lex);
	if (strcasecmp(state.text, "off") == 0) {
		l.e->kind = ENTRY_NONE;	/* parsed, and otherwise ignored, as in NetBSD */
		return;
	}
	if (l.e->faulty)
		return;
	if (l.proto.text == NULL) {
		line_fault(&l, &name, NULL, "%s: no protocol is given", name.text);
		return;
	}
	if (l.program.text != NULL && l.user.text == NULL) {
		line_fault(&l, &name, NULL, "%s: no user is given", name.text);
		return;
	}
	line_finish(&l);
}
