/* look: where am I? Static, so that it runs in an empty root: prints its directory and what / holds. */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

int
main(void)
{
	char cwd[4096];
	DIR *d = opendir("/");

	if (getcwd(cwd, sizeof cwd) == NULL || d == NULL)
		return 1;
	(void)puts(cwd);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		if (e->d_name[0] != '.')
			(void)puts(e->d_name);
	return closedir(d);
}
