/* values: how each kind of value is read into a service and printed from it. */
#ifndef TABLE_VALUES_H
#define TABLE_VALUES_H

#include "table/attr.h"

/* What the `min` of a kind_rlimit says. */
enum { RLIMIT_IN_BYTES, RLIMIT_IN_NUMBERS, RLIMIT_IN_SECONDS };

extern const struct kind kind_number, kind_nice, kind_octal, kind_bytes, kind_duration, kind_linger,
    kind_choice, kind_bool, kind_flags, kind_record, kind_text, kind_name, kind_path,
    kind_words, kind_env, kind_passenv, kind_rlimit, kind_rate, kind_prefix, kind_load, kind_rules,
    kind_times, kind_listen, kind_exec, kind_shell, kind_log, kind_range, kind_redirect, kind_deny,
    kind_ignored, kind_port, kind_type, kind_server;

enum { IDLE_FLAGS = 8 };	/* the words of `flags` from this one on have no effect */

/* Writes a word so that a block reads it back: in "…" where it must be. */
void word_print(struct buf *b, const char *word);

#endif
