/* fuzz: any bytes as a table: parsed, made into services, dumped. No file is opened, no name asked. */
#include "table/table.h"

#include "fuzz.h"
#include "quiet.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *env[] = { NULL };
	struct master m = { .cwd = "/", .env = env, .blind = true, .first_port = 1024, .checking = true };
	struct buf first = { 0 }, second = { 0 };
	struct table t, u;

	table_read_text(&t, &m, (const char *)data, size);
	diags_print(&t.diags, false, &first);
	buf_free(&first);
	if (t.diags.errors == 0) {
		/* What is printed reads back to the same. */
		first = (struct buf){ 0 };
		table_dump(&t, &first);
		table_read_text(&u, &m, first.data, first.len);
		table_dump(&u, &second);
		if (u.diags.errors > 0 || first.len != second.len ||
		    (first.len > 0 && memcmp(first.data, second.data, first.len) != 0)) {
			diags_print(&u.diags, false, &second);
			(void)fprintf(stderr, "dumped:\n%.*s\nread back:\n%.*s\n", (int)first.len,
			    first.len > 0 ? first.data : "", (int)second.len, second.len > 0 ? second.data : "");
			abort();
		}
		table_free(&u);
	}
	table_free(&t);
	buf_free(&first);
	buf_free(&second);
	return 0;
}
