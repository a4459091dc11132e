/* value: what the kinds of value have in common. For values.c, values_list.c and values_run.c. */
#ifndef TABLE_VALUE_H
#define TABLE_VALUE_H

#include "table/values.h"

/* The attribute's field in a service. */
void *value_field(struct service *s, const struct attr *a);
const void *value_field_of(const struct service *s, const struct attr *a);

/* That word is not a value of the attribute; is not in its list; there is no memory. Always -1. */
int value_fault(struct err *err, size_t word, const struct attr *a, const char *is);
int value_absent(struct err *err, size_t word, const struct attr *a, const char *is);
int value_no_memory(const struct attr *a, struct err *err);

/* Is it one word? -1: err. */
int value_one(const struct setting *v, const struct attr *a, struct err *err);

/* Which of the row's words is it? False: none. */
bool value_choose(const struct attr *a, const char *word, unsigned *out);

/* One word that is kept; one of printing characters; several. */
int value_set_text(struct service *s, const struct attr *a, const struct setting *v, struct err *err);
int value_set_name(struct service *s, const struct attr *a, const struct setting *v, struct err *err);
int value_set_words(struct service *s, const struct attr *a, const struct setting *v, struct err *err);
void value_print_text(struct buf *b, const struct service *s, const struct attr *a);
void value_print_words(struct buf *b, const struct service *s, const struct attr *a);

#endif
