load helper

# start_wait ARGS...: with wait = yes; sets HERE, its first address.
start_wait() { start_server -o wait=yes "$@"; HERE=${ADDRESSES[0]/\*/127.0.0.1}; }
send() { timeout 20 "$DATAGRAMS" "$@"; }
mute() { send -k 0 "$@"; }
started() { count_log 'START: '; }

eval "$(declare -f setup | sed '1s/setup/setup_all/')"
setup() { setup_all; commands; }
commands() {
	# accepts one connection (or so many as the argument says), says the line, and ends
	cat >one.py <<-'X'
	import os, socket, sys
	s = socket.socket(fileno=0)
	for i in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
	    c, _ = s.accept()
	    c.sendall(b"%d\n" % os.getpid())
	    c.close()
	X
	# receives one datagram and sends it back
	cat >back.py <<-'X'
	import socket, sys
	s = socket.socket(fileno=0)
	d, a = s.recvfrom(65536)
	s.sendto(d, a)
	X
}

# bats test_tags=child
@test "tcp: the command has the listener, accepts, and is started again when it has ended" {
	requires python3
	start_wait tcp:0 python3 -S one.py
	local a b
	a=$(ask) b=$(ask)
	[[ -n $a && -n $b && $a != "$b" ]]
	wait_log "START: python3 pid=$a\$"
	wait_log "EXIT: python3 status=0 pid=$b duration"
	until_true 5 log_has 2 'EXIT: '
	log_has 2 'START: '
}

@test "unix and unix-seqpacket: the same" {
	requires python3
	start_wait -o listen+=unix-seqpacket:seq unix:sock python3 -S one.py
	local a b
	a=$("$PEER" unix:sock); b=$("$PEER" unix:sock)
	[[ -n $a && -n $b && $a != "$b" ]]
	run -0 "$PEER" unix-seqpacket:seq
	[[ $output =~ ^[0-9]+$ ]]
	stop_server
	[[ ! -e sock && ! -e seq ]]
}

@test "udp and unix-dgram: the command has the socket, and the datagram waits in it" {
	requires python3
	start_wait -o listen+=unix-dgram:sock udp:127.0.0.1:0 python3 -S back.py
	run -0 send "$HERE" a b c d e f g
	[[ $output == abcdefg ]]
	run -0 send -b me unix-dgram:sock x y
	[[ $output == xy ]]
	until_true 5 log_has 9 EXIT
	log_has 7 'START: python3 pid=[0-9]+ from=127.0.0.1$'
	log_has 2 'START: python3 pid=[0-9]+$'
}

# bats test_tags=child
@test "descriptors 0, 1 and 3 are the listener, blocking, and no other is open; LISTEN_* are systemd's" {
	requires python3
	cat >look.py <<-'X'
	import os, socket, sys
	fds = sorted(int(x) for x in os.listdir("/proc/self/fd"))
	fds = [f for f in fds if os.path.exists("/proc/self/fd/%d" % f)]
	print("fds", fds, file=sys.stderr)
	ino = [os.fstat(f).st_ino for f in (0, 1, 3)]
	print("same", len(set(ino)) == 1, file=sys.stderr)
	print("blocking", os.get_blocking(0), os.get_blocking(3), file=sys.stderr)
	print("inherits", os.get_inheritable(3), file=sys.stderr)
	e = os.environ
	print("env", e["LISTEN_FDS"], int(e["LISTEN_PID"]) == os.getpid(), e["LISTEN_FDNAMES"], e["PROTO"], e["SERVICE"], file=sys.stderr)
	print("gone", [k for k in e if k.startswith(("NOTIFY", "TCPREMOTE", "REMOTE", "UNIXREMOTE"))], file=sys.stderr)
	c, _ = socket.socket(fileno=3).accept()
	c.sendall(b"three\n")
	X
	export REMOTE_HOST=stale NOTIFY_SOCKET=/stale LISTEN_FDNAMES=stale
	start_wait -o id=name tcp:127.0.0.1:0 python3 -S look.py
	run -0 ask; [[ $output == three ]]
	wait_log 'EXIT: name status=0'
	logged 'STDERR: name pid=[0-9]+ fds \[0, 1, 2, 3\]$'
	logged ' same True$'
	logged ' blocking True True$'
	logged ' inherits True$'
	logged ' env 1 True name TCP name$'
	logged ' gone \[\]$'
}

