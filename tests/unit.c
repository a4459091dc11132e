/*
 * unit: the pure floors, over tables of cases, with time as a number. `unit` lists the names of its
 * cases, `unit NAME` runs one: exit status 0, or 1 with the line that does not hold.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/hash.h"
#include "base/log.h"
#include "base/num.h"
#include "base/put.h"
#include "base/state.h"
#include "base/str.h"
#include "child/vars.h"
#include "manage/escape.h"
#include "manage/plan.h"
#include "net/loop.h"
#include "net/proxy.h"
#include "net/sock.h"
#include "policy/access.h"
#include "policy/ban.h"
#include "policy/limit.h"
#include "policy/rate.h"
#include "serve/away.h"
#include "serve/carry.h"
#include "serve/conn.h"
#include "serve/ident.h"
#include "table/attr.h"
#include "table/lex.h"
#include "table/pack.h"
#include "table/table.h"

#define CHECK(x) \
	do { \
		if (!(x)) { \
			(void)printf("%s:%d: %s\n", __FILE__, __LINE__, #x); \
			exit(1); \
		} \
	} while (0)

static void
numbers(void)
{
	uint64_t n = 7;
	int64_t i = 7;
	unsigned u = 7;

	CHECK(num_parse("0", 0, 10, &n) && n == 0);
	CHECK(num_parse("18446744073709551615", 0, UINT64_MAX, &n) && n == UINT64_MAX);
	CHECK(!num_parse("18446744073709551616", 0, UINT64_MAX, &n));
	CHECK(!num_parse("18446744073709551620", 0, UINT64_MAX, &n));
	CHECK(!num_parse("99999999999999999999999", 0, UINT64_MAX, &n) && n == UINT64_MAX);
	CHECK(!num_parse("", 0, 10, &n) && !num_parse("-1", 0, 10, &n) && !num_parse("1x", 0, 10, &n));
	CHECK(!num_parse("11", 0, 10, &n) && !num_parse("1", 2, 10, &n) && !num_parse(" 1", 0, 10, &n));
	CHECK(!num_parse("5", 0, 3, &n) && !num_parse("9", 0, 0, &n));
	CHECK(num_parse_signed("-5", -10, 10, &i) && i == -5);
	CHECK(num_parse_signed("+5", -10, 10, &i) && i == 5);
	CHECK(!num_parse_signed("-11", -10, 10, &i) && !num_parse_signed("-", -10, 10, &i));
	CHECK(num_parse_octal("0755", 0777, &u) && u == 0755);
	CHECK(!num_parse_octal("8", 0777, &u) && !num_parse_octal("1000", 0777, &u));
	CHECK(num_parse_size("1K", UINT64_MAX, &n) && n == 1024);
	CHECK(num_parse_size("2m", UINT64_MAX, &n) && n == 2 << 20);
	CHECK(num_parse_size("3G", UINT64_MAX, &n) && n == UINT64_C(3) << 30);
	CHECK(!num_parse_size("4G", UINT32_MAX, &n) && !num_parse_size("1KB", UINT64_MAX, &n));
	CHECK(!num_parse_size("17179869184G", UINT64_MAX, &n) && !num_parse_size("K", UINT64_MAX, &n));
}

static void
durations(void)
{
	static const struct { const char *text; int64_t ms; } good[] = {
		{ "0", 0 }, { "5", 5000 }, { "5s", 5000 }, { "1.5s", 1500 }, { "250ms", 250 }, { "2m", 120000 },
		{ "1h", 3600000 }, { "1d", 86400000 }, { "0.5", 500 }, { "0.001", 1 },
		{ "0.0000001d", 8 },
	};
	static const char *const bad[] = { "", "s", "5x", "-1", "1.", "1.s", "1 s", "99999999999999999999", "5ss",
		"106751991168d" };
	int64_t ms = 7;
	char buf[32];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		CHECK(num_parse_duration(good[i].text, 1000, INT64_MAX / 2, &ms) && ms == good[i].ms);
	ms = 7;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK(!num_parse_duration(bad[i], 1000, INT64_MAX / 2, &ms) && ms == 7);
	CHECK(!num_parse_duration("9223372036854775.9", 1000, INT64_MAX, &ms) && ms == 7);
	CHECK(num_parse_duration("3", 60000, INT64_MAX / 2, &ms) && ms == 180000);
	for (int64_t n = 0; n < 100000; n += 37) {
		CHECK(num_parse_duration(num_print_duration(n, buf, sizeof buf), 1, INT64_MAX / 2, &ms));
		CHECK(ms == n);
	}
	CHECK(strcmp(num_print_duration(90000, buf, sizeof buf), "90s") == 0);
}

static void
words(void)
{
	const char *why;
	size_t n;
	char **w = str_split("  a \"b c\" 'd\"e' f\\g h\"i\\\"j\"k '' ", false, &n, &why);

	CHECK(w != NULL && n == 6 && w[6] == NULL);
	CHECK(strcmp(w[0], "a") == 0 && strcmp(w[1], "b c") == 0 && strcmp(w[2], "d\"e") == 0);
	CHECK(strcmp(w[3], "f\\g") == 0 && strcmp(w[4], "hi\"jk") == 0 && strcmp(w[5], "") == 0);
	free(w);
	w = str_split("a\\ b 'c\\d' \"e\\f\"", true, &n, &why);
	CHECK(w != NULL && n == 3 && strcmp(w[0], "a b") == 0 && strcmp(w[1], "c\\d") == 0 &&
	    strcmp(w[2], "e\\f") == 0);
	free(w);
	CHECK(str_split("a \"b", false, &n, &why) == NULL && why != NULL);
	CHECK(str_split("a 'b", true, &n, &why) == NULL && why != NULL);
	w = str_split("", false, &n, &why);
	CHECK(w != NULL && n == 0 && w[0] == NULL);
	free(w);
}

static void
escapes(void)
{
	char out[32];

	CHECK(str_escape(out, sizeof out, "a\nb\\\x1b\x80", 6) == 14 && strcmp(out, "a\\nb\\\\\\x1b\\x80") == 0);
	CHECK(str_escape(out, 4, "\x1b", 1) == 0 && out[0] == '\0');
	CHECK(str_escape(out, 5, "\x1b", 1) == 4);
	for (size_t size = 0; size < sizeof out; size++) {
		char guard[sizeof out + 1];

		memset(guard, 'Z', sizeof guard);
		(void)str_escape(guard, size, "\r\n\t%n\x7f\xff\\\\", 9);
		for (size_t i = size; i < sizeof guard; i++)
			CHECK(guard[i] == 'Z');
	}
}

static void
puts_(void)
{
	char out[12];
	struct put p = { .at = out, .size = sizeof out };

	put_text(&p, "a=");
	put_signed(&p, -7);
	put_padded(&p, 5, 3);
	put_number(&p, 0);
	CHECK(p.used == 8 && memcmp(out, "a=-70050", 8) == 0);
	put_number(&p, UINT64_MAX);	/* cut, and counted whole */
	CHECK(p.used == 28 && memcmp(out, "a=-700501844", 12) == 0);
	p = (struct put){ .at = out, .size = sizeof out };
	put_signed(&p, INT64_MIN);
	CHECK(p.used == 20 && memcmp(out, "-92233720368", 12) == 0);
	p = (struct put){ .at = NULL };
	put_text(&p, "only counted");
	CHECK(p.used == 12);
	p = (struct put){ .at = out, .size = sizeof out };
	put_escaped(&p, "abcdefgh\n", 9, 2);
	CHECK(p.used == 8 && memcmp(out, "abcdefgh", 8) == 0);
	put_escaped(&p, "x", 1, 2);
	put_escaped(&p, "yz", 2, 4);
	CHECK(p.used == 9);
}

static void
likeness(void)
{
	CHECK(str_distance("kitten", "sitting") == 3 && str_distance("", "abc") == 3);
	CHECK(str_distance("instnaces", "instances") == 1 && str_distance("same", "same") == 0);
	CHECK(strcmp(attr_nearest("instanses"), "instances") == 0);
	CHECK(strcmp(attr_nearest("only_form"), "only_from") == 0);
	CHECK(strcmp(attr_nearest("rlimit_cpus"), "rlimit_cpu") == 0);
	CHECK(attr_nearest("xyzzy") == NULL);
	CHECK(strcmp(str_basename("/bin/date"), "date") == 0 && strcmp(str_basename("date"), "date") == 0);
	CHECK(attr_find("ONLY_FROM") == attr_find("only_from"));
	CHECK(str_listed("a,bc,D", "a") && str_listed("a,bc,D", "BC") && str_listed("a,bc,D", "d") && str_listed("a,b", "a,b"));
	CHECK(!str_listed("a,bc", "b") && !str_listed("a,bc", "c") && !str_listed("abc", "ab") && !str_listed("a,,b", "x"));
}

