/*
 * datagram: sockets whose datagrams each start a child (wait = no), or each peer's do (session).
 *
 * A child never has the socket itself: two children would take each other's datagrams. It has one
 * end of a pair that keeps boundaries, and what it writes there leaves through the listener's
 * socket, from the address that was asked, to the peer. So any number of peers share one port, and
 * none of their datagrams goes to somebody else.
 */
#ifndef SERVE_DATAGRAM_H
#define SERVE_DATAGRAM_H

#include "serve/listener.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83	/* Linux 6.16 */
#endif

enum { DATAGRAM_MOST = 65536 };	/* bytes; what is longer (UNIX sockets can) is refused */

struct inbound;

struct outlet {			/* a listener's socket, as long as a reply may leave through it */
	unsigned refs;
	int fd;			/* owned */
	int family;
	struct engine *engine;	/* once its listener is closed */
	uint32_t watch;
	struct inbound *kept;	/* owned, bytes and all: there was no descriptor for it. It goes first */
};

/* One reference; its fd is -1 still. NULL: errno. */
struct outlet *outlet_new(const struct bound *b);
void outlet_put(struct outlet *o);	/* gives one back; NULL is fine */

/*
 * The listener's own reference, when it is closed: sessions that live on get what their peers still
 * send.
 */
void outlet_leave(struct outlet *o, struct engine *e);

struct inbound {		/* one datagram, as it came */
	struct addr from;	/* a UNIX sender without a name has none: len is 0 */
	struct peer peer;
	struct ip to;		/* the address of ours that was asked */
	bool told;		/* that is known */
	unsigned zone;		/* of a link-local one, and of a group */
	char *bytes;		/* borrowed until the next are read */
	size_t len;
	bool cut;
};

enum { INBOUND_MOST = 16 };

/* Keeps a copy of one that cannot be begun now. False: no memory. */
bool datagram_keep(struct outlet *o, const struct inbound *in);

/*
 * Reads at most `most` (INBOUND_MOST at most) datagrams that wait. Returns how many; 0: none (errno
 * EAGAIN), or a fault that may pass (errno). They are valid until the next call.
 */
unsigned datagram_read(const struct outlet *o, unsigned most, struct inbound *out);

/* The same for the first that waits, which stays there. False: none is there. */
bool datagram_peek(const struct outlet *o, struct inbound *out);

/* Sends one back where it came from, from the address that was asked. False: errno. */
bool datagram_reply(const struct outlet *o, const struct inbound *to, const void *bytes, size_t len);

/* Asks the kernel to tell which address is asked and, on UNIX sockets, who sends. */
void datagram_prepare(int fd, int family);

/* What stands between one child and one peer. */
struct dialog {
	struct hash_node node;	/* of a session: by peer and address */
	struct conn *conn;
	bool listed;
	struct outlet *outlet;	/* held */
	struct inbound who;	/* its bytes are none */
	struct addr local;
	int in, out;		/* the child's ends until it runs; -1. `in` -1: a session's is `out` */
	uint64_t bytes_in, bytes_out;
	int64_t moved;		/* ms: when the last datagram passed */
};

listener_take datagram_take;

/*
 * For a successor of this program: c's dialog, as it was, through that outlet (held); `listed`: its peer's
 * datagrams come to it. -1: no memory.
 */
int dialog_resume(struct conn *c, struct outlet *o, const struct inbound *who, const struct addr *local, bool listed);

/* For conn: the child's replies leave; all that are there do; a session takes no more; the end of it. */
void dialog_ready(void *arg, uint32_t events);
void dialog_drain(struct conn *c);
void dialog_unlist(struct conn *c);
void dialog_started(struct conn *c);
void dialog_free(struct conn *c);

#endif
