# Nothing spins, nothing is lost, each state is told once.
load helper

shimmed() { # shimmed SHIM: later servers run with these calls failing while ./fault exists
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM="%s" SHIM_WHILE=%s/fault exec "$@"\n' "$B/tests/shim" "$1" "$PWD" >shim.sh
	chmod +x shim.sh
	WRAP=./shim.sh
}

# A cgroup of the test's own: in_cgroup KIND; later servers run in it. A look or a change: cgroup FILE [VALUE]
in_cgroup() {
	requires_root
	local d
	for d in "/sys/fs/cgroup/$1" /sys/fs/cgroup; do
		[[ $d == */cgroup/* && -e $d/cgroup.procs ]] || grep -qsw "$1" $d/cgroup.subtree_control || continue
		mkdir "$d/test.$$" 2>/dev/null || continue
		CGROUP=$d/test.$$
		printf '#!/bin/sh\necho $$ >%s/cgroup.procs && exec "$@"\n' "$CGROUP" >in_cgroup.sh
		chmod +x in_cgroup.sh
		WRAP=./in_cgroup.sh
		return
	done
	skip "no cgroup for $1 can be made here"
}
cgroup() { if (($# > 1)); then echo "$2" >"$CGROUP/$1"; else cat "$CGROUP/$1"; fi; }
eval "end_$(declare -f teardown)"
teardown() {
	local rc=0
	end_teardown || rc=$?
	[[ -z ${CGROUP-} ]] || until_true 5 rmdir "$CGROUP" 2>/dev/null || rc=1
	return $rc
}

# Of what probe told of a service: all were served, 99 of 100 within so many ms.
all_served() { # all_served FILE MS
	local n; read -ra n <"$1"
	((n[0] > 0 && n[0] == n[1])) || die "$1: ${n[1]} of ${n[0]} served" || return
	((n[$(bound 4 3)] <= $2 * 1000)) || die "$1: 99 of 100 within ${n[3]} us, the longest ${n[4]} us"
}

@test "T18: out of descriptors: who came is served as soon as there are some, nobody is lost" {
	printf '#!/bin/bash\nulimit -n 24 && exec "$@"\n' >wrap.sh; chmod +x wrap.sh
	WRAP=./wrap.sh start_server 127.0.0.1:0 sh -c 'read -r x; echo "got $x"'
	local i p=()
	for i in {1..60}; do "$PEER" -t 20000 -s "$i
" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	wait "${p[@]}"
	[[ $(grep -c got o.* | grep -c ':1$') == 60 ]]
	until_true 5 has_children 0
}

all_held() { # all_held SECONDS: so long there are no descriptors
	printf '#!/bin/bash\nulimit -n 24 && exec "$@"\n' >wrap.sh; chmod +x wrap.sh
	WRAP=./wrap.sh start_server 127.0.0.1:0 cat
	local i p=()
	for i in {1..20}; do "$PEER" -t 30000 -c go -s "$i" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	wait_log 'PAUSE: cat fork'
	local before took start; before=$(ticks "$PID")
	nap "$1"
	took=$(($(ticks "$PID") - before))
	((took <= $1 * 2)) || die "$took ticks in $1 s" || return
	log_has 1 PAUSE
	: >go
	start=$(now_ms)
	wait "${p[@]}"
	start=$(($(now_ms) - start))
	((start < $(bound 1000 3000)))
	for i in {1..20}; do [[ $(<"o.$i") == "$i" ]]; done
	wait_log 'RESUME: cat fork'
	figure "$((took * 100 / ($1 * 100))) % of a processor, 1 line in $1 s, all served $start ms after"
}

@test "T18: out of descriptors while all are held: no processor time, one line for the state, then all are served" {
	all_held 2
}

# bats test_tags=long
@test "T18: out of descriptors for 10 s" { all_held 10; }

# accept_fails MS: each error of accept(2), a server of its own for each, fails for so long; EAGAIN too,
# though somebody is there.
accept_fails() {
	local e most=0 lines=0 slowest=0 n start log=$LOG
	local -A pid port before client
	: >fault
	for e in 24 23 105 12 103 71 1 100 113 95 4 11; do
		shimmed "accept4=$e"
		LOG=$log.$e; : >"$LOG"
		start_server 127.0.0.1:0 echo hi
		pid[$e]=$PID port[$e]=$PORT
	done
	WRAP=""
	for e in "${!pid[@]}"; do
		before[$e]=$(ticks "${pid[$e]}")
		"$PEER" -t $(($1 + 20000)) "tcp:127.0.0.1:${port[$e]}" >"got.$e" 3>&- & client[$e]=$!
	done
	nap "$(($1 / 1000)).$(($1 % 1000))"
	for e in "${!pid[@]}"; do
		n=$(($(ticks "${pid[$e]}") - ${before[$e]}))
		((n <= most)) || most=$n
		((n <= 2 + $1 / 500)) || die "errno $e spins: $n ticks" || return
		LOG=$log.$e; n=$(($(count_log .) - $(count_log LISTEN)))
		((n <= lines)) || lines=$n
		((n <= 2 + $1 / 500)) || die "errno $e: $n lines" || return
	done
	rm fault
	start=$(now_ms)
	for e in "${!client[@]}"; do
		wait "${client[$e]}" || die "errno $e: not served" || return
		[[ $(<"got.$e") == hi ]] || die "errno $e: not served" || return
	done
	slowest=$(($(now_ms) - start))
	((slowest < $(bound 1000 4000))) || die "served after $slowest ms" || return
	LOG=$log
	figure "12 errors: at most $((most * 1000 / $1)) % of a processor, $lines lines in $(($1 / 1000)) s, served $slowest ms after"
}

@test "T18: every error of accept(2) for a while: no spin, few lines, the listener stays, all are served after" {
	accept_fails 400
}

# bats test_tags=long
@test "T18: every error of accept(2) for 10 s" { accept_fails 10000; }

# starved SECONDS BEGIN END: between these commands no process is to be had. Meanwhile a built-in, whose
# process is there, is asked all the time, and clients come to a command.
starved() {
	local i p=() q start
	cat >t <<-X
	service echo { listen = 127.0.0.1:0
	type = INTERNAL UNLISTED
	log_on_success =
	}
	service a { listen = 127.0.0.1:0
	exec = cat
	}
	X
	chmod 644 t
	start_server -f t
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:${PORTS[echo]}"; [[ $output == x ]]
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:${PORTS[a]}"; [[ $output == x ]]
	until_true 5 has_children 1
	wait_log 'EXIT: a '
	: >"$LOG"
	local before; before=$(ticks "$PID")
	$2
	"$B/tests/probe" -s x "${PORTS[echo]}" "$1" >other 3>&- & q=$!
	for i in {1..20}; do "$PEER" -t 60000 -s "$i" -H "tcp:127.0.0.1:${PORTS[a]}" >"o.$i" 3>&- & p+=($!); done
	wait_log 'PAUSE: a fork'
	wait "$q"
	[[ -z $(cat o.*) ]] || die "somebody was served: there was a process" || return
	local took=$(($(ticks "$PID") - before)) said; said=$(count_log .)
	$3
	start=$(now_ms)
	wait "${p[@]}" || die "a client was lost" || return
	start=$(($(now_ms) - start))
	for i in {1..20}; do [[ $(<"o.$i") == "$i" ]] || die "lost: $i" || return; done
	wait_log 'RESUME: a fork'
	run ! logged 'PAUSE: echo'
	all_served other "$(bound 50 250)" || return
	read -ra q <other
	((said <= $1 && took <= $(bound $((2 + $1 * 2)) $((2 + $1 * 20))) && start < $(bound 1000 4000))) || die "$said lines, $took ticks, served after $start ms" || return
	figure "other service ${q[1]} of ${q[0]}, 99 of 100 in $((q[3] / 1000)) ms, longest $((q[4] / 1000)) ms; $said lines in $1 s; the 20 clients $start ms after"
}
no_more_processes() { cgroup pids.max "$(cgroup pids.current)"; }
processes_again() { cgroup pids.max max; }

@test "T19: no process to be had (a cgroup's pids.max): other work goes on, who came is kept" {
	in_cgroup pids
	starved 2 no_more_processes processes_again
}

# bats test_tags=long
@test "T19: no process to be had for 10 s" {
	in_cgroup pids
	starved 10 no_more_processes processes_again
}

# With strace, as the call is not libc's: it says what the kernel is to have answered.
out_of_memory() {
	strace -qq -o trace -p "$PID" -e trace=clone,clone3,fork,vfork -e inject=clone,clone3,fork,vfork:error=ENOMEM </dev/null 3>&- & STRACE=$!
	until_true 10 traced
}
traced() { grep -q "^TracerPid:[[:space:]]*$STRACE\$" "/proc/$PID/status"; }
memory_again() { kill "$STRACE"; wait "$STRACE" || :; }

# bats test_tags=long
@test "T19: fork(2) fails with ENOMEM for 10 s" {
	requires_root; requires_tracing
	starved 10 out_of_memory memory_again
}

# bats test_tags=long
@test "a start that hangs (a file system that does not answer) is killed after 10 s, and told" {
	requires_root; requires python3
	cp "$(type -P echo)" ./answer
	# Whoever would run the program waits for a word of this one, which never comes.
	cat >hold.py <<-'X'
	import ctypes, sys
	libc = ctypes.CDLL(None, use_errno=True)
	FAN_CLASS_CONTENT, FAN_MARK_ADD, FAN_OPEN_EXEC_PERM, AT_FDCWD = 4, 1, 0x40000, -100
	fd = libc.fanotify_init(FAN_CLASS_CONTENT, 0)
	if fd == -1 or libc.fanotify_mark(fd, FAN_MARK_ADD, ctypes.c_uint64(FAN_OPEN_EXEC_PERM), AT_FDCWD, b"./answer") == -1:
	    print("no", flush=True); sys.exit(0)
	print("held", flush=True)
	sys.stdin.read()
	X
	start_server 127.0.0.1:0 "$PWD/answer" hi
	run -0 ask; [[ $output == hi ]]
	mkfifo go; exec {w}<>go
	python3 hold.py <&"$w" >said 3>&- & local p=$!
	until_true 5 test -s said
	[[ $(<said) == held ]] || skip "no fanotify that holds a start"
	local start; start=$(now_ms)
	run "$PEER" -t 30000 "tcp:127.0.0.1:$PORT"
	[[ -z $output ]]
	(($(now_ms) - start >= 9000 && $(now_ms) - start < 20000)) || die "$(($(now_ms) - start)) ms" || return
	logged 'ERROR: the start of process [0-9]+ took more than 10 s; killed'
	wait_log 'EXIT: answer signal=9'
	kill "$p"; wait "$p" || :
	run -0 ask; [[ $output == hi ]]
}

@test "T19: no process to be had (RLIMIT_NPROC): accepted connections are kept and served later" {
	requires_root; requires setpriv
	# A user of our own, so that nobody else's processes count.
	local uid=$((2000000 + $$))
	chmod 755 . ..; chmod 777 .
	printf '#!/bin/bash\nulimit -u 3 && exec setpriv --reuid=%s --regid=%s --clear-groups "$@"\n' $uid $uid >wrap.sh; chmod +x wrap.sh
	setpriv --reuid=$uid --regid=$uid --clear-groups test -x "$SERVER" || skip "the program is not to be reached by another user"
	AS_ME="" WRAP=./wrap.sh start_server 127.0.0.1:0 cat
	local i p=()
	for i in {1..12}; do "$PEER" -t 20000 -c go -s "$i" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	wait_log 'PAUSE: cat fork'
	local before; before=$(ticks "$PID")
	nap 1
	(($(ticks "$PID") - before <= 2))
	: >go
	wait "${p[@]}"
	for i in {1..12}; do [[ $(<"o.$i") == "$i" ]] || die "lost: $i" || return; done
	wait_log 'RESUME: cat fork'
	log_has 1 PAUSE
}

@test "out of descriptors: who only lingers gives way, and the next is served at once" {
	printf '#!/bin/bash\nulimit -n 24 && exec "$@"\n' >wrap.sh; chmod +x wrap.sh
	WRAP=./wrap.sh start_server -o linger=60s 127.0.0.1:0 echo hi
	local i p=()
	for i in {1..30}; do "$PEER" -c go "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	until_true 10 log_has 30 EXIT
	run -0 ask; [[ $output == hi ]]
	: >go
	wait "${p[@]}"
	[[ $(cat o.* | grep -c hi) == 30 ]]
}

@test "a stop starts nobody of those who wait for a process" {
	requires_root; requires setpriv
	local uid=$((2100000 + $$))
	chmod 755 . ..; chmod 777 .
	printf '#!/bin/bash\nulimit -u 2 && exec setpriv --reuid=%s --regid=%s --clear-groups "$@"\n' $uid $uid >wrap.sh; chmod +x wrap.sh
	setpriv --reuid=$uid --regid=$uid --clear-groups test -x "$SERVER" || skip "the program is not to be reached by another user"
	AS_ME="" WRAP=./wrap.sh start_server 127.0.0.1:0 cat
	local i p=()
	for i in {1..5}; do "$PEER" -t 20000 -c go "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	wait_log 'PAUSE: cat fork'
	local start; start=$(now_ms)
	stop_server INT
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 2500))
	: >go
	wait "${p[@]}" || :
	! sed -n '/STOP:/,$p' "$LOG" | grep START || die "started after the stop"
}

@test "a limit of 64 descriptors serves without the low zone" {
	printf '#!/bin/bash\nulimit -n 64 && exec "$@"\n' >wrap.sh; chmod +x wrap.sh
	WRAP=./wrap.sh start_server 127.0.0.1:0 sh -c 'ls /proc/$$/fd; ulimit -n'
	run -0 ask
	[[ ${lines[*]} == "0 1 2 64" ]]
}

# bats test_tags=long
@test "T14: 1,000 resets, 1,000 ends and 1,000 half-open ones, 20 times while the master stands still: then others are served at once" {
	requires python3
	cat >t <<-X
	service a { listen = 127.0.0.1:0
	exec = $B/tests/tiny
	log_on_success =
	}
	service b { listen = 127.0.0.1:0
	exec = $B/tests/tiny
	log_on_success =
	}
	service flags { listen = 127.0.0.1:0
	exec = cat /proc/self/fdinfo/0
	}
	X
	chmod 644 t
	# Half open: the client's machine has forgotten the connection, and says nothing.
	cat >gone.py <<-'X'
	import os, signal, socket, struct, sys, time
	pid, a, b, how = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
	def conn(port):
	    s = socket.socket(); s.settimeout(30); s.connect(("127.0.0.1", port)); return s
	def forget(s): s.setsockopt(socket.IPPROTO_TCP, 19, 1); s.close()	# TCP_REPAIR
	def reset(s): s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
	if how == "can":
	    l = socket.create_server(("127.0.0.1", 0))
	    try: forget(conn(l.getsockname()[1]))
	    except PermissionError: sys.exit(1)
	    sys.exit(0)
	took = []
	for turn in range(20):
	    os.kill(pid, signal.SIGSTOP)
	    while open(f"/proc/{pid}/stat").read().rsplit(") ")[1][0] != "T": time.sleep(0.001)
	    for i in range(50):
	        s = conn(a)
	        if how == "rst": reset(s)
	        elif how == "fin": s.close()
	        else: forget(s)
	    s = conn(b)
	    os.kill(pid, signal.SIGCONT)
	    start = time.monotonic()
	    got = b""
	    while x := s.recv(100): got += x
	    took.append(time.monotonic() - start)
	    assert got == b"ok\n", got
	took.sort()
	print(*(f"{t * 1000:.1f}" for t in (took[10], took[18], took[19])))
	X
	start_server -f t
	local how ways="rst fin" words="" f n most
	if python3 gone.py 0 0 0 can 2>/dev/null; then ways+=" half"; fi
	for how in $ways; do
		timeout 120 python3 gone.py "$PID" "${PORTS[a]}" "${PORTS[b]}" "$how" >took 3>&-
		read -r f most n <took
		# Before the other's turn come 50 children.
		((${most%.*} < $(bound 10 500) && ${n%.*} < $(bound 50 500))) || die "$how: served after $(<took) ms" || return
		words+="$how: median $f ms, 19 of 20 in $most ms, longest $n ms; "
	done
	run -0 ask "${PORTS[a]}"; [[ $output == ok ]]
	until_true 60 has_children 0
	# Listeners do not block (04000), what a command gets does.
	local listeners=0
	for f in /proc/"$PID"/fd/*; do
		n=$(readlink "$f")
		[[ $n == socket:* ]] || continue
		grep -q " 0A .* $(tr -dc 0-9 <<<"$n") " /proc/net/tcp || continue
		f=/proc/$PID/fdinfo/${f##*/}
		listeners=$((listeners + 1))
		((($(awk '/^flags/ { print $2 }' "$f") & 04000) != 0)) || die "a listener blocks" || return
	done
	((listeners == 3)) || die "$listeners listeners were seen" || return
	run -0 ask "${PORTS[flags]}"
	[[ $(awk '/^flags/ { print $2 }' <<<"$output") == 02 ]]
	figure "$words"
}

@test "T14: 2,000 connections at once: all are served" {
	start_server -q 127.0.0.1:0 "$B/tests/tiny"
	run -0 "$B/tests/load" -b "$PORT" 2000 60
	[[ ${output##* } == 0 ]]
	until_true 10 has_children 0
}

held_idle() { # held_idle CLIENTS [OPTION...]: so many are held; what they cost, and how soon they are gone
	local n=$1 before start next gone rss most; shift
	mkfifo go
	start_server -q "$@" 127.0.0.1:0 "$B/tests/keep"
	"$B/tests/hold" "$PORT" "$n" <go >count 3>&- & local h=$!
	exec {w}>go
	until_true 400 test -s count
	[[ $(<count) == "$n" ]] || die "only $(<count) of $n are held" || return
	before=$(ticks "$PID")
	nap 2
	before=$(($(ticks "$PID") - before))
	((before <= 4)) || die "$before ticks in 2 s" || return
	"$B/tests/probe" -s x "$PORT" 2 >next
	read -ra next <next
	((next[0] == next[1] && next[3] < $(bound 10000 500000))) || die "the next: $(<next)" || return
	rss=$(awk '/VmRSS/ { print $2 }' "/proc/$PID/status")
	most=8192
	[[ $B != *asan* ]] || most=1000000
	((rss <= most)) || die "$rss KiB" || return
	exec {w}>&-
	wait "$h"
	start=$(now_ms)
	until_true 30 has_children 0
	gone=$(($(now_ms) - start))
	((gone < $(bound 2000 10000))) || die "reaped after $gone ms" || return
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	figure "$n held, $((rss / 1024)).$((rss % 1024 * 10 / 1024)) MB, $((before / 2)) % of a processor, the next in $((next[2] / 1000)).$((next[2] / 100 % 10)) ms, all reaped $gone ms after"
}

@test "T15: 500 children that hold on: one more is served at once, all are reaped" {
	held_idle 500
}

# Each takes two descriptors of the master, one where it keeps nothing of the connection.
# bats test_tags=long
@test "T15: 10,000 idle clients, or as many as there are descriptors for" {
	ulimit -n 40000 2>/dev/null || :	# as far as who runs this may
	local most; most=$(ulimit -Hn)
	[[ $most != unlimited ]] || most=1000000
	most=$((most / 2 - 200))
	held_idle $((most < 10000 ? most : 10000))
}

# bats test_tags=long
@test "T15: 10,000 idle clients, with linger = no" {
	local most; most=$(ulimit -Hn)
	[[ $most != unlimited ]] || most=1000000
	most=$((most - 400))
	held_idle $((most < 10000 ? most : 10000)) -o linger=no
}

@test "T23: a command that is short of memory (RLIMIT_AS) ends, which is told; the server goes on" {
	requires python3
	[[ $B != *asan* ]] || skip "the sanitizer's shadow is larger"
	start_server -o rlimit_as=200M 127.0.0.1:0 python3 -c 'print("in", flush=True); x = b"x" * (1 << 30); print("out")'
	local i
	for i in 1 2 3; do run -0 ask; [[ $output == in*MemoryError* && $output != *out* ]]; done
	until_true 5 log_has 3 'EXIT: python3 status=1'
	run -0 awk '/address space/ { print $4 }' "/proc/$PID/limits"
	[[ $output == unlimited ]]
	! gone "$PID" || die "it is gone"
}

@test "T23: a command that the kernel kills for want of memory ends with signal 9, which is told; the master is not taken" {
	in_cgroup memory; requires python3
	local limit=memory.limit_in_bytes i
	[[ -e $CGROUP/$limit ]] || limit=memory.max
	cgroup $limit 100M
	[[ ! -e $CGROUP/memory.swap.max ]] || cgroup memory.swap.max 0
	start_server 127.0.0.1:0 python3 -c 'print("in", flush=True); x = b"x" * (300 << 20); print("out")'
	for i in 1 2 3 4 5; do run -0 ask; [[ $output == in ]] || die "not killed: $output" || return; done
	until_true 5 log_has 5 'EXIT: python3 signal=9'
	! gone "$PID" || die "it is gone"
	figure "5 of 5 ended by signal 9, the master lives"
}

@test "a UNIX client that leaves descriptors in its socket cannot hold up the master" {
	requires python3
	cat >evil.py <<-'X'
	import array, os, signal, socket, struct, sys
	# A TCP socket with unsent data and SO_LINGER: whoever closes it last waits 20 s.
	l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(1)
	c = socket.socket(); c.connect(l.getsockname()); s, _ = l.accept()
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 20))
	s.setblocking(False)
	try:
	    while True: s.send(b"x" * 65536)
	except BlockingIOError: pass
	# The server stands still until our own copy is closed: else ours might be the last one.
	os.kill(int(sys.argv[2]), signal.SIGSTOP)
	u = socket.socket(socket.AF_UNIX); u.connect(sys.argv[1])
	u.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
	s.close(); u.shutdown(socket.SHUT_WR)
	os.kill(int(sys.argv[2]), signal.SIGCONT)
	print(u.recv(100).decode())
	input()
	X
	local how
	for how in only_from=user:65534 id=served linger=no held many; do
		local options=(-o "$how")
		[[ $how != held ]] || options=(-o linger=no -o "log_on_success+=BYTES")
		[[ $how != many ]] || many options || return
		start_server "${options[@]}" -o listen+=127.0.0.1:0 "unix:s.$how" echo hi
		PORT=${ADDRESSES[1]##*:}
		mkfifo in.$how
		python3 evil.py "s.$how" "$PID" <in.$how >out.$how 3>&- & local p=$!
		exec {w}>in.$how
		until_true 10 test -s out.$how
		# Longer than a second: until then a copy may be left at a low number.
		local start i
		for i in 1 2 3 4; do
			start=$(now_ms)
			run -0 ask
			(($(now_ms) - start < 3000)) || die "held up" || return
			nap 0.4
		done
		exec {w}>&-
		kill "$p" 2>/dev/null; wait "$p" || :
		for p in $(marked); do [[ " ${SRV[*]} " == *" $p "* ]] || kill -KILL "$p" 2>/dev/null || :; done
	done
}

# many OPTIONS: linger = no beside so many descriptors that the child shares their table
many() {
	local -n options_=$1
	local i
	[[ $(ulimit -n) -gt 1200 ]] || ulimit -n 2000 || skip "not enough descriptors"
	options_=(-o linger=no)
	for ((i = 0; i < 1000; i++)); do options_+=(-o "listen+=127.0.0.1:0"); done
}

@test "linger = no, beside a thousand descriptors: replies, ends and errors are as with few" {
	requires_tracing
	local options; many options || return
	WRAP="strace -D -f -qq -e trace=clone,clone3,futex,execve -o calls" start_server "${options[@]}" 127.0.0.1:0 sh -c 'echo hi; ls /proc/$$/fd'
	run -0 ask; [[ ${lines[*]} == "hi 0 1 2" ]]
	grep -q CLONE_PIDFD calls || skip "this kernel's way to start a child is another one"
	grep -qE 'CLONE_VM\|.*CLONE_FILES' calls
	grep -q 'FUTEX_WAKE_PRIVATE' calls
	run -0 "$PEER" -n 50 "tcp:127.0.0.1:$PORT"; [[ $output == "50 450" ]]
	start_server "${options[@]}" 127.0.0.1:0 ./missing
	run -0 ask; [[ -z $output ]]
	wait_log 'ERROR: missing cannot execute "./missing": No such file'
}

# It waits for the master to let go of its connection.
waits() {
	local x; x=$(<"/proc/$PID/task/$PID/children") && child=${x%% *}
	[[ -n $child && $(<"/proc/$child/wchan") == *futex* ]]
}

@test "linger = no, beside a thousand descriptors: a child that waits for the master holds no other connection" {
	requires_root; requires_tracing
	local options child waited=; many options || return
	# That it is beside a thousand does not hang on its own number: what start_server closes leaves a gap below.
	start_server "${options[@]}" 127.0.0.1:0 sleep 60
	strace -qq -e trace=clone,clone3 -e inject=clone,clone3:delay_exit=700000 -o calls -p "$PID" 3>&- & local t=$!
	until_true 5 grep -q "^TracerPid:	$t\$" "/proc/$PID/status"
	"$PEER" -t 10000 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local p=$!
	if until_true 3 waits; then
		waited=yes
		run -0 ls "/proc/$child/fd"; [[ ${lines[*]} == "0 1 2" ]]
	else
		run -1 grep CLONE_PIDFD calls
	fi
	kill "$t"; wait "$t" || :
	kill "$p"; wait "$p" || :
	kill -KILL "$child"
	[[ -n $waited ]] || skip "this kernel's way to start a child is another one"
}

# A start for which a name is looked up first is a process of its own, which lives as long as that takes.
@test "linger = no, beside a thousand descriptors: who looks up a name meanwhile holds no other connection" {
	requires_silent_resolver; requires nsenter; requires_tracing
	local in unused; many unused || return
	{
		printf 'service a {\n\tlisten ='; printf ' 127.0.0.1:0%.0s' {0..1000}; printf '\n\tshell = echo a\n\tuser = root\n\tlinger = no\n}\n'
		printf 'service b {\n\tlisten = 127.0.0.1:0\n\tshell = echo b\n\tuser = root\n\tlookup = yes\n}\n'
	} >t
	chmod 644 t
	cat >in.sh <<-X
	printf 'nameserver 127.0.0.1\noptions timeout:5 attempts:1\n' >resolv; echo 'hosts: dns' >nss
	mount --bind resolv /etc/resolv.conf; mount --bind nss /etc/nsswitch.conf
	ip link set lo up
	python3 silent.py </dev/null >/dev/null 2>&1 & echo \$! >helpers
	until [ -e up ]; do sleep 0.01; done
	exec "\$@"
	X
	START_LIMIT=30 WRAP="unshare -m -n sh in.sh" start_server -f t
	in=(nsenter -t "$PID" -n)
	# The first child is held where it has not its own table yet.
	strace -qq -f -e trace=close_range -e inject=close_range:delay_enter=700000 -o calls -p "$PID" 3>&- & local t=$!
	until_true 5 grep -q "^TracerPid:	$t\$" "/proc/$PID/status"
	"${in[@]}" "$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >got.a 3>&- & local a=$!
	wait_log 'START: a'
	"${in[@]}" "$PEER" -t 20000 "tcp:127.0.0.1:${PORTS[b]}" >got.b 3>&- & local b=$!
	wait "$a"
	local early; early=$(count_log 'START: b')
	wait "$b"
	kill "$t"; wait "$t" || :
	kill $(<helpers)
	grep -q 'close_range(.*DELAYED' calls || skip "this kernel's way to start a child is another one"
	[[ $(<got.a) == a && $(<got.b) == b && $early == 0 ]] || die "a waited for b"
}

@test "a command that sets SO_LINGER cannot hold up the master" {
	requires python3
	cat >linger.py <<-'X'
	import socket, struct
	s = socket.socket(fileno=0)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 20))
	s.setblocking(False)
	try:
	    while True: s.send(b"x" * 65536)
	except BlockingIOError: pass
	import os; os._exit(0)
	X
	local options how
	for how in hangup many; do
		options=(-o linger=no -o hangup=kill)
		[[ $how != many ]] || many options || return
		start_server "${options[@]}" -o listen+=127.0.0.1:0 127.0.0.1:0 python3 linger.py
		"$PEER" -c go -t 30000 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local p=$!
		wait_log 'EXIT: python3'
		local start; start=$(now_ms)
		kill -USR1 "$PID"; wait_log STATE
		(($(now_ms) - start < 3000)) || die "$how: held up" || return
		kill "$p"; wait "$p" || :
	done
}

@test "linger = no, but held: the end of stream comes at once" {
	start_server -o linger=no -o hangup=kill -o log_on_success+=BYTES 127.0.0.1:0 echo hi
	local start; start=$(now_ms)
	run -0 "$PEER" -n 5 "tcp:127.0.0.1:$PORT"
	(($(now_ms) - start < 2500))
}

@test "a domain in a list does not open a UNIX socket" {
	requires_root; requires setpriv
	chmod 755 . ..
	start_server -o 'only_from=.example.org user:root' -o mode=666 unix:s echo hi
	run -0 "$PEER" unix:s; [[ $output == hi ]]
	cp "$PEER" peer; chmod 755 peer
	run -0 setpriv --reuid=65534 --clear-groups ./peer unix:s
	[[ -z $output ]]
	wait_log 'FAIL: echo address from=uid:65534'
}

@test "started with SIGCHLD ignored it reaps and tells statuses all the same" {
	requires python3
	cat >ign.py <<-'X'
	import os, signal, sys
	signal.signal(signal.SIGCHLD, signal.SIG_IGN)
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	WRAP="python3 ign.py" start_server 127.0.0.1:0 sh -c 'exit 7'
	run -0 ask
	wait_log 'EXIT: sh status=7'
	until_true 5 no_zombies
}

@test "out of descriptors: datagrams wait too, none is lost; nor by an upgrade meanwhile" {
	requires prlimit
	start_server udp:127.0.0.1:0 sh -c 'read -r x; echo "got $x"'
	local i most p=()
	PORT=${ADDRESSES[0]##*:}
	most=$(awk '/^Max open files/ { print $4 }' "/proc/$PID/limits")
	run -0 timeout 20 "$DATAGRAMS" "udp:127.0.0.1:$PORT" first; [[ $output == "got first" ]]
	until_true 5 has_children 0
	prlimit --pid "$PID" --nofile="$(nfds "$PID"):"
	for i in {1..12}; do timeout 20 "$DATAGRAMS" -t 15000 "udp:127.0.0.1:$PORT" "$i" >"o.$i" 3>&- & p+=($!); done
	wait_log 'PAUSE: sh fork Too many open files'
	# Several attempts later
	nap 0.5
	prlimit --pid "$PID" --nofile="$most:"
	kill -USR2 "$PID"
	wait "${p[@]}"
	for i in {1..12}; do [[ $(<"o.$i") == "got $i" ]] || die "lost: $i" || return; done
	wait_log 'UPGRADE: done'
	log_has 0 'is lost'
}
