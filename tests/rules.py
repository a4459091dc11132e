"""Who may come, for 60-access.bats: rules.py COMMAND ARGUMENT..."""
import ipaddress, os, subprocess, threading
from drive import *

TOOLS = os.environ.get("TOOLS", "")


# --- T43: every prefix at its edges

def networks():
    for base, width in (("10.20.30.40", 32), ("fd12:3456:789a:bcde:f012:3456:789a:bcde", 128)):
        for bits in range(width + 1):
            yield ipaddress.ip_network("%s/%d" % (base, bits), strict=False)


def cases(net):
    """The four edges, and who of them is in; the ends of all addresses are each other's neighbours."""
    whole = 1 << net.max_prefixlen
    make = ipaddress.IPv4Address if net.version == 4 else ipaddress.IPv6Address
    first, last = int(net[0]), int(net[-1])
    for n in first - 1, first, last, last + 1:
        a = make(n % whole)
        yield a, a in net


def name(net):
    return "v%d-%d" % (net.version, net.prefixlen)


def edges_table(table):
    text = ""
    for net in networks():
        for way, list_ in (("in", "only_from"), ("out", "no_access")):
            text += service("%s-%s" % (name(net), way), "listen = *:0", "exec = echo in", "log_on_success =",
                            "log_on_failure =", "%s = %s" % (list_, net))
    for n, rule in enumerate(("fe80::/10", "fe80::7", "fe80::/64", "fe80::8")):
        text += service("scope%d" % n, "listen = [fe80::7%lo]:0", "exec = echo in", "only_from = " + rule)
    Server(None, table).write(text)


def can_connect(a):
    return not (a.is_multicast or a.is_unspecified or a.is_link_local or a.is_loopback or
                (a.version == 4 and (a in ipaddress.ip_network("0.0.0.0/8") or a >= ipaddress.ip_address("240.0.0.0"))) or
                (a.version == 6 and (a.ipv4_mapped is not None or int(a) < 1 << 32)))


def come_from(a, port):
    s = socket.socket(socket.AF_INET if a.version == 4 else socket.AF_INET6)
    with s:
        s.settimeout(20)
        s.setsockopt(socket.IPPROTO_IP, 15, 1)	# IP_FREEBIND
        s.bind((str(a), 0))
        s.connect(("192.0.2.1" if a.version == 4 else "fd00::1", port))
        try:
            return receive(s) == b"in\n"
        except ConnectionResetError:
            return False


