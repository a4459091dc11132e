load helper

held() { # a connection that its command holds until ./go exists; $1: options
	"$PEER" -c go -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	wait_log 'START'
}

@test "TERM drains: the listeners close at once, the children may end, exit status 0" {
	start_server 127.0.0.1:0 sh -c 'cat >/dev/null; echo last words'
	held
	kill -TERM "$PID"
	wait_log DRAIN
	run -5 ask
	! gone "$PID" || die "it is gone"
	: >go
	wait "$HELD"
	[[ $(<held) == "last words" ]]
	wait_end
	[[ $STATUS == 0 ]]
}

@test "grace: then the children are told to end, then killed" {
	start_server -o grace=300ms 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	until_true 5 test -s held
	local start; start=$(now_ms)
	stop_server
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 4000))
	logged 'STOP: 1 children'; logged 'EXIT: sh signal=9'
	wait "$HELD" || :
}

@test "a second TERM stops now; kill_after is at most a second then" {
	start_server -o kill_after=60s 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	until_true 5 test -s held
	kill -TERM "$PID"; wait_log DRAIN
	local start; start=$(now_ms)
	stop_server TERM
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 4000))
	wait "$HELD" || :
}

@test "INT stops now: TERM to every child's group" {
	start_server 127.0.0.1:0 sh -c 'sleep 60 & echo $!; wait'
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	until_true 5 test -s held
	stop_server INT
	[[ $STATUS == 0 ]]
	until_true 5 gone "$(<held)"
	wait "$HELD" || :
}

@test "QUIT: exits at once, the children live on" {
	gate g
	start_server unix:s ./g
	"$PEER" -t 20000 unix:s >held 3>&- & HELD=$!
	entered g
	stop_server QUIT
	[[ $STATUS == 0 && ! -e s ]]
	open_gate g
	wait "$HELD"
	[[ $(<held) == bye ]]
}

@test "QUIT under a burst: every child that was started runs" {
	local r i p
	for r in 1 2 3 4 5; do
		: >ran; : >"$LOG"
		start_server 127.0.0.1:0 sh -c 'echo $$ >>ran'
		p=()
		for i in {1..15}; do "$PEER" "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & p+=($!); done
		wait_log START
		stop_server QUIT
		wait "${p[@]}" || :
		all_ran() { [[ $(count_log START) == $(wc -l <ran) ]]; }
		until_true 5 all_ran || return
	done
}

@test "TERM with nothing to wait for ends at once" {
	start_server 127.0.0.1:0 true
	local start; start=$(now_ms)
	stop_server
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 2000))
}

@test "at TERM those who are through already are still served" {
	start_server 127.0.0.1:0 echo hi
	kill -STOP "$PID"
	local i p=()
	for i in {1..20}; do "$PEER" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	connected() { [[ $(grep -c " 01 " <(grep -i ":$(printf %04X "$PORT") " /proc/net/tcp)) -ge 20 ]]; }
	until_true 5 connected
	kill -TERM "$PID"; kill -CONT "$PID"
	wait "${p[@]}"
	[[ $(cat o.* | grep -c hi) == 20 ]]
	wait_end; [[ $STATUS == 0 ]]
}

@test "the last bytes leave at a drain: a slow reader gets the whole reply" {
	start_server -o sndbuf=256K -s 127.0.0.1:0 'head -c 150000 /dev/zero'
	"$PEER" -r 4096 -d 4096:20 "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log EXIT
	stop_server
	wait "$p"
	[[ $STATUS == 0 && $(stat -c %s got) == 150000 ]]
}

@test "HUP, USR2 and stray signals do not end it" {
	start_server 127.0.0.1:0 echo hi
	kill -HUP "$PID"; kill -USR2 "$PID"; kill -PIPE "$PID"; kill -ALRM "$PID"; kill -CHLD "$PID"; kill -WINCH "$PID"
	run -0 ask; [[ $output == hi ]]
}

