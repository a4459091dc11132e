load helper

# They have a control socket where all have it: root's is in a /run of the test's own.
eval "begin_$(declare -f setup)"
setup() {
	begin_setup || return
	OWN_RUN=() XDG_RUNTIME_DIR=$PWD
	export XDG_RUNTIME_DIR
	[[ $(id -u) != 0 ]] || ! unshare -m true 2>/dev/null ||
		OWN_RUN=(unshare -m sh -c 'mount -t tmpfs t /run && exec "$@"' sh)
}

# The names are links beside the test. What they say and log comes to $LOG.
start_name() { # start_name NAME ARGS...: in the foreground, up to its first listener; sets PID, PORT
	local name=$1; shift
	[[ -e $name ]] || ln -s "$SERVER" "$name"
	"${OWN_RUN[@]}" "./$name" "$@" </dev/null >>"$LOG" 2>&1 3>&- &
	PID=$!; SRV+=("$PID")
	until_true 10 ready_log "${UP-LISTEN}" || return
	PORT=$(sed -nE 's/.*LISTEN: [^ ]+ tcp6?:.*:([0-9]+)$/\1/p' "${FILELOG:-$LOG}" | head -n 1)
}
ready_log() { [[ -z $1 ]] || grep -q -- "$1" "${FILELOG:-$LOG}" 2>/dev/null; }

# wrong NAME WORDS ARGS...: status 2, one line on standard error, nothing on standard output
wrong() {
	local name=$1 want=$2 rc=0; shift 2
	[[ -e $name ]] || ln -s "$SERVER" "$name"
	timeout 5 "./$name" "$@" >out 2>err </dev/null || rc=$?
	[[ $rc == 2 ]] || die "status $rc, not 2: $name $*" "$(<err)" || return
	[[ ! -s out && $(wc -l <err) == 1 ]] || die "not one line: $name $*" "$(<out)" "$(<err)" || return
	[[ $(<err) == "server: "*"$want"* ]] || die "no \"$want\": $name $*" "$(<err)"
}

