/* fuzz: any bytes as a table: parsed, made into services, dumped. No file is opened, no name asked. */
#include <grp.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table/table.h"

/* What would leave the process answers at once here, for some names and not for others. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *env[] = { NULL };
	struct master m = { .cwd = "/", .env = env, .blind = true, .first_port = 1024, .checking = true };
	struct buf first = { 0 }, second = { 0 };
	struct table t, u;

	table_read_text(&t, &m, (const char *)data, size);
	diags_print(&t.diags, false, &first);
	buf_free(&first);
	if (t.diags.errors == 0) {
		/* What is printed reads back to the same. */
		first = (struct buf){ 0 };
		table_dump(&t, &first);
		table_read_text(&u, &m, first.data, first.len);
		table_dump(&u, &second);
		if (u.diags.errors > 0 || first.len != second.len ||
		    (first.len > 0 && memcmp(first.data, second.data, first.len) != 0)) {
			diags_print(&u.diags, false, &second);
			(void)fprintf(stderr, "dumped:\n%.*s\nread back:\n%.*s\n", (int)first.len,
			    first.len > 0 ? first.data : "", (int)second.len, second.len > 0 ? second.data : "");
			abort();
		}
		table_free(&u);
	}
	table_free(&t);
	buf_free(&first);
	buf_free(&second);
	return 0;
}