# storm COUNT RUNS: so many HUP, then others mixed, then TERM among them.
storm() {
	printf 'service a\n{\n\tlisten = 127.0.0.1:0\n\texec = echo hi\n}\n' >t; chmod 644 t
	local round start took longest=0 reloads all=0
	# Not i: bats' own run has that one too.
	for ((round = 0; round < $2; round++)); do
		: >"$LOG"
		start_server -f t
		# No handler is there to do anything: they are read from a descriptor.
		[[ $B == *asan ]] || grep -qP '^SigCgt:\t0000000000000000$' "/proc/$PID/status"
		run -0 "$B/tests/storm" "$PID" "$1" HUP; [[ $output == "$1" ]]
		start=$(now_ms)
		run -0 ask; [[ $output == hi ]]
		took=$(($(now_ms) - start)); longest=$((took > longest ? took : longest))
		reloads=$(count_log RELOAD); all=$((all + reloads))
		((reloads <= $1 / 100 + 10)) || die "$reloads reloads of $1 signals" || return
		wait_log 'RELOAD: 0 added'
		run -0 "$B/tests/storm" "$PID" "$(($1 / 10))" CHLD USR1 HUP PIPE WINCH; [[ $output == "$(($1 / 10))" ]]
		start=$(now_ms)
		run -0 ask; [[ $output == hi ]]
		took=$(($(now_ms) - start)); longest=$((took > longest ? took : longest))
		run -0 "$B/tests/storm" "$PID" "$(($1 / 10))" CHLD USR1 TERM HUP
		start=$(now_ms)
		wait_end; [[ $STATUS == 0 ]]
		(($(now_ms) - start < 3000))
	done
	((longest <= 1000)) || die "served after $longest ms"
	figure "$2 times $1 HUP: $all reloads, served after $longest ms at the latest"
}

@test "T28: a storm of signals: it serves, reloads are few, TERM among them ends it" {
	storm 100000 1
}

# bats test_tags=long
@test "T28: the same, 4,000,000 HUP, 10 times" {
	storm 4000000 10
}

# So many children end while the master is stopped: they are zombies until it goes on, and then none is.
zombies_wait() {
	requires python3
	requires_fds $(($1 + 200))
	cat >zombies.py <<-'X'
	import sys, time
	pid, want, file, limit = int(sys.argv[1]), int(sys.argv[2]), "/proc/%s/task/%s/children" % (sys.argv[1], sys.argv[1]), float(sys.argv[3])
	def count():
	    n = 0
	    for c in open(file).read().split():
	        try: n += open("/proc/%s/stat" % c).read().rpartition(")")[2].split()[0] == "Z"
	        except (FileNotFoundError, ProcessLookupError): pass
	    return n
	end = time.monotonic() + limit
	while (n := count()) != want:
	    if time.monotonic() > end: sys.exit("%d zombies, not %d" % (n, want))
	    time.sleep(.005)
	X
	start_server -q -o linger=no 127.0.0.1:0 "$B/tests/keep"
	local before start took; before=$(nfds "$PID")
	mkfifo over
	"$B/tests/hold" "$PORT" "$1" <over >held 3>&- & local h=$!
	exec {w}>over
	until_true 300 test -s held
	[[ $(<held) == "$1" ]]
	kill -STOP "$PID"
	exec {w}>&-
	wait "$h"
	run -0 timeout 60 python3 zombies.py "$PID" "$1" 50
	start=$(now_ms)
	kill -CONT "$PID"
	run -0 timeout 60 python3 zombies.py "$PID" 0 30
	took=$(($(now_ms) - start))
	((took <= ${2:-1000})) || die "zombies for $took ms"
	until_true 10 is_quiet "$before"
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	figure "$1 zombies, none after $took ms"
}

@test "T26: no zombies: 300 children that end while the master is stopped" {
	zombies_wait 300
}

# bats test_tags=long
@test "T26: no zombies: 10,000 children that end while the master is stopped" {
	zombies_wait 10000
}

