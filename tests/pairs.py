# pairs.py TOOL N SEED: N pairs of an address and a network, decided by TOOL (tests/decide) and by Python's
# ipaddress. Networks are read by ipaddress; of it each gives a mask, and then the integers decide, which ipaddress
# itself is asked about for one address in each network. Prints what differs, and at the end how many did.
import ipaddress, random, socket, subprocess, sys

tool, wanted, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
EACH, BATCH = 10, 400
MAPPED = 0xFFFF << 32
rnd = random.Random(seed)


def v4(n):
    return socket.inet_ntop(socket.AF_INET, n.to_bytes(4, "big"))


def v6(n):
    return socket.inet_ntop(socket.AF_INET6, n.to_bytes(16, "big"))


def network():
    """A network as text, and as ipaddress reads it; often with bits set behind the prefix."""
    if rnd.random() < 0.5:
        bits = rnd.randrange(33)
        base, length, say = rnd.getrandbits(32), 32, v4
    else:
        bits = rnd.randrange(129)
        base, length, say = rnd.getrandbits(128), 128, v6
        if rnd.random() < 0.2:
            base = rnd.getrandbits(64) << 64
    if rnd.random() < 0.7:
        base = base >> (length - bits) << (length - bits)
    mask = bits
    if length == 32 and rnd.random() < 0.3:
        mask = str(ipaddress.IPv4Network((0, bits)).netmask)
    text = "%s/%s" % (say(base), mask)
    return text, ipaddress.ip_network(text, strict=False)


def addresses(net):
    """Its edges, and what is near or far, as (text, number, version)."""
    top = (1 << net.max_prefixlen) - 1
    first = int(net.network_address)
    last = first | int(net.hostmask)
    some = [first, last, first - 1 & top, last + 1 & top, rnd.randint(first, last), rnd.randint(first, last)]
    some += [rnd.randint(first, last) ^ 1 << rnd.randrange(net.max_prefixlen) for _ in range(2)]
    some.append(rnd.randint(0, top))
    if net.version == 4:
        out = [(v4(n), n, 4) for n in some]
        n = rnd.choice(some)
        out.append((v6(MAPPED | n), n, 4))    # the same one, as an IPv6 socket sees it
    else:
        # One that stands for an IPv4 address is that one, and in no network of IPv6.
        out = [(v6(n), n, 6) if n >> 32 != 0xFFFF else (v6(n), n & 0xFFFFFFFF, 4) for n in some]
        n = rnd.getrandbits(32)
        out.append((v4(n), n, 4))
    return out


child = subprocess.Popen([tool], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
done = wrong = 0
inside = 0
while done < wanted:
    lines, want, what = [], [], []
    for _ in range(BATCH):
        text, net = network()
        if net.version == 6 and net.prefixlen >= 96 and int(net.network_address) >> 32 == 0xFFFF:
            continue
        first, mask = int(net.network_address), int(net.netmask)
        some = addresses(net)
        lines.append("= " + text)
        for say, n, version in some:
            lines.append(say)
            want.append("1" if version == net.version and n & mask == first else "0")
        what.append((text, some))
        # The integers are asked about, too.
        say, n, version = some[rnd.randrange(EACH)]
        one = ipaddress.IPv4Address(n) if version == 4 else ipaddress.IPv6Address(n)
        asked = one in net
        mine = version == net.version and n & mask == first
        if asked != mine or (version == 6 and ipaddress.ip_address(say) != one):
            sys.exit("ipaddress itself says otherwise: %s in %s" % (say, text))
    child.stdin.write(("\n".join(lines) + "\n\n").encode())
    child.stdin.flush()
    got = child.stdout.read(len(want)).decode()
    if got != "".join(want):
        flat = [(text, a[0]) for text, some in what for a in some]
        for (net, a), g, w in zip(flat, got, want):
            if g != w:
                wrong += 1
                if wrong <= 20:
                    print("%s in %s: %s, not %s" % (a, net, g, w))
    done += len(want)
    inside += want.count("1")
child.stdin.close()
if child.wait() != 0:
    sys.exit("the tool ended with %d" % child.returncode)
print("%d pairs, %d of them inside, %d wrong" % (done, inside, wrong))
sys.exit(wrong != 0)
