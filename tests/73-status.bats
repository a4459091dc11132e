# The built-in service status: what it answers to whom, and whether what it says is so.
load helper

table() { cat >"${1:-t}"; }
# A status service with further lines, then what stands on standard input.
status() {
	{ printf 'service status\n{\n\ttype = INTERNAL\n\tlisten = tcp:127.0.0.1:0\n\tlog_on_success =\n'
	printf '\t%s\n' "$@"; echo '}'; cat; } >t
	start_server -f t
	PORT=${PORTS[status]}
}
fetch() { # fetch PATH [HOST]: the whole answer in `answer`, its body in `body`
	"$PEER" -t 20000 -s "GET $1 HTTP/1.1"$'\r\n'"Host: ${2-localhost}"$'\r\n\r\n' "tcp:127.0.0.1:$PORT" >answer || return
	sed '1,/^\r$/d' answer >body
}
# holds EXPRESSION: of status.json as j, of its services by id as s.
holds() {
	fetch /status.json || return
	python3 - "$1" <<-'X'
	import json, sys
	j = json.load(open("body"))
	s = {x["id"]: x for x in j["services"]}
	sys.exit(not eval("(" + sys.argv[1] + ")"))
	X
}
until_holds() { until_true "${2:-10}" holds "$1" || { cat body; return 1; }; }
metrics() { fetch /metrics && python3 "$BATS_TEST_DIRNAME/openmetrics.py" <body >samples; }
sample() { grep -qxF -- "$1" samples || { echo "not there: $1"; cat samples; return 1; }; }

@test "each path says what it is, how long it is, and that nothing else is to be loaded or kept" {
	requires python3
	status <<<""
	timeout 20 python3 - "$PORT" <<-'X'
	import socket, sys
	def ask(what):
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); c.settimeout(10); c.sendall(what)
	    d = b""
	    while b := c.recv(65536): d += b
	    head, _, body = d.partition(b"\r\n\r\n")
	    lines = head.decode().split("\r\n")
	    return lines[0], dict(l.split(": ", 1) for l in lines[1:]), body
	for path, kind in (("/", "text/html; charset=utf-8"), ("/status.json", "application/json"),
	        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"), ("/healthz", "text/plain; charset=utf-8"),
	        ("/?still", "text/html; charset=utf-8"), ("/healthz?x=y", "text/plain; charset=utf-8")):
	    first, h, body = ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
	    assert first == "HTTP/1.1 200 OK", (path, first)
	    assert h["Content-Type"] == kind and int(h["Content-Length"]) == len(body) and body, (path, h)
	    assert h["Connection"] == "close" and h["Cache-Control"] == "no-store" and h["Date"].endswith("GMT"), h
	    assert h["X-Content-Type-Options"] == "nosniff" and h["Referrer-Policy"] == "no-referrer", h
	    assert h["Content-Security-Policy"].startswith("default-src 'none'; "), h
	    assert "unsafe" not in h["Content-Security-Policy"], h
	    head = ask(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
	    assert head[0] == first and head[2] == b"" and head[1]["Content-Type"] == kind, head
	    assert int(head[1]["Content-Length"]) > 0, head
	assert ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")[2] == b"ok\n"
	one, two = (ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in "12")
	nonce = one[1]["Content-Security-Policy"].split("'nonce-")[1].split("'")[0]
	assert len(nonce) == 32 and f'<style nonce="{nonce}">'.encode() in one[2] and nonce.encode() not in two[2]
	assert b"http-equiv=refresh" in one[2] and b"http-equiv" not in ask(b"GET /?still HTTP/1.0\r\n\r\n")[2]
	X
}