static void
addresses(void)
{
	static const struct { const char *text; enum scheme scheme; int type, family; const char *host;
	    unsigned port; } good[] = {
		{ "1024", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC, "", 1024 },
		{ "*:1024", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC, "", 1024 },
		{ "http", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC, "", 80 },
		{ "127.0.0.1:0", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC, "127.0.0.1", 0 },
		{ "[::1]:80", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC, "::1", 80 },
		{ "tcp6:[::1]:80", SCHEME_TCP, SOCK_STREAM, AF_INET6, "::1", 80 },
		{ "TCP4:localhost:ssh", SCHEME_TCP, SOCK_STREAM, AF_INET, "localhost", 22 },
		{ "udp:239.1.2.3:5000", SCHEME_UDP, SOCK_DGRAM, AF_UNSPEC, "239.1.2.3", 5000 },
		{ "unix:/run/x:y", SCHEME_UNIX, SOCK_STREAM, AF_UNIX, "/run/x:y", 0 },
		{ "unix-dgram:@n", SCHEME_UNIX, SOCK_DGRAM, AF_UNIX, "@n", 0 },
		{ "unix-seqpacket:s", SCHEME_UNIX, SOCK_SEQPACKET, AF_UNIX, "s", 0 },
		{ "fifo:/tmp/p", SCHEME_FIFO, 0, AF_UNSPEC, "/tmp/p", 0 },
		{ "vsock:1024", SCHEME_VSOCK, SOCK_STREAM, AF_VSOCK, "", 1024 },
		{ "fd:3", SCHEME_FD, 0, AF_UNSPEC, "3", 3 },
		{ "65535", SCHEME_TCP, SOCK_STREAM, AF_UNSPEC, "", 65535 },
	};
	static const char *const bad[] = { "", ":", ":80", "::1:80", "[::1]", "[::1", "[]:80", "65536", "-1", "1 ",
		"0x50", "tcp:", "unix:", "unix:@", "fd:", "vsock:", "vsock:x", "vsock:1:2:3", "a%:80", "/run/x",
		"tcp:1:2:3", "[127.0.0.1]:80", "99999999999999999999", "fd:99999999999",
		"vsock:99999999999999999:5", "vsock:everybodyeverybody:5", "[224.0.0.1%a:1]:80" };
	struct where w;
	struct err e;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		CHECK(where_parse(&w, good[i].text, &e) == 0);
		CHECK(w.scheme == good[i].scheme && w.type == good[i].type && w.family == good[i].family);
		CHECK(strcmp(w.host, good[i].host) == 0 && w.port == good[i].port);
		where_free(&w);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		e.text[0] = '\0';
		if (where_parse(&w, bad[i], &e) == 0)
			(void)printf("taken: %s\n", bad[i]);
		CHECK(where_parse(&w, bad[i], &e) == -1 && e.text[0] != '\0');
	}
	CHECK(where_parse(&w, "vsock:3:1024", &e) == 0 && w.cid == 3 && w.port == 1024);
	where_free(&w);
	CHECK(where_parse(&w, "[fe80::1%eth0]:80", &e) == 0 && strcmp(w.iface, "eth0") == 0 &&
	    strcmp(w.host, "fe80::1") == 0);
	where_free(&w);
	CHECK(where_parse(&w, "fd:web", &e) == 0 && w.named);
	where_free(&w);
}

static void
names(void)
{
	struct addr a = { .len = sizeof a.in6, .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(80) } };
	char buf[300];

	sock_name(&a, SOCK_STREAM, true, buf, sizeof buf);
	CHECK(strcmp(buf, "tcp:*:80") == 0);
	sock_name(&a, SOCK_STREAM, false, buf, sizeof buf);
	CHECK(strcmp(buf, "tcp6:*:80") == 0);
	a.in6.sin6_addr = in6addr_loopback;
	sock_name(&a, SOCK_DGRAM, false, buf, sizeof buf);
	CHECK(strcmp(buf, "udp6:[::1]:80") == 0);
	a = (struct addr){ .len = sizeof a.in, .in = { .sin_family = AF_INET, .sin_port = htons(80) } };
	sock_name(&a, SOCK_STREAM, false, buf, sizeof buf);
	CHECK(strcmp(buf, "tcp4:*:80") == 0);
	a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sock_name(&a, SOCK_STREAM, false, buf, sizeof buf);
	CHECK(strcmp(buf, "tcp:127.0.0.1:80") == 0);
	a = (struct addr){ .len = offsetof(struct sockaddr_un, sun_path) + 4, .un = { AF_UNIX, "\0abc" } };
	sock_name(&a, SOCK_STREAM, false, buf, sizeof buf);
	CHECK(strcmp(buf, "unix:@abc") == 0);
	a = (struct addr){ .len = sizeof a.vm, .vm = { .svm_family = AF_VSOCK, .svm_cid = 3, .svm_port = 9 } };
	sock_name(&a, SOCK_STREAM, false, buf, sizeof buf);
	CHECK(strcmp(buf, "vsock:3:9") == 0);
}

static void
quiet(void *arg, const char *text)
{
	(void)text;
	++*(int *)arg;
}

static void
quiet_attr(void *arg, const struct err *e)
{
	(void)e;
	++*(int *)arg;
}

static bool
lets(const char *only, const char *deny, const char *who)
{
	struct rules o = { 0 }, d = { 0 };
	struct peer p = { .kind = PEER_IP };
	struct err e;
	int notes = 0;
	bool ok;

	if (only != NULL)
		CHECK(rules_add(&o, only, false, quiet, &notes, &e) == 0);
	if (deny != NULL)
		CHECK(rules_add(&d, deny, true, quiet, &notes, &e) == 0);
	CHECK(ip_parse(who, &p.ip));
	ok = access_allows(&o, &d, &p, NULL, NULL);
	rules_free(&o);
	rules_free(&d);
	return ok;
}

/* Every prefix, at its edges: the first address, the last, the one before and the one behind. */
static void
prefixes(void)
{
	for (unsigned bits = 0; bits <= 32; bits++) {
		uint32_t mask = bits == 0 ? 0 : UINT32_MAX << (32 - bits), base = 0x0a141e28 & mask;
		char rule[64], who[64];
		const struct { uint32_t at; bool in; } edge[] = { { base, true }, { base | ~mask, true },
		    { base - 1, bits == 0 }, { (base | ~mask) + 1, bits == 0 } };
		struct in_addr a = { htonl(base) };

		(void)snprintf(rule, sizeof rule, "%s/%u", inet_ntop(AF_INET, &a, who, sizeof who), bits);
		for (size_t i = 0; i < 4; i++) {
			a.s_addr = htonl(edge[i].at);
			CHECK(lets(rule, NULL, inet_ntop(AF_INET, &a, who, sizeof who)) == edge[i].in);
		}
	}
	for (unsigned bits = 0; bits <= 128; bits++) {
		struct ip first, last, out;
		char rule[80], who[ADDR_TEXT];

		CHECK(ip_parse("fd12:3456:789a:bcde:f012:3456:789a:bcde", &first));
		(void)ip_mask(&first, bits);
		last = first;
		for (unsigned i = bits; i < 128; i++)
			last.b[i / 8] |= (uint8_t)(0x80 >> (i % 8));
		(void)snprintf(rule, sizeof rule, "%s/%u", ip_print(&first, who), bits);
		CHECK(lets(rule, NULL, ip_print(&first, who)));
		CHECK(lets(rule, NULL, ip_print(&last, who)));
		if (bits == 0)
			continue;
		out = first;	/* the other side of the last bit that counts */
		out.b[(bits - 1) / 8] ^= (uint8_t)(0x80 >> ((bits - 1) % 8));
		CHECK(!lets(rule, NULL, ip_print(&out, who)));
		out = last;
		out.b[(bits - 1) / 8] ^= (uint8_t)(0x80 >> ((bits - 1) % 8));
		CHECK(!lets(rule, NULL, ip_print(&out, who)));
	}
}

