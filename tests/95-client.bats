load helper

@test "MESSAGE words are joined by blanks and end with a newline" {
	start_server 127.0.0.1:0 cat
	run -0 "$CLIENT" "127.0.0.1:$PORT" one "two  three" four
	[[ $output == "one two  three four" ]]
	"$CLIENT" "127.0.0.1:$PORT" x | od -c | grep -q 'x  \\n'
}

@test "standard input is sent, its end passed on as a half close" {
	start_server 127.0.0.1:0 sort
	run -0 bash -c 'printf "b\na\n" | "$1" "$2"' - "$CLIENT" "127.0.0.1:$PORT"
	[[ ${lines[*]} == "a b" ]]
	head -c 3000000 /dev/urandom >big
	start_server 127.0.0.1:0 cat
	"$CLIENT" "127.0.0.1:$PORT" <big >back
	cmp big back
}

@test "the service's end ends the client, whatever standard input does" {
	start_server 127.0.0.1:0 echo bye
	mkfifo in; exec {w}<>in
	run -0 timeout 5 "$CLIENT" "127.0.0.1:$PORT" <in
	[[ $output == bye ]]
	exec {w}>&-
}

@test "a lone port means localhost; HOST PORT as telnet takes it" {
	start_server 0 echo hi
	run -0 "$CLIENT" "$PORT" </dev/null; [[ $output == hi ]]
	run -0 "$CLIENT" localhost "$PORT" </dev/null; [[ $output == hi ]]
	run -0 "$CLIENT" 127.0.0.1 "$PORT" message; [[ $output == hi ]]
	run -0 "$CLIENT" "tcp:127.0.0.1:$PORT" </dev/null; [[ $output == hi ]]
	run -0 "$CLIENT" "[::1]:$PORT" </dev/null; [[ $output == hi ]]
}

@test "-4 and -6 fix the family" {
	start_server 0 sh -c 'echo $TCPREMOTEIP'
	run -0 "$CLIENT" -4 "localhost:$PORT" </dev/null; [[ $output == 127.0.0.1 ]]
	run -0 "$CLIENT" -6 "[::1]:$PORT" </dev/null; [[ $output == ::1 ]]
	run -0 "$CLIENT" -46 "127.0.0.1:$PORT" </dev/null; [[ $output == 127.0.0.1 ]]
	run -2 "$CLIENT" -6 "tcp4:localhost:$PORT"
	[[ $output == *"-6 does not go with it" ]]
}

@test "-s: source address, port, or both" {
	start_server 127.0.0.1:0 sh -c 'echo $TCPREMOTEIP:$TCPREMOTEPORT'
	run -0 "$CLIENT" -s 127.0.0.9 "127.0.0.1:$PORT" </dev/null; [[ $output == 127.0.0.9:* ]]
	local p=$((20000 + RANDOM % 10000))
	run -0 "$CLIENT" -s "127.0.0.8:$p" "127.0.0.1:$PORT" </dev/null; [[ $output == "127.0.0.8:$p" ]]
	run -0 "$CLIENT" -s "$((p + 1))" "127.0.0.1:$PORT" </dev/null; [[ $output == "127.0.0.1:$((p + 1))" ]]
	start_server '[::1]:0' sh -c 'echo $TCPREMOTEIP:$TCPREMOTEPORT'
	run -0 "$CLIENT" -s "[::1]:$((p + 2))" "[::1]:$PORT" </dev/null; [[ $output == "::1:$((p + 2))" ]]
}

@test "-w: a refused connection is tried again meanwhile" {
	"$CLIENT" -w 10 unix:late hello >got 3>&- & local c=$!
	start_server unix:late cat
	wait "$c"
	[[ $(<got) == hello ]]
	run -1 "$CLIENT" -w 0.2 unix:never </dev/null
	[[ $output == "client: unix:never: cannot connect: "* ]]
}

@test "-w: then for silence" {
	start_server 127.0.0.1:0 sh -c 'echo hi; cat'
	mkfifo in; exec {w}<>in
	run -1 "$CLIENT" -w 0.3 "127.0.0.1:$PORT" <in
	[[ ${lines[*]} == "hi client: 127.0.0.1:$PORT: silent for too long" ]]
	exec {w}>&-
}

@test "-v says both ends, -q nothing" {
	start_server 127.0.0.1:0 echo hi
	run -0 --separate-stderr "$CLIENT" -v "127.0.0.1:$PORT" </dev/null
	[[ $output == hi && $stderr =~ ^client:\ tcp:127.0.0.1:[0-9]+\ connected\ to\ tcp:127.0.0.1:$PORT$ ]]
	run -1 "$CLIENT" -q "127.0.0.1:1" </dev/null
	[[ -z $output ]]
}

