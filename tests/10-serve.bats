load helper

@test "the example: server PORT date, client -w 2, kill" {
	start_server 0 date
	run -0 "$CLIENT" -w 2 "localhost:$PORT"
	[[ $output == *20[0-9][0-9]* ]]
	stop_server
	[[ $STATUS == 0 ]]
}

@test "without -r it prints one line for each listener and logs to standard error" {
	"$SERVER" -o user="$ME" 127.0.0.1:0 echo hi 2>err >out 3>&- & PID=$!; SRV+=("$PID")
	until_true 5 grep -q LISTEN err
	[[ $(<err) =~ ^[0-9][0-9]/[0-9]+/[0-9]+@[0-9:]{8}:\ LISTEN:\ echo\ tcp:127.0.0.1:([0-9]+)$ ]]
	run -0 ask "${BASH_REMATCH[1]}"
	[[ $output == hi && ! -s out ]]
	until_true 5 grep -q EXIT err
}

@test "-r writes the listeners and ready in one write and closes the descriptor" {
	start_server 127.0.0.1:0 true
	[[ ${ADDRESSES[*]} == "tcp:127.0.0.1:$PORT" ]]
	until_true 5 test ! -e "/proc/$PID/fd/9"
	start_server -o id=x -o listen+=127.0.0.1:0 127.0.0.1:0 true
	[[ ${#ADDRESSES[@]} == 2 && -n ${PORTS[x]} ]]
}

@test "START and EXIT lines have xinetd's shape" {
	start_server 127.0.0.1:0 sh -c 'exit 3'
	ask
	wait_log 'EXIT: sh'
	local stamp='^[0-9]{2}/[0-9]{1,2}/[0-9]{1,2}@[0-9]{2}:[0-9]{2}:[0-9]{2}: '
	logged "${stamp}START: sh pid=[0-9]+ from=127\.0\.0\.1\$"
	logged "${stamp}EXIT: sh status=3 pid=[0-9]+ duration=0\(sec\)\$"
}

@test "a child that ends by a signal is logged with it" {
	start_server -s 127.0.0.1:0 'kill -9 $$'
	ask
	wait_log 'EXIT: sh signal=9 pid='
}

@test "-s: COMMAND is a shell line, further words are its arguments" {
	start_server -s 127.0.0.1:0 'echo "$0|$1|$2|$#" | tr a-z A-Z' 'one two' '$HOME'
	run -0 ask
	[[ $output == 'SH|ONE TWO|$HOME|2' ]]
	[[ -n ${PORTS[sh]} ]]
}

@test "options end at ADDRESS; what follows belongs to COMMAND" {
	start_server -- 127.0.0.1:0 echo -s -r 1 --help
	run -0 ask
	[[ $output == "-s -r 1 --help" ]]
}

@test "id names the service" {
	start_server -o id=clock 127.0.0.1:0 echo hi
	[[ -n ${PORTS[clock]} ]]
	ask; wait_log 'EXIT: clock '
}

@test "the default id is the last part of the command's name" {
	start_server 127.0.0.1:0 /bin/echo hi
	[[ -n ${PORTS[echo]} ]]
}

@test "exec is a command line quoted as for a shell; ADDRESS alone is enough then" {
	start_server -o exec='/bin/echo "a  b" c\ d '\''e"f'\' 127.0.0.1:0
	run -0 ask
	[[ $output == 'a  b c d e"f' ]]
}

@test "shell is a line for sh -c" {
	start_server -o shell='echo "x # y" | tr x z' 127.0.0.1:0
	run -0 ask
	[[ $output == 'z # y' ]]
}

@test "-p writes the pid and removes the file at exit" {
	echo junk >pid
	start_server -p pid 127.0.0.1:0 true
	[[ $(<pid) == "$PID" ]]
	stop_server
	[[ ! -e pid ]]
}

@test "T40: -p follows no symbolic link" {
	echo precious >victim
	ln -s victim pid
	start_server -p pid 127.0.0.1:0 true
	[[ $(<victim) == precious && ! -L pid && $(<pid) == "$PID" ]]
}

@test "a pid file that another process took over is left alone" {
	start_server -p pid 127.0.0.1:0 true
	echo 1 >pid
	stop_server
	[[ $(<pid) == 1 ]]
}

@test "-q logs no START, EXIT and LISTEN; refusals still" {
	start_server -q -o no_access=127.0.0.2 127.0.0.1:0 true
	ask
	"$PEER" -b 127.0.0.2 "tcp:127.0.0.1:$PORT"
	wait_log 'FAIL: true address from=127.0.0.2'
	! logged 'START|EXIT|LISTEN' || die "not quiet"
}

@test "-v logs how children are started and which word refused" {
	start_server -v -o no_access='127.0.0.2 127.0.3.0/24' -o only_from=127.0.0.0/16 127.0.0.1:0 true
	wait_log 'DEBUG: children are started by (clone|vfork|fork)$'
	"$PEER" -b 127.0.0.2 "tcp:127.0.0.1:$PORT"
	wait_log 'DEBUG: true no_access 127.0.0.2 refuses'
	"$PEER" -b 127.1.0.1 "tcp:127.0.0.1:$PORT"
	wait_log 'DEBUG: true only_from has no word'
}

@test "log_format = json: one object a line with the same facts" {
	requires python3
	start_server -o log_format=json -o log_on_success='PID HOST EXIT DURATION PORT CONN CPU BYTES' \
		-o no_access=127.0.0.2 127.0.0.1:0 sh -c 'echo hi; exit 4'
	ask
	"$PEER" -b 127.0.0.2 "tcp:127.0.0.1:$PORT"
	wait_log '"event":"exit"'; wait_log '"event":"fail"'
	stop_server
	python3 - "$LOG" "$PORT" <<-'X'
	import json, re, sys
	ev = {}
	for line in open(sys.argv[1]):
	    o = json.loads(line)
	    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", o["time"]), o
	    assert o["level"] in ("err", "warning", "notice", "info", "debug"), o
	    ev[o["event"]] = o
	assert "drain" in ev and "stopped" in ev, ev
	s, e, f = ev["start"], ev["exit"], ev["fail"]
	assert s["service"] == "sh" and s["from"] == "127.0.0.1" and s["port"] > 0 and s["conn"] == 1, s
	assert e["pid"] == s["pid"] and e["status"] == 4 and e["bytes_out"] == 3 and e["bytes_in"] == 0, e
	assert isinstance(e["duration"], float) and isinstance(e["cpu"], float), e
	assert f["reason"] == "address" and f["from"] == "127.0.0.2", f
	assert sys.argv[2] in ev["listen"]["message"], ev["listen"]
	X
}

@test "log_on_success chooses the words; nothing means no lines" {
	start_server -o log_on_success='HOST CONN PORT' 127.0.0.1:0 true
	ask
	wait_log 'START: true from=127.0.0.1 port=[0-9]+ conn=1$'
	ask
	wait_log 'conn=2$'
	! logged EXIT || die "EXIT was not asked for"
	start_server -o log_on_success= -o log_on_success+=EXIT 127.0.0.1:0 true
	ask
	wait_log 'EXIT: true status=0$'
	start_server -o log_on_success-='PID' 127.0.0.1:0 sh -c 'exit 9'
	ask
	wait_log 'START: sh from=127.0.0.1$'; wait_log 'EXIT: sh status=9 duration=0\(sec\)$'
}

@test "BYTES counts what moved, without the end of stream" {
	start_server -o log_on_success='EXIT BYTES' 127.0.0.1:0 cat
	run -0 "$PEER" -s 12345 -H "tcp:127.0.0.1:$PORT"
	wait_log 'EXIT: cat status=0 bytes_in=5 bytes_out=5$'
	start_server -o linger=no -o log_on_success='EXIT BYTES' 127.0.0.1:0 sh -c 'head -c 100000 /dev/zero; read -r x'
	"$PEER" -s "x
" "tcp:127.0.0.1:$PORT" >/dev/null
	wait_log 'EXIT: sh status=0 bytes_in=2 bytes_out=100000$'
}

@test "CPU and MAXRSS are told when they are asked for" {
	start_server -o log_on_success='EXIT CPU MAXRSS' -s 127.0.0.1:0 \
		'x=$(head -c 20000000 /dev/zero | tr "\0" a); echo ${#x}'
	run -0 ask
	[[ $output == 20000000 ]]
	wait_log 'EXIT: sh status=0 cpu=[0-9]+\.[0-9]{3}\(sec\) maxrss=[2-9][0-9]{4}\(KiB\)$'
	start_server -o log_on_success='EXIT MAXRSS' 127.0.0.1:0 true
	run -0 ask
	wait_log 'EXIT: true status=0 maxrss=[1-9][0-9]*\(KiB\)$'
}

@test "log_on_failure chooses the words; nothing means no line" {
	start_server -o no_access=0.0.0.0/0 -o log_on_failure='HOST PORT' 127.0.0.1:0 true
	ask; wait_log 'FAIL: true address from=127.0.0.1 port=[0-9]+$'
	start_server -o no_access=0.0.0.0/0 -o log_on_failure=ATTEMPT 127.0.0.1:0 true
	ask; wait_log 'FAIL: true address$'
	start_server -o id=mute -o no_access=0.0.0.0/0 -o log_on_failure= 127.0.0.1:0 true
	ask; wait_state 'mute live=0 started=0 refused=1'
	! logged 'FAIL: mute' || die "nothing was to be logged"
}

@test "USR1 logs the state" {
	start_server 127.0.0.1:0 true
	ask; wait_log EXIT
	kill -USR1 "$PID"
	wait_log 'STATE: true live=0 started=1 refused=0 failed=0'
}

@test "-D: the foreground ends with 0 once all listens, the background is a daemon" {
	mkfifo ready
	AS_ME="" WRAP=""
	"$SERVER" -o user="$ME" -o env=TEST_MARK="$TEST_MARK" -D -p pid -r 9 127.0.0.1:0 sh -c 'pwd' 9>ready 2>err >out 3>&- &
	local fg=$! line
	read -rt 5 line <ready
	wait "$fg"
	PID=$(<pid)
	[[ $PID != "$fg" && $line == "listen sh tcp:127.0.0.1:"* ]]
	[[ $(readlink "/proc/$PID/cwd") == / && $(readlink "/proc/$PID/fd/0") == /dev/null ]]
	[[ $(readlink "/proc/$PID/fd/1") == /dev/null && $(readlink "/proc/$PID/fd/2") == /dev/null ]]
	[[ $(stat_field "$PID" 6) == "$PID" ]]
	[[ ! -s err && ! -s out ]]
	# The command starts where the server was started, all the same.
	run -0 ask "${line##*:}"
	[[ $output == "$PWD" ]]
	kill "$PID"
	until_true 5 gone "$PID"
	until_true 5 test ! -e pid
}

@test "-D lets go of standard error, where a service's log would go, too" {
	# `run` reads until nobody has it any more.
	run -0 timeout 10 "$SERVER" -o user="$ME" -o log_type=STDERR -D -C "$PWD/c" -p "$PWD/pid" 127.0.0.1:0 true
	kill "$(<pid)"
	until_true 5 test ! -e pid
}

@test "-p: what is no file is written to, and stays" {
	ln -s /dev/null null
	mkfifo fifo; exec {both}<>fifo
	start_server -p null 127.0.0.1:0 true; stop_server
	[[ $STATUS == 0 && -L null ]]
	start_server -p fifo 127.0.0.1:0 true; stop_server
	[[ -p fifo ]]
	read -rt 5 -u "$both" was
	start_server -p fifo 127.0.0.1:0 true
	read -rt 5 -u "$both" was; [[ $was == "$PID" ]]
	stop_server; [[ $STATUS == 0 && -p fifo ]]
	mkdir dir; run -1 timeout 5 "$SERVER" -o user="$ME" -p dir 127.0.0.1:0 true
	[[ $output == *"dir: cannot write the pid file"* ]]
}

@test "-D: 1 with the reason if it cannot be" {
	start_server 127.0.0.1:0 true
	run -1 "$SERVER" -o user="$ME" -D "127.0.0.1:$PORT" true
	[[ $output == "server: tcp:127.0.0.1:$PORT: cannot bind: "* ]]
}

# A private /dev with a log socket of its own.
with_dev_log() {
	requires_root
	unshare -m true 2>/dev/null || skip "no mount namespace"
	cat >listen.py <<-'X'
	import os, socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("/dev/log")
	open("up", "w").close()
	while True:
	    with open("syslog", "ab") as f: f.write(s.recv(65536) + b"\n")
	X
	cat >inside.sh <<-X
	mkdir dev && mount -t tmpfs t dev && mknod dev/null c 1 3 && mknod dev/urandom c 1 9 && mount --move dev /dev || exit 9
	python3 listen.py & l=\$!
	until [ -e up ]; do :; done
	"$SERVER" -o user=root $* -o env=TEST_MARK=$TEST_MARK -D -p pid -r 9 127.0.0.1:0 true 9>lines
	read -r x y a <lines
	"$PEER" "tcp:127.0.0.1:\${a##*:}"
	until grep -q EXIT syslog; do :; done
	kill "\$(cat pid)"
	while [ -e pid ]; do :; done
	kill \$l
	X
	timeout 20 unshare -m sh inside.sh
}

@test "-D logs to syslog, facility daemon, as RFC 3164 datagrams" {
	requires python3
	with_dev_log
	grep -E '^<30>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} server\[[0-9]+\]: START: true pid=[0-9]+ from=127.0.0.1$' syslog
}

@test "log_tag is the tag in syslog" {
	requires python3
	with_dev_log -o log_tag=xinetd
	grep -E 'xinetd\[[0-9]+\]: EXIT: true status=0 ' syslog
}

@test "T20: the log never blocks: a full pipe costs lines, which are counted" {
	mkfifo pipe
	exec {rd}<>pipe
	mkfifo fr
	"$SERVER" -o user="$ME" -r 9 127.0.0.1:0 true 9>fr 2>pipe </dev/null >/dev/null 3>&- & PID=$!; SRV+=("$PID")
	local a; read -rt 5 a <fr; PORT=${a##*:}
	# Two lines a connection; a pipe holds 64 KiB, the server 256 KiB more.
	run -0 "$PEER" -n 4000 "tcp:127.0.0.1:$PORT"
	[[ $output == "4000 0" ]]
	timeout 10 sed '/LOST: [0-9]* log lines/q' <&"$rd" >drained
	grep -E 'LOST: [0-9]+ log lines' drained
	exec {rd}<&-
}

@test "the log's reader may vanish; the service goes on" {
	mkfifo pipe fr
	"$SERVER" -o user="$ME" -r 9 127.0.0.1:0 echo hi 2>pipe 9>fr </dev/null >/dev/null 3>&- & PID=$!; SRV+=("$PID")
	exec {rd}<pipe
	local a; read -rt 5 a <fr; PORT=${a##*:}
	exec {rd}<&-
	for _ in 1 2 3 4 5; do run -0 ask; [[ $output == hi ]]; done
	local before; before=$(ticks "$PID")
	nap 0.5
	(($(ticks "$PID") - before <= 2))
}

@test "curl, bash and telnet as clients" {
	start_server 127.0.0.1:0 echo hello
	[[ $(cat <"/dev/tcp/127.0.0.1/$PORT") == hello ]]
	requires curl telnet
	run curl -s --http0.9 "http://127.0.0.1:$PORT/"
	[[ $status == 0 && $output == hello ]]
	run bash -c "telnet 127.0.0.1 $PORT </dev/null"
	[[ $output == *Connected* ]]
	run bash -c "{ cat <&3; } 3<>/dev/tcp/127.0.0.1/$PORT"
	[[ $output == hello ]]
}

@test "log_type = SYSLOG: facility and level of a service's lines" {
	requires python3
	with_dev_log -o "'log_type=SYSLOG local4 notice'"
	grep -E '^<165>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} server\[[0-9]+\]: START: true pid=[0-9]+ from=127.0.0.1$' syslog
	grep -E '^<165>.*: LISTEN: true ' syslog
}
