/*
 * err: one sentence and its cause, carried up by value.
 *
 * A function that can fail for a reason a person should read takes a struct err *, writes one
 * sentence without a full stop or a newline, and returns -1 or NULL. It does not log.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

struct err {
	const char *of;	/* the attribute at fault, a constant; NULL: none or not known */
	int word;	/* which word of its value is the faulty one, from 0; -1: all of it */
	const char *at;	/* the same, of a list, by its text, which lives on; NULL: not known so */
	bool fault;	/* of a remark: it is none, but a fault beside others */
	bool absent;	/* what was to be taken away is not there; another list may have it */
	int system;	/* errno, where the system refused; 0 where the input is wrong */
	char text[400];
};

/* Writes the sentence. Always -1, so that a caller can return it. */
int err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, followed by ": " and the system's reason for errnum. Always -1. */
int err_sys(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Says what it is about. Always -1. */
int err_at(struct err *e, const char *of, int word);

#endif
