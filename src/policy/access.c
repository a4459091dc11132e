#include "policy/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"

enum { V4 = 96 };	/* bits that every IPv4 address has in common here */

static int
add(struct rules *r, struct rule rule, const char *word, struct err *err)
{
	struct rule *p = realloc(r->rule, (r->n + 1) * sizeof *p);

	if (p == NULL)
		return err_sys(err, ENOMEM, "%s", word);
	r->rule = p;
	rule.word = strdup(word);
	if (rule.word == NULL)
		return err_sys(err, ENOMEM, "%s", word);
	p[r->n++] = rule;
	return 0;
}

static struct ip
from_v4(uint32_t host_order)
{
	struct ip ip = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } };
	uint32_t n = htonl(host_order);

	memcpy(ip.b + 12, &n, 4);
	return ip;
}

/* xinetd: the zero octets at an IPv4 address's end are wild; 0.0.0.0 is every IPv4 address. */
static unsigned
wild_bits(uint32_t host_order)
{
	unsigned bits = 32;

	while (bits > 0 && (host_order & 0xff) == 0) {
		host_order >>= 8;
		bits -= 8;
	}
	return V4 + bits;
}

/* Is this meant to be a number? Digits and dots only: then it is no name. */
static bool
looks_numeric(const char *s)
{
	return strspn(s, "0123456789.") == strlen(s);
}

/* ADDR/BITS or ADDR/MASK. */
static int
add_network(struct rules *r, const char *word, const char *slash, access_note *note, void *arg,
    struct err *err)
{
	char host[ADDR_TEXT], text[200];
	struct ip ip, mask;
	uint64_t bits;
	bool v4;
	size_t n = (size_t)(slash - word);

	if (n == 0 || n >= sizeof host)
		return err_set(err, n == 0 ? "%s: no address stands before the /" : "%s: not an address", word);
	memcpy(host, word, n);
	host[n] = '\0';
	if (!ip_parse(host, &ip))
		return err_set(err, "%s: %s is not an IPv4 or IPv6 address", word, host);
	v4 = ip_is_v4(&ip) && strchr(host, ':') == NULL;
	if (v4 && strchr(slash + 1, '.') != NULL && ip_parse(slash + 1, &mask)) {
		uint32_t m, whole;

		memcpy(&m, mask.b + 12, 4);
		m = ntohl(m);
		for (bits = 0; bits < 32 && (m & (UINT32_C(1) << (31 - bits))) != 0; bits++)
			;
		whole = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
		if (m != whole)
			return err_set(err, "%s: %s is not a netmask: its ones must stand together", word,
			    slash + 1);
	} else if (!num_parse(slash + 1, 0, v4 ? 32 : 128, &bits)) {
		return err_set(err, "%s: /%s is not a prefix length; 0 to %d is", word, slash + 1,
		    v4 ? 32 : 128);
	}
	if (v4)
		bits += V4;
	mask = ip;
	if (ip_mask(&ip, (unsigned)bits)) {
		char was[ADDR_TEXT];

		(void)snprintf(text, sizeof text, "%s: bits behind the prefix are set; read as %s/%s", word,
		    ip_print(&ip, was), slash + 1);
		note(arg, text);
	}
	return add(r, (struct rule){ .kind = RULE_NET, .ip = ip, .bits = (unsigned)bits }, word, err);
}

/* a.b.{c,d}: each is a prefix as long as the octets written. */
static int
add_braces(struct rules *r, const char *word, const char *brace, struct err *err)
{
	char one[ADDR_TEXT];
	const char *p = brace + 1;
	size_t head = (size_t)(brace - word);
	unsigned octets = 1;

	for (const char *q = word; q < brace; q++)
		octets += *q == '.';
	if (head == 0 || head > 12 || octets < 2 || octets > 4 || brace[-1] != '.' ||
	    word[strlen(word) - 1] != '}')
		return err_set(err, "%s: braces stand at the end of an IPv4 address: 10.1.{2,3}", word);
	for (;;) {
		size_t n = strcspn(p, ",}");
		struct ip ip;

		if (n == 0 || n > 3)
			return err_set(err, "%s: an octet from 0 to 255 is missing in the braces", word);
		(void)snprintf(one, sizeof one, "%.*s%.*s%s", (int)head, word, (int)n, p,
		    octets == 4 ? "" : octets == 3 ? ".0" : ".0.0");
		if (!ip_parse(one, &ip))
			return err_set(err, "%s: %.*s is not an octet from 0 to 255", word, (int)n, p);
		if (add(r, (struct rule){ .kind = RULE_NET, .ip = ip, .bits = V4 + 8 * octets }, word,
		    err) == -1)
			return -1;
		p += n + 1;
		if (p[-1] == '}')
			return *p == '\0' ? 0 : err_set(err, "%s: nothing may stand behind the brace", word);
	}
}