static void
precedence(void)
{
	CHECK(lets(NULL, NULL, "10.0.0.1"));
	CHECK(!lets("10.0.0.0/8", "10.0.0.0/8", "10.0.0.1"));		/* a tie */
	CHECK(lets("10.0.0.1", "10.0.0.0/8", "10.0.0.1"));
	CHECK(!lets("10.0.0.0/8", "10.0.0.1", "10.0.0.1"));
	CHECK(!lets("10.0.0.0/8", NULL, "11.0.0.1"));
	CHECK(lets(NULL, "10.0.0.0/8", "11.0.0.1"));
	CHECK(lets("10.0.0.0", NULL, "10.200.3.4") && lets("0.0.0.0", NULL, "1.2.3.4"));
	CHECK(!lets("0.0.0.0", NULL, "::1") && !lets("::/0", NULL, "1.2.3.4") && lets("::/0", NULL, "::1"));
	CHECK(lets("::1/128", NULL, "::1") && lets("10.1.{2,3}", NULL, "10.1.3.9"));
	CHECK(lets("1.2.3.4", NULL, "::ffff:1.2.3.4"));
	CHECK(!lets("10.1.{2,3}", NULL, "10.1.4.9") && lets("10.{1,2}", NULL, "10.2.9.9"));
	CHECK(lets("10.0.0.0/255.255.0.0", NULL, "10.0.9.9") && !lets("10.0.0.0/255.255.0.0", NULL, "10.1.0.0"));
}

static void
bad_rules(void)
{
	static const char *const bad[] = { "300.1.1.1", "1.2.3.4/33", "::1/129", "1.2.3.4/-1", "1.2.3.4/", "/8",
		"1.2.3.4/255.0.255.0", "10.{1", "10.{1}x", "10.{}", "{1,2}", "10.1.2.3.{4}", "10.{256}", "127", "010.0.0.1",
		"1.2.3.4.5", "zz::1", "user:nosuchuser", "group:nosuchgroup", "no.such.host.invalid", "fe80::1/a" };
	struct rules r = { 0 };
	struct err e;
	int notes = 0;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (rules_add(&r, bad[i], true, quiet, &notes, &e) == 0)
			(void)printf("taken: %s\n", bad[i]);
		CHECK(rules_add(&r, bad[i], true, quiet, &notes, &e) == -1);
	}
	rules_free(&r);
	CHECK(notes == 0);
	CHECK(rules_add(&r, "10.1.2.3/8", true, quiet, &notes, &e) == 0 && notes == 1);
	CHECK(rules_add(&r, "10.1", true, quiet, &notes, &e) == 0 && notes == 2);
	rules_free(&r);
}

static void
times(void)
{
	struct interval i;

	CHECK(interval_parse("8:00-17:30", &i) && i.from == 480 && i.to == 1050);
	CHECK(interval_holds(&i, 1, 480) && interval_holds(&i, 1, 1049) && !interval_holds(&i, 1, 1050));
	CHECK(!interval_holds(&i, 1, 479));
	CHECK(interval_parse("22:00-6:00", &i) && interval_holds(&i, 1, 0) && interval_holds(&i, 1, 1320));
	CHECK(!interval_holds(&i, 1, 360) && !interval_holds(&i, 1, 1319));
	CHECK(interval_parse("12:00-24:00", &i) && interval_holds(&i, 1, 1439) && !interval_holds(&i, 1, 719));
	CHECK(interval_parse("0:0-24:00", &i) && interval_holds(&i, 1, 0));
	CHECK(!interval_parse("24:01-25:00", &i) && !interval_parse("8-9", &i) && !interval_parse("8:00", &i));
	CHECK(!interval_parse("8:60-9:00", &i) && !interval_parse("8:00-8:00", &i) && !interval_parse("8:00-9:00x", &i));
	CHECK(interval_holds(NULL, 0, 5));
}

static void
paces(void)
{
	struct rate r;
	struct pace p;
	const char *two[] = { "3", "10" }, *one[] = { "2/1s" };
	int64_t starts[200];
	size_t n = 0;

	CHECK(rate_parse(two, 2, &r) && r.n == 3 && r.rest == 10000 && r.per == 1000);
	CHECK(pace_init(&p, &r) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(pace_wait(&p, &r, 100) == 0);
		pace_count(&p, 100);
	}
	CHECK(pace_wait(&p, &r, 500) == 10500);		/* one too many: it rests */
	CHECK(pace_wait(&p, &r, 10499) == 10500 && pace_wait(&p, &r, 10500) == 0);
	pace_free(&p);
	CHECK(rate_parse(one, 1, &r) && r.n == 2 && r.rest == 0 && pace_init(&p, &r) == 0);
	for (int64_t now = 0; now < 20000 && n < 200; now += 7) {
		if (pace_wait(&p, &r, now) == 0) {
			pace_count(&p, now);
			starts[n++] = now;
		}
	}
	CHECK(n >= 38);
	for (size_t i = 2; i < n; i++)
		CHECK(starts[i] - starts[i - 2] >= 1000);	/* in any second, not only in whole ones */
	pace_free(&p);
	one[0] = "0/1s";
	CHECK(!rate_parse(one, 1, &r));
	two[0] = "0";
	CHECK(rate_parse(two, 2, &r) && r.n == 0 && pace_init(&p, &r) == 0 && pace_wait(&p, &r, 5) == 0);
	pace_free(&p);
}

static void
buckets(void)
{
	struct bucket b = { 0 };
	int taken = 0;

	for (int i = 0; i < 10; i++)
		taken += bucket_take(&b, 3, 1000, 5000);
	CHECK(taken == 3);
	CHECK(!bucket_take(&b, 3, 1000, 5300) && bucket_take(&b, 3, 1000, 5334));
	CHECK(!bucket_take(&b, 3, 1000, 5335));
	for (taken = 0; taken < 3; taken++)
		CHECK(bucket_take(&b, 3, 1000, 9000));
	CHECK(!bucket_take(&b, 3, 1000, 9000));
	/* Another rate: three are missing of five, then of two. */
	CHECK(bucket_take(&b, 5, 3600000, 9000) && bucket_take(&b, 5, 3600000, 9000));
	CHECK(!bucket_take(&b, 5, 3600000, 9000) && !bucket_take(&b, 2, 1000, 9000));
	CHECK(!bucket_take(&b, 2, 1000, 9499) && bucket_take(&b, 2, 1000, 9500));
	CHECK(bucket_take(&b, 1000, 1000, 9500) && b.full == INT64_C(9503000));
	/* What it was told is beyond any rate. */
	b.full = INT64_MAX;
	CHECK(!bucket_take(&b, 1000, 1000, 9500) && b.full == INT64_C(10500000));
	b.each = INT64_MIN;
	CHECK(bucket_take(&b, 1000, 1000, 9501));
}

static void
sources(void)
{
	struct sources s;
	struct source_limits l = { .most = 2, .v4 = 32, .v6 = 64 };
	struct source *x[4] = { NULL };
	struct peer p = { .kind = PEER_IP };

	CHECK(sources_init(&s) == 0);
	CHECK(ip_parse("2001:db8::1", &p.ip));
	CHECK(source_enter(&s, 1, &l, &p, 1000, &x[0]) == SOURCE_OK);
	CHECK(ip_parse("2001:db8::2", &p.ip));		/* the same /64 */
	CHECK(source_enter(&s, 1, &l, &p, 1000, &x[1]) == SOURCE_OK);
	CHECK(source_enter(&s, 1, &l, &p, 1000, &x[2]) == SOURCE_LIMIT);
	CHECK(source_enter(&s, 2, &l, &p, 1000, &x[2]) == SOURCE_OK);	/* another service */
	source_leave(&s, x[0]);
	CHECK(source_enter(&s, 1, &l, &p, 1000, &x[0]) == SOURCE_OK);
	for (int i = 0; i < 3; i++)
		source_leave(&s, x[i]);
	CHECK(s.hash.count == 0 && s.idle == 0);
	/* A crowd that never comes again is forgotten. */
	l.rate = (struct rate){ .n = 1, .per = 1000 };
	for (unsigned i = 0; i < 200000; i++) {
		struct source *one;
		uint32_t a = htonl(0x0a000000 + i);

		memcpy(p.ip.b + 12, &a, 4);
		p.ip = (struct ip){ { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, p.ip.b[12], p.ip.b[13], p.ip.b[14],
		    p.ip.b[15] } };
		CHECK(source_enter(&s, 1, &l, &p, 1000 + i / 100, &one) == SOURCE_OK);
		CHECK(source_enter(&s, 1, &l, &p, 1000 + i / 100, &x[3]) == SOURCE_RATE);
		source_leave(&s, one);
		CHECK(s.idle <= 65536);
	}
	sources_free(&s);
}

static int64_t fired[1000];
static size_t nfired;

static void
note_time(void *arg, int64_t now)
{
	(void)now;
	fired[nfired++] = ((struct timer *)arg)->at;
}

/* One that is due again at once: once a round, for others are due, too. */
struct again { struct loop *loop; struct timer timer; int times; };

static void
set_again(void *arg, int64_t now)
{
	struct again *a = arg;

	a->times++;
	loop_timer(a->loop, &a->timer, now - 1);
}

