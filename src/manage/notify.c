#include "manage/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/say.h"
#include "base/str.h"

enum {
	STATUS_EVERY = 2000,	/* ms between two sentences at least: each wakes who watches the unit */
	AGAIN = 100,		/* ms until what was not taken is sent again */
	TRIES = 50,
	WAITING_MOST = 4096,	/* bytes that wait for that */
	PATIENCE = 2,		/* s, of notify_send */
};

struct notify {
	struct loop *loop;
	notify_sentence *sentence;
	void *arg;
	struct sockaddr_un to;
	socklen_t len;
	int fd;
	int64_t beat;		/* ms between two signs of life; 0: none is wanted */
	struct timer status, watchdog, again;
	bool changed;		/* status runs */
	int64_t told;		/* when the last sentence was */
	char said[400];		/* it */
	struct buf waiting;	/* texts that were not taken, a NUL behind each */
	unsigned tries;		/* of the first of them */
};

/* 0: nobody is there to be told. */
static socklen_t
address(struct sockaddr_un *to)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t n = name != NULL ? strlen(name) : 0;

	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (n == 0)
		return 0;
	if ((name[0] != '/' && name[0] != '@') || n == 1 || n >= sizeof to->sun_path) {
		say("warning: NOTIFY_SOCKET=%s: neither a path nor @NAME; nobody is told", name);
		return 0;
	}
	memcpy(to->sun_path, name, n);
	if (name[0] == '@')
		to->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

static bool
put(const struct notify *n, const char *text, size_t len)
{
	return sendto(n->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->len) != -1;
}

static void
send_again(void *arg, int64_t now)
{
	struct notify *n = arg;

	while (n->waiting.len > 0) {
		size_t len = strlen(n->waiting.data);

		if (!put(n, n->waiting.data, len) && ++n->tries < TRIES) {
			loop_timer(n->loop, &n->again, now + AGAIN);
			return;
		}
		n->tries = 0;
		buf_cut(&n->waiting, len + 1);
	}
	buf_free(&n->waiting);
}

/* What must not be lost, and must keep its order. */
static void
tell(struct notify *n, const struct buf *text)
{
	if (text->failed || (n->waiting.len == 0 && put(n, text->data, text->len)))
		return;
	if (n->waiting.len + text->len >= WAITING_MOST)
		return;
	buf_add(&n->waiting, text->data, text->len);
	buf_add(&n->waiting, "", 1);
	if (n->waiting.failed)
		buf_free(&n->waiting);
	else
		loop_timer(n->loop, &n->again, clock_ms() + AGAIN);
}

/* STATUS= and the sentence; what does not print is escaped, so it stays one line. */
static void
add_status(struct notify *n, struct buf *out)
{
	struct buf text = { 0 };

	n->sentence(n->arg, &text);
	if (!text.failed && text.len > 0) {
		(void)str_escape(n->said, sizeof n->said, text.data, text.len);
		buf_addf(out, "STATUS=%s\n", n->said);
	}
	buf_free(&text);
	n->told = clock_ms();
	n->changed = false;
	loop_timer_stop(n->loop, &n->status);
}

static void
status_due(void *arg, int64_t now)
{
	struct notify *n = arg;
	struct buf text = { 0 };
	char before[sizeof n->said];

	(void)now;
	memcpy(before, n->said, sizeof before);
	add_status(n, &text);
	/* Behind what still waits it would be told too early, and with that it is told anyway. */
	if (strcmp(before, n->said) != 0 && !text.failed && (n->waiting.len > 0 || !put(n, text.data, text.len))) {
		memcpy(n->said, before, sizeof before);
		notify_changed(n);
	}
	buf_free(&text);
}

static void
watchdog_due(void *arg, int64_t now)
{
	static const char alive[] = "WATCHDOG=1\n";
	struct notify *n = arg;

	(void)put(n, alive, sizeof alive - 1);
	loop_timer(n->loop, &n->watchdog, now + n->beat);
}

