# The server becomes the program that is on disk: USR2 and serverctl upgrade.
load helper

# --- what the tests share

ctl() { "$SERVERCTL" -C "$CTL" "$@"; }
upgraded() { log_has "$1" 'UPGRADE: done: '; }
# upgrade: asks for one, which is to be made; the process is to be the same.
upgrade() {
	local n; n=$(count_log 'UPGRADE: done: ')
	kill -USR2 "$PID"
	until_true 10 upgraded $((n + 1))
	[[ -n $(state "$PID") && $(state "$PID") != Z ]]
}
# refused REGEX: one was, for that reason.
refused() { logged "UPGRADE: refused: $1.*; this program goes on"; }
# table LINE...: one service with them, in t
table() { printf 'service %s\n{\n' "$1" >t; shift; printf '\t%s\n' "$@" >>t; echo '}' >>t; }
add() { printf 'service %s\n{\n' "$1" >>t; shift; printf '\t%s\n' "$@" >>t; echo '}' >>t; }
# A program of its own to replace: set before the start, started as ./srv.
own_program() { cp "$SERVER" srv; SERVER=$PWD/srv; cp srv real; }
# stand MODE: what stands on disk now is tests/stand.
stand() { rm -f come go; cp "$B/tests/stand" srv.new; mv srv.new srv; echo "$1" >mode; }
back() { cp real srv.new; mv srv.new srv; }
talk() { # a connection, both ways, as descriptor $1
	eval "exec $1<>/dev/tcp/127.0.0.1/${2:-$PORT}"
}
read_from() { local l; IFS= read -rt "${2:-5}" -u "$1" l || return; echo "$l"; }
udp() { timeout 20 "$DATAGRAMS" "$@"; }

# --- the whole

@test "USR2: the same process, name, port and descriptors; serverctl upgrade waits and says the version" {
	start_server 127.0.0.1:0 sh -c 'echo $CONNECTION'
	local before
	[[ $(ask) == 1 ]]
	upgrade
	before=$(nfds "$PID")
	[[ $(<"/proc/$PID/comm") == server && $(ask) == 2 ]]
	until_true 5 is_quiet "$before"
	run -0 ctl upgrade
	[[ $output == "version "*" goes on" ]]
	[[ $(<"/proc/$PID/comm") == server && $(ask) == 3 ]]
	until_true 5 is_quiet "$before"
	wait_log 'UPGRADE: this process becomes /.*/server$'
	wait_log 'UPGRADE: done: version .* goes on with 0 children'
	stop_server; [[ $STATUS == 0 ]]
}

@test "T25: under load: nobody is refused, reset, cut or left without an answer; nothing grows" {
	local n=${UPGRADES:-10} k before rss
	table one 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo 0123456789' 'log_on_success =' 'instances = 50'
	start_server -f t
	upgrade
	before=$(nfds "$PID")
	"$B/tests/load" -u enough -e 11 "$PORT" 64 300 >load 3>&- & local l=$!
	for ((k = 1; k <= n; k++)); do
		run -0 timeout 20 "$SERVERCTL" -C "$CTL" upgrade
		[[ k -ne 5 ]] || rss=$(awk '/VmRSS/ {print $2}' "/proc/$PID/status")
	done
	: >enough
	wait "$l"
	read -r _ _ _ failed served <load
	[[ $failed == 0 ]] || die "$(<load)"
	((served > n))
	until_true 5 is_quiet "$before"
	no_zombies
	(($(awk '/VmRSS/ {print $2}' "/proc/$PID/status") < rss * 3 / 2 + 1000))
	until_true 5 log_has $((n + 1)) 'UPGRADE: done'
	run -0 ctl status one --json
	[[ $output == *"\"started\":"*"$served"* ]]
}

@test "descriptors that were taken from it meanwhile: its own limit is up again, and a child gets what it got before" {
	requires prlimit
	local most was
	most=$(ulimit -Hn)
	for soft in 1000 "$most"; do
		ulimit -Sn "$soft"
		start_server 127.0.0.1:0 sh -c 'ulimit -n'
		was=$(ask)
		prlimit --pid "$PID" --nofile=200:
		upgrade
		[[ $(ask) == "$was" ]] || die "a child has $(ask), it had $was" || return
		[[ $(awk '/^Max open files/ { print $4 }' "/proc/$PID/limits") == "$most" ]] ||
			die "$(grep open "/proc/$PID/limits")" || return
		upgrade
		[[ $(ask) == "$was" ]]
		stop_server
		: >"$LOG"
	done
}

# --- who is connected

# bats test_tags=child
@test "a command that runs: its EXIT line is right, its limits count, it is known to serverctl" {
	table g 'listen = tcp:127.0.0.1:0' "user = $ME" "shell = echo up; read x; echo \"\$x\"; echo bye; exit 7" \
		'instances = 2' 'log_on_success = PID HOST EXIT DURATION BYTES CONN'
	start_server -f t
	talk 5; [[ $(read_from 5) == up ]]
	upgrade
	talk 6; [[ $(read_from 6) == up ]]
	upgrade
	# Two are the most: a third waits.
	talk 7
	wait_log 'PAUSE: g service_limit'
	run -0 ctl status g
	[[ ${lines[2]} =~ ^g\ +[a-z]+\ +2\ +2\ +2\  ]] || die "$output"
	echo one >&5
	[[ $(read_from 5) == one && $(read_from 5) == bye ]]
	wait_log 'EXIT: g status=7 pid=[0-9]+ duration=[0-9]+\(sec\) .*conn=1.*bytes'
	grep -E 'conn=1' "$LOG" | grep -E 'bytes_in=4 bytes_out=11|bytes=4.*11|in=4.*out=11' || die "$(grep conn=1 "$LOG")"
	[[ $(read_from 7) == up ]]
	run -0 ctl kill 2
	wait_log 'EXIT: g signal=15 .*conn=2'
	exec 5>&- 6>&- 7>&-
}

@test "per_source: who is connected counts; source_cps: who came too often has to wait" {
	table g 'listen = tcp:127.0.0.1:0' "user = $ME" 'shell = echo up; read x' 'per_source = 1'
	add r 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo served' 'source_cps = 2/1h'
	start_server -f t
	talk 5 "${PORTS[g]}"; [[ $(read_from 5) == up ]]
	[[ $(ask "${PORTS[r]}")$(ask "${PORTS[r]}") == servedserved ]]
	upgrade
	run -0 ask "${PORTS[g]}"; [[ -z $output ]]
	wait_log 'FAIL: g per_source_limit'
	run -0 ask "${PORTS[r]}"; [[ -z $output ]]
	wait_log 'FAIL: r source_rate'
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:${PORTS[r]}"; [[ $output == served ]]
	exec 5>&-
	wait_log 'EXIT: g'
	"$PEER" -s x "tcp:127.0.0.1:${PORTS[g]}" -H | grep up
}

