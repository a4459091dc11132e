load helper

# start_fifo ARGS...: a service of ./pipe, whose command adds what it reads to `got`.
start_fifo() { start_server "$@" fifo:pipe sh -c 'cat >>got; echo end >>got'; }
got() { [[ -e got && $(<got) == "$1" ]]; }
put_in() { timeout 10 sh -c 'cat >pipe' <<<"$1"; }

@test "a FIFO is made, what is written into it starts a command, and it is removed at exit" {
	start_fifo
	[[ ${ADDRESSES[*]} == fifo:pipe && -p pipe ]]
	put_in hello
	until_true 5 got $'hello\nend'
	wait_log 'START: sh pid=[0-9]+$'; wait_log 'EXIT: sh status=0 pid='
	stop_server
	[[ $STATUS == 0 && ! -e pipe ]]
}

@test "its mode is 0666 less the umask, or as said, and never more in between" {
	umask 027; start_fifo; umask 022
	[[ $(stat -c %a pipe) == 640 ]]
	stop_server
	start_fifo -o mode=0622
	[[ $(stat -c %a pipe) == 622 ]]
}

@test "its owner is as said" {
	requires_root
	start_fifo -o owner=nobody:0 -o mode=0600
	[[ $(stat -c %U:%g:%a pipe) == nobody:0:600 ]]
}

@test "a FIFO that is there is used as it is, and stays" {
	mkfifo -m 600 pipe
	local ino; ino=$(stat -c %i pipe)
	start_fifo
	put_in hello
	until_true 5 got $'hello\nend'
	stop_server
	[[ -p pipe && $(stat -c %i:%a pipe) == "$ino:600" ]]
}

@test "anything else at its path is an error and is left alone; so is a link to a FIFO" {
	echo precious >pipe
	run -1 "$SERVER" -o user="$ME" fifo:pipe true
	[[ $output == "server: fifo:pipe: something that is no FIFO stands there" && $(<pipe) == precious ]]
	rm pipe; mkfifo real; ln -s real pipe
	run -1 "$SERVER" -o user="$ME" fifo:pipe true
	[[ -L pipe && -p real ]]
	rm pipe; mkdir pipe
	run -1 "$SERVER" -o user="$ME" fifo:pipe true
	run -1 "$SERVER" -o user="$ME" fifo:no/such/dir/pipe true
	[[ $output == "server: fifo:no/such/dir/pipe: cannot make it: "* ]]
}

# bats test_tags=child
@test "the command has the read end at 0, nothing at 1, the log at 2, and no other" {
	requires python3
	cat >look.py <<-'X'
	import fcntl, os, sys
	e, say = os.environ, lambda *a: print(*a, file=sys.stderr)
	sys.stdin.read()
	say("fds", [f for f in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + f)])
	say("are", os.readlink("/proc/self/fd/0"), os.readlink("/proc/self/fd/1"))
	say("mode", fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY, os.get_blocking(0))
	say("env", e["PROTO"], e["SERVICE"], [k for k in e if k.startswith(("LISTEN", "REMOTE", "TCP", "UDP"))])
	X
	export REMOTE_HOST=stale LISTEN_FDNAMES=stale
	start_server -o id=name fifo:pipe python3 -S look.py
	put_in x
	wait_log 'EXIT: name status=0'
	logged "STDERR: .* fds \['0', '1', '2'\]\$"
	logged "STDERR: .* are $PWD/pipe /dev/null\$"
	logged 'STDERR: .* mode True True$'
	logged 'STDERR: .* env FIFO name \[\]$'
}

@test "writers one after another; the end of file comes when the last has left" {
	start_fifo
	exec {w}>pipe
	echo one >&"$w"
	until_true 5 has_children 1
	put_in two
	put_in three
	until_true 5 got $'one\ntwo\nthree'
	has_children 1
	exec {w}>&-
	until_true 5 got $'one\ntwo\nthree\nend'
	put_in four
	until_true 5 got $'one\ntwo\nthree\nend\nfour\nend'
	until_true 5 log_has 2 EXIT
	log_has 2 START
}

@test "many writers, each in its turn: nothing is lost" {
	start_fifo -q
	local i; for i in {1..50}; do put_in "line $i"; done
	all() { [[ $(grep -c line got) == 50 ]]; }
	until_true 5 all
	[[ $(grep line got) == "$(printf 'line %d\n' {1..50})" ]]
}

