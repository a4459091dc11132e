# The control socket and serverctl: each command, who may ask, and what bad askers cost.
load helper

table() { cat >t; chmod 644 t; } # one that a server run by root takes
ctl() { run --separate-stderr timeout 30 "$SERVERCTL" -C "${CTL##*/}" "$@"; }
# raw BYTES: what the server answers to them, as printf's %b reads them.
raw() { printf '%b' "$1" >bytes; run --separate-stderr "$PEER" -S "unix:${CTL##*/}" <bytes; }
held() { # a connection that lives on
	"$PEER" -t 30000 "${1:-tcp:127.0.0.1:$PORT}" >held 3>&- & HELD=$!
}
let_go() { wait "$HELD" 2>/dev/null || :; }
one_line() { [[ $stderr == "$1"* && $stderr != *$'\n'* ]]; }
# own_run COMMAND...: with a /run of its own, that holds nothing.
own_run() { unshare -m sh -c 'mount -t tmpfs none /run && exec "$@"' own "$@"; }
requires_mounts() { requires_root; unshare -m sh -c 'mount -t tmpfs none /run' 2>/dev/null || skip "no private mounts"; }

a_table() {
	table <<-'X'
	service a { listen = 127.0.0.1:0
		shell = echo a; cat
	}
	service b { listen = 127.0.0.1:0
		shell = echo b; cat
	}
	X
	start_server -f t "$@"
}
answers() { [[ $("$PEER" -s x -H "tcp:127.0.0.1:${PORTS[$1]}" 2>/dev/null) == "$1"* ]]; }
refuses() { run "$PEER" "tcp:127.0.0.1:${PORTS[$1]}"; [[ $status == 5 ]]; }

# --- the command line

@test "a wrong command line: exit status 2, one line that says what would be right" {
	local words
	for words in "" nothing "status a b" "reload now" "enable" "enable a b" "explain a" "kill" "stop now" \
	    "--json reload" "-x status" "-xV" "--nothing" "-C"; do
		# shellcheck disable=SC2086
		run --separate-stderr "$SERVERCTL" $words
		[[ $status == 2 && -z $output ]] || die "$words: $status $output" || return
		one_line "serverctl: " || die "$words: $stderr" || return
	done
	run --separate-stderr "$SERVERCTL" -xV; one_line "serverctl: -x: no such option"
	run --separate-stderr "$SERVERCTL" -C; one_line "serverctl: -C: a value is missing"
}

@test "-h, -V and --commands go to standard output" {
	run -0 --separate-stderr "$SERVERCTL" -h; [[ $output == usage:* && -z $stderr ]]
	run -0 --separate-stderr "$SERVERCTL" -V; [[ $output == "serverctl "* && -z $stderr ]]
	run -0 --separate-stderr "$SERVERCTL" --commands
	[[ $(cut -f1 <<<"$output" | tr '\n' ' ') == "status top reload drain stop upgrade enable disable kill explain edit " ]]
	for words in -h -V --commands; do
		run -1 sh -c '"$0" "$1" >/dev/full' "$SERVERCTL" $words
	done
}

@test "where no server answers: exit status 1 and one line with the path" {
	CTL=nowhere; ctl status; [[ $status == 1 ]]; one_line "serverctl: nowhere: no server answers there: "
	: >file; CTL="file"; ctl status; [[ $status == 1 ]]; one_line "serverctl: file: no server answers there: "
	run --separate-stderr env -u XDG_RUNTIME_DIR "$SERVERCTL" -C "$(printf '%0200d' 0)" status
	[[ $status == 1 ]]; one_line "serverctl: 0000"
}

@test "a socket of something else is not taken for a server" {
	local say
	for say in 'echo hello' 'echo x' 'echo "x  "' 'echo "x 7"' 'echo "o half"' 'printf "o x\\0\\nx 0\\n"' 'head -c 3000000 /dev/zero' true; do
		CONTROL=" " start_server unix:other sh -c "$say"
		run --separate-stderr timeout 20 "$SERVERCTL" -C other status
		[[ $status == 1 ]] || die "$say: $status" || return
		[[ $stderr == "serverctl: other: "* ]] || die "$say: $stderr" || return
		stop_server
	done
}

@test "status tells the limit, who was refused and why, the last error, and that there are more connections" {
	table <<-'X'
	defaults { limit = 60 }
	service a-name-longer-than-the-head { listen = 127.0.0.1:0
		exec = cat
	}
	service closed { listen = 127.0.0.1:0
		exec = cat
		no_access = 127.0.0.0/8
	}
	service broken { listen = 127.0.0.1:0
		exec = /dev/null
	}
	X
	start_server -f t
	run "$PEER" "tcp:127.0.0.1:${PORTS[closed]}"
	run "$PEER" "tcp:127.0.0.1:${PORTS[broken]}"
	wait_log 'ERROR: broken cannot execute'
	"$B/tests/hold" "${PORTS[a-name-longer-than-the-head]}" 45 <&"$NAPFD" >held 3>&- & HELD=$!
	until_true 10 grep -qx 45 held
	ctl status
	[[ $status == 0 && ${lines[0]} == *"serving"*": 45 live of 60"* ]]
	[[ $output == *$'\nclosed: refused: address 1'* && $output == *$'\nbroken: '*" ago: "*"cannot execute"* ]]
	[[ $output == *$'\nand 5 more connections'* && $output == *$'\na-name-longer-than-the-head listening'* ]] || die "$output"
	ctl status a-name-longer-than-the-head
	[[ $status == 0 && $output != *"more connections"* && $(grep -c 127.0.0.1 <<<"$output") -ge 45 ]]
	kill "$HELD"; let_go
	until_true 10 has_children 0
}

