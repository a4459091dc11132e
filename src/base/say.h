/* say: one line on standard error, of a program to who started it. Control bytes in it are escaped. */
#ifndef BASE_SAY_H
#define BASE_SAY_H

extern const char *say_name;	/* before each line: "server", unless the program says another */

void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
