#include "manage/around.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/num.h"

void
around_look(struct master *m, char *cwd, size_t size, bool daemon)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct cap[2] = { { 0, 0, 0 } };
	int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
	char text[16] = "";
	ssize_t n = fd != -1 ? read(fd, text, sizeof text - 1) : -1;
	uint64_t first = 1024;

	m->cwd = getcwd(cwd, size);
	m->umask = umask(022);
	(void)umask(m->umask);
	m->nice = getpriority(PRIO_PROCESS, 0);
	m->leaves = daemon && m->cwd != NULL;
	m->raised = getrlimit(RLIMIT_NOFILE, &m->nofile) == 0 && m->nofile.rlim_cur != m->nofile.rlim_max;
	m->low_ports = syscall(SYS_capget, &head, cap) == 0 &&
	    (cap[0].effective & 1U << CAP_NET_BIND_SERVICE) != 0;
	if (n > 0) {
		text[strcspn(text, "\n")] = '\0';
		(void)num_parse(text, 0, 65536, &first);
	}
	m->first_port = (unsigned)first;
	if (fd != -1)
		(void)close(fd);
}