@test "status tells of each connection its number, process, peer and bytes, and of one service what ended ones moved" {
	a_table
	"$PEER" -c go -s hello "tcp:127.0.0.1:${PORTS[b]}" >held 3>&- & HELD=$!
	local row pid
	moved() { ctl status; row=$(grep -A1 -w CONN <<<"$output" | tail -n 1 | tr -s ' '); [[ $row == *"5 B 7 B" ]]; }
	until_true 5 moved || die "$output" || return
	pid=$(children "$PID"); pid=${pid%% *}
	[[ $(grep -w CONN <<<"$output" | tr -s ' ') == " CONN SERVICE PID FROM AGE IDLE IN OUT" ]] || die "$output" || return
	[[ $row =~ ^" 1 b $pid 127.0.0.1 "[0-9]+s\ [0-9]+s\ 5\ B\ 7\ B$ ]] || die "$row" || return
	: >go; let_go
	until_true 5 has_children 0
	ended() { ctl status b; [[ $'\n'$output == *$'\nb: 5 B in, 7 B out'* ]]; }
	until_true 5 ended
}

@test "a word that cannot be one is told without asking" {
	a_table
	ctl enable ""; [[ $status == 1 ]]; one_line 'serverctl: "": '
	ctl enable "a b"; [[ $status == 1 ]]; one_line 'serverctl: "a b": a word of printing'
	ctl enable $'a\nx 0'; [[ $status == 1 ]]; one_line 'serverctl: "a\nx 0": a word of printing'
	ctl enable "$(printf '%0600d' 0)"; [[ $status == 1 ]]; one_line 'serverctl: "000'
	answers a
}

@test "what cannot be written to standard output is not done" {
	a_table
	run -1 sh -c '"$0" -C "$1" tables 2>/dev/null; "$0" -C "$1" explain a 127.0.0.1 >/dev/full' "$SERVERCTL" "$CTL"
	[[ $output == *"serverctl: standard output: "* ]]
}

# --- the commands

@test "status answers, of one service too; of none that there is: exit status 1" {
	a_table
	ctl status; [[ $status == 0 && -n $output && -z $stderr ]]
	ctl status a; [[ $status == 0 && -n $output ]]
	ctl --json status; [[ $status == 0 && $output == "{"* ]]
	ctl status a --json; [[ $status == 0 && $output == "{"* ]]
}

@test "reload says what is wrong and what was done; a faulty entry: 1, the others are taken" {
	a_table
	ctl reload
	[[ $status == 0 && $output == "0 added, 0 changed, 0 removed, 2 as before, 0 off, 0 faulty" && -z $stderr ]]
	table <<-'X'
	service a { listen = 127.0.0.1:0
		shell = echo a; cat
	}
	service b { listen = 127.0.0.1:0
		shell = echo b; cat
		instances = many
	}
	service c { listen = unix:c
		shell = echo c; cat
	}
	X
	ctl reload
	[[ $status == 1 && $output == "1 added, 0 changed, 0 removed, 1 as before, 0 off, 1 faulty" ]]
	[[ $stderr == "t:6:13: error: "*$'\n'*"instances = many"*$'\n'*"^"* ]]
	run -0 "$PEER" -s x -H unix:c; [[ $output == c* ]]
	answers a; answers b
	logged 'TABLE: t:6:13: error: '
}

@test "reload of a table that enables nothing says so; explain of one that is not there does not blame the service" {
	a_table
	table <<<''
	ctl reload
	[[ $status == 0 && $output == "0 added, 0 changed, 2 removed, 0 as before, 0 off, 0 faulty" ]]
	[[ $stderr == "server: warning: the table enables no service" ]]
	wait_log 'TABLE: server: warning: the table enables no service'
	rm t
	ctl explain a 127.0.0.1
	[[ $status == 2 && -z $output && $stderr == "serverctl: the table cannot be read; "* ]]
	table <<<'service x {'
	ctl explain a 127.0.0.1
	[[ $status == 2 && -z $output && $stderr == "serverctl: there is no service a in what could be read of the table; "* ]]
}

@test "reload of a table with an error outside of an entry, or of none: 1, nothing is changed" {
	a_table
	table <<<'service a {'
	ctl reload
	[[ $status == 1 && -z $output && $stderr == *"error"*"serverctl: nothing is changed: "* ]]
	rm t
	ctl reload
	[[ $status == 1 && -z $output && $stderr == *"serverctl: nothing is changed: "* ]]
	answers a; answers b
}

