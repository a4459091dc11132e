load helper

# The readers end with the test, and are no server's.
eval "rest_of_$(declare -f teardown)"
teardown() {
	local p
	for p in ${READERS[@]+"${READERS[@]}"}; do kill -KILL "$p" 2>/dev/null || :; done
	rest_of_teardown
}

entry() { # entry NAME LISTEN COMMAND...
	local name=$1 listen=$2; shift 2
	printf 'service %s\n{\n\tlisten = %s\n\texec = %s\n}\n' "$name" "$listen" "$*"
}

# Listens where $NOTIFY_SOCKET says; each datagram is written to ./told, "--" behind it. $1: a path or
# @NAME. Sets NOTIFY, the reader's pid.
listen_notify() {
	requires python3
	cat >notify.py <<-'X'
	import socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
	name = sys.argv[1]
	s.bind("\0" + name[1:] if name[0] == "@" else name)
	open("up", "w").close()
	with open("told", "wb", 0) as f:
	    while True:
	        data, anc, flags, addr = s.recvmsg(65536, 64)
	        pid = int.from_bytes(anc[0][2][:4], sys.byteorder)
	        f.write(data + (b"by=%d\n--\n" % pid))
	X
	: >told
	rm -f up n
	env -u NOTIFY_SOCKET -u TEST_MARK python3 notify.py "$1" </dev/null >/dev/null 2>&1 3>&- & NOTIFY=$!
	READERS+=("$NOTIFY")
	until_true 5 test -e up
	export NOTIFY_SOCKET=$1
}
# The n-th datagram.
datagram() { awk -v n="$1" 'BEGIN { i = 1 } /^--$/{ i++; next } i == n' told; }
told() { grep -qE -- "$1" told; }
wait_told() { until_true "${2:-5}" told "$1" || { cat told; return 1; }; }
count_told() { grep -cE -- "$1" told || :; }
told_so_often() { (($(count_told "$2") >= $1)); }

@test "the first datagram says READY, whose pid, and how things stand; the end is told" {
	listen_notify "$PWD/n"
	start_server 127.0.0.1:0 cat
	wait_told '^--'
	datagram 1 >first
	grep -qx 'READY=1' first; grep -qx "MAINPID=$PID" first; grep -qx "by=$PID" first
	grep -qx 'STATUS=1 service, 0 connections' first
	[[ $(wc -l <first) == 4 ]]
	stop_server
	[[ $STATUS == 0 ]]
	[[ $(count_told '^STOPPING=1$') == 1 ]]
	grep -A1 STOPPING told | grep -q '^STATUS=no more connections are taken; 0 connections'
	[[ $(count_told '^READY') == 1 && $(count_told '^WATCHDOG') == 0 ]]
}

@test "READY comes when every address was tried, and names one that could not be bound" {
	start_server 127.0.0.1:0 true
	local taken=$PORT
	listen_notify "@test.$$.$BATS_TEST_NUMBER"
	{ entry a "127.0.0.1:$taken" true; entry b 127.0.0.1:0 true; } >t
	start_server -f t
	wait_told '^READY=1'
	told "^STATUS=1 service, 0 connections; tcp:127.0.0.1:$taken: cannot bind: "
	# When it can, that is told.
	kill "${SRV[0]}"; until_true 5 gone "${SRV[0]}"
	wait_told '^STATUS=2 services, 0 connections$' 10
}

@test "TERM of inetd and QUIT are told too, and a stop" {
	local sig says
	for sig in QUIT INT; do
		listen_notify "$PWD/n"
		start_server 127.0.0.1:0 cat
		stop_server $sig
		wait_told '^STOPPING=1'
		[[ $(count_told STOPPING) == 1 ]]
		says="the commands are told to end"
		[[ $sig == INT ]] || says="ended; the commands live on"
		told "^STATUS=$says; 0 connections"
		kill "$NOTIFY"; wait "$NOTIFY" || :
	done
	listen_notify "$PWD/n"
	ln -s "$SERVER" inetd
	echo "127.0.0.1:0 stream tcp nowait $ME /bin/cat cat" >t
	local private=()
	[[ $(id -u) != 0 ]] || ! unshare -m true 2>/dev/null || private=(unshare -m sh -c 'mount -t tmpfs t /run && exec "$@"' sh)
	XDG_RUNTIME_DIR=$PWD "${private[@]}" ./inetd -d -p pid t </dev/null >>"$LOG" 2>&1 3>&- & PID=$!; SRV+=("$PID")
	wait_told '^READY=1'
	stop_server TERM
	wait_told '^STOPPING=1'
}