def edges(control, program):
    at = Server(control).addresses()
    said = live = 0
    for net in networks():
        for way, list_ in (("in", "only_from"), ("out", "no_access")):
            Server(None, "one").write(service("one", "listen = *:0", "exec = true", "%s = %s" % (list_, net)))
            for a, inside in cases(net):
                served = inside == (way == "in")
                got = subprocess.run([program, "-o", "user=root", "-f", "one", "--explain", "one", str(a)],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
                if got != (0 if served else 1):
                    raise Wrong("--explain %s = %s for %s: %d" % (list_, net, a, got))
                said += way == "in"
                if can_connect(a):
                    if come_from(a, at["%s-%s" % (name(net), way)][2]) != served:
                        raise Wrong("%s = %s, from %s: %s" % (list_, net, a, "refused" if served else "served"))
                    live += 1
    for n, served in enumerate((True, True, True, False)):
        with socket.socket(socket.AF_INET6) as s:
            s.settimeout(20)
            s.connect(("fe80::7", at["scope%d" % n][2], 0, socket.if_nametoindex("lo")))
            if (receive(s) == b"in\n") != served:
                raise Wrong("scope%d" % n)
    if said != 648 or live < 1000:
        raise Wrong("%d cases, %d live" % (said, live))
    print("%d cases in both lists, %d of them by connections: 0 wrong" % (said, live))


# --- T44: the same rules on every way in

RULES = (	# only_from, no_access; who is let in, who is not
    ("127.0.1.0/24", "127.0.1.7 127.0.2.0/24", ["127.0.1.1"], ["127.0.1.7", "127.0.2.1", "127.0.3.1"]),
    ("127.0.1.0/24", "127.0.1.0/24", [], ["127.0.1.1"]),	# a tie
    ("127.0.1.7 127.0.9.0/24", "127.0.1.0/24", ["127.0.1.7", "127.0.9.1"], ["127.0.1.8"]),
    (None, None, ["127.0.1.1", "127.0.9.9"], []),
    ("", None, [], ["127.0.1.1", "127.0.0.1"]),
    (None, "127.0.4.0/24", ["127.0.5.1"], ["127.0.4.1"]),
)
STREAMS = ("tcp", "alone", "lookup", "proxy", "mux", "echo", "relay")
DATAGRAMS = ("udp", "session", "waitudp", "discarded")


def ways(only, no):
    lists = [None if only is None else "only_from = " + only, None if no is None else "no_access = " + no]
    at, say, back = "listen = 127.0.0.1:0", "exec = echo in", "shell = head -c 1"
    text = service("plain", at, say) + service("tcpmux", at, "type = INTERNAL")
    for n, lines in (("tcp", [at, say]), ("alone", [at, say, "linger = no"]), ("lookup", [at, say, "lookup = yes"]),
                     ("proxy", [at, say, "proxy_protocol = yes", "proxy_from = 127.0.0.1"]), ("mux", ["type = TCPMUXPLUS", say]),
                     ("udp", ["listen = udp:127.0.0.1:0", "exec = cat"]),
                     ("session", ["listen = udp:127.0.0.1:0", "exec = cat", "session = yes"]),
                     ("waitudp", ["listen = udp:127.0.0.1:0", "wait = yes", "exec = " + TOOLS + "/witness"])):
        text += service(n, *lines, *lists)
    text += service("echo", "id = echo", at, "type = INTERNAL UNLISTED", *lists)
    text += service("echo", "id = discarded", "listen = udp:127.0.0.1:0", "type = INTERNAL UNLISTED", *lists)
    return text


def ways_table(table):
    Server(None, table).write(ways(None, None))


class Doors:
    def __init__(self, server):
        self.server, self.at = server, server.addresses()

    def refused(self, way):
        return next(sum(s["refused"].values()) for s in self.server.status()["services"] if s["id"] == way)

    def lets_in(self, way, source):
        if way == "proxy":
            return ask(self.at[way], b"PROXY TCP4 %s 127.0.0.1 1 2\r\n" % source.encode()) != b""
        if way == "mux":
            return ask(self.at["tcpmux"], b"mux\r\n", source=source).endswith(b"in\n")
        if way == "echo":
            return ask(self.at[way], b"x", source=source, half=True) == b"x"
        if way in STREAMS:
            return ask(self.at[way], source=source) != b""
        before = self.refused(way)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((source, 0))
            s.setblocking(False)
            s.sendto(b"x", self.at[way][1:])
            got = []

            def settled():
                try:
                    got.append(s.recv(65536))
                    return True
                except BlockingIOError:
                    return self.refused(way) > before
            until(20, settled, "%s from %s" % (way, source))
            return bool(got)


def ways_(control, table, rounds):
    server, n = Server(control, table), 0
    relay = None
    doors = Doors(server)
    for only, no, let, kept in RULES * int(rounds):
        text = ways(only, no)
        text += service("relay", "listen = 127.0.0.1:0", "redirect = 127.0.0.1 %d" % doors.at["plain"][2],
                        None if only is None else "only_from = " + only, None if no is None else "no_access = " + no)
        server.reload(text)
        if relay is None:
            relay = doors.at["relay"] = server.addresses()["relay"]
        for way in STREAMS + DATAGRAMS:
            for source, wanted in [(s, True) for s in let] + [(s, False) for s in kept]:
                if doors.lets_in(way, source) != wanted:
                    raise Wrong("%s: only_from %s, no_access %s: %s is %s" %
                                (way, only, no, source, "refused" if wanted else "let in"))
                n += 1
    print("%d decisions on %d ways after %d reloads, 0 wrong" % (n, len(STREAMS + DATAGRAMS), len(RULES) * int(rounds)))


# --- T46: nobody says what a name is

def silence(control):
    at = Server(control).addresses()
    took = {}

    def come(who, source, wanted):
        began = time.monotonic()
        got = ask(at[who], source=source)
        took[who, source] = time.monotonic() - began
        if got != wanted:
            raise Wrong("%s from %s: %r" % (who, source, got))
    for who, source, wanted in (("only", "127.0.0.5", b"hi\n"), ("no", "127.0.0.5", b""), ("only", "127.0.0.7", b""),
                                ("no", "127.0.0.7", b"hi\n")):
        come(who, source, wanted)
    with Load([at["plain"]], threads=1, pause=0.02, expect=[b"hi\n"]) as probe:
        come("only", "127.0.0.77", b"")
        come("no", "127.0.0.77", b"")
    if probe.lost() or probe.longest > 0.5:
        raise Wrong("others: %s, longest %.3f s" % (probe.total(), probe.longest))
    longest = max(took.values())
    if longest > (2.5 if os.environ.get("STRICT") else 4):
        raise Wrong("decided after %.1f s" % longest)
    print("refused after %.1f s, another service's longest meanwhile %.0f ms" % (longest, probe.longest * 1000))


main({"edges_table": edges_table, "edges": edges, "ways_table": ways_table, "ways": ways_, "silence": silence})