@test "disable outlasts a reload, enable too, neither a restart; connections live on" {
	requires python3
	a_table
	cat >talk.py <<-'X'
	import os, socket, sys, time
	c = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); c.settimeout(20)
	assert c.recv(2) == b"a\n"; open("up", "w").close()
	while not os.path.exists("go"): time.sleep(.01)
	c.sendall(b"still here"); assert c.recv(100) == b"still here"
	X
	timeout 30 python3 talk.py "${PORTS[a]}" 3>&- & local talk=$!
	until_true 10 test -e up
	ctl disable a
	[[ $status == 0 && $output == "0 added, 0 changed, 1 removed, 1 as before, 1 off, 0 faulty" ]]
	refuses a; answers b
	: >go; wait "$talk"
	ctl reload; [[ $status == 0 ]]; refuses a
	sed -i '/service b/a disable = yes' t; ctl reload; refuses b
	ctl enable b; [[ $status == 0 ]]
	ctl reload; [[ $status == 0 && $output == *"1 as before, 1 off, 0 faulty" ]]
	stop_server
	start_server -f t
	answers a; [[ -z ${PORTS[b]-} ]]
}

@test "enable takes back disable, and twice is once" {
	a_table
	ctl disable a; ctl disable a; [[ $status == 0 ]]
	ctl enable a; [[ $status == 0 && $output == "1 added"* ]]
	ctl enable a; [[ $status == 0 && $output == *"2 as before"* ]]
	ctl disable a; refuses a
	ctl disable b; ctl reload; refuses a; refuses b
}

@test "disable while the table is refused is noted; explain says what serverctl switched" {
	a_table
	cp t good; echo '}' >>t
	ctl disable a; [[ $status == 1 ]]
	[[ $stderr == *"serverctl: it is noted for the next reload that is taken; this one is not: "* ]]
	answers a
	cp good t; ctl reload; [[ $status == 0 ]]; refuses a
	ctl explain a 127.0.0.1; [[ $status == 1 && $output == "refused: disabled "*"serverctl disable switched the service off"* ]]
	ctl enable a; ctl explain a 127.0.0.1; [[ $status == 0 && $output == served* ]]
	# What the table says later does not count against it, and explain tells that.
	sed -i 's/service a {/&\n\tdisable = yes\n/' t; ctl reload
	ctl explain a 127.0.0.1; [[ $status == 0 && $output == served*"disabled, and on all the same: serverctl enable said so (t:2)"* ]] || die "$output"
}

@test "explain knows what is not in the table: who touched a sensor; an older version in force" {
	table <<-X
	service trap { type = UNLISTED
		listen = 127.0.0.1:0
		flags = SENSOR
		deny_time = 5
	}
	service a { listen = 127.0.0.1:0
		exec = echo a
		user = $ME
	}
	service packets { listen = udp:127.0.0.1:0
		wait = yes
		exec = cat
		user = $ME
	}
	service itself { listen = 127.0.0.1:0
		wait = yes
		exec = cat
		user = $ME
	}
	X
	start_server -f t
	ctl explain a 127.0.0.1; [[ $status == 0 && $output == served* ]]
	cp t whole
	printf 'service a { listen = unix:another\n\texce = echo b\n}\n' >>t; ctl reload
	ctl explain a 127.0.0.1; [[ $output == *"refused: faulty "* && $output != *"last version"* ]] || die "$output"
	cp whole t; ctl reload
	sed -i 's/exec = echo/exce = echo/' t; ctl reload
	ctl explain a 127.0.0.1; [[ $status == 1 && $output == "refused: faulty "*"its last version without an error is in force"* ]]
	ask "${PORTS[trap]}" || :
	wait_log 'DENY: trap 127.0.0.1'
	ctl explain a 127.0.0.1; [[ $status == 1 && ${lines[0]} == "refused: sensor" && $output == *deny_time* ]]
	ctl explain a 127.0.0.2; [[ $output != "refused: sensor"* ]]
	# What accepts by itself knows of no bans; who reads datagrams is not started for them.
	ctl explain packets 127.0.0.1; [[ $status == 1 && ${lines[0]} == "refused: sensor" ]]
	ctl explain itself 127.0.0.1; [[ $status == 0 && $output == served* ]] || die "$output"
	ctl explain nosuch 127.0.0.1; [[ $status == 2 && $stderr == *"there is no service nosuch"* ]]
}

@test "several services of one name are switched together" {
	table <<-'X'
	service a { listen = unix:one
		exec = echo one
	}
	service a { listen = unix:two
		exec = echo two
	}
	X
	start_server -f t
	ctl disable a; [[ $status == 0 && $output == *"2 removed"*"2 off"* ]]
	run -5 "$PEER" unix:one; run -5 "$PEER" unix:two
	ctl enable a; [[ $status == 0 && $output == "2 added"* ]]
	run -0 "$PEER" unix:two; [[ $output == two ]]
}

@test "enable, disable: no such service; one with an error: 1 and why" {
	a_table
	ctl enable c; [[ $status == 1 ]]; one_line "serverctl: there is no service c"
	ctl disable c; [[ $status == 1 ]]; one_line "serverctl: there is no service c"
	{ cat t; echo 'service c { listen = 127.0.0.1:0'; echo 'instances = x'; echo 'disable = yes'; echo 'exec = cat'; echo '}'; } >u
	cat u >t
	ctl reload
	ctl enable c; [[ $status == 1 && $stderr == *"t:8:"*": error: "* && $output == *"1 faulty" ]]
	answers a
}

