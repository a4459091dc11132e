load helper

# A network and a /run of its own, in which the real rpcbind runs: what stands in the file `inside`
# is done there, with the server's readiness in `ready` and its log in $LOG.
in_own_net() {
	requires_root
	requires unshare rpcbind rpcinfo ip
	cat >inside.sh
	SERVER=$SERVER LOG=$LOG run -0 timeout 30 unshare -n -m bash -euc '
		ip link set lo up
		mount -t tmpfs none /run
		until_true() { local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000)); shift
			until "$@"; do ((${EPOCHREALTIME/[.,]/} < end)) || { echo "not in time: $*"; cat "$LOG"; exit 1; }; read -rt 0.02 <> <(:) || :; done; }
		answers() { rpcinfo -p 127.0.0.1 >list 2>/dev/null; }
		start_rpcbind() { rpcbind -f >/dev/null 2>&1 & RPCBIND=$!; until_true 10 answers; }
		start() { mkfifo ready 2>/dev/null || :; "$SERVER" -f table -r 9 9>ready 2>>"$LOG" & PID=$!; cat ready >lines; }
		stop() { kill "$1"; until_true 10 eval "! kill -0 $1 2>/dev/null"; }
		listed() { answers && grep -qE "^ +$1 +$2 +$3 +[0-9]+" list; }
		port_of() { awk -v n="$1" -v v="$2" -v p="$3" "\$1 == n && \$2 == v && \$3 == p { print \$4 }" list; }
		trap "kill \$(jobs -p) 2>/dev/null || :" EXIT
		. ./inside.sh'
}

table() { cat >table; chmod 644 table; }
programs() { # one of each grammar
	table <<-'X'
	rstatd/2-4 dgram rpc/udp wait nobody /bin/cat cat
	service mine
	{
		type        = RPC UNLISTED
		rpc_number  = 200099
		rpc_version = 1
		exec        = cat
	}
	X
}

@test "services of both grammars are registered, with every version and protocol, and forgotten at the end" {
	programs
	in_own_net <<-'X'
	start_rpcbind
	start
	until_true 10 listed 200099 1 tcp
	for v in 2 3 4; do listed 100001 $v udp; done
	grep -q "^listen mine tcp:\*:$(port_of 200099 1 tcp)\$" lines
	grep -q "^listen rstatd udp:\*:$(port_of 100001 3 udp)\$" lines
	rpcinfo >all; grep -qE "^ +200099 +1 +tcp6 " all; grep -qE "^ +100001 +4 +udp6 " all
	stop "$PID"
	until_true 10 eval "! listed 200099 1 tcp && ! listed 100001 3 udp"
	stop "$RPCBIND"
	X
}

@test "without its UNIX socket rpcbind is told by portmap's protocol, which knows no IPv6" {
	programs
	cat >>table <<-'X'
	service six
	{
		type        = RPC UNLISTED
		rpc_number  = 200100
		rpc_version = 1
		v6only      = yes
		exec        = cat
	}
	X
	in_own_net <<-'X'
	start_rpcbind
	rm /run/rpcbind.sock
	start
	until_true 10 listed 200099 1 tcp
	for v in 2 3 4; do listed 100001 $v udp; done
	[ "$(port_of 200099 1 tcp)" = "$(sed -n 's/^listen mine tcp:\*://p' lines)" ]
	[ "$(grep -c 200099 list)" = 1 ]
	[ -z "$(grep 200100 list)" ]
	grep -q '^listen six tcp6:' lines
	until_true 10 grep -q 'RPC: not registered, .*: six (tcp6:' "$LOG"
	[ "$(grep -cE 'RPC|tried again' "$LOG")" = 1 ]
	stop "$PID"
	until_true 10 eval "! listed 200099 1 tcp && ! listed 100001 3 udp"
	stop "$RPCBIND"
	X
}

@test "while rpcbind cannot be reached it is tried again, told once; a port of one's own is registered" {
	table <<-'X'
	service mine
	{
		type        = RPC UNLISTED
		rpc_number  = 200099
		rpc_version = 1-2
		protocol    = tcp4
		port        = 2049
		exec        = cat
	}
	X
	in_own_net <<-'X'
	start
	until_true 10 grep -q "RPC: cannot reach rpcbind" "$LOG"
	start_rpcbind
	until_true 10 listed 200099 2 tcp
	[ "$(port_of 200099 1 tcp)" = 2049 ]
	grep -q "RPC: the RPC services are registered" "$LOG"
	[ "$(grep -c "cannot reach" "$LOG")" = 1 ]
	stop "$PID"
	stop "$RPCBIND"
	X
}

@test "portmap is told from a privileged port, as some want it" {
	requires python3
	programs
	cat >portmap.py <<-'X'
	import socket
	s = socket.create_server(("127.0.0.1", 111))
	open("there", "w")
	print(s.accept()[1][1], flush=True)
	X
	in_own_net <<-'X'
	python3 portmap.py >from &
	until_true 10 test -e there
	start
	until_true 10 test -s from
	[ "$(cat from)" -lt 1024 ]
	stop "$PID"
	X
}

@test "what a killed server left behind is replaced" {
	table <<-'X'
	service mine
	{
		type        = RPC UNLISTED
		rpc_number  = 200099
		rpc_version = 1
		protocol    = tcp4
		exec        = cat
	}
	X
	in_own_net <<-'X'
	start_rpcbind
	start
	until_true 10 listed 200099 1 tcp
	old=$(port_of 200099 1 tcp)
	kill -KILL "$PID"; wait "$PID" || :
	start
	new=$(sed -n "s/^listen mine tcp4:\*://p" lines)
	[ "$new" != "$old" ]
	until_true 10 eval "answers && [ \"\$(port_of 200099 1 tcp)\" = $new ]"
	stop "$PID"
	stop "$RPCBIND"
	X
}

@test "an RPC service without a version, or without a number, is an error" {
	table <<-'X'
	service nosuchprogram
	{
		type        = RPC
		rpc_version = 1
		exec        = cat
	}
	service mine
	{
		type        = RPC UNLISTED
		rpc_number  = 200099
		exec        = cat
	}
	X
	run -1 "$SERVER" -t -f table
	[[ $output == *"nosuchprogram is no RPC program in /etc/rpc; say rpc_number = NUMBER"* ]]
	[[ $output == *"an RPC service has versions; say rpc_version = 1"* ]]
}
