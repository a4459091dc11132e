# Stream built-ins and tcpmux: what the worker serves, and as whom it does it.
load helper

table() { cat >"${1:-t}"; }
builtin() { # builtin NAME [line...]: a table with that one
	local name=$1; shift
	{ printf 'service %s\n{\n\ttype = INTERNAL\n\tlisten = tcp:127.0.0.1:0\n' "$name"; printf '\t%s\n' "$@"; echo '}'; } >t
	start_server -f t
}
worker() { local c; read -ra c <<<"$(children "$PID")"; echo "${c[0]}"; }
# The worker's descriptors: /dev/null thrice, the channel, epoll. Only root may see them.
few() { [[ $(id -u) != 0 || $(nfds "$1") == 5 ]]; }
say() { run -0 "$PEER" -s "$1" -H "tcp:127.0.0.1:${2:-$PORT}"; }

@test "echo answers what it gets, and ends behind the client's half close" {
	builtin echo
	say "hello"
	[[ $output == hello ]]
	run -0 "$PEER" -H "tcp:127.0.0.1:$PORT"
	[[ -z $output ]]
	wait_log 'START: echo pid=[0-9]+ from=127\.0\.0\.1$'
	wait_log 'EXIT: echo status=0 pid=[0-9]+ duration=0\(sec\)$'
}

@test "echo of 10 MB, sent and read at once, comes back byte for byte" {
	requires python3
	builtin echo 'log_on_success = PID HOST EXIT BYTES'
	timeout 20 python3 - "$PORT" <<-'X'
	import hashlib, os, socket, sys, threading
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	data = os.urandom(10_000_000)
	def send():
	    c.sendall(data); c.shutdown(socket.SHUT_WR)
	threading.Thread(target=send).start()
	h, n = hashlib.sha256(), 0
	while b := c.recv(1 << 20):
	    h.update(b); n += len(b)
	assert n == len(data) and h.digest() == hashlib.sha256(data).digest(), n
	X
	wait_log 'EXIT: echo status=0 pid=[0-9]+ bytes_in=10000000 bytes_out=10000000$'
}

@test "discard takes everything, says nothing, and ends when the client does" {
	builtin discard 'log_on_success = EXIT BYTES'
	run -0 bash -c 'head -c 3000000 /dev/zero | "$1" -S -H "$2"' - "$PEER" "tcp:127.0.0.1:$PORT"
	[[ -z $output ]]
	wait_log 'EXIT: discard status=0 bytes_in=3000000 bytes_out=0$'
}

@test "chargen: RFC 864's lines of 72 characters, each begins one further, and the 95 come round" {
	requires python3
	builtin chargen
	timeout 10 python3 - "$PORT" <<-'X'
	import socket, sys
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	d = b""
	while len(d) < 74 * 200: d += c.recv(65536)
	ring = bytes(range(32, 127)) * 3
	for i in range(200):
	    want = ring[i % 95:i % 95 + 72] + b"\r\n"
	    assert d[i * 74:i * 74 + 74] == want, (i, d[i * 74:i * 74 + 74], want)
	X
	wait_log 'EXIT: chargen'
}