@test "a command may leave the listener non-blocking; the next one finds it blocking" {
	requires python3
	start_wait tcp:127.0.0.1:0 python3 -S -c 'import os, socket; s = socket.socket(fileno=0); c, _ = s.accept(); c.sendall(b"%d\n" % os.get_blocking(0)); os.set_blocking(0, False)'
	run -0 ask; [[ $output == 1 ]]
	run -0 ask; [[ $output == 1 ]]
}

@test "stderr of a stream listener is log lines; so it is of a seqpacket one; null is null" {
	requires python3
	start_wait tcp:127.0.0.1:0 sh -c 'echo "said $$" >&2; exec python3 -S one.py'
	run -0 ask
	wait_log "STDERR: sh pid=$output said $output\$"
	start_wait -o id=quiet -o stderr=null tcp:127.0.0.1:0 sh -c 'echo "said $$" >&2; exec python3 -S one.py'
	run -0 ask
	wait_log 'EXIT: quiet'
	! logged 'STDERR: quiet' || die "it was to go to null"
}

@test "one at a time: while the command runs nothing else is started, and the next finds who waits" {
	gate g; requires python3
	sed -i 's/^echo bye/exec python3 -S one.py/' g
	start_wait tcp:127.0.0.1:0 ./g
	ask >a 3>&- & local a=$!
	entered g
	ask >b 3>&- & local b=$!
	run -0 "$PEER" -R "tcp:127.0.0.1:$PORT"	# connected, and gone again
	has_children 1
	open_gate g; entered g; has_children 1
	open_gate g; entered g; open_gate g
	wait "$a"; wait "$b"
	[[ -s a && -s b && $(<a) != "$(<b)" ]]
	until_true 5 log_has 3 'START: '
}

@test "a command that serves many in one life is started once" {
	requires python3
	start_wait tcp:127.0.0.1:0 python3 -S one.py 20
	run -0 "$PEER" -n 20 "tcp:127.0.0.1:$PORT"
	[[ $output == "20 "* ]]
	wait_log EXIT
	log_has 1 START
}

@test "each listener of a service has a command of its own" {
	gate g; requires python3
	sed -i 's/^echo bye/exec python3 -S one.py/' g
	start_wait -o listen+=tcp:127.0.0.2:0 tcp:127.0.0.1:0 ./g
	"$PEER" "${ADDRESSES[0]}" >a 3>&- & local a=$!
	entered g
	"$PEER" "${ADDRESSES[1]}" >b 3>&- & local b=$!
	entered g
	has_children 2
	exec {go}<>g.go; printf 'go\ngo\n' >&"$go"; wait "$a"; wait "$b"
	[[ -s a && -s b ]]
}

@test "instances holds over the listeners of a service" {
	gate g; requires python3
	sed -i 's/^echo bye/exec python3 -S one.py/' g
	start_wait -o instances=1 -o listen+=tcp:127.0.0.2:0 tcp:127.0.0.1:0 ./g
	"$PEER" "${ADDRESSES[0]}" >a 3>&- & local a=$!
	entered g
	"$PEER" "${ADDRESSES[1]}" >b 3>&- & local b=$!
	wait_log 'PAUSE: g'
	has_children 1
	open_gate g; wait "$a"; entered g; open_gate g; wait "$b"
	[[ -s a && -s b ]]
}

@test "limit raised: every service whose command reads itself goes on" {
	s() { printf 'service %s\n{\n\tlisten = unix-dgram:%s\n\texec = sleep 60\n\twait = yes\n\tuser = %s\n}\n' "$1" "$1" "$ME"; }
	{ printf 'defaults { limit = 1 }\n'; s a; s b; s c; } >t
	start_server -f t
	for n in a b c; do mute "unix-dgram:$n" x; done
	until_true 5 log_has 2 'PAUSE: . process_limit'
	sed -i 's/limit = 1/limit = 9/' t; kill -HUP "$PID"
	until_true 5 has_children 3
}

