#include "manage/control_parts.h"

#include <string.h>

#include "base/num.h"
#include "manage/services.h"
#include "serve/conn.h"

static bool
has_id(const struct unit *u, const char *id)
{
	while (u != NULL && strcmp(u->conf->id, id) != 0)
		u = u->next;
	return u != NULL;
}

static bool
is_service(const struct control *c, const char *id)
{
	size_t n;
	const struct absent *absent = services_absent(server_services(c->server), &n);

	if (has_id(server_engine(c->server)->units, id))
		return true;
	for (size_t i = 0; i < n; i++)
		if (strcmp(absent[i].id, id) == 0)
			return true;
	return false;
}

static void
ask_reload(struct asker *a)
{
	struct reload *r = server_reload(a->control->server);

	loop_timer_stop(a->control->loop, &a->timer);
	if (reload_refused(r) != NULL) {
		asker_reply(a, 1, 'e', "%s", reload_refused(r));
		return;
	}
	if (!server_serves(a->control->server)) {
		asker_reply(a, 1, 'e', "the server is about to end");
		return;
	}
	/* One that has shut its side still wants the answer: only its end counts now. */
	if (loop_change(a->control->loop, a->watch, 0) == -1) {
		asker_free(a);
		return;
	}
	/* The end of it may come before this returns, and of nothing else. */
	a->state = ASKER_RELOADS;
	a->number = reload_number(r) + 1;
	(void)reload_begin(r);
}

static void
ask_switch(struct asker *a, bool on)
{
	if (!is_service(a->control, a->word[1]))
		asker_reply(a, 1, 'e', "there is no service %s", a->word[1]);
	else if (reload_refused(server_reload(a->control->server)) == NULL &&
	    reload_override(server_reload(a->control->server), a->word[1], on) == -1)
		asker_reply(a, 1, 'e', "no memory");
	else {
		a->switches = true;
		ask_reload(a);
	}
}

static void
ask_kill(struct asker *a)
{
	struct engine *e = server_engine(a->control->server);
	uint64_t number = 0;
	unsigned n = 0;

	if (a->word[1][strspn(a->word[1], "0123456789")] == '\0') {
		if (!num_parse(a->word[1], 1, UINT64_MAX, &number) || conn_kill(e, number, NULL) == 0)
			asker_reply(a, 1, 'e', "there is no connection %s", a->word[1]);
		else
			asker_reply(a, 0, 'o', "connection %s is told to end", a->word[1]);
		return;
	}
	/* Connections outlive their service's entry. */
	if (!is_service(a->control, a->word[1]) && !has_id(e->gone, a->word[1])) {
		asker_reply(a, 1, 'e', "there is no service %s", a->word[1]);
		return;
	}
	n = conn_kill(e, 0, a->word[1]);
	asker_reply(a, 0, 'o', "%u connection%s of %s %s told to end", n, n == 1 ? "" : "s", a->word[1],
	    n == 1 ? "is" : "are");
}

static void
ask_tables(struct asker *a)
{
	const struct config *c = server_config(a->control->server);

	if (c == NULL) {
		asker_reply(a, 1, 'e', "one command is served: there is no table");
		return;
	}
	/* Who asks may stand elsewhere. */
	for (size_t i = 0; i < c->nfiles; i++) {
		const char *name = c->file[i];
		bool here = name[0] != '/' && !file_once(name) && c->master->cwd != NULL;

		buf_addf(&a->text, "o %s%s%s\n", here ? c->master->cwd : "", here ? "/" : "", name);
	}
	answer_end(&a->text, 0);
	asker_say(a);
}

static void
say_words(struct asker *a, const char *kind, const struct words *w)
{
	for (size_t i = 0; w != NULL && i < w->n; i++)
		buf_addf(&a->text, "o %s %s\n", kind, w->word[i]);
}

/*
 * What its name and its command line put under and over the tables' defaults, and who was switched on and off.
 * A table's errors may hang on it.
 */
static void
ask_options(struct asker *a)
{
	const struct config *c = server_config(a->control->server);
	struct master m = { 0 };

	for (size_t i = 0; c != NULL && i < c->master->npresets; i++)
		buf_addf(&a->text, "o preset %s\n", c->master->preset[i]);
	for (size_t i = 0; c != NULL && i < c->noptions; i++)
		if (strchr(c->option[i], '\n') == NULL)
			buf_addf(&a->text, "o option %s\n", c->option[i]);
	reload_overrides(server_reload(a->control->server), &m);
	say_words(a, "on", m.on);
	say_words(a, "off", m.off);
	answer_end(&a->text, 0);
	asker_say(a);
}

static void
ask_end(struct asker *a)
{
	struct server *s = a->control->server;
	bool drain = a->word[0][0] == 'd';

	asker_reply(a, 0, 'o', drain ? "no more connections are taken; those that are there may end" :
	    "all connections are told to end");
	if (drain)
		server_drain(s);
	else
		server_stop(s);
}

static void
ask_enable(struct asker *a)
{
	ask_switch(a, true);
}

static void
ask_disable(struct asker *a)
{
	ask_switch(a, false);
}

static void
ask_upgrade(struct asker *a)
{
	loop_timer_stop(a->control->loop, &a->timer);
	if (loop_change(a->control->loop, a->watch, 0) == -1) {	/* as at a reload */
		asker_free(a);
		return;
	}
	a->state = ASKER_UPGRADES;
	server_upgrade(a->control->server);
}

static const struct request {
	const char *name;
	size_t least, most;	/* words behind it */
	void (*act)(struct asker *a);
} requests[] = {
	{ "status", 0, 1, asker_answer },
	{ "status-json", 0, 1, asker_answer },
	{ "snapshot", 0, 0, asker_answer },
	{ "explain", 2, 3, asker_answer },
	{ "reload", 0, 0, ask_reload },
	{ "enable", 1, 1, ask_enable },
	{ "disable", 1, 1, ask_disable },
	{ "kill", 1, 1, ask_kill },
	{ "drain", 0, 0, ask_end },
	{ "stop", 0, 0, ask_end },
	{ "tables", 0, 0, ask_tables },
	{ "options", 0, 0, ask_options },
	{ "upgrade", 0, 0, ask_upgrade },
};

void
asker_act(struct asker *a)
{
	size_t n = 0;

	for (char *p = a->line; *p != '\0'; p += strcspn(p, " ")) {
		if (*p == ' ')
			*p++ = '\0';
		p += strspn(p, " ");
		if (*p != '\0' && n <= WORDS)
			a->word[n++] = p;
	}
	a->word[n] = NULL;
	for (size_t i = 0; n > 0 && i < sizeof requests / sizeof requests[0]; i++) {
		const struct request *r = &requests[i];

		if (strcmp(a->word[0], r->name) != 0)
			continue;
		if (n - 1 < r->least || n - 1 > r->most)
			break;
		r->act(a);
		return;
	}
	asker_reply(a, 2, 'e', "this server does not know that request");
}
