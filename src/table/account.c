#include "table/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"

static void
account_free(struct account *a)
{
	free(a->asked);
	free(a->home);
	free(a->login);
	free(a->sh);
	free(a->groups);
	environment_free(a->env);
	free(a);
}

void
accounts_free(struct account **list)
{
	while (*list != NULL) {
		struct account *next = (*list)->next;

		account_free(*list);
		*list = next;
	}
}

static bool
fill(struct account *a, const char *home, const char *login, const char *sh)
{
	a->home = strdup(home);
	a->login = strdup(login);
	a->sh = strdup(sh[0] != '\0' ? sh : "/bin/sh");
	return a->home != NULL && a->login != NULL && a->sh != NULL;
}

/* getpwnam(3) has many ways to tell that there is none; these are others. */
static bool
failed_now(int why)
{
	return why == EIO || why == EMFILE || why == ENFILE || why == ENOMEM;
}

struct account *
account_find(struct account **list, const char *name, struct err *err)
{
	struct account *a;
	struct passwd *pw;
	uint64_t n = 0;
	bool number, whole;

	for (a = *list; a != NULL; a = a->next)
		if (strcmp(a->asked, name) == 0)
			break;
	if (a == NULL) {
		a = calloc(1, sizeof *a);
		if (a == NULL || (a->asked = strdup(name)) == NULL) {
			free(a);
			(void)err_sys(err, ENOMEM, "user \"%s\"", name);
			return NULL;
		}
		errno = 0;
		pw = getpwnam(name);
		number = pw == NULL && num_parse(name, 0, UINT32_MAX - 1, &n);
		if (number)
			pw = getpwuid((uid_t)n);
		if (pw == NULL && failed_now(errno)) {
			(void)err_sys(err, errno, "user \"%s\" cannot be looked up", name);
			account_free(a);
			return NULL;
		}
		a->found = pw != NULL || number;
		if (pw != NULL) {
			a->uid = pw->pw_uid;
			a->gid = pw->pw_gid;
			whole = fill(a, pw->pw_dir, pw->pw_name, pw->pw_shell);
		} else {	/* a number that no one has: its group is the same number */
			a->uid = (uid_t)n;
			a->gid = (gid_t)n;
			a->nameless = true;
			whole = fill(a, "/", name, "");
		}
		if (!whole) {
			account_free(a);
			(void)err_sys(err, ENOMEM, "user \"%s\"", name);
			return NULL;
		}
		a->next = *list;
		*list = a;
	}
	if (!a->found) {
		(void)err_set(err, "user \"%s\": there is no such user", name);
		return NULL;
	}
	return a;
}

static int
ask_groups(struct account *a, struct err *err)
{
	int n = 32, had;

	for (;;) {
		gid_t *p = realloc(a->groups, (size_t)n * sizeof *p);

		if (p == NULL)
			return err_sys(err, ENOMEM, "groups");
		a->groups = p;
		had = n;
		if (getgrouplist(a->login, a->gid, p, &n) != -1)
			break;
		if (n <= had)
			n = had * 2;
		if (n > 65536)
			return err_set(err, "user \"%s\" is in more groups than can be set", a->login);
	}
	a->ngroups = (size_t)n;
	return 0;
}

int
account_groups(struct account *a, gid_t gid, gid_t **groups, size_t *n, struct err *err)
{
	gid_t *p;

	if (a->groups == NULL && (ask_groups(a, err) == -1 || a->groups == NULL))
		return -1;
	p = malloc((a->ngroups + 1) * sizeof *p);
	if (p == NULL)
		return err_sys(err, ENOMEM, "groups");
	p[0] = gid;
	*n = 1;
	for (size_t i = 0; i < a->ngroups; i++)
		if (a->groups[i] != gid && (a->groups[i] != a->gid || i > 0))
			p[(*n)++] = a->groups[i];
	*groups = p;
	return 0;
}

int
group_find(const char *name, gid_t *gid, struct err *err)
{
	struct group *gr;
	uint64_t n;

	errno = 0;
	gr = getgrnam(name);
	if (gr == NULL && failed_now(errno))
		return err_sys(err, errno, "group \"%s\" cannot be looked up", name);
	if (gr != NULL)
		*gid = gr->gr_gid;
	else if (num_parse(name, 0, UINT32_MAX - 1, &n))
		*gid = (gid_t)n;
	else
		return err_set(err, "group \"%s\": there is no such group", name);
	return 0;
}

bool
account_nearest(bool group, const char *name, char *out, size_t size)
{
	enum { ASKED_MOST = 2000 };	/* a directory may have very many */
	/* Who is advised is given rights: only a slip of the pen is mended. */
	size_t best = strlen(name) < 8 ? 1 : 2;
	bool found = false;

	(group ? setgrent : setpwent)();
	for (int i = 0; i < ASKED_MOST; i++) {
		const struct passwd *pw = group ? NULL : getpwent();
		const struct group *gr = group ? getgrent() : NULL;
		const char *is = pw != NULL ? pw->pw_name : gr != NULL ? gr->gr_name : NULL;

		if (is == NULL)
			break;
		if (!str_nearer(name, is, &best) || strlen(is) >= size)
			continue;
		memcpy(out, is, strlen(is) + 1);
		found = strcmp(is, name) != 0;
	}
	(group ? endgrent : endpwent)();
	return found;
}
