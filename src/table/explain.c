#include "table/explain.h"

#include <assert.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/num.h"
#include "base/str.h"
#include "table/entry.h"

struct question {
	const struct table *t;
	const struct service *s;
	const struct entry *e;
	struct peer peer;
	int minute;
	struct buf steps;
	const char *reason;	/* NULL: served so far */
	char where[400];	/* FILE:LINE of what refuses */
};

/* FILE:LINE of an attribute's word, of the attribute, or of the entry. */
static void
find_place(const struct question *q, const char *attr, const char *word, char *out, size_t size)
{
	const struct entry *of = q->e;
	const struct assign *a = attr != NULL ? entry_assign(q->t, q->e, attr, &of) : NULL;
	const struct word *at = a != NULL ? &a->name : &q->e->name;
	const struct attr *row = attr != NULL ? attr_find(attr) : NULL;
	bool found = false;

	assert(at != NULL);
	/* A list may have been put together of several lines. */
	for (const struct entry *e = q->e, *next = q->t->conf.first; word != NULL && !found && e != NULL;
	    e = next, next = next != NULL ? next->next : NULL) {
		if (e != q->e && e->kind != ENTRY_DEFAULTS)
			continue;
		for (const struct assign *b = e->first; b != NULL; b = b->next) {
			for (size_t i = 0; b->row == row && i < b->n; i++) {
				if (str_listed(b->word[i].text, word)) {
					at = &b->word[i];
					of = e;
					found = true;
					break;
				}
			}
			if (found)
				break;
		}
	}
	if (attr != NULL && a == NULL && attr_given(q->t->defaults, attr))
		(void)snprintf(out, size, "-o %s", attr);
	else
		(void)snprintf(out, size, "%s:%u", of->in->name, at->line);
}

/* One step; the first that refuses gives the answer. */
static void
step(struct question *q, const char *reason, const char *attr, const char *word, const char *text)
{
	char where[400];

	find_place(q, attr, word, where, sizeof where);
	buf_addf(&q->steps, "  %s (%s)\n", text, where);
	if (reason != NULL && q->reason == NULL) {
		q->reason = reason;
		memcpy(q->where, where, sizeof where);
	}
}

static void
judge_access(struct question *q)
{
	const struct service *s = q->s;
	const struct rule *why;
	char text[400];
	bool ok = access_allows(&s->only_from, &s->no_access, &q->peer, NULL, &why);
	bool of_only = false;

	for (size_t i = 0; i < s->only_from.n; i++)
		of_only = of_only || &s->only_from.rule[i] == why;
	if (!s->only_from.given && !s->no_access.given) {
		buf_addf(&q->steps, "  only_from and no_access are not given: every address may come\n");
		return;
	}
	if ((rules_need_name(&s->only_from) || rules_need_name(&s->no_access)) && q->peer.kind == PEER_IP)
		buf_addf(&q->steps, "  words that are domains are judged by the client's name, which is not looked "
		    "up here\n");
	if (why != NULL) {
		(void)snprintf(text, sizeof text, "%s %s: the longest match %s", of_only ? "only_from" : "no_access",
		    why->word, ok ? "lets it in" : "keeps it out");
		step(q, ok ? NULL : "address", of_only ? "only_from" : "no_access", why->word, text);
	} else if (!ok) {
		step(q, "address", "only_from", NULL, "only_from has no word for this address");
	} else {
		step(q, NULL, s->no_access.given ? "no_access" : "only_from", NULL, "no word is about this address");
	}
}

static void
judge_times(struct question *q)
{
	const struct service *s = q->s;
	char text[200];
	bool ok = interval_holds(s->times, s->ntimes, q->minute);

	if (s->ntimes == 0)
		return;
	(void)snprintf(text, sizeof text, "access_times: %02d:%02d is %s", q->minute / 60, q->minute % 60,
	    ok ? "within them" : "outside of them");
	step(q, ok ? NULL : "time", "access_times", NULL, text);
}

static void
judge_limits(struct question *q)
{
	const struct service *s = q->s, *d = q->t->defaults;
	char text[300], per[40];

	if (s->source.rate.n != 0) {
		(void)snprintf(text, sizeof text, "source_cps: at most %u starts in %s for one source",
		    s->source.rate.n, num_print_duration(s->source.rate.per, per, sizeof per));
		step(q, NULL, "source_cps", NULL, text);
	}
	if (s->source.most != UINT32_MAX) {
		(void)snprintf(text, sizeof text, "per_source: at most %u at once for one source", s->source.most);
		step(q, s->source.most == 0 ? "per_source_limit" : NULL, "per_source", NULL, text);
	}
	if (s->cps.n != 0) {
		(void)snprintf(text, sizeof text, "cps: at most %u starts in %s%s", s->cps.n,
		    num_print_duration(s->cps.per, per, sizeof per), s->cps.pace ? "" : ", then a rest");
		step(q, NULL, "cps", NULL, text);
	}
	if (s->max_load > 0) {
		(void)snprintf(text, sizeof text, "max_load: not while the load average is %.10g or more", s->max_load);
		step(q, NULL, "max_load", NULL, text);
	}
	if (s->instances != UINT32_MAX) {
		(void)snprintf(text, sizeof text, "instances: at most %u at once; who comes then %s", s->instances,
		    s->overload == OVERLOAD_QUEUE ? "waits" : "is refused");
		step(q, s->instances == 0 ? "service_limit" : NULL, "instances", NULL, text);
	}
	/* What the worker and the master serve are no children. */
	if (d->limit != UINT32_MAX && s->redirect.n == 0 && (s->internal == BUILTIN_NONE || s->internal == BUILTIN_SERVERS ||
	    s->internal == BUILTIN_SERVICES || s->internal == BUILTIN_STATUS))
		buf_addf(&q->steps, "  limit: at most %u children of the whole server\n", d->limit);
}

