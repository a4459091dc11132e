#include "manage/top.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "manage/ask.h"

enum { INTERVAL = 2000 };	/* ms */

/* Lines of a snapshot (status.h): words between tabs. */
enum { WORDS_MOST = 16 };

enum sort { SORT_RATE, SORT_LIVE, SORT_STARTED, SORT_REFUSED, SORT_FAILED, SORT_NAME, SORTS };

static const struct { char key; const char *name; } sorts[SORTS] = {
	{ 'r', "rate" }, { 'l', "live" }, { 's', "started" }, { 'x', "refused" }, { 'f', "failed" }, { 'n', "name" },
};

struct row {			/* a service */
	const char *id, *state, *listeners;	/* in the text */
	const char *note[2];	/* why some were refused, the last error; "": none */
	uint64_t number;	/* how the server tells it from others of its name */
	int64_t limit;		/* -1: none */
	uint64_t live, started, refused, failed, in, out;
	double rate;		/* starts a second, since the last picture */
};

struct link {			/* a connection */
	const char *number, *id, *pid, *from, *age, *idle, *in, *out;
};

struct picture {
	struct buf text;	/* owned */
	int64_t at;		/* ms */
	const char *phase;
	uint64_t uptime;
	struct row *row;	/* owned */
	size_t nrows;
	struct link *link;	/* owned */
	size_t nlinks;
};

struct screen {
	struct termios was;
	int rows, columns;
	int row;		/* the next to be written, from 0 */
	enum sort sort;
	bool links;		/* connections rather than services */
	struct buf out;
};

static volatile sig_atomic_t resized, ended;

static void
on_signal(int sig)
{
	if (sig == SIGWINCH)
		resized = 1;
	else
		ended = 1;
}

/* --- the picture */

static void
picture_free(struct picture *p)
{
	buf_free(&p->text);
	free(p->row);
	free(p->link);
	*p = (struct picture){ 0 };
}

static uint64_t
number(const char *s)
{
	return strtoull(s, NULL, 10);
}

static size_t
split(char *line, char *word[WORDS_MOST])
{
	size_t n = 0;

	for (char *p = line; n < WORDS_MOST; p++) {
		word[n++] = p;
		p += strcspn(p, "\t");
		if (*p == '\0')
			break;
		*p = '\0';
	}
	return n;
}

static void
take_line(struct picture *p, char *line)
{
	char *w[WORDS_MOST] = { NULL };
	size_t n = split(line, w);

	if (strcmp(w[0], "server") == 0 && n >= 3) {
		p->phase = w[1];
		p->uptime = number(w[2]);
	} else if (strcmp(w[0], "service") == 0 && n >= 11) {
		p->row[p->nrows++] = (struct row){ .number = number(w[1]), .id = w[2], .state = w[3], .live = number(w[4]),
			.limit = w[5][0] == '-' ? -1 : (int64_t)number(w[5]), .started = number(w[6]),
			.refused = number(w[7]), .failed = number(w[8]), .in = number(w[9]), .out = number(w[10]),
			.listeners = n >= 14 ? w[11] : "", .note = { n >= 14 ? w[12] : "", n >= 14 ? w[13] : "" } };
	} else if (strcmp(w[0], "connection") == 0 && n >= 9) {
		p->link[p->nlinks++] = (struct link){ w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8] };
	}
}

static int
take_picture(const char *path, struct picture *p, struct err *err)
{
	char *const word[] = { (char *)(uintptr_t)"snapshot" };
	size_t lines = 0;
	int rc = ask(path, word, 1, &p->text, err);

	p->at = clock_ms();
	if (rc != 0)
		return rc == -1 ? -1 : err_set(err, "%s: the server does not show itself", path);
	buf_add(&p->text, "", 1);
	for (size_t i = 0; i < p->text.len; i++)
		lines += p->text.data[i] == '\n';
	p->row = calloc(lines + 1, sizeof *p->row);
	p->link = calloc(lines + 1, sizeof *p->link);
	if (p->text.failed || p->row == NULL || p->link == NULL)
		return err_sys(err, ENOMEM, "top");
	for (char *line = p->text.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = '\0';
		take_line(p, line);
	}
	return 0;
}

