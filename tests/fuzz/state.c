/*
 * fuzz: what one program tells its successor. Any values come back as they were; any text as records is read to
 * its end; and into an engine, with descriptors that mean nothing to anybody, any records are taken or refused,
 * and all that they brought can be freed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/state.h"
#include "child/helper.h"
#include "serve/away.h"
#include "serve/carry.h"
#include "serve/conn.h"
#include "serve/listener.h"

#include "fuzz.h"

/* --- what must not happen here, whatever the records say */

int
unlink(const char *path)
{
	(void)path;
	errno = ENOENT;
	return -1;
}

int
kill(pid_t pid, int sig)
{
	(void)pid;
	CHECK(sig == 0);	/* nobody is told to end before the loop turns */
	errno = ESRCH;
	return -1;
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
	errno = EAGAIN;
	return -1;
}

/* --- values, there and back */

enum { VALUES = 40 };

struct value {
	char name[24];
	unsigned kind;
	int64_t number;
	char *text;
	size_t len;
};

static void
check_values(struct feed f)
{
	static struct value value[VALUES];
	struct buf b = { 0 };
	struct fact fact;
	char *at, *bytes;
	size_t n = 0;

	state_begin(&b, "kind");
	while (n < VALUES && feed_left(&f) > 0) {
		struct value *v = &value[n];

		v->kind = feed_byte(&f);
		(void)snprintf(v->name, sizeof v->name, "n%zu", n++);
		v->number = (int64_t)feed_number(&f, v->kind / 4 % 9);
		if (v->kind / 64 == 3)
			v->number = -(int64_t)((uint64_t)v->number & INT64_MAX);
		v->text = feed_text(&f, &v->len);
		if (v->kind % 4 == 0)
			state_number(&b, v->name, v->number);
		else if (v->kind % 4 == 1)
			state_bytes(&b, v->name, v->text, v->len);
		else
			state_text(&b, v->name, v->text);
	}
	state_end(&b);
	CHECK(!b.failed && memchr(b.data, '\n', b.len) == b.data + b.len - 1);
	for (size_t i = 0; i + 1 < b.len; i++)
		CHECK(b.data[i] >= 0x20 && b.data[i] < 0x7f);
	buf_add(&b, "", 1);
	at = b.data;
	CHECK(state_next(&at, &fact) && strcmp(fact.kind, "kind") == 0);
	for (size_t i = 0; i < n; i++) {
		struct value *v = &value[i];

		if (v->kind % 4 == 0) {
			CHECK(state_get(&fact, v->name, 0) == v->number);
		} else if (v->kind % 4 == 1) {
			bytes = malloc(v->len + 1);
			CHECK(bytes != NULL && state_get_bytes(&fact, v->name, bytes, v->len) == (v->len > 0));
			CHECK(v->len == 0 || memcmp(bytes, v->text, v->len) == 0);
			CHECK(!state_get_bytes(&fact, v->name, bytes, v->len + 1));
			free(bytes);
		} else {
			CHECK(state_get_text(&fact, v->name) != NULL && strcmp(state_get_text(&fact, v->name), v->text) == 0);
		}
		free(v->text);
	}
	CHECK(!state_next(&at, &fact));
	buf_free(&b);
}

/* --- records */

static void
check_text(const uint8_t *data, size_t size)
{
	char *text = exact_text(data, size), *at = text, *end = text + strlen(text);
	struct fact f;
	char bytes[16];

	while (state_next(&at, &f)) {
		CHECK(at > text && at <= end && f.kind != NULL && f.n <= STATE_WORDS);
		for (size_t i = 0; i < f.n; i++) {
			CHECK(state_get_text(&f, f.word[i].name) != NULL);
			(void)state_get(&f, f.word[i].name, 7);
			if (state_get_bytes(&f, f.word[i].name, bytes, sizeof bytes))
				CHECK(strlen(state_get_text(&f, f.word[i].name)) == 2 * sizeof bytes);
		}
	}
	free(text);
}

