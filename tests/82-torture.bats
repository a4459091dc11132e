# Whatever the server does, the Nth of its calls that can fail fails, for every N: once, and with all
# that follow. It lives, serves when the fault is over, hangs on to nothing, and does nothing half.
load helper

table() { cat >"$1"; chmod 644 "$1"; }

watched() { # later servers run under tests/torture, which obeys `tell`
	requires_root
	[[ $(uname -m) == x86_64 ]] || skip "not on this processor"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM_TORTURE=1 exec %s %s/ask %s/answer "$@"\n' \
		"$B/tests/shim" "$B/tests/torture" "$PWD" "$PWD" >torture.sh
	chmod +x torture.sh
	WRAP=./torture.sh
}
armed() { # armed HOW N: before a server begins
	rm -f ask answer; mkfifo ask answer; exec {ASK}<>ask {ANSWER}<>answer
	echo "$*" >&"$ASK"
}
disarmed() { exec {ASK}>&- {ANSWER}>&-; }
tell() { echo "$*" >&"$ASK"; read -rt 20 -u "$ANSWER" SEEN FAILED || die "no answer from the tracer"; }

# watched_server ARG...: one that nothing happens to yet
watched_server() {
	watched
	armed arm 0
	start_server "$@"
	read -rt 10 -u "$ANSWER" SEEN
	local i
	quiet=1000000
	for i in 1 2 3; do sound || return; done
	quiet=$(nfds "$PID")
}

# What is asked while calls fail has a moment for it; what did not end then goes on behind it.
aside() { # aside COMMAND...
	"$@" >got 2>&1 3>&- &
	asked=$!
	local i
	for ((i = 0; i < ${PATIENCE-6}; i++)); do ! gone "$asked" || return 0; nap; done
}
over() { until_true 15 gone "$asked" || return; wait "$asked" && rc=0 || rc=$?; }

# every ACT: once for each N, or, unless STEP=1, for some; the test's `sound` tells whether all is well again
every() {
	local how n last=() total=0 short patience=${PATIENCE-6} PATIENCE
	for how in ${HOW-arm from}; do
		for ((n = ${FIRST-1}, short = 0; n < 3000; n += ${STEP:-7})); do
			tell "$how" "$n"
			# Was there no call of that number? That may be for want of time, or this turn was a short one.
			PATIENCE=$((short ? 300 : patience))
			"$1"
			tell off
			over && sound && kill -0 "$PID" || die "$1: $how $n: $FAILED failed" "said: $(<got) ($rc)" || return
			[[ -z ${VERBOSE-} ]] || echo "# $(now_ms) $how $n: $SEEN $FAILED rc=$rc $(head -c 20 got)" >&3
			if [[ $FAILED == - ]]; then ((++short < 3)) || break; else short=0 total=$((total + 1)); fi
		done
		last+=("$n")
	done
	((last[0] > 5 && last[1] > 5)) || die "only ${last[*]} calls of $1"
	figure "$1: $total faults"
}
at_rest() { has_children "${1:-0}" && (($(nfds "$PID") <= quiet)); }

NOBODY='uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)'
is_nobody() { [[ $(<got) == "$NOBODY" || -z $(<got) ]]; }	# the command as it is to be, or not at all
id_table() {
	printf 'defaults\n{\nlog_type = FILE %s/service.log\n}\nservice a\n{\nlisten = 127.0.0.1:0\nuser = nobody\nserver = %s\n%s\n}\n%s\n' \
		"$PWD" "$(command -v id)" "${1-}" "${2-}" | table t
}
answers() { [[ $(ask) == "$NOBODY" ]]; }

# Somebody else's session lives on: with a service s that is cat.
CAT='service s
{
listen = 127.0.0.1:0
user = nobody
server = /bin/cat
}'
session_begins() {
	turn=0
	exec {SESSION}<>"/dev/tcp/127.0.0.1/${PORTS[s]}"
	until_true 5 answers; until_true 5 has_children "${1:-1}"
	quiet=$(nfds "$PID")
}
session_lives() { echo "$turn" >&"$SESSION" && read -rt 5 -u "$SESSION" back && [[ $back == "$turn" ]]; }

