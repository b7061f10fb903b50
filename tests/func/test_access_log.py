"""The access log: each line is one JSON object, or words that a shell could split, whatever a client sends; what it says is true."""
import json
import os
import re
import shlex
import signal
import subprocess
import threading

import pytest

from conftest import Cluster, poll
from test_front import Upstream, dead_port, field, ok


class Logged:
    """A cluster with an access log, and the lines in it by their request's path."""

    def __init__(self, directory, form):
        self.form = form
        self.path = directory / "access.log"
        self.cluster = Cluster(directory)
        self.cluster.start("--docker-host", "none", "--access-log", str(self.path), "--access-log-format", form)

    def lines(self):
        return self.path.read_bytes().splitlines(keepends=True)

    def parse(self, line):
        assert line.endswith(b"\n")
        text = line[:-1].decode("ascii")
        assert all(" " <= c <= "~" for c in text), text
        if self.form == "json":
            return json.loads(text)
        return dict(word.split("=", 1) for word in shlex.split(text))

    def entry(self, path):
        return poll(f"a line for {path}", lambda: next((e for e in map(self.parse, self.lines()) if e["path"] == path), None), 10)

    def route(self, *answers):
        host = f"h{os.urandom(4).hex()}.example.test"
        ups = [Upstream(a) for a in answers]
        self.cluster.run("route", "add", host, *[u.at for u in ups])
        return host, ups


@pytest.fixture(scope="module", params=["json", "text"])
def logged(tmp_path_factory, request):
    log = Logged(tmp_path_factory.mktemp(request.param), request.param)
    yield log
    log.cluster.close()


def test_what_a_request_was(logged):
    host, (up,) = logged.route(ok(b"four"))
    logged.cluster.get(host, "/a?b=c", headers={"User-Agent": "me/1.0 (x; y)", "Referer": "https://elsewhere.test/"})
    e = logged.entry("/a?b=c")
    at = up.at.removeprefix("http://")
    want = {"client": "127.0.0.1", "scheme": "https", "protocol": "HTTP/1.1", "tls": "1.3", "status": "200", "in": "0", "out": "4",
            "attempts": "1", "id": field(up.requests[0], "X-Request-ID")[0], "upstream": host + "/", "endpoint": at, "method": "GET", "host": host,
            "path": "/a?b=c", "agent": "me/1.0 (x; y)", "referer": "https://elsewhere.test/"}
    times = {k: float(e.pop(k)) for k in ("ms", "sent_ms", "connect_ms", "head_ms")}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e.pop("time"))
    assert {k: str(v) for k, v in e.items()} == want
    assert 0 <= times["sent_ms"] <= times["head_ms"] <= times["ms"] < 20000 and 0 < times["connect_ms"] < 20000
    with logged.cluster.session(host) as s:
        s.get(f"https://{host}/first")
        s.get(f"https://{host}/second")
    assert "connect_ms" not in logged.entry("/second")


