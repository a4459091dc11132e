/*
 * fuzz: any bytes into the control socket, in any pieces, by somebody who may leave at any time: one answer, of
 * lines that each say where they belong, with an end; what is no request has no other effect; nothing is kept.
 * The server behind it only notes what it is asked for, and no process is started.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child/helper.h"
#include "manage/control.h"
#include "manage/status.h"
#include "serve/conn.h"
#include "table/check.h"

#include "fuzz.h"

enum { LINE = 512 };		/* bytes of a request, at most */

/* --- in place of manage/server, manage/reload and child/helper */

struct reload {
	uint64_t number;
	bool refuses, begun, switched;
};

struct server {
	struct engine *engine;
	struct services *services;
	struct reload reload;
	bool table, ends, drained, stopped, upgrades, forks, answers;
};

static struct server server;

static char *files[] = { (char *)(uintptr_t)"/etc/server.conf", (char *)(uintptr_t)"here.conf", (char *)(uintptr_t)"-" };
static char *set[] = { (char *)(uintptr_t)"instances=5", (char *)(uintptr_t)"env=A=b\nc" };
static const struct master master = { .cwd = "/srv", .preset = set, .npresets = 1 };
static const struct config config = { .file = files, .nfiles = 3, .option = set, .noptions = 2, .master = &master };

struct engine *
server_engine(const struct server *s)
{
	return s->engine;
}

struct services *
server_services(const struct server *s)
{
	return s->services;
}

struct reload *
server_reload(const struct server *s)
{
	return (struct reload *)(uintptr_t)&s->reload;
}

const struct config *
server_config(const struct server *s)
{
	return s->table ? &config : NULL;
}

void
server_status(const struct server *s, struct status *out)
{
	*out = (struct status){ .engine = s->engine, .services = s->services, .phase = "serving", .version = "0" };
}

bool
server_serves(const struct server *s)
{
	return !s->ends;
}

void
server_drain(struct server *s)
{
	s->drained = true;
}

void
server_stop(struct server *s)
{
	s->stopped = true;
}

void
server_upgrade(struct server *s)
{
	s->upgrades = true;
}

const char *
reload_refused(const struct reload *r)
{
	return r->refuses ? "one command is served: there is no table" : NULL;
}

uint64_t
reload_number(const struct reload *r)
{
	return r->number;
}

uint64_t
reload_begin(struct reload *r)
{
	r->begun = true;
	return r->number + 1;
}

int
reload_override(struct reload *r, const char *id, bool on)
{
	(void)on;
	CHECK(id[0] != '\0');
	r->switched = true;
	return 0;
}

void
reload_overrides(const struct reload *r, struct master *m)
{
	(void)r;
	(void)m;
}

int
helper_lower(const struct lower *lower)
{
	(void)lower;
	errno = EPERM;
	return -1;
}

pid_t
helper_start(int keep, bool all, void (*run)(int keep, void *arg), void *arg)
{
	(void)keep;
	(void)all;
	(void)run;
	(void)arg;
	if (!server.forks) {
		errno = EAGAIN;
		return -1;
	}
	server.answers = true;
	return 99999999;
}

/* --- what a request is */

static const struct { const char *name; size_t least, most; } requests[] = {
	{ "status", 0, 1 }, { "status-json", 0, 1 }, { "snapshot", 0, 0 }, { "explain", 2, 3 }, { "reload", 0, 0 },
	{ "enable", 1, 1 }, { "disable", 1, 1 }, { "kill", 1, 1 }, { "drain", 0, 0 }, { "stop", 0, 0 },
	{ "tables", 0, 0 }, { "options", 0, 0 }, { "upgrade", 0, 0 },
};

enum verdict { NOT_YET, NO_LINE, UNKNOWN, KNOWN };

