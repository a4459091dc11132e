/* read: the texts of a table: files, what they include, and who may change them. */
#ifndef TABLE_READ_H
#define TABLE_READ_H

#include "table/table.h"

/* Parses all files into t->conf, which is begun for that dialect. */
void table_read_files(struct table *t, char *const *files, size_t nfiles, enum dialect dialect);

/* Takes a text that was read, and parses it unless others may change it or it is no text. */
void table_take_file(struct table *t, struct file *f, const char *path);

/* Gives back texts, entries and what was said of them. */
void table_forget_files(struct table *t);

/* Is there such a user? For conf.is_user; arg is the table. */
bool table_is_user(void *arg, const char *name);

#endif
