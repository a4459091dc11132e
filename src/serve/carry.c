#include "serve/carry.h"

#include "serve/datagram.h"
#include "serve/job.h"

/* The form of the records, where they hold what has no name: counted up when that changes. */
#ifndef CARRY_FORM
#define CARRY_FORM 1
#endif

/* Records, and the datagrams between master and worker, hold these as they are in memory. */
static const struct { const char *name; int64_t is; } forms[] = {
	{ "form", CARRY_FORM }, { "peer_size", sizeof(struct peer) }, { "inbound_size", sizeof(struct inbound) },
	{ "addr_size", sizeof(struct addr) }, { "job_size", sizeof(struct job) }, { "report_size", sizeof(struct report) },
};

enum { FORMS = sizeof forms / sizeof forms[0] };

void
carry_form(const struct engine *e, struct buf *out)
{
	state_begin(out, "engine");
	state_number(out, "next_conn", (int64_t)e->next_conn);
	state_number(out, "burials", e->burials);
	for (size_t i = 0; i < FORMS; i++)
		state_number(out, forms[i].name, forms[i].is);
	state_end(out);
}

int
carry_look(const struct fact *r, struct err *err)
{
	for (size_t i = 0; i < FORMS; i++)
		if (state_get(r, forms[i].name, 0) != forms[i].is)
			return err_set(err, "this program keeps connections in another form than the one that runs (%s %lld, "
			    "not %lld): stop that one, then start this", forms[i].name, (long long)forms[i].is,
			    (long long)state_get(r, forms[i].name, 0));
	return 0;
}