@test "kill ends a connection by its number; one that there is not: 1" {
	start_server -o log_on_success+=CONN 127.0.0.1:0 sh -c 'echo up; exec tail -f /dev/null'
	held; wait_log "START: sh .*conn="
	local conn; conn=$(sed -n 's/.*START: .* conn=\([0-9]*\).*/\1/p' "$LOG")
	ctl kill $((conn + 1)); [[ $status == 1 ]]; one_line "serverctl: there is no connection $((conn + 1))"
	ctl kill 0; [[ $status == 1 ]]; one_line "serverctl: there is no connection 0"
	ctl kill 99999999999999999999; [[ $status == 1 ]]; one_line "serverctl: there is no connection 9999"
	ctl kill "$conn"; [[ $status == 0 && $output == "connection $conn is told to end" && -z $stderr ]]
	let_go
	wait_log 'KILL: sh .*control'; wait_log 'EXIT: sh signal=15'
	until_true 5 has_children 0
	ctl kill "$conn"; [[ $status == 1 ]]
}

@test "kill ends those of a service that only linger, too" {
	start_server -o id=a -o sndbuf=300000 127.0.0.1:0 head -c 400000 /dev/zero
	"$PEER" -t 30000 -r 4096 -c go "tcp:127.0.0.1:$PORT" >/dev/null 3>&- & local p=$!
	lingers() { ctl status --json; [[ $output == *'"lingering":1'* ]]; }
	until_true 5 lingers
	ctl kill a; [[ $status == 0 && $output == "1 connection of a is told to end" ]] || die "$output"
	ctl status --json; [[ $output == *'"lingering":0'* ]]
	: >go; wait "$p" || :
}

@test "kill ends all of a service, and of no other" {
	table <<-'X'
	service a { listen = 127.0.0.1:0
		shell = echo a >>came; exec tail -f /dev/null
		directory = .
	}
	X
	sed -i "s|directory = .|directory = $PWD|" t
	{ cat t; sed 's/service a/service b/' t; } >u; cat u >t
	start_server -f t
	local i p=()
	for i in 1 2 3; do "$PEER" -t 30000 "tcp:127.0.0.1:${PORTS[a]}" >/dev/null 3>&- & p+=($!); done
	held "tcp:127.0.0.1:${PORTS[b]}"
	four() { [[ $(wc -l <came) == 4 ]]; }
	until_true 5 four
	ctl kill c; [[ $status == 1 ]]; one_line "serverctl: there is no service c"
	ctl kill a; [[ $status == 0 && $output == "3 connections of a are told to end" ]]
	wait "${p[@]}" || :
	until_true 5 log_has 3 'EXIT: a signal=15'
	[[ $(count_log 'EXIT: b') == 0 ]]
	ctl kill b; [[ $output == "1 connection of b is told to end" ]]
	let_go
	ctl kill a; [[ $status == 0 && $output == "0 connections of a are told to end" ]]
}

@test "kill of a name that two services have ends the connections of both" {
	table <<-'X'
	service a { listen = 127.0.0.1:0
		shell = echo a; cat
	}
	service also { listen = 127.0.0.1:0
		id = a
		shell = echo also; cat
	}
	X
	start_server -f t
	local to pids=()
	for to in "${ADDRESSES[@]}"; do "$PEER" -t 30000 "$to" >"held.${to##*:}" 3>&- & pids+=($!); done
	until_true 5 has_children 2
	ctl kill a; [[ $status == 0 && $output == "2 connections of a are told to end" ]] || die "$output" || return
	wait "${pids[@]}" || :
	until_true 5 has_children 0
}

@test "kill of a service whose entry is gone ends what is left of it" {
	table <<-'X'
	service a { listen = 127.0.0.1:0
		shell = echo a; exec tail -f /dev/null
	}
	service b { listen = 127.0.0.1:0
		exec = cat
	}
	X
	start_server -f t
	held; until_true 5 test -s held
	sed -i 1,3d t; ctl reload; [[ $status == 0 && $output == *"1 removed"* ]]
	ctl kill a; [[ $status == 0 && $output == "1 connection of a is told to end" ]]
	let_go; wait_log 'EXIT: a signal=15'
	gone_too() { ctl kill a; [[ $status == 1 ]]; }
	until_true 5 gone_too
}

@test "T29: kill: who ignores TERM is killed after kill_after" {
	start_server -o kill_after=200ms 127.0.0.1:0 sh -c 'trap "" TERM; echo up; while :; do sleep 1; done'
	held; until_true 5 test -s held
	ctl kill sh; [[ $status == 0 ]]
	let_go; wait_log 'EXIT: sh signal=9'
}

@test "kill ends a relay, a session of datagrams, and what tcpmux handed on" {
	start_server -q 127.0.0.1:0 cat
	local to=$PORT
	table <<-X
	service relay { listen = 127.0.0.1:0
		redirect = 127.0.0.1:$to
	}
	service session { listen = udp:127.0.0.1:0
		session = yes
		shell = echo up; sleep 60
	}
	service tcpmux { listen = 127.0.0.1:0
		type = INTERNAL
	}
	service behind { type = TCPMUX
		user = $ME
		shell = echo up; sleep 60
	}
	X
	start_server -f t
	held "tcp:127.0.0.1:${PORTS[relay]}"
	wait_log 'START: relay'
	ctl kill relay; [[ $status == 0 && $output == "1 connection of relay is told to end" ]]
	let_go; wait_log 'EXIT: relay'
	timeout 20 "$DATAGRAMS" "${ADDRESSES[1]}" x >got
	[[ $(<got) == up ]]
	ctl kill session; [[ $status == 0 && $output == "1 connection of session is told to end" ]]
	wait_log 'EXIT: session signal=15'
	"$PEER" -t 30000 -s $'behind\r\n' "tcp:127.0.0.1:${PORTS[tcpmux]}" >held 3>&- & HELD=$!
	until_true 5 test -s held
	ctl kill behind; [[ $status == 0 && $output == "1 connection of behind is told to end" ]]
	let_go; wait_log 'EXIT: behind signal=15'
}

