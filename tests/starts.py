"""What a command finds, whichever way it is started, for 30-child.bats: starts.py COMMAND CONTROL TABLE ARGUMENT...
`write` writes the table before the server is started, `users` and `dirty` look at it."""
import os
from drive import *

TOOLS = os.environ.get("TOOLS", "")
HERE = os.getcwd()
WAYS = ("tcp", "unix", "seqpacket", "alone", "log", "lookup", "proxy", "mux", "udp", "session", "unixdgram",
        "wait", "waitudp", "fifo")


def listing(way, name):
    """The lines of a service that starts its command in that way; those are all that there are."""
    witness = HERE + "/witness"
    path = "%s/s.%s" % (HERE, name)
    ways = {
        "tcp": ["listen = 127.0.0.1:0"],
        "unix": ["listen = unix:" + path, "mode = 666"],
        "seqpacket": ["listen = unix-seqpacket:" + path, "mode = 666"],
        "alone": ["listen = 127.0.0.1:0", "linger = no"],	# the master keeps nothing of it
        "log": ["listen = 127.0.0.1:0", "stderr = log"],
        "lookup": ["listen = 127.0.0.1:0", "lookup = yes"],
        "proxy": ["listen = 127.0.0.1:0", "proxy_protocol = yes", "proxy_from = 127.0.0.1"],
        "mux": ["type = TCPMUXPLUS"],
        "udp": ["listen = udp:127.0.0.1:0"],
        "session": ["listen = udp:127.0.0.1:0", "session = yes"],
        "unixdgram": ["listen = unix-dgram:" + path, "mode = 666"],
        "wait": ["listen = 127.0.0.1:0", "wait = yes"],
        "waitudp": ["listen = udp:127.0.0.1:0", "wait = yes"],
        "fifo": ["listen = fifo:" + path, "mode = 666"],
    }
    to = " %s/out/%s" % (HERE, name) if way == "fifo" else " -"
    return ways[way] + ["exec = " + witness + to, "log_on_success ="]