@test "cps of more than a thousand: every start of before counts" {
	table g 'listen = tcp:127.0.0.1:0' "user = $ME" "exec = $B/tests/tiny" 'cps = 1100/1h' 'overload = reject' 'log_on_success ='
	start_server -f t
	run -0 "$PEER" -n 1090 "tcp:127.0.0.1:$PORT"
	upgrade
	"$PEER" -n 15 "tcp:127.0.0.1:$PORT" || :
	until_true 5 log_has 5 'FAIL: g service_limit'
}

# bats test_tags=child
@test "a command whose first process has ended and whose group lives: it is awaited, the reply comes" {
	start_server 127.0.0.1:0 sh -c '(until [ -e go ]; do sleep 0.02; done; echo late) & echo early'
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log 'EXIT: sh'
	upgrade
	upgrade
	: >go
	wait "$p"
	[[ $(<got) == $'early\nlate' ]]
}

@test "timeout and kill_after go on: TERM before the upgrade, KILL behind it" {
	start_server -o timeout=400ms -o kill_after=700ms 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	talk 5; [[ $(read_from 5) == up ]]
	upgrade
	wait_log 'KILL: sh .*timeout'
	upgrade
	wait_log 'EXIT: sh signal=9'
	log_has 1 'KILL: sh'
	exec 5>&-
}

@test "hangup = kill ends the command of who was there before the upgrade" {
	start_server -o hangup=kill 127.0.0.1:0 sh -c 'echo there; exec sleep 60'
	"$PEER" -c go -R "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log 'START: sh'
	upgrade
	: >go
	wait "$p" || :
	wait_log 'KILL: sh pid=[0-9]+ from=127.0.0.1 hangup'
	wait_log 'EXIT: sh signal=15'
}

@test "a slow reader gets all of 5 MB through upgrades; so does who reads nothing yet, whose own words nobody has read" {
	table fill 'listen = tcp:127.0.0.1:0' "user = $ME" 'shell = head -c 5000000 /dev/zero'
	add held 'listen = tcp:127.0.0.1:0' "user = $ME" 'shell = head -c 40000 /dev/zero'
	start_server -f t
	"$PEER" -s unread -r 2048 -c go -t 20000 "tcp:127.0.0.1:${PORTS[held]}" >held 3>&- & local h=$!
	wait_log 'EXIT: held status=0'
	"$PEER" -s unread -r 200000 -d 60000:5 -t 20000 "tcp:127.0.0.1:${PORTS[fill]}" >slow 3>&- & local s=$!
	until_true 5 test -s slow
	upgrade
	upgrade
	: >go
	wait "$s" "$h"
	[[ $(stat -c %s slow) == 5000000 && $(stat -c %s held) == 40000 ]]
	until_true 5 no_sockets_but 3
}