@test "what is no such request gets its status, and the next one is served" {
	requires python3
	status <<<""
	timeout 60 python3 - "$PORT" <<-'X'
	import socket, sys, time
	H = b"Host: localhost\r\n"
	def ask(what, slowly=False):
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); c.settimeout(5)
	    if slowly:
	        for i in range(len(what)): c.sendall(what[i:i + 1]); time.sleep(0.002)
	    else: c.sendall(what)
	    d = b""
	    while b := c.recv(65536): d += b
	    return d
	for want, what in (
	    (404, b"GET /x HTTP/1.1\r\n" + H + b"\r\n"), (404, b"GET /healthz/ HTTP/1.1\r\n" + H + b"\r\n"),
	    (404, b"GET /../etc/passwd HTTP/1.1\r\n" + H + b"\r\n"), (404, b"GET //evil/ HTTP/1.1\r\n" + H + b"\r\n"),
	    (404, b"HEAD /favicon.ico HTTP/1.1\r\n" + H + b"\r\n"), (404, b"GET /%2e HTTP/1.1\r\n" + H + b"\r\n"),
	    (405, b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\na=b"), (405, b"DELETE /x HTTP/1.1\r\n" + H + b"\r\n"),
	    (405, b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n"), (405, b"CONNECT a:1 HTTP/1.1\r\n" + H + b"\r\n"),
	    (405, b"get / HTTP/1.1\r\n" + H + b"\r\n"),
	    (400, b"GET / HTTP/1.1\r\n\r\n"), (400, b"GET / HTTP/1.1\r\n" + H + H + b"\r\n"),
	    (400, b"GET /\r\n\r\n"), (400, b"GET  / HTTP/1.1\r\n" + H + b"\r\n"), (400, b"GET / HTTP/1.1 \r\n" + H + b"\r\n"),
	    (400, b"GET / http/1.1\r\n" + H + b"\r\n"), (400, b"GET / HTTP/1.1x\r\n" + H + b"\r\n"),
	    (400, b"GET x HTTP/1.1\r\n" + H + b"\r\n"), (400, b"GET http:// HTTP/1.1\r\n" + H + b"\r\n"),
	    (400, b"GET /\x01 HTTP/1.1\r\n" + H + b"\r\n"), (400, b"GET /\0 HTTP/1.1\r\n" + H + b"\r\n"),
	    (400, b"GET / HTTP/1.1\r\n" + H + b"Bad Name: x\r\n\r\n"), (400, b"GET / HTTP/1.1\r\n" + H + b"A : x\r\n\r\n"),
	    (400, b"GET / HTTP/1.1\r\n" + H + b"A: x\r\n folded\r\n\r\n"), (400, b"GET / HTTP/1.1\r\n" + H + b"A: \0\r\n\r\n"),
	    (400, b"GET / HTTP/1.1\r\n" + H + b"no colon\r\n\r\n"), (400, b"GET / HTTP/1.1\r\n" + H + b": x\r\n\r\n"),
	    (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), (400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
	    (400, b"GET / HTTP/1.1\r\nHost: localhost:x\r\n\r\n"), (400, b"GET / HTTP/1.1\rHost: localhost\r\n\r\n"),
	    (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), (400, b"\0"), (400, b"{}\n"), (400, b"\xff" * 100),
	    (400, b"x" * 8192), (414, b"GET /" + b"x" * 9000), (431, b"GET / HTTP/1.1\r\n" + H + b"A: " + b"x" * 9000),
	    (431, b"GET / HTTP/1.1\r\n" + H + b"a: b\r\n" * 1400),
	    (505, b"GET / HTTP/2.0\r\n" + H + b"\r\n"), (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (505, b"GET / HTTP/0.9\r\n\r\n"),
	    (200, b"GET /healthz HTTP/1.0\r\n\r\n"), (200, b"GET /healthz HTTP/1.1\n" + b"host:localhost\n\n"),
	    (200, b"\r\n\r\nGET /healthz HTTP/1.1\r\n" + H + b"\r\n"), (200, b"GET /healthz HTTP/1.9\r\n" + H + b"\r\n"),
	    (200, b"GET http://localhost/healthz HTTP/1.1\r\nHost: evil\r\n\r\n"), (200, b"GET HTTP://127.0.0.1:80?x HTTP/1.1\r\n" + H + b"\r\n"),
	    (200, b"GET /healthz HTTP/1.1\r\n" + H + b"\r\nGET /x HTTP/1.1\r\n" + H + b"\r\n"),
	    (200, b"GET /healthz HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\nhello"),
	    (200, b"GET /healthz HTTP/1.1\r\n" + H + b"A: " + b"x" * 8000 + b"\r\n\r\n"),
	    # Names that somebody could make stand for this machine.
	    (403, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), (403, b"GET http://evil.example/ HTTP/1.1\r\n" + H + b"\r\n"),
	    (403, b"GET /metrics HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n"), (403, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
	    (403, b"GET / HTTP/1.1\r\nHost: xlocalhost\r\n\r\n"), (403, b"GET / HTTP/1.0\r\nHost: evil\r\n\r\n"),
	    (403, b"GET / HTTP/1.1\r\nHost: 127.0.0.1.evil\r\n\r\n"), (403, b"GET / HTTP/1.1\r\nHost: " + b"1" * 500 + b"\r\n\r\n"),
	    (200, b"GET / HTTP/1.1\r\nHost: LocalHost:8080\r\n\r\n"), (200, b"GET / HTTP/1.1\r\nHost: a.localhost.\r\n\r\n"),
	    (200, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"), (200, b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
	):
	    got = ask(what)
	    assert got.startswith(b"HTTP/1.1 %d " % want), (want, what[:80], got[:300])
	    assert got.count(b"\r\nDate: ") == 1, (what[:80], got)
	    if want == 405: assert b"\r\nAllow: GET, HEAD\r\n" in got, got
	    if what.startswith(b"HEAD"): assert got.endswith(b"\r\n\r\n"), got
	assert b" 200 OK" in ask(b"GET /healthz HTTP/1.1\r\n" + H + b"\r\n", True)
	X
	has_children 0
}

@test "every request cut short anywhere, or with a byte changed, is answered or let go, and the master lives" {
	requires python3
	status <<<""
	timeout 60 python3 - "$PORT" <<-'X'
	import random, socket, sys
	whole = b"GET http://localhost:80/healthz?a HTTP/1.1\r\nHost: [::1]:80\r\nX: y\r\n\r\n"
	def ask(what):
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); c.settimeout(5); c.sendall(what); c.shutdown(socket.SHUT_WR)
	    d = b""
	    while b := c.recv(65536): d += b
	    return d
	for i in range(len(whole)):
	    assert ask(whole[:i]) == b"" or i >= len(whole) - 1, i
	r = random.Random(1)
	for _ in range(300):
	    b = bytearray(whole)
	    for _ in range(r.randrange(1, 4)): b[r.randrange(len(b))] = r.randrange(256)
	    got = ask(bytes(b))
	    assert got == b"" or got[9:12] in (b"200", b"400", b"403", b"404", b"405", b"505"), (b, got)
	X
	fetch /healthz
	! logged ERROR || die "an error"
}

@test "a client that says nothing, or says it too slowly, is cut after ten seconds" {
	requires python3
	status <<<""
	timeout 30 python3 - "$PORT" <<-'X'
	import select, socket, sys, time
	start = time.time()
	silent, slow = (socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in "12")
	got, over = b"", {}
	slow.sendall(b"GET / HTTP/1.1\r\n")
	while len(over) < 2:
	    assert time.time() - start < 20
	    for c in select.select([x for x in (silent, slow) if x not in over], [], [], 0.3)[0]:
	        d = c.recv(65536)
	        if d: got += d
	        else: over[c] = time.time() - start
	    if slow not in over: slow.sendall(b"a: b\r\n")
	assert all(8 < t < 15 for t in over.values()), over
	assert got.startswith(b"HTTP/1.1 408 "), got
	X
	until_true 5 has_children 0
}

@test "status.json: what came, was refused, failed, and how many bytes" {
	requires python3
	status <<-X
	service cat
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
		instances = 7
		no_access = 127.0.0.9
	}
	service none
	{
		listen = 127.0.0.1:0
		exec = /no/such
		user = $ME
	}
	service off
	{
		listen = 127.0.0.1:1
		exec = cat
		user = $ME
		disable = yes
	}
	service wrong
	{
		listen = 127.0.0.1:2
		exec = cat
		user = nobody-of-that-name
	}
	service echo
	{
		type = INTERNAL
		listen = 127.0.0.1:0 udp:127.0.0.1:0
	}
	service local
	{
		listen = unix:sock
		exec = cat
		user = $ME
	}
	service tcpmux
	{
		type = INTERNAL
		listen = 127.0.0.1:0
	}
	service Muxed
	{
		type = TCPMUX
		exec = cat
		user = $ME
	}
	service one
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
		instances = 1
	}
	X
	holds 'len(j["services"]) == 10 and j["connections"] == [] and j["server"]["pid"] == '"$PID"
	holds 's["off"]["state"] == "disabled" and s["wrong"]["state"] == "faulty" and s["off"]["listeners"] == []'
	holds 's["wrong"]["last_error"].endswith("there is no such user") and s["off"]["last_error"] is None'
	holds 's["cat"] == {"id": "cat", "state": "listening", "listeners": ["tcp:127.0.0.1:'"${PORTS[cat]}"'"], "live": 0,
	    "limit": 7, "started": 0, "refused": {}, "failed": 0, "bytes_in": 0, "bytes_out": 0, "last_error": None}'
	run -0 "$PEER" -n 3 -s hello -H "tcp:127.0.0.1:${PORTS[cat]}"
	run "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:${PORTS[cat]}"
	run "$PEER" "tcp:127.0.0.1:${PORTS[none]}"
	run -0 "$PEER" -s bytes -H "tcp:127.0.0.1:${PORTS[echo]}"
	until_holds 's["cat"]["started"] == 3 and s["cat"]["live"] == 0 and s["cat"]["refused"] == {"address": 1} and
	    s["cat"]["bytes_in"] == 15 and s["cat"]["bytes_out"] == 15'
	until_holds 's["none"]["failed"] == 1 and s["none"]["last_error"] == "cannot execute \"/no/such\": No such file or directory"'
	until_holds 's["echo"]["started"] == 1 and s["echo"]["bytes_in"] == 5 == s["echo"]["bytes_out"]'
	python3 -c 'import socket, sys; c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.settimeout(5)
c.sendto(b"1234567", ("127.0.0.1", int(sys.argv[1]))); c.recv(10)' "$(printf '%s\n' "${ADDRESSES[@]}" | sed -n 's/^udp:.*://p')"
	until_holds 's["echo"]["started"] == 2 and s["echo"]["bytes_in"] == 12 == s["echo"]["bytes_out"]'
	run -0 "$PEER" -s x -H unix:sock
	until_holds 's["local"]["started"] == 1 and s["local"]["live"] == 0 and s["local"]["bytes_in"] is None'
	holds 's["Muxed"]["listeners"] == ["tcpmux:Muxed"] and s["Muxed"]["state"] == "listening"'
	holds 's["local"]["listeners"] == ["unix:sock"] and len(s["echo"]["listeners"]) == 2'
	# Who is connected.
	"$PEER" -s abc -c go "tcp:127.0.0.1:${PORTS[one]}" >/dev/null 3>&- & local a=$!
	"$PEER" -s abc -c go "unix:sock" >/dev/null 3>&- & local b=$!
	until_holds 'len(j["connections"]) == 2 and s["one"]["live"] == 1 and j["server"]["live"] == 2 + s["status"]["live"]'
	until_holds '[(c["from"], type(c["port"]), c["bytes_in"], c["bytes_out"]) for c in j["connections"] if c["service"] == "one"] ==
	    [("127.0.0.1", int, 3, 3)]'
	holds 'all(0 <= c["age"] < 60 and c["conn"] > 0 and c["pid"] in map(int, "'"$(children "$PID")"'".split()) for c in j["connections"])'
	holds 'all(0 <= c["idle"] <= c["age"] for c in j["connections"] if c["service"] == "one")'
	holds '[c for c in j["connections"] if c["service"] == "local"][0]["from"] == "uid:'"$(id -u)"'"'
	holds '[c for c in j["connections"] if c["service"] == "local"][0]["idle"] is None'
	"$PEER" -s abc -c go "tcp:127.0.0.1:${PORTS[one]}" >/dev/null 3>&- & local c=$!
	until_holds 's["one"]["state"] == "paused" and s["one"]["limit"] == 1'
	# Its entry goes, who is connected stays.
	sed -i '/^service one$/,/^}/d' t
	kill -HUP "$PID"
	wait_log 'RELOAD: .* 1 removed'
	until_holds 's["one"]["state"] == "draining" and s["one"]["live"] >= 1 and s["one"]["listeners"] == [] and j["server"]["reloads"] == 1'
	metrics
	sample "server_service_state{server_service_state='draining',service='one'} 1"
	sample "server_service_started_total{service='cat'} 3"
	sample "server_service_refused_total{reason='address',service='cat'} 1"
	sample "server_service_failed_total{service='none'} 1"
	sample "server_service_received_bytes_total{service='echo'} 12"
	sample "server_service_sent_bytes_total{service='echo'} 12"
	sample "server_service_listeners{service='cat'} 1"
	sample "server_service_limit{service='cat'} 7"
	sample "server_service_live{service='local'} 1"
	sample "server_service_state{server_service_state='faulty',service='wrong'} 1"
	sample "server_reloads_total{} 1"
	! grep -q "received_bytes_total{service='local'}" samples || die "bytes of a UNIX socket"
	: >go; wait "$a"; wait "$b"; wait "$c" || :
	until_holds '"one" not in s'
}

@test "bytes: a reply of megabytes, a side that was shut by the command, a relay, a group that goes on" {
	requires python3
	printf 'import socket\ns = socket.socket(fileno=0)\ns.sendall(b"x" * 1000)\ns.shutdown(1)\nwhile s.recv(100): pass\n' >shut.py
	status <<-X
	service big
	{
		listen = 127.0.0.1:0
		shell = head -c 3000000 /dev/zero
		user = $ME
	}
	service shut
	{
		listen = 127.0.0.1:0
		exec = python3 $PWD/shut.py
		user = $ME
	}
	service relay
	{
		listen = 127.0.0.1:0
		redirect = unix:@status-$$-$BATS_TEST_NUMBER
	}
	service target
	{
		listen = unix:@status-$$-$BATS_TEST_NUMBER
		exec = cat
		user = $ME
	}
	service group
	{
		listen = 127.0.0.1:0
		shell = echo one; (sleep 0.3; echo two) &
		user = $ME
	}
	X
	"$PEER" "tcp:127.0.0.1:${PORTS[big]}" | cmp - <(head -c 3000000 /dev/zero)
	until_holds 's["big"]["bytes_out"] == 3000000 and s["big"]["bytes_in"] == 0'
	run -0 "$PEER" -s "$(printf '%050d' 0)" -H "tcp:127.0.0.1:${PORTS[shut]}"
	until_holds 's["shut"]["live"] == 0 and s["shut"]["bytes_out"] == 1000 and s["shut"]["bytes_in"] == 50'
	run -0 "$PEER" -s relayed -H "tcp:127.0.0.1:${PORTS[relay]}"; [[ $output == relayed ]]
	until_holds 's["relay"]["bytes_out"] == 7 == s["relay"]["bytes_in"]'
	run -0 "$PEER" "tcp:127.0.0.1:${PORTS[group]}"; [[ ${#lines[@]} == 2 ]]
	until_holds 's["group"]["bytes_out"] == 8'
}

@test "on the page a count of no bytes is paler than any other" {
	status <<-X
	service held
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
	}
	X
	local to
	exec {to}<>"/dev/tcp/127.0.0.1/${PORTS[held]}"
	until_holds 's["held"]["live"] == 1'
	fetch /
	grep -o 'class="[^"]*" data-label="\(In\|Out\)">0 B<' body >cells
	! grep -v '"n zero"' cells || die "$(<cells)"
	exec {to}>&-
}

@test "an address that waits to be bound, and one that could be bound later" {
	requires python3
	status <<-X
	service waits
	{
		listen = 127.0.0.1:$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
		exec = cat
		user = $ME
	}
	X
	local port=${PORTS[waits]}; stop_server
	python3 -c 'import socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1]))); open("bound", "w"); sys.stdin.read()' "$port" <> <(:) 3>&- & local p=$!
	until_true 5 test -e bound
	start_server -f t; PORT=${PORTS[status]}
	holds 's["waits"]["state"] == "faulty" and s["waits"]["listeners"] == [] and "in use" in s["waits"]["last_error"]'
	metrics; sample "server_service_state{server_service_state='faulty',service='waits'} 1"
	kill "$p"; wait "$p" || :
	until_holds 's["waits"]["state"] == "listening"'
}

@test "a service whose new entry is faulty is one, with the fault; a command that has the socket is no pause" {
	requires python3
	status <<-X
	service cat
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
	}
	service waits
	{
		listen = udp:127.0.0.1:0
		wait = yes
		shell = : >$PWD/up; until [ -e $PWD/go ]; do sleep 0.01; done
		user = $ME
	}
	X
	"$CLIENT" -q -w 0.1 "$(printf '%s\n' "${ADDRESSES[@]}" | grep '^udp:')" x </dev/null || :
	until_true 5 test -e up
	holds 's["waits"]["live"] == 1 and s["waits"]["state"] == "listening"'
	sed -i 's/exec = cat/exec = cat\ninstances = many/' t
	run "$SERVERCTL" -C "$CTL" reload
	[[ $status == 1 ]]
	until_holds '[x["state"] for x in j["services"] if x["id"] == "cat"] == ["listening"] and "many" in s["cat"]["last_error"]'
	: >go
}

@test "two services of one id are two in JSON, and one sum in the metrics" {
	requires python3
	status <<-X
	service twin
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
		instances = 2
	}
	service other
	{
		id = twin
		listen = unix:u
		exec = cat
		user = $ME
		instances = 3
	}
	X
	run -0 "$PEER" -s a -H unix:u
	run -0 "$PEER" -s a -H "tcp:127.0.0.1:${PORTS[twin]}"
	until_holds '[x["started"] for x in j["services"] if x["id"] == "twin"] == [1, 1]'
	metrics
	sample "server_service_started_total{service='twin'} 2"
	sample "server_service_limit{service='twin'} 5"
	sample "server_service_listeners{service='twin'} 2"
}

@test "T17: a hostile name, and what it makes an error say, stays text everywhere" {
	requires python3
	status <<-X
	service evil
	{
		id = '<b>"\\{},\$(x)</b><script>alert(1)</script>&amp;'
		listen = 127.0.0.1:0
		exec = "/no/<img src=x onerror=alert(1)>\\"&'"
		user = $ME
	}
	service $(printf 'bytes\xff\xc3\xa9\xe2\x80\xaex')
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
	}
	X
	local name; for name in "${!PORTS[@]}"; do run "$PEER" -H "tcp:127.0.0.1:${PORTS[$name]}"; done
	until_holds 'any(x["failed"] for x in j["services"])'
	python3 - <<-'X'
	import json
	j = json.load(open("body"))
	ids = [x["id"] for x in j["services"]]
	assert ids[1] == '<b>"\\{},$(x)</b><script>alert(1)</script>&amp;', ids
	assert ids[2] == "bytes\ufffd\u00e9\u202ex", ids
	assert "<img src=x onerror=alert(1)>" in j["services"][1]["last_error"], j["services"][1]
	X
	metrics
	grep -qF '<script>alert(1)</script>' samples
	fetch /
	python3 - <<-'X'
	import html.parser
	class P(html.parser.HTMLParser):
	    tags, text = {}, ""
	    def handle_starttag(self, tag, attrs):
	        self.tags[tag] = self.tags.get(tag, 0) + 1
	        assert not any(k.startswith("on") or k == "src" or k == "style" for k, _ in attrs), (tag, attrs)
	    def handle_data(self, d): self.text += d
	p = P(); b = open("body", "rb").read(); p.feed(b.decode("utf-8"))
	assert not {"script", "img", "b", "iframe"} & set(p.tags), p.tags
	assert '<b>"\\{},$(x)</b><script>alert(1)</script>&amp;' in p.text and "onerror=alert(1)" in p.text
	assert "\u202e" not in p.text
	X
}

