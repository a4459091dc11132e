# The pure floors, case by case: see unit.c.
load helper

@test "numbers, words, addresses, access, rates, limits, timers: every case holds" {
	local c n=0
	export CORPUS=$BATS_TEST_DIRNAME/corpus
	for c in $("$B/tests/unit"); do
		run -0 "$B/tests/unit" "$c" || return
		n=$((n + 1))
	done
	((n > 10))
}

@test "the floors: an include goes down or sideways, never up" {
	run -0 "$BATS_TEST_DIRNAME/../scripts/floors"
	[[ -z $output ]]
}