static int
read_question(struct question *q, const char *address, const char *clock, struct err *err)
{
	struct passwd *pw;
	struct interval i;
	char text[40];
	uint64_t n;

	if (strncmp(address, "user:", 5) == 0) {
		q->peer = (struct peer){ .kind = PEER_UNIX };
		pw = getpwnam(address + 5);
		if (pw == NULL && !num_parse(address + 5, 0, UINT32_MAX - 1, &n))
			return err_set(err, "%s: there is no such user", address);
		q->peer.uid = pw != NULL ? pw->pw_uid : (uid_t)n;
		q->peer.gid = pw != NULL ? pw->pw_gid : (gid_t)-1;
	} else {
		q->peer = (struct peer){ .kind = PEER_IP };
		if (!ip_parse(address, &q->peer.ip))
			return err_set(err, "%s: neither an address, as 10.1.2.3 and ::1 are, nor user:NAME", address);
	}
	if (clock == NULL) {
		time_t now = time(NULL);
		struct tm tm;

		(void)localtime_r(&now, &tm);
		q->minute = tm.tm_hour * 60 + tm.tm_min;
		return 0;
	}
	(void)snprintf(text, sizeof text, "%.20s-%s", clock, strncmp(clock, "00:00", 5) == 0 ? "00:01" : "24:00");
	if (!interval_parse(text, &i))
		return err_set(err, "%s: not a time of day; write HH:MM", clock);
	q->minute = i.from;
	return 0;
}

/* The attribute by which it is off. */
static const char *
what_disables(const struct table *t, const struct service *s)
{
	const struct service *d = t->defaults;

	if (s->disable)
		return "disable";
	if ((s->flags & FLAG_DISABLE) != 0)
		return "flags";
	if (words_have(&d->disabled, s->id))
		return "disabled";
	return attr_given(d, "enabled") && !words_have(&d->enabled, s->id) ? "enabled" : "type";
}

/* One service's answer, behind those that have the same one. `several` have that name: it says which it is. */
static void
judge(struct question *q, bool unsound, bool several, struct buf *served, struct buf *refused)
{
	const struct table *t = q->t;
	const struct service *s = q->s;
	const char *why = what_disables(t, s);
	struct buf *out;

	if (several)
		step(q, NULL, NULL, NULL, "of several services with that name this one");
	if (unsound)
		step(q, "faulty", NULL, NULL, "the table has an error outside its entries; server -t tells it");
	else if (s->off && t->off != NULL && words_have(t->off, s->id))
		step(q, "disabled", NULL, NULL, "serverctl disable switched the service off");
	else if (s->off)
		step(q, "disabled", why, s->disable ? NULL : s->id, strcmp(why, "type") == 0 ? "there is no such built-in service here" :
		    "the service is disabled");
	else if (t->switched_on != NULL && words_have(t->switched_on, s->id) && strcmp(why, "type") != 0)
		step(q, NULL, why, s->disable ? NULL : s->id, "the service is disabled, and on all the same: serverctl enable said so");
	judge_access(q);
	judge_times(q);
	judge_limits(q);
	out = q->reason != NULL ? refused : served;
	if (q->reason != NULL)
		buf_addf(out, "refused: %s %s\n", q->reason, q->where);
	else
		buf_addf(out, "served\n");
	buf_add(out, q->steps.data, q->steps.len);
	buf_free(&q->steps);
	q->reason = NULL;
}

static bool
is_faulty(const struct entry *e, const char *name)
{
	return e->faulty && e->kind != ENTRY_DEFAULTS && (strcmp(e->name.text, name) == 0 || strcmp(entry_id(e), name) == 0);
}

int
table_explain(const struct table *t, const char *service, const char *address, const char *clock,
    struct buf *out, struct err *err)
{
	struct question q = { .t = t };
	struct buf refused = { 0 };
	bool unsound = t->conf.broken || t->unread, on = false;
	size_t n = 0, served;

	if (read_question(&q, address, clock, err) == -1)
		return -1;
	for (size_t i = 0; i < t->n; i++)
		on |= service_is_named(t->item[i].service, service) && !t->item[i].service->off;
	for (const struct entry *e = t->conf.first; e != NULL; e = e->next)
		n += is_faulty(e, service) && (!on || !e->asleep);
	/* Who is off says nothing beside those that are on. */
	for (size_t i = 0; i < t->n; i++)
		n += service_is_named(t->item[i].service, service) && (!on || !t->item[i].service->off);
	if (n == 0 && t->unread)
		return err_set(err, "the table cannot be read; server -t says why");
	if (n == 0)
		return err_set(err, "there is no service %s%s", service, unsound ? " in what could be read of the table; server -t "
		    "tells its error" : "");
	for (size_t i = 0; i < t->n; i++) {
		q.s = t->item[i].service;
		q.e = t->item[i].entry;
		if (service_is_named(q.s, service) && (!on || !q.s->off))
			judge(&q, unsound, n > 1, out, &refused);
	}
	for (const struct entry *e = t->conf.first; e != NULL; e = e->next)
		if (is_faulty(e, service) && (!on || !e->asleep))
			buf_addf(&refused, "refused: faulty %s:%u\n  the entry has an error; server -t tells it\n", e->in->name,
			    e->name.line);
	served = out->len;
	buf_add(out, refused.data, refused.len);
	buf_free(&refused);
	return served == 0;
}
