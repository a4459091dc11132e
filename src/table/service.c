#include "table/service.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

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

struct service *
service_hold(struct service *s)
{
	s->refs++;
	return s;
}

static void
banner_free(struct banner *b)
{
	free(b->path);
	free(b->text);
}

void
service_free(struct service *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	free(s->id);
	for (size_t i = 0; i < s->nlisten; i++)
		free(s->listen[i].text);
	free(s->listen);
	words_free(&s->exec);
	free(s->directory);
	free(s->chroot);
	free(s->user);
	free(s->group);
	words_free(&s->env);
	words_free(&s->passenv);
	rules_free(&s->only_from);
	rules_free(&s->no_access);
	free(s->times);
	free(s->owner);
	free(s->log_tag);
	banner_free(&s->banner);
	banner_free(&s->banner_success);
	banner_free(&s->banner_fail);
	for (char **p = s->run.path; p != NULL && *p != NULL; p++)
		free(*p);
	free(s->run.path);
	free(s->run.argv);
	free(s->run.groups);
	for (size_t i = 0; i < s->run.nenv; i++)
		free(s->run.env[i]);
	free(s->run.env);
	free(s->run.home);
	free(s->run.login);
	free(s->run.sh);
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
