# PROXY headers in front of a service: proxy_protocol, proxy_from.
load helper

serves() { # serves [option...]: a service that tells whom it sees and repeats what it got
	start_server -o proxy_protocol=yes -o proxy_from=127.0.0.1 "$@" -o log_on_success='PID HOST PORT EXIT' \
		-s 127.0.0.1:0 'echo "$PROTO $REMOTE_ADDR $REMOTE_PORT $TCPLOCALIP $TCPLOCALPORT"; cat'
}
sees() { # sees HEADER [PAYLOAD]: sends both in one segment
	run -0 bash -c 'printf "$1" | "$2" -S -H "$3"' - "$1" "$PEER" "${2:-tcp:127.0.0.1:$PORT}"
}
V2='\r\n\r\n\x00\r\nQUIT\n'
V2_TCP4=$V2'\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x63\xd4\x31\x01\xbb'	# 192.0.2.7:54321 192.0.2.99:443
# python SCRIPT: with conn(): a connection, all(c, bytes): what it answers, v2(command, family, body)
python() {
	requires python3
	{ cat <<-'X'; cat; } >script.py
	import os, socket, struct, sys, time
	port = int(sys.argv[1])
	def conn(source="127.0.0.1"):
	    c = socket.create_connection(("127.0.0.1", port), source_address=(source, 0)); c.settimeout(8)
	    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); return c
	def rest(c):
	    d = b""
	    while x := c.recv(1 << 16): d += x
	    return d
	def all(c, b, half=True):
	    c.sendall(b)
	    if half: c.shutdown(1)
	    return rest(c)
	def v2(command, family, body, length=None):
	    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack("!H", len(body) if length is None else length) + body
	four = bytes([192, 0, 2, 7, 192, 0, 2, 99]) + struct.pack("!HH", 54321, 443)
	seen = b"TCP 192.0.2.7 54321 192.0.2.99 443\n"
	X
	timeout 20 python3 script.py "$PORT"
}

@test "version 1: the client is whom the header names, for the environment and the log; the payload follows" {
	serves
	sees 'PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\nhello'
	[[ $output == $'TCP 192.0.2.7 54321 192.0.2.99 443\nhello' ]]
	wait_log 'START: sh pid=[0-9]+ from=192.0.2.7 port=54321$'
	sees 'PROXY TCP6 2001:db8::7 2001:db8::63 1 65535\r\nsix'
	[[ $output == $'TCP 2001:db8::7 1 2001:db8::63 65535\nsix' ]]
	sees 'PROXY TCP6 ::ffff:192.0.2.7 2001:db8::63 1 2\r\n'
	[[ $output == "TCP 192.0.2.7 1 "* ]]
}

@test "version 2: TCP over IPv4 and IPv6, with TLVs, to the byte" {
	serves
	python <<-'X'
	assert all(conn(), v2(0x21, 0x11, four) + b"payload\0\r\n") == seen + b"payload\0\r\n"
	tlv = b"\x04\x00\x05hello" + b"\x03\x00\x04\0\0\0\0"
	assert all(conn(), v2(0x21, 0x11, four + tlv) + b"x") == seen + b"x"
	six = bytes.fromhex("20010db8000000000000000000000007" "20010db8000000000000000000000063") + struct.pack("!HH", 5, 6)
	assert all(conn(), v2(0x21, 0x21, six) + b"x") == b"TCP 2001:db8::7 5 2001:db8::63 6\nx"
	assert all(conn(), v2(0x21, 0x11, four + b"\x04" + struct.pack("!H", 4000) + bytes(4000)) + b"x") == seen + b"x"
	assert all(conn(), v2(0x21, 0x11, four + bytes(4096 - 12)) + b"x") == seen + b"x"
	X
}

@test "LOCAL, UNKNOWN, a UNIX family, an unspecified one: the peer is who it is, and is served" {
	serves
	python <<-'X'
	for h in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 1 2 and more\r\n", v2(0x20, 0, b""), v2(0x20, 0x11, four),
	        v2(0x20, 0x11, b"abc"), v2(0x21, 0, b""), v2(0x21, 0x31, bytes(216))):
	    c = conn(); me = c.getsockname()[1]
	    want = b"TCP 127.0.0.1 %d 127.0.0.1 %d\nrest" % (me, port)
	    got = all(c, h + b"rest")
	    assert got == want, (h, got)
	X
}

@test "a header in single bytes, and the payload right behind it" {
	serves
	python <<-'X'
	for h in (b"PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\n", v2(0x21, 0x11, four + b"\x04\x00\x03abc")):
	    c = conn()
	    for i in range(len(h)): c.send(h[i:i + 1]); time.sleep(.001)
	    assert all(c, b"tail") == seen + b"tail"
	    # and cut once at each place
	    for i in range(1, len(h), 7):
	        c = conn(); c.send(h[:i]); time.sleep(.003)
	        assert all(c, h[i:] + b"tail") == seen + b"tail", i
	X
}

