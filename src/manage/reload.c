#include "manage/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/heap.h"
#include "base/state.h"
#include "child/helper.h"
#include "manage/inherited.h"

enum {
	LONGEST = 60,		/* s: then the reading is given up */
	MORE = 5,		/* s: so much longer the master waits for that */
	PIECE = 65536,		/* bytes taken in one turn */
};

struct reload {
	struct engine *engine;
	const struct config *config;	/* NULL: there is no table */
	reload_begun *begun;
	reload_done *done;
	void *arg;
	struct words on, off;	/* ids, whatever the table says of them */
	int answer;		/* of the process that reads; -1: none does */
	uint32_t watch;
	pid_t pid;
	struct timer over;	/* of a process that does not even end */
	struct buf plan;	/* as far as it has come */
	uint64_t number;	/* of the one that is going on, or was last */
	bool again;		/* another one was asked for meanwhile */
	bool held;		/* none begins for now */
};

/* --- in the process that reads */

struct prints {			/* of the services that run, in order */
	uint64_t *print;
	bool *taken;
	size_t n;
};

static int
compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Several may be alike: each is had once. */
static bool
known(void *arg, uint64_t print)
{
	struct prints *p = arg;
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (p->print[middle] < print)
			low = middle + 1;
		else
			high = middle;
	}
	while (low < p->n && p->print[low] == print && p->taken[low])
		low++;
	if (low == p->n || p->print[low] != print)
		return false;
	p->taken[low] = true;
	return true;
}

static int
gather(const struct engine *e, struct prints *p)
{
	size_t n = 0;

	for (const struct unit *u = e->units; u != NULL; u = u->next)
		n++;
	p->print = calloc(n + 1, sizeof *p->print);
	p->taken = calloc(n + 1, sizeof *p->taken);
	if (p->print == NULL || p->taken == NULL)
		return -1;
	for (const struct unit *u = e->units; u != NULL; u = u->next)
		p->print[p->n++] = u->print;
	qsort(p->print, p->n, sizeof *p->print, compare);
	return 0;
}

static void
read_tables(int answer, void *arg)
{
	const struct reload *r = arg;
	struct prints prints = { .n = 0 };
	struct master m = *r->config->master;
	struct buf out = { 0 };
	struct table t;

	reload_overrides(r, &m);
	(void)setsid();		/* the master takes who ends in its own group for a burial */
	(void)alarm(LONGEST);
	if (gather(r->engine, &prints) == -1)
		goto out;
	table_read(&t, &m, r->config->file, r->config->nfiles, r->config->option, r->config->noptions);
	plan_of_table(&t, known, &prints, &out);
	if (!out.failed)
		(void)fd_write_all(answer, out.data, out.len);
out:
	free(prints.print);
	free(prints.taken);
}

/* --- in the master */

/* What was asked for meanwhile. */
static void
follow(struct reload *r)
{
	if (!r->again || r->held)
		return;
	r->again = false;
	(void)reload_begin(r);
}

/* why NULL: it has told all it had to tell. */
static void
finish(struct reload *r, const char *why)
{
	struct loop *l = r->engine->loop;
	struct plan p;
	struct err err;

	loop_timer_stop(l, &r->over);
	loop_close(l, r->watch, r->answer);
	r->watch = 0;
	r->answer = -1;
	if (why == NULL && plan_read(&p, r->plan.data, r->plan.failed ? 0 : r->plan.len, &err) == 0) {
		r->done(r->arg, &p, NULL);
		plan_free(&p);
	} else {
		r->done(r->arg, NULL, why != NULL ? why : "the process that read the table did not come to an end");
	}
	buf_free(&r->plan);
	heap_trim();
	follow(r);
}

static void
readable(void *arg, uint32_t events)
{
	struct reload *r = arg;
	static char piece[PIECE];
	ssize_t n = read(r->answer, piece, sizeof piece);

	(void)events;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		buf_add(&r->plan, piece, (size_t)n);
	else
		finish(r, NULL);
}

