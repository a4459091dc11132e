# serverctl edit: a table is changed as visudo does it.
load helper

table() { cat >t; chmod 644 t; }
a_table() {
	table <<-'X'
	service a { listen = unix:a
		shell = echo a
	}
	X
}
# editor NAME: a script of that name; $1 is the copy.
editor() { { echo '#!/bin/sh'; cat; } >"$1"; chmod +x "$1"; }
edit() { run --separate-stderr timeout 30 "$SERVERCTL" -C "${CTL:-none}" edit "$@"; }
no_copy() { ! compgen -G '*t.??????' >/dev/null; }
as_it_was() { cmp -s t was && no_copy; }
keep() { cp t was; }
says() { "$PEER" "unix:$1"; }

# at_terminal KEYS COMMAND...: at a terminal, where at each question the next of KEYS is typed. Sets
# status and output as run does.
at_terminal() {
	requires python3
	cat >terminal.py <<-'X'
	import os, pty, sys
	keys, argv, seen = sys.argv[1], sys.argv[2:], b""
	pid, fd = pty.fork()
	if pid == 0: os.execv(argv[0], argv)
	while True:
	    try: d = os.read(fd, 4096)
	    except OSError: break
	    if not d: break
	    seen += d
	    if seen.endswith(b"(x)? ") and keys:
	        os.write(fd, keys[0].encode() + b"\n"); keys = keys[1:]
	print(seen.decode().replace("\r", ""))
	sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	X
	run timeout 40 python3 terminal.py "$@"
}

setup_editors() {
	unset VISUAL EDITOR
	editor change <<<'sed -i "s/echo a/echo changed/" "$1"'
	editor break <<<'sed -i "s/listen/lisen/" "$1"'
	# First it breaks it, then it mends that.
	editor mend <<-'X'
	if [ -e broken ]; then sed -i "s/lisen/listen/; s/echo a/echo mended/" "$1"; else sed -i "s/listen/lisen/" "$1"; : >broken; fi
	X
}

@test "edit changes the server's table and has it read" {
	setup_editors; a_table
	start_server -f t
	EDITOR=./change edit
	[[ $status == 0 && $output == "0 added, 1 changed, 0 removed, 0 as before, 0 off, 0 faulty" && -z $stderr ]]
	[[ $(says a) == changed ]]
	no_copy
	(cd /; EDITOR="sed -i s/changed/again/" timeout 20 "$SERVERCTL" -C "$CTL" edit)
	[[ $(says a) == again ]]
}

@test "edit judges no service that the server has switched off, by an option or a command" {
	setup_editors; a_table
	printf 'service %s { listen = 127.0.0.1:0\nshell = echo\nuser = %s\n}\n' old no-such-user-here off "$ME" >>t
	start_server -o disabled=old -f t
	run -0 "$SERVERCTL" -C "$CTL" disable off
	EDITOR="sed -i -e s/echo.a/echo\ changed/ -e '/service off/,\$s/$ME/no-such-user-here/'" edit
	[[ $status == 0 && $(says a) == changed ]] || die "$stderr"
	run -1 "$SERVERCTL" -C "$CTL" enable off	# it is faulty now
	EDITOR="sed -i s/changed/again/" edit
	[[ $status == 1 && $stderr == *'error: user "no-such-user-here": there is no such user'* && $(says a) == changed ]] || die "$stderr"
}

@test "edit checks with the options of the server that it talks to" {
	setup_editors; a_table
	sed -i 's/shell/frobnicate = 1\n\t&/' t
	sed -i '1i defaults { no_access = 10.0.0.1 }' t
	start_server -o dialect=xinetd -o "env=A=x B=y" -o no_access-=10.0.0.1 -f t
	EDITOR=./change edit
	[[ $status == 0 && $output == "0 added, 1 changed,"* && $stderr == *'`frobnicate`; ignored, as xinetd does'* ]] || die "$stderr"
	[[ $(says a) == changed ]]
	# Without it the same is an error.
	stop_server
	EDITOR="sed -i s/changed/again/" edit t
	[[ $status == 1 && $stderr == *'error: there is no attribute `frobnicate`'*"the table is as it was" ]]
}

