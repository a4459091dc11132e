#include "table/service.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define AT(member) offsetof(struct service, member)

struct service *
service_new(void)
{
	struct service *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->groups = true;
	s->instances = UINT32_MAX;
	s->source = (struct source_limits){ .most = UINT32_MAX, .v4 = 32, .v6 = 64 };
	s->kill_after = 5 * SECOND;
	s->linger = 2 * SECOND;
	s->on_success = RECORD_PID | RECORD_HOST | RECORD_EXIT | RECORD_DURATION;
	s->on_failure = RECORD_HOST;
	s->limit = UINT32_MAX;
	s->grace = 8 * SECOND;
	return s;
}

/*
 * Every text, list of words and list of rules that a service owns; what else it owns is handled
 * one by one.
 */
static const size_t texts[] = { AT(name), AT(id), AT(server), AT(protocol), AT(port), AT(bind),
	AT(directory), AT(chroot), AT(user), AT(group), AT(owner), AT(log_tag),
	AT(banner.path), AT(banner_success.path), AT(banner_fail.path) };
static const size_t lists[] = { AT(exec), AT(server_args), AT(redirect), AT(env), AT(passenv),
	AT(enabled), AT(disabled) };
static const size_t rule_lists[] = { AT(only_from), AT(no_access), AT(proxy_from) };

#define COUNT(of) (sizeof(of) / sizeof(of)[0])
#define MEMBER(s, type, at) ((type *)(void *)((char *)(s) + (at)))

void
address_free(struct address *a)
{
	free(a->text);
	where_free(&a->where);
	free(a->host);
}

bool
service_is_named(const struct service *s, const char *name)
{
	return strcmp(s->id, name) == 0 || strcmp(s->name, name) == 0;
}

void
logs_free(struct logs *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->to[i].path);
	free(l->to);
	*l = (struct logs){ 0 };
}

static int
copy_logs(struct logs *l, const struct logs *from)
{
	if (from->n == 0)
		return 0;
	l->to = calloc(from->n, sizeof *l->to);
	if (l->to == NULL)
		return -1;
	for (; l->n < from->n; l->n++) {
		l->to[l->n] = from->to[l->n];
		if (from->to[l->n].path != NULL && (l->to[l->n].path = strdup(from->to[l->n].path)) == NULL)
			return -1;
	}
	return 0;
}

struct service *
service_copy(const struct service *from)
{
	struct service *s = malloc(sizeof *s);
	int rc = 0;

	if (s == NULL)
		return NULL;
	memcpy(s, from, sizeof *s);	/* what is between the members too: it is compared as bytes */
	s->refs = 1;
	s->run = (struct run){ 0 };
	s->target = NULL;
	s->own[0] = s->own[1] = 0;
	s->banner.text = s->banner_success.text = s->banner_fail.text = NULL;
	s->banner.len = s->banner_success.len = s->banner_fail.len = 0;
	s->rlimit = NULL;
	if (from->rlimit != NULL) {
		s->rlimit = malloc(LIMITS * sizeof *s->rlimit);
		if (s->rlimit != NULL)
			memcpy(s->rlimit, from->rlimit, LIMITS * sizeof *s->rlimit);
		else
			rc = -1;
	}
	s->log = (struct logs){ 0 };
	assert(from->nlisten == 0);	/* no address is every service's */
	s->times = NULL;
	s->ntimes = 0;
	for (size_t i = 0; i < COUNT(texts); i++)
		*MEMBER(s, char *, texts[i]) = NULL;
	for (size_t i = 0; i < COUNT(lists); i++)
		*MEMBER(s, struct words, lists[i]) = (struct words){ 0 };
	for (size_t i = 0; i < COUNT(rule_lists); i++)
		*MEMBER(s, struct rules, rule_lists[i]) = (struct rules){ 0 };
	for (size_t i = 0; i < COUNT(texts); i++) {
		const char *t = *MEMBER(from, char *, texts[i]);

		if (t != NULL && (*MEMBER(s, char *, texts[i]) = strdup(t)) == NULL)
			rc = -1;
	}
	for (size_t i = 0; i < COUNT(lists); i++)
		rc |= words_copy(MEMBER(s, struct words, lists[i]), MEMBER(from, struct words, lists[i]));
	for (size_t i = 0; i < COUNT(rule_lists); i++)
		rc |= rules_copy(MEMBER(s, struct rules, rule_lists[i]), MEMBER(from, struct rules, rule_lists[i]));
	rc |= copy_logs(&s->log, &from->log);
	if (from->ntimes > 0) {
		s->times = malloc(from->ntimes * sizeof *s->times);
		if (s->times != NULL) {
			memcpy(s->times, from->times, from->ntimes * sizeof *s->times);
			s->ntimes = from->ntimes;
		} else {
			rc = -1;
		}
	}
	if (rc == 0)
		return s;
	service_free(s);
	return NULL;
}

void
environment_free(struct environment *e)
{
	if (e == NULL || --e->refs > 0)
		return;
	if (e->packed) {
		free(e);
		return;
	}
	for (size_t i = 0; i < e->n; i++)
		free(e->var[i]);
	free(e->var);
	free(e);
}

struct service *
service_hold(struct service *s)
{
	s->refs++;
	return s;
}

void
service_free(struct service *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	if (s->packed) {
		environment_free(s->run.env);
		free(s);
		return;
	}
	if (s->id == s->name)
		s->id = NULL;
	for (char **p = s->run.path; p != NULL && *p != NULL; p++)
		if (*p != s->run.program)
			free(*p);
	for (size_t i = 0; i < COUNT(texts); i++)
		free(*MEMBER(s, char *, texts[i]));
	for (size_t i = 0; i < COUNT(lists); i++)
		words_free(MEMBER(s, struct words, lists[i]));
	for (size_t i = 0; i < COUNT(rule_lists); i++)
		rules_free(MEMBER(s, struct rules, rule_lists[i]));
	logs_free(&s->log);
	for (size_t i = 0; i < s->nlisten; i++)
		address_free(&s->listen[i]);
	free(s->listen);
	if (s->target != NULL)
		where_free(s->target);
	free(s->target);
	free(s->times);
	free(s->rlimit);
	free(s->banner.text);
	free(s->banner_success.text);
	free(s->banner_fail.text);
	free(s->run.path);
	free(s->run.argv);
	free(s->run.groups);
	environment_free(s->run.env);
	free(s->run.limit);
	free(s);
}

int
words_add(struct words *w, const char *word)
{
	char **p = realloc(w->word, (w->n + 2) * sizeof *p);

	if (p == NULL)
		return -1;
	w->word = p;
	p[w->n] = strdup(word);
	if (p[w->n] == NULL)
		return -1;
	p[++w->n] = NULL;
	return 0;
}

int
words_copy(struct words *to, const struct words *from)
{
	for (size_t i = 0; i < from->n; i++)
		if (words_add(to, from->word[i]) == -1)
			return -1;
	return 0;
}

bool
words_have(const struct words *w, const char *word)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->word[i], word) == 0)
			return true;
	return false;
}

bool
words_remove(struct words *w, const char *word)
{
	size_t kept = 0, was = w->n;

	for (size_t i = 0; i < was; i++) {
		if (strcmp(w->word[i], word) == 0)
			free(w->word[i]);
		else
			w->word[kept++] = w->word[i];
	}
	w->n = kept;
	if (w->word != NULL)
		w->word[kept] = NULL;
	return kept != was;
}

void
words_free(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->word[i]);
	free(w->word);
	*w = (struct words){ 0 };
}