/* A disk that does not answer, or a signal that stopped it: it cannot end itself. */
static void
over(void *arg, int64_t now)
{
	struct reload *r = arg;

	(void)now;
	(void)kill(r->pid, SIGKILL);
	finish(r, "the process that read the table hangs");
}

static int
start(struct reload *r)
{
	int fds[2], why;

	if (pipe2(fds, O_CLOEXEC) == -1)
		return -1;
	/* Only our end: the process writes all of it. */
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	r->pid = helper_start(fds[1], false, read_tables, r);
	why = errno;
	(void)close(fds[1]);
	if (r->pid != -1) {
		r->watch = loop_watch(r->engine->loop, fds[0], EPOLLIN, readable, r);
		why = errno;
	}
	if (r->pid == -1 || r->watch == 0) {
		(void)close(fds[0]);
		errno = why;
		return -1;
	}
	r->answer = fds[0];
	loop_timer(r->engine->loop, &r->over, clock_ms() + (LONGEST + MORE) * SECOND);
	return 0;
}

uint64_t
reload_begin(struct reload *r)
{
	if (r->answer != -1 || r->held) {
		r->again = true;	/* the tables may have changed since they were read */
		return r->number + 1;
	}
	r->number++;
	r->begun(r->arg);
	if (reload_refused(r) != NULL)
		r->done(r->arg, NULL, reload_refused(r));
	else if (start(r) == -1)
		r->done(r->arg, NULL, strerror(errno));
	return r->number;
}

uint64_t
reload_number(const struct reload *r)
{
	return r->number;
}

bool
reload_runs(const struct reload *r)
{
	return r->answer != -1;
}

bool
reload_again(const struct reload *r)
{
	return r->again;
}

void
reload_hold(struct reload *r, bool back)
{
	r->held = back;
	if (!back && r->answer == -1)
		follow(r);
}

const char *
reload_refused(const struct reload *r)
{
	if (r->config == NULL)
		return "one command is served: there is no table to read again";
	for (size_t i = 0; i < r->config->nfiles; i++)
		if (file_once(r->config->file[i]))
			return "the table was read from what cannot be read again; give it as a file";
	return NULL;
}

void
reload_overrides(const struct reload *r, struct master *m)
{
	m->inherited = inherited_taken;
	m->inherited_arg = r->engine;
	m->on = &r->on;
	m->off = &r->off;
}

int
reload_override(struct reload *r, const char *id, bool on)
{
	struct words *to = on ? &r->on : &r->off;

	(void)words_remove(on ? &r->off : &r->on, id);
	return words_have(to, id) ? 0 : words_add(to, id);
}

static void
carry(const struct words *w, bool on, struct buf *out)
{
	for (size_t i = 0; i < w->n; i++) {
		state_begin(out, "override");
		state_text(out, "id", w->word[i]);
		state_number(out, "on", on);
		state_end(out);
	}
}

void
reload_carry(const struct reload *r, struct buf *out)
{
	carry(&r->on, true, out);
	carry(&r->off, false, out);
}

struct reload *
reload_new(struct engine *e, const struct config *c, reload_begun *begun, reload_done *done, void *arg)
{
	struct reload *r = calloc(1, sizeof *r);

	if (r == NULL || loop_timer_room(e->loop) == -1) {
		free(r);
		return NULL;
	}
	*r = (struct reload){ .engine = e, .config = c, .begun = begun, .done = done, .arg = arg, .answer = -1,
		.over = { .fire = over } };
	r->over.arg = r;
	return r;
}

void
reload_free(struct reload *r)
{
	if (r == NULL)
		return;
	if (r->answer != -1) {
		loop_close(r->engine->loop, r->watch, r->answer);
		(void)kill(r->pid, SIGKILL);
	}
	loop_timer_stop(r->engine->loop, &r->over);
	loop_timer_leave(r->engine->loop);
	words_free(&r->on);
	words_free(&r->off);
	buf_free(&r->plan);
	free(r);
}
