# Long runs: after very many connections everything is as it was, and all of them are counted.
# SOAK=1000000: how many the long one is.
load helper

# service NAME LINE...: an entry of the table that is being written
service() { local n=$1; shift; printf 'service %s\n{\n\tlisten = 127.0.0.1:0\n' "$n"; printf '\t%s\n' "$@"; echo '}'; }
ctl() { timeout 60 "$SERVERCTL" -C "$CTL" "$@"; }
# Its own memory in KiB, counted page by page: VmRSS is only known to some hundred KiB, and has the program's file in it.
rss() { awk '/^Anonymous:/ { print $2 }' "/proc/$PID/smaps_rollup"; }
# idle FDS: nobody is there, and the descriptors are so many
idle() { ctl status --json >now && no_zombies && is_quiet "$1" && ! grep -q '"live":[1-9]' now && grep -q '"lingering":0' now; }
settled() { has_children 0 && no_zombies && sleep 0.2 && has_children 0; }

queued() { (($(awk -v p="$(printf :%04X "$2")" '$4 == "01" && substr($2, 9) == p' /proc/net/tcp | wc -l) >= $1)); }
# What was needed for many at once is given back within a second or two.
still() { local a; a=$(rss); nap 1.2; [[ $(rss) == "$a" ]]; }
no_larger() { now=$(rss); ((now - was < 64)); }

# clients N: so many, while another table is read each second; what they saw is added up in SAW.
clients() {
	local p k=0 one i
	"$B/tests/soak" "$1" 24 "${PORTS[good]}" "${PORTS[denied]}" "${PORTS[failing]}" "${PORTS[timed]}" >saw 3>&- & p=$!
	until gone "$p"; do
		cp "table.$((++k % 2))" new; mv new t
		ctl reload >said 2>&1 || die "a reload failed: $(<said)" || return
		nap 1
	done
	wait "$p" || die "wrong: $(<saw)" || return
	cp table.0 new; mv new t
	ctl reload >said 2>&1
	read -ra one <saw
	for i in 0 1 2 3 4; do SAW[i]=$((SAW[i] + one[i])); done
}

soak() {
	requires python3
	# With sanitizers: what is freed is to be free.
	export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=0:thread_local_quarantine_size_kb=0
	local n=$1 kind fds was now failed
	SAW=()
	for kind in 0 1; do
		{
			printf 'defaults\n{\n\tlog_on_success =\n\tuser = %s\n}\n' "$ME"
			service good "exec = $B/tests/tiny" "nice = $kind"
			service denied "exec = $B/tests/tiny" 'only_from = 127.0.0.2'
			service failing 'exec = /nonexistent/command'
			service timed "exec = $B/tests/keep" 'timeout = 100ms'
			[[ $kind == 0 ]] || service more 'exec = echo more'
		} >"table.$kind"
		chmod 644 "table.$kind"
	done
	cp table.0 t
	start_server -q -f t
	clients 10000
	# Many at once, so that all is there that is kept for the next ones.
	kill -STOP "$PID"
	"$B/tests/load" -b "${PORTS[good]}" 64 60 >burst 3>&- & kind=$!
	until_true 20 queued 64 "${PORTS[good]}"
	kill -CONT "$PID"
	wait "$kind"; [[ $(<burst) == *" 0" ]]
	SAW[0]=$((SAW[0] + 64))
	until_true 10 settled
	until_true 20 still
	fds=$(nfds "$PID") was=$(rss)
	clients $((n - 10000))
	until_true 10 idle "$fds" || die "$(nfds "$PID") descriptors, there were $fds; $(<now)" || return
	until_true 15 no_larger || die "the memory was $was KiB and is $now" || return
	ctl status --json >now
	python3 - "${SAW[@]}" <<-'P'
	import json, sys
	good, denied, failing, timed, reset = map(int, sys.argv[1:])
	s = {x["id"]: x for x in json.load(open("now"))["services"]}
	told = {n: (x["started"], sum(x["refused"].values()), x["failed"], x["live"]) for n, x in s.items()}
	want = {"good": (good + reset, 0, 0, 0), "denied": (0, denied, 0, 0), "failing": (failing, 0, failing, 0), "timed": (timed, 0, 0, 0)}
	assert told == want, (told, want)
	assert s["denied"]["refused"] == {"address": denied}, s["denied"]
	P
	figure "$n connections, ${SAW[1]} refused, ${SAW[2]} not started: memory $was KiB and then $now, $fds descriptors as before"
}

