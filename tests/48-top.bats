# serverctl top: on a terminal of its own, whose screen is kept here.
load helper

# screen STEPS: runs top at a terminal of 24 lines and 100 columns, as the python lines of standard
# input say. There: wait(TEXT) for it on the screen, shows(TEXT), key(K), size(ROWS, COLUMNS), lines(), over().
screen() {
	requires python3
	{ cat <<-'X'; cat; } >screen.py
	import fcntl, os, pty, re, select, signal, struct, sys, termios, time
	name, told = os.pipe(); go, goes = os.pipe()
	pid, fd = pty.fork()
	if pid == 0:
	    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
	    os.write(told, os.ttyname(0).encode()); os.read(go, 1)
	    os.execv(sys.argv[1], sys.argv[1:])
	own = os.open(os.read(name, 100), os.O_RDWR | os.O_NOCTTY)
	before = termios.tcgetattr(own)
	os.write(goes, b"x")
	raw = b""; rows = {}; row = 0; col = 0; drawn = 0
	def feed(data):		# what top writes: home, clear to the end of line or screen, colours, text
	    global raw, row, col, drawn
	    raw += data
	    for part in re.findall(rb"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", data):
	        if part == b"\x1b[H": row = col = 0; drawn += 1
	        elif part == b"\r": col = 0
	        elif part == b"\n": row += 1
	        elif part == b"\x1b[K": rows[row] = rows.get(row, "")[:col]
	        elif part == b"\x1b[J":
	            rows[row] = rows.get(row, "")[:col]
	            for i in [i for i in rows if i > row]: del rows[i]
	        elif part[:1] != b"\x1b":
	            rows[row] = rows.get(row, "")[:col].ljust(col) + part.decode(); col += len(part)
	def read(limit):
	    if not select.select([fd], [], [], limit)[0]: return True
	    try: data = os.read(fd, 65536)
	    except OSError: return False
	    feed(data)
	    return bool(data)
	def lines(): return [rows.get(i, "") for i in range(max(rows, default=-1) + 1)]
	def shows(text): return any(text in l for l in lines())
	def until(what, limit=20):
	    end = time.monotonic() + limit
	    while not what():
	        assert time.monotonic() < end, ("not seen", lines(), raw[-300:])
	        if not read(.05): assert what(), ("ended", raw[-600:])
	def wait(text): until(lambda: shows(text))
	def key(k):
	    seen = drawn; os.write(fd, k.encode())
	    if k not in "q\x03": until(lambda: drawn > seen)
	def size(r, c):
	    rows.clear(); seen = drawn
	    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", r, c, 0, 0))
	    until(lambda: drawn > seen)
	def over(limit=20):
	    end = time.monotonic() + limit
	    while True:
	        p, status = os.waitpid(pid, os.WNOHANG)
	        if p: break
	        assert time.monotonic() < end, "it does not end"
	        read(.05)
	    while read(.05) and select.select([fd], [], [], .05)[0]: pass
	    assert termios.tcgetattr(own)[:6] == before[:6], "the terminal is not as it was"
	    assert raw.count(b"\x1b[?1049h") == raw.count(b"\x1b[?1049l") and raw.count(b"\x1b[?25l") == raw.count(b"\x1b[?25h"), raw
	    assert raw.rfind(b"\x1b[?1049l") > raw.rfind(b"\x1b[?1049h") or b"1049" not in raw
	    return os.waitstatus_to_exitcode(status)
	X
	timeout 50 python3 screen.py "$SERVERCTL" -C "${CTL##*/}" top
}

a_table() {
	cat >t <<-'X'
	service one { listen = 127.0.0.1:0
		shell = echo up; cat
	}
	service two { listen = unix:two
		exec = cat
	}
	X
	chmod 644 t
	start_server -f t
}

