#include "base/sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/pour.h"

enum {
	FIRST = 1024,		/* bytes of a queue at first: thousands of sinks may begin at once */
	BOUND = 256 * 1024,	/* bytes that wait for a slow sink */
	FULL = 4, FULLER = 64,	/* ms until a sink that was full is tried again: first, and when it stays so */
	BROKEN = 500,		/* ms until one that failed is */
};

struct sink {
	struct hash_node node;	/* of `all` */
	unsigned refs;
	unsigned full;		/* ms: the next pause while it is full; 0: it was not */
	struct pour pour;	/* where it goes, and how */
	bool busy;		/* in the list of those that have something to do */
	bool reopen;		/* its file is to be opened by its name */
	bool kept;		/* that did not go, and was told */
	bool failed;		/* it could not be written, and that was told */
	bool over_soft, over_hard;	/* the file is as long, and that was told */
	struct sink *next_busy;
	int64_t due;		/* when it wants to be flushed; -1: no need */
	char *data;		/* lines that wait: len bytes from `at` on; NULL: none */
	size_t at, len, size;
	uint64_t lost;
	int64_t written;	/* when last */
	int64_t retry;		/* it did not take all: not before then; 0: it did */
	int64_t reopened;	/* when it was last tried */
	size_t nparts;		/* of one that is several places: 0: it is one */
	struct sink **part;	/* owned array of held sinks; NULL: the master's own log */
};

static struct hash all;
static struct sink *busy;	/* a list */
static uint64_t left, missed;	/* lines that were lost with sinks that are gone, and by an upgrade, and not told yet */

static void
engage(struct sink *s)
{
	if (s->busy)
		return;
	s->busy = true;
	s->due = 0;
	s->next_busy = busy;
	busy = s;
}

/* --- which there are */

static bool
same(const struct log_to *a, const struct log_to *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == LOG_SYSLOG)
		return a->facility == b->facility && a->level == b->level;
	return a->kind != LOG_FILE || (a->soft == b->soft && a->hard == b->hard && strcmp(a->path, b->path) == 0);
}

static uint64_t
key_of(const struct log_to *to)
{
	return to->kind == LOG_FILE ? hash_bytes(to->path, strlen(to->path)) : hash_number((uint64_t)to->kind);
}

/* One with no place and no part yet. */
static struct sink *
new_sink(uint64_t key)
{
	struct sink *s;

	if (all.bucket == NULL && hash_init(&all) == -1)
		return NULL;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->pour.fd = -1;
	hash_put(&all, &s->node, key);
	return s;
}

static struct sink *
next_of(const struct sink *s, uint64_t key)
{
	struct hash_node *n = s != NULL ? hash_next(&s->node) : all.bucket != NULL ? hash_find(&all, key) : NULL;

	return (struct sink *)(void *)n;
}

static struct sink *
get_one(const struct log_to *to)
{
	uint64_t key = key_of(to);
	struct sink *s = NULL;

	while ((s = next_of(s, key)) != NULL) {
		if (s->nparts == 0 && same(&s->pour.to, to)) {
			s->refs++;
			return s;
		}
	}
	s = new_sink(key);
	if (s == NULL)
		return NULL;
	s->pour.to = *to;
	if (to->kind == LOG_FILE && (s->pour.to.path = strdup(to->path)) == NULL) {
		s->pour.to.kind = LOG_MASTER;
		sink_put(s);
		return NULL;
	}
	if (to->kind == LOG_STDERR)
		pour_open_stderr(&s->pour);
	return s;
}

/* Takes the array and what it holds. */
static struct sink *
get_several(struct sink **part, size_t n)
{
	uint64_t key = hash_bytes(part, n * sizeof(struct sink *));
	struct sink *s = NULL;

	while ((s = next_of(s, key)) != NULL) {
		if (s->nparts == n && memcmp(s->part, part, n * sizeof(struct sink *)) == 0) {
			s->refs++;
			break;
		}
	}
	if (s == NULL && (s = new_sink(key)) != NULL) {
		s->part = part;
		s->nparts = n;
		return s;
	}
	while (n-- > 0)
		sink_put(part[n]);
	free(part);
	return s;
}

struct sink *
sink_get(const struct log_to *to, size_t n)
{
	struct sink **part;

	if (n == 0 || (n == 1 && to->kind == LOG_MASTER))
		return NULL;
	if (n == 1)
		return get_one(to);
	part = calloc(n, sizeof(struct sink *));
	if (part == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (to[i].kind == LOG_MASTER || (part[i] = get_one(&to[i])) != NULL)
			continue;
		while (i-- > 0)
			sink_put(part[i]);
		free(part);
		return NULL;
	}
	return get_several(part, n);
}