@test "a pause between two commands begins and ends in the log, once" {
	start_wait -o cps=1/1s udp:127.0.0.1:0 dd bs=9 count=1 status=none
	mute "$HERE" x y
	wait_log 'RESUME: dd service_limit'
	wait_log 'START: dd.*' && until_true 5 log_has 2 'START: dd'
	log_has 1 'PAUSE: dd service_limit'; log_has 1 'RESUME: dd service_limit'
}

@test "T31: a command that does not take what waits is started less and less, and that is told once" {
	local kind
	for kind in tcp:127.0.0.1:0 unix:u udp:127.0.0.1:0 unix-dgram:d; do
		: >"$LOG"
		start_wait "$kind" true
		case $kind in
		tcp* | unix:*) "$PEER" -c over "$HERE" >/dev/null 3>&- & local p=$! ;;
		*) mute "$HERE" x y ;;
		esac
		wait_log 'ERROR: true .*: the command ends and leaves there what was there; from now on it is started after growing pauses'
		(($(started) <= 6))
		# While it rests it costs nothing.
		local before n; before=$(ticks "$PID") n=$(started)
		nap 0.3
		(($(ticks "$PID") - before <= 1 && $(started) <= n + 1))
		log_has 1 'ERROR: '
		stop_server INT
		case $kind in tcp* | unix:*) : >over; wait "$p" || :; rm over ;; esac
	done
}

@test "T31: it heals itself when the command takes what waits again" {
	requires python3
	cat >cmd <<-'X'
	#!/bin/sh
	[ -e works ] || exit 1
	exec python3 -S "$1"
	X
	chmod +x cmd
	start_wait udp:127.0.0.1:0 ./cmd back.py
	send -t 10000 "$HERE" first >out 3>&- & local p=$!
	wait_log 'growing pauses'
	: >works
	wait "$p"
	[[ $(<out) == first ]]
	until_true 5 log_has 1 'EXIT: cmd status=0'
	# And the count begins anew: none of these is taken for one that was left.
	run -0 send "$HERE" a b c d e f g h
	[[ $output == abcdefgh ]]
	log_has 1 'growing pauses'
	rm works
	mute "$HERE" x
	until_true 5 log_has 2 'growing pauses'
	: >works
	stop_server INT
}

# bats test_tags=long
@test "T31: a minute of commands that end without reading: ten starts at most, ever longer pauses, no processor time; then they heal" {
	requires python3
	cat >cmd <<-'X'
	#!/bin/sh
	[ -e works ] || exit 0
	exec python3 -S "$1"
	X
	chmod +x cmd
	local kind servers=() before=() n i
	for kind in tcp udp; do
		LOG=$PWD/log.$kind; : >"$LOG"
		start_wait "$kind:127.0.0.1:0" ./cmd "$([[ $kind == tcp ]] && echo one.py || echo back.py)"
		servers+=("$PID"); before+=("$(ticks "$PID")")
		if [[ $kind == tcp ]]; then
			"$PEER" -t 200000 "$HERE" >got.tcp 3>&- & local tcp=$!
		else
			timeout 200 "$DATAGRAMS" -t 200000 "$HERE" first >got.udp 3>&- & local udp=$!
		fi
	done
	nap 60	# that is the row
	local said=""
	for i in 0 1; do
		LOG=$PWD/log.$([[ $i == 0 ]] && echo tcp || echo udp)
		n=$(started)
		((n <= 10)) || die "$n starts: $(<"$LOG")" || return
		log_has 1 'growing pauses'
		(($(ticks "${servers[i]}") - before[i] <= 60)) || die "$(($(ticks "${servers[i]}") - before[i])) ticks" || return
		said+="$n starts, $(($(ticks "${servers[i]}") - before[i])) ticks; "
	done
	local at; at=$(now_ms)
	: >works
	wait "$tcp"; wait "$udp"
	[[ $(<got.tcp) =~ ^[0-9]+$ && $(<got.udp) == first ]]
	figure "${said}heals after $((($(now_ms) - at) / 1000)) s"
	(($(now_ms) - at < 61000))
}

@test "datagrams that came before the server do not make it spin" {
	requires python3
	# The kernel knows no time of them, and says another one each time it is asked.
	cat >give.py <<-'X'
	import os, socket, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); s.set_inheritable(True)
	for i in range(3): s.sendto(b"same", s.getsockname())
	os.dup2(s.fileno(), 5)
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	WRAP="python3 -S give.py" start_wait fd:5 true
	wait_log 'growing pauses'
	(($(started) <= 6))
	stop_server INT
}