@test "top draws the server, its services and the keys; q ends it and gives the screen back" {
	a_table
	screen <<-'X'
	wait("server "); wait("q quits"); wait("SERVICE"); wait("STARTED")
	assert lines()[0].startswith("server "), lines()
	while " 00:00:00 " in lines()[0]: read(.05)	# how long it has run
	assert b"\x1b[?1049h" in raw and b"\x1b[?25l" in raw
	now = termios.tcgetattr(own)
	assert not now[3] & (termios.ICANON | termios.ECHO)
	assert now[6][termios.VSUSP] == b"\0", "stopped, it would leave its screen to the shell"
	key("q")
	assert over() == 0
	X
}

@test "a row for each service, with what it does" {
	a_table
	"$PEER" -t 30000 "tcp:127.0.0.1:$PORT" >held 3>&- & local p=$!
	until_true 5 test -s held
	"$PEER" -s $'snapshot\n' "unix:${CTL##*/}" | grep -q '^o service'
	screen <<-'X'
	wait("two"); wait("one")
	row = next(l for l in lines() if l.startswith("one")).split()
	assert row[1:3] == ["listening", "1"], row
	key("n")
	order = [l.split()[0] for l in lines()[3:] if l]
	assert order == ["one", "two"], order
	key("c"); wait("CONNECTION"); wait("127.0.0.1")
	key("q")
	assert over() == 0
	X
	kill "$p"; wait "$p" || :
}

@test "where each listens, why some were refused and the last error, as status tells them" {
	cat >t <<-X
	service closed { listen = 127.0.0.1:0
		exec = cat
		no_access = 127.0.0.0/8
	}
	service broken { listen = 127.0.0.1:0
		exec = /dev/null
	}
	X
	chmod 644 t; start_server -f t
	run "$PEER" "tcp:127.0.0.1:${PORTS[closed]}"
	run "$PEER" "tcp:127.0.0.1:${PORTS[broken]}"
	wait_log 'ERROR: broken cannot execute'
	screen <<-X
	size(24, 200)
	wait("closed: refused: address 1")
	assert shows(" ago: cannot execute") and any(l.startswith("broken: ") for l in lines()), lines()
	assert any(l.rstrip().endswith(" tcp:127.0.0.1:${PORTS[closed]}") and l.startswith("closed ") for l in lines()), lines()
	size(5, 80)
	assert len(lines()) <= 5 and not shows("refused: address"), lines()
	key("q")
	assert over() == 0
	X
}

@test "rows: order by each key, limits, large numbers, the rate since the last picture" {
	# Something else answers, so that the numbers are known.
	cat >answer <<-'X'
	#!/bin/sh
	read -r line; [ "$line" = snapshot ] || exit 1
	n=$(cat n); echo $((n + 1)) >n
	t='	'
	echo "o server${t}serving${t}93784"
	echo "o service${t}1${t}aa${t}listening${t}5${t}-${t}100${t}7${t}0${t}999${t}123456789"
	echo "o service${t}2${t}bb${t}paused${t}9${t}10${t}$((n * 1000))${t}1${t}3${t}0${t}0"
	echo "o service${t}3${t}aa${t}disabled${t}0${t}-${t}90000${t}2${t}1${t}0${t}0"
	echo "o service${t}4${t}a-service-with-a-name-longer-than-every-column${t}faulty${t}1${t}-${t}0${t}0${t}2${t}0${t}0"
	echo "o connection${t}17${t}aa${t}4242${t}192.0.2.7${t}12${t}3${t}-${t}20000"
	echo "o something new${t}of a later server"
	echo "o server"
	echo "x 0"
	X
	chmod +x answer; echo 1 >n
	CONTROL=" " start_server -q -o directory="$PWD" unix:other ./answer
	CTL=other screen <<-'X'
	def words(i): return ((lines() + [""] * 7)[i].split() + [""] * 10)[:10]
	def ids(): return [words(i)[0] + words(i)[1][:1] for i in range(3, 7)]
	wait("serving for 1d 02:03:04   4 services   15 live"); wait("10 refused   6 failed")
	key("l"); until(lambda: ids()[:2] == ["bbp", "aal"])
	key("s"); until(lambda: ids()[0] == "aad")
	key("x"); until(lambda: ids()[:2] == ["aal", "aad"])
	key("f"); until(lambda: ids()[0] == "bbp")
	key("n"); until(lambda: ids()[0].startswith("a-service") and ids()[3] == "bbp")
	key("l")
	until(lambda: words(3)[2:4] == ["9", "10"])
	until(lambda: words(4)[2:4] == ["5", "-"] and words(4)[-2:] == ["999", "118M"])
	key("r"); until(lambda: drawn > 8 and lines()[3].startswith("bb"))
	def rate(): return float(words(3)[5] or 0)
	until(lambda: 100 < rate() <= 500)
	key("c"); wait("192.0.2.7")
	until(lambda: words(3)[:8] == ["17", "aa", "4242", "192.0.2.7", "12", "3", "-", "20K"])
	key("q")
	assert over() == 0
	X
}

