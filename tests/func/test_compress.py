"""Policy compress: what arrives decoded is what the upstream sent, byte for byte; what must not be touched is not."""
import ctypes
import gzip
import os
import random
import socket
import subprocess
import threading
import time
import uuid
import zlib

import pytest

from conftest import Cluster
from test_front import Upstream, field

WORDS = [bytes(random.Random(n).choices(b"abcdefghijklmnop  \n<>/", k=12)) for n in range(300)]


def content(n, seed=1):
    r = random.Random(seed)
    return b"".join(r.choices(WORDS, k=n // 12 + 1))[:n]


def answer(body, extra=b"", kind=b"text/html", split=None, length=True, pause=0.0):
    """The body in random pieces; with a length, chunked, or (None) until the end of the connection."""
    def run(s, head):
        r = random.Random(head)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s" % (kind, extra))
        s.sendall(b"Content-Length: %d\r\n\r\n" % len(body) if length else b"\r\n" if length is None else b"Transfer-Encoding: chunked\r\n\r\n")
        if head.startswith("HEAD"):
            return None
        at = 0
        while at < len(body):
            n = r.randint(1, split or len(body))
            piece = body[at:at + n]
            at += n
            s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if length is False else piece)
            if pause:
                time.sleep(pause)
        if length is False:
            s.sendall(b"0\r\n\r\n")
        return False if length is None else None
    return run


class Brotli:
    """The library's decoder, a piece at a time."""

    lib = ctypes.CDLL("libbrotlidec.so.1")
    lib.BrotliDecoderCreateInstance.restype = ctypes.c_void_p

    def __init__(self):
        self.state = ctypes.c_void_p(self.lib.BrotliDecoderCreateInstance(None, None, None))
        self.finished = False

    def decompress(self, data):
        got, out = b"", ctypes.create_string_buffer(65536)
        piece = ctypes.create_string_buffer(data, len(data))
        left, at = ctypes.c_size_t(len(data)), ctypes.c_void_p(ctypes.addressof(piece))
        while True:
            room, to = ctypes.c_size_t(len(out)), ctypes.c_void_p(ctypes.addressof(out))
            rc = self.lib.BrotliDecoderDecompressStream(self.state, ctypes.byref(left), ctypes.byref(at), ctypes.byref(room),
                                                        ctypes.byref(to), None)
            assert rc != 0, "corrupt"
            got += out.raw[:len(out) - room.value]
            if rc != 3:  # there is more
                self.finished = rc == 1
                return got


def unbrotli(data):
    b = Brotli()
    got = b.decompress(data)
    assert b.finished, "cut short"
    return got


DECODE = {"gzip": gzip.decompress, "br": unbrotli, None: lambda data: data}


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    c = Cluster(tmp_path_factory.mktemp("compress"))
    c.start("--docker-host", "none")
    yield c
    c.close()


@pytest.fixture
def route(front):
    made = []

    def add(what, *policies):
        host = f"h{uuid.uuid4().hex[:8]}.example.test"
        up = Upstream(what)
        made.append(up)
        front.run("route", "add", host, up.at, *(f"--policy={p}" for p in policies or ("compress=on",)))
        return host

    yield add
    for up in made:
        up.close()


def fetch(front, host, accept, method="GET", **headers):
    """Response with the bytes as they came."""
    with front.session(host) as s:
        r = s.request(method, f"https://{host}/", headers={"Accept-Encoding": accept, **headers}, stream=True, timeout=60)
        return r, r.raw.read(decode_content=False)


@pytest.mark.parametrize("length", [True, False, None], ids=["length", "chunked", "until-close"])
@pytest.mark.parametrize("accept, coding", [("gzip", "gzip"), ("br", "br"), ("identity", None)])
def test_any_content_arrives_as_it_was(front, route, accept, coding, length):
    for n, split in ((300, 10), (16384, 5000), (100_001, 1000), (3_000_000, None)):
        body = content(n, n)
        r, raw = fetch(front, route(answer(body, split=split, length=length)), accept)
        assert r.headers.get("Content-Encoding") == coding
        assert DECODE[coding](raw) == body
        assert "accept-encoding" in r.headers["Vary"].lower()
        if coding:
            assert (len(raw) < n / 2 or n == 300) and "Content-Length" not in r.headers


def test_noise_grows_by_little(front, route):
    body = os.urandom(500_000)
    for accept in ("gzip", "br"):
        r, raw = fetch(front, route(answer(body)), accept)
        assert DECODE[accept](raw) == body and len(raw) < 502_000


def test_how_it_is_announced(front, route):
    host = route(answer(content(5000), extra=b'ETag: "abc"\r\nAccept-Ranges: bytes\r\nVary: Cookie\r\nX-Kept: 1\r\n'))
    r, _ = fetch(front, host, "gzip")
    assert r.headers["ETag"] == 'W/"abc"' and "Accept-Ranges" not in r.headers and r.headers["X-Kept"] == "1"
    assert r.headers["Vary"] == "Cookie, Accept-Encoding"
    r, _ = fetch(front, host, "identity")
    assert r.headers["ETag"] == '"abc"' and r.headers["Accept-Ranges"] == "bytes" and r.headers["Vary"] == "Cookie, Accept-Encoding"
    assert r.headers["Content-Length"] == "5000"


@pytest.mark.parametrize("kind, extra, body", [
    (b"text/html", b"Content-Encoding: gzip\r\n", gzip.compress(content(5000))),
    (b"text/html", b"Cache-Control: no-transform\r\n", content(5000)),
    (b"text/html", b"", b"small"),
    (b"image/png", b"", content(5000)),
    (b"text/event-stream", b"", content(5000)),
    (b"text/html", b"Content-Range: bytes 0-4999/10000\r\n", content(5000)),
], ids=["encoded", "no-transform", "small", "picture", "events", "range"])
def test_left_alone(front, route, kind, extra, body):
    r, raw = fetch(front, route(answer(body, extra, kind)), "gzip, br")
    assert raw == body and r.headers["Content-Length"] == str(len(body))
    assert r.headers.get("Content-Encoding") == ("gzip" if b"gzip" in extra else None)


def test_an_old_client_gets_it_until_the_end(front, route):
    host, body = route(answer(content(50_000))), content(50_000)
    out = front.raw(host, f"GET / HTTP/1.0\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    head, _, raw = out.partition(b"\r\n\r\n")
    assert b"chunked" not in head and gzip.decompress(raw) == body


def test_head_is_not_encoded(front, route):
    r, raw = fetch(front, route(answer(content(5000))), "gzip", "HEAD")
    assert raw == b"" and r.headers["Content-Length"] == "5000" and "Content-Encoding" not in r.headers


def test_off_by_default(front, route):
    for policy in ("compress=off", "rate=1000"):
        r, raw = fetch(front, route(answer(content(5000)), policy), "gzip")
        assert raw == content(5000) and "Vary" not in r.headers


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_slow_response_is_not_held_back(front, route, coding):
    """Each piece can be read before the next is sent."""
    seen = [threading.Event() for _ in range(5)]

    def slow(s, head):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n, e in enumerate(seen):
            s.sendall(b"8\r\npiece %d\n\r\n" % n)
            if not e.wait(10):
                return False
        s.sendall(b"0\r\n\r\n")

    host = route(slow)
    with front.session(host) as session:
        r = session.get(f"https://{host}/", headers={"Accept-Encoding": coding}, stream=True, timeout=20)
        assert r.headers["Content-Encoding"] == coding
        got = b""
        decoder = zlib.decompressobj(16 + zlib.MAX_WBITS) if coding == "gzip" else Brotli()
        for n, e in enumerate(seen):
            want = b"".join(b"piece %d\n" % i for i in range(n + 1))
            while got != want:
                more = r.raw.read1(1000) if hasattr(r.raw, "read1") else r.raw.read(1)
                assert more, got
                got += decoder.decompress(more)
            e.set()


def test_a_client_that_does_not_read_stops_its_upstream(front, route):
    sent = [0]

    def endless(s, head):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        s.settimeout(2)
        try:
            while sent[0] < 1 << 30:
                sent[0] += s.send(os.urandom(65536))
        except (socket.timeout, TimeoutError):
            pass
        return False

    host = route(endless)
    with front.connect(host) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        assert s.recv(10).startswith(b"HTTP/1.1 2")
        last = -1
        while last != sent[0]:
            last = sent[0]
            time.sleep(1)
        assert last < 64 << 20, "it was buffered somewhere"
        other = route(answer(content(100_000)))
        _, raw = fetch(front, other, "gzip")
        assert gzip.decompress(raw) == content(100_000)


def test_a_cut_response_is_not_complete(front, route):
    def cut(s, head):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n" + content(50000))
        return False

    host = route(cut)
    out = front.raw(host, f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    assert not out.endswith(b"0\r\n\r\n")


def test_many_at_once(front, route):
    """More than a turn's budget, all to their end, with a small request in between."""
    body = content(2_000_000)
    host, small = route(answer(body)), route(answer(content(1000)))
    results, slowest = [], 0.0

    def one():
        results.append(gzip.decompress(fetch(front, host, "gzip")[1]) == body)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        start = time.monotonic()
        fetch(front, small, "gzip")
        slowest = max(slowest, time.monotonic() - start)
    assert results == [True] * 12
    assert slowest < 5, slowest


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_over_http2(front, route, coding):
    body = content(1_500_000)
    host = route(answer(body, split=40_000, length=False))
    r = subprocess.run(["curl", "-s", "-S", "--http2", "--cacert", front.ca, "--resolve", f"{host}:{front.https_port}:127.0.0.1", "-i",
                        "-H", f"Accept-Encoding: {coding}", "--max-time", "30", f"https://{host}:{front.https_port}/"],
                       capture_output=True, check=True, timeout=40)
    head, _, raw = r.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/2 200") and f"content-encoding: {coding}".encode() in head.lower()
    assert DECODE[coding](raw) == body