@test "connections are told, at most every two seconds" {
	gate g
	listen_notify "$PWD/n"
	start_server 127.0.0.1:0 ./g
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	entered g
	wait_told '^STATUS=1 service, 1 connection$'
	local n; n=$(count_told '^STATUS')
	open_gate g; wait "$a"
	local i
	for i in {1..20}; do "$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & a=$!; entered g; open_gate g; wait "$a"; done
	(($(count_told '^STATUS') <= n + 2))
	wait_told '^STATUS=1 service, 0 connections$'
	last() { [[ $(grep STATUS told | tail -n 1) == "STATUS=1 service, 0 connections" ]]; }
	until_true 5 last
}

@test "a connection of the worker's counts" {
	listen_notify "$PWD/n"
	start_server 127.0.0.1:0 cat
	local to=$PORT
	entry r 127.0.0.1:0 x | sed "s/exec.*/redirect = 127.0.0.1 $to/" >t
	: >told
	start_server -f t
	"$PEER" -c go -s x -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	relayed() { grep -A9 "MAINPID=$PID" told | grep -q .; told '^STATUS=1 service, 1 connection'; }
	until_true 5 relayed
	: >go; wait "$a" || :
}

@test "a reload: RELOADING with the time, then READY; also one that is refused" {
	listen_notify "$PWD/n"
	entry a 127.0.0.1:0 true >t
	start_server -f t
	wait_told '^--'
	local before after usec
	before=$(python3 -c 'import time; print(time.monotonic_ns() // 1000)')
	kill -HUP "$PID"
	wait_told '^RELOADING=1$'
	until_true 5 told_so_often 2 '^READY=1$'
	after=$(python3 -c 'import time; print(time.monotonic_ns() // 1000)')
	datagram 2 >second
	[[ $(head -n 1 second) == RELOADING=1 ]]
	usec=$(sed -n 's/^MONOTONIC_USEC=//p' second)
	((before <= usec && usec <= after))
	datagram 3 >third
	[[ $(head -n 1 third) == READY=1 ]]; grep -qx "MAINPID=$PID" third
	echo '}' >t
	kill -HUP "$PID"
	until_true 5 told_so_often 3 '^READY=1$'
	[[ $(count_told '^RELOADING=1') == 2 ]]
	told '^STATUS=1 service, 0 connections; the last reload was refused$'
}

@test "HUP with one command is a reload too: who waits for its end is not left waiting" {
	listen_notify "$PWD/n"
	start_server 127.0.0.1:0 true
	kill -HUP "$PID"
	until_true 5 told_so_often 2 '^READY=1$'
	[[ $(count_told '^RELOADING=1') == 1 ]]
}

@test "the watchdog is fed twice in its time, by the loop; not where it is another's" {
	listen_notify "$PWD/n"
	export WATCHDOG_USEC=400000
	start_server 127.0.0.1:0 true
	unset WATCHDOG_USEC
	until_true 5 told_so_often 3 '^WATCHDOG=1$'
	# One that hangs is silent.
	kill -STOP "$PID"
	stopped() { [[ $(state "$PID") == T ]]; }
	until_true 5 stopped
	local n; n=$(count_told '^WATCHDOG')
	nap 1
	(($(count_told '^WATCHDOG') <= n + 1))
	kill -CONT "$PID"
	until_true 5 told_so_often $((n + 3)) '^WATCHDOG=1$'
	stop_server
	kill "$NOTIFY"; wait "$NOTIFY" || :

	listen_notify "$PWD/n"
	WATCHDOG_USEC=20000 WATCHDOG_PID=1 start_server 127.0.0.1:0 true
	nap 0.3
	run ! told WATCHDOG
	# And where it is said to be for this very process.
	cat >run <<-X
	#!/bin/sh
	export WATCHDOG_PID=\$\$ WATCHDOG_USEC=20000
	exec "$SERVER" "\$@"
	X
	chmod +x run
	SERVER=$PWD/run start_server 127.0.0.1:0 true
	until_true 5 told_so_often 3 '^WATCHDOG=1$'
}

