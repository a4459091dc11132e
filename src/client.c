/* client: connects to a service from the shell. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "base/str.h"
#include "net/sock.h"

enum { EXIT_BROKEN = 1, EXIT_USAGE = 2 };
enum { CHUNK = 65536, DATAGRAM = 65507, AGAIN = 20, UDP_SILENCE = 1000 };

static const char usage_text[] =
    "usage: client [-46uqv] [-w SECONDS] [-s SOURCE] ADDRESS [MESSAGE...]\n"
    "       client [...] HOST PORT [MESSAGE...]\n"
    "\n"
    "Connects, sends MESSAGE and a newline, or standard input, and prints what comes back.\n"
    "ADDRESS: HOST:PORT, a port of localhost, [IPV6]:PORT, udp:HOST:PORT, unix:PATH, vsock:CID:PORT.\n"
    "\n"
    "  -4, -6       IPv4 or IPv6 only\n"
    "  -u           UDP; ends after a second of silence\n"
    "  -w SECONDS   wait so long for the connection, trying again while it is refused, then for silence\n"
    "  -s SOURCE    come from ADDR, ADDR:PORT or PORT\n"
    "  -v           say both ends' addresses\n"
    "  -q           say nothing, not even errors\n"
    "  -h, -V       this; name and version\n"
    "\n"
    "Exit status: 0 both directions ended well, 1 no connection or it broke, 2 wrong command line.\n";

struct client {
	struct where to;
	const char *text;	/* ADDRESS as written */
	char text_buf[WHERE_HOST * 2];
	struct addr from;	/* of -s; len 0: none */
	unsigned from_port;
	int family;
	bool udp, quiet, verbose;
	bool v4, v6;		/* -4, -6; both: either */
	bool no_output;		/* standard output is closed */
	int64_t wait;		/* ms; -1: none */
	char **message;		/* NULL: standard input */
	int type;
	int fd;
	struct addr group;	/* multicast: where it is sent to; len 0: the socket is connected */
};

static int __attribute__((format(printf, 3, 4)))
fail(const struct client *c, int status, const char *fmt, ...)
{
	char text[1024], out[2048];
	va_list ap;

	if (c->quiet)
		return status;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)str_escape(out, sizeof out, text, strlen(text));
	(void)fprintf(stderr, "client: %s\n", out);
	return status;
}

/* --- the command line */

/* ADDR, ADDR:PORT, [ADDR]:PORT or PORT. */
static int
read_source(struct client *c, const char *text)
{
	char host[WHERE_HOST];
	const char *port = NULL, *end = text + strlen(text);
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST }, *list;
	const char *bracket = *text == '[' ? strchr(text, ']') : NULL;
	uint64_t n = 0;

	if (num_parse(text, 0, 65535, &n)) {
		c->from_port = (unsigned)n;
		return 0;
	}
	if (text[strspn(text, "0123456789")] == '\0')
		return -1;	/* a port beyond the last, not an address in one number */
	if (bracket != NULL) {
		text++;
		end = bracket;
		port = end[1] == ':' ? end + 2 : NULL;
	} else if (strchr(text, ':') != NULL && strchr(text, ':') == strrchr(text, ':')) {
		end = strchr(text, ':');
		port = end + 1;
	}
	if ((size_t)(end - text) >= sizeof host || (port != NULL && !num_parse(port, 0, 65535, &n)))
		return -1;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	if (getaddrinfo(host, NULL, &hints, &list) != 0)
		return -1;
	c->from.len = list->ai_addrlen;
	memcpy(&c->from.sa, list->ai_addr, list->ai_addrlen);
	c->from_port = (unsigned)n;
	freeaddrinfo(list);
	return 0;
}

