#include "table/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/num.h"
#include "net/addr.h"
#include "net/where.h"

/* What is run, where it listens, where it logs. */

/* Two programs in one service are an error at the second. */
static int
second_program(const struct service *s, const struct attr *a, struct err *err)
{
	if (s->exec.n == 0 && s->server == NULL && s->redirect.n == 0)
		return 0;
	return err_set(err, "%s: the service already has a command; give one of exec, shell, server and "
	    "redirect", a->name);
}

static int
set_exec(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (second_program(s, a, err) == -1)
		return -1;
	for (size_t i = 0; i < v->n; i++)
		if (words_add(&s->exec, v->word[i]) == -1)
			return value_no_memory(a, err);
	return 0;
}

/* Words as a shell reads them: in '…' where they must be. */
static void
print_exec(struct buf *b, const struct service *s, const struct attr *a)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_";

	(void)a;
	for (size_t i = 0; i < s->exec.n; i++) {
		const char *w = s->exec.word[i];

		if (i > 0)
			buf_add(b, " ", 1);
		if (w[0] != '\0' && w[strspn(w, safe)] == '\0') {
			buf_add(b, w, strlen(w));
			continue;
		}
		buf_add(b, "'", 1);
		for (; *w != '\0'; w++) {
			if (*w == '\'')
				buf_add(b, "'\\''", 4);
			else
				buf_add(b, w, 1);
		}
		buf_add(b, "'", 1);
	}
}

static int
set_shell(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	static const char *const sh[] = { "/bin/sh", "-c" };

	if (second_program(s, a, err) == -1)
		return -1;
	if (v->word[0][strspn(v->word[0], " \t")] == '\0')
		return err_set(err, "%s is empty; it takes %s", a->name, a->form);
	s->shell = true;
	if (words_add(&s->exec, sh[0]) == -1 || words_add(&s->exec, sh[1]) == -1 ||
	    words_add(&s->exec, v->word[0]) == -1 || words_add(&s->exec, "sh") == -1)
		return value_no_memory(a, err);
	return 0;
}

static void
print_shell(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	if (s->exec.n > 2)
		buf_add(b, s->exec.word[2], strlen(s->exec.word[2]));
}

/* A path, or a name that is searched for along PATH. */
static int
set_server(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (second_program(s, a, err) == -1)
		return -1;
	if (v->n == 1 && v->word[0][0] != '/' && strchr(v->word[0], '/') != NULL)
		return value_fault(err, 0, a, v->word[0]);
	return value_set_text(s, a, v, err);
}

/* HOST PORT, or an ADDRESS to connect to. */
static int
set_target(struct service *s, const struct setting *v, struct err *err)
{
	const char *host = v->word[0];
	char text[WHERE_HOST + 64];
	struct where to;
	struct ip ip;
	int rc = 0;

	if (v->n == 1)
		(void)snprintf(text, sizeof text, "%s", host);
	else if (strncmp(host, "tcp:", 4) == 0 || strlen(host) >= WHERE_HOST || strlen(v->word[1]) >= 32)
		return err_set(err, "redirect %s: either HOST PORT or one ADDRESS", host);
	else
		(void)snprintf(text, sizeof text, ip_parse(host, &ip) && !ip_is_v4(&ip) ? "tcp:[%s]:%s" :
		    "tcp:%s:%s", host, v->word[1]);
	if (strlen(text) + 1 == sizeof text)
		return err_set(err, "redirect: the address is too long");
	if (where_parse(&to, text, err) == -1)
		return -1;
	if (to.type != SOCK_STREAM || to.scheme == SCHEME_FD || to.scheme == SCHEME_FIFO)
		rc = err_set(err, "redirect: %s takes no connections; tcp, unix and vsock do", text);
	else if (to.scheme == SCHEME_UNIX && to.host[0] != '/' && to.host[0] != '@')
		rc = err_set(err, "redirect %s: the path must begin with /", text);
	else if (to.scheme != SCHEME_UNIX && to.port == 0)
		rc = err_set(err, "redirect: nobody can be reached at port 0");
	else if (to.iface[0] != '\0' && !(ip_parse(to.host, &ip) && ip.b[0] == 0xfe && (ip.b[1] & 0xc0) == 0x80))
		rc = err_set(err, "redirect %s: only a link-local address (fe80::) needs an interface", text);
	if (rc == -1) {
		where_free(&to);
		return -1;
	}
	if (s->target == NULL && (s->target = calloc(1, sizeof *s->target)) == NULL) {
		where_free(&to);
		return err_sys(err, ENOMEM, "redirect");
	}
	where_free(s->target);
	*s->target = to;
	return 0;
}