/* The words of what has come so far; first[0..) is the first of them. */
static enum verdict
model(const uint8_t *data, size_t size, char first[LINE + 1])
{
	size_t n = 0, len = 0, end = 0;
	bool blank = true;

	while (end < size && data[end] != '\n') {
		if (data[end] < 0x20 || data[end] > 0x7e)
			return NO_LINE;
		end++;
	}
	if (end >= LINE)
		return NO_LINE;
	if (end == size)
		return NOT_YET;
	for (size_t i = 0; i < end; i++) {
		if (data[i] != ' ' && blank)
			n++;
		blank = data[i] == ' ';
		if (n == 1 && !blank)
			first[len++] = (char)data[i];
	}
	first[len] = '\0';
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
		if (strcmp(requests[i].name, first) == 0)
			return n - 1 >= requests[i].least && n - 1 <= requests[i].most ? KNOWN : UNKNOWN;
	return UNKNOWN;
}

/* --- one that asks */

static void
turn(void)
{
	for (int i = 0; i < 3; i++)
		CHECK(loop_run_once(server.engine->loop, 0) != -1);
}

static bool
effects(void)
{
	return server.drained || server.stopped || server.upgrades || server.answers || server.reload.begun ||
	    server.reload.switched;
}

/* Lines, each with the letter that says where it goes, then `x N`. Returns N, -1: nothing was said. */
static int
read_answer(int fd, char *text, size_t room)
{
	int status = -1;
	ssize_t n;
	size_t len = 0;

	while (len < room && (n = recv(fd, text + len, room - len, MSG_DONTWAIT)) > 0)
		len += (size_t)n;
	CHECK(len < room);
	for (char *line = text, *eol; line < text + len; line = eol + 1) {
		eol = memchr(line, '\n', (size_t)(text + len - line));
		CHECK(eol != NULL && eol - line >= 3 && line[1] == ' ' && strchr("odex", line[0]) != NULL);
		for (char *p = line; p < eol; p++)
			CHECK(*p >= 0x20 && *p < 0x7f);
		if (line[0] == 'x') {
			CHECK(eol == text + len - 1 && eol - line == 3 && line[2] >= '0' && line[2] <= '2');
			status = line[2] - '0';
		}
	}
	CHECK(len == 0 || status != -1);
	text[len] = '\0';
	return status;
}

static void
add_unit(const char *id, bool retired)
{
	struct service *s = service_new();
	struct unit *u;

	CHECK(s != NULL);
	s->name = strdup(id);
	s->id = strdup(id);
	CHECK(s->name != NULL && s->id != NULL && (u = unit_new(server.engine, s, NULL)) != NULL);
	service_free(s);
	if (retired) {
		u->uses++;	/* somebody's connection lives on */
		unit_retire(u);
	}
}

/* A record as an upgrade writes it, read by the control socket's own reader. */
static void
resume(struct control **c, const char *kind, int fd, const char *more, const uint8_t *line, size_t len)
{
	struct buf b = { 0 };
	struct fact f;
	char *at;

	state_begin(&b, kind);
	state_number(&b, "fd", fd);
	state_text(&b, "name", "unix:/nowhere");
	if (more != NULL)
		state_number(&b, more, 1);
	state_bytes(&b, "line", line, len);
	state_end(&b);
	buf_add(&b, "", 1);
	at = b.data;
	CHECK(!b.failed && state_next(&at, &f));
	control_resume(c, &server, &f);
	buf_free(&b);
}

static struct control *
begin(void)
{
	struct control *c = NULL;
	struct loop *l = loop_new();
	int pair[2];

	CHECK(l != NULL && (server.engine = engine_new(l)) != NULL && (server.services = services_new(server.engine)) != NULL);
	add_unit("date", false);
	add_unit("date", false);
	add_unit("a", false);
	add_unit("gone", true);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	resume(&c, "control", pair[0], NULL, NULL, 0);
	CHECK(c != NULL);
	return c;
}