@test "drain: no more connections, and the end with 0 when those that are there have gone" {
	gate g
	start_server -o grace=60s 127.0.0.1:0 ./g
	held; entered g
	ctl drain; [[ $status == 0 && $output == "no more connections are taken"* && -z $stderr ]]
	run -5 ask
	ctl status; [[ $status == 0 ]]
	ctl drain; [[ $status == 0 ]]
	open_gate g; let_go
	[[ $(<held) == bye ]]
	wait_end; [[ $STATUS == 0 && ! -e $CTL ]]
}

@test "stop: the end with 0, now; behind a drain too" {
	start_server -o grace=60s 127.0.0.1:0 sh -c 'echo up; sleep 60'
	held; until_true 5 test -s held
	ctl drain; [[ $status == 0 ]]
	ctl stop; [[ $status == 0 && $output == "all connections are told to end" ]]
	let_go
	wait_end; [[ $STATUS == 0 && ! -e $CTL ]]
	a_table
	ctl stop; wait_end; [[ $STATUS == 0 ]]
}

@test "reload and enable while the server drains: 1 and why" {
	gate g
	table <<<"service a { listen = 127.0.0.1:0
		exec = $PWD/g
	}"
	start_server -o grace=60s -f t
	held; entered g
	ctl drain
	ctl reload; [[ $status == 1 ]]; one_line "serverctl: the server is about to end"
	ctl disable a; [[ $status == 1 ]]; one_line "serverctl: the server is about to end"
	open_gate g; let_go; wait_end; [[ $STATUS == 0 ]]
}