/* A new descriptor that is nobody's; -1: none. */
static int
harmless(int64_t kind)
{
	int pair[2] = { -1, -1 }, fd = -1;

	switch (kind % 8) {
	case 1:
	case 2:
		if (socketpair(AF_UNIX, (kind % 8 == 1 ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0)
			(void)close(pair[1]);
		return pair[0];
	case 3:
		if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) == 0)
			(void)close(pair[1]);
		return pair[0];
	case 4:
		return memfd_create("fuzz", MFD_CLOEXEC);
	case 5:
		return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	case 6:
		return socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	default:
		return fd;
	}
}

enum { FDS = 64 };

struct mine {			/* what one run has opened */
	int fd[FDS];
	int64_t said[FDS];	/* under which number it may be named again; 0: it may not */
	size_t n;
};

static bool
is_descriptor(const char *name)
{
	static const char *const words[] = { "fd", "pidfd", "tell", "channel", "outlet", "child_in", "child_out", "handed" };

	for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
		if (strcmp(name, words[k]) == 0)
			return true;
	return false;
}

static int
give(struct mine *m, int64_t said, bool again, bool keep)
{
	int fd;

	for (size_t i = 0; again && said > 0 && i < m->n; i++)
		if (m->said[i] == said)
			return m->fd[i];
	fd = said > 0 && m->n < FDS ? harmless(said) : -1;
	if (fd != -1) {
		m->said[m->n] = keep ? said : 0;
		m->fd[m->n++] = fd;
	}
	return fd;
}

/*
 * The numbers of descriptors would be the fuzzer's own. Each gets one that is made for it; only a listener's
 * and an outlet's may be named again, by those who hold that socket.
 */
static void
give_descriptors(struct fact *f, struct mine *m, char text[STATE_WORDS][16])
{
	for (size_t i = 0; i < f->n; i++) {
		const char *name = f->word[i].name;
		bool outlet = strcmp(name, "outlet") == 0, again = outlet || strcmp(name, "handed") == 0;

		if (!is_descriptor(name))
			continue;
		(void)snprintf(text[i], 16, "%d", give(m, strtoll(f->word[i].value, NULL, 10), again,
		    outlet || strcmp(f->kind, "listener") == 0));
		f->word[i].value = text[i];
	}
}

static int
lowest_free(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 3);

	CHECK(fd != -1);
	(void)close(fd);
	return fd;
}

static void
close_all(struct unit *u)
{
	for (; u != NULL; u = u->next)
		while (u->listeners != NULL)
			listener_close(u->listeners);
}

static void
check_carry(const uint8_t *data, size_t size)
{
	static char numbers[STATE_WORDS][16];
	int lowest = lowest_free();
	struct loop *l = loop_new();
	struct engine *e = l != NULL ? engine_new(l) : NULL;
	struct carry *k = e != NULL ? carry_new(e) : NULL;
	char *text = exact_text(data, size), *at;
	struct mine m = { .n = 0 };
	struct buf form = { 0 };
	struct fact f;
	struct err err;

	CHECK(k != NULL);
	carry_form(e, &form);
	buf_add(&form, "", 1);
	at = form.data;
	CHECK(!form.failed && state_next(&at, &f) && carry_look(&f, &err) == 0 && carry_read(k, &f, &err) == 0);
	buf_free(&form);
	for (at = text; state_next(&at, &f);) {
		give_descriptors(&f, &m, numbers);
		err.text[0] = '\0';
		if (carry_read(k, &f, &err) == -1)
			CHECK(err.text[0] != '\0');
	}
	carry_finish(k);
	close_all(e->units);
	close_all(e->gone);
	away_free(e);
	conn_free_all(e);
	while (e->units != NULL)
		unit_free(e->units);
	while (e->gone != NULL)
		unit_free(e->gone);
	engine_free(e);
	loop_free(l);
	/* What no record took is for the successor's exec to close. */
	for (size_t i = 0; i < m.n; i++)
		(void)close(m.fd[i]);
	CHECK(lowest_free() == lowest);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_values((struct feed){ data, data + size });
	check_text(data, size);
	check_carry(data, size);
	return 0;
}