static int
add_host(struct rules *r, const char *word, bool closed, access_note *note, void *arg,
    struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	struct netent *net;
	char text[300];
	int rc;

	if (word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] != '\0')
		return err_set(err, "%s: neither an address nor a host's name", word);
	if (word[strspn(word, "0123456789.-")] == '\0')
		return err_set(err, "%s: not an address; a range is written as networks, 10.0.0.0/29", word);
	net = getnetbyname(word);
	if (net != NULL && net->n_addrtype == AF_INET) {
		uint32_t n = net->n_net;

		while (n != 0 && n < UINT32_C(1) << 24)	/* some libraries give it without its zeros */
			n <<= 8;
		return add(r, (struct rule){ .kind = RULE_NET, .ip = from_v4(n), .bits = wild_bits(n) },
		    word, err);
	}
	rc = getaddrinfo(word, NULL, &hints, &list);
	if (rc != 0) {
		if (closed)
			return err_set(err, "%s: the host cannot be resolved, so it cannot be kept out: %s", word,
			    gai_strerror(rc));
		(void)snprintf(text, sizeof text, "%s: the host cannot be resolved, so it matches nobody: %s",
		    word, gai_strerror(rc));
		note(arg, text);
		return add(r, (struct rule){ .kind = RULE_NOBODY }, word, err);
	}
	for (struct addrinfo *i = list; i != NULL; i = i->ai_next) {
		struct addr a = { .len = i->ai_addrlen };
		struct rule rule = { .kind = RULE_NET, .bits = 128 };
		uint32_t scope, port;

		if (i->ai_addrlen > sizeof a.in6)
			continue;
		memcpy(&a.sa, i->ai_addr, i->ai_addrlen);
		if (addr_ip(&a, &rule.ip, &scope, &port) && add(r, rule, word, err) == -1) {
			freeaddrinfo(list);
			return -1;
		}
	}
	freeaddrinfo(list);
	return 0;
}

static int
add_user(struct rules *r, const char *word, struct err *err)
{
	struct rule rule = { .kind = RULE_USER, .bits = 2 };
	uint64_t n;

	if (strncmp(word, "user:", 5) == 0) {
		struct passwd *pw = getpwnam(word + 5);

		if (pw != NULL)
			rule.id = pw->pw_uid;
		else if (num_parse(word + 5, 0, UINT32_MAX - 1, &n))
			rule.id = (unsigned)n;
		else
			return err_set(err, "%s: there is no such user", word);
	} else {
		struct group *gr = getgrnam(word + 6);

		rule.kind = RULE_GROUP;
		rule.bits = 1;
		if (gr != NULL)
			rule.id = gr->gr_gid;
		else if (num_parse(word + 6, 0, UINT32_MAX - 1, &n))
			rule.id = (unsigned)n;
		else
			return err_set(err, "%s: there is no such group", word);
	}
	return add(r, rule, word, err);
}

int
rules_add(struct rules *r, const char *word, bool closed, access_note *note, void *arg,
    struct err *err)
{
	const char *slash = strchr(word, '/'), *brace = strchr(word, '{');
	struct rule rule = { .kind = RULE_NET, .bits = 128 };
	struct in_addr v4;
	char text[200], as[ADDR_TEXT];

	r->given = true;
	if (strncmp(word, "user:", 5) == 0 || strncmp(word, "group:", 6) == 0)
		return add_user(r, word, err);
	if (brace != NULL)
		return add_braces(r, word, brace, err);
	if (slash != NULL)
		return add_network(r, word, slash, note, arg, err);
	if (strchr(word, ':') != NULL) {
		if (!ip_parse(word, &rule.ip))
			return err_set(err, "%s: not an IPv6 address", word);
		return add(r, rule, word, err);
	}
	if (looks_numeric(word)) {
		if (inet_aton(word, &v4) == 0)
			return err_set(err, "%s: not an IPv4 address; each of its parts is at most 255", word);
		rule.ip = from_v4(ntohl(v4.s_addr));
		rule.bits = wild_bits(ntohl(v4.s_addr));
		if (!ip_parse(word, &(struct ip){ { 0 } })) {
			/* 127 or 010.0.0.1 would mean an address that nobody expects. */
			if (strchr(word, '.') == NULL || word[0] == '0' || strstr(word, ".0") != NULL)
				return err_set(err, "%s: not an IPv4 address of four parts; a network is "
				    "written with its prefix, 10.0.0.0/8", word);
			(void)snprintf(text, sizeof text, "%s: read as %s, as inet_aton(3) does; "
			    "a network is written with its prefix, 10.0.0.0/8", word, ip_print(&rule.ip, as));
			note(arg, text);
		}
		return add(r, rule, word, err);
	}
	if (word[0] == '.' && word[1] != '\0') {
		size_t len = strlen(word);

		rule.kind = RULE_DOMAIN;
		rule.bits = len < V4 ? (unsigned)len : V4 - 1;
		return add(r, rule, word, err);
	}
	return add_host(r, word, closed, note, arg, err);
}