@test "explain is --explain of the running server, with its three statuses" {
	table <<-'X'
	service a { listen = 127.0.0.1:0
		exec = cat
		only_from = 10.0.0.0/8
		access_times = 08:00-18:00
	}
	X
	start_server -o no_access=10.9.0.0/16 -f t
	local words
	for words in "a 10.1.2.3 12:00" "a 10.9.2.3 12:00" "a 127.0.0.1 12:00" "a 10.1.2.3 23:00" "b 10.1.2.3" "a nowhere"; do
		# shellcheck disable=SC2086
		run --separate-stderr "$SERVER" -o no_access=10.9.0.0/16 -o "user=$ME" --explain $words -f t
		local rc=$status out=$output why=${stderr#server: }
		# shellcheck disable=SC2086
		ctl explain $words
		[[ $status == "$rc" && $output == "$out" && ${stderr#serverctl: } == "$why" ]] || die "$words: $status $output $stderr, not $rc $out $why" || return
	done
}

@test "tables names the files, in full, whoever asks from wherever" {
	a_table
	raw 'tables\n'; [[ $status == 0 && $output == "o $PWD/t"$'\nx 0' ]]
}

@test "options tells what stands over the tables' defaults" {
	a_table -o "only_from=127.0.0.1 ::1"
	raw 'options\n'; [[ $status == 0 && $output == "o option user=$ME"$'\no option only_from=127.0.0.1 ::1\nx 0' ]]
	stop_server
	AS_ME='' start_server 127.0.0.1:0 true
	raw 'options\n'; [[ $status == 0 && $output == 'x 0' ]]
}

@test "a table that was standard input is neither read again nor explained: 1 and why" {
	table <<<'service a { listen = unix:a
		shell = echo a
	}'
	"$SERVER" -o "user=$ME" -q -C c -p pid -f - <t >>"$LOG" 2>&1 3>&- & SRV+=($!)
	until_true 5 test -e pid
	CTL=c
	local words
	for words in reload "disable a" "explain a user:root"; do
		# shellcheck disable=SC2086
		ctl $words; [[ $status == 1 && -z $output ]] || die "$words: $status $output" || return
		one_line "serverctl: the table was read from what cannot be read again" || die "$words: $stderr" || return
	done
	run -0 "$PEER" unix:a; [[ $output == a ]]
}

@test "one command is served: status, kill, drain and stop work; what needs a table says so" {
	start_server 127.0.0.1:0 cat
	ctl status; [[ $status == 0 ]]
	local words
	for words in reload "enable cat" "disable cat" "explain cat 127.0.0.1" "edit"; do
		# shellcheck disable=SC2086
		ctl $words; [[ $status == 1 && -z $output ]] || die "$words: $status" || return
		one_line "serverctl: one command is served: there is no table" || die "$words: $stderr" || return
	done
	ctl kill cat; [[ $status == 0 ]]
	ctl stop; [[ $status == 0 ]]
	wait_end; [[ $STATUS == 0 ]]
}

# --- where it stands

@test "T40: mode 0600, and removed at the end: TERM, INT, QUIT; a relative path, with -D too" {
	local sig
	for sig in TERM INT QUIT; do
		start_server 127.0.0.1:0 cat
		[[ $(stat -c %a "$CTL") == 600 && -S $CTL ]]
		stop_server "$sig"
		[[ $STATUS == 0 && ! -e $CTL ]] || die "$sig" || return
	done
	table <<<'service a { listen = 127.0.0.1:0
		exec = cat
	}'
	"$SERVER" -o "user=$ME" -D -C here -p "$PWD/pid" -f t </dev/null >>"$LOG" 2>&1 3>&-
	local pid; pid=$(<pid)
	CTL=here; ctl status; [[ $status == 0 && $(stat -c %a here) == 600 ]]
	raw 'tables\n'; [[ $output == "o $PWD/t"* ]]
	ctl reload; [[ $status == 0 ]]
	ctl stop; [[ $status == 0 ]]
	until_true 5 gone "$pid"
	[[ ! -e here ]]
}

@test "one that cannot be made: exit status 1 and one line, in both forms" {
	table <<<'service a { listen = 127.0.0.1:0
		exec = cat
	}'
	: >file
	local path
	for path in nodir/x file "" @name "$(printf '%0108d' 0)"; do
		run --separate-stderr timeout 10 "$SERVER" -o "user=$ME" -C "$path" -f t
		[[ $status == 1 ]] || die "$path: $status" || return
		[[ $(grep -v LISTEN <<<"$stderr") == "server: "*"$path"* && $stderr != *$'\n'*$'\n'* ]] || die "$path: $stderr" || return
		run --separate-stderr timeout 10 "$SERVER" -o "user=$ME" -C "$path" 127.0.0.1:0 cat
		[[ $status == 1 && $stderr == "server: "*"$path"* ]] || die "$path: $stderr" || return
	done
	run -1 --separate-stderr timeout 10 "$SERVER" -D -o "user=$ME" -C nodir/x -f t
	[[ $stderr == "server: "*nodir/x* ]]
	[[ -f file ]]
}

@test "a stale socket is replaced, a live one is not" {
	start_server 127.0.0.1:0 cat
	kill -KILL "$PID"; wait "$PID" 2>/dev/null || :; SRV=()
	[[ -S ctl.1 ]]
	CONTROL="-C ctl.1" start_server 127.0.0.1:0 cat
	CTL=ctl.1; ctl status; [[ $status == 0 ]]
	run --separate-stderr timeout 10 "$SERVER" -o "user=$ME" -C ctl.1 127.0.0.1:0 cat
	[[ $status == 1 && $stderr == *ctl.1*": cannot bind: "* ]]
	ctl status; [[ $status == 0 ]]
}

@test "the usual place: /run for root; a second server warns once and goes on without" {
	requires_mounts
	table <<<'service a { listen = 127.0.0.1:0
		exec = cat
	}'
	cat >inside <<-'X'
	#!/bin/sh
	# $1 server, $2 serverctl
	start() { "$1" -q -r 9 -p "$3" -f t 9>ready.$3 </dev/null >log.$3 2>&1 & until grep -q ready ready.$3; do :; done; }
	start "$1" "$2" one || exit 10
	[ -S /run/server.sock ] && "$2" status >said || exit 11
	start "$1" "$2" two || exit 12
	"$2" reload >said.two || exit 13
	"$2" stop || exit 14
	wait %1 || exit 15
	[ ! -e /run/server.sock ] || exit 16
	kill -TERM $(cat two) && wait %2 || exit 17
	"$1" -q -r 9 -p three 127.0.0.1:0 cat 9>ready.three </dev/null >log.three 2>&1 & three=$!; until grep -q ready ready.three; do :; done
	[ ! -e /run/server.sock ] || exit 18
	kill -TERM $three && wait $three
	X
	chmod +x inside
	run -0 own_run timeout 30 sh ./inside "$SERVER" "$SERVERCTL" 3>&-
	[[ ! -s log.one || $(grep -c "control socket" log.one) == 0 ]]
	[[ $(grep -c "server: warning: there is no control socket: .*/run/server.sock" log.two) == 1 ]]
}

@test "the usual place of others: XDG_RUNTIME_DIR; without it none, silently" {
	table <<<"service a { listen = 127.0.0.1:0
		exec = cat
	}"
	local AS=""
	if [[ $(id -u) == 0 ]]; then
		programs_for_nobody
		AS="setpriv --reuid=65534 --regid=65534 --clear-groups"
		mkdir rt; chown 65534 rt
		SERVER=$PWD/bin/server SERVERCTL=$PWD/bin/serverctl
	else
		mkdir rt
	fi
	export XDG_RUNTIME_DIR=$PWD/rt
	WRAP=$AS AS_ME=" " CONTROL=" " start_server -f t
	[[ -S rt/server.sock ]]
	# shellcheck disable=SC2086
	run -0 $AS "$SERVERCTL" reload
	stop_server
	[[ ! -e rt/server.sock ]]
	unset XDG_RUNTIME_DIR
	WRAP=$AS AS_ME=" " CONTROL=" " start_server -f t
	[[ $(count_log 'control') == 0 ]]
	# shellcheck disable=SC2086
	run --separate-stderr $AS "$SERVERCTL" reload
	[[ $status == 1 ]]; one_line "serverctl: no server's socket is known: XDG_RUNTIME_DIR is not set"
}

