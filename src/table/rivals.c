#include "table/rivals.h"
#include "table/entry.h"

#include <stdlib.h>
#include <string.h>

struct claim {			/* one address of a service */
	struct item *item;
	size_t listen;
	struct where *where;
	const char *host;
	int scheme, type, family;
};

static int
by_address(const void *pa, const void *pb)
{
	const struct claim *a = pa, *b = pb;
	int d;

	if (a->scheme != b->scheme)
		return a->scheme < b->scheme ? -1 : 1;
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->where->port != b->where->port)
		return a->where->port < b->where->port ? -1 : 1;
	if (a->where->cid != b->where->cid)
		return a->where->cid < b->where->cid ? -1 : 1;
	d = strcmp(a->host, b->host);
	if (d == 0)
		d = strcmp(a->where->iface, b->where->iface);
	if (d != 0)
		return d;
	return a->item != b->item ? (a->item < b->item ? -1 : 1) : a->listen < b->listen ? -1 : 1;
}

static bool
same_host(const struct claim *a, const struct claim *b)
{
	return a->scheme == b->scheme && a->type == b->type && a->where->port == b->where->port &&
	    a->where->cid == b->where->cid && strcmp(a->host, b->host) == 0 && strcmp(a->where->iface, b->where->iface) == 0;
}

static struct claim
claim_of(struct item *i, size_t listen)
{
	struct where *w = &i->service->listen[listen].where;
	struct claim c = { .item = i, .listen = listen, .where = w, .host = w->host, .scheme = (int)w->scheme,
		.type = w->type, .family = w->family };
	struct ip ip;

	if ((w->scheme == SCHEME_UNIX && w->host[0] != '@') || w->scheme == SCHEME_FIFO) {
		c.scheme = SCHEME_UNIX;	/* at a path is one thing, whichever it is */
		c.type = 0;
	}
	if (w->scheme != SCHEME_TCP && w->scheme != SCHEME_UDP)
		return c;
	if (strcmp(w->host, "0.0.0.0") == 0 || strcmp(w->host, "::") == 0) {
		c.family = w->host[0] == '0' ? AF_INET : AF_INET6;
		c.host = "";
	} else if (w->host[0] != '\0' && c.family == AF_UNSPEC && ip_parse(w->host, &ip)) {
		c.family = ip_is_v4(&ip) ? AF_INET : AF_INET6;
	}
	return c;
}

static const struct word *
claim_word(const struct table *t, const struct claim *c, const struct entry **of)
{
	const char *attr = attr_given(c->item->service, "listen") ? "listen" : "port";
	const struct assign *a = entry_assign(t, c->item->entry, attr, of);

	if (a == NULL || *of != c->item->entry) {
		*of = c->item->entry;
		return &c->item->entry->name;
	}
	if (entry_list_word(*of, attr, (int)c->listen) != NULL)
		return entry_list_word(*of, attr, (int)c->listen);
	return a->n > 0 && !a->field ? &a->word[0] : &a->name;
}

static const struct word *
service_word(const struct item *i)
{
	return &i->entry->name;
}

static void
say_taken(struct table *t, const struct claim *later, const struct claim *first)
{
	const struct entry *of;
	const struct word *w = claim_word(t, later, &of);
	const char *text = later->item->service->listen[later->listen].text;

	if (later->item == first->item)
		conf_error(&t->conf, of->in, w, NULL, "%s: listened on twice", text);
	else
		conf_error(&t->conf, of->in, w, NULL, "%s: %s listens there already (%s:%u)", text,
		    first->item->service->id, first->item->entry->in->name, service_word(first->item)->line);
	later->item->entry->faulty = true;
}

/*
 * Those that want one host and port, in the order of the table. Where one says no family and
 * another does, the first gets what is left: that is how lines for tcp and for tcp6 stand side by
 * side everywhere. So at most one of each family can be sound.
 */
