# Relays: redirect, through the worker.
load helper

target() { # target COMMAND...: a server of its own, for the relay to lead to
	start_server -q "$@"
	TARGET=$PORT TPID=$PID
}
relay() { # relay TARGET [line...]
	local to=$1; shift
	{ printf 'service relay\n{\n\tlisten = %s\n\tredirect = %s\n' "${LISTEN-tcp:127.0.0.1:0}" "$to"; printf '\t%s\n' "$@"; echo '}'; } >t
	start_server -f t
	WORKER=$(children "$PID"); WORKER=${WORKER%% *}
}
# No connection is left there, only the channel; and pipes for the next ones. Only root may look.
rest() { [[ $(id -u) != 0 || $(find "/proc/$WORKER/fd" -lname 'socket:*' | wc -l) == 1 ]]; }
# behaves NAME: a target in Python that serves one connection after the other: c, until it is killed.
# Sets TARGET.
behaves() {
	requires python3
	cat >"$1.py" <<-'X'
	import os, socket, struct, sys, time
	s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(int(os.environ.get("BACKLOG", "50")))
	open("port.tmp", "w").write(str(s.getsockname()[1])); os.rename("port.tmp", "port")
	def reset(c): c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()
	def gate(name):
	    while not os.path.exists(name): time.sleep(.005)
	def read(c):
	    d = b""
	    while x := c.recv(1 << 16): d += x
	    return d
	X
	cat >>"$1.py"
	rm -f port
	python3 "$1.py" 3>&- & BEHAVES=$!
	until_true 5 test -e port
	TARGET=$(<port)
}
teardown_target() { kill "$BEHAVES"; wait "$BEHAVES" 2>/dev/null || :; }
say() { run -0 "$PEER" -s "$1" -H "tcp:127.0.0.1:${2:-$PORT}"; }

@test "a relay to an IPv4 address, in xinetd's two words and as an address" {
	target 127.0.0.1:0 tr a-z A-Z
	relay "127.0.0.1 $TARGET"
	say hello; [[ $output == HELLO ]]
	relay "127.0.0.1:$TARGET"
	say hello; [[ $output == HELLO ]]
	wait_log 'START: relay pid=[0-9]+ from=127\.0\.0\.1$'
	wait_log 'EXIT: relay status=0 pid=[0-9]+ duration=0\(sec\)$'
}

@test "to IPv6, to a UNIX socket, by abstract name, from a UNIX socket" {
	target -o "listen+=unix:@relay.$$" -o id=up "tcp:[::1]:0" tr a-z A-Z
	relay "tcp:[::1]:$TARGET"
	say six; [[ $output == SIX ]]
	relay "unix:@relay.$$"
	say unix; [[ $output == UNIX ]]
	LISTEN=unix:s relay "unix:@relay.$$"
	run -0 "$PEER" -s both -H unix:s; [[ $output == BOTH ]]
}

@test "a name with several addresses: all are tried" {
	# A file of names of its own: who cannot have one takes the machine's.
	local name=localhost WRAP=""
	if unshare -m true 2>/dev/null; then
		printf '127.0.0.1 both.test\n::1 both.test\n' >hosts
		printf '#!/bin/sh\nmount --bind hosts /etc/hosts && exec "$@"\n' >named
		chmod +x named
		name=both.test
	else
		getent ahostsv6 localhost | grep -q '^::1 ' || skip "not root, and localhost has no ::1 here"
	fi
	target 127.0.0.1:0 echo four
	[[ $name == localhost ]] || WRAP="unshare -m ./named"
	relay "$name:$TARGET"
	WRAP=""
	run -0 ask; [[ $output == four ]]
	target "[::1]:0" echo six
	[[ $name == localhost ]] || WRAP="unshare -m ./named"
	relay "$name:$TARGET"
	WRAP=""
	run -0 ask; [[ $output == six ]]
}

@test "half close: sort behind a relay answers after the client's end" {
	target 127.0.0.1:0 sort
	relay "127.0.0.1:$TARGET"
	say $'b\na\n'
	[[ $output == $'a\nb' ]]
}

@test "half close the other way: behind the target's end the client still sends" {
	behaves t <<-'X'
	c, _ = s.accept()
	c.sendall(b"bye"); c.shutdown(1)
	open("got", "wb").write(read(c))
	X
	relay "127.0.0.1:$TARGET"
	timeout 10 python3 - "$PORT" <<-'X'
	import socket, sys
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	d = b""
	while x := c.recv(100): d += x
	assert d == b"bye", d
	for i in range(50): c.sendall(b"x" * 1000)
	c.close()
	X
	wait "$BEHAVES"
	[[ $(stat -c %s got) == 50000 ]]
	wait_log 'EXIT: relay status=0'
}