@test "another user is refused by who he is, not only by the mode" {
	programs_for_nobody
	a_table
	run --separate-stderr nobody timeout 10 "$PWD/bin/serverctl" -C "$CTL" stop
	[[ $status == 1 && -z $output ]]; one_line "serverctl: $CTL: cannot ask the server: "
	chmod 666 "$CTL"
	local words
	for words in stop status "disable a" "explain a 127.0.0.1" edit; do
		# shellcheck disable=SC2086
		run --separate-stderr nobody timeout 10 "$PWD/bin/serverctl" -C "$CTL" $words
		[[ $status == 1 && -z $output ]] || die "$words: $status" || return
		one_line "serverctl: only root and the server's own user may talk to it" || die "$words: $stderr" || return
	done
	answers a
	ctl status; [[ $status == 0 ]]
}

# --- bad askers

@test "what is no request is answered with 2, and costs nothing" {
	a_table
	local fds; fds=$(nfds "$PID")
	local bytes many
	many=$(printf '%0511d' 0)
	for bytes in '\n' 'nothing\n' 'status a b c d e f g h\n' 'reload now\n' 'kill\n' '   \n' ' reload now \n' '\x01\x02\xff\n' 'st\xc3\xa4tus\n' \
	    "${many}0" "$many$many$many" 'status\x1b[2J\n' 'reload\tx\n'; do
		raw "$bytes"
		[[ $output == "e "*$'\n'"x 2" ]] || die "$bytes: $status $output" || return
	done
	timeout 10 python3 - "${CTL##*/}" <<-'X'
	import socket, sys
	for what in (b"\0", b"stop\0\n", b"stop" + b"\0" * 600, b"\xff" * 511 + b"\n", b"x" * 512, b"x" * 511 + b"\n"):
	    c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); c.sendall(what)
	    d = b""
	    try:
	        while x := c.recv(1000): d += x
	    except ConnectionResetError: pass
	    assert d.endswith(b"\nx 2\n"), (what, d)
	X
	raw '  tables  \n'; [[ $output == *$'\nx 0' ]]
	raw 'tables\nstop\nstop\n'; [[ $output == *$'\nx 0' ]]
	answers a; answers b
	until_true 5 is_quiet "$fds"
}

@test "half a request, in pieces, or none: the whole one is answered, the others are cut after a while" {
	requires python3
	a_table
	local fds; fds=$(nfds "$PID")
	timeout 60 python3 - "${CTL##*/}" <<-'X'
	import socket, sys, time
	def to():
	    c = socket.socket(socket.AF_UNIX); c.settimeout(30); c.connect(sys.argv[1]); return c
	def end(c):
	    d = b""
	    try:
	        while x := c.recv(1000): d += x
	    except ConnectionResetError: pass
	    return d
	silent, half, away = to(), to(), to()
	half.sendall(b"stat")
	away.sendall(b"reload\n"); away.close()
	c = to()
	for b in b"tables\n":
	    c.sendall(bytes([b])); time.sleep(.005)
	assert end(c).endswith(b"x 0\n")
	c = to(); c.sendall(b"reload\n"); c.shutdown(socket.SHUT_WR)
	assert end(c).endswith(b"x 0\n"), "one that shuts its side still wants the answer"
	c = to(); c.shutdown(socket.SHUT_WR); assert end(c) == b""
	assert end(silent).endswith(b"x 2\n") and end(half).endswith(b"x 2\n")
	X
	until_true 5 is_quiet "$fds"
	answers a
}

