#include "serve/link_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "serve/builtin.h"

enum {
	MUX_WAIT = 10 * SECOND,
	NO_PROGRESS = 60 * SECOND,	/* a client that takes nothing for so long is cut */
};

struct links *
links_new(struct loop *loop, link_report *report, void *arg)
{
	struct links *in = calloc(1, sizeof *in);
	struct rlimit r;

	if (in == NULL || hash_init(&in->by_number) == -1) {
		free(in);
		return NULL;
	}
	in->loop = loop;
	in->report = report;
	in->arg = arg;
	in->more_end = &in->more;
	if (getrlimit(RLIMIT_NOFILE, &r) == -1 || r.rlim_cur > UINT32_MAX)
		r.rlim_cur = UINT32_MAX;
	in->lingering_most = (unsigned)r.rlim_cur / LINGERING_PART;
	flow_pipes((unsigned)r.rlim_cur / PIPES_PART / 2);
	place_begin(loop, relay_known);
	return in;
}

struct report *
link_tell(const struct link *l, enum report_kind kind)
{
	return l->in->report(l->in->arg, l->job.number, kind);
}

/* --- its end */

static void
report_done(struct link *l)
{
	struct report *r;

	if (l->reported)
		return;
	l->reported = true;
	r = link_tell(l, REPORT_DONE);
	r->bytes.in = l->up.bytes;
	r->bytes.out = l->down.bytes;
}

