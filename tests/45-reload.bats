# HUP reads the table again: what both tables have goes on, and nobody who is served notices.
# RELOADS=1000 makes the one under load as long as it is meant to be.
load helper

setup_file() { export RELOADS=${RELOADS:-60}; }

# service NAME ATTRIBUTE...: an entry of the table t
service() {
	local n=$1 l; shift
	{ printf 'service %s\n{\n' "$n"; for l; do printf '\t%s\n' "$l"; done; echo '}'; } >>t
}
again() { : >t; chmod 644 t; } # the table is written anew

# reload [WORDS]: HUP, and its end; its line in the log holds WORDS. What was there is in log.before.
reload() {
	{ cat "$LOG" && : >"$LOG"; } >>log.before
	kill -HUP "$PID"
	until_true 20 reloaded || return
	[[ $SAID == *"${1-}"* ]] || die "the reload said: $SAID"
}
reloaded() {
	SAID=$(<"$LOG")
	[[ $SAID == *' RELOAD: '*' faulty'* || $SAID == *' RELOAD: refused'* ]]
}
ever() { grep -qE -- "$1" "$LOG" log.before; } # logged, now or before

# Ports that nobody has, and that nobody who connects is given while they are nobody's for a moment: FREE[0…]
free_ports() {
	local low used p
	read -r low _ </proc/sys/net/ipv4/ip_local_port_range
	((low > 20000)) || low=32768
	used=$(awk '{ print $2 }' /proc/net/{tcp,udp}{,6} 2>/dev/null) FREE=()
	until ((${#FREE[@]} == $1)); do
		p=$((10240 + RANDOM % (low - 10240)))
		[[ $used == *"$(printf ':%04X' "$p")"* || " ${FREE[*]-} " == *" $p "* ]] || FREE+=("$p")
	done
}

# The inode of the socket that listens on a port of 127.0.0.1
inode() { awk -v a="$(printf '0100007F:%04X' "$1")" '$4 == "0A" && $2 == a { print $10 }' /proc/net/tcp; }
connected() { # so many clients connected to a port, or waiting to be accepted there
	(($(awk -v p="$(printf ':%04X' "$2")" '$4 == "01" && substr($2, length($2) - 4) == p' \
		/proc/net/tcp /proc/net/tcp6 | wc -l) >= $1))
}
# Lets so many go that wait at the gate g: each reads a line.
let_go() { local i; exec {GATE}<>g.go; for ((i = 0; i < $1; i++)); do echo go >&"$GATE"; done; }
# So many have come to the gate g, if all at once.
inside() { local i l; exec {INSIDE}<>g.in; for ((i = 0; i < $1; i++)); do read -rt 5 -u "$INSIDE" l || return; done; }
clients() { # clients N PORT: that wait for their reply; their output in o.1…
	local i
	CLIENTS=()
	for ((i = 1; i <= $1; i++)); do
		"$PEER" -t 10000 "tcp:127.0.0.1:$2" >"o.$i" 3>&- & CLIENTS+=($!)
	done
}

# --- what goes on

@test "an unchanged service keeps its socket, and who waits in its queue is served" {
	gate g
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'instances = 1'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	start_server -f t
	local a=${PORTS[a]} b=${PORTS[b]} was n
	was="$(inode "$a") $(inode "$b")"
	clients 4 "$a"
	entered g
	until_true 5 connected 4 "$a"
	reload "0 added, 0 changed, 0 removed, 2 as before, 0 off, 0 faulty"
	service c 'listen = 127.0.0.1:0' 'exec = echo c'
	reload "1 added, 0 changed, 0 removed, 2 as before"
	[[ "$(inode "$a") $(inode "$b")" == "$was" ]]
	open_gate g
	for n in 1 2 3; do entered g; open_gate g; done
	wait "${CLIENTS[@]}"
	[[ $(cat o.*) == $'bye\nbye\nbye\nbye' ]]
	run -0 ask "$b"; [[ $output == b ]]
}

@test "a changed program, user and limit hold for those who wait in the queue; the one who is in is not touched" {
	gate g
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'instances = 1'
	start_server -f t
	local was; was=$(inode "$PORT")
	clients 4 "$PORT"
	entered g
	until_true 5 connected 4 "$PORT"
	again
	service a 'listen = 127.0.0.1:0' 'instances = 5' 'env = A=1' "shell = echo \$A \$(id -u)" \
		"user = $([[ $ME == root ]] && echo nobody || echo "$ME")"
	reload "1 changed"
	local who; who=$([[ $ME == root ]] && id -u nobody || id -u)
	replied() { [[ $(cat o.* | grep -c "^1 $who\$") == 3 ]]; }
	until_true 5 replied
	open_gate g
	wait "${CLIENTS[@]}"
	[[ $(cat o.* | grep -c '^bye$') == 1 && $(inode "$PORT") == "$was" ]]
}

@test "T34: live connections of removed and changed services go on, and count when the service comes back" {
	gate g
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'instances = 2'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	start_server -f t
	free_a=${PORTS[a]}
	clients 2 "${PORTS[a]}"
	inside 2
	again
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	reload "0 changed, 1 removed, 1 as before"
	until_true 5 has_children 2
	run -5 ask "$free_a"
	service a "listen = 127.0.0.1:$free_a" 'exec = echo a' 'instances = 3' 'overload = reject'
	reload "1 added, 0 changed"
	run -0 ask "$free_a"; [[ $output == a ]]
	again
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	service a "listen = 127.0.0.1:$free_a" 'exec = echo a' 'instances = 2' 'overload = reject'
	reload "1 changed"
	run -0 ask "$free_a"; [[ $output == "" ]]
	wait_log 'FAIL: a service_limit'
	let_go 2
	wait "${CLIENTS[@]}"
	[[ $(cat o.1 o.2) == $'bye\nbye' ]]
	until_true 5 has_children 0
	run -0 ask "$free_a"; [[ $output == a ]]
}

@test "who is through to a service when it goes is served still" {
	service a 'listen = 127.0.0.1:0' 'exec = echo a'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	start_server -q -f t
	kill -STOP "$PID"
	"$B/tests/load" -b "${PORTS[a]}" 300 20 >served 3>&- & local l=$!
	until_true 10 connected 300 "${PORTS[a]}"
	again; service b 'listen = 127.0.0.1:0' 'exec = echo b'
	kill -HUP "$PID"
	kill -CONT "$PID"
	wait "$l"
	[[ $(<served) == *" 0" ]] || die "$(<served)"
	wait_log 'RELOAD: 0 added, 0 changed, 1 removed'
}

@test "per_source and limit count those of a service that was removed and came back" {
	gate g
	a() { service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'per_source = 1'; }
	b() { service b 'listen = 127.0.0.1:0' 'exec = echo b' 'overload = reject'; }
	a; b
	start_server -f t
	clients 1 "${PORTS[a]}"
	entered g
	again; b; reload "1 removed"
	again; a; b; reload "1 added"
	local port; port=$(grep ' LISTEN: a ' "$LOG" | tail -n 1); port=${port##*:}
	run -0 ask "$port"; [[ $output == "" ]]
	wait_log 'FAIL: a per_source_limit'
	printf 'defaults\n{\n\tlimit = 1\n}\n' >>t
	reload
	run -0 ask "${PORTS[b]}"; [[ $output == "" ]]
	wait_log 'FAIL: b process_limit'
	again; a; b; reload
	run -0 ask "${PORTS[b]}"; [[ $output == b ]]
	open_gate g
	wait "${CLIENTS[@]}"
}

@test "T44: only_from changed holds for the next connection" {
	service a 'listen = 127.0.0.1:0' 'exec = echo hi'
	start_server -f t
	run -0 ask; [[ $output == hi ]]
	again; service a 'listen = 127.0.0.1:0' 'exec = echo hi' 'only_from = 127.0.0.2'
	reload "1 changed"
	run -0 ask; [[ $output == "" ]]
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:$PORT"; [[ $output == hi ]]
}

@test "limit raised while listeners pause for it: they go on at once" {
	local held=()
	a() { service a 'listen = 127.0.0.1:0' 'exec = cat'; }
	printf 'defaults\n{\n\tlimit = 1\n}\n' >t; a
	start_server -f t
	for _ in 1 2 3; do "$PEER" -c over "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & held+=("$!"); done
	wait_log 'PAUSE: a process_limit'
	has_children 1
	again; printf 'defaults\n{\n\tlimit = 4\n}\n' >t; a
	reload '1 as before'
	until_true 5 has_children 3
	wait_log 'RESUME: a process_limit'
	: >over; wait "${held[@]}"
}

@test "a relay that is removed while limit is reached serves all who had come" {
	requires python3
	local name=there-$$-$BATS_TEST_NUMBER
	service cat 'listen = 127.0.0.1:0' 'exec = cat'
	service relay 'listen = 127.0.0.1:0' "redirect = unix:@$name"
	printf 'service daytime\n{\n\ttype = INTERNAL UNLISTED\n\tlisten = unix:@%s\n}\n' "$name" >>t
	printf 'defaults\n{\n\tlimit = 1\n}\n' >>t
	start_server -f t
	"$PEER" -c over "tcp:127.0.0.1:${PORTS[cat]}" >/dev/null 3>&- &
	wait_log 'START: cat'
	again; service cat 'listen = 127.0.0.1:0' 'exec = cat'; printf 'defaults\n{\n\tlimit = 1\n}\n' >>t
	printf 'service daytime\n{\n\ttype = INTERNAL UNLISTED\n\tlisten = unix:@%s\n}\n' "$name" >>t
	timeout 30 python3 - "$PID" "${PORTS[relay]}" <<-'X'
	import os, signal, socket, sys
	pid, port = map(int, sys.argv[1:])
	os.kill(pid, signal.SIGSTOP)
	held = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
	os.kill(pid, signal.SIGHUP); os.kill(pid, signal.SIGCONT)
	for c in held:
	    c.settimeout(10)
	    assert c.recv(100), "not served"
	X
	: >over
}

@test "instances and cps raised while the listener pauses: it goes on at once" {
	gate g
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'instances = 1'
	service b 'listen = 127.0.0.1:0' 'exec = echo b' 'cps = 1/60s'
	start_server -f t
	clients 2 "${PORTS[a]}"; local a=("${CLIENTS[@]}")
	entered g
	run -0 ask "${PORTS[b]}"
	"$PEER" -t 10000 "tcp:127.0.0.1:${PORTS[b]}" >ob 3>&- & local b=$!
	wait_log 'PAUSE: a'; wait_log 'PAUSE: b'
	again
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'instances = 2'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	reload "2 changed"
	entered g
	wait "$b"; [[ $(<ob) == b ]]
	let_go 2
	wait "${a[@]}"
}

# --- faults

@test "T09: a faulty entry keeps its last good version: listener, children, limits; mended, it is taken" {
	gate g
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'instances = 1' 'overload = reject'
	start_server -f t
	local was; was=$(inode "$PORT")
	clients 1 "$PORT"
	entered g
	again; service a 'listen = 127.0.0.1:0' 'exec = echo new' 'instances = much'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	reload "1 added, 0 changed, 0 removed, 0 as before, 0 off, 1 faulty"
	logged 't:5:14: error: '
	[[ $(inode "$PORT") == "$was" ]]
	run -0 ask; [[ $output == "" ]]
	wait_log 'FAIL: a service_limit'
	open_gate g
	wait "${CLIENTS[@]}"; [[ $(<o.1) == bye ]]
	until_true 5 has_children 0
	clients 1 "$PORT"; entered g; open_gate g; wait "${CLIENTS[@]}"
	again; service a 'listen = 127.0.0.1:0' 'exec = echo new'
	reload "0 added, 1 changed, 1 removed, 0 as before, 0 off, 0 faulty"
	run -0 ask; [[ $output == new && $(inode "$PORT") == "$was" ]]
}

@test "status tells services in the order of the table that was read last" {
	local n
	for n in a b c; do service $n 'listen = 127.0.0.1:0' 'exec = true' "user = $ME"; done
	start_server -f t
	again
	for n in c new a b; do service $n 'listen = 127.0.0.1:0' 'exec = true' "user = $ME"; done
	reload "1 added, 0 changed, 0 removed, 3 as before"
	run -0 "$SERVERCTL" -C "$CTL" status
	[[ $(awk '$1 == "SERVICE" { on = 1; next } on { printf "%s ", $1 }' <<<"$output") == "c new a b " ]] || die "$output"
}

@test "of two entries with one id the faulty one keeps its own, in whatever order they stand" {
	free_ports 1
	local p=${FREE[0]}
	s() { service daytime 'type = INTERNAL UNLISTED' 'socket_type = stream' "port = $p" 'bind = 127.0.0.1' "$@"; }
	d() { service daytime 'type = INTERNAL UNLISTED' 'socket_type = dgram' "port = $p" 'bind = 127.0.0.1' 'only_from = 127.0.0.1' "$@"; }
	s; d
	start_server -f t
	both() {
		run -0 ask "$p"; [[ $output == *:*:* ]]
		run -0 "$B/tests/datagrams" "udp:127.0.0.1:$p" x; [[ $output == *:*:* ]]
	}
	both
	again; s 'instances = x'; d 'access_times = 00:00-24:00'
	reload "0 added, 1 changed, 0 removed, 0 as before, 0 off, 1 faulty"; both
	again; d 'instances = x'; s 'access_times = 00:00-24:00'
	reload "0 added, 1 changed, 0 removed, 0 as before, 0 off, 1 faulty"; both
	again; s 'instances = x'; d 'instances = x'
	reload "2 faulty"; both
	again; s; d
	reload "0 faulty"; both
}

@test "T09: a fault outside an entry refuses the reload, and the log says where it is" {
	service a 'listen = 127.0.0.1:0' 'exec = echo a'
	cp t good
	mkdir d; chmod 755 d
	printf 'service i\n{\n\tlisten = 127.0.0.1:0\n\texec = echo i\n}\n' >d/i; chmod 644 d/i
	printf 'include %s/d/i\n' "$PWD" >>t
	start_server -f t
	local before; before="$(inode "$PORT") $(inode "${PORTS[i]}")"
	cp t whole
	refused() {
		reload "refused: $1"
		[[ "$(inode "$PORT") $(inode "${PORTS[i]}")" == "$before" ]]
		run -0 ask; [[ $output == a ]]
		run -0 ask "${PORTS[i]}"; [[ $output == i ]]
	}
	{ cat whole; echo 'service b {'; } >t
	refused "an error outside an entry"; logged 't:7:1: error: '
	{ cat whole; printf 'defaults\n{\n\tinstances = many\n}\n'; } >t
	refused "an error outside an entry"; logged 't:9:14: error: '
	cp whole t; mv d/i gone
	refused "an error outside an entry"; logged 't:6:9: error: '
	mv gone d/i; mv t elsewhere
	refused "the table cannot be read"
	mkfifo t
	refused "the table cannot be read"; rm t
	mv elsewhere t
	if [[ $ME == root ]]; then
		chmod 666 d/i
		refused ""; logged 'd/i:1:1: error: everyone may write'
		chmod 644 d/i; chmod 777 d
		refused ""
		chmod 755 d
	fi
	reload "0 added, 0 changed, 0 removed, 2 as before, 0 off, 0 faulty"
}

# The sockets that listen and that the server has, each as ADDRESS:PORT=INODE.
listening() {
	awk 'NR == FNR { if (match($0, /socket:\[[0-9]+\]/)) has[substr($0, RSTART + 8, RLENGTH - 9)]; next }
		$4 == "0A" && ($10 in has) { print $2 "=" $10 }' <(readlink "/proc/$PID/fd/"*) "/proc/$PID/net/tcp" | sort
}
# Who is there while the tables go wrong: a session that lives on, and a client that comes all the time.
begin_load() { # begin_load PORT-OF-CAT PORT [COMMAND...]
	"${@:3}" "$PEER" -t 600000 -s "held" -c over "tcp:127.0.0.1:$1" >held 3>&- & HELD=$!
	"${@:3}" "$B/tests/probe" -u over "$2" 900 >probed 3>&- & PROBE=$!
	until_true 5 has_children 1
}
end_load() {
	: >over
	wait "$HELD" || die "the session was cut" || return
	[[ $(<held) == held ]] || die "the session: $(<held)" || return
	wait "$PROBE"
	read -ra PROBED <probed
	((PROBED[0] > 0 && PROBED[0] == PROBED[1])) || die "served: ${PROBED[1]} of ${PROBED[0]}"
}
# A reload as an administrator asks for it: RC, and what was said in `said`. Its line in the log is one.
asked_reload() {
	RC=0
	timeout 30 "$SERVERCTL" -C "${CTL##*/}" reload >said 2>&1 </dev/null || RC=$?
	((++ASKED))
}

@test "T09: a table that is missing, a FIFO, a link to itself, a device, too large, closed to us: all goes on as before" {
	service a 'listen = 127.0.0.1:0' "exec = $B/tests/tiny"
	service cat 'listen = 127.0.0.1:0' 'exec = cat'
	local how as=()
	if [[ $ME == root ]]; then
		# Only who is not root can be shut out.
		programs_for_nobody
		mkdir serve; cp t "$B/tests/tiny" serve; chmod 755 serve/tiny; chown -R nobody serve; chmod 644 serve/t
		sed -i "s|exec = .*/tiny|exec = $PWD/serve/tiny|" serve/t; cp serve/t whole
		WRAP="setpriv --reuid=65534 --regid=65534 --clear-groups" SERVER=$PWD/bin/server CONTROL="-C serve/ctl" AS_ME="" start_server -f serve/t
		CTL=$PWD/serve/ctl
	else
		mkdir serve; mv t serve; cp serve/t whole
		CONTROL="-C serve/ctl" start_server -f serve/t
		CTL=$PWD/serve/ctl
	fi
	asked_reload() { RC=0; "$SERVERCTL" -C serve/ctl reload >said 2>&1 </dev/null || RC=$?; ((++ASKED)); }
	begin_load "${PORTS[cat]}" "${PORTS[a]}"
	local was; was=$(listening); ASKED=0
	[[ $(wc -l <<<"$was") == 2 ]]
	for how in missing fifo loop device large shut garbage nul; do
		rm -rf serve/t
		case $how in
		fifo) mkfifo serve/t ;;
		loop) ln -s t serve/t ;;
		device) ln -s /dev/zero serve/t ;;
		large) truncate -s 4G serve/t ;;
		shut) cp whole serve/t; chmod 0 serve/t ;;
		garbage) head -c 5000 /dev/urandom >serve/t ;;
		nul) printf 'service a {\0' >serve/t ;;
		esac
		[[ $ME != root || $how == @(missing|loop|device) ]] || chown nobody serve/t
		asked_reload
		[[ $RC == 1 && -s said ]] || die "$how: status $RC: $(<said)" || return
		[[ $(listening) == "$was" ]] || die "$how: other sockets" || return
		until_true 5 log_has "$ASKED" 'RELOAD: refused: ' || die "$how: $(tail -n 3 "$LOG")" || return
		run -0 ask "${PORTS[a]}"; [[ $output == ok ]]
	done
	# A directory is a table too, as includedir is; what it has there is as it was.
	rm -f serve/t; mkdir serve/t; cp whole serve/t/all
	[[ $ME != root ]] || chown -R nobody serve/t
	chmod 755 serve/t; chmod 644 serve/t/all
	asked_reload; [[ $RC == 0 && $(listening) == "$was" ]]
	end_load
	figure "$ASKED reloads: the same sockets, the session lives, ${PROBED[1]} of ${PROBED[0]} served"
}

