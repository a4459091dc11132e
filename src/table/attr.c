#include "table/attr.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "table/values.h"

static const char *const stderr_words[] = { "socket", "log", "null", "inherit", NULL };
static const char *const overload_words[] = { "queue", "reject", NULL };
static const char *const hangup_words[] = { "ignore", "kill", NULL };
static const char *const format_words[] = { "text", "json", NULL };
static const char *const flag_words[] = { "NODELAY", "KEEPALIVE", "NAMEINARGS", "SENSOR", "IDONLY",
	"IPv4", "IPv6", "DISABLE", "REUSE", "INTERCEPT", "NORETRY", "NOLIBWRAP", "LABELED", NULL };
static const char *const type_words[] = { "UNLISTED", "INTERNAL", "RPC", "TCPMUX", "TCPMUXPLUS", NULL };
static const char *const socket_words[] = { "stream", "dgram", "seqpacket", "raw", "rdm", NULL };
static const char *const dialect_words[] = { "own", "xinetd", "bsd", NULL };
static const char *const send_words[] = { "no", "v1", "v2", NULL };
static const char *const no_yes[] = { "no", "yes", NULL };
static const char *const record_words[] = { "PID", "HOST", "EXIT", "DURATION", "PORT", "CONN", "CPU",
	"MAXRSS", "BYTES", "ATTEMPT", "USERID", "TRAFFIC", NULL };

#define AT(member) offsetof(struct service, member)
#define BYTES_MOST ((uint64_t)INT64_MAX)
#define RLIMIT(word, i, form, unit, help) \
	{ "rlimit_" word, form, "the master's", help, &kind_rlimit, \
	  i, unit, BYTES_MOST, NULL, 0 }

enum {
	ON_SUCCESS = RECORD_PID | RECORD_HOST | RECORD_EXIT | RECORD_DURATION | RECORD_PORT |
	    RECORD_CONN | RECORD_CPU | RECORD_MAXRSS | RECORD_BYTES | RECORD_USERID | RECORD_TRAFFIC,
	ON_FAILURE = RECORD_HOST | RECORD_PORT | RECORD_ATTEMPT | RECORD_USERID,
};

