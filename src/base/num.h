/* num: text to bounded numbers, sizes and durations. No locale, no sign but where said, no overflow. */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only, all of the text, min..max. False: not that; *out stays as it was. */
bool num_parse(const char *s, uint64_t min, uint64_t max, uint64_t *out);

/* The same with an optional leading minus or plus. */
bool num_parse_signed(const char *s, int64_t min, int64_t max, int64_t *out);

/* Octal digits only, at most max. */
bool num_parse_octal(const char *s, unsigned max, unsigned *out);

/* A size in bytes: digits and an optional K, M or G (powers of 1024, either case). */
bool num_parse_size(const char *s, uint64_t max, uint64_t *out);

/*
 * A duration in milliseconds: digits with an optional fraction, then ms, s, m, h or d.
 * A bare number is in `unit` milliseconds.
 */
bool num_parse_duration(const char *s, int64_t unit, int64_t max, int64_t *out);

/* Writes a duration as num_parse_duration reads it ("1500ms", "30s", "2h"). Returns buf. */
char *num_print_duration(int64_t ms, char *buf, size_t size);

#endif
