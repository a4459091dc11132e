load helper

# allowed/denied ADDRESS-OF-THE-PEER
allowed() { run -0 "$PEER" -b "$1" "tcp:127.0.0.1:$PORT"; [[ $output == hi ]] || die "$1 was refused"; }
denied() {
	run -0 "$PEER" -b "$1" "tcp:127.0.0.1:$PORT"
	[[ -z $output ]] || die "$1 was let in" || return
	wait_log "FAIL: echo address from=${1//./\\.}\$"
}

@test "only_from: nobody else" {
	start_server -o only_from='127.0.0.2 127.0.1.0/24' 127.0.0.1:0 echo hi
	allowed 127.0.0.2; allowed 127.0.1.255; denied 127.0.0.1; denied 127.0.2.0
}

@test "no_access: everybody else" {
	start_server -o no_access=127.0.0.2 127.0.0.1:0 echo hi
	denied 127.0.0.2; allowed 127.0.0.1
}

@test "the longer match wins, no_access on a tie" {
	start_server -o only_from='127.0.0.0/24 127.0.1.1 127.0.2.0/24' -o no_access='127.0.0.0/28 127.0.1.0/24 127.0.2.0/24' 127.0.0.1:0 echo hi
	denied 127.0.0.1; allowed 127.0.0.200; allowed 127.0.1.1; denied 127.0.1.2; denied 127.0.2.5; denied 127.0.3.1
}

@test "an only_from that is given and empty lets nobody in" {
	start_server -o only_from= 127.0.0.1:0 echo hi
	denied 127.0.0.1
	start_server -o only_from= -o only_from+=127.0.0.1 127.0.0.1:0 echo hi
	allowed 127.0.0.1
	start_server -o only_from='127.0.0.1 127.0.0.2' -o only_from-=127.0.0.2 127.0.0.1:0 echo hi
	allowed 127.0.0.1; denied 127.0.0.2
}

@test "every form of an IPv4 network" {
	start_server -o only_from='127.1.{2,3} 127.2.0.0 127.3.0.0/255.255.0.0,127.4.0.5' 127.0.0.1:0 echo hi
	allowed 127.1.2.77; allowed 127.1.3.1; denied 127.1.4.1
	allowed 127.2.200.1; allowed 127.3.9.9; allowed 127.4.0.5; denied 127.4.0.6
}

@test "0.0.0.0 is every IPv4 address, ::/0 every IPv6 one" {
	start_server -o only_from=0.0.0.0 0 echo hi
	allowed 127.9.9.9
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ -z $output ]]
	start_server -o only_from=::/0 0 echo hi
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ $output == hi ]]
	denied 127.0.0.1
	start_server -o only_from=::1/128 0 echo hi
	run -0 "$PEER" "tcp:[::1]:$PORT"; [[ $output == hi ]]
}

@test "host names are resolved at start; one that cannot be is told and matches nobody" {
	start_server -o only_from='localhost no.such.host.invalid' 127.0.0.1:0 echo hi
	allowed 127.0.0.1; denied 127.0.0.2
	logged 'warning: no.such.host.invalid: the host cannot be resolved, so it matches nobody'
}

@test "bits behind a prefix are told" {
	start_server -o only_from=127.0.0.77/24 127.0.0.1:0 echo hi
	logged 'warning: 127.0.0.77/24: bits behind the prefix are set; read as 127.0.0.0/24'
	allowed 127.0.0.1
}

@test "user: and group: judge UNIX peers; address words do not" {
	start_server -o only_from=10.0.0.0/8 unix:a echo hi
	run -0 "$PEER" unix:a; [[ $output == hi ]]
	start_server -o only_from="user:$ME" unix:b echo hi
	run -0 "$PEER" unix:b; [[ $output == hi ]]
	start_server -o no_access="user:$ME" unix:c echo hi
	run -0 "$PEER" unix:c; [[ -z $output ]]
	wait_log "FAIL: echo address from=uid:$(id -u)\$"
	start_server -o only_from=user:65533 unix:d echo hi
	run -0 "$PEER" unix:d; [[ -z $output ]]
	start_server -o only_from="group:$(id -gn)" unix:e echo hi
	run -0 "$PEER" unix:e; [[ $output == hi ]]
	start_server -o only_from=user:65533 127.0.0.1:0 echo hi
	allowed 127.0.0.1
}