/* The ADDRESS, in one word or two; returns how many it took, 0: err. */
static int
read_address(struct client *c, char **word, int n, struct err *err)
{
	const char *scheme = c->udp ? "udp:" : "";
	unsigned port;
	int took = 1;

	if (n == 0) {
		(void)err_set(err, "no ADDRESS given; for example: client localhost:1024");
		return 0;
	}
	c->text = word[0];
	if (strchr(word[0], ':') != NULL) {
		/* -u before an address that names its own protocol changes nothing. */
		if (c->udp && where_parse(&c->to, word[0], err) == 0 && c->to.scheme != SCHEME_TCP) {
			if (c->to.scheme == SCHEME_UNIX)
				c->to.type = SOCK_DGRAM;
			return 1;
		}
		(void)snprintf(c->text_buf, sizeof c->text_buf, "%s%s", scheme, word[0]);
		if (c->udp && strncmp(word[0], "tcp", 3) == 0) {
			(void)err_set(err, "%s: -u is UDP", word[0]);
			return 0;
		}
	} else if (port_parse(word[0], c->udp ? "udp" : "tcp", &port)) {
		(void)snprintf(c->text_buf, sizeof c->text_buf, "%slocalhost:%u", scheme, port);
	} else if (word[0][0] == '\0') {
		(void)err_set(err, "\"\" is no ADDRESS; for example: client localhost:1024");
		return 0;
	} else if (n < 2 && word[0][strspn(word[0], "0123456789")] == '\0') {
		(void)err_set(err, "%s is no port; ports go from 1 to 65535", word[0]);
		return 0;
	} else if (n < 2) {
		(void)err_set(err, "%s: no port; write %s:PORT or %s PORT", word[0], word[0], word[0]);
		return 0;
	} else {
		took = 2;
		(void)snprintf(c->text_buf, sizeof c->text_buf, "%s%s:%s", scheme, word[0], word[1]);
	}
	c->text = c->text_buf;
	where_free(&c->to);
	return where_parse(&c->to, c->text, err) == 0 ? took : 0;
}