const struct attr attrs[] = {
	{ "id", "word of printing ASCII", "the command's name", "name of the service in logs, --ready and SERVICE",
	  &kind_name, AT(id), 0, 0, NULL, ATTR_ENTRY | ATTR_FREE },
	{ "limit", "number from 1 or UNLIMITED", "UNLIMITED", "children of the whole server at once",
	  &kind_number, AT(limit), 1, UINT32_MAX, NULL, ATTR_SERVER },
	{ "grace", "duration", "8s", "how long a drain waits for the children before it ends them",
	  &kind_duration, AT(grace), 0, 0, NULL, ATTR_SERVER },
	{ "dialect", "own, xinetd or bsd", "own", "whose reading holds where the table's grammars conflict",
	  &kind_choice, AT(dialect), 0, 0, dialect_words, ATTR_SERVER | ATTR_TABLE },
	{ "enabled", "id...", "all", "only these services are served",
	  &kind_words, AT(enabled), 0, 0, NULL, ATTR_SERVER | ATTR_TABLE | ATTR_LIST | ATTR_FREE },
	{ "disabled", "id...", "none", "these services are not served",
	  &kind_words, AT(disabled), 0, 0, NULL, ATTR_SERVER | ATTR_TABLE | ATTR_LIST | ATTR_EMPTY | ATTR_FREE },
	{ "disable", "yes or no", "no", "yes: the service is not served",
	  &kind_bool, AT(disable), 0, 0, no_yes, ATTR_ENTRY | ATTR_TABLE },
	{ "type", "UNLISTED INTERNAL RPC TCPMUX TCPMUXPLUS", "none", "what kind of service it is",
	  &kind_type, AT(type), 0, 0, type_words, ATTR_ENTRY | ATTR_TABLE | ATTR_EACH },
	{ "socket_type", "stream, dgram, seqpacket, raw or rdm", "stream", "kind of socket; dgram with protocol = udp",
	  &kind_choice, AT(socket_type), 0, 0, socket_words, ATTR_ENTRY | ATTR_TABLE },
	{ "protocol", "tcp, udp, with 4, 6 or 46", "tcp", "protocol and family; without a number both families",
	  &kind_name, AT(protocol), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE },
	{ "port", "number or name", "the service's name", "port to listen on",
	  &kind_port, AT(port), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE },
	{ "bind", "address, host or interface", "every address", "where to listen; an interface is its addresses at load",
	  &kind_name, AT(bind), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE },
	{ "interface", "address, host or interface", "every address", "another name of bind",
	  &kind_name, AT(bind), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE | ATTR_ALIAS },
	{ "v6only", "yes or no", "no", "yes: IPv6 alone, where the address is every one",
	  &kind_bool, AT(v6only), 0, 0, no_yes, ATTR_TABLE },
	{ "wait", "yes or no", "no", "yes: one command at a time gets the listening socket itself",
	  &kind_bool, AT(wait), 0, 0, no_yes, ATTR_ENTRY },
	{ "session", "yes or no", "no", "of datagrams with wait = no: a command for each peer, not for each datagram",
	  &kind_bool, AT(session), 0, 0, no_yes, 0 },
	{ "flags", "NODELAY KEEPALIVE NAMEINARGS SENSOR IDONLY IPv4 IPv6", "none",
	  "options of the connections, how the program is called, who may come",
	  &kind_flags, AT(flags), 0, 0, flag_words, ATTR_LIST | ATTR_EMPTY | ATTR_EACH },
	{ "server", "absolute path or name", "none", "program to run; argv[0] is its last part",
	  &kind_server, AT(server), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE | ATTR_FREE },
	{ "server_args", "argument...", "none", "arguments of the program; with flags NAMEINARGS the first is argv[0]",
	  &kind_words, AT(server_args), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE | ATTR_FREE },
	{ "redirect", "HOST PORT or an ADDRESS", "none", "connect here instead of running a program",
	  &kind_redirect, AT(redirect), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE },
	{ "send_proxy", "no, v1 or v2", "no", "with redirect: tell the target the client's address in a PROXY header",
	  &kind_choice, AT(send_proxy), 0, 0, send_words, ATTR_TABLE },
	{ "rpc_version", "N or N-M", "none", "versions of an RPC service",
	  &kind_range, AT(rpc_version), 0, 0, NULL, ATTR_ENTRY | ATTR_TABLE },
	{ "rpc_number", "number", "from /etc/rpc", "number of an RPC service that is not listed",
	  &kind_number, AT(rpc_number), 0, UINT32_MAX - 1, NULL, ATTR_ENTRY | ATTR_TABLE },
	{ "listen", "ADDRESS...", "ADDRESS; in a table from port, bind and protocol", "where to listen",
	  &kind_listen, AT(listen), 0, 0, NULL, ATTR_LIST | ATTR_ENTRY | ATTR_EACH | ATTR_FREE },
	{ "exec", "command line", "COMMAND", "program and arguments, quoted as for a shell, PATH searched",
	  &kind_exec, AT(exec), 0, 0, NULL, ATTR_SHELL | ATTR_ENTRY | ATTR_FREE },
	{ "shell", "rest of the line", "none", "command line for /bin/sh -c",
	  &kind_shell, AT(exec), 0, 0, NULL, ATTR_LINE | ATTR_ENTRY | ATTR_FREE },
	{ "stderr", "socket, log, null or inherit", "socket", "where the command's errors go",
	  &kind_choice, AT(stderr_to), 0, 0, stderr_words, 0 },
	{ "directory", "absolute path", "/, or for one command where the server was started", "working directory of the command",
	  &kind_path, AT(directory), 0, 0, NULL, ATTR_FREE },
	{ "chroot", "absolute path", "none", "root directory of the command",
	  &kind_path, AT(chroot), 0, 0, NULL, ATTR_FREE },
	{ "user", "name or number", "the server's; in a table nobody where that is root", "user that the command runs as",
	  &kind_name, AT(user), 0, 0, NULL, ATTR_FREE },
	{ "group", "name or number", "the user's", "group that the command runs as",
	  &kind_name, AT(group), 0, 0, NULL, ATTR_FREE },
	{ "groups", "yes or no", "yes", "with user: give the command that user's other groups too",
	  &kind_bool, AT(groups), 0, 0, no_yes, 0 },
	{ "umask", "octal number up to 777", "the server's; in a table with 022", "file mode bits that the command's files lack",
	  &kind_octal, AT(umask), 0, 0777, NULL, 0 },
	{ "nice", "number from -40 to 40", "0", "added to the server's own niceness",
	  &kind_nice, AT(nice), 0, 0, NULL, 0 },
	{ "env", "NAME=value...", "none", "variables set for the command",
	  &kind_env, AT(env), 0, 0, NULL, ATTR_LIST | ATTR_EMPTY | ATTR_FREE | ATTR_EACH },
	{ "passenv", "NAME... or *", "*; in a table TZ and LANG alone", "variables of the server that the command gets; * is all",
	  &kind_passenv, AT(passenv), 0, 0, NULL, ATTR_LIST | ATTR_EMPTY | ATTR_EACH },
	RLIMIT("as", 0, "size or UNLIMITED", RLIMIT_IN_BYTES, "address space of the command, bytes"),
	RLIMIT("core", 1, "size or UNLIMITED", RLIMIT_IN_BYTES, "size of a core file, bytes"),
	RLIMIT("cpu", 2, "seconds, a duration or UNLIMITED", RLIMIT_IN_SECONDS, "processor time of the command, seconds"),
	RLIMIT("data", 3, "size or UNLIMITED", RLIMIT_IN_BYTES, "data segment of the command, bytes"),
	RLIMIT("files", 4, "number or UNLIMITED", RLIMIT_IN_NUMBERS, "open descriptors of the command"),
	RLIMIT("fsize", 5, "size or UNLIMITED", RLIMIT_IN_BYTES, "size of a file that the command writes, bytes"),
	RLIMIT("memlock", 6, "size or UNLIMITED", RLIMIT_IN_BYTES, "memory that the command may lock, bytes"),
	RLIMIT("nproc", 7, "number or UNLIMITED", RLIMIT_IN_NUMBERS, "processes of the command's user"),
	RLIMIT("rss", 8, "size or UNLIMITED", RLIMIT_IN_BYTES, "resident memory of the command, bytes"),
	RLIMIT("stack", 9, "size or UNLIMITED", RLIMIT_IN_BYTES, "stack of the command, bytes"),
	{ "instances", "number or UNLIMITED", "UNLIMITED", "children of the service at once",
	  &kind_number, AT(instances), 0, UINT32_MAX, NULL, 0 },
	{ "per_source", "number or UNLIMITED", "UNLIMITED", "children of the service at once for one source",
	  &kind_number, AT(source.most), 0, UINT32_MAX, NULL, 0 },
	{ "cps", "N/DURATION with N from 1, or N and seconds", "none",
	  "pace of starts; with two words: rest so long after more than N in a second",
	  &kind_rate, AT(cps), 0, 2, NULL, 0 },
	{ "source_cps", "N/DURATION with N from 1", "none", "pace for one source; what comes faster is refused",
	  &kind_rate, AT(source.rate), 0, 1, NULL, 0 },
	{ "source_prefix", "IPv4 and IPv6 prefix length", "32 64", "what counts as one source",
	  &kind_prefix, AT(source.v4), 0, 0, NULL, 0 },
	{ "max_load", "number above 0", "none", "load average of one minute at which the service pauses",
	  &kind_load, AT(max_load), 0, 0, NULL, 0 },
	{ "overload", "queue or reject", "queue", "at a limit: leave connections waiting, or refuse them",
	  &kind_choice, AT(overload), 0, 0, overload_words, 0 },
	{ "only_from", "address...", "everyone", "who may connect; of this and no_access the longer match holds",
	  &kind_rules, AT(only_from), 0, 0, NULL, ATTR_LIST | ATTR_EMPTY | ATTR_EACH },
	{ "no_access", "address...", "nobody", "who may not connect",
	  &kind_rules, AT(no_access), 0, 1, NULL, ATTR_LIST | ATTR_EMPTY | ATTR_EACH },
	{ "proxy_protocol", "yes or no", "no", "connections begin with a PROXY header that says who the client is",
	  &kind_bool, AT(proxy_protocol), 0, 0, no_yes, 0 },
	{ "proxy_from", "address...", "nobody", "who may send such a header",
	  &kind_rules, AT(proxy_from), 0, 0, NULL, ATTR_LIST | ATTR_EMPTY | ATTR_EACH },
	{ "access_times", "HH:MM-HH:MM...", "always", "when the service is open, local time; may cross midnight",
	  &kind_times, AT(times), 0, 0, NULL, ATTR_EACH },
	{ "deny_time", "minutes, a duration, FOREVER or NEVER", "NEVER",
	  "with flags SENSOR: who connects there is refused by all services so long",
	  &kind_deny, AT(deny_time), 0, 0, NULL, 0 },
	{ "timeout", "duration above 0", "none", "longest life of a child; then TERM to its process group",
	  &kind_duration, AT(timeout), 1, 0, NULL, 0 },
	{ "kill_after", "duration", "5s", "time between TERM and KILL",
	  &kind_duration, AT(kill_after), 0, 0, NULL, 0 },
	{ "idle_timeout", "duration above 0", "none; 60s for a UDP session",
	  "end a child, a session or a relay over whose connection nothing has moved so long",
	  &kind_duration, AT(idle_timeout), 1, 0, NULL, 0 },
	{ "hangup", "ignore or kill", "ignore", "what to do when the client is gone (not on a half close)",
	  &kind_choice, AT(hangup), 0, 0, hangup_words, 0 },
	{ "linger", "duration or no", "2s", "how long the end of a connection waits for the client's",
	  &kind_linger, AT(linger), 0, 0, NULL, 0 },
	{ "backlog", "number from 1 to 2147483647", "the kernel's maximum", "connections that wait to be accepted",
	  &kind_bytes, AT(sock.backlog), 1, INT32_MAX, NULL, 0 },
	{ "sndbuf", "size from 1 to 1023M", "the kernel's", "send buffer of the listener's connections, bytes",
	  &kind_bytes, AT(sock.sndbuf), 1, INT32_MAX / 2, NULL, 0 },
	{ "rcvbuf", "size from 1 to 1023M", "the kernel's", "receive buffer of the listener's connections, bytes",
	  &kind_bytes, AT(sock.rcvbuf), 1, INT32_MAX / 2, NULL, 0 },
	{ "mode", "octal number up to 777", "666 less the umask", "mode of the path of a UNIX socket or FIFO",
	  &kind_octal, AT(sock.mode), 0, 0777, NULL, ATTR_ENTRY },
	{ "owner", "user, user:group or :group", "the server's", "owner of the path of a UNIX socket or FIFO",
	  &kind_name, AT(owner), 0, 0, NULL, ATTR_FREE | ATTR_ENTRY },
	{ "lookup", "yes or no", "no", "find and confirm the peer's name for REMOTE_HOST and the log",
	  &kind_bool, AT(lookup), 0, 0, no_yes, 0 },
	{ "log_format", "text or json", "text", "form of the log lines",
	  &kind_choice, AT(json), 0, 0, format_words, 0 },
	{ "log_type", "SYSLOG facility [level], FILE /path [soft [hard]], STDERR or SERVER", "SERVER",
	  "where lines about the service go; with += to several places; SERVER is the server's own log",
	  &kind_log, AT(log), 0, 0, NULL, ATTR_FREE | ATTR_LIST | ATTR_ONCE },
	{ "log_tag", "word", "the program's name", "name under which lines go to syslog",
	  &kind_name, AT(log_tag), 0, 0, NULL, ATTR_FREE },
	{ "banner", "absolute path", "none", "file sent to every connection first",
	  &kind_path, AT(banner.path), 0, 0, NULL, ATTR_FREE },
	{ "banner_success", "absolute path", "none", "file sent to connections that are served",
	  &kind_path, AT(banner_success.path), 0, 0, NULL, ATTR_FREE },
	{ "banner_fail", "absolute path", "none", "file sent to connections that are refused",
	  &kind_path, AT(banner_fail.path), 0, 0, NULL, ATTR_FREE },
	{ "log_on_success", "PID HOST USERID EXIT DURATION TRAFFIC PORT CONN CPU MAXRSS BYTES", "PID HOST EXIT DURATION",
	  "what START and EXIT lines tell; nothing: no such lines",
	  &kind_record, AT(on_success), 0, ON_SUCCESS, record_words, ATTR_LIST | ATTR_EMPTY | ATTR_EACH },
	{ "log_on_failure", "HOST USERID ATTEMPT PORT", "HOST", "what FAIL lines tell; nothing: no such lines",
	  &kind_record, AT(on_failure), 0, ON_FAILURE, record_words, ATTR_LIST | ATTR_EMPTY | ATTR_EACH },
	{ "libwrap", "name", "none", "no hosts.allow is read; only_from and no_access say who may come",
	  &kind_ignored, 0, 0, 0, NULL, ATTR_TABLE | ATTR_NO_EFFECT },
	{ "mdns", "yes or no", "no", "services are not announced",
	  &kind_ignored, 0, 0, 0, NULL, ATTR_TABLE | ATTR_NO_EFFECT },
};