static int
set_redirect(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (second_program(s, a, err) == -1)
		return -1;
	if (v->n > 2)
		return err_set(err, "redirect takes two words (%s), not %zu", a->form, v->n);
	if (v->n < 2 && strchr(v->word[0], ':') == NULL)
		return err_set(err, "redirect: a port is missing behind the host; it takes %s", a->form);
	if (set_target(s, v, err) == -1)
		return err_at(err, a->name, v->n == 2 ? 1 : 0);
	return value_set_words(s, a, v, err);
}

static int
set_port(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (value_one(v, a, err) == -1)
		return -1;
	if (isdigit((unsigned char)v->word[0][0]) && !num_parse(v->word[0], 0, 65535, &n)) {
		(void)err_set(err, "%s is no port; ports go from 0 to 65535", v->word[0]);
		return err_at(err, a->name, 0);
	}
	return value_set_name(s, a, v, err);
}

/* N or N-M */
static int
set_range(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct number_range r;
	char first[16] = "";
	const char *dash;
	uint64_t n;

	if (value_one(v, a, err) == -1)
		return -1;
	dash = strchr(v->word[0], '-');
	if (dash != NULL && (size_t)(dash - v->word[0]) < sizeof first)
		memcpy(first, v->word[0], (size_t)(dash - v->word[0]));
	if (!num_parse(dash != NULL ? first : v->word[0], 0, UINT32_MAX, &n))
		return value_fault(err, 0, a, v->word[0]);
	r.from = r.to = (unsigned)n;
	if (dash != NULL) {
		if (!num_parse(dash + 1, r.from, UINT32_MAX, &n))
			return value_fault(err, 0, a, v->word[0]);
		r.to = (unsigned)n;
	}
	*(struct number_range *)value_field(s, a) = r;
	return 0;
}

enum { MINUTE = 60 * SECOND };

static int
set_deny(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	int64_t ms;

	if (value_one(v, a, err) == -1)
		return -1;
	if (strcasecmp(v->word[0], "forever") == 0)
		s->deny_time = FOREVER;
	else if (strcasecmp(v->word[0], "never") == 0)
		s->deny_time = 0;
	else if (!num_parse_duration(v->word[0], MINUTE, INT64_C(60) * 24 * 36500 * MINUTE, &ms))
		return value_fault(err, 0, a, v->word[0]);
	else
		s->deny_time = (unsigned)((ms + MINUTE - 1) / MINUTE);
	return 0;
}

static const char *const facilities[] = { "kern", "user", "mail", "daemon", "auth", "syslog", "lpr",
	"news", "uucp", "cron", "authpriv", "ftp", "", "", "", "", "local0", "local1", "local2", "local3",
	"local4", "local5", "local6", "local7", NULL };
static const char *const levels[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info",
	"debug", NULL };

static int
syslog_word(const char *const *words, const struct setting *v, size_t i, const struct attr *a,
    int16_t *out, struct err *err)
{
	for (int16_t n = 0; words[n] != NULL; n++) {
		if (words[n][0] != '\0' && strcasecmp(words[n], v->word[i]) == 0) {
			*out = n;
			return 0;
		}
	}
	(void)err_set(err, "\"%s\" is not a %s of syslog; it is one of %s", v->word[i],
	    words == levels ? "level" : "facility",
	    words == levels ? "emerg alert crit err warning notice info debug" :
	    "daemon auth authpriv user mail lpr news uucp ftp cron local0 to local7");
	return err_at(err, a->name, (int)i);
}

/* One place; its path is borrowed from the words. */
static int
read_log(struct log_to *l, const struct attr *a, const struct setting *v, struct err *err)
{
	const char *kind = v->word[0];

	*l = (struct log_to){ .level = 6 };
	if (strcasecmp(kind, "server") == 0 && v->n == 1) {
		l->kind = LOG_MASTER;
	} else if (strcasecmp(kind, "stderr") == 0 && v->n == 1) {
		l->kind = LOG_STDERR;
	} else if (strcasecmp(kind, "syslog") == 0 && (v->n == 2 || v->n == 3)) {
		l->kind = LOG_SYSLOG;
		if (syslog_word(facilities, v, 1, a, &l->facility, err) == -1 ||
		    (v->n == 3 && syslog_word(levels, v, 2, a, &l->level, err) == -1))
			return -1;
	} else if (strcasecmp(kind, "file") == 0 && v->n >= 2 && v->n <= 4) {
		l->kind = LOG_FILE;
		l->path = (char *)(uintptr_t)v->word[1];
		if (v->word[1][0] != '/')
			return value_fault(err, 1, a, v->word[1]);
		if (v->n > 2 && (!num_parse_size(v->word[2], INT64_MAX, &l->soft) || l->soft == 0))
			return value_fault(err, 2, a, v->word[2]);
		if (v->n == 3) {	/* one in a hundred more, at least 5 KiB, at most 20 */
			uint64_t more = l->soft / 100;

			l->hard = l->soft + (more < 5120 ? 5120 : more > 20480 ? 20480 : more);
		}
		if (v->n == 4 && (!num_parse_size(v->word[3], INT64_MAX, &l->hard) || l->hard < l->soft))
			return value_fault(err, 3, a, v->word[3]);
	} else if (strcasecmp(kind, "syslog") == 0 || strcasecmp(kind, "file") == 0 ||
	    strcasecmp(kind, "stderr") == 0 || strcasecmp(kind, "server") == 0) {
		return err_set(err, "log_type takes %s", a->form);
	} else {
		return value_fault(err, 0, a, kind);
	}
	return 0;
}