/* -1: go on; else the exit status. */
static int
read_options(struct client *c, int argc, char **argv)
{
	struct err err;
	int o, took;

	static const struct option words[] = { { "help", no_argument, NULL, 'h' },
	    { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };

	opterr = 0;
	while ((o = getopt_long(argc, argv, "+:46uqvw:s:hV", words, NULL)) != -1) {
		switch (o) {
		case '4':
			c->v4 = true;
			break;
		case '6':
			c->v6 = true;
			break;
		case 'u':
			c->udp = true;
			break;
		case 'q':
			c->quiet = true;
			break;
		case 'v':
			c->verbose = true;
			break;
		case 'w':
			if (!num_parse_duration(optarg, SECOND, INT64_C(31536000) * SECOND, &c->wait))
				return fail(c, EXIT_USAGE, "-w %s: not a time; a number of seconds is", optarg);
			break;
		case 's':
			if (read_source(c, optarg) == -1)
				return fail(c, EXIT_USAGE, "-s %s: not ADDR, ADDR:PORT or PORT", optarg);
			break;
		case 'h':
			return fputs(usage_text, stdout) != EOF && fflush(stdout) == 0 ? 0 : EXIT_BROKEN;
		case 'V':
			return puts("client " VERSION) != EOF && fflush(stdout) == 0 ? 0 : EXIT_BROKEN;
		case ':':
			return fail(c, EXIT_USAGE, "-%c: a value is missing behind it", optopt);
		default:
			if (optopt == 0)
				return fail(c, EXIT_USAGE, "%s: no such option; client -h shows them all",
				    argv[optind - 1]);
			return fail(c, EXIT_USAGE, "-%c: no such option; client -h shows them all", optopt);
		}
	}
	took = read_address(c, argv + optind, argc - optind, &err);
	if (took == 0)
		return fail(c, EXIT_USAGE, "%s", err.text);
	if (argc - optind > took)
		c->message = argv + optind + took;
	c->family = c->v4 == c->v6 ? AF_UNSPEC : c->v4 ? AF_INET : AF_INET6;
	if (c->to.scheme == SCHEME_FD)
		return fail(c, EXIT_USAGE, "%s: a descriptor is nothing to connect to", c->text);
	if ((c->from.len != 0 || c->from_port != 0) && c->to.scheme != SCHEME_TCP && c->to.scheme != SCHEME_UDP)
		return fail(c, EXIT_USAGE, "%s: -s is for TCP and UDP", c->text);
	if (c->family != AF_UNSPEC && c->to.family != AF_UNSPEC && c->to.family != c->family)
		return fail(c, EXIT_USAGE, "%s: -%c does not go with it", c->text,
		    c->family == AF_INET ? '4' : '6');
	if (c->family != AF_UNSPEC && c->to.family == AF_UNSPEC)
		c->to.family = c->family;
	c->type = c->to.type;
	return -1;
}

/* --- connecting */

static int64_t
left(int64_t until)
{
	int64_t n = until - clock_ms();

	return until == -1 ? -1 : n < 0 ? 0 : n;
}

/* connect(2) with a limit. -1: errno. */
static int
connect_within(int fd, const struct addr *a, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int fault = 0;
	socklen_t len = sizeof fault;

	if (connect(fd, &a->sa, a->len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -1;
	if (poll(&p, 1, (int)left(until)) == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &len) == -1)
		return -1;
	errno = fault;
	return fault == 0 ? 0 : -1;
}

static int
bind_source(const struct client *c, int fd, const struct addr *to)
{
	struct addr a = c->from;
	int one = 1;

	if (to->sa.sa_family == AF_UNIX && c->type == SOCK_DGRAM) {
		/* A name of the kernel's choice: without one nobody can answer. */
		a = (struct addr){ .len = sizeof(sa_family_t), .sa = { .sa_family = AF_UNIX } };
		return bind(fd, &a.sa, a.len);
	}
	if (a.len == 0 && c->from_port == 0)
		return 0;
	if (a.len == 0) {
		a.sa.sa_family = to->sa.sa_family;
		a.len = to->sa.sa_family == AF_INET ? sizeof a.in : sizeof a.in6;
	}
	if (a.sa.sa_family != to->sa.sa_family) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	if (a.sa.sa_family == AF_INET)
		a.in.sin_port = htons((uint16_t)c->from_port);
	else
		a.in6.sin6_port = htons((uint16_t)c->from_port);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	return bind(fd, &a.sa, a.len);
}

static bool
is_group(const struct addr *a)
{
	return (a->sa.sa_family == AF_INET && IN_MULTICAST(ntohl(a->in.sin_addr.s_addr))) ||
	    (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr));
}

/*
 * Members answer from their own addresses, which a connected socket would not hear: so it only gets
 * the interface to send by. zone 0: the kernel's route to the group. -1: errno.
 */
static int
aim_at_group(struct client *c, const struct addr *to)
{
	unsigned zone = c->to.iface[0] != '\0' ? if_nametoindex(c->to.iface) : 0;
	struct ip_mreqn four = { .imr_ifindex = (int)zone };

	c->group = *to;
	if (c->to.iface[0] == '\0')
		return 0;
	if (zone == 0)
		return -1;
	return to->sa.sa_family == AF_INET ?
	    setsockopt(c->fd, IPPROTO_IP, IP_MULTICAST_IF, &four, sizeof four) :
	    setsockopt(c->fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &zone, sizeof zone);
}

/* -1: errno. */
static int
try_one(struct client *c, const struct addr *to, int64_t until)
{
	int why;

	c->fd = socket(to->sa.sa_family, c->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd == -1)
		return -1;
	if (bind_source(c, c->fd, to) == 0 && (c->type == SOCK_DGRAM && is_group(to) ?
	    aim_at_group(c, to) : connect_within(c->fd, to, until)) == 0)
		return 0;
	why = errno;
	(void)close(c->fd);
	c->fd = -1;
	errno = why;
	return -1;
}

/* The addresses that the ADDRESS stands for. */
static size_t
resolve(struct client *c, struct addr *to, struct err *err)
{
	const struct where *w = &c->to;
	struct addrinfo hints = { .ai_family = w->family, .ai_socktype = w->type }, *list, *i;
	char host[WHERE_HOST + 24], port[16];
	size_t n = 0, len;
	bool scoped;
	int rc;

	assert(w->host != NULL);	/* it was parsed */
	len = strlen(w->host);

	if (w->scheme == SCHEME_UNIX) {
		to[0] = (struct addr){ .un = { .sun_family = AF_UNIX } };
		memcpy(to[0].un.sun_path, w->host, len);
		to[0].len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (w->host[0] != '@'));
		if (w->host[0] == '@')
			to[0].un.sun_path[0] = '\0';
		return 1;
	}
	if (w->scheme == SCHEME_VSOCK) {
		to[0] = (struct addr){ .len = sizeof to[0].vm, .vm = { .svm_family = AF_VSOCK } };
		to[0].vm.svm_cid = w->cid == VMADDR_CID_ANY ? VMADDR_CID_LOCAL : w->cid;
		to[0].vm.svm_port = w->port;
		return 1;
	}
	/* An IPv4 address has no scope: there the interface is only of use to a group. */
	scoped = w->iface[0] != '\0' && strchr(w->host, ':') != NULL;
	(void)snprintf(host, sizeof host, "%s%s%s", w->host[0] != '\0' ? w->host :
	    w->family == AF_INET6 ? "::1" : "localhost", scoped ? "%" : "", scoped ? w->iface : "");
	(void)snprintf(port, sizeof port, "%u", w->port);
	rc = getaddrinfo(host, port, &hints, &list);
	if (rc != 0) {
		(void)err_set(err, "%s: cannot resolve %s: %s", c->text, host, gai_strerror(rc));
		return 0;
	}
	for (i = list; i != NULL && n < SOCK_MAX; i = i->ai_next) {
		to[n].len = i->ai_addrlen;
		memcpy(&to[n++].sa, i->ai_addr, i->ai_addrlen);
	}
	freeaddrinfo(list);
	return n;
}

