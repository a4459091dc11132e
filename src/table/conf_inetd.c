#include "table/conf_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "base/str.h"

static const char *const sockets[] = { "stream", "dgram", "seqpacket", "raw", "rdm" };

static bool
starts_with(const char *text, const char *with)
{
	return strncasecmp(text, with, strlen(with)) == 0;
}

bool
conf_socket_word(const char *word)
{
	size_t n = strcspn(word, ",:");

	for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++)
		if (strlen(sockets[i]) == n && strncasecmp(word, sockets[i], n) == 0)
			return true;
	return false;
}

static bool
wait_word(const char *word)
{
	size_t n = strcspn(word, "./:");

	return (n == 4 && strncasecmp(word, "wait", 4) == 0) ||
	    (n == 6 && strncasecmp(word, "nowait", 6) == 0) || (n == 2 && strncasecmp(word, "no", 2) == 0);
}

bool
conf_line_whole(const struct word *w, size_t n)
{
	return n >= 5 && conf_socket_word(w[1].text) && wait_word(w[3].text);
}

/* --- giving attributes */

void
line_fault(struct line *l, const struct word *w, const char *hint, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	conf_error(l->c, l->in, w, hint, "%s", text);
	l->e->faulty = true;
}

static void
give_words(struct line *l, const char *attr, enum attr_op op, const struct word *at,
    const struct word *words, size_t n)
{
	struct assign *a = conf_assign(l->c, l->e, attr_find(attr), op, at, words, n);

	if (a != NULL)
		a->field = true;
}

/* One word that stands at `at` in the table. */
void
line_give(struct line *l, const char *attr, const struct word *at, const char *text)
{
	struct word w = *at;

	w.text = arena_text(&l->c->arena, text, strlen(text));
	if (w.text == NULL) {
		l->c->no_memory = true;
		return;
	}
	give_words(l, attr, ATTR_SET, &w, &w, 1);
}

void
line_give_text(struct line *l, const char *attr, const struct word *at, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	line_give(l, attr, at, text);
}

/* --- the fields */

/* stream, dgram ...; NetBSD's ,N is the most children at once, :FILTER is not known here. */
static void
take_socket(struct line *l)
{
	const struct word *w = &l->socket;
	size_t n = strcspn(w->text, ",:"), end;
	const char *near = NULL;
	uint64_t most;

	l->dgram = n == 5 && strncasecmp(w->text, "dgram", 5) == 0;
	if (!conf_socket_word(w->text)) {
		for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++)
			if (str_distance(w->text, sockets[i]) <= 2)
				near = sockets[i];
		line_fault(l, w, conf_meant(l->c, near), "\"%s\" is no socket type: stream, dgram, seqpacket, raw or rdm",
		    w->text);
		return;
	}
	if (w->text[n] == ',') {
		struct word part;

		end = n + 1 + strcspn(w->text + n + 1, ":");
		part = conf_part(l->c, w, n + 1, end - n - 1);
		if (!num_parse(part.text, 0, 1000000, &most))
			line_fault(l, &part, NULL, "\"%s\" is no number of children", part.text);
		else if (most > 0)
			line_give(l, "instances", &part, part.text);
		n = end;
	}
	if (w->text[n] == ':') {
		struct word part = conf_part(l->c, w, n + 1, strlen(w->text) - n - 1);

		conf_warn(l->c, l->in, &part, NULL, "accept filters are not known here; connections are taken at once");
	}
}

/* ,sndbuf=N ,rcvbuf=N behind the protocol. */
static void
take_buffers(struct line *l, size_t from)
{
	const char *text = l->proto.text;

	for (int i = 0; text[from] == ','; i++) {
		size_t n = strcspn(text + from + 1, ",");
		struct word part = conf_part(l->c, &l->proto, from + 1, n);

		if (i == 2) {
			line_fault(l, &part, NULL, "\"%s\": one sndbuf=SIZE and one rcvbuf=SIZE stand here, not more", part.text);
			return;
		}
		if (starts_with(part.text, "sndbuf=") || starts_with(part.text, "rcvbuf=")) {
			struct word value = conf_part(l->c, &part, 7, n - 7);
			char name[7];

			memcpy(name, starts_with(part.text, "s") ? "sndbuf" : "rcvbuf", 7);
			line_give(l, name, &value, value.text);
		} else {
			line_fault(l, &part, NULL, "\"%s\": only sndbuf=SIZE and rcvbuf=SIZE stand here", part.text);
		}
		from += 1 + n;
	}
}

