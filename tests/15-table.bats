load helper

# table NAME: standard input becomes that table
table() { cat >"$1"; }
check() { run timeout 10 "$SERVER" -t -f "$1"; }
# sound TABLE: no error, and nothing else to say
sound() { check "$1"; [[ $status == 0 && -z $output ]] || die "status $status" "$output"; }
dump() { timeout 10 "$SERVER" --dump -f "$1" 2>/dev/null; }
# dumped TABLE SERVICE: that service's block, blanks squeezed
dumped() { dump "$1" | sed -n "/^service $2\$/,/^}/p" | tr -s ' '; }
# says LINE:COL:KIND:TEXT, of the last check
says() { grep -qF -- ":$1" <<<"$output" || die "not said: $1" "$output"; }

@test "two lines are a service" {
	table t <<-X
	service date
	{
	    port   = 0
	    server = /bin/date
	}
	X
	sound t
	start_server -f t
	run -0 ask
	[[ $output == *20[0-9][0-9]* ]]
	wait_log "EXIT: date status=0"
}

@test "a block in all its forms, a classic line and an include, in one file" {
	mkdir d
	table d/one <<-'X'
	service one { listen = 127.0.0.1:0
	exec = echo 'o n e' "#1" }
	} # here
	X
	table d/skipped.conf <<<'nonsense'
	table d/skipped~ <<<'nonsense'
	table two.inc <<-X
	two
	X
	table two.inc <<-X
	service two { port=0
	bind=127.0.0.1
	server=/bin/echo
	server_args = "t  w o" it\\
	      's' }
	X
	table t <<-X
	# a comment
	defaults { log_on_success = PID }
	127.0.0.1:0 stream tcp nowait $ME /bin/echo echo line "a  b"
	include two.inc
	includedir $PWD/d
	SERVICE three
	# here too
	{
		Listen = tcp:127.0.0.1:0
		SHELL = echo "sh  #\$((1+1)) }"
	}
	X
	check t
	[[ $status == 0 ]] || die "$output"
	says '4:1' || [[ $output == *"skipped.conf is not read"* ]]
	start_server -f t
	run -0 ask "${PORTS[0]}"; [[ $output == "line a  b" ]]
	run -0 ask "${PORTS[one]}"; [[ $output == "o n e #1 }" ]]
	run -0 ask "${PORTS[two]}"; [[ $output == "t  w o it s" || $output == "t  w o it 's'" ]] || die "$output"
	run -0 ask "${PORTS[three]}"; [[ $output == "sh  #2 }" ]]
	wait_log 'START: one pid=[0-9]*$'
}

@test "defaults: what a service does not say; -o beats defaults and loses to the service" {
	table t <<-X
	service a { exec = true
	port = 0
	instances = 3
	}
	service b { exec = true
	port = 0
	no_access += 127.0.0.3
	log_on_success -= PID
	}
	defaults
	{
		instances = 5
		per_source = 2
		no_access = 127.0.0.1
		no_access = 127.0.0.2
		log_on_success = PID HOST
		nice = 3
		timeout = 1m
	}
	X
	run -0 --separate-stderr "$SERVER" --dump -f t -o per_source=9 -o timeout=2m -o no_access+=127.0.0.9
	[[ $stderr == *"t:10:1: warning: defaults holds for services before it too"* ]]
	a=$(sed -n '/^service a/,/^}/p' <<<"$output" | tr -s ' ') b=$(sed -n '/^service b/,/^}/p' <<<"$output" | tr -s ' ')
	[[ $a == *"instances = 3"* && $a == *"per_source = 9"* && $a == *"timeout = 2m"* && $a == *"nice = 3"* ]]
	[[ $a == *"no_access = 127.0.0.1 127.0.0.2 127.0.0.9"$'\n'* && $a == *"log_on_success = PID HOST"$'\n'* ]]
	[[ $b == *"instances = 5"* && $b == *"no_access = 127.0.0.1 127.0.0.2 127.0.0.9 127.0.0.3"$'\n'* ]]
	[[ $b == *"log_on_success = HOST"$'\n'* ]]
}

@test "enabled, disabled, disable: who is served" {
	table t <<-X
	defaults { enabled = a b c
	disabled = b }
	service a { exec = true
	port = 0 }
	service b { exec = true
	port = 0 }
	service d { exec = true
	port = 0 }
	service x { id = c
	exec = true
	port = 0
	disable = yes # for now
	}
	X
	check t; [[ $status == 0 ]]
	[[ $(dump t | grep -c 'disable *= yes') == 3 ]]
	start_server -f t
	[[ ${!PORTS[*]} == a ]]
}

@test "every dialect of the classic line is meant as its program means it" {
	table t <<-X
	127.0.0.1:10001 stream tcp nowait.400 $ME /bin/cat cat
	127.0.0.1:10002 stream tcp nowait/3/60/2 $ME /bin/cat cat
	127.0.0.1:10003 stream tcp nowait:600 $ME /bin/cat
	127.0.0.1:10004 stream,20:httpready tcp,sndbuf=64k,rcvbuf=1m nowait $ME /bin/cat cat -u
	127.0.0.1,127.0.0.2:10005 stream tcp4 nowait/0/0 $ME /bin/cat cat
	[::1]:10006 stream tcp6 nowait $ME /bin/cat cat
	::1:10007 stream tcp nowait $ME /bin/cat cat
	*:10008 stream tcp46 no $ME /bin/cat cat
	127.0.0.3:
	10009 stream tcp nowait $ME cat
	*:
	10010 stream tcp6only nowait $ME /bin/cat
	   /usr/bin/cat -n
	  10011 stream tcp nowait $ME /bin/cat cat	"a b" 'c d' e\\ #x
	#<off># 10012 stream tcp nowait root /bin/cat
	10013 stream tcp nowait $ME /bin/cat \\
	   cat -A
	$PWD/x.sock stream unix nowait.100 $ME /bin/cat cat
	:$ME::600:$PWD/y.sock stream unix nowait $ME /bin/cat cat
	X
	check t; [[ $status == 0 ]] || die "$output"
	says '8:22: warning: "no" is read as nowait'
	says '4:27: warning: accept filters are not known here'
	[[ $(dumped t 10001) == *"cps = 400/1m"* ]]
	d=$(dumped t 10002); [[ $d == *"instances = 3"* && $d == *"source_cps = 60/1m"* && $d == *"per_source = 2"* ]]
	d=$(dumped t 10003); [[ $d == *"cps = 600/1m"* && $d != *NAMEINARGS* ]]
	d=$(dumped t 10004); [[ $d == *"instances = 20"* && $d == *"sndbuf = 65536"* && $d == *"rcvbuf = 1048576"* && $d == *"server_args = cat -u"* ]]
	d=$(dumped t 10005); [[ $d == *"listen = tcp4:127.0.0.1:10005 tcp4:127.0.0.2:10005"$'\n'* && $d != *instances* ]]
	[[ $(dumped t 10006) == *"listen = tcp6:[::1]:10006"* ]]
	[[ $(dumped t 10007) == *"listen = tcp:[::1]:10007"* ]]
	[[ $(dumped t 10008) == *"listen = tcp:*:10008"* ]]
	d=$(dumped t 10009); [[ $d == *"listen = tcp:127.0.0.3:10009"* && $d == *"server = cat"* ]]
	d=$(dumped t 10010); [[ $d == *"listen = tcp6:*:10010"* && $d == *"server_args = /usr/bin/cat -n"* ]]
	[[ $(dumped t 10011) == *'server_args = cat "a b" "c d" "e\\"'$'\n'* ]]
	[[ -z $(dumped t 10012) && $(dumped t 10013) == *"server_args = cat -A"* ]]
	[[ $(dumped t x.sock) == *"listen = unix:$PWD/x.sock"* ]]
	d=$(dumped t y.sock); [[ $d == *"mode = 600"* && $d == *"owner = $ME"* ]]
}

