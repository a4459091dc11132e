# No reply is lost: how connections end.
load helper

@test "a command that never reads: the whole answer and a clean end, 1000 times of 1000" {
	start_server 127.0.0.1:0 "$B/tests/tiny"
	run -0 "$PEER" -n 1000 -s "$(printf 'GET / HTTP/1.0\r\nHost: x\r\nUser-Agent: y\r\n\r\n')" "tcp:127.0.0.1:$PORT"
	[[ $output == "1000 3000" ]]
}

@test "the same with linger = no loses replies: that is what lingering is for" {
	start_server -o linger=no 127.0.0.1:0 "$B/tests/tiny"
	run "$PEER" -n 50 -s "$(head -c 20000 /dev/zero | tr '\0' x)" "tcp:127.0.0.1:$PORT"
	[[ $status == 3 ]]
}

# bats test_tags=child
@test "linger = no: the end of stream comes when the command closes, not when it ends" {
	start_server -o linger=no 127.0.0.1:0 sh -c 'echo hi; exec <&- >&- 2>&-; exec sleep 60'
	run -0 "$CLIENT" -w 5 "127.0.0.1:$PORT" </dev/null
	[[ $output == hi ]]
	has_children 1
}

@test "the same on UNIX sockets" {
	start_server unix:s "$B/tests/tiny"
	run -0 "$PEER" -n 300 -s "a request that nobody reads" unix:s
	[[ $output == "300 900" ]]
}

@test "curl gets a long answer from a script that does not read" {
	requires curl
	start_server -s 127.0.0.1:0 'printf "HTTP/1.0 200 OK\r\n\r\n"; head -c 300000 /dev/zero'
	local i
	for i in {1..20}; do
		curl -s --data-binary @"$B/server" -H Expect: "http://127.0.0.1:$PORT/" -o body
		[[ $(stat -c %s body) == 300000 ]] || die "round $i" || return
	done
}

@test "a client that goes on sending gets the answer and its end" {
	start_server 127.0.0.1:0 echo answer
	run -0 bash -c 'head -c 3000000 /dev/zero | "$1" -S "$2"' - "$PEER" "tcp:127.0.0.1:$PORT"
	[[ $output == answer ]]
}

@test "a client that takes a long reply slowly is not cut, though linger is short" {
	start_server -o linger=100ms -o sndbuf=256K -s 127.0.0.1:0 'head -c 150000 /dev/zero'
	"$PEER" -s x -r 4096 -d 4096:30 "tcp:127.0.0.1:$PORT" >got
	[[ $(stat -c %s got) == 150000 ]]
}

@test "a client that neither sends nor closes is let go after linger" {
	start_server -o linger=200ms 127.0.0.1:0 echo hi
	local before; before=$(nfds "$PID")
	"$PEER" -c go "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log EXIT
	settled() { [[ $(nfds "$PID") == "$before" ]]; }
	until_true 5 settled
	: >go
	wait "$p"; [[ $(<got) == hi ]]
}

@test "who has the whole reply may send on without a reset for as long as linger lasts" {
	requires python3
	start_server -o linger=20s 127.0.0.1:0 echo hi
	timeout 30 python3 - "$PORT" <<-'X'
	import socket, sys
	def served():
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
	    assert c.makefile().read() == "hi\n"
	    return c
	first = served()
	# Each of the others was accepted, served and reaped: meanwhile the first was looked at.
	for _ in range(20):
	    served().close()
	    first.sendall(b"x")
	X
}

@test "linger = no: the end of the command is the end of the connection" {
	start_server -o linger=no 127.0.0.1:0 echo hi
	run -0 "$PEER" -n 200 "tcp:127.0.0.1:$PORT"
	[[ $output == "200 600" ]]
}

@test "half close: the command sees end of file and its answer arrives" {
	start_server 127.0.0.1:0 sort
	run -0 "$PEER" -s "b
a
" -H "tcp:127.0.0.1:$PORT"
	[[ ${lines[*]} == "a b" ]]
}

@test "the end waits for the last process of the group" {
	gate g
	start_server 127.0.0.1:0 sh -c "echo first; ./g & exit 0"
	"$PEER" "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	entered g
	wait_log EXIT
	[[ $(<got) != *bye* ]]
	open_gate g
	wait "$p"
	[[ $(<got) == "first
bye" ]]
}

@test "a process that went on in a session of its own does not hold the end" {
	requires setsid
	start_server 127.0.0.1:0 sh -c 'setsid sleep 30 </dev/null >/dev/null 2>&1 & echo $! >daemon.pid; echo done'
	run -0 "$PEER" -t 3000 "tcp:127.0.0.1:$PORT"
	[[ $output == "done" ]]
	pkill -F daemon.pid 2>/dev/null || kill "$(<daemon.pid)" 2>/dev/null || :
	for p in $(marked); do [[ $p == "$PID" ]] || kill "$p" 2>/dev/null || :; done
}

@test "linger = no: a daemon that goes on in the group keeps the connection, as with inetd" {
	gate g
	start_server -o linger=no 127.0.0.1:0 sh -c "echo first; ./g & exit 0"
	"$PEER" "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	entered g
	until_true 5 logged EXIT
	open_gate g
	wait "$p"
	[[ $(<got) == "first
bye" ]]
}

@test "a reset by the client ends everything, and the next is served" {
	start_server 127.0.0.1:0 cat
	local i
	for i in {1..50}; do "$PEER" -s x -R "tcp:127.0.0.1:$PORT"; done
	run -0 "$PEER" -s y -H "tcp:127.0.0.1:$PORT"
	[[ $output == y ]]
	until_true 5 has_children 0
}

@test "lingering counts for no limit" {
	start_server -o instances=1 -o linger=30s 127.0.0.1:0 echo hi
	"$PEER" -c go "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log EXIT
	run -0 ask; [[ $output == hi ]]
	: >go
	wait "$p"
	! logged PAUSE || die "paused"
}

@test "banner, banner_success, banner_fail; what they sent arrives, with a clean end" {
	echo all >b; echo welcome >s; echo "go away" >f
	start_server -o banner="$PWD/b" -o banner_success="$PWD/s" -o banner_fail="$PWD/f" -o no_access=127.0.0.2 127.0.0.1:0 echo hi
	run -0 ask; [[ ${lines[*]} == "all welcome hi" ]]
	run -0 "$PEER" -b 127.0.0.2 -s "some request" "tcp:127.0.0.1:$PORT"
	[[ ${lines[*]} == "all go away" ]]
}

@test "a banner that is not there is a warning" {
	start_server -o banner="$PWD/none" 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	logged "warning: cannot read the banner $PWD/none: No such file"
}