@test "-D: the process that the manager knows says READY and whose the service is from then on" {
	listen_notify "$PWD/n"
	mkfifo ready
	cat >run <<-X
	#!/bin/sh
	export WATCHDOG_PID=\$\$ WATCHDOG_USEC=20000
	echo \$\$ >front
	exec "$SERVER" "\$@"
	X
	chmod +x run
	./run -o user="$ME" -D -p pid -r 9 127.0.0.1:0 cat 9>ready 2>err 3>&- & local fg=$!
	read -rt 5 _ <ready
	wait "$fg"
	PID=$(<pid)
	wait_told '^--'
	datagram 1 >first
	grep -qx READY=1 first; grep -qx "MAINPID=$PID" first; grep -qx "by=$(<front)" first
	# From then on it speaks for itself.
	wait_told '^WATCHDOG=1$'
	[[ $(count_told "^by=$(<front)$") == 1 ]]
	told "^by=$PID$"
	# An upgrade does not silence it.
	kill -USR2 "$PID"
	until_true 10 told_so_often 2 '^READY=1$'
	until_true 5 told_so_often $(($(count_told '^WATCHDOG') + 3)) '^WATCHDOG=1$'
	[[ $(count_told STOPPING) == 0 && $(count_told '^MAINPID') == $(count_told "^MAINPID=$PID$") ]]
	kill "$PID"
	until_true 5 gone "$PID"
	wait_told '^STOPPING=1$'
}

@test "nobody there, a reader that takes nothing, a strange name: the service does not care" {
	export NOTIFY_SOCKET=$PWD/nobody WATCHDOG_USEC=20000
	start_server 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	stop_server; [[ $STATUS == 0 ]]

	# It is asked again when it takes something: nothing of weight is lost, nothing waits.
	unset WATCHDOG_USEC
	listen_notify "$PWD/n"
	export WATCHDOG_USEC=1000
	kill -STOP "$NOTIFY"
	start_server 127.0.0.1:0 echo hi
	nap 1
	run -0 ask; [[ $output == hi ]]
	kill -HUP "$PID"
	run -0 ask; [[ $output == hi ]]
	kill -CONT "$NOTIFY"
	wait_told '^RELOADING=1$'
	until_true 5 told_so_often 2 '^READY=1$'
	stop_server; [[ $STATUS == 0 ]]

	unset WATCHDOG_USEC
	NOTIFY_SOCKET=vsock:2:5 start_server 127.0.0.1:0 echo hi
	logged '^server: warning: NOTIFY_SOCKET=vsock:2:5: neither a path nor @NAME'
	run -0 ask; [[ $output == hi ]]
}

@test "commands know nothing of it" {
	listen_notify "$PWD/n"
	export WATCHDOG_USEC=5000000 WATCHDOG_PID=1
	start_server 127.0.0.1:0 env
	run -0 ask; [[ $output == *PATH=* && $output != *NOTIFY_SOCKET* && $output != *WATCHDOG* ]]
	entry e 127.0.0.1:0 env | sed '/exec/a passenv = *' >t
	start_server -f t
	run -0 ask; [[ $output == *PATH=* && $output != *NOTIFY_SOCKET* && $output != *WATCHDOG* ]]
	entry e 127.0.0.1:0 env | sed '/exec/a passenv = NOTIFY_SOCKET' >t
	start_server -f t
	run -0 ask; [[ $output == *PATH=* && $output != *NOTIFY_SOCKET* ]]
}

# --- sockets from the real thing

