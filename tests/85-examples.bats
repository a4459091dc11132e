load helper

# The examples of etc/examples, each served as the sample table says and asked as its head says.
# EXAMPLE_SH and EXAMPLE_PATH: another shell, other tools (busybox sh).

setup_examples() {
	EX=$BATS_TEST_DIRNAME/../etc/examples
	mkdir -p bin
	ln -sf "$(realpath "$CLIENT")" bin/client
	: >t
}

# entry NAME [SED...]: adds the sample table's service to t, on ports of the kernel's choice
entry() {
	local name=$1; shift
	[[ -n ${EX-} ]] || setup_examples
	sed -n "/^service $name\$/,/^}/p" "$BATS_TEST_DIRNAME/../etc/server.conf" |
		sed -e "s|/tmp/|$PWD/|g" -e "s|%lo:[0-9]*|%lo:0|" -e 's#\(tcp\|udp\):[0-9]\{4\}\b#\1:127.0.0.1:0#g' \
			-e 's|^ *port *= .*|listen = 127.0.0.1:0|' -e "s|change-me|${SECRET-not told}|" \
			"$@" -e "s|\(exec *= \)/usr|\1${EXAMPLE_SH-} /usr|" -e "s|/usr/local/share/examples/server|$EX|g" >one
	grep -q "^service" one || die "the sample table has no service $name" || return
	cat one >>t
}
serve() {
	start_server -f t -o "env+=PATH=$PWD/bin:${EXAMPLE_PATH:+$EXAMPLE_PATH:}/usr/bin:/bin" "$@" || return
	local a
	UDP=
	for a in "${ADDRESSES[@]}"; do [[ $a != udp:* ]] || UDP=$a; done
}
# asked SERVICE MESSAGE...; sent SERVICE: standard input
asked() { local s=$1; shift; run timeout 10 "$CLIENT" "127.0.0.1:${PORTS[$s]}" "$@"; }
sent() { run timeout 10 "$CLIENT" "127.0.0.1:${PORTS[$1]}"; }
answers() { [[ $output == "$1" ]] || die "not \"$1\" but" "$output"; }
# asked_udp LINES CLIENT-ARGUMENT...: a slow machine gets another, longer try.
asked_udp() {
	local n=$1 w; shift
	for w in 0.3 2 8; do
		run "$CLIENT" -w $w "$@"
		[[ $status != 0 || ${#lines[@]} -lt $n ]] || return 0
	done
	die "no answer to $*" "$output"
}
# No answer comes to that datagram; to one after it there comes one, so the first was looked at.
silent_udp() { run -1 "$CLIENT" -w 0.2 "$UDP" "$1"; [[ -z $output ]]; }
zeros() { head -c "$1" /dev/zero | tr '\0' "${2:-0}"; }

@test "every example has a line in the sample table, in README and here, and says how to serve it" {
	setup_examples
	for f in "$EX"/*; do
		n=${f##*/}
		[[ -x $f && $(head -n 1 "$f") == '#!/bin/sh' ]] || die "$f: not to be executed"
		head -n 8 "$f" | grep -q '^#   table: ' || die "$f: no table line"
		head -n 8 "$f" | grep -q '^#   client: ' || die "$f: no client line"
		grep -qE "^service $n\$" "$EX/../server.conf" || die "$n: not in the sample table"
		grep -qF "| \`$n\`" "$EX/../../README.md" || die "$n: not in README"
		grep -q "entry $n" "$BATS_TEST_FILENAME" || die "$n: not tested"
	done
	# What README tells to type is what the sample table serves and what the examples say.
	grep -oE '(client|localhost|unix:|fifo:|udp:)[^|`]*' "$EX/../../README.md" | grep -oE 'localhost:10[0-9]+|/tmp/hello\.[a-z]+|239[^ ]*' |
		sort -u | while read -r a; do
			a=${a#localhost:}
			grep -qF "$a" "$EX/../server.conf" || die "README: $a is not in the sample table" || return
		done
}

@test "date and upper: what comes with the system, and the example, do the same" {
	entry date; entry upper
	sed 's/^service \(.*\)/service my-\1/; s|server = /bin/date|exec = '"${EXAMPLE_SH-} $EX"'/date|; s|shell = .*|exec = '"${EXAMPLE_SH-} $EX"'/upper|' t >u
	cat u >>t
	serve
	for s in date my-date; do asked $s x; [[ $status == 0 && $output == *20[0-9][0-9]* ]]; done
	for s in upper my-upper; do
		asked $s hello world; [[ $status == 0 ]]; answers "HELLO WORLD"
		asked $s '$(id) `id` %s \n'; answers '$(ID) `ID` %S \N'
	done
	head -c 3000000 /dev/urandom >big
	"$CLIENT" "127.0.0.1:${PORTS[my-upper]}" <big >got; tr '[:lower:]' '[:upper:]' <big | cmp - got
}

@test "draw: a number between the bounds, by TCP and by UDP" {
	entry draw; serve
	for _ in 1 2 3 4 5 6 7 8; do
		asked draw 1 6; [[ $status == 0 && $output == [1-6] ]]
		asked draw -3 -2; [[ $output == -[23] ]]
	done
	asked draw 5 5; answers 5
	asked draw 008 009; [[ $output == [89] ]]
	asked draw -999999 999999; [[ $output =~ ^-?[0-9]{1,6}$ ]]
	sent draw < <(printf '7 7\r\n'); answers 7
	asked_udp 1 "$UDP" 1 6; [[ $output == [1-6] ]]
}

@test "draw: anything else is refused, and as a datagram not answered" {
	entry draw; serve
	for m in '' '6 1' 1 '1 6 7' '1 x' '0x1 0x6' '1 1000000' '1.5 2' '-- 2' '- -' '1 6;id' '$(id) 6' '`id` 6' '* *' '1e1 20' \
		'"1" 6' '+1 6' 'a[$(id)] 3' '%s %n'; do
		asked draw "$m"; answers "send two bounds: LOW HIGH"
	done
	sent draw </dev/null; answers "send two bounds: LOW HIGH"
	sent draw < <(zeros 3000000); answers "send two bounds: LOW HIGH"
	sent draw < <(head -c 1000 /dev/urandom); answers "send two bounds: LOW HIGH"
	# Its own answer is none that it answers; nor is that of maximum.
	for m in 4 'maximum 4' '6 1' "$(zeros 9000)"; do silent_udp "$m"; done
	asked_udp 1 "$UDP" 3 3; answers 3
}

@test "maximum: the greatest of the numbers, by TCP and by UDP" {
	entry maximum; serve
	asked maximum 3 14 -15; [[ $status == 0 ]]; answers "maximum 14"
	asked maximum -3 -14 -15; answers "maximum -3"
	sent maximum < <(printf '1\r\n\r\n 999999999999999\t2\n999999999999998'); answers "maximum 999999999999999"
	sent maximum < <(seq 1 11000; echo 5); answers "maximum 11000"
	asked maximum 9 10; answers "maximum 10"
	asked_udp 1 "$UDP" 3 14 -15; answers "maximum 14"
	asked_udp 1 "$UDP" "$(seq 1 11000 | head -c 53000)"; [[ $output == "maximum 10"* ]]
}

@test "maximum: anything else is refused, and as a datagram not answered" {
	entry maximum; serve
	for m in '' x '1 x' 0x10 1e9 inf nan -nan 1.5 + - -- '1 -' 1234567890123456 '$(id)' '1;id' '*' '%d' $'\x01' 'maximum 3'; do
		asked maximum "$m"; answers "send numbers"
	done
	sent maximum </dev/null; answers "send numbers"
	sent maximum < <(zeros 70000); answers "send numbers"
	sent maximum < <(yes 1 | head -c 3000000); answers "send numbers"
	sent maximum < <(head -c 100000 /dev/urandom); answers "send numbers"
	for m in 'maximum 3' 'send numbers' "$(zeros 60000)"; do silent_udp "$m"; done
	asked_udp 1 "$UDP" 3; answers "maximum 3"
}

@test "copy: the whole file, whatever the client sends; of a missing one only the log tells" {
	head -c 3000000 /dev/urandom >data
	entry copy -e "s|\(/copy\) .*|\1 $PWD/data|"
	sed "s/service copy/service none/; s|$PWD/data|$PWD/none|" one >>t
	serve
	"$CLIENT" "127.0.0.1:${PORTS[copy]}" </dev/null >got; cmp data got
	"$CLIENT" "127.0.0.1:${PORTS[copy]}" ../../../etc/passwd >got; cmp data got
	"$CLIENT" "127.0.0.1:${PORTS[copy]}" <data >got; cmp data got
	asked none x; [[ -z $output ]]
	wait_log "STDERR: none .*$PWD/none"
}

@test "key and check: the key that one gives the other takes, within a minute, from that address" {
	SECRET="a secret's \$(id)"
	SECRET='s3kr:it' entry key; SECRET='s3kr:it' entry check
	sed -n '/^service check/,/^}/p' t | sed 's/service check/service other/; s/s3kr:it/another/' >u; cat u >>t
	sed 's/service other/service unset/; s/another/change-me/' u >>t
	serve
	asked key; key=$output; [[ $status == 0 && $key =~ ^[0-9]{10}-[0-9a-f]{64}$ ]]
	asked check "$key"; [[ $status == 0 ]]; answers welcome
	run "$CLIENT" -s 127.0.0.2 "127.0.0.1:${PORTS[check]}" "$key"; answers "wrong key"
	asked other "$key"; answers "wrong key"
	asked unset "$key"; answers "this service has no secret yet"
	until=${key%%-*} mac=${key#*-}
	for m in '' - x "$until" "$until-" "-$mac" "$((until + 1))-$mac" "0$until-$mac" "$until-${mac%?}" "$until-${mac}0" "$until-$mac x" \
		" $until-$mac" "$until-${mac^^}" "*-*" "$until-*" "999999999999-$mac" '$(id)-`id`' "$(zeros 3000)" '%s%s%s%n-1'; do
		[[ $m != "$key" ]] || continue
		asked check "$m"; answers "wrong key"
	done
	sent check </dev/null; answers "wrong key"
	sent check < <(head -c 1000000 /dev/urandom); answers "wrong key"
	# One whose minute is over, signed as the service does.
	sum() { local s; s=$(sha256sum); echo "${s%% *}"; }
	signed() { local i; i=$(printf 's3kr:it 127.0.0.1 %s' "$1" | sum); printf 's3kr:it %s' "$i" | sum; }
	asked check "$((until - 59))-$(signed $((until - 59)))"; [[ $output == welcome || $output == "too late" ]]
	asked check "1000000000-$(signed 1000000000)"; answers "too late"
}

@test "command: date, list, a block of a file" {
	mkdir dir dir/sub
	seq 1000 >dir/numbers; echo deep >dir/sub/file; head -c 2000 /dev/urandom >dir/bytes
	entry command -e "s|\(/command\) .*|\1 $PWD/dir|"; serve
	asked command date; [[ $status == 0 && $output == *20[0-9][0-9]* ]]
	asked command list; answers $'bytes\nnumbers\nsub'
	for n in 0 1 3; do
		"$CLIENT" "127.0.0.1:$PORT" block bytes $n >got; dd if=dir/bytes bs=512 skip=$n count=1 2>/dev/null | cmp - got
		[[ -s got ]]
	done
	"$CLIENT" "127.0.0.1:$PORT" block bytes 0001 >got; dd if=dir/bytes bs=512 skip=1 count=1 2>/dev/null | cmp - got
	asked command block sub/file 0; answers deep
	asked command block numbers 999999999; answers ""
	sent command < <(printf 'block sub/file 0\r\n'); answers deep
}

@test "command: no way out of the directory, and no other command" {
	mkdir dir dir/sub; echo in >dir/file; echo SECRET >out; echo SECRET >dir/.hidden
	ln -s ../out dir/link; ln -s .. dir/up; ln -s file dir/inside; ln -s /etc dir/sub/etc; mkfifo dir/fifo
	entry command -e "s|\(/command\) .*|\1 $PWD/dir|"; serve
	for f in ../out /etc/passwd "$PWD/out" sub/../../out ./file file/ file/. sub//x sub/./../file link up/out inside sub/etc/passwd \
		.hidden . .. / sub fifo nothere -file 'file;id' '$(id)' '`id`' '*' 'fil?' 'if=/etc/passwd' '~root' file$'\x01' %s \
		'fi\le' 'up/dir/file' "sub/$(zeros 180 a)"; do
		asked command block "$f" 0; answers "no such file"
	done
	for m in '' id 'date;id' 'date -u' 'date 1' 'list /' 'list -l' block 'block file' 'block file -1' 'block file 1x2' 'block file 0x1' 'block file 1K' \
		'block file 0 0' 'block file 9999999999' 'DATE' '$(id)' "$(zeros 3000)"; do
		asked command "$m"; answers "date, list, or block FILE N"
	done
	sent command < <(head -c 1000000 /dev/urandom); answers "date, list, or block FILE N"
	sent command </dev/null; answers "date, list, or block FILE N"
	asked command block file 0; answers in
}

@test "fetch: the page's body, and only that of the page in the table" {
	head -c 300000 /dev/urandom >body
	setup_examples
	cat >>t <<-X
	service page { listen = 127.0.0.1:0
	shell = cat >$PWD/request; printf 'HTTP/1.1 200 OK\r\nX: y\r\n\r\n'; cat $PWD/body
	}
	service missing { listen = 127.0.0.1:0
	shell = printf 'HTTP/1.0 404 Not \033[31mFound\r\n\r\nSECRET\n'
	}
	service endless { listen = 127.0.0.1:0
	shell = printf 'HTTP/1.0 200 OK\r\n\r\n'; yes
	}
	service noise { listen = 127.0.0.1:0
	shell = yes
	}
	X
	serve
	pages=$PID; declare -A at; for s in page missing endless noise; do at[$s]=${PORTS[$s]}; done
	: >t
	for s in page missing endless noise; do
		entry fetch -e "s/service fetch/service $s/; s|localhost:1026 /|127.0.0.1:${at[$s]} /a?b|"
	done
	entry fetch -e 's|localhost:1026|127.0.0.1:1|'
	serve
	"$CLIENT" "127.0.0.1:${PORTS[page]}" </dev/null >got; cmp body got
	diff <(printf 'GET /a?b HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "${at[page]}") request
	asked page http://127.0.0.1:1/ x; cmp body <("$CLIENT" "127.0.0.1:${PORTS[page]}" 'GET / HTTP/1.0')
	asked missing x; [[ -z $output ]]
	wait_log 'STDERR: missing .*fetch: 127.0.0.1:[0-9]*: no page: HTTP/1.0 404 Not \[31mFound$'
	asked fetch x; [[ -z $output ]]
	wait_log 'STDERR: fetch .*cannot connect'
	[[ $(timeout 20 "$CLIENT" "127.0.0.1:${PORTS[endless]}" </dev/null | wc -c) == 999981 ]]
	asked noise x; [[ -z $output ]]
	# From the shell, and with what is no address.
	PATH=$PWD/bin:$PATH
	run -0 ${EXAMPLE_SH-} "$EX/fetch" "127.0.0.1:${at[page]}" /
	for a in $'/\r\nX: y' '/a b' $'/\xff'; do
		run -2 ${EXAMPLE_SH-} "$EX/fetch" "127.0.0.1:${at[page]}" "$a"; answers "fetch: not an address"
	done
	run -2 ${EXAMPLE_SH-} "$EX/fetch" "-s 1" /
	run -1 ${EXAMPLE_SH-} "$EX/fetch" "127.0.0.1:${at[missing]}" /
}

@test "relay: lines with the word do not pass, control characters do not come back" {
	entry upper
	cat >>t <<-X
	service colour { listen = 127.0.0.1:0
	shell = cat; printf 'a\033[31mb\007c\r\td\0e\177f\n'
	}
	X
	serve
	upper=${PORTS[upper]} colour=${PORTS[colour]}; : >t
	entry relay -e "s|localhost:1025|127.0.0.1:$upper|"
	entry relay -e "s|localhost:1025|127.0.0.1:$colour|; s/service relay/service clean/"
	entry relay -e "s|localhost:1025|127.0.0.1:1|; s/service relay/service nobody/"
	serve
	sent relay < <(printf 'one\na secret\nthree\n'); [[ $status == 0 ]]; answers $'ONE\nTHREE'
	sent relay < <(printf 'sec\0ret\nsecret'); answers ""
	asked relay '$(id) `id` %s'; answers '$(ID) `ID` %S'
	sent clean </dev/null; answers $'a[31mbc\tdef'
	[[ $(yes 123456789 | head -c 3000000 | timeout 10 "$CLIENT" "127.0.0.1:${PORTS[relay]}" | wc -c) == 1000000 ]]
	asked nobody x; [[ -z $output ]]
	wait_log 'STDERR: nobody .*cannot connect'
}

@test "hello by a UNIX socket and by a named pipe" {
	entry hello -e 's/udp:[^ ]*//'; serve
	run -0 "$CLIENT" "unix:$PWD/hello.sock" Ada; answers "hello, Ada, from hello"
	for m in '' 'A B' 'hello, Ada' '$(id)' '../x' '%n%s' $'\033[31m' "$(zeros 33)" "$(zeros 3000)"; do
		run "$CLIENT" "unix:$PWD/hello.sock" "$m"; answers 'who?'
	done
	"$CLIENT" "fifo:$PWD/hello.fifo" Ada
	wait_log 'STDERR: hello .*hello, Ada, from hello$'
	for m in '' '$(id)' '%n%s' $'\033[31m' "$(zeros 33)"; do timeout 10 "$CLIENT" "fifo:$PWD/hello.fifo" "$m"; done
	zeros 200000 % | timeout 10 "$CLIENT" "fifo:$PWD/hello.fifo"
	timeout 10 printf 'Bob\nEve\r\n' >"hello.fifo"
	wait_log 'hello, Bob'; wait_log 'hello, Eve, from hello$'
	[[ $(count_log 'STDERR') == 3 ]]
	stop_server; [[ ! -e hello.sock && ! -e hello.fifo ]]
}

@test "hello to a multicast group: both receivers answer, each from its own address" {
	entry hello -e 's#unix:[^ ]* fifo:[^ ]*##; s/service hello/service one/'; serve
	[[ -n $UDP ]] || ! logged 'cannot join' || skip "the kernel lets nobody join a group on lo"
	[[ $UDP == udp:239.255.10.24%lo:* ]]
	group=$UDP
	: >t; entry hello -e 's#unix:[^ ]* fifo:[^ ]*##; s/service hello/service two/' -e "s|%lo:0|%lo:${group##*:}|"; serve
	for from in '' '-s 127.0.0.1'; do
		asked_udp 2 $from "$group" Ada
		[[ ${#lines[@]} == 2 && $output == *"hello, Ada, from one"* && $output == *"hello, Ada, from two"* ]] || die "$output"
	done
	# What they say is no name: they do not greet each other for ever.
	for m in 'hello, Ada, from one' 'who?' '$(id)' ''; do
		run -1 "$CLIENT" -w 0.2 "$group" "$m"; [[ -z $output ]]
	done
	asked_udp 1 -v "$group" Eve
	[[ $output == *"connected to udp:239.255.10.24:"* ]]
	run -1 "$CLIENT" "udp:239.255.10.24%nosuch:1" x; [[ $output == *"No such device" ]]
}
