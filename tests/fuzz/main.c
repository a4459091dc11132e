/*
 * fuzz: a target without a fuzzer: each file given is one input. So every seed, and with them whatever was
 * found once, is tried with any compiler. On a fault the file's name is the last word.
 */
#include <signal.h>
#include <unistd.h>

#include "fuzz.h"

static const char *file;

static void
told(int sig)
{
	(void)!write(STDERR_FILENO, file, strlen(file));
	(void)!write(STDERR_FILENO, "\n", 1);
	(void)raise(sig);
}

int
main(int argc, char **argv)
{
	static const int faults[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
	static char bytes[1 << 20];
	struct sigaction sa = { .sa_handler = told, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		(void)sigaction(faults[i], &sa, NULL);
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "r");
		uint8_t *data;
		size_t n;

		if (f == NULL) {
			perror(argv[i]);
			return 2;
		}
		file = argv[i];
		n = fread(bytes, 1, sizeof bytes, f);
		(void)fclose(f);
		data = exactly(bytes, n);
		(void)alarm(20);
		(void)LLVMFuzzerTestOneInput(data, n);
		free(data);
	}
	(void)printf("%d inputs\n", argc - 1);
	return 0;
}
