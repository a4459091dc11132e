#include "net/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

enum { FIXED = 16, LINE_MOST = 107 };

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* --- version 1: a line */

/* One word up to the next blank. False: none, or it is too long. */
static bool
word(const char **at, const char *end, char *out, size_t size)
{
	size_t n = 0;

	while (*at + n < end && (*at)[n] != ' ')
		n++;
	if (n == 0 || n >= size)
		return false;
	memcpy(out, *at, n);
	out[n] = '\0';
	*at += n;
	return true;
}

static bool
blank(const char **at, const char *end)
{
	if (*at == end || **at != ' ')
		return false;
	++*at;
	return true;
}

static bool
read_ip(const char *text, bool six, struct ip *ip)
{
	return ip_parse(text, ip) && (strchr(text, ':') != NULL) == six;
}

static void
set_addr(struct addr *a, const struct ip *ip, bool six, unsigned port)
{
	if (six) {
		a->len = sizeof a->in6;
		a->in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
		memcpy(&a->in6.sin6_addr, ip->b, 16);
	} else {
		a->len = sizeof a->in;
		a->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
		memcpy(&a->in.sin_addr, ip->b + 12, 4);
	}
}

/* The line behind "PROXY ", without its CR LF. */
static bool
read_line(const char *at, const char *end, struct proxy *out)
{
	char family[8], text[2][ADDR_TEXT], number[2][8];
	struct ip ip[2];
	uint64_t port[2];
	bool six;

	if (!word(&at, end, family, sizeof family))
		return false;
	if (strcmp(family, "UNKNOWN") == 0)
		return at == end || *at == ' ';
	six = strcmp(family, "TCP6") == 0;
	if (!six && strcmp(family, "TCP4") != 0)
		return false;
	for (int i = 0; i < 2; i++)
		if (!blank(&at, end) || !word(&at, end, text[i], sizeof text[i]) || !read_ip(text[i], six, &ip[i]))
			return false;
	for (int i = 0; i < 2; i++)
		if (!blank(&at, end) || !word(&at, end, number[i], sizeof number[i]) ||
		    !num_parse(number[i], 0, 65535, &port[i]))
			return false;
	if (at != end)
		return false;
	out->told = true;
	out->from = (struct peer){ .kind = PEER_IP, .ip = ip[0], .port = (uint32_t)port[0] };
	set_addr(&out->to, &ip[1], six, (unsigned)port[1]);
	return true;
}

static enum proxy_state
read_v1(const char *bytes, size_t n, size_t *used, struct proxy *out)
{
	const char *end = memchr(bytes, '\n', n);
	size_t line;

	if (end == NULL) {
		*used = n;
		return n < (size_t)PROXY_V1_MOST ? PROXY_MORE : PROXY_BAD;
	}
	line = (size_t)(end - bytes);
	*used = line + 1;
	if (line + 1 > (size_t)PROXY_V1_MOST || line < 7 || end[-1] != '\r' || memchr(bytes, '\0', line) != NULL)
		return PROXY_BAD;
	return read_line(bytes + 6, end - 1, out) ? PROXY_DONE : PROXY_BAD;
}

/* --- version 2: binary */

static unsigned
two(const char *p)
{
	return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

static void
read_addresses(const char *p, bool six, struct proxy *out)
{
	struct addr a = { .len = 0 };
	struct ip ip[2];
	uint32_t scope, port;
	size_t size = six ? 16 : 4;

	for (int i = 0; i < 2; i++, p += size) {
		if (six) {
			memcpy(ip[i].b, p, 16);
			continue;
		}
		a.in = (struct sockaddr_in){ .sin_family = AF_INET };
		memcpy(&a.in.sin_addr, p, 4);
		(void)addr_ip(&a, &ip[i], &scope, &port);
	}
	out->told = true;
	out->from = (struct peer){ .kind = PEER_IP, .ip = ip[0], .port = two(p) };
	set_addr(&out->to, &ip[1], six, two(p + 2));
}

static enum proxy_state
read_v2(const char *bytes, size_t n, size_t *used, struct proxy *out)
{
	unsigned command, family, len;

	*used = n < FIXED ? n : FIXED;
	if (n < FIXED)
		return PROXY_MORE;
	command = (uint8_t)bytes[12];
	family = (uint8_t)bytes[13] >> 4;
	len = two(bytes + 14);
	if ((command >> 4) != 2 || (command & 15) > 1 || FIXED + len > (unsigned)PROXY_V2_MOST ||
	    family > 3 || ((uint8_t)bytes[13] & 15) > 2)
		return PROXY_BAD;
	*used = n < FIXED + len ? n : FIXED + len;
	if (n < FIXED + len)
		return PROXY_MORE;
	if ((command & 15) == 0)
		return PROXY_DONE;	/* LOCAL: the balancer itself, to see whether we live */
	if ((family == 1 && len < 12) || (family == 2 && len < 36) || (family == 3 && len < 216))
		return PROXY_BAD;
	if (family == 1 || family == 2)
		read_addresses(bytes + FIXED, family == 2, out);
	return PROXY_DONE;
}

enum proxy_state
proxy_read(const char *bytes, size_t n, size_t *used, struct proxy *out)
{
	struct proxy p = { .told = false };
	enum proxy_state state;

	*used = 0;
	if (n == 0)
		return PROXY_MORE;
	if (memcmp(bytes, "PROXY ", n < 6 ? n : 6) == 0)
		state = read_v1(bytes, n, used, &p);
	else if (memcmp(bytes, signature, n < sizeof signature ? n : sizeof signature) == 0)
		state = read_v2(bytes, n, used, &p);
	else
		return PROXY_BAD;
	*out = p;
	return state;
}

/* --- writing */

size_t
proxy_write(unsigned version, const struct peer *from, const struct addr *to, char out[PROXY_BUILT])
{
	struct peer local = { .kind = PEER_IP };
	bool ip = from->kind == PEER_IP && addr_ip(to, &local.ip, &local.scope, &local.port);
	bool six = ip && (!ip_is_v4(&from->ip) || !ip_is_v4(&local.ip));
	const struct peer *who[2] = { from, &local };
	size_t n = FIXED, size = six ? 16 : 4;

	if (version == 1) {
		char text[2][ADDR_TEXT];

		if (!ip)
			return (size_t)snprintf(out, PROXY_BUILT, "PROXY UNKNOWN\r\n");
		for (int i = 0; i < 2; i++) {
			if (six)
				(void)inet_ntop(AF_INET6, who[i]->ip.b, text[i], ADDR_TEXT);
			else
				(void)ip_print(&who[i]->ip, text[i]);
		}
		return (size_t)snprintf(out, PROXY_BUILT, "PROXY TCP%c %s %s %u %u\r\n", six ? '6' : '4', text[0],
		    text[1], from->port & 0xffff, local.port & 0xffff);
	}
	memset(out, 0, PROXY_BUILT);
	memcpy(out, signature, sizeof signature);
	out[12] = ip ? 0x21 : 0x20;
	if (!ip)
		return FIXED;
	out[13] = six ? 0x21 : 0x11;
	for (int i = 0; i < 2; i++, n += size)
		memcpy(out + n, who[i]->ip.b + (six ? 0 : 12), size);
	for (int i = 0; i < 2; i++, n += 2) {
		out[n] = (char)(who[i]->port >> 8 & 0xff);
		out[n + 1] = (char)(who[i]->port & 0xff);
	}
	out[15] = (char)(n - FIXED);
	return n;
}
