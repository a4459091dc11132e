#include "serve/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/away.h"
#include "serve/connection.h"
#include "serve/history.h"
#include "serve/mux.h"

enum {
	ERROR_MOST = 240,		/* bytes of an error that are remembered */
	FLOOD_OVER = 2000,		/* ms without a line */
};

const char *
reason_text(enum reason r)
{
	static const char *const text[REASONS] = { "address", "time", "source_rate",
	    "per_source_limit", "service_limit", "process_limit", "load", "fork", "sensor", "proxy" };

	return text[r];
}

static void
told_stuck(void *arg, pid_t pid)
{
	(void)arg;
	log_say(LEVEL_ERR, "error", "the start of process %d took more than 10 s; killed", (int)pid);
}

static void
tick(void *arg, int64_t now)
{
	struct engine *e = arg;

	if (spawner_tick(e->spawner, now, told_stuck, e))
		loop_timer(e->loop, &e->tick, now + SECOND);
}

static void
settle(void *arg, int64_t now)
{
	struct engine *e = arg;

	if (spawner_settle(e->spawner))
		loop_timer(e->loop, &e->settle, now + 1);
}

static void
bell(void *arg, uint32_t events)
{
	struct engine *e = arg;
	uint64_t rung;

	(void)events;
	(void)!read(spawner_bell(e->spawner), &rung, sizeof rung);
	(void)spawner_settle(e->spawner);
}

static void
tell_dropped(struct unit *u, enum flood f)
{
	static const char *const what[FLOODS] = { "refusals", "failed starts", "lines of stderr", "lost datagrams" };

	if (u->flood_dropped[f] > 0)
		unit_say(u, LEVEL_NOTICE, "suppressed", "%u more %s", u->flood_dropped[f], what[f]);
	u->flood_dropped[f] = 0;
}

void
engine_tell_dropped(struct engine *e)
{
	for (struct unit *u = e->flooded; u != NULL; u = u->next_flooded)
		for (enum flood f = 0; f < FLOODS; f++)
			tell_dropped(u, f);
}

static void
flood_over(void *arg, int64_t now)
{
	struct unit *later = NULL, *u;
	struct engine *e = arg;

	while ((u = e->flooded) != NULL) {
		bool keep = false;

		e->flooded = u->next_flooded;
		/* While lines still come, each tells what was dropped before it. */
		for (enum flood f = 0; f < FLOODS; f++)
			if (now - u->flood_line[f] >= FLOOD_OVER)
				tell_dropped(u, f);
			else
				keep = keep || u->flood_dropped[f] > 0;
		u->flooded = keep;
		if (keep) {
			u->next_flooded = later;
			later = u;
		}
	}
	e->flooded = later;
	if (later != NULL)
		loop_timer(e->loop, &e->flood_over, now + SECOND);
}

