"""What the drivers of the longer tests share: the control socket, the table, clients, a load."""
import json, os, socket, struct, sys, threading, time


class Wrong(Exception):
    pass


def until(seconds, condition, what="it"):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Wrong("not within %s s: %s" % (seconds, what))
        time.sleep(0.005)


# --- the server

class Server:
    """A running one, by its control socket; and its table, if it is to be written."""

    def __init__(self, control, table=None):
        self.control, self.table = control, table

    def ask(self, line):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(self.control)
        s.sendall(line.encode() + b"\n")
        got = receive(s).decode().splitlines()
        s.close()
        if not got or got[-1][:2] != "x ":
            raise Wrong("no answer to %s: %r" % (line, got))
        return int(got[-1][2:]), "\n".join(l[2:] for l in got[:-1])

    def write(self, text):
        with open(self.table + ".new", "w") as f:
            f.write(text)
        os.chmod(self.table + ".new", 0o644)
        os.rename(self.table + ".new", self.table)

    def reload(self, text=None):
        """Comes back when the new table is in force."""
        if text is not None:
            self.write(text)
        status, said = self.ask("reload")
        if status != 0:
            raise Wrong("the reload said: " + said)
        return said

    def status(self):
        return json.loads(self.ask("status-json")[1])

    def addresses(self):
        """{service: address of its first listener, as ask() and tell() take it}"""
        return {s["id"]: address(s["listeners"][0]) for s in self.status()["services"] if s["listeners"]}


def service(name, *lines):
    return "service %s\n{\n%s}\n" % (name, "".join("\t%s\n" % l for l in lines if l))


def address(name):
    kind, where = name.split(":", 1)
    if kind in ("tcp", "tcp4", "tcp6", "udp"):
        host, port = where.rsplit(":", 1)
        return kind[:3], {"*": "127.0.0.1"}.get(host, host.strip("[]")), int(port)
    return kind, where


# --- clients

def receive(s):
    got = b""
    while True:
        d = s.recv(65536)
        if not d:
            return got
        got += d


def connect(to, source=None, timeout=30):
    kind = to[0]
    if kind.startswith("unix"):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if kind == "unix-seqpacket" else socket.SOCK_STREAM)
        where = to[1]
    else:
        s = socket.socket(socket.AF_INET6 if ":" in to[1] else socket.AF_INET)
        where = to[1:]
        if source is not None:
            s.bind((source, 0))
    s.settimeout(timeout)
    try:
        s.connect(where)
    except BaseException:
        s.close()
        raise
    return s


def ask(to, send=b"", source=None, half=False):
    """What comes to the end of the connection; b"" also where it is refused with a reset."""
    with connect(to, source) as s:
        try:
            if send:
                s.sendall(send)
            if half:
                s.shutdown(socket.SHUT_WR)
            return receive(s)
        except (ConnectionResetError, BrokenPipeError):
            return b""


def tell(to, *datagrams, timeout=20):
    """The reply to each datagram, all of them from one port."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(timeout)
    s.connect(to[1:])
    replies = []
    for d in datagrams:
        s.send(d)
        replies.append(s.recv(65536))
    s.close()
    return replies


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def alive(s):
    """Does an echo at the other end answer?"""
    try:
        s.sendall(b"x")
        return s.recv(1) == b"x"
    except (ConnectionResetError, BrokenPipeError):
        return False


def ended(s):
    """The end of the stream, or a reset."""
    try:
        return receive(s) is not None
    except ConnectionResetError:
        return True


def let_go(*many):
    """Ends sessions with an echo, and waits until each has ended there too."""
    for s in many:
        try:
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    for s in many:
        ended(s)
        s.close()


def facts(text):
    """What tests/witness said: {name: [value, …]}"""
    f = {}
    lines = text.decode().splitlines()
    if not lines or lines[-1] != "end":
        raise Wrong("no witness: %r" % text[-200:])
    for l in lines[:-1]:
        name, _, value = l.partition(" ")
        f.setdefault(name, []).append(" ".join(value.split()))
    return f


def one(f, name):
    return f[name][0]


# --- a load

class Load:
    """So many threads that connect to the targets in turn, read to the end, and come again."""

    KINDS = ("served", "refused", "reset", "empty", "late", "wrong")

    def __init__(self, targets, threads=8, expect=None, pause=0.001):
        self.targets, self.expect, self.pause = targets, expect, pause
        self.over = False
        self.longest = 0.0
        self.count = [dict.fromkeys(self.KINDS, 0) for _ in range(threads)]
        self.thread = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]

    def run(self, i):
        n = i
        while not self.over:
            to = self.targets[n % len(self.targets)]
            n += 1
            began = time.monotonic()
            self.count[i][self.once(to)] += 1
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(self.pause)

    def once(self, to):
        try:
            with connect(to) as s:
                got = receive(s)
        except ConnectionRefusedError:
            return "refused"
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        except socket.timeout:
            return "late"
        except OSError:
            return "wrong"	# a thread that ends would be a load that nobody misses
        if not got:
            return "empty"
        return "served" if self.expect is None or got in self.expect else "wrong"

    def __enter__(self):
        for t in self.thread:
            t.start()
        return self

    def __exit__(self, *why):
        self.over = True
        for t in self.thread:
            t.join(60)

    def some(self):
        """Comes back when a few have come to their end."""
        until(60, lambda: sum(self.total().values()) >= 10, "connections of the load")

    def total(self):
        return {k: sum(c[k] for c in self.count) for k in self.KINDS}

    def lost(self):
        t = self.total()
        return {k: t[k] for k in self.KINDS[1:] if t[k]}


def main(commands):
    """argv[1] names one of them; what is wrong is told in a line, with exit status 1."""
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except Wrong as e:
        print(e)
        sys.exit(1)