@test "instances, per_source, access_times and only_from hold for status too" {
	status 'instances = 1' <<<""
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local a=$!
	until_true 5 has_children 1
	"$PEER" -t 20000 -s $'GET /healthz HTTP/1.0\r\n\r\n' "tcp:127.0.0.1:$PORT" >b 3>&- & local b=$!
	wait_log 'PAUSE: status service_limit'
	[[ ! -s b ]]
	kill "$a"; wait "$a" || :
	wait "$b"
	grep -q '^ok$' b
	stop_server
	status 'per_source = 1' 'no_access = 127.0.0.9' <<<""
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & a=$!
	until_true 5 has_children 1
	run "$PEER" -s $'GET / HTTP/1.0\r\n\r\n' "tcp:127.0.0.1:$PORT"; [[ -z $output ]]
	wait_log 'FAIL: status per_source_limit'
	kill "$a"; wait "$a" || :
	until_true 5 has_children 0
	run "$PEER" -b 127.0.0.9 -s $'GET / HTTP/1.0\r\n\r\n' "tcp:127.0.0.1:$PORT"; [[ -z $output ]]
	wait_log 'FAIL: status address from=127.0.0.9'
	fetch /healthz
}

@test "status without only_from answers loopback and UNIX peers; with it any name that is asked for" {
	requires python3
	table <<-X
	service status
	{
		type = INTERNAL
		listen = 127.0.0.1:0 unix:s
	}
	X
	run -0 "$SERVER" --dump -f t
	grep -qE 'only_from += 127\.0\.0\.0/8 ::1' <<<"$output"
	start_server -f t
	PORT=${PORTS[status]}
	fetch /healthz; grep -q '^ok$' body
	# A proxy of this machine may ask by any name over a UNIX socket, and a browser does not come that way.
	run -0 "$PEER" -s $'GET /healthz HTTP/1.1\r\nHost: status.example.org\r\n\r\n' unix:s
	[[ ${lines[0]} == *200\ OK* ]]
	fetch /healthz status.example.org; grep -q '^HTTP/1.1 403 ' answer
	stop_server
	status 'only_from = 127.0.0.1 192.0.2.0/24' <<<""
	fetch /healthz status.example.org; grep -q '^HTTP/1.1 200 ' answer
}

