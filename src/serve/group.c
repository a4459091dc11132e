#include "serve/conn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/away.h"
#include "serve/datagram.h"

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1UL << 2)	/* Linux 6.9 */
#endif

enum { GROUP_MOST = 1000 };	/* ms: the longest between looks at a group */

/* --- signals to a group */

static int
send_pidfd(int pidfd, int sig, unsigned long flags)
{
#ifdef SYS_pidfd_send_signal
	return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, flags);
#else
	(void)pidfd, (void)sig, (void)flags;
	errno = ENOSYS;
	return -1;
#endif
}

void
conn_probe(struct engine *e)
{
#ifdef SYS_pidfd_open
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd == -1)
		return;
	/* A filter may answer anything to what it does not know: only what works is used. */
	e->pidfd_signals = send_pidfd(fd, 0, 0) == 0;
	e->pidfd_groups = e->pidfd_signals &&
	    (send_pidfd(fd, 0, PIDFD_SIGNAL_PROCESS_GROUP) == 0 || errno == ESRCH);
	(void)close(fd);
#endif
}

/* Signals the connection's process group; 0 only asks. -1 and ESRCH: nobody is left. */
static int
signal_group(const struct conn *c, int sig)
{
	const struct engine *e = c->unit->engine;
	const struct conn *other;
	int rc;

	if (c->pidfd != -1 && e->pidfd_groups) {
		rc = send_pidfd(c->pidfd, sig, PIDFD_SIGNAL_PROCESS_GROUP);
	} else {
		/* The number may be another child's by now: then the old group is gone. */
		other = conn_find(e, c->pid);
		if (other != NULL && other != c && other->state == CONN_RUNNING) {
			errno = ESRCH;
			return -1;
		}
		rc = kill(-c->pid, sig);
	}
	/* A child just started has no group yet. */
	if (rc == -1 && errno == ESRCH && sig != 0 && c->state == CONN_RUNNING)
		rc = c->pidfd != -1 && e->pidfd_signals ? send_pidfd(c->pidfd, sig, 0) : kill(c->pid, sig);
	return rc;
}

bool
conn_group_gone(const struct conn *c)
{
	return signal_group(c, 0) == -1 && errno == ESRCH;
}

/* --- times */

void
conn_set_timer(struct conn *c)
{
	const int64_t at[] = { c->deadline, c->idle_at, c->look_at };
	int64_t first = 0;

	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
		if (at[i] != 0 && (first == 0 || at[i] < first))
			first = at[i];
	if (first != 0)
		loop_timer(c->unit->engine->loop, &c->timer, first);
	else
		loop_timer_stop(c->unit->engine->loop, &c->timer);
}

void
conn_say_kill(const struct conn *c, const char *why)
{
	struct log_style style = unit_style(c->unit);
	char from[ADDR_TEXT];

	log_event(&(struct event){ .level = LEVEL_NOTICE, .name = "kill", .service = c->conf->id,
	    .fields = LOG_PID | (c->peer.kind != PEER_NONE ? LOG_FROM : 0), .pid = (int)c->pid,
	    .from = peer_print(&c->peer, from), .message = why }, &style);
}

/* TERM to the group now, KILL later. */
void
conn_end_group(struct conn *c, const char *why)
{
	struct engine *e = c->unit->engine;
	int64_t after = c->conf->kill_after;

	if (e->stopping && after > SECOND)
		after = SECOND;
	if (c->state == CONN_AWAY) {
		if (!c->told && why != NULL)
			conn_say_kill(c, why);
		/* It may get lost, or come before the connection itself: until that is over. */
		c->told = true;
		away_end(c);
		c->deadline = loop_now(e->loop) + SECOND;
		conn_set_timer(c);
		return;
	}
	if (c->told) {		/* already; but a stop does not wait as long */
		if (c->deadline > loop_now(e->loop) + after)
			c->deadline = loop_now(e->loop) + after;
		conn_set_timer(c);
		return;
	}
	if (why != NULL)
		conn_say_kill(c, why);
	if (c->dialog != NULL)
		dialog_unlist(c);	/* what its peer sends now begins another */
	(void)signal_group(c, SIGTERM);
	c->told = true;
	c->idle_at = 0;
	c->deadline = loop_now(e->loop) + (after > 0 ? after : 1);
	conn_set_timer(c);
}

