load helper

# start_datagrams ARGS...: sets HERE, its address as a client says it (of IPv4, where it is any).
start_datagrams() { start_server "$@"; HERE=${ADDRESSES[0]/\*/127.0.0.1} DPORT=${ADDRESSES[0]##*:}; }
send() { timeout 20 "$DATAGRAMS" "$@"; }
mute() { send -k 0 "$@"; }
table() { cat >t; chmod 644 t; } # one that a server run by root takes

# --- a child per datagram

@test "the example of udp: each datagram starts a command, and what it writes goes back" {
	start_datagrams udp:0 date
	run -0 send "$HERE" x
	[[ $output == *20[0-9][0-9]* ]]
	wait_log 'START: date pid=[0-9]+ from=127.0.0.1'; wait_log 'EXIT: date status=0 pid='
	run -0 "$CLIENT" -w 0.2 "$HERE" x
	[[ $output == *20[0-9][0-9]* ]]
}

# bats test_tags=child
@test "the datagram is what 0 reads, then end of file" {
	start_datagrams udp:127.0.0.1:0 sh -c 'wc -c; readlink /proc/self/fd/0 | cut -d: -f1'
	run -0 send -k 2 "$HERE" "four"
	[[ $output == $'4\npipe' ]]
}

@test "each write to 1 is one datagram; so is one to 2" {
	start_datagrams udp:127.0.0.1:0 sh -c 'echo one; echo two; echo three >&2'
	run -0 send -l -k 3 "$HERE" x
	[[ $output == $'4\n4\n6' ]]
	start_datagrams -o stderr=log udp:127.0.0.1:0 sh -c 'echo oops >&2; echo one'
	run -0 send "$HERE" x
	[[ $output == one ]]
	wait_log 'STDERR: sh pid=[0-9]+ oops'
}

@test "an empty datagram is one, and so is an empty reply" {
	requires python3
	start_datagrams udp:127.0.0.1:0 wc -c
	run -0 send -z 0 "$HERE"
	[[ $output == 0 ]]
	start_datagrams udp:127.0.0.1:0 python3 -S -c 'import os; os.write(1, b""); os.write(1, b"end")'
	run -0 send -l -k 2 "$HERE" x
	[[ $output == $'0\n3' ]]
}

@test "65507 bytes go in and out; a longer reply is lost and that is told" {
	start_datagrams udp:127.0.0.1:0 dd bs=65536 status=none
	run -0 send -l -z 65507 "$HERE"
	[[ $output == 65507 ]]
	start_datagrams udp:127.0.0.1:0 dd if=/dev/zero bs=65508 count=1 status=none
	mute "$HERE" x
	wait_log 'ERROR: dd a reply of 65508 bytes to 127.0.0.1 is lost: .+'
	start_datagrams udp:127.0.0.1:0 sh -c 'head -c 150000 /dev/zero | dd bs=150000 iflag=fullblock status=none; echo after'
	run -0 send "$HERE" x
	[[ $output == after ]]
	wait_log 'a reply of 150000 bytes to 127.0.0.1 is lost'
}

@test "a reply comes from the address that was asked, and from the port" {
	start_datagrams udp:0 echo hi
	local a
	for a in 127.0.0.1 127.0.0.2 127.9.8.7 '[::1]'; do
		run -0 send -f "udp:$a:$DPORT" x
		a=${a#[}
		[[ $output == "${a%]}:$DPORT hi" ]]
	done
	start_datagrams udp4:0 echo hi
	run -0 send -f "udp:127.0.0.3:$DPORT" x
	[[ $output == "127.0.0.3:$DPORT hi" ]]
	start_datagrams udp6:0 echo hi
	run -0 send -f "udp:[::1]:$DPORT" x
	[[ $output == "::1:$DPORT hi" ]]
	run -5 send "udp:127.0.0.1:$DPORT" x
}

@test "a broadcast is answered, from an address of this machine" {
	start_datagrams udp:0 echo hi
	run -0 send -f "udp:127.255.255.255:$DPORT" x
	[[ $output == "127.0.0."[12]":$DPORT hi" || $output == "127.0.0.1:$DPORT hi" ]]
	start_datagrams udp4:0 echo hi
	run -0 send -f "udp:127.255.255.255:$DPORT" x
	[[ $output == "127.0.0.1:$DPORT hi" ]]
}

# bats test_tags=child
@test "the environment tells both ends by UDP's names" {
	export TCPREMOTEIP=stale UDPREMOTEHOST=stale LISTEN_FDS=1 LISTEN_PID=1
	start_datagrams udp:0 sh -c 'echo $PROTO $UDPLOCALIP $UDPLOCALPORT $UDPREMOTEIP $UDPREMOTEPORT $REMOTE_HOST $REMOTE_ADDR $REMOTE_PORT; env | grep -E "^(TCP|UNIX|LISTEN_|UDPREMOTEHOST|NOTIFY)"'
	local p=40000
	# A port that is free: the server was just given another.
	while ! send -b "127.0.0.5:$p" -k 0 "udp:127.0.0.4:9" x; do ((++p)); done 2>/dev/null
	run -0 send -b "127.0.0.5:$p" "udp:127.0.0.4:$DPORT" x
	[[ $output == "UDP 127.0.0.4 $DPORT 127.0.0.5 $p 127.0.0.5 127.0.0.5 $p" ]]
	run -4 send -k 2 -t 200 -b "[::1]:$p" "udp:[::1]:$DPORT" x
	[[ $output == "UDP ::1 $DPORT ::1 $p ::1 ::1 $p" ]]
}

# bats test_tags=child
@test "no other descriptor is open, all of them block, and none is the socket" {
	requires python3
	cat >look.py <<-'X'
	import os, stat, socket
	fds = [f for f in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + f)]
	kinds = ["socket" if stat.S_ISSOCK(os.fstat(f).st_mode) else "pipe" for f in (0, 1, 2)]
	family = socket.socket(fileno=os.dup(1)).family.name
	os.write(1, ("%s %s %s %s" % (fds, kinds, [os.get_blocking(f) for f in (0, 1, 2)], family)).encode())
	X
	start_datagrams udp:127.0.0.1:0 python3 -S look.py
	run -0 send "$HERE" x
	echo "$output"
	[[ $output == "['0', '1', '2'] ['pipe', 'socket', 'socket'] [True, True, True] AF_UNIX" ]]
	start_datagrams -o session=yes udp:127.0.0.1:0 python3 -S look.py
	run -0 send "$HERE" x
	[[ $output == "['0', '1', '2'] ['socket', 'socket', 'socket'] [True, True, True] AF_UNIX" ]]
}

@test "a thousand datagrams of a hundred peers: each has its answer, and nothing is left of them" {
	start_datagrams -q udp:127.0.0.1:0 cat
	run -0 send -n 10 -m 10 "$HERE"
	until_true 5 has_children 0
	local before; before=$(nfds "$PID")
	run -0 send -n 100 -m 10 -w 32 "$HERE"
	[[ $output == "1000 0" ]]
	until_true 5 is_quiet "$before"
}

@test "instances: who is too much waits in the kernel's queue" {
	gate g
	start_datagrams -o instances=1 udp:127.0.0.1:0 ./g
	send "$HERE" a >a 3>&- & local a=$!
	entered g
	send "$HERE" b >b 3>&- & local b=$!
	wait_log 'PAUSE: g'
	has_children 1
	[[ ! -s b ]]
	open_gate g; wait "$a"
	entered g; open_gate g; wait "$b"
	[[ $(<a) == bye && $(<b) == bye ]]
	wait_log 'RESUME: g'
}

@test "instances with overload = reject: who is too much is dropped and logged" {
	gate g
	start_datagrams -o instances=1 -o overload=reject udp:127.0.0.1:0 ./g
	send "$HERE" a >a 3>&- & local a=$!
	entered g
	mute "$HERE" b
	wait_log 'FAIL: g service_limit from=127.0.0.1'
	open_gate g; wait "$a"; [[ $(<a) == bye ]]
	wait_state 'g live=0 started=1 refused=1'
}

@test "per_source and source_cps hold for datagrams" {
	gate g
	start_datagrams -o per_source=1 udp:127.0.0.1:0 ./g
	send "$HERE" a >a 3>&- & local a=$!
	entered g
	mute "$HERE" b
	wait_log 'FAIL: g per_source_limit from=127.0.0.1'
	send -b 127.0.0.2 "$HERE" c >c 3>&- & local c=$!
	entered g; exec {go}<>g.go; printf 'go\ngo\n' >&"$go"; wait "$a"; wait "$c"
	[[ $(<a) == bye && $(<c) == bye ]]
	start_datagrams -o source_cps=2/1h -o id=s udp:127.0.0.1:0 echo hi
	run -0 send "$HERE" 1 2
	run -4 send -t 100 "$HERE" 3
	wait_log 'FAIL: s source_rate from=127.0.0.1'
	run -0 send -b 127.0.0.2 "$HERE" 1
}

@test "only_from, no_access and access_times: FAIL, no command, no answer" {
	start_datagrams -o only_from=127.0.0.2 udp:0 echo hi
	mute "$HERE" x
	wait_log 'FAIL: echo address from=127.0.0.1'
	mute "udp:[::1]:$DPORT" x
	wait_log 'FAIL: echo address from=::1'
	run -0 send -b 127.0.0.2 "$HERE" x
	[[ $output == hi ]]
	wait_log EXIT; log_has 1 START
	local h=$(((10#$(date +%H) + 2) % 24))
	start_datagrams -o access_times="$h:00-$h:01" -o id=t udp:127.0.0.1:0 echo hi
	mute "$HERE" x
	wait_log 'FAIL: t time from='
}

@test "a command that cannot be started, that ends at once, that writes into the void" {
	start_datagrams udp:127.0.0.1:0 ./nothing
	mute "$HERE" 1 2
	wait_log 'ERROR: nothing cannot execute "./nothing"'
	start_datagrams udp:127.0.0.1:0 true
	mute "$HERE" 1 2 3
	until_true 5 log_has 3 'EXIT: true status=0'
	start_datagrams udp:127.0.0.1:0 sh -c 'cat; echo late'
	# The peer has gone: the kernel tells of its closed port, and the next is served all the same.
	mute "$HERE" 1 2 3 4
	run -0 send -k 2 "$HERE" here
	[[ $output == "herelate" ]]
}

@test "the reply of a process that goes on after the first has ended leaves too" {
	gate g
	start_datagrams udp:127.0.0.1:0 sh -c 'echo first; ./g & exit'
	send -k 2 "$HERE" x >out 3>&- & local p=$!
	entered g
	wait_log 'EXIT: sh'
	open_gate g; wait "$p"
	[[ $(<out) == $'first\nbye' ]]
}

@test "processes in sessions of their own that write for ever do not hold the server" {
	requires python3
	mkfifo go
	# A large buffer and small datagrams: however fast they are read, there is always one more.
	cat >flood.py <<-'X'
	import os, socket
	s = socket.socket(fileno=1)
	for force in (socket.SO_SNDBUF, 32):
	    try: s.setsockopt(socket.SOL_SOCKET, force, 4 << 20)
	    except PermissionError: pass
	word = os.read(0, 100)
	for i in range(3 if word == b"flood" else 0):
	    if os.fork() == 0:
	        os.setsid()
	        try:
	            while True: s.send(b"x")
	        except OSError: os._exit(0)
	if word == b"flood": open("go").read()
	else: s.send(word)
	X
	start_datagrams udp:127.0.0.1:0 python3 -S flood.py
	run -0 send -k 9 "$HERE" flood
	echo >go
	wait_log 'EXIT: python3 status=0'
	run -0 send "$HERE" other
	[[ $output == other ]]
}

@test "linger and drain: a reply still leaves" {
	gate g
	start_datagrams udp:127.0.0.1:0 ./g
	send "$HERE" x >out 3>&- & local p=$!
	entered g
	kill -TERM "$PID"
	wait_log 'DRAIN: .*1 children'
	open_gate g
	wait "$p"; [[ $(<out) == bye ]]
	wait_end; [[ $STATUS == 0 ]]
}

@test "BYTES counts every datagram's, the last ones' too" {
	mkfifo go
	start_datagrams -o log_on_success='PID EXIT BYTES' udp:127.0.0.1:0 sh -c 'cat; read -r x <go; i=0; while [ $i -lt 100 ]; do echo abc; i=$((i + 1)); done'
	send -k 101 "$HERE" 1234567 >out 3>&- & local p=$! child
	wait_log START
	child=$(children "$PID")
	# All of it and its end are there at once.
	kill -STOP "$PID"; echo >go
	until_true 5 gone "$child"
	kill -CONT "$PID"
	wait_log 'EXIT: sh status=0 pid=[0-9]+ bytes_in=7 bytes_out=407$'
	wait "$p"; [[ $(wc -c <out) == 407 ]]
}

@test "timeout ends a datagram's command" {
	start_datagrams -o timeout=50ms udp:127.0.0.1:0 tail -f /dev/null
	mute "$HERE" x
	wait_log 'EXIT: tail signal=15'
}

# --- sessions

# A session's command must take a datagram whole: the rest of one that is read in parts is lost, so
# that the shell's own read, which takes byte after byte, is of no use.
one='one() { x=$(dd bs=65536 count=1 status=none) && [ -n "$x" ]; }; '

@test "session: a peer's later datagrams go to the same command, another peer's to another" {
	start_datagrams -o session=yes udp:0 sh -c "$one"'while one; do echo "$$ $x"; done'
	send "$HERE" 1 2 3 >a
	send "$HERE" 1 >b
	send "udp:127.0.0.2:$DPORT" 1 >c
	run cut -d' ' -f1 a
	[[ ${lines[0]} == "${lines[1]}" && ${lines[0]} == "${lines[2]}" && ${#lines[@]} == 3 ]]
	[[ $(cut -d' ' -f2 a) == $'1\n2\n3' ]]
	until_true 5 has_children 3
	[[ $(cat a b c | cut -d' ' -f1 | sort -u | wc -l) == 3 ]]
	stop_server INT
}

@test "session: who asks two of our addresses from one port talks to two commands" {
	requires python3
	start_datagrams -o session=yes udp:0 cat
	cat >two.py <<-'X'
	import socket, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
	for n, a in (b"x", "127.0.0.1"), (b"y", "127.0.0.2"), (b"z", "127.0.0.1"):
	    s.sendto(n, (a, int(sys.argv[1])))
	    got, where = s.recvfrom(100)
	    assert got == n and where == (a, int(sys.argv[1])), (got, where)
	X
	timeout 10 python3 -S two.py "$DPORT"
	has_children 2
	stop_server INT
}

@test "session: 10,000 datagrams of 100 peers, none lost, none to the wrong one; nothing is left" {
	start_datagrams -q -o session=yes -o idle_timeout=300ms udp:127.0.0.1:0 cat
	send -n 2 "$HERE" >/dev/null
	until_true 5 has_children 0
	local before; before=$(nfds "$PID")
	run -0 send -n 100 -m 100 -w 100 "$HERE"
	[[ $output == "10000 0" ]]
	until_true 5 is_quiet "$before"
	wait_state 'cat live=0 started=1(0[2-9]|[1-9][0-9]) refused=0 failed=0'
}

@test "session: boundaries and lengths are kept" {
	start_datagrams -o session=yes udp:127.0.0.1:0 dd bs=65536 status=none
	run -0 send -l -z 65507 "$HERE" a bcd ef
	[[ $output == $'65507\n1\n3\n2' ]]
	stop_server INT
}

@test "session: idle_timeout ends it, and the next datagram begins another" {
	requires python3
	start_datagrams -o session=yes -o idle_timeout=100ms udp:127.0.0.1:0 sh -c "$one"'while one; do echo $$; done'
	cat >twice.py <<-'X'
	import os, socket, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
	s.connect(("127.0.0.1", int(sys.argv[1])))
	def ask():
	    s.send(b"x\n")
	    return s.recv(100)
	a = ask()
	assert ask() == a
	print("asked", flush=True)
	sys.stdin.readline()
	assert ask() != a
	X
	coproc { timeout 20 python3 -S twice.py "$DPORT" 3>&-; }
	local l p=$COPROC_PID out=${COPROC[1]}; read -rt 10 l <&"${COPROC[0]}"
	wait_log 'KILL: sh pid=[0-9]+ from=127.0.0.1 idle_timeout'
	wait_log 'EXIT: sh'
	echo >&"$out"
	wait "$p"
	stop_server INT
}

@test "session: what comes while the command ends, and before that is known, begins another" {
	requires python3
	mkfifo go
	start_datagrams -o session=yes udp:127.0.0.1:0 sh -c "$one"'one; echo "$x $$"; read -r y <go'
	cat >twice.py <<-'X'
	import socket, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
	s.connect(("127.0.0.1", int(sys.argv[1])))
	for word in b"a", b"b":
	    sys.stdin.readline()
	    s.send(word)
	    print("sent", flush=True)
	    print(s.recv(100).decode(), end="", flush=True)
	X
	coproc { timeout 20 python3 -S twice.py "$DPORT" 3>&-; }
	local a b p=$COPROC_PID in=${COPROC[0]} out=${COPROC[1]} child
	echo >&"$out"; read -rt 10 a <&"$in"; read -rt 10 a <&"$in"
	child=$(children "$PID")
	[[ $a == "a $child" ]]
	kill -STOP "$PID"
	echo >&"$out"; read -rt 10 b <&"$in"; [[ $b == sent ]]
	echo >go
	until_true 5 gone "$child"
	kill -CONT "$PID"
	read -rt 10 b <&"$in"
	[[ $b == "b "* && $b != "b $child" ]]
	wait "$p"
	stop_server INT
}

@test "session: a command that never reads holds up nobody else; what is lost is told, not for ever" {
	start_datagrams -q -o session=yes udp:127.0.0.1:0 sh -c "$one"'one; case $x in peer*) exec tail -f /dev/null ;; esac; echo "$x"; exec cat'
	run -4 send -t 100 -p 1 -n 1 -m 400 -w 400 -z 8000 "$HERE"
	[[ $output == "0 0" ]]
	run -0 send "$HERE" other again
	[[ $output == $'other\nagain' ]]
	wait_log 'a datagram from 127.0.0.1 is lost: the command does not read'
	wait_log '[0-9]+ more lost datagrams'
	(($(count_log 'is lost') <= 21))
	stop_server INT
}

@test "session: instances and per_source refuse a new peer, never a later datagram" {
	start_datagrams -o session=yes -o instances=2 udp:127.0.0.1:0 cat
	run -0 send -n 2 -m 5 "$HERE"
	mute "$HERE" x
	wait_log 'FAIL: cat service_limit from=127.0.0.1'
	stop_server INT
	start_datagrams -o session=yes -o id=p -o per_source=1 udp:127.0.0.1:0 cat
	run -0 send "$HERE" a b c; [[ $output == abc ]]
	mute "$HERE" x
	wait_log 'FAIL: p per_source_limit from=127.0.0.1'
	run -0 send -b 127.0.0.2 "$HERE" a b c; [[ $output == abc ]]
	stop_server INT
}

@test "session: one that began goes on when a reload takes session away; who is new gets a command each time" {
	requires python3
	entry() { printf 'service a { listen = udp:127.0.0.1:0\n%s\nshell = %s\n}\n' "$1" "$one"'while one; do echo "$$ $x"; done'; }
	entry "session = yes" | table
	start_datagrams -f t
	entry "" | table
	cat >talk.py <<-'X'
	import socket, subprocess, sys
	def peer():
	    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
	    s.connect(("127.0.0.1", int(sys.argv[1])))
	    return s
	def ask(s, word):
	    s.send(word)
	    return s.recv(100).split()
	s = peer()
	child, _ = ask(s, b"a")
	subprocess.run(sys.argv[2:], check=True)
	assert ask(s, b"b") == [child, b"b"]
	new = peer()
	assert child != ask(new, b"c")[0] != ask(new, b"d")[0]
	X
	timeout 30 python3 -S talk.py "$DPORT" "$SERVERCTL" -C "${CTL##*/}" reload
	stop_server INT
}

@test "session: a drain lets it go on: its peer's datagrams arrive, a new peer's do not" {
	requires python3
	start_datagrams -o session=yes udp:127.0.0.1:0 sh -c "$one"'while one; do echo "$$ $x"; case $x in bye) exit ;; esac; done'
	cat >talk.py <<-'X'
	import os, signal, socket, sys
	def peer():
	    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
	    s.connect(("127.0.0.1", int(sys.argv[1])))
	    return s
	def ask(s, word):
	    s.send(word)
	    return s.recv(100).split()
	s = peer()
	child, _ = ask(s, b"a")
	os.kill(int(sys.argv[2]), signal.SIGTERM)
	while "DRAIN: " not in open(sys.argv[3]).read(): pass
	peer().send(b"new")
	assert ask(s, b"b") == [child, b"b"]
	assert ask(s, b"bye") == [child, b"bye"]
	X
	timeout 20 python3 -S talk.py "$DPORT" "$PID" "$LOG"
	wait_end; [[ $STATUS == 0 ]]
	log_has 1 'START: '
}

@test "session with anything but datagrams and wait = no is an error" {
	run -2 "$SERVER" -o user="$ME" -o session=yes 127.0.0.1:0 cat
	[[ $output == *"session: only datagrams with wait = no have sessions"* ]]
	run -2 "$SERVER" -o user="$ME" -o session=yes -o wait=yes udp:127.0.0.1:0 cat
	[[ $output == *session* ]]
	run -2 "$SERVER" -o user="$ME" -o idle_timeout=1s udp:127.0.0.1:0 cat
	[[ $output == *"idle_timeout: "* ]]
	run -2 "$SERVER" -o user="$ME" -o hangup=kill udp:127.0.0.1:0 cat
	[[ $output == *"hangup: "* ]]
}

# --- UNIX

@test "unix-dgram: a sender with a name is answered, one without is served and that is told" {
	start_datagrams unix-dgram:sock sh -c 'tee got; echo "$PROTO $UNIXREMOTEEUID $UNIXREMOTEEGID $UNIXLOCALPATH" >vars'
	[[ ${PATHS[sh]} == sock ]]
	run -0 send -b me "$HERE" hello
	[[ $output == hello ]]
	wait_log 'EXIT: sh'
	[[ $(<vars) == "UNIX $(id -u) $(id -g) sock" ]]
	mute "$HERE" nameless
	wait_log 'a reply of 8 bytes to uid:[0-9]+ is lost'
	[[ $(<got) == nameless ]]
	run -0 send -b @"$BATS_TEST_NUMBER.$$" "$HERE" abstract
	[[ $output == abstract ]]
	stop_server
	[[ ! -e sock ]]
}

@test "unix-dgram: sessions, by the sender's name; mode and access rules hold" {
	start_datagrams -o session=yes -o mode=0640 unix-dgram:sock dd bs=65536 status=none
	[[ $(stat -c %a sock) == 640 ]]
	run -0 send -b one "$HERE" a b c; [[ $output == abc ]]
	run -0 send -b two "$HERE" d; [[ $output == d ]]
	until_true 5 has_children 2
	stop_server INT
	start_datagrams -o id=rule -o no_access="user:$ME" unix-dgram:sock2 cat
	mute -b three "$HERE" x
	wait_log 'FAIL: rule address from=uid:'
}

@test "unix-dgram: a sender without a name does not get into another user's session" {
	requires_root; requires setpriv
	start_datagrams -o session=yes -o only_from=user:root unix-dgram:@"$$.$BATS_TEST_NUMBER" tee -a got
	mute "$HERE" root
	until_true 5 test -s got
	cp "$DATAGRAMS" "/tmp/d.$$"
	run -0 setpriv --reuid 65534 --clear-groups "/tmp/d.$$" -k 0 "$HERE" stranger
	rm "/tmp/d.$$"
	wait_log 'FAIL: tee address from=uid:65534'
	[[ $(<got) == root ]]
	stop_server INT
}

@test "unix-dgram: descriptors that come along do no harm" {
	start_datagrams unix-dgram:sock cat
	run -0 send -b me -r 0 "$HERE" x
	until_true 5 has_children 0
	local before i; before=$(nfds "$PID")
	for i in 1 2 3 4 5; do mute -b "me$i" -r 60 "$HERE" x <"$LOG" || :; done
	run -0 send -b me6 "$HERE" y; [[ $output == y ]]
	settled() { has_children 0 && (($(nfds "$PID") <= before)); }
	until_true 5 settled
}

@test "unix-dgram: longer than 65536 bytes is dropped and told" {
	requires python3
	start_datagrams unix-dgram:sock wc -c
	python3 -S -c 'import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b"x" * 65537, "sock")'
	wait_log 'a datagram from uid:[0-9]+ is longer than 65536 bytes: dropped'
	run -0 send -b me -z 65536 "$HERE"
	[[ $output == 65536 ]]
}

# --- addresses

@test "several listeners of one service; tcp and udp of one service on port 0" {
	start_server -o listen+=udp:127.0.0.2:0 -o listen+=unix-dgram:sock -o listen+=tcp:127.0.0.1:0 udp:127.0.0.1:0 sh -c 'echo $PROTO'
	[[ ${#ADDRESSES[@]} == 4 ]]
	run -0 send "${ADDRESSES[0]}" x; [[ $output == UDP ]]
	local a
	for a in "${ADDRESSES[@]}"; do
		case $a in
		udp*) run -0 send "$a" x; [[ $output == UDP ]] ;;
		unix*) run -0 send -b me "$a" x; [[ $output == UNIX ]] ;;
		tcp*) run -0 "$PEER" "$a"; [[ $output == TCP ]] ;;
		esac
	done
}

@test "two servers cannot have one port of UDP" {
	start_datagrams udp:127.0.0.1:0 true
	run -1 "$SERVER" -o user="$ME" "$HERE" true
	[[ $output == *"$HERE: cannot bind: "* ]]
}

@test "an inherited UDP socket is served" {
	requires python3
	cat >give.py <<-'X'
	import os, socket, sys
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); s.set_inheritable(True)
	os.dup2(s.fileno(), 5)
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	WRAP="python3 -S give.py" start_datagrams fd:5 cat
	[[ $HERE == udp:127.0.0.1:* ]]
	run -0 send "$HERE" hello
	[[ $output == hello ]]
}

# in_net SCRIPT: runs it where there is an interface g0 with addresses.
in_net() {
	requires ip
	{
		echo 'trap "kill \$(jobs -p) 2>/dev/null || :" EXIT
		ip link set lo up && ip link add g0 type veth peer name g1 2>/dev/null || exit 77
		ip link set g0 up; ip link set g1 up; ip addr add 10.9.9.1/24 dev g0; ip -6 addr add fd00::1/64 dev g0 nodad 2>/dev/null || exit 77'
		declare -f send mute
		cat
	} >net.sh
	export SERVER DATAGRAMS
	unshare -rn true 2>/dev/null || skip "no network namespace"
	run timeout 20 unshare -rn bash -e net.sh 3>&-
	[[ $status != 77 ]] || skip "no virtual interface"
	echo "$output"
	[[ $status == 0 ]]
}
up='up() { mkfifo f.$1; "$SERVER" -r 9 "${@:2}" 9>f.$1 >>log 2>&1 & eval "$1=\$!"; while read -r x; do case $x in listen*) HERE=${x##* } ;; ready) return ;; esac; done <f.$1; return 1; }'

@test "a group of IPv4 and of IPv6 is joined at the interface named, and its members answer for themselves" {
	in_net <<-X
	$up
	up a udp:239.1.2.3%g0:0 sh -c 'echo \$UDPLOCALIP'
	[[ \$HERE == udp:239.1.2.3%g0:* ]]
	[[ \$(send -f -i g0 "udp:239.1.2.3:\${HERE##*:}" x) == "10.9.9.1:\${HERE##*:} "* ]]
	[[ \$(send -f -i lo -t 100 "udp:239.1.2.3:\${HERE##*:}" x || echo "rc \$?") == "rc "* ]]
	up b 'udp:[ff15::7%g0]:0' echo six
	[[ \$HERE == 'udp6:[ff15::7%g0]:'* ]]
	[[ \$(send -f -i g0 "udp:[ff15::7]:\${HERE##*:}" x) == "fd00::1:\${HERE##*:} six" ]]
	up c 'udp:[ff02::7%g0]:0' echo link
	[[ \$HERE == 'udp6:[ff02::7%g0]:'* ]]
	[[ \$(send -f -i g0 "udp:[ff02::7%g0]:\${HERE##*:}" x) == *"\${HERE##*:} link" ]]
	kill \$a \$b \$c; wait \$a; wait \$b; wait \$c
	X
}

@test "two receivers of one group both get what is sent to it" {
	in_net <<-X
	$up
	up a udp:239.1.2.3%g0:7777 echo one
	up b udp:239.1.2.3%g0:7777 echo two
	[[ \$(send -k 2 -f -i g0 udp:239.1.2.3:7777 x | sort) == "10.9.9.1:7777 one
	10.9.9.1:7777 two" ]]
	up c 'udp:[ff15::7%g0]:7777' echo one
	up d 'udp:[ff15::7%g0]:7777' echo two
	[[ \$(send -k 2 -f -i g0 'udp:[ff15::7]:7777' x | wc -l) == 2 ]]
	kill \$a \$b \$c \$d; for p in \$a \$b \$c \$d; do wait \$p; done
	X
}

@test "without a route and an interface a group is an error that says what to do" {
	requires ip
	unshare -rn true 2>/dev/null || skip "no network namespace"
	run -1 unshare -rn "$SERVER" udp:239.1.2.3:0 true
	[[ $output == *"no route leads to the group; name the interface: %IFACE behind the address"* ]]
	run -1 "$SERVER" -o user="$ME" udp:239.1.2.3%nosuch:0 true
	[[ $output == *"there is no interface nosuch"* ]]
}

# --- tables

@test "dgram udp nowait of a classic line and of a block" {
	table <<-X
	127.0.0.1:0 dgram udp nowait $ME /bin/cat cat
	service two
	{
		socket_type = dgram
		wait = no
		user = $ME
		session = yes
		bind = 127.0.0.1
		port = 0
		type = UNLISTED
		protocol = udp
		server = /bin/cat
	}
	X
	AS_ME="" start_server -f t
	[[ ${#ADDRESSES[@]} == 2 ]]
	run -0 send "${ADDRESSES[0]}" a b; [[ $output == ab ]]
	run -0 send "${ADDRESSES[1]}" a b; [[ $output == ab ]]
	stop_server INT
	"$SERVER" -f t --dump >d
	grep -q 'session.*= yes' d
	grep -q 'idle_timeout.*= 1m\|idle_timeout.*= 60' d
}
