"""Attacks over HTTP/1.1, see hostile.py."""
import itertools
import socket
import time

import pytest

from hostile import HOST, Crowd, Front, Siege, answered, groups, pump, trickle

CAP = 128
SIZE = 80  # of a crowd: below what the cap leaves to strangers
HEAD_S = 1.0
LONGEST_MS = (2 * 1.2 + 2.5) * 1000  # two windows of the rate, and the time such a crowd needs to come and to look
H = f"Host: {HOST}\r\n".encode()


@pytest.fixture
def front(tmp_path):
    with Front(tmp_path, CAP, "--head-timeout", "1s", "--body-timeout", "1200ms", "--write-timeout", "1200ms",
               "--tunnel-idle", "1500ms") as f:
        yield f


# --- slow on purpose ---

def slow_head(t):
    return trickle(t, SIZE, t.tls, lambda n: b"X-A: b\r\n" if n else b"GET / HTTP/1.1\r\n" + H, 0.2)


def test_a_head_in_drops(front):
    with Siege(front, 3) as s:
        s.attack(slow_head)
    assert s.sums["cut"] >= SIZE and s.sums["longest_ms"] < (HEAD_S + 1) * 1000
    assert s.counted("timeouts") >= SIZE


def test_nothing_after_the_handshake(front):
    with Siege(front, 3) as s:
        s.attack(lambda t: trickle(t, SIZE, t.tls, b"", 0.1))
    assert s.sums["cut"] >= SIZE and s.sums["longest_ms"] < (HEAD_S + 1) * 1000


# --- too much of something ---

def flood(t, size, start, more):
    """<size> connections one after the other that send <start> and then <more> for ever; none may get it all in."""
    seen = {"cut": 0, "ended": 0, "most": 0}
    while not t.over() and seen["ended"] < size:
        with t.tls() as s:
            sent, cut = pump(s, itertools.chain([start], itertools.repeat(more)), t.until)
            seen["ended"] += cut or b"HTTP/1.1 4" in answered(s, 0.5)
            seen["cut"] += cut
            seen["longest_bytes"] = max(seen.get("longest_bytes", 0), sent)
    return seen


POST = b"POST /upload HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "a field without an end": (b"GET / HTTP/1.1\r\n" + H + b"X-Bomb: ", b"a" * 16384),
    "fields without an end": (b"GET / HTTP/1.1\r\n" + H, b"X-A: b\r\n" * 2048),
    "a target without an end": (b"GET /", b"a" * 16384),
    "a method without an end": (b"", b"A" * 16384),
    "empty lines": (b"", b"\r\n" * 8192),
    "a chunk size without an end": (POST, b"0" * 16384),
    "a chunk extension without an end": (POST + b"5;x=", b"a" * 16384),
    "chunk extensions without an end": (POST + b"5", b";a=b" * 4096),
    "a chunk of one byte with a kilobyte of extension, for ever": (POST, (b"1;x=" + b"a" * 1000 + b"\r\nz\r\n") * 16),
    "trailers without an end": (POST + b"0\r\n", b"X-A: b\r\n" * 2048),
    "a trailer without an end": (POST + b"0\r\nX-Bomb: ", b"a" * 16384),
}


@pytest.mark.parametrize("names", groups(FLOODS, 4), ids=str)
def test_bombs(front, names):
    """A status and a close after at most a head, a trailer section or an extension budget; never buffered, never passed on."""
    with Siege(front, 4) as s:
        for name in names:
            s.attack(flood, 20, *FLOODS[name], name=name)
    for name in names:
        assert s.of[name]["ended"] >= 2, (name, s.of[name])
    assert s.counted("bad_requests") >= s.sums["ended"], s.sums


# --- many ---

def flood_of_connections(t, tls_port):
    """Never more than a handful at once get through; the rest is refused at once."""
    crowd = Crowd(t, 0, lambda: t.tcp(tls_port=tls_port))
    while not t.over():
        for _ in range(20):
            crowd.add()
        for s in list(crowd.born):
            crowd.receive(s)
        crowd.seen["most"] = max(crowd.seen.get("most", 0), len(crowd.born))
    return crowd.close()


def test_connections_from_one_address(tmp_path):
    """One address has its share; the good client, from another, does not notice."""
    share = 32
    with Front(tmp_path, CAP, "--max-per-address", str(share), "--head-timeout", "2s") as front:
        with Siege(front, 3) as s:
            s.attack(flood_of_connections, True)
            s.attack(flood_of_connections, False)
        assert s.counted("refused") > 100, s.sums
        assert s.after["connections"] <= share + 8, s.after