@test "64 MB both ways at once arrive byte for byte, and are counted" {
	requires python3
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET" 'log_on_success = EXIT BYTES TRAFFIC'
	timeout 40 python3 - "$PORT" <<-'X'
	import hashlib, os, socket, sys, threading
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	block, n = os.urandom(1 << 20), 64
	sent, got, size = hashlib.sha256(), hashlib.sha256(), 0
	def send():
	    for i in range(n):
	        b = block[i:] + block[:i]; c.sendall(b); sent.update(b)
	    c.shutdown(socket.SHUT_WR)
	t = threading.Thread(target=send); t.start()
	while b := c.recv(1 << 20): got.update(b); size += len(b)
	t.join()
	assert size == n << 20 and got.digest() == sent.digest(), size
	X
	wait_log 'EXIT: relay status=0 bytes_in=67108864 bytes_out=67108864$'
	wait_log 'TRAFFIC: relay in=67108864\(bytes\) out=67108864\(bytes\)$'
}

@test "TRAFFIC in JSON has the numbers" {
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET" 'log_on_success = TRAFFIC' 'log_format = json'
	say hello
	wait_log '"event":"traffic","service":"relay","conn":1,"bytes_in":5,"bytes_out":5\}$'
}

@test "a target that refuses, that has no address, or no socket: reset, logged, counted as failed" {
	target 127.0.0.1:0 true
	stop_server
	relay "127.0.0.1:$TARGET"
	run -3 ask
	wait_log 'ERROR: relay cannot connect to 127\.0\.0\.1:[0-9]+: '
	wait_log 'EXIT: relay status=1'
	relay "127.0.0.1 $TARGET"
	run -3 ask
	wait_log "ERROR: relay cannot connect to 127\.0\.0\.1 $TARGET: "
	relay "unix:$PWD/none"
	run -3 ask
	wait_log 'ERROR: relay cannot connect to unix:/.*/none: '
	relay "no-such-host.invalid:80"
	run -3 "$PEER" -t 12000 "tcp:127.0.0.1:$PORT"
	wait_log 'cannot connect to no-such-host.invalid:80: the name has no address' 12
}

@test "a name that has no address yet is asked for again" {
	requires_root; requires unshare
	cp /etc/hosts hosts
	cat >in.sh <<-X
	mount --bind hosts /etc/hosts
	"$SERVER" -q -o user=root -r 9 127.0.0.1:0 echo found 9>target & a=\$!
	until grep -q ready target; do :; done
	read -r x y b <target
	printf 'service relay\n{\nlisten = 127.0.0.1:0\nredirect = late.invalid:%s\n}\n' "\${b##*:}" >t
	"$SERVER" -o user=root -r 9 -f t 9>lines & s=\$!
	until grep -q ready lines; do :; done
	read -r x y b <lines
	"$PEER" "\$b" >before
	echo 127.0.0.1 late.invalid >>hosts
	i=0
	until "$PEER" "\$b" >after || [ \$((i += 1)) -gt 300 ]; do sleep 0.02; done
	kill \$a \$s; wait
	X
	timeout 20 unshare -m sh in.sh 2>err
	[[ ! -s before && $(<after) == found ]]
	grep -q 'cannot connect to late.invalid:[0-9]*: the name has no address' err
}

@test "a target that does not answer holds up nobody else, and gives way to a stop" {
	# The queue of this listener is full: the kernel drops what comes.
	BACKLOG=0 behaves t <<<'gate("go")'
	local i full=()
	for i in 1 2 3; do "$PEER" -c go "tcp:127.0.0.1:$TARGET" 3>&- & full+=($!); done
	target 127.0.0.1:0 echo ok
	local good=$TARGET
	printf 'service %s\n{\nlisten = 127.0.0.1:0\nredirect = 127.0.0.1 %s\n}\n' full "$(<port)" good "$good" >t
	start_server -o grace=100ms -f t
	"$PEER" "tcp:127.0.0.1:${PORTS[full]}" >o 3>&- & local p=$!
	wait_log 'START: full'
	say x "${PORTS[good]}"; [[ $output == ok ]]
	stop_server
	[[ $STATUS == 0 ]]
	wait "$p" && return 1 || [[ $? == 3 ]]
	: >go
	teardown_target
	kill "${full[@]}"
	wait "${full[@]}" || :
}

@test "a UNIX target whose queue is full is waited for" {
	requires python3
	cat >t.py <<-'X'
	import os, socket, sys, time
	s = socket.socket(socket.AF_UNIX); s.bind("\0full." + sys.argv[1]); s.listen(0)
	cs = [socket.socket(socket.AF_UNIX) for _ in range(2)]
	for c in cs:
	    c.setblocking(False)
	    try: c.connect("\0full." + sys.argv[1])
	    except BlockingIOError: pass
	open("up", "w").close()
	while not os.path.exists("go"): time.sleep(.005)
	while True:
	    c, _ = s.accept(); c.sendall(b"at last") if True else 0; c.close()
	X
	python3 t.py $$ 3>&- & BEHAVES=$!
	until_true 5 test -e up
	relay "unix:@full.$$"
	"$PEER" "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log 'START: relay'
	nap 0.1
	: >go
	wait "$p"
	[[ $(<got) == "at last" ]]
	teardown_target
}

@test "a target that answers slowly, and one whose answer is slow to be taken" {
	target -s 127.0.0.1:0 'for i in 1 2 3 4 5; do echo $i; sleep 0.03; done'
	relay "127.0.0.1:$TARGET"
	run -0 ask; [[ ${lines[*]} == "1 2 3 4 5" ]]
	target -s 127.0.0.1:0 'head -c 300000 /dev/zero'
	relay "127.0.0.1:$TARGET" 'linger = 50ms'
	"$PEER" -r 4096 -d 8192:5 "tcp:127.0.0.1:$PORT" >got
	[[ $(stat -c %s got) == 300000 ]]
}