@test "T05: a connection: accepted, started, reaped, its end; another's session lives on" {
	id_table '' "$CAT"
	sound() { ((rc == 0 || rc == 3)) && is_nobody && until_true 10 answers && session_lives && until_true 10 at_rest 1; }
	one() { turn=$((turn + 1)); aside "$PEER" -t 10000 -s x "tcp:127.0.0.1:$PORT"; }
	rc=0; : >got
	watched
	armed arm 0
	start_server -f t
	read -rt 10 -u "$ANSWER" SEEN
	session_begins
	every one
	exec {SESSION}>&-
}

@test "T05: who is refused, by address and by limit" {
	id_table '' "$(printf 'service r\n{\nlisten = 127.0.0.1:0\nuser = nobody\nserver = /bin/echo\nserver_args = let in\nonly_from = 127.0.0.9\nbanner_fail = %s\n}\n' "$PWD/banner")"
	echo no >banner
	sound() { ((rc == 0 || rc == 3)) && [[ $(<got) == "" || $(<got) == no ]] && until_true 10 answers && until_true 10 at_rest; }
	one() { aside "$PEER" -t 10000 -s x "tcp:127.0.0.1:${PORTS[r]}"; }
	rc=0; : >got
	watched_server -f t
	every one
	! logged 'START: r' || die "a command was started"
}

