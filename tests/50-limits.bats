load helper

hold() { # hold NAME [ADDRESS] [peer options]: a connection, held until release NAME
	local n=$1 to=tcp:127.0.0.1:$PORT; shift
	[[ ${1-} != tcp:* ]] || { to=$1; shift; }
	"$PEER" -c "go.$n" "$@" "$to" >"o.$n" 3>&- &
	eval "P_$n=$!"
}
release() { : >"go.$1"; eval "wait \$P_$1"; }

@test "instances = 1: the second caller waits until the first has gone" {
	gate g
	start_server -o instances=1 127.0.0.1:0 ./g
	"$PEER" "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	entered g
	"$PEER" "tcp:127.0.0.1:$PORT" >b 3>&- & local b=$!
	wait_log 'PAUSE: g service_limit'
	has_children 1
	open_gate g; wait "$a"; entered g
	[[ $(<a) == bye && ! -s b ]]
	open_gate g; wait "$b"
	wait_log 'RESUME: g service_limit'
	[[ $(<b) == bye ]]
	log_has 1 PAUSE && log_has 1 RESUME
}

@test "instances with many waiting: each is served, in turn, never more at once" {
	start_server -o instances=3 -s 127.0.0.1:0 'ls live.* 2>/dev/null | wc -l >>seen; : >live.$$; read -r x; rm live.$$; echo ok'
	local i
	for i in {1..40}; do "$PEER" -s "x
" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- & done
	all() { [[ $(cat o.* | grep -c ok) == 40 ]]; }
	until_true 20 all
	[[ $(sort -n seen | tail -1) -le 2 ]]
	until_true 5 has_children 0
}

@test "overload = reject: the one too many is told and logged" {
	echo full >f
	start_server -o instances=1 -o overload=reject -o banner_fail="$PWD/f" 127.0.0.1:0 cat
	hold a; wait_log START
	run -0 ask; [[ $output == full ]]
	wait_log 'FAIL: cat service_limit from=127.0.0.1$'
	release a
	until_true 5 has_children 0
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	! logged PAUSE || die "paused"
}

@test "instances = 0 refuses everybody" {
	start_server -o instances=0 127.0.0.1:0 echo hi
	run -0 ask; [[ -z $output ]]
	wait_log 'FAIL: echo service_limit'
}

@test "limit is of all children of the master" {
	start_server -o limit=2 -o listen+=127.0.0.2:0 127.0.0.1:0 cat
	hold a
	hold b "${ADDRESSES[1]}"
	until_true 5 log_has 2 START
	"$PEER" -s c -H "${ADDRESSES[1]}" >c 3>&- & local c=$!
	"$PEER" -s d -H "tcp:127.0.0.1:$PORT" >d 3>&- & local d=$!
	until_true 5 log_has 2 'PAUSE: cat process_limit'
	has_children 2
	release a
	wait "$c" "$d"
	[[ $(<c) == c && $(<d) == d ]]
	release b
	until_true 5 log_has 2 'RESUME: cat process_limit'
	start_server -o limit=1 -o overload=reject 127.0.0.1:0 cat
	hold x; wait_log 'START: cat'
	run -0 ask; wait_log 'FAIL: cat process_limit from'
	release x
}

@test "per_source: so many for one source, others are not concerned" {
	start_server -o per_source=2 127.0.0.1:0 cat
	hold a; hold b; until_true 5 log_has 2 START
	run -0 ask
	wait_log 'FAIL: cat per_source_limit from=127.0.0.1$'
	run -0 "$PEER" -b 127.0.0.2 -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	release a
	until_true 5 has_children 1
	run -0 "$PEER" -s y -H "tcp:127.0.0.1:$PORT"; [[ $output == y ]]
	release b
}

@test "source_prefix says what one source is" {
	start_server -o per_source=1 -o source_prefix='24 64' 127.0.0.1:0 cat
	hold a -b 127.0.0.7; wait_log START
	run -0 "$PEER" -b 127.0.0.8 "tcp:127.0.0.1:$PORT"
	wait_log 'FAIL: cat per_source_limit from=127.0.0.8'
	run -0 "$PEER" -b 127.0.1.8 -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
	release a
}

@test "per_source of UNIX peers is their user" {
	requires_root; requires setpriv
	start_server -o per_source=1 -o mode=666 unix:s cat
	chmod 755 . ..
	"$PEER" -c go unix:s >o 3>&- & local p=$!
	wait_log START
	run -0 "$PEER" unix:s
	wait_log 'FAIL: cat per_source_limit from=uid:0$'
	: >go; wait "$p"
}