@test "T26: orphans of the commands are reaped too" {
	start_server -q 127.0.0.1:0 sh -c 'for i in 1 2 3 4 5; do (sh -c "exit 0" & exit 0) & done; exit 0'
	run -0 "$PEER" -n 20 "tcp:127.0.0.1:$PORT"
	until_true 5 has_children 0
}

@test "T26: a steady stream of orphans is reaped as it comes" {
	start_server -q 127.0.0.1:0 "$B/tests/orphans" 4000
	run -0 "$PEER" -t 60000 "tcp:127.0.0.1:$PORT"
	((output < 2000)) || die "$output children at a time"
	until_true 5 has_children 0
	figure "of 4,000 orphans in a stream at most $output at a time"
}

pid_namespace() { # sets UNSHARE, whose child is process 1
	UNSHARE=(unshare -pf --mount-proc)
	"${UNSHARE[@]}" true 2>/dev/null || UNSHARE=(unshare -Urpf --mount-proc)
	"${UNSHARE[@]}" true 2>/dev/null || skip "no pid namespace"
}
as_process_1() { # as_process_1 ORPHANS: so many end at one moment
	pid_namespace
	mkfifo over
	cat >few <<-'X'
	setsid sh -c "sleep 0.1 & exit 0" & (sh -c "exit 3" &) ; cat /proc/1/comm; exit 0
	X
	cat >many <<-'X'
	i=0
	while [ $i -lt $1 ]; do (sh -c 'read -r x <over' >/dev/null 2>&1 &); i=$((i + 1)); done
	exit 0
	X
	cat >inside.sh <<-X
	exec "$SERVER" -p $PWD/pid -r 9 127.0.0.1:0 sh -c 'read -r what; sh ./\$what $1' 9>lines
	X
	"${UNSHARE[@]}" sh inside.sh </dev/null >>"$LOG" 2>&1 3>&- & local u=$!
	until_true 5 grep -q ready lines
	local x y a; read -r x y a <lines
	local i one start reaped ended; one=$(children "$u")
	for i in {1..50}; do run -0 "$PEER" -s $'few\n' "${a}"; [[ $output == server ]]; done
	"$PEER" -s $'many\n' -t 60000 "$a" 3>&- & local p=$!
	waiting() { (($(children "$one" | wc -w) == $1)); }
	# Each is a shell whose parents have ended.
	until_true 60 waiting "$1"
	start=$(now_ms)
	let_end() { exec {w}<>over; exec {w}>&-; waiting 0; } # also who opens it only now
	until_true 10 let_end
	reaped=$(($(now_ms) - start))
	wait "$p"
	start=$(now_ms)
	kill -TERM "$one"
	until_true 5 gone "$u"
	ended=$(($(now_ms) - start))
	wait "$u"
	[[ ! -e pid ]]
	figure "$1 orphans: no zombie after $reaped ms, ended $ended ms after TERM"
	((reaped <= 1000 && ended <= 1000)) || die "reaped after $reaped ms, ended after $ended"
}

@test "T26: as process 1: strangers are reaped, TERM works, no zombies" {
	as_process_1 20
}

# bats test_tags=long
@test "T26: as process 1, with 1000 orphans that end at once" {
	as_process_1 1000
}

@test "T26: as process 1: a drain lets the command end, INT and QUIT do not; paths and pid file go" {
	pid_namespace
	local signal x y a u p
	cat >inside.sh <<-X
	exec "$SERVER" -p $PWD/pid -o listen+=unix:s -r 9 127.0.0.1:0 \
		sh -c 'echo in; while [ ! -e go ]; do sleep 0.02; done; echo end' 9>lines
	X
	for signal in TERM INT QUIT; do
		rm -f lines go held
		"${UNSHARE[@]}" sh inside.sh </dev/null >>"$LOG" 2>&1 3>&- & u=$!
		until_true 5 grep -qs ready lines
		read -r x y a <lines
		"$PEER" -t 30000 "$a" >held 3>&- & p=$!
		until_true 5 grep -qs in held
		kill -"$signal" "$(children "$u")"
		if [[ $signal == TERM ]]; then
			until_true 5 test ! -e s
			! gone "$u" || die "it did not wait" || return
			: >go
		fi
		until_true 5 gone "$u"
		wait "$u" || die "$signal: status $?" || return
		wait "$p" || :
		[[ ! -e s && ! -e pid ]] || die "$signal: $(ls -d s pid)" || return
		[[ $(<held) == "$([[ $signal != TERM ]] && echo in || printf 'in\nend')" ]] || die "$signal: $(<held)" || return
	done
}