def unread(t):
    """Asks for as much as it can and reads nothing of it."""
    def one():
        s = t.tls(receive_buffer=4096)
        s.sendall(b"GET /big?bytes=50000000 HTTP/1.1\r\n" + H + b"\r\n")
        return s
    return trickle(t, SIZE, one, b"", 0.1, read=0)


def test_answers_nobody_reads(front):
    with Siege(front, 5.5) as s:
        s.attack(unread)
    assert s.sums["cut"] >= SIZE and s.sums["longest_ms"] < LONGEST_MS, s.sums
    assert s.counted("timeouts") >= SIZE


def pipeline(t):
    """Requests without end on a few connections, not one answer read."""
    seen = {"sent": 0, "cut": 0}
    while not t.over():
        with t.tls(receive_buffer=4096) as s:
            sent, cut = pump(s, itertools.repeat((b"GET /json HTTP/1.1\r\n" + H + b"\r\n") * 200), t.until)
            seen["sent"] += sent
            seen["cut"] += cut
    return seen


def test_pipelined_requests_nobody_reads_the_answers_of(front):
    with Siege(front, 4) as s:
        s.attack(pipeline, n=4)
    assert s.sums["cut"] >= 4, s.sums


def churn(t):
    """Connects, asks, leaves before the answer."""
    seen = {"asked": 0}
    while not t.over():
        with t.tls() as s:
            s.sendall(b"GET /big?bytes=10000000 HTTP/1.1\r\n" + H + b"\r\n")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            seen["asked"] += 1
    return seen


def test_clients_that_leave_before_the_answer(front):
    with Siege(front, 3) as s:
        s.attack(churn, n=3)
    assert s.sums["asked"] > 50
    deadline = time.monotonic() + 5
    while front.front_status()["active"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert front.front_status()["active"] == 0


# --- tunnels ---

UPGRADE = (b"GET /ws HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def test_tunnels_that_never_speak(front):
    def tunnel(t):
        def one():
            s = t.tls()
            s.sendall(UPGRADE)
            assert s.recv(12) == b"HTTP/1.1 101"
            return s
        return trickle(t, SIZE // 2, one, b"", 0.1)
    with Siege(front, 4) as s:
        s.attack(tunnel)
    assert s.sums["cut"] >= SIZE // 2 and s.sums["longest_ms"] < 4000


def test_an_address_has_its_share_of_tunnels(tmp_path):
    share = 10

    def tunnels(t):
        seen, kept = {"tunnels": 0, "refused": 0}, []
        while not t.over():
            s = t.tls()
            s.sendall(UPGRADE)
            got = s.recv(12)
            seen["tunnels"] += got == b"HTTP/1.1 101"
            seen["refused"] += got == b"HTTP/1.1 429"
            if got == b"HTTP/1.1 101":
                kept.append(s)
            else:
                s.close()
            time.sleep(0.02)
        return seen

    with Front(tmp_path, CAP, "--max-tunnels-per-address", str(share)) as front:
        with Siege(front, 2) as s:
            s.attack(tunnels)
        assert s.sums["tunnels"] == share and s.sums["refused"] > 10, s.sums


# --- always just in time: below a rate that makes sense, above every timeout for a single read ---

def slow_upload(t):
    def piece(n):
        return b"u" if n else b"POST /upload HTTP/1.1\r\n" + H + b"Content-Length: 1000000\r\n\r\n"
    return trickle(t, SIZE, t.tls, piece, 0.2)


def slow_chunks(t):
    return trickle(t, SIZE, t.tls, lambda n: b"1\r\nu\r\n" if n else POST, 0.2)


def slow_download(t):
    def one():
        s = t.tls(receive_buffer=4096)
        s.sendall(b"GET /big?bytes=50000000 HTTP/1.1\r\n" + H + b"\r\n")
        return s
    return trickle(t, SIZE, one, b"", 0.2, read=40)


def slow_download_that_asks_on(t):
    """What it sends is no progress of what it should read."""
    def one():
        s = t.tls(receive_buffer=4096)
        s.sendall(b"GET /big?bytes=50000000 HTTP/1.1\r\n" + H + b"\r\n")
        return s
    return trickle(t, SIZE, one, b"GET / HTTP/1.1\r\n" + H + b"\r\n", 0.2, read=0)


@pytest.mark.parametrize("kind", [slow_upload, slow_chunks, slow_download, slow_download_that_asks_on])
def test_drops(front, kind):
    with Siege(front, 5.5) as s:
        s.attack(kind)
    assert s.sums["cut"] >= SIZE // 2 and s.sums["longest_ms"] < LONGEST_MS, s.sums
    assert s.counted("too_slow") >= SIZE // 2