# activate [systemd-socket-activate's options] -- server's arguments: sets PID; LISTEN lines tell where
activate() {
	local opts=()
	requires systemd-socket-activate
	while [[ $1 != -- ]]; do opts+=("$1"); shift; done
	shift
	printf '#!/bin/sh\nexec "%s" -C ctl -r 9 "$@" 9>>ready >>"%s" 2>&1\n' "$SERVER" "$LOG" >run; chmod +x run
	: >ready; : >activate
	SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info systemd-socket-activate -E TEST_MARK="$TEST_MARK" "${opts[@]}" \
		"$PWD/run" "$@" </dev/null >>activate 2>&1 3>&- &
	PID=$!; SRV+=("$PID")
	until_true 5 grep -q 'Listening on' activate
}
# It takes no port 0: one of loopback's many addresses instead, which nobody else has.
own_address() { HOST=127.$((RANDOM % 250 + 2)).$((RANDOM % 250 + 2)).$((RANDOM % 250 + 2)) PORT=2093; }
ask_there() { "$PEER" "tcp:$HOST:$PORT"; }
inode() { # of the listening socket there
	local a
	# shellcheck disable=SC2046,SC2183
	a=$(printf '%02X%02X%02X%02X:%04X' $(tr . '\n' <<<"$HOST" | tac) "$PORT")
	awk -v a="$a" '$2 == a && $4 == "0A" { print $10 }' /proc/net/tcp
}

@test "fd:3 in a table; the client whose coming started the server is served; the queue outlives HUP and USR2" {
	entry a fd:3 echo a >t
	own_address
	activate -l "$HOST:$PORT" -- -o user="$ME" -f t
	run -0 ask_there; [[ $output == a ]]
	[[ $(<ready) == *"listen a tcp:$HOST:$PORT"* ]]
	[[ $(readlink "/proc/$PID/exe") == */server ]]
	local before; before=$(inode); [[ -n $before ]]
	# Whoever waits in the queue over a reload is served by what the table says then.
	entry a fd:3 echo b >t
	kill -STOP "$PID"
	ask_there >one 3>&- & local p=$!
	queued() { grep -qi ":$(printf %04X "$PORT") 01 " /proc/net/tcp; } # the client has its connection
	until_true 5 queued
	kill -HUP "$PID"; kill -CONT "$PID"
	wait_log 'RELOAD: 0 added, 1 changed'
	wait "$p"; [[ $(<one) == [ab] ]]
	run -0 ask_there; [[ $output == b ]]
	[[ $(inode) == "$before" ]]
	# Also under another service's name.
	entry c fd:3 echo c >t
	kill -HUP "$PID"
	wait_log 'RELOAD: 1 added, 0 changed, 1 removed'
	run -0 ask_there; [[ $output == c ]]
	[[ $(inode) == "$before" ]]
	# And over an upgrade, with a reload behind it.
	kill -USR2 "$PID"
	wait_log 'UPGRADE: done' 10
	run -0 ask_there; [[ $output == c ]]
	entry c fd:3 echo d >t
	kill -HUP "$PID"
	until_true 5 log_has 2 'RELOAD: 0 added, 1 changed, 0 removed'
	run -0 ask_there; [[ $output == d ]]
	[[ $(inode) == "$before" ]]
}

@test "fd:NAME: several sockets by name, and one that nobody claims" {
	{ entry one fd:web echo one; entry two fd:path echo two; } >t
	own_address
	activate -l "$HOST:$PORT" -l "$PWD/s" -l "$HOST:2094" --fdname=web:path:none -- -o user="$ME" -f t
	run -0 ask_there; [[ $output == one ]]
	run -0 "$PEER" unix:s; [[ $output == two ]]
	logged '^server: warning: nobody claims the inherited descriptor 5'
	kill -HUP "$PID"
	wait_log 'RELOAD: 0 added, 0 changed, 0 removed, 2 as before'
	# The two lists change, the sockets stay.
	{ entry one fd:path echo one; entry two fd:web echo two; } >t
	kill -HUP "$PID"
	wait_log 'RELOAD: 0 added, 2 changed'
	run -0 ask_there; [[ $output == two ]]
	run -0 "$PEER" unix:s; [[ $output == one ]]
	stop_server; [[ $STATUS == 0 && -S s ]]	# not ours to remove
}