@test "T05: a command that is told to end" {
	printf 'service a\n{\nlisten = 127.0.0.1:0\nuser = nobody\nshell = read -r x; echo right\n}\nservice s\n{\nlisten = 127.0.0.1:0\nuser = nobody\nshell = echo on; sleep 600\ntimeout = 30ms\nkill_after = 10ms\n}\n' | table t
	answers() { [[ $("$PEER" -s "x
" "tcp:127.0.0.1:$PORT") == right ]]; }
	sound() { ((rc == 0 || rc == 3)) && [[ $(<got) == on || -z $(<got) ]] && until_true 10 answers && until_true 10 at_rest; }
	one() { aside "$PEER" -t 10000 "tcp:127.0.0.1:${PORTS[s]}"; }
	rc=0; : >got
	watched_server -f t
	every one
}

@test "T05: datagrams" {
	printf 'service a\n{\nlisten = udp:127.0.0.1:0\nuser = nobody\nserver = /usr/bin/tr\nserver_args = a-z A-Z\n}\n' | table t
	answers() { [[ $("$CLIENT" -q -w 2 "$UDP" hello) == HELLO ]]; }
	sound() { [[ $(<got) == HELLO || -z $(<got) ]] && until_true 10 answers && until_true 10 at_rest; }
	one() { aside "$CLIENT" -q -w 0.05 "$UDP" hello; }
	watched
	rc=0; : >got
	armed arm 0
	start_server -f t
	read -rt 10 -u "$ANSWER" SEEN
	UDP=${ADDRESSES[0]} quiet=1000000
	sound && quiet=$(nfds "$PID")
	every one
}

@test "T05: wait = yes" {
	printf 'service a\n{\nlisten = 127.0.0.1:0\nuser = nobody\nwait = yes\nserver = %s/accept.py\n}\n' "$PWD" | table t
	requires python3
	chmod 711 "$BATS_RUN_TMPDIR" .. .
	printf '#!/usr/bin/env python3\nimport socket\nc, _ = socket.socket(fileno=0).accept()\nc.sendall(b"right")\n' >accept.py
	chmod 755 accept.py
	answers() { [[ $(ask) == right ]]; }
	sound() { ((rc == 0 || rc == 3)) && [[ $(<got) == right || -z $(<got) ]] && until_true 10 answers && until_true 10 has_children 0; }
	one() { aside "$PEER" -t 15000 "tcp:127.0.0.1:$PORT"; }
	rc=0; : >got
	watched_server -f t
	every one
}

@test "T05: a built-in and a relay, behind the worker" {
	printf 'service echo\n{\nid = a\ntype = INTERNAL UNLISTED\nlisten = 127.0.0.1:0\n}\nservice r\n{\nlisten = 127.0.0.1:0\nredirect = 127.0.0.1 %s\n}\n' 9 | table t
	answers() { [[ $("$PEER" -s hello -H "tcp:127.0.0.1:$PORT") == hello ]]; }
	sound() { ((rc == 0 || rc == 3 || rc == 1)) && [[ $(<got) == hello || -z $(<got) ]] && until_true 10 answers && until_true 10 at_rest 1; }
	one() { aside "$PEER" -t 10000 -s hello -H "tcp:127.0.0.1:$PORT"; }
	rc=0; : >got
	watched_server -f t
	every one
}

two_tables() { # t with service b, and without
	id_table '' "$(printf 'service b\n{\nlisten = 127.0.0.1:0\nuser = nobody\nserver = /bin/echo\nserver_args = b\nlog_type = FILE %s\n}\n' "$PWD/b.log")"
	cp t with; id_table; cp t without
}

@test "T05: a reload" {
	two_tables
	# Before all else: what was answered is so, and the table is in force whole or not at all.
	# What listens not at once is tried again; b's line is in its own log.
	b_serves() {
		local all; all=$("$SERVERCTL" -C "$CTL" status --json </dev/null)
		if [[ $1 == 0 ]]; then [[ $all == *'"a"'* && $all != *'"b"'* ]]; return; fi
		[[ $all =~ '"id":"b",'[^}]*'"listeners":["tcp:127.0.0.1:'([0-9]+) ]] || return
		local n; n=$(grep -c START b.log)
		[[ $(ask "${BASH_REMATCH[1]}") == b ]] && until_true 2 eval "[[ \$(grep -c START b.log) != $n ]]"
	}
	as_said() {
		if ((rc == 0)); then
			until_true 5 b_serves "$want" || die "told as done, and is not: $want"
		elif grep -q 'nothing is changed' got; then
			until_true 1 b_serves "$((1 - want))" || die "told as refused, and is in force"
		fi
	}
	sound() {
		((turn == 0)) || as_said || return
		until_true 10 answers && "$SERVERCTL" -C "$CTL" reload >out 2>&1 </dev/null || { cat out; return 1; }
		until_true 5 b_serves "$want" && until_true 10 at_rest
	}
	turn=0 want=0
	one() {
		turn=$((turn + 1)) want=$((turn % 2))
		if ((want)); then cp with t; else cp without t; fi
		aside "$SERVERCTL" -C "$CTL" reload
	}
	rc=0; : >got
	watched_server -f t
	quiet=$((quiet + 3)) # b's listener
	every one
}

@test "T05: a status" {
	id_table
	sound() { until_true 10 answers && "$SERVERCTL" -C "$CTL" status --json </dev/null | grep -q '"a"' && until_true 10 at_rest; }
	one() { aside "$SERVERCTL" -C "$CTL" status --json; }
	rc=0; : >got
	watched_server -f t
	every one
}

@test "T05: an upgrade" {
	id_table '' "$CAT"
	sound() { until_true 10 answers && session_lives && until_true 10 at_rest 1; }
	PATIENCE=200
	one() { turn=$((turn + 1)); aside "$SERVERCTL" -C "$CTL" upgrade; }
	watched
	armed arm 0
	rc=0; : >got
	start_server -f t
	read -rt 10 -u "$ANSWER" SEEN
	session_begins
	every one
	exec {SESSION}>&-
}

# The Nth call of the program that goes on. It goes on with what there is, and leaves nobody in who may not
# come; or it ends with a word, and the session lives on.
goes_on() {
	id_table '' "$(printf 'service echo\n{\nlisten = 127.0.0.1:0\ntype = INTERNAL UNLISTED\nid = r\nonly_from = 127.0.0.9\n}\n%s\n' "$CAT")"
	# Where it is found again whatever is lost.
	sed -i "0,/listen = .*/s||listen = unix:$PWD/a.sock|" t
	answers() { [[ $("$PEER" "unix:$PWD/a.sock") == "$NOBODY" ]]; }
	watched
	local n total=0 ended=0 less=0
	PATIENCE=500
	for ((n = ${FIRST-1}; n < 3000; n += $1)); do
		rm -f service.log; : >"$LOG"
		armed arm 0
		start_server -f t
		read -rt 10 -u "$ANSWER" SEEN
		session_begins 2	# and the worker
		tell over "$n"
		aside "$SERVERCTL" -C "$CTL" upgrade
		if ! gone "$PID"; then tell off; fi
		over || return
		turn=$n
		session_lives || die "$n: $FAILED failed: the session is lost" || return
		if gone "$PID"; then
			((++ended))
			read -rt 5 -u "$ANSWER" SEEN FAILED || FAILED=-
			cat "$LOG" service.log got 2>/dev/null | grep -qiE 'server: |error|memory|failed' || die "$n: $FAILED failed: not a word" "$(<got)" || return
			SRV=() NSRV=0; rm -f ready.*
		else
			run "$PEER" -s x -H "tcp:127.0.0.1:${PORTS[r]}"; [[ -z $output ]] || die "$n: $FAILED failed: somebody was let in" || return
			if ! until_true 3 answers; then
				((++less))
				grep -q 'ERROR: a' "$LOG" service.log || die "$n: $FAILED failed: a is not served, and nobody says so" || return
			fi
			# The next table is whole again.
			"$SERVERCTL" -C "$CTL" reload >out 2>&1 </dev/null || :
			until_true 10 answers && session_lives || die "$n: $FAILED failed: not served behind a reload" "$(<out)" || return
			exec {SESSION}>&-
			stop_server; [[ $STATUS == 0 ]] || die "$n: $FAILED failed: it ended with $STATUS" || return
		fi
		exec {SESSION}>&-
		disarmed
		[[ -z ${VERBOSE-} ]] || echo "# $(now_ms) $n: $SEEN $FAILED ended=$ended less=$less $(head -c 80 got | head -n 1)" >&3
		[[ $FAILED != - ]] || break
		total=$((total + 1))
	done
	((total > 5)) || die "only $total calls" || return
	figure "the successor: $total faults, after $ended of them it ended with a word, after $less it served less"
}
@test "T05: an upgrade's successor, a call in some" { goes_on 23; }
# bats test_tags=long
@test "T05: an upgrade's successor" { goes_on 1; }

# begun HOW N: a server whose Nth call fails; it comes up, or says why it does not
begun() {
	local rfd line p
	rm -f ready a.sock; mkfifo ready; : >said
	armed "$1" "$2"
	./torture.sh "$SERVER" -C ctl -p "$PWD/pid" -r 9 -f t 9>ready </dev/null >>said 2>&1 3>&- &
	p=$!
	SRV+=("$p") PID=$p
	exec {rfd}<ready
	read -rt 10 -u "$ANSWER" line || return
	up=0
	until_true 20 has_begun || return
	# Who ends takes the tracer along.
	FAILED=ended
	if ((up)); then
		tell off
		until_true 10 answers || return
		until_true 10 all_there || { echo "not all is there"; return 1; }
		until_true 10 has_children 0 || return
		kill -TERM "$p"
	fi
	until_true 15 gone "$p" || return
	wait "$p" && rc=0 || rc=$?
	exec {rfd}<&-
	disarmed
	((up)) || ((rc == 1 || rc == 2)) || { echo "status $rc"; return 1; }
	((up)) || [[ $1 == from || -s said ]] || { echo "nothing said"; return 1; }
	SRV=()
}
has_begun() {
	local line
	while IFS= read -rt 0.02 -u "$rfd" line; do
		case $line in
		ready) up=1; return 0 ;;
		esac
	done
	gone "$PID"
}
starts() {
	watched
	# What cannot be opened at once is tried again: it has to be at one address then.
	printf 'defaults\n{\nlog_type = FILE %s/service.log\n}\nservice a\n{\nlisten = unix:%s/a.sock 127.0.0.1:0\nuser = nobody\nserver = %s\n}\nservice b\n{\nlisten = udp:127.0.0.1:0\nuser = nobody\nserver = /bin/cat\n}\n' \
		"$PWD" "$PWD" "$(command -v id)" | table t
	answers() { [[ $("$PEER" "unix:$PWD/a.sock") == "$NOBODY" ]]; }
	# Of both services every address, on the ports that were found; or the entry is told as faulty.
	all_there() {
		local at; at=$("$SERVERCTL" -C ctl status --json </dev/null)
		[[ $at =~ tcp:127.0.0.1:[0-9]+ && $("$PEER" "${BASH_REMATCH[0]}") == "$NOBODY" ]] || return
		[[ $at =~ udp:127.0.0.1:[0-9]+ && $("$CLIENT" -q -w 2 "${BASH_REMATCH[0]}" hello) == hello ]]
	}
	local how n total=0
	for how in ${HOW-arm from}; do
		for ((n = ${FIRST-1}; n < 5000; n += $1)); do
			begun "$how" "$n" || die "start: $how $n: $FAILED failed: $(<said)" || return
			[[ -z ${VERBOSE-} ]] || echo "# $(now_ms) $how $n: $SEEN $FAILED up=$up $(head -c 200 said)" >&3
			[[ $FAILED != - ]] || break
			total=$((total + 1))
		done
	done
	((total > 20)) || die "only $total calls" || return
	figure "start: $total faults"
}
@test "T05: a start, a call in some" { starts 23; }
# bats test_tags=long
@test "T05: a start" { starts 1; }

# ends SIGNAL, with a session that its client holds: for each N, from the signal to the server's end. What fails with
# all that follow fails for a moment only: else nobody could be told anything.
ends() {
	id_table '' "$CAT"
	local how n total=0
	watched
	for how in arm from; do
		for ((n = 1; n < 500; n += ${STEP:-3})); do
			armed arm 0
			start_server -f t
			read -rt 10 -u "$ANSWER" SEEN
			exec {SESSION}<>"/dev/tcp/127.0.0.1/${PORTS[s]}"
			echo one >&"$SESSION"; read -rt 5 -u "$SESSION" back
			tell "$how" "$n"
			kill -"$1" "$PID"
			[[ $how == arm ]] || { nap 0.05; tell off; }
			if [[ $1 == TERM ]]; then
				echo two >&"$SESSION"
				read -rt 5 -u "$SESSION" back && [[ $back == two ]] || die "$how $n: $FAILED failed: the session was cut" || return
				exec {SESSION}>&-
			fi
			wait_end 15 && [[ $STATUS == 0 ]] || die "$how $n: $FAILED failed: it did not end well: $STATUS" || return
			[[ $1 == TERM ]] || exec {SESSION}>&-
			[[ $how == from ]] || read -rt 5 -u "$ANSWER" SEEN FAILED || die "the tracer says nothing" || return
			[[ $how == from || ! -e $CTL || $FAILED == *stat || $FAILED == unlink ]] || die "$how $n: $FAILED failed: $CTL is left" || return
			disarmed
			[[ -z ${VERBOSE-} ]] || echo "# $(now_ms) $how $n: $SEEN $FAILED" >&3
			[[ $FAILED != - ]] || break
			total=$((total + 1))
		done
	done
	((total > 5)) || die "only $total calls from $1 on" || return
	figure "$1: $total faults"
}
@test "T05: a drain, to its end" { ends TERM; }
@test "T05: a stop, to its end" { ends INT; }