static void
timers(void)
{
	struct loop *l = loop_new();
	static struct timer t[1000];
	struct again again;
	int64_t now;

	CHECK(l != NULL);
	now = loop_now(l);
	for (size_t i = 0; i < 1000; i++) {
		CHECK(loop_timer_room(l) == 0);
		t[i] = (struct timer){ .fire = note_time, .arg = &t[i] };
		loop_timer(l, &t[i], now - 5000 + (int64_t)(hash_number(i) % 4000));
	}
	for (size_t i = 0; i < 1000; i += 3)
		loop_timer_stop(l, &t[i]);
	for (size_t i = 1; i < 1000; i += 3)
		loop_timer(l, &t[i], t[i].at / 2 * 2);	/* again, elsewhere */
	CHECK(loop_run_once(l, now) == 0);
	CHECK(nfired == 666);
	for (size_t i = 1; i < nfired; i++)
		CHECK(fired[i - 1] <= fired[i]);
	again = (struct again){ .loop = l, .timer = { .fire = set_again, .arg = &again } };
	CHECK(loop_timer_room(l) == 0);
	for (size_t i = 0; i < 9; i++)
		loop_timer(l, &t[i], now + 3600000);
	loop_timer(l, &again.timer, now - 1);
	for (int round = 1; round < 5; round++) {
		CHECK(loop_run_once(l, -1) == 0);
		CHECK(again.times == round && nfired == 666);
	}
	loop_free(l);
}

static void
hashes(void)
{
	struct hash h;
	static struct hash_node n[5000];
	size_t found = 0;

	CHECK(hash_init(&h) == 0);
	for (size_t i = 0; i < 5000; i++)
		hash_put(&h, &n[i], hash_number(i % 2500));
	for (size_t i = 0; i < 2500; i++)
		for (struct hash_node *x = hash_find(&h, hash_number(i)); x != NULL; x = hash_next(x))
			found++;
	CHECK(found == 5000 && h.count == 5000);
	for (size_t i = 0; i < 5000; i += 2)
		hash_remove(&h, &n[i]);
	CHECK(h.count == 2500 && hash_find(&h, hash_number(99999)) == NULL);
	CHECK(hash_bytes("abc", 3) == hash_bytes("abc", 3) && hash_bytes("abc", 3) != hash_bytes("abd", 3));
	CHECK(hash_bytes("12345678", 8) != hash_bytes("12345678\0", 9));
	hash_free(&h);
}

static void
attributes(void)
{
	struct service *s = service_new();
	struct err e;
	struct buf b = { 0 };
	int notes = 0;

	CHECK(s != NULL);
	CHECK(attr_set_option(s, "instances = 5", quiet_attr, &notes, &e) == 0 && s->instances == 5);
	CHECK(attr_set_option(s, "INSTANCES=UNLIMITED", quiet_attr, &notes, &e) == 0 && s->instances == UINT32_MAX);
	CHECK(attr_given(s, "instances") && !attr_given(s, "per_source"));
	CHECK(attr_set_option(s, "env=A=1 B=2", quiet_attr, &notes, &e) == 0 && s->env.n == 2);
	CHECK(attr_set_option(s, "env-=A=1", quiet_attr, &notes, &e) == 0 && s->env.n == 1);
	CHECK(attr_set_option(s, "only_from=10.0.0.0/8, 1.2.3.4", quiet_attr, &notes, &e) == 0 && s->only_from.n == 2);
	CHECK(attr_set_option(s, "log_on_failure=", quiet_attr, &notes, &e) == 0 && s->on_failure == 0);
	CHECK(attr_set_option(s, "linger=no", quiet_attr, &notes, &e) == 0 && s->linger == -1);
	CHECK(attr_set_option(s, "max_load=0.00001", quiet_attr, &notes, &e) == 0);
	attr_find("max_load")->kind->print(&b, s, attr_find("max_load"));
	buf_add(&b, "", 1);
	CHECK(strcmp(b.data, "0.0001") == 0);	/* and not 1e-05, which is no value of it */
	buf_free(&b);
	CHECK(attr_set_option(s, "env=OK=1 bad", quiet_attr, &notes, &e) == -1 && e.word == 1);
	CHECK(attr_set_option(s, "source_prefix=24 129", quiet_attr, &notes, &e) == -1 && e.word == 1);
	for (size_t i = 0; i < nattrs; i++) {
		CHECK(attrs[i].help[0] != '\0' && attrs[i].form[0] != '\0' && attrs[i].initial[0] != '\0');
		CHECK(attr_find(attrs[i].name) == &attrs[i] - ((attrs[i].flags & ATTR_ALIAS) != 0));	/* no name twice */
	}
	service_free(s);
}

/* The words of the first line of `text`, joined by |, with `;` and the place of a comment behind. */
static const char *
lexed(const char *text, enum quotes quotes)
{
	static char out[400];
	struct source in = { .text = (char *)(uintptr_t)text, .len = strlen(text) };
	struct arena arena = { 0 };
	struct lex l;
	size_t n = 0;

	lex_begin(&l, &in, &arena);
	out[0] = '\0';
	if (!lex_words(&l, quotes, false))
		(void)snprintf(out, sizeof out, "!%u:%u %s", l.fault_at.line, l.fault_at.col, l.fault);
	else
		for (size_t i = 0; i < l.n; i++)
			n += (size_t)snprintf(out + n, sizeof out - n, "%s%s@%u:%u", i > 0 ? "|" : "", l.word[i].text,
			    l.word[i].line, l.word[i].col);
	if (l.fault == NULL && l.comment.text != NULL)
		(void)snprintf(out + n, sizeof out - n, ";%u:%u", l.comment.line, l.comment.col);
	lex_free(&l);
	arena_free(&arena);
	return out;
}

static void
lexing(void)
{
	static const struct { const char *text, *none, *whole, *any, *shell; } t[] = {
		{ " a\tb ", "a@1:2|b@1:4", "a@1:2|b@1:4", "a@1:2|b@1:4", "a@1:2|b@1:4" },
		{ "'a b' c", "'a@1:1|b'@1:4|c@1:7", "a b@1:1|c@1:7", "a b@1:1|c@1:7", "a b@1:1|c@1:7" },
		{ "x'a b'", "x'a@1:1|b'@1:5", "x'a@1:1|b'@1:5", "xa b@1:1", "xa b@1:1" },
		{ "\"a\\\"b\" c", "\"a\\\"b\"@1:1|c@1:8", "a\"b@1:1|c@1:8", "a\"b@1:1|c@1:8", "a\"b@1:1|c@1:8" },
		{ "\"a\\n\\x41\"", "\"a\\n\\x41\"@1:1", "a\nA@1:1", "a\\n\\x41@1:1", "a\\n\\x41@1:1" },
		{ "a\\ b", "a\\@1:1|b@1:4", "a\\@1:1|b@1:4", "a\\@1:1|b@1:4", "a b@1:1" },
		{ "a #b c", "a@1:1;1:3", "a@1:1;1:3", "a@1:1;1:3", "a@1:1;1:3" },
		{ "a#b", "a#b@1:1", "a#b@1:1", "a#b@1:1", "a#b@1:1" },
		{ "'#' \"\"", "'#'@1:1|\"\"@1:5", "#@1:1|@1:5", "#@1:1|@1:5", "#@1:1|@1:5" },
		{ "a \\\n b\nc", "a@1:1|b@2:2", "a@1:1|b@2:2", "a@1:1|b@2:2", "a@1:1|b@2:2" },
		{ "a\\\r\nb\r\nc", "a@1:1|b@2:1", "a@1:1|b@2:1", "a@1:1|b@2:1", "a@1:1|b@2:1" },
		{ "a # b \\\nc", "a@1:1;1:3", "a@1:1;1:3", "a@1:1;1:3", "a@1:1;1:3" },
		{ "a\\", "a@1:1", "a@1:1", "a@1:1", "a@1:1" },
		{ "a 'b", "a@1:1|'b@1:3", "!1:3 a ' is not closed", "!1:3 a ' is not closed", "!1:3 a ' is not closed" },
		{ "\"a\"b", "\"a\"b@1:1", "\"a\"b@1:1", "ab@1:1", "ab@1:1" },
		{ "", "", "", "", "" },
	};

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		const char *want[] = { t[i].none, t[i].whole, t[i].any, t[i].shell };

		for (int q = QUOTES_NONE; q <= QUOTES_SHELL; q++) {
			if (strcmp(lexed(t[i].text, (enum quotes)q), want[q]) != 0)
				(void)printf("%s, %d: %s, not %s\n", t[i].text, q, lexed(t[i].text, (enum quotes)q), want[q]);
			CHECK(strcmp(lexed(t[i].text, (enum quotes)q), want[q]) == 0);
		}
	}
}