# An empty table is sound: it says that nothing is to be served, and that is told.
@test "T09: an empty table: its services go, which is told; sessions live on" {
	service a 'listen = 127.0.0.1:0' 'exec = cat'
	start_server -f t
	"$PEER" -s held -c over "tcp:127.0.0.1:$PORT" >held 3>&- & local p=$!
	until_true 5 has_children 1
	: >t
	asked_reload
	[[ $(<said) == *"the table enables no service"* ]]
	run -5 ask
	: >over
	wait "$p"; [[ $(<held) == held ]]
}

as_many_listen() { [[ $(listening | wc -l) == "$1" ]]; }

# cut STEP: a table of 60 lines, cut after every STEP bytes. Where an entry is cut the whole reload is
# refused; where the cut is between two, it is a table with fewer of them.
cut() {
	local n i whole=0 refused=0 was own size first
	service a 'listen = 127.0.0.1:0' "exec = $B/tests/tiny"
	service cat 'listen = 127.0.0.1:0' 'exec = cat'
	for i in 1 2 3 4 5 6; do
		service s$i 'listen = 127.0.0.1:0' "shell = echo s$i; cat # in words" 'instances = 5' '# a comment'
	done
	printf '\n# the rest\n' >>t
	while (($(wc -l <t) < 60)); do echo "# of it" >>t; done
	[[ $(wc -l <t) == 60 ]] || die "$(wc -l <t) lines" || return
	cp t whole
	start_server -q -f t
	begin_load "${PORTS[cat]}" "${PORTS[a]}"
	was=$(listening) own=$(inode "${PORTS[a]}") ASKED=0 size=$(stat -c %s whole)
	first=$(sed '/^}$/q' whole | wc -c)
	for ((n = 1; n < size; n += $1)); do
		head -c "$n" whole >t
		asked_reload
		if [[ $RC == 1 ]]; then
			((++refused))
			[[ $(listening) == "$was" ]] || die "$n bytes: other sockets" || return
		else
			# Not while the first entry is not whole; and then it is as it was.
			((n >= first - 1)) && "$SERVER" -t -f t || die "$n bytes were taken: $(<said)" || return
			((++whole))
			[[ $(inode "${PORTS[a]}") == "$own" ]] || die "$n bytes: another socket" || return
			cp whole t; asked_reload
			[[ $RC == 0 && $(inode "${PORTS[a]}") == "$own" ]] || die "$(<said)" || return
			until_true 5 as_many_listen "$(wc -l <<<"$was")" || return	# what left is closed a little later
			was=$(listening)
		fi
	done
	end_load
	until_true 5 log_has "$ASKED" 'RELOAD: '
	((refused > whole))
	figure "$ASKED reloads, $refused refused, $whole cut between entries: the same sockets, the session lives, ${PROBED[1]} of ${PROBED[0]} served"
}

