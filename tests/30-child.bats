# What a child gets, whichever way it is started: this file runs over all of them.
# bats file_tags=child
load helper

@test "descriptors 0, 1 and 2 are the connection, blocking; no other is open" {
	start_server 127.0.0.1:0 sh -c 'readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2; ls /proc/$$/fd; cat /proc/$$/fdinfo/0'
	run -0 ask
	[[ ${lines[0]} == socket:* && ${lines[0]} == "${lines[1]}" && ${lines[0]} == "${lines[2]}" ]]
	[[ ${lines[*]:3:3} == "0 1 2" && ${lines[6]} == pos:* ]]
	# O_RDWR and nothing else: no O_NONBLOCK, no O_CLOEXEC.
	[[ $(awk '/^flags/ {print $2}' <<<"$output") == 02 ]]
}

@test "T38: whatever the master inherited, a child gets 0, 1 and 2" {
	exec 7</etc/hostname 10</etc/hostname 19</etc/hostname 251</etc/hostname
	start_server 127.0.0.1:0 sh -c 'ls /proc/$$/fd'
	exec 7<&- 10<&- 19<&- 251<&-
	run -0 ask
	[[ ${lines[*]} == "0 1 2" ]]
	# Neither does the master keep them.
	! readlink /proc/"$PID"/fd/* | grep hostname || die "kept"
}

@test "closed 0, 1 and 2 of the master do no harm" {
	mkfifo fr
	"$SERVER" -o user="$ME" -r 9 127.0.0.1:0 sh -c 'ls /proc/$$/fd' 9>fr <&- >&- 2>&- 3>&- & PID=$!; SRV+=("$PID")
	local a; read -rt 5 a <fr
	run -0 ask "${a##*:}"
	[[ ${lines[*]} == "0 1 2" ]]
}

@test "T38: signals: mask empty, every disposition the default" {
	cat >dirty.py <<-'X'
	import os, signal, sys
	signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
	for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	requires python3
	WRAP="python3 dirty.py" start_server 127.0.0.1:0 cat /proc/self/status
	run -0 ask
	local f v
	while read -r f v; do
		case $f in
		SigBlk:|SigPnd:|ShdPnd:) [[ $v == 0000000000000000 ]] || die "$f $v" || return ;;
		# 32 and 33 are libc's own, which nobody can reset.
		SigIgn:|SigCgt:) (((0x$v & ~0x180000000) == 0)) || die "$f $v" || return ;;
		esac
	done <<<"$output"
	wait_log 'EXIT: cat status=0'
}

@test "a session and process group of its own, no controlling terminal" {
	start_server 127.0.0.1:0 sh -c 'cat /proc/$$/stat; exec 2>&1; true </dev/tty'
	run -0 ask
	set -- ${lines[0]##*) }
	local pid=${lines[0]%% *}
	[[ $3 == "$pid" && $4 == "$pid" && $5 == 0 ]]
	[[ ${lines[1]} == *tty* ]]
}

@test "T37: user: real, effective and saved ids, and exactly its groups" {
	requires_root
	start_server -o user=nobody 127.0.0.1:0 cat /proc/self/status
	run -0 ask
	grep -qP '^Uid:\t65534\t65534\t65534\t65534$' <<<"$output"
	grep -qP '^Gid:\t65534\t65534\t65534\t65534$' <<<"$output"
	grep -qP '^Groups:\t65534 $' <<<"$output"
	grep -qP '^CapEff:\t0000000000000000$' <<<"$output"
	grep -qP '^CapPrm:\t0000000000000000$' <<<"$output"
}

@test "T37: user: groups of the master never reach the child" {
	requires_root; requires setpriv
	AS_ME="" WRAP="setpriv --groups 0,4,27" start_server -o user=daemon 127.0.0.1:0 id -G
	run -0 ask
	[[ $output == "$(id -G daemon)" ]]
	AS_ME="" WRAP="setpriv --groups 0,4,27" start_server -o user=root 127.0.0.1:0 id -G
	run -0 ask
	[[ $output == "$(id -G root)" ]]
}

@test "T37: user, group and groups, in every combination" {
	requires_root
	requires python3
	local u g gs uid gid others
	for u in root nobody daemon 1234; do
		for g in "" nogroup daemon 4321; do
			uid=$(id -u $u 2>/dev/null || echo 1234) gid=$(id -g $u 2>/dev/null || echo 1234)
			case $g in nogroup) gid=65534 ;; daemon) gid=1 ;; 4321) gid=4321 ;; esac
			for gs in yes no; do
				others=$gid
				[[ $gs == no || $u == 1234 ]] || others=$(python3 -c 'import os, sys
print(*os.getgrouplist(sys.argv[1], int(sys.argv[2])))' "$u" "$gid")
				# shellcheck disable=SC2086
				AS_ME="" start_server -o user=$u ${g:+-o group=$g} -o groups=$gs 127.0.0.1:0 \
					sh -c 'id -u; id -g; id -G'
				run -0 ask
				[[ ${lines[*]} == "$uid $gid $others" ]] || die "$u $g $gs: ${lines[*]}" || return
				stop_server
			done
		done
	done
}

@test "T37: a root service of another group really has that group" {
	requires_root
	AS_ME="" start_server -o user=root -o group=nogroup 127.0.0.1:0 sh -c 'id -u; id -g'
	run -0 ask
	[[ ${lines[*]} == "0 65534" ]]
}

@test "root that was not asked for is one warning; user=root says that it is meant" {
	requires_root
	AS_ME="" start_server 127.0.0.1:0 id -u
	run -0 ask
	[[ $output == 0 && $(count_log 'warning: the command runs as root') == 1 ]]
	: >"$LOG"
	AS_ME="" start_server -o user=root 127.0.0.1:0 id -u
	log_has 0 warning
}

@test "user sets HOME, USER, LOGNAME and SHELL" {
	requires_root
	AS_ME="" start_server -o user=daemon 127.0.0.1:0 sh -c 'echo $HOME $USER $LOGNAME $SHELL'
	run -0 ask
	[[ $output == "$(getent passwd daemon | awk -F: '{print $6, $1, $1, $7}')" ]]
}

@test "environment: the shell's, less what belongs to the master or speaks of a connection" {
	export SECRET=1 LISTEN_FDS=1 LISTEN_PID=1 LISTEN_FDNAMES=x NOTIFY_SOCKET=/x WATCHDOG_USEC=1 \
		REMOTE_HOST=fake REMOTE_ADDR=fake TCPREMOTEIP=fake TCPREMOTEHOST=fake TCPREMOTEINFO=fake \
		UDPREMOTEIP=fake UNIXREMOTEEUID=fake SERVICE=fake CONNECTION=fake PROTO=fake
	start_server 127.0.0.1:0 env
	run -0 ask
	grep -qx SECRET=1 <<<"$output"
	! grep -E 'fake|LISTEN_|NOTIFY|WATCHDOG|TCPREMOTEHOST|TCPREMOTEINFO' <<<"$output" || die "$output"
	grep -qx PROTO=TCP <<<"$output"
	grep -qx TCPLOCALIP=127.0.0.1 <<<"$output"
	grep -qx "TCPLOCALPORT=$PORT" <<<"$output"
	grep -qx TCPREMOTEIP=127.0.0.1 <<<"$output"
	grep -qE '^TCPREMOTEPORT=[1-9][0-9]*$' <<<"$output"
	grep -qx REMOTE_HOST=127.0.0.1 <<<"$output"
	grep -qx REMOTE_ADDR=127.0.0.1 <<<"$output"
	[[ $(grep ^REMOTE_PORT= <<<"$output") == REMOTE_PORT=$(grep ^TCPREMOTEPORT= <<<"$output" | cut -d= -f2) ]]
	grep -qx SERVICE=env <<<"$output"
	grep -qx CONNECTION=1 <<<"$output"
	[[ $(cut -d= -f1 <<<"$output" | sort | uniq -d) == "" ]]
	run -0 ask; grep -qx CONNECTION=2 <<<"$output"
}

@test "environment of an IPv4 client of a dual socket, and of an IPv6 one" {
	start_server 0 sh -c 'echo $TCPREMOTEIP $TCPLOCALIP $REMOTE_ADDR'
	run -0 "$PEER" -b 127.0.0.3 "tcp:127.0.0.9:$PORT"
	[[ $output == "127.0.0.3 127.0.0.9 127.0.0.3" ]]
	run -0 "$PEER" "tcp:[::1]:$PORT"
	[[ $output == "::1 ::1 ::1" ]]
}

@test "environment on a UNIX socket: the peer's credentials" {
	start_server unix:s sh -c 'echo $PROTO $UNIXREMOTEEUID $UNIXREMOTEEGID; [ -d /proc/$UNIXREMOTEPID ] && echo alive; env | grep -cE "^(TCP|REMOTE_)"'
	run -0 "$PEER" unix:s
	[[ ${lines[0]} == "UNIX $(id -u) $(id -g)" && ${lines[1]} == alive && ${lines[2]} == 0 ]]
}

@test "env sets variables, over what is inherited, but none of the connection's" {
	export FOO=old
	start_server -o 'env=FOO=new "BAR=two words"' -o env+=BAZ= -o env+=REMOTE_HOST=fake 127.0.0.1:0 \
		sh -c 'echo "$FOO,$BAR,${BAZ-unset},$REMOTE_HOST"'
	run -0 ask
	[[ $output == "new,two words,,127.0.0.1" ]]
}

@test "where nothing is inherited PATH is the safe one all the same" {
	WRAP="env -u PATH" start_server -o 'passenv=*' 127.0.0.1:0 /usr/bin/env
	run -0 ask
	grep -qx PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin <<<"$output"
}

@test "passenv names what is inherited" {
	export FOO=1 BAR=2 TZ=UTC LANG=C PATH=$PATH:/extra LD_FOO=3 BASH_ENV=/x
	start_server -o passenv=FOO 127.0.0.1:0 env
	run -0 ask
	grep -qx FOO=1 <<<"$output"; grep -qx TZ=UTC <<<"$output"; grep -qx LANG=C <<<"$output"
	grep -qx PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin <<<"$output"
	! grep -qE '^(BAR|LC_ALL|BASH_ENV|LD_FOO)=' <<<"$output" || die "$output"
	start_server -o passenv= 127.0.0.1:0 env
	run -0 ask
	! grep -q '^FOO=' <<<"$output" || die "$output"
	start_server -o 'passenv=*' 127.0.0.1:0 env
	run -0 ask
	grep -qx BAR=2 <<<"$output"; grep -q '^PATH=.*extra' <<<"$output"
	! grep -qE '^(BASH_ENV|LD_FOO)=' <<<"$output" || die "$output"
	start_server -o passenv+=FOO 127.0.0.1:0 env
	run -0 ask
	grep -qx BAR=2 <<<"$output"
}

@test "a large environment is passed whole" {
	local big; big=$(printf '%010000d' 0)
	export BIG1=$big BIG2=$big BIG3=$big
	start_server 127.0.0.1:0 sh -c 'echo ${#BIG1} ${#BIG2} ${#BIG3} $CONNECTION'
	run -0 ask
	[[ $output == "10000 10000 10000 1" ]]
}

@test "directory: where the server was started, or what it says" {
	start_server 127.0.0.1:0 pwd
	run -0 ask; [[ $output == "$PWD" ]]
	mkdir d
	start_server -o directory="$PWD/d" 127.0.0.1:0 pwd
	run -0 ask; [[ $output == "$PWD/d" ]]
}

@test "umask: the master's, or what it says" {
	umask 027
	start_server 127.0.0.1:0 sh -c umask
	run -0 ask; [[ $output == 0027 ]]
	start_server -o umask=077 127.0.0.1:0 sh -c umask
	run -0 ask; [[ $output == 0077 ]]
}

@test "nice is added to the master's" {
	local mine; mine=$(nice)
	start_server -o nice=5 127.0.0.1:0 nice
	run -0 ask; [[ $output == $((mine + 5)) ]]
	start_server 127.0.0.1:0 nice
	run -0 ask; [[ $output == "$mine" ]]
}

@test "rlimit_*: each is the child's soft and hard limit" {
	start_server -o rlimit_as=1G -o rlimit_cpu=77 -o rlimit_data=512M -o rlimit_rss=256M \
		-o rlimit_stack=4M -o rlimit_files=50 -o rlimit_core=0 -o rlimit_fsize=1M -o rlimit_nproc=4000 \
		-o rlimit_memlock=8K 127.0.0.1:0 cat /proc/self/limits
	run -0 ask
	while IFS='|' read -r name value; do
		grep -qE "^$name +$value +$value " <<<"$output" || die "$name" "$output" || return
	done <<-'X'
	Max address space|1073741824
	Max cpu time|77
	Max data size|536870912
	Max resident set|268435456
	Max stack size|4194304
	Max open files|50
	Max core file size|0
	Max file size|1048576
	Max processes|4000
	Max locked memory|8192
	X
}

@test "a child gets the limit of descriptors that the master was started with" {
	start_n() { (ulimit -Sn 300; ulimit -Hn 2000; exec "$@"); }
	export -f start_n
	cat >wrap.sh <<-'X'
	#!/bin/bash
	ulimit -Sn 300 && ulimit -Hn 2000 && exec "$@"
	X
	chmod +x wrap.sh
	WRAP=./wrap.sh start_server 127.0.0.1:0 sh -c 'ulimit -Sn; ulimit -Hn'
	run -0 ask
	[[ ${lines[*]} == "300 2000" ]]
	grep -qE '^Max open files +2000 +2000' "/proc/$PID/limits"
}

@test "chroot changes the root; the program is looked for inside" {
	requires_root
	mkdir -p root/bin root/tmp
	cp "$B/tests/look" root/bin/
	! ldd root/bin/look >/dev/null 2>&1 || skip "no static libc"
	start_server -o chroot="$PWD/root" 127.0.0.1:0 /bin/look
	run -0 ask
	[[ ${lines[0]} == / && " ${lines[*]} " == *" bin "* && ${#lines[@]} == 3 ]]
	PATH=$PATH:/bin start_server -o chroot="$PWD/root" -o directory=/tmp 127.0.0.1:0 look
	run -0 ask
	[[ ${lines[0]} == /tmp ]]
	log_has 0 'warning'
}

@test "stderr = socket, null, inherit" {
	start_server 127.0.0.1:0 sh -c 'echo out; echo err >&2'
	run -0 ask; [[ ${lines[*]} == "out err" ]]
	start_server -o stderr=null 127.0.0.1:0 sh -c 'echo out; echo err >&2; readlink /proc/$$/fd/2'
	run -0 ask; [[ ${lines[*]} == "out /dev/null" ]]
	start_server -o stderr=inherit 127.0.0.1:0 sh -c 'echo out; echo to-the-master >&2'
	run -0 ask; [[ $output == out ]]
	wait_log '^to-the-master$'
}

@test "stderr = log: each line becomes a log line of the service" {
	start_server -o stderr=log 127.0.0.1:0 sh -c 'echo out; echo one >&2; printf "two\033[1m\r\nthree" >&2; ls /proc/$$/fd'
	run -0 ask; [[ ${lines[*]} == "out 0 1 2" ]]
	wait_log 'EXIT: sh'
	logged 'STDERR: sh pid=[0-9]+ one$'
	logged 'STDERR: sh pid=[0-9]+ two\\x1b\[1m$'
	logged 'STDERR: sh pid=[0-9]+ three$'
	# The lines come before the EXIT of their child.
	[[ $(grep -nE 'three' "$LOG" | cut -d: -f1) -lt $(grep -n EXIT "$LOG" | cut -d: -f1) ]]
}

@test "stderr = log: long lines are cut, floods counted" {
	start_server -o stderr=log -s 127.0.0.1:0 'head -c 5000 /dev/zero | tr "\0" x >&2; echo >&2; echo after >&2; seq 3000 >&2'
	ask
	wait_log 'SUPPRESSED: sh [0-9]+ more lines of stderr'
	[[ $(grep -oE ' x+$' "$LOG" | tr -d '\n ' | wc -c) == 1000 ]]
	logged 'STDERR: sh pid=[0-9]+ after$'
	[[ $(count_log STDERR) -lt 1100 ]]
}

@test "a command that does not exist: a warning at start, a line at each connection, the port stays up" {
	start_server 127.0.0.1:0 /no/such/program
	logged 'warning: cannot execute "/no/such/program": No such file or directory'
	run -0 ask; [[ -z $output ]]
	wait_log 'ERROR: program cannot execute "/no/such/program": No such file or directory$'
	run -0 ask
	until_true 5 log_has 2 'ERROR: program cannot execute'
	# It heals by itself.
	start_server 127.0.0.1:0 "$PWD/late"
	run -0 ask; [[ -z $output ]]
	printf '#!/bin/sh\necho here\n' >late.new; chmod +x late.new; mv late.new late
	run -0 ask; [[ $output == here ]]
}

@test "T30: each reason why exec fails is told, with status 126 or 127" {
	echo 'no magic' >noexec; chmod +x noexec
	echo hi >noperm
	printf '#!/no/such/interpreter\n' >nointerp; chmod +x nointerp
	ln -s loop loop
	mkdir dir
	local p why code
	while read -r p code why; do
		start_server -o id="t_$p" 127.0.0.1:0 "./$p"
		run -0 ask; [[ -z $output ]]
		wait_log "ERROR: t_$p cannot execute \"./$p\": $why" || return
		wait_log "EXIT: t_$p status=$code " || return
	done <<-'X'
	noexec 126 Exec format error
	noperm 126 Permission denied
	nointerp 127 No such file or directory
	loop 126 [TS]
	dir 126 Permission denied
	X
}

# fails ID WHY: a connection to it ends at once, the line says why, and it counts no more.
fails() {
	local start; start=$(now_ms)
	run -0 ask; [[ -z $output ]] || die "$1: $output" || return
	local took; took=$(($(now_ms) - start))
	LONGEST=$((took > LONGEST ? took : LONGEST))
	wait_log "ERROR: $1 cannot execute \".*\": $2\$" || return
	wait_log "EXIT: $1 status=12[67] " || return
	ctl_says "$1" '"live":0'
}
ctl_says() { run -0 timeout 10 "$SERVERCTL" -C "${CTL##*/}" status "$1" --json; [[ $output == *"$2"* ]] || die "$output"; }

