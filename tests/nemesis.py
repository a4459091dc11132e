"""nemesis.py [-t SECONDS] [-s SEED] [-d DIRECTORY] [--root] [--plan]: the whole server under random faults.

A server of its own serves a table of many kinds of service on a loopback address of its own, while every 200 ms
a fault is drawn: stopped, killed, upgraded, another table, a broken one, a log that nobody reads, no process, no
descriptor, another time of day, clients without manners. Others ask all the time. What they saw is in
DIRECTORY/requests, what was done and which table may have been in force since when in DIRECTORY/events. At the end
verdict.py judges; the status is its own. The same seed draws the same faults and tables (--plan prints them, and
does nothing). Every 100 draws there is a calm: clients end, all is mended, and descriptors, memory and children
are looked at. For root the server runs as a user that nobody else is, or with --root as root (never without
processes then). B: the build directory."""
import argparse, asyncio, json, os, random, resource, shutil, signal, socket, struct, subprocess, sys
import tempfile, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
STEP, SEASON = 0.2, 100
DAY = 86400
LINE = 'read -r s z </proc/uptime; read -r x; %sread -r e z </proc/uptime; echo "$x $SERVICE %d $CONNECTION $s $e"'


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tables:
    """What the table says, as drawn so far. Nothing here depends on what the server does."""

    def __init__(self, rng, directory, ip):
        self.rng, self.dir, self.ip, self.last = rng, directory, ip, 0
        self.base()

    def base(self):
        """All services are there, at their first addresses; all but `steady` are new entries."""
        self.last += 1
        self.gen = {s: self.last for s in ("echo", "mute", "unix", "udp", "bulk", "small", "session", "victim", "left",
                                           "right", "moving", "coming", "switched", "timed")}
        self.to, self.small, self.place, self.there, self.swapped, self.off = "A", (3, "instances", "reject"), 0, True, False, False
        self.attribute = "nice = 1"

    def tcp(self, n):
        return f"tcp:{self.ip}:{21000 + n}"

    def udp(self, n):
        return f"udp:{self.ip}:{21000 + n}"

    def unix(self, name):
        return f"unix:{self.dir}/{name}"

    def entries(self):
        """(id, addresses, lines, what is known of it outside)"""
        out, g = [], self.gen

        def add(svc, at, kind, lines, **more):
            out.append((svc, at, lines, {"svc": svc, "kind": kind, "gen": g.get(svc, 0), **more}))

        def line(svc, at, *more):
            add(svc, at, "line", ["shell = " + LINE % ("", g.get(svc, 0)), *more])

        line("steady", [self.tcp(0)])
        line("echo", [self.tcp(1)], self.attribute)
        # It does not read what was sent: without the lingering close its answer would be lost.
        add("mute", [self.tcp(2)], "mute",
            [f'shell = read -r s z </proc/uptime; echo "- $SERVICE {g["mute"]} $CONNECTION $s $s"'])
        line("unix", [self.unix("u")])
        line("udp", [self.udp(3)])
        add("uecho", [self.udp(4)], "echo", ["type = INTERNAL"])
        add("becho", [self.tcp(5)], "echo", ["type = INTERNAL"])
        add("relay", [self.tcp(6)], "relay", [f"redirect = {self.ip} {21090 if self.to == 'A' else 21091}"], to=self.to)
        add("bulk", [self.tcp(7)], "bulk", ["shell = read -r x; head -c 200000 /dev/zero | tr '\\0' x; "
                                            f'echo " $x $SERVICE {g["bulk"]} $CONNECTION 0 0"'], size=200000)
        limit, how, over = self.small
        add("small", [self.tcp(8)], "line", ["shell = " + LINE % ("sleep 0.1; ", g["small"]), f"{how} = {limit}",
            f"overload = {over}"], limit=limit, how=how, over=over)
        add("timed", [self.tcp(9)], "timed", ["shell = exec sleep 8", "timeout = 2s"])
        for n, svc in (10, "session"), (11, "victim"):
            add(svc, [self.tcp(n)], "session",
                [f'shell = while read -r x; do echo "$x $SERVICE {g[svc]} $CONNECTION 0 0"; done'])
        line("left", [self.tcp(13 if self.swapped else 12)])
        line("right", [self.tcp(12 if self.swapped else 13)])
        line("moving", [self.tcp(14 + self.place)])
        if self.there:
            line("coming", [self.tcp(17), self.unix("c")])
        line("switched", [self.tcp(18)])
        return out

    def text(self, faulty=()):
        t = f"defaults\n{{\n\tlog_type = FILE {self.dir}/svc.log\n\tenv = NEMESIS={self.dir}\n\tkill_after = 1s\n}}\n"
        for svc, at, lines, _ in self.entries():
            name = "echo" if svc in ("uecho", "becho") else svc
            lines = [f"id = {svc}", "listen = " + " ".join(at), *lines]
            if svc in faulty:
                lines.append(self.rng.choice(["instances = many", "nonsense = 1", "timeout = never", "only_from = 300.1.1.1",
                                              "user = nobody-of-that-name", "exec = true", "umask = 9"]))
            t += f"service {name}\n{{\n" + "".join(f"\t{l}\n" for l in lines) + "}\n"
        return t

    def known(self):
        """address: what is known of its entry"""
        return {a: r for _, at, _, r in self.entries() for a in at}

    def change(self):
        """Draws one change or several; says which."""
        r, did = self.rng, []
        self.last += 1
        for _ in range(r.choice([1, 1, 1, 2, 3])):
            what = r.choice(["none", "arguments", "arguments", "arguments", "relay", "small", "swap", "move", "move", "come",
                             "come", "attribute"])
            if what == "arguments":
                some = r.sample(sorted(set(self.gen) - {"small", "timed", "switched"}), r.randint(1, 4))
                for s in some:
                    self.gen[s] = self.last
                what = "+".join(some)
            elif what == "relay":
                self.to = "B" if self.to == "A" else "A"
            elif what == "small":
                self.small = r.choice([2, 3, 4]), r.choice(["instances", "per_source"]), r.choice(["reject", "queue"])
                self.gen["small"] = self.last
            elif what == "swap":
                self.swapped = not self.swapped
            elif what == "move":
                self.place = (self.place + r.choice([1, 2])) % 3
                self.gen["moving"] = self.last
            elif what == "come":
                self.there = not self.there
                self.gen["coming"] = self.last
            elif what == "attribute":
                self.attribute = r.choice(["nice = 1", "umask = 027", "backlog = 200", "sndbuf = 64K", "cps = 2000/1s",
                                           "only_from = 127.0.0.0/8 ::1", "stderr = log", "per_source = 900",
                                           "timeout = 30s", "idle_timeout = 30s", "hangup = kill", "instances = 900",
                                           "rlimit_files = 50", "linger = 5s", "flags = NODELAY",
                                           "access_times = 00:00-24:00", "log_on_success = PID CONN"])
                self.gen["echo"] = self.last
                what = self.attribute
            did.append(what)
        return ", ".join(did)