/* The protocol with its family. */
static void
take_proto(struct line *l)
{
	static const struct { const char *name, *scheme, *bsd; bool dgram; } protos[] = {
		{ "tcp", "tcp", "tcp4", false }, { "tcp4", "tcp4", "tcp4", false },
		{ "tcp6", "tcp6", "tcp6", false }, { "tcp46", "tcp", "tcp", false },
		{ "tcp64", "tcp", "tcp", false }, { "tcp6only", "tcp6", "tcp6", false },
		{ "udp", "udp", "udp4", true }, { "udp4", "udp4", "udp4", true },
		{ "udp6", "udp6", "udp6", true }, { "udp46", "udp", "udp", true },
		{ "udp64", "udp", "udp", true }, { "udp6only", "udp6", "udp6", true },
	};
	struct word w = conf_part(l->c, &l->proto, 0, strcspn(l->proto.text, ","));

	if (starts_with(w.text, "rpc/")) {
		l->rpc = true;
		w = conf_part(l->c, &w, 4, strlen(w.text) - 4);
	}
	if (starts_with(w.text, "faith/") || strchr(w.text, '/') != NULL) {
		line_fault(l, &w, NULL, "\"%s\": FAITH and T/TCP are no more; tcp, udp, with 4, 6 or 46", w.text);
		return;
	}
	take_buffers(l, strcspn(l->proto.text, ","));
	if (strcasecmp(w.text, "unix") == 0 && !l->rpc) {
		l->local = true;
		return;
	}
	for (size_t i = 0; i < sizeof protos / sizeof protos[0]; i++) {
		if (strcasecmp(w.text, protos[i].name) != 0)
			continue;
		l->scheme = l->c->dialect == DIALECT_BSD ? protos[i].bsd : protos[i].scheme;
		if (l->socket.text == NULL)
			l->dgram = protos[i].dgram;
		else if (protos[i].dgram != l->dgram || starts_with(l->socket.text, "raw") ||
		    starts_with(l->socket.text, "rdm") || starts_with(l->socket.text, "seqpacket"))
			line_fault(l, &w, NULL, "%.*s and %s do not go together: stream and tcp, dgram and udp do",
			    (int)strcspn(l->socket.text, ",:"), l->socket.text, w.text);
		return;
	}
	line_fault(l, &w, NULL, "\"%s\" is no protocol that is served: tcp, udp, with 4, 6 or 46, rpc/... or unix", w.text);
}

/* wait, nowait; .N and :N starts a minute; FreeBSD's /children[/a minute for one[/children for one]]. */
static void
take_wait(struct line *l)
{
	static const char *const attr[] = { "instances", "source_cps", "per_source" };
	const char *text = l->wait.text;
	size_t n = strcspn(text, "./:");
	uint64_t number;

	if (!wait_word(text)) {
		line_fault(l, &l->wait, conf_meant(l->c, str_distance(text, "nowait") <= 2 ? "nowait" :
		    str_distance(text, "wait") <= 2 ? "wait" : NULL),
		    "\"%s\": wait or nowait is expected here", text);
		return;
	}
	if (n == 2)
		conf_warn(l->c, l->in, &l->wait, "write nowait", "\"%s\" is read as nowait", text);
	line_give(l, "wait", &l->wait, n == 4 ? "yes" : "no");
	if (text[n] == '.' || text[n] == ':') {
		struct word part = conf_part(l->c, &l->wait, n + 1, strlen(text) - n - 1);

		if (!num_parse(part.text, 0, 1000000, &number))
			line_fault(l, &part, NULL, "\"%s\" is no number of starts a minute", part.text);
		else if (number > 0)
			line_give_text(l, "cps", &part, "%u/1m", (unsigned)number);
		return;
	}
	for (int i = 0; text[n] == '/'; i++) {
		size_t len = strcspn(text + n + 1, "/");
		struct word part = conf_part(l->c, &l->wait, n + 1, len);

		if (i == 3 || !num_parse(part.text, 0, 32767, &number)) {
			line_fault(l, &part, NULL, "\"%s\": behind wait or nowait stand at most three numbers up to 32767: "
			    "/children/starts a minute for one address/children for one address", part.text);
			return;
		}
		if (number > 0 && i == 1)
			line_give_text(l, attr[i], &part, "%u/1m", (unsigned)number);
		else if (number > 0)
			line_give(l, attr[i], &part, part.text);
		n += 1 + len;
	}
}

