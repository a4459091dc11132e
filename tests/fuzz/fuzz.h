/* fuzz: what the targets share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) \
	do { \
		if (!(x)) { \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

/* A copy in memory that ends with its last byte. */
static inline void *
exactly(const void *bytes, size_t n)
{
	void *copy = calloc(1, n > 0 ? n : 1);

	CHECK(copy != NULL);
	if (n > 0)
		memcpy(copy, bytes, n);
	return copy;
}

/* The same with a NUL behind them; a text ends at the first there is. */
static inline char *
exact_text(const void *bytes, size_t n)
{
	char *copy = malloc(n + 1);

	CHECK(copy != NULL);
	if (n > 0)
		memcpy(copy, bytes, n);
	copy[n] = '\0';
	return copy;
}

/* The bytes as choices, one after the other; behind the last each is 0. */
struct feed {
	const uint8_t *at, *end;
};

static inline size_t
feed_left(const struct feed *f)
{
	return (size_t)(f->end - f->at);
}

static inline unsigned
feed_byte(struct feed *f)
{
	return f->at < f->end ? *f->at++ : 0;
}

static inline uint64_t
feed_number(struct feed *f, unsigned bytes)
{
	uint64_t n = 0;

	for (; bytes > 0; bytes--)
		n = n << 8 | feed_byte(f);
	return n;
}

/* Its length, then as many bytes; most are short. *n (may be NULL): how many. To be freed. */
static inline char *
feed_text(struct feed *f, size_t *n)
{
	size_t want = feed_byte(f);
	char *text;

	if (want >= 200)
		want = (want - 199) * 60;
	if (want > feed_left(f))
		want = feed_left(f);
	text = exact_text(f->at, want);
	f->at += want;
	if (n != NULL)
		*n = want;
	return text;
}

#endif