@test "T30: exec fails in every way: the client's end at once, a line with service and reason, nobody counts" {
	requires python3
	local LONGEST=0 p big; big=$(printf '%070000d' 0)
	cp "$(type -P true)" prog; printf '#!/no/such/interpreter\n' >nointerp; printf '#!%s\n' "$PWD/noexec" >badinterp
	echo 'no magic' >noexec; echo hi >noperm; chmod 755 noexec nointerp badinterp prog; ln -s loop loop; mkdir dir noexecs
	: >file
	local rows=("missing|No such file or directory" "noperm|Permission denied" "noexec|Exec format error"
		"nointerp|No such file or directory" "badinterp|Exec format error" "loop|(Too many|Symbolic link).*" "dir|Permission denied"
		"file/x|(No such file|Not a directory).*")
	local row
	for row in "${rows[@]}"; do
		p=${row%%|*}
		start_server -o id="t_${p%/*}" 127.0.0.1:0 "./$p"
		fails "t_${p%/*}" "${row#*|}" || return
		stop_server INT
	done
	# Arguments and environment longer than a quarter of the stack, and than what is always allowed.
	BIG1=$big BIG2=$big start_server -o id=t_big -o rlimit_stack=64K 127.0.0.1:0 ./prog
	fails t_big "Argument list too long"
	exec {w}>>prog
	run ./prog	# some kernels run what is being written
	if [[ $status == 126 ]]; then
		start_server -o id=t_busy 127.0.0.1:0 ./prog
		fails t_busy "Text file busy"
	fi
	exec {w}>&-
	if [[ $ME == root ]] && unshare -m true 2>/dev/null; then
		cat >mount.sh <<-'X'
		mount -t tmpfs -o noexec none noexecs && cp prog noexecs/prog && exec "$@"
		X
		WRAP="unshare -m sh mount.sh" start_server -o id=t_mount 127.0.0.1:0 ./noexecs/prog
		fails t_mount "Permission denied"
	fi
	figure "the end after $LONGEST ms at the latest"
	((LONGEST < $(bound 100 1000)))
}

