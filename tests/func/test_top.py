"""temps top: rates between two looks, for programs and on a terminal."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time

import pytest

from conftest import TEMPS, poll
from test_front import Upstream, front, ok, route  # noqa: F401 (fixtures)


class Steady(threading.Thread):
    """Some requests a second, until it is told to stop."""

    def __init__(self, cluster, host, path="/"):
        super().__init__(daemon=True)
        self.cluster, self.host, self.path, self.done, self.count = cluster, host, path, threading.Event(), 0

    def run(self):
        with self.cluster.session(self.host) as s:
            while not self.done.wait(0.02):
                s.get(f"https://{self.host}{self.path}", timeout=10)
                self.count += 1

    def __enter__(self):
        self.start()
        poll("it runs", lambda: self.count)
        return self

    def __exit__(self, *args):
        self.done.set()
        self.join(20)


def bad(s, head):
    s.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")


def test_rates_of_one_interval(front, route):  # noqa: F811
    host, (up,) = route(ok())
    broken, _ = route(bad)
    quiet, _ = route(ok())
    with Steady(front, host) as load, Steady(front, broken):
        began, count = time.monotonic(), load.count
        now = json.loads(front.run("top", "--once", "--json").stdout)
        rate = (load.count - count) / (time.monotonic() - began)
    assert 0.9 < now["interval_s"] < 20
    seen = {u["upstream"]: u for u in now["upstreams"]}
    u = seen[host + "/"]
    assert rate / 3 < u["requests_per_s"] < rate * 3 and u["errors_per_s"] == 0
    assert 0 < u["p50_ms"] <= u["p99_ms"] < 60000
    (e,) = u["endpoints"]
    assert e["endpoint"] == up.at.removeprefix("http://") and e["state"] == "in"
    assert e["requests_per_s"] == pytest.approx(u["requests_per_s"], rel=0.5) and e["p50_ms"] <= u["p99_ms"]
    assert seen[broken + "/"]["errors_per_s"] > 0 and seen[broken + "/"]["endpoints"][0]["errors_per_s"] > 0
    assert seen[quiet + "/"]["requests_per_s"] == 0 and seen[quiet + "/"]["p50_ms"] is None
    assert now["front"]["requests_per_s"] >= u["requests_per_s"]
    names = [u["upstream"] for u in now["upstreams"]]
    assert names.index(host + "/") < names.index(quiet + "/")


def test_one_upstream_alone(front, route):  # noqa: F811
    host, _ = route(ok())
    route(ok())
    now = json.loads(front.run("top", host + "/", "--once", "--json", "--interval", "100ms").stdout)
    assert [u["upstream"] for u in now["upstreams"]] == [host + "/"] and len(now["upstreams"][0]["endpoints"]) == 1
    text = front.run("top", host + "/", "--interval", "100ms").stdout  # no terminal: once
    assert re.search(rf"^{re.escape(host)}/ +1/1 in +0\.0 ", text, re.M)
    assert front.run("top", "--interval", "1ms", check=False).returncode == 2
    r = front.run("top", "nobody", check=False)
    assert r.returncode == 1 and "nobody" in r.stderr and not r.stdout


def test_scope_and_a_long_query(front):  # noqa: F811
    assert front.api("GET", "/api/top").status_code == 401
    key = front.key("read")
    assert front.api("GET", "/api/top?upstream=nobody", key).json()["upstreams"] == []
    assert front.api("GET", "/api/top?upstream=" + "x" * 2000, key).status_code == 400


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, cluster, *args, rows=20, columns=100):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([str(TEMPS), "top", *args, "--data-dir", str(cluster.data)], stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.out = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.out += os.read(self.master, 65536)
        return self.out

    def frames(self):
        return self.read().split(b"\x1b[H")[1:]

    def type(self, keys):
        os.write(self.master, keys)

    def ends(self):
        poll("it ends", lambda: self.read() and self.process.poll() is not None)
        self.read()
        assert self.out.count(b"\x1b[?1049h") == self.out.count(b"\x1b[?1049l") == 1
        assert self.out.endswith(b"\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return self.process.returncode


@pytest.mark.parametrize("keys", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_on_a_terminal(front, route, keys):  # noqa: F811
    host, (up,) = route(ok())
    with Steady(front, host):
        t = Terminal(front, host + "/", "--interval", "200ms")
        poll("it shows rates", lambda: any(re.search(rf"{re.escape(host)}/ +1/1 in +[1-9]".encode(), f) for f in t.frames()))
        assert termios.tcgetattr(t.slave)[3] & (termios.ICANON | termios.ECHO) == 0
        t.resize(5, 30)
        poll("it fits", lambda: t.frames() and max(len(re.sub(rb"\x1b\[[JK]|\r", b"", line))
                                                   for line in t.frames()[-1].split(b"\n")) <= 30)
        assert t.frames()[-1].count(b"\n") <= 4
        t.type(keys)
        assert t.ends() == 0


def test_stays_when_the_control_plane_goes(new_cluster):
    c = new_cluster("--docker-host", "none")
    t = Terminal(c, "--interval", "200ms")
    poll("it runs", lambda: len(t.frames()) > 1)
    c.process.kill()
    poll("it says so", lambda: b"refused" in t.frames()[-1] or b"onnect" in t.frames()[-1])
    c.start_again("--docker-host", "none")
    poll("it goes on", lambda: b"requests/s, p50" in t.frames()[-1])
    t.type(b"q")
    assert t.ends() == 0
