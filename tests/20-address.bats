load helper

@test "a bare port is IPv4 and IPv6 by one socket" {
	start_server 0 sh -c 'echo $TCPREMOTEIP'
	[[ ${#ADDRESSES[@]} == 1 && ${ADDRESSES[0]} == "tcp:*:$PORT" ]]
	run -0 ask; [[ $output == 127.0.0.1 ]]
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ $output == ::1 ]]
}

@test "where one socket cannot serve both families, two do, with one port" {
	# 41026: level IPPROTO_IPV6, option IPV6_V6ONLY; what fails is turning it off.
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	cat >shim.sh <<-X
	#!/bin/sh
	LD_PRELOAD=$B/tests/shim SHIM="setsockopt@41026=92/1" exec "\$@"
	X
	chmod +x shim.sh
	WRAP=./shim.sh start_server 0 sh -c 'echo $TCPREMOTEIP'
	[[ ${#ADDRESSES[@]} == 2 && ${ADDRESSES[0]} == "tcp4:*:$PORT" && ${ADDRESSES[1]} == "tcp6:*:$PORT" ]]
	run -0 ask; [[ $output == 127.0.0.1 ]]
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ $output == ::1 ]]
}

@test "without IPv6 in the kernel a bare port is IPv4" {
	ldd "$SERVER" >/dev/null 2>&1 || skip "static program"
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	cat >shim.sh <<-X
	#!/bin/sh
	LD_PRELOAD=$B/tests/shim SHIM="socket@10=97" exec "\$@"
	X
	chmod +x shim.sh
	WRAP=./shim.sh start_server 0 echo hi
	[[ ${ADDRESSES[*]} == "tcp4:*:$PORT" ]]
	run -0 ask; [[ $output == hi ]]
}

@test "an address fixes where it listens" {
	start_server 127.0.0.1:0 echo hi
	[[ ${ADDRESSES[*]} == "tcp:127.0.0.1:$PORT" ]]
	run -0 ask; [[ $output == hi ]]
	run -5 "$PEER" "tcp:127.0.0.2:$PORT"
}

@test "tcp4:, tcp6:, [::1] and * name the family" {
	start_server tcp4:0 echo hi
	[[ ${ADDRESSES[*]} == "tcp4:*:$PORT" ]]
	run -5 "$PEER" "tcp:[::1]:$PORT"
	start_server tcp6:0 echo hi
	[[ ${ADDRESSES[*]} == "tcp6:*:$PORT" ]]
	run -5 "$PEER" "tcp:127.0.0.1:$PORT"
	run -0 "$PEER" "tcp:[::1]:$PORT"
	start_server '[::1]:0' echo hi
	[[ ${ADDRESSES[*]} == "tcp6:[::1]:$PORT" ]]
	start_server 'tcp:*:0' echo hi
	[[ ${ADDRESSES[*]} == "tcp:*:$PORT" ]]
	start_server 'tcp6:*:0' echo hi
	[[ ${ADDRESSES[*]} == "tcp6:*:$PORT" ]]
}

@test "a name with several addresses is several listeners of one port" {
	requires_root
	unshare -m true 2>/dev/null || skip "no mount namespace"
	printf '127.0.0.1 both\n::1 both\n' >hosts
	echo 'mount --bind hosts /etc/hosts && exec "$@"' >in.sh
	WRAP="unshare -m sh in.sh" start_server both:0 echo hi
	[[ ${#ADDRESSES[@]} == 2 ]]
	run -0 ask; [[ $output == hi ]]
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ $output == hi ]]
}

@test "localhost on a machine without IPv6 is 127.0.0.1" {
	requires ip
	unshare -mrn true 2>/dev/null || skip "no namespaces"
	printf '127.0.0.1 localhost\n::1 localhost\n' >hosts
	cat >inside.sh <<-X
	ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && mount --bind hosts /etc/hosts || exit 77
	mkfifo up
	"$SERVER" -o user=root -r 9 localhost:0 echo ok 9>up & s=\$!
	while read -r x y a && [ "\$x" != ready ]; do echo "\$a"; done <up
	kill \$s; wait \$s
	X
	run timeout 20 unshare -mrn sh inside.sh 3>&-
	[[ $status != 77 ]] || skip "it cannot be switched off there"
	[[ $output == *"LISTEN: echo tcp:127.0.0.1:"* && $output != *::1* ]] || die "$output"
}

@test "port names are those of /etc/services" {
	unshare -Urn true 2>/dev/null || unshare -n true 2>/dev/null || skip "no network namespace"
	cat >inside.sh <<-X
	ip link set lo up
	"$SERVER" -o user=root -r 1 -o listen+=localhost:ssh daytime echo hi 2>/dev/null >lines & p=\$!
	until grep -q ready lines; do :; done
	kill \$p; wait \$p
	X
	requires ip
	unshare -Urn sh inside.sh || unshare -n sh inside.sh
	grep -q '^listen echo tcp:\*:13$' lines
	grep -q '^listen echo tcp:127.0.0.1:22$' lines
}

@test "a link-local address takes its interface by number as well as by name" {
	requires ip
	unshare -rn true 2>/dev/null || skip "no network namespace"
	# In a namespace of its own lo is number 1.
	cat >inside.sh <<-X
	ip link set lo up && ip -6 addr add fe80::7/64 dev lo nodad || exit 77
	for zone in 1 lo; do
		mkfifo up.\$zone
		"$SERVER" -r 9 "tcp:[fe80::7%\$zone]:0" echo ok 9>up.\$zone & s=\$!
		while read -r x y a && [ "\$x" != ready ]; do echo "\$a"; done <up.\$zone
		kill \$s; wait \$s
	done
	X
	run timeout 20 unshare -rn sh inside.sh 3>&-
	[[ $status != 77 ]] || skip "no address there"
	[[ $status == 0 && ${#lines[@]} -ge 2 && $output != *"no interface"* ]] || die "$output"
	[[ $(grep -c '^tcp6:\[fe80::7%' <<<"$output") == 2 ]] || die "$output"
}

@test "listen+= adds listeners; all of them are served" {
	start_server -o listen+=unix:s -o listen+=127.0.0.2:0 127.0.0.1:0 echo hi
	[[ ${#ADDRESSES[@]} == 3 && ${ADDRESSES[1]} == unix:s ]]
	run -0 ask; [[ $output == hi ]]
	run -0 "$PEER" unix:s; [[ $output == hi ]]
	run -0 "$PEER" "${ADDRESSES[2]}"; [[ $output == hi ]]
}

@test "unix: path, removed at exit" {
	start_server unix:sock sh -c 'echo $PROTO $UNIXLOCALPATH'
	[[ ${ADDRESSES[*]} == unix:sock && -S sock ]]
	run -0 "$PEER" unix:sock
	[[ $output == "UNIX sock" ]]
	stop_server
	[[ ! -e sock ]]
}

@test "unix-seqpacket: keeps records" {
	start_server unix-seqpacket:sock cat
	[[ ${ADDRESSES[*]} == unix-seqpacket:sock ]]
	run -0 "$PEER" -s "a record" -H unix-seqpacket:sock
	[[ $output == "a record" ]]
}

@test "unix:@name is in the abstract namespace" {
	start_server "unix:@test.$$.$BATS_TEST_NUMBER" sh -c 'echo $UNIXLOCALPATH'
	[[ ${ADDRESSES[*]} == "unix:@test.$$.$BATS_TEST_NUMBER" ]]
	run -0 "$PEER" "unix:@test.$$.$BATS_TEST_NUMBER"
	[[ $output == "@test.$$.$BATS_TEST_NUMBER" ]]
}

@test "T27: a stale UNIX socket is replaced, a live one is not" {
	start_server unix:sock echo hi
	local inode; inode=$(stat -c %i sock)
	run -1 "$SERVER" -o user="$ME" unix:sock echo no
	[[ $output == "server: unix:sock: cannot bind: "* && $(stat -c %i sock) == "$inode" ]]
	stop_server KILL
	[[ -S sock ]]
	start_server unix:sock echo back
	run -0 "$PEER" unix:sock; [[ $output == back ]]
}

@test "T27: anything at the path that is no socket is left alone, and is an error" {
	echo precious >sock
	run -1 "$SERVER" -o user="$ME" unix:sock echo no
	[[ $output == *"no socket stands there" && $(<sock) == precious ]]
	rm sock; ln -s nowhere sock
	run -1 "$SERVER" -o user="$ME" unix:sock echo no
	[[ -L sock && ! -e nowhere ]]
}

@test "T27: a path that another process has taken over is not removed at exit" {
	start_server unix:sock echo hi
	rm sock; echo other >sock
	stop_server
	[[ $(<sock) == other ]]
}

@test "T27: mode is the path's mode, whatever the umask" {
	umask 077
	start_server -o mode=0662 unix:a echo hi
	[[ $(stat -c %a a) == 662 ]]
	start_server unix:b echo hi
	[[ $(stat -c %a b) == 600 ]]
	umask 022
	start_server unix:c echo hi
	[[ $(stat -c %a c) == 644 ]]
}

@test "T27: owner is the path's user and group" {
	requires_root
	start_server -o owner=daemon:nogroup -o mode=0640 unix:a echo hi
	[[ $(stat -c %U:%G:%a a) == daemon:nogroup:640 ]]
	start_server -o owner=:daemon unix:b echo hi
	[[ $(stat -c %U:%G b) == root:daemon ]]
	run -2 "$SERVER" -o user="$ME" -o owner=nosuchuser unix:x true
	[[ $output == *'owner "nosuchuser": there is no such user' ]]
}

# occupied KIND HOW: something stands at ./s. HOW: stale, live, full (nobody more fits in its queue).
occupied() {
	rm -f up
	python3 stand.py "$1" "$2" <"$PWD/held" >/dev/null 3>&- & STANDS=$!
	exec {LEAVE}>held
	until_true 10 test -e up
}
leaves() { exec {LEAVE}>&-; wait "$STANDS"; rm -f s; }
not_served() { # nothing is served at ./s, and what stands there stays
	local was; was=$(stat -c %i:%F:%a s)
	run -1 timeout 10 "$SERVER" -o user="$ME" "$@" echo no
	[[ $output == "server: $1: cannot bind: "* && $(stat -c %i:%F:%a s) == "$was" ]] || die "$1: $output"
}

@test "T27: what stands at a path: only a socket that refuses is replaced, everything else is an error and stays" {
	requires python3
	mkfifo held
	cat >stand.py <<-'X'
	import os, socket, sys
	kind = {"unix": socket.SOCK_STREAM, "unix-seqpacket": socket.SOCK_SEQPACKET, "unix-dgram": socket.SOCK_DGRAM}[sys.argv[1]]
	s, clients = socket.socket(socket.AF_UNIX, kind), []
	s.bind("s")
	if sys.argv[2] != "stale" and kind != socket.SOCK_DGRAM: s.listen(0)
	while sys.argv[2] == "full":
	    c = socket.socket(socket.AF_UNIX, kind); c.setblocking(False); clients.append(c)
	    try:
	        c.connect("s")
	        if kind == socket.SOCK_DGRAM:
	            for i in range(100000): c.send(b"x")
	    except BlockingIOError: break
	if sys.argv[2] == "stale": s.close()
	open("up", "w").close()
	sys.stdin.read()
	X
	local kind other
	for kind in unix unix-seqpacket unix-dgram; do
		echo precious >s; not_served $kind:s; [[ $(<s) == precious ]]; rm s
		mkdir s; not_served $kind:s; rmdir s
		mkfifo s; not_served $kind:s; rm s
		ln -s nowhere s; not_served $kind:s; [[ ! -e nowhere ]]; rm s
		run -1 timeout 10 "$SERVER" -o user="$ME" $kind:none/s echo no
		[[ $output == "server: $kind:none/s: cannot bind: No such file or directory" ]]
		for other in unix unix-seqpacket unix-dgram; do
			occupied $other live; not_served $kind:s; leaves
		done
		occupied $kind full; not_served $kind:s; leaves
		# A link to one that nobody has is still a link.
		occupied $kind stale; mv s old; ln -s old s; not_served $kind:s; [[ -S old ]]; leaves; rm old
		occupied $kind stale; [[ $ME != root ]] || chmod 000 s
		umask 027
		start_server $kind:s echo hi
		[[ $(stat -c %F:%a s) == socket:640 ]]
		if [[ $kind == unix-dgram ]]; then
			run -0 "$DATAGRAMS" -b me.$kind unix-dgram:s x
		else
			run -0 "$PEER" $kind:s
		fi
		[[ $output == hi ]]
		stop_server; [[ ! -e s ]]
		umask 022
		leaves
	done
}

@test "T27: one that we may not connect to is not known to be dead" {
	requires_root
	requires python3
	programs_for_nobody
	start_server -o mode=0600 unix:s echo hi
	chmod 777 .
	local was; was=$(stat -c %i s)
	run -1 nobody timeout 10 bin/server unix:s echo no
	[[ $output == "server: unix:s: cannot bind: "* && $(stat -c %i s) == "$was" ]]
	run -0 "$PEER" unix:s; [[ $output == hi ]]
	chmod 711 .
}

@test "T27: mode and owner stand before anybody can connect" {
	requires_root; requires_tracing
	WRAP="strace -D -q -o calls -e trace=umask,bind,chmod,fchmod,fchmodat,chown,lchown,fchown,fchownat,listen" \
		start_server -o mode=0640 -o owner=daemon:nogroup unix:s echo hi
	stop_server
	# The umask at the bind is the mode's; then the owner; then it listens. Nothing is changed afterwards.
	awk '/^umask/ { mask = $1 } /^bind.*"s"/ { bound = mask; at = NR } /chown.*"s"/ { owned = NR }
		/^listen/ && at && !heard { heard = NR } /chmod.*"s"/ { exit 1 }
		END { exit !(bound == "umask(0137)" && at < owned && owned < heard) }' calls || die "$(<calls)"
}

@test "vsock" {
	[[ -e /dev/vsock ]] || skip "no /dev/vsock"
	start_server vsock:0 sh -c 'echo $PROTO $REMOTE_ADDR' || skip "no vsock listener here"
	[[ ${ADDRESSES[0]} =~ ^vsock:([0-9]+)$ ]]
	run timeout 3 "$PEER" "vsock:1:${BASH_REMATCH[1]}"
	[[ $status != 124 && $status != 1 ]] || skip "the kernel has no vsock loopback"
	[[ $output == "VSOCK 1" ]]
}

# Opens a listening socket on descriptor $1 and runs the rest.
cat_inherit() {
	cat >inherit.py <<-'X'
	import os, socket, sys
	n = int(sys.argv[1]); s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(8)
	open("port", "w").write(str(s.getsockname()[1]))
	os.dup2(s.fileno(), n, inheritable=True)
	if s.fileno() != n: s.close()
	os.environ["LISTEN_PID"] = str(os.getpid())
	os.execvp(sys.argv[2], sys.argv[2:])
	X
}

@test "fd:N takes an inherited listening socket and names it by its address" {
	requires python3
	cat_inherit
	WRAP="python3 inherit.py 5" start_server fd:5 echo hi
	PORT=$(<port)
	[[ ${ADDRESSES[*]} == "tcp:127.0.0.1:$PORT" ]]
	run -0 ask; [[ $output == hi ]]
	# One descriptor for it, not two.
	local inode
	inode=$(awk -v a="$(printf '0100007F:%04X' "$PORT")" '$4 == "0A" && $2 == a { print $10 }' /proc/net/tcp)
	[[ $(readlink /proc/"$PID"/fd/* | grep -c "^socket:\[$inode\]$") == 1 ]]
}

@test "fd:NAME is looked up in LISTEN_FDNAMES; the child sees no LISTEN_ variable" {
	requires python3
	cat_inherit
	export LISTEN_FDS=2 LISTEN_FDNAMES=other:web
	WRAP="python3 inherit.py 4" start_server fd:web sh -c 'env | grep -c LISTEN_'
	PORT=$(<port)
	run -0 ask; [[ $output == 0 ]]
	logged 'warning: nobody claims the inherited descriptor 3'
}

@test "fd:0: a listening socket on standard input" {
	requires python3
	cat >inherit0.py <<-'X'
	import os, socket, sys
	s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(8)
	open("port", "w").write(str(s.getsockname()[1])); os.dup2(s.fileno(), 0)
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	WRAP="python3 inherit0.py" start_server fd:0 echo hi
	run -0 ask "$(<port)"; [[ $output == hi ]]
	[[ $(readlink /proc/"$PID"/fd/0) == /dev/null ]]
}

@test "backlog, sndbuf and rcvbuf are the listener's" {
	requires ss
	start_server -o backlog=7 -o sndbuf=64K -o rcvbuf=32K 127.0.0.1:0 sh -c 'echo hi'
	ss -Hltnm "src = 127.0.0.1 and sport = :$PORT" >s
	[[ $(awk 'NR == 1 {print $3}' s) == 7 ]]
	grep -q 'rb65536' s && grep -q 'tb131072' s
	start_server 127.0.0.1:0 true
	[[ $(ss -Hltn "src = 127.0.0.1 and sport = :$PORT" | awk '{print $3}') == "$(cat /proc/sys/net/core/somaxconn)" ]]
}

@test "flags NODELAY and KEEPALIVE hold for the connections" {
	requires python3 ss
	cat >look.py <<-'X'
	import socket, sys
	s = socket.socket(fileno=0)
	print(s.getsockopt(6, 1), s.getsockopt(1, 9)); sys.stdout.flush()
	X
	start_server -o 'flags=NODELAY KEEPALIVE' 127.0.0.1:0 python3 look.py
	run -0 ask; [[ $output == "1 1" ]]
	start_server -o 'flags=NODELAY KEEPALIVE' -o flags-=NODELAY 127.0.0.1:0 python3 look.py
	run -0 ask; [[ $output == "0 1" ]]
	start_server 127.0.0.1:0 python3 look.py
	run -0 ask; [[ $output == "0 0" ]]
}

@test "NAMEINARGS: the first argument is argv[0]" {
	start_server -o flags=NAMEINARGS 127.0.0.1:0 /bin/sh zaphod -c 'echo $0; tr "\0" " " </proc/$$/cmdline'
	run -0 ask
	[[ ${lines[0]} == zaphod && ${lines[1]} == "zaphod -c "* ]]
}

@test "fd:N that is no socket, or does not listen, is refused" {
	requires python3
	run -2 timeout 10 "$SERVER" -o user="$ME" fd:5 echo hi 5</dev/null
	[[ $output == *"descriptor 5 is not a socket"* ]]
	cat >tied.py <<-'X'
	import os, socket, sys
	s = socket.socket(); s.bind(("127.0.0.1", 0)); os.dup2(s.fileno(), 5); os.set_inheritable(5, True)
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	run -1 timeout 10 python3 tied.py "$SERVER" -o user="$ME" fd:5 echo hi
	[[ $output == *"descriptor 5 is not a listening socket"* ]]
}
