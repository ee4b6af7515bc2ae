"""Chromium against a server: browser.py http://HOST:PORT

ChromeDriver drives the tabs, over the protocol of W3C WebDriver: HTTP and JSON.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

HTTP = sys.argv[1]
# The longest wait, in seconds. A working server comes nowhere near this time.
PATIENCE = 60

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]


class Browser:
    """A session of the browser, with its tabs."""

    def __init__(self, url, profile):
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.url = f"{url}/session"
        options = {"args": FLAGS + [f"--user-data-dir={profile}"]}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options}}
        session = self.call("POST", "", {"capabilities": capabilities})
        self.version = session["capabilities"]["browserVersion"]
        self.url += "/" + session["sessionId"]
        self.call("POST", "/timeouts", {"script": 1000 * PATIENCE})

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        try:
            with self.opener.open(request, timeout=2 * PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def tab(self):
        """Opens a tab with the page. Returns the name of the tab."""
        name = self.call("POST", "/window/new", {"type": "tab"})["handle"]
        self.go(name)
        return name

    def go(self, tab):
        self.call("POST", "/window", {"handle": tab})
        self.call("POST", "/url", {"url": HTTP + "/"})

    def close(self, tab):
        self.call("POST", "/window", {"handle": tab})
        self.call("DELETE", "/window")

    def run(self, tab, body):
        """Runs the body of an async function in a tab. Returns its result."""
        self.call("POST", "/window", {"handle": tab})
        script = """
            const done = arguments[arguments.length - 1];
            (async () => { %s })().then(
                (value) => done({ value }),
                (error) => done({ error: String(error) }),
            );
        """
        got = self.call("POST", "/execute/async", {"script": script % body, "args": []})
        if "error" in got:
            raise RuntimeError(got["error"])
        return got.get("value")


@contextlib.contextmanager
def driver(home):
    """Starts ChromeDriver on any port. Yields its URL."""
    # ChromeDriver writes to its home, besides the profile.
    env = os.environ | {"HOME": home}
    command = ["chromedriver", "--port=0"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                yield f"http://127.0.0.1:{found[1]}"
                break
        else:
            raise RuntimeError("it does not start")
    finally:
        process.terminate()
        process.wait()


checks = []


def check(what):
    def add(function):
        checks.append((what, function))
        return function

    return add


def equal(got, expected):
    assert got == expected, f"{got!r}, not {expected!r}"


@check("messages of all kinds and sizes, with compression and without")
def echo(browser, tab):
    for target in "/echo", "/echo?deflate=off":
        changed = browser.run(
            tab,
            """
            const client = await open("%s");
            const megabyte = "häßlich 😀\\n".repeat(90_000);
            const messages = {
                nothing: "", text: "hällo", megabyte, again: megabyte,
                emptyBuffer: new ArrayBuffer(0), emptyBlob: new Blob([]),
                bytes: new Uint8Array([0, 255]), blob: new Blob(["hällo"]),
                noise: noise(1 << 20), zeros: new ArrayBuffer(1 << 20),
                largest: noise(16 << 20), largestZeros: new ArrayBuffer(16 << 20),
            };
            const changed = [];
            for (const [name, message] of Object.entries(messages)) {
                if (!(await client.echoes(message))) changed.push(name);
            }
            client.socket.close();
            return changed;
            """
            % target,
        )
        equal(changed, [])


@check("what is agreed on about compression, and not with ?deflate=off")
def extensions(browser, tab):
    script = """return (await open("%s")).socket.extensions;"""
    plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    equal(browser.run(tab, script % "/echo"), plain)
    equal(browser.run(tab, script % "/echo?deflate=off"), "")


@check("the first subprotocol is chosen")
def subprotocol(browser, tab):
    script = """return (await open("/echo", ["mqtt", "chat"])).socket.protocol;"""
    equal(browser.run(tab, script), "mqtt")


@check("a close is answered with its code, and is clean")
def close(browser, tab):
    script = """
        const client = await open("/echo");
        client.socket.close(%s);
        return client.closed;
    """
    equal(browser.run(tab, script % '4000, "bye"'), [4000, "", True])
    equal(browser.run(tab, script % "1000"), [1000, "", True])
    # 1005 stands for a close frame without a code.
    equal(browser.run(tab, script % ""), [1005, "", True])


@check("a message that is too large is refused, and that is clean too")
def too_large(browser, tab):
    for target in "/echo", "/echo?deflate=off":
        script = """
            const client = await open("%s");
            client.socket.send(new ArrayBuffer((16 << 20) + 1));
            return client.closed;
        """
        equal(browser.run(tab, script % target), [1009, "the message is too large", True])


@check("a path that speaks no WebSocket is an error of the socket's")
def not_there(browser, tab):
    script = """
        const client = new Client("/index.html");
        client.opened.catch(() => {});
        return client.closed;
    """
    equal(browser.run(tab, script), [1006, "", False])


@check("two tabs in one room hear each other, a post, and who is there")
def rooms(browser, one):
    browser.run(one, """await keep("presence", "/rooms/browser?presence");""")
    hear_number = "return kept.presence.hear();"
    equal(browser.run(one, hear_number), "0")
    browser.run(one, """await keep("room", "/rooms/browser");""")
    equal(browser.run(one, hear_number), "1")
    other = browser.tab()
    browser.run(other, """await keep("room", "/rooms/browser");""")
    equal(browser.run(one, hear_number), "2")

    say = "kept.room.socket.send(%s);"
    hear = "return kept.room.hear();"
    hear_bytes = "return [...new Uint8Array(await kept.room.hear())];"
    for speaker, message in (one, "hällo from one"), (other, "and from the other" * 100):
        browser.run(speaker, say % json.dumps(message))
        for tab in one, other:
            equal(browser.run(tab, hear), message)
    browser.run(one, say % "new Uint8Array([0, 255])")
    for tab in one, other:
        equal(browser.run(tab, hear_bytes), [0, 255])
    post = """
        const answer = await fetch("/rooms/browser", { method: "POST", body: "posted" });
        return answer.text();
    """
    equal(browser.run(one, post), "2 members hear it\n")
    for tab in one, other:
        equal(browser.run(tab, hear), "posted")

    # Leaving a page closes its socket, and so does closing a tab.
    browser.go(other)
    equal(browser.run(one, hear_number), "1")
    late = """
        await keep("room", "/rooms/browser?last=1");
        return kept.room.hear();
    """
    equal(browser.run(other, late), "posted")
    equal(browser.run(one, hear_number), "2")
    browser.close(other)
    equal(browser.run(one, hear_number), "1")


def main():
    failed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, driver(home) as url:
        browser = Browser(url, os.path.join(home, "profile"))
        print(f"Chromium {browser.version}", flush=True)
        try:
            tab = browser.tab()
            for what, function in checks:
                try:
                    function(browser, tab)
                    print(f"ok: {what}", flush=True)
                except Exception as error:
                    failed += 1
                    print(f"FAILED: {what}: {error!r}", flush=True)
        finally:
            browser.call("DELETE", "")
    return failed


sys.exit(min(main(), 1))
