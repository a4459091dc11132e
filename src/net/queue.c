#include "net/queue.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LISTENING = 1 << 10 };	/* the state TCP_LISTEN, as a set */

/* What sock_diag(7) says of one UNIX socket. */
static int
ask_unix(int diag, ino_t ino)
{
	struct {
		struct nlmsghdr head;
		struct unix_diag_req ask;
	} q = { .head = { .nlmsg_len = sizeof q, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
		.ask = { .sdiag_family = AF_UNIX, .udiag_states = LISTENING, .udiag_ino = (uint32_t)ino,
		.udiag_show = UDIAG_SHOW_RQLEN, .udiag_cookie = { UINT32_MAX, UINT32_MAX } } };
	_Alignas(struct nlmsghdr) char answer[1024];
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer;
	struct unix_diag_rqlen len;
	ssize_t n;

	if (send(diag, &q, sizeof q, MSG_DONTWAIT) == -1)
		return -1;
	n = recv(diag, answer, sizeof answer, MSG_DONTWAIT);	/* the kernel answers within send(2) */
	if (n < 0 || !NLMSG_OK(h, (size_t)n) || h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -1;
	for (size_t at = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
	    at + sizeof(struct rtattr) <= h->nlmsg_len;) {
		struct rtattr a;

		memcpy(&a, answer + at, sizeof a);
		if (a.rta_len < sizeof a || at + a.rta_len > h->nlmsg_len)
			return -1;
		if (a.rta_type == UNIX_DIAG_RQLEN && a.rta_len >= RTA_LENGTH(sizeof len)) {
			memcpy(&len, answer + at + RTA_LENGTH(0), sizeof len);
			return (int)len.udiag_rqueue;
		}
		at += RTA_ALIGN(a.rta_len);
	}
	return -1;
}

int
queue_length(int fd, int type)
{
	struct tcp_info i;
	socklen_t len = sizeof i;
	struct stat st;
	int n, diag;

	if (type == 0)
		return ioctl(fd, FIONREAD, &n) == 0 ? n : -1;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) == 0)
		return (int)i.tcpi_unacked;
	diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (diag == -1)
		return -1;
	n = fstat(fd, &st) == 0 ? ask_unix(diag, st.st_ino) : -1;
	(void)close(diag);
	return n;
}