@test "a target that answers and closes while the client still sends: the reply is not lost" {
	target -o linger=no 127.0.0.1:0 echo answer
	relay "127.0.0.1:$TARGET"
	local i
	for i in {1..20}; do
		run bash -c 'head -c 1000000 /dev/zero | "$1" -S "$2"' - "$PEER" "tcp:127.0.0.1:$PORT"
		[[ $output == answer ]] || die "round $i: $output" || return
	done
}

@test "a target that resets behind what it said: the client gets that, and then the reset" {
	behaves t <<-'X'
	for i in range(2):
	    c, _ = s.accept(); c.sendall(b"x" * 200000); c.recv(1); reset(c)
	X
	relay "127.0.0.1:$TARGET"
	timeout 10 python3 - "$PORT" <<-'X'
	import socket, sys
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	n = 0
	while n < 200000: n += len(c.recv(65536))
	c.send(b"x")
	try: assert c.recv(1) == b"never"
	except ConnectionResetError: pass
	X
	teardown_target
	wait_log 'EXIT: relay'
	until_true 5 rest
}

@test "the client's reset reaches the target, before and behind its half close" {
	behaves t <<-'X'
	import select
	for name in ("one", "two", "three"):
	    c, _ = s.accept()
	    c.recv(1)
	    if name != "one": assert c.recv(1) == b""
	    open(name, "w").close()
	    if name == "three":	# who sends nothing is told too
	        p = select.poll(); p.register(c, 0)
	        assert p.poll(5000)
	    while name != "three":
	        try:
	            if name == "one": c.recv(1)
	            else: c.send(b"x"); time.sleep(.01)
	        except (ConnectionResetError, BrokenPipeError): break
	    open(name + ".reset", "w").close()
	X
	relay "127.0.0.1:$TARGET"
	timeout 10 python3 - "$PORT" <<-'X'
	import os, socket, struct, sys, time
	def wait(f):
	    end = time.time() + 5
	    while not os.path.exists(f):
	        assert time.time() < end, f
	        time.sleep(.005)
	for name in ("one", "two", "three"):
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	    c.send(b"x")
	    if name != "one": c.shutdown(1)
	    wait(name)
	    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()
	    wait(name + ".reset")
	X
	wait "$BEHAVES"
	until_true 5 log_has 3 EXIT
	until_true 5 rest
}

@test "a client that goes while much is on its way to it ends its relay, not the worker" {
	requires python3
	target 127.0.0.1:0 cat /dev/zero
	LISTEN="unix:s tcp:127.0.0.1:0" relay "127.0.0.1:$TARGET"
	timeout 10 python3 - "$PORT" <<-'X'
	import socket, sys, time
	for i in range(4):
	    c = socket.socket(socket.AF_UNIX); c.connect("s")
	    for k in range(20): c.recv(65536)
	    time.sleep(.02); c.close()
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	    for k in range(20): c.recv(65536)
	    c.shutdown(1); time.sleep(.02); c.close()
	X
	until_true 5 log_has 8 EXIT
	! logged 'the worker' || die "it ended"
	[[ $(children "$PID") == "$WORKER" ]]
	until_true 5 rest
}

# gives PATH: a descriptor along with a byte to a UNIX socket
gives() {
	python3 - "$1" <<-'X'
	import array, socket, sys
	c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1])
	try: c.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))])
	except PermissionError: sys.exit(3)
	X
}

@test "nobody can leave descriptors, which may take long to close, with the worker; a command may have them, also after a reload" {
	requires python3
	local is
	table() { # table NAME LINE...
		{ printf 'service %s\n{\n\tlisten = unix:s\n\tuser = %s\n' "$1" "$ME"; printf '\t%s\n' "${@:2}" '}'; } >t
		chmod 644 t
	}
	target 127.0.0.1:0 cat
	table relay "redirect = 127.0.0.1 $TARGET"
	start_server -f t
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).setsockopt(1, 83, 0)' 2>/dev/null ||
		skip "the kernel cannot be told to take no descriptors (before 6.16)"
	run -3 gives s
	for is in command worker command; do
		if [[ $is == command ]]; then table cat 'exec = cat'; else table discard 'type = INTERNAL'; fi
		run -0 timeout 10 "$SERVERCTL" -C "$CTL" reload
		if [[ $is == command ]]; then run -0 gives s; else run -3 gives s; fi
	done
}

