/*
 * datagrams: a client of datagram services for the tests, that says exactly what came and from where.
 *
 * datagrams [options] ADDRESS [TEXT...]          sends each TEXT, and awaits its reply before the next
 * datagrams -n PEERS [-m EACH] [-w WINDOW] [-p MS] [-z BYTES] ADDRESS
 *                                               so many peers, to a service that sends back what came
 *   ADDRESS udp:HOST:PORT, unix-dgram:PATH (@ for abstract)
 *   -b from that address: ADDR, ADDR:PORT, [V6]:PORT; a path, @NAME
 *   -z a datagram of so many bytes (instead of TEXT)    -k replies to await for each (1; 0: none)
 *   -f say from where each reply came, and take it from anywhere (else: only from where was asked)
 *   -l print only how long each reply is                -i interface of multicasts
 *   -r so many descriptors go along                     -t ms of silence that end it (3000)
 *   -p ms between two of them
 *   -n prints ANSWERED WRONG: replies that are those of no datagram of that peer are wrong
 * Exit status: 0 every reply came, 4 silence, 5 refused, 1 anything else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { END = 0, OTHER = 1, SILENCE = 4, REFUSED = 5, MOST = 65536, RIGHTS = 64 };

static const char *from;
static int limit = 3000, replies = 1, anywhere, lengths, size = -1, rights, peers, each = 1, window = 64, pause_ms;
static unsigned iface;
static struct sockaddr_storage to;
static socklen_t to_len;

static int
parse_inet(const char *text, struct sockaddr_storage *a, socklen_t *len)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *list;
	char copy[256], *host = copy, *port;

	(void)snprintf(copy, sizeof copy, "%s", text);
	port = strrchr(copy, ':');
	if (*host == '[') {
		host++;
		*strchr(host, ']') = '\0';
	} else if (port != NULL && strchr(copy, ':') != port) {
		port = NULL;	/* an IPv6 address alone */
	}
	if (port != NULL)
		*port++ = '\0';
	if (getaddrinfo(host, port != NULL ? port : "0", &hints, &list) != 0)
		return -1;
	memcpy(a, list->ai_addr, list->ai_addrlen);
	*len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

static int
parse_path(const char *path, struct sockaddr_storage *a, socklen_t *len)
{
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	size_t n = strlen(path);

	if (n >= sizeof u.sun_path)
		return -1;
	memcpy(u.sun_path, path, n);
	if (*path == '@')
		u.sun_path[0] = '\0';
	memcpy(a, &u, sizeof u);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*path != '@'));
	return 0;
}

static int
parse(const char *address)
{
	if (strncmp(address, "udp:", 4) == 0)
		return parse_inet(address + 4, &to, &to_len);
	if (strncmp(address, "udp4:", 5) == 0 || strncmp(address, "udp6:", 5) == 0)
		return parse_inet(address + 5, &to, &to_len);
	if (strncmp(address, "unix-dgram:", 11) == 0)
		return parse_path(address + 11, &to, &to_len);
	return -1;
}

static int
make_socket(void)
{
	int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, big = 4 << 20;
	struct ip_mreqn m = { .imr_ifindex = (int)iface };
	struct sockaddr_storage a;
	socklen_t len;

	if (fd == -1)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
	if (iface != 0 && to.ss_family == AF_INET)
		(void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m);
	if (iface != 0 && to.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &iface, sizeof iface);
	if (from != NULL) {
		if ((to.ss_family == AF_UNIX ? parse_path(from, &a, &len) : parse_inet(from, &a, &len)) == -1)
			return -1;
		if (bind(fd, (struct sockaddr *)&a, len) == -1) {
			perror("bind");
			return -1;
		}
	}
	return anywhere || connect(fd, (struct sockaddr *)&to, to_len) == 0 ? fd : -1;
}

static int
put(int fd, const char *bytes, size_t n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * RIGHTS)] = { 0 };
	struct iovec v = { (void *)(size_t)bytes, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (anywhere) {
		m.msg_name = &to;
		m.msg_namelen = to_len;
	}
	if (rights > 0) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)rights);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)rights);
		memset(CMSG_DATA(c), 0, sizeof(int) * (size_t)rights);	/* standard input, so often */
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