@test "T09: a table cut off at many places: what is no whole table is refused, nobody notices" { cut 53; }

# bats test_tags=long
@test "T09: a table of 60 lines cut off after every byte" { cut 1; }

# bats test_tags=long
@test "T09: a reload with every bad table of the corpus behind the good one: each is told, nobody notices" {
	requires_root; requires ip nsenter
	unshare -n -m true 2>/dev/null || skip "no namespaces"
	umask 022
	cp -R "$BATS_TEST_DIRNAME/corpus" x
	service keep 'listen = 127.0.0.1:0' 'exec = cat' 'user = root'
	service probed 'listen = 127.0.0.1:0' "exec = $B/tests/tiny" 'user = root'
	: >x/table
	cat >in.sh <<-'X'
	ip link set lo up
	for d in /run /var/log; do mount -t tmpfs none $d; done
	exec "$@"
	X
	AS_ME="" WRAP="unshare -n -m sh in.sh" start_server -q -f t -f x/table
	begin_load "${PORTS[keep]}" "${PORTS[probed]}" nsenter -t "$PID" -n
	local was f n=0 refused; was=$(listening); ASKED=0
	[[ $(wc -l <<<"$was") == 2 ]]
	for f in x/*.want; do
		grep -q ' error: ' "$f" || continue
		cp "${f%.want}.conf" x/table
		asked_reload
		[[ $RC == 1 ]] || die "$f: status $RC: $(<said)" || return
		grep -qE ':[0-9]+:[0-9]+: error: ' said || die "$f: $(<said)" || return
		[[ $(listening | grep -cFxf <(echo "$was")) == 2 ]] || die "$f: other sockets" || return
		((++n))
	done
	end_load
	until_true 5 log_has "$ASKED" 'RELOAD: '
	refused=$(count_log 'RELOAD: refused')
	figure "$n bad tables, $refused refused whole: the same sockets, the session lives, ${PROBED[1]} of ${PROBED[0]} served"
}

@test "a faulty entry that is off from outside is off; a removed one beside it goes" {
	service a 'listen = 127.0.0.1:0' 'exec = echo a'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	service c 'listen = 127.0.0.1:0' 'exec = echo c'
	start_server -f t
	again
	printf 'defaults\n{\n\tdisabled = a\n}\n' >>t
	service a 'listen = 127.0.0.1:0' 'exec = echo a' 'nonsense = 1'
	service c 'listen = 127.0.0.1:0' 'exec = echo c'
	reload "0 added, 0 changed, 2 removed, 1 as before, 1 off, 0 faulty"
	run -5 ask "${PORTS[a]}"; run -5 ask "${PORTS[b]}"
	run -0 ask "${PORTS[c]}"; [[ $output == c ]]
}

# --- addresses

@test "an address that goes from one service to another takes its socket and its queue along" {
	gate g
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g" 'instances = 1'
	start_server -f t
	local was; was=$(inode "$PORT")
	clients 3 "$PORT"
	entered g
	until_true 5 connected 3 "$PORT"
	again; service b 'listen = 127.0.0.1:0' 'exec = echo b'
	reload "1 added, 0 changed, 1 removed"
	served() { [[ $(cat o.* | grep -c b$) == 2 ]]; }
	until_true 5 served
	[[ $(inode "$PORT") == "$was" ]]
	open_gate g; wait "${CLIENTS[@]}"
}

@test "T33: *:P to 127.0.0.1:P and back; localhost, which is the same address, takes it over too" {
	free_ports 1
	local p=${FREE[0]} at
	service a "listen = *:$p" 'exec = echo *'
	start_server -f t
	for at in 127.0.0.1 '*' localhost 127.0.0.1 localhost '*' '127.0.0.2' '127.0.0.1'; do
		again; service a "listen = $at:$p" "exec = echo $at"
		reload "1 changed"
		run -0 "$PEER" "tcp:127.0.0.${at#127.0.0.}:$p" 2>/dev/null || run -0 ask "$p"
		[[ $output == "$at" ]]
	done
	! ever 'cannot bind' || die "a bind failed"
}

@test "listeners are added to a service and taken from it, those that stay are the same" {
	free_ports 2
	service a "listen = 127.0.0.1:${FREE[0]}" 'exec = echo a'
	start_server -f t
	local was; was=$(inode "${FREE[0]}")
	again; service a "listen = 127.0.0.1:${FREE[1]} 127.0.0.1:${FREE[0]}" 'exec = echo a'
	reload "1 changed"
	[[ $(inode "${FREE[0]}") == "$was" ]]
	run -0 ask "${FREE[1]}"; [[ $output == a ]]
	again; service a "listen = 127.0.0.1:${FREE[1]}" 'exec = echo a'
	reload "1 changed"
	run -5 ask "${FREE[0]}"
	run -0 ask "${FREE[1]}"; [[ $output == a ]]
}

@test "several services with port 0 keep each its own, though others come before them" {
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	service c 'listen = 127.0.0.1:0' 'exec = echo c'
	start_server -f t
	again
	service a 'listen = 127.0.0.1:0' 'exec = echo a'
	service c 'listen = 127.0.0.1:0' 'exec = echo c2'
	service b 'listen = 127.0.0.1:0' 'exec = echo b2'
	reload "1 added, 2 changed"
	run -0 ask "${PORTS[b]}"; [[ $output == b2 ]]
	run -0 ask "${PORTS[c]}"; [[ $output == c2 ]]
}

@test "an address that is taken is tried again at the next reload, at once" {
	free_ports 1
	start_server "127.0.0.1:${FREE[0]}" echo other
	local other=$PID
	again; service a "listen = 127.0.0.1:0" 'exec = echo a'
	start_server -f t
	service b "listen = 127.0.0.1:${FREE[0]}" 'exec = echo b'
	local began; began=$(now_ms)
	reload "1 added"
	logged "127.0.0.1:${FREE[0]}: cannot bind: .*; it is tried again"
	kill -INT "$other"; until_true 5 gone "$other"
	reload "2 as before"
	kill -USR1 "$PID"; wait_log 'STATE: b'	# a turn of the loop later
	# By itself it would have been tried a second after the first time.
	logged ' LISTEN: b ' || (($(now_ms) - began > 900))
	here() { [[ $(ask "${FREE[0]}") == b ]]; }
	until_true 5 here
}

@test "disable = yes and back; enabled" {
	local on=('listen = 127.0.0.1:0' 'exec = echo a')
	service a "${on[@]}"; service b "${on[@]}"
	start_server -f t
	again; service a "${on[@]}" 'disable = yes'; service b "${on[@]}"
	reload "0 added, 0 changed, 1 removed, 1 as before, 1 off"
	run -5 ask "${PORTS[a]}"
	again; service a "${on[@]}" 'disable = no'; service b "${on[@]}"
	reload "1 added"
	again; printf 'defaults\n{\n\tenabled = a\n}\n' >>t; service a "${on[@]}"; service b "${on[@]}"
	reload "1 removed, 1 as before, 1 off"
	run -5 ask "${PORTS[b]}"
}

@test "files of includedir: one more, one changed, one gone" {
	mkdir d; chmod 755 d
	one() { printf 'service %s\n{\n\tlisten = 127.0.0.1:0\n\texec = echo %s\n}\n' "$1" "$2" >"d/$1"; chmod 644 "d/$1"; }
	one a a; one b b
	echo "includedir $PWD/d" >t; chmod 644 t
	start_server -f t
	one a changed; rm d/b; one c c; sed -i s/127.0.0.1/127.0.0.2/ d/c
	reload "1 added, 1 changed, 1 removed"
	run -0 ask "${PORTS[a]}"; [[ $output == changed ]]
	run -5 ask "${PORTS[b]}"
}

# --- kinds

@test "a stream service becomes a command, a relay, a built-in; its socket and queue stay" {
	service to 'listen = 127.0.0.1:0' 'exec = echo relayed'
	start_server -f t
	local to=${PORTS[to]} k was
	s() { again; service to 'listen = 127.0.0.1:0' 'exec = echo relayed'; service a 'listen = 127.0.0.1:0' "$@"; }
	s 'exec = echo command'
	reload "1 added"
	local p; p=$(grep ' LISTEN: a ' "$LOG"); p=${p##*:}
	was=$(inode "$p")
	for k in 1 2; do
		s "redirect = 127.0.0.1 $to"; reload "1 changed"
		run -0 ask "$p"; [[ $output == relayed ]]
		s 'type = INTERNAL' 'id = echo'; sed -i 's/service a/service echo/' t; reload "1 added, 0 changed, 1 removed"
		run -0 "$PEER" -s back -H "tcp:127.0.0.1:$p"; [[ $output == back ]]
		s "redirect = 127.0.0.1 $to"; reload "1 added"
		run -0 ask "$p"; [[ $output == relayed ]]
		s 'exec = echo command'; reload "1 changed"
		run -0 ask "$p"; [[ $output == command ]]
	done
	[[ $(inode "$p") == "$was" ]]
}

@test "a live relay and a live built-in go on when their services become others" {
	service to 'listen = 127.0.0.1:0' 'exec = cat'
	service echo 'listen = 127.0.0.1:0' 'type = INTERNAL UNLISTED'
	start_server -f t
	service r 'listen = 127.0.0.1:0' "redirect = 127.0.0.1 ${PORTS[to]}"
	reload "1 added"
	local r; r=$(grep ' LISTEN: r ' "$LOG"); r=${r##*:}
	local a b line
	exec {a}<>"/dev/tcp/127.0.0.1/$r" {b}<>"/dev/tcp/127.0.0.1/${PORTS[echo]}"
	echo one >&"$a"; read -rt 5 -u "$a" line; [[ $line == one ]]
	echo one >&"$b"; read -rt 5 -u "$b" line; [[ $line == one ]]
	again
	service r 'listen = 127.0.0.1:0' 'exec = echo command'
	reload "0 added, 1 changed, 2 removed"
	echo two >&"$a"; read -rt 5 -u "$a" line; [[ $line == two ]]
	echo two >&"$b"; read -rt 5 -u "$b" line; [[ $line == two ]]
	run -0 ask "$r"; [[ $output == command ]]
	exec {a}>&- {b}>&-
}

@test "wait = yes to no while a command has the socket: the master waits for nobody, then takes over" {
	# The command has accepted nobody yet: the master must not take who waits, nor wait for him.
	cat >g <<-'E'
	#!/bin/sh
	echo in >>in; read -r go <go
	E
	chmod +x g; mkfifo go
	w() { again; service a 'listen = 127.0.0.1:0' "$@"; service b 'listen = unix:b' 'exec = echo b'; }
	w "shell = cd $PWD; exec ./g" 'wait = yes' 'log_on_failure ='
	sed -i "s|unix:b|unix:$PWD/b|" t
	start_server -f t
	local was; was=$(inode "$PORT")
	clients 2 "$PORT"
	until_true 5 test -s in
	w 'exec = echo now'; sed -i "s|unix:b|unix:$PWD/b|" t
	reload "1 changed, 0 removed, 1 as before"
	run -0 "$PEER" unix:b; [[ $output == b ]]
	[[ ! -s o.1 && ! -s o.2 ]]
	echo >go
	wait "${CLIENTS[@]}"
	[[ $(cat o.1 o.2) == $'now\nnow' && $(inode "$PORT") == "$was" ]]
	# And with nobody there: a socket that a command had is not waited on.
	run -0 ask; [[ $output == now ]]
	run -0 "$PEER" unix:b; [[ $output == b ]]
	# Back again, while a connection of the other kind lives.
	w "shell = cd $PWD; exec ./g" 'wait = yes'; sed -i "s|unix:b|unix:$PWD/b|" t
	reload "1 changed"
	: >in
	clients 1 "$PORT"
	until_true 5 test -s in
	kill "${CLIENTS[0]}"
	stop_server INT
}

@test "wait = yes to no while a command has the socket, and an upgrade before it ends" {
	printf '#!/bin/sh\necho in >>in; read -r go <go\n' >g
	chmod +x g; mkfifo go
	service a 'listen = 127.0.0.1:0' "shell = cd $PWD; exec ./g" 'wait = yes'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	start_server -f t
	clients 1 "${PORTS[a]}"
	until_true 5 test -s in
	sed -i -e 's/shell = .*/exec = echo now/' -e 's/wait = yes/wait = no/' t
	reload "1 changed"
	kill -USR2 "$PID"
	wait_log 'UPGRADE: done'
	run -0 ask "${PORTS[b]}"; [[ $output == b ]]
	[[ ! -s o.1 ]]
	echo >go
	wait "${CLIENTS[@]}"
	[[ $(<o.1) == now ]]
	run -0 ask "${PORTS[b]}"; [[ $output == b ]]
}

