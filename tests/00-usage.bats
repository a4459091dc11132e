load helper

# wrong WORDS-IN-THE-MESSAGE ARGS...: status 2, one line on standard error, nothing on standard output
wrong() {
	local want=$1 rc=0; shift
	timeout 5 "$SERVER" -o user="$ME" "$@" >out 2>err </dev/null || rc=$?
	[[ $rc == 2 ]] || die "status $rc, not 2: $*" "$(<err)" || return
	[[ ! -s out ]] || die "standard output: $*" "$(<out)" || return
	[[ $(wc -l <err) == 1 ]] || die "not one line: $*" "$(<err)" || return
	[[ $(<err) == "server: "*"$want"* ]] || die "no \"$want\": $*" "$(<err)"
}

@test "no command line at all, and no table in the place for it, is answered with an example" {
	[[ ! -e /etc/server.conf ]] || skip "this machine has /etc/server.conf"
	run -1 timeout 5 "$SERVER"
	[[ $output == *"/etc/server.conf: cannot read"* && $output == *"server 1024 date"* ]]
}

@test "a wrong option is named" {
	wrong "-x: no such option" -x 0 date
	wrong "--frob" --frob 0 date
	wrong "-o: a value is missing" -o
	wrong "--option: a value is missing" --option
	wrong "-r nine" -r nine 0 date
	wrong '-f "": the path of a file is wanted' -t -f ""
	wrong '-p "": the path' -p "" 0 date
	wrong "-r 77: not an open descriptor" -r 77 0 date
}

@test "a table and ADDRESS COMMAND do not go together" {
	wrong "a table and ADDRESS COMMAND do not go together" -f x 0 date
	wrong "-s: a table and ADDRESS COMMAND" -s -t
	wrong "only one of -t, --dump and --explain" -t --dump
	wrong "--explain takes SERVICE ADDRESS" --explain x
	wrong "--explain takes SERVICE ADDRESS" --explain x 1.2.3.4 5:00 y
	wrong "needs a table" -o disable=yes 0 date
	wrong "belongs to one service" -o port=5 -t
	wrong 'user "nosuch": there is no such user' -t -o user=nosuch
	wrong 'group "nosuch": there is no such group' -t -o group=nosuch
	wrong "did you mean instances" -o instnaces=5 -t
	wrong "instances" -o instances-=3 -t
	wrong "BOGUS" -o log_on_success-=BOGUS -t
}

@test "flags that say what ADDRESS says, or a table, are not taken without one" {
	wrong "here ADDRESS says it" -o flags=IPv4 0 date
	wrong "here ADDRESS says it" -o flags=IPv6 0 date
	wrong "DISABLE needs a table" -o flags=DISABLE 0 date
}

@test "ADDRESS without COMMAND, -s without a line" {
	wrong "no COMMAND" 0
	wrong "no command line behind ADDRESS 0" -s 0
	wrong "empty" 0 ""
	wrong "shell is empty" -s 0 "  "
}

@test "a wrong ADDRESS is named, with what would be right" {
	wrong "70000 is no port; ports go from 0 to 65535" 70000 date
	wrong "-1 is no tcp port" -- -1 date
	wrong "nosuchservice is no tcp port in /etc/services" nosuchservice date
	wrong "127.0.0.1:: no port" 127.0.0.1: date
	wrong "write *:80" :80 date
	wrong "[::1]:1024" ::1:80 date
	wrong "the [ is not closed" "[::1" date
	wrong "no port after the ]" "[::1]" date
	wrong "only an IPv6 address stands in [ ]" "[127.0.0.1]:80" date
	wrong "unix:/run/x" tcp:/run/x date
	wrong "a path needs a scheme: unix:/run/x" /run/x date
	wrong "no path" unix: date
	wrong "at most 107" "unix:/$(printf '%0120d' 0)" date
	wrong "not a vsock address" vsock:a:b date
	wrong "no descriptor" fd: date
	wrong "no descriptor of that name" fd:web date
	wrong "an empty ADDRESS" "" date
	wrong "127.0.0.1 is not an IPv6 address" tcp6:127.0.0.1:80 date
	wrong "::1 is not an IPv4 address" 'tcp4:[::1]:80' date
	wrong "a control character in the path" "unix:/tmp/x
ready" date
	wrong "listened on twice" -o listen+=127.0.0.1:80 127.0.0.1:80 date
}