const size_t nattrs = sizeof attrs / sizeof attrs[0];

_Static_assert(sizeof attrs / sizeof attrs[0] <= 128, "service.given has 128 bits");

void
attr_remark(attr_note *note, void *arg, const char *of, int word, const char *fmt, ...)
{
	struct err e;
	char text[sizeof e.text];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)err_set(&e, "%s", text);
	(void)err_at(&e, of, word);
	note(arg, &e);
}

const struct attr *
attr_find(const char *name)
{
	for (size_t i = 0; i < nattrs; i++) {
		if ((attrs[i].name[0] | 0x20) == (name[0] | 0x20) && strcasecmp(attrs[i].name, name) == 0)
			return &attrs[i] - ((attrs[i].flags & ATTR_ALIAS) != 0);
	}
	return NULL;
}

const char *
attr_nearest(const char *name)
{
	size_t best = strlen(name) / 3 + 1;
	const char *found = NULL;

	for (size_t i = 0; i < nattrs; i++)
		if (str_nearer(name, attrs[i].name, &best))
			found = attrs[i].name;
	return found;
}

const char *
attr_nearest_choice(const struct attr *a, const char *word)
{
	size_t best = strlen(word) / 3 + 1;
	const char *found = NULL;

	if (a->kind == &kind_bool)
		return NULL;	/* `on` is nearer to `no` than to what is meant */
	for (size_t i = 0; a->choice != NULL && a->choice[i] != NULL; i++)
		if (str_nearer(word, a->choice[i], &best))
			found = a->choice[i];
	return found != NULL && strcasecmp(found, word) != 0 ? found : NULL;
}