/* Where the group begins in a user's word: at the first colon, else at a dot; its length: nowhere. */
static size_t
group_at(const struct conf *c, const char *text)
{
	size_t len = strlen(text), at = strcspn(text, ":"), last = len;
	char name[256];

	if (c->is_user != NULL && strchr(text, '.') != NULL && c->is_user(c->arg, text))
		return len;		/* the whole is a user's name */
	if (at < len || len >= sizeof name)
		return at;
	/* A dot may belong to the name: the last one behind a user that there is. */
	for (size_t i = len; i-- > 0;) {
		if (text[i] != '.')
			continue;
		last = last == len ? i : last;
		memcpy(name, text, i);
		name[i] = '\0';
		if (c->is_user != NULL && c->is_user(c->arg, name))
			return i;
	}
	return last;
}

/* user, user:group, user.group, and FreeBSD's /login-class. */
static void
take_user(struct line *l)
{
	struct word w = l->user;
	const char *slash = strrchr(w.text, '/');
	size_t at, len;

	if (w.text[0] == '/') {
		line_fault(l, &w, "SERVICE SOCKET-TYPE PROTOCOL wait|nowait USER PROGRAM [ARG...]",
		    "\"%s\" is no user; is the user missing before the program?", w.text);
		return;
	}
	if (slash != NULL) {
		struct word class;

		at = (size_t)(slash - w.text);
		class = conf_part(l->c, &w, at + 1, strlen(slash + 1));
		conf_warn(l->c, l->in, &class, NULL, "login classes are not known here; rlimit_* and nice do their work");
		w = conf_part(l->c, &w, 0, at);
	}
	at = group_at(l->c, w.text);
	len = strlen(w.text);
	if (at < len) {
		struct word group = conf_part(l->c, &w, at + 1, len - at - 1);

		w = conf_part(l->c, &w, 0, at);
		if (group.text[0] == '\0')
			line_fault(l, &group, NULL, "no group behind the user");
		else
			line_give(l, "group", &group, group.text);
	}
	if (w.text[0] == '\0')
		line_fault(l, &w, NULL, "no user before the group");
	else
		line_give(l, "user", &w, w.text);
}

static void
take_program(struct line *l)
{
	if (l->program.text == NULL || strcasecmp(l->program.text, "internal") == 0) {
		l->inside = true;
		if (l->program.text != NULL && l->nargs > 1)
			conf_warn(l->c, l->in, &l->arg[1], NULL, "words behind internal are not used here");
		line_give(l, "type", l->program.text != NULL ? &l->program : &l->service, "INTERNAL");
		return;
	}
	line_give(l, "server", &l->program, l->program.text);
	if (l->nargs == 0)
		return;
	if (l->arg[0].text[0] == '-')
		conf_warn(l->c, l->in, &l->arg[0], NULL, "the first word behind the program is the name it is "
		    "called by (argv[0]), and this looks like an option");
	give_words(l, "flags", ATTR_ADD, &l->arg[0],
	    &(struct word){ .text = "NAMEINARGS", .at = l->arg[0].at, .line = l->arg[0].line,
	    .col = l->arg[0].col }, 1);
	give_words(l, "server_args", ATTR_SET, &l->arg[0], l->arg, l->nargs);
}