@test "an unknown attribute is answered with the nearest one" {
	wrong "did you mean instances?" -o instanses=5 0 date
	wrong "did you mean only_from?" -o onlyfrom=1.2.3.4 0 date
	wrong "--attributes lists them" -o frobnicate=5 0 date
	wrong "not an assignment" -o instances 0 date
	wrong "not an assignment" -o =5 0 date
}

@test "what ADDRESS says cannot be said by -o" {
	wrong "ADDRESS says it" -o port=80 0 date
	wrong "ADDRESS says it" -o bind=127.0.0.1 0 date
	wrong "ADDRESS says it" -o listen=80 0 date
	wrong "ADDRESS says it" -o interface=lo 0 date
}

@test "a wrong value is named, with the values allowed" {
	while IFS='|' read -r option want; do
		wrong "$want" -o "$option" 0 date || die "$option" || return
	done <<-'X'
	instances=many|"many" is not a value of instances; it takes number or UNLIMITED
	instances=-1|"-1" is not a value of instances
	instances=99999999999|is not a value of instances
	instances=|instances has no value
	instances=1 2|instances takes one word
	instances+=1|instances takes = only
	limit=0|"0" is not a value of limit
	per_source=x|is not a value of per_source
	grace=soon|is not a value of grace; it takes duration
	timeout=5x|is not a value of timeout
	timeout=0|is not a value of timeout
	kill_after=-1|is not a value of kill_after
	idle_timeout=9999999999999999999|is not a value of idle_timeout
	linger=maybe|is not a value of linger; it takes duration or no
	hangup=die|it takes ignore or kill
	overload=drop|it takes queue or reject
	stderr=file|it takes socket, log, null or inherit
	groups=maybe|it takes yes or no
	lookup=1|it takes yes or no
	umask=888|is not a value of umask; it takes octal
	umask=1000|is not a value of umask
	nice=high|is not a value of nice
	nice=100|is not a value of nice
	env=NOVALUE|is not a value of env
	env=9A=1|is not a value of env
	env==1|is not a value of env
	passenv=A=B|is not a value of passenv
	rlimit_as=12Q|is not a value of rlimit_as
	rlimit_cpu=1K|is not a value of rlimit_cpu
	rlimit_files=x|is not a value of rlimit_files
	cps=5|is not a value of cps
	cps=5/0|is not a value of cps
	cps=x 10|is not a value of cps
	source_cps=5 10|source_cps takes N/DURATION
	source_prefix=24|source_prefix takes two words
	source_prefix=33 64|"33" is not a value of source_prefix
	max_load=0|is not a value of max_load
	max_load=high|is not a value of max_load
	only_from=300.1.1.1|300.1.1.1: not an IPv4 address
	only_from=10.0.0.0/33|/33 is not a prefix length; 0 to 32 is
	only_from=::1/129|/129 is not a prefix length; 0 to 128 is
	only_from=10.0.0.0/255.0.255.0|its ones must stand together
	only_from=10.{1,999}|999 is not an octet
	only_from=10.{1|braces stand at the end
	only_from=fe80::zz|not an IPv6 address
	only_from=127.0.0.0/8 !127.0.0.1|!127.0.0.1: neither an address nor a host's name
	only_from=*|neither an address nor a host's name
	only_from-=10.0.0.0/8|"10.0.0.0/8" is not in the list of only_from
	env-=HOME|"HOME" is not in the list of env
	access_times=24:00-08:00|is not a value of access_times
	proxy_from=300.1.1.1|300.1.1.1
	log_type=FILE x|"x" is not a value of log_type; it takes SYSLOG facility
	log_type=SYSLOG nowhere|"nowhere" is not a facility of syslog
	log_type=SYSLOG user loud|"loud" is not a level of syslog
	log_type=FILE /x 100 50|"50" is not a value of log_type
	only_from=user:nosuchuser|there is no such user
	only_from=group:nosuchgroup|there is no such group
	no_access=no.such.host.invalid|cannot be kept out
	no_access-=1.2.3.4|is not in the list of no_access
	access_times=8-10|is not a value of access_times
	access_times=08:00-25:00|is not a value of access_times
	access_times=08:00-08:00|is not a value of access_times
	access_times=08:60-09:00|is not a value of access_times
	backlog=0|is not a value of backlog
	sndbuf=0|is not a value of sndbuf
	rcvbuf=x|is not a value of rcvbuf
	mode=777|mode: only the path of a UNIX socket or a FIFO has one
	owner=root|owner: only the path of a UNIX socket or a FIFO has one
	mode=9|is not a value of mode
	log_format=xml|it takes text or json
	log_on_success=EVERYTHING|"EVERYTHING" is not a value of log_on_success
	log_on_success=ATTEMPTS|is not a value of log_on_success
	log_on_failure=EXITS|is not a value of log_on_failure
	flags=FASTER|it takes NODELAY KEEPALIVE NAMEINARGS
	flags=NAMEINARGS|no argument to be the command's argv[0]
	directory=tmp|is not a value of directory; it takes absolute path
	chroot=tmp|is not a value of chroot
	banner=tmp|is not a value of banner
	user=nosuchuser|user "nosuchuser": there is no such user
	group=nosuchgroup|group "nosuchgroup": there is no such group
	exec=date|already has a command
	shell=date|already has a command
	env="A=1|a " is not closed
	X
}

@test "idle_timeout on a UNIX socket is an error: nothing tells when it moved" {
	wrong "only TCP connections" -o idle_timeout=5 unix:x date
}

@test "a banner that is too long for a new connection is an error" {
	head -c 9000 /dev/zero >big
	wrong "too long; at most 8192 bytes" -o banner="$PWD/big" 0 date
}

@test "what the system refuses has exit status 1 and the system's reason" {
	start_server 127.0.0.1:0 true
	run -1 "$SERVER" -o user="$ME" "127.0.0.1:$PORT" true
	[[ $output == "server: tcp:127.0.0.1:$PORT: cannot bind: "* ]]
	run -1 "$SERVER" -o user="$ME" unix:nowhere/x true
	[[ $output == "server: unix:nowhere/x: cannot bind: "* ]]
	run -1 "$SERVER" -o user="$ME" 192.0.2.1:0 true
	[[ $output == "server: tcp:192.0.2.1:0: cannot bind: "* ]]
	run -1 "$SERVER" -o user="$ME" no.such.host.invalid:0 true
	[[ $output == "server: "*"cannot resolve no.such.host.invalid"* ]]
	run -2 "$SERVER" -o user="$ME" fd:77 true
	[[ $output == "server: fd:77: descriptor 77 is not open" ]]
	run -2 "$SERVER" -o user="$ME" fd:0 true <"$LOG"
	[[ $output == "server: fd:0: descriptor 0 is not a socket" ]]
	run -1 "$SERVER" -o user="$ME" -p nowhere/pid 0 true
	[[ $output == *"server: nowhere/pid: cannot write the pid file: "* ]]
}

@test "only root can serve as another user" {
	if [[ $(id -u) == 0 ]]; then
		run -2 setpriv --reuid=65534 --regid=65534 --clear-groups "$SERVER" -o user=root 0 true
	else
		run -2 "$SERVER" -o user=root 0 true
	fi
	[[ $output == 'server: user "root": only root can run a command as another user' ]]
}

@test "-h and -V go to standard output" {
	run -0 --separate-stderr "$SERVER" -h
	[[ $output == "usage: server "* && -z $stderr ]]
	run -0 --separate-stderr "$SERVER" --version
	[[ $output == "server "[0-9]* && -z $stderr ]]
	run -0 "$CLIENT" -h
	[[ $output == "usage: client "* ]]
	run -0 "$CLIENT" -V
	[[ $output == "client "[0-9]* ]]
	run -1 bash -c '"$1" -h >/dev/full' - "$SERVER"
}

@test "--attributes lists name, form, default and meaning, separated by tabs" {
	run -0 --separate-stderr "$SERVER" --attributes
	[[ ${#lines[@]} -gt 50 ]]
	local l
	for l in "${lines[@]}"; do
		[[ $l =~ ^[a-z0-9_]+$'\t'[^$'\t']+$'\t'[^$'\t']+$'\t'[^$'\t']+$ ]] || die "$l"
	done
	local a
	for a in id limit grace listen exec shell stderr directory chroot user group groups umask nice env \
		passenv rlimit_as rlimit_cpu rlimit_data rlimit_rss rlimit_stack rlimit_files instances \
		per_source cps source_cps source_prefix max_load overload only_from no_access access_times \
		timeout kill_after idle_timeout hangup linger backlog sndbuf rcvbuf mode owner lookup \
		log_format log_tag banner banner_success banner_fail log_on_success log_on_failure flags; do
		grep -q "^$a	" <<<"$output" || die "not listed: $a"
	done
}