@test "T30: a command that dies of any signal: the client's end at once, the line says which, nobody counts" {
	start_server -o id=dies -o rlimit_core=0 127.0.0.1:0 sh -c 'read -r s; kill -$s $$; sleep 60'
	local s start took longest=0 n=0
	for s in {1..64}; do
		case $s in 17 | 18 | 19 | 20 | 21 | 22 | 23 | 28 | 32 | 33) continue ;; esac	# they end nobody, or are libc's
		start=$(now_ms)
		run -0 "$PEER" -s "$s
" "tcp:127.0.0.1:$PORT"
		[[ -z $output ]]
		took=$(($(now_ms) - start)); longest=$((took > longest ? took : longest))
		wait_log "EXIT: dies signal=$s " || return
		n=$((n + 1))
	done
	ctl_says dies '"live":0'
	ctl_says dies "\"started\":$n"
	figure "$n signals, the end after $longest ms at the latest"
	((longest < $(bound 100 1000)))
}

@test "an empty part of PATH is the directory of the start, as for execvp(3)" {
	printf '#!/bin/sh\necho here\n' >in-the-directory-of-the-start; chmod +x in-the-directory-of-the-start
	local p
	for p in ":$PATH" "$PATH:"; do
		PATH=$p start_server 127.0.0.1:0 in-the-directory-of-the-start
		run -0 ask; [[ $output == here ]]
	done
	start_server 127.0.0.1:0 in-the-directory-of-the-start
	run -0 ask; [[ -z $output ]]
}