@test "urgent bytes and descriptors stop no relay" {
	behaves t <<-'X'
	for i in range(3): c, _ = s.accept(); open(f"got.{i}", "wb").write(read(c))
	X
	LISTEN="unix:s tcp:127.0.0.1:0" relay "127.0.0.1:$TARGET"
	timeout 10 python3 - "$PORT" "$WORKER" <<-'X'
	import array, os, signal, socket, sys, time
	w, U = int(sys.argv[2]), socket.MSG_OOB
	def burst(c, sends):
	    c.send(b"0")
	    time.sleep(.05); os.kill(w, signal.SIGSTOP)
	    for b, how in sends:
	        if how == "fd":
	            try: c.sendmsg([b], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))])
	            except PermissionError: c.send(b)
	        else: c.send(b, how)
	    time.sleep(.02); os.kill(w, signal.SIGCONT)
	    time.sleep(.05); c.close()
	t = lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	burst(t(), [(b"abc", 0), (b"X", U), (b"def", 0)])
	burst(t(), [(b"a" * 20000, 0), (b"b" * 20000, 0), (b"X", U), (b"c" * 3000, 0)])
	c = socket.socket(socket.AF_UNIX); c.connect("s")
	burst(c, [(b"a", "fd"), (b"b", 0), (b"c", "fd"), (b"d", 0)])
	X
	wait "$BEHAVES"
	[[ $(<got.0) == 0abcXdef && $(stat -c %s got.1) == 43002 && $(<got.2) == 0abcd ]]
}

@test "many relays whose reader is slow: none is cut, none gets another's bytes" {
	requires python3
	requires_fds 2048
	behaves t <<-'X'
	import threading
	s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 40000)
	def serve(c):
	    who = c.recv(1); gate("go")
	    d, n = c.recv(1 << 16), 1
	    while d:
	        assert d.strip(who) == b"", (who, d[:10])
	        n += len(d); d = c.recv(1 << 16)
	    c.sendall(str(n).encode()); c.close()
	while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
	X
	relay "127.0.0.1:$TARGET"
	timeout 30 python3 - "$PORT" <<-'X'
	import select, socket, sys
	cs = []
	for i in range(80):
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	    c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 30000)
	    who = bytes([65 + i % 26]); c.send(who); c.setblocking(False)
	    cs.append([c, who, 1])
	# Until nobody takes anything any more: in large pieces, and in such as are copied.
	quiet = 0
	while quiet < 3:
	    quiet += 1
	    for k, x in enumerate(cs):
	        try:
	            x[2] += x[0].send(x[1] * (10000 if k > 68 else 200000)); quiet = 0
	        except BlockingIOError: pass
	    select.select([], [], [], .005)
	open("go", "w").close()
	for c, who, n in cs:
	    c.setblocking(True); c.shutdown(1)
	for c, who, n in cs:
	    d = b""
	    while x := c.recv(100): d += x
	    assert int(d) == n, (who, d, n)
	X
	teardown_target
}

@test "idle_timeout ends a relay over which nothing moves, and the log says it" {
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET" 'idle_timeout = 150ms'
	local start; start=$(now_ms)
	run -0 "$PEER" -s x "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	(($(now_ms) - start >= 140))
	wait_log 'KILL: relay pid=[0-9]+ from=127\.0\.0\.1 idle_timeout$'
	target -s 127.0.0.1:0 'for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.04; done'
	relay "127.0.0.1:$TARGET" 'idle_timeout = 150ms'
	run -0 ask; [[ ${#lines[@]} == 8 ]]
}

@test "timeout ends a relay however much moves" {
	target 127.0.0.1:0 cat /dev/zero
	relay "127.0.0.1:$TARGET" 'timeout = 150ms' 'instances = 1'
	run -3 bash -c '"$1" "$2" >/dev/null' - "$PEER" "tcp:127.0.0.1:$PORT"
	wait_log 'KILL: relay pid=[0-9]+ from=127\.0\.0\.1 timeout$'
	wait_log 'EXIT: relay signal=15'
	run -3 bash -c '"$1" "$2" >/dev/null' - "$PEER" "tcp:127.0.0.1:$PORT"
}

@test "instances, per_source, only_from, banner of a relay" {
	target 127.0.0.1:0 cat
	echo hello >b
	relay "127.0.0.1:$TARGET" 'per_source = 1' 'no_access = 127.0.0.9' "banner = $PWD/b"
	"$PEER" -c go "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	wait_log START
	run -0 "$PEER" -H "tcp:127.0.0.1:$PORT"
	wait_log 'FAIL: relay per_source_limit from=127.0.0.1$'
	run -0 "$PEER" -b 127.0.0.2 -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == hello*x ]]
	run -0 "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:$PORT"
	wait_log 'FAIL: relay address from=127.0.0.9$'
	: >go; wait "$a"
}

@test "send_proxy v1 and v2, byte for byte, before all else; UNKNOWN and LOCAL for a UNIX client" {
	requires python3
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET" 'send_proxy = v1'
	timeout 10 python3 - "$PORT" 1 <<-'X' || return
	import socket, sys
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), source_address=("127.0.0.7", 0))
	c.sendall(b"body"); c.shutdown(1); d = b""
	while x := c.recv(1000): d += x
	want = b"PROXY TCP4 127.0.0.7 127.0.0.1 %d %d\r\nbody" % (c.getsockname()[1], int(sys.argv[1]))
	assert d == want, d
	X
	LISTEN="tcp:127.0.0.1:0 tcp:[::1]:0 unix:s" relay "127.0.0.1:$TARGET" 'send_proxy = v2'
	timeout 10 python3 - "${ADDRESSES[0]##*:}" "${ADDRESSES[1]##*:}" <<-'X' || return
	import socket, struct, sys
	def all(c):
	    c.sendall(b"body"); c.shutdown(1); d = b""
	    while x := c.recv(1000): d += x
	    return d
	p4, p6 = map(int, sys.argv[1:])
	sig = b"\r\n\r\n\0\r\nQUIT\n"
	c = socket.create_connection(("127.0.0.1", p4), source_address=("127.0.0.7", 0))
	want = sig + bytes([0x21, 0x11, 0, 12, 127, 0, 0, 7, 127, 0, 0, 1]) + struct.pack("!HH", c.getsockname()[1], p4)
	d = all(c); assert d == want + b"body", d
	c = socket.create_connection(("::1", p6))
	one = bytes(15) + b"\1"
	want = sig + bytes([0x21, 0x21, 0, 36]) + one + one + struct.pack("!HH", c.getsockname()[1], p6)
	d = all(c); assert d == want + b"body", d
	c = socket.socket(socket.AF_UNIX); c.connect("s")
	d = all(c); assert d == sig + bytes([0x20, 0, 0, 0]) + b"body", d
	X
	LISTEN=unix:s2 relay "127.0.0.1:$TARGET" 'send_proxy = v1'
	run -0 "$PEER" -s body -H unix:s2; [[ $output == $'PROXY UNKNOWN\r\nbody' ]]
}