@test "no byte of a large payload is lost behind the header" {
	requires python3
	serves
	python <<-'X'
	import threading
	body = os.urandom(3_000_000)
	c = conn()
	t = threading.Thread(target=lambda: (c.sendall(v2(0x21, 0x11, four) + body), c.shutdown(1))); t.start()
	got = rest(c); t.join()
	assert got == seen + body, len(got)
	X
}

@test "bad, missing and overlong headers are refused at once, with FAIL … proxy, and start nothing" {
	serves
	python <<-'X'
	bad = [b"GET / HTTP/1.0\r\n\r\n", b"\r\n\r\n\r\n", b"PROXY\r\n", b"PROXY TCP4\r\n", b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
	    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
	    b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", b"PROXY TCP4 ::1 ::1 1 2\r\n",
	    b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
	    b"PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", b"PROXY UNKNOWNX\r\n", b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
	    b"PROXY UNKNOWN " + b"x" * 600 + b"\r\n", b"PROXY " + b"x" * 530, v2(0x11, 0x11, four), v2(0x22, 0x11, four),
	    v2(0x21, 0x41, four), v2(0x21, 0x13, four), v2(0x21, 0x11, four[:11]), v2(0x21, 0x21, four), v2(0x21, 0x31, four),
	    v2(0x21, 0x11, four, 4097), v2(0x20, 0, b"", 65535), b"", b"PROXY TCP4 1.2.3.4"]
	for h in bad:
	    c, start = conn(), time.time()
	    got = b""
	    try: got = all(c, h, half=h in (b"", bad[-1]))
	    except ConnectionResetError: pass
	    assert got == b"" and time.time() - start < 3, (h, got)
	print(len(bad))
	X
	until_true 5 log_has 30 'FAIL: sh proxy from=127.0.0.1$'
	! logged START || die "started"
}

@test "a header that is late is refused after five seconds, and holds up nobody" {
	serves -o instances=2
	"$PEER" -t 9000 -s "PROXY TCP4 192." "tcp:127.0.0.1:$PORT" >slow 3>&- & local p=$! start; start=$(now_ms)
	sees 'PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\n'
	[[ $output == "TCP 192.0.2.7"* ]]
	wait "$p" || :
	(($(now_ms) - start >= 4900 && $(now_ms) - start < 8000))
	[[ ! -s slow ]]
	wait_log 'FAIL: sh proxy from=127.0.0.1$'
}

@test "a peer outside proxy_from is refused, whatever header it sends" {
	serves
	run "$PEER" -b 127.0.0.2 -s $'PROXY TCP4 192.0.2.7 192.0.2.99 1 2\r\nx' -H "tcp:127.0.0.1:$PORT"
	[[ -z $output ]]
	wait_log 'FAIL: sh proxy from=127.0.0.2$'
	! logged START || die "started"
}

@test "only_from, no_access, per_source judge the client that the header names, not the balancer" {
	serves -o only_from='192.0.2.0/24' -o no_access=192.0.2.66 -o per_source=1
	sees 'PROXY TCP4 192.0.2.7 192.0.2.99 1 2\r\n'; [[ $output == "TCP 192.0.2.7"* ]]
	sees 'PROXY TCP4 192.0.2.66 192.0.2.99 1 2\r\n'; [[ -z $output ]]
	wait_log 'FAIL: sh address from=192.0.2.66$'
	sees 'PROXY TCP4 198.51.100.1 192.0.2.99 1 2\r\n'; [[ -z $output ]]
	wait_log 'FAIL: sh address from=198.51.100.1$'
	sees 'PROXY UNKNOWN\r\n'; [[ -z $output ]]
	wait_log 'FAIL: sh address from=127.0.0.1$'
	"$PEER" -s $'PROXY TCP4 192.0.2.8 192.0.2.99 1 2\r\n' -c go "tcp:127.0.0.1:$PORT" >held 3>&- & local p=$!
	wait_log 'START: .*from=192.0.2.8'
	sees 'PROXY TCP4 192.0.2.8 192.0.2.99 3 4\r\n'; [[ -z $output ]]
	wait_log 'FAIL: sh per_source_limit from=192.0.2.8$'
	sees 'PROXY TCP4 192.0.2.9 192.0.2.99 3 4\r\n'; [[ $output == "TCP 192.0.2.9"* ]]
	: >go; wait "$p"
}

