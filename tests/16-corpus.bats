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

@test "every table of the corpus gets its diagnostics, at their places, and its exit status" {
	setup_corpus
	set -- $(cases "$(id -u)")
	cases 0 | grep -vxF -f <(printf '%s\n' "$@") | sed 's|.*|../want/&.want|' | xargs -r rm --
	tell "$@"
	first_lines
	echo "of $# tables:"
	cd .. && diff -rU0 want got
}

@test "the corpus has at least 150 tables, each with what is wanted of it" {
	setup_corpus
	(($(cases 0 | wc -l) >= 150))
	diff <(cases 0) <(ls ../want | sed 's/\.want$//')
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