static int
open_connection(struct client *c, struct err *err)
{
	struct addr to[SOCK_MAX];
	int64_t until = c->wait == -1 ? -1 : clock_ms() + c->wait;
	size_t n;

	if (c->to.scheme == SCHEME_FIFO) {
		/* Without a reader the open waits; so it is tried until the time is up. */
		while ((c->fd = open(c->to.host, O_WRONLY | O_CLOEXEC |
		    (until == -1 ? 0 : O_NONBLOCK))) == -1) {
			if ((errno != ENXIO && errno != ENOENT) || until == -1 || left(until) == 0)
				return err_sys(err, errno, "%s: cannot open", c->text);
			(void)poll(NULL, 0, AGAIN);
		}
		return 0;
	}
	n = resolve(c, to, err);
	if (n == 0)
		return -1;
	for (;;) {
		int why = 0;

		for (size_t i = 0; i < n; i++) {
			if (try_one(c, &to[i], until) == 0)
				return 0;
			/* An address of a family that -s does not fit says the least. */
			if (why == 0 || errno != EAFNOSUPPORT)
				why = errno;
		}
		/* A UNIX listener whose queue is full says EAGAIN where TCP would wait. */
		if (left(until) == 0 || (why != EAGAIN &&
		    (until == -1 || (why != ECONNREFUSED && why != ENOENT))))
			return err_sys(err, why, "%s: cannot connect", c->text);
		(void)poll(NULL, 0, AGAIN);
	}
}

static void
say_ends(const struct client *c)
{
	struct addr a = { .len = sizeof a - offsetof(struct addr, sa) }, b = a;
	char near[WHERE_HOST + 64], far[WHERE_HOST + 64];

	if (c->group.len != 0)
		b = c->group;
	if (getsockname(c->fd, &a.sa, &a.len) == -1 ||
	    (c->group.len == 0 && getpeername(c->fd, &b.sa, &b.len) == -1))
		return;
	sock_name(&a, c->type, false, near, sizeof near);
	sock_name(&b, c->type, false, far, sizeof far);
	(void)fail(c, 0, "%s connected to %s", near, far);
}

/* --- copying */

struct copy {
	struct buf out;		/* to the peer, not sent yet */
	bool input_over;	/* there is no more of it */
	bool shut;		/* and the peer has been told */
	bool sent, received;	/* anything */
	bool reset;		/* the connection was reset while something was sent */
	bool broken;		/* a FIFO's reader is gone */
};

