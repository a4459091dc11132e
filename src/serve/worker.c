#include "serve/worker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"
#include "serve/job.h"
#include "serve/link.h"
#include "serve/place.h"

struct worker {
	struct loop *loop;
	struct links *links;
	int channel;
	uint32_t watch;
	bool closed;		/* the master is gone: no more connections come */
	struct report report[REPORTS];
	unsigned nreports;
};

/* --- reports */

static void
flush_reports(struct worker *w)
{
	if (w->nreports > 0 && !w->closed)
		(void)send(w->channel, w->report, w->nreports * sizeof w->report[0], MSG_NOSIGNAL);
	w->nreports = 0;
}

static struct report *
new_report(void *arg, uint64_t number, enum report_kind kind)
{
	struct worker *w = arg;
	struct report *r;

	if (w->nreports == REPORTS)
		flush_reports(w);
	r = &w->report[w->nreports++];
	*r = (struct report){ .kind = kind, .number = number };
	return r;
}

/* --- jobs */

static void
take_job(struct worker *w, const struct job *j, int fd)
{
	if (fd != -1 && links_take(w->links, j, fd))
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
	if (n <= 0) {
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
	else
		for (size_t i = 0; i < (size_t)n / sizeof m.job[0]; i++)
			take_job(w, &m.job[i], i < nfds ? fds[i] : -1);
	return true;
}

static void
channel_ready(void *arg, uint32_t events)
{
	struct worker *w = arg;

	(void)events;
	for (int i = 0; i < 64 && take_message(w); i++)
		;
}

void
worker_run(int channel, void *arg)
{
	struct worker w = { .channel = channel };

	(void)arg;
	(void)signal(SIGPIPE, SIG_IGN);	/* splice(2) cannot be told to send none */
	w.loop = loop_new();
	w.links = w.loop != NULL ? links_new(w.loop, new_report, &w) : NULL;
	if (w.links == NULL)
		_exit(1);
	w.watch = loop_watch(w.loop, channel, EPOLLIN, channel_ready, &w);
	if (w.watch == 0)
		_exit(1);
	while (!w.closed || links_number(w.links) > 0) {
		if (loop_run_once(w.loop, links_busy(w.links) ? 0 : -1) == -1)
			_exit(1);
		links_run(w.links);
		flush_reports(&w);
	}
	_exit(0);
}