# Sessions live on when the master is killed, and the next one binds at once; so many rounds of it.
killed_master() { # killed_master ROUNDS SESSIONS
	requires python3
	cat >killed.py <<-'X'
	import os, socket, subprocess, sys, time
	server, keep, rounds, sessions = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
	port, longest, lived = 0, 0, 0
	def start():
	    r, w = os.pipe()
	    began = time.monotonic()
	    p = subprocess.Popen([server, "-q", "-o", "user=%d" % os.getuid(), "-r", str(w), "127.0.0.1:%d" % port, keep],
	                         pass_fds=[w], stdin=subprocess.DEVNULL, stderr=open("log", "ab"))
	    os.close(w)
	    said = b""
	    while not said.endswith(b"ready\n"):
	        d = os.read(r, 65536)
	        if not d: sys.exit("it did not come up")
	        said += d
	    os.close(r)
	    return p, int(said.split()[2].rpartition(b":")[2]), time.monotonic() - began
	def alive(s):
	    try:
	        s.sendall(b"x")
	        return s.recv(1) == b"x"
	    except OSError: return False
	def connect():
	    s = socket.create_connection(("127.0.0.1", port), 20)
	    if not alive(s): sys.exit("not served")
	    return s
	master, port, _ = start()
	for i in range(rounds):
	    held = [connect() for _ in range(sessions)]
	    master.kill()
	    master.wait()
	    n = sum(map(alive, held))
	    if n != sessions: sys.exit("round %d: %d of %d sessions live" % (i, n, sessions))
	    master, _, took = start()
	    longest = max(longest, took)
	    connect().close()
	    lived += sum(map(alive, held))
	    for s in held: s.close()
	master.terminate()
	if master.wait() != 0: sys.exit("it did not end well")
	if lived != rounds * sessions or longest > (0.1 if os.environ.get("STRICT") else 1): sys.exit("%d live on; bound after %.3f s" % (lived, longest))
	print("%d of %d sessions live, bound again after %.0f ms at the latest" % (lived, rounds * sessions, longest * 1000))
	X
	run -0 timeout 1000 python3 killed.py "$SERVER" "$B/tests/keep" "$1" "$2"
	figure "$output"
}

@test "T25: a killed master ends no session, and the next start needs no waiting" {
	killed_master 3 20
}

# bats test_tags=long
@test "T25: the same with 100 sessions, 100 times" {
	killed_master 100 100
}

# --- a stop, and commands that do not want to end

