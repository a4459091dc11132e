/* buf: a growing run of bytes. When there is no memory it keeps what it has and says so once. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;	/* owned; NULL: empty */
	size_t len, size;
	bool failed;	/* something did not fit: the content is not whole */
};

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_text(struct buf *b, const char *s);
void buf_number(struct buf *b, uint64_t n);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_cut(struct buf *b, size_t n);	/* takes n bytes away from the front */
void buf_free(struct buf *b);

#endif