/* :user:group:mode:/path, or a path. */
static void
take_path(struct line *l)
{
	struct word w = l->service, part[3] = { { .text = NULL } };
	const char *scheme = l->dgram ? "unix-dgram" : starts_with(l->socket.text, "seqpacket") ?
	    "unix-seqpacket" : "unix";
	size_t at = 1;
	unsigned mode;

	if (starts_with(l->socket.text, "raw") || starts_with(l->socket.text, "rdm")) {
		line_fault(l, &l->socket, NULL, "%.3s and unix do not go together: stream, dgram and seqpacket do",
		    l->socket.text);
		return;
	}
	if (w.text[0] == ':') {
		for (int i = 0; i < 3; i++) {
			size_t n = strcspn(w.text + at, ":");

			if (w.text[at + n] == '\0') {
				line_fault(l, &w, NULL, "\"%s\": a UNIX socket is written :user:group:mode:/path", w.text);
				return;
			}
			part[i] = conf_part(l->c, &w, at, n);
			at += n + 1;
		}
		w = conf_part(l->c, &w, at, strlen(w.text) - at);
		if (part[0].text[0] != '\0' || part[1].text[0] != '\0')
			line_give_text(l, "owner", &part[0], "%s%s%s", part[0].text, part[1].text[0] != '\0' ? ":" : "",
			    part[1].text);
		if (part[2].text[0] != '\0') {
			if (num_parse_octal(part[2].text, 0777, &mode))
				line_give(l, "mode", &part[2], part[2].text);
			else
				line_fault(l, &part[2], NULL, "\"%s\" is no mode: an octal number up to 777", part[2].text);
		}
	}
	if (w.text[0] != '/') {
		line_fault(l, &w, NULL, "\"%s\": a UNIX socket needs an absolute path", w.text);
		return;
	}
	line_give_text(l, "listen", &w, "%s:%s", scheme, w.text);
	l->service = conf_part(l->c, &w, (size_t)(str_basename(w.text) - w.text), strlen(str_basename(w.text)));
}

void
line_split_address(struct line *l, struct word *addresses)
{
	const char *colon = strrchr(l->service.text, ':');
	size_t n;

	if (colon == NULL)
		return;
	n = (size_t)(colon - l->service.text);
	*addresses = conf_part(l->c, &l->service, 0, n);
	l->addresses = addresses;
	l->service = conf_part(l->c, &l->service, n + 1, strlen(colon + 1));
	if (l->service.text[0] == '\0')
		line_fault(l, &l->service, NULL, "no service behind the address");
}

/* NAME/VERSION[-VERSION] */
static void
take_rpc(struct line *l)
{
	struct word version, addresses;
	const char *slash;
	size_t n;

	line_split_address(l, &addresses);
	if (l->addresses != NULL && l->addresses->text[0] != '\0' && strcmp(l->addresses->text, "*") != 0) {
		const struct word *at = l->addresses->line > 0 ? l->addresses : &l->service;
		const char *text = l->addresses->text;

		n = strlen(text);
		if (strchr(text, ',') != NULL)
			line_fault(l, at, NULL, "\"%s\": an RPC service listens on one address, or on every one", text);
		else if (text[0] == '[' && text[n - 1] == ']')
			line_give_text(l, "bind", at, "%.*s", (int)n - 2, text + 1);
		else
			line_give(l, "bind", at, text);
	}
	slash = strchr(l->service.text, '/');
	n = slash != NULL ? (size_t)(slash - l->service.text) : 0;
	line_give(l, "type", &l->proto, "RPC");
	line_give_text(l, "socket_type", &l->socket, "%.*s", (int)strcspn(l->socket.text, ",:"), l->socket.text);
	if (l->scheme != NULL)
		line_give(l, "protocol", &l->proto, l->scheme);
	if (slash == NULL) {
		line_fault(l, &l->service, NULL, "\"%s\": an RPC service is written NAME/VERSION or NAME/FROM-TO",
		    l->service.text);
		return;
	}
	version = conf_part(l->c, &l->service, n + 1, strlen(slash + 1));
	line_give(l, "rpc_version", &version, version.text);
	l->service = conf_part(l->c, &l->service, 0, n);
}