bool
rules_remove(struct rules *r, const char *word)
{
	size_t kept = 0, was = r->n;

	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(r->rule[i].word, word) == 0)
			free(r->rule[i].word);
		else
			r->rule[kept++] = r->rule[i];
	}
	r->n = kept;
	return kept != was;
}

void
rules_free(struct rules *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->rule[i].word);
	free(r->rule);
	*r = (struct rules){ 0 };
}

int
rules_copy(struct rules *to, const struct rules *from)
{
	struct err err;

	to->given = from->given;
	for (size_t i = 0; i < from->n; i++)
		if (add(to, from->rule[i], from->rule[i].word, &err) == -1)
			return -1;
	return 0;
}

bool
rules_need_name(const struct rules *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->rule[i].kind == RULE_DOMAIN)
			return true;
	return false;
}

static bool
judges(const struct rule *rule, enum peer_kind kind)
{
	bool of_unix = rule->kind == RULE_USER || rule->kind == RULE_GROUP;

	return of_unix ? kind == PEER_UNIX : kind == PEER_IP;
}

static bool
matches(const struct rule *rule, const struct peer *p, const char *name)
{
	size_t n, m;

	switch (rule->kind) {
	case RULE_NET:
		/* ::/0 is every IPv6 address; that IPv4 is mapped into them here is our affair. */
		if (rule->bits < V4 && ip_is_v4(&p->ip))
			return false;
		return ip_match(&rule->ip, &p->ip, rule->bits);
	case RULE_DOMAIN:
		if (name == NULL)
			return false;
		n = strlen(name);
		m = strlen(rule->word);
		return n >= m && strcasecmp(name + n - m, rule->word) == 0;
	case RULE_NOBODY:
		return false;
	case RULE_USER:
		return p->uid == rule->id;
	case RULE_GROUP:
		return p->gid == rule->id;
	}
	return false;
}

/* The narrowest rule that matches, NULL: none. *any: does a rule judge this kind of peer at all? */
static const struct rule *
best(const struct rules *r, const struct peer *p, const char *name, bool *any)
{
	const struct rule *found = NULL;

	*any = false;
	for (size_t i = 0; i < r->n; i++) {
		const struct rule *rule = &r->rule[i];

		if (!judges(rule, p->kind))
			continue;
		*any = true;
		if (matches(rule, p, name) && (found == NULL || rule->bits > found->bits))
			found = rule;
	}
	return found;
}

bool
access_allows(const struct rules *only_from, const struct rules *no_access,
    const struct peer *peer, const char *name, const struct rule **why)
{
	bool judged, denies;
	const struct rule *allow = best(only_from, peer, name, &judged);
	const struct rule *deny = best(no_access, peer, name, &denies);
	bool ok;

	if (only_from->given && only_from->n == 0)
		judged = true;
	if (judged && allow == NULL)
		ok = false;
	else
		ok = deny == NULL || (allow != NULL && allow->bits > deny->bits);
	if (why != NULL)
		*why = ok ? allow : deny;
	return ok;
}

bool
rules_might_deny(const struct rules *no_access, const struct rule *than)
{
	for (size_t i = 0; i < no_access->n; i++)
		if (no_access->rule[i].kind == RULE_DOMAIN && (than == NULL || no_access->rule[i].bits >= than->bits))
			return true;
	return false;
}

static bool
clock_time(const char **s, short *out)
{
	const char *p = *s;
	int part[2];

	for (int i = 0; i < 2; i++) {
		int digits = 0;

		part[i] = 0;
		for (; *p >= '0' && *p <= '9' && digits < 3; p++, digits++)
			part[i] = part[i] * 10 + (*p - '0');
		if (digits == 0 || digits > 2 || (i == 0 && *p++ != ':'))
			return false;
	}
	if (part[1] > 59 || part[0] > 24 || (part[0] == 24 && part[1] != 0))
		return false;
	*out = (short)(part[0] * 60 + part[1]);
	*s = p;
	return true;
}

bool
interval_parse(const char *word, struct interval *out)
{
	struct interval i;

	if (!clock_time(&word, &i.from) || *word++ != '-' || !clock_time(&word, &i.to) || *word != '\0')
		return false;
	if (i.from == i.to || i.from == 1440)
		return false;	/* never, or always? 24:00 is an end only */
	*out = i;
	return true;
}

bool
interval_holds(const struct interval *i, size_t n, int minute)
{
	if (n == 0)
		return true;
	for (size_t k = 0; k < n; k++) {
		if (i[k].from <= i[k].to ? minute >= i[k].from && minute < i[k].to :
		    minute >= i[k].from || minute < i[k].to)
			return true;
	}
	return false;
}