static bool
write_some(struct sink *s)
{
	ssize_t n = pour(&s->pour, s->data + s->at, s->len, &s->lost);

	if (n <= 0)
		return false;
	s->at += (size_t)n;
	s->len -= (size_t)n;
	if (s->len == 0) {
		/* With thousands of sinks what each holds would be much. */
		free(s->data);
		s->data = NULL;
		s->at = s->size = 0;
	}
	return true;
}

void
sink_put(struct sink *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	while (s->len > 0 && write_some(s))
		;
	if (s->len > 0)
		s->lost += pour_lines(s->data + s->at, s->len);
	left += s->lost;
	for (struct sink **p = &busy; s->busy; p = &(*p)->next_busy) {
		if (*p == s) {
			*p = s->next_busy;
			break;
		}
	}
	hash_remove(&all, &s->node);
	if (all.count == 0)
		hash_free(&all);
	pour_close(&s->pour);
	while (s->nparts > 0)
		sink_put(s->part[--s->nparts]);
	free(s->part);
	free(s->pour.to.path);
	free(s->data);
	free(s);
}

int
sink_open(struct sink *s)
{
	return s == NULL || s->pour.to.kind != LOG_FILE || s->pour.fd != -1 ? 0 : pour_open_file(&s->pour);
}

size_t
sink_parts(const struct sink *s)
{
	return s != NULL && s->nparts > 0 ? s->nparts : 1;
}

struct sink *
sink_part(struct sink *s, size_t i)
{
	return s != NULL && s->nparts > 0 ? s->part[i] : s;
}

const struct log_to *
sink_place(const struct sink *s)
{
	return s != NULL ? &s->pour.to : NULL;
}

uint64_t
sinks_unwritten(void)
{
	uint64_t n = left + missed;

	for (size_t i = 0; all.bucket != NULL && i <= all.mask; i++) {
		for (const struct hash_node *k = all.bucket[i]; k != NULL; k = k->next) {
			const struct sink *s = (const struct sink *)(const void *)k;

			n += s->lost + (s->len > 0 ? pour_lines(s->data + s->at, s->len) : 0);
		}
	}
	return n;
}

void
sinks_missed(uint64_t lines)
{
	missed += lines;
}

void
sinks_stderr_anew(void)
{
	const uint64_t key = key_of(&(struct log_to){ .kind = LOG_STDERR });

	for (struct sink *s = next_of(NULL, key); s != NULL; s = next_of(s, key)) {
		if (s->pour.to.kind != LOG_STDERR)
			continue;
		pour_close(&s->pour);
		pour_open_stderr(&s->pour);
	}
}

void
sinks_reopen(void)
{
	for (size_t i = 0; all.bucket != NULL && i <= all.mask; i++) {
		for (struct hash_node *n = all.bucket[i]; n != NULL; n = n->next) {
			struct sink *s = (struct sink *)(void *)n;

			if (s->pour.to.kind != LOG_FILE || s->pour.fd == -1)
				continue;	/* it is opened with its next line */
			s->reopen = true;
			s->kept = false;
			s->reopened = 0;
			engage(s);
		}
	}
}

/* --- lines in and out */

/* Room for so much behind what waits. False: there is none. */
static bool
make_room(struct sink *s, size_t len)
{
	size_t size = s->size == 0 ? FIRST : s->size;
	char *p;

	while (size < s->len + len)
		size *= 2;
	if (size > BOUND)
		return false;
	if (size > s->size) {
		p = realloc(s->data, size);
		if (p == NULL)
			return false;
		s->data = p;
		s->size = size;
	}
	if (s->at + s->len + len > s->size) {
		memmove(s->data, s->data + s->at, s->len);
		s->at = 0;
	}
	return true;
}

void
sink_add(struct sink *s, const char *line, size_t len)
{
	if (s == NULL)
		return;
	engage(s);
	/* Many lines at once, as at a start with thousands of services: what can go goes first. */
	if (s->len + len > BOUND && s->retry == 0)
		while (s->len > 0 && write_some(s))
			;
	if (!make_room(s, len)) {
		s->lost++;
		return;
	}
	memcpy(s->data + s->at + s->len, line, len);
	s->len += len;
}

static const char *
name_of(const struct sink *s, char buf[300])
{
	if (s->pour.to.kind != LOG_FILE)
		return s->pour.to.kind == LOG_SYSLOG ? "syslog" : "standard error";
	(void)snprintf(buf, 300, "the log %.200s", s->pour.to.path);
	return buf;
}