@test "a big one comes whole" {
	start_server fifo:pipe sh -c 'cksum >sum'
	head -c 5000000 /dev/urandom >big
	timeout 10 sh -c 'cat big >pipe'
	until_true 5 test -s sum
	[[ $(<sum) == "$(cksum <big)" ]]
}

@test "what is written while a command ends is not lost" {
	gate g
	start_server fifo:pipe sh -c 'cat >>got; ./g'
	put_in one
	entered g	# it has seen the end, and lives
	put_in two &
	wait "$!"	# in the FIFO: its writer has left
	[[ $(<got) == one ]]
	has_children 1
	open_gate g; entered g
	[[ $(<got) == $'one\ntwo' ]]
	open_gate g
	wait_log 'EXIT'
	until_true 5 has_children 0
}

@test "when the last writer leaves, and when one leaves without a word, the server sleeps" {
	start_fifo
	put_in hello
	until_true 5 got $'hello\nend'
	until_true 5 has_children 0
	: >pipe		# opened and closed
	local before; before=$(ticks "$PID")
	nap 0.4
	(($(ticks "$PID") - before <= 1))
	log_has 1 START
}

@test "a command that does not read is started less and less; it heals" {
	cat >cmd <<-'X'
	#!/bin/sh
	[ -e works ] && cat >>got
	exit 0
	X
	chmod +x cmd
	start_server fifo:pipe ./cmd
	put_in hello
	wait_log 'fifo:pipe: the command ends and leaves there what was there'
	(($(count_log START) <= 12))	# those beside which more seemed to come do not count
	: >works
	until_true 10 got hello
	log_has 1 'growing pauses'
}

@test "a path that leads elsewhere by now is not opened" {
	start_server fifo:pipe sh -c 'cat >>got'
	put_in one
	until_true 5 got one
	until_true 5 has_children 0
	exec {w}<>pipe
	mv pipe old; echo secret >pipe
	echo two >&"$w"
	wait_log 'PAUSE: sh fork .*|ERROR: '
	mv pipe other; mv old pipe
	exec {w}>&-
	until_true 5 got $'one\ntwo'
	! grep -q secret got || die "it read the other file"
}

@test "timeout ends its command; instances and wait = no are of no matter" {
	start_server -o timeout=100ms -o wait=no -o instances=1 fifo:pipe sh -c 'cat >>got; exec tail -f /dev/null'
	put_in one
	wait_log 'EXIT: sh signal=15'
	put_in two
	until_true 5 got $'one\ntwo'
}

@test "a FIFO beside other listeners of a service" {
	start_server -o listen+=fifo:pipe 127.0.0.1:0 sh -c 'echo "$PROTO" >>protos; cat'
	run -0 "$PEER" -s hi -H "tcp:127.0.0.1:$PORT"; [[ $output == hi ]]
	put_in x
	protos() { [[ $(sort protos) == $'FIFO\nTCP' ]]; }
	until_true 5 protos
}

@test "drain: the command has its time" {
	gate g
	start_server fifo:pipe sh -c 'cat >>got; ./g; echo done >>got'
	put_in x
	entered g
	kill -TERM "$PID"; wait_log 'DRAIN: .*1 children'
	open_gate g
	wait_end; [[ $STATUS == 0 && $(<got) == $'x\ndone' && ! -e pipe ]]
}

@test "a FIFO of a table" {
	cat >t <<-X
	service log {
		listen = fifo:$PWD/pipe
		shell  = cat >>$PWD/got
		user   = $ME
		mode   = 0620
	}
	X
	chmod 644 t
	AS_ME="" start_server -f t
	[[ $(stat -c %a pipe) == 620 ]]
	put_in hello
	until_true 5 got hello
}

@test "a built-in and a relay on a FIFO are an error: nothing there is a connection" {
	printf 'service echo { type = INTERNAL\nlisten = fifo:pipe\n}\n' >t
	run -1 "$SERVER" -t -f t
	[[ $output == *"t:1:23: error: a built-in: who writes to a named pipe is no connection"* ]]
	printf 'service r { redirect = 127.0.0.1 9\nlisten = fifo:pipe\n}\n' >t
	run -1 "$SERVER" -t -f t
	[[ $output == *"error: redirect: who writes to a named pipe is no connection"* ]]
}
