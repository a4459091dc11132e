"""verdict.py DIRECTORY: judges what nemesis.py saw and did. Reads its records only; knows nothing of the server but
what its manual promises. Prints what happened, what was allowed and why; each violation with all that was in force
then. Status 1 if there is one."""
import bisect, collections, glob, heapq, json, os, re, sys

SLACK = 1.2  # s: a child that has answered is reaped and forgotten by then
DEAD = ("kill", "drain")
SCARCE = ("no process", "no descriptor")
STAMP = re.compile(rb"\d\d/\d{1,2}/\d{1,2}@\d\d:\d\d:\d\d: (LISTEN|START|EXIT|FAIL|PAUSE|RESUME|KILL|TRAFFIC|STDERR|ERROR|"
                   rb"SUPPRESSED|LOST|STATE|TABLE|RELOAD|UPGRADE|DRAIN|STOP|STOPPED): [\x20-\x7e]+")
ANSWER = re.compile(r"(\S+) (\w+) (\d+) (\d+) ([\d.]+) ([\d.]+)\n")


class Spans:
    """When something was so."""

    def __init__(self):
        self.at = []

    def add(self, a, b):
        self.at.append((a, b))

    def over(self):
        self.at.sort()
        self.begin, self.most, m = [a for a, _ in self.at], [], 0
        for _, b in self.at:
            m = max(m, b)
            self.most.append(m)

    def hit(self, a, b):
        """Those that have something in common with a..b"""
        i, found = bisect.bisect_right(self.begin, b), []
        while i > 0 and self.most[i - 1] >= a:
            i -= 1
            if self.at[i][1] >= a:
                found.append(self.at[i])
        return found

    def long(self, a, b):
        return sum(min(b, y) - max(a, x) for x, y in self.hit(a, b))