@test "what is inherited is taken at the start only: a number behind a reload may be the server's own" {
	entry a fd:3 echo a >t
	own_address
	activate -l "$HOST:$PORT" -l "$PWD/s" -- -o user="$ME" -f t
	run -0 ask_there; [[ $output == a ]]
	local fds="" fd
	for fd in /proc/"$PID"/fd/*; do ((${fd##*/} < 5)) || [[ $(readlink "$fd") != socket:* ]] || fds+=" fd:${fd##*/}"; done
	[[ -n $fds ]]
	{ entry a fd:3 echo a; entry b "fd:4$fds" echo b; } >t
	kill -HUP "$PID"
	wait_log 'RELOAD: 1 added'
	[[ $(count_log 'ERROR: b fd:[0-9]+: what is inherited can only be taken at the start$') == $(wc -w <<<"$fds fd:4") ]]
	run -0 ask_there; [[ $output == a ]]
	run ! logged 'LISTEN: b'
	# Removed and back again: it was given back.
	entry b 127.0.0.1:0 echo b >t
	kill -HUP "$PID"; wait_log 'RELOAD: 0 added, 1 changed, 1 removed'
	entry a fd:3 echo a >t
	kill -HUP "$PID"; wait_log 'ERROR: a fd:3: what is inherited can only be taken at the start$'
}

@test "wait = yes with an inherited socket: the command has it at 0 and at 3" {
	requires python3
	cat >w.py <<-'X'
	import os, socket
	s = socket.socket(fileno=0)
	c, _ = s.accept()
	same = os.fstat(0).st_ino == os.fstat(3).st_ino
	c.send(f"{os.environ['LISTEN_FDS']} {int(os.environ['LISTEN_PID']) == os.getpid()} {os.environ['LISTEN_FDNAMES']} {same}\n".encode())
	X
	entry a fd:web "$(type -P python3)" "$PWD/w.py" | sed '/exec/a wait = yes' >t
	own_address
	activate -l "$HOST:$PORT" --fdname=web -- -o user="$ME" -f t
	run -0 ask_there; [[ $output == "1 True "*" True" ]]
	kill -HUP "$PID"
	wait_log 'RELOAD: 0 added, 0 changed, 0 removed, 1 as before'
	run -0 ask_there; [[ $output == "1 True "*" True" ]]
}

# with_socket KIND ARG...: the server with a socket of that kind at descriptor 5, bound to loopback.
with_socket() {
	python3 - "$SERVER" "$@" <<-'X'
	import os, socket, sys
	program, kind, *args = sys.argv[1:]
	s = socket.socket(socket.AF_INET, {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM}[kind])
	s.bind(("127.0.0.1", 0))
	if kind == "stream": s.listen()
	os.dup2(s.fileno(), 5); os.set_inheritable(5, True)
	os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
	os.execv("/usr/bin/timeout", ["timeout", "10", program, *args])
	X
}

@test "what an inherited socket is decides what its service can have, and is that entry's fault alone" {
	requires python3
	run -2 with_socket stream -o user="$ME" -o wait=yes -o only_from=127.0.0.1 fd:5 true
	[[ $output == *"only_from: with wait = yes the command itself accepts"* ]] || die "$output"
	run -2 with_socket dgram -o user="$ME" -o hangup=kill fd:5 true
	[[ $output == *"hangup: only a connection can be hung up"* ]]
	printf 'service chargen\n{\n\ttype = INTERNAL\n\tlisten = fd:5\n}\n' >t
	run -1 with_socket dgram -f t
	[[ $output == *"t:3:9: error: "*"chargen by datagrams sends more than it receives"* ]] || die "$output"
	entry other 127.0.0.1:0 echo other >t2
	{ cat t2; entry gone fd:web echo gone; } >t
	start_server -f t
	run -0 ask; [[ $output == other ]]
	logged 't:[0-9]+:[0-9]+: error: .*fd:web: no descriptor of that name in LISTEN_FDNAMES'
}

