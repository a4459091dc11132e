#include "table/table.h"

#include <string.h>


static bool
is_given(const struct service *s, size_t row)
{
	return (s->given[row / 64] >> row % 64 & 1) != 0;
}

static void
dump_row(const struct service *s, const struct attr *a, struct buf *out)
{
	size_t before = out->len, had;

	buf_addf(out, "    %-15s = ", a->name);
	had = out->len;
	a->kind->print(out, s, a);
	if (out->len == had && (a->flags & ATTR_EMPTY) == 0) {
		out->len = before;	/* only words without effect were written */
		return;
	}
	if (out->len == had)
		out->len--;	/* nothing: no blank at the line's end */
	buf_add(out, "\n", 1);
}

/* Of exec and shell, server and listen the one that was said. */
static bool
is_shown(const struct service *s, const struct attr *a, size_t row)
{
	if (!is_given(s, row) || (a->flags & (ATTR_ALIAS | ATTR_NO_EFFECT)) != 0 || a->kind->print == NULL)
		return false;
	return strcmp(a->name, "disable") != 0 && strcmp(a->name, "id") != 0;
}

static void
dump_service(const struct service *s, struct buf *out)
{
	buf_addf(out, "service %s\n{\n", s->name);
	if (strcmp(s->id, s->name) != 0)
		dump_row(s, attr_find("id"), out);
	if (s->off)
		buf_addf(out, "    %-15s = yes\n", "disable");
	for (size_t i = 0; i < nattrs; i++)
		if ((attrs[i].flags & ATTR_SERVER) == 0 && is_shown(s, &attrs[i], i))
			dump_row(s, &attrs[i], out);
	buf_addf(out, "}\n");
}

void
table_dump(const struct table *t, struct buf *out)
{
	static const char *const of_server[] = { "limit", "grace", "log_format", "log_tag" };
	bool any = false;

	for (size_t i = 0; i < sizeof of_server / sizeof of_server[0]; i++) {
		const struct attr *a = attr_find(of_server[i]);

		if (!attr_given(t->defaults, a->name))
			continue;
		if (!any)
			buf_addf(out, "defaults\n{\n");
		any = true;
		dump_row(t->defaults, a, out);
	}
	if (any)
		buf_addf(out, "}\n");
	for (size_t i = 0; i < t->n; i++) {
		if (i > 0 || any)
			buf_addf(out, "\n");
		dump_service(t->item[i].service, out);
	}
}