class Nemesis:
    def __init__(self, o):
        self.o = o
        self.rng, self.chance = random.Random(o.seed), random.Random(o.seed + 1)
        self.uid = None if os.getuid() != 0 or o.root else 3000000 + os.getpid()
        self.as_root = os.getuid() == 0 and o.root
        pid = os.getpid()
        self.ip = f"127.{70 + pid % 100}.{1 + pid // 100 % 250}.{1 + pid // 25000 % 250}"
        self.dir = o.directory
        self.tables = Tables(self.rng, self.dir, self.ip)
        self.proc, self.dead, self.life = None, True, -1
        self.flight, self.serial, self.doubt, self.broken = 0, 0, False, False
        self.at, self.keep, self.off, self.off_sure = {}, {}, False, True
        self.paused, self.closing, self.asking = False, False, 0
        self.running, self.tasks, self.nonce, self.inflight = {}, set(), 0, {}
        self.npick, self.season, self.weather = 0, 0, 0

    # --- records

    def event(self, **more):
        more.setdefault("t", now())
        self.events.write(json.dumps(more) + "\n")

    def interval(self, what, since, **more):
        self.event(t=since, to=now(), state=what, **more)

    def bad(self, text):
        self.event(bad=text, life=self.life)
        print("nemesis: " + text, file=sys.stderr, flush=True)

    def spawn(self, coroutine):
        t = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(t)
        t.add_done_callback(self.over)
        return t

    def over(self, t):
        self.tasks.discard(t)
        if not t.cancelled() and t.exception() is not None:
            e = t.exception()
            self.bad("the test itself: " + "".join(traceback.format_exception(type(e), e, e.__traceback__))[-600:])

    # --- tables

    def place(self, text=None, keep=(), how="file"):
        """Puts a table where the server reads it, at once: how sound, faulty (the entries at the addresses of keep
        are), or that it can only be refused."""
        t, new = os.path.join(self.dir, "t"), os.path.join(self.dir, "t.new")
        self.at = self.tables.known()
        self.keep = {"keep": list(keep), "refused": how not in ("file", "faulty"), "sound": how == "file"}
        self.placed(now())
        if how == "missing":
            if os.path.lexists(t):
                os.rename(t, new)
        elif how == "loop":
            os.symlink("t", new + "p")
            os.rename(new + "p", t)
        elif how == "fifo":
            os.mkfifo(new + "p")
            os.rename(new + "p", t)
        else:
            with open(new, "w") as f:
                f.write(self.tables.text() if text is None else text)
            os.chmod(new, 0o644)
            os.rename(new, t)

    def placed(self, t, at=None, keep=None):
        """What is known of the table that is there. What is switched off is not served, if the server was told."""
        switched = self.tables.tcp(18)
        self.event(t=t, place={a: r for a, r in (at or self.at).items() if not (self.off and a == switched)},
                   unsure=[] if self.off_sure else [switched], **(keep or self.keep))

    async def ctl(self, *words, patience=60):
        r, life = now(), self.life
        p = await asyncio.create_subprocess_exec(
            self.dir + "/bin/serverctl", "-C", "ctl", *words, cwd=self.dir, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = await asyncio.wait_for(p.communicate(), patience)
        except asyncio.TimeoutError:
            p.kill()
            await p.wait()
            self.bad(f"serverctl {' '.join(words)} had no answer for {patience} s")
            return 99, "", "", r, now()
        out, err = out.decode(errors="replace"), err.decode(errors="replace")
        a = now()
        said = "" if words[0] == "status" and p.returncode == 0 else (out + err)[:400]
        self.event(t=r, to=a, ctl=words, rc=p.returncode, said=said, life=life)
        return p.returncode, out, err, r, a

    async def read_again(self, *words):
        """A reload, an upgrade, enable or disable, by serverctl; whether it was taken."""
        self.flight += 1
        self.serial += 1
        mine = self.serial
        rc, out, err, r, a = await self.ctl(*words)
        self.flight -= 1
        taken = " added, " in out
        if words[0] != "upgrade":
            self.event(t=a, r=r, ack=" ".join(words), taken=taken, rc=rc)
            if taken:
                self.doubt = self.doubt and self.serial != mine
                self.inodes()
        return taken, rc, out + err, r, a

    async def reloads(self):
        rc, out, _, _, _ = await self.ctl("status", "--json")
        try:
            return json.loads(out)["server"]["reloads"] if rc == 0 else None
        except ValueError:
            self.bad("status --json is none: " + out[:200])

    async def hup(self):
        """HUP; acknowledged if nothing else reads tables meanwhile, and the count of reloads grows."""
        if self.dead:
            return
        quiet, before = self.flight == 0 and not self.doubt, self.serial
        n = await self.reloads() if quiet else None
        if self.serial != before:
            n = None
        self.flight += 1
        self.serial += 1
        mine, r = self.serial, now()
        self.doubt = True
        if not self.dead:
            self.proc.send_signal(signal.SIGHUP)
            self.event(t=r, hup=True)
        end = now() + 5
        while n is not None and now() < end and self.serial == mine and not self.dead:
            m = await self.reloads()
            if self.serial != mine:
                break
            if m is not None and m > n:
                self.event(r=r, ack="HUP", taken=True, rc=0)
                self.doubt = False
                self.inodes()
                break
            await asyncio.sleep(0.05)
        self.flight -= 1

    def inodes(self):
        """Which sockets listen where: one that both tables have is to be the same."""
        if self.dead or self.flight != 0:
            return
        found, t = {}, now()
        packed = "%08X" % struct.unpack("=I", socket.inet_aton(self.ip))
        for kind in "tcp", "udp":
            with open(f"/proc/net/{kind}") as f:
                next(f)
                for l in f:
                    w = l.split()
                    if kind == "tcp" and w[3] != "0A":
                        break  # those that listen come first
                    ip, port = w[1].split(":")
                    if ip == packed and w[2] == "00000000:0000":
                        found.setdefault(f"{kind}:{self.ip}:{int(port, 16)}", []).append(w[9])
        with open("/proc/net/unix") as f:
            for l in f:
                w = l.split()
                if len(w) == 8 and w[7].startswith(self.dir) and w[3] == "00010000":
                    found.setdefault("unix:" + w[7], []).append(w[6])
        self.event(t=t, inodes=found, life=self.life)

    # --- the server

    async def start(self):
        r_fd, w_fd = os.pipe()
        self.off, self.off_sure, self.doubt, self.broken = False, True, False, False
        self.tables.off = False
        self.serial += 1
        self.place()
        r = now()
        env = {"PATH": os.environ["PATH"], "NEMESIS": self.dir, "LD_PRELOAD": self.dir + "/bin/shim",
               "SHIM_CLOCK": self.dir + "/clock"}
        who = {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}
        with open(self.dir + "/log", "wb", buffering=0) as log:
            self.proc = subprocess.Popen(
                [self.dir + "/bin/server", "-f", "t", "-C", "ctl", "-r", str(w_fd)], cwd=self.dir, env=env,
                pass_fds=[w_fd], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_NOFILE, (min(4096, self.limit[1]), self.limit[1])), **who)
        os.close(w_fd)
        os.set_blocking(r_fd, False)
        text, end = "", now() + 30
        while "ready\n" not in text and now() < end:
            try:
                piece = os.read(r_fd, 65536)
                if not piece:
                    break
                text += piece.decode()
            except BlockingIOError:
                await asyncio.sleep(0.01)
        os.close(r_fd)
        self.life += 1
        self.generation, self.upgraded = 0, False
        if "ready\n" not in text:
            self.bad(f"the server does not start: {text!r}, status {self.proc.poll()}")
            raise SystemExit("nemesis: the server does not start; see " + self.dir)
        if "failed " in text:
            self.bad("an address cannot be bound at the start: " + text)
        self.event(r=r, ack="start", taken=True, rc=0)
        self.event(start=self.life, took=now() - r)
        self.dead = False
        self.inodes()

    async def ended(self, seconds):
        end = now() + seconds
        while self.proc.poll() is None and now() < end:
            await asyncio.sleep(0.01)
        return self.proc.returncode

    async def watch(self):
        while True:
            if not self.dead and self.proc.poll() is not None:
                self.bad(f"the server ended by itself: status {self.proc.returncode}")
                self.dead, since = True, now()
                await self.start()
                self.interval("kill", since)
            await asyncio.sleep(0.05)

    def kids(self):
        try:
            with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children") as f:
                return [int(p) for p in f.read().split()]
        except OSError:
            return []

    # --- the log: a FIFO that is read here, as standard error

    def open_log(self):
        os.mkfifo(self.dir + "/log", 0o600)
        self.log_fd = os.open(self.dir + "/log", os.O_RDWR | os.O_NONBLOCK)
        self.log_out = open(self.dir + "/log.master", "wb", buffering=0)
        self.log_rest = b""

    def read_log(self):
        try:
            data = self.log_rest + os.read(self.log_fd, 1 << 20)
        except BlockingIOError:
            return
        lines = data.split(b"\n")
        self.log_rest = lines.pop()
        self.log_out.write(b"".join(l + b"\n" for l in lines if not l.startswith(b"#")))

    def wedge(self):
        asyncio.get_running_loop().remove_reader(self.log_fd)
        try:
            while True:
                os.write(self.log_fd, b"#" * 511 + b"\n")
        except BlockingIOError:
            pass

    def unwedge(self):
        asyncio.get_running_loop().add_reader(self.log_fd, self.read_log)

    # --- limits of the running server

    def limit_hand(self):
        """Root without all of its rights may not set another user's limits: a process of that user does."""
        if self.uid is None:
            return
        ask, answer = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(ask[1]), os.close(answer[0])
            os.setgroups([]), os.setresgid(self.uid, self.uid, self.uid), os.setresuid(self.uid, self.uid, self.uid)
            for l in os.fdopen(ask[0]):
                pid, what, soft = map(int, l.split())
                try:
                    was, hard = resource.prlimit(pid, what)
                    resource.prlimit(pid, what, (soft, hard))
                except OSError:
                    was = -2
                os.write(answer[1], f"{was}\n".encode())
            os._exit(0)
        os.close(ask[0]), os.close(answer[1])
        self.hand = os.fdopen(ask[1], "w", buffering=1), os.fdopen(answer[0])

    def limit_server(self, pid, what, soft):
        """Sets a soft limit; what it was. -2: the process is gone."""
        if self.uid is not None:
            self.hand[0].write(f"{pid} {what} {soft}\n")
            return int(self.hand[1].readline())
        try:
            was, hard = resource.prlimit(pid, what)
            resource.prlimit(pid, what, (soft, hard))
            return was
        except OSError:
            return -2

    # --- clients

    async def talk(self, rec, how):
        loop = asyncio.get_running_loop()
        family, _, where = rec["at"].partition(":")
        if family == "unix":
            s, to = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), where
        else:
            ip, port = where.split(":")
            s, to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if family == "udp" else socket.SOCK_STREAM), (ip, int(port))
        s.setblocking(False)
        data = (rec["n"] + "\n").encode()
        with s:
            try:
                await loop.sock_connect(s, to)
                rec["t1"] = now()
                if how == "reset":
                    await loop.sock_sendall(s, data)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    rec["end"] = "gone"
                    return
                if how in ("silent", "deaf"):
                    if how == "deaf":
                        await loop.sock_sendall(s, data)
                    await asyncio.sleep(self.chance.uniform(0.2, 2.5))
                    rec["end"] = "gone"
                    return
                if how == "late":
                    await asyncio.sleep(self.chance.uniform(0.05, 0.5))
                try:
                    if how == "slow":
                        for i in range(len(data)):
                            await loop.sock_sendall(s, data[i:i + 1])
                            await asyncio.sleep(0.03)
                    else:
                        await loop.sock_sendall(s, data)
                    if how == "half" or rec["kind"] == "echo" and family != "udp":
                        s.shutdown(socket.SHUT_WR)
                except (BrokenPipeError, ConnectionResetError, OSError) as e:
                    rec["send"] = e.errno  # what came before is still to be read
                got, tail, xs = 0, b"", 0
                while True:
                    d = await loop.sock_recv(s, 2000 if how == "sip" else 65536)
                    if not d:
                        rec["end"] = "eof"
                        break
                    rec.setdefault("t2", now())
                    got += len(d)
                    xs += d.count(b"x")
                    tail = (tail + d)[-300:]
                    rec["got"], rec["len"] = tail.decode(errors="replace"), got
                    if rec["kind"] == "bulk":
                        rec["xs"] = xs
                    if family == "udp":
                        rec["end"] = "eof"
                        break
                    if how == "sip":
                        await asyncio.sleep(0.005)
            except ConnectionRefusedError:
                rec["end"] = "refused"
            except FileNotFoundError:
                rec["end"] = "refused"
            except (ConnectionResetError, BrokenPipeError):
                rec["end"] = "reset"
            except OSError as e:
                rec["end"] = f"errno {e.errno}"

    async def ask(self, svc, at, kind, how="plain", most=60):
        if self.inflight.get(svc, 0) >= most:
            return
        self.inflight[svc] = self.inflight.get(svc, 0) + 1
        try:
            await self.ask_once(svc, at, kind, how)
        finally:
            self.inflight[svc] -= 1

    async def ask_once(self, svc, at, kind, how):
        self.nonce += 1
        rec = {"svc": svc, "at": at, "kind": kind, "how": how, "n": f"q{self.nonce}.{self.chance.getrandbits(32)}", "t0": now()}
        try:
            await asyncio.wait_for(self.talk(rec, how), 15 if at.startswith("udp") else 30)
        except asyncio.TimeoutError:
            rec["end"] = "silence"
        rec["t3"] = now()
        self.requests.write(json.dumps(rec) + "\n")

    def whom(self, svc):
        """address, kind of a service as clients think it is"""
        t = self.tables
        if svc == "moving":  # also where it is not
            return t.tcp(14 + (t.place if self.chance.random() < 0.8 else self.chance.randrange(3))), "line"
        if svc == "coming":
            return self.chance.choice([t.tcp(17), t.unix("c")]), "line"
        if svc == "unix":
            return t.unix("u"), "line"
        n = ["steady", "echo", "mute", "udp", "uecho", "becho", "relay", "bulk", "small", "timed", "session", "victim",
             "left", "right", "switched"].index(svc)
        n = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 18][n]
        kind = {"mute": "mute", "uecho": "echo", "becho": "echo", "relay": "relay", "bulk": "bulk", "timed": "timed",
                "session": "session", "victim": "session"}.get(svc, "line")
        return (t.udp(n) if svc in ("udp", "uecho") else t.tcp(n)), kind

    async def pump(self, svc, rate):
        """Asks about so often in a second."""
        while True:
            await asyncio.sleep(self.chance.expovariate(rate))
            if not self.paused:
                how = self.chance.choice(["plain"] * 6 + ["half"]) if svc not in ("udp", "uecho") else "plain"
                if svc == "bulk":
                    how = self.chance.choice(["plain", "sip"])
                self.spawn(self.ask(svc, *self.whom(svc), how))

    async def burst(self):
        """More at once than `small` takes, and when they are gone one alone: it must be let in."""
        while True:
            await asyncio.sleep(0.5)
            if self.paused:
                continue
            await asyncio.gather(*(self.ask("small", *self.whom("small")) for _ in range(6)))
            await asyncio.sleep(1.5)
            if not self.paused:
                await self.ask("small", *self.whom("small"), "alone")

    async def session(self, svc, least, most):
        """Connections that live on, one after the other."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.chance.uniform(0.05, 0.3))
            if self.paused or self.closing:
                continue
            at, kind = self.whom(svc)
            self.asking += 1
            self.nonce += 1
            rec = {"svc": svc, "at": at, "kind": kind, "how": "session", "n": f"s{self.nonce}", "t0": now(), "pongs": 0, "asked": False}
            until = now() + self.chance.uniform(least, most)
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            s.setblocking(False)
            try:
                ip, port = at[4:].split(":")
                await loop.sock_connect(s, (ip, int(port)))
                rec["t1"] = now()
                rest = b""
                while now() < until and not self.paused and not self.closing:
                    ping = f"{rec['n']}.{rec['pongs']}"
                    await loop.sock_sendall(s, ping.encode() + b"\n")
                    while b"\n" not in rest:
                        d = await asyncio.wait_for(loop.sock_recv(s, 4096), 30)
                        if not d:
                            break
                        rest += d
                    line, nl, rest = rest.partition(b"\n")
                    if not nl:
                        rec["end"] = "eof"
                        break
                    line = line.decode(errors="replace")
                    if rec["pongs"] == 0:
                        rec["t2"], rec["got"] = now(), line
                    want = rec["got"].split(" ", 1)[-1]
                    if line != f"{ping} {want}":
                        rec["wrong"] = f"{line} for {ping}, first was {rec['got']}"
                        break
                    rec["pongs"] += 1
                    await asyncio.sleep(self.chance.uniform(0.1, 0.5))
                else:
                    rec["asked"] = True
                    s.shutdown(socket.SHUT_WR)
                    d = await asyncio.wait_for(loop.sock_recv(s, 4096), 30)
                    rec["end"] = "eof" if not d else "more: " + repr(d)
            except ConnectionRefusedError:
                rec["end"] = "refused"
            except (ConnectionResetError, BrokenPipeError):
                rec["end"] = "reset"
            except asyncio.TimeoutError:
                rec["end"] = "silence"
            except OSError as e:
                rec["end"] = f"errno {e.errno}"
            s.close()
            rec["t3"] = now()
            rec.setdefault("end", "wrong")
            self.requests.write(json.dumps(rec) + "\n")
            self.asking -= 1

    async def target(self, name, port):
        """Where the relay leads."""
        async def serve(reader, writer):
            try:
                line = await reader.readline()
                writer.write(line.rstrip(b"\n") + f" relay {name}\n".encode())
                await writer.drain()
            except OSError:
                pass
            writer.close()
        return await asyncio.start_server(serve, self.ip, port, backlog=1000)

    # --- faults: each draws all it needs at once, and gives what is to be done, or nothing

    def f_stop(self):
        d = self.rng.choice([0.02, 0.1, 0.3, self.rng.uniform(0.3, 1.5)])

        async def do():
            p, t = self.proc, now()
            if self.dead:
                return
            p.send_signal(signal.SIGSTOP)
            await asyncio.sleep(d)
            p.send_signal(signal.SIGCONT)
            self.interval("stop", t)
        return f"{d:.2f} s", do

    def f_hup(self):
        n = self.rng.choice([1, 1, 1, 20, 500])

        async def do():
            for _ in range(n - 1):
                if not self.dead:
                    self.doubt = True
                    self.serial += 1
                    self.proc.send_signal(signal.SIGHUP)
            await self.hup()
        return f"{n}", do

    def f_table(self):
        said, by = self.tables.change(), self.rng.choice(["reload", "reload", "HUP"])
        if not self.o.plan:
            self.place()
            self.broken = False

        async def do():
            if by == "HUP":
                await self.hup()
            elif not self.dead:
                await self.read_again("reload")
        return f"{said}; {by}", do

    def f_broken(self):
        kind = self.rng.choice(["entry", "entry", "brace", "defaults", "missing", "loop", "fifo", "half", "double"])
        faulty = sorted(self.rng.sample(["echo", "mute", "unix"], self.rng.randint(1, 3))) if kind == "entry" else []
        text, d = self.tables.text(faulty), self.rng.uniform(0, 2)
        cut = self.rng.random()

        async def do():
            if self.dead:
                return
            t = now()
            if kind == "entry":
                self.place(text, [a for a, r in self.tables.known().items() if r["svc"] in faulty], "faulty")
            elif kind == "double":
                self.place(text + f"service again\n{{\n\tlisten = {self.tables.tcp(0)}\n\texec = echo again\n}}\n", how="faulty")
            elif kind in ("missing", "loop", "fifo"):
                self.place(how=kind)
            elif kind == "half":  # cut within a block: a brace is missing
                lines = text.splitlines(True)
                n = 1 + int(cut * (len(lines) - 2))
                while lines[n - 1] == "}\n" or lines[n - 1].startswith("service") or lines[n] == "{\n":
                    n += 1
                self.place("".join(lines[:n]), how="half")
            else:
                self.place(text + ("service b {\n" if kind == "brace" else "defaults\n{\n\tinstances = many\n}\n"), how=kind)
            self.broken = True
            await self.read_again("reload")
            await asyncio.sleep(d)
            if self.broken and not self.dead:
                self.place()
                self.broken = False
                await self.read_again("reload")
            self.interval("broken", t)
        return f"{kind} {'+'.join(faulty)}".strip(), do

    def f_upgrade(self):
        by, fresh = self.rng.choice(["USR2", "serverctl"]), self.rng.random() < 0.5

        async def do():
            if self.dead:
                return
            self.upgraded = True
            if fresh:  # another file of that name
                shutil.copy(self.dir + "/bin/server", self.dir + "/bin/server.new")
                os.rename(self.dir + "/bin/server.new", self.dir + "/bin/server")
            if by == "USR2":
                self.doubt = True
                self.serial += 1
                self.event(usr2=True)
                self.proc.send_signal(signal.SIGUSR2)
                await asyncio.sleep(1)
            else:
                await self.read_again("upgrade")
        return f"{by}{', a new file' if fresh else ''}", do

    def f_wedge(self):
        d = self.rng.uniform(0.3, 3)

        async def do():
            t = now()
            self.wedge()
            await asyncio.sleep(d)
            self.unwedge()
            self.interval("wedged log", t)
        return f"{d:.2f} s", do

    def f_vanish(self):
        how, d, hup = self.rng.choice(["moved", "deleted", "directory"]), self.rng.uniform(0.2, 2), self.rng.random() < 0.7

        async def do():
            log, t = self.dir + "/svc.log", now()
            if not os.path.isfile(log):
                return
            if how == "deleted":
                os.unlink(log)
            else:
                os.rename(log, f"{log}.{int(t * 1000)}")
            if how == "directory":
                os.mkdir(log)
            if hup:
                await self.hup()
            await asyncio.sleep(d)
            if how == "directory":
                os.rmdir(log)
            await self.hup()
            self.interval("log " + how, t)
        return f"{how} {d:.2f} s{', HUP' if hup else ''}", do

    def f_nofork(self):
        d = self.rng.uniform(0.1, 2)

        async def do():
            if self.dead or self.as_root:
                return
            p, t = self.proc, now()
            was = self.limit_server(p.pid, resource.RLIMIT_NPROC, 1)
            await asyncio.sleep(d)
            if p.poll() is None:
                self.limit_server(p.pid, resource.RLIMIT_NPROC, was)
            self.interval("no process", t)
        return f"{d:.2f} s", do

    def f_nofile(self):
        d, more = self.rng.uniform(0.1, 2), self.rng.choice([0, 1, 2, 5])

        async def do():
            if self.dead:
                return
            p, t = self.proc, now()
            was = self.limit_server(p.pid, resource.RLIMIT_NOFILE, len(os.listdir(f"/proc/{p.pid}/fd")) + more)
            await asyncio.sleep(d)
            if p.poll() is None:
                self.limit_server(p.pid, resource.RLIMIT_NOFILE, was)
            self.interval("no descriptor", t)
        return f"{d:.2f} s, {more} more", do

    def f_clock(self):
        off, d = self.rng.choice([3600, -3600, DAY, -DAY, 12 * 365 * DAY + 200 * DAY]), self.rng.uniform(0.2, 3)

        async def do():
            t, link = now(), self.dir + "/clock"
            if os.path.lexists(link):
                return
            os.symlink(str(off), link)
            await asyncio.sleep(d)
            os.unlink(link)
            self.interval("clock", t, off=off)
        return f"{off:+d} s for {d:.2f} s", do

    def f_clients(self):
        how = self.rng.choice(["reset", "silent", "deaf", "slow", "late", "flood", "flood"])
        svc = self.rng.choice(["echo", "mute", "unix", "becho", "relay", "coming"] + (["bulk"] if how != "flood" else []))
        n = self.rng.randint(50, 150) if how == "flood" else self.rng.randint(3, 15)

        async def do():
            t = now()
            await asyncio.gather(*(self.ask(svc, *self.whom(svc), "plain" if how == "flood" else how, most=300)
                                   for _ in range(n)))
            self.interval("clients", t)
        return f"{n} {how} at {svc}", do

    def f_datagrams(self):
        n, svc = self.rng.randint(20, 200), self.rng.choice(["udp", "uecho"])

        async def do():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.setblocking(False)
                t = now()
                ip, port = self.whom(svc)[0][4:].split(":")
                for i in range(n):
                    try:
                        s.sendto(b"nobody wants an answer\n" if i % 3 else b"", (ip, int(port)))
                    except OSError:
                        pass
                await asyncio.sleep(0.3)
            self.interval("datagrams", t)
        return f"{n} at {svc}", do

    def f_switch(self):
        word = self.rng.choice(["enable", "disable"])
        self.tables.off = word == "disable"

        async def do():
            for _ in range(20):
                if self.dead or (self.off_sure and self.off == self.tables.off):
                    return
                self.off, self.off_sure = self.tables.off, False
                life, at, keep = self.life, self.at, self.keep
                self.placed(now())
                taken, rc, said, r, a = await self.read_again("disable" if self.off else "enable", "switched")
                if self.life != life or self.dead:
                    return
                if taken or "it is noted" in said:
                    self.off_sure = True
                    self.placed(r + 1e-6, at, keep)
                    if taken:
                        self.event(t=a, r=r + 2e-6, ack=word, taken=True, rc=rc)
                    continue
                await asyncio.sleep(0.3)
        return word, do

    def f_end(self):
        async def do():
            if not self.dead:
                await self.ctl("kill", "victim")
        return "victim", do

    def f_status(self):
        words = self.rng.choice([["status"], ["status", "--json"], ["status", "steady"], ["explain", "steady", "127.0.0.1"]])

        async def do():
            if not self.dead:
                await self.ctl(*words)
        return " ".join(words), do

    def f_usr1(self):
        async def do():
            if not self.dead:
                self.proc.send_signal(signal.SIGUSR1)
        return "", do

    def f_kill(self):
        gap = self.rng.choice([0, self.rng.uniform(0, 0.5)])

        async def do():
            if self.dead:
                return
            self.dead, t = True, now()
            self.proc.kill()
            await self.ended(10)
            await asyncio.sleep(gap)
            await self.start()
            self.interval("kill", t)
        return f"back after {gap:.2f} s", do

    def f_drain(self):
        async def do():
            if self.dead:
                return
            self.closing = True
            end = now() + 20
            while self.asking > 0 and now() < end:
                await asyncio.sleep(0.01)
            if self.dead:
                self.closing = False
                return
            self.dead, t = True, now()
            rc, _, _, _, a = await self.ctl("drain")
            status = await self.ended(20)
            if status != 0:
                self.bad(f"after the drain (serverctl: {rc}): status {status}")
                self.proc.kill()
                await self.ended(5)
            over = now()
            await self.start()
            self.interval("drain", t, over=over)
            self.closing = False
        return "", do

    LASTING = {"stop": 7, "hup": 7, "table": 18, "broken": 5, "wedge": 3, "vanish": 3, "nofork": 4, "nofile": 4,
               "clock": 4, "clients": 18, "datagrams": 3, "switch": 4, "end": 4, "status": 5, "usr1": 3}
    # In one season the master stays what it is, in another it is upgraded, in the third killed too.
    WEIGHTS = [LASTING, {**LASTING, "upgrade": 5}, {**LASTING, "upgrade": 4, "kill": 4, "drain": 3}]

    def pick(self):
        w = self.WEIGHTS[self.weather]
        name = self.rng.choices(list(w), list(w.values()))[0]
        said, do = getattr(self, "f_" + name)()
        self.npick += 1
        return name, said, do

    async def fault(self, name, do):
        """One of a kind at a time, but tables and clients."""
        if self.running.get(name) and name not in ("table", "clients", "hup", "status"):
            return
        self.running[name] = self.running.get(name, 0) + 1
        try:
            await do()
        finally:
            self.running[name] -= 1

    # --- calm

    async def until(self, seconds, what, condition):
        end = now() + seconds
        while not condition():
            if now() > end:
                self.bad(f"not within {seconds} s: {what}")
                return False
            await asyncio.sleep(0.02)
        return True

    def look(self):
        """What the master has."""
        pid = self.proc.pid
        kids, zombies = self.kids(), 0
        for k in kids:
            try:
                with open(f"/proc/{k}/stat") as f:
                    zombies += f.read().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                pass
        with open(f"/proc/{pid}/status") as f:
            rss = int(next(l for l in f if l.startswith("RssAnon")).split()[1])
        fds = {}
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                what = os.readlink(f"/proc/{pid}/fd/{fd}").split(":[")[0]
                fds[what] = fds.get(what, 0) + 1
            except OSError:
                pass
        return {"pid": pid, "fds": sum(fds.values()), "which": fds, "rss": rss, "children": len(kids), "zombies": zombies}

    def ran(self):
        """ns of processor time of the master and its worker"""
        n = 0
        for p in [self.proc.pid, *self.kids()]:
            try:
                with open(f"/proc/{p}/schedstat") as f:
                    n += int(f.read().split()[0])
            except OSError:
                pass
        return n

    async def calm(self):
        self.paused = True
        idle = self.rng.choice(["nothing", "no process", "no descriptor", "wedged log", "broken table", "clock", "log directory"])
        for t in [t for t in self.tasks if t.get_name() == "fault"]:
            await asyncio.wait([t], timeout=90)
        await self.until(60, "all clients have ended", lambda: not any(self.inflight.values()) and self.asking == 0)
        if any(self.running.values()):
            self.bad(f"still going on: {self.running}")
        self.tables.base()
        self.off, self.off_sure, self.broken = False, True, False
        self.place()
        # What an upgrade in a season found is not what another finds now: then one that nothing disturbs is the measure.
        words = [("enable", "switched"), ("reload",)]
        if self.upgraded:
            words.append(("upgrade",))
            self.generation += 1
            self.upgraded = False
        for words in words:
            taken, rc, said, _, _ = await self.read_again(*words)
            if rc != 0:
                self.bad(f"a sound table, no fault in force, and {words[0]} says: {said}")
        await self.ask("steady", *self.whom("steady"))  # a log is opened with its first line
        quiet, listeners = {}, len(self.at)

        async def settled():
            rc, out, _, _, _ = await self.ctl("status", "--json")
            if rc != 0:
                return False
            j = json.loads(out)
            await asyncio.sleep(0.4)  # whoever told this is reaped
            quiet.clear()
            quiet.update(self.look(), live=sum(s["live"] for s in j["services"]), lingering=j["server"]["lingering"],
                         off=[s["id"] for s in j["services"] if s["state"] != "listening"],
                         listeners=sum(len(s["listeners"]) for s in j["services"]), reloads=j["server"]["reloads"])
            return (quiet["live"] == quiet["lingering"] == quiet["zombies"] == 0 and quiet["children"] == 1 and
                    quiet["off"] == [] and quiet["listeners"] == listeners)
        end = now() + 20
        while not await settled() and now() < end:
            await asyncio.sleep(0.1)
        if not quiet:
            self.bad("status --json has no answer")
            quiet.update(self.look(), live=-1, lingering=-1, off=[])
        # Descriptors of what went a moment ago may go a moment later.
        for _ in range(20):
            await asyncio.sleep(0.1)
            one = self.look()
            if one["fds"] < quiet["fds"]:
                quiet.update(fds=one["fds"], which=one["which"])
        await self.idle_in(idle, quiet)
        self.event(calm=self.season, life=self.life, generation=self.generation, **quiet)
        self.requests.write(json.dumps({"calm": self.season, "t": now()}) + "\n")
        self.events.flush(), self.requests.flush()
        self.inodes()
        self.season += 1
        self.weather = self.rng.choice([0, 1, 2])
        self.paused = False

    async def idle_in(self, what, quiet):
        """Little processor time while nothing can be done, and clients wait; then they are served."""
        pid = self.proc.pid
        await asyncio.sleep(0.3)
        waiting = []
        if what == "no process" and not self.as_root:
            was = self.limit_server(pid, resource.RLIMIT_NPROC, 1)
        elif what == "no descriptor":
            was = self.limit_server(pid, resource.RLIMIT_NOFILE, self.look()["fds"] // 2)
        elif what == "wedged log":
            self.wedge()
            self.proc.send_signal(signal.SIGUSR1)
        elif what == "broken table":
            self.place(how="missing")
            await self.read_again("reload")
        elif what == "clock":
            os.symlink(str(-DAY), self.dir + "/clock")
        elif what == "log directory":
            os.rename(self.dir + "/svc.log", f"{self.dir}/svc.log.c{self.season}")
            os.mkdir(self.dir + "/svc.log")
            await self.hup()
        t = now()
        if what in ("no process", "no descriptor"):
            waiting = [self.spawn(self.ask("steady", *self.whom("steady"))) for _ in range(3)]
        await asyncio.sleep(0.5)
        a, began = self.ran(), now()
        await asyncio.sleep(2)
        quiet["cpu"] = (self.ran() - a) / 1e9 / (now() - began)
        quiet["idle"] = what
        if what == "no process" and not self.as_root:
            self.limit_server(pid, resource.RLIMIT_NPROC, was)
        elif what == "no descriptor":
            self.limit_server(pid, resource.RLIMIT_NOFILE, was)
        elif what == "wedged log":
            self.unwedge()
        elif what == "broken table":
            self.place()
            await self.read_again("reload")
        elif what == "clock":
            os.unlink(self.dir + "/clock")
        elif what == "log directory":
            os.rmdir(self.dir + "/svc.log")
            await self.hup()
        mended = now()
        if waiting:
            self.interval(what, t)
            await asyncio.wait(waiting, timeout=30)
            quiet["waited"] = now() - mended

    # --- the whole

    def prepare(self):
        os.chmod(self.dir, 0o755)
        os.mkdir(self.dir + "/bin")
        b = os.environ.get("B", "build")
        b = b if b.startswith("/") else os.path.join(HERE, "..", b)
        for f in "server", "serverctl", "tests/shim":
            shutil.copy(os.path.join(b, f), self.dir + "/bin/")
        self.open_log()
        self.limit_hand()
        if self.uid is not None:
            for p in (self.dir, self.dir + "/log"):
                os.chown(p, self.uid, self.uid)
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit[1], self.limit[1]))
        self.events = open(self.dir + "/events", "w")
        self.requests = open(self.dir + "/requests", "w")
        self.event(begin=True, seed=self.o.seed, ip=self.ip, dir=self.dir, root=self.as_root)

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.add_reader(self.log_fd, self.read_log)
        targets = [await self.target("A", 21090), await self.target("B", 21091)]
        await self.start()
        self.spawn(self.watch()).set_name("watch")
        rates = {"steady": 25, "echo": 20, "mute": 15, "unix": 15, "udp": 12, "uecho": 10, "becho": 15, "relay": 15, "bulk": 1.5,
                 "timed": 0.4, "left": 8, "right": 8, "moving": 15, "coming": 10, "switched": 8}
        for svc, rate in rates.items():
            self.spawn(self.pump(svc, rate)).set_name("client")
        self.spawn(self.burst()).set_name("client")
        for _ in range(3):
            self.spawn(self.session("session", 3, 60)).set_name("client")
        self.spawn(self.session("victim", 2, 4)).set_name("client")
        self.spawn(self.session("victim", 2, 4)).set_name("client")
        # The first calm is what the others are held against.
        await asyncio.sleep(1)
        await self.calm()
        begin = now()
        while now() < begin + self.o.seconds:
            due = now()
            for _ in range(SEASON):
                name, said, do = self.pick()
                self.event(pick=self.npick, fault=name, said=said)
                self.spawn(self.fault(name, do)).set_name("fault")
                due += STEP
                await asyncio.sleep(max(0, due - now()))
                if now() > begin + self.o.seconds:
                    break
            await self.calm()
        self.paused = True
        await self.until(60, "all clients have ended", lambda: not any(self.inflight.values()) and self.asking == 0)
        for t in [t for t in self.tasks if t.get_name() == "client" or t.get_name() == "watch"]:
            t.cancel()
        self.dead = True
        rc = (await self.ctl("stop"))[0]
        status = await self.ended(15)
        if rc != 0 or status != 0:
            self.bad(f"serverctl stop: {rc}, and the server ended with {status}")
            self.proc.kill()
        await self.until(20, "no process is left", lambda: self.left() == [])
        for p in self.left():
            self.bad(f"left: {p}")
            os.kill(p[0], signal.SIGKILL)
        if os.path.exists(self.dir + "/u") or os.path.exists(self.dir + "/ctl"):
            self.bad("a socket is left")
        loop.remove_reader(self.log_fd)
        self.read_log()
        for s in targets:
            s.close()
        self.event(end=True)

    def left(self):
        """Processes of this server and its services"""
        found, mark = [], f"NEMESIS={self.dir}".encode()
        for p in os.listdir("/proc"):
            if not p.isdigit():
                continue
            try:
                with open(f"/proc/{p}/environ", "rb") as f:
                    if mark in f.read().split(b"\0"):
                        with open(f"/proc/{p}/cmdline", "rb") as g:
                            found.append((int(p), g.read().decode(errors="replace").replace("\0", " ")))
            except OSError:
                pass
        return found


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-t", "--seconds", type=float, default=60)
    p.add_argument("-s", "--seed", type=int)
    p.add_argument("-d", "--directory")
    p.add_argument("--root", action="store_true")
    p.add_argument("--plan", action="store_true")
    o = p.parse_args()
    if o.seed is None:
        o.seed = random.SystemRandom().randrange(1 << 31)
    if o.plan:
        o.directory = "/nowhere"
        n = Nemesis(o)
        for i in range(int(o.seconds / STEP)):
            if i % SEASON == 0:
                n.rng.choice(range(7))
                n.tables.base()
                n.weather = n.rng.choice([0, 1, 2])
            name, said, _ = n.pick()
            print(i + 1, name, said)
        return 0
    keep = o.directory is not None
    if keep:
        os.mkdir(o.directory)
        o.directory = os.path.abspath(o.directory)
    else:
        o.directory = tempfile.mkdtemp(prefix="nemesis.")
    print(f"seed {o.seed}, in {o.directory}", flush=True)
    n = Nemesis(o)
    n.prepare()
    try:
        asyncio.run(n.run())
    finally:
        if n.proc is not None and n.proc.poll() is None:
            n.proc.kill()
        n.events.close(), n.requests.close()
    rc = subprocess.run([sys.executable, os.path.join(HERE, "verdict.py"), o.directory]).returncode
    if rc == 0 and not keep:
        shutil.rmtree(o.directory)
    else:
        print("all that was seen is in " + o.directory)
    return rc


if __name__ == "__main__":
    sys.exit(main())