@test "a reload cannot give an inherited socket what it cannot have; explain knows it" {
	own_address
	entry a fd:3 echo a >t
	activate -l "$HOST:$PORT" -- -C "$PWD/ctl" -o user="$ME" -f t
	run -0 ask_there; [[ $output == a ]]
	run -0 "$SERVERCTL" -C ctl explain a 127.0.0.1; [[ ${lines[0]} == served ]]
	entry a fd:3 echo a | sed '/exec/a wait = yes\nonly_from = 127.0.0.1' >t
	kill -HUP "$PID"
	wait_log 'RELOAD: 0 added, 0 changed, 0 removed, 0 as before, 0 off, 1 faulty'
	logged 'error: .*only_from: with wait = yes the command itself accepts'
	run -0 ask_there; [[ $output == a ]]
	# Nor can an upgrade; and to one that changes nothing it is the same entry.
	kill -USR2 "$PID"
	wait_log 'UPGRADE: refused: ' 10
	logged 'UPGRADE: .*only_from: with wait = yes the command itself accepts'
	{ echo 'defaults { per_source = 9 }'; entry a fd:3 echo b | sed '/exec/a wait = yes'; } >t
	kill -HUP "$PID"; wait_log 'RELOAD: 0 added, 1 changed'
	kill -USR2 "$PID"; wait_log 'UPGRADE: done' 10
	kill -HUP "$PID"; wait_log 'RELOAD: 0 added, 0 changed, 0 removed, 1 as before'
}

@test "one command on fd:3, and datagrams" {
	own_address
	activate -l "$HOST:$PORT" -- -o user="$ME" fd:3 echo hi
	run -0 ask_there; [[ $output == hi ]]
	stop_server; [[ $STATUS == 0 ]]
	: >"$LOG"
	activate -d -l "$PWD/d" -- -o user="$ME" fd:3 cat
	run -0 "$CLIENT" -w 5 unix-dgram:d hello
	[[ $output == hello ]]
}

# --- units

# has FILE LINE...: those lines are in the unit, each as it stands
has() {
	local f=$1 line; shift
	for line; do grep -qxF -- "$line" "$f" || die "no $line in $f" || return; done
}
@test "the units are sound: readiness, watchdog, a reload that is checked first, what the commands cannot do" {
	requires systemd-analyze
	local etc=$BATS_TEST_DIRNAME/../etc f
	mkdir u
	for f in server.service server.socket date.service; do
		sed "s|/usr/local/sbin/server|$SERVER|g" "$etc/$f" >"u/$f"
	done
	run -0 systemd-analyze verify --man=no "$PWD"/u/*.service "$PWD"/u/*.socket
	[[ -z $output ]] || die "$output" || return
	has u/server.service Type=notify "ExecStart=$SERVER" WatchdogSec=30 KillMode=mixed Restart=on-failure \
		Protect{KernelModules,KernelTunables,KernelLogs,ControlGroups,Clock,Hostname}=yes ProtectSystem=full \
		SystemCallArchitectures=native LockPersonality=yes RestrictRealtime=yes || return
	run -0 grep ^ExecReload= u/server.service
	[[ ${lines[*]} == "ExecReload=$SERVER -t ExecReload=/bin/kill -HUP "'$MAINPID' ]] || return
	has u/server.socket Accept=no FileDescriptorName=date ListenStream=1024 || return
	has u/date.service Type=notify WatchdogSec=30
}

@test "server.socket: the table that it shows serves the socket of that name" {
	sed -n '/^#     service date/,/^#     }/s/^#     //p' "$BATS_TEST_DIRNAME/../etc/server.socket" >t; chmod 644 t
	own_address
	activate -l "$HOST:$PORT" --fdname="$(sed -n 's/^FileDescriptorName=//p' "$BATS_TEST_DIRNAME/../etc/server.socket")" \
		-- -o user="$ME" -f t
	run -0 ask_there; [[ $output == *:*:* ]]
	[[ $(<ready) == *"listen date tcp:$HOST:$PORT"* ]]
}
