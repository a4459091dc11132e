/*
 * escape: texts from outside, as the formats of the status take them. What is no well-formed UTF-8
 * becomes U+FFFD, so that what is written always is.
 */
#ifndef MANAGE_ESCAPE_H
#define MANAGE_ESCAPE_H

#include "base/buf.h"

/* A JSON string with its quotes; null for NULL. */
void add_json(struct buf *b, const char *s);

/* Text in HTML, also inside of "". Characters that nobody sees or that turn the text round are not there. */
void add_html(struct buf *b, const char *s);

/* What stands between the quotes of a label in OpenMetrics. */
void add_label(struct buf *b, const char *s);

/* As the log writes it: printable ASCII. */
void add_plain(struct buf *b, const char *s);

#endif