@test "instances counts who is about to say who he is" {
	serves -o instances=1
	local before; before=$(nfds "$PID")
	more() { (($(nfds "$PID") > before)); }
	"$PEER" -s "PROXY" -c go "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	until_true 5 more
	"$PEER" -s $'PROXY TCP4 192.0.2.8 192.0.2.99 1 2\r\n' -H "tcp:127.0.0.1:$PORT" >b 3>&- & local b=$!
	wait_log 'PAUSE: sh service_limit'
	: >go
	wait "$a" || :; wait "$b"
	[[ $(<b) == "TCP 192.0.2.8"* && ! -s a ]]
}

@test "by UNIX socket: the header's client; LOCAL is the UNIX peer; user: says who may" {
	local me; me=$(id -un)
	start_server -o proxy_protocol=yes -o proxy_from="user:$me" -s unix:s 'echo "$PROTO $REMOTE_ADDR ${UNIXREMOTEEUID-none}"; cat'
	sees 'PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\nhello' unix:s
	[[ $output == $'TCP 192.0.2.7 none\nhello' ]]
	wait_log 'START: sh pid=[0-9]+ from=192.0.2.7$'
	sees "$V2"'\x20\x00\x00\x00hi' unix:s
	[[ $output == "UNIX "*" $(id -u)"$'\nhi' ]]
	start_server -o id=other -o proxy_protocol=yes -o proxy_from="user:daemon" unix:s2 cat
	sees 'PROXY TCP4 192.0.2.7 192.0.2.99 54321 443\r\nhello' unix:s2
	[[ -z $output ]]
	wait_log "FAIL: other proxy from=uid:$(id -u)\$"
}

@test "proxy_protocol without proxy_from is an error at its place; proxy_from alone a warning" {
	printf 'service x\n{\n\tlisten = 127.0.0.1:0\n\texec = cat\n\tproxy_protocol = yes\n}\n' >t
	run -1 "$SERVER" -t -f t
	[[ $output == t:5:*"error: proxy_protocol: proxy_from is to say"* ]]
	printf 'service x\n{\n\tlisten = 127.0.0.1:0\n\texec = cat\n\tproxy_from = 127.0.0.1\n}\n' >t
	run -0 "$SERVER" -t -f t
	[[ $output == t:5:*"warning: proxy_from has no effect"* ]]
}

@test "in front of a built-in, a relay and tcpmux" {
	printf 'defaults\n{\n\tproxy_protocol = yes\n\tproxy_from = 127.0.0.1\n}\n' >t
	printf 'service echo\n{\n\ttype = INTERNAL\n\tlisten = 127.0.0.1:0\n}\nservice tcpmux\n{\n\ttype = INTERNAL\n\tlisten = 127.0.0.1:0\n}\n' >>t
	printf 'service who\n{\n\ttype = TCPMUX\n\tuser = %s\n\tshell = echo $REMOTE_ADDR; cat\n}\n' "$ME" >>t
	start_server -f t
	sees 'PROXY TCP4 192.0.2.7 192.0.2.99 1 2\r\nhello' "tcp:127.0.0.1:${PORTS[echo]}"; [[ $output == hello ]]
	wait_log 'START: echo pid=[0-9]+ from=192.0.2.7$'
	sees 'PROXY TCP4 192.0.2.7 192.0.2.99 1 2\r\nwho\r\nx' "tcp:127.0.0.1:${PORTS[tcpmux]}"
	[[ $output == $'192.0.2.7\nx' ]]
	wait_log 'START: who pid=[0-9]+ from=192.0.2.7$'
}

@test "who ends his header when all are told to end gets no command" {
	start_server -o proxy_protocol=yes -o proxy_from=127.0.0.1 -o kill_after=60s 127.0.0.1:0 \
		sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	python <<-X
	def up():
	    c = conn(); c.sendall(b"PROXY UNKNOWN\r\n"); assert c.recv(3) == b"up\n"
	    return c
	held = up()
	late = conn(); late.sendall(b"PROXY UNKN")
	behind = up()	# so late has been accepted
	os.kill($PID, 2)
	while b" STOP: " not in open("$LOG", "rb").read(): time.sleep(.01)
	try:
	    late.sendall(b"OWN\r\n"); rest(late)
	except OSError: pass
	X
	wait_end; [[ $STATUS == 0 ]]
	log_has 2 START
}

@test "the header comes while the worker is being replaced: the connection ends, and counts no more" {
	printf 'service echo\n{\n\ttype = INTERNAL\n\tlisten = 127.0.0.1:0\n\tproxy_protocol = yes\n\tproxy_from = 127.0.0.1\n\tinstances = 1\n}\n' >t
	start_server -f t
	python <<-X
	import signal
	def kids():
	    try: return [k for k in open("/proc/$PID/task/$PID/children").read().split() if open(f"/proc/{k}/stat").read().split()[2] != "Z"]
	    except (FileNotFoundError, ProcessLookupError): return []
	for i in range(3):
	    while not (w := kids()): time.sleep(.005)
	    c = conn(); c.send(b"PROXY UNKN"); time.sleep(.05)
	    os.kill(int(w[0]), signal.SIGKILL)
	    while w[0] in kids(): pass
	    time.sleep(.005)
	    try: all(c, b"OWN\r\nx")
	    except OSError: pass
	X
	echoes() { sees 'PROXY UNKNOWN\r\nhello'; [[ $output == hello ]]; }
	until_true 5 echoes
}

