/*
 * fuzz: lines as a command line, the first as the name the program was started under: it is taken, or answered,
 * or refused with a reason; nothing is done, nothing is lost, and what is said are lines of printing characters.
 */
#include <getopt.h>

#include "manage/names.h"
#include "table/account.h"
#include "table/table.h"

#include "fuzz.h"
#include "quiet.h"

enum { WORDS = 40 };

static struct account *accounts;
static const struct master none = { .accounts = &accounts };

/* Lines on standard error are ours, and printing; that of no text at all only if it was `given`. */
static void
check_said(const char *said, size_t n, bool given)
{
	const char *end = said + n;

	for (const char *line = said; line < end;) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));

		CHECK(eol != NULL && strncmp(line, "server: ", 8) == 0);
		for (const char *p = line; p < eol; p++)
			CHECK(*p >= 0x20 && *p < 0x7f);
		CHECK(given || memmem(line, (size_t)(eol - line), "(null)", 6) == NULL);
		line = eol + 1;
	}
}

static void
check_taken(const struct options *o, int argc, bool other)
{
	struct err err = { .text = "" };

	CHECK(o->nattr <= (size_t)argc + 2 && o->ntables <= (size_t)argc + 2 && o->nwords <= (size_t)argc);
	CHECK(o->ready >= -1 && o->level >= LEVEL_ERR && o->level <= LEVEL_DEBUG && o->program != NULL);
	for (size_t i = 0; i < o->nattr; i++)
		CHECK(o->attr[i] != NULL);
	for (size_t i = 0; i < o->ntables; i++)
		CHECK(o->table[i] != NULL);
	for (size_t i = 0; i < o->nwords; i++)
		CHECK(o->word[i] != NULL);
	if (other) {
		CHECK(o->ntables > 0 && o->must <= o->ntables && o->nwords == 0 && o->stays && o->npresets > 0);
		CHECK(table_try_options(&none, (char *const *)o->preset, o->npresets, &err) == 0);
	}
	if (table_try_options(&none, o->attr, o->nattr, &err) == -1)
		CHECK(err.text[0] != '\0' && (!other || o->nattr > 0));
	accounts_free(&accounts);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = exact_text(data, size), *argv[WORDS + 1], *at = text, *out = NULL, *said = NULL;
	FILE *was[2] = { stdout, stderr }, *to[2];
	size_t nout, nsaid;
	struct options o;
	bool other, resumes;
	int argc = 0, rc;

	while (at != NULL && argc < WORDS && size > 0) {
		argv[argc++] = at;
		at = strchr(at, '\n');
		if (at != NULL)
			*at++ = '\0';
	}
	argv[argc] = NULL;
	resumes = size % 2 == 1;
	to[0] = open_memstream(&out, &nout);
	to[1] = open_memstream(&said, &nsaid);
	CHECK(to[0] != NULL && to[1] != NULL);
	other = names_other(argv);
	optind = 0;		/* from the beginning again */
	stdout = to[0];
	stderr = to[1];
	rc = (other ? names_read : options_read)(&o, argc, argv, resumes);
	stdout = was[0];
	stderr = was[1];
	(void)fclose(to[0]);
	(void)fclose(to[1]);
	check_said(said, nsaid, memmem(data, size, "(null)", 6) != NULL);
	CHECK(rc == -1 || rc == 0 || rc == EXIT_USAGE);
	CHECK((rc == 0) == (nout > 0) && (rc != EXIT_USAGE || nsaid > 0));
	if (rc == -1)
		check_taken(&o, argc, other);
	options_free(&o);
	free(out);
	free(said);
	free(text);
	return 0;
}