/* What became of a file's limits, told once each. */
static void
look_at_limits(struct sink *s, sink_told *told)
{
	const struct log_to *to = &s->pour.to;
	bool was_hard = s->over_hard, was_soft = s->over_soft;
	char text[400];
	struct stat st;

	if (to->kind != LOG_FILE || to->soft == 0 || s->pour.fd == -1 || fstat(s->pour.fd, &st) == -1)
		return;
	s->over_hard = s->pour.over_hard;
	s->over_soft = (uint64_t)st.st_size >= to->soft;
	if (s->over_hard && !was_hard) {
		(void)snprintf(text, sizeof text, "the log %.200s has reached its hard limit of %" PRIu64
		    " bytes: nothing more is written to it", to->path, to->hard);
		told(s, true, "error", text);
	}
	if (s->over_soft && !was_soft) {
		(void)snprintf(text, sizeof text, "the log %.200s has reached its soft limit of %" PRIu64
		    " bytes; at %" PRIu64 " nothing more is written to it", to->path, to->soft, to->hard);
		told(s, false, "error", text);
	}
}

/* The new file has a length of its own. Until it can be opened the old one serves. */
static void
reopen(struct sink *s, int64_t now, sink_told *told)
{
	char text[400];

	s->reopened = now;
	if (pour_open_file(&s->pour) == 0) {
		s->reopen = s->kept = false;
		look_at_limits(s, told);
		return;
	}
	if (!s->kept) {
		(void)snprintf(text, sizeof text, "cannot open the log %.200s again: %s; it goes on in the file as it "
		    "was opened before", s->pour.to.path, strerror(errno));
		told(s, true, "error", text);
	}
	s->kept = true;
}

/* It did not take all. */
static int64_t
wait_for(struct sink *s, int64_t now, int why, bool some, sink_told *told)
{
	bool broken = why != EAGAIN && why != ENOBUFS;

	if (broken && !s->failed) {
		char text[400], name[300];

		s->failed = true;
		(void)snprintf(text, sizeof text, "cannot write %s: %s; it is tried again", name_of(s, name),
		    strerror(why));
		told(s, true, "error", text);
	}
	s->full = s->full == 0 || some ? FULL : s->full < FULLER ? s->full * 2 : FULLER;
	s->retry = now + (broken ? BROKEN : (int64_t)s->full);
	return s->retry;
}

static int64_t
flush(struct sink *s, int64_t now, sink_told *told)
{
	size_t had;

	if (s->reopen && (now == 0 || s->reopened == 0 || now >= s->reopened + BROKEN))
		reopen(s, now, told);
	if (s->len == 0 && (s->lost == 0 || s->over_hard))
		return -1;
	if (now != 0 && now < s->retry)
		return s->retry;
	if (now != 0 && s->retry == 0 && now < s->written + SINK_GATHER && s->len < BOUND / 4)
		return s->written + SINK_GATHER;
	had = s->len;
	while (s->len > 0 && write_some(s))
		;
	s->written = now;
	if (s->len > 0)
		return wait_for(s, now, errno, s->len < had, told);
	s->retry = 0;
	s->full = 0;
	s->failed = false;
	look_at_limits(s, told);
	if (s->lost > 0 && !s->over_hard) {
		char text[400], name[300];

		(void)snprintf(text, sizeof text, "%" PRIu64 " log lines that %s did not take", s->lost,
		    name_of(s, name));
		s->lost = 0;
		told(s, false, "lost", text);
	}
	return s->len > 0 ? now + SINK_GATHER : -1;
}

static void
tell_lost(uint64_t *n, const char *which, sink_told *told)
{
	char text[100];

	if (*n == 0)
		return;
	(void)snprintf(text, sizeof text, "%" PRIu64 " log lines %s", *n, which);
	*n = 0;
	told(NULL, false, "lost", text);
}

int64_t
sinks_flush(int64_t now, sink_told *told)
{
	struct sink *s, *next;
	int64_t due = -1;

	tell_lost(&left, "of logs that are not used any more", told);
	tell_lost(&missed, "that were not written when an upgrade came", told);
	/* Twice: what one told another may have to write. */
	for (int pass = 0; pass < 2; pass++)
		for (s = busy; s != NULL; s = s->next_busy)
			s->due = flush(s, now, told);
	s = busy;
	busy = NULL;
	for (; s != NULL; s = next) {
		next = s->next_busy;
		s->busy = false;
		if (s->due == -1)
			continue;
		s->busy = true;
		s->next_busy = busy;
		busy = s;
		if (due == -1 || s->due < due)
			due = s->due;
	}
	return due;
}