static int
by_number(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* How fast each started since `was`, whose rows are put in order for that. */
static void
find_rates(struct picture *p, struct picture *was)
{
	double seconds = (double)(p->at - was->at) / 1000;

	if (was->row == NULL || seconds <= 0)
		return;
	qsort(was->row, was->nrows, sizeof *was->row, by_number);
	for (size_t i = 0; i < p->nrows; i++) {
		const struct row *old = bsearch(&p->row[i], was->row, was->nrows, sizeof *was->row, by_number);

		if (old != NULL && p->row[i].started >= old->started)
			p->row[i].rate = (double)(p->row[i].started - old->started) / seconds;
	}
}

static enum sort sort_by;

static int
compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	double d = 0;

	switch (sort_by) {
	case SORT_RATE:
		d = y->rate - x->rate;
		break;
	case SORT_LIVE:
		d = (double)y->live - (double)x->live;
		break;
	case SORT_STARTED:
		d = (double)y->started - (double)x->started;
		break;
	case SORT_REFUSED:
		d = (double)y->refused - (double)x->refused;
		break;
	case SORT_FAILED:
		d = (double)y->failed - (double)x->failed;
		break;
	case SORT_NAME:
	case SORTS:
		break;
	}
	if (d != 0)
		return d < 0 ? -1 : 1;
	return strcmp(x->id, y->id);
}

/* --- the screen */

static void
look_at_size(struct screen *s)
{
	struct winsize w;

	s->rows = 24;
	s->columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 0 && w.ws_col > 0) {
		s->rows = w.ws_row;
		s->columns = w.ws_col;
	}
}

/* A line, cut at the screen's edge. What comes from outside has no control characters. */
static void __attribute__((format(printf, 3, 4)))
line(struct screen *s, bool bright, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (s->row >= s->rows)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/* Cleared first: behind the last column that would take the last letter. */
	buf_addf(&s->out, "%s\x1b[K%s%.*s\x1b[0m", s->row > 0 ? "\r\n" : "", bright ? "\x1b[7m" : "", s->columns, text);
	s->row++;
}

static const char *
bytes(uint64_t n, char out[16])
{
	static const char units[] = "BKMGTPE";
	double x = (double)n;
	size_t u = 0;

	for (; x >= 10000 && units[u + 1] != '\0'; u++)
		x /= 1024;
	(void)snprintf(out, 16, u == 0 ? "%.0f" : "%.0f%c", x, units[u]);
	return out;
}

static int
between(int least, int n, int most)
{
	return n < least ? least : n > most ? most : n;
}

/* Below the rows, where there is room. */
static void
draw_notes(struct screen *s, const struct picture *p)
{
	bool apart = false;

	for (size_t i = 0; i < p->nrows; i++) {
		for (int k = 0; k < 2; k++) {
			if (p->row[i].note[k][0] == '\0')
				continue;
			if (!apart)
				line(s, false, "%s", "");
			apart = true;
			line(s, false, "%s: %s", p->row[i].id, p->row[i].note[k]);
		}
	}
}

static void
draw_services(struct screen *s, const struct picture *p)
{
	char in[16], out[16], limit[24];
	size_t longest = 12;
	int name;

	for (size_t i = 0; i < p->nrows; i++)
		longest = strlen(p->row[i].id) > longest ? strlen(p->row[i].id) : longest;
	name = between(12, s->columns - 68, longest < 48 ? (int)longest : 48);	/* 68: all the others */
	line(s, true, "%-*s %-9s %6s %6s %8s %7s %7s %6s %5s %5s %s", name, "SERVICE", "STATE", "LIVE", "LIMIT", "STARTED",
	    "RATE/S", "REFUSED", "FAILED", "IN", "OUT", "LISTENERS");
	for (size_t i = 0; i < p->nrows && s->row < s->rows; i++) {
		const struct row *r = &p->row[i];

		if (r->limit >= 0)
			(void)snprintf(limit, sizeof limit, "%" PRId64, r->limit);
		line(s, false, "%-*.*s %-9s %6" PRIu64 " %6s %8" PRIu64 " %7.1f %7" PRIu64 " %6" PRIu64 " %5s %5s %s", name,
		    name, r->id, r->state, r->live, r->limit >= 0 ? limit : "-", r->started, r->rate, r->refused, r->failed,
		    bytes(r->in, in), bytes(r->out, out), r->listeners);
	}
	draw_notes(s, p);
}

static void
draw_links(struct screen *s, const struct picture *p)
{
	char in[16], out[16];
	int name = between(12, (s->columns - 51) / 3, 48), from = between(15, s->columns - 51 - name, 48);

	line(s, true, "%10s %-*s %7s %-*s %8s %8s %5s %5s", "CONNECTION", name, "SERVICE", "PID", from, "FROM", "AGE",
	    "IDLE", "IN", "OUT");
	for (size_t i = 0; i < p->nlinks && s->row < s->rows; i++) {
		const struct link *l = &p->link[i];

		line(s, false, "%10s %-*.*s %7s %-*.*s %8s %8s %5s %5s", l->number, name, name, l->id, l->pid, from, from,
		    l->from, l->age, l->idle, l->in[0] == '-' ? "-" : bytes(number(l->in), in),
		    l->out[0] == '-' ? "-" : bytes(number(l->out), out));
	}
}

