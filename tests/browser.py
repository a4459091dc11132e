"""browser.py URL OUT: loads URL in a headless Chromium, wide and as narrow as a phone, light and dark, and
keeps pictures in OUT. Ends with status 1 if the page asks for anything elsewhere, complains, is wider than
its window, has letters too small to read or does not load itself again. It speaks to the browser by a pipe: no port, no library."""
import base64, json, os, select, subprocess, sys, tempfile, time

url, out = sys.argv[1:3]
base = url.split("?")[0].rstrip("/")
limit = time.time() + 80


class Browser:
    def __init__(self, profile):
        to, from_ = os.pipe(), os.pipe()

        def ends():
            # 3 and 4 are what --remote-debugging-pipe reads and writes.
            a, b = os.dup(to[0]), os.dup(from_[1])
            os.dup2(os.dup2(a, 63), 3)
            os.dup2(os.dup2(b, 62), 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
             "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--hide-scrollbars",
             "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--no-sandbox", "about:blank"],
            preexec_fn=ends, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(to[0]), os.close(from_[1])
        self.to, self.from_, self.rest, self.number, self.events = to[1], from_[0], b"", 0, []

    def read(self):
        while b"\0" not in self.rest:
            if not select.select([self.from_], [], [], max(0, limit - time.time()))[0]:
                sys.exit("the browser says nothing")
            more = os.read(self.from_, 1 << 16)
            if not more:
                sys.exit("the browser is gone")
            self.rest += more
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, session=None, **params):
        self.number += 1
        order = {"id": self.number, "method": method, "params": params}
        if session:
            order["sessionId"] = session
        os.write(self.to, json.dumps(order).encode() + b"\0")
        while True:
            m = self.read()
            if m.get("id") == self.number:
                assert "error" not in m, (method, m["error"])
                return m["result"]
            self.events.append(m)

    def wait(self, method):
        while True:
            for e in self.events:
                if e.get("method") == method:
                    return
            self.events.append(self.read())


LOOK = """(() => {
	const w = document.documentElement.clientWidth, wide = [];
	for (const e of document.querySelectorAll('body *')) {
		const r = e.getBoundingClientRect();
		if (r.width > 0 && (r.right > w + 1 || r.left < -1)) wide.push(e.tagName + '.' + e.className + ' ' + r.right);
	}
	return JSON.stringify({ scroll: document.documentElement.scrollWidth, client: w, wide: wide.slice(0, 5),
	    height: document.documentElement.scrollHeight, font: getComputedStyle(document.body).fontSize,
	    styled: getComputedStyle(document.body).margin, scripts: document.scripts.length,
	    unnamed: [...document.querySelectorAll('svg')].filter(s => !s.querySelector('title')).length,
	    headings: [...document.querySelectorAll('h1,h2')].map(h => h.innerText) });
})()"""

bad = []
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    b = Browser(profile)
    for width, height in ((1280, 900), (360, 740)):
        for scheme in ("light", "dark"):
            b.events = []
            target = b.call("Target.createTarget", url="about:blank")["targetId"]
            s = b.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Network", "Page", "Log", "Runtime"):
                b.call(domain + ".enable", s)
            b.call("Emulation.setDeviceMetricsOverride", s, width=width, height=height, deviceScaleFactor=2,
                   mobile=width < 500)
            b.call("Emulation.setEmulatedMedia", s, features=[{"name": "prefers-color-scheme", "value": scheme}])
            b.events = []
            b.call("Page.navigate", s, url=url)
            b.wait("Page.loadEventFired")
            seen = json.loads(b.call("Runtime.evaluate", s, expression=LOOK)["result"]["value"])
            picture = b.call("Page.captureScreenshot", s, captureBeyondViewport=True, clip={
                "x": 0, "y": 0, "width": width, "height": min(seen["height"], 4000), "scale": 1})
            name = f"{out}/status-{width}-{scheme}.png"
            with open(name, "wb") as f:
                f.write(base64.b64decode(picture["data"]))
            for e in b.events:
                p = e.get("params", {})
                if e.get("method") == "Network.requestWillBeSent":
                    asked = p["request"]["url"]
                    if not asked.startswith(base + "/") and not asked.startswith("data:"):
                        bad.append(f"{name}: asked for {asked}")
                elif e.get("method") == "Log.entryAdded":
                    bad.append(f"{name}: {p['entry']['text']}")
                elif e.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                    bad.append(f"{name}: {p}")
            if seen["scroll"] > seen["client"] or seen["wide"] or seen["client"] != width:
                bad.append(f"{name}: wider than its window: {seen}")
            if seen["styled"] != "0px" or seen["scripts"] or seen["unnamed"] or len(seen["headings"]) < 4:
                bad.append(f"{name}: {seen}")
            if float(seen["font"].removesuffix("px")) < 14:
                bad.append(f"{name}: letters of {seen['font']}")
            if (width, scheme) == (360, "dark"):    # by itself it comes again
                b.events = []
                b.wait("Page.loadEventFired")
            b.call("Target.closeTarget", targetId=target)
    b.call("Browser.close")
    b.process.wait(20)
print("\n".join(bad) or "sound")
sys.exit(bool(bad))
