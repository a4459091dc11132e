/*
 * fuzz: lists of rules and somebody who comes: the verdict, and the rule that gives it, are those of a model
 * that goes through the 128 bits one by one; after a word is taken away too. What cannot be a rule is refused,
 * what is read otherwise than written is noted. Any text as a rule's word: taken, or refused with a reason.
 */
#include <strings.h>

#include "policy/access.h"

#include "fuzz.h"
#include "quiet.h"

enum { MOST = 24, V4 = 96, WORD = 64 };

struct bits {			/* one a byte: nothing here is done as the program does it */
	uint8_t at[128];
};

struct made {			/* a rule as it was meant */
	enum rule_kind kind;
	struct bits bits;
	unsigned count;		/* so many of them */
	unsigned narrow;
	unsigned id;
	char word[WORD];
};

struct list {
	struct made made[MOST * 4];
	size_t n;
	bool given;
	unsigned notes;
};

struct who {
	struct bits bits;
	struct peer peer;
	const char *name;
};

static const char *const domains[] = { ".example.org", ".org", ".EXAMPLE.org", ".a.example.org", ".g" };
static const char *const hosts[] = { NULL, "host.example.org", "example.org", "evil-example.org", "b.a.EXAMPLE.ORG",
	"x.org", "g", ".org" };
static const unsigned ids[] = { 0, 1, 1000, 4294967294U };

static void
set_bits(struct bits *b, unsigned from, uint32_t value, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		b->at[from + i] = value >> (n - 1 - i) & 1;
}

static uint32_t
get_bits(const struct bits *b, unsigned from, unsigned n)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < n; i++)
		value = value << 1 | b->at[from + i];
	return value;
}

static bool
is_v4(const struct bits *b)
{
	for (unsigned i = 0; i < V4; i++)
		if (b->at[i] != (i >= 80))
			return false;
	return true;
}

static struct bits
v4_bits(uint32_t address)
{
	struct bits b = { { 0 } };

	set_bits(&b, 80, 0xffff, 16);
	set_bits(&b, V4, address, 32);
	return b;
}

static void
note(void *arg, const char *text)
{
	CHECK(text[0] != '\0');
	++*(unsigned *)arg;
}

/* --- the model */

static bool
concerns(const struct made *m, const struct who *w)
{
	if (m->kind == RULE_USER || m->kind == RULE_GROUP)
		return w->peer.kind == PEER_UNIX;
	return w->peer.kind == PEER_IP;
}

static bool
meets(const struct made *m, const struct who *w)
{
	size_t n, k;

	switch (m->kind) {
	case RULE_NET:
		if (m->count < V4 && is_v4(&w->bits))
			return false;
		for (unsigned i = 0; i < m->count; i++)
			if (m->bits.at[i] != w->bits.at[i])
				return false;
		return true;
	case RULE_DOMAIN:
		k = strlen(m->word);
		n = w->name != NULL ? strlen(w->name) : 0;
		return n >= k && strcasecmp(w->name + n - k, m->word) == 0;
	case RULE_USER:
		return w->peer.uid == m->id;
	case RULE_GROUP:
		return w->peer.gid == m->id;
	case RULE_NOBODY:
		return false;
	}
	return false;
}

/* The narrowest that is met; NULL: none. */
static const struct made *
narrowest(const struct list *l, const struct who *w, bool *any)
{
	const struct made *best = NULL;

	*any = false;
	for (size_t i = 0; i < l->n; i++) {
		const struct made *m = &l->made[i];

		if (!concerns(m, w))
			continue;
		*any = true;
		if (meets(m, w) && (best == NULL || m->narrow > best->narrow))
			best = m;
	}
	return best;
}

static bool
may_come(const struct list *only, const struct list *no, const struct who *w, const struct made **why)
{
	bool listed, any;
	const struct made *in = narrowest(only, w, &listed), *out = narrowest(no, w, &any);
	bool ok;

	if (only->given && only->n == 0)
		ok = false;
	else if (listed && in == NULL)
		ok = false;
	else if (out == NULL)
		ok = true;
	else
		ok = in != NULL && in->narrow > out->narrow;
	*why = ok ? in : out;
	return ok;
}

