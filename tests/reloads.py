"""Reloads under load, for 45-reload.bats: reloads.py COMMAND CONTROL TABLE ARGUMENT...
TOOLS is the directory of the tests' programs; the directory that it stands in is the test's own."""
import glob, os, re, subprocess, time
from drive import *

TOOLS = os.environ["TOOLS"]
HERE = os.getcwd()
WITNESS, KEEP = TOOLS + "/witness", TOOLS + "/keep"
QUIET = "log_on_success ="


def paced(n, began, rate=100):
    """No more than so many a second."""
    wait = began + n / rate - time.monotonic()
    if wait > 0:
        time.sleep(wait)


def no_loss(load, what):
    if load.lost() or load.total()["served"] < 10:
        raise Wrong("%s: %s" % (what, load.total()))


# --- the same table, another service, arguments, users: many reloads

def same(control, table, rounds, *ports):
    """Four times so many reloads, each kind with its own load of eight."""
    rounds, ports = int(rounds), [int(p) for p in ports]
    server, to = Server(control, table), ("tcp", "127.0.0.1", ports[0])

    def a(*lines):
        return service("a", "listen = 127.0.0.1:%d" % ports[0], QUIET, *lines)

    def b(i):
        return service("b", "listen = 127.0.0.1:%d" % ports[1], "exec = echo other%d" % i)

    def user(i):
        return ("root", "nobody")[i % 2]
    kinds = {
        "same table": lambda i: (a("exec = echo same"), b"same\n"),
        "other service": lambda i: (a("exec = echo same") + (b(i) if i % 2 else ""), b"same\n"),
        "own arguments": lambda i: (a("exec = echo turn %07d" % i), b"turn %07d\n" % i),
        "own user": lambda i: (a("user = " + user(i), "exec = id -un"), user(i).encode() + b"\n"),
    }
    said = []
    for name, kind in kinds.items():
        server.reload(kind(0)[0])
        began = time.monotonic()
        with Load([to], pause=0.004) as load:	# two processors have to carry the reloads, too
            for i in range(rounds):
                text, want = kind(i)
                paced(i, began)
                server.reload(text)
                if i % 2 == 0 or name.startswith("own"):
                    got = ask(to)
                    if got != want:
                        raise Wrong("%s, reload %d: %r instead of %r" % (name, i, got, want))
                if name == "other service":
                    try:
                        there = ask(("tcp", "127.0.0.1", ports[1])) == b"other%d\n" % i
                    except ConnectionRefusedError:
                        there = False
                    if there != bool(i % 2):
                        raise Wrong("%s, reload %d: the other one is %s" % (name, i, there))
            load.some()
        no_loss(load, name)
        took = time.monotonic() - began
        if os.environ.get("STRICT") and took > rounds / 100 + 1:
            raise Wrong("%s: %d reloads took %.1f s" % (name, rounds, took))
        said.append("%d in %.0f s: %d" % (rounds, took, load.total()["served"]))
    print("0 lost; " + ", ".join(said))


# --- each attribute

class Row:
    """An attribute and what its values come to. `of`: whose; `base`: what else the service has then."""

    def __init__(self, name, values, check, of="a", base=(), instead=False):
        self.name, self.values, self.check, self.of, self.base, self.instead = name, values, check, of, base, instead


