/* control_parts: what the files of control share: control.c listens and reads, request.c does, answer.c says. */
#ifndef MANAGE_CONTROL_PARTS_H
#define MANAGE_CONTROL_PARTS_H

#include "base/buf.h"
#include "manage/control.h"
#include "net/loop.h"
#include "net/sock.h"

enum { WORDS = 4 };		/* of a request behind its first, at most */

enum asker_state {
	ASKER_READS,		/* its request is not whole yet */
	ASKER_RELOADS,		/* it waits for a reload */
	ASKER_UPGRADES,
	ASKER_QUEUED,		/* for a process that answers */
	ASKER_ANSWERED,		/* by a process; its connection is closed here */
};

struct asker {
	struct asker *next;
	struct control *control;
	enum asker_state state;
	int fd;			/* the connection; then what tells the end of the process */
	uint32_t watch;
	struct timer timer;
	uint64_t number;	/* of the reload */
	bool switches;		/* enable or disable: it is remembered, also if that reload is refused */
	struct buf text;	/* what is to be said, if it is there already */
	char *word[WORDS + 2];	/* in line; NULL behind the last */
	size_t len;
	char line[CONTROL_LINE + 1];
};

struct control {
	struct server *server;
	struct loop *loop;
	struct bound bound;	/* owned */
	uint32_t watch;		/* 0: nobody else is let in for now */
	struct timer rest;
	struct asker *first;	/* oldest first */
	struct asker *newest;	/* the last that came, if it is there still */
	unsigned n, answering;
};

/* --- control.c */

void asker_free(struct asker *a);

/* --- request.c */

/* Does what the line asks for. May free a, as all that follow. */
void asker_act(struct asker *a);

/* --- answer.c */

/* Lines of text, each with the letter that says where it belongs. */
void answer_lines(struct buf *out, char to, const char *text, size_t len);

/* A message. What stands in `why` may have been written by somebody: it stays one line. */
void answer_failure(struct buf *out, const char *what, const char *why);

void answer_end(struct buf *out, int status);

/* Says a->text, at once if it can be taken at once, else by a process. */
void asker_say(struct asker *a);

/* Says that, of one of the letters, and the end. */
void asker_reply(struct asker *a, int status, char to, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Has it answered by a process; later, if there are many. */
void asker_answer(struct asker *a);

#endif