@test "wait = yes whose service goes while its command lives, and comes back" {
	cat >g <<-'E'
	#!/bin/sh
	echo in >>in; read -r go <go
	E
	chmod +x g; mkfifo go
	service a 'listen = 127.0.0.1:0' "shell = cd $PWD; exec ./g" 'wait = yes'
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	start_server -f t
	clients 1 "${PORTS[a]}"
	until_true 5 test -s in
	again; service b 'listen = 127.0.0.1:0' 'exec = echo b'
	reload "1 removed"
	until_true 5 has_children 1
	service a "listen = 127.0.0.1:${PORTS[a]}" 'exec = echo a'
	reload "1 added"
	wait_log "127.0.0.1:${PORTS[a]}: cannot bind"
	echo >go
	until_true 5 has_children 0
	wait "${CLIENTS[@]}" || :
	reload "2 as before"
	here() { [[ $(ask "${PORTS[a]}") == a ]]; }
	until_true 2 here
}

@test "a datagram service becomes wait = yes, a built-in, a dialog; its socket stays" {
	free_ports 1
	local p=${FREE[0]} k
	s() { again; service echo "listen = udp:127.0.0.1:$p" "$@"; }
	say() { run -0 "$B/tests/datagrams" "udp:127.0.0.1:$p" "$1"; }
	s 'shell = read -r x; echo "one $x"'
	start_server -f t
	inode_udp() { awk -v a="$(printf '0100007F:%04X' "$p")" '$2 == a { print $10 }' /proc/net/udp; }
	local was; was=$(inode_udp)
	[[ -n $was ]]
	for k in 1 2; do
		say x; [[ $output == "one x" ]]
		s 'type = INTERNAL UNLISTED'; reload "1 changed"
		say y; [[ $output == y ]]
		s 'exec = cat' 'session = yes'; reload "1 changed"
		say z; [[ $output == z ]]
		s 'shell = head -c 1 >/dev/null; echo >>'"$PWD/waited" 'wait = yes'; reload "1 changed"
		run -0 "$B/tests/datagrams" -k 0 "udp:127.0.0.1:$p" w
		until_true 5 test -s waited; rm waited
		s 'shell = read -r x; echo "one $x"'; reload "1 changed"
	done
	say x; [[ $output == "one x" && $(inode_udp) == "$was" ]]
	stop_server INT
}