def come(way, name, at):
    """Has it started, and says what it found."""
    if way == "mux":
        got = ask(at["tcpmux"], name.encode() + b"\r\n")
        return facts(got.partition(b"\r\n")[2])
    if way == "proxy":
        return facts(ask(at[name], b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n"))
    if way == "unixdgram":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            own = "%s/c.%s" % (HERE, name)
            if os.path.exists(own):
                os.unlink(own)
            s.bind(own)
            os.chmod(own, 0o666)
            s.settimeout(20)
            s.sendto(b"x", at[name][1])
            return facts(s.recv(65536))
    if way in ("udp", "session", "waitudp"):
        return facts(tell(at[name], b"x")[0])
    if way == "fifo":
        out = "out/" + name
        if os.path.exists(out):
            os.unlink(out)
        with open(at[name][1], "wb") as f:
            f.write(b"x")

        def whole():
            return os.path.exists(out) and open(out, "rb").read().endswith(b"end\n")
        until(20, whole, out)
        return facts(open(out, "rb").read())
    return facts(ask(at[name]))


# --- T37: users, groups, and what is left of the master's rights

USERS = ("root", "nobody", "daemon", "1234", "many")
GROUPS = (None, "nogroup", "daemon", "4321")


def combinations():
    return [(u, g, s) for u in USERS for g in GROUPS for s in ("yes", "no")]


def wanted(user, group, groups):
    """From the files themselves: uid, gid, all groups."""
    uid, gid = int(user) if user.isdigit() else None, None
    for l in open("passwd"):
        f = l.split(":")
        if f[0] == user:
            uid, gid = int(f[2]), int(f[3])
    if group is not None:
        gid = int(group) if group.isdigit() else next(int(l.split(":")[2]) for l in open("group") if l.split(":")[0] == group)
    if gid is None:
        gid = uid
    others = {gid}
    if groups == "yes" and not user.isdigit():
        others |= {int(l.split(":")[2]) for l in open("group") if user in l.strip().split(":")[3].split(",")}
    return uid, gid, others


def write(control, table, what):
    text = service("tcpmux", "listen = 127.0.0.1:0", "type = INTERNAL", "log_on_success =")
    if what == "users":
        for i, (user, group, groups) in enumerate(combinations()):
            for way in WAYS:
                name = "%s%d" % (way, i)
                text += service(name, *listing(way, name), "user = " + user, group and "group = " + group, "groups = " + groups)
    else:
        for way in WAYS:
            text += service(way, *listing(way, way), "user = many")
    Server(control, table).write(text)


def users(control, table):
    server = Server(control, table)
    at, n = server.addresses(), 0
    for i, (user, group, groups) in enumerate(combinations()):
        uid, gid, others = wanted(user, group, groups)
        for way in WAYS:
            f = come(way, "%s%d" % (way, i), at)
            who = "user %s, group %s, groups %s, by %s: " % (user, group, groups, way)
            if one(f, "Uid") != " ".join([str(uid)] * 4) or one(f, "Gid") != " ".join([str(gid)] * 4):
                raise Wrong(who + "Uid %s, Gid %s" % (one(f, "Uid"), one(f, "Gid")))
            if sorted(one(f, "Groups").split()) != sorted(map(str, others)):
                raise Wrong(who + "Groups %s, not %s" % (one(f, "Groups"), others))
            if uid != 0:
                caps = {c: one(f, c) for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
                if any(int(c, 16) for c in caps.values()) or one(f, "regains") != "- - -":
                    raise Wrong(who + "%s, regains %s" % (caps, one(f, "regains")))
            n += 1
    print("%d combinations, %d ways: %d of %d right" % (len(combinations()), len(WAYS), n, n))


# --- T38: a parent that has everything that should not be inherited

OF_TCP = {"PROTO", "TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEIP", "TCPREMOTEPORT", "REMOTE_HOST", "REMOTE_ADDR", "REMOTE_PORT"}
OF_UDP = {v.replace("TCP", "UDP") for v in OF_TCP}
OF_UNIX = {"PROTO", "UNIXREMOTEEUID", "UNIXREMOTEEGID", "UNIXREMOTEPID", "UNIXLOCALPATH"}
LISTENS = {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
OF_ALL = {"PATH", "LANG", "TZ", "HOME", "USER", "LOGNAME", "SHELL", "SERVICE", "CONNECTION"}
OF_WAY = {
    **dict.fromkeys(("tcp", "alone", "log", "proxy", "mux"), OF_TCP), "lookup": OF_TCP | {"TCPREMOTEHOST"},
    **dict.fromkeys(("udp", "session"), OF_UDP), **dict.fromkeys(("unix", "seqpacket", "unixdgram"), OF_UNIX),
    "wait": {"PROTO", "TCPLOCALIP", "TCPLOCALPORT"} | LISTENS, "waitudp": OF_UDP | LISTENS, "fifo": {"PROTO"},
}


def dirty(control, table, umask, cwd, nice, files):
    """`files`: the soft and hard limit of descriptors that the parent had."""
    at, n = Server(control, table).addresses(), 0
    hidden = 0x180000000		# 32 and 33 are libc's own, which nobody can reset
    for way in WAYS:
        f = come(way, way, at)

        def be(what, got, want):
            if got != want:
                raise Wrong("%s: %s is %s, not %s" % (way, what, got, want))
        fds = [l.split()[0] for l in f["fd"]]
        be("descriptors", fds, ["0", "1", "2", "3"] if way.startswith("wait") else ["0", "1", "2"])
        be("blocking", {l.split()[2] for l in f["fd"] if l.split()[0] in "013"}, {"blocking"})
        for s in "SigBlk", "SigPnd", "ShdPnd":
            be(s, int(one(f, s), 16), 0)
        for s in "SigIgn", "SigCgt":
            be(s, int(one(f, s), 16) & ~hidden, 0)
        env = dict(v.split("=", 1) for v in f["env"])
        be("environment", sorted(env), sorted(OF_ALL | OF_WAY[way]))
        be("of the parent's", [k for k, v in env.items() if "fake" in v or "/x" in v.split(":")], [])
        be("PATH", env["PATH"], "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        be("umask", int(one(f, "Umask"), 8), int(umask, 8))
        be("directory", one(f, "cwd"), cwd)
        pid, group, session = one(f, "ids").split()
        be("group, session", (group, session), (pid, pid))
        be("terminal", one(f, "tty"), "no")
        be("nice", one(f, "nice"), nice)
        be("rlimit_files", one(f, "rlimit_files"), files)
        be("groups", sorted(one(f, "Groups").split()), ["71001", "71002", "71003"])
        n += 1
    print("%d ways of %d" % (n, len(WAYS)))


main({f.__name__: f for f in (write, users, dirty)})
