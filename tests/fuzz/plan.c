/*
 * fuzz: a plan, from the process that reads the tables to the one that serves. Any text as a table: its plan reads
 * back, and its services have the same bytes again. Any bytes as a plan: it is one, or it is refused.
 */
#include "manage/plan.h"
#include "table/pack.h"

#include "fuzz.h"
#include "quiet.h"

static void
check_bytes(const uint8_t *data, size_t size)
{
	char *bytes = exactly(data, size);
	struct plan p;
	struct err err = { .text = "" };

	if (plan_read(&p, bytes, size, &err) == 0)
		plan_free(&p);
	else
		CHECK(err.text[0] != '\0' && p.item == NULL && p.defaults == NULL);
	free(bytes);
}

static bool
known(void *arg, uint64_t print)
{
	(void)print;
	return ++*(unsigned *)arg % 2 == 0;
}

static void
check_plan(const struct table *t, bool half)
{
	struct buf b = { 0 };
	unsigned asked = 0;
	struct plan p;
	struct err err;
	char *bytes;
	size_t on = 0;

	plan_of_table(t, half ? known : NULL, &asked, &b);
	CHECK(!b.failed);
	bytes = exactly(b.data, b.len);
	CHECK(plan_read(&p, bytes, b.len, &err) == 0);
	for (size_t i = 0; i < t->n; i++)
		on += !t->item[i].service->off;
	CHECK(p.refused != NULL || (p.on == on && p.n >= t->n && p.errors == t->diags.errors && asked == (half ? on : 0)));
	for (size_t i = 0; i < p.n; i++) {
		struct buf again = { 0 };
		const char *at;
		struct service *s;

		if (p.item[i].state != PLANNED_ON)
			continue;
		CHECK(strcmp(p.item[i].id, p.item[i].service->id) == 0);
		service_pack(p.item[i].service, false, &again);
		CHECK(!again.failed && memmem(b.data, b.len, again.data, again.len) != NULL);
		at = again.data;
		s = service_unpack(&at, again.data + again.len);
		CHECK(s != NULL && at == again.data + again.len);
		service_free(s);
		buf_free(&again);
	}
	plan_free(&p);
	for (size_t n = b.len - 1; n > b.len / 2; n -= b.len / 8)
		CHECK(plan_read(&p, bytes, n, &err) == -1);
	free(bytes);
	buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *env[] = { (char *)(uintptr_t)"TZ=UTC", NULL };
	const struct master m = { .cwd = "/", .env = env, .blind = true, .first_port = 1024, .umask = 022 };
	struct table t;

	if (size > 0 && (data[0] < '\t' || data[0] > 0x7e)) {
		check_bytes(data + 1, size - 1);
		return 0;
	}
	table_read_text(&t, &m, (const char *)data, size);
	check_plan(&t, false);
	check_plan(&t, true);
	table_free(&t);
	return 0;
}
