# make            build/server, build/serverctl and build/client
# make run        serve a sample of commands on unprivileged ports
# make test       build and run the whole test suite (fetches bats if it is not there)
# make check      what CI runs: the tests and every other check
# make fuzz T=60  the fuzz targets, so many seconds each; ALL=60 together
# make trust      the rows of tests/trust.tsv, long tests too, as a table
# make valgrind   the tests with every server under valgrind: no fault, nothing lost, no descriptor left (ARGS: test files)
# make cov        what the tests run: lines and branches (ARGS: -m by test file, -u what is missing, test files)
# make mutate     do they find a fault? mutants of the sources, tried with the tests that run their line (ARGS: -n 200 -s SEED)
# make nemesis T=3600 SEED=1    the whole server under random faults, so many seconds
# make soak N=1000000           so many connections: nothing grows, nothing is left, all is counted
# make bench      speed beside other programs      make static   with musl, one file each
# make install    to $(DESTDIR)$(PREFIX)           make clean
#
# CC CFLAGS CPPFLAGS LDFLAGS DESTDIR PREFIX SYSCONFDIR are yours.
# B=dir           another build directory (build-asan …)
# SPAWN=vfork     or fork: build with that way of starting children only
# COMPAT=1        install: the names xinetd and inetd too, as links
# SANITIZE=address,undefined
# COV=1           counted by gcov: what scripts/cov builds

CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
B ?= build
VERSION := 0.1

ours := -std=c11 -D_GNU_SOURCE -Isrc -DVERSION='"$(VERSION)"' -DSYSCONFDIR='"$(SYSCONFDIR)"' -MMD -MP
warn := -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wwrite-strings -Wpointer-arith -Wvla -Wundef
libs :=
comma := ,

# What the compiler does not know is left out.
probe = $(shell printf 'int main(void){return 0;}\n' | $(CC) $(1) -Werror -x c -o /dev/null - 2>/dev/null && echo '$(1)')
ifneq ($(COV),)
# The counters stand together, for tests/cov/counts.c. Each program has a file of its own for them.
ours += --coverage -fprofile-update=atomic -fdata-sections
$B/server $B/serverctl $B/client $B/tests/unit $B/tests/fuzz/%: libs = -D_GNU_SOURCE -DCOUNTS='"$(abspath $B)/counts/$(@F)"' \
	tests/cov/counts.c -T tests/cov/counts.ld -Wl,--wrap=__gcov_exit -lgcov
else ifeq ($(SANITIZE),)
harden := $(foreach f,-fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
	-fPIE,$(call probe,$(f)))
fortify := $(if $(findstring -O,$(CFLAGS)),$(call probe,-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3))
harden += $(filter-out -O2,$(fortify))
link := $(foreach f,-pie -Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now,$(call probe,-fPIE $(f)))
else
ours += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
link := -fsanitize=$(SANITIZE)
endif

ifeq ($(SPAWN),vfork)
ours += -DSPAWN_FORCE_VFORK
else ifeq ($(SPAWN),fork)
ours += -DSPAWN_FORCE_FORK
else ifneq ($(SPAWN),)
$(error SPAWN=$(SPAWN): not a way of starting children; vfork and fork are)
endif