@test "user:group, user.group, /login-class and a dot in the name" {
	requires_root
	table t <<-X
	127.0.0.1:10001 stream tcp nowait nobody:tty /bin/cat
	127.0.0.1:10002 stream tcp nowait nobody.tty /bin/cat
	127.0.0.1:10003 stream tcp nowait nobody/daemon /bin/cat
	127.0.0.1:10004 stream tcp nowait nobody:tty/daemon /bin/cat
	127.0.0.1:10005 stream tcp nowait no.such.user /bin/cat
	127.0.0.1:10006 stream tcp nowait nobody:nosuchgroup /bin/cat
	X
	check t; [[ $status == 1 ]]
	says '3:42: warning: login classes are not known here'
	says '5:35: error: user "no.such": there is no such user'
	says '6:42: error: group "nosuchgroup": there is no such group'
	sed -i 5,6d t
	for i in 1 2 4; do d=$(dumped t 1000$i); [[ $d == *"user = nobody"* && $d == *"group = tty"* ]]; done
	d=$(dumped t 10003); [[ $d == *"user = nobody"* && $d != *"group ="* ]]
}

@test "NetBSD's key-value entries" {
	table t <<-X
	10001 on bind = 127.0.0.1, protocol = tcp,
		user = $ME, # a comment
		wait = no, service_max = 7, ip_max = 4, accept_max = 3, recvbuf = 8k, sndbuf = 4096,
		exec = /bin/echo, args = echo "a\\tb \\x23 c" 'd e' --f=g, ipsec = "x" y;
	127.0.0.1:10002 off protocol = tcp4, user = $ME, wait = no, exec = /bin/cat;
	10003 stream tcp nowait $ME /bin/cat
	X
	check t; [[ $status == 0 ]] || die "$output"
	says '4:58: warning: ipsec is not known here'
	d=$(dumped t 10001)
	for x in "listen = tcp:127.0.0.1:10001" "cps = 7/1m" "source_cps = 4/1m" "instances = 3" "rcvbuf = 8192" \
		"sndbuf = 4096" 'server_args = echo "a\tb # c" "d e" --f=g'; do
		[[ $d == *"$x"$'\n'* ]] || die "not in it: $x" "$d"
	done
	[[ -z $(dumped t 10002) && -n $(dumped t 10003) ]]
}

@test "the wild lines mean what their authors meant" {
	# wild LINE WANT: a service with that line; WANT is in its dump, or !WANT not, or error: …
	wild() {
		printf 'service w\n{\n\tport = 10001\n\tserver = /bin/cat\n%s\n}\n' "$1" >w
		check w
		if [[ $2 == error:* ]]; then
			[[ $status == 1 && $output == *"$2"* ]] || die "$1" "$output" || return
			return
		fi
		[[ $status == 0 ]] || die "$1" "$output" || return
		d=$(dumped w w)
		if [[ $2 == !* ]]; then [[ $d != *"${2#!}"* ]]; else [[ $d == *"$2"$'\n'* ]]; fi || die "$1" "$d"
	}
	wild '    disable = no #启用' '!disable'
	wild '    disable = yes # note' 'disable = yes'
	wild '    flags = REUSE#socket' '!REUSE'
	wild '    only_from = 192.168.1.1 #charly' 'only_from = 192.168.1.1'
	wild '    server_args = /home/one/tftpboot #(use your directory)' 'server_args = /home/one/tftpboot'
	wild '    server_args = –daemon' 'server_args = –daemon'
	[[ $output == *":5:19: warning: the word begins with a dash that is no hyphen"* ]]
	wild '    access_times = 8:30-6:30' 'access_times = 08:30-06:30'
	wild '    access_times = 12:00-24:00' 'access_times = 12:00-24:00'
	wild '    log_on_failure = HOST RECORD USERID' 'log_on_failure = HOST USERID'
	wild '    type = UNLISTEN' 'error: "UNLISTEN" is not a value of type'
	[[ $output == *'hint: did you mean `UNLISTED`?'* ]]
	wild '    flag = REUSE' 'error: there is no attribute `flag`'
	[[ $output == *'hint: did you mean `flags`?'* ]]
	wild '    cps=100 2' 'cps = 100 2s'
	wild '    only_from = 10.0.0.0/8, 192.168.0.0/16' 'only_from = 10.0.0.0/8 192.168.0.0/16'
	wild '    only_from = 10.0.0.0/255.255.255.0' 'only_from = 10.0.0.0/255.255.255.0'
	wild '    server = /bin/echo' 'error: server: the service already has a command'
	wild '    env = HOME=/ PATH=/bin:/usr/bin' 'env = HOME=/ PATH=/bin:/usr/bin'
	wild '    passenv =' 'passenv ='
	wild '    per_source = 10 # the maximum' 'per_source = 10'
	wild '    log_on_success =' 'log_on_success ='
	wild '    FLAGS = IPv6 IPv4' 'flags = IPv4 IPv6'
	wild '    id = a#1' 'id = "a#1"'
	wild '    type = unlisted' 'type = UNLISTED'
	wild '    instances = unlimited' 'instances = UNLIMITED'
	wild $'    only_from = 10.0.0.1\n    no_access = 0.0.0.0/0' 'only_from = 10.0.0.1'
	run -0 "$SERVER" --explain w 10.0.0.1 -f w
	run -1 "$SERVER" --explain w 10.0.0.2 -f w
	printf '# default: off\n# description: x \\\n#  y\nservice pythontestserver {\n port = 10001\n server = /bin/cat\n}\n' >w
	sound w; [[ -n $(dumped w pythontestserver) ]]
}

