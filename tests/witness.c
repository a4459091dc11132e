/*
 * witness: what a command finds when it is born, a line each, in one write; the last is `end`.
 * witness [FILE [WORD...]]   to FILE, or with - and without it to where the client is
 * With LISTEN_FDS it takes one client, or one datagram, and answers there; from a FIFO it reads to the end.
 * Static, so that it runs in an empty root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static char text[60000];
static size_t len;

static void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text + len, sizeof text - len, fmt, ap);
	va_end(ap);
	len += n > 0 && (size_t)n < sizeof text - len ? (size_t)n : 0;
}

/* Before anything else is opened. */
static void
descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");

	for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
		char to[256];
		ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof to - 1);

		if (n >= 0 && atoi(e->d_name) != dirfd(d))
			say("fd %s %.*s %s\n", e->d_name, (int)n, to,
			    (fcntl(atoi(e->d_name), F_GETFL) & O_NONBLOCK) != 0 ? "nonblocking" : "blocking");
	}
	if (d != NULL)
		(void)closedir(d);
}

/* With single blanks. */
static void
put(const char *name, char *value)
{
	say("%s", name);
	for (char *w = strtok(value, " \t\n"); w != NULL; w = strtok(NULL, " \t\n"))
		say(" %s", w);
	say("\n");
}

static void
status(void)
{
	static const char *const wanted[] = { "Uid", "Gid", "Groups", "Umask", "SigPnd", "ShdPnd", "SigBlk", "SigIgn",
		"SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs" };
	FILE *f = fopen("/proc/self/status", "re");
	char line[4096];

	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
			if (strncmp(line, wanted[i], strlen(wanted[i])) == 0 && line[strlen(wanted[i])] == ':')
				put(wanted[i], line + strlen(wanted[i]) + 1);
	}
	if (f != NULL)
		(void)fclose(f);
}

static void
limits(void)
{
	static const struct { const char *name; int which; } all[] = { { "as", RLIMIT_AS }, { "core", RLIMIT_CORE },
		{ "cpu", RLIMIT_CPU }, { "data", RLIMIT_DATA }, { "files", RLIMIT_NOFILE }, { "fsize", RLIMIT_FSIZE },
		{ "memlock", RLIMIT_MEMLOCK }, { "nproc", RLIMIT_NPROC }, { "rss", RLIMIT_RSS }, { "stack", RLIMIT_STACK } };
	struct rlimit r;

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (getrlimit(all[i].which, &r) == 0)
			say("rlimit_%s %lld %lld\n", all[i].name, (long long)r.rlim_cur, (long long)r.rlim_max);
}

static void
option(const char *name, int level, int which)
{
	int value = 0;
	socklen_t size = sizeof value;

	if (getsockopt(0, level, which, &value, &size) == 0)
		say("%s %d\n", name, value);
}

static void
look(char **argv)
{
	char cwd[4096];
	DIR *d;
	int fd;

	descriptors();
	status();
	limits();
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	say("ids %d %d %d\ntty %s\nnice %d\ncwd %s\n", getpid(), getpgrp(), getsid(0), fd == -1 ? "no" : "yes",
	    getpriority(PRIO_PROCESS, 0), getcwd(cwd, sizeof cwd) != NULL ? cwd : "?");
	if (fd != -1)
		(void)close(fd);
	d = opendir("/");
	for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d))
		say("top %s\n", e->d_name);
	if (d != NULL)
		(void)closedir(d);
	option("nodelay", IPPROTO_TCP, TCP_NODELAY);
	option("keepalive", SOL_SOCKET, SO_KEEPALIVE);
	option("sndbuf", SOL_SOCKET, SO_SNDBUF);
	option("rcvbuf", SOL_SOCKET, SO_RCVBUF);
	for (; *argv != NULL; argv++)
		say("arg %s\n", *argv);
	for (char **e = environ; *e != NULL; e++)
		say("env %s\n", *e);
	if (geteuid() != 0)	/* last, as it may succeed */
		say("regains %s %s %s\n", setuid(0) == 0 ? "uid" : "-", setresuid(0, 0, 0) == 0 ? "uids" : "-",
		    setgid(0) == 0 ? "gid" : "-");
	say("end\n");
}

/* Where there is a listener at 0: to the first who comes. */
static int
answer(void)
{
	struct sockaddr_storage from;
	socklen_t size = sizeof from;
	int type = 0, fd;
	char some[256];

	if (getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){ sizeof type }) == -1)
		return 1;
	if (type == SOCK_DGRAM)
		return recvfrom(0, some, sizeof some, 0, (struct sockaddr *)&from, &size) == -1 ||
		    sendto(0, text, len, 0, (struct sockaddr *)&from, size) != (ssize_t)len;
	fd = accept(0, NULL, NULL);
	return fd == -1 || write(fd, text, len) != (ssize_t)len;
}

int
main(int argc, char **argv)
{
	struct stat st;
	char some[256];
	int fd = 1;

	look(argv);
	if (getenv("LISTEN_FDS") != NULL)
		return answer();
	if (argc > 1 && strcmp(argv[1], "-") != 0)
		fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd == -1 || write(fd, text, len) != (ssize_t)len)
		return 1;
	/* A pipe at 0 is a FIFO service's, or holds a datagram that is over: both have an end. */
	while (fstat(0, &st) == 0 && S_ISFIFO(st.st_mode) && read(0, some, sizeof some) > 0)
		continue;
	return 0;
}
