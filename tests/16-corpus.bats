load helper

# corpus/NAME.conf is a table with a fault, corpus/NAME.want the first lines of what is said of it,
# without its name. A table that needs root has a name that ends in -root.

setup_corpus() {
	# A copy: nobody else may write it, wherever the sources lie.
	umask 022
	cp -R "$BATS_TEST_DIRNAME/corpus" corpus
	mkdir want told got
	mv corpus/*.want want
	cd corpus
	NOBODY=$(id -u nobody)
}

# cases UID: the tables that this user can be shown. A classic line must name a user, and those
# here name nobody.
cases() {
	if [[ $1 == 0 ]]; then
		printf '%s\n' *.conf
	elif [[ $1 == "$NOBODY" ]]; then
		printf '%s\n' *.conf | grep -v -e '-root\.conf$'
	else
		grep -Lw nobody -- *.conf | grep -v -e '-root\.conf$'
	fi | sed 's/\.conf$//'
}

# tell NAME...: what server -t says of each table, into ../told. In a shell of its own, which bats
# does not follow from command to command.
tell() {
	# shellcheck disable=SC2016
	sh -c 'for name; do
		timeout 20 "$0" -t -f "$name.conf" >"../told/$name.want" 2>&1 </dev/null
		echo "exit status $?" >>"../told/$name.want"
	done' "$SERVER" "$@"
}

# The first lines, without the table's name; the exit status only where it does not fit them. What
# the directories above are like is not the tables' affair.
first_lines() {
	awk '
	FNR == 1 { close(out); name = FILENAME; sub(/.*\//, "", name); out = "../got/" name
		sub(/want$/, "conf:", name); errors = 0; printf "" >out }
	/^exit status / { if ($3 != (errors > 0)) print >out; next }
	/:1:1: warning: the directory .* become root$/ { next }
	/^[^ ]*:[0-9]+:[0-9]+: (error|warning): / { errors += / error: /
		print index($0, name) == 1 ? substr($0, length(name) + 1) : $0 >out }
	/Sanitizer|runtime error/ { print >out }' ../told/*
}

@test "T08: every table of the corpus gets its diagnostics, at their places, and its exit status" {
	setup_corpus
	set -- $(cases "$(id -u)")
	cases 0 | grep -vxF -f <(printf '%s\n' "$@") | sed 's|.*|../want/&.want|' | xargs -r rm --
	tell "$@"
	first_lines
	echo "of $# tables:"
	cd .. && diff -rU0 want got
}

@test "T08: the corpus has at least 150 bad tables, and of each what is wanted" {
	setup_corpus
	local bad; bad=$(cd ../want && grep -l ' error: ' ./* | wc -l)
	((bad >= 150))
	diff <(cases 0) <(ls ../want | sed 's/\.want$//')
	figure "$bad bad tables, $(($(cases 0 | wc -l) - bad)) sound or with warnings"
}

# What a start makes of a bad table: what -t says of it, in the same words; then it ends with status 1, or
# it serves the entries without an error and no other. All in a network and a /run of its own.
# bats test_tags=long
@test "T08: a cold start with each bad table: the same words, and nothing bound that is faulty" {
	requires_root; requires ip unshare
	unshare -n -m true 2>/dev/null || skip "no namespaces"
	setup_corpus
	cat >../start.sh <<-'X'
	server=$1 ctl=$2; shift 2
	ip link set lo up
	for d in /run /var/log; do mount -t tmpfs none $d; done
	mkdir /run/d && cd /run/d && cp -R "$OLDPWD"/. .
	for name; do
		# The tables that include themselves by their own name are in this directory.
		"$server" -t -f "$name.conf" >checked 2>&1 </dev/null
		rm -f lines; mkfifo lines
		"$server" -C /run/ctl -r 9 -f "$name.conf" >said 2>&1 </dev/null 9>lines & pid=$!
		cat lines >ready
		if grep -q '^ready$' ready; then
			"$ctl" -C /run/ctl status --json >status
			kill "$pid"; wait "$pid"
			echo "serves $?" >verdict
		else
			wait "$pid"
			echo "refuses $?" >verdict
		fi
		# What is bound still, by whomever.
		awk '$4 == "0A"' /proc/net/tcp /proc/net/tcp6 >bound
		mkdir "$OUT/$name"; mv checked said ready verdict bound "$OUT/$name"
		[ ! -e status ] || mv status "$OUT/$name"
	done
	X
	mkdir ../out
	set -- $(cd ../want && grep -l ' error: ' ./*.want | sed 's|^\./||; s/\.want$//')
	OUT=$PWD/../out timeout 600 unshare -n -m bash ../start.sh "$SERVER" "$SERVERCTL" "$@"
	requires python3
	python3 - ../out $# <<-'X'
	import json, os, re, sys
	out, n, served, bad = sys.argv[1], int(sys.argv[2]), 0, []
	def diags(d, f): return [l for l in open(f"{out}/{d}/{f}", errors="replace") if re.match(r"\S+?:\d+:\d+: error: ", l)]
	for d in sorted(os.listdir(out)):
	    verdict, said = open(f"{out}/{d}/verdict").read().split(), open(f"{out}/{d}/said", errors="replace").read()
	    if diags(d, "checked") != diags(d, "said"): bad.append((d, "says otherwise than -t"))
	    if open(f"{out}/{d}/bound").read(): bad.append((d, "left something bound"))
	    if verdict == ["refuses", "1"]:
	        if "server: nothing is served: " not in said: bad.append((d, "does not say why it ends"))
	    elif verdict == ["serves", "0"]:
	        served += 1
	        j = json.load(open(f"{out}/{d}/status"))
	        for s in j["services"]:
	            if s["state"] == "faulty" and s["listeners"]: bad.append((d, "serves a faulty entry", s))
	        # Something is enabled, and it is bound or will be, or nothing is.
	        if not open(f"{out}/{d}/ready").read().startswith(("listen ", "failed ")) and "the table enables no service" not in said: bad.append((d, "serves nothing"))
	    else: bad.append((d, verdict))
	assert not bad, bad
	assert len(os.listdir(out)) == n
	print(f"{n} tables: {n - served} refused, exit status 1; of {served} the sound entries are served, none of the faulty ones", file=open("said", "w"))
	X
	figure "$(<said)"
}

@test "the corpus's tables that need root are shown to root only" {
	local uid
	setup_corpus
	[[ $(cases 0) == *-root$'\n'* ]]
	for uid in "$NOBODY" 1 4242; do
		(($(cases "$uid" | wc -l) >= 150)) || die "nothing for $uid" || return
		! cases "$uid" | grep -e '-root$' || die "for $uid too" || return
	done
}

@test "every table without an error reads back from its dump to the same" {
	umask 022
	cp -R "$BATS_TEST_DIRNAME/corpus" corpus
	cd corpus
	# shellcheck disable=SC2016
	sh -c 'n=0
	for f in *.conf; do
		timeout 20 "$0" --dump -f "$f" >../once 2>/dev/null || continue
		timeout 20 "$0" --dump -f ../once >../twice 2>../said || { echo "$f: its dump has errors"; cat ../said; exit 1; }
		cmp ../once ../twice || { echo "$f"; exit 1; }
		n=$((n + 1))
	done
	echo "$n tables"; [ $n -gt 50 ]' "$SERVER"
}