/* The same place, if with another level or other limits? */
static bool
same_place(const struct log_to *a, const struct log_to *b)
{
	if (a->path != NULL && b->path != NULL)
		return strcmp(a->path, b->path) == 0;
	return a->kind == b->kind && (a->kind != LOG_SYSLOG || a->facility == b->facility);
}

/* A place that is in the list already is as it was said last. */
static int
add_log(struct logs *l, const struct log_to *new)
{
	char *path = new->path != NULL ? strdup(new->path) : NULL;
	struct log_to *to;
	size_t i = 0;

	if (new->path != NULL && path == NULL)
		return -1;
	while (i < l->n && !same_place(&l->to[i], new))
		i++;
	if (i == l->n) {
		to = realloc(l->to, (l->n + 1) * sizeof *to);
		if (to == NULL) {
			free(path);
			return -1;
		}
		l->to = to;
		l->to[l->n++] = (struct log_to){ 0 };
	}
	free(l->to[i].path);
	l->to[i] = *new;
	l->to[i].path = path;
	return 0;
}

static int
remove_log(struct logs *l, const struct log_to *what)
{
	size_t i = 0;

	while (i < l->n && !same_place(&l->to[i], what))
		i++;
	if (i == l->n)
		return -1;
	free(l->to[i].path);
	memmove(&l->to[i], &l->to[i + 1], (--l->n - i) * sizeof *l->to);
	return 0;
}

static int
set_log(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct log_to new;

	if (read_log(&new, a, v, err) == -1)
		return -1;
	if (v->op == ATTR_REMOVE)
		return remove_log(&s->log, &new) == 0 ? 0 : value_absent(err, v->n > 1, a, v->word[v->n > 1]);
	if (v->op == ATTR_SET)
		logs_free(&s->log);
	/* None means the server's own: what is added is added to that. */
	else if (s->log.n == 0 && add_log(&s->log, &(struct log_to){ .kind = LOG_MASTER }) == -1)
		return value_no_memory(a, err);
	return add_log(&s->log, &new) == 0 ? 0 : value_no_memory(a, err);
}

static void
print_place(struct buf *b, const struct log_to *l)
{
	switch (l->kind) {
	case LOG_MASTER:
		buf_addf(b, "SERVER");
		break;
	case LOG_STDERR:
		buf_addf(b, "STDERR");
		break;
	case LOG_SYSLOG:
		buf_addf(b, "SYSLOG %s %s", facilities[l->facility], levels[l->level]);
		break;
	case LOG_FILE:
		buf_addf(b, "FILE ");
		word_print(b, l->path);
		if (l->soft != 0)
			buf_addf(b, " %" PRIu64 " %" PRIu64, l->soft, l->hard);
		break;
	}
}

/* Each place behind the first is an assignment of its own. */
static void
print_log(struct buf *b, const struct service *s, const struct attr *a)
{
	if (s->log.n == 0)
		buf_addf(b, "SERVER");
	for (size_t i = 0; i < s->log.n; i++) {
		if (i > 0)
			buf_addf(b, "\n    %-14s += ", a->name);
		print_place(b, &s->log.to[i]);
	}
}

static void
print_range(struct buf *b, const struct service *s, const struct attr *a)
{
	const struct number_range *r = value_field_of(s, a);

	buf_addf(b, r->from == r->to ? "%u" : "%u-%u", r->from, r->to);
}

static void
print_deny(struct buf *b, const struct service *s, const struct attr *a)
{
	(void)a;
	if (s->deny_time == FOREVER || s->deny_time == 0)
		buf_addf(b, s->deny_time == 0 ? "NEVER" : "FOREVER");
	else
		buf_addf(b, "%u", s->deny_time);
}

const struct kind kind_exec = { set_exec, print_exec }, kind_shell = { set_shell, print_shell },
    kind_server = { set_server, value_print_text },
    kind_redirect = { set_redirect, value_print_words },
    kind_port = { set_port, value_print_text }, kind_range = { set_range, print_range },
    kind_deny = { set_deny, print_deny }, kind_log = { set_log, print_log };