@test "send_proxy into proxy_protocol: the second server sees the first one's client" {
	target -o proxy_protocol=yes -o proxy_from=127.0.0.1 -s 127.0.0.1:0 'echo $REMOTE_ADDR'
	relay "127.0.0.1:$TARGET" 'send_proxy = v2'
	run -0 "$PEER" -b 127.0.0.8 "tcp:127.0.0.1:$PORT"; [[ $output == 127.0.0.8 ]]
	relay "127.0.0.1:$TARGET" 'send_proxy = v1'
	run -0 "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:$PORT"; [[ $output == 127.0.0.9 ]]
}

@test "200 relays at once, each with its own bytes" {
	requires python3
	requires_fds 2048
	target 127.0.0.1:0 cat
	printf 'service relay\n{\nlisten = 127.0.0.1:0\nredirect = 127.0.0.1 %s\n}\nservice echo\n{\ntype = INTERNAL\nlisten = 127.0.0.1:0\n}\n' echo >t
	start_server -f <(printf 'service echo\n{\ntype = INTERNAL\nlisten = 127.0.0.1:0\n}\n')
	relay "127.0.0.1:$PORT"
	timeout 20 python3 - "$PORT" <<-'X'
	import socket, sys
	cs = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(200)]
	for i, c in enumerate(cs): c.sendall(b"%d " % i * 2000)
	for i, c in enumerate(cs):
	    c.shutdown(1); d = b""
	    while x := c.recv(1 << 16): d += x
	    assert d == b"%d " % i * 2000, i
	X
	until_true 5 log_has 200 'EXIT: relay'
	until_true 5 rest
}

@test "the worker killed: its connections end, counts are released, it is started again and serves" {
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET" 'instances = 2' 'per_source = 2'
	"$PEER" -c go "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	"$PEER" -c go "tcp:127.0.0.1:$PORT" >b 3>&- & local b=$!
	until_true 5 log_has 2 START
	local fds; fds=$(nfds "$PID")
	kill -KILL "$WORKER"
	wait_log "ERROR: the worker \(process $WORKER\) has ended, and 2 connections with it; it is started again"
	until_true 5 log_has 2 'EXIT: relay status=1'
	: >go
	wait "$a" || :; wait "$b" || :
	say again; [[ $output == again ]]
	say again; [[ $output == again ]]
	[[ $(children "$PID") != "$WORKER" ]]
	until_true 5 has_children 1
	no_zombies
	until_true 5 log_has 4 EXIT
	[[ $(nfds "$PID") == "$fds" ]]
}

@test "the worker killed again and again: it is replaced after growing pauses, the master costs nothing" {
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET"
	local i w fds; fds=$(nfds "$PID")
	for i in 1 2 3; do
		new() { w=$(children "$PID"); [[ -n $w && $w != *" "* && $w != "$WORKER" ]]; }
		kill -KILL "$WORKER"; until_true 5 new; WORKER=$w
	done
	say still; [[ $output == still ]]
	until_true 5 has_children 1
	[[ $(nfds "$PID") == "$fds" ]]
	(($(ticks "$PID") < 50))
}

@test "a worker that stands still holds up no other service" {
	target 127.0.0.1:0 cat
	printf 'service r\n{\nlisten = 127.0.0.1:0\nredirect = 127.0.0.1 %s\n}\nservice c\n{\nlisten = 127.0.0.1:0\nexec = echo ok\nuser = %s\n}\n' "$TARGET" "$ME" >t
	start_server -f t
	local w; w=$(children "$PID")
	kill -STOP "$w"
	"$PEER" -s later -H "tcp:127.0.0.1:${PORTS[r]}" >got 3>&- & local p=$!
	wait_log 'START: r'
	say x "${PORTS[c]}"; [[ $output == ok ]]
	kill -CONT "$w"
	wait "$p"; [[ $(<got) == later ]]
}