# A table of commands that each hold out in another way; each says a pid that is to be looked at.
stubborn() {
	local n
	requires_root; requires setsid
	chmod 711 "$BATS_RUN_TMPDIR" .. .
	UNKNOWN=$((2300000 + $$))	# a user whom nobody else is
	{
		for n in ignores setsid forks stops holds bomb; do
			printf 'service %s\n{\n\tlisten = 127.0.0.1:0\n\tkill_after = 300ms\n' $n
			case $n in
			ignores) echo '	shell = trap "" TERM HUP INT; echo $$; exec sleep 60' ;;
			setsid) echo '	shell = setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $!; exec sleep 60' ;;
			forks) echo '	shell = (sleep 60 & echo $!); exec sleep 60' ;;
			stops) echo '	shell = echo $$; kill -STOP $$; exec sleep 60' ;;
			holds) echo '	shell = sleep 60 & echo $!' ;;
			bomb) printf '\texec = %s/bomb 20\n\tuser = %d\n\trlimit_nproc = 40\n' "$PWD" $UNKNOWN ;;
			esac
			echo '}'
		done
	} >t
	chmod 644 t
	cp "$B/tests/bomb" bomb; chmod 755 bomb
	setpriv --reuid=$UNKNOWN --regid=$UNKNOWN --clear-groups ./bomb 0 || (($? == 2)) || skip "another user cannot run it here"
}
# bombs N: so many processes of that user are there.
bombs() { (($(grep -lsE "^Uid:.$UNKNOWN" /proc/[0-9]*/status | wc -l) >= $1)); }
no_bomb() { ! bombs 1; }
hold_out() { # a session with each; LOOK[service] is the pid that it said
	local n
	declare -gA LOOK=(); SESSIONS=()
	for n in ignores setsid forks stops holds bomb; do
		: >"said.$n"
		"$PEER" -t 60000 "tcp:127.0.0.1:${PORTS[$n]}" >"said.$n" 3>&- & SESSIONS+=($!)
		until_true 10 test -s "said.$n"
		LOOK[$n]=$(<"said.$n")
	done
	is_stopped() { [[ $(state "${LOOK[stops]}") == T ]]; }
	until_true 10 is_stopped
	until_true 10 bombs 30
	GROUPS_THERE=$(for n in $(children "$PID") "${LOOK[setsid]}"; do stat_field "$n" 5; done | sort -u)
}
kill_groups() { local g; for g in $GROUPS_THERE; do kill -KILL -- "-$g" 2>/dev/null || :; done; }
end_sessions() { local p; for p in "${SESSIONS[@]}"; do wait "$p" || :; done; }

@test "T29: left alone: QUIT touches no command, whatever it does" {
	stubborn
	AS_ME="-o user=root" start_server -f t
	hold_out
	local n start; start=$(now_ms)
	stop_server QUIT; [[ $STATUS == 0 ]]
	(($(now_ms) - start < 2000))
	for n in ignores setsid forks holds; do [[ $(state "${LOOK[$n]}") == S ]] || die "$n: $(state "${LOOK[$n]}")" || return; done
	is_stopped; bombs 30
	# They are nobody's any more.
	kill_groups
	until_true 30 no_bomb
	end_sessions
}

@test "T29: a drain: nobody comes in any more, and the last one's end is the server's" {
	gate g
	start_server -o grace=60s 127.0.0.1:0 ./g
	"$PEER" -t 60000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	entered g
	local start refused end; start=$(now_ms)
	kill -TERM "$PID"
	is_refused() { run "$PEER" "tcp:127.0.0.1:$PORT"; [[ $status == 5 ]]; }
	until_true 5 is_refused
	refused=$(($(now_ms) - start))
	! gone "$PID" || die "it is gone"
	start=$(now_ms)
	open_gate g
	wait_end; end=$(($(now_ms) - start))
	[[ $STATUS == 0 ]]
	wait "$HELD"; [[ $(<held) == bye ]]
	figure "nobody is let in after $refused ms, the end $end ms after the last"
	((refused < $(bound 50 500) && end < $(bound 100 1000)))
}

# all_end SIGNAL MOST [ARG...]: that signal to a server with these arguments, whose end comes within so many ms
all_end() {
	local n start took sig=$1 most=$2; shift 2
	stubborn
	AS_ME="-o user=root" start_server "$@" -f t
	hold_out
	start=$(now_ms)
	stop_server "$sig"; took=$(($(now_ms) - start))
	[[ $STATUS == 0 ]]
	until_true 1 no_bomb
	for n in ignores forks stops holds; do until_true 1 gone "${LOOK[$n]}" || die "$n lives" || return; done
	[[ $(state "${LOOK[setsid]}") == S ]]	# it has left the group that was to end
	kill_groups
	until_true 2 nobody_left || die "$(marked)"
	end_sessions
	figure "$sig: all gone after $took ms"
	((took < most))
}