@test "the keys of the order: each is named, c changes to the connections and back, others mean nothing" {
	a_table
	screen <<-'X'
	wait("by rate ")
	for k, name in zip("lsxfnr", ("live", "started", "refused", "failed", "name", "rate")):
	    key(k); wait("by " + name + " ")
	key("c"); wait("CONNECTION"); assert shows("c shows services") and not shows("REFUSED")
	key("c"); wait("REFUSED"); assert shows("c shows connections")
	for k in "Z7 \t\x1b": key(k)
	assert shows("by rate ")
	key("q")
	assert over() == 0
	X
}

@test "a new size is taken at once: no line is longer than the screen, nor more lines" {
	a_table
	screen <<-'X'
	wait("SERVICE")
	for r, c in ((10, 40), (2, 20), (1, 1), (50, 300), (24, 80)):
	    size(r, c)
	    read(.2)
	    assert len(lines()) <= r and max(map(len, lines())) <= c, (r, c, lines())
	    if c <= 40: assert len(lines()[0]) == c, (c, lines()[0])
	key("q")
	assert over() == 0
	X
}

@test "it is drawn again and again by itself" {
	a_table
	screen <<-'X'
	until(lambda: drawn >= 3)
	key("q")
	assert over() == 0
	X
}

@test "^C, TERM and HUP end it and give the terminal back; ^Z does not stop it" {
	a_table
	screen <<-'X'
	wait("SERVICE"); os.write(fd, b"\x1a"); key("l"); wait("by live "); os.write(fd, b"\x03")
	assert over() == 0
	X
	local sig
	for sig in SIGTERM SIGHUP SIGQUIT; do
		screen <<-X
		wait("SERVICE"); os.kill(pid, signal.$sig)
		assert over() == 0
		X
	done
}

@test "a server that does not answer does not hold it: ^C ends it" {
	a_table
	# Stopped when the first picture is there; the next one is asked for and never comes.
	kill -CONT "$PID"
	screen <<-X
	wait("SERVICE"); os.kill($PID, signal.SIGSTOP)
	n = drawn; end = time.monotonic() + 3
	while time.monotonic() < end: read(.1)
	os.write(fd, b"\x03")
	try: assert over() == 0
	finally: os.kill($PID, signal.SIGCONT)
	X
}

@test "the server's end is its end: 1, the reason, and the terminal is as it was" {
	a_table
	screen <<-X
	wait("SERVICE"); os.kill($PID, signal.SIGTERM)
	assert over() == 1
	last = raw[raw.rindex(b"1049l"):]
	assert b"serverctl: ctl.1: " in last, last
	X
	wait_end
	screen <<-'X'
	assert over() == 1
	assert b"1049" not in raw and b"no server answers there" in raw, raw
	X
}

@test "without a terminal: 1 and what does instead" {
	a_table
	run --separate-stderr "$SERVERCTL" -C "$CTL" top </dev/null
	[[ $status == 1 && -z $output && $stderr == "serverctl: top needs a terminal; status shows the same once" ]]
}