@test "source_cps: what comes faster is refused, others are not concerned" {
	start_server -o source_cps=3/1h 127.0.0.1:0 echo hi
	local i
	for i in 1 2 3; do run -0 ask; [[ $output == hi ]]; done
	run -0 ask; [[ -z $output ]]
	wait_log 'FAIL: echo source_rate from=127.0.0.1$'
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:$PORT"; [[ $output == hi ]]
}

@test "source_cps gives room again as time passes" {
	start_server -o source_cps=1/200ms 127.0.0.1:0 echo hi
	served() { [[ $(ask) == hi ]]; }
	served
	until_true 5 served
}

@test "cps N W: the listener rests, open, and then serves who waited" {
	start_server -o cps='3 1' 127.0.0.1:0 echo hi
	local start; start=$(now_ms)
	run -0 "$PEER" -n 4 "tcp:127.0.0.1:$PORT"
	[[ $output == "4 12" ]]
	(($(now_ms) - start >= 900))
	log_has 1 'PAUSE: echo service_limit'
	wait_log 'RESUME: echo service_limit'
}

@test "cps N/DURATION paces: never more than N starts in any DURATION" {
	start_server -o cps=2/300ms -o log_format=json 127.0.0.1:0 echo hi
	run -0 "$PEER" -n 7 "tcp:127.0.0.1:$PORT"
	[[ $output == "7 21" ]]
	requires python3
	python3 - "$LOG" <<-'X'
	import json, sys, datetime
	t = [datetime.datetime.fromisoformat(o["time"][:-1]).timestamp() for o in map(json.loads, open(sys.argv[1])) if o["event"] == "start"]
	assert len(t) == 7, t
	assert all(b - a > 0.28 for a, b in zip(t, t[2:])), t
	X
}

@test "max_load: above it the service pauses, and goes on when it is below" {
	[[ $(cut -d' ' -f1 /proc/loadavg) != 0.00 ]] || skip "no load at all"
	start_server -o max_load=0.0001 127.0.0.1:0 echo hi
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >got 3>&- & local p=$!
	wait_log 'PAUSE: echo load'
	[[ ! -s got ]]
	kill "$p"; wait "$p" || :
	start_server -o max_load=0.0001 -o overload=reject 127.0.0.1:0 echo hi
	run -0 ask; [[ -z $output ]]
	wait_log 'FAIL: echo load from=127.0.0.1'
	start_server -o max_load=100000 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
}

@test "a paused listener costs no processor time" {
	start_server -o instances=1 127.0.0.1:0 cat
	hold a; wait_log START
	hold b; wait_log PAUSE
	local before; before=$(ticks "$PID")
	nap 2
	(($(ticks "$PID") - before <= 2))
	release a; release b
	until_true 5 has_children 0
}

@test "a flood of refusals is limited in the log, counted, and told" {
	start_server -o no_access=127.0.0.1 127.0.0.1:0 true
	run -0 "$PEER" -n 500 "tcp:127.0.0.1:$PORT"
	wait_log 'SUPPRESSED: true [0-9]+ more refusals'
	(($(count_log FAIL) < 80))
	kill -USR1 "$PID"; wait_log 'refused=500'
}

@test "limits are exact under a crowd that comes and goes" {
	start_server -q -o instances=4 -o overload=reject -o per_source=3 127.0.0.1:0 cat
	local i crowd=() seen=0 c
	for i in {1..4}; do
		"$PEER" -n 150 -s x -H -b "127.0.0.$i" "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & crowd+=($!)
	done
	(for i in {1..100}; do "$PEER" -s x -R "tcp:127.0.0.1:$PORT"; done) 3>&- & crowd+=($!)
	over() { local p; for p in "${crowd[@]}"; do gone "$p" || return 1; done; }
	until over; do
		read -ra c <<<"$(children "$PID")"
		((${#c[@]} <= seen)) || seen=${#c[@]}
		nap
	done
	wait "${crowd[@]}" || :
	# One that has ended and is not reaped yet may still be listed.
	((seen <= 8))
	until_true 5 has_children 0
	kill -USR1 "$PID"; wait_log 'live=0'
	run -0 "$PEER" -s y -H "tcp:127.0.0.1:$PORT"; [[ $output == y ]]
}