/* --- making rules */

static void
write_v6(char *out, size_t size, const struct bits *b)
{
	int n = 0;

	for (unsigned i = 0; i < 8; i++)
		n += snprintf(out + n, size - (size_t)n, "%s%x", i > 0 ? ":" : "", get_bits(b, i * 16, 16));
}

static int
write_v4(char *out, size_t size, uint32_t a)
{
	return snprintf(out, size, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
}

/* Near the one who comes, or anywhere. */
static struct bits
choose_bits(struct feed *f, const struct who *w, bool v4)
{
	unsigned how = feed_byte(f);
	struct bits b = w->bits;

	if (w->peer.kind != PEER_IP || how % 4 == 3 || v4 != is_v4(&b)) {
		if (v4)
			return v4_bits((uint32_t)feed_number(f, 4));
		for (unsigned i = 0; i < 128; i += 8)
			set_bits(&b, i, feed_byte(f), 8);
	} else if (how % 4 != 0) {
		unsigned bit = feed_byte(f) % (v4 ? 32 : 128) + (v4 ? V4 : 0);

		b.at[bit] = !b.at[bit];
	}
	return b;
}

/* All behind the first `count` to 0; was one not? */
static bool
clear_behind(struct bits *b, unsigned count)
{
	bool any = false;

	for (unsigned i = count; i < 128; i++) {
		any = any || b->at[i] != 0;
		b->at[i] = 0;
	}
	return any;
}

/* One word and the rules it stands for. False: it must be refused. */
static bool
make_word(struct feed *f, const struct who *w, struct list *l, bool closed, char word[WORD])
{
	struct made m = { .kind = RULE_NET, .count = 128 };
	unsigned form = feed_byte(f) % 12, n, octets, left;
	uint32_t a, mask;
	int used;

	switch (form) {
	case 0:			/* 10.0.0.0/8 */
	case 1:
		m.bits = choose_bits(f, w, true);
		n = feed_byte(f) % 40;
		used = write_v4(word, WORD, get_bits(&m.bits, V4, 32));
		(void)snprintf(word + used, WORD - (size_t)used, "/%u", n);
		if (n > 32)
			return false;
		m.count = V4 + n;
		break;
	case 2:			/* 10.0.0.0/255.0.0.0 */
		m.bits = choose_bits(f, w, true);
		n = feed_byte(f);
		mask = n >= 64 ? (uint32_t)feed_number(f, 4) : n % 33 == 0 ? 0 : UINT32_MAX << (32 - n % 33);
		used = write_v4(word, WORD, get_bits(&m.bits, V4, 32));
		word[used++] = '/';
		(void)write_v4(word + used, WORD - (size_t)used, mask);
		for (m.count = V4; m.count < 128 && (mask >> (127 - m.count) & 1) != 0; m.count++)
			;
		for (unsigned i = m.count; i < 128; i++)
			if ((mask >> (127 - i) & 1) != 0)
				return false;
		break;
	case 3:			/* 10.1.0.0: its zeros at the end are wild */
		m.bits = choose_bits(f, w, true);
		a = get_bits(&m.bits, V4, 32);
		if (feed_byte(f) % 2 == 0)
			a &= UINT32_MAX << 8 * (feed_byte(f) % 4);
		m.bits = v4_bits(a);
		(void)write_v4(word, WORD, a);
		for (left = 4; left > 0 && (a & 255) == 0; left--)
			a >>= 8;
		m.count = V4 + 8 * left;
		break;
	case 4:			/* 2001:db8::/32 */
	case 5:
		m.bits = choose_bits(f, w, feed_byte(f) % 8 == 0);
		m.count = feed_byte(f) % 140;
		write_v6(word, WORD, &m.bits);
		(void)snprintf(word + strlen(word), WORD - strlen(word), "/%u", m.count);
		if (m.count > 128)
			return false;
		break;
	case 6:			/* ::1, also with an IPv4 address in it */
		m.bits = choose_bits(f, w, feed_byte(f) % 4 == 0);
		write_v6(word, WORD, &m.bits);
		break;
	case 7:			/* 10.1.{2,3} */
		octets = 2 + feed_byte(f) % 3;
		left = 1 + feed_byte(f) % 3;
		m.bits = choose_bits(f, w, true);
		a = get_bits(&m.bits, V4, 32);
		used = 0;
		for (unsigned i = 0; i + 1 < octets; i++)
			used += snprintf(word + used, WORD - (size_t)used, "%u.", a >> (24 - 8 * i) & 255);
		word[used++] = '{';
		m.count = m.narrow = V4 + 8 * octets;
		for (unsigned i = 0; i < left; i++) {
			unsigned shift = 32 - 8 * octets, octet = (a >> shift & 255) + i;

			if (octet > 255)
				octet -= 256;
			used += snprintf(word + used, WORD - (size_t)used, "%s%u", i > 0 ? "," : "", octet);
			m.bits = v4_bits((a & ~(UINT32_C(255) << shift)) | octet << shift);
			(void)clear_behind(&m.bits, m.count);
			l->made[l->n++] = m;
		}
		(void)snprintf(word + used, WORD - (size_t)used, "}");
		for (size_t i = l->n - left; i < l->n; i++)
			(void)snprintf(l->made[i].word, sizeof l->made[i].word, "%s", word);
		return true;
	case 8:			/* .example.org */
		m.kind = RULE_DOMAIN;
		(void)snprintf(word, WORD, "%s", domains[feed_byte(f) % (sizeof domains / sizeof domains[0])]);
		m.count = (unsigned)strlen(word) < V4 ? (unsigned)strlen(word) : V4 - 1;
		break;
	case 9:			/* user:0 */
	case 10:
		m.kind = form == 9 ? RULE_USER : RULE_GROUP;
		m.id = ids[feed_byte(f) % 4];
		m.count = form == 9 ? 2 : 1;	/* a user is narrower than a group */
		(void)snprintf(word, WORD, "%s:%u", form == 9 ? "user" : "group", m.id);
		break;
	default:		/* a host that nobody knows */
		m.kind = RULE_NOBODY;
		m.count = 0;
		(void)snprintf(word, WORD, "no.such.host");
		if (closed)
			return false;
		l->notes++;
		break;
	}
	if (m.kind == RULE_NET)
		l->notes += clear_behind(&m.bits, m.count) && strchr(word, '/') != NULL;
	m.narrow = m.count;
	(void)snprintf(m.word, sizeof m.word, "%s", word);
	l->made[l->n++] = m;
	return true;
}

static void
make_list(struct feed *f, const struct who *w, struct list *l, struct rules *r, bool closed)
{
	unsigned n = feed_byte(f), notes = 0;
	char word[WORD];
	struct err err;

	l->given = r->given = n % 8 == 7 || n / 8 % MOST > 0;
	for (n = n / 8 % MOST; n > 0; n--) {
		bool good = make_word(f, w, l, closed, word);
		struct rules bad = { 0 };

		err.text[0] = '\0';
		if (good) {
			CHECK(rules_add(r, word, closed, note, &notes, &err) == 0);
		} else {
			unsigned none = 0;

			CHECK(rules_add(&bad, word, closed, note, &none, &err) == -1 && err.text[0] != '\0' && bad.n == 0);
			rules_free(&bad);
		}
	}
	CHECK(r->n == l->n && r->given == l->given && notes == l->notes);
}

static void
make_who(struct feed *f, struct who *w)
{
	unsigned kind = feed_byte(f);

	*w = (struct who){ .name = hosts[kind / 8 % (sizeof hosts / sizeof hosts[0])] };
	switch (kind % 8) {
	case 0:
	case 1:
	case 2:
		w->bits = v4_bits((uint32_t)feed_number(f, 4));
		break;
	case 3:
	case 4:
	case 5:
		for (unsigned i = 0; i < 128; i += 8)
			set_bits(&w->bits, i, feed_byte(f), 8);
		break;
	case 6:
		w->peer.kind = PEER_UNIX;
		w->peer.uid = ids[feed_byte(f) % 4];
		w->peer.gid = ids[feed_byte(f) % 4];
		return;
	default:
		w->peer.kind = feed_byte(f) % 2 == 0 ? PEER_VSOCK : PEER_NONE;
		return;
	}
	w->peer.kind = PEER_IP;
	for (unsigned i = 0; i < 16; i++)
		w->peer.ip.b[i] = (uint8_t)get_bits(&w->bits, i * 8, 8);
}

/* --- the comparison */

static void
compare(const struct list l[2], const struct rules r[2], const struct who *w)
{
	const struct made *because;
	const struct rule *why;
	bool ok = may_come(&l[0], &l[1], w, &because);

	CHECK(access_allows(&r[0], &r[1], &w->peer, w->name, &why) == ok);
	CHECK(access_allows(&r[0], &r[1], &w->peer, w->name, NULL) == ok);
	CHECK((why == NULL) == (because == NULL));
	if (why != NULL)
		CHECK(why->kind == because->kind && why->bits == because->narrow);
}

static void
take_away(struct list *l, struct rules *r, unsigned which)
{
	char word[WORD];
	size_t kept = 0;

	if (l->n == 0) {
		CHECK(!rules_remove(r, "10.0.0.0/8"));
		return;
	}
	memcpy(word, l->made[which % l->n].word, sizeof word);
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->made[i].word, word) != 0)
			l->made[kept++] = l->made[i];
	l->n = kept;
	CHECK(rules_remove(r, word) && !rules_remove(r, word) && r->n == kept);
}

