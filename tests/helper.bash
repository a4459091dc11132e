# What all tests share: starting servers, waiting for conditions, looking at processes.
bats_require_minimum_version 1.5.0

B=${B:-build}
case $B in /*) ;; *) B=$BATS_TEST_DIRNAME/../$B ;; esac
SERVER=$B/server SERVERCTL=$B/serverctl CLIENT=$B/client PEER=$B/tests/peer DATAGRAMS=$B/tests/datagrams

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export TEST_MARK=$BATS_TEST_TMPDIR LC_ALL=C PYTHONDONTWRITEBYTECODE=1
	LOG=$BATS_TEST_TMPDIR/log SRV=() NSRV=0
	: >"$LOG"
	exec {NAPFD}<> <(:)
	ME=$(id -un)
}

# Servers are to end well when told, and to leave nothing behind: every process of a test has
# TEST_MARK in its environment. A failed test is only cleaned up.
teardown() {
	local p left="" rc=0
	for p in ${SRV[@]+"${SRV[@]}"}; do kill -TERM "$p" 2>/dev/null || :; done
	for p in ${SRV[@]+"${SRV[@]}"}; do
		if [[ -n ${BATS_TEST_COMPLETED-} ]]; then
			if until_true 15 gone "$p"; then
				wait "$p" 2>/dev/null || { echo "server $p ended with $?"; rc=1; }
			else
				rc=1
			fi
		fi
	done
	[[ -z ${BATS_TEST_COMPLETED-} ]] || until_true 5 nobody_left || { left=$(marked); rc=1; }
	for p in $(marked) ${SRV[@]+"${SRV[@]}"}; do kill -KILL "$p" 2>/dev/null || :; done
	# scripts/cov -m: what this test ran.
	[[ -z ${COUNTS_TAKEN-} ]] || cat "$B"/counts/* | gzip -1 >"$COUNTS_TAKEN/$BATS_SUITE_TEST_NUMBER.gz"
	if grep -E 'Sanitizer|runtime error|ERROR SUMMARY: [1-9]' "$BATS_TEST_TMPDIR"/log* 2>/dev/null; then rc=1; fi
	if [[ $rc != 0 || -z ${BATS_TEST_COMPLETED-} ]]; then
		echo "left: $left"; echo "log:"; tail -n 60 "$BATS_TEST_TMPDIR"/log*
	fi
	return "$rc"
}

marked() { # processes of this test, but for this shell
	local f p
	grep -lzsxF "TEST_MARK=$BATS_TEST_TMPDIR" /proc/[0-9]*/environ | while read -r f; do
		p=${f#/proc/} p=${p%/environ}
		[[ $p == "$$" || $p == "$BASHPID" ]] || gone "$p" || echo "$p"
	done
}
nobody_left() { [[ -z $(marked) ]]; }

die() { printf '%s\n' "$@" >&2; return 1; }
requires_root() { [[ $(id -u) == 0 ]] || skip "needs root"; }
requires() { local c; for c; do command -v "$c" >/dev/null || missing "$c"; done; }
requires_tracing() {
	requires strace
	strace -o /dev/null true 2>/dev/null || skip "no tracing here"
	export LSAN_OPTIONS=detect_leaks=0	# beside a tracer it cannot
}
# A tool that CI is to install is no reason to skip there.
missing() { [[ -z ${CI-} ]] || die "missing in CI: $1"; skip "needs $1"; }

# --- starting and stopping

# start_server [options] ADDRESS COMMAND...: sets PID, PORT (of the first TCP listener), PORTS[],
# PATHS[], ADDRESSES. Its standard error goes to $LOG.
start_server() {
	local fifo=$BATS_TEST_TMPDIR/ready.$((++NSRV)) line rfd
	declare -gA PORTS=() PATHS=()
	PORT="" ADDRESSES=()
	mkfifo "$fifo"
	CTL=$PWD/ctl.$NSRV
	# shellcheck disable=SC2086
	${WRAP-} "$SERVER" ${AS_ME--o user=$ME} ${CONTROL--C ctl.$NSRV} -r 9 "$@" 9>"$fifo" </dev/null >>"$LOG" 2>&1 3>&- &
	PID=$!; SRV+=("$PID")
	exec {rfd}<"$fifo"
	while IFS= read -rt "${START_LIMIT:-10}" -u "$rfd" line; do
		# shellcheck disable=SC2086
		case $line in
		listen\ *)
			set -- $line
			ADDRESSES+=("$3")
			case $3 in
			tcp*) PORTS[$2]=${3##*:}; PORT=${PORT:-${3##*:}} ;;
			unix*) PATHS[$2]=${3#*:} ;;
			esac ;;
		ready) exec {rfd}<&-; until_true 5 is_ready "$fifo"; return ;;
		esac
	done
	exec {rfd}<&-
	die "server did not come up; its log:" "$(<"$LOG")"
}

# It has closed what it told that by, too; if it is the server itself, and not who started it.
is_ready() { [[ $(readlink "/proc/$PID/exe" 2>/dev/null) != */server || $(readlink "/proc/$PID/fd/9" 2>/dev/null) != "$1" ]]; }