static void
idents(void)
{
	static const struct { const char *line, *want; } t[] = {
		{ "6193, 23 : USERID : UNIX : stjohns", "UNIX:stjohns" },
		{ "6193,23:USERID:OTHER,UTF-8:a b: c \r\n", "OTHER:a b: c" },
		{ " 6193 , 23 : userid : UNIX :joe", "UNIX:joe" },
		{ "6193, 23 : ERROR : NO-USER", NULL }, { "6194, 23 : USERID : UNIX : x", NULL },
		{ "6193, 24 : USERID : UNIX : x", NULL }, { "6193, 23 : USERID : UNIX", NULL },
		{ "6193, 23 : USERID : UNIX : ", NULL }, { "", NULL }, { "6193", NULL }, { "x", NULL },
		{ "6193, 23 : USERID", NULL }, { "6193, 23", NULL },
	};
	char out[IDENT_MOST + 1], line[700];

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		bool found = ident_parse(t[i].line, 6193, 23, out);

		CHECK(found == (t[i].want != NULL) && (!found || strcmp(out, t[i].want) == 0));
	}
	memset(line, 'x', sizeof line - 1);
	line[sizeof line - 1] = '\0';
	memcpy(line, "1,2:USERID:UNIX:", 16);
	CHECK(ident_parse(line, 1, 2, out) && strlen(out) == IDENT_MOST);
}

static void
bans(void)
{
	struct bans b = { .n = 0 };
	struct ip a, c, d;

	CHECK(ip_parse("10.0.0.1", &a) && ip_parse("2001:db8::1", &c) && ip_parse("2001:db8::2", &d));
	CHECK(!ban_holds(&b, &a, 0));
	ban_add(&b, &a, 1000, 500);
	CHECK(ban_holds(&b, &a, 1499) && !ban_holds(&b, &c, 1499));
	CHECK(!ban_holds(&b, &a, 1500) && b.n == 0);
	ban_add(&b, &c, 0, INT64_MAX);
	CHECK(ban_holds(&b, &d, INT64_MAX - 1));	/* its /64 */
	ban_add(&b, &d, 0, 5);				/* not shorter than it was */
	CHECK(ban_holds(&b, &c, 1000) && b.n == 1);
	for (uint32_t i = 0; i < BANS_MOST + 10; i++) {
		memcpy(a.b + 12, &i, 4);
		ban_add(&b, &a, 0, 1000);
	}
	CHECK(b.n == BANS_MOST && !ban_holds(&b, &c, 1) && ban_holds(&b, &a, 1));
	bans_free(&b);
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\xc0\0\x02\x07\xc0\0\x02\x63\xd4\x31\x01\xbb"	/* 192.0.2.7:54321 192.0.2.99:443 */
#define BYTES(s) (s), sizeof (s) - 1

/* In memory that ends with the last byte, so that a sanitizer sees who reads on. */
static enum proxy_state
read_proxy(const char *bytes, size_t n, size_t *used, struct proxy *out)
{
	char *copy = malloc(n + 1);
	enum proxy_state state;

	CHECK(copy != NULL);
	memcpy(copy + 1, bytes, n);
	state = proxy_read(copy + 1, n, used, out);
	free(copy);
	return state;
}

static void
proxy_headers(void)
{
	static const struct { const char *bytes; size_t n; enum proxy_state want; size_t used; const char *from; } t[] = {
		{ BYTES("PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\n"), PROXY_DONE, 43, "192.0.2.7" },
		{ BYTES("PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\nrest\n"), PROXY_DONE, 43, "192.0.2.7" },
		{ BYTES("PROXY TCP6 2001:db8::7 ::1 54321 0\r\n"), PROXY_DONE, 36, "2001:db8::7" },
		{ BYTES("PROXY UNKNOWN\r\n"), PROXY_DONE, 15, NULL },
		{ BYTES("PROXY UNKNOWN what ever\r\nrest"), PROXY_DONE, 25, NULL },
		{ BYTES("P"), PROXY_MORE, 1, NULL },
		{ BYTES("PROXY TCP4 192.0.2.7"), PROXY_MORE, 20, NULL },
		{ BYTES("PROXY\tTCP4"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\n"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY TCP4 192.0.2.7 192.0.2.99 54321 65536\r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY TCP4 192.0.2.7 192.0.2.99 54321 443 \r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY TCP4 192.0.2.7 192.0.2.99 54321\r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY TCP6 192.0.2.7 ::1 1 2\r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY TCP4 192.0.2.7\0 192.0.2.99 1 2\r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("PROXY \r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("GET / HTTP/1.0\r\n"), PROXY_BAD, 0, NULL },
		{ BYTES("\r"), PROXY_MORE, 1, NULL },
		{ BYTES("\r\n\r\nx"), PROXY_BAD, 0, NULL },
		{ BYTES(SIGNATURE), PROXY_MORE, 12, NULL },
		{ BYTES(SIGNATURE "\x21\x11\0\x0c" FOUR "rest"), PROXY_DONE, 28, "192.0.2.7" },
		{ BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0"), PROXY_MORE, 18, NULL },
		{ BYTES(SIGNATURE "\x21\x11\0\x10" FOUR "\x04\0\x01x" "rest"), PROXY_DONE, 32, "192.0.2.7" },
		{ BYTES(SIGNATURE "\x20\0\0\0rest"), PROXY_DONE, 16, NULL },
		{ BYTES(SIGNATURE "\x20\x11\0\x03" "abc" "rest"), PROXY_DONE, 19, NULL },
		{ BYTES(SIGNATURE "\x21\0\0\0rest"), PROXY_DONE, 16, NULL },
		{ BYTES(SIGNATURE "\x21\x11\0\x0b" FOUR), PROXY_BAD, 0, NULL },
		{ BYTES(SIGNATURE "\x21\x21\0\x0c" FOUR), PROXY_BAD, 0, NULL },
		{ BYTES(SIGNATURE "\x31\x11\0\x0c" FOUR), PROXY_BAD, 0, NULL },
		{ BYTES(SIGNATURE "\x22\x11\0\x0c" FOUR), PROXY_BAD, 0, NULL },
		{ BYTES(SIGNATURE "\x21\x41\0\x0c" FOUR), PROXY_BAD, 0, NULL },
		{ BYTES(SIGNATURE "\x21\x11\x10\x01" FOUR), PROXY_BAD, 0, NULL },	/* 4097 bytes */
		{ BYTES(SIGNATURE "\x21\x11\x10\0" FOUR), PROXY_MORE, 28, NULL },
	};
	char line[600] = "PROXY UNKNOWN ", text[ADDR_TEXT];
	struct proxy p;
	size_t used;

	CHECK(proxy_read("", 0, &used, &p) == PROXY_MORE && used == 0);
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		enum proxy_state state = read_proxy(t[i].bytes, t[i].n, &used, &p);

		if (state != t[i].want)
			(void)printf("case %zu\n", i);
		CHECK(state == t[i].want);
		CHECK(state == PROXY_BAD || (used == t[i].used && p.told == (t[i].from != NULL)));
		CHECK(t[i].from == NULL || strcmp(peer_print(&p.from, text), t[i].from) == 0);
		/* In single bytes: nothing is decided before its time, and then the same. */
		for (size_t n = 1; state == PROXY_DONE && n < t[i].used; n++)
			CHECK(read_proxy(t[i].bytes, n, &used, &p) == PROXY_MORE && used == n);
	}
	memset(line + 14, 'x', sizeof line - 14);
	CHECK(read_proxy(line, PROXY_V1_MOST - 1, &used, &p) == PROXY_MORE);
	CHECK(read_proxy(line, PROXY_V1_MOST, &used, &p) == PROXY_BAD);
	memcpy(line + PROXY_V1_MOST - 2, "\r\n", 2);
	CHECK(read_proxy(line, sizeof line, &used, &p) == PROXY_DONE && used == (size_t)PROXY_V1_MOST);
}

static void
proxy_writing(void)
{
	struct peer from = { .kind = PEER_IP, .port = 54321 }, other = { .kind = PEER_UNIX };
	struct addr to = { .len = sizeof to.in, .in = { .sin_family = AF_INET, .sin_port = htons(443) } };
	struct addr six = { .len = sizeof six.in6, .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(1) } };
	struct addr path = { .len = sizeof path.un, .un = { .sun_family = AF_UNIX } };
	char out[PROXY_BUILT];
	struct proxy p;
	size_t n, used;

	CHECK(ip_parse("192.0.2.7", &from.ip) && inet_pton(AF_INET, "192.0.2.99", &to.in.sin_addr) == 1);
	n = proxy_write(1, &from, &to, out);
	CHECK(n == 43 && memcmp(out, "PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\n", 43) == 0);
	n = proxy_write(2, &from, &to, out);
	CHECK(n == 28 && memcmp(out, SIGNATURE "\x21\x11\0\x0c" FOUR, 28) == 0);
	/* Of two kinds: both as IPv6. */
	six.in6.sin6_addr = in6addr_loopback;
	n = proxy_write(1, &from, &six, out);
	CHECK(n > 11 && memcmp(out, "PROXY TCP6 ::ffff:192.0.2.7 ::1 54321 1\r\n", n) == 0);
	n = proxy_write(2, &from, &six, out);
	CHECK(n == 52 && read_proxy(out, n, &used, &p) == PROXY_DONE && used == n && p.told);
	CHECK(memcmp(&p.from.ip, &from.ip, sizeof from.ip) == 0 && p.from.port == 54321 &&
	    memcmp(&p.to.in6.sin6_addr, &in6addr_loopback, 16) == 0 && p.to.in6.sin6_port == htons(1));
	n = proxy_write(1, &other, &path, out);
	CHECK(n == 15 && memcmp(out, "PROXY UNKNOWN\r\n", n) == 0);
	n = proxy_write(2, &other, &path, out);
	CHECK(n == 16 && memcmp(out, SIGNATURE "\x20\0\0\0", n) == 0);
	/* The longest there is. */
	CHECK(inet_pton(AF_INET6, "2001:1db8:1111:2222:3333:4444:5555:6666", &six.in6.sin6_addr) == 1 &&
	    ip_parse("2001:1db8:1111:2222:3333:4444:5555:6666", &from.ip));
	six.in6.sin6_port = htons(65535);
	from.port = 65535;
	n = proxy_write(1, &from, &six, out);
	CHECK(n < PROXY_BUILT && read_proxy(out, n, &used, &p) == PROXY_DONE && used == n);
}

/* What malloc gives holds this, so that bytes that nobody set differ. */
static void
fill_heap(int with)
{
#ifdef __GLIBC__
	(void)mallopt(M_PERTURB, with);
#else
	(void)with;
#endif
}

static struct buf
plan_of_text(const char *text, size_t len, int fill)
{
	char *env[] = { (char *)(uintptr_t)"TZ=UTC", NULL };
	const struct master m = { .cwd = "/", .env = env, .umask = 022, .low_ports = true };
	struct buf out = { 0 };
	struct table t;

	fill_heap(fill);
	table_read_text(&t, &m, text, len);
	plan_of_table(&t, NULL, NULL, &out);
	CHECK(!out.failed);
	for (size_t i = 0; i < t.n; i++) {
		struct buf one = { 0 }, two = { 0 };
		const struct service *s = t.item[i].service;
		struct service *back;
		const char *at;

		if (s->off)
			continue;
		service_pack(s, false, &one);
		at = one.data;
		back = service_unpack(&at, one.data + one.len);
		CHECK(back != NULL && at == one.data + one.len && strcmp(back->id, s->id) == 0);
		service_pack(back, false, &two);
		CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
		service_free(back);
		buf_free(&one);
		buf_free(&two);
	}
	table_free(&t);
	fill_heap(0);
	return out;
}

static size_t
plan_of_file(const char *path)
{
	static char text[1 << 20];
	FILE *f = fopen(path, "r");
	struct buf one, two;
	struct plan p;
	struct err err;
	size_t len, n;

	CHECK(f != NULL);
	len = fread(text, 1, sizeof text, f);
	(void)fclose(f);
	one = plan_of_text(text, len, 0x55);
	two = plan_of_text(text, len, 0xaa);
	if (one.len != two.len || memcmp(one.data, two.data, one.len) != 0)
		(void)printf("%s: two readings give two plans\n", path);
	CHECK(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
	CHECK(plan_read(&p, one.data, one.len, &err) == 0);
	n = p.on;
	plan_free(&p);
	buf_free(&one);
	buf_free(&two);
	return n;
}

/* Every table of the directory CORPUS, or of tests/corpus: the same text gives the same bytes. */
static void
plans(void)
{
	const char *where = getenv("CORPUS") != NULL ? getenv("CORPUS") : "tests/corpus";
	DIR *d = opendir(where);
	char path[PATH_MAX];
	size_t files = 0, on = 0;

	CHECK(d != NULL);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		size_t n = strlen(e->d_name);

		if (n < 6 || strcmp(e->d_name + n - 5, ".conf") != 0)
			continue;
		(void)snprintf(path, sizeof path, "%s/%s", where, e->d_name);
		on += plan_of_file(path);
		files++;
	}
	(void)closedir(d);
	CHECK(files > 500 && on > 100);
}

/* Bytes that are none: an error, or another plan, but no more than that. */
static void
plans_mangled(void)
{
	static const char text[] =
	    "defaults\n{\n instances = 5\n log_tag = t\n}\n"
	    "service a\n{\n listen = 127.0.0.1:1 unix:/x\n exec = /bin/echo a \"b c\"\n only_from = 10.0.0.0/8 ::1 user:root\n"
	    " access_times = 01:00-02:00\n env = A=1\n rlimit_nofile = 9\n user = root\n}\n"
	    "service r\n{\n listen = 127.0.0.1:2\n redirect = localhost 3\n}\n"
	    "service off\n{\n listen = 127.0.0.1:3\n exec = /bin/true\n disable = yes\n}\n"
	    "service bad\n{\n listen = 127.0.0.1:4\n exec = /bin/true\n nonsense = 1\n}\n";
	struct buf b = plan_of_text(text, sizeof text - 1, 0);
	struct plan p;
	struct err err;
	char *bytes;

	CHECK(plan_read(&p, b.data, b.len, &err) == 0);
	CHECK(p.n == 4 && p.item[2].state == PLANNED_OFF && p.item[3].state == PLANNED_FAULTY);
	CHECK(p.item[3].fault != NULL && strstr(p.item[3].fault, "nonsense") != NULL && p.refused == NULL);
	plan_free(&p);
	for (size_t n = 0; n < b.len; n++) {
		bytes = malloc(n + 1);		/* a block of its own: not a byte behind it is read unseen */
		CHECK(bytes != NULL);
		memcpy(bytes, b.data, n);
		CHECK(plan_read(&p, bytes, n, &err) == -1);
		free(bytes);
	}
	bytes = malloc(b.len);
	CHECK(bytes != NULL);
	memcpy(bytes, b.data, b.len);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
		if (plan_read(&p, bytes, b.len, &err) == 0)
			plan_free(&p);
		bytes[bit / 8] = b.data[bit / 8];
	}
	/* And all that look like a number are the largest one. */
	for (size_t at = 0; at + 8 <= b.len; at++) {
		memset(bytes + at, 0xff, 8);
		if (plan_read(&p, bytes, b.len, &err) == 0)
			plan_free(&p);
		memcpy(bytes + at, b.data + at, 8);
	}
	free(bytes);
	buf_free(&b);
}

