load helper

man=$BATS_TEST_DIRNAME/../man

# The attributes that a page describes: `.It Cm name`.
described() { sed -n 's/^\.It Cm \([a-z0-9_]*\).*/\1/p' "$1" | sort; }

# The tables among a page's EXAMPLES, as example.1, example.2 …: what stands between .Bd -literal
# and .Ed. A classic line must name a user: who is not root can only name himself.
examples() {
	awk '/^\.Sh /{ on = $0 == ".Sh EXAMPLES" }
	     on && /^\.Bd -literal/{ f = "example." ++n; next }
	     /^\.Ed/{ f = "" }
	     f != ""{ gsub(/\\e/, "\\"); gsub(/\\&/, ""); print >f }' "$1"
	[[ $(id -u) == 0 ]] || sed -i "s/\<nobody\>/$ME/g" example.*
}

@test "every attribute is in server.conf(5), once, and nothing else" {
	diff <("$SERVER" --attributes | cut -f1 | sort) <(described "$man/server.conf.5")
}

@test "server(8) leaves the attributes to server.conf(5), and names none that there is not" {
	local a
	[[ -z $(described "$man/server.8") ]]
	grep -qx '\.Xr server\.conf 5' "$man/server.8"
	"$SERVER" --attributes | cut -f1 >there
	while read -r a; do
		grep -qxF "$a" there || die "no such attribute: $a" || return
	done < <(sed -n '/^\.Sh ATTRIBUTES/,/^\.Sh /s/^\.It Li \([a-z0-9_]*\)+\{0,1\}=.*/\1/p' "$man/server.8")
}

@test "every option is in server(8)" {
	local o
	while read -r o; do
		grep -qE "^\.It .*Fl $o( |$)" "$man/server.8" || die "not in server(8): -$o" || return
	done < <("$SERVER" -h | sed -n 's/^ \{1,\}-\([a-zA-Z]\), --.*/\1/p' | sort -u)
	while read -r o; do
		grep -qE "^\.It .*Fl Fl $o( |$)" "$man/server.8" || die "not in server(8): --$o" || return
	done < <("$SERVER" -h | sed -n 's/^ \{1,\}\(-[a-zA-Z], \)\{0,1\}--\([a-z]*\).*/\2/p' | sort -u)
}

@test "every command and option of serverctl is in serverctl(8), with its words" {
	local name words o
	while IFS=$'\t' read -r name words _; do
		grep -qE "^\.It Cm $name( |$)" "$man/serverctl.8" || die "not in serverctl(8): $name" || return
		for o in $(tr -c 'A-Z\n' ' ' <<<"$words"); do
			[[ $(grep -E "^\.It Cm $name" "$man/serverctl.8") == *"${o,,}"* ]] || die "not in serverctl(8): $name $o" || return
		done
	done < <("$SERVERCTL" --commands)
	diff <("$SERVERCTL" --commands | cut -f1 | sort) <(sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man/serverctl.8" | sort)
	while read -r o; do
		grep -qE "^\.It .*Fl (Fl )?$o( |$)" "$man/serverctl.8" || die "not in serverctl(8): $o" || return
	done < <("$SERVERCTL" -h | awk '/^ +-/ { for (i = 1; $i ~ /^-/; i++) { gsub(/^-+|,$/, "", $i); print $i } }')
}

@test "every option of client is in client(1)" {
	local o
	for o in 4 6 u q v w s h V; do
		grep -qE "^\.It .*Fl $o( |$)" "$man/client.1" || die "not in client(1): -$o" || return
	done
}

@test "every table in the EXAMPLES of server.conf(5) is sound, and dumps to itself" {
	local f n=0
	examples "$man/server.conf.5"
	for f in example.*; do
		n=$((n + 1))
		"$SERVER" -t -f "$f" 2>said || die "$f:" "$(<said)" "$(<"$f")" || return
		[[ $(<said) != *"cannot execute"* ]] || missing "$(<said)"
		"$SERVER" --dump -f "$f" 2>/dev/null >dump.1
		"$SERVER" --dump -f dump.1 2>/dev/null >dump.2
		[[ -s dump.1 ]]
		diff dump.1 dump.2
	done
	((n >= 5)) || die "only $n tables among the EXAMPLES"
}

@test "the first table of server.conf(5) is served" {
	awk '/^\.Ss A first table/{ on = 1 } on && /^\.Bd/{ f = 1; next } f && /^\.Ed/{ exit } f' "$man/server.conf.5" |
	    sed 's/port .*/port = 0/' >first.conf
	AS_ME="" start_server -f first.conf
	[[ -n $(ask) ]]
}

@test "the pages are lint-clean" {
	requires mandoc
	run -0 mandoc -Tlint -Wwarning "$man"/*.[1-8]
	[[ -z $output ]]
}
