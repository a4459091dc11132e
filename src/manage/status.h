#ifndef MANAGE_STATUS_H
#define MANAGE_STATUS_H
#include "manage/services.h"
struct status { const struct engine *engine; const struct services *services; int64_t started; const char *phase; uint64_t reloads; const char *version; };
bool status_text(const struct status *s, const char *service, struct buf *out);
bool status_json(const struct status *s, const char *service, struct buf *out);
#endif
