#include "serve/worker.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "child/helper.h"
#include "net/loop.h"
#include "serve/job.h"
#include "serve/link.h"
#include "serve/place.h"

enum {
	ROOM_LEAST = 4 * REPORTS,
	AGAIN = 100,		/* ms until a send that failed for want of memory is tried again */
	APART = 1,		/* ms between messages with reports: each wakes the master */
};

struct worker {
	struct loop *loop;
	struct links *links;
	int channel;
	uint32_t watch;
	bool closed;		/* the master is gone: no more connections come */
	bool blocked;		/* it takes no more reports for now: no messages are read */
	struct timer again;
	bool asked;		/* whether all is read: that is told when all that there was is done */
	struct report *report;	/* owned: those that are not sent yet */
	size_t nreports, room;
	int64_t told;		/* when some were sent last */
};

/* Reads no more messages until the event, or, without one, for a while. */
static void
rest(struct worker *w, uint32_t until)
{
	w->blocked = true;
	(void)loop_change(w->loop, w->watch, until);
	if (until == 0)
		loop_timer(w->loop, &w->again, clock_ms() + AGAIN);
}

/* --- reports */

/*
 * Never waits: the master might just wait for us. What the channel does not take is kept until it
 * does, and meanwhile the master's messages wait as well: so what is kept is bounded by the
 * connections that there are.
 */
static void
flush_reports(struct worker *w)
{
	size_t sent = 0;
	bool was = w->blocked;
	int why = 0;

	w->told = loop_now(w->loop);
	if (w->closed)
		w->nreports = 0;
	while (sent < w->nreports) {
		size_t n = w->nreports - sent < REPORTS ? w->nreports - sent : REPORTS;

		if (send(w->channel, w->report + sent, n * sizeof w->report[0], MSG_DONTWAIT | MSG_NOSIGNAL) != -1)
			sent += n;
		else if (errno == EPIPE || errno == ECONNRESET)
			sent = w->nreports;	/* nobody is there to read them; reading tells the rest */
		else {
			why = errno;
			break;
		}
	}
	w->nreports -= sent;
	memmove(w->report, w->report + sent, w->nreports * sizeof w->report[0]);
	if (why != 0)
		rest(w, why == EAGAIN ? EPOLLOUT : 0);
	else if (was)
		(void)loop_change(w->loop, w->watch, EPOLLIN);
	w->blocked = why != 0;
}

static void
flush_again(void *arg, int64_t now)
{
	(void)now;
	flush_reports(arg);
}

/* Room for all reports of `more` connections beside those that there are, of a lost message, and that all is read. */
static bool
has_room(const struct worker *w, unsigned more)
{
	return w->nreports + LINK_REPORTS * ((size_t)links_number(w->links) + more) + 1 + JOBS <= w->room;
}

static bool
make_room(struct worker *w)
{
	size_t room = w->room == 0 ? ROOM_LEAST : w->room * 2;
	struct report *r = realloc(w->report, room * sizeof *r);

	if (r == NULL)
		return false;
	w->report = r;
	w->room = room;
	return true;
}

static struct report *
new_report(void *arg, uint64_t number, enum report_kind kind)
{
	struct worker *w = arg;
	struct report *r = &w->report[w->nreports++];

	assert(w->nreports <= w->room);
	*r = (struct report){ .kind = kind, .number = number };
	return r;
}

/* --- jobs */

static void
take_job(struct worker *w, const struct job *j, int fd)
{
	if (fd != -1 && (has_room(w, 1) || make_room(w)) && links_take(w->links, j, fd))
		return;
	new_report(w, j->number, REPORT_LOST)->fault = fd == -1 ? EMFILE : ENOMEM;
	if (fd != -1)
		(void)close(fd);
}

/* One message. False: none now, or the master is gone. */
static bool
take_message(struct worker *w)
{
	static union { struct job job[JOBS]; struct target target; } m;
	union { struct cmsghdr head; char room[CMSG_SPACE(JOBS * sizeof(int))]; } control;
	struct iovec v = { &m, sizeof m };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof control };
	ssize_t n = recvmsg(w->channel, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	size_t nfds = 0;
	int fds[JOBS];

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n == -1 && errno == ECONNRESET)	/* it went without reading all reports; what it sent is there */
		return true;
	if (n == -1) {		/* for want of memory */
		rest(w, 0);
		return false;
	}
	if (n == 0) {
		w->closed = true;
		loop_close(w->loop, w->watch, w->channel);
		return false;
	}
	/* Without descriptors to be had there are fewer than jobs. */
	c = CMSG_FIRSTHDR(&h);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof fds[0];
		memcpy(fds, CMSG_DATA(c), nfds * sizeof fds[0]);
	}
	if (m.job[0].kind == JOB_TARGET)
		place_take(&m.target);
	else if (m.job[0].kind == JOB_END)
		links_end(w->links, m.job[0].number);
	else {
		for (size_t i = 0; i < (size_t)n / sizeof m.job[0]; i++)
			take_job(w, &m.job[i], i < nfds ? fds[i] : -1);
		w->asked |= m.job[0].asks;
	}
	return true;
}

static void
channel_ready(void *arg, uint32_t events)
{
	struct worker *w = arg;

	(void)events;
	if (w->blocked)
		flush_reports(w);
	for (int i = 0; i < 64; i++) {
		if (w->nreports >= REPORTS || !has_room(w, 0))
			flush_reports(w);
		if (w->blocked || !take_message(w))
			break;
	}
}

void
worker_run(int channel, void *arg)
{
	struct worker w = { .channel = channel, .again = { .fire = flush_again } };

	if (helper_lower(arg) == -1) {
		const struct report r = { .kind = REPORT_UNFIT, .fault = errno };

		(void)send(channel, &r, sizeof r, MSG_DONTWAIT | MSG_NOSIGNAL);
		_exit(1);
	}
	w.again.arg = &w;
	(void)signal(SIGPIPE, SIG_IGN);	/* splice(2) cannot be told to send none */
	w.loop = loop_new();
	w.links = w.loop != NULL ? links_new(w.loop, new_report, &w) : NULL;
	if (w.links == NULL || !make_room(&w) || loop_timer_room(w.loop) == -1)
		_exit(1);
	w.watch = loop_watch(w.loop, channel, EPOLLIN, channel_ready, &w);
	if (w.watch == 0)
		_exit(1);
	while (!w.closed || links_number(w.links) > 0) {
		if (loop_run_once(w.loop, links_busy(w.links) ? 0 : w.nreports > 0 && !w.blocked ? w.told + APART : -1) == -1)
			_exit(1);
		links_run(w.links);
		if (w.asked) {
			new_report(&w, 0, REPORT_READ);
			w.told = 0;
			w.asked = false;
		}
		if (!w.blocked && w.nreports > 0 && loop_now(w.loop) - w.told >= APART)
			flush_reports(&w);
	}
	_exit(0);
}
