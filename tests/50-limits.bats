load helper

hold() { # hold NAME [ADDRESS] [peer options]: a connection, held until release NAME
	local n=$1 to=tcp:127.0.0.1:$PORT; shift
	[[ ${1-} != tcp:* ]] || { to=$1; shift; }
	"$PEER" -c "go.$n" "$@" "$to" >"o.$n" 3>&- &
	eval "P_$n=$!"
}
release() { : >"go.$1"; eval "wait \$P_$1"; }

@test "T13: instances = 1: the second caller waits until the first has gone" {
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

@test "T13: overload = reject: the one too many is told and logged" {
	echo full >f
	start_server -o instances=1 -o overload=reject -o banner_fail="$PWD/f" 127.0.0.1:0 cat
	hold a; wait_log START
	run -0 ask; [[ $output == full ]]
	wait_log 'FAIL: cat service_limit from=127.0.0.1$'
	local n; "$B/tests/probe" "$PORT" 1 >probed
	read -ra n <probed
	((n[0] == n[1] && n[3] < $(bound 10000 100000))) || die "$(<probed)" || return
	figure "${n[1]} of ${n[0]} told so, 99 of 100 in $((n[3] / 1000)).$((n[3] / 100 % 10)) ms"
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

@test "limit holds up nothing that is no child: built-ins and relays" {
	{ printf 'defaults\n{\n\tlimit = 1\n}\n'
	printf 'service cat\n{\n\tlisten = 127.0.0.1:0\n\texec = cat\n\tuser = %s\n}\n' "$ME"
	printf 'service %s\n{\n\ttype = INTERNAL\n\tlisten = %s\n}\n' echo 127.0.0.1:0
	printf 'service there\n{\n\tlisten = 127.0.0.1:0\n\tredirect = unix:@%s\n}\n' "limit-$$"
	printf 'service daytime\n{\n\ttype = INTERNAL UNLISTED\n\tlisten = unix:@%s\n}\n' "limit-$$"; } >t
	start_server -f t
	PORT=${PORTS[cat]} hold a; wait_log 'START: cat'
	run -0 "$PEER" -s x -H "tcp:127.0.0.1:${PORTS[echo]}"; [[ $output == x ]]
	run -0 "$PEER" "tcp:127.0.0.1:${PORTS[there]}"; [[ $output == *:*:* ]]
	release a
}

@test "T13: limit is of all children of the master" {
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

@test "T13: per_source: so many for one source, others are not concerned" {
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

@test "T13: source_prefix says what one source is" {
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

@test "T13: source_cps: what comes faster is refused, others are not concerned" {
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

@test "T13: cps N/DURATION paces: never more than N starts in any DURATION" {
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

@test "T12: a flood of refusals is limited in the log, counted, and told" {
	start_server -o no_access=127.0.0.1 127.0.0.1:0 true
	run -0 "$PEER" -n 500 "tcp:127.0.0.1:$PORT"
	wait_log 'SUPPRESSED: true [0-9]+ more refusals'
	(($(count_log FAIL) < 80))
	wait_state '.* refused=500'
}

@test "T13: an IPv6 source is its /64, and a limit holds for all of it" {
	requires_root; requires ip nsenter
	unshare -n true 2>/dev/null || skip "no namespaces"
	cat >in.sh <<-'X'
	ip link set lo up
	for a in fd00:1::1 fd00:1::2:0:0:2 fd00:1:0:1::1; do ip addr add $a/128 dev lo nodad || exit; done
	exec "$@"
	X
	WRAP="unshare -n sh in.sh" start_server -o per_source=1 '[fd00:1::1]:0' cat
	local port=${ADDRESSES[0]##*:} in=(nsenter -t "$PID" -n)
	from() { run -0 "${in[@]}" "$PEER" -b "$1" -s x -H "tcp:[fd00:1::1]:$port"; }
	"${in[@]}" "$PEER" -c go -b fd00:1::1 "tcp:[fd00:1::1]:$port" >held 3>&- & local p=$!
	wait_log START
	from fd00:1::2:0:0:2; [[ -z $output ]]
	wait_log 'FAIL: cat per_source_limit from=fd00:1::2:0:0:2$'
	from fd00:1:0:1::1; [[ $output == x ]]
	: >go; wait "$p"
	until_true 5 has_children 0
	from fd00:1::2:0:0:2; [[ $output == x ]]
}

# crowd EACH SOURCES LIMIT OPTION...: eight that connect so often on the average, from so many addresses; most reset;
# children are killed meanwhile. With the options there are LIMIT at most. The master stands still at each look, so that what it has as children is of one moment.
crowd() {
	local i crowd=() seen=0 most=0 c looks=0 kills=0 per=$1 sources=$2 limit=$3; shift 3
	start_server -q "$@" 127.0.0.1:0 sleep 0.01
	for i in {1..4}; do
		"$PEER" -n $((per / 5)) -s x -H -b "127.0.0.$((i % sources + 1))" "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & crowd+=($!)
		"$PEER" -n $((per * 9 / 5)) -s x -R -b "127.0.0.$((i % sources + 1))" "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & crowd+=($!)
	done
	over() { local p; for p in "${crowd[@]}"; do gone "$p" || return 1; done; }
	stands() { [[ $(state "$PID") == T ]]; }
	# What the master counts is what there is, where nobody comes or goes, and who told it is gone again.
	all_stand() { local p; for p in $(children "$PID"); do [[ $(state "$p") == T ]] || return 1; done; }
	counted() {
		until_true 5 all_stand || return
		"$SERVERCTL" -C "${CTL##*/}" status >told
		until_true 2 has_children "$(awk '$1 == "sleep" { print $3; exit }' told)"
	}
	until over; do
		kill -STOP "$PID"; until_true 5 stands
		read -ra c <<<"$(children "$PID")"
		((looks % 20 != 19)) || kill -STOP "${crowd[@]}" ${c[@]+"${c[@]}"} 2>/dev/null || :
		kill -CONT "$PID"
		((++looks))
		seen=${#c[@]}
		((seen <= most)) || most=$seen
		((seen <= limit)) || die "$seen children" || return
		if ((seen > 0 && looks % 2 == 0 && looks % 20 != 0)) && kill -KILL "${c[RANDOM % seen]}" 2>/dev/null; then
			((++kills))
		fi
		if ((looks % 20 == 0)); then
			until_true 10 counted || die "counted: $(<told)" "are: $(children "$PID")" || return
			kill -CONT "${crowd[@]}" ${c[@]+"${c[@]}"} 2>/dev/null || :
		fi
		nap
	done
	wait "${crowd[@]}" || :
	# All of them at one look is a matter of luck, if there are few looks.
	((most == limit || (per < 1000 && most > 1))) || die "only $most at once" || return
	until_true 5 has_children 0
	wait_state '.* live=0'
	run -0 ask
	figure "$((per * 8)) connections, $kills killed: at most $most of $limit in $looks looks, and counted so"
}

@test "T13: limits are exact under a crowd that comes and goes" { crowd 400 4 4 -o instances=4 -o per_source=3 -o overload=reject; }
@test "T13: what one source may have is exact under a crowd that comes and goes" { crowd 400 1 3 -o instances=50 -o per_source=3 -o overload=reject; }
@test "T13: a limit is exact where a crowd waits for its turn" { crowd 200 4 4 -o instances=4; }

# bats test_tags=long
@test "T13: limits are exact under 100,000 connections, resets and kills" { crowd 12500 4 4 -o instances=4 -o per_source=3 -o overload=reject; }

# bats test_tags=long
@test "T13: what one source may have is exact under 100,000 connections, resets and kills" { crowd 12500 1 3 -o instances=50 -o per_source=3 -o overload=reject; }

# bats test_tags=long
@test "T13: a limit is exact where 20,000 connections wait for their turn, with resets and kills" { crowd 2500 4 4 -o instances=4; }

# flood SECONDS [ATTRIBUTE...]: one source comes to service a as often as it can. Another source, and
# another service, are asked all the time.
flood() {
	local seconds=$1 flood same other was n words start; shift
	{ printf 'service %s { listen = 127.0.0.1:0\nexec = %s\nlog_on_success =\n' a "$B/tests/tiny"; printf '%s\n' "$@" "}"
	printf 'service b { listen = 127.0.0.1:0\nexec = %s\nlog_on_success =\n}\n' "$B/tests/tiny"; } >t
	chmod 644 t
	start_server -f t
	local a=${PORTS[a]} b=${PORTS[b]}
	listens() { awk -v a="$(printf '0100007F:%04X' "$a")" '$4 == "0A" && $2 == a { print $10 }' /proc/net/tcp; }
	was=$(listens); [[ -n $was ]]
	: >"$LOG"
	"$B/tests/load" "$a" 50 "$seconds" >flood 3>&- & flood=$!
	"$B/tests/probe" -b 127.0.0.2 "$a" "$seconds" >same 3>&- & same=$!
	"$B/tests/probe" "$b" "$seconds" >other 3>&- & other=$!
	wait "$flood"
	start=$(now_ms)
	served_again() { [[ $(ask "$a") == ok ]]; }
	until_true 10 served_again
	start=$(($(now_ms) - start))
	((start < $(bound 1000 3000))) || die "served again after $start ms" || return
	wait "$same" "$other"
	[[ $(listens) == "$was" ]]
	n=$(count_log .)
	# Sixty may come at once, then two a second.
	((n <= 60 + 2 * (seconds + 5))) || die "$n lines in $seconds s" || return
	read -ra same <same; read -ra other <other
	((same[1] * 100 >= same[0] * 99)) || die "the same service: ${same[1]} of ${same[0]}" || return
	# The flood's own clients and commands take the processors, too.
	((other[1] == other[0] && other[3] <= $(bound 50000 500000))) || die "the other service: $(<other)" || return
	read -ra flood <flood
	figure "${flood[0]} connections/s for $seconds s: other source ${same[1]} of ${same[0]}; other service 99 of 100 in $((other[3] / 1000)) ms; again after $start ms; $n lines"
}

@test "T12: one source floods a service with defaults: other sources and services are served, the listener stays" {
	flood 3
}

@test "T12: one source floods a service with limits: it alone is refused, in few lines" {
	flood 3 'source_cps = 50/1s' 'per_source = 10'
}

# bats test_tags=long
@test "T12: a flood of 60 s, with defaults" { flood 60; }

# bats test_tags=long
@test "T12: a flood of 60 s, refused by source_cps and per_source" { flood 60 'source_cps = 50/1s' 'per_source = 10'; }