lib := $(wildcard src/base/*.c src/net/*.c src/policy/*.c src/table/*.c src/child/*.c \
	src/serve/*.c src/manage/*.c)
objs := $(lib:%.c=$B/%.o)
programs := $B/server $B/serverctl $B/client

all: $(programs)

$B/server: $B/src/server.o $B/libserver.a
$B/serverctl: $B/src/serverctl.o $B/libserver.a
$B/client: $B/src/client.o $B/libserver.a
$(programs):
	$(CC) $(CFLAGS) $(LDFLAGS) $(link) -o $@ $^ $(libs)

$B/libserver.a: $(objs)
	@rm -f $@
	$(AR) rcs $@ $^

$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	$(CC) $(ours) $(warn) $(harden) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Other flags, other objects.
$B/flags: FORCE
	@mkdir -p $B
	@printf '%s\n' '$(subst ','\'',$(CC) $(ours) $(harden) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS))' | cmp -s - $@ || \
	printf '%s\n' '$(subst ','\'',$(CC) $(ours) $(harden) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS))' >$@

-include $(objs:.o=.d) $B/src/server.d $B/src/serverctl.d $B/src/client.d

static:
	$(MAKE) B=build-static CC=musl-gcc CPPFLAGS="$(CPPFLAGS) -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -dumpmachine)" \
	LDFLAGS="$(LDFLAGS) -static"

# Tools of the tests and the benchmark.
tools := $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/*.c))
$B/tests/unit $B/tests/decide: $B/tests/%: tests/%.c $B/libserver.a $B/flags
	@mkdir -p $(@D)
	$(CC) $(ours) $(warn) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(link) -o $@ $< $B/libserver.a $(libs)
$B/tests/shim: tests/shim.c $B/flags
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(warn) -O2 -fPIC -shared -o $@ $< -ldl
alone := $(if $(filter x86_64-% aarch64-%,$(shell $(CC) -dumpmachine)),-nostdlib -fno-stack-protector)
$B/tests/tiny: keep =
$B/tests/keep: keep = -DKEEP
$B/tests/tiny $B/tests/keep: tests/tiny.c $B/flags
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(warn) -O2 -Isrc -static $(alone) $(keep) -o $@ $<
$B/tests/look $B/tests/orphans $B/tests/witness: $B/tests/%: tests/%.c $B/flags
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(warn) -O2 -static -o $@ $< || $(CC) -std=c11 -D_GNU_SOURCE $(warn) -O2 -o $@ $<
$B/tests/%: tests/%.c $B/flags
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(warn) $(CFLAGS) $(LDFLAGS) -o $@ $<
# Each fuzz target without a fuzzer: it runs the inputs that it is given as files.
fuzzers := $(patsubst tests/fuzz/%.c,$B/tests/fuzz/%,$(filter-out tests/fuzz/main.c,$(wildcard tests/fuzz/*.c)))
$(fuzzers): $B/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/main.c $(wildcard tests/fuzz/*.h) $B/libserver.a $B/flags
	@mkdir -p $(@D)
	$(CC) $(filter-out -MMD -MP,$(ours)) $(warn) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(link) -o $@ $< tests/fuzz/main.c $B/libserver.a $(libs)
tools: $(tools) $(fuzzers) $B/tests/keep

run: all
	B=$B scripts/run

test: all tools
	B=$B scripts/test $(T)

check: all tools
	B=$B scripts/check

bench: all tools
	B=$B scripts/bench $(ARGS)

trust: all tools
	B=$B scripts/trust $(ARGS)

nemesis: all tools
	B=$B python3 tests/nemesis.py -t $(or $(T),3600) $(if $(SEED),-s $(SEED)) $(ARGS)

soak: all tools
	B=$B SOAK=$(or $(N),1000000) BATS_TEST_TIMEOUT=86400 FILTER=long scripts/test -f T07 tests/94-soak.bats

fuzz: all
	T=$(T) ALL=$(ALL) scripts/fuzz

valgrind: all tools
	B=$B scripts/valgrind $(ARGS)

cov:
	scripts/cov $(ARGS)

mutate:
	scripts/mutate $(ARGS)

install: all
	install -d '$(DESTDIR)$(PREFIX)/sbin' '$(DESTDIR)$(PREFIX)/bin' \
		'$(DESTDIR)$(PREFIX)/share/man/man1' \
		'$(DESTDIR)$(PREFIX)/share/man/man5' '$(DESTDIR)$(PREFIX)/share/man/man8' \
		'$(DESTDIR)$(PREFIX)/share/examples/server' '$(DESTDIR)$(PREFIX)/share/zsh/site-functions' \
		'$(DESTDIR)$(PREFIX)/share/bash-completion/completions' '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d'
	install -m 755 $B/server '$(DESTDIR)$(PREFIX)/sbin/server'
	install -m 755 $B/serverctl '$(DESTDIR)$(PREFIX)/sbin/serverctl'
	install -m 755 $B/client '$(DESTDIR)$(PREFIX)/bin/client'
	for page in server.8 serverctl.8 server.conf.5 client.1; do \
		sed 's|/usr/local/share/examples|$(PREFIX)/share/examples|g' man/$$page \
			>'$(DESTDIR)$(PREFIX)/share/man/man'$${page##*.}/$$page && \
		chmod 644 '$(DESTDIR)$(PREFIX)/share/man/man'$${page##*.}/$$page || exit; \
	done
	# Bash looks for a file of the command's name.
	for c in server serverctl client; do install -m 644 etc/completions/server.bash \
		'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/'$$c || exit 1; done
	install -m 644 etc/completions/_server '$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_server'
	install -m 644 etc/completions/*.fish '$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d'
	# The table stands beside the directory, not in it: one example shows the files of that one.
	install -m 755 etc/examples/* '$(DESTDIR)$(PREFIX)/share/examples/server'
	sed 's|/usr/local/share/examples|$(PREFIX)/share/examples|g' etc/server.conf \
		>'$(DESTDIR)$(PREFIX)/share/examples/server.conf'
	chmod 644 '$(DESTDIR)$(PREFIX)/share/examples/server.conf'
	install -m 644 etc/fail2ban/server.conf '$(DESTDIR)$(PREFIX)/share/examples/server-fail2ban.conf'
	for unit in server.service server.socket; do \
		sed 's|/usr/local/sbin|$(PREFIX)/sbin|g' etc/$$unit >'$(DESTDIR)$(PREFIX)/share/examples/'$$unit && \
		chmod 644 '$(DESTDIR)$(PREFIX)/share/examples/'$$unit || exit; \
	done
ifneq ($(COMPAT),)
	for name in xinetd inetd; do \
		ln -sf server '$(DESTDIR)$(PREFIX)/sbin/'$$name && \
		ln -sf server.8 '$(DESTDIR)$(PREFIX)/share/man/man8/'$$name.8 && \
		ln -sf server.conf.5 '$(DESTDIR)$(PREFIX)/share/man/man5/'$$name.conf.5 || exit; \
	done
endif

clean:
	rm -rf build build-*

FORCE:
.PHONY: all tools run test check trust bench nemesis soak fuzz valgrind cov mutate static install clean FORCE
.DELETE_ON_ERROR:
