"""Attacks over HTTP/2, see hostile.py."""
import itertools
import ssl
import struct
import time

import pytest

import h2raw
from h2raw import INITIAL_WINDOW_SIZE, continuation, data, frame, goaway, headers, indexed, literal, ping, priority, rst_stream, settings, window_update
from hostile import HOST, Front, Siege, groups, trickle

CAP = 128
SIZE = 60
START = h2raw.PREFACE + settings() + settings(ack=True)


@pytest.fixture
def front(tmp_path):
    with Front(tmp_path, CAP, "--head-timeout", "1s", "--body-timeout", "1200ms", "--write-timeout", "1200ms",
               "--idle-timeout", "2s") as f:
        yield f


def request(path="/json", method="GET", *more):
    return h2raw.block((":method", method), (":scheme", "https"), (":path", path), (":authority", HOST), *more)


GET, POST = request(), request("/upload", "POST")
STREAMS = range(1, 1 << 31, 2)


class Walker:
    """Finds GOAWAY in what comes, and little more: a flood's answers are many."""

    def __init__(self):
        self.rest, self.code = b"", None

    def feed(self, got):
        at, buf = 0, self.rest + got
        while len(buf) - at >= 9:
            n = int.from_bytes(buf[at:at + 3], "big")
            if len(buf) - at < 9 + n:
                break
            if buf[at + 3] == h2raw.GOAWAY:
                self.code = struct.unpack(">L", buf[at + 13:at + 17])[0]
            at += 9 + n
        self.rest = buf[at:]


def one_flood(t, start, blocks, read=True):
    """Sends until the server closes; what it sent, how it was told to go, and whether it was."""
    with t.tls(alpn="h2") as s:
        assert s.selected_alpn_protocol() == "h2"
        s.setblocking(False)
        walker, sent, waiting = Walker(), 0, START + start
        while not t.over():
            idle = True
            try:
                n = s.send(waiting[:65536])
                sent, waiting, idle = sent + n, waiting[n:], False
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                pass
            except (OSError, ssl.SSLError):
                return sent, walker.code, True
            if not waiting:
                waiting = next(blocks)
            try:
                got = read and s.recv(65536)
                if got == b"":
                    return sent, walker.code, True
                walker.feed(got or b"")
                idle = idle and not got
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                pass
            except (OSError, ssl.SSLError):
                return sent, walker.code, True
            if idle:
                time.sleep(0.002)
        return sent, walker.code, False


def flood(t, start, make, read=True):
    seen = {"cut": 0, "goaway": 0, "calm": 0, "longest_bytes": 0}
    while not t.over():
        sent, code, cut = one_flood(t, start, make(), read)
        seen["cut"] += cut
        seen["goaway"] += code is not None
        seen["calm"] += code == h2raw.ERRORS.index("ENHANCE_YOUR_CALM")
        seen["longest_bytes"] = max(seen["longest_bytes"], sent)
    return seen


def same(block, n=500):
    return lambda: itertools.repeat(block * n)


def each(make, n=50):
    """make(stream) for ever new streams, some at a time."""
    return lambda: (b"".join(make(i) for i in itertools.islice(STREAMS, k, k + n)) for k in itertools.count(1, n))


OPEN = headers(1, POST, end=False)
RAPID_RESETS = {
    "by the client (CVE-2023-44487)": each(lambda i: headers(i, GET) + rst_stream(i)),
    "by the client, with content to come": each(lambda i: headers(i, POST, end=False) + data(i, b"x") + rst_stream(i)),
    "by a window update of 0": each(lambda i: headers(i, GET) + window_update(i, 0)),
    "by a window that overflows": each(lambda i: headers(i, GET) + window_update(i, (1 << 31) - 1)),
    "by requests that are malformed": each(lambda i: headers(i, GET + literal("X", ""))),
    "by a wrong Content-Length": each(lambda i: headers(i, request("/upload", "POST", ("content-length", "5")), end=False) + data(i, b"x", end=True)),
    "by streams that depend on themselves": each(lambda i: headers(i, GET, depends_on=i)),
}


@pytest.mark.parametrize("names", groups(RAPID_RESETS, 4), ids=str)
def test_rapid_reset(front, names):
    with Siege(front, 3) as s:
        for name in names:
            s.attack(flood, b"", RAPID_RESETS[name], name=name)
    for name in names:
        assert s.of[name]["cut"] >= 2 and s.of[name]["goaway"] >= 1, (name, s.of[name])
        assert s.of[name]["longest_bytes"] < 8 << 20, (name, s.of[name])


FLOODS = {
    "PING": (b"", same(ping())),
    "PING acknowledgements": (b"", same(ping(ack=True))),
    "SETTINGS": (b"", same(settings())),
    "SETTINGS with many values": (b"", same(settings(*[(0xff, 1)] * 2700), 1)),
    "SETTINGS that move every window": (b"".join(headers(i, request("/slow?ms=5000")) for i in STREAMS[:50]),
                                        same(settings((INITIAL_WINDOW_SIZE, 1)) + settings((INITIAL_WINDOW_SIZE, 65535)), 250)),
    "SETTINGS acknowledgements": (b"", same(settings(ack=True))),
    "PRIORITY": (b"", each(priority, 500)),
    "PRIORITY that turns the tree": (b"", same(b"".join(priority(i, depends_on=i % 199 + 2, exclusive=True) for i in STREAMS[:100]), 5)),
    "PRIORITY_UPDATE": (b"", same(frame(0x10, 0, 0, struct.pack(">L", 1) + b"u=1"))),
    "WINDOW_UPDATE": (b"", same(window_update(0, 1))),
    "WINDOW_UPDATE of a stream": (OPEN, same(window_update(1, 1))),
    "unknown frames": (b"", same(frame(0x42, 0, 0, b"whatever"))),
    "unknown frames without content": (b"", same(frame(0x42, 0, 1))),
    "large unknown frames": (b"", same(frame(0x42, 0, 0, bytes(16384)), 4)),
    "DATA without content": (OPEN, same(data(1))),
    "DATA of padding": (OPEN, same(data(1, pad=0))),
    "RST_STREAM of a closed stream": (headers(1, GET) + rst_stream(1), same(rst_stream(1))),
    "GOAWAY": (b"", same(goaway())),
    "CONTINUATION (CVE-2024-27316)": (headers(1, GET, end_headers=False), same(continuation(1, literal("x", "y" * 100), False), 50)),
    "CONTINUATION without content": (headers(1, GET, end_headers=False), same(continuation(1, b"", False))),
    "HEADERS without content": (b"", each(lambda i: headers(i, b""))),
    "ALTSVC": (b"", same(frame(0xa, 0, 0, b"\0\0"))),
    "ORIGIN": (b"", same(frame(0xc, 0, 0, b""))),
}


@pytest.mark.parametrize("names", groups(FLOODS, 4), ids=str)
def test_floods(front, names):
    """GOAWAY and the end after a bound, however harmless each frame is."""
    with Siege(front, 2) as s:
        for name in names:
            s.attack(flood, *FLOODS[name], name=name)
    for name in names:
        assert s.of[name]["cut"] >= 1 and (s.of[name]["goaway"] >= 1 or name == "GOAWAY"), (name, s.of[name])
        assert s.of[name]["longest_bytes"] < 8 << 20, (name, s.of[name])


UNREAD = {
    "PING": same(ping()),
    "SETTINGS": same(settings()),
    "requests": each(lambda i: headers(i, GET)),
    "large answers": each(lambda i: headers(i, request("/big?bytes=10000000"))),
    "requests that are refused": each(lambda i: headers(i, request("/slow?ms=5000"))),
}


def test_answers_nobody_reads(front):
    """What cannot be sent is not gathered either: the server stops reading, and cuts."""
    with Siege(front, 5) as s:
        for name, make in UNREAD.items():
            s.attack(flood, settings((INITIAL_WINDOW_SIZE, (1 << 31) - 1)) + window_update(0, (1 << 30)), make, False, name=name)
    for name in UNREAD:
        assert s.of[name]["cut"] >= 1, (name, s.of[name])


def bombs(t, make, most, statuses):
    """Header blocks one after the other, each on a new connection."""
    seen = {"sent": 0, "answered": 0}
    while not t.over() and seen["sent"] < most:
        with h2raw.Raw(t.tls(alpn="h2")) as c:
            c.send(START, make())
            seen["sent"] += 1
            try:
                f = c.wait(lambda f: f.kind in (h2raw.RST_STREAM, h2raw.GOAWAY) or f.fields, 2)
                assert not f.fields or f.fields[":status"] in statuses, f.fields
            except h2raw.Gone:
                pass
            seen["answered"] += 1
    return seen


def split(block):
    """A block of any size as HEADERS and CONTINUATION."""
    parts = [block[i:i + 16384] for i in range(0, len(block), 16384)]
    return headers(1, parts[0], end_headers=len(parts) == 1) + b"".join(
        continuation(1, p, p is parts[-1]) for p in parts[1:])