@test "T29: a stop: a second later no process of any group is left, a fork bomb's neither; a session of its own is not touched" {
	all_end INT "$(bound 2000 3000)"
}

@test "T29: a drain with grace: behind it, and a second later, it is the same" {
	all_end TERM "$(bound 2500 3500)" -o grace=500ms
}

@test "T29: serverctl kill: kill_after later nobody of that session is left, and no other session is touched" {
	stubborn
	AS_ME="-o user=root" start_server -f t
	hold_out
	local n m left="ignores setsid forks stops holds bomb"
	for n in bomb stops ignores forks holds; do
		run -0 timeout 10 "$SERVERCTL" -C "${CTL##*/}" kill $n
		[[ $output == "1 connection of $n is told to end" ]]
		if [[ $n == bomb ]]; then until_true 3 no_bomb; else until_true 3 gone "${LOOK[$n]}"; fi
		left=${left/$n/}
		for m in $left; do
			if [[ $m == bomb ]]; then bombs 30; else ! gone "${LOOK[$m]}"; fi || die "$m ended with $n" || return
		done
	done
	stop_server INT
	kill_groups
	end_sessions
}

@test "T29: no process is ever signalled that it did not start" {
	requires python3; requires_tracing
	cat >t <<-'X'
	service a
	{
		listen = 127.0.0.1:0
		shell = (sleep 0.05 &); echo $$
		timeout = 20ms
		kill_after = 20ms
	}
	service b
	{
		listen = 127.0.0.1:0
		shell = trap "" TERM; sleep 60 & wait; wait
		timeout = 30ms
		kill_after = 20ms
	}
	service c
	{
		listen = 127.0.0.1:0
		exec = sleep 60
	}
	X
	chmod 644 t
	# -D: the server keeps its number. What it starts is seen in the answers of clone and fork.
	WRAP="strace -D -q -e trace=clone,clone3,fork,vfork,pidfd_open,kill,tkill,tgkill,pidfd_send_signal -o calls" start_server -f t
	local i p=()
	for i in {1..20}; do
		ask "${PORTS[a]}" >/dev/null 3>&- & p+=($!)
		ask "${PORTS[b]}" >/dev/null 3>&- & p+=($!)
	done
	wait "${p[@]}" || :
	for i in {1..5}; do "$PEER" -t 60000 "tcp:127.0.0.1:${PORTS[c]}" 3>&- & p+=($!); done
	until_true 10 has_children 5
	kill -HUP "$PID"; wait_log RELOAD
	until_true 10 has_children 5
	timeout 10 "$SERVERCTL" -C "${CTL##*/}" kill c
	until_true 10 has_children 0
	stop_server INT
	wait "${p[@]}" || :
	cat >look.py <<-'X'
	import re
	own, whose, n = set(), {}, 0	# whose a pidfd is: as the call said that made it
	for l in open("calls"):
	    m = re.match(r"(clone|clone3|fork|vfork)\(.*= (\d+)$", l)
	    if m:
	        own.add(int(m[2]))
	        fd = re.search(r"(?:parent_tid|pidfd)=\[(\d+)\]", l)
	        if fd: whose[int(fd[1])] = int(m[2])
	        continue
	    m = re.match(r"pidfd_open\((\d+), \w+\)\s+= (\d+)$", l)
	    if m:
	        whose[int(m[2])] = int(m[1])
	        continue
	    m = re.match(r"(pidfd_send_signal|kill)\((-?\d+), (\w+)", l)
	    assert m or not re.match("pidfd|kill|tkill|tgkill", l), l
	    if not m or m[3] in ("0", "SIG_0"): continue	# it only asks
	    n += 1
	    pid = whose[int(m[2])] if m[1] != "kill" else abs(int(m[2]))
	    assert pid in own, l
	assert n >= 40, n
	print("%d signals, all to one of %d that were started" % (n, len(own)))
	X
	run python3 look.py
	[[ $status == 0 ]] || die "$output" || return
	figure "$output"
}
