#include "serve/admit.h"

#include <time.h>

#include "base/clock.h"
#include "serve/away.h"
#include "serve/conn.h"

bool
unit_is_full(struct unit *u, enum reason *why, int64_t *until)
{
	struct engine *e = u->engine;
	const struct service *s = u->conf;
	int64_t now = loop_now(e->loop);

	*until = pace_wait(&u->pace, &s->cps, now);
	if (*until != 0) {
		*why = REASON_SERVICE_LIMIT;
		return true;
	}
	if (s->max_load > 0 && engine_load(e) >= s->max_load) {
		*why = REASON_LOAD;
		*until = now + SECOND;
		return true;
	}
	/* Whoever is about to say who he is has been taken from the queue: his place is kept. */
	if (u->live + (s->overload == OVERLOAD_QUEUE ? u->awaited : 0) >= s->instances) {
		*why = REASON_SERVICE_LIMIT;
		return true;
	}
	/* What the worker and the master serve themselves are no children. */
	if (!away_serves(s) && e->live + (s->overload == OVERLOAD_QUEUE ? e->awaited_children : 0) >= e->limit) {
		*why = REASON_PROCESS_LIMIT;
		return true;
	}
	return false;
}

bool
service_is_open(const struct service *s)
{
	time_t now;
	struct tm tm;

	if (s->ntimes == 0)
		return true;
	now = time(NULL);
	(void)localtime_r(&now, &tm);
	return interval_holds(s->times, s->ntimes, tm.tm_hour * 60 + tm.tm_min);
}

bool
unit_lets_in(struct unit *u, const struct peer *p, enum reason *why, struct source **source)
{
	const struct service *s = u->conf;
	struct engine *e = u->engine;
	const struct rule *rule;

	*why = REASON_SENSOR;
	if (p->kind == PEER_IP && ban_holds(&e->bans, &p->ip, loop_now(e->loop)))
		return false;
	/*
	 * With a domain in a list the child decides, once it knows the peer's name; but a name
	 * never overrules an address that is kept out.
	 */
	*why = REASON_ADDRESS;
	if (!access_allows(&s->only_from, &s->no_access, p, NULL, &rule) &&
	    (!conn_decides_by_name(s, p) || (rule != NULL && rule->kind == RULE_NET && rule->bits >= 96))) {
		if (rule != NULL)
			unit_say(u, LEVEL_DEBUG, "debug", "no_access %s refuses", rule->word);
		else
			unit_say(u, LEVEL_DEBUG, "debug", "only_from has no word for the peer");
		return false;
	}
	*why = REASON_TIME;
	if (!service_is_open(s))
		return false;
	switch (source_enter(&e->sources, u->number, &s->source, p, loop_now(e->loop), source)) {
	case SOURCE_OK:
		return true;
	case SOURCE_RATE:
		*why = REASON_SOURCE_RATE;
		return false;
	case SOURCE_LIMIT:
		*why = REASON_PER_SOURCE;
		return false;
	case SOURCE_MEMORY:
		*why = REASON_FORK;	/* what cannot be counted is not let in */
		return false;
	}
	return false;
}