@test "descriptors and connections are given back: 300 good, bad and broken ones" {
	serves
	local before; before=$(nfds "$PID")
	python <<-'X'
	for i in range(100):
	    c = conn(); c.send(b"PROXY TCP4"); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); c.close()
	    c = conn(); c.send(b"nonsense"); c.close()
	    if i % 4 == 0: all(conn(), v2(0x21, 0x11, four))
	X
	settled() { has_children 0 && [[ $(nfds "$PID") -le $before ]]; }
	until_true 5 settled
}

# --- the real one in front

# haproxy_up CONFIG: with a socket at descriptor 33 that listens already; sets HAP and FRONT
haproxy_up() {
	rm -f front
	python3 - "$1" <<-'X' >hap.log 2>&1 3>&- &
	import os, socket, sys
	s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(50)
	os.dup2(s.fileno(), 33)
	open("front.tmp", "w").write(str(s.getsockname()[1])); os.rename("front.tmp", "front")
	os.execvp("haproxy", ["haproxy", "-db", "-f", sys.argv[1]])
	X
	HAP=$!
	until_true 5 test -e front || die "$(<hap.log)" || return
	FRONT=$(<front)
}
haproxy_down() { kill "$HAP"; wait "$HAP" || :; }

@test "HAProxy in front: send-proxy, send-proxy-v2, by TCP and by UNIX socket, with checks" {
	requires haproxy python3
	local how back
	start_server -o proxy_protocol=yes -o proxy_from="127.0.0.1 user:$ME" -o listen+=unix:s -s 127.0.0.1:0 'echo "$REMOTE_ADDR"; cat'
	for how in send-proxy send-proxy-v2; do
		for back in "127.0.0.1:$PORT" "unix@$PWD/s"; do
			printf '%s\n' 'defaults' 'mode tcp' 'timeout connect 5s' 'timeout client 10s' 'timeout server 10s' \
				'listen f' "bind fd@33" "server a $back $how check inter 30ms" >hap.cfg
			haproxy_up hap.cfg
			run "$PEER" -b 127.0.0.5 -s hello -H "tcp:127.0.0.1:$FRONT"
			[[ $status == 0 && $output == $'127.0.0.5\nhello' ]] || die "$how $back: $output" "$(<hap.log)" || return
			haproxy_down
		done
	done
	! logged 'FAIL: .*from=127.0.0.5' || die "refused"
	until_true 5 has_children 0
}

@test "etc/haproxy.cfg as it stands, with other addresses: three servers, balanced, one that goes and comes back" {
	requires haproxy python3
	local i n ports=() pids=() seen=""
	for n in one two three; do
		start_server -o id="$n" -o proxy_protocol=yes -o proxy_from=127.0.0.1 -s 127.0.0.1:0 "echo $n \$REMOTE_ADDR; tr a-z A-Z"
		ports+=("$PORT") pids+=("$PID")
	done
	sed -e "s/bind    :2000/bind fd@33/" -e "s/192.0.2.11:2000/127.0.0.1:${ports[0]}/" -e "s/192.0.2.12:2000/127.0.0.1:${ports[1]}/" \
		-e "s/192.0.2.13:2000/127.0.0.1:${ports[2]}/" -e 's/inter 2s/inter 50ms/' "$BATS_TEST_DIRNAME/../etc/haproxy.cfg" >hap.cfg
	run ! grep -qE '192.0.2.1[123]:|bind.*2000' hap.cfg
	run haproxy -c -f "$BATS_TEST_DIRNAME/../etc/haproxy.cfg"
	[[ $status == 0 && $output != *WARNING* && $output != *ALERT* ]] || die "$output" || return
	haproxy_up hap.cfg
	all_three() {
		run -0 "$PEER" -b 127.0.0.6 -s hello -H "tcp:127.0.0.1:$FRONT"
		[[ $output == *" 127.0.0.6"$'\n'HELLO ]] || return
		seen+=" ${output%% *}"
		[[ $seen == *one* && $seen == *two* && $seen == *three* ]]
	}
	until_true 5 all_three
	PID=${pids[1]}; stop_server
	seen=""
	for i in {1..12}; do all_three || :; [[ $output == *HELLO ]] || die "lost: $output" || return; done
	[[ $seen != *two* ]]
	! logged 'FAIL: [a-z]+ address' || die "checks are refused"
	haproxy_down
}
