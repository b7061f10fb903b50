"""HTTP/2 from real clients: curl, nghttp, h2load and python3-h2, through the front door to HTTP/1.1 upstreams."""
import contextlib
import hashlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest

from conftest import Cluster, SampleApp, poll
from test_front import Upstream, ok

HOST, SCRIPTED = "h2.example.test", "h2-scripted.example.test"
MIB = 1 << 20


class H2:
    """One connection of python3-h2, driven by hand; <window> 0 opens none for what comes."""

    def __init__(self, cluster, host=HOST, window=None):
        raw = socket.create_connection(("127.0.0.1", cluster.https_port), 20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ctx = ssl.create_default_context(cafile=cluster.ca)
        ctx.set_alpn_protocols(["h2"])
        self.socket, self.host, self.events, self.held = ctx.wrap_socket(raw, server_hostname=host), host, [], set()
        assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False,
                                                                              normalize_outbound_headers=False))
        if window is not None:
            self.h2.local_settings[h2.settings.SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.flush()
        self.until(lambda e: isinstance(e, h2.events.RemoteSettingsChanged))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def read(self):
        data = self.socket.recv(65536)
        got = self.h2.receive_data(data) if data else [None]
        for e in got:
            if isinstance(e, h2.events.DataReceived) and e.stream_id not in self.held:
                with contextlib.suppress(h2.exceptions.StreamClosedError):
                    self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
        self.events += got
        self.flush()

    def until(self, wanted):
        seen = 0
        while True:
            for e in self.events[seen:]:
                if e is not None and wanted(e):
                    return e
            seen = len(self.events)
            assert None not in self.events, f"the server closed; {self.events[-8:]}"
            self.read()

    def ask(self, path="/", method="GET", fields=(), end=True, protocol=None):
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":path", path), (":authority", self.host)]
        self.h2.send_headers(stream, [*pseudo, *([(":protocol", protocol)] if protocol else []), *fields], end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        """As much at a time as the server's window takes."""
        while data:
            n = min(len(data), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if n == 0:
                self.read()
                continue
            self.h2.send_data(stream, data[:n])
            data = data[n:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def head(self, stream):
        return dict(self.until(lambda e: isinstance(e, h2.events.ResponseReceived) and e.stream_id == stream).headers)

    def body(self, stream):
        self.until(lambda e: isinstance(e, (h2.events.StreamEnded, h2.events.StreamReset)) and e.stream_id == stream)
        return b"".join(e.data for e in self.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)

    def get(self, path="/", **kw):
        stream = self.ask(path, **kw)
        return self.head(stream)[":status"], self.body(stream)

    def reset(self, stream):
        return self.until(lambda e: isinstance(e, h2.events.StreamReset) and e.stream_id == stream).error_code


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    c = Cluster(tmp_path_factory.mktemp("h2"))
    with contextlib.closing(c), SampleApp(c.dir) as app:
        c.start("--docker-host", "none", "--h2c")
        c.run("route", "add", HOST, app.at)
        c.app = app
        yield c


@pytest.fixture()
def scripted(front):
    """Routes a host to an upstream that answers by a function."""
    with contextlib.ExitStack() as stack:
        def start(answer):
            u = Upstream(answer)
            stack.callback(u.close)
            front.run("route", "add", SCRIPTED, u.at)
            stack.callback(front.run, "route", "rm", SCRIPTED, "--yes")
            return u
        yield start


def curl(front, path, *args, host=HOST):
    return subprocess.run(["curl", "-sS", "--http2", "--cacert", front.ca, "--resolve", f"{host}:{front.https_port}:127.0.0.1",
                           "-w", "\n%{http_version} %{http_code} %{size_download}", *args, f"https://{host}:{front.https_port}{path}"],
                          capture_output=True, check=True, timeout=60).stdout


def test_large_both_ways(front, tmp_path):
    out = tmp_path / "out"
    assert curl(front, f"/big?bytes={64 * MIB}", "-o", str(out)).split() == [b"2", b"200", b"%d" % (64 * MIB)]
    up = tmp_path / "up"
    up.write_bytes(os.urandom(32 * MIB))
    assert b'"bytes":%d,' % (32 * MIB) in curl(front, "/upload", "-T", str(up))
    body = os.urandom(3000)
    assert curl(front, "/echo", "--data-binary", "@-", "-H", "Expect: 100-continue", "-o", str(out), "-X", "POST") is not None
    with H2(front) as c:
        stream = c.ask("/echo", "POST", end=False)
        c.send(stream, body, end=True)
        assert c.body(stream) == body


def test_many_streams(front):
    out = subprocess.run(["h2load", "-n", "3000", "-c", "4", "-m", "64", "--header", f":authority: {HOST}", f"https://127.0.0.1:{front.https_port}/"],
                         capture_output=True, text=True, check=True, timeout=60).stdout
    assert "3000 succeeded, 0 failed" in out, out
    seen = subprocess.run(["nghttp", "-nv", "-m", "20", "-H", f":authority: {HOST}", f"https://127.0.0.1:{front.https_port}/"],
                          capture_output=True, text=True, check=True, timeout=60).stdout
    assert seen.count(":status: 200") == 20, seen[-3000:]


def test_prior_knowledge(front, tmp_path_factory):
    def ask(url, *args):
        return subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", *args, url], capture_output=True,
                              text=True, timeout=20, check=False).stdout
    assert ask(f"{front.http}/api/health", "--http2-prior-knowledge").startswith("2 ")
    assert ask(f"{front.http}/api/health").startswith("1.1 ")
    off = Cluster(tmp_path_factory.mktemp("no-h2c"))
    with contextlib.closing(off):
        off.start("--docker-host", "none")
        assert not ask(f"{off.http}/api/health", "--http2-prior-knowledge").startswith("2 2")
        assert ask(f"{off.http}/api/health").startswith("1.1 ")


def test_trailers(front, scripted):
    got = {}

    def answer(s, head):
        data = b""
        while b"0\r\n" not in data or not data.endswith(b"\r\n\r\n"):
            data += s.recv(4096)
        got["request"] = data
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n")
    scripted(answer)
    with H2(front, SCRIPTED) as c:
        stream = c.ask("/", "POST", [("te", "trailers")], end=False)
        c.send(stream, b"hello")
        c.h2.send_headers(stream, [("x-check", "7")], end_stream=True)
        c.flush()
        assert c.body(stream) == b"abc"
        trailers = c.until(lambda e: isinstance(e, h2.events.TrailersReceived))
    assert dict(trailers.headers)["x-sum"] == "42"
    assert b"x-check: 7" in got["request"].lower(), got


def test_interim_and_no_content(front, scripted):
    scripted(lambda s, head: s.sendall(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n" if "GET" in head
        else b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"))
    with H2(front, SCRIPTED) as c:
        stream = c.ask("/")
        hints = dict(c.until(lambda e: isinstance(e, h2.events.InformationalResponseReceived)).headers)
        assert hints[":status"] == "103" and "preload" in hints["link"]
        assert c.head(stream)[":status"] == "204" and c.body(stream) == b""
        stream = c.ask("/", "HEAD")
        assert c.head(stream)["content-length"] == "99" and c.body(stream) == b""


@pytest.mark.parametrize("rest", [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"])
def test_truncated_is_reset(front, scripted, rest):
    def answer(s, head):
        s.sendall(rest)
        return False
    scripted(answer)
    with H2(front, SCRIPTED) as c:
        stream = c.ask("/")
        assert c.head(stream)[":status"] == "200"
        assert c.reset(stream) == 2  # INTERNAL_ERROR
        assert not any(isinstance(e, h2.events.StreamEnded) for e in c.events)


@pytest.mark.parametrize("fields, content", [
    ([("transfer-encoding", "chunked")], None), ([("connection", "x")], None), ([("host", "other.test")], None),
    ([("content-length", "3")], b"four"), ([("content-length", "5")], b"four"), ([("te", "gzip")], None), ([("x", "a\r\nb: c")], None),
])
def test_no_smuggling(front, scripted, fields, content):
    """Nothing of it gets to the upstream as a whole request; the connection goes on."""
    def answer(s, head):
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0] or 0)
        got = b""
        while len(got) < length:
            more = s.recv(length - len(got))
            if not more:
                return False
            got += more
        return ok()(s, head)
    u = scripted(answer)
    with H2(front, SCRIPTED) as c:
        stream = c.ask("/", "POST", fields, end=content is None)
        if content:
            c.send(stream, content, end=True)
        assert c.reset(stream) == 1  # PROTOCOL_ERROR
        assert c.get("/after")[0] == "200"
    assert len([r for r in u.requests if "/after" in r]) == 1
    assert not any("chunked\r\ntransfer" in r.lower() or "b: c" in r for r in u.requests)


def test_what_goes_upstream(front, scripted):
    u = scripted(ok())
    with H2(front, SCRIPTED) as c:
        assert c.get("/p?q", fields=[("cookie", "a=1"), ("x-y", "z"), ("cookie", "b=2"), ("x-forwarded-for", "6.6.6.6"), ("te", "trailers")])[0] == "200"
    head = u.requests[-1]
    assert head.startswith("GET /p?q HTTP/1.1\r\n")
    lines = head.lower().split("\r\n")
    assert f"host: {SCRIPTED}" in lines and "cookie: a=1; b=2" in lines and "x-forwarded-proto: https" in lines
    assert "6.6.6.6" not in head and not any(line.startswith(":") for line in lines)


def test_slow_stream_beside_fast_ones(front):
    """Who takes nothing of one response, nor lets its upstream go on, gets all others."""
    with H2(front) as c:
        slow = c.ask(f"/big?bytes={32 * MIB}")
        c.held.add(slow)
        c.until(lambda e: isinstance(e, h2.events.DataReceived) and e.stream_id == slow)
        for _ in range(50):
            status, body = c.get("/big?bytes=30000")
            assert status == "200" and len(body) == 30000
        held = sum(len(e.data) for e in c.events if isinstance(e, h2.events.DataReceived) and e.stream_id == slow)
        assert held == 65535
        c.held.clear()
        c.h2.acknowledge_received_data(held, slow)
        c.flush()
        assert len(c.body(slow)) == 32 * MIB


def test_slow_upstream_stops_its_own_stream(front, scripted):
    release = threading.Event()

    def answer(s, head):
        if "/stuck" in head:
            release.wait(20)
        n = 0
        while n < 8 * MIB and "/stuck" in head:
            n += len(s.recv(65536))
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    scripted(answer)
    with H2(front, SCRIPTED) as c:
        stream = c.ask("/stuck", "POST", [("content-length", str(8 * MIB))], end=False)
        sent = 0
        while c.h2.local_flow_control_window(stream) or sent < 65535:
            n = min(c.h2.local_flow_control_window(stream), 16384)
            if n:
                c.h2.send_data(stream, bytes(n))
                sent += n
            c.flush()
            c.get("/other")  # what was sent before has been seen by then
            if sent > 7 * MIB:
                break
        assert sent < 7 * MIB, "nothing stopped it"
        assert c.get("/other") == ("200", b"ok")
        release.set()
        c.send(stream, bytes(8 * MIB - sent), end=True)
        assert c.head(stream)[":status"] == "200"


def test_client_goes_away(front, scripted):
    gone = threading.Event()

    def answer(s, head):
        if "/wait" not in head:
            return s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if s.recv(10) == b"":
            gone.set()
        return False
    scripted(answer)
    with H2(front, SCRIPTED) as c:
        stream = c.ask("/wait")
        c.get("/x")
        c.h2.reset_stream(stream, 8)
        c.flush()
        assert gone.wait(10), "its upstream connection stays"
        assert c.get("/x")[0] == "200"


# --- WebSocket (RFC 8441) ---

def frame(data, mask=b"\1\2\3\4"):
    assert len(data) < 65536
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return b"\x82" + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


def test_websocket(front):
    with H2(front) as c:
        stream = c.ask("/ws", "CONNECT", [("sec-websocket-version", "13"), ("origin", "https://h2.example.test")], end=False, protocol="websocket")
        head = c.head(stream)
        assert head[":status"] == "200"
        assert not {"upgrade", "connection", "sec-websocket-accept", "content-length"} & set(head)
        want = b""
        for n in (5, 125, 126, 60000):
            data = os.urandom(n)
            c.send(stream, frame(data))
            want += data
            poll_for = len(want)
            while sum(len(e.data) for e in c.events if isinstance(e, h2.events.DataReceived)) < poll_for:
                c.read()
        assert c.get("/")[0] == "200"  # others go on beside it
        got = b"".join(e.data for e in c.events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)
        assert hashlib.sha256(got[2:7]).digest() == hashlib.sha256(want[:5]).digest()
        assert got.endswith(want[-60000:])
        c.send(stream, frame(b"")[:0], end=True)
        c.until(lambda e: isinstance(e, (h2.events.StreamEnded, h2.events.StreamReset)) and e.stream_id == stream)


@pytest.mark.parametrize("path, answer", [("/", None), ("/ws", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                                                b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")])
def test_websocket_refused(front, scripted, path, answer):
    """A 200 of an upstream that does not know WebSockets must not pass for a tunnel, nor an answer to another key."""
    if answer:
        scripted(lambda s, head: s.sendall(answer))
    with H2(front, SCRIPTED if answer else HOST) as c:
        stream = c.ask(path, "CONNECT", [("sec-websocket-version", "13")], end=False, protocol="websocket")
        assert c.head(stream)[":status"] == "502"
        assert c.get("/" if not answer else "/x")[0] in ("200", "502")


def test_connect_is_refused(front):
    with H2(front) as c:
        stream = c.h2.get_next_available_stream_id()
        c.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", f"{HOST}:443")])
        c.flush()
        assert c.head(stream)[":status"] == "501"


# --- change and end ---

def test_route_changes_under_load(front, tmp_path):
    """What a deploy does: another endpoint in, the old one out, then gone. No request notices."""
    host = "h2-moving.example.test"
    with contextlib.ExitStack() as stack:
        old = SampleApp(tmp_path, "old")
        old.__enter__()
        front.run("route", "add", host, old.at)
        stack.callback(front.run, "route", "rm", host, "--yes")
        new = stack.enter_context(SampleApp(tmp_path, "new"))
        over, statuses, problems = threading.Event(), [], []

        def load():
            try:
                with H2(front, host) as c:
                    while not over.is_set():
                        streams = [c.ask("/") for _ in range(20)]
                        statuses.extend(c.head(s)[":status"] for s in streams)
                        for s in streams:
                            c.body(s)
                        c.events = [e for e in c.events if e is None]
            except (AssertionError, OSError, h2.exceptions.H2Error) as e:
                problems.append(repr(e))
        threads = [threading.Thread(target=load) for _ in range(2)]
        for t in threads:
            t.start()
        poll("requests before", lambda: len(statuses) > 100)
        front.run("route", "set", host, new.at)
        n = len(statuses)
        poll("requests on the new one", lambda: len(statuses) > n + 200)
        old.__exit__()
        n = len(statuses)
        poll("requests after", lambda: len(statuses) > n + 200)
        over.set()
        for t in threads:
            t.join(20)
        assert not problems and set(statuses) == {"200"}, (problems, set(statuses))


def test_drain(tmp_path):
    """SIGTERM: running requests are answered, those that crossed it too, and the connection ends with GOAWAY."""
    c = Cluster(tmp_path)
    with contextlib.closing(c), SampleApp(tmp_path) as app:
        c.start("--docker-host", "none")
        c.run("route", "add", HOST, app.at)
        slow = subprocess.Popen(["nghttp", "-nv", "-m", "20", "-H", f":authority: {HOST}", f"https://127.0.0.1:{c.https_port}/slow?ms=1500"],
                                stdout=subprocess.PIPE, text=True)
        poll("requests under way", lambda: c.json("status")["front"]["active"] == 20)
        c.process.popen.send_signal(signal.SIGTERM)
        seen = slow.communicate(timeout=30)[0]
        assert seen.count(":status: 200") == 20 and seen.count("recv GOAWAY") == 2, seen[-3000:]
        assert seen.count("error_code=NO_ERROR") >= 2
        assert c.process.popen.wait(20) == 0
