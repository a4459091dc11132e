/*
 * stand: stands where the server's program was, for the tests of upgrades. In a check (SERVER_CHECK) it does
 * what the file `mode` says; else it becomes $STAND_REAL at once.
 *
 * gate      makes `come`, and becomes $STAND_REAL when `go` exists
 * late      becomes $STAND_REAL in the check; in the run it does what gate does
 * hang      makes `come`, says nothing and does not end
 * daemon    leaves a process behind, its pid in `left`, that keeps what it has
 * endless   says y for ever                     large    claims a plan, and sends more than that
 * segv      ends by a signal                    silent   exits 0 without a word
 * garbage   bytes of all kinds                  word     the word, and no plan
 * short     the word, and half of the plan
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
say(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(1, text, len);

		if (n <= 0)
			_exit(1);
		text += n;
		len -= (size_t)n;
	}
}

static void
say_bytes(void)
{
	char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)(255 - i);
	say(all, sizeof all);
}

static int
is(const char *mode, const char *what)
{
	return strcmp(mode, what) == 0;
}

static void
wait_for(const char *file)
{
	while (access(file, F_OK) == -1)
		(void)usleep(5000);
}

int
main(int argc, char **argv)
{
	static char lots[65536];
	char mode[32] = "", *real = getenv("STAND_REAL");
	FILE *f = fopen("mode", "r");

	(void)argc;
	if (f != NULL) {
		(void)!fscanf(f, "%31s", mode);
		(void)fclose(f);
	}
	if (is(mode, getenv("SERVER_CHECK") != NULL ? "gate" : "late")) {
		(void)close(open("come", O_CREAT | O_WRONLY, 0600));
		wait_for("go");
	}
	if (getenv("SERVER_CHECK") != NULL) {
		if (is(mode, "hang")) {
			(void)close(open("come", O_CREAT | O_WRONLY, 0600));
			for (;;)
				(void)pause();
		} else if (is(mode, "daemon")) {
			pid_t left = fork();

			if (left == 0 && setsid() != -1)
				for (;;)
					(void)pause();
			f = fopen("left", "w");
			if (f != NULL && fprintf(f, "%d\n", (int)left) > 0)
				(void)fclose(f);
			_exit(0);
		} else if (is(mode, "endless")) {
			for (size_t i = 0; i < sizeof lots; i += 2)
				memcpy(lots + i, "y\n", 2);
			for (;;)
				say(lots, sizeof lots);
		} else if (is(mode, "large")) {
			say("\001sound 1000\n", 12);
			for (;;)
				say(lots, sizeof lots);
		} else if (is(mode, "segv")) {
			(void)raise(SIGSEGV);
		} else if (is(mode, "silent")) {
			_exit(0);
		} else if (is(mode, "garbage")) {
			say_bytes();
			_exit(0);
		} else if (is(mode, "word")) {
			say("\001sound 0\n", 9);
			_exit(0);
		} else if (is(mode, "short")) {
			say("\001sound 1000\n", 12);
			say(lots, 500);
			_exit(0);
		}
	}
	if (real != NULL)
		(void)execv(real, argv);
	perror("stand");
	return 1;
}
