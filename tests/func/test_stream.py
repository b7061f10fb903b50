"""Long bodies, event streams and WebSockets between a real client and a container, through the HTTPS front door."""
import base64
import hashlib
import os
import struct
import time

import pytest

from conftest import SANITIZED, poll

HOST = "hello.example.test"
MIB = 1 << 20


class WebSocket:
    """A client of RFC 6455, as far as an echo needs one."""

    def __init__(self, cluster, host, path="/ws"):
        self.socket = cluster.connect(host, limit_s=20)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                             f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            self._more()
        self.head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        assert self.head.startswith(b"HTTP/1.1 101 "), self.head
        want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        assert want in self.head, self.head

    def _more(self):
        got = self.socket.recv(65536)
        assert got, f"closed after {self.rest[-100:]!r}"
        self.rest += got

    def _take(self, n):
        while len(self.rest) < n:
            self._more()
        out, self.rest = self.rest[:n], self.rest[n:]
        return out

    def send(self, op, payload):
        mask = os.urandom(4)
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        self.socket.sendall(bytes([0x80 | op]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def receive(self):
        op, n = self._take(2)
        if n == 126:
            n = struct.unpack(">H", self._take(2))[0]
        return op & 15, self._take(n)

    def echo(self, payload):
        self.send(2, payload)
        return self.receive()[1]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.socket.close()


@pytest.fixture(scope="module")
def app(module_cluster):
    """An app with a replica here and one on a worker."""
    c = module_cluster
    c.worker("worker-1")
    c.deploy("hello", replicas=2)
    return c


def test_websocket_to_each_replica(app):
    seen = set()
    for _ in range(8):
        with WebSocket(app, HOST) as ws:
            seen.add([x for x in ws.head.decode().split("\r\n") if x.lower().startswith("x-replica")][0])
            for payload in (b"", b"x", os.urandom(125), os.urandom(126), os.urandom(60000)):
                assert ws.echo(payload) == payload
            ws.send(9, b"ping")
            assert ws.receive() == (10, b"ping")
            ws.send(8, struct.pack(">H", 1000))
            assert ws.receive()[0] == 8
            assert ws.socket.recv(1) == b""
    assert len(seen) == 2
    poll("no tunnel is left", lambda: app.json("status")["front"]["active"] == 0, 5)


def test_a_websocket_client_that_vanishes_frees_its_container(app):
    ws = WebSocket(app, HOST)
    poll("under way", lambda: sum(r["in_flight"] for r in app.replicas("hello")) == 1)
    ws.socket.close()
    poll("nothing in flight", lambda: sum(r["in_flight"] for r in app.replicas("hello")) == 0, 10)


def test_events_arrive_one_by_one(app):
    with app.session(HOST) as s:
        with s.get(f"https://{HOST}/events?n=5&every=300", stream=True, timeout=20) as r:
            assert r.headers["Content-Type"] == "text/event-stream"
            at = [time.monotonic() for line in r.iter_lines(chunk_size=1) if line.startswith(b"data:")]
    assert len(at) == 5
    # Buffered they would come together; the last is 1.2 s after the first.
    assert at[-1] - at[0] > 0.8


@pytest.mark.parametrize("chunked", [False, True])
def test_uploads_of_many_sizes(app, chunked):
    with app.session(HOST) as s:
        for size in (0, 1, 16383, 16384, 16385, 65537, 8 * MIB):
            body = (b"u" * min(65536, size - at) for at in range(0, size, 65536)) if chunked else b"u" * size
            r = s.post(f"https://{HOST}/upload", data=body, timeout=30)
            assert (r.status_code, r.json()["bytes"]) == (200, size), size


def test_bodies_arrive_as_they_were_sent(app):
    with app.session(HOST) as s:
        for size in (1, 1000, 16384, 60000):
            body = os.urandom(size)
            assert s.post(f"https://{HOST}/echo", data=body, timeout=20).content == body


def test_downloads(app):
    with app.session(HOST) as s:
        for size in (0, 1, 65536, 20 * MIB):
            assert len(s.get(f"https://{HOST}/big?bytes={size}", timeout=30).content) == size
            r = s.head(f"https://{HOST}/big?bytes={size}", timeout=20)
            assert (r.headers["Content-Length"], r.content) == (str(size), b"")


def test_a_slow_reader_does_not_make_us_buffer(app):
    """256 MiB for a client that reads nothing: it waits in the container, not in our memory."""
    before = app.json("status")["memory_rss_bytes"]
    with app.connect(HOST, limit_s=20) as s:
        s.sendall(f"GET /big?bytes={256 * MIB} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert s.recv(1024).startswith(b"HTTP/1.1 200 ")
        poll("it is under way", lambda: sum(r["in_flight"] for r in app.replicas("hello")) == 1)
        for _ in range(20):
            assert app.get().status_code == 200
        # AddressSanitizer keeps what was freed for a while.
        assert app.json("status")["memory_rss_bytes"] - before < (16 if SANITIZED else 4) * MIB
    poll("given up", lambda: sum(r["in_flight"] for r in app.replicas("hello")) == 0, 10)
