/*
 * put: texts and numbers one after the other into a fixed place. For what is written at every
 * connection (environment, log lines, addresses), where printf(3)'s formats cost more than the rest.
 */
#ifndef BASE_PUT_H
#define BASE_PUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct put {
	char *at;	/* borrowed; NULL with size 0: only counts */
	size_t used;	/* above size: so much would be needed, and the rest is not there */
	size_t size;
};

void put_bytes(struct put *p, const char *s, size_t len);
void put_text(struct put *p, const char *s);
void put_char(struct put *p, char c);
void put_number(struct put *p, uint64_t n);
void put_signed(struct put *p, int64_t n);
/* At least `width` digits, with zeros in front. */
void put_padded(struct put *p, uint64_t n, unsigned width);
/* str_escape's form of it, cut at a whole escape `spare` bytes before the end. */
void put_escaped(struct put *p, const char *s, size_t len, size_t spare);

#endif