static void
begin_watchdog(struct notify *n, pid_t foreground)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t t, whose = (uint64_t)getpid();

	if (usec == NULL || !num_parse(usec, 1, INT64_MAX, &t) ||
	    (pid != NULL && !num_parse(pid, 1, INT32_MAX, &whose)) ||
	    (whose != (uint64_t)getpid() && (foreground == 0 || whose != (uint64_t)foreground)))
		return;
	/* A successor (of an upgrade) has the same process id, and no foreground to know it by. */
	if (pid != NULL && whose != (uint64_t)getpid()) {
		char own[24];

		(void)snprintf(own, sizeof own, "%d", (int)getpid());
		(void)setenv("WATCHDOG_PID", own, 1);
	}
	n->beat = (int64_t)(t / 2000);
	if (n->beat == 0)
		n->beat = 1;
	loop_timer(n->loop, &n->watchdog, clock_ms() + n->beat);
}

struct notify *
notify_new(struct loop *l, pid_t foreground, notify_sentence *sentence, void *arg)
{
	struct sockaddr_un to;
	socklen_t len = address(&to);
	struct notify *n = len != 0 ? calloc(1, sizeof *n) : NULL;
	int room = 0;

	if (n == NULL)
		return NULL;
	*n = (struct notify){ .loop = l, .sentence = sentence, .arg = arg, .to = to, .len = len,
		.status = { .fire = status_due, .arg = n }, .watchdog = { .fire = watchdog_due, .arg = n },
		.again = { .fire = send_again, .arg = n } };
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	while (n->fd != -1 && room < 3 && loop_timer_room(l) == 0)
		room++;
	if (room < 3) {
		while (room-- > 0)
			loop_timer_leave(l);
		if (n->fd != -1)
			(void)close(n->fd);
		free(n);
		return NULL;
	}
	begin_watchdog(n, foreground);
	return n;
}

void
notify_free(struct notify *n)
{
	if (n == NULL)
		return;
	loop_timer_stop(n->loop, &n->status);
	loop_timer_stop(n->loop, &n->watchdog);
	loop_timer_stop(n->loop, &n->again);
	for (int room = 0; room < 3; room++)
		loop_timer_leave(n->loop);
	(void)close(n->fd);
	buf_free(&n->waiting);
	free(n);
}

void
notify_ready(struct notify *n, struct buf *first)
{
	struct buf text = { 0 };

	if (n == NULL)
		return;
	buf_addf(&text, "READY=1\nMAINPID=%d\n", (int)getpid());
	add_status(n, &text);
	if (first == NULL)
		tell(n, &text);
	else
		buf_add(first, text.data, text.len);
	buf_free(&text);
}

void
notify_reloading(struct notify *n)
{
	struct buf text = { 0 };
	struct timespec ts;

	if (n == NULL)
		return;
	/* To the microsecond: systemd takes one from before its signal for an older reload's. */
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	buf_addf(&text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=the table is read again\n",
	    (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000);
	n->said[0] = '\0';
	tell(n, &text);
	buf_free(&text);
}

void
notify_stopping(struct notify *n)
{
	struct buf text = { 0 };

	if (n == NULL)
		return;
	buf_addf(&text, "STOPPING=1\n");
	add_status(n, &text);
	tell(n, &text);
	buf_free(&text);
}

void
notify_changed(struct notify *n)
{
	int64_t now;

	if (n == NULL || n->changed)
		return;
	n->changed = true;
	now = clock_ms();
	loop_timer(n->loop, &n->status, n->told + STATUS_EVERY > now ? n->told + STATUS_EVERY : now);
}

void
notify_send(const char *text, size_t len)
{
	const struct timeval patience = { .tv_sec = PATIENCE };
	struct sockaddr_un to;
	socklen_t n = address(&to);
	int fd = n != 0 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

	if (fd == -1)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	(void)sendto(fd, text, len, MSG_NOSIGNAL, (const struct sockaddr *)&to, n);
	(void)close(fd);
}
