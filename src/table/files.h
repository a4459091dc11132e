/* files: a table's texts: reading them, whole or not at all, and who may change them. */
#ifndef TABLE_FILES_H
#define TABLE_FILES_H

#include <sys/types.h>

#include "base/err.h"
#include "table/diag.h"

/* FILE_MOST: bytes of one, and of all together. */
enum { FILE_MOST = 16 << 20, FILES_MOST = 65536, INCLUDES_DEEP = 64 };

struct file {			/* a source that was a file */
	struct source source;	/* first: they are chained by it */
	dev_t dev;
	ino_t ino;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	unsigned depth;
};

struct checked;			/* directories that were looked at */

/* Can it be read only once? Standard input, and what a shell makes of <(COMMAND). */
bool file_once(const char *path);

/*
 * Reads a file; "-" is standard input. A FIFO or a device is refused, as is what includes itself.
 * `from` is who includes it, or NULL. NULL: err; `missing` is set where there is no such file.
 */
struct file *file_read(const char *path, const struct source *from, unsigned line, bool *missing,
    struct err *err);
struct file *file_of_text(const char *name, const char *text, size_t len, struct err *err);
void file_free(struct file *f);

/*
 * Run as root: may others write the file (NULL: the path is a directory), or a directory on the way
 * to it, as it is written and as it is? 1: everyone may, 0: a user or group that is not root, with
 * the sentence in err; -1: nobody.
 */
int file_exposed(const char *path, const struct file *f, struct checked **seen, struct err *err);
void checked_free(struct checked **seen);

/*
 * The files that includedir reads, in their order, in a NULL-terminated array (free each, then it).
 * `skipped` is told the names that look like a table and are not read. NULL: err.
 */
char **files_of(const char *directory, void (*skipped)(void *arg, const char *name), void *arg,
    bool *missing, struct err *err);

/* PATH as seen from a file: in its directory, if it is relative. Owned by the caller; NULL: no memory. */
char *path_from(const struct source *from, const char *path);

#endif