class Attributes:
    # Those that are no part of it, and why.
    WITHOUT = {
        **dict.fromkeys("listen port bind interface protocol socket_type v6only".split(), "addresses: T33"),
        **dict.fromkeys("rpc_version rpc_number".split(), "a test of its own, with an rpcbind"),
        "type": "a test of its own: what kind a service is",
        "grace": "of a drain: no reload comes behind it",
        "dialect": "how the table is read: nothing of it is left in the service",
        **dict.fromkeys("libwrap mdns".split(), "without effect"),
    }

    def __init__(self, control, table, ports):
        self.server = Server(control, table)
        self.port = dict(zip("abdyze", map(int, ports)))
        self.sources = 0
        for n in "one", "two":
            os.makedirs("r." + n, exist_ok=True)
            subprocess.run(["cp", WITNESS, "r.%s/witness" % n], check=True)
            open("r.%s/%s" % (n, n), "w").close()
            with open("banner." + n, "w") as f:
                f.write(n + "\n")
            if not os.path.exists("witness." + n):
                os.link("r.%s/witness" % n, "witness." + n)
        if not os.path.exists("go"):
            os.mkfifo("go")
        os.makedirs("dev", exist_ok=True)
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if os.path.exists("dev/log"):
            os.unlink("dev/log")
        self.syslog.bind("dev/log")
        self.syslog.settimeout(20)
        self.read = {}

    # what is asked of whom

    def to(self, s):
        return ("udp" if s == "d" else "tcp"), "127.0.0.1", self.port[s]

    def witness(self, source=None):
        return facts(ask(self.to("a"), source=source))

    def echo(self, source=None, send=b"x"):
        return ask(self.to("b"), send=send, source=source, half=True)

    def hold(self, source=None):
        """A session with the echo; None: it was refused."""
        s = connect(self.to("b"), source)
        if alive(s):
            return s
        s.close()
        return None

    def new_source(self):
        self.sources += 1
        return "127.7.%d.%d" % (self.sources // 250, self.sources % 250 + 1)

    def line(self, file, word, seconds=20):
        """The next line of a log that holds the word."""
        found = []

        def there():
            with open(file) as f:
                f.seek(self.read.get(file, 0))
                for l in iter(f.readline, ""):
                    if not l.endswith("\n"):
                        return False
                    self.read[file] = f.tell()
                    if word in l:
                        found.append(l)
                        return True
            return False
        until(seconds, lambda: os.path.exists(file) and there(), "%s in %s" % (word, file))
        return found[0]

    def seen(self, *files):
        for f in files:
            if os.path.exists(f):
                self.read[f] = os.path.getsize(f)

    # the rows

    def same_fact(self, name, *wanted):
        return lambda k: (one(self.witness(), name), wanted[k])

    def limit(self, name, *values):
        wanted = [int(v.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(v[-1], 0) for v in values]
        return Row(name, values, lambda k: (int(one(self.witness(), name).split()[0]), wanted[k]))

    def variables(self, source=None):
        return dict(v.split("=", 1) for v in self.witness(source)["env"])

    def passed(self, k):
        v = self.variables()
        return ("AAA" in v, "BBB" in v), (k == 0, k == 1)

    def options(self, k):
        f = self.witness()
        return (one(f, "nodelay"), one(f, "keepalive")), (("1", "0"), ("0", "1"))[k]

    def roots(self, k):
        top = self.witness()["top"]
        return ("one" in top, "two" in top), (k == 0, k == 1)

    def errors(self, k):
        to = dict(f.split()[:2] for f in self.witness()["fd"])["2"]
        return to[:6], ("/dev/n", "socket")[k]

    def so_many(self, k, sources):
        """k + 1 are let in, one more is not."""
        held = [self.hold(s) for s in sources[:k + 2]]
        let_go(*[s for s in held if s])
        return [s is not None for s in held], [True] * (k + 1) + [False]

    def twice(self, k, source=None):
        got = [self.echo(source) == b"x" for _ in range(2)]
        return got[1], k == 0

    def prefix(self, k):
        first = self.hold("127.0.0.3")
        second = self.hold("127.0.0.4")
        let_go(*[s for s in (first, second) if s])
        return (first is not None, second is not None), (True, k == 0)

    def overload(self, k):
        first, second = self.hold(), connect(self.to("b"))
        second.sendall(b"x")
        if k == 1:
            got = ended(second)
            let_go(first)
            second.close()
            return got, True
        let_go(first)
        got = second.recv(1) == b"x"
        let_go(second)
        return got, True

    def lives(self, k, of=None):
        """Ends by itself, if it is k == 1."""
        s = connect(self.to("b"))
        if k == 1:
            got = ended(s)
            s.close()
            return got, True
        got = alive(s) and alive(s)
        let_go(s)
        return got, True

    def kill_after(self, k):
        s = connect(self.to("b"))
        pid = s.recv(64)
        self.server.ask("kill b")
        if k == 1:
            got = ended(s)
            s.close()
            return (got, pid != b""), (True, True)
        got = alive(s)
        let_go(s)
        return (got, pid != b""), (True, True)

    def hangup(self, k):
        s = connect(self.to("b"))
        pid = int(s.recv(64))
        reset(s)
        if k == 1:
            until(20, lambda: not os.path.exists("/proc/%d" % pid), "the end of a command whose client has gone")
            return True, True
        with connect(self.to("b")) as s:
            other = int(s.recv(64))
            got = os.path.exists("/proc/%d" % pid)
        for p in pid, other:
            os.kill(p, 9)
        return got, True

    def linger(self, k):
        """With `no` the end comes with the command's close, else with its end."""
        s = connect(self.to("b"))
        s.recv(64)
        if k == 1:
            got = ended(s)
            with open("go", "w") as f:
                f.write("\n")
        else:
            s.settimeout(0.03)
            try:
                got = s.recv(1) != b""
            except socket.timeout:
                got = True
            with open("go", "w") as f:
                f.write("\n")
            s.settimeout(20)
            got = got and ended(s)
        s.close()
        return got, True

    def backlog(self, k):
        said = subprocess.run(["ss", "-Hltn", "src = 127.0.0.1 and sport = :%d" % self.port["b"]],
                              capture_output=True, check=True).stdout.split()
        return said[2], (b"7", b"9")[k]

    def from_balancer(self, k, source=None):
        header = b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"
        return self.echo(source, header + b"hello")

    def session(self, k):
        a, b = tell(self.to("d"), b"\n", b"\n")
        self.server.ask("kill d")
        return a == b, k == 1

    def sensor(self, k):
        source = self.new_source()
        ask(self.to("b"), source=source)
        return ask(self.to("a"), source=source) == b"", k == 1

    def whole_limit(self, k):
        held = [self.hold() for _ in range(2)]
        n = len([s for s in held if s])
        let_go(*[s for s in held if s])
        return n == 2, k == 0

    def is_there(self, s):
        try:
            return self.echo() == b"x"
        except ConnectionRefusedError:
            return False

    def log_line(self, word, file="b.log", source=None):
        self.seen("b.log", "l.one", "l.two")
        self.echo(source)
        return self.line(file, word)

    def fail_line(self, source):
        """Of many in a minute one in a second is written."""
        def there():
            self.echo(source)
            try:
                found.append(self.line("b.log", "FAIL: b", 1.5))
            except Wrong:
                return False
            return True
        found = []
        self.seen("b.log")
        until(20, there, "FAIL: b in b.log")
        return found[0]

    def tag(self, k):
        self.echo()
        while True:
            got = self.syslog.recv(65536)
            if b"START: b" in got:
                return re.search(rb" (\w+)\[", got)[1], (b"one", b"two")[k]

    def rows(self):
        now = time.localtime()
        closed = "%02d:00-%02d:00" % ((now.tm_hour + 2) % 24, (now.tm_hour + 3) % 24)
        many = {71001, 71002, 71003}
        fact = self.same_fact
        source = "127.0.0.2"
        hold_on = "shell = echo $$; exec sleep 60"
        yield Row("exec", (WITNESS + " - one", WITNESS + " - two"),
                  lambda k: (self.witness()["arg"][-1], ("one", "two")[k]), instead=True)
        yield Row("shell", (WITNESS + " - one", WITNESS + " - two"),
                  lambda k: (self.witness()["arg"][-1], ("one", "two")[k]), instead=True)
        yield Row("server", (HERE + "/witness.one", HERE + "/witness.two"),
                  lambda k: (self.witness()["arg"][0], ("witness.one", "witness.two")[k]), instead=True)
        yield Row("server_args", ("- one", "- two"), lambda k: (self.witness()["arg"][-1], ("one", "two")[k]),
                  base=("server = " + WITNESS,), instead=True)
        yield Row("id", ("first", "second"), lambda k: (self.variables()["SERVICE"], ("first", "second")[k]))
        yield Row("redirect", ["127.0.0.1 %d" % self.port[s] for s in "yz"],
                  lambda k: (ask(self.to("a")), (b"one\n", b"two\n")[k]), instead=True)
        yield Row("send_proxy", ("no", "v1"), lambda k: (self.echo().startswith(b"PROXY TCP4 127.0.0.1 "), k == 1),
                  of="b", base=("redirect = 127.0.0.1 %d" % self.port["e"],), instead=True)
        yield Row("user", ("root", "nobody"), fact("Uid", "0 0 0 0", "65534 65534 65534 65534"), base=("groups = no",))
        yield Row("group", ("nogroup", "daemon"), fact("Gid", "65534 65534 65534 65534", "1 1 1 1"))
        yield Row("groups", ("yes", "no"),
                  lambda k: (set(map(int, one(self.witness(), "Groups").split())), (many, {71001})[k]), base=("user = many",))
        yield Row("umask", ("077", "027"), fact("Umask", "0077", "0027"))
        yield Row("nice", ("3", "7"), lambda k: (int(one(self.witness(), "nice")) - os.nice(0), (3, 7)[k]))
        yield Row("env", ("X=one", "X=two"), lambda k: (self.variables()["X"], ("one", "two")[k]))
        yield Row("passenv", ("AAA", "BBB"), self.passed)
        for name, a, b in (("as", "1G", "2G"), ("core", "1K", "2K"), ("cpu", "77", "78"), ("data", "1G", "2G"),
                           ("files", "50", "60"), ("fsize", "1M", "2M"), ("memlock", "8K", "16K"),
                           ("nproc", "9000", "9001"), ("rss", "256M", "512M"), ("stack", "1M", "2M")):
            yield self.limit("rlimit_" + name, a, b)
        yield Row("directory", ("/", "/tmp"), fact("cwd", "/", "/tmp"))
        yield Row("chroot", (HERE + "/r.one", HERE + "/r.two"), self.roots, base=("exec = /witness -",), instead=True)
        yield Row("stderr", ("null", "socket"), self.errors)
        yield Row("flags", ("NODELAY", "KEEPALIVE"), self.options)
        yield Row("sndbuf", ("64K", "100K"), fact("sndbuf", "131072", "204800"))
        yield Row("rcvbuf", ("32K", "64K"), fact("rcvbuf", "65536", "131072"))
        yield Row("banner", (HERE + "/banner.one", HERE + "/banner.two"),
                  lambda k: (ask(self.to("a"))[:4], (b"one\n", b"two\n")[k]))
        yield Row("banner_success", (HERE + "/banner.one", HERE + "/banner.two"),
                  lambda k: (ask(self.to("a"))[:4], (b"one\n", b"two\n")[k]))
        yield Row("banner_fail", (HERE + "/banner.one", HERE + "/banner.two"),
                  lambda k: (ask(self.to("a"), source=source), (b"one\n", b"two\n")[k]), base=("no_access = " + source,))
        yield Row("lookup", ("no", "yes"), lambda k: (self.variables("127.0.0.5")["REMOTE_HOST"],
                                                      ("127.0.0.5", "good.example.org")[k]))
        yield Row("only_from", ("127.0.0.1 127.0.0.2", "127.0.0.1"), lambda k: (ask(self.to("a"), source=source) != b"", k == 0))
        yield Row("no_access", ("127.0.0.9", "127.0.0.2 127.0.0.9"), lambda k: (ask(self.to("a"), source=source) != b"", k == 0))
        yield Row("deny_time", ("NEVER", "60"), self.sensor, of="b", base=("flags = SENSOR",), instead=True)
        yield Row("access_times", ("00:00-24:00", closed), lambda k: (self.echo() == b"x", k == 0), of="b")
        yield Row("instances", ("1", "2"), lambda k: self.so_many(k, [None] * 3), of="b", base=("overload = reject",))
        yield Row("per_source", ("1", "2"), lambda k: self.so_many(k, ["127.0.0.3"] * 3), of="b")
        yield Row("cps", ("1000/1s", "1/1h"), self.twice, of="b", base=("overload = reject",))
        yield Row("source_cps", ("1000/1s", "1/1h"), lambda k: self.twice(k, "127.0.0.6"), of="b")
        yield Row("source_prefix", ("32 64", "24 64"), self.prefix, of="b", base=("per_source = 1",))
        yield Row("max_load", ("100000", "0.0001"), lambda k: (self.echo() == b"x", k == 0), of="b", base=("overload = reject",))
        yield Row("overload", ("queue", "reject"), self.overload, of="b", base=("instances = 1",))
        yield Row("limit", ("100000", "1"), self.whole_limit, of="defaults", base=("overload = reject",))
        yield Row("enabled", ("a b d u y z e", "a d u y z e"), lambda k: (self.is_there("b"), k == 0), of="defaults")
        yield Row("disabled", ("u", "u b"), lambda k: (self.is_there("b"), k == 0), of="defaults")
        yield Row("disable", ("no", "yes"), lambda k: (self.is_there("b"), k == 0), of="b")
        yield Row("proxy_protocol", ("no", "yes"), lambda k: (self.from_balancer(k)[-6:], (b"\nhello", b"hello")[k]),
                  of="b", base=("proxy_from = 127.0.0.0/8",))
        yield Row("proxy_from", (source, "127.0.0.3"), lambda k: (self.from_balancer(k, source) == b"hello", k == 0),
                  of="b", base=("proxy_protocol = yes",))
        yield Row("timeout", ("1h", "50ms"), self.lives, of="b")
        yield Row("idle_timeout", ("1h", "50ms"), self.lives, of="b")
        yield Row("kill_after", ("1m", "20ms"), self.kill_after, of="b", instead=True,
                  base=("shell = trap '' TERM; echo $$; exec " + KEEP,))
        yield Row("hangup", ("ignore", "kill"), self.hangup, of="b", base=(hold_on,), instead=True)
        yield Row("linger", ("2s", "no"), self.linger, of="b", instead=True,
                  base=("shell = echo $$; exec >/dev/null 2>&1 </dev/null; read -r x <%s/go" % HERE,))
        yield Row("backlog", ("7", "9"), self.backlog, of="b")
        yield Row("wait", ("no", "yes"), lambda k: ("LISTEN_FDS=1" in facts(ask(self.to("b")))["env"], k == 1),
                  of="b", base=("exec = " + WITNESS,), instead=True)
        yield Row("session", ("no", "yes\n\tidle_timeout = 5s"), self.session, of="d")
        yield Row("mode", ("600", "660"), lambda k: (os.stat("u").st_mode & 0o777, (0o600, 0o660)[k]), of="u")
        yield Row("owner", ("root", "nobody"), lambda k: (os.stat("u").st_uid, (0, 65534)[k]), of="u")
        yield Row("log_format", ("text", "json"), lambda k: (
            self.log_line(('START: b', '"start"')[k])[0] == "{", k == 1), of="b")
        yield Row("log_type", ["FILE %s/l.%s" % (HERE, n) for n in ("one", "two")],
                  lambda k: ("START: b" in self.log_line("START", ("l.one", "l.two")[k]), True), of="b")
        yield Row("log_tag", ("one", "two"), self.tag, of="b", base=("log_type = SYSLOG daemon",))
        yield Row("log_on_success", ("PID", "PID PORT"), lambda k: (" port=" in self.log_line("START: b"), k == 1), of="b")
        yield Row("log_on_failure", ("HOST", "HOST PORT"), lambda k: (
            " port=" in self.fail_line(source), k == 1), of="b", base=("no_access = " + source,))

    # the tables

    def table(self, row, k):
        lines = {s: [] for s in "abdu"}
        of = row.of if row.of in lines else "b"
        for s, at, program in (("a", "127.0.0.1:%d" % self.port["a"], "exec = %s -" % WITNESS),
                               ("b", "127.0.0.1:%d" % self.port["b"], "exec = " + KEEP),
                               ("d", "udp:127.0.0.1:%d" % self.port["d"], "shell = while read -r x; do echo $$; done"),
                               ("u", "unix:%s/u" % HERE, "exec = " + KEEP)):
            lines[s].append("listen = " + at)
            if s != of or not row.instead:
                lines[s].append(program)
        lines[of] += row.base
        own = row.name + " = " + row.values[k]
        given = [l.split()[0] for l in lines[of]] + [row.name]
        if row.of != "defaults":
            lines[of].append(own)
        for s in "abdu":
            has = given if s == of else []
            if "user" not in has and "redirect" not in has:
                lines[s].append("user = root")
        if "log_type" not in given or of != "b":
            lines["b"].append("log_type = FILE %s/b.log" % HERE)
        if of != "a":
            lines["a"].append(QUIET)
        return "".join(service(s, *lines[s]) for s in "abdu") + \
            "".join(service(s, "listen = 127.0.0.1:%d" % self.port[s], "user = root", QUIET, "exec = " + what)
                    for s, what in (("y", "echo one"), ("z", "echo two"), ("e", KEEP))) + \
            ("defaults\n{\n\t%s\n}\n" % own if row.of == "defaults" else "")


def attributes(control, table, rounds, server, only, *ports):
    """Each attribute's two values in turn, so many times, under a load: the first who comes finds the new one."""
    rows = Attributes(control, table, ports)
    known = [l.split("\t")[0] for l in subprocess.run([server, "--attributes"], capture_output=True, check=True,
                                                      text=True).stdout.splitlines()]
    every = list(rows.rows())
    missing = set(known) - {r.name for r in every} - set(rows.WITHOUT)
    if missing or ({r.name for r in every} | set(rows.WITHOUT)) - set(known):
        raise Wrong("attributes without a row, or rows without an attribute: %s" % sorted(missing))
    served = changes = 0
    for row in every:
        if only != "all" and row.name not in only.split():
            continue
        rows.server.reload(rows.table(row, 0))
        with Load([rows.to("a"), rows.to("z")]) as load:
            for i in range(2 * int(rounds)):
                rows.server.reload(rows.table(row, i % 2))
                got, wanted = row.check(i % 2)
                if got != wanted:
                    raise Wrong("%s = %s, reload %d: %r instead of %r" % (row.name, row.values[i % 2], i, got, wanted))
                changes += 1
            load.some()
        no_loss(load, row.name)
        served += load.total()["served"]
    print("%d attributes, %d reloads, %d served, 0 lost" % (len(every), changes, served))


# --- T33: addresses

def addresses(control, table, rounds, port, other, *ports):
    """From one form of an address to another and back: on what both have nobody is lost."""
    server, rounds = Server(control, table), int(rounds)
    four, six, two = ("tcp", "127.0.0.1", int(port)), ("tcp", "::1", int(port)), ("tcp", "127.0.0.2", int(port))
    p = port

    def a(*lines, name="a"):
        return service(name, "user = root", QUIET, "exec = echo hi", *lines)

    def listens(where):
        return a("listen = " + where)
    has_six = os.path.exists("/proc/net/if_inet6")
    moves = [	# two tables; who is there in both; who is there in one only
        ("127.0.0.1, 0.0.0.0", listens("127.0.0.1:" + p), listens("tcp4:*:" + p), [four], ([], [two])),
        ("127.0.0.1, [::] dual", listens("127.0.0.1:" + p), listens("*:" + p), [four], ([], [two, six])),
        ("0.0.0.0, [::] dual", listens("tcp4:*:" + p), listens("*:" + p), [four, two], ([], [six])),
        ("[::] alone, dual", listens("tcp6:*:" + p), listens("*:" + p), [six], ([], [four])),
        ("[::1], [::] dual", listens("[::1]:" + p), listens("*:" + p), [six], ([], [four])),
        ("one address, two", listens("127.0.0.1:" + p), listens("127.0.0.1:%s 127.0.0.2:%s" % (p, p)), [four], ([], [two])),
        ("another port", listens("127.0.0.1:" + p), listens("127.0.0.1:" + other), [],
         ([four], [("tcp", "127.0.0.1", int(other))])),
        ("one port more", listens("127.0.0.1:" + p), listens("127.0.0.1:%s 127.0.0.1:%s" % (p, other)), [four],
         ([], [("tcp", "127.0.0.1", int(other))])),
        ("another name", listens("127.0.0.1:" + p), a("listen = 127.0.0.1:" + p, name="other"), [four], ([], [])),
        ("another name, everywhere", listens("*:" + p), a("listen = *:" + p, name="other"), [four, six], ([], [])),
        ("tcp4, tcp46", a("protocol = tcp4", "port = " + p), a("protocol = tcp46", "port = " + p), [four, two], ([], [six])),
        ("tcp6, tcp", a("protocol = tcp6", "port = " + p), a("protocol = tcp", "port = " + p), [six], ([], [four])),
        ("v6only", a("port = " + p, "v6only = yes"), a("port = " + p, "v6only = no"), [six], ([], [four])),
        ("bind by address, by interface", a("port = " + p, "bind = 127.0.0.1"), a("port = " + p, "interface = lo"), [four], ([], [])),
        ("port by bind and by listen", a("port = " + p, "bind = 127.0.0.1"), listens("127.0.0.1:" + p), [four], ([], [])),
    ]
    total, most = 0, 0.0
    for name, first, second, both, single in moves:
        if not has_six and (six in both or six in single[0] + single[1]):
            continue
        server.reload(first)
        with Load(both or [four], threads=8 if both else 0) as load:
            for i in range(rounds):
                server.reload((second, first)[i % 2])
                here, gone = single[(i + 1) % 2], single[i % 2]
                for to in list(both) + list(here):
                    if ask(to) != b"hi\n":
                        raise Wrong("%s, reload %d: %s is not served" % (name, i, to))
                for to in gone:
                    try:
                        connect(to).close()
                    except ConnectionRefusedError:
                        continue
                    raise Wrong("%s, reload %d: %s is still there" % (name, i, to))
            if both:
                load.some()
        if both:
            no_loss(load, name)
            total += load.total()["served"]
            most = max(most, load.longest)
    print("%d moves, each %d times: %d served, 0 lost, longest %.0f ms" % (len(moves), rounds, total, most * 1000))


# --- T34: what goes leaves its sessions alone

def sessions(control, table, rounds, *ports):
    """Removed, disabled, on another port, with five sessions each; another service is asked all the time."""
    server = Server(control, table)
    port, other, healthy = map(int, ports)
    h = service("h", "listen = 127.0.0.1:%d" % healthy, QUIET, "exec = echo hi")

    def a(at, *lines):
        return service("a", "listen = 127.0.0.1:%d" % at, "user = root", QUIET, "exec = " + KEEP, *lines)
    ways = {"removed": h, "disabled": a(port, "disable = yes") + h, "on another port": a(other) + h}
    longest = 0.0
    for name, text in ways.items():
        for i in range(int(rounds)):
            server.reload(a(port) + h)
            held = [connect(("tcp", "127.0.0.1", port)) for _ in range(5)]
            if not all(map(alive, held)):
                raise Wrong("no sessions")
            with Load([("tcp", "127.0.0.1", healthy)], threads=1, pause=0.02, expect=[b"hi\n"]) as probe:
                server.reload(text)
                server.reload()
                for at, there in ((port, False), (other, name == "on another port")):
                    try:
                        s = connect(("tcp", "127.0.0.1", at))
                        got = alive(s)
                        let_go(s)
                    except ConnectionRefusedError:
                        got = False
                    if got != there:
                        raise Wrong("%s: port %s is %s" % (name, "other" if at == other else "own", got))
                n = sum(map(alive, held))
                until(20, lambda: probe.total()["served"] > 3, "answers of the other service")
            if n != 5 or probe.lost():
                raise Wrong("%s: %d of 5 sessions live, the other service: %s" % (name, n, probe.total()))
            longest = max(longest, probe.longest)
            let_go(*held)
    if longest > (0.05 if os.environ.get("STRICT") else 1):
        raise Wrong("the other service answered after %.0f ms" % (longest * 1000))
    print("5 of 5 live, the other service's longest %.0f ms" % (longest * 1000))


# --- T35: ever new names

def names(control, table, rounds, pid, port):
    """Each table has a service of a new name, with a log, a UNIX socket and an include of its own."""
    server, rounds = Server(control, table), int(rounds)
    os.makedirs("inc", exist_ok=True)
    os.chmod("inc", 0o755)

    def size():
        with open("/proc/%s/status" % pid) as f:
            rss = int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])
        return len(os.listdir("/proc/%s/fd" % pid)), rss

    def settled():
        with open("/proc/%s/task/%s/children" % (pid, pid)) as f:
            return f.read().split() == []

    def turn(i):
        for old in glob.glob("inc/*"):
            os.unlink(old)
        with open("inc/i%d" % i, "w") as f:
            f.write(service("included%d" % i, "listen = unix:%s/i%d" % (HERE, i % 7), QUIET, "exec = echo included"))
        os.chmod("inc/i%d" % i, 0o644)
        server.reload(
            service("stays", "listen = 127.0.0.1:" + port, QUIET, "exec = echo stays") +
            service("new%d" % i, "listen = unix:%s/n%d" % (HERE, i), "exec = echo new", "log_type = FILE %s/log.%d" % (HERE, i % 50)) +
            "includedir %s/inc\n" % HERE)
        for to, want in ((("tcp", "127.0.0.1", int(port)), b"stays\n"), (("unix", "n%d" % i), b"new\n"),
                         (("unix", "i%d" % (i % 7)), b"included\n")):
            if ask(to) != want:
                raise Wrong("reload %d: %s is not served" % (i, to))
        if i > 0 and os.path.exists("n%d" % (i - 1)):
            raise Wrong("reload %d: the old socket is still there" % i)

    warm = min(100, rounds // 2)
    for i in range(rounds):
        if i == warm:
            until(20, settled)
            before = size()
        turn(i)
    until(20, settled)
    after = size()
    if after[0] > before[0] or (after[1] > before[1] + 300 and "asan" not in TOOLS):
        raise Wrong("descriptors, KiB: %s, then %s" % (before, after))
    print("%d reloads: %d descriptors, then %d; %d KiB, then %d" % (rounds, before[0], after[0], before[1], after[1]))


main({f.__name__: f for f in (same, attributes, addresses, sessions, names)})
