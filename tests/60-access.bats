load helper

# allowed/denied ADDRESS-OF-THE-PEER
allowed() { run -0 "$PEER" -b "$1" "tcp:127.0.0.1:$PORT"; [[ $output == hi ]] || die "$1 was refused"; }
denied() {
	run -0 "$PEER" -b "$1" "tcp:127.0.0.1:$PORT"
	[[ -z $output ]] || die "$1 was let in" || return
	wait_log "FAIL: echo address from=${1//./\\.}\$"
}

@test "only_from: nobody else" {
	start_server -o only_from='127.0.0.2 127.0.1.0/24' 127.0.0.1:0 echo hi
	allowed 127.0.0.2; allowed 127.0.1.255; denied 127.0.0.1; denied 127.0.2.0
}

@test "no_access: everybody else" {
	start_server -o no_access=127.0.0.2 127.0.0.1:0 echo hi
	denied 127.0.0.2; allowed 127.0.0.1
}

@test "T44: the longer match wins, no_access on a tie" {
	start_server -o only_from='127.0.0.0/24 127.0.1.1 127.0.2.0/24' -o no_access='127.0.0.0/28 127.0.1.0/24 127.0.2.0/24' 127.0.0.1:0 echo hi
	denied 127.0.0.1; allowed 127.0.0.200; allowed 127.0.1.1; denied 127.0.1.2; denied 127.0.2.5; denied 127.0.3.1
}

@test "T44: an only_from that is given and empty lets nobody in" {
	start_server -o only_from= 127.0.0.1:0 echo hi
	denied 127.0.0.1
	start_server -o only_from= -o only_from+=127.0.0.1 127.0.0.1:0 echo hi
	allowed 127.0.0.1
	start_server -o only_from='127.0.0.1 127.0.0.2' -o only_from-=127.0.0.2 127.0.0.1:0 echo hi
	allowed 127.0.0.1; denied 127.0.0.2
}

@test "every form of an IPv4 network" {
	start_server -o only_from='127.1.{2,3} 127.2.0.0 127.3.0.0/255.255.0.0,127.4.0.5' 127.0.0.1:0 echo hi
	allowed 127.1.2.77; allowed 127.1.3.1; denied 127.1.4.1
	allowed 127.2.200.1; allowed 127.3.9.9; allowed 127.4.0.5; denied 127.4.0.6
}

@test "T43: 0.0.0.0 is every IPv4 address, ::/0 every IPv6 one" {
	start_server -o only_from=0.0.0.0 0 echo hi
	allowed 127.9.9.9
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ -z $output ]]
	start_server -o only_from=::/0 0 echo hi
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ $output == hi ]]
	denied 127.0.0.1
	start_server -o only_from=::1/128 0 echo hi
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ $output == hi ]]
}

@test "-t tells names of listen, bind and redirect that nobody knows now" {
	cat >t <<-'X'
	service a {
		listen = no.such.host.invalid:8080 127.0.0.1:2001
		exec = true
	}
	service b {
		listen = 127.0.0.1:2002
		redirect = no.such.host.invalid 80
	}
	service c {
		port = 2003
		bind = no.such.host.invalid
		exec = true
	}
	X
	chmod 644 t
	run -0 timeout 20 "$SERVER" -t -f t
	[[ $(grep -c 'warning: tcp:no.such.host.invalid:[0-9]*: cannot resolve no.such.host.invalid: .*; it will be asked for again' <<<"$output") == 3 ]]
}

@test "T45: host names are resolved at start; one that cannot be is told and matches nobody" {
	start_server -o only_from='localhost no.such.host.invalid' 127.0.0.1:0 echo hi
	allowed 127.0.0.1; denied 127.0.0.2
	logged 'warning: no.such.host.invalid: the host cannot be resolved, so it matches nobody'
}

@test "T43: bits behind a prefix are told" {
	start_server -o only_from=127.0.0.77/24 127.0.0.1:0 echo hi
	logged 'warning: 127.0.0.77/24: bits behind the prefix are set; read as 127.0.0.0/24'
	allowed 127.0.0.1
}