# A block as xinetd wants it; more lines of it on standard input if $3 is there.
block() { # block NAME COMMAND-FILE [more]
	cat <<-X
	service $1
	{
		type        = UNLISTED
		port        = 0
		bind        = 127.0.0.1
		socket_type = stream
		protocol    = tcp
		wait        = no
		user        = $ME
		server      = $2
		$([[ $# -lt 3 ]] || cat)
	}
	X
}
script() { # script NAME: standard input is its text
	{ echo "#!/bin/sh"; cat; } >"$1"; chmod +x "$1"
}

# Runs a script on standard input with an /etc of its own, made of ./etc, a /run and a /dev/log.
inside() {
	requires_root
	requires python3
	unshare -m true 2>/dev/null || skip "no mount namespace"
	local f
	mkdir -p etc
	for f in passwd group nsswitch.conf services protocols rpc hosts localtime host.conf; do
		[[ ! -e /etc/$f || -e etc/$f ]] || cp -L "/etc/$f" etc/
	done
	cat >listen.py <<-'X'
	import socket
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("/dev/log")
	open("up", "w").close()
	while True:
	    with open("syslog", "ab") as f: f.write(s.recv(65536) + b"\n")
	X
	{
		cat <<-X
		mount --bind etc /etc && mount -t tmpfs t /run || exit 9
		mkdir dev && mount -t tmpfs t dev && mknod dev/null c 1 3 && mknod dev/urandom c 1 9 && mount --move dev /dev || exit 9
		python3 listen.py & listener=\$!
		trap 'kill \$listener; wait \$listener 2>/dev/null || :' EXIT
		until [ -e up ]; do :; done
		# waited PATTERN [N]: until so many lines of the log hold it
		waited() { i=0; until [ "\$(grep -cE "\$1" syslog 2>/dev/null || :)" -ge "\${2:-1}" ]; do
			i=\$((i + 1)); [ \$i -lt 500 ] || { echo "not logged: \$1" >&2; exit 8; }; sleep 0.01; done; }
		port() { sed -nE "s/.*LISTEN: \$1 tcp6?:.*:([0-9]+)\\\$/\\1/p" syslog | tail -n 1; }
		ask() { "$PEER" "tcp:127.0.0.1:\$1"; }
		ended() { i=0; while kill -0 "\$1" 2>/dev/null; do
			i=\$((i + 1)); [ \$i -lt 500 ] || { echo "still there: \$1" >&2; exit 8; }; sleep 0.01; done; }
		X
		cat
	} >inside.sh
	ln -sf "$SERVER" xinetd; ln -sf "$SERVER" inetd
	timeout 40 unshare -m sh -eu inside.sh 3>&- || die "inside: $?" "$(cat syslog 2>/dev/null)"
}

# --- xinetd

@test "xinetd -d: in the foreground, all of it on standard error, its own dialect" {
	block it /bin/echo more >t <<<"frobnicate = yes"
	start_name xinetd -d -f t
	logged 't:[0-9]+:[0-9]+: warning: there is no attribute `frobnicate`'
	logged 'DEBUG: '
	ask >got; [[ $(wc -c <got) == 1 ]]
	wait_log 'START: it pid=[0-9]+ from=127\.0\.0\.1'
}

@test "xinetd -version, and every option of it that is not one" {
	ln -s "$SERVER" xinetd
	run -0 ./xinetd -version
	[[ $output == "server "* ]]
	wrong xinetd "-x: no such option" -x
	wrong xinetd "--version: no such option" --version
	wrong xinetd "table.conf: no such argument" table.conf
	wrong xinetd "-f: a table is missing" -dontfork -f
	wrong xinetd '-syslog "nowhere" is not a facility' -syslog nowhere
	wrong xinetd "-syslog and -filelog: only one" -syslog daemon -filelog /tmp/x
	wrong xinetd "-limit 0: not a number" -limit 0
	wrong xinetd "-limit x: not a number" -limit x
	wrong xinetd "-cc x: not a number" -cc x
	wrong xinetd "-logprocs 0: not a number" -logprocs 0
}

@test "xinetd: what an option does not do here is a warning" {
	block it /bin/true >t
	start_name xinetd -d -cc 5 -logprocs 3 -filelog f -stayalive -reuse -inetd_ipv6 -f nowhere -f t
	logged '^server: warning: -cc does nothing here'
	logged '^server: warning: -logprocs does nothing here'
	logged '^server: warning: -filelog does nothing beside -d'
	logged '^server: warning: -f is given twice'
	[[ $(count_log '^server: ') == 4 && ! -e f ]]
}

@test "xinetd: serverctl edit checks as this server reads: what is a warning there is none here" {
	script hi <<<'echo hi'
	block a "$PWD/hi" more <<<'frobnicate = 1' >t
	start_name xinetd -d -f t
	local ctl=(timeout 30 "$SERVERCTL")
	[[ $(id -u) != 0 || -z ${OWN_RUN[*]} ]] || ctl=(timeout 30 nsenter -t "$PID" -m "$SERVERCTL")
	EDITOR="sed -i s/hi$/hello/" run "${ctl[@]}" edit "$PWD/t"
	[[ $status == 0 && $output == *"there is no attribute \`frobnicate\`; ignored"*"1 changed"* ]] || die "$status $output"
	grep -q "server .*/hello$" t
}

@test "xinetd: a full service refuses, as xinetd does, unless the table says otherwise" {
	gate g
	block it "$PWD/g" more >t <<<"instances = 1"
	start_name xinetd -d -f t
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	entered g
	run ask; [[ $output == "" ]]
	wait_log 'FAIL: it service_limit from='
	open_gate g; wait "$a"
	stop_server; [[ $STATUS == 0 ]]

	# The name's own words are under those of the table's defaults.
	{ echo "defaults"; echo "{"; echo "overload = queue"; echo "}"; cat t; } >t2
	: >"$LOG"
	start_name xinetd -d -f t2
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & a=$!
	entered g
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >b 3>&- & local b=$!
	wait_log 'PAUSE: it service_limit'
	open_gate g; wait "$a"
	entered g; open_gate g; wait "$b"
	[[ $(<b) == bye ]]; run ! logged FAIL
}

@test "xinetd: commands get its environment; passenv, as given, says which part" {
	export FOO=foo BAR=bar LD_FROB=x
	block all /usr/bin/env >t
	block one /usr/bin/env more <<<"passenv = FOO" >>t
	block add /usr/bin/env more <<<"passenv += BAR" >>t
	UP="LISTEN: add" start_name xinetd -d -f t
	port_of() { sed -nE "s/.*LISTEN: $1 tcp:.*:([0-9]+)$/\1/p" "$LOG"; }
	ask "$(port_of all)" >all; ask "$(port_of one)" >one; ask "$(port_of add)" >add
	grep -qx FOO=foo all; grep -qx BAR=bar all; grep -qxF "PATH=$PATH" all
	run ! grep LD_FROB all
	grep -qx FOO=foo one; run ! grep BAR one
	grep -qx BAR=bar add; run ! grep FOO add
	stop_server
	# In defaults it holds for all.
	{ printf 'defaults\n{\npassenv = BAR\n}\n'; block all /usr/bin/env; } >t
	: >"$LOG"
	start_name xinetd -d -f t
	ask >all
	grep -qx BAR=bar all; run ! grep FOO all
}

@test "xinetd: TERM ends the commands at once, with KILL for those that stay" {
	script s <<<'trap "" TERM; echo up; while :; do sleep 1; done'
	block it "$PWD/s" more >t <<<"kill_after = 60s"
	start_name xinetd -d -f t
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & local h=$!
	until_true 5 test -s held
	local start; start=$(now_ms)
	stop_server TERM
	[[ $STATUS == 0 ]]
	(($(now_ms) - start < 5000))
	run ! logged DRAIN
	logged 'STOP: 1 children'; logged 'EXIT: it signal=9'
	wait "$h" || :
}

@test "xinetd: QUIT leaves the commands alone" {
	gate g
	block it "$PWD/g" >t
	start_name xinetd -d -f t
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & local h=$!
	entered g
	stop_server QUIT
	[[ $STATUS == 0 ]]
	open_gate g; wait "$h"
	[[ $(<held) == bye ]]
}

@test "xinetd -dontfork -filelog: the log is that file, also behind a HUP that finds it moved" {
	block it /bin/true >t
	FILELOG=l start_name xinetd -dontfork -filelog l -f t
	[[ $(readlink "/proc/$PID/cwd") == "$PWD" && ! -s $LOG ]]
	ask
	until_true 5 grep -q 'EXIT: it status=0' l
	mv l l.1
	block it /bin/false >t
	kill -HUP "$PID"
	until_true 5 grep -q 'RELOAD: 0 added, 1 changed' l
	ask
	until_true 5 grep -q 'EXIT: it status=1' l
	# What is said of the table comes there too.
	block it /bin/false more >t <<<"frob = x"
	kill -HUP "$PID"
	until_true 5 grep -q 'TABLE: .*no attribute `frob`' l
	stop_server; [[ $STATUS == 0 ]]
	run -1 "${OWN_RUN[@]}" ./xinetd -dontfork -filelog nowhere/l -f t
	[[ $output == *"server: nowhere/l: cannot write the log: "* ]]
}

@test "xinetd goes to the background, writes its pid, logs what is wrong with the table, survives an upgrade" {
	ln -s "$SERVER" xinetd
	block it /bin/echo more >t <<<"frob = x"
	block off /bin/echo more >>t <<<"nice = x"
	"${OWN_RUN[@]}" ./xinetd -f t -filelog l -pidfile pid </dev/null >out 2>&1 3>&-
	PID=$(<pid)
	[[ $(readlink "/proc/$PID/cwd") == / && $(readlink "/proc/$PID/fd/2") == /dev/null ]]
	[[ $(stat_field "$PID" 6) == "$PID" ]]
	until_true 5 grep -q 'LISTEN: it ' l
	grep -q "TABLE: $PWD/t:.*warning: there is no attribute .frob." l
	grep -q "TABLE: $PWD/t:.*error: " l
	PORT=$(sed -nE 's/.*LISTEN: it tcp:.*:([0-9]+)$/\1/p' l)
	ask
	# The tables are found again from /.
	block it /bin/echo >t
	kill -HUP "$PID"
	until_true 5 grep -q 'RELOAD: ' l
	run ! grep refused l
	# So they are by its successor, which goes by the same name.
	kill -USR2 "$PID"
	until_true 10 grep -q 'UPGRADE: done' l
	PORT=$(sed -nE 's/.*LISTEN: it tcp:.*:([0-9]+)$/\1/p' l | tail -n 1)
	ask
	block it /bin/false >t
	mv l l.1
	kill -HUP "$PID"
	until_true 5 grep -q 'RELOAD: 0 added, 1 changed' l
	ask
	until_true 5 grep -q 'EXIT: it status=1' l
	kill "$PID"
	until_true 5 gone "$PID"
	until_true 5 test ! -e pid
	run ! grep DRAIN l
	grep -q STOP l
}

@test "xinetd -limit: so many children in all; it stands over the table's limit" {
	gate g
	{ printf 'defaults\n{\nlimit = 50\n}\n'; block it "$PWD/g"; } >t
	start_name xinetd -d -limit 1 -f t
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	entered g
	run ask; [[ $output == "" ]]
	wait_log 'FAIL: it process_limit from='
	open_gate g; wait "$a"
}

@test "xinetd stays up with an empty table, and with faulty entries only; HUP mends it" {
	: >t
	UP="enables no service" start_name xinetd -d -f t
	block it /bin/true more >t <<<"nice = x"
	kill -HUP "$PID"
	wait_log 'RELOAD: .* 1 faulty'
	block it /bin/true >t
	kill -HUP "$PID"
	wait_log 'LISTEN: it '
	stop_server; [[ $STATUS == 0 ]]
	block it /bin/true more >t <<<"nice = x"
	: >"$LOG"
	UP="enables no service" start_name xinetd -d -f t
	block it /bin/true >t
	kill -HUP "$PID"
	wait_log 'LISTEN: it '
	# Under its own name it does not begin so.
	block it /bin/true more >t <<<"nice = x"
	run -1 "$SERVER" -C c -f t
	# An error that may hide limits is no empty table.
	echo "defaults {" >t
	run -1 "${OWN_RUN[@]}" ./xinetd -d -f t
}

@test "xinetd reads /etc/xinetd.conf, with -inetd_compat /etc/inetd.conf behind it if it is there; -syslog" {
	mkdir -p etc/xinetd.d
	{ block one /bin/echo more <<<"server_args = one"; echo "includedir /etc/xinetd.d"; } >etc/xinetd.conf
	block two /bin/echo more <<<"server_args = two" >etc/xinetd.d/two
	inside <<-X
	./xinetd -inetd_compat -syslog local3 -pidfile /run/x.pid 2>&1
	waited 'LISTEN: two '
	[ "\$(ask \$(port one))" = one ]
	[ "\$(ask \$(port two))" = two ]
	# facility local3, level info; the tag is the name
	grep -E '^<158>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} xinetd\[[0-9]+\]: LISTEN: one ' syslog
	echo '127.0.0.1:0 stream tcp nowait $ME /bin/echo echo classic' >/etc/inetd.conf
	kill -HUP "\$(cat /run/x.pid)"
	waited 'RELOAD: 1 added, 0 changed, 0 removed, 2 as before'
	[ "\$(ask \$(port 0))" = classic ]
	pid=\$(cat /run/x.pid)
	kill \$pid
	ended \$pid
	[ ! -e /run/x.pid ]

	# Without the option it is not read.
	: >syslog
	./xinetd -pidfile /run/x.pid
	waited 'LISTEN: two '
	grep -E '^<30>.* xinetd\[' syslog
	[ -z "\$(grep 'LISTEN: 0' syslog)" ]
	kill "\$(cat /run/x.pid)"
	ended "\$(cat /run/x.pid)"

	# Its own table must be there.
	rm /etc/xinetd.conf
	if ./xinetd -inetd_compat 2>said; then exit 1; fi
	grep '/etc/xinetd.conf: cannot read' said
	X
}

# --- inetd

# line PROGRAM ARGV [MAX [ADDRESS]]; its id is 0, the port
line() { echo "${4-127.0.0.1}:0 stream tcp nowait${3-} $ME $1 ${2-}"; }

@test "inetd FILE -d: bsd's dialect, in the foreground" {
	line /bin/echo "echo a # b" >t
	start_name inetd t -d
	run -0 ask; [[ $output == "a # b" ]]
	logged 'DEBUG: '
}

@test "inetd: every option of it that is not one, and wrong values" {
	wrong inetd "-x: no such option" -x
	wrong inetd "-h: no such option" -h
	wrong inetd "--environment: no such option" -i --environment t
	wrong inetd "--: no such option" -d-
	wrong inetd "-x: no such option" -EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEx
	wrong inetd "-q: a value is missing" -i -q
	wrong inetd "-q 0: not a number from 1" -q 0
	wrong inetd "-R x: not a number" -R x
	wrong inetd "-c -1: not a number" -c -1
	wrong inetd "-a 300.1.1.1: not an address" -a 300.1.1.1
	wrong inetd "-a 127.0.0.1,127.0.0.2: not an address" -a 127.0.0.1,127.0.0.2
	wrong openbsd-inetd "-x: no such option of inetd" -x
	wrong inetutils-inetd "-x: no such option of inetd" -x
}

@test "inetd: what an option does not do here is a warning" {
	line /bin/true true >t
	start_name inetd -d -l -w -W t
	logged '^server: warning: -l does nothing here'
	logged '^server: warning: -w does nothing here'
	logged '^server: warning: -W does nothing here'
	[[ $(count_log '^server: ') == 3 ]]
}

@test "inetd: TERM ends it at once, and sessions live on" {
	gate g
	line "$PWD/g" g >t
	start_name inetd -d t
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >held 3>&- & local h=$!
	entered g
	stop_server TERM
	[[ $STATUS == 0 ]]
	open_gate g; wait "$h"
	[[ $(<held) == bye ]]
	run ! logged 'DRAIN|STOP:'
}

@test "inetd -i, -f and -e: in the foreground, the log where it is asked for" {
	line /bin/true true >t
	start_name inetd -f -e -p pid t
	[[ $(<pid) == "$PID" ]]
	stop_server; [[ $STATUS == 0 && ! -e pid ]]
	: >"$LOG"
	start_name inetd -e -p pid -i t
	run ! logged DEBUG
	stop_server
	# With -i alone it goes to syslog.
	: >"$LOG"
	UP="" start_name inetd -i -p pid t
	until_true 5 test -s pid
	stop_server; [[ ! -s $LOG ]]
}

@test "inetd goes to the background; -e is of no use there" {
	ln -s "$SERVER" inetd
	line /bin/true true >t
	"${OWN_RUN[@]}" ./inetd -e -p pid t </dev/null >out 2>&1 3>&-
	PID=$(<pid)
	[[ $(readlink "/proc/$PID/cwd") == / && $(readlink "/proc/$PID/fd/2") == /dev/null ]]
	[[ $(<out) == "server: warning: -e does nothing in the background"* && $(wc -l <out) == 1 ]]
	kill "$PID"
	until_true 5 gone "$PID"
	until_true 5 test ! -e pid
}

@test "inetd -c, -s, -C, -R: limits of services that have none" {
	gate g
	line "$PWD/g" g >t
	start_name inetd -d -c 1 t
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & local a=$!
	entered g
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >b 3>&- & local b=$!
	wait_log 'PAUSE: 0 service_limit'
	open_gate g; wait "$a"
	entered g; open_gate g; wait "$b"
	stop_server; : >"$LOG"

	start_name inetd -d -s 1 t
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" >a 3>&- & a=$!
	entered g
	run ask; wait_log 'FAIL: .* per_source_limit'
	open_gate g; wait "$a"
	stop_server; : >"$LOG"

	line /bin/true true >t
	start_name inetd -d -C 1 t
	ask; run ask; wait_log 'FAIL: .* source_rate'
	stop_server; : >"$LOG"

	{ line /bin/true true; line /bin/false false .9 127.0.0.2; } >t
	UP="LISTEN: 0 tcp:127.0.0.2" start_name inetd -d -R 1 t
	ask
	"$PEER" -t 20000 "tcp:127.0.0.1:$PORT" 3>&- & a=$!
	wait_log 'PAUSE: 0 service_limit tcp:127.0.0.1:'
	# The line's own word stands over it.
	local other; other=$(sed -nE 's/.*LISTEN: 0 tcp:(127.0.0.2:[0-9]+)$/\1/p' "$LOG")
	"$PEER" "tcp:$other"; "$PEER" "tcp:$other"
	until_true 5 log_has 2 'EXIT: 0 status=1'
	run ! logged 'PAUSE: .*127.0.0.2'
	stop_server; wait "$a" || :; : >"$LOG"

	# 0 is none.
	start_name inetd -d -R 0 -c 0 -C 0 -s 0 t
	ask; ask
	run ! logged 'PAUSE|FAIL'
}

@test "inetd -q: the length of the queues" {
	requires ss
	line /bin/true true >t
	start_name inetd -d -q 7 t
	run -0 ss -ltnH "sport = :$PORT"
	[[ $output == *" 7 "*"127.0.0.1:$PORT"* ]]
}

@test "inetd -a: where lines listen that name no address" {
	cat >t <<-X
	0 stream tcp nowait $ME /bin/echo one
	127.0.0.3:0 stream tcp nowait $ME /bin/echo two
	nosuchservice stream tcp nowait $ME /bin/echo four
	*:
	0 stream tcp4 nowait $ME /bin/echo three
	X
	UP='LISTEN: 0 tcp4' start_name inetd -d -a 127.0.0.2 t
	logged 'LISTEN: 0 tcp:127\.0\.0\.2:'
	logged 'LISTEN: 0 tcp:127\.0\.0\.3:'
	logged 'LISTEN: 0 tcp4:\*:'
	# An error of such a line is told at the line.
	logged 't:3:1: error: .*nosuchservice is no tcp port'
	stop_server; : >"$LOG"
	[[ -e /proc/net/if_inet6 ]] && grep -q ' lo$' /proc/net/if_inet6 || skip "no IPv6"
	echo "0 stream tcp6 nowait $ME /bin/echo one" >t
	start_name inetd -d -a ::1 t
	logged 'LISTEN: 0 tcp6:\[::1\]:'
}

@test "inetd -E: the environment is passed on" {
	export FOO=foo
	line /usr/bin/env env >t
	start_name inetd -d t
	run -0 ask; [[ $output != *FOO=* && $output == *PATH=/usr/local/sbin:* ]]
	stop_server; : >"$LOG"
	start_name inetd -d -E t
	run -0 ask; [[ $output == *FOO=foo* ]]
}

@test "inetd stays up though nothing can be bound, or its table is empty" {
	: >t
	UP="enables no service" start_name inetd -d t
	line /bin/echo "echo hi" >t
	kill -HUP "$PID"
	wait_log 'LISTEN: 0 '
	PORT=$(sed -nE 's/.*LISTEN: 0 tcp:.*:([0-9]+)$/\1/p' "$LOG")
	local taken=$PORT first=$PID
	echo "127.0.0.1:$taken stream tcp nowait $ME /bin/echo echo hi" >t2
	# In the background, too.
	"${OWN_RUN[@]}" ./inetd -p pid t2 </dev/null >out 2>&1 3>&-
	PID=$(<pid)
	! gone "$PID" || die "it is gone"
	kill "$first"; until_true 5 gone "$first"
	answers() { [[ $(ask "$taken" 2>/dev/null) == hi ]]; }
	until_true 10 answers
	kill "$PID"; until_true 5 gone "$PID"
}

@test "inetd reads /etc/inetd.conf and, if it is there, /etc/inetd.d; its pid is where Debian looks" {
	mkdir -p etc
	line /bin/echo "echo one" >etc/inetd.conf
	inside <<-X
	./inetd 2>said
	[ ! -s said ]
	waited 'LISTEN: 0 '
	grep -E '^<30>.* inetd\[[0-9]+\]: LISTEN: 0 ' syslog
	[ "\$(ask \$(port 0))" = one ]
	pid=\$(cat /run/inetd.pid)
	mkdir /etc/inetd.d
	echo '127.0.0.1:0 stream tcp nowait $ME /bin/date date' >/etc/inetd.d/two
	kill -HUP \$pid
	waited 'RELOAD: 1 added'
	[ -n "\$(ask \$(port 0))" ]
	kill \$pid
	ended \$pid
	[ ! -e /run/inetd.pid ]
	rm /etc/inetd.conf
	if ./inetd 2>said; then exit 1; fi
	grep '/etc/inetd.conf: cannot read' said
	X
}

# --- installed

@test "make install COMPAT=1 makes the names, and their pages; without it there are none" {
	requires make
	local d=$PWD/d
	make -s -C "$BATS_TEST_DIRNAME/.." -o all install B="$B" DESTDIR="$d" PREFIX=/usr
	[[ -x d/usr/sbin/server && ! -e d/usr/sbin/xinetd && ! -L d/usr/sbin/inetd ]]
	make -s -C "$BATS_TEST_DIRNAME/.." -o all install B="$B" DESTDIR="$d" PREFIX=/usr COMPAT=1
	local name
	for name in xinetd inetd; do
		[[ $(readlink "d/usr/sbin/$name") == server && -x d/usr/sbin/$name ]]
		[[ -s d/usr/share/man/man8/$name.8 && -s d/usr/share/man/man5/$name.conf.5 ]]
		run -2 "d/usr/sbin/$name" -x
		[[ $output == "server: -x: no such option of $name; "* ]]
	done
}
