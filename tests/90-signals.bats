load helper

held() { # a connection that its command holds until ./go exists; $1: options
	"$PEER" -c go -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	wait_log 'START'
}

@test "TERM drains: the listeners close at once, the children may end, exit status 0" {
	start_server 127.0.0.1:0 sh -c 'cat >/dev/null; echo last words'
	held
	kill -TERM "$PID"
	wait_log DRAIN
	run -5 ask
	! gone "$PID"
	: >go
	wait "$HELD"
	[[ $(<held) == "last words" ]]
	wait_end
	[[ $STATUS == 0 ]]
}

@test "grace: then the children are told to end, then killed" {
	start_server -o grace=300ms 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	until_true 5 test -s held
	local start; start=$(now_ms)
	stop_server
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 4000))
	logged 'STOP: 1 children'; logged 'EXIT: sh signal=9'
	wait "$HELD" || :
}

@test "a second TERM stops now; kill_after is at most a second then" {
	start_server -o kill_after=60s 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	until_true 5 test -s held
	kill -TERM "$PID"; wait_log DRAIN
	local start; start=$(now_ms)
	stop_server TERM
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 4000))
	wait "$HELD" || :
}

@test "INT stops now: TERM to every child's group" {
	start_server 127.0.0.1:0 sh -c 'sleep 60 & echo $!; wait'
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & HELD=$!
	until_true 5 test -s held
	stop_server INT
	[[ $STATUS == 0 ]]
	until_true 5 gone "$(<held)"
	wait "$HELD" || :
}

@test "QUIT: exits at once, the children live on" {
	gate g
	start_server unix:s ./g
	"$PEER" -t 20000 unix:s >held 3>&- & HELD=$!
	entered g
	stop_server QUIT
	[[ $STATUS == 0 && ! -e s ]]
	open_gate g
	wait "$HELD"
	[[ $(<held) == bye ]]
}

@test "QUIT under a burst: every child that was started runs" {
	local r i p
	for r in 1 2 3 4 5; do
		: >ran; : >"$LOG"
		start_server 127.0.0.1:0 sh -c 'echo $$ >>ran'
		p=()
		for i in {1..15}; do "$PEER" "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & p+=($!); done
		wait_log START
		stop_server QUIT
		wait "${p[@]}" || :
		all_ran() { [[ $(count_log START) == $(wc -l <ran) ]]; }
		until_true 5 all_ran || return
	done
}

@test "TERM with nothing to wait for ends at once" {
	start_server 127.0.0.1:0 true
	local start; start=$(now_ms)
	stop_server
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 2000))
}

@test "at TERM those who are through already are still served" {
	start_server 127.0.0.1:0 echo hi
	kill -STOP "$PID"
	local i p=()
	for i in {1..20}; do "$PEER" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & p+=($!); done
	connected() { [[ $(grep -c " 01 " <(grep -i ":$(printf %04X "$PORT") " /proc/net/tcp)) -ge 20 ]]; }
	until_true 5 connected
	kill -TERM "$PID"; kill -CONT "$PID"
	wait "${p[@]}"
	[[ $(cat o.* | grep -c hi) == 20 ]]
	wait_end; [[ $STATUS == 0 ]]
}

@test "the last bytes leave at a drain: a slow reader gets the whole reply" {
	start_server -o sndbuf=256K -s 127.0.0.1:0 'head -c 150000 /dev/zero'
	"$PEER" -r 4096 -d 4096:20 "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log EXIT
	stop_server
	wait "$p"
	[[ $STATUS == 0 && $(stat -c %s got) == 150000 ]]
}

@test "HUP, USR2 and stray signals do not end it" {
	start_server 127.0.0.1:0 echo hi
	kill -HUP "$PID"; kill -USR2 "$PID"; kill -PIPE "$PID"; kill -ALRM "$PID"; kill -CHLD "$PID"; kill -WINCH "$PID"
	run -0 ask; [[ $output == hi ]]
}

@test "a storm of signals does not stop the service" {
	start_server 127.0.0.1:0 echo hi
	local i
	for i in {1..3000}; do kill -HUP "$PID"; kill -CHLD "$PID"; done
	run -0 ask; [[ $output == hi ]]
}

@test "no zombies: 300 children that end while the master is stopped" {
	start_server -q 127.0.0.1:0 cat
	"$B/tests/hold" "$PORT" 100 >/dev/null <<<"" || :
	run -0 "$PEER" -n 200 "tcp:127.0.0.1:$PORT" -s x -H
	kill -STOP "$PID"; kill -CONT "$PID"
	clean() { has_children 0; }
	until_true 5 clean
}

@test "orphans of the commands are reaped too" {
	start_server -q 127.0.0.1:0 sh -c 'for i in 1 2 3 4 5; do (sh -c "exit 0" & exit 0) & done; exit 0'
	run -0 "$PEER" -n 20 "tcp:127.0.0.1:$PORT"
	until_true 5 has_children 0
}

@test "as process 1: strangers are reaped, TERM works, no zombies" {
	unshare -pf --mount-proc true 2>/dev/null || unshare -Urpf --mount-proc true 2>/dev/null || skip "no pid namespace"
	local how="-pf --mount-proc"
	# shellcheck disable=SC2086
	unshare $how true 2>/dev/null || how="-Urpf --mount-proc"
	cat >inside.sh <<-X
	exec "$SERVER" -p $PWD/pid -r 9 127.0.0.1:0 sh -c 'setsid sh -c "sleep 0.1 & exit 0" & (sh -c "exit 3" &) ; cat /proc/1/comm; exit 0' 9>lines
	X
	# shellcheck disable=SC2086
	unshare $how sh inside.sh </dev/null >>"$LOG" 2>&1 3>&- & local u=$!
	until_true 5 grep -q ready lines
	local x y a; read -r x y a <lines
	local i
	for i in {1..50}; do run -0 ask "${a##*:}"; [[ $output == server ]]; done
	local one; one=$(children "$u")
	no_children() { has_children 0 "$one"; }
	until_true 5 no_children
	kill -TERM "$one"
	until_true 5 gone "$u"
	wait "$u"
	[[ ! -e pid ]]
}

@test "a killed master ends no session, and the next start needs no waiting" {
	gate g
	start_server 127.0.0.1:0 ./g
	local port=$PORT
	"$PEER" -t 20000 "tcp:127.0.0.1:$port" >held 3>&- & HELD=$!
	entered g
	stop_server KILL || :
	start_server "127.0.0.1:$port" echo again
	run -0 ask; [[ $output == again ]]
	open_gate g
	wait "$HELD"; [[ $(<held) == bye ]]
}
