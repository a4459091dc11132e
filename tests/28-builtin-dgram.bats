load helper

# The datagram services that the server answers itself.
start_builtin() { # NAME [options]: sets HERE, BPORT
	local name=$1; shift
	cat >"t.$name" <<-X
	service $name
	{
		type = INTERNAL UNLISTED
		socket_type = dgram
		protocol = udp
		wait = yes
		bind = 127.0.0.1
		port = 0
		user = $ME
		$(printf '%s\n' "$@")
	}
	X
	[[ $* != *"wait = no"* ]] || sed -i '/wait = yes/d' "t.$name"
	chmod 644 "t.$name"
	AS_ME="" start_server -f "t.$name"
	HERE=${ADDRESSES[0]/\*/127.0.0.1} BPORT=${ADDRESSES[0]##*:}
}
send() { timeout 20 "$DATAGRAMS" "$@"; }
mute() { send -k 0 "$@"; }
refused() { # what -t says of such an entry
	{ echo "service $1 {"; echo "type = INTERNAL UNLISTED"; echo "socket_type = dgram"; echo "protocol = udp"
	echo "wait = yes"; echo "user = $ME"; echo "port = 4000"; printf '%s\n' "${@:2}"; echo "}"; } >bad
	chmod 644 bad
	run -1 "$SERVER" -t -f bad
}

@test "instances = 0, and cps where nobody waits: who is too many is dropped, and told" {
	start_builtin echo 'instances = 0'
	run -4 send -t 200 "$HERE" x
	wait_log 'FAIL: echo service_limit from=127.0.0.1'
	stop_server; : >"$LOG"
	start_builtin echo 'cps = 1/1h' 'overload = reject' 'wait = no'
	run -4 send -t 200 "$HERE" x y
	[[ $output == x ]]
	wait_log 'FAIL: echo service_limit from=127.0.0.1'
}

@test "echo sends back what came, byte for byte, and no process is made for it" {
	start_builtin echo
	run -0 send "$HERE" hello ""
	[[ $output == hello ]]
	run -0 send -l -z 65507 "$HERE"; [[ $output == 65507 ]]
	run -0 send -l -z 0 "$HERE"; [[ $output == 0 ]]
	run -0 send -n 100 -m 100 -w 64 "$HERE"
	[[ $output == "10000 0" ]]
	has_children 0
	[[ $(count_log 'START|EXIT') == 0 ]]
	wait_state 'echo live=0 started=10004'
}

@test "wait = no does for a built-in as well, and a classic line" {
	cat >t <<-X
	service echo
	{
		id = e
		type = INTERNAL
		wait = no
		user = $ME
		listen = udp:127.0.0.1:0
	}
	X
	chmod 644 t
	AS_ME="" start_server -f t
	run -0 send "${ADDRESSES[0]}" hi
	[[ $output == hi ]]
	echo "127.0.0.1:echo dgram udp wait $ME internal" >t
	run -0 "$SERVER" -t -f t
}

@test "discard answers nothing" {
	start_builtin discard
	run -4 send -t 100 "$HERE" x y
	[[ -z $output ]]
	wait_state 'discard live=0 started=1'
}

@test "daytime is a line, time are four bytes since 1900, chargen is a full line" {
	requires od
	start_builtin daytime 'only_from = 127.0.0.1'
	run -0 send "$HERE" x
	[[ $output =~ ^[A-Z][a-z]{2}\ [A-Z][a-z]{2}\ [\ 0-9][0-9]\ [0-9:]{8}\ 20[0-9]{2}$'\r' ]]
	start_builtin time 'only_from = 127.0.0.1'
	local t; t=$((0x$(send "$HERE" x | od -An -tx1 | tr -d ' \n') - 2208988800))
	((t >= EPOCHSECONDS - 2 && t <= EPOCHSECONDS + 2))
	start_builtin chargen 'only_from = 127.0.0.1'
	run -0 send -l "$HERE" x
	((output >= 74 && output <= 512 && output % 74 == 0))
	run -0 send "$HERE" x
	[[ ${lines[0]} == ' !"#$%&'* ]]
}

@test "T16: daytime, time and chargen are errors without only_from" {
	local s
	for s in daytime time chargen; do
		refused "$s"
		[[ $output == *"error: "*only_from* ]]
		refused "$s" 'no_access = 10.0.0.0/8'
		[[ $output == *"error: "*only_from* ]]
	done
	for s in echo discard; do
		"$SERVER" -t -f <(:) || :
		{ echo "service $s {"; echo "type = INTERNAL UNLISTED"; echo "socket_type = dgram"; echo "wait = yes"; echo "user = $ME"; echo "protocol = udp"; echo "port = 4000"; echo "}"; } >good
		chmod 644 good
		run -0 "$SERVER" -t -f good
	done
}

@test "a built-in that is none is an error" {
	refused nothing
	[[ $output == *"error: "*nothing* ]]
}

@test "only_from, no_access and source_cps hold" {
	start_builtin echo 'no_access = 127.0.0.2' 'source_cps = 5/1h'
	run -4 send -t 100 -b 127.0.0.2 "$HERE" x
	wait_log 'FAIL: echo address from=127.0.0.2'
	run -0 send "$HERE" 1 2 3 4 5
	[[ $output == 12345 ]]
	run -4 send -t 100 "$HERE" 6
	wait_log 'FAIL: echo source_rate from=127.0.0.1'
	run -0 send -b 127.0.0.3 "$HERE" 1
}

@test "cps holds: who comes too often waits in the queue" {
	start_builtin echo 'cps = 3/1h'
	run -0 send "$HERE" 1 2 3
	[[ $output == 123 ]]
	run -4 send -t 100 "$HERE" 4
	wait_log 'PAUSE: echo service_limit'
}

@test "T16: a source port below 512 is not answered, 512 is" {
	requires_root
	start_builtin echo
	local p
	for p in 1 7 19 53 511; do
		run -4 send -t 60 -b "127.0.0.8:$p" "$HERE" x
		[[ -z $output ]]
	done
	run -0 send -b 127.0.0.8:512 "$HERE" x
	[[ $output == x ]]
	wait_state 'echo live=0 started=1 '
}

@test "T16: a source port that is a built-in's of this server is not answered; free of it, it is" {
	cat >t <<-X
	service echo
	{
		type = INTERNAL UNLISTED
		user = $ME
		listen = udp:127.0.0.1:0
	}
	service discard
	{
		type = INTERNAL UNLISTED
		user = $ME
		listen = udp:127.0.0.1:0
	}
	service mine
	{
		user = $ME
		listen = udp:127.0.0.1:0
		server = /bin/true
	}
	X
	chmod 644 t
	AS_ME="" start_server -f t
	local e=${ADDRESSES[0]} d=${ADDRESSES[1]} m=${ADDRESSES[2]}
	run -4 send -t 60 -b "127.0.0.9:${d##*:}" "$e" x
	run -4 send -t 60 -b "127.0.0.9:${e##*:}" "$e" x
	run -0 send -b "127.0.0.9:${m##*:}" "$e" x
	[[ $output == x ]]
}

@test "T16: two echos of this server cannot be set upon each other" {
	requires_root; requires python3
	cat >t <<-X
	service echo
	{
		id = a
		type = INTERNAL UNLISTED
		user = $ME
		listen = udp:127.0.0.1:0
	}
	service echo
	{
		id = b
		type = INTERNAL UNLISTED
		user = $ME
		listen = udp:127.0.0.1:0
	}
	X
	chmod 644 t
	AS_ME="" start_server -f t
	cat >spoof.py <<-'X'
	import socket, struct, sys
	a, b = int(sys.argv[1]), int(sys.argv[2])
	s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
	data = b"loop"
	udp = struct.pack("!HHHH", a, b, 8 + len(data), 0) + data
	lo = socket.inet_aton("127.0.0.1")
	ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, lo, lo)
	for i in range(10): s.sendto(ip + udp, ("127.0.0.1", 0))
	X
	python3 -S spoof.py "${ADDRESSES[0]##*:}" "${ADDRESSES[1]##*:}" || skip "no raw sockets"
	run -0 send "${ADDRESSES[0]}" ok; [[ $output == ok ]]
	run -0 send "${ADDRESSES[1]}" ok; [[ $output == ok ]]
	wait_state 'a live=0 started=1 refused=0'; wait_state 'b live=0 started=1 refused=0'
}