def test_protocols_and_tls_versions(logged):
    host, _ = logged.route(ok())
    c = logged.cluster
    for path, options, want in (
            ("/h2", ["--http2"], ("HTTP/2", "1.3")), ("/tls12", ["--http1.1", "--tls-max", "1.2"], ("HTTP/1.1", "1.2")),
            ("/http10", ["--http1.0", "--no-alpn"], ("HTTP/1.0", "1.3"))):
        subprocess.run(["curl", "-sS", "--fail", "-o", os.devnull, "--cacert", c.ca, "--resolve", f"{host}:{c.https_port}:127.0.0.1",
                        *options, f"https://{host}:{c.https_port}{path}"], check=True, timeout=30)
        e = logged.entry(path)
        assert (e["protocol"], e["tls"]) == want
    c.raw(host, f"GET /plain HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(), tls=False)
    e = logged.entry("/plain")
    assert e["scheme"] == "http" and "tls" not in e and int(e["status"]) == 308


def test_retries_failures_and_who_left(logged):
    host, _ = logged.route(ok())
    up = Upstream(ok())
    logged.cluster.run("route", "add", "r." + host, f"http://127.0.0.1:{dead_port()}", up.at)
    for i in range(2):
        assert logged.cluster.get("r." + host, f"/retried{i}").status_code == 200
    assert sorted(int(logged.entry(f"/retried{i}")["attempts"]) for i in range(2)) == [1, 2]
    go = threading.Event()

    def slow(s, head):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        go.wait(20)
        return False

    host, _ = logged.route(slow)
    with logged.cluster.connect(host) as s:
        s.sendall(f"GET /left HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        while b"half" not in s.recv(4096):
            pass
    e = logged.entry("/left")
    go.set()
    assert e["cut"] == "client went away" and int(e["status"]) == 200 and int(e["out"]) == 4
    logged.cluster.raw(host, f"GET /cut HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert "upstream closed" in logged.entry("/cut")["cut"]
    logged.cluster.get("nobody.example.test", "/nobody", verify=False)
    e = logged.entry("/nobody")
    assert int(e["status"]) == 404 and "upstream" not in e and "endpoint" not in e and int(e["attempts"]) == 0


HOSTILE = [
    b'"', b"\\", b'\\"', b"\x80\xff", b"\xc3\xa4", b"\xf0\x9f\x98\x80", b"\t", b'","status":1,"x":"', b" status=1 ", b"'", b"$(id)",
    b"\\n", b"\\u0000", b"{}[]", b"=" * 50, b"%0a%22%00", b"x" * 5000, b'"' * 3000, b"\xff" * 3000,
]


def test_no_byte_of_a_client_breaks_a_line(logged):
    host, _ = logged.route(ok())
    sent = {}
    for i, evil in enumerate(HOSTILE):
        # In a target no blank may be, nor a control.
        target = b"/%d/%s" % (i, evil.replace(b" ", b"").replace(b"\t", b""))
        out = logged.cluster.raw(host, b"GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nReferer: a%sb\r\nX-Request-ID: %s\r\n"
                                 b"Connection: close\r\n\r\n" % (target, host.encode(), evil, evil, evil[:36]))
        assert out.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), out[:200]
        if out.startswith(b"HTTP/1.1 200"):
            sent[i] = (target, evil)
    assert len(sent) > len(HOSTILE) / 2
    logged.cluster.get(host, "/last")
    logged.entry("/last")
    seen = {}
    for line in logged.lines():
        assert len(line) < 16384
        e = logged.parse(line)
        if e["host"] == host and e["path"] != "/last":
            seen[int(e["path"].split("/")[1])] = e
    assert seen.keys() == sent.keys()
    for i, (target, evil) in sent.items():
        assert int(seen[i]["status"]) == 200 and seen[i]["method"] == "GET"
        if logged.form == "json":
            shown = evil.decode("latin-1")
            assert seen[i].get("agent", "") == shown.strip(" \t")[:256]
            assert seen[i]["referer"] == f"a{shown}b"[:512]
            assert seen[i]["path"] == target.decode("latin-1")[:1024]


def test_reopened_on_sighup(logged):
    host, _ = logged.route(ok())
    logged.cluster.get(host, "/before")
    logged.entry("/before")
    old = logged.path.with_suffix(".1")
    logged.path.rename(old)
    logged.cluster.process.popen.send_signal(signal.SIGHUP)
    poll("a new file", logged.path.exists)
    logged.cluster.get(host, "/after")
    logged.entry("/after")
    assert b"/before" in old.read_bytes() and b"/after" not in old.read_bytes()
    assert b"/before" not in logged.path.read_bytes()


def metric(c, text):
    r = c.api("GET", "/metrics", c.key("read"))
    return float(re.search(rf"^{re.escape(text)} (.*)$", r.text, re.M)[1])


def test_a_full_disk_costs_lines_and_nothing_else(new_cluster):
    c = new_cluster("--docker-host", "none", "--access-log", "/dev/full")
    up = Upstream(ok())
    c.run("route", "add", "a.example.test", up.at)
    for _ in range(5):
        assert c.get("a.example.test").status_code == 200
    poll("its lines are counted as lost", lambda: metric(c, 'temps_access_log_lines_lost_total{why="write"}') == 5)
    assert metric(c, "temps_access_log_lines_total") == 5
    assert c.json("status")["front"]["log_dropped"] == 5
    assert "access log /dev/full: No space left on device" in c.process.text()
    up.close()


def test_a_reader_that_sleeps_stops_nobody(new_cluster, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    c = new_cluster("--docker-host", "none", "--access-log", str(fifo), "--access-log-format", "json")
    up = Upstream(ok())
    c.run("route", "add", "a.example.test", up.at)
    path = "/" + "x" * 1000
    with c.session("a.example.test") as s:
        for _ in range(100):
            assert s.get("https://a.example.test" + path, timeout=20).status_code == 200
    poll("lines are lost", lambda: metric(c, 'temps_access_log_lines_lost_total{why="write"}') > 0)
    # Who reads again gets whole lines.
    data = b""
    while True:
        try:
            data += os.read(reader, 65536)
        except BlockingIOError:
            break
    with c.session("a.example.test") as s:
        s.get("https://a.example.test/again", timeout=20)

    def again():
        nonlocal data
        try:
            data += os.read(reader, 65536)
        except BlockingIOError:
            return False
        return b'"/again"' in data

    poll("a line comes", again)
    os.close(reader)
    last = data.splitlines()[-1]
    assert json.loads(last)["path"] == "/again"
    up.close()
