#include "table/environ.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "table/account.h"
#include "table/attr.h"

/* What the master says of a connection: nothing from outside may pass for it. */
static const char *const of_connection[] = {
	"PROTO", "TCPLOCALIP", "TCPLOCALPORT", "TCPLOCALHOST", "TCPREMOTEIP", "TCPREMOTEPORT",
	"TCPREMOTEHOST", "TCPREMOTEINFO", "UDPLOCALIP", "UDPLOCALPORT", "UDPREMOTEIP", "UDPREMOTEPORT",
	"UDPREMOTEHOST", "UDPREMOTEINFO", "REMOTE_HOST", "REMOTE_ADDR", "REMOTE_PORT", "UNIXREMOTEEUID",
	"UNIXREMOTEEGID", "UNIXREMOTEPID", "UNIXLOCALPATH", "SERVICE", "CONNECTION", "LISTEN_FDS",
	"LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID",
};

static size_t
name_len(const char *variable)
{
	return strcspn(variable, "=");
}

static bool
is(const char *variable, const char *name)
{
	size_t n = name_len(variable);

	return strncmp(variable, name, n) == 0 && name[n] == '\0';
}

bool
environ_of_connection(const char *variable)
{
	for (size_t i = 0; i < sizeof of_connection / sizeof of_connection[0]; i++)
		if (is(variable, of_connection[i]))
			return true;
	return false;
}

/* The master's own business with whoever started it. */
static bool
of_master(const char *variable)
{
	return strncmp(variable, "LISTEN_", 7) == 0 || strncmp(variable, "WATCHDOG_", 9) == 0 ||
	    is(variable, "NOTIFY_SOCKET");
}

/* What `*` in passenv does not mean: names that turn a command into another one. */
static bool
dangerous(const char *variable)
{
	return strncmp(variable, "LD_", 3) == 0 || is(variable, "BASH_ENV") || is(variable, "ENV") ||
	    is(variable, "IFS");
}

static bool
passes(const struct service *s, const char *variable)
{
	if (of_master(variable) || environ_of_connection(variable))
		return false;
	if (!s->table && !attr_given(s, "passenv"))
		return true;	/* one-command form: the caller's own environment */
	for (size_t i = 0; i < s->passenv.n; i++) {
		if (strcmp(s->passenv.word[i], "*") == 0 ? !dangerous(variable) :
		    is(variable, s->passenv.word[i]))
			return true;
	}
	return is(variable, "TZ") || is(variable, "LANG");
}

static const char *
find(char *const *env, const char *name)
{
	for (; *env != NULL; env++)
		if (is(*env, name))
			return *env + strlen(name) + 1;
	return NULL;
}

const char *
environ_search_path(const struct service *s, char *const *env)
{
	const char *path = find(env, "PATH");

	return path != NULL && passes(s, "PATH") ? path : SAFE_PATH;
}

/* Puts NAME=VALUE in, over one of the same name. Takes `variable`, also on failure. */
static int
put(struct environment *r, char *variable)
{
	char **p;

	if (variable == NULL)
		return -1;
	for (size_t i = 0; i < r->n; i++) {
		size_t n = name_len(variable);

		if (strncmp(r->var[i], variable, n) == 0 && r->var[i][n] == '=') {
			free(r->var[i]);
			r->var[i] = variable;
			return 0;
		}
	}
	p = realloc(r->var, (r->n + 2) * sizeof *p);
	if (p == NULL) {
		free(variable);
		return -1;
	}
	r->var = p;
	p[r->n++] = variable;
	p[r->n] = NULL;		/* pack takes it with the rest */
	return 0;
}

static char *
join(const char *name, const char *value)
{
	size_t n = strlen(name), m = strlen(value);
	char *p = malloc(n + m + 2);

	if (p == NULL)
		return NULL;
	memcpy(p, name, n);
	p[n] = '=';
	memcpy(p + n + 1, value, m);
	p[n + 1 + m] = '\0';
	return p;
}

int
environ_make(struct service *s, const struct account *user, char *const *env, struct err *err)
{
	const struct { const char *name, *value; } of_user[] = {
		{ "HOME", user != NULL ? user->home : NULL }, { "USER", user != NULL ? user->login : NULL },
		{ "LOGNAME", user != NULL ? user->login : NULL }, { "SHELL", user != NULL ? user->sh : NULL },
	};
	struct environment *r = calloc(1, sizeof *r);
	int rc = 0;

	if (r == NULL)
		return err_sys(err, ENOMEM, "env");
	r->refs = 1;
	s->run.env = r;
	if (s->table || attr_given(s, "passenv"))	/* the master's, if there is one and it passes, comes over it */
		rc |= put(r, strdup("PATH=" SAFE_PATH));
	for (; *env != NULL; env++)
		if (strchr(*env, '=') != NULL && passes(s, *env))
			rc |= put(r, strdup(*env));
	for (size_t i = 0; i < sizeof of_user / sizeof of_user[0]; i++)
		if (of_user[i].value != NULL)
			rc |= put(r, join(of_user[i].name, of_user[i].value));
	for (size_t i = 0; i < s->env.n; i++)
		if (!environ_of_connection(s->env.word[i]))
			rc |= put(r, strdup(s->env.word[i]));
	return rc == 0 ? 0 : err_sys(err, ENOMEM, "env");
}