static void
say_from(const struct sockaddr_storage *a, socklen_t len)
{
	char host[128], port[16];

	if (a->ss_family == AF_UNIX)
		(void)printf("%s ", len > sizeof(sa_family_t) ? ((const struct sockaddr_un *)a)->sun_path : "-");
	else if (getnameinfo((const struct sockaddr *)a, len, host, sizeof host, port, sizeof port,
	    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		(void)printf("%s:%s ", host, port);
}

static int
verdict(int why)
{
	return why == ECONNREFUSED || why == ENOENT ? REFUSED : OTHER;
}

static int
take(int fd)
{
	static char buf[MOST];
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof a;
	ssize_t n;

	if (poll(&p, 1, limit) == 0)
		return SILENCE;
	n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&a, &len);
	if (n == -1)
		return verdict(errno);
	if (anywhere)
		say_from(&a, len);
	if (lengths)
		(void)printf("%zd\n", n);
	else
		(void)fwrite(buf, 1, (size_t)n, stdout);
	return fflush(stdout) == 0 ? END : OTHER;
}

static int
talk(int fd, const char *bytes, size_t n)
{
	int rc = END;

	if (put(fd, bytes, n) == -1)
		return verdict(errno);
	for (int i = 0; i < replies && rc == END; i++)
		rc = take(fd);
	return rc;
}

/* --- many peers */

struct one {
	int fd, sent, answered;
	char *seen;		/* of each datagram: has its reply come? */
};

/* What peer `i` sends as its k-th: nothing else is the same. */
static size_t
fill(char *buf, int i, int k)
{
	int n = snprintf(buf, MOST, "peer %d datagram %d ", i, k), all = size > n ? size : n;

	for (int at = n; at < all; at++)
		buf[at] = (char)('!' + (i * 7 + k + at) % 90);
	return (size_t)all;
}

/* One reply; adds to *wrong. False: none is there. */
static int
check(struct one *o, int i, int *wrong)
{
	static char got[MOST], right[MOST];
	ssize_t n = recv(o->fd, got, sizeof got - 1, MSG_DONTWAIT);
	int who, k;

	if (n == -1)
		return 0;
	got[n] = '\0';
	if (sscanf(got, "peer %d datagram %d ", &who, &k) != 2 || who != i || k < 0 || k >= o->sent || o->seen[k] ||
	    fill(right, i, k) != (size_t)n || memcmp(right, got, (size_t)n) != 0) {
		++*wrong;
		return 1;
	}
	o->seen[k] = 1;
	o->answered++;
	return 1;
}

static int
crowd(void)
{
	struct one *o = calloc((size_t)peers, sizeof *o);
	struct pollfd *p = calloc((size_t)peers, sizeof *p);
	static char buf[MOST];
	int answered = 0, wrong = 0, sent = 0, next = 0;

	if (o == NULL || p == NULL)
		return OTHER;
	for (int i = 0; i < peers; i++) {
		o[i] = (struct one){ .fd = make_socket(), .seen = calloc((size_t)each, 1) };
		if (o[i].fd == -1 || o[i].seen == NULL)
			return OTHER;
		p[i] = (struct pollfd){ .fd = o[i].fd, .events = POLLIN };
	}
	while (answered + wrong < peers * each) {
		for (; sent < peers * each && sent - answered - wrong < window; sent++, next = (next + 1) % peers) {
			if (put(o[next].fd, buf, fill(buf, next, o[next].sent)) == -1)
				break;
			o[next].sent++;
			if (pause_ms > 0)
				(void)poll(NULL, 0, pause_ms);
		}
		if (poll(p, (nfds_t)peers, limit) <= 0)
			break;
		for (int i = 0; i < peers; i++) {
			int was = o[i].answered;

			while (p[i].revents != 0 && check(&o[i], i, &wrong))
				;
			answered += o[i].answered - was;
		}
	}
	(void)printf("%d %d\n", answered, wrong);
	return answered == peers * each && wrong == 0 ? END : SILENCE;
}

int
main(int argc, char **argv)
{
	static char buf[MOST];
	int o, fd, rc = END;

	while ((o = getopt(argc, argv, "b:z:k:fli:r:t:n:m:w:p:")) != -1) {
		switch (o) {
		case 'b': from = optarg; break;
		case 'z': size = atoi(optarg); break;
		case 'k': replies = atoi(optarg); break;
		case 'f': anywhere = 1; break;
		case 'l': lengths = 1; break;
		case 'i': iface = if_nametoindex(optarg); break;
		case 'r': rights = atoi(optarg); break;
		case 't': limit = atoi(optarg); break;
		case 'n': peers = atoi(optarg); break;
		case 'm': each = atoi(optarg); break;
		case 'p': pause_ms = atoi(optarg); break;
		case 'w': window = atoi(optarg); break;
		default: return OTHER;
		}
	}
	if (optind >= argc || size > MOST || rights > RIGHTS || parse(argv[optind]) == -1)
		return OTHER;
	if (peers > 0)
		return crowd();
	fd = make_socket();
	if (fd == -1)
		return verdict(errno);
	memset(buf, 'x', sizeof buf);
	if (size >= 0)
		rc = talk(fd, buf, (size_t)size);
	for (int i = optind + 1; i < argc && rc == END; i++)
		rc = talk(fd, argv[i], strlen(argv[i]));
	return rc;
}
