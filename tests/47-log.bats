load helper

table() { cat >"$1"; chmod 644 "$1"; }
count() { cat -- "${@:2}" 2>/dev/null | grep -cE -- "$1" || :; }
counts() { [[ $(count "${@:2}") == "$1" ]]; } # counts N PATTERN FILE...
serves() { run -0 ask "$1"; [[ $output == hi ]]; }
STAMP='[0-9]{2}/[0-9]{1,2}/[0-9]{1,2}@[0-9]{2}:[0-9]{2}:[0-9]{2}: '

# A service whose command says 900 lines of 950 bytes on stderr: more than waits for a sink and fits
# into a pipe. `other` logs elsewhere.
SAID=900
flood_table() { # flood_table LOG_TYPE
	table t <<-X
	service flood { listen = 127.0.0.1:0
	exec = sh -c 'seq -f %0950.0f $SAID >&2; echo hi'
	stderr = log
	log_on_success =
	log_type = $1 }
	service other { listen = 127.0.0.1:0
	exec = echo hi
	}
	X
}
# So many of them came into the files as whole lines, and so many were told as lost.
lost() { cat -- "$@" | sed -n 's/.*LOST: \([0-9]*\) log lines.*/\1/p' | awk '{ n += $1 } END { print n + 0 }'; }
came() { count 'STDERR: flood pid=[0-9]+ [0-9]{950}$' "$@"; }
all_accounted() { (($(came "$1") + $(lost "${@:2}") == SAID && $(lost "${@:2}") > 0)); }

# A mount namespace of its own: $PWD/dev is the server's /dev, $PWD/small a disk of 64 KiB.
private_mounts() {
	requires_root
	unshare -m true 2>/dev/null || skip "no mount namespace"
	mkdir dev small
	touch dev/null dev/zero dev/full dev/urandom
	cat >inside <<-'X'
	#!/bin/sh
	for d in null zero full urandom; do mount --bind /dev/$d dev/$d || exit 9; done
	mount -t tmpfs -o size=64k t small && mount --rbind dev /dev || exit 9
	exec "$@"
	X
	chmod +x inside
	WRAP="unshare -m $PWD/inside"
}
small() { echo "/proc/$PID/root$PWD/small"; }

# Reads /dev/log and writes what comes as syslog daemons do, host included; the raw bytes into
# syslog.raw. A link to an earlier one's name is not in its way.
start_syslog() {
	requires python3
	cat >syslogd.py <<-'X'
	import os, re, socket
	try: os.unlink("dev/log")
	except FileNotFoundError: pass
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("dev/log")
	open("up", "w").close()
	with open("syslog", "ab", 0) as f, open("syslog.raw", "ab", 0) as raw:
	    while True:
	        d = s.recv(65536)
	        raw.write(d + b"\n")
	        m = re.fullmatch(rb"<\d+>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (.*)", d, re.S)
	        f.write(m[1] + b" box " + m[2] + b"\n")
	X
	rm -f up
	touch syslog
	python3 syslogd.py </dev/null 3>&- & SYSLOGD=$!
	until_true 10 test -e up
}
stop_syslog() { kill -KILL "$1"; wait "$1" 2>/dev/null || :; }

# --- several at once

@test "log_type: several places at once; = replaces, += adds, -= takes one away" {
	table t <<-X
	defaults { log_type = FILE $PWD/d.log
	log_type += FILE $PWD/e.log }
	service inherits { listen = 127.0.0.1:0
	exec = true
	}
	service adds { listen = 127.0.0.1:0
	exec = true
	log_type += SERVER
	log_type += FILE $PWD/a.log 1M 2M }
	service replaces { listen = 127.0.0.1:0
	exec = true
	log_type = FILE $PWD/r.log }
	service less { listen = 127.0.0.1:0
	exec = true
	log_type -= FILE $PWD/d.log }
	service none { listen = 127.0.0.1:0
	exec = true
	log_type -= FILE $PWD/d.log
	log_type -= FILE $PWD/e.log }
	X
	start_server -f t
	local s
	for s in "${!PORTS[@]}"; do ask "${PORTS[$s]}"; done
	kill -USR1 "$PID"
	wait_log 'STATE: none live=[0-9]+ started=1'; wait_log 'STATE: adds'; wait_log 'EXIT: none'
	until_true 5 counts 3 'EXIT: (inherits|adds|less) ' e.log
	until_true 5 counts 2 'EXIT: (inherits|adds) ' d.log
	until_true 5 counts 1 'EXIT: replaces ' r.log
	until_true 5 counts 1 'EXIT: adds ' a.log
	counts 1 'EXIT: adds ' "$LOG"; counts 1 'EXIT: none ' "$LOG" # no place is left: the server's own
	counts 0 'replaces|none' d.log e.log a.log; counts 0 'inherits|less|replaces' "$LOG"
}