@test "VISUAL before EDITOR, else vi; an empty one is none; it may have arguments" {
	setup_editors; a_table
	editor no <<<'exit 1'
	VISUAL=./change EDITOR=./no edit t; [[ $status == 0 ]]
	grep -q 'echo changed' t
	VISUAL="sed -i s/changed/two/" edit t; [[ $status == 0 ]]; grep -q 'echo two' t
	VISUAL="" EDITOR="sed -i 's/echo two/echo three/'" edit t; [[ $status == 0 ]]; grep -q 'echo three' t
	mkdir bin; editor bin/vi <<<'sed -i "s/echo three/echo vi/" "$1"'
	PATH=$PWD/bin:$PATH edit t; [[ $status == 0 ]]; grep -q 'echo vi' t
	no_copy
}

@test "an editor that fails, is killed or is not there: 1, the table is as it was" {
	setup_editors; a_table; keep
	start_server -f t
	editor fails <<<'sed -i s/a/b/ "$1"; exit 3'
	editor dies <<<'sed -i s/a/b/ "$1"; kill -KILL $$'
	local e
	for e in ./fails ./dies; do
		EDITOR=$e edit
		[[ $status == 1 && -z $output && $stderr == *"serverctl: the editor $e failed; the table is as it was" ]] || die "$e: $status $stderr" || return
		as_it_was || die "$e" || return
	done
	EDITOR=./nothing edit; [[ $status == 1 && $stderr == "serverctl: cannot run the editor ./nothing: "* ]]
	EDITOR='"half' edit; [[ $status == 1 && $stderr == 'serverctl: the editor "half: '* ]]
	EDITOR=' ' edit; [[ $status == 1 && $stderr == "serverctl: the editor: there is no command in it" ]]
	as_it_was
	[[ $(says a) == a ]]
}

@test "an editor that leaves something else than a file, or an empty one: 1, the table is as it was" {
	setup_editors; a_table; keep
	start_server -f t
	local how
	for how in 'mkfifo "$1"' 'mkdir "$1"' 'ln -s /etc/passwd "$1"'; do
		editor odd <<<"rm \"\$1\"; $how"
		EDITOR=./odd edit
		[[ $status == 1 && $stderr == "serverctl: $PWD/t: the editor left no regular file; the table is as it was" ]] || die "$how: $status $stderr" || return
		as_it_was || die "$how" || return
	done
	EDITOR="truncate -s 0" edit
	[[ $status == 1 && $stderr == "serverctl: $PWD/t: the editor left an empty file; the table is as it was" ]]
	as_it_was
	[[ $(count_log RELOAD) == 0 && $(says a) == a ]]
}

@test "unchanged: 1, that is said, and nothing is read again" {
	setup_editors; a_table; keep
	start_server -f t
	EDITOR=true edit; [[ $status == 1 && -z $output && $stderr == "serverctl: $PWD/t is as it was" ]]
	EDITOR="touch" edit; [[ $status == 1 ]]
	as_it_was
	[[ $(count_log RELOAD) == 0 ]]
}

@test "a broken table without a terminal: what is wrong, by the table's own name; 1, as it was" {
	setup_editors; a_table; keep
	start_server -f t
	EDITOR=./break edit
	[[ $status == 1 && -z $output ]]
	[[ $stderr == "$PWD/t:1:13: error: "*"lisen"*$'\n'*"hint: "*$'\n'"serverctl: $PWD/t has errors; the table is as it was" ]]
	as_it_was
	EDITOR='rm -f' edit; [[ $status == 1 ]]
	as_it_was
	[[ $(count_log RELOAD) == 0 && $(says a) == a ]]
}

@test "broken, then mended at a terminal; or left as it was" {
	setup_editors; a_table; keep
	start_server -f t
	export EDITOR=./break
	at_terminal x "$SERVERCTL" -C "$CTL" edit
	[[ $status == 1 && $output == *":1:13: "*"error:"*"lisen"*"edit again (e), or leave the table as it was (x)? x"* ]]
	as_it_was
	at_terminal e7x "$SERVERCTL" -C "$CTL" edit	# the second time it is as broken as before
	[[ $status == 1 && $(grep -o 'edit again' <<<"$output" | wc -l) == 3 ]]
	as_it_was
	export EDITOR=./mend
	at_terminal e "$SERVERCTL" -C "$CTL" edit
	[[ $status == 0 && $output == *"0 added, 1 changed"* ]]
	[[ $(says a) == mended ]]
	no_copy
}

