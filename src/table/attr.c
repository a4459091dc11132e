#include "table/attr.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"

enum { NAME_LONGEST = 128 };

#define DAY (86400 * SECOND)
#define YEARS (36500 * DAY)	/* the longest duration */

static void *
field(struct service *s, const struct attr *a)
{
	return (char *)s + a->offset;
}

static int
fault(struct err *err, size_t word, const struct attr *a, const char *is)
{
	(void)err_set(err, "\"%s\" is not a value of %s; it takes %s", is, a->name, a->form);
	err->word = (int)word;
	return -1;
}

static int
absent(struct err *err, size_t word, const struct attr *a, const char *is)
{
	(void)err_set(err, "\"%s\" is not in the list of %s", is, a->name);
	err->word = (int)word;
	return -1;
}

static int
one(const struct setting *v, const struct attr *a, struct err *err)
{
	if (v->n == 1)
		return 0;
	(void)err_set(err, "%s takes one word (%s), not %zu", a->name, a->form, v->n);
	err->word = v->n > 1 ? 1 : -1;
	return -1;
}

static int
no_memory(const struct attr *a, struct err *err)
{
	return err_sys(err, ENOMEM, "%s", a->name);
}

/* unsigned: min..max, and UNLIMITED as UINT32_MAX where max is that. */
static int
set_number(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (a->max == UINT32_MAX && strcasecmp(v->word[0], "unlimited") == 0)
		n = UINT32_MAX;
	else if (!num_parse(v->word[0], a->min, a->max, &n))
		return fault(err, 0, a, v->word[0]);
	*(unsigned *)field(s, a) = (unsigned)n;
	return 0;
}

static int
set_nice(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	int64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_signed(v->word[0], -40, 40, &n))
		return fault(err, 0, a, v->word[0]);
	s->nice = (int)n;
	return 0;
}

static int
set_octal(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_octal(v->word[0], (unsigned)a->max, &n))
		return fault(err, 0, a, v->word[0]);
	*(unsigned *)field(s, a) = n;
	return 0;
}

static int
set_bytes(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_size(v->word[0], a->max, &n) || n < a->min)
		return fault(err, 0, a, v->word[0]);
	*(int *)field(s, a) = (int)n;
	return 0;
}

static int
set_duration(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	int64_t ms;

	if (one(v, a, err) == -1)
		return -1;
	if (!num_parse_duration(v->word[0], SECOND, YEARS, &ms) || (uint64_t)ms < a->min)
		return fault(err, 0, a, v->word[0]);
	*(int64_t *)field(s, a) = ms;
	return 0;
}

static int
set_linger(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (v->n == 1 && strcasecmp(v->word[0], "no") == 0) {
		s->linger = -1;
		return 0;
	}
	return set_duration(s, a, v, err);
}

