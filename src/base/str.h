/* str: words, escaping, likeness. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Splits text into words at blanks. "…" and '…' may enclose a word or a part of one; inside "…" a
 * backslash takes the next " or \ as it stands. With `shell`, a backslash outside quotes does so
 * for any character, as a shell reads a command line. Returns a NULL-terminated array in one
 * allocation (free() it) and the count in *n; NULL with *why set to a reason, or to NULL when
 * there is no memory.
 */
char **str_split(const char *text, bool shell, size_t *n, const char **why);

/*
 * Copies from..from+len into out with everything but printable ASCII, and the backslash, written
 * as \xHH, \n, \r, \t or \\. Cuts at whole escapes; always ends with NUL. Returns the length.
 */
size_t str_escape(char *out, size_t size, const char *from, size_t len);

/* The length of the well-formed UTF-8 character that begins at s (RFC 3629); 0: none does. */
size_t str_utf8(const char *s, size_t len);

/* How many letters must be put in, taken out, changed or swapped with the next to turn a into b. */
size_t str_distance(const char *a, const char *b);

/* Is `to` at most *best such steps from the word? Then *best is what still nearer ones must not exceed. */
bool str_nearer(const char *word, const char *to, size_t *best);

/* Is the word the text, or between two of its commas? Case counts for nothing. */
bool str_listed(const char *text, const char *word);

/* The last part of a path. */
const char *str_basename(const char *path);

#endif