@test "from another address: refused" {
	requires_root; requires ip unshare
	table <<-'X'
	service status
	{
		type = INTERNAL
		listen = *:0
	}
	X
	cat >in.sh <<-X
	ip link set lo up; ip addr add 192.0.2.1/24 dev lo
	"$SERVER" -f t -o user=root -r 9 9>lines & s=\$!
	until grep -q ready lines; do :; done
	read -r x y a <lines
	"$PEER" -s "GET /healthz HTTP/1.0
	
	" tcp:127.0.0.1:\${a##*:} >near
	"$PEER" -s "GET /healthz HTTP/1.0
	
	" tcp:192.0.2.1:\${a##*:} >far
	kill \$s; wait \$s
	X
	timeout 20 unshare -n sh in.sh 2>err
	grep -q '^ok$' near
	[[ ! -s far ]]
	grep -q 'FAIL: status address from=192.0.2.1$' err
}

@test "who answers: as root nobody, no new privileges, no descriptor of the master's" {
	status <<-X
	service cat
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
	}
	X
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local a=$! c
	until_true 5 has_children 1
	c=$(children "$PID")
	until_true 5 grep -qx $'NoNewPrivs:\t1' "/proc/$c/status"
	if [[ $(id -u) == 0 ]]; then
		local u; u=$(id -u nobody)
		grep -qx $'Uid:\t'"$u"$'\t'"$u"$'\t'"$u"$'\t'"$u" "/proc/$c/status"
		grep -qE $'^Groups:\t *$' "/proc/$c/status"
		grep -qx $'CapEff:\t0000000000000000' "/proc/$c/status"
		[[ $(nfds "$c") == 4 ]]
	fi
	kill "$a"; wait "$a" || :
	until_true 5 has_children 0
}