@test "dialogs that live go on when their service is changed and made another, and when it goes" {
	local p from
	free_ports 2; p=${FREE[0]} from=${FREE[1]}
	s() { again; service d "listen = udp:127.0.0.1:$p" "$@"; service b 'listen = 127.0.0.1:0' 'exec = echo b'; }
	say() { run -0 "$B/tests/datagrams" -b "127.0.0.1:$from" "udp:127.0.0.1:$p" "$1"; [[ $output == "$2" ]]; }
	s 'exec = cat' 'session = yes'
	start_server -f t
	say 1 1
	local child; child=$(children "$PID")
	s 'exec = echo new' 'session = yes'; reload "1 changed"; say 2 2
	run -0 "$B/tests/datagrams" "udp:127.0.0.1:$p" x; [[ $output == new ]]
	s 'shell = read -r x; echo "single $x"'; reload "1 changed"; say 3 3
	run -0 "$B/tests/datagrams" "udp:127.0.0.1:$p" x; [[ $output == "single x" ]]
	again; service b 'listen = 127.0.0.1:0' 'exec = echo b'; reload "1 removed"; say 4 4
	! gone "$child" || die "it is gone"
	stop_server INT
}

@test "UNIX paths: mode and owner change in place; another kind on the same path" {
	s() { again; service u "listen = $1:$PWD/s" "${@:2}"; service b 'listen = 127.0.0.1:0' 'exec = echo b'; }
	s unix 'exec = echo u' 'mode = 600'
	start_server -f t
	local was; was=$(stat -c %i s)
	[[ $(stat -c %a s) == 600 ]]
	s unix 'exec = echo u' 'mode = 660'; reload "1 changed"
	[[ $(stat -c %a s) == 660 && $(stat -c %i s) == "$was" ]]
	if [[ $ME == root ]]; then
		s unix 'exec = echo u' 'mode = 660' 'owner = nobody'; reload "1 changed"
		[[ $(stat -c %U s) == nobody ]]
	fi
	s unix 'exec = echo u'; reload "1 changed"
	[[ $(stat -c %a s) == 644 && $(stat -c %U s) == "$ME" && $(stat -c %i s) == "$was" ]]
	run -0 "$PEER" unix:s; [[ $output == u ]]
	# What took its place meanwhile is not ours.
	mv s moved; echo mine >s; chmod 600 s
	s unix 'exec = echo u' 'mode = 666'; reload "1 changed"
	[[ $(stat -c %a s) == 600 && $(stat -c %a moved) == 644 ]]
	rm s; ln -s t s
	s unix 'exec = echo u' 'mode = 660'; reload "1 changed"
	[[ $(stat -c %a t) == 644 ]]
	rm s; mv moved s
	s unix-seqpacket 'exec = echo q'; reload "1 changed"
	! ever 'cannot bind' || die "a bind failed"
	run -0 "$PEER" "unix-seqpacket:s"; [[ $output == q ]]
	s fifo 'shell = cat >>got'; sed -i "s|shell = cat >>got|shell = cat >>$PWD/got|" t; reload "1 changed"
	! ever 'cannot bind' || die "a bind failed"
	[[ -p s ]]
	echo word >s
	until_true 5 grep -q word got
	again; service b 'listen = 127.0.0.1:0' 'exec = echo b'; reload "1 removed"
	[[ ! -e s ]]
}

@test "a FIFO whose command lives is changed: what is written meanwhile is not lost" {
	mkfifo go
	service f "listen = fifo:$PWD/f" "shell = cat >>$PWD/got; read -r x <$PWD/go"
	start_server -f t
	echo one >f
	until_true 5 grep -q one got
	again; service f "listen = fifo:$PWD/f" "shell = sed s/^/new/ >>$PWD/got"
	reload "1 changed"
	until_true 5 has_children 1
	(exec 3>&-; echo two >f) & local w=$!
	echo >go
	until_true 5 grep -q newtwo got
	wait "$w"
}