static long
lines_of(const char *path)
{
	FILE *f = fopen(path, "r");
	long n = 0;
	int c;

	if (f == NULL)
		return -1;
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	(void)fclose(f);
	return n;
}

/* The longest event in JSON, and the log in a file that is moved away; lines.json is left for others. */
static void
log_lines(void)
{
	static char name[129], host[400], user[600], message[3000];
	const struct log_to place = { .kind = LOG_FILE, .path = (char *)(uintptr_t)"lines.json" };
	struct log_style style = { .json = true, .tag = "tag" };
	struct event ev = { .level = LEVEL_WARNING, .name = "exit", .service = name, .reason = "per_source_limit",
		.message = message, .from = "2001:1db8:1111:2222:3333:4444:5555:6666%4294967295", .host = host,
		.user = user, .fields = ~0U, .pid = INT_MAX, .signal = 9, .port = 65535, .conn = UINT64_MAX,
		.duration = INT64_MAX, .cpu = INT64_MAX, .maxrss = LONG_MAX, .bytes_in = UINT64_MAX,
		.bytes_out = UINT64_MAX };
	static const char *const logs[] = { "lines.json", "unit.log", "unit.log.1" };

	for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++)
		(void)remove(logs[i]);
	memset(name, 0xff, sizeof name - 1);
	memset(host, 0xff, sizeof host - 1);
	memset(user, '"', sizeof user - 1);
	memset(message, '\n', sizeof message - 1);
	CHECK(log_open("unit", LEVEL_INFO, &(struct log_to){ .kind = LOG_FILE,
	    .path = (char *)(uintptr_t)"unit.log" }) == 0);
	style.sink = sink_get(&place, 1);
	CHECK(style.sink != NULL && sink_parts(style.sink) == 1 && sink_part(style.sink, 0) == style.sink);
	log_event(&ev, &style);
	memset(name, 'n', sizeof name - 1);
	log_event(&ev, &style);
	ev.host = ev.user = NULL;
	log_event(&ev, &style);
	log_say(LEVEL_NOTICE, "state", "before");
	log_say(LEVEL_DEBUG, "debug", "not this");
	(void)log_flush(0);
	CHECK(lines_of("lines.json") == 3 && lines_of("unit.log") == 1);
	CHECK(rename("unit.log", "unit.log.1") == 0);
	log_say(LEVEL_NOTICE, "state", "still before");
	log_reopen();
	CHECK(lines_of("unit.log.1") == 2 && lines_of("unit.log") == 0);
	log_say(LEVEL_NOTICE, "state", "behind");
	log_event(&ev, &style);
	sink_put(style.sink);	/* what waits there is written */
	CHECK(lines_of("lines.json") == 4);
	log_close();
	CHECK(lines_of("unit.log.1") == 2 && lines_of("unit.log") == 1);
}