@test "a client that takes no answer keeps nobody else waiting" {
	requires python3
	{ for i in {1..600}; do printf 'service number-%s-with-a-name-that-is-long\n{\nlisten = unix:s%s\nexec = cat\nuser = %s\n}\n' $i $i "$ME"; done; } >others
	status 'sndbuf = 8K' 'instances = 3' 'linger = 100ms' <others
	python3 - "$PORT" <<-'X' 3>&- &
	import socket, sys, time
	c = socket.socket(); c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); c.connect(("127.0.0.1", int(sys.argv[1])))
	c.sendall(b"GET /status.json HTTP/1.0\r\n\r\n"); open("asked", "w")
	while not __import__("os").path.exists("go"): time.sleep(0.02)
	X
	local a=$! before
	until_true 10 test -e asked
	until_true 10 has_children 1
	nap 0.3
	before=$(ticks "$(children "$PID")")
	for i in 1 2 3; do fetch /healthz; grep -q '^ok$' body; done
	run -0 "$PEER" -s x -H unix:s7; [[ $output == x ]]
	has_children 1
	(($(ticks "$(children "$PID")") - before <= 5))		# it waits, and does not spin
	: >go; wait "$a"
	until_true 10 has_children 0
}

@test "a stop does not wait for a client that says nothing" {
	status 'log_on_success += EXIT' <<<""
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local a=$! t
	until_true 5 has_children 1
	t=$(now_ms)
	stop_server INT 5
	(($(now_ms) - t < 3000))
	[[ $STATUS == 0 ]]
	logged 'EXIT: status signal=15'		# it need not be killed
	kill "$a" 2>/dev/null || :
	wait "$a" || :
}