class Verdict:
    def __init__(self, directory):
        self.dir = directory
        self.violations, self.outcomes, self.allowed = [], collections.Counter(), collections.Counter()
        self.by_service = collections.Counter()
        self.events = [json.loads(l) for l in open(os.path.join(directory, "events"))]
        self.events.sort(key=lambda e: e["t"])
        self.head = next(e for e in self.events if "begin" in e)
        self.states = collections.defaultdict(Spans)
        for e in self.events:
            if "state" in e:
                self.states[e["state"]].add(e["t"], e["to"])
            if e.get("ctl") == ["kill", "victim"]:
                self.states["told to end"].add(e["t"], e["to"] + 12)
        for s in self.states.values():
            s.over()
        self.steps = [e for e in self.events if not any(k in e for k in ("place", "inodes"))]
        self.step_times = [e["t"] for e in self.steps]
        self.conns, self.young = set(), collections.defaultdict(list)
        self.newest = collections.Counter()
        self.slowest, self.took = collections.Counter(), []

    def hit(self, what, a, b):
        return what in self.states and self.states[what].hit(a, b)

    def any(self, whats, a, b):
        return any(self.hit(w, a, b) for w in whats)

    def long(self, whats, a, b):
        return sum(self.states[w].long(a, b) for w in whats if w in self.states)

    def violation(self, why, a, b, *more):
        i, k = bisect.bisect_left(self.step_times, a - 2), bisect.bisect_right(self.step_times, b)
        steps = [e for e in self.steps[max(0, i):k]][-25:]
        within = [f"{w} {x:.3f}..{y:.3f}" for w, s in self.states.items() for x, y in s.hit(a - 1, b)]
        self.violations.append((why, a, more, within, steps))

    # --- which table may have been in force

    def tables(self):
        places = [e for e in self.events if "place" in e]
        where = sorted({a for p in places for a in p["place"]})
        self.alts, still = {a: [] for a in where}, {a: [] for a in where}
        last, times = [], []
        for e in self.events:
            if "place" in e:
                last.append(e)
                times.append(e["t"])
                for a in where if not e["refused"] else ():
                    if a not in e["keep"] and not any(c == e["place"].get(a) for _, c in still[a]):
                        still[a].append((e["t"], e["place"].get(a)))
            elif "ack" in e and e["taken"]:
                i = bisect.bisect_right(times, e["r"]) - 1
                if i < 0 or last[i]["refused"]:
                    if all(p["refused"] for p in last[max(i, 0):]):
                        self.violation("a table that can only be refused was taken", e["r"], e["t"], e)
                    continue
                read = [p for p in last[i:] if not p["refused"]]   # one of them, and nobody knows which
                for a in where:
                    if any(a in p["keep"] or a in p["unsure"] for p in read):
                        continue
                    may = [p["place"].get(a) for p in read]
                    for f, c in still[a]:
                        if c not in may:
                            self.alts[a].append((f, e["t"], c))
                    still[a] = [(f, c) for f, c in still[a] if c in may]
        for a in where:
            self.alts[a] += [(f, float("inf"), c) for f, c in still[a]]
            self.alts[a].sort(key=lambda x: x[0])
        self.begins = {a: [x[0] for x in v] for a, v in self.alts.items()}
        self.longest = {}
        for a, v in self.alts.items():
            m, self.longest[a] = 0, []
            for _, to, _ in v:
                m = max(m, to)
                self.longest[a].append(m)

    def entries(self, at, a, b):
        """What may have stood for an address at some time of a..b; None: nothing."""
        v, i, found = self.alts.get(at, []), bisect.bisect_right(self.begins.get(at, []), b), []
        while i > 0 and self.longest[at][i - 1] >= a:
            i -= 1
            if v[i][1] >= a:
                found.append(v[i][2])
        return found

    # --- requests

    def right(self, r, entry):
        """Is it the whole answer of that entry? Its numbers, if it has some."""
        got, kind = r.get("got", ""), entry["kind"]
        if kind == "echo":
            return got == r["n"] + "\n" and (0, 0, 0)
        if kind == "relay":
            return got == f"{r['n']} relay {entry['to']}\n" and (0, 0, 0)
        if kind == "timed":
            return got == "" and r["end"] == "eof" and (0, 0, 0)
        if kind == "bulk":
            text = got.rpartition("x ")[2]
            m = ANSWER.fullmatch(text)
            if m is None or r.get("xs") != entry["size"] or r["len"] != entry["size"] + 1 + len(text):
                return False
        else:
            m = ANSWER.fullmatch(got if kind != "session" else got + "\n")
        if m is None or m[2] != entry["svc"] or int(m[3]) != entry["gen"]:
            return False
        if m[1] != {"mute": "-", "session": r["n"] + ".0"}.get(kind, r["n"]):
            return False
        return int(m[4]), float(m[5]), float(m[6])

    def full(self, r, entries):
        """May `small` have been full?"""
        limits = [e["limit"] for e in entries if e and "limit" in e and (e["over"] == "reject" or e["how"] == "per_source")]
        if not limits:
            return False
        if self.any(("stop", *SCARCE, *DEAD), r["t0"] - 3, r["t3"]):
            return True
        others = sum(1 for o in self.smalls if o is not r and o["t0"] <= r["t3"] and o["t3"] + SLACK >= r["t0"])
        return others >= min(limits)

    def reason(self, r, entries):
        """Why an answer that is not whole was no fault; None: it was one."""
        a, b, got, end, udp = r["t0"], r["t3"], r.get("got", ""), r["end"], r["at"].startswith("udp")
        nothing = not got and (end in ("refused", "reset", "eof") or udp and end == "silence")
        if self.hit("kill", a, b) and (end in ("refused", "reset", "eof") or udp):
            return "the master was dead"
        if self.hit("drain", a, b) and (end in ("refused", "reset", "eof") or udp):
            before = "t1" in r and not udp and all(r["t1"] < x - 0.02 for x, _ in self.hit("drain", a, b))
            if not before or r["svc"] in ("small", "timed") or self.any(("stop", *SCARCE), a - 3, b):
                return "the master was draining"
        if None in entries and nothing:
            return "the table may not have had it"
        if nothing and self.hit("no descriptor", a - 65, b) and None in self.entries(r["at"], a - 65, b):
            return "it came while there were no descriptors, and is tried again within a minute"
        if r["svc"] == "small" and nothing and end == "eof" and self.full(r, entries):
            return "full"
        if udp and end == "silence" and self.hit("datagrams", a - 5, b) and self.any(("stop", *SCARCE), a - 3, b):
            return "more datagrams than a stopped server's queue holds"
        return None

    def timed(self, r):
        """Its life is limited to 2 s, whatever the time of day is."""
        a, b = r["t0"], r["t3"]
        if self.any(DEAD, a, b):
            return
        d = b - r["t1"]
        most = 5 + self.long(("stop",), a, b) + 2 * self.long(SCARCE, a, b)
        if b - a < 1.9 or d > most:
            self.violation(f"a timeout of 2 s came after {d:.2f} s", a, b, r)

    def request(self, r):
        a, b = r["t0"], r["t3"]
        self.by_service[r["svc"]] += 0
        if r["kind"] == "session" and "wrong" in r:
            return self.violation("a session's answer is wrong", a, b, r)
        entries = self.entries(r["at"], a, r.get("t2", b))
        if None in entries:  # who waits where a service goes from is served by what it is elsewhere
            names = {e["svc"] for e in entries if e}
            entries += [e for at in self.alts for e in self.entries(at, a, r.get("t2", b)) if e and e["svc"] in names]
        if r["end"] == "gone" or r["end"] == "eof" and r["kind"] == "session" and r["asked"] and r["pongs"] == 0:
            self.outcomes["the client went"] += 1
            return
        numbers = False
        for e in entries:
            numbers = numbers or e is not None and self.right(r, e)
        if r["svc"] == "victim" and not numbers and r["end"] in ("eof", "reset") and self.hit("told to end", a, b):
            self.outcomes["ended by serverctl"] += 1
        elif r["kind"] == "session" and numbers:
            if r["end"] == "eof" and r["asked"]:
                pass
            elif r["svc"] == "victim" and self.hit("told to end", a, b):
                self.outcomes["ended by serverctl"] += 1
                return
            elif self.hit("drain", a, b):
                self.allowed["a session when the grace of a drain was over"] += 1
                return
            else:
                return self.violation("a session was ended", a, b, r)
        elif r["kind"] == "timed" and "t1" in r and numbers:
            self.timed(r)
        elif not numbers or r["end"] != "eof":
            if numbers and r["end"] == "reset" and (self.any(DEAD, a, b) or self.hit("no descriptor", a - 1, b)):
                self.allowed["reset behind the whole answer, without descriptors or master"] += 1
            else:
                why = self.reason(r, entries)
                if why is None:
                    self.outcomes["VIOLATION"] += 1
                    return self.violation("not answered" if not r.get("got") else "another answer than any table's",
                                          a, b, r, {"may have been": entries})
                self.outcomes[r["end"] if not r.get("got") else "part of an answer"] += 1
                self.allowed[why] += 1
                return
        if not numbers:
            return
        self.outcomes["served"] += 1
        self.by_service[r["svc"]] += 1
        conn, begun, over = numbers
        if not self.any(DEAD, a - 0.1, b):
            if conn:
                life = bisect.bisect_right(self.deaths, a)
                if (life, conn) in self.conns:
                    self.violation(f"connection {conn} was there twice", a, b, r)
                self.conns.add((life, conn))
            if r["svc"] == "small":
                most = [e["limit"] for e in self.entries(r["at"], a - 1, b) if e]
                self.lives += [(begun + 0.01, 1, max(most), r), (over, -1, max(most), r)]
        # Entries only become newer.
        if r["kind"] not in ("echo", "relay", "timed"):
            _, svc, gen, *_ = r["got"].lstrip("x ").split(" ")
            gen, ended = int(gen), self.young[svc]
            while ended and ended[0][0] < a:
                self.newest[svc] = max(self.newest[svc], heapq.heappop(ended)[1])
            if gen < self.newest[svc]:
                self.violation(f"entry {gen} of {svc} behind entry {self.newest[svc]}", a, b, r)
            heapq.heappush(ended, (r.get("t2", b), gen))
        if r["how"] in ("plain", "half") and r["kind"] != "timed" and not self.any(("stop", *SCARCE, *DEAD), a - 3, b):
            self.slowest[r["svc"]] = max(self.slowest[r["svc"]], b - a)
            if r["svc"] == "steady":
                self.took.append(b - a)
            if b - a > 10:
                self.violation(f"an answer took {b - a:.1f} s", a, b, r)

    def limits(self):
        """Never more at once than the limit."""
        n, now = 0, []
        for t, d, most, r in sorted(self.lives, key=lambda x: (x[0], x[1])):
            if d == 1:
                now.append((most, r))
                if len(now) > max(m for m, _ in now):
                    self.violation(f"{len(now)} at once, more than the limit", r["t0"], r["t3"], *(x for _, x in now))
            else:
                now = [x for x in now if x[1] is not r]

    def requests(self):
        self.deaths = sorted(t for w in DEAD if w in self.states for t, _ in self.states[w].at)
        season = []
        self.smalls = []

        def judge():
            season.sort(key=lambda r: r["t0"])
            self.smalls, self.lives = [r for r in season if r["svc"] == "small"], []
            for r in season:
                self.request(r)
            self.limits()
            season.clear()
        for l in open(os.path.join(self.dir, "requests")):
            r = json.loads(l)
            if "calm" in r:
                judge()
            else:
                season.append(r)
        judge()
        for svc, n in self.by_service.items():
            if n == 0:
                self.violation(f"nobody was served by {svc}", 0, 0)

    # --- the rest

    def same_sockets(self):
        last, before = {}, None
        for e in self.events:
            if "inodes" not in e:
                continue
            if before is None or before["life"] != e["life"] or self.any(DEAD, before["t"], e["t"]):
                last = {}
            before = e
            for a in self.alts:
                here = e["inodes"].get(a, [])
                if len(here) > 1:
                    continue  # one that an earlier table had leaves: it is there a little longer
                if a in last and here != last[a][1] and None not in self.entries(a, last[a][0], e["t"]):
                    self.violation(f"{a} is in both tables and has another socket", last[a][0], e["t"],
                                   {"was": last[a][1], "is": here})
                last[a] = e["t"], here

    def answers(self):
        """What serverctl was told."""
        places = [e for e in self.events if "place" in e]
        times = [p["t"] for p in places]
        for e in self.events:
            if "ctl" not in e:
                continue
            a, b, words = e["t"], e["to"], e["ctl"]
            self.outcomes[f"serverctl {words[0]}: {e['rc']}"] += 1
            if self.any(DEAD, a, b) or self.any(SCARCE, a - 1.5, b) or words[0] in ("explain", "drain", "stop"):
                continue
            if words[0] in ("status", "kill"):
                if e["rc"] != 0:
                    self.violation(f"serverctl {' '.join(words)} failed", a, b, e)
                continue
            seen = places[max(0, bisect.bisect_right(times, a) - 1):bisect.bisect_right(times, b)]
            if all(p["sound"] for p in seen) and e["rc"] != 0 and "was changed while it was checked" not in e["said"]:
                self.violation(f"a sound table, and serverctl {words[0]} failed", a, b, e)
            if not any(p["sound"] for p in seen) and e["rc"] == 0:
                self.violation(f"a faulty table, and serverctl {words[0]} did not say so", a, b, e)
            if all(p["refused"] for p in seen) and " added, " in e["said"]:
                self.violation("a table that can only be refused was taken", a, b, e)

    def calms(self):
        first, fds = {}, {}
        for e in self.events:
            if "bad" in e:
                self.violation(e["bad"], e["t"], e["t"])
            if "start" in e and e["took"] > 10:
                self.violation(f"the start took {e['took']:.1f} s", e["t"] - e["took"], e["t"])
            if "calm" not in e:
                continue
            many = fds.setdefault(e["generation"] > 0, e["fds"])
            was = first.setdefault((e["life"], e["generation"]), e)
            for what, is_right in (
                    ("descriptors", e["fds"] == many), ("memory", e["rss"] <= was["rss"] + 1024),
                    ("children", e["children"] == 1), ("zombies", e["zombies"] == 0), ("live", e["live"] == 0),
                    ("lingering", e["lingering"] == 0), ("services that do not listen", e["off"] == []),
                    ("processor time", e["cpu"] <= 0.02), ("who waited for the fault's end", e.get("waited", 0) <= 5)):
                if not is_right:
                    self.violation(f"in a calm: {what}", e["t"], e["t"], e, {"there were": many, "first of this master": was})
        return first

    def logs(self):
        n = 0
        for path in glob.glob(os.path.join(glob.escape(self.dir), "svc.log*")) + [os.path.join(self.dir, "log.master")]:
            if not os.path.isfile(path):
                continue
            for l in open(path, "rb"):
                n += 1
                if STAMP.fullmatch(l.rstrip(b"\n")) is None or len(l) > 2048 or not l.endswith(b"\n"):
                    self.violation(f"{os.path.basename(path)}: no line of a log: {l[:200]!r}", 0, 0)
        return n

    def say(self):
        self.tables()
        self.requests()
        self.same_sockets()
        self.answers()
        first = self.calms()
        lines = self.logs()
        calms = [e for e in self.events if "calm" in e]
        faults = collections.Counter(e["fault"] for e in self.events if "fault" in e)
        end = self.events[-1]["t"] - self.head["t"]
        if not any("end" in e for e in self.events):
            self.violation("the run did not come to its end", 0, 0)
        print(f"seed {self.head['seed']}, {end:.0f} s, the server {'as root' if self.head['root'] else 'not root'}")
        print("faults: " + ", ".join(f"{n} {k}" for k, n in faults.most_common()))
        print("in force: " + ", ".join(f"{k} {len(s.at)}x {sum(b - a for a, b in s.at):.1f} s" for k, s in sorted(self.states.items())
                                       if k != "told to end"))
        print("requests: " + ", ".join(f"{n} {k}" for k, n in self.outcomes.most_common() if not k.startswith("serverctl")))
        print("served: " + ", ".join(f"{k} {n}" for k, n in sorted(self.by_service.items())))
        print("allowed: " + (", ".join(f"{n} {k}" for k, n in self.allowed.most_common()) or "nothing"))
        print("serverctl: " + ", ".join(f"{n} {k[10:]}" for k, n in sorted(self.outcomes.items()) if k.startswith("serverctl")))
        took = sorted(self.took)
        if took:
            print(f"steady, where nothing stood still: half within {took[len(took) // 2] * 1e3:.1f} ms, 99 % within "
                  f"{took[len(took) * 99 // 100] * 1e3:.1f} ms; the slowest answer of any service {max(self.slowest.values()):.2f} s")
        if calms:
            print(f"{len(calms)} calms of {len({e['life'] for e in calms})} masters: most processor time "
                  f"{max(e['cpu'] for e in calms) * 100:.2f} %, most memory more "
                  f"{max(e['rss'] - first[e['life'], e['generation']]['rss'] for e in calms)} KiB; {lines} lines of logs")
        kinds = collections.Counter(v[0] for v in self.violations)
        for why, t, more, within, steps in self.violations[:20]:
            print(f"\nVIOLATION at {t:.3f}: {why}")
            for m in more:
                print("   " + json.dumps(m)[:700])
            print("   in force: " + ("; ".join(within) or "nothing"))
            for e in steps:
                print("      " + json.dumps(e)[:300])
        if self.violations:
            print("\nviolations: " + ", ".join(f"{n} {k}" for k, n in kinds.most_common(30)))
        print(f"{len(self.violations)} violations; seed {self.head['seed']}")
        return 1 if self.violations else 0


sys.exit(Verdict(sys.argv[1]).say())