static void
read_input(const struct client *c, struct copy *k)
{
	static char chunk[CHUNK];
	size_t most = c->type == SOCK_STREAM ? sizeof chunk : DATAGRAM;
	ssize_t n = read(STDIN_FILENO, chunk, most);

	if (n > 0)
		buf_add(&k->out, chunk, (size_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		k->input_over = true;
}

static ssize_t
send_to_peer(const struct client *c, const void *bytes, size_t len)
{
	const bool group = c->group.len != 0;

	return sendto(c->fd, bytes, len, MSG_NOSIGNAL, group ? &c->group.sa : NULL, group ? c->group.len : 0);
}

/* False: the peer takes no more; what it sends is read all the same. */
static void
send_some(const struct client *c, struct copy *k)
{
	ssize_t n = c->to.scheme == SCHEME_FIFO ? write(c->fd, k->out.data, k->out.len) :
	    send_to_peer(c, k->out.data, k->out.len);

	if (n >= 0) {
		k->sent = true;
		buf_cut(&k->out, (size_t)n);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED) {
		k->out.len = 0;
		k->input_over = k->shut = true;
		k->reset = errno == ECONNRESET;	/* told once, and here */
		k->broken = c->to.scheme == SCHEME_FIFO;
	}
}

static void
end_output(const struct client *c, struct copy *k)
{
	if (!k->input_over || k->out.len > 0 || k->shut)
		return;
	if (c->type == SOCK_DGRAM) {
		if (!k->sent)
			(void)send_to_peer(c, "", 0);
	} else if (c->type != 0) {
		(void)shutdown(c->fd, SHUT_WR);
	}
	k->shut = true;
}

/* -1: go on; else the exit status. */
static int
receive(const struct client *c, struct copy *k)
{
	static char chunk[CHUNK];
	ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);

	if (n == -1) {
		if (errno == EAGAIN || errno == EINTR)
			return -1;
		return fail(c, EXIT_BROKEN, "%s: the connection broke: %s", c->text, strerror(errno));
	}
	if (n == 0 && c->type != SOCK_DGRAM)
		return !k->reset ? 0 : fail(c, EXIT_BROKEN, "%s: the connection broke: %s", c->text, strerror(ECONNRESET));
	k->received = true;
	if (c->no_output)
		return fail(c, EXIT_BROKEN, "standard output is closed");
	if (fd_write_all(STDOUT_FILENO, chunk, (size_t)n) == -1)
		return fail(c, EXIT_BROKEN, "cannot write to standard output: %s", strerror(errno));
	return -1;
}

static int
copy(struct client *c)
{
	struct copy k = { .input_over = c->message != NULL };
	bool dgram = c->type == SOCK_DGRAM;
	int64_t silence = c->wait != -1 ? c->wait : dgram ? UDP_SILENCE : -1;
	int64_t until = silence == -1 ? -1 : clock_ms() + silence;
	int rc = -1;

	for (char **m = c->message; m != NULL && *m != NULL; m++)
		buf_addf(&k.out, "%s%s", *m, m[1] != NULL ? " " : "\n");
	while (rc == -1) {
		struct pollfd p[2] = { { .fd = c->fd, .events = POLLIN }, { .fd = -1, .events = POLLIN } };
		int n;

		end_output(c, &k);
		if (c->to.scheme == SCHEME_FIFO) {
			p[0].events = 0;
			if (k.shut)
				break;
		}
		if (k.out.len > 0)
			p[0].events |= POLLOUT;
		else if (!k.input_over)
			p[1].fd = STDIN_FILENO;
		n = poll(p, 2, (int)left(until));
		if (n == 0) {
			rc = dgram && k.received ? 0 : dgram ? EXIT_BROKEN :
			    fail(c, EXIT_BROKEN, "%s: silent for too long", c->text);
			break;
		}
		if (n > 0 && until != -1)
			until = clock_ms() + silence;
		if (p[1].revents != 0)
			read_input(c, &k);
		if (p[0].revents & POLLOUT && k.out.len > 0)
			send_some(c, &k);
		if (k.out.failed)
			rc = fail(c, EXIT_BROKEN, "no memory for what is to be sent");
		else if (p[0].revents & POLLERR && c->to.scheme == SCHEME_FIFO) {
			k.broken = true;
			break;
		} else if (p[0].revents & (POLLIN | POLLHUP | POLLERR) && c->to.scheme != SCHEME_FIFO)
			rc = receive(c, &k);
	}
	buf_free(&k.out);
	if (k.broken)
		return fail(c, EXIT_BROKEN, "%s: nobody reads any more", c->text);
	return rc == -1 ? 0 : rc;
}

int
main(int argc, char **argv)
{
	static struct client c = { .wait = -1, .fd = -1 };
	struct err err;
	int rc;

	(void)signal(SIGPIPE, SIG_IGN);
	c.no_output = !fd_is_open(STDOUT_FILENO);
	if (fd_fill_std() == -1)	/* else the connection might become standard output */
		return EXIT_BROKEN;
	rc = read_options(&c, argc, argv);
	if (rc != -1)
		return rc;
	if (open_connection(&c, &err) == -1)
		return fail(&c, EXIT_BROKEN, "%s", err.text);
	if (c.verbose && c.to.scheme != SCHEME_FIFO)
		say_ends(&c);
	return copy(&c);
}