static void
check_verdicts(struct feed f)
{
	static struct list l[2];
	struct rules r[2] = { { 0 }, { 0 } }, copy[2] = { { 0 }, { 0 } };
	struct who w;
	unsigned which;

	for (int i = 0; i < 2; i++) {
		l[i].n = l[i].notes = 0;
		l[i].given = false;
	}
	make_who(&f, &w);
	for (int i = 0; i < 2; i++)
		make_list(&f, &w, &l[i], &r[i], i == 1);
	compare(l, r, &w);
	for (int i = 0; i < 2; i++)
		CHECK(rules_copy(&copy[i], &r[i]) == 0);
	which = feed_byte(&f);
	for (int i = 0; i < 2; i++) {
		take_away(&l[i], &r[i], which);
		compare(l, r, &w);
	}
	for (int i = 0; i < 2; i++) {
		CHECK(l[i].n <= copy[i].n);
		rules_free(&r[i]);
		rules_free(&copy[i]);
	}
}

/* Lines as words. */
static void
check_words(const uint8_t *data, size_t size)
{
	char *text = exact_text(data, size), *at = text;
	struct peer peer = { .kind = PEER_IP };

	for (char *word; (word = at) != NULL;) {
		struct rules r = { 0 };
		struct err err = { .text = "" };
		unsigned notes = 0;

		at = strchr(word, '\n');
		if (at != NULL)
			*at++ = '\0';
		if (rules_add(&r, word, true, note, &notes, &err) == -1) {
			CHECK(err.text[0] != '\0');
		} else {
			CHECK(r.n > 0 && r.given);
			for (size_t i = 0; i < r.n; i++) {
				struct ip ip = r.rule[i].ip;

				CHECK(r.rule[i].kind != RULE_NOBODY && strcmp(r.rule[i].word, word) == 0 && r.rule[i].bits <= 128);
				if (r.rule[i].kind != RULE_NET)
					continue;
				/* The network itself is in it; numbers without a colon are IPv4's. */
				peer.ip = ip;
				CHECK(!ip_mask(&ip, r.rule[i].bits));
				CHECK(r.rule[i].bits < V4 ? strchr(word, ':') != NULL : access_allows(&r, &(struct rules){ 0 },
				    &peer, NULL, NULL));
			}
			CHECK(rules_remove(&r, word) && r.n == 0);
		}
		rules_free(&r);
	}
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && (data[0] >= '\t' && data[0] < 0x7f))
		check_words(data, size);
	else
		check_verdicts((struct feed){ data, data + size });
	return 0;
}