@test "log_type: of services with the same several places one goes, and the other's lines go on to both; with it they are closed" {
	table t <<-X
	defaults { log_type = FILE $PWD/d.log
	log_type += FILE $PWD/e.log }
	service a { listen = 127.0.0.1:0
	exec = true
	}
	service b { listen = 127.0.0.1:0
	exec = true
	}
	X
	start_server -f t
	sed -i '/service a/,/^}/d' t
	kill -HUP "$PID"
	wait_log 'RELOAD: .* 1 removed'
	ask "${PORTS[b]}"
	until_true 5 counts 1 'EXIT: b ' d.log
	until_true 5 counts 1 'EXIT: b ' e.log
	table t <<<$'service c { listen = 127.0.0.1:0\nexec = true\n}'
	kill -HUP "$PID"
	wait_log 'RELOAD: 1 added, 0 changed, 1 removed'
	closed() { [[ $(readlink /proc/"$PID"/fd/*) != *[de].log* ]]; }
	until_true 5 closed
}

@test "log_type: what is dumped reads back to the same places" {
	table t <<-X
	defaults { log_type = FILE /d.log 1K }
	service a { listen = 127.0.0.1:10001
	exec = true
	log_type += SYSLOG daemon
	log_type += FILE "/a b.log" 1M 2M
	log_type += FILE /d.log
	log_type += SERVER }
	service b { listen = 127.0.0.1:10002
	exec = true
	log_type -= FILE /d.log }
	service c { listen = 127.0.0.1:10003
	exec = true
	log_type = STDERR
	log_type += SYSLOG user err
	log_type += SYSLOG user notice }
	X
	run -0 "$SERVER" --dump -f t
	echo "$output" >d
	grep log_type d >got
	diff - got <<-'X'
	    log_type        = FILE /d.log
	    log_type       += SYSLOG daemon info
	    log_type       += FILE "/a b.log" 1048576 2097152
	    log_type       += SERVER
	    log_type        = SERVER
	    log_type        = STDERR
	    log_type       += SYSLOG user notice
	X
	chmod 644 d
	"$SERVER" --dump -f d | diff d -
	run -0 "$SERVER" --attributes
	grep -qP '^log_type\tSYSLOG facility \[level\], FILE /path .*\tSERVER\t' <<<"$output"
}

@test "-o log_type+= adds to standard error, one line a place even if that is named twice" {
	start_server -o log_type+="FILE $PWD/a.log" -o log_type+=STDERR 127.0.0.1:0 true
	ask; ask
	wait_log 'EXIT: true'; until_true 5 counts 2 'EXIT: true' a.log
	until_true 5 log_has 2 'EXIT: true'
	stop_server
	log_has 2 'EXIT: true'; log_has 1 'LISTEN: true'; counts 1 'LISTEN: true' a.log
	start_server -o id=one -o log_type+="FILE $PWD/b.log" 127.0.0.1:0 true
	ask; wait_log 'EXIT: one'; until_true 5 counts 1 'EXIT: one' b.log
	run -2 "$SERVER" -o log_type-="FILE $PWD/a.log" 127.0.0.1:0 true
	[[ $output == *'is not in the list of log_type'* ]]
}

@test "a reload takes a place away and adds another; what was said before is in the old one" {
	table t <<-X
	service a { listen = 127.0.0.1:0
	exec = true
	log_type = FILE $PWD/a.log
	log_type += FILE $PWD/b.log }
	X
	start_server -f t
	ask; until_true 5 counts 1 EXIT a.log
	ask
	sed -i "s|b.log|c.log|" t; kill -HUP "$PID"; wait_log 'RELOAD: 0 added, 1 changed'
	until_true 5 counts 2 EXIT a.log
	until_true 5 counts 2 EXIT b.log c.log; counts 2 START b.log
	ask; until_true 5 counts 3 EXIT b.log c.log
	until_true 5 counts 3 EXIT a.log; counts 2 START b.log
	[[ $(readlink "/proc/$PID/fd/"* | grep -c '/[abc]\.log$') == 2 ]] # b.log was closed
}

# --- files

@test "T21: HUP: a log that was moved away goes on in a new file, and no line is lost" {
	table t <<-X
	service a { listen = 127.0.0.1:0
	exec = true
	log_type = FILE $PWD/a.log
	log_type += FILE $PWD/b.log 1G }
	X
	start_server -f t
	local i p
	for i in 1 2 3 4; do
		"$PEER" -n 100 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & p=$!
		until_true 5 test -s a.log -a -s b.log
		mv a.log "a.log.$i"; mv b.log "b.log.$i"
		kill -HUP "$PID"
		until_true 5 test -e a.log -a -e b.log	# without waiting for a line
		wait "$p"
	done
	local f
	for f in a b; do
		until_true 10 counts 400 'EXIT: a ' "$f".log*; counts 400 'START: a ' "$f".log*
		counts "$(count . "$f".log*)" "^${STAMP}[A-Z]+: a " "$f".log*
	done
	! logged 'LOST|cannot' || die "no line was to be lost"
}

@test "HUP: a file that cannot be opened again goes on as it was, and that is told once" {
	start_server -o log_type="FILE $PWD/a.log" 127.0.0.1:0 true
	ask; until_true 5 counts 1 EXIT a.log
	mv a.log old; mkdir a.log
	kill -HUP "$PID"
	wait_log 'ERROR: cannot open the log .*/a.log again: .*; it goes on in the file as it was opened before'
	ask; until_true 5 counts 2 EXIT old
	ask; until_true 5 counts 3 EXIT old
	log_has 1 'cannot open'
	rmdir a.log
	kill -HUP "$PID"; until_true 5 test -f a.log
	ask; until_true 5 counts 1 EXIT a.log
	counts 3 EXIT old; log_has 1 'cannot'; log_has 0 LOST
}

@test "T21: the hard limit is judged anew behind HUP, and what was lost is told" {
	printf 'service a { listen = 127.0.0.1:0\nexec = true\nlog_type = FILE %s 100 300 }\n' "$PWD/a.log" | table t
	start_server -f t
	"$PEER" -n 20 "tcp:127.0.0.1:$PORT" >/dev/null
	wait_log 'reached its hard limit of 300 bytes'; wait_log 'reached its soft limit of 100 bytes'
	kill -HUP "$PID"; wait_log 'RELOAD: '
	ask; until_true 5 has_children 0
	log_has 0 LOST; log_has 1 'hard limit' # it is as full as before
	mv a.log old; kill -HUP "$PID"
	wait_log 'LOST: [0-9]+ log lines that the log .*/a.log did not take'
	[[ $(wc -c <old) -le 300 ]]
	ask; until_true 5 counts 1 EXIT a.log
	# LISTEN, and two of each connection.
	(($(count . old) + $(lost "$LOG") + $(count . a.log) == 1 + 22 * 2))
	# Shortened in place it goes on too, without a signal.
	"$PEER" -n 20 "tcp:127.0.0.1:$PORT" >/dev/null
	until_true 5 log_has 2 'hard limit'
	again() { : >a.log; ask; until_true 1 counts 1 EXIT a.log; } # what came before may fill it first
	until_true 5 again
	twice() { (($(count_log LOST) >= 2)); } # a slow machine may tell it in two lines
	until_true 5 twice
}

@test "a log may be a symbolic link; a directory, a FIFO nobody reads, a full device are told once, and nothing waits" {
	mkdir dir; mkfifo fifo; : >real; ln -s real link; ln -s nowhere/x dangling
	local s
	for s in dir fifo link dangling; do
		printf 'service %s { listen = 127.0.0.1:0\nexec = echo hi\nlog_type = FILE %s\n}\n' $s "$PWD/$s"
	done >t
	printf 'service full { listen = 127.0.0.1:0\nexec = echo hi\nlog_type = FILE /dev/full }\n' >>t
	chmod 644 t
	start_server -f t
	for s in dir fifo dangling full; do
		serves "${PORTS[$s]}"
		wait_log "ERROR: cannot write the log .*/$s: .*; it is tried again"
	done
	for s in dir fifo dangling full link; do serves "${PORTS[$s]}"; log_has "$([[ $s == link ]] || echo 1)" "cannot write the log .*/$s:" || [[ $s == link ]]; done
	until_true 5 counts 1 'EXIT: link' real
	# The link leads elsewhere: that is seen at HUP.
	: >real2; ln -sfn real2 link; kill -HUP "$PID"
	wait_log 'RELOAD:'
	serves "${PORTS[link]}"; until_true 5 counts 1 'EXIT: link' real2; counts 1 'EXIT: link' real
	# Once somebody reads, the FIFO has all of it.
	timeout 20 sed '/EXIT: fifo.*$/q' <fifo >got 3>&-
	counts 1 'LISTEN: fifo' got; counts 1 'START: fifo' got
	local before; before=$(ticks "$PID")
	nap 0.3
	(($(ticks "$PID") - before <= 2))
}

# A server whose service has said more than its log, a FIFO that nobody reads, and what waits for it take.
nobody_reads() {
	mkfifo fifo
	exec {rd}<>fifo
	flood_table "FILE $PWD/fifo"
	start_server -f t
	serves "${PORTS[flood]}"
	serves "${PORTS[other]}"; wait_log 'EXIT: other'
	until_true 5 has_children 0
}
# Somebody reads it now: each line came whole, or is told as lost, in these words.
all_is_told() {
	timeout 20 cat <&"$rd" >got 3>&- & local cat=$!
	wait_log "LOST: [0-9]+ log lines that $1" 10
	until_true 5 all_accounted got "$LOG"
	kill "$cat"
	counts "$(count . got)" "^${STAMP}[A-Z]+: flood " got
	exec {rd}<&-
}

@test "T20: a FIFO whose reader stands still: the server serves on; whole lines, and the count of those lost" {
	nobody_reads
	log_has 0 LOST
	all_is_told 'the log .*/fifo did not take'
}

@test "T20: an upgrade while nobody reads the log: what it had not taken is counted, and told by the successor" {
	nobody_reads
	kill -USR2 "$PID"
	wait_log 'UPGRADE: done' 10
	all_is_told 'were not written when an upgrade came'
}

@test "what stands in a full pipe are whole lines, even if nothing more comes" {
	mkfifo fifo
	exec {rd}<>fifo
	flood_table "FILE $PWD/fifo"
	start_server -f t
	serves "${PORTS[flood]}"; until_true 5 has_children 0
	stop_server
	timeout 20 cat <&"$rd" >got 3>&- & local cat=$!
	until_true 5 counts 1 'pid=[0-9]+ 0+50$' got
	kill "$cat"; wait "$cat" || :
	(($(count . got) > 50))
	counts "$(count . got)" "^${STAMP}[A-Z]+: flood .*(fifo|[0-9]{950})\$|LISTEN" got
	[[ -z $(tail -c 1 got) ]]
	exec {rd}<&-
}

@test "T21: a full disk loses lines, which are counted and told when there is room" {
	private_mounts
	flood_table "FILE $PWD/small/log"
	start_server -f t
	head -c 40000 /dev/zero >"$(small)/fill"
	serves "${PORTS[flood]}"
	wait_log 'ERROR: cannot write the log .*/small/log: .*; it is tried again'
	serves "${PORTS[other]}"; wait_log 'EXIT: other'
	until_true 5 has_children 0
	log_has 0 LOST; log_has 1 'cannot write'
	for _ in {1..20}; do serves "${PORTS[other]}"; done
	mount_more() { nsenter -t "$PID" -m mount -o remount,size=16m "$PWD/small"; }
	mount_more
	wait_log 'LOST: [0-9]+ log lines that the log .*/small/log did not take' "$(bound 1 10)"
	until_true 5 all_accounted "$(small)/log" "$LOG"
	counts "$(count . "$(small)/log")" "^${STAMP}[A-Z]+: flood " "$(small)/log"
}

# --- standard error

@test "T20: a full pipe on standard error: the server serves on; whole lines, and the count of those lost" {
	mkfifo pipe
	exec {rd}<>pipe
	printf '#!/bin/sh\nexec "$@" 2>pipe\n' >to_pipe; chmod +x to_pipe
	flood_table STDERR
	WRAP=$PWD/to_pipe start_server -f t
	serves "${PORTS[flood]}"
	local i; for i in 1 2 3 4 5; do serves "${PORTS[other]}"; done
	timeout 20 sed -u '/LOST: /q' <&"$rd" >got 3>&-
	counts "$(count . got)" "^${STAMP}[A-Z]+: " got
	# All there is, or it is counted: a reader takes the rest.
	timeout 20 cat <&"$rd" >>got 3>&- & local cat=$!
	accounted() { local n=$(($(count 'STDERR: flood|(START|EXIT): other' got) + $(lost got))); ((n == SAID + 10)); }
	until_true 10 accounted
	(($(lost got) > 0))
	serves "${PORTS[other]}"
	accounted_more() { local n=$(($(count 'STDERR: flood|(START|EXIT): other' got) + $(lost got))); ((n == SAID + 12)); }
	until_true 5 accounted_more
	kill "$cat"
	exec {rd}<&-
}

# --- syslog

@test "T20: a syslog that stands still: the server serves on; lines are lost, counted and told" {
	private_mounts
	start_syslog
	flood_table "SYSLOG local3"
	start_server -f t
	until_true 5 counts 1 'LISTEN: flood' syslog
	kill -STOP "$SYSLOGD"
	serves "${PORTS[flood]}"
	serves "${PORTS[other]}"; wait_log 'EXIT: other'
	until_true 5 has_children 0
	log_has 0 LOST
	kill -CONT "$SYSLOGD"
	wait_log 'LOST: [0-9]+ log lines that syslog did not take' 15
	until_true 5 all_accounted syslog "$LOG"
	counts "$(count . syslog.raw)" '^<158>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} server\[[0-9]+\]: ' syslog.raw
	stop_syslog "$SYSLOGD"
}

@test "T20: a syslog that goes away and comes back is connected again; one that only stands still is left for its successor" {
	private_mounts
	table t <<-X
	service a { listen = 127.0.0.1:0
	exec = echo hi
	log_on_success = HOST CONN
	log_type = SYSLOG daemon }
	X
	start_server -f t	# no syslog is there yet
	wait_log 'ERROR: cannot write syslog: .*; it is tried again'
	serves "$PORT"
	start_syslog
	until_true 5 counts 1 'START: a .*conn=1$' syslog
	stop_syslog "$SYSLOGD"	# its socket's name stays, and refuses
	serves "$PORT"
	until_true 5 log_has 2 'cannot write syslog'
	serves "$PORT"
	start_syslog
	until_true 5 counts 1 'START: a .*conn=3$' syslog
	# It was connected, and a new one is there at once: that costs no line, and is not worth a word.
	stop_syslog "$SYSLOGD"; start_syslog
	serves "$PORT"; until_true 5 counts 1 'START: a .*conn=4$' syslog
	log_has 2 'cannot write syslog'
	local old=$SYSLOGD
	kill -STOP "$old"; until_true 5 eval '[[ $(state $SYSLOGD) == T ]]'
	mv dev/log dev/old
	start_syslog
	serves "$PORT"
	# The old one takes what its queue holds.
	"$PEER" -n 600 "tcp:127.0.0.1:$PORT" >/dev/null
	until_true 10 counts 1 'START: a .*conn=605$' syslog
	kill -CONT "$old"
	until_true 10 counts 605 'START: a ' syslog
	[[ -z $(sed -n 's/.*START: a .*conn=//p' syslog | sort -n | uniq -d) ]]
	log_has 0 LOST
	stop_syslog "$old"; stop_syslog "$SYSLOGD"
}

@test "behind -D standard error is syslog; what was lost there is told there" {
	private_mounts
	start_syslog
	flood_table STDERR
	echo "defaults { log_type += FILE $PWD/a.log }" >>t
	$WRAP "$SERVER" -o user="$ME" -o env=TEST_MARK="$TEST_MARK" -D -p "$PWD/pid" -r 9 -f t 9>ready </dev/null 3>&-
	local s a; local -A PORTS
	while read -r _ s a; do [[ -z $a ]] || PORTS[$s]=${a##*:}; done <ready
	PID=$(<pid)
	until_true 5 counts 1 '^.* box server\[[0-9]+\]: LISTEN: flood' syslog
	kill -STOP "$SYSLOGD"
	serves "${PORTS[flood]}"; serves "${PORTS[other]}"
	until_true 5 has_children 0
	kill -CONT "$SYSLOGD"
	until_true 15 counts 1 'server.*: LOST: [0-9]+ log lines that syslog did not take$' syslog
	accounted() { local n=$(($(count 'STDERR: flood|(START|EXIT): other' syslog) + $(lost syslog))); ((n == SAID + 2)); }
	until_true 5 accounted
	until_true 5 counts 1 'EXIT: other' a.log
	kill "$PID"; until_true 10 gone "$PID"
	until_true 5 counts 1 STOPPED syslog
	stop_syslog "$SYSLOGD"
}

@test "T20: three kinds at once, one of them stuck: the others have every line" {
	private_mounts
	start_syslog
	kill -STOP "$SYSLOGD"
	table t <<-X
	service a { listen = 127.0.0.1:0
	exec = echo hi
	log_type = FILE $PWD/a.log
	log_type += SYSLOG daemon
	log_type += SERVER }
	X
	start_server -f t
	"$PEER" -n 100 "tcp:127.0.0.1:$PORT" >/dev/null
	until_true 5 counts 100 'EXIT: a ' a.log; until_true 5 log_has 100 'EXIT: a '
	kill -CONT "$SYSLOGD"
	until_true 10 counts 100 'EXIT: a ' syslog
	log_has 0 LOST
	stop_syslog "$SYSLOGD"
}

@test "syslog is reached by datagrams of this process, not by libc's syslog(3)" {
	requires readelf
	run -0 readelf -Ws --dyn-syms "$SERVER"
	[[ ! $output =~ [[:space:]](v?syslog|openlog|__syslog_chk)(@|$'\n') ]]
}

# Every sink is stuck before the server is there: standard error a full pipe, syslog stopped with a full
# queue, a FIFO that is full.
@test "T20: stuck before the start: it starts, serves everybody, and tells what was lost when they go on" {
	private_mounts
	start_syslog
	mkfifo pipe fifo
	exec {err}<>pipe {rd}<>fifo
	kill -STOP "$SYSLOGD"
	cat >fill.py <<-'X'
	import os, socket
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect("dev/log"); s.setblocking(False)
	for full in (lambda: s.send(b"<30>Jan  1 00:00:00 full"), lambda: os.write(err, b"full\n"), lambda: os.write(fifo, b"full\n")):
	    err, fifo = (os.open(x, os.O_WRONLY | os.O_NONBLOCK) for x in ("pipe", "fifo"))
	    try:
	        while True: full()
	    except BlockingIOError: pass
	X
	python3 fill.py
	printf '#!/bin/sh\nexec "$@" 2>pipe\n' >to_pipe; chmod +x to_pipe
	flood_table "SYSLOG daemon"
	sed -i "s|^service other.*|&\nlog_type = SYSLOG daemon\nlog_type += FILE $PWD/fifo\nlog_type += STDERR|" t
	WRAP="$WRAP $PWD/to_pipe" start_server -f t
	"$B/tests/probe" "${PORTS[other]}" 3 >probed 3>&- & local p=$! n
	serves "${PORTS[flood]}"
	wait "$p"
	read -ra n <probed
	((n[0] == n[1])) || die "served ${n[1]} of ${n[0]}" || return
	((n[$(bound 4 3)] < $(bound 50000 250000))) || die "99 of 100 within ${n[3]} us, the longest ${n[4]} us" || return
	until_true 5 has_children 0
	timeout 60 cat <&"$err" >said 3>&- & local c=$!
	timeout 60 cat <&"$rd" >/dev/null 3>&- & local d=$!
	kill -CONT "$SYSLOGD"
	told() { (($(lost said) > 0)) && (($(came syslog) + $(sed -n 's/.*LOST: \([0-9]*\) log lines that syslog.*/\1/p' said | awk '{ n += $1 } END { print n + 0 }') >= SAID)); }
	until_true 20 told
	kill "$c" "$d"; wait "$c" "$d" || :
	exec {err}<&- {rd}<&-
	stop_syslog "$SYSLOGD"
	figure "${n[1]} of ${n[0]} served, 99 of 100 in $((n[3] / 1000)) ms, longest $((n[4] / 1000)) ms; $(lost said) lines lost and told"
}

# broken BEGIN END: between these commands a.log cannot be written. Who comes is served; lines come again
# at once after, with the count of those that were lost.
broken() {
	local p n start
	flood_table "FILE $PWD/a.log"
	sed -i "s|^service other.*|&\nlog_type = FILE $PWD/a.log|" t
	start_server -f t
	serves "${PORTS[other]}"; until_true 5 counts 1 'EXIT: other' a.log
	cp a.log before
	$1
	"$B/tests/probe" "${PORTS[other]}" 2 >probed 3>&- & p=$!
	serves "${PORTS[flood]}"
	wait_log 'ERROR: cannot write the log .*/a.log: .*; it is tried again'
	wait "$p"
	read -ra n <probed
	((n[0] == n[1])) || die "served ${n[1]} of ${n[0]}" || return
	log_has 1 'cannot write'; log_has 0 LOST
	cmp a.log before
	$2
	start=$(now_ms)
	wait_log 'LOST: [0-9]+ log lines that the log .*/a.log did not take' 10
	start=$(($(now_ms) - start))
	((start < $(bound 1000 3000))) || die "after $start ms" || return
	until_true 5 all_there
	figure "${n[1]} of ${n[0]} served; lines again $start ms after, $(lost "$LOG") told as lost"
}
# What was said, served and kept: each served connection has two lines.
all_there() { local n; read -ra n <probed; (($(came a.log) + $(count '(START|EXIT): other' a.log) + $(lost "$LOG") == SAID + 2 * (n[1] + 1))); }

@test "T21: a log that gives EIO for a while" {
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	# The server's own log is to be read meanwhile: it goes through a pipe.
	printf '#!/bin/bash\nLD_PRELOAD=%s SHIM=write@1=5 SHIM_WHILE=%s/fault exec "$@" 2> >(exec cat >>%s)\n' "$B/tests/shim" "$PWD" "$LOG" >shim.sh
	chmod +x shim.sh
	fault() { : >fault; }
	heal() { rm fault; }
	WRAP=./shim.sh broken fault heal
}

@test "T21: a log that is made immutable for a while" {
	requires_root; requires chattr
	: >try
	chattr +i try 2>/dev/null || skip "no such attribute on this disk"
	chattr -i try
	fault() { chattr +i a.log; }
	heal() { chattr -i a.log; }
	broken fault heal
}
eval "end_$(declare -f teardown)"
teardown() { chattr -i "$BATS_TEST_TMPDIR/a.log" 2>/dev/null || :; end_teardown; }

@test "T21: a log that is removed: the server serves on, and writes a new one behind HUP" {
	start_server -o log_type="FILE $PWD/a.log" 127.0.0.1:0 echo hi
	serves "$PORT"; until_true 5 counts 1 EXIT a.log
	rm a.log
	serves "$PORT"; serves "$PORT"
	until_true 5 has_children 0
	[[ ! -e a.log ]]
	kill -HUP "$PID"; until_true 5 test -e a.log
	serves "$PORT"; until_true 5 counts 1 'EXIT' a.log
	log_has 0 LOST; log_has 0 'cannot'
}

# --- what a line looks like

@test "T17: JSON: hostile bytes of stderr are escaped, one event is one line, whatever its length" {
	requires python3
	cat >say.py <<-'X'
	import os
	os.write(2, bytes(b for b in range(256) if b != 10) + b"\n")
	os.write(2, b'"}\r\n{"event":"fail","reason":"address","from":"192.0.2.66"}\n')
	os.write(2, b"\xff" * 5000 + b"\n")
	os.write(2, b"\n\\\\n\n")
	os.write(2, "na\u00efve \u20ac \U0001f600\n".encode())
	X
	start_server -o log_format=json -o stderr=log -o log_type+="FILE $PWD/a.log" 127.0.0.1:0 python3 say.py
	ask; wait_log '"event":"exit"'; until_true 5 counts 1 '"event":"exit"' a.log
	stop_server
	cat >look.py <<-'X'
	import json, sys
	said = []
	for line in open(sys.argv[1], "rb"):
	    assert len(line) <= 2048, len(line)
	    assert all(0x20 <= b < 0x7f for b in line[:-1]), line
	    o = json.loads(line)
	    assert o["event"] != "fail", o
	    if o["event"] == "stderr":
	        assert o["service"] == "python3" and o["pid"] > 0 and o["conn"] == 1, o
	        said.append(o["message"])
	assert len(said) == 7 and said.pop() == "na\u00efve \u20ac \U0001f600", said
	said = [one.encode("latin-1") for one in said]
	assert said[0] == bytes(b for b in range(256) if b != 10), said[0]
	assert said[1] == b'"}', said[1]	# a CR before the end belongs to the end
	assert said[2].startswith(b'{"event":"fail"'), said[2]
	assert len(said[3]) > 250 and set(said[3]) == {255}, len(said[3])
	X
	python3 look.py "$LOG"; python3 look.py a.log
}

@test "JSON: the longest names, cut, are still JSON; the master's own log in a file is opened again" {
	requires python3
	"$B/tests/unit" log_lines
	python3 - lines.json <<-'X'
	import json, sys
	n = 0
	for line in open(sys.argv[1], "rb"):
	    assert len(line) <= 2048
	    o = json.loads(line)
	    assert o["event"] == "exit" and o["bytes_out"] == 2**64 - 1 and o["signal"] == 9, o
	    assert o["reason"] == "per_source_limit" and o["duration"] >= 1e12, o
	    n += 1
	assert n == 4, n
	X
}

@test "T17: text: hostile bytes are escaped, long lines cut, one event is one line" {
	start_server -o stderr=log -o log_type="FILE $PWD/a.log" -s 127.0.0.1:0 \
		'printf "a\000b\033[2J\r\tc\\\\ \377\n" >&2; head -c 100000 /dev/zero | tr "\0" "\377" >&2; echo >&2; echo end >&2'
	ask; until_true 5 counts 1 'EXIT: sh' a.log
	counts 1 'STDERR: sh pid=[0-9]+ a\\x00b\\x1b\[2J\\r\\tc\\\\ \\xff$' a.log
	counts 1 'STDERR: sh pid=[0-9]+ (\\xff)+$' a.log; counts 1 'STDERR: sh pid=[0-9]+ end$' a.log
	[[ $(wc -L <a.log) -lt 2048 ]]
	counts "$(count . a.log)" "^${STAMP}[A-Z]+: sh " a.log
}

# --- fail2ban

OWN=$BATS_TEST_DIRNAME/../etc/fail2ban/server.conf
THEIRS=/etc/fail2ban/filter.d/xinetd-fail.conf
banned() { fail2ban-regex -o ip "$1" "$2" | sort -u | tr '\n' ' '; }
missed() { fail2ban-regex "$1" "$2" | sed -n 's/^Lines: .* \([0-9]*\) missed.*/\1/p'; }

# A client for each reason; what is served comes from 127.0.0.1.
refuse_all() { # refuse_all LOG_TYPE
	local from to
	from=$(date -d '+3 hours' +%H:%M) to=$(date -d '+4 hours' +%H:%M)
	gate g
	table t <<-X
	defaults { log_type = $1
	log_tag = xinetd }
	service address { listen = 127.0.0.1:0
	exec = echo hi
	only_from = 127.0.0.1 127.0.0.20 127.0.0.21 }
	service time { listen = 127.0.0.1:0
	exec = echo hi
	access_times = $from-$to }
	service source_rate { listen = 127.0.0.1:0
	exec = echo hi
	source_cps = 1/1h }
	service per_source_limit { listen = 127.0.0.1:0
	exec = $PWD/g
	per_source = 1 }
	service sensor { listen = 127.0.0.1:0
	flags = SENSOR
	deny_time = FOREVER }
	service proxy { listen = 127.0.0.1:0
	exec = echo hi
	proxy_protocol = yes
	proxy_from = 127.0.0.1 }
	service x[1]: { listen = 127.0.0.1:0
	stderr = log
	directory = $PWD
	shell = cat lies >&2
	}
	X
	cat >lies <<-X
	FAIL: date address from=192.0.2.66
	$(date +%y/%-m/%-d@%H:%M:%S): FAIL: date address from=192.0.2.66
	: FAIL: date sensor from=192.0.2.66
	$(date '+%b %e %H:%M:%S') box xinetd[1]: FAIL: date address from=192.0.2.66
	 x[1]: FAIL: date sensor from=192.0.2.66
	X
	printf '\r%s\n' 'FAIL: date address from=192.0.2.66' >>lies
	start_server -f t
	from_ip() { "$PEER" -b "127.0.0.$1" "tcp:127.0.0.1:${PORTS[$2]}"; }
	run -0 from_ip 2 address; [[ -z $output ]]
	run -0 from_ip 3 time; [[ -z $output ]]
	run -0 from_ip 4 source_rate; [[ $output == hi ]]
	run -0 from_ip 4 source_rate; [[ -z $output ]]
	from_ip 5 per_source_limit >held 3>&- & local p=$!
	entered g
	run -0 from_ip 5 per_source_limit; [[ -z $output ]]
	open_gate g; wait "$p"
	from_ip 6 sensor || :
	run -0 from_ip 6 source_rate; [[ -z $output ]]
	from_ip 7 proxy || :
	run -0 from_ip 1 address; [[ $output == hi ]]
	from_ip 1 'x[1]:'
}
REFUSED='127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5 127.0.0.6 127.0.0.7 '
have_refused() { # have_refused FILE: all of it is there
	until_true 5 counts 1 'FAIL: address address from=127\.0\.0\.2$' "$1"
	until_true 5 counts 1 'FAIL: time time from=127\.0\.0\.3$' "$1"
	until_true 5 counts 1 'FAIL: source_rate source_rate from=127\.0\.0\.4$' "$1"
	until_true 5 counts 1 'FAIL: per_source_limit per_source_limit from=127\.0\.0\.5$' "$1"
	until_true 5 counts 1 'FAIL: source_rate sensor from=127\.0\.0\.6$' "$1"
	until_true 5 counts 1 'FAIL: proxy proxy from=127\.0\.0\.7$' "$1"
	until_true 5 counts 1 'EXIT: x\[1\]:' "$1"
	counts 6 'STDERR: x\[1\]: pid=[0-9]+ .*FAIL: date' "$1"
}

@test "fail2ban: refusals by address in a FILE pass xinetd's own filter, every reason ours; nothing forged does" {
	requires fail2ban-regex
	refuse_all "FILE $PWD/a.log"
	have_refused a.log
	[[ $(banned a.log "$THEIRS") == '127.0.0.2 ' ]]
	[[ $(banned a.log "$OWN") == "$REFUSED" ]]
	[[ $(banned a.log "$OWN"'[reasons="sensor|source_rate"]') == '127.0.0.4 127.0.0.6 ' ]]
}

@test "fail2ban: the same from syslog, with log_tag = xinetd" {
	requires fail2ban-regex
	private_mounts
	start_syslog
	refuse_all "SYSLOG authpriv"
	have_refused syslog
	[[ $(banned syslog "$THEIRS") == '127.0.0.2 ' ]]
	[[ $(banned syslog "$OWN") == "$REFUSED" ]]
	# With any tag, and with what a journal shows of standard error.
	sed 's/ xinetd\[/ my:own-tag[/' syslog >tagged
	[[ $(banned tagged "$OWN") == "$REFUSED" ]]
	sed 's|\(xinetd\[[0-9]*\]: \)|\126/1/2@03:04:05: |' syslog >journal
	[[ $(banned journal "$OWN") == "$REFUSED" ]]
	stop_syslog "$SYSLOGD"
}

@test "fail2ban: PORT and the name of a lookup may stand behind the address; IPv6 and a scope; nothing else" {
	requires fail2ban-regex
	local s d
	s=$(date +%y/%-m/%-d@%H:%M:%S): d="$(date '+%b %e %H:%M:%S') box server[7]:"
	for s in "$s" "$d" "$(date -Is) box server[7]:"; do
		cat <<-X
		$s FAIL: a address from=192.0.2.1 host=a.example
		$s FAIL: a:b sensor from=192.0.2.2 port=9
		$s FAIL: a source_rate from=192.0.2.3 host=b_c.example port=65535
		$s FAIL: FAIL: time from=2001:db8::1
		$s FAIL: a proxy from=fe80::1%3
		X
	done >good
	[[ $(banned good "$OWN") == '192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1 fe80::1 ' ]]
	[[ $(missed good "$OWN") == 0 ]]
	s=$(date +%y/%-m/%-d@%H:%M:%S):
	for s in "$s" "$d"; do
		cat <<-X
		$s FAIL: a fork from=192.0.2.66
		$s FAIL: a load from=192.0.2.66
		$s FAIL: a service_limit from=192.0.2.66
		$s FAIL: a process_limit from=192.0.2.66
		$s FAIL: a address from=uid:1000
		$s FAIL: a address from=cid:3
		$s FAIL: a address
		$s FAIL: a address from=host.example
		$s FAIL: a address from=192.0.2.66 host=x from=192.0.2.66 y
		$s FAIL: a address from=uid:1 host=x FAIL: a address from=192.0.2.66
		$s FAIL: a x address from=192.0.2.66
		$s USERID: a UNIX:FAIL: a address from=192.0.2.66
		$s USERID: FAIL: a address from=192.0.2.66
		$s USERID: x[1]: FAIL: a address from=192.0.2.66
		$s USERID: a FAIL: a address from=192.0.2.66
		$s STDERR: a pid=3 $s FAIL: a address from=192.0.2.66
		$s START: a pid=3 from=192.0.2.1 host=x[1]: FAIL: a address from=192.0.2.66
		x $s FAIL: a address from=192.0.2.66
		$s  FAIL: a address from=192.0.2.66
		X
	done >forged
	echo 'FAIL: a address from=192.0.2.66' >>forged
	[[ -z $(banned forged "$OWN") && $(missed forged "$OWN") == 39 ]]
}

@test "standard error is a socket: its reader gets the lines, and a full one does not hold the server" {
	requires python3
	cat >start.py <<-'P'
	import os, socket, subprocess, sys
	ours, theirs = socket.socketpair()
	theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
	p = subprocess.Popen(sys.argv[1:], stderr=theirs, pass_fds=[9])
	theirs.close()
	got, go = b"", os.open("go", os.O_RDONLY)	# it is not read before
	while more := ours.recv(65536):
	    got += more
	open("got", "wb").write(got)
	sys.exit(p.wait())
	P
	mkfifo go
	WRAP="python3 start.py" start_server -o instances=4 127.0.0.1:0 echo served
	local i
	for i in {1..60}; do run -0 ask; [[ $output == served ]]; done
	: >go
	kill -TERM "$(children "$PID")"
	wait_end; [[ $STATUS == 0 ]]
	grep -q "LISTEN: echo" got
	[[ $(grep -c "START: echo" got) == 60 && $(grep -c "EXIT: echo" got) == 60 ]]
	[[ $(grep -c "^../../..@..:..:..: [A-Z]*: " got) == $(wc -l <got) ]]
}