@test "warnings are shown and do not stand in the way" {
	setup_editors; a_table
	start_server -f t
	EDITOR="sed -i 's|shell.*|exec = /no/such/program|'" edit
	[[ $status == 0 && $stderr == *": warning: "*/no/such/program* && $output == *"1 changed"* ]]
	no_copy
}

@test "two at once: the second is refused and the first is not disturbed" {
	setup_editors; a_table
	mkfifo in go
	editor waits <<-'X'
	echo >in; read x <go; sed -i "s/echo a/echo first/" "$1"
	X
	EDITOR=./waits "$SERVERCTL" -C none edit t >first 2>&1 3>&- & local first=$!
	read -rt 10 <>in
	EDITOR=./change edit t
	[[ $status == 1 && $stderr == "serverctl: t: somebody else is editing it" ]]
	echo >go
	wait "$first"
	grep -q 'echo first' t
	EDITOR="sed -i s/first/second/" edit t; [[ $status == 0 ]]
	no_copy
}

@test "mode and owner stay; a symbolic link stays one" {
	setup_editors; mkdir real; (cd real; a_table)
	ln -s real/t t
	chmod 640 real/t
	[[ $(id -u) != 0 ]] || chown 0:65534 real/t
	local was; was=$(stat -c '%a %u %g' real/t)
	EDITOR=./change edit t; [[ $status == 0 ]]
	[[ -L t && $(readlink t) == real/t && $(stat -c '%a %u %g' real/t) == "$was" ]]
	grep -q 'echo changed' real/t
	# An editor that puts another file in the copy's place, with another mode.
	editor other <<<'sed s/changed/other/ "$1" >new; chmod 600 new; mv new "$1"'
	EDITOR=./other edit real/t; [[ $status == 0 && $(stat -c '%a %u %g' real/t) == "$was" ]]
	grep -q 'echo other' t
	# A link is no table.
	keep
	sed 's/echo other/echo link/' real/t >elsewhere; chmod 600 elsewhere
	editor link <<<"rm \"\$1\"; ln -s $PWD/elsewhere \"\$1\""
	EDITOR=./link edit t; [[ $status == 1 && -L t && -f real/t && ! -L real/t && $(stat -c %a elsewhere) == 600 ]]
	cmp t was
	no_copy; (cd real; no_copy)
}

@test "a file that the table includes: edited by its name, and the whole is read" {
	setup_editors
	mkdir d
	printf 'service b { listen = unix:b\nshell = echo a\n}\n' >d/b
	printf 'service a { listen = unix:a\nshell = echo other\n}\nincludedir d\n' | table
	chmod 755 d; chmod 644 d/b
	start_server -f t
	EDITOR=./change edit d/b
	[[ $status == 0 && $output == *"1 changed"* && $(says b) == changed ]]
	[[ $(ls -A d) == b ]]
	# While it is edited the copy is no table.
	editor reads <<<"$SERVERCTL -C $CTL reload >reloaded; sed -i s/changed/third/ \"\$1\""
	EDITOR=./reads edit d/b
	[[ $status == 0 && $(<reloaded) == "0 added, 0 changed, 0 removed, 2 as before, 0 off, 0 faulty" && $(says b) == third ]]
}

@test "no server: the table is changed, that is said, and the status is 0" {
	setup_editors; a_table
	CTL=none EDITOR=./change edit t
	[[ $status == 0 && $stderr == "serverctl: no server runs here: "* ]]
	grep -q 'echo changed' t
	run --separate-stderr env -u XDG_RUNTIME_DIR EDITOR="sed -i s/changed/again/" "$SERVERCTL" -C none edit t
	[[ $status == 0 ]]
	grep -q 'echo again' t
}