@test "user: and group: judge UNIX peers; address words do not" {
	start_server -o only_from=10.0.0.0/8 unix:a echo hi
	run -0 "$PEER" unix:a; [[ $output == hi ]]
	start_server -o only_from="user:$ME" unix:b echo hi
	run -0 "$PEER" unix:b; [[ $output == hi ]]
	start_server -o no_access="user:$ME" unix:c echo hi
	run -0 "$PEER" unix:c; [[ -z $output ]]
	wait_log "FAIL: echo address from=uid:$(id -u)\$"
	start_server -o only_from=user:65533 unix:d echo hi
	run -0 "$PEER" unix:d; [[ -z $output ]]
	start_server -o only_from="group:$(id -gn)" unix:e echo hi
	run -0 "$PEER" unix:e; [[ $output == hi ]]
	start_server -o only_from=user:65533 127.0.0.1:0 echo hi
	allowed 127.0.0.1
}

@test "access_times: open now, closed now, across midnight" {
	export TZ=UTC
	# A time zone in which it is noon now, give or take a minute: X+1:00 is an hour behind UTC.
	local off=$((10#$(date -u +%H) * 60 + 10#$(date -u +%M) - 720)) sign=""
	((off >= 0)) || { sign=-; off=$((-off)); }
	TZ=XXX$sign$(printf %02d:%02d $((off / 60)) $((off % 60)))
	[[ $(date +%H) == 12 || $(date +%H:%M) == 11:59 ]]
	start_server -o access_times=11:50-12:10 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	start_server -o access_times='00:00-11:50 12:10-24:00' 127.0.0.1:0 echo hi
	run -0 ask; [[ -z $output ]]
	wait_log 'FAIL: echo time from=127.0.0.1$'
	start_server -o access_times=22:00-12:10 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	start_server -o access_times=12:10-11:50 127.0.0.1:0 echo hi
	run -0 ask; [[ -z $output ]]
}

# A private /etc/hosts: 127.0.0.5 is good.example.org, 127.0.0.6 claims a name that leads elsewhere.
with_hosts() {
	requires_root
	unshare -m true 2>/dev/null || skip "no mount namespace"
	cat >hosts <<-'X'
	127.0.0.1 localhost
	127.0.0.5 good.example.org
	127.0.0.6 liar.example.net
	X
	cat >in.sh <<-X
	mount --bind hosts /etc/hosts && exec "\$@"
	X
	WRAP="unshare -m sh in.sh"
}

@test "T46: lookup: the peer's confirmed name is in REMOTE_HOST, TCPREMOTEHOST and the log" {
	with_hosts
	start_server -o lookup=yes 127.0.0.1:0 sh -c 'echo $REMOTE_HOST $TCPREMOTEHOST $REMOTE_ADDR'
	run -0 "$PEER" -b 127.0.0.5 "tcp:127.0.0.1:$PORT"
	[[ $output == "good.example.org good.example.org 127.0.0.5" ]]
	wait_log 'START: sh pid=[0-9]+ from=127.0.0.5 host=good.example.org$'
	run -0 "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:$PORT"
	[[ $output == "127.0.0.9 127.0.0.9" ]]
	wait_log 'START: sh pid=[0-9]+ from=127.0.0.9$'
	echo '::1 six.example.org' >>hosts
	start_server -o lookup=yes '[::1]:0' sh -c 'echo $REMOTE_HOST $REMOTE_ADDR'
	run -0 "$PEER" "${ADDRESSES[0]}"
	[[ $output == "six.example.org ::1" ]]
}

@test "T46: a domain in only_from is judged by the confirmed name, in the child" {
	with_hosts
	start_server -o only_from=.example.org -o banner_success="$PWD/w" -o banner_fail="$PWD/f" 127.0.0.1:0 echo hi
	run -0 "$PEER" -b 127.0.0.5 "tcp:127.0.0.1:$PORT"; [[ $output == hi ]]
	denied_by_name() {
		run -0 "$PEER" -b "$1" "tcp:127.0.0.1:$PORT"
		[[ -z $output ]]
		wait_log "FAIL: echo address from=$1"
	}
	denied_by_name 127.0.0.9
	denied_by_name 127.0.0.6
	! logged 'START.*127.0.0.[69]' || die "a refused one was started"
	start_server -o no_access=.example.org 127.0.0.1:0 echo hi
	run -0 "$PEER" -b 127.0.0.5 "tcp:127.0.0.1:$PORT"; [[ -z $output ]]
	run -0 "$PEER" -b 127.0.0.6 "tcp:127.0.0.1:$PORT"; [[ $output == hi ]]
}

@test "T22 T46: a name service that does not answer costs two seconds and nobody else anything" {
	with_hosts
	requires_silent_resolver
	cat >in.sh <<-X
	echo nameserver 127.0.0.1 >resolv; echo 'hosts: files dns' >nss
	mount --bind resolv /etc/resolv.conf; mount --bind nss /etc/nsswitch.conf
	ip link set lo up
	python3 silent.py & d=\$!
	until [ -e up ]; do :; done
	"$SERVER" -o user=root -r 9 -o lookup=yes 127.0.0.1:0 sh -c 'echo \$REMOTE_HOST' 9>lines & s=\$!
	until grep -qs ready lines; do :; done
	read -r x y a <lines
	"$CLIENT" -s 127.0.0.77 -w 8 "\${a#tcp:}" </dev/null >got
	kill \$s; wait \$s; kill \$d
	X
	requires ip
	local start; start=$(now_ms)
	timeout 25 unshare -m -n sh in.sh
	[[ $(<got) == 127.0.0.77 ]]
	(($(now_ms) - start < 8000))
}

# The name server never answers, and writes down that it was asked.
@test "T22: once it serves, the master asks no name server, whatever comes; a reload's asking holds up nobody" {
	requires_silent_resolver; requires nsenter
	sed -i 's/s.recv(512)/open("asked", "ab", 0).write(s.recv(512)[12:] + b"\\n")/' silent.py
	{ printf 'service a { listen = 127.0.0.1:0\nexec = %s\nuser = root\nonly_from = 127.0.0.0/8 some.host.test\n}\n' "$B/tests/tiny"
	printf 'service to { listen = 127.0.0.1:0\nredirect = 127.0.0.1 1\nno_access = 127.0.0.9\n}\n'; } >t
	chmod 644 t
	cat >in.sh <<-X
	printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >resolv; echo 'hosts: files dns' >nss
	mount --bind resolv /etc/resolv.conf; mount --bind nss /etc/nsswitch.conf
	ip link set lo up
	: >asked
	python3 silent.py </dev/null >/dev/null 2>&1 & echo \$! >helpers
	until [ -e up ]; do sleep 0.01; done
	exec "\$@"
	X
	START_LIMIT=30 WRAP="unshare -m -n sh in.sh" start_server -f t
	local in=(nsenter -t "$PID" -n) n before
	grep -qa some asked	# the table's name was asked for, at the start
	: >asked
	"${in[@]}" "$B/tests/probe" "${PORTS[a]}" 1 >first
	"${in[@]}" "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:${PORTS[to]}" || :
	"${in[@]}" "$PEER" "tcp:127.0.0.1:${PORTS[to]}" || :
	kill -USR1 "$PID"; wait_log STATE
	run -0 "$SERVERCTL" -C "${CTL##*/}" status
	[[ ! -s asked ]] || die "asked: $(tr '\0' . <asked)" || return
	# The table is read by a process, which asks; that takes seconds, and nobody notices.
	"${in[@]}" "$B/tests/probe" -u over "${PORTS[a]}" 60 >second 3>&- & local p=$!
	before=$(now_ms)
	run "$SERVERCTL" -C "${CTL##*/}" reload
	before=$(($(now_ms) - before))
	: >over; wait "$p"
	kill $(<helpers)
	[[ -s asked ]] && ((before > 800)) || die "nothing was asked" || return
	read -ra n <second
	((n[0] == n[1] && n[$(bound 4 3)] < $(bound 50000 250000))) || die "$(<second)" || return
	figure "0 look-ups while it serves; during a reload of $((before / 1000)).$((before / 100 % 10)) s ${n[1]} of ${n[0]} served, 99 of 100 in $((n[3] / 1000)) ms, longest $((n[4] / 1000)) ms"
}

@test "T22: users are those of the last reading: /etc/passwd may change, or go, while it serves" {
	requires_root
	unshare -m true 2>/dev/null || skip "no mount namespace"
	{ cat /etc/passwd; echo 'tester:x:54321:54321::/:/bin/sh'; } >passwd
	{ cat /etc/group; echo 'testers:x:54321:'; } >group
	printf 'service a { listen = 127.0.0.1:0\nshell = id -u; id -g\nuser = tester\n}\n' >t; chmod 644 t
	echo 'mount --bind passwd /etc/passwd && mount --bind group /etc/group && exec "$@"' >in.sh
	AS_ME="" WRAP="unshare -m sh in.sh" start_server -f t
	run -0 ask; [[ ${lines[*]} == "54321 54321" ]]
	local as=$output
	sed 's/^tester:x:54321:54321/tester:x:54444:54445/' passwd >new; cat new >passwd
	run -0 ask; [[ $output == "$as" ]]
	: >passwd
	run -0 ask; [[ $output == "$as" ]]
	# Nobody of that name: the entry has an error, and stays as it was.
	run -1 "$SERVERCTL" -C "${CTL##*/}" reload; [[ $output == *'there is no such user'* ]]
	run -0 ask; [[ $output == "$as" ]]
	cat new >passwd
	run -0 "$SERVERCTL" -C "${CTL##*/}" reload
	run -0 ask; [[ ${lines[*]} == "54444 54445" ]]
}

@test "T22: a directory of users that takes seconds: a reload waits for it, and nobody else" {
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	printf 'service a { listen = 127.0.0.1:0\nexec = %s\nuser = %s\n}\n' "$B/tests/tiny" "$(id -un)" >t; chmod 644 t
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM_SLOW=%s exec "$@"\n' "$B/tests/shim" "$PWD/slow" >shim.sh; chmod +x shim.sh
	WRAP=./shim.sh AS_ME="" start_server -f t
	: >slow
	"$B/tests/probe" -u over "$PORT" 60 >said 3>&- & local p=$! before n
	before=$(now_ms)
	run -0 "$SERVERCTL" -C "${CTL##*/}" reload
	before=$(($(now_ms) - before))
	: >over; wait "$p"
	((before > 1900)) || die "nobody was looked for: $before ms" || return
	read -ra n <said
	((n[0] == n[1] && n[$(bound 4 3)] < $(bound 50000 250000))) || die "$(<said)" || return
	figure "during a reload of $((before / 1000)).$((before / 100 % 10)) s ${n[1]} of ${n[0]} served, 99 of 100 in $((n[3] / 1000)) ms, longest $((n[4] / 1000)) ms"
}

# A name server and an identd that say what nobody should; a PROXY header, UNIX peers with names.
@test "T17: hostile names, ident answers, PROXY headers and UNIX paths: the log and the status are printing characters, one event a line; nothing of it reaches a command" {
	requires_silent_resolver; requires nsenter
	cat >dns.py <<-'X'
	import socket, struct
	hostile = [b"\x1b[2Jevil", b"a\r\nFAIL: forged address from=192.0.2.66", b"nul\0nul", b"%n%n%s", b"\xc0\xaf\xe0\x80\xaf", b"$(reboot)", b"() { :; }; x", b"x" * 63, b"-f root", b'"}{"']
	s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 53)); open("up", "w").close()
	asked = open("asked", "ab", 0)
	n = 0
	while True:
	    q, who = s.recvfrom(4096)
	    end = 12
	    while q[end]: end += 1 + q[end]
	    question, kind = q[12:end + 5], struct.unpack("!H", q[end + 1:end + 3])[0]
	    asked.write(b"%d\n" % kind)
	    if kind == 12:	# every name leads back to who asks, so it is confirmed
	        h = hostile[n % len(hostile)]; n += 1
	        data = bytes([len(h)]) + h + b"\4test\0"
	    elif kind == 1: data = socket.inet_aton("127.0.0.1")
	    else:
	        s.sendto(q[:2] + struct.pack("!HHHHH", 0x8180, 1, 0, 0, 0) + question, who); continue
	    s.sendto(q[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + question + b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(data)) + data, who)
	X
	cat >identd.py <<-'X'
	import socket
	hostile = [b"\x1b[31mred\x07", b"joe\r\nFAIL: forged address from=192.0.2.66\r\n", b"%n%n%s", b"x" * 65536, b"\xc0\xaf\xff", b"() { :; }; touch forged", b"$(touch forged)", b"a\tb\x7f\x80", b"nul\0nul", b"joe"]
	l = socket.create_server(("127.0.0.1", 113)); open("up.ident", "w").close()
	n = 0
	while True:
	    c, _ = l.accept()
	    try: c.sendall(c.recv(1000).strip() + b" : USERID : UNIX : " + hostile[n % len(hostile)] + b"\r\n")
	    except OSError: pass
	    n += 1; c.close()
	X
	cat >in.sh <<-X
	printf 'nameserver 127.0.0.1\n' >resolv; echo 'hosts: files dns' >nss; echo '127.0.0.99 none' >hosts
	for f in resolv:resolv.conf nss:nsswitch.conf hosts:hosts; do mount --bind \${f%:*} /etc/\${f#*:}; done
	ip link set lo up
	python3 dns.py </dev/null >/dev/null 2>&1 & echo \$! >helpers
	python3 identd.py </dev/null >/dev/null 2>&1 & echo \$! >>helpers
	until [ -e up ] && [ -e up.ident ]; do sleep 0.01; done
	exec "\$@"
	X
	local witness='tr "\0" "\n" </proc/self/environ; tr "\0" "\n" </proc/$$/cmdline'
	cat >t <<-X
	defaults { log_type = SERVER
	log_type += FILE $PWD/a.log
	log_on_success = PID HOST PORT USERID EXIT
	log_on_failure = HOST USERID }
	service plain { listen = 127.0.0.1:0
	log_on_success = PID HOST EXIT
	shell = $witness
	}
	service named { listen = 127.0.0.1:0
	lookup = yes
	shell = $witness
	}
	service domain { listen = 127.0.0.1:0
	only_from = .test
	shell = $witness
	}
	service refused { listen = 127.0.0.1:0
	no_access = 127.0.0.1
	shell = $witness
	}
	service proxy { listen = 127.0.0.1:0
	proxy_protocol = yes
	proxy_from = 127.0.0.1
	shell = $witness
	}
	service json { listen = 127.0.0.1:0
	log_format = json
	log_type = FILE $PWD/j.log
	lookup = yes
	shell = $witness
	}
	service local { listen = unix:$PWD/s
	shell = $witness
	}
	service dgram { listen = unix-dgram:$PWD/d
	shell = $witness
	}
	X
	chmod 644 t
	WRAP="unshare -m -n sh in.sh" start_server -v -f t
	cat >clients.py <<-'X'
	import os, socket, struct, sys
	ports = dict(zip(sys.argv[1::2], map(int, sys.argv[2::2])))
	def ask(port, send=b""):
	    s = socket.create_connection(("127.0.0.1", port)); s.settimeout(20)
	    d = b""
	    try:
	        if send: s.sendall(send)
	        s.shutdown(socket.SHUT_WR)
	        while x := s.recv(65536): d += x
	    except ConnectionError: pass
	    return d
	got = ask(ports["plain"])
	assert not os.path.getsize("asked"), "asked without being told to"
	for _ in range(10):
	    for name in ("named", "domain", "refused", "json"): got += ask(ports[name])
	four = bytes([192, 0, 2, 7, 192, 0, 2, 99]) + struct.pack("!HH", 54321, 443)
	def v2(body): return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(body)) + body
	evil = b"\x1b[2J\r\n%n\0\xc0\xaf"
	def tlv(kind, b): return bytes([kind]) + struct.pack("!H", len(b)) + b
	for h in (b"PROXY TCP4 192.0.2.7 192.0.2.99 1 2\r\n", v2(four + tlv(2, evil) + tlv(0x20, b"\1\0\0\0\0" + tlv(0x22, evil)) + tlv(5, b"() { :; }; x")),
	        b"PROXY TCP4 " + evil + b" 192.0.2.99 1 2\r\n", b"PROXY " + evil + b"\r\n", evil * 100, v2(four + b"\2\xff\xff" + evil), b"PROXY UNKNOWN " + evil[:4] + b"\r\n"):
	    got += ask(ports["proxy"], h)
	for i, name in enumerate((b"\0" + evil[:6] + b"%d", b"p\x1b[2J\nFAIL: forged address from=192.0.2.66", b"() { :; }; x", b"\xc0\xaf")):
	    s = socket.socket(socket.AF_UNIX); s.bind(name); s.connect("s"); s.shutdown(socket.SHUT_WR)
	    while x := s.recv(65536): got += x
	    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.settimeout(10); s.bind(name + b".d"); s.sendto(b"x", "d"); got += s.recv(65536)
	open("witness", "wb").write(got)
	X
	timeout 50 nsenter -t "$PID" -n python3 clients.py $(for s in "${!PORTS[@]}"; do echo "$s ${PORTS[$s]}"; done)
	kill $(<helpers)
	until_true 10 has_children 0
	"$SERVERCTL" -C "${CTL##*/}" status >status
	"$SERVERCTL" -C "${CTL##*/}" status --json >status.json
	kill -USR1 "$PID"; wait_log 'STATE: dgram'
	stop_server
	cat >judge.py <<-'X'
	import json, re, sys
	lines = 0
	for f in (sys.argv[1], "a.log", "j.log", "status", "status.json"):
	    for line in open(f, "rb").read().split(b"\n"):
	        assert all(0x20 <= b < 0x7f for b in line), (f, line)
	        lines += 1
	        if f.endswith("log") and line and f != "j.log":
	            assert re.match(rb"\d+/\d+/\d+@[\d:]+: [A-Z]+: ", line) or line.startswith(b"server: "), (f, line)
	            assert not re.match(rb"\S+ FAIL: forged", line), (f, line)
	        if f == "j.log" and line: assert json.loads(line)["event"] != "fail", line
	json.load(open("status.json"))
	got = open("witness", "rb").read()
	for bad in (b"\x1b", b"forged", b"%n", b"() {", b"\xc0", b"$(", b"evil", b"\r", b"\7"): assert bad not in got, (bad, got[max(0, got.find(bad) - 200):got.find(bad) + 100])
	for name in (b"REMOTE_ADDR=127.0.0.1", b"REMOTE_ADDR=192.0.2.7", b"PROTO=UNIX", b"TCPREMOTEINFO=joe"): assert name in got, name
	log = open("a.log", "rb").read()
	for want in (b"USERID: ", b"\\x1b[31mred", b"\\xc0\\xaf"): assert want in log, want
	print(f"{lines} lines of logs and status, all printing, none forged; no byte of it in {len(got) >> 10} KiB of environments and arguments")
	X
	timeout 20 python3 judge.py "$LOG" >said
	[[ $(sort asked | uniq -c | awk '{ print $2 }' | tr '\n' ' ') == *12* && ! -e forged ]]
	figure "$(<said)"
}