# crowd N: so many connect and say hello. Sets CROWD; got says "all" when all are connected, then who got what.
crowd() {
	requires python3
	cat >crowd.py <<-'X'
	import socket, sys
	c = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) for _ in range(int(sys.argv[2]))]
	for x in c:
	    x.settimeout(20); x.sendall(b"hello"); x.shutdown(1)
	print("all", flush=True)
	got = []
	for x in c:
	    try: got.append(x.recv(99).decode() or "nothing")
	    except ConnectionResetError: got.append("reset")
	print(*(f"{got.count(g)} {g}" for g in sorted(set(got))))
	X
	rm -f got
	python3 crowd.py "$PORT" "$1" >got 3>&- & CROWD=$!
	until_true 10 grep -q all got
}

@test "who comes while the worker stands still waits in the kernel's queue, at no cost; then all are served" {
	local before taken
	target 127.0.0.1:0 tr a-z A-Z
	relay "127.0.0.1 $TARGET"
	kill -STOP "$WORKER"
	crowd 40
	before=$(ticks "$PID"); nap 0.3
	(($(ticks "$PID") - before < 5)) || die "the master spins"
	taken=$(count_log 'START: r')
	((taken >= 1 && taken < 20)) || die "$taken are taken"
	kill -CONT "$WORKER"
	wait "$CROWD"; [[ $(<got) == all$'\n'"40 HELLO" ]] || die "$(<got)"
	log_has 0 PAUSE
	# Killed, it takes along those whom it had; the others are the next one's.
	until_true 5 log_has 40 'EXIT: r'
	kill -STOP "$WORKER"
	crowd 40
	kill -KILL "$WORKER"
	wait "$CROWD"; [[ $(<got) =~ ([0-9]+)" HELLO" ]] || die "$(<got)"
	((BASH_REMATCH[1] > 20)) || die "$(<got)"
}

@test "who came while the worker stood still fills the service, and nobody else waits: it does not pause" {
	target 127.0.0.1:0 tr a-z A-Z
	relay "127.0.0.1 $TARGET" 'instances = 40' 'overload = queue'
	kill -STOP "$WORKER"
	crowd 40
	kill -CONT "$WORKER"
	wait "$CROWD"; [[ $(<got) == all$'\n'"40 HELLO" ]] || die "$(<got)"
	log_has 0 PAUSE
}

@test "who waits while the worker stands still is served as the table says after a reload, and after an upgrade" {
	target 127.0.0.1:0 tr a-z A-Z
	relay "127.0.0.1 $TARGET" "user = $ME"
	kill -STOP "$WORKER"
	crowd 40
	sed -i 's/redirect = .*/exec = cat/' t
	kill -HUP "$PID"
	until_true 10 log_has 1 RELOAD
	wait_log 'EXIT: r'
	kill -CONT "$WORKER"
	wait "$CROWD"
	[[ $(<got) =~ ^all.([0-9]+)\ HELLO\ ([0-9]+)\ hello$ && $((BASH_REMATCH[1] + BASH_REMATCH[2])) == 40 ]] || die "$(<got)"
	((BASH_REMATCH[2] > 20)) || die "$(<got)"
	sed -i "s/exec = .*/redirect = 127.0.0.1 $TARGET/" t
	kill -HUP "$PID"
	until_true 10 log_has 2 RELOAD
	# Those whom the old worker has stay its own; the others are the new one's.
	kill -STOP "$WORKER"
	crowd 40
	run -0 "$SERVERCTL" -C "$CTL" upgrade
	kill -CONT "$WORKER"
	wait "$CROWD"; [[ $(<got) == all$'\n'"40 HELLO" ]] || die "$(<got)"
}

@test "a worker without a descriptor for a connection: that one is reset, told and counted for nothing; the next is served" {
	requires prlimit
	target 127.0.0.1:0 tr a-z A-Z
	relay "127.0.0.1 $TARGET"
	say first; [[ $output == FIRST ]]
	local as=(nobody) was	# who the worker is, may
	[[ $(id -u) == 0 ]] || as=()
	was=$(${as[@]+"${as[@]}"} prlimit --pid "$WORKER" --nofile -o SOFT --noheadings)
	${as[@]+"${as[@]}"} prlimit --pid "$WORKER" --nofile=3:
	run "$PEER" -s none -H "tcp:127.0.0.1:$PORT"; [[ $output != *NONE* ]]
	wait_log 'ERROR: relay the worker could not take a connection: Too many open files'
	wait_log 'EXIT: relay status=1'
	${as[@]+"${as[@]}"} prlimit --pid "$WORKER" --nofile=$((was)):
	say next; [[ $output == NEXT ]]
}

@test "a relay that a reload brings works, whatever left the table before it" {
	target 127.0.0.1:0 tr a-z A-Z
	relay "127.0.0.1 $TARGET"
	cp t one
	printf 'service c { listen = 127.0.0.1:0\nexec = true\nuser = %s\n}\n' "$ME" >>t
	kill -HUP "$PID"; wait_log 'RELOAD: 1 added'
	cp one t
	kill -HUP "$PID"; wait_log 'RELOAD: 0 added, 0 changed, 1 removed'
	printf 'service two { listen = unix:two\nredirect = 127.0.0.1 %s\n}\n' "$TARGET" >>t
	kill -HUP "$PID"; wait_log 'LISTEN: two'
	run -0 "$PEER" -s two -H unix:two; [[ $output == TWO ]]
	say one; [[ $output == ONE ]]
}

