load helper

@test "T15: timeout: TERM to the whole process group, and the connection ends" {
	start_server -o timeout=300ms 127.0.0.1:0 sh -c 'sleep 60 & echo $!; sleep 60'
	run -0 ask
	wait_log 'KILL: sh pid=[0-9]+ from=127.0.0.1 timeout'
	wait_log 'EXIT: sh signal=15'
	until_true 5 gone "$output"
}

@test "T15: kill_after: a child that ignores TERM is killed" {
	start_server -o timeout=200ms -o kill_after=200ms 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	run -0 ask; [[ $output == up ]]
	wait_log 'EXIT: sh signal=9'
}

@test "kill_after: who ignores TERM is killed on every kind of address" {
	requires python3
	local all='trap "" TERM; sleep 60 & echo $! >>pids; echo $$ >>pids; while :; do sleep 1; done' n=0 id
	table() { # table ID LISTEN LINES...
		local id=$1 to=$2; shift 2
		printf 'service %s\n{\n\tlisten = %s\n\tshell = %s\n\tdirectory = %s\n\tuser = %s\n\ttimeout = 300ms\n\tkill_after = 100ms\n' \
			"$id" "$to" "$all" "$PWD" "$ME"
		printf '\t%s\n' "$@" '}'
	}
	mkdir -m 777 ends; : >pids; chmod 666 pids
	{
		table datagram unix-dgram:"$PWD/ends/d"
		table session unix-dgram:"$PWD/ends/n" 'session = yes'
		table handed unix-dgram:"$PWD/ends/w" 'wait = yes'
		table accepts unix:"$PWD/ends/a" 'wait = yes'
		table pipe fifo:"$PWD/ends/p"
		table packets unix-seqpacket:"$PWD/ends/q"
	} >t
	chmod 644 t
	start_server -f t
	cat >wake.py <<-'X'
	import socket, sys, time
	open("ends/p", "w").write("x")
	for name, kind in (("d", socket.SOCK_DGRAM), ("n", socket.SOCK_DGRAM), ("w", socket.SOCK_DGRAM),
	                   ("a", socket.SOCK_STREAM), ("q", socket.SOCK_SEQPACKET)):
	    s = socket.socket(socket.AF_UNIX, kind)
	    if kind == socket.SOCK_DGRAM: s.bind("\0wake" + name + sys.argv[1])
	    s.connect("ends/" + name); s.send(b"x")
	    globals()["keep" + name] = s
	sys.stdin.read()
	X
	python3 wake.py "$$" <&"$NAPFD" 3>&- & local w=$!
	for id in datagram session handed accepts pipe packets; do
		wait_log "KILL: $id pid=[0-9]+.* timeout"
		wait_log "EXIT: $id signal=9"
	done
	stop_server INT		# it starts anew for what nobody read
	kill "$w"; wait "$w" || :
	all_gone() { local p; for p in $(<pids); do gone "$p" || return; done; }
	until_true 10 all_gone
}

@test "timeout on a UNIX socket: the whole process group, a child that ignores TERM too" {
	start_server -o timeout=300ms -o kill_after=100ms unix:s sh -c 'trap "" TERM; sleep 60 & echo $!; sleep 60'
	run -0 "$PEER" unix:s
	wait_log 'KILL: sh pid=[0-9]+ .*timeout'
	wait_log 'EXIT: sh signal=9'
	until_true 5 gone "$output"
}

@test "T15: timeout holds for what the command leaves behind in its group" {
	start_server -o timeout=400ms -o kill_after=100ms 127.0.0.1:0 sh -c 'trap "" TERM; sleep 60 & echo $!; exit 0'
	run -0 ask
	until_true 5 gone "$output"
}

@test "timeout does not touch a child that ends in time" {
	start_server -o timeout=5s 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	wait_log 'EXIT: echo status=0'
}

@test "T15: idle_timeout: ends a connection over which nothing moves" {
	start_server -o idle_timeout=300ms 127.0.0.1:0 cat
	run -0 ask
	wait_log 'KILL: cat pid=[0-9]+ from=127.0.0.1 idle_timeout'
	wait_log 'EXIT: cat signal=15'
}