@test "healthz: 503 for who was connected when a drain began" {
	requires python3
	gate g
	status <<-X
	service g
	{
		listen = 127.0.0.1:0
		exec = $PWD/g
		user = $ME
	}
	X
	"$PEER" "tcp:127.0.0.1:${PORTS[g]}" >/dev/null 3>&- & local a=$!
	entered g
	mkfifo say
	"$PEER" -S "tcp:127.0.0.1:$PORT" <say >got 3>&- & local b=$!
	exec {say}>say
	until_true 5 has_children 2
	kill -TERM "$PID"
	wait_log DRAIN
	printf 'GET /healthz HTTP/1.0\r\n\r\n' >&"$say"
	exec {say}>&-
	wait "$b"
	grep -q '^HTTP/1.1 503 ' got
	grep -q '^draining$' got
	run -5 ask
	open_gate g; wait "$a"
	wait_end
}

@test "three hundred services: the page is bounded and says so, what wants attention is in it" {
	requires python3
	{ for i in {1..300}; do printf 'service n%s\n{\nlisten = unix:s%s\nexec = cat\nuser = %s\n}\n' $i $i "$ME"; done
	printf 'service last\n{\nlisten = unix:last\nexec = cat\nuser = no-such-one\n}\n'; } >others
	status <others
	run -0 "$PEER" -s x -H unix:s299
	fetch /
	(($(stat -c %s body) < 300000))
	grep -q 'and 102 more' body
	grep -q 'no-such-one' body
	grep -qE 'scope=row>n299<' body
	holds 'len(j["services"]) == 302'
	metrics
	sample "server_service_started_total{service='n299'} 1"
}