static void
look_idle(struct conn *c, int64_t now)
{
	struct tcp_info i;
	int64_t quiet;

	c->idle_at = 0;
	if (c->dialog == NULL && !conn_tcp_info(c->fd, &i))
		return;
	quiet = c->dialog != NULL ? now - c->dialog->moved : i.tcpi_last_data_recv < i.tcpi_last_data_sent ? i.tcpi_last_data_recv :
	    i.tcpi_last_data_sent;
	if (quiet >= c->conf->idle_timeout)
		conn_end_group(c, "idle_timeout");
	else
		c->idle_at = now + c->conf->idle_timeout - quiet;
}

static void
look_group(struct conn *c, int64_t now)
{
	struct engine *e = c->unit->engine;

	uint64_t number = c->number;

	/* Orphans of the group are ours to reap, and until then it lives. That may be the end of c. */
	c->look_at = 0;
	e->sweep(e->sweep_arg);
	if (c->state != CONN_GROUP || c->number != number)
		return;
	if (conn_group_gone(c)) {
		conn_finish(c);
		return;
	}
	c->interval = c->interval * 2 > GROUP_MOST ? GROUP_MOST : c->interval * 2;
	c->look_at = now + c->interval;
	conn_set_timer(c);
}

void
conn_timer(void *arg, int64_t now)
{
	struct conn *c = arg;

	if (c->state == CONN_HEADER) {
		header_late(c);
		return;
	}
	if (c->state == CONN_AWAY) {
		if (c->told)
			away_end(c);
		else
			conn_end_group(c, "timeout");
		return;
	}
	if (c->state == CONN_LINGERING) {
		if (c->peer.by_unix)
			conn_finish_unix(c);
		else
			conn_linger(c, now);
		return;
	}
	if (c->deadline != 0 && now >= c->deadline) {
		if (c->told) {
			(void)signal_group(c, SIGKILL);
			c->deadline = now + SECOND;
		} else {
			conn_end_group(c, "timeout");
		}
	}
	if (c->idle_at != 0 && now >= c->idle_at)
		look_idle(c, now);
	if (c->look_at != 0 && now >= c->look_at) {
		look_group(c, now);
		return;
	}
	conn_set_timer(c);
}

void
conn_hung_up(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		conn_end_group(c, "hangup");
}

void
conn_signal_all(struct engine *e, int sig)
{
	if (sig == SIGTERM)
		away_end_all(e);
	else
		away_kill(e);
	for (struct conn *c = e->running, *next; c != NULL; c = next) {
		next = c->next;
		if (sig == SIGTERM)
			conn_end_group(c, NULL);
		else
			(void)signal_group(c, sig);
	}
}

static bool
is_meant(const struct conn *c, uint64_t number, const char *id)
{
	return number != 0 ? c->number == number : strcmp(c->conf->id, id) == 0;
}

unsigned
conn_kill(struct engine *e, uint64_t number, const char *id)
{
	struct conn *const first[] = { e->running, (struct conn *)(uintptr_t)away_first(e) };
	unsigned n = 0;

	for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
		for (struct conn *c = first[i], *next; c != NULL; c = next) {
			next = c->next;
			if (c->asked || !is_meant(c, number, id))
				continue;
			conn_end_group(c, "control");
			n++;
		}
	}
	/* Of those that linger only the client's last bytes are left. */
	for (struct conn *c = e->lingering, *next; c != NULL; c = next) {
		next = c->next;
		if (!c->peer.by_unix && is_meant(c, number, id)) {
			conn_free(c);
			n++;
		}
	}
	return n;
}