@test "what a table serves and what its dump serves are the same" {
	table t <<-X
	defaults { log_on_success = PID }
	127.0.0.1:0 stream tcp nowait $ME /bin/sh sh -c "echo a  b; echo \\"\\\$0\\" '#x' \\\\ "
	service s { listen = 127.0.0.1:0 unix:$PWD/s.sock
	shell = printf '%s|' "\$SERVICE" { } \\
	 # 'two'
	env = A=1 "B=x  y"
	}
	service e { listen = 127.0.0.1:0
	exec = printf '%s|' it\\'s "a b" '\$x' '#' '"' -
	only_from = 127.0.0.1
	}
	service n { port = 0
	bind = 127.0.0.1
	server = /bin/sh
	server_args = name -c "echo \$0 \$1" "" x
	flags = NAMEINARGS
	}
	X
	check t; [[ $status == 0 ]] || die "$output"
	dump t >u; dump u >v; cmp u v
	answers() {
		start_server -f "$1"
		for s in 0 s e n; do echo "$s: $(ask "${PORTS[$s]}")"; done
		echo "unix: $("$PEER" "unix:$PWD/s.sock")"
		stop_server
	}
	answers t >a; answers u >b
	diff a b
	grep -q "^e: it's|a b|\$x|#|\"|-|" a
	cat a; grep -q '^n: *x$' a
}

@test "--explain: the decision and its steps, with file and line" {
	table t <<-X
	defaults {
		no_access = 10.9.0.0/16
	}
	service a {
		port = 10001
		exec = true
		only_from = 192.0.2.7 10.0.0.0/8
		access_times = 8:00-18:00
		per_source = 3
	}
	service off { port = 10002
	exec = true
	disable = yes }
	service bad { port = 10003
	exec = true
	user = no-such-user-here }
	X
	local word
	explain() { run --separate-stderr timeout 5 "$SERVER" --explain "$@"; }
	explain a 10.1.2.3 12:00 -f t; [[ $status == 0 && ${lines[0]} == served && $output == *"per_source: at most 3"*"(t:9)"* ]]
	for word in 192.0.2.7 10.0.0.0/8; do
		explain a "${word%/8}" 12:00 -f t; [[ $output == *"only_from $word: the longest match lets it in (t:7)"* ]] || die "$output" || return
	done
	[[ $output == *"access_times: 12:00 is within them (t:8)"* ]]
	explain -f t a 10.9.2.3 12:00; [[ $status == 1 && ${lines[0]} == "refused: address t:2" ]]
	explain a 11.1.2.3 12:00 -f t; [[ $status == 1 && ${lines[0]} == "refused: address t:7" ]]
	explain a 10.1.2.3 18:00 -f t; [[ $status == 1 && ${lines[0]} == "refused: time t:8" ]]
	explain a ::1 12:00 -f t; [[ $status == 1 && ${lines[0]} == "refused: address t:7" ]]
	explain off 10.1.2.3 -f t; [[ $status == 1 && ${lines[0]} == "refused: disabled t:13" ]]
	explain bad 10.1.2.3 -f t; [[ $status == 1 && ${lines[0]} == "refused: faulty t:14" ]]
	sed -n 4,10p t >first; chmod 644 first
	explain -o no_access=10.9.0.0/16 a 10.9.2.3 12:00 -f first; [[ $status == 1 && ${lines[0]} == "refused: address -o no_access" ]]
	explain none 10.1.2.3 -f t; [[ $status == 2 ]]
	explain a nowhere -f t; [[ $status == 2 && $stderr == "server: nowhere: neither an address"* ]]
	explain a 10.1.2.3 25:00 -f t; [[ $status == 2 && $stderr == *"not a time of day"* ]]
}

@test "of everything that defaults says each service has its own, and --dump says it again" {
	table t <<-X
	defaults
	{
		rlimit_files = 64
		rlimit_as = UNLIMITED
		access_times = 8:00-9:00 10:00-24:00
		per_source = 3
		source_cps = 5/1s
		source_prefix = 24 56
		cps = 10 2
		max_load = 2.5
		linger = no
		idle_timeout = 30s
		hangup = kill
		deny_time = FOREVER
		log_type = FILE $PWD/own.log
		log_type += SYSLOG daemon
	}
	service a { exec = cat
	listen = 127.0.0.1:2001 127.0.0.1:2101 }
	service own { listen = 127.0.0.1:2002
	exec = cat
	rlimit_files = 65
	linger = 1s
	deny_time = 4.5m
	rlimit_cpu = 1.5m }
	service w { listen = 127.0.0.1:2003
	exec = cat
	wait = yes }
	X
	run -0 dumped t a
	local line
	for line in "listen = 127.0.0.1:2001 127.0.0.1:2101" "rlimit_files = 64" "rlimit_as = UNLIMITED" \
	    "access_times = 08:00-09:00 10:00-24:00" "per_source = 3" "source_cps = 5/1s" "source_prefix = 24 56" \
	    "cps = 10 2s" "max_load = 2.5" "linger = no" "idle_timeout = 30s" "hangup = kill" "deny_time = FOREVER" \
	    "log_type = FILE $PWD/own.log" "log_type += SYSLOG daemon info"; do
		grep -qxF " $line" <<<"$output" || die "no $line" "$output"
	done
	run -0 dumped t own
	[[ $output == *" rlimit_cpu = 90"* ]]
	[[ $output == *" rlimit_files = 65"*" deny_time = 5"*" linger = 1s"* && $output == *" max_load = 2.5"* ]]
	# What cannot hold where the command accepts is not there; of limits that is told.
	run -0 dumped t w
	[[ $output != *per_source* && $output != *source_cps* && $output != *idle_timeout* && $output != *hangup* ]]
	check t
	[[ $status == 0 && $(grep -c "of defaults does not hold for this service" <<<"$output") == 2 ]]
	dump t >once; "$SERVER" --dump -f once 2>/dev/null | cmp - once
}

@test "-o takes away what stands in the table's defaults; what is not there is told" {
	table t <<-X
	defaults
	{
		only_from = 10.0.0.1 10.0.0.2
	}
	service a
	{
		listen = 127.0.0.1:2001
		exec = cat
		user = $ME
	}
	X
	run -0 "$SERVER" --dump -f t -o only_from-=10.0.0.1
	[[ $output == *" only_from       = 10.0.0.2"* ]] || die "$output"
	run -1 "$SERVER" -t -f t -o only_from-=10.0.0.3
	[[ ${lines[0]} == 'server: error: -o only_from-=10.0.0.3: "10.0.0.3" is not in the list of only_from' ]] || die "$output"
	run -1 timeout 10 "$SERVER" -f t -o only_from-=10.0.0.3
	[[ $output == *'nothing is served: an error outside an entry'* ]] || die "$output"
}

@test "a word may have any byte: \" quotes it, and --dump writes it so" {
	table t <<-'X'
	service a
	{
		listen = 127.0.0.1:2001
		exec = env
		env = "A=x\ny\rz\tt\x01\x7f\"\\\q\xg" 'B=#'
	}
	X
	[[ $(dumped t a) == *' env = "A=x\ny\rz\tt\x01\x7f\"\\\\q\\xg" "B=#"'* ]] || die "$(dumped t a)"
	sed -i 's/127.0.0.1:2001/127.0.0.1:0/' t
	start_server -f t
	ask >got
	printf 'A=x\ny\rz\tt\001\177"\\\\q\\xg\n' >want
	head -c "$(stat -c %s want)" <(grep -aA1 '^A=x' got) | cmp - want
}