@test "the limit, and of many listeners and connections that there are more, is on the page" {
	requires python3
	local at; at=$(printf ' 127.0.0.1:0%.0s' {1..11})
	status <<-X
	defaults { limit = 80 }
	service many { listen =$at
		exec = cat
		user = $ME
	}
	service tcpmux { type = INTERNAL
		listen = 127.0.0.1:0
	}
	service behind { type = TCPMUX
		exec = cat
		user = $ME
	}
	X
	"$B/tests/hold" "${PORTS[many]}" 55 <&"$NAPFD" >held 3>&- & local hold=$!
	until_true 10 grep -qx 55 held
	fetch /
	grep -q 'of 80 at most' body
	grep -q '<small>and 3 more</small>' body
	grep -q '<small><code>tcpmux:behind</code></small>' body
	grep -qE '<p class=more>and [56] more: all are in <a href="/status.json">' body
	kill "$hold"; wait "$hold" || :
}

@test "an upgrade keeps what was counted, and the last error" {
	requires python3
	status <<-X
	service cat
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
	}
	service none
	{
		listen = 127.0.0.1:0
		exec = /no/such
		user = $ME
	}
	X
	run -0 "$PEER" -n 3 -s hello -H "tcp:127.0.0.1:${PORTS[cat]}"
	run "$PEER" "tcp:127.0.0.1:${PORTS[none]}"
	"$PEER" -s abc -c go "tcp:127.0.0.1:${PORTS[cat]}" >/dev/null 3>&- & local a=$!
	until_holds 's["none"]["failed"] == 1 and s["cat"]["started"] == 4 and len(j["connections"]) == 1'
	kill -USR2 "$PID"
	wait_log '^[^ ]* UPGRADE: ' 10
	until_holds 's["cat"]["started"] == 4 and s["cat"]["live"] == 1 and s["cat"]["bytes_in"] == 15 == s["cat"]["bytes_out"] and
	    s["none"]["last_error"].startswith("cannot execute") and j["server"]["pid"] == '"$PID"
	: >go; wait "$a"
	until_holds 's["cat"]["live"] == 0 and s["cat"]["bytes_in"] == 18 == s["cat"]["bytes_out"]'
}