static void
draw(struct screen *s, struct picture *p)
{
	uint64_t live = 0, refused = 0, failed = 0;
	double rate = 0;

	sort_by = s->sort;
	qsort(p->row, p->nrows, sizeof *p->row, compare);
	for (size_t i = 0; i < p->nrows; i++) {
		live += p->row[i].live;
		refused += p->row[i].refused;
		failed += p->row[i].failed;
		rate += p->row[i].rate;
	}
	s->row = 0;
	buf_addf(&s->out, "\x1b[H");
	line(s, false, "server %s for %" PRIu64 "d %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "   %zu services   %" PRIu64
	    " live   %.1f/s   %" PRIu64 " refused   %" PRIu64 " failed", p->phase != NULL ? p->phase : "?",
	    p->uptime / 86400, p->uptime / 3600 % 24, p->uptime / 60 % 60, p->uptime % 60, p->nrows, live, rate,
	    refused, failed);
	line(s, false, "by %s   q quits   c shows %s   order: r rate, l live, s started, x refused, f failed, n name",
	    sorts[s->sort].name, s->links ? "services" : "connections");
	if (s->links)
		draw_links(s, p);
	else
		draw_services(s, p);
	if (s->row < s->rows)
		buf_addf(&s->out, "\r\n\x1b[J");
	(void)fd_write_all(STDOUT_FILENO, s->out.data, s->out.len);
	buf_cut(&s->out, s->out.len);
}

/* False: it was the one that quits. */
static bool
press(struct screen *s, char key)
{
	if (key == 'q' || key == 'Q' || key == 3)
		return false;
	if (key == 'c')
		s->links = !s->links;
	for (int i = 0; i < SORTS; i++)
		if (sorts[i].key == key)
			s->sort = (enum sort)i;
	return true;
}

/* Waits for a key, a new size or the next picture. False: it is over. */
static bool
wait_for_key(struct screen *s, struct picture *p, int64_t until)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	char key;

	while (!ended) {
		int64_t left = until - clock_ms();
		int n;

		if (resized) {
			resized = 0;
			look_at_size(s);
			draw(s, p);
		}
		if (left <= 0)
			return true;
		n = poll(&in, 1, (int)left);
		if (n == -1 && errno != EINTR)
			return false;
		if (n <= 0)
			continue;
		if (read(STDIN_FILENO, &key, 1) != 1 || !press(s, key))
			return false;
		draw(s, p);
	}
	return false;
}

int
top(const char *path, struct err *err)
{
	struct sigaction act = { .sa_handler = on_signal };
	static const int watched[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP };
	struct screen s = { .sort = SORT_RATE };
	struct picture p = { .at = 0 }, was = { .at = 0 };
	struct termios raw;
	int rc;

	if (tcgetattr(STDIN_FILENO, &s.was) == -1 || isatty(STDOUT_FILENO) != 1)
		return err_set(err, "top needs a terminal; status shows the same once");
	rc = take_picture(path, &p, err);
	if (rc == -1) {
		picture_free(&p);
		return -1;
	}
	for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
		(void)sigaction(watched[i], &act, NULL);
	act.sa_flags = SA_RESTART;	/* a new size is no reason to stop asking the server */
	(void)sigaction(SIGWINCH, &act, NULL);
	raw = s.was;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VSUSP] = _POSIX_VDISABLE;	/* stopped, it would leave its screen to the shell */
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	(void)fputs("\x1b[?1049h\x1b[?25l", stdout);	/* another screen, no cursor */
	(void)fflush(stdout);
	look_at_size(&s);
	while (rc == 0 && !ended) {
		find_rates(&p, &was);
		draw(&s, &p);
		if (!wait_for_key(&s, &p, p.at + INTERVAL))
			break;
		picture_free(&was);
		was = p;
		p = (struct picture){ .at = 0 };
		rc = take_picture(path, &p, err);
		if (ended)	/* while it waited for the server */
			rc = 0;
	}
	(void)fputs("\x1b[?25h\x1b[?1049l", stdout);
	(void)fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &s.was);
	picture_free(&p);
	picture_free(&was);
	buf_free(&s.out);
	return rc;
}