@test "only_from given to a UNIX datagram service with wait = yes is asked for from then on" {
	[[ $ME == root ]] || skip "needs another user"
	s() { again; service u "listen = unix-dgram:$PWD/s" "shell = head -c 1 >>$PWD/got" 'wait = yes' 'mode = 666' "$@"; }
	s
	start_server -f t
	run -0 "$B/tests/datagrams" -k 0 "unix-dgram:$PWD/s" a
	until_true 5 grep -q a got
	until_true 5 has_children 0
	s 'only_from = user:nobody'
	reload "1 changed"
	run -0 "$B/tests/datagrams" -k 0 "unix-dgram:$PWD/s" b
	wait_log 'FAIL: u address'
	! grep -q b got || die "it came through"
}

@test "backlog, sndbuf and rcvbuf change in place, and back to what the system has" {
	requires ss
	service a 'listen = 127.0.0.1:0' 'exec = echo a'
	start_server -f t
	local was first; was=$(inode "$PORT")
	look() { ss -ltnmH "src = 127.0.0.1 and sport = :$PORT"; }
	first=$(look)
	again; service a 'listen = 127.0.0.1:0' 'exec = echo a' 'backlog = 7' 'sndbuf = 100K' 'rcvbuf = 50K'
	reload "1 changed"
	[[ $(look) == *" 7 "*rb102400*tb204800* && $(inode "$PORT") == "$was" ]]
	again; service a 'listen = 127.0.0.1:0' 'exec = echo a'
	reload "1 changed"
	[[ $(look) == "$first" ]]
}

@test "tcpmux services are added, changed and removed" {
	service mux 'id = mux' 'listen = 127.0.0.1:0' 'type = INTERNAL'
	sed -i 's/service mux/service tcpmux/' t
	cp t base
	start_server -f t
	call() { run -0 "$PEER" -s "$1"$'\r\n' "tcp:127.0.0.1:$PORT"; }
	call word; [[ $output == -* ]]
	service word 'type = TCPMUXPLUS' 'exec = echo spoken'
	reload "1 added"
	call word; [[ $output == +Go*spoken ]]
	cp base t; service word 'type = TCPMUXPLUS' 'exec = echo again'
	reload "1 changed"
	call word; [[ $output == +Go*again ]]
	cp base t
	reload "1 removed"
	call word; [[ $output == -* ]]
}

@test "RPC programs: those that go are forgotten, those that stay are never missed" {
	requires_root
	requires unshare rpcbind rpcinfo ip
	p() { service "$1" 'type = RPC UNLISTED' "rpc_number = $2" "rpc_version = $3" 'protocol = tcp4' 'exec = cat'; }
	p one 200091 1-2; p two 200092 1
	SERVER=$SERVER LOG=$LOG run -0 timeout 30 unshare -n -m bash -euc '
		ip link set lo up; mount -t tmpfs none /run
		until_true() { local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000)); shift
			until "$@"; do ((${EPOCHREALTIME/[.,]/} < end)) || { echo "not in time: $*"; cat "$LOG" list; exit 1; }; read -rt 0.02 <> <(:) || :; done; }
		answers() { rpcinfo -p 127.0.0.1 >list 2>/dev/null; }
		listed() { answers && grep -qE "^ +$1 +$2 +tcp +[0-9]+" list; }
		unlisted() { answers && ! grep -qE "^ +$1 +$2 +tcp +[0-9]+" list; }
		trap "kill \$(jobs -p) 2>/dev/null || :" EXIT
		rpcbind -f >/dev/null 2>&1 & until_true 10 answers
		mkfifo ready; "$SERVER" -f t -r 9 9>ready 2>>"$LOG" & pid=$!; cat ready >/dev/null
		until_true 10 listed 200092 1; until_true 10 listed 200091 2
		sed -i "s/rpc_version = 1-2/rpc_version = 2/; s/200092/200093/" t
		kill -HUP $pid
		until_true 10 listed 200093 1
		until_true 10 unlisted 200092 1; until_true 10 unlisted 200091 1; listed 200091 2
		for i in 1 2 3 4 5; do kill -HUP $pid; for k in 1 2 3 4 5 6 7 8; do listed 200091 2 || { echo missed; exit 1; }; done; done
		: >t; chmod 644 t; printf "service z\n{\nlisten = 127.0.0.1:0\nexec = cat\n}\n" >t
		kill -HUP $pid
		until_true 10 unlisted 200091 2; until_true 10 unlisted 200093 1
		kill $pid; wait $pid'
}

@test "an inherited socket stays; one that is added at a reload is refused, and nothing else is taken for it" {
	requires python3
	cat >inherit.py <<-'E'
	import os, socket, sys
	s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(8)
	open("port", "w").write(str(s.getsockname()[1]))
	os.dup2(s.fileno(), 8, inheritable=True)
	os.execvp(sys.argv[1], sys.argv[1:])
	E
	a() { again; service a 'listen = fd:8' "exec = echo $1"; service b 'listen = 127.0.0.1:0' 'exec = echo b'; }
	a a
	WRAP="python3 inherit.py" start_server -f t
	local in b=${PORTS[b]} was fd; in=$(<port); was=$(inode "$in")
	run -0 ask "$in"; [[ $output == a ]]
	a changed
	for fd in /proc/"$PID"/fd/*; do
		fd=${fd##*/}
		((fd < 5)) || service "c$fd" "listen = fd:$fd" 'exec = echo c'
	done
	sed -i '/^service c8$/,/^}$/d' t
	reload "1 changed, 0 removed, 1 as before"
	run -0 ask "$in"; [[ $output == changed && $(inode "$in") == "$was" ]]
	run -0 ask "$b"; [[ $output == b ]]
	[[ $(count_log 'what is inherited can only be taken at the start$') == "$(grep -c 'service c' t)" ]]
}

@test "T32: a limit for each source that a reload brings counts those who are there already" {
	local how
	for how in reload upgrade; do
		again; service a 'listen = 127.0.0.1:0' 'exec = cat'
		start_server -f t
		exec {one}<>"/dev/tcp/127.0.0.1/$PORT" {two}<>"/dev/tcp/127.0.0.1/$PORT"
		until_true 5 has_children 2
		again; service a 'listen = 127.0.0.1:0' 'exec = cat' 'per_source = 2'
		run -0 "$SERVERCTL" -C "$CTL" "$how"
		[[ $how == reload ]] || wait_log 'UPGRADE: .* goes on'
		run "$PEER" -s x -H "tcp:127.0.0.1:$PORT"; [[ -z $output ]] || die "$how: $output" || return
		wait_log 'FAIL: a per_source_limit from=127.0.0.1'
		run -0 "$PEER" -b 127.0.0.2 -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
		# Wider sources: the other one is the same now.
		again; service a 'listen = 127.0.0.1:0' 'exec = cat' 'per_source = 2' 'source_prefix = 24 64'
		run -0 "$SERVERCTL" -C "$CTL" reload
		run "$PEER" -b 127.0.0.2 -s x -H "tcp:127.0.0.1:$PORT"; [[ -z $output ]] || die "$how: $output" || return
		exec {one}>&-
		until_true 5 has_children 1
		run -0 "$PEER" -b 127.0.0.2 -s x -H "tcp:127.0.0.1:$PORT"; [[ $output == x ]]
		exec {two}>&-
		until_true 5 has_children 0
		stop_server
	done
}

@test "T32: another source_cps holds for the next connection, and counts those that came before" {
	local how line
	for how in reload upgrade; do
		again; service a 'listen = 127.0.0.1:0' 'exec = echo hi' 'source_cps = 1/1h'
		start_server -f t
		[[ $(ask) == hi && $(ask) == "" ]] || die "the first rate" || return
		again; service a 'listen = 127.0.0.1:0' 'exec = echo hi' 'source_cps = 3/1h'
		run -0 "$SERVERCTL" -C "$CTL" "$how"
		[[ $how == reload ]] || wait_log 'UPGRADE: .* goes on'
		[[ $(ask) == hi && $(ask) == hi && $(ask) == "" ]] || die "$how: the second" || return
		stop_server
	done
}

# --- the process that reads

start_hanging() { # a server whose reading process hangs while ./hang exists
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	service a 'listen = 127.0.0.1:0' 'exec = echo a'
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM_HANG=%s/hang exec "$@"\n' "$B/tests/shim" "$PWD" >shim.sh
	chmod +x shim.sh
	WRAP=./shim.sh start_server -f t
}
hang() { # begins a reload that hangs; READER
	: >hang
	kill -HUP "$PID"
	until_true 5 has_children 1
	READER=$(children "$PID")
}

