load helper

@test "timeout: TERM to the whole process group, and the connection ends" {
	start_server -o timeout=300ms 127.0.0.1:0 sh -c 'sleep 60 & echo $!; sleep 60'
	run -0 ask
	wait_log 'KILL: sh pid=[0-9]+ from=127.0.0.1 timeout'
	wait_log 'EXIT: sh signal=15'
	until_true 5 gone "$output"
}

@test "kill_after: a child that ignores TERM is killed" {
	start_server -o timeout=200ms -o kill_after=200ms 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	run -0 ask; [[ $output == up ]]
	wait_log 'EXIT: sh signal=9'
}

@test "timeout on a UNIX socket: the whole process group, a child that ignores TERM too" {
	start_server -o timeout=300ms -o kill_after=100ms unix:s sh -c 'trap "" TERM; sleep 60 & echo $!; sleep 60'
	run -0 "$PEER" unix:s
	wait_log 'KILL: sh pid=[0-9]+ .*timeout'
	wait_log 'EXIT: sh signal=9'
	until_true 5 gone "$output"
}

@test "timeout holds for what the command leaves behind in its group" {
	start_server -o timeout=400ms -o kill_after=100ms 127.0.0.1:0 sh -c 'trap "" TERM; sleep 60 & echo $!; exit 0'
	run -0 ask
	until_true 5 gone "$output"
}

@test "timeout does not touch a child that ends in time" {
	start_server -o timeout=5s 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	wait_log 'EXIT: echo status=0'
}

@test "idle_timeout: ends a connection over which nothing moves" {
	start_server -o idle_timeout=300ms 127.0.0.1:0 cat
	run -0 ask
	wait_log 'KILL: cat pid=[0-9]+ from=127.0.0.1 idle_timeout'
	wait_log 'EXIT: cat signal=15'
}

@test "idle_timeout: not one that moves, whichever way" {
	start_server -o idle_timeout=700ms -s 127.0.0.1:0 'for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; echo $i; done'
	run -0 ask
	[[ ${#lines[@]} == 9 ]]
	start_server -o idle_timeout=700ms 127.0.0.1:0 cat
	run -0 bash -c '(for i in 1 2 3 4 5 6 7 8 9; do read -rt 0.2 <> <(:); echo $i; done) | "$1" -S -H "$2"' - "$PEER" "tcp:127.0.0.1:$PORT"
	[[ ${#lines[@]} == 9 ]]
}

@test "hangup = kill: a reset ends the command; a half close does not" {
	start_server -o hangup=kill 127.0.0.1:0 sh -c 'cat >/dev/null; echo answer'
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:$PORT"
	[[ $output == answer ]]
	start_server -o hangup=kill 127.0.0.1:0 sleep 60
	"$PEER" -s x -R "tcp:127.0.0.1:$PORT"
	wait_log 'KILL: sleep pid=[0-9]+ from=127.0.0.1 hangup'
	wait_log 'EXIT: sleep signal=15'
}

@test "hangup = ignore: a reset does not end the command" {
	gate g
	start_server 127.0.0.1:0 ./g
	"$PEER" -R "tcp:127.0.0.1:$PORT"
	entered g
	has_children 1
	open_gate g
	wait_log 'EXIT: g'
	! logged KILL || die "killed"
}

@test "hangup = kill on a UNIX socket: the client's close" {
	start_server -o hangup=kill unix:s sleep 60
	"$PEER" -R unix:s
	wait_log 'EXIT: sleep signal=15'
}

@test "a stopped child is ended by its timeout all the same" {
	start_server -o timeout=200ms -o kill_after=200ms 127.0.0.1:0 sh -c 'kill -STOP $$'
	run -0 ask
	wait_log 'EXIT: sh signal=9'
}

@test "200 children with times leave nobody" {
	start_server -q -o timeout=500ms -o kill_after=100ms 127.0.0.1:0 sh -c 'sleep 60 & wait'
	local i
	local p=()
	for i in {1..200}; do "$PEER" "tcp:127.0.0.1:$PORT" 3>&- & p+=($!); done
	wait "${p[@]}" || :
	until_true 10 has_children 0
}