/* One sink a place, one for the same several places, whoever asks. */
static void
sinks(void)
{
	struct log_to to[] = { { .kind = LOG_SYSLOG, .facility = 3, .level = 6 }, { .kind = LOG_MASTER },
		{ .kind = LOG_FILE, .path = (char *)(uintptr_t)"/nowhere/x" } };
	struct sink *one = sink_get(to, 1), *three = sink_get(to, 3), *again = sink_get(to, 3), *two = sink_get(to, 2);

	CHECK(one != NULL && three == again && three != two && sink_get(to + 1, 1) == NULL && sink_get(to, 0) == NULL);
	CHECK(sink_parts(three) == 3 && sink_part(three, 0) == one && sink_part(three, 1) == NULL);
	CHECK(sink_parts(NULL) == 1 && sink_part(NULL, 0) == NULL);
	sink_put(one);
	to[2].soft = to[2].hard = 10;
	one = sink_get(to + 2, 1);
	CHECK(one != sink_part(three, 2));
	sink_put(one);
	sink_put(three);
	CHECK(sink_parts(again) == 3);
	sink_put(again);
	sink_put(two);
	sink_put(NULL);
}

/* --- what a successor is told */

static void
states(void)
{
	static const char *const odd[] = { "", "\n", "   \n", "kind\n", "kind =\n", "kind a\n", "=\n", " = = =\n", "k a=%\n",
		"k a=%4\n", "k a=%zz\n", "k a=%00b\n", "no end" };
	struct buf b = { 0 };
	unsigned char bytes[4] = { 0, 255, 10, 37 }, back[4];
	struct fact f;
	char *text, *at;

	state_begin(&b, "one");
	state_number(&b, "n", -5);
	state_number(&b, "nothing", 0);
	state_number(&b, "least", INT64_MIN);
	state_text(&b, "t", "a b=c\n%25\x01\xc3");
	state_text(&b, "empty", "");
	state_text(&b, "none", NULL);
	state_bytes(&b, "bytes", bytes, sizeof bytes);
	state_end(&b);
	state_begin(&b, "two");
	state_end(&b);
	buf_add(&b, "", 1);
	at = b.data;
	CHECK(!b.failed && state_next(&at, &f) && strcmp(f.kind, "one") == 0);
	CHECK(state_get(&f, "n", 0) == -5 && state_get(&f, "nothing", 7) == 7 && state_get(&f, "least", 0) == INT64_MIN);
	CHECK(strcmp(state_get_text(&f, "t"), "a b=c\n%25\x01\xc3") == 0 && strcmp(state_get_text(&f, "empty"), "") == 0);
	CHECK(state_get_text(&f, "none") == NULL);
	CHECK(state_get_bytes(&f, "bytes", back, 4) && memcmp(bytes, back, 4) == 0);
	CHECK(!state_get_bytes(&f, "bytes", back, 3) && !state_get_bytes(&f, "t", back, 4));
	CHECK(state_next(&at, &f) && strcmp(f.kind, "two") == 0 && f.n == 0 && !state_next(&at, &f));
	buf_free(&b);
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		CHECK((at = text = strdup(odd[i])) != NULL);
		while (state_next(&at, &f))
			(void)state_get(&f, "a", 0);
		free(text);
	}
	/* More words than are kept, and one that is longer than anything. */
	buf_addf(&b, "many");
	for (int i = 0; i < STATE_WORDS * 2; i++)
		buf_addf(&b, " w%d=%d", i, i);
	buf_addf(&b, " long=");
	for (int i = 0; i < 200000; i++)
		buf_add(&b, "%", 1);
	buf_add(&b, "\n", 2);
	at = b.data;
	CHECK(state_next(&at, &f) && f.n == STATE_WORDS && state_get(&f, "w5", 0) == 5 && !state_next(&at, &f));
	buf_free(&b);
}

/* All that is told of an engine, into another one. */
static void
take_state(char *text, bool sound)
{
	struct loop *l = loop_new();
	struct engine *e = engine_new(l);
	struct carry *k = carry_new(e);
	struct fact f;
	struct err err;
	unsigned live = 0;

	CHECK(l != NULL && e != NULL && k != NULL);
	while (state_next(&text, &f))
		CHECK(carry_read(k, &f, &err) == 0 || !sound);
	carry_finish(k);
	for (const struct unit *u = e->units; u != NULL; u = u->next)
		live += u->live;
	if (sound) {
		CHECK(e->units != NULL && strcmp(e->units->conf->id, "a") == 0 && e->units->started == 3 && e->units->uses == 2);
		CHECK(e->gone != NULL && e->gone->uses == 0 && live == 1 && e->live == 1 && e->next_conn == 9);
		CHECK(e->units->refused[REASON_LOAD] == 4 && e->errlogs != NULL && conn_find(e, 99999999) != NULL);
	}
	away_free(e);
	conn_free_all(e);
	while (e->units != NULL)
		unit_free(e->units);
	while (e->gone != NULL)
		unit_free(e->gone);
	engine_free(e);
	loop_free(l);
}

static int
high_fd(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 700);

	CHECK(high != -1);
	(void)close(fd);
	return high;
}

static void
carries(void)
{
	struct peer peer = { .kind = PEER_IP, .port = 1234 };
	struct buf b = { 0 }, was = { 0 };
	struct loop *l = loop_new();
	struct engine *e = engine_new(l);
	uint64_t random = 88172645463325252U;
	char *text;

	CHECK(e != NULL);
	e->next_conn = 9;
	carry_form(e, &b);
	engine_free(e);
	loop_free(l);
	buf_addf(&b, "ban ip=00000000000000000000ffff7f000003 until=9999999999\n"
	    "unit number=1 id=a name=a linger=2000 started=3 load=4 starts=1,2,3 log=2%%200%%20-1%%200%%200%%20/tmp/x\n"
	    "listener unit=1 fd=650 name=tcp:127.0.0.1:9 from=77\n"
	    "unit number=2 id=b name=b retired=1 wait=1\nsource unit=1 ip=00 id=1 kind=1 full=99\n"
	    "worker pid=99999998\n");
	buf_add(&was, b.data, b.len);
	for (int round = 0; round < 400; round++) {
		static const char *const rest[] = { "conn unit=1 state=1 number=5", "conn unit=1 state=3 number=6 pid=77777777",
			"conn unit=1 state=4 number=7 pid=99999998", "conn unit=2 state=5 number=8 header=50524f", "conn unit=1 state=6 number=9",
			"conn unit=9 state=2", "conn unit=1 state=200", "conn" };
		int pair[2], log[2];

		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && pipe2(log, O_CLOEXEC | O_NONBLOCK) == 0);
		pair[0] = high_fd(pair[0]);
		log[0] = high_fd(log[0]);
		b.len = 0;
		buf_add(&b, was.data, was.len);
		buf_addf(&b, "errlog unit=1 fd=%d pid=99999999 conn=4 line=6162\n", log[0]);
		buf_addf(&b, "conn unit=1 state=2 number=4 pid=99999999 fd=%d errlog=1", pair[0]);
		state_bytes(&b, "peer", &peer, sizeof peer);
		state_end(&b);
		for (size_t i = 0; round > 0 && i < sizeof rest / sizeof rest[0]; i++) {
			buf_addf(&b, "%s fd=651", rest[i]);
			state_bytes(&b, "peer", &peer, sizeof peer);
			state_end(&b);
		}
		buf_add(&b, "", 1);
		CHECK(!b.failed && (text = strdup(b.data)) != NULL);
		/* Some bytes of it are others; of the descriptors' numbers none, they would be anybody's. */
		for (int n = round == 0 ? 0 : 1 + round % 9; n > 0; n--) {
			size_t at;

			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			at = (size_t)(random % (b.len - 1));
			if (strspn(text + at, "0123456789") == 0 && memchr("fd=\n ", text[at], 5) == NULL)
				text[at] = "a=% \n9-0"[random >> 40 & 7];
		}
		if (round == 0)
			*strstr(text, "listener") = 'L';	/* its descriptor is not there */
		take_state(text, round == 0);
		free(text);
		(void)close(pair[1]);
		(void)close(log[1]);
		if (round == 0)
			CHECK(fcntl(pair[0], F_GETFD) == -1 && fcntl(log[0], F_GETFD) == -1);
		(void)close(pair[0]);
		(void)close(log[0]);
	}
	buf_free(&b);
	buf_free(&was);
}