bool
attr_given(const struct service *s, const char *name)
{
	size_t i = (size_t)(attr_find(name) - attrs);

	return (s->given[i / 64] >> i % 64 & 1) != 0;
}

bool
attr_own(const struct service *s, const char *name)
{
	size_t i = (size_t)(attr_find(name) - attrs);

	return (s->own[i / 64] >> i % 64 & 1) != 0;
}

void
attr_give(struct service *s, const char *name)
{
	size_t i = (size_t)(attr_find(name) - attrs);

	s->given[i / 64] |= UINT64_C(1) << i % 64;
}

void
attr_forget(struct service *s, const char *name)
{
	size_t i = (size_t)(attr_find(name) - attrs);

	s->given[i / 64] &= ~(UINT64_C(1) << i % 64);
}

int
attr_set(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	size_t i = (size_t)(a - attrs);
	int rc;

	if (v->op != ATTR_SET && (a->flags & ATTR_LIST) == 0)
		rc = err_set(err, "%s takes = only: it has one value, not a list", a->name);
	else if (v->n == 0 && ((a->flags & ATTR_EMPTY) == 0 || v->op != ATTR_SET))
		rc = err_set(err, "%s has no value; it takes %s", a->name, a->form);
	else
		rc = a->kind->set(s, a, v, err);
	if (rc == -1 && err->of == NULL)
		err->of = a->name;
	if (rc == 0 && (a->flags & ATTR_NO_EFFECT) == 0) {
		s->given[i / 64] |= UINT64_C(1) << i % 64;
		s->own[i / 64] |= UINT64_C(1) << i % 64;
	}
	return rc;
}