/* One of the addresses with the service behind it, as listen takes it. False: told. */
static bool
listen_word(struct line *l, const struct word *address, struct word *out)
{
	const char *host = address != NULL && address->text[0] != '\0' ? address->text : "*";
	bool v6 = strchr(host, ':') != NULL && host[0] != '[';
	char text[600];

	/* One that stands in no line is the command line's. */
	*out = address != NULL && address->line > 0 ? *address : l->service;
	(void)snprintf(text, sizeof text, "%s:%s%s%s:%s", l->scheme, v6 ? "[" : "", host, v6 ? "]" : "",
	    l->service.text);
	out->text = arena_text(&l->c->arena, text, strlen(text));
	if (out->text == NULL)
		l->c->no_memory = true;
	return out->text != NULL;
}

static void
give_listen(struct line *l)
{
	const struct word *a = l->addresses;
	struct word out[64];
	size_t n = 0, at = 0;

	if (l->scheme == NULL)
		return;		/* the protocol is at fault, and said */
	if (a == NULL || a->text[0] == '\0') {
		if (listen_word(l, NULL, &out[0]))
			give_words(l, "listen", ATTR_SET, &l->service, out, 1);
		return;
	}
	for (;;) {
		size_t len = strcspn(a->text + at, ",");
		struct word w = conf_part(l->c, a, at, len);

		if (len == 0 || n == sizeof out / sizeof out[0]) {
			line_fault(l, &w, NULL, len == 0 ? "an address is missing beside the comma" : "too many addresses");
			return;
		}
		if (!listen_word(l, &w, &out[n++]))
			return;
		at += len;
		if (a->text[at++] == '\0')
			break;
	}
	give_words(l, "listen", ATTR_SET, &l->service, out, n);
}

static void
take_service(struct line *l)
{
	struct word addresses;

	if (l->local) {
		take_path(l);
	} else if (l->rpc) {
		take_rpc(l);
	} else if (starts_with(l->service.text, "tcpmux/")) {
		size_t plus = l->service.text[7] == '+';

		if (l->dgram)
			line_fault(l, &l->proto, NULL, "%s: tcpmux leads to connections, not to datagrams", l->service.text);
		line_give(l, "type", &l->service, plus ? "TCPMUXPLUS" : "TCPMUX");
		l->service = conf_part(l->c, &l->service, 7 + plus, strlen(l->service.text) - 7 - plus);
	} else {
		if (l->service.text[0] == '/' || (l->service.text[0] == ':' && strchr(l->service.text, '/') != NULL)) {
			line_fault(l, &l->proto, NULL, "%s: a path is served with the protocol unix", l->service.text);
			return;
		}
		line_split_address(l, &addresses);
		give_listen(l);
	}
	l->e->name = l->service;
}

void
line_finish(struct line *l)
{
	if (l->socket.text != NULL)
		take_socket(l);
	take_proto(l);
	if (l->socket.text == NULL)
		l->socket = (struct word){ .text = l->dgram ? "dgram" : "stream", .at = l->proto.at,
			.line = l->proto.line, .col = l->proto.col };
	take_service(l);
	if (l->wait.text != NULL)
		take_wait(l);
	if (l->user.text != NULL)
		take_user(l);
	if (l->group.text != NULL)
		line_give(l, "group", &l->group, l->group.text);
	take_program(l);
}

void
conf_line(struct conf *c, struct lex *lex)
{
	static const char *const missing[] = { "", "", "the protocol", "wait or nowait", "the user",
		"the program" };
	const struct word *w = lex->word;
	struct line l = { .c = c, .in = lex->in, .addresses = c->address, .service = w[0] };

	l.e = conf_entry(c, lex->in, ENTRY_LINE, &w[0]);
	if (l.e == NULL)
		return;
	if (lex->n < 6) {
		struct word end = w[lex->n - 1];

		line_fault(&l, &end, "SERVICE SOCKET-TYPE PROTOCOL wait|nowait USER PROGRAM [ARG...]",
		    "too few fields: %s is missing behind this", missing[lex->n]);
		return;
	}
	if (lex->comment.text != NULL)
		conf_warn(c, lex->in, &lex->comment, NULL, "a comment from here on; inetd takes it for arguments of "
		    "the program");
	l.socket = w[1];
	l.proto = w[2];
	l.wait = w[3];
	l.user = w[4];
	l.program = w[5];
	l.arg = w + 6;
	l.nargs = lex->n - 6;
	line_finish(&l);
}