BOMBS = {
    "one entry of 4 KiB a thousand times": lambda: split(GET + literal("x-bomb", "b" * 4000, kind="indexing") + indexed(62) * 1000),
    "one entry of 4 KiB a hundred thousand times": lambda: split(GET + literal("x-bomb", "b" * 4000, kind="indexing") + indexed(62) * 100000),
    "ten thousand small fields": lambda: split(GET + literal("a", "b", kind="indexing") + indexed(62) * 10000),
    "a value of 64 KiB": lambda: split(GET + literal("x-bomb", "b" * 65536)),
    "a name of 64 KiB": lambda: split(GET + literal("x" * 65536, "")),
    "a value that promises 2 GiB": lambda: headers(1, GET + b"\0\1x" + h2raw.integer(1 << 31, 7), end_headers=False),
    "an integer without an end": lambda: headers(1, GET + b"\0\1x\x7f" + b"\xff" * 1000, end_headers=False),
    "cookies in crumbs": lambda: split(GET + literal("cookie", "a=b") * 5000),
    "table sizes up and down": lambda: headers(1, (h2raw.table_size(0) + h2raw.table_size(4096)) * 4000 + GET),
}


@pytest.mark.parametrize("names", groups(BOMBS, 3), ids=str)
def test_hpack_bombs(front, names):
    with Siege(front, 3) as s:
        for name in names:
            # Sizes of the table alone are no bomb: nothing comes of them.
            s.attack(bombs, BOMBS[name], 100, ("200",) if name.startswith("table") else ("400", "431"), name=name)
    for name in names:
        assert s.of[name]["answered"] >= 10, (name, s.of[name])


# --- slow on purpose ---

def crowd_of(t, start):
    """Opens what the attack needs and sends its first bytes."""
    def one():
        s = t.tls(alpn="h2")
        s.sendall(start)
        return s
    return one


STALL = settings((INITIAL_WINDOW_SIZE, 0)) + settings(ack=True)
MANY = b"".join(headers(i, request("/big?bytes=10000000")) for i in STREAMS[:50])
SLOW = {
    "half a preface": (h2raw.PREFACE[:10], b"", 1.0),
    "no SETTINGS": (h2raw.PREFACE, b"", 1.0),
    "half a frame": (START + headers(1, GET)[:20], b"", 1.0),
    "a header block in drops": (START + headers(1, GET, end_headers=False), lambda n: continuation(1, literal("x", "y"), False), 1.0),
    "a window of 0": (h2raw.PREFACE + STALL + MANY, b"", 1.2),
    "a connection's window of 64 KiB": (h2raw.PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 30)) + settings(ack=True) + MANY, b"", 1.2),
    "a window of 0 and PING": (h2raw.PREFACE + STALL + MANY, ping(), 1.2),
    "no content": (START + OPEN, b"", 1.2),
    "no content and PING": (START + OPEN, ping(), 1.2),
    "nothing": (START, b"", 2.0),
}


@pytest.mark.parametrize("names", groups(SLOW, 5), ids=str)
def test_slow(front, names):
    size = SIZE // len(names)
    with Siege(front, 6) as s:
        for name in names:
            start, more, _ = SLOW[name]
            s.attack(lambda t, start=start, more=more: trickle(t, size, crowd_of(t, start), more, 0.2), name=name)
    for name in names:
        assert s.of[name]["cut"] >= size and s.of[name]["longest_ms"] < (2 * SLOW[name][2] + 1.5) * 1000, (name, s.of[name])


# --- and who only works hard ---

def busy(t):
    """As a browser under stress: small answers, each acknowledged with a window update, a PING now and then, one request in ten given up."""
    seen = {"answers": 0, "given_up": 0}
    with h2raw.Raw(t.tls(alpn="h2")) as c:
        c.handshake()
        for i in STREAMS:
            if t.over():
                return seen
            c.send(headers(i, GET))
            if i % 20 == 1:
                c.send(rst_stream(i))
                seen["given_up"] += 1
                continue
            f = c.wait(lambda f: f.kind == h2raw.GOAWAY or f.ends and f.stream == i)  # noqa: B023
            assert f.kind != h2raw.GOAWAY, f
            seen["answers"] += 1
            c.send(window_update(0, 1000), *([ping()] if i % 10 == 1 else []))


def test_a_busy_client_is_no_attacker(front):
    with Siege(front, 4) as s:
        s.attack(busy)
    assert s.sums["answers"] > 300, s.sums