# --- TRUST's rows

drive() { # drive COMMAND ARGUMENT...: of rules.py; what it measured is the figure
	run timeout 300 env TOOLS="$B/tests" python3 "$BATS_TEST_DIRNAME/rules.py" "$@"
	[[ $status == 0 ]] || die "$output" || return
	figure "$output"
}

@test "T43: every prefix at its edges, 648 cases; by the table, and by connections from there to a dual socket" {
	requires_root
	requires python3 ip unshare
	unshare -n true 2>/dev/null || skip "no network namespace"
	python3 "$BATS_TEST_DIRNAME/rules.py" edges_table t
	# Every address is this machine's.
	cat >inside.sh <<-X
	ip link set lo up && ip route add local 0.0.0.0/0 dev lo table local && ip -6 route add local ::/0 dev lo table local &&
		ip -6 addr add fe80::7/64 dev lo nodad || exit 77
	"$SERVER" -C ctl -r 9 -o user=root -f t 9>lines </dev/null 2>>"$LOG" & s=\$!
	until grep -qs ready lines; do sleep 0.02; done
	python3 "$BATS_TEST_DIRNAME/rules.py" edges ctl "$SERVER"
	rc=\$?
	kill \$s; wait \$s
	exit \$rc
	X
	run timeout 120 unshare -n sh inside.sh 3>&-
	[[ $status != 77 ]] || skip "no routes there"
	[[ $status == 0 ]] || die "status $status: $output" || return
	figure "$output"
}