@test "T10: a reading process that hangs costs nothing; killed, it is told, and the reload asked for meanwhile comes" {
	start_hanging
	hang
	run -0 ask; [[ $output == a ]]
	sed -i 's/echo a$/echo new/' t
	kill -HUP "$PID"; kill -HUP "$PID"
	run -0 ask; [[ $output == a ]]
	kill -STOP "$READER"; rm hang; kill -KILL "$READER"
	wait_log 'RELOAD: refused: the process that read the table did not come to an end; everything goes on as before'
	wait_log 'RELOAD: 0 added, 1 changed'
	log_has 2 'RELOAD: '
	run -0 ask; [[ $output == new ]]
	until_true 5 has_children 0
}

# bats test_tags=long
@test "T10: a reading process that is stopped is given up after a minute" {
	start_hanging
	hang
	kill -STOP "$READER"
	wait_log 'RELOAD: refused: the process that read the table hangs; everything goes on as before' 80
	run -0 ask; [[ $output == a ]]
	until_true 5 has_children 0
	rm hang
	sed -i 's/echo a$/echo new/' t
	kill -HUP "$PID"
	wait_log 'RELOAD: 0 added, 1 changed'
	run -0 ask; [[ $output == new ]]
}

@test "a HUP while a reload goes on: the table is read once more" {
	start_hanging
	hang
	kill -HUP "$PID"
	run -0 ask; [[ $output == a ]]
	sed -i 's/echo a$/echo new/' t
	rm hang
	two() { log_has 2 'RELOAD: '; }
	until_true 5 two
	run -0 ask; [[ $output == new ]]
}

@test "a table from standard input cannot be read again: the reload is refused and told" {
	service a 'listen = 127.0.0.1:0' 'exec = echo a'
	local rfd
	mkfifo r
	"$SERVER" -o "user=$ME" -r 9 -f - <t 9>r >>"$LOG" 2>&1 3>&- &
	PID=$!; SRV+=("$PID")
	cat r >lines
	PORT=$(sed -n 's/^listen a .*://p' lines)
	reload "refused: the table was read from what cannot be read again; give it as a file; everything goes on as before"
	run -0 ask; [[ $output == a ]]
}

@test "one command: HUP opens the log files again, and no more" {
	start_server -o log_type="FILE $PWD/its" 127.0.0.1:0 echo hi
	run -0 ask
	until_true 5 grep -q START its
	mv its moved
	kill -HUP "$PID"
	run -0 ask; [[ $output == hi ]]
	until_true 5 grep -q START its
	! logged RELOAD || die "it reloaded"
}

@test "HUP opens the log files of a table's services again, of unchanged ones too" {
	service a 'listen = 127.0.0.1:0' 'exec = echo a' "log_type = FILE $PWD/its"
	start_server -f t
	run -0 ask; until_true 5 grep -q START its
	mv its moved
	reload "1 as before"
	run -0 ask; until_true 5 grep -q START its
}

@test "HUP during a drain does nothing" {
	gate g
	service a 'listen = 127.0.0.1:0' "exec = $PWD/g"
	start_server -f t
	clients 1 "$PORT"; entered g
	kill -TERM "$PID"; wait_log DRAIN
	kill -HUP "$PID"; kill -HUP "$PID"
	open_gate g
	wait_end; [[ $STATUS == 0 ]]
	wait "${CLIENTS[@]}"; [[ $(<o.1) == bye ]]
	! logged RELOAD || die "it reloaded"
}

@test "TERM while the table is read: the reading process goes, and nothing of it is taken" {
	start_hanging
	hang
	service b 'listen = 127.0.0.1:0' 'exec = echo b'
	stop_server
	[[ $STATUS == 0 ]]
	gone "$READER"
	! logged 'LISTEN: b' || die "it listens"
}

# --- for long

@test "T22: a name in listen: nobody waits for a resolver that does not answer, at a reload and when it is tried again" {
	requires_silent_resolver
	cp /etc/hosts hosts
	printf 'service %s\n{\nlisten = %s:0\nuser = root\nexec = echo %s\n}\n' a 127.0.0.1 a >t
	printf 'service %s\n{\nlisten = %s:0\nuser = root\nexec = echo %s\n}\n' b late.test b >b
	cat >in.sh <<-X
	silent() { rm -f up; python3 silent.py & d=\$!; until [ -e up ]; do sleep 0.02; done; }
	printf 'nameserver 127.0.0.1\noptions timeout:4 attempts:1\n' >resolv; echo 'hosts: files dns' >nss
	mount --bind resolv /etc/resolv.conf; mount --bind nss /etc/nsswitch.conf; mount --bind hosts /etc/hosts
	ip link set lo up
	"$SERVER" -C ctl -r 9 -f t 9>lines 2>"$LOG" & s=\$!
	until grep -q ready lines; do sleep 0.02; done
	read -r x y a <lines
	silent
	cat b >>t
	kill -HUP \$s
	until [ -n "\$(cat /proc/\$s/task/\$s/children)" ]; do sleep 0.02; done
	"$CLIENT" -w 3 "\$a" </dev/null >>got
	kill \$d
	until grep -q 'late.test:0: cannot resolve' "$LOG"; do sleep 0.02; done
	silent
	until [ -n "\$(cat /proc/\$s/task/\$s/children)" ]; do sleep 0.02; done
	"$CLIENT" -w 3 "\$a" </dev/null >>got
	kill \$d
	echo 127.0.0.9 late.test >>hosts
	until grep -q 'LISTEN: b tcp:127.0.0.9:' "$LOG"; do sleep 0.02; done
	b=\$(sed -n 's/.*LISTEN: b //p' "$LOG")
	"$CLIENT" -w 3 "\$b" </dev/null >>got
	kill \$s; wait \$s
	X
	timeout 40 unshare -m -n sh in.sh
	[[ $(<got) == $'a\na\nb' ]]
}

@test "T35: many reloads with a table that changes: memory, descriptors and processes stay" {
	free_ports 3
	local i
	vary() {
		again
		service a 'listen = 127.0.0.1:0' 'exec = echo a'
		service r 'listen = 127.0.0.1:0' "redirect = 127.0.0.1 ${FREE[0]}" "instances = $((i + 1))"
		service u "listen = unix:$PWD/u" 'exec = echo u' "mode = 6$((i % 8))0"
		((i % 2)) || service b "listen = 127.0.0.1:${FREE[1]}" 'exec = echo b' 'cps = 100 1s'
		((i % 3)) || service c "listen = 127.0.0.1:${FREE[2]}" 'exec = echo c' 'instances = 1x'
		((i % 3 == 1)) || service c "listen = udp:127.0.0.1:${FREE[2]}" 'exec = echo c'
	}
	i=0; vary
	start_server -q -f t
	go() { # to that many, and then with the first table again
		for ((; i < $1; i++)); do vary; reload || return; ((i % 5)) || ask >/dev/null; done
		i=0; vary; reload || return
		i=$1
		until_true 5 has_children 1	# the worker
		until_true 5 as_many_listen 3	# what left is closed a little later
	}
	go 40
	local fds rss
	fds=$(nfds "$PID"); rss=$(awk '/VmRSS/ { print $2 }' "/proc/$PID/status")
	go $((40 + RELOADS))
	local now; now=$(awk '/VmRSS/ { print $2 }' "/proc/$PID/status")
	[[ $(nfds "$PID") == "$fds" ]] || die "descriptors: $fds, then $(nfds "$PID")"
	[[ $B == *asan* ]] || ((now <= rss + 200)) || die "memory: $rss KiB, then $now"
	no_zombies
	run -0 ask; [[ $output == a ]]
}