static bool
choose(const struct attr *a, const char *word, unsigned *out)
{
	for (unsigned i = 0; a->choice[i] != NULL; i++) {
		if (strcasecmp(a->choice[i], word) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

/* An enum whose values are the places of the words. */
static int
set_choice(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (one(v, a, err) == -1)
		return -1;
	if (!choose(a, v->word[0], &n))
		return fault(err, 0, a, v->word[0]);
	*(unsigned *)field(s, a) = n;
	return 0;
}

static const char *const no_yes[] = { "no", "yes", NULL };

static int
set_bool(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned n;

	if (one(v, a, err) == -1)
		return -1;
	if (!choose(a, v->word[0], &n))
		return fault(err, 0, a, v->word[0]);
	*(bool *)field(s, a) = n == 1;
	return 0;
}

/* A set of bits, one a word. */
static int
set_bits(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	unsigned *bits = field(s, a), all = 0, n;

	for (size_t i = 0; i < v->n; i++) {
		if (!choose(a, v->word[i], &n))
			return fault(err, i, a, v->word[i]);
		all |= 1U << n;
	}
	if (v->op == ATTR_SET)
		*bits = all;
	else if (v->op == ATTR_ADD)
		*bits |= all;
	else
		*bits &= ~all;
	return 0;
}

/* log_on_success, log_on_failure: `max` says which records are possible there. */
static int
set_record(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		unsigned n;

		if (choose(a, v->word[i], &n) && (a->max & 1U << n) == 0)
			return fault(err, i, a, v->word[i]);
	}
	return set_bits(s, a, v, err);
}

static int
set_text(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	char **p = field(s, a), *copy;

	if (one(v, a, err) == -1)
		return -1;
	if (v->word[0][0] == '\0')
		return fault(err, 0, a, v->word[0]);
	copy = strdup(v->word[0]);
	if (copy == NULL)
		return no_memory(a, err);
	free(*p);
	*p = copy;
	return 0;
}

/* A name that stands in log lines and tables: one word of printing characters. */
static int
set_name(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (one(v, a, err) == -1)
		return -1;
	for (const char *p = v->word[0]; *p != '\0'; p++)
		if (!isgraph((unsigned char)*p))
			return fault(err, 0, a, v->word[0]);
	if (strlen(v->word[0]) > NAME_LONGEST)
		return err_set(err, "%s is too long: at most %d letters", a->name, NAME_LONGEST);
	return set_text(s, a, v, err);
}

static int
set_path(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (v->n == 1 && v->word[0][0] != '/')
		return fault(err, 0, a, v->word[0]);
	return set_text(s, a, v, err);
}

static int
set_words(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct words *w = field(s, a);

	if (v->op == ATTR_SET)
		words_free(w);
	for (size_t i = 0; i < v->n; i++) {
		if (v->op == ATTR_REMOVE) {
			if (!words_remove(w, v->word[i]))
				return absent(err, i, a, v->word[i]);
		} else if (words_add(w, v->word[i]) == -1) {
			return no_memory(a, err);
		}
	}
	return 0;
}

static bool
variable_name(const char *s, size_t n)
{
	if (n == 0 || isdigit((unsigned char)s[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '_')
			return false;
	return true;
}

static int
set_env(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		size_t n = strcspn(v->word[i], "=");

		if (!variable_name(v->word[i], n) || (v->word[i][n] == '\0' && v->op != ATTR_REMOVE))
			return fault(err, i, a, v->word[i]);
	}
	return set_words(s, a, v, err);
}

static int
set_passenv(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->word[i], "*") != 0 && !variable_name(v->word[i], strlen(v->word[i])))
			return fault(err, i, a, v->word[i]);
	/* Not given means everything: what is added is added to that. */
	if (v->op == ATTR_ADD && !attr_given(s, a->name) && words_add(&s->passenv, "*") == -1)
		return no_memory(a, err);
	return set_words(s, a, v, err);
}

static int
set_rlimit(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n;

	if (one(v, a, err) == -1)
		return -1;
	if (strcasecmp(v->word[0], "unlimited") == 0)
		n = RLIM_INFINITY;
	else if (a->min != 0 ? !num_parse(v->word[0], 0, a->max, &n) :
	    !num_parse_size(v->word[0], a->max, &n))
		return fault(err, 0, a, v->word[0]);
	*(rlim_t *)field(s, a) = (rlim_t)n;
	return 0;
}

static int
set_rate(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct rate *r = field(s, a), out;

	if (v->n > 2 || !rate_parse(v->word, (unsigned)v->n, &out) || (v->n == 2 && a->max == 1))
		return fault(err, 0, a, v->word[0]);
	*r = out;
	return 0;
}

static int
set_prefix(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	uint64_t n[2];

	if (v->n != 2)
		return err_set(err, "%s takes two words (%s), not %zu", a->name, a->form, v->n);
	for (size_t i = 0; i < 2; i++)
		if (!num_parse(v->word[i], 0, i == 0 ? 32 : 128, &n[i]))
			return fault(err, i, a, v->word[i]);
	s->source.v4 = (unsigned)n[0];
	s->source.v6 = (unsigned)n[1];
	return 0;
}

static int
set_load(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	char *end;
	double d;

	if (one(v, a, err) == -1)
		return -1;
	d = strtod(v->word[0], &end);
	if (!isdigit((unsigned char)v->word[0][0]) || *end != '\0' || !(d > 0) || d > 1e6)
		return fault(err, 0, a, v->word[0]);
	s->max_load = d;
	return 0;
}

/* Splits one word at its commas, but not at those in braces. */
static int
add_rules(struct rules *r, const struct attr *a, const struct setting *v, size_t i, struct err *err)
{
	char buf[512];
	const char *p = v->word[i];

	while (*p != '\0') {
		size_t n = 0;
		int depth = 0;

		for (; p[n] != '\0' && (depth > 0 || p[n] != ','); n++)
			depth += p[n] == '{' ? 1 : p[n] == '}' ? -1 : 0;
		if (n >= sizeof buf)
			return fault(err, i, a, "…");
		memcpy(buf, p, n);
		buf[n] = '\0';
		p += n + (p[n] == ',');
		if (n == 0)
			continue;
		if (v->op == ATTR_REMOVE) {
			if (!rules_remove(r, buf))
				return absent(err, i, a, buf);
		} else if (rules_add(r, buf, a->max == 1, v->note, v->arg, err) == -1) {
			err->word = (int)i;
			return -1;
		}
	}
	return 0;
}

static int
set_rules(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct rules *r = field(s, a);

	if (v->op == ATTR_SET)
		rules_free(r);
	r->given = true;
	for (size_t i = 0; i < v->n; i++)
		if (add_rules(r, a, v, i, err) == -1)
			return -1;
	return 0;
}

static int
set_times(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	struct interval *t = calloc(v->n, sizeof *t);

	if (t == NULL)
		return no_memory(a, err);
	for (size_t i = 0; i < v->n; i++) {
		if (!interval_parse(v->word[i], &t[i])) {
			free(t);
			return fault(err, i, a, v->word[i]);
		}
	}
	free(s->times);
	s->times = t;
	s->ntimes = v->n;
	return 0;
}

static int
set_listen(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	if (v->op == ATTR_SET) {
		while (s->nlisten > 0)
			free(s->listen[--s->nlisten].text);
	}
	for (size_t i = 0; i < v->n; i++) {
		struct address *p;
		struct where w;
		size_t k;

		if (where_parse(&w, v->word[i], err) == -1) {
			err->word = (int)i;
			return -1;
		}
		if (v->op == ATTR_REMOVE) {
			for (k = 0; k < s->nlisten && strcmp(s->listen[k].text, v->word[i]) != 0; k++)
				;
			if (k == s->nlisten)
				return absent(err, i, a, v->word[i]);
			free(s->listen[k].text);
			s->listen[k] = s->listen[--s->nlisten];
			continue;
		}
		p = realloc(s->listen, (s->nlisten + 1) * sizeof *p);
		if (p == NULL)
			return no_memory(a, err);
		s->listen = p;
		p[s->nlisten].where = w;
		p[s->nlisten].text = strdup(v->word[i]);
		if (p[s->nlisten].text == NULL)
			return no_memory(a, err);
		s->nlisten++;
	}
	return 0;
}

/* Both make `exec`: two programs in one service are an error at the second. */
static int
second_program(const struct service *s, const struct attr *a, struct err *err)
{
	if (s->exec.n == 0)
		return 0;
	return err_set(err, "%s: the service already has a command; give one of them", a->name);
}

static int
set_exec(struct service *s, const struct attr *a, const struct setting *v, struct err *err)
{
	const char *why;
	char **w;
	size_t n;

	if (second_program(s, a, err) == -1)
		return -1;
	w = str_split(v->word[0], true, &n, &why);
	if (w == NULL)
		return why != NULL ? err_set(err, "%s: %s", a->name, why) : no_memory(a, err);
	for (size_t i = 0; i < n; i++) {
		if (words_add(&s->exec, w[i]) == -1) {
			free(w);
			return no_memory(a, err);
		}
	}
	free(w);
	return n > 0 ? 0 : err_set(err, "%s is empty; it takes %s", a->name, a->form);
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
		return no_memory(a, err);
	return 0;
}

static const char *const stderr_words[] = { "socket", "log", "null", "inherit", NULL };
static const char *const overload_words[] = { "queue", "reject", NULL };
static const char *const hangup_words[] = { "ignore", "kill", NULL };
static const char *const format_words[] = { "text", "json", NULL };
static const char *const flag_words[] = { "NODELAY", "KEEPALIVE", "NAMEINARGS", NULL };
static const char *const record_words[] = { "PID", "HOST", "EXIT", "DURATION", "PORT", "CONN", "CPU",
	"MAXRSS", "BYTES", "ATTEMPT", NULL };

#define AT(member) offsetof(struct service, member)
#define BYTES_MOST ((uint64_t)INT64_MAX)
#define RLIMIT(word, i, form, seconds, help) \
	{ "rlimit_" word, form, "the master's", help, set_rlimit, \
	  AT(rlimit) + (i) * sizeof(rlim_t), seconds, BYTES_MOST, NULL, 0 }

enum {
	ON_SUCCESS = RECORD_PID | RECORD_HOST | RECORD_EXIT | RECORD_DURATION | RECORD_PORT |
	    RECORD_CONN | RECORD_CPU | RECORD_MAXRSS | RECORD_BYTES,
	ON_FAILURE = RECORD_HOST | RECORD_PORT | RECORD_ATTEMPT,
};

const struct attr attrs[] = {
	{ "id", "word", "the command's name", "name of the service in logs, --ready and SERVICE",
	  set_name, AT(id), 0, 0, NULL, 0 },
	{ "limit", "number or UNLIMITED", "UNLIMITED", "children of the whole server at once",
	  set_number, AT(limit), 1, UINT32_MAX, NULL, ATTR_SERVER },
	{ "grace", "duration", "8s", "how long a drain waits for the children before it ends them",
	  set_duration, AT(grace), 0, 0, NULL, ATTR_SERVER },
	{ "listen", "ADDRESS…", "ADDRESS", "where to listen",
	  set_listen, AT(listen), 0, 0, NULL, ATTR_LIST },
	{ "exec", "command line", "COMMAND", "program and arguments, quoted as for a shell, PATH searched",
	  set_exec, AT(exec), 0, 0, NULL, ATTR_LINE },
	{ "shell", "rest of the line", "none", "command line for /bin/sh -c",
	  set_shell, AT(exec), 0, 0, NULL, ATTR_LINE },
	{ "stderr", "socket, log, null or inherit", "socket", "where the command's errors go",
	  set_choice, AT(stderr_to), 0, 0, stderr_words, 0 },
	{ "directory", "absolute path", "where the server was started", "working directory of the command",
	  set_path, AT(directory), 0, 0, NULL, 0 },
	{ "chroot", "absolute path", "none", "root directory of the command",
	  set_path, AT(chroot), 0, 0, NULL, 0 },
	{ "user", "name or number", "the server's", "user that the command runs as",
	  set_name, AT(user), 0, 0, NULL, 0 },
	{ "group", "name or number", "the user's", "group that the command runs as",
	  set_name, AT(group), 0, 0, NULL, 0 },
	{ "groups", "yes or no", "yes", "with user: give the command that user's other groups too",
	  set_bool, AT(groups), 0, 0, no_yes, 0 },
	{ "umask", "octal number up to 777", "the server's", "file mode bits that the command's files lack",
	  set_octal, AT(umask), 0, 0777, NULL, 0 },
	{ "nice", "number from -40 to 40", "0", "added to the server's own niceness",
	  set_nice, AT(nice), 0, 0, NULL, 0 },
	{ "env", "NAME=value…", "none", "variables set for the command",
	  set_env, AT(env), 0, 0, NULL, ATTR_LIST | ATTR_EMPTY },
	{ "passenv", "NAME… or *", "*", "variables of the server that the command gets; * is all",
	  set_passenv, AT(passenv), 0, 0, NULL, ATTR_LIST | ATTR_EMPTY },
	RLIMIT("as", 0, "size or UNLIMITED", 0, "address space of the command, bytes"),
	RLIMIT("core", 1, "size or UNLIMITED", 0, "size of a core file, bytes"),
	RLIMIT("cpu", 2, "seconds or UNLIMITED", 1, "processor time of the command, seconds"),
	RLIMIT("data", 3, "size or UNLIMITED", 0, "data segment of the command, bytes"),
	RLIMIT("files", 4, "number or UNLIMITED", 1, "open descriptors of the command"),
	RLIMIT("fsize", 5, "size or UNLIMITED", 0, "size of a file that the command writes, bytes"),
	RLIMIT("memlock", 6, "size or UNLIMITED", 0, "memory that the command may lock, bytes"),
	RLIMIT("nproc", 7, "number or UNLIMITED", 1, "processes of the command's user"),
	RLIMIT("rss", 8, "size or UNLIMITED", 0, "resident memory of the command, bytes"),
	RLIMIT("stack", 9, "size or UNLIMITED", 0, "stack of the command, bytes"),
	{ "instances", "number or UNLIMITED", "UNLIMITED", "children of the service at once",
	  set_number, AT(instances), 0, UINT32_MAX, NULL, 0 },
	{ "per_source", "number or UNLIMITED", "UNLIMITED", "children of the service at once for one source",
	  set_number, AT(source.most), 0, UINT32_MAX, NULL, 0 },
	{ "cps", "N/DURATION, or N and seconds", "none",
	  "pace of starts; with two words: rest so long after more than N in a second",
	  set_rate, AT(cps), 0, 2, NULL, 0 },
	{ "source_cps", "N/DURATION", "none", "pace for one source; what comes faster is refused",
	  set_rate, AT(source.rate), 0, 1, NULL, 0 },
	{ "source_prefix", "IPv4 and IPv6 prefix length", "32 64", "what counts as one source",
	  set_prefix, AT(source.v4), 0, 0, NULL, 0 },
	{ "max_load", "number above 0", "none", "load average of one minute at which the service pauses",
	  set_load, AT(max_load), 0, 0, NULL, 0 },
	{ "overload", "queue or reject", "queue", "at a limit: leave connections waiting, or refuse them",
	  set_choice, AT(overload), 0, 0, overload_words, 0 },
	{ "only_from", "address…", "everyone", "who may connect; of this and no_access the longer match holds",
	  set_rules, AT(only_from), 0, 0, NULL, ATTR_LIST | ATTR_EMPTY },
	{ "no_access", "address…", "nobody", "who may not connect",
	  set_rules, AT(no_access), 0, 1, NULL, ATTR_LIST | ATTR_EMPTY },
	{ "access_times", "HH:MM-HH:MM…", "always", "when the service is open, local time; may cross midnight",
	  set_times, AT(times), 0, 0, NULL, 0 },
	{ "timeout", "duration", "none", "longest life of a child; then TERM to its process group",
	  set_duration, AT(timeout), 1, 0, NULL, 0 },
	{ "kill_after", "duration", "5s", "time between TERM and KILL",
	  set_duration, AT(kill_after), 0, 0, NULL, 0 },
	{ "idle_timeout", "duration", "none", "end a child over whose connection nothing has moved so long (TCP)",
	  set_duration, AT(idle_timeout), 1, 0, NULL, 0 },
	{ "hangup", "ignore or kill", "ignore", "what to do when the client is gone (not on a half close)",
	  set_choice, AT(hangup), 0, 0, hangup_words, 0 },
	{ "linger", "duration or no", "2s", "how long the end of a connection waits for the client's",
	  set_linger, AT(linger), 0, 0, NULL, 0 },
	{ "backlog", "number from 1", "the kernel's maximum", "connections that wait to be accepted",
	  set_bytes, AT(sock.backlog), 1, INT32_MAX, NULL, 0 },
	{ "sndbuf", "size", "the kernel's", "send buffer of the listener's connections, bytes",
	  set_bytes, AT(sock.sndbuf), 1, INT32_MAX / 2, NULL, 0 },
	{ "rcvbuf", "size", "the kernel's", "receive buffer of the listener's connections, bytes",
	  set_bytes, AT(sock.rcvbuf), 1, INT32_MAX / 2, NULL, 0 },
	{ "mode", "octal number up to 777", "666 less the umask", "mode of a UNIX socket's path",
	  set_octal, AT(sock.mode), 0, 0777, NULL, 0 },
	{ "owner", "user, user:group or :group", "the server's", "owner of a UNIX socket's path",
	  set_name, AT(owner), 0, 0, NULL, 0 },
	{ "lookup", "yes or no", "no", "find and confirm the peer's name for REMOTE_HOST and the log",
	  set_bool, AT(lookup), 0, 0, no_yes, 0 },
	{ "log_format", "text or json", "text", "form of the log lines",
	  set_choice, AT(json), 0, 0, format_words, 0 },
	{ "log_tag", "word", "the program's name", "name under which lines go to syslog",
	  set_name, AT(log_tag), 0, 0, NULL, 0 },
	{ "banner", "path", "none", "file sent to every connection first",
	  set_path, AT(banner.path), 0, 0, NULL, 0 },
	{ "banner_success", "path", "none", "file sent to connections that are served",
	  set_path, AT(banner_success.path), 0, 0, NULL, 0 },
	{ "banner_fail", "path", "none", "file sent to connections that are refused",
	  set_path, AT(banner_fail.path), 0, 0, NULL, 0 },
	{ "log_on_success", "PID HOST EXIT DURATION PORT CONN CPU MAXRSS BYTES", "PID HOST EXIT DURATION",
	  "what START and EXIT lines tell; nothing: no such lines",
	  set_record, AT(on_success), 0, ON_SUCCESS, record_words, ATTR_LIST | ATTR_EMPTY },
	{ "log_on_failure", "HOST PORT ATTEMPT", "HOST", "what FAIL lines tell; nothing: no such lines",
	  set_record, AT(on_failure), 0, ON_FAILURE, record_words, ATTR_LIST | ATTR_EMPTY },
	{ "flags", "NODELAY KEEPALIVE NAMEINARGS", "none",
	  "TCP options of the connections; NAMEINARGS: the first argument is argv[0]",
	  set_bits, AT(flags), 0, 0, flag_words, ATTR_LIST | ATTR_EMPTY },
};

const size_t nattrs = sizeof attrs / sizeof attrs[0];

_Static_assert(sizeof attrs / sizeof attrs[0] <= 64, "service.given has 64 bits");

const struct attr *
attr_find(const char *name)
{
	for (size_t i = 0; i < nattrs; i++)
		if (strcasecmp(attrs[i].name, name) == 0)
			return &attrs[i];
	return NULL;
}

const char *
attr_nearest(const char *name)
{
	size_t best = strlen(name) / 3 + 1;
	const char *found = NULL;

	for (size_t i = 0; i < nattrs; i++) {
		size_t d = str_distance(name, attrs[i].name);

		if (d <= best) {
			best = d - (d > 0);
			found = attrs[i].name;
		}
	}
	return found;
}

bool
attr_given(const struct service *s, const char *name)
{
	return (s->given >> (attr_find(name) - attrs) & 1) != 0;
}

int
attr_set(struct service *s, const struct attr *a, enum attr_op op, const char *text,
    attr_note *note, void *arg, struct err *err)
{
	struct setting v = { .op = op, .note = note, .arg = arg };
	const char *line[2] = { text, NULL }, *why;
	char **split = NULL;
	int rc;

	if (op != ATTR_SET && (a->flags & ATTR_LIST) == 0)
		return err_set(err, "%s takes = only: it has one value, not a list", a->name);
	if (a->flags & ATTR_LINE) {
		v.word = line;
		v.n = 1;
	} else {
		split = str_split(text, false, &v.n, &why);
		if (split == NULL)
			return why != NULL ? err_set(err, "%s: %s", a->name, why) : no_memory(a, err);
		v.word = (const char *const *)split;
	}
	if (v.n == 0 && ((a->flags & ATTR_EMPTY) == 0 || op != ATTR_SET))
		rc = err_set(err, "%s has no value; it takes %s", a->name, a->form);
	else
		rc = a->set(s, a, &v, err);
	if (rc == 0)
		s->given |= UINT64_C(1) << (a - attrs);
	free(split);
	return rc;
}

/* Known, and not there yet: told apart from a slip of the pen. */
static const char *const later[] = { "deny_time", "dialect", "disable", "disabled",
	"enabled", "libwrap", "log_type", "mdns", "proxy_from", "proxy_protocol", "redirect", "rpc_number",
	"rpc_version", "send_proxy", "server", "server_args", "session", "type", "v6only", "wait" };

int
attr_set_option(struct service *s, const char *option, attr_note *note, void *arg, struct err *err)
{
	const char *eq = strchr(option, '=');
	enum attr_op op = ATTR_SET;
	const struct attr *a;
	char name[64];
	size_t n;

	if (eq == NULL || eq == option)
		return err_set(err, "%s: not an assignment; write ATTR=VALUE", option);
	n = (size_t)(eq - option);
	if (option[n - 1] == '+' || option[n - 1] == '-')
		op = option[--n] == '+' ? ATTR_ADD : ATTR_REMOVE;
	while (n > 0 && option[n - 1] == ' ')
		n--;
	if (n >= sizeof name)
		n = sizeof name - 1;
	memcpy(name, option, n);
	name[n] = '\0';
	a = attr_find(name);
	for (size_t i = 0; a == NULL && i < sizeof later / sizeof later[0]; i++)
		if (strcasecmp(later[i], name) == 0)
			return err_set(err, "%s: not yet served", later[i]);
	if (a == NULL) {
		const char *near = attr_nearest(name);

		if (near != NULL)
			return err_set(err, "%s: there is no such attribute; did you mean %s?", name, near);
		return err_set(err, "%s: there is no such attribute; --attributes lists them", name);
	}
	return attr_set(s, a, op, eq + 1, note, arg, err);
}