@test "exit status 1: no connection, or it broke" {
	run -1 "$CLIENT" 127.0.0.1:1 </dev/null
	[[ $output == "client: 127.0.0.1:1: cannot connect: "* ]]
	run -1 "$CLIENT" no.such.host.invalid:80 </dev/null
	[[ $output == *"cannot resolve no.such.host.invalid"* ]]
	requires python3
	cat >reset.py <<-'X'
	import socket, struct
	s = socket.socket(fileno=0); s.setsockopt(1, 13, struct.pack("ii", 1, 0)); s.recv(1); s.close()
	X
	start_server -o linger=no 127.0.0.1:0 python3 reset.py
	run -1 "$CLIENT" "127.0.0.1:$PORT" x
	[[ $output == *"the connection broke: "* ]]
	# Also where it is sending, which is told of it first.
	# shellcheck disable=SC2016
	run -1 bash -c 'head -c 50000000 /dev/zero | "$1" "127.0.0.1:$2"' - "$CLIENT" "$PORT"
	[[ $output == *"the connection broke: "* ]]
	start_server 127.0.0.1:0 echo hi
	run -1 bash -c '"$1" "127.0.0.1:$2" </dev/null >/dev/full' - "$CLIENT" "$PORT"
}

@test "exit status 2: the command line is wrong" {
	local want; local -a args
	while IFS='|' read -r want line; do
		read -ra args <<<"$line"
		run -2 "$CLIENT" "${args[@]}" </dev/null
		[[ ${#lines[@]} == 1 && $output == "client: "*"$want"* ]] || die "$line: $output" || return
	done <<-'X'
	no ADDRESS given|
	no such option|-x 1
	no such option|--frob 1
	not a time|-w soon 1
	a value is missing|-w
	not ADDR|-s nowhere:x 1
	not ADDR|-s 99999 127.0.0.1:1 x
	a descriptor is nothing to connect to|fd:3
	-s is for TCP and UDP|-s 127.0.0.1 unix:/tmp/x
	127.0.0.1 is not an IPv6 address|tcp6:127.0.0.1:1
	no port|somehost
	is no port|127.0.0.1:99999
	is no tcp port|127.0.0.1:nosuchport
	-u is UDP|-u tcp:127.0.0.1:7
	X
}

@test "closed standard input or output do no harm" {
	start_server 127.0.0.1:0 cat
	run -0 timeout 5 bash -c '"$1" "$2" hello <&-' - "$CLIENT" "127.0.0.1:$PORT"; [[ $output == hello ]]
	run -0 timeout 5 bash -c '"$1" "$2" <&-' - "$CLIENT" "127.0.0.1:$PORT"
	run timeout 5 bash -c '"$1" "$2" hello >&-' - "$CLIENT" "127.0.0.1:$PORT"
	[[ $status == 1 && $output == *"standard output is closed" ]]
}

# A UDP or UNIX datagram service: answers each datagram in capitals; the word "mute" with silence.
datagrams() {
	requires python3
	cat >dgram.py <<-'X'
	import socket, sys
	if sys.argv[1] == "unix":
	    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("dg")
	else:
	    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0))
	open("port.tmp", "w").write(str(s.getsockname()[1])); import os; os.rename("port.tmp", "port")
	while True:
	    d, a = s.recvfrom(65536)
	    if d != b"mute\n": s.sendto(d.upper() or b"EMPTY\n", a)
	X
	python3 dgram.py "$1" 3>&- & DGRAM=$!
	until_true 5 test -e port
	PORT=$(<port)
}

@test "-u: UDP, ends after a second of silence: 0 if anything came, else 1" {
	datagrams inet
	run -0 "$CLIENT" -u "127.0.0.1:$PORT" hello; [[ $output == HELLO ]]
	run -0 "$CLIENT" -w 0.3 "udp:127.0.0.1:$PORT" hello; [[ $output == HELLO ]]
	run -0 "$CLIENT" -u -w 0.3 127.0.0.1 "$PORT" </dev/null; [[ $output == EMPTY ]]
	run -1 "$CLIENT" -u -w 0.3 "127.0.0.1:$PORT" mute; [[ -z $output ]]
	kill "$DGRAM"; wait "$DGRAM" || :
}

@test "unix-dgram: the answer finds its way" {
	datagrams unix
	run -0 "$CLIENT" -w 0.3 unix-dgram:dg hello; [[ $output == HELLO ]]
	run -0 "$CLIENT" -u -w 0.3 unix:dg hello; [[ $output == HELLO ]]
	kill "$DGRAM"; wait "$DGRAM" || :
}

@test "unix, unix-seqpacket and abstract sockets" {
	start_server -o listen+=unix-seqpacket:q -o "listen+=unix:@c.$$.$BATS_TEST_NUMBER" unix:s cat
	run -0 "$CLIENT" unix:s hello; [[ $output == hello ]]
	run -0 "$CLIENT" unix-seqpacket:q hello; [[ $output == hello ]]
	run -0 "$CLIENT" "unix:@c.$$.$BATS_TEST_NUMBER" hello; [[ $output == hello ]]
}

@test "fifo: a message to a named pipe; -w without a reader" {
	mkfifo f
	cat f >got 3>&- & local p=$!
	run -0 "$CLIENT" fifo:f hello world
	wait "$p"; [[ $(<got) == "hello world" ]]
	run -1 "$CLIENT" -w 0.2 fifo:f x
}
