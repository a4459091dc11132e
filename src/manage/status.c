#include "manage/status.h"
bool status_text(const struct status *s, const char *service, struct buf *out) { (void)service; buf_addf(out, "%s\n", s->phase); return true; }
bool status_json(const struct status *s, const char *service, struct buf *out) { (void)service; buf_addf(out, "{}\n"); (void)s; return true; }