@test "many who wait at once are served, one command each, without a pause" {
	requires python3
	start_wait -q tcp:127.0.0.1:0 python3 -S one.py
	local i t pids=(); t=$(now_ms)
	for i in 1 2 3 4 5 6 7 8 9 10; do ask >"o.$i" 3>&- & pids+=($!); done
	for i in "${pids[@]}"; do wait "$i"; done
	[[ $(cat o.* | sort -u | wc -l) == 10 ]]
	! logged 'growing pauses' || die "it took one each time"
	(($(now_ms) - t < 5000))
}

@test "only_from of a udp service: a refused datagram is read and dropped" {
	requires python3
	start_wait -o only_from=127.0.0.2 udp:127.0.0.1:0 python3 -S back.py
	mute "$HERE" bad; mute "$HERE" bad
	run -0 send -b 127.0.0.2 "$HERE" good
	[[ $output == good ]]
	until_true 5 log_has 2 'FAIL: python3 address from=127.0.0.1'
	until_true 5 log_has 1 'EXIT'
	mute "$HERE" bad
	until_true 5 log_has 3 'FAIL: python3 address from=127.0.0.1'
	log_has 1 'START'
}

@test "user words of a unix-dgram service judge who sent the first datagram" {
	requires python3
	start_wait -o no_access="user:$ME" unix-dgram:sock python3 -S back.py
	mute -b me "$HERE" x
	wait_log 'FAIL: python3 address from=uid:'
	wait_state 'python3 live=0 started=0 refused=1'
}

@test "who is refused by the name he turns out to have is dropped, too" {
	requires python3; requires getent
	getent ahostsv4 localhost | grep -q '^127.0.0.1 ' || skip "localhost is not 127.0.0.1"
	start_wait -o no_access=localhost -o only_from='127.0.0.0/8 .example.invalid' udp:127.0.0.1:0 python3 -S back.py ||
		skip "names are not judged here"
	start_wait -o id=named -o only_from=.example.invalid udp:127.0.0.1:0 python3 -S back.py
	mute "$HERE" x y
	until_true 8 log_has 2 'FAIL: named address from='
	wait_state 'named live=0'
	! logged 'growing pauses' || die "the refused datagram stayed"
}

@test "what the command's own accept cannot know is an error for a stream" {
	local o
	for o in only_from=127.0.0.1 no_access=127.0.0.1 per_source=3 source_cps=1/1s idle_timeout=1s hangup=kill; do
		run -2 "$SERVER" -o user="$ME" -o wait=yes -o "$o" 127.0.0.1:0 true
		[[ $output == *"${o%=*}: with wait = yes the command itself accepts, unseen by the server"* ]]
	done
}

@test "timeout ends the command; the next is started for who still waits" {
	requires python3
	cat >cmd <<-'X'
	#!/bin/sh
	[ -e second ] && exec python3 -S one.py
	: >second
	exec tail -f /dev/null
	X
	chmod +x cmd
	start_wait -o timeout=2s tcp:127.0.0.1:0 ./cmd
	run -0 ask
	[[ $output =~ ^[0-9]+$ ]]
	logged 'KILL: cmd pid=[0-9]+ timeout$'
	logged 'EXIT: cmd signal=15'
}