@test "a client that never reads chargen costs no time, and the next ones are served" {
	builtin chargen
	local i w before
	for i in 1 2 3; do "$PEER" -c go "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & done
	until_true 5 log_has 3 START
	w=$(worker)
	stuck() { local a; a=$(ticks "$w"); nap 0.1; [[ $(ticks "$w") == "$a" ]]; }
	until_true 5 stuck
	before=$(ticks "$w")
	nap 0.3
	(($(ticks "$w") - before <= 2))
	run bash -c '"$1" "$2" | head -c 74' - "$PEER" "tcp:127.0.0.1:$PORT"
	[[ ${#output} == 73 ]]
	: >go
	until_true 5 log_has 4 EXIT
}

@test "clients that take chargen as fast as it comes all get their part" {
	requires python3
	builtin chargen
	timeout 10 python3 - "$PORT" <<-'X'
	import select, socket, sys, time
	cs = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(4)]
	n = dict.fromkeys(cs, 0)
	end = time.time() + 5
	while min(n.values()) < 5_000_000:
	    assert time.time() < end, sorted(n.values())
	    for c in select.select(cs, [], [], 1)[0]: n[c] += len(c.recv(1 << 20))
	X
}

@test "daytime says the time in one line that date reads" {
	builtin daytime
	local before; before=$(date +%s)
	run -0 ask
	[[ $output =~ ^[A-Z][a-z]{2}\ [A-Z][a-z]{2}\ [\ 0-9][0-9]\ [0-9:]{8}\ 20[0-9]{2}$'\r'$ ]]
	local t; t=$(date -d "${output%$'\r'}" +%s)
	((t >= before && t <= before + 10))
}

@test "time: four bytes, seconds since 1900, network order" {
	builtin time
	"$PEER" "tcp:127.0.0.1:$PORT" >got
	[[ $(stat -c %s got) == 4 ]]
	local n now; n=$((0x$(od -An -tx1 got | tr -d ' '))) now=$(date +%s)
	((n - 2208988800 <= now && n - 2208988800 > now - 10))
}

@test "daytime's answer is not lost to a client that sends and is not read" {
	builtin daytime
	run -0 "$PEER" -n 300 -s "$(head -c 20000 /dev/zero | tr '\0' x)" "tcp:127.0.0.1:$PORT"
	[[ $output == "300 7800" ]]
}

@test "who only lingers counts for no limit" {
	builtin daytime 'instances = 1' 'linger = 30s'
	"$PEER" -c go "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local p=$!
	wait_log 'EXIT: daytime'
	run -0 ask
	[[ -n $output ]]
	! logged PAUSE || die "paused"
	: >go
	wait "$p"
}

@test "built-ins on IPv6 and UNIX sockets; classic lines" {
	table <<-X
	service echo
	{
		type = INTERNAL
		listen = tcp:[::1]:0 unix:s
		idle_timeout = 10s
	}
	127.0.0.1:0 stream tcp nowait $ME internal
	X
	sed -i "s/^127.*/service discard\n{\ntype = INTERNAL\nlisten = 127.0.0.1:0\n}/" t
	start_server -f t
	run -0 "$PEER" -s six -H "tcp:[::1]:${PORTS[echo]}"; [[ $output == six ]]
	run -0 "$PEER" -s unix -H unix:s; [[ $output == unix ]]
}

@test "the worker: as root nobody without groups; no new privileges; its own session; three descriptors and its own" {
	builtin echo
	say x
	local w fd; w=$(worker)
	[[ $(stat_field "$w" 6) == "$w" ]]		# session
	grep -qx $'NoNewPrivs:\t1' "/proc/$w/status"
	if [[ $(id -u) == 0 ]]; then
		local u; u=$(id -u nobody)
		grep -qx $'Uid:\t'"$u"$'\t'"$u"$'\t'"$u"$'\t'"$u" "/proc/$w/status"
		grep -qE $'^Groups:\t *$' "/proc/$w/status"
		grep -qx $'CapEff:\t0000000000000000' "/proc/$w/status"
		grep -qx $'CapPrm:\t0000000000000000' "/proc/$w/status"
	fi
	until_true 5 few "$w"
	for fd in 0 1 2; do [[ $(id -u) != 0 || $(readlink "/proc/$w/fd/$fd") == /dev/null ]]; done
	[[ $(grep '^Max core file size' "/proc/$w/limits") == *" 0 "*0* ]]
}

@test "without such a service there is no worker" {
	start_server 127.0.0.1:0 cat
	has_children 0
}

@test "instances of a built-in: the second waits until the first has gone" {
	builtin echo 'instances = 1'
	"$PEER" -s a -c go "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	wait_log START
	"$PEER" -s b -H "tcp:127.0.0.1:$PORT" >b 3>&- & local b=$!
	wait_log 'PAUSE: echo service_limit'
	[[ ! -s b ]]
	: >go
	wait "$a"; wait "$b"
	[[ $(<b) == b ]]
	wait_log 'RESUME: echo service_limit'
}

@test "per_source, overload = reject and only_from of a built-in" {
	builtin echo 'per_source = 1' 'no_access = 127.0.0.9'
	"$PEER" -s a -c go "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	wait_log START
	run -0 ask; [[ -z $output ]]
	wait_log 'FAIL: echo per_source_limit from=127.0.0.1$'
	run -0 "$PEER" -b 127.0.0.2 -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	run -0 "$PEER" -b 127.0.0.9 -s x -H "tcp:127.0.0.1:$PORT"; [[ -z $output ]]
	wait_log 'FAIL: echo address from=127.0.0.9$'
	: >go; wait "$a"
	until_true 5 log_has 2 EXIT
	say y; [[ $output == y ]]
	builtin discard 'instances = 0'
	run -0 ask
	wait_log 'FAIL: discard service_limit from=127.0.0.1$'
}

@test "access_times hold for a built-in" {
	requires date
	builtin echo "access_times = $(date -d '+2 hours' +%H:%M)-$(date -d '+3 hours' +%H:%M)"
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:$PORT"; [[ -z $output ]]
	wait_log 'FAIL: echo time from=127.0.0.1$'
}

@test "timeout and idle_timeout end a built-in, the log says so, and its place is free again" {
	builtin echo 'timeout = 100ms' 'instances = 1'
	run "$PEER" -s x "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	wait_log 'KILL: echo pid=[0-9]+ from=127.0.0.1 timeout$'
	wait_log 'EXIT: echo signal=15'
	say y; [[ $output == y ]]
	builtin discard 'idle_timeout = 100ms'
	run "$PEER" -s x "tcp:127.0.0.1:$PORT"
	wait_log 'KILL: discard pid=[0-9]+ from=127.0.0.1 idle_timeout$'
	wait_log 'EXIT: discard status=0'
}

@test "a reset by the client ends it" {
	builtin echo
	local i w; w=$(worker)
	for i in {1..20}; do "$PEER" -s x -R "tcp:127.0.0.1:$PORT"; done
	until_true 5 log_has 20 EXIT
	until_true 5 few "$w"
}

# --- services, servers

@test "services names every listener, servers every child" {
	table <<-X
	service services
	{
		type = INTERNAL
		listen = 127.0.0.1:0
	}
	service servers
	{
		type = INTERNAL
		listen = 127.0.0.1:0
	}
	service cat
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
	}
	X
	start_server -f t
	run -0 ask "${PORTS[services]}"
	[[ $output == *"cat tcp:127.0.0.1:${PORTS[cat]}"* && $output == *"servers tcp:127.0.0.1:${PORTS[servers]}"* ]]
	run -0 ask "${PORTS[servers]}"
	[[ $output != *cat* ]]
	"$PEER" -c go "tcp:127.0.0.1:${PORTS[cat]}" 3>&- & local p=$!
	wait_log 'START: cat'
	run -0 ask "${PORTS[servers]}"
	[[ $output =~ cat\ pid=[0-9]+\ from=127\.0\.0\.1\ duration=[0-9]+\(sec\) ]]
	: >go; wait "$p"
}

@test "services and servers with USERID have their START line all the same" {
	table <<-'X'
	defaults { log_on_success = PID HOST USERID EXIT }
	service services { type = INTERNAL
	listen = 127.0.0.1:0 }
	service servers { type = INTERNAL
	listen = 127.0.0.1:0 }
	X
	start_server -f t
	run -0 ask "${PORTS[services]}"; [[ $output == *"servers tcp:127.0.0.1:"* ]]
	run -0 ask "${PORTS[servers]}"
	wait_log 'START: services pid=[0-9]+ from=127\.0\.0\.1$'
	wait_log 'START: servers pid=[0-9]+ from=127\.0\.0\.1$'
}

@test "servers and services without only_from answer loopback only, and the dump shows it" {
	requires_root; requires ip unshare
	table <<-'X'
	service services
	{
		type = INTERNAL
		listen = *:0
	}
	X
	run -0 "$SERVER" --dump -f t
	grep -qE 'only_from += 127\.0\.0\.0/8 ::1' <<<"$output"
	cat >in.sh <<-X
	ip link set lo up; ip addr add 192.0.2.1/24 dev lo
	"$SERVER" -f t -o user=root -r 9 9>lines & s=\$!
	until grep -q ready lines; do :; done
	read -r x y a <lines
	"$PEER" tcp:127.0.0.1:\${a##*:} >near
	"$PEER" tcp:192.0.2.1:\${a##*:} >far
	kill \$s; wait \$s
	X
	timeout 20 unshare -n sh in.sh 2>err
	grep -q services near
	[[ ! -s far ]]
	grep -q 'FAIL: services address from=192.0.2.1$' err
}

# --- tcpmux

mux() { # a tcpmux with two services, further lines into both
	table <<-X
	service tcpmux
	{
		type = INTERNAL
		listen = 127.0.0.1:0
		${MUX-}
	}
	service plain
	{
		type = TCPMUX
		exec = cat
		user = $ME
		$1
	}
	service Plus
	{
		type = TCPMUXPLUS
		shell = echo "\$REMOTE_ADDR \$SERVICE"; cat
		user = $ME
		$1
	}
	service secret
	{
		listen = 127.0.0.1:0
		exec = echo secret
		user = $ME
	}
	X
	start_server -f t
	PORT=${PORTS[tcpmux]}
}

@test "tcpmux: the name's service, with + the Go; case does not matter; CR LF or LF" {
	mux
	say $'plain\r\n'; [[ -z $output ]]
	say $'PLAIN\nx'; [[ $output == x ]]
	say $'plus\r\n'; [[ ${lines[0]} == $'+Go\r' && ${lines[1]} == "127.0.0.1 Plus" ]]
	wait_log 'START: Plus pid='
}

@test "tcpmux: who has said his service counts there no more" {
	MUX='instances = 1' mux
	say $'plain\na'; [[ $output == a ]]
	say $'plain\nb'; [[ $output == b ]]
}

@test "tcpmux: the service's own cps holds" {
	mux 'cps = 2/1h'
	say $'plain\na'; [[ $output == a ]]
	say $'plain\nb'; [[ $output == b ]]
	run "$PEER" -s $'plain\nc' -H "tcp:127.0.0.1:$PORT"; [[ $output == -* ]] || die "$output"
	wait_log 'FAIL: plain service_limit'
}

@test "tcpmux: what is sent behind the line is the service's, to the byte" {
	mux
	say $'plain\r\n\r\nfirst\nsecond\n'
	[[ $output == $'\r\nfirst\nsecond' ]]
	run -0 bash -c '{ printf "plain\r\n"; head -c 100000 "$1"; } | "$2" -S -H "$3" | cmp - <(head -c 100000 "$1")' - "$SERVER" "$PEER" "tcp:127.0.0.1:$PORT"
}

@test "tcpmux: a line in single bytes" {
	requires python3
	mux
	timeout 10 python3 - "$PORT" <<-'X'
	import socket, sys, time
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	for b in b"plain\r\nhi":
	    c.send(bytes([b])); time.sleep(.002)
	c.shutdown(1)
	d = b""
	while x := c.recv(100): d += x
	assert d == b"hi", d
	X
}

@test "tcpmux: help lists the names that there are" {
	mux
	say $'HELP\r\n'
	[[ $(tr -d '\r' <<<"$output" | sort | tr '\n' ' ') == "Plus plain " ]]
}

@test "tcpmux: an unknown name, one of another kind of service, none, too long a one, a NUL: refused with -" {
	requires python3
	mux
	timeout 20 python3 - "$PORT" <<-'X'
	import socket, sys
	for line in (b"nobody\r\n", b"secret\r\n", b"tcpmux\r\n", b"\r\n", b"\n", b"plain \r\n", b" plain\r\n", b"plain\r\r\n",
	        b"plain\0\r\n", b"pl\0ain\n", b"p" * 63 + b"\n", b"p" * 64 + b"\n", b"plain" + b"x" * 100000, b"plain"):
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	    c.settimeout(3)
	    c.sendall(line)
	    c.shutdown(1)
	    d = b""
	    while x := c.recv(100): d += x
	    assert d == b"-Service not available\r\n", (line, d)
	X
	! logged 'START: (plain|secret)' || die "reached"
	wait_log 'MUX: tcpmux 127.0.0.1 asked for "secret": no such service'
}

@test "tcpmux: who never ends his line is ended by a bound, and counts no more" {
	MUX='timeout = 100ms
		instances = 1' mux
	run -3 "$PEER" -s plain "tcp:127.0.0.1:$PORT"
	wait_log 'EXIT: tcpmux signal=15'
	say $'plain\nx'; [[ $output == x ]]
}

# bats test_tags=long
@test "tcpmux: a line that does not come within 10 s ends with the connection" {
	mux
	run -0 "$PEER" -t 20000 -s plain "tcp:127.0.0.1:$PORT"
	[[ $output == -* || -z $output ]]
	until_true 5 has_children 1
	say $'plain\nx'; [[ $output == x ]]
}

@test "tcpmux: what limits the service behind it holds: instances, per_source, only_from, no_access" {
	mux 'instances = 1'
	"$PEER" -s $'plain\nhere' -c go "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	wait_log 'START: plain'
	say $'plain\n'; [[ $output == "-Service not available"* ]]
	wait_log 'FAIL: plain service_limit from=127.0.0.1$'
	say $'plus\n'; [[ $output == +Go* ]]
	: >go; wait "$a"
	until_true 5 logged 'EXIT: plain'
	say $'plain\nx'; [[ $output == x ]]
	mux 'no_access = 127.0.0.2
		per_source = 1'
	run -0 "$PEER" -b 127.0.0.2 -s $'plus\n' -H "tcp:127.0.0.1:$PORT"
	[[ $output == "-Service not available"* ]]
	wait_log 'FAIL: Plus address from=127.0.0.2$'
	mux 'only_from = 127.0.0.3'
	say $'plain\n'; [[ $output == "-Service"* ]]
	run -0 "$PEER" -b 127.0.0.3 -s $'plain\ny' -H "tcp:127.0.0.1:$PORT"; [[ $output == y ]]
}

@test "tcpmux: the service's child runs as its own user, not as tcpmux's or the master" {
	requires_root
	chmod 755 . ..
	table <<-X
	service tcpmux
	{
		type = INTERNAL
		user = root
		listen = 127.0.0.1:0
	}
	service who
	{
		type = TCPMUX
		exec = id
		user = nobody
	}
	service default
	{
		type = TCPMUX
		exec = id -un
	}
	X
	AS_ME="" start_server -f t
	say $'who\n'; [[ $output == "uid=$(id -u nobody)(nobody) gid=$(id -g nobody)"* && $output != *root* ]]
	say $'default\n'; [[ $output == nobody ]]
}

@test "tcpmux leads to relays and built-ins of its type, and the child gets nothing but its connection" {
	table <<-X
	service tcpmux
	{
		type = INTERNAL
		listen = 127.0.0.1:0
	}
	service echo
	{
		type = INTERNAL TCPMUX
		listen = 127.0.0.1:0
	}
	service upper
	{
		listen = unix:@upper.$$
		exec = tr a-z A-Z
		user = $ME
	}
	service relay
	{
		type = TCPMUX
		redirect = unix:@upper.$$
	}
	service fds
	{
		type = TCPMUX
		shell = ls /proc/self/fd | tr '\n' ' '
		user = $ME
	}
	X
	start_server -f t
	PORT=${PORTS[tcpmux]}
	say $'echo\nhi'; [[ $output == hi ]]
	say $'relay\nhi'; [[ $output == HI ]]
	say $'fds\n'; [[ $output == "0 1 2 "?(3 ) ]]
}