@test "T32: reloads under load: no connection to an unchanged service is refused, reset or cut" {
	free_ports 4
	local i kind
	service cat 'listen = 127.0.0.1:0' 'exec = cat'
	start_server -f t
	local cat=${PORTS[cat]}
	fixed() {
		again
		service cat 'listen = 127.0.0.1:0' 'exec = cat'
		service command "listen = 127.0.0.1:${FREE[0]}" 'exec = echo hi' 'log_type = FILE /dev/null'
		service daytime "listen = 127.0.0.1:${FREE[1]}" 'type = INTERNAL UNLISTED' 'log_type = FILE /dev/null'
		service dgram "listen = udp:127.0.0.1:${FREE[0]}" 'type = INTERNAL UNLISTED'
		sed -i 's/service dgram/service echo/' t
	}
	fixed
	reload "3 added"
	local held; exec {held}<>"/dev/tcp/127.0.0.1/$cat"
	hammer() { while [[ ! -e over ]]; do nice "$B/tests/load" "$1" "$2" 1 >>"load.$1"; done; }
	hammer "${FREE[0]}" 40 3>&- & local a=$!
	hammer "${FREE[1]}" 24 3>&- & local b=$!
	while [[ ! -e over ]]; do "$B/tests/datagrams" -n 4 -m 50 "udp:127.0.0.1:${FREE[0]}" >>udp || :; done 3>&- & local c=$!
	local was; was="$(inode "${FREE[0]}") $(inode "${FREE[1]}")"
	for ((i = 0; i < RELOADS; i++)); do
		fixed
		case $((i % 6)) in
		0) service x "listen = 127.0.0.1:${FREE[2]}" 'exec = echo x0'; kind="1 added, 0 changed, 0 removed, 4 as before" ;;
		1) service x "listen = 127.0.0.1:${FREE[3]}" 'exec = echo x1'; kind="0 added, 1 changed, 0 removed, 4 as before" ;;
		2) service x "listen = 127.0.0.1:${FREE[3]}" 'exec = echo x2' 'instances = x'; kind="4 as before, 0 off, 1 faulty" ;;
		3) service x "listen = 127.0.0.1:${FREE[3]}" "exec = echo x3 $i"; kind="0 added, 1 changed, 0 removed, 4 as before" ;;
		4) echo '{' >>t; kind="refused: an error outside" ;;
		5) kind="0 added, 0 changed, 1 removed, 4 as before" ;;
		esac
		reload "$kind" || break
		((i % 6 != 3)) || [[ $(ask "${FREE[3]}") == "x3 $i" ]] || break
	done
	: >over
	wait "$a" "$b" "$c"
	((i == RELOADS)) || die "only $i reloads"
	echo alive >&"$held"
	local line; read -rt 5 -u "$held" line; [[ $line == alive ]]
	exec {held}>&-
	cat load.*
	[[ "$(inode "${FREE[0]}") $(inode "${FREE[1]}")" == "$was" ]]
	awk '{ n += $1; bad += $4 } END { exit !(n > 100 && bad == 0) }' "load.${FREE[0]}"
	awk '{ n += $1; bad += $4 } END { exit !(n > 100 && bad == 0) }' "load.${FREE[1]}"
	awk '{ n += $1; bad += 200 - $1 + $2 } END { exit !(n > 100 && bad == 0) }' udp
	until_true 5 no_zombies
}

# --- by reloads.py: it writes the table, asks for the reload, and looks at who comes next, under a load of eight

drive() { # drive COMMAND ARGUMENT...: what it measured is the figure
	run timeout 3400 env TOOLS="$B/tests" python3 "$BATS_TEST_DIRNAME/reloads.py" "$1" "${CTL##*/}" t "${@:2}"
	[[ $status == 0 ]] || die "$output" || return
	figure "$output"
}

same_and_others() { # so many reloads of each kind
	requires_root; requires python3
	free_ports 2
	service a "listen = 127.0.0.1:${FREE[0]}" 'exec = echo same'
	start_server -f t
	drive same "$1" "${FREE[0]}" "${FREE[1]}"
	until_true 5 no_zombies
}

@test "T32: the same table, another service that comes and goes, other arguments, another user: nobody of a load is lost" {
	same_and_others 50
}

# bats test_tags=long
@test "T32: the same, 1000 times each, a hundred a second" {
	same_and_others 1000
}

# A /dev of its own, where the driver is the syslog.
attribute_changes() { # attribute_changes TIMES NAME...
	requires_root; requires python3 ss
	free_ports 6
	with_accounts
	mkdir dev; touch dev/null dev/zero dev/full dev/urandom
	cat >devices.sh <<-'X'
	for d in null zero full urandom; do mount --bind /dev/$d dev/$d || exit 9; done
	mount --rbind dev /dev && exec "$@"
	X
	service a "listen = 127.0.0.1:${FREE[0]}" 'exec = echo a'
	AAA=1 BBB=2 WRAP="$WRAP sh $PWD/devices.sh" start_server -f t
	drive attributes "$1" "$SERVER" "${*:2}" "${FREE[@]}"
	until_true 5 no_zombies
}

@test "T32: every attribute that a reload can change: the first who comes afterwards finds the new value" {
	attribute_changes 1 all
}

# bats test_tags=long
@test "T32: the same, each attribute 300 times" {
	attribute_changes 150 all
}

address_changes() {
	requires_root; requires python3
	free_ports 2
	service a "listen = 127.0.0.1:${FREE[0]}" 'exec = echo hi'
	start_server -f t
	drive addresses "$1" "${FREE[0]}" "${FREE[1]}"
}

@test "T33: from one form of an address to another: nobody is lost on what both have" {
	address_changes 10
}

# bats test_tags=long
@test "T33: the same, each 300 times" {
	address_changes 300
}

kept_sessions() {
	requires_root; requires python3
	free_ports 3
	service a "listen = 127.0.0.1:${FREE[0]}" 'exec = cat'
	start_server -f t
	drive sessions "$1" "${FREE[@]}"
	until_true 10 has_children 0
}

@test "T34: removed, disabled, on another port: five of five sessions live, and another service is served meanwhile" {
	kept_sessions 1
}

# bats test_tags=long
@test "T34: the same, 30 times each" {
	kept_sessions 30
}

new_names() { # each reload has another service, with 64 descriptors for all
	requires_root; requires python3
	free_ports 1
	service stays "listen = 127.0.0.1:${FREE[0]}" 'exec = echo stays'
	printf '#!/bin/bash\nulimit -n 64 && exec "$@"\n' >wrap.sh; chmod +x wrap.sh
	WRAP=./wrap.sh start_server -q -f t
	drive names "$1" "$PID" "${FREE[0]}"
}

@test "T35: ever new names, logs, UNIX sockets and includes, with 64 descriptors: as many as before, and as much memory" {
	new_names 100
}

# bats test_tags=long
@test "T35: the same, 1000 reloads" {
	new_names 1000
}

@test "an address that could not be bound is not tried any more once its service is gone from the table" {
	local i holder
	free_ports 2
	start_server -o "listen+=127.0.0.1:${FREE[0]}" "127.0.0.1:${FREE[1]}" true
	holder=$PID
	again
	service keep 'listen = 127.0.0.1:0' 'exec = true' "user = $ME"
	for i in 0 1; do service "s$i" "listen = 127.0.0.1:${FREE[i]}" 'exec = true' "user = $ME"; done
	start_server -f t
	again
	service keep 'listen = 127.0.0.1:0' 'exec = true' "user = $ME"
	service s1 "listen = 127.0.0.1:${FREE[1]}" 'exec = true' "user = $ME"
	reload '1 removed'
	kill "$holder"
	# Both were to be tried at the same times, s0 first.
	until_true 10 logged 'LISTEN: s1'
	[[ -z $(inode "${FREE[0]}") && -n $(inode "${FREE[1]}") ]] || die "it listens there"
	! logged 's0' || die "it is told"
}

@test "flags NODELAY and KEEPALIVE, given or taken away, hold for the next connection of a listener that stays" {
	requires python3
	cat >look.py <<-'X'
	import socket
	s = socket.socket(fileno=0)
	print(bool(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)), bool(s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)), flush=True)
	X
	local flags now here
	again; service a "listen = 127.0.0.1:0 [::1]:0" "exec = python3 -S $PWD/look.py"
	start_server -f t
	local at=("${ADDRESSES[@]}")
	for flags in "NODELAY KEEPALIVE" NODELAY KEEPALIVE ""; do
		again; service a "listen = 127.0.0.1:0 [::1]:0" "exec = python3 -S $PWD/look.py" ${flags:+"flags = $flags"}
		reload "1 changed"
		now="$([[ $flags == *NODELAY* ]] && echo True || echo False) $([[ $flags == *KEEPALIVE* ]] && echo True || echo False)"
		for here in "${at[@]}"; do
			run -0 "$PEER" "$here"
			[[ $output == "$now" ]] || die "$here, $flags: $output"
		done
	done
}