@test "a server that cannot be asked is not one that does not run" {
	setup_editors; programs_for_nobody
	a_table; start_server -f t
	mkdir own; cp t own/t; chown -R 65534:65534 own
	run --separate-stderr nobody env EDITOR="$PWD/change" "$PWD/bin/serverctl" -C "$CTL" edit own/t
	[[ $status == 1 && $stderr == *"cannot ask the server: "* && $stderr == *"own/t is changed"* ]]
}

@test "what is no file cannot be edited: 1, one line" {
	setup_editors
	mkdir d; mkfifo fifo
	local f
	for f in d fifo nothing /dev/null ""; do
		EDITOR=./change edit "$f"
		[[ $status == 1 && $stderr == "serverctl: $f: "* && $stderr != *$'\n'* ]] || die "$f: $status $stderr" || return
	done
}

@test "a table that was standard input cannot be edited" {
	setup_editors; a_table
	cat >from <<-X
	#!/bin/sh
	exec "\$@" <$PWD/t
	X
	chmod +x from
	"$SERVER" -o "user=$ME" -q -C c -p pid -f - <t >>"$LOG" 2>&1 3>&- & SRV+=($!)
	until_true 5 test -e pid
	CTL=c EDITOR=./change edit
	[[ $status == 1 ]]
	[[ $stderr == "serverctl: -: the server's table is no file; name one: serverctl edit TABLE" ]]
}

@test "TERM and HUP during the edit leave no copy, and end the editor" {
	setup_editors; a_table; keep
	editor waits <<-'X'
	echo $$ >pid; exec sleep 100
	X
	local sig
	for sig in TERM HUP; do
		rm -f pid
		EDITOR=./waits "$SERVERCTL" -C none edit t >/dev/null 2>&1 3>&- & local p=$!
		until_true 10 test -s pid
		kill -"$sig" "$p"
		wait "$p" && die "it ended well" || [[ $? == $((128 + $(kill -l "$sig"))) ]]
		until_true 5 gone "$(<pid)"
		as_it_was || die "$sig" || return
	done
}

@test "^C is the editor's" {
	setup_editors; a_table
	editor interrupts <<-'X'
	trap "" INT QUIT; kill -INT $PPID; kill -QUIT $PPID; sed -i "s/echo a/echo on/" "$1"
	X
	EDITOR=./interrupts edit t
	[[ $status == 0 ]]
	grep -q 'echo on' t
}

@test "a table that somebody else changes meanwhile, or removes: neither's work is lost" {
	setup_editors; a_table
	editor late <<-'X'
	echo "# theirs" >>t; sed -i "s/echo a/echo ours/" "$1"
	X
	EDITOR=./late edit t
	[[ $status == 1 && $stderr == "serverctl: t was changed by somebody else meanwhile; what was written here is in $PWD/t."* ]]
	grep -q "# theirs" t; run ! grep -q ours t
	local copy=${stderr##* }
	grep -q 'echo ours' "$copy"; rm "$copy"
	editor away <<-'X'
	mv t gone; sed -i "s/echo a/echo ours/" "$1"
	X
	EDITOR=./away edit t
	[[ $status == 1 && ! -e t ]]
	grep -q 'echo ours' "${stderr##* }"; rm "${stderr##* }"
	mv gone t; keep
	editor only <<-'X'
	echo "# more" >>t
	X
	EDITOR=./only edit t
	[[ $status == 1 && $stderr == "serverctl: t is as it was" ]]
	no_copy
}

@test "a table that cannot be replaced: 1 and why" {
	setup_editors
	mkdir d; printf 'service a { listen = unix:a\nshell = echo a\n}\n' >d/t
	if [[ $(id -u) == 0 ]]; then
		programs_for_nobody; chmod 755 d
		run --separate-stderr nobody env EDITOR="$PWD/change" "$PWD/bin/serverctl" -C none edit d/t
	else
		chmod 555 d
		EDITOR="$PWD/change" edit d/t
	fi
	[[ $status == 1 && $stderr == "serverctl: d/t: cannot make a copy beside it: "* ]]
	[[ $(ls -A d) == t ]]
	chmod 755 d
}
