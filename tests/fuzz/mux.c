/*
 * fuzz: any bytes from a client of tcpmux, in any pieces, with or without an end: the worker tells the name in
 * the first line or that there is none, and leaves whatever stands behind the line to the service.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/link.h"

#include "fuzz.h"

enum { LOOK = NAME_LINE + 2 };	/* bytes in which the line must end */

static struct report told[LINK_REPORTS + 1];
static size_t ntold;

static struct report *
tell(void *arg, uint64_t number, enum report_kind kind)
{
	(void)arg;
	CHECK(ntold < LINK_REPORTS);
	told[ntold] = (struct report){ .kind = kind, .number = number };
	memset(told[ntold].name, 0, sizeof told[ntold].name);
	return &told[ntold++];
}

static bool
named(void)
{
	return ntold > 0 && told[ntold - 1].kind == REPORT_NAME;
}

static void
turn(struct loop *loop, struct links *links)
{
	CHECK(loop_run_once(loop, 0) != -1);
	for (int i = 0; i < 4 && links_busy(links); i++)
		links_run(links);
}

/* What the bytes ask for. Returns how many of them belong to the line; 0: there is none. */
static size_t
model(const uint8_t *data, size_t size, char name[NAME_LINE])
{
	size_t end = 0, len;

	memset(name, 0, NAME_LINE);
	while (end < size && end < LOOK && data[end] != '\n')
		end++;
	if (end == size || end == LOOK)
		return 0;
	len = end > 0 && data[end - 1] == '\r' ? end - 1 : end;
	if (len < NAME_LINE && memchr(data, '\0', len) == NULL)
		memcpy(name, data, len);
	return end + 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	static struct links *links;
	static uint64_t number;
	struct job j = { .kind = JOB_MUX, .number = ++number, .peer = { .kind = PEER_IP } };
	size_t piece, sent = 0, used, left;
	char name[NAME_LINE], rest[4096];
	int pair[2], ours;

	if (loop == NULL) {
		loop = loop_new();
		links = loop != NULL ? links_new(loop, tell, NULL) : NULL;
		CHECK(links != NULL);
	}
	if (size == 0 || size > sizeof rest)
		return 0;
	piece = data[0] == 0 ? size : data[0];
	j.peer.by_unix = data[0] % 2 == 1;
	data++;
	size--;
	ntold = 0;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	ours = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);	/* the master's copy */
	CHECK(ours != -1 && links_take(links, &j, pair[1]));
	while (!named() && sent < size) {
		size_t n = size - sent < piece ? size - sent : piece;

		CHECK(send(pair[0], data + sent, n, MSG_NOSIGNAL) == (ssize_t)n);
		sent += n;
		turn(loop, links);
	}
	if (!named()) {
		CHECK(size < LOOK && memchr(data, '\n', size) == NULL);
		CHECK(shutdown(pair[0], SHUT_WR) == 0);
		turn(loop, links);
	}
	CHECK(ntold == 1 && named() && told[0].number == number);
	CHECK(links_number(links) == 0 && !links_busy(links));
	used = model(data, sent, name);
	CHECK(memcmp(name, told[0].name, sizeof name) == 0);
	for (left = 0; left < sent - used;) {
		ssize_t n = recv(ours, rest, sizeof rest, MSG_DONTWAIT);

		CHECK(n > 0 && (size_t)n <= sent - used - left && memcmp(rest, data + used + left, (size_t)n) == 0);
		left += (size_t)n;
	}
	CHECK(recv(ours, rest, 1, MSG_DONTWAIT) <= 0);
	(void)close(ours);
	(void)close(pair[0]);
	return 0;
}