@test "over IPv6 and on a UNIX socket, and from the address that was asked" {
	cat >t <<-X
	service echo
	{
		type = INTERNAL UNLISTED
		user = $ME
		listen = udp:0 unix-dgram:$PWD/sock
	}
	X
	chmod 644 t
	AS_ME="" start_server -f t
	local p=${ADDRESSES[0]##*:}
	run -0 send -f "udp:127.0.0.7:$p" x; [[ $output == "127.0.0.7:$p x" ]]
	run -0 send -f "udp:[::1]:$p" x; [[ $output == "::1:$p x" ]]
	run -0 send -b me "unix-dgram:$PWD/sock" x; [[ $output == x ]]
}

@test "T16: while they are flooded others are served" {
	cat >t <<-X
	service echo
	{
		type = INTERNAL UNLISTED
		user = $ME
		listen = udp:127.0.0.1:0
	}
	service hello
	{
		type = UNLISTED
		user = $ME
		listen = tcp:127.0.0.1:0
		exec = echo hello
	}
	X
	chmod 644 t
	AS_ME="" start_server -q -f t
	send -t 300 -n 50 -m 2000 -w 4000 "${ADDRESSES[0]}" >/dev/null 3>&- & local p=$! t
	t=$(now_ms)
	for _ in 1 2 3 4 5; do run -0 ask; [[ $output == hello ]]; done
	(($(now_ms) - t < 3000))
	wait "$p" || :
}

# In a network of its own every datagram is seen: for each that pretends to come from somewhere, how many
# follow, and of how many bytes.
@test "T16: spoofed, broadcast, multicast, empty, whole and broken datagrams: no loop, and no more bytes back than came" {
	requires_root; requires python3 ip nsenter
	unshare -n true 2>/dev/null || skip "no namespaces"
	local s
	for s in echo discard chargen daytime time; do
		printf 'service %s\n{\n\ttype = INTERNAL UNLISTED\n\tuser = %s\n\tlisten = udp:0\n' $s "$ME"
		[[ $s == echo || $s == discard ]] || printf '\tonly_from = 10.9.0.1\n'
		echo '}'
	done >t
	chmod 644 t
	cat >in.sh <<-'X'
	ip link set lo up
	ip addr add 10.9.0.1/24 brd 10.9.0.255 dev lo || exit 9
	exec "$@"
	X
	cat >spoof.py <<-'X'
	import select, socket, struct, sys, time
	ports = dict(zip(sys.argv[1::2], map(int, sys.argv[2::2])))
	raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW); raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
	seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)); seen.bind(("lo", 3))
	seen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
	def sum16(b):
	    b += b"\0" * (len(b) % 2)
	    t = sum(struct.unpack(f"!{len(b) // 2}H", b))
	    while t >> 16: t = (t & 0xffff) + (t >> 16)
	    return ~t & 0xffff
	def send(src, sport, dport, data=b"x" * 20, dst="127.0.0.1", check=None):
	    a, b = socket.inet_aton(src), socket.inet_aton(dst)
	    udp = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
	    c = sum16(a + b + struct.pack("!BBH", 0, 17, len(udp)) + udp) or 0xffff
	    if check is not None: c = c ^ check or 1
	    udp = udp[:6] + struct.pack("!H", c) + udp[8:]
	    raw.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, a, b) + udp, (dst, 0))
	asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); asker.bind(("127.0.0.1", 0)); asker.settimeout(5)
	def barrier():		# when this has been answered all before it has been judged
	    for _ in range(3):
	        asker.sendto(b"barrier", ("127.0.0.1", ports["echo"]))
	        assert asker.recv(100) == b"barrier"
	def count():		# UDP datagrams that a built-in sent to somebody else: how many, and their bytes
	    n = size = 0
	    while select.select([seen], [], [], 0.005)[0]:
	        p, where = seen.recvfrom(70000)
	        if where[2] == 4 or p[0] >> 4 != 4 or p[9] != 17: continue	# each is seen going and coming
	        sport, dport, _, _ = struct.unpack("!HHHH", p[20:28])
	        if sport in ports.values() and dport != asker.getsockname()[1]: n += 1; size += len(p) - 28
	    return n, size
	worst, cases = 0, 0
	def case(name, most, *args, **more):
	    global worst, cases
	    count(); send(*args, **more); barrier(); barrier()
	    n, size = count()
	    data = more.get("data", b"x" * 20)
	    if args[1] in ports.values() and args[0] == "127.0.0.1" and more.get("dst", "127.0.0.1") == "127.0.0.1":
	        n -= 1; size -= len(data)	# the spoofed one itself
	    assert n <= most, (name, n)
	    assert size <= len(data) * most or name.startswith("told"), (name, size)
	    worst, cases = max(worst, n + 1), cases + 1
	for name, port in ports.items():
	    case(name + " from itself", 0, "127.0.0.1", port, port)
	    for other, p in ports.items(): case(f"{name} from {other}", 0, "127.0.0.1", p, port)
	    for src in ("10.9.0.255", "255.255.255.255", "224.0.0.1", "239.1.2.3", "240.0.0.1"):
	        case(f"{name} from {src}", 0, src, 5555, port, dst="10.9.0.1")
	    for p in (0, 1, 7, 13, 19, 37, 53, 123, 511): case(f"{name} from port {p}", 0, "127.0.0.1", p, port)
	    case(name + " bad checksum", 0, "127.0.0.1", 5555, port, check=0x5555)
	    case(name + ", only_from", 1 if name == "echo" else 0, "10.9.0.77", 5555, port, dst="10.9.0.1")
	case("echo, empty", 1, "127.0.0.1", 5555, ports["echo"], data=b"")
	case("echo", 1, "127.0.0.1", 5555, ports["echo"])
	case("echo to a broadcast", 1, "10.9.0.1", 5555, ports["echo"], dst="10.9.0.255")
	for name, n in (("discard", 0), ("chargen", 0), ("daytime", 0), ("time", 0)): case(name, n, "127.0.0.1", 5555, ports[name])
	# Who may ask gets what those services say.
	case("told chargen", 1, "10.9.0.1", 5555, ports["chargen"], dst="10.9.0.1")
	asker.sendto(b"y" * 65507, ("127.0.0.1", ports["echo"]))
	assert len(asker.recv(70000)) == 65507
	print(f"{cases} kinds: at most {worst} datagrams for one, never more bytes than came without only_from")
	X
	AS_ME="" WRAP="unshare -n sh in.sh" start_server -f t
	local i=0 words=()
	for s in echo discard chargen daytime time; do words+=("$s" "${ADDRESSES[i++]##*:}"); done
	timeout 60 nsenter -t "$PID" -n python3 -S spoof.py "${words[@]}" >said
	figure "$(<said)"
	has_children 0
}