@test "an address that is named twice has two ports, behind upgrades too, and no more" {
	start_server -o listen+=127.0.0.1:0 -o id=two 127.0.0.1:0 echo hi
	local a=${ADDRESSES[0]##*:} b=${ADDRESSES[1]##*:}
	upgrade
	upgrade
	[[ $(ask "$a")$(ask "$b") == hihi ]]
	run -0 ctl status two
	[[ $(grep -o 'tcp:127.0.0.1:' <<<"$output" | wc -l) == 2 ]]
}
@test "who still sends while it has not taken its reply is not cut by an upgrade" {
	requires python3
	start_server 127.0.0.1:0 sh -c 'head -c 40000 /dev/zero'
	cat >client.py <<-'X'
	import os, socket, sys, time
	s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
	s.connect(("127.0.0.1", int(sys.argv[1])))
	while not os.path.exists("go"): time.sleep(.01)
	s.send(b"more"); time.sleep(.05); s.send(b"and more")
	n = 0
	while x := s.recv(1000): n += len(x)
	print(n)
	X
	python3 client.py "$PORT" >got 3>&- & local c=$!
	wait_log 'EXIT: sh status=0'
	upgrade
	: >go
	wait "$c"
	[[ $(<got) == 40000 ]]
}
# Listeners and the control socket: no connection is left. Only root may look.
no_sockets_but() { [[ $(id -u) != 0 || $(find "/proc/$PID/fd" -lname 'socket:*' | wc -l) == "$1" ]]; }

# bats test_tags=child
@test "children that end exactly during an upgrade are reaped, with their lines" {
	start_server 127.0.0.1:0 sh -c 'echo up; read x; exit 3'
	local i
	for i in 1 2 3 4 5 6; do
		talk 5; talk 6; talk 7
		read_from 5 >/dev/null; read_from 6 >/dev/null; read_from 7 >/dev/null
		kill -USR2 "$PID"
		exec 5>&-
		nap 0.00$i
		exec 6>&- 7>&-
		until_true 5 upgraded "$i"
	done
	until_true 5 log_has 18 'EXIT: sh status=3 '
	until_true 5 has_children 0
}

# bats test_tags=child
@test "who ends while there is no program to see it: children have their lines, orphans leave no zombies" {
	own_program
	export STAND_REAL=$PWD/real
	start_server 127.0.0.1:0 sh -c 'setsid sh -c "until [ -e end ]; do sleep 0.01; done" & echo up; read x; exit 3'
	talk 5; talk 6
	read_from 5 >/dev/null; read_from 6 >/dev/null
	until_true 5 has_children 2
	stand late
	kill -USR2 "$PID"
	until_true 5 test -e come
	: >end; exec 5>&- 6>&-
	until_true 5 all_ended
	: >go
	until_true 5 upgraded 1
	until_true 5 log_has 2 'EXIT: sh status=3 '
	until_true 5 has_children 0
}
all_ended() { local c; for c in $(children "$PID"); do [[ $(state "$c") == Z ]] || return 1; done; }

# bats test_tags=child
@test "no carried descriptor reaches a command" {
	table look 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = ls /proc/self/fd'
	add held 'listen = tcp:127.0.0.1:0 unix:s udp:127.0.0.1:0' "user = $ME" 'shell = echo up; read x'  'stderr = log'
	add echo 'listen = tcp:127.0.0.1:0' "user = $ME" 'type = INTERNAL'
	start_server -f t
	local want f flags; want=$(ask "${PORTS[look]}")
	talk 5 "${PORTS[held]}"; read_from 5
	talk 6 "${PORTS[echo]}"; echo a >&6; [[ $(read_from 6) == a ]]
	upgrade
	[[ $(ask "${PORTS[look]}") == "$want" && $want == $'0\n1\n2\n3' ]]
	# And none is left to the next program that somebody starts from the server.
	for f in "/proc/$PID/fdinfo/"*; do
		flags=$(awk '/^flags/ {print $2}' "$f" 2>/dev/null) || continue	# it is closed by now
		((${f##*/} <= 2 || (flags & 02000000) != 0)) || die "$f stays open"
	done
	upgrade
	[[ $(ask "${PORTS[look]}") == "$want" ]]
	exec 5>&- 6>&-
}

@test "stderr = log: a line of which half was written comes whole, of who is connected and of who is gone" {
	table g 'listen = tcp:127.0.0.1:0' "user = $ME" 'stderr = log' \
		"shell = printf 'one ' >&2; (until [ -e $PWD/go ]; do sleep 0.02; done; echo two >&2) & echo up; read x; exit 0"
	start_server -f t
	talk 5; [[ $(read_from 5) == up ]]
	talk 6; [[ $(read_from 6) == up ]]
	exec 5>&-
	wait_log 'EXIT: g'
	upgrade
	upgrade
	: >go
	until_true 5 log_has 2 'STDERR: g pid=[0-9]+ one two$'
	exec 6>&-
}

# --- datagrams

# A session's command must take a datagram whole, which the shell's own read does not.
one='one() { x=$(dd bs=65536 count=1 status=none) && [ -n "$x" ]; }; '

# A peer that asks several times, as descriptor $1: /dev/udp is connected; a datagram is read whole.
meet() { eval "exec $1<>/dev/udp/127.0.0.1/$2"; }
tell() { printf %s "$2" >&"$1"; timeout 10 dd bs=65536 count=1 status=none <&"$1"; }
datagram_services() {
	table d 'listen = udp:127.0.0.1:0' "user = $ME" 'shell = read x; until [ -e '"$PWD"'/go ]; do sleep 0.02; done; echo "$x back"'
	add s 'listen = udp:127.0.0.1:0' "user = $ME" 'session = yes' "shell = ${one}while one; do echo \"\$x \$\$\"; done"
	start_server -f t
}

# bats test_tags=child
@test "udp: replies of commands that ran leave from the right port; sessions go on with their peers" {
	local d one_pid
	datagram_services
	udp -t 20000 "${ADDRESSES[0]}" $'a\n' >d.out 3>&- & d=$!
	meet 8 "${ADDRESSES[1]##*:}"; meet 9 "${ADDRESSES[1]##*:}"
	one_pid=$(tell 8 1); one_pid=${one_pid#1 }
	[[ $(tell 9 x) != "x $one_pid" ]]
	until_true 5 log_has 3 START
	upgrade
	[[ $(tell 8 2) == "2 $one_pid" ]]
	upgrade
	[[ $(tell 8 3) == "3 $one_pid" ]]
	: >go
	wait "$d"; [[ $(<d.out) == "a back" ]]
	log_has 3 START
	meet 7 "${ADDRESSES[1]##*:}"
	[[ $(tell 7 new) == "new "* ]]
	until_true 5 log_has 4 START
	exec 7>&- 8>&- 9>&-
	stop_server INT
}

@test "a session and a reply whose services are gone from the table by an upgrade: both go on" {
	local d one_pid
	datagram_services
	udp -t 20000 "${ADDRESSES[0]}" $'a\n' >d.out 3>&- & d=$!
	meet 8 "${ADDRESSES[1]##*:}"
	one_pid=$(tell 8 1); one_pid=${one_pid#1 }
	until_true 5 log_has 2 START
	table other 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo other'
	upgrade
	[[ $(tell 8 2) == "2 $one_pid" ]]
	upgrade
	[[ $(tell 8 3) == "3 $one_pid" ]]
	: >go
	wait "$d"; [[ $(<d.out) == "a back" ]]
	wait_log 'EXIT: d status=0'
	exec 8>&-
	stop_server INT
	wait_log 'EXIT: s signal=15'
}

# --- wait = yes, FIFOs, UNIX

# bats test_tags=child
@test "wait = yes: the command keeps the socket, nobody else takes from it, and it is watched again" {
	requires python3
	cat >serve.py <<-'X'
	import os, socket, time
	s = socket.socket(fileno=0)
	while not os.path.exists("go"): time.sleep(.01)
	if s.type == socket.SOCK_STREAM:
	    c, a = s.accept(); c.sendall(b"%d\n" % os.getpid()); c.close()
	else:
	    d, a = s.recvfrom(999); s.sendto(b"%d\n" % os.getpid(), a)
	X
	table t 'listen = tcp:127.0.0.1:0 udp:127.0.0.1:0' "user = $ME" 'wait = yes' "directory = $PWD" "exec = python3 -S serve.py"
	start_server -f t
	ask >t.out 3>&- & local t=$!
	udp "${ADDRESSES[1]}" x >u.out 3>&- & local u=$!
	until_true 5 log_has 2 START
	upgrade
	upgrade
	log_has 2 START
	: >go
	wait "$t" "$u"
	until_true 5 log_has 2 'EXIT: t status=0'
	run -0 ask; [[ $output != "$(<t.out)" ]]
	run -0 udp "${ADDRESSES[1]}" y; [[ $output != "$(<u.out)" ]]
	until_true 5 log_has 4 'EXIT: t status=0'
}

@test "a FIFO: its reader goes on, what is written later starts another, its path is removed at the end" {
	start_server fifo:pipe sh -c 'cat >>got; echo end >>got'
	timeout 10 sh -c 'exec 4>pipe; echo one >&4; until [ -e go ]; do sleep 0.02; done; echo two >&4' 3>&- & local w=$!
	until_true 5 test -s got
	upgrade
	upgrade
	: >go
	wait "$w"
	wait_log EXIT
	[[ $(<got) == $'one\ntwo\nend' ]]
	timeout 10 sh -c 'echo three >pipe'
	until_true 5 log_has 2 EXIT
	[[ $(<got) == $'one\ntwo\nend\nthree\nend' ]]
	stop_server
	[[ ! -e pipe ]]
}

@test "UNIX sockets, by path and abstract: they stay, tell who asks, and are removed at the end" {
	start_server -o "listen+=unix:@up.$$" -o listen+=unix-seqpacket:seq unix:s sh -c 'echo $UNIXREMOTEEUID $UNIXLOCALPATH'
	local ino; ino=$(stat -c %i s)
	upgrade
	upgrade
	[[ $(stat -c %i s) == "$ino" ]]
	run -0 "$PEER" unix:s; [[ $output == "$(id -u) s" ]]
	run -0 "$PEER" "unix:@up.$$"; [[ $output == "$(id -u)"* ]]
	run -0 "$PEER" unix-seqpacket:seq; [[ $output == "$(id -u) seq" ]]
	stop_server
	[[ ! -e s && ! -e seq ]]
}

# --- the worker

@test "relays go on through any number of old workers; bytes, TRAFFIC and limits are right" {
	start_server -q 127.0.0.1:0 cat; local to=$PORT
	table relay 'listen = tcp:127.0.0.1:0' "redirect = 127.0.0.1 $to" 'instances = 3' \
		'log_on_success = PID HOST EXIT DURATION TRAFFIC'
	start_server -f t
	local i fd n; n=$(nfds "$PID")
	for fd in 5 6 7; do
		talk $fd; echo hello >&$fd; [[ $(read_from $fd) == hello ]]
		upgrade
	done
	# Three are the most: the next one waits.
	talk 8; echo four >&8
	wait_log 'PAUSE: relay service_limit'
	for fd in 5 6 7; do echo again >&$fd; [[ $(read_from $fd) == again ]]; done
	until_true 5 has_children 4
	exec 5>&-
	wait_log 'TRAFFIC: relay in=12\(bytes\) out=12\(bytes\)'
	[[ $(read_from 8) == four ]]
	exec 6>&- 7>&- 8>&-
	until_true 5 log_has 3 'TRAFFIC: relay in=12'
	until_true 5 is_one_worker
	(($(nfds "$PID") <= n))
	log_has 0 'ERROR'
}
is_one_worker() { has_children 1 && no_zombies; }

@test "an old worker that is killed takes its connections with it, which count no more" {
	start_server -q 127.0.0.1:0 cat; local to=$PORT
	table relay 'listen = tcp:127.0.0.1:0' "redirect = 127.0.0.1 $to" 'instances = 1'
	start_server -f t
	local w; w=$(children "$PID")
	talk 5; echo hello >&5; [[ $(read_from 5) == hello ]]
	upgrade
	talk 6; echo you >&6
	wait_log 'PAUSE: relay'
	kill -KILL "$w"
	[[ $(read_from 6) == you ]]
	wait_log "ERROR: an old worker \(process $w\) has ended, and 1 connections with it"
	exec 5>&- 6>&-
	until_true 5 is_one_worker
}

@test "built-ins and tcpmux: who had not said the service's name yet says it to the successor" {
	table tcpmux 'listen = tcp:127.0.0.1:0' "user = $ME" 'type = INTERNAL'
	add date 'type = TCPMUX' "user = $ME" 'exec = echo the date' 'protocol = tcp' 'socket_type = stream'
	add echo 'listen = tcp:127.0.0.1:0' 'type = INTERNAL' "user = $ME"
	start_server -f t
	talk 5 "${PORTS[tcpmux]}"; printf 'da' >&5
	talk 6 "${PORTS[echo]}"; echo a >&6; [[ $(read_from 6) == a ]]
	until_true 5 log_has 2 START
	upgrade
	upgrade
	printf 'te\r\n' >&5
	[[ $(cat <&5) == *"the date" ]]
	echo b >&6; [[ $(read_from 6) == b ]]
	exec 5>&- 6>&-
}

# --- what waits

@test "PROXY headers of which half has come are read on" {
	table p 'listen = tcp:127.0.0.1:0' "user = $ME" 'proxy_protocol = yes' 'proxy_from = 127.0.0.1' \
		'shell = read x; echo "$REMOTE_HOST $REMOTE_PORT $x"'
	start_server -f t
	talk 5; printf 'PROXY TCP4 192.0.2.7 192.' >&5
	talk 6
	until_true 5 no_sockets_but 4
	upgrade
	upgrade
	printf '0.2.99 54321 443\r\nhello\n' >&5
	[[ $(read_from 5) == "192.0.2.7 54321 hello" ]]
	printf 'PROXY TCP4 192.0.2.8 192.0.2.99 1 443\r\nme\n' >&6
	[[ $(read_from 6) == "192.0.2.8 1 me" ]]
	exec 5>&- 6>&-
}

# bats test_tags=child
@test "who waits for a process gets one from the successor; connections and datagrams" {
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	requires setarch
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM="clone=11" SHIM_WHILE=%s/fault exec setarch --uname-2.6 "$@"\n' "$B/tests/shim" "$PWD" >shim.sh
	chmod +x shim.sh
	table g 'listen = tcp:127.0.0.1:0 udp:127.0.0.1:0' "user = $ME" "shell = read x; echo \"\$x\" back"
	WRAP=./shim.sh start_server -v -f t
	wait_log 'children are started by'
	! logged 'by fork' || skip "the check of an upgrade could not be forked either"
	: >fault
	"$PEER" -s $'one\n' -t 20000 "tcp:127.0.0.1:$PORT" >tcp.out 3>&- & local t=$!
	udp -t 20000 "${ADDRESSES[1]}" $'two\n' >udp.out 3>&- & local u=$!
	wait_log 'PAUSE: g fork'
	table g 'listen = tcp:127.0.0.1:0 udp:127.0.0.1:0' "user = $ME" "shell = read x; echo \"\$x\" new"
	upgrade
	upgrade
	rm fault
	wait "$t"; wait "$u"
	[[ $(<tcp.out) == "one new" && $(<udp.out) == "two new" ]]
}

@test "sensors' bans, a rest of cps and the count of a pace go on" {
	table trap 'listen = tcp:127.0.0.1:0' 'flags = SENSOR' 'deny_time = FOREVER'
	add rest 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo served' 'cps = 1 2s'
	add pace 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo served' 'cps = 2/1h'
	start_server -f t
	run "$PEER" -b 127.0.0.3 "tcp:127.0.0.1:${PORTS[trap]}"
	wait_log 'DENY: trap 127.0.0.3'
	[[ $(ask "${PORTS[pace]}") == served ]]
	local begun; begun=$(now_ms)
	[[ $(ask "${PORTS[rest]}") == served ]]
	ask "${PORTS[rest]}" >second 3>&- & local r=$!
	wait_log 'PAUSE: rest service_limit'
	upgrade
	upgrade
	run "$PEER" -b 127.0.0.3 "tcp:127.0.0.1:${PORTS[pace]}"; [[ -z $output ]]
	wait_log 'FAIL: pace sensor from=127.0.0.3'
	[[ $(ask "${PORTS[pace]}") == served ]]
	"$PEER" -t 400 "tcp:127.0.0.1:${PORTS[pace]}" >third || :
	[[ ! -s third ]]
	wait "$r"
	[[ $(<second) == served ]]
	(($(now_ms) - begun >= 1800))
	wait_log 'RESUME: rest'; log_has 1 'PAUSE: rest'
}

@test "names that are looked up during the upgrade reach the log and decide" {
	requires_silent_resolver
	cat >in.sh <<-X
	echo nameserver 127.0.0.1 >resolv; echo 'hosts: files dns' >nss
	mount --bind resolv /etc/resolv.conf; mount --bind nss /etc/nsswitch.conf
	ip link set lo up
	python3 silent.py & d=\$!
	until [ -e up ]; do :; done
	"$SERVER" -o user=root -r 9 -o lookup=yes -o no_access=.nowhere.test 127.0.0.1:0 sh -c 'echo \$REMOTE_HOST' 9>lines 2>"$LOG" & s=\$!
	until grep -q ready lines; do :; done
	read -r x y a <lines
	"$CLIENT" -s 127.0.0.77 -w 8 "\${a#tcp:}" </dev/null >got & c=\$!
	until [ -n "\$(cat /proc/\$s/task/\$s/children)" ]; do :; done
	kill -USR2 \$s
	until grep -q 'UPGRADE: done.*with 1 children' "$LOG"; do :; done
	wait \$c
	until grep -q 'FAIL: sh' "$LOG"; do :; done
	kill \$s; wait \$s; kill \$d
	X
	timeout 25 unshare -m -n sh in.sh
	# Nobody could tell whether it is a name that is kept out.
	logged 'FAIL: sh address from=127.0.0.77'
	[[ ! -s got ]]
}

# --- the control socket, the table

@test "the control socket goes on: a request half sent, overrides, the asker of the upgrade" {
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo a'
	add b 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo b' 'disable = yes'
	start_server -f t
	local ino; ino=$(stat -c %i "$CTL")
	run -0 ctl disable a
	run -0 ctl enable b
	requires python3
	python3 - "$CTL" "$PID" <<-'X'
	import os, signal, socket, sys, time
	s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b"sta")
	log = open("log")
	def wait(n):
	    while open("log").read().count("UPGRADE: done") < n: time.sleep(.01)
	os.kill(int(sys.argv[2]), signal.SIGUSR2); wait(1)
	os.kill(int(sys.argv[2]), signal.SIGUSR2); wait(2)
	s.send(b"tus\n")
	d = b""
	while x := s.recv(4096): d += x
	assert b"x 0" in d and b"disabled" in d, d
	X
	[[ $(stat -c %i "$CTL") == "$ino" ]]
	run -0 ctl upgrade
	[[ $output == "version "*"goes on" ]]
	run -0 ctl status a; [[ $output == *disabled* ]]
	run -0 ctl status b; [[ $output == *listening* ]]
	run -0 ctl reload
	[[ $output == "0 added, 0 changed, 0 removed, 1 as before, 1 off, 0 faulty" ]]
	run -0 ctl disable b
	run -0 ctl status b; [[ $output == *disabled* ]]
	stop_server
	[[ ! -e $CTL ]]
}

@test "counters, the last error, the start and the reloads are carried over; connections' numbers go on" {
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" "shell = echo \$CONNECTION" 'log_on_success = EXIT BYTES'
	add no 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = /no/such/program'
	add shut 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = true' 'no_access = 127.0.0.1'
	start_server -f t
	[[ $(ask "${PORTS[a]}") == 1 && $(ask "${PORTS[a]}") == 2 ]]
	run "$PEER" "tcp:127.0.0.1:${PORTS[no]}"
	run "$PEER" "tcp:127.0.0.1:${PORTS[shut]}"
	wait_log 'ERROR: no cannot execute'; wait_log 'FAIL: shut address'
	run -0 ctl reload
	requires python3
	until_true 5 log_has 2 'EXIT: a'
	ctl status --json >before
	upgrade
	ctl status --json >after
	python3 - <<-'X'
	import json
	b, a = json.load(open("before")), json.load(open("after"))
	for o in b, a:
	    for k in ("uptime", "age"): o["server"].pop(k, 0)
	assert b["server"] == a["server"], (b["server"], a["server"])
	assert b["services"] == a["services"], (b["services"], a["services"])
	X
	[[ $(ask "${PORTS[a]}") -gt 2 ]]
}

@test "the table is read again: what has changed takes effect, the ports stay; warnings are told" {
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo old'
	add gone 'listen = tcp:127.0.0.1:0 unix:gone' "user = $ME" 'shell = echo up; read x; exit 4' "log_type = FILE $PWD/gone.log"
	start_server -f t
	talk 5 "${PORTS[gone]}"; [[ $(read_from 5) == up ]]
	local port=${PORTS[a]}
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo new'
	add more 'listen = unix:more' "user = $ME" 'exec = /no/such/program'
	run -0 ctl upgrade
	[[ $output == *"warning: "*"/no/such/program"*"version "*" goes on" ]]
	[[ $(ask "$port") == new && -S more && ! -e gone ]]
	wait_log 'TABLE: t:.*warning: .*/no/such/program'
	run -5 ask "${PORTS[gone]}"
	# Who is connected to what is gone counts still, and has its line where it was to go.
	upgrade
	exec 5>&-
	until_true 5 grep -q 'EXIT: gone status=4' gone.log
	run ! logged 'EXIT: gone'
}

@test "a table with errors refuses the upgrade: serverctl shows them, the log tells them, nothing changes" {
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo old'
	start_server -f t
	local before; before=$(nfds "$PID")
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo new' 'instances = some'
	run -1 ctl upgrade
	[[ $output == *"t:6:14: error: "*"instances = some"*"serverctl: the program on disk cannot take over"* ]] || die "$output"
	wait_log 'UPGRADE: t:6:14: error: '
	until_true 5 refused 'the program on disk cannot take over: it ended with status 1'
	[[ $(ask) == old ]]
	rm t
	run -1 ctl upgrade
	[[ $(ask) == old ]]
	until_true 5 is_quiet "$before"
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo new'
	run -0 ctl upgrade
	[[ $(ask) == new ]]
}

@test "an address that could not be bound is tried on by the successor" {
	start_server 127.0.0.1:0 true; local taken=$PORT tpid=$PID
	table a "listen = tcp:127.0.0.1:$taken tcp:127.0.0.1:0" "user = $ME" 'exec = echo a'
	start_server -f t
	wait_log "tcp:127.0.0.1:$taken: cannot bind"
	upgrade
	upgrade
	local pid=$PID
	PID=$tpid; stop_server; PID=$pid
	until_true 8 answers "$taken"
}
answers() { [[ $(ask "$1" 2>/dev/null) == a ]]; }

@test "inherited sockets go along; a descriptor that is named later is none, and not one of the server's" {
	requires python3
	cat >inherit.py <<-'X'
	import os, socket, sys
	for n in (7, 8):
	    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(8)
	    open("port%d" % n, "w").write(str(s.getsockname()[1])); os.dup2(s.fileno(), n, inheritable=True)
	    s.close() if s.fileno() != n else s.detach()
	os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="6", LISTEN_FDNAMES="a:b:c:d:e:web")
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	table a 'listen = fd:7 fd:web' "user = $ME" "exec = echo fd"
	WRAP="python3 inherit.py" start_server -f t
	[[ $(ask "$(<port7)")$(ask "$(<port8)") == fdfd ]]
	upgrade
	upgrade
	[[ $(ask "$(<port7)")$(ask "$(<port8)") == fdfd ]]
	local n
	table a 'listen = fd:7 fd:web' "user = $ME" "exec = echo fd"
	n=$(find "/proc/$PID/fd" -lname 'socket:*' -printf '%f ' | tr ' ' '\n' | grep . | sort -n | tail -n 1)
	add b "listen = fd:$n fd:70 fd:71 fd:c" "user = $ME" "exec = echo mine"
	run ctl reload
	wait_log "b fd:$n: what is inherited can only be taken at the start"
	upgrade
	run ctl status b
	[[ $output != *"tcp:"* && $output != *"unix:"* ]] || die "$output"
	[[ $(ask "$(<port7)")$(ask "$(<port8)") == fdfd ]]
}

@test "one command: it goes on as it was told; standard input is no table to read again" {
	start_server -o instances=3 127.0.0.1:0 sh -c 'echo "$0" "$@"' 'one  two' three
	upgrade
	[[ $(ask) == "one  two three" ]]
	printf 'service a\n{\n\tlisten = tcp:127.0.0.1:0\n\tuser = %s\n\texec = echo in\n}\n' "$ME" >t
	mkfifo ready.x
	"$SERVER" -f - -C c2 -r 9 <t 9>ready.x 2>>"$LOG" 3>&- & PID=$!; SRV+=("$PID")
	[[ $(<ready.x) == *ready ]]
	run -1 "$SERVERCTL" -C c2 upgrade
	[[ $output == *"cannot be read again"*"goes on" ]]
	[[ -n $(state "$PID") && $(state "$PID") != Z ]]
}

@test "-D, relative paths, a pid file, a name found by PATH, a link: all hold in the successor" {
	own_program
	ln -s srv server.link; mkdir bin; ln -s ../srv bin/server
	table a 'listen = tcp:127.0.0.1:0 unix:a.sock' "user = $ME" "exec = echo a"
	local port old
	for old in ./server.link server "$PWD/bin/../srv"; do
		PATH=$PWD/bin:$PATH "$old" -o user="$ME" -f t -D -p pid -C d.ctl -r 9 9>lines </dev/null 2>>"$LOG" 3>&-
		PID=$(<pid); CTL=$PWD/d.ctl
		port=$(sed -n 's/^listen a tcp:127.0.0.1:\([0-9]*\)$/\1/p' lines)
		[[ $(ask "$port") == a ]]
		# Another file stands there now.
		back
		run ctl upgrade; [[ $status == 0 ]] || die "$output"
		back
		run ctl upgrade; [[ $status == 0 ]] || die "$output"
		[[ $(<pid) == "$PID" && $(ask "$port") == a && $(<"/proc/$PID/comm") == "$(basename "$old")" ]]
		[[ $(readlink "/proc/$PID/cwd") == / ]]
		sed -i 's/echo a/echo b/' t
		run -0 ctl upgrade
		[[ $(ask "$port") == b ]]
		sed -i 's/echo b/echo a/' t
		kill "$PID"; until_true 10 gone "$PID"
		[[ ! -e pid && ! -e a.sock && ! -e d.ctl ]]
	done
}

@test "a link that leads to another version: that one is run" {
	own_program
	mv srv one; ln -s one current; SERVER=$PWD/current
	start_server 127.0.0.1:0 echo hi
	cp real two; ln -sfn two current; rm one
	upgrade
	[[ $(readlink "/proc/$PID/exe") == */two && $(ask) == hi ]] || [[ $(id -u) != 0 ]]
	upgrade
	rm two
	run -1 ctl upgrade
	[[ $output == *"current: cannot open it: "*"goes on" ]]
	[[ $(ask) == hi ]]
}

@test "behind -D the log goes on to syslog" {
	requires_root
	requires python3
	unshare -m true 2>/dev/null || skip "no mount namespace"
	cat >listen.py <<-'X'
	import os, socket
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("/dev/log")
	open("up", "w").close()
	while True:
	    with open("syslog", "ab") as f: f.write(s.recv(65536) + b"\n")
	X
	cat >inside.sh <<-X
	mkdir dev && mount -t tmpfs t dev && mknod dev/null c 1 3 && mknod dev/urandom c 1 9 && mount --move dev /dev || exit 9
	ln -s /proc/self/fd /dev/fd
	python3 listen.py & l=\$!
	until [ -e up ]; do :; done
	"$SERVER" -o user=root -o env=TEST_MARK=$TEST_MARK -D -p pid -r 9 127.0.0.1:0 true 9>lines
	read -r x y a <lines
	kill -USR2 "\$(cat pid)"
	until grep -q 'UPGRADE: done' syslog; do :; done
	"$PEER" "tcp:127.0.0.1:\${a##*:}"
	until grep -q EXIT syslog; do :; done
	kill "\$(cat pid)"
	while [ -e pid ]; do :; done
	kill \$l
	X
	timeout 20 unshare -m sh inside.sh
	grep -E '^<30>.* server\[[0-9]+\]: EXIT: true status=0' syslog
}

@test "RPC programs stay registered; one that the new table has no more is forgotten" {
	requires_root
	requires unshare rpcbind rpcinfo ip
	unshare -n -m true 2>/dev/null || skip "no namespaces"
	table one 'type = RPC UNLISTED' 'rpc_number = 200098' 'rpc_version = 1' 'protocol = tcp4' "user = $ME" 'exec = cat'
	add two 'type = RPC UNLISTED' 'rpc_number = 200099' 'rpc_version = 1' 'protocol = tcp4' "user = $ME" 'exec = cat'
	cat >inside.sh <<-X
	set -eu
	ip link set lo up
	mount -t tmpfs none /run
	listed() { rpcinfo -p 127.0.0.1 2>/dev/null | grep -q " \$1 "; }
	waits() { for i in \$(seq 500); do ! "\$@" || return 0; sleep 0.02; done; echo "not in time: \$*"; exit 1; }
	rpcbind -f >/dev/null 2>&1 & r=\$!
	waits rpcinfo -p 127.0.0.1 >/dev/null 2>&1
	"$SERVER" -f t -C c1 -r 9 9>lines 2>>"$LOG" & s=\$!
	waits grep -q ready lines
	waits listed 200098; waits listed 200099
	sed -i '/^service two/,\$d' t
	"$SERVERCTL" -C c1 upgrade
	gone() { ! listed 200099; }
	waits gone
	listed 200098
	kill \$s; wait \$s; kill \$r
	X
	timeout 30 unshare -n -m bash inside.sh
}

# --- what stands on disk

@test "what cannot be run is refused, with the reason; the old one serves, nothing is left" {
	own_program
	start_server 127.0.0.1:0 echo hi
	local before what; before=$(nfds "$PID")
	refused_now() { # refused_now REGEX
		run -1 timeout 20 "$SERVERCTL" -C "$CTL" upgrade
		[[ $output =~ $1.*"the program that runs goes on"$ ]] || die "said: $output"
		[[ $(ask) == hi ]]
		until_true 5 is_quiet "$before"
	}
	rm srv; refused_now 'srv: cannot open it: No such file'
	printf '#!/bin/sh\nexec %s/real "$@"\n' "$PWD" >srv; chmod +x srv; refused_now 'srv: cannot execute it: a script'
	cp real srv; chmod -x srv; refused_now 'srv: cannot execute it: '
	rm srv; mkdir srv; refused_now 'srv: cannot execute it: '; rmdir srv
	: >srv; chmod +x srv; refused_now 'srv: cannot execute it: '
	head -c 20000 real >srv; refused_now 'srv: cannot execute it|signal|status'
	# Of another processor.
	cp real srv.new; printf '\xf7\x00' | dd of=srv.new bs=1 seek=18 conv=notrunc status=none; mv srv.new srv
	refused_now 'srv: cannot execute it: '
	cp "$(type -P true)" srv.new; mv srv.new srv; refused_now 'ended without a word'
	for what in "segv|signal 11" "silent|ended without a word" "garbage|ended without a word" "word|ended without a word" \
		"short|ended without a word" "endless|says more than it should" "large|says more than it should"; do
		stand "${what%|*}"; refused_now "${what#*|}"
	done
	stand garbage
	"$SERVERCTL" -C "$CTL" upgrade >said 2>&1 && die "it is said to be done"
	[[ $(tr -d '\n\t' <said | grep -c '[[:cntrl:]]') == 0 ]]
	(($(awk '/VmHWM/ {print $2}' "/proc/$PID/status") < 150000))
	(($(stat -c %s "$LOG") < 200000))
	back
	run -0 ctl upgrade
	[[ $(ask) == hi ]]
}

@test "one that hangs holds up nobody; TERM ends the server and it" {
	own_program
	start_server 127.0.0.1:0 echo hi
	stand hang
	"$SERVERCTL" -C "$CTL" upgrade >ctl.out 2>&1 3>&- & local c=$!
	until_true 5 test -e come
	[[ $(ask) == hi ]]
	# Another one is the same, and is answered with it.
	"$SERVERCTL" -C "$CTL" upgrade >ctl2.out 2>&1 3>&- & local d=$!
	kill -USR2 "$PID"
	[[ $(ask) == hi ]]
	run -0 ctl status
	kill -TERM "$PID"
	wait "$c" && die "it is said to be done"
	wait "$d" && die "it is said to be done"
	grep 'the server is about to end; the program that runs goes on' ctl.out
	wait_end
	[[ $STATUS == 0 ]]
	until_true 5 nobody_left
}

# variant NAME FLAGS FILES...: the server with some of its files made with other flags.
variant() {
	local name=$1 flags=$2; shift 2
	requires cc
	[[ $(<"$B/flags") != *--coverage* ]] || skip "its counters would be another program's"
	(cd "$BATS_TEST_DIRNAME/.." && eval "$(<"$B/flags") -O0 $flags -o '$BATS_TEST_TMPDIR/$name' $* '$B/libserver.a'" 2>"$BATS_TEST_TMPDIR/cc.log") ||
		die "$(<cc.log)"
	rm -f ./*.d
}

@test "the check is given so long and no longer, even if what it left behind keeps its pipe" {
	variant short '-DUPGRADE_LONGEST=1 -U_FORTIFY_SOURCE' src/manage/upgrade.c "'$B/src/server.o'"
	mv short srv; cp srv real; SERVER=$PWD/srv
	start_server 127.0.0.1:0 echo hi
	local before; before=$(nfds "$PID")
	stand hang
	run -1 ctl upgrade
	[[ $output == *"came to no end in time; the program that runs goes on" || $output == *"signal 14"* ]]
	until_true 5 is_quiet "$before"
	stand daemon
	run -1 ctl upgrade
	[[ $output == *"came to no end in time"* ]]
	kill "$(<left)"
	until_true 5 is_quiet "$before"
	[[ $(ask) == hi ]]
}

@test "what was written to in place while it was checked is not run" {
	own_program
	export STAND_REAL=$PWD/real
	start_server 127.0.0.1:0 echo hi
	stand gate
	"$SERVERCTL" -C "$CTL" upgrade >ctl.out 2>&1 3>&- & local c=$!
	until_true 5 test -e come
	touch srv
	: >go
	wait "$c" && die "it is said to be done"
	grep 'the program on disk was changed while it was checked' ctl.out
	[[ $(ask) == hi ]]
}

# --- in what order

@test "a reload that is asked for during an upgrade follows it, in whatever program goes on" {
	own_program
	export STAND_REAL=$PWD/real
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo one'
	start_server -f t
	stand gate
	kill -USR2 "$PID"
	until_true 5 test -e come
	# The plan of this one is behind already.
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo two'
	kill -HUP "$PID"
	"$SERVERCTL" -C "$CTL" reload >reload.out 2>&1 3>&- & local r=$!
	"$SERVERCTL" -C "$CTL" disable a >disable.out 2>&1 3>&- & local d=$!
	[[ $(ask) == one ]]
	until_true 5 two_ask
	: >go
	wait "$r"; wait "$d"
	until_true 5 log_has 1 'UPGRADE: done'
	grep ' 1 off' disable.out; grep ' 1 off' reload.out
	run -0 ctl enable a
	run -0 ctl status a; [[ $output == *listening* ]]
	sed -n 's/^.*tcp:127.0.0.1:\([0-9]*\).*/\1/p' <<<"$output" >port
	[[ $(ask "$(head -n 1 port)") == two ]]
	# And where it is refused.
	stand gate; mv mode mode.gate; echo gate >mode
	"$SERVERCTL" -C "$CTL" upgrade >ctl.out 2>&1 3>&- & local c=$!
	until_true 5 test -e come
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo three'
	kill -HUP "$PID"
	"$SERVERCTL" -C "$CTL" reload >reload.out 2>&1 3>&- & r=$!
	touch srv; : >go
	wait "$c" && die "it is said to be done"
	wait "$r"
	grep -E '1 changed|1 as before' reload.out
	[[ $(ask "$(head -n 1 port)") == three ]]
}
in_turn() { [[ $(grep -oE 'RELOAD|UPGRADE: done' "$LOG" | tr '\n' ' ') == "RELOAD UPGRADE: done RELOAD " ]]; }
two_ask() { [[ $(id -u) != 0 ]] || (($(find "/proc/$PID/fd" -lname 'socket:*' | wc -l) >= 4)); }

@test "an upgrade that is asked for during a reload comes behind it" {
	table a 'listen = tcp:127.0.0.1:0' "user = $ME" 'exec = echo one'
	local k; for k in {1..3000}; do echo "service x$k { disable = yes; }"; done | tr ';' '\n' >>t
	start_server -f t
	sed -i 's/echo one/echo two/' t
	local reader; until_true 20 catch_reader
	kill -USR2 "$PID"
	"$SERVERCTL" -C "$CTL" reload >reload.out 2>&1 3>&- & local r=$!
	"$SERVERCTL" -C "$CTL" upgrade >ctl.out 2>&1 3>&- & local c=$!
	run -0 ctl status a
	[[ $(ask) == one || $(ask) == two ]]
	log_has 0 UPGRADE
	: >"$LOG"
	kill -CONT "$reader"
	wait "$r"; wait "$c"
	[[ $(<reload.out) == "0 added, 0 changed, 0 removed, 1 as before"* && $(ask) == two ]]
	until_true 5 in_turn
	: >"$LOG"
	for k in 1 2 3; do
		table a 'listen = tcp:127.0.0.1:0' "user = $ME" "exec = echo r$k"
		kill -HUP "$PID"; kill -USR2 "$PID"
		until_true 5 upgraded "$k"
		[[ $(ask) == "r$k" ]]
	done
}

# Has a reload begun, and can its process be stopped before it is over? Sets reader.
catch_reader() {
	local tries=5000
	until_true 5 has_children 0 || return
	kill -HUP "$PID"
	while reader=$(children "$PID"); [[ -z $reader ]] && ((tries-- > 0)); do :; done
	[[ $reader =~ ^[0-9]+$ ]] && kill -STOP "$reader" 2>/dev/null && until_true 5 stopped_or_gone && [[ $(state "$reader") == T ]]
}
stopped_or_gone() { gone "$reader" || [[ $(state "$reader") == T ]]; }

@test "TERM and INT while the check passes; a drain is not upgraded" {
	own_program
	export STAND_REAL=$PWD/real
	local sig
	for sig in TERM INT; do
		start_server 127.0.0.1:0 sh -c 'echo up; read x; exit 5'
		talk 5; read_from 5
		stand gate
		kill -USR2 "$PID"
		until_true 5 test -e come
		kill -$sig "$PID"; : >go
		[[ $sig == INT ]] || { wait_log DRAIN; run -1 ctl upgrade; [[ $output == *"about to end"* ]]; }
		exec 5>&-
		wait_end
		[[ $STATUS == 0 ]]
		wait_log 'EXIT: sh (status=5|signal=15)'
		log_has 0 'UPGRADE: done'
		back
	done
	start_server 127.0.0.1:0 sh -c 'echo up; read x; exit 6'
	talk 5; read_from 5
	kill -TERM "$PID"; wait_log DRAIN
	kill -USR2 "$PID"
	until_true 5 refused 'the server is about to end'
	exec 5>&-
	wait_end
	[[ $STATUS == 0 ]] && wait_log 'EXIT: sh status=6'
}

@test "QUIT behind upgrades: commands live on, paths are removed" {
	start_server -o listen+=unix:s 127.0.0.1:0 sh -c 'echo $$; read x; echo bye'
	local p
	talk 5; p=$(read_from 5)
	upgrade
	stop_server QUIT
	[[ $STATUS == 0 && ! -e s ]]
	run ! gone "$p"
	echo x >&5
	[[ $(read_from 5) == bye ]]
	exec 5>&-
	until_true 5 gone "$p"
}

# --- as whom, and where

@test "as process 1 of a container" {
	unshare -p -f --kill-child true 2>/dev/null || skip "no pid namespace"
	cat >inner.sh <<-X
	exec "$SERVER" -o user=$ME -C c1 -r 9 127.0.0.1:0 sh -c 'echo \$PPID; read x; exit 4' 9>lines 2>>"$LOG"
	X
	unshare -p -f --kill-child sh inner.sh </dev/null 3>&- & local u=$!
	until_true 5 grep -q ready lines
	PORT=$(sed -n 's/.*tcp:127.0.0.1:\([0-9]*\)$/\1/p' lines) CTL=$PWD/c1
	PID=$(children "$u")
	talk 5; [[ $(read_from 5) == 1 ]]
	run -0 ctl upgrade
	run -0 ctl upgrade
	exec 5>&-
	wait_log 'EXIT: sh status=4'
	talk 5; [[ $(read_from 5) == 1 ]]; exec 5>&-
	until_true 5 log_has 2 'EXIT: sh status=4'
	until_true 5 has_children 0 "$PID"
	run -0 ctl stop
	wait "$u"
}

@test "not as root" {
	requires_root
	requires setpriv
	chmod 711 "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "${BATS_TEST_TMPDIR%/*}"
	install -d -o nobody here
	cp "$SERVER" here/srv; chmod 711 here/srv
	cd here || return
	SERVER=$PWD/srv ME=nobody
	runuser -u nobody -- "$SERVER" -V >/dev/null 2>&1 || setpriv --reuid nobody --regid 65534 --clear-groups "$SERVER" -V >/dev/null || skip "nobody may not come here"
	WRAP="setpriv --reuid nobody --regid 65534 --clear-groups"
	start_server 127.0.0.1:0 sh -c 'echo up; read x; id -un'
	talk 5; [[ $(read_from 5) == up ]]
	run -0 ctl upgrade
	run -0 ctl upgrade
	echo >&5
	[[ $(read_from 5) == nobody ]]
	[[ $(<"/proc/$PID/comm") == srv ]]
	exec 5>&-
}

@test "what tells of an upgrade in the environment reaches no command; at a start it is one line, exit 1" {
	local e
	export SERVER_CHECK=1
	start_server -o passenv='*' 127.0.0.1:0 env
	unset SERVER_CHECK
	run ! grep SERVER_ <<<"$(ask)"
	upgrade
	run ! grep SERVER_ <<<"$(ask)"
	for e in 99 0 -1 x '' 4; do
		run -1 env SERVER_STATE="$e" "$SERVER" 127.0.0.1:0 true
		[[ ${#lines[@]} == 1 && $output == "server: SERVER_STATE="* ]] || die "$e: $output"
	done
	echo nonsense >file
	SERVER_STATE=9 run -1 "$SERVER" 127.0.0.1:0 true 9<file
	[[ ${#lines[@]} == 1 && $output == "server: SERVER_STATE=9: no whole state of a predecessor; unset SERVER_STATE" ]]
	printf 'what is=this\nend\n' >file
	SERVER_STATE=9 run -1 "$SERVER" 127.0.0.1:0 true 9<file
	[[ ${#lines[@]} == 1 ]]
	printf 'server started=1\nbegin\nend\n' >file
	SERVER_STATE=9 run -1 "$SERVER" 127.0.0.1:0 true 9<file
	[[ ${#lines[@]} == 1 ]] || die "$output"
}

# --- between versions

@test "to another version and back" {
	own_program
	variant next "-UVERSION -DVERSION='\"9.9\"'" src/server.c src/manage/server.c src/manage/control.c src/manage/options.c
	start_server 127.0.0.1:0 sh -c 'echo up; read x; exit 4'
	talk 5; [[ $(read_from 5) == up ]]
	cp next srv.new; mv srv.new srv
	run -0 ctl upgrade
	[[ $output == "version 9.9 goes on" ]]
	wait_log 'done: version 9.9 goes on with 1 children'
	back
	run -0 ctl upgrade
	[[ $output != *9.9* ]]
	exec 5>&-
	wait_log 'EXIT: sh status=4'
}

@test "a program that keeps its connections in another form refuses before anything happens" {
	own_program
	variant other '-DCARRY_FORM=2' src/serve/carry.c "'$B/src/server.o'"
	start_server 127.0.0.1:0 sh -c 'echo up; read x; exit 4'
	talk 5; [[ $(read_from 5) == up ]]
	cp other srv.new; mv srv.new srv
	run -1 ctl upgrade
	[[ $output == *"in another form than the one that runs (form 2, not 1): stop that one, then start this"* ]]
	exec 5>&-
	wait_log 'EXIT: sh status=4'
}