@test "PATH is searched as a shell does: a file there that cannot be run is passed over" {
	mkdir a b; echo x >a/prog; printf '#!/bin/sh\necho b\n' >b/prog; chmod +x b/prog
	PATH=$PWD/a:$PWD/b:$PATH start_server 127.0.0.1:0 prog
	run -0 ask; [[ $output == b ]]
}

@test "T37: any step that fails means that the command does not run; the log names the step" {
	mkdir gone
	start_server -o id=dir -o directory="$PWD/gone" 127.0.0.1:0 echo RAN
	rmdir gone
	run -0 ask; [[ -z $output ]]
	wait_log 'ERROR: dir cannot change to directory "'"$PWD"'/gone": No such file'
	start_server -o id=root -o chroot="$PWD/gone" 127.0.0.1:0 echo RAN
	run -0 ask; [[ -z $output ]]
	wait_log 'ERROR: root cannot change to chroot "'
	if [[ $(id -u) != 0 ]]; then
		start_server -o id=limit -o rlimit_files=9999999 127.0.0.1:0 echo RAN
		run -0 ask; [[ -z $output ]]
		wait_log 'ERROR: limit cannot set its resource limits'
		start_server -o id=nice -o nice=-20 127.0.0.1:0 echo RAN
		run -0 ask; [[ -z $output ]]
		wait_log 'ERROR: nice cannot set nice'
	fi
}