@test "access_times: open now, closed now, across midnight" {
	export TZ=UTC
	# A time zone in which it is noon now, give or take a minute: X+1:00 is an hour behind UTC.
	local off=$((10#$(date -u +%H) * 60 + 10#$(date -u +%M) - 720)) sign=""
	((off >= 0)) || { sign=-; off=$((-off)); }
	TZ=XXX$sign$(printf %02d:%02d $((off / 60)) $((off % 60)))
	[[ $(date +%H) == 12 || $(date +%H:%M) == 11:59 ]]
	start_server -o access_times=11:50-12:10 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	start_server -o access_times='00:00-11:50 12:10-24:00' 127.0.0.1:0 echo hi
	run -0 ask; [[ -z $output ]]
	wait_log 'FAIL: echo time from=127.0.0.1$'
	start_server -o access_times=22:00-12:10 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	start_server -o access_times=12:10-11:50 127.0.0.1:0 echo hi
	run -0 ask; [[ -z $output ]]
}

# A private /etc/hosts: 127.0.0.5 is good.example.org, 127.0.0.6 claims a name that leads elsewhere.
with_hosts() {
	requires_root
	unshare -m true 2>/dev/null || skip "no mount namespace"
	cat >hosts <<-'X'
	127.0.0.1 localhost
	127.0.0.5 good.example.org
	127.0.0.6 liar.example.net
	X
	cat >in.sh <<-X
	mount --bind hosts /etc/hosts && exec "\$@"
	X
	WRAP="unshare -m sh in.sh"
}

@test "lookup: the peer's confirmed name is in REMOTE_HOST, TCPREMOTEHOST and the log" {
	with_hosts
	start_server -o lookup=yes 127.0.0.1:0 sh -c 'echo $REMOTE_HOST $TCPREMOTEHOST $REMOTE_ADDR'
	run -0 "$PEER" -b 127.0.0.5 "tcp:127.0.0.1:$PORT"
	[[ $output == "good.example.org good.example.org 127.0.0.5" ]]
	wait_log 'START: sh pid=[0-9]+ from=127.0.0.5 host=good.example.org$'
	run -0 "$PEER" -b 127.0.0.9 "tcp:127.0.0.1:$PORT"
	[[ $output == "127.0.0.9 127.0.0.9" ]]
	wait_log 'START: sh pid=[0-9]+ from=127.0.0.9$'
}

@test "a domain in only_from is judged by the confirmed name, in the child" {
	with_hosts
	start_server -o only_from=.example.org -o banner_success="$PWD/w" -o banner_fail="$PWD/f" 127.0.0.1:0 echo hi
	run -0 "$PEER" -b 127.0.0.5 "tcp:127.0.0.1:$PORT"; [[ $output == hi ]]
	denied_by_name() {
		run -0 "$PEER" -b "$1" "tcp:127.0.0.1:$PORT"
		[[ -z $output ]]
		wait_log "FAIL: echo address from=$1"
	}
	denied_by_name 127.0.0.9
	denied_by_name 127.0.0.6
	! logged 'START.*127.0.0.[69]' || die "a refused one was started"
	start_server -o no_access=.example.org 127.0.0.1:0 echo hi
	run -0 "$PEER" -b 127.0.0.5 "tcp:127.0.0.1:$PORT"; [[ -z $output ]]
	run -0 "$PEER" -b 127.0.0.6 "tcp:127.0.0.1:$PORT"; [[ $output == hi ]]
}

@test "a name service that does not answer costs two seconds and nobody else anything" {
	with_hosts
	requires_silent_resolver
	cat >in.sh <<-X
	echo nameserver 127.0.0.1 >resolv; echo 'hosts: files dns' >nss
	mount --bind resolv /etc/resolv.conf; mount --bind nss /etc/nsswitch.conf
	ip link set lo up
	python3 silent.py & d=\$!
	until [ -e up ]; do :; done
	"$SERVER" -o user=root -r 9 -o lookup=yes 127.0.0.1:0 sh -c 'echo \$REMOTE_HOST' 9>lines & s=\$!
	until grep -q ready lines; do :; done
	read -r x y a <lines
	"$CLIENT" -s 127.0.0.77 -w 8 "\${a#tcp:}" </dev/null >got
	kill \$s; wait \$s; kill \$d
	X
	requires ip
	local start; start=$(now_ms)
	timeout 25 unshare -m -n sh in.sh
	[[ $(<got) == 127.0.0.77 ]]
	(($(now_ms) - start < 8000))
}
