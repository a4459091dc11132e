load helper

man=$BATS_TEST_DIRNAME/../man

@test "every attribute and every option is in server(8), and nothing else" {
	diff <("$SERVER" --attributes | cut -f1 | sort) <(sed -n 's/^\.It Cm \([a-z_]*\).*/\1/p' "$man/server.8" | sort -u)
	local o
	while read -r o; do
		grep -qE "^\.It .*Fl $o( |$)" "$man/server.8" || die "not in server(8): -$o" || return
	done < <("$SERVER" -h | grep -oE '^ +(-[a-zA-Z], |    )--[a-z]+|^ +-[a-zA-Z], --[a-z]+' | grep -oE -- '-[a-zA-Z],' | tr -d ',-' | sort -u)
	while read -r o; do
		grep -qE "^\.It .*Fl Fl $o( |$)" "$man/server.8" || die "not in server(8): --$o" || return
	done < <("$SERVER" -h | grep -oE -- '--[a-z]+' | tr -d - | sort -u)
}

@test "every option of client is in client(1)" {
	local o
	for o in 4 6 u q v w s h V; do
		grep -qE "^\.It .*Fl $o( |$)" "$man/client.1" || die "not in client(1): -$o" || return
	done
}

@test "the pages are lint-clean" {
	requires mandoc
	run -0 mandoc -Tlint -Wwarning "$man/server.8" "$man/client.1"
	[[ -z $output ]]
}