static void
settle(struct table *t, struct claim *c, size_t n)
{
	struct claim *any = NULL, *four = NULL, *six = NULL;

	for (size_t i = 0; i < n; i++) {
		bool wild = c[i].host[0] == '\0' &&
		    (c[i].where->scheme == SCHEME_TCP || c[i].where->scheme == SCHEME_UDP);
		struct claim **mine = c[i].family == AF_INET ? &four : c[i].family == AF_INET6 ? &six : &any;

		if (c[i].item->entry->faulty)
			continue;
		if (*mine != NULL || (any == NULL && mine == &any && four != NULL && six != NULL) ||
		    (!wild && (any != NULL || (mine == &any && (four != NULL || six != NULL))))) {
			say_taken(t, &c[i], *mine != NULL ? *mine : any != NULL ? any : four != NULL ? four : six);
			continue;
		}
		*mine = &c[i];
		if (any != NULL && four != NULL && six != NULL)
			say_taken(t, &c[i], any != &c[i] ? any : six);
	}
	if (any != NULL && (four != NULL) != (six != NULL))
		any->family = any->where->family = four != NULL ? AF_INET6 : AF_INET;
}

/* The kernel has no place for one address beside every address at the same port. */
static void
find_overlap(struct table *t, struct claim *c, size_t n)
{
	for (size_t i = 0; i < n && c[i].host[0] == '\0'; i++) {
		for (size_t k = i + 1; k < n; k++) {
			struct claim *later = c[k].item > c[i].item ? &c[k] : &c[i];
			const struct claim *first = later == &c[k] ? &c[i] : &c[k];
			const struct entry *of;
			const struct word *w;

			if (c[k].host[0] == '\0' || c[k].family == AF_UNSPEC ||
			    (c[i].family != AF_UNSPEC && c[i].family != c[k].family) ||
			    c[i].item->entry->faulty || c[k].item->entry->faulty)
				continue;
			w = claim_word(t, later, &of);
			conf_error(&t->conf, of->in, w, NULL, "%s: %s listens on %s (%s:%u); the system takes only one of "
			    "them", later->item->service->listen[later->listen].text, first->item->service->id,
			    first->item->service->listen[first->listen].text, first->item->entry->in->name,
			    service_word(first->item)->line);
			later->item->entry->faulty = true;
		}
	}
}

static bool
same_port(const struct claim *a, const struct claim *b)
{
	return (a->where->scheme == SCHEME_TCP || a->where->scheme == SCHEME_UDP) &&
	    a->where->scheme == b->where->scheme && a->where->port == b->where->port;
}

void
rivals_find(struct table *t)
{
	struct claim *c;
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->item[i].service->off ? 0 : t->item[i].service->nlisten;
	c = calloc(n + 1, sizeof *c);
	if (c == NULL) {
		t->conf.no_memory = true;
		return;
	}
	n = 0;
	for (size_t i = 0; i < t->n; i++) {
		struct service *s = t->item[i].service;

		for (size_t k = 0; !s->off && k < s->nlisten; k++) {
			const struct where *w = &s->listen[k].where;
			bool any_port = w->port == 0 && w->scheme != SCHEME_UNIX && w->scheme != SCHEME_FIFO &&
			    w->scheme != SCHEME_FD;

			if (!any_port)
				c[n++] = claim_of(&t->item[i], k);
		}
	}
	qsort(c, n, sizeof *c, by_address);
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && same_host(&c[i], &c[k]); k++)
			;
		settle(t, c + i, k - i);
	}
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && same_port(&c[i], &c[k]); k++)
			;
		find_overlap(t, c + i, k - i);
	}
	free(c);
	for (size_t i = 0; i < t->n; i++) {
		if (t->item[i].entry->faulty) {
			service_free(t->item[i].service);
			t->faulty++;
			t->faulty_on++;
		} else {
			t->item[kept++] = t->item[i];
		}
	}
	t->n = kept;
}