int
attr_unknown(const char *name, struct err *err)
{
	const char *near = attr_nearest(name);

	if (near != NULL)
		return err_set(err, "%s: there is no such attribute; did you mean %s?", name, near);
	return err_set(err, "%s: there is no such attribute; --attributes lists them", name);
}

const struct attr *
attr_of_option(const char *option, enum attr_op *op, struct err *err)
{
	const char *eq = strchr(option, '=');
	const struct attr *a;
	char name[64];
	size_t n;

	*op = ATTR_SET;
	if (eq == NULL || eq == option) {
		(void)err_set(err, "%s: not an assignment; write ATTR=VALUE", option);
		return NULL;
	}
	n = (size_t)(eq - option);
	if (option[n - 1] == '+' || option[n - 1] == '-')
		*op = option[--n] == '+' ? ATTR_ADD : ATTR_REMOVE;
	while (n > 0 && option[n - 1] == ' ')
		n--;
	if (n >= sizeof name)
		n = sizeof name - 1;
	memcpy(name, option, n);
	name[n] = '\0';
	a = attr_find(name);
	if (a == NULL)
		(void)attr_unknown(name, err);
	return a;
}

int
attr_set_option(struct service *s, const char *option, attr_note *note, void *arg, struct err *err)
{
	struct setting v = { .note = note, .arg = arg };
	const char *eq = strchr(option, '='), *why, *line[2] = { NULL, NULL };
	const struct attr *a = attr_of_option(option, &v.op, err);
	char **split;
	int rc;

	if (a == NULL)
		return -1;
	if (a->flags & ATTR_LINE) {
		line[0] = eq + 1;
		v.word = line;
		v.n = 1;
		return attr_set(s, a, &v, err);
	}
	split = str_split(eq + 1, (a->flags & ATTR_SHELL) != 0, &v.n, &why);
	if (split == NULL)
		return why != NULL ? err_set(err, "%s: %s", a->name, why) : err_sys(err, ENOMEM, "%s", a->name);
	v.word = (const char *const *)split;
	rc = attr_set(s, a, &v, err);
	free(split);
	return rc;
}