@test "--explain: of several services with that name each that is on; those that serve come first" {
	table t <<-'X'
	service twice {
		listen = 127.0.0.1:2001
		exec = true
		only_from = 10.0.0.0/8
	}
	service twice {
		listen = 127.0.0.1:2002
		exec = true
	}
	service twice {
		listen = 127.0.0.1:2003
		exec = true
		disable = yes
	}
	service twice {
		listen = 127.0.0.1:2004
		exec = true
		nice = 99
	}
	X
	run -0 timeout 5 "$SERVER" --explain twice 192.0.2.1 -f t
	[[ ${lines[0]} == served && ${lines[1]} == *"(t:6)" ]]
	[[ $(grep '^refused' <<<"$output") == $'refused: address t:4\nrefused: faulty t:15' && $output != *"t:10"* ]]
	run -0 timeout 5 "$SERVER" --explain twice 10.0.0.1 -f t
	[[ $(grep -c '^served' <<<"$output") == 2 ]]
}

@test "hint: what was probably meant, of users and groups too, or else the values there are" {
	printf 'service a {\n%s\nlisten = 127.0.0.1:2001\nexec = true\n}\n' "user = nobdy" >t
	hinted() { check t; [[ $status == 1 && $output == *$'\n  hint: '"$1" ]] || die "$output"; }
	hinted 'did you mean `nobody`?'
	sed -i 's/user = .*/group = rooot/' t; hinted 'did you mean `root`?'
	sed -i 's/group = .*/user = nobody-is-called-like-this/' t; check t; [[ $status == 1 && $output != *hint* ]]
	sed -i 's/user = .*/disable = perhaps/' t; hinted 'one of `no` `yes`'
	sed -i 's/disable = .*/stderr = sockt/' t; hinted 'did you mean `socket`?'
	sed -i 's/stderr = .*/stderr = sockes/' t; hinted 'did you mean `socket`?'
}

@test "-o of defaults: what would be told of a table's word is told of it" {
	table t <<-'X'
	service a {
		listen = 127.0.0.1:2001
		exec = true
	}
	X
	run -0 --separate-stderr timeout 10 "$SERVER" -t -f t -o only_from+=no.such.host.invalid -o disabled=nobody-has-it -o 'enabled=a nor-this'
	[[ $stderr == *"server: warning: -o only_from+=no.such.host.invalid: no.such.host.invalid: the host cannot be resolved"* ]]
	[[ $stderr == *"server: warning: -o disabled: no service has the id nobody-has-it"* ]]
	[[ $stderr == *"server: warning: -o enabled: no service has the id nor-this"* && $stderr != *"the id a"* ]]
}

@test "--explain: every limit there is, of whom it cannot tell, and by a UNIX user" {
	table t <<-X
	defaults { limit = 100 }
	service a {
		listen = 127.0.0.1:2001
		exec = true
		source_cps = 5/1s
		cps = 10 2
		max_load = 2.5
		instances = 7
		overload = reject
		only_from = 10.0.0.0/8 .example.org user:$ME
	}
	service none { listen = 127.0.0.1:2002
	exec = true
	instances = 0 }
	X
	explain() { run timeout 5 "$SERVER" --explain "$@" -f t; }
	explain a 10.1.2.3
	local part
	for part in "source_cps: at most 5 starts in 1s for one source (t:5)" "cps: at most 10 starts in 1s, then a rest (t:6)" \
	    "max_load: not while the load average is 2.5 or more (t:7)" "instances: at most 7 at once; who comes then is refused (t:8)" \
	    "limit: at most 100 children" "words that are domains are judged by the client's"; do
		[[ $output == *"$part"* ]] || die "no $part" "$output"
	done
	[[ $status == 0 && ${lines[0]} == served ]]
	explain a "user:$ME"; [[ $status == 0 && ${lines[0]} == served ]]
	explain a user:4000000000; [[ $status == 1 && ${lines[0]} == "refused: address"* ]]
	explain a user:no-such-user-here; [[ $status == 2 && $output == *"there is no such user"* ]]
	explain none 10.1.2.3; [[ $status == 1 && ${lines[0]} == "refused: service_limit t:"* ]]
}

@test ".include takes a pattern: every file of it, in order; none is a warning" {
	mkdir d
	table d/b.y <<<"127.0.0.1:2002 stream tcp nowait $ME /bin/cat cat"
	table d/a.y <<<"127.0.0.1:2001 stream tcp nowait $ME /bin/cat cat"
	table d/c.z <<<nonsense
	table t <<<".include \"$PWD/d/*.y\""
	sound t
	[[ $(dump t | grep -o "127.0.0.1:.*") == $'127.0.0.1:2001\n127.0.0.1:2002' ]]
	table t <<<".include \"$PWD/d/*.none\""
	check t
	says "1:10: warning: $PWD/d/*.none: no file has such a name"
}

@test "a diagnostic: file, line, column, the line, a caret, a hint, where it was included" {
	mkdir d
	printf 'service x\n{\n\tport = 10001\n\tserver = /bin/cat\n\tinstnaces\t= 5 6\n}\n' >d/x
	echo "include d/x" >t
	check t
	[[ $status == 1 ]]
	diff - <(echo "$output") <<-'X'
	d/x:5:2: error: there is no attribute `instnaces`
	  	instnaces	= 5 6
	  	^
	  hint: did you mean `instances`?
	  included from t:1
	X
	printf 'service x\n{\n\tport = 10001\n\tserver = /bin/cat\n\tinstances\t= 5 6\n}\n' >d/x
	check t; says '5:16: error: instances takes one word'
	[[ $output == *$'\n  \tinstances\t= 5 6\n  \t         \t    ^\n'* ]]
}