# many N TARGET: a table of N relays to it. start_many: start_server, when it has so many listeners
# that bash is slow with their lines; port NAME tells one.
many() { seq "$1" | sed "s/.*/service r&\n{\nlisten = 127.0.0.1:0\nredirect = 127.0.0.1:$2\n}/" >t; }
start_many() {
	: >lines
	${WRAP-} "$SERVER" -o user="$ME" -q -r 9 -f t 9>lines </dev/null >>"$LOG" 2>&1 3>&- &
	PID=$!; SRV+=("$PID")
	until_true 20 grep -q '^ready' lines
}
port() { sed -n "s/^listen $1 .*://p" lines; }

@test "3,000 relays: the last of them works" {
	requires_fds 4096
	target 127.0.0.1:0 tr a-z A-Z
	many 3000 "$TARGET"
	start_many
	say last "$(port r3000)"; [[ $output == LAST ]]
	say first "$(port r1)"; [[ $output == FIRST ]]
}

# small [COMMANDS]: later servers get what is left of a channel when it cannot be made larger.
small() {
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	printf '#!/bin/sh\n%s\nLD_PRELOAD=%s SHIM="setsockopt@1032=1 setsockopt@1007=1" exec "$@"\n' "${1-}" "$B/tests/shim" >small.sh
	chmod +x small.sh
	WRAP=./small.sh
}

@test "a worker that stands still before it knows 3,000 targets holds up no start and nobody else" {
	requires_fds 4096
	target 127.0.0.1:0 tr a-z A-Z
	many 3000 "$TARGET"
	printf 'service c\n{\nlisten = 127.0.0.1:0\nexec = echo ok\nuser = %s\n}\n' "$ME" >>t
	# It is stopped as soon as it is there, when it has been told little of where they lead.
	small '( (
	until read -r n </proc/$$/comm; [ "$n" = server ]; do :; done
	until read -r w x </proc/$$/task/$$/children; [ -n "$w" ] && read -r p n s pp g sid x </proc/$w/stat &&
		[ "$sid" = "$w" ]; do [ -d /proc/$$ ] || exit; done
	kill -STOP "$w"; echo "$w" >stopped) 9>&- &)'
	start_many
	WRAP=""
	until_true 5 test -s stopped
	[[ $(children "$PID") == "$(<stopped)"* ]]
	say x "$(port c)"; [[ $output == ok ]]
	"$PEER" -s last -H "tcp:127.0.0.1:$(port r3000)" >got 3>&- & local p=$!
	say x "$(port c)"; [[ $output == ok ]]
	kill -CONT "$(<stopped)"
	wait "$p"; [[ $(<got) == LAST ]]
}

@test "a master that stands still holds up no relay, and gets every report when it goes on" {
	requires python3
	requires_fds 4096
	start_server -q -f <(printf 'service echo\n{\ntype = INTERNAL\nlisten = 127.0.0.1:0\n}\n')
	small
	relay "127.0.0.1:$PORT"
	WRAP=""
	timeout 40 python3 - "$PORT" "$PID" <<-'X'
	import os, signal, socket, sys
	def echo(c):
	    c.settimeout(5); c.sendall(b"x"); assert c.recv(1) == b"x"
	# Each end is waited for: then each has a report of its own, and the channel is soon full of them.
	cs = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(701)]
	for c in cs: echo(c)
	os.kill(int(sys.argv[2]), signal.SIGSTOP)
	try:
	    for c in cs[1:]:
	        c.shutdown(1); assert c.recv(1) == b""; c.close()
	    echo(cs[0])
	finally: os.kill(int(sys.argv[2]), signal.SIGCONT)
	cs[0].close()
	X
	until_true 10 log_has 701 'EXIT: relay status=0'
	until_true 5 rest
}

@test "TERM drains: a relay lives on, nobody new comes, and its end is the master's" {
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET"
	"$PEER" -s x -c go "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log START
	kill -TERM "$PID"
	wait_log DRAIN
	run "$PEER" "tcp:127.0.0.1:$PORT"; [[ $status == 5 ]]
	: >go
	wait "$p"; [[ $(<got) == x ]]
	wait_end; [[ $STATUS == 0 ]]
	until_true 5 gone "$WORKER"
}

@test "INT stops: relays are reset, the worker ends, all within a moment" {
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET"
	"$PEER" -s x "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	until_true 5 test -s got
	local start; start=$(now_ms)
	stop_server INT
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 2000))
	wait "$p" && return 1 || [[ $? == 3 ]]
	until_true 5 gone "$WORKER"
}

@test "QUIT lets relays live on until they end; then the worker goes" {
	target 127.0.0.1:0 cat
	relay "127.0.0.1:$TARGET"
	"$PEER" -s x -c go "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log START
	stop_server QUIT
	[[ $STATUS == 0 ]]
	! gone "$WORKER" || die "the worker is gone"
	: >go
	wait "$p"; [[ $(<got) == x ]]
	until_true 5 gone "$WORKER"
}