@test "T07: 20,000 connections and a reload each second: memory, descriptors and counts are as they were; status counts right" {
	soak 20000
}

# bats test_tags=long
@test "T07: a million connections and a reload each second: memory, descriptors and counts are as they were; status counts right" {
	soak "${SOAK:-1000000}"
}

# What anybody sees of the two services, asked in turn, must never become older: not if a reload is that of
# the table before, nor if one service is new already and the other is not.
@test "T36: 100 rounds of HUP, two reloads by serverctl and a new table at once: all are answered, the last table holds, none is mixed" {
	local i o k a b
	# Every tenth table is so long that reading it takes a while, in which the others come.
	for i in {1..2000}; do printf 'service off%d\n{\n\tlisten = 127.0.0.1:0\n\texec = true\n\tdisable = yes\n}\n' "$i"; done >off
	write() {
		{
			service a "exec = echo $1"
			(($1 % 10)) || cat off
			service b "exec = echo $1"
		} >new
		chmod 644 new
	}
	write 0; mv new t
	start_server -q -f t
	{
		until [[ -e enough ]]; do ask "${PORTS[a]}"; ask "${PORTS[b]}"; done >seen
	} 3>&- & o=$!
	for i in {1..100}; do
		write "$i"
		kill -HUP "$PID"
		ctl reload >one 2>&1 3>&- & a=$!
		mv new t
		ctl reload >two 2>&1 3>&- & b=$!
		wait "$a"; wait "$b"
		for k in one two; do
			[[ $(<"$k") =~ ^"0 added, "[02]" changed, 0 removed, "[02]" as before, "(0|2000)" off, 0 faulty"$ ]] ||
				die "round $i, $k: $(<"$k")" || return
		done
		[[ $(ask "${PORTS[a]}") == "$i" && $(ask "${PORTS[b]}") == "$i" ]] || die "round $i: not in force" || return
	done
	: >enough
	wait "$o"
	(($(wc -l <seen) > 100))
	sort -nc seen || die "a table before the last one was seen"
	figure "100 rounds, $(wc -l <seen) answers watched"
}

@test "T36: who asks for a reload while another goes on is answered by the one that begins behind it" {
	[[ -z ${NO_SHIM-} ]] || skip "no preloading here"
	local reader asker
	service a 'exec = echo a' >t; chmod 644 t
	printf '#!/bin/sh\nLD_PRELOAD=%s SHIM_HANG=%s/hang exec "$@"\n' "$B/tests/shim" "$PWD" >shim.sh
	chmod +x shim.sh
	WRAP=./shim.sh start_server -f t
	: >hang
	kill -HUP "$PID"
	until_true 5 has_children 1
	reader=$(children "$PID")
	service a 'exec = echo new' >t
	ctl reload >said 2>&1 3>&- & asker=$!
	waits() { grep -q " 03 [0-9]* ctl\.1$" /proc/net/unix; }
	until_true 10 waits
	"$PEER" -s $'tables\n' unix:ctl.1 >/dev/null # answered without a process: a turn of the loop later
	kill -STOP "$reader"; rm hang; kill -KILL "$reader"
	wait "$asker" || die "$(<said)" || return
	[[ $(<said) == "0 added, 1 changed, 0 removed, 0 as before, 0 off, 0 faulty" && $(ask) == new ]]
}