@test "a long line is shown around the word; behind ten thousand diagnostics only their number is told" {
	printf '# %s\nservice a { listen = 127.0.0.1:2001\n\texec = true\n\tenv = %sA=%s B%s\n}\n' x "$(printf 'X%d=é ' {1..60})" "$(printf 'é%.0s' {1..60})" \
		" $(printf 'Y%d=é ' {1..60})" >t
	check t
	[[ $status == 1 ]]
	says "4:$(($(sed -n 4p t | LC_ALL=C grep -ob ' B ' | cut -d: -f1) + 2)): error: "
	[[ ${lines[1]} == "  ..."*"é B Y1=é"*"..." && ${#lines[1]} -lt 200 && ${lines[2]} =~ ^\ +\^$ ]] || die "$output"
	iconv -f UTF-8 -t UTF-8 <<<"${lines[1]}" >/dev/null
	printf 'service a {\n\tnise = "a\177b\033" # \177\n}\n' >t
	[[ $("$SERVER" -t -f t 2>&1 | grep nise) == *$'\n  \tnise = "a?b?" # ?' ]]
	seq -f $'service s%g { nonsense = 1\nexec = true\nport = 0\n}' 10050 >t
	[[ $("$SERVER" -t -f t 2>&1 | tail -n 1) == "server: 50 more are not shown" ]]
}

@test "a line that a \\ joined to the one before, and looks like an attribute, is an error" {
	table t <<-'X'
	service a {
		listen = 127.0.0.1:1
		env = A=C:\
		user = nobody
		exec = echo { C:\
		B=1 \
		}
	}
	X
	check t
	[[ $status == 1 ]]
	says "4:1: error: this line continues the one before it, by the \\ at its end, and looks like an attribute"
}

@test "colour on a terminal only" {
	requires script
	echo "nonsense here" >t
	run -1 "$SERVER" -t -f t; [[ $output != *$'\033'* ]]
	run script -qec "env -u NO_COLOR $SERVER -t -f t" /dev/null
	[[ $output == *$'\033[31m'* ]]
}

@test "T08: all faults are told in one run; -t binds nothing; the exit status tells" {
	start_server 127.0.0.1:0 true
	printf 'service a { port = %s\nexec = true\nbind = 127.0.0.1\n}\n' "$PORT" >t
	sound t
	printf 'service b { port = 70000\ncps = x\nfrob = 1\nnice = 99\n}\n' >>t
	check t; [[ $status == 1 && $(grep -c ': error: ' <<<"$output") == 5 ]]
}

@test "T08: an entry with an error is off, the others are served" {
	table t <<-X
	service good { port = 0
	bind = 127.0.0.1
	exec = echo good
	}
	service bad { port = 0
	exec = echo bad
	only_from = 300.1.1.1 }
	X
	start_server -f t
	[[ ${!PORTS[*]} == good ]]
	run -0 ask; [[ $output == good ]]
	logged 'error: 300.1.1.1: not an IPv4 address'
}

@test "T08: nothing is served: every entry faulty, an error outside the entries, in defaults, no table" {
	refused() { run -1 timeout 5 "$SERVER" -f t; [[ $output == *"server: nothing is served: $1"* ]] || die "$output"; }
	printf 'service bad { port = 0\nexec = true\nuser = no-such-user-here\n}\n' >t; refused "every enabled entry"
	printf 'service good { port = 0\nexec = true\n}\n}\n' >t; refused "an error outside an entry"
	printf 'service good { port = 0\nexec = true\n}\ndefaults { instances = x }\n' >t; refused "an error outside an entry"
	printf 'service good { port = 0\nexec = true\n}\ninclude nothere\n' >t; refused "an error outside an entry"
	rm t; refused "the table cannot be read"
}

@test "a sound table with nothing enabled is served, with a warning" {
	: >t
	start_server -f t
	logged 'warning: the table enables no service'
	stop_server; [[ $STATUS == 0 ]]
}

@test "an address that is taken is told with -r and tried again" {
	start_server 127.0.0.1:0 echo first
	taken=$PORT first=$PID
	printf 'service again { listen = 127.0.0.1:%s 127.0.0.1:0\nexec = echo second\n}\n' "$taken" >t
	mkfifo fifo
	"$SERVER" -f t -o user="$ME" -r 9 9>fifo 2>log2 & SRV+=($!)
	mapfile -t ready <fifo
	[[ ${ready[0]} == "listen again tcp:127.0.0.1:"* && ${ready[1]} == "failed again tcp:127.0.0.1:$taken cannot bind: Address already in use" && ${ready[2]} == ready ]]
	kill "$first"
	until_true 15 grep -q "LISTEN: again tcp:127.0.0.1:$taken" log2
	run -0 ask "$taken"; [[ $output == second ]]
}

@test "two services on one address are an error at the later; tcp and tcp6 stand side by side" {
	printf 'service a { port = 10001\nexec = true\n}\nservice b { listen = *:10001\nexec = true\n}\n' >t
	check t; [[ $status == 1 ]]; says '4:22: error: *:10001: a listens there already (t:1)'
	start_server 0 true; p=$PORT; stop_server	# a port that is free
	printf '%s stream tcp nowait %s /bin/cat\n%s stream tcp6 nowait %s /bin/cat\n' "$p" "$ME" "$p" "$ME" >t
	sound t
	start_server -f t
	[[ " ${ADDRESSES[*]} " == *" tcp4:*:$p "* && " ${ADDRESSES[*]} " == *" tcp6:*:$p "* ]]
}

@test "the child of a table: nobody where root serves, a safe environment, directory /, umask 022" {
	printf 'service a { port = 0\nbind = 127.0.0.1\nshell = id -un; pwd; umask; env | sort\n}\n' >t
	export SECRET=1 TZ=UTC LANG=C
	umask 002
	AS_ME="" start_server -f t
	run -0 ask
	if [[ $(id -u) == 0 ]]; then [[ ${lines[0]} == nobody ]]; else [[ ${lines[0]} == "$ME" ]]; fi
	[[ ${lines[1]} == / && ${lines[2]} == 0022 ]]
	[[ $output != *SECRET* && $output == *$'\nTZ=UTC'* && $output == *$'\nPATH=/usr/local/sbin:'* && $output == *$'\nHOME='* ]]
	stop_server
	printf 'service a { port = 0\nbind = 127.0.0.1\nshell = env\npassenv = SECRET\nenv = B=2\n}\n' >t
	start_server -f t
	run -0 ask; [[ $output == *SECRET=1* && $output == *B=2* ]]
}

@test "bind by an interface's name is its addresses now" {
	printf 'service a { port = 0\ninterface = lo\nexec = echo hi\n}\n' >t
	start_server -f t
	[[ " ${ADDRESSES[*]} " == *" tcp:127.0.0.1:"* ]]
	run -0 ask; [[ $output == hi ]]
	printf 'service a { port = 10001\nbind = no-such.invalid\nexec = echo hi\n}\n' >t
	start_server -f t
	wait_log 'cannot resolve no-such.invalid'
}

@test "families: flags, v6only, protocol" {
	one() { printf 'service a { port = 0\nexec = true\n%s\n}\n' "$1" >t; start_server -f t; [[ ${ADDRESSES[*]} == "$2"* ]] || die "$1" "${ADDRESSES[@]}"; stop_server; }
	one '' 'tcp:*:'; one 'flags = IPv4' 'tcp4:*:'; one 'flags = IPv6' 'tcp:*:'; one 'v6only = no' 'tcp:*:'
	one 'v6only = yes' 'tcp6:*:'; one 'protocol = tcp6' 'tcp6:*:'; one 'bind = 0.0.0.0' 'tcp4:*:'; one 'bind = ::' 'tcp:*:'
	one 'flags = IPv4 IPv6' 'tcp:*:'
}

@test "SENSOR: whoever connects there is refused by every service for deny_time" {
	table t <<-X
	service trap { listen = 127.0.0.1:0
	flags = SENSOR
	deny_time = 5 }
	service watch { listen = 127.0.0.1:0
	flags = SENSOR }
	service work { listen = 127.0.0.1:0
	exec = echo hi
	}
	service patient { listen = 127.0.0.1:0
	flags = SENSOR
	wait = yes }
	X
	start_server -f t
	logged 'warning: wait = yes has no effect with flags SENSOR'
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:${PORTS[patient]}"; [[ -z $output ]]
	wait_log 'FAIL: patient sensor from=127.0.0.2'
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:${PORTS[watch]}"
	wait_log 'FAIL: watch sensor from=127.0.0.2'
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:${PORTS[work]}"; [[ $output == hi ]]
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:${PORTS[trap]}"; [[ -z $output ]]
	wait_log 'FAIL: trap sensor from=127.0.0.2'
	wait_log 'DENY: trap 127.0.0.2 is refused by every service for 5m'
	run -0 "$PEER" -b 127.0.0.2 "tcp:127.0.0.1:${PORTS[work]}"; [[ -z $output ]]
	wait_log 'FAIL: work sensor from=127.0.0.2'
	run -0 "$PEER" -b 127.0.0.3 "tcp:127.0.0.1:${PORTS[work]}"; [[ $output == hi ]]
}

@test "USERID and IDONLY: the peer's machine is asked, by the child" {
	requires_root
	start_server -o 'listen+=[::1]:113' 127.0.0.1:113 sh -c 'read -r l; echo "${l%?} : USERID : UNIX : joe bar"'
	identd=$PID
	table t <<-X
	defaults { log_on_success += USERID
	log_on_failure += USERID }
	service ok { listen = 127.0.0.1:0 [::1]:0
	shell = echo "\$TCPREMOTEINFO"
	}
	service only { listen = 127.0.0.1:0
	exec = echo in
	flags = IDONLY }
	service no { listen = 127.0.0.1:0
	exec = echo in
	no_access = 127.0.0.1 }
	X
	start_server -f t
	run -0 ask "${ADDRESSES[0]##*:}"; [[ $output == "joe bar" ]]
	wait_log 'USERID: ok UNIX:joe bar'
	run -0 "$PEER" "${ADDRESSES[1]}"; [[ $output == "joe bar" ]]
	run -0 ask "${PORTS[only]}"; [[ $output == in ]]
	run -0 ask "${PORTS[no]}"; [[ -z $output ]]
	wait_log 'FAIL: no address from=127.0.0.1'; wait_log 'USERID: no UNIX:joe bar'
	kill "$identd"; until_true 10 gone "$identd"
	run -0 ask "${PORTS[only]}"; [[ -z $output ]]
	wait_log 'FAIL: only address from=127.0.0.1'
	run -0 ask "${ADDRESSES[0]##*:}"; [[ -z $output ]]
}

@test "log_type FILE: a service's own log, told at its soft limit and full at its hard one" {
	table t <<-X
	service a { listen = 127.0.0.1:0
	exec = true
	log_type = FILE $PWD/a.log 200 500 }
	service b { listen = 127.0.0.1:0
	exec = true
	log_type = FILE $PWD/no/such/b.log }
	X
	start_server -f t
	for _ in 1 2 3 4 5 6 7 8 9 10; do ask "${PORTS[a]}"; done
	wait_log 'ERROR: the log .*/a.log has reached its soft limit of 200 bytes'
	wait_log 'ERROR: the log .*/a.log has reached its hard limit of 500 bytes'
	grep -q 'START: a pid=' a.log
	[[ $(wc -c <a.log) -le 500 ]]
	! logged 'START: a' || die "started"
	wait_log 'ERROR: cannot write the log .*/b.log: No such file or directory'
}

@test "T10: a table that is no table: directory, FIFO, device, too large, binary, unreadable" {
	mkdir dir; mkfifo fifo; truncate -s 1G big; printf 'service a\0{\n' >nul
	printf 'service a { port = 10001\nexec = true\n}\n' >dir/a
	check dir; [[ $status == 0 && -z $output ]]
	check fifo; [[ $status == 1 && $output == *"fifo: is not a regular file"* ]]
	check /dev/zero; [[ $status == 1 && $output == *"/dev/zero: is not a regular file"* ]]
	check big; [[ $status == 1 && $output == *"big: larger than a table can be"* ]]
	check nul; [[ $status == 1 ]]; says '1:10: error: a NUL byte'
	run -1 timeout 5 "$SERVER" -t -f - </dev/zero; [[ $output == *"larger than a table can be"* ]]
	run -0 timeout 5 "$SERVER" -t -f - <dir/a; [[ -z $output ]]
	yes '# a long table that comes through a pipe' | head -n 20000 >long; cat dir/a >>long
	run -0 timeout 5 "$SERVER" -t -f - < <(cat long); [[ -z $output ]]
	run -0 timeout 5 "$SERVER" -t -f <(cat dir/a; printf 'defaults { dialect = xinetd\n}\n'); [[ $output == *'defaults holds for services before it'* ]]
	echo 'include loop' >loop; check loop; [[ $status == 1 && $output == *"loop:1:9: error: loop: is being read already: it includes itself"* ]]
	for i in {1..100}; do echo "include n$((i + 1))" >"n$i"; done; : >n101
	check n1; [[ $status == 1 && $output == *"included too deep"* ]]
	if [[ $(id -u) != 0 ]]; then
		: >secret; chmod 0 secret
		check secret; [[ $status == 1 && $output == *"secret: cannot read: Permission denied"* ]]
	fi
}

@test "T11: run as root: a table that others may write is refused, or a warning" {
	requires_root
	printf 'service a { port = 10001\nexec = true\n}\n' >t
	mkdir open shared; cp t open/t; cp t shared/t
	chmod 666 t; check t; [[ $status == 1 ]]; says '1:1: error: everyone may write the file t'
	chmod 644 t; chown nobody t; check t; [[ $status == 0 ]]; says '1:1: warning: the file t belongs to user'
	chown root:tty t; chmod 664 t; check t; [[ $status == 0 ]]; says '1:1: warning: group'
	chown root:root t; sound t
	chmod 777 open; check open/t; [[ $status == 1 ]]; says '1:1: error: everyone may write the directory'
	chmod 1777 open; check open/t; [[ $status == 0 ]]
	echo "include $PWD/shared/t" >i; chmod 666 shared/t; check i; [[ $status == 1 ]]; says '1:1: error: everyone may write the file'
	run -1 timeout 5 "$SERVER" -f i; [[ $output == *"nothing is served"* ]]
}

@test "T11: links to and from where others may write, files that are included, directories; each is named" {
	requires_root
	printf 'service a { port = 10001\nexec = true\n}\n' >t
	chmod 644 t
	mkdir open mine; cp t open/t; cp t mine/t; chmod 644 open/t mine/t; chmod 777 open
	# A link from a safe place into an open one, and from an open one to a safe one.
	ln -s ../open/t mine/in; ln -s ../mine/t open/out
	check mine/in; [[ $status == 1 ]]; says "1:1: error: everyone may write the directory $PWD/open; a table that runs as root"
	check open/out; [[ $status == 1 ]]; says "1:1: error: everyone may write the directory $PWD/open;"
	# What is included, each way.
	echo "include $PWD/open/t" >i; check i; [[ $status == 1 && $output == *"open/t:1:1: error: everyone may write the directory $PWD/open;"* ]]
	echo "includedir $PWD/open" >i; check i; [[ $status == 1 && $output == *"error: everyone may write the directory $PWD/open;"* ]]
	echo ".include \"$PWD/ope[n]/t\"" >i; check i; [[ $status == 1 && $output == *"error: everyone may write the directory"* ]]
	check open; [[ $status == 1 && $output == *"error: everyone may write the directory"* ]]
	# The sticky bit, a group's, another owner's; of the file, its directory, and one above.
	chmod 1777 open; check mine/in; [[ $status == 0 ]]
	chmod 755 open; chown nobody open; check open/t; [[ $status == 0 ]]; says "1:1: warning: the directory $PWD/open belongs to user $(id -u nobody), who may change it and so become root"
	chown root:tty open; chmod 775 open; check open/t; [[ $status == 0 ]]; says "1:1: warning: group $(getent group tty | cut -d: -f3) may write the directory $PWD/open, and so become root"
	chown root:root open
	chown nobody open/t; check open/t; [[ $status == 0 ]]; says "1:1: warning: the file open/t belongs to user $(id -u nobody), who may change it"
	chown root:root open/t; chmod 666 open/t; check mine/in; [[ $status == 1 ]]; says "1:1: error: everyone may write the file mine/in; a table that runs as root"
	# A start, and a reload: nothing of it is taken.
	run -1 timeout 5 "$SERVER" -f mine/in; [[ $output == *"nothing is served"* ]]
	printf 'service a { listen = 127.0.0.1:0\nexec = echo hi\n}\n' >t
	start_server -f t
	chmod 666 t; sed -i 's/echo hi/echo bad/' t; chmod 666 t
	run -1 "$SERVERCTL" -C "${CTL##*/}" reload
	[[ $output == *"everyone may write the file"* ]]
	run -0 ask; [[ $output == hi ]]
	chmod 644 t
	run -0 "$SERVERCTL" -C "${CTL##*/}" reload
	run -0 ask; [[ $output == bad ]]
}

# measured COMMAND...: its status, and what it took, as STATUS, MS and KIB; its words in said.
measured() {
	requires python3
	read -r STATUS MS KIB < <(python3 -S - "$@" <<-'X'
	import os, sys, time
	out = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
	start = time.monotonic()
	pid = os.fork()
	if pid == 0:
	    os.dup2(out, 1); os.dup2(out, 2); os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
	    os.execvp(sys.argv[1], sys.argv[1:])
	_, status, usage = os.wait4(pid, 0)
	print(os.waitstatus_to_exitcode(status), int((time.monotonic() - start) * 1000), usage.ru_maxrss)
	X
	)
}
# Tables of hard shapes, all of them off or wrong: NAME, and what status -t has of it.
hard_shapes() {
	local i line
	off() { printf '%s\n' 'defaults { disabled = off }' 'service off { id = off' 'port = 10001'; cat; echo '}'; }
	head -c 1000000 /dev/zero | tr '\0' x >x1m
	{ echo -n '# '; cat x1m; echo; } >comment1m
	{ echo -n 'exec = echo '; cat x1m; echo; } | off >value1m
	{ cat x1m; echo; } >word1m
	head -c 100000000 /dev/zero | tr '\0' '\n' >blank100m
	yes "# a comment, and nothing but a comment" | head -c 100000000 >comments100m
	truncate -s 4G sparse4g
	seq -f 'service s%.0f { disable = yes'$'\n''port = 10001'$'\n''exec = true'$'\n''}' 2000 >entries2k
	seq -f 'service s%.0f { disable = yes'$'\n''port = 10001'$'\n''exec = true'$'\n''}' 100000 >entries100k
	{ echo 'defaults { enabled = a }'
	seq 100000 | awk '{ printf "127.%d.%d.%d:1000 stream tcp nowait nobody /bin/true true\n", $1 / 62500, $1 / 250 % 250, $1 % 250 + 1 }'; } >lines100k
	seq -f 'frob%.0f' 100000 >errors100k
	echo 'include itself' >itself
	mkdir deep many
	for i in {1..1000}; do echo "include d$((i + 1))" >deep/d$i; done; : >deep/d1001
	(cd many && seq -f 'f%.0f' 10000 | xargs touch)
	seq -f 'include many/f%.0f' 10000 >includes10k
	head -c 60000 /dev/zero | tr '\0' '{' >braces
	mkfifo fifo
	SHAPES=(comment1m:0 value1m:0 word1m:1 blank100m:? comments100m:? sparse4g:1 entries2k:0 entries100k:? lines100k:? errors100k:1
		itself:1 deep/d1:1 many:0 includes10k:0 braces:1 fifo:1)
}

@test "T10: lines of 1023, 1024, 4095 and 4096 bytes: a comment's tail is a comment, a value is whole" {
	local n entry="10001 stream tcp nowait $ME /bin/sh sh -c evil" pad
	for n in 1023 1024 1025 4095 4096 4097 8191 8192; do
		pad=$(printf "%$((n - 2))s" "" | tr ' ' x)
		printf '# %s%s\n' "$pad" "$entry" >t
		sound t; [[ -z $(dump t) ]] || die "$n: $(dump t)" || return
		printf '# %s\n%s\n' "$pad" "# $entry" >t
		sound t; [[ -z $(dump t) ]]
		# A line of so many bytes with its value to the last.
		printf 'service a {\nport = 10001\nexec = true %s\n}\n' "${pad:0:n - 14}y" >t
		[[ $(sed -n 3p t | wc -c) == "$n" ]]
		sound t
		[[ $(dump t) == *" ${pad:0:n - 14}y"* ]] || die "$n: cut" || return
	done
}

# The answer comes soon, and does not take the memory that a machine has.
# bats test_tags=long
@test "T10: tables of hard shapes are answered within a second, in 64 MB, and hold up nobody when they are reloaded" {
	[[ $B != *asan* ]] || skip "the sanitizer's memory and time are its own"
	local s longest=0 largest=0 slow="" large="" reloads=0 n
	umask 022
	hard_shapes
	printf 'service a { listen = 127.0.0.1:0\nexec = %s\nlog_on_success =\n}\n' "$B/tests/tiny" >good
	cp good t
	for s in "${SHAPES[@]}"; do
		measured timeout 30 "$SERVER" -t -f "${s%:*}"
		echo "${s%:*}: status $STATUS, $MS ms, $KIB KiB; $(head -c 200 said | head -n 1)"
		[[ ${s#*:} == "?" && $STATUS -le 1 || $STATUS == "${s#*:}" ]] || die "$s: status $STATUS" || return
		((MS <= longest)) || { longest=$MS; slow=${s%:*}; }
		((KIB <= largest)) || { largest=$KIB; large=${s%:*}; }
	done
	start_server -q -f t
	"$B/tests/probe" -u over "$PORT" 300 >probed 3>&- & n=$!
	for s in "${SHAPES[@]}"; do
		# In place of the table, or behind an include where it stands in a directory of its own.
		echo "include$([[ ! -d ${s%:*} ]] || echo dir) $PWD/${s%:*}" | cat good - >t
		timeout 60 "$SERVERCTL" -C "${CTL##*/}" reload >said 2>&1 || :
		((++reloads))
		run -0 ask; [[ $output == ok ]]
	done
	: >over; wait "$n"
	read -ra n <probed
	((n[0] == n[1])) || die "served ${n[1]} of ${n[0]}" || return
	figure "${#SHAPES[@]} tables: longest $longest ms ($slow), most memory $((largest / 1024)) MB ($large); meanwhile ${n[1]} of ${n[0]} served, 99 of 100 in $((n[3] / 1000)) ms, longest $((n[4] / 1000)) ms"
	((longest <= $(bound 1000 3000))) || die "$slow: $longest ms" || return
	((largest <= 65536)) || die "$large: $largest KiB" || return
	((n[$(bound 4 3)] <= $(bound 50000 250000)))
}

@test "T08: CR LF, UTF-8, no final newline, a BOM" {
	printf '\xef\xbb\xbfservice a\r\n{\r\n\tport = 10001\r\n\tserver = /bin/cat\r\n# \xc3\xa4 \xff\r\n}' >t
	check t; [[ $status == 0 ]]; says '1:1: warning: lines end in CR LF'
	[[ $(dumped t a) == *"server = /bin/cat"$'\n'* ]]
}

@test "dialect = xinetd: an unknown attribute is a warning, the first of two values holds, words stay" {
	table t <<-X
	defaults { dialect = xinetd }
	service a
	{
		port = 10001
		server = /bin/echo
		server_args = "a b" #c
		frob = 1
		nice = 1
		nice = 2
		per_source = 4 # this many
	}
	X
	check t; [[ $status == 0 ]] || die "$output"
	says '7:1: warning: there is no attribute `frob`; ignored'
	says '9:1: warning: nice was given in line 8 already; the first holds'
	d=$(dumped t a)
	[[ $d == *'server_args = "\"a" "b\"" "#c"'$'\n'* || $d == *'server_args = "\"a" b" "#c"'$'\n'* ]] || die "$d"
	[[ $d == *"nice = 1"* && $d == *"per_source = 4"* ]]
	sed -i 's/dialect = xinetd/dialect = own/' t
	check t; [[ $status == 1 ]]; says '9:1: error: nice was given in line 8 already, with another value'
}

@test "dialect = bsd: tcp is IPv4, a # is an argument" {
	printf 'defaults { dialect = bsd }\n10001 stream tcp nowait %s /bin/echo echo a #b\n' "$ME" >t
	check t; [[ $status == 0 ]]
	d=$(dumped t 10001); [[ $d == *"listen = tcp4:*:10001"* && $d == *'server_args = echo a "#b"'$'\n'* ]] || die "$d"
}

@test "T10: ten thousand services in one table" {
	requires_fds 10300
	for i in {0..9999}; do echo "127.0.$((i / 250 + 1)).$((i % 250 + 1)):0 stream tcp nowait $ME /bin/echo echo $i"; done >t
	START_LIMIT=30 start_server -f t
	[[ ${#ADDRESSES[@]} == 10000 ]]
	run -0 "$PEER" "${ADDRESSES[9999]}"; [[ $output == 9999 ]]
	run -0 "$PEER" "${ADDRESSES[0]}"; [[ $output == 0 ]]
	wait_log 'EXIT: 0 '
	[[ $(count_log 'LISTEN: 0 tcp:127') == 10000 ]]
}

@test "the samples of etc are sound, without a remark" {
	for f in server.conf inetd.conf xinetd.conf; do
		cp "$BATS_TEST_DIRNAME/../etc/$f" .
		sed -i "s|/usr/local/share/examples/server|$BATS_TEST_DIRNAME/../etc/examples|" $f
		[[ $f != inetd.conf || $(id -u) == 0 ]] || sed -i "s/ nobody:tty \| nobody / $ME /" $f
		[[ $f != xinetd.conf || $(id -u) == 0 ]] || sed -i "/user /d" $f
		sound $f || die "$f"
		dump $f >once; dump once >twice; cmp once twice
	done
}

@test "who is not root: a privileged port is a warning, another user an error" {
	[[ $(id -u) != 0 || -n $(command -v setpriv) ]] || skip "needs setpriv"
	[[ $(</proc/sys/net/ipv4/ip_unprivileged_port_start) -gt 80 ]] || skip "every port is open to everybody here"
	printf 'service a { port = 80\nexec = true\n}\nservice b { port = 8080\nexec = true\nuser = root\n}\n' >t
	chmod 755 . ; chmod 644 t
	as=()
	if [[ $(id -u) == 0 ]]; then
		# Its own copy: the build may lie where only root can go.
		cp "$SERVER" ./server; as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
		run "${as[@]}" ./server -t -f - <t
	else
		run "$SERVER" -t -f - <t
	fi
	[[ $status == 1 ]] || skip "the test directory is closed to others"
	says '1:20: warning: port 80: only root may listen on ports below'
	says '6:8: error: user "root": only root can run a command as another user'
}

@test "T10: a table that is too much: entries, files, bytes of all together" {
	local i
	for ((i = 1; i <= 20001; i++)); do echo "1$i stream tcp nowait $ME /bin/true"; done >t
	sed -i 's/^1/127.0.0.1:1/; s/^\(127.0.0.1:\)1\([0-9]*\) /\1\2 /' t
	check t; [[ $status == 1 ]]; says '20001:1: error: too many entries; at most 20000 are read'
	[[ $(grep -c 'too many entries' <<<"$output") == 1 ]]
	head -c 9000000 /dev/zero | tr '\0' '#' >half
	printf 'include half\ninclude half\nservice a { port = 10001\nexec = true\n}\n' >t
	check t; [[ $status == 1 ]]; says '2:9: error: half: with this file it is larger than a table can be (16 MiB)'
	[[ $(grep -c 'with this file' <<<"$output") == 1 ]]
}

@test "--explain: a service that is off, in each way; a faulty one, by its name and its id" {
	table t <<-X
	defaults
	{
		disabled = off1
		enabled  = on byid
		user     = $ME
	}
	service on { port = 5001
		exec = true
	}
	service off1 { port = 5002
		exec = true
	}
	service off2 { port = 5003
		exec = true
	}
	service off3 { port = 5004
		disable = yes
		exec = true
	}
	service off4 { port = 5005
		flags = DISABLE
		exec = true
	}
	service off5 { id = other
		port = 5006
		exec = true
	}
	service bad { id = byid
		port = 5007
		exec = true
		user = no-such-user }
	X
	local name line
	explained() { run timeout 10 "$SERVER" -f t --explain "$1" 127.0.0.1; [[ ${lines[0]} == "$2" ]] || die "$1: $output"; }
	explained on served; [[ $status == 0 ]]
	while read -r name line; do
		explained "$name" "refused: disabled t:$line" || return
		[[ $status == 1 && ${lines[1]} == *"the service is disabled (t:$line)" ]] || die "$output" || return
	done <<-'X'
	off1 3
	off2 4
	off3 17
	off4 21
	off5 4
	other 4
	X
	for name in bad byid; do explained "$name" 'refused: faulty t:28'; [[ $status == 1 ]] || return; done
	explained none 'server: there is no service none'; [[ $status == 2 ]]
	echo '}' >>t
	explained none 'server: there is no service none in what could be read of the table; server -t tells its error'; [[ $status == 2 ]]
	explained on 'refused: faulty t:7'; [[ $status == 1 ]]
}