void
link_free(struct link *l, bool reset)
{
	report_done(l);
	if (reset && l->job.peer.kind == PEER_IP)
		(void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	relay_no_more(l);
	hash_remove(&l->in->by_number, &l->node);
	loop_timer_stop(l->in->loop, &l->timer);
	loop_timer_leave(l->in->loop);
	if (l->job.kind == JOB_MUX)	/* the service has it from now on: its events are none of ours */
		loop_close(l->in->loop, l->watch, l->fd);
	else
		loop_drop(l->in->loop, l->watch, l->fd);
	loop_drop(l->in->loop, l->to_watch, l->to);
	flow_let_go(&l->up);
	flow_let_go(&l->down);
	place_leave(l->place);
	l->in->n--;
	l->in->nlingering -= l->state == LINK_LINGERING;
	if (l->listed)
		for (struct link **at = &l->in->more; *at != NULL; at = &(*at)->next)
			if (*at == l) {
				*at = l->next;
				if (*at == NULL)
					l->in->more_end = at;
				l->in->nmore--;
				break;
			}
	free(l);
}

/*
 * One look at a connection that lingers: it is closed at the client's end of stream, or when the
 * client has taken everything and `linger` has passed since. One that is still taking a long reply
 * is not cut.
 */
static void
look(struct link *l, int64_t now)
{
	int left = 0;

	if (ioctl(l->fd, SIOCOUTQ, &left) == -1)
		left = 0;
	if (left != l->untaken) {
		l->untaken = left;
		l->until = now + (left > 0 ? NO_PROGRESS : l->job.linger);
		l->interval = LOOK_LEAST;
	} else if (now >= l->until) {
		link_free(l, l->reset);
		return;
	}
	if (left == 0 && l->reset) {
		link_free(l, true);
		return;
	}
	/* While bytes are on their way nothing tells when they have arrived. */
	loop_timer(l->in->loop, &l->timer, left == 0 || now + l->interval > l->until ? l->until :
	    now + l->interval);
	l->interval = l->interval * 2 > LOOK_MOST ? LOOK_MOST : l->interval * 2;
}

void
link_linger(struct link *l)
{
	report_done(l);
	if (l->job.linger < 0 || l->in->nlingering >= l->in->lingering_most) {
		link_free(l, l->reset);
		return;
	}
	l->state = LINK_LINGERING;
	l->in->nlingering++;
	l->up.drop = true;
	l->until = loop_now(l->in->loop) + l->job.linger;
	l->interval = LOOK_LEAST;
	look(l, loop_now(l->in->loop));
}

void
link_finish(struct link *l)
{
	if (!l->down.shut)
		(void)shutdown(l->fd, SHUT_WR);
	l->down.shut = true;
	if (l->up.eof)
		link_free(l, false);
	else
		link_linger(l);
}

/* --- running them */

void
link_again(struct link *l)
{
	if (l->listed)
		return;
	l->listed = true;
	l->next = NULL;
	*l->in->more_end = l;
	l->in->more_end = &l->next;
	l->in->nmore++;
}

void
link_moved(struct link *l, int64_t now)
{
	l->moved = now;
	if (l->job.idle > 0 && l->timer.place == 0)
		loop_timer(l->in->loop, &l->timer, now + l->job.idle);
}

static void
run_chargen(struct link *l)
{
	char text[CHARGEN_LINE];
	enum moved in = flow_drop(&l->up);

	for (int i = 0; i < 256 && in != MOVED_ERROR; i++) {
		ssize_t n;

		chargen_line(text, l->line);
		n = send(l->fd, text + l->sent, sizeof text - l->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == -1) {
			if (errno != EAGAIN)
				in = MOVED_ERROR;
			break;
		}
		l->down.bytes += (uint64_t)n;
		l->moved = loop_now(l->in->loop);
		l->sent += (unsigned)n;
		if (l->sent == sizeof text) {
			l->line = (l->line + 1) % CHARGEN_LINES;
			l->sent = 0;
		}
		if (i == 255)
			link_again(l);
	}
	if (in == MOVED_MORE)
		link_again(l);
	/* Whoever has shut his side has heard enough. */
	if (in == MOVED_ERROR || l->up.eof)
		link_free(l, false);
}

/* The name in the line, without its end; at most what fits. */
static void
run_mux(struct link *l)
{
	char text[NAME_LINE + 2], *end;
	ssize_t n = recv(l->fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT);
	struct report *r;
	size_t len;

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	end = n > 0 ? memchr(text, '\n', (size_t)n) : NULL;
	if (end == NULL && n > 0 && n < (ssize_t)sizeof text && !l->up.ended)
		return;		/* the timer bounds it */
	r = link_tell(l, REPORT_NAME);
	l->reported = true;
	if (end != NULL) {
		/* No byte behind the line is taken: it is the service's. */
		(void)recv(l->fd, text, (size_t)(end - text) + 1, MSG_DONTWAIT);
		len = (size_t)(end - text);
		if (len > 0 && text[len - 1] == '\r')
			len--;
		if (len < sizeof r->name && memchr(text, '\0', len) == NULL)
			memcpy(r->name, text, len);
	}
	link_free(l, false);
}

void
link_run(struct link *l)
{
	enum moved m;

	if (l->state == LINK_LINGERING) {
		m = flow_drop(&l->up);
		if (m == MOVED_MORE)
			link_again(l);
		else if (m == MOVED_ERROR || (l->up.eof && !l->reset))
			link_free(l, false);
		return;
	}
	switch (l->job.kind) {
	case JOB_RELAY:
		if (l->state == LINK_OPEN)
			relay_run(l);
		break;
	case JOB_ECHO:
		m = flow_run(&l->up, false);
		l->down.bytes = l->up.bytes;
		link_moved(l, loop_now(l->in->loop));
		if (m == MOVED_ERROR || l->up.drop)
			link_free(l, false);
		else if (l->up.shut)
			link_finish(l);
		else if (m == MOVED_MORE)
			link_again(l);
		break;
	case JOB_DISCARD:
		m = flow_drop(&l->up);
		link_moved(l, loop_now(l->in->loop));
		if (m == MOVED_MORE)
			link_again(l);
		else if (m == MOVED_ERROR || l->up.eof)
			link_free(l, false);
		break;
	case JOB_CHARGEN:
		run_chargen(l);
		break;
	case JOB_MUX:
		run_mux(l);
		break;
	default:
		break;
	}
}

static void
client_ready(void *arg, uint32_t events)
{
	struct link *l = arg;

	flow_told(&l->up, events);
	/* Before there is a target only the client's reset matters. */
	if (l->state < LINK_OPEN) {
		if ((events & EPOLLERR) != 0)
			link_free(l, true);
		return;
	}
	/* Behind its end of stream nothing is read that would tell of the reset. */
	if (l->up.eof && !l->down.shut && (events & (EPOLLERR | EPOLLHUP)) != 0) {
		relay_reset_target(l);
		link_free(l, true);
		return;
	}
	link_run(l);
}

/* --- its beginning */

static void
link_timer(void *arg, int64_t now)
{
	struct link *l = arg;

	switch (l->state) {
	case LINK_RESOLVING:
	case LINK_CONNECTING:
		relay_late(l);
		return;
	case LINK_LINGERING:
		look(l, now);
		return;
	case LINK_OPEN:
		if (l->job.kind == JOB_MUX) {
			(void)link_tell(l, REPORT_NAME);
			l->reported = true;
			link_free(l, false);
		} else if (now - l->moved >= l->job.idle) {
			(void)link_tell(l, REPORT_IDLE);
			link_free(l, false);
		} else {
			loop_timer(l->in->loop, &l->timer, l->moved + l->job.idle);
		}
	}
}

/* Says it once, and then the end. */
static void
say(struct link *l, const char *text, size_t len)
{
	ssize_t n = send(l->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);	/* the end goes with it */

	l->down.bytes = n > 0 ? (uint64_t)n : 0;
	l->up.from = l->fd;
	link_finish(l);
}

bool
links_take(struct links *in, const struct job *j, int fd)
{
	struct link *l = calloc(1, sizeof *l);
	char text[DAYTIME_MOST];

	if (l == NULL || loop_timer_room(in->loop) == -1) {
		free(l);
		return false;
	}
	*l = (struct link){ .in = in, .job = *j, .fd = fd, .to = -1, .state = LINK_OPEN,
		.moved = loop_now(in->loop), .timer = { .fire = link_timer } };
	l->timer.arg = l;
	l->up = (struct flow){ .from = fd, .to = fd, .parted = j->peer.by_unix };
	hash_put(&in->by_number, &l->node, hash_number(j->number));
	in->n++;
	if (j->kind == JOB_RELAY) {
		l->state = LINK_RESOLVING;
		l->place = place_find(j->target);
		if (l->place != NULL)
			(void)place_hold(l->place);
	}
	l->watch = loop_watch(in->loop, fd, LINK_EVENTS | EPOLLET, client_ready, l);
	if (l->watch == 0 || (j->kind == JOB_RELAY && l->place == NULL)) {
		link_free(l, true);
		return true;
	}
	switch (j->kind) {
	case JOB_RELAY:
		relay_begin(l);
		return true;
	case JOB_DAYTIME:
		say(l, text, daytime_text(text));
		return true;
	case JOB_TIME:
		say(l, text, time_bytes(text));
		return true;
	case JOB_MUX:
		loop_timer(in->loop, &l->timer, clock_ms() + MUX_WAIT);
		break;
	default:
		link_moved(l, loop_now(in->loop));
		break;
	}
	link_run(l);
	return true;
}

void
links_end(struct links *in, uint64_t number)
{
	struct hash_node *n;

	if (number == 0) {
		for (size_t i = 0; i <= in->by_number.mask && in->by_number.bucket != NULL; i++)
			while (in->by_number.bucket[i] != NULL) {
				struct link *l = (struct link *)in->by_number.bucket[i];

				/* What only lingers has its last bytes with the kernel. */
				link_free(l, l->state != LINK_LINGERING || l->reset);
			}
		return;
	}
	for (n = hash_find(&in->by_number, hash_number(number)); n != NULL; n = hash_next(n)) {
		if (((struct link *)n)->job.number == number) {
			link_free((struct link *)n, true);
			return;
		}
	}
}

unsigned
links_number(const struct links *in)
{
	return in->n;
}

bool
links_busy(const struct links *in)
{
	return in->more != NULL;
}

void
links_run(struct links *in)
{
	/* Each once: those that then have still more come behind. */
	for (unsigned n = in->nmore; n > 0 && in->more != NULL; n--) {
		struct link *l = in->more;

		in->more = l->next;
		if (in->more == NULL)
			in->more_end = &in->more;
		in->nmore--;
		l->listed = false;
		link_run(l);
	}
}