@test "charts show what came; without a status service nothing is remembered" {
	status <<-X
	service cat
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
		no_access = 127.0.0.9
	}
	X
	fetch /
	run ! grep -q '<path class=kept' body
	run -0 "$PEER" -n 4 -s x -H "tcp:127.0.0.1:${PORTS[cat]}"
	run "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:${PORTS[cat]}"
	fetch /
	grep -q '<title>4 served, 1 refused in the last 5 minutes</title>' body
	grep -q '<path class=came d="M' body
	grep -q '<path class=kept d="M' body
	# It is changed, and goes on.
	sed -i '/type = INTERNAL/a instances = 9' t; kill -HUP "$PID"; wait_log '1 changed'
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:${PORTS[cat]}"
	fetch /
	grep -q '<title>5 served, 1 refused in the last 5 minutes</title>' body
	# The service that shows it goes and comes again: what was remembered went with it.
	mv t all; sed '/^service status/,/^}/d' all >t
	kill -HUP "$PID"; wait_log '1 removed'
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:${PORTS[cat]}"
	mv all t; sed -i "s/listen = tcp:127.0.0.1:0/listen = tcp:127.0.0.1:$PORT/" t
	kill -HUP "$PID"; wait_log '1 added'
	fetch /
	grep -qF '<desc id=cd>0 served, 0 refused;' body
	run ! grep -q 'served, 1 refused in the last' body
	holds 's["cat"]["started"] == 6'
}

@test "in a browser: nothing from elsewhere, no complaint, no wider than its window; pictures are kept" {
	requires python3 chromium
	gate g
	status 'instances = 20' <<-X
	service date
	{
		listen = 127.0.0.1:0
		exec = date
		user = $ME
		no_access = 127.0.0.9
	}
	service upload
	{
		listen = 127.0.0.1:0
		exec = cat
		user = $ME
		instances = 3
	}
	service a-service-with-a-rather-long-name-that-has-to-be-broken-somewhere-if-it-is-to-fit
	{
		listen = 127.0.0.1:0 unix:a/very/long/path/of/a/socket/that/is/not/there/and/so/cannot/be/bound
		exec = /usr/local/libexec/a/program/that/is/not/there/$(printf '%080d' 0)
		user = $ME
	}
	service backup
	{
		listen = unix:backup
		exec = cat
		user = $ME
		disable = yes
	}
	service mail
	{
		listen = 127.0.0.1:0
		exec = cat
		user = nobody-of-that-name
	}
	X
	local i
	for i in 1 2 3 4; do "$PEER" -s "hello" -c go "tcp:127.0.0.1:${PORTS[upload]}" >/dev/null 3>&- & done
	run "$PEER" "tcp:127.0.0.1:${PORTS[a-service-with-a-rather-long-name-that-has-to-be-broken-somewhere-if-it-is-to-fit]}"
	for i in 1 2 3; do
		run -0 "$PEER" -n $((i * 30)) "tcp:127.0.0.1:${PORTS[date]}"
		run "$PEER" -n $((i * 3)) -b 127.0.0.9 "tcp:127.0.0.1:${PORTS[date]}"
		nap 1
	done
	local out=${ARTEFACTS:-$B/artefacts}
	mkdir -p "$out"
	HOME=$PWD TMPDIR=/tmp run timeout 85 python3 "$BATS_TEST_DIRNAME/browser.py" "http://127.0.0.1:$PORT/" "$out"
	echo "$output"
	[[ $status == 0 && $output == sound ]]
	for i in 1280 360; do [[ -s $out/status-$i-light.png && -s $out/status-$i-dark.png ]]; done
	: >go
}

@test "a foreign Host is refused where only this machine may ask, and let in where others may" {
	requires python3
	local row
	for row in "403 127.0.0.1" "403 127.0.0.0/8 ::1" "403 127.1.0.0/16 127.0.0.1 ::1/128" "200 0.0.0.0/0" \
	    "200 127.0.0.1 192.0.2.0/24" "200 127.0.0.1 2001:db8::/32" "200 127.0.0.1 ::/0"; do
		printf 'service status\n{\ntype = INTERNAL\nlisten = tcp:127.0.0.1:0\nonly_from = %s\n}\n' "${row#* }" >t
		start_server -f t
		"$PEER" -t 20000 -s $'GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n' "tcp:127.0.0.1:$PORT" >answer
		[[ $(head -n 1 answer) == "HTTP/1.1 ${row%% *} "* ]] || die "$row: $(head -n 1 answer)" || return
		stop_server TERM
	done
}