@test "1,000 at once: each is answered, a connection is served meanwhile, nothing is left" {
	requires python3; requires_fds 1500
	a_table
	local fds; fds=$(nfds "$PID")
	timeout 60 python3 - "${CTL##*/}" "${PORTS[a]}" <<-'X'
	import resource, socket, sys
	resource.setrlimit(resource.RLIMIT_NOFILE, (1500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
	all = []
	for i in range(1000):
	    c = socket.socket(socket.AF_UNIX); c.settimeout(50); c.connect(sys.argv[1])
	    c.sendall((b"tables\n", b"explain a 127.0.0.1\n" if i % 20 == 0 else b"kill b\n", b"nothing\n")[i % 3 if i % 20 else 1])
	    all.append(c)
	s = socket.create_connection(("127.0.0.1", int(sys.argv[2]))); s.settimeout(30)
	assert s.recv(2) == b"a\n"; s.sendall(b"served"); assert s.recv(100) == b"served"
	for c in all:
	    d = b""
	    while x := c.recv(1000): d += x
	    assert d[-5:] in (b"\nx 0\n", b"\nx 2\n"), d
	X
	until_true 5 is_quiet "$fds"
	no_zombies
}

@test "100 clients ask for a reload at once: each is answered by one that began after it asked" {
	requires python3
	a_table
	local fds; fds=$(nfds "$PID")
	timeout 60 python3 - "${CTL##*/}" <<-'X'
	import socket, sys, threading
	failed = []
	def ask(line):
	    c = socket.socket(socket.AF_UNIX); c.settimeout(50); c.connect(sys.argv[1]); c.sendall(line)
	    d = b""
	    while x := c.recv(1000): d += x
	    if not d.endswith(b"\nx 0\n"): failed.append(d)
	t = [threading.Thread(target=ask, args=(b"reload\n",)) for i in range(100)]
	for x in t: x.start()
	for x in t: x.join()
	assert not failed, failed
	# What is written before one asks is there when it is answered.
	for i in range(30):
	    others = [threading.Thread(target=ask, args=(b"reload\n",)) for i in range(3)]
	    for x in others: x.start()
	    open("t", "a").write("service n%d { listen = unix:n%d\n exec = cat\n}\n" % (i, i))
	    ask(b"reload\n")
	    s = socket.socket(socket.AF_UNIX); s.connect("n%d" % i)
	    for x in others: x.join()
	assert not failed, failed
	X
	count() { [[ $(nfds "$PID") == $((fds + 30)) ]] && has_children 0; }
	until_true 10 count
}

@test "who never reads a long answer holds nobody; the process that answers ends by itself" {
	requires python3
	table <<<'service a { listen = 127.0.0.1:0
		shell = echo a; cat
	}'
	local i f=() long; long=$(printf '%0200d' 0)
	mkdir "$long"; : >"$long/e"
	for i in {1..3000}; do f+=(-f "$PWD/$long/e"); done
	start_server -f t "${f[@]}"
	local fds; fds=$(nfds "$PID")
	cat >deaf.py <<-'X'
	import os, socket, sys, time
	all = []
	for i in range(9):
	    c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); c.sendall(b"tables\n"); all.append(c)
	open("up", "w").close()
	while not os.path.exists("go"): time.sleep(.01)
	X
	timeout 100 python3 deaf.py "${CTL##*/}" 3>&- & local deaf=$!
	until_true 10 test -e up
	busy() { [[ -n $(children "$PID") ]]; }
	until_true 5 busy
	answers a
	raw 'kill a\n'; [[ $output == *$'\nx 0' ]]
	# Some answer while these hold the others up, which come all after a bound.
	until_true 60 is_quiet "$fds"
	: >go; wait "$deaf"
	"$SERVERCTL" -C "$CTL" explain a 127.0.0.1 >answer; [[ $(<answer) == served* ]]
	raw 'tables\n'; [[ $(wc -l <<<"$output") == 3002 && $output == *$'\nx 0' ]]
}

@test "status of 3,000 services, to one who never reads it and to one who does" {
	requires_fds 4000
	local i
	for i in {1..3000}; do printf 'service s%d { listen = unix:@%s.%d\nexec = cat\n}\n' "$i" "ctl$$" "$i"; done >t
	echo 'service a { listen = 127.0.0.1:0
		shell = echo a; cat
	}' >>t
	chmod 644 t
	START_LIMIT=30 start_server -q -f t
	"$PEER" -c never -t 1 -s $'status\n' "unix:${CTL##*/}" >/dev/null 3>&- & local deaf=$!
	answers a
	ctl status; [[ $status == 0 ]]
	ctl status s3000; [[ $status == 0 && -n $output ]]
	kill "$deaf"; wait "$deaf" || :
	until_true 10 has_children 0
}

@test "a long answer arrives whole, and one who goes away in its middle leaves nothing" {
	a_table
	local fds i; fds=$(nfds "$PID")
	for i in {1..2000}; do printf 'service x%d { listen = unix:x%d\nexec = cat\nno_such_attribute = 1\n}\n' "$i" "$i"; done >>t
	ctl reload
	[[ $status == 1 && $output == *" faulty" && $(grep -c ': error: ' <<<"$stderr") -ge 100 ]]
	for i in 1 2 3; do
		"$PEER" -r 4096 -R -s $'reload\n' "unix:${CTL##*/}" >/dev/null || :
		"$SERVERCTL" -C "$CTL" reload 2>&1 | head -n 1 >/dev/null || :
	done
	until_true 20 is_quiet "$fds"
	answers a
}

@test "no descriptor for one who asks: the server does not spin, and answers when it has one" {
	requires python3
	WRAP="prlimit --nofile=40:40" start_server 127.0.0.1:0 echo hi
	cat >fill.py <<-'X'
	import os, socket, sys, time
	all = []
	for i in range(60):
	    c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); all.append(c)
	open("up", "w").close()
	while not os.path.exists("go"): time.sleep(.01)
	X
	timeout 60 python3 fill.py "${CTL##*/}" 3>&- & local fill=$!
	until_true 10 test -e up
	full() { (($(nfds "$PID") >= 40)); }
	until_true 5 full
	local before i; before=$(ticks "$PID")
	for i in {1..100}; do nap 0.01; done
	full || die "they were cut before it could be seen" || return
	(($(ticks "$PID") - before < 5)) || die "it spins: $(($(ticks "$PID") - before)) ticks in a second" || return
	"$SERVERCTL" -C "$CTL" kill 99999 >said 2>&1 3>&- & local asks=$!
	: >go; wait "$fill"
	wait "$asks" || :
	[[ $(<said) == "serverctl: there is no connection 99999" ]]
	run -0 ask; [[ $output == hi ]]
}

@test "what a killed predecessor leaves for a moment does not keep a server from its control socket" {
	requires python3
	cat >holds.py <<-'X'
	import os, socket, time
	s = socket.socket(socket.AF_UNIX); s.bind("ctl.1"); s.listen()
	print("there", flush=True)
	s.accept(); s.close()
	X
	python3 holds.py >there 3>&- & local p=$!
	until_true 5 test -s there
	start_server 127.0.0.1:0 cat
	wait "$p"
	run -0 "$SERVERCTL" -C ctl.1 status
}