@test "T43: an address with a scope is no rule, and bits behind a prefix are told, in every list" {
	local l
	for l in only_from no_access proxy_from; do
		run -2 "$SERVER" -o user="$ME" -o $l=fe80::1%lo 127.0.0.1:0 true
		[[ $output == *"fe80::1%lo: not an IPv6 address"* ]]
		printf 'service a { listen = 127.0.0.1:0\n\t%s = fd00::1/64\n\texec = true\n\tproxy_protocol = yes\n\tproxy_from += ::1 }\n' $l >t
		run -0 "$SERVER" -o user="$ME" -t -f t
		[[ $output == *"t:2:"*"warning: fd00::1/64: bits behind the prefix are set; read as fd00::/64"* ]] || die "$output"
	done
}

@test "T44: precedence, ties, defaults and an empty list, on every way in, each in force as soon as the reload is" {
	requires python3
	TOOLS="$B/tests" python3 "$BATS_TEST_DIRNAME/rules.py" ways_table t
	start_server -f t
	drive ways "${CTL##*/}" t 2
	stop_server INT	# the dialogs need not be waited for
}

@test "T45: an item that cannot be one: the entry is off, at a reload the old one stays; nobody is let in by it" {
	local items=(300.1.1.1 1.2.3.4/33 ::1/129 1.2.3.4/-1 1.2.3.4/ /8 1.2.3.4/255.0.255.0 '10.{1' '10.{1}x' '10.{}' '{1,2}'
		'10.1.2.3.{4}' '10.{256}' 127 010.0.0.1 1.2.3.4.5 zz::1 user:nosuchuser group:nosuchgroup fe80::1/a 10.0.0.1-10.0.0.9
		127.0.0.1/32x 127.0.0.1/+8 ::ffff:1.2.3.4/200 1::2::3 '10.0.0.1,1.2.3.4/99' 0x7f.1/8 '!127.0.0.1')
	local attr i n good more
	for attr in only_from no_access proxy_from; do
		good=127.0.0.2; [[ $attr != no_access ]] || good=127.0.0.1
		more=""; [[ $attr != proxy_from ]] || more=$'\tproxy_protocol = yes\n'
		entries() { # entries VALUE...: a service for each item, with that value or the item itself
			n=0
			printf 'service g { listen = 127.0.0.1:0\n\texec = echo g\n}\n'
			for i in "${items[@]}"; do
				printf 'service b%d { listen = 127.0.0.1:0\n\t%s = %s\n\texec = echo hi\n%s}\n' $n $attr "${1:-$i}" "$more"
				n=$((n + 1))
			done
		}
		entries "" >bad; entries $good >t; chmod 644 t bad
		run -1 "$SERVER" -o user="$ME" -t -f bad
		for ((n = 0; n < ${#items[@]}; n++)); do
			i=$(grep -n "^service b$n " bad); i=$((${i%%:*} + 1))
			grep -qE "^bad:$i:[0-9]+: error: " <<<"$output" || die "$attr = ${items[n]} is taken" || return
		done
		: >"$LOG"
		start_server -f bad
		[[ ${#ADDRESSES[@]} == 1 && ${!PORTS[*]} == g ]]
		run -0 ask; [[ $output == g ]]
		stop_server INT
		start_server -f t
		cp bad t
		kill -HUP "$PID"
		wait_log "RELOAD: 0 added, 0 changed, 0 removed, 1 as before, 0 off, ${#items[@]} faulty"
		for ((n = 0; n < ${#items[@]}; n++)); do
			run -0 ask "${PORTS[b$n]}"; [[ -z $output ]] || die "$attr = ${items[n]} lets in" || return
			[[ $attr != proxy_from ]] || continue
			run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:${PORTS[b$n]}"; [[ $output == hi ]]
		done
		stop_server INT
	done
	figure "${#items[@]} items in 3 lists: each refused"
}

@test "T46: no name is looked up unless a list or lookup asks for it" {
	requires_tracing
	WRAP="strace -D -f -q -s 500 -o calls -e trace=open,openat,connect,sendto,sendmsg,sendmmsg,write" \
		start_server -o only_from='127.0.0.0/8 ::1' -o no_access=127.0.0.9 -o listen+=udp:127.0.0.1:0 127.0.0.1:0 "$B/tests/tiny"
	run -0 ask; [[ $output == ok ]]
	run -0 "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:$PORT"; [[ -z $output ]]
	run -0 "$DATAGRAMS" "${ADDRESSES[1]}" x
	stop_server
	sed -n '/write(9, .*ready/,$p' calls >after
	! grep -E '/etc/(hosts|resolv|nsswitch|host.conf|gai)|nscd|sin6?_port=htons\(53\)' after || die "it looked"
	[[ -s after ]]
}

@test "T46: where no name server answers, a domain in either list refuses, after two seconds, and nobody else waits" {
	with_hosts
	requires_silent_resolver
	echo '127.0.0.7 other.example.net' >>hosts
	cat >in.sh <<-X
	echo nameserver 127.0.0.1 >resolv; echo 'hosts: files dns' >nss
	mount --bind hosts /etc/hosts; mount --bind resolv /etc/resolv.conf; mount --bind nss /etc/nsswitch.conf
	ip link set lo up
	python3 silent.py & d=\$!
	until [ -e up ]; do sleep 0.02; done
	: >lines
	"$SERVER" -C ctl -r 9 -f t 9>lines </dev/null 2>>"$LOG" & s=\$!
	until grep -qs ready lines; do sleep 0.02; done
	python3 "$BATS_TEST_DIRNAME/rules.py" silence ctl; rc=\$?
	kill \$s; wait \$s; kill \$d
	exit \$rc
	X
	local n
	for n in only:only_from no:no_access plain:umask; do
		printf 'service %s\n{\n\tlisten = 127.0.0.1:0\n\tuser = root\n\t%s = %s\n\texec = echo hi\n}\n' ${n%:*} ${n#*:} \
			"$([[ $n == plain* ]] && echo 022 || echo .example.org)"
	done >t
	chmod 644 t
	run timeout 60 unshare -m -n sh in.sh 3>&-
	[[ $status == 0 ]] || die "$output" || return
	figure "$output"
}

@test "a network's name in a list is that network" {
	getent networks loopback | grep -q '127\.0\.0\.0' || skip "/etc/networks does not have loopback"
	start_server -o only_from=loopback -o listen+=127.0.0.1:0 '[::1]:0' echo hi
	local a
	for a in "${ADDRESSES[@]}"; do
		run "$PEER" "$a"
		[[ $output == "$([[ $a == *'['* ]] || echo hi)" ]] || die "$a: $output" || return
	done
	wait_log 'FAIL: echo address from=::1'
}