@test "T37: ids that cannot be set: the command does not run" {
	requires_root; requires setpriv
	local cap step
	for cap in setuid:user setgid:"the groups of user"; do
		step=${cap#*:} cap=${cap%%:*}
		AS_ME="" WRAP="setpriv --bounding-set -$cap --inh-caps -$cap" start_server -o id=$cap -o user=nobody 127.0.0.1:0 sh -c 'echo RAN; id'
		run -0 ask
		[[ -z $output ]] || die "$cap: $output" || return
		wait_log "ERROR: $cap cannot set $step \"nobody\": Operation not permitted" || return
	done
}

@test "a user's processes limit (RLIMIT_NPROC) that is used up refuses the command, not the port" {
	requires_root
	# execve(2) fails with EAGAIN when setresuid went past the limit.
	AS_ME="" start_server -o user=1234567 -o rlimit_nproc=0 127.0.0.1:0 cat
	"$PEER" -c go "tcp:127.0.0.1:$PORT" 3>&- & local p=$!
	until_true 5 has_children 1
	until_true 5 logged START
	run -0 "$PEER" -s hello -H "tcp:127.0.0.1:$PORT"
	[[ -z $output ]]
	wait_log 'ERROR: cat cannot execute "cat": Resource temporarily unavailable'
	: >go
	wait "$p"
}

@test "T40: the other user cannot look into the master or its children before the exec" {
	requires_root
	AS_ME="" start_server -o user=nobody 127.0.0.1:0 sh -c "cat /proc/$$/maps; cat /proc/\$PPID/environ"
	run -0 ask
	[[ $output == *denied*denied* ]]
	AS_ME="" start_server -o user=nobody 127.0.0.1:0 sh -c 'cat /proc/$PPID/mem'
	run -0 ask; [[ $output == *denied* ]]
}

@test "a hundred at once all get their own connection and environment" {
	start_server 127.0.0.1:0 sh -c 'read -r x; echo "$x $CONNECTION"'
	local i
	for ((i = 0; i < 100; i++)); do
		"$PEER" -s "hello $i
" "tcp:127.0.0.1:$PORT" >"o.$i" 3>&- &
	done
	for ((i = 0; i < 100; i++)); do
		until_true 20 grep -q "^hello $i " "o.$i" || return
	done
	[[ $(cut -d' ' -f3 o.* | sort -un | wc -l) == 100 ]]
	wait_log 'EXIT' && until_true 5 has_children 0
}

@test "the master's own descriptors stay as many as before" {
	start_server 127.0.0.1:0 echo hi
	ask; until_true 5 has_children 0
	settled() { has_children 0 && [[ $(nfds "$PID") == "$before" ]]; }
	local before; before=$(nfds "$PID")
	"$PEER" -n 300 "tcp:127.0.0.1:$PORT"
	until_true 5 settled
}

# --- whichever way it is started: starts.py writes the table and looks at what each command found

starts() { # starts COMMAND ARGUMENT...
	run timeout 300 python3 "$BATS_TEST_DIRNAME/starts.py" "$1" ctl t "${@:2}"
	[[ $status == 0 ]] || die "$output" || return
	[[ -z $output ]] || figure "$output"
}
starts_table() { # for start_starts, with the accounts of with_accounts
	requires python3 setpriv
	with_accounts
	chmod 711 "$BATS_RUN_TMPDIR" .. .
	mkdir -m 1777 out
	cp "$B/tests/witness" witness; chmod 755 witness
	starts write "$1"
}

@test "T37: 40 combinations of user, group and groups, on every way to start: ids, groups, no capabilities, no way back" {
	starts_table users
	# A master that would leave them some: by an inheritable set, ambient ones, and a securebit.
	CONTROL="-C ctl" AS_ME="" WRAP="$WRAP setpriv --inh-caps=+chown,+net_raw --ambient-caps=+chown,+net_raw \
		--securebits=+no_setuid_fixup" start_server -q -f t
	starts users
}

@test "T38: a parent with everything that should not be inherited: nothing of it is, on every way to start" {
	starts_table dirty
	mkdir w
	cat >dirty.py <<-'X'
	import os, resource, signal, sys
	for n in (7, 10, 19, 251):
	    fd = os.open("/etc/hostname", os.O_RDONLY)
	    os.dup2(fd, n, inheritable=True)
	    if fd != n: os.close(fd)
	os.setgroups([0, 4, 27])
	os.umask(0); os.chdir("w"); os.nice(3)
	resource.setrlimit(resource.RLIMIT_NOFILE, (300, 2000))
	signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
	for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD): signal.signal(s, signal.SIG_IGN)
	os.environ.update(SECRET="1", BASH_ENV="/x", ENV="/x", IFS=":", LD_LIBRARY_PATH="/x", LD_FOO="1", PATH="/x:" + os.environ["PATH"],
	                  LISTEN_FDS="3", NOTIFY_SOCKET="/x", REMOTE_HOST="fake", TCPREMOTEINFO="fake", UNIXREMOTEEUID="fake",
	                  CONNECTION="fake", SERVICE="fake", PROTO="fake")
	os.environ.setdefault("TZ", "UTC"); os.environ.setdefault("LANG", "C")
	os.execvp(sys.argv[1], sys.argv[1:])
	X
	local n; n=$(nice)
	CONTROL="-C $PWD/ctl" AS_ME="" WRAP="$WRAP python3 dirty.py" start_server -q -f "$PWD/t"
	[[ $(readlink "/proc/$PID/cwd") == "$PWD/w" ]]
	starts dirty 022 / $((n + 3)) "300 2000"
	! readlink /proc/"$PID"/fd/* | grep hostname || die "kept"
}

@test "T39: order: limits, nice and the root are the master's to set, the directory is entered as the user" {
	requires_root
	chmod 711 "$BATS_RUN_TMPDIR" .. .
	mkdir -p root/mine root/roots; cp "$B/tests/witness" root/
	chown 65534 root/mine; chmod 700 root/mine root/roots
	AS_ME="" start_server -o user=nobody -o nice=-5 -o rlimit_files=77 -o chroot="$PWD/root" -o directory=/mine 127.0.0.1:0 /witness
	run -0 ask
	grep -qx "nice $(($(nice) - 5))" <<<"$output"
	grep -qx "rlimit_files 77 77" <<<"$output"
	grep -qx "cwd /mine" <<<"$output"
	grep -qx "top witness" <<<"$output"
	[[ $(grep -c '^top [^.]' <<<"$output") == 3 ]]
	grep -qx "regains - - -" <<<"$output"
	AS_ME="" start_server -o id=late -o user=nobody -o chroot="$PWD/root" -o directory=/roots 127.0.0.1:0 /witness
	run -0 ask; [[ -z $output ]]
	wait_log 'ERROR: late cannot change to directory "/roots": Permission denied'
}

# refuse CALL[:when=N] [OPTION...]: that call of the set-up fails in every child of the server $PID.
refuse() {
	strace -f -qq -o "calls.$1" -e "trace=${1%%:*}" -e "inject=${1%%:*}:error=EPERM${1#"${1%%:*}"}" -p "$PID" </dev/null 2>>strace.log 3>&- & TRACER=$!
	traced() { [[ $(awk '/^TracerPid/ { print $2 }' "/proc/$PID/status") != 0 ]]; }
	until_true 10 traced
}

@test "T37: each call of the set-up fails in turn: the command never runs, and the log names the step" {
	requires_root; requires_tracing
	chmod 711 "$BATS_RUN_TMPDIR" .. .
	mkdir root; chmod 755 root; cp "$B/tests/witness" root/
	local call what n=0
	while IFS='|' read -r call what; do
		: >"$LOG"
		AS_ME="" start_server -o id=s -o user=daemon -o nice=1 -o rlimit_files=77 -o chroot="$PWD/root" -o directory=/ 127.0.0.1:0 /witness
		run -0 ask; [[ $output == *end ]]
		refuse "$call"
		run -0 ask
		# Only who shares the master's descriptors must have a copy of them.
		if [[ $call == close_range* ]] && ! grep -q UNSHARE "calls.$call"; then
			kill -INT "$TRACER"; wait "$TRACER" || :
			stop_server INT
			continue
		fi
		[[ -z $output ]] || die "$call: it ran" || return
		wait_log "ERROR: s $what.*: Operation not permitted" || return
		wait_log 'EXIT: s status=126' || return
		kill -INT "$TRACER"; wait "$TRACER" || :
		run -0 ask; [[ $output == *end ]] || die "$call: not served behind it" || return
		stop_server INT
		n=$((n + 1))
	done <<-'X'
	close_range:when=1|cannot set up its descriptors
	dup3:when=1|cannot set up its descriptors
	dup3:when=2|cannot set up its descriptors
	dup3:when=3|cannot set up its descriptors
	setsid|cannot make its session
	setpriority|cannot set nice
	prlimit64|cannot set its resource limits
	chroot|cannot change to chroot
	chdir:when=1|cannot change to chroot
	chdir:when=2|cannot change to directory
	setgroups|cannot set the groups of user
	setresgid|cannot set group
	setresuid|cannot set user
	capset|cannot drop the capabilities
	rt_sigprocmask|cannot set its signal mask
	execve|cannot execute
	X
	figure "$n calls, none ran"
}

@test "where the kernel has neither pidfds nor close_range: children are found, their groups killed, nothing leaks" {
	requires python3
	# As before Linux 5.9: these calls are not there.
	cat >old.py <<-'P'
	import ctypes, os, struct, sys
	calls = (436, 434, 424)		# close_range, pidfd_open, pidfd_send_signal; the same on all processors
	code = [(0x20, 0, 0, 0)] + [(0x15, len(calls) - i, 0, n) for i, n in enumerate(calls)]
	code += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x00050000 | 38)]
	text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
	class Prog(ctypes.Structure): _fields_ = [("n", ctypes.c_ushort), ("at", ctypes.c_void_p)]
	libc = ctypes.CDLL(None, use_errno=True)
	assert libc.prctl(38, 1, 0, 0, 0) == 0
	assert libc.prctl(22, 2, ctypes.byref(Prog(len(code), ctypes.addressof(text)))) == 0
	os.execvp(sys.argv[1], sys.argv[1:])
	P
	cat >t <<-'T'
	service fds { listen = 127.0.0.1:0
		shell = ls /proc/self/fd | tr '\n' ' '; exit 5
	}
	service group { listen = 127.0.0.1:0
		kill_after = 1s
		shell = trap "" TERM; sleep 1000 & echo up; while :; do sleep 1000; done
	}
	T
	chmod 644 t
	exec 77<t
	WRAP="python3 old.py" start_server -v -f t
	exec 77<&-
	local i before
	for i in {1..20}; do run -0 ask "${PORTS[fds]}"; [[ $output == "0 1 2 3 " ]] || die "$output"; done
	until_true 5 log_has 20 'EXIT: fds status=5 '
	before=$(nfds "$PID")
	"$PEER" -t 30000 "tcp:127.0.0.1:${PORTS[group]}" >got 3>&- & local held=$!
	until_true 5 grep -q up got
	run -0 timeout 20 "$SERVERCTL" -C "${CTL##*/}" kill group
	wait_log 'EXIT: group signal=9'
	wait "$held" || :
	until_true 10 is_quiet "$before"
	run -0 timeout 20 "$SERVERCTL" -C "${CTL##*/}" upgrade
	run -0 ask "${PORTS[fds]}"; [[ $output == "0 1 2 3 " ]]
	logged 'children are started by vfork' || logged 'children are started by fork'
}