static void
utf8(void)
{
	static const struct { const char *text; size_t n; } is[] = {
		{ "a", 1 }, { "\xc2\x80", 2 }, { "\xdf\xbf", 2 }, { "\xe0\xa0\x80", 3 }, { "\xed\x9f\xbf", 3 },
		{ "\xf0\x90\x80\x80", 4 }, { "\xf4\x8f\xbf\xbf", 4 },
		/* no beginning, too long for what it is, a surrogate, beyond the last, cut short, broken */
		{ "\x80", 0 }, { "\xc1\xbf", 0 }, { "\xe0\x9f\xbf", 0 }, { "\xed\xa0\x80", 0 }, { "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf4\x90\x80\x80", 0 }, { "\xf5\x80\x80\x80", 0 }, { "\xc2", 0 }, { "\xe2\x80", 0 }, { "\xe2\x80X", 0 },
		{ "\xf0\x90\x80X", 0 }, { "\xc2\xc0", 0 },
	};

	for (size_t i = 0; i < sizeof is / sizeof is[0]; i++)
		CHECK(str_utf8(is[i].text, strlen(is[i].text)) == is[i].n);
	CHECK(str_utf8("\xe2\x82\xac", 2) == 0 && str_utf8("\xe2\x82\xac!", 4) == 3);
}

static void
shown(void)
{
	static const struct { void (*add)(struct buf *b, const char *s); const char *text, *is; } cases[] = {
		{ add_json, "a\"\\\x01\n\x7f\xc3\xa9\xc3", "\"a\\\"\\\\\\u0001\\u000a\\u007f\xc3\xa9\xef\xbf\xbd\"" },
		{ add_json, NULL, "null" },
		{ add_label, "a\"\\\n", "a\\\"\\\\\\n" },
		/* What turns the text round, or is no character, is not shown. */
		{ add_html, "<a href='\"'>&\xc3", "&lt;a href=&#39;&quot;&#39;&gt;&amp;\xef\xbf\xbd" },
		/* What turns the text round, or is no character, is not shown; what stands beside it is. */
		{ add_html, "\x1b\x7f\xc2\x9b\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9",
		    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ add_html, "\xe2\x80\x8d\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\xc2\xa0",
		    "\xe2\x80\x8d\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\xc2\xa0" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf b = { 0 };

		cases[i].add(&b, cases[i].text);
		buf_add(&b, "", 1);
		CHECK(!b.failed);
		CHECK(strcmp(b.data, cases[i].is) == 0);
		buf_free(&b);
	}
}

/* Virtual machines' sockets, where the kernel has none. */
static void
machines(void)
{
	struct addr a = { .len = sizeof a.vm, .vm = { .svm_family = AF_VSOCK, .svm_cid = 7, .svm_port = 99 } };
	struct source_limits l = { .most = 1, .v4 = 32, .v6 = 64 };
	struct addr other = { .len = sizeof other.sa, .sa = { .sa_family = AF_NETLINK } };
	struct source *x, *y;
	struct sources s;
	struct peer p;
	char text[ADDR_TEXT];

	CHECK(peer_of(-1, &a, &p) == 0 && p.kind == PEER_VSOCK && p.cid == 7 && p.port == 99 && !p.by_unix);
	CHECK(strcmp(peer_print(&p, text), "cid:7") == 0);
	CHECK(sources_init(&s) == 0);
	CHECK(source_enter(&s, 1, &l, &p, 0, &x) == SOURCE_OK && source_enter(&s, 1, &l, &p, 0, &y) == SOURCE_LIMIT);
	p.cid = 8;	/* another machine is another source */
	CHECK(source_enter(&s, 1, &l, &p, 0, &y) == SOURCE_OK);
	source_leave(&s, x);
	source_leave(&s, y);
	sources_free(&s);
	CHECK(peer_of(-1, &other, &p) == -1 && errno == EAFNOSUPPORT);
	CHECK(strcmp(peer_print(&(struct peer){ .kind = PEER_NONE }, text), "") == 0);
}

/* What a child is told of its connection, beside what every child of the service gets. */
static void
variables(void)
{
	char *base[] = { (char []){ "A=1" } };
	struct environment env = { .refs = 1, .n = 1, .var = base };
	const struct service service = { .id = (char []){ "x" }, .run.env = &env };
	const struct addr ip = { .len = sizeof ip.in, .in = { .sin_family = AF_INET, .sin_port = htons(80), .sin_addr = { htonl(0x7f000001) } } };
	const struct addr un = { .len = offsetof(struct sockaddr_un, sun_path) + 2, .un = { .sun_family = AF_UNIX, .sun_path = "s" } };
	const struct addr vm = { .len = sizeof vm.vm, .vm = { .svm_family = AF_VSOCK, .svm_cid = 3, .svm_port = 5 } };
	const struct addr fifo = { .len = 0 };
	const struct {
		struct peer peer;
		const struct addr *local;
		bool dgram, listening;
		const char *has;
	} of[] = {
		{ { .kind = PEER_VSOCK, .cid = 7, .port = 99 }, &vm, false, false, "PROTO=VSOCK REMOTE_HOST=cid:7 REMOTE_ADDR=7 REMOTE_PORT=99 " },
		{ { .kind = PEER_UNIX, .uid = 1, .gid = 2, .pid = 3 }, &un, false, false,
		    "PROTO=UNIX UNIXREMOTEEUID=1 UNIXREMOTEEGID=2 UNIXREMOTEPID=3 UNIXLOCALPATH=s " },
		{ { .kind = PEER_NONE }, &vm, false, true, "PROTO=VSOCK " },
		{ { .kind = PEER_NONE }, &fifo, false, true, "PROTO=FIFO " },
		{ { .kind = PEER_NONE }, &ip, true, true, "PROTO=UDP UDPLOCALIP=127.0.0.1 UDPLOCALPORT=80 " },
		{ { .kind = PEER_NONE }, &un, false, true, "PROTO=UNIX UNIXLOCALPATH=s " },
	};

	for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
		const struct facts f = { .service = &service, .peer = &of[i].peer, .dgram = of[i].dgram,
			.listening = of[i].listening, .local = of[i].local, .conn = 42 };
		char block[2048], all[2048] = "";
		size_t need = vars_fill(NULL, 0, &f);

		CHECK(need <= sizeof block && vars_fill(block, need, &f) == need);
		CHECK(vars_fill(block, need - 1, &f) == need);	/* told, when it does not fit */
		CHECK(vars_fill(block, sizeof block, &f) == need);
		for (char **p = (char **)(void *)block; *p != NULL; p++) {
			(void)strcat(all, *p);
			(void)strcat(all, " ");
		}
		CHECK(strstr(all, of[i].has) != NULL && strstr(all, "A=1 ") != NULL);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "numbers", numbers }, { "durations", durations }, { "words", words }, { "escapes", escapes }, { "utf8", utf8 },
	{ "shown", shown }, { "machines", machines }, { "variables", variables },
	{ "puts", puts_ }, { "lexing", lexing }, { "idents", idents }, { "bans", bans },
	{ "likeness", likeness }, { "addresses", addresses }, { "names", names }, { "prefixes", prefixes },
	{ "precedence", precedence }, { "bad_rules", bad_rules }, { "times", times }, { "paces", paces },
	{ "buckets", buckets }, { "sources", sources }, { "timers", timers }, { "hashes", hashes },
	{ "attributes", attributes }, { "plans", plans }, { "plans_mangled", plans_mangled },
	{ "proxy_headers", proxy_headers }, { "proxy_writing", proxy_writing },
	{ "states", states }, { "carries", carries }, { "log_lines", log_lines },
	{ "sinks", sinks },
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (argc < 2)
			(void)puts(cases[i].name);
		else if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : 2;
}
