/*
 * quiet: what would leave the process answers at once here, for some names and not for others: no file is
 * opened, no name asked. For one source of a program.
 */
#ifndef QUIET_H
#define QUIET_H

#include <grp.h>
#include <net/if.h>
#include <netdb.h>
#include <pwd.h>

struct passwd *
getpwnam(const char *name)
{
	static char text[] = "nobody", home[] = "/", sh[] = "/bin/sh";
	static struct passwd pw = { .pw_name = text, .pw_uid = 65534, .pw_gid = 65534, .pw_dir = home,
		.pw_shell = sh };

	return name[0] > 'k' ? &pw : NULL;
}

struct passwd *
getpwuid(uid_t uid)
{
	return uid % 2 == 0 ? getpwnam("nobody") : NULL;
}

struct group *
getgrnam(const char *name)
{
	static struct group gr = { .gr_gid = 65534 };

	return name[0] > 'k' ? &gr : NULL;
}

int
getgrouplist(const char *user, gid_t group, gid_t *groups, int *n)
{
	(void)user;
	groups[0] = group;
	*n = 1;
	return 1;
}

struct servent *
getservbyname(const char *name, const char *proto)
{
	static struct servent se = { .s_port = 0x5000 };

	(void)proto;
	return name[0] > 'e' ? &se : NULL;
}

struct netent *
getnetbyname(const char *name)
{
	(void)name;
	return NULL;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	(void)node;
	(void)service;
	(void)hints;
	(void)out;
	return EAI_NONAME;
}

unsigned
if_nametoindex(const char *name)
{
	(void)name;
	return 0;
}

char *
if_indextoname(unsigned zone, char name[IF_NAMESIZE])
{
	(void)zone;
	(void)name;
	return NULL;
}

#endif
