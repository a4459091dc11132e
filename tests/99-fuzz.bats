# What the fuzzer has, without the fuzzer: every seed once; and access rules beside Python's ipaddress.
load helper

@test "T03 T04: every seed of every fuzz target, and with them what was found once" {
	local source name n=0
	for source in "$BATS_TEST_DIRNAME"/fuzz/*.c; do
		name=$(basename "$source" .c)
		[[ $name != main ]] || continue
		set -- "$BATS_TEST_DIRNAME/fuzz/seeds/$name"/*
		[[ -s $1 ]] || die "$name has no seeds" || return
		run timeout 60 "$B/tests/fuzz/$name" "$@"
		[[ $status == 0 && $output == "$# inputs" ]] || die "$name: $status" "$output" || return
		n=$((n + $#))
	done
	figure "$n inputs"
}

pairs() { # pairs N SEED
	requires python3
	run timeout "${BATS_TEST_TIMEOUT:-60}" python3 "$BATS_TEST_DIRNAME/pairs.py" "$B/tests/decide" "$1" "$2"
	echo "seed $2"; echo "$output"
	[[ $status == 0 && $output =~ ^([0-9]+)\ pairs,\ [0-9]+\ of\ them\ inside,\ 0\ wrong$ && ${BASH_REMATCH[1]} -ge $1 ]] || return
	figure "$output, seed $2"
}

@test "T04: 20,000 addresses and networks: Python's ipaddress decides the same" {
	pairs 20000 1
}

# bats test_tags=long
@test "T04: ten million addresses and networks: Python's ipaddress decides the same" {
	pairs 10000000 "$RANDOM"
}

# bats test_tags=long
@test "T03 T04: the fuzz targets find nothing in two minutes" {
	requires clang
	local root=$BATS_TEST_DIRNAME/.. runs=0 n
	[[ -x $root/build/server ]] || skip "needs build/server"
	run env -u B ALL=120 nice "$root/scripts/fuzz"
	[[ $status == 0 ]] || die "$output" || return
	while read -r n; do runs=$((runs + n)); done < <(sed -nE 's/^fuzz: [a-z]+: ([0-9]+) runs.* clean$/\1/p' <<<"$output")
	((runs > 100000)) || die "$output" || return
	figure "$runs runs of $(grep -c clean <<<"$output") targets"
}
