# What the master itself may do, and does: few rights are enough, and few system calls are made.
load helper

# What the master of a table does that needs rights: another user, another root, a low port, an end to be made.
table_of_rights() {
	chmod 711 "$BATS_RUN_TMPDIR" .. .
	mkdir root; chmod 755 root; cp "$B/tests/witness" root/; cp "$B/tests/witness" .; chmod 755 witness root/witness
	cat >t <<-X
	service low
	{
		listen = $1:7
		user = ${2:-nobody}
		exec = $PWD/witness
	}
	service ends
	{
		listen = $1:0
		user = ${2:-nobody}
		timeout = 100ms
		exec = sleep 60
	}
	X
	chmod 644 t
}
no_rights() { # of the command, as the witness says
	local c
	for c in CapInh CapPrm CapEff CapAmb; do grep -qx "$c 0000000000000000" <<<"$output" || die "$output" || return; done
	grep -qx "regains - - -" <<<"$output"
}

@test "T40: root with five capabilities: every right that a table can need" {
	requires_root; requires setpriv
	table_of_rights 127.40.0.1
	cat >>t <<-X
	service inside
	{
		listen = 127.40.0.1:0
		user = daemon
		chroot = $PWD/root
		exec = /witness
	}
	X
	AS_ME="" WRAP="setpriv --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+kill,+net_bind_service,+sys_chroot" start_server -f t
	# setgid, setuid, kill, net_bind_service, sys_chroot
	grep -qP '^CapEff:\t00000000000404e0$' "/proc/$PID/status" || die "$(grep Cap "/proc/$PID/status")"
	run -0 "$PEER" tcp:127.40.0.1:7
	grep -qx "Uid 65534 65534 65534 65534" <<<"$output"
	no_rights
	run -0 "$PEER" "tcp:127.40.0.1:${PORTS[inside]}"; grep -qx 'top witness' <<<"$output"
	run -0 "$PEER" "tcp:127.40.0.1:${PORTS[ends]}"; [[ -z $output ]]
	wait_log 'EXIT: ends signal=15'
	run -0 timeout 10 "$SERVERCTL" -C "${CTL##*/}" reload
	[[ $output == *"3 as before"* ]]
	log_has 0 ERROR
	stop_server; [[ $STATUS == 0 ]]
}

@test "T40: another user with one capability, for the low port: his commands have none" {
	programs_for_nobody
	table_of_rights 127.40.0.2 65534
	chmod 777 .
	local nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
	AS_ME="" SERVER=$PWD/bin/server WRAP="$nobody --inh-caps=+net_bind_service --ambient-caps=+net_bind_service" start_server -f t
	chmod 711 .
	grep -qP '^CapEff:\t0000000000000400$' "/proc/$PID/status"
	run -0 "$PEER" tcp:127.40.0.2:7
	no_rights
	run -0 "$PEER" "tcp:127.40.0.2:${PORTS[ends]}"; [[ -z $output ]]
	wait_log 'EXIT: ends signal=15'
	# One command, too.
	AS_ME="" SERVER=$PWD/bin/server CONTROL=" " WRAP="$nobody --inh-caps=+net_bind_service --ambient-caps=+net_bind_service" start_server 127.40.0.2:9 "$PWD/witness"
	run -0 "$PEER" tcp:127.40.0.2:9
	no_rights
}

@test "T40: as root it cannot be read by others of its kind, and leaves no core" {
	requires_root; requires setpriv
	# Without the right to trace everything, and with the same rights, only whether it may be dumped decides.
	local few="setpriv --inh-caps=-all --bounding-set=-sys_ptrace,-perfmon,-sys_admin"
	$few sleep 60 </dev/null >/dev/null 2>&1 3>&- & local other=$!
	WRAP=$few start_server 127.0.0.1:0 echo hi
	run -0 ask; [[ $output == hi ]]
	run -0 $few head -c 1 "/proc/$other/maps"
	kill "$other"
	run ! $few head -c 1 "/proc/$PID/maps"
	[[ $output == *"Permission denied"* ]]
	run ! $few head -c 1 "/proc/$PID/environ"
	# Nor behind an upgrade.
	kill -USR2 "$PID"
	wait_log 'UPGRADE: done'
	run -0 ask; [[ $output == hi ]]
	run ! $few head -c 1 "/proc/$PID/maps"
}

@test "T40: what is installed has no rights of its own" {
	requires make
	run -0 make -s -C "$BATS_TEST_DIRNAME/.." -o all B="$B" DESTDIR="$PWD/d" PREFIX=/usr install
	[[ $(find d -type f | wc -l) -gt 5 ]]
	[[ -z $(find d -perm /6000) ]]
	! command -v getcap >/dev/null || [[ -z $(getcap -r d) ]]
}

# bats test_tags=long
@test "T40: the system calls of a master that serves are those of a kept list, over the suite" {
	requires_root; requires_tracing; requires bats
	mkdir traces
	# -D: the server keeps its number, and is not the tracer's child.
	cat >traced <<-X
	#!/bin/sh
	exec strace -D -q -o $PWD/traces/\$\$.\$(date +%N) "\$@"
	X
	chmod +x traced
	local own; own=$(tr ':' '\n' <<<"$PATH" | grep -v 'bats' | paste -sd:)	# without what this bats has put there
	cd "$BATS_TEST_DIRNAME"
	# A test may fail because all is slow; what is wanted is that many were there.
	env -i PATH="$own" HOME="$HOME" TMPDIR="${TMPDIR:-/tmp}" B="$B" WRAP="$BATS_TEST_TMPDIR/traced" BATS_TEST_TIMEOUT=120 START_LIMIT=30 NO_SHIM=1 \
		timeout 3000 bats --filter-tags '!long' 10-serve.bats 15-table.bats 2?-*.bats 30-child.bats 40-reply.bats 45-reload.bats 46-control.bats \
		47-log.bats 50-limits.bats 60-access.bats 70-times.bats 72-builtin.bats 73-status.bats 74-relay.bats 76-proxy.bats 80-exhaustion.bats \
		90-signals.bats </dev/null >"$BATS_TEST_TMPDIR/tap" 2>&1 3>&- || :
	cd "$BATS_TEST_TMPDIR"
	local ok; ok=$(grep -c '^ok' tap)
	((ok > 250)) || die "$ok" "$(grep '^not ok' tap)" || return
	# From what -r is told to an upgrade's exec: what comes in between is no start.
	awk 'FNR == 1 { on = 0 } /^write\(9, / { on = 1; next } /^execve(at)?\(.*= 0$/ { on = 0 } on && /^[a-z_0-9]+\(/ { sub(/\(.*/, ""); n[$0]++ }
		END { for (c in n) print c, n[c] }' traces/* | sort >made
	local masters; masters=$(grep -l '^write(9, ' traces/* | wc -l)
	((masters > 250)) || die "only $masters were traced" || return
	cut -d' ' -f1 made | comm -23 - <(cut -f1 "$BATS_TEST_DIRNAME/master-calls" | sort) >new
	[[ ! -s new ]] || die "made, and not in tests/master-calls, where each stands with its reason: $(tr '\n' ' ' <new)" \
		"$(grep -hF -m1 -f <(sed 's/$/(/' new) traces/* | sort -u | head -n 20)"
	figure "$masters masters, $(wc -l <made) system calls, none outside the list"
}
