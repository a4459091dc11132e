"""Reads OpenMetrics 1.0 text from standard input as strictly as its page says; prints each sample as
NAME{LABELS} VALUE, labels in order. The first fault ends it with status 1."""
import re, sys

SUFFIXES = {"counter": {"_total", "_created"}, "gauge": {""}, "info": {"_info"}, "stateset": {""}, "unknown": {""}}
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')


def check(text):
    assert text.endswith("# EOF\n"), "does not end with # EOF"
    assert "\r" not in text, "a carriage return"
    lines = text[:-1].split("\n")
    assert lines.index("# EOF") == len(lines) - 1, "# EOF is not at the end"
    families, names, seen, family, samples, started = {}, {}, set(), None, [], False
    for line in lines[:-1]:
        assert line and line == line.strip(), f"an empty line or blanks around it: {line!r}"
        if line[0] == "#":
            m = re.fullmatch(rf"# (TYPE|HELP|UNIT) ({NAME}) (.*)", line)
            assert m, f"no such comment: {line}"
            kind, name, rest = m.groups()
            if family is None or name != family["name"]:
                assert name not in families, f"{name}: interleaved with others"
                family = families[name] = {"name": name, "group": None, "groups": set()}
                started = False
            assert not started, f"{name}: {kind} behind its samples"
            assert kind not in family, f"{name}: {kind} twice"
            family[kind] = rest
            if kind == "TYPE":
                assert rest in SUFFIXES, f"{name}: type {rest}"
                for s in SUFFIXES[rest] | {""}:
                    assert name + s not in names, f"{name + s}: of two families"
                    names[name + s] = name
            if kind == "UNIT":
                assert name.endswith("_" + rest), f"{name} does not end in its unit {rest}"
            if kind == "HELP":
                assert re.fullmatch(r'(?:[^\\"]|\\[\\n"])*', rest), f"{name}: HELP escaped wrongly"
            continue
        m = re.fullmatch(rf"({NAME})(?:\{{(.*)\}})? ([0-9.eE+-]+|NaN|[+-]Inf)", line)
        assert m, f"no sample: {line}"
        name, labels, value = m.groups()
        assert family, f"{name}: before any family"
        kind = family.get("TYPE", "unknown")
        started = True
        assert name in {family["name"] + s for s in SUFFIXES[kind]}, f"{name}: not of {family['name']} ({kind})"
        found, rest = {}, labels or ""
        while rest:
            m = LABEL.match(rest)
            assert m, f"labels: {rest}"
            assert m[1] not in found, f"label {m[1]} twice: {line}"
            assert not (m[3] == "," and m.end() == len(rest)), f"a comma at the end: {line}"
            found[m[1]] = re.sub(r"\\(.)", lambda e: {"n": "\n"}.get(e[1], e[1]), m[2])
            rest = rest[m.end():]
        number = float(value)
        if kind == "counter":
            assert number >= 0, f"negative: {line}"
        if kind == "info":
            assert number == 1, line
        if kind == "stateset":
            assert number in (0, 1) and family["name"] in found, line
        key = (name, tuple(sorted(found.items())))
        assert key not in seen, f"twice: {line}"
        seen.add(key)
        group = tuple(sorted((k, v) for k, v in found.items() if k != family["name"] or kind != "stateset"))
        if group != family["group"]:
            assert group not in family["groups"], f"its samples do not stand together: {line}"
            family["groups"].add(group)
            family["group"] = group
        samples.append((name, found, number))
    for f in families.values():
        if f.get("TYPE") == "info":
            assert "UNIT" not in f, f["name"]
    return samples


if __name__ == "__main__":
    try:
        out = check(sys.stdin.buffer.read().decode("utf-8"))
    except AssertionError as e:
        sys.exit(f"not OpenMetrics: {e}")
    for name, labels, value in out:
        inside = ",".join(f"{k}={v!r}" for k, v in sorted(labels.items()))
        print(f"{name}{{{inside}}} {value:.0f}")