# Sends a signal (TERM) to the last server and waits for its end; STATUS is its exit status.
stop_server() {
	kill -"${1:-TERM}" "$PID"
	wait_end "${2:-10}"
}
wait_end() {
	until_true "${1:-10}" gone "$PID" || return
	wait "$PID" 2>/dev/null && STATUS=0 || STATUS=$?
	SRV=("${SRV[@]/$PID}"); SRV=(${SRV[@]})
}

# --- waiting: for a condition, never for a time

nap() { read -rt "${1:-0.01}" -u "$NAPFD" || :; }
until_true() { # until_true SECONDS COMMAND...
	local limit=$1 end; shift
	end=$((${EPOCHREALTIME/[.,]/} + limit * 1000000))
	until "$@"; do
		((${EPOCHREALTIME/[.,]/} < end)) || { die "not within ${limit}s: $*"; return; }
		nap
	done
}
logged() { grep -qE -- "$1" "$LOG"; }
wait_log() { until_true "${2:-5}" logged "$1"; }
# wait_state PATTERN: asks for the state until it is so
state_is() { kill -USR1 "$PID"; logged "STATE: $1"; }
wait_state() { until_true 5 state_is "$1"; }
count_log() { grep -cE -- "$1" "$LOG" || :; }
log_has() { [[ $(count_log "$2") == "$1" ]]; }
now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# --- gates: a service that says "in" and waits for "go"

gate() {
	mkfifo "$1.in" "$1.go"
	printf '#!/bin/sh\necho in >%s/%s.in\nread -r go <%s/%s.go\necho bye\n' "$PWD" "$1" "$PWD" "$1" >"$1"
	chmod +x "$1"
}
entered() { local l; read -rt "${2:-5}" l <>"$1.in"; }
open_gate() { echo go >"$1.go"; }

# --- processes, without ps

stat_field() {
	local s
	{ s=$(<"/proc/$1/stat"); } 2>/dev/null || return
	s=${s##*) }
	# shellcheck disable=SC2086
	set -- "$2" $s
	shift $(($1 - 2))
	echo "$1"
}
children() { local c; { c=$(<"/proc/$1/task/$1/children"); } 2>/dev/null || return 0; echo $c; }
has_children() { local c; read -ra c <<<"$(children "${2:-$PID}")"; ((${#c[@]} == $1)); }
state() { stat_field "$1" 3; }
gone() { local s; s=$(state "$1") || return 0; [[ -z $s || $s == Z ]]; }
no_zombies() {
	local c
	for c in $(children "${1:-$PID}"); do [[ $(state "$c") != Z ]] || return 1; done
}
is_quiet() { has_children 0 && [[ $(nfds "$PID") == "$1" ]]; } # no child, and so many descriptors
nfds() { set -- /proc/"$1"/fd/*; echo $#; }
ticks() { # of user and system time
	local u s
	u=$(stat_field "$1" 14) s=$(stat_field "$1" 15)
	echo $((u + s))
}

# What a test of TRUST's rows measured: scripts/trust shows it beside the pass figure.
# bound PROMISED ELSEWHERE: what `make trust` judges by, on a machine that is left alone, and what a slow or busy one is let.
bound() { echo "$([[ -n ${STRICT-} ]] && echo "$1" || echo "$2")"; }
# What is printed for a test in the table of `make trust`.
figure() { [[ -z ${TRUST_FIGURES-} ]] || printf '%s\t%s\n' "$BATS_TEST_DESCRIPTION" "$*" >>"$TRUST_FIGURES"; }

ask() { "$PEER" "tcp:127.0.0.1:${1:-$PORT}"; }
requires_fds() { [[ $(ulimit -Hn) == unlimited || $(ulimit -Hn) -ge $1 ]] || skip "needs a limit of $1 descriptors, has $(ulimit -Hn)"; }

# --- as somebody else, for root

nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
# For nobody: programs that he can run, in ./bin.
programs_for_nobody() {
	requires_root; requires setpriv
	chmod 711 "$BATS_RUN_TMPDIR" .. .
	mkdir bin; cp "$SERVER" "$SERVERCTL" bin/; chmod 755 bin bin/*
	nobody "$PWD/bin/server" -V >/dev/null || skip "nobody can run this build"
}

# For a network namespace of its own: silent.py is a name server that never answers; `up` stands there when it listens.
requires_silent_resolver() {
	requires_root
	requires python3 ip unshare
	unshare -m -n true 2>/dev/null || skip "no namespaces"
	cat >silent.py <<-'X'
	import socket
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 53))
	open("up", "w").close()
	while True: s.recv(512)
	X
}

# For a server with accounts of our own: `many` (71001) has the groups 71002 and 71003 too; 127.0.0.5 is
# good.example.org. Sets WRAP; passwd and group are what stands in /etc there.
with_accounts() {
	requires_root; requires unshare
	unshare -m true 2>/dev/null || skip "no mount namespace"
	cp /etc/passwd passwd; cp /etc/group group
	echo 'many:x:71001:71001::/nonexistent:/bin/sh' >>passwd
	printf 'many:x:71001:\nmany2:x:71002:many\nmany3:x:71003:daemon,many\n' >>group
	printf '127.0.0.1 localhost\n127.0.0.5 good.example.org\n' >hosts
	cat >accounts.sh <<-'X'
	for f in passwd group hosts; do mount --bind $f /etc/$f || exit 9; done
	exec "$@"
	X
	WRAP="unshare -m sh $PWD/accounts.sh"
}