@test "5,000 relays leave no descriptor, no memory, no zombie" {
	start_server -q -f <(printf 'service daytime\n{\ntype = INTERNAL\nlisten = 127.0.0.1:0\n}\n')
	{ printf 'service relay\n{\nlisten = 127.0.0.1:0\nredirect = 127.0.0.1 %s\n}\n' "$PORT"; } >t
	start_server -q -f t
	WORKER=$(children "$PID")
	rss() { grep VmRSS "/proc/$1/status" | tr -dc 0-9; }
	run -0 "$PEER" -n 1000 "tcp:127.0.0.1:$PORT"; [[ $output == "1000 26000" ]]
	until_true 5 rest
	local m w fm fw; m=$(rss "$PID") w=$(rss "$WORKER") fm=$(nfds "$PID") fw=$(nfds "$WORKER")
	run -0 "$PEER" -n 4000 "tcp:127.0.0.1:$PORT"; [[ $output == "4000 104000" ]]
	flat() { [[ $(nfds "$PID") == "$fm" && $(nfds "$WORKER") == "$fw" ]]; }
	until_true 5 flat
	[[ $B == *asan* ]] || (($(rss "$PID") - m < 300 && $(rss "$WORKER") - w < 300)) || die "$m $(rss "$PID") $w $(rss "$WORKER")"
	no_zombies; has_children 1
}

@test "redirect to a link-local address, through its interface" {
	requires_root; requires unshare ip
	unshare -n true 2>/dev/null || skip "no network namespace"
	cat >t <<-'X'
	service there { listen = tcp:[fe80::7%lo]:7801
	exec = echo here
	}
	service relay { listen = tcp:127.0.0.1:7802
	redirect = tcp:[fe80::7%lo]:7801
	}
	X
	chmod 644 t
	cat >inside.sh <<-X
	ip link set lo up && ip -6 addr add fe80::7/64 dev lo nodad || exit 77
	mkfifo up
	"$SERVER" -r 9 -f t 9>up & s=\$!
	while read -r x && [ "\$x" != ready ]; do :; done <up
	"$CLIENT" -w 5 127.0.0.1:7802 </dev/null
	kill \$s; wait \$s
	X
	run timeout 20 unshare -n sh inside.sh 3>&-
	[[ $status != 77 ]] || skip "no address there"
	[[ $'\n'$output$'\n' == *$'\nhere\n'* ]] || die "$output"
	sed -i 's/fe80::7%lo\]:7801$/2001:db8::7%lo]:7801/' t
	run -1 "$SERVER" -t -f t; [[ $output == *"only a link-local address (fe80::) needs an interface"* ]] || die "$output"
}

@test "a worker that cannot give up root says so, and serves nobody" {
	requires unshare ip
	unshare -rn true 2>/dev/null || skip "no user namespace"
	printf 'service daytime { type = INTERNAL\nlisten = 127.0.0.1:7801\n}\n' >t; chmod 644 t
	cat >inside.sh <<-X
	ip link set lo up
	mkfifo up
	"$SERVER" -r 9 -f t 9>up 2>said & s=\$!
	while read -r x && [ "\$x" != ready ]; do :; done <up
	until grep -q 'cannot become' said; do sleep 0.02; done
	"$CLIENT" -w 1 127.0.0.1:7801 </dev/null
	kill \$s; wait \$s
	cat said
	X
	# Only who made the namespace is there in it: nobody is not.
	run timeout 20 unshare -rn sh inside.sh 3>&-
	[[ $output == *"ERROR: the worker cannot become user "*": "*"; relays and built-ins need it"* && $output != *" 20"[0-9][0-9]* ]] || die "$output"
}

@test "a target's name is asked for again at a reload; what was known holds until the answer, and without one" {
	requires_root
	echo '127.0.0.1 target.test' >hosts
	printf '#!/bin/sh\nmount --bind %s/hosts /etc/hosts && exec "$@"\n' "$PWD" >wrap
	chmod +x wrap
	# Two targets on one port, of which the name stands for one.
	start_server -s 127.0.0.1:0 'echo one'
	start_server -s -o "listen+=127.0.0.2:$PORT" 127.0.0.3:0 'echo two'
	local at; at=$(printf '%s\n' "${ADDRESSES[@]}" | sed -n 's/^tcp:127.0.0.2://p')
	printf 'service r\n{\nlisten = 127.0.0.1:0\nredirect = target.test %s\n}\n' "$at" >t
	AS_ME="" WRAP="unshare -m ./wrap" start_server -f t
	[[ $(ask) == one ]]
	echo '127.0.0.2 target.test' >hosts
	[[ $(ask) == one ]]		# not before
	"$SERVERCTL" -C "$CTL" reload
	now_two() { [[ $(ask) == two ]]; }
	until_true 5 now_two
	echo '127.0.0.2 other.test' >hosts
	"$SERVERCTL" -C "$CTL" reload
	"$SERVERCTL" -C "$CTL" reload
	[[ $(ask) == two ]]
}
