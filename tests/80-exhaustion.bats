# Nothing spins, nothing is lost, each state is told once.
load helper

shimmed() { # shimmed SHIM: later servers run with these calls failing while ./fault exists
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM="%s" SHIM_WHILE=%s/fault exec "$@"\n' "$B/tests/shim" "$1" "$PWD" >shim.sh
	chmod +x shim.sh
	WRAP=./shim.sh
}

@test "out of descriptors: who came is served as soon as there are some, nobody is lost" {
	printf '#!/bin/bash\nulimit -n 24 && exec "$@"\n' >wrap.sh; chmod +x wrap.sh
	WRAP=./wrap.sh start_server 127.0.0.1:0 sh -c 'read -r x; echo "got $x"'
	local i p=()
	for i in {1..60}; do "$PEER" -t 20000 -s "$i
" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	wait "${p[@]}"
	[[ $(grep -c got o.* | grep -c ':1$') == 60 ]]
	until_true 5 has_children 0
}

@test "out of descriptors while all are held: no processor time, one line for the state, then all are served" {
	printf '#!/bin/bash\nulimit -n 24 && exec "$@"\n' >wrap.sh; chmod +x wrap.sh
	WRAP=./wrap.sh start_server 127.0.0.1:0 cat
	local i p=()
	for i in {1..20}; do "$PEER" -t 30000 -c go -s "$i" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	wait_log 'PAUSE: cat fork'
	local before; before=$(ticks "$PID")
	nap 2
	(($(ticks "$PID") - before <= 2))
	log_has 1 PAUSE
	: >go
	wait "${p[@]}"
	for i in {1..20}; do [[ $(<"o.$i") == "$i" ]]; done
	wait_log 'RESUME: cat fork'
}

@test "every error of accept(2) for a while: no spin, few lines, the listener stays, all are served after" {
	local e name
	for e in 24 23 105 12 103 71 1 100 113 95 4; do
		shimmed "accept4=$e"
		start_server 127.0.0.1:0 echo hi
		: >fault
		"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
		local before; before=$(ticks "$PID")
		nap 0.4
		(($(ticks "$PID") - before <= 2)) || die "errno $e spins: $(($(ticks "$PID") - before)) ticks" || return
		(($(count_log .) < 12)) || die "errno $e: too many lines" || return
		rm fault
		wait "$p"
		[[ $(<got) == hi ]] || die "errno $e: not served" || return
		WRAP="" stop_server
		: >"$LOG"
	done
}

@test "no process to be had (RLIMIT_NPROC): accepted connections are kept and served later" {
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

@test "2,000 connections at once: all are served" {
	start_server -q 127.0.0.1:0 "$B/tests/tiny"
	run -0 "$B/tests/load" -b "$PORT" 2000 60
	[[ ${output##* } == 0 ]]
	until_true 10 has_children 0
}

@test "500 children that hold on: one more is served at once, all are reaped" {
	start_server -q 127.0.0.1:0 cat
	"$B/tests/hold" "$PORT" 500 >count <<<"" & local h=$!
	wait "$h" || :
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:$PORT"
	[[ $output == x ]]
	until_true 10 has_children 0
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
	for how in only_from=user:65534 id=served linger=no held; do
		local options=(-o "$how")
		[[ $how != held ]] || options=(-o linger=no -o "log_on_success+=BYTES")
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
	start_server -o linger=no -o hangup=kill -o listen+=127.0.0.1:0 127.0.0.1:0 python3 linger.py
	"$PEER" -c go -t 30000 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local p=$!
	wait_log 'EXIT: python3'
	local start; start=$(now_ms)
	kill -USR1 "$PID"; wait_log STATE
	(($(now_ms) - start < 3000))
	kill "$p"; wait "$p" || :
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