/* What comes back to those who wait for a reload, or an upgrade. */
static void
come_to_an_end(struct control *c, unsigned how)
{
	struct plan p = { .shown = (char *)(uintptr_t)"t:1:1: error: one\n  two\n", .errors = how / 4 % 2 };

	switch (how % 4) {
	case 0:
		control_reloaded(c, ++server.reload.number, &p, NULL, "1 new\n", true);
		control_upgraded(c, NULL, "");
		break;
	case 1:
		control_reloaded(c, ++server.reload.number, NULL, "the table\ncannot be read\x1b", "", true);
		control_upgraded(c, "it ended with 1", "server: no\nserver: really\n");
		break;
	case 2:		/* an older one is of no use to those who came behind it */
		control_reloaded(c, server.reload.number, &p, NULL, "0 new\n", false);
		control_upgraded(c, NULL, "");
		control_reloaded(c, ++server.reload.number, &p, NULL, "0 new\n", false);
		break;
	default:
		control_upgraded(c, "not now", "");
		control_reloaded(c, ++server.reload.number, NULL, "", "", true);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct control *c;
	struct feed f = { data, data + size };
	unsigned how = feed_byte(&f), flags = feed_byte(&f), piece = feed_byte(&f);
	size_t len = feed_left(&f), sent = 0, carried = 0;
	char first[LINE + 1] = "";
	static char answer[1 << 16];
	enum verdict v;
	int pair[2], status, lowest;

	if (c == NULL)
		c = begin();
	if (len > 2000)
		return 0;
	server.reload = (struct reload){ .number = server.reload.number, .refuses = flags % 4 == 3 };
	server.table = flags / 4 % 4 != 0;
	server.ends = flags / 16 % 4 == 3;
	server.forks = flags / 64 != 3;
	server.drained = server.stopped = server.upgrades = server.answers = false;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	lowest = pair[1];	/* free again when the server's side is closed */
	if (how % 8 == 5 || how % 8 == 6) {	/* it asked a predecessor, which became us */
		resume(&c, "asker", pair[1], how % 8 == 5 ? "upgrades" : "reloads", NULL, 0);
		if (how % 8 == 5)
			server.upgrades = true;
		else
			server.reload.begun = true;
		len = 0;
	} else {
		carried = how % 8 == 7 ? piece % 64 : 0;
		if (carried > len || memchr(f.at, '\n', carried) != NULL)
			carried = 0;
		resume(&c, "asker", pair[1], NULL, f.at, carried);
		sent = carried;
	}
	turn();
	for (size_t n; sent < len && model(f.at, sent, first) == NOT_YET; sent += n) {
		n = piece == 0 || len - sent < piece ? len - sent : piece;
		if (send(pair[0], f.at + sent, n, MSG_NOSIGNAL) != (ssize_t)n)
			break;
		turn();
	}
	/* Those before a whole line may be carried with a byte that is none. */
	v = model(f.at, sent < LINE ? sent : LINE, first);
	if (how / 8 % 4 == 3) {		/* it leaves before it is answered */
		(void)close(pair[0]);
		pair[0] = -1;
		turn();
	}
	if (server.reload.begun || server.upgrades)
		come_to_an_end(c, how / 32);
	turn();
	if (pair[0] != -1) {
		status = read_answer(pair[0], answer, sizeof answer);
		if (len > 0 && (v == UNKNOWN || v == NO_LINE) && sent > carried) {
			CHECK(status == 2 && !effects());
			CHECK(strstr(answer, v == UNKNOWN ? "does not know that request" : "a request is one line") != NULL);
		} else if (len > 0 && v == KNOWN) {
			CHECK(status != -1 || server.answers);
			CHECK((!server.drained || strcmp(first, "drain") == 0) && (!server.stopped || strcmp(first, "stop") == 0));
			CHECK(!server.reload.switched || strcmp(first, "enable") == 0 || strcmp(first, "disable") == 0);
		} else if (len == 0 && effects()) {
			CHECK(status == 0 || status == 1);
		}
		if (v == NOT_YET && len > 0)
			CHECK(status == -1 && !effects());
		(void)close(pair[0]);
	}
	turn();
	/* Nothing of it is left: its descriptor is free. */
	status = fcntl(0, F_DUPFD_CLOEXEC, lowest);
	CHECK(status == lowest);
	(void)close(status);
	CHECK(!control_queues(c));
	return 0;
}