struct engine *
engine_new(struct loop *loop)
{
	struct engine *e = calloc(1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->loop = loop;
	e->limit = UINT32_MAX;
	e->lingering_most = CONN_LINGER_MOST;
	e->load_fd = -1;
	e->tick.fire = tick;
	e->tick.arg = e;
	e->settle.fire = settle;
	e->settle.arg = e;
	e->flood_over.fire = flood_over;
	e->flood_over.arg = e;
	e->retry.fire = conn_retry;
	e->retry.arg = e;
	e->failed = spawn_shared(CONN_MOST * sizeof *e->failed);
	e->ending = spawn_shared(sizeof *e->ending);
	e->spawner = spawner_new();
	if (e->failed == NULL || e->ending == NULL || e->spawner == NULL || sources_init(&e->sources) == -1 ||
	    hash_init(&e->by_pid) == -1 || hash_init(&e->sessions) == -1 ||
	    hash_init(&e->muxed) == -1 || hash_init(&e->away_by_number) == -1 || loop_timer_room(loop) == -1 || loop_timer_room(loop) == -1 ||
	    loop_timer_room(loop) == -1 || loop_timer_room(loop) == -1) {
		int why = errno;

		engine_free(e);
		errno = why;
		return NULL;
	}
	if (spawner_bell(e->spawner) != -1)	/* unwatched, the timer has to do */
		e->bell = loop_watch(loop, spawner_bell(e->spawner), EPOLLIN, bell, e);
	conn_probe(e);
	return e;
}

void
engine_free(struct engine *e)
{
	if (e == NULL)
		return;
	away_free(e);
	conn_free_all(e);
	sources_free(&e->sources);
	bans_free(&e->bans);
	free(e->builtin_ports);
	hash_free(&e->by_pid);
	hash_free(&e->sessions);
	hash_free(&e->muxed);
	hash_free(&e->away_by_number);
	if (e->spawner != NULL) {
		spawner_let_go(e->spawner);
		loop_close(e->loop, e->bell, spawner_bell(e->spawner));
	}
	spawner_free(e->spawner);
	if (e->load_fd != -1)
		(void)close(e->load_fd);
	if (e->failed != NULL)
		(void)munmap(e->failed, CONN_MOST * sizeof *e->failed);
	if (e->ending != NULL)
		(void)munmap(e->ending, sizeof *e->ending);
	free(e);
}

static void
enlist(struct unit *u)
{
	struct engine *e = u->engine;

	u->next = NULL;
	u->prev = e->units_last;
	*(u->prev != NULL ? &u->prev->next : &e->units) = u;
	e->units_last = u;
}

static void
unlist(struct unit *u)
{
	struct engine *e = u->engine;

	*(u->prev != NULL ? &u->prev->next : u->retired ? &e->gone : &e->units) = u->next;
	if (u->next != NULL)
		u->next->prev = u->prev;
	else if (!u->retired)
		e->units_last = u->prev;
}

/* While a service of the table shows what came lately, it is kept. */
static void
watch(struct engine *e, const struct service *s, int change)
{
	if (s->internal == BUILTIN_STATUS)
		history_watch(e, change);
}

static bool
paces_alike(const struct service *a, const struct service *b)
{
	return a->cps.n == b->cps.n && a->cps.per == b->cps.per && a->cps.pace == b->cps.pace;
}

static bool
has_own_log(const struct service *s)
{
	return s->log.n > 1 || (s->log.n == 1 && s->log.to[0].kind != LOG_MASTER);
}

struct unit *
unit_new(struct engine *e, struct service *conf, const struct unit *instead)
{
	static uint64_t number;
	struct unit *u = calloc(1, sizeof *u);

	if (u == NULL)
		return NULL;
	u->engine = e;
	u->number = ++number;
	if ((instead == NULL || !paces_alike(instead->conf, conf)) && pace_init(&u->pace, &conf->cps) == -1) {
		free(u);
		return NULL;
	}
	enlist(u);
	u->conf = service_hold(conf);
	watch(e, conf, 1);
	u->log = sink_get(conf->log.to, conf->log.n);
	if ((u->log == NULL && has_own_log(conf)) ||
	    ((conf->type & (TYPE_TCPMUX | TYPE_TCPMUXPLUS)) != 0 && mux_add(u) == -1)) {
		unit_free(u);
		return NULL;
	}
	return u;
}

void
unit_change(struct unit *u, struct unit *to)
{
	struct service *was = u->conf;
	struct sink *log = u->log;

	if (!paces_alike(was, to->conf)) {
		struct pace pace = u->pace;

		u->pace = to->pace;
		to->pace = pace;
	}
	mux_remove(u);
	mux_move(to, u);
	away_forget(u);
	u->log = to->log;
	to->log = log;
	u->anew = source_anew(&was->source, &to->conf->source);
	watch(u->engine, to->conf, 1);
	watch(u->engine, was, -1);
	u->conf = service_hold(to->conf);
	service_free(was);
	unit_free(to);
}

void
unit_retire(struct unit *u)
{
	struct engine *e = u->engine;

	mux_remove(u);
	watch(e, u->conf, -1);
	unlist(u);
	u->retired = true;
	u->prev = NULL;
	u->next = e->gone;
	if (u->next != NULL)
		u->next->prev = u;
	e->gone = u;
	e->unused = true;
}

void
unit_return(struct unit *u)
{
	unlist(u);
	u->retired = false;
	watch(u->engine, u->conf, 1);
	enlist(u);
}

void
unit_to_end(struct unit *u)
{
	unlist(u);
	enlist(u);
}

void
unit_leave(struct unit *u)
{
	if (--u->uses == 0 && u->retired)
		u->engine->unused = true;
}

void
units_bury(struct engine *e)
{
	struct unit *next;

	if (!e->unused)
		return;
	e->unused = false;
	for (struct unit *u = e->gone; u != NULL; u = next) {
		next = u->next;
		/* A start in flight counts itself out there. */
		if (u->uses == 0 && u->starting == 0)
			unit_free(u);
		else if (u->uses == 0)
			e->unused = true;
	}
}

void
unit_free(struct unit *u)
{
	if (u == NULL)
		return;
	unlist(u);
	if (!u->retired)
		watch(u->engine, u->conf, -1);
	history_forget(u);
	mux_remove(u);
	away_forget(u);
	for (struct unit **at = &u->engine->flooded; *at != NULL; at = &(*at)->next_flooded)
		if (*at == u) {
			*at = u->next_flooded;
			break;
		}
	pace_free(&u->pace);
	sink_put(u->log);
	service_free(u->conf);
	if (u->past != NULL)
		free(u->past->error);
	free(u->past);
	free(u);
}

struct log_style
unit_style(const struct unit *u)
{
	return (struct log_style){ .json = u->conf->json != 0, .tag = u->conf->log_tag, .sink = u->log };
}

void
unit_started(struct unit *u)
{
	u->started++;
	if (u->engine->history != NULL)
		history_count(u, false);
}

void
unit_refused(struct unit *u, enum reason why)
{
	u->refused[why]++;
	if (u->engine->history != NULL)
		history_count(u, true);
}

struct past *
unit_past(struct unit *u)
{
	if (u->past == NULL)
		u->past = calloc(1, sizeof *u->past);
	return u->past;
}

void
unit_failed_at(struct unit *u, const char *text, int64_t at)
{
	size_t len = strnlen(text, ERROR_MOST);
	struct past *past = unit_past(u);
	struct last_error *p = past != NULL ? realloc(past->error, sizeof *p + len + 1) : NULL;

	if (p == NULL)
		return;
	past->error = p;
	p->at = at;
	memcpy(p->text, text, len);
	p->text[len] = '\0';
}

void
unit_say(struct unit *u, enum level level, const char *event, const char *fmt, ...)
{
	struct log_style style = unit_style(u);
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (level <= LEVEL_WARNING && strcmp(event, "error") == 0)
		unit_failed_at(u, text, time(NULL));
	log_event(&(struct event){ .level = level, .name = event, .service = u->conf->id,
	    .message = text }, &style);
}

bool
flood_allows(struct unit *u, enum flood f)
{
	static const unsigned burst[FLOODS] = { 60, 60, 1000, 20 };
	struct loop *l = u->engine->loop;

	if (bucket_take(&u->flood[f], burst[f], burst[f] * SECOND, loop_now(l))) {
		tell_dropped(u, f);
		u->flood_line[f] = loop_now(l);
		return true;
	}
	u->flood_dropped[f]++;
	if (!u->flooded) {
		u->flooded = true;
		u->next_flooded = u->engine->flooded;
		u->engine->flooded = u;
	}
	if (u->engine->flood_over.place == 0)
		loop_timer(l, &u->engine->flood_over, loop_now(l) + SECOND);
	return false;
}

double
engine_load(struct engine *e)
{
	char text[64];
	ssize_t n;

	if (e->load_at != 0 && loop_now(e->loop) - e->load_at < SECOND)
		return e->load;
	if (e->load_fd == -1)
		e->load_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	n = e->load_fd == -1 ? -1 : pread(e->load_fd, text, sizeof text - 1, 0);
	if (n > 0) {
		text[n] = '\0';
		e->load = strtod(text, NULL);
	}
	e->load_at = loop_now(e->loop);
	return e->load;
}