@test "access_times hold for a stream: who comes waits" {
	local h=$(((10#$(date +%H) + 2) % 24))
	start_wait -o access_times="$h:00-$h:01" tcp:127.0.0.1:0 true
	run -4 "$PEER" -t 100 "tcp:127.0.0.1:$PORT"
	wait_log 'PAUSE: true time'
	log_has 0 START
}

@test "access_times hold for datagrams of who is not asked who he is" {
	local h=$(((10#$(date +%H) + 2) % 24))
	start_wait -o access_times="$h:00-$h:01" unix-dgram:d true
	mute unix-dgram:d x
	wait_log 'FAIL: true time'
	log_has 0 START
}

@test "instances = 0: nothing is started, whatever comes; a reload that gives it a place starts it" {
	service() { printf 'service none\n{\n\tlisten = tcp:127.0.0.1:0 unix-dgram:d fifo:f\n\texec = cat\n\twait = yes\n\tinstances = %d\n\tuser = %s\n}\n' "$1" "$ME" >t; }
	service 0
	start_server -f t
	run -4 "$PEER" -t 100 "tcp:127.0.0.1:$PORT"
	mute unix-dgram:d x
	echo x >f
	until_true 5 eval '(($(count_log "PAUSE: none service_limit") == 3))'
	log_has 0 START
	service 1; kill -HUP "$PID"
	wait_log 'START: none'
}

@test "a command that cannot be started is told, and does not spin" {
	start_wait tcp:127.0.0.1:0 ./nothing
	"$PEER" -c over "$HERE" >/dev/null 3>&- & local p=$!
	wait_log 'ERROR: nothing cannot execute "./nothing"'
	wait_log 'growing pauses'
	(($(count_log 'cannot execute') <= 6))
	stop_server INT
	: >over; wait "$p" || :
}

@test "drain: the command has its time, and is not started again" {
	gate g; requires python3
	sed -i 's/^echo bye/exec python3 -S one.py/' g
	start_wait tcp:127.0.0.1:0 ./g
	ask >a 3>&- & local a=$!
	entered g
	kill -TERM "$PID"
	wait_log 'DRAIN: .*1 children'
	open_gate g; wait "$a"
	[[ -s a ]]
	wait_end; [[ $STATUS == 0 ]]
	log_has 1 START
}

@test "drain: a command that goes on is told to end after grace" {
	start_wait -o grace=100ms tcp:127.0.0.1:0 tail -f /dev/null
	"$PEER" -c over "$HERE" >/dev/null 3>&- & local p=$!
	wait_log START
	local t; t=$(now_ms)
	stop_server
	[[ $STATUS == 0 ]]
	(($(now_ms) - t < 3000))
	logged 'EXIT: tail signal=15'
	: >over; wait "$p" || :
}

@test "a thousand datagrams: no descriptor and no child is left" {
	requires python3
	start_wait -q udp:127.0.0.1:0 python3 -S -c '
import socket
s = socket.socket(fileno=0); s.settimeout(0.05)
try:
    while True: d, a = s.recvfrom(65536); s.sendto(d, a)
except TimeoutError: pass'
	run -0 send "$HERE" x
	until_true 5 has_children 0
	local before; before=$(nfds "$PID")
	run -0 send -n 20 -m 50 -w 20 "$HERE"
	[[ $output == "1000 0" ]]
	until_true 5 is_quiet "$before"
}

@test "wait of a classic line and of a block" {
	requires python3
	# By the PATH that a command has: ours may lead to a script that looks for it, and takes its time.
	local python; python=$(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; command -v python3) || skip "no python3 there"
	cat >t <<-X
	127.0.0.1:0 stream tcp wait $ME $python python3 -S $PWD/one.py
	service two
	{
		socket_type = dgram
		protocol = udp
		wait = yes
		user = $ME
		bind = 127.0.0.1
		port = 0
		type = UNLISTED
		server = $python
		server_args = -S $PWD/back.py
	}
	X
	chmod 644 t
	AS_ME="" start_server -f t
	run -0 "$PEER" "${ADDRESSES[0]}"; [[ $output =~ ^[0-9]+$ ]]
	run -0 send "${ADDRESSES[1]}" hi; [[ $output == hi ]]
}

@test "a command that accepts one and ends is not taken for one that does not read, however many come" {
	requires python3
	cat >one.py <<-'X'
	import socket
	s = socket.socket(fileno=0)
	c, _ = s.accept()
	c.sendall(b"one\n")
	c.shutdown(socket.SHUT_WR)
	c.recv(1)
	X
	start_server -o wait=yes -o listen+=unix:s 127.0.0.1:0 python3 -S one.py
	local a n=0 pids=()
	for a in tcp:127.0.0.1:"$PORT" unix:s; do
		for _ in 1 2 3 4 5 6 7 8; do
			{ timeout 30 "$PEER" -n 4 -t 20000 "$a" >>got; } &
			pids+=($!)
		done
	done
	for a in "${pids[@]}"; do wait "$a" || n=$((n + 1)); done
	((n == 0))
	[[ $(sort -u got) == "4 16" ]] || die "$(sort got | uniq -c)"
	log_has 0 'leaves there what was there'
}
