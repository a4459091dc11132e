# Completion for bash, zsh and fish: what is offered is what the programs have.
load helper

completions=$BATS_TEST_DIRNAME/../etc/completions
programs() { mkdir bin; ln -s "$SERVER" "$SERVERCTL" "$CLIENT" bin/; export PATH=$PWD/bin:$PATH; }

# A server whose answer is known: services date, upper and up2, connections 17 and 18.
known() {
	cat >answer <<-'X'
	read -r line
	echo 'o {"server": {}, "services": [{"id": "date", "state": "listening"}, {"id":"upper"}, {"id": "up2"}],'
	echo 'o "connections": [{"conn": 17, "service": "date"}, {"conn":18}]}'
	echo 'x 0'
	X
	CONTROL=" " start_server -q -o directory="$PWD" unix:other sh ./answer
}
a_table() {
	printf 'service one { listen = unix:one\nexec = cat\n}\nservice two { listen = unix:two\nexec = cat\n}\n' >t
	chmod 644 t
}

# complete_bash LINE: the words offered, sorted; a blank at the end begins a new word.
complete_bash() {
	run bash --norc -c 'source "$1"; COMP_WORDS=($2); [[ $2 != *" " ]] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); f=$(complete -p "${COMP_WORDS[0]}"); f=${f#*-F }; f=${f%% *}
		$f "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
		printf "%s\n" "${COMPREPLY[@]}" | sort' bash "$completions/server.bash" "$1"
}
complete_fish() {
	run timeout 20 fish --no-config -c 'for f in $argv[1]/*.fish; source $f; end; complete -C $argv[2] | string replace -r "\t.*" ""' "$completions" "$1"
	output=$(sort <<<"$output")
}
# complete_zsh LINE WANTED: LINE and the tab key make WANTED of it.
complete_zsh() {
	timeout 60 python3 - "$completions" "$@" <<-'X'
	import os, pty, select, sys, time
	pid, fd = pty.fork()
	if pid == 0:
	    os.environ.update(PS1="> ", TERM="dumb", ZDOTDIR="/nonexistent")
	    os.execvp("zsh", ["zsh", "-f", "-i"])
	def read(until, limit=25):
	    seen = b""; end = time.monotonic() + limit
	    while until not in seen:
	        assert time.monotonic() < end, seen
	        if select.select([fd], [], [], .1)[0]: seen += os.read(fd, 65536)
	    return seen
	read(b"> ")
	os.write(fd, b"fpath=('%s' $fpath); autoload -U compinit; compinit -u -D; unsetopt beep\n" % sys.argv[1].encode())
	os.write(fd, b"PS1='re''ady> '\n"); read(b"ready> ")
	os.write(fd, sys.argv[2].encode() + b"\t")
	read(sys.argv[3].encode())
	X
}
offers() { [[ $output == "$(printf '%s\n' "$@" | sort)" ]] || die "offered:" "$output"; }

@test "bash: commands, their words, options, services of the server, of the table" {
	programs; known; a_table
	complete_bash "serverctl re"; offers reload
	complete_bash "serverctl "; offers $("$SERVERCTL" --commands | cut -f1)
	complete_bash "serverctl --j"; offers --json
	complete_bash "serverctl -C other enable up"; offers up2 upper
	complete_bash "serverctl --control = other disable d"; offers date
	complete_bash "serverctl -C other kill "; offers 17 18 date up2 upper
	complete_bash "serverctl -C other kill date "; offers ""
	complete_bash "serverctl -C nowhere enable "; offers ""
	complete_bash "serverctl edit an"; offers answer
	complete_bash "server -o only"; offers only_from=
	complete_bash "server --ex"; offers --explain
	complete_bash "server -f t --explain "; offers one two
	complete_bash "server -f an"; offers answer
	complete_bash "server 1024 serverct"; offers serverctl
	complete_bash "server -o user = nobody 1024 date an"; offers answer
	start_server -q -f t
	complete_bash "serverctl -C ${CTL##*/} enable "; offers one two
	complete_bash "client -"; offers -4 -6 -u -w -s -v -q -h -V
	complete_bash "client loc"; offers localhost:
}

@test "every option of every program is offered, in bash and in fish" {
	programs
	local p o all
	for p in server serverctl client; do
		all=$("$p" -h | awk '/^ +-/ { for (i = 1; $i ~ /^-/; i++) { sub(/,$/, "", $i); print $i } }')
		[[ -n $all ]]
		complete_bash "$p -"; offers $all
		command -v fish >/dev/null || continue
		complete_fish "$p -"; o=$output; complete_fish "$p --"
		output=$(printf '%s\n' "$o" "$output" | sed '/^$/d' | sort -u)
		offers $all
	done
}

@test "zsh reads its file, and completes with it" {
	requires zsh python3
	run -0 zsh -n "$completions/_server"; [[ -z $output ]]
	programs; known; a_table
	complete_zsh "serverctl rel" "serverctl reload "
	complete_zsh "serverctl --js" "serverctl --json "
	complete_zsh "serverctl -C other enable upp" "serverctl -C other enable upper "
	complete_zsh "serverctl -C other kill 18" "serverctl -C other kill 18 "
	complete_zsh "server -o only_f" "server -o only_from="
	complete_zsh "server --ex" "server --explain "
	complete_zsh "server -f t --explain tw" "server -f t --explain two "
	complete_zsh "client loc" "client localhost:"
}

@test "fish reads its files, and completes with them" {
	requires fish
	local f
	for f in "$completions"/*.fish; do run -0 fish -n "$f"; [[ -z $output ]]; done
	programs; known; a_table
	complete_fish "serverctl r"; offers reload
	complete_fish "serverctl "; offers $("$SERVERCTL" --commands | cut -f1)
	complete_fish "serverctl -C other enable upp"; offers upper
	complete_fish "serverctl --control=other disable d"; offers date
	complete_fish "serverctl -C other kill 1"; offers 17 18
	complete_fish "serverctl -C nowhere enable "; offers ""
	start_server -q -f t
	complete_fish "serverctl -C ${CTL##*/} enable "; offers one two
	complete_fish "serverctl edit answ"; offers answer
	complete_fish "server -o only_f"; offers only_from=
	complete_fish "server -f t --explain "; offers one two
	complete_fish "client loc"; offers localhost:
}

@test "make install puts programs, pages and completions where shells and man look" {
	local to=$PWD/to
	env -u MAKEFLAGS make -s -C "$BATS_TEST_DIRNAME/.." -o all B="$B" DESTDIR="$to" PREFIX=/usr install >/dev/null
	local f
	for f in sbin/server sbin/serverctl bin/client; do [[ -x $to/usr/$f ]] || die "$f" || return; done
	for f in man/man8/server.8 man/man8/serverctl.8 man/man5/server.conf.5 man/man1/client.1 \
	    bash-completion/completions/server bash-completion/completions/serverctl bash-completion/completions/client \
	    zsh/site-functions/_server fish/vendor_completions.d/server.fish fish/vendor_completions.d/serverctl.fish \
	    fish/vendor_completions.d/client.fish examples/server.conf examples/server.service examples/server.socket \
	    examples/server-fail2ban.conf examples/server/upper; do
		[[ -r $to/usr/share/$f ]] || die "$f" || return
	done
	# As the completion package does: by the command's name.
	for f in server serverctl client; do
		run -0 bash --norc -c 'source "$1" && complete -p "$2"' bash "$to/usr/share/bash-completion/completions/$f" "$f"
	done
}
