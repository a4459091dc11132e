/* page: the parts of the status for people's browsers: its style, its charts. */
#ifndef MANAGE_PAGE_H
#define MANAGE_PAGE_H

#include "base/buf.h"
#include "serve/history.h"

extern const char page_style[];

/* The last minutes as bars; for the whole server, and small, in a row. */
void page_chart(struct buf *b, const struct engine *e);
void page_spark(struct buf *b, const struct engine *e, const struct history *h);

#endif