@test "idle_timeout: not one that moves, whichever way" {
	start_server -o idle_timeout=700ms -s 127.0.0.1:0 'for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; echo $i; done'
	run -0 ask
	[[ ${#lines[@]} == 9 ]]
	start_server -o idle_timeout=700ms 127.0.0.1:0 cat
	run -0 bash -c '(for i in 1 2 3 4 5 6 7 8 9; do read -rt 0.2 <> <(:); echo $i; done) | "$1" -S -H "$2"' - "$PEER" "tcp:127.0.0.1:$PORT"
	[[ ${#lines[@]} == 9 ]]
}

@test "T15: slow senders, clients that never read and silent ones: idle_timeout and timeout end each, group and all, in time" {
	requires python3
	cat >t <<-X
	service idle { listen = 127.0.0.1:0
	shell = trap "" TERM; sleep 60 & echo \$!; while :; do head -c 100000 /dev/zero; done
	idle_timeout = 1s
	kill_after = 300ms }
	service slow { listen = 127.0.0.1:0
	shell = sleep 60 & echo \$!; cat >/dev/null
	idle_timeout = 1s
	timeout = 4s
	kill_after = 300ms }
	service silent { listen = 127.0.0.1:0
	shell = sleep 60 & echo \$!; cat
	idle_timeout = 1s
	kill_after = 300ms }
	X
	chmod 644 t
	start_server -f t
	cat >clients.py <<-'X'
	import os, socket, sys, time
	idle, slow, silent = (int(x) for x in sys.argv[1:4])
	def conn(port):
	    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); s.connect(("127.0.0.1", port)); s.setblocking(False); return s
	def first(s):	# the pid that the command says; nothing more is read
	    s.setblocking(True); d = b""
	    while not d.endswith(b"\n"): d += s.recv(1)
	    s.setblocking(False)
	    return int(d)
	def alive(pid):
	    try: return open(f"/proc/{pid}/stat").read().rsplit(") ")[1][0] != "Z"
	    except (FileNotFoundError, ProcessLookupError): return False
	start = time.monotonic()
	c = [conn(idle) for _ in range(10)] + [conn(slow) for _ in range(10)] + [conn(silent) for _ in range(10)]
	pids = [first(s) for s in c]
	ended, sent = {}, start
	while len(ended) < 30 and time.monotonic() < start + 20:
	    now = time.monotonic()
	    if now > sent + 0.5:	# slowly, but not idle
	        sent = now
	        for s in c[10:20]:
	            try: s.send(b".")
	            except OSError: pass
	    for i, pid in enumerate(pids):
	        if i not in ended and not alive(pid): ended[i] = now - start
	    time.sleep(0.02)
	assert len(ended) == 30, ended
	def span(a, b): t = [ended[i] for i in range(a, b)]; return min(t), max(t)
	more = 1 if os.environ.get("STRICT") else 2
	for a, limit in ((0, 1), (10, 4), (20, 1)):
	    low, high = span(a, a + 10)
	    assert limit - 0.1 <= low and high <= limit + more, (a, low, high)
	print("never reading %.1f s, slow %.1f s, silent %.1f s after the start" % (span(0, 10)[1], span(10, 20)[1], span(20, 30)[1]))
	X
	timeout 60 python3 clients.py "${PORTS[idle]}" "${PORTS[slow]}" "${PORTS[silent]}" >said 3>&-
	figure "limits of 1, 4 and 1 s: $(<said)"
	until_true 5 has_children 0
}

# Servers of the table t, each with a clock of its own, which jumps when it is told: by an hour, a day, to 2040.
JUMPS=(3600 -3600 86400 -86400 $(($(date -d 2040-06-01 +%s) - EPOCHSECONDS)))
table() { cat >t; chmod 644 t; }
has_clocks() {
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
}
clock_server() { # clock_server JUMP: its log is log.JUMP
	ln -sfn 0 "clock$1"
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM_CLOCK=%s exec "$@"\n' "$B/tests/shim" "$PWD/clock$1" >shim.sh; chmod +x shim.sh
	LOG=$PWD/log.$1
	WRAP=./shim.sh start_server -f t
}
clock_jumps() { ln -sfn -- "$1" "clock$1"; }
jumped() { # jumped JUMP DATE: it says so
	local s; s=$(($(date -d "$2" +%s) - EPOCHSECONDS - $1))
	((s < 5 && s > -5)) || die "the clock stands: $2"
}
# ends_within LOW HIGH COMMAND...: for each server, with its number, that is so not before, and not after, ms behind START
ends_within() {
	local i t took=() low=$1 high=$2; shift 2
	while ((${#took[@]} < ${#JUMPS[@]})); do
		t=$(($(now_ms) - START))
		((t < high)) || die "after $t ms: ${took[*]}" || return
		for i in "${!JUMPS[@]}"; do
			[[ -z ${took[i]-} ]] || continue
			"$@" "$i" || continue
			((t >= low)) || die "after $t ms with a jump of ${JUMPS[i]} s" || return
			took[i]=$t
		done
		nap
	done
	figure "with each jump after (ms) ${took[*]}"
}

@test "T24: the clock jumps by an hour, a day, to 2040: no limit, pause or time-out moves" {
	has_clocks
	local jump s words="" clients=()
	one() { # one FILE PORT [-n 2]: after how many ms a client, or the second, is served, or ended
		local start; start=$(now_ms)
		"$PEER" "${@:3}" -t 20000 "tcp:127.0.0.1:$2" >/dev/null || :
		echo $(($(now_ms) - start)) >"$1"
	}
	table <<-X
	service timeout { listen = 127.0.0.1:0
	exec = sleep 60
	timeout = 2s }
	service idle { listen = 127.0.0.1:0
	exec = sleep 60
	idle_timeout = 2s }
	service kill { listen = 127.0.0.1:0
	shell = trap "" TERM; while :; do sleep 1; done
	timeout = 500ms
	kill_after = 1500ms }
	service rest { listen = 127.0.0.1:0
	exec = echo hi
	cps = 1 2s }
	service pace { listen = 127.0.0.1:0
	exec = echo hi
	cps = 1/2s }
	service source { listen = 127.0.0.1:0
	exec = echo hi
	source_cps = 1/2s }
	service daytime { listen = udp:127.0.0.1:0
	only_from = 127.0.0.1
	type = INTERNAL UNLISTED
	}
	X
	for jump in "${JUMPS[@]}"; do
		clock_server "$jump"
		for s in timeout idle kill; do one "took.$s.$jump" "${PORTS[$s]}" >/dev/null 3>&- & clients+=($!); done
		for s in rest pace; do one "took.$s.$jump" "${PORTS[$s]}" -n 2 >/dev/null 3>&- & clients+=($!); done
		( local start p=${PORTS[source]}; start=$(now_ms)
		ask "$p"
		until [[ $(ask "$p") == hi ]] || (($(now_ms) - start > 8000)); do nap 0.05; done
		echo $(($(now_ms) - start)) >"took.source.$jump" ) >/dev/null 3>&- & clients+=($!)
		until_true 5 eval '(($(count_log "(START: (timeout|idle|kill|source))|PAUSE: (rest|pace)") == 6))'
		clock_jumps "$jump"
		run -0 "$DATAGRAMS" "${ADDRESSES[6]}" x
		jumped "$jump" "$(tr -d '\r' <<<"$output")"
	done
	wait "${clients[@]}"
	for s in timeout idle kill rest pace source; do
		for jump in "${JUMPS[@]}"; do
			(($(<"took.$s.$jump") >= 1000 && $(<"took.$s.$jump") < $(bound 3000 5000))) || die "$s, jump of $jump s: $(<"took.$s.$jump") ms" || return
		done
		words+=" $s $(cat took.$s.* | sort -n | head -n 1)-$(cat took.$s.* | sort -n | tail -n 1)"
	done
	figure "each of 2 s took (ms)$words"
}

@test "T24: the clock jumps while a server drains: who is left has grace, no more and no less" {
	has_clocks
	table <<<$'defaults { grace = 2s }\nservice hold { listen = 127.0.0.1:0\nexec = cat\n}'
	local jump held=() line
	for jump in "${JUMPS[@]}"; do
		clock_server "$jump"
		"$PEER" -c go "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & held+=($!)
		wait_log 'START: hold'
	done
	START=$(now_ms)
	kill -TERM "${SRV[@]}"
	for jump in "${JUMPS[@]}"; do LOG=$PWD/log.$jump; wait_log DRAIN; clock_jumps "$jump"; done
	ended() { gone "${SRV[$1]}"; }
	ends_within 1900 "$(bound 3000 5000)" ended
	for jump in "${JUMPS[@]}"; do
		line=$(tail -n 1 "log.$jump")	# YY/M/D@HH:MM:SS: …
		[[ $line == *STOPPED* ]]
		line=${line%%: *} line=20${line//\//-}
		jumped "$jump" "${line/@/ }"
	done
	: >go; wait "${held[@]}" || :
}

# bats test_tags=long
@test "T24: the clock jumps while a sensor's ban lasts: it ends after its minute" {
	has_clocks
	table <<-X
	service trap { listen = 127.0.0.1:0
	flags = SENSOR
	deny_time = 1 }
	service work { listen = 127.0.0.1:0
	exec = echo hi
	}
	service daytime { listen = udp:127.0.0.1:0
	only_from = 127.0.0.1
	type = INTERNAL UNLISTED
	}
	X
	local jump ports=()
	START=$(now_ms)
	for jump in "${JUMPS[@]}"; do
		clock_server "$jump"
		ports+=("${PORTS[work]}")
		"$PEER" -b 127.0.0.9 "tcp:127.0.0.1:${PORTS[trap]}" || :
		wait_log 'DENY: trap 127.0.0.9'
		clock_jumps "$jump"
		run -0 "$DATAGRAMS" "${ADDRESSES[2]}" x
		jumped "$jump" "$(tr -d '\r' <<<"$output")"
	done
	welcome() { [[ $("$PEER" -b 127.0.0.9 "tcp:127.0.0.1:${ports[$1]}") == hi ]]; }
	ends_within 59500 70000 welcome
}

@test "hangup = kill: a reset ends the command; a half close does not" {
	start_server -o hangup=kill 127.0.0.1:0 sh -c 'cat >/dev/null; echo answer'
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:$PORT"
	[[ $output == answer ]]
	start_server -o hangup=kill 127.0.0.1:0 sleep 60
	"$PEER" -s x -R "tcp:127.0.0.1:$PORT"
	wait_log 'KILL: sleep pid=[0-9]+ from=127.0.0.1 hangup'
	wait_log 'EXIT: sleep signal=15'
}

@test "hangup = ignore: a reset does not end the command" {
	gate g
	start_server 127.0.0.1:0 ./g
	"$PEER" -R "tcp:127.0.0.1:$PORT"
	entered g
	has_children 1
	open_gate g
	wait_log 'EXIT: g'
	! logged KILL || die "killed"
}

@test "hangup = kill on a UNIX socket: the client's close" {
	start_server -o hangup=kill unix:s sleep 60
	"$PEER" -R unix:s
	wait_log 'EXIT: sleep signal=15'
}

@test "hangup = kill on a socket of packets: the client's close" {
	start_server -o hangup=kill unix-seqpacket:s sleep 60
	"$PEER" -R unix-seqpacket:s
	wait_log 'EXIT: sleep signal=15'
}

@test "a stopped child is ended by its timeout all the same" {
	start_server -o timeout=200ms -o kill_after=200ms 127.0.0.1:0 sh -c 'kill -STOP $$'
	run -0 ask
	wait_log 'EXIT: sh signal=9'
}

@test "200 children with times leave nobody" {
	start_server -q -o timeout=500ms -o kill_after=100ms 127.0.0.1:0 sh -c 'sleep 60 & wait'
	local i
	local p=()
	for i in {1..200}; do "$PEER" "tcp:127.0.0.1:$PORT" 3>&- & p+=($!); done
	wait "${p[@]}" || :
	until_true 10 has_children 0
}
